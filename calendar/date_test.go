package calendar

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		year  int
		month time.Month
		day   int
		want  string
	}{
		{1, 1, 1, "0001-01-01"},
		{2024, 2, 29, "2024-02-29"},
		{2023, 2, 29, "2023-03-01"}, // runs on
		{1900, 2, 29, "1900-03-01"}, // a century is no leap year
		{2000, 2, 29, "2000-02-29"}, // but every fourth is
		{2100, 2, 29, "2100-03-01"},
		{2026, 4, 31, "2026-05-01"},
		{2026, 3, 0, "2026-02-28"},
		{2026, 13, 1, "2027-01-01"},
		{9999, 12, 31, "9999-12-31"},
	} {
		if got := Of(c.year, c.month, c.day).String(); got != c.want {
			t.Errorf("Of(%d, %d, %d) = %s, want %s", c.year, c.month, c.day, got, c.want)
		}
	}
	if Of(1, time.January, 1) != 1 {
		t.Errorf("0001-01-01 is day %d, want 1", Of(1, time.January, 1))
	}
}

// The day after each of these is the other.
func TestNextDay(t *testing.T) {
	for _, c := range []struct{ day, next string }{
		{"1899-12-31", "1900-01-01"},
		{"1900-02-28", "1900-03-01"},
		{"1969-12-31", "1970-01-01"},
		{"1999-12-31", "2000-01-01"},
		{"2000-02-28", "2000-02-29"},
		{"2000-02-29", "2000-03-01"},
		{"2024-02-29", "2024-03-01"},
		{"2026-02-28", "2026-03-01"},
		{"2026-03-07", "2026-03-08"}, // a day of 23 hours in the United States
		{"2026-10-31", "2026-11-01"}, // and the one of 25
		{"2100-02-28", "2100-03-01"},
	} {
		if got := MustParse(c.day) + 1; got.String() != c.next {
			t.Errorf("%s + 1 = %s, want %s", c.day, got, c.next)
		}
	}
}

// Every day of eight centuries, against package time.
func TestDateAgreesWithTime(t *testing.T) {
	at := time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)
	d := Of(1600, 1, 1)
	for ; at.Year() < 2400; at, d = at.AddDate(0, 0, 1), d+1 {
		if !d.Time().Equal(at) || d.Weekday() != at.Weekday() || Of(at.Date()) != d {
			t.Fatalf("day %d: %v, %v; want %v, %v", d, d.Time(), d.Weekday(), at, at.Weekday())
		}
	}
}

func TestWeekday(t *testing.T) {
	for day, want := range map[string]time.Weekday{
		"0001-01-01": time.Monday,
		"1776-07-04": time.Thursday,
		"1970-01-01": time.Thursday,
		"2000-02-29": time.Tuesday,
		"2026-07-03": time.Friday,
		"2027-07-04": time.Sunday,
	} {
		if got := MustParse(day).Weekday(); got != want {
			t.Errorf("%s is a %s, want %s", day, got, want)
		}
	}
}

