package ach

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	moov "github.com/moov-io/ach"

	"github.com/billcycle/billcycle/calendar"
)

// AnswerFile is what a bank would answer to files of ours: returns and
// notifications of change. The synthetic bank and the tests write it; a real
// bank sends its own.
type AnswerFile struct {
	// Sender is the bank that sends the file, a routing number of 9 digits, and
	// Receiver whom it is addressed to.
	Sender, SenderName     string
	Receiver, ReceiverName string
	Company                Company // whose entries are answered: its name and ids are copied
	Created                Stamp
	IDModifier             byte
	Settled                calendar.Date // of the answers; none = the day the file is made
	FirstBatch             int           // 0 = 1
	// FirstSequence numbers the answers' own traces, which begin with the bank
	// of each member: 0 = 1.
	FirstSequence int
	Returns       []ReturnOut
	Corrections   []CorrectionOut
}

// ReturnOut is an entry of ours to be returned.
type ReturnOut struct {
	Original    Entry // as it was sent; SEC, Retry, Effective and Trace are copied from it
	Code        string
	Died        calendar.Date // R14, R15
	Information string        // up to 44 characters
}

// CorrectionOut is an entry of ours to be corrected. Data is written in place
// of Correction where it is given, as a bank might fill in the columns.
type CorrectionOut struct {
	Original   Entry
	Correction Correction
	Data       string // up to 29 characters
}

// WriteReturns writes the file: for each batch of ours and each bank of a
// member in it one batch of returns, then the notifications of change in COR
// batches. The answered entries must be ones that Build takes, with an effective
// date each.
func WriteReturns(w io.Writer, a AnswerFile) error {
	if err := a.check(); err != nil {
		return fmt.Errorf("ach answers: %w", err)
	}
	out := moov.NewFile()
	h := moov.NewFileHeader()
	h.ImmediateDestination, h.ImmediateDestinationName = a.Receiver, a.ReceiverName
	h.ImmediateOrigin, h.ImmediateOriginName = a.Sender, a.SenderName
	h.FileCreationDate = a.Created.Date.Format("060102")
	h.FileCreationTime = fmt.Sprintf("%02d%02d", a.Created.Hour, a.Created.Minute)
	h.FileIDModifier = string(a.IDModifier)
	out.SetHeader(h)
	out.SetValidation(&moov.ValidateOpts{AllowZeroBatches: true}) // a bank with nothing to say sends an empty file

	batches, err := a.batches()
	if err != nil {
		return fmt.Errorf("ach answers: %w", err)
	}
	for _, b := range batches {
		if err := b.Create(); err != nil {
			return fmt.Errorf("ach answers: batch %d: %w", b.GetHeader().BatchNumber, quiet(err))
		}
		out.AddBatch(b)
	}
	if err := out.Create(); err != nil {
		return fmt.Errorf("ach answers: %w", quiet(err))
	}
	// Without batches the library's own check of the counts fails on zeros.
	to := moov.NewWriter(w)
	to.BypassValidation = len(batches) == 0
	if err := to.Write(out); err != nil {
		return fmt.Errorf("ach answers: %w", quiet(err))
	}
	return nil
}

func (a *AnswerFile) check() error {
	var wrong []error
	for _, f := range []struct{ what, routing string }{{"sender", a.Sender}, {"receiver", a.Receiver}} {
		if err := CheckRouting(f.routing); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", f.what, err))
		}
	}
	if err := a.Created.check(); err != nil {
		wrong = append(wrong, err)
	}
	if m := a.IDModifier; !('A' <= m && m <= 'Z' || '0' <= m && m <= '9') {
		wrong = append(wrong, fmt.Errorf("file ID modifier %q is not A to Z or 0 to 9", m))
	}
	if _, err := bankOf(a.Company.ODFI); err != nil {
		wrong = append(wrong, err)
	}
	answered := func(e *Entry) {
		wrong = append(wrong, a.Company.CheckEntry(e))
		if e.Effective.IsZero() {
			wrong = append(wrong, fmt.Errorf("entry %s: no effective date; the answer copies it", e.Trace))
		}
	}
	for i := range a.Returns {
		r := &a.Returns[i]
		answered(&r.Original)
		if len(r.Code) != 3 || r.Code[0] != 'R' || !allDigits(r.Code[1:]) {
			wrong = append(wrong, fmt.Errorf("return of %s: code %q is not one such as R01", r.Original.Trace, r.Code))
		}
		if len(r.Information) > 44 || firstForeign(r.Information) >= 0 {
			wrong = append(wrong, fmt.Errorf("return of %s: the information is not up to 44 ASCII characters", r.Original.Trace))
		}
	}
	for i := range a.Corrections {
		answered(&a.Corrections[i].Original)
	}
	return errors.Join(wrong...)
}

// answerGroup is what answers in one batch have in common: the batch of the
// original entries, and the bank that answers.
type answerGroup struct {
	batchKey
	rdfi string
}

// batches makes all batches, in an order that depends only on the answers.
func (a *AnswerFile) batches() ([]moov.Batcher, error) {
	b := &answerBatches{file: a, sequence: cmp.Or(a.FirstSequence, 1), number: cmp.Or(a.FirstBatch, 1)}
	returns := slices.Clone(a.Returns)
	slices.SortStableFunc(returns, func(x, y ReturnOut) int { return compareAnswered(&x.Original, &y.Original) })
	for i := range returns {
		if err := b.returned(&returns[i]); err != nil {
			return nil, err
		}
	}
	b.open = nil
	corrections := slices.Clone(a.Corrections)
	slices.SortStableFunc(corrections, func(x, y CorrectionOut) int { return compareAnswered(&x.Original, &y.Original) })
	for i := range corrections {
		if err := b.corrected(&corrections[i]); err != nil {
			return nil, err
		}
	}
	return b.made, nil
}

