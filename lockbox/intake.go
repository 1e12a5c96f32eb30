package lockbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// usualChunkItems is how many checks are laid out at a time, and firstChunkItems
// how many at first, each time twice as many, so that those who wait for laid
// out checks can soon begin. A file of any size needs the memory of a few usual
// chunks.
const (
	usualChunkItems = 5000
	firstChunkItems = 1250
)

// chunksAhead is how many chunks are laid out before they are taken in. To take
// them in is most of the work, so whoever lays out waits for it: what has just
// been written is still at hand, and the processor is free for who is behind.
const chunksAhead = 4

// intake is a file whose checks go in. It is read a second time and laid out
// chunk by chunk: a chunk's checks, the shares of them, and the mark how far
// that has come, in one commit. What has been laid out stands nowhere yet:
// finish takes it in, chunk after chunk behind the one who lays out, and all of
// it by one commit. Killed in between, the next try goes on after the last mark.
type intake struct {
	Desk
	*arrival
	conn postgres.DB
	tx   pgx.Tx // of a file of one chunk: it all happens in this transaction
	id   int64  // the file's
	upTo int    // the last check that was laid out before
}

// incoming is a check on its way in, as it was read.
type incoming struct {
	ordinal  int
	batch    int
	cents    ledger.Cents
	received calendar.Date
	check    string
	envelope string
	coupons  []Coupon
	micr     []byte // what it is known again by, nil without an account

	state  string
	reason string
	shares []share
}

func (in *intake) chunkItems() int {
	if in.ChunkItems > 0 {
		return in.ChunkItems
	}
	return usualChunkItems
}

