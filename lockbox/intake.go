package lockbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// usualChunkItems is how many checks are laid out at a time. A file of any size
// needs the memory of a few such chunks.
const usualChunkItems = 10_000

// intake is a file whose checks go in. It is read a second time and laid out
// chunk by chunk: a chunk's checks, the shares of them, and the mark how far
// that has come, in one commit. What has been laid out stands nowhere yet. When
// all of it has, finish takes it in by one commit. Killed in between, the next
// try goes on after the last mark.
type intake struct {
	Desk
	*arrival
	conn *pgxpool.Conn
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
	twin     *int64 // what it is known again by, nil unless all parts are there
	payer    *int64 // what its bank account is known again by
	sealed   []byte // its lines

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

// within does something in a transaction: its own, or the file's.
func (in *intake) within(ctx context.Context, do func(tx pgx.Tx) error) error {
	if in.tx != nil {
		return do(in.tx)
	}
	return pgx.BeginFunc(ctx, in.conn, do)
}

var errChanged = errors.New("the file changed while it was read: is it still being written? Try again when it is whole")

// layOut reads the file and lays its checks out. Reading goes on while the
// database works on the chunk before.
func (in *intake) layOut(ctx context.Context, content io.ReadSeeker) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	chunks := make(chan []*incoming)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		for chunk := range chunks {
			if err := in.within(ctx, func(tx pgx.Tx) error { return in.store(ctx, tx, chunk) }); err != nil {
				return err
			}
		}
		return nil
	})
	both.Go(func() error {
		defer close(chunks)
		return in.read(ctx, content, chunks)
	})
	return both.Wait()
}

