package billing

import (
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// House is the account of money that is nobody's yet: it has a journal and
// nothing else.
const House int64 = 0

// SuspenseIn books a check of nobody known as money in the bank, owed to
// whoever turns up. It returns the entry's number, which SuspenseOut needs.
// The account is House's.
func (a *Account) SuspenseIn(day, received calendar.Date, cents ledger.Cents) (entry int32) {
	return a.book(ledger.Entry{PostedOn: day, EffectiveOn: received, What: ledger.SuspenseIn, Debit: ledger.Cash, Credit: ledger.Suspense, Cents: cents})
}

// SuspenseOut undoes SuspenseIn: the check was given to a member, whose own
// account takes it in, or it left the house.
func (a *Account) SuspenseOut(day calendar.Date, entry int32, cents ledger.Cents) {
	a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.SuspenseOut, Debit: ledger.Suspense, Credit: ledger.Cash, Cents: cents, Reverses: entry})
}
