package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// A debit that the biller missed stays missed whatever takes out of due, after
// its build day, all that was due then: if money that was under way comes back
// later, what is open is debited late, and bears no late fee before that.
func TestMissedDebitStaysMissed(t *testing.T) {
	const on = "2026-03-26"
	all, err := ledger.ParsePercent("100")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		act  func(l *tale) error
	}{
		{"a dispute", func(l *tale) error { _, err := l.a.Dispute(&l.p, day(on), billing.Medical, 0); return err }},
		{"a plan", func(l *tale) error { _, err := l.a.MakePlan(&l.p, day(on), billing.Medical, 12500, 5); return err }},
		{"an adjustment", func(l *tale) error {
			return l.a.Adjust(&l.p, day(on), billing.Medical, -12500, 0, billing.Detail{})
		}},
		{"assistance", func(l *tale) error {
			l.a.Assist(&l.p, day(on), billing.Medical, all)
			return nil
		}},
	} {
		l := newTale(t)
		l.a.SetAutopay(&l.p, true, day("2026-02-01"))
		l.charge("2026-03-01", billing.Premium, 45000)
		l.charge("2026-03-01", billing.Medical, 12500)
		b := l.cut("2026-03-01")
		check := l.pending("2026-03-20", 45000) // 12500 are due on the build day, the 24th, which is missed
		if err := c.act(l); err != nil {
			t.Fatal(err)
		}
		if built, reason := l.a.BuildDebits(&l.p, day(on)); len(built) != 0 || reason != billing.NothingDue {
			t.Errorf("%s: built %+v, %s", c.name, built, reason)
		}
		if err := l.a.Return(&l.p, check, day("2026-03-27"), "CLOSED"); err != nil {
			t.Fatal(err)
		}
		if fees, _ := l.a.AssessLate(&l.p, day("2026-03-31")); len(fees) != 1 || fees[0].Reason != billing.OurDelay {
			t.Errorf("%s: %+v, though the biller missed the debit", c.name, fees)
		}
		if built, reason := l.a.BuildDebits(&l.p, day("2026-03-31")); len(built) != 1 || built[0].Cents != 45000 || !built[0].Missed || built[0].Cycle != b.Cycle {
			t.Errorf("%s: built %+v, %s", c.name, built, reason)
		}
	}
}
