// Package billing keeps the accounts of guarantors: what they owe, what they
// paid, and what follows from it under the biller's policy.
//
// An Account in memory is the whole of what a rule needs to decide. The rules
// (charge, cut, allocate, late fee, return, dispute...) are methods on it,
// written without SQL and without a clock: they change the account and book
// journal entries on it. A Book loads any number of accounts under lock and
// saves what the rules have changed, set by set. The nightly jobs, the
// operator's commands and the scenarios all go this one way; plain.go says what
// the night also does where it lies, and how it is held to the rules.
package billing

import (
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Kind is what an item is for: premium, medical, or a fee.
type Kind string

// The kinds of items.
const (
	Premium Kind = "premium"
	Medical Kind = "medical"
	Fee     Kind = "fee"
)

// State is where an item stands.
type State string

// The states of an item. Only billed items are due and take money.
const (
	Unbilled State = "unbilled"
	Billed   State = "billed"
	Disputed State = "disputed"
	Deferred State = "deferred" // by a payment plan
)

// Where an item comes from.
const (
	FromCharge      = "charge"
	FromAdjustment  = "adjustment"
	FromLateFee     = "late_fee"
	FromReturnedFee = "returned_fee"
	FromInstallment = "installment"
	FromRefundOwed  = "refund_owed"
)

// Item is a billable thing. Open = Cents - Paid.
type Item struct {
	No        int32
	Kind      Kind
	Origin    string
	State     State
	Cents     ledger.Cents
	Paid      ledger.Cents
	Cycle     calendar.Cycle // of the bill that first billed it
	BilledOn  calendar.Date  // that bill's cut day: ages are counted from here
	MadeOn    calendar.Date  // the day that bill was made
	ArrivedOn calendar.Date
	ForCycle  calendar.Cycle // a late fee's bill, a premium's month
	ForDoc    int32          // the document it is for: a returned-payment fee's payment, a premium's coverage, an installment's plan
	Ended     string         // a fee that no longer stands: reversed or waived
	Parent    int32          // the item it was split from
	Entry     int32          // the journal entry that made it
	Detail    *Detail        // only on items that were made just now

	dirty bool
	moved bool // only Paid has changed
	cut   bool // it was billed, and perhaps paid
}

// Detail is what a statement prints of an item.
type Detail struct {
	ChargeID    string
	MRN         string // the member it is for
	ServiceDate calendar.Date
	Description string
	Gross       ledger.Cents
	Insurer     ledger.Cents
}

// Open returns what is left to pay.
func (i *Item) Open() ledger.Cents { return i.Cents - i.Paid }

// The states of a receipt.
const (
	Pending   = "pending"
	Posted    = "posted"
	Returned  = "returned"  // by the payer's bank, posted before or not
	Withdrawn = "withdrawn" // by us, before it was sent; or its return was none, and another receipt stands for it
	Void      = "void"
)

// Receipt is money that came in, whatever its channel.
type Receipt struct {
	No          int32
	Channel     string
	State       string
	Cents       ledger.Cents
	Unapplied   ledger.Cents // what is not allocated; all of it while pending
	Refunded    ledger.Cents
	ReceivedOn  calendar.Date // decides lateness
	ArrivedOn   calendar.Date // when we first had it
	PostsOn     calendar.Date
	PostedOn    calendar.Date
	InEntry     int32 // the journal entry that took it in, if pending money is on the books
	PostedEntry int32 // the journal entry of its posting
	EndedOn     calendar.Date
	EndCode     string
	Guest       bool // what is beyond the bill is the payer's
	Payer       string
	Directed    Kind   // the coupon's bill kind, "" for none
	Reference   string // check number, payment id
	Check       Check  // the lockbox check that it is of; only on receipts that were made just now

	fresh, dirty bool
}

// Check says which part of which lockbox check a receipt is; the zero value is
// none.
type Check struct {
	File   int64
	Item   int32 // the check's ordinal in its file
	Coupon int32 // from 1
}

// Allocation is money of a receipt that went to an item, or (negative) came
// back from it.
type Allocation struct {
	No      int32
	Receipt int32
	Item    int32
	Cents   ledger.Cents
	On      calendar.Date
}

// Standing is how an item has stood since a day, where no bill and no journal
// entry tells it: split off into a dispute or a plan, come out of one, or
// billed as an installment. Item 0 is the account's autopay.
type Standing struct {
	No     int32
	On     calendar.Date
	Item   int32
	State  string
	Source int32        // the item that it was split from, 0 for none
	Cents  ledger.Cents // what it took over from there
}

// Bill is one closed cycle of an account.
type Bill struct {
	Cycle                                                        calendar.Cycle
	CutOn, MadeOn, DueOn, DeadlineOn                             calendar.Date
	Previous, Payments, Adjustments, Charges, Fees               ledger.Cents // they add up to Balance
	Balance, AmountDue, PendingCents, DisputedCents, DeferredCts ledger.Cents
	Aging                                                        [4]ledger.Cents // current, 30, 60, 90 days and more
	Entries                                                      int32           // the last journal entry it has taken up
	DebitOn                                                      calendar.Date   // the day autopay debits it
	DebitMoved                                                   bool            // past the due date, for the notice of a varying amount
	DebitMissed                                                  bool            // by the biller
	DebitNone                                                    bool            // nothing was due on its build day
	FeeBarred                                                    bool            // its debit came back as unauthorized
	PrevDeadline                                                 calendar.Date   // the latest of the bills before
	CardOn                                                       calendar.Date   // the day its card was first asked; a row of package cards
	CardDeclined                                                 bool            // and that the answer was no
	Subject                                                                      // what the account was at its cut, if any policy asks

	fresh, dirty bool
}

// Hold stops statements, debits, reminders and fees; money still posts.
type Hold struct {
	No         int32
	Reason     string
	PlacedOn   calendar.Date
	ReleasedOn calendar.Date // 0 while it lasts
	Automatic  bool
	PlacedBy   string
	ReleasedBy string
	Note       string

	fresh, dirty bool
}

// Standings of autopay.
const (
	AutopayOn        = "on"
	AutopayOff       = "off"
	AutopaySuspended = "suspended" // its retries are used up
	AutopayEnded     = "ended"     // the authorization was revoked
)

// Account is a guarantor's account in memory.
type Account struct {
	ID           int64
	MRN          string
	OpenedOn     calendar.Date
	FirstCycle   calendar.Cycle // of the first statement, 0 before the first charge
	LastCycle    calendar.Cycle // of the newest bill
	Autopay      string
	AutopaySince calendar.Date
	AutopayEnds  calendar.Date   // from this day on it is off, as told beforehand; 0 for no such day
	Range        [2]ledger.Cents // debits from the one to the other amount need no notice; 0, 0: those that differ do
	CardAsked    bool            // the gateway owes the answer to a card charge
	ByCard       bool            // autopay charges a card; else it debits a bank account
	LastDebit    *ledger.Cents   // nil: never debited
	charged      []int32         // the receipts of what autopay charged to cards
	Relook       bool            // its late fees must be looked at again
	Replay       bool            // what is open may not be what a replay by received date gives
	Looked       int32           // the last entry the late-fee job has seen

	Items       []*Item    // in order of arrival; without the settled ones if loaded Open
	Receipts    []*Receipt // in order of arrival; without the used-up ones if loaded Open
	Bills       []*Bill    // in order of cycle; the newest only if loaded Open
	Holds       []*Hold
	Debits      []*Debit     // of the newest bill; all if loaded whole
	Allocations []Allocation // only if loaded whole
	Coverages   []*Coverage  // what a cut may still charge; all if loaded whole
	Plans       []*Plan      // the running ones; all if loaded whole
	Dormant     []*Dormant   // only if loaded whole
	fed         []fedPremium // of members with coverage; of months not charged yet, or all if loaded whole

	state      string         // the guarantor's; covered are the members' periods: loaded if a policy chooses by them
	covered    []*Coverage    // of whole accounts they are Coverages
	whole      bool           // everything is here, not only what is open
	counted    bool           // recent is here
	docs       int32          // the last document number given
	entries    int32          // the last journal entry's number
	recent     []recent       // what the next bill has to take up
	written    []ledger.Entry // booked since it was loaded
	placed     []Allocation   // allocated since it was loaded
	stood      []Standing     // changed since it was loaded
	pending    int32          // receipts that have not posted
	base       ledger.Cents   // what is open of the newest bill's own principal, as it was loaded
	bookedFrom calendar.Date  // nothing that the next bill takes up was booked on an earlier day; 0: nothing was booked
	from       int32          // no item below this number is live, and no receipt, as it was loaded
	billMade   calendar.Date  // the day on which the newest bill was made, 0: there is none
	billDue    calendar.Date  // its due date
	billUntil  calendar.Date  // its deadline
	olderUntil calendar.Date  // the latest of the deadlines of older ones
	guests     bool           // has had money from guests; known where Replay is set
	opened     bool           // open items are here
	issues     []Exception    // for people, since it was loaded
	counts     bool           // only docs and entries have changed
	dirty      bool
}

// recent is an amount that moved since the newest bill.
type recent struct {
	on    calendar.Date // the day it was booked on, or an earlier one on which it arrived
	part  ledger.Part
	cents ledger.Cents
}

// NewAccount returns an empty account, for the first member that names it and
// for tests.
func NewAccount(id int64, mrn string, openedOn calendar.Date) *Account {
	return &Account{ID: id, MRN: mrn, OpenedOn: openedOn, Autopay: AutopayOff, whole: true, opened: true}
}

// doc gives the next document number.
func (a *Account) doc() int32 {
	a.counts = true
	a.docs++
	return a.docs
}

// book writes a journal entry and returns its number.
func (a *Account) book(e ledger.Entry) int32 {
	a.counts = true
	a.entries++
	e.AccountID, e.No = a.ID, a.entries
	a.written = append(a.written, e)
	if part := ledger.PartOf(e.What); part != ledger.NoPart {
		if a.bookedFrom.IsZero() || e.PostedOn < a.bookedFrom {
			a.bookedFrom = e.PostedOn
		}
		a.recent = append(a.recent, recent{e.PostedOn, part, e.Member()})
	}
	return e.No
}

// Entries returns what was booked since the account was loaded.
func (a *Account) Entries() []ledger.Entry { return a.written }

// stand notes how an item, or autopay, stands from a day on.
func (a *Account) stand(s Standing) {
	s.No = a.doc()
	a.stood = append(a.stood, s)
}

func (a *Account) item(no int32) *Item {
	if i, ok := slices.BinarySearchFunc(a.Items, no, func(it *Item, no int32) int { return int(it.No - no) }); ok {
		return a.Items[i]
	}
	return nil
}

// Receipt returns the receipt of that number, nil if it is not loaded.
func (a *Account) Receipt(no int32) *Receipt {
	if i, ok := slices.BinarySearchFunc(a.Receipts, no, func(r *Receipt, no int32) int { return int(r.No - no) }); ok {
		return a.Receipts[i]
	}
	return nil
}

func (a *Account) addItem(i *Item) *Item {
	i.No, i.dirty = a.doc(), true
	if i.Detail == nil {
		i.Detail = &Detail{}
	}
	a.Items = append(a.Items, i)
	return i
}

// NewestBill returns the bill cut last, nil if there is none.
func (a *Account) NewestBill() *Bill {
	if len(a.Bills) == 0 {
		return nil
	}
	return a.Bills[len(a.Bills)-1]
}

// bill returns the bill of a cycle, nil if it is not loaded.
func (a *Account) bill(c calendar.Cycle) *Bill {
	for _, b := range a.Bills {
		if b.Cycle == c {
			return b
		}
	}
	return nil
}

// Figures are an account's sums at this moment.
type Figures struct {
	Ledger    ledger.Cents // all that is owed: open items less unapplied credit
	Pending   ledger.Cents // money in flight
	Due       ledger.Cents // billed and open, less credit and pending money; never below 0
	Open      map[Kind]ledger.Cents
	Billed    ledger.Cents // billed and open
	Unbilled  ledger.Cents
	Disputed  ledger.Cents
	Deferred  ledger.Cents
	Unapplied ledger.Cents // credit, guest money included
	Guest     ledger.Cents // what of it belongs to guests
}

// Figures adds up the account.
func (a *Account) Figures() Figures {
	f := Figures{Open: map[Kind]ledger.Cents{Premium: 0, Medical: 0, Fee: 0}}
	for _, i := range a.Items {
		switch i.State {
		case Billed:
			f.Open[i.Kind] += i.Open()
			f.Billed += i.Open()
		case Unbilled:
			f.Unbilled += i.Open()
		case Disputed:
			f.Disputed += i.Open()
		case Deferred:
			f.Deferred += i.Open()
		}
	}
	for _, r := range a.Receipts {
		switch r.State {
		case Pending:
			f.Pending += r.Cents
		case Posted:
			f.Unapplied += r.Unapplied
			if r.Guest {
				f.Guest += r.Unapplied
			}
		}
	}
	f.Ledger = f.Billed + f.Unbilled + f.Disputed + f.Deferred - f.Unapplied
	f.Due = max(0, f.Billed-(f.Unapplied-f.Guest)-f.Pending)
	return f
}

// Due returns what is due now (POLICY sections 2 and 10).
func (a *Account) Due() ledger.Cents {
	var due ledger.Cents
	for _, i := range a.Items {
		if i.State == Billed {
			due += i.Open()
		}
	}
	for _, r := range a.Receipts {
		switch {
		case r.State == Pending:
			due -= r.Cents
		case r.State == Posted && !r.Guest:
			due -= r.Unapplied
		}
	}
	return max(0, due)
}

// openBase adds up what is open of the newest bill's own principal: the base of
// its late fee, as long as nothing calls for a replay.
func (a *Account) openBase() (base ledger.Cents) {
	if !a.opened {
		return a.base
	}
	for _, i := range a.Items {
		if i.State == Billed && i.Cycle == a.LastCycle && i.inBase() {
			base += i.Open()
		}
	}
	return base
}

// inBase says whether an item is principal that can make its bill late.
func (i *Item) inBase() bool { return i.Kind != Fee && i.Origin != FromInstallment }

// live says whether a cut, a posting or a debit may have to look at the item.
func (i *Item) live() bool { return i.Open() > 0 || i.State != Billed }

// live says the same of a receipt.
func (r *Receipt) live() bool { return r.State == Pending || r.Unapplied > 0 }

// openFrom returns the lowest number of what is live, the next number that the
// account will give if nothing is. What is settled long ago is not looked through
// each night. Of an account of which not all that is live was loaded, it is a
// number below which nothing is.
func (a *Account) openFrom() int32 {
	from := a.from
	if a.opened {
		from = a.docs + 1
	}
	for _, i := range a.Items {
		if i.live() {
			from = min(from, i.No)
			break
		}
	}
	for _, r := range a.Receipts {
		if r.live() {
			from = min(from, r.No)
			break
		}
	}
	return from
}

// HeldOn returns the hold that the account was under at the end of a day, nil
// for none.
func (a *Account) HeldOn(day calendar.Date) *Hold {
	for _, h := range a.Holds {
		if h.PlacedOn <= day && (h.ReleasedOn.IsZero() || h.ReleasedOn > day) {
			return h
		}
	}
	return nil
}

// Place puts the account on hold; one that stands for the same reason stays.
func (a *Account) Place(day calendar.Date, reason, operator, note string, automatic bool) {
	for _, h := range a.Holds {
		if h.Reason == reason && h.ReleasedOn.IsZero() {
			return
		}
	}
	a.Holds = append(a.Holds, &Hold{No: a.doc(), Reason: reason, PlacedOn: day, Automatic: automatic, PlacedBy: operator, Note: note, fresh: true})
}

// Release ends the holds for a reason ("" for all that people placed). The
// next late-fee run looks at the account again.
func (a *Account) Release(day calendar.Date, reason, operator string) bool {
	released := false
	for _, h := range a.Holds {
		if h.ReleasedOn.IsZero() && (h.Reason == reason || reason == "" && !h.Automatic) {
			h.ReleasedOn, h.ReleasedBy, h.dirty = day, operator, true
			released = true
		}
	}
	if released {
		a.lookAgain()
	}
	return released
}

// lookAgain asks the next late-fee run to look at the account's bills, and not
// to take what is open for what was open.
func (a *Account) lookAgain() {
	if !a.Relook || !a.Replay {
		a.Relook, a.Replay, a.dirty = true, true, true
	}
}
