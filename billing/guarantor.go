package billing

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// A member may get another guarantor. What was charged stays with the former
// one, who owes it; what a cut has still to charge goes along.

// move is a member whose account changes, with coverage that a cut may charge.
type move struct {
	mrn      string
	from, to int64
}

// movesAhead finds the members of the file who are about to change accounts.
func (in *intake) movesAhead(ctx context.Context) ([]move, error) {
	rows, err := in.tx.Query(ctx, `select m.mrn, m.account_id, a.id from feed_member f join member m on m.mrn = f.mrn join account a on a.mrn = f.guarantor
		where m.account_id <> a.id and exists (select from coverage c where c.account_id = m.account_id and c.mrn = m.mrn and c.open) order by f.line`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m move, err error) {
		err = row.Scan(&m.mrn, &m.from, &m.to)
		return m, err
	})
}

// carryCoverage takes the members' coverage along to their new accounts.
func (in *intake) carryCoverage(ctx context.Context, moves []move) error {
	for some := range slices.Chunk(moves, chunkRows/10) {
		var ids []int64
		for _, m := range some {
			ids = append(ids, m.from, m.to)
		}
		slices.Sort(ids)
		book, err := Load(ctx, in.tx, Whole, slices.Compact(ids)...)
		if err != nil {
			return err
		}
		var gone moved
		for _, m := range some {
			if err := in.carry(book.Account(m.from), book.Account(m.to), m.mrn, &gone); err != nil {
				return err
			}
		}
		if _, err := in.tx.Exec(ctx, `delete from coverage c using unnest($1::bigint[], $2::int[]) u(account, no) where c.account_id = u.account and c.no = u.no`, gone.accounts, gone.nos); err != nil {
			return err
		}
		if err := book.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// moved are periods of which nothing stays on an account.
type moved struct {
	accounts []int64
	nos      []int32
}

// carry ends a member's open periods on one account with the months that are
// charged, by a cut or by the feed, and goes on with them on another.
func (in *intake) carry(from, to *Account, mrn string, gone *moved) error {
	for _, c := range slices.Clone(from.Coverages) {
		if c.MRN != mrn || !c.open() {
			continue
		}
		next := c.ChargedTo + 1
		for _, f := range from.fed {
			if f.mrn == mrn {
				next = max(next, f.month+1)
			}
		}
		rest := Terms{StartOn: max(c.StartOn, next.First()), EndOn: c.EndOn, MonthlyCents: c.MonthlyCents, APTCCents: c.APTCCents}
		switch {
		case !rest.EndOn.IsZero() && rest.EndOn < rest.StartOn: // the feed has charged all of it
			continue
		case rest.StartOn == c.StartOn:
			from.Coverages = slices.DeleteFunc(from.Coverages, func(x *Coverage) bool { return x == c })
			gone.accounts, gone.nos = append(gone.accounts, from.ID), append(gone.nos, c.No)
		default:
			c.EndOn, c.dirty = rest.StartOn-1, true
		}
		if err := to.Enrol(in.Policy, in.Day, mrn, c.Plan, rest); err != nil {
			return err
		}
		to.periodFrom(mrn, c.Plan, rest.StartOn).SaidEnd = c.SaidEnd
	}
	from.startPremiums()
	return nil
}

// periodFrom returns a member's period that begins on a day, nil for none.
func (a *Account) periodFrom(mrn, plan string, start calendar.Date) *Coverage {
	for _, c := range a.Coverages {
		if c.MRN == mrn && c.Plan == plan && c.StartOn == start {
			return c
		}
	}
	return nil
}

// enrolMoved carries out terms of a period that a former guarantor's account
// began to pay, and that another goes on with: to each its part.
func (in *intake) enrolMoved(former, now *Account, c *coverageRow) error {
	own := former.periodFrom(c.mrn, c.plan, c.terms.StartOn)
	last := own.EndOn
	theirs, ours := c.terms, c.terms
	if theirs.EndOn.IsZero() || theirs.EndOn > last {
		theirs.EndOn = last
	}
	if ours.StartOn = last + 1; !ours.EndOn.IsZero() {
		ours.EndOn = max(ours.EndOn, last)
	}
	if err := former.Enrol(in.Policy, in.Day, c.mrn, c.plan, theirs); err != nil {
		return err
	}
	own.SaidEnd = c.terms.EndOn
	if now.periodFrom(c.mrn, c.plan, ours.StartOn) == nil && ours.EndOn == last {
		return nil
	}
	return now.Enrol(in.Policy, in.Day, c.mrn, c.plan, ours)
}
