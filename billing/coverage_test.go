package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// enrol carries out a row of enrolment; "" is no date.
func (l *tale) enrol(on, start, end string, monthly, aptc ledger.Cents, paidThrough string) {
	l.Helper()
	t := billing.Terms{StartOn: day(start), MonthlyCents: monthly, APTCCents: aptc}
	if end != "" {
		t.EndOn = day(end)
	}
	if paidThrough != "" {
		t.PaidThrough = day(paidThrough)
	}
	if err := l.a.Enrol(&l.p, day(on), ann, "gold", t); err != nil {
		l.Fatal(err)
	}
}

func (l *tale) ends(on, end string) {
	l.Helper()
	if err := l.a.EndCoverage(&l.p, day(on), ann, "gold", day(end)); err != nil {
		l.Fatal(err)
	}
}

// A month is charged by days if coverage starts or ends inside it, half-up.
func TestPremiumByDays(t *testing.T) {
	for _, c := range []struct {
		start, end    string
		monthly, aptc ledger.Cents
		month         string
		want          ledger.Cents
	}{
		{"2026-03-15", "", 45000, 0, "2026-03-01", 24677}, // 45000 x 17/31 = 24677.42
		{"2026-03-15", "", 45000, 0, "2026-04-01", 45000},
		{"2026-03-15", "", 45000, 0, "2026-02-01", 0},
		{"2026-01-01", "2026-04-15", 45000, 0, "2026-04-01", 22500},
		{"2026-01-01", "2026-04-15", 45000, 0, "2026-05-01", 0},
		{"2026-04-10", "2026-04-10", 45000, 0, "2026-04-01", 1500},
		{"2026-01-01", "2026-02-14", 101, 0, "2026-02-01", 51}, // 50.5
		{"2026-03-15", "", 45000, 30000, "2026-03-01", 8226},   // 15000 x 17/31 = 8225.81
		{"2026-03-15", "2026-03-14", 45000, 0, "2026-03-01", 0},
		{"2028-02-29", "", 2900, 0, "2028-02-01", 100},
	} {
		cov := billing.Coverage{StartOn: day(c.start), MonthlyCents: c.monthly, APTCCents: c.aptc}
		if c.end != "" {
			cov.EndOn = day(c.end)
		}
		if got := cov.Premium(cycle(c.month)); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestCutAddsPremium(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-02-20", "2026-04-01", "", 45000, 0, "")
	l.stands("enrolled", 0, 0)
	if _, reason := l.a.Cut(&l.p, day("2026-03-01")); reason != billing.AlreadyCut {
		t.Errorf("a statement before anything was charged: %q", reason)
	}
	for n, on := range []string{"2026-04-01", "2026-05-01", "2026-06-01"} {
		if b := l.cut(on); b.Charges != 45000 || b.Balance != ledger.Cents(n+1)*45000 {
			t.Errorf("%s: charges %d, balance %d", on, b.Charges, b.Balance)
		}
	}
	l.enrol("2026-06-02", "2026-04-01", "", 45000, 0, "") // the same again
	l.stands("the same again", 135000, 135000)
}

// A first charge before the first premium starts the cycles earlier.
func TestFirstCycleOfCoverage(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-02-20", "2026-05-01", "", 45000, 0, "")
	l.charge("2026-02-25", billing.Medical, 1000)
	if b := l.cut("2026-03-01"); b.AmountDue != 1000 {
		t.Errorf("due %d", b.AmountDue)
	}
	gone := newTale(t)
	gone.enrol("2026-02-20", "2026-05-01", "", 45000, 0, "")
	gone.enrol("2026-03-20", "2026-05-01", "2026-04-30", 45000, 0, "") // never took effect
	if _, reason := gone.a.Cut(&gone.p, day("2026-05-01")); reason != billing.NothingCharged {
		t.Errorf("coverage that was taken back gets a statement: %q", reason)
	}
}

// Late cuts bill each month's premium on its own statement; months kept from
// being cut by a hold are made up for by the next one.
func TestPremiumOfMissedCuts(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-03-01", "2026-03-01", "", 100, 0, "")
	bills, _ := l.a.Cut(&l.p, day("2026-05-10"))
	if len(bills) != 3 {
		t.Fatalf("%d bills", len(bills))
	}
	for _, b := range bills {
		if b.Charges != 100 {
			t.Errorf("%s: charges %d", b.Cycle, b.Charges)
		}
	}
	l.a.Place(day("2026-05-20"), "legal", "x", "", false)
	if _, reason := l.a.Cut(&l.p, day("2026-06-01")); reason != "legal" {
		t.Errorf("cut on hold: %q", reason)
	}
	l.a.Release(day("2026-06-10"), "", "x")
	if b := l.cut("2026-07-01"); b.Charges != 200 || b.Balance != 500 {
		t.Errorf("after the hold: charges %d, balance %d", b.Charges, b.Balance)
	}
}

// What enrolment changes in months that were charged is settled at once.
func TestCoverageChanges(t *testing.T) {
	for _, c := range []struct {
		name      string
		paid      ledger.Cents
		change    func(l *tale)
		owed, due ledger.Cents // on 2026-05-10
		next      ledger.Cents // due on the bill of 2026-06-01
	}{
		{"ends inside the month", 0, func(l *tale) { l.ends("2026-05-10", "2026-05-15") }, 66774, 66774, 66774}, // 45000 x 15/31 = 21774.19
		{"ends inside the month, paid", 90000, func(l *tale) { l.ends("2026-05-10", "2026-05-15") }, -23226, 0, 0},
		{"ended long ago, paid", 90000, func(l *tale) { l.ends("2026-05-10", "2026-03-31") }, -90000, 0, 0},
		{"ended long ago, half paid", 45000, func(l *tale) { l.ends("2026-05-10", "2026-03-31") }, -45000, 0, 0},
		{"ended before the other month, first paid", 45000, func(l *tale) { l.ends("2026-05-10", "2026-04-30") }, 0, 0, 0},
		{"ends later", 0, func(l *tale) { l.ends("2026-05-10", "2026-06-10") }, 90000, 90000, 105000},
		{"dearer from the start", 0, func(l *tale) { l.enrol("2026-05-10", "2026-04-01", "", 46000, 0, "") }, 92000, 90000, 138000},
		{"cheaper from the start", 0, func(l *tale) { l.enrol("2026-05-10", "2026-04-01", "", 44000, 0, "") }, 88000, 88000, 132000},
		{"dearer from mid-May", 0, func(l *tale) { l.enrol("2026-05-10", "2026-05-16", "", 48000, 0, "") }, 91548, 66774, 139548}, // May is 15/31 of 45000 = 21774.19 and 16/31 of 48000 = 24774.19
		{"dearer from June", 0, func(l *tale) { l.enrol("2026-05-10", "2026-06-01", "", 48000, 0, "") }, 90000, 90000, 138000},
		{"began in March", 0, func(l *tale) { l.enrol("2026-05-10", "2026-03-17", "", 45000, 0, "") }, 111774, 0, 156774},
		{"tax credit from the start, paid", 90000, func(l *tale) { l.enrol("2026-05-10", "2026-04-01", "", 45000, 30000, "") }, -60000, 0, 0},
		{"never took effect", 0, func(l *tale) { l.enrol("2026-05-10", "2026-04-01", "2026-03-31", 45000, 0, "") }, 0, 0, 0},
		{"ended and went on again", 0, func(l *tale) {
			l.ends("2026-05-10", "2026-03-31")
			l.enrol("2026-05-10", "2026-04-01", "", 45000, 0, "")
		}, 90000, 0, 135000},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newTale(t)
			l.enrol("2026-03-20", "2026-04-01", "", 45000, 0, "")
			l.cut("2026-04-01")
			l.cut("2026-05-01")
			if c.paid > 0 {
				l.pay("2026-05-05", "2026-05-05", c.paid)
			}
			c.change(l)
			l.stands("changed", c.owed, c.due)
			if b := l.cut("2026-06-01"); b.AmountDue != c.next || b.AmountDue != max(0, b.Balance) {
				t.Errorf("next bill: due %d of %d, want %d", b.AmountDue, b.Balance, c.next)
			}
		})
	}
}

