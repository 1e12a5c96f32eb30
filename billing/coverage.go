package billing

import (
	"fmt"
	"maps"
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// FromCoverage is an item that a member's coverage has made: the premium of
// ForCycle, under the coverage ForDoc.
const FromCoverage = "coverage"

// Coverage is a period in which a member is covered by a plan on one set of
// terms. The premium of every month up to ChargedTo has been charged, so that
// what stands charged of such a month is always Premium(month).
type Coverage struct {
	No           int32
	MRN          string
	Plan         string
	StartOn      calendar.Date
	EndOn        calendar.Date // last day covered, 0 for none; the day before StartOn if it never took effect
	SaidEnd      calendar.Date // EndOn as enrolment told it: a later period or the end of grace may have moved EndOn
	MonthlyCents ledger.Cents  // 0: its premiums come from the charge feed
	APTCCents    ledger.Cents  // paid in advance by a tax credit
	PaidThrough  calendar.Date // premiums up to this day were charged and paid before the account was kept here
	ChargedTo    calendar.Cycle
	LapsedOn     calendar.Date // the business date on which the end of its grace ended it

	dirty bool
}

// Terms are what enrolment says of a period of coverage.
type Terms struct {
	StartOn, EndOn          calendar.Date // EndOn 0: until further notice; the day before StartOn: it never took effect
	MonthlyCents, APTCCents ledger.Cents
	PaidThrough             calendar.Date // see Coverage; 0 in the daily feed
}

// fedPremium is the premium of a member's month that came by the charge feed.
type fedPremium struct {
	item  int32
	mrn   string
	month calendar.Cycle
}

// check refuses terms that contradict themselves.
func (t Terms) check() (field string, err error) {
	switch {
	case t.StartOn.IsZero():
		return "start", fmt.Errorf("coverage needs its first day")
	case !t.EndOn.IsZero() && t.EndOn < t.StartOn-1:
		return "end", fmt.Errorf("coverage ends on %s before it starts on %s; give the day before its start to take it back whole", t.EndOn, t.StartOn)
	case t.MonthlyCents < 0:
		return "monthly_cents", fmt.Errorf("a premium of %s is below 0", t.MonthlyCents)
	case t.MonthlyCents > maxFieldCents:
		return "monthly_cents", fmt.Errorf("a premium of %s is more than the %s that one amount may be", t.MonthlyCents, ledger.Cents(maxFieldCents))
	case t.APTCCents < 0 || t.MonthlyCents > 0 && t.APTCCents > t.MonthlyCents:
		return "aptc_cents", fmt.Errorf("a tax credit of %s does not go into a premium of %s", t.APTCCents, t.MonthlyCents)
	}
	return "", nil
}

// void says whether the period never took effect.
func (c *Coverage) void() bool { return !c.EndOn.IsZero() && c.EndOn < c.StartOn }

// Covers says whether a day is covered.
func (c *Coverage) Covers(day calendar.Date) bool {
	return c.StartOn <= day && (c.EndOn.IsZero() || day <= c.EndOn)
}

// Premium is the member's share of a month's premium: the monthly amount less
// the tax credit, by days if the coverage starts or ends inside the month
// (POLICY section 9).
func (c *Coverage) Premium(month calendar.Cycle) ledger.Cents {
	if c.MonthlyCents == 0 {
		return 0
	}
	return ledger.Prorate(c.MonthlyCents-c.APTCCents, c.days(month), month.Days())
}

// days counts the covered days of a month.
func (c *Coverage) days(month calendar.Cycle) int {
	to := month.Last()
	if !c.EndOn.IsZero() {
		to = min(to, c.EndOn)
	}
	return max(0, int(to-max(c.StartOn, month.First()))+1)
}

// Enrol takes in what enrolment says of a member's coverage by a plan. Terms
// with a start that is known amend that period; any other start is a period of
// its own, which takes the place of those that it overlaps: one that began
// before ends the day before, one that begins inside never took effect. What
// this changes in months charged already is charged or taken back at once,
// paid or not; months whose cut has gone by are charged now, later ones by
// their cuts. The account must be whole.
func (a *Account) Enrol(p *Policy, day calendar.Date, mrn, plan string, t Terms) error {
	a.mustBeWhole()
	if _, err := t.check(); err != nil {
		return err
	}
	a.noteMissed(p, day)
	a.settleFed(day, mrn, func() { a.enrol(p, day, mrn, plan, t) })
	a.startPremiums()
	a.useCredit(p, day)
	a.lookAgain()
	return nil
}

func (a *Account) enrol(p *Policy, day calendar.Date, mrn, plan string, t Terms) {
	var own *Coverage
	for _, c := range a.Coverages {
		switch {
		case c.MRN != mrn || c.Plan != plan:
		case c.StartOn == t.StartOn:
			own = c
		case c.void() || t.EndOn == t.StartOn-1:
		case c.StartOn < t.StartOn && (c.EndOn.IsZero() || c.EndOn >= t.StartOn):
			a.amend(p, day, c, Terms{c.StartOn, t.StartOn - 1, c.MonthlyCents, c.APTCCents, c.PaidThrough})
		case c.StartOn > t.StartOn && (t.EndOn.IsZero() || c.StartOn <= t.EndOn):
			a.amend(p, day, c, Terms{c.StartOn, c.StartOn - 1, c.MonthlyCents, c.APTCCents, c.PaidThrough})
			c.LapsedOn, c.dirty = 0, true // another has its place, whatever had ended it
		}
	}
	if own == nil {
		own = &Coverage{No: a.doc(), MRN: mrn, Plan: plan, StartOn: t.StartOn, EndOn: t.EndOn, MonthlyCents: t.MonthlyCents, APTCCents: t.APTCCents, PaidThrough: t.PaidThrough, dirty: true}
		own.ChargedTo = calendar.CycleOf(t.StartOn) - 1
		if t.PaidThrough >= t.StartOn {
			own.ChargedTo = calendar.CycleOf(t.PaidThrough)
			own.EndOn = t.PaidThrough
			a.Coverages = append(a.Coverages, own)
			a.amend(p, day, own, t) // the rest of a month that is paid in part
		} else {
			a.Coverages = append(a.Coverages, own)
		}
	} else {
		a.amend(p, day, own, t)
		own.LapsedOn = 0
	}
	own.SaidEnd, own.dirty = t.EndOn, true
	a.chargePassed(p, day, own)
}

// EndCoverage says the last day on which a member is covered by a plan. Premiums
// of later days are taken back, paid or not; what an earlier end that was said
// before took back is charged again.
func (a *Account) EndCoverage(p *Policy, day calendar.Date, mrn, plan string, end calendar.Date) error {
	a.mustBeWhole()
	var own []*Coverage
	for _, c := range a.Coverages {
		if c.MRN == mrn && c.Plan == plan {
			own = append(own, c)
		}
	}
	if len(own) == 0 {
		return fmt.Errorf("MRN %s has no coverage by plan %q that could end", mrn, plan)
	}
	ended := endedAsSaid(own)
	for _, c := range own {
		until := end
		for _, next := range own {
			if next.StartOn > c.StartOn && (!next.void() || slices.Contains(ended, next)) {
				until = min(until, next.StartOn-1)
			}
		}
		switch {
		case a.endPeriod(p, day, c, end):
			c.SaidEnd = c.EndOn
		case slices.Contains(ended, c) && until > c.EndOn:
			a.settleFed(day, mrn, func() {
				a.amend(p, day, c, Terms{c.StartOn, until, c.MonthlyCents, c.APTCCents, c.PaidThrough})
				a.chargePassed(p, day, c)
			})
			a.startPremiums()
			c.SaidEnd = end
		}
	}
	a.useCredit(p, day)
	a.lookAgain()
	return nil
}

// endedAsSaid returns the periods of a plan that end with the day on which
// enrolment said that all ends, and those that this day took back whole.
func endedAsSaid(own []*Coverage) (ended []*Coverage) {
	var last calendar.Date
	for _, c := range own {
		if c.EndOn.IsZero() {
			return nil
		}
		if !c.void() {
			last = max(last, c.EndOn)
		}
	}
	for _, c := range own {
		if c.EndOn == c.SaidEnd && c.EndOn >= last && c.LapsedOn.IsZero() {
			ended = append(ended, c)
		}
	}
	return ended
}

// endPeriod ends a period with a day, or takes it back if it begins later. It
// says whether that changed anything.
func (a *Account) endPeriod(p *Policy, day calendar.Date, c *Coverage, end calendar.Date) bool {
	if end = max(end, c.StartOn-1); !c.EndOn.IsZero() && c.EndOn <= end {
		return false
	}
	a.noteMissed(p, day)
	a.settleFed(day, c.MRN, func() {
		a.amend(p, day, c, Terms{c.StartOn, end, c.MonthlyCents, c.APTCCents, c.PaidThrough})
	})
	a.startPremiums()
	return true
}

// amend gives a period other terms and settles the difference in every month
// that was charged.
func (a *Account) amend(p *Policy, day calendar.Date, c *Coverage, t Terms) {
	was := *c
	c.EndOn, c.MonthlyCents, c.APTCCents, c.PaidThrough, c.dirty = t.EndOn, t.MonthlyCents, t.APTCCents, max(c.PaidThrough, t.PaidThrough), true
	for m := calendar.CycleOf(c.StartOn); m <= c.ChargedTo; m++ {
		switch now, then := c.Premium(m), was.Premium(m); {
		case a.isFed(c, m): // settleFed sees to it
		case now > then:
			a.chargePremium(p, c, m, now-then, day, day)
		case now < then:
			rest := a.takePremiumBack(day, c, m, then-now)
			if m <= calendar.CycleOf(was.PaidThrough) {
				a.credit(day, rest) // it was paid before the account was kept here
			}
		}
	}
}

// chargePassed charges the months of a period whose cut will not come any
// more.
func (a *Account) chargePassed(p *Policy, day calendar.Date, c *Coverage) {
	last := calendar.CycleOf(day)
	if a.cutOn(p, last) >= day {
		last--
	}
	a.chargeTo(p, c, max(last, a.LastCycle), day, day)
}

// chargeTo charges the months of a period that are not charged yet, up to one.
// They arrive on a day (on), and are booked by the run dated day.
func (a *Account) chargeTo(p *Policy, c *Coverage, last calendar.Cycle, on, day calendar.Date) {
	for m := c.ChargedTo + 1; m <= last && (c.EndOn.IsZero() || m.First() <= c.EndOn); m++ {
		if cents := c.Premium(m); cents > 0 && !a.isFed(c, m) {
			a.chargePremium(p, c, m, cents, on, day)
		}
		c.ChargedTo, c.dirty = m, true
	}
}

// addPremiums charges, at the cut of a cycle, the premium of its month, and
// of earlier ones that a hold has kept from being cut.
func (a *Account) addPremiums(p *Policy, cycle calendar.Cycle, cutOn, day calendar.Date) {
	for _, c := range a.Coverages {
		a.chargeTo(p, c, cycle, cutOn, day)
	}
}

// chargePremium adds an unbilled premium, or more of one, for a month.
func (a *Account) chargePremium(p *Policy, c *Coverage, month calendar.Cycle, cents ledger.Cents, on, day calendar.Date) {
	a.startCycles(p, on)
	i := a.addItem(&Item{Kind: Premium, Origin: FromCoverage, State: Unbilled, Cents: cents, ArrivedOn: on, ForCycle: month, ForDoc: c.No,
		Detail: &Detail{MRN: c.MRN, ServiceDate: max(c.StartOn, month.First()), Description: "Premium, " + month.First().Format("January 2006")}})
	i.Entry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: on, What: ledger.Charge, Debit: ledger.Receivable, Credit: ledger.Premiums, Cents: cents, Doc: i.No})
	a.recent[len(a.recent)-1].on = on // a cycle that is cut late bills its own premium
}

