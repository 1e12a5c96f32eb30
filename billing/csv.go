package billing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// CSV as RFC 4180 has it, but line by line: a field may be quoted, and may not
// run over the end of its line. So a quote that is never closed spoils its own
// line only, every bad line can be named by its number, and no file, however
// hostile, is read into memory whole.

const maxLine = 64 << 10 // bytes

// layout is what a feed's header must hold and may hold.
type layout struct {
	required, optional []string
	quiet              bool // its values are secret: problems don't repeat them
}

// csvFile is a feed being read.
type csvFile struct {
	in       *bufio.Reader
	line     int
	columns  []string
	at       map[string]int // column to its place
	quiet    bool
	problems []Problem // with the header: the file can't be read
}

// row is one line under the header, and what is wrong with it.
type row struct {
	*csvFile
	line     int
	cells    []string
	problems []Problem
}

// openCSV reads the header. An error is the reader's own; what is wrong with
// the file is in problems.
func openCSV(from io.Reader, l layout) (*csvFile, error) {
	f := &csvFile{in: bufio.NewReaderSize(from, maxLine), at: map[string]int{}, quiet: l.quiet}
	bad := func(field, format string, args ...any) {
		f.problems = append(f.problems, Problem{max(f.line, 1), field, fmt.Sprintf(format, args...)})
	}
	start, err := f.in.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte{0xFF, 0xFE}) || bytes.HasPrefix(start, []byte{0xFE, 0xFF}) {
		bad("", "the file is UTF-16; a feed is UTF-8")
		return f, nil
	}
	if bytes.Equal(start, []byte("\uFEFF")) { // as spreadsheets write it
		f.in.Discard(3)
	}
	header, err := f.next()
	switch {
	case err != nil:
		return nil, err
	case header == nil:
		f.line = 1
		bad("", "the file is empty; its first line must name the columns: %s", strings.Join(l.required, ", "))
		return f, nil
	case len(header.problems) > 0:
		f.problems = header.problems
		return f, nil
	}
	for i, name := range header.cells {
		if _, twice := f.at[name]; twice {
			bad(name, "the header names this column twice")
		} else if !slices.Contains(l.required, name) && !slices.Contains(l.optional, name) {
			bad(abridged(name), "the header names a column that this feed doesn't have; its columns are %s", strings.Join(slices.Concat(l.required, l.optional), ", "))
		}
		f.at[name] = i
	}
	for _, name := range l.required {
		if _, ok := f.at[name]; !ok {
			bad(name, "the header lacks this column")
		}
	}
	f.columns = header.cells
	return f, nil
}

// next returns the next line that is not blank, nil at the end of the file.
func (f *csvFile) next() (*row, error) {
	for {
		text, whole, err := f.readLine()
		if err != nil || text == nil {
			return nil, err
		}
		r := &row{csvFile: f, line: f.line}
		switch {
		case !whole:
			r.refuse("", "the line is longer than %d bytes", maxLine)
			return r, nil
		case len(bytes.TrimSpace(text)) == 0:
			continue
		}
		if what := firstBadByte(text); what != "" {
			r.refuse("", "%s", what)
			return r, nil
		}
		r.split(string(text))
		return r, nil
	}
}

// readLine returns a line without its end, nil at the end of the file. Of a
// line that is too long it returns the start, and false.
func (f *csvFile) readLine() (text []byte, whole bool, err error) {
	text, err = f.in.ReadSlice('\n')
	f.line++
	switch {
	case err == nil:
		return bytes.TrimSuffix(text[:len(text)-1], []byte("\r")), true, nil
	case err == io.EOF && len(text) == 0:
		return nil, true, nil
	case err == io.EOF:
		return bytes.TrimSuffix(text, []byte("\r")), true, nil
	case !errors.Is(err, bufio.ErrBufferFull):
		return nil, false, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = f.in.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	return []byte{}, false, nil
}

// firstBadByte says what a line holds that text doesn't: other encodings,
// control characters, marks that turn the direction of what is printed.
func firstBadByte(line []byte) string {
	for i := 0; i < len(line); {
		c := line[i]
		if c >= ' ' && c < 0x7F {
			i++
			continue
		}
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return fmt.Sprintf("byte %d is %#02x, which is not UTF-8; write the file as UTF-8", i+1, c)
		case r == 0:
			return fmt.Sprintf("byte %d is NUL; a feed is plain UTF-8 text", i+1)
		case unicode.IsControl(r), r >= 0x2028 && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0xFEFF:
			return fmt.Sprintf("byte %d begins the control character %U", i+1, r)
		}
		i += size
	}
	return ""
}

