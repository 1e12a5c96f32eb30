package billing_test

import (
	"cmp"
	"slices"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The late fee (section 3), in the model's own words.

// lateFees is one run of the job.
func (m *model) lateFees(day calendar.Date) {
	if m.heldOn(day) {
		return
	}
	for n, b := range m.bills {
		if day <= b.deadline {
			continue
		}
		never := b.madeOn > b.dueOn || b.noFee || m.heldOn(b.deadline) || m.ours(n)
		var fee *owed
		waived := false
		for _, o := range m.owed {
			if o.lateOf == n && o.origin == billing.FromLateFee {
				if o.waived {
					waived = true
				} else if !o.undone {
					fee = o
				}
			}
		}
		base := m.base(n)
		late := base > 0 && base >= m.of(n).LateFee.MinimumBaseCents
		switch {
		case waived:
		case fee != nil && !late && m.postedInTimeSince(m.looked, b.deadline):
			fee.undone = true
			m.lower(fee, fee.cents, "fees", day)
			m.useCredit()
		case fee == nil && late && !never:
			if c := lateFee(m.of(n).LateFee, base); c > 0 {
				m.add(&owed{kind: billing.Fee, cents: c, arrived: day, origin: billing.FromLateFee, lateOf: n}, "fees", day)
			}
		}
	}
	m.looked = m.tick()
}

// postedInTimeSince leaves out what was returned: it counts as never received.
func (m *model) postedInTimeSince(clock int, deadline calendar.Date) bool {
	return slices.ContainsFunc(m.paid, func(p *paid) bool {
		return !p.posted.IsZero() && p.returned.IsZero() && p.postedAt > clock && p.received <= deadline
	})
}

func lateFee(f billing.LateFeePolicy, base ledger.Cents) ledger.Cents {
	if f.Kind == "flat" {
		return f.Cents
	}
	percent, err := ledger.ParsePercent(f.Percent)
	if err != nil {
		panic(err)
	}
	c := max(percent.Of(base), f.MinCents)
	if f.MaxCents != nil {
		c = min(c, *f.MaxCents)
	}
	return c
}

// base is the principal first billed on a bill that was open as its deadline
// ended.
func (m *model) base(bill int) (base ledger.Cents) {
	then := m.byReceivedDate(m.bills[bill].deadline)
	for _, o := range then.owed {
		if o.bill == bill && o.kind != billing.Fee && o.origin != billing.FromInstallment && (m.p.Grace.LateFeeOnPremium || !o.aptc()) {
			base += then.open(o)
		}
	}
	return base
}

// byReceivedDate is the account as it would have been at the end of a day, had
// every payment posted on the day it was received.
func (m *model) byReceivedDate(deadline calendar.Date) *model {
	then := &model{p: m.p, order: m.p.Allocation.Order}
	for _, o := range m.owed {
		if o.state == billing.Billed {
			c := *o
			c.state, c.of = "not yet", o
			then.owed = append(then.owed, &c)
		}
	}
	arrived := slices.Clone(m.paid)
	slices.SortStableFunc(arrived, func(a, b *paid) int {
		return cmp.Or(int(a.received-b.received), int(a.arrived-b.arrived), a.seq-b.seq)
	})
	twins := map[*paid]*paid{}
	days := []calendar.Date{}
	for _, p := range arrived {
		days = append(days, p.received, p.returned)
	}
	for _, b := range m.bills {
		days = append(days, b.madeOn)
	}
	slices.Sort(days)
	for _, day := range slices.Compact(days) {
		if day > deadline || day.IsZero() {
			continue
		}
		for _, p := range arrived {
			if p.received == day && !p.dropped {
				c := *p
				c.posted, c.returned, c.refunded = day, 0, 0
				c.cents -= p.refunded
				twins[p] = &c
				then.paid = append(then.paid, &c)
				then.pour(&c, c.directed)
			}
		}
		for _, p := range arrived {
			if p.returned == day && twins[p] != nil {
				then.gifts = slices.DeleteFunc(then.gifts, func(g *gift) bool { return g.from == twins[p] })
				twins[p].returned = day
				then.useCredit()
			}
		}
		for n, b := range m.bills {
			if b.madeOn == day {
				then.order = m.of(n).Allocation.Order
				for _, o := range then.owed {
					if o.bill == n {
						o.state = billing.Billed
					}
				}
				then.useCredit()
			}
		}
	}
	for _, p := range arrived { // returned since: open again, and nobody else shifts; credit pays
		if !p.returned.IsZero() && twins[p] != nil {
			then.gifts = slices.DeleteFunc(then.gifts, func(g *gift) bool { return g.from == twins[p] })
			twins[p].returned = p.returned
		}
	}
	then.useCredit()
	return then
}
