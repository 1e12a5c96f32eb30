package billing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// saver gathers the changes of many accounts and writes them table by table:
// new rows by COPY, changed ones by one UPDATE from arrays.
type saver struct {
	tx      pgx.Tx
	copies  map[string][][]any
	entries []ledger.Entry
	updates map[string]*columns
	issues  [][]any
}

// columns are the arrays of one UPDATE.
type columns struct {
	ids, nos []int64
	texts    [3][]string
	cents    [3][]int64
	ints     [3][]int32
	days     [3]dates
	flags    [4][]bool
	nullable []*int64
}

func newSaver(tx pgx.Tx) *saver {
	return &saver{tx: tx, copies: map[string][][]any{}, updates: map[string]*columns{}}
}

func (s *saver) update(table string, account int64, no int64) *columns {
	c := s.updates[table]
	if c == nil {
		c = &columns{}
		s.updates[table] = c
	}
	c.ids, c.nos = append(c.ids, account), append(c.nos, no)
	return c
}

func (s *saver) insert(table string, row ...any) { s.copies[table] = append(s.copies[table], row) }

// The tables that take new rows, in the order they are written, and their
// columns in the order of the rows.
var inserts = []struct {
	table   string
	columns []string
}{
	{"item", []string{"account_id", "no", "kind", "origin", "state", "cents", "paid", "cycle", "billed_on", "made_on", "arrived_on", "for_cycle", "for_receipt", "ended", "parent", "entry", "charge_id", "mrn", "service_date", "description", "gross_cents", "insurer_cents"}},
	{"receipt", []string{"account_id", "no", "channel", "state", "cents", "unapplied", "refunded", "received_on", "arrived_on", "posts_on", "posted_on", "in_entry", "posted_entry", "ended_on", "end_code", "guest", "payer", "directed", "reference"}},
	{"bill", []string{"account_id", "cycle", "cut_on", "made_on", "due_on", "deadline_on", "previous", "payments", "adjustments", "charges", "fees", "balance", "amount_due", "pending", "disputed", "deferred",
		"aging_current", "aging_30", "aging_60", "aging_90", "entries", "debit_on", "debit_moved", "debit_missed", "debit_none", "fee_barred"}},
	{"hold", []string{"account_id", "no", "reason", "placed_on", "released_on", "automatic", "placed_by", "released_by", "note"}},
	{"debit", []string{"account_id", "cycle", "attempt", "receipt", "cents", "built_on", "effective_on", "due_then", "last_before", "trace", "sec", "method_id", "file_id", "state", "missed", "code", "returned_on", "retry_on"}},
	{"allocation", []string{"account_id", "no", "receipt", "item", "cents", "on_date"}},
}

// take moves an account's changes into the saver and marks them saved.
func (s *saver) take(a *Account) {
	for _, i := range a.Items {
		s.item(a.ID, i)
	}
	for _, r := range a.Receipts {
		s.receipt(a.ID, r)
	}
	for _, b := range a.Bills {
		s.bill(a.ID, b)
	}
	for _, h := range a.Holds {
		if h.fresh {
			s.insert("hold", a.ID, h.No, h.Reason, h.PlacedOn, h.ReleasedOn, h.Automatic, h.PlacedBy, h.ReleasedBy, h.Note)
		} else if h.dirty {
			c := s.update("hold", a.ID, int64(h.No))
			c.days[0], c.texts[0] = append(c.days[0], h.ReleasedOn), append(c.texts[0], h.ReleasedBy)
		}
		h.fresh, h.dirty = false, false
	}
	for _, d := range a.Debits {
		s.debit(a.ID, d)
	}
	for _, al := range a.placed {
		s.insert("allocation", a.ID, al.No, al.Receipt, al.Item, int64(al.Cents), al.On)
	}
	s.entries = append(s.entries, a.written...)
	for _, e := range a.issues {
		s.issues = append(s.issues, []any{a.ID, e.On, e.Job, e.Code, e.Subject, e.Detail})
	}
	if a.dirty || len(a.placed) > 0 {
		c := s.update("account", a.ID, 0)
		c.ints[0], c.ints[1], c.ints[2] = append(c.ints[0], a.docs), append(c.ints[1], a.entries), append(c.ints[2], a.Looked)
		c.cents[0], c.cents[1] = append(c.cents[0], int64(a.FirstCycle)), append(c.cents[1], int64(a.LastCycle))
		c.texts[0], c.days[0] = append(c.texts[0], a.Autopay), append(c.days[0], a.AutopaySince)
		c.flags[0], c.nullable = append(c.flags[0], a.Relook), append(c.nullable, (*int64)(a.LastDebit))
	}
	a.placed, a.written, a.issues, a.dirty = nil, nil, nil, false
}

