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
	"github.com/billcycle/billcycle/statements"
)

func runReminders(ctx context.Context, r *Run) (err error) {
	if r.since, err = r.lastFinished(ctx); err != nil {
		return err
	}
	if r.fills, err = r.openOut(ctx, "notices", "notices"); err != nil {
		return err
	}
	if err := r.ranges(ctx, "queue"); err != nil {
		return err
	}
	r.waits += r.tally.Skipped[notices.Missed]
	return r.sendOut(ctx, "notices", "notices")
}

// askCards is the cards' part of the autopay job. Where the policy names a
// gateway, it is asked directly; else what is asked leaves as a file.
func (r *Run) askCards(ctx context.Context) error {
	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	folder := "card"
	if gateway != nil {
		folder = cards.GatewayFolder
	}
	if r.fills, err = r.openOut(ctx, folder, folder); err != nil {
		return err
	}
	if err := r.ranges(ctx, "cards"); err != nil {
		return err
	}
	if gateway == nil {
		return r.sendOut(ctx, folder, folder)
	}
	if err := r.sealOnly(ctx, folder); err != nil {
		return err
	}
	return r.settleCards(ctx, gateway)
}

// gateway is the one that the policy names, nil for none.
func (r *Run) gateway() (cards.Gateway, error) {
	if r.dry {
		return nil, nil
	}
	return cards.OpenGateway(r.Policy.Card.Gateway)
}

// settleCards carries charges through the gateway; the tally counted them when
// they were asked.
func (r *Run) settleCards(ctx context.Context, gateway cards.Gateway) error {
	got, err := r.Till(r.Day).Settle(ctx, gateway)
	if err != nil {
		return err
	}
	if got.Answers > 0 {
		r.note("cards: %d charges approved (%s), %d declined", got.Approved, got.Cents, got.Declined)
	}
	r.noteSuspended("cards", got.Suspended)
	if got.Dropped > 0 {
		r.note("cards: %d charges of an earlier day had come to nothing and were dropped: what was due has changed since", got.Dropped)
	}
	if got.Waiting > 0 {
		r.waits += int64(got.Waiting)
		r.note("cards: %d charges have no answer; the next run asks about them and sends none twice", got.Waiting)
	}
	if got.Failure != nil {
		r.note("cards: %v", got.Failure)
	}
	return nil
}

func (r *Run) noteSuspended(where string, accounts int) {
	if accounts > 0 {
		r.note("%s: autopay of %d accounts is suspended, their cards were declined for the last time", where, accounts)
	}
}

// Till is where the house takes the card gateway's answers on a business date.
func (h House) Till(day calendar.Date) cards.Till {
	return cards.Till{DB: h.DB, Policy: h.Policy, Day: day}
}

// takeCardAnswers asks the gateway about charges without an answer, and takes
// answers from the inbox.
func (r *Run) takeCardAnswers(ctx context.Context) error {
	gateway, err := r.gateway()
	if err != nil {
		return err
	}
	if gateway != nil {
		if err := r.settleCards(ctx, gateway); err != nil {
			return err
		}
	}
	return r.take(ctx, "card", func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Till(r.Day).Ingest(ctx, a.name, a.file)
		if errors.Is(err, cards.ErrRefused) {
			v.refused, err = problems(err, got.Problems), nil
			v.tally.Skip(refused, int64(got.Answers))
			return v, err
		}
		v.tally.Did(int64(got.Approved+got.Declined), got.Cents)
		v.tally.Skip(unchanged, int64(got.Known))
		r.noteSuspended(a.name, got.Suspended)
		return v, err
	})
}

// takeBounces takes from the inbox what the carrier says of messages. What a
// message that came back was about goes by mail, if it is a paperless statement.
func (r *Run) takeBounces(ctx context.Context) error {
	return r.take(ctx, "notices", func(ctx context.Context, a arrival) (v verdict, err error) {
		var mailed, nowhere int
		got, err := notices.Counter{DB: r.DB, Day: r.Day, Bounced: func(ctx context.Context, tx pgx.Tx, account int64, cycle calendar.Cycle, why string) error {
			err := r.Mail(r.Day).Instead(ctx, tx, account, cycle, why)
			switch {
			case err == nil:
				mailed++
			case errors.Is(err, statements.ErrNowhere):
				nowhere++
				return r.exceptNowhere(ctx, tx, account, cycle, why)
			case errors.Is(err, statements.ErrNotNow), errors.Is(err, statements.ErrNone):
				return nil // it goes by mail already
			}
			return err
		}}.Ingest(ctx, a.file)
		if errors.Is(err, notices.ErrRefused) {
			v.refused, err = problems(err, got.Problems), nil
			return v, err
		}
		v.tally.Did(int64(got.Delivered), 0)
		v.tally.Skip(notices.Bounced, int64(got.Bounced))
		v.tally.Skip(unchanged, int64(got.Known))
		v.waits = int64(nowhere)
		if mailed > 0 {
			v.note = fmt.Sprintf("%s: %d paperless statements go by mail, since word of them came back", a.name, mailed)
		}
		return v, err
	})
}

// exceptNowhere puts a statement before a person that can be sent neither by
// e-mail nor by mail.
func (r *Run) exceptNowhere(ctx context.Context, tx pgx.Tx, account int64, cycle calendar.Cycle, why string) error {
	return billing.Raise(ctx, tx, account, billing.Exception{On: r.Day, Job: r.Job, Code: nowhereToSend, Subject: cycle.String(),
		Detail: why + "; and there is no address to mail the statement to: ask the member"})
}
