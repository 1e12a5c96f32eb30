// Package bench sizes a machine: the stages of a night at a given number of
// accounts, each beside a floor measured in the same run on the same server
// and as many connections. What counts is the ratio; the absolute figures are
// the machine's.
//
// The floor of the database stages is COPY: rows as wide as a journal row,
// into a logged table with a primary key and one index. A stage counts only
// the rows that its table in Stages names, whatever else it writes.
package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// Stage is a stage beside its floor, the pair with the median ratio of five.
type Stage struct {
	Name           string  `json:"name"`
	Units          int64   `json:"units"`
	Seconds        float64 `json:"seconds"`
	PerSecond      float64 `json:"per_second"`
	Floor          string  `json:"floor"`
	FloorPerSecond float64 `json:"floor_per_second"` // in units of the stage
	Ratio          float64 `json:"ratio"`
	PeakRSSMB      int64   `json:"peak_rss_mb"`              // of this program so far, of the stage alone for statement-run
	BytesPerUnit   int64   `json:"bytes_per_unit,omitempty"` // of a drawn statement
	SlowestMS      float64 `json:"slowest_ms,omitempty"`     // the unit that took longest, where units are timed one by one
}

// Report is what `billcycle bench` prints.
type Report struct {
	Accounts int     `json:"accounts"`
	Stages   []Stage `json:"stages"`
}

const (
	premium = 45000 // cents, the first of the three charges of a month
	pairs   = 5
	workers = 2
	chunk   = 10_000
	wide    = 5 * chunk // of late fees and debits, as a night has them
)

// bench is a bench under way: a scratch biller that lives through a month.
type bench struct {
	db     *pgxpool.Pool
	policy billing.Policy
	n      int64
	now    func() time.Time
	log    io.Writer
	pairs  map[string][]Stage
}

// Run measures all stages at n accounts, each pair in a scratch database of its
// own on the server, so that all begin from the same books. now is the clock.
func Run(ctx context.Context, server *postgres.Server, n int, now func() time.Time, log io.Writer) (Report, error) {
	b := &bench{policy: billing.DefaultPolicy(), n: int64(n), now: now, log: log, pairs: map[string][]Stage{}}
	for pair := range pairs {
		fmt.Fprintf(log, "pair %d of %d\n", pair+1, pairs)
		if err := b.pair(ctx, server); err != nil {
			return Report{}, err
		}
		if err := b.autopay(ctx, server); err != nil {
			return Report{}, err
		}
		if err := b.printing(); err != nil {
			return Report{}, err
		}
	}
	report := Report{Accounts: n, Stages: []Stage{}}
	for _, name := range []string{"charges-import", "statement-cut", "late-fees", "post", "lockbox-inspect", "lockbox-ingest", "statement-run", "statement-render", "statement-bundle", "statement-bundle-names"} {
		all := b.pairs[name]
		slices.SortFunc(all, func(x, y Stage) int { return cmp.Compare(x.Ratio, y.Ratio) })
		report.Stages = append(report.Stages, all[len(all)/2])
	}
	report.Stages = append(report.Stages, b.medians(autopayStages...)...)
	told, err := b.history(ctx, server)
	if err != nil {
		return Report{}, err
	}
	report.Stages = append(report.Stages, told)
	return report, nil
}

// pair lives one month of a new biller, each stage beside its floor.
func (b *bench) pair(ctx context.Context, server *postgres.Server) error {
	scratch, err := server.Scratch(ctx, "billcycle_bench")
	if err != nil {
		return err
	}
	defer scratch.Drop(context.WithoutCancel(ctx))
	b.db = scratch.Pool
	if err := b.members(ctx); err != nil {
		return err
	}
	if _, err := b.db.Exec(ctx, floorTable); err != nil {
		return err
	}
	c := calendar.CycleOf(calendar.MustParse("2026-01-01"))
	if err := b.month(ctx, c); err != nil {
		return err
	}
	if err := b.lockboxIngest(ctx, c); err != nil {
		return err
	}
	return b.statementRun(ctx, c+1)
}

const floorTable = `create table floor (like journal); alter table floor add primary key (account_id, no); create index on floor (posted_on, account_id)`

// members opens the accounts, each with one member who can be mailed to.
func (b *bench) members(ctx context.Context) error {
	feed, err := feedFile(func(w io.Writer) {
		fmt.Fprintln(w, "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery")
		for i := range b.n {
			mrn := b.mrn(i)
			fmt.Fprintf(w, "%s,%s,Member,Number%d,1 Main Street,Oakland,CA,94601,paper\n", mrn, mrn, i)
		}
	})
	if err != nil {
		return err
	}
	defer feed.Close()
	got, err := b.importing("2025-12-15").Members(ctx, b.db, feed)
	if err == nil && got.Accepted != int(b.n) {
		err = fmt.Errorf("%d of %d members accepted", got.Accepted, b.n)
	}
	return err
}

