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
// panel of 4 inches, less 1/8 inch on each side and the play of the insert.
var defaultWindows = Windows{
	Sender: Rect{X: 57, Y: 72, W: 190, H: 40},
	To:     Rect{X: 57, Y: 162, W: 195, H: 45},
}

// drawing is a statement on its way to the page.
type drawing struct {
	*typefaces
	r        *Renderer
	s        *Statement
	f        *Figures
	ask      Ask
	brand    ink // of panels and headings
	onBrand  ink // of text on a panel
	headings ink // the brand's color if it can be read on white
	pages    []*page
	rest     []latin // messages that did not fit on page 1
}

// draw lays out all pages. The second is always the back of the coupon; details
// that do not fit on the first continue on the third.
func (r *Renderer) draw(s *Statement) []*page {
	d := &drawing{typefaces: &r.fonts, r: r, s: s, f: &s.Figures, ask: s.Ask()}
	d.brand = parseColor(s.Biller.Color)
	d.onBrand, d.headings = white, d.brand
	if d.brand.luminance() > 0.18 { // white on it would miss 4.5:1
		d.onBrand, d.headings = black, black
	}
	first := d.addPage()
	y := d.head(first)
	t := d.newTable()
	t.front(first, y)
	back := d.addPage()
	notices := d.back(back)
	t.continued()
	d.more(notices)
	for i := range d.pages {
		d.pageNumber(i)
	}
	return d.pages
}

func (d *drawing) addPage() *page {
	p := d.r.newPage(len(d.pages))
	d.pages = append(d.pages, p)
	return p
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
	name := encode(d.s.Biller.Name)
	size := max(d.fit(bold, 14, 260, name), 9)
	for i, line := range d.wrap(bold, size, 260, name, 2) {
		p.text(bold, size, left, 46+float64(i)*size*1.1, d.headings, line)
	}
	d.windows(p)
	figures := d.figures(p, d.panel(p, d.title(p)))
	return max(figures, d.messages(p, max(figures, 390)))
}

func (d *drawing) windows(p *page) {
	w := d.s.Biller.Window
	if w.Sender.W <= 0 {
		w.Sender = defaultWindows.Sender
	}
	if w.To.W <= 0 {
		w.To = defaultWindows.To
	}
	d.address(p, w.Sender.inside(60, 120), 122, "", encode(d.s.Biller.Name), d.s.Biller.Sender, 8, gray)
	d.address(p, w.To.inside(124, 230), 230, d.s.To.IMb, upper(encode(d.s.To.Name)), capitals(d.s.To.Lines), 10, black)
}

// capitals writes an address the way the Postal Service's readers prefer.
func capitals(lines []string) []string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = strings.ToUpper(line)
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
	goodType  = 7.5 // an address is set smaller only if it would not fit at all; the Postal Service asks for 8
	smallType = 5.5
	barPitch  = 3.0 // 24 bars to the inch: 65 of them fit the window
	barHeight = 10.8
)

// address draws a block into a rectangle. Long lines wrap, and the type gets
// smaller until all of them fit the height, or small type fits above limit; what
// is far too much for an envelope loses lines from the middle, but never the
// last, which holds the ZIP.
func (d *drawing) address(p *page, at Rect, limit float64, imb string, name latin, rest []string, size float64, color ink) {
	y := at.Y
	if len(imb) == 65 {
		d.bars(p, at.X, y, imb)
		y += barHeight + 3
	}
	room := at.Y + at.H - y
	for {
		lines := d.wrap(bold, size, at.W, name, 3)
		named := len(lines)
		for _, line := range rest {
			lines = append(lines, d.wrap(regular, size, at.W, encode(line), 3)...)
		}
		leading := size * 1.15
		if size <= goodType {
			room = limit - y
		}
		if most := int(room / leading); len(lines) > most {
			if size > smallType {
				size -= 0.5
				continue
			}
			lines = append(lines[:most-1], lines[len(lines)-1])
		}
		y = p.lines(bold, size, leading, at.X, y+size*0.8, color, lines[:named])
		p.lines(regular, size, leading, at.X, y, color, lines[named:])
		return
	}
}

