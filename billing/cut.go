package billing

import (
	"fmt"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why an account gets no statement, besides the reasons of its hold.
const (
	NothingCharged = "nothing_charged" // no charge yet, so no cycle
	AlreadyCut     = "already_cut"     // its cycle is closed, or has not come
)

// CyclesToCut returns the cycles that a run dated day has to cut, oldest
// first, or the coded reason why there is none (POLICY section 2). A cycle
// whose cut day ended on hold is never cut.
func (a *Account) CyclesToCut(p *Policy, day calendar.Date) ([]calendar.Cycle, string) {
	if a.FirstCycle == 0 {
		return nil, NothingCharged
	}
	if h := a.HeldOn(day); h != nil {
		return nil, h.Reason
	}
	last := calendar.CycleOf(day)
	if a.cutOn(p, last) > day {
		last--
	}
	var cycles []calendar.Cycle
	for c := max(a.FirstCycle, a.LastCycle+1); c <= last; c++ {
		if a.HeldOn(a.cutOn(p, c)) == nil {
			cycles = append(cycles, c)
		}
	}
	if len(cycles) == 0 {
		return nil, AlreadyCut
	}
	return cycles, ""
}

// Cut closes the cycles that a run dated day has to, each billing what had
// arrived by its own cut day and the newest everything, and returns the bills.
func (a *Account) Cut(p *Policy, day calendar.Date) ([]*Bill, string) {
	cycles, reason := a.CyclesToCut(p, day)
	var bills []*Bill
	for n, c := range cycles {
		bills = append(bills, a.cutCycle(p, c, day, n == len(cycles)-1))
	}
	return bills, reason
}

func (a *Account) cutCycle(p *Policy, c calendar.Cycle, day calendar.Date, newest bool) *Bill {
	b := &Bill{Cycle: c, CutOn: a.cutOn(p, c), MadeOn: day, fresh: true}
	if p.selects() {
		b.Subject = a.subject(b.CutOn)
	}
	b.setDays(p)
	q := p.of(b)
	prev := a.NewestBill()
	if prev != nil {
		b.Previous, b.PrevDeadline = prev.Balance, max(prev.DeadlineOn, prev.PrevDeadline)
		if a.missedDebit(p, prev, day) || a.passedOver(p, prev, day) { // only the newest bill is debited, so it never will be
			prev.DebitMissed, prev.dirty = true, true
		}
	}
	a.addPremiums(p, c, b.CutOn, day)
	if a.Replay && a.clean() {
		a.Replay, a.dirty = false, true
	}
	a.takeUp(b, newest)
	for _, i := range a.Items {
		if i.State == Unbilled && (newest || i.ArrivedOn <= b.CutOn) {
			i.State, i.Cycle, i.BilledOn, i.MadeOn, i.cut = Billed, c, b.CutOn, day, true
		}
	}
	a.billInstallments(b, newest)
	a.giveCredit(q.Allocation, day)
	if prev != nil && prev.MadeOn == day && !a.ByCard && a.unasked(prev, a.askDay(p, prev), day) && a.Due() > 0 {
		prev.DebitMissed, prev.dirty = true, true // both are cut too late today: it could never be debited
	}
	a.sumUp(q, b)
	if !newest {
		b.asOfItsCut()
	}
	b.DebitOn, b.DebitMoved = a.debitDay(q, b, a.Due(), day)
	b.Entries = a.entries
	a.Bills = append(a.Bills, b)
	a.LastCycle, a.billMade, a.billDue, a.billUntil, a.olderUntil, a.dirty = c, b.MadeOn, b.DueOn, b.DeadlineOn, b.PrevDeadline, true
	return b
}

// setDays sets the days that follow from a bill's cut day.
func (b *Bill) setDays(p *Policy) {
	q := p.of(b)
	if b.DueOn = b.Cycle.DueOn(q.Statement.DueDay); b.DueOn <= b.CutOn && b.CutOn != b.Cycle.CutOn(q.Statement.CutDay) { // a policy that moves both days begins between them
		b.DueOn = (b.Cycle + 1).DueOn(q.Statement.DueDay)
	}
	b.DeadlineOn = b.DueOn + calendar.Date(q.LateFee.GraceDays)
}

// takeUp moves what was booked since the last bill into the parts of this one.
func (a *Account) takeUp(b *Bill, newest bool) {
	rest := a.recent[:0]
	for _, r := range a.recent {
		if !newest && r.on > b.CutOn {
			rest = append(rest, r)
			continue
		}
		switch r.part {
		case ledger.PreviousPart:
			b.Previous += r.cents
		case ledger.PaymentsPart:
			b.Payments += r.cents
		case ledger.AdjustmentsPart:
			b.Adjustments += r.cents
		case ledger.ChargesPart:
			b.Charges += r.cents
		case ledger.FeesPart:
			b.Fees += r.cents
		}
	}
	a.recent, a.bookedFrom = rest, 0
	for _, r := range rest {
		if a.bookedFrom.IsZero() || r.on < a.bookedFrom {
			a.bookedFrom = r.on
		}
	}
	b.Balance = b.Previous + b.Payments + b.Adjustments + b.Charges + b.Fees
}

// sumUp fills in what a bill says of open amounts, by age since the statement
// that first billed them.
func (a *Account) sumUp(p *Policy, b *Bill) {
	for _, i := range a.Items {
		switch i.State {
		case Billed:
			age, bucket := int(b.CutOn-i.BilledOn), 0
			for bucket < 3 && age >= p.Statement.AgingDays[bucket] {
				bucket++
			}
			b.Aging[bucket] += i.Open()
			b.AmountDue += i.Open()
		case Disputed:
			b.DisputedCents += i.Open()
		case Deferred:
			b.DeferredCts += i.Open()
		}
	}
	for _, r := range a.Receipts {
		switch {
		case r.State == Pending:
			b.PendingCents += r.Cents
		case r.State == Posted && !r.Guest && b.AmountDue > 0 && r.Unapplied > 0:
			panic(fmt.Sprintf("billing: account %d has credit beside open billed items at its cut", a.ID))
		}
	}
}

// asOfItsCut makes a bill that was cut late say what was due on its own cut
// day, before what has come in since: that is on the next one.
func (b *Bill) asOfItsCut() {
	due := max(0, b.Balance-b.DisputedCents-b.DeferredCts)
	b.Aging[0] += due - b.AmountDue
	for n := range 3 { // what is paid since leaves the younger buckets first
		if b.Aging[n] < 0 {
			b.Aging[n], b.Aging[n+1] = 0, b.Aging[n+1]+b.Aging[n]
		}
	}
	b.AmountDue = due
}

// clean says whether nothing is open, in credit, under way or set aside: from
// here on, what went before can't change what a later payment goes to. With a
// guest's money it can: what a replay finds in excess of that is never used.
func (a *Account) clean() bool {
	if a.guests {
		return false
	}
	for _, i := range a.Items {
		if i.State != Unbilled && i.Open() > 0 {
			return false
		}
	}
	for _, r := range a.Receipts {
		if r.Guest || r.State == Pending || r.State == Posted && r.Unapplied > 0 {
			return false
		}
	}
	return true
}
