package billing

import (
	"fmt"
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// revenue is the general-ledger account that a kind of item earns.
func revenue(k Kind) string {
	switch k {
	case Premium:
		return ledger.Premiums
	case Medical:
		return ledger.PatientShare
	}
	return ledger.Fees
}

// Charge adds a charge that arrives on a day; it is unbilled until a cut bills
// it, and in the ledger at once. The account's first charge starts its cycles.
func (a *Account) Charge(p *Policy, day calendar.Date, kind Kind, cents ledger.Cents, d Detail) *Item {
	a.startCycles(p, day)
	i := a.addItem(&Item{Kind: kind, Origin: FromCharge, State: Unbilled, Cents: cents, ArrivedOn: day, Detail: &d})
	if kind == Premium && !d.ServiceDate.IsZero() {
		i.ForCycle = calendar.CycleOf(d.ServiceDate)
	}
	if cents > 0 {
		i.Entry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.Charge, Debit: ledger.Receivable, Credit: revenue(kind), Cents: cents, Doc: i.No})
	}
	if i.ForCycle != 0 {
		a.feedPremium(p, day, i, d.MRN)
	}
	return i
}

// startCycles sets the first cycle: the first cut day on or after the day,
// unless it is set to that or an earlier one.
func (a *Account) startCycles(p *Policy, day calendar.Date) {
	c := calendar.CycleOf(day)
	if a.cutOn(p, c) < day {
		c++
	}
	if a.FirstCycle != 0 && (a.LastCycle != 0 || a.FirstCycle <= c) {
		return
	}
	a.FirstCycle, a.dirty = c, true
}

// Adjust changes what is owed of a charge (item), or of a kind if item is 0,
// in POLICY's order (section 10): the oldest billed open items first, then
// unbilled ones, then the newest paid one, which becomes credit. Positive
// cents raise it: the raise is an item of its own, billed by the next cut.
func (a *Account) Adjust(p *Policy, day calendar.Date, kind Kind, cents ledger.Cents, item int32, d Detail) error {
	a.mustBeWhole()
	if kind != Premium && kind != Medical {
		return fmt.Errorf("an adjustment is of premium or medical, not of %q (a fee is waived)", kind)
	}
	var named *Item
	if item != 0 {
		if named = a.item(item); named == nil || named.Kind != kind {
			return fmt.Errorf("the account has no %s charge with document number %d", kind, item)
		}
	}
	switch {
	case cents > maxFieldCents || cents < -maxFieldCents:
		return fmt.Errorf("an adjustment of %s is more than the %s that one amount may be", cents, ledger.Cents(maxFieldCents))
	case cents > 0:
		a.startCycles(p, day)
		i := a.addItem(&Item{Kind: kind, Origin: FromAdjustment, State: Unbilled, Cents: cents, ArrivedOn: day, Parent: item, Detail: &d})
		i.Entry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.Adjustment, Debit: ledger.Receivable, Credit: revenue(kind), Cents: cents, Doc: i.No})
	case cents < 0:
		a.noteMissed(p, day)
		if err := a.lowerKind(day, kind, -cents, named); err != nil {
			return err
		}
		a.useCredit(p, day)
	}
	a.lookAgain()
	return nil
}

// lowerKind lowers a named item and what was split from it, or the items of a
// kind, by cents in all.
func (a *Account) lowerKind(day calendar.Date, kind Kind, cents ledger.Cents, named *Item) error {
	var able []*Item
	var room ledger.Cents
	for _, i := range a.Items {
		if i.Kind == kind && i.Cents > 0 && (named == nil || i == named || i.Parent == named.No) {
			able = append(able, i)
			room += i.Cents
		}
	}
	if cents > room {
		return fmt.Errorf("an adjustment of %s is more than the %s that the charge still stands at", cents, room)
	}
	slices.SortStableFunc(able, older)
	lower := func(i *Item, most ledger.Cents) {
		take := min(most, cents)
		a.lower(day, i, take, ledger.Adjustment, ledger.Adjustments, 0)
		cents -= take
	}
	open := func(states ...State) {
		for _, state := range states {
			for _, i := range able {
				if i.State == state {
					lower(i, i.Open())
				}
			}
		}
	}
	open(Billed, Unbilled)
	if named != nil { // of one charge, all that is open comes before what is paid
		open(Disputed, Deferred)
	}
	for _, i := range slices.Backward(able) { // the newest first
		lower(i, i.Paid)
	}
	open(Disputed, Deferred)
	return nil
}

