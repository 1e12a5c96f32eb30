package lockbox

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// part is a check whose batch is still open: where its lines stand in the
// batch's text. It becomes an Item when the batch closes, so that all texts of
// a batch share one string.
type part struct {
	ordinal  int
	cents    ledger.Cents
	deposit  calendar.Date
	received calendar.Date
	first    int // of its lines among those of the batch
}

type place struct {
	from, to int
	number   int
	plain    bool // one byte per column
}

// keep adds the current line to the last part.
func (r *reader) keep(line []byte, wide []rune) {
	if r.daysOnly {
		return
	}
	at := place{from: len(r.text), number: r.lines.number, plain: wide == nil}
	if wide == nil {
		r.text = append(r.text, line...)
		for n, c := range r.text[at.from:] {
			if c < 0x20 || c == 0x7f {
				r.text[at.from+n] = ' '
			}
		}
	} else {
		for _, c := range wide {
			if c < 0x20 || c >= 0x7f && c < 0xa0 {
				c = ' '
			}
			r.text = utf8.AppendRune(r.text, c)
		}
	}
	at.to = len(r.text)
	r.text = append(r.text, '\n')
	r.places = append(r.places, at)
}

// makeItems makes the checks of the batch that closes, each of its lines in text.
func (r *reader) makeItems() []Item {
	text := string(r.text)
	items := make([]Item, 0, len(r.parts))
	for n, p := range r.parts {
		end := len(r.places)
		if n+1 < len(r.parts) {
			end = r.parts[n+1].first
		}
		items = append(items, r.makeItem(text, p, r.places[p.first:end]))
		if i := &items[n]; i.Number == "" {
			i.Number = strconv.Itoa(n + 1)
		}
	}
	return items
}

// daysOf returns the days on which the check of a record 6 was deposited and
// received.
func (r *reader) daysOf(line []byte) (deposit, received calendar.Date) {
	spans := &r.plan.spans[6]
	deposit = r.box.date
	if s := &spans[fDepositDate]; s.to > 0 {
		deposit, _ = s.date(line, r.plan.pivot)
	}
	if s := &spans[fReceivedDate]; s.to > 0 {
		received, _ = s.date(line, r.plan.pivot)
		return deposit, received
	}
	return deposit, deposit
}

func (r *reader) makeItem(text string, p part, lines []place) Item {
	first, last := lines[0], lines[len(lines)-1]
	get := r.row(text, first, 6)
	i := Item{
		Ordinal: p.ordinal, Line: first.number, Cents: p.cents,
		Lockbox: r.box.number, Batch: r.batch.found.Number, Number: get.text(fItem),
		Routing: get.routing(), Account: notZero(get.text(fAccount)), Check: strings.TrimLeft(get.text(fCheck), "0"),
		DepositDate: p.deposit, ReceivedDate: p.received, CheckDate: r.dateOf(get, fCheckDate), PostmarkDate: r.dateOf(get, fPostmarkDate),
		Destination: get.text(fDestination), Origin: get.text(fOrigin),
		Remitter: get.text(fRemitter), Payee: get.text(fPayee), Payer: r.p.reference(get.text(fPayer)), Invoice: r.p.reference(get.text(fInvoice)),
		Text: get.text(fText), Envelope: get.text(fEnvelope), BankItem: get.text(fBankItem), ZIP: get.text(fZIP),
		Raw: text[first.from : last.to+1],
	}
	i.References = r.references(nil, get, r.plan.payer6)
	if len(lines) > 1 {
		i.Overflows = make([]Overflow, 0, len(lines)-1)
	}
	for _, at := range lines[1:] {
		get := r.row(text, at, 4)
		o := Overflow{Line: at.number, Sequence: get.text(fSequence), Text: get.text(fText),
			Invoice: r.p.reference(get.text(fInvoice)), Payer: r.p.reference(get.text(fPayer)), Envelope: get.text(fEnvelope)}
		c, got := get.spans[fAmount].cents(get.narrow)
		o.Cents, o.HasCents = c, got == good
		o.References = r.references(nil, get, r.plan.payer4)
		for _, s := range o.References {
			if !slices.Contains(i.References, s) {
				i.References = append(i.References, s)
			}
		}
		i.Overflows = append(i.Overflows, o)
	}
	return i
}

