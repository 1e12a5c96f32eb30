package lockbox

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The part of a file by which it is recognized.
const (
	headBytes = 256 << 10
	tailBytes = 16 << 10
)

// FormatError says that a file is no lockbox file that any profile is for, and
// what it is instead if that can be told.
type FormatError struct {
	// Format is "bai2-cash", "x12", "x937", "csv", "nacha", "ebcdic", or "" for a
	// file that nothing is known about.
	Format string
	Said   string // how its first line begins
	Found  string // what it is, in a word or two
	Text   string
	Do     string // what to do about it
}

func (e *FormatError) Error() string { return "lockbox file: " + e.Text }

// Problem returns the error as a problem of the file.
func (e *FormatError) Problem() Problem {
	return Problem{Line: 1, Record: ofFileItself, Field: "format", Said: orBlank(e.Said), Found: e.Found, Problem: e.Text, Do: cmp.Or(e.Do, "ask the bank for its lockbox file: BAI, CSV or X12 823"), Refuses: RefusesFile}
}

// Recognize finds the profile among ps whose layout a file has, by its
// beginning and its end, and puts r back at its start. The format is told by
// the first bytes, or by a table's titles; then each layout of that format is
// tried. One that misreads every record of a type loses to one that misreads a
// few, which are damaged, and so on down to none; then the one whose sums agree
// wins, then the one that explains more of the columns, then the one that comes
// first in ps. So put a biller's own profiles first. A profile with origins is
// taken only for a file that names one of them, and then before all others: what
// it reads beyond them, such as a received date, must not be passed over.
//
// A file that foots by no profile is still given the likeliest one, whose
// reading then tells what is wrong; so is one for which a single profile is
// given, if it is of its format or the profile fits it. The error is a *FormatError for a file of
// another format.
func Recognize(r io.ReadSeeker, ps []Profile) (Profile, error) {
	ranked, err := contenders(r, ps)
	if err != nil {
		return Profile{}, err
	}
	return ranked[0], nil
}

// contenders ranks the profiles that a file may have, the likeliest first: of a
// file that was looked at whole that one alone.
func contenders(r io.ReadSeeker, ps []Profile) ([]Profile, error) {
	head, tail, whole, err := ends(r)
	if err != nil {
		return nil, fmt.Errorf("lockbox file: %w", err)
	}
	ranked, err := recognize(head, tail, whole, ps)
	if err == nil && whole {
		ranked = ranked[:1]
	}
	return ranked, err
}

// Inspect recognizes a file among ps and foots it. A file of another format is
// no error: its summary has the problem, the format, and nothing else.
func Inspect(r io.ReadSeeker, ps []Profile) (Summary, error) {
	ranked, err := contenders(r, ps)
	if unknown := (*FormatError)(nil); errors.As(err, &unknown) {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return Summary{}, fmt.Errorf("lockbox file: %w", err)
		}
		s := Summary{Format: unknown.Format, Problems: []Problem{unknown.Problem()}}
		h.Sum(s.SHA256[:0])
		return s, nil
	}
	if err != nil {
		return Summary{}, err
	}
	_, sum, err := footed(r, ranked, func(p Profile) (Summary, error) { return Read(r, p, nil) })
	return sum, err
}

// footed reads a file by the likeliest profile, or by the first of the others by
// which it foots: of a large file, only that tells some layouts apart.
func footed(r io.Seeker, ranked []Profile, read func(Profile) (Summary, error)) (Profile, Summary, error) {
	sum, err := read(ranked[0])
	if err != nil || sum.Foots() || sum.Balanced {
		return ranked[0], sum, err
	}
	for _, p := range ranked[1:] {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return p, sum, fmt.Errorf("lockbox file: %w", err)
		}
		if other, err := read(p); err != nil || other.Foots() {
			return p, other, err
		}
	}
	if len(ranked) == 1 {
		return ranked[0], sum, nil
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return ranked[0], sum, fmt.Errorf("lockbox file: %w", err)
	}
	sum, err = read(ranked[0]) // what it kept of the file is that of the last
	return ranked[0], sum, err
}