// What was paid before the account was kept here comes back as credit if its
// month is taken back.
func TestPaidThrough(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-04-01", "2026-01-01", "", 45000, 0, "2026-03-31")
	l.stands("paid through March", 0, 0)
	l.cut("2026-04-01")
	l.pay("2026-04-10", "2026-04-10", 45000)
	l.ends("2026-04-20", "2026-02-14") // 45000 x 14/28 of February, March and April
	l.stands("ended in February", -112500, 0)
	l.ends("2026-04-20", "2026-02-14")
	l.stands("again", -112500, 0)

	part := newTale(t)
	part.enrol("2026-04-10", "2026-01-01", "", 30000, 0, "2026-03-10") // 21 of 31 days of March are to be charged, and April
	part.stands("paid inside a month", 30000-9677+30000, 0)
}

// An end that was said before is moved by the next, to a later day as well; not
// one that the end of a grace has brought about.
func TestEndMoved(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-04-01", "2026-04-01", "", 30000, 0, "")
	l.cut("2026-04-01")
	l.enrol("2026-04-05", "2026-05-01", "", 31000, 0, "")
	for _, c := range []struct {
		on, end string
		owed    ledger.Cents
	}{
		{"2026-04-10", "2026-04-20", 20000},
		{"2026-04-12", "2026-04-30", 30000},
		{"2026-04-13", "2026-03-31", 0},
		{"2026-05-14", "2026-05-10", 40000},
		{"2026-05-15", "2026-06-10", 61000},
	} {
		l.ends(c.on, c.end)
		if got := l.a.Figures().Ledger; got != c.owed {
			t.Errorf("ends %s: ledger %d, want %d", c.end, got, c.owed)
		}
		if end := l.a.CoverageEnd(); c.owed > 0 && end != day(c.end) {
			t.Errorf("covered to %s, want %s", end, c.end)
		}
	}

	lapsed := aptcTale(t)
	lapsed.endsGrace("2026-07-01", 30000)
	lapsed.ends("2026-07-02", "2026-05-31")
	if end := lapsed.a.CoverageEnd(); end != day("2026-04-30") {
		t.Errorf("covered to %s after its grace", end)
	}
}

