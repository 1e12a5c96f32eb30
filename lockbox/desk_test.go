package lockbox_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

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
