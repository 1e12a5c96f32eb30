package lockbox

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/billcycle/billcycle/calendar"
)

// The lockbox of X12 is the transaction set 823: segments of elements, in
// envelopes that count what they hold.
//
//	ISA, GS, ST   open the interchange, the group and the set; their ends
//	              IEA, GE and SE repeat their numbers and count
//	DEP           a deposit of a lockbox; AMT its total, QTY its counts
//	BAT           a batch of it, with AMT and QTY of its own if the bank likes
//	BPR           a check, in decimal dollars; TRN its number, N1 its payer
//	RMR           a coupon of the check
//
// An AMT stands before what it is the total of, so it is remembered until the
// batch or the deposit closes. A problem's line is the number of its segment.
type x12Reader struct {
	footing
	element byte     // what stands between elements
	seg     [][]byte // the current segment; [0] is its tag
	joined  []byte   // the same with stars between its elements; kept when batches are handed out
	rules   map[string][]elementRule

	loop      loop
	envelopes [3]envelope // interchange, group, set
	after     bool        // something follows the end of the interchange
	closed    bool        // the interchange was closed
	first     string      // the tag of the first segment

	batchSaid, boxSaid   spoken
	batchQTY, boxQTY     []quantity
	boxReceived, batchOn calendar.Date // DTM 050 above the check
	scope                string        // the open deposit, in which a batch number must be single
	bare                 bool          // its checks stand under no BAT

	items    []Item
	text     []byte         // the segments of the batch's items, readable
	from     []int          // where in it each item begins
	segments int            // of the open item
	ranks    [2][fields]int // of what the profile found for the open check and its last coupon
	party    string         // the last N1 of the open item
}

// loop is how deep in the set a segment stands.
type loop int

const (
	heading loop = iota
	deposit
	batch
	payment
	remittance
)

// spoken is a total that was stated before what it is the total of.
type spoken struct {
	*Total
	line int
}

// quantity is a QTY, waiting to be compared.
type quantity struct {
	qualifier, said string
	n, line         int
}

// The qualifiers of a QTY in an 823.
const (
	numberOfBatches = "41"
	numberOfChecks  = "42"
)

func newX12Reader(r io.Reader, p Profile, each func(Batch) error) *x12Reader {
	x := &x12Reader{footing: newFooting(r, p, each), rules: elementRules(p)}
	x.made = x.finished
	x.batchTotal = statement{record: "AMT", field: "AMT02"}
	x.boxTotal = statement{record: "AMT", field: "AMT02", must: true}
	return x
}

func (r *x12Reader) run() (Summary, error) {
	defer r.lines.close()
	head, err := r.lines.peek(isaBytes + 64)
	if err != nil {
		return r.sum, fmt.Errorf("lockbox file: %w", err)
	}
	d, ok := delimitersOf(head)
	if !ok {
		r.lines.number = 1
		r.sum.Balanced = false
		r.problem(RefusesFile, structure, "ISA", "segment", orBlank(show(head[:min(len(head), 3)])), "no ISA with its delimiters", "the file does not begin with an interchange header (ISA) that says its delimiters: it was cut or damaged, or is something else")
		err := r.lines.drain()
		return r.complete(false), err
	}
	r.element, r.lines.eol = d.element, d.terminator
	if bytes.HasPrefix(head, []byte("ISA")) && d.length != isaBytes {
		r.lines.number = 1
		r.problem(RefusesFile, shape, "ISA", "length", strconv.Itoa(d.length)+" characters", strconv.Itoa(isaBytes)+" characters", "the interchange header must be %d characters long with its end; it was cut or damaged", isaBytes)
		r.lines.number = 0
	}
	for {
		line, long, err := r.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r.sum, fmt.Errorf("lockbox file, after segment %d: %w", r.lines.number, err)
		}
		line = unwrapped(bytes.TrimLeft(line, "\r\n \t"))
		if len(line) == 0 {
			r.lines.number-- // the line end after the last terminator is no segment
			continue
		}
		if long {
			r.problem(RefusesFile, shape, ofFileItself, "length", "more than "+strconv.Itoa(maxLineBytes)+" characters", "at most "+strconv.Itoa(maxLineBytes), "the segment is longer than %d characters; this is no 823", maxLineBytes)
			continue
		}
		if err := r.segment(line); err != nil {
			return r.sum, err
		}
	}
	return r.finish()
}

