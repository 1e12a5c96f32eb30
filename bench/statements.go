package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/statements"
)

// statementRun measures statements from the database to sealed bundles on disk,
// with their manifests and hashes. Its floor is the same pieces drawn in memory,
// in bundles of 200.
func (b *bench) statementRun(ctx context.Context, c calendar.Cycle) error {
	cut := c.CutOn(b.policy.Statement.CutDay)
	feed, err := b.chargeFeed(c, cut)
	if err != nil {
		return err
	}
	defer feed.Close()
	if err := b.importCharges(ctx, feed, cut); err != nil {
		return err
	}
	if err := b.vacuum(ctx); err != nil {
		return err
	}
	if err := b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
		_, bills, err := billing.CutStatements(ctx, tx, &b.policy, cut, in)
		if err != nil {
			return err
		}
		return statements.Seal(ctx, tx, &b.policy, bills)
	}); err != nil {
		return err
	}
	if _, err := b.db.Exec(ctx, `vacuum analyze statement, print_queue`); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "billcycle-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	forgetPeak()
	// Some bundles for each worker, as a night of millions has them.
	policy := b.policy
	policy.Print.MaxPagesPerFile = int(min(int64(policy.Print.MaxPagesPerFile), max(200, b.n/(2*workers))))
	return b.beside(ctx, "statement-run", b.n, fmt.Sprintf("%d of the same pieces drawn in memory, in bundles of 200", b.n),
		func(ctx context.Context) error {
			made, err := statements.Printer{DB: b.db, Policy: &policy, Day: cut, Outbox: dir, Workers: workers}.Print(ctx)
			if err == nil && made.Pieces != int(b.n) {
				err = fmt.Errorf("%d pieces, want %d", made.Pieces, b.n)
			}
			return err
		},
		func(context.Context) error { return drawInMemory(b.n, c, cut) })
}

// forgetPeak has peakRSS begin anew, where the system allows it: what made the
// scratch biller is not of the stage.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5); the peak is only a figure
}

// drawInMemory draws n pieces like those of the stage.
func drawInMemory(n int64, c calendar.Cycle, cut calendar.Date) error {
	const size = 200
	var wg sync.WaitGroup
	errs := make([]error, workers)
	next := make(chan int64)
	for w := range workers {
		wg.Go(func() {
			r := statements.NewRenderer()
			biller := likeBiller()
			for from := range next {
				bundle := r.NewBundle(io.Discard, "floor", cut)
				for i := from; i < min(from+size, n) && errs[w] == nil; i++ {
					s := likeStatement(i, c, cut, biller)
					marks, err := statements.MarksOf(i+1, "00300123456000000001", "94601", 1)
					if err == nil {
						_, err = bundle.Add(&s, marks)
					}
					errs[w] = err
				}
				if errs[w] == nil {
					errs[w] = bundle.Close()
				}
			}
		})
	}
	for from := int64(0); from < n; from += size {
		next <- from
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func likeBiller() *statements.Biller {
	p := billing.DefaultPolicy().Biller
	return &statements.Biller{Language: "en", Name: p.Name, Sender: p.Sender[1:], RemitTo: p.RemitTo[1:], Phones: []statements.Phone{{Number: p.Phone}}, Hours: p.Hours, Web: p.Web,
		Assistance: p.Web + "/financial-assistance", Color: p.BrandColor}
}

// likeStatement is a statement as the month of the bench makes them.
func likeStatement(i int64, c calendar.Cycle, cut calendar.Date, biller *statements.Biller) statements.Statement {
	who := fmt.Sprintf("Member Number%d", i)
	line := func(what string, cents, gross, plan ledger.Cents) statements.Line {
		return statements.Line{Date: cut, Description: what, Member: who, Reference: fmt.Sprintf("P%s%07d", c, i), Cents: cents, Gross: gross, Plan: plan}
	}
	const medical = 7500 + 3718
	return statements.Statement{Number: billing.StatementNumber(i+1, c), MRN: billing.NewMRN(100_000_000 + i), Date: cut, Due: c.DueOn(25), Cycle: c, Delivery: "paper", Language: "en",
		To: statements.Recipient{Name: who, Lines: []string{"1 Main Street", "Oakland CA 94601"}, ZIP: "94601"}, Biller: biller,
		Figures: statements.Figures{Previous: premium + medical, Payments: -premium - medical, Charges: premium + medical, Balance: premium + medical, AmountDue: premium + medical},
		Aging:   []statements.Bucket{{FromDays: 0, Cents: premium + medical}, {FromDays: 30}, {FromDays: 60}, {FromDays: 90}},
		Groups: []statements.Group{
			{Kind: statements.Premium, Cents: premium, Lines: []statements.Line{line("Monthly premium", premium, 0, 0)}},
			{Kind: statements.Medical, Cents: medical, Lines: []statements.Line{line("Office visit", 7500, 32500, 25000), line("Laboratory", 3718, 14200, 10482)}},
			{Kind: statements.Payments, Cents: -premium - medical, Lines: []statements.Line{line("Check received, thank you", -premium, 0, 0), line("Check received, thank you", -medical, 0, 0)}},
		}}
}
