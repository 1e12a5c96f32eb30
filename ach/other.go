package ach

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Entries that are no debits: prenotes (prenote.go) and reversals (reverse.go).
// They are few. Their files are sealed, released, written and answered like
// those of debits; what they have in common apart from that is here.

// The kinds of entries that are no debits.
const (
	prenoteEntry  = "prenote"
	reversalEntry = "reversal"
)

// others streams the file's entries into the writer, and returns those that
// cannot be sent.
func (x *reading) others(ctx context.Context) ([]loose, error) {
	rows, err := x.tx.Query(ctx, `select e.trace, e.kind, e.account_id, e.method_id, e.cents, e.sec, coalesce(m.method = 'ach' and m.authorized_on <= $2 and (m.ended_on is null or m.ended_on > $2), false),
			coalesce(m.individual, ''), coalesce(m.routing, ''), coalesce(m.account_type, ''), coalesce(m.number_sealed, ''), coalesce(g.first_name || ' ' || g.last_name, '')
		from ach_entry e left join autopay_method m on m.id = e.method_id left join member g on g.mrn = m.individual
		where e.file_id = $1 and e.state = 'built' order by e.sec, e.trace`, x.file.ID, x.file.EffectiveOn)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d loose, err error) {
		var trace int64
		var kind, accountType, name string
		var sealed []byte
		if err := row.Scan(&trace, &kind, &d.account, &d.methodID, &d.Cents, &d.SEC, &d.inForce, &d.IndividualID, &d.Routing, &accountType, &sealed, &name); err != nil {
			return d, err
		}
		d.Trace, d.Prenote, d.Reversal, d.Savings = Trace(trace), kind == prenoteEntry, kind == reversalEntry, accountType == Savings
		if d.Name = plainName(name); d.Name == "" || d.Name == noName {
			d.Name = "MEMBER " + d.IndividualID
		}
		d.inForce = d.inForce || d.Reversal // it gives money back: to whom it was taken from, whatever holds since
		number, err := x.o.Keys.Open(sealed, methodContext(d.account))
		d.Account, d.unopened = string(number), err
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	if err := x.write(all); err != nil {
		return nil, err
	}
	if x.opened == 0 && x.unopened != nil {
		return nil, x.unopened
	}
	return x.bad, nil
}

// setAsideOthers takes what cannot be sent out of its file and puts it before a
// person.
func (o Office) setAsideOthers(ctx context.Context, tx pgx.Tx, bad []loose) error {
	var asks []billing.Raised
	traces := map[string][]int64{} // by why they can't be sent
	for _, d := range bad {
		traces[d.code] = append(traces[d.code], int64(d.Trace))
		subject := d.Trace.String()
		if d.Prenote && d.code == UnusableMethod {
			subject = strconv.FormatInt(d.methodID, 10) // Select passes the method over until this is cleared
		}
		what := "prenote"
		if d.Reversal {
			what = fmt.Sprintf("reversal of %s", d.Cents)
		}
		asks = append(asks, billing.Raised{Account: d.account, Exception: billing.Exception{On: o.Day, Job: "autopay", Code: d.code, Subject: subject,
			Detail: fmt.Sprintf("the %s was not sent: %s", what, d.problem)}})
	}
	for code, list := range traces {
		if err := takeOutEntries(ctx, tx, code, list...); err != nil {
			return err
		}
	}
	return billing.RaiseAll(ctx, tx, asks...)
}

// newest is of the entries that have borne trace numbers, which come round again
// after years, those that bear them now.
const newest = ` trace = any($1) and built_on = (select max(built_on) from ach_entry x where x.trace = ach_entry.trace)`

// withdrawEntries withdraws entries. A prenote's bank account waits for another
// one.
func withdrawEntries(ctx context.Context, tx pgx.Tx, code string, traces ...int64) error {
	_, err := tx.Exec(ctx, `with gone as (
			update ach_entry set state = 'withdrawn', code = $2 where`+newest+` and state in ('built', 'settled') returning kind, method_id
		) update autopay_method m set debit_from = null from gone where gone.kind = 'prenote' and m.id = gone.method_id`, traces, code)
	return err
}

