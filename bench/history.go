package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// The stage account-history: how long it takes to tell an account's story.

const (
	historyMonths   = 18
	historyAccounts = 10_000 // at the most
	historyShown    = 500    // accounts that each pair asks for
)

// history lets accounts live for eighteen months, as the other stages let them
// live one, and asks for some of them, each with the whole of its story. The
// floor is one indexed SELECT of as many rows.
func (b *bench) history(ctx context.Context, server *postgres.Server) (Stage, error) {
	scratch, err := server.Scratch(ctx, "billcycle_bench")
	if err != nil {
		return Stage{}, err
	}
	defer scratch.Drop(context.WithoutCancel(ctx))
	h := &bench{db: scratch.Pool, policy: b.policy, n: min(b.n, historyAccounts), now: b.now, log: io.Discard, pairs: map[string][]Stage{}}
	if err := h.members(ctx); err != nil {
		return Stage{}, err
	}
	if _, err := h.db.Exec(ctx, `create table floor (like journal); alter table floor add primary key (account_id, no); create index on floor (posted_on, account_id)`); err != nil {
		return Stage{}, err
	}
	first := calendar.CycleOf(calendar.MustParse("2025-01-01"))
	fmt.Fprintf(b.log, "%d accounts live for %d months\n", h.n, historyMonths)
	for c := first; c < first+historyMonths; c++ {
		if err := h.lived(ctx, c); err != nil {
			return Stage{}, err
		}
	}
	rows, err := h.historyFloor(ctx)
	if err != nil {
		return Stage{}, err
	}
	w := billing.Window{From: (first - 1).First(), On: (first + historyMonths - 1).Last()}
	var all []Stage
	for pair := range pairs {
		s, err := h.tell(ctx, pair, rows, w)
		if err != nil {
			return Stage{}, err
		}
		all = append(all, s)
		fmt.Fprintf(b.log, "  %-15s %8d in %6.2f s, ratio %.2f, slowest %.1f ms\n", s.Name, s.Units, s.Seconds, s.Ratio, s.SlowestMS)
	}
	slices.SortFunc(all, func(x, y Stage) int { return cmp.Compare(x.Ratio, y.Ratio) })
	return all[len(all)/2], nil
}

// lived is a month of which nothing is timed: charges, the cut, checks of most
// and late fees for the others.
func (b *bench) lived(ctx context.Context, c calendar.Cycle) error {
	cut, due := c.CutOn(b.policy.Statement.CutDay), c.DueOn(b.policy.Statement.DueDay)
	deadline := due + calendar.Date(b.policy.LateFee.GraceDays)
	if err := b.charges(ctx, c, cut); err != nil {
		return err
	}
	for _, work := range []func(context.Context) error{
		func(ctx context.Context) error {
			return b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
				_, _, err := billing.CutStatements(ctx, tx, &b.policy, cut, in)
				return err
			})
		},
		func(ctx context.Context) error {
			_, err := b.receive(ctx, cut+10, func(id int64, a *billing.Account) ledger.Cents {
				if id%10 < 7 {
					return a.Due()
				}
				return premium
			})
			return err
		},
		b.posting(deadline),
		func(ctx context.Context) error {
			return b.ranges(ctx, func(ctx context.Context, tx pgx.Tx, in billing.Range) error {
				_, err := billing.AssessLateFees(ctx, tx, &b.policy, deadline+1, cut, in)
				return err
			})
		},
		b.vacuum,
	} {
		if err := work(ctx); err != nil {
			return err
		}
	}
	return nil
}

// historyFloor fills the floor's table with as many rows for each account as
// its story is told from, and returns how many that are.
func (b *bench) historyFloor(ctx context.Context) (rows int64, err error) {
	if err := b.db.QueryRow(ctx, `select ((select count(*) from journal) + (select count(*) from item) + (select count(*) from receipt) + (select count(*) from allocation) + (select count(*) from bill)) / $1::bigint`, b.n).Scan(&rows); err != nil {
		return 0, err
	}
	_, err = b.db.Exec(ctx, `truncate floor`)
	if err == nil {
		_, err = b.db.Exec(ctx, `insert into floor select a, n, '2026-01-01', '2026-01-01', 'payment', 'lockbox_pending', 'receivable', 57500, n, null from generate_series(1, $1::bigint) a, generate_series(1, $2::int) n`, b.n, rows)
	}
	if err == nil {
		_, err = b.db.Exec(ctx, `vacuum analyze floor`)
	}
	return rows, err
}

// tell times some accounts, and the floor for the same; each pair has others.
func (b *bench) tell(ctx context.Context, pair int, rows int64, w billing.Window) (s Stage, err error) {
	var ids []int64
	for n := range min(b.n, historyShown) {
		ids = append(ids, 1+(int64(pair)+n*max(1, b.n/historyShown))%b.n)
	}
	show := func(id int64) error {
		shown, err := billing.Show(ctx, b.db, b.mrn(id-1), w)
		if err == nil && len(shown.Timeline) < 3*historyMonths {
			err = fmt.Errorf("account %d tells of %d entries in %d months", id, len(shown.Timeline), historyMonths)
		}
		return err
	}
	each := func(do func(id int64) error) func(context.Context) error {
		return func(context.Context) error {
			for _, id := range ids {
				if err := do(id); err != nil {
					return err
				}
			}
			return nil
		}
	}
	ours, err := b.timed(ctx, each(show))
	if err != nil {
		return s, err
	}
	floor, err := b.timed(ctx, each(func(id int64) error {
		got, err := b.db.Query(ctx, `select account_id, no, posted_on, effective_on, what, debit, credit, cents, doc, reverses from floor where account_id = $1`, id)
		if err != nil {
			return err
		}
		defer got.Close()
		n := int64(0)
		for got.Next() {
			row := ledger.ReadRow(got)
			n += min(row.Int64(), 1)
		}
		if n != rows && got.Err() == nil {
			return fmt.Errorf("the floor has %d rows of account %d, not %d", n, id, rows)
		}
		return got.Err()
	}))
	if err != nil {
		return s, err
	}
	var slowest time.Duration
	for _, id := range ids {
		start := b.now()
		if err := show(id); err != nil {
			return s, err
		}
		slowest = max(slowest, b.now().Sub(start))
	}
	n := int64(len(ids))
	return Stage{Name: "account-history", Units: n, Seconds: ours, PerSecond: float64(n) / max(ours, 1e-9), FloorPerSecond: float64(n) / max(floor, 1e-9), Ratio: floor / max(ours, 1e-9),
		Floor: fmt.Sprintf("one indexed SELECT of %d rows", rows), SlowestMS: float64(slowest.Microseconds()) / 1000, PeakRSSMB: peakRSS()}, nil
}
