package ach_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// trace is that of an account's newest debit.
func (b *biller) trace(id int64) ach.Trace {
	b.Helper()
	trace, err := ach.ParseTrace(b.ask(`select lpad(trace::text, 15, '0') from debit where account_id = $1 order by receipt desc limit 1`, id))
	b.must(err)
	return trace
}

func (b *biller) reverses(day calendar.Date, fault ach.Fault, traces ...ach.Trace) ach.FileInfo {
	b.Helper()
	f, err := b.office(day, "pat").Reverse(b.Context(), fault, "seen by the bank", traces...)
	b.must(err)
	return f
}

// back is the reversal of an account as the bank has it.
func (k *bank) back(file, id int64) ach.Entry {
	k.Helper()
	o, problems, err := ach.ReadEntries(bytes.NewReader(k.bytes(file)))
	k.must(err)
	for _, e := range o.Back {
		if e.IndividualID == mrnOf(id) && len(problems) == 0 {
			return e
		}
	}
	k.Fatalf("no reversal of account %d: %v", id, problems)
	return ach.Entry{}
}

// A debit sent in error is given back whole: the same bank account, amount and
// individual, as a credit described REVERSAL. When it takes effect the payment
// is taken back, with no fee, and autopay leaves that bill alone.
func TestReversal(t *testing.T) {
	k := newBank(t)
	k.p.ACH.Balanced, k.p.Company.OffsetAccount = true, "5550001"
	id, other := k.payer(57500), k.payer(20000)
	k.enrol(k.account(300), cutDay, "written")
	k.sent(buildDay, dueDay)
	day := dueDay + 1
	f := k.reverses(day, ach.Duplicate, k.trace(id))
	if f.Kind != ach.FileOfReversals || f.Reversals != 1 || f.CreditCents != 57500 || f.Entries != 0 || f.Cents != 0 || f.EffectiveOn != calendar.MustParse("2026-03-27") || f.State != ach.FileSealed || f.Maker != "pat" {
		t.Errorf("%+v", f)
	}
	sent, e := k.entry(id), k.back(f.ID, id)
	if e.Trace == sent.Trace || e.Cents != sent.Cents || e.Routing != sent.Routing || e.Account != sent.Account || e.SEC != sent.SEC || e.Name != sent.Name {
		t.Errorf("reversed %+v by %+v", sent, e)
	}
	content := string(k.bytes(f.ID))
	if !strings.Contains(content, "WEBREVERSAL  ") || !strings.Contains(content, "\n622"+ourBank+numberOf(id)) {
		t.Error(content)
	}
	report, err := ach.Inspect(strings.NewReader(content))
	if err != nil || len(report.Problems) > 0 || report.Reversals != 1 || report.CreditCents != 57500 || report.DebitCents != 57500 {
		t.Errorf("%+v %v", report, err)
	}
	k.want("not yet", k.figures(id), "0 0 0 on")
	k.refused(k.office(day, "Pat"), f.ID, "made it")
	k.refused(k.office(day, "system"), f.ID, "a person must")
	k.release(day, f)
	k.post(f.EffectiveOn)
	k.want("owes again", k.figures(id), "57500 0 57500 on")
	k.want("the other's", k.figures(other), "0 0 0 on")
	k.want("receipt", k.ask(`select state || ' ' || end_code || ' ' || ended_on from receipt where account_id = $1`, id), "returned reversed 2026-03-27")
	k.post(f.EffectiveOn)
	for d := f.EffectiveOn; d < f.EffectiveOn+10; d++ {
		if _, files := k.build(d); len(files) != 0 {
			t.Errorf("%s: %+v", d, files)
		}
	}
	k.ranged(billingLateFees, calendar.MustParse("2026-04-02"))
	k.want("no fee", k.figures(id), "57500 0 57500 on")
	k.want("asks nobody", k.exceptions(), "")
	k.want("acts", k.ask(`select verb || ' ' || operator from act order by id`), "ach_release ann ach_reverse pat ach_release ann")
	k.want("rates", fmt.Sprint(k.rates(day+10)), "[{1941234567 unauthorized 2026-02-05 2026-04-05 3 0 0.00 0.50 ok} {1941234567 administrative 2026-02-05 2026-04-05 3 0 0.00 3.00 ok} {1941234567 overall 2026-02-05 2026-04-05 3 0 0.00 15.00 ok}]")
	k.want("invariants", k.broken(), "")

	// The bank debits our account for it, and says so.
	in, err := k.office(day, "system").Ingest(t.Context(), "ack.csv", strings.NewReader(fmt.Sprintf("file,status,entries,debit_cents\n%s,accepted,2,57500\n", f.Name)))
	if err != nil || in.Applied != 1 {
		t.Errorf("%+v %v", in, err)
	}
}

func (b *biller) rates(day calendar.Date) []ach.ReturnRate {
	b.Helper()
	list, err := b.office(day, "").Rates(b.Context())
	b.must(err)
	return list
}

