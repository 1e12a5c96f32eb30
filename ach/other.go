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
	for _, d := range bad {
		subject := d.Trace.String()
		if d.Prenote && d.code == UnusableMethod {
			subject = strconv.FormatInt(d.methodID, 10) // Select passes the method over until this is cleared
		}
		if err := takeOutEntry(ctx, tx, d.Trace, d.code); err != nil {
			return err
		}
		what := "prenote"
		if d.Reversal {
			what = fmt.Sprintf("reversal of %s", d.Cents)
		}
		e := billing.Exception{On: o.Day, Job: "autopay", Code: d.code, Subject: subject, Detail: fmt.Sprintf("the %s was not sent: %s", what, d.problem)}
		if err := billing.Raise(ctx, tx, d.account, e); err != nil {
			return err
		}
	}
	return nil
}

// newest is of the entries that have borne a trace number, which come round
// again after years, the one that bears it now.
const newest = ` trace = $1 and built_on = (select max(built_on) from ach_entry where trace = $1)`

// withdrawEntry withdraws an entry. A prenote's bank account waits for another
// one.
func withdrawEntry(ctx context.Context, tx pgx.Tx, trace Trace, code string) error {
	_, err := tx.Exec(ctx, `with gone as (
			update ach_entry set state = 'withdrawn', code = $2 where`+newest+` and state in ('built', 'settled') returning kind, method_id
		) update autopay_method m set debit_from = null from gone where gone.kind = 'prenote' and m.id = gone.method_id`, int64(trace), code)
	return err
}

// takeOutEntry withdraws an entry of a file that goes out without it.
func takeOutEntry(ctx context.Context, tx pgx.Tx, trace Trace, code string) error {
	if err := withdrawEntry(ctx, tx, trace, code); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update ach_entry set file_id = null where`+newest+` and state = 'withdrawn'`, int64(trace))
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

// entriesOf reads entries by a condition on ach_entry e and its file f.
func entriesOf(ctx context.Context, tx pgx.Tx, condition string, args ...any) ([]entry, error) {
	rows, err := tx.Query(ctx, `select e.trace, e.kind, e.account_id, e.receipt, e.method_id, e.cents, e.state, coalesce(f.state = 'released' and f.missed_on is null, false)
		from ach_entry e left join ach_file f on f.id = e.file_id where `+condition+` order by e.account_id, e.trace`, args...)
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
	var ids []int64
	for _, e := range due {
		if e.kind == reversalEntry && e.released {
			ids = append(ids, e.account)
		}
	}
	b, err := billing.Load(ctx, tx, billing.Whole, ids...)
	if err != nil {
		return t, err
	}
	for _, e := range due {
		if !e.released {
			if err := notReleased(ctx, tx, day, e); err != nil {
				return t, err
			}
			t.Pass(e.account, billing.NotReleased, e.kind)
			continue
		}
		if e.kind == reversalEntry {
			a := b.Account(e.account)
			if err := a.ReverseDebit(p, a.DebitOf(e.receipt), day); err != nil { // it has come back meanwhile, which was put before a person
				t.Pass(e.account, returnedAndReversed, e.trace.String())
			} else {
				t.Did(1, 0)
			}
		} else {
			t.Did(1, 0)
		}
		if _, err := tx.Exec(ctx, `update ach_entry set state = 'settled' where`+newest+` and state = 'built'`, int64(e.trace)); err != nil {
			return t, err
		}
	}
	return t, b.Save(ctx)
}

// notReleased withdraws an entry whose file nobody released in time. A prenote
// is built again; a reversal has its days, so a person must decide.
func notReleased(ctx context.Context, tx pgx.Tx, day calendar.Date, e entry) error {
	if err := withdrawEntry(ctx, tx, e.trace, billing.NotReleased); err != nil || e.kind == prenoteEntry {
		return err
	}
	return billing.Raise(ctx, tx, e.account, billing.Exception{On: day, Job: "ach", Code: reversalNotSent, Subject: e.trace.String(),
		Detail: fmt.Sprintf("the reversal of %s was withdrawn: nobody released its file; make it again, or pay the member back another way", e.cents)})
}

// rejectedOthers takes back the entries of a file that the bank did not take.
func (o Office) rejectedOthers(ctx context.Context, tx pgx.Tx, f FileInfo) error {
	all, err := entriesOf(ctx, tx, `e.file_id = $1 and e.state in ('built', 'settled')`, f.ID)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.kind == reversalEntry {
			detail := fmt.Sprintf("the bank rejected the file of the reversal of %s: make it again, or pay the member back another way", e.cents)
			if e.state == "settled" {
				detail = fmt.Sprintf("the bank rejected the file of the reversal of %s, but the payment has been taken back in the books: agree with the bank on what holds", e.cents)
			}
			if err := o.ask(ctx, tx, e.account, reversalNotSent, e.trace.String(), detail); err != nil {
				return err
			}
			if e.state == "settled" {
				continue
			}
		}
		if err := withdrawEntry(ctx, tx, e.trace, billing.RejectedByBank); err != nil {
			return err
		}
	}
	return nil
}

// mendOthers takes out of a sealed file what may not go out any more: prenotes
// of bank accounts that autopay does not use any more, reversals of debits that
// have come back by themselves.
func (o Office) mendOthers(ctx context.Context, tx pgx.Tx, f FileInfo) (FileInfo, int, error) {
	gone, err := entriesOf(ctx, tx, `e.file_id = $1 and e.state = 'built' and case e.kind
			when 'prenote' then not exists (select from account a join autopay_method m on m.account_id = a.id where a.id = e.account_id and m.id = e.method_id and a.autopay = 'on'
				and (m.ended_on is null or m.ended_on > e.effective_on) and not exists (select from hold h where h.account_id = a.id and h.released_on is null))
			else not exists (select from receipt r where r.account_id = e.account_id and r.no = e.receipt and r.state in ('pending', 'posted')) end`, f.ID)
	if err != nil || len(gone) == 0 {
		return f, 0, err
	}
	for _, e := range gone {
		if err := f.without(ctx, tx, e, "not_needed"); err != nil {
			return f, 0, err
		}
	}
	f, err = o.refill(ctx, tx, f, "ach_mend")
	return f, len(gone), err
}

// without takes an entry out of a file that is to be made anew.
func (f *FileInfo) without(ctx context.Context, tx pgx.Tx, e entry, code string) error {
	if e.kind == prenoteEntry {
		f.Prenotes--
	} else {
		f.Reversals, f.CreditCents = f.Reversals-1, f.CreditCents-e.cents
	}
	return takeOutEntry(ctx, tx, e.trace, code)
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
	if err := f.without(ctx, tx, e, billing.Pulled); err != nil || e.kind == reversalEntry {
		return err
	}
	return billing.Raise(ctx, tx, e.account, billing.Exception{On: o.Day, Job: "autopay", Code: UnusableMethod, Subject: strconv.FormatInt(e.methodID, 10), Detail: "its prenote was pulled out of its file: " + reason})
}
