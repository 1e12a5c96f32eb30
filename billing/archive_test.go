package billing

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// archivist is an account whose February lies in a file: two charges, one of
// them lowered, on hold so that no bill has taken them up.
type archivist struct {
	*testing.T
	ctx    context.Context
	db     *pgxpool.Pool
	policy Policy
	mrn    string
	dir    string
}

const februaryCharges = "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n" +
	"C-1,1000000016,medical,2026-02-03,Office visit,20000,0,20000\nC-2,1000000016,medical,2026-02-03,Laboratory,3000,0,3000\n"

func newArchivist(t *testing.T) *archivist {
	t.Helper()
	a := &archivist{t, t.Context(), postgrestest.New(t), DefaultPolicy(), "1000000016", filepath.Join(t.TempDir(), "journal")}
	im := a.importing("2026-02-05")
	if _, err := im.Members(a.ctx, a.db, strings.NewReader("mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n1000000016,1000000016,Ana,Silva,1 Main Street,Oakland,CA,94601,paper\n")); err != nil {
		t.Fatal(err)
	}
	if got, err := im.Charges(a.ctx, a.db, strings.NewReader(februaryCharges)); err != nil || got.Accepted != 2 {
		t.Fatal(got, err)
	}
	a.act("2026-02-10", func(x *Account, on calendar.Date) error { return x.Adjust(&a.policy, on, Medical, -2500, 1, Detail{}) })
	a.act("2026-02-11", func(x *Account, on calendar.Date) error { x.Place(on, "legal", "ann", "", false); return nil })
	return a
}

func (a *archivist) importing(day string) Import {
	return Import{Policy: &a.policy, Day: calendar.MustParse(day), Operator: "ann"}
}

func (a *archivist) act(day string, do func(x *Account, on calendar.Date) error) {
	a.Helper()
	on := calendar.MustParse(day)
	if err := (Act{Day: on, Operator: "ann", Verb: "test"}).Do(a.ctx, a.db, a.mrn, func(x *Account) error { return do(x, on) }); err != nil {
		a.Fatal(err)
	}
}

func (a *archivist) archive() ArchivedMonth {
	a.Helper()
	m, err := ArchiveMonth(a.ctx, a.db, a.dir, calendar.CycleOf(calendar.MustParse("2026-02-01")), Act{Day: calendar.MustParse("2026-03-05"), Operator: "ann", Verb: "journal archive"})
	if err != nil {
		a.Fatal(err)
	}
	return m
}

func (a *archivist) show() (Shown, error) {
	return Show(a.ctx, a.db, a.mrn, Window{From: calendar.MustParse("2026-01-01"), On: calendar.MustParse("2026-04-30"), Archive: a.dir})
}

func (a *archivist) entries() (n int) {
	a.Helper()
	if err := a.db.QueryRow(a.ctx, `select count(*) from journal`).Scan(&n); err != nil {
		a.Fatal(err)
	}
	return n
}

// A month that lies in a file is told as if it did not, and comes back as it
// left, with what was dated into it meanwhile.
func TestArchivedMonthIsToldAndComesBack(t *testing.T) {
	a := newArchivist(t)
	before, err := a.show()
	if err != nil {
		t.Fatal(err)
	}
	m := a.archive()
	if m.Entries != 3 || m.Cents != 25500 || a.entries() != 0 {
		t.Errorf("archived %+v, %d entries are left", m, a.entries())
	}
	after, err := a.show()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Timeline, after.Timeline, cmp.AllowUnexported(Event{})); diff != "" {
		t.Errorf("archived, it is told otherwise:\n%s", diff)
	}
	a.act("2026-02-20", func(x *Account, on calendar.Date) error { // a run for a date past
		x.Charge(&a.policy, on, Medical, 700, Detail{})
		return nil
	})
	late, err := a.show()
	if err != nil || len(late.Timeline) != 4 || late.Ledger != 21200 {
		t.Errorf("%d entries, ledger %s, %v", len(late.Timeline), late.Ledger, err)
	}
	if _, err := RestoreMonth(a.ctx, a.db, a.dir, m.Month, Act{Operator: "ann", Verb: "journal restore", Day: m.ArchivedOn}); err != nil {
		t.Fatal(err)
	}
	back, err := a.show()
	if diff := cmp.Diff(late, back, cmp.AllowUnexported(Event{}, ShownPlan{})); diff != "" || err != nil || a.entries() != 4 {
		t.Errorf("come back, it is told otherwise: %v, %d entries\n%s", err, a.entries(), diff)
	}
	if _, err := RestoreMonth(a.ctx, a.db, a.dir, m.Month, Act{Operator: "ann", Verb: "journal restore", Day: m.ArchivedOn}); !errors.Is(err, ErrNoMonth) {
		t.Errorf("coming back twice: %v", err)
	}
	if again := a.archive(); again.Entries != 4 {
		t.Errorf("archived again: %+v", again)
	}
}

