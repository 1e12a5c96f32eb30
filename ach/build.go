package ach

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	moov "github.com/moov-io/ach"
	"github.com/moov-io/base"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The types of account that a balancing credit may go to.
const (
	Checking = "checking"
	Savings  = "savings"
)

// Company is who originates the debits and at which bank: what stands in the
// headers of every file.
type Company struct {
	Name        string // up to 16 characters: what members read on their bank statement
	ID          string // up to 10 characters, given by the bank, often 1 and the EIN
	Description string // up to 10 characters, such as PREMIUM

	ODFI        string // routing number of our bank, 8 or 9 digits: the prefix of every trace
	ODFIName    string // the receiving point's name, up to 23 characters
	Destination string // immediate destination: its routing number, 9 digits
	Origin      string // immediate origin: 9 or 10 characters, as the bank assigned it
	OriginName  string // up to 23 characters

	// Balanced adds a credit to our own account for the sum of the debits,
	// where the bank does not make that entry itself.
	Balanced      bool
	OffsetRouting string // 9 digits
	OffsetAccount string
	OffsetType    string // Checking or Savings
}

// File is all that goes into one Nacha file.
type File struct {
	Company
	Created    Stamp
	IDModifier byte          // A-Z or 0-9: tells apart the files made for one bank on one day
	Effective  calendar.Date // of the entries that name no day of their own
	FirstBatch int           // number of the first batch, from 1
	Reference  string        // up to 8 characters for our own use
	Entries    []Entry       // in any order

	// OffsetTrace is the first of the traces of the balancing credits, as many
	// as Offsets says; not used otherwise.
	OffsetTrace Trace

	// Reread is the number of entries up to which the library validates the
	// whole file once more and reads it back: 0 means 10,000, less means never.
	// The totals are always footed from the file's bytes.
	Reread int
}

// Totals are the sums of a built file.
type Totals struct {
	Batches     int
	Entries     int // records 6, balancing credits included
	Debits      int // live debits
	Prenotes    int
	Offsets     int // balancing credits
	Records     int // lines, nines included
	DebitCents  ledger.Cents
	CreditCents ledger.Cents
	Hash        int64 // the file's entry hash
}

// batchKey is what entries of one batch have in common.
type batchKey struct {
	sec       string
	retry     bool
	effective calendar.Date
}

func compareKeys(a, b batchKey) int {
	return cmp.Or(cmp.Compare(a.sec, b.sec), cmp.Compare(count(a.retry), count(b.retry)), cmp.Compare(a.effective, b.effective))
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// effective returns the day an entry is for.
func (f *File) effective(e *Entry) calendar.Date {
	if e.Effective.IsZero() {
		return f.Effective
	}
	return e.Effective
}

// Build makes the bytes of a file: one batch for each entry class, first
// presentation or retry, and effective date, in that order, its entries by
// trace number; then the balancing credits, if the company asks for them, in
// CCD batches, as a TEL batch may hold no credit. The same input gives the
// same bytes. A wrong entry stops the whole file, and the error (up to 20
// *EntryError, joined) names every one.
func Build(f File) ([]byte, Totals, error) {
	if err := f.check(); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", err)
	}
	bank, _ := bankOf(f.ODFI) // check has seen it
	if err := f.checkEntries(bankNumber(bank)); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", err)
	}
	out := moov.NewFile()
	out.SetHeader(f.header())
	// Without this the library drops the last of an origin's 10 characters; it
	// has no effect on batches, whose traces are checked.
	out.SetValidation(&moov.ValidateOpts{BypassOriginValidation: len(f.Origin) == 10})

	var sum Totals
	number := f.FirstBatch
	for _, group := range f.groups() {
		if len(group.entries) > maxBatchEntries {
			return nil, Totals{}, fmt.Errorf("ach file: %d entries in the %s batch; a batch counts to %d (Split the file)",
				len(group.entries), group.sec, maxBatchEntries)
		}
		batch, err := f.batch(group, bank, number, &sum)
		if err != nil {
			return nil, Totals{}, fmt.Errorf("ach file: batch %d (%s): %w", number, group.sec, quiet(err))
		}
		out.AddBatch(batch)
		number++
	}
	if err := f.balance(out, bank, number, &sum); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", err)
	}
	if err := sum.finish(f.FirstBatch); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", err)
	}
	if err := out.Create(); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", quiet(err))
	}
	buf := bytes.NewBuffer(make([]byte, 0, sum.Records*95))
	w := moov.NewWriter(buf)
	// Each batch's Create has validated it. Where the finished file is read
	// again, the library validates all once more; above that, the proofreading
	// of the totals is enough.
	w.BypassValidation = sum.Entries > f.rereadLimit()
	if err := w.Write(out); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", quiet(err))
	}
	if err := f.proofread(buf.Bytes(), sum); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: the written file is not what was asked for: %w", err)
	}
	return buf.Bytes(), sum, nil
}

