package billing

import (
	"math"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ledger"
)

// The check digits were computed apart from this code with whole-number
// arithmetic: (1 - payload*100) mod 97, 0 and 1 written as 97 and 98.
var scanlines = []struct {
	scanline Scanline
	digits   string
}{
	{Scanline{"1234567897", 1, 57500}, "123456789700000000010005750037"},
	{Scanline{"0000000000", 0, 0}, "000000000000000000000000000098"},
	{Scanline{"9999999999", 9999999999, 99999999}, "999999999999999999999999999916"},
	{Scanline{"7182595442", 4000000001, 230851}, "718259544240000000010023085164"},
	{Scanline{"1000000008", 1234567890, 1}, "100000000812345678900000000135"},
}

func TestScanline(t *testing.T) {
	for _, c := range scanlines {
		if got := c.scanline.String(); got != c.digits {
			t.Errorf("%+v is %s, want %s", c.scanline, got, c.digits)
		}
		if got, err := ParseScanline(c.digits); err != nil || got != c.scanline {
			t.Errorf("ParseScanline(%s) = %+v, %v; want %+v", c.digits, got, err, c.scanline)
		}
	}
}

func TestScanlineAtItsLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Scanline
		want string
	}{
		{"more than eight digits of cents", Scanline{"9876543217", 42, 123456789}, "987654321700000000429999999927"},
		{"a credit asks for nothing", Scanline{"1234567897", 1, -500}, Scanline{"1234567897", 1, 0}.String()},
		{"the largest amount there is", Scanline{"9876543217", 42, math.MaxInt64}, "987654321700000000429999999927"},
		{"no MRN", Scanline{"", 1, 1}, ""},
		{"an MRN with a letter", Scanline{"12345678X7", 1, 1}, ""},
		{"a statement number too long", Scanline{"1234567897", 10_000_000_000, 1}, ""},
		{"a negative statement number", Scanline{"1234567897", -1, 1}, ""},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseScanlineSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ in, says string }{
		{"", "0 characters"},
		{"12345678970000000001000575003", "29 characters"},
		{"1234567897000000000100057500371", "31 characters"},
		{" 23456789700000000010005750037", "character 1"},
		{"12345678970000000001000575003O", `character 30 is 'O'`},
		{"123456789700000000010005750038", "check digits are 38, the 28 digits before call for 37"},
		// The line's own check digits are right, the MRN's digit is not.
		{Scanline{"1234567890", 1, 57500}.String(), "its check digit is 0, these digits call for 7"},
	} {
		got, err := ParseScanline(c.in)
		if err == nil || got != (Scanline{}) {
			t.Errorf("ParseScanline(%q) = %+v, %v; want an error", c.in, got, err)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseScanline(%q): %q does not say %q", c.in, err, c.says)
		}
	}
}

// A line whose remainder is right by 97 more or less is still not what the
// coupon says: 00 must not pass for 97, nor 01 for 98.
func TestScanlineHasOneSpelling(t *testing.T) {
	for _, c := range []struct{ check, twin string }{{"97", "00"}, {"98", "01"}} {
		found := false
		for n := int64(0); n < 500 && !found; n++ {
			line := Scanline{"1234567897", n, 0}.String()
			if found = line[28:] == c.check; found {
				if _, err := ParseScanline(line[:28] + c.twin); err == nil {
					t.Errorf("%s passed for %s", line[:28]+c.twin, line)
				}
			}
		}
		if !found {
			t.Errorf("no line with check digits %s among those tried", c.check)
		}
	}
}

// Mod 97-10 catches every single wrong digit and every swap of neighbors.
func TestScanlineCatchesSlips(t *testing.T) {
	for _, c := range scanlines {
		s := c.digits
		for i := range len(s) {
			for d := byte('0'); d <= '9'; d++ {
				if wrong := s[:i] + string(d) + s[i+1:]; wrong != s {
					if _, err := ParseScanline(wrong); err == nil {
						t.Errorf("%s passed for %s", wrong, s)
					}
				}
			}
			if i > 0 && s[i-1] != s[i] {
				wrong := s[:i-1] + s[i:i+1] + s[i-1:i] + s[i+1:]
				if _, err := ParseScanline(wrong); err == nil {
					t.Errorf("%s passed for %s", wrong, s)
				}
			}
		}
	}
}

// Whatever is read as a scanline is written back the same.
func FuzzParseScanline(f *testing.F) {
	for _, c := range scanlines {
		f.Add(c.digits)
	}
	f.Add("12345678970000000001000575003O")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseScanline(s)
		if err == nil && got.String() != s {
			t.Errorf("%q was read as %+v, which is %q", s, got, got.String())
		}
		if err != nil && got != (Scanline{}) {
			t.Errorf("%q: an error and %+v besides", s, got)
		}
	})
}

// Whatever has a scanline is read back the same.
func FuzzScanline(f *testing.F) {
	f.Add(int64(123456789), int64(1), int64(57500))
	f.Fuzz(func(t *testing.T, nine, statement, due int64) {
		abs := func(n, limit int64) int64 { return max(n%limit, -(n % limit)) }
		want := Scanline{NewMRN(abs(nine, 1e9)), abs(statement, 1e10), ledger.Cents(abs(due, 1e8))}
		got, err := ParseScanline(want.String())
		if err != nil || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	})
}
