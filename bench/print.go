package bench

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/jung-kurt/gofpdf"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/statements"
)

// The stages of the printer draw the reference statement: two pages, ten
// lines, a logo, and for the mail its Intelligent Mail barcode and the mark of
// its sheet. Their floor is gofpdf as one would use it, drawing every text and
// rectangle of the same two pages. Both are measured in CPU-seconds of one
// worker. The reference and the floor are what every machine is compared by:
// they stay as they are.

const (
	printed    = 4000 // statements of a stage, fewer on a small bench
	bundleOf   = 200
	plainShare = 10 // the floor draws a tenth of them
)

//go:embed logo.png
var logo []byte

// printing measures the drawing of single statements and of bundles.
func (b *bench) printing() error {
	units := min(b.n, printed)
	plain, err := readPlain()
	if err != nil {
		return err
	}
	floor := max(units/plainShare, 1)
	s := reference("Rosa Delgado")
	names := reference("Nguyễn Thị Đào")
	for _, stage := range []struct {
		name string
		draw func() (int64, error)
	}{
		{"statement-render", func() (int64, error) { return renderMany(&s, units) }},
		{"statement-bundle", func() (int64, error) { return bundleMany(&s, units) }},
		{"statement-bundle-names", func() (int64, error) { return bundleMany(&names, units) }},
	} {
		var size int64
		seconds, err := cpuTimed(func() (err error) { size, err = stage.draw(); return err })
		if err != nil {
			return fmt.Errorf("%s: %w", stage.name, err)
		}
		plainSeconds, err := cpuTimed(func() error { return plain.many(floor) })
		if err != nil {
			return fmt.Errorf("%s, its floor: %w", stage.name, err)
		}
		rate, floorRate := float64(units)/max(seconds, 1e-9), float64(floor)/max(plainSeconds, 1e-9)
		m := Stage{Name: stage.name, Units: units, Seconds: seconds, PerSecond: rate, FloorPerSecond: floorRate, Ratio: rate / floorRate, PeakRSSMB: peakRSS(),
			BytesPerUnit: size / units, Floor: "a plain gofpdf loop, per CPU-second of one worker"}
		b.pairs[stage.name] = append(b.pairs[stage.name], m)
		fmt.Fprintf(b.log, "  %-15s %8d in %6.2f CPU s, %5d bytes each, floor %.0f/s, ratio %.2f\n", m.Name, units, seconds, m.BytesPerUnit, floorRate, m.Ratio)
	}
	return nil
}

func renderMany(s *statements.Statement, n int64) (size int64, err error) {
	r := statements.NewRenderer()
	for i := range n {
		vary(s, i)
		pdf, err := r.Render(*s)
		if err != nil {
			return 0, err
		}
		size += int64(len(pdf))
	}
	return size, nil
}

func bundleMany(s *statements.Statement, n int64) (size int64, err error) {
	r := statements.NewRenderer()
	var out bytes.Buffer
	for from := int64(0); from < n; from += bundleOf {
		out.Reset()
		bundle := r.NewBundle(&out, fmt.Sprintf("Bundle %d", from/bundleOf+1), s.Date)
		for i := from; i < min(from+bundleOf, n); i++ {
			vary(s, i)
			if _, err := bundle.Add(s, markOf(i)); err != nil {
				return 0, err
			}
		}
		if err := bundle.Close(); err != nil {
			return 0, err
		}
		size += int64(out.Len())
	}
	return size, nil
}

// vary makes each statement another account's, as in life.
func vary(s *statements.Statement, i int64) {
	s.Number = 1_000_000_001 + i*100
	s.MRN = billing.NewMRN(123_000_000 + i)
}

// markOf is what the mail adds to a piece. The mark has as many modules as a
// real one of 18 by 18, about half of them dark.
func markOf(i int64) statements.Marks {
	const size = 18
	letters := []byte("AADTFFDFTDADTAADAATFDTDDAAADDTDTTDAFADADDDTFFFDDTTTADFAAADFTDAADA")
	m := statements.Matrix{Size: size, Dark: make([]bool, size*size)}
	x := uint64(i)*0x9E3779B97F4A7C15 + 1
	for n := range m.Dark {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		row, column := n/size, n%size
		m.Dark[n] = column == 0 || row == size-1 || row > 0 && column < size-1 && x&1 == 1
	}
	for n := range letters {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		letters[n] = "ADFT"[x&3]
	}
	return statements.Marks{IMb: string(letters), Sheets: []statements.Matrix{m}}
}

// cpuTimed returns the processor time that the program took meanwhile.
func cpuTimed(work func() error) (float64, error) {
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := cpuTime()
	return (after - before).Seconds(), err
}

func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// plainPages is the reference statement as the texts and rectangles of its two
// pages, for the floor.
type plainPages [][]struct {
	Text  string    `json:"text"`
	Font  string    `json:"font"` // "", "B" for bold, "O" for the scanline
	Size  float64   `json:"size"`
	At    []float64 `json:"at"` // x and y of a text; x, y, width and height of a rectangle, or of the logo
	Color [3]int    `json:"color"`
	Logo  bool      `json:"logo"`
}

