package statements

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/datamatrix"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// Piece is a statement in an envelope: mailed again, the statement is another
// piece. Its number is on every sheet, and the serial number of its barcode
// follows from it.
type Piece struct {
	ID        int64
	Account   int64
	Cycle     calendar.Cycle
	Place     int // in its bundle, from 1
	FirstPage int
	Pages     int // blank backs included
	Sheets    int
	ZIP       string // digits: none, 5, 9 or 11
	Tracking  string // 20 digits, "" without a mailer
	Of        int64  // the piece that this one replaces, 0 for the first
	SHA256    []byte // of what was sealed of the statement
}

// zipDigits returns the digits of a ZIP code: 5, 9 or 11 of them, none if it is
// no ZIP code.
func zipDigits(zip string) string {
	var out []byte
	for _, r := range zip {
		switch {
		case r >= '0' && r <= '9':
			out = append(out, byte(r))
		case r != '-' && r != ' ':
			return ""
		}
	}
	switch len(out) {
	case 5, 9, 11:
		return string(out)
	}
	return ""
}

// trackingOf numbers a piece for the Postal Service: barcode identifier, service
// type, mailer, and as much of the piece's number as there is room for. Six
// digits of a mailer leave room for a thousand million pieces, nine for a
// million; a number may come again after 45 days.
func trackingOf(p billing.PrintPolicy, piece int64) string {
	switch len(p.MailerID) {
	case 6:
		return fmt.Sprintf("%s%s%s%09d", p.BarcodeID, p.ServiceType, p.MailerID, piece%1e9)
	case 9:
		return fmt.Sprintf("%s%s%s%06d", p.BarcodeID, p.ServiceType, p.MailerID, piece%1e6)
	}
	return ""
}

// markText is what the inserter reads on a sheet: the piece's number, the sheet
// and how many there are.
func markText(piece int64, sheet, sheets int) string {
	return fmt.Sprintf("%012d%02d%02d", piece%1e12, sheet%100, sheets%100)
}

// MarksOf are the barcode of a piece, if it has a tracking code, and the marks
// of its sheets.
func MarksOf(piece int64, tracking, zip string, sheets int) (m Marks, err error) {
	if tracking != "" {
		if m.IMb, err = EncodeIMb(tracking, zip); err != nil {
			return m, err
		}
	}
	for n := range sheets {
		matrix, err := dataMatrix(markText(piece, n+1, sheets))
		if err != nil {
			return m, err
		}
		m.Sheets = append(m.Sheets, matrix)
	}
	return m, nil
}

func dataMatrix(text string) (Matrix, error) {
	code, err := datamatrix.Encode(text)
	if err != nil {
		return Matrix{}, fmt.Errorf("the mark %s: %w", text, err)
	}
	size := code.Bounds().Dx()
	m := Matrix{Size: size, Dark: make([]bool, size*size)}
	for y := range size {
		for x := range size {
			m.Dark[y*size+x] = code.At(x, y) == color.Black
		}
	}
	return m, nil
}

// insertsOf is the insert set of a statement: what goes to everybody, and the
// return envelope where a check is asked for.
func insertsOf(p billing.PrintPolicy, s *Statement) string {
	set := p.Inserts
	if s.Ask() == Pay {
		set = append([]string{"reply"}, set...)
	}
	return strings.Join(set, "+")
}
