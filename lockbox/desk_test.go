package lockbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
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

// A check in time is pending until its day; one that came late posts in the
// ingestion, and several do in order of received date.
func TestPendingOrPosted(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 30000)
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 57500, "2026-03-16", ann))))
	if !got.Accepted || got.Duplicate || got.Pending != 1 || got.Cents != 57500 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 57500, 0)
	if on := m.one(`select posts_on - date '2026-03-16' from receipt where account_id = $1`, a); on != 7 {
		t.Errorf("posts %d days after it was received", on)
	}
	got = m.ingest("2026-04-02", "F2", m.file("0700", batch("002", check("2002", 20000, "2026-03-24", bob), check("2001", 15000, "2026-03-20", bob), check("2003", 100, "2026-03-31", bob))))
	if got.Posted != 2 || got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(b, -5000, 100, 0)
	// The one received first paid first: what is left is of the other.
	if left := m.one(`select unapplied from receipt where account_id = $1 and reference = '2002'`, b); left != 5000 {
		t.Errorf("%d is left of the check received last", left)
	}
}

func TestTheBooksOfSuspense(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	got := m.ingest("2026-03-17", "F1", m.file("0600", batch("001", check("1001", 57500, "2026-03-16", ""), check("1002", 900, "2026-03-16", "0000000027"))))
	if got.Suspense != 2 || got.Waiting() != 2 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 0, 57500)
	m.wantState(got.FileID, 1, "suspense no_reference")
	m.wantState(got.FileID, 2, "suspense bad_reference")
	if s := m.one(`select sum(cents) from journal where account_id = 0 and credit = 'suspense'`); s != 58400 {
		t.Errorf("suspense is %d", s)
	}
	d := m.desk("2026-03-20")
	if err := d.Match(t.Context(), got.FileID, 1, "9999999999", "the bank rang"); !errors.Is(err, billing.ErrNoAccount) {
		t.Errorf("matched to nobody: %v", err)
	}
	m.must(d.Match(t.Context(), got.FileID, 1, ann, "name on the check"))
	m.wantFigures(a, 57500, 57500, 0)
	m.wantState(got.FileID, 1, "taken")
	if n := m.one(`select count(*) from receipt where account_id = $1 and received_on = '2026-03-16' and arrived_on = '2026-03-17' and posts_on = '2026-03-23'`, a); n != 1 {
		t.Error("its dates are not those of the check")
	}
	if err := d.Match(t.Context(), got.FileID, 1, ann, "again"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("matched twice: %v", err)
	}
	m.proven()
	m.must(d.Void(t.Context(), got.FileID, 2, "sent back to the payer"))
	m.proven()
	if s := m.one(`select sum(case when credit = 'suspense' then cents else -cents end) from journal where account_id = 0`); s != 0 {
		t.Errorf("suspense is still %d", s)
	}
	if n := m.one(`select count(*) from act where operator = 'pat' and on_date = '2026-03-20' and verb in ('lockbox match', 'lockbox void') and reason <> ''`); n != 2 {
		t.Errorf("%d acts are recorded", n)
	}
	if err := d.Void(t.Context(), got.FileID, 3, ""); !errors.Is(err, lockbox.ErrNoItem) {
		t.Errorf("a check that is not there: %v", err)
	}
}

// A match after the posting date posts at once.
func TestMatchLate(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	got := m.ingest("2026-03-17", "F1", m.file("0600", batch("001", check("1001", 57500, "2026-03-16", ""))))
	m.must(m.desk("2026-03-23").Match(t.Context(), got.FileID, 1, ann, "found"))
	m.wantFigures(a, 0, 0, 0)
	m.proven()
}

