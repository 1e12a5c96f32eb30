package billing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Most of a night is plain: one check for an account on which nothing unusual
// has happened, a bill of which no payment came late. Those are worked on
// where they lie, by one statement for a whole key range; whatever is not
// plain goes through the rules on loaded accounts. The rules are the measure:
// a test holds that both ways leave the same books, row for row.

// postPlain posts the due receipt of each account of the range that has no
// other pending, undirected and the member's own, and that can't touch a late
// fee.
func postPlain(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, in Range) (n int64, cents ledger.Cents, err error) {
	order, since, ok := p.order(day)
	if !ok {
		return 0, 0, nil
	}
	err = byLookup(ctx, tx, func() error {
		return tx.QueryRow(ctx, postPlainSQL, day, in.From, in.To, order, since).Scan(&n, &cents)
	})
	return n, cents, err
}

// order returns the order in which items take money on bills cut since a day (0:
// on all), if it is one for everybody: what is billed otherwise is for the rules.
func (p *Policy) order(day calendar.Date) (order []Kind, since calendar.Date, one bool) {
	order = p.For(day, Subject{}).Allocation.Order
	if p.dated == nil {
		return order, 0, true
	}
	for _, a := range p.dated.list {
		if _, given := a.keys["allocation"]; given && a.from <= day {
			if a.rank() > 0 {
				return nil, 0, false
			}
			since = max(since, a.from)
		}
	}
	return order, since, true
}

// Money runs through a window in the order of POLICY section 5. Its sums are
// of integers that can't overflow: an item larger than any plain check counts
// as much as fits, which takes in the whole check either way. The row on which
// the check ends, or the last, stands for the receipt.
const postPlainSQL = `
		with plain as (
			select a.id, a.ctid as account_at, r.at as receipt_at, a.docs, a.entries + 1 as entry, a.last_cycle, r.no, r.cents, r.received_on, r.channel = 'lockbox' as by_lockbox, a.open_from
			from account a join lateral (
				select no, ctid as at, cents, received_on, channel from receipt
				where account_id = a.id and no >= a.open_from and state = 'pending' and posts_on <= $1 and directed = '' and not guest and channel <> 'opening' and cents < 2147483647
			) r on true
			where a.id >= $2 and a.id < $3 and a.pending = 1
			and (a.bill_until is null or a.bill_until >= $1 and r.received_on > greatest(a.bill_made, a.older_until) and r.received_on <= a.bill_until)
			and ($5::date is null or not exists (select from bill where account_id = a.id and cycle = a.last_cycle and cut_on < $5))
		), open as (
			select p.id, p.account_at, p.receipt_at, p.docs, p.entry, p.no, p.cents, p.received_on, p.by_lockbox, i.no as item, i.at as item_at, i.open, i.in_base, row_number() over inorder as nth, lead(1) over inorder is null as last,
				coalesce(sum(i.open) over inorder, 0) as upto, coalesce(sum(i.open) filter (where i.in_base) over inorder, 0) as base_upto
			from plain p left join lateral (
				select no, ctid as at, kind, cycle, origin = 'installment' as installment, arrived_on, least(cents - paid, 2147483647)::int as open, cycle = p.last_cycle and kind <> 'fee' and origin <> 'installment' as in_base
				from item where account_id = p.id and no >= p.open_from and state = 'billed' and paid < cents
			) i on true
			window inorder as (partition by p.id order by case i.kind when ($4::text[])[1] then 1 when ($4::text[])[2] then 2 else 3 end, i.cycle, i.installment, i.arrived_on, i.no rows unbounded preceding)
		), share as materialized (
			select id, account_at, receipt_at, item_at, entry, no, cents, received_on, by_lockbox, item, least(open, cents - upto + open) as part, docs + case when item is null then 0 else nth end as doc,
				upto >= cents or last as final, greatest(cents - upto, 0) as rest, base_upto - case when in_base then greatest(upto - cents, 0) else 0 end as base
			from open where item is null or upto - open < cents
		), allocate as (
			insert into allocation (account_id, no, receipt, item, cents, on_date) select id, doc, no, item, part, $1 from share where item is not null
		), book as (
			insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc) select id, entry, $1, received_on, 'payment', case when by_lockbox then 'lockbox_pending' else 'cash' end, 'receivable', cents, no from share where final
		), total as (
			insert into journal_total (posted_on, what, debit, credit, entries, cents) select $1, 'payment', case when by_lockbox then 'lockbox_pending' else 'cash' end, 'receivable', count(*), sum(cents) from share where final group by by_lockbox
		), pay as (
			update item i set paid = i.paid + s.part from share s where i.ctid = s.item_at
		), settle as (
			update receipt r set state = 'posted', posted_on = $1, posted_entry = s.entry, unapplied = s.rest from share s where s.final and r.ctid = s.receipt_at
		), count as (
			update account a set docs = s.doc, entries = s.entry, pending = a.pending - 1, base = a.base - s.base, booked_from = least(a.booked_from, $1) from share s where s.final and a.ctid = s.account_at
		)
		select count(*), coalesce(sum(cents), 0)::bigint from share where final`

