package rehearsal_test

import (
	"testing"

	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
)

// Stories of every rule and of rules that meet come out as told, and leave books
// of which every invariant holds.
func TestRuleStories(t *testing.T) {
	for folder, least := range map[string]int{"testdata/rules": 100, "testdata/own": 35, "testdata/agreements": 7, "testdata/policies": 5} {
		stories, err := rehearsal.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(stories) < least {
			t.Fatalf("%s holds %d stories: some are lost", folder, len(stories))
		}
		for _, s := range stories {
			t.Run(s.ID, func(t *testing.T) {
				t.Parallel()
				db := postgrestest.New(t)
				failures, err := rehearsal.PlayOn(t.Context(), db, s)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range failures {
					t.Errorf("%q, step %d (%s): %s: want %s, got %s", s.Title, f.Step, s.Steps[f.Step-1].Date, f.Key, f.Want, f.Got)
				}
				for _, inv := range jobs.Invariants() {
					var broken int
					if err := db.QueryRow(t.Context(), "select count(*) from ("+inv.SQL+") x").Scan(&broken); err != nil {
						t.Fatalf("%s: %v", inv.Name, err)
					}
					if broken > 0 {
						t.Errorf("%q: %s: %d rows break it", s.Title, inv.Name, broken)
					}
				}
			})
		}
	}
}
