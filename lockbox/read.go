package lockbox

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Read reads a lockbox file by the profile p, foots it, and hands out its
// batches in the order of the file as they close; each may be nil, which is
// faster. A batch and its items belong to the receiver.
//
// Whatever is wrong with the file is in the summary's problems, and a batch is
// handed out also when it is refused or the file will be: nothing may be kept
// for good before Read has returned and the summary says that the file is not
// Refused. The error is for reading itself, for a profile that cannot be used,
// and for what each returns.
func Read(r io.Reader, p Profile, each func(Batch) error) (Summary, error) {
	if problems := p.Check(); len(problems) > 0 {
		return Summary{}, errors.New(problems[0].String())
	}
	switch p.Format {
	case formatX12:
		return newX12Reader(r, p, each).run()
	case formatCSV:
		return newCSVReader(r, p, each).run()
	}
	return newReader(r, p, each).run()
}

// readDays is Read, but what it hands out may have no more of a check than its
// days, and is gone when the next batch comes, which is faster.
func readDays(r io.Reader, p Profile, each func(Batch) error) (Summary, error) {
	if p.format() != formatBAI || len(p.Check()) > 0 {
		return Read(r, p, each)
	}
	rd := newReader(r, p, each)
	rd.daysOnly = true
	var items []Item
	rd.made = func() []Item {
		items = items[:0]
		for _, p := range rd.parts {
			items = append(items, Item{DepositDate: p.deposit, ReceivedDate: p.received})
		}
		return items
	}
	return rd.run()
}

// readAgain is Read, but may leave the canonical hashes out, which is faster: it is
// for a file of which readDays has given them.
func readAgain(r io.Reader, p Profile, each func(Batch) error) (Summary, error) {
	if p.format() != formatBAI || len(p.Check()) > 0 {
		return Read(r, p, each)
	}
	rd := newReader(r, p, each)
	rd.canon = nil
	return rd.run()
}

// reader reads a BAI file: where in it it stands, on top of what its checks
// come to.
type reader struct {
	footing
	plan    *plan
	records int
	header  bool
	trailer bool
	after   bool // something follows the trailer
	service bool

	daysOnly bool   // no lines of checks are kept
	text     []byte // the lines of the open batch's items, readable
	parts    []part
	places   []place
}

func newReader(r io.Reader, p Profile, each func(Batch) error) *reader {
	rd := &reader{footing: newFooting(r, p, each), plan: p.plan()}
	rd.made = rd.makeItems
	rd.lines.records = true
	rd.batchNumbers = highest(rd.plan.spans[6][fBatch])
	rd.batchTotal = totalOf(rd.plan, 7)
	rd.boxTotal = totalOf(rd.plan, 8)
	rd.batch.seen.max = highest(rd.plan.spans[6][fItem])
	rd.item.seen.max = highest(rd.plan.spans[4][fSequence])
	return rd
}

// totalOf says how the records 7 or 8 of a layout state their total.
func totalOf(pl *plan, record byte) statement {
	s := pl.spans[record][fTotal]
	t := statement{record: string('0' + record), field: "total", must: pl.has[record]}
	if !s.dollars && s.to > 0 {
		t.limit = ledger.Cents(math.Pow10(s.width()))
	}
	return t
}

func (r *reader) run() (Summary, error) {
	defer r.lines.close()
	for {
		line, long, err := r.lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r.sum, fmt.Errorf("lockbox file, after line %d: %w", r.lines.number, err)
		}
		if len(line) == 0 {
			continue
		}
		r.records++
		if long {
			r.problem(RefusesFile, shape, ofFileItself, "length", "more than "+strconv.Itoa(maxLineBytes)+" columns", "at most "+strconv.Itoa(maxLineBytes), "the line is longer than %d columns; this is no lockbox record", maxLineBytes)
			continue
		}
		if err := r.record(line); err != nil {
			return r.sum, err
		}
	}
	return r.finish()
}

