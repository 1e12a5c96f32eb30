package statements

import (
	"strings"
)

// The part of page 1 that comes back with a check, or what stands in its place.

// hasCoupon says whether anything is asked for by check.
func (d *drawing) hasCoupon() bool { return d.ask == Pay }

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

const couponColumn = gutter // the right one, in the return envelope's window

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
