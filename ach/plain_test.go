package ach

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// Debits that are built where they lie and those that the rules build are the
// same, row for row, whatever life the accounts have led before.
func TestPlainDebitsAreWhatTheRulesBuild(t *testing.T) {
	defer func(was int) { rulesAtOnce = was }(rulesAtOnce)
	rulesAtOnce = 7
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l := &lives{T: t, db: postgrestest.New(t), dice: rand.New(rand.NewPCG(seed, 5)), policy: billing.DefaultPolicy()}
			l.policy.ACH.MaxCentsPerEntry = 60_000
			l.open(30)
			for day := calendar.MustParse("2026-01-01"); day < calendar.MustParse("2026-05-20"); day++ {
				l.live(day)
				if _, _, d := day.Date(); d%9 != 8 { // nights are missed, too
					l.build(day)
				}
			}
			if l.plain < 15 || l.built < l.plain+10 {
				t.Errorf("%d plain debits of %d were compared: this proves little", l.plain, l.built)
			}
		})
	}
}

type lives struct {
	*testing.T
	db           *pgxpool.Pool
	dice         *rand.Rand
	policy       billing.Policy
	ids          []int64
	plain, built int
}

var everybody = billing.Range{From: 1, To: 1 << 20}

func (l *lives) do(f func(ctx context.Context, tx pgx.Tx) error) {
	l.Helper()
	if err := pgx.BeginFunc(l.Context(), l.db, func(tx pgx.Tx) error { return f(l.Context(), tx) }); err != nil {
		l.Fatal(err)
	}
}

func (l *lives) exec(sql string, args ...any) {
	l.Helper()
	if _, err := l.db.Exec(l.Context(), sql, args...); err != nil {
		l.Fatal(err)
	}
}

func (l *lives) open(n int) {
	for i := range n {
		var id int64
		if err := l.db.QueryRow(l.Context(), `insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id`, string(billing.NewMRN(int64(300_000_000+i)))).Scan(&id); err != nil {
			l.Fatal(err)
		}
		l.ids = append(l.ids, id)
	}
}

// each changes the accounts that the dice choose, one in so many.
func (l *lives) each(one int, f func(a *billing.Account)) {
	l.Helper()
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.Whole, l.ids...)
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

// live is a day of all accounts before the night builds debits.
func (l *lives) live(day calendar.Date) {
	l.Helper()
	p := &l.policy
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		if _, err := WithdrawUnreleased(ctx, tx, p, day, everybody); err != nil {
			return err
		}
		_, err := billing.PostDue(ctx, tx, p, day, everybody)
		return err
	})
	_, _, d := day.Date()
	if d == 1 || d == 9 {
		l.each(2, func(a *billing.Account) {
			a.Charge(p, day, []billing.Kind{billing.Premium, billing.Medical}[l.dice.IntN(2)], ledger.Cents(1000*(1+l.dice.IntN(25))), billing.Detail{})
		})
	}
	l.each(40, func(a *billing.Account) {
		channel, cents := []string{"online", "guest", "check"}[l.dice.IntN(3)], ledger.Cents(1000*(1+l.dice.IntN(12)))
		a.Receive(day, billing.Receipt{Channel: channel, Guest: channel == "guest", Cents: cents, ReceivedOn: day, PostsOn: day + calendar.Date(l.dice.IntN(9))})
	})
	l.each(150, func(a *billing.Account) { // what moves items and books nothing
		for _, i := range a.Items {
			if i.State == billing.Billed && i.Open() > 0 {
				if _, err := a.Dispute(p, day, i.Kind, i.No); err != nil {
					l.Error(err)
				}
				return
			}
		}
	})
	l.each(300, func(a *billing.Account) { a.Place(day, "legal", "pat", "", false) })
	l.each(100, func(a *billing.Account) { a.Release(day, "", "pat") })
	l.each(300, func(a *billing.Account) { a.SetAutopay(p, false, day) })
	l.each(60, func(a *billing.Account) {
		for _, d := range a.Debits {
			if r := a.Receipt(d.Receipt); d.State == billing.DebitBuilt && r.State == billing.Posted {
				if err := a.ReturnDebit(p, d, day, []string{"R01", "R09", "R02", "R10", "R08"}[l.dice.IntN(5)]); err != nil {
					l.Error(err)
				}
				return
			}
		}
	})
	for _, id := range l.ids {
		if l.dice.IntN(40) == 0 || day == calendar.MustParse("2026-01-01") && l.dice.IntN(3) > 0 {
			l.enrol(id, day)
		}
	}
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		_, _, err := billing.CutStatements(ctx, tx, p, day, everybody)
		return err
	})
}

