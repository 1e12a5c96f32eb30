package billing

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The nightly work of this room, each over a key range of accounts in the
// caller's transaction. Everything is chosen by how it stands, so that a
// second look finds nothing left to do.

// Tally is what a piece of work came to. Selected = Done + all Skipped +
// Parked.
type Tally struct {
	Selected int64
	Done     int64
	Skipped  map[string]int64 // by coded reason
	Parked   int64
	Cents    ledger.Cents
	Passed   []Passed // whom it was skipped for, where that is known; Add leaves it out
}

// Passed is something not done for an account.
type Passed struct {
	Account int64
	Reason  string
	Subject string // what it is about: a cycle, a channel, "" for the account
}

// Skip counts work not done, with its reason.
func (t *Tally) Skip(reason string, n int64) {
	if n == 0 {
		return
	}
	if t.Skipped == nil {
		t.Skipped = map[string]int64{}
	}
	t.Skipped[reason] += n
	t.Selected += n
}

// Pass counts something not done for an account, with its reason.
func (t *Tally) Pass(account int64, reason, subject string) {
	t.Skip(reason, 1)
	t.Passed = append(t.Passed, Passed{account, reason, subject})
}

// Did counts work done.
func (t *Tally) Did(n int64, cents ledger.Cents) {
	t.Selected += n
	t.Done += n
	t.Cents += cents
}

// Add adds another tally.
func (t *Tally) Add(o Tally) {
	t.Selected, t.Done, t.Parked, t.Cents = t.Selected+o.Selected, t.Done+o.Done, t.Parked+o.Parked, t.Cents+o.Cents
	for reason, n := range o.Skipped {
		if t.Skipped == nil {
			t.Skipped = map[string]int64{}
		}
		t.Skipped[reason] += n
	}
}

// Range is a key range of accounts: From <= id < To.
type Range struct{ From, To int64 }

// PostDue posts every pending receipt of the range whose posting date has
// come: the plain ones where they lie, the others by the rules.
func PostDue(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range) (t Tally, err error) {
	if err := LockRange(ctx, tx, r); err != nil {
		return t, err
	}
	n, cents, err := postPlain(ctx, tx, p, day, r)
	if err != nil {
		return t, err
	}
	t.Did(n, cents)
	var rest []int64
	err = byLookup(ctx, tx, func() (err error) {
		rest, err = ids(ctx, tx, `select id from account a where id >= $2 and id < $3 and pending > 0
			and exists (select from receipt where account_id = a.id and no >= a.open_from and state = 'pending' and posts_on <= $1) order by id`, day, r.From, r.To)
		return err
	})
	if err != nil || len(rest) == 0 {
		return t, err
	}
	b, err := Load(ctx, tx, ToPost, rest...)
	if err != nil {
		return t, err
	}
	for _, a := range b.Accounts {
		n, cents := a.PostDue(p, day)
		t.Did(int64(n), cents)
	}
	return t, b.Save(ctx)
}

// BillRef names a bill.
type BillRef struct {
	AccountID int64
	Cycle     calendar.Cycle
}

// CutStatements closes the cycles of the range that a run dated day has to,
// and returns the bills made, by account: the plain ones where they lie, the
// others by the rules.
func CutStatements(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, r Range) (Tally, []BillRef, error) {
	var t Tally
	if err := LockRange(ctx, tx, r); err != nil {
		return t, nil, err
	}
	last := calendar.CycleOf(day)
	if first, _ := p.Widest(func(p *Policy) int { return p.Statement.CutDay }); last.CutOn(first) > day {
		last--
	}
	var charged, none, due int64
	err := tx.QueryRow(ctx, `select count(*) filter (where first_cycle <> 0), count(*) filter (where first_cycle = 0), count(*) filter (where first_cycle <> 0 and greatest(first_cycle, last_cycle + 1) <= $3)
		from account where id >= $1 and id < $2 and id > 0`, r.From, r.To, last).Scan(&charged, &none, &due)
	if err != nil {
		return t, nil, err
	}
	t.Skip(NothingCharged, none)
	t.Skip(AlreadyCut, charged-due)
	if due == 0 {
		return t, nil, nil
	}
	plain, cents, err := cutPlain(ctx, tx, p, day, r)
	if err != nil {
		return t, nil, err
	}
	t.Did(int64(len(plain)), cents)
	if int64(len(plain)) == due {
		return t, plain, nil
	}
	made, err := t.cutByRule(ctx, tx, p, day, last, r)
	return t, inOrder(plain, made), err
}

