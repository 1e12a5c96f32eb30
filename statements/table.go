package statements

import "github.com/billcycle/billcycle/calendar"

// table is the details of a statement on their way over the pages.
type table struct {
	*drawing
	group, line int // the next row to draw: line 0 of a group follows its heading

	// Where columns begin, and the width of each but the date's.
	description, member, reference float64
	descriptionW, memberW, refW    float64
}

const (
	detailSize    = 9.0
	detailLeading = 11.0
	rowHeight     = 12.5 // of a row with one line
	headHeight    = 14.0
	tableHead     = 15.0
	coveredSize   = 7.5
	dateWidth     = 54.0
	columnGap     = 8.0
)

// newTable measures the columns: amounts, names and references get what they
// need, up to a limit, and the description all that is left.
func (d *drawing) newTable() *table {
	t := &table{drawing: d}
	amountW := 58.0
	for _, g := range d.s.Groups {
		amountW = max(amountW, d.measure(bold, 9.5, money(g.Cents)))
		for i := range g.Lines {
			l := &g.Lines[i]
			if l.Cents > 9_999_999 || l.Cents < -9_999_999 {
				amountW = max(amountW, d.measure(bold, detailSize, money(l.Cents)))
			}
			t.memberW = max(t.memberW, min(d.measure(regular, detailSize, encode(l.Member)), 110))
			t.refW = max(t.refW, min(d.measure(regular, detailSize, encode(l.Reference)), 92))
		}
	}
	x := rightEdge - amountW
	t.reference, x = column(x, t.refW)
	t.member, x = column(x, t.memberW)
	t.description = left + dateWidth
	t.descriptionW = x - columnGap - t.description
	return t
}

// column returns where a column of the width begins that ends before x, and
// where the one to its left ends; a column without width takes no room.
func column(x, width float64) (begin, end float64) {
	if width == 0 {
		return x, x
	}
	return x - columnGap - width, x - columnGap - width
}

// front draws the details on page 1 below y, and all that stands below them.
func (t *table) front(p *page, y float64) {
	end := perforation - 58.0 // of the rows
	if t.hasCoupon() {
		t.questions(p, perforation-15)
	} else {
		end = bottom - agingHeight - noCouponHeight - 48
		t.questions(p, bottom)
	}
	y = t.details(p, y+24, end)
	switch {
	case t.hasCoupon():
		t.aging(p, end+5)
		t.coupon(p)
	case t.f.AmountDue > 0:
		t.aging(p, y+12)
		t.noCoupon(p, y+24+agingHeight)
	default:
		t.noCoupon(p, y+14)
	}
}

// details draws the table below its heading at y, and returns where it ends.
func (t *table) details(p *page, y, end float64) float64 {
	p.tag("H2")
	p.text(bold, 11, left, y, t.headings, t.words.details)
	if t.done() {
		p.tag("P")
		p.text(regular, detailSize, left, y+18, black, t.words.noDetails)
		p.artifact()
		return y + 24
	}
	y += 7
	if y+t.height() > end {
		end -= 10 // room to say where they continue
	}
	y = t.rows(p, y, end)
	if !t.done() {
		p.tag("P")
		p.text(bold, 8.5, left, y+10, black, t.words.continueOn)
		p.artifact()
		y += 12
	}
	return y
}

// height returns how high the whole table is, or at least more than a page.
func (t *table) height() float64 {
	h := tableHead
	for i := range t.s.Groups {
		g := &t.s.Groups[i]
		if len(g.Lines) > 0 {
			h += headHeight
		}
		for j := range g.Lines {
			if h += t.layout(&g.Lines[j]).height; h > pageHeight {
				return h
			}
		}
	}
	return h
}

// continued draws what is left of the details on pages of their own.
func (t *table) continued() {
	for !t.done() {
		p := t.runningHead(t.words.detailsMore)
		t.rows(p, 92, bottom)
	}
}

func (t *table) done() bool {
	for t.group < len(t.s.Groups) && t.line >= len(t.s.Groups[t.group].Lines) {
		t.group, t.line = t.group+1, 0
	}
	return t.group >= len(t.s.Groups)
}

