package ach_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// takes takes in an enrolment as the feed does, and returns the account.
func (b *biller) takes(day calendar.Date, cents int, by string) (id int64) {
	b.Helper()
	id = b.account(ledger.Cents(cents))
	b.feeds(day, id, by, numberOf(id))
	return id
}

func (b *biller) feeds(day calendar.Date, id int64, by, number string) {
	b.Helper()
	row := fmt.Sprintf("mrn,method,routing,account,account_type,authorized_on,authorized_by\n%s,ach,%s,%s,checking,%s,%s\n", b.ask(`select mrn from account where id = $1`, id), ourBank, number, day, by)
	im := billing.Import{Policy: b.p, Day: day, Operator: "system", Keys: b.keys}
	if got, err := im.Autopay(b.Context(), b.db, strings.NewReader(row)); err != nil || got.Accepted != 1 {
		b.Fatalf("%+v %v", got, err)
	}
}

func newPrenoting(t *testing.T) *bank {
	k := newBank(t)
	k.p.ACH.Prenote = true
	return k
}

// prenote is the prenote of an account as the bank has it.
func (k *bank) prenote(id int64) ach.Entry {
	k.Helper()
	var file, trace int64
	k.must(k.db.QueryRow(k.Context(), `select file_id, trace from ach_entry where account_id = $1 and kind = 'prenote' order by built_on desc limit 1`, id).Scan(&file, &trace))
	o, problems, err := ach.ReadEntries(bytes.NewReader(k.bytes(file)))
	k.must(err)
	for _, e := range o.Debits {
		if e.Trace == ach.Trace(trace) && len(problems) == 0 {
			return e
		}
	}
	k.Fatalf("no prenote of account %d: %v", id, problems)
	return ach.Entry{}
}

func (b *biller) tried(id int64) string {
	b.Helper()
	return b.ask(`select e.state || ' ' || e.effective_on || ' ' || e.code || ' from ' || coalesce(m.debit_from::text, '') from ach_entry e join autopay_method m on m.id = e.method_id where e.account_id = $1 order by e.built_on`, id)
}

// A new bank account is tried out with zero cents, and debited from the third
// banking day after that settled.
func TestPrenote(t *testing.T) {
	k := newPrenoting(t)
	monday := calendar.MustParse("2026-03-02")
	id := k.takes(monday, 57500, "web")
	old := k.payer(20000) // enrolled before the policy wanted prenotes
	tally, files := k.build(monday)
	if tally.Done != 1 || tally.Cents != 0 || len(files) != 1 || files[0].Kind != ach.FileOfPrenotes || files[0].Prenotes != 1 || files[0].Entries != 0 || files[0].Cents != 0 {
		t.Fatalf("%+v %+v", tally, files)
	}
	if _, again := k.build(monday); len(again) != 0 {
		t.Errorf("built again: %+v", again)
	}
	content := string(k.bytes(files[0].ID))
	if e := k.prenote(id); !e.Prenote || e.Cents != 0 || e.Account != numberOf(id) || e.SEC != ach.WEB || !strings.Contains(content, "\n628"+ourBank+numberOf(id)) {
		t.Errorf("%+v\n%s", e, content)
	}
	report, err := ach.Inspect(strings.NewReader(content))
	if err != nil || len(report.Problems) > 0 || report.Prenotes != 1 || report.Entries != 1 || report.DebitCents != 0 {
		t.Errorf("%+v %v", report, err)
	}
	k.release(monday, files...)
	k.want("tried", k.tried(id), "built 2026-03-03  from 2026-03-06")
	k.post(monday + 1)
	k.want("settled", k.tried(id), "settled 2026-03-03  from 2026-03-06")
	k.sent(buildDay, dueDay)
	k.want("paid", k.figures(id)+", "+k.figures(old), "0 0 0 on, 0 0 0 on")
	k.want("invariants", k.broken(), "")
	// The same numbers under a new authorization were tried out.
	k.feeds(dueDay, id, "written", numberOf(id))
	k.feeds(dueDay, old, "written", numberOf(old))
	if _, files := k.build(dueDay); len(files) != 0 {
		t.Errorf("tried out again: %+v", files)
	}
	k.feeds(dueDay+1, id, "written", "777777")
	if _, files := k.build(dueDay + 1); len(files) != 1 || files[0].Prenotes != 1 {
		t.Errorf("another bank account: %+v", files)
	}
}

