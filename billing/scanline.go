package billing

import (
	"fmt"
	"strconv"

	"github.com/billcycle/billcycle/ledger"
)

// Scanline is the line of digits at the foot of a coupon that the bank's
// reader takes in with the check: whose account, which statement, how much was
// due. The amount is a hint for the operator; the money is the check's.
type Scanline struct {
	MRN       MRN
	Statement int64        // statement number, 1 to 9,999,999,999
	Due       ledger.Cents // amount due; read back, maxScanlineDue means that or more
}

const (
	scanlineDigits    = 30 // what the reference field of a BAI record 4 holds
	maxScanlineDue    = 99_999_999
	maxScanlineNumber = 9_999_999_999
)

// String returns the 30 digits: MRN 10, statement number 10, amount due in
// cents 8 (99999999 if it is more, zeros if nothing is due), and two check
// digits over these 28 by ISO 7064 mod 97-10, which catch every single wrong
// digit and every swap of two neighbors. An MRN or statement number that does
// not fit has no scanline: "".
func (s Scanline) String() string {
	if len(s.MRN) != mrnDigits || firstNonDigit(string(s.MRN)) >= 0 || s.Statement < 0 || s.Statement > maxScanlineNumber {
		return ""
	}
	due := min(max(s.Due, 0), maxScanlineDue)
	payload := fmt.Sprintf("%s%010d%08d", s.MRN, s.Statement, int64(due))
	// The whole number, check digits included, leaves 1 when divided by 97.
	return fmt.Sprintf("%s%02d", payload, 98-mod97(payload+"00"))
}

// ParseScanline reads what String writes: 30 digits without blanks, the check
// digits of the line and that of its MRN both right. A line that fails is not
// repaired: its check belongs in suspense, never to the nearest account.
func ParseScanline(s string) (Scanline, error) {
	if len(s) != scanlineDigits {
		return Scanline{}, fmt.Errorf("%q is not a scanline: %d characters, a scanline has %d digits", abridged(s), len(s), scanlineDigits)
	}
	if i := firstNonDigit(s); i >= 0 {
		return Scanline{}, fmt.Errorf("%q is not a scanline: character %d is %q, a scanline has digits only", s, i+1, s[i])
	}
	// Compared as digits, not by remainder: 00 and 01 would pass for 97 and 98.
	if want := 98 - mod97(s[:28])*100%97; s[28] != byte('0'+want/10) || s[29] != byte('0'+want%10) {
		return Scanline{}, fmt.Errorf("scanline %s: its check digits are %s, the 28 digits before call for %02d; it was misread", s, s[28:], want)
	}
	mrn, err := ParseMRN(s[:mrnDigits])
	if err != nil {
		return Scanline{}, fmt.Errorf("scanline %s: %w", s, err)
	}
	// Digits only, and few enough: these cannot fail.
	statement, _ := strconv.ParseInt(s[10:20], 10, 64)
	due, _ := strconv.ParseInt(s[20:28], 10, 64)
	return Scanline{MRN: mrn, Statement: statement, Due: ledger.Cents(due)}, nil
}

// mod97 returns the remainder by 97 of a decimal number too long for an
// integer type. Sixteen digits after a remainder still fit.
func mod97(digits string) int {
	var r int64
	for i := range len(digits) {
		if r = r*10 + int64(digits[i]-'0'); i%16 == 15 {
			r %= 97
		}
	}
	return int(r % 97)
}
