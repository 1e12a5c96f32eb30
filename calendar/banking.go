package calendar

import "time"

// IsBankingDay says whether the Federal Reserve Banks are open: a weekday that
// is none of their holidays. A holiday that falls on a Sunday is kept on
// Monday; one on a Saturday is not moved, the banks are open that Friday
// (federalreserve.gov, K.8).
func IsBankingDay(d Date) bool {
	switch d.Weekday() {
	case time.Saturday, time.Sunday:
		return false
	}
	return !isFedHoliday(d)
}

// Roll moves a date that is no banking day forward to the next one.
func Roll(d Date) Date {
	for !IsBankingDay(d) {
		d++
	}
	return d
}

// AddBankingDays moves n banking days forward (back if n is negative); the
// start itself need not be one. 0 leaves the date as it is.
func AddBankingDays(d Date, n int) Date {
	for ; n > 0; n-- {
		d = Roll(d + 1)
	}
	for ; n < 0; n++ {
		d--
		for !IsBankingDay(d) {
			d--
		}
	}
	return d
}

// The fixed holidays, and since when each is kept.
var fixedHolidays = []struct {
	month time.Month
	day   int
	since int
}{
	{time.January, 1, 0},
	{time.June, 19, 2021}, // Juneteenth, by Public Law 117-17
	{time.July, 4, 0},
	{time.November, 11, 0},
	{time.December, 25, 0},
}

func isFedHoliday(d Date) bool {
	year, month, day := d.Date()
	for _, h := range fixedHolidays {
		if year < h.since {
			continue
		}
		if month == h.month && day == h.day {
			return true
		}
		if sunday := Of(year, h.month, h.day); sunday.Weekday() == time.Sunday && d == sunday+1 {
			return true
		}
	}
	switch wd := d.Weekday(); {
	case wd == time.Monday:
		switch month {
		case time.January, time.February: // Martin Luther King Jr., Presidents
			return day >= 15 && day <= 21
		case time.May: // Memorial: the last Monday
			return day >= 25
		case time.September: // Labor: the first
			return day <= 7
		case time.October: // Columbus: the second
			return day >= 8 && day <= 14
		}
	case wd == time.Thursday && month == time.November: // Thanksgiving: the fourth
		return day >= 22 && day <= 28
	}
	return false
}
