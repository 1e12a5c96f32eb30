package lockbox

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// File is what Write lays out: the side of the bank.
type File struct {
	Destination string // record 1: to whom
	Origin      string // record 1: the bank's own id
	Date        calendar.Date
	Time        string // HHMM
	// Batches in order. Those that follow each other with one lockbox (and, where
	// a record 5 stands for a lockbox, one deposit date) share a record 8. Of a
	// batch, Lockbox, Number, DepositDate, Items and Said are written; of an item
	// what the layout has a place for. An empty Number or Sequence is counted up,
	// going on from 001 after 999. A nil Said is the truth.
	Batches []Batch
	// BoxSaid is what the records 8 of a lockbox say instead of the truth.
	BoxSaid map[string]Total
	// Records is what record 9 says instead of the truth; 0 is the truth.
	Records int
}

// Write lays a file out by the profile p, the way a bank would: figures that
// outgrow their columns lose their first digits. It refuses a text or a number
// that does not fit, and a received date that the layout cannot tell; a remitter
// or payee is cut, and left out by a layout that has none. Lines end in \n.
func Write(w io.Writer, p Profile, f File) error {
	if problems := p.Check(); len(problems) > 0 {
		return fmt.Errorf("write lockbox file: %s", problems[0])
	}
	if p.format() != formatBAI {
		return fmt.Errorf("write lockbox file by profile %s: files of format %s are only read", p.Name, p.Format)
	}
	b := bufio.NewWriter(w)
	wr := &writer{w: b, p: p, file: f}
	wr.write()
	if wr.err != nil {
		return fmt.Errorf("write lockbox file by profile %s: %w", p.Name, wr.err)
	}
	return b.Flush()
}

type writer struct {
	w       *bufio.Writer
	p       Profile
	file    File
	err     error
	where   string
	records int
	numbers int // the last batch number counted up
	open    bool
	box     Box
}

// values are the fields of one record by name: a string, an int, ledger.Cents
// or a calendar.Date. Absent is blank, or zeros where the layout has a number.
type values map[string]any

func (w *writer) write() {
	f := w.file
	w.record("1", values{"destination": f.Destination, "origin": f.Origin, "date": f.Date, "time": f.Time})
	w.record("2", values{"destination": f.Destination, "origin": f.Origin, "service": "400"})
	for n, b := range f.Batches {
		w.where = fmt.Sprintf("batch %d, ", n+1)
		w.batch(b)
	}
	w.where = ""
	w.closeBox()
	count := w.records + 1
	if f.Records != 0 {
		count = f.Records
	}
	w.record("9", values{"count": count})
}

func (w *writer) batch(b Batch) {
	same := w.open && w.box.Lockbox == b.Lockbox && (w.p.Nesting == "batch" || w.box.DepositDate == b.DepositDate)
	if w.open && !same {
		w.closeBox()
	}
	if !w.open {
		w.open, w.box, w.numbers = true, Box{Lockbox: b.Lockbox, DepositDate: b.DepositDate}, 0
	}
	number := b.Number
	if number == "" && len(b.Items) == 0 {
		number = "0"
	} else if number == "" {
		w.numbers = next(w.numbers, w.p.Records["6"]["batch"], nil)
		number = strconv.Itoa(w.numbers)
	}
	top := values{"lockbox": b.Lockbox, "deposit_date": b.DepositDate, "destination": w.file.Destination, "origin": w.file.Origin}
	if w.p.Nesting == "batch" {
		top["batch"] = number
	}
	if w.p.Nesting == "batch" || !same {
		w.record("5", top)
	}
	given := map[string]bool{}
	for _, i := range b.Items {
		given[bare(i.Number)] = true
	}
	place, last, sum := w.where, 0, ledger.Cents(0)
	for n, i := range b.Items {
		w.where = place + fmt.Sprintf("item %d, ", n+1)
		if i.Number == "" {
			last = next(last, w.p.Records["6"]["item"], given)
			i.Number = strconv.Itoa(last)
		}
		w.item(b, number, i)
		sum += i.Cents
	}
	w.where = place
	said := Total{len(b.Items), sum}
	if b.Said != nil {
		said = *b.Said
	}
	w.total("7", values{"batch": number, "lockbox": b.Lockbox, "deposit_date": b.DepositDate}, said)
	w.box.Items += len(b.Items)
	w.box.Cents += sum
	if len(b.Items) > 0 {
		w.box.Batches++
	}
}

func (w *writer) item(b Batch, batch string, i Item) {
	layout := w.p.Records["6"]
	v := values{
		"batch": batch, "item": i.Number, "amount": i.Cents, "lockbox": b.Lockbox, "received_date": i.ReceivedDate,
		"destination": cmp.Or(i.Destination, w.file.Destination), "origin": cmp.Or(i.Origin, w.file.Origin), "routing": shortRouting(i.Routing, layout["routing"]), "account": i.Account, "check": zeros(i.Check, layout["check"]),
		"check_date": i.CheckDate, "postmark_date": i.PostmarkDate, "remitter": cut(i.Remitter, layout["remitter"]), "payee": cut(i.Payee, layout["payee"]),
		"payer": i.Payer, "invoice": i.Invoice, "text": i.Text, "envelope": i.Envelope, "bank_item": i.BankItem, "zip": i.ZIP,
	}
	deposit, dated := b.DepositDate, false
	if _, dated = layout["deposit_date"]; dated && i.DepositDate != 0 {
		deposit = i.DepositDate
	}
	if _, ok := layout["received_date"]; !ok && i.ReceivedDate != 0 && i.ReceivedDate != deposit {
		if !dated || i.DepositDate != 0 {
			w.fail("6", "received_date", fmt.Errorf("the layout cannot say that the check came on %s; put it into a batch of that deposit date", i.ReceivedDate))
		}
		deposit = i.ReceivedDate
	}
	v["deposit_date"] = deposit
	w.record("6", v)
	last, given := 0, map[string]bool{}
	for _, o := range i.Overflows {
		given[bare(o.Sequence)] = true
	}
	for n, o := range i.Overflows {
		if o.Sequence == "" {
			last = next(last, w.p.Records["4"]["sequence"], given)
			o.Sequence = strconv.Itoa(last)
		}
		v := values{"batch": batch, "item": i.Number, "type": "6", "sequence": o.Sequence, "last": "0",
			"text": o.Text, "invoice": o.Invoice, "payer": o.Payer, "envelope": o.Envelope}
		if n == len(i.Overflows)-1 {
			v["last"] = "9"
		}
		if o.HasCents {
			v["amount"] = o.Cents
		}
		w.record("4", v)
	}
}

