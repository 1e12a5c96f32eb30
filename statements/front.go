package statements

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/billcycle/billcycle/ledger"
)

// The page's own measures, in points. Page 1 is a column for the envelope's
// windows and messages, a column for the figures, the details below both, and
// the coupon at the very bottom, where the sheet's machine-cut edge is.
const (
	left        = 36.0
	rightEdge   = 576.0
	gutter      = 318.0 // where the right column begins
	perforation = 540.0
	bottom      = 744.0 // of pages without a coupon
)

// The default windows are those of a #10 double-window envelope and a first
// panel of 4 inches, less 1/8 inch on each side and the play of the insert. The
// recipient's has room for the barcode and four lines.
var defaultWindows = Windows{
	Sender: Rect{X: 57, Y: 72, W: 190, H: 40},
	To:     Rect{X: 57, Y: 144, W: 195, H: 63},
}

// drawing is a statement on its way to the page.
type drawing struct {
	*press
	r     *Renderer
	s     *Statement
	f     *Figures
	marks *Marks
	ask   Ask
	pages []*page
	forms [formKinds]bool // those used
	logo  bool            // used outside of a form
	tags  *tags           // nil but for an accessible file
	rest  []latin         // messages that did not fit on page 1
	unfit error           // an address that does not fit its window
}

// draw lays out all pages. The second is always the back of the coupon; details
// that do not fit on the first continue on the third.
func (r *Renderer) draw(s *Statement, m Marks, t *tags) (*drawing, error) {
	press, err := r.pressOf(s.Biller)
	if err != nil {
		return nil, err
	}
	d := &drawing{press: press, r: r, s: s, f: &s.Figures, marks: &m, ask: s.Ask(), tags: t}
	first := d.addPage()
	y := d.head(first)
	details := d.newTable()
	details.front(first, y)
	back := d.addPage()
	notices := d.back(back)
	details.continued()
	d.more(notices)
	for i, p := range d.pages {
		d.pageNumber(p, i)
		if i%2 == 0 && i/2 < len(m.Sheets) {
			p.matrix(m.Sheets[i/2])
		}
		p.leave()
	}
	return d, nil
}

// addPage returns an empty page, from the last statement's if there are any.
func (d *drawing) addPage() *page {
	n := len(d.pages)
	if n == len(d.r.pages) {
		d.r.pages = append(d.r.pages, &page{typefaces: d.r.fonts})
	}
	p := d.r.pages[n]
	p.reset()
	if p.tags = d.tags; p.tags != nil {
		if n > 0 {
			d.pages[n-1].artifact()
		}
		d.tags.pieces = append(d.tags.pieces, nil)
	}
	d.pages = append(d.pages, p)
	return p
}

// form puts what is the same on all statements onto the page: as a form, or in
// an accessible file, where all stands in the order in which it is read, as it
// is.
func (d *drawing) form(p *page, kind formKind, draw func(*press, *page) []notice) []notice {
	if d.tags != nil {
		d.logo = d.logo || d.press.logo != nil
		left := draw(d.press, p)
		p.artifact()
		return left
	}
	f := d.r.form(d.press, kind, draw)
	d.forms[kind] = true
	p.ops = append(append(append(p.ops, '/'), kind.resource()...), " Do\n"...)
	return f.left
}

// parseColor reads #RRGGBB.
func parseColor(s string) ink {
	if n, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 24); err == nil && len(s) == 7 {
		return ink{uint8(n >> 16), uint8(n >> 8), uint8(n)}
	}
	return ink{0x00, 0x3C, 0x64}
}

func money(c ledger.Cents) latin { return latin(c.String()) }

// hasCoupon says whether anything is asked for by check.
func (d *drawing) hasCoupon() bool { return d.ask == Pay }

// head draws all of page 1 above the details and returns where it ends.
func (d *drawing) head(p *page) float64 {
	d.form(p, headForm, drawHead)
	d.to(p)
	figures := d.figures(p, d.panel(p, d.title(p)))
	return max(figures, d.messages(p, max(figures, 390)))
}

// windows returns where the envelope's windows are.
func (p *press) windows() Windows {
	w := p.biller.Window
	if w.Sender.W <= 0 {
		w.Sender = defaultWindows.Sender
	}
	if w.To.W <= 0 {
		w.To = defaultWindows.To
	}
	w.Sender, w.To = w.Sender.inside(60, 120), w.To.inside(124, 230)
	return w
}