// The planner can't know how many rows the steps inside a statement will have,
// and does not know how few of an account's rows are still open. So it is told.

// byLookup runs a statement that looks up, account by account, what is open of
// it: what it takes does not grow with what an account has behind it.
func byLookup(ctx context.Context, tx pgx.Tx, do func() error) error {
	return between(ctx, tx, lookUp, do)
}

// byRange runs a statement over a key range whose sides are each read once, in
// order, and not looked up row by row.
func byRange(ctx context.Context, tx pgx.Tx, do func() error) error {
	return between(ctx, tx, [2]string{`set local enable_nestloop = off`, `set local enable_nestloop = on`}, do)
}

// lookUp leaves the planner one way to join, by an index even where a table was
// small when it planned, and gives it back the others. It starts no helpers: other
// ranges are at work beside this one.
var lookUp = [2]string{
	`select set_config(way, '0', true) from unnest(array['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan', 'max_parallel_workers_per_gather']) way`,
	`select set_config(way, 'on', true) from unnest(array['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan']) way`,
}

func between(ctx context.Context, tx pgx.Tx, settings [2]string, do func() error) error {
	if _, err := tx.Exec(ctx, settings[0]); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, settings[1])
	return err
}

// plainBills finds the bills of the range whose deadline passed since the last
// finished run and of which the replay could only say what stands: they are
// the newest, all money on the account came in time and has posted in the
// order it came, or is under way and makes no difference, and nothing else bars
// or complicates a fee. rest are the accounts whose bills the rules have to look
// at; bills that are paid are in neither.
func plainBills(ctx context.Context, tx pgx.Tx, p *Policy, day, since calendar.Date, in Range) (plain []plainBill, rest []int64, err error) {
	err = byLookup(ctx, tx, func() error {
		rows, err := tx.Query(ctx, plainBillsSQL, floor(since), day, in.From, in.To)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r := ledger.ReadRow(rows)
			x := plainBill{account: r.Int64(), cycle: calendar.Cycle(r.Int32()), dueOn: r.Date(), cutOn: r.Date(), subject: Subject{r.Text(), r.Text()}, docs: r.Int32(), entries: r.Int32()}
			base, plainly, way, own, open := ledger.Cents(r.Int64()), r.Bool(), ledger.Cents(r.Int64()), ledger.Cents(r.Int64()), ledger.Cents(r.Int64())
			if own > 0 && own >= open {
				base = 0
			}
			rules := p.For(x.cutOn, x.subject).LateFee
			switch x.fee = rules.on(base); {
			case !plainly || rules.on(max(base-way, 0)) != x.fee:
				rest = append(rest, x.account)
			case x.fee > 0:
				plain = append(plain, x)
			}
		}
		return rows.Err()
	})
	return plain, rest, err
}

