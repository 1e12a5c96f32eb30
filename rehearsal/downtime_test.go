package rehearsal_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
)

// mornings is what came into the inbox on each day, by its path in it.
type mornings map[calendar.Date]map[string][]byte

// keep keeps what is in a house's inbox as what came on a day, two hours before
// the night.
func (m mornings) keep(h jobs.House, day calendar.Date) error {
	m[day] = map[string][]byte{}
	inbox := filepath.Join(h.Dir, "inbox")
	return filepath.WalkDir(inbox, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(inbox, path)
		m[day][name], err = os.ReadFile(path)
		return err
	})
}

// bring brings what came on a day into another house.
func (m mornings) bring(t *testing.T, h jobs.House, day calendar.Date) {
	t.Helper()
	at := h.Policy.Begins(day).Add(-2 * time.Hour)
	for name, content := range m[day] {
		path := filepath.Join(h.Dir, "inbox", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// A machine that is down for three days over the end of a month, a cut day and a
// night of daylight saving time (once for all of them at once), while the bank and the feeds go on, runs the
// missed dates when it is up again, in order and once, and its books are those
// of a machine that was never down: journal, statements, files for the bank.
func TestDowntimeEndsInTheSameBooks(t *testing.T) {
	for _, c := range []struct {
		name, start string
		up          map[string]string // when it comes up, by the first date that it misses
	}{
		{"autumn", "2026-09-24", map[string]string{"2026-10-31": "2026-11-02T12:00:00-08:00"}},
		{"spring", "2026-01-24", map[string]string{"2026-02-28": "2026-03-02T09:00:00-08:00", "2026-03-06": "2026-03-08T23:30:00-07:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			never := newHouse(t)
			came := mornings{}
			var days []calendar.Date
			demo := rehearsal.Demo{Members: 60, Months: 2, Seed: 3, Start: calendar.MustParse(c.start)}
			demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
				days = append(days, day)
				if err := came.keep(h, day); err != nil {
					return err
				}
				_, err := jobs.Runner{House: h}.Night(ctx, day)
				never = h
				return err
			}
			want, lived := live(t, demo, never)

			// The other machine: the same world, keys and policy.
			back := never
			back.DB, back.Dir = postgrestest.New(t), t.TempDir()
			var now, up time.Time
			var ran []calendar.Date
			clock := &jobs.Clock{Runner: jobs.Runner{House: back}, Now: func() time.Time { return now },
				After: func(_ context.Context, n jobs.Night) { ran = append(ran, n.Day) }}
			for _, day := range days {
				came.bring(t, back, day)
				if at := c.up[day.String()]; at != "" {
					var err error
					if up, err = time.Parse(time.RFC3339, at); err != nil || back.Policy.Newest(up) != day+2 {
						t.Fatalf("up at %s, %v: it is not down for three nights", at, err)
					}
				}
				now = back.Policy.Begins(day)
				if !up.IsZero() {
					if day < back.Policy.Newest(up) {
						continue
					}
					now, up = up, time.Time{}
				}
				for range 2 { // the second finds nothing to do
					if err := clock.Look(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(ran) != len(days) {
				t.Errorf("%d nights were run, want %d", len(ran), len(days))
			}
			for n, day := range ran {
				if day != days[n] {
					t.Errorf("night %d is of %s, want %s", n, day, days[n])
				}
			}
			got, err := read(context.Background(), back)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range want.differences(got) {
				t.Error(d)
			}
			holds(t, back)
			if lived.Statements < 40 || lived.ACHDebits == 0 || lived.LockboxItems == 0 || lived.LateFees == 0 {
				t.Errorf("hardly anything happened: %+v", lived)
			}
			if billing.DefaultPolicy().Schedule.CatchUp != billing.CatchUpAll {
				t.Error("missed dates are not all caught up by default")
			}
		})
	}
}
