package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

func cycle(first string) calendar.Cycle { return calendar.CycleOf(day(first)) }

// aptcTale is covered with a tax credit, paid through March, and has bills of
// April (due 2026-04-27), May (due 2026-05-26) and June of 15000 each.
func aptcTale(t *testing.T) *tale {
	l := newTale(t)
	l.enrol("2026-04-01", "2026-01-01", "", 45000, 30000, "2026-03-31")
	for _, on := range []string{"2026-04-01", "2026-05-01", "2026-06-01"} {
		l.cut(on)
	}
	return l
}

func (l *tale) grace(on string, month int, over bool) {
	l.Helper()
	if g := l.a.PremiumGrace(&l.p, day(on)); g.Month != month || g.Over != over {
		l.Errorf("%s: month %d of grace, over %t; want %d, %t", on, g.Month, g.Over, month, over)
	}
}

func (l *tale) endsGrace(on string, reversed ledger.Cents) {
	l.Helper()
	if got, _ := l.a.EndGrace(&l.p, day(on)); got != reversed {
		l.Errorf("%s: took back %d, want %d", on, got, reversed)
	}
	if got, _ := l.a.EndGrace(&l.p, day(on)); got != 0 {
		l.Errorf("%s: a second run took back %d", on, got)
	}
}

func TestGraceMonths(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-04-01", "2026-01-01", "", 45000, 30000, "2026-03-31")
	l.cut("2026-04-01")
	l.grace("2026-04-15", 0, false)
	l.grace("2026-04-27", 0, false) // it may still be paid today
	l.grace("2026-04-28", 1, false)
	l.cut("2026-05-01")
	l.grace("2026-05-01", 2, false)
	l.cut("2026-06-01")
	l.grace("2026-06-30", 3, false)
	l.endsGrace("2026-06-30", 0)
	l.grace("2026-07-01", 0, true)
	l.endsGrace("2026-07-01", 30000)
	l.stands("ended with April", 15000, 15000)
	if end := l.a.CoverageEnd(); end != day("2026-04-30") {
		t.Errorf("covered to %s", end)
	}
	l.grace("2026-07-01", 0, false)
	if b := l.cut("2026-07-01"); b.Charges != 0 || b.AmountDue != 15000 {
		t.Errorf("July: charges %d, due %d", b.Charges, b.AmountDue)
	}
}

func TestGraceIsCuredOnlyInFullAndInTime(t *testing.T) {
	for _, c := range []struct {
		name     string
		pay      func(l *tale)
		ends     bool
		owed     ledger.Cents // on 2026-07-01, after the run
		reversed ledger.Cents
	}{
		{"nothing paid", func(l *tale) {}, true, 15000, 30000},
		{"all on the last day", func(l *tale) { l.pay("2026-06-30", "2026-06-30", 45000) }, false, 0, 0},
		{"all but a cent", func(l *tale) { l.pay("2026-06-30", "2026-06-30", 44999) }, true, -29999, 30000},
		{"one month of three", func(l *tale) { l.pay("2026-05-10", "2026-05-10", 15000) }, true, 0, 30000},
		{"all, a day late", func(l *tale) { l.pay("2026-07-01", "2026-07-01", 45000) }, true, -30000, 30000},
		{"a check received in time, pending", func(l *tale) { l.pending("2026-06-29", 45000) }, false, 45000, 0},
		{"a check received in time, posted late", func(l *tale) { l.pay("2026-06-30", "2026-07-07", 45000) }, false, 0, 0},
		{"April before its due date", func(l *tale) {
			l.pay("2026-04-20", "2026-04-20", 15000) // then May begins the grace
		}, false, 30000, 0},
		{"all billed before the June cut", func(l *tale) { l.pay("2026-06-01", "2026-06-01", 30000) }, false, 15000, 0},
		{"returned", func(l *tale) {
			r := l.pending("2026-06-20", 45000)
			l.a.Post(&l.p, r, day("2026-06-27"))
			if err := l.a.Return(&l.p, r, day("2026-06-29"), "STOP"); err != nil {
				l.Fatal(err)
			}
		}, true, 15000, 30000},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := aptcTale(t)
			c.pay(l)
			l.endsGrace("2026-07-01", c.reversed)
			if ended := !l.a.CoverageEnd().IsZero(); ended != c.ends {
				t.Errorf("ended: %t", ended)
			}
			if got := l.a.Figures().Ledger; got != c.owed {
				t.Errorf("ledger %d, want %d", got, c.owed)
			}
		})
	}
}

// A July premium that a cut has added before the grace run is taken back too.
func TestGraceRunComesLate(t *testing.T) {
	l := aptcTale(t)
	l.cut("2026-07-01")
	l.endsGrace("2026-07-03", 45000)
	l.stands("ended with April", 15000, 15000)
}

func TestGracePolicy(t *testing.T) {
	l := aptcTale(t)
	l.p.Grace.APTCMonths, l.p.Grace.CoverageKeptMonths = 2, 2
	l.grace("2026-05-31", 2, false)
	l.endsGrace("2026-06-01", 15000)
	if end := l.a.CoverageEnd(); end != day("2026-05-31") {
		t.Errorf("covered to %s", end)
	}
}

// A grace that was cured by money known late is over, though meanwhile another
// period has the place of what it had ended: what that took was not owed.
func TestCuredThoughItsPlaceIsTaken(t *testing.T) {
	l := newTale(t)
	l.p.Grace.APTCMonths = 1
	l.enrol("2026-03-20", "2026-04-01", "", 45000, 30000, "")
	l.cut("2026-04-01")
	l.endsGrace("2026-05-01", 0)
	l.enrol("2026-05-02", "2026-04-16", "2026-04-20", 3000, 0, "")
	l.pending("2026-04-20", 7500).ArrivedOn = day("2026-05-05")
	if charged := l.a.ReviveCoverage(&l.p, day("2026-05-05")); charged != 0 {
		t.Errorf("charged %d again", charged)
	}
	old := l.a.Coverages[0]
	if old.EndOn != day("2026-04-15") || !old.LapsedOn.IsZero() {
		t.Errorf("covered to %s, ended by its grace on %s", old.EndOn, old.LapsedOn)
	}
}

// Without a tax credit there is no such grace, and one that ended does not
// begin again with the old debt when the member is enrolled anew.
func TestNoGrace(t *testing.T) {
	l := newTale(t)
	l.enrol("2026-04-01", "2026-04-01", "", 45000, 0, "")
	l.cut("2026-04-01")
	l.grace("2026-05-01", 0, false)
	l.grace("2026-09-01", 0, false)

	again := aptcTale(t)
	again.endsGrace("2026-07-01", 30000)
	again.enrol("2026-07-10", "2026-08-01", "", 45000, 30000, "")
	again.cut("2026-07-01")
	again.cut("2026-08-01")
	again.grace("2026-08-20", 0, false)
	again.grace("2026-08-26", 1, false)
	again.endsGrace("2026-08-26", 0)
}
