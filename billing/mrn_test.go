package billing

import (
	"strings"
	"testing"
)

// Check digits computed apart from this code, by the sums of the Luhn table.
func TestNewMRN(t *testing.T) {
	for nine, want := range map[int64]MRN{
		0:           "0000000000",
		1:           "0000000018",
		9:           "0000000091",
		90_000_000:  "0900000001",
		123_456_789: "1234567897",
		400_000_001: "4000000010",
		718_259_544: "7182595442",
		987_654_321: "9876543217",
		999_999_999: "9999999999",
	} {
		if got := NewMRN(nine); got != want {
			t.Errorf("NewMRN(%d) = %s, want %s", nine, got, want)
		}
		if got, err := ParseMRN(string(want)); err != nil || got != want {
			t.Errorf("ParseMRN(%s) = %s, %v", want, got, err)
		}
	}
}

func TestNewMRNRefusesWhatDoesNotFit(t *testing.T) {
	for _, nine := range []int64{-1, 1_000_000_000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewMRN(%d) did not panic", nine)
				}
			}()
			NewMRN(nine)
		}()
	}
}

func TestParseMRNSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ in, says string }{
		{"", "0 characters"},
		{"123456789", "9 characters"},
		{"12345678977", "11 characters"},
		{" 123456789", `character 1 is ' '`},
		{"123456-897", `character 7 is '-'`},
		{"1234567898", "check digit is 8, these digits call for 7"},
		{"1234567８", `character 8`}, // a full-width digit is no digit
		{strings.Repeat("7", 500), "500 characters"},
	} {
		got, err := ParseMRN(c.in)
		if err == nil || got != "" {
			t.Errorf("ParseMRN(%q) = %q, %v; want an error", c.in, got, err)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseMRN(%q): %q does not say %q", c.in, err, c.says)
		}
		if len(err.Error()) > 160 {
			t.Errorf("ParseMRN(%d characters): an error of %d characters", len(c.in), len(err.Error()))
		}
	}
}

// Luhn catches every single wrong digit, and every swap of two neighbors but
// that of a 0 and a 9.
func TestMRNCatchesSlips(t *testing.T) {
	for _, nine := range []int64{0, 1, 90_909_090, 123_456_789, 718_259_544, 555_555_555} {
		mrn := string(NewMRN(nine))
		for i := range len(mrn) {
			for d := byte('0'); d <= '9'; d++ {
				if wrong := mrn[:i] + string(d) + mrn[i+1:]; wrong != mrn {
					if _, err := ParseMRN(wrong); err == nil {
						t.Errorf("%s passed for %s", wrong, mrn)
					}
				}
			}
			if i == 0 {
				continue
			}
			a, b := mrn[i-1], mrn[i]
			_, err := ParseMRN(mrn[:i-1] + string(b) + string(a) + mrn[i+1:])
			if blind := a == b || a+b == '0'+'9' && (a == '0' || b == '0'); (err == nil) != blind {
				t.Errorf("%s with digits %d and %d swapped: %v", mrn, i, i+1, err)
			}
		}
	}
}
