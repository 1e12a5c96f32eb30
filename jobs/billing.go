package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
)

// The jobs that only move what billing keeps.

func runPlans(ctx context.Context, r *Run) error {
	return r.ranges(ctx, "plans", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return billing.LookAtPlans(ctx, tx, r.Policy, r.Day, in)
	})
}

func runGrace(ctx context.Context, r *Run) error {
	return r.ranges(ctx, "grace", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return billing.EndGraces(ctx, tx, r.Policy, r.Day, in)
	})
}

func runDormant(ctx context.Context, r *Run) error {
	return r.ranges(ctx, "dormant", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		return billing.FlagDormants(ctx, tx, r.Policy, r.Day, in)
	})
}
