package billing

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The standings of a debit.
const (
	DebitBuilt     = "built"
	DebitReturned  = "returned"
	DebitWithdrawn = "withdrawn" // its file was not released in time
)

// Debit is an attempt to collect what is due on a bill: 0 is the first, 1 and 2
// are its retries.
type Debit struct {
	Cycle       calendar.Cycle
	Attempt     int
	Receipt     int32
	Cents       ledger.Cents
	BuiltOn     calendar.Date
	EffectiveOn calendar.Date
	DueThen     ledger.Cents  // what was due when it was built
	LastBefore  *ledger.Cents // the account's debit before it
	Trace       int64         // set by package ach
	SEC         string
	MethodID    int64
	FileID      *int64 // nil until its file is sealed
	State       string
	Missed      bool // built after its own day, by the biller's fault
	Code        string
	ReturnedOn  calendar.Date
	RetryOn     calendar.Date // when a retry takes effect, 0 for none (any more)

	fresh, dirty bool
}

// Why an account gets no debit, besides the reasons of its hold.
const (
	NoBill            = "no_bill"
	AutopayNotOn      = "autopay_not_on"
	AlreadyDebited    = "already_debited"
	NotYet            = "not_yet"
	NothingDue        = "nothing_due" // a pending check or credit may cover it
	EnrolledTooLate   = "enrolled_after_build_day"
	ReleasedTooLate   = "released_after_build_day"
	RetryTooLarge     = "retry_above_due"
	RetryDropped      = "retry_dropped"
	CardUnanswered    = "card_unanswered"    // the gateway owes an answer: the money may be taken already
	AuthorizationEnds = "authorization_ends" // before the debit would take effect
)

// buildDay is the day on which a debit's file is made.
func (p *Policy) buildDay(effective calendar.Date) calendar.Date {
	return calendar.AddBankingDays(effective, -p.ACH.LeadBankingDays)
}

// debitDay decides at the cut on which day autopay debits a bill: its due
// date, or later if the amount differs from the last debit and the notice of
// it, which the cut sends, would come too late (12 CFR 1005.10(d)). A member may
// have chosen a range of amounts that need none.
func (a *Account) debitDay(p *Policy, b *Bill, due ledger.Cents, day calendar.Date) (on calendar.Date, moved bool) {
	noticed := calendar.Roll(day + calendar.Date(p.ACH.RegulationENoticeDays))
	if a.Autopay == AutopayOn && !a.ByCard && a.LastDebit != nil && due > 0 && due != *a.LastDebit && !(a.Range[0] <= due && due <= a.Range[1]) && b.DueOn < day+calendar.Date(p.ACH.RegulationENoticeDays) {
		return noticed, true
	}
	return b.DueOn, false
}

// Noticed says that the notice of the newest bill's debit went out on a day, if
// that was later than with its cut: the debit moves as the cut would have moved
// it, and never to an earlier day. One that is built stays where it is.
func (a *Account) Noticed(p *Policy, day calendar.Date) (movedTo calendar.Date, err error) {
	b := a.NewestBill()
	switch {
	case b == nil:
		return 0, fmt.Errorf("there is no bill yet that a notice could be about")
	case day < b.MadeOn:
		return 0, fmt.Errorf("the notice of %s is older than the bill of %s, made on %s", day, b.Cycle, b.MadeOn)
	case a.firstDebit(b.Cycle) != nil || !b.CardOn.IsZero() || b.DebitNone:
		return 0, nil
	}
	on, moved := a.debitDay(p.of(b), b, a.Due(), day)
	if !moved || on <= b.DebitOn {
		return 0, nil
	}
	b.DebitOn, b.DebitMoved, b.dirty = on, true, true
	a.lookAgain()
	return on, nil
}

// firstDebit is the standing first debit of a bill, nil for none.
func (a *Account) firstDebit(c calendar.Cycle) *Debit {
	for _, d := range a.Debits {
		if d.Cycle == c && d.Attempt == 0 && d.State != DebitWithdrawn {
			return d
		}
	}
	return nil
}

