package billing_test

import (
	"cmp"
	"slices"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Coverage of one member by one plan, and its grace (section 9), in the model's
// own words, and in its lives.

type modelCover struct {
	start, end    calendar.Date // end 0: until further notice
	said          calendar.Date // end as enrolment said it
	monthly, aptc ledger.Cents
	chargedTo     calendar.Cycle
	lapsedOn      calendar.Date
	taken         []takenBack // by the end of the grace
}

type takenBack struct {
	o     *owed
	cents ledger.Cents
}

func (c *modelCover) never() bool { return !c.end.IsZero() && c.end < c.start }

func (c *modelCover) covers(day calendar.Date) bool {
	return c.start <= day && (c.end.IsZero() || day <= c.end)
}

// premium of a month, by days, half up.
func (c *modelCover) premium(month calendar.Cycle) ledger.Cents {
	days := 0
	for day := month.First(); day <= month.Last(); day++ {
		if c.covers(day) {
			days++
		}
	}
	all := ledger.Cents(month.Days())
	return ((c.monthly-c.aptc)*ledger.Cents(days)*2 + all) / (2 * all)
}

func (o *owed) aptc() bool { return o.cover != nil && o.cover.aptc > 0 }

func (m *model) chargePremium(c *modelCover, month calendar.Cycle, cents ledger.Cents, arrives calendar.Date) {
	if cents > 0 {
		m.add(&owed{kind: billing.Premium, cents: cents, arrived: arrives, origin: billing.FromCoverage, cover: c, month: month}, "charges", arrives)
	}
}

func (m *model) chargeTo(c *modelCover, last calendar.Cycle, arrives calendar.Date) {
	for ; c.chargedTo < last && (c.end.IsZero() || (c.chargedTo+1).First() <= c.end); c.chargedTo++ {
		m.chargePremium(c, c.chargedTo+1, c.premium(c.chargedTo+1), arrives)
	}
}

// takeBack reverses cents of a month's premium: the open first, the newest of it
// first. What does not stand any more is not there to be taken.
func (m *model) takeBack(c *modelCover, month calendar.Cycle, cents ledger.Cents, day calendar.Date) {
	var own []*owed
	for _, o := range m.owed {
		if o.cover == c && o.month == month {
			own = append(own, o)
		}
	}
	slices.SortFunc(own, func(a, b *owed) int { return b.seq - a.seq })
	for _, paid := range []bool{false, true} {
		for _, o := range own {
			take := min(cents, m.open(o))
			if paid {
				take = min(cents, o.cents)
			}
			m.lower(o, take, "adjustments", day)
			cents -= take
		}
	}
}

// change gives a period other terms, and settles the months that were charged.
func (m *model) change(c *modelCover, day, end calendar.Date, monthly, aptc ledger.Cents) {
	was := *c
	c.end, c.monthly, c.aptc = end, monthly, aptc
	for month := calendar.CycleOf(c.start); month <= c.chargedTo; month++ {
		if more := c.premium(month) - was.premium(month); more > 0 {
			m.chargePremium(c, month, more, day)
		} else {
			m.takeBack(c, month, -more, day)
		}
	}
}

// enrol begins a period or amends the one with the same start; it takes the
// place of what it overlaps.
func (m *model) enrol(day, start, end calendar.Date, monthly, aptc ledger.Cents) {
	var own *modelCover
	for _, c := range m.covers {
		switch {
		case c.start == start:
			own = c
		case c.never() || !end.IsZero() && end < start:
		case c.start < start && (c.end.IsZero() || start <= c.end):
			m.change(c, day, start-1, c.monthly, c.aptc)
		case c.start > start && (end.IsZero() || c.start <= end):
			m.change(c, day, c.start-1, c.monthly, c.aptc)
			c.lapsedOn, c.taken = 0, nil
			m.lapsed = m.lastLapse()
		}
	}
	if own == nil {
		own = &modelCover{start: start, end: end, monthly: monthly, aptc: aptc, chargedTo: calendar.CycleOf(start) - 1}
		m.covers = append(m.covers, own)
	} else {
		m.change(own, day, end, monthly, aptc)
		own.lapsedOn, own.taken = 0, nil
		m.lapsed = m.lastLapse()
	}
	own.said = end
	m.chargeGoneBy(own, day)
	m.useCredit()
	m.tick()
}

// chargeGoneBy charges the months whose cut will not come any more.
func (m *model) chargeGoneBy(c *modelCover, day calendar.Date) {
	last := calendar.CycleOf(day)
	if day <= last.CutOn(m.p.Statement.CutDay) {
		last--
	}
	if n := len(m.bills); n > 0 {
		last = max(last, m.bills[n-1].cycle)
	}
	m.chargeTo(c, last, day)
}

// endPeriod ends a period with a day.
func (m *model) endPeriod(c *modelCover, day, end calendar.Date) bool {
	if end = max(end, c.start-1); !c.end.IsZero() && c.end <= end {
		return false
	}
	m.change(c, day, end, c.monthly, c.aptc)
	return true
}

// moveEnd says the last day covered: what goes on longer ends with it, and what
// ended with the day said before goes on up to it.
func (m *model) moveEnd(day, end calendar.Date) {
	said := calendar.Date(0) // so far
	for _, c := range m.covers {
		switch {
		case c.end.IsZero():
			said = end
		case !c.never():
			said = max(said, c.end)
		}
	}
	back := map[*modelCover]bool{}
	for _, c := range m.covers {
		back[c] = said < end && c.end == c.said && c.end >= said && c.lapsedOn.IsZero()
	}
	for _, c := range m.covers {
		if m.endPeriod(c, day, end) {
			c.said = c.end
			continue
		}
		until := end
		for _, next := range m.covers {
			if next.start > c.start && (back[next] || !next.never()) {
				until = min(until, next.start-1)
			}
		}
		if back[c] && c.end < until {
			m.change(c, day, until, c.monthly, c.aptc)
			m.chargeGoneBy(c, day)
			c.said = end
		}
	}
	m.useCredit()
	m.tick()
}

// premiumOpen says whether premium of bills was open at the end of a day: bills
// made after an earlier grace ended and before the day, or one bill that counts.
func (m *model) premiumOpen(day calendar.Date, counts func(o *owed) bool) bool {
	then := m.byReceivedDate(day)
	return slices.ContainsFunc(then.owed, func(o *owed) bool {
		return o.state == billing.Billed && o.kind == billing.Premium && then.open(o) > 0 && counts(o)
	})
}

// graceFrom is the first month of the grace that the account is in on a day, or
// was in when it went by, 0 for none. It lives the days one by one.
func (m *model) graceFrom(day calendar.Date) (from calendar.Cycle) {
	cured := func(e calendar.Date) bool {
		return !m.premiumOpen(e, func(o *owed) bool { made := m.bills[o.bill].madeOn; return m.lapsed < made && made < e })
	}
	interesting := map[calendar.Date]bool{day: true}
	for _, p := range m.paid {
		interesting[p.received], interesting[p.returned] = true, true
	}
	for _, b := range m.bills {
		interesting[b.dueOn] = true
		interesting[(b.cycle + calendar.Cycle(m.p.Grace.APTCMonths) - 1).Last()] = true
	}
	if len(m.bills) == 0 {
		return 0
	}
	var since calendar.Date
	for e := m.bills[0].cutOn; e <= day; e++ {
		if from != 0 && interesting[e] && e > since && e <= (from+calendar.Cycle(m.p.Grace.APTCMonths)-1).Last() && cured(e) {
			from = 0
		}
		for n, b := range m.bills { // the day after the due date tells
			if from == 0 && b.dueOn == e && e < day && b.madeOn > m.lapsed && m.premiumOpen(e, func(o *owed) bool { return o.bill == n && o.aptc() }) {
				from, since = b.cycle, e
			}
		}
	}
	return from
}

// grace is the month of grace on a day, 0 for none, and whether one is over.
func (m *model) grace(day calendar.Date) (from calendar.Cycle, month int, over bool) {
	if from = m.graceFrom(day); from == 0 {
		return 0, 0, false
	}
	over = day > (from + calendar.Cycle(m.p.Grace.APTCMonths) - 1).Last()
	kept := (from + calendar.Cycle(m.p.Grace.CoverageKeptMonths) - 1).Last()
	for _, c := range m.covers {
		if c.aptc > 0 && (c.covers(day) || over && !c.never() && (c.end.IsZero() || c.end > kept)) {
			if over {
				return from, 0, true
			}
			return from, int(calendar.CycleOf(day)-from) + 1, false
		}
	}
	return 0, 0, false
}

// endGrace is one run of the job.
func (m *model) endGrace(day calendar.Date) {
	m.revive(day)
	from, _, over := m.grace(day)
	if !over {
		return
	}
	for _, c := range m.covers {
		before := map[*owed]ledger.Cents{}
		for _, o := range m.owed {
			before[o] = o.cents
		}
		if c.aptc == 0 || c.never() || !m.endPeriod(c, day, (from+calendar.Cycle(m.p.Grace.CoverageKeptMonths)-1).Last()) {
			continue
		}
		c.lapsedOn, m.lapsed, c.taken = day, day, nil
		for o, cents := range before {
			if o.cents < cents {
				c.taken = append(c.taken, takenBack{o, cents - o.cents})
			}
		}
	}
	m.useCredit()
	m.tick()
}

// revive gives back what a grace has ended that was cured by money of which we
// heard later.
func (m *model) revive(day calendar.Date) {
	for _, c := range m.covers {
		if c.lapsedOn.IsZero() || !m.wasCured(c, true) || m.wasCured(c, false) {
			continue
		}
		end := c.said
		for _, next := range m.covers {
			if next.start > c.start && !next.never() && (end.IsZero() || end >= next.start) {
				end = next.start - 1
			}
		}
		m.change(c, day, end, c.monthly, c.aptc)
		m.chargeGoneBy(c, day)
		c.lapsedOn, c.taken = 0, nil
		m.lapsed = m.lastLapse()
	}
	m.useCredit()
	m.tick()
}

// lastLapse is the day on which a grace last ended coverage that is still ended.
func (m *model) lastLapse() (last calendar.Date) {
	for _, c := range m.covers {
		last = max(last, c.lapsedOn)
	}
	return last
}

// wasCured says whether the grace that ended a period had been cured, as far as
// we know now, or as far as money goes that we knew of then.
func (m *model) wasCured(c *modelCover, now bool) bool {
	known, end, lapsed := m.paid, c.end, m.lapsed
	m.lapsed, c.end = 0, c.said
	for _, x := range m.covers {
		if x.lapsedOn != c.lapsedOn {
			m.lapsed = max(m.lapsed, x.lapsedOn)
		}
	}
	if !now {
		m.paid = slices.DeleteFunc(slices.Clone(known), func(p *paid) bool {
			return p.received < c.lapsedOn && !p.dropped && p.returned.IsZero() && (p.pending() || max(p.arrived, p.posted) >= c.lapsedOn)
		})
	}
	for _, t := range c.taken {
		t.o.cents += t.cents
	}
	_, _, over := m.grace(c.lapsedOn)
	for _, t := range c.taken {
		t.o.cents -= t.cents
	}
	m.paid, m.lapsed, c.end = known, lapsed, end
	return !over
}

func (l *life) cover() error {
	start := l.day + calendar.Date(rapid.SampledFrom([]int{-70, -31, -9, 0, 0, 1, 20, 45}).Draw(l.T, "start"))
	if rapid.Bool().Draw(l.T, "first of the month") {
		start = calendar.CycleOf(start).First()
	}
	if n := len(l.m.covers); n > 0 && l.odds("the same period", 40) {
		start = l.m.covers[rapid.IntRange(0, n-1).Draw(l.T, "period")].start
	}
	end := cmp.Or(calendar.Date(rapid.SampledFrom([]int{0, 0, 0, 20, 90}).Draw(l.T, "lasts")), 0)
	if end != 0 {
		end += start
	}
	monthly := l.cents("monthly", 45000, 31000, 3000)
	aptc := min(monthly, l.cents("tax credit", 0, 20000, 20000, 31000))
	if aptc == monthly {
		aptc = 0
	}
	l.tell("covered from %s to %s, %d less %d", start, end, monthly, aptc)
	l.m.enrol(l.day, start, end, monthly, aptc)
	return l.change(billing.Whole, func(a *billing.Account) error {
		return a.Enrol(&l.p, l.day, l.mrn(), "plan", billing.Terms{StartOn: start, EndOn: end, MonthlyCents: monthly, APTCCents: aptc})
	})
}

func (l *life) mrn() string { return l.a.MRN }

func (l *life) endCover() error {
	if len(l.m.covers) == 0 {
		return nil
	}
	end := l.day + calendar.Date(rapid.SampledFrom([]int{-60, -10, 0, 10, 40}).Draw(l.T, "ends"))
	l.tell("coverage ends %s", end)
	l.m.moveEnd(l.day, end)
	return l.change(billing.Whole, func(a *billing.Account) error { return a.EndCoverage(&l.p, l.day, l.mrn(), "plan", end) })
}

func (l *life) agreeOnCoverage() {
	l.same("periods", ledger.Cents(len(l.m.covers)), ledger.Cents(len(l.a.Coverages)))
	for n, c := range l.m.covers {
		got := l.a.Coverages[n]
		if got.StartOn != c.start || got.EndOn != c.end || got.ChargedTo != c.chargedTo || got.LapsedOn != c.lapsedOn {
			l.disagree("coverage", *c, *got)
		}
	}
	if l.a.Relook && l.day%5 != 0 { // it is slow: not at every step
		return
	}
	from, month, over := l.m.grace(l.day)
	want := billing.Grace{Month: month, Over: over}
	if month != 0 || over {
		want.From = from
	}
	if got := l.a.PremiumGrace(&l.p, l.day); got != want {
		l.disagree("grace", want, got)
	}
}
