package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Need says how much of each account a rule must see.
type Need int

const (
	// Counters is the account's own row: enough to add a charge, or to switch
	// autopay.
	Counters Need = iota
	// ToPost is what a payment needs to post: open items, live receipts and
	// the newest bill.
	ToPost
	// OpenOnly is what can still take or give money: open items, live
	// receipts, the newest bill and its debits, holds.
	OpenOnly
	// ToCut is OpenOnly and what was booked since the newest bill.
	ToCut
	// Whole is everything.
	Whole

	// bySubject is added to a need where a policy chooses by what an account
	// is: its guarantor's state and its members' plans.
	bySubject Need = 1 << 8
	// unbooked leaves out what was booked since the newest bill, which only a
	// cut asks for.
	unbooked Need = 1 << 9
)

// Need returns how much must be loaded of accounts for which this policy is to
// be followed.
func (p *Policy) Need(n Need) Need {
	if p.selects() {
		n |= bySubject
	}
	return n
}

// Book is a number of accounts, locked in a transaction for rules to change.
type Book struct {
	Accounts []*Account // in order of id
	tx       pgx.Tx
	byID     map[int64]*Account
}

// ErrNoAccount is returned where an account was named that is not there.
var ErrNoAccount = errors.New("no such account")

// Load locks accounts and reads what the rules need of them.
func Load(ctx context.Context, tx pgx.Tx, need Need, ids ...int64) (*Book, error) {
	b := &Book{tx: tx, byID: make(map[int64]*Account, len(ids))}
	if err := Lock(ctx, tx, ids...); err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	in, args := span(ids)
	wanted := make(map[int64]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	ask := func(sql string, read func(a *Account, row *ledger.Row)) {
		batch.Queue(strings.ReplaceAll(sql, "= any($1)", in), args...).Query(func(rows pgx.Rows) error {
			var a *Account
			for rows.Next() {
				row := ledger.ReadRow(rows)
				id := row.Int64()
				if !wanted[id] {
					continue
				}
				if a == nil || a.ID != id {
					if a = b.byID[id]; a == nil {
						a = &Account{ID: id}
						b.Accounts, b.byID[id] = append(b.Accounts, a), a
					}
				}
				read(a, &row)
			}
			return rows.Err()
		})
	}
	much := need &^ (bySubject | unbooked)
	b.ask(much, much >= ToCut && need&unbooked == 0, ask)
	if need&bySubject != 0 {
		askSubject(much, ask)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return b, nil
}

// span says how to choose the accounts in SQL: one by one, or, where most of a
// range is asked for, all of the range, which is read in one go.
func span(ids []int64) (sql string, args []any) {
	if len(ids) < 100 {
		return "= any($1)", []any{ids}
	}
	low, high := slices.Min(ids), slices.Max(ids)
	if int64(len(ids)) < (high-low)/3 {
		return "= any($1)", []any{ids}
	}
	return "between $1 and $2", []any{low, high}
}

// blockAccounts is how many accounts one lock covers: a nightly range, so that
// a night takes one lock for ten thousand accounts, not one each.
const blockAccounts = 10_000

// LockRange locks all accounts of a key range until the transaction ends, as
// Load does its own: for work that chooses before it loads.
func LockRange(ctx context.Context, tx pgx.Tx, in Range) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1, block::int) from generate_series($1::bigint / $3, least($2::bigint - 1, (select max(id) from account)) / $3) block`, in.From, in.To, blockAccounts)
	return err
}

// Lock locks accounts until the transaction ends, as Load does: for work that is
// about what lies beside them, and reads it only then. Whoever changes an account
// comes through here; blocks are taken in order, so that two do not wait for each
// other.
func Lock(ctx context.Context, tx pgx.Tx, ids ...int64) error {
	blocks := make([]int32, 0, 2)
	for _, id := range ids {
		if block := int32(id / blockAccounts); len(blocks) == 0 || blocks[len(blocks)-1] != block {
			blocks = append(blocks, block)
		}
	}
	slices.Sort(blocks)
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1, block) from unnest($1::int[]) block`, slices.Compact(blocks))
	return err
}