func (b *bench) mrn(i int64) string { return string(billing.NewMRN(100_000_000 + i)) }

func (b *bench) importing(day string) billing.Import {
	return billing.Import{Policy: &b.policy, Day: calendar.MustParse(day), Operator: "bench"}
}

// month lives a month: charges, the cut, money, late fees.
func (b *bench) month(ctx context.Context, c calendar.Cycle) error {
	cut, due := c.CutOn(b.policy.Statement.CutDay), c.DueOn(b.policy.Statement.DueDay)
	deadline := due + calendar.Date(b.policy.LateFee.GraceDays)
	if err := b.charges(ctx, c, cut); err != nil {
		return err
	}
	if err := b.vacuum(ctx); err != nil {
		return err
	}
	err := b.stage(ctx, "statement-cut", b.n, 4, workers, func(ctx context.Context) error {
		return b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
			_, _, err := billing.CutStatements(ctx, tx, &b.policy, cut, in)
			return err
		})
	})
	if err != nil {
		return err
	}
	// Everybody pays the premium by check, seven of ten the rest as well.
	checks := func(cents func(id int64, a *billing.Account) ledger.Cents) (int64, error) {
		n, err := b.receive(ctx, cut+10, cents)
		if err == nil {
			err = b.vacuum(ctx)
		}
		return n, err
	}
	if _, err := checks(func(int64, *billing.Account) ledger.Cents { return premium }); err != nil {
		return err
	}
	if err := b.stage(ctx, "post", b.n, 2, workers, b.posting(deadline)); err != nil {
		return err
	}
	paid, err := checks(func(id int64, a *billing.Account) ledger.Cents {
		if id%10 < 7 {
			return a.Due()
		}
		return 0
	})
	if err != nil {
		return err
	}
	if err := b.posting(deadline)(ctx); err != nil {
		return err
	}
	// Of the other three, one in ten has money under way or late, too little to
	// matter: their bills have to be replayed.
	if _, err := b.receive(ctx, deadline-2, func(id int64, a *billing.Account) ledger.Cents {
		if id%10 >= 7 && id%100 < 10 {
			return 100
		}
		return 0
	}); err != nil {
		return err
	}
	if err := b.vacuum(ctx); err != nil {
		return err
	}
	return b.lateFees(ctx, cut, deadline, b.n-paid)
}

// lateFees measures the assessment of the bills that are open at the deadline.
func (b *bench) lateFees(ctx context.Context, since, deadline calendar.Date, want int64) error {
	fees := int64(0)
	var mu sync.Mutex
	err := b.stage(ctx, "late-fees", want, 2, workers, func(ctx context.Context) error {
		return b.rangesOf(ctx, wide, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
			t, err := billing.AssessLateFees(ctx, tx, &b.policy, deadline+1, since, in)
			mu.Lock()
			fees += t.Done
			mu.Unlock()
			return err
		})
	})
	if err != nil {
		return err
	}
	if fees != want {
		return fmt.Errorf("%d late fees, want %d", fees, want)
	}
	return nil
}

func (b *bench) charges(ctx context.Context, c calendar.Cycle, day calendar.Date) error {
	feed, err := b.chargeFeed(c, day)
	if err != nil {
		return err
	}
	defer feed.Close()
	return b.stage(ctx, "charges-import", 3*b.n, 2, 1, func(ctx context.Context) error { return b.importCharges(ctx, feed, day) })
}

// chargeFeed is a month's charges, three for each account.
func (b *bench) chargeFeed(c calendar.Cycle, day calendar.Date) (*os.File, error) {
	return feedFile(func(w io.Writer) {
		fmt.Fprintln(w, "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents")
		for i := range b.n {
			mrn := b.mrn(i)
			fmt.Fprintf(w, "P%s%07d,%s,premium,%s,Monthly premium,%d,0,%d\n", c, i, mrn, day, premium, premium)
			fmt.Fprintf(w, "M%s%07d,%s,medical,%s,Office visit,32500,25000,7500\n", c, i, mrn, day)
			fmt.Fprintf(w, "L%s%07d,%s,medical,%s,Laboratory,14200,10482,3718\n", c, i, mrn, day)
		}
	})
}

func (b *bench) importCharges(ctx context.Context, feed io.Reader, day calendar.Date) error {
	got, err := b.importing(day.String()).Charges(ctx, b.db, feed)
	if err == nil && got.Accepted != int(3*b.n) {
		err = fmt.Errorf("%d of %d charges accepted", got.Accepted, 3*b.n)
	}
	return err
}