func TestHeldChecks(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001",
		check("1001", 100, "", ann), check("1002", 200, "2026-03-17", ann), check("1003", 0, "2026-03-16", ann), check("1004", 400, "2026-03-16", ann))))
	if got.Held != 3 || got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 400, 57100)
	for i, want := range []string{"held received_blank", "held received_future", "held no_amount", "taken"} {
		m.wantState(got.FileID, i+1, want)
	}
	work, err := m.desk("2026-03-18").Held(t.Context())
	m.must(err)
	if len(work) != 3 || work[0].Reason != lockbox.ReceivedBlank || work[0].AgeDays != 2 || work[0].File != "F1" || work[0].Item != 1 || work[0].Coupons[0].Payer[0] != ann {
		t.Errorf("%+v", work)
	}
	d := m.desk("2026-03-16")
	if err := d.Release(t.Context(), got.FileID, 2, "it is fine"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("a date that has not come: %v", err)
	}
	if err := d.Redate(t.Context(), got.FileID, 2, calendar.MustParse("2026-03-17"), ""); err == nil {
		t.Error("a future date was taken")
	}
	m.must(d.Redate(t.Context(), got.FileID, 2, calendar.MustParse("2026-03-13"), "envelope"))
	m.must(d.Release(t.Context(), got.FileID, 2, "envelope"))
	m.must(d.Match(t.Context(), got.FileID, 1, ann, "deposit date"))
	if err := d.Match(t.Context(), got.FileID, 3, ann, "nothing"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("a check of nothing: %v", err)
	}
	m.must(d.Void(t.Context(), got.FileID, 3, "nothing"))
	m.wantFigures(a, 57500, 700, 56800)
	if n := m.one(`select count(*) from receipt where reference = '1002' and received_on = '2026-03-13' or reference = '1001' and received_on = '2026-03-16'`); n != 2 {
		t.Error("the received dates are not those given")
	}
	m.proven()
}

// Of three checks that are alike the first is told away, and comes back: another
// is always known for what it is, whichever of them counts by then.
func TestAnotherIsKnownWhicheverCounts(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	alike := check("1001", 100, "2026-03-16", "")
	first := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", alike))).FileID
	second := m.ingest("2026-03-16", "F2", m.file("0700", batch("002", alike))).FileID
	m.wantState(first, 1, "suspense no_reference")
	m.wantState(second, 1, "held duplicate_check")
	d := m.desk("2026-03-17")
	another := 2
	held := func(when string) {
		t.Helper()
		another++
		number := fmt.Sprintf("%03d", another)
		if got := m.ingest("2026-03-17", "F"+number, m.file("0"+number, batch(number, alike))); got.Held != 1 {
			t.Errorf("%s: %+v", when, got)
		}
		m.proven()
	}
	m.must(d.Void(t.Context(), first, 1, "the bank took it back"))
	held("the second is the one that counts")
	m.must(d.Match(t.Context(), second, 1, ann, "she sent one"))
	held("the second was given to somebody")
	m.must(d.Undo(t.Context(), first, 1, "it was not taken back"))
	held("both count")
	m.must(d.Void(t.Context(), first, 1, "it was, after all"))
	held("the second counts again")
	for n := 3; n <= another; n++ {
		m.must(d.Void(t.Context(), m.one(`select id from lockbox_file where name = $1`, fmt.Sprintf("F%03d", n)), 1, "twice"))
	}
	held("all others were told away")
}