// record dispatches one line by its type.
func (r *reader) record(line []byte) error {
	raw := line
	var wide []rune
	if !isASCII(line) {
		line, wide = columns(line, r.lines.length == r.p.Length)
	}
	kind := line[0] - '0'
	if none := kind > 9 || kind == 0 || kind == 3 || !r.plan.has[kind]; none && r.trailer {
		r.problem(RefusesFile, added, ofFileItself, "record type", orBlank(show(line[:1])), "nothing after record 9", "a line that is no record follows the file's trailer (record 9): something was added to the file")
		return nil
	} else if none {
		r.problem(RefusesFile, shape, ofFileItself, "record type", orBlank(show(line[:1])), "one of "+r.p.recordTypes(), "there is no record of this type in the layout; a line was damaged, or the layout is another one")
		return nil
	}
	switch {
	case r.trailer && !r.after && kind == 1:
		r.problem(RefusesFile, second, "1", "record type", "1", "nothing after record 9", "a second header follows the trailer: these are two transmissions in one file; send them one by one")
	case r.trailer && !r.after:
		r.problem(RefusesFile, structure, string(line[:1]), "record type", string(line[:1]), "nothing after record 9", "a record follows the file's trailer (record 9)")
	case r.records == 1 && kind != 1 && r.plan.has[1]:
		r.missing = true
		r.problem(RefusesFile, structure, string(line[:1]), "record type", string(line[:1]), "1", "the file does not begin with its header (record 1): its beginning is missing")
	}
	if r.trailer {
		r.after, r.missing = true, true
	}
	var err error
	if kind != 4 {
		r.closeItem()
	}
	if len(line) < r.plan.atLeast[kind] {
		r.problem(RefusesFile, shape, string(line[:1]), r.lacking(kind, len(line)), strconv.Itoa(len(line))+" columns", strconv.Itoa(r.plan.atLeast[kind])+" columns", "the line is too short for a field that cannot be left out: the file was cut or damaged, or the layout is another one")
	}
	switch kind {
	case 1:
		r.headerRecord(line)
	case 2:
		if r.service || r.box.open {
			r.problem(RefusesFile, structure, "2", "record type", "2", "record 2 after record 1 only", "the service record (2) belongs once, right after the header")
		}
		r.service = true
	case 5:
		err = r.boxRecord(line)
	case 6:
		err = r.itemRecord(line, wide)
	case 4:
		r.overflowRecord(line, wide)
	case 7:
		return r.batchRecord(line, raw)
	case 8:
		err = r.totalRecord(line)
	case 9:
		err = r.trailerRecord(line)
	}
	r.digest(raw, kind == 4 || kind == 6)
	return err
}

// lacking names the first mandatory field that a line of n columns cuts off.
func (r *reader) lacking(kind byte, n int) string {
	name, to := "", math.MaxInt
	for _, must := range r.plan.must[kind] {
		if f := r.p.Records[string('0'+kind)][must]; f.To > n && f.To < to {
			name, to = must, f.To
		}
	}
	return name
}

func (r *reader) headerRecord(line []byte) {
	if r.header {
		if !r.after {
			r.missing = true
			r.problem(RefusesFile, structure, "1", "record type", "1", "no second record 1", "a second header stands inside the file: the first transmission was cut off")
		}
		return
	}
	r.header = true
	s := &r.plan.spans[1]
	r.sum.Destination, r.sum.Origin = show(s[fDestination].cut(line)), show(s[fOrigin].cut(line))
	r.checkOrigin("1", "origin", r.sum.Origin)
	r.sum.FileDate, r.sum.FileTime = r.date(line, 1, fDate, "date", Note), show(s[fTime].cut(line))
}

func (r *reader) boxRecord(line []byte) error {
	if err := r.closeBatch(nil, 0, "record 5"); err != nil {
		return err
	}
	s := &r.plan.spans[5]
	number := show(s[fLockbox].cut(line))
	switch {
	case r.box.open && r.box.number != number:
		r.closeBox(nil, 0, "record 5")
	case r.box.open && r.box.fresh:
		r.missing = true
		r.problem(RefusesFile, structure, "5", "record type", "5", "6, 7 or 8", "the record 5 on line %d opened a batch or lockbox that nothing closed", r.box.line)
	}
	if !r.box.open {
		r.box = openBox{open: true, number: number}
	}
	if number == "" && len(line) >= s[fLockbox].to {
		r.problem(RefusesFile, shape, "5", "lockbox", blank, "a lockbox number", "the lockbox number is blank")
	}
	r.box.line, r.box.fresh = r.lines.number, true
	r.box.date = r.date(line, 5, fDepositDate, "deposit_date", RefusesFile)
	if r.box.first == 0 {
		r.box.first = r.box.date
	}
	n, _ := r.number(line, 5, fBatch, "batch")
	r.box.five, r.box.fiveText = int(n), show(s[fBatch].cut(line))
	return nil
}

