package billing

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// saver gathers the changes of many accounts and writes them table by table:
// new rows by COPY, changed ones by one UPDATE from arrays.
type saver struct {
	tx      pgx.Tx
	copies  [tables]ledger.Copy
	updates [kinds]columns
	entries []ledger.Entry
	issues  []Raised
}

// The tables that take new rows, in the order they are written.
const (
	newItemTable = iota // fresh items, as charges are: the columns that are not sent get their defaults
	itemTable
	receiptTable
	billTable
	holdTable
	debitTable
	allocationTable
	standingTable
	tables
)

var inserts = [tables]struct {
	name    string
	columns []string
}{
	newItemTable: {"item", []string{"account_id", "no", "kind", "origin", "state", "cents", "arrived_on", "for_cycle", "entry", "charge_id", "mrn", "service_date", "description", "gross_cents", "insurer_cents"}},
	itemTable: {"item", []string{"account_id", "no", "kind", "origin", "state", "cents", "paid", "cycle", "billed_on", "made_on", "arrived_on", "for_cycle", "for_doc", "ended", "parent", "entry",
		"charge_id", "mrn", "service_date", "description", "gross_cents", "insurer_cents"}},
	receiptTable: {"receipt", []string{"account_id", "no", "channel", "state", "cents", "unapplied", "refunded", "received_on", "arrived_on", "posts_on", "posted_on", "in_entry", "posted_entry", "ended_on", "end_code", "guest", "payer", "directed", "reference", "check_file", "check_item", "check_coupon"}},
	billTable: {"bill", []string{"account_id", "cycle", "cut_on", "made_on", "due_on", "deadline_on", "previous", "payments", "adjustments", "charges", "fees", "balance", "amount_due", "pending", "disputed", "deferred",
		"aging_current", "aging_30", "aging_60", "aging_90", "entries", "debit_on", "debit_moved", "debit_missed", "debit_none", "fee_barred", "prev_deadline", "plan", "state"}},
	holdTable:       {"hold", []string{"account_id", "no", "reason", "placed_on", "released_on", "automatic", "placed_by", "released_by", "note"}},
	debitTable:      {"debit", []string{"account_id", "cycle", "attempt", "receipt", "cents", "built_on", "effective_on", "due_then", "last_before", "trace", "sec", "method_id", "file_id", "state", "missed", "code", "returned_on", "retry_on"}},
	allocationTable: {"allocation", []string{"account_id", "no", "receipt", "item", "cents", "on_date"}},
	standingTable:   {"standing", []string{"account_id", "no", "on_date", "item", "state", "source", "cents"}},
}

// The kinds of changes. Most of a night only counts on, pays items and posts
// receipts, so those have narrow ones.
const (
	counted  = iota // an account's counters
	changed         // all of an account
	closed          // the bill of all items of an account that had none
	paid            // what is paid on an item
	billed          // an item's bill, and what is paid on it
	revised         // all of an item
	settled         // a receipt
	marked          // a bill
	released        // a hold
	answered        // a debit
	kinds
)

// columns are the arrays of one UPDATE.
type columns struct {
	ids      []int64
	nos      []int32
	texts    [2][]string
	cents    [3][]int64
	ints     [4][]int32
	days     [6][]calendar.Date
	flags    [4][]bool
	nullable []*int64
	rows     int64 // that it has to change, 0 for as many as there are ids
}

