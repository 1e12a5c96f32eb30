package statements

import (
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
	gutter      = 336.0 // where the right column begins, right of what a 4 inch window ever shows
	perforation = 540.0
	bottom      = 744.0 // of pages without a coupon
)

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

// head draws all of page 1 above the details and returns where it ends.
func (d *drawing) head(p *page) float64 {
	d.form(p, headForm, drawHead)
	d.to(p)
	figures := d.figures(p, d.panel(p, d.title(p)))
	return max(figures, d.messages(p, max(figures, 390)))
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

// pageNumber writes "Page n of m", which is known only when all is drawn.
func (d *drawing) pageNumber(p *page, i int) {
	p.artifact()
	p.right(regular, 8, rightEdge, 30, gray, say(d.words.page, count(i+1), count(len(d.pages))))
}