// bars draws an Intelligent Mail barcode from its 65 letters: full, ascender,
// descender or tracker (USPS-B-3200).
func (d *drawing) bars(p *page, x, y float64, imb string) {
	const third = barHeight / 3
	for i := range len(imb) {
		switch at := x + float64(i)*barPitch; imb[i] {
		case 'F':
			p.rect(at, y, 1.44, barHeight, black)
		case 'A':
			p.rect(at, y, 1.44, 2*third, black)
		case 'D':
			p.rect(at, y+third, 1.44, 2*third, black)
		case 'T':
			p.rect(at, y+third, 1.44, third, black)
		}
	}
}

// title draws the heading of the right column and returns where it ends.
func (d *drawing) title(p *page) float64 {
	title := latin("Your statement")
	if d.s.Cycle > 0 {
		title = latin(d.s.Cycle.First().Format("January 2006")) + " statement"
	}
	p.text(bold, 20, gutter, 50, black, title)
	for i, field := range [...]struct{ label, value latin }{
		{"Statement date", latin(d.s.Date.Long())},
		{"Account (MRN)", d.mrn()},
		{"Statement no.", d.number()},
	} {
		x := gutter + 89*float64(i)
		p.text(regular, 7.5, x, 65, gray, field.label)
		p.text(bold, d.fit(bold, 9, 85, field.value), x, 76, black, field.value)
	}
	return 88
}

// mrn is the account's number, cut short if it is none.
func (d *drawing) mrn() latin { return d.wrapOne(bold, 10, 85, encode(string(d.s.MRN))) }

func (d *drawing) number() latin { return latin(fmt.Sprintf("%010d", d.s.Number)) }

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
	p.text(regular, 9.5, gutter+inset, y+19, d.onBrand, "Amount due")
	p.right(regular, 9.5, rightEdge-inset, y+19, d.onBrand, label)

	valueSize := 12.5
	room := width - 2*inset - 12
	taken := d.measure(bold, valueSize, value)
	amount := money(d.f.AmountDue)
	if taken > room/2 {
		valueSize = d.fit(bold, valueSize, room/2, value)
		taken = d.measure(bold, valueSize, value)
	}
	p.text(bold, d.fit(bold, 24, room-taken, amount), gutter+inset, y+43, d.onBrand, amount)
	p.right(bold, valueSize, rightEdge-inset, y+43, d.onBrand, value)
	p.lines(bold, 9, 11.5, gutter+inset, y+62.5, onFoot, foots)
	return y + height
}

// panelWords returns what stands beside the amount due, and below it.
func (d *drawing) panelWords() (label, value, foot latin) {
	a, due := d.s.Autopay, latin(d.s.Due.Long())
	switch d.ask {
	case Debited:
		return "Autopay on", latin(a.Date.Long()), d.doNotPay()
	case OnItsWay:
		return "Already on its way", money(d.f.Pending), "Do not pay: nothing will be debited, your payment on its way covers the amount due."
	case Credited:
		return "Your credit", money(d.f.Credit), "Nothing is due. Please do not pay."
	case Nothing:
		return "", "", "Nothing is due. Please do not pay."
	}
	foot = "Pay by check with the coupon below."
	if web := encode(d.s.Biller.Web); web != "" {
		foot = "Pay online at " + web
	}
	if d.f.PastDue > 0 {
		foot = money(d.f.PastDue) + " of this is past due. Please pay that part now."
	}
	return "Please pay by", due, foot
}