// takePremiumBack reverses cents of a month's premium: what is open of it
// first, then what is paid, which becomes credit. It returns what did not
// stand any more (adjusted away before, or never charged here).
func (a *Account) takePremiumBack(day calendar.Date, c *Coverage, month calendar.Cycle, cents ledger.Cents) ledger.Cents {
	return a.takeOff(day, a.made(func(i *Item) bool { return i.Origin == FromCoverage && i.ForDoc == c.No && i.ForCycle == month }), cents)
}

// feedPremium notes that the charge feed has charged a member's premium for a
// month. If a cut has charged that month already, its premium stands, up to
// what the feed says, and is taken off the newcomer: a month is charged once,
// whichever comes first. An account of which a month that the feed tells of may
// have been charged must be whole.
func (a *Account) feedPremium(p *Policy, day calendar.Date, i *Item, mrn string) {
	first := !slices.ContainsFunc(a.fed, func(f fedPremium) bool { return f.mrn == mrn && f.month == i.ForCycle })
	a.fed = append(a.fed, fedPremium{i.No, mrn, i.ForCycle})
	own := a.premiumsOf(mrn, i.ForCycle)
	var standing ledger.Cents
	for _, x := range own {
		standing += x.Cents
	}
	if !first || standing == 0 {
		return
	}
	a.noteMissed(p, day)
	rest := standing - min(standing, i.Cents)
	a.lower(day, i, standing-rest, ledger.Adjustment, ledger.Premiums, i.Entry)
	a.takeOff(day, own, rest)
	a.useCredit(p, day)
	a.lookAgain()
}

