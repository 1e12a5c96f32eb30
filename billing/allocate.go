package billing

import (
	"cmp"
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Allocation, POLICY section 5: premium principal, then medical, then fees (or
// as the policy orders them), each oldest first; only billed open items take
// money; what is left is credit.

// before orders two items of an account by who takes money first.
func (p *AllocationPolicy) before(a, b *Item) int {
	return cmp.Or(cmp.Compare(slices.Index(p.Order, a.Kind), slices.Index(p.Order, b.Kind)), older(a, b))
}

// older orders items: first billed earliest, an installment after the other
// items of its statement, then first arrived (POLICY sections 5 and 10).
func older(a, b *Item) int {
	return cmp.Or(cmp.Compare(a.Cycle, b.Cycle), installmentLast(a)-installmentLast(b), cmp.Compare(a.ArrivedOn, b.ArrivedOn), cmp.Compare(a.No, b.No))
}

func installmentLast(i *Item) int {
	if i.Origin == FromInstallment {
		return 1
	}
	return 0
}

// allocation says who takes money first: as the newest bill's policy orders it.
func (a *Account) allocation(p *Policy) AllocationPolicy {
	if b := a.NewestBill(); b != nil {
		return p.of(b).Allocation
	}
	return p.Allocation // nothing is billed
}

// takers returns the billed open items in the order in which they take money.
func (a *Account) takers(rules AllocationPolicy) []*Item {
	var open []*Item
	for _, i := range a.Items {
		if i.State == Billed && i.Open() > 0 {
			open = append(open, i)
		}
	}
	if len(open) > 1 {
		slices.SortFunc(open, rules.before)
	}
	return open
}

// spread gives money to items in their order, those of the directed kind
// first, and returns what is left.
func spread(money ledger.Cents, directed Kind, items []*Item, give func(*Item, ledger.Cents)) ledger.Cents {
	for _, first := range []bool{true, false} {
		if first && directed == "" {
			continue
		}
		for _, i := range items {
			if money == 0 {
				return 0
			}
			if open := i.Open(); open > 0 && (!first || i.Kind == directed) {
				cents := min(open, money)
				give(i, cents)
				money -= cents
			}
		}
	}
	return money
}

// allocate gives a posted receipt's credit to the billed open items.
func (a *Account) allocate(rules AllocationPolicy, r *Receipt, directed Kind, day calendar.Date) {
	r.Unapplied = spread(r.Unapplied, directed, a.takers(rules), func(i *Item, cents ledger.Cents) {
		a.move(r, i, cents, day)
	})
	r.dirty = true
}

// move puts cents of a receipt on an item, or takes them back if negative. It
// leaves r.Unapplied to its caller.
func (a *Account) move(r *Receipt, i *Item, cents ledger.Cents, day calendar.Date) {
	i.Paid += cents
	i.moved = true
	al := Allocation{No: a.doc(), Receipt: r.No, Item: i.No, Cents: cents, On: day}
	a.placed = append(a.placed, al)
	if a.whole {
		a.Allocations = append(a.Allocations, al)
	}
}

// useCredit gives the members' own credit to billed open items, oldest credit
// first. Guest money stays its payer's.
func (a *Account) useCredit(p *Policy, day calendar.Date) { a.giveCredit(a.allocation(p), day) }

func (a *Account) giveCredit(rules AllocationPolicy, day calendar.Date) {
	for _, r := range byArrival(a.Receipts) {
		if r.State == Posted && r.Unapplied > 0 && !r.Guest {
			a.allocate(rules, r, "", day)
		}
	}
}

// byArrival orders receipts by when we first had them.
func byArrival(rs []*Receipt) []*Receipt {
	inOrder := func(a, b *Receipt) int { return cmp.Or(cmp.Compare(a.ArrivedOn, b.ArrivedOn), cmp.Compare(a.No, b.No)) }
	if slices.IsSortedFunc(rs, inOrder) {
		return rs
	}
	return slices.SortedFunc(slices.Values(rs), inOrder)
}

// shares returns what of each receipt stands on an item, the receipt that
// arrived last first (POLICY section 10). The account must be whole.
func (a *Account) shares(item int32) []share {
	a.mustBeWhole()
	byReceipt := map[int32]ledger.Cents{}
	for _, al := range a.Allocations {
		if al.Item == item {
			byReceipt[al.Receipt] += al.Cents
		}
	}
	var out []share
	for no, cents := range byReceipt {
		if cents > 0 {
			out = append(out, share{a.Receipt(no), cents})
		}
	}
	slices.SortFunc(out, func(x, y share) int {
		return cmp.Or(cmp.Compare(y.receipt.ArrivedOn, x.receipt.ArrivedOn), cmp.Compare(y.receipt.No, x.receipt.No))
	})
	return out
}

type share struct {
	receipt *Receipt
	cents   ledger.Cents
}

// giveBack takes money off an item until no more than its cents are paid, the
// newest payment first; it becomes credit again.
func (a *Account) giveBack(i *Item, day calendar.Date) {
	if i.Paid <= i.Cents {
		return
	}
	for _, s := range a.shares(i.No) {
		if i.Paid <= i.Cents {
			return
		}
		cents := min(s.cents, i.Paid-i.Cents)
		a.move(s.receipt, i, -cents, day)
		s.receipt.Unapplied += cents
		s.receipt.dirty = true
	}
}

func (a *Account) mustBeWhole() {
	if !a.whole {
		panic("billing: this rule needs the whole account; load it with Whole")
	}
}
