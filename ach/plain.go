package ach

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Most of a build day's debits are plain: the first of the newest bill, on its
// day, from an account on which nothing is pending, held, tried again or about
// to end. Those are chosen and written here, a range at a time, as
// billing.BuildDebits does it account by account; everything else is left to
// that. A test builds random accounts both ways and compares every row.

// plainDebit is an account's debit before it has a trace number and a file.
type plainDebit struct {
	account, method int64
	cycle, docs     int32
	debitOn, dueOn  calendar.Date
	last            *int64 // the account's debit before it
	cents           ledger.Cents
	sec             string
	trace           Trace
	file            int64
}

// savePlain writes plain debits, of which everything is known now.
func savePlain(ctx context.Context, tx pgx.Tx, day calendar.Date, in billing.Range, debits []plainDebit) error {
	if len(debits) == 0 {
		return nil
	}
	var receipts, rows ledger.Copy
	ids, nos, cents := make([]int64, len(debits)), make([]int32, len(debits)), make([]int64, len(debits))
	for i := range debits {
		d := &debits[i]
		no := d.docs + 1
		ids[i], nos[i], cents[i] = d.account, no, int64(d.cents)
		receipts.Row(9).Int64(d.account).Int32(no).Text("ach").Text(billing.Pending).Int64(cents[i]).Int64(cents[i]).Date(d.dueOn).Date(day).Date(d.debitOn)
		rows.Row(14).Int64(d.account).Int32(d.cycle).Int32(0).Int32(no).Int64(cents[i]).Date(day).Date(d.debitOn).Int64(cents[i]).NullInt64(d.last).
			Int64(int64(d.trace)).Text(d.sec).Int64(d.method).Int64(d.file).Text(billing.DebitBuilt)
	}
	if err := receipts.Send(ctx, tx, "receipt", []string{"account_id", "no", "channel", "state", "cents", "unapplied", "received_on", "arrived_on", "posts_on"}); err != nil {
		return err
	}
	if err := rows.Send(ctx, tx, "debit", []string{"account_id", "cycle", "attempt", "receipt", "cents", "built_on", "effective_on", "due_then", "last_before", "trace", "sec", "method_id", "file_id", "state"}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update account a set docs = u.no, pending = a.pending + 1, last_debit_cents = u.cents from unnest($1::bigint[], $2::int[], $3::bigint[]) u(id, no, cents) where a.id = u.id and a.id >= $4 and a.id < $5`,
		ids, nos, cents, in.From, in.To)
	return err
}

// plainDebits chooses the plain debits of a range, by account.
func plainDebits(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range) ([]plainDebit, error) {
	if least, most := p.Widest(lead); least != most {
		return nil, nil // the day on which a debit is built differs from bill to bill
	}
	reach, missed := window(p, day)
	if _, err := tx.Exec(ctx, `set local enable_nestloop = off`); err != nil { // both sides of every join are read once, in order
		return nil, err
	}
	rows, err := tx.Query(ctx, plainSQL, in.From, in.To, reach, missed, day, int64(maxCentsOf(p)))
	if err != nil {
		return nil, err
	}
	var debits []plainDebit
	for rows.Next() {
		r := ledger.ReadRow(rows)
		debits = append(debits, plainDebit{account: r.Int64(), cycle: r.Int32(), docs: r.Int32(), debitOn: r.Date(), dueOn: r.Date(), last: r.NullInt64(),
			method: r.Int64(), sec: secOf[r.Text()], cents: ledger.Cents(r.Int64())})
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `set local enable_nestloop = on`)
	return debits, err
}

const plainSQL = `
	with method as (
		select distinct on (account_id) account_id, id, method, authorized_by, authorized_on, ended_on, debit_from from autopay_method
		where account_id >= $1 and account_id < $2 order by account_id, id desc
	), chosen as materialized (
		select a.id, b.cycle, a.docs, b.debit_on, b.due_on, a.last_debit_cents, m.id as method_id, m.authorized_by
		from account a
		join bill b on b.account_id = a.id and b.cycle = a.last_cycle and b.account_id >= $1 and b.account_id < $2
		join method m on m.account_id = a.id and m.method = 'ach' and m.ended_on is null and m.authorized_on <= $5 and m.debit_from <= b.debit_on
		left join (select distinct account_id from hold where account_id >= $1 and account_id < $2) h on h.account_id = a.id
		left join (select distinct account_id from debit where account_id >= $1 and account_id < $2 and retry_on is not null) y on y.account_id = a.id
		left join (select account_id, cycle from debit where account_id >= $1 and account_id < $2 and attempt = 0 and state <> 'withdrawn') d on d.account_id = a.id and d.cycle = b.cycle
		left join (select account_id, cycle from card_charge where account_id >= $1 and account_id < $2 and attempt = 0) c on c.account_id = a.id and c.cycle = b.cycle
		left join (select subject from exception where job = 'autopay' and code = 'unusable_method' and cleared_on is null) x on x.subject = m.id::text
		where a.id >= $1 and a.id < $2 and a.autopay = 'on' and a.pending = 0 and a.autopay_since <= $5
		and b.debit_on > $4 and b.debit_on <= $3 and b.made_on <= $5 and not b.debit_none
		and h.account_id is null and y.account_id is null and d.account_id is null and c.account_id is null and x.subject is null
	), open as (
		select account_id, sum(cents - paid)::bigint as cents from item where account_id >= $1 and account_id < $2 and state = 'billed' and paid < cents group by account_id
	), credit as (
		select account_id, sum(unapplied)::bigint as cents from receipt where account_id >= $1 and account_id < $2 and state = 'posted' and not guest and unapplied > 0 group by account_id
	)
	select a.id, a.cycle, a.docs, a.debit_on, a.due_on, a.last_debit_cents, a.method_id, a.authorized_by, o.cents - coalesce(k.cents, 0)
	from chosen a join open o on o.account_id = a.id left join credit k on k.account_id = a.id
	where o.cents - coalesce(k.cents, 0) between 1 and $6 order by a.id`