// premiumsOf returns the premiums that a member's coverage has made for a
// month.
func (a *Account) premiumsOf(mrn string, month calendar.Cycle) []*Item {
	return a.made(func(i *Item) bool {
		return i.Origin == FromCoverage && i.ForCycle == month && slices.ContainsFunc(a.Coverages, func(c *Coverage) bool { return c.No == i.ForDoc && c.MRN == mrn })
	})
}

// isFed says whether the charge feed has charged a month's premium.
func (a *Account) isFed(c *Coverage, month calendar.Cycle) bool {
	return slices.ContainsFunc(a.fed, func(f fedPremium) bool { return f.mrn == c.MRN && f.month == month })
}

// settleFed makes a change to a member's coverage, and takes back what the
// charge feed has charged for days that are covered no more. More is for the
// feed to charge.
func (a *Account) settleFed(day calendar.Date, mrn string, change func()) {
	then := map[calendar.Cycle]int{}
	for _, f := range a.fed {
		if f.mrn == mrn {
			then[f.month] = a.daysCovered(mrn, f.month)
		}
	}
	change()
	for _, month := range slices.Sorted(maps.Keys(then)) {
		now := a.daysCovered(mrn, month)
		if now >= then[month] {
			continue
		}
		own := append(a.premiumsOf(mrn, month), a.made(func(i *Item) bool { return slices.Contains(a.fed, fedPremium{i.No, mrn, month}) })...)
		var standing ledger.Cents
		for _, i := range own {
			standing += i.Cents
		}
		a.takeOff(day, own, standing-ledger.Prorate(standing, now, then[month]))
	}
}

