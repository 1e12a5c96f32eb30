package lockbox

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// openBatch begins a batch at the current line.
func (r *reader) openBatch(number int, text []byte) {
	b := &r.batch
	b.open, b.line, b.number, b.items, b.cents = true, r.lines.number, number, 0, 0
	b.seen.reset()
	b.text, b.parts, b.places = b.text[:0], b.parts[:0], b.places[:0]
	b.found = Batch{Ordinal: b.found.Ordinal + 1, Line: b.line, Lockbox: r.box.number, Number: show(text), DepositDate: r.box.date}
	if r.box.fresh && r.box.five != 0 && r.box.five != number {
		r.problem(RefusesFile, structure, "5", "batch", strconv.Itoa(r.box.five), strconv.Itoa(number), "the record 5 on line %d announces another batch than the one that follows", r.box.line)
	}
	r.box.fresh = false
	scope := b.found.Lockbox + "|" + b.found.DepositDate.String()
	if r.p.BatchNumbers == "file" {
		scope = ""
	}
	seen := r.seen[scope]
	if seen == nil {
		seen = &single{max: highest(r.plan.spans[6][fBatch])}
		if r.seen[scope] = seen; len(r.seen) == maxBoxes {
			clear(r.seen)
			r.problem(RefusesFile, structure, "5", "lockbox", "", "", "the file has more than %d lockboxes and deposit dates", maxBoxes)
		}
	}
	// An empty batch is often numbered 000, in every lockbox of the file.
	if number != 0 && seen.again(number) {
		r.problem(RefusesFile, structure, "6", "batch", b.found.Number, "", "this batch number stands twice for lockbox %s on deposit date %s", b.found.Lockbox, b.found.DepositDate)
	}
}

// closeBatch ends the open batch, if there is one. said is its record 7; without
// one, by names what came instead.
func (r *reader) closeBatch(said *Total, by string) error {
	b := &r.batch
	if !b.open {
		return nil
	}
	r.item.open = false
	switch {
	case said != nil:
		r.checkTotal(said, b)
		r.box.said = r.add(r.box.said, said.Cents)
	case !r.plan.has[7]: // the layout has no total of a batch
		r.box.said = r.add(r.box.said, b.cents)
	default:
		r.sum.Balanced = false
		r.box.unequal = true
		if by != "" {
			r.missing = true
			r.problem(RefusesFile, structure, "7", "", "", "", "batch %s, opened on line %d, is not closed by a record 7 before %s", b.found.Number, b.line, by)
		}
	}
	r.box.items += b.items
	r.box.cents = r.add(r.box.cents, b.cents)
	if b.items > 0 {
		r.box.batches++
		r.sum.Batches++
		if len(r.boxes) < maxBoxes { // more are told of by openBatch
			r.boxes[b.found.Lockbox] = true
		}
	}
	b.open = false
	b.found.Cents, b.found.Said = b.cents, said
	if b.found.Refused {
		r.sum.RefusedBatches++
	}
	if r.each == nil {
		return nil
	}
	b.hash.Sum(b.found.CanonicalSHA256[:0])
	b.hash.Reset()
	r.canon.Write(b.found.CanonicalSHA256[:])
	b.found.Items = r.items()
	return r.each(b.found)
}

// checkTotal holds a record 7 against the checks above it.
func (r *reader) checkTotal(said *Total, b *openBatch) {
	if said.Cents == b.cents {
		return
	}
	if r.wrapped(said.Cents, b.cents, r.plan.spans[7][fTotal]) {
		r.problem(Note, sums, "7", "total", cents(said.Cents), cents(b.cents), "the total of batch %s outgrew its columns; it agrees in the digits it has", b.found.Number)
		return
	}
	r.sum.Balanced = false
	r.box.unequal = true
	scope := RefusesBatch
	if r.p.OutOfBalance == "file" {
		scope = RefusesFile
	}
	r.problem(scope, sums, "7", "total", cents(said.Cents), cents(b.cents), "the total of batch %s says %s, its %d checks come to %s", b.found.Number, said.Cents, b.items, b.cents)
}

// closeBox ends the open lockbox. said is its record 8; without one, by names
// what came instead.
func (r *reader) closeBox(said *Total, by string) {
	x := &r.box
	if !x.open {
		return
	}
	if said == nil && r.plan.has[8] {
		r.sum.Balanced = false
		if by != "" {
			r.missing = true
			r.problem(RefusesFile, structure, "8", "", "", "", "lockbox %s, opened on line %d, is not closed by a record 8 before %s", x.number, x.line, by)
		}
	}
	switch {
	case said == nil || said.Cents == x.cents:
	case r.wrapped(said.Cents, x.cents, r.plan.spans[8][fTotal]):
		r.problem(Note, sums, "8", "total", cents(said.Cents), cents(x.cents), "the total of lockbox %s outgrew its columns; it agrees in the digits it has", x.number)
	case x.unequal && said.Cents == x.said:
		// The bank added up its own wrong total. That batch is refused already,
		// and the other batches are not the worse for it.
		r.sum.Balanced = false
		r.problem(Note, sums, "8", "total", cents(said.Cents), cents(x.cents), "the total of lockbox %s agrees with its records 7 but not with its checks; the difference is that of the batch refused above", x.number)
	default:
		r.sum.Balanced = false
		r.problem(RefusesFile, sums, "8", "total", cents(said.Cents), cents(x.cents), "the total of lockbox %s says %s, its %d checks come to %s", x.number, said.Cents, x.items, x.cents)
	}
	if len(r.sum.Boxes) < maxBoxes {
		r.sum.Boxes = append(r.sum.Boxes, Box{x.number, x.first, x.batches, x.items, x.cents, said})
	}
	*x = openBox{}
}

