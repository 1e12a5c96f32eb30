package ach

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Most of a build day's debits are plain: the first of the newest bill, on its
// day, from an account on which nothing is pending, held, tried again or about
// to end. Those are made where they lie, by one statement for a whole range, as
// billing.BuildDebits does it account by account; everything else is left to
// that. A test builds random accounts both ways and compares every row.

// plainDebits are what the statement made, and whom it left to the rules.
type plainDebits struct {
	n         int
	cents     ledger.Cents
	low, high int64    // accounts
	by        []string // how they were authorized
	rest      []int64  // accounts that may have a debit to build, by id
}

// everyone is no limit of plain debits.
const everyone = 1 << 30

// makePlain makes the plain debits of a locked range, at most so many, and
// finds the accounts that the rules have to look at. The caller has locked the
// files.
func makePlain(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range, most int) (plainDebits, error) {
	reach, missed := window(p, day)
	if least, widest := p.Widest(lead); least != widest {
		most = 0 // the day on which a debit is built differs from bill to bill
	}
	f := &filling{effective: reach}
	first, free, err := freeTraces(ctx, tx, p.Company.ODFI, day, in.To-in.From)
	if err != nil {
		return plainDebits{}, err
	}
	open, err := openFiles(ctx, tx)
	if err != nil {
		return plainDebits{}, err
	}
	mostEntries, mostCents := fileLimits(p)
	if o := open[reach]; o != nil && o.entries < mostEntries {
		f = o
	}
	most = min(most, free, mostEntries-f.entries)
	var made plainDebits
	args := []any{in.From, in.To, reach, missed, day, int64(min(maxCentsOf(p), math.MaxInt32-1)), most, int64(mostCents - f.cents), int64(first), f.id, int32(calendar.CycleOf(day) - 12)}
	err = byRange(ctx, tx, plainSQL, args, func(row pgx.Row) error {
		return row.Scan(&made.n, &made.cents, &made.low, &made.high, &made.by, &made.rest, &f.id)
	})
	if err != nil || made.n == 0 {
		return made, err
	}
	f.entries += made.n
	f.cents += made.cents
	for _, by := range made.by {
		f.batch(secOf[by], false)
	}
	f.spans(made.low, first)
	f.spans(made.high, first+Trace(made.n-1))
	if err := f.save(ctx, tx); err != nil {
		return made, err
	}
	return made, tookTraces(ctx, tx, first, made.n)
}

// byRange asks for the one row of a statement that works on all of a range. It
// reads both sides of every join once, in order; the planner, who can't know
// how many rows the steps inside will have, would look each up by itself. It
// looks single accounts up by index however small the tables were when it
// planned.
func byRange(ctx context.Context, tx pgx.Tx, sql string, args []any, scan func(pgx.Row) error) error {
	batch := &pgx.Batch{}
	for setting, value := range map[string]string{"enable_nestloop": "off", "enable_seqscan": "off", "plan_cache_mode": "force_custom_plan"} {
		batch.Queue("set local " + setting + " = " + value)
	}
	batch.Queue(sql, args...).QueryRow(scan)
	for _, setting := range []string{"enable_nestloop", "enable_seqscan", "plan_cache_mode"} {
		batch.Queue("set local " + setting + " to default")
	}
	return tx.SendBatch(ctx, batch).Close()
}

// On an account on which nothing was booked and no item moved since its newest
// bill, what that said is what is due; else the open items are added up. Of
// what is found, as many debits are made as there is room for.
const plainSQL = `
	with found as materialized (
		select z.*, cents between 1 and $6::bigint and nth <= $7 and upto <= $8 as made from (
			select y.*, count(*) filter (where cents between 1 and $6) over w as nth, sum(cents) over w as upto from (
				select a.id, a.docs + 1 as no, a.last_debit_cents as last, b.cycle, b.due_on, m.id as method_id, m.authorized_by as by,
					case when a.pending = 0 and a.autopay_since <= $5 and b.debit_on = $3 and b.debit_on > $4 and b.made_on <= $5 and b.cycle >= $11 and m.method = 'ach' and m.ended_on is null and m.authorized_on <= $5 and m.debit_from <= b.debit_on
						and a.id not in (
							select account_id from hold where account_id >= $1 and account_id < $2
							union all select account_id from debit where account_id >= $1 and account_id < $2 and retry_on is not null
							union all select account_id from card_charge where account_id >= $1 and account_id < $2 and attempt = 0 and cycle >= $11
							union all select account_id from card_charge where account_id >= $1 and account_id < $2 and state = 'asked')
						and m.id not in (select subject::bigint from exception where job = 'autopay' and code = 'unusable_method' and cleared_on is null)
					then least(greatest(case when a.entries = b.entries and a.id not in (select account_id from standing where account_id >= $1 and account_id < $2 and item <> 0) then b.amount_due
							else (select coalesce(sum(cents - paid), 0)::bigint from item where account_id = a.id and no >= a.open_from and state = 'billed' and paid < cents)
								- (select coalesce(sum(unapplied), 0)::bigint from receipt where account_id = a.id and no >= a.open_from and state = 'posted' and not guest and unapplied > 0) end, 0), 2147483647)::int
					else 0 end as cents
				from account a
				join bill b on b.account_id = a.id and b.cycle = a.last_cycle and b.account_id >= $1 and b.account_id < $2
				left join (select distinct on (account_id) account_id, id, method, authorized_by, authorized_on, ended_on, debit_from from autopay_method
					where account_id >= $1 and account_id < $2 order by account_id, id desc) m on m.account_id = a.id
				where a.id >= $1 and a.id < $2 and a.autopay = 'on' and b.debit_on <= $3 and not b.debit_none
				and (a.last_debit_cents is null or (select 1 from debit d where d.account_id = a.id and d.cycle = a.last_cycle and d.attempt = 0 and d.state <> 'withdrawn' limit 1) is null)
				order by a.id offset 0
			) y window w as (order by id rows unbounded preceding)
		) z
	), file as (
		insert into ach_file (built_on, effective_on, maker) select $5, $3, 'system' where $10::bigint = 0 and exists (select from found where made) returning id
	), of as materialized (
		select coalesce((select id from file), $10) as id
	), receipts as (
		insert into receipt (account_id, no, channel, state, cents, unapplied, received_on, arrived_on, posts_on)
		select id, no, 'ach', 'pending', cents, cents, due_on, $5, $3 from found where made
	), debits as (
		insert into debit (account_id, cycle, attempt, receipt, cents, built_on, effective_on, due_then, last_before, trace, sec, method_id, file_id, state)
		select id, cycle, 0, no, cents, $5, $3, cents, last, $9::bigint - 1 + nth, case by when 'written' then 'PPD' when 'web' then 'WEB' else 'TEL' end, method_id, (select id from of), 'built' from found where made
	), accounts as (
		update account a set docs = f.no, pending = a.pending + 1, last_debit_cents = f.cents from found f where f.made and a.id = f.id and a.id >= $1 and a.id < $2
	)
	select count(*) filter (where made), coalesce(sum(cents) filter (where made), 0)::bigint, coalesce(min(id) filter (where made), 0), coalesce(max(id) filter (where made), 0),
		coalesce(array_agg(distinct by) filter (where made), '{}'), array(select id from found where not made union select account_id from debit where retry_on <= $3 and account_id >= $1 and account_id < $2 order by 1),
		(select id from of)
	from found`