// What rules ask of an archived month they are told: the next bill takes up
// what none has, and a charge that comes again is known for what it was.
func TestRulesReachIntoArchivedMonths(t *testing.T) {
	a := newArchivist(t)
	a.archive()
	got, err := a.importing("2026-03-06").Charges(a.ctx, a.db, strings.NewReader(februaryCharges))
	if err != nil || got.Unchanged != 2 {
		t.Errorf("the charges again: %+v, %v", got, err)
	}
	a.act("2026-03-07", func(x *Account, on calendar.Date) error { return x.Adjust(&a.policy, on, Medical, -500, 2, Detail{}) })
	if got, err := a.importing("2026-03-08").Charges(a.ctx, a.db, strings.NewReader(februaryCharges)); err != nil || got.Unchanged != 2 {
		t.Errorf("the charges again, one of them lowered since: %+v, %v", got, err)
	}
	if got, err := a.importing("2026-03-08").Charges(a.ctx, a.db, strings.NewReader(strings.ReplaceAll(februaryCharges, ",3000\n", ",2500\n"))); !errors.Is(err, ErrRefused) || got.Accepted != 0 {
		t.Errorf("another amount under a known id: %+v, %v", got, err)
	}
	a.act("2026-03-31", func(x *Account, on calendar.Date) error { x.Release(on, "legal", "ann"); return nil })
	var bill *Bill
	a.act("2026-04-01", func(x *Account, on calendar.Date) error {
		bills, _ := x.Cut(&a.policy, on)
		bill = bills[0]
		return nil
	})
	if bill.Charges != 23000 || bill.Adjustments != -3000 || bill.Balance != 20000 || bill.AmountDue != 20000 {
		t.Errorf("the bill after the hold: %+v", bill)
	}
}

// A file that is gone, or is not what was written, is named; nothing is told
// that is not known.
func TestArchiveThatIsNotItself(t *testing.T) {
	a := newArchivist(t)
	m := a.archive()
	path := filepath.Join(a.dir, m.File)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{
		"another byte": append(append([]byte{}, whole[:len(whole)/2]...), append([]byte{whole[len(whole)/2] ^ 1}, whole[len(whole)/2+1:]...)...),
		"cut short":    whole[:len(whole)/2],
		"gone":         nil,
	} {
		if err := os.Remove(path); err != nil && content != nil {
			t.Fatal(err)
		}
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.show(); !errors.Is(err, ErrArchive) || !strings.Contains(err.Error(), m.File) {
			t.Errorf("%s: told %v", what, err)
		}
		if _, err := RestoreMonth(a.ctx, a.db, a.dir, m.Month, Act{Operator: "ann", Verb: "journal restore", Day: m.ArchivedOn}); !errors.Is(err, ErrArchive) || a.entries() != 0 {
			t.Errorf("%s: read back %v, %d entries", what, err, a.entries())
		}
		if content == nil {
			os.WriteFile(path, nil, 0o600)
		}
	}
	// A window that does not reach it needs no file.
	if _, err := Show(a.ctx, a.db, a.mrn, Window{From: calendar.MustParse("2026-03-01"), On: calendar.MustParse("2026-03-31"), Archive: a.dir}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RestoreMonth(a.ctx, a.db, a.dir, m.Month, Act{Operator: "ann", Verb: "journal restore", Day: m.ArchivedOn}); err != nil || a.entries() != 3 {
		t.Errorf("the file itself: %v, %d entries", err, a.entries())
	}
	if _, err := ArchiveMonth(a.ctx, a.db, a.dir, m.Month, Act{Day: m.Month.Last()}); !errors.Is(err, ErrNoMonth) {
		t.Errorf("a month that is not over: %v", err)
	}
}

// Two people who archive a month at once archive it once: the second must not
// write over the first one's file what is left of the month, nothing.
func TestMonthIsArchivedOnce(t *testing.T) {
	a := newArchivist(t)
	before, err := a.show()
	if err != nil {
		t.Fatal(err)
	}
	february := calendar.CycleOf(calendar.MustParse("2026-02-01"))
	gate, err := a.db.Begin(a.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Rollback(a.ctx)
	if _, err := gate.Exec(a.ctx, `select pg_advisory_xact_lock(2, $1)`, int32(february)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	for range cap(done) {
		go func() {
			_, err := ArchiveMonth(a.ctx, a.db, a.dir, february, Act{Day: calendar.MustParse("2026-03-05"), Operator: "ann", Verb: "journal archive"})
			done <- err
		}()
	}
	for waiting := 0; waiting < cap(done); {
		if err := a.db.QueryRow(a.ctx, `select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	gate.Rollback(a.ctx)
	first, second := <-done, <-done
	if first != nil {
		first, second = second, first
	}
	if first != nil || !errors.Is(second, ErrNoMonth) {
		t.Errorf("one said %v, the other %v", first, second)
	}
	after, err := a.show()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Timeline, after.Timeline, cmp.AllowUnexported(Event{})); diff != "" {
		t.Errorf("archived, it is told otherwise:\n%s", diff)
	}
}
