package calendar

import (
	"fmt"
	"time"
)

// Cycle is a billing cycle, one a month: year*12 + month-1. The zero value is
// no cycle. c+1 is the next one.
type Cycle int32

// CycleOf returns the cycle of the month that d lies in.
func CycleOf(d Date) Cycle {
	y, m, _ := d.Date()
	return Cycle(y*12 + int(m) - 1)
}

// Month returns the cycle's year and month.
func (c Cycle) Month() (int, time.Month) { return int(c) / 12, time.Month(int(c)%12 + 1) }

// First returns the first day of the cycle's month.
func (c Cycle) First() Date { y, m := c.Month(); return Of(y, m, 1) }

// Last returns the last day of the cycle's month.
func (c Cycle) Last() Date { return (c + 1).First() - 1 }

// Days returns the number of days of the cycle's month.
func (c Cycle) Days() int { return int((c + 1).First() - c.First()) }

// CutOn returns the day on which the cycle is cut, banking day or not; cutDay
// is 1 to 28.
func (c Cycle) CutOn(cutDay int) Date { return c.First() + Date(cutDay) - 1 }

// DueOn returns the cycle's due date: dueDay of its month, or the month's last
// day if that is shorter, rolled to a banking day (which may cross the month).
func (c Cycle) DueOn(dueDay int) Date { return Roll(c.First() + Date(min(dueDay, c.Days())) - 1) }

// String returns the cycle as 2026-03.
func (c Cycle) String() string {
	y, m := c.Month()
	return fmt.Sprintf("%04d-%02d", y, int(m))
}
