package rehearsal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
)

// notYet are the stories of testdata that this version cannot live through to
// the end, each with what the player says it lacks. As soon as it has that, the
// story must leave the list.
var notYet = map[string]string{}

func TestScenarios(t *testing.T) {
	stories, err := rehearsal.Open("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(stories) < 40 {
		t.Fatalf("testdata holds %d stories: some are lost", len(stories))
	}
	told := map[string]bool{}
	for _, s := range stories {
		if told[s.ID] {
			t.Errorf("two stories have the id %s", s.ID)
		}
		told[s.ID] = true
		t.Run(s.ID, func(t *testing.T) {
			t.Parallel()
			failures, err := rehearsal.PlayOn(t.Context(), postgrestest.New(t), s)
			if err != nil {
				t.Fatal(err)
			}
			if lacks, listed := notYet[s.ID]; listed {
				if slices.ContainsFunc(failures, func(f rehearsal.Failure) bool { return strings.Contains(f.Got, lacks) }) {
					return
				}
				t.Errorf("%q is listed for %s, which is not what it fails by (any more): take it off the list", s.Title, lacks)
			}
			for _, f := range failures {
				t.Errorf("%q, step %d (%s): %s: want %s, got %s", s.Title, f.Step, s.Steps[f.Step-1].Date, f.Key, f.Want, f.Got)
			}
		})
	}
	for id := range notYet {
		if !told[id] {
			t.Errorf("the list names %s, which testdata does not have", id)
		}
	}
}

// story puts steps into a scenario with one account, A.
func story(steps string) string {
	return `{"id": "T", "title": "t", "policy": {}, "steps": [` + steps + `]}`
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, says string }{
		{"a story", story(`{"date": "2026-03-01", "note": "nothing"}`), ""},
		{"no JSON", `id: T`, "invalid character"},
		{"cut off", `{"id": "T", "steps": [`, "unexpected EOF"},
		{"a key of no meaning", `{"id": "T", "stepps": []}`, `unknown field "stepps"`},
		{"no id", `{"steps": [{"date": "2026-03-01"}]}`, "needs an id and steps"},
		{"no steps", `{"id": "T", "steps": []}`, "needs an id and steps"},
		{"a step without a date", story(`{"run": ["post"]}`), "needs a date"},
		{"a date that is none", story(`{"date": "2026-02-30"}`), "2026-02-30"},
		{"a date of another type", story(`{"date": 20260301}`), "date"},
		{"two verbs in a step", story(`{"date": "2026-03-01", "pay": {}, "charge": {}}`), "one verb, found charge and pay"},
		{"an account that is not in the story", story(`{"date": "2026-03-01", "account": "B"}`), "step 1 is about account B"},
		{"run as a word", story(`{"date": "2026-03-01", "run": "post"}`), "run"},
		{"a policy key that does not exist", `{"id": "T", "policy": {"late_fee": {"grace": 0}}, "steps": [{"date": "2026-03-01"}]}`, "late_fee.grace"},
		{"a policy that cannot be", `{"id": "T", "policy": {"statement": {"cut_day": 31}}, "steps": [{"date": "2026-03-01"}]}`, "statement.cut_day"},
		{"fractions of a cent", `{"id": "T", "accounts": {"A": {"opening_credit": 1.5}}, "steps": [{"date": "2026-03-01"}]}`, "1.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := rehearsal.Parse([]byte(c.text))
			switch {
			case c.says == "" && err != nil:
				t.Error(err)
			case c.says == "" && (s.ID != "T" || len(s.Accounts) != 1):
				t.Errorf("got %+v", s)
			case c.says != "" && err == nil:
				t.Errorf("was read, want an error with %q", c.says)
			case c.says != "" && !strings.Contains(err.Error(), c.says):
				t.Errorf("error %q, want one with %q", err, c.says)
			}
		})
	}
}

// What the format knows and this version does not is a failure that names it,
// never a step passed over.
func TestUnknownIsFailure(t *testing.T) {
	steps := []struct{ step, key, got string }{
		{`{"date": "2026-03-01", "teleport": {"to": "B"}}`, "teleport", `no verb "teleport"`},
		{`{"date": "2026-03-01", "run": ["wash-up"]}`, "run", `no job "wash-up"`},
		{`{"date": "2026-03-01", "expect": {"karma": 1}}`, "karma", "no such figure"},
		{`{"date": "2026-03-01", "expect": {"open": {"karma": 1}}}`, "open.karma", "no such kind"},
		{`{"date": "2026-03-01", "charge": {"kind": "premium", "cents": 100}}`, "", ""},
		{`{"date": "2026-03-01", "run": ["statements"], "expect": {"statement": {"karma": 1, "balance": 100}}}`, "statement.karma", "no such figure"},
		{`{"date": "2026-03-02", "pay": {"channel": "online", "dollars": 1}}`, "pay", `unknown field "dollars"`},
		{`{"date": "2026-03-02", "pay": {"channel": "barter", "cents": 1}}`, "pay", "barter"},
		{`{"date": "2026-03-02", "ach_return": {"effective": "2026-03-25", "code": "R01"}}`, "ach_return", "no debit effective 2026-03-25"},
		{`{"date": "2026-03-02", "expect": {"ledger": 99}}`, "ledger", "100"},
	}
	var all []string
	for _, s := range steps {
		all = append(all, s.step)
	}
	s, err := rehearsal.Parse([]byte(story(strings.Join(all, ","))))
	if err != nil {
		t.Fatal(err)
	}
	failures, err := rehearsal.PlayOn(t.Context(), postgrestest.New(t), s)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range steps {
		of := slices.DeleteFunc(slices.Clone(failures), func(f rehearsal.Failure) bool { return f.Step != n+1 })
		switch {
		case want.key == "" && len(of) != 0:
			t.Errorf("%s: failed: %v", want.step, of)
		case want.key != "" && (len(of) != 1 || of[0].Key != want.key || !strings.Contains(of[0].Got, want.got)):
			t.Errorf("%s: failures %v, want one of %s with %q", want.step, of, want.key, want.got)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := rehearsal.Open(dir); err == nil || !strings.Contains(err.Error(), "no scenario") {
		t.Errorf("an empty folder gave %v", err)
	}
	for _, name := range []string{"b.json", "a.json", "notes.txt"} {
		text := strings.Replace(story(`{"date": "2026-03-01"}`), `"T"`, fmt.Sprintf("%q", name), 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stories, err := rehearsal.Open(dir, filepath.Join(dir, "notes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range stories {
		ids = append(ids, s.ID)
	}
	if want := []string{"a.json", "b.json", "notes.txt"}; !slices.Equal(ids, want) {
		t.Errorf("opened %v, want %v: a folder's *.json by name, a file whatever its name", ids, want)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := rehearsal.Open(dir); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("error %v does not name %s", err, bad)
	}
}

// FuzzParse: whatever the bytes, Parse gives an error or a story in which every
// step has a date and an account, and never panics.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files[:min(5, len(files))] {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(story(`{"date": "2026-03-01", "account": "A", "pay": null}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := rehearsal.Parse(b)
		if err != nil {
			return
		}
		if s.ID == "" || len(s.Steps) == 0 {
			t.Fatalf("read a story without id or steps: %q", b)
		}
		for n, step := range s.Steps {
			if _, known := s.Accounts[step.Account]; !known || step.Date.IsZero() {
				t.Fatalf("step %d of %q has no account or no date", n+1, b)
			}
		}
	})
}
