package billing_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Payment plans (section 9), in the model's own words, and in its lives.

type modelPlan struct {
	kind   billing.Kind
	cents  ledger.Cents
	parts  int // installments agreed
	billed int
	made   calendar.Date
	state  string
}

func (m *model) makePlan(day calendar.Date, kind billing.Kind, cents ledger.Cents, parts int) {
	pl := &modelPlan{kind: kind, cents: cents, parts: parts, made: day, state: billing.PlanRunning}
	m.plans = append(m.plans, pl)
	for _, o := range m.billed() {
		c := min(cents, m.open(o))
		if o.kind != kind || c == 0 {
			continue
		}
		cents -= c
		rest := *o
		rest.cents, rest.state, rest.plan, rest.seq = c, billing.Deferred, pl, m.tick()
		if rest.origin == billing.FromInstallment {
			rest.origin = billing.FromCharge // it is no installment of the other plan any more
		}
		o.cents -= c
		m.owed = append(m.owed, &rest)
	}
}

// left is what a plan has not billed.
func (m *model) left(pl *modelPlan) (parts []*owed, sum ledger.Cents) {
	for _, o := range m.owed {
		if o.state == billing.Deferred && o.plan == pl {
			parts, sum = append(parts, o), sum+m.open(o)
		}
	}
	return parts, sum
}

func (m *model) installments(b *modelBill, newest bool) {
	for _, pl := range m.plans {
		parts, left := m.left(pl)
		if pl.state != billing.PlanRunning || left == 0 || pl.made > b.cutOn && !newest {
			continue
		}
		pl.billed++
		cents := min(left, pl.cents/ledger.Cents(pl.parts))
		if pl.billed == pl.parts {
			cents = left
		}
		for _, o := range parts {
			c := min(cents, o.cents)
			if c == 0 {
				continue
			}
			cents -= c
			piece := *o
			piece.cents, piece.state, piece.origin, piece.bill, piece.seq = c, billing.Billed, billing.FromInstallment, len(m.bills)-1, m.tick()
			o.cents -= c
			m.owed = append(m.owed, &piece)
		}
	}
}

// lookAtPlans is one run of the job.
func (m *model) lookAtPlans(day calendar.Date) {
	if m.heldOn(day) {
		return
	}
	then := m.byReceivedDate(day)
	for _, pl := range m.plans {
		if pl.state != billing.PlanRunning {
			continue
		}
		missed, open := map[int]bool{}, false
		for _, o := range then.owed {
			if o.plan != pl || o.origin != billing.FromInstallment || m.open(o.of) == 0 {
				continue
			}
			open = true
			if then.open(o) > 0 && m.bills[o.bill].deadline < day {
				missed[o.bill] = true
			}
		}
		switch _, left := m.left(pl); {
		case len(missed) >= m.now(day).Plan.BrokenAfterMissed:
			m.endPlan(pl, billing.PlanBroken)
		case left == 0 && !open:
			m.endPlan(pl, billing.PlanKept)
		}
	}
}

func (m *model) endPlan(pl *modelPlan, state string) {
	pl.state = state
	parts, _ := m.left(pl)
	for _, o := range parts {
		o.state, o.bill = billing.Unbilled, -1
	}
	m.tick()
}

func (l *life) plan() error {
	kind := l.kind()
	open := l.m.openIn(billing.Billed, kind)
	parts := rapid.SampledFrom([]int{1, 2, 3, 6, 7}).Draw(l.T, "installments")
	if open < ledger.Cents(parts) {
		return nil
	}
	cents := max(ledger.Cents(parts), min(open, l.amount("planned")))
	l.tell("plan of %s %d in %d", kind, cents, parts)
	l.m.makePlan(l.day, kind, cents, parts)
	return l.change(billing.Whole, func(a *billing.Account) error {
		_, err := a.MakePlan(&l.p, l.day, kind, cents, parts)
		return err
	})
}

func (l *life) cancelPlan() error {
	pl := some(l, "cancelled", l.m.plans, func(pl *modelPlan) bool { return pl.state == billing.PlanRunning })
	if pl == nil {
		return nil
	}
	l.tell("plans of %s cancelled", pl.kind)
	for _, x := range l.m.plans {
		if x.state == billing.PlanRunning && x.kind == pl.kind {
			l.m.endPlan(x, billing.PlanCancelled)
		}
	}
	return l.change(billing.Whole, func(a *billing.Account) error {
		_, err := a.CancelPlan(l.day, pl.kind)
		return err
	})
}

func (l *life) agreeOnPlans() {
	l.same("plans", ledger.Cents(len(l.m.plans)), ledger.Cents(len(l.a.Plans)))
	for n, pl := range l.m.plans {
		if got := l.a.Plans[n]; got.State != pl.state || got.Billed != pl.billed {
			l.disagree("plan", []any{pl.state, pl.billed}, []any{got.State, got.Billed})
		}
	}
	if running := slices.IndexFunc(l.a.Items, func(i *billing.Item) bool { return i.State == billing.Deferred && i.Open() < 0 }); running >= 0 {
		l.disagree("deferred", "never below 0", l.a.Items[running].Open())
	}
}