func (s *saver) item(account int64, i *Item) {
	switch d := i.Detail; {
	case d != nil:
		var charge any
		if d.ChargeID != "" {
			charge = d.ChargeID
		}
		s.insert("item", account, i.No, string(i.Kind), i.Origin, string(i.State), int64(i.Cents), int64(i.Paid), int32(i.Cycle), i.BilledOn, i.MadeOn, i.ArrivedOn, int32(i.ForCycle), i.ForReceipt, i.Ended, i.Parent, i.Entry,
			charge, d.MRN, d.ServiceDate, d.Description, int64(d.Gross), int64(d.Insurer))
	case i.dirty:
		c := s.update("item", account, int64(i.No))
		c.texts[0], c.texts[1] = append(c.texts[0], string(i.State)), append(c.texts[1], i.Ended)
		c.cents[0], c.cents[1] = append(c.cents[0], int64(i.Cents)), append(c.cents[1], int64(i.Paid))
		c.ints[0], c.days[0], c.days[1] = append(c.ints[0], int32(i.Cycle)), append(c.days[0], i.BilledOn), append(c.days[1], i.MadeOn)
	}
	i.Detail, i.dirty = nil, false
}

func (s *saver) receipt(account int64, r *Receipt) {
	switch {
	case r.fresh:
		s.insert("receipt", account, r.No, r.Channel, r.State, int64(r.Cents), int64(r.Unapplied), int64(r.Refunded), r.ReceivedOn, r.ArrivedOn, r.PostsOn, r.PostedOn, r.InEntry, r.PostedEntry, r.EndedOn, r.EndCode, r.Guest, r.Payer, string(r.Directed), r.Reference)
	case r.dirty:
		c := s.update("receipt", account, int64(r.No))
		c.texts[0], c.texts[1] = append(c.texts[0], r.State), append(c.texts[1], r.EndCode)
		c.cents[0], c.cents[1] = append(c.cents[0], int64(r.Unapplied)), append(c.cents[1], int64(r.Refunded))
		c.days[0], c.days[1], c.ints[0] = append(c.days[0], r.PostedOn), append(c.days[1], r.EndedOn), append(c.ints[0], r.PostedEntry)
	}
	r.fresh, r.dirty = false, false
}

func (s *saver) bill(account int64, b *Bill) {
	switch {
	case b.fresh:
		s.insert("bill", account, int32(b.Cycle), b.CutOn, b.MadeOn, b.DueOn, b.DeadlineOn, int64(b.Previous), int64(b.Payments), int64(b.Adjustments), int64(b.Charges), int64(b.Fees), int64(b.Balance), int64(b.AmountDue), int64(b.PendingCents), int64(b.DisputedCents), int64(b.DeferredCts),
			int64(b.Aging[0]), int64(b.Aging[1]), int64(b.Aging[2]), int64(b.Aging[3]), b.Entries, b.DebitOn, b.DebitMoved, b.DebitMissed, b.DebitNone, b.FeeBarred)
	case b.dirty:
		c := s.update("bill", account, int64(b.Cycle))
		for n, f := range []bool{b.DebitMoved, b.DebitMissed, b.DebitNone, b.FeeBarred} {
			c.flags[n] = append(c.flags[n], f)
		}
	}
	b.fresh, b.dirty = false, false
}

func (s *saver) debit(account int64, d *Debit) {
	switch {
	case d.fresh:
		s.insert("debit", account, int32(d.Cycle), d.Attempt, d.Receipt, int64(d.Cents), d.BuiltOn, d.EffectiveOn, int64(d.DueThen), (*int64)(d.LastBefore), d.Trace, d.SEC, d.MethodID, d.FileID, d.State, d.Missed, d.Code, d.ReturnedOn, d.RetryOn)
	case d.dirty:
		c := s.update("debit", account, int64(d.Receipt))
		c.texts[0], c.texts[1] = append(c.texts[0], d.State), append(c.texts[1], d.Code)
		c.days[0], c.days[1] = append(c.days[0], d.ReturnedOn), append(c.days[1], d.RetryOn)
	}
	d.fresh, d.dirty = false, false
}