// The debit of a bill that the prenote's days reach beyond moves, and the
// member is not late for it.
func TestPrenoteMovesTheDebit(t *testing.T) {
	k := newPrenoting(t)
	day := calendar.MustParse("2026-03-20") // a Friday: settles on the 23rd
	id := k.takes(day, 57500, "written")
	_, files := k.build(day)
	k.release(day, files...)
	k.post(day + 3)
	if _, files := k.build(buildDay); len(files) != 0 {
		t.Errorf("debited too soon: %+v", files)
	}
	k.want("moved", k.ask(`select debit_on || ' ' || debit_moved from bill`), "2026-03-26 true")
	k.sent(buildDay+1, dueDay+1)
	k.want("paid", k.figures(id)+" "+k.debits(id), "0 0 0 on 0:2026-03-26:built")
	k.want("received", k.ask(`select received_on from receipt`), "2026-03-25")
	k.want("invariants", k.broken(), "")
}

// A prenote whose file nobody releases, or the bank rejects, is sent again, and
// nothing is debited before.
func TestPrenoteNotSent(t *testing.T) {
	for _, how := range []string{"not released", "rejected", "pulled"} {
		k := newPrenoting(t)
		day := calendar.MustParse("2026-03-20")
		id := k.takes(day, 57500, "web")
		_, files := k.build(day)
		// Years ago another one bore its trace number.
		k.exec(`insert into ach_entry (trace, kind, account_id, method_id, cents, sec, built_on, effective_on, state) select trace, kind, account_id, method_id + 1000, cents, sec, '2019-01-01', '2019-01-02', 'settled' from ach_entry`)
		o := k.office(day, "pat")
		switch how {
		case "rejected":
			k.release(day, files...)
			_, err := o.Say(t.Context(), ach.Word{File: files[0].Name, Status: ach.Rejected, Entries: -1, Cents: -1})
			k.must(err)
		case "pulled":
			f, err := o.Pull(t.Context(), files[0].ID, k.prenote(id).Trace, "the number looks wrong")
			if err != nil || f.State != ach.FileWithdrawn {
				t.Errorf("%+v %v", f, err)
			}
		}
		k.post(day + 3)
		k.want("the old one", k.ask(`select state from ach_entry where built_on < '2020-01-01'`), "settled")
		k.want(how, k.ask(`select state || coalesce(' ' || m.debit_from, '') from ach_entry e join autopay_method m on m.id = e.method_id`), "withdrawn")
		tally, files := k.build(day + 3)
		if how == "pulled" { // a person has to clear it
			if len(files) != 0 {
				t.Errorf("built again: %+v", files)
			}
			k.want("waits", k.exceptions(), "1:autopay:unusable_method:1")
			if tally, _ := k.build(dueDay); tally.Skipped[ach.UnusableMethod] != 1 {
				t.Errorf("%+v", tally)
			}
			continue
		}
		if len(files) != 1 || files[0].Prenotes != 1 {
			t.Fatalf("%s: %+v %+v", how, tally, files)
		}
		k.want("from", k.ask(`select debit_from from autopay_method`), "2026-03-27")
		k.release(day+3, files...)
		k.post(buildDay)
		k.sent(calendar.MustParse("2026-03-26"), calendar.MustParse("2026-03-27"))
		k.want("paid", k.debits(id), "0:2026-03-27:built")
		k.want("invariants", k.broken(), "")
	}
}

