package lockbox_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// mail is a biller with a few members and a bank that writes files.
type mail struct {
	*testing.T
	db      *pgxpool.Pool
	keys    *secret.Keys
	policy  billing.Policy
	profile lockbox.Profile
}

func newMail(t *testing.T) *mail {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	p, err := lockbox.ParseProfile([]byte(`{"name": "mail", "like": "bai-c", "records": {"6": {"received_date": "243-248 YYMMDD"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	return &mail{T: t, db: postgrestest.New(t), keys: keys, policy: billing.DefaultPolicy(), profile: p}
}

func (m *mail) desk(day string) lockbox.Desk {
	return lockbox.Desk{DB: m.db, Policy: &m.policy, Keys: m.keys, Day: calendar.MustParse(day), Operator: "pat", Profiles: append(lockbox.Profiles(), m.profile)}
}

// member adds a member with an account and, if open is not 0, a bill of March
// for it.
func (m *mail) member(serial int64, open ledger.Cents) (mrn string, id int64) {
	m.Helper()
	mrn = string(billing.NewMRN(serial))
	m.must(m.db.QueryRow(m.Context(), `with a as (insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id)
		insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		select $1, id, 'Ann', 'Example', '1 Main St', '', 'Oakland', 'CA', '94601', '', '', 'en', 'paper' from a returning account_id`, mrn).Scan(&id))
	if open == 0 {
		return mrn, id
	}
	m.must(pgx.BeginFunc(m.Context(), m.db, func(tx pgx.Tx) error {
		b, err := billing.Load(m.Context(), tx, billing.OpenOnly, id)
		if err != nil {
			return err
		}
		b.Account(id).Charge(&m.policy, calendar.MustParse("2026-03-01"), billing.Medical, open, billing.Detail{ChargeID: "c" + mrn, MRN: mrn})
		if err := b.Save(m.Context()); err != nil {
			return err
		}
		_, _, err = billing.CutStatements(m.Context(), tx, &m.policy, calendar.MustParse("2026-03-01"), billing.Range{From: id, To: id + 1})
		return err
	}))
	return mrn, id
}

func (m *mail) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// check is a check of a payer.
func check(no string, cents ledger.Cents, received, payer string) lockbox.Item {
	i := lockbox.Item{Check: no, Cents: cents, Routing: "121000358", Account: "9988776655", Payer: payer}
	if received != "" {
		i.ReceivedDate = calendar.MustParse(received)
	}
	return i
}

func batch(number string, items ...lockbox.Item) lockbox.Batch {
	return lockbox.Batch{Lockbox: "0000047", Number: number, DepositDate: calendar.MustParse("2026-03-16"), Items: items}
}

// file writes a file; sent makes two of the same batches different bytes.
func (m *mail) file(sent string, batches ...lockbox.Batch) []byte {
	m.Helper()
	var b bytes.Buffer
	m.must(lockbox.Write(&b, m.profile, lockbox.File{Destination: "BILLER", Origin: "BANK", Date: calendar.MustParse("2026-03-16"), Time: sent, Batches: batches}))
	return b.Bytes()
}

// ingest takes a file in and checks that everything still adds up.
func (m *mail) ingest(day, name string, content []byte) lockbox.Ingested {
	m.Helper()
	got, err := m.desk(day).Ingest(m.Context(), name, bytes.NewReader(content), m.profile)
	m.must(err)
	m.addsUp(got)
	return got
}

func (m *mail) addsUp(got lockbox.Ingested) {
	m.Helper()
	if got.Items != got.Posted+got.Pending+got.Suspense+got.Held+got.Refused || got.Problems == nil {
		m.Errorf("the counts don't add up: %+v", got)
	}
	m.proven()
}

// proven checks the invariants of ledger and lockbox, and the deposit days.
func (m *mail) proven() {
	m.Helper()
	for _, inv := range slices.Concat(ledger.Invariants, lockbox.Invariants) {
		var broken int
		m.must(m.db.QueryRow(m.Context(), "select count(*) from ("+inv.SQL+") x").Scan(&broken))
		if broken != 0 {
			m.Errorf("%s: %d rows break it", inv.Name, broken)
		}
	}
	found, err := m.desk("2026-12-31").Reconcile(m.Context(), calendar.MustParse("2026-01-01"), calendar.MustParse("2026-12-31"))
	m.must(err)
	for _, x := range found.Days {
		if x.Difference() != 0 {
			m.Errorf("deposit of %s, lockbox %s: %s is not accounted for: %+v", x.Deposit, x.Lockbox, x.Difference(), x)
		}
	}
}

// figures returns ledger, pending and due of an account.
func (m *mail) figures(id int64) [3]ledger.Cents {
	m.Helper()
	var f billing.Figures
	m.must(pgx.BeginFunc(m.Context(), m.db, func(tx pgx.Tx) error {
		b, err := billing.Load(m.Context(), tx, billing.Whole, id)
		if err == nil {
			f = b.Account(id).Figures()
		}
		return err
	}))
	return [3]ledger.Cents{f.Ledger, f.Pending, f.Due}
}

func (m *mail) wantFigures(id int64, ledgerCents, pending, due ledger.Cents) {
	m.Helper()
	if got := m.figures(id); got != [3]ledger.Cents{ledgerCents, pending, due} {
		m.Errorf("account %d: ledger, pending, due are %d, want %d %d %d", id, got, ledgerCents, pending, due)
	}
}

// state returns how a check stands.
func (m *mail) state(file int64, item int) (state string) {
	m.Helper()
	m.must(m.db.QueryRow(m.Context(), `select state || case when reason = '' then '' else ' ' || reason end from lockbox_item where file_id = $1 and ordinal = $2`, file, item).Scan(&state))
	return state
}

func (m *mail) wantState(file int64, item int, want string) {
	m.Helper()
	if got := m.state(file, item); got != want {
		m.Errorf("item %d of file %d is %q, want %q", item, file, got, want)
	}
}

func (m *mail) one(sql string, args ...any) (n int64) {
	m.Helper()
	m.must(m.db.QueryRow(m.Context(), sql, args...).Scan(&n))
	return n
}

func coupon(payer string, cents ledger.Cents) lockbox.Overflow {
	return lockbox.Overflow{Payer: payer, Cents: cents, HasCents: true}
}