func (r *reader) itemRecord(line []byte, wide []rune) error {
	s := &r.plan.spans[6]
	n, got := r.number(line, 6, fBatch, "batch")
	switch {
	case got != good && r.batch.open:
		n = int64(r.batch.number) // told already, or of a layout without; it is no reason to close the batch
	case s[fBatch].to == 0 && r.box.fresh:
		n = int64(r.box.five)
	}
	if !r.box.open {
		r.missing = true
		r.problem(RefusesFile, structure, "6", "record type", "6", "5", "a check stands outside any lockbox: its record 5 is missing")
		r.box = openBox{open: true, line: r.lines.number}
	}
	if r.batch.open && r.batch.number != int(n) {
		if err := r.closeBatch(nil, 0, "record 6 of batch "+strconv.Itoa(int(n))); err != nil {
			return err
		}
	}
	if !r.batch.open {
		text := s[fBatch].cut(line)
		if s[fBatch].to == 0 && n > 0 {
			text = []byte(r.box.fiveText)
		}
		r.openBatch(int(n), text)
	}
	item, got := r.number(line, 6, fItem, "item")
	if got == good && r.batch.seen.again(int(item)) {
		r.problem(RefusesFile, structure, "6", "item", show(s[fItem].cut(line)), "the same number before", "this item number stands twice in batch %s", r.batch.found.Number)
	}
	cents, got := s[fAmount].cents(line)
	if got != good && len(line) >= s[fAmount].to {
		r.problem(RefusesFile, shape, "6", "amount", orBlank(show(s[fAmount].cut(line))), "no amount", "the amount of the check cannot be read: %s", amountForm(s[fAmount]))
	}
	if box := show(s[fLockbox].cut(line)); box != "" && box != r.box.number {
		r.problem(RefusesFile, structure, "6", "lockbox", box, orBlank(r.box.number), "the check names another lockbox than the record 5 above it")
	}
	r.openItem("6", cents)
	if r.item.number = int(item); s[fItem].to == 0 {
		r.item.number = r.batch.items
	}
	if digits := s[fRouting].cut(line); !allDigits(digits) {
		r.problem(Note, shape, "6", "routing", maskNumber(show(digits)), "no number", "the routing number is not digits; the check is read without it")
	}
	r.checkDate(line, fReceivedDate, "received_date", RefusesBatch)
	r.checkDate(line, fDepositDate, "deposit_date", RefusesBatch)
	r.checkDate(line, fCheckDate, "check_date", Note)
	r.checkDate(line, fPostmarkDate, "postmark_date", Note)
	if r.keeps() {
		p := part{ordinal: r.sum.Items, cents: cents, first: len(r.places)}
		p.deposit, p.received = r.daysOf(line)
		r.parts = append(r.parts, p)
		r.keep(line, wide)
	}
	return nil
}

func (r *reader) overflowRecord(line []byte, wide []rune) {
	s := &r.plan.spans[4]
	if !r.item.open {
		r.problem(RefusesFile, structure, "4", "record type", "4", "6", "an overflow record stands without the check (record 6) it belongs to")
		return
	}
	batch, got1 := r.number(line, 4, fBatch, "batch")
	item, got2 := r.number(line, 4, fItem, "item")
	if got1 == good && got2 == good && (int(batch) != r.batch.number || int(item) != r.item.number) {
		r.problem(RefusesFile, structure, "4", "item", fmt.Sprintf("%d/%d", batch, item), fmt.Sprintf("%d/%d", r.batch.number, r.item.number),
			"the overflow names another batch and item than the check above it")
	}
	if n, got := r.number(line, 4, fSequence, "sequence"); got == good && r.item.seen.again(int(n)) {
		r.problem(RefusesFile, structure, "4", "sequence", show(s[fSequence].cut(line)), "the same number before", "this overflow sequence stands twice on item %d of batch %s", r.item.number, r.batch.found.Number)
	}
	c, got := s[fAmount].cents(line)
	if got == bad {
		r.problem(RefusesFile, shape, "4", "amount", orBlank(show(s[fAmount].cut(line))), "no amount", "the amount of the coupon cannot be read: %s", amountForm(s[fAmount]))
	}
	r.item.coupons = r.add(r.item.coupons, c)
	if r.item.overflows++; r.item.overflows == maxOverflows {
		r.problem(RefusesFile, structure, "4", "sequence", strconv.Itoa(maxOverflows), "fewer than "+strconv.Itoa(maxOverflows), "item %d of batch %s has more than %d overflow records", r.item.number, r.batch.found.Number, maxOverflows)
	}
	if r.item.overflows < maxOverflows && r.keeps() {
		r.keep(line, wide)
	}
}

