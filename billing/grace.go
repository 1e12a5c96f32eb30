package billing

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why a grace run leaves an account's coverage as it is.
const (
	PremiumPaid      = "premium_paid"
	GraceClaimsPaid  = "grace_claims_paid"
	GraceClaimsPends = "grace_claims_pended"
)

// Grace is where an account with advance tax credits stands whose premium is
// unpaid (POLICY section 9; 45 CFR 156.270).
type Grace struct {
	From  calendar.Cycle // its first month, 0 for no grace
	Month int            // 1 is the first; 0 for no grace
	Over  bool           // its last day has gone by, uncured
}

// PremiumGrace says where the account stands on a day: not what a run has
// noted, but what follows from its bills and from the days on which its money
// was received. The account must be whole.
func (a *Account) PremiumGrace(p *Policy, day calendar.Date) Grace {
	a.mustBeWhole()
	var lapsed calendar.Date // what was due before an earlier grace ended counts no more
	for _, c := range a.Coverages {
		lapsed = max(lapsed, c.LapsedOn)
	}
	var from calendar.Cycle
	var due calendar.Date // of its first month
	for _, b := range a.Bills {
		if b.MadeOn <= lapsed || b.DueOn >= day {
			continue
		}
		if from != 0 && !a.cured(p, lapsed, due, min(b.DueOn, a.graceOf(p, from).lastDay(from))) {
			continue
		}
		if from = 0; a.aptcUnpaid(p, b) {
			from, due = b.Cycle, b.DueOn
		}
	}
	if from == 0 || a.cured(p, lapsed, due, min(day, a.graceOf(p, from).lastDay(from))) {
		return Grace{}
	}
	rules := a.graceOf(p, from)
	g := Grace{From: from, Month: int(calendar.CycleOf(day)-from) + 1, Over: day > rules.lastDay(from)}
	if !slices.ContainsFunc(a.Coverages, func(c *Coverage) bool {
		return c.APTCCents > 0 && (c.Covers(day) || g.Over && !c.void() && (c.EndOn.IsZero() || c.EndOn > rules.coveredTo(from)))
	}) {
		return Grace{}
	}
	if g.Over {
		g.Month = 0
	}
	return g
}

// GraceDays returns the last day of a grace, and the last day covered if it ends
// uncured.
func (a *Account) GraceDays(p *Policy, g Grace) (last, coveredTo calendar.Date) {
	rules := a.graceOf(p, g.From)
	return rules.lastDay(g.From), rules.coveredTo(g.From)
}

// graceOf is how a grace runs that began with a month: as the policy says that
// decides for that month's bill.
func (a *Account) graceOf(p *Policy, from calendar.Cycle) GracePolicy {
	if b := a.bill(from); b != nil {
		return p.of(b).Grace
	}
	return p.Grace
}

// lastDay is the last day of a grace, coveredTo the last day covered if it
// ends uncured.
func (g GracePolicy) lastDay(from calendar.Cycle) calendar.Date {
	return (from + calendar.Cycle(g.APTCMonths) - 1).Last()
}

func (g GracePolicy) coveredTo(from calendar.Cycle) calendar.Date {
	return (from + calendar.Cycle(g.CoverageKeptMonths) - 1).Last()
}

// aptcUnpaid says whether premium that a bill was the first to bill was unpaid
// on its due date, by the days on which money was received.
func (a *Account) aptcUnpaid(p *Policy, b *Bill) bool {
	if !slices.ContainsFunc(a.Items, func(i *Item) bool { return i.Cycle == b.Cycle && a.aptcPremium(i) }) {
		return false
	}
	r := newReplay(a, p, b.DueOn)
	r.play()
	return slices.ContainsFunc(r.items, func(copied *Item) bool {
		return copied.Cycle == b.Cycle && copied.Open() > 0 && a.aptcPremium(a.item(copied.No))
	})
}

