package statements

import (
	"fmt"
	"math/bits"
	"strings"
)

// The Intelligent Mail barcode of the U.S. Postal Service (USPS-B-3200): 31
// digits at most in 65 bars, of which each is full, ascender, descender or
// tracker. What is printed above an address is made here; the tables follow
// from the rules of the specification, but for the one of where each bar's
// halves come from, which is written out as it stands there.

const (
	imbBars        = 65
	trackingDigits = 20
)

// EncodeIMb returns the 65 bars, as letters A D F T, of a tracking code (20
// digits: barcode identifier, service type, mailer and serial number) and a
// routing code (the ZIP code: no digits, 5, 9 or 11). The error says which of
// the two is wrong, and where.
func EncodeIMb(tracking, routing string) (string, error) {
	bars, err := AppendIMb(nil, tracking, routing)
	return string(bars), err
}

// AppendIMb is EncodeIMb for those who encode millions: it appends the bars to
// dst and makes no garbage.
func AppendIMb(dst []byte, tracking, routing string) ([]byte, error) {
	if err := checkIMb(tracking, routing); err != nil {
		return dst, err
	}
	n := imbNumber(tracking, routing)
	frame := n.frameCheck()

	// Ten codewords, the last digit of a number in mixed bases first.
	var words [10]uint64
	n, words[9] = n.over(636)
	for i := 8; i > 0; i-- {
		n, words[i] = n.over(1365)
	}
	words[0] = n.low
	words[9] *= 2 // tells upside down from upright
	words[0] += 659 * (frame >> 10)

	var characters [10]uint16
	for i, w := range words {
		characters[i] = imbCharacters[w]
		if frame>>i&1 == 1 {
			characters[i] ^= 1<<13 - 1
		}
	}
	for _, h := range imbHalves {
		down, up := characters[h.down]>>h.downBit&1, characters[h.up]>>h.upBit&1
		dst = append(dst, "TADF"[down<<1|up])
	}
	return dst, nil
}

// checkIMb says what is wrong with the digits of a barcode.
func checkIMb(tracking, routing string) error {
	if len(tracking) != trackingDigits {
		return fmt.Errorf("the tracking code has %d characters, want %d digits", len(tracking), trackingDigits)
	}
	if at := notDigit(tracking); at >= 0 {
		return fmt.Errorf("the tracking code has %q in place %d, want a digit", runeAt(tracking, at), at+1)
	}
	if tracking[1] > '4' {
		return fmt.Errorf("the tracking code's second digit is %c, want 0 to 4", tracking[1])
	}
	switch len(routing) {
	case 0, 5, 9, 11:
	default:
		return fmt.Errorf("the routing code has %d characters, want none, 5, 9 or 11 digits", len(routing))
	}
	if at := notDigit(routing); at >= 0 {
		return fmt.Errorf("the routing code has %q in place %d, want a digit", runeAt(routing, at), at+1)
	}
	return nil
}

func notDigit(s string) int {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func runeAt(s string, at int) rune {
	for _, r := range s[at:] {
		return r
	}
	return 0
}

// wide is a number of up to 128 bits; a barcode's has 102.
type wide struct{ high, low uint64 }

// imbNumber makes one number of both codes. Routing codes of each length begin
// where the shorter ones end, so that 00000 and nothing are not the same.
func imbNumber(tracking, routing string) (n wide) {
	for _, d := range []byte(routing) {
		n = n.times(10, d)
	}
	switch len(routing) {
	case 5:
		n.low += 1
	case 9:
		n.low += 1 + 1e5
	case 11:
		n.low += 1 + 1e5 + 1e9
	}
	n = n.times(10, tracking[0])
	n = n.times(5, tracking[1])
	for _, d := range []byte(tracking[2:]) {
		n = n.times(10, d)
	}
	return n
}

// times multiplies by a base and adds a digit.
func (n wide) times(base uint64, digit byte) wide {
	carry, low := bits.Mul64(n.low, base)
	low, over := bits.Add64(low, uint64(digit-'0'), 0)
	return wide{n.high*base + carry + over, low}
}

// over divides, and returns what is left too.
func (n wide) over(by uint64) (wide, uint64) {
	high, left := n.high/by, n.high%by
	low, left := bits.Div64(left, n.low, by)
	return wide{high, low}, left
}

// frameCheck is a cyclic redundancy check of 11 bits over the 102 of n.
func (n wide) frameCheck() uint64 {
	const generator, size = 0xF35, 11
	frame := uint64(1<<size - 1)
	for i := 101; i >= 0; i-- {
		bit := n.low >> i & 1
		if i >= 64 {
			bit = n.high >> (i - 64) & 1
		}
		frame = frame<<1 ^ (frame>>(size-1)^bit)&1*generator
	}
	return frame & (1<<size - 1)
}

// imbCharacters are the 13 bits of each codeword: first all those with five
// bits set, then all those with two.
var imbCharacters = append(nOf13(5, 1287), nOf13(2, 78)...)

// nOf13 lists the numbers of 13 bits of which n are set: at the front, rising,
// each followed by its mirror image, and from the end those that are their own.
func nOf13(n, size int) []uint16 {
	all := make([]uint16, size)
	front, end := 0, size
	for c := range uint16(1 << 13) {
		mirror := bits.Reverse16(c) >> 3
		switch {
		case bits.OnesCount16(c) != n || mirror < c:
		case mirror == c:
			end--
			all[end] = c
		default:
			all[front], all[front+1] = c, mirror
			front += 2
		}
	}
	return all
}

// imbHalf says which bit of which character sets a bar's lower half, and which
// its upper one.
type imbHalf struct{ down, downBit, up, upBit uint8 }

// imbHalves is table "bar to character mapping" of USPS-B-3200: of each bar the
// descender's character A to J and bit, then the ascender's.
var imbHalves = readHalves(`
	H2E3 B10A0 J12C8 F5G11 I9D1 A1F12 C5B8 E4J11 G3I10 D9H6 F11B4 I5C12 J10A2
	H1G7 D6E9 A3I6 G4C7 B1J9 H10F2 E0D8 G2A4 I11B0 J8D12 C6H7 F1E10 B12G9
	H3I0 F8J7 E6C10 D4A5 I4F7 H11B9 G0J6 A6E8 C1D2 F9I12 E11G1 J5H4 D3B2
	A7C0 B3E1 G10D5 I7J4 C11F6 A8H12 E2I1 F10D0 J3A9 G5C4 H8B7 F0E5 C3A10
	G12J2 D11B6 I8H9 F4A11 B5C2 J1E12 I3G6 H0D7 E7H5 A12B11 C9J0 G8F3 D10I2`)

func readHalves(table string) (all [imbBars]imbHalf) {
	for i, bar := range strings.Fields(table) {
		var down, up byte
		if _, err := fmt.Sscanf(bar, "%c%d%c%d", &down, &all[i].downBit, &up, &all[i].upBit); err != nil {
			panic("statements: the table of the Intelligent Mail barcode: " + bar)
		}
		all[i].down, all[i].up = down-'A', up-'A'
	}
	return all
}