// What cannot be reversed is said for every debit that was named, and nothing
// is done.
func TestReverseRefuses(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	phone := k.account(300)
	k.enrol(phone, cutDay, "phone")
	back := k.payer(400)
	waits := k.payer(500)
	k.sent(buildDay, dueDay)
	k.returns(dueDay+1, back, "R02")
	k.exec(`update bill set debit_on = $2 where account_id = $1`, waits, dueDay+1)
	k.exec(`update ach_file set released_sha256 = sha256`)
	for _, c := range []struct {
		day    calendar.Date
		traces []ach.Trace
		says   string
	}{
		{dueDay, nil, "nothing was reversed"},
		{dueDay, []ach.Trace{121000350009999}, "121000350009999: no debit of the last 180 days"},
		{dueDay, []ach.Trace{k.trace(id), k.trace(phone)}, "by phone (TEL) takes no credit"},
		{dueDay, []ach.Trace{k.trace(id), k.trace(id)}, "named twice"},
		{dueDay + 1, []ach.Trace{k.trace(back)}, "has come back by itself"},
		{calendar.AddBankingDays(dueDay, 5), []ach.Trace{k.trace(id)}, "took effect on 2026-03-25, so its reversal had to by 2026-04-01"},
	} {
		if _, err := k.office(c.day, "pat").Reverse(t.Context(), ach.WrongAmount, "why", c.traces...); !errors.Is(err, ach.ErrReverse) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.traces, err, c.says)
		}
	}
	if _, err := k.office(dueDay, "pat").Reverse(t.Context(), "changed its mind", "why", k.trace(id)); !errors.Is(err, ach.ErrReverse) {
		t.Errorf("reversed for no fault: %v", err)
	}
	k.want("nothing was done", k.ask(`select count(*) from ach_entry`), "0")
	last := k.reverses(calendar.AddBankingDays(dueDay, 4), ach.WrongAmount, k.trace(id))
	k.want("the last day", last.EffectiveOn.String(), "2026-04-01")
	if _, err := k.office(dueDay, "pat").Reverse(t.Context(), ach.WrongAmount, "why", k.trace(id)); err == nil || !strings.Contains(err.Error(), "reversed already") {
		t.Errorf("reversed twice: %v", err)
	}
	k.want("invariants", k.broken(), "")
}

// A debit that has not gone out is pulled, not reversed; one that has not taken
// effect is reversed as it does.
func TestReverseBeforeTheEffectiveDate(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	_, files := k.build(buildDay)
	if _, err := k.office(buildDay, "pat").Reverse(t.Context(), ach.Duplicate, "why", k.trace(id)); err == nil || !strings.Contains(err.Error(), "pull it") {
		t.Errorf("%v", err)
	}
	k.release(buildDay, files...)
	f := k.reverses(buildDay, ach.WrongDate, k.trace(id))
	k.release(buildDay, f)
	k.post(dueDay)
	k.want("due again", k.figures(id), "57500 0 57500 on")
	k.want("never posted", k.ask(`select count(*) from journal where what = 'payment'`), "0")
	k.want("invariants", k.broken(), "")
}

// A reversal that nobody releases has had its time; one that is pulled, or whose
// debit has come back by itself, does not go.
func TestReversalDoesNotGo(t *testing.T) {
	for _, how := range []string{"not released", "pulled", "returned meanwhile", "rejected"} {
		k := newBank(t)
		id, other := k.payer(57500), k.payer(20000)
		k.sent(buildDay, dueDay)
		day := dueDay + 1
		f := k.reverses(day, ach.WrongReceiver, k.trace(id), k.trace(other))
		want, asks := "0 0 0 on", ""
		switch how {
		case "not released":
			asks = "1:ach:reversal_not_sent:T 2:ach:reversal_not_sent:T"
		case "pulled":
			_, err := k.office(day, "joe").Pull(t.Context(), f.ID, k.back(f.ID, id).Trace, "it was right")
			k.must(err)
			k.refused(k.office(day, "joe"), f.ID, "edited it")
			k.release(day, f)
		case "returned meanwhile":
			k.returns(day, id, "R10")
			k.refused(k.office(day, "ann"), f.ID, "made anew")
			k.release(day, f)
			want, asks = "57500 0 57500 ended", "1:ach:authorization_R10:T"
		case "rejected":
			k.release(day, f)
			_, err := k.office(day, "pat").Say(t.Context(), ach.Word{File: f.Name, Status: ach.Rejected, Entries: -1, Cents: -1})
			k.must(err)
			asks = "0:ach:file_unknown:T 1:ach:reversal_not_sent:T 2:ach:reversal_not_sent:T"
		}
		k.post(f.EffectiveOn)
		k.want(how, k.figures(id), want)
		if how == "pulled" || how == "returned meanwhile" {
			k.want(how+", the other", k.figures(other), "20000 0 20000 on")
		}
		var seen []string
		for _, e := range strings.Fields(k.exceptions()) {
			seen = append(seen, e[:strings.LastIndex(e, ":")]+":T")
		}
		k.want(how+" asks", strings.Join(seen, " "), asks)
		k.want(how+" invariants", k.broken(), "")
	}
}

