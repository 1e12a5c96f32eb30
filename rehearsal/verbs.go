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
		_, err := a.MakePlan(&p.story.policy, s.Date, f.Kind, f.Cents, f.Installments)
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
	mrn, plan, starts := p.mrns[s.Account], p.planOf(s), !f.Start.IsZero()
	first := false // nothing was known of the member's coverage
	if starts || f.PaidThrough.IsZero() {
		if first, err = p.coverFed(ctx, s, starts); err != nil {
			return err
		}
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		last := newest(a.Coverages)
		if last != nil && !starts && !f.End.IsZero() {
			err := a.EndCoverage(&p.story.policy, s.Date, mrn, plan, f.End)
			if err != nil || f.Monthly == nil && f.APTC == nil && f.PaidThrough.IsZero() {
				return err
			}
		}
		t := billing.Terms{StartOn: f.Start, EndOn: f.End, PaidThrough: f.PaidThrough}
		if last != nil { // what is not said stays
			t.MonthlyCents, t.APTCCents = last.MonthlyCents, last.APTCCents
		}
		switch {
		case starts:
		case last == nil:
			t.StartOn = p.longAgo()
		default: // from the first month that is not charged yet, to the end that is known
			if t.StartOn = max(last.StartOn, (last.ChargedTo + 1).First()); first {
				t.StartOn = calendar.CycleOf(s.Date).First()
			}
			if !last.EndOn.IsZero() {
				t.EndOn = max(cmp.Or(f.End, last.EndOn), t.StartOn-1)
			}
		}
		if f.Monthly != nil {
			t.MonthlyCents = *f.Monthly
		}
		if f.APTC != nil {
			t.APTCCents = *f.APTC
		}
		if err := a.Enrol(&p.story.policy, s.Date, mrn, plan, t); err != nil || !starts || !first || last.StartOn == f.Start {
			return err
		}
		// The month in which it starts counts from there only; those before stay as they were charged.
		return a.Enrol(&p.story.policy, s.Date, mrn, plan, billing.Terms{StartOn: last.StartOn, EndOn: max(last.StartOn, calendar.CycleOf(f.Start).First()) - 1})
	})
}

// coverFed enrols a member of whom no coverage is known yet, so that from then
// on the charges of the feed are those of a coverage: since long ago if the
// step does not say when it starts, else since the first month charged, if any.
// It says whether it has enrolled.
func (p *player) coverFed(ctx context.Context, s Step, starts bool) (enrolled bool, err error) {
	err = p.do(ctx, s, func(a *billing.Account) error {
		t := billing.Terms{StartOn: p.longAgo()}
		if starts {
			t.StartOn = firstCharged(a)
		}
		if len(a.Coverages) > 0 || t.StartOn.IsZero() {
			return nil
		}
		enrolled = true
		return a.Enrol(&p.story.policy, s.Date, p.mrns[s.Account], p.planOf(s), t)
	})
	return enrolled, err
}

// longAgo is when coverage began that a story tells no start of: before any
// day on which it may end.
func (p *player) longAgo() calendar.Date {
	return (calendar.CycleOf(p.story.Steps[0].Date) - 120).First()
}

// firstCharged is the first day of the first month whose premium was charged,
// 0 for none.
func firstCharged(a *billing.Account) (day calendar.Date) {
	for _, i := range a.Items {
		if i.Kind == billing.Premium && i.ForCycle != 0 && (day.IsZero() || i.ForCycle.First() < day) {
			day = i.ForCycle.First()
		}
	}
	return day
}

// newest returns the period that starts last, nil if there is none. One that
// another has taken the place of is none.
func newest(all []*billing.Coverage) (last *billing.Coverage) {
	for _, c := range all {
		replaced := !c.EndOn.IsZero() && c.EndOn < c.StartOn && c.EndOn != c.SaidEnd && c.LapsedOn.IsZero()
		if !replaced && (last == nil || c.StartOn > last.StartOn) {
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
