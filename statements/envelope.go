package statements

import (
	"cmp"
	"fmt"
	"strings"
)

// What the envelope's windows show, and what machines of the mail look for on a
// sheet: the addresses, the Postal Service's barcode, the inserter's mark.

// The default windows are those of a #10 double-window envelope and a first
// panel of 4 inches, less 1/8 inch on each side and the play of the insert. The
// recipient's has room for the barcode and four lines.
var defaultWindows = Windows{
	Sender: Rect{X: 57, Y: 72, W: 190, H: 40},
	To:     Rect{X: 57, Y: 144, W: 195, H: 63},
}

// windows returns where the envelope's windows are.
func (p *press) windows() Windows {
	w := p.biller.Window
	if w.Sender.W <= 0 {
		w.Sender = defaultWindows.Sender
	}
	if w.To.W <= 0 {
		w.To = defaultWindows.To
	}
	w.Sender, w.To = w.Sender.inside(60, 120), w.To.inside(addressPlace.Y, addressPlace.Y+addressPlace.H)
	return w
}

// to draws the recipient into the envelope's window, below the barcode's place.
func (d *drawing) to(p *page) {
	window := d.windows().To
	p.artifact()
	if len(d.marks.IMb) == imbBars {
		p.imb(window.X, window.Y, d.marks.IMb)
	}
	window.Y, window.H = window.Y+barHeight+3, window.H-barHeight-3
	p.tag("P")
	if !d.address(p, window, 230, encode(strings.ToUpper(d.s.To.Name)), encodeAll(capitals(d.s.To.Lines)), 10, black) {
		d.unfit = &AddressError{Number: d.s.Number, Lines: append([]string{d.s.To.Name}, d.s.To.Lines...)}
	}
	p.artifact()
}

// AddressError is an address that cannot be set in the envelope's window even
// in the smallest type that the Postal Service allows.
type AddressError struct {
	Number int64 // the statement's
	Lines  []string
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("statement %010d: the address does not fit into the envelope's window, even in %g point type: %s", e.Number, goodType, strings.Join(e.Lines, " / "))
}

// LettersError is a name or an address in letters that no font of the page has,
// such as Chinese ones: it could be neither read nor delivered.
type LettersError struct {
	Number int64 // the statement's
	Letter rune  // the first of them
}

func (e *LettersError) Error() string {
	return fmt.Sprintf("statement %010d: a name or the address has %q (%U), which no font of the page has: write it in Latin letters in the members feed", e.Number, e.Letter, e.Letter)
}

// strange returns the first letter of the names and the address that the page
// can't show, 0 for none.
func (s *Statement) strange() rune {
	r := strange(strings.ToUpper(s.To.Name)) // as it is shown
	for _, line := range s.To.Lines {
		r = cmp.Or(r, strange(strings.ToUpper(line)))
	}
	for _, g := range s.Groups {
		for i := range g.Lines {
			r = cmp.Or(r, strange(g.Lines[i].Member))
		}
	}
	return r
}

// capitals writes an address the way the Postal Service's readers prefer.
func capitals(lines []string) []string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = strings.ToUpper(line)
	}
	return all
}

func encodeAll(lines []string) []latin {
	all := make([]latin, len(lines))
	for i, line := range lines {
		all[i] = encode(line)
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
	goodType  = 8.0 // points: the least that the Postal Service reads
	smallType = 5.5 // of a copy that no envelope holds
	barPitch  = 3.0 // 24 bars to the inch: 65 of them fit the window
	barHeight = 10.8
)

// address draws a block into a rectangle. Long lines wrap, and the type gets
// smaller until all of them fit the height, which it returns as true. What does
// not fit in good type goes down to limit in small type, and loses lines from
// the middle, but never the last, which holds the ZIP: that is for the screen.
func (d *press) address(p *page, at Rect, limit float64, name latin, rest []latin, size float64, color ink) bool {
	y, room, good := at.Y, at.H, true
	for {
		whole := 100 // lines, more than any window has
		if !good {
			whole = 3
		}
		lines := d.wrap(bold, size, at.W, name, whole)
		named := len(lines)
		for _, line := range rest {
			lines = append(lines, d.wrap(regular, size, at.W, line, whole)...)
		}
		leading := size * 1.15
		most := int((room-size*0.95)/leading) + 1 // the last line's capitals and descenders
		if len(lines) > most {
			switch {
			case size > goodType:
				size -= 0.5
				continue
			case good:
				good, room = false, limit-y
				continue
			case size > smallType:
				size -= 0.5
				continue
			}
			lines = append(lines[:most-1], lines[len(lines)-1])
		}
		y = p.lines(bold, size, leading, at.X, y+size*0.74, color, lines[:min(named, len(lines))])
		p.lines(regular, size, leading, at.X, y, color, lines[min(named, len(lines)):])
		return good
	}
}

// imb draws an Intelligent Mail barcode from its 65 letters: full, ascender,
// descender or tracker (USPS-B-3200).
func (p *page) imb(x, y float64, letters string) {
	const width = 1.44 / barPitch
	p.artifact()
	p.grid(x, y+barHeight, barPitch, barHeight/3) // units: bars and thirds of their height, from the bottom
	for i := range len(letters) {
		switch at := float64(i); letters[i] {
		case 'F':
			p.cell(at, 0, width, 3)
		case 'A':
			p.cell(at, 1, width, 2)
		case 'D':
			p.cell(at, 0, width, 2)
		case 'T':
			p.cell(at, 1, width, 1)
		}
	}
	p.ops = append(p.ops, "f Q\n"...)
}

// Where the inserter's cameras look for the mark of a sheet: at the top between
// the columns, clear of everything else.
const (
	matrixModule = 1.44 // 0.02 inch
	matrixRight  = 310.0
	matrixTop    = 12.0
)

// matrix draws the inserter's mark.
func (p *page) matrix(m Matrix) {
	if m.Size < 1 || len(m.Dark) < m.Size*m.Size {
		return
	}
	p.artifact()
	p.grid(matrixRight-matrixModule*float64(m.Size), matrixTop+matrixModule*float64(m.Size), matrixModule, matrixModule)
	for row := range m.Size {
		line := m.Dark[row*m.Size : (row+1)*m.Size]
		for from := 0; from < m.Size; from++ {
			to := from
			for to < m.Size && line[to] {
				to++
			}
			if to > from {
				p.cell(float64(from), float64(m.Size-1-row), float64(to-from), 1)
				from = to
			}
		}
	}
	p.ops = append(p.ops, "f Q\n"...)
}
