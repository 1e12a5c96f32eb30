package ach

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Answers is what a bank sent back about entries of ours.
type Answers struct {
	Header FileHeader

	Returns     []Return       // debits undone
	Dishonored  []Return       // R61 to R70: returns that our bank refused
	Contested   []Return       // R71 to R77: returns the other bank insists on
	Corrections []Notification // notifications of change
	Refused     []Notification // C61 to C69: notifications that our bank refused
	Forward     int            // entries that are none of these: this is no file of answers alone
}

// FileHeader is what a file says of itself.
type FileHeader struct {
	Destination, DestinationName string
	Origin, OriginName           string
	Created                      Stamp // zero where it is not in order
	IDModifier                   string
	Reference                    string
}

// BatchHeader is what the batch of an entry says; in answers it is a copy of
// the original batch's.
type BatchHeader struct {
	Number      int
	SEC         string
	CompanyName string
	CompanyID   string
	Description string
	Effective   calendar.Date // the original's; none where it is not a date
	ODFI        string        // the bank that sends the entry: for answers, the member's
}

// Return is one entry that came back.
type Return struct {
	Line     int   // of its addenda
	Original Trace // the trace of our entry: match by this; 0 where it is no trace
	Trace    Trace // the return's own
	Code     string
	RDFI     string // the member's bank, 8 digits, as in the original entry
	Cents    ledger.Cents
	// Debit says that the transaction code is of a debit returned; a return of
	// a credit gives us money back.
	Debit        bool
	IndividualID string // a second key to match by
	Name         string
	Date         calendar.Date // when it settled, else when the file was made; none if neither is said
	Died         calendar.Date // R14, R15: the day of death, if said
	Information  string        // the bank's own words
	Batch        BatchHeader
}

// Notification is one notification of change.
type Notification struct {
	Line         int   // of its addenda
	Original     Trace // the trace of our entry
	Trace        Trace // the notification's own
	Code         string
	Data         string // as sent, 29 characters without blanks at the end
	RDFI         string
	IndividualID string
	Date         calendar.Date
	Correction   Correction // what to apply, if Unclear is empty
	Unclear      string     // why the data cannot be applied without a person
	Batch        BatchHeader
}

// ReadReturns reads a file of returns and notifications of change. All that
// can be read is returned, also from a file with problems: whether to take in
// such a file is for the caller to decide. The error is the reader's own.
func ReadReturns(r io.Reader) (Answers, []Problem, error) {
	var a Answers
	s, err := scanAnswers(r, func(b *batchSeen, e *entrySeen, add addendaSeen) { a.add(b, e, add) })
	if err != nil {
		return Answers{}, nil, fmt.Errorf("ach file: %w", err)
	}
	a.Header = readFileHeader(s.header)
	a.Forward = s.forward
	for _, list := range [][]Return{a.Returns, a.Dishonored, a.Contested} {
		for i := range list {
			list[i].Date = settled(list[i].Date, a.Header.Created.Date)
		}
	}
	for _, list := range [][]Notification{a.Corrections, a.Refused} {
		for i := range list {
			list[i].Date = settled(list[i].Date, a.Header.Created.Date)
		}
	}
	return a, s.problems, nil
}

func (a *Answers) add(b *batchSeen, e *entrySeen, add addendaSeen) {
	original, _ := ParseTrace(col(add.text, 7, 21))
	trace, _ := ParseTrace(e.trace)
	code := col(add.text, 4, 6)
	batch := readBatchHeader(b.text)
	id := ""
	if !b.iat && !b.adv {
		id = strings.TrimSpace(col(e.text, 40, 54))
	}
	if add.kind() == "98" {
		n := Notification{Line: add.line, Original: original, Trace: trace, Code: code, Data: strings.TrimRight(col(add.text, 36, 64), " "),
			RDFI: col(add.text, 28, 35), IndividualID: id, Date: julian(b.text), Batch: batch}
		if code[:2] == "C6" {
			a.Refused = append(a.Refused, n)
			return
		}
		var err error
		if n.Correction, err = ParseCorrection(code, n.Data); err != nil {
			n.Unclear = err.Error()
		}
		a.Corrections = append(a.Corrections, n)
		return
	}
	r := Return{Line: add.line, Original: original, Trace: trace, Code: code, RDFI: col(add.text, 28, 35), Cents: ledger.Cents(e.cents),
		Debit: among(debitCodes, e.code), IndividualID: id, Date: julian(b.text), Batch: batch}
	if !b.iat && !b.adv {
		r.Name = strings.TrimSpace(col(e.text, 55, 76))
	}
	switch known, _ := ReturnCode(code); known.Kind {
	case Dishonored:
		a.Dishonored = append(a.Dishonored, r)
	case Contested:
		a.Contested = append(a.Contested, r)
	default:
		// In these two columns the other kinds hold something else.
		if code == "R14" || code == "R15" {
			r.Died = date(col(add.text, 22, 27))
		}
		r.Information = strings.TrimSpace(col(add.text, 36, 79))
		a.Returns = append(a.Returns, r)
	}
}

// date reads YYMMDD; no date where it is none.
func date(yymmdd string) calendar.Date {
	t, err := time.Parse("060102", yymmdd)
	if err != nil {
		return 0
	}
	return calendar.Of(t.Date())
}