func TestCoverageRefused(t *testing.T) {
	l := newTale(t)
	for _, terms := range []billing.Terms{
		{MonthlyCents: 100},
		{StartOn: day("2026-03-10"), EndOn: day("2026-03-08"), MonthlyCents: 100},
		{StartOn: day("2026-03-10"), MonthlyCents: -1},
		{StartOn: day("2026-03-10"), MonthlyCents: 100, APTCCents: 101},
		{StartOn: day("2026-03-10"), APTCCents: -1},
	} {
		if err := l.a.Enrol(&l.p, day("2026-03-01"), ann, "gold", terms); err == nil {
			t.Errorf("%+v were taken", terms)
		}
	}
	if err := l.a.EndCoverage(&l.p, day("2026-03-01"), ann, "gold", day("2026-03-01")); err == nil {
		t.Error("coverage ended that is not there")
	}
	if len(l.a.Coverages) != 0 {
		t.Error("something was taken")
	}
}

// The tax credit's premium bears no late fee, unless the policy says so.
func TestAPTCPremiumBearsNoLateFee(t *testing.T) {
	for _, c := range []struct {
		aptc ledger.Cents
		on   bool
		want ledger.Cents
	}{{30000, false, 4000}, {30000, true, 19000}, {0, false, 49000}} {
		l := newTale(t)
		l.p.Grace.LateFeeOnPremium = c.on
		l.enrol("2026-03-01", "2026-03-01", "", 45000, c.aptc, "")
		l.charge("2026-03-01", billing.Medical, 4000)
		if base := l.a.LateBase(&l.p, l.cut("2026-03-01")); base != c.want {
			t.Errorf("tax credit %d, late_fee_on_premium %t: base %d, want %d", c.aptc, c.on, base, c.want)
		}
	}
	fed := newTale(t) // premium from the charge feed
	fed.enrol("2026-03-01", "2026-03-01", "", 0, 30000, "")
	fed.charge("2026-03-01", billing.Premium, 15000)
	if base := fed.a.LateBase(&fed.p, fed.cut("2026-03-01")); base != 0 {
		t.Errorf("charged premium: base %d", base)
	}
}

// Premium from the charge feed: the cut adds none beside it, and what it
// charged for days that are covered no more is taken back, paid or not.
func TestFedPremium(t *testing.T) {
	feed := func(l *tale, on, month string) {
		l.a.Charge(&l.p, day(on), billing.Premium, 31000, billing.Detail{MRN: ann, ServiceDate: day(month)})
	}
	l := newTale(t)
	l.enrol("2026-02-20", "2026-03-01", "", 31000, 0, "")
	feed(l, "2026-02-25", "2026-03-01")
	for _, on := range []string{"2026-03-01", "2026-04-01"} {
		if b := l.cut(on); b.Charges != 31000 {
			t.Errorf("%s: charges %d", on, b.Charges)
		}
	}

	l = newTale(t)
	l.enrol("2026-03-01", "2026-01-01", "", 0, 0, "")
	feed(l, "2026-03-01", "2026-03-01")
	feed(l, "2026-03-01", "2026-04-01")
	l.cut("2026-03-01")
	l.pay("2026-03-05", "2026-03-05", 62000)
	l.enrol("2026-03-06", "2026-03-16", "", 0, 0, "") // other terms, no day less
	l.stands("amended", 0, 0)
	l.ends("2026-03-10", "2026-03-21")
	l.stands("ended", -10000-31000, 0)
	l.ends("2026-03-11", "2026-03-21")
	l.stands("again", -10000-31000, 0)
}
