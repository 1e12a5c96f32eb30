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
	err = byRange(ctx, tx, func() error {
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
		with money as materialized (
			select account_id, state, unapplied, cents from receipt where account_id >= $1 and account_id < $2 and (state = 'pending' or unapplied > 0)
		), calm as materialized (
			select a.id, a.entries, b.balance as previous, b.deadline_on as prev_deadline, coalesce(b.entries, 0) as taken
			from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle and b.account_id >= $1 and b.account_id < $2
			where a.id >= $1 and a.id < $2 and a.id > 0 and a.first_cycle <> 0 and greatest(a.first_cycle, a.last_cycle + 1) = $3 and a.autopay = 'off' and not a.replay
			and a.id not in (select account_id from hold where account_id >= $1 and account_id < $2 and (released_on is null or released_on > $4))
			and a.id not in (select account_id from coverage where account_id >= $1 and account_id < $2 and open)
			and a.id not in (select account_id from plan where account_id >= $1 and account_id < $2 and state = 'running')
			and a.id not in (select account_id from money where state = 'posted')
		), recent as (
			select j.account_id, j.what, least(j.cents, 2147483647)::int * case j.debit when 'receivable' then 1 else -1 end as cents
			from calm join journal_at_hand j on j.account_id = calm.id and j.no > calm.taken
			where j.account_id >= $1 and j.account_id < $2 and (j.debit = 'receivable' or j.credit = 'receivable')
		), moved as materialized (
			select account_id, coalesce(sum(cents) filter (where what = any($9)), 0) as previous, coalesce(sum(cents) filter (where what = any($10)), 0) as payments,
				coalesce(sum(cents) filter (where what = any($11)), 0) as adjustments, coalesce(sum(cents) filter (where what = any($12)), 0) as charges,
				coalesce(sum(cents) filter (where what = any($13)), 0) as fees, max(abs(cents)) as largest
			from recent group by account_id
		), standing as (
			select account_id, state, kind, origin, least(cents - paid, 2147483647)::int as open, case state when 'billed' then $4 - billed_on else 0 end as age
			from item where account_id >= $1 and account_id < $2 and (paid < cents or state = 'unbilled')
		), owed as materialized (
			select account_id, coalesce(sum(open) filter (where state in ('unbilled', 'billed')), 0) as due,
				coalesce(sum(open) filter (where state = 'billed' and age >= ($8::int[])[1] and age < ($8::int[])[2]), 0) as aging_30,
				coalesce(sum(open) filter (where state = 'billed' and age >= ($8::int[])[2] and age < ($8::int[])[3]), 0) as aging_60,
				coalesce(sum(open) filter (where state = 'billed' and age >= ($8::int[])[3]), 0) as aging_90,
				coalesce(sum(open) filter (where state = 'unbilled' and kind <> 'fee' and origin <> 'installment'), 0) as base, max(open) as largest, bool_or(state in ('disputed', 'deferred')) as set_aside
			from standing group by account_id
		), pending as (
			select account_id, sum(cents)::bigint as cents from money where state = 'pending' group by account_id
		), plain as materialized (
			select calm.*, m.previous as brought, m.payments, m.adjustments, m.charges, m.fees, o.due, o.aging_30, o.aging_60, o.aging_90, coalesce(o.base, 0) as base, p.cents as pending
			from calm left join moved m on m.account_id = calm.id left join owed o on o.account_id = calm.id left join pending p on p.account_id = calm.id
			where coalesce(m.largest, 0) < 2147483647 and coalesce(o.largest, 0) < 2147483647 and not coalesce(o.set_aside, false)
		), close as (
			update item i set state = 'billed', cycle = $3, billed_on = $4, made_on = $5 from plain p where i.account_id = p.id and i.state = 'unbilled' and i.account_id >= $1 and i.account_id < $2
		), count as (
			update account a set last_cycle = $3, base = p.base from plain p where a.id = p.id and a.id >= $1 and a.id < $2
		), made as (
			insert into bill (account_id, cycle, cut_on, made_on, due_on, deadline_on, debit_on, prev_deadline, entries, previous, payments, adjustments, charges, fees, balance,
				amount_due, pending, disputed, deferred, aging_current, aging_30, aging_60, aging_90)
			select id, $3, $4, $5, $6, $7, $6, prev_deadline, entries, coalesce(previous, 0) + coalesce(brought, 0), coalesce(payments, 0), coalesce(adjustments, 0), coalesce(charges, 0), coalesce(fees, 0),
				coalesce(previous, 0) + coalesce(brought + payments + adjustments + charges + fees, 0),
				coalesce(due, 0), coalesce(pending, 0), 0, 0, coalesce(due - aging_30 - aging_60 - aging_90, 0), coalesce(aging_30, 0), coalesce(aging_60, 0), coalesce(aging_90, 0)
			from plain returning account_id, amount_due
		)
		select account_id, amount_due from made order by account_id`

// byAccount merges bills in the order of their accounts.
func byAccount(a, b []BillRef) []BillRef {
	all := append(a, b...)
	slices.SortStableFunc(all, func(x, y BillRef) int { return int(x.AccountID - y.AccountID) })
	return all
}
