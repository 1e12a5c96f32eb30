package billing_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

func day(s string) calendar.Date { return calendar.MustParse(s) }

// newAccount opens an account for one member who can be mailed to.
func newAccount(t *testing.T, db *pgxpool.Pool, mrn string) int64 {
	t.Helper()
	var id int64
	err := db.QueryRow(t.Context(), `with a as (insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id)
		insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		select $1, id, 'Ann', 'Example', '1 Main St', '', 'Oakland', 'CA', '94601', '', '', 'en', 'paper' from a returning account_id`, mrn).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// change applies rules to one account and saves it.
func change(t *testing.T, db *pgxpool.Pool, id int64, need billing.Need, do func(a *billing.Account)) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		b, err := billing.Load(t.Context(), tx, need, id)
		if err != nil {
			return err
		}
		do(b.Account(id))
		return b.Save(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inTx runs nightly work over all accounts.
func inTx(t *testing.T, db *pgxpool.Pool, do func(ctx context.Context, tx pgx.Tx, all billing.Range) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error { return do(t.Context(), tx, billing.Range{From: 1, To: 1 << 20}) }); err != nil {
		t.Fatal(err)
	}
}

// What was saved comes back: a bill, a fee, a payment and its allocation, and
// the figures agree with the journal.
func TestSavedAccountComesBack(t *testing.T) {
	db := postgrestest.New(t)
	p := billing.DefaultPolicy()
	id := newAccount(t, db, "1234567897")
	change(t, db, id, billing.OpenOnly, func(a *billing.Account) {
		a.Charge(&p, day("2026-03-01"), billing.Premium, 45000, billing.Detail{ChargeID: "c1", MRN: "1234567897"})
		a.Charge(&p, day("2026-03-01"), billing.Medical, 12500, billing.Detail{ChargeID: "c2", MRN: "1234567897"})
	})
	inTx(t, db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		tally, bills, err := billing.CutStatements(ctx, tx, &p, day("2026-03-01"), all)
		if len(bills) != 1 || tally.Done != 1 || tally.Cents != 57500 {
			t.Errorf("cut: %+v %v", tally, bills)
		}
		return err
	})
	inTx(t, db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		tally, err := billing.AssessLateFees(ctx, tx, &p, day("2026-03-31"), 0, all)
		if tally.Done != 1 || tally.Cents != 1000 {
			t.Errorf("late fees: %+v", tally)
		}
		return err
	})
	change(t, db, id, billing.OpenOnly, func(a *billing.Account) {
		a.Receive(day("2026-04-02"), billing.Receipt{Channel: "lockbox", Cents: 57500, ReceivedOn: day("2026-03-24"), PostsOn: day("2026-04-02")})
	})
	inTx(t, db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		_, err := billing.PostDue(ctx, tx, &p, day("2026-04-02"), all)
		return err
	})
	inTx(t, db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		tally, err := billing.AssessLateFees(ctx, tx, &p, day("2026-04-02"), day("2026-03-31"), all)
		if tally.Done != 1 || tally.Cents != -1000 {
			t.Errorf("reversal: %+v", tally)
		}
		return err
	})
	change(t, db, id, billing.Whole, func(a *billing.Account) {
		f := a.Figures()
		if f.Ledger != 0 || f.Due != 0 || len(a.Bills) != 1 || len(a.Items) != 3 || len(a.Allocations) != 2 {
			t.Errorf("figures %+v, %d bills, %d items, %d allocations", f, len(a.Bills), len(a.Items), len(a.Allocations))
		}
	})
	for _, inv := range ledger.Invariants {
		var broken int
		if err := db.QueryRow(t.Context(), "select count(*) from ("+inv.SQL+") x").Scan(&broken); err != nil || broken != 0 {
			t.Errorf("%s: %d rows break it, error %v", inv.Name, broken, err)
		}
	}
}

// Nothing has a foreign key to an account, so an account must stay.
func TestAccountStays(t *testing.T) {
	db := postgrestest.New(t)
	for _, sql := range []string{`delete from account where id = 0`, `update account set id = default where id = 0`} {
		if _, err := db.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "never deleted or renumbered") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// Who adds a table of something that accounts have must have verify look at it.
func TestEverythingIsLookedAtForItsAccount(t *testing.T) {
	db := postgrestest.New(t)
	rows, err := db.Query(t.Context(), `select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid where a.attname = 'account_id' and c.relkind in ('r', 'p') and not c.relispartition
		and c.relnamespace = 'public'::regnamespace and not a.attisdropped order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 30 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	looked := slices.IndexFunc(billing.Invariants, func(i ledger.Invariant) bool { return i.Name == "everything_has_its_account" })
	for _, table := range tables {
		if !strings.Contains(billing.Invariants[looked].SQL, " from "+table+" t ") {
			t.Errorf("nothing looks whether the accounts of %s are there", table)
		}
	}
}