// enrol gives an account another method of payment, mostly a usable one.
func (l *lives) enrol(id int64, day calendar.Date) {
	method, authorized := "ach", day
	switch l.dice.IntN(12) {
	case 0:
		method = "card"
	case 1:
		authorized = day + 9
	}
	if l.dice.IntN(4) > 0 {
		l.exec(`update autopay_method set ended_on = $2 where account_id = $1 and ended_on is null`, id, day)
	}
	l.exec(`insert into autopay_method (account_id, method, authorized_on, authorized_by, ended_on, debit_from, individual) values ($1, $2, $3, $4, $5, $6, 'x')`, id, method, authorized,
		[]string{"written", "web", "phone"}[l.dice.IntN(3)], []calendar.Date{0, 0, 0, 0, 0, day + 30}[l.dice.IntN(6)], []calendar.Date{1, 1, 1, calendar.AddBankingDays(day, 4), calendar.AddBankingDays(day, 40), 0}[l.dice.IntN(6)])
	if l.dice.IntN(15) == 0 {
		l.exec(`insert into exception (account_id, on_date, job, code, subject) select $1, $2, 'autopay', 'unusable_method', max(id)::text from autopay_method where account_id = $1`, id, day)
	}
	l.do(func(ctx context.Context, tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.Whole, id)
		if err != nil {
			return err
		}
		b.Accounts[0].SetAutopay(&l.policy, true, day)
		return b.Save(ctx)
	})
}

var errTakenBack = errors.New("taken back")

// build builds a day's debits by the rules alone, takes that back, builds them
// again as a night does, and compares.
func (l *lives) build(day calendar.Date) {
	l.Helper()
	byRules := l.selected(day, true, 0)
	l.same(day, byRules, l.selected(day, true, l.dice.IntN(5)))
	l.same(day, byRules, l.selected(day, false, everyone))
	l.exec(`update ach_file set name = 'x' || id, modifier = 'A', built_on = date '0001-01-01' + id::int, sha256 = '\x00', state = 'sealed' where state = 'open'`)
	if l.dice.IntN(10) > 0 {
		l.exec(`update ach_file set state = 'released', released_by = 'ann', released_on = $1, released_sha256 = sha256 where state = 'sealed' and effective_on > $1`, day)
	}
}

func (l *lives) same(day calendar.Date, byRules, plainly []string) {
	l.Helper()
	if d := cmp.Diff(byRules, plainly); d != "" {
		l.Fatalf("%s: by the rules (-) and plainly (+):\n%s", day, d)
	}
}

// selected selects a day's debits, of which so many may be plain, and returns
// the rows that came of it. The plain ones come first, so the debits may have
// each other's traces.
func (l *lives) selected(day calendar.Date, takeBack bool, plain int) (rows []string) {
	l.Helper()
	err := pgx.BeginFunc(l.Context(), l.db, func(tx pgx.Tx) error {
		if plain == everyone {
			l.plain += l.plainly(tx, day)
		}
		t, err := selectRange(l.Context(), tx, &l.policy, day, everybody, plain)
		if err != nil {
			return err
		}
		if !takeBack {
			l.built += int(t.Done)
		}
		slices.SortStableFunc(t.Passed, func(a, b billing.Passed) int { return int(a.Account - b.Account) })
		rows = append(rows, strings.ReplaceAll(fmt.Sprintf("%+v", t), " ", "\n"))
		for _, sql := range []string{`select (to_jsonb(d) - 'file_id' - 'trace')::text from debit d where built_on = $1 order by account_id, receipt`,
			`select string_agg(trace::text, ' ' order by trace) || (select next from ach_trace) from debit where built_on = $1 having count(*) > 0`, `select to_jsonb(r)::text from receipt r where arrived_on = $1 order by account_id, no`,
			`select (to_jsonb(a) - 'open_from')::text from account a where $1::date is not null order by id`, `select to_jsonb(b)::text from bill b where $1::date is not null order by account_id, cycle`,
			`select to_jsonb(e)::text from exception e where on_date = $1 order by account_id, code, subject`,
			`select effective_on || ' ' || entries || ' ' || cents || batches::text || first_account || ' ' || last_account from ach_file where state = 'open' and $1::date is not null order by 1`,
			`select account_id || '/' || receipt from debit d join ach_file f on f.id = d.file_id where d.built_on = $1 and not (f.effective_on = d.effective_on and d.trace between f.first_trace and f.last_trace)`} {
			got, err := tx.Query(l.Context(), sql, day)
			if err != nil {
				return err
			}
			texts, err := pgx.CollectRows(got, pgx.RowTo[string])
			if err != nil {
				return err
			}
			rows = append(rows, texts...)
		}
		if takeBack {
			return errTakenBack
		}
		return nil
	})
	if err != nil && !errors.Is(err, errTakenBack) {
		l.Fatal(err)
	}
	return rows
}

// plainly counts the debits that are plain.
func (l *lives) plainly(tx pgx.Tx, day calendar.Date) int {
	l.Helper()
	var made plainDebits
	err := pgx.BeginFunc(l.Context(), tx, func(tx pgx.Tx) (err error) {
		if made, err = makePlain(l.Context(), tx, &l.policy, day, everybody, everyone); err == nil {
			err = errTakenBack
		}
		return err
	})
	if !errors.Is(err, errTakenBack) {
		l.Fatal(err)
	}
	return made.n
}