// lower takes cents off an item, books it against a general-ledger account,
// and gives back what was paid beyond the rest.
func (a *Account) lower(day calendar.Date, i *Item, cents ledger.Cents, what, against string, reverses int32) {
	if cents == 0 {
		return
	}
	i.Cents -= cents
	i.dirty = true
	a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: what, Debit: against, Credit: ledger.Receivable, Cents: cents, Doc: i.No, Reverses: reverses})
	a.giveBack(i, day)
}

// Assist grants financial assistance: what is billed and open of a kind, not
// disputed or deferred, is lowered by a percentage, half-up per item.
func (a *Account) Assist(p *Policy, day calendar.Date, kind Kind, percent ledger.Percent) ledger.Cents {
	a.mustBeWhole()
	a.noteMissed(p, day)
	var total ledger.Cents
	for _, i := range a.Items {
		if i.State == Billed && i.Kind == kind && i.Open() > 0 {
			cents := min(percent.Of(i.Open()), i.Open())
			a.lower(day, i, cents, ledger.Adjustment, ledger.Adjustments, 0)
			total += cents
		}
	}
	a.lookAgain()
	return total
}

// split takes what is open of a billed item out into an item of its own in
// another state; what was paid stays billed and paid.
func (a *Account) split(day calendar.Date, i *Item, cents ledger.Cents, state State) *Item {
	i.Cents -= cents
	i.dirty = true
	part := &Item{Kind: i.Kind, Origin: i.Origin, State: state, Cents: cents, ArrivedOn: i.ArrivedOn, ForCycle: i.ForCycle, ForDoc: i.ForDoc, Parent: i.No}
	if i.Parent != 0 {
		part.Parent = i.Parent // the charge it all came from
	}
	a.addItem(part)
	a.stand(Standing{On: day, Item: part.No, State: string(state), Source: i.No, Cents: cents})
	return part
}

// Dispute opens a dispute on what is open of one item, or of a kind if item is
// 0: it leaves due, autopay, reminders and fees until it is settled.
func (a *Account) Dispute(p *Policy, day calendar.Date, kind Kind, item int32) (ledger.Cents, error) {
	a.mustBeWhole()
	a.noteMissed(p, day)
	var total ledger.Cents
	for _, i := range slices.Clone(a.Items) {
		if i.State == Billed && i.Open() > 0 && a.isNamed(i, kind, item) {
			total += i.Open()
			a.split(day, i, i.Open(), Disputed)
		}
	}
	if total == 0 {
		return 0, fmt.Errorf("nothing billed and open to dispute")
	}
	a.lookAgain()
	return total, nil
}

// Settle ends a dispute: accepted, the charge is reversed; denied, it is
// unbilled until the next cut bills it again.
func (a *Account) Settle(p *Policy, day calendar.Date, kind Kind, item int32, accept bool) (ledger.Cents, error) {
	a.mustBeWhole()
	var total ledger.Cents
	for _, i := range a.Items {
		if i.State != Disputed || i.Cents == 0 || !a.isNamed(i, kind, item) {
			continue
		}
		total += i.Cents
		if accept {
			a.lower(day, i, i.Cents, ledger.Adjustment, ledger.Adjustments, 0)
		} else {
			a.unbill(day, i)
		}
	}
	if total == 0 {
		return 0, fmt.Errorf("there is no such open dispute")
	}
	a.lookAgain()
	return total, nil
}

// unbill leaves an item that comes out of a dispute or a plan to the next cut.
func (a *Account) unbill(day calendar.Date, i *Item) {
	i.State, i.dirty = Unbilled, true
	a.stand(Standing{On: day, Item: i.No, State: string(Unbilled)})
}

func (a *Account) isNamed(i *Item, kind Kind, item int32) bool {
	if item != 0 {
		return i.No == item || i.Parent == item
	}
	return i.Kind == kind
}