func (s *saver) write(ctx context.Context) error {
	for _, t := range inserts {
		if rows := s.copies[t.table]; len(rows) > 0 {
			if _, err := s.tx.CopyFrom(ctx, pgx.Identifier{t.table}, t.columns, pgx.CopyFromRows(rows)); err != nil {
				return err
			}
		}
	}
	if err := ledger.Append(ctx, s.tx, s.entries); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	if c := s.updates["account"]; c != nil {
		batch.Queue(`update account a set docs = u.docs, entries = u.entries, looked = u.looked, first_cycle = u.first, last_cycle = u.last, autopay = u.autopay, autopay_since = u.since, relook = u.relook, last_debit_cents = u.debit
			from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::bigint[], $6::bigint[], $7::text[], $8::date[], $9::boolean[], $10::bigint[]) u(id, docs, entries, looked, first, last, autopay, since, relook, debit)
			where a.id = u.id`, c.ids, c.ints[0], c.ints[1], c.ints[2], c.cents[0], c.cents[1], c.texts[0], c.days[0], c.flags[0], c.nullable)
	}
	if c := s.updates["item"]; c != nil {
		batch.Queue(`update item i set state = u.state, ended = u.ended, cents = u.cents, paid = u.paid, cycle = u.cycle, billed_on = u.billed, made_on = u.made
			from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::date[], $9::date[]) u(id, no, state, ended, cents, paid, cycle, billed, made)
			where i.account_id = u.id and i.no = u.no`, c.ids, c.nos, c.texts[0], c.texts[1], c.cents[0], c.cents[1], c.ints[0], c.days[0], c.days[1])
	}
	if c := s.updates["receipt"]; c != nil {
		batch.Queue(`update receipt r set state = u.state, end_code = u.code, unapplied = u.unapplied, refunded = u.refunded, posted_on = u.posted, ended_on = u.ended, posted_entry = u.entry
			from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::date[], $8::date[], $9::int[]) u(id, no, state, code, unapplied, refunded, posted, ended, entry)
			where r.account_id = u.id and r.no = u.no`, c.ids, c.nos, c.texts[0], c.texts[1], c.cents[0], c.cents[1], c.days[0], c.days[1], c.ints[0])
	}
	if c := s.updates["bill"]; c != nil {
		batch.Queue(`update bill b set debit_moved = u.moved, debit_missed = u.missed, debit_none = u.nothing, fee_barred = u.barred
			from unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::boolean[], $5::boolean[], $6::boolean[]) u(id, cycle, moved, missed, nothing, barred)
			where b.account_id = u.id and b.cycle = u.cycle`, c.ids, c.nos, c.flags[0], c.flags[1], c.flags[2], c.flags[3])
	}
	if c := s.updates["hold"]; c != nil {
		batch.Queue(`update hold h set released_on = u.day, released_by = u.who from unnest($1::bigint[], $2::bigint[], $3::date[], $4::text[]) u(id, no, day, who)
			where h.account_id = u.id and h.no = u.no`, c.ids, c.nos, c.days[0], c.texts[0])
	}
	if c := s.updates["debit"]; c != nil {
		batch.Queue(`update debit d set state = u.state, code = u.code, returned_on = u.returned, retry_on = u.retry
			from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::date[], $6::date[]) u(id, receipt, state, code, returned, retry)
			where d.account_id = u.id and d.receipt = u.receipt`, c.ids, c.nos, c.texts[0], c.texts[1], c.days[0], c.days[1])
	}
	for _, e := range s.issues {
		batch.Queue(`insert into exception (account_id, on_date, job, code, subject, detail) values ($1, $2, $3, $4, $5, $6) on conflict do nothing`, e...)
	}
	if batch.Len() == 0 {
		return nil
	}
	return s.tx.SendBatch(ctx, batch).Close()
}

// Park writes that an account could not be worked on, for people and for the
// next run.
func Park(ctx context.Context, tx pgx.Tx, account int64, job string, day calendar.Date, why error) error {
	_, err := tx.Exec(ctx, `insert into parked (account_id, job, day, error) values ($1, $2, $3, $4)
		on conflict (account_id, job, day) do update set error = excluded.error`, account, job, day, why.Error())
	return err
}
