package billing_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// model is a second, slow and obvious reading of the money policy for one
// account. It shares dates, banking days and percentages with the product and
// nothing else: no rule here was taken from the product's rules. What it knows
// are things owed, money paid, and who gave how much to what; every figure is
// added up afresh whenever somebody asks.
type model struct {
	p        *billing.Policy // what holds first
	later    *billing.Policy // and from a day on, if anything changes
	from     calendar.Date
	order    []billing.Kind // who takes money first, in a replay
	owed     []*owed
	paid     []*paid
	gifts    []*gift
	bills    []*modelBill
	holds    []stretch
	moves    []move // changes of the ledger figure that no statement has told yet
	clock    int    // counts what happens, to tell before from after within a day
	looked   int    // the clock at the last late-fee run that was not on hold
	first    calendar.Cycle
	next     calendar.Cycle // the next cycle to cut
	previous ledger.Cents   // the last statement's balance
	ach      autopay
	plans    []*modelPlan
	covers   []*modelCover
	lapsed   calendar.Date // the day on which a grace last ended coverage
}

// owed is one thing to pay.
type owed struct {
	charge  int32 // the product's number of the charge it is part of
	kind    billing.Kind
	cents   ledger.Cents
	state   billing.State
	bill    int // index of the bill it is first billed on, -1 for none
	arrived calendar.Date
	seq     int
	lateOf  int // a late fee's bill, -1 for none
	origin  string
	plan    *modelPlan
	cover   *modelCover // whose premium of a month it is
	month   calendar.Cycle
	of      *owed // what it is a copy of, in a replay
	waived  bool  // a fee that was waived whole
	undone  bool  // a late fee that a payment in time has undone
}

// paid is money received.
type paid struct {
	no                        int32 // the product's number
	cents, refunded           ledger.Cents
	received, arrived, posted calendar.Date
	posts                     calendar.Date
	seq                       int
	postedAt                  int // the clock then
	returned                  calendar.Date
	guest                     bool
	directed                  billing.Kind
	debit                     bool
	dropped                   bool // never was money
}

// gift is what of a payment stands on a thing owed.
type gift struct {
	from  *paid
	to    *owed
	cents ledger.Cents
}

type modelBill struct {
	cycle                                               calendar.Cycle
	cutOn, madeOn, dueOn, deadline                      calendar.Date
	previous, payments, adjustments, charges, fees, sum ledger.Cents
	amountDue                                           ledger.Cents
	aging                                               [4]ledger.Cents
	noFee                                               bool // its debit was not authorized
	debitOn                                             calendar.Date
	moved, missed                                       bool // its debit, by the biller
	none                                                bool // nothing was due when its debit was to be built
}

type stretch struct{ from, to calendar.Date }

type move struct {
	on    calendar.Date
	part  string
	cents ledger.Cents
}

func (m *model) tick() int { m.clock++; return m.clock }

func (m *model) book(on calendar.Date, part string, cents ledger.Cents) {
	m.moves = append(m.moves, move{on, part, cents})
}

// Sums.

func (m *model) given(match func(g *gift) bool) (sum ledger.Cents) {
	for _, g := range m.gifts {
		if match(g) {
			sum += g.cents
		}
	}
	return sum
}

func (m *model) paidOn(o *owed) ledger.Cents {
	return m.given(func(g *gift) bool { return g.to == o })
}

func (m *model) open(o *owed) ledger.Cents { return o.cents - m.paidOn(o) }

// credit is what is left of posted money.
func (m *model) credit(p *paid) ledger.Cents {
	if p.posted.IsZero() || !p.returned.IsZero() {
		return 0
	}
	return p.cents - p.refunded - m.given(func(g *gift) bool { return g.from == p })
}

func (p *paid) pending() bool { return p.posted.IsZero() && p.returned.IsZero() && !p.dropped }

