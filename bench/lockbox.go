package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/secret"
)

// lockboxIngest measures a bank's file with a check of every account, paying
// the bill of a cycle: its footing, then from the file to pending receipts.
func (b *bench) lockboxIngest(ctx context.Context, c calendar.Cycle) error {
	day := calendar.Roll(c.DueOn(b.policy.Statement.DueDay) + 20)
	dir, err := os.MkdirTemp("", "billcycle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "deposits.bai")
	if err := b.lockboxFile(path, c, day); err != nil {
		return err
	}
	keys, err := secret.New()
	if err != nil {
		return err
	}
	layout, err := lockbox.ProfileNamed(lockbox.Profiles(), "bai-a")
	if err != nil {
		return err
	}
	if err := b.lockboxInspect(ctx, path); err != nil {
		return err
	}
	desk := lockbox.Desk{DB: b.db, Policy: &b.policy, Keys: keys, Day: day, Operator: "bench"}
	return b.stage(ctx, "lockbox-ingest", b.n, 3, 1, func(ctx context.Context) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		got, err := desk.Ingest(ctx, filepath.Base(path), file, layout)
		if err == nil && int64(got.Pending) != b.n {
			err = fmt.Errorf("%d of %d checks are pending", got.Pending, b.n)
		}
		return err
	})
}

// lockboxFile writes the file: batches of 200 checks, each with its coupon.
func (b *bench) lockboxFile(path string, c calendar.Cycle, day calendar.Date) error {
	const batchItems = 200
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	records := 0
	line := func(format string, args ...any) {
		fmt.Fprintf(w, "%-104s\n", fmt.Sprintf(format, args...))
		records++
	}
	on, written := day.Format("060102"), day.Format("010206")
	line("100BILLER    0121000358%s0600", on)
	line("2BILLER    0121000358          400")
	line("50000000000047%sBILLER    0121000358", on)
	total := int64(0)
	for from := int64(0); from < b.n; from += batchItems {
		batch, items, sum := from/batchItems%999+1, min(batchItems, b.n-from), int64(0)
		for k := range items {
			i := from + k
			cents := 1000 + i%1000
			s := billing.Scanline{MRN: billing.MRN(b.mrn(i)), Statement: (i+1)*100 + int64(c)%100, Due: ledger.Cents(cents)}
			line("6%03d%03d%010d121000358%010d%010d%sMEMBER NUMBER %d", batch, k+1, cents, 9_000_000_000-i, 100_000+i, written, i)
			line("4%03d%03d6019%s", batch, k+1, s)
			sum += cents
		}
		line("7%03d%03d0000047%s%03d%010d", batch, items, on, items, sum)
		total += sum
	}
	line("80000000000047%s%04d%010d", on, b.n%10_000, total)
	line("9%06d", (records+1)%1_000_000)
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}
