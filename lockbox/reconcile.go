package lockbox

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// DepositDay is what became of the money that one lockbox took in on one
// deposit date. Cents is the sum of all the rest but Said.
type DepositDay struct {
	Deposit  calendar.Date `json:"deposit"`
	Lockbox  string        `json:"lockbox"`
	Items    int           `json:"items"`
	Cents    ledger.Cents  `json:"cents"` // of its checks, batches that came again counted once
	Said     ledger.Cents  `json:"said"`  // what the bank says its batches come to
	Posted   ledger.Cents  `json:"posted"`
	Pending  ledger.Cents  `json:"pending"`
	Returned ledger.Cents  `json:"returned"` // by the bank, after it had been taken
	Suspense ledger.Cents  `json:"suspense"`
	Held     ledger.Cents  `json:"held"`
	Refused  ledger.Cents  `json:"refused"`
	Void     ledger.Cents  `json:"void"` // voided, or sent back
}

// Difference is what is not accounted for: 0, or something is broken.
func (x DepositDay) Difference() ledger.Cents {
	return x.Cents - x.Posted - x.Pending - x.Returned - x.Suspense - x.Held - x.Refused - x.Void
}

// MissingDay is a banking day of which a lockbox should have told, and has not:
// the bank's file never came, or it was refused.
type MissingDay struct {
	Deposit calendar.Date `json:"deposit"`
	Lockbox string        `json:"lockbox"`
	Refused []int64       `json:"refused"` // files of that day that were refused
}

// Reconciled is what Reconcile found.
type Reconciled struct {
	Days    []DepositDay `json:"days"`
	Missing []MissingDay `json:"missing"`
}

// Reconcile accounts for every lockbox and deposit date from one day to
// another, both included, and says for which banking days before the desk's own
// a box of the policy has sent no file. A box that the bank lets be silent when
// there was no mail is never missed.
func (d Desk) Reconcile(ctx context.Context, from, to calendar.Date) (r Reconciled, err error) {
	r = Reconciled{Days: []DepositDay{}, Missing: []MissingDay{}}
	err = pgx.BeginTxFunc(ctx, d.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if r.Days, err = depositDays(ctx, tx, from, to); err != nil {
			return err
		}
		r.Missing, err = d.missing(ctx, tx, from, min(to, d.Day-1))
		return err
	})
	return r, err
}

// depositDays asks what became of the checks of some days. A check that accounts
// have stands where its receipts stand. They find it by grouping, not by a join:
// of a file that has just come the planner knows too little, takes its million
// checks for one, and would go through all receipts for each of them.
func depositDays(ctx context.Context, tx pgx.Tx, from, to calendar.Date) ([]DepositDay, error) {
	rows, err := tx.Query(ctx, `
		with b as (select * from lockbox_batch where deposit_on between $1 and $2 and state in ('accepted', 'refused', 'held')),
		file as (select array_agg(distinct file_id) as ids from b where state <> 'held'),
		money as (
			select file_id, ordinal, batch, state, cents from lockbox_item where file_id = any((select ids from file)::bigint[])
			union all
			select r.check_file, r.check_item, null, r.state, r.cents
			from (select account_id from lockbox_part where file_id = any((select ids from file)::bigint[]) group by 1) a
			join receipt r on r.account_id = a.account_id and r.check_file = any((select ids from file)::bigint[]) and r.state <> 'withdrawn'
		), placed as (
			select file_id, max(batch) over (partition by file_id, ordinal) as batch, state, cents from money
		)
		select * from (
		select deposit_on, lockbox, 'total' as state, sum(items)::bigint, sum(cents)::bigint, sum(said_cents)::bigint from (
			select deposit_on, lockbox, items, cents, said_cents from b
			union all
			select d.deposit_on, d.lockbox, 0, 0, 0 from lockbox_deposit d join lockbox_file f on f.id = d.file_id where d.deposit_on between $1 and $2 and f.state in ('accepted', 'held')
		) all_of_it group by 1, 2
		union all
		select deposit_on, lockbox, 'held', 0, sum(cents)::bigint, 0 from b where state = 'held' group by 1, 2
		union all
		select b.deposit_on, b.lockbox, m.state, 0, sum(m.cents)::bigint, 0
		from (select file_id, batch, state, sum(cents) as cents from placed where state <> '`+itemTaken+`' group by 1, 2, 3) m
		join lockbox_batch b on b.file_id = m.file_id and b.ordinal = m.batch and b.deposit_on between $1 and $2 and b.state in ('accepted', 'refused')
		group by 1, 2, 3
		) x order by deposit_on, lockbox, state <> 'total'`, from, to)
	if err != nil {
		return nil, err
	}
	days := []DepositDay{}
	var head DepositDay
	var state string
	_, err = pgx.ForEachRow(rows, []any{&head.Deposit, &head.Lockbox, &state, &head.Items, &head.Cents, &head.Said}, func() error {
		if state == "total" {
			days = append(days, head)
			return nil
		}
		x := &days[len(days)-1]
		if place := x.place(state); place != nil {
			*place += head.Cents
		}
		return nil
	})
	return days, err
}