func TestSuspectedDuplicates(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	order := lockbox.Item{Cents: 500, ReceivedDate: calendar.MustParse("2026-03-16"), Payer: ann} // a money order
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1001", 100, "2026-03-16", ann), check("1001", 101, "2026-03-16", ann), order, order)))
	if got.Pending != 4 || got.Held != 1 {
		t.Errorf("twins in one file: %+v", got)
	}
	m.wantState(got.FileID, 2, "held duplicate_check")
	again := m.ingest("2026-03-17", "F2", m.file("0700", batch("002", check("1001", 100, "2026-03-17", ann))))
	if again.Held != 1 {
		t.Errorf("a twin in another file: %+v", again)
	}
	m.wantFigures(a, 57500, 1201, 56299)
	d := m.desk("2026-03-17")
	if file, item, err := d.FindItem(t.Context(), "F1", "1001"); err != nil || file != got.FileID || item != 2 {
		t.Errorf("found %d %d %v, want the one that waits", file, item, err)
	}
	if file, item, err := d.FindItem(t.Context(), "F1", "1001", "taken"); err != nil || file != got.FileID || item != 1 {
		t.Errorf("found %d %d %v, want the one that was taken", file, item, err)
	}
	m.must(d.Release(t.Context(), again.FileID, 1, "two rents"))
	m.must(d.Void(t.Context(), got.FileID, 2, "scanned twice"))
	m.wantFigures(a, 57500, 1301, 56199)
	m.proven()
	if err := d.Release(t.Context(), got.FileID, 2, ""); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("a voided check was released: %v", err)
	}
	// A voided check was never seen.
	third := m.ingest("2026-03-18", "F3", m.file("0800", batch("003", check("7", 700, "2026-03-18", ""))))
	m.must(m.desk("2026-03-18").Void(t.Context(), third.FileID, 1, "no"))
	if got := m.ingest("2026-03-19", "F4", m.file("0900", batch("004", check("7", 700, "2026-03-19", "")))); got.Suspense != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSameFileTwice(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", "")))
	first := m.ingest("2026-03-16", "F1", content)
	lines := strings.Split(string(content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	for name, same := range map[string][]byte{"renamed": content, "other line ends": []byte(strings.Join(lines, "\r\n"))} {
		got := m.ingest("2026-03-17", name, same)
		if !got.Duplicate || got.Accepted || got.FileID != first.FileID || got.Items != 2 || got.Refused != 2 || got.Waiting() != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.wantFigures(a, 57500, 100, 57400)
	if n := m.one(`select count(*) from lockbox_file`); n != 1 {
		t.Errorf("%d files are stored", n)
	}
}

func TestResend(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	good := batch("001", check("1001", 100, "2026-03-16", ann))
	wrong := batch("002", check("1002", 200, "2026-03-16", ann), check("1003", 300, "2026-03-16", ann))
	wrong.Said = &lockbox.Total{Items: 2, Cents: 600}
	got := m.ingest("2026-03-16", "F1", m.file("0600", good, wrong))
	if got.Pending != 1 || got.Refused != 2 || got.RefusedBatches != 1 || !got.Accepted || len(got.Problems) == 0 || got.Waiting() != 2 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 100, 57400)
	m.wantState(got.FileID, 2, "refused batch_refused")

	fixed := batch("002", check("1002", 200, "2026-03-16", ann), check("1003", 400, "2026-03-16", ann))
	got = m.ingest("2026-03-18", "F2", m.file("0700", good, fixed))
	if got.Pending != 2 || got.Refused != 1 || got.Skipped != 1 || got.SkippedBatches != 1 || got.RefusedBatches != 0 || got.Waiting() != 0 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 700, 56800)
	if work, err := m.desk("2026-03-18").Held(t.Context()); err != nil || len(work) != 0 {
		t.Errorf("what was replaced still waits: %+v %v", work, err)
	}
	if n := m.one(`select count(*) from receipt where received_on = '2026-03-16' and posts_on = '2026-03-23'`); n != 3 {
		t.Error("the corrected batch did not keep its received date")
	}

	// A batch that was taken comes with another check: a person decides.
	other := batch("001", check("1001", 100, "2026-03-16", ann), check("1009", 900, "2026-03-16", ann))
	differs := m.file("0800", other, batch("003", check("1010", 50, "2026-03-16", ann)))
	held := m.ingest("2026-03-18", "F3", differs)
	if held.Held != 3 || held.Accepted || held.Duplicate || held.Waiting() != 3 {
		t.Errorf("%+v", held)
	}
	if again := m.ingest("2026-03-18", "F3", differs); !again.Duplicate || again.FileID != held.FileID || again.Held != 3 || again.Waiting() != 0 {
		t.Errorf("a held file again: %+v", again)
	}
	m.wantFigures(a, 57500, 700, 56800)
	if work, err := m.desk("2026-03-18").Held(t.Context()); err != nil || len(work) != 1 || work[0].Item != 0 || work[0].Items != 3 || work[0].Reason != lockbox.BatchDiffers {
		t.Errorf("%+v %v", work, err)
	}
	if n := m.one(`select count(*) from exception where cleared_on is null`); n != 1 {
		t.Errorf("%d exceptions", n)
	}
	d := m.desk("2026-03-19")
	if _, err := d.TakeHeld(t.Context(), held.FileID, bytes.NewReader(m.file("0801", other)), ""); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("other bytes than the file's: %v", err)
	}
	taken, err := d.TakeHeld(t.Context(), held.FileID, bytes.NewReader(differs), "the bank counts anew in the afternoon")
	m.must(err)
	m.addsUp(taken)
	if taken.FileID != held.FileID || taken.Held != 1 || taken.Pending != 2 { // check 1001 is a twin now
		t.Errorf("%+v", taken)
	}
	if n := m.one(`select count(*) from exception where cleared_on is null`); n != 0 {
		t.Error("the exception stands")
	}
	m.wantFigures(a, 57500, 1650, 55850)
}

