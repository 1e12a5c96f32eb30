package statements

import (
	"fmt"

	"github.com/billcycle/billcycle/billing"
)

// windowOf returns the windows of a vendor's envelope as the page sees them.
func windowOf(v billing.VendorPolicy) (Windows, error) {
	if v.Envelope == (billing.EnvelopePolicy{}) {
		return Windows{}, nil // the one that the page is designed for
	}
	to := safeWindow(v.Envelope)
	// The barcode takes 193.4 points and its clear space is part of the
	// window's; three lines of 8 point type and the barcode take 44.
	if to.W < 194 || to.H < 44 {
		return Windows{}, fmt.Errorf("the part of the envelope's window that is always on the page is %.0f by %.0f points: a barcode and three lines need 194 by 44; ask for a larger window or a tighter fold", to.W, to.H)
	}
	return Windows{To: to}, nil
}

// safeWindow is the part of page 1 that shows in an envelope's window wherever
// the folded sheet slides to, less the clear space of 1/8 inch that the Postal
// Service wants around an address (Publication 25, 3-9). Points from the page's
// top left corner.
func safeWindow(e billing.EnvelopePolicy) Rect {
	const pageWidth, clear = 8500, 125
	const points = 72.0 / 1000
	slide := e.Width - pageWidth
	left, right := e.WindowLeft+clear, e.WindowLeft+e.WindowWidth-slide-clear
	drop := e.Height - e.Panel
	top := e.Height - e.WindowBottom - e.WindowHeight + clear
	bottom := e.Height - e.WindowBottom - drop - clear
	return Rect{X: float64(left) * points, Y: float64(top) * points, W: float64(right-left) * points, H: float64(bottom-top) * points}
}
