package ach

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	recordLength = 94
	maxProblems  = 1000 // listed; a hostile file may hold one a line
	// maxSecondReading is how many records the library is given to read as
	// well: it keeps all of them in memory, so a giant file is footed here only.
	maxSecondReading = 250_000
)

var nines = strings.Repeat("9", recordLength)

// scan reads a Nacha file from anywhere, record by record: it foots every
// batch and the file, and hands over each entry with its addenda. It accepts
// lines ended by LF, CR LF or CR and records without line ends, and goes on
// after a bad record, so that all that is wrong is named, not only the first.
type scan struct {
	onEntry func(*batchSeen, *entrySeen) // may be nil

	problems []Problem // wrong: a figure, a count, the form
	notes    []Problem // unusual but harmless, as banks are known to send it
	omitted  int       // problems beyond maxProblems
	soft     []Problem // of the file header: notes in a file of answers, else problems

	header  string // the file header's 94 characters
	control string
	batch   *batchSeen // the open one
	entry   *entrySeen // the last one, whose addenda may follow

	records, padding int
	lastLine         int
	lastNumber       int64 // of a batch
	traces           map[string]int

	// Sums of the file, as read from its entries.
	batches, entries, addenda int
	prenotes, reversals       int
	forward, answers          int // entries without and with an addenda 98 or 99
	debit, credit, hash       int64

	second      bytes.Buffer // the records again, 94 clean characters and LF each, for the library
	secondLines []int        // their lines here
}

// batchSeen is a batch as it is being read.
type batchSeen struct {
	line                int
	text                string // its header, or "" where there was none
	sec, odfi, number   string
	iat, adv            bool
	entries, records    int
	forward             int
	hash, debit, credit int64
	lastTrace           string
	soft                []Problem
	service, company    string
}

// entrySeen is a record 6 with its addenda.
type entrySeen struct {
	line    int
	text    string
	code    string // transaction code
	cents   int64
	trace   string
	addenda []addendaSeen
}

type addendaSeen struct {
	line int
	text string
}

// kind returns the addenda's type code: 98 is a correction, 99 a return.
func (a addendaSeen) kind() string { return col(a.text, 2, 3) }

// answer says whether an entry is a return or a notification of change.
func (e *entrySeen) answer() bool {
	for _, a := range e.addenda {
		if k := a.kind(); k == "98" || k == "99" {
			return true
		}
	}
	return false
}

// col returns the columns from to to of a record, counted from 1 as in Nacha's
// own tables.
func col(record string, from, to int) string { return record[from-1 : to] }

// number reads a field of digits only.
func number(field string) (n int64, ok bool) {
	if !allDigits(field) {
		return 0, false
	}
	for i := 0; i < len(field); i++ {
		n = n*10 + int64(field[i]-'0')
	}
	return n, true
}

func (s *scan) problem(p Problem) {
	if len(s.problems) >= maxProblems {
		s.omitted++
		return
	}
	s.problems = append(s.problems, p)
}

func (s *scan) note(p Problem) {
	if len(s.notes) < maxProblems {
		s.notes = append(s.notes, p)
	}
}

// read scans the whole input. The error is the reader's own; what is wrong
// with the file is in problems.
func (s *scan) read(r io.Reader) error {
	s.traces = map[string]int{}
	in := bufio.NewReaderSize(r, 1<<16)
	if mark, _ := in.Peek(3); string(mark) == "\xef\xbb\xbf" {
		in.Discard(3)
		s.note(Problem{Line: 1, Problem: "the file begins with a byte order mark, which was skipped"})
	}
	next := s.lines
	if unbroken(in) {
		next = s.blocks
	}
	if err := next(in); err != nil {
		return err
	}
	s.finish()
	return nil
}

// unbroken says whether the records follow each other without line ends: the
// first comes after several whole records, or not at all.
func unbroken(in *bufio.Reader) bool {
	head, _ := in.Peek(1 << 15)
	if end := bytes.IndexAny(head, "\r\n"); end >= 0 {
		return end > recordLength && end%recordLength == 0
	}
	return len(head) > recordLength
}