// ends reads the beginning and the end of r. whole says that the beginning is
// everything.
func ends(r io.ReadSeeker) (head, tail []byte, whole bool, err error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, nil, false, err
	}
	head, err = io.ReadAll(io.LimitReader(r, headBytes+1))
	if err != nil {
		return nil, nil, false, err
	}
	eol, width := lineEnd(head)
	bom := len(head) - len(bytes.TrimPrefix(head, []byte("\ufeff")))
	if len(head) <= headBytes {
		whole = true
	} else {
		size, err := r.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, nil, false, err
		}
		from := max(headBytes, size-tailBytes)
		if width > 0 {
			head = head[:len(head)-(len(head)-bom)%width]
			from += (int64(width) - (from-int64(bom))%int64(width)) % int64(width)
		} else if i := bytes.LastIndexByte(head, eol); i >= 0 {
			head = head[:i+1]
		}
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			return nil, nil, false, err
		}
		if tail, err = io.ReadAll(io.LimitReader(r, tailBytes)); err != nil {
			return nil, nil, false, err
		}
		if tail = inLines(tail, eol, width); width == 0 {
			tail = tail[bytes.IndexByte(tail, '\n')+1:]
		}
	}
	_, err = r.Seek(0, io.SeekStart)
	return inLines(head[bom:], eol, width), tail, whole, err
}

// inLines returns a piece of a file with line feeds at the ends of its lines.
func inLines(text []byte, eol byte, width int) []byte {
	switch {
	case width > 0:
		return slices.Concat(bytes.Join(slices.Collect(slices.Chunk(text, width)), []byte("\n")), []byte("\n"))
	case eol == '\r':
		return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
	}
	return text
}

func recognize(head, tail []byte, whole bool, ps []Profile) ([]Profile, error) {
	format, err := formatOf(head)
	if unknown := (*FormatError)(nil); errors.As(err, &unknown) && unknown.Format != "" {
		return nil, err // it is known to be something else
	}
	type fitting struct {
		fit
		profile Profile
	}
	var fits []fitting
	near, nearest := 0, -1 // the table whose header is most like the file's
	described := false     // some profile is of this format
	for i, p := range ps {
		// A table may begin as anything, and a profile that was named knows better.
		guessed := err == nil && p.format() == format
		if !guessed && p.format() != formatCSV && len(ps) > 1 {
			continue
		}
		described = described || guessed
		f, ok := tryProfile(p, head, tail, whole)
		if ok && (guessed || p.format() == formatCSV || p.format() == formatBAI && f.misshapen == 0) {
			fits = append(fits, fitting{f, p})
		}
		if !ok && guessed && f.titles > near {
			near, nearest = f.titles, i
		}
	}
	slices.SortStableFunc(fits, func(a, b fitting) int { return a.compare(b.fit) })
	var ranked []Profile
	for n, f := range fits {
		if n == 0 || f.ours == fits[0].ours {
			ranked = append(ranked, f.profile)
		}
	}
	switch {
	case len(ranked) > 0:
		return ranked, nil
	case err != nil:
		return nil, err
	case described && len(ps) == 1 && len(ps[0].Check()) == 0:
		return ps, nil
	case near >= 50:
		return ps[nearest : nearest+1], nil
	case !described:
		return nil, &FormatError{Format: format, Said: opening(head), Found: "no profile of format " + format,
			Text: "this is a file of format " + format + ", and no profile that it may have is of that format", Do: describeIt}
	}
	return nil, &FormatError{Format: format, Said: opening(head), Found: "no profile for it", Text: map[string]string{
		formatBAI: "this is a BAI lockbox file, but no profile is for the bank it names as its origin",
		formatCSV: "this is a CSV file, but no profile is for its columns: describe them in a profile of your own",
		formatX12: "this is an 823, but no profile is for the bank it names as its sender",
	}[format], Do: describeIt}
}

// describeIt is what to do about a file for which there is no profile.
const describeIt = "describe the bank's layout in a profile, beginning with one that is near (lockbox profiles)"

// fit is how well a profile suits a file; less is better.
type fit struct {
	ours      int // 0 if the profile names the file's origin, else 1
	wrong     int // of the records of some type, how many have one and the same thing wrong, in percent
	misshapen int // lines of the wrong shape
	unequal   int // sums that do not agree
	odd       int // lines of which something is told that refuses nothing
	strange   int // columns that the layout cannot explain, less those that it explains as dates

	titles int // of a table, how much of the profile's titles its header has, in percent
}

func (a fit) compare(b fit) int {
	return cmp.Or(cmp.Compare(a.ours, b.ours), cmp.Compare(a.wrong, b.wrong), cmp.Compare(a.misshapen, b.misshapen),
		cmp.Compare(a.unequal, b.unequal), cmp.Compare(a.odd, b.odd), cmp.Compare(a.strange, b.strange))
}

