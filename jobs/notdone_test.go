package jobs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/jobs"
)

// Every code that a room declares as a reason ("Why ...") stands in the one
// table, once, with a sentence.
func TestEveryReasonHasItsSentence(t *testing.T) {
	table := map[string]bool{}
	for _, r := range jobs.Reasons() {
		if table[r.Code] {
			t.Errorf("%s is in the table twice", r.Code)
		}
		if table[r.Code] = true; !strings.HasSuffix(r.Says, ".") || len(r.Says) < 20 {
			t.Errorf("%s says %q: that is no sentence", r.Code, r.Says)
		}
	}
	found := 0
	for _, room := range []string{"billing", "ach", "cards", "notices", "lockbox", "statements"} {
		for _, c := range reasonsOf(t, filepath.Join("..", room)) {
			if found++; !table[c] {
				t.Errorf("%s gives the reason %q, of which the table says nothing", room, c)
			}
		}
	}
	if found < 40 {
		t.Errorf("found only %d reasons in the rooms: this proves nothing", found)
	}
}

// reasonsOf returns the words of a room's constants that are declared as
// reasons.
func reasonsOf(t *testing.T, room string) (codes []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(room, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", room, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			block, ok := d.(*ast.GenDecl)
			if !ok || block.Tok != token.CONST || !strings.HasPrefix(block.Doc.Text(), "Why ") && !strings.Contains(block.Doc.Text(), " is why ") {
				continue
			}
			ast.Inspect(block, func(n ast.Node) bool {
				if word, ok := n.(*ast.BasicLit); ok && word.Kind == token.STRING {
					code, err := strconv.Unquote(word.Value)
					if err != nil {
						t.Fatal(err)
					}
					codes = append(codes, code)
				}
				return true
			})
		}
	}
	return codes
}

// undone lists what was not done as words: account, job, code, subject, days.
func (b *biller) undone(f jobs.Filter) (list []string) {
	b.t.Helper()
	f.Most = 1000
	found, total, err := b.NotDone(b.t.Context(), f)
	if err != nil || total != len(found) {
		b.t.Fatalf("%d of %d, %v", len(found), total, err)
	}
	for _, n := range found {
		if n.Says == "" {
			b.t.Errorf("%+v says nothing", n)
		}
		line := strings.Join([]string{n.MRN, n.Job, n.Code, n.Subject, n.From.String(), n.To.String(), n.Kind}, " ")
		if !n.Cleared.IsZero() {
			line += " cleared " + n.Cleared.String()
		}
		list = append(list, line)
	}
	slices.Sort(list)
	return list
}

