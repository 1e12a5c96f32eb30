package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

func (l *tale) flags(on string, cents ledger.Cents) {
	l.Helper()
	if got := l.a.FlagDormant(&l.p, day(on)); got != cents {
		l.Errorf("%s: flagged %d, want %d", on, got, cents)
	}
	if got := l.a.FlagDormant(&l.p, day(on)); got != 0 {
		l.Errorf("%s: flagged %d a second time", on, got)
	}
}

func TestDormantCredit(t *testing.T) {
	l := newTale(t)
	l.a.Open(&l.p, day("2023-03-31"), 3000, nil, 0)
	l.flags("2026-03-30", 0)
	if err := l.a.Remit(&l.p, day("2026-10-30"), 3000); err == nil {
		t.Error("credit was remitted that nobody had flagged")
	}
	l.flags("2026-03-31", 3000)
	for _, c := range []struct {
		on    string
		cents ledger.Cents
	}{{"2026-09-30", 3000}, {"2026-11-01", 3000}, {"2026-10-30", 3001}, {"2026-10-30", 0}, {"2026-10-30", -5}} {
		if err := l.a.Remit(&l.p, day(c.on), c.cents); err == nil {
			t.Errorf("%d were remitted on %s", c.cents, c.on)
		}
	}
	if err := l.a.Remit(&l.p, day("2026-10-01"), 1000); err != nil {
		t.Error(err)
	}
	l.stands("remitted in part", -2000, 0)
	if err := l.a.Remit(&l.p, day("2026-10-30"), 2000); err != nil {
		t.Error(err)
	}
	l.stands("remitted", 0, 0)
	if e := l.a.Entries()[len(l.a.Entries())-1]; e.What != ledger.Remittance || e.Credit != ledger.Unclaimed || e.Debit != ledger.Receivable || e.Cents != 2000 {
		t.Errorf("%+v", e)
	}
	l.flags("2030-01-01", 0)
}

// Credit is as old as the day it arose, not as the payment it is part of: a
// later adjustment makes young credit of an old payment. The oldest is used
// first.
func TestCreditArises(t *testing.T) {
	l := newTale(t)
	l.charge("2023-03-01", billing.Medical, 5000)
	l.cut("2023-03-01")
	l.pay("2023-03-10", "2023-03-10", 6000) // 1000 too much
	if err := l.a.Adjust(&l.p, day("2024-06-01"), billing.Medical, -2000, 0, billing.Detail{}); err != nil {
		t.Fatal(err)
	}
	l.flags("2026-03-09", 0)
	l.flags("2026-03-10", 1000)
	l.flags("2027-05-31", 0)
	l.charge("2027-05-31", billing.Medical, 1500) // uses the old 1000 and 500 of the younger
	l.cut("2027-06-01")
	l.flags("2027-06-01", 1500)
	if err := l.a.Remit(&l.p, day("2027-10-01"), 1501); err == nil {
		t.Error("more was remitted than is left")
	}
	if err := l.a.Remit(&l.p, day("2027-10-01"), 1500); err != nil {
		t.Error(err)
	}
	l.stands("remitted", 0, 0)
}

func TestGuestCreditGetsDormant(t *testing.T) {
	l := newTale(t)
	r := l.a.Receive(day("2023-03-10"), billing.Receipt{Channel: "guest", Guest: true, Payer: "Aunt", Cents: 700, ReceivedOn: day("2023-03-10"), PostsOn: day("2023-03-10")})
	l.a.Post(&l.p, r, day("2023-03-10"))
	l.flags("2026-03-10", 700)
}
