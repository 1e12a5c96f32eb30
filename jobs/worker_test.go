package jobs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/jobs"
)

// A range that was given to another while its work was under way is not marked
// as done, and nothing of the work stays.
func TestFencedRangeChangesNothing(t *testing.T) {
	b := newBiller(t, 5)
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-01")); err != nil {
		t.Fatal(err)
	}
	before := b.rows()
	zombie := *b
	zombie.DB = tracedPool(t, b.DB, func(sql string) {
		if strings.HasPrefix(sql, "with mine as") {
			if _, err := b.DB.Exec(context.Background(), `update run_lease set fence = fence + 1`); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := (jobs.Runner{House: zombie.House}).Run(t.Context(), "statements", day("2026-03-01")); err == nil || !strings.Contains(err.Error(), "given to another worker") {
		t.Errorf("the run came to %v", err)
	}
	if after := b.rows(); len(after) != len(before) || b.figure(`select count(*) from bill`) != 0 || b.figure(`select count(*) from run_chunk`) != 0 {
		t.Errorf("%d rows were there, %d are now", len(before), len(after))
	}
	if r := b.night("2026-03-01")["statements"]; r.Done != 5 {
		t.Errorf("afterwards the run came to %+v", r)
	}
	b.holds()
}

// Who is frozen holds its lock on the date. It is told apart from who works by
// its silence: then the next one takes its date over.
func TestFrozenNightIsTakenOver(t *testing.T) {
	b := newBiller(t, 3)
	ctx := t.Context()
	config := b.DB.(*pgxpool.Pool).Config()
	config.ConnConfig.RuntimeParams["application_name"] = "billcycle frozen"
	frozen, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(frozen.Close)
	held, freeze := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := *b
	first.DB, first.Lease = tracedPool(t, frozen, func(sql string) {
		if strings.HasPrefix(sql, "insert into run (") {
			once.Do(func() { close(held); <-freeze })
		}
	}), time.Hour // it says nothing again
	done := make(chan error)
	go func() {
		_, err := jobs.Runner{House: first.House}.Night(context.Background(), day("2026-03-01"))
		done <- err
	}()
	<-held
	night := func() error { _, err := jobs.Runner{House: b.House}.Night(ctx, day("2026-03-01")); return err }
	if err := night(); !errors.Is(err, jobs.ErrBusy) || !strings.Contains(err.Error(), "process") {
		t.Errorf("beside one at work: %v, want ErrBusy with its name", err)
	}
	if _, err := b.DB.Exec(ctx, `update worker set alive_until = clock_timestamp() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	if err := night(); err != nil {
		t.Errorf("beside a frozen one: %v", err)
	}
	close(freeze)
	if err := <-done; err == nil {
		t.Error("the frozen one came through")
	}
	if n := b.figure(`select count(*) from run where state <> 'done'`); n != 0 {
		t.Errorf("%d runs are not done", n)
	}
	b.holds()
}

// A worker that would decide otherwise than who runs the night says so and
// leaves.
func TestWorkerOfOtherRulesRefuses(t *testing.T) {
	for _, c := range []struct {
		name, words string
		change      func(h *jobs.House)
	}{
		{"policy", "policy", func(h *jobs.House) {
			p := billing.DefaultPolicy()
			p.LateFee.Cents++
			h.Policy = &p
		}},
		{"program", "this is 2", func(h *jobs.House) { h.Program = "2" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBiller(t, 0)
			if _, err := b.DB.Exec(t.Context(), `insert into worker (name, session, program, policy, runs, alive_until)
				values ('another', current_setting('application_name'), '', $1, '2026-03-01', clock_timestamp() + interval '1 hour')`, b.Policy.Fingerprint()); err != nil {
				t.Fatal(err)
			}
			c.change(&b.House)
			if _, err := (jobs.Worker{House: b.House}).Run(t.Context()); !errors.Is(err, jobs.ErrRules) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v", err)
			}
			if n := b.figure(`select count(*) from worker where runs is null`); n != 0 {
				t.Errorf("%d workers are still there", n)
			}
		})
	}
}