var updates = [kinds]struct {
	sql  string
	args func(c *columns) []any
}{
	counted: {`update account a set docs = u.docs, entries = u.entries, pending = u.pending, base = u.base, open_from = u.open, booked_from = u.booked
			from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::int[], $7::date[]) u(id, docs, entries, pending, base, open, booked) where a.id = u.id`,
		func(c *columns) []any {
			return []any{c.ids, c.ints[0], c.ints[1], c.nos, c.cents[0], c.ints[2], c.days[1]}
		}},
	changed: {`update account a set docs = u.docs, entries = u.entries, pending = u.pending, base = u.base, open_from = u.open, booked_from = u.booked, looked = u.looked, first_cycle = u.first, last_cycle = u.last,
				autopay = u.autopay, autopay_since = u.since, relook = u.relook, replay = u.replay, last_debit_cents = u.debit, bill_made = u.made, bill_due = u.due, bill_until = u.deadline, older_until = u.older
			from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::int[], $7::bigint[], $8::bigint[], $9::text[], $10::date[], $11::boolean[], $12::boolean[], $13::bigint[], $14::int[], $15::date[], $16::date[], $17::date[], $18::date[], $19::date[])
				u(id, docs, entries, pending, base, looked, first, last, autopay, since, relook, replay, debit, open, booked, made, due, deadline, older)
			where a.id = u.id`,
		func(c *columns) []any {
			return []any{c.ids, c.ints[0], c.ints[1], c.nos, c.cents[0], c.ints[3], c.cents[1], c.cents[2], c.texts[0], c.days[0], c.flags[0], c.flags[1], c.nullable, c.ints[2], c.days[1], c.days[2], c.days[3], c.days[4], c.days[5]}
		}},
	closed: {`update item i set state = 'billed', cycle = u.cycle, billed_on = u.billed, made_on = u.made
			from unnest($1::bigint[], $2::int[], $3::date[], $4::date[], $5::int[]) u(id, cycle, billed, made, first) where i.account_id = u.id and i.no >= u.first and i.state = 'unbilled'`,
		func(c *columns) []any { return []any{c.ids, c.nos, c.days[0], c.days[1], c.ints[0]} }},
	paid: {`update item i set paid = u.paid from unnest($1::bigint[], $2::int[], $3::bigint[]) u(id, no, paid) where i.account_id = u.id and i.no = u.no`,
		func(c *columns) []any { return []any{c.ids, c.nos, c.cents[0]} }},
	billed: {`update item i set state = 'billed', paid = u.paid, cycle = u.cycle, billed_on = u.billed, made_on = u.made
			from unnest($1::bigint[], $2::int[], $3::bigint[], $4::int[], $5::date[], $6::date[]) u(id, no, paid, cycle, billed, made) where i.account_id = u.id and i.no = u.no`,
		func(c *columns) []any { return []any{c.ids, c.nos, c.cents[0], c.ints[0], c.days[0], c.days[1]} }},
	revised: {`update item i set state = u.state, ended = u.ended, cents = u.cents, paid = u.paid, cycle = u.cycle, billed_on = u.billed, made_on = u.made
			from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::date[], $9::date[]) u(id, no, state, ended, cents, paid, cycle, billed, made)
			where i.account_id = u.id and i.no = u.no`,
		func(c *columns) []any {
			return []any{c.ids, c.nos, c.texts[0], c.texts[1], c.cents[0], c.cents[1], c.ints[0], c.days[0], c.days[1]}
		}},
	settled: {`update receipt r set state = u.state, end_code = u.code, unapplied = u.unapplied, refunded = u.refunded, posted_on = u.posted, ended_on = u.ended, posted_entry = u.entry
			from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::date[], $8::date[], $9::int[]) u(id, no, state, code, unapplied, refunded, posted, ended, entry)
			where r.account_id = u.id and r.no = u.no`,
		func(c *columns) []any {
			return []any{c.ids, c.nos, c.texts[0], c.texts[1], c.cents[0], c.cents[1], c.days[0], c.days[1], c.ints[0]}
		}},
	marked: {`update bill b set debit_on = u.debit, debit_moved = u.moved, debit_missed = u.missed, debit_none = u.nothing, fee_barred = u.barred
			from unnest($1::bigint[], $2::int[], $3::date[], $4::boolean[], $5::boolean[], $6::boolean[], $7::boolean[]) u(id, cycle, debit, moved, missed, nothing, barred)
			where b.account_id = u.id and b.cycle = u.cycle`,
		func(c *columns) []any {
			return []any{c.ids, c.nos, c.days[0], c.flags[0], c.flags[1], c.flags[2], c.flags[3]}
		}},
	released: {`update hold h set released_on = u.day, released_by = u.who from unnest($1::bigint[], $2::int[], $3::date[], $4::text[]) u(id, no, day, who)
			where h.account_id = u.id and h.no = u.no`,
		func(c *columns) []any { return []any{c.ids, c.nos, c.days[0], c.texts[0]} }},
	answered: {`update debit d set state = u.state, code = u.code, returned_on = u.returned, retry_on = u.retry, method_id = u.method, file_id = u.file
			from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::date[], $6::date[], $7::bigint[], $8::bigint[]) u(id, receipt, state, code, returned, retry, method, file)
			where d.account_id = u.id and d.receipt = u.receipt`,
		func(c *columns) []any {
			return []any{c.ids, c.nos, c.texts[0], c.texts[1], c.days[0], c.days[1], c.cents[0], c.nullable}
		}},
}

