package statements

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// latin is text as the fonts hold it: a byte of Windows-1252, or a byte below
// [planes] that names the plane of the byte that follows. It is a type of its
// own so that text is encoded once and never measured or drawn before.
type latin string

// measure returns the width of s in points.
func (t *typefaces) measure(f face, size float64, s latin) float64 {
	var w int32
	widths := &t.width[f.of(0)]
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < planes {
			i++
			w += t.width[f.of(c)][s[i]]
		} else {
			w += widths[c]
		}
	}
	return float64(w) * size / 1000
}

// fit returns the largest size up to size in which s is at most width wide.
func (t *typefaces) fit(f face, size, width float64, s latin) float64 {
	if w := t.measure(f, size, s); w > width {
		return math.Floor(size*width/w*10) / 10
	}
	return size
}

const ellipsis = "\x85"

// wrap breaks s into lines of at most width points, between words where it
// can, inside a word that is too long for a line. If that takes more than limit
// lines, the last of them ends in an ellipsis. Empty text is no line.
func (t *typefaces) wrap(f face, size, width float64, s latin, limit int) []latin {
	var lines []latin
	for s = trim(s); s != ""; s = trim(s) {
		n := t.fits(f, size, width, s)
		if n == len(s) {
			return append(lines, s)
		}
		if len(lines) == limit-1 {
			n = t.fits(f, size, width-t.measure(f, size, ellipsis), s)
			return append(lines, trim(s[:n])+ellipsis)
		}
		if s[n] != ' ' {
			if space := strings.LastIndexByte(string(s[:n]), ' '); space > 0 {
				n = space
			}
		}
		lines = append(lines, trim(s[:n]))
		s = s[n:]
	}
	return lines
}

// fits returns how many bytes of s fit into width, at least one character's.
func (t *typefaces) fits(f face, size, width float64, s latin) int {
	room := int32(width*1000/size + 0.01)
	for i := 0; i < len(s); i++ {
		c, at := s[i], i
		if c < planes {
			i++
			room -= t.width[f.of(c)][s[i]]
		} else {
			room -= t.width[f.of(0)][c]
		}
		if room < 0 {
			if at == 0 {
				return i + 1
			}
			return at
		}
	}
	return len(s)
}

func trim(s latin) latin { return latin(strings.Trim(string(s), " ")) }

// encode turns text into what the fonts can show. White space becomes a blank,
// what has no shape nothing, a letter that no font of ours has its base letter,
// and any other character a question mark, never a dot that could be taken for
// something meant.
func encode(s string) latin {
	if plain(s) {
		return latin(s)
	}
	out := make([]byte, 0, len(s))
	for _, r := range norm.NFC.String(s) {
		out = appendLatin(out, r)
	}
	return latin(out)
}

// strange returns the first character of s for which encode has only a question
// mark, 0 for none.
func strange(s string) rune {
	if plain(s) {
		return 0
	}
	var shown []byte
	for _, r := range norm.NFC.String(s) {
		shown = appendLatin(shown[:0], r)
		for i := 0; i < len(shown); i++ {
			if shown[i] < planes {
				i++ // a letter of another plane may have any code
			} else if shown[i] == '?' && r != '?' {
				return r
			}
		}
	}
	return 0
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// alike are characters that look like another and have no decomposition that
// says so.
var alike = map[rune]string{
	'−': "-", '‐': "-", '‑': "-", '‒': "-", '―': "-", '′': "'", 'ʻ': "'", 'ʼ': "'", '⁄': "/",
}

func appendLatin(out []byte, r rune) []byte {
	switch {
	case r >= ' ' && r <= '~':
		return append(out, byte(r))
	case unicode.IsSpace(r):
		return append(out, ' ')
	case r == '\u00ad' || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Mn):
		return out
	case r == utf8.RuneError:
		return append(out, '?')
	}
	if b, ok := charmap.Windows1252.EncodeRune(r); ok && b >= 0x80 {
		return append(out, b)
	}
	if at, ok := planeOf()[r]; ok {
		return append(out, at[:]...)
	}
	if base, ok := alike[r]; ok {
		return append(out, base...)
	}
	if base, _ := utf8.DecodeRuneInString(norm.NFKD.String(string(r))); base != r {
		before := len(out)
		for _, part := range norm.NFKD.String(string(r)) {
			out = appendLatin(out, part)
		}
		if len(out) > before {
			return out
		}
	}
	return append(out, '?')
}

// ink is a color as the red, green and blue of a PDF.
type ink [3]uint8

var (
	solid = ink{} // what machines read
	black = ink{0x1A, 0x1A, 0x1A}
	gray  = ink{0x55, 0x5B, 0x61} // 6.9:1 on white: still easy to read
	hair  = ink{0xC4, 0xCA, 0xD0}
	zebra = ink{0xF3, 0xF6, 0xF9}
	white = ink{0xFF, 0xFF, 0xFF}
	alert = ink{0x9B, 0x1C, 0x1C}
)

// tint returns the color thinned with white to a percentage.
func (c ink) tint(percent int) ink {
	for i := range c {
		c[i] = uint8(255 - (255-int(c[i]))*percent/100)
	}
	return c
}