func (f *File) header() moov.FileHeader {
	h := moov.NewFileHeader()
	h.ImmediateDestination = f.Destination
	h.ImmediateOrigin = f.Origin
	h.FileCreationDate = f.Created.Date.Format("060102")
	h.FileCreationTime = fmt.Sprintf("%02d%02d", f.Created.Hour, f.Created.Minute)
	h.FileIDModifier = string(f.IDModifier)
	h.ImmediateDestinationName = f.ODFIName
	h.ImmediateOriginName = f.OriginName
	h.ReferenceCode = f.Reference
	return h
}

func (f *File) rereadLimit() int { return cmp.Or(f.Reread, 10_000) }

type group struct {
	batchKey
	entries []*Entry
}

// groups puts the entries into their batches, in the order of the file.
func (f *File) groups() []group {
	index := map[batchKey]int{}
	var groups []group
	for i := range f.Entries {
		e := &f.Entries[i]
		key := batchKey{e.SEC, e.Retry, f.effective(e)}
		at, ok := index[key]
		if !ok {
			at = len(groups)
			index[key] = at
			groups = append(groups, group{batchKey: key})
		}
		groups[at].entries = append(groups[at].entries, e)
	}
	slices.SortFunc(groups, func(a, b group) int { return compareKeys(a.batchKey, b.batchKey) })
	byTrace := func(a, b *Entry) int { return cmp.Compare(a.Trace, b.Trace) }
	for _, g := range groups {
		if !slices.IsSortedFunc(g.entries, byTrace) {
			slices.SortFunc(g.entries, byTrace)
		}
	}
	return groups
}

func (f *File) batchHeader(key batchKey, service int, bank string, number int) *moov.BatchHeader {
	h := moov.NewBatchHeader()
	h.ServiceClassCode = service
	h.CompanyName = f.Name
	h.CompanyIdentification = f.ID
	h.StandardEntryClassCode = key.sec
	h.CompanyEntryDescription = f.Description
	if key.retry {
		h.CompanyEntryDescription = RetryDescription
	}
	h.EffectiveEntryDate = key.effective.Format("060102")
	h.ODFIIdentification = bank
	h.BatchNumber = number
	return h
}

