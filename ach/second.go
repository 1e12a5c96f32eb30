package ach

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	moov "github.com/moov-io/ach"
	"github.com/moov-io/base"

	"github.com/billcycle/billcycle/ledger"
)

// tolerant lets the library read what banks really send: everything it is told
// to let pass here, the scan judges by itself, with a line number. Without
// these, a return with the code R97 or without a name would be dropped.
var tolerant = moov.ValidateOpts{
	BypassOriginValidation:           true,
	BypassDestinationValidation:      true,
	CustomTraceNumbers:               true,
	AllowZeroBatches:                 true,
	AllowMissingFileHeader:           true,
	AllowMissingFileControl:          true,
	BypassCompanyIdentificationMatch: true,
	CustomReturnCodes:                true,
	UnequalServiceClassCode:          true,
	AllowUnorderedBatchNumbers:       true,
	AllowInvalidCheckDigit:           true,
	UnequalAddendaCounts:             true,
	AllowInvalidAmounts:              true,
	AllowZeroEntryAmount:             true,
	AllowSpecialCharacters:           true,
	AllowEmptyIndividualName:         true,
}

// secondReading is what the library found in the same file.
type secondReading struct {
	entries       int
	debit, credit int64
	answers       []answerKey // in the order of the file
}

// answerKey is what both readings of a return or correction must agree on.
type answerKey struct {
	line            int // of its entry, in the library's counting
	original, code  string
	cents           int64
	addendaIsReturn bool
}

// readAgain lets the library read the clean records that the scan kept. It
// always returns what could be read, and the library's errors.
func readAgain(records []byte) (seen secondReading, wrong []error) {
	// The library is given hostile files; whatever it may trip over is one
	// more thing wrong with the file, not the end of the program.
	defer func() {
		if r := recover(); r != nil {
			wrong = append(wrong, errors.New("the file cannot be read by the ACH library either"))
		}
	}()
	r := moov.NewReader(bytes.NewReader(records))
	opts := tolerant
	r.SetValidation(&opts)
	file, err := r.Read() // file and error both: the good part of a bad file is kept
	var list base.ErrorList
	if errors.As(err, &list) {
		wrong = list
	} else if err != nil {
		wrong = []error{err}
	}
	for _, b := range file.Batches {
		for _, e := range b.GetEntries() {
			seen.entry(e.TransactionCode, e.Amount)
			seen.answer(e)
		}
		for _, e := range b.GetADVEntries() {
			seen.entry(e.TransactionCode, e.Amount)
			if a := e.Addenda99; a != nil {
				seen.answers = append(seen.answers, answerKey{e.LineNumber, a.OriginalTrace, a.ReturnCode, int64(e.Amount), true})
			}
		}
	}
	for _, b := range file.IATBatches {
		for _, e := range b.GetEntries() {
			seen.entry(e.TransactionCode, e.Amount)
			if a := e.Addenda99; a != nil {
				seen.answers = append(seen.answers, answerKey{e.LineNumber, a.OriginalTrace, a.ReturnCode, int64(e.Amount), true})
			}
			if a := e.Addenda98; a != nil {
				seen.answers = append(seen.answers, answerKey{e.LineNumber, a.OriginalTrace, a.ChangeCode, int64(e.Amount), false})
			}
		}
	}
	slices.SortStableFunc(seen.answers, func(a, b answerKey) int { return cmp.Compare(a.line, b.line) })
	return seen, wrong
}

func (seen *secondReading) entry(code, cents int) {
	seen.entries++
	switch c := fmt.Sprint(code); {
	case among(debitCodes, c), among(adviceDebits, c):
		seen.debit += int64(cents)
	case among(creditCodes, c), among(adviceCredit, c):
		seen.credit += int64(cents)
	}
}

