package lockbox

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// How many checks, and then accounts, are worked on at a time. A file of any
// size needs the memory of one such group.
const groupItems = 10_000

// intake is the second reading of a file: its checks go in, group by group.
type intake struct {
	Desk
	tx    pgx.Tx
	out   *Ingested
	file  int64
	group []*incoming
	late  map[int64][]int32 // receipts by account whose posting date has come
}

// incoming is a check on its way in.
type incoming struct {
	Item
	batch    int
	refused  bool // with its batch
	coupons  []Coupon
	twin     *int64 // what it is known again by, nil unless all parts are there
	state    string
	reason   string
	shares   []share
	entry    int32
	received calendar.Date
}

// takeBatches stores an accepted file and takes its checks in.
func (d Desk) takeBatches(ctx context.Context, tx pgx.Tx, f *arrival, content io.ReadSeeker, out *Ingested) error {
	var err error
	if out.FileID, err = f.store(ctx, tx, d.Day, stateAccepted); err != nil {
		return err
	}
	if err := f.storeBatches(ctx, tx, out.FileID); err != nil {
		return err
	}
	taken := 0
	out.RefusedBatches = 0
	for _, p := range f.batches {
		switch {
		case p.state == stateSkipped:
			out.Skipped += p.items
			out.Refused += p.items
			out.SkippedBatches++
		case p.state == stateRefused:
			out.RefusedBatches++
		case p.state == stateAccepted && p.items > 0:
			taken++
		}
	}
	out.Accepted = taken > 0 || out.SkippedBatches > 0 || out.Items == 0
	in := &intake{Desk: d, tx: tx, out: out, file: out.FileID, late: map[int64][]int32{}}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum, err := Read(content, f.profile, func(b Batch) error {
		if b.Ordinal > len(f.batches) {
			return errChanged
		}
		return in.add(ctx, b, f.batches[b.Ordinal-1].state)
	})
	if err != nil {
		return err
	}
	if sum.SHA256 != f.sum.SHA256 {
		return errChanged
	}
	if err := in.flush(ctx); err != nil {
		return err
	}
	return in.postLate(ctx)
}

var errChanged = errors.New("the file changed while it was read: is it still being written? Try again when it is whole")

