package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// tale tells an account's life in memory, day by day.
type tale struct {
	*testing.T
	p billing.Policy
	a *billing.Account
}

func newTale(t *testing.T) *tale {
	return &tale{t, billing.DefaultPolicy(), billing.NewAccount(1, ann, day("2026-01-01"))}
}

func (l *tale) charge(on string, kind billing.Kind, cents ledger.Cents) {
	l.a.Charge(&l.p, day(on), kind, cents, billing.Detail{})
}

// pay takes in money that posts later than it was received, or the same day.
func (l *tale) pay(received, posted string, cents ledger.Cents) {
	r := l.a.Receive(day(received), billing.Receipt{Channel: "online", Cents: cents, ReceivedOn: day(received), PostsOn: day(posted)})
	l.a.Post(&l.p, r, day(posted))
}

// pending takes in money that has not posted yet.
func (l *tale) pending(received string, cents ledger.Cents) *billing.Receipt {
	return l.a.Receive(day(received), billing.Receipt{Channel: "lockbox", Cents: cents, ReceivedOn: day(received), PostsOn: day(received) + 7})
}

// cut cuts what a run of a day has to; it returns the newest bill.
func (l *tale) cut(on string) *billing.Bill {
	l.Helper()
	bills, reason := l.a.Cut(&l.p, day(on))
	if reason != "" {
		l.Fatalf("%s: no statement: %s", on, reason)
	}
	return bills[len(bills)-1]
}

func (l *tale) makePlan(on string, cents ledger.Cents, installments int) *billing.Plan {
	l.Helper()
	pl, err := l.a.MakePlan(&l.p, day(on), billing.Medical, cents, installments)
	if err != nil {
		l.Fatal(err)
	}
	return pl
}

// stands compares what the account owes, and what of it is due.
func (l *tale) stands(when string, owed, due ledger.Cents) {
	l.Helper()
	f := l.a.Figures()
	if f.Ledger != owed || f.Due != due {
		l.Errorf("%s: ledger %d, due %d; want %d and %d", when, f.Ledger, f.Due, owed, due)
	}
	var booked ledger.Cents
	for _, e := range l.a.Entries() {
		booked += e.Member()
	}
	if booked != f.Ledger {
		l.Errorf("%s: the journal says %d, the items %d", when, booked, f.Ledger)
	}
}

func (l *tale) looksAtPlans(on string, broken, kept int, rest ledger.Cents) {
	l.Helper()
	for range 2 { // the second look finds nothing left to do
		b, k, r, held := l.a.LookAtPlans(&l.p, day(on))
		if b != broken || k != kept || r != rest || held != "" {
			l.Errorf("%s: broken %d, kept %d, rest %d, held %q; want %d, %d, %d", on, b, k, r, held, broken, kept, rest)
		}
		broken, kept, rest = 0, 0, 0
	}
}

func TestPlanInstallmentsAddUp(t *testing.T) {
	for _, c := range []struct {
		cents        ledger.Cents
		installments int
		want         []ledger.Cents
	}{
		{100000, 7, []ledger.Cents{14285, 14285, 14285, 14285, 14285, 14285, 14290}},
		{100, 3, []ledger.Cents{33, 33, 34}},
		{2, 2, []ledger.Cents{1, 1}},
		{5000, 1, []ledger.Cents{5000}},
	} {
		l := newTale(t)
		l.charge("2026-03-01", billing.Medical, c.cents-1)
		l.charge("2026-03-01", billing.Medical, 501) // 500 stay out of the plan
		l.cut("2026-03-01")
		l.makePlan("2026-03-05", c.cents, c.installments)
		l.stands("planned", c.cents+500, 500)
		cycle := calendar.CycleOf(day("2026-04-01"))
		due := ledger.Cents(500)
		for n, cents := range c.want {
			due += cents
			b := l.cut((cycle + calendar.Cycle(n)).First().String())
			if b.AmountDue != due || b.Balance != c.cents+500 || b.DeferredCts != c.cents+500-due {
				t.Errorf("%d in %d, cut %d: due %d of %d, deferred %d; want due %d", c.cents, c.installments, n+1, b.AmountDue, b.Balance, b.DeferredCts, due)
			}
		}
		if b := l.cut((cycle + calendar.Cycle(len(c.want))).First().String()); b.AmountDue != due {
			t.Errorf("%d in %d: something was billed after the last installment", c.cents, c.installments)
		}
	}
}

