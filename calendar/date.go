// Package calendar knows business dates, banking days and billing cycles.
//
// A business date is a day in the biller's time zone, never a moment: whether a
// check came in time, when it posts and which cycle it belongs to are all
// decided by dates. Nothing here reads a clock; cmd asks for today once and
// hands the date down.
package calendar

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Date is a business date: the number of days since 31 December of the year
// before year 1, so that 1 is 0001-01-01 and the zero value means "no date".
// Dates compare with < and >, and d+7 is a week later.
type Date int32

var day0 = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC).Unix() / 86400

// Of returns the date of a year, month and day; a day past the month's end
// runs on into the next month, as time.Date does.
func Of(year int, month time.Month, day int) Date {
	return Date(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/86400 - day0)
}

// On returns the business date that the moment t belongs to in the zone loc.
func On(t time.Time, loc *time.Location) Date {
	y, m, d := t.In(loc).Date()
	return Of(y, m, d)
}

// Parse reads a date written as 2026-03-25.
func Parse(s string) (Date, error) {
	t, err := time.Parse("2006-01-02", s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a date of the form YYYY-MM-DD", s)
	}
	return Of(t.Date()), nil
}

// MustParse is Parse for dates written in code; it panics on anything else.
func MustParse(s string) Date {
	d, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Time returns midnight UTC of the date, for formatting and for libraries.
func (d Date) Time() time.Time { return time.Unix((int64(d)+day0)*86400, 0).UTC() }

// IsZero says whether there is no date.
func (d Date) IsZero() bool { return d == 0 }

// Date returns the year, month and day.
func (d Date) Date() (year int, month time.Month, day int) { return d.Time().Date() }

// Weekday returns the day of the week.
func (d Date) Weekday() time.Weekday { return time.Weekday(d % 7) } // 0001-01-01 was a Monday

// Format formats the date by a layout of package time.
func (d Date) Format(layout string) string {
	if d == 0 {
		return ""
	}
	return d.Time().Format(layout)
}

// String returns the date as 2026-03-25, or "" for no date.
func (d Date) String() string { return d.Format("2006-01-02") }

// Long returns the date as members read it: March 25, 2026.
func (d Date) Long() string { return d.Format("January 2, 2006") }

// MarshalJSON writes the date as a string, no date as null.
func (d Date) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(d.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Date) UnmarshalJSON(b []byte) error {
	if n := len(b); n == len(`"2006-01-02"`) { // millions of sealed statements are read back a night
		if v, ok := digits(b[1 : n-1]); ok {
			*d = v
			return nil
		}
	}
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*d = 0
	if s == nil || *s == "" {
		return nil
	}
	v, err := Parse(*s)
	*d = v
	return err
}

// digits reads a date of the form YYYY-MM-DD whose day is in every month; others
// are for Parse to judge.
func digits(b []byte) (Date, bool) {
	var n [3]int
	for i, c := range b {
		switch field := [...]int{0, 0, 0, 0, -1, 1, 1, -1, 2, 2}[i]; {
		case field < 0 && c != '-', field >= 0 && (c < '0' || c > '9'):
			return 0, false
		case field >= 0:
			n[field] = 10*n[field] + int(c-'0')
		}
	}
	if n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 28 {
		return 0, false
	}
	return Of(n[0], time.Month(n[1]), n[2]), true
}

// ScanDate lets pgx read a PostgreSQL date; NULL is no date.
func (d *Date) ScanDate(v pgtype.Date) error {
	if !v.Valid {
		*d = 0
		return nil
	}
	if v.InfinityModifier != pgtype.Finite {
		return fmt.Errorf("%s is not a business date", v.InfinityModifier)
	}
	*d = Date(v.Time.Unix()/86400 - day0) // midnight UTC
	return nil
}

// DateValue lets pgx write a PostgreSQL date; no date is NULL.
func (d Date) DateValue() (pgtype.Date, error) {
	if d == 0 {
		return pgtype.Date{}, nil
	}
	return pgtype.Date{Time: d.Time(), Valid: true}, nil
}
