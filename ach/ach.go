// Package ach turns amounts due into Nacha files, and what the bank answers
// into returns and corrections.
//
// A Nacha file is a stack of records of 94 ASCII characters: a file header (1),
// batches, a file control (9), and lines of nines up to a multiple of ten. A
// batch is a header (5), its entries (6), each perhaps with addenda (7), and a
// control (8) that foots it. One entry debits one account; its trace number is
// the name under which the bank returns it (an addenda 99 with a code such as
// R01) or corrects it (an addenda 98 with a code such as C01: a notification
// of change). A return is an entry of its own, so the number to match by is
// the original entry's trace inside the addenda, not the entry's own.
//
// The package is the only one that knows github.com/moov-io/ach. That library
// builds and reads the records; around it stand the checks it leaves out: what
// would be cut to the width of its field without a word, counts that do not
// fit their columns, letters outside ASCII, dates on which no bank is open,
// traces used twice. Files from outside are footed here record by record, and
// read a second time by the library: the two must agree.
//
// Everything in this package's pure files is a function of its arguments: the
// same input gives the same bytes. Account numbers never appear in an error.
package ach

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Trace is a trace number: the first 8 digits of the originating bank's
// routing number, then a sequence number of 7 digits. It is written with 15
// digits; the zero value is no trace.
type Trace int64

const maxSequence = 9_999_999

// NewTrace makes the trace number of a sequence number, 1 to 9,999,999, at the
// bank odfi (8 or 9 digits). More than seven digits would be cut to the last
// seven and repeat an older number, so that is an error.
func NewTrace(odfi string, sequence int) (Trace, error) {
	bank, err := bankOf(odfi)
	if err != nil {
		return 0, err
	}
	if sequence < 1 || sequence > maxSequence {
		return 0, fmt.Errorf("trace sequence %d: a trace number has room for 1 to %d", sequence, maxSequence)
	}
	n, _ := strconv.ParseInt(bank, 10, 64)
	return Trace(n*(maxSequence+1) + int64(sequence)), nil
}

// ParseTrace reads a trace number of 15 digits.
func ParseTrace(s string) (Trace, error) {
	if len(s) != 15 || !allDigits(s) {
		return 0, fmt.Errorf("trace number %q is not 15 digits", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return Trace(n), err
}

// String returns the trace number as 15 digits.
func (t Trace) String() string { return fmt.Sprintf("%015d", int64(t)) }

// ODFI returns the originating bank, the first 8 digits.
func (t Trace) ODFI() string { return t.String()[:8] }

// Sequence returns the last 7 digits.
func (t Trace) Sequence() int { return int(t % (maxSequence + 1)) }

// MarshalText writes the trace number as 15 digits, in JSON as a string.
func (t Trace) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Trace) UnmarshalText(b []byte) error {
	v, err := ParseTrace(string(b))
	*t = v
	return err
}

// Stamp is the moment a file says it was made, to the minute. It is given by
// the caller, never read from a clock.
type Stamp struct {
	Date         calendar.Date
	Hour, Minute int // 0-23, 0-59
}

// The entry classes of debits that we send: by a written, an online and a
// spoken authorization.
const (
	PPD = "PPD"
	WEB = "WEB"
	TEL = "TEL"
)

// RetryDescription is what Nacha prescribes as the description of a batch of
// entries presented again (Operating Rules 2.12.4); it supersedes any other.
const RetryDescription = billing.RetryDescription

// ReversalDescription is what Nacha prescribes as the description of a batch
// of credits that undo erroneous debits (Operating Rules 2.9).
const ReversalDescription = billing.ReversalDescription

// Entry is one debit of a member's account, the prenote that tries it out, or
// the credit that undoes it.
type Entry struct {
	Trace     Trace
	SEC       string        // PPD, WEB or TEL
	Retry     bool          // presented again after a return: goes into a RETRY PYMT batch
	Reversal  bool          // a credit that undoes a debit sent in error: goes into a REVERSAL batch
	Effective calendar.Date // the banking day it is for; none = the file's

	Routing string // 9 digits
	Account string // 1 to 17 characters: letters, digits, hyphens, inner blanks
	Savings bool   // else a checking account
	Prenote bool   // a trial of zero cents
	Cents   ledger.Cents

	IndividualID string // up to 15 characters; comes back with a return, so it can match one
	Name         string // of the account's holder; written in ASCII capitals, cut to 22
}

// Problem is one thing that is wrong with a file: on which line, counted from
// 1 (0 = the file as a whole), in which record and field, what the file said,
// what was found instead, and what that means.
type Problem struct {
	Line    int    `json:"line"`
	Record  string `json:"record"`
	Field   string `json:"field"`
	Said    string `json:"said"`
	Found   string `json:"found"`
	Problem string `json:"problem"`
}

// String returns the problem as one line for a person.
func (p Problem) String() string {
	s := p.Problem
	if p.Said != "" || p.Found != "" {
		s += fmt.Sprintf(" (said %q, found %q)", p.Said, p.Found)
	}
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	place := p.Record
	if p.Line > 0 {
		place = strings.TrimSuffix(fmt.Sprintf("line %d, %s", p.Line, p.Record), ", ")
	}
	switch {
	case place == "":
		return s
	case p.Field == "":
		return place + ": " + s
	}
	return place + ", " + s
}

// CheckRouting says what is wrong with a routing number of 9 digits, the last
// of which is a check digit: 3, 7 and 1 times the digits add up to a multiple
// of ten.
func CheckRouting(routing string) error {
	if len(routing) != 9 || !allDigits(routing) {
		return fmt.Errorf("routing number %q is not 9 digits", routing)
	}
	if routing == "000000000" {
		return fmt.Errorf("routing number is all zeros")
	}
	if !checkDigitHolds(routing) {
		return fmt.Errorf("routing number %s fails its check digit", routing)
	}
	return nil
}

func checkDigitHolds(routing string) bool {
	sum := 0
	for i, weight := range [9]int{3, 7, 1, 3, 7, 1, 3, 7, 1} {
		sum += weight * int(routing[i]-'0')
	}
	return sum%10 == 0
}

// bankOf returns the 8 digits by which Nacha names a bank, from those or from
// its whole routing number.
func bankOf(odfi string) (string, error) {
	if len(odfi) == 8 && allDigits(odfi) {
		return odfi, nil
	}
	if err := CheckRouting(odfi); err != nil {
		return "", fmt.Errorf("ODFI: %w (give 8 digits, or 9 with the check digit)", err)
	}
	return odfi[:8], nil
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