func TestRefuseHeldFile(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann))))
	held := m.ingest("2026-03-16", "F2", m.file("0700", batch("001", check("1002", 200, "2026-03-16", ann))))
	m.must(m.desk("2026-03-17").RefuseHeld(t.Context(), held.FileID, "the bank's mistake"))
	if err := m.desk("2026-03-17").RefuseHeld(t.Context(), held.FileID, "again"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("refused twice: %v", err)
	}
	if work, err := m.desk("2026-03-17").Held(t.Context()); err != nil || len(work) != 0 {
		t.Errorf("%+v %v", work, err)
	}
	m.wantFigures(a, 57500, 100, 57400)
	m.proven()
}

// Numbers restart after 999: two batches of one deposit date may share one. The
// second of them is new, and a resend skips both.
func TestNumbersThatWrapped(t *testing.T) {
	m := newMail(t)
	var batches []lockbox.Batch
	for n := range 1000 {
		batches = append(batches, batch(fmt.Sprintf("%03d", n%999+1), check(fmt.Sprint(5000+n), ledger.Cents(1+n), "2026-03-16", "")))
	}
	if got := m.ingest("2026-03-16", "F1", m.file("0600", batches[:999]...)); got.Suspense != 999 {
		t.Fatalf("%+v", got)
	}
	for _, c := range []struct{ suspense, skipped int }{{1, 999}, {0, 1000}} {
		got := m.ingest("2026-03-16", "F2", m.file(fmt.Sprintf("07%02d", c.suspense), batches...))
		if got.Suspense != c.suspense || got.SkippedBatches != c.skipped || got.Held != 0 {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
}

func TestRefusedFile(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann)))
	cut := content[:bytes.LastIndexByte(content[:len(content)-1], '\n')+1]
	var first lockbox.Ingested
	for range 2 {
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(cut), m.profile)
		if !errors.Is(err, lockbox.ErrRefused) || got.Accepted || got.Refused != 1 || got.Items != 1 || len(got.Problems) == 0 {
			t.Errorf("%+v %v", got, err)
		}
		m.addsUp(got)
		if first.FileID != 0 && got.FileID != first.FileID {
			t.Error("the same refused file has two rows")
		}
		first = got
	}
	m.wantFigures(a, 57500, 0, 57500)
	if n := m.one(`select count(*) from lockbox_item`) + m.one(`select count(*) from journal where account_id = 0`); n != 0 {
		t.Errorf("%d rows of a refused file", n)
	}
	// Read by the wrong layout it was refused; by its own it is taken.
	wrong, err := lockbox.ProfileNamed(lockbox.Profiles(), "bai-a")
	m.must(err)
	if got, err := m.desk("2026-03-16").Ingest(t.Context(), "F2", bytes.NewReader(content), wrong); !errors.Is(err, lockbox.ErrRefused) {
		t.Errorf("%+v %v", got, err)
	}
	if got := m.ingest("2026-03-17", "F2", content); got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	for _, other := range []string{"", "01,BANK,", "hello\n"} {
		if got, err := m.desk("2026-03-16").Ingest(t.Context(), "x", strings.NewReader(other), lockbox.Profile{}); !errors.Is(err, lockbox.ErrRefused) || got.FileID == 0 {
			t.Errorf("%q: %+v %v", other, got, err)
		}
	}
}