// wrapped says whether a sum that outgrew its columns was written without the
// digits that did not fit, as banks do.
func (r *reader) wrapped(said, found ledger.Cents, s span) bool {
	limit := ledger.Cents(math.Pow10(s.width()))
	return !s.dollars && found >= limit && said == found%limit
}

// total reads the amount and the count of a record 7 or 8; nil if the amount
// cannot be read.
func (r *reader) total(line []byte, kind byte) *Total {
	s := &r.plan.spans[kind]
	c, got := s[fTotal].cents(line)
	if got != good {
		r.sum.Balanced = false
		if len(line) >= s[fTotal].to {
			r.problem(RefusesFile, shape, string('0'+kind), "total", show(s[fTotal].cut(line)), "", "the total cannot be read: %s", amountForm(s[fTotal]))
		}
		return nil
	}
	if c != 0 {
		r.zero = false
	}
	t := &Total{Items: -1, Cents: c}
	if n, got := s[fCount].number(line); got == good {
		t.Items = int(n)
	}
	return t
}

// checkCount holds a count against what was counted. A count that outgrew its
// columns goes on from 0.
func (r *reader) checkCount(line []byte, kind byte, f field, name string, found int, of string) {
	s := &r.plan.spans[kind][f]
	if s.to == 0 {
		return
	}
	scope := Note
	if r.p.Counts == "file" {
		scope = RefusesFile
	}
	said, got := s.number(line)
	if got == bad {
		r.problem(scope, shape, string('0'+kind), name, show(s.cut(line)), strconv.Itoa(found), "the count of %s is not a number", of)
		return
	}
	limit := int(math.Pow10(s.width()))
	if got == absent || int(said) != found && !(found >= limit && int(said) == found%limit) {
		r.problem(scope, counts, string('0'+kind), name, show(s.cut(line)), strconv.Itoa(found), "the count of %s disagrees", of)
	}
}

// add sums cents and says so, once, when a sum leaves their range.
func (r *reader) add(a, b ledger.Cents) ledger.Cents {
	if b > 0 && a > math.MaxInt64-b {
		if !r.overflow {
			r.overflow = true
			r.sum.Balanced = false
			r.problem(RefusesFile, sums, "", "", "", "", "the amounts come to more than can be counted")
		}
		return math.MaxInt64
	}
	return a + b
}

// number reads a field of digits and tells when it is none.
func (r *reader) number(line []byte, kind byte, f field, name string) (int64, reading) {
	s := &r.plan.spans[kind][f]
	n, got := s.number(line)
	tooShort := s.must && len(line) < s.to // told by record
	if !tooShort && (got == bad || got == absent && s.must) {
		r.problem(RefusesFile, shape, string('0'+kind), name, show(s.cut(line)), "", "this must be a number of %d digits", s.width())
	}
	return n, got
}

// date reads a date and tells when it is impossible.
func (r *reader) date(line []byte, kind byte, f field, name string, scope Scope) calendar.Date {
	s := &r.plan.spans[kind][f]
	d, got := s.date(line, r.plan.pivot)
	if got == bad {
		r.problem(scope, shape, string('0'+kind), name, show(s.cut(line)), "", "there is no such date; the layout says %s", r.p.Records[string('0'+kind)][name].Form)
	}
	return d
}

func (r *reader) checkDate(line []byte, f field, name string, scope Scope) {
	s := &r.plan.spans[6][f]
	if s.to == 0 {
		return
	}
	if _, _, _, got := s.ymd(line, r.plan.pivot); got == bad {
		r.date(line, 6, f, name, scope)
	}
}

// problem notes what is wrong on the current line, also with the open batch.
func (r *reader) problem(scope Scope, sort sort, record, field, said, found, text string, args ...any) {
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	p := Problem{Line: r.lines.number, Record: record, Field: field, Said: said, Found: found, Problem: text, Refuses: scope, sort: sort}
	if r.batch.open {
		p.Batch = r.batch.found.Ordinal
		r.batch.found.Refused = r.batch.found.Refused || scope == RefusesBatch
		if len(r.batch.found.Problems) < maxProblems {
			r.batch.found.Problems = append(r.batch.found.Problems, p)
		}
	}
	if r.listed++; r.listed <= maxProblems {
		r.sum.Problems = append(r.sum.Problems, p)
	}
}

// single remembers which numbers of a series were there. A series that has
// reached its highest number may begin again.
type single struct {
	max   int
	last  int
	round uint32
	when  []uint32 // by number, the round in which it was there
}

func highest(s span) int { return int(math.Pow10(s.width())) - 1 }

func (s *single) reset() {
	s.round++
	s.last = -1
	if s.round == 0 { // after four billion rounds
		clear(s.when)
		s.round = 1
	}
}

// again says whether the number was there before, and remembers it.
func (s *single) again(n int) bool {
	if s.round == 0 || s.last == s.max && n < s.last {
		s.reset()
	}
	s.last = n
	for n >= len(s.when) {
		s.when = append(s.when, make([]uint32, max(16, len(s.when)))...)
	}
	if s.when[n] == s.round {
		return true
	}
	s.when[n] = s.round
	return false
}

func cents(c ledger.Cents) string { return strconv.FormatInt(int64(c), 10) }

func amountForm(s span) string {
	if s.dollars {
		return "want dollars and cents with a point, blanks only before them"
	}
	return "want cents as digits only, blanks only before them; the profile may be another bank's"
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 && c != ' ' {
			return false
		}
	}
	return true
}

// show returns a field as readable text without the blanks around it.
func show(b []byte) string {
	s := string(b)
	return readable(strings.ToValidUTF8(s, "?"))
}
