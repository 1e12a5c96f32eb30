package billing

import (
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What autopay by card means for the account (POLICY section 6): the card is
// charged on the due date, and no money is there, nor pending, until the
// gateway approves. Package cards keeps the charges; here is what they follow
// from and what they lead to.

// CardDue decides whether a run dated day asks the account's card for the
// newest bill for the first time, and how much. The reason says why not. An
// account whose due date has passed must be whole.
func (a *Account) CardDue(day calendar.Date) (cents ledger.Cents, reason string) {
	b := a.NewestBill()
	if b == nil {
		return 0, NoBill
	}
	return a.collect(b, day, b.DueOn, day)
}

// CardDueAgain decides the same for a charge of the bill of a cycle that was
// declined and is planned to be asked again on a day (on). Never more than was
// declined is asked, nor more than is due now. Where nothing is asked, keep
// says that the plan stands; else it is dropped.
func (a *Account) CardDueAgain(day, on calendar.Date, cycle calendar.Cycle, declined ledger.Cents) (cents ledger.Cents, reason string, keep bool) {
	b := a.NewestBill()
	if day < on {
		return 0, NotYet, true
	}
	if h := a.HeldOn(day); day > on && h != nil && a.HeldOn(on) == nil {
		return 0, h.Reason, true // the run was missed, and the hold came later
	}
	switch {
	case !a.autopayOn(day) || a.AutopaySince > on || a.HeldOn(on) != nil:
		return 0, RetryDropped, false
	case b.Cycle != cycle && (!b.CardOn.IsZero() || a.firstDebit(b.Cycle) != nil):
		return 0, RetryDropped, false // the newer bill's charge was for all that was due
	}
	if cents = min(a.Due(), declined); cents == 0 {
		return 0, NothingDue, false
	}
	return cents, "", false
}

// CardApproved takes in what a card paid: it is posted at once.
func (a *Account) CardApproved(p *Policy, day, received calendar.Date, cents ledger.Cents, reference string) *Receipt {
	r := a.Receive(day, Receipt{Channel: "card", Cents: cents, ReceivedOn: received, PostsOn: day, Reference: reference})
	a.Post(p, r, day)
	a.charged = append(a.charged, r.No)
	a.LastDebit, a.dirty = &r.Cents, true
	return r
}

// CardDeclined notes that a card refused a charge, and returns the day on
// which it is asked again, 0 for never: then autopay is suspended. There is no
// fee for it.
func (a *Account) CardDeclined(p *Policy, day calendar.Date, attempt int) (again calendar.Date) {
	a.lookAgain() // a bill that we were late with may bear its late fee now
	if rules := a.policy(p, day).Card; attempt < rules.Retries {
		return day + calendar.Date(rules.RetryAfterDays)
	}
	a.stopAutopay(p, day, AutopaySuspended)
	return 0
}

// CardDropped notes that a charge was given up before anything was taken.
func (a *Account) CardDropped() { a.lookAgain() }

// CollectsOn returns the day on which autopay will collect the newest bill as
// things stand, 0 if it won't.
func (a *Account) CollectsOn(p *Policy) calendar.Date {
	b := a.NewestBill()
	if b == nil || a.Autopay != AutopayOn || b.DebitNone || !b.CardOn.IsZero() || a.firstDebit(b.Cycle) != nil {
		return 0
	}
	on, build := b.DebitOn, p.of(b).buildDay(b.DebitOn)
	if a.ByCard {
		on, build = b.DueOn, b.DueOn
	}
	if a.AutopaySince > build || !a.autopayOn(on) {
		return 0
	}
	return on
}

// methodSQL reads which accounts pay by card (cycle 0), or from a bank account
// until a day or with a range of amounts (cycle -1); of each charge of a card, when it was asked,
// whether in vain, which attempt it was and which receipt it led to; and whether an answer is still owed (cycle -2).
const methodSQL = `select account_id, case method when 'card' then 0 else -1 end, ended_on, false, range_from, range_to from autopay_method m where account_id = any($1)
		and case when ended_on is null then method = 'card' or range_to > 0 else not exists (select from autopay_method n where n.account_id = m.account_id and n.id > m.id) end
	union all select account_id, cycle, asked_on, state = 'declined', attempt::bigint, coalesce(receipt, 0)::bigint from card_charge where account_id = any($1)
	union all select account_id, -2, asked_on, false, 0, 0 from card_charge where account_id = any($1) and state = 'asked'`

func readMethod(a *Account, r *ledger.Row) {
	cycle, on, declined := calendar.Cycle(r.Int32()), r.Date(), r.Bool()
	if cycle == -2 {
		a.CardAsked = true
		return
	}
	if cycle <= 0 {
		a.ByCard, a.AutopayEnds, a.Range = cycle == 0, on, [2]ledger.Cents{ledger.Cents(r.Int64()), ledger.Cents(r.Int64())}
		return
	}
	attempt, receipt := r.Int64(), int32(r.Int64())
	if receipt != 0 {
		a.charged = append(a.charged, receipt)
	}
	for _, b := range a.Bills {
		if b.Cycle == cycle && attempt == 0 {
			b.CardOn, b.CardDeclined = on, declined
		}
	}
}
