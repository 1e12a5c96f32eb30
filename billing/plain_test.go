package billing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// The plain statements and the rules must leave the same books, row for row,
// whatever life the accounts have led before.
func TestPlainWorkIsWhatTheRulesDo(t *testing.T) {
	const accounts, months = 40, 4
	underWay := 0
	for seed, policies := range []string{`[]`, `[]`,
		`[{"from": "2026-02-10", "late_fee": {"kind": "percent", "percent": "2", "min_cents": 300}, "allocation": {"order": ["fee", "medical", "premium"]}},
		  {"from": "2026-03-15", "statement": {"cut_day": 5, "due_day": 20}, "late_fee": {"grace_days": 2}}]`,
		`[{"for": {"states": ["NV"]}, "late_fee": {"cents": 700, "grace_days": 9}, "statement": {"cut_day": 3}},
		  {"from": "2026-03-01", "for": {"plans": ["GOLD"]}, "late_fee": {"cents": 0}}]`,
		`[{"from": "2026-01-20", "late_fee": {"kind": "percent", "percent": "1.234567", "max_cents": 150}}, {"for": {"states": ["CA"]}, "late_fee": {"kind": "percent", "percent": "12.5"}}]`,
	} {
		t.Run(fmt.Sprint("seed ", seed+1), func(t *testing.T) {
			policy, err := ParsePolicy([]byte(`{"late_fee": {"minimum_base_cents": 1000}, "policies": ` + policies + `}`))
			if err != nil {
				t.Fatal(err)
			}
			l := &lives{t: t, db: postgrestest.New(t), dice: rand.New(rand.NewPCG(uint64(seed+1), 9)), policy: policy}
			l.open(accounts)
			day := calendar.MustParse("2026-01-01")
			assessed := calendar.Date(0)
			for ; day < calendar.MustParse("2026-01-01")+months*30; day++ {
				l.receive(day)
				l.compare(day, "post", func(ctx context.Context, tx pgx.Tx) error {
					_, err := PostDue(ctx, tx, &l.policy, day, l.all())
					return err
				}, l.postByRule)
				l.misc(day)
				if _, _, d := day.Date(); d != 3 && d != 4 { // nights are missed, too
					since := assessed
					l.compare(day, "late fees", func(ctx context.Context, tx pgx.Tx) error {
						_, err := AssessLateFees(ctx, tx, &l.policy, day, since, l.all())
						return err
					}, l.assessByRule)
					assessed = day
				}
				if _, _, d := day.Date(); d == 1 || d == 7 {
					l.charge(day)
				}
				if _, _, d := day.Date(); d != 5 && d != 6 {
					l.compare(day, "cut", func(ctx context.Context, tx pgx.Tx) error {
						_, _, err := CutStatements(ctx, tx, &l.policy, day, l.all())
						return err
					}, l.cutByRule)
				}
			}
			l.invariants()
			underWay += l.feesWithMoneyUnderWay
			if l.plainPosts == 0 || l.plainFees == 0 || (l.plainCuts == 0) != l.policy.selects() {
				t.Errorf("%d plain posts, %d plain fees and %d plain cuts were compared: this proves nothing", l.plainPosts, l.plainFees, l.plainCuts)
			}
		})
	}
	if underWay == 0 {
		t.Error("no plain fee with money under way was compared")
	}
}

// A dispute that was accepted leaves an item of nothing in dispute; the account
// is plain again all the same.
func TestPlainCutAfterADispute(t *testing.T) {
	l := &lives{t: t, db: postgrestest.New(t), dice: rand.New(rand.NewPCG(1, 1)), policy: DefaultPolicy()}
	l.open(1)
	cut := func(on string) (plain int) {
		l.plainCuts = 0
		day := calendar.MustParse(on)
		l.compare(day, "cut", func(ctx context.Context, tx pgx.Tx) error {
			_, _, err := CutStatements(ctx, tx, &l.policy, day, l.all())
			return err
		}, l.cutByRule)
		return l.plainCuts
	}
	l.charge(calendar.MustParse("2026-01-05"))
	cut("2026-02-01")
	l.each(1, func(a *Account) {
		for _, kind := range []Kind{Premium, Medical} {
			_, _ = a.Dispute(&l.policy, calendar.MustParse("2026-02-03"), kind, 0)
			_, _ = a.Settle(&l.policy, calendar.MustParse("2026-02-04"), kind, 0, true)
		}
	})
	cut("2026-03-01")
	l.charge(calendar.MustParse("2026-03-05"))
	if n := cut("2026-04-01"); n != 1 {
		t.Errorf("%d plain cuts, want 1", n)
	}
	l.invariants()
}

