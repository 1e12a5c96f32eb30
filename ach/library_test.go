package ach

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	moov "github.com/moov-io/ach"

	"github.com/billcycle/billcycle/calendar"
)

// byLibrary builds a file of unbalanced entries with the ACH library alone, as
// the pattern that the writer's bytes are held against.
func byLibrary(f File) ([]byte, error) {
	out := moov.NewFile()
	h := moov.NewFileHeader()
	h.ImmediateDestination, h.ImmediateOrigin = f.Destination, f.Origin
	h.FileCreationDate = f.Created.Date.Format("060102")
	h.FileCreationTime = fmt.Sprintf("%02d%02d", f.Created.Hour, f.Created.Minute)
	h.FileIDModifier = string(f.IDModifier)
	h.ImmediateDestinationName, h.ImmediateOriginName, h.ReferenceCode = f.ODFIName, f.OriginName, f.Reference
	out.SetHeader(h)
	// Without this it drops the last of an origin's 10 characters.
	out.SetValidation(&moov.ValidateOpts{BypassOriginValidation: len(f.Origin) == 10})

	type group struct {
		sec, description string
		effective        calendar.Date
	}
	batches := map[group][]Entry{}
	for _, e := range f.Entries {
		g := group{e.SEC, f.Description, cmp.Or(e.Effective, f.Effective)}
		if e.Retry {
			g.description = "RETRY PYMT"
		}
		if e.Reversal {
			g.description = "REVERSAL"
		}
		batches[g] = append(batches[g], e)
	}
	var order []group
	for g := range batches {
		order = append(order, g)
	}
	rank := func(g group) int { return slices.Index([]string{"RETRY PYMT", "REVERSAL"}, g.description) }
	slices.SortFunc(order, func(a, b group) int {
		return cmp.Or(cmp.Compare(a.sec, b.sec), cmp.Compare(rank(a), rank(b)), cmp.Compare(a.effective, b.effective))
	})
	for n, g := range order {
		bh := moov.NewBatchHeader()
		bh.ServiceClassCode = moov.DebitsOnly
		if g.description == "REVERSAL" {
			bh.ServiceClassCode = moov.CreditsOnly
		}
		bh.CompanyName, bh.CompanyIdentification, bh.StandardEntryClassCode, bh.CompanyEntryDescription = f.Name, f.ID, g.sec, g.description
		bh.EffectiveEntryDate, bh.ODFIIdentification, bh.BatchNumber = g.effective.Format("060102"), f.ODFI[:8], f.FirstBatch+n
		b, err := moov.NewBatch(bh)
		if err != nil {
			return nil, err
		}
		entries := batches[g]
		slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Trace, b.Trace) })
		for _, e := range entries {
			d := moov.NewEntryDetail()
			d.TransactionCode = map[[3]bool]int{{false, false, false}: 27, {true, false, false}: 37, {false, true, false}: 28, {true, true, false}: 38, {false, false, true}: 22, {true, false, true}: 32}[[3]bool{e.Savings, e.Prenote, e.Reversal}]
			d.SetRDFI(e.Routing)
			d.DFIAccountNumber, d.Amount, d.IdentificationNumber, d.IndividualName = e.Account, int(e.Cents), e.IndividualID, plainName(e.Name)
			if g.sec != PPD {
				d.DiscretionaryData = "R"
			}
			d.TraceNumber = e.Trace.String()
			b.AddEntry(d)
		}
		if err := b.Create(); err != nil {
			return nil, err
		}
		out.AddBatch(b)
	}
	if err := out.Create(); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err := moov.NewWriter(&buf).Write(out)
	return buf.Bytes(), err
}
