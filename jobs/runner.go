package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"

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
	for try := 1; ; try++ {
		got, err := postgres.Alone(ctx, r.DB, int64(h.Sum32()), false, func(postgres.DB) error {
			return r.asWorker(ctx, day, func(ctx context.Context, me *member) (err error) {
				reports, err = r.all(ctx, me, jobs, day, only)
				return err
			})
		})
		if err != nil || got {
			return reports, err
		}
		who, silent, err := r.holder(ctx, day)
		switch {
		case err != nil:
			return nil, err
		case who == "":
			return nil, ErrBusy
		case !silent || try > 1 || r.leavesNoTrace():
			return nil, fmt.Errorf("%w (%s)", ErrBusy, who)
		}
		// It is frozen, or was cut off, and holds its lock all the same.
		if err := r.bury(ctx, 0); err != nil {
			return nil, err
		}
	}
}

// all carries out jobs one after the other.
func (r Runner) all(ctx context.Context, me *member, jobs []Job, day calendar.Date, only []billing.Range) (reports []Report, err error) {
	if err := billing.OpenMonths(ctx, r.DB, day); err != nil {
		return nil, err
	}
	if !r.dry {
		if err := r.sweepDry(); err != nil {
			return nil, err
		}
	}
	if r.still != nil {
		var err error
		if jobs, err = r.still(ctx); err != nil {
			return nil, err
		}
	}
	for _, j := range jobs {
		report, err := r.one(ctx, me, j, day, only)
		reports = append(reports, report)
		if err != nil {
			return reports, fmt.Errorf("%s of %s: %w", j.Name, day, err)
		}
	}
	return reports, nil
}

// Retry tries parked accounts again: those given, or all that wait. Each job
// that has parked any is run once more for the newest business date for which it
// has ended, on these accounts only. A date on which it was broken off is not
// touched: it still has all of its work before it.
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
		if err := r.DB.QueryRow(ctx, `select max(day) from run where job = $1 and state = 'done'`, j.Name).Scan(&day); err != nil {
			return reports, err
		}
		if day == 0 { // the night of its first date will see to them
			continue
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

func (r Runner) one(ctx context.Context, me *member, j Job, day calendar.Date, only []billing.Range) (Report, error) {
	run := &Run{House: r.House, Job: j.Name, Day: day, only: only, me: me}
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
	_, err = r.DB.Exec(ctx, `insert into run (job, day, pass, state, program, policy, owner) values ($1, $2, $3, 'running', $4, $5, $6)
		on conflict (job, day) do update set pass = $3, state = 'running', error = '', program = $4, policy = $5, owner = $6,
			done_before = case when run.pass < $3 then run.done else run.done_before end, cents_before = case when run.pass < $3 then run.cents else run.cents_before end`, r.Job, r.Day, r.pass, r.Program, r.Policy.Fingerprint(), r.me.number())
	return err
}

// end records how the run came out, unless it is another's by now. The row keeps
// what all passes did: of this one, what its ranges come to however often it was
// broken off, and what else was done each time.
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
		_, err = r.DB.Exec(ctx, `update run set state = $3, done = done + $4, parked = greatest(parked - $5, 0) + $6, cents = cents + $7, error = $8 where job = $1 and day = $2 and owner = $9`,
			r.Job, r.Day, report.State, report.Done, len(r.only), report.Parked, int64(report.Cents), words, r.me.number())
		return report, errors.Join(failed, err)
	}
	_, err = r.DB.Exec(ctx, `update run set state = $3, selected = $4, done = done_before + $5, skipped = $6, parked = $7, cents = cents_before + $8, error = $9, done_before = done_before + $11, cents_before = cents_before + $12
		where job = $1 and day = $2 and owner = $10`,
		r.Job, r.Day, report.State, report.Selected, report.Done, skipped, report.Parked, int64(report.Cents), words, r.me.number(), report.Done-r.ranged.Done, int64(report.Cents-r.ranged.Cents))
	return report, errors.Join(failed, err)
}

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

func (r *Run) say(format string, args ...any) {
	if r.Log != nil {
		fmt.Fprintf(r.Log, r.Job+": "+format+"\n", args...)
	}
}