// feedFile writes a feed, which may be larger than memory, and opens it at its
// beginning. It has no name any more: it goes when it is closed.
func feedFile(write func(io.Writer)) (*os.File, error) {
	f, err := os.CreateTemp("", "billcycle-bench-*.csv")
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	write(w)
	err = cmp.Or(os.Remove(f.Name()), w.Flush())
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// receive makes pending checks of the amounts that the function names.
func (b *bench) receive(ctx context.Context, day calendar.Date, amount func(id int64, a *billing.Account) ledger.Cents) (n int64, err error) {
	var mu sync.Mutex
	err = b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
		var ids []int64
		for id := in.From; id < in.To; id++ {
			ids = append(ids, id)
		}
		book, err := billing.Load(ctx, tx, billing.OpenOnly, ids...)
		if err != nil {
			return err
		}
		for _, a := range book.Accounts {
			if cents := amount(a.ID, a); cents > 0 {
				a.Receive(day, billing.Receipt{Channel: "lockbox", Cents: cents, ReceivedOn: day, PostsOn: b.policy.Lockbox.PostsOn(day), Reference: strconv.FormatInt(a.ID, 10)})
				mu.Lock()
				n++
				mu.Unlock()
			}
		}
		return book.Save(ctx)
	})
	return n, err
}

func (b *bench) posting(day calendar.Date) func(context.Context) error {
	return func(ctx context.Context) error {
		return b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
			_, err := billing.PostDue(ctx, tx, &b.policy, day, in)
			return err
		})
	}
}

// ranges works on all accounts as a night does: by key range, a transaction
// each, several at once.
func (b *bench) ranges(ctx context.Context, do func(ctx context.Context, tx pgx.Tx, in billing.Range) error) error {
	return b.rangesOf(ctx, chunk, do)
}

func (b *bench) rangesOf(ctx context.Context, accounts int64, do func(ctx context.Context, tx pgx.Tx, in billing.Range) error) error {
	var wg sync.WaitGroup
	next := make(chan billing.Range)
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for in := range next {
				if errs[w] == nil {
					errs[w] = pgx.BeginFunc(ctx, b.db, func(tx pgx.Tx) error { return do(ctx, tx, in) })
				}
			}
		})
	}
	for from := int64(0); from <= b.n; from += accounts {
		next <- billing.Range{From: max(from, 1), To: min(from+accounts, b.n+1)}
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

// vacuum gives every stage tables as a night finds them.
func (b *bench) vacuum(ctx context.Context) error {
	_, err := b.db.Exec(ctx, `vacuum analyze account, item, receipt, bill, allocation, journal`)
	return err
}

// stage times the work and its floor: as many rows by COPY as units times the
// rows that each counts.
func (b *bench) stage(ctx context.Context, name string, units, rowsPerUnit int64, connections int, work func(context.Context) error) error {
	return b.beside(ctx, name, units, fmt.Sprintf("COPY of %d rows over %d connection(s)", units*rowsPerUnit, connections), work, func(ctx context.Context) error {
		return b.copyRows(ctx, units*rowsPerUnit, connections)
	})
}

// beside times the work and its floor, which is told in words.
func (b *bench) beside(ctx context.Context, name string, units int64, words string, work, floor func(context.Context) error) error {
	ours, err := b.timed(ctx, work)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := b.db.Exec(ctx, `truncate floor`); err != nil {
		return err
	}
	least, err := b.timed(ctx, floor)
	if err != nil {
		return fmt.Errorf("%s, its floor: %w", name, err)
	}
	s := Stage{Name: name, Units: units, Seconds: ours, PerSecond: float64(units) / max(ours, 1e-9), Floor: words, FloorPerSecond: float64(units) / max(least, 1e-9), Ratio: least / max(ours, 1e-9), PeakRSSMB: peakRSS()}
	b.pairs[name] = append(b.pairs[name], s)
	fmt.Fprintf(b.log, "  %-15s %8d in %6.2f s, floor %6.2f s, ratio %.2f\n", name, units, ours, least, s.Ratio)
	return nil
}

func (b *bench) timed(ctx context.Context, work func(context.Context) error) (seconds float64, err error) {
	start := b.now()
	err = work(ctx)
	return b.now().Sub(start).Seconds(), err
}

// copyRows is the floor.
func (b *bench) copyRows(ctx context.Context, rows int64, connections int) error {
	var wg sync.WaitGroup
	errs := make([]error, connections)
	day := calendar.MustParse("2026-01-01")
	for c := range connections {
		wg.Go(func() {
			part := rows / int64(connections)
			at := int64(c) * part
			if c == connections-1 {
				part = rows - at
			}
			_, errs[c] = b.db.CopyFrom(ctx, pgx.Identifier{"floor"}, ledger.Columns, pgx.CopyFromSlice(int(part), func(i int) ([]any, error) {
				id := at + int64(i)
				return []any{id / 4, int32(id % 4), day, day, ledger.Payment, ledger.LockboxPending, ledger.Receivable, int64(57500), int32(id % 100), nil}, nil
			}))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// peakRSS is the most memory this program has used so far, in megabytes; 0
// where the system does not tell.
func peakRSS() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb / 1024
		}
	}
	return 0
}
