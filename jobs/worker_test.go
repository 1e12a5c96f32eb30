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

// A worker that outlives the program it worked for may mark its range as done
// between the next program's look at what is done and its taking what is not. The
// range is not done again, and the run goes on with the others.
func TestRangeDoneMeanwhileIsNotDoneAgain(t *testing.T) {
	b := newBiller(t, 5)
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-01")); err != nil {
		t.Fatal(err)
	}
	next := *b
	next.ChunkAccounts = 2
	done := false
	next.DB = tracedPool(t, b.DB, func(sql string) {
		if strings.Contains(sql, "insert into run_lease") && !done {
			done = true
			if _, err := b.DB.Exec(context.Background(), `insert into run_chunk (job, day, pass, step, from_id, to_id, selected, done, parked, cents, skipped)
				select job, day, pass, 'cut', 2, 3, 1, 0, 0, 0, '{"account_held": 1}' from run where job = 'statements' and state = 'running'`); err != nil {
				t.Error(err)
			}
		}
	})
	r, err := (jobs.Runner{House: next.House}).Run(t.Context(), "statements", day("2026-03-01"))
	if err != nil || r.Done != 4 || r.Skipped["account_held"] != 1 {
		t.Errorf("the run came to %+v, error %v", r, err)
	}
	if n := b.figure(`select count(*) from bill where account_id = 2`); !done || n != 0 {
		t.Errorf("asked %v; account 2 has %d bills, want none: another had its range", done, n)
	}
	if n := b.figure(`select count(*) from run_lease`); n != 0 {
		t.Errorf("%d ranges are still to be done", n)
	}
}

// A worker that falls silent when it has done a part of its range, since it looked
// for the account that nobody can work on, leaves the rest to others, and only that.
func TestRangeIsTakenOverFromWhereItStands(t *testing.T) {
	b := newBiller(t, 11)
	b.ChunkAccounts, b.Workers = 4, 1
	ctx := t.Context()
	if _, err := (jobs.Runner{House: b.House}).Run(ctx, "feeds", day("2026-03-01")); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		if _, err := b.DB.Exec(ctx, sql); err != nil {
			t.Error(err)
		}
	}
	exec(`create function break() returns trigger language plpgsql as $$ begin raise exception 'no bill for %', new.account_id; end $$`)
	exec(`create trigger break before insert on bill for each row when (new.account_id in (7, 11)) execute function break()`)
	silent, freeze := make(chan struct{}), make(chan struct{})
	helper, marks := *b, 0
	helper.Lease = time.Hour // it says nothing again
	helper.DB = tracedPool(t, b.sessions("billcycle frozen"), func(sql string) {
		if strings.HasPrefix(sql, "with mine as") {
			if marks++; marks == 2 { // of 4 accounts it has done 2
				close(silent)
				<-freeze
			}
		}
	})
	helping, stop := context.WithCancel(ctx)
	var stopped sync.WaitGroup
	stopped.Go(func() { _, _ = jobs.Worker{House: helper.House}.Run(helping) })
	for b.figure(`select count(*) from worker`) == 0 {
		time.Sleep(time.Millisecond)
	}
	night, once := *b, sync.Once{}
	night.DB = tracedPool(t, b.DB, func(sql string) {
		if strings.HasPrefix(sql, "select pg_advisory_xact_lock(1,") { // of its first range
			once.Do(func() {
				<-silent
				exec(`update worker set alive_until = clock_timestamp() - interval '1 second' where runs is null`)
			})
		}
	})
	r, err := (jobs.Runner{House: night.House}).Run(ctx, "statements", day("2026-03-01"))
	if err != nil || r.Done != 9 || r.Parked != 2 {
		t.Errorf("the run came to %+v, error %v; want 9 done and 2 parked", r, err)
	}
	if n := b.figure(`select count(*) from run_chunk c join run_chunk d using (job, day, pass, step) where d.from_id > c.from_id and d.from_id < c.to_id`); n != 0 {
		t.Errorf("%d ranges were done twice", n)
	}
	stop()
	close(freeze)
	stopped.Wait()
	b.holds()
}

// Who is frozen holds its lock on the date. It is told apart from who works by
// its silence: then the next one takes its date over.
func TestFrozenNightIsTakenOver(t *testing.T) {
	b := newBiller(t, 3)
	ctx := t.Context()
	held, freeze := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := *b
	first.DB, first.Lease = tracedPool(t, b.sessions("billcycle frozen"), func(sql string) {
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

// sessions opens a second pool on the biller's database, as another program has.
func (b *biller) sessions(called string) *pgxpool.Pool {
	b.t.Helper()
	config := b.DB.(*pgxpool.Pool).Config()
	config.ConnConfig.RuntimeParams["application_name"] = called
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(pool.Close)
	return pool
}