// segment dispatches one segment by its tag.
func (r *x12Reader) segment(line []byte) error {
	r.seg = r.seg[:0]
	for e := range bytes.SplitSeq(line, []byte{r.element}) {
		r.seg = append(r.seg, e)
	}
	tag := string(r.seg[0])
	if r.first == "" {
		r.first = show(r.seg[0])
	}
	if r.closed && !r.after {
		r.after, r.missing = true, true
		if tag == "ISA" {
			r.problem(RefusesFile, second, tag, "segment", tag, "nothing after IEA", "a second interchange follows the end of the first: these are two transmissions in one file; send them one by one")
		} else {
			r.problem(RefusesFile, added, show(r.seg[0]), "segment", orBlank(show(r.seg[0])), "nothing after IEA", "a segment follows the end of the interchange (IEA)")
		}
	}
	if r.envelopes[set].open {
		r.envelopes[set].inside++
	}
	for level, e := range envelopeNames {
		switch tag {
		case e.begin:
			return r.begin(level)
		case e.end:
			return r.end(level)
		}
	}
	if !r.envelopes[set].open {
		if r.after { // told already
			return nil
		}
		if tag != "TA1" {
			r.problem(RefusesFile, structure, orBlank(show(r.seg[0])), "segment", orBlank(show(r.seg[0])), "ST", "the segment stands outside any transaction set (ST to SE)")
		}
		if tag == "TA1" {
			return nil
		}
	}
	err := r.detail(tag)
	r.digestSegment()
	r.keepSegment()
	return err
}

// detail reads a segment inside of a set.
func (r *x12Reader) detail(tag string) error {
	switch tag {
	case "DEP":
		return r.depositSegment()
	case "BAT":
		return r.batchSegment()
	case "BPR":
		return r.paymentSegment()
	case "RMR":
		r.remittanceSegment()
	case "AMT":
		r.amountSegment()
	case "QTY":
		r.quantitySegment()
	default:
		if !slices.Contains(otherSegments, tag) {
			r.problem(Note, shape, orBlank(show(r.seg[0])), "segment", orBlank(show(r.seg[0])), "no segment of an 823", "there is no such segment in an 823; it is read past")
		}
		switch {
		case r.loop >= payment && r.item.open:
			r.describe(tag)
		case tag == "DTM":
			r.dateSegment()
		}
	}
	return nil
}

// otherSegments may stand in an 823 and say nothing about sums.
var otherSegments = []string{"N1", "N2", "N3", "N4", "PER", "REF", "TRN", "DTM", "CUR", "AVA", "NTE", "IT1", "ADX", "SAC", "TXI", "SLN", "PID", "CTP", "PAM", "MSG", "IMG", "CTT"}

// leaveBatch closes the open batch with what was said about it.
func (r *x12Reader) leaveBatch() error {
	if !r.batch.open {
		return nil
	}
	r.closeItem()
	for _, q := range r.batchQTY {
		r.compareQuantity(q, "checks in the batch", r.batch.items)
	}
	err := r.closeBatch(r.batchSaid.Total, r.batchSaid.line, "")
	r.batchSaid, r.batchQTY, r.batchOn = spoken{}, nil, 0
	r.items, r.text, r.from = nil, r.text[:0], r.from[:0]
	r.loop = deposit
	return err
}

