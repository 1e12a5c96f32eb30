package billing

import (
	"context"
	"math"

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

// assessPlain assesses the bills of the range whose deadline passed since the last
// finished run and of which the replay could only say what stands: they are the
// newest, all money on the account came in time and has posted in the order it
// came, or is under way and makes no difference, and nothing else bars or
// complicates a fee. It returns how many bear one, and how much. rest are the
// accounts whose bills the rules have to look at; bills that are paid are in
// neither.
func assessPlain(ctx context.Context, tx pgx.Tx, p *Policy, day, since calendar.Date, in Range) (n int64, cents ledger.Cents, rest []int64, err error) {
	rules, err := p.feeRules(ctx, tx, day, since, in)
	if err != nil {
		return 0, 0, nil, err
	}
	err = byLookup(ctx, tx, func() error {
		return tx.QueryRow(ctx, assessPlainSQL, floor(since), day, in.From, in.To, rules.cutOn, rules.plan, rules.state, rules.minimum, rules.least, rules.most, rules.part, rules.whole, p.dated != nil).Scan(&n, &cents, &rest)
	})
	return n, cents, rest, err
}

// More money, whenever it came, leaves no item more open, and all of them less
// open by no more than itself. So a bill's base is at most what is open of it now,
// at least what the money under way would leave of that, and nothing if that money
// is the member's own and pays for all that is open: it is plain if the fee on the
// most is the fee on the least. Fees are exact, rounded half-up (POLICY section 3). The
// bill itself is looked up only where its rules depend on when and for whom it was cut.
var assessPlainSQL = `
		with rule as materialized (
			select cut_on, plan, state, minimum, least, most, part::numeric, whole::numeric from unnest($5::date[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[]) r(cut_on, plan, state, minimum, least, most, part, whole)
		), newest as materialized (
			select a.id, a.ctid as at, a.docs + 1 as no, a.entries + 1 as entry, a.base as highest, a.last_cycle as cycle, a.bill_due as due_on, r.minimum, r.least, r.most, r.part, r.whole,
				case when a.pending > 0 then (select sum(cents)::bigint from receipt where account_id = a.id and no >= a.open_from and state = 'pending' and received_on <= a.bill_until) end as way,
				case when a.pending > 0 then (select sum(cents)::bigint from receipt where account_id = a.id and no >= a.open_from and state = 'pending' and received_on <= a.bill_until and not guest) end as own,
				case when a.pending > 0 then (select sum(cents - paid)::bigint from item where account_id = a.id and no >= a.open_from and state = 'billed' and paid < cents) end as open,
				not a.relook and not a.replay and a.autopay = 'off' and a.bill_made <= a.bill_due
				and (a.id, a.last_cycle) not in (select account_id, cycle from bill where account_id >= $3 and account_id < $4 and (debit_moved or debit_missed or fee_barred))
				and a.id not in (select account_id from hold where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from debit where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from card_charge where account_id >= $3 and account_id < $4)
				and a.id not in (select account_id from coverage where account_id >= $3 and account_id < $4 and aptc_cents > 0)
				and (a.id, a.last_cycle) not in (select account_id, for_cycle from item where account_id >= $3 and account_id < $4 and origin = 'late_fee' and ended = '') as plain
			from account a left join lateral (select cut_on, plan, state from bill where $13 and account_id = a.id and cycle = a.last_cycle) b on true join rule r on r.cut_on is null or r.cut_on = b.cut_on and r.plan = b.plan and r.state = b.state
			where a.id >= $3 and a.id < $4 and a.bill_until >= $1 and a.bill_until < $2 and (a.base > 0 or a.relook or a.replay)
		), weighed as (
			select id, at, no, entry, cycle, due_on, plain, ` + feeOn("case when own >= open then 0 else highest end") + ` as cents, case when way is not null then ` + feeOn("highest - way") + ` end as lowest from newest
		), told as materialized (
			select id, at, no, entry, cycle, due_on, case when plain and (lowest is null or lowest = cents or cents = 0) then cents end as cents from weighed
		), item as (
			insert into item (account_id, no, kind, origin, state, cents, arrived_on, for_cycle, entry, description) select id, no, 'fee', 'late_fee', 'unbilled', cents, $2, cycle, entry, 'Late fee, bill due ' || to_char(due_on, 'FMMonth FMDD, YYYY') from told where cents > 0
		), book as (
			insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc) select id, entry, $2, $2, 'late_fee', 'receivable', 'fees', cents, no from told where cents > 0
		), total as (
			insert into journal_total (posted_on, what, debit, credit, entries, cents) select $2, 'late_fee', 'receivable', 'fees', count(*), sum(cents) from told where cents > 0 having count(*) > 0
		), count as (
			update account a set docs = t.no, entries = t.entry, booked_from = least(a.booked_from, $2) from told t where t.cents > 0 and a.ctid = t.at
		)
		select count(*) filter (where cents > 0), coalesce(sum(cents), 0)::bigint, array_agg(id order by id) filter (where cents is null) from told`

// feeOn is LateFeePolicy.on of a base, both in SQL.
func feeOn(base string) string {
	return `case when ` + base + ` <= 0 or ` + base + ` < minimum then 0 when part is null then least else least(most, greatest(least, div(` + base + ` * part * 2 + whole, whole * 2)))::bigint end`
}

// feeRules are the rules of late fees for the newest bills of a range, in columns: for
// those cut on a day, of accounts of a plan and state.
type feeRules struct {
	cutOn                []*calendar.Date // nil: for all
	plan, state          []string
	minimum, least, most []ledger.Cents // of the base, and of the fee
	part, whole          []*string      // the fee is this part of the base; nil: least
}

func (r *feeRules) add(cutOn *calendar.Date, s Subject, f LateFeePolicy) {
	r.cutOn, r.plan, r.state, r.minimum = append(r.cutOn, cutOn), append(r.plan, s.Plan), append(r.state, s.State), append(r.minimum, f.MinimumBaseCents)
	if f.Kind == "flat" {
		r.least, r.most, r.part, r.whole = append(r.least, f.Cents), append(r.most, f.Cents), append(r.part, nil), append(r.whole, nil)
		return
	}
	most := ledger.Cents(math.MaxInt64)
	if f.MaxCents != nil {
		most = *f.MaxCents
	}
	part, whole := f.percent().Fraction()
	r.least, r.most, r.part, r.whole = append(r.least, f.MinCents), append(r.most, most), append(r.part, &part), append(r.whole, &whole)
}

// feeRules returns the rules for the bills that assessPlain looks at.
func (p *Policy) feeRules(ctx context.Context, tx pgx.Tx, day, since calendar.Date, in Range) (r feeRules, err error) {
	if p.dated == nil {
		r.add(nil, Subject{}, p.LateFee)
		return r, nil
	}
	err = byLookup(ctx, tx, func() error {
		rows, err := tx.Query(ctx, `select distinct b.cut_on, b.plan, b.state from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			where a.id >= $3 and a.id < $4 and a.bill_until >= $1 and a.bill_until < $2 and (a.base > 0 or a.relook or a.replay)`, floor(since), day, in.From, in.To)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			row := ledger.ReadRow(rows)
			cutOn, s := row.Date(), Subject{row.Text(), row.Text()}
			r.add(&cutOn, s, p.For(cutOn, s).LateFee)
		}
		return rows.Err()
	})
	return r, err
}

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