// within does something in a transaction: its own, or within the file's. Its own
// need not be on the disk when it is over: a chunk that a crash takes back is laid
// out again, and the commit that takes all in brings all before it to the disk.
// A check may have to wait for who acts on one like it at the desk, and that one for
// accounts that this file has locked, which the database can't see: so not for long.
func (in *intake) within(ctx context.Context, do func(tx pgx.Tx) error) error {
	if in.tx != nil {
		return pgx.BeginFunc(ctx, in.tx, do)
	}
	return pgx.BeginFunc(ctx, in.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '1min', true)`); err != nil {
			return err
		}
		return do(tx)
	})
}

var errChanged = errors.New("the file changed while it was read: is it still being written? Try again when it is whole")

// inTurn lays all of the file out and then takes it in, in a transaction that it
// is given.
func (in *intake) inTurn(ctx context.Context, content io.ReadSeeker, within func(func(pgx.Tx) error) error, out *Ingested) error {
	laid := in.marks(in.sum.Items/min(firstChunkItems, in.chunkItems()) + 2)
	if err := in.layOut(ctx, content, laid, nil); err != nil {
		return err
	}
	return within(func(tx pgx.Tx) error {
		if err := billing.LockChecks(ctx, tx, in.id); err != nil {
			return err
		}
		return in.finish(ctx, tx, laid, out)
	})
}

// atOnce does the same on several connections: one looks up whose the checks
// are, one lays them out, one takes them in. Whose checks there will be is not
// known when the first are taken in, so all accounts are locked.
func (in *intake) atOnce(ctx context.Context, content io.ReadSeeker, out *Ingested) error {
	laid := in.marks(chunksAhead)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return postgres.Beside(ctx, in.DB, func(tx pgx.Tx) error { return in.layOut(ctx, content, laid, tx) })
	})
	all.Go(func() error {
		return postgres.Beside(ctx, in.DB, func(tx pgx.Tx) error {
			if err := billing.LockRange(ctx, tx, billing.Range{From: billing.House, To: math.MaxInt64}); err != nil {
				return err
			}
			return in.finish(ctx, tx, laid, out)
		})
	})
	return all.Wait()
}

// marks is where layOut says up to which check it has come, and that all of
// them lie there by closing it. It holds some of what is said.
func (in *intake) marks(some int) chan int {
	laid := make(chan int, some)
	if in.upTo > 0 {
		laid <- in.upTo
	}
	return laid
}

// layOut reads the file and lays its checks out. Reading goes on while the
// database works on the chunk before; so does looking up, where it is given a
// transaction of its own.
func (in *intake) layOut(ctx context.Context, content io.ReadSeeker, laid chan<- int, lookUps pgx.Tx) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	read := make(chan *chunk)
	stages, ctx := errgroup.WithContext(ctx)
	stages.Go(func() error {
		defer close(read)
		return in.read(ctx, content, read)
	})
	chunks := read
	if lookUps != nil {
		chunks = make(chan *chunk)
		stages.Go(func() error {
			defer close(chunks)
			for c := range read {
				if err := c.lookUp(ctx, lookUps); err != nil {
					return err
				}
				select {
				case chunks <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	stages.Go(func() error {
		for c := range chunks {
			if err := in.store(ctx, c); err != nil {
				return err
			}
			select {
			case laid <- c.checks[len(c.checks)-1].ordinal:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := stages.Wait(); err != nil {
		return err
	}
	close(laid)
	return nil
}

// chunk is a number of checks on their way in, and their sealed lines.
type chunk struct {
	checks []*incoming
	raw    rawWriter
	known  *directory // what their references name; nil before that was looked up
}

// lookUp asks what the references name of checks that may be taken.
func (c *chunk) lookUp(ctx context.Context, tx pgx.Tx) error {
	var open [][]Coupon
	for _, c := range c.checks {
		if c.state == "" {
			open = append(open, c.coupons)
		}
	}
	known, err := lookUp(ctx, tx, open)
	c.known = &known
	return err
}

// read hands out the checks that are not laid out yet. A chunk never ends
// inside an envelope.
func (in *intake) read(ctx context.Context, content io.Reader, chunks chan<- *chunk) error {
	fresh := func() *chunk { return &chunk{raw: rawWriter{keys: in.Keys, file: in.id}} }
	c, full, micrOf := fresh(), min(firstChunkItems, in.chunkItems()), in.micrs()
	send := func() error {
		if err := c.raw.close(); err != nil {
			return err
		}
		select {
		case chunks <- c:
			c, full = fresh(), min(2*full, in.chunkItems())
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	sum, err := readAgain(content, in.profile, func(b Batch) error {
		if b.Ordinal > len(in.batches) {
			return errChanged
		}
		state := in.batches[b.Ordinal-1].state
		if state == stateSkipped {
			return nil
		}
		for n := range b.Items {
			item := &b.Items[n]
			if item.Ordinal <= in.upTo {
				continue
			}
			if !in.received[item.ReceivedDate] { // it has no posting date
				return errChanged
			}
			c.checks = append(c.checks, in.prepare(item, micrOf(item), b.Ordinal, state == stateRefused))
			if err := c.raw.add(item.Ordinal, item.Raw); err != nil {
				return err
			}
			inside := n+1 < len(b.Items) && envelopeOf(item) != "" && envelopeOf(&b.Items[n+1]) == envelopeOf(item)
			if len(c.checks) >= full && !inside {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if sum.SHA256 != in.sum.SHA256 {
		return errChanged
	}
	if len(c.checks) == 0 {
		return nil
	}
	return send()
}

// prepare makes of a check what can be made without the database, and sets
// aside what can't simply be taken.
func (in *intake) prepare(i *Item, micr []byte, batch int, refused bool) *incoming {
	c := &incoming{ordinal: i.Ordinal, batch: batch, cents: i.Cents, received: i.ReceivedDate, check: i.Check, envelope: envelopeOf(i), coupons: couponsOf(i), micr: micr}
	switch {
	case refused:
		c.state, c.reason = itemRefused, BatchRefused
	case c.received.IsZero():
		c.state, c.reason = itemHeld, ReceivedBlank
	case c.received > in.Day:
		c.state, c.reason = itemHeld, ReceivedFuture
	case c.cents == 0:
		c.state, c.reason = itemHeld, NoAmount
	}
	return c
}

// micrBytes is the length of what a check is known again by, and payerBytes of
// the part of it that is of its bank account alone.
const (
	micrBytes  = 16
	payerBytes = 8
)

// micrs returns a function, for one goroutine, that tells what a check and its
// bank account are known again by: a keyed hash of routing and account, and one
// of these, the check's number and its amount, zeros without a number. It is nil
// without an account. Among a hundred million checks, 64 bits hold one in two
// hundred billion for no reason.
func (d Desk) micrs() func(*Item) []byte {
	payerOf := d.Keys.Fingerprints("payer")
	return func(i *Item) []byte {
		// Zeros before a number are fill, and each sender fills as it likes.
		routing, account, check := strings.TrimLeft(i.Routing, "0"), strings.TrimLeft(i.Account, "0"), strings.TrimLeft(i.Check, "0")
		if routing == "" || account == "" {
			return nil
		}
		// Only a quarter of it is kept, so the whole is a secret, too, by which to
		// hash the rest.
		payer := payerOf(routing, account)
		micr := append(make([]byte, 0, micrBytes), payer[:payerBytes]...)
		if check == "" {
			return micr[:micrBytes]
		}
		sum := sha256.Sum256(strconv.AppendInt(append(append(payer, check...), ' '), int64(i.Cents), 10))
		return append(micr, sum[:micrBytes-payerBytes]...)
	}
}

// twin returns what a check is known again by, ok only if routing, account and
// number are all there.
func twin(micr []byte) (key [micrBytes]byte, ok bool) {
	if micr == nil || [micrBytes - payerBytes]byte(micr[payerBytes:]) == [micrBytes - payerBytes]byte{} {
		return key, false
	}
	return [micrBytes]byte(micr), true
}

// envelopeOf is the envelope that a check came in, "" if the bank doesn't say.
func envelopeOf(i *Item) string { return strings.TrimLeft(i.Envelope, "0") }

// store lays a chunk out. Hardly any chunk has a check that came before: so it is
// not asked for any until the database refuses one.
func (in *intake) store(ctx context.Context, c *chunk) error {
	err := in.within(ctx, func(tx pgx.Tx) error { return in.allot(ctx, tx, c) })
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.ConstraintName == "lockbox_item_sole" {
		err = in.within(ctx, func(tx pgx.Tx) error {
			if err := holdTwins(ctx, tx, c.checks); err != nil {
				return err
			}
			return in.allot(ctx, tx, c)
		})
	}
	if errors.As(err, &refused) && refused.Code == "55P03" { // lock_not_available
		return fmt.Errorf("somebody at the desk acts on a check like one of this file's: nothing was taken in, run the same command again (%w)", err)
	}
	return err
}

// allot decides where each check of a chunk goes, and writes it.
func (in *intake) allot(ctx context.Context, tx pgx.Tx, c *chunk) error {
	if c.known == nil {
		if err := c.lookUp(ctx, tx); err != nil {
			return err
		}
	}
	for _, i := range c.checks {
		if i.state == "" {
			i.shares, i.reason = c.known.divide(i.cents, i.coupons)
		}
	}
	shareEnvelopes(c.checks)
	return in.write(ctx, tx, c)
}

// holdTwins holds the checks that came before. Money orders without an account
// number look alike and are all taken.
func holdTwins(ctx context.Context, tx pgx.Tx, checks []*incoming) error {
	var keys [][micrBytes]byte
	for _, c := range checks {
		if key, ok := twin(c.micr); ok && c.state != itemRefused {
			keys = append(keys, key)
		}
	}
	// PostgreSQL puts them in order, too, but slower.
	slices.SortFunc(keys, func(a, b [micrBytes]byte) int { return bytes.Compare(a[:], b[:]) })
	twins := map[[micrBytes]byte]int{} // how many of them may be taken: one, or none
	for n := 1; n < len(keys); n++ {
		if keys[n] == keys[n-1] {
			twins[keys[n]] = 1
		}
	}
	rows, err := tx.Query(ctx, `select micr from lockbox_item where micr = any($1::uuid[]) and sole`, keys)
	if err != nil {
		return err
	}
	var key [micrBytes]byte
	if _, err := pgx.ForEachRow(rows, []any{&key}, func() error { twins[key] = 0; return nil }); err != nil {
		return err
	}
	for _, c := range checks {
		key, ok := twin(c.micr)
		if left, twice := twins[key]; twice && ok && c.state != itemRefused {
			if left == 0 {
				c.state, c.reason, c.shares = itemHeld, DuplicateCheck, nil
			}
			twins[key] = 0
		}
	}
	return nil
}

// The columns of what is laid out.
var (
	itemColumns  = []string{"file_id", "ordinal", "batch", "cents", "received_on", "check_no", "micr", "sole", "envelope", "coupons", "state", "reason", "account_id", "directed"}
	shareColumns = []string{"file_id", "ordinal", "coupon", "account_id", "cents", "directed"}
)

// write lays a chunk out and marks how far that has come.
func (in *intake) write(ctx context.Context, tx pgx.Tx, c *chunk) error {
	var items, shares ledger.Copy
	counts, parts := map[string]int{}, 0
	for _, c := range c.checks {
		state := c.state
		switch {
		case state == "" && c.reason == "":
			state = itemTaken
		case state == "":
			state = itemSuspense
		}
		counts[state]++
		parts += len(c.shares)
		_, numbered := twin(c.micr)
		row := items.Row(len(itemColumns)).Int64(in.id).Int32(int32(c.ordinal)).Int32(int32(c.batch)).Int64(int64(c.cents)).Date(c.received).Text(c.check).Bytes(c.micr).
			Bool(numbered && state != itemRefused && c.reason != DuplicateCheck).Text(c.envelope)
		if state == itemTaken {
			row.Null()
		} else { // a person may need them
			coupons, err := json.Marshal(c.coupons)
			if err != nil {
				return err
			}
			row.JSON(coupons)
		}
		row.Text(state).Text(c.reason)
		if len(c.shares) == 1 {
			row.Int64(c.shares[0].account).Text(string(c.shares[0].kind))
			continue
		}
		row.Null().Text("")
		for n, s := range c.shares {
			shares.Row(len(shareColumns)).Int64(in.id).Int32(int32(c.ordinal)).Int32(int32(n + 1)).Int64(s.account).Int64(int64(s.cents)).Text(string(s.kind))
		}
	}
	if err := items.Send(ctx, tx, "lockbox_item", itemColumns); err != nil {
		return err
	}
	if err := shares.Send(ctx, tx, "lockbox_share", shareColumns); err != nil {
		return err
	}
	if err := c.raw.rows.Send(ctx, tx, "lockbox_raw", rawColumns); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update lockbox_staging set up_to = $1, taken = taken + $2, suspense = suspense + $3, held = held + $4, refused = refused + $5, parts = parts + $6`,
		c.checks[len(c.checks)-1].ordinal, counts[itemTaken], counts[itemSuspense], counts[itemHeld], counts[itemRefused], parts)
	return err
}