// weigh counts what a reading found wrong with the lines that it read.
func (f *fit) weigh(problems []Problem, lines []byte, bai bool) {
	records := map[string]int{}
	if bai {
		for line := range bytes.Lines(lines) {
			records[string(line[:1])]++
		}
	}
	type place struct{ record, field string }
	wrong := map[place]int{}
	for _, p := range problems {
		switch {
		case p.sort != shape && p.sort != stranger && p.sort != sums:
			continue
		case p.sort == sums:
			f.unequal++
		case p.Refuses == Note:
			f.odd++
		default:
			f.misshapen++
		}
		if p.Refuses != Note && records[p.Record] > 0 {
			at := place{p.Record, p.Field}
			wrong[at]++
			f.wrong = max(f.wrong, min(100, 100*wrong[at]/records[p.Record]))
		}
	}
}

func tryProfile(p Profile, head, tail []byte, whole bool) (fit, bool) {
	if len(p.Check()) > 0 {
		return fit{}, false
	}
	p.Stated = nil
	f, sum, ok := tryFormat(p, head)
	if !ok {
		return f, false
	}
	f.ours = 1
	if len(p.Origins) > 0 {
		for _, origin := range p.Origins {
			if origin == sum.Origin {
				f.ours = 0
			}
		}
		if f.ours == 1 {
			return fit{}, false
		}
	}
	f.weigh(sum.Problems, head, p.format() == formatBAI)
	if !whole && p.format() == formatBAI {
		// Of the end, the shape of the totals can be judged, not their sums.
		var totals []byte
		for line := range bytes.Lines(tail) {
			if line[0] == '8' || line[0] == '7' {
				totals = append(totals, line...)
			}
		}
		end := newReader(bytes.NewReader(totals), p, nil)
		sum, err := end.run()
		if err != nil {
			return fit{}, false
		}
		f.weigh(slices.DeleteFunc(sum.Problems, func(p Problem) bool { return p.sort != shape }), totals, true)
		f.strange += end.plan.strange(totals)
	}
	return f, true
}

// tryFormat reads the beginning of a file by a profile. A table of a header
// that the profile does not know is none of its files.
func tryFormat(p Profile, head []byte) (f fit, sum Summary, ok bool) {
	var err error
	switch p.format() {
	case formatX12:
		sum, err = newX12Reader(bytes.NewReader(head), p, nil).run()
	case formatCSV:
		rd := newCSVReader(bytes.NewReader(head), p, nil)
		sum, err = rd.run()
		f.titles = rd.known
		if rd.rows() {
			return f, sum, err == nil && rd.suits
		}
		return f, sum, err == nil && rd.known == 100
	default:
		rd := newReader(bytes.NewReader(head), p, nil)
		sum, err = rd.run()
		f.strange = rd.plan.strange(head)
	}
	return f, sum, err == nil
}

// strange counts the columns of checks and totals that no field of the layout
// covers though something is written there, and takes off the dates that can be
// read: what a wrong layout leaves over, a right one explains.
func (pl *plan) strange(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		line = trim(line)
		if len(line) == 0 || (line[0] != '6' && line[0] != '7' && line[0] != '8') {
			continue
		}
		covered := pl.covered[line[0]-'0']
		for i, c := range line {
			if c != ' ' && (i >= len(covered) || !covered[i]) {
				n++
			}
		}
		for _, f := range []field{fDepositDate, fReceivedDate, fCheckDate, fPostmarkDate} {
			if s := pl.spans[line[0]-'0'][f]; s.to > 0 {
				if _, _, _, got := s.ymd(line, pl.pivot); got == good {
					n -= s.width()
				}
			}
		}
	}
	return n
}

