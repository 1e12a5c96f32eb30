package lockbox

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// footing is what every format has in common: it adds up the checks of a batch,
// a lockbox and a file, and holds each total and count against them. A reader
// of a format embeds it, and tells it what the lines of the file say.
type footing struct {
	p     Profile
	each  func(Batch) error
	made  func() []Item // the checks of the batch that closes
	lines *lines
	hash  hash.Hash
	canon hash.Hash // of the records; nil if no batches are handed out

	batchNumbers int       // the highest number of a batch
	batchTotal   statement // how the format states the total of a batch
	boxTotal     statement // and that of a lockbox or deposit

	sum      Summary
	listed   int  // problems found, listed or not
	missing  bool // something that was opened was never closed
	zero     bool // every total so far is zero
	spoke    bool // a total was read
	overflow bool // a sum left the range of cents; told once
	boxes    map[string]bool
	seen     map[string]*series // batch numbers by lockbox and deposit date

	box   openBox
	batch openBatch
	item  openItem
}

// statement is how a format states the total of something.
type statement struct {
	record, field string
	must          bool         // a total that is not there is missing
	limit         ledger.Cents // what no longer fits into its columns; 0 for no end
}

type openBox struct {
	open   bool
	line   int
	number string
	date   calendar.Date
	fresh  bool // a record 5 stands without a batch under it
	five   int  // the batch number on that record 5, 0 if none

	fiveText string
	first    calendar.Date
	batches  int // that have checks
	closed   int // all of them
	items    int
	cents    ledger.Cents
	said     ledger.Cents // the sum of what its batches' totals say
	unequal  bool         // a batch of it does not agree with its total
}

type openBatch struct {
	open   bool
	line   int
	number int
	items  int
	cents  ledger.Cents
	seen   single
	hash   hash.Hash
	found  Batch // what is handed out
}

type openItem struct {
	open      bool // a coupon may follow
	line      int
	record    string
	number    int
	overflows int
	seen      single
	cents     ledger.Cents
	coupons   ledger.Cents // the sum of what its coupons say
}

func newFooting(r io.Reader, p Profile, each func(Batch) error) footing {
	f := footing{p: p, each: each, hash: sha256.New(), boxes: map[string]bool{}, seen: map[string]*series{}, zero: true}
	f.lines = newLines(r, f.hash)
	f.sum = Summary{Format: p.format(), Profile: p.Name, Problems: []Problem{}, Balanced: true}
	if each != nil {
		f.canon, f.batch.hash = sha256.New(), sha256.New()
	}
	return f
}

// digest feeds the canonical hashes: the batch's own with what belongs to an
// open batch, the file's with the rest.
func (r *footing) digest(record []byte, ofBatch bool) {
	if r.canon == nil {
		return
	}
	h := r.canon
	if ofBatch && r.batch.open {
		h = r.batch.hash
	}
	h.Write(record)
	h.Write([]byte{'\n'})
}

// openItem adds a check to the open batch. Its coupons may follow.
func (r *footing) openItem(record string, cents ledger.Cents) {
	r.sum.Items++
	r.sum.Cents = r.add(r.sum.Cents, cents)
	b := &r.batch
	b.cents = r.add(b.cents, cents)
	b.items++
	i := &r.item
	i.open, i.line, i.record, i.overflows, i.cents, i.coupons = true, r.lines.number, record, 0, cents, 0
	i.seen.reset()
	if b.items == maxBatchItems+1 {
		r.problem(RefusesFile, structure, record, "batch", strconv.Itoa(b.items)+" checks", "at most "+strconv.Itoa(maxBatchItems), "batch %s has more than %d checks; the bank should close it sooner", b.found.Number, maxBatchItems)
	}
}

// keeps says whether the checks of the batch are still kept.
func (r *footing) keeps() bool { return r.each != nil && r.batch.items <= maxBatchItems }

// closeItem ends the open check, if there is one, and holds its coupons against
// it: the check is the money, so a difference is told and refuses nothing here.
func (r *footing) closeItem() {
	i := &r.item
	if !i.open {
		return
	}
	i.open = false
	if i.coupons != 0 && i.coupons != i.cents {
		r.problemAt(i.line, Note, sums, i.record, "amount", cents(i.coupons), cents(i.cents), "the coupons of the check come to %s, the check is %s", i.coupons, i.cents)
	}
}

