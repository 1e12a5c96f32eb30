package statements

import (
	"strconv"

	"github.com/billcycle/billcycle/ledger"
)

// The right column of page 1: what is due, until when, and how it came to be.

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
		x := gutter + 82*float64(i)
		p.tag("P")
		p.text(regular, 7.5, x, 65, gray, field.label)
		p.text(bold, d.fit(bold, 9, 76, field.value), x, 76, black, field.value)
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
	if a.Card && a.Last4 == "" {
		return say(d.words.doNotPayCard, money(a.Cents), d.words.long(a.Date))
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