func (s *saver) update(kind int, account int64, no int32) *columns {
	c := &s.updates[kind]
	c.ids, c.nos = append(c.ids, account), append(c.nos, no)
	return c
}

func (s *saver) insert(table int) *ledger.Copy {
	return s.copies[table].Row(len(inserts[table].columns))
}

// take moves an account's changes into the saver and marks them saved.
func (s *saver) take(a *Account) {
	whole := s.close(a)
	for _, i := range a.Items {
		s.item(a.ID, i, whole)
	}
	for _, r := range a.Receipts {
		s.receipt(a.ID, r)
	}
	for _, b := range a.Bills {
		s.bill(a.ID, b)
	}
	for _, h := range a.Holds {
		if h.fresh {
			s.insert(holdTable).Int64(a.ID).Int32(h.No).Text(h.Reason).Date(h.PlacedOn).Date(h.ReleasedOn).Bool(h.Automatic).Text(h.PlacedBy).Text(h.ReleasedBy).Text(h.Note)
		} else if h.dirty {
			c := s.update(released, a.ID, h.No)
			c.days[0], c.texts[0] = append(c.days[0], h.ReleasedOn), append(c.texts[0], h.ReleasedBy)
		}
		h.fresh, h.dirty = false, false
	}
	for _, d := range a.Debits {
		s.debit(a.ID, d)
	}
	for _, al := range a.placed {
		s.insert(allocationTable).Int64(a.ID).Int32(al.No).Int32(al.Receipt).Int32(al.Item).Int64(int64(al.Cents)).Date(al.On)
	}
	for _, x := range a.stood {
		s.insert(standingTable).Int64(a.ID).Int32(x.No).Date(x.On).Int32(x.Item).Text(x.State).Int32(x.Source).Int64(int64(x.Cents))
	}
	s.entries = append(s.entries, a.written...)
	for _, e := range a.issues {
		s.issues = append(s.issues, Raised{a.ID, e})
	}
	s.account(a)
	a.placed, a.stood, a.written, a.issues, a.dirty, a.counts = nil, nil, nil, nil, false, false
}

func (s *saver) account(a *Account) {
	kind, from := counted, a.openFrom()
	switch {
	case a.dirty:
		kind = changed
	case !a.counts && from >= a.from:
		return
	}
	c := s.update(kind, a.ID, a.pending)
	c.ints[0], c.ints[1], c.cents[0] = append(c.ints[0], a.docs), append(c.ints[1], a.entries), append(c.cents[0], int64(a.openBase()))
	c.ints[2], c.days[1] = append(c.ints[2], from), append(c.days[1], a.bookedFrom)
	a.from = from
	if kind == changed {
		c.ints[3], c.cents[1], c.cents[2] = append(c.ints[3], a.Looked), append(c.cents[1], int64(a.FirstCycle)), append(c.cents[2], int64(a.LastCycle))
		c.texts[0], c.days[0] = append(c.texts[0], a.Autopay), append(c.days[0], a.AutopaySince)
		c.days[2], c.days[3], c.days[4], c.days[5] = append(c.days[2], a.billMade), append(c.days[3], a.billDue), append(c.days[4], a.billUntil), append(c.days[5], a.olderUntil)
		c.flags[0], c.flags[1], c.nullable = append(c.flags[0], a.Relook), append(c.flags[1], a.Replay), append(c.nullable, (*int64)(a.LastDebit))
	}
}

