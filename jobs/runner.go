package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// ErrBusy says that another program works on the same business date.
var ErrBusy = errors.New("another run holds this business date: wait for it, then run again")

// Runner carries out jobs.
type Runner struct{ House }

// Run carries out one job for a business date.
func (r Runner) Run(ctx context.Context, job string, day calendar.Date) (Report, error) {
	for _, j := range Jobs() {
		if j.Name == job {
			reports, err := r.run(ctx, []Job{j}, day)
			if len(reports) == 1 {
				return reports[0], err
			}
			return Report{Job: job, State: "failed"}, err
		}
	}
	return Report{}, fmt.Errorf("there is no job %q (billcycle jobs lists them)", job)
}

// Night carries out the jobs of a business date in their order: all of them, but
// for those that the policy's schedule leaves out on it. It stops at the first
// that fails, since the later ones build on it.
func (r Runner) Night(ctx context.Context, day calendar.Date) ([]Report, error) {
	return r.run(ctx, r.jobsOf(day), day)
}

func (r Runner) run(ctx context.Context, jobs []Job, day calendar.Date) (reports []Report, err error) {
	return r.runOn(ctx, jobs, day, nil)
}

func (r Runner) runOn(ctx context.Context, jobs []Job, day calendar.Date, only []billing.Range) (reports []Report, err error) {
	// One program at a time works on a business date.
	h := fnv.New32a()
	fmt.Fprintf(h, "billcycle business date %s", day)
	got, err := postgres.Alone(ctx, r.DB, int64(h.Sum32()), false, func(postgres.DB) error {
		if err := billing.OpenMonths(ctx, r.DB, day); err != nil {
			return err
		}
		for _, j := range jobs {
			report, err := r.one(ctx, j, day, only)
			reports = append(reports, report)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", j.Name, day, err)
			}
		}
		return nil
	})
	if err == nil && !got {
		err = ErrBusy
	}
	return reports, err
}

// Retry tries parked accounts again: those given, or all that wait. Each job
// that has parked any is run once more for the newest business date that it was
// run for, on these accounts only.
func (r Runner) Retry(ctx context.Context, accounts ...int64) (reports []Report, err error) {
	for _, j := range Jobs() {
		rows, err := r.DB.Query(ctx, `select distinct account_id from parked where job = $1 and cleared_on is null and (cardinality($2::bigint[]) = 0 or account_id = any($2)) order by 1`, j.Name, append([]int64{}, accounts...))
		if err != nil {
			return reports, err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return reports, err
		}
		if len(ids) == 0 {
			continue
		}
		var day calendar.Date
		if err := r.DB.QueryRow(ctx, `select max(day) from run where job = $1 and state <> 'skipped'`, j.Name).Scan(&day); err != nil {
			return reports, err
		}
		var only []billing.Range
		for _, id := range ids {
			only = append(only, billing.Range{From: id, To: id + 1})
		}
		again, err := r.runOn(ctx, []Job{j}, day, only)
		if reports = append(reports, again...); err != nil {
			return reports, err
		}
	}
	return reports, nil
}

func (r Runner) one(ctx context.Context, j Job, day calendar.Date, only []billing.Range) (Report, error) {
	run := &Run{House: r.House, Job: j.Name, Day: day, only: only}
	if run.Workers == 0 {
		run.Workers = 2
	}
	if run.ChunkAccounts == 0 {
		run.ChunkAccounts = 10_000
	}
	if err := run.begin(ctx); err != nil {
		return Report{Job: j.Name, State: "failed"}, err
	}
	err := j.Run(ctx, run)
	if err == nil && run.tally.Selected != run.tally.Done+run.tally.Parked+sum(run.tally.Skipped) {
		err = fmt.Errorf("selected %d is not done %d + skipped %d + parked %d", run.tally.Selected, run.tally.Done, sum(run.tally.Skipped), run.tally.Parked)
	}
	return run.end(context.WithoutCancel(ctx), err)
}