func (m *model) openIn(state billing.State, kind billing.Kind) (sum ledger.Cents) {
	for _, o := range m.owed {
		if o.state == state && (kind == "" || o.kind == kind) {
			sum += m.open(o)
		}
	}
	return sum
}

func (m *model) credits(guest bool) (sum ledger.Cents) {
	for _, p := range m.paid {
		if p.guest == guest {
			sum += m.credit(p)
		}
	}
	return sum
}

func (m *model) pendingMoney() (sum ledger.Cents) {
	for _, p := range m.paid {
		if p.pending() {
			sum += p.cents
		}
	}
	return sum
}

func (m *model) ledger() ledger.Cents {
	return m.openIn(billing.Billed, "") + m.openIn(billing.Unbilled, "") + m.openIn(billing.Disputed, "") + m.openIn(billing.Deferred, "") - m.credits(false) - m.credits(true)
}

func (m *model) due() ledger.Cents {
	return max(0, m.openIn(billing.Billed, "")-m.credits(false)-m.pendingMoney())
}

func (m *model) heldOn(day calendar.Date) bool {
	return slices.ContainsFunc(m.holds, func(h stretch) bool { return h.from <= day && (h.to.IsZero() || day < h.to) })
}

// Who takes money first (section 5).

func (m *model) rank(k billing.Kind) int {
	if m.order != nil {
		return slices.Index(m.order, k)
	}
	return slices.Index(m.now(m.from-1).Allocation.Order, k)
}

// on is the policy in force on a day; of is that of a bill, by its cut day.
func (m *model) on(day calendar.Date) *billing.Policy {
	if m.later != nil && m.from <= day {
		return m.later
	}
	return m.p
}

func (m *model) of(bill int) *billing.Policy { return m.on(m.bills[bill].cutOn) }

// now is the policy that decides where no bill is meant: the newest bill's.
func (m *model) now(day calendar.Date) *billing.Policy {
	if n := len(m.bills); n > 0 {
		return m.of(n - 1)
	}
	return m.on(day)
}

func (m *model) older(a, b *owed) int {
	return cmp.Or(a.bill-b.bill, a.last()-b.last(), int(a.arrived-b.arrived), a.seq-b.seq)
}

// last is 1 for what comes after the other things of its bill.
func (o *owed) last() int {
	if o.origin == billing.FromInstallment {
		return 1
	}
	return 0
}

func (m *model) sooner(a, b *owed) int { return cmp.Or(m.rank(a.kind)-m.rank(b.kind), m.older(a, b)) }