// missing lists the banking days without a file, by day and then by box.
func (d Desk) missing(ctx context.Context, tx pgx.Tx, from, to calendar.Date) ([]MissingDay, error) {
	list := []MissingDay{}
	rows, err := tx.Query(ctx, `select d.deposit_on, ltrim(d.lockbox, '0'), bool_or(f.state <> 'refused'), array_agg(f.id order by f.id) filter (where f.state = 'refused')
		from lockbox_deposit d join lockbox_file f on f.id = d.file_id where d.deposit_on between $1 and $2 group by 1, 2`, from, to)
	if err != nil {
		return nil, err
	}
	type key struct {
		day calendar.Date
		box string
	}
	here, refused := map[key]bool{}, map[key][]int64{}
	var k key
	var came bool
	var files []int64
	if _, err := pgx.ForEachRow(rows, []any{&k.day, &k.box, &came, &files}, func() error {
		here[k], refused[k] = came, files
		return nil
	}); err != nil {
		return nil, err
	}
	for day := from; day <= to; day++ {
		for _, box := range d.Policy.Lockboxes {
			k := key{day, strings.TrimLeft(box.Lockbox, "0")}
			if calendar.IsBankingDay(day) && !box.SilentWhenEmpty && !here[k] {
				list = append(list, MissingDay{day, box.Lockbox, append([]int64{}, refused[k]...)})
			}
		}
	}
	return list, nil
}

// place returns where money in a state is counted; nil for a state that no
// check should be in, so that Difference shows it.
func (x *DepositDay) place(state string) *ledger.Cents {
	return map[string]*ledger.Cents{
		"posted": &x.Posted, "pending": &x.Pending, "returned": &x.Returned,
		itemSuspense: &x.Suspense, itemHeld: &x.Held, itemRefused: &x.Refused, itemVoid: &x.Void, itemSentBack: &x.Void,
	}[state]
}

// Invariants of the lockbox.
var Invariants = []ledger.Invariant{
	{Name: "lockbox_files", Says: "every check of an accepted file is here, or in a batch that was taken before",
		SQL: `select f.id, 0 from lockbox_file f
			left join (select file_id, count(*) n, sum(cents) cents from lockbox_item group by 1) i on i.file_id = f.id
			left join (select file_id, sum(items) n, sum(cents) cents from lockbox_batch where state = 'skipped' group by 1) s on s.file_id = f.id
			where f.state = 'accepted' and (f.items <> coalesce(i.n, 0) + coalesce(s.n, 0) or f.cents <> coalesce(i.cents, 0) + coalesce(s.cents, 0))
			or f.state <> 'accepted' and i.n > 0 and not exists (select from lockbox_staging g where g.file_id = f.id)`},
	{Name: "lockbox_batches", Says: "every batch that was taken is the sum of its checks, and none was taken from two files",
		SQL: `select file_id, batch from (
				select file_id, ordinal as batch, items, cents, true as taken from lockbox_batch where state in ('accepted', 'refused', 'replaced')
				union all
				select file_id, batch, -count(*), -sum(cents), false from lockbox_item group by 1, 2
			) x group by 1, 2 having bool_or(taken) and (sum(items) <> 0 or sum(cents) <> 0)
			union all
			select max(file_id), count(*) from lockbox_batch where state = 'accepted' and items > 0 group by lockbox, deposit_on, number, canonical having count(distinct file_id) > 1`},
	{Name: "lockbox_twins", Says: "of checks that are alike and count, one is known as that of which the others are suspected duplicates",
		SQL: `select k.file_id, k.ordinal from lockbox_known k where not k.sole and ` + counted + ` and not exists (select from lockbox_item s where s.micr = k.micr and s.sole)
			union all select k.file_id, k.ordinal from lockbox_known k where k.sole and not (` + counted + `)`},
	{Name: "lockbox_receipts", Says: "a check that was taken is the sum of its receipts, and no other check has any",
		SQL: `with r as (select check_file as file_id, check_item as ordinal, check_coupon as coupon, account_id, cents from receipt where channel = 'lockbox' and state <> 'withdrawn')
			select file_id, ordinal from (
				select file_id, ordinal, case state when 'taken' then cents else 0 end as cents from lockbox_item i where not exists (select from lockbox_staging g where g.file_id = i.file_id)
				union all
				select file_id, ordinal, -cents from r
			) x group by 1, 2 having sum(cents) <> 0
			union all
			select coalesce(p.account_id, r.account_id), 0 from (select * from lockbox_part p where not exists (select from lockbox_staging g where g.file_id = p.file_id)) p
			full join r on r.file_id = p.file_id and r.ordinal = p.ordinal and r.coupon = p.coupon and r.account_id = p.account_id and r.cents = p.cents
			where p.file_id is null or r.file_id is null`},
	{Name: "lockbox_suspense", Says: "every check in suspense has its money on the house's account, and nothing else is there",
		SQL: `select coalesce(max(file_id), 0), coalesce(max(ordinal), 0) from (
				select file_id, ordinal, entry, cents from lockbox_item i where state = 'suspense' and not exists (select from lockbox_staging g where g.file_id = i.file_id)
				union all
				select null, null, coalesce(reverses, no), case what when 'suspense_in' then -cents else cents end from journal where account_id = 0 and what in ('suspense_in', 'suspense_out')
			) x group by entry having sum(cents) <> 0
			union all
			select file_id, ordinal from lockbox_item where state <> 'suspense' and entry <> 0
			union all
			select 0, 0 where (select coalesce(sum(case credit when 'suspense' then cents else -cents end), 0) from journal where 'suspense' in (debit, credit))
			<> (select coalesce(sum(cents), 0) from lockbox_item i where state = 'suspense' and not exists (select from lockbox_staging g where g.file_id = i.file_id))`},
}