// drawHead draws the biller: its logo, or its name where it has none, and the
// return address in the envelope's upper window.
func drawHead(d *press, p *page) []notice {
	name := encode(d.biller.Name)
	if d.logo != nil {
		d.drawLogo(p, left, 26, 200, 34)
	} else {
		size := max(d.fit(bold, 15, 230, name), 9)
		p.tag("P")
		for i, line := range d.wrap(bold, size, 230, name, 2) {
			p.text(bold, size, left, 46+float64(i)*size*1.1, d.headings, line)
		}
	}
	p.tag("P")
	window := d.windows().Sender
	d.address(p, window, 122, name, encodeAll(d.biller.Sender), 8, gray)
	p.artifact()
	return nil
}

// to draws the recipient into the envelope's window, below the barcode's place.
func (d *drawing) to(p *page) {
	window := d.windows().To
	p.artifact()
	if len(d.marks.IMb) == imbBars {
		p.imb(window.X, window.Y, d.marks.IMb)
	}
	window.Y, window.H = window.Y+barHeight+3, window.H-barHeight-3
	p.tag("P")
	if !d.address(p, window, 230, encode(strings.ToUpper(d.s.To.Name)), encodeAll(capitals(d.s.To.Lines)), 10, black) {
		d.unfit = &AddressError{Number: d.s.Number, Lines: append([]string{d.s.To.Name}, d.s.To.Lines...)}
	}
	p.artifact()
}

// AddressError is an address that cannot be set in the envelope's window even
// in the smallest type that the Postal Service allows.
type AddressError struct {
	Number int64 // the statement's
	Lines  []string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("statement %010d: the address does not fit into the envelope's window, even in %g point type: %s", e.Number, goodType, strings.Join(e.Lines, " / "))
}

// capitals writes an address the way the Postal Service's readers prefer.
func capitals(lines []string) []string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = strings.ToUpper(line)
	}
	return all
}

func encodeAll(lines []string) []latin {
	all := make([]latin, len(lines))
	for i, line := range lines {
		all[i] = encode(line)
	}
	return all
}

// inside keeps a window that was configured wrongly in the left column, between
// top and bottom.
func (r Rect) inside(top, bottom float64) Rect {
	r.W, r.H = min(max(r.W, 100), 270), min(max(r.H, 30), bottom-top)
	r.X, r.Y = min(max(r.X, 20), 290-r.W), min(max(r.Y, top), bottom-r.H)
	return r
}

const (
	goodType  = 8.0 // points: the least that the Postal Service reads
	smallType = 5.5 // of a copy that no envelope holds
	barPitch  = 3.0 // 24 bars to the inch: 65 of them fit the window
	barHeight = 10.8
)

// address draws a block into a rectangle. Long lines wrap, and the type gets
// smaller until all of them fit the height, which it returns as true. What does
// not fit in good type goes down to limit in small type, and loses lines from
// the middle, but never the last, which holds the ZIP: that is for the screen.
func (d *press) address(p *page, at Rect, limit float64, name latin, rest []latin, size float64, color ink) bool {
	y, room, good := at.Y, at.H, true
	for {
		lines := d.wrap(bold, size, at.W, name, 3)
		named := len(lines)
		for _, line := range rest {
			lines = append(lines, d.wrap(regular, size, at.W, line, 3)...)
		}
		leading := size * 1.15
		most := int((room-size*0.95)/leading) + 1 // the last line's capitals and descenders
		if len(lines) > most {
			switch {
			case size > goodType:
				size -= 0.5
				continue
			case good:
				good, room = false, limit-y
				continue
			case size > smallType:
				size -= 0.5
				continue
			}
			lines = append(lines[:most-1], lines[len(lines)-1])
		}
		y = p.lines(bold, size, leading, at.X, y+size*0.74, color, lines[:min(named, len(lines))])
		p.lines(regular, size, leading, at.X, y, color, lines[min(named, len(lines)):])
		return good
	}
}

// imb draws an Intelligent Mail barcode from its 65 letters: full, ascender,
// descender or tracker (USPS-B-3200).
func (p *page) imb(x, y float64, letters string) {
	const width = 1.44 / barPitch
	p.artifact()
	p.grid(x, y+barHeight, barPitch, barHeight/3) // units: bars and thirds of their height, from the bottom
	for i := range len(letters) {
		switch at := float64(i); letters[i] {
		case 'F':
			p.cell(at, 0, width, 3)
		case 'A':
			p.cell(at, 1, width, 2)
		case 'D':
			p.cell(at, 0, width, 2)
		case 'T':
			p.cell(at, 1, width, 1)
		}
	}
	p.ops = append(p.ops, "f Q\n"...)
}