// formatOf tells the format of a lockbox file by its beginning, damaged or not,
// or what else a bank may have sent.
func formatOf(head []byte) (string, error) {
	other := func(format, text, do string) (string, error) {
		return "", &FormatError{Format: format, Said: opening(head), Found: cmp.Or(format, "no lockbox file"), Text: text, Do: do}
	}
	if len(head) >= 6 {
		length, kind := binary.BigEndian.Uint32(head), string(head[4:6])
		if length >= 80 && length < 1000 && (kind == "01" || kind == "\xf0\xf1") {
			return other("x937", "this is an X9.37 file of check images, which are not taken in", "")
		}
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.begins)) || f.begins[0] == '<' && begins(string(bytes.TrimLeft(head[:min(len(head), 64)], "\ufeff\r\n\t ")), f.begins) {
			return other(f.format, f.text, f.do)
		}
	}
	text := bytes.TrimPrefix(head, []byte("\ufeff"))
	text = bytes.TrimLeft(text, "\r\n\t \x00\x1a")
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if first, _, _ = bytes.Cut(first, []byte("\r")); len(trim(first)) == 0 {
		return other("", "the file has nothing in it", "")
	}
	first = trim(first)
	separators := separatorsIn(first)
	likeBAI := first[0] >= '1' && first[0] <= '9' && len(first) >= 6 && allDigits(first[1:3])
	switch {
	case bytes.HasPrefix(first, []byte("01,")):
		return other("bai2-cash", "this is a BAI2 cash management report (balances), not a lockbox file", "")
	case len(first) > 39 && bytes.HasPrefix(first, []byte("101")) && string(first[34:39]) == "09410":
		return other("nacha", "this is a Nacha ACH file, not a lockbox file", "take it in with ach ingest")
	case inEBCDIC(first):
		return other("ebcdic", "this file is in EBCDIC, as mainframes write", "have it sent as ASCII, or convert it: iconv -f IBM037 -t UTF-8")
	case bytes.HasPrefix(first, []byte("ISA")) || len(first) > 2 && !isLetterOrDigit(first[2]) && (first[0] == 'G' || first[0] == 'S') && (first[1] == 'S' || first[1] == 'T'):
		if set := setOf(text); set != "" && set != "823" {
			return other("x12", "this is an X12 file of another kind ("+set+"); a lockbox is an 823", "")
		}
		return formatX12, nil
	case separators >= 3 || bytes.HasPrefix(first, []byte(`"`)) || separators == 2 && !likeBAI:
		return formatCSV, nil
	case likeBAI:
		return formatBAI, nil
	}
	for range 20 { // a table may have a title above it
		if first, text, _ = bytes.Cut(text, []byte("\n")); separatorsIn(first) >= 3 {
			return formatCSV, nil
		}
	}
	return other("", "this is no lockbox file: a BAI file begins with a record 1, a digit 1 and two more digits", "")
}

// foreign are files of other kinds that banks and mail programs make of a
// lockbox file, by how they begin.
var foreign = []struct{ begins, format, text, do string }{
	{"PK\x03\x04", "zip", "this is a ZIP archive or a spreadsheet", "unpack it, or save the spreadsheet as CSV"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls", "this is an old spreadsheet or another document of an office program", "save the spreadsheet as CSV"},
	{"\x1f\x8b", "gzip", "this file is compressed (gzip)", "unpack it"},
	{"-----BEGIN PGP", "pgp", "this file is encrypted (OpenPGP)", "decrypt it"},
	{"%PDF", "pdf", "this is a PDF for people", ""},
	{"\xff\xfe", "utf-16", "this file is in UTF-16, as some spreadsheets write", "save it as UTF-8"},
	{"\xfe\xff", "utf-16", "this file is in UTF-16, as some spreadsheets write", "save it as UTF-8"},
	{"<!DOCTYPE html", "html", "this is a web page: it may say why the bank did not give the file", "look at it in a browser, and fetch the file again"},
	{"<html", "html", "this is a web page: it may say why the bank did not give the file", "look at it in a browser, and fetch the file again"},
	{"<?xml", "xml", "this is XML, which no lockbox file is", ""},
}

// separatorsIn counts what may stand between the cells of a row.
func separatorsIn(row []byte) (most int) {
	for _, c := range []byte(",;|\t") {
		most = max(most, bytes.Count(row, []byte{c}))
	}
	return most
}

// setOf returns the kind of the first transaction set of an X12 file, "" if it
// cannot be told.
func setOf(head []byte) string {
	d, ok := delimitersOf(head)
	if !ok {
		return ""
	}
	for segment := range bytes.SplitSeq(head, []byte{d.terminator}) {
		elements := bytes.Split(bytes.TrimLeft(unwrapped(segment), " \t"), []byte{d.element})
		if string(elements[0]) == "ST" && len(elements) > 1 {
			return show(elements[1])
		}
	}
	return ""
}

// inEBCDIC says whether text begins with digits or ISA as a mainframe has them.
func inEBCDIC(text []byte) bool {
	if bytes.HasPrefix(text, []byte("\xc9\xe2\xc1")) {
		return true
	}
	for _, c := range text[:min(3, len(text))] {
		if c < 0xf0 || c > 0xf9 {
			return false
		}
	}
	return len(text) >= 3
}

// opening returns the first few characters of a file, enough to know it by and
// too few to give anything away.
func opening(head []byte) string {
	s := show(head[:min(len(head), 6)])
	return strings.TrimSpace(s)
}