func TestPlanRefused(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 10000)
	l.charge("2026-03-01", billing.Premium, 5000)
	l.cut("2026-03-01")
	l.charge("2026-03-02", billing.Medical, 7000) // unbilled
	for _, c := range []struct {
		kind         billing.Kind
		cents        ledger.Cents
		installments int
	}{{billing.Medical, 10001, 2}, {billing.Medical, 5, 6}, {billing.Medical, 100, 0}, {billing.Medical, 0, 1}, {billing.Medical, -10, 1}, {billing.Fee, 100, 1}} {
		if _, err := l.a.MakePlan(&l.p, day("2026-03-05"), c.kind, c.cents, c.installments); err == nil {
			t.Errorf("%+v was agreed on", c)
		}
	}
	l.stands("nothing agreed", 22000, 15000)
}

// An installment is in no late fee's base, and stands behind the other medical
// items of its statement.
func TestInstallmentBearsNoLateFee(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 60000)
	l.cut("2026-03-01")
	l.makePlan("2026-03-05", 60000, 3)
	l.charge("2026-03-20", billing.Medical, 3000)
	l.cut("2026-04-01") // 20000 + 3000, due 2026-04-27
	l.pay("2026-04-10", "2026-04-10", 1000)
	l.stands("part paid", 62000, 22000)
	if base := l.a.LateBase(&l.p, l.a.Bills[1]); base != 2000 {
		t.Errorf("base %d, want 2000: the charge took the money before the installment, which is not in it", base)
	}
}

func TestPlanBroken(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 60000)
	l.cut("2026-03-01")
	pl := l.makePlan("2026-03-05", 60000, 6)
	l.cut("2026-04-01") // due 2026-04-27, deadline 2026-05-02
	l.cut("2026-05-01") // due 2026-05-26, deadline 2026-05-31
	l.looksAtPlans("2026-05-31", 0, 0, 0)
	l.a.Place(day("2026-06-01"), "legal", "ann", "", false)
	if _, _, _, held := l.a.LookAtPlans(&l.p, day("2026-06-01")); held != "legal" || pl.State != billing.PlanRunning {
		t.Error("a plan broke on hold")
	}
	l.a.Release(day("2026-06-01"), "", "ann")
	l.looksAtPlans("2026-06-01", 1, 0, 40000)
	l.stands("broken", 60000, 20000)
	b := l.cut("2026-06-01")
	if b.AmountDue != 60000 || b.Aging[0] != 40000 || b.Aging[1] != 10000 || b.Aging[2] != 10000 {
		t.Errorf("due %d, aged %v: the rest counts as first billed now", b.AmountDue, b.Aging)
	}
	if base := l.a.LateBase(&l.p, b); base != 40000 {
		t.Errorf("base %d: the rest of a broken plan is in it, unpaid installments are not", base)
	}
	if pl.State != billing.PlanBroken || pl.EndedOn != day("2026-06-01") {
		t.Errorf("%+v", pl)
	}
}

// One paid since is not missed any more, and a check that is still pending
// counts from the day it was received.
func TestInstallmentPaidLateOrPending(t *testing.T) {
	for _, c := range []struct {
		name   string
		pay    func(l *tale)
		broken int
	}{
		{"nothing", func(l *tale) {}, 1},
		{"first paid after its deadline", func(l *tale) { l.pay("2026-05-20", "2026-05-20", 10000) }, 0},
		{"all but a cent", func(l *tale) { l.pay("2026-05-20", "2026-05-20", 9999) }, 1},
		{"pending", func(l *tale) { l.pending("2026-05-30", 10000) }, 0},
		{"came back", func(l *tale) {
			r := l.pending("2026-05-20", 10000)
			if err := l.a.Return(&l.p, r, day("2026-05-28"), "NSF"); err != nil {
				l.Fatal(err)
			}
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newTale(t)
			l.charge("2026-03-01", billing.Medical, 60000)
			l.cut("2026-03-01")
			l.makePlan("2026-03-05", 60000, 6)
			l.cut("2026-04-01")
			l.cut("2026-05-01")
			c.pay(l)
			l.looksAtPlans("2026-06-01", c.broken, 0, ledger.Cents(c.broken)*40000)
		})
	}
}