// BuildDebits makes the debits that a run dated day has to build for the
// account: retries first, then the first debit of the newest bill. They are
// pending receipts from now on. The reason says why there is no first debit.
// An account whose build day has passed must be whole.
func (a *Account) BuildDebits(p *Policy, day calendar.Date) (built []*Debit, reason string) {
	for _, d := range slices.Clone(a.Debits) {
		if !d.RetryOn.IsZero() {
			if r, why := a.retry(p, d, day); r != nil {
				built = append(built, r)
			} else if why != NotYet {
				reason = why
			}
		}
	}
	b := a.NewestBill()
	cents, effective, why := a.debitNow(p, b, day)
	if why != "" {
		if reason == "" {
			reason = why
		}
		return built, reason
	}
	first := a.debit(day, Debit{Cycle: b.Cycle, Cents: cents, EffectiveOn: effective, Missed: effective > b.DebitOn}, b.DueOn)
	return append(built, first), ""
}

// debitNow decides whether the first debit of the newest bill is built today.
func (a *Account) debitNow(p *Policy, b *Bill, day calendar.Date) (ledger.Cents, calendar.Date, string) {
	if b == nil {
		return 0, 0, NoBill
	}
	build := p.of(b).buildDay(b.DebitOn)
	effective := b.DebitOn
	if day > build {
		effective = max(b.DebitOn, calendar.AddBankingDays(day, 1))
	}
	due, why := a.collect(b, day, build, effective)
	if why == "" && a.CardAsked {
		return 0, 0, CardUnanswered
	}
	return due, effective, why
}

// collect decides whether autopay collects a bill for the first time on a day,
// and how much: build is the day on which it should, or should have, and takes
// the one on which the money is taken. If the first has passed, the account
// must be whole.
func (a *Account) collect(b *Bill, day, build, takes calendar.Date) (ledger.Cents, string) {
	switch h := a.HeldOn(day); {
	case a.firstDebit(b.Cycle) != nil || !b.CardOn.IsZero():
		return 0, AlreadyDebited
	case !a.autopayOn(day):
		return 0, AutopayNotOn
	case !a.autopayOn(takes):
		return 0, AuthorizationEnds
	case b.DebitNone:
		return 0, NothingDue
	case day < build:
		return 0, NotYet
	case h != nil:
		return 0, h.Reason
	case a.AutopaySince > build:
		return 0, EnrolledTooLate
	case a.HeldOn(build) != nil:
		return 0, ReleasedTooLate
	}
	due := a.Due()
	then := due
	if asked := b.asked(build); day > asked {
		then = a.dueOn(asked)
	}
	if then == 0 && !b.DebitMissed { // which says that something was, whatever was taken out of it since
		b.DebitNone, b.dirty = true, true
	}
	if b.DebitNone || due == 0 {
		return 0, NothingDue
	}
	return due, ""
}

// asked is the day whose due decides whether a bill is collected at all: its
// build day, or the day it was made if that was later. A bill made after its
// build day has missed it.
func (b *Bill) asked(build calendar.Date) calendar.Date { return max(build, b.MadeOn) }