// daysCovered counts the days of a month on which a member is covered by any
// plan.
func (a *Account) daysCovered(mrn string, month calendar.Cycle) (n int) {
	for day := month.First(); day <= month.Last(); day++ {
		if slices.ContainsFunc(a.Coverages, func(c *Coverage) bool { return c.MRN == mrn && c.Covers(day) }) {
			n++
		}
	}
	return n
}

// made returns the items that were made for something, and what was split
// from them.
func (a *Account) made(of func(*Item) bool) (own []*Item) {
	is := map[int32]bool{}
	for _, i := range a.Items {
		if of(i) || is[i.Parent] && i.Origin != FromAdjustment {
			is[i.No] = true
			own = append(own, i)
		}
	}
	return own
}

// takeOff reverses cents of items: what is open first, then what is paid, the
// newest first. It returns what they did not stand at any more.
func (a *Account) takeOff(day calendar.Date, own []*Item, cents ledger.Cents) ledger.Cents {
	for _, paid := range []bool{false, true} {
		for n := len(own) - 1; n >= 0; n-- {
			i := own[n]
			take := min(cents, i.Open())
			if paid {
				take = min(cents, i.Cents)
			}
			a.lower(day, i, take, ledger.Adjustment, ledger.Premiums, a.entryOf(i))
			cents -= take
		}
	}
	return cents
}

