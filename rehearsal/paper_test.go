package rehearsal_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/statements"
)

// Every statement of a demo is read back off its pages, by a reader that is not
// ours: its sums hold, and coupon, scanline and amount due say the same. A few
// are looked at as a lockbox's scanner does, in black and white.
func TestDemoStatementsReadBack(t *testing.T) {
	h := newHouse(t)
	live(t, rehearsal.Demo{Members: 30, Months: 2, Seed: 5}, h)
	rows, err := h.DB.Query(t.Context(), `select b.account_id, b.cycle, b.cut_on, a.mrn, b.amount_due from bill b join account a on a.id = b.account_id order by 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	keep, err := h.Store()
	if err != nil {
		t.Fatal(err)
	}
	all, coupons, scanned := 0, 0, 0
	for rows.Next() {
		var id int64
		var cycle calendar.Cycle
		var cutOn calendar.Date
		var want billing.Scanline
		if err := rows.Scan(&id, &cycle, &cutOn, &want.MRN, &want.Due); err != nil {
			t.Fatal(err)
		}
		want.Statement = billing.StatementNumber(id, cycle)
		stored, err := statements.Get(t.Context(), h.DB, keep, id, cutOn, false)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "statement.pdf")
		if err := os.WriteFile(path, stored.PDF, 0o600); err != nil {
			t.Fatal(err)
		}
		p := readPaper(t, path, 1, 99)
		if p.due != want.Due {
			t.Errorf("statement %d asks for %s, the books for %s", want.Statement, p.due, want.Due)
		}
		for _, problem := range p.problems() {
			t.Errorf("statement %d: %s\n%s", want.Statement, problem, p.text)
		}
		if p.scanline != "" {
			coupons++
			if got, err := billing.ParseScanline(p.scanline); err != nil || got != want {
				t.Errorf("statement %d: its scanline is %s: %+v, %v", want.Statement, p.scanline, got, err)
			}
			if scanned < 4 && coupons%5 == 1 {
				scanned++
				lookAt(t, path, 1, want.String())
			}
		}
		all++
	}
	if rows.Err() != nil || all < 20 || coupons < 10 || scanned < 3 {
		t.Errorf("%d statements, %d with a coupon, %d scanned, %v", all, coupons, scanned, rows.Err())
	}
}

// paper is what a statement's pages say, in English or in Spanish.
type paper struct {
	text     string
	figures  map[string]ledger.Cents // by the English label
	due      ledger.Cents
	panel    ledger.Cents
	coupon   ledger.Cents
	aging    []ledger.Cents
	groups   map[string]ledger.Cents // the subtotals
	lines    map[string]ledger.Cents // what the lines of each add up to
	scanline string
}

var (
	cents      = `(-?\$[\d,]+\.\d\d)`
	figureLine = regexp.MustCompile(`(Previous balance|Payments - thank you|Payments|Adjustments|New charges|Fees|Account balance|In dispute, not due now|On your payment plan, not due now|Credit kept for later bills|Credit that belongs to another payer|Amount due` +
		`|Saldo anterior|Pagos, gracias|Pagos|Ajustes|Cargos nuevos|Recargos|Saldo de la cuenta|En disputa, no se debe ahora|En su plan de pagos, no se debe ahora|Crédito para facturas futuras|Crédito que es de otro pagador|Saldo a pagar) +` + cents + `$`)
	groupLine = regexp.MustCompile(`^(Premiums|Medical charges|Payments|Adjustments|Fees|Primas|Cargos médicos|Pagos|Ajustes|Recargos)(, continued|, continuación| +` + cents + `)$`)
	detail    = regexp.MustCompile(`^\d\d/\d\d/\d{4} .* ` + cents + `$`)
	agingRow  = regexp.MustCompile(`^ *` + cents + ` +` + cents + ` +` + cents + ` +` + cents + `$`)
	panelRow  = regexp.MustCompile(`(?m)(?:Amount due|Saldo a pagar)(?: .*)?\n(?:.*\n)??.*?` + cents)
	scanRow   = regexp.MustCompile(`(?m)^ +(\d{30})$`)
	inEnglish = map[string]string{
		"Payments - thank you": "Payments", "Saldo anterior": "Previous balance", "Pagos, gracias": "Payments", "Pagos": "Payments", "Ajustes": "Adjustments", "Cargos nuevos": "New charges",
		"Recargos": "Fees", "Saldo de la cuenta": "Account balance", "En disputa, no se debe ahora": "In dispute, not due now", "En su plan de pagos, no se debe ahora": "On your payment plan, not due now",
		"Crédito para facturas futuras": "Credit kept for later bills", "Crédito que es de otro pagador": "Credit that belongs to another payer", "Saldo a pagar": "Amount due", "Primas": "Premiums", "Cargos médicos": "Medical charges",
	}
)

func english(label string) string {
	if e, ok := inEnglish[label]; ok {
		return e
	}
	return label
}

// readPaper reads pages of a PDF with poppler.
func readPaper(t *testing.T, path string, first, last int) paper {
	t.Helper()
	out, err := exec.Command("pdftotext", "-layout", "-f", strconv.Itoa(first), "-l", strconv.Itoa(last), path, "-").CombinedOutput()
	if err != nil {
		t.Fatalf("pdftotext: %v: %s", err, out)
	}
	p := paper{text: string(out), figures: map[string]ledger.Cents{}, groups: map[string]ledger.Cents{}, lines: map[string]ledger.Cents{}}
	var group string
	details := false
	for line := range strings.Lines(p.text) {
		line = strings.TrimRight(line, "\n\f ")
		line = strings.TrimPrefix(line, "\f")
		if strings.Contains(line, "Details") && !strings.Contains(line, "continue on") || strings.Contains(line, "Detalles") && !strings.Contains(line, "continúan") {
			details = true
		}
		switch {
		case details && groupLine.MatchString(line):
			m := groupLine.FindStringSubmatch(line)
			group = english(m[1])
			if m[3] != "" {
				p.groups[group] = parseMoney(t, m[3])
			}
		case detail.MatchString(line):
			p.lines[group] += parseMoney(t, detail.FindStringSubmatch(line)[1])
		case agingRow.MatchString(line):
			for _, amount := range agingRow.FindStringSubmatch(line)[1:] {
				p.aging = append(p.aging, parseMoney(t, amount))
			}
		case figureLine.MatchString(line):
			m := figureLine.FindStringSubmatch(line)
			if label, amount := english(m[1]), parseMoney(t, m[2]); !details {
				p.figures[label] = amount
			} else if label == "Amount due" {
				p.coupon = amount
			}
		}
	}
	p.due = p.figures["Amount due"]
	if m := panelRow.FindStringSubmatch(p.text); m != nil {
		p.panel = parseMoney(t, m[1])
	}
	if m := scanRow.FindStringSubmatch(p.text); m != nil {
		p.scanline = m[1]
	}
	return p
}

func parseMoney(t *testing.T, s string) ledger.Cents {
	t.Helper()
	n, err := strconv.ParseInt(strings.NewReplacer("$", "", ",", "", ".", "").Replace(s), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Cents(n)
}

// problems are the sums that do not hold.
func (p paper) problems() []string {
	var all []string
	equal := func(what string, a, b ledger.Cents) {
		if a != b {
			all = append(all, fmt.Sprintf("%s: %s is not %s", what, a, b))
		}
	}
	f := p.figures
	balance, apart := f["Account balance"]
	if !apart {
		balance = p.due
	}
	equal("previous, payments, adjustments, charges and fees make the balance", f["Previous balance"]+f["Payments"]+f["Adjustments"]+f["New charges"]+f["Fees"], balance)
	equal("the balance less what is not due", balance+f["In dispute, not due now"]+f["On your payment plan, not due now"]+f["Credit kept for later bills"]+f["Credit that belongs to another payer"], p.due)
	equal("the panel", p.panel, p.due)
	for name, sum := range p.groups {
		equal("the lines of "+name, p.lines[name], sum)
	}
	equal("premiums and medical charges", p.groups["Premiums"]+p.groups["Medical charges"], f["New charges"])
	for _, name := range []string{"Payments", "Adjustments", "Fees"} {
		equal(name, p.groups[name], f[name])
	}
	if p.due > 0 {
		var sum ledger.Cents
		for _, c := range p.aging {
			sum += c
		}
		equal("the ages", sum, p.due)
	}
	if p.scanline != "" {
		equal("the coupon", p.coupon, p.due)
	}
	return all
}

// lookAt reads the bars and the scanline off a page as a scanner has it: 200
// dots to the inch, black or white.
func lookAt(t *testing.T, path string, number int, scanline string) {
	t.Helper()
	page := filepath.Join(t.TempDir(), "page")
	n := strconv.Itoa(number)
	run(t, "pdftoppm", "-r", "200", "-f", n, "-l", n, "-mono", "-singlefile", path, page)
	if got := run(t, "zbarimg", "--quiet", "--raw", "-Sdisable", "-Scode128.enable", page+".pbm"); got != scanline {
		t.Errorf("%s: its bars read %q, want %s", path, got, scanline)
	}
	// The scanner's window: the last half inch but one of the page.
	strip := filepath.Join(t.TempDir(), "strip")
	run(t, "pdftoppm", "-r", "200", "-f", n, "-l", n, "-mono", "-singlefile", "-x", "800", "-y", "2050", "-W", "850", "-H", "110", path, strip)
	if got := run(t, "tesseract", strip+".pbm", "-", "--psm", "7", "-c", "tessedit_char_whitelist=0123456789"); strings.ReplaceAll(got, " ", "") != scanline {
		t.Errorf("%s: its scanline reads %q, want %s", path, got, scanline)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// pdfText returns what a PDF's pages show.
func pdfText(t *testing.T, pdf []byte) string {
	t.Helper()
	cmd := exec.Command("pdftotext", "-", "-")
	cmd.Stdin = bytes.NewReader(pdf)
	text, err := cmd.Output()
	if err != nil || len(text) == 0 {
		t.Fatalf("pdftotext: %v, %d bytes of text", err, len(text))
	}
	return string(text)
}