// lines reads records that are lines.
func (s *scan) lines(in *bufio.Reader) error {
	const most = 1 << 15 // of a line; what a longer one goes on with is skipped
	skipping := false
	split := func(data []byte, atEOF bool) (int, []byte, error) {
		end := bytes.IndexAny(data, "\r\n")
		switch {
		case end < 0 && len(data) >= most:
			if skipping {
				return len(data), nil, nil
			}
			skipping = true
			return len(data), data, nil
		case end < 0 && atEOF && len(data) > 0 && !skipping:
			return len(data), data, nil
		case end < 0 && atEOF:
			return len(data), nil, nil
		case end < 0 || data[end] == '\r' && end+1 == len(data) && !atEOF:
			return 0, nil, nil // more is needed to tell
		}
		next := end + 1
		if data[end] == '\r' && next < len(data) && data[next] == '\n' {
			next++
		}
		if skipping {
			skipping = false
			return next, nil, nil
		}
		return next, data[:end], nil
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 2*most), 2*most)
	lines.Split(split)
	line := 0
	for lines.Scan() {
		line++
		s.line(line, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	return nil
}

// blocks reads records of 94 characters without line ends between them; a line
// end after a block of several is skipped. Lines are then counted by record.
func (s *scan) blocks(in *bufio.Reader) error {
	buf := make([]byte, recordLength)
	for line := 1; ; line++ {
		n := 0
		for n < recordLength {
			c, err := in.ReadByte()
			if err == io.EOF {
				break
			}
			if err != nil {
				return fmt.Errorf("record %d: %w", line, err)
			}
			if n == 0 && (c == '\n' || c == '\r') {
				continue
			}
			buf[n] = c
			n++
		}
		if n > 0 {
			s.line(line, buf[:n])
		}
		if n < recordLength {
			return nil
		}
	}
}

// line makes a record of 94 ASCII characters of what stands on a line, says
// where it was none, and passes it on.
func (s *scan) line(line int, raw []byte) {
	s.lastLine = line
	if len(bytes.TrimSpace(raw)) == 0 {
		s.blank(line)
		return
	}
	if len(raw) == 1 && raw[0] == 0x1a {
		s.note(Problem{Line: line, Problem: "an end-of-file mark (Ctrl-Z) was skipped"})
		return
	}
	name := recordName(raw[0])
	text, foreign := ascii(raw)
	if foreign > 0 {
		s.problem(Problem{Line: line, Record: name, Found: fmt.Sprintf("%d such characters", foreign), Problem: "characters outside printable ASCII; a Nacha file has none"})
	}
	if n := len(text); n != recordLength {
		p := Problem{Line: line, Record: name, Said: fmt.Sprint(recordLength), Found: fmt.Sprint(n)}
		full := text + strings.Repeat(" ", max(0, recordLength-n))
		switch {
		case n > recordLength && strings.TrimRight(text[recordLength:], " ") == "":
			p.Problem = "blanks after the 94 characters of the record were dropped"
			s.note(p)
		case n > recordLength:
			p.Problem = "the record is longer than 94 characters; the rest was not read"
			s.problem(p)
		case raw[0] == '1' && n >= 40 || raw[0] == '9' && n >= 55:
			p.Problem = "the record is short; what is missing can only be blanks"
			s.note(p)
		default:
			p.Problem = "the record is cut short; ask for the file again"
			s.problem(p)
		}
		text = full[:recordLength]
	}
	s.record(line, name, text)
}

func (s *scan) blank(line int) {
	p := Problem{Line: line, Problem: "a blank line"}
	if s.control != "" || s.records == 0 {
		s.note(p)
		return
	}
	s.problem(p)
}

// ascii returns a line's characters, with a ? in place of each that is not
// printable ASCII, and how many those were. Where the bytes are UTF-8 and as
// characters make up a record, a ? stands for one character, so that columns
// stay where they were.
func ascii(raw []byte) (text string, foreign int) {
	clean := true
	for _, c := range raw {
		clean = clean && c >= ' ' && c <= '~'
	}
	if clean {
		return string(raw), 0
	}
	out := make([]byte, 0, len(raw))
	if utf8.Valid(raw) && utf8.RuneCount(raw) == recordLength {
		for _, r := range string(raw) {
			if r < ' ' || r > '~' {
				r, foreign = '?', foreign+1
			}
			out = append(out, byte(r))
		}
		return string(out), foreign
	}
	for _, c := range raw {
		if c < ' ' || c > '~' {
			c, foreign = '?', foreign+1
		}
		out = append(out, c)
	}
	return string(out), foreign
}

func recordName(kind byte) string {
	switch kind {
	case '1':
		return "file header"
	case '5':
		return "batch header"
	case '6':
		return "entry"
	case '7':
		return "addenda"
	case '8':
		return "batch control"
	case '9':
		return "file control"
	}
	return "record"
}

// record takes in one record.
func (s *scan) record(line int, name, text string) {
	s.records++
	if text == nines {
		s.padding++
		if s.control == "" {
			s.problem(Problem{Line: line, Record: "padding", Problem: "nines before the file control"})
		}
		return
	}
	if s.control != "" {
		what := "a record after the file control; nothing may follow but nines"
		if text[0] == '1' {
			what = "a second file header after the file control: one file is one transmission, split it"
		}
		s.problem(Problem{Line: line, Record: name, Problem: what})
		return
	}
	s.keep(line, text)
	switch text[0] {
	case '1':
		s.fileHeader(line, text)
	case '5':
		s.openBatch(line, text)
	case '6':
		s.openEntry(line, text)
	case '7':
		s.addendum(line, text)
	case '8':
		s.closeBatch(line, text)
	case '9':
		s.fileControl(line, text)
	default:
		s.problem(Problem{Line: line, Record: name, Field: "record type", Found: text[:1], Problem: "not a Nacha record (1, 5, 6, 7, 8 or 9)"})
	}
}

// keep puts a record by for the library to read. It refuses change codes it
// does not know, and there is no option against that, so it is shown C13 in
// their place; the code that counts is the one read here.
func (s *scan) keep(line int, text string) {
	if s.records > maxSecondReading {
		return
	}
	if text[0] == '7' && col(text, 2, 3) == "98" {
		if _, known := changeCodes[col(text, 4, 6)]; !known {
			text = text[:3] + "C13" + text[6:]
		}
	}
	s.second.WriteString(text)
	s.second.WriteByte('\n')
	s.secondLines = append(s.secondLines, line)
}

// finish judges the file as a whole.
func (s *scan) finish() {
	last := s.lastLine
	whole := func(p Problem) { p.Line = last; s.problem(p) }
	s.flushEntry()
	if s.batch != nil {
		whole(Problem{Record: "batch control", Problem: "the last batch has no control; the file is cut short"})
		s.settleBatch()
	}
	if s.records == 0 {
		s.problem(Problem{Record: "file", Problem: "the file is empty"})
		return
	}
	if s.header == "" {
		s.problem(Problem{Line: 1, Record: "file header", Problem: "the file has no header"})
	}
	if s.control == "" {
		whole(Problem{Record: "file control", Problem: "the file has no control; it is cut short, ask for it again"})
	} else if s.records%10 != 0 || s.padding > 9 {
		s.soft = append(s.soft, Problem{Line: last, Record: "padding", Said: "a multiple of 10, at most 9 of nines",
			Found: fmt.Sprintf("%d, %d of nines", s.records, s.padding), Problem: "records do not fill blocks of ten"})
	}
	for _, p := range s.soft {
		if s.forward > 0 {
			s.problem(p)
		} else {
			s.note(p)
		}
	}
	if s.omitted > 0 {
		s.problems = append(s.problems, Problem{Record: "file", Found: fmt.Sprint(s.omitted), Problem: "further problems are not listed"})
	}
}