// julian returns the settlement date of a batch as a day of year 1, the year
// being unknown, or no date: columns 76-78 hold the day of the year.
func julian(header string) calendar.Date {
	if header == "" {
		return 0
	}
	day, ok := number(col(header, 76, 78))
	if !ok || day < 1 || day > 366 {
		return 0
	}
	return calendar.Date(day)
}

// settled gives a day of the year the year in which it is nearest to the day
// the file was made; without a day of the year, that day itself.
func settled(day, made calendar.Date) calendar.Date {
	if day == 0 || made == 0 {
		return made
	}
	year, _, _ := made.Date()
	best := calendar.Date(0)
	for y := year - 1; y <= year+1; y++ {
		if d := calendar.Of(y, time.January, int(day)); best == 0 || abs(d-made) < abs(best-made) {
			best = d
		}
	}
	return best
}

func abs(d calendar.Date) calendar.Date {
	if d < 0 {
		return -d
	}
	return d
}

func readFileHeader(text string) FileHeader {
	if text == "" {
		return FileHeader{}
	}
	h := FileHeader{
		Destination: strings.TrimSpace(col(text, 4, 13)), DestinationName: strings.TrimSpace(col(text, 41, 63)),
		Origin: strings.TrimSpace(col(text, 14, 23)), OriginName: strings.TrimSpace(col(text, 64, 86)),
		IDModifier: strings.TrimSpace(col(text, 34, 34)), Reference: strings.TrimSpace(col(text, 87, 94)),
	}
	h.Created.Date = date(col(text, 24, 29))
	if t, err := time.Parse("1504", col(text, 30, 33)); err == nil {
		h.Created.Hour, h.Created.Minute = t.Hour(), t.Minute()
	}
	return h
}

func readBatchHeader(text string) BatchHeader {
	if text == "" {
		return BatchHeader{}
	}
	n, _ := number(col(text, 88, 94))
	return BatchHeader{
		Number: int(n), SEC: col(text, 51, 53), CompanyName: strings.TrimSpace(col(text, 5, 20)), CompanyID: strings.TrimSpace(col(text, 41, 50)),
		Description: strings.TrimSpace(col(text, 54, 63)), Effective: date(col(text, 70, 75)), ODFI: col(text, 80, 87),
	}
}

// Origination is a file of entries of ours, as a bank receives it.
type Origination struct {
	Header  FileHeader
	Batches []BatchHeader // in the order of the file
	Debits  []Entry       // live debits and prenotes of checking and savings accounts
	Back    []Entry       // reversals: credits that undo debits
	Own     []Entry       // balancing entries of the company's own account
}

// Company returns the company as the file's headers name it; the balancing
// account is not said there.
func (o Origination) Company() Company {
	c := Company{ODFIName: o.Header.DestinationName, Destination: o.Header.Destination, Origin: o.Header.Origin, OriginName: o.Header.OriginName}
	for _, b := range o.Batches {
		c.Name, c.ID, c.ODFI = b.CompanyName, b.CompanyID, b.ODFI
		if b.Description != RetryDescription && b.Description != ReversalDescription {
			c.Description = b.Description
		}
	}
	c.Balanced = len(o.Own) > 0
	return c
}

// ReadEntries reads a file as Build makes it. An entry whose kind Build does
// not make (an answer, another type of account) is a problem.
func ReadEntries(r io.Reader) (Origination, []Problem, error) {
	var o Origination
	s := &scan{problems: []Problem{}}
	var last *batchSeen
	s.onEntry = func(b *batchSeen, e *entrySeen) {
		if b != last {
			o.Batches = append(o.Batches, readBatchHeader(b.text))
			last = b
		}
		h := BatchHeader{}
		if len(o.Batches) > 0 {
			h = o.Batches[len(o.Batches)-1]
		}
		n := Entry{SEC: h.SEC, Retry: h.Description == RetryDescription, Reversal: h.Description == ReversalDescription, Effective: h.Effective, Routing: col(e.text, 4, 12),
			Account: strings.TrimSpace(col(e.text, 13, 29)), Cents: ledger.Cents(e.cents), Savings: e.code[0] == '3', Prenote: e.code[1] == '8',
			IndividualID: strings.TrimSpace(col(e.text, 40, 54)), Name: strings.TrimSpace(col(e.text, 55, 76))}
		n.Trace, _ = ParseTrace(e.trace)
		switch {
		case e.answer() || !among(" 22 27 28 32 37 38 ", e.code):
			s.problem(Problem{Line: e.line, Record: "entry", Field: "transaction code", Found: e.code, Problem: "not a debit, a prenote or a balancing credit"})
		case e.code[1] == '2' && n.Reversal:
			o.Back = append(o.Back, n)
		case e.code[1] == '2' || n.SEC == ownClass:
			o.Own = append(o.Own, n)
		default:
			o.Debits = append(o.Debits, n)
		}
	}
	if err := s.read(r); err != nil {
		return Origination{}, nil, fmt.Errorf("ach file: %w", err)
	}
	s.sort()
	o.Header = readFileHeader(s.header)
	return o, s.problems, nil
}