// cutByRule closes the cycles up to last of those accounts of the range that
// still have some to close.
func (t *Tally) cutByRule(ctx context.Context, tx pgx.Tx, p *Policy, day calendar.Date, last calendar.Cycle, r Range) ([]BillRef, error) {
	open, err := ids(ctx, tx, `select id from account where id >= $1 and id < $2 and id > 0 and first_cycle <> 0 and greatest(first_cycle, last_cycle + 1) <= $3 order by id`, r.From, r.To, last)
	if err != nil {
		return nil, err
	}
	missed, err := ids(ctx, tx, `select a.id from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle
		where a.id = any($1) and a.autopay = 'on' and least(b.debit_on, b.due_on) <= $2 and not b.debit_none
		and not exists (select from debit d where d.account_id = a.id and d.cycle = b.cycle and d.attempt = 0 and d.state <> 'withdrawn')
		and not exists (select from card_charge c where c.account_id = a.id and c.cycle = b.cycle and c.attempt = 0) order by a.id`, open, day)
	if err != nil {
		return nil, err
	}
	var made []BillRef
	cut := func(a *Account) {
		bills, reason := a.Cut(p, day)
		if reason != "" {
			t.Pass(a.ID, reason, "")
			return
		}
		t.Did(1, bills[len(bills)-1].AmountDue)
		for _, x := range bills {
			made = append(made, BillRef{a.ID, x.Cycle})
		}
	}
	if err := Each(ctx, tx, p.Need(Whole), missed, cut); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(open, func(id int64) bool { _, is := slices.BinarySearch(missed, id); return is })
	err = Each(ctx, tx, p.Need(ToCut), others, cut)
	return made, err
}

// AssessLateFees looks at the bills of the range whose deadline passed since
// the last finished run (since; 0 for none), and at those of accounts where
// something happened that may change an earlier answer.
func AssessLateFees(ctx context.Context, tx pgx.Tx, p *Policy, day, since calendar.Date, r Range) (t Tally, err error) {
	if err := LockRange(ctx, tx, r); err != nil {
		return t, err
	}
	var fresh, after int64 // bills, and accounts of which an older bill may be fresh, too
	if err := tx.QueryRow(ctx, `select count(*) filter (where bill_until >= $1 and bill_until < $2), count(*) filter (where older_until >= $1) from account where id >= $3 and id < $4`,
		floor(since), day, r.From, r.To).Scan(&fresh, &after); err != nil {
		return t, err
	}
	look, err := ids(ctx, tx, `select id from account a where id >= $2 and id < $3 and relook and exists (select from bill b where b.account_id = a.id and b.deadline_on < $1)`, day, r.From, r.To)
	if err != nil {
		return t, err
	}
	looked := int64(0)
	if fresh > 0 {
		n, cents, rest, err := assessPlain(ctx, tx, p, day, since, r)
		if err != nil {
			return t, err
		}
		t.Did(n, cents)
		looked, look = n, append(look, rest...)
	}
	if after > 0 {
		older, rest, err := olderBills(ctx, tx, day, since, r)
		if err != nil {
			return t, err
		}
		fresh, look = fresh+older, append(look, rest...)
	}
	slices.Sort(look)
	look = slices.Compact(look)
	err = Each(ctx, tx, p.Need(Whole|unbooked), look, func(a *Account) {
		looked += a.countFresh(since, day)
		t.assess(a, p, day, since)
	})
	t.Skip(NotLate, fresh-looked)
	return t, err
}

// AtOnce is how many accounts are in memory at once with all that lies behind
// them, which grows with their months: some ten KB a year for each.
const AtOnce = 1000

// InParts loads accounts, AtOnce at a time, does something with them and saves
// them. Their ids are in order, as locks are taken.
func InParts(ctx context.Context, tx pgx.Tx, need Need, ids []int64, do func(b *Book) error) error {
	for some := range slices.Chunk(ids, AtOnce) {
		b, err := Load(ctx, tx, need, some...)
		if err != nil {
			return err
		}
		if err := do(b); err != nil {
			return err
		}
		if err := b.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Each is InParts for what is done account by account.
func Each(ctx context.Context, tx pgx.Tx, need Need, ids []int64, do func(a *Account)) error {
	return InParts(ctx, tx, need, ids, func(b *Book) error {
		for _, a := range b.Accounts {
			do(a)
		}
		return nil
	})
}

// floor makes "no date" the first one, which SQL can compare with.
func floor(d calendar.Date) calendar.Date { return max(d, 1) }

func (a *Account) countFresh(since, day calendar.Date) (n int64) {
	for _, b := range a.Bills {
		if b.freshFor(since, day) {
			n++
		}
	}
	return n
}

// freshFor says whether a bill's deadline has passed since the last finished
// run.
func (b *Bill) freshFor(since, day calendar.Date) bool {
	return b.DeadlineOn >= since && b.DeadlineOn < day
}

func (t *Tally) assess(a *Account, p *Policy, day, since calendar.Date) {
	assessed, held := a.AssessLate(p, day)
	if held != "" {
		for _, b := range a.Bills {
			if b.freshFor(since, day) {
				t.Pass(a.ID, held, b.Cycle.String())
			}
		}
		a.lookAgain() // when the hold is over
		return
	}
	for n, x := range assessed {
		switch {
		case x.Reason == "":
			t.Did(1, x.Cents)
		case a.Bills[n].DeadlineOn >= since: // older ones were counted by an earlier run
			t.Pass(a.ID, x.Reason, x.Cycle.String())
		}
	}
}

// ids collects account ids.
func ids(ctx context.Context, q Querier, sql string, args ...any) ([]int64, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}
