package billing

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Dormant is credit of a receipt that has lain unused for the years after
// which it counts as unclaimed. It is flagged once.
type Dormant struct {
	Receipt   int32
	AroseOn   calendar.Date
	Cents     ledger.Cents // when it was flagged
	FlaggedOn calendar.Date

	dirty bool
}

// lot is credit of a receipt that arose on a day.
type lot struct {
	on    calendar.Date
	cents ledger.Cents
}

// creditLots says since when each part of a receipt's credit has been there:
// since it posted, or since it came back from an item. What was used or paid
// out was the oldest.
func (a *Account) creditLots(r *Receipt) []lot {
	a.mustBeWhole()
	if r.State != Posted || r.Unapplied == 0 {
		return nil
	}
	lots := []lot{{r.PostedOn, r.Cents}}
	use := func(cents ledger.Cents) {
		for n := range lots {
			take := min(cents, lots[n].cents)
			lots[n].cents -= take
			cents -= take
		}
	}
	for _, al := range a.Allocations {
		if al.Receipt != r.No {
			continue
		}
		if al.Cents > 0 {
			use(al.Cents)
		} else {
			lots = append(lots, lot{al.On, -al.Cents})
		}
	}
	use(r.Refunded)
	return slices.DeleteFunc(lots, func(l lot) bool { return l.cents == 0 })
}

// after returns the same day of a later year; 29 February becomes 1 March.
func after(day calendar.Date, years int) calendar.Date {
	y, m, d := day.Date()
	return calendar.Of(y+years, m, d)
}

// FlagDormant flags the credit that has become dormant and is not flagged yet
// (POLICY section 9), and returns how much that is.
func (a *Account) FlagDormant(p *Policy, day calendar.Date) (total ledger.Cents) {
	years := a.policy(p, day).Dormancy.Years
	for _, r := range a.Receipts {
		fresh := map[calendar.Date]ledger.Cents{}
		for _, l := range a.creditLots(r) {
			if after(l.on, years) <= day && !a.isFlagged(r, l.on) {
				fresh[l.on] += l.cents
			}
		}
		for on, cents := range fresh {
			a.Dormant = append(a.Dormant, &Dormant{Receipt: r.No, AroseOn: on, Cents: cents, FlaggedOn: day, dirty: true})
			total += cents
		}
	}
	slices.SortFunc(a.Dormant, func(x, y *Dormant) int {
		return cmp.Or(cmp.Compare(x.Receipt, y.Receipt), cmp.Compare(x.AroseOn, y.AroseOn))
	})
	return total
}

func (a *Account) isFlagged(r *Receipt, aroseOn calendar.Date) bool {
	return slices.ContainsFunc(a.Dormant, func(d *Dormant) bool { return d.Receipt == r.No && d.AroseOn == aroseOn })
}

// Remit books cents of flagged dormant credit as sent to the state, the oldest
// first, in the month that the policy reports in.
func (a *Account) Remit(p *Policy, day calendar.Date, cents ledger.Cents) error {
	a.mustBeWhole()
	rules := a.policy(p, day).Dormancy
	if m := calendar.CycleOf(day); int(m)%12+1 != rules.ReportMonth {
		_, month := m.Month()
		return fmt.Errorf("dormant credit is remitted in month %d of the year (dormancy.report_month), not in %s", rules.ReportMonth, month)
	}
	able := map[*Receipt]ledger.Cents{}
	var total ledger.Cents
	for _, r := range a.Receipts {
		for _, l := range a.creditLots(r) {
			if a.isFlagged(r, l.on) {
				able[r] += l.cents
				total += l.cents
			}
		}
	}
	if cents <= 0 || cents > total {
		return fmt.Errorf("%s can't be remitted: the credit flagged as dormant is %s", cents, total)
	}
	for _, r := range byArrival(a.Receipts) {
		if take := min(cents, able[r]); take > 0 {
			r.Unapplied -= take
			r.Refunded += take
			r.dirty = true
			cents -= take
			a.book(ledger.Entry{PostedOn: day, EffectiveOn: day, What: ledger.Remittance, Debit: ledger.Receivable, Credit: ledger.Unclaimed, Cents: take, Doc: r.No})
		}
	}
	a.lookAgain()
	return nil
}

// CreditUsed is why credit that was old enough is not flagged.
const CreditUsed = "used_since"

// FlagDormants flags the dormant credit of the range and queues a letter to
// each account that has some, if the policy wants one.
func FlagDormants(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range) (Tally, error) {
	var t Tally
	least, _ := p.Widest(func(p *Policy) int { return p.Dormancy.Years })
	ids, err := ids(ctx, tx, `select distinct r.account_id from receipt r
			left join lateral (select max(arose_on) newest from dormant d where d.account_id = r.account_id and d.receipt = r.no) d on true
		where r.account_id >= $1 and r.account_id < $2 and r.state = 'posted' and r.unapplied > 0 and r.posted_on <= $3
			and (d.newest is null or exists (select from allocation al where al.account_id = r.account_id and al.receipt = r.no and al.cents < 0 and al.on_date > d.newest and al.on_date <= $3))
		order by 1`, r.From, r.To, after(day, -least))
	if err != nil || len(ids) == 0 {
		return t, err
	}
	var letters [][]any
	err = Each(ctx, tx, p.Need(Whole), ids, func(a *Account) {
		cents := a.FlagDormant(p, day)
		if cents == 0 {
			t.Skip(CreditUsed, 1)
			return
		}
		t.Did(1, cents)
		if a.policy(p, day).Dormancy.Letter {
			letters = append(letters, []any{a.ID, "dormant_credit", day, int64(cents)})
		}
	})
	if err != nil {
		return t, err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"letter"}, []string{"account_id", "kind", "queued_on", "cents"}, pgx.CopyFromRows(letters))
	return t, err
}