// ask asks for what a need includes. The reader of each row stands beside its
// columns.
func (b *Book) ask(need Need, booked bool, ask func(sql string, read func(a *Account, row *ledger.Row))) {
	ask(`select id, mrn, opened_on, docs, entries, first_cycle, last_cycle, autopay, autopay_since, last_debit_cents, relook, replay, looked, pending, base, open_from, booked_from, bill_made, bill_due, bill_until, older_until,
		replay and exists (select from receipt r where r.account_id = account.id and r.guest) from account where id = any($1) order by id`,
		func(a *Account, r *ledger.Row) {
			a.whole, a.counted = need == Whole, booked
			a.MRN, a.OpenedOn, a.docs, a.entries = r.Text(), r.Date(), r.Int32(), r.Int32()
			a.FirstCycle, a.LastCycle = calendar.Cycle(r.Int32()), calendar.Cycle(r.Int32())
			a.Autopay, a.AutopaySince, a.LastDebit = r.Text(), r.Date(), (*ledger.Cents)(r.NullInt64())
			a.Relook, a.Replay, a.Looked = r.Bool(), r.Bool(), r.Int32()
			a.pending, a.base, a.from, a.bookedFrom, a.opened = r.Int32(), ledger.Cents(r.Int64()), r.Int32(), r.Date(), need >= ToPost
			a.billMade, a.billDue, a.billUntil, a.olderUntil = r.Date(), r.Date(), r.Date(), r.Date()
			a.guests = r.Bool()
		})
	if need == Counters {
		return
	}
	open := need != Whole
	ask(`select i.account_id, i.no, kind, origin, state, cents, paid, cycle, billed_on, made_on, arrived_on, for_cycle, for_doc, ended, parent, entry
		from `+ofAccounts("item", where(open, "no >= a.open_from and (paid < cents or state <> 'billed')")),
		func(a *Account, r *ledger.Row) {
			a.Items = append(a.Items, &Item{No: r.Int32(), Kind: Kind(r.Text()), Origin: r.Text(), State: State(r.Text()), Cents: ledger.Cents(r.Int64()), Paid: ledger.Cents(r.Int64()),
				Cycle: calendar.Cycle(r.Int32()), BilledOn: r.Date(), MadeOn: r.Date(), ArrivedOn: r.Date(), ForCycle: calendar.Cycle(r.Int32()), ForDoc: r.Int32(), Ended: r.Text(), Parent: r.Int32(), Entry: r.Int32()})
		})
	ask(`select i.account_id, i.no, channel, state, cents, unapplied, refunded, received_on, arrived_on, posts_on, posted_on, in_entry, posted_entry, ended_on, end_code, guest, payer, directed, reference
		from `+ofAccounts("receipt", where(open, "no >= a.open_from and (state = 'pending' or unapplied > 0)")),
		func(a *Account, r *ledger.Row) {
			a.Receipts = append(a.Receipts, &Receipt{No: r.Int32(), Channel: r.Text(), State: r.Text(), Cents: ledger.Cents(r.Int64()), Unapplied: ledger.Cents(r.Int64()), Refunded: ledger.Cents(r.Int64()),
				ReceivedOn: r.Date(), ArrivedOn: r.Date(), PostsOn: r.Date(), PostedOn: r.Date(), InEntry: r.Int32(), PostedEntry: r.Int32(), EndedOn: r.Date(), EndCode: r.Text(),
				Guest: r.Bool(), Payer: r.Text(), Directed: Kind(r.Text()), Reference: r.Text()})
		})
	b.askBills(need, ask)
	if need == ToPost {
		return
	}
	ask(`select account_id, no, reason, placed_on, released_on, automatic, placed_by, released_by, note from hold where account_id = any($1) order by account_id, no`,
		func(a *Account, r *ledger.Row) {
			a.Holds = append(a.Holds, &Hold{No: r.Int32(), Reason: r.Text(), PlacedOn: r.Date(), ReleasedOn: r.Date(), Automatic: r.Bool(), PlacedBy: r.Text(), ReleasedBy: r.Text(), Note: r.Text()})
		})
	ask(`select d.account_id, d.cycle, d.attempt, d.receipt, d.cents, d.built_on, d.effective_on, d.due_then, d.last_before, d.trace, d.sec, d.method_id, d.file_id, d.state, d.missed, d.code, d.returned_on, d.retry_on
		from debit d`+where(open, " join account a on a.id = d.account_id and (d.cycle >= a.last_cycle or (d.account_id, d.cycle) in (select account_id, cycle from debit where account_id = any($1) and retry_on is not null))")+` where d.account_id = any($1) order by d.account_id, d.cycle, d.attempt, d.receipt`,
		func(a *Account, r *ledger.Row) {
			a.Debits = append(a.Debits, &Debit{Cycle: calendar.Cycle(r.Int32()), Attempt: int(r.Int32()), Receipt: r.Int32(), Cents: ledger.Cents(r.Int64()), BuiltOn: r.Date(), EffectiveOn: r.Date(),
				DueThen: ledger.Cents(r.Int64()), LastBefore: (*ledger.Cents)(r.NullInt64()), Trace: r.Int64(), SEC: r.Text(), MethodID: r.Int64(), FileID: r.NullInt64(), State: r.Text(), Missed: r.Bool(),
				Code: r.Text(), ReturnedOn: r.Date(), RetryOn: r.Date()})
		})
	ask(methodSQL, readMethod)
	if need == Whole {
		ask(`select account_id, no, receipt, item, cents, on_date from allocation where account_id = any($1) order by account_id, no`, func(a *Account, r *ledger.Row) {
			a.Allocations = append(a.Allocations, Allocation{No: r.Int32(), Receipt: r.Int32(), Item: r.Int32(), Cents: ledger.Cents(r.Int64()), On: r.Date()})
		})
	}
	if need >= ToCut {
		askAgreements(need, ask)
	}
	if booked {
		ask(`select a.id, j.posted_on, j.what, j.cents
			from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			cross join lateral (select posted_on, what, sum(case when debit = 'receivable' then cents else -cents end)::bigint as cents
				from journal_at_hand where account_id = a.id and no > coalesce(b.entries, 0) and (debit = 'receivable' or credit = 'receivable')
				and posted_on >= (select min(booked_from) from account where id = any($1)) group by 1, 2) j
			where a.id = any($1) and a.booked_from is not null`, func(a *Account, r *ledger.Row) {
			if x := (recent{r.Date(), ledger.PartOf(r.Text()), ledger.Cents(r.Int64())}); x.part != ledger.NoPart {
				a.recent = append(a.recent, x)
			}
		})
	}
}