// Where the inserter's cameras look for the mark of a sheet: at the top between
// the columns, clear of everything else.
const (
	matrixModule = 1.44 // 0.02 inch
	matrixRight  = 310.0
	matrixTop    = 12.0
)

// matrix draws the inserter's mark.
func (p *page) matrix(m Matrix) {
	if m.Size < 1 || len(m.Dark) < m.Size*m.Size {
		return
	}
	p.artifact()
	p.grid(matrixRight-matrixModule*float64(m.Size), matrixTop+matrixModule*float64(m.Size), matrixModule, matrixModule)
	for row := range m.Size {
		line := m.Dark[row*m.Size : (row+1)*m.Size]
		for from := 0; from < m.Size; from++ {
			to := from
			for to < m.Size && line[to] {
				to++
			}
			if to > from {
				p.cell(float64(from), float64(m.Size-1-row), float64(to-from), 1)
				from = to
			}
		}
	}
	p.ops = append(p.ops, "f Q\n"...)
}

// title draws the heading of the right column and returns where it ends.
func (d *drawing) title(p *page) float64 {
	w := d.words
	title := w.title(d.s.Cycle)
	p.tag("H1")
	p.text(bold, d.fit(bold, 20, rightEdge-gutter, title), gutter, 50, black, title)
	for i, field := range [...]struct{ label, value latin }{
		{w.statementDate, w.long(d.s.Date)},
		{w.account, d.mrn()},
		{w.statementNo, d.number()},
	} {
		x := gutter + 89*float64(i)
		p.tag("P")
		p.text(regular, 7.5, x, 65, gray, field.label)
		p.text(bold, d.fit(bold, 9, 85, field.value), x, 76, black, field.value)
	}
	p.artifact()
	return 88
}

// mrn is the account's number, cut short if it is none.
func (d *drawing) mrn() latin { return d.wrapOne(bold, 10, 85, encode(string(d.s.MRN))) }

func (d *drawing) number() latin {
	var digits [10]byte
	n := d.s.Number
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	if n != 0 || d.s.Number < 0 {
		return latin(strconv.FormatInt(d.s.Number, 10)) // wrong as it is, it is shown
	}
	return latin(digits[:])
}

// panel draws the colored box that tells the reader at once what to do, and
// returns where it ends.
func (d *drawing) panel(p *page, y float64) float64 {
	const inset, width = 14.0, rightEdge - gutter
	label, value, foot := d.panelWords()
	foots := d.wrap(bold, 9, width-2*inset, foot, 4)
	height := 58 + 11.5*float64(len(foots))
	p.rect(gutter, y, width, height, d.brand)
	onFoot := d.onBrand
	if d.ask == Pay && d.f.PastDue > 0 {
		p.rect(gutter, y+50, width, height-50, alert)
		onFoot = white
	}
	valueSize := 12.5
	room := width - 2*inset - 12
	taken := d.measure(bold, valueSize, value)
	amount := money(d.f.AmountDue)
	if taken > room/2 {
		valueSize = d.fit(bold, valueSize, room/2, value)
		taken = d.measure(bold, valueSize, value)
	}
	p.tag("P")
	p.text(regular, 9.5, gutter+inset, y+19, d.onBrand, d.words.amountDue)
	p.text(bold, d.fit(bold, 24, room-taken, amount), gutter+inset, y+43, d.onBrand, amount)
	p.tag("P")
	p.right(regular, 9.5, rightEdge-inset, y+19, d.onBrand, label)
	p.right(bold, valueSize, rightEdge-inset, y+43, d.onBrand, value)
	p.tag("P")
	p.lines(bold, 9, 11.5, gutter+inset, y+62.5, onFoot, foots)
	p.artifact()
	return y + height
}

// panelWords returns what stands beside the amount due, and below it.
func (d *drawing) panelWords() (label, value, foot latin) {
	w := d.words
	switch d.ask {
	case Debited:
		return w.autopayOn, w.long(d.s.Autopay.Date), d.doNotPay()
	case OnItsWay:
		return w.onItsWay, money(d.f.Pending), w.noDebit
	case Credited:
		return w.yourCredit, money(d.f.Credit), w.nothingDue
	case Nothing:
		return "", "", w.nothingDue
	}
	foot = w.payByCheck
	if web := encode(d.biller.Web); web != "" {
		foot = say(w.payOnline, web)
	}
	if d.f.PastDue > 0 {
		foot = say(w.pastDuePart, money(d.f.PastDue))
	}
	return w.payBy, w.long(d.s.Due), foot
}

