package ach

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

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

	// Entries and OffsetTrace, the first of the traces of the balancing
	// entries, are for Build; a Writer is given both as it goes.
	Entries     []Entry // in any order
	OffsetTrace Trace

	// Reread is the number of entries up to which the library validates the
	// whole file once more and reads it back: 0 means 10,000, less means never.
	// The totals are always footed from the file's bytes.
	Reread int
}

// Totals are the sums of a built file.
type Totals struct {
	Batches     int
	Entries     int // records 6, balancing entries included
	Debits      int // live debits
	Prenotes    int
	Reversals   int // credits that undo debits
	Offsets     int // balancing entries
	Records     int // lines, nines included
	DebitCents  ledger.Cents
	CreditCents ledger.Cents
	Hash        int64 // the file's entry hash
}

// batchKey is what entries of one batch have in common.
type batchKey struct {
	sec          string
	presentation int
	effective    calendar.Date
}

// How entries are presented; it decides a batch's description and side.
const (
	first    = iota
	retried  // RETRY PYMT
	reversal // REVERSAL: credits
	own      // balancing entries of our own account
)

// ownClass is the entry class of balancing entries: of a company's account.
const ownClass = "CCD"

func (e *Entry) presentation() int {
	switch {
	case e.Reversal:
		return reversal
	case e.Retry:
		return retried
	}
	return first
}

func compareKeys(a, b batchKey) int {
	return cmp.Or(cmp.Compare(a.sec, b.sec), cmp.Compare(a.presentation, b.presentation), cmp.Compare(a.effective, b.effective))
}

// service is the batch's service class: debits only, credits only, or both.
func (k batchKey) service() int {
	switch k.presentation {
	case reversal:
		return moov.CreditsOnly
	case own:
		return moov.MixedDebitsAndCredits
	}
	return moov.DebitsOnly
}

// description is the batch's company entry description.
func (k batchKey) description(usual string) string {
	switch k.presentation {
	case retried:
		return RetryDescription
	case reversal:
		return ReversalDescription
	}
	return usual
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

func (f *File) rereadLimit() int { return cmp.Or(f.Reread, 10_000) }

// transactionCode is 27 for a debit of a checking account, 37 of a savings
// account; one more for a prenote, five less for a credit.
func (e *Entry) transactionCode() int {
	code := moov.CheckingDebit
	if e.Savings {
		code = moov.SavingsDebit
	}
	switch {
	case e.Prenote:
		code++
	case e.Reversal:
		code -= moov.CheckingDebit - moov.CheckingCredit
	}
	return code
}

// Build makes the bytes of a file of a few entries in memory: one batch for
// each entry class, first presentation, retry or reversal, and effective date,
// in that order, its entries by trace number; then the balancing entries, if
// the company asks for them. The same input gives the same bytes. A wrong
// entry stops the whole file, and the error (up to 20 *EntryError, joined)
// names every one.
func Build(f File) ([]byte, Totals, error) {
	if len(f.Entries) == 0 {
		return nil, Totals{}, errors.New("ach file: no entries: a file without any is not sent")
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, f)
	if err != nil {
		return nil, Totals{}, err
	}
	entries := make([]*Entry, len(f.Entries))
	for i := range f.Entries {
		entries[i] = &f.Entries[i]
	}
	slices.SortStableFunc(entries, func(a, b *Entry) int {
		return cmp.Or(compareKeys(batchKey{a.SEC, a.presentation(), f.effective(a)}, batchKey{b.SEC, b.presentation(), f.effective(b)}), cmp.Compare(a.Trace, b.Trace))
	})
	var wrong []error
	for _, e := range entries {
		err := w.Add(e)
		if bad := (*EntryError)(nil); err != nil && !errors.As(err, &bad) {
			return nil, Totals{}, err
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if n := len(wrong); n > maxReported {
		wrong = append(wrong[:maxReported], fmt.Errorf("and %d more", n-maxReported))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, Totals{}, fmt.Errorf("ach file: %w", err)
	}
	sum, err := w.Close(f.OffsetTrace)
	return out.Bytes(), sum, err
}

// maxReported is how many wrong entries an error of Build names.
const maxReported = 20

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

// bankNumber returns the number that 8 digits, already checked, spell.
func bankNumber(bank string) int64 {
	n, ok := number(bank)
	if !ok {
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