// retry builds a returned debit's retry if its day has come, or drops it.
func (a *Account) retry(p *Policy, d *Debit, day calendar.Date) (*Debit, string) {
	build := a.policy(p, day).buildDay(d.RetryOn)
	if day < build {
		return nil, NotYet
	}
	if h := a.HeldOn(day); day > build && h != nil && a.HeldOn(build) == nil {
		return nil, h.Reason
	}
	if a.CardAsked {
		return nil, CardUnanswered
	}
	effective := d.RetryOn
	if day > build {
		effective = max(effective, calendar.AddBankingDays(day, 1))
	}
	first := d
	if d.Attempt > 0 {
		first = a.firstDebit(d.Cycle)
	}
	d.RetryOn, d.dirty = 0, true
	switch {
	case int(effective-first.EffectiveOn) > a.policy(p, day).ACH.RetryWithinDays:
		return nil, RetryDropped // it was missed, or moved, for too long
	case !a.autopayOn(effective) || a.AutopaySince > build || a.HeldOn(build) != nil:
		return nil, RetryDropped
	case a.Due() < d.Cents:
		return nil, RetryTooLarge
	}
	return a.debit(day, Debit{Cycle: d.Cycle, Attempt: d.Attempt + 1, Cents: d.Cents, EffectiveOn: effective}, effective), ""
}

// DropRetries drops the retries whose build day has come, since the account
// does not pay from a bank account then.
func (a *Account) DropRetries(p *Policy, day calendar.Date) {
	for _, d := range a.Debits {
		if !d.RetryOn.IsZero() && day >= a.policy(p, day).buildDay(d.RetryOn) {
			d.RetryOn, d.dirty = 0, true
		}
	}
}

func (a *Account) debit(day calendar.Date, d Debit, received calendar.Date) *Debit {
	d.BuiltOn, d.DueThen, d.LastBefore, d.State, d.fresh = day, a.Due(), a.LastDebit, DebitBuilt, true
	r := a.Receive(day, Receipt{Channel: "ach", Cents: d.Cents, ReceivedOn: received, PostsOn: d.EffectiveOn})
	d.Receipt = r.No
	a.LastDebit, a.dirty = &d.Cents, true
	a.Debits = append(a.Debits, &d)
	return &d
}

// DebitOf returns the debit that a receipt belongs to, nil for none.
func (a *Account) DebitOf(receipt int32) *Debit {
	for _, d := range a.Debits {
		if d.Receipt == receipt {
			return d
		}
	}
	return nil
}

// DebitTraced returns the debit that bears a trace number, nil for none. The
// account must be whole.
func (a *Account) DebitTraced(trace int64) *Debit {
	for _, d := range slices.Backward(a.Debits) { // numbers come round again, after years
		if d.Trace == trace {
			return d
		}
	}
	return nil
}

// DebitNotBefore moves what autopay has still to debit to a day from which on
// the bank account may be debited, 0 for none yet. The delay is ours. What a
// build day has decided already stays.
func (a *Account) DebitNotBefore(p *Policy, from, day calendar.Date) {
	if from.IsZero() || from <= calendar.AddBankingDays(day, 1) {
		return
	}
	if b := a.NewestBill(); b != nil && b.DebitOn < from && a.firstDebit(b.Cycle) == nil && b.CardOn.IsZero() && !b.DebitNone && a.Autopay == AutopayOn && a.AutopaySince <= p.of(b).buildDay(b.DebitOn) {
		b.DebitOn, b.DebitMoved, b.dirty = from, true, true
		a.lookAgain()
	}
	for _, d := range a.Debits {
		if !d.RetryOn.IsZero() && d.RetryOn < from {
			d.RetryOn, d.dirty = from, true
		}
	}
}

// TryoutFailed stops autopay, since the bank account that it would debit came
// back from being tried out.
func (a *Account) TryoutFailed(p *Policy, day calendar.Date, code string) {
	standing := AutopayOff
	if slices.Contains(a.policy(p, day).ACH.EndedCodes, code) {
		standing = AutopayEnded
	}
	a.stopAutopay(p, day, standing)
}

