package ledger

import (
	"fmt"
	"math/big"
	"strconv"
)

// Cents is an amount of US dollars in cents. On an account, positive is owed
// by the member, negative is owed to the member.
type Cents int64

// String returns the amount as members read it: $1,234.56, or -$5.00.
func (c Cents) String() string {
	sign, u := "", uint64(c)
	if c < 0 {
		sign, u = "-", uint64(-c)
	}
	whole := strconv.FormatUint(u/100, 10)
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return fmt.Sprintf("%s$%s.%02d", sign, whole, u%100)
}

// Percent is an exact percentage, written as a decimal string such as "1.5".
type Percent struct{ rat *big.Rat }

// ParsePercent reads a decimal string; it takes digits and one point only, no
// sign, exponent or fraction, so that what stands in a policy is what counts.
func ParsePercent(s string) (Percent, error) {
	points := 0
	for _, r := range s {
		switch {
		case r == '.':
			points++
		case r < '0' || r > '9':
			points = 2
		}
	}
	rat, ok := new(big.Rat).SetString(s)
	if s == "" || len(s) > 20 || points > 1 || !ok {
		return Percent{}, fmt.Errorf("%q is not a percentage (a decimal such as \"1.5\")", s)
	}
	return Percent{rat}, nil
}

// Of returns p percent of a, rounded half-up to the cent.
func (p Percent) Of(a Cents) Cents {
	num, den := p.fraction()
	return Ratio(a, num, den)
}

// Fraction returns p as two whole numbers in decimal: 1.5 percent is 3 of 200.
func (p Percent) Fraction() (part, whole string) {
	num, den := p.fraction()
	return num.String(), den.String()
}

func (p Percent) fraction() (num, den *big.Int) {
	if p.rat == nil {
		return new(big.Int), big.NewInt(100)
	}
	return p.rat.Num(), new(big.Int).Mul(p.rat.Denom(), big.NewInt(100))
}

// Prorate returns a * part / whole, rounded half-up to the cent: the premium
// of the covered days of a month.
func Prorate(a Cents, part, whole int) Cents {
	return Ratio(a, big.NewInt(int64(part)), big.NewInt(int64(whole)))
}

// Ratio returns a * num / den, rounded half-up to the cent (halves away from
// zero for a negative amount), exactly.
func Ratio(a Cents, num, den *big.Int) Cents {
	if a < 0 {
		return -Ratio(-a, num, den)
	}
	n := new(big.Int).Mul(big.NewInt(int64(a)), num)
	n.Mul(n, big.NewInt(2)).Add(n, den)
	return Cents(n.Div(n, new(big.Int).Mul(den, big.NewInt(2))).Int64())
}
