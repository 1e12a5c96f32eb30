package billing

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The standings of a payment plan.
const (
	PlanRunning   = "running"
	PlanKept      = "kept"      // every installment is paid
	PlanBroken    = "broken"    // by the member: too many installments were missed
	PlanCancelled = "cancelled" // by an operator
)

// Why a running plan is left as it is, besides the reasons of its account's
// hold.
const PlanOnCourse = "plan_on_course"

// Plan is a payment plan: Cents of billed open items, deferred, of which each
// cut bills one installment (POLICY section 9). Its deferred items and its
// installments name it in ForDoc.
type Plan struct {
	No           int32
	Kind         Kind
	Cents        ledger.Cents
	Installments int
	Billed       int // installments so far
	MadeOn       calendar.Date
	State        string
	EndedOn      calendar.Date

	dirty bool
}

// MakePlan takes cents of the billed open items of a kind, the oldest first,
// out of what is due, into a plan of equal installments.
func (a *Account) MakePlan(p *Policy, day calendar.Date, kind Kind, cents ledger.Cents, installments int) (*Plan, error) {
	a.mustBeWhole()
	var able []*Item
	var open ledger.Cents
	for _, i := range a.Items {
		if i.State == Billed && i.Kind == kind && i.Open() > 0 {
			able, open = append(able, i), open+i.Open()
		}
	}
	switch {
	case kind != Premium && kind != Medical:
		return nil, fmt.Errorf("a plan is of premium or medical, not of %q", kind)
	case installments < 1 || cents < ledger.Cents(installments):
		return nil, fmt.Errorf("%s can't be paid in %d installments", cents, installments)
	case cents > open:
		return nil, fmt.Errorf("a plan of %s is more than the %s of %s that is billed and open", cents, open, kind)
	}
	a.noteMissed(p, day)
	slices.SortStableFunc(able, older)
	pl := &Plan{No: a.doc(), Kind: kind, Cents: cents, Installments: installments, MadeOn: day, State: PlanRunning, dirty: true}
	a.Plans = append(a.Plans, pl)
	for _, i := range able {
		take := min(cents, i.Open())
		if take == 0 {
			break
		}
		part := a.split(day, i, take, Deferred)
		part.ForDoc = pl.No
		if charge := a.item(part.Parent); part.Origin == FromInstallment && charge != nil {
			part.Origin = charge.Origin // of another plan: what a broken one leaves is a charge again
		}
		cents -= take
	}
	a.lookAgain()
	return pl, nil
}

// deferred returns the items that a plan has still to bill.
func (a *Account) deferred(pl *Plan) (items []*Item, left ledger.Cents) {
	for _, i := range a.Items {
		if i.State == Deferred && i.ForDoc == pl.No {
			items, left = append(items, i), left+i.Open()
		}
	}
	return items, left
}

// billInstallments bills the next installment of each plan on a bill: an equal
// share rounded down, on the last all that is left.
func (a *Account) billInstallments(b *Bill, newest bool) {
	for _, pl := range a.Plans {
		items, left := a.deferred(pl)
		if pl.State != PlanRunning || left == 0 || !newest && pl.MadeOn > b.CutOn {
			continue
		}
		pl.Billed, pl.dirty = pl.Billed+1, true
		cents := pl.Cents / ledger.Cents(pl.Installments)
		if pl.Billed >= pl.Installments || cents > left {
			cents = left
		}
		for _, i := range items {
			take := min(cents, i.Cents)
			if take > 0 {
				part := a.addItem(&Item{Kind: i.Kind, Origin: FromInstallment, State: Billed, Cents: take, Cycle: b.Cycle, BilledOn: b.CutOn, MadeOn: b.MadeOn, ArrivedOn: i.ArrivedOn,
					ForCycle: i.ForCycle, ForDoc: pl.No, Parent: i.Parent, Detail: &Detail{Description: fmt.Sprintf("Installment %d of %d", pl.Billed, pl.Installments)}})
				a.stand(Standing{On: b.MadeOn, Item: part.No, State: string(Billed), Source: i.No, Cents: take})
				i.Cents -= take
				i.dirty = true
			}
			if i.Cents == 0 { // nothing of it is deferred any more
				i.dirty = true
				i.State, i.Cycle, i.BilledOn, i.MadeOn = Billed, b.Cycle, b.CutOn, b.MadeOn
			}
			cents -= take
		}
	}
}