// luminance is how bright the eye finds the color, 0 to 1 (WCAG 2.1).
func (c ink) luminance() float64 {
	linear := func(v uint8) float64 {
		f := float64(v) / 255
		if f <= 0.04045 {
			return f / 12.92
		}
		return math.Pow((f+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

const (
	pageWidth  = 612 // US Letter, in points
	pageHeight = 792
)

// page is one page, or a form, as a PDF content stream in the making. Positions
// are points from the page's top left corner; a text's y is its baseline.
type page struct {
	*typefaces
	ops    []byte
	fill   ink
	inked  bool // fill is what the reader's program fills with now
	font   font // and this font and size what it writes with
	size   float64
	fonts  fontSet  // all that the page needs
	tags   *tags    // nil but for an accessible file
	open   *element // what is being drawn, of those; nil for decoration
	marked bool     // a piece has begun and not ended
}

// reset makes an empty page of it.
func (p *page) reset() {
	*p = page{typefaces: p.typefaces, ops: p.ops[:0]}
}

func (p *page) text(f face, size, x, y float64, color ink, s latin) {
	if s == "" {
		return
	}
	p.mark()
	p.setFill(color)
	p.setFont(f.of(plane(s[0])), size)
	p.ops = append(p.ops, "BT "...)
	p.numbers(x, pageHeight-y)
	p.ops = append(p.ops, "Td("...)
	current := p.font
	for i := 0; i < len(s); i++ {
		c := s[i]
		in := plane(c)
		if in > 0 {
			i++
			c = s[i]
		}
		if next := f.of(in); next != current {
			p.ops = append(p.ops, ")Tj"...)
			p.setFont(next, size)
			current = next
			p.ops = append(p.ops, '(')
		}
		switch c {
		case '(', ')', '\\':
			p.ops = append(p.ops, '\\', c)
		default:
			p.ops = append(p.ops, c)
		}
	}
	if p.tags != nil {
		p.ops = append(p.ops, ' ') // or a line's last word and the next's first are read as one
	}
	p.ops = append(p.ops, ")Tj ET\n"...)
}

// plane returns the plane that a byte of a text switches to, 0 for a character.
func plane(c byte) byte {
	if c < planes {
		return c
	}
	return 0
}

func (p *page) setFont(f font, size float64) {
	p.fonts |= 1 << f
	if f == p.font && size == p.size {
		return
	}
	p.font, p.size = f, size
	p.ops = append(append(append(p.ops, '/'), f.resource()...), ' ')
	p.numbers(size)
	p.ops = append(p.ops, "Tf\n"...)
}

// right draws text that ends at x.
func (p *page) right(f face, size, x, y float64, color ink, s latin) {
	p.text(f, size, x-p.measure(f, size, s), y, color, s)
}

// lines draws wrapped text downwards and returns the baseline after the last.
func (p *page) lines(f face, size, leading, x, y float64, color ink, lines []latin) float64 {
	for _, s := range lines {
		p.text(f, size, x, y, color, s)
		y += leading
	}
	return y
}

func (p *page) rect(x, y, w, h float64, color ink) {
	p.path(x, y, w, h, color)
	p.ops = append(p.ops, "f\n"...)
}

// path adds a rectangle to those that the next "f" fills, all in one color.
func (p *page) path(x, y, w, h float64, color ink) {
	p.mark()
	p.setFill(color)
	p.numbers(x, pageHeight-y-h, w, h)
	p.ops = append(p.ops, "re\n"...)
}

// grid begins a code for machines, black cells of the given size whose column 0
// and row 0 meet at x, y; rows count upwards. It ends with "f Q".
func (p *page) grid(x, y, width, height float64) {
	p.mark()
	p.setFill(solid)
	p.ops = append(p.ops, "q "...)
	p.numbers(width, 0, 0, height, x, pageHeight-y)
	p.ops = append(p.ops, "cm\n"...)
}

func (p *page) cell(column, row, width, height float64) {
	p.numbers(column, row, width, height)
	p.ops = append(p.ops, "re\n"...)
}

// rule draws a level line of the given thickness.
func (p *page) rule(x1, x2, y, thickness float64, color ink) {
	p.rect(x1, y-thickness/2, x2-x1, thickness, color)
}

// frame draws the outline of a box.
func (p *page) frame(x, y, w, h, thickness float64, color ink) {
	p.rule(x-thickness/2, x+w+thickness/2, y, thickness, color)
	p.rule(x-thickness/2, x+w+thickness/2, y+h, thickness, color)
	p.rect(x-thickness/2, y, thickness, h, color)
	p.rect(x+w-thickness/2, y, thickness, h, color)
}

func (p *page) setFill(c ink) {
	if p.inked && c == p.fill {
		return
	}
	p.fill, p.inked = c, true
	p.numbers(float64(c[0])/255, float64(c[1])/255, float64(c[2])/255)
	p.ops = append(p.ops, "rg\n"...)
}

// numbers writes operands with two decimals, which is a seven-thousandth of an
// inch and exact enough for type; the same number always reads the same.
func (p *page) numbers(values ...float64) {
	for _, v := range values {
		n := int64(math.Round(v * 100))
		if n < 0 {
			p.ops = append(p.ops, '-')
			n = -n
		}
		p.ops = appendInt(p.ops, n/100)
		if n %= 100; n != 0 {
			p.ops = append(p.ops, '.', byte('0'+n/10))
			if n%10 != 0 {
				p.ops = append(p.ops, byte('0'+n%10))
			}
		}
		p.ops = append(p.ops, ' ')
	}
}

func appendInt(b []byte, n int64) []byte {
	if n >= 10 {
		b = appendInt(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
