package billing

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/billcycle/billcycle/calendar"
)

// How a debit is undone that the member's bank has not returned: it did not go
// out, the bank did not take its file, or it was sent in error.

// NotReleased is the code of a debit whose file nobody released in time.
const NotReleased = "not_released"

// NotSent is the code of a debit whose file was released, but not handed over
// before its effective date.
const NotSent = "not_sent"

// WithdrawDebit takes back a debit that will not go out, for a coded reason
// that e puts before a person: what was due is due again, and its build day
// counts as missed. The account must be whole.
func (a *Account) WithdrawDebit(d *Debit, day calendar.Date, e Exception) {
	a.Withdraw(a.Receipt(d.Receipt), day, e.Code)
	d.State, d.dirty = DebitWithdrawn, true
	a.debitTakenBack()
	if d.Attempt > 0 {
		for _, prev := range a.Debits {
			if prev.Cycle == d.Cycle && prev.Attempt == d.Attempt-1 && prev.State == DebitReturned {
				prev.RetryOn, prev.dirty = d.EffectiveOn, true
			}
		}
	}
	a.except(e)
}

// debitTakenBack notes that a debit was none to the member: the account's last one
// is the newest money that autopay collected, from a bank account or a card, and
// that we have not taken back ourselves; if none is left, what it was before the first. The account
// must be whole.
func (a *Account) debitTakenBack() {
	a.mustBeWhole()
	first := slices.MinFunc(a.Debits, func(x, y *Debit) int { return cmp.Compare(x.Receipt, y.Receipt) })
	a.LastDebit, a.dirty = first.LastBefore, true
	for _, r := range slices.Backward(a.Receipts) {
		if (r.Channel == "ach" || slices.Contains(a.charged, r.No)) && r.State != Withdrawn && r.EndCode != Reversed && r.EndCode != RejectedByBank {
			a.LastDebit = &r.Cents
			return
		}
	}
}

// LeaveFile notes that a debit is in no file any more.
func (d *Debit) LeaveFile() { d.FileID, d.dirty = nil, true }

// Correct puts a bank account that the bank has corrected in the place of a
// debit's that has not gone out.
func (d *Debit) Correct(method int64) { d.MethodID, d.dirty = method, true }

// Pulled is the code of a debit that a person took out of its file, and
// RejectedByBank of one whose file the bank did not take.
const (
	Pulled         = "pulled"
	RejectedByBank = "rejected_by_bank"
)

// PullDebit takes back a debit that a person has taken out of its file. Other
// than one that was not released it is not built again: what is due then is
// for the member to pay, or for the next bill's debit, and the member is not
// late for it. The account must be whole.
func (a *Account) PullDebit(d *Debit, day calendar.Date) {
	a.Withdraw(a.Receipt(d.Receipt), day, Pulled)
	d.State, d.dirty = DebitWithdrawn, true
	a.debitTakenBack()
	for _, b := range a.Bills {
		if b.Cycle == d.Cycle && d.Attempt == 0 {
			b.DebitNone, b.DebitMissed, b.dirty = true, true, true
		}
	}
}

// RejectDebit takes back a debit whose file the bank has rejected. One that has
// not posted is withdrawn, and built again like one that was missed. One that
// has is reversed and left to a person, with no fee of any kind: the fault is
// not the member's. The account must be whole.
func (a *Account) RejectDebit(p *Policy, d *Debit, day calendar.Date) error {
	e := Exception{On: day, Job: "ach", Code: RejectedByBank, Subject: d.Cycle.String()}
	if r := a.Receipt(d.Receipt); r.State == Pending {
		e.Detail = fmt.Sprintf("the debit of %s effective %s was withdrawn: the bank rejected its file; it is built again", d.Cents, d.EffectiveOn)
		a.WithdrawDebit(d, day, e)
		return nil
	}
	if err := a.Return(p, a.Receipt(d.Receipt), day, RejectedByBank); err != nil {
		return err
	}
	d.State, d.Code, d.ReturnedOn, d.dirty = DebitReturned, RejectedByBank, day, true
	a.debitTakenBack()
	for _, b := range a.Bills {
		if b.Cycle == d.Cycle {
			b.FeeBarred, b.dirty = true, true
		}
	}
	e.Detail = fmt.Sprintf("the debit of %s effective %s had posted, but the bank rejected its file: it was reversed; ask the member how it is to be paid", d.Cents, d.EffectiveOn)
	a.except(e)
	return nil
}

// Reversed is the code of a payment that we took back ourselves, since its debit
// was sent in error.
const Reversed = "reversed"

// ReverseDebit takes back a debit that was sent in error, as its reversal takes
// effect: what it had paid is open again, with no fee of any kind, since the
// fault is not the member's, and autopay does not collect it a second time. The
// account must be whole.
func (a *Account) ReverseDebit(p *Policy, d *Debit, day calendar.Date) error {
	if err := a.Return(p, a.Receipt(d.Receipt), day, Reversed); err != nil {
		return err
	}
	d.State, d.Code, d.ReturnedOn, d.dirty = DebitReturned, Reversed, day, true
	a.debitTakenBack() // no member has agreed to an amount sent in error
	for _, b := range a.Bills {
		if b.Cycle == d.Cycle {
			b.FeeBarred, b.dirty = true, true
		}
	}
	return nil
}