// cured says whether on some day after one and up to another no billed premium
// was open: what was billed by then, before that day's cut, by the money
// received by then.
func (a *Account) cured(p *Policy, lapsed, after, until calendar.Date) bool {
	if until <= after {
		return false // a short grace of a month whose due date is past its end
	}
	days := []calendar.Date{until}
	for _, r := range a.Receipts {
		days = append(days, r.ReceivedOn)
		if r.State == Returned {
			days = append(days, r.EndedOn) // what others had left pays what it opens again
		}
	}
	days = slices.DeleteFunc(days, func(day calendar.Date) bool { return day <= after || day > until })
	slices.Sort(days)
	for _, day := range slices.Compact(days) {
		r := newReplay(a, p, day)
		r.play()
		if !slices.ContainsFunc(r.items, func(i *Item) bool { return i.Kind == Premium && lapsed < i.MadeOn && i.MadeOn < day && i.Open() > 0 }) {
			return true
		}
	}
	return false
}

// EndGrace ends coverage whose grace is over: with the last day of the month
// up to which it is kept. Later premiums are taken back, paid or not. It
// returns how much, and the standing it found.
func (a *Account) EndGrace(p *Policy, day calendar.Date) (reversed ledger.Cents, found Grace) {
	if found = a.PremiumGrace(p, day); !found.Over {
		return 0, found
	}
	before := a.Figures().Ledger
	for _, c := range a.Coverages {
		if c.APTCCents > 0 && !c.void() && a.endPeriod(p, day, c, a.graceOf(p, found.From).coveredTo(found.From)) {
			c.LapsedOn, c.dirty = day, true
		}
	}
	a.useCredit(p, day)
	a.lookAgain()
	return before - a.Figures().Ledger, found
}

// ReviveCoverage undoes EndGrace where money has come to light since that was
// received in time: payments count by received date, whenever we heard of them.
// The premiums that were taken back are charged again, for the next cut. It
// returns how much. The account must be whole.
func (a *Account) ReviveCoverage(p *Policy, day calendar.Date) (charged ledger.Cents) {
	before := a.Figures().Ledger
	for _, c := range slices.Clone(a.Coverages) {
		if c.LapsedOn.IsZero() || c.MonthlyCents == 0 || !a.curedByNews(p, c.LapsedOn) {
			continue
		}
		t := Terms{c.StartOn, a.endUnlapsed(c), c.MonthlyCents, c.APTCCents, c.PaidThrough}
		if t.EndOn.IsZero() || t.EndOn > c.EndOn { // else another has taken its place
			a.settleFed(day, c.MRN, func() {
				a.amend(p, day, c, t)
				a.chargePassed(p, day, c)
			})
		}
		c.LapsedOn, c.dirty = 0, true
	}
	a.startPremiums()
	a.useCredit(p, day)
	a.lookAgain()
	return a.Figures().Ledger - before
}

// endUnlapsed is the day with which a period ends if no grace has ended it: the
// day that enrolment said, and before what followed.
func (a *Account) endUnlapsed(c *Coverage) calendar.Date {
	end := c.SaidEnd
	for _, next := range a.Coverages {
		if next.MRN == c.MRN && next.Plan == c.Plan && next.StartOn > c.StartOn && !next.void() && (end.IsZero() || end >= next.StartOn) {
			end = next.StartOn - 1
		}
	}
	return end
}

// curedByNews says whether a grace that ended coverage on a day was cured by
// money of which we have heard since, and by nothing else.
func (a *Account) curedByNews(p *Policy, lapsedOn calendar.Date) bool {
	isNews := func(r *Receipt) bool {
		return r.ReceivedOn < lapsedOn && (r.State == Pending || r.State == Posted && max(r.ArrivedOn, r.PostedOn) >= lapsedOn)
	}
	if !slices.ContainsFunc(a.Receipts, isNews) {
		return false
	}
	then := a.asBeforeLapse(lapsedOn)
	if then.PremiumGrace(p, lapsedOn).Over {
		return false
	}
	then.Receipts = slices.DeleteFunc(slices.Clone(a.Receipts), isNews)
	return then.PremiumGrace(p, lapsedOn).Over
}