func (m *model) billed() (out []*owed) {
	for _, o := range m.owed {
		if o.state == billing.Billed {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, m.sooner)
	return out
}

func (m *model) pour(p *paid, directed billing.Kind) {
	for _, only := range []billing.Kind{directed, ""} {
		for _, o := range m.billed() {
			if only == "" || only == o.kind {
				if c := min(m.credit(p), m.open(o)); c > 0 {
					m.gifts = append(m.gifts, &gift{p, o, c})
				}
			}
		}
	}
}

func (m *model) byArrival() []*paid {
	return slices.SortedStableFunc(slices.Values(m.paid), func(a, b *paid) int { return cmp.Or(int(a.arrived-b.arrived), a.seq-b.seq) })
}

// useCredit lets the member's own credit pay what is billed, oldest first.
func (m *model) useCredit() {
	for _, p := range m.byArrival() {
		if !p.guest {
			m.pour(p, "")
		}
	}
}

// What happens.

func (m *model) charge(no int32, day calendar.Date, kind billing.Kind, cents ledger.Cents) {
	m.add(&owed{charge: no, kind: kind, cents: cents, arrived: day, origin: billing.FromCharge}, "charges", day)
}

// begin finds the first cycle: that of the first cut day on or after the first
// charge, or the first whose cut adds a premium.
func (m *model) begin() {
	if len(m.bills) > 0 {
		return
	}
	m.first = 0
	sooner := func(c calendar.Cycle) {
		if m.first == 0 || c < m.first {
			m.first = c
		}
	}
	for _, o := range m.owed {
		c := calendar.CycleOf(o.arrived)
		if o.arrived > c.CutOn(m.p.Statement.CutDay) {
			c++
		}
		if o.origin == billing.FromCharge || o.origin == billing.FromAdjustment || o.origin == billing.FromCoverage {
			sooner(c)
		}
	}
	for _, c := range m.covers {
		if next := c.chargedTo + 1; c.premium(next) > 0 {
			sooner(next)
		}
	}
	m.next = m.first
}

func (m *model) add(o *owed, part string, day calendar.Date) *owed {
	o.state, o.seq = billing.Unbilled, m.tick()
	o.bill = -1
	if o.origin != billing.FromLateFee {
		o.lateOf = -1
	}
	m.owed = append(m.owed, o)
	m.book(day, part, o.cents)
	return o
}

func (m *model) receive(p paid) *paid {
	p.seq = m.tick()
	m.paid = append(m.paid, &p)
	return &p
}

func (m *model) post(p *paid, day calendar.Date) {
	p.posted, p.postedAt = day, m.tick()
	m.book(day, "payments", -p.cents)
	m.pour(p, p.directed)
}

func (m *model) postDue(day calendar.Date) {
	var ready []*paid
	for _, p := range m.byArrival() {
		if p.pending() && p.posts <= day {
			ready = append(ready, p)
		}
	}
	slices.SortStableFunc(ready, func(a, b *paid) int {
		if a.debit != b.debit {
			if a.debit {
				return 1
			}
			return -1
		}
		return int(a.received - b.received)
	})
	for _, p := range ready {
		m.post(p, day)
	}
}

func (m *model) returnPayment(p *paid, day calendar.Date, nsf bool) {
	if !p.posted.IsZero() {
		m.book(day, "payments", p.cents)
		if p.refunded > 0 {
			o := &owed{kind: billing.Fee, cents: p.refunded, arrived: day, origin: billing.FromRefundOwed}
			m.add(o, "none", day)
		}
	}
	m.gifts = slices.DeleteFunc(m.gifts, func(g *gift) bool { return g.from == p })
	p.returned = day
	m.tick()
	m.useCredit()
	if fee := m.now(day).ReturnedPaymentFeeCents; nsf && !m.heldOn(day) && fee > 0 {
		m.add(&owed{kind: billing.Fee, cents: fee, arrived: day, origin: billing.FromReturnedFee}, "fees", day)
	}
}

// lower takes cents off a thing owed; what was paid beyond is free again, the
// newest payment first.
func (m *model) lower(o *owed, cents ledger.Cents, part string, day calendar.Date) {
	o.cents -= cents
	m.book(day, part, -cents)
	newest := m.byArrival()
	slices.Reverse(newest)
	for _, p := range newest {
		for _, g := range m.gifts {
			if over := m.paidOn(o) - o.cents; over > 0 && g.to == o && g.from == p {
				g.cents -= min(over, g.cents)
			}
		}
	}
}

func (m *model) adjust(day calendar.Date, kind billing.Kind, cents ledger.Cents, charge int32) {
	switch {
	case cents > 0:
		m.add(&owed{charge: charge, kind: kind, cents: cents, arrived: day, origin: billing.FromAdjustment}, "adjustments", day)
		return
	case charge != 0:
		m.lowerCharge(day, -cents, charge)
	default:
		left := -cents
		var billed, unbilled []*owed
		for _, o := range m.owed {
			if o.kind == kind && o.state == billing.Billed {
				billed = append(billed, o)
			} else if o.kind == kind && o.state == billing.Unbilled {
				unbilled = append(unbilled, o)
			}
		}
		slices.SortStableFunc(billed, m.older)
		slices.SortStableFunc(unbilled, m.older)
		for _, o := range append(slices.Clone(billed), unbilled...) {
			c := min(left, m.open(o))
			m.lower(o, c, "adjustments", day)
			left -= c
		}
		slices.Reverse(billed)
		for _, o := range billed {
			c := min(left, o.cents)
			m.lower(o, c, "adjustments", day)
			left -= c
		}
	}
	m.useCredit()
}

// lowerCharge lowers what has become of one charge: what is open first, what is
// paid last and the newest of that first.
func (m *model) lowerCharge(day calendar.Date, left ledger.Cents, charge int32) {
	parts := m.partsOf(charge)
	for _, state := range []billing.State{billing.Billed, billing.Unbilled, billing.Disputed, billing.Deferred} {
		for _, o := range parts {
			if o.state == state {
				c := min(left, m.open(o))
				m.lower(o, c, "adjustments", day)
				left -= c
			}
		}
	}
	slices.Reverse(parts)
	for _, o := range parts {
		c := min(left, o.cents)
		m.lower(o, c, "adjustments", day)
		left -= c
	}
}

// partsOf is what has become of a charge, the oldest part first.
func (m *model) partsOf(charge int32) (parts []*owed) {
	for _, o := range m.owed {
		if o.charge == charge {
			parts = append(parts, o)
		}
	}
	bill := func(o *owed) int {
		if o.state == billing.Deferred {
			return -1 // on none any more
		}
		return o.bill
	}
	slices.SortStableFunc(parts, func(a, b *owed) int {
		return cmp.Or(bill(a)-bill(b), a.last()-b.last(), int(a.arrived-b.arrived), a.seq-b.seq)
	})
	return parts
}

// adjustable is how far a kind can be lowered.
func (m *model) adjustable(kind billing.Kind) (sum ledger.Cents) {
	for _, o := range m.owed {
		if o.kind == kind && (o.state == billing.Billed || o.state == billing.Unbilled) {
			sum += o.cents
		}
	}
	return sum
}

func (m *model) assist(day calendar.Date, kind billing.Kind, percent ledger.Percent) {
	for _, o := range m.owed {
		if o.kind == kind && o.state == billing.Billed {
			m.lower(o, percent.Of(m.open(o)), "adjustments", day)
		}
	}
}

func (m *model) dispute(charge int32, kind billing.Kind) {
	for _, o := range slices.Clone(m.owed) {
		if o.state != billing.Billed || m.open(o) == 0 || !(charge != 0 && o.charge == charge || charge == 0 && o.kind == kind) {
			continue
		}
		if m.paidOn(o) > 0 { // what was paid stays
			rest := *o
			rest.cents = m.open(o)
			rest.state, rest.seq = billing.Disputed, m.tick()
			o.cents -= rest.cents
			m.owed = append(m.owed, &rest)
			continue
		}
		o.state, o.seq = billing.Disputed, m.tick() // within a day its order is anybody's
	}
	m.tick()
}

func (m *model) settle(day calendar.Date, charge int32, kind billing.Kind, accept bool) {
	for _, o := range m.owed {
		if o.state != billing.Disputed || !(charge != 0 && o.charge == charge || charge == 0 && o.kind == kind) {
			continue
		}
		if accept {
			o.state = billing.Billed
			m.lower(o, o.cents, "adjustments", day)
			continue
		}
		o.state, o.bill = billing.Unbilled, -1
	}
	m.tick()
}

func (m *model) refund(day calendar.Date, cents ledger.Cents, guest bool) {
	for _, p := range m.byArrival() {
		if p.guest == guest {
			c := min(cents, m.credit(p))
			p.refunded += c
			cents -= c
			m.book(day, "payments", c)
		}
	}
}

func (m *model) standing(origin string) (sum ledger.Cents) {
	for _, o := range m.owed {
		if o.origin == origin {
			sum += o.cents
		}
	}
	return sum
}

func (m *model) waive(day calendar.Date, origin string, cents ledger.Cents) {
	for _, o := range slices.Backward(m.owed) {
		if o.origin == origin && o.cents > 0 && cents > 0 {
			c := min(cents, o.cents)
			m.lower(o, c, "fees", day)
			cents -= c
			o.waived = o.cents == 0
		}
	}
	m.useCredit()
}

func (m *model) place(day calendar.Date) { m.holds = append(m.holds, stretch{from: day}) }

func (m *model) release(day calendar.Date) { m.holds[len(m.holds)-1].to = day }

func (m *model) onHold() bool {
	return len(m.holds) > 0 && m.holds[len(m.holds)-1].to.IsZero()
}

// cut closes cycles (section 2).
func (m *model) cut(day calendar.Date) (cut int) {
	if m.begin(); m.heldOn(day) || m.first == 0 {
		return 0
	}
	var cycles []calendar.Cycle
	for ; m.next.CutOn(m.p.Statement.CutDay) <= day; m.next++ {
		if !m.heldOn(m.next.CutOn(m.p.Statement.CutDay)) {
			cycles = append(cycles, m.next)
		}
	}
	for n, c := range cycles {
		m.close(c, day, n == len(cycles)-1)
	}
	return len(cycles)
}

func (m *model) close(c calendar.Cycle, day calendar.Date, newest bool) {
	b := &modelBill{cycle: c, cutOn: c.CutOn(m.p.Statement.CutDay), madeOn: day, previous: m.previous}
	rules := m.on(b.cutOn)
	b.dueOn = c.DueOn(rules.Statement.DueDay)
	b.deadline = b.dueOn + calendar.Date(rules.LateFee.GraceDays)
	until := b.cutOn
	if newest {
		until = day
	}
	m.bills = append(m.bills, b)
	for _, c := range m.covers {
		m.chargeTo(c, b.cycle, b.cutOn)
	}
	for _, o := range m.owed {
		if o.state == billing.Unbilled && o.arrived <= until {
			o.state, o.bill = billing.Billed, len(m.bills)-1
		}
	}
	m.installments(b, newest)
	m.useCredit()
	var later []move
	for _, v := range m.moves {
		if v.on > until {
			later = append(later, v)
			continue
		}
		switch v.part {
		case "payments":
			b.payments += v.cents
		case "adjustments":
			b.adjustments += v.cents
		case "charges":
			b.charges += v.cents
		case "fees":
			b.fees += v.cents
		}
	}
	m.moves = later
	b.sum = b.previous + b.payments + b.adjustments + b.charges + b.fees
	m.previous = b.sum
	m.plan(b, day)
	b.amountDue = max(0, m.openIn(billing.Billed, "")-m.credits(false))
	for _, o := range m.billed() {
		age := int(b.cutOn - m.bills[o.bill].cutOn)
		bucket := 0
		for n, d := range rules.Statement.AgingDays {
			if age >= d {
				bucket = n + 1
			}
		}
		b.aging[bucket] += m.open(o)
	}
}

// String tells the account for a person who looks for a mistake.
func (m *model) String() string {
	var s strings.Builder
	for _, o := range m.owed {
		fmt.Fprintf(&s, "  owed %d %s %s %d open %d %s bill %d arrived %s\n", o.charge, o.origin, o.kind, o.cents, m.open(o), o.state, o.bill, o.arrived)
	}
	for _, p := range m.paid {
		fmt.Fprintf(&s, "  paid %d %d credit %d received %s arrived %s posted %s returned %s refunded %d guest %v directed %s debit %v\n", p.no, p.cents, m.credit(p), p.received, p.arrived, p.posted, p.returned, p.refunded, p.guest, p.directed, p.debit)
	}
	for _, b := range m.bills {
		fmt.Fprintf(&s, "  bill %s made %s due %s deadline %s\n", b.cycle, b.madeOn, b.dueOn, b.deadline)
	}
	return s.String()
}