// Money of a guest pays what was billed when it came, and no later bill.
func TestGuestMoneyUnderWay(t *testing.T) {
	for guest, fees := range map[bool]int{true: 1, false: 0} {
		l := &lives{t: t, db: postgrestest.New(t), dice: rand.New(rand.NewPCG(1, 1)), policy: DefaultPolicy()}
		l.open(1)
		l.charge(calendar.MustParse("2026-01-05"))
		l.each(1, func(a *Account) {
			day := calendar.MustParse("2026-01-20")
			a.Receive(day, Receipt{Channel: "guest", Guest: guest, Cents: 100_000_00, ReceivedOn: day, PostsOn: calendar.MustParse("2026-06-01")})
		})
		day := calendar.MustParse("2026-02-01")
		l.compare(day, "cut", func(ctx context.Context, tx pgx.Tx) error {
			_, _, err := CutStatements(ctx, tx, &l.policy, day, l.all())
			return err
		}, l.cutByRule)
		day = calendar.MustParse("2026-03-20")
		l.compare(day, "late fees", func(ctx context.Context, tx pgx.Tx) error {
			got, err := AssessLateFees(ctx, tx, &l.policy, day, 0, l.all())
			if err == nil && got.Done != int64(fees) {
				err = fmt.Errorf("%d fees with a guest's money %v, want %d", got.Done, guest, fees)
			}
			return err
		}, l.assessByRule)
		l.invariants()
	}
}

// What bars a fee lies on the bill, which isn't looked up for a plain one.
func TestWhatBarsAFeeIsSeen(t *testing.T) {
	for why, c := range map[string]struct {
		cutOn string
		bar   func(b *Bill)
		fees  int64
	}{
		"nothing":        {"2026-02-01", func(*Bill) {}, 1},
		"made after due": {"2026-02-27", func(*Bill) {}, 0},
		"debit moved":    {"2026-02-01", func(b *Bill) { b.DebitMoved = true }, 0},
		"debit missed":   {"2026-02-01", func(b *Bill) { b.DebitMissed = true }, 0},
		"unauthorized":   {"2026-02-01", func(b *Bill) { b.FeeBarred = true }, 0},
	} {
		t.Run(why, func(t *testing.T) {
			l := &lives{t: t, db: postgrestest.New(t), dice: rand.New(rand.NewPCG(1, 1)), policy: DefaultPolicy()}
			l.open(1)
			l.charge(calendar.MustParse("2026-01-05"))
			day := calendar.MustParse(c.cutOn)
			l.compare(day, "cut", func(ctx context.Context, tx pgx.Tx) error {
				_, _, err := CutStatements(ctx, tx, &l.policy, day, l.all())
				return err
			}, l.cutByRule)
			l.each(1, func(a *Account) {
				for _, b := range a.Bills {
					c.bar(b)
					b.dirty, a.dirty = true, true
				}
			})
			day = calendar.MustParse("2026-03-20")
			l.compare(day, "late fees", func(ctx context.Context, tx pgx.Tx) error {
				got, err := AssessLateFees(ctx, tx, &l.policy, day, 0, l.all())
				if err == nil && got.Done != c.fees {
					err = fmt.Errorf("%d fees, want %d", got.Done, c.fees)
				}
				return err
			}, l.assessByRule)
			l.invariants()
		})
	}
}