func TestSomebodyElsesLockbox(t *testing.T) {
	m := newMail(t)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", "")))
	for _, c := range []struct {
		ours billing.LockboxAccount
		ok   bool
	}{
		{billing.LockboxAccount{Lockbox: "48"}, false},
		{billing.LockboxAccount{Lockbox: "47", Routing: "OTHER"}, false},
		{billing.LockboxAccount{Lockbox: "47", Routing: "BANK"}, true},
	} {
		m.policy.Lockboxes = []billing.LockboxAccount{c.ours}
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile)
		if errors.Is(err, lockbox.ErrRefused) == c.ok || got.Accepted != c.ok {
			t.Errorf("%+v: %+v %v", c.ours, got, err)
		}
	}
}

// A box with a layout of its own in the policy is read by it: here the layout
// that knows where the received date stands.
func TestLayoutOfTheBox(t *testing.T) {
	m := newMail(t)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-13", "")))
	for name, received := range map[string]string{"mail": "2026-03-13", "bai-c": "2026-03-16"} {
		m := newMail(t)
		m.policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "47", Profile: name}}
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), lockbox.Profile{})
		m.must(err)
		if got.Profile != name || m.one(`select count(*) from lockbox_item where received_on = $1`, calendar.MustParse(received)) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "47", Profile: "nowhere"}}
	if _, err := m.desk("2026-03-16").Ingest(t.Context(), "F2", bytes.NewReader(content), lockbox.Profile{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a layout that is not there: %v", err)
	}
}

func coupon(payer string, cents ledger.Cents) lockbox.Overflow {
	return lockbox.Overflow{Payer: payer, Cents: cents, HasCents: true}
}

// One check for two accounts: each its part; returned for NSF, one fee on the
// first coupon's account.
func TestSeveralCoupons(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 12500)
	both := check("1001", 57500, "2026-03-16", "")
	both.Overflows = []lockbox.Overflow{coupon(bob, 12500), coupon(ann, 40000), coupon(ann, 5000)}
	short := check("1002", 57500, "2026-03-16", "")
	short.Overflows = []lockbox.Overflow{coupon(bob, 12500), coupon(ann, 40000)}
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", both, short)))
	if got.Pending != 1 || got.Suspense != 1 {
		t.Errorf("%+v", got)
	}
	m.wantState(got.FileID, 2, "suspense coupons_do_not_add_up")
	m.wantFigures(a, 57500, 45000, 12500)
	m.wantFigures(b, 12500, 12500, 0)
	m.must(m.desk("2026-03-18").Return(t.Context(), got.FileID, 1, lockbox.NSF, "bank's notice"))
	m.wantFigures(a, 57500, 0, 57500)
	m.wantFigures(b, 15000, 0, 12500)
	m.proven()
}

func TestReturns(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	got := m.ingest("2026-03-24", "F1", m.file("0600", batch("001",
		check("1001", 1000, "2026-03-16", ann), check("1002", 2000, "2026-03-16", ann), check("1003", 3000, "2026-03-20", ann), check("1004", 400, "2026-03-20", ""), check("1001", 1000, "2026-03-16", ann))))
	if got.Posted != 2 || got.Pending != 1 || got.Suspense != 1 || got.Held != 1 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 54500, 3000, 51500)
	d := m.desk("2026-03-26")
	for _, step := range []struct {
		item           int
		code           string
		ledger, p, due ledger.Cents
	}{
		{1, lockbox.NSF, 58000, 3000, 52500}, // back, and a fee of 2500 that is not billed
		{2, lockbox.Stop, 60000, 3000, 54500},
		{3, lockbox.Closed, 60000, 0, 57500},
		{4, lockbox.NSF, 60000, 0, 57500},
		{5, lockbox.Stop, 60000, 0, 57500},
	} {
		m.must(d.Return(t.Context(), got.FileID, step.item, step.code, "notice"))
		m.wantFigures(a, step.ledger, step.p, step.due)
		m.proven()
		if err := d.Return(t.Context(), got.FileID, step.item, step.code, "again"); !errors.Is(err, lockbox.ErrNotNow) {
			t.Errorf("item %d returned twice: %v", step.item, err)
		}
	}
	m.wantState(got.FileID, 4, "void returned_nsf")
	m.wantFigures(a, 60000, 0, 57500)
	if err := d.Return(t.Context(), got.FileID, 1, "R01", ""); err == nil || errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("a code of another trade: %v", err)
	}
	if n := m.one(`select count(*) from act where verb = 'lockbox return'`); n != 5 {
		t.Errorf("%d returns are recorded", n)
	}
}