// LookAtPlans breaks the running plans of which too many installments are
// unpaid past their deadlines, and closes those that are paid. It returns how
// many of each and what the broken ones leave to the next cut; held is the
// reason of a hold under which nothing breaks. The account must be whole.
func (a *Account) LookAtPlans(p *Policy, day calendar.Date) (broken, kept int, rest ledger.Cents, held string) {
	a.mustBeWhole()
	if h := a.HeldOn(day); h != nil {
		return 0, 0, 0, h.Reason
	}
	for _, pl := range a.Plans {
		if pl.State != PlanRunning {
			continue
		}
		_, left := a.deferred(pl)
		switch missed, open := a.missed(p, pl, day); {
		case missed >= a.policy(p, day).Plan.BrokenAfterMissed:
			rest += a.endPlan(pl, PlanBroken, day)
			broken++
		case left == 0 && open == 0:
			a.endPlan(pl, PlanKept, day)
			kept++
		}
	}
	return broken, kept, rest, ""
}

// missed counts a plan's installments that are unpaid past their deadlines,
// and adds up what is open of all of them. A payment counts from the day it
// was received, pending or not (POLICY section 10).
func (a *Account) missed(p *Policy, pl *Plan, day calendar.Date) (n int, open ledger.Cents) {
	unpaid := map[calendar.Cycle]bool{}
	r := newReplay(a, p, day)
	r.play()
	for _, copied := range r.items {
		i := a.item(copied.No)
		if i.Origin != FromInstallment || i.ForDoc != pl.No {
			continue
		}
		open += i.Open()
		if copied.Open() > 0 && i.Open() > 0 {
			unpaid[i.Cycle] = true
		}
	}
	for _, b := range a.Bills {
		if b.DeadlineOn < day && unpaid[b.Cycle] {
			n++
		}
	}
	return n, open
}

// CancelPlan ends a running plan on a member's or an operator's wish: the next
// cut bills what it has not billed.
func (a *Account) CancelPlan(day calendar.Date, kind Kind) (ledger.Cents, error) {
	a.mustBeWhole()
	var rest ledger.Cents
	found := false
	for _, pl := range a.Plans {
		if pl.State == PlanRunning && pl.Kind == kind {
			rest += a.endPlan(pl, PlanCancelled, day)
			found = true
		}
	}
	if !found {
		return 0, fmt.Errorf("no plan of %s is running", kind)
	}
	return rest, nil
}

// endPlan ends a plan; what it had deferred is for the next cut to bill.
func (a *Account) endPlan(pl *Plan, state string, day calendar.Date) ledger.Cents {
	items, rest := a.deferred(pl)
	for _, i := range items {
		a.unbill(day, i)
	}
	pl.State, pl.EndedOn, pl.dirty = state, day, true
	a.lookAgain()
	return rest
}

// LookAtPlans looks at the running plans of the range. Those that have billed
// nothing which is open past its deadline, and still have something to bill,
// are on course without a closer look.
func LookAtPlans(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range) (Tally, error) {
	var t Tally
	var running int64
	if err := tx.QueryRow(ctx, `select count(*) from plan where state = 'running' and account_id >= $1 and account_id < $2`, r.From, r.To).Scan(&running); err != nil || running == 0 {
		return t, err
	}
	ids, err := ids(ctx, tx, `select distinct account_id from plan p where state = 'running' and account_id >= $1 and account_id < $2 and (
			not exists (select from item i where i.account_id = p.account_id and i.for_doc = p.no and i.state = 'deferred' and i.paid < i.cents)
			or exists (select from item i join bill b on b.account_id = i.account_id and b.cycle = i.cycle
				where i.account_id = p.account_id and i.for_doc = p.no and i.origin = 'installment' and i.paid < i.cents and b.deadline_on < $3))
		order by 1`, r.From, r.To, day)
	if err != nil {
		return t, err
	}
	err = Each(ctx, tx, p.Need(Whole), ids, func(a *Account) {
		broken, kept, rest, held := a.LookAtPlans(p, day)
		t.Did(int64(broken+kept), rest)
		if held != "" {
			for _, pl := range a.Plans {
				if pl.State == PlanRunning {
					t.Pass(a.ID, held, fmt.Sprintf("plan %d", pl.No))
				}
			}
			running -= a.runningPlans()
		}
	})
	t.Skip(PlanOnCourse, running-t.Done)
	return t, err
}

func (a *Account) runningPlans() (n int64) {
	for _, pl := range a.Plans {
		if pl.State == PlanRunning {
			n++
		}
	}
	return n
}