// ReturnDebit takes back a debit that the member's bank returned (POLICY
// section 7). The account must be whole.
func (a *Account) ReturnDebit(p *Policy, d *Debit, day calendar.Date, code string) error {
	a.mustBeWhole()
	applied := a.cyclesPaidBy(d.Receipt)
	if err := a.Return(p, a.Receipt(d.Receipt), day, code); err != nil {
		return err
	}
	d.State, d.Code, d.ReturnedOn, d.dirty = DebitReturned, code, day, true
	rules := p.of(a.bill(d.Cycle)).ACH
	switch {
	case slices.Contains(rules.RetryCodes, code):
		first := d
		if d.Attempt > 0 {
			first = a.firstDebit(d.Cycle)
		}
		a.ReturnedFee(p, a.Receipt(first.Receipt), day)
		if !d.scheduleRetry(rules, first, day) {
			a.stopAutopay(p, day, AutopaySuspended)
		}
	case slices.Contains(rules.OffCodes, code):
		a.stopAutopay(p, day, AutopayOff)
	case slices.Contains(rules.EndedCodes, code):
		a.stopAutopay(p, day, AutopayEnded)
		for _, b := range a.Bills {
			if b.Cycle == d.Cycle || applied[b.Cycle] {
				b.FeeBarred, b.dirty = true, true
			}
		}
		a.except(Exception{On: day, Job: "ach", Code: "authorization_" + code, Subject: d.Cycle.String(), Detail: "returned as not authorized: review the authorization"})
	default:
		a.stopAutopay(p, day, AutopayOff)
		a.except(Exception{On: day, Job: "ach", Code: "returned_" + code, Subject: d.Cycle.String(), Detail: "returned for a reason that needs a person"})
	}
	return nil
}

// scheduleRetry plans the next retry of a returned debit, if one is left.
func (d *Debit) scheduleRetry(rules ACHPolicy, first *Debit, day calendar.Date) bool {
	if d.Attempt >= rules.Retries {
		return false
	}
	on := calendar.AddBankingDays(day, rules.RetryAfterBankingDays[d.Attempt])
	if int(on-first.EffectiveOn) > rules.RetryWithinDays {
		return false
	}
	d.RetryOn = on
	return true
}

// finality orders the standings of autopay: what a return brings about gives
// way to nothing that says less. A revoked authorization is not merely off.
var finality = []string{AutopayOn, AutopaySuspended, AutopayOff, AutopayEnded}

func (a *Account) stopAutopay(p *Policy, day calendar.Date, standing string) {
	if slices.Index(finality, standing) > slices.Index(finality, a.Autopay) {
		a.noteMissed(p, day)
		a.autopay(day, standing)
	}
}

// noteMissed keeps it on the newest bill that the biller missed its debit, before
// autopay ends or something is taken out of what was due on its build day: the
// bill bears no fee for that, whatever becomes of either.
func (a *Account) noteMissed(p *Policy, day calendar.Date) {
	if b := a.NewestBill(); b != nil && a.missedDebit(p, b, day) {
		b.DebitMissed, b.dirty = true, true
	}
}

func (a *Account) autopay(day calendar.Date, standing string) {
	a.Autopay, a.dirty = standing, true
	a.stand(Standing{On: day, State: standing})
}

// SetAutopay enrols the account or cancels its enrolment. An account whose
// debit the biller may have missed must be whole to be canceled.
func (a *Account) SetAutopay(p *Policy, on bool, day calendar.Date) {
	switch {
	case on && a.Autopay != AutopayOn:
		a.AutopaySince = day
		a.autopay(day, AutopayOn)
	case !on && a.Autopay != AutopayOff:
		a.noteMissed(p, day)
		a.autopay(day, AutopayOff)
	}
}

// autopayOn says whether autopay is on on a day, by what is known now.
func (a *Account) autopayOn(day calendar.Date) bool {
	return a.Autopay == AutopayOn && (a.AutopayEnds.IsZero() || day < a.AutopayEnds)
}