// A hold is kept by account as the spell of days on which it kept something
// from being done; what most accounts are skipped for is counted only.
func TestWhatWasNotDoneIsListed(t *testing.T) {
	b := newBiller(t, 5)
	b.night("2026-02-28")
	act := func(on string, n int, do func(a *billing.Account)) {
		t.Helper()
		if err := (billing.Act{Day: day(on), Operator: "pat", Verb: "hold"}).Do(t.Context(), b.DB, mrn(n), func(a *billing.Account) error { do(a); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	act("2026-02-28", 1, func(a *billing.Account) { a.Place(day("2026-02-28"), "legal", "pat", "", false) })
	for _, d := range []string{"2026-03-01", "2026-03-02", "2026-03-02", "2026-03-04"} { // one twice, one missed
		if r := b.night(d)["statements"]; r.Skipped["legal"] != 1 {
			t.Errorf("%s: %+v", d, r)
		}
	}
	act("2026-03-04", 1, func(a *billing.Account) { a.Release(day("2026-03-04"), "", "pat") })
	b.night("2026-03-05")
	want := []string{mrn(1) + " statements legal  2026-03-01 2026-03-02 skipped", mrn(1) + " statements legal  2026-03-04 2026-03-04 skipped"}
	if got := b.undone(jobs.Filter{}); !slices.Equal(got, want) {
		t.Errorf("kept is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, c := range []struct {
		f    jobs.Filter
		want int
	}{
		{jobs.Filter{Day: day("2026-03-02")}, 1}, {jobs.Filter{Day: day("2026-03-03")}, 0}, {jobs.Filter{Job: "statements"}, 2}, {jobs.Filter{Job: "autopay"}, 0},
		{jobs.Filter{Code: "legal"}, 2}, {jobs.Filter{Code: "deceased"}, 0}, {jobs.Filter{Account: 2}, 2}, {jobs.Filter{Account: 1}, 0}, {jobs.Filter{Waiting: true}, 0},
	} {
		if got := b.undone(c.f); len(got) != c.want {
			t.Errorf("%+v finds %v, want %d", c.f, got, c.want)
		}
	}
	b.holds()
}

// A parked account stays listed until its step has worked on it; it can be
// tried again by itself, and its late fee is not lost over it.
func TestParkedAccounts(t *testing.T) {
	b := newBiller(t, 6)
	b.nights("2026-03-01", "2026-03-30")
	poison := func(sql string) {
		t.Helper()
		if _, err := b.DB.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	poison(`alter table item add constraint poison check (account_id <> 4 or origin <> 'late_fee')`)
	if r := b.night("2026-03-31")["late-fees"]; r.Parked != 1 || r.Done != 5 {
		t.Fatalf("the run came to %+v; want 5 fees, 1 parked", r)
	}
	b.night("2026-04-01")
	parked := jobs.Filter{Code: "parked"}
	want := []string{mrn(3) + " late-fees parked assess 2026-03-31 2026-04-01 parked"}
	if got := b.undone(parked); !slices.Equal(got, want) {
		t.Errorf("parked is %v, want %v", got, want)
	}
	again, err := jobs.Runner{House: b.House}.Retry(t.Context())
	if err != nil || len(again) != 1 || again[0].Parked != 1 || again[0].Selected != 1 {
		t.Errorf("tried again, still poisoned: %+v, %v", again, err)
	}
	// A night that was broken off is not ended by it.
	poison(`insert into run (job, day, state, error) values ('late-fees', '2026-04-02', 'failed', 'killed')`)
	if again, err := (jobs.Runner{House: b.House}).Retry(t.Context()); err != nil || len(again) != 1 || again[0].Parked != 1 {
		t.Errorf("tried again beside a broken night: %+v, %v", again, err)
	}
	if n := b.figure(`select count(*) from run where job = 'late-fees' and day = '2026-04-02' and state = 'failed'`); n != 1 {
		t.Error("the broken night is taken for done, with all that it has not done")
	}
	poison(`delete from run where day = '2026-04-02'`)
	poison(`alter table item drop constraint poison`)
	if again, err = (jobs.Runner{House: b.House}).Retry(t.Context(), 5); err != nil || len(again) != 0 {
		t.Errorf("another account's: %+v, %v", again, err)
	}
	again, err = jobs.Runner{House: b.House}.Retry(t.Context(), 4)
	if err != nil || len(again) != 1 || again[0].Done != 1 || again[0].Cents != 1000 || again[0].Parked != 0 {
		t.Errorf("tried again: %+v, %v; want the fee", again, err)
	}
	want[0] += " cleared 2026-04-01"
	if got := b.undone(parked); !slices.Equal(got, want) {
		t.Errorf("parked is %v, want %v", got, want)
	}
	if got := b.undone(jobs.Filter{Waiting: true}); len(got) != 0 {
		t.Errorf("still waiting: %v", got)
	}
	if n := b.figure(`select parked from run where job = 'late-fees' and day = '2026-04-01'`); n != 0 {
		t.Errorf("the run still counts %d parked", n)
	}
	if n := b.figure(`select count(*) from item where origin = 'late_fee'`); n != 6 {
		t.Errorf("%d late fees, want 6", n)
	}
	b.holds()
}
