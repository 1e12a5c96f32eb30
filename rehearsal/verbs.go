package rehearsal

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The verbs of plans, coverage and unclaimed credit, and the figures that go
// with them.

func (p *player) plan(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Kind         billing.Kind `json:"kind"`
		Cents        ledger.Cents `json:"cents"`
		Installments int          `json:"installments"`
	}](s.Fields)
	if err != nil {
		return err
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		_, err := a.MakePlan(s.Date, f.Kind, f.Cents, f.Installments)
		return err
	})
}

// planOf is the plan that covers the member of a step.
func (p *player) planOf(s Step) string { return cmp.Or(p.story.Accounts[s.Account].Plan, "plan") }

func (p *player) coverage(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Start       calendar.Date `json:"start"`
		End         calendar.Date `json:"end"`
		Monthly     *ledger.Cents `json:"monthly_cents"`
		APTC        *ledger.Cents `json:"aptc_cents"`
		PaidThrough calendar.Date `json:"paid_through"`
	}](s.Fields)
	if err != nil {
		return err
	}
	mrn := p.mrns[s.Account]
	if !f.End.IsZero() && f.Start.IsZero() {
		if err := p.coverFed(ctx, s); err != nil {
			return err
		}
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		if f.Start.IsZero() && f.Monthly == nil && f.APTC == nil && !f.End.IsZero() {
			return a.EndCoverage(&p.story.policy, s.Date, mrn, p.planOf(s), f.End)
		}
		t := billing.Terms{StartOn: f.Start, EndOn: f.End, PaidThrough: f.PaidThrough}
		if last := newest(a.Coverages); last != nil { // what is not said stays
			t.MonthlyCents, t.APTCCents = last.MonthlyCents, last.APTCCents
			if t.StartOn.IsZero() { // from the first month that is not charged yet
				t.StartOn = max(last.StartOn, (last.ChargedTo + 1).First())
			}
		} else if t.StartOn.IsZero() {
			t.StartOn = max(calendar.CycleOf(s.Date).First(), f.PaidThrough+1)
		}
		if f.Monthly != nil {
			t.MonthlyCents = *f.Monthly
		}
		if f.APTC != nil {
			t.APTCCents = *f.APTC
		}
		return a.Enrol(&p.story.policy, s.Date, mrn, p.planOf(s), t)
	})
}

// coverFed enrols an account of which only charged premium is known yet: from
// then on its charges are those of the coverage.
func (p *player) coverFed(ctx context.Context, s Step) error {
	return p.do(ctx, s, func(a *billing.Account) error {
		first := calendar.Cycle(0)
		for _, i := range a.Items {
			if i.Kind == billing.Premium && i.ForCycle != 0 && (first == 0 || i.ForCycle < first) {
				first = i.ForCycle
			}
		}
		if first == 0 || len(a.Coverages) > 0 {
			return nil
		}
		return a.Enrol(&p.story.policy, s.Date, p.mrns[s.Account], p.planOf(s), billing.Terms{StartOn: first.First()})
	})
}

// newest returns the period that starts last, nil if there is none.
func newest(all []*billing.Coverage) (last *billing.Coverage) {
	for _, c := range all {
		if last == nil || c.StartOn > last.StartOn {
			last = c
		}
	}
	return last
}

func (p *player) remitUnclaimed(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Cents ledger.Cents `json:"cents"`
	}](s.Fields)
	if err != nil {
		return err
	}
	return p.do(ctx, s, func(a *billing.Account) error { return a.Remit(&p.story.policy, s.Date, f.Cents) })
}

// covered says how the step's account is covered: a figure "grace" or
// "coverage_end".
func (p *player) covered(ctx context.Context, key string, s Step) (got any, err error) {
	err = pgx.BeginFunc(ctx, p.house.DB, func(tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.Whole, p.ids[s.Account])
		if err != nil {
			return err
		}
		switch a := b.Accounts[0]; key {
		case "grace":
			got = a.PremiumGrace(&p.story.policy, s.Date).Month
		case "coverage_end":
			got = a.CoverageEnd()
		default:
			return fmt.Errorf("no such figure: %s", key)
		}
		return nil
	})
	return got, err
}
