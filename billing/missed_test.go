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
	medical := func(l *tale) { l.charge("2026-03-01", billing.Medical, 12500) }
	fee := func(l *tale) {
		if err := l.a.Return(&l.p, l.pending("2026-02-20", 100), day("2026-02-23"), "NSF"); err != nil {
			l.Fatal(err)
		}
		l.a.ReturnedFee(&l.p, l.a.Receipts[0], day("2026-02-23"))
	}
	for _, c := range []struct {
		name string
		owes func(l *tale) // what is due beside the premium
		act  func(l *tale) error
	}{
		{"a dispute", medical, func(l *tale) error { _, err := l.a.Dispute(&l.p, day(on), billing.Medical, 0); return err }},
		{"a plan", medical, func(l *tale) error { _, err := l.a.MakePlan(&l.p, day(on), billing.Medical, 12500, 5); return err }},
		{"an adjustment", medical, func(l *tale) error {
			return l.a.Adjust(&l.p, day(on), billing.Medical, -12500, 0, billing.Detail{})
		}},
		{"assistance", medical, func(l *tale) error {
			l.a.Assist(&l.p, day(on), billing.Medical, all)
			return nil
		}},
		{"a waiver", fee, func(l *tale) error { return l.a.Waive(&l.p, day(on), billing.FromReturnedFee, 2500) }},
	} {
		for _, card := range []bool{false, true} {
			l := newTale(t)
			l.a.SetAutopay(&l.p, true, day("2026-02-01"))
			l.a.ByCard = card
			collects := func(on string) (cents ledger.Cents, reason string) {
				if card {
					return l.a.CardDue(day(on))
				}
				built, reason := l.a.BuildDebits(&l.p, day(on))
				for _, d := range built {
					if cents += d.Cents; !d.Missed {
						t.Errorf("%s: built %+v, as if in time", c.name, d)
					}
				}
				return cents, reason
			}
			c.owes(l)
			l.charge("2026-03-01", billing.Premium, 45000)
			l.cut("2026-03-01")
			check := l.pending("2026-03-20", 45000) // something is due on the build day, the 24th, and the card's, the 25th, which are missed
			if err := c.act(l); err != nil {
				t.Fatal(err)
			}
			if cents, reason := collects(on); reason != billing.NothingDue {
				t.Errorf("%s, card %t: %s are collected, %s", c.name, card, cents, reason)
			}
			if err := l.a.Return(&l.p, check, day("2026-03-27"), "CLOSED"); err != nil {
				t.Fatal(err)
			}
			if fees, _ := l.a.AssessLate(&l.p, day("2026-03-31")); len(fees) != 1 || fees[0].Reason != billing.OurDelay {
				t.Errorf("%s, card %t: %+v, though the biller missed the debit", c.name, card, fees)
			}
			if cents, reason := collects("2026-03-31"); cents != 45000 {
				t.Errorf("%s, card %t: %s are collected, %s", c.name, card, cents, reason)
			}
		}
	}
}