// More money, whenever it came, leaves no item more open, and all of them less
// open by no more than itself. So a bill's base is at most what is open of it now,
// at least what the money under way would leave of that, and nothing if that money
// is the member's own and pays for all that is open.
const plainBillsSQL = `
		with newest as materialized (
			select a.id, b.cycle, b.due_on, b.cut_on, b.plan, b.state, a.docs, a.entries, a.base, a.pending, a.open_from, b.deadline_on,
				not a.relook and not a.replay and a.autopay = 'off' and b.made_on <= b.due_on and not b.fee_barred and not b.debit_moved and not b.debit_missed
				and a.id not in (select account_id from hold where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from debit where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from card_charge where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from coverage where account_id >= $3 and account_id < $4 and aptc_cents > 0)
				and (a.id, b.cycle) not in (select account_id, for_cycle from item where account_id >= $3 and account_id < $4 and origin = 'late_fee' and ended = '') as plain
			from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle and b.deadline_on = a.bill_until
			where a.id >= $3 and a.id < $4 and a.bill_until >= $1 and a.bill_until < $2 and (a.base > 0 or a.relook or a.replay)
		)
		select id, cycle, due_on, cut_on, plan, state, docs, entries, base, plain, m.way, m.own, o.open
		from newest n
		cross join lateral (select coalesce(sum(cents), 0)::bigint as way, coalesce(sum(cents) filter (where not guest), 0)::bigint as own from receipt
			where n.plain and n.pending > 0 and account_id = n.id and no >= n.open_from and state = 'pending' and received_on <= n.deadline_on) m
		cross join lateral (select coalesce(sum(cents - paid), 0)::bigint as open from item where n.plain and n.pending > 0 and account_id = n.id and no >= n.open_from and state = 'billed' and paid < cents) o`

// olderBills finds the bills of the range, other than the newest ones, whose
// deadline passed since the last finished run. rest are the accounts of those that
// the rules have to look at: on which something is open or was received later.
func olderBills(ctx context.Context, tx pgx.Tx, day, since calendar.Date, in Range) (n int64, rest []int64, err error) {
	err = byLookup(ctx, tx, func() error {
		rows, err := tx.Query(ctx, `
		select a.id, a.relook or a.replay or a.pending > 0 or exists (select from item i where i.account_id = a.id and i.no >= a.open_from and i.cycle = b.cycle and i.paid < i.cents)
			or exists (select from receipt r where r.account_id = a.id and r.received_on > b.deadline_on)
		from account a cross join lateral (select cycle, deadline_on from bill where account_id = a.id and deadline_on >= $1 and deadline_on < $2 offset 0) b
		where a.id >= $3 and a.id < $4 and a.older_until >= $1 and b.cycle < a.last_cycle`, floor(since), day, in.From, in.To)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r := ledger.ReadRow(rows)
			n++
			if id := r.Int64(); r.Bool() {
				rest = append(rest, id)
			}
		}
		return rows.Err()
	})
	return n, rest, err
}

// plainBill is a bill of which a run can tell its late fee at once.
type plainBill struct {
	account int64
	cycle   calendar.Cycle
	dueOn   calendar.Date
	cutOn   calendar.Date
	subject Subject
	docs    int32 // the last numbers that its account has given
	entries int32
	fee     ledger.Cents
}

// assessPlain assesses the fees of plain bills, as Account.fee does.
func assessPlain(ctx context.Context, tx pgx.Tx, day calendar.Date, in Range, late []plainBill) (total ledger.Cents, err error) {
	var ids, cents []int64
	var cycles, docs, entries []int32
	var words []string
	for _, x := range late {
		ids, cents, cycles, words = append(ids, x.account), append(cents, int64(x.fee)), append(cycles, int32(x.cycle)), append(words, lateFeeWords(x.dueOn))
		docs, entries = append(docs, x.docs+1), append(entries, x.entries+1)
		total += x.fee
	}
	if len(late) == 0 {
		return 0, nil
	}
	return total, byRange(ctx, tx, func() error {
		_, err := tx.Exec(ctx, `
		with fee as materialized (
			select * from unnest($2::bigint[], $3::bigint[], $4::int[], $5::text[], $8::int[], $9::int[]) u(id, cents, cycle, words, no, entry)
		), item as (
			insert into item (account_id, no, kind, origin, state, cents, arrived_on, for_cycle, entry, description) select id, no, 'fee', 'late_fee', 'unbilled', cents, $1, cycle, entry, words from fee
		), book as (
			insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc) select id, entry, $1, $1, 'late_fee', 'receivable', 'fees', cents, no from fee
		), total as (
			insert into journal_total (posted_on, what, debit, credit, entries, cents) select $1, 'late_fee', 'receivable', 'fees', count(*), sum(cents) from fee having count(*) > 0
		)
		update account a set docs = f.no, entries = f.entry, booked_from = least(a.booked_from, $1) from fee f where a.id = f.id and a.id >= $6 and a.id < $7`, day, ids, cents, cycles, words, in.From, in.To, docs, entries)
		return err
	})
}