// A moment belongs to the date that the biller's clock shows.
func TestOn(t *testing.T) {
	angeles, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	for moment, want := range map[string]string{
		"2026-03-26T06:59:59Z": "2026-03-25", // 23:59:59 PDT
		"2026-03-26T07:00:00Z": "2026-03-26",
		"2026-03-08T07:59:59Z": "2026-03-07", // still PST in the night of the change
		"2026-03-08T08:00:00Z": "2026-03-08",
		"2026-11-01T06:59:59Z": "2026-10-31",
		"2026-11-02T07:59:59Z": "2026-11-01", // PST again
		"2027-01-01T07:59:59Z": "2026-12-31",
	} {
		at, err := time.Parse(time.RFC3339, moment)
		if err != nil {
			t.Fatal(err)
		}
		if got := On(at, angeles).String(); got != want {
			t.Errorf("%s is %s in Los Angeles, want %s", moment, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"2026-03-25", "2024-02-29", "0001-01-01", "9999-12-31"} {
		if d, err := Parse(s); err != nil || d.String() != s {
			t.Errorf("Parse(%q) = %s, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "2026-3-25", "2026-02-29", "2026-04-31", "2026-13-01", "2026-00-01", "2026-01-00", "03/25/2026",
		"20260325", "2026-03-25T00:00:00Z", " 2026-03-25", "2026-03-25 ", "26-03-25", "-001-03-25", "２０２６-03-25"} {
		if d, err := Parse(s); err == nil || d != 0 {
			t.Errorf("Parse(%q) = %s, want an error", s, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2024-02-29")
	f.Add("2026-02-30")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := Parse(s); err == nil && d.String() != s && d != 0 {
			t.Errorf("%q was read as %s", s, d)
		}
	})
}

func TestMustParsePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	MustParse("yesterday")
}

func TestFormats(t *testing.T) {
	d := MustParse("2026-03-05")
	for what, c := range map[string]struct{ got, want string }{
		"String":       {d.String(), "2026-03-05"},
		"Long":         {d.Long(), "March 5, 2026"},
		"Format":       {d.Format("060102"), "260305"},
		"zero String":  {Date(0).String(), ""},
		"zero Long":    {Date(0).Long(), ""},
		"zero Format":  {Date(0).Format("060102"), ""},
		"Time is UTC":  {d.Time().Format(time.RFC3339), "2026-03-05T00:00:00Z"},
		"day 1 is set": {Date(1).String(), "0001-01-01"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", what, c.got, c.want)
		}
	}
	if d.IsZero() || !Date(0).IsZero() {
		t.Error("IsZero")
	}
}

func TestJSON(t *testing.T) {
	type pair struct{ A, B Date }
	text, err := json.Marshal(pair{A: MustParse("2026-03-25")})
	if want := `{"A":"2026-03-25","B":null}`; err != nil || string(text) != want {
		t.Errorf("%s (%v), want %s", text, err, want)
	}
	for in, want := range map[string]string{
		`{"A":"2026-03-25"}`: "2026-03-25",
		`{"A":null}`:         "",
		`{"A":""}`:           "",
		`{}`:                 "2020-01-01", // not named: left as it was
	} {
		p := pair{A: MustParse("2020-01-01")}
		if err := json.Unmarshal([]byte(in), &p); err != nil || p.A.String() != want {
			t.Errorf("%s: %s (%v), want %s", in, p.A, err, want)
		}
	}
	for day := MustParse("2023-12-31"); day < MustParse("2029-01-01"); day++ {
		var got Date
		if err := json.Unmarshal([]byte(`"`+day.String()+`"`), &got); err != nil || got != day {
			t.Fatalf("%s was read as %s, %v", day, got, err)
		}
	}
	for _, in := range []string{`{"A":"2026-02-30"}`, `{"A":"2026-00-10"}`, `{"A":"2026-13-10"}`, `{"A":"2026-03-00"}`, `{"A":"2026/03/10"}`, `{"A":"2026-03-1x"}`, `{"A":"2026-03-029"}`, `{"A":20260325}`, `{"A":"2026-03-25T00:00:00Z"}`, `{"A":{}}`, `{"A":true}`} {
		var p pair
		if err := json.Unmarshal([]byte(in), &p); err == nil || p.A != 0 {
			t.Errorf("%s was read as %s, want an error", in, p.A)
		}
	}
}

// Through pgx's own encoding, as PostgreSQL would send and get it.
func TestPostgresDate(t *testing.T) {
	m := pgtype.NewMap()
	for _, format := range []int16{pgtype.TextFormatCode, pgtype.BinaryFormatCode} {
		for _, s := range []string{"0001-01-01", "1999-12-31", "2000-01-01", "2024-02-29", "2026-03-25", "9999-12-31"} {
			want := MustParse(s)
			wire, err := m.Encode(pgtype.DateOID, format, want, nil)
			if err != nil {
				t.Fatal(err)
			}
			if format == pgtype.TextFormatCode && string(wire) != s {
				t.Errorf("%s is sent as %q", s, wire)
			}
			got := MustParse("2020-01-01")
			if err := m.Scan(pgtype.DateOID, format, wire, &got); err != nil || got != want {
				t.Errorf("format %d: %s came back as %s (%v)", format, want, got, err)
			}
		}
		if wire, err := m.Encode(pgtype.DateOID, format, Date(0), nil); wire != nil || err != nil {
			t.Errorf("format %d: no date is sent as %q (%v), want NULL", format, wire, err)
		}
		got := MustParse("2020-01-01")
		if err := m.Scan(pgtype.DateOID, format, nil, &got); err != nil || got != 0 {
			t.Errorf("format %d: NULL came back as %s (%v), want no date", format, got, err)
		}
		// unnest($1::date[]) takes them so.
		list := []Date{MustParse("2026-03-25"), 0, MustParse("2024-02-29")}
		wire, err := m.Encode(pgtype.DateArrayOID, format, list, nil)
		if err != nil {
			t.Fatal(err)
		}
		var back []Date
		if err := m.Scan(pgtype.DateArrayOID, format, wire, &back); err != nil || len(back) != 3 || back[0] != list[0] || back[1] != 0 || back[2] != list[2] {
			t.Errorf("format %d: %v came back as %v (%v)", format, list, back, err)
		}
	}
}

// PostgreSQL's "infinity" is no day; reading it as one would lose it.
func TestPostgresInfinity(t *testing.T) {
	for _, s := range []string{"infinity", "-infinity"} {
		var d Date
		if err := pgtype.NewMap().Scan(pgtype.DateOID, pgtype.TextFormatCode, []byte(s), &d); err == nil {
			t.Errorf("%s was read as %q, want an error", s, d)
		}
	}
}
