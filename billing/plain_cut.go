package billing

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// cutPlain closes the cycle of those accounts of the locked range that have one
// to close, and of which a cut only adds up what stands: nothing to charge, to
// debit, to give or to replay. It returns their bills, by account, and what is
// due on all of them.
func cutPlain(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, in Range) (made []BillRef, due ledger.Cents, err error) {
	if p.selects() { // each account may have days of its own
		return nil, 0, nil
	}
	anybody := &Account{}
	c := calendar.CycleOf(day)
	if anybody.cutOn(p, c) > day {
		c--
	}
	b := Bill{Cycle: c, CutOn: anybody.cutOn(p, c)}
	b.setDays(p)
	rules := p.of(&b).Statement
	err = byLookup(ctx, tx, func() error {
		rows, err := tx.Query(ctx, cutPlainSQL, in.From, in.To, int32(c), b.CutOn, day, b.DueOn, b.DeadlineOn, rules.AgingDays[:],
			ledger.PreviousPart.Whats(), ledger.PaymentsPart.Whats(), ledger.AdjustmentsPart.Whats(), ledger.ChargesPart.Whats(), ledger.FeesPart.Whats())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r := ledger.ReadRow(rows)
			made = append(made, BillRef{r.Int64(), c})
			due += ledger.Cents(r.Int64())
		}
		return rows.Err()
	})
	return made, due, err
}

// Sums are of integers, which PostgreSQL adds up fast; an account with a larger
// amount than they can hold is not plain.
const cutPlainSQL = `
		with calm as materialized (
			select a.id, a.ctid as at, a.docs, a.entries, a.open_from, a.booked_from, b.balance as previous, greatest(b.deadline_on, b.prev_deadline) as prev_deadline, coalesce(b.entries, 0) as taken
			from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			where a.id >= $1 and a.id < $2 and a.id > 0 and a.first_cycle <> 0 and greatest(a.first_cycle, a.last_cycle + 1) = $3 and a.autopay = 'off' and not a.replay
			and a.id not in (select account_id from hold where account_id >= $1 and account_id < $2 and (released_on is null or released_on > $4))
			and a.id not in (select account_id from coverage where account_id >= $1 and account_id < $2 and open)
			and a.id not in (select account_id from plan where account_id >= $1 and account_id < $2 and state = 'running')
		), plain as materialized (
			select calm.*, m.*, o.*, r.cents as pending, least(o.lowest, r.lowest, calm.docs + 1) as now_open_from
			from calm
			cross join lateral (
				select coalesce(sum(open), 0) as due, coalesce(sum(open) filter (where age >= ($8::int[])[1] and age < ($8::int[])[2]), 0) as aging_30,
					coalesce(sum(open) filter (where age >= ($8::int[])[2] and age < ($8::int[])[3]), 0) as aging_60, coalesce(sum(open) filter (where age >= ($8::int[])[3]), 0) as aging_90,
					coalesce(sum(open) filter (where state = 'unbilled' and kind <> 'fee' and origin <> 'installment'), 0) as base,
					max(open) as largest, bool_or(state in ('disputed', 'deferred') and open > 0) as set_aside, min(no) filter (where state <> 'unbilled' or open > 0) as lowest
				from (select no, state, kind, origin, least(cents - paid, 2147483647)::int as open, case state when 'billed' then $4 - billed_on else 0 end as age
					from item where account_id = calm.id and no >= calm.open_from and (paid < cents or state <> 'billed') offset 0) i
			) o
			cross join lateral (
				select coalesce(sum(cents) filter (where state = 'pending'), 0)::bigint as cents, bool_or(state = 'posted') as in_credit, min(no) as lowest
				from receipt where account_id = calm.id and no >= calm.open_from and (state = 'pending' or unapplied > 0)
			) r
			cross join lateral (
				select coalesce(sum(cents) filter (where what = any($9)), 0) as brought, coalesce(sum(cents) filter (where what = any($10)), 0) as payments,
					coalesce(sum(cents) filter (where what = any($11)), 0) as adjustments, coalesce(sum(cents) filter (where what = any($12)), 0) as charges,
					coalesce(sum(cents) filter (where what = any($13)), 0) as fees, max(abs(cents)) as largest_moved
				from (select what, least(cents, 2147483647)::int * case debit when 'receivable' then 1 else -1 end as cents
					from journal_at_hand where account_id = calm.id and no > calm.taken and (debit = 'receivable' or credit = 'receivable')
					and posted_on >= (select min(booked_from) from calm) offset 0) j
			) m
			where coalesce(o.largest, 0) < 2147483647 and coalesce(m.largest_moved, 0) < 2147483647 and not coalesce(o.set_aside, false) and not coalesce(r.in_credit, false)
		), close as (
			update item i set state = 'billed', cycle = $3, billed_on = $4, made_on = $5 from plain p where i.account_id = p.id and i.no >= p.open_from and i.state = 'unbilled'
		), count as (
			update account a set last_cycle = $3, base = p.base, open_from = p.now_open_from, booked_from = null, bill_made = $5, bill_due = $6, bill_until = $7, older_until = p.prev_deadline from plain p where a.ctid = p.at
		), made as (
			insert into bill (account_id, cycle, cut_on, made_on, due_on, deadline_on, debit_on, prev_deadline, entries, previous, payments, adjustments, charges, fees, balance,
				amount_due, pending, disputed, deferred, aging_current, aging_30, aging_60, aging_90)
			select id, $3, $4, $5, $6, $7, $6, prev_deadline, entries, coalesce(previous, 0) + brought, payments, adjustments, charges, fees, coalesce(previous, 0) + brought + payments + adjustments + charges + fees,
				due, pending, 0, 0, due - aging_30 - aging_60 - aging_90, aging_30, aging_60, aging_90
			from plain returning account_id, amount_due
		)
		select account_id, amount_due from made order by account_id`

// inOrder merges bills in the order of their accounts.
func inOrder(a, b []BillRef) []BillRef {
	all := append(a, b...)
	slices.SortStableFunc(all, func(x, y BillRef) int { return int(x.AccountID - y.AccountID) })
	return all
}
