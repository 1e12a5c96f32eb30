package ach

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Writer writes a file of entries record by record, in memory that does not
// grow with their number. The entries come in the order of the file: batch by
// batch (entry class, then first presentations before retries before
// reversals, then effective date), within a batch by trace number. What it
// writes is footed a second time from the written bytes, and the ACH library
// reads and validates files up to File.Reread entries.
type Writer struct {
	f    *File
	out  *bufio.Writer
	foot *proofreader
	bank int64

	sum     Totals
	number  int // of the next batch
	open    bool
	key     batchKey
	last    Trace
	batch   batchTotals
	traces  bitmap
	offsets []offset

	banking calendar.Date // the last effective date that was seen to be one

	record [recordLength + 1]byte
	line   line  // of it
	err    error // of writing, or of a file that holds no more
}

// batchTotals are the sums of one batch.
type batchTotals struct {
	entries       int
	hash          int64
	debit, credit ledger.Cents
}

// bitmap remembers which of the seven-digit sequence numbers were used, in one
// and a quarter megabytes however many they are.
type bitmap []uint64

func (b bitmap) add(n int) (again bool) {
	again = b[n/64]&(1<<(n%64)) != 0
	b[n/64] |= 1 << (n % 64)
	return again
}

// NewWriter checks what a file says of itself and writes its header. The
// file's Entries and OffsetTrace are not looked at.
func NewWriter(to io.Writer, f File) (*Writer, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("ach file: %w", err)
	}
	bank, err := bankOf(f.ODFI)
	if err != nil {
		return nil, fmt.Errorf("ach file: %w", err)
	}
	w := &Writer{f: &f, bank: bankNumber(bank), number: f.FirstBatch, traces: make(bitmap, maxSequence/64+1)}
	w.foot = newProofreader(&f, to)
	w.out = bufio.NewWriterSize(w.foot, 1<<16)
	w.fileHeader()
	return w, w.err
}

// Add writes one entry. An *EntryError is the entry's own: nothing was written
// of it, and the file goes on without it. After any other error the file is
// lost.
func (w *Writer) Add(e *Entry) error {
	if w.err != nil {
		return w.err
	}
	if err := w.mayAdd(e); err != nil {
		return err
	}
	key := batchKey{e.SEC, e.presentation(), w.f.effective(e)}
	switch order := compareKeys(key, w.key); {
	case !w.open || order > 0:
		w.closeBatch()
		if w.openBatch(key); w.err != nil {
			return w.err
		}
	case order < 0 || e.Trace <= w.last:
		w.err = fmt.Errorf("ach file: entry %s comes out of order", e.Trace)
		return w.err
	}
	if w.batch.entries == maxBatchEntries {
		w.err = fmt.Errorf("ach file: more than %d entries in the %s batch, which counts no further", maxBatchEntries, e.SEC)
		return w.err
	}
	w.entry(e)
	w.count(e)
	return w.err
}

// mayAdd holds an entry to the rules, and to a trace of its own.
func (w *Writer) mayAdd(e *Entry) error {
	if err := checkEntry(e, w.bank); err != nil {
		return err
	}
	switch day := w.f.effective(e); {
	case day >= w.f.Created.Date && (day == w.banking || calendar.IsBankingDay(day)):
		w.banking = day
	case e.Effective.IsZero():
		return fmt.Errorf("effective date %q of the file is not a banking day on or after %s, the day it was made", day, w.f.Created.Date)
	default: // checkEntry has seen that it is a banking day
		return &EntryError{e.Trace, e.IndividualID, "effective date", fmt.Sprintf("%s is before the file was made, %s", day, w.f.Created.Date)}
	}
	if w.traces.add(e.Trace.Sequence()) {
		return &EntryError{e.Trace, e.IndividualID, "trace number", "is another entry's of this file too"}
	}
	return nil
}

func (w *Writer) count(e *Entry) {
	w.last = e.Trace
	w.batch.entries++
	w.batch.hash += bankNumber(e.Routing[:8])
	w.sum.Entries++
	switch {
	case e.Reversal:
		w.batch.credit += e.Cents
		w.sum.CreditCents += e.Cents
		w.sum.Reversals++
	case e.Prenote:
		w.sum.Prenotes++
	default:
		w.batch.debit += e.Cents
		w.sum.DebitCents += e.Cents
		w.sum.Debits++
	}
	if w.f.Balanced && e.Cents > 0 {
		w.offsetLater(offset{w.f.effective(e), e.Reversal, e.Cents})
	}
}

// offset is the sum of the entries of an effective date on one side, for which
// a balanced file carries entries of our own account on the other.
type offset struct {
	effective calendar.Date
	debit     bool // our account is debited, for reversals
	cents     ledger.Cents
}