// rewritten is a file that somebody writes anew while it is read: from the nth
// rewinding on it has other bytes.
type rewritten struct {
	*bytes.Reader
	later []byte
	n     int
}

func (r *rewritten) Seek(offset int64, whence int) (int64, error) {
	if r.n--; r.n == 0 {
		r.Reader = bytes.NewReader(r.later)
	}
	return r.Reader.Seek(offset, whence)
}

// A file that changes between its readings is not taken, be it by a day that no
// check had, and says so.
func TestFileChangesWhileItIsRead(t *testing.T) {
	changed := 0
	for n := 1; n <= 6; n++ {
		m := newMail(t)
		ann, a := m.member(1, 57500)
		file := func(day string) []byte {
			items := []lockbox.Item{check("1001", 100, day, ann)}
			for n := range 30 { // whose turn comes when the first has long been laid out
				items = append(items, check(fmt.Sprint(1002+n), 200, "2026-03-16", ann))
			}
			return m.file("0600", batch("001", items...))
		}
		d := m.desk("2026-03-16")
		d.ChunkItems = 1
		got, err := d.Ingest(t.Context(), "F1", &rewritten{bytes.NewReader(file("2026-03-16")), file("2026-03-13"), n}, m.profile)
		if err == nil {
			m.addsUp(got)
			continue
		}
		changed++
		if !strings.Contains(err.Error(), "the file changed while it was read") {
			t.Errorf("rewinding %d: %v", n, err)
		}
		m.wantFigures(a, 57500, 0, 57500)
	}
	if changed == 0 {
		t.Error("no reading saw the change")
	}
}

// A transaction that fails in the middle leaves nothing, and the same call
// works when the trouble is over.
func TestCrashHalfway(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	_, err := m.db.Exec(t.Context(), `create function break_down() returns trigger language plpgsql as $$ begin raise exception 'power cut'; end $$;
		create trigger break_down before insert on receipt for each row when (new.check_item = 2) execute function break_down()`)
	m.must(err)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", ann), check("1003", 300, "2026-03-16", "")))
	if _, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile); err == nil || errors.Is(err, lockbox.ErrRefused) {
		t.Fatalf("it did not fail: %v", err)
	}
	m.wantFigures(a, 57500, 0, 57500)
	if n := m.one(`select (select count(*) from lockbox_file) + (select count(*) from lockbox_item) + (select count(*) from journal where account_id = 0)`); n != 0 {
		t.Errorf("%d rows were left", n)
	}
	_, err = m.db.Exec(t.Context(), `drop trigger break_down on receipt`)
	m.must(err)
	if got := m.ingest("2026-03-16", "F1", content); got.Pending != 2 || got.Suspense != 1 {
		t.Errorf("%+v", got)
	}
}