// A prenote that comes back is the end of its bank account, and no money moves.
func TestPrenoteReturned(t *testing.T) {
	for _, c := range []struct{ code, autopay string }{{"R02", "off"}, {"R03", "off"}, {"R04", "off"}, {"R20", "off"}, {"R10", "ended"}} {
		k := newPrenoting(t)
		day := calendar.MustParse("2026-03-19")
		id := k.takes(day, 57500, "web")
		_, files := k.build(day)
		k.release(day, files...)
		k.post(day + 1)
		answer := k.file(day+4, []ach.ReturnOut{{Original: k.prenote(id), Code: c.code}}, nil)
		if in := k.ingest(day+4, answer); in.Returns != 1 || in.Applied != 1 || in.Unmatched+in.Review != 0 {
			t.Errorf("%s: %+v", c.code, in)
		}
		if in := k.ingest(day+4, append(answer, '\n')); in.Repeated != 1 || in.Applied != 0 {
			t.Errorf("%s again: %+v", c.code, in)
		}
		k.want(c.code, k.figures(id), "57500 0 57500 "+c.autopay)
		k.want("tried", k.tried(id), "returned 2026-03-20 "+c.code+" from ")
		k.want("ended", k.ask(`select ended_on from autopay_method`), "2026-03-23")
		k.want("asks", k.exceptions(), "1:ach:prenote_returned:1")
		for d := day + 4; d < dueDay+5; d++ {
			if _, files := k.build(d); len(files) > 0 {
				t.Errorf("%s: debited by %+v", c.code, files)
			}
		}
		k.want("invariants", k.broken(), "")
		// The same numbers once more are tried out once more.
		k.feeds(dueDay+5, id, "phone", numberOf(id))
		if _, files := k.build(dueDay + 5); len(files) != 1 || files[0].Prenotes != 1 {
			t.Errorf("%s: %+v", c.code, files)
		}
	}
}

// A correction of a prenote is followed by the first debit, without another
// prenote; one that comes back while a debit waits for its release stops it.
func TestPrenoteAnsweredBeforeTheDebit(t *testing.T) {
	for _, code := range []string{"C01", "R03"} {
		k := newPrenoting(t)
		day := calendar.MustParse("2026-03-18")
		id := k.takes(day, 57500, "web")
		_, files := k.build(day)
		k.release(day, files...)
		k.post(day + 1)
		_, files = k.build(buildDay)
		if len(files) != 1 || files[0].Entries != 1 {
			t.Fatalf("%+v", files)
		}
		e := k.prenote(id)
		if code == "C01" {
			in := k.ingest(buildDay, k.file(buildDay, nil, []ach.CorrectionOut{{Original: e, Correction: ach.Correction{Code: "C01", Account: "4711"}}}))
			if in.Applied != 1 {
				t.Errorf("%+v", in)
			}
			k.refused(k.office(buildDay, "ann"), files[0].ID, "made anew")
			k.want("corrected", k.held(files[0].ID), mrnOf(id)+" 4711")
			k.release(buildDay, files...)
			k.post(dueDay)
			k.want("paid", k.figures(id), "0 0 0 on")
		} else {
			k.ingest(buildDay, k.file(buildDay, []ach.ReturnOut{{Original: e, Code: code}}, nil))
			k.refused(k.office(buildDay, "ann"), files[0].ID, "made anew")
			k.want("nothing left", k.ask(`select state from ach_file where kind = 'debits'`), "withdrawn")
			k.want("due again", k.figures(id), "57500 0 57500 off")
		}
		k.want("no other prenote", k.ask(`select count(*) from ach_entry`), "1")
		k.want("invariants", k.broken(), "")
	}
}

// Prenotes of bank accounts that were given up before the release do not go.
func TestPrenoteNotNeeded(t *testing.T) {
	k := newPrenoting(t)
	day := calendar.MustParse("2026-03-18")
	one, two := k.takes(day, 100, "web"), k.takes(day, 200, "written")
	_, files := k.build(day)
	k.change(one, func(a *billing.Account) { a.SetAutopay(k.p, false, day) })
	k.refused(k.office(day, "ann"), files[0].ID, "made anew")
	k.want("the other's", k.held(files[0].ID), mrnOf(two)+" "+numberOf(two))
	k.release(day, files...)
	k.want("invariants", k.broken(), "")
}

// Whether an account is on hold counts as of the night's day, also in a night that
// is made up for after the hold was placed, or released.
func TestPrenoteOfAHoldMadeUpFor(t *testing.T) {
	k := newPrenoting(t)
	monday := calendar.MustParse("2026-03-02")
	since, until := k.takes(monday, 57500, "web"), k.takes(monday, 20000, "web")
	k.change(since, func(a *billing.Account) { a.Place(monday+1, "legal", "ann", "", false) })
	k.change(until, func(a *billing.Account) {
		a.Place(monday-1, "legal", "ann", "", false)
		a.Release(monday+1, "legal", "ann")
	})
	k.build(monday)
	k.want("on hold later", k.tried(since), "built 2026-03-03  from 2026-03-06")
	k.want("on hold then", k.ask(`select count(*) from ach_entry where account_id = $1`, until), "0")
	k.build(monday + 1)
	k.want("released", k.tried(until), "built 2026-03-04  from 2026-03-09")
}