// close writes what most cuts do, all items without a bill go on the same one,
// by the account. It returns whether that is so.
func (s *saver) close(a *Account) bool {
	var first *Item
	n := int64(0)
	for _, i := range a.Items {
		if i.State == Unbilled || i.dirty {
			return false
		}
		if !i.cut || i.Detail != nil {
			continue
		}
		if n++; first == nil {
			first = i
		}
		if i.Cycle != first.Cycle || i.BilledOn != first.BilledOn || i.MadeOn != first.MadeOn {
			return false
		}
	}
	if first == nil {
		return false
	}
	c := s.update(closed, a.ID, int32(first.Cycle))
	c.days[0], c.days[1], c.ints[0], c.rows = append(c.days[0], first.BilledOn), append(c.days[1], first.MadeOn), append(c.ints[0], first.No), c.rows+n
	return true
}

// fresh says whether nothing has happened to a new item, and it is for no other
// document: what newItemTable leaves out is as the table makes it.
func (i *Item) fresh() bool {
	return i.Paid == 0 && i.Cycle == 0 && i.BilledOn.IsZero() && i.MadeOn.IsZero() && i.ForDoc == 0 && i.Ended == "" && i.Parent == 0
}

func (s *saver) item(account int64, i *Item, closed bool) {
	switch d := i.Detail; {
	case d != nil && i.fresh():
		s.insert(newItemTable).Int64(account).Int32(i.No).Text(string(i.Kind)).Text(i.Origin).Text(string(i.State)).Int64(int64(i.Cents)).Date(i.ArrivedOn).Int32(int32(i.ForCycle)).Int32(i.Entry).
			NullText(d.ChargeID).Text(d.MRN).Date(d.ServiceDate).Text(d.Description).Int64(int64(d.Gross)).Int64(int64(d.Insurer))
	case d != nil:
		s.insert(itemTable).Int64(account).Int32(i.No).Text(string(i.Kind)).Text(i.Origin).Text(string(i.State)).Int64(int64(i.Cents)).Int64(int64(i.Paid)).
			Int32(int32(i.Cycle)).Date(i.BilledOn).Date(i.MadeOn).Date(i.ArrivedOn).Int32(int32(i.ForCycle)).Int32(i.ForDoc).Text(i.Ended).Int32(i.Parent).Int32(i.Entry).
			NullText(d.ChargeID).Text(d.MRN).Date(d.ServiceDate).Text(d.Description).Int64(int64(d.Gross)).Int64(int64(d.Insurer))
	case i.dirty:
		c := s.update(revised, account, i.No)
		c.texts[0], c.texts[1] = append(c.texts[0], string(i.State)), append(c.texts[1], i.Ended)
		c.cents[0], c.cents[1] = append(c.cents[0], int64(i.Cents)), append(c.cents[1], int64(i.Paid))
		c.ints[0], c.days[0], c.days[1] = append(c.ints[0], int32(i.Cycle)), append(c.days[0], i.BilledOn), append(c.days[1], i.MadeOn)
	case i.cut && !closed:
		c := s.update(billed, account, i.No)
		c.cents[0], c.ints[0] = append(c.cents[0], int64(i.Paid)), append(c.ints[0], int32(i.Cycle))
		c.days[0], c.days[1] = append(c.days[0], i.BilledOn), append(c.days[1], i.MadeOn)
	case i.moved:
		c := s.update(paid, account, i.No)
		c.cents[0] = append(c.cents[0], int64(i.Paid))
	}
	i.Detail, i.dirty, i.moved, i.cut = nil, false, false, false
}

func (s *saver) receipt(account int64, r *Receipt) {
	switch {
	case r.fresh:
		s.insert(receiptTable).Int64(account).Int32(r.No).Text(r.Channel).Text(r.State).Int64(int64(r.Cents)).Int64(int64(r.Unapplied)).Int64(int64(r.Refunded)).
			Date(r.ReceivedOn).Date(r.ArrivedOn).Date(r.PostsOn).Date(r.PostedOn).Int32(r.InEntry).Int32(r.PostedEntry).Date(r.EndedOn).Text(r.EndCode).Bool(r.Guest).Text(r.Payer).Text(string(r.Directed)).Text(r.Reference).
			NullInt64(r.Check.file()).NullInt32(r.Check.Item).NullInt32(r.Check.Coupon)
	case r.dirty:
		c := s.update(settled, account, r.No)
		c.texts[0], c.texts[1] = append(c.texts[0], r.State), append(c.texts[1], r.EndCode)
		c.cents[0], c.cents[1] = append(c.cents[0], int64(r.Unapplied)), append(c.cents[1], int64(r.Refunded))
		c.days[0], c.days[1], c.ints[0] = append(c.days[0], r.PostedOn), append(c.days[1], r.EndedOn), append(c.ints[0], r.PostedEntry)
	}
	r.fresh, r.dirty = false, false
}

