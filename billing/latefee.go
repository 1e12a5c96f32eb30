package billing

import (
	"cmp"
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why a bill bears no late fee (POLICY section 3).
const (
	NotLate      = "not_late"              // too little was open at the deadline
	FeeStands    = "fee_stands"            // it has its fee
	FeeWaived    = "fee_waived"            // and it was waived whole
	HeldThen     = "held_at_deadline"      // the account was on hold as the deadline ended
	CutTooLate   = "cut_after_due"         // the bill was made after its due date
	Unauthorized = "unauthorized"          // its debit came back as not authorized
	OurDelay     = "debit_moved_or_missed" // by the biller
)

// Assessed is what a late-fee run did with a bill.
type Assessed struct {
	Cycle  calendar.Cycle
	Cents  ledger.Cents // assessed (+) or reversed (-)
	Reason string       // why nothing, "" if something
}

// AssessLate looks at every bill whose deadline has passed by a run dated day:
// it assesses a fee, reverses one that a payment received in time has undone,
// or says why not. The account must be whole.
func (a *Account) AssessLate(p *Policy, day calendar.Date) (out []Assessed, held string) {
	a.mustBeWhole()
	if h := a.HeldOn(day); h != nil {
		return nil, h.Reason // the first run after its release looks
	}
	for _, b := range a.Bills {
		if b.DeadlineOn < day {
			out = append(out, a.assess(p, b, day))
		}
	}
	a.Relook, a.Looked, a.dirty = false, a.entries, true
	return out, ""
}

func (a *Account) assess(p *Policy, b *Bill, day calendar.Date) Assessed {
	done := Assessed{Cycle: b.Cycle}
	rules := p.of(b).LateFee
	if fee := a.lateFee(b.Cycle, ""); fee != nil {
		done.Reason = FeeStands
		if a.moneyInTime(b, fee) && !rules.late(a.LateBase(p, b)) {
			a.noteMissed(p, day)
			done.Cents, done.Reason = -fee.Cents, ""
			a.lower(day, fee, fee.Cents, ledger.FeeReversal, ledger.Fees, fee.Entry)
			fee.Ended = "reversed"
			a.useCredit(p, day)
		}
		return done
	}
	if done.Reason = a.feeBar(p, b, day); done.Reason != "" {
		return done
	}
	cents := rules.on(a.LateBase(p, b))
	if cents == 0 {
		done.Reason = NotLate
		return done
	}
	a.fee(day, FromLateFee, ledger.LateFee, cents, b.Cycle, 0, lateFeeWords(b.DueOn))
	done.Cents = cents
	return done
}

func lateFeeWords(due calendar.Date) string { return "Late fee, bill due " + due.Long() }

// late says whether a base bears a fee; a base of 0 never does.
func (f LateFeePolicy) late(base ledger.Cents) bool {
	return base > 0 && base >= f.MinimumBaseCents
}

// on is the late fee on a base, 0 for none.
func (f LateFeePolicy) on(base ledger.Cents) ledger.Cents {
	if !f.late(base) {
		return 0
	}
	return f.Fee(base)
}

// lateFee returns the bill's late fee that ended this way ("" = it stands).
func (a *Account) lateFee(c calendar.Cycle, ended string) *Item {
	for _, i := range a.Items {
		if i.Origin == FromLateFee && i.ForCycle == c && i.Ended == ended {
			return i
		}
	}
	return nil
}

// feeBar says why a bill can bear no late fee whatever is open, "" if it can.
func (a *Account) feeBar(p *Policy, b *Bill, day calendar.Date) string {
	switch {
	case a.lateFee(b.Cycle, "waived") != nil:
		return FeeWaived
	case b.MadeOn > b.DueOn:
		return CutTooLate
	case a.HeldOn(b.DeadlineOn) != nil:
		return HeldThen
	case b.FeeBarred:
		return Unauthorized
	case a.ourDelay(p, b, day):
		return OurDelay
	}
	return ""
}

// moneyInTime says whether a payment received by the bill's deadline has
// posted since its fee was assessed and the late-fee job last looked: only
// that undoes a fee.
func (a *Account) moneyInTime(b *Bill, fee *Item) bool {
	since := max(a.Looked, fee.Entry)
	return slices.ContainsFunc(a.Receipts, func(r *Receipt) bool {
		return r.State == Posted && r.ReceivedOn <= b.DeadlineOn && r.PostedEntry > since
	})
}

// LateBase is the principal first billed on a bill and still open as of its
// deadline: not by the stored allocations, but by a replay in which every
// payment counts on the day it was received (POLICY section 3).
func (a *Account) LateBase(p *Policy, b *Bill) ledger.Cents {
	a.mustBeWhole()
	r := newReplay(a, p, b.DeadlineOn)
	r.play()
	var base ledger.Cents
	for _, i := range r.items {
		if i.Cycle == b.Cycle && i.inBase() && (p.of(b).Grace.LateFeeOnPremium || !a.aptcPremium(a.item(i.No))) {
			base += i.Open()
		}
	}
	return base
}

// replay plays an account's payments again by received date, over copies of
// the items as they stand now.
type replay struct {
	p        *Policy
	deadline calendar.Date
	items    []*Item // billed by the deadline; paid starts at 0
	bills    []*Bill // made by the deadline; the newest one's policy says who takes money first
	receipts []*Receipt
	billed   calendar.Cycle // the newest cycle cut so far
	credit   map[*Receipt]ledger.Cents
	paid     map[*Receipt]map[*Item]ledger.Cents
}

func newReplay(a *Account, p *Policy, deadline calendar.Date) *replay {
	r := &replay{p: p, deadline: deadline, credit: map[*Receipt]ledger.Cents{}, paid: map[*Receipt]map[*Item]ledger.Cents{}}
	for _, i := range a.Items {
		if i.State == Billed && i.MadeOn <= deadline && i.Cents > 0 {
			r.items = append(r.items, &Item{No: i.No, Kind: i.Kind, Origin: i.Origin, Cents: i.Cents, Cycle: i.Cycle, MadeOn: i.MadeOn, ArrivedOn: i.ArrivedOn})
		}
	}
	for _, b := range a.Bills {
		if b.MadeOn <= deadline {
			r.bills = append(r.bills, b)
		}
	}
	for _, m := range a.Receipts {
		if m.ReceivedOn <= deadline && (m.State == Pending || m.State == Posted || m.State == Returned) {
			r.receipts = append(r.receipts, m)
		}
	}
	slices.SortFunc(r.receipts, func(x, y *Receipt) int {
		return cmp.Or(cmp.Compare(x.ReceivedOn, y.ReceivedOn), cmp.Compare(x.ArrivedOn, y.ArrivedOn), cmp.Compare(x.No, y.No))
	})
	return r
}

// play goes through the days on which something happened: money received
// first, then returns, then the cut.
func (r *replay) play() {
	var days []calendar.Date
	for _, m := range r.receipts {
		days = append(days, m.ReceivedOn)
		if m.State == Returned && m.EndedOn <= r.deadline {
			days = append(days, m.EndedOn)
		}
	}
	for _, b := range r.bills {
		days = append(days, b.MadeOn)
	}
	slices.Sort(days)
	for _, day := range slices.Compact(days) {
		for _, m := range r.receipts {
			if m.ReceivedOn == day {
				r.give(m, m.Cents-m.Refunded, m.Directed)
			}
		}
		for _, m := range r.receipts {
			if m.State == Returned && max(m.EndedOn, m.ReceivedOn) == day {
				r.takeBack(m)
				r.useCredit()
			}
		}
		r.cut(day)
	}
	for _, m := range r.receipts {
		if m.State == Returned {
			r.takeBack(m) // it kept its place up to here, so that no other payment shifts
		}
	}
	r.useCredit() // but what lay unused beside it pays what is open again
}

// cut bills the cycles made on a day, in order: missed ones are made on one
// day, and each uses what credit the one before has left.
func (r *replay) cut(day calendar.Date) {
	for _, b := range r.bills {
		if b.MadeOn == day {
			r.billed = b.Cycle
			slices.SortFunc(r.items, r.p.of(b).Allocation.before)
			r.useCredit()
		}
	}
}

// give puts money on the items billed so far; what is left is credit.
func (r *replay) give(m *Receipt, money ledger.Cents, directed Kind) {
	var able []*Item
	for _, i := range r.items {
		if i.Cycle <= r.billed && i.Open() > 0 {
			able = append(able, i)
		}
	}
	if r.paid[m] == nil {
		r.paid[m] = map[*Item]ledger.Cents{}
	}
	r.credit[m] = spread(money, directed, able, func(i *Item, cents ledger.Cents) {
		i.Paid += cents
		r.paid[m][i] += cents
	})
}

func (r *replay) useCredit() {
	for _, m := range byArrival(r.receipts) {
		if r.credit[m] > 0 && !m.Guest {
			r.give(m, r.credit[m], "")
		}
	}
}

func (r *replay) takeBack(m *Receipt) {
	for i, cents := range r.paid[m] {
		i.Paid -= cents
	}
	delete(r.paid, m)
	delete(r.credit, m)
}