// asBeforeLapse is the account with the coverage and the premiums that the end
// of a grace took away on a day, to look at, not to change.
func (a *Account) asBeforeLapse(lapsedOn calendar.Date) *Account {
	then := *a
	then.Coverages, then.Items = nil, make([]*Item, len(a.Items))
	for n, i := range a.Items {
		item := *i
		then.Items[n] = &item
	}
	for _, c := range a.Coverages {
		now := *c
		if c.LapsedOn == lapsedOn {
			now.LapsedOn, now.EndOn = 0, c.SaidEnd
		}
		then.Coverages = append(then.Coverages, &now)
	}
	for _, c := range a.Coverages {
		whole := *c // but for what another has taken the place of
		whole.EndOn = a.endUnlapsed(c)
		for m := calendar.CycleOf(c.StartOn); c.LapsedOn == lapsedOn && m <= c.ChargedTo; m++ {
			taken := whole.Premium(m) - c.Premium(m)
			for _, i := range slices.Backward(then.Items) { // the one that billed it, not what was split off
				if taken > 0 && i.Origin == FromCoverage && i.ForDoc == c.No && i.ForCycle == m {
					i.Cents, taken = i.Cents+taken, 0
				}
			}
		}
	}
	return &then
}

// EndGraces ends the coverage of the range's accounts whose grace is over,
// gives back what money received in time has saved after all, and counts where
// the others stand.
func EndGraces(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range) (Tally, error) {
	var t Tally
	if err := reviveCoverage(ctx, tx, p, day, r, &t); err != nil {
		return t, err
	}
	_, most := p.Widest(func(p *Policy) int { return p.Grace.APTCMonths })
	window := day - calendar.Date(31*(most+2)) // no grace that is still to be ended began before
	var covered int64
	if err := tx.QueryRow(ctx, `select count(distinct account_id) from coverage where aptc_cents > 0 and lapsed_on is null and (end_on is null or end_on >= $1) and account_id >= $2 and account_id < $3`,
		window, r.From, r.To).Scan(&covered); err != nil || covered == 0 {
		return t, err
	}
	ids, err := unpaidInTime(ctx, tx, day, window, r)
	if err != nil {
		return t, err
	}
	t.Skip(PremiumPaid, covered-int64(len(ids)))
	err = Each(ctx, tx, p.Need(Whole), ids, func(a *Account) {
		switch reversed, g := a.EndGrace(p, day); {
		case g.Over:
			t.Did(1, reversed)
		case g.Month == 0:
			t.Skip(PremiumPaid, 1)
		case g.Month <= a.graceOf(p, g.From).ClaimsPaidMonths:
			t.Pass(a.ID, GraceClaimsPaid, "")
		default:
			t.Pass(a.ID, GraceClaimsPends, "")
		}
	})
	return t, err
}

// unpaidInTime returns the accounts with premium that is open past its due
// date, or was paid after it: only those need a closer look.
func unpaidInTime(ctx context.Context, tx pgx.Tx, day, window calendar.Date, r Range) ([]int64, error) {
	return ids(ctx, tx, `select account_id from (
			select distinct account_id from coverage where aptc_cents > 0 and lapsed_on is null and (end_on is null or end_on >= $1) and account_id >= $2 and account_id < $3) c
		where exists (select from item i join bill b on b.account_id = i.account_id and b.cycle = i.cycle
				where i.account_id = c.account_id and i.kind = 'premium' and i.state = 'billed' and i.paid < i.cents and b.due_on < $4)
			or exists (select from item i join bill b on b.account_id = i.account_id and b.cycle = i.cycle join allocation al on al.account_id = i.account_id and al.item = i.no
				where i.account_id = c.account_id and i.kind = 'premium' and b.due_on >= $1 and b.due_on < $4 and al.on_date > b.due_on)
		order by 1`, window, r.From, r.To, day)
}

// reviveCoverage looks at accounts whose coverage ended after a grace, and on
// which money received before that has arrived or posted lately.
func reviveCoverage(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range, t *Tally) error {
	ids, err := ids(ctx, tx, `select distinct c.account_id from coverage c join receipt x on x.account_id = c.account_id and x.received_on < c.lapsed_on
		where c.lapsed_on is not null and c.account_id >= $1 and c.account_id < $2 and x.state in ('pending', 'posted')
		and greatest(x.arrived_on, x.posted_on) >= greatest(c.lapsed_on, $3) order by 1`, r.From, r.To, day-31)
	if err != nil {
		return err
	}
	return Each(ctx, tx, p.Need(Whole), ids, func(a *Account) {
		if charged := a.ReviveCoverage(p, day); charged > 0 {
			t.Did(1, -charged)
		}
	})
}