func (d *drawing) doNotPay() latin {
	a, from := d.s.Autopay, latin("account")
	if a.Card {
		from = "card"
	}
	return "Do not pay: " + money(a.Cents) + " will be debited on " + latin(a.Date.Long()) + " from " + from + " ending " + encode(a.Last4) + "."
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
	f := d.f
	sums := []sum{
		{"Previous balance", f.Previous, false},
		{"Payments - thank you", f.Payments, false},
		{"Adjustments", f.Adjustments, false},
		{"New charges", f.Charges, false},
	}
	if f.Payments >= 0 {
		sums[1].label = "Payments"
	}
	if f.Fees != 0 {
		sums = append(sums, sum{"Fees", f.Fees, false})
	}
	if f.Balance != f.AmountDue {
		sums = append(sums, sum{"Account balance", f.Balance, true})
		if f.Disputed != 0 {
			sums = append(sums, sum{"In dispute, not due now", -f.Disputed, false})
		}
		if f.Deferred != 0 {
			sums = append(sums, sum{"On your payment plan, not due now", -f.Deferred, false})
		}
		if f.Credit != 0 {
			words := latin("Credit kept for later bills")
			if f.AmountDue > 0 { // a member's own credit would have been used
				words = "Credit that belongs to another payer"
			}
			sums = append(sums, sum{words, f.Credit, false})
		}
	}
	return append(sums, sum{"Amount due", f.AmountDue, true})
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
	p.text(bold, 11, gutter, y, d.headings, "What changed since your last statement")
	y += 17
	for _, s := range d.sums() {
		f, size := regular, 9.5
		if s.total {
			p.rule(gutter, rightEdge, y-8.5, 0.75, black)
			f, size, y = bold, 10.5, y+4
		}
		p.pair(f, size, f, size, gutter, y, s.label, money(s.cents))
		y += 13.5
		if s.total {
			y += 2
		}
	}
	return y - 13.5
}

// messages draws what is said to this member alone below the address, as far
// down as limit, and returns where it ends; what does not fit is left for the
// second page.
func (d *drawing) messages(p *page, limit float64) float64 {
	const size, leading, width = 9.0, 11.5, 246.0
	const top = 244.0
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
			p.text(bold, 11, left, y, d.headings, "For you")
			y += 16
		}
		y = p.lines(regular, size, leading, left, y, black, lines) + 4
	}
	if len(d.rest) > 0 && y+leading <= limit {
		p.text(bold, size, left, y, black, "More messages for you are on page 2.")
		y += leading
	}
	return y - leading - 4
}

// ownMessages are the messages that follow from the figures, then the cut's.
func (d *drawing) ownMessages() []latin {
	var all []latin
	if d.f.Pending > 0 && d.ask != OnItsWay {
		m := "We have received " + money(d.f.Pending) + " that has not posted to your account yet. It is not counted in this statement."
		if d.ask == Pay && d.f.Pending >= d.f.AmountDue {
			m += " It covers the amount due: you need not pay again."
		}
		all = append(all, m)
	}
	if d.f.PastDue > 0 && d.ask != Pay {
		all = append(all, money(d.f.PastDue)+" of the amount due is past due.")
	}
	if help := d.languageHelp(d.s.Language); help != "" {
		all = append(all, help)
	}
	for _, m := range d.s.Messages {
		all = append(all, encode(m))
	}
	return all
}

