package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/notices"
)

func runReminders(ctx context.Context, r *Run) error {
	since, err := r.lastFinished(ctx)
	if err != nil {
		return err
	}
	file, err := r.openOut(ctx, "notices")
	if err != nil {
		return err
	}
	err = r.ranges(ctx, "queue", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		if err := adding(ctx, tx, file); err != nil {
			return billing.Tally{}, err
		}
		return notices.Remind(ctx, tx, r.Policy, r.Day, since, file, in)
	})
	if err != nil {
		return err
	}
	r.waits += r.tally.Skipped[notices.Missed]
	return r.sendOut(ctx, "notices")
}

// askCards is the cards' part of the autopay job.
func (r *Run) askCards(ctx context.Context) error {
	file, err := r.openOut(ctx, "card")
	if err != nil {
		return err
	}
	err = r.ranges(ctx, "cards", r.Workers, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		if err := adding(ctx, tx, file); err != nil {
			return billing.Tally{}, err
		}
		return cards.Ask(ctx, tx, r.Policy, r.Day, file, in)
	})
	if err != nil {
		return err
	}
	return r.sendOut(ctx, "card")
}

// Till is where the house takes the card gateway's answers on a business date.
func (h House) Till(day calendar.Date) cards.Till {
	return cards.Till{DB: h.DB, Policy: h.Policy, Day: day}
}

// takeCardAnswers takes the gateway's answers from the inbox.
func (r *Run) takeCardAnswers(ctx context.Context) error {
	return r.take(ctx, "card", func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Till(r.Day).Ingest(ctx, a.name, a.file)
		if errors.Is(err, cards.ErrRefused) {
			v.refused, err = problems(err, got.Problems), nil
			v.tally.Skip("refused", int64(got.Answers))
			return v, err
		}
		v.tally.Did(int64(got.Approved+got.Declined), got.Cents)
		v.tally.Skip("unchanged", int64(got.Known))
		if got.Suspended > 0 {
			v.note = fmt.Sprintf("%s: autopay of %d accounts is suspended, their cards were declined for the last time", a.name, got.Suspended)
		}
		return v, err
	})
}