// Several operators upload one file and match one check at the same moment: one
// of them does it.
func TestAtTheSameMoment(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", "")))
	var wg sync.WaitGroup
	answers := make([]lockbox.Ingested, 4)
	errs := make([]error, 4)
	at := func(n int, do func(n int)) {
		for i := range n {
			wg.Go(func() { do(i) })
		}
		wg.Wait()
	}
	at(4, func(i int) {
		answers[i], errs[i] = m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile)
	})
	accepted := 0
	for i, got := range answers {
		m.must(errs[i])
		if got.Accepted {
			accepted++
		} else if !got.Duplicate {
			t.Errorf("%+v", got)
		}
	}
	file := answers[0].FileID
	at(4, func(i int) { errs[i] = m.desk("2026-03-16").Match(t.Context(), file, 2, ann, "found") })
	matched := 0
	for _, err := range errs {
		if err == nil {
			matched++
		} else if !errors.Is(err, lockbox.ErrNotNow) {
			t.Error(err)
		}
	}
	if accepted != 1 || matched != 1 {
		t.Errorf("%d accepted, %d matched", accepted, matched)
	}
	m.wantFigures(a, 57500, 300, 57200)
	m.proven()
}

// No number of a payer's bank account stands in the database in clear, and the
// desk shows it masked.
func TestAccountNumbersAreSecret(t *testing.T) {
	m := newMail(t)
	hostile := check("1001", 100, "2026-03-16", "")
	hostile.Remitter = "=HYPERLINK(1)<script>"
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", hostile)))
	var row string
	m.must(m.db.QueryRow(t.Context(), `select row_to_json(i)::text || row_to_json(f)::text from lockbox_item i, lockbox_file f`).Scan(&row))
	if strings.Contains(row, "9988776655") || strings.Contains(row, "121000358") {
		t.Errorf("in clear: %s", row)
	}
	if n := m.one(`select count(*) from lockbox_raw where position('9988776655'::bytea in sealed) > 0 or length(sealed) < 50`); n != 0 {
		t.Error("the sealed lines hold the account number")
	}
	work, err := m.desk("2026-03-16").Held(t.Context())
	m.must(err)
	if text, err := json.Marshal(work); err != nil || strings.Contains(string(text), "<script") || strings.Contains(string(text), "9988776655") || !strings.Contains(work[0].Raw, hostile.Remitter) {
		t.Errorf("%s %v", text, err)
	}
	// Nor where the layout is not known any more.
	d := m.desk("2026-03-16")
	d.Profiles = lockbox.Profiles()
	if work, err := d.Held(t.Context()); err != nil || strings.Contains(work[0].Raw, "9988776655") || strings.Contains(work[0].Raw, "121000358") {
		t.Errorf("%+v %v", work, err)
	}
	if len(work) != 1 || strings.Contains(work[0].Raw, "9988776655") || !strings.Contains(work[0].Raw, "******6655") || work[0].FileID != got.FileID {
		t.Errorf("%+v", work)
	}
}

// A file that is larger than a group: twins are found and postings keep their
// order across groups.
func TestManyChecks(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	var items []lockbox.Item
	for n := range 12_000 {
		items = append(items, check(fmt.Sprint(100_000+n), 1, "2026-03-16", ""))
	}
	items[0] = check("1", 50000, "2026-03-18", ann)
	items[11_000] = check("2", 57500, "2026-03-17", ann)
	items[11_999] = check("100007", 1, "2026-03-16", "")
	got := m.ingest("2026-04-02", "F1", m.file("0600", batch("001", items[:990]...), batch("002", items[990:1900]...), batch("003", items[1900:]...)))
	if got.Posted != 2 || got.Held != 1 || got.Suspense != 11_997 {
		t.Errorf("%+v", got)
	}
	m.wantState(got.FileID, 12_000, "held duplicate_check")
	if left := m.one(`select unapplied from receipt where account_id = $1 and reference = '1'`, a); left != 50000 {
		t.Errorf("the check received later paid first: %d of it is left", left)
	}
}

// The bank's own files, recognized by their content.
func TestRecognizedFiles(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		t.Run(name, func(t *testing.T) {
			m := newMail(t)
			for serial := range int64(6) {
				m.member(serial+1, 0)
			}
			content, err := os.ReadFile("testdata/" + name + ".bai")
			m.must(err)
			got, err := m.desk("2026-03-20").Ingest(t.Context(), name, bytes.NewReader(content), lockbox.Profile{})
			m.must(err)
			m.addsUp(got)
			if got.Profile != name || got.Items != 4 || got.Cents != 222400 || got.Pending+got.Posted == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
