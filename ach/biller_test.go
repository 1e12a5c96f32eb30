package ach_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// The month of these tests: cut on Sunday 1 March 2026, due on Wednesday the
// 25th, so that debits are built on Tuesday the 24th.
var (
	cutDay   = calendar.MustParse("2026-03-01")
	buildDay = calendar.MustParse("2026-03-24")
	dueDay   = calendar.MustParse("2026-03-25")
)

const ourBank = "121000358"

// biller is a biller in a database of its own.
type biller struct {
	*testing.T
	db   *pgxpool.Pool
	p    *billing.Policy
	keys *secret.Keys
	made int // accounts
}

func newBiller(t *testing.T) *biller {
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	p := billing.DefaultPolicy()
	return &biller{T: t, db: postgrestest.New(t), p: &p, keys: keys}
}

func (b *biller) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *biller) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.db.Exec(b.Context(), sql, args...)
	b.must(err)
}

// ask returns the one value of a query as text.
func (b *biller) ask(sql string, args ...any) string {
	b.Helper()
	var s string
	b.must(b.db.QueryRow(b.Context(), `select coalesce(string_agg(x::text, ' '), '') from (`+sql+`) q(x)`, args...).Scan(&s))
	return s
}

func (b *biller) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (b *biller) office(day calendar.Date, operator string) ach.Office {
	return ach.Office{DB: b.db, Policy: b.p, Keys: b.keys, Day: day, Operator: operator}
}

func mrnOf(id int64) string { return string(billing.NewMRN(100_000_000 + id)) }

func numberOf(id int64) string { return fmt.Sprintf("90000%04d", id) }

// account opens an account that is billed cents on the cut day.
func (b *biller) account(cents ledger.Cents) (id int64) {
	b.Helper()
	b.made++
	b.must(b.db.QueryRow(b.Context(), `with a as (insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id)
		insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		select $1, id, 'Zoë', 'Member', '1 Main St', '', 'Oakland', 'CA', '94601', '', '', 'en', 'paper' from a returning account_id`, mrnOf(int64(b.made))).Scan(&id))
	b.change(id, func(a *billing.Account) {
		a.Charge(b.p, cutDay, billing.Premium, cents, billing.Detail{MRN: a.MRN})
		a.Cut(b.p, cutDay)
	})
	return id
}

// payer is an account with autopay from a bank account authorized online.
func (b *biller) payer(cents ledger.Cents) (id int64) {
	b.Helper()
	id = b.account(cents)
	b.enrol(id, calendar.MustParse("2026-02-01"), "web")
	return id
}

func (b *biller) enrol(id int64, day calendar.Date, by string) {
	b.Helper()
	b.method(id, day, by, numberOf(id))
	b.change(id, func(a *billing.Account) { a.SetAutopay(b.p, true, day) })
}

func (b *biller) method(id int64, day calendar.Date, by, number string) {
	b.Helper()
	sealed, err := b.keys.Seal([]byte(number), fmt.Sprintf("autopay_method/%d", id))
	b.must(err)
	b.exec(`insert into autopay_method (account_id, method, routing, number_sealed, number_hash, authorized_on, authorized_by, individual) select $1, 'ach', $2, $3, $4, $5, $6, mrn from account where id = $1`, id, ourBank, sealed, b.keys.Fingerprint(ourBank, number), day, by)
}

func (b *biller) change(id int64, do func(a *billing.Account)) {
	b.Helper()
	b.must(pgx.BeginFunc(b.Context(), b.db, func(tx pgx.Tx) error {
		book, err := billing.Load(b.Context(), tx, billing.Whole, id)
		if err != nil {
			return err
		}
		do(book.Account(id))
		return book.Save(b.Context())
	}))
}

// ranged does work over all accounts.
func (b *biller) ranged(do func(context.Context, pgx.Tx, *billing.Policy, calendar.Date, billing.Range) (billing.Tally, error), day calendar.Date) (t billing.Tally) {
	b.Helper()
	b.must(pgx.BeginFunc(b.Context(), b.db, func(tx pgx.Tx) (err error) {
		t, err = do(b.Context(), tx, b.p, day, billing.Range{From: 1, To: 1 << 40})
		return err
	}))
	skipped := int64(0)
	for _, n := range t.Skipped {
		skipped += n
	}
	if t.Selected != t.Done+skipped+t.Parked {
		b.Errorf("the tally does not add up: %+v", t)
	}
	return t
}

// build runs autopay of a day as the clock.
func (b *biller) build(day calendar.Date) (billing.Tally, []ach.FileInfo) {
	b.Helper()
	t := b.ranged(ach.Select, day)
	files, err := b.office(day, "system").Seal(b.Context())
	b.must(err)
	return t, files
}

// post runs what posts on a day.
func (b *biller) post(day calendar.Date) (withdrawn, posted billing.Tally) {
	b.Helper()
	withdrawn = b.ranged(ach.WithdrawUnreleased, day)
	b.ranged(ach.SettleOthers, day)
	return withdrawn, b.ranged(billing.PostDue, day)
}

func (b *biller) release(day calendar.Date, files ...ach.FileInfo) {
	b.Helper()
	for _, f := range files {
		_, err := b.office(day, "ann").Release(b.Context(), f.ID)
		b.must(err)
	}
}

// sent builds and releases the debits of a day, and posts them on their own.
func (b *biller) sent(day, effective calendar.Date) []ach.FileInfo {
	b.Helper()
	_, files := b.build(day)
	b.release(day, files...)
	b.post(effective)
	return files
}

// figures are the ledger figure, what is pending, due, and autopay's standing.
func (b *biller) figures(id int64) string {
	b.Helper()
	var s string
	b.change(id, func(a *billing.Account) {
		f := a.Figures()
		s = fmt.Sprint(int64(f.Ledger), int64(f.Pending), int64(f.Due), " ", a.Autopay)
	})
	return s
}

func (b *biller) debits(id int64) string {
	b.Helper()
	return b.ask(`select attempt || ':' || effective_on || ':' || state || case when missed then ':missed' else '' end from debit where account_id = $1 order by receipt`, id)
}

func (b *biller) exceptions() string {
	b.Helper()
	return b.ask(`select account_id || ':' || job || ':' || code || ':' || subject from exception order by on_date, account_id, code`)
}
