package statements

import (
	"math"
	"strings"
)

// notice is a paragraph of the second page; a boxed one is set off, as a notice
// that the law wants conspicuous has to be.
type notice struct {
	title      latin
	paragraphs []latin
	boxed      bool
}

const (
	noticeSize    = 9.0
	noticeLeading = 11.2
	noticeInset   = 9.0 // of a boxed one
	columnWidth   = 258.0
)

// back draws the second page: notices in two columns and, behind the coupon,
// the form for a new address. It returns the notices that found no room.
func (d *drawing) back(p *page) []notice {
	d.pageHead(p, "About your statement")
	const top = 96.0
	all, end := d.notices(), perforation-18.0
	if d.hasCoupon() {
		d.addressForm(p)
	} else if d.height(all) > 1.7*(end-top) {
		end = bottom // two even columns are pleasant, a sheet less is cheaper
	}
	return d.columns(p, all, top, end)
}

// height is about how high the notices are, one below the other.
func (d *drawing) height(all []notice) float64 {
	var h float64
	for _, n := range all {
		h += 24 + noticeLeading*float64(len(d.noticeLines(n)))
	}
	return h
}

// noticeLines breaks a notice to its column's width.
func (d *drawing) noticeLines(n notice) []latin {
	width := columnWidth
	if n.boxed {
		width -= 2 * noticeInset
	}
	var lines []latin
	for _, paragraph := range n.paragraphs {
		lines = append(lines, d.wrap(regular, noticeSize, width, paragraph, math.MaxInt)...)
	}
	return lines
}

// more draws the notices that are left on pages of their own.
func (d *drawing) more(left []notice) {
	for len(left) > 0 {
		left = d.columns(d.runningHead("About your statement, continued"), left, 96, bottom)
	}
}

// runningHead adds a page and draws what stands at the top of each but the
// first.
func (d *drawing) runningHead(title latin) *page {
	p := d.addPage()
	d.pageHead(p, title)
	return p
}

func (d *drawing) pageHead(p *page, title latin) {
	name := encode(d.s.Biller.Name)
	p.text(bold, 9, left, 44, d.headings, d.wrapOne(bold, 9, 250, name))
	which := "Account " + d.mrn() + "   Statement " + d.number() + "   " + latin(d.s.Date.Long())
	p.right(regular, 8, rightEdge, 44, gray, which)
	p.rule(left, rightEdge, 51, 1.2, d.brand)
	p.text(bold, 15, left, 76, black, title)
}

// columns sets notices from the top of the left column to the foot of the right
// one and returns those that found no room. One longer than a column is broken.
func (d *drawing) columns(p *page, all []notice, top, end float64) []notice {
	for _, x := range [...]float64{left, gutter} {
		y := top
		for len(all) > 0 {
			rest, below := d.notice(p, all[0], x, y, end)
			if below == y {
				break // nothing of it fits here
			}
			y = below
			if len(rest.paragraphs) > 0 {
				all[0] = rest
				break
			}
			all = all[1:]
		}
	}
	return all
}

// notice sets one notice at x, y. It returns where the next may begin, and what
// of the text is left over; a notice is broken only when the column is empty
// enough for a good part of it.
func (d *drawing) notice(p *page, n notice, x, y, end float64) (rest notice, below float64) {
	const titleHeight, gap = 12.5, 9.0
	pad := 0.0
	if n.boxed {
		pad = noticeInset
	}
	lines := d.noticeLines(n)
	fit := int((end - y - titleHeight - 2*pad) / noticeLeading)
	if fit < len(lines) {
		if fit < 6 || len(lines) < 16 {
			return n, y
		}
		rest = notice{title: n.title, paragraphs: lines[fit:], boxed: n.boxed}
		lines = lines[:fit]
	}
	height := titleHeight + noticeLeading*float64(len(lines)) + 2*pad - 3
	if n.boxed {
		p.rect(x, y, columnWidth, height, d.brand.tint(9))
		p.rect(x, y, 3, height, d.brand)
	}
	p.text(bold, 9.5, x+pad, y+pad+8, d.headings, d.wrapOne(bold, 9.5, columnWidth-2*pad, n.title))
	p.lines(regular, noticeSize, noticeLeading, x+pad, y+pad+8+titleHeight, black, lines)
	return rest, y + height + gap
}

