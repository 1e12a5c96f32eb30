package ledger

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestCentsString(t *testing.T) {
	for c, want := range map[Cents]string{
		0:             "$0.00",
		1:             "$0.01",
		-1:            "-$0.01",
		10:            "$0.10",
		99:            "$0.99",
		100:           "$1.00",
		-500:          "-$5.00",
		57500:         "$575.00",
		99999:         "$999.99",
		100000:        "$1,000.00",
		123456:        "$1,234.56",
		99999999:      "$999,999.99",
		100000000:     "$1,000,000.00",
		-123456789012: "-$1,234,567,890.12",
		math.MaxInt64: "$92,233,720,368,547,758.07",
		math.MinInt64: "-$92,233,720,368,547,758.08",
	} {
		if got := c.String(); got != want {
			t.Errorf("%d cents: %s, want %s", int64(c), got, want)
		}
	}
}

func TestPercentOf(t *testing.T) {
	for _, c := range []struct {
		percent string
		of      Cents
		want    Cents
	}{
		{"1.5", 57500, 863}, // 862.5: the policy's own example
		{"1.5", 20000, 300},
		{"1.5", 250000, 3750},
		{"1.5", -57500, -863}, // halves away from zero
		{"1.5", 33, 0},        // 0.495
		{"1.5", 34, 1},        // 0.51
		{"50", 1, 1},          // 0.5
		{"50", 3, 2},          // 1.5
		{"50", -1, -1},
		{"49.999", 1, 0},
		{"0", 57500, 0},
		{"100", 57500, 57500},
		{"0.1", 500, 1},   // exactly 0.5, which no binary fraction is
		{"0.7", 5000, 35}, // 35, where floating point says 34.99...
		{"1.005", 10000, 101},
		{".5", 100, 1},
		{"2.", 100, 2},
		{"33.333333333333333", 300, 100},
		{"100", math.MaxInt64, math.MaxInt64},
	} {
		p, err := ParsePercent(c.percent)
		if err != nil {
			t.Errorf("%s: %v", c.percent, err)
			continue
		}
		if got := p.Of(c.of); got != c.want {
			t.Errorf("%s%% of %d = %d, want %d", c.percent, int64(c.of), int64(got), int64(c.want))
		}
	}
	if got := (Percent{}).Of(57500); got != 0 {
		t.Errorf("the zero percentage of 57500 = %d, want 0", int64(got))
	}
}

func TestParsePercentRefuses(t *testing.T) {
	for _, s := range []string{"", ".", "-1", "+1", "1,5", "1.5%", " 1.5", "1.5 ", "1e2", "1/2", "0x10", "1_000", "1.5.0", "..", "NaN", "Inf",
		"one", "１.5", "1\n", "000000000000000000001"} {
		if p, err := ParsePercent(s); err == nil {
			t.Errorf("%q was taken: of 10000 it is %d", s, int64(p.Of(10000)))
		}
	}
}

func FuzzParsePercent(f *testing.F) {
	f.Add("1.5")
	f.Add("1e9")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePercent(s)
		if err != nil {
			return
		}
		// What is taken is a plain decimal: 100 of it is what stands there
		// with the point moved, give or take the rounding of half a cent.
		want, ok := new(big.Rat).SetString(s)
		if !ok || want.Sign() < 0 {
			t.Fatalf("%q was taken", s)
		}
		if want.Cmp(big.NewRat(1_000_000, 1)) > 0 {
			return
		}
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(int64(p.Of(100))), want)
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Errorf("%q percent of 100 is %d", s, int64(p.Of(100)))
		}
	})
}

func TestProrate(t *testing.T) {
	for _, c := range []struct {
		amount      Cents
		part, whole int
		want        Cents
	}{
		{45000, 15, 30, 22500},
		{45000, 10, 31, 14516}, // 14516.129
		{45000, 17, 31, 24677}, // 24677.419
		{45000, 14, 28, 22500},
		{45000, 31, 31, 45000},
		{45000, 0, 31, 0},
		{1, 1, 2, 1}, // half a cent up
		{-1, 1, 2, -1},
		{1, 14, 29, 0}, // 0.483
		{1, 15, 29, 1}, // 0.517
		{-45000, 10, 31, -14516},
	} {
		if got := Prorate(c.amount, c.part, c.whole); got != c.want {
			t.Errorf("%d * %d/%d = %d, want %d", int64(c.amount), c.part, c.whole, int64(got), int64(c.want))
		}
	}
}

// The rounded amount is the nearest to the exact one, never more than half a
// cent off, a half going away from zero, the same for credits as for debits.
func TestRatioIsNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(-1e15, 1e15).Draw(t, "amount")
		num := rapid.Int64Range(0, 1000).Draw(t, "numerator")
		den := rapid.Int64Range(1, 1000).Draw(t, "denominator")
		got := Ratio(Cents(a), big.NewInt(num), big.NewInt(den))
		exact := new(big.Rat).Mul(new(big.Rat).SetInt64(a), big.NewRat(num, den))
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(int64(got)), exact)
		switch size := new(big.Rat).Abs(off).Cmp(big.NewRat(1, 2)); {
		case size > 0:
			t.Errorf("%d * %d/%d = %d, more than half a cent off", a, num, den, int64(got))
		case size == 0 && off.Sign() != exact.Sign():
			t.Errorf("%d * %d/%d = %d: the half went toward zero", a, num, den, int64(got))
		}
		if back := Ratio(Cents(-a), big.NewInt(num), big.NewInt(den)); back != -got {
			t.Errorf("%d and %d round to %d and %d", a, -a, int64(got), int64(back))
		}
	})
}