// read hands out the checks that are not laid out yet. A chunk never ends
// inside an envelope.
func (in *intake) read(ctx context.Context, content io.Reader, chunks chan<- []*incoming) error {
	var chunk []*incoming
	send := func() error {
		select {
		case chunks <- chunk:
			chunk = make([]*incoming, 0, in.chunkItems())
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	sum, err := Read(content, in.profile, func(b Batch) error {
		if b.Ordinal > len(in.batches) {
			return errChanged
		}
		state := in.batches[b.Ordinal-1].state
		if state == stateSkipped {
			return nil
		}
		for n, item := range b.Items {
			if item.Ordinal <= in.upTo {
				continue
			}
			c, err := in.prepare(item, b.Ordinal, state == stateRefused)
			if err != nil {
				return err
			}
			chunk = append(chunk, c)
			if len(chunk) >= in.chunkItems() && (n+1 == len(b.Items) || c.envelope == "" || envelopeOf(b.Items[n+1]) != c.envelope) {
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
	if len(chunk) == 0 {
		return nil
	}
	return send()
}

// prepare makes of a check what can be made without the database, and sets
// aside what can't simply be taken.
func (in *intake) prepare(i Item, batch int, refused bool) (*incoming, error) {
	sealed, err := in.Keys.Seal([]byte(i.Raw), sealContext(in.id, i.Ordinal))
	if err != nil {
		return nil, err
	}
	c := &incoming{ordinal: i.Ordinal, batch: batch, cents: i.Cents, received: i.ReceivedDate, check: strings.Clone(i.Check), envelope: strings.Clone(envelopeOf(i)),
		coupons: couponsOf(i), twin: in.twinOf(i), payer: in.payerOf(i), sealed: sealed}
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
	return c, nil
}

// twinOf is what a check is known again by; nil if its routing, account or
// check number is missing. 64 bits of a keyed hash: among a hundred million
// checks, one in two hundred billion would be held for no reason.
func (d Desk) twinOf(i Item) *int64 {
	if i.Routing == "" || i.Account == "" || i.Check == "" {
		return nil
	}
	return d.short("micr", i.Routing, i.Account, i.Check, strconv.FormatInt(int64(i.Cents), 10))
}

// payerOf is what the bank account of a check is known again by; nil if it
// names none.
func (d Desk) payerOf(i Item) *int64 {
	if i.Routing == "" || i.Account == "" {
		return nil
	}
	return d.short("payer", i.Routing, i.Account)
}

func (d Desk) short(parts ...string) *int64 {
	n := int64(binary.BigEndian.Uint64(d.Keys.Fingerprint(parts...)))
	return &n
}

// envelopeOf is the envelope that a check came in, "" if the bank doesn't say.
func envelopeOf(i Item) string { return strings.TrimLeft(i.Envelope, "0") }

// sealContext ties the sealed lines of a check to their place.
func sealContext(file int64, ordinal int) string {
	return "lockbox_item/" + strconv.FormatInt(file, 10) + "/" + strconv.Itoa(ordinal)
}

// store decides where each check of a chunk goes, and lays the chunk out.
func (in *intake) store(ctx context.Context, tx pgx.Tx, chunk []*incoming) error {
	if err := holdTwins(ctx, tx, chunk); err != nil {
		return err
	}
	var open [][]Coupon
	for _, c := range chunk {
		if c.state == "" {
			open = append(open, c.coupons)
		}
	}
	known, err := lookUp(ctx, tx, open)
	if err != nil {
		return err
	}
	for _, c := range chunk {
		if c.state == "" {
			c.shares, c.reason = known.divide(c.cents, c.coupons)
		}
	}
	shareEnvelopes(chunk)
	return in.write(ctx, tx, chunk)
}

// holdTwins holds the checks that came before. Money orders without an account
// number look alike and are all taken.
func holdTwins(ctx context.Context, tx pgx.Tx, chunk []*incoming) error {
	var twins []int64
	for _, c := range chunk {
		if c.twin != nil && c.state != itemRefused {
			twins = append(twins, *c.twin)
		}
	}
	seen := map[int64]bool{}
	if len(twins) > 0 {
		rows, err := tx.Query(ctx, `select twin from lockbox_item where twin = any($1) and state not in ('refused', 'void')`, twins)
		if err != nil {
			return err
		}
		var twin int64
		if _, err := pgx.ForEachRow(rows, []any{&twin}, func() error { seen[twin] = true; return nil }); err != nil {
			return err
		}
	}
	for _, c := range chunk {
		if c.twin == nil || c.state == itemRefused {
			continue
		}
		if seen[*c.twin] {
			c.state, c.reason = itemHeld, DuplicateCheck
		}
		seen[*c.twin] = true
	}
	return nil
}

// The columns of what is laid out.
var (
	itemColumns  = []string{"file_id", "ordinal", "batch", "cents", "received_on", "check_no", "twin", "payer", "envelope", "raw_sealed", "coupons", "state", "reason"}
	shareColumns = []string{"ordinal", "coupon", "account_id", "cents", "received_on", "directed", "check_no"}
)

// write lays a chunk out and marks how far that has come.
func (in *intake) write(ctx context.Context, tx pgx.Tx, chunk []*incoming) error {
	var items, shares ledger.Copy
	counts := map[string]int{}
	none := []byte("[]")
	for _, c := range chunk {
		switch {
		case c.state == "" && c.reason == "":
			c.state = itemTaken
		case c.state == "":
			c.state = itemSuspense
		}
		counts[c.state]++
		coupons := none
		if c.state != itemTaken { // a person may need them
			var err error
			if coupons, err = json.Marshal(c.coupons); err != nil {
				return err
			}
		}
		items.Row(len(itemColumns)).Int64(in.id).Int32(int32(c.ordinal)).Int32(int32(c.batch)).Int64(int64(c.cents)).Date(c.received).Text(c.check).
			NullInt64(c.twin).NullInt64(c.payer).Text(c.envelope).Bytes(c.sealed).JSON(coupons).Text(c.state).Text(c.reason)
		for n, s := range c.shares {
			shares.Row(len(shareColumns)).Int32(int32(c.ordinal)).Int32(int32(n + 1)).Int64(s.account).Int64(int64(s.cents)).Date(c.received).Text(string(s.kind)).Text(c.check)
		}
	}
	if err := items.Send(ctx, tx, "lockbox_item", itemColumns); err != nil {
		return err
	}
	if err := shares.Send(ctx, tx, "lockbox_share", shareColumns); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update lockbox_staging set up_to = $1, taken = taken + $2, suspense = suspense + $3, held = held + $4, refused = refused + $5`,
		chunk[len(chunk)-1].ordinal, counts[itemTaken], counts[itemSuspense], counts[itemHeld], counts[itemRefused])
	return err
}
