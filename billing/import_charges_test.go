package billing_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

const (
	chargesHeader     = "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents"
	correctionsHeader = chargesHeader + ",adjusts"
)

// family is a desk with two accounts: Ann's, and Ben's with his child Cleo.
func family(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t)
	d.takes("members", 3, 0, memberHeader, person(ann, ann, "Ann"), person(ben, ben, "Ben"), person(cleo, ben, "Cleo"))
	return d
}

func TestCharges(t *testing.T) {
	d := family(t)
	lines := []string{chargesHeader,
		"c1," + ann + ",premium,2026-04-01,Premium April,45000,0,45000", // of next month: usual
		"c2," + cleo + ",medical,2026-02-11,\"Visit, X-ray\",90000,77500,12500",
		"c3," + ben + ",medical,2026-02-12,Covered in full,90000,90000,0"}
	if got := d.takes("charges", 3, 0, lines...); got.Cents != 57500 {
		t.Errorf("%d cents", got.Cents)
	}
	d.wants(`select string_agg(account_id || ' ' || charge_id || ' ' || mrn || ' ' || kind || ' ' || service_date || ' ' || description || ' ' || gross_cents || ' ' || insurer_cents || ' ' || cents || ' ' || state || ' ' || arrived_on, '; ' order by charge_id) from item`,
		"1 c1 "+ann+" premium 2026-04-01 Premium April 45000 0 45000 unbilled 2026-03-02; 2 c2 "+cleo+" medical 2026-02-11 Visit, X-ray 90000 77500 12500 unbilled 2026-03-02; 2 c3 "+ben+" medical 2026-02-12 Covered in full 90000 90000 0 unbilled 2026-03-02")
	d.wants(`select string_agg(account_id || ' ' || what || ' ' || debit || ' ' || credit || ' ' || cents, '; ' order by account_id) from journal`,
		"1 charge receivable premiums 45000; 2 charge receivable patient_share 12500")
	before := d.snapshot()
	d.im.Day += 30
	d.takes("charges", 0, 3, lines...)
	d.takes("charges", 0, 4, chargesHeader, lines[2], lines[1], lines[2], lines[3])
	if d.snapshot() != before {
		t.Error("the same charges again changed something")
	}
	d.takes("charges", 1, 2, chargesHeader, lines[1], "c4,"+ann+",medical,2026-02-13,Lab,500,0,500", "c4,"+ann+",medical,2026-02-13,Lab,500,0,500")
	d.invariants()
}

// A charge is told from what came before field by field.
func TestChargeWithOtherContent(t *testing.T) {
	d := family(t)
	d.takes("charges", 1, 0, chargesHeader, "c1,"+ben+",medical,2026-02-11,Visit,90000,77500,12500")
	for field, line := range map[string]string{
		"mrn":           "c1," + cleo + ",medical,2026-02-11,Visit,90000,77500,12500",
		"kind":          "c1," + ben + ",premium,2026-02-11,Visit,90000,77500,12500",
		"service_date":  "c1," + ben + ",medical,2026-02-12,Visit,90000,77500,12500",
		"description":   "c1," + ben + ",medical,2026-02-11,visit,90000,77500,12500",
		"gross_cents":   "c1," + ben + ",medical,2026-02-11,Visit,90001,77500,12500",
		"insurer_cents": "c1," + ben + ",medical,2026-02-11,Visit,90000,77501,12500",
		"patient_cents": "c1," + ben + ",medical,2026-02-11,Visit,90000,77500,12501",
	} {
		d.refuses("charges", []string{"2 " + field + `: charge "c1" came before with`}, chargesHeader, line)
	}
	// Nor may two lines of one file differ.
	d.refuses("charges", []string{"3 patient_cents: came before with 100"}, chargesHeader, "c2,"+ann+",medical,2026-02-11,Visit,100,0,100", "c2,"+ann+",medical,2026-02-11,Visit,100,0,200")
}

func TestChargesRefused(t *testing.T) {
	d := family(t)
	nobody := string(billing.NewMRN(99))
	good := "c1," + ann + ",medical,2026-02-11,Visit,100,0,100"
	d.refuses("charges", []string{"3 mrn: no member has the MRN " + nobody, "4 mrn: check digit", "5 kind: dental"}, chargesHeader, good,
		"c2,"+nobody+",medical,2026-02-11,Visit,100,0,100", "c3,1234567890,medical,2026-02-11,Visit,100,0,100", "c4,"+ann+",dental,2026-02-11,Visit,100,0,100")
	d.wants(`select string_agg(charge_id, ',') from item`, "c1") // what was taken in part
}

// A charge that was adjusted since is still the charge that came.
func TestAdjustedChargeIsUnchanged(t *testing.T) {
	d := family(t)
	charge := "c1," + ann + ",medical,2026-02-11,Visit,20000,0,20000,"
	lower := "a1," + ann + ",medical,,Contract rate,,,-5000,c1"
	d.takes("charges", 1, 0, correctionsHeader, charge)
	if got := d.takes("charges", 1, 0, correctionsHeader, lower); got.Cents != -5000 {
		t.Errorf("%d cents", got.Cents)
	}
	d.wants(`select cents from item where charge_id = 'c1'`, "15000")
	before := d.snapshot()
	d.takes("charges", 0, 2, correctionsHeader, charge, lower)
	if d.snapshot() != before {
		t.Error("the same rows again changed something")
	}
	d.invariants()
}

