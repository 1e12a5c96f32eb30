package lockbox

import (
	"bytes"
	"fmt"
	"strconv"
)

// envelope is ISA, GS or ST, waiting for its end.
type envelope struct {
	open    bool
	was     bool // there was one
	number  string
	line    int
	inside  int // what it counts: groups, sets, segments
	numbers series
}

const (
	interchange = iota
	group
	set
)

var envelopeNames = [3]struct {
	begin, end, what, of string
	number               int // the element of the beginning that the end repeats
}{
	{"ISA", "IEA", "interchange", "functional groups in the interchange", 13},
	{"GS", "GE", "functional group", "transaction sets in the group", 6},
	{"ST", "SE", "transaction set", "segments in the set", 2},
}

// delimiters are what the interchange header says of itself.
type delimiters struct {
	element, component, terminator byte
	length                         int // of the header with its end; it must be isaBytes
}

const isaBytes = 106

// delimitersOf reads the delimiters from the beginning of an interchange: the
// byte after ISA, and the two after the sixteenth element's begin. Without a
// header they are taken from the set's, to read what can be read. A file that
// was wrapped into lines of 80, wherever that fell, is read as if it had not been.
func delimitersOf(head []byte) (d delimiters, ok bool) {
	if d, ok = delimitersIn(head); ok && d.length == isaBytes {
		return d, ok
	}
	if whole, good := delimitersIn(unwrapped(head)); good && whole.length == isaBytes {
		return whole, good
	}
	return d, ok
}

// unwrapped returns text without its line ends.
func unwrapped(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\n"), nil), []byte("\r"), nil)
}

func delimitersIn(head []byte) (d delimiters, ok bool) {
	if len(head) < 4 {
		return d, false
	}
	switch {
	case bytes.HasPrefix(head, []byte("ISA")):
		d.element = head[3]
		at := 3
		for range 15 {
			next := bytes.IndexByte(head[at+1:], d.element)
			if next < 0 {
				return d, false
			}
			at += next + 1
		}
		if at+2 >= len(head) {
			return d, false
		}
		d.component, d.terminator = head[at+1], head[at+2]
		d.length = at + 3
	case bytes.HasPrefix(head, []byte("GS")), bytes.HasPrefix(head, []byte("ST")):
		d.element, d.component = head[2], ':'
		for _, c := range head[3:] {
			if c != d.element && !isLetterOrDigit(c) && c != ' ' && c != '-' {
				d.terminator = c
				break
			}
		}
	}
	plain := !isLetterOrDigit(d.element) && !isLetterOrDigit(d.terminator) && d.element != ' ' && d.terminator != ' '
	return d, plain && d.terminator != 0 && d.element != d.terminator && d.element != d.component && d.component != d.terminator
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetterOrDigit(c byte) bool {
	return isDigit(c) || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// begin opens an envelope.
func (r *x12Reader) begin(level int) error {
	name, e := envelopeNames[level], &r.envelopes[level]
	if err := r.leave(level, name.begin); err != nil {
		return err
	}
	if level > 0 && !r.envelopes[level-1].open {
		r.missing = true
		r.problem(RefusesFile, structure, name.begin, "segment", name.begin, envelopeNames[level-1].begin, "the %s stands outside any %s: its beginning (%s) is missing", name.what, envelopeNames[level-1].what, envelopeNames[level-1].begin)
	}
	number := r.get(name.number)
	if e.numbers.given(number) && level > 0 {
		r.problem(RefusesFile, structure, name.begin, fmt.Sprintf("%s%02d", name.begin, name.number), orBlank(number), "the same number before", "this control number was given to another %s already", name.what)
	}
	e.open, e.was, e.number, e.line, e.inside = true, true, number, r.lines.number, 0
	switch level {
	case interchange:
		r.sum.Origin, r.sum.Destination = r.get(6), r.get(8)
		r.checkOrigin("ISA", "ISA06", r.sum.Origin)
		r.sum.FileDate = r.date(r.seg[0], 9, Note)
	case group:
		r.envelopes[interchange].inside++
		r.envelopes[set].numbers.reset()
		if code := r.get(1); code != "LB" {
			r.problem(RefusesFile, structure, "GS", "GS01", orBlank(code), "LB", "this functional group is no lockbox")
		}
	case set:
		r.envelopes[group].inside++
		e.inside = 1
		r.loop = heading
		if code := r.get(1); code != "823" {
			r.problem(RefusesFile, structure, "ST", "ST01", orBlank(code), "823", "this transaction set is no lockbox (823)")
		}
	}
	return nil
}

// end closes an envelope and holds its number and its count against it.
func (r *x12Reader) end(level int) error {
	name, e := envelopeNames[level], &r.envelopes[level]
	if level < set {
		if err := r.leave(level+1, name.end); err != nil {
			return err
		}
	} else if err := r.leaveDeposit(name.end); err != nil {
		return err
	}
	if level == interchange {
		r.closed = true
	}
	if !e.open {
		r.missing = true
		r.problem(RefusesFile, structure, name.end, "segment", name.end, name.begin, "a %s ends that never began: its beginning (%s) is missing", name.what, name.begin)
		return nil
	}
	e.open = false
	field := name.end + "02"
	if number := r.get(2); !sameNumber(number, e.number) {
		r.problem(RefusesFile, structure, name.end, field, orBlank(number), orBlank(e.number), "the end of the %s names another control number than its beginning on line %d", name.what, e.line)
	}
	r.count(name.end+"01", e.inside, name.of)
	return nil
}

// count holds the first element of the current segment against what was
// counted.
func (r *x12Reader) count(field string, found int, of string) {
	n, err := strconv.ParseUint(r.get(1), 10, 31)
	if err != nil {
		r.problem(r.countScope(), shape, field[:len(field)-2], field, orBlank(r.get(1)), strconv.Itoa(found), "the count of %s is not a number", of)
		return
	}
	r.compareCount(r.lines.number, field[:len(field)-2], field, r.get(1), int(n), found, 0, of)
}

// leave tells of what a segment found open that should have been closed before.
func (r *x12Reader) leave(level int, by string) error {
	for l := set; l >= level; l-- {
		e := &r.envelopes[l]
		if !e.open {
			continue
		}
		if l == set {
			if err := r.leaveDeposit(by); err != nil {
				return err
			}
		}
		e.open, r.missing = false, true
		r.problem(RefusesFile, structure, envelopeNames[l].end, "segment", by, "no "+envelopeNames[l].end, "the %s that began on line %d has no end (%s) before %s: the file was cut, or lines were lost", envelopeNames[l].what, e.line, envelopeNames[l].end, by)
	}
	return nil
}
