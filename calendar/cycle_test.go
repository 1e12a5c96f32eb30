package calendar

import (
	"testing"
	"time"
)

func TestCycle(t *testing.T) {
	for _, c := range []struct {
		day, name, first, last string
		days                   int
	}{
		{"2026-03-01", "2026-03", "2026-03-01", "2026-03-31", 31},
		{"2026-03-31", "2026-03", "2026-03-01", "2026-03-31", 31},
		{"2026-12-31", "2026-12", "2026-12-01", "2026-12-31", 31},
		{"2027-01-01", "2027-01", "2027-01-01", "2027-01-31", 31},
		{"2026-02-14", "2026-02", "2026-02-01", "2026-02-28", 28},
		{"2024-02-29", "2024-02", "2024-02-01", "2024-02-29", 29},
		{"2100-02-01", "2100-02", "2100-02-01", "2100-02-28", 28},
		{"0001-01-01", "0001-01", "0001-01-01", "0001-01-31", 31},
	} {
		cycle := CycleOf(MustParse(c.day))
		if cycle.String() != c.name || cycle.First().String() != c.first || cycle.Last().String() != c.last || cycle.Days() != c.days {
			t.Errorf("%s: %s from %s to %s, %d days; want %s from %s to %s, %d", c.day,
				cycle, cycle.First(), cycle.Last(), cycle.Days(), c.name, c.first, c.last, c.days)
		}
	}
	december := CycleOf(MustParse("2026-12-05"))
	if december != 2026*12+11 { // the database keeps this number
		t.Errorf("December 2026 is %d", december)
	}
	if next := december + 1; next.String() != "2027-01" {
		t.Errorf("after December 2026 comes %s", next)
	}
	if y, m := december.Month(); y != 2026 || m != time.December {
		t.Errorf("December 2026 is %s %d", m, y)
	}
}

func TestCutAndDue(t *testing.T) {
	for _, c := range []struct {
		cycle          string
		cutDay, dueDay int
		cut, due       string
	}{
		{"2026-03-01", 1, 25, "2026-03-01", "2026-03-25"},  // cut on a Sunday all the same
		{"2026-04-01", 1, 25, "2026-04-01", "2026-04-27"},  // due on a Saturday: Monday
		{"2026-12-01", 5, 25, "2026-12-05", "2026-12-28"},  // on Christmas, a Friday
		{"2026-02-01", 28, 31, "2026-02-28", "2026-03-02"}, // the last day is a Saturday: across the month
		{"2024-02-01", 1, 30, "2024-02-01", "2024-02-29"},  // the last day of a leap year's February
		{"2027-02-01", 1, 31, "2027-02-01", "2027-03-01"},  // its last day is a Sunday
		{"2026-04-01", 1, 31, "2026-04-01", "2026-04-30"},  // a month of 30 days
		{"2026-07-01", 1, 3, "2026-07-01", "2026-07-03"},   // a banking day before a Saturday holiday
		{"2027-07-01", 1, 3, "2027-07-01", "2027-07-06"},
		{"2022-12-01", 1, 31, "2022-12-01", "2023-01-03"}, // across the year
	} {
		cycle := CycleOf(MustParse(c.cycle))
		if cut := cycle.CutOn(c.cutDay).String(); cut != c.cut {
			t.Errorf("%s cut on day %d: %s, want %s", cycle, c.cutDay, cut, c.cut)
		}
		if due := cycle.DueOn(c.dueDay).String(); due != c.due {
			t.Errorf("%s due on day %d: %s, want %s", cycle, c.dueDay, due, c.due)
		}
	}
}