// rows draws as many rows as fit between y and end, and returns where they end.
func (t *table) rows(p *page, y, end float64) float64 {
	p.rule(left, rightEdge, y, 0.75, black)
	baseline, body := y+10.5, y+tableHead
	y = baseline
	p.artifact()
	p.group("Table")
	p.group("TR")
	for _, column := range [...]struct {
		x     float64
		title latin
		there bool
	}{
		{left, t.words.columnDate, true}, {t.description, t.words.columnWhat, true},
		{t.member, t.words.columnWho, t.memberW > 0}, {t.reference, t.words.columnRef, t.refW > 0},
	} {
		if column.there {
			p.header("Column")
			p.text(bold, 8, column.x, y, black, column.title)
		}
	}
	p.header("Column")
	p.right(bold, 8, rightEdge, y, black, t.words.columnAmount)
	p.ungroup()
	y = body
	p.rule(left, rightEdge, y, 0.75, black)
	stripe, fresh := false, true
	for !t.done() {
		g := &t.s.Groups[t.group]
		r := t.layout(&g.Lines[t.line])
		need := r.height
		if t.line == 0 || fresh {
			need += headHeight // a heading never stands alone at the foot of a page
		}
		if y+need > end {
			break
		}
		if t.line == 0 || fresh {
			t.heading(p, y, g, t.line > 0)
			y, stripe = y+headHeight, false
		}
		if stripe {
			p.rect(left, y, rightEdge-left, r.height, zebra)
		}
		t.row(p, y, r)
		y, stripe, fresh = y+r.height, !stripe, false
		t.line++
	}
	p.ungroup()
	p.rule(left, rightEdge, y+0.5, 0.5, hair)
	return y + 1
}

func (t *table) heading(p *page, y float64, g *Group, again bool) {
	name, ok := t.words.kinds[g.Kind]
	if !ok {
		name = t.wrapOne(bold, 9.5, 300, encode(string(g.Kind)))
	}
	p.group("TR")
	defer p.ungroup()
	columns := 3 // date, description, amount
	for _, width := range [...]float64{t.memberW, t.refW} {
		if width > 0 {
			columns++
		}
	}
	if !again {
		columns-- // the amount has its own
	}
	p.begin(&element{kind: "TH", scope: "Row", span: columns})
	if again {
		p.text(bold, 9.5, left, y+10.5, t.headings, say(t.words.more, name))
		return
	}
	p.text(bold, 9.5, left, y+10.5, t.headings, name)
	p.tag("TD")
	p.right(bold, 9.5, rightEdge, y+10.5, t.headings, money(g.Cents))
}

// wrapOne returns s, cut with an ellipsis if it is wider than width.
func (t *typefaces) wrapOne(f face, size, width float64, s latin) latin {
	if lines := t.wrap(f, size, width, s, 1); len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// row is a line of the statement, broken to the columns' widths.
type row struct {
	line                           *Line
	description, member, reference []latin
	covered                        latin   // what was billed and what the plan covered of it
	beside                         float64 // where it begins right of the description; 0 if it stands below
	height                         float64
}

// layout breaks a line. The limit is far beyond any name and any description
// that the feeds take, and keeps a row on its page.
func (t *table) layout(l *Line) row {
	const far = 12
	r := row{
		line:        l,
		description: t.wrap(regular, detailSize, t.descriptionW, encode(l.Description), far),
		member:      t.wrap(regular, detailSize, t.memberW, encode(l.Member), far),
		reference:   t.wrap(regular, detailSize, t.refW, encode(l.Reference), far),
	}
	r.height = rowHeight + detailLeading*float64(max(len(r.description), len(r.member), len(r.reference), 1)-1)
	if l.Gross == 0 && l.Plan == 0 {
		return r
	}
	r.covered = t.wrapOne(regular, coveredSize, t.descriptionW, say(t.words.covered, money(l.Gross), money(l.Plan)))
	if len(r.description) <= 1 {
		taken := columnGap
		for _, s := range r.description {
			taken += t.measure(regular, detailSize, s)
		}
		if taken+t.measure(regular, coveredSize, r.covered) <= t.descriptionW {
			r.beside = t.description + taken
			return r
		}
	}
	r.height = max(r.height, rowHeight+detailLeading*float64(max(len(r.description), 1)-1)+8.5)
	return r
}

func (t *table) row(p *page, y float64, r row) {
	y += 9.4
	p.group("TR")
	defer p.ungroup()
	p.tag("TD")
	if !r.line.Date.IsZero() {
		p.text(regular, detailSize, left, y, black, shortDate(r.line.Date))
	}
	p.tag("TD")
	below := p.lines(regular, detailSize, detailLeading, t.description, y, black, r.description)
	if r.beside > 0 {
		p.text(regular, coveredSize, r.beside, y, gray, r.covered)
	} else {
		p.text(regular, coveredSize, t.description, max(below-2, y), gray, r.covered)
	}
	if t.memberW > 0 {
		p.tag("TD")
		p.lines(regular, detailSize, detailLeading, t.member, y, black, r.member)
	}
	if t.refW > 0 {
		p.tag("TD")
		p.lines(regular, detailSize, detailLeading, t.reference, y, black, r.reference)
	}
	p.tag("TD")
	p.right(regular, detailSize, rightEdge, y, black, money(r.line.Cents))
}

// shortDate is month/day/year, in either language what people in the United
// States read.
func shortDate(d calendar.Date) latin { return latin(d.Format("01/02/2006")) }