// A member must not have the money twice without anybody seeing it.
func TestReversedAndReturned(t *testing.T) {
	for _, settled := range []bool{false, true} {
		k := newBank(t)
		id := k.payer(57500)
		k.sent(buildDay, dueDay)
		f := k.reverses(dueDay+1, ach.Duplicate, k.trace(id))
		k.release(dueDay+1, f)
		day := dueDay + 1
		if settled {
			day = f.EffectiveOn
			k.post(day)
		}
		answer := []ach.ReturnOut{{Original: k.entry(id), Code: "R01"}}
		in := k.ingest(day, k.file(day, answer, nil))
		if settled && in.Review != 1 || !settled && in.Applied != 1 {
			t.Errorf("%+v", in)
		}
		k.post(f.EffectiveOn)
		fee := 0
		if !settled {
			fee = 2500
		}
		k.want("once only in the books", k.figures(id), fmt.Sprintf("%d 0 57500 on", 57500+fee))
		k.want("asks", k.exceptions(), "1:ach:returned_and_reversed:"+k.trace(id).String())
		k.want("invariants", k.broken(), "")
	}
}

// A reversal that the member's bank does not take leaves us with the money, and
// goes to a person.
func TestReversalReturned(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	f := k.reverses(dueDay+1, ach.Duplicate, k.trace(id))
	k.release(dueDay+1, f)
	k.post(f.EffectiveOn)
	e := k.back(f.ID, id)
	answer := k.file(f.EffectiveOn+3, []ach.ReturnOut{{Original: e, Code: "R02"}}, nil)
	if in := k.ingest(f.EffectiveOn+3, answer); in.Returns != 1 || in.Review != 1 || in.Unmatched != 0 {
		t.Errorf("%+v\n%s", in, answer)
	}
	if in := k.ingest(f.EffectiveOn+3, append(answer, '\n')); in.Repeated != 1 {
		t.Errorf("%+v", in)
	}
	k.want("asks", k.exceptions(), "1:ach:reversal_returned:"+e.Trace.String())
	k.want("figures", k.figures(id), "57500 0 57500 on")
	k.want("invariants", k.broken(), "")
}

// meanwhile does something while another transaction has the account: it is over,
// or waits for the account, before that one commits.
func (b *biller) meanwhile(id int64, do func() error, other func(tx pgx.Tx, a *billing.Account)) error {
	b.Helper()
	done := make(chan error, 1)
	b.must(pgx.BeginFunc(b.Context(), b.db, func(tx pgx.Tx) error {
		book, err := billing.Load(b.Context(), tx, billing.Whole, id)
		if err != nil {
			return err
		}
		go func() { done <- do() }()
		for len(done) == 0 && b.ask(`select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`) == "0" {
			time.Sleep(5 * time.Millisecond)
		}
		other(tx, book.Account(id))
		return book.Save(b.Context())
	}))
	return <-done
}

// A reversal that came back while its range waited for the account takes nothing
// back.
func TestReversalReturnedAsItSettles(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	f := k.reverses(dueDay+1, ach.Duplicate, k.trace(id))
	k.release(dueDay+1, f)
	k.must(k.meanwhile(id, func() error {
		return pgx.BeginFunc(t.Context(), k.db, func(tx pgx.Tx) error {
			_, err := ach.SettleOthers(t.Context(), tx, k.p, f.EffectiveOn, billing.Range{From: 1, To: 1 << 40})
			return err
		})
	}, func(tx pgx.Tx, _ *billing.Account) {
		_, err := tx.Exec(t.Context(), `update ach_entry set state = 'returned', code = 'R02', returned_on = $1`, f.EffectiveOn)
		k.must(err)
	}))
	k.want("paid", k.figures(id), "0 0 0 on")
	k.want("invariants", k.broken(), "")
}

// Neither does one go out whose debit comes back as its file is released.
func TestDebitReturnedAsItsReversalIsReleased(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	f := k.reverses(dueDay+1, ach.Duplicate, k.trace(id))
	err := k.meanwhile(id, func() error {
		_, err := k.office(dueDay+1, "ann").Release(t.Context(), f.ID)
		return err
	}, func(_ pgx.Tx, a *billing.Account) { k.must(a.ReturnDebit(k.p, a.Debits[0], dueDay+1, "R01")) })
	if refused := (*ach.ReleaseError)(nil); !errors.As(err, &refused) {
		t.Errorf("released: %v", err)
	}
	k.want("reversal", k.ask(`select state from ach_entry`), "withdrawn")
	k.want("invariants", k.broken(), "")
}
