package statements

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/billcycle/billcycle/billing"
)

// windowOf returns the windows of a vendor's envelope as the page sees them.
func windowOf(v billing.VendorPolicy) (Windows, error) {
	if v.Envelope == (billing.EnvelopePolicy{}) {
		return Windows{}, nil // the one that the page is designed for
	}
	safe, shown := safeWindow(v.Envelope), shownWindow(v.Envelope)
	to := safe.within(addressPlace)
	// The barcode takes 193.4 points and its clear space is part of the
	// window's; three lines of 8 point type and the barcode take 44.
	switch enough := func(r Rect) bool { return r.W >= 194 && r.H >= 44 }; {
	case !enough(safe):
		return Windows{}, fmt.Errorf("the part of the envelope's window that is always on the page is %.0f by %.0f points: a barcode and three lines need 194 by 44; ask for a larger window or a tighter fold", safe.W, safe.H)
	case !enough(to):
		p := addressPlace
		return Windows{}, fmt.Errorf("the envelope's window always shows the page from %.0f to %.0f points from the left and %.0f to %.0f from the top; the address can stand from %.0f to %.0f and %.0f to %.0f only, and the two have no 194 by 44 points in common",
			safe.X, safe.X+safe.W, safe.Y, safe.Y+safe.H, p.X, p.X+p.W, p.Y, p.Y+p.H)
	case shown.X+shown.W > gutter:
		return Windows{}, fmt.Errorf("as the letter slides, the envelope's window shows the page up to %.0f points from the left, and the amounts begin at %.0f: window_left and window_width together may be %.0f at most, and are %d; ask for a narrower window",
			shown.X+shown.W, gutter, math.Floor(gutter/points), v.Envelope.WindowLeft+v.Envelope.WindowWidth)
	case shown.Y+shown.H > messagesTop-8:
		return Windows{}, fmt.Errorf("as the letter slides, the envelope's window shows the page down to %.0f points from the top, and what is said to the member alone begins at %.0f: ask for a window that ends %.2f inches higher",
			shown.Y+shown.H, messagesTop-8, (shown.Y+shown.H-(messagesTop-8))/72)
	}
	return Windows{To: to}, nil
}

// CheckPolicy refuses a policy with a vendor whose envelope cannot show an
// address, or would show more than that. The error is a [*billing.PolicyError].
func CheckPolicy(p *billing.Policy) error {
	for _, name := range slices.Sorted(maps.Keys(p.Print.Vendors)) {
		if _, err := windowOf(p.Print.Of(name)); err != nil {
			return &billing.PolicyError{Path: "print.vendors." + name + ".envelope", Says: err.Error()}
		}
	}
	return nil
}

// addressPlace is where page 1 has room for the address: the left column,
// between the sender and the messages.
var addressPlace = Rect{X: 20, Y: 124, W: 270, H: 106}

// within is the part of a rectangle that lies in another.
func (r Rect) within(o Rect) Rect {
	x, y := max(r.X, o.X), max(r.Y, o.Y)
	return Rect{X: x, Y: y, W: min(r.X+r.W, o.X+o.W) - x, H: min(r.Y+r.H, o.Y+o.H) - y}
}

const points = 72.0 / 1000 // in a thousandth of an inch

// shownWindow is the part of page 1 that shows in an envelope's window when the
// folded sheet slides to one place or another.
func shownWindow(e billing.EnvelopePolicy) Rect {
	slide, drop := e.Width-8500, e.Height-e.Panel
	left, right := e.WindowLeft-slide, e.WindowLeft+e.WindowWidth
	top, bottom := e.Height-e.WindowBottom-e.WindowHeight-drop, e.Height-e.WindowBottom
	return Rect{X: float64(left) * points, Y: float64(top) * points, W: float64(right-left) * points, H: float64(bottom-top) * points}
}

// safeWindow is the part of page 1 that shows in an envelope's window wherever
// the folded sheet slides to, less the clear space of 1/8 inch that the Postal
// Service wants around an address (Publication 25, 3-9). Points from the page's
// top left corner.
func safeWindow(e billing.EnvelopePolicy) Rect {
	const clear = 125
	slide := e.Width - 8500
	left, right := e.WindowLeft+clear, e.WindowLeft+e.WindowWidth-slide-clear
	drop := e.Height - e.Panel
	top := e.Height - e.WindowBottom - e.WindowHeight + clear
	bottom := e.Height - e.WindowBottom - drop - clear
	return Rect{X: float64(left) * points, Y: float64(top) * points, W: float64(right-left) * points, H: float64(bottom-top) * points}
}