func (w *writer) closeBox() {
	if !w.open {
		return
	}
	w.open = false
	said := Total{w.box.Items, w.box.Cents}
	if other, ok := w.file.BoxSaid[w.box.Lockbox]; ok {
		said = other
	}
	w.total("8", values{"lockbox": w.box.Lockbox, "deposit_date": w.box.DepositDate, "batches": w.box.Batches}, said)
}

func (w *writer) total(record string, v values, said Total) {
	v["total"] = said.Cents
	if said.Items >= 0 {
		v["count"] = said.Items
	}
	w.record(record, v)
}

// record lays out one line, if the layout has such a record.
func (w *writer) record(record string, v values) {
	layout, ok := w.p.Records[record]
	if !ok || w.err != nil {
		return
	}
	line := []rune(record)
	put := func(from int, text string) {
		for len(line) < from-1+utf8.RuneCountInString(text) {
			line = append(line, ' ')
		}
		copy(line[from-1:], []rune(text))
	}
	put(max(w.p.Length, 1), " ") // the nominal length
	line[0] = rune(record[0])
	switch record {
	case "1":
		put(2, "00") // the priority
	case "4", "5", "6", "7", "8":
		put(2, "000000") // batch and item stand there in every layout
	}
	schema := schemas[record]
	for name, f := range layout {
		text, err := layOut(schema[name].kind, f, v[name])
		if err != nil {
			w.fail(record, name, err)
			return
		}
		if text != "" {
			put(f.From, text)
		}
	}
	w.records++
	w.w.WriteString(string(line))
	w.w.WriteByte('\n')
}

func (w *writer) fail(record, field string, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("%srecord %s, %s: %w", w.where, record, field, err)
	}
}

// layOut writes a value as wide as its field; "" leaves the columns as they are.
func layOut(k kind, f Field, value any) (string, error) {
	width := f.To - f.From + 1
	switch x := value.(type) {
	case nil:
		return "", nil
	case int:
		return fmt.Sprintf("%0*d", width, x%int(math.Pow10(width))), nil
	case ledger.Cents:
		if x < 0 {
			return "", fmt.Errorf("%s is negative", x)
		}
		if f.Form == "dollars" {
			text := fmt.Sprintf("%*d.%02d", width-3, x/100, x%100)
			return text, fits(text, width)
		}
		return fmt.Sprintf("%0*d", width, int64(x)%int64(math.Pow10(width))), nil
	case calendar.Date:
		if x == 0 {
			return strings.Repeat("0", width), nil
		}
		year, month, day := x.Date()
		text := strings.Replace(f.Form, "YYYY", fmt.Sprintf("%04d", year), 1)
		text = strings.Replace(text, "YY", fmt.Sprintf("%02d", year%100), 1)
		text = strings.Replace(text, "DD", fmt.Sprintf("%02d", day), 1)
		if strings.Contains(text, "MMM") {
			return strings.Replace(text, "MMM", strings.ToUpper(month.String()[:3]), 1), nil
		}
		return strings.Replace(text, "MM", fmt.Sprintf("%02d", int(month)), 1), nil
	case string:
		if k == numberKind {
			n, err := strconv.ParseUint(x, 10, 32)
			if err != nil {
				return "", fmt.Errorf("%q is no number", x)
			}
			text := fmt.Sprintf("%0*d", width, n)
			return text, fits(text, width)
		}
		if strings.ContainsFunc(x, func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
			return "", fmt.Errorf("%q cannot stand on a line", x)
		}
		return x + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(x))), fits(x, width)
	}
	return "", fmt.Errorf("%T has no layout", value)
}

func fits(text string, width int) error {
	if n := utf8.RuneCountInString(text); n > width {
		return fmt.Errorf("%q needs %d columns, the layout has %d", text, n, width)
	}
	return nil
}

// next counts a number up past those that are given, if any is left; it begins
// again at 1 when its columns are full.
func next(n int, f Field, given map[string]bool) int {
	full := 1
	if f.To > 0 {
		full = int(math.Pow10(f.To - f.From + 1))
	}
	for range len(given) + 1 {
		if n++; n >= full {
			n = 1
		}
		if !given[strconv.Itoa(n)] {
			break
		}
	}
	return n
}

// bare is a number without the zeros that fill its columns.
func bare(number string) string { return strings.TrimLeft(number, "0") }

func cut(s string, f Field) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), max(0, f.To-f.From+1))])
}

// shortRouting leaves out a routing number's check digit where the layout has no
// column for it.
func shortRouting(s string, f Field) string {
	if f.To-f.From+1 == routingDigits-1 && len(s) == routingDigits && wholeRouting(s[:routingDigits-1]) == s {
		return s[:routingDigits-1]
	}
	return s
}

// zeros fills a check number on the left.
func zeros(s string, f Field) string {
	return strings.Repeat("0", max(0, f.To-f.From+1-len(s))) + s
}