// add takes a batch into the group, and the group into the books when it is
// full.
func (in *intake) add(ctx context.Context, b Batch, state string) error {
	if state == stateSkipped {
		return nil
	}
	for _, item := range b.Items {
		in.group = append(in.group, &incoming{Item: item, batch: b.Ordinal, refused: state == stateRefused, received: item.ReceivedDate})
		if len(in.group) == groupItems {
			if err := in.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush decides where each check of the group goes, books it and stores it.
func (in *intake) flush(ctx context.Context) error {
	if len(in.group) == 0 {
		return nil
	}
	if err := in.suspectTwins(ctx); err != nil {
		return err
	}
	var open [][]Coupon
	for _, c := range in.group {
		c.coupons = couponsOf(c.Item)
		if c.state == "" {
			open = append(open, c.coupons)
		}
	}
	known, err := lookUp(ctx, in.tx, open)
	if err != nil {
		return err
	}
	need := map[int64]bool{}
	for _, c := range in.group {
		if c.state != "" {
			continue
		}
		c.shares, c.reason = known.divide(c.Cents, c.coupons)
		if c.state = itemTaken; c.reason != "" {
			c.state = itemSuspense
			need[billing.House] = true
		}
		for _, s := range c.shares {
			need[s.account] = true
		}
	}
	receipts, err := in.book(ctx, keys(need))
	if err != nil {
		return err
	}
	for _, c := range in.group {
		in.count(c)
	}
	err = in.storeGroup(ctx, receipts)
	clear(in.group)
	in.group = in.group[:0]
	return err
}

// suspectTwins sets aside the checks that can't simply be taken: of a refused
// batch, without a date or an amount, and those that came before. Money orders
// without an account number look alike and are all taken.
func (in *intake) suspectTwins(ctx context.Context) error {
	var twins []int64
	for _, c := range in.group {
		c.twin = in.twinOf(c.Item)
		if c.twin != nil && !c.refused {
			twins = append(twins, *c.twin)
		}
	}
	seen := map[int64]bool{}
	if len(twins) > 0 {
		rows, err := in.tx.Query(ctx, `select twin from lockbox_item where twin = any($1) and state not in ('refused', 'void')`, twins)
		if err != nil {
			return err
		}
		var twin int64
		if _, err := pgx.ForEachRow(rows, []any{&twin}, func() error { seen[twin] = true; return nil }); err != nil {
			return err
		}
	}
	for _, c := range in.group {
		switch {
		case c.refused:
			c.state, c.reason = itemRefused, BatchRefused
			continue
		case c.twin != nil && seen[*c.twin]:
			c.state, c.reason = itemHeld, DuplicateCheck
		case c.received.IsZero():
			c.state, c.reason = itemHeld, ReceivedBlank
		case c.received > in.Day:
			c.state, c.reason = itemHeld, ReceivedFuture
		case c.Cents == 0:
			c.state, c.reason = itemHeld, NoAmount
		}
		if c.twin != nil {
			seen[*c.twin] = true
		}
	}
	return nil
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

// book makes the group's money receipts and suspense.
func (in *intake) book(ctx context.Context, accounts []int64) (receipts [][]any, err error) {
	if len(accounts) == 0 {
		return nil, nil
	}
	book, err := billing.Load(ctx, in.tx, billing.OpenOnly, accounts...)
	if err != nil {
		return nil, err
	}
	for _, c := range in.group {
		if c.state == itemSuspense {
			c.entry = book.Account(billing.House).SuspenseIn(in.Day, c.received, c.Cents)
		}
		for n, s := range c.shares {
			a := book.Account(s.account)
			if a == nil {
				return nil, fmt.Errorf("%s: account %d: %w", c.Item, s.account, billing.ErrNoAccount)
			}
			r := a.Receive(in.Day, in.receipt(s, c.Check, c.received, in.Day))
			receipts = append(receipts, []any{in.file, c.Ordinal, n + 1, s.account, r.No, int64(s.cents)})
			if r.PostsOn <= in.Day {
				in.late[s.account] = append(in.late[s.account], r.No)
			}
		}
	}
	return receipts, book.Save(ctx)
}

// receipt is the money of one part of a check.
func (d Desk) receipt(s share, check string, received, arrived calendar.Date) billing.Receipt {
	return billing.Receipt{Channel: "lockbox", Cents: s.cents, Directed: s.kind, Reference: check,
		ReceivedOn: received, ArrivedOn: arrived, PostsOn: d.Policy.Lockbox.PostsOn(received)}
}

func (in *intake) count(c *incoming) {
	switch c.state {
	case itemTaken:
		if in.Policy.Lockbox.PostsOn(c.received) <= in.Day {
			in.out.Posted++
		} else {
			in.out.Pending++
		}
	case itemSuspense:
		in.out.Suspense++
	case itemHeld:
		in.out.Held++
	case itemRefused:
		in.out.Refused++
	}
}

// storeGroup writes the group's checks and their receipts' numbers.
func (in *intake) storeGroup(ctx context.Context, receipts [][]any) error {
	_, err := in.tx.CopyFrom(ctx, pgx.Identifier{"lockbox_item"},
		[]string{"file_id", "ordinal", "batch", "cents", "received_on", "check_no", "twin", "payer", "envelope", "raw_sealed", "coupons", "state", "reason", "entry"},
		pgx.CopyFromSlice(len(in.group), func(i int) ([]any, error) {
			c := in.group[i]
			raw, err := in.Keys.Seal([]byte(c.Raw), sealContext(in.file, c.Ordinal))
			if err != nil {
				return nil, err
			}
			coupons := []byte("[]")
			if c.state != itemTaken { // a person may need them
				if coupons, err = json.Marshal(c.coupons); err != nil {
					return nil, err
				}
			}
			return []any{in.file, c.Ordinal, c.batch, int64(c.Cents), c.received, c.Check, c.twin, in.payerOf(c.Item), envelopeOf(c.Item), raw, coupons, c.state, c.reason, c.entry}, nil
		}))
	if err != nil {
		return err
	}
	_, err = in.tx.CopyFrom(ctx, pgx.Identifier{"lockbox_receipt"}, []string{"file_id", "ordinal", "coupon", "account_id", "receipt", "cents"}, pgx.CopyFromRows(receipts))
	return err
}

// sealContext ties the sealed lines of a check to their place.
func sealContext(file int64, ordinal int) string {
	return "lockbox_item/" + strconv.FormatInt(file, 10) + "/" + strconv.Itoa(ordinal)
}

// postLate posts the checks of the file whose posting date has come, each
// account's in order of received date.
func (in *intake) postLate(ctx context.Context) error {
	accounts := keys(in.late)
	slices.Sort(accounts)
	for chunk := range slices.Chunk(accounts, groupItems) {
		book, err := billing.Load(ctx, in.tx, billing.OpenOnly, chunk...)
		if err != nil {
			return err
		}
		for _, a := range book.Accounts {
			postInOrder(a, in.Policy, in.Day, in.late[a.ID])
		}
		if err := book.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// postInOrder posts receipts of an account in order of received date.
func postInOrder(a *billing.Account, p *billing.Policy, day calendar.Date, numbers []int32) {
	var due []*billing.Receipt
	for _, no := range numbers {
		due = append(due, a.Receipt(no))
	}
	slices.SortStableFunc(due, func(x, y *billing.Receipt) int { return int(x.ReceivedOn - y.ReceivedOn) })
	for _, r := range due {
		a.Post(p, r, day)
	}
}