// entryOf returns the journal entry that made an item or the one it was split
// from.
func (a *Account) entryOf(i *Item) int32 {
	if parent := a.item(i.Parent); i.Entry == 0 && parent != nil {
		return parent.Entry
	}
	return i.Entry
}

// credit gives back premium that was paid before the account was kept here.
func (a *Account) credit(day calendar.Date, cents ledger.Cents) {
	if cents == 0 {
		return
	}
	r := a.Receive(day, Receipt{Channel: "opening", Cents: cents, ReceivedOn: day, PostsOn: day})
	r.State, r.PostedOn = Posted, day
	a.pending--
	r.PostedEntry = a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.Adjustment, Debit: ledger.Premiums, Credit: ledger.Receivable, Cents: cents, Doc: r.No})
}

// startPremiums sets the first cycle of an account that nothing was charged to
// yet: the first month whose cut adds a premium.
func (a *Account) startPremiums() {
	if a.LastCycle != 0 {
		return
	}
	first := a.FirstCycle
	if len(a.Items) == 0 {
		first = 0 // what it was set by may have been taken back
	}
	for _, c := range a.Coverages {
		if m := c.ChargedTo + 1; c.Premium(m) > 0 && (first == 0 || m < first) {
			first = m
		}
	}
	if first != a.FirstCycle {
		a.FirstCycle, a.dirty = first, true
	}
}

// coverageOf returns the coverage that an item is the premium of, nil for
// none.
func (a *Account) coverageOf(i *Item) *Coverage {
	if i.Origin != FromCoverage && i.Origin != FromInstallment {
		return nil
	}
	for i != nil {
		for _, c := range a.Coverages {
			if c.No == i.ForDoc {
				return c
			}
		}
		i = a.item(i.Parent)
	}
	return nil
}

// aptcPremium says whether an item is premium that a tax credit goes with. A
// premium from the charge feed is, if the account has such coverage in the
// month of its bill.
func (a *Account) aptcPremium(i *Item) bool {
	if i.Kind != Premium {
		return false
	}
	if c := a.coverageOf(i); c != nil {
		return c.APTCCents > 0
	}
	for _, c := range a.Coverages {
		if c.APTCCents > 0 && !c.void() && c.StartOn <= i.Cycle.Last() && (c.EndOn.IsZero() || c.EndOn >= i.Cycle.First()) {
			return true
		}
	}
	return false
}

// CoverageEnd returns the last day that the account's coverage has, 0 if it
// goes on or there is none.
func (a *Account) CoverageEnd() (end calendar.Date) {
	for _, c := range a.Coverages {
		if c.EndOn.IsZero() {
			return 0
		}
		if !c.void() {
			end = max(end, c.EndOn)
		}
	}
	return end
}

// open says whether a cut may still charge the period.
func (c *Coverage) open() bool {
	return c.EndOn.IsZero() || (c.ChargedTo+1).First() <= c.EndOn
}
