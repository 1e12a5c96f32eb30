package rehearsal_test

import (
	"testing"

	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
)

// TestReminderAndCardStories plays the stories of testdata/notices: who is
// reminded of what, and when a card is asked.
func TestReminderAndCardStories(t *testing.T) {
	stories, err := rehearsal.Open("testdata/notices")
	if err != nil {
		t.Fatal(err)
	}
	if len(stories) < 20 {
		t.Fatalf("testdata/notices holds %d stories: some are lost", len(stories))
	}
	for _, s := range stories {
		t.Run(s.ID, func(t *testing.T) {
			t.Parallel()
			failures, err := rehearsal.PlayOn(t.Context(), postgrestest.New(t), s)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range failures {
				t.Errorf("%q, step %d (%s): %s: want %s, got %s", s.Title, f.Step, s.Steps[f.Step-1].Date, f.Key, f.Want, f.Got)
			}
		})
	}
}

// What comes out otherwise is told.
func TestReminderAndCardStoriesFail(t *testing.T) {
	s, err := rehearsal.Parse([]byte(story(`
		{"date": "2026-03-01", "charge": {"kind": "premium", "cents": 100}},
		{"date": "2026-03-01", "run": ["statements"]},
		{"date": "2026-03-15", "run": ["reminders"], "expect": {"reminders": 3, "message": {"has": ["$2.00"], "lacks": ["STATEMENT"]}}},
		{"date": "2026-03-16", "run": ["reminders"], "expect": {"message": {"has": ["$1.00"]}}},
		{"date": "2026-03-25", "card": {"result": "approved", "cents": 100}},
		{"date": "2026-03-25", "optout": {"channel": "pigeon"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	failures, err := rehearsal.PlayOn(t.Context(), postgrestest.New(t), s)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	for _, f := range failures {
		told[f.Key]++
	}
	for key, n := range map[string]int{"reminders": 1, "message.has": 2, "message.lacks": 2, "message": 1, "card": 1, "optout": 1} {
		if told[key] != n {
			t.Errorf("%s: %d failures, want %d (all: %+v)", key, told[key], n, failures)
		}
	}
}
