package ach

import (
	"bytes"
	"fmt"
	"testing"

	moov "github.com/moov-io/ach"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

func benchEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		trace, _ := NewTrace("12104288", i+1)
		entries[i] = Entry{Trace: trace, SEC: PPD, Routing: "091000019", Account: fmt.Sprint(1_000_000_000 + i), Cents: ledger.Cents(5000 + i),
			IndividualID: fmt.Sprintf("%010d", i), Name: "MARGARET HAMILTON"}
	}
	return entries
}

// BenchmarkBuild makes files of 100,000 entries; compare with BenchmarkLibrary,
// the same entries through the library alone.
func BenchmarkBuild(b *testing.B) {
	f := File{Company: company(), Created: stamp, IDModifier: 'A', Effective: calendar.MustParse("2026-07-06"), FirstBatch: 1, Entries: benchEntries(100_000)}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Build(f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuildReread is BenchmarkBuild with the library reading the file again.
func BenchmarkBuildReread(b *testing.B) {
	f := File{Company: company(), Created: stamp, IDModifier: 'A', Effective: calendar.MustParse("2026-07-06"), FirstBatch: 1, Entries: benchEntries(100_000), Reread: 100_000}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Build(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLibrary(b *testing.B) {
	entries := benchEntries(100_000)
	c := company()
	b.ReportAllocs()
	for b.Loop() {
		file := moov.NewFile()
		h := moov.NewFileHeader()
		h.ImmediateDestination, h.ImmediateOrigin = c.Destination, c.Origin
		h.FileCreationDate, h.FileCreationTime = "260701", "0905"
		file.SetHeader(h)
		bh := moov.NewBatchHeader()
		bh.ServiceClassCode, bh.CompanyName, bh.CompanyIdentification = moov.DebitsOnly, c.Name, c.ID
		bh.StandardEntryClassCode, bh.CompanyEntryDescription = PPD, c.Description
		bh.EffectiveEntryDate, bh.ODFIIdentification = "260706", c.ODFI[:8]
		batch, err := moov.NewBatch(bh)
		if err != nil {
			b.Fatal(err)
		}
		for i := range entries {
			e := &entries[i]
			d := moov.NewEntryDetail()
			d.TransactionCode = moov.CheckingDebit
			d.SetRDFI(e.Routing)
			d.DFIAccountNumber = e.Account
			d.Amount = int(e.Cents)
			d.IdentificationNumber = e.IndividualID
			d.IndividualName = e.Name
			d.SetTraceNumber(bh.ODFIIdentification, i+1)
			batch.AddEntry(d)
		}
		if err := batch.Create(); err != nil {
			b.Fatal(err)
		}
		file.AddBatch(batch)
		if err := file.Create(); err != nil {
			b.Fatal(err)
		}
		var out bytes.Buffer
		if err := moov.NewWriter(&out).Write(file); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	f := File{Company: company(), Created: stamp, IDModifier: 'A', Effective: calendar.MustParse("2026-07-06"), FirstBatch: 1, Entries: benchEntries(100_000)}
	file, _, err := Build(f)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if rep, err := Inspect(bytes.NewReader(file)); err != nil || len(rep.Problems) > 0 {
			b.Fatal(err, rep.Problems)
		}
	}
}