// takeOutEntries withdraws entries of a file that goes out without them.
func takeOutEntries(ctx context.Context, tx pgx.Tx, code string, traces ...int64) error {
	if err := withdrawEntries(ctx, tx, code, traces...); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update ach_entry set file_id = null where`+newest+` and state = 'withdrawn'`, traces)
	return err
}

// entry is an entry that is no debit, as it stands.
type entry struct {
	trace    Trace
	kind     string
	account  int64
	receipt  int32
	methodID int64
	cents    ledger.Cents
	state    string
	released bool
}

// accountOf is the account of an entry.
func accountOf(e entry) int64 { return e.account }

// tracesOf are the trace numbers of entries.
func tracesOf(list []entry) (traces []int64) {
	for _, e := range list {
		traces = append(traces, int64(e.trace))
	}
	return traces
}

// entriesOf reads entries by a condition on ach_entry e and its file f, as they
// stand once their accounts are locked: an answer of the bank may change them until
// then.
func entriesOf(ctx context.Context, tx pgx.Tx, condition string, args ...any) ([]entry, error) {
	from := ` from ach_entry e left join ach_file f on f.id = e.file_id where ` + condition
	rows, err := tx.Query(ctx, `select distinct e.account_id`+from, args...)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	if err := billing.Lock(ctx, tx, ids...); err != nil {
		return nil, err
	}
	rows, err = tx.Query(ctx, `select e.trace, e.kind, e.account_id, e.receipt, e.method_id, e.cents, e.state, coalesce(f.state = 'released' and f.missed_on is null, false)`+
		from+` order by e.account_id, e.trace`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e entry, err error) {
		var trace int64
		err = row.Scan(&trace, &e.kind, &e.account, &e.receipt, &e.methodID, &e.cents, &e.state, &e.released)
		e.trace = Trace(trace)
		return e, err
	})
}

// SettleOthers lets the entries of a key range that are no debits take effect
// on their day: a released reversal takes the payment back, a released prenote
// is out; what nobody released is withdrawn. It has to run before anything
// posts on that day.
func SettleOthers(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range) (t billing.Tally, err error) {
	due, err := entriesOf(ctx, tx, `e.state = 'built' and e.effective_on <= $1 and e.account_id >= $2 and e.account_id < $3`, day, in.From, in.To)
	if err != nil || len(due) == 0 {
		return t, err
	}
	var late, out, reversals []entry
	for _, e := range due {
		if !e.released {
			t.Pass(e.account, billing.NotReleased, e.kind)
			late = append(late, e)
			continue
		}
		if out = append(out, e); e.kind == reversalEntry {
			reversals = append(reversals, e)
		} else {
			t.Did(1, 0)
		}
	}
	if err := notReleased(ctx, tx, day, late); err != nil {
		return t, err
	}
	if err := inParts(ctx, tx, reversals, accountOf, func(b *billing.Book, some []entry) error {
		for _, e := range some {
			a := b.Account(e.account)
			if err := a.ReverseDebit(p, a.DebitOf(e.receipt), day); err != nil { // it has come back meanwhile, which was put before a person
				t.Pass(e.account, returnedAndReversed, e.trace.String())
			} else {
				t.Did(1, 0)
			}
		}
		return nil
	}); err != nil {
		return t, err
	}
	_, err = tx.Exec(ctx, `update ach_entry set state = 'settled' where`+newest+` and state = 'built'`, tracesOf(out))
	return t, err
}

// notReleased withdraws entries whose file nobody released in time. A prenote is
// built again; a reversal has its days, so a person must decide.
func notReleased(ctx context.Context, tx pgx.Tx, day calendar.Date, late []entry) error {
	if err := withdrawEntries(ctx, tx, billing.NotReleased, tracesOf(late)...); err != nil {
		return err
	}
	var asks []billing.Raised
	for _, e := range late {
		if e.kind == reversalEntry {
			asks = append(asks, e.notSent(day, "the reversal of %s was withdrawn: nobody released its file; make it again, or pay the member back another way"))
		}
	}
	return billing.RaiseAll(ctx, tx, asks...)
}

// notSent puts a reversal before a person that did not go out.
func (e entry) notSent(day calendar.Date, words string) billing.Raised {
	return billing.Raised{Account: e.account, Exception: billing.Exception{On: day, Job: "ach", Code: reversalNotSent, Subject: e.trace.String(), Detail: fmt.Sprintf(words, e.cents)}}
}

// rejectedOthers takes back the entries of a file that the bank did not take.
func (o Office) rejectedOthers(ctx context.Context, tx pgx.Tx, f FileInfo) error {
	all, err := entriesOf(ctx, tx, `e.file_id = $1 and e.state in ('built', 'settled')`, f.ID)
	if err != nil {
		return err
	}
	var back []entry
	var asks []billing.Raised
	for _, e := range all {
		switch {
		case e.kind != reversalEntry:
			back = append(back, e)
		case e.state == "settled":
			asks = append(asks, e.notSent(o.Day, "the bank rejected the file of the reversal of %s, but the payment has been taken back in the books: agree with the bank on what holds"))
		default:
			back = append(back, e)
			asks = append(asks, e.notSent(o.Day, "the bank rejected the file of the reversal of %s: make it again, or pay the member back another way"))
		}
	}
	if err := withdrawEntries(ctx, tx, billing.RejectedByBank, tracesOf(back)...); err != nil {
		return err
	}
	return billing.RaiseAll(ctx, tx, asks...)
}

// mendOthers takes out of a sealed file what may not go out any more: prenotes
// of bank accounts that autopay does not use any more, reversals of debits that
// have come back by themselves.
func (o Office) mendOthers(ctx context.Context, tx pgx.Tx, f FileInfo) (FileInfo, int, error) {
	const inside = `e.file_id = $1 and e.state = 'built'`
	if _, err := entriesOf(ctx, tx, inside, f.ID); err != nil { // from here on nobody changes what decides
		return f, 0, err
	}
	gone, err := entriesOf(ctx, tx, inside+` and case e.kind
			when 'prenote' then not exists (select from account a join autopay_method m on m.account_id = a.id where a.id = e.account_id and m.id = e.method_id and a.autopay = 'on'
				and (m.ended_on is null or m.ended_on > e.effective_on) and not exists (select from hold h where h.account_id = a.id and h.released_on is null))
			else not exists (select from receipt r where r.account_id = e.account_id and r.no = e.receipt and r.state in ('pending', 'posted')) end`, f.ID)
	if err != nil || len(gone) == 0 {
		return f, 0, err
	}
	if err := f.without(ctx, tx, "not_needed", gone...); err != nil {
		return f, 0, err
	}
	f, err = o.refill(ctx, tx, f, "ach_mend")
	return f, len(gone), err
}

// without takes entries out of a file that is to be made anew.
func (f *FileInfo) without(ctx context.Context, tx pgx.Tx, code string, gone ...entry) error {
	for _, e := range gone {
		if e.kind == prenoteEntry {
			f.Prenotes--
		} else {
			f.Reversals, f.CreditCents = f.Reversals-1, f.CreditCents-e.cents
		}
	}
	return takeOutEntries(ctx, tx, code, tracesOf(gone)...)
}

// pullOther takes a prenote or a reversal out of a file before it is released.
// A bank account whose prenote was pulled is not tried out again until a person
// has cleared that.
func (o Office) pullOther(ctx context.Context, tx pgx.Tx, f *FileInfo, trace Trace, reason string) error {
	found, err := entriesOf(ctx, tx, `e.file_id = $1 and e.trace = $2 and e.state = 'built'`, f.ID, int64(trace))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return holdError("file %d (%s) holds no entry with the trace %s", f.ID, f.Name, trace)
	}
	e := found[0]
	if err := f.without(ctx, tx, billing.Pulled, e); err != nil || e.kind == reversalEntry {
		return err
	}
	return billing.Raise(ctx, tx, e.account, billing.Exception{On: o.Day, Job: "autopay", Code: UnusableMethod, Subject: strconv.FormatInt(e.methodID, 10), Detail: "its prenote was pulled out of its file: " + reason})
}
