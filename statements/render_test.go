package statements

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

var (
	pdfDir = flag.String("pdf", "", "a directory to write the sample statements to, for looking at them")
	update = flag.Bool("update", false, "write testdata/*.txt anew")
)

func render(t testing.TB, s Statement) []byte {
	t.Helper()
	pdf, err := NewRenderer().Render(s)
	if err != nil {
		t.Fatal(err)
	}
	return pdf
}

// Every shape of statement reads as it is written down in testdata, stays on
// the page, and nothing on it covers anything else.
func TestRender(t *testing.T) {
	for name, s := range variants() {
		t.Run(name, func(t *testing.T) {
			pdf := render(t, s)
			if *pdfDir != "" {
				if err := os.WriteFile(filepath.Join(*pdfDir, name+".pdf"), pdf, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			words := extract(t, pdf)
			for _, problem := range unfit(words) {
				t.Error(problem)
			}
			golden := filepath.Join("testdata", name+".txt")
			got := transcript(words)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the text of the page has changed (go test -update writes it anew). Got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// What each shape says, and what it must not say.
func TestFirstPageSaysWhatToDo(t *testing.T) {
	all := variants()
	card := all["autopay"]
	card.Autopay.Card = true
	all["card"] = card
	card.Autopay.Last4 = ""
	all["card unknown"] = card
	for name, c := range map[string]struct{ says, not []string }{
		"normal":       {[]string{"Please pay by", "March 25, 2026", "Amount enclosed", all["normal"].Scanline().String()}, []string{"Do not pay", "past due"}},
		"past-due":     {[]string{"$526.75 of this is past due.", "We have received $150.00 that has not posted", "In dispute, not due now -$200.00", "On your payment plan, not due now -$80.00"}, []string{"Do not pay"}},
		"autopay":      {[]string{"Do not pay: $762.93 will be debited on March 25, 2026 from account ending 1234."}, []string{"Amount enclosed", "Please pay by", all["autopay"].Scanline().String()}},
		"card":         {[]string{"Do not pay: $762.93 will be debited on March 25, 2026 from card ending 1234."}, []string{"Amount enclosed"}},
		"card unknown": {[]string{"Do not pay: $762.93 will be charged to your card on March 25, 2026."}, []string{"Amount enclosed", "ending"}},
		"on-its-way":   {[]string{"Do not pay: nothing will be debited"}, []string{"Amount enclosed", "Please pay by"}},
		"credit":       {[]string{"Nothing is due.", "Your credit", "Credit kept for later bills $237.07", "Account balance -$237.07"}, []string{"Amount enclosed", "Please pay by"}},
		"nothing":      {[]string{"Nothing is due.", "Nothing was charged, paid or changed."}, []string{"Amount enclosed", "credit"}},
		"spanish":      {[]string{"ÍÑIGO PEÑA NÚÑEZ", "CAÑÓN CITY CO 81212", "Nguyễn Thị Đào", "Cita médica – “niño sano” (50% más)", "Saldo a pagar", "25 de marzo de 2026", "Página 1 de"}, nil},
	} {
		text := prose(extract(t, render(t, all[name])))
		first, _, _ := strings.Cut(text, "About your statement")
		for _, say := range c.says {
			if !strings.Contains(first, say) {
				t.Errorf("%s: page 1 does not say %q:\n%s", name, say, first)
			}
		}
		for _, not := range c.not {
			if strings.Contains(first, not) {
				t.Errorf("%s: page 1 says %q:\n%s", name, not, first)
			}
		}
	}
}

// The second page holds what the law and the biller want every member told.
func TestSecondPageHasTheNotices(t *testing.T) {
	s := sample()
	s.Biller.Notices = []Notice{{"Our board", "Meets on the first Monday.\nAll are welcome."}}
	for _, want := range []string{
		"you authorize us either to use information from your check to make a one-time electronic fund transfer",
		"You may qualify for financial assistance", "bayview.example/assistance", "a late fee of $10.00 is added",
		"La ayuda en su idioma es gratuita", "Change of address", "Our board Meets on the first Monday. All are welcome.", "TTY 711",
	} {
		if text := prose(extract(t, render(t, s))); !strings.Contains(text, want) {
			t.Errorf("nothing says %q:\n%s", want, text)
		}
	}
}

// The bank's reader and the envelope's windows find everything where they look.
func TestPositions(t *testing.T) {
	for name, s := range variants() {
		words := extract(t, render(t, s))
		for _, w := range words {
			if w.page != 0 {
				continue
			}
			if w.text == s.Scanline().String() && len(w.text) == 30 {
				if w.x+w.width < 575.9 || w.x+w.width > 576.1 || w.y != 762 || w.size != 10 {
					t.Errorf("%s: the scanline ends at %.2f, %.2f in %v points", name, w.x+w.width, w.y, w.size)
				}
			} else if s.Ask() == Pay && w.y > 738 {
				t.Errorf("%s: %q stands in the scanline's clear band", name, w.text)
			}
			// Around the address, nothing that could show in the window.
			if name != "long-names" && w.x < 300 && w.y > 116 && w.y < 233 && (w.y < 162 || w.y > 207 || w.x < 54 || w.x+w.width > 252) {
				t.Errorf("%s: %q at %.1f, %.1f is outside of the window's safe rectangle", name, w.text, w.x, w.y)
			}
		}
	}
}

// A vendor's other envelope moves the address, and only that.
func TestWindowsAreTheVendors(t *testing.T) {
	find := func(s Statement, text string) word {
		for _, w := range extract(t, render(t, s)) {
			if w.text == text {
				return w
			}
		}
		t.Fatalf("no %q", text)
		return word{}
	}
	s := sample()
	s.Biller.Window.To = Rect{X: 80, Y: 150, W: 180, H: 70}
	if w := find(s, "ROSA DELGADO"); w.x != 80 || w.y < 150 || w.y > 185 {
		t.Errorf("the name stands at %v, %v", w.x, w.y)
	}
	if was, is := find(sample(), "$762.93"), find(s, "$762.93"); was != is {
		t.Errorf("the amount moved from %+v to %+v", was, is)
	}
}

// Every line of a long statement is on exactly one page, under its heading.
func TestLongStatementLosesNothing(t *testing.T) {
	s := sample()
	s.Groups[1].Lines = nil
	for i := range 500 {
		s.Groups[1].Lines = append(s.Groups[1].Lines, Line{s.Date, "Visit", "Rosa Delgado", billing.Scanline{MRN: s.MRN, Statement: int64(i)}.String()[10:20], ledger.Cents(i), ledger.Cents(i % 2 * 900), 0})
	}
	s = settle(s)
	words := extract(t, render(t, s))
	seen := map[string]int{}
	for _, w := range words {
		seen[w.text]++
	}
	for _, l := range s.Groups[1].Lines {
		if seen[l.Reference] != 1 {
			t.Errorf("line %s is there %d times", l.Reference, seen[l.Reference])
		}
	}
	if pages := words[len(words)-1].page + 1; seen["Medical charges, continued"] != pages-2 {
		t.Errorf("%d pages, %d of them repeat the heading", pages, seen["Medical charges, continued"])
	}
	for _, problem := range unfit(words) {
		t.Error(problem)
	}
}

func TestDarkTextOnABrightBrand(t *testing.T) {
	for color, white := range map[string]bool{"#0B4F6C": true, "#FFD500": false, "nonsense": true, "": true, "#12345": true} {
		s := sample()
		s.Biller.Color = color
		objects := pdfObjects(t, render(t, s))
		page := pageStream(t, objects, pageObjects(t, objects)[0])
		before, _, _ := strings.Cut(page, "($762.93)")
		last := before[:strings.LastIndex(before, " rg\n")]
		if got := strings.HasSuffix(last, "1 1 1"); got != white {
			t.Errorf("brand %q: white text on it is %v, want %v", color, got, white)
		}
	}
}

// The same statement is the same bytes: drawn again, after others, by another
// Renderer, at the same time as others, or read back from its sealed JSON.
func TestRenderIsDeterministic(t *testing.T) {
	all := variants()
	want := map[string][]byte{}
	for name, s := range all {
		want[name] = render(t, s)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			r := NewRenderer()
			for range 5 {
				for name, s := range all {
					got, err := r.Render(s)
					if err != nil || !bytes.Equal(got, want[name]) {
						t.Errorf("%s: other bytes the next time (%v)", name, err)
					}
				}
			}
		})
	}
	wait.Wait()
	for name, s := range all {
		sealed, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Statement
		if err := json.Unmarshal(sealed, &back); err != nil {
			t.Fatal(err)
		}
		back.Biller = s.Biller
		if !bytes.Equal(render(t, back), want[name]) {
			t.Errorf("%s: other bytes from its JSON", name)
		}
	}
}

// No member's name goes into the file's title, which programs show and log.
func TestPDFSaysLittleOfItself(t *testing.T) {
	pdf := render(t, sample())
	for _, want := range []string{"/Title(Statement 4000012345 of March 1, 2026)", "/Lang(en-US)", "/CreationDate(D:20260301000000)", "/ModDate(D:20260301000000)", "/ID[<"} {
		if !bytes.Contains(pdf, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
	for early, want := range map[calendar.Date]string{0: "", 1: "/CreationDate(D:00010101000000)"} {
		got := regexp.MustCompile(`/CreationDate\([^)]*\)`).Find(render(t, Statement{Date: early, Biller: &Biller{}}))
		if string(got) != want {
			t.Errorf("date %d: the file has %q, want %q", early, got, want)
		}
	}
	if bytes.Contains(pdf, []byte("Delgado")) {
		t.Error("the member's name stands outside of the pages")
	}
}

// FuzzRender feeds hostile statements: whatever comes, there is a PDF that can
// be read, the same each time, whose texts stay on the page and apart.
func FuzzRender(f *testing.F) {
	f.Add("Rosa Delgado", "Office visit", "CLM1", "A message", int64(4000), uint16(3), uint8(1))
	f.Add("Nguyễn\x00\n(\\)", "\xff\xfe) Tj ET", "", strings.Repeat("x", 5000), int64(-1<<63), uint16(70), uint8(0xff))
	f.Add(strings.Repeat("W", 300), strings.Repeat("i ", 300), strings.Repeat("9", 200), "a\nb", int64(1<<63-1), uint16(0), uint8(2))
	f.Add("i", strings.Repeat("i ", 300), strings.Repeat("9", 200), "a", int64(1<<63-1), uint16(99), uint8(0x1c))
	f.Fuzz(func(t *testing.T, name, description, reference, message string, cents int64, lines uint16, bits uint8) {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		s := sample()
		s.To.Name, s.Biller.Name = name, description
		s.To.Lines = []string{name, reference, message}
		s.Messages = []string{message, description, message}
		s.Biller.Notices = []Notice{{name, message}, {message, description}}
		s.Biller.LateFee, s.Language, s.Biller.Assistance, s.Biller.Web = message, reference, name, message
		s.Biller.Phones = []Phone{{name, reference}, {message, description}}
		s.Autopay = Autopay{On: bit(0), Card: bit(1), Cents: ledger.Cents(cents), Date: s.Due, Last4: reference}
		for range lines % 100 {
			s.Groups[1].Lines = append(s.Groups[1].Lines, Line{calendar.Date(cents), description, name, reference, ledger.Cents(cents), ledger.Cents(cents), 1})
		}
		if bit(2) {
			s.Figures.Disputed, s.Figures.Deferred, s.Figures.Pending = ledger.Cents(cents), ledger.Cents(cents), ledger.Cents(cents)
		}
		s = settle(s)
		if bit(3) {
			s.Groups[0].Kind, s.MRN, s.Number, s.Aging = Kind(name), billing.MRN(reference), cents, nil
		}
		if bit(4) {
			s.Figures.PastDue, s.Figures.Credit = ledger.Cents(cents), ledger.Cents(cents)
			s.Biller.Window.To = Rect{X: float64(cents), Y: float64(lines), W: float64(bits), H: -float64(cents)}
		}
		pdf := render(t, s)
		for _, problem := range unfit(extract(t, pdf)) {
			t.Error(problem)
		}
		if !bytes.Equal(pdf, render(t, s)) {
			t.Error("other bytes the next time")
		}
		_ = s.Check() // wrong as it may be, it is told, not panicked about
	})
}

func BenchmarkRender(b *testing.B) {
	r, s := NewRenderer(), sample()
	b.ReportAllocs()
	for b.Loop() {
		pdf, err := r.Render(s)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(pdf)))
	}
}

// Nothing but a code for machines stands outside of the page's margins.
func TestMarginsAreKept(t *testing.T) {
	for name, s := range variants() {
		for _, w := range extract(t, render(t, s)) {
			if w.x < left-0.1 || w.x+w.width > rightEdge+0.1 {
				t.Errorf("%s, page %d: %q stands from %.1f to %.1f, the margins are at %g and %g", name, w.page+1, w.text, w.x, w.x+w.width, left, rightEdge)
			}
		}
	}
}