func (d *drawing) doNotPay() latin {
	a, from := d.s.Autopay, d.words.fromAccount
	if a.Card {
		from = d.words.fromCard
	}
	return say(d.words.doNotPay, money(a.Cents), d.words.long(a.Date), from, encode(a.Last4))
}

// sum is one line of the reconciliation.
type sum struct {
	label latin
	cents ledger.Cents
	total bool
}

// sums leads from the previous balance to the amount due. What is in the
// balance and not due has lines of its own only where there is any.
func (d *drawing) sums() []sum {
	f, w := d.f, d.words
	sums := append(make([]sum, 0, 10),
		sum{w.previous, f.Previous, false},
		sum{w.thanks, f.Payments, false},
		sum{w.adjustments, f.Adjustments, false},
		sum{w.charges, f.Charges, false})
	if f.Payments >= 0 {
		sums[1].label = w.payments
	}
	if f.Fees != 0 {
		sums = append(sums, sum{w.fees, f.Fees, false})
	}
	if f.Balance != f.AmountDue {
		sums = append(sums, sum{w.balance, f.Balance, true})
		if f.Disputed != 0 {
			sums = append(sums, sum{w.inDispute, -f.Disputed, false})
		}
		if f.Deferred != 0 {
			sums = append(sums, sum{w.onPlan, -f.Deferred, false})
		}
		if f.Credit != 0 {
			words := w.creditKept
			if f.AmountDue > 0 { // a member's own credit would have been used
				words = w.creditOfOthers
			}
			sums = append(sums, sum{words, f.Credit, false})
		}
	}
	return append(sums, sum{w.amountDue, f.AmountDue, true})
}

// pair draws a label at x and its value at the right edge, smaller if it would
// run into the label.
func (p *page) pair(labelFace face, labelSize float64, f face, size, x, y float64, label, value latin) {
	p.text(labelFace, labelSize, x, y, black, label)
	room := rightEdge - x - p.measure(labelFace, labelSize, label) - 8
	p.right(f, p.fit(f, size, room, value), rightEdge, y, black, value)
}

// figures draws the reconciliation and returns where it ends.
func (d *drawing) figures(p *page, y float64) float64 {
	y += 23
	p.tag("H2")
	p.text(bold, d.fit(bold, 11, rightEdge-gutter, d.words.changed), gutter, y, d.headings, d.words.changed)
	y += 17
	p.group("Table")
	for _, s := range d.sums() {
		f, size := regular, 9.5
		p.group("TR")
		if s.total {
			p.rule(gutter, rightEdge, y-8.5, 0.75, black)
			f, size, y = bold, 10.5, y+4
		}
		value := money(s.cents)
		p.header("Row")
		p.text(f, size, gutter, y, black, s.label)
		room := rightEdge - gutter - p.measure(f, size, s.label) - 8
		p.tag("TD")
		p.right(f, p.fit(f, size, room, value), rightEdge, y, black, value)
		p.ungroup()
		y += 13.5
		if s.total {
			y += 2
		}
	}
	p.ungroup()
	return y - 13.5
}

// messages draws what is said to this member alone below the address, as far
// down as limit, and returns where it ends; what does not fit is left for the
// second page.
func (d *drawing) messages(p *page, limit float64) float64 {
	const size, leading, width = 9.0, 11.5, 246.0
	const top = 240.0
	y := top
	for _, m := range d.ownMessages() {
		lines := d.wrap(regular, size, width, m, 40)
		if len(lines) == 0 {
			continue
		}
		if len(d.rest) > 0 || y+15+leading*float64(len(lines)) > limit {
			d.rest = append(d.rest, m)
			continue
		}
		if y == top {
			p.tag("H2")
			p.text(bold, 11, left, y, d.headings, d.words.forYou)
			y += 16
		}
		p.tag("P")
		y = p.lines(regular, size, leading, left, y, black, lines) + 4
	}
	if len(d.rest) > 0 && y+leading <= limit {
		p.tag("P")
		p.text(bold, size, left, y, black, d.words.moreForYou)
		y += leading
	}
	p.artifact()
	return y - leading - 4
}