func (seen *secondReading) answer(e *moov.EntryDetail) {
	add := func(original, code string, isReturn bool) {
		seen.answers = append(seen.answers, answerKey{e.LineNumber, original, code, int64(e.Amount), isReturn})
	}
	if a := e.Addenda99; a != nil {
		add(a.OriginalTrace, a.ReturnCode, true)
	}
	if a := e.Addenda99Dishonored; a != nil {
		add(a.OriginalEntryTraceNumber, a.DishonoredReturnReasonCode, true)
	}
	if a := e.Addenda99Contested; a != nil {
		add(a.OriginalEntryTraceNumber, a.ContestedReturnCode, true)
	}
	if a := e.Addenda98; a != nil {
		add(a.OriginalTrace, a.ChangeCode, false)
	}
	if a := e.Addenda98Refused; a != nil {
		add(a.OriginalTrace, a.RefusedChangeCode, false)
	}
}

// secondOpinion adds to the scan's problems what the library finds wrong on
// lines that have none yet, and, in a file without any, every figure in which
// the two readings differ.
func (s *scan) secondOpinion(answers []answerKey) {
	if s.records > maxSecondReading {
		s.note(Problem{Record: "file", Said: fmt.Sprint(maxSecondReading), Found: fmt.Sprint(s.records), Problem: "too many records to be read a second time by the ACH library"})
		return
	}
	seen, wrong := readAgain(s.second.Bytes())
	known := map[int]bool{}
	for _, list := range [][]Problem{s.problems, s.notes} {
		for _, p := range list {
			known[p.Line] = true
		}
	}
	for _, err := range wrong {
		p := s.secondProblem(err)
		switch {
		case p.Field == "Category": // returns beside entries of another kind in one batch: no rule forbids it
			s.note(p)
		case !known[p.Line]:
			known[p.Line] = true
			s.problem(p)
		}
	}
	if len(s.problems) > 0 {
		return // the library dropped lines, or read other ones: no figures to compare
	}
	differ := func(what string, ours, theirs any) {
		s.problem(Problem{Record: "file", Field: what, Said: fmt.Sprint(theirs), Found: fmt.Sprint(ours), Problem: "two readings of the file differ (said: by the ACH library)"})
	}
	if seen.entries != s.entries {
		differ("entries", s.entries, seen.entries)
	}
	if seen.debit != s.debit || seen.credit != s.credit {
		differ("debits and credits", fmt.Sprint(ledger.Cents(s.debit), ledger.Cents(s.credit)), fmt.Sprint(ledger.Cents(seen.debit), ledger.Cents(seen.credit)))
	}
	if len(seen.answers) != len(answers) {
		differ("returns and corrections", len(answers), len(seen.answers))
		return
	}
	for i, ours := range answers {
		theirs := seen.answers[i]
		theirs.line = ours.line
		if _, known := changeCodes[ours.code]; !known && !ours.addendaIsReturn {
			theirs.code = ours.code // it was shown C13, see keep
		}
		if ours != theirs {
			differ(fmt.Sprintf("answer on line %d", ours.line), ours.original+" "+ours.code, theirs.original+" "+theirs.code)
		}
	}
}

// secondProblem turns an error of the library into a problem, without the
// value it complains of, which may be an account number.
func (s *scan) secondProblem(err error) Problem {
	p := Problem{Record: "file"}
	var at *base.ParseError
	if errors.As(err, &at) {
		if at.Line >= 1 && at.Line <= len(s.secondLines) {
			p.Line = s.secondLines[at.Line-1]
			p.Record = recordName(s.second.Bytes()[(at.Line-1)*(recordLength+1)])
		}
		err = at.Err
	}
	var field *moov.FieldError
	var batch *moov.BatchError
	switch {
	case errors.As(err, &field):
		p.Field, p.Problem = field.FieldName, fmt.Sprint(field.Err)
	case errors.As(err, &batch):
		p.Field, p.Problem = batch.FieldName, fmt.Sprint(batch.Err)
	default:
		p.Problem = fmt.Sprint(err)
	}
	return p
}

// proofreader passes a file's bytes on and foots them again, from the
// characters alone: every record of 94 ASCII characters, and the sums of the
// entries. It keeps a small file, for the library to read and validate as a
// bank would.
type proofreader struct {
	f  *File
	to io.Writer

	kept    bytes.Buffer
	records int
	entries int
	hash    int64
	debit   ledger.Cents
	credit  ledger.Cents
	control string
	wrong   error // the first thing found
}

func newProofreader(f *File, to io.Writer) *proofreader { return &proofreader{f: f, to: to} }