// notices are the paragraphs of the second page: the member's own first, then
// what everybody is told, then the biller's.
func (d *drawing) notices() []notice {
	b := &d.s.Biller
	var all []notice
	if len(d.rest) > 0 {
		all = append(all, notice{title: "For you", paragraphs: d.rest})
	}
	add := func(title, text string) {
		all = append(all, notice{title: encode(title), paragraphs: paragraphs(text)})
	}

	add("Questions about this statement", sentence(b.contacts())+
		"If something looks wrong, please tell us before the due date. While we look into a charge that you dispute, it is not due.")
	help := "You may qualify for financial assistance, a payment plan or a lower premium. Applying is free, and asking does no harm to your coverage."
	if b.Assistance != "" {
		help += " For our policy, a plain-language summary and the form: " + b.Assistance + "."
	}
	all = append(all, notice{title: "Help with paying your bill", paragraphs: paragraphs(help), boxed: true})
	add("Ways to pay", b.waysToPay())
	if d.s.LateFee != "" {
		add("If you pay late", d.s.LateFee)
	}
	// Model clause A-6 of 12 CFR 1005, Appendix A: it must be on the bill
	// before a check may be turned into an electronic debit.
	add("When you pay by check", "When you provide a check as payment, you authorize us either to use information from your check to make a one-time "+
		"electronic fund transfer from your account or to process the payment as a check transaction. Funds may be withdrawn from your account "+
		"on the day we receive your check, and you may not receive it back from your financial institution.")
	add("When your payment counts", "A payment counts for the day we receive it. A mailed check shows on your account some days later; "+
		"if it came in time, no late fee stands because of the delay. Please allow a week for the mail.")
	add("Reading this statement", "New charges are what was billed since your last statement. The age of an amount is counted from the statement that first billed it, "+
		"never from the date of service. Amounts in dispute or on a payment plan are part of the balance, but not of the amount due.")
	add("Help in your language", d.languages())
	for _, n := range d.s.Notices {
		add(n.Title, n.Text)
	}
	return all
}

// contacts lists whom to call, and when.
func (b *Biller) contacts() string {
	var parts []string
	for _, phone := range b.Phones {
		parts = append(parts, strings.TrimSpace(phone.Label+" "+phone.Number))
	}
	if b.Hours != "" {
		parts = append(parts, b.Hours)
	}
	if b.Web != "" {
		parts = append(parts, b.Web)
	}
	return strings.Join(parts, "; ")
}

func (b *Biller) waysToPay() string {
	var text strings.Builder
	if b.Web != "" {
		text.WriteString("Online: " + b.Web + ". ")
	}
	if len(b.Phones) > 0 {
		text.WriteString("By phone: " + b.Phones[0].Number + ". ")
	}
	text.WriteString("By mail: your check with the coupon, in the envelope enclosed. " +
		"By autopay: we debit your bank account or card on the due date, and tell you the amount beforehand. You may end autopay at any time.")
	return text.String()
}

func (d *drawing) languages() string {
	var phone string
	if len(d.s.Biller.Phones) > 0 {
		phone = " " + d.s.Biller.Phones[0].Number
	}
	return "English: Help in your language, large print and braille are free. Call" + phone + ".\n" +
		"Español: La ayuda en su idioma es gratuita. Llame al" + phone + ".\n" +
		"Tagalog: Libre ang tulong sa inyong wika. Tumawag sa" + phone + ".\n" +
		"Français : L'aide dans votre langue est gratuite. Appelez le" + phone + "."
}

// paragraphs breaks text at its line ends.
func paragraphs(text string) []latin {
	var all []latin
	for line := range strings.Lines(text) {
		all = append(all, encode(line))
	}
	return all
}

// sentence ends text with a full stop and a blank, if there is any text.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.TrimRight(s, ". ") + ". "
}

// addressForm draws the form behind the coupon.
func (d *drawing) addressForm(p *page) {
	for x := 18.0; x < pageWidth-18; x += 6 {
		p.rule(x, x+3.2, perforation, 0.6, gray)
	}
	p.text(bold, 14, left, 568, d.headings, "Change of address")
	p.text(regular, 9, left, 584, black, "Please print, tick the box on the front and return this coupon, or tell us online or by phone.")
	field := func(label latin, x1, x2, y float64) {
		p.rule(x1, x2, y, 0.6, gray)
		p.text(regular, 7.5, x1, y+9, gray, label)
	}
	field("Name", left, gutter-18, 618)
	field("Valid from (date)", gutter, rightEdge, 618)
	field("New street address", left, gutter-18, 652)
	field("Apartment, unit", gutter, rightEdge, 652)
	field("City", left, gutter-18, 686)
	field("State", gutter, gutter+90, 686)
	field("ZIP", gutter+108, rightEdge, 686)
	field("Phone", left, gutter-18, 720)
	field("E-mail", gutter, rightEdge, 720)
	field("Signature", left, gutter-18, 754)
	field("Date", gutter, rightEdge, 754)
}
