package rehearsal_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/rehearsal"
)

// A night that is only tried tells the figures of the real one, and changes
// nothing: no row, no file.
func TestDryNight(t *testing.T) {
	h := newHouse(t)
	demo := rehearsal.Demo{Members: 40, Months: 1, Seed: 5, Start: rehearsal.DemoStart}
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		before, err := read(ctx, h)
		if err != nil {
			return err
		}
		var said []jobs.Report
		runner := jobs.Runner{House: h}
		if err := runner.Dry(ctx, func(r jobs.Runner) (err error) {
			said, err = r.Night(ctx, day)
			return err
		}); err != nil {
			return err
		}
		after, err := read(ctx, h)
		if err != nil {
			return err
		}
		for _, what := range before.differences(after) {
			t.Errorf("%s: trying the night changed %s", day, what)
		}
		did, err := runner.Night(ctx, day)
		if err != nil {
			return err
		}
		if said, did := figures(t, said), figures(t, did); said != did {
			t.Errorf("%s: tried\n%s\nand did\n%s", day, said, did)
		}
		return nil
	}
	if _, err := demo.Live(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	holds(t, h)
}

func figures(t *testing.T, reports []jobs.Report) string {
	t.Helper()
	for n := range reports {
		reports[n].Notes = nil
	}
	text, err := json.MarshalIndent(reports, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
