package jobs

import (
	"context"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/statements"
)

func runPost(ctx context.Context, r *Run) error {
	// What nobody released must not post.
	err := r.ranges(ctx, "withdraw", 1, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return ach.WithdrawUnreleased(ctx, tx, r.Policy, r.Day, in)
	})
	if err != nil {
		return err
	}
	r.waits += r.tally.Skipped["not_released"]
	return r.ranges(ctx, "post", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return billing.PostDue(ctx, tx, r.Policy, r.Day, in)
	})
}

func runLateFees(ctx context.Context, r *Run) error {
	since, err := r.lastFinished(ctx)
	if err != nil {
		return err
	}
	return r.ranges(ctx, "assess", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return billing.AssessLateFees(ctx, tx, r.Policy, r.Day, since, in)
	})
}

func runStatements(ctx context.Context, r *Run) error {
	err := r.ranges(ctx, "cut", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		t, bills, err := billing.CutStatements(ctx, tx, r.Policy, r.Day, in)
		if err != nil {
			return t, err
		}
		return t, statements.Seal(ctx, tx, r.Policy, bills)
	})
	if err != nil {
		return err
	}
	return r.ranges(ctx, "draw", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		_, err := statements.Make(ctx, tx, filepath.Join(r.Dir, "statements"), in)
		return billing.Tally{}, err // counted when they were cut
	})
}

func runAutopay(ctx context.Context, r *Run) error {
	// One worker: traces are given in the order of accounts.
	err := r.ranges(ctx, "select", 1, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return ach.Select(ctx, tx, r.Policy, r.Day, in)
	})
	if err != nil {
		return err
	}
	office := r.Office(r.Day)
	files, err := office.Seal(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if r.Release == "" {
			r.waits++
			r.note("%s: %d debits of %s, effective %s, wait for their release by a second person", f.Name, f.Entries, f.Cents, f.EffectiveOn)
			continue
		}
		second := office
		second.Operator = r.Release
		if _, err := second.Release(ctx, f.ID); err != nil {
			return err
		}
	}
	_, err = office.WriteOut(ctx, filepath.Join(r.Dir, "outbox", "ach"))
	return err
}