func (w *Writer) offsetLater(o offset) {
	n := slices.IndexFunc(w.offsets, func(x offset) bool { return x.effective == o.effective && x.debit == o.debit })
	if n < 0 {
		w.offsets = append(w.offsets, o)
		return
	}
	w.offsets[n].cents += o.cents
}

// Offsets returns how many balancing entries, and so traces from the one given
// to Close on, the entries written so far take: one for each effective date
// and side, more where the sum does not fit one entry's ten digits.
func (w *Writer) Offsets() (n int) {
	for _, o := range w.offsets {
		n += int((o.cents + maxEntryCents - 1) / maxEntryCents)
	}
	return n
}

// Close writes the balancing entries, if there are any, under the traces from
// offset on, and the file control, and returns the file's totals. It refuses a
// file whose written bytes do not foot to them.
func (w *Writer) Close(offset Trace) (Totals, error) {
	w.closeBatch()
	if w.err == nil {
		w.balance(offset)
	}
	if w.err == nil {
		w.err = w.sum.finish(w.f.FirstBatch)
	}
	if w.err == nil {
		w.fileControl()
		w.err = cmp.Or(w.err, w.out.Flush())
	}
	if w.err != nil {
		return Totals{}, fmt.Errorf("ach file: %w", w.err)
	}
	if err := w.foot.check(w.sum); err != nil {
		return Totals{}, fmt.Errorf("ach file: the written file is not what was asked for: %w", err)
	}
	return w.sum, nil
}

// balance adds the batches of balancing entries: CCD, as a TEL batch may hold
// no credit.
func (w *Writer) balance(trace Trace) {
	n := w.Offsets()
	if n == 0 {
		return
	}
	bank, _ := bankOf(w.f.ODFI)
	last := trace + Trace(n) - 1
	if trace.ODFI() != bank || last.ODFI() != bank || trace.Sequence() == 0 {
		w.err = fmt.Errorf("balancing entries: %d traces from %s on are not all of the ODFI %s", n, trace, bank)
		return
	}
	slices.SortFunc(w.offsets, func(a, b offset) int {
		return cmp.Or(cmp.Compare(a.effective, b.effective), cmp.Compare(count(a.debit), count(b.debit)))
	})
	for _, o := range w.offsets {
		if w.openBatch(batchKey{ownClass, own, o.effective}); w.err != nil {
			return
		}
		for left := o.cents; left > 0; trace++ {
			if w.traces.add(trace.Sequence()) {
				w.err = fmt.Errorf("balancing entries: trace %s is an entry's already", trace)
				return
			}
			cents := min(left, maxEntryCents)
			left -= cents
			w.offset(trace, o.debit, cents)
		}
		w.closeBatch()
	}
}

func (w *Writer) offset(trace Trace, debit bool, cents ledger.Cents) {
	w.entry(&Entry{Trace: trace, SEC: ownClass, Reversal: !debit, Routing: w.f.OffsetRouting, Account: w.f.OffsetAccount, Savings: w.f.OffsetType == Savings,
		Cents: cents, IndividualID: w.f.ID, Name: w.f.Name})
	w.batch.entries++
	w.batch.hash += bankNumber(w.f.OffsetRouting[:8])
	w.sum.Offsets++
	w.sum.Entries++
	if debit {
		w.batch.debit += cents
		w.sum.DebitCents += cents
	} else {
		w.batch.credit += cents
		w.sum.CreditCents += cents
	}
}

// The records. Each is laid out field by field as Nacha numbers its columns.

func (w *Writer) fileHeader() {
	r := w.begin('1')
	r.text("01", 2)
	r.right(w.f.Destination, 10)
	r.right(w.f.Origin, 10)
	r.text(w.f.Created.Date.Format("060102"), 6)
	r.number(int64(w.f.Created.Hour), 2)
	r.number(int64(w.f.Created.Minute), 2)
	r.text(string(w.f.IDModifier), 1)
	r.text("094101", 6) // record size, blocking factor, format
	r.text(w.f.ODFIName, 23)
	r.text(w.f.OriginName, 23)
	r.text(w.f.Reference, 8)
	w.end(r)
}

