package billing

import (
	"context"
	"errors"
	"fmt"

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
	// OpenOnly is what can still take or give money: open items, live
	// receipts, the newest bill and its debits, holds.
	OpenOnly
	// ToCut is OpenOnly and what was booked since the newest bill.
	ToCut
	// Whole is everything.
	Whole
)

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
	batch := &pgx.Batch{}
	ask := func(sql string, scan func(pgx.Rows) error) {
		batch.Queue(sql, ids).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := scan(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	}
	ask(`select id, mrn, opened_on, docs, entries, first_cycle, last_cycle, autopay, autopay_since, last_debit_cents, relook, looked
		from account where id = any($1) order by id for no key update`, func(rows pgx.Rows) error { return b.addAccount(rows, need) })
	if need == Counters {
		return b, tx.SendBatch(ctx, batch).Close()
	}
	open := need != Whole
	ask(`select account_id, no, kind, origin, state, cents, paid, cycle, billed_on, made_on, arrived_on, for_cycle, for_receipt, ended, parent, entry
		from item where account_id = any($1)`+where(open, " and (paid < cents or state <> 'billed')")+` order by account_id, no`, b.addItem)
	ask(`select account_id, no, channel, state, cents, unapplied, refunded, received_on, arrived_on, posts_on, posted_on, in_entry, posted_entry, ended_on, end_code, guest, payer, directed, reference
		from receipt where account_id = any($1)`+where(open, " and (state = 'pending' or unapplied > 0)")+` order by account_id, no`, b.addReceipt)
	ask(`select b.account_id, b.cycle, cut_on, made_on, due_on, deadline_on, previous, payments, adjustments, charges, fees, balance, amount_due, pending, disputed, deferred,
		aging_current, aging_30, aging_60, aging_90, b.entries, debit_on, debit_moved, debit_missed, debit_none, fee_barred
		from bill b`+where(open, " join account a on a.id = b.account_id and a.last_cycle = b.cycle")+` where b.account_id = any($1) order by b.account_id, b.cycle`, b.addBill)
	ask(`select account_id, no, reason, placed_on, released_on, automatic, placed_by, released_by, note from hold where account_id = any($1) order by account_id, no`, b.addHold)
	ask(`select d.account_id, d.cycle, d.attempt, d.receipt, d.cents, d.built_on, d.effective_on, d.due_then, d.last_before, d.trace, d.sec, d.method_id, d.file_id, d.state, d.missed, d.code, d.returned_on, d.retry_on
		from debit d`+where(open, " join account a on a.id = d.account_id and (d.cycle >= a.last_cycle or d.retry_on is not null)")+` where d.account_id = any($1) order by d.account_id, d.cycle, d.attempt, d.receipt`, b.addDebit)
	if need == Whole {
		ask(`select account_id, no, receipt, item, cents, on_date from allocation where account_id = any($1) order by account_id, no`, b.addAllocation)
	}
	if need >= ToCut {
		ask(`select j.account_id, j.posted_on, j.what, sum(case when j.debit = 'receivable' then j.cents else -j.cents end)::bigint
			from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			join journal j on j.account_id = a.id and j.no > coalesce(b.entries, 0)
			where a.id = any($1) and 'receivable' in (j.debit, j.credit) group by 1, 2, 3 order by 1, 2, 3`, b.addRecent)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	return b, nil
}

func where(yes bool, sql string) string {
	if yes {
		return sql
	}
	return ""
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

func (b *Book) addAccount(rows pgx.Rows, need Need) error {
	a := &Account{whole: need == Whole, counted: need >= ToCut}
	err := rows.Scan(&a.ID, &a.MRN, &a.OpenedOn, &a.docs, &a.entries, &a.FirstCycle, &a.LastCycle, &a.Autopay, &a.AutopaySince, &a.LastDebit, &a.Relook, &a.Looked)
	b.Accounts = append(b.Accounts, a)
	b.byID[a.ID] = a
	return err
}

func (b *Book) addItem(rows pgx.Rows) error {
	var id int64
	i := &Item{}
	err := rows.Scan(&id, &i.No, &i.Kind, &i.Origin, &i.State, &i.Cents, &i.Paid, &i.Cycle, &i.BilledOn, &i.MadeOn, &i.ArrivedOn, &i.ForCycle, &i.ForReceipt, &i.Ended, &i.Parent, &i.Entry)
	if a := b.byID[id]; a != nil {
		a.Items = append(a.Items, i)
	}
	return err
}

func (b *Book) addReceipt(rows pgx.Rows) error {
	var id int64
	r := &Receipt{}
	err := rows.Scan(&id, &r.No, &r.Channel, &r.State, &r.Cents, &r.Unapplied, &r.Refunded, &r.ReceivedOn, &r.ArrivedOn, &r.PostsOn, &r.PostedOn, &r.InEntry, &r.PostedEntry, &r.EndedOn, &r.EndCode, &r.Guest, &r.Payer, &r.Directed, &r.Reference)
	if a := b.byID[id]; a != nil {
		a.Receipts = append(a.Receipts, r)
	}
	return err
}

func (b *Book) addBill(rows pgx.Rows) error {
	var id int64
	x := &Bill{}
	err := rows.Scan(&id, &x.Cycle, &x.CutOn, &x.MadeOn, &x.DueOn, &x.DeadlineOn, &x.Previous, &x.Payments, &x.Adjustments, &x.Charges, &x.Fees, &x.Balance, &x.AmountDue, &x.PendingCents, &x.DisputedCents, &x.DeferredCts,
		&x.Aging[0], &x.Aging[1], &x.Aging[2], &x.Aging[3], &x.Entries, &x.DebitOn, &x.DebitMoved, &x.DebitMissed, &x.DebitNone, &x.FeeBarred)
	if a := b.byID[id]; a != nil {
		a.Bills = append(a.Bills, x)
	}
	return err
}

func (b *Book) addHold(rows pgx.Rows) error {
	var id int64
	h := &Hold{}
	err := rows.Scan(&id, &h.No, &h.Reason, &h.PlacedOn, &h.ReleasedOn, &h.Automatic, &h.PlacedBy, &h.ReleasedBy, &h.Note)
	if a := b.byID[id]; a != nil {
		a.Holds = append(a.Holds, h)
	}
	return err
}

func (b *Book) addDebit(rows pgx.Rows) error {
	var id int64
	d := &Debit{}
	err := rows.Scan(&id, &d.Cycle, &d.Attempt, &d.Receipt, &d.Cents, &d.BuiltOn, &d.EffectiveOn, &d.DueThen, &d.LastBefore, &d.Trace, &d.SEC, &d.MethodID, &d.FileID, &d.State, &d.Missed, &d.Code, &d.ReturnedOn, &d.RetryOn)
	if a := b.byID[id]; a != nil {
		a.Debits = append(a.Debits, d)
	}
	return err
}

func (b *Book) addAllocation(rows pgx.Rows) error {
	var id int64
	var al Allocation
	err := rows.Scan(&id, &al.No, &al.Receipt, &al.Item, &al.Cents, &al.On)
	if a := b.byID[id]; a != nil {
		a.Allocations = append(a.Allocations, al)
	}
	return err
}

func (b *Book) addRecent(rows pgx.Rows) error {
	var id int64
	var r recent
	var what string
	err := rows.Scan(&id, &r.on, &what, &r.cents)
	if a := b.byID[id]; a != nil {
		if r.part = ledger.PartOf(what); r.part != ledger.NoPart {
			a.recent = append(a.recent, r)
		}
	}
	return err
}

// Save writes what the rules have changed, each table in one go. The caller
// commits.
func (b *Book) Save(ctx context.Context) error {
	s := newSaver(b.tx)
	for _, a := range b.Accounts {
		s.take(a)
	}
	return s.write(ctx)
}

// dates is a column of dates to save.
type dates = []calendar.Date