// ownMessages are the messages that follow from the figures, then the cut's.
func (d *drawing) ownMessages() []latin {
	var all []latin
	w := d.words
	if g := d.s.Grace; !g.Until.IsZero() {
		m := say(w.grace, w.long(g.Until))
		if !g.CoverEnd.IsZero() {
			m += say(w.coverageEnd, w.long(g.CoverEnd))
		}
		all = append(all, m)
	}
	if d.f.Pending > 0 && d.ask != OnItsWay {
		m := say(w.received, money(d.f.Pending))
		if d.ask == Pay && d.f.Pending >= d.f.AmountDue {
			m += w.covers
		}
		all = append(all, m)
	}
	if d.f.PastDue > 0 && d.ask != Pay {
		all = append(all, say(w.pastDue, money(d.f.PastDue)))
	}
	if pl := d.s.Plan; pl.Installments > 0 {
		all = append(all, say(w.plan, count(pl.Installment), count(pl.Installments)))
	}
	if help := d.languageHelp(d.s.Language); help != "" {
		all = append(all, help)
	}
	for _, m := range d.s.Messages {
		all = append(all, encode(m))
	}
	return all
}

func count(n int) latin { return latin(strconv.Itoa(n)) }

// languageHelp offers free help in the member's language; "" for one that the
// statement is printed in.
func (d *drawing) languageHelp(language string) latin {
	if len(d.biller.Phones) == 0 || language == "" || language == "en" || language == d.biller.Language {
		return ""
	}
	phone := encode(d.biller.Phones[0].Number)
	switch language {
	case "es":
		return encode("¿Necesita ayuda en español? Es gratis. Llame al ") + phone + "."
	case "tl":
		return "Kailangan ng tulong sa Tagalog? Libre ito. Tumawag sa " + phone + "."
	case "vi":
		return encode("Cần giúp đỡ bằng tiếng Việt? Miễn phí. Xin gọi ") + phone + "."
	case "fr":
		return encode("Besoin d'aide en français ? C'est gratuit. Appelez le ") + phone + "."
	}
	return "Free help in your language: call " + phone + "."
}

const agingHeight = 25.0

// aging draws the row that shows how old the amount due is.
func (d *drawing) aging(p *page, y float64) {
	const most = 8
	buckets := d.s.Aging
	n := min(len(buckets), most)
	if n == 0 {
		return
	}
	width := (rightEdge - left) / float64(n)
	p.artifact()
	p.rect(left, y, rightEdge-left, agingHeight, d.brand.tint(9))
	labels, values := make([]latin, n), make([]latin, n)
	for i, b := range buckets[:n] {
		label, cents := d.words.current, b.Cents
		switch {
		case i == n-1 && i > 0:
			label = say(d.words.from, count(b.FromDays))
			for _, older := range buckets[n:] {
				cents += older.Cents
			}
		case i > 0:
			label = say(d.words.to, count(b.FromDays), count(buckets[i+1].FromDays-1))
		}
		labels[i], values[i] = label, money(cents)
	}
	x := func(i int) float64 { return left + width*float64(i) + 8 }
	p.group("Table")
	p.group("TR")
	for i, label := range labels {
		p.header("Column")
		p.text(regular, d.fit(regular, 7.5, width-10, label), x(i), y+9.5, gray, label)
	}
	p.ungroup()
	p.group("TR")
	for i, value := range values {
		f := regular
		if buckets[i].Cents != 0 {
			f = bold
		}
		p.tag("TD")
		p.text(f, d.fit(f, 9.5, width-10, value), x(i), y+20, black, value)
	}
	p.ungroup()
	p.ungroup()
}

// questions draws the line with whom to ask, at the foot of page 1 or above the
// coupon: its last baseline is y.
func (d *drawing) questions(p *page, y float64) {
	var parts []string
	for i, phone := range d.biller.Phones {
		if i < 2 {
			parts = append(parts, strings.TrimSpace(phone.Label+" "+phone.Number))
		}
	}
	text := d.words.questionsBack
	if len(parts) > 0 {
		text = say(d.words.questions, encode(strings.Join(parts, ", ")))
	}
	if d.biller.Assistance != "" {
		text += say(d.words.help, encode(d.biller.Assistance))
	}
	size := max(d.fit(bold, 8.5, rightEdge-left, text), 7)
	lines := d.wrap(bold, size, rightEdge-left, text, 2)
	p.tag("P")
	p.lines(bold, size, 8, left, y-8*float64(len(lines)-1), black, lines)
	p.artifact()
}