// batch makes one batch of debits and adds it to the totals.
func (f *File) batch(g group, bank string, number int, sum *Totals) (moov.Batcher, error) {
	b, err := moov.NewBatch(f.batchHeader(g.batchKey, moov.DebitsOnly, bank, number))
	if err != nil {
		return nil, err
	}
	details := make([]moov.EntryDetail, len(g.entries)) // one block of memory, not one each
	traces := traceDigits(g.entries)
	var cents ledger.Cents
	for i, e := range g.entries {
		d := &details[i]
		d.Category = moov.CategoryForward
		d.TransactionCode = e.transactionCode()
		d.RDFIIdentification, d.CheckDigit = e.Routing[:8], e.Routing[8:]
		d.DFIAccountNumber = e.Account
		d.Amount = int(e.Cents)
		d.IdentificationNumber = e.IndividualID
		d.IndividualName = plainName(e.Name)
		if g.sec != PPD {
			d.DiscretionaryData = "R" // payment type of WEB and TEL: recurring
		}
		d.TraceNumber = traces[i*15 : i*15+15]
		b.AddEntry(d)
		cents += e.Cents
		sum.Prenotes += count(e.Prenote)
		sum.Debits += count(!e.Prenote)
		sum.Hash += bankNumber(e.Routing[:8])
	}
	if cents > maxTotalCents {
		return nil, fmt.Errorf("debits of %s do not fit the batch's 12 digits (Split the file)", cents)
	}
	sum.Batches++
	sum.Entries += len(g.entries)
	sum.DebitCents += cents
	return b, b.Create()
}

// traceDigits writes all trace numbers into one string, 15 digits each.
func traceDigits(entries []*Entry) string {
	digits := make([]byte, 15*len(entries))
	for i, e := range entries {
		n := int64(e.Trace)
		for at := i*15 + 14; at >= i*15; at-- {
			digits[at] = byte('0' + n%10)
			n /= 10
		}
	}
	return string(digits)
}

func (e *Entry) transactionCode() int {
	switch {
	case e.Savings && e.Prenote:
		return moov.SavingsPrenoteDebit
	case e.Savings:
		return moov.SavingsDebit
	case e.Prenote:
		return moov.CheckingPrenoteDebit
	}
	return moov.CheckingDebit
}

// Offsets returns how many balancing credits, and so traces from OffsetTrace
// on, the file takes: one for each effective date, more where the sum of a day
// does not fit one entry's ten digits.
func (f File) Offsets() int {
	n := 0
	for _, credit := range f.credits() {
		n += int((credit.cents + maxEntryCents - 1) / maxEntryCents)
	}
	return n
}

type credit struct {
	effective calendar.Date
	cents     ledger.Cents
}

// credits sums the debits of each effective date.
func (f *File) credits() []credit {
	if !f.Balanced {
		return nil
	}
	sums := map[calendar.Date]ledger.Cents{}
	for i := range f.Entries {
		sums[f.effective(&f.Entries[i])] += f.Entries[i].Cents
	}
	var credits []credit
	for day, cents := range sums {
		if cents > 0 {
			credits = append(credits, credit{day, cents})
		}
	}
	slices.SortFunc(credits, func(a, b credit) int { return cmp.Compare(a.effective, b.effective) })
	return credits
}

// balance adds the batches of balancing credits. The library could do it by
// itself (WithOffset), but then a second Create panics and an entry of a
// member named Offset is deleted.
func (f *File) balance(out *moov.File, bank string, number int, sum *Totals) error {
	n := f.Offsets()
	if n == 0 {
		return nil
	}
	first, last := f.OffsetTrace, f.OffsetTrace+Trace(n)-1
	if first.ODFI() != bank || last.ODFI() != bank || first.Sequence() == 0 {
		return fmt.Errorf("balancing credits: %d traces from %s on are not all of the ODFI %s", n, first, bank)
	}
	for i := range f.Entries {
		if t := f.Entries[i].Trace; t >= first && t <= last {
			return fmt.Errorf("balancing credits: trace %s is an entry's already", t)
		}
	}
	trace := first
	for _, c := range f.credits() {
		key := batchKey{sec: moov.CCD, effective: c.effective}
		b, err := moov.NewBatch(f.batchHeader(key, moov.MixedDebitsAndCredits, bank, number))
		if err != nil {
			return err
		}
		for left := c.cents; left > 0; trace++ {
			cents := min(left, maxEntryCents)
			left -= cents
			b.AddEntry(f.offset(trace, cents))
			sum.Offsets++
			sum.Entries++
			sum.CreditCents += cents
			sum.Hash += bankNumber(f.OffsetRouting[:8])
		}
		if err := b.Create(); err != nil {
			return fmt.Errorf("balancing batch %d: %w", number, quiet(err))
		}
		out.AddBatch(b)
		sum.Batches++
		number++
	}
	return nil
}

