package ach

import (
	"errors"
	"fmt"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The widths of Nacha's fields, as the largest values they hold.
const (
	maxEntryCents   = ledger.Cents(99_999_999_99)    // 10 digits
	maxTotalCents   = ledger.Cents(9_999_999_999_99) // 12 digits, of a batch and of a file
	maxBatchEntries = 999_999                        // 6 digits: entries and addenda of a batch
	maxFileEntries  = 99_999_999                     // 8 digits
	maxFileBlocks   = 999_999                        // 6 digits: blocks of ten records
	maxBatchNumber  = 9_999_999                      // 7 digits
	hashModulus     = 10_000_000_000                 // an entry hash keeps its last 10 digits
)

// EntryError is one entry that cannot go into a file. It names the entry by
// trace number and individual ID, never by account number.
type EntryError struct {
	Trace        Trace
	IndividualID string
	Field        string // of the entry, in words
	Problem      string
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("entry %s of %q, %s: %s", e.Trace, e.IndividualID, e.Field, e.Problem)
}

// CheckEntry says what keeps an entry out of the company's files, as an
// *EntryError, or nil. It covers all that concerns the entry alone, so that a
// caller can set a bad one aside and send the rest.
func (c Company) CheckEntry(e *Entry) error {
	bank, err := bankOf(c.ODFI)
	if err != nil {
		return err
	}
	return checkEntry(e, bankNumber(bank))
}

// checkEntry holds an entry to everything that the library would write cut
// short, pass on or only report for the whole batch.
func checkEntry(e *Entry, bank int64) error {
	bad := func(field, format string, args ...any) error {
		return &EntryError{e.Trace, e.IndividualID, field, fmt.Sprintf(format, args...)}
	}
	sequence := e.Trace.Sequence()
	switch {
	case e.Trace <= 0 || int64(e.Trace)/(maxSequence+1) != bank:
		return bad("trace number", "does not begin with the ODFI %08d", bank)
	case sequence == 0:
		return bad("trace number", "sequence 0 is not used")
	case e.SEC != PPD && e.SEC != WEB && e.SEC != TEL:
		return bad("entry class", "%q is not PPD, WEB or TEL", e.SEC)
	case e.Prenote && e.Cents != 0:
		return bad("amount", "a prenote is of zero cents, not %d", int64(e.Cents))
	case e.Prenote && (e.Retry || e.Reversal):
		return bad("retry", "a prenote is not presented again, nor reversed")
	case e.Retry && e.Reversal:
		return bad("reversal", "is not presented again")
	case e.Reversal && e.SEC == TEL:
		return bad("reversal", "a TEL batch may hold no credit; pay the member back another way")
	case !e.Prenote && e.Cents <= 0:
		return bad("amount", "%d cents; a debit is of at least one cent", int64(e.Cents))
	case e.Cents > maxEntryCents:
		return bad("amount", "%s does not fit its 10 digits", e.Cents)
	case !e.Effective.IsZero() && !calendar.IsBankingDay(e.Effective):
		return bad("effective date", "%s is not a banking day; the next is %s", e.Effective, calendar.Roll(e.Effective))
	case len(e.IndividualID) > 15:
		return bad("individual ID", "%d characters; there is room for 15", len(e.IndividualID))
	case firstForeign(e.IndividualID) >= 0:
		return bad("individual ID", "holds a character that is not ASCII")
	case isNothing(e.Name):
		return bad("name", "is empty or zeros; the bank returns such an entry")
	}
	if err := CheckRouting(e.Routing); err != nil {
		return bad("routing number", "%s", err)
	}
	if err := CheckAccount(e.Account); err != nil {
		return bad("account number", "%s", err)
	}
	return nil
}

// CheckAccount says what is wrong with an account number, without repeating
// it: it has 1 to 17 letters, digits, hyphens and inner blanks.
func CheckAccount(account string) error {
	if account == "" {
		return errors.New("is empty")
	}
	if len(account) > 17 {
		return fmt.Errorf("is %d characters long; there is room for 17, and a cut number is someone else's account", len(account))
	}
	for i := 0; i < len(account); i++ {
		switch c := account[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '-':
		case c == ' ':
			if i == 0 || i == len(account)-1 {
				return errors.New("begins or ends with a blank")
			}
		default:
			return fmt.Errorf("character %d is not a letter, a digit, a hyphen or a blank", i+1)
		}
	}
	return nil
}

// check holds the company's own lines to their widths.
func (c Company) check() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	own := billing.Company{Name: c.Name, ID: c.ID, EntryDescription: c.Description, ODFIName: c.ODFIName, Origin: c.Origin}
	for _, w := range own.Wrong() {
		bad("company %s: %s", strings.ReplaceAll(w.Path, "_", " "), w.Says)
	}
	if len(c.OriginName) > 23 || firstForeign(c.OriginName) >= 0 {
		bad("immediate origin name %q is not up to 23 ASCII characters", c.OriginName)
	}
	if _, err := bankOf(c.ODFI); err != nil {
		bad("%w", err)
	}
	if err := CheckRouting(c.Destination); err != nil {
		bad("immediate destination: %w", err)
	}
	if c.Balanced {
		if err := CheckRouting(c.OffsetRouting); err != nil {
			bad("balancing account: %w", err)
		}
		if err := CheckAccount(c.OffsetAccount); err != nil {
			bad("balancing account: number %w", err)
		}
		if c.OffsetType != Checking && c.OffsetType != Savings {
			bad("balancing account: type %q is not checking or savings", c.OffsetType)
		}
	}
	return errors.Join(wrong...)
}

// check holds the file's own facts to what a file can say.
func (f *File) check() error {
	if err := f.Company.check(); err != nil {
		return err
	}
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if err := f.Created.check(); err != nil {
		bad("%w", err)
	}
	if m := f.IDModifier; !('A' <= m && m <= 'Z' || '0' <= m && m <= '9') {
		bad("file ID modifier %q is not A to Z or 0 to 9", m)
	}
	if len(f.Reference) > 8 || firstForeign(f.Reference) >= 0 {
		bad("reference %q is not up to 8 ASCII characters", f.Reference)
	}
	if f.FirstBatch < 1 || f.FirstBatch > maxBatchNumber {
		bad("first batch number %d is not 1 to %d", f.FirstBatch, maxBatchNumber)
	}
	return errors.Join(wrong...)
}

func (s Stamp) check() error {
	if s.Date.IsZero() || s.Hour < 0 || s.Hour > 23 || s.Minute < 0 || s.Minute > 59 {
		return fmt.Errorf("created %s %02d:%02d is no moment of a day", s.Date, s.Hour, s.Minute)
	}
	return nil
}