// startBatch begins a batch at the current line.
func (r *footing) startBatch(number string) {
	b := &r.batch
	b.open, b.line, b.number, b.items, b.cents = true, r.lines.number, 0, 0, 0
	b.seen.reset()
	b.found = Batch{Ordinal: b.found.Ordinal + 1, Line: b.line, Lockbox: r.box.number, Number: number, DepositDate: r.box.date}
}

// numbersOf returns the batch numbers that were there in the scope in which
// they must be single.
func (r *footing) numbersOf(scope string) *series {
	if r.p.BatchNumbers == "file" {
		scope = ""
	}
	seen := r.seen[scope]
	if seen == nil {
		seen = &series{single: single{max: r.batchNumbers, sparse: true}}
		if r.seen[scope] = seen; len(r.seen) == maxBoxes {
			clear(r.seen)
			r.problem(RefusesFile, structure, r.boxTotal.record, "lockbox", "more than "+strconv.Itoa(maxBoxes), "at most "+strconv.Itoa(maxBoxes), "the file has more than %d lockboxes and deposit dates", maxBoxes)
		}
	}
	return seen
}

// closeBatch ends the open batch, if there is one. said is its total, stated on
// line at (0 for the current one); without a total, by names what came instead,
// "" for an end that is as it should be.
func (r *footing) closeBatch(said *Total, at int, by string) error {
	b := &r.batch
	if !b.open {
		return nil
	}
	r.closeItem()
	switch {
	case said != nil:
		r.checkTotal(said, cmp.Or(at, r.lines.number), b)
		r.box.said = r.add(r.box.said, said.Cents)
	case !r.batchTotal.must: // the layout has no total of a batch
		r.box.said = r.add(r.box.said, b.cents)
	default:
		r.sum.Balanced = false
		r.box.unequal = true
		if by != "" {
			r.missing = true
			r.problem(RefusesFile, structure, r.batchTotal.record, "record type", by, "no record "+r.batchTotal.record, "batch %s, opened on line %d, is not closed by its total (record %s) before %s", b.found.Number, b.line, r.batchTotal.record, by)
		}
	}
	r.box.items += b.items
	r.box.cents = r.add(r.box.cents, b.cents)
	r.box.closed++
	if b.items > 0 {
		r.box.batches++
		r.sum.Batches++
		if len(r.boxes) < maxBoxes { // more are told of by numbersOf
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
	if r.canon != nil {
		b.hash.Sum(b.found.CanonicalSHA256[:0])
		b.hash.Reset()
		r.canon.Write(b.found.CanonicalSHA256[:])
	}
	b.found.Items = r.made()
	return r.each(b.found)
}

// checkTotal holds the total of a batch against the checks above it.
func (r *footing) checkTotal(said *Total, at int, b *openBatch) {
	t := r.batchTotal
	if said.Cents == b.cents {
		return
	}
	if t.wrapped(said.Cents, b.cents) {
		r.problemAt(at, Note, sums, t.record, t.field, cents(said.Cents), cents(b.cents), "the total of batch %s outgrew its columns; it agrees in the digits it has", b.found.Number)
		return
	}
	r.sum.Balanced = false
	r.box.unequal = true
	scope := RefusesBatch
	if r.p.OutOfBalance == "file" {
		scope = RefusesFile
	}
	r.problemAt(at, scope, sums, t.record, t.field, cents(said.Cents), cents(b.cents), "the total of batch %s says %s, %s %s", b.found.Number, said.Cents, checksOf("its", b.items), b.cents)
}

// closeBox ends the open lockbox. said is its total, stated on line at (0 for
// the current one); without one, by names what came instead.
func (r *footing) closeBox(said *Total, at int, by string) {
	x, t := &r.box, r.boxTotal
	if !x.open {
		return
	}
	if said == nil && t.must {
		r.sum.Balanced = false
		if by != "" {
			r.missing = true
			r.problem(RefusesFile, structure, t.record, "record type", by, "no record "+t.record, "lockbox %s, opened on line %d, is not closed by its total (record %s) before %s", x.number, x.line, t.record, by)
		}
	}
	at = cmp.Or(at, r.lines.number)
	switch {
	case said == nil || said.Cents == x.cents:
	case t.wrapped(said.Cents, x.cents):
		r.problemAt(at, Note, sums, t.record, t.field, cents(said.Cents), cents(x.cents), "the total of lockbox %s outgrew its columns; it agrees in the digits it has", x.number)
	case x.unequal && said.Cents == x.said:
		// The bank added up its own wrong total. That batch is refused already,
		// and the other batches are not the worse for it.
		r.sum.Balanced = false
		r.problemAt(at, Note, sums, t.record, t.field, cents(said.Cents), cents(x.cents), "the total of lockbox %s agrees with the totals of its batches but not with its checks; the difference is that of the batch refused above", x.number)
	default:
		r.sum.Balanced = false
		r.problemAt(at, RefusesFile, sums, t.record, t.field, cents(said.Cents), cents(x.cents), "the total of lockbox %s says %s, %s %s", x.number, said.Cents, checksOf("its", x.items), x.cents)
	}
	if len(r.sum.Boxes) < maxBoxes {
		r.sum.Boxes = append(r.sum.Boxes, Box{x.number, x.first, x.batches, x.items, x.cents, said})
	}
	*x = openBox{}
}

// wrapped says whether a sum that outgrew its columns was written without the
// digits that did not fit, as banks do.
func (t statement) wrapped(said, found ledger.Cents) bool {
	return t.limit > 0 && found >= t.limit && said == found%t.limit
}

// compareCount holds a count against what was counted. limit is the first number
// that does not fit into its columns, after which it goes on from 0; 0 for none.
func (r *footing) compareCount(at int, record, field, said string, n, found, limit int, of string) {
	if n == found || limit > 0 && found >= limit && n == found%limit {
		return
	}
	r.problemAt(at, r.countScope(), counts, record, field, orBlank(said), strconv.Itoa(found), "the count of %s disagrees", of)
}

// batchesCounted is how many batches the open lockbox has by a count that says
// said: banks count the empty ones or don't.
func (r *footing) batchesCounted(said int) int {
	if said == r.box.closed {
		return said
	}
	return r.box.batches
}

func (r *footing) countScope() Scope {
	if r.p.Counts == "file" {
		return RefusesFile
	}
	return Note
}

// complete ends the reading: the end of what is open has been told.
func (r *footing) complete(whole bool) Summary {
	if r.lines.tooLarge {
		r.missing = true
		r.problem(RefusesFile, structure, ofFileItself, "length", "more than "+strconv.FormatInt(r.lines.max, 10)+" bytes", "at most "+strconv.FormatInt(r.lines.max, 10), "the file is larger than %d bytes", r.lines.max)
	}
	if r.p.Stated != nil {
		r.checkStated(*r.p.Stated)
	}
	if unlisted := r.listed - len(r.sum.Problems); unlisted > 0 {
		r.sum.Problems = append(r.sum.Problems, Problem{Line: max(r.lines.number, 1), Record: ofFileItself, Field: "problems", Said: strconv.Itoa(r.listed), Found: "at most " + strconv.Itoa(maxProblems),
			Problem: fmt.Sprintf("%d more problems are not listed", unlisted), Do: "mend what is listed first", Refuses: RefusesFile})
	}
	r.sum.Lockboxes = len(r.boxes)
	r.sum.Whole = whole && !r.missing
	r.sum.Empty = r.sum.Items == 0 && r.zero && r.spoke
	r.lines.close()
	r.hash.Sum(r.sum.SHA256[:0])
	if r.canon != nil {
		r.canon.Sum(r.sum.CanonicalSHA256[:0])
	}
	return r.sum
}

// checkStated holds what the operator says of the file against it.
func (r *footing) checkStated(said Total) {
	if said.Items >= 0 && said.Items != r.sum.Items {
		r.problem(RefusesFile, sums, ofFileItself, "count", strconv.Itoa(said.Items), strconv.Itoa(r.sum.Items), "the file has another number of checks than was typed in for it")
	}
	if said.Cents != r.sum.Cents {
		r.sum.Balanced = false
		r.problem(RefusesFile, sums, ofFileItself, "cents", cents(said.Cents), cents(r.sum.Cents), "the checks of the file come to another amount than was typed in for it")
	}
	r.tell(said.Cents)
}

// checkOrigin holds the bank that a file names against those of the profile.
func (r *footing) checkOrigin(record, field, origin string) {
	if len(r.p.Origins) > 0 && !slices.Contains(r.p.Origins, origin) {
		r.problem(RefusesFile, structure, record, field, orBlank(origin), strings.Join(r.p.Origins, " or "), "the profile is for files of another bank (its key origins)")
	}
}

// tell notes that a total was read.
func (r *footing) tell(total ledger.Cents) {
	r.spoke = true
	r.zero = r.zero && total == 0
}

// checksOf begins a sentence about what a number of checks comes to.
func checksOf(whose string, n int) string {
	if n == 1 {
		return whose + " one check is"
	}
	return fmt.Sprintf("%s %d checks come to", whose, n)
}

// add sums cents and says so, once, when a sum leaves their range.
func (r *footing) add(a, b ledger.Cents) ledger.Cents {
	if b > 0 && a > math.MaxInt64-b {
		if !r.overflow {
			r.overflow = true
			r.sum.Balanced = false
			r.problem(RefusesFile, sums, ofFileItself, "total", "more than "+cents(math.MaxInt64), "at most "+cents(math.MaxInt64), "the amounts come to more than can be counted")
		}
		return math.MaxInt64
	}
	return a + b
}

// problem notes what is wrong on the current line, also with the open batch.
func (r *footing) problem(scope Scope, sort sort, record, field, said, found, text string, args ...any) {
	r.problemAt(r.lines.number, scope, sort, record, field, said, found, text, args...)
}

func (r *footing) problemAt(line int, scope Scope, sort sort, record, field, said, found, text string, args ...any) {
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	p := Problem{Line: max(line, 1), Record: record, Field: field, Said: said, Found: found, Problem: text, Refuses: scope, sort: sort}
	p.Do = p.advice()
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
	max    int
	last   int
	round  uint32
	when   []uint32         // by number, the round in which it was there
	far    map[int]struct{} // the numbers of this round that have no place in it
	sparse bool             // none has: there are many such series
}

// places is how many numbers of a series may have a place of their own.
const places = 1 << 12

func highest(s span) int { return int(math.Pow10(s.width())) - 1 }

func (s *single) reset() {
	s.round++
	s.last = -1
	s.far = nil
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
	if s.sparse || n >= places {
		if s.far == nil {
			s.far = map[int]struct{}{}
		}
		_, twice := s.far[n]
		s.far[n] = struct{}{}
		return twice
	}
	for n >= len(s.when) {
		s.when = append(s.when, make([]uint32, max(16, len(s.when)))...)
	}
	if s.when[n] == s.round {
		return true
	}
	s.when[n] = s.round
	return false
}

// series is single for numbers that may be any text.
type series struct {
	single
	texts map[string]bool
}

func (s *series) reset() {
	s.single.reset()
	clear(s.texts)
}

// given says whether the number was there before, and remembers it. A number of
// up to four digits may begin again once it was all nines.
func (s *series) given(number string) bool {
	if n, err := strconv.ParseUint(number, 10, 31); err == nil && len(number) <= 4 {
		defer func() { s.max = int(math.Pow10(len(number))) - 1 }()
		return s.again(int(n))
	}
	if s.texts == nil || len(s.texts) == maxBatchItems {
		s.texts = map[string]bool{}
	}
	twice := s.texts[number]
	s.texts[number] = true
	return twice
}

func cents(c ledger.Cents) string { return strconv.FormatInt(int64(c), 10) }

// show returns a field as readable text without the blanks around it.
func show(b []byte) string {
	s := string(b)
	return readable(strings.ToValidUTF8(s, "?"))
}
