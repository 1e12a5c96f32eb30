package jobs

import (
	"context"
	"path/filepath"
	"slices"

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
	r.waits += r.tally.Skipped[billing.NotReleased]
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
	if r.dry {
		return nil // the figures are there, and the pages would go with them
	}
	keep, err := r.Store()
	if err != nil {
		return err
	}
	if err := r.ranges(ctx, "draw", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		_, err := statements.MakePaperless(ctx, tx, keep, in)
		return billing.Tally{}, err // counted when they were cut
	}); err != nil {
		return err
	}
	return r.printStatements(ctx)
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
	made, err := office.Seal(ctx)
	if err != nil {
		return err
	}
	if err := r.letGo(ctx, office, made); err != nil {
		return err
	}
	if _, err := office.WriteOut(ctx, filepath.Join(r.Dir, "outbox", "ach")); err != nil {
		return err
	}
	return r.askCards(ctx)
}

// letGo releases the files that wait, if the house says as whom, or puts those
// of this run before a person: the ones just made, and the ones that it had
// made when it was killed.
func (r *Run) letGo(ctx context.Context, office ach.Office, made []ach.FileInfo) error {
	files, err := office.Files(ctx)
	if err != nil {
		return err
	}
	second := office
	second.Operator = r.Release
	for _, f := range slices.Backward(files) { // in the order they were made
		own := slices.ContainsFunc(made, func(m ach.FileInfo) bool { return m.ID == f.ID }) || !r.again && f.BuiltOn == r.Day
		switch {
		case f.State != ach.FileSealed || f.EffectiveOn <= r.Day:
		case r.Release != "":
			if _, err := second.Release(ctx, f.ID); err != nil {
				return err
			}
		case own:
			r.waits++
			r.note("%s: %d debits of %s, effective %s, wait for their release by a second person", f.Name, f.Entries, f.Cents, f.EffectiveOn)
		}
	}
	return nil
}