func (r *reader) batchRecord(line, raw []byte) error {
	s := &r.plan.spans[7]
	n, got := r.number(line, 7, fBatch, "batch")
	if !r.box.open {
		r.missing = true
		r.problem(RefusesFile, structure, "7", "record type", "7", "5", "a batch is closed outside any lockbox: its record 5 is missing")
		r.box = openBox{open: true, line: r.lines.number}
	}
	if !r.batch.open {
		r.openBatch(int(n), s[fBatch].cut(line))
	}
	if got == good && r.batch.number == 0 && r.plan.spans[6][fBatch].to == 0 {
		r.nameBatch(int(n), s[fBatch].cut(line))
	}
	if got == good && int(n) != r.batch.number {
		r.problem(RefusesFile, structure, "7", "batch", strconv.Itoa(int(n)), strconv.Itoa(r.batch.number), "the record closes another batch than the one above it")
	}
	if box := show(s[fLockbox].cut(line)); box != "" && box != r.box.number {
		r.problem(RefusesFile, structure, "7", "lockbox", box, orBlank(r.box.number), "the record closes a batch of another lockbox than the record 5 above it")
	}
	if d := r.date(line, 7, fDepositDate, "deposit_date", RefusesBatch); d != 0 && r.box.date != 0 && d != r.box.date {
		r.problem(RefusesBatch, structure, "7", "deposit_date", d.String(), r.box.date.String(), "the batch's total has another deposit date than its record 5")
	}
	said := r.total(line, 7)
	if said != nil {
		r.checkCount(line, 7, fCount, "count", r.batch.items, "checks in the batch")
	}
	r.digest(raw, true)
	return r.closeBatch(said, 0, "")
}

func (r *reader) totalRecord(line []byte) error {
	s := &r.plan.spans[8]
	if err := r.closeBatch(nil, 0, "record 8"); err != nil {
		return err
	}
	if !r.box.open {
		r.missing = true
		r.problem(RefusesFile, structure, "8", "record type", "8", "5", "a lockbox is closed that was never opened: its record 5 is missing")
		r.box = openBox{open: true, line: r.lines.number}
	}
	if box := show(s[fLockbox].cut(line)); box != "" && box != r.box.number {
		r.problem(RefusesFile, structure, "8", "lockbox", box, orBlank(r.box.number), "the record closes another lockbox than the one that is open")
	}
	r.date(line, 8, fDepositDate, "deposit_date", Note)
	said := r.total(line, 8)
	if said != nil {
		r.checkCount(line, 8, fCount, "count", r.box.items, "checks in the lockbox")
		n, _ := s[fBatches].number(line)
		r.checkCount(line, 8, fBatches, "batches", r.batchesCounted(int(n)), "batches in the lockbox")
	}
	r.closeBox(said, 0, "")
	return nil
}

func (r *reader) trailerRecord(line []byte) error {
	if err := r.closeBatch(nil, 0, "record 9"); err != nil {
		return err
	}
	r.closeBox(nil, 0, "record 9")
	said, _ := r.plan.spans[9][fCount].number(line)
	if nothing := len(r.sum.Boxes) == 0; nothing && said > int64(r.records) {
		r.missing, r.sum.Balanced = true, false
		r.problem(RefusesFile, structure, "9", "count", strconv.FormatInt(said, 10), strconv.Itoa(r.records), "the file has no lockbox at all, and by the count of its records it should have more than its header and trailer: its middle is missing")
	} else {
		r.spoke = r.spoke || nothing // a day without mail
		r.checkCount(line, 9, fCount, "count", r.records, "records in the file")
	}
	r.trailer = true
	return nil
}