// leaveDeposit closes the open deposit with what was said about it.
func (r *x12Reader) leaveDeposit(by string) error {
	if err := r.leaveBatch(); err != nil || !r.box.open {
		return err
	}
	for _, q := range r.boxQTY {
		switch q.qualifier {
		case numberOfBatches:
			switch {
			case r.bare && q.n == 0: // its checks stand under no BAT,
			case r.bare && q.n > 1: // so nothing shows where one ends
				r.problemAt(q.line, Note, counts, "QTY", "QTY02", q.said, strconv.Itoa(r.box.batches), "the deposit is said to have several batches, but its checks stand under none (BAT): they are taken as one")
			default:
				r.compareQuantity(q, "batches in the deposit", r.box.batches)
			}
		case numberOfChecks:
			r.compareQuantity(q, "checks in the deposit", r.box.items)
		default:
			if q.n != r.box.batches && q.n != r.box.items {
				r.problemAt(q.line, Note, counts, "QTY", "QTY02", q.said, strconv.Itoa(r.box.items), "the deposit has neither as many checks nor as many batches (%d); what its qualifier %q counts is not known", r.box.batches, q.qualifier)
			}
		}
	}
	if r.boxSaid.Total == nil {
		r.problemAt(r.box.line, RefusesFile, structure, "AMT", "AMT02", "no total", cents(r.box.cents), "the deposit of lockbox %s has no total (AMT) to be held against", r.box.number)
	}
	r.closeBox(r.boxSaid.Total, r.boxSaid.line, "")
	r.boxSaid, r.boxQTY, r.boxReceived, r.bare = spoken{}, nil, 0, false
	r.loop = heading
	return nil
}

func (r *x12Reader) compareQuantity(q quantity, of string, found int) {
	r.compareCount(q.line, "QTY", "QTY02", q.said, q.n, found, 0, of)
}

func (r *x12Reader) depositSegment() error {
	if err := r.leaveDeposit("DEP"); err != nil {
		return err
	}
	number := r.get(1)
	if number == "" {
		r.problem(RefusesFile, shape, "DEP", "DEP01", blank, "a lockbox number", "the lockbox number is blank")
	}
	on := r.date([]byte("DEP"), 2, RefusesFile)
	r.box = openBox{open: true, line: r.lines.number, number: number, date: on, first: on}
	r.scope = number + "|" + on.String() + "|" + r.get(4)
	r.loop = deposit
	return nil
}

func (r *x12Reader) batchSegment() error {
	if err := r.leaveBatch(); err != nil {
		return err
	}
	r.needDeposit("BAT")
	r.bare = false
	number := r.get(3)
	r.startBatch(cmp.Or(number, r.get(1)))
	r.loop = batch
	if number != "" && r.numbersOf(r.scope).given(number) {
		r.problem(RefusesFile, structure, "BAT", "BAT03", number, "the same number before", "this batch number stands twice in the deposit of lockbox %s on %s", r.box.number, r.box.date)
	}
	return nil
}

// needDeposit opens a deposit where one is missing, so that the rest can be
// read.
func (r *x12Reader) needDeposit(tag string) {
	if !r.box.open {
		r.missing = true
		r.problem(RefusesFile, structure, tag, "segment", tag, "DEP", "the segment stands outside any deposit: its DEP is missing")
		r.box = openBox{open: true, line: r.lines.number}
	}
}

