package billing

import (
	"fmt"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Receive takes money in. It is pending until Post; a check from a lockbox is
// on the books as pending from now on.
func (a *Account) Receive(day calendar.Date, r Receipt) *Receipt {
	r.No, r.State, r.Unapplied, r.fresh = a.doc(), Pending, r.Cents, true
	if r.ArrivedOn.IsZero() {
		r.ArrivedOn = day
	}
	a.Receipts = append(a.Receipts, &r)
	a.pending++
	if r.Channel == "lockbox" {
		r.InEntry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: r.ReceivedOn, What: ledger.LockboxIn, Debit: ledger.Cash, Credit: ledger.LockboxPending, Cents: r.Cents, Doc: r.No})
	}
	return &r
}

// from is where a receipt's money stands until it posts.
func (r *Receipt) from() string {
	switch r.Channel {
	case "lockbox":
		return ledger.LockboxPending
	case "opening":
		return ledger.OpeningBalance
	}
	return ledger.Cash
}

// Post applies a pending receipt on a day (POLICY section 5).
func (a *Account) Post(p *Policy, r *Receipt, day calendar.Date) {
	what := ledger.Payment
	if r.Channel == "opening" {
		what = ledger.Opening
	}
	r.State, r.PostedOn, r.dirty = Posted, day, true
	a.pending--
	r.PostedEntry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: r.ReceivedOn, What: what, Debit: r.from(), Credit: ledger.Receivable, Cents: r.Cents, Doc: r.No})
	a.allocate(a.allocation(p), r, r.Directed, day)
	b := a.NewestBill()
	if b != nil && (r.ReceivedOn <= b.DeadlineOn && b.DeadlineOn < day || r.ReceivedOn <= max(b.MadeOn, b.PrevDeadline)) {
		a.lookAgain() // it may undo a late fee
	}
	if !a.Replay && (r.Guest || r.Directed != "" || b != nil && r.ReceivedOn > b.DeadlineOn) {
		a.Replay, a.dirty = true, true // what is open now is not what was open then
	}
}

// PostDue posts every pending receipt whose day has come: checks and the rest
// by received date, then debits. It returns how many and how much.
func (a *Account) PostDue(p *Policy, day calendar.Date) (n int, cents ledger.Cents) {
	for _, ach := range []bool{false, true} {
		for {
			var first *Receipt
			for _, r := range byArrival(a.Receipts) {
				if r.State == Pending && r.PostsOn <= day && (r.Channel == "ach") == ach && (first == nil || r.ReceivedOn < first.ReceivedOn) {
					first = r
				}
			}
			if first == nil {
				break
			}
			a.Post(p, first, day)
			n++
			cents += first.Cents
		}
	}
	return n, cents
}

// Return takes a receipt back because the payer's bank did. A pending one
// never posts; of a posted one the unapplied part goes, and the items that the
// rest paid are open again, with their old bill and age.
func (a *Account) Return(p *Policy, r *Receipt, day calendar.Date, code string) error {
	a.mustBeWhole()
	switch r.State {
	case Pending:
		a.dropPending(r, day)
	case Posted:
		a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.Return, Debit: ledger.Receivable, Credit: r.from(), Cents: r.Cents, Doc: r.No, Reverses: r.PostedEntry})
		a.takeOffBooks(r, day)
		paid := map[int32]ledger.Cents{}
		for _, al := range a.Allocations {
			if al.Receipt == r.No {
				paid[al.Item] += al.Cents
			}
		}
		for _, i := range a.Items {
			if cents := paid[i.No]; cents > 0 {
				a.move(r, i, -cents, day)
			}
		}
		if r.Refunded > 0 { // we have paid it out already
			a.addItem(&Item{Kind: Fee, Origin: FromRefundOwed, State: Unbilled, Cents: r.Refunded, ArrivedOn: day, ForDoc: r.No, Detail: &Detail{Description: "Refund of a payment that came back"}})
		}
		r.Unapplied = 0
	default:
		return fmt.Errorf("the payment of %s received %s is already %s", r.Cents, r.ReceivedOn, r.State)
	}
	r.State, r.EndedOn, r.EndCode, r.dirty = Returned, day, code, true
	a.useCredit(p, day)
	a.lookAgain()
	return nil
}

// Reinstate takes back the return of a receipt by the payer's bank, because there
// was none: the fee for it goes, and the payment is taken in once more with the
// dates that it had, as the part of the check that it was. What the return itself
// did stays in the journal. A payment of which we had refunded something is for a
// person to take in again.
func (a *Account) Reinstate(p *Policy, r *Receipt, of Check, day calendar.Date) error {
	a.mustBeWhole()
	if r.State != Returned {
		return fmt.Errorf("the payment of %s received %s is %s, and not returned", r.Cents, r.ReceivedOn, r.State)
	}
	if r.Refunded > 0 {
		return fmt.Errorf("%s of the payment received %s were refunded, and are owed since it came back", r.Refunded, r.ReceivedOn)
	}
	r.State, r.dirty = Withdrawn, true
	for _, i := range a.Items {
		if i.Origin == FromReturnedFee && i.ForDoc == r.No && i.Ended == "" {
			a.lower(day, i, i.Cents, ledger.Waiver, ledger.Fees, i.Entry)
			i.Ended = "waived"
		}
	}
	again := a.Receive(day, Receipt{Channel: r.Channel, Cents: r.Cents, Directed: r.Directed, Reference: r.Reference, Guest: r.Guest, Payer: r.Payer,
		ReceivedOn: r.ReceivedOn, ArrivedOn: r.ArrivedOn, PostsOn: r.PostsOn, Check: of})
	if again.PostsOn <= day {
		a.Post(p, again, day)
	}
	a.Replay, a.dirty = true, true
	a.useCredit(p, day)
	a.lookAgain()
	return nil
}

