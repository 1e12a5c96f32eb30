package lockbox

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// A small town: two members and a bill of each; account 7 is Ann's, 8 Bob's.
var (
	ann, bob, nobody = string(billing.NewMRN(100_000_001)), string(billing.NewMRN(100_000_002)), string(billing.NewMRN(100_000_003))
	annBill          = billing.StatementNumber(7, 2026*12+2)
	bobBill          = billing.StatementNumber(8, 2026*12+2)
	town             = directory{members: map[string]int64{ann: 7, bob: 8}, bills: map[int64]bool{annBill: true, bobBill: true}}
)

func line(mrn string, statement int64) string {
	return billing.Scanline{MRN: billing.MRN(mrn), Statement: statement, Due: 57500}.String()
}

func number(statement int64) string { return fmt.Sprintf("%010d", statement) }

// misread changes one digit.
func misread(s string) string {
	b := []byte(s)
	b[4] = '0' + (b[4]-'0'+1)%10
	return string(b)
}

func TestWhoseMoney(t *testing.T) {
	to := func(shares ...share) []share { return shares }
	payer := func(s ...string) Coupon { return Coupon{Payer: s} }
	invoice := func(s ...string) Coupon { return Coupon{Statement: s} }
	part := func(cents ledger.Cents, c Coupon) Coupon { c.Cents = cents; return c }
	none := Coupon{}
	all := to(share{7, 1000, ""})
	for _, c := range []struct {
		name    string
		coupons []Coupon
		shares  []share
		reason  string
	}{
		{"nothing at all", []Coupon{none}, nil, NoReference},
		{"MRN", []Coupon{payer(ann)}, all, ""},
		{"MRN on an overflow", []Coupon{none, payer(ann)}, all, ""},
		{"scanline", []Coupon{none, payer(line(ann, annBill))}, all, ""},
		{"scanline of a statement from before our time", []Coupon{none, payer(line(ann, 42))}, all, ""},
		{"scanline of another's statement", []Coupon{payer(line(ann, bobBill))}, nil, ReferenceConflict},
		{"scanline misread", []Coupon{payer(misread(line(ann, annBill)))}, nil, BadReference},
		{"MRN misread", []Coupon{payer(misread(ann))}, nil, BadReference},
		{"MRN misread beside a good one", []Coupon{payer(ann), payer(misread(ann))}, nil, BadReference},
		{"MRN misread beside a good statement", []Coupon{none, {Payer: []string{misread(ann)}, Statement: []string{number(annBill)}}}, nil, BadReference},
		{"MRN of nobody", []Coupon{payer(nobody)}, nil, UnknownMember},
		{"MRN of nobody beside a good statement", []Coupon{none, {Payer: []string{nobody}, Statement: []string{number(annBill)}}}, nil, UnknownMember},
		{"memo", []Coupon{none, payer("RENT FOR MAY")}, nil, BadReference},
		{"memo beside an MRN", []Coupon{none, payer("RENT FOR MAY"), payer(ann)}, all, ""},
		{"statement", []Coupon{none, invoice(number(annBill))}, all, ""},
		{"statement in a wider field", []Coupon{none, invoice("00000" + number(annBill))}, all, ""},
		{"statement never made", []Coupon{none, invoice(number(annBill + 1))}, nil, UnknownStatement},
		{"statement never made beside an MRN", []Coupon{none, {Payer: []string{ann}, Statement: []string{number(annBill + 1)}}}, all, ""},
		{"a statement number is not looked for where an MRN stands", []Coupon{payer(number(annBill))}, nil, BadReference},
		{"MRN where a statement number stands", []Coupon{none, invoice(ann)}, all, ""},
		{"MRN and statement disagree", []Coupon{none, {Payer: []string{ann}, Statement: []string{number(bobBill)}}}, nil, ReferenceConflict},
		{"check and coupon disagree", []Coupon{payer(ann), invoice(number(bobBill))}, nil, ReferenceConflict},
		{"two accounts and no amounts", []Coupon{none, payer(ann), payer(bob)}, nil, Ambiguous},
		{"two accounts and one amount", []Coupon{none, part(600, payer(ann)), payer(bob)}, nil, Ambiguous},
		{"one account twice and no amounts", []Coupon{none, payer(ann), invoice(number(annBill))}, all, ""},
		{"one amount is a hint", []Coupon{none, part(600, payer(ann))}, all, ""},
		{"an amount alone, the payer on the check", []Coupon{payer(ann), part(600, none)}, all, ""},
		{"two parts", []Coupon{none, part(600, payer(bob)), part(400, payer(ann))}, to(share{8, 600, ""}, share{7, 400, ""}), ""},
		{"two parts for one", []Coupon{none, part(600, payer(ann)), part(400, payer(ann))}, to(share{7, 600, ""}, share{7, 400, ""}), ""},
		{"parts short", []Coupon{none, part(600, payer(bob)), part(399, payer(ann))}, nil, CouponsDontAddUp},
		{"parts over", []Coupon{none, part(600, payer(bob)), part(401, payer(ann))}, nil, CouponsDontAddUp},
		{"a part of nobody known", []Coupon{none, part(600, payer(ann)), part(400, none)}, nil, NoReference},
		{"a part without reference, the payer on the check", []Coupon{payer(bob), part(600, payer(ann)), part(400, none)}, to(share{7, 600, ""}, share{8, 400, ""}), ""},
		{"a part misread", []Coupon{none, part(600, payer(ann)), part(400, payer(misread(bob)))}, nil, BadReference},
		{"parts, and somebody else's number besides", []Coupon{none, part(600, payer(ann)), part(400, payer(ann)), payer(bob)}, nil, Ambiguous},
		{"parts, and the check names somebody else", []Coupon{payer(bob), part(600, payer(ann)), part(400, payer(ann))}, nil, ReferenceConflict},
		{"directed by the check", []Coupon{{Payer: []string{ann}, Kind: billing.Medical}}, to(share{7, 1000, billing.Medical}), ""},
		{"directed by the coupon", []Coupon{none, {Payer: []string{ann}, Kind: billing.Premium, Cents: 1000}}, to(share{7, 1000, billing.Premium}), ""},
		{"each part directed", []Coupon{{Kind: billing.Medical}, {Payer: []string{ann}, Kind: billing.Premium, Cents: 600}, part(400, payer(bob))}, to(share{7, 600, billing.Premium}, share{8, 400, billing.Medical}), ""},
	} {
		shares, reason := town.divide(1000, c.coupons)
		if !slices.Equal(shares, c.shares) || reason != c.reason {
			t.Errorf("%s: %v %q, want %v %q", c.name, shares, reason, c.shares, c.reason)
		}
	}
}

