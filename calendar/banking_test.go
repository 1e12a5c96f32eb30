package calendar

import (
	"strings"
	"testing"
	"time"
)

// The days that the Federal Reserve Banks are closed, but for weekends, as
// federalreserve.gov lists them (K.8). A holiday on a Saturday is not there:
// 4 July 2026, 1 January 2022, 11 November 2023 and others move nowhere.
var closed = map[int]string{
	2021: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25", // Juneteenth, the first, fell on a Saturday
	2022: "01-17 02-21 05-30 06-20 07-04 09-05 10-10 11-11 11-24 12-26",
	2023: "01-02 01-16 02-20 05-29 06-19 07-04 09-04 10-09 11-23 12-25",
	2024: "01-01 01-15 02-19 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25",
	2025: "01-01 01-20 02-17 05-26 06-19 07-04 09-01 10-13 11-11 11-27 12-25",
	2026: "01-01 01-19 02-16 05-25 06-19 09-07 10-12 11-11 11-26 12-25",
	2027: "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25",
	2028: "01-17 02-21 05-29 06-19 07-04 09-04 10-09 11-23 12-25",
	2029: "01-01 01-15 02-19 05-28 06-19 07-04 09-03 10-08 11-12 11-22 12-25",
	2030: "01-01 01-21 02-18 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25",
}

func TestBankingDays(t *testing.T) {
	for year, list := range closed {
		for d := Of(year, 1, 1); d < Of(year+1, 1, 1); d++ {
			weekend := d.Weekday() == time.Saturday || d.Weekday() == time.Sunday
			want := !weekend && !strings.Contains(list, d.Format("01-02"))
			if got := IsBankingDay(d); got != want {
				t.Errorf("%s, a %s: banking day %v, want %v", d, d.Weekday(), got, want)
			}
		}
	}
}

func TestBankingDaysOfNote(t *testing.T) {
	for day, want := range map[string]bool{
		"2026-07-03": true,  // the Friday before a Saturday holiday
		"2027-07-05": false, // the Monday after a Sunday one
		"2027-06-18": true,  // Juneteenth on a Saturday
		"2021-12-31": true,  // New Year's Day 2022 on a Saturday, across the year
		"2023-01-02": false, // New Year's Day 2023 on a Sunday
		"2020-06-19": true,  // a Friday before Juneteenth was a holiday
		"2016-06-20": true,  // and the Monday after its Sunday
		"2026-04-03": true,  // Good Friday is none
		"2026-11-27": true,  // nor is the day after Thanksgiving
	} {
		if got := IsBankingDay(MustParse(day)); got != want {
			t.Errorf("%s: banking day %v, want %v", day, got, want)
		}
	}
}

func TestRoll(t *testing.T) {
	for day, want := range map[string]string{
		"2026-03-25": "2026-03-25", // a Wednesday stays
		"2026-04-25": "2026-04-27", // Saturday
		"2026-04-26": "2026-04-27", // Sunday
		"2026-12-25": "2026-12-28", // Christmas on a Friday
		"2027-07-03": "2027-07-06", // a weekend and the Monday holiday
		"2026-05-30": "2026-06-01", // into the next month
		"2022-12-31": "2023-01-03", // into the next year
	} {
		if got := Roll(MustParse(day)).String(); got != want {
			t.Errorf("Roll(%s) = %s, want %s", day, got, want)
		}
	}
}

func TestAddBankingDays(t *testing.T) {
	for _, c := range []struct {
		day  string
		n    int
		want string
	}{
		{"2026-03-25", 0, "2026-03-25"},
		{"2026-04-25", 0, "2026-04-25"}, // 0 leaves even a Saturday
		{"2026-03-25", 1, "2026-03-26"},
		{"2026-03-27", 1, "2026-03-30"},   // over a weekend
		{"2026-04-25", 1, "2026-04-27"},   // from a Saturday
		{"2026-12-23", 3, "2026-12-29"},   // over Christmas
		{"2026-06-18", 1, "2026-06-22"},   // over Juneteenth
		{"2026-07-02", 1, "2026-07-03"},   // a Saturday holiday costs no day
		{"2027-07-02", 1, "2027-07-06"},   // a Sunday one does
		{"2026-03-25", -1, "2026-03-24"},  // the autopay's lead
		{"2026-04-27", -1, "2026-04-24"},  // back over a weekend
		{"2026-04-26", -1, "2026-04-24"},  // back from a Sunday
		{"2026-05-26", -1, "2026-05-22"},  // back over Memorial Day
		{"2027-01-04", -2, "2026-12-30"},  // back over New Year's Day
		{"2026-01-02", 250, "2026-12-31"}, // a year has about so many
	} {
		if got := AddBankingDays(MustParse(c.day), c.n).String(); got != c.want {
			t.Errorf("%s %+d banking days = %s, want %s", c.day, c.n, got, c.want)
		}
	}
}

// There and back is where it began, and n days on has n banking days passed.
func TestAddBankingDaysIsConsistent(t *testing.T) {
	for d := MustParse("2025-12-20"); d < MustParse("2027-01-10"); d++ {
		for n := 1; n <= 10; n++ {
			on := AddBankingDays(d, n)
			passed := 0
			for e := d + 1; e <= on; e++ {
				if IsBankingDay(e) {
					passed++
				}
			}
			if passed != n || !IsBankingDay(on) {
				t.Fatalf("%s + %d = %s, with %d banking days passed", d, n, on, passed)
			}
			if IsBankingDay(d) && AddBankingDays(on, -n) != d {
				t.Fatalf("%s + %d - %d = %s", d, n, n, AddBankingDays(on, -n))
			}
		}
	}
}