// Corrections may come before the charge that they name, in its file; they may
// raise it, lower it, or name none.
func TestCorrections(t *testing.T) {
	d := family(t)
	file := []string{correctionsHeader,
		"a1," + ann + ",medical,2026-02-11,Contract rate,-1000,0,-500,c1",
		"a2," + ann + ",medical,2026-02-11,Coded higher,0,0,300,c1",
		"c1," + ann + ",medical,2026-02-11,Visit,20000,0,2000,",
		"c2," + ben + ",medical,2026-02-11,Visit,20000,0,1000,",
		"a3," + cleo + ",medical,,Of no charge,,,-400,",
		"a3," + cleo + ",medical,,Of no charge,,,-400,"}
	if got := d.takes("charges", 5, 1, file...); got.Cents != 2400 {
		t.Errorf("%d cents", got.Cents)
	}
	d.wants(`select string_agg(account_id || ' ' || origin || ' ' || coalesce(charge_id, '-') || ' ' || cents || ' ' || parent, '; ' order by account_id, no) from item`,
		"1 charge c1 1500 0; 1 adjustment - 300 1; 2 charge c2 600 0")
	d.wants(`select string_agg(charge_id || ' ' || account_id || ' ' || cents || ' ' || adjusts, '; ' order by charge_id) from adjustment`, "a1 1 -500 c1; a2 1 300 c1; a3 2 -400 ")
	before := d.snapshot()
	d.takes("charges", 0, 6, file...)
	if d.snapshot() != before {
		t.Error("the same corrections again changed something")
	}
	d.invariants()
}

func TestCorrectionsRefused(t *testing.T) {
	d := family(t)
	d.takes("charges", 3, 0, correctionsHeader, "c1,"+ann+",medical,2026-02-11,Visit,2000,0,2000,", "c2,"+ben+",premium,2026-02-11,Visit,2000,0,1000,", "a1,"+ann+",medical,,Less,,,-100,c1")
	for _, c := range []struct{ name, line, problem string }{
		{"of an unknown charge", "a2," + ann + ",medical,,Less,,,-100,c9", `2 adjusts: there is no charge "c9"`},
		{"of a correction", "a2," + ann + ",medical,,Less,,,-100,a1", `2 adjusts: there is no charge "a1"`},
		{"of itself", "a2," + ann + ",medical,,Less,,,-100,a2", "2 adjusts: names itself"},
		{"of another account's charge", "a2," + ben + ",medical,,Less,,,-100,c1", "2 adjusts: not on the account of MRN " + ben},
		{"of another kind", "a2," + ann + ",premium,,Less,,,-100,c1", `2 kind: charge "c1" is medical, the correction says premium`},
		{"of more than there is", "a2," + ann + ",medical,,Less,,,-1901,c1", "2 patient_cents: more than the $19.00"},
		{"of a kind without charge", "a2," + ann + ",premium,,Less,,,-1,", "2 patient_cents: more than the $0.00"},
		{"of nobody", "a2," + string(billing.NewMRN(99)) + ",medical,,Less,,,-100,c1", "2 mrn: no member"},
		{"of nothing", "a2," + ann + ",medical,,Less,,,0,c1", "2 patient_cents: changes nothing"},
		{"under a charge's id", "c1," + ann + ",medical,,Less,,,-100,c2", `2 charge_id: "c1" is a charge`},
		{"known with other content", "a1," + ann + ",medical,,Less,,,-101,c1", `2 charge_id: correction "a1" came before`},
		{"a charge under a correction's id", "a1," + ann + ",medical,2026-02-11,Visit,100,0,100,", `2 charge_id: "a1" came before as a correction`},
	} {
		t.Run(c.name, func(t *testing.T) {
			(&desk{t, d.db, d.im}).refuses("charges", []string{c.problem}, correctionsHeader, c.line)
		})
	}
	// The first of two that take too much together is taken in part.
	d.refuses("charges", []string{"3 patient_cents: more than the $4.00"}, correctionsHeader, "a2,"+ann+",medical,,Less,,,-1500,c1", "a3,"+ann+",medical,,Less,,,-1500,c1")
	d.wants(`select cents from item where charge_id = 'c1'`, "400")
	d.invariants()
}