func sum(m map[string]int64) (n int64) {
	for v := range maps.Values(m) {
		n += v
	}
	return n
}

// begin records the run: a new one, the next pass of a finished one, or the
// same pass of one that was killed.
func (r *Run) begin(ctx context.Context) error {
	var state string
	err := r.DB.QueryRow(ctx, `select state, pass from run where job = $1 and day = $2`, r.Job, r.Day).Scan(&state, &r.pass)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		r.pass = 1
	case err != nil:
		return err
	case state == "done":
		r.pass++
		r.again = true
	}
	_, err = r.DB.Exec(ctx, `insert into run (job, day, pass, state) values ($1, $2, $3, 'running')
		on conflict (job, day) do update set pass = $3, state = 'running', error = ''`, r.Job, r.Day, r.pass)
	return err
}

// end records how the run came out. The row keeps what all passes did.
func (r *Run) end(ctx context.Context, failed error) (Report, error) {
	report := Report{Job: r.Job, State: "done", Selected: r.tally.Selected, Done: r.tally.Done, Skipped: r.tally.Skipped, Parked: r.tally.Parked, Cents: r.tally.Cents, Again: r.again, Waiting: r.waits, Notes: r.notes}
	if report.Skipped == nil {
		report.Skipped = map[string]int64{}
	}
	words := ""
	if failed != nil {
		report.State, words = "failed", failed.Error()
	}
	skipped, err := json.Marshal(report.Skipped)
	if err != nil {
		return report, err
	}
	if r.only != nil { // what was found of all the others still stands
		_, err = r.DB.Exec(ctx, `update run set state = $3, done = done + $4, parked = greatest(parked - $5, 0) + $6, cents = cents + $7, error = $8 where job = $1 and day = $2`,
			r.Job, r.Day, report.State, report.Done, len(r.only), report.Parked, int64(report.Cents), words)
		return report, errors.Join(failed, err)
	}
	_, err = r.DB.Exec(ctx, `update run set state = $3, selected = $4, done = done + $5, skipped = $6, parked = $7, cents = cents + $8, error = $9 where job = $1 and day = $2`,
		r.Job, r.Day, report.State, report.Selected, report.Done, skipped, report.Parked, int64(report.Cents), words)
	return report, errors.Join(failed, err)
}

// Did, Skip and the like count work that is not cut into ranges.
func (r *Run) count(t billing.Tally) { r.tally.Add(t) }

// note adds a line to the report.
func (r *Run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// lastFinished returns the newest business date before the run's for which its
// job has finished, 0 for none.
func (r *Run) lastFinished(ctx context.Context) (day calendar.Date, err error) {
	err = r.DB.QueryRow(ctx, `select max(day) from run where job = $1 and state = 'done' and day < $2`, r.Job, r.Day).Scan(&day)
	return day, err
}

// work is a piece of a job over a key range of accounts, in one transaction.
type work func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error)

