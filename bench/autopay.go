package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	moov "github.com/moov-io/ach"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// autopayStages are the stages that autopay measures.
var autopayStages = []string{"autopay-select", "autopay-file"}

// medians returns the pair of each stage whose ratio is the median.
func (b *bench) medians(names ...string) (stages []Stage) {
	for _, name := range names {
		all := slices.SortedFunc(slices.Values(b.pairs[name]), func(x, y Stage) int { return cmp.Compare(x.Ratio, y.Ratio) })
		stages = append(stages, all[len(all)/2])
	}
	return stages
}

// autopay measures the debits of a month in which everybody pays by autopay
// from a bank account: their selection, beside COPY, and the making of their
// files, beside the ACH library building the same entries in memory. It has a
// scratch database of its own.
func (b *bench) autopay(ctx context.Context, server *postgres.Server) error {
	scratch, err := server.Scratch(ctx, "billcycle_bench")
	if err != nil {
		return err
	}
	defer scratch.Drop(context.WithoutCancel(ctx))
	b.db = scratch.Pool
	keys, err := secret.New()
	if err != nil {
		return err
	}
	cycle := calendar.CycleOf(calendar.MustParse("2026-01-01"))
	cut, due := cycle.CutOn(b.policy.Statement.CutDay), cycle.DueOn(b.policy.Statement.DueDay)
	build := calendar.AddBankingDays(due, -b.policy.ACH.LeadBankingDays)
	if err := b.debtors(ctx, keys, cut); err != nil {
		return err
	}
	// Select works range after range on one connection, so the floor does too.
	err = b.stage(ctx, "autopay-select", b.n, 2, 1, func(ctx context.Context) error { return b.selecting(ctx, build) })
	if err != nil {
		return err
	}
	if _, err := b.db.Exec(ctx, `vacuum analyze debit, account`); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "billcycle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	office := ach.Office{DB: b.db, Policy: &b.policy, Keys: keys, Day: build, Operator: "bench"}
	return b.files(ctx, office, dir)
}

// debtors opens the accounts, enrols them, bills them and cuts their cycle.
func (b *bench) debtors(ctx context.Context, keys *secret.Keys, cut calendar.Date) error {
	if err := b.members(ctx); err != nil {
		return err
	}
	if _, err := b.db.Exec(ctx, floorTable); err != nil {
		return err
	}
	var enrolments, charges strings.Builder
	enrolments.WriteString("mrn,method,routing,account,account_type,authorized_on,authorized_by\n")
	charges.WriteString("charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n")
	for i := range b.n {
		mrn := b.mrn(i)
		fmt.Fprintf(&enrolments, "%s,ach,121000358,%d,checking,2025-12-20,written\n", mrn, 4_000_000_000+i)
		fmt.Fprintf(&charges, "P%07d,%s,premium,%s,Monthly premium,%d,0,%d\n", i, mrn, cut, premium, premium)
		fmt.Fprintf(&charges, "M%07d,%s,medical,%s,Office visit,32500,25000,7500\n", i, mrn, cut)
		fmt.Fprintf(&charges, "L%07d,%s,medical,%s,Laboratory,14200,10482,3718\n", i, mrn, cut)
	}
	enrol := b.importing("2025-12-20")
	enrol.Keys = keys
	if _, err := enrol.Autopay(ctx, b.db, strings.NewReader(enrolments.String())); err != nil {
		return err
	}
	if _, err := b.importing(cut.String()).Charges(ctx, b.db, strings.NewReader(charges.String())); err != nil {
		return err
	}
	err := b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
		_, _, err := billing.CutStatements(ctx, tx, &b.policy, cut, in)
		return err
	})
	if err == nil {
		_, err = b.db.Exec(ctx, `vacuum analyze`)
	}
	return err
}

func (b *bench) selecting(ctx context.Context, day calendar.Date) error {
	made := int64(0)
	for from := int64(0); from <= b.n; from += wide {
		err := pgx.BeginFunc(ctx, b.db, func(tx pgx.Tx) error {
			t, err := ach.Select(ctx, tx, &b.policy, day, billing.Range{From: max(from, 1), To: min(from+wide, b.n+1)})
			made += t.Done
			return err
		})
		if err != nil {
			return err
		}
	}
	if made != b.n {
		return fmt.Errorf("%d debits made, want %d", made, b.n)
	}
	return nil
}

