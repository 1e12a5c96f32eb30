package rehearsal_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/statements"
)

// shapes are members whose statements take every shape there is, and what the
// statement of some cut day says of it.
var shapes = []struct {
	name, first, last, street, second, language string
	on                                          string // the cut day
	says                                        []string
}{
	{"plan", "Ana", "Plan", "1 Main St", "", "en", "2026-04-01", []string{"Your payment plan: installment 2 of 6 is part of this statement.", "On your payment plan, not due now"}},
	{"dispute", "Ben", "Dispute", "2 Main St", "Apt 4", "en", "2026-03-01", []string{"In dispute, not due now -$125.00"}},
	{"credit", "Cleo", "Credit", "3 Main St", "", "en", "2026-03-01", []string{"Credit kept for later bills", "Your credit", "Nothing is due."}},
	{"autopay", "Dan", "Debit", "4 Main St", "", "en", "2026-03-01", []string{"Do not pay: $575.00 will be debited on March 25, 2026 from account ending"}},
	{"card", "Eli", "Card", "5 Main St", "", "en", "2026-02-01", []string{"Do not pay: $575.00 will be charged to your card on February 25, 2026."}},
	{"past due", "Fay", "Late", "6 Main St", "", "en", "2026-03-01", []string{"$575.00 of this is past due. Please pay it now."}},
	{"fee", "Flo", "Fee", "14 Main St", "", "en", "2026-04-01", []string{"Late fee", "Fees", "is past due"}},
	{"grace", "Gil", "Grace", "7 Main St", "", "en", "2026-03-01", []string{"Your premium is unpaid. To keep your coverage, pay all that is due by April 30, 2026. Otherwise it ends as of February 28, 2026."}},
	{"zero due", "Hal", "Zero", "8 Main St", "", "en", "2026-03-01", []string{"Nothing is due.", "Payments"}},
	{"many pages", "Ida", "Long", "9 Main St", "", "en", "2026-03-01", []string{"Page 4 of 4", "Medical charges, continued"}},
	{"Spanish", "Íñigo", "Peña Núñez", "10 Calle Ángel Muñoz", "", "es", "2026-03-01", []string{"Saldo a pagar", "ÍÑIGO PEÑA NÚÑEZ", "CALLE ÁNGEL MUÑOZ", "25 de marzo de 2026"}},
	{"other letters", "Thị Đào", "Nguyễn", "11 Łódzka Dvořák Ğüneş", "", "vi", "2026-03-01", []string{"THỊ ĐÀO NGUYỄN", "ŁÓDZKA DVOŘÁK ĞÜNEŞ", "Cần giúp đỡ bằng tiếng Việt?"}},
	{"long address", "Maximiliana", "Wolfeschlegelstein de la Cruz", "12345 Northwest Old Sacramento River Road", "Building 12", "en", "2026-03-01", []string{"OLD SACRAMENTO RIVER"}},
	{"assisted", "Kim", "Assisted", "13 Main St", "", "en", "2026-03-01", []string{"Adjustment"}},
}

// envelope is a real one, a #10 with a window of 1 1/4 by 4 inches and a sheet
// folded to 4: the sheet has an inch to slide in, and an eighth to drop.
var envelope = billing.EnvelopePolicy{Width: 9500, Height: 4125, Panel: 4000, WindowLeft: 625, WindowBottom: 1000, WindowWidth: 4000, WindowHeight: 1250}