func (f *File) offset(trace Trace, cents ledger.Cents) *moov.EntryDetail {
	d := moov.NewEntryDetail()
	d.TransactionCode = moov.CheckingCredit
	if f.OffsetType == Savings {
		d.TransactionCode = moov.SavingsCredit
	}
	d.RDFIIdentification, d.CheckDigit = f.OffsetRouting[:8], f.OffsetRouting[8:]
	d.DFIAccountNumber = f.OffsetAccount
	d.Amount = int(cents)
	d.IdentificationNumber = f.ID
	d.IndividualName = f.Name
	d.TraceNumber = trace.String()
	return d
}

// finish computes what follows from the sums, and refuses what the file
// control has no room for.
func (t *Totals) finish(firstBatch int) error {
	t.Hash %= hashModulus
	records := 2 + 2*t.Batches + t.Entries
	t.Records = (records + 9) / 10 * 10
	switch {
	case t.DebitCents > maxTotalCents || t.CreditCents > maxTotalCents:
		return fmt.Errorf("a total of %s does not fit the file's 12 digits (Split it)", max(t.DebitCents, t.CreditCents))
	case t.Entries > maxFileEntries || t.Records/10 > maxFileBlocks:
		return fmt.Errorf("%d entries are more than a file's counts hold (Split it)", t.Entries)
	case firstBatch+t.Batches-1 > maxBatchNumber:
		return fmt.Errorf("batch numbers run past %d", maxBatchNumber)
	}
	return nil
}

// Limits bound a file: our bank's, or Nacha's where a field is zero.
type Limits struct {
	Entries int          // up to 999,999, what one batch can count
	Cents   ledger.Cents // sum of debits, up to 12 digits
}

// Split cuts entries into as few runs as the limits allow, by trace number,
// each for a file of its own. The given slice stays as it is. An entry above
// the limit by itself is an error.
func Split(entries []Entry, most Limits) ([][]Entry, error) {
	if most.Entries <= 0 || most.Entries > maxBatchEntries {
		most.Entries = maxBatchEntries
	}
	if most.Cents <= 0 || most.Cents > maxTotalCents {
		most.Cents = maxTotalCents
	}
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.Trace, b.Trace) })
	var files [][]Entry
	from, cents := 0, ledger.Cents(0)
	for i := range sorted {
		e := &sorted[i]
		if e.Cents > most.Cents {
			return nil, &EntryError{e.Trace, e.IndividualID, "amount", fmt.Sprintf("%s is above the limit of a file, %s", e.Cents, most.Cents)}
		}
		if i-from == most.Entries || cents+e.Cents > most.Cents {
			files = append(files, sorted[from:i:i])
			from, cents = i, 0
		}
		cents += e.Cents
	}
	if from < len(sorted) {
		files = append(files, sorted[from:])
	}
	return files, nil
}

// bankNumber returns the number that 8 digits, already checked, spell.
func bankNumber(bank string) int64 {
	n, err := strconv.ParseInt(bank, 10, 64)
	if err != nil {
		return math.MinInt32 // no trace begins with it
	}
	return n
}

// quiet drops the value from an error of the library, which may be an account
// number, and keeps the field and the complaint.
func quiet(err error) error {
	var list base.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		err = list[0]
	}
	var field *moov.FieldError
	if errors.As(err, &field) {
		return fmt.Errorf("%s: %w", field.FieldName, field.Err)
	}
	var batch *moov.BatchError
	if errors.As(err, &batch) {
		return fmt.Errorf("%s: %w", batch.FieldName, batch.Err)
	}
	return err
}
