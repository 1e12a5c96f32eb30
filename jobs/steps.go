package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/statements"
)

// step is a part of a job that is done range by range of accounts, each in a
// transaction of its own, by whichever worker has it in hand. All that it goes
// by is the policy and what stands in its run, so that a worker of another
// program does the very same.
type step struct {
	ordered bool // one range after the other, by the program that runs the night
	draws   bool // into the statements' store
	wide    bool // works on rows where they lie, and the more at once the cheaper: its ranges are five times as large
	do      func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error)
}

var steps = map[string]step{
	"withdraw": {ordered: true, do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		t, err := ach.WithdrawUnreleased(ctx, tx, r.Policy, r.Day, in)
		if err != nil {
			return t, err
		}
		others, err := ach.SettleOthers(ctx, tx, r.Policy, r.Day, in)
		t.Add(others)
		t.Passed = append(t.Passed, others.Passed...)
		return t, err
	}},
	"post": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		return billing.PostDue(ctx, tx, r.Policy, r.Day, in)
	}},
	"assess": {wide: true, do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		return billing.AssessLateFees(ctx, tx, r.Policy, r.Day, r.since, in)
	}},
	"plans": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		return billing.LookAtPlans(ctx, tx, r.Policy, r.Day, in)
	}},
	"grace": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		return billing.EndGraces(ctx, tx, r.Policy, r.Day, in)
	}},
	"cut": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		t, bills, err := billing.CutStatements(ctx, tx, r.Policy, r.Day, in)
		if err != nil {
			return t, err
		}
		return t, statements.Seal(ctx, tx, r.Policy, bills)
	}},
	"draw": {draws: true, do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		made, err := statements.MakePaperless(ctx, tx, r.keep, in)
		if err != nil || len(made) == 0 {
			return billing.Tally{}, err
		}
		if err := adding(ctx, tx, r.fills); err != nil {
			return billing.Tally{}, err
		}
		untold, err := notices.Announce(ctx, tx, r.Policy, r.Day, r.fills, made)
		return billing.Tally{Passed: untold}, err // counted when they were cut
	}},
	"select": {ordered: true, wide: true, // traces are given in the order of ranges
		do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
			return ach.Select(ctx, tx, r.Policy, r.Day, in)
		}},
	"cards": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		if err := adding(ctx, tx, r.fills); err != nil {
			return billing.Tally{}, err
		}
		return cards.Ask(ctx, tx, r.Day, r.fills, in)
	}},
	"queue": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		if err := adding(ctx, tx, r.fills); err != nil {
			return billing.Tally{}, err
		}
		return notices.Remind(ctx, tx, r.Policy, r.Day, r.since, r.fills, in)
	}},
	"dormant": {do: func(ctx context.Context, tx pgx.Tx, r *Run, in billing.Range) (billing.Tally, error) {
		return billing.FlagDormants(ctx, tx, r.Policy, r.Day, in)
	}},
}

// atOnce says how many ranges of a step a program works on at once.
func (s step) atOnce(workers int) int {
	if s.ordered {
		return 1
	}
	return workers
}