// EndEnrolments switches autopay off on the accounts of a locked range whose
// enrolment was to end by a day.
func EndEnrolments(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, in Range) error {
	ended, err := ids(ctx, tx, `select distinct e.account_id from autopay_method e join account a on a.id = e.account_id and a.autopay = 'on'
		where e.ended_on <= $1 and e.account_id >= $2 and e.account_id < $3
		and not exists (select from autopay_method m where m.account_id = a.id and (m.ended_on is null or m.ended_on > $1)) order by 1`, day, in.From, in.To)
	if err != nil {
		return err
	}
	return Each(ctx, tx, p.Need(Whole), ended, func(a *Account) { a.SetAutopay(p, false, day) })
}

// cyclesPaidBy returns the bills whose items a receipt stands on.
func (a *Account) cyclesPaidBy(receipt int32) map[calendar.Cycle]bool {
	sums := map[int32]ledger.Cents{}
	for _, al := range a.Allocations {
		if al.Receipt == receipt {
			sums[al.Item] += al.Cents
		}
	}
	cycles := map[calendar.Cycle]bool{}
	for _, i := range a.Items {
		if sums[i.No] > 0 {
			cycles[i.Cycle] = true
		}
	}
	return cycles
}

// ourDelay says whether the biller itself moved or missed the bill's debit,
// built yet or not; if that debit was returned, it no longer matters.
func (a *Account) ourDelay(p *Policy, b *Bill, day calendar.Date) bool {
	if d := a.firstDebit(b.Cycle); d != nil {
		return d.State != DebitReturned && (b.DebitMoved || d.Missed)
	}
	if !b.CardOn.IsZero() {
		return b.CardOn > b.DueOn && !b.CardDeclined
	}
	return b.DebitMissed || b.DebitMoved && !a.ByCard || a.missedDebit(p, b, day)
}

// askDay is the day on which autopay is to collect a bill: a debit's build day,
// or a card's due date.
func (a *Account) askDay(p *Policy, b *Bill) calendar.Date {
	if a.ByCard {
		return b.DueOn
	}
	return p.of(b).buildDay(b.DebitOn)
}

// missedDebit says whether a bill should have a debit by a day, and has none,
// though nothing but the biller stood in its way.
func (a *Account) missedDebit(p *Policy, b *Bill, day calendar.Date) bool {
	build := a.askDay(p, b)
	return a.whole && a.unasked(b, build, day) && a.dueOn(b.asked(build)) > 0
}

// passedOver says whether the next cut, on a day, comes before the newest bill
// is to be collected, since its due date was rolled onto that day or past it:
// then it never is, and the biller has moved what is due to the next.
func (a *Account) passedOver(p *Policy, b *Bill, day calendar.Date) bool {
	build := a.askDay(p, b)
	return build >= day && a.unasked(b, build, build+1) && a.Due() > 0
}

// unasked says whether the newest bill's build day has passed without a debit,
// though nothing but the biller stood in its way.
func (a *Account) unasked(b *Bill, build, day calendar.Date) bool {
	takes := b.DebitOn
	if a.ByCard {
		takes = build
	}
	return a.autopayOn(takes) && b == a.NewestBill() && build < day && !b.DebitNone && a.AutopaySince <= build &&
		a.firstDebit(b.Cycle) == nil && b.CardOn.IsZero() && a.HeldOn(build) == nil
}

// dueOn returns what was due at the end of an earlier day, by the items as
// they stand now.
func (a *Account) dueOn(day calendar.Date) ledger.Cents {
	a.mustBeWhole()
	var due ledger.Cents
	for _, i := range a.Items {
		if i.State == Billed && i.MadeOn <= day {
			due += i.Cents
		}
	}
	given := map[int32]ledger.Cents{}
	for _, al := range a.Allocations {
		if al.On <= day {
			given[al.Receipt] += al.Cents
		}
	}
	for _, r := range a.Receipts {
		ended := !r.EndedOn.IsZero() && r.EndedOn <= day
		switch {
		case r.ArrivedOn > day || ended || r.State == Withdrawn: // what we withdrew was never money
		case r.Guest:
			due -= given[r.No]
		default:
			due -= r.Cents - r.Refunded
		}
	}
	return max(0, due)
}