// drawCoupon draws what all coupons have in common.
func drawCoupon(d *press, p *page) []notice {
	w := d.words
	p.text(regular, 6.5, (pageWidth-d.measure(regular, 6.5, w.detach))/2, perforation-3.5, gray, w.detach)
	perforate(p)
	p.tag("H2")
	p.text(bold, 14, left, 568, d.headings, w.coupon)
	name := encode(d.biller.Name)
	p.tag("P")
	payable := say(w.payable, latin(strings.TrimRight(string(name), ".")))
	y := p.lines(regular, 9, 12, left, 585, black, d.wrap(regular, 9, 270, payable, 2))
	y = p.lines(regular, 9, 12, left, y, black, d.wrap(regular, 9, 270, w.writeNumber, 2))
	p.artifact()
	p.frame(left, y-3, 8, 8, 0.75, black)
	p.tag("P")
	p.lines(regular, 9, 11, left+14, y+4.5, black, d.wrap(regular, 9, 256, w.moved, 2))
	p.artifact()
	p.frame(couponColumn, 620, rightEdge-couponColumn, 30, 0.9, black)
	p.text(regular, 9, couponColumn+8, 638, black, w.enclosed)
	p.text(bold, 14, couponColumn+118, 640, black, "$")

	p.tag("P")
	at := Rect{X: couponColumn, Y: 672, W: rightEdge - couponColumn, H: 50}
	if len(d.biller.RemitIMb) == imbBars {
		p.artifact()
		p.imb(at.X, at.Y, d.biller.RemitIMb)
		p.tag("P")
		at.Y += barHeight + 3
	}
	d.address(p, at, 732, encode(strings.ToUpper(d.biller.Name)), encodeAll(capitals(d.biller.RemitTo)), 10, black)
	p.artifact()
	return nil
}

const couponColumn = 330.0 // the right one, in the return envelope's window

// perforate draws the line to detach along.
func perforate(p *page) {
	p.artifact()
	for x := 18.0; x < pageWidth-18; x += 6 {
		p.path(x, perforation-0.3, 3.2, 0.6, gray)
	}
	p.ops = append(p.ops, "f\n"...)
}

// coupon draws the part that goes back with a check.
func (d *drawing) coupon(p *page) {
	d.form(p, couponForm, drawCoupon)
	p.tag("P")
	d.address(p, Rect{X: left, Y: 634, W: 250, H: 36}, 672, encode(strings.ToUpper(d.s.To.Name)), encodeAll(d.s.To.Lines), 9, black)
	y := 566.0
	for _, field := range [...]struct{ label, value latin }{
		{d.words.account, d.mrn()},
		{d.words.couponNumber, d.number()},
		{d.words.payBy, d.words.long(d.s.Due)},
		{d.words.amountDue, money(d.f.AmountDue)},
	} {
		p.tag("P")
		p.pair(regular, 9.5, bold, 10, couponColumn, y, field.label, field.value)
		y += 14.5
	}
	p.artifact()
	// Nothing but the scanline stands in the last three quarters of an inch:
	// the bank's reader looks for it there. The bars say the same.
	scanline := d.s.Scanline().String()
	if len(scanline)%2 == 0 && strings.Trim(scanline, "0123456789") == "" && scanline != "" {
		p.code(left+10, 686, 32, scanline) // as much as the bars need free beside them
	}
	p.right(ocr, 10, rightEdge, 762, solid, latin(scanline))
}

// noCoupon says below y, where page 1 ends, why there is no coupon.
func (d *drawing) noCoupon(p *page, y float64) {
	words := d.words.noCoupon
	switch d.ask {
	case Debited:
		words = d.words.noCouponAutopay
	case OnItsWay:
		words = d.words.noCouponOnItsWay
	}
	p.artifact()
	p.rect(left, y, rightEdge-left, noCouponHeight, d.brand.tint(9))
	p.rect(left, y, 3, noCouponHeight, d.brand)
	p.tag("P")
	p.text(bold, 9.5, left+14, y+18.5, black, words)
	p.artifact()
}

const noCouponHeight = 30.0

// pageNumber writes "Page n of m", which is known only when all is drawn.
func (d *drawing) pageNumber(p *page, i int) {
	p.artifact()
	p.right(regular, 8, rightEdge, 30, gray, say(d.words.page, count(i+1), count(len(d.pages))))
}