// languageHelp offers free help in the member's language; "" for English.
func (d *drawing) languageHelp(language string) latin {
	if len(d.s.Biller.Phones) == 0 {
		return ""
	}
	phone := encode(d.s.Biller.Phones[0].Number)
	switch language {
	case "", "en":
		return ""
	case "es":
		return encode("¿Necesita ayuda en español? Es gratis. Llame al ") + phone + "."
	case "tl":
		return "Kailangan ng tulong sa Tagalog? Libre ito. Tumawag sa " + phone + "."
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
	p.rect(left, y, rightEdge-left, agingHeight, d.brand.tint(9))
	for i, b := range buckets[:n] {
		label, cents := latin("Current"), b.Cents
		switch {
		case i == n-1 && i > 0:
			label = latin(fmt.Sprintf("%d days and more", b.FromDays))
			for _, older := range buckets[n:] {
				cents += older.Cents
			}
		case i > 0:
			label = latin(fmt.Sprintf("%d to %d days", b.FromDays, buckets[i+1].FromDays-1))
		}
		x := left + width*float64(i) + 8
		p.text(regular, d.fit(regular, 7.5, width-10, label), x, y+9.5, gray, label)
		f := regular
		if cents != 0 {
			f = bold
		}
		p.text(f, d.fit(f, 9.5, width-10, money(cents)), x, y+20, black, money(cents))
	}
}

// questions draws the line with whom to ask, at the foot of page 1 or above the
// coupon: its last baseline is y.
func (d *drawing) questions(p *page, y float64) {
	parts := make([]string, 0, 2)
	for i, phone := range d.s.Biller.Phones {
		if i < 2 {
			parts = append(parts, strings.TrimSpace(phone.Label+" "+phone.Number))
		}
	}
	text := "Questions? See page 2."
	if len(parts) > 0 {
		text = "Questions? " + strings.Join(parts, ", ") + "."
	}
	if d.s.Biller.Assistance != "" {
		text += " Help with paying: " + d.s.Biller.Assistance
	}
	words := encode(text)
	size := max(d.fit(bold, 8.5, rightEdge-left, words), 7)
	lines := d.wrap(bold, size, rightEdge-left, words, 2)
	p.lines(bold, size, 8, left, y-8*float64(len(lines)-1), black, lines)
}

// coupon draws the part that goes back with a check.
func (d *drawing) coupon(p *page) {
	const middle = "Detach here and return the coupon with your check"
	p.text(regular, 6.5, (pageWidth-d.measure(regular, 6.5, middle))/2, perforation-3.5, gray, middle)
	for x := 18.0; x < pageWidth-18; x += 6 {
		p.rule(x, x+3.2, perforation, 0.6, gray)
	}

	p.text(bold, 14, left, 568, d.headings, "Payment coupon")
	name := encode(d.s.Biller.Name)
	y := p.lines(regular, 9, 12, left, 587, black, d.wrap(regular, 9, 260, "Make your check payable to "+latin(strings.TrimRight(string(name), "."))+".", 3))
	y = p.lines(regular, 9, 12, left, y, black, []latin{"Write your account number on it. No cash, staples or notes."})
	p.frame(left, y-2, 8, 8, 0.75, black)
	p.text(regular, 9, left+14, y+5, black, "My address has changed: see the back of this coupon.")
	d.address(p, Rect{X: left, Y: 676, W: 250, H: 36}, 732, "", upper(encode(d.s.To.Name)), d.s.To.Lines, 9, black)

	y = 566
	for _, field := range [...]struct{ label, value latin }{
		{"Account (MRN)", d.mrn()},
		{"Statement number", d.number()},
		{"Please pay by", latin(d.s.Due.Long())},
		{"Amount due", money(d.f.AmountDue)},
	} {
		p.pair(regular, 9.5, bold, 10, gutter+12, y, field.label, field.value)
		y += 14.5
	}
	p.frame(gutter+12, 620, rightEdge-gutter-12, 30, 0.9, black)
	p.text(regular, 9, gutter+20, 638, black, "Amount enclosed")
	p.text(bold, 14, gutter+130, 640, black, "$")

	remit := Rect{X: gutter + 12, Y: 676, W: rightEdge - gutter - 12, H: 50}
	d.address(p, remit, 732, d.s.Biller.RemitIMb, upper(name), capitals(d.s.Biller.RemitTo), 10, black)

	// Nothing but the scanline stands in the last three quarters of an inch:
	// the bank's reader looks for it there.
	p.right(mono, 12, rightEdge, 762, black, latin(d.s.Scanline().String()))
}

// noCoupon says below y, where page 1 ends, why there is no coupon.
func (d *drawing) noCoupon(p *page, y float64) {
	words := latin("There is no payment coupon this month, because nothing is due.")
	switch d.ask {
	case Debited:
		words = "There is no payment coupon this month, because autopay takes care of what is due."
	case OnItsWay:
		words = "There is no payment coupon this month, because a payment on its way covers what is due."
	}
	p.rect(left, y, rightEdge-left, noCouponHeight, d.brand.tint(9))
	p.rect(left, y, 3, noCouponHeight, d.brand)
	p.text(bold, 9.5, left+14, y+18.5, black, words)
}

const noCouponHeight = 30.0

// pageNumber writes "Page n of m", which is known only when all is drawn.
func (d *drawing) pageNumber(i int) {
	label := latin(fmt.Sprintf("Page %d of %d", i+1, len(d.pages)))
	d.pages[i].right(regular, 8, rightEdge, 30, gray, label)
}