// files measures the sealing and writing of the files.
func (b *bench) files(ctx context.Context, office ach.Office, dir string) error {
	freshPeak()
	var made []ach.FileInfo
	ours, err := b.timed(ctx, func(ctx context.Context) (err error) {
		if made, err = office.Seal(ctx); err != nil {
			return err
		}
		second := office
		second.Operator = "second person"
		for _, f := range made {
			if _, err := second.Release(ctx, f.ID); err != nil {
				return err
			}
		}
		_, _, err = office.WriteOut(ctx, dir)
		return err
	})
	if err != nil {
		return fmt.Errorf("autopay-file: %w", err)
	}
	s := Stage{Name: "autopay-file", Units: b.n, Seconds: ours, PeakRSSMB: peakRSS(), Floor: "moov-io/ach building and writing the same entries in memory, one goroutine"}
	floor := 0.0
	for _, f := range made {
		seconds, err := b.byLibrary(ctx, office, filepath.Join(dir, f.Name))
		if err != nil {
			return fmt.Errorf("autopay-file, its floor: %w", err)
		}
		floor += seconds
	}
	s.PerSecond, s.FloorPerSecond, s.Ratio = float64(b.n)/max(ours, 1e-9), float64(b.n)/max(floor, 1e-9), floor/max(ours, 1e-9)
	b.pairs[s.Name] = append(b.pairs[s.Name], s)
	fmt.Fprintf(b.log, "  %-15s %8d in %6.2f s, floor %6.2f s, ratio %.2f, %d MB\n", s.Name, b.n, ours, floor, s.Ratio, s.PeakRSSMB)
	return nil
}

// byLibrary builds the entries of a written file with the library alone, holds
// its bytes against ours, and returns how long the building took.
func (b *bench) byLibrary(ctx context.Context, office ach.Office, path string) (seconds float64, err error) {
	written, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	file, problems, err := ach.ReadEntries(bytes.NewReader(written))
	if err != nil || len(problems) > 0 {
		return 0, fmt.Errorf("%s: %v %v", path, problems, err)
	}
	debug.FreeOSMemory()
	var out bytes.Buffer
	seconds, err = b.timed(ctx, func(context.Context) error { return libraryFile(&out, ach.CompanyOf(office.Policy), file) })
	if err == nil && !bytes.Equal(out.Bytes(), written) {
		err = fmt.Errorf("%s: the library writes the same entries otherwise", path)
	}
	return seconds, err
}

func libraryFile(out *bytes.Buffer, c ach.Company, file ach.Origination) error {
	f := moov.NewFile()
	h := moov.NewFileHeader()
	h.ImmediateDestination, h.ImmediateOrigin = c.Destination, c.Origin
	h.ImmediateDestinationName, h.ImmediateOriginName = c.ODFIName, c.OriginName
	created := file.Header.Created
	h.FileCreationDate, h.FileCreationTime, h.FileIDModifier = created.Date.Format("060102"), fmt.Sprintf("%02d%02d", created.Hour, created.Minute), file.Header.IDModifier
	f.SetHeader(h)
	f.SetValidation(&moov.ValidateOpts{BypassOriginValidation: true}) // or it cuts an origin of ten characters
	entries := file.Debits
	for n, batch := range file.Batches {
		bh := moov.NewBatchHeader()
		bh.ServiceClassCode, bh.CompanyName, bh.CompanyIdentification = moov.DebitsOnly, c.Name, c.ID
		bh.StandardEntryClassCode, bh.CompanyEntryDescription = batch.SEC, batch.Description
		bh.EffectiveEntryDate, bh.ODFIIdentification, bh.BatchNumber = batch.Effective.Format("060102"), batch.ODFI, n+1
		made, err := moov.NewBatch(bh)
		if err != nil {
			return err
		}
		for len(entries) > 0 && entries[0].SEC == batch.SEC {
			e := &entries[0]
			d := moov.NewEntryDetail()
			d.TransactionCode = moov.CheckingDebit
			d.SetRDFI(e.Routing)
			d.DFIAccountNumber, d.Amount, d.IdentificationNumber, d.IndividualName = e.Account, int(e.Cents), e.IndividualID, e.Name
			if e.SEC != ach.PPD {
				d.SetPaymentType("R")
			}
			d.SetTraceNumber(batch.ODFI, e.Trace.Sequence())
			made.AddEntry(d)
			entries = entries[1:]
		}
		if err := made.Create(); err != nil {
			return err
		}
		f.AddBatch(made)
	}
	if err := f.Create(); err != nil {
		return err
	}
	return moov.NewWriter(out).Write(f)
}

// freshPeak gives back what memory is free and begins to watch the peak anew,
// where the system can.
func freshPeak() {
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // else the peak is that of the whole run: never less
}