// finish closes what the file left open and completes the summary.
func (r *reader) finish() (Summary, error) {
	last := strconv.Itoa(r.lines.number)
	if err := r.closeBatch(nil, 0, "the end of the file on line "+last); err != nil {
		return r.sum, err
	}
	r.closeBox(nil, 0, "the end of the file on line "+last)
	switch {
	case r.records == 0:
		r.sum.Balanced = false
		r.problem(RefusesFile, structure, ofFileItself, "length", "no records", "0 records", "the file has no records at all")
	case r.plan.has[9] && !r.trailer:
		r.problem(RefusesFile, structure, "9", "record type", "the end of the file", "no record 9", "the file does not end with its trailer (record 9): it was cut off, or is still being written; ask for it again")
	}
	return r.complete(r.records > 0 && (r.header || !r.plan.has[1]) && (r.trailer || !r.plan.has[9])), nil
}

// openBatch begins a batch at the current line.
func (r *reader) openBatch(number int, text []byte) {
	r.startBatch(show(text))
	r.text, r.parts, r.places = r.text[:0], r.parts[:0], r.places[:0]
	if r.box.fresh && r.box.five != 0 && r.box.five != number {
		r.problem(RefusesFile, structure, "5", "batch", strconv.Itoa(r.box.five), strconv.Itoa(number), "the record 5 on line %d announces another batch than the one that follows", r.box.line)
	}
	r.box.fresh = false
	r.nameBatch(number, text)
}

// nameBatch gives the open batch its number, which a layout may tell only at its
// end.
func (r *reader) nameBatch(number int, text []byte) {
	b := &r.batch
	b.number, b.found.Number = number, show(text)
	// An empty batch is often numbered 000, in every lockbox of the file.
	if seen := r.numbersOf(b.found.Lockbox + "|" + b.found.DepositDate.String()); number != 0 && seen.again(number) {
		r.problem(RefusesFile, structure, "6", "batch", b.found.Number, "the same number before", "this batch number stands twice for lockbox %s on deposit date %s", b.found.Lockbox, b.found.DepositDate)
	}
}

// total reads the amount and the count of a record 7 or 8; nil if the amount
// cannot be read.
func (r *reader) total(line []byte, kind byte) *Total {
	s := &r.plan.spans[kind]
	c, got := s[fTotal].cents(line)
	if got != good {
		r.sum.Balanced = false
		if len(line) >= s[fTotal].to {
			r.problem(RefusesFile, shape, string('0'+kind), "total", orBlank(show(s[fTotal].cut(line))), "no amount", "the total cannot be read: %s", amountForm(s[fTotal]))
		}
		return nil
	}
	r.tell(c)
	t := &Total{Items: -1, Cents: c}
	if n, got := s[fCount].number(line); got == good {
		t.Items = int(n)
	}
	return t
}

// checkCount holds a count against what was counted.
func (r *reader) checkCount(line []byte, kind byte, f field, name string, found int, of string) {
	s := &r.plan.spans[kind][f]
	if s.to == 0 {
		return
	}
	said, got := s.number(line)
	switch got {
	case bad:
		r.problem(r.countScope(), shape, string('0'+kind), name, orBlank(show(s.cut(line))), strconv.Itoa(found), "the count of %s is not a number", of)
		return
	case absent:
		said = -1
	}
	r.compareCount(r.lines.number, string('0'+kind), name, show(s.cut(line)), int(said), found, int(math.Pow10(s.width())), of)
}

// number reads a field of digits and tells when it is none.
func (r *reader) number(line []byte, kind byte, f field, name string) (int64, reading) {
	s := &r.plan.spans[kind][f]
	n, got := s.number(line)
	tooShort := s.must && len(line) < s.to // told by record
	if !tooShort && (got == bad || got == absent && s.must) {
		r.problem(RefusesFile, shape, string('0'+kind), name, orBlank(show(s.cut(line))), "no number of "+strconv.Itoa(s.width())+" digits", "this must be a number of %d digits", s.width())
	}
	return n, got
}

// date reads a date and tells when it is impossible.
func (r *reader) date(line []byte, kind byte, f field, name string, scope Scope) calendar.Date {
	s := &r.plan.spans[kind][f]
	d, got := s.date(line, r.plan.pivot)
	if got == bad {
		r.problem(scope, shape, string('0'+kind), name, orBlank(show(s.cut(line))), "no date of the form "+r.p.Records[string('0'+kind)][name].Form, "there is no such date; the layout says %s", r.p.Records[string('0'+kind)][name].Form)
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