func (r *reader) dateOf(get row, f field) calendar.Date {
	s := &get.spans[f]
	if s.to == 0 {
		return 0
	}
	d, _ := s.date(get.narrow, r.plan.pivot)
	return d
}

func (r *reader) references(list []string, get row, fields []field) []string {
	for _, f := range fields {
		if s := r.p.reference(get.text(f)); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// reference takes the fill off a reference. Zeros before letters are fill,
// zeros before digits or a dash are part of the number: a member's number may
// begin with them. Zeros alone, and the bank's words for it, are no reference.
func (p Profile) reference(s string) string {
	for {
		bare := strings.TrimLeft(s, "0")
		if bare == "" || bare[0] >= '0' && bare[0] <= '9' || bare[0] == '-' {
			break
		}
		if bare = strings.TrimLeft(bare, " "); bare == s {
			break
		}
		s = bare
	}
	if s = notZero(s); len(s) > scanlineDigits { // a scanline in groups, as it is keyed
		if digits := strings.ReplaceAll(s, " ", ""); len(digits) == scanlineDigits && onlyDigits(digits) {
			return digits
		}
	}
	if slices.ContainsFunc(p.NoPayer, func(no string) bool { return strings.EqualFold(no, s) }) {
		return ""
	}
	return s
}

func notZero(s string) string {
	if strings.Trim(s, "0") == "" {
		return ""
	}
	return s
}

// row is a kept line and the layout of its record.
type row struct {
	line   string
	narrow []byte // one byte per column, for numbers and dates
	plain  bool
	spans  *[fields]span
}

func (r *reader) row(text string, at place, record int) row {
	w := row{line: text[at.from:at.to], narrow: r.text[at.from:at.to], plain: at.plain, spans: &r.plan.spans[record]}
	if !at.plain {
		w.narrow = nil
		for _, c := range w.line {
			w.narrow = append(w.narrow, byte(min(c, '\x7f')))
		}
	}
	return w
}

// text returns a field without the blanks around it; "" if the layout has none.
func (w row) text(f field) string {
	s := &w.spans[f]
	if s.to == 0 {
		return ""
	}
	from, to := s.from, s.to
	if !w.plain {
		from, to = w.offset(from), w.offset(to)
	}
	if from >= len(w.line) {
		return ""
	}
	return readable(w.line[from:min(to, len(w.line))])
}

// routing returns the routing number. A layout with eight columns for it leaves
// out the ninth digit, which proves the others; with that, it is the number that
// other layouts carry. Eight digits in more columns are left alone: they may as
// well be nine of which the first, a zero, was lost.
func (w row) routing() string {
	s := notZero(w.text(fRouting))
	if w.spans[fRouting].width() == routingDigits-1 {
		return wholeRouting(s)
	}
	return s
}

const routingDigits = 9

// wholeRouting adds the check digit to the eight digits of a routing number before
// it; blanks may have taken the place of its first zeros. Anything else stays as
// it is.
func wholeRouting(s string) string {
	if s == "" || len(s) >= routingDigits || !onlyDigits(s) {
		return s
	}
	s = strings.Repeat("0", routingDigits-1-len(s)) + s
	sum := 0
	for n, c := range s {
		sum += int(c-'0') * []int{3, 7, 1}[n%3]
	}
	return s + strconv.Itoa((10-sum%10)%10)
}

// offset finds the byte at which a column begins.
func (w row) offset(column int) int {
	for at := range w.line {
		if column == 0 {
			return at
		}
		column--
	}
	return len(w.line)
}
