package ach

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/ledger"
)

// Report is what stands in a Nacha file, whatever its kind.
type Report struct {
	Batches     int              `json:"batches"`
	Entries     int              `json:"entries"`      // records 6
	DebitCents  ledger.Cents     `json:"debit_cents"`  // by transaction code, prenotes and returns included
	CreditCents ledger.Cents     `json:"credit_cents"` // the same
	Prenotes    int              `json:"prenotes"`     // entries by which bank accounts are tried out
	Reversals   int              `json:"reversals"`    // entries of batches described REVERSAL
	Returns     []ReturnLine     `json:"returns"`      // addenda 99, in the order of the file
	Corrections []CorrectionLine `json:"corrections"`  // addenda 98
	Problems    []Problem        `json:"problems"`     // wrong; by line
	Notes       []Problem        `json:"notes"`        // unusual in form, harmless to every figure
}

// ReturnLine is one addenda 99.
type ReturnLine struct {
	Trace string       `json:"trace"` // of the original entry
	Code  string       `json:"code"`
	Cents ledger.Cents `json:"cents"`
}

// CorrectionLine is one addenda 98.
type CorrectionLine struct {
	Trace string `json:"trace"` // of the original entry
	Code  string `json:"code"`
	Data  string `json:"data"` // the corrected data as sent, without blanks at its end
}

// Inspect reads any Nacha file: originations, returns, corrections. It stores
// nothing and trusts nothing: every batch and the file are footed, and the ACH
// library reads the same records a second time. What is wrong is in Problems,
// what banks do in their answers without harm in Notes; the figures are those
// of the entries as read, also in a file that does not foot. The error is the
// reader's own.
func Inspect(r io.Reader) (Report, error) {
	rep := Report{Returns: []ReturnLine{}, Corrections: []CorrectionLine{}}
	s, err := scanAnswers(r, func(_ *batchSeen, e *entrySeen, a addendaSeen) {
		trace, code := strings.TrimSpace(col(a.text, 7, 21)), col(a.text, 4, 6)
		if a.kind() == "99" {
			rep.Returns = append(rep.Returns, ReturnLine{trace, code, ledger.Cents(e.cents)})
		} else {
			rep.Corrections = append(rep.Corrections, CorrectionLine{trace, code, strings.TrimRight(col(a.text, 36, 64), " ")})
		}
	})
	if err != nil {
		return Report{}, fmt.Errorf("ach file: %w", err)
	}
	rep.Batches, rep.Entries = s.batches, s.entries
	rep.DebitCents, rep.CreditCents = ledger.Cents(s.debit), ledger.Cents(s.credit)
	rep.Prenotes, rep.Reversals = s.prenotes, s.reversals
	rep.Problems, rep.Notes = s.problems, s.notes
	return rep, nil
}

// scanAnswers scans a file, calls found for each addenda 98 and 99, and asks
// the library for its opinion.
func scanAnswers(r io.Reader, found func(*batchSeen, *entrySeen, addendaSeen)) (*scan, error) {
	var answers []answerKey
	s := &scan{problems: []Problem{}, notes: []Problem{}}
	s.onEntry = func(b *batchSeen, e *entrySeen) {
		for _, a := range e.addenda {
			if k := a.kind(); k == "98" || k == "99" {
				answers = append(answers, answerKey{e.line, strings.TrimSpace(col(a.text, 7, 21)), col(a.text, 4, 6), e.cents, k == "99"})
				found(b, e, a)
			}
		}
	}
	if err := s.read(r); err != nil {
		return nil, err
	}
	s.secondOpinion(answers)
	s.sort()
	return s, nil
}

func (s *scan) sort() {
	byLine := func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) }
	slices.SortStableFunc(s.problems, byLine)
	slices.SortStableFunc(s.notes, byLine)
}
