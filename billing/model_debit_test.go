package billing_test

import (
	"slices"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Autopay (sections 6 and 7), in the model's own words: bank debits only.

type modelDebit struct {
	bill, attempt int
	money         *paid
	first         *modelDebit // itself, or the one that this retries
	effective     calendar.Date
	retryOn       calendar.Date
	late          bool // built after its own day
	fined         bool // the first one bears the fee for all
}

// autopay is what the model knows of an enrolment.
type autopay struct {
	standing string
	since    calendar.Date
	last     ledger.Cents // of the last debit, 0 for none
	debits   []*modelDebit
	dueAt    []dueThen // at the end of every day lived
}

type dueThen struct {
	on    calendar.Date
	cents ledger.Cents
}

func (m *model) endDay(day calendar.Date) {
	m.ach.dueAt = append(m.ach.dueAt, dueThen{day, m.due()})
	if n := len(m.bills) - 1; n >= 0 && m.ach.standing == billing.AutopayOn && m.debitOf(n) == nil && day >= m.asked(n) && m.debitable(n) {
		m.bills[n].missed = true
	}
}

// dueOn is what was due as an earlier day ended.
func (m *model) dueOn(day calendar.Date) ledger.Cents {
	due := m.due()
	for _, d := range slices.Backward(m.ach.dueAt) {
		if d.on <= day {
			return d.cents
		}
	}
	return due
}

func (m *model) buildDay(effective calendar.Date) calendar.Date {
	return calendar.AddBankingDays(effective, -m.p.ACH.LeadBankingDays)
}

// asked is the day on which a bill's debit is to be built, at the earliest
// the day that the bill itself was made.
func (m *model) asked(bill int) calendar.Date {
	return max(m.buildDay(m.bills[bill].debitOn), m.bills[bill].madeOn)
}

// debitable says whether the member's side had all in place on the build day.
func (m *model) debitable(bill int) bool {
	build := m.buildDay(m.bills[bill].debitOn)
	return m.ach.since <= build && !m.heldOn(build) && !m.bills[bill].none && m.dueOn(m.asked(bill)) > 0
}

func (m *model) debitOf(bill int) *modelDebit {
	for _, d := range m.ach.debits {
		if d.bill == bill && d.attempt == 0 {
			return d
		}
	}
	return nil
}

// plan decides at the cut when the debit goes. A bill made on the same day as
// the next one never has a debit, and that is the biller's doing.
func (m *model) plan(b *modelBill, day calendar.Date) {
	if prev := len(m.bills) - 2; prev >= 0 && m.bills[prev].madeOn == day {
		before := m.bills[prev]
		build := m.buildDay(before.debitOn)
		before.missed = m.ach.standing == billing.AutopayOn && m.ach.since <= build && build < day && !m.heldOn(build) && m.due() > 0
	}
	b.debitOn = b.dueOn
	notice := day + calendar.Date(m.p.ACH.RegulationENoticeDays)
	if m.ach.standing == billing.AutopayOn && m.ach.last != 0 && m.due() > 0 && m.due() != m.ach.last && b.dueOn < notice {
		b.debitOn, b.moved = calendar.Roll(notice), true
	}
}

// ours says whether the biller moved or missed a bill's debit.
func (m *model) ours(bill int) bool {
	b := m.bills[bill]
	if d := m.debitOf(bill); d != nil {
		return d.money.returned.IsZero() && (b.moved || d.late)
	}
	return b.missed || b.moved
}

func (m *model) build(day calendar.Date) {
	for _, d := range slices.Clone(m.ach.debits) {
		if d.retryOn.IsZero() {
			continue
		}
		build := m.buildDay(d.retryOn)
		if day < build || day > build && m.heldOn(day) && !m.heldOn(build) {
			continue
		}
		effective := d.retryOn
		if day > build {
			effective = max(effective, calendar.AddBankingDays(day, 1))
		}
		d.retryOn = 0
		if m.ach.standing != billing.AutopayOn || m.ach.since > build || m.heldOn(build) || m.due() < d.money.cents {
			continue
		}
		m.debit(day, &modelDebit{bill: d.bill, attempt: d.attempt + 1, first: d.first, effective: effective}, d.money.cents, effective)
	}
	n := len(m.bills) - 1
	if n < 0 || m.ach.standing != billing.AutopayOn || m.debitOf(n) != nil || m.heldOn(day) {
		return
	}
	b := m.bills[n]
	build := m.buildDay(b.debitOn)
	if day < build || m.ach.since > build || m.heldOn(build) || b.none || day > m.asked(n) && m.dueOn(m.asked(n)) == 0 {
		return
	}
	if m.due() == 0 {
		b.none = day == m.asked(n)
		return
	}
	d := &modelDebit{bill: n, effective: b.debitOn}
	if day > build {
		d.effective = max(b.debitOn, calendar.AddBankingDays(day, 1))
		d.late = d.effective > b.debitOn
	}
	d.first = d
	m.debit(day, d, m.due(), b.dueOn)
}

func (m *model) debit(day calendar.Date, d *modelDebit, cents ledger.Cents, received calendar.Date) {
	d.money = m.receive(paid{cents: cents, received: received, arrived: day, posts: d.effective, debit: true})
	m.ach.last = cents
	m.ach.debits = append(m.ach.debits, d)
}

func (m *model) returnDebit(d *modelDebit, day calendar.Date, code string) {
	applied := map[int]bool{d.bill: true}
	for _, g := range m.gifts {
		if g.from == d.money && g.cents > 0 {
			applied[g.to.bill] = true
		}
	}
	retried := slices.Contains(m.p.ACH.RetryCodes, code)
	m.returnPayment(d.money, day, retried && !d.first.fined)
	stop := ""
	switch {
	case retried:
		d.first.fined = d.first.fined || !m.heldOn(day)
		stop = billing.AutopaySuspended
		if d.attempt < m.p.ACH.Retries {
			on := calendar.AddBankingDays(day, m.p.ACH.RetryAfterBankingDays[d.attempt])
			if int(on-d.first.effective) <= m.p.ACH.RetryWithinDays {
				d.retryOn, stop = on, ""
			}
		}
	case slices.Contains(m.p.ACH.EndedCodes, code):
		stop = billing.AutopayEnded
		for n := range m.bills {
			m.bills[n].noFee = m.bills[n].noFee || applied[n]
		}
	default:
		stop = billing.AutopayOff
	}
	finality := map[string]int{billing.AutopaySuspended: 1, billing.AutopayOff: 2, billing.AutopayEnded: 3}
	if finality[stop] > finality[m.ach.standing] {
		m.ach.standing = stop
	}
}