// However many accounts a range has to look at, each is done once, in order, and
// saved; and no more are in memory than may be.
func TestEachAccountIsDoneAndSavedOnce(t *testing.T) {
	const accounts = 2*AtOnce + 1
	ctx, db := t.Context(), postgrestest.New(t)
	if _, err := db.Exec(ctx, `insert into account (mrn, opened_on) select 'M' || n, '2026-01-01' from generate_series(1, $1::int) n`, accounts); err != nil {
		t.Fatal(err)
	}
	policy, day := DefaultPolicy(), calendar.MustParse("2026-01-05")
	var done []int64
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		all, err := ids(ctx, tx, `select id from account where id > 0 order by id`)
		if err != nil {
			return err
		}
		return Each(ctx, tx, policy.Need(Whole), all, func(a *Account) {
			done = append(done, a.ID)
			a.Charge(&policy, day, Premium, ledger.Cents(a.ID), Detail{})
			if n := len(done); n > AtOnce && n%AtOnce == 1 { // of the ones before, nothing is held back
				var saved int
				if err := tx.QueryRow(ctx, `select count(*) from item`).Scan(&saved); err != nil || saved != n-1 {
					t.Errorf("%d accounts saved when %d are done, %v", saved, n-1, err)
				}
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	var right int
	if err := db.QueryRow(ctx, `select count(*) from item where cents = account_id`).Scan(&right); err != nil || right != accounts {
		t.Errorf("%d accounts have their charge, want %d, %v", right, accounts, err)
	}
	if len(done) != accounts || !slices.IsSorted(done) {
		t.Errorf("%d accounts done, in order: %v", len(done), slices.IsSorted(done))
	}
}

type lives struct {
	t                     *testing.T
	db                    *pgxpool.Pool
	dice                  *rand.Rand
	policy                Policy
	ids                   []int64
	plainPosts, plainFees int
	plainCuts             int
	feesWithMoneyUnderWay int
}

func (l *lives) all() Range { return Range{1, 1 << 20} }

func (l *lives) do(f func(ctx context.Context, tx pgx.Tx) error) {
	l.t.Helper()
	if err := pgx.BeginFunc(l.t.Context(), l.db, func(tx pgx.Tx) error { return f(l.t.Context(), tx) }); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lives) open(n int) {
	for i := range n {
		var id int64
		mrn := string(NewMRN(int64(300_000_000 + i)))
		if err := l.db.QueryRow(l.t.Context(), `insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id`, mrn).Scan(&id); err != nil {
			l.t.Fatal(err)
		}
		if _, err := l.db.Exec(l.t.Context(), `insert into member values ($1, $2, 'Ann', 'Member', null, '', '', '', $3, '', '', '', '', 'paper', null)`, mrn, id, []string{"CA", "NV"}[i%2]); err != nil {
			l.t.Fatal(err)
		}
		if i%3 == 0 {
			if _, err := l.db.Exec(l.t.Context(), `insert into coverage values ($1, 0, $2, 'GOLD', '2026-01-01', null, null, 0, 0, null, 0, null, false)`, id, mrn); err != nil {
				l.t.Fatal(err)
			}
		}
		l.ids = append(l.ids, id)
	}
}

// each changes the accounts that the dice choose, one in so many.
func (l *lives) each(one int, f func(a *Account)) {
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		b, err := Load(ctx, tx, l.policy.Need(Whole), l.ids...)
		if err != nil {
			return err
		}
		for _, a := range b.Accounts {
			if l.dice.IntN(one) == 0 {
				f(a)
			}
		}
		return b.Save(ctx)
	})
}

func (l *lives) charge(day calendar.Date) {
	l.each(1, func(a *Account) {
		for range 1 + l.dice.IntN(3) {
			kind := []Kind{Premium, Medical}[l.dice.IntN(2)]
			a.Charge(&l.policy, day, kind, ledger.Cents(500*(1+l.dice.IntN(20))), Detail{})
		}
	})
}

// receive takes checks in, of what is due or of something else, received
// today, days ago or even before the last cut.
func (l *lives) receive(day calendar.Date) {
	l.each(12, func(a *Account) {
		cents := a.Due()
		if cents == 0 || l.dice.IntN(3) == 0 {
			cents = ledger.Cents(100 * (1 + l.dice.IntN(60)))
		}
		received := day - calendar.Date([]int{0, 0, 1, 2, 5, 9, 20}[l.dice.IntN(7)])
		if calm(a) {
			received, cents = day, cents/ledger.Cents(1+l.dice.IntN(3))
		}
		r := Receipt{Channel: []string{"lockbox", "online", "counter"}[l.dice.IntN(3)], Cents: cents, ReceivedOn: received, ArrivedOn: day, PostsOn: day}
		if r.Channel == "lockbox" {
			r.PostsOn = l.policy.Lockbox.PostsOn(received)
		}
		odd := l.dice.IntN(12)
		switch {
		case calm(a):
		case odd == 0:
			r.Directed = Medical
		case odd == 1:
			r.Channel, r.Guest = "guest", true
		}
		a.Receive(day, r)
	})
}

// calm says whose life is to be plain: every other one's.
func calm(a *Account) bool { return a.ID%2 == 0 }

// misc is what makes a life unplain.
func (l *lives) misc(day calendar.Date) {
	l.each(20, func(a *Account) {
		if calm(a) {
			return
		}
		switch l.dice.IntN(12) {
		case 5, 6:
			_, _ = a.Dispute(&l.policy, day, []Kind{Premium, Medical}[l.dice.IntN(2)], 0) // refused where nothing is open
		case 9, 10, 11:
			_, _ = a.Settle(&l.policy, day, []Kind{Premium, Medical}[l.dice.IntN(2)], 0, l.dice.IntN(3) > 0) // refused where nothing is disputed
		case 7:
			_, _ = a.MakePlan(&l.policy, day, Medical, 1000, 1+l.dice.IntN(3)) // refused where there is too little
		case 8:
			a.Autopay, a.dirty = AutopaySuspended, true
			a.stand(Standing{On: day, State: AutopaySuspended})
		case 0:
			_ = a.Adjust(&l.policy, day, Medical, -300, 0, Detail{}) // refused where there is too little
		case 1:
			a.Place(day, "review", "test", "", false)
		case 2:
			a.Release(day, "", "test")
		case 3:
			for _, r := range a.Receipts {
				if r.State == Posted && r.Refunded == 0 {
					if err := a.Return(&l.policy, r, day, "NSF"); err != nil {
						l.t.Fatal(err)
					}
					a.ReturnedFee(&l.policy, r, day)
					return
				}
			}
		case 4:
			_ = a.Waive(&l.policy, day, FromLateFee, 1000) // refused where there is none
		}
	})
}

func (l *lives) postByRule(ctx context.Context, tx pgx.Tx, day calendar.Date) error {
	b, err := Load(ctx, tx, Whole, l.ids...)
	if err != nil {
		return err
	}
	for _, a := range b.Accounts {
		a.PostDue(&l.policy, day)
	}
	return b.Save(ctx)
}

func (l *lives) cutByRule(ctx context.Context, tx pgx.Tx, day calendar.Date) error {
	b, err := Load(ctx, tx, l.policy.Need(Whole), l.ids...)
	if err != nil {
		return err
	}
	for _, a := range b.Accounts {
		a.Cut(&l.policy, day)
	}
	return b.Save(ctx)
}

func (l *lives) assessByRule(ctx context.Context, tx pgx.Tx, day calendar.Date) error {
	b, err := Load(ctx, tx, Whole, l.ids...)
	if err != nil {
		return err
	}
	for _, a := range b.Accounts {
		a.AssessLate(&l.policy, day)
	}
	return b.Save(ctx)
}

// compare does the night's work, undoes it, has the rules do it on every
// account, and holds the rows against each other. The night's work stays.
func (l *lives) compare(day calendar.Date, what string, work func(ctx context.Context, tx pgx.Tx) error, rule func(context.Context, pgx.Tx, calendar.Date) error) {
	l.t.Helper()
	undo := errors.New("undo")
	var byRule, byNight []string
	err := pgx.BeginFunc(l.t.Context(), l.db, func(tx pgx.Tx) error {
		if err := rule(l.t.Context(), tx, day); err != nil {
			return err
		}
		byRule = l.rows(tx)
		return undo
	})
	if !errors.Is(err, undo) {
		l.t.Fatal(err)
	}
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		if err := l.countPlain(ctx, tx, day, what); err != nil {
			return err
		}
		if err := work(ctx, tx); err != nil {
			return err
		}
		byNight = l.rows(tx)
		return nil
	})
	if diff := cmp.Diff(byRule, byNight); diff != "" {
		l.t.Fatalf("%s, %s: the rules (-) and the night (+) differ:\n%s", day, what, diff)
	}
}