func (r *x12Reader) paymentSegment() error {
	r.closeItem()
	r.needDeposit("BPR")
	if !r.batch.open {
		r.startBatch("")
		r.bare = r.box.batches == 0
	}
	amount, got := decimal(r.at(2))
	if got != good || amount < 0 {
		r.problem(RefusesFile, shape, "BPR", "BPR02", orBlank(maskLong(r.get(2))), "no amount", "the amount of the check cannot be read: want dollars, with at most two decimals after a point")
		amount = 0
	}
	switch flag := r.get(3); flag {
	case "C":
	case "D":
		amount = -amount
		r.problem(RefusesFile, debits, "BPR", "BPR03", flag, "C", "this is a debit, no check; take returns in by the bank's file of returns")
	default:
		r.problem(RefusesFile, shape, "BPR", "BPR03", orBlank(flag), "C", "this must be C for a credit")
	}
	r.loop = payment
	r.openItem("BPR", amount)
	r.ranks = [2][fields]int{}
	r.party, r.segments = "", 0
	checked := calendar.Date(0)
	if r.get(16) != "" {
		checked = r.date([]byte("BPR"), 16, Note)
	}
	if !r.keeps() {
		return nil
	}
	i := Item{CheckDate: checked, Ordinal: r.sum.Items, Line: r.lines.number, Lockbox: r.box.number, Batch: r.batch.found.Number, Number: strconv.Itoa(r.batch.items), Cents: amount,
		DepositDate: r.box.date, ReceivedDate: cmp.Or(r.batchOn, r.boxReceived, r.box.date)}
	if r.get(6) == "01" {
		i.Routing = notZero(r.get(7))
	}
	i.Account = notZero(r.get(9))
	r.items = append(r.items, i)
	r.from = append(r.from, len(r.text))
	return nil
}

func (r *x12Reader) remittanceSegment() {
	if !r.item.open {
		r.problem(RefusesFile, structure, "RMR", "segment", "RMR", "BPR", "a coupon stands without the check (BPR) it belongs to")
		return
	}
	r.loop = remittance
	amount, got := decimal(r.at(4))
	if got == bad {
		r.problem(RefusesFile, shape, "RMR", "RMR04", maskLong(r.get(4)), "no amount", "the amount of the coupon cannot be read: want dollars, with at most two decimals after a point")
	}
	if action := r.at(3); len(action) > 2 || len(action) > 0 && isDigit(action[0]) {
		r.problem(Note, shape, "RMR", "RMR03", r.get(3), "no action code", "this is no action code; an amount may have lost its place")
	}
	r.item.coupons = r.add(r.item.coupons, amount)
	if r.item.overflows++; r.item.overflows == maxOverflows {
		r.problem(RefusesFile, structure, "RMR", "segment", strconv.Itoa(maxOverflows)+" coupons", "fewer than "+strconv.Itoa(maxOverflows), "the check has more than %d coupons", maxOverflows)
	}
	if r.keeps() && r.item.overflows < maxOverflows {
		i := &r.items[len(r.items)-1]
		i.Overflows = append(i.Overflows, Overflow{Line: r.lines.number, Sequence: strconv.Itoa(r.item.overflows), Cents: amount, HasCents: got == good})
	}
	r.ranks[ofItsCoupon] = [fields]int{}
	r.describe("RMR")
}

func (r *x12Reader) amountSegment() {
	said := &r.boxSaid
	switch r.loop {
	case deposit:
	case batch:
		said = &r.batchSaid
	case heading:
		r.problem(RefusesFile, structure, "AMT", "segment", "AMT", "DEP", "a total stands outside any deposit or batch")
		return
	default:
		return // of a check or a coupon, and no total
	}
	amount, got := decimal(r.at(2))
	if got != good {
		r.sum.Balanced = false
		r.problem(RefusesFile, shape, "AMT", "AMT02", orBlank(r.get(2)), "no amount", "the total cannot be read: want dollars, with at most two decimals after a point")
		return
	}
	if said.Total != nil {
		r.problem(RefusesFile, structure, "AMT", "AMT02", cents(amount), cents(said.Cents), "a second total; the first stands on line %d", said.line)
		return
	}
	r.tell(amount)
	*said = spoken{&Total{Items: -1, Cents: amount}, r.lines.number}
}