// More rows than one chunk holds, accounts and ids across its border, and
// corrections beyond theirs.
func TestChargesInChunks(t *testing.T) {
	d := family(t)
	members := []string{ann, ben, cleo}
	lines := []string{correctionsHeader}
	for i := range 30_000 {
		lines = append(lines, fmt.Sprintf("c%d,%s,medical,2026-02-11,Visit,10,0,10,", i, members[i%3]))
	}
	for i := range 2_500 {
		lines = append(lines, fmt.Sprintf("a%d,%s,medical,,Less,,,-1,c%d", i, members[i%3], i))
	}
	lines = append(lines, lines[1], lines[25_000], lines[30_001], lines[32_500])
	if got := d.takes("charges", 32_500, 4, lines...); got.Cents != 297_500 {
		t.Errorf("%d cents", got.Cents)
	}
	d.wants(`select string_agg(id || ' ' || docs || ' ' || entries, ', ' order by id) from account where id > 0`, "1 10000 10834, 2 20000 21666")
	lines = slices.Concat(lines[:1], []string{"new," + ann + ",medical,2026-02-11,Visit,10,0,10,"}, lines[1:], []string{"bad"})
	before := d.snapshot()
	got, err := d.take("charges", lines...)
	if err == nil || got.Rows != 32_506 || got.Refused != 32_506 || d.snapshot() != before {
		t.Errorf("%d rows, %d refused, error %v; the last line is bad, and nothing may change", got.Rows, got.Refused, err)
	}
	d.names(got.Problems, []string{"32507 : 1 fields"})
	d.invariants()
}

// Charges that came before are found among new ones, wherever among them their
// ids lie, and so are corrections.
func TestChargesKnownAmongNew(t *testing.T) {
	d := family(t)
	random := rand.New(rand.NewPCG(1, 2))
	charge := func(id string) string { return id + "," + ann + ",medical,2026-02-11,Visit,10,0,10," }
	known := map[string]bool{}
	for range 4 {
		lines, news, again := []string{correctionsHeader}, 0, 0
		for range 2000 {
			// Near each other and far, of other lengths and cases.
			id := fmt.Sprintf("%c%d", "aBc_é"[random.IntN(4)], random.IntN(1<<(4+random.IntN(16))))
			if known[id] {
				again++
			} else {
				news++
			}
			known[id] = true
			lines = append(lines, charge(id))
		}
		if again == 0 || news == 0 {
			t.Fatalf("%d new, %d again", news, again)
		}
		d.takes("charges", news, again, lines...)
	}
	d.takes("charges", 1, 0, correctionsHeader, "less,"+ann+",medical,,Less,,,-1,"+slices.Min(slices.Collect(maps.Keys(known))))
	lines := []string{correctionsHeader}
	for i := range 600 {
		lines = append(lines, charge(fmt.Sprintf("lesr%d", i)), charge(fmt.Sprintf("lest%d", i)))
	}
	d.refuses("charges", []string{`1202 charge_id: "less" came before as a correction`}, append(lines, charge("less"))...)
	// The server compares ids as they are ordered here, whatever language it speaks.
	d.wants(`select string_agg(table_name || ' ' || coalesce(collation_name, ''), ', ' order by table_name) from information_schema.columns where column_name = 'charge_id' and table_schema = 'public'`, "adjustment C, item C")
	d.invariants()
}

// A charge stays with the guarantor of its day, and so does what corrects it
// after the member has got another one.
func TestCorrectionAfterTheGuarantorChanged(t *testing.T) {
	d := family(t)
	d.takes("charges", 1, 0, chargesHeader, "c1,"+cleo+",medical,2026-02-11,Visit,2000,0,2000")
	d.takes("members", 1, 0, memberHeader, person(cleo, ann, "Cleo"))
	correction := "a1," + cleo + ",medical,,Contract rate,,,-500,c1"
	d.takes("charges", 1, 0, correctionsHeader, correction)
	d.wants(`select string_agg(account_id || ' ' || charge_id || ' ' || cents, '; ') from item`, "2 c1 1500")
	d.wants(`select string_agg(account_id || ' ' || charge_id || ' ' || cents, '; ') from adjustment`, "2 a1 -500")
	d.takes("charges", 0, 1, correctionsHeader, correction)
	d.refuses("charges", []string{"2 adjusts: not on the account of MRN " + ann}, correctionsHeader, "a2,"+ann+",medical,,Less,,,-100,c1")
	d.invariants()
}

// An amount that a person mistypes is refused as one of a feed is: sums of the
// books would not hold it.
func TestAmountsByHandAreBounded(t *testing.T) {
	p := billing.DefaultPolicy()
	day := calendar.MustParse("2026-03-02")
	a := billing.NewAccount(1, "1000000016", day)
	a.Charge(&p, day, billing.Medical, 5000, billing.Detail{})
	for _, cents := range []ledger.Cents{math.MaxInt64, math.MinInt64} {
		if err := a.Adjust(&p, day, billing.Medical, cents, 0, billing.Detail{}); err == nil {
			t.Errorf("an adjustment by %d", int64(cents))
		}
	}
	if err := a.Enrol(&p, day, "1000000016", "GOLD", billing.Terms{StartOn: day, MonthlyCents: math.MaxInt64}); err == nil {
		t.Error("a premium of MaxInt64")
	}
	if f := a.Figures(); f.Ledger != 5000 {
		t.Errorf("ledger %s", f.Ledger)
	}
}