//go:embed reference.json
var referencePages []byte

func readPlain() (plainPages, error) {
	var p plainPages
	err := json.Unmarshal(referencePages, &p)
	return p, err
}

func (p plainPages) many(n int64) error {
	for range n {
		if err := p.draw(io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// draw is gofpdf as its manual shows it.
func (p plainPages) draw(out io.Writer) error {
	pdf := gofpdf.New("P", "pt", "Letter", "")
	pdf.SetAutoPageBreak(false, 0)
	for _, page := range p {
		pdf.AddPage()
		for _, op := range page {
			switch {
			case op.Logo:
				options := gofpdf.ImageOptions{ImageType: "PNG"}
				pdf.RegisterImageOptionsReader("logo", options, bytes.NewReader(logo))
				pdf.ImageOptions("logo", op.At[0], op.At[1], op.At[2], op.At[3], false, options, 0, "")
			case op.Text == "":
				pdf.SetFillColor(op.Color[0], op.Color[1], op.Color[2])
				pdf.Rect(op.At[0], op.At[1], op.At[2], op.At[3], "F")
			default:
				family, style := "Helvetica", op.Font
				if op.Font == "O" {
					family, style = "Courier", "B"
				}
				pdf.SetFont(family, style, op.Size)
				pdf.SetTextColor(op.Color[0], op.Color[1], op.Color[2])
				pdf.Text(op.At[0], op.At[1], op.Text)
			}
		}
	}
	return pdf.Output(out)
}

// reference is the statement that all machines are compared by.
func reference(name string) statements.Statement {
	day := calendar.MustParse
	s := statements.Statement{
		Date: day("2026-03-01"), Due: day("2026-03-25"), Cycle: calendar.CycleOf(day("2026-03-01")), Delivery: "paper", Language: "en",
		To: statements.Recipient{Name: name, Lines: []string{"1420 Juniper Street Apt 5", "Sacramento CA 95814-2207"}},
		Biller: &statements.Biller{
			Language: "en", Name: "Bayview Health Plan", Sender: []string{"PO Box 5550", "Oakland CA 94604-5550"},
			RemitTo:  []string{"PO Box 77033", "Los Angeles CA 90074-7033"},
			RemitIMb: "DTTAFADDTTFTDTFTFDTDDADADAFADFATDDFTAAAFDTTADFAAATDFDTDFADDDTDFFT",
			Phones:   []statements.Phone{{Label: "Premium bills", Number: "1-800-555-0100"}, {Label: "TTY", Number: "711"}},
			Hours:    "Monday to Friday, 7 a.m. to 7 p.m.", Web: "bayview.example/pay", Assistance: "bayview.example/assistance", Color: "#0B4F6C", Logo: logo,
			LateFee: "A late fee of $10.00 may apply if $25.00 or more of this bill's charges are still unpaid 5 days after the due date. What counts is the day we receive your payment.",
		},
	}
	line := func(date, what, who, id string, cents int64) statements.Line {
		return statements.Line{Date: day(date), Description: what, Member: who, Reference: id, Cents: ledger.Cents(cents)}
	}
	s.Groups = []statements.Group{
		{Kind: statements.Premium, Lines: []statements.Line{
			line("2026-03-01", "Silver 70 HMO, March 2026", name, "", 41250),
			line("2026-03-01", "Silver 70 HMO, March 2026", "Mateo Delgado", "", 19825),
		}},
		{Kind: statements.Medical, Lines: []statements.Line{
			line("2026-02-03", "Office visit, Bayview Medical Center", name, "CLM763006574", 4000),
			line("2026-02-03", "Laboratory panel", name, "CLM763006575", 3718),
			line("2026-02-06", "Radiology, two views", "Mateo Delgado", "CLM763008811", 11489),
			line("2026-02-09", "Office visit, Bayview Medical Center", "Mateo Delgado", "CLM763009902", 4000),
			line("2026-02-12", "Prescription, 30 days", name, "CLM763010377", 1500),
			line("2026-02-19", "Urgent care, Sacramento", "Mateo Delgado", "CLM763011208", 7500),
		}},
		{Kind: statements.Payments, Lines: []statements.Line{
			line("2026-02-10", "Check 1042 received, thank you", "", "", -30000),
			line("2026-02-17", "Check 1043 received, thank you", "", "", -36075),
		}},
	}
	f := &s.Figures
	f.Previous = 67325
	for i := range s.Groups {
		g := &s.Groups[i]
		for _, l := range g.Lines {
			g.Cents += l.Cents
		}
		f.Balance += g.Cents
	}
	f.Charges = s.Groups[0].Cents + s.Groups[1].Cents
	f.Payments = s.Groups[2].Cents
	f.Balance += f.Previous
	f.AmountDue = f.Balance
	s.Aging = []statements.Bucket{{FromDays: 0, Cents: f.AmountDue}, {FromDays: 30}, {FromDays: 60}, {FromDays: 90}}
	return s
}