func TestPlanKept(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 1001)
	l.cut("2026-03-01")
	l.makePlan("2026-03-05", 1001, 2)
	l.cut("2026-04-01")
	l.pay("2026-04-10", "2026-04-10", 500)
	l.looksAtPlans("2026-04-11", 0, 0, 0)
	l.cut("2026-05-01")
	l.looksAtPlans("2026-05-02", 0, 0, 0)
	l.pay("2026-05-10", "2026-05-10", 501)
	l.looksAtPlans("2026-05-11", 0, 1, 0)
	l.stands("kept", 0, 0)
}

func TestPlanCancelled(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 3000)
	l.cut("2026-03-01")
	l.makePlan("2026-03-05", 3000, 3)
	l.cut("2026-04-01")
	if rest, err := l.a.CancelPlan(day("2026-04-05"), billing.Medical); err != nil || rest != 2000 {
		t.Errorf("rest %d, %v", rest, err)
	}
	if _, err := l.a.CancelPlan(day("2026-04-05"), billing.Medical); err == nil {
		t.Error("a plan was cancelled twice")
	}
	if b := l.cut("2026-05-01"); b.AmountDue != 3000 {
		t.Errorf("due %d", b.AmountDue)
	}
}

// Cuts that were missed bill their installments one by one, but none for a
// cycle that was cut before the plan was made.
func TestPlanWithMissedCuts(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 4000)
	l.cut("2026-03-01")
	l.makePlan("2026-04-10", 4000, 4)
	bills, _ := l.a.Cut(&l.p, day("2026-06-03"))
	var due []ledger.Cents
	for _, b := range bills {
		due = append(due, b.AmountDue)
	}
	if len(due) != 3 || due[0] != 0 || due[1] != 1000 || due[2] != 2000 {
		t.Errorf("due %v, want 0, 1000 and 2000", due)
	}
}

// Two plans at once are told apart, also when an installment of one goes into
// the other.
func TestTwoPlans(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 6000)
	l.cut("2026-03-01")
	first := l.makePlan("2026-03-05", 6000, 3)
	l.charge("2026-03-20", billing.Medical, 900)
	l.cut("2026-04-01") // 900 + 2000
	l.makePlan("2026-04-05", 2900, 10)
	l.stands("both", 6900, 0)
	if b := l.cut("2026-05-01"); b.AmountDue != 2290 {
		t.Errorf("due %d, want 2000 + 290", b.AmountDue)
	}
	l.looksAtPlans("2026-06-01", 0, 0, 0) // one missed each
	if first.Billed != 2 {
		t.Errorf("%+v", first)
	}
}

// An adjustment of what is deferred shortens the plan.
func TestPlanAdjusted(t *testing.T) {
	l := newTale(t)
	l.charge("2026-03-01", billing.Medical, 3000)
	l.cut("2026-03-01")
	l.makePlan("2026-03-05", 3000, 3)
	l.cut("2026-04-01")
	l.pay("2026-04-02", "2026-04-02", 1000)
	if err := l.a.Adjust(&l.p, day("2026-04-03"), billing.Medical, -1500, l.a.Items[0].No, billing.Detail{}); err != nil {
		t.Fatal(err)
	}
	if b := l.cut("2026-05-01"); b.AmountDue != 500 || b.DeferredCts != 0 {
		t.Errorf("due %d, deferred %d", b.AmountDue, b.DeferredCts)
	}
	l.stands("shortened", 500, 500)
}