// ranges carries out a step of the job over all accounts, range by range, as
// many at once as there are workers. What a killed run has finished is not
// done again.
func (r *Run) ranges(ctx context.Context, step string, workers int, do work) error {
	todo, err := r.plan(ctx, step)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan billing.Range)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range workers {
		wg.Go(func() {
			for in := range next {
				t, err := r.rangeOrHalves(ctx, step, in, do)
				mu.Lock()
				r.tally.Add(t)
				mu.Unlock()
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, in := range todo {
		select {
		case next <- in:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// plan lists the ranges that are left to do, and counts what a killed run has
// done of this pass already.
func (r *Run) plan(ctx context.Context, step string) ([]billing.Range, error) {
	var top int64
	if err := r.DB.QueryRow(ctx, `select coalesce(max(id), 0) from account`).Scan(&top); err != nil {
		return nil, err
	}
	rows, err := r.DB.Query(ctx, `select from_id, to_id, selected, done, skipped, parked, cents from run_chunk where job = $1 and day = $2 and pass = $3 and step = $4 order by from_id`, r.Job, r.Day, r.pass, step)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var todo []billing.Range
	at := int64(1)
	for rows.Next() {
		var in billing.Range
		var t billing.Tally
		if err := rows.Scan(&in.From, &in.To, &t.Selected, &t.Done, &t.Skipped, &t.Parked, &t.Cents); err != nil {
			return nil, err
		}
		todo = append(todo, r.cut(at, in.From)...)
		at = max(at, in.To)
		r.tally.Add(t)
	}
	if todo = append(todo, r.cut(at, top+1)...); r.only != nil {
		todo = within(todo, r.only)
	}
	return todo, rows.Err()
}

// within returns the parts of ranges that are among those asked for.
func within(ranges, only []billing.Range) (out []billing.Range) {
	for _, in := range ranges {
		for _, one := range only {
			if in.From <= one.From && one.To <= in.To {
				out = append(out, one)
			}
		}
	}
	return out
}

// cut cuts a gap into ranges that begin at multiples of the range's size, so
// that a resumed run has the same ones.
func (r *Run) cut(from, to int64) (out []billing.Range) {
	for from < to {
		end := min(to, (from/r.ChunkAccounts+1)*r.ChunkAccounts)
		out = append(out, billing.Range{From: from, To: end})
		from = end
	}
	return out
}

// rangeOrHalves works on a range; if it fails, on its halves, down to the one
// account that can't be worked on. That one is parked with its error, and the
// run goes on.
func (r *Run) rangeOrHalves(ctx context.Context, step string, in billing.Range, do work) (billing.Tally, error) {
	t, err := r.inTx(ctx, step, in, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
		t, err := do(ctx, tx, in)
		if err != nil {
			return t, err
		}
		if err := r.unpark(ctx, tx, step, in); err != nil {
			return t, err
		}
		return t, r.keepReasons(ctx, tx, t.Passed)
	})
	switch {
	case err == nil:
		return t, nil
	case ctx.Err() != nil || postgres.IsUnavailable(err):
		return t, err
	case in.To-in.From == 1:
		return r.inTx(ctx, step, in, func(ctx context.Context, tx pgx.Tx, in billing.Range) (billing.Tally, error) {
			r.say("account %d is parked: %v", in.From, err)
			return billing.Tally{Selected: 1, Parked: 1}, r.park(ctx, tx, step, in.From, err)
		})
	}
	middle := in.From + (in.To-in.From)/2
	lower, err := r.rangeOrHalves(ctx, step, billing.Range{From: in.From, To: middle}, do)
	if err != nil {
		return lower, err
	}
	upper, err := r.rangeOrHalves(ctx, step, billing.Range{From: middle, To: in.To}, do)
	lower.Add(upper)
	return lower, err
}

// inTx does the work and writes its done-mark in one transaction.
func (r *Run) inTx(ctx context.Context, step string, in billing.Range, do work) (t billing.Tally, err error) {
	defer func() {
		if p := recover(); p != nil {
			t, err = billing.Tally{}, fmt.Errorf("%v", p)
		}
	}()
	err = pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		var err error
		if t, err = do(ctx, tx, in); err != nil {
			return err
		}
		skipped := t.Skipped
		if skipped == nil {
			skipped = map[string]int64{}
		}
		_, err = tx.Exec(ctx, `insert into run_chunk (job, day, pass, step, from_id, to_id, selected, done, skipped, parked, cents) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			r.Job, r.Day, r.pass, step, in.From, in.To, t.Selected, t.Done, skipped, t.Parked, int64(t.Cents))
		return err
	})
	if err != nil {
		return billing.Tally{}, err
	}
	return t, nil
}

func (r *Run) say(format string, args ...any) {
	if r.Log != nil {
		fmt.Fprintf(r.Log, r.Job+": "+format+"\n", args...)
	}
}