// Withdraw drops a pending receipt that we will not collect.
func (a *Account) Withdraw(r *Receipt, day calendar.Date, code string) {
	a.dropPending(r, day)
	r.State, r.EndedOn, r.EndCode, r.dirty = Withdrawn, day, code, true
	a.lookAgain()
}

func (a *Account) dropPending(r *Receipt, day calendar.Date) {
	r.Unapplied = 0
	a.pending--
	a.counts = true
	a.takeOffBooks(r, day)
}

// takeOffBooks undoes the entry that took a lockbox check in.
func (a *Account) takeOffBooks(r *Receipt, day calendar.Date) {
	if r.InEntry != 0 {
		a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.LockboxOut, Debit: ledger.LockboxPending, Credit: ledger.Cash, Cents: r.Cents, Doc: r.No, Reverses: r.InEntry})
	}
}

// ReturnedFee charges the fee for a payment that came back: once per payment,
// its retries included (first is the payment that was tried first). No fee of
// any kind falls on an account on hold.
func (a *Account) ReturnedFee(p *Policy, first *Receipt, day calendar.Date) ledger.Cents {
	a.mustBeWhole()
	cents := a.policy(p, day).ReturnedPaymentFeeCents
	if cents == 0 || a.HeldOn(day) != nil {
		return 0
	}
	for _, i := range a.Items {
		if i.Origin == FromReturnedFee && i.ForDoc == first.No {
			return 0
		}
	}
	return a.fee(day, FromReturnedFee, ledger.ReturnedFee, cents, 0, first.No, "Returned payment fee").Cents
}

// fee adds an unbilled fee: in the ledger now, due when a statement bills it.
func (a *Account) fee(day calendar.Date, origin, what string, cents ledger.Cents, forCycle calendar.Cycle, forReceipt int32, words string) *Item {
	i := a.addItem(&Item{Kind: Fee, Origin: origin, State: Unbilled, Cents: cents, ArrivedOn: day, ForCycle: forCycle, ForDoc: forReceipt, Detail: &Detail{Description: words}})
	i.Entry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: what, Debit: ledger.Receivable, Credit: ledger.Fees, Cents: cents, Doc: i.No})
	return i
}

// Waive takes off cents of standing fees (late or returned), the newest first.
// A late fee that was waived whole is never assessed again for its bill.
func (a *Account) Waive(p *Policy, day calendar.Date, origin string, cents ledger.Cents) error {
	a.mustBeWhole()
	var standing ledger.Cents
	for _, i := range a.Items {
		if i.Origin == origin && i.Ended == "" {
			standing += i.Cents
		}
	}
	if cents <= 0 || cents > standing {
		return fmt.Errorf("%s can't be waived: fees of %s stand", cents, standing)
	}
	a.noteMissed(p, day)
	for n := len(a.Items) - 1; cents > 0; n-- {
		if i := a.Items[n]; i.Origin == origin && i.Ended == "" {
			take := min(cents, i.Cents)
			a.lower(day, i, take, ledger.Waiver, ledger.Fees, i.Entry)
			cents -= take
			if i.Cents == 0 {
				i.Ended = "waived"
			}
		}
	}
	a.Replay, a.dirty = true, true
	a.useCredit(p, day)
	return nil
}

// Refund pays credit out, the oldest first: to the member the member's own, to
// a payer what guests paid beyond the bill.
func (a *Account) Refund(p *Policy, day calendar.Date, cents ledger.Cents, toPayer bool) error {
	var able ledger.Cents
	for _, r := range a.Receipts {
		if r.State == Posted && r.Guest == toPayer {
			able += r.Unapplied
		}
	}
	if cents <= 0 || cents > able {
		return fmt.Errorf("%s can't be refunded: the credit is %s", cents, able)
	}
	a.payOut(day, cents, toPayer, ledger.Refund, ledger.Cash)
	return nil
}

func (a *Account) payOut(day calendar.Date, cents ledger.Cents, guest bool, what, to string) {
	for _, r := range byArrival(a.Receipts) {
		if take := min(cents, r.Unapplied); take > 0 && r.State == Posted && r.Guest == guest {
			r.Unapplied -= take
			r.Refunded += take
			r.dirty = true
			cents -= take
			a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: what, Debit: ledger.Receivable, Credit: to, Cents: take, Doc: r.No})
		}
	}
	a.lookAgain()
}

// Open gives a new account what it brought along: credit, the amount of its
// last debit, and (if it was billed elsewhere) the cycle its statements go on
// with.
func (a *Account) Open(p *Policy, day calendar.Date, credit ledger.Cents, lastDebit *ledger.Cents, next calendar.Cycle) {
	if credit > 0 {
		r := a.Receive(day, Receipt{Channel: "opening", Cents: credit, ReceivedOn: day, PostsOn: day})
		a.Post(p, r, day)
	}
	if lastDebit != nil {
		a.LastDebit, a.dirty = lastDebit, true
	}
	if next != 0 {
		a.FirstCycle, a.LastCycle, a.dirty = next, next-1, true
	}
}