// Statements of every shape, made by nights from the database, are read back off
// the pages that the print vendor gets: by poppler, sum by sum; by the machines
// that insert, sort and receive them; and through the envelope's window.
func TestEveryShapeIsReadBackFromTheBundles(t *testing.T) {
	h := newHouse(t)
	policy := *h.Policy
	policy.Print.Vendors = map[string]billing.VendorPolicy{"printer": {MaxSheets: 6, Envelope: envelope}}
	h.Policy = &policy
	liveShapes(t, h)
	api.DisableConfigDir()
	bundles, err := filepath.Glob(filepath.Join(h.Dir, "outbox", "print", "*.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{} // by MRN and cut day
	pieces := 0
	for _, path := range bundles {
		run(t, "qpdf", "--check", path)
		if err := api.ValidateFile(path, model.NewDefaultConfiguration()); err != nil {
			t.Errorf("pdfcpu: %v", err)
		}
		for _, row := range manifest(t, strings.TrimSuffix(path, ".pdf")+".csv") {
			pieces++
			first, pages := atoi(t, row["first_page"]), atoi(t, row["pages"])
			p := readPaper(t, path, first, first+pages-1)
			for _, problem := range p.problems() {
				t.Errorf("statement %s: %s\n%s", row["statement"], problem, p.text)
			}
			m := regexp.MustCompile(`\b\d{10}\b`).FindString(p.text) // the account's number is the first
			said[m+" "+filepath.Base(path)[6:14]] = strings.Join(strings.Fields(p.text), " ")
			throughTheWindow(t, path, first)
			if p.scanline != "" {
				got, err := billing.ParseScanline(p.scanline)
				if err != nil || got.Due != p.due || fmt.Sprintf("%010d", got.Statement) != row["statement"] {
					t.Errorf("statement %s asks for %s, its scanline is %+v, %v", row["statement"], p.due, got, err)
				}
			}
			if !strings.Contains(path, "20260301") {
				continue // the machines see one month, which has every kind of page
			}
			readsIMb(t, path, first, row["imb"])
			for sheet := range pages / 2 {
				readsMark(t, path, first+2*sheet, fmt.Sprintf("%s%02d%02d", row["piece"], sheet+1, pages/2))
			}
			if (p.scanline != "") != (strings.Contains(p.text, "Amount enclosed") || strings.Contains(p.text, "Cantidad enviada") || strings.Contains(p.text, "Importe")) {
				t.Errorf("statement %s has a scanline without a coupon, or a coupon without one", row["statement"])
			}
			if p.scanline != "" {
				lookAt(t, path, first, p.scanline)
			}
		}
	}
	for n, s := range shapes {
		text := said[shapeMRN(n)+" "+strings.ReplaceAll(s.on, "-", "")]
		for _, want := range s.says {
			if !strings.Contains(text, want) && !strings.Contains(onePage(t, h, n), want) {
				t.Errorf("%s: the statement of %s does not say %q:\n%s", s.name, s.on, want, text)
			}
		}
	}
	if pieces < 3*len(shapes)-3 {
		t.Errorf("%d pieces, want nearly three for each of %d members", pieces, len(shapes))
	}
}

func shapeMRN(n int) string { return string(billing.NewMRN(int64(300_000_001 + n))) }

// onePage is a shape's statement as its member gets it, with lines that are
// broken on the page in one piece.
func onePage(t *testing.T, h jobs.House, n int) string {
	t.Helper()
	keep, err := h.Store()
	if err != nil {
		t.Fatal(err)
	}
	account, err := billing.Find(t.Context(), h.DB, shapeMRN(n))
	if err != nil {
		t.Fatal(err)
	}
	got, err := statements.Get(t.Context(), h.DB, keep, account, calendar.MustParse(shapes[n].on), false)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(pdfText(t, got.PDF)), " ")
}

// liveShapes lives the shapes from February's cut to April's.
func liveShapes(t *testing.T, h jobs.House) {
	t.Helper()
	arrives := func(feed, day, text string) {
		t.Helper()
		path := filepath.Join(h.Dir, "inbox", feed, day+".csv")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	members := "mrn,guarantor_mrn,first_name,last_name,address1,address2,city,state,zip,language,delivery\n"
	charges := map[string]string{}
	for _, month := range []string{"02", "03", "04"} {
		charges[month] = "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n"
	}
	mrn := map[string]string{}
	for n, s := range shapes {
		id := shapeMRN(n)
		mrn[s.name] = id
		members += strings.Join([]string{id, id, s.first, s.last, s.street, s.second, "Oakland", "CA", "94601-1234", s.language, "paper"}, ",") + "\n"
		for _, month := range []string{"02", "03", "04"} {
			if s.name == "zero due" && month != "02" {
				continue
			}
			if s.name != "grace" { // its premium comes of its coverage
				charges[month] += fmt.Sprintf("P%s-%s,%s,premium,2026-%s-01,Premium,45000,0,45000\n", month, id, id, month)
			}
			charges[month] += fmt.Sprintf("M%s-%s,%s,medical,2026-01-15,Office visit,32500,20000,12500\n", month, id, id)
		}
		for visit := range 70 {
			if s.name == "many pages" {
				charges["03"] += fmt.Sprintf("V%d-%s,%s,medical,2026-02-%02d,Physical therapy %d,9000,7500,1500\n", visit, id, id, visit%20+1, visit)
			}
		}
	}
	arrives("members", "2026-01-20", members)
	arrives("coverage", "2026-01-20", "mrn,plan,start,end,monthly_cents,aptc_cents\n"+mrn["grace"]+",silver,2026-01-01,,45000,20000\n")
	arrives("autopay", "2026-01-20", "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on\n"+
		mrn["autopay"]+",ach,121000358,9000000123,checking,,2026-01-20,written,\n"+mrn["card"]+",card,,,,tok_4242,2026-01-20,web,\n")
	night := func(from, to string) {
		t.Helper()
		for day := calendar.MustParse(from); day <= calendar.MustParse(to); day++ {
			if _, err := (jobs.Runner{House: h}).Night(t.Context(), day); err != nil {
				t.Fatalf("%s: %v", day, err)
			}
		}
	}
	act := func(name string, do func(day calendar.Date, a *billing.Account) error) {
		t.Helper()
		day := calendar.MustParse("2026-02-10")
		if err := (billing.Act{Day: day, Operator: "test", Reason: "test", Verb: "test"}).Do(t.Context(), h.DB, mrn[name], func(a *billing.Account) error { return do(day, a) }); err != nil {
			t.Fatal(err)
		}
	}
	night("2026-01-20", "2026-01-20")
	arrives("charges", "2026-01-31", charges["02"])
	night("2026-01-31", "2026-02-09")
	pays := "payment_id,mrn,received,channel,amount_cents\n"
	for name, cents := range map[string]int{"dispute": 45000, "credit": 250000, "zero due": 57500, "many pages": 57500, "Spanish": 57500, "other letters": 57500, "assisted": 45000, "plan": 45000} {
		pays += fmt.Sprintf("X-%s,%s,2026-02-10,online,%d\n", mrn[name], mrn[name], cents)
	}
	arrives("payments", "2026-02-10", pays)
	night("2026-02-10", "2026-02-10")
	act("plan", func(day calendar.Date, a *billing.Account) error {
		_, err := a.MakePlan(h.Policy, day, billing.Medical, 12000, 6)
		return err
	})
	act("dispute", func(day calendar.Date, a *billing.Account) error {
		_, err := a.Dispute(h.Policy, day, billing.Medical, 0)
		return err
	})
	act("assisted", func(day calendar.Date, a *billing.Account) error {
		half, err := ledger.ParsePercent("50")
		a.Assist(h.Policy, day, billing.Medical, half)
		return err
	})
	night("2026-02-11", "2026-02-27")
	arrives("charges", "2026-02-28", charges["03"])
	night("2026-02-28", "2026-03-30")
	arrives("charges", "2026-03-31", charges["04"])
	night("2026-03-31", "2026-04-01")
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// manifest reads a bundle's CSV by its columns.
func manifest(t *testing.T, path string) (all []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, fields := range rows[1:] {
		row := map[string]string{}
		for n, name := range rows[0] {
			row[name] = fields[n]
		}
		all = append(all, row)
	}
	return all
}

var wordBox = regexp.MustCompile(`<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)</word>`)

// throughTheWindow looks through the envelope's window wherever the sheet may
// lie in it: the same words always show, none of them nearer to the window's edge
// than an eighth of an inch, and no other.
func throughTheWindow(t *testing.T, path string, page int) {
	t.Helper()
	n := strconv.Itoa(page)
	words := wordBox.FindAllStringSubmatch(run(t, "pdftotext", "-bbox", "-f", n, "-l", n, path, "-"), -1)
	const inch = 72.0 / 1000
	e := envelope
	want := ""
	for n, at := range [][2]int{{0, 0}, {e.Width - 8500, 0}, {0, e.Height - e.Panel}, {e.Width - 8500, e.Height - e.Panel}} { // how far the sheet lies from the left and the top
		left, top := float64(e.WindowLeft-at[0])*inch, float64(e.Height-e.WindowBottom-e.WindowHeight-at[1])*inch
		right, bottom := left+float64(e.WindowWidth)*inch, top+float64(e.WindowHeight)*inch
		shown := ""
		for _, w := range words {
			var box [4]float64
			for i := range box {
				box[i], _ = strconv.ParseFloat(w[i+1], 64)
			}
			// Poppler's boxes are as high as the type, with room above capitals.
			box[1] += 0.2 * (box[3] - box[1])
			if box[2] <= left || box[0] >= right || box[3] <= top || box[1] >= bottom {
				continue
			}
			shown += " " + w[5]
			if clear := min(box[0]-left, right-box[2], box[1]-top, bottom-box[3]); clear < 9-0.1 {
				t.Errorf("%s, page %d: %q is %.1f points from the window's edge when the sheet lies at %v", path, page, w[5], clear, at)
			}
		}
		if n == 0 {
			want = shown
		}
		if shown != want || !strings.HasSuffix(shown, "94601-1234") {
			t.Errorf("%s, page %d: the window shows %q when the sheet lies at %v, else %q", path, page, shown, at, want)
		}
	}
}

// readsMark reads the inserter's mark off a sheet.
func readsMark(t *testing.T, path string, page int, want string) {
	t.Helper()
	n, base := strconv.Itoa(page), filepath.Join(t.TempDir(), "mark")
	run(t, "pdftoppm", "-r", "200", "-f", n, "-l", n, "-mono", "-singlefile", "-x", "740", "-y", "0", "-W", "160", "-H", "140", path, base)
	if got := run(t, "dmtxread", "-N", "1", base+".pbm"); got != want {
		t.Errorf("%s, page %d: its mark reads %q, want %s", path, page, got, want)
	}
}

// readsIMb reads the Postal Service's bars off the first page.
func readsIMb(t *testing.T, path string, page int, digits string) {
	t.Helper()
	const dpi = 600
	n, base := strconv.Itoa(page), filepath.Join(t.TempDir(), "imb")
	run(t, "pdftoppm", "-r", strconv.Itoa(dpi), "-f", n, "-l", n, "-mono", "-singlefile", "-x", "430", "-y", "1195", "-W", "1700", "-H", "105", path, base)
	raw, err := os.ReadFile(base + ".pbm")
	if err != nil {
		t.Fatal(err)
	}
	var width, height int
	if _, err := fmt.Sscanf(string(raw[:20]), "P4\n%d %d\n", &width, &height); err != nil {
		t.Fatal(err)
	}
	stride := (width + 7) / 8
	bits := raw[len(raw)-stride*height:]
	dark := func(x, y int) bool { return bits[y*stride+x/8]>>(7-x%8)&1 == 1 }
	var tops, bottoms []int
	for x := 1; x < width; x++ {
		top, bottom := height, 0
		for y := range height {
			if dark(x, y) && !dark(x-1, y) || dark(x, y) && len(tops) == 0 && x == 1 {
				top, bottom = min(top, y), max(bottom, y)
			}
		}
		if bottom-top > 20 {
			tops, bottoms = append(tops, top), append(bottoms, bottom)
		}
	}
	letters := ""
	highest, lowest := height, 0
	for i := range tops {
		highest, lowest = min(highest, tops[i]), max(lowest, bottoms[i])
	}
	for i := range tops {
		up, down := tops[i] < highest+10, bottoms[i] > lowest-10
		letters += map[[2]bool]string{{true, true}: "F", {true, false}: "A", {false, true}: "D", {false, false}: "T"}[[2]bool{up, down}]
	}
	if want, err := statements.EncodeIMb(digits[:20], digits[20:]); err != nil || letters != want {
		t.Errorf("%s, page %d: the bars read %s, want %s of %s, %v", path, page, letters, want, digits, err)
	}
}