// split takes a line apart into its cells, without blanks around them.
func (r *row) split(text string) {
	r.cells = make([]string, 0, max(len(r.columns), 8))
	for more := true; more; {
		var cell string
		if strings.HasPrefix(text, `"`) {
			end := closingQuote(text)
			switch {
			case end < 0:
				r.refuse(r.column(len(r.cells)), "the quote that opens this field is not closed on its line; a field can't hold a line break (was the file cut off?)")
				return
			case end+1 < len(text) && text[end+1] != ',':
				r.refuse(r.column(len(r.cells)), "something stands between the closing quote and the comma; a quote inside a quoted field is written twice")
				return
			}
			cell = strings.ReplaceAll(text[1:end], `""`, `"`)
			_, text, more = strings.Cut(text[end:], ",")
		} else {
			cell, text, more = strings.Cut(text, ",")
			if strings.Contains(cell, `"`) {
				r.refuse(r.column(len(r.cells)), "a quote stands inside a field that doesn't begin with one")
				return
			}
		}
		r.cells = append(r.cells, strings.TrimSpace(cell))
	}
	if r.columns != nil && len(r.cells) != len(r.columns) {
		r.refuse("", "the line has %d fields, the header has %d (was the file cut off, or does a field hold a comma without quotes?)", len(r.cells), len(r.columns))
	}
}

// closingQuote returns where the quoted field that text begins with ends, -1
// if it doesn't.
func closingQuote(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] == '"' {
			if i+1 == len(text) || text[i+1] != '"' {
				return i
			}
			i++
		}
	}
	return -1
}

// column returns the name of the nth column, "" past the last.
func (f *csvFile) column(n int) string {
	if n < len(f.columns) {
		return f.columns[n]
	}
	return ""
}

// refuse says what is wrong with the row.
func (r *row) refuse(field, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.line, field, fmt.Sprintf(format, args...)})
}

// said quotes a value for a problem; of a feed with secrets, nothing.
func (r *row) said(value string) string {
	if r.quiet {
		return "the value"
	}
	return strconv.Quote(abridged(value))
}

// cell returns a field as it stands, "" if its column is not in the file.
func (r *row) cell(column string) string {
	if i, ok := r.at[column]; ok {
		return r.cells[i]
	}
	return ""
}

// text returns a field of at most that many characters.
func (r *row) text(column string, most int) string {
	s := r.cell(column)
	if len(s) > most && utf8.RuneCountInString(s) > most {
		r.refuse(column, "%s has %d characters; %d are the most", r.said(s), utf8.RuneCountInString(s), most)
	}
	return s
}

// must is text that may not be empty.
func (r *row) must(column string, most int) string {
	s := r.text(column, most)
	if s == "" {
		r.refuse(column, "is empty")
	}
	return s
}

// mrn returns an MRN whose check digit is right.
func (r *row) mrn(column string) string {
	s := r.cell(column)
	if _, err := ParseMRN(s); s == "" {
		r.refuse(column, "is empty")
	} else if err != nil && r.quiet {
		r.refuse(column, "is not an MRN: ten digits, the last a check digit")
	} else if err != nil {
		r.refuse(column, "%v", err)
	}
	return s
}

// oneOf returns a field that must be one of some words.
func (r *row) oneOf(column string, words ...string) string {
	s := r.cell(column)
	if !slices.Contains(words, s) {
		r.refuse(column, "%s is not one of %s", r.said(s), strings.Join(words, ", "))
	}
	return s
}

// maxFieldCents bounds one amount, so that sums of millions of them fit.
const maxFieldCents = 100_000_000_000

// cents returns an amount: whole cents, a minus sign only where it may be
// negative. An empty field is refused.
func (r *row) cents(column string, negative bool) ledger.Cents {
	s := r.cell(column)
	digits := s
	if negative {
		digits = strings.TrimPrefix(s, "-")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s == "":
		r.refuse(column, "is empty; it must be an amount in whole cents")
	case strings.HasPrefix(s, "-") && !negative && firstNonDigit(s[1:]) < 0:
		r.refuse(column, "%s is negative, which this amount can't be", r.said(s))
	case digits == "" || firstNonDigit(digits) >= 0:
		r.refuse(column, "%s is not an amount in whole cents: digits only, as 1250 for $12.50", r.said(s))
	case err != nil || n > maxFieldCents || n < -maxFieldCents:
		r.refuse(column, "%s cents are more than the %s that one amount may be", r.said(s), ledger.Cents(maxFieldCents))
	default:
		return ledger.Cents(n)
	}
	return 0
}

var earliest, latest = calendar.Of(1900, 1, 1), calendar.Of(2199, 12, 31)

// date returns a date, 0 if the field is empty.
func (r *row) date(column string) calendar.Date {
	s := r.cell(column)
	if s == "" {
		return 0
	}
	d, err := calendar.Parse(s)
	switch {
	case err != nil:
		r.refuse(column, "%s is not a date of the form YYYY-MM-DD", r.said(s))
	case d < earliest || d > latest:
		r.refuse(column, "%s is not a plausible date: %s to %s are", r.said(s), earliest, latest)
	}
	return d
}

// mustDate is a date that may not be empty.
func (r *row) mustDate(column string) calendar.Date {
	if r.cell(column) == "" {
		r.refuse(column, "is empty; it must be a date of the form YYYY-MM-DD")
	}
	return r.date(column)
}