func groupOf(e *Entry) answerGroup {
	return answerGroup{batchKey{e.SEC, e.presentation(), e.Effective}, e.Routing[:8]}
}

func compareAnswered(x, y *Entry) int {
	a, b := groupOf(x), groupOf(y)
	return cmp.Or(compareKeys(a.batchKey, b.batchKey), cmp.Compare(a.rdfi, b.rdfi), cmp.Compare(x.Trace, y.Trace))
}

type answerBatches struct {
	file     *AnswerFile
	sequence int
	number   int
	open     moov.Batcher
	group    answerGroup
	made     []moov.Batcher
}

// batch returns the batch that an answer to the entry belongs to.
func (b *answerBatches) batch(original *Entry, sec string) (moov.Batcher, error) {
	group := groupOf(original)
	if b.open != nil && group == b.group {
		return b.open, nil
	}
	h := moov.NewBatchHeader()
	h.ServiceClassCode = group.service()
	h.CompanyName, h.CompanyIdentification = b.file.Company.Name, b.file.Company.ID
	h.StandardEntryClassCode = sec
	h.CompanyEntryDescription = group.description(b.file.Company.Description)
	h.EffectiveEntryDate = group.effective.Format("060102")
	h.ODFIIdentification, h.BatchNumber = group.rdfi, b.number
	settled := cmp.Or(b.file.Settled, b.file.Created.Date)
	h.SettlementDate = fmt.Sprintf("%03d", settled.Time().YearDay())
	batch, err := moov.NewBatch(h)
	if err != nil {
		return nil, err
	}
	b.open, b.group = batch, group
	b.made = append(b.made, batch)
	b.number++
	return batch, nil
}

// entry copies our entry as the bank sends it back: to our bank, under a trace
// of its own, with the transaction code of a debit returned or corrected.
func (b *answerBatches) entry(original *Entry) (*moov.EntryDetail, error) {
	trace, err := NewTrace(original.Routing[:8], b.sequence)
	if err != nil {
		return nil, err
	}
	b.sequence++
	bank, _ := bankOf(b.file.Company.ODFI)
	d := moov.NewEntryDetail()
	d.TransactionCode = moov.CheckingReturnNOCDebit
	if original.Savings {
		d.TransactionCode = moov.SavingsReturnNOCDebit
	}
	if original.Reversal {
		d.TransactionCode -= moov.CheckingReturnNOCDebit - moov.CheckingReturnNOCCredit
	}
	d.RDFIIdentification = bank
	d.CheckDigit = fmt.Sprint(moov.CalculateCheckDigit(bank))
	d.DFIAccountNumber = original.Account
	d.IdentificationNumber = original.IndividualID
	d.IndividualName = plainName(original.Name)
	if original.SEC != PPD {
		d.DiscretionaryData = "R"
	}
	d.AddendaRecordIndicator = 1
	d.TraceNumber = trace.String()
	return d, nil
}

func (b *answerBatches) returned(r *ReturnOut) error {
	batch, err := b.batch(&r.Original, r.Original.SEC)
	if err != nil {
		return err
	}
	d, err := b.entry(&r.Original)
	if err != nil {
		return err
	}
	d.Amount = int(r.Original.Cents)
	d.Category = moov.CategoryReturn
	d.Addenda99 = moov.NewAddenda99()
	// The library knows the codes of its own table only; a bank may send others.
	d.Addenda99.SetValidation(&moov.ValidateOpts{CustomReturnCodes: true})
	d.Addenda99.ReturnCode = r.Code
	d.Addenda99.OriginalTrace = r.Original.Trace.String()
	d.Addenda99.DateOfDeath = r.Died.Format("060102")
	d.Addenda99.OriginalDFI = r.Original.Routing[:8]
	d.Addenda99.AddendaInformation = r.Information
	d.Addenda99.TraceNumber = d.TraceNumber
	batch.AddEntry(d)
	return nil
}

func (b *answerBatches) corrected(c *CorrectionOut) error {
	data := c.Data
	if data == "" {
		var err error
		if data, err = CorrectedData(c.Correction); err != nil {
			return fmt.Errorf("correction of %s: %w", c.Original.Trace, err)
		}
	}
	if len(data) > correctedLength || firstForeign(data) >= 0 {
		return fmt.Errorf("correction of %s: the data is not up to %d ASCII characters", c.Original.Trace, correctedLength)
	}
	batch, err := b.batch(&c.Original, moov.COR)
	if err != nil {
		return err
	}
	d, err := b.entry(&c.Original)
	if err != nil {
		return err
	}
	d.DiscretionaryData = ""
	d.Category = moov.CategoryNOC
	d.Addenda98 = moov.NewAddenda98()
	d.Addenda98.ChangeCode = c.Correction.Code
	d.Addenda98.OriginalTrace = c.Original.Trace.String()
	d.Addenda98.OriginalDFI = c.Original.Routing[:8]
	d.Addenda98.CorrectedData = data
	d.Addenda98.TraceNumber = d.TraceNumber
	batch.AddEntry(d)
	return nil
}