// countPlain counts what of the night's work will be plain.
func (l *lives) countPlain(ctx context.Context, tx pgx.Tx, day calendar.Date, what string) error {
	undo, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer undo.Rollback(ctx)
	switch what {
	case "post":
		n, _, err := postPlain(ctx, undo, &l.policy, day, l.all())
		l.plainPosts += int(n)
		return err
	case "cut":
		made, _, err := cutPlain(ctx, undo, &l.policy, day, l.all())
		l.plainCuts += len(made)
		return err
	default:
		n, _, _, err := assessPlain(ctx, undo, &l.policy, day, 0, l.all())
		if err != nil {
			return err
		}
		l.plainFees += int(n)
		way, err := ids(ctx, undo, `select i.account_id from item i join account a on a.id = i.account_id where i.origin = 'late_fee' and i.arrived_on = $1 and i.entry = a.entries and a.pending > 0`, day)
		l.feesWithMoneyUnderWay += len(way)
		return err
	}
}

// rows are the books, without what is only kept to save looking.
func (l *lives) rows(tx pgx.Tx) []string {
	l.t.Helper()
	rows, err := tx.Query(l.t.Context(), `
		select 'account ' || (id, docs, entries, pending, base, first_cycle, last_cycle, autopay, bill_made, bill_until, older_until)::text from account
		union all select 'item ' || i::text from item i
		union all select 'receipt ' || r::text from receipt r
		union all select 'bill ' || b::text from bill b
		union all select 'allocation ' || al::text from allocation al
		union all select 'journal ' || j::text from journal j order by 1`)
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lives) invariants() {
	l.t.Helper()
	for _, inv := range append(append([]ledger.Invariant{}, ledger.Invariants...), Invariants...) {
		var n int
		if inv.Name == "statement_sealed" {
			continue // the statements room seals, not this test
		}
		if err := l.db.QueryRow(l.t.Context(), "select count(*) from ("+inv.SQL+") x").Scan(&n); err != nil || n != 0 {
			l.t.Errorf("%s: %d rows break it, error %v", inv.Name, n, err)
		}
	}
}