// Whatever stands on a check, it is given away whole or not at all, and only to
// accounts that one of its references names.
func TestDivideGivesAllOrNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{ann, bob, nobody, misread(ann), line(ann, annBill), line(bob, annBill), misread(line(bob, bobBill)), number(annBill), number(bobBill), number(5), "MEMO", "0000000000"}
	pick := func(most int) (list []string) {
		for range r.IntN(most + 1) {
			list = append(list, words[r.IntN(len(words))])
		}
		return list
	}
	given := 0
	for range 50_000 {
		var coupons []Coupon
		for range 1 + r.IntN(4) {
			coupons = append(coupons, Coupon{Payer: pick(1), Statement: pick(1), Cents: ledger.Cents(r.IntN(3) * 500)})
		}
		coupons[0].Cents = 0
		shares, reason := town.divide(1000, coupons)
		if (reason == "") != (len(shares) > 0) {
			t.Fatalf("%+v: shares %v, reason %q", coupons, shares, reason)
		}
		if reason != "" {
			continue
		}
		given++
		var sum ledger.Cents
		for _, s := range shares {
			sum += s.cents
			if !namedBy(coupons, s.account) {
				t.Fatalf("%+v: account %d is not named", coupons, s.account)
			}
		}
		if sum != 1000 {
			t.Fatalf("%+v: %v come to %d", coupons, shares, sum)
		}
	}
	if given < 1000 {
		t.Errorf("only %d checks were given to anybody; the test proves little", given)
	}
}

func namedBy(coupons []Coupon, account int64) bool {
	for _, c := range coupons {
		for _, s := range slices.Concat(c.Payer, c.Statement) {
			mrn, statement := numbersIn(s)
			if town.members[mrn] == account || statement/100 == account && town.bills[statement] {
				return true
			}
		}
	}
	return false
}

// The references of a check are filed under its own record or the overflow
// where they stand; a word that directs the money is no reference.
func TestCouponsOf(t *testing.T) {
	i := Item{Payer: "P", References: []string{"P", "A", "I", "PREMIUM", "B"}, Overflows: []Overflow{
		{Payer: "A", Invoice: "I", References: []string{"A", "I"}, Cents: 600, HasCents: true, Text: "medical"},
		{References: []string{"PREMIUM"}, Text: "PREMIUM"},
		{Invoice: "B", References: []string{"B"}},
		{Text: "A NOTE"},
	}}
	want := []Coupon{
		{Payer: []string{"P"}, Kind: billing.Premium},
		{Payer: []string{"A"}, Statement: []string{"I"}, Kind: billing.Medical, Cents: 600},
		{Statement: []string{"B"}},
	}
	got := couponsOf(&i)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