func (w *Writer) openBatch(key batchKey) {
	if w.number > maxBatchNumber {
		w.err = cmp.Or(w.err, fmt.Errorf("batch numbers run past %d", maxBatchNumber))
	}
	if w.err != nil {
		return
	}
	bank, _ := bankOf(w.f.ODFI)
	w.open, w.key, w.last, w.batch = true, key, 0, batchTotals{}
	r := w.begin('5')
	r.number(int64(key.service()), 3)
	r.text(w.f.Name, 16)
	r.text("", 20)
	r.text(w.f.ID, 10)
	r.text(key.sec, 3)
	r.text(key.description(w.f.Description), 10)
	r.text("", 6)
	r.text(key.effective.Format("060102"), 6)
	r.text("", 3)
	r.text("1", 1)
	r.text(bank, 8)
	r.number(int64(w.number), 7)
	w.end(r)
}

func (w *Writer) entry(e *Entry) {
	r := w.begin('6')
	r.number(int64(e.transactionCode()), 2)
	r.text(e.Routing, 9)
	r.text(e.Account, 17)
	r.number(int64(e.Cents), 10)
	r.text(e.IndividualID, 15)
	r.text(plainName(e.Name), 22)
	if e.SEC == WEB || e.SEC == TEL {
		r.text("R", 2) // payment type: recurring
	} else {
		r.text("", 2)
	}
	r.text("0", 1) // no addenda
	r.number(int64(e.Trace), 15)
	w.end(r)
}

func (w *Writer) closeBatch() {
	if !w.open || w.err != nil {
		return
	}
	if w.batch.debit > maxTotalCents || w.batch.credit > maxTotalCents {
		w.err = fmt.Errorf("debits of %s do not fit the batch's 12 digits (split the file)", max(w.batch.debit, w.batch.credit))
		return
	}
	bank, _ := bankOf(w.f.ODFI)
	r := w.begin('8')
	r.number(int64(w.key.service()), 3)
	r.number(int64(w.batch.entries), 6)
	r.number(w.batch.hash%hashModulus, 10)
	r.number(int64(w.batch.debit), 12)
	r.number(int64(w.batch.credit), 12)
	r.text(w.f.ID, 10)
	r.text("", 25)
	r.text(bank, 8)
	r.number(int64(w.number), 7)
	w.end(r)
	w.open = false
	w.number++
	w.sum.Batches++
	w.sum.Hash += w.batch.hash
}

func (w *Writer) fileControl() {
	r := w.begin('9')
	r.number(int64(w.sum.Batches), 6)
	r.number(int64(w.sum.Records/10), 6)
	r.number(int64(w.sum.Entries), 8)
	r.number(w.sum.Hash, 10)
	r.number(int64(w.sum.DebitCents), 12)
	r.number(int64(w.sum.CreditCents), 12)
	r.text("", 39)
	w.end(r)
	for n := 2 + 2*w.sum.Batches + w.sum.Entries; n < w.sum.Records && w.err == nil; n++ {
		_, w.err = w.out.WriteString(nines + "\n")
	}
}

// line is a record being laid out.
type line struct {
	at  []byte // what is left of it
	all []byte
}

func (w *Writer) begin(kind byte) *line {
	w.record[0] = kind
	w.line = line{w.record[1:recordLength], w.record[:]}
	return &w.line
}

func (w *Writer) end(l *line) {
	if len(l.at) != 0 {
		panic(fmt.Sprintf("ach: a record %q is %d characters short", l.all[:1], len(l.at)))
	}
	l.all[recordLength] = '\n'
	if w.err == nil {
		_, w.err = w.out.Write(l.all)
	}
}

// text writes a text to the left of a field. What does not fit was refused
// before; here it could only be cut.
func (l *line) text(s string, width int) {
	if len(s) > width {
		panic(fmt.Sprintf("ach: a text of %d characters in a field of %d", len(s), width))
	}
	n := copy(l.at, s)
	for i := n; i < width; i++ {
		l.at[i] = ' '
	}
	l.at = l.at[width:]
}

// right writes a text to the right of a field.
func (l *line) right(s string, width int) {
	l.text("", width-len(s))
	l.text(s, len(s))
}

// pairs are the two digits of each number below a hundred.
var pairs = func() (all [200]byte) {
	for n := range 100 {
		all[2*n], all[2*n+1] = byte('0'+n/10), byte('0'+n%10)
	}
	return all
}()

// number writes a number with leading zeros.
func (l *line) number(n int64, width int) {
	left := uint64(n)
	at := l.at[:width]
	for ; len(at) >= 2; left /= 100 {
		pair := left % 100 * 2
		at[len(at)-2], at[len(at)-1] = pairs[pair], pairs[pair+1]
		at = at[:len(at)-2]
	}
	if len(at) == 1 {
		at[0] = byte('0' + left%10)
		left /= 10
	}
	if left != 0 {
		panic(fmt.Sprintf("ach: a number too large for a field of %d digits", width))
	}
	l.at = l.at[width:]
}