func (r *x12Reader) quantitySegment() {
	q := quantity{qualifier: r.get(1), said: r.get(2), line: r.lines.number}
	if r.loop != deposit && r.loop != batch {
		return
	}
	n, err := strconv.ParseUint(q.said, 10, 31)
	if err != nil {
		r.problem(r.countScope(), shape, "QTY", "QTY02", orBlank(q.said), "no whole number", "the quantity is not a whole number")
		return
	}
	q.n = int(n)
	if r.loop == batch {
		r.batchQTY = append(r.batchQTY[:min(len(r.batchQTY), 9)], q)
	} else {
		r.boxQTY = append(r.boxQTY[:min(len(r.boxQTY), 9)], q)
	}
}

// dateSegment reads a received date (qualifier 050) above a check.
func (r *x12Reader) dateSegment() {
	if r.get(1) != "050" || r.loop == heading {
		return
	}
	d := r.date([]byte("DTM"), 2, RefusesFile)
	if r.loop == batch {
		r.batchOn = d
	} else {
		r.boxReceived = d
	}
}

// date reads an element that is a date, YYYYMMDD or, in old versions, YYMMDD.
func (r *x12Reader) date(tag []byte, n int, scope Scope) calendar.Date {
	text := r.at(n)
	form := "YYYYMMDD"
	if len(text) == 6 {
		form = "YYMMDD"
	}
	d, got := dateCell(text, form, r.p.pivot())
	if got == bad {
		r.problem(scope, shape, string(tag), fmt.Sprintf("%s%02d", tag, n), maskLonger(r.get(n)), "no date of the form "+form, "there is no such date; want YYYYMMDD")
	}
	return d
}

// at returns an element of the current segment, nil if it has none. Of a DTM the
// second may stand as a period in the sixth; one that is no single day, such as a
// range, is then no date.
func (r *x12Reader) at(n int) []byte {
	if n >= len(r.seg) {
		return nil
	}
	if n == 2 && len(r.seg[2]) == 0 && len(r.seg) > 6 && string(r.seg[0]) == "DTM" {
		if period := r.seg[6]; string(r.seg[5]) == "DT" && len(period) > 8 { // with a time
			return period[:8]
		}
		return r.seg[6]
	}
	return r.seg[n]
}

// get returns an element as readable text.
func (r *x12Reader) get(n int) string { return show(r.at(n)) }

// digestSegment feeds the canonical hashes: elements between stars, none empty at the
// end.
func (r *x12Reader) digestSegment() {
	if r.canon == nil {
		return
	}
	r.joined = r.joined[:0]
	for n, e := range r.seg {
		if n > 0 {
			r.joined = append(r.joined, '*')
		}
		from := len(r.joined)
		r.joined = append(r.joined, e...)
		if r.element != '*' { // a star in the text is none of ours
			for i, c := range r.joined[from:] {
				if c == '*' {
					r.joined[from+i] = '.'
				}
			}
		}
	}
	r.joined = bytes.TrimRight(r.joined, "*")
	r.digest(r.joined, r.loop >= batch)
}

// finish tells of what the file left open and completes the summary.
func (r *x12Reader) finish() (Summary, error) {
	if err := r.leaveDeposit("the end of the file"); err != nil {
		return r.sum, err
	}
	if err := r.leave(interchange, "the end of the file"); err != nil {
		return r.sum, err
	}
	if !r.envelopes[interchange].was {
		r.problem(RefusesFile, structure, "ISA", "segment", orBlank(r.first), "no ISA", "the interchange header (ISA) is missing, and with it the proof of where the file begins and ends; ask for the file again")
	}
	if !r.envelopes[set].was {
		r.sum.Balanced = false
		r.problem(RefusesFile, structure, "ST", "segment", "the end of the file", "no ST", "the file has no transaction set")
	} else if len(r.sum.Boxes) == 0 {
		r.sum.Balanced = false
		r.problem(RefusesFile, structure, "DEP", "segment", "the end of the file", "no DEP", "the file has no deposit: a bank says that there was no mail by a deposit of nothing")
	}
	return r.footing.complete(r.envelopes[interchange].was && r.envelopes[group].was && r.envelopes[set].was && r.closed), nil
}