// askSubject asks for what a policy may choose accounts by.
func askSubject(need Need, ask func(sql string, read func(a *Account, row *ledger.Row))) {
	ask(`select a.id, m.state from account a join member m on m.mrn = a.mrn where a.id = any($1)`, func(a *Account, r *ledger.Row) { a.state = r.Text() })
	if need != Whole {
		ask(`select account_id, no, mrn, plan, start_on, end_on from coverage where account_id = any($1) order by account_id, no`, func(a *Account, r *ledger.Row) {
			a.covered = append(a.covered, &Coverage{No: r.Int32(), MRN: r.Text(), Plan: r.Text(), StartOn: r.Date(), EndOn: r.Date()})
		})
	}
}

// askBills asks for all bills of whole accounts, else for the newest; to post,
// its dates will do.
func (b *Book) askBills(need Need, ask func(sql string, read func(a *Account, row *ledger.Row))) {
	if need == ToPost {
		ask(`select b.account_id, b.cycle, b.cut_on, b.made_on, b.deadline_on, b.prev_deadline, b.plan, b.state from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle where a.id = any($1)`,
			func(a *Account, r *ledger.Row) {
				a.Bills = append(a.Bills, &Bill{Cycle: calendar.Cycle(r.Int32()), CutOn: r.Date(), MadeOn: r.Date(), DeadlineOn: r.Date(), PrevDeadline: r.Date(), Subject: Subject{r.Text(), r.Text()}})
			})
		return
	}
	cents := func(r *ledger.Row) ledger.Cents { return ledger.Cents(r.Int64()) }
	ask(`select b.account_id, b.cycle, cut_on, made_on, due_on, deadline_on, previous, payments, adjustments, charges, fees, balance, amount_due, b.pending, disputed, deferred,
		aging_current, aging_30, aging_60, aging_90, b.entries, debit_on, debit_moved, debit_missed, debit_none, fee_barred, prev_deadline, b.plan, b.state
		from bill b`+where(need != Whole, " join account a on a.id = b.account_id and a.last_cycle = b.cycle")+` where b.account_id = any($1) order by b.account_id, b.cycle`,
		func(a *Account, r *ledger.Row) {
			a.Bills = append(a.Bills, &Bill{Cycle: calendar.Cycle(r.Int32()), CutOn: r.Date(), MadeOn: r.Date(), DueOn: r.Date(), DeadlineOn: r.Date(),
				Previous: cents(r), Payments: cents(r), Adjustments: cents(r), Charges: cents(r), Fees: cents(r), Balance: cents(r), AmountDue: cents(r), PendingCents: cents(r), DisputedCents: cents(r), DeferredCts: cents(r),
				Aging: [4]ledger.Cents{cents(r), cents(r), cents(r), cents(r)}, Entries: r.Int32(), DebitOn: r.Date(), DebitMoved: r.Bool(), DebitMissed: r.Bool(), DebitNone: r.Bool(), FeeBarred: r.Bool(), PrevDeadline: r.Date(),
				Subject: Subject{r.Text(), r.Text()}})
		})
}

