package statements

import (
	"math"
	"slices"
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

const noticesTop = 96.0

// back draws the second page: notices in two columns and, behind the coupon,
// the form for a new address. It returns the notices that found no room. Where
// nothing is said to this member alone, the page is a form.
func (d *drawing) back(p *page) []notice {
	d.pageHead(p, d.words.about)
	draw, kind := drawBackOnly, backOnlyForm
	if d.hasCoupon() {
		draw, kind = drawBack, backForm
	}
	if len(d.rest) == 0 {
		return d.form(p, kind, draw)
	}
	all := append([]notice{{title: d.words.forYou, paragraphs: d.rest}}, d.notices()...)
	return d.backOf(p, all, d.hasCoupon())
}

func drawBack(d *press, p *page) []notice { return d.backOf(p, d.notices(), true) }

func drawBackOnly(d *press, p *page) []notice { return d.backOf(p, d.notices(), false) }

func (d *press) backOf(p *page, all []notice, coupon bool) []notice {
	limit := bottom
	if coupon {
		limit = perforation - 18
	}
	// The shortest columns that hold all are even ones.
	end := noticesTop + 10*noticeLeading
	scratch := page{typefaces: d.typefaces}
	for end < limit && len(d.columns(&scratch, all, noticesTop, end)) > 0 {
		scratch.reset()
		end = min(end+noticeLeading, limit)
	}
	left := d.columns(p, all, noticesTop, end)
	if coupon {
		d.addressForm(p)
	}
	return left
}

// noticeLines breaks a notice to its column's width.
func (d *press) noticeLines(n notice) []latin {
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
		left = d.columns(d.runningHead(d.words.aboutMore), left, noticesTop, bottom)
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
	name := encode(d.biller.Name)
	which := say(d.words.headline, d.mrn(), d.number(), d.words.long(d.s.Date))
	room := rightEdge - left - d.measure(regular, 8, which) - 12
	p.artifact()
	p.text(bold, 9, left, 44, d.headings, d.wrapOne(bold, 9, min(room, 230), name))
	p.right(regular, 8, rightEdge, 44, gray, which)
	p.rule(left, rightEdge, 51, 1.2, d.brand)
	p.tag("H2")
	p.text(bold, 15, left, 76, black, title)
	p.artifact()
}

// columns sets notices from the top of the left column to the foot of the right
// one and returns those that found no room. One longer than a column is broken.
func (d *press) columns(p *page, all []notice, top, end float64) []notice {
	all = slices.Clone(all) // a form's are drawn again
	for _, x := range [...]float64{left, rightEdge - columnWidth} {
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
func (d *press) notice(p *page, n notice, x, y, end float64) (rest notice, below float64) {
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
		p.artifact()
		p.rect(x, y, columnWidth, height, d.brand.tint(9))
		p.rect(x, y, 3, height, d.brand)
	}
	p.tag("H3")
	p.text(bold, 9.5, x+pad, y+pad+8, d.headings, d.wrapOne(bold, 9.5, columnWidth-2*pad, n.title))
	p.tag("P")
	p.lines(regular, noticeSize, noticeLeading, x+pad, y+pad+8+titleHeight, black, lines)
	p.artifact()
	return rest, y + height + gap
}

// notices are the paragraphs of the second page: what everybody is told, then
// the biller's own.
func (d *press) notices() []notice {
	b, w := d.biller, d.words
	var all []notice
	add := func(title, text string) {
		all = append(all, notice{title: encode(title), paragraphs: paragraphs(text)})
	}
	add(w.askTitle, sentence(b.contacts())+w.ask)
	help := w.help1
	if b.Assistance != "" {
		help += strings.Replace(w.helpWhere, "%", b.Assistance, 1)
	}
	all = append(all, notice{title: encode(w.helpTitle), paragraphs: paragraphs(help), boxed: true})
	add(w.waysTitle, d.waysToPay())
	if b.LateFee != "" {
		add(w.lateTitle, b.LateFee)
	}
	add(w.checkTitle, w.check)
	add(w.countsTitle, w.counts)
	add(w.readTitle, w.reads)
	add(w.languagesTitle, b.languages())
	for _, n := range b.Notices {
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

func (d *press) waysToPay() string {
	var text strings.Builder
	if d.biller.Web != "" {
		text.WriteString(strings.Replace(d.words.online, "%", d.biller.Web, 1))
	}
	if len(d.biller.Phones) > 0 {
		text.WriteString(strings.Replace(d.words.byPhone, "%", d.biller.Phones[0].Number, 1))
	}
	return text.String() + d.words.byMail
}

// languages offers help in the languages of the members.
func (b *Biller) languages() string {
	var phone string
	if len(b.Phones) > 0 {
		phone = " " + b.Phones[0].Number
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
func (d *press) addressForm(p *page) {
	w := d.words
	perforate(p)
	p.tag("H2")
	p.text(bold, 14, left, 568, d.headings, w.change)
	p.tag("P")
	p.text(regular, d.fit(regular, 9, rightEdge-left, w.changeHow), left, 584, black, w.changeHow)
	for _, field := range [...]struct {
		label     latin
		x1, x2, y float64
	}{
		{w.name, left, gutter - 18, 618}, {w.validFrom, gutter, rightEdge, 618},
		{w.street, left, gutter - 18, 652}, {w.unit, gutter, rightEdge, 652},
		{w.city, left, gutter - 18, 686}, {w.state, gutter, gutter + 90, 686}, {w.zip, gutter + 108, rightEdge, 686},
		{w.phone, left, gutter - 18, 720}, {w.email, gutter, rightEdge, 720},
		{w.signature, left, gutter - 18, 754}, {w.columnDate, gutter, rightEdge, 754},
	} {
		p.artifact()
		p.rule(field.x1, field.x2, field.y, 0.6, gray)
		p.tag("P")
		p.text(regular, 7.5, field.x1, field.y+9, gray, field.label)
	}
	p.artifact()
}
