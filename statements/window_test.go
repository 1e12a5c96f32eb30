package statements

import (
	"math"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
)

// A #10 double-window envelope with three folds.
func TestSafeWindow(t *testing.T) {
	for _, c := range []struct {
		panel, height int
		want          Rect
	}{
		{3667, 1000, Rect{54, 162, 198, 21}},
		{3875, 1000, Rect{54, 162, 198, 36}},
		{4000, 1000, Rect{54, 162, 198, 45}},
		{4000, 1250, Rect{54, 144, 198, 63}},
	} {
		e := billing.EnvelopePolicy{Width: 9500, Height: 4125, Panel: c.panel, WindowLeft: 625, WindowBottom: 1000, WindowWidth: 4000, WindowHeight: c.height}
		got := safeWindow(e)
		if math.Abs(got.X-c.want.X)+math.Abs(got.Y-c.want.Y)+math.Abs(got.W-c.want.W)+math.Abs(got.H-c.want.H) > 0.2 {
			t.Errorf("panel %d, window %d high: %+v, want %+v", c.panel, c.height, got, c.want)
		}
		_, err := windowOf(billing.VendorPolicy{Envelope: e})
		if fits := c.want.H >= 44; fits != (err == nil) {
			t.Errorf("panel %d, window %d high: %v", c.panel, c.height, err)
		}
	}
	if d := defaultWindows.To; d.X < 54 || d.X+d.W > 252 || d.Y < 144-0.1 || d.Y+d.H > 207+0.1 {
		t.Errorf("the default window %+v is not safe", d)
	}
	if _, err := windowOf(billing.VendorPolicy{Envelope: billing.EnvelopePolicy{Width: 9500, Height: 4125, Panel: 4000, WindowLeft: 625, WindowBottom: 1000, WindowWidth: 3000, WindowHeight: 1250}}); err == nil || !strings.Contains(err.Error(), "194") {
		t.Errorf("a narrow window: %v", err)
	}

	// Windows that lie, or reach, where the page has no room for an address.
	for _, c := range []struct {
		left, bottom, width, height int
		want                        Rect   // none: refused
		says                        string // as it is refused
	}{
		{3500, 1000, 4000, 1250, Rect{}, "in common"},
		{625, 300, 4000, 1250, Rect{}, "in common"},
		{625, 1000, 4000, 2500, Rect{54, 124, 198, 83}, ""},
		{625, 1000, 4041, 1250, Rect{54, 144, 201, 63}, ""},
		{625, 1000, 4042, 1250, Rect{}, "amounts begin at 336: window_left and window_width together may be 4666 at most, and are 4667"},
		{500, 1000, 4750, 1250, Rect{}, "shows the page up to 378 points from the left"},
		{625, 910, 4000, 1250, Rect{54, 150.5, 198, 63}, ""},
		{625, 850, 4000, 1500, Rect{}, "down to 236 points from the top, and what is said to the member alone begins at 232: ask for a window that ends 0.05 inches higher"},
	} {
		e := billing.EnvelopePolicy{Width: 9500, Height: 4125, Panel: 4000, WindowLeft: c.left, WindowBottom: c.bottom, WindowWidth: c.width, WindowHeight: c.height}
		w, err := windowOf(billing.VendorPolicy{Envelope: e})
		if got := w.To; math.Abs(got.X-c.want.X)+math.Abs(got.Y-c.want.Y)+math.Abs(got.W-c.want.W)+math.Abs(got.H-c.want.H) > 0.2 {
			t.Errorf("a window at %d, %d: %+v, want %+v", c.left, c.bottom, got, c.want)
		}
		if refused := err != nil && strings.Contains(err.Error(), c.says); refused != (c.want == Rect{}) {
			t.Errorf("a window at %d, %d: %v", c.left, c.bottom, err)
		}
		if s := sample(); err == nil {
			s.Biller.Window = w
			p, err := NewRenderer().pressOf(s.Biller)
			if err != nil || p.windows().To != w.To {
				t.Errorf("the page moves the window %+v: %v", w.To, err)
			}
		}
	}
}
