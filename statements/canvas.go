package statements

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// latin is text in the encoding of the PDF's built-in fonts, Windows-1252. It
// is a type of its own so that text is encoded once and never measured or drawn
// before.
type latin string

// face is one of the typefaces of a statement.
type face int

const (
	regular face = iota
	bold
	mono // Courier-Bold, ten characters to the inch at 12 points: the scanline's
	faces
)

// typefaces holds, for each face, the name by which a page refers to it and the
// width of each character in thousandths of its size.
type typefaces [faces]struct {
	resource string
	width    [256]float64
}

// measure returns the width of s in points.
func (t *typefaces) measure(f face, size float64, s latin) float64 {
	var w float64
	for i := range len(s) {
		w += t[f].width[s[i]]
	}
	return w * size / 1000
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

// fits returns how many characters of s fit into width, at least one.
func (t *typefaces) fits(f face, size, width float64, s latin) int {
	room := width * 1000 / size
	for i := range len(s) {
		if room -= t[f].width[s[i]]; room < -0.01 {
			return max(i, 1)
		}
	}
	return len(s)
}

func trim(s latin) latin { return latin(strings.Trim(string(s), " ")) }

// encode turns text into what the built-in fonts can show. A letter they lack
// becomes its base letter (Nguyễn is printed Nguyen), white space a blank, what
// has no shape nothing, and any other character a question mark, never a dot
// that could be taken for something meant.
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

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// stroked are letters whose stroke is part of the letter, so that Unicode does
// not decompose them.
var stroked = map[rune]string{
	'đ': "d", 'Đ': "D", 'ł': "l", 'Ł': "L", 'ħ': "h", 'Ħ': "H", 'ŧ': "t", 'Ŧ': "T",
	'ı': "i", 'ĸ': "k", 'ŋ': "n", 'Ŋ': "N", 'ƀ': "b", 'ɨ': "i", 'ə': "e", 'Ə': "E",
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
	if base, ok := stroked[r]; ok {
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

// upper capitalizes Windows-1252 text: its small letters stand 32 above their
// capitals, save for a few that have no partner there or another.
func upper(s latin) latin {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 0xE0 && c <= 0xFE && c != 0xF7:
			b[i] = c - 32
		case c == 0x9A || c == 0x9C || c == 0x9E: // š œ ž
			b[i] = c - 16
		case c == 0xFF: // ÿ
			b[i] = 0x9F
		}
	}
	return latin(b)
}

// ink is a color as the red, green and blue of a PDF.
type ink [3]uint8

var (
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

// page is one page as a PDF content stream in the making. Positions are points
// from the page's top left corner; a text's y is its baseline.
type page struct {
	*typefaces
	ops  []byte
	fill ink
}

func (p *page) text(f face, size, x, y float64, color ink, s latin) {
	if s == "" {
		return
	}
	p.setFill(color)
	p.ops = append(p.ops, "BT /"...)
	p.ops = append(append(p.ops, p.typefaces[f].resource...), ' ')
	p.numbers(size)
	p.ops = append(p.ops, "Tf "...)
	p.numbers(x, pageHeight-y)
	p.ops = append(p.ops, "Td ("...)
	for i := range len(s) {
		switch c := s[i]; c {
		case '(', ')', '\\':
			p.ops = append(p.ops, '\\', c)
		default:
			p.ops = append(p.ops, c)
		}
	}
	p.ops = append(p.ops, ") Tj ET\n"...)
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
	p.setFill(color)
	p.numbers(x, pageHeight-y-h, w, h)
	p.ops = append(p.ops, "re f\n"...)
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
	if c == p.fill {
		return
	}
	p.fill = c
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