// Write takes whole records and parts of them: what is left of one waits in
// kept's tail.
func (p *proofreader) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	if err != nil {
		return n, err
	}
	const width = recordLength + 1
	for len(b) > 0 && !p.keeps() {
		if begun := p.kept.Len(); begun > 0 || len(b) < width { // a record in two pieces
			piece := min(width-begun, len(b))
			p.kept.Write(b[:piece])
			if b = b[piece:]; p.kept.Len() == width {
				p.record(p.kept.Next(width))
			}
			continue
		}
		p.record(b[:width])
		b = b[width:]
	}
	if len(b) > 0 {
		p.kept.Write(b)
		p.foot()
	}
	return n, nil
}

// keeps says whether the library is still to read the file.
func (p *proofreader) keeps() bool { return p.entries <= p.f.rereadLimit() }

// foot foots the records that were kept whole since it last did, and forgets
// all of them once the file is larger than the library is to read again.
func (p *proofreader) foot() {
	const width = recordLength + 1
	all := p.kept.Bytes()
	for at := p.records * width; at+width <= len(all); at += width {
		p.record(all[at : at+width])
	}
	if !p.keeps() {
		p.kept.Next(p.records * width)
	}
}

func (p *proofreader) record(record []byte) {
	p.records++
	if p.wrong != nil {
		return
	}
	if record[recordLength] != '\n' {
		p.wrong = fmt.Errorf("line %d is longer than 94 characters", p.records)
		return
	}
	if !printable(record[:recordLength]) {
		p.wrong = fmt.Errorf("line %d holds a character that is not ASCII", p.records)
		return
	}
	switch {
	case record[0] == '6':
		p.entries++
		p.hash += digits(record[3:11])
		if cents := ledger.Cents(digits(record[29:39])); record[2] == '2' {
			p.credit += cents
		} else {
			p.debit += cents
		}
	case record[0] == '9' && p.control == "":
		p.control = string(record[:55])
	}
}

// printable says whether all of a text of 8 characters or more is ASCII and no
// control character: eight at a time, the last eight perhaps twice. With 0x20
// less or 0x01 more, any other shows in its highest bit.
func printable(text []byte) bool {
	var wrong uint64
	for at := 0; ; at = min(at+8, len(text)-8) {
		word := binary.LittleEndian.Uint64(text[at:])
		wrong |= word | (word - 0x2020_2020_2020_2020) | (word + 0x0101_0101_0101_0101)
		if at == len(text)-8 {
			return wrong&0x8080_8080_8080_8080 == 0
		}
	}
}

// check holds what was written against the totals it was written for. Up to
// f.Reread entries, the library also reads and validates the file.
func (p *proofreader) check(sum Totals) error {
	switch {
	case p.wrong != nil:
		return p.wrong
	case p.records != sum.Records || p.kept.Len()%(recordLength+1) != 0:
		return fmt.Errorf("%d records of 94 characters instead of %d", p.records, sum.Records)
	case p.entries != sum.Entries || p.debit != sum.DebitCents || p.credit != sum.CreditCents || p.hash%hashModulus != sum.Hash:
		return fmt.Errorf("%d entries of %s and %s, hash %d, instead of %d of %s and %s, hash %d",
			p.entries, p.debit, p.credit, p.hash%hashModulus, sum.Entries, sum.DebitCents, sum.CreditCents, sum.Hash)
	}
	if want := fmt.Sprintf("9%06d%06d%08d%010d%012d%012d", sum.Batches, sum.Records/10, sum.Entries, sum.Hash, sum.DebitCents, sum.CreditCents); p.control != want {
		return fmt.Errorf("the file control begins %q, not %q", p.control, want)
	}
	if sum.Entries > p.f.rereadLimit() {
		return nil
	}
	r := moov.NewReader(&p.kept)
	r.SetValidation(&moov.ValidateOpts{BypassOriginValidation: len(p.f.Origin) == 10})
	again, err := r.Read()
	if err == nil {
		err = again.Validate()
	}
	if err != nil {
		return quiet(err)
	}
	return nil
}

func digits(field []byte) (n int64) {
	for _, c := range field {
		n = n*10 + int64(c-'0')
	}
	return n
}
