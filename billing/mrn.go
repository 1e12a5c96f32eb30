package billing

import "fmt"

// MRN is a medical record number, the number a member and an account go by:
// ten digits, the last a Luhn check digit counted from the right, so that a
// number keyed from a bill-pay check can be told wrong without a look-up.
// A value made by ParseMRN or NewMRN holds; the zero value "" is no MRN.
type MRN string

const mrnDigits = 10

// ParseMRN reads an MRN: exactly ten digits, no blanks or dashes, with the
// right check digit. The error says which of these it misses; it never guesses
// the number that was meant.
func ParseMRN(s string) (MRN, error) {
	if len(s) != mrnDigits {
		return "", fmt.Errorf("%q is not an MRN: %d characters, an MRN has %d digits", abridged(s), len(s), mrnDigits)
	}
	if i := firstNonDigit(s); i >= 0 {
		return "", fmt.Errorf("%q is not an MRN: character %d is %q, an MRN has digits only", s, i+1, s[i])
	}
	if want := luhnDigit(s[:mrnDigits-1]); s[mrnDigits-1] != want {
		return "", fmt.Errorf("%q is not an MRN: its check digit is %c, these digits call for %c; look for a mistyped digit", s, s[mrnDigits-1], want)
	}
	return MRN(s), nil
}

// NewMRN returns the MRN of a serial number of at most nine digits by adding
// its check digit. A number outside 0 to 999,999,999 is a mistake of the
// program, not of its data, and panics.
func NewMRN(nine int64) MRN {
	if nine < 0 || nine > 999_999_999 {
		panic(fmt.Sprintf("billing.NewMRN: %d does not fit nine digits", nine))
	}
	s := fmt.Sprintf("%09d", nine)
	return MRN(s + string(luhnDigit(s)))
}

// luhnDigit returns the digit that, set after digits, makes the whole pass the
// Luhn test: from the right every other digit counts double, and a double over
// nine counts as the sum of its two digits.
func luhnDigit(digits string) byte {
	sum, double := 0, true
	for i := len(digits) - 1; i >= 0; i-- {
		d := int(digits[i] - '0')
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, double = sum+d, !double
	}
	return byte('0' + (10-sum%10)%10)
}

// firstNonDigit returns the index of the first byte that is no ASCII digit,
// -1 if there is none.
func firstNonDigit(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return -1
}

// abridged keeps an error about garbage readable.
func abridged(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