// ofAccounts says where rows of accounts are read from: all of a table, or for
// each account those that a condition names.
func ofAccounts(table, condition string) string {
	if condition == "" {
		return table + ` i where i.account_id = any($1) order by i.account_id, i.no`
	}
	return `account a cross join lateral (select * from ` + table + ` where account_id = a.id and ` + condition + ` offset 0) i where a.id = any($1) order by a.id, i.no`
}

func where(yes bool, sql string) string {
	if yes {
		return sql
	}
	return ""
}

// replace puts the accounts of another book, which hold more, in place of its
// own.
func (b *Book) replace(by *Book) {
	for n, a := range b.Accounts {
		if fuller := by.byID[a.ID]; fuller != nil {
			b.Accounts[n], b.byID[a.ID] = fuller, fuller
		}
	}
}

// Account returns a loaded account, nil if it is not in the book.
func (b *Book) Account(id int64) *Account { return b.byID[id] }

// LoadOne is Load of one account by its guarantor's MRN or a member's.
func LoadOne(ctx context.Context, tx pgx.Tx, need Need, mrn string) (*Book, *Account, error) {
	id, err := Find(ctx, tx, mrn)
	if err != nil {
		return nil, nil, err
	}
	b, err := Load(ctx, tx, need, id)
	if err != nil {
		return nil, nil, err
	}
	return b, b.Accounts[0], nil
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Find returns the account that a member's MRN is billed to.
func Find(ctx context.Context, q Querier, mrn string) (int64, error) {
	var id int64
	err := q.QueryRow(ctx, `select account_id from member where mrn = $1`, mrn).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("MRN %s: %w", mrn, ErrNoAccount)
	}
	return id, err
}

// Save writes what the rules have changed, each table in one go. The caller
// commits.
func (b *Book) Save(ctx context.Context) error {
	s := &saver{tx: b.tx}
	for _, a := range b.Accounts {
		s.take(a)
	}
	if err := s.write(ctx); err != nil {
		return err
	}
	return saveAgreements(ctx, b.tx, b.Accounts)
}