func (s *saver) bill(account int64, b *Bill) {
	switch {
	case b.fresh:
		row := s.insert(billTable).Int64(account).Int32(int32(b.Cycle)).Date(b.CutOn).Date(b.MadeOn).Date(b.DueOn).Date(b.DeadlineOn)
		for _, cents := range [...]ledger.Cents{b.Previous, b.Payments, b.Adjustments, b.Charges, b.Fees, b.Balance, b.AmountDue, b.PendingCents, b.DisputedCents, b.DeferredCts, b.Aging[0], b.Aging[1], b.Aging[2], b.Aging[3]} {
			row.Int64(int64(cents))
		}
		row.Int32(b.Entries).Date(b.DebitOn).Bool(b.DebitMoved).Bool(b.DebitMissed).Bool(b.DebitNone).Bool(b.FeeBarred).Date(b.PrevDeadline).Text(b.Plan).Text(b.State)
	case b.dirty:
		c := s.update(marked, account, int32(b.Cycle))
		c.days[0] = append(c.days[0], b.DebitOn)
		for n, f := range []bool{b.DebitMoved, b.DebitMissed, b.DebitNone, b.FeeBarred} {
			c.flags[n] = append(c.flags[n], f)
		}
	}
	b.fresh, b.dirty = false, false
}

func (s *saver) debit(account int64, d *Debit) {
	switch {
	case d.fresh:
		s.insert(debitTable).Int64(account).Int32(int32(d.Cycle)).Int32(int32(d.Attempt)).Int32(d.Receipt).Int64(int64(d.Cents)).Date(d.BuiltOn).Date(d.EffectiveOn).Int64(int64(d.DueThen)).NullInt64((*int64)(d.LastBefore)).
			Int64(d.Trace).Text(d.SEC).Int64(d.MethodID).NullInt64(d.FileID).Text(d.State).Bool(d.Missed).Text(d.Code).Date(d.ReturnedOn).Date(d.RetryOn)
	case d.dirty:
		c := s.update(answered, account, d.Receipt)
		c.texts[0], c.texts[1] = append(c.texts[0], d.State), append(c.texts[1], d.Code)
		c.days[0], c.days[1] = append(c.days[0], d.ReturnedOn), append(c.days[1], d.RetryOn)
		c.cents[0], c.nullable = append(c.cents[0], d.MethodID), append(c.nullable, d.FileID)
	}
	d.fresh, d.dirty = false, false
}

func (s *saver) write(ctx context.Context) error {
	for n := range s.copies {
		if err := s.copies[n].Send(ctx, s.tx, inserts[n].name, inserts[n].columns); err != nil {
			return err
		}
	}
	if err := ledger.Append(ctx, s.tx, s.entries); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	many := false
	for kind := range s.updates {
		many = many || len(s.updates[kind].ids) > 1000
	}
	if many { // as byLookup does: the planner would read all of a table
		batch.Queue(lookUp[0])
	}
	for kind := range s.updates {
		if len(s.updates[kind].ids) > 0 {
			s.queue(batch, kind)
		}
	}
	if many {
		batch.Queue(lookUp[1])
	}
	if batch.Len() > 0 {
		if err := s.tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
	}
	return raise(ctx, s.tx, s.issues, true)
}

// queue queues an UPDATE. It must find every row that it is for: the account was
// locked when they were read.
func (s *saver) queue(batch *pgx.Batch, kind int) {
	c := &s.updates[kind]
	want := cmp.Or(c.rows, int64(len(c.ids)))
	batch.Queue(updates[kind].sql, updates[kind].args(c)...).Exec(func(done pgconn.CommandTag) error {
		if got := done.RowsAffected(); got != want {
			return fmt.Errorf("%d rows are not as they were read: %q changed %d", want, updates[kind].sql, got)
		}
		return nil
	})
}

func (c *Check) file() *int64 {
	if c.File == 0 {
		return nil
	}
	return &c.File
}
