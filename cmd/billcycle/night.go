package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/watch"
)

// The night: nightly, run, jobs, runs, worker.

func (p *program) nightCommands() []*cobra.Command {
	return []*cobra.Command{p.nightlyCommand(), p.runCommand(), p.jobsCommand(), p.runsCommand(), p.workerCommand()}
}

func (p *program) nightlyCommand() *cobra.Command {
	var date dateFlag
	var dry bool
	c := addDate(p.command(command{
		use:     "nightly",
		short:   "Run all jobs of one business date in order",
		example: "  billcycle nightly --date 2026-03-25",
		long: `Run all jobs of one business date, in the order of a night. A date that is
finished is looked at again and only what has arrived since is done; what was
done stays. It stops at the first job that fails, since later ones build on it.

Without --date it is the night of today, and nights that were missed since the
last one are caught up before it, in order, as the policy's schedule says. With
--date it is the night of that date alone.`,
		run: func(ctx context.Context, _ []string) error {
			today, err := p.day(0)
			if err != nil {
				return err
			}
			post, err := p.openPost()
			if err != nil {
				return err
			}
			nights, failed := p.runNights(ctx, post, date.Date, today, dry)
			if len(nights) == 0 || len(nights) == 1 && len(nights[0].Reports) == 0 && failed != nil {
				p.alertFailure(ctx, post, cmp.Or(date.Date, today), failed)
				return failed
			}
			if n := len(nights) - 1; n > 0 && !dry && failed == nil {
				post.send(ctx, watch.Late, nights[n-1].Day, fmt.Sprintf("%s before %s had been missed, and have been caught up", counted(n, "night"), nights[n].Day))
			}
			for _, n := range nights {
				for _, r := range n.Reports {
					p.leaves(!dry && (r.Parked > 0 || r.Waiting > 0))
				}
			}
			last := nights[len(nights)-1]
			err = p.answer(struct {
				Date   calendar.Date `json:"date"`
				Runs   []jobs.Report `json:"runs"`
				Caught []nightLine   `json:"caught_up"` // missed dates before it
			}{last.Day, notNull(last.Reports), nightLines(nights[:len(nights)-1])}, func(w *page) {
				for _, n := range nights {
					w.line("Night of %s%s", n.Day, dryWords(dry))
					writeReports(w, n.Reports)
				}
			})
			return cmp.Or(failed, err)
		},
	}), &date)
	return addDry(c, &dry)
}

// runNights runs the night of a date, or without one that of today after those
// that were missed, and sees to each that was run.
func (p *program) runNights(ctx context.Context, post *post, day, today calendar.Date, dry bool) (nights []jobs.Night, err error) {
	house, err := p.openToWork(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.believe(ctx, house, day, today, dry); err != nil {
		return nil, err
	}
	defer p.progress(ctx, house)()
	var after func(context.Context, jobs.Night)
	if !dry {
		after = func(ctx context.Context, n jobs.Night) { p.afterNight(ctx, house, post, n) }
	}
	err = runOrDry(ctx, jobs.Runner{House: house}, dry, func(r jobs.Runner) (err error) {
		if day.IsZero() {
			nights, err = r.Tonight(ctx, p.now(), after)
			return err
		}
		n := jobs.Night{Day: day}
		n.Reports, n.Err = r.Night(ctx, day)
		if nights = []jobs.Night{n}; after != nil && len(n.Reports) > 0 {
			after(ctx, n)
		}
		return n.Err
	})
	return nights, err
}

// nightLine is a night that was caught up, as nightly answers it.
type nightLine struct {
	Date calendar.Date `json:"date"`
	Runs []jobs.Report `json:"runs"`
}

func nightLines(nights []jobs.Night) []nightLine {
	lines := []nightLine{}
	for _, n := range nights {
		lines = append(lines, nightLine{n.Day, notNull(n.Reports)})
	}
	return lines
}

// believe refuses a date named on the command line that can't be meant, and
// tells of dates before it that have no run.
func (p *program) believe(ctx context.Context, house jobs.House, day, today calendar.Date, dry bool) error {
	if day.IsZero() || dry {
		return nil
	}
	r := jobs.Runner{House: house}
	if err := r.Believe(ctx, day, today); err != nil {
		return err
	}
	n, last, err := r.Unrun(ctx, day)
	if n > 0 {
		p.tell("the newest night before %s is that of %s: %s between them without a run", day, last, counted(n, "date"))
	}
	return err
}

// addDry adds --dry-run.
func addDry(c *cobra.Command, dry *bool) *cobra.Command {
	c.Flags().BoolVar(dry, "dry-run", false, "report the totals and change nothing; others who change accounts wait meanwhile")
	return c
}

func dryWords(dry bool) string {
	if dry {
		return ", as it would be: nothing was changed"
	}
	return ""
}

// runOrDry lets a runner work, or only try.
func runOrDry(ctx context.Context, r jobs.Runner, dry bool, do func(jobs.Runner) error) error {
	if dry {
		return r.Dry(ctx, do)
	}
	return do(r)
}

func (p *program) runCommand() *cobra.Command {
	var date dateFlag
	var dry bool
	c := addDate(p.command(command{
		use:     "run JOB",
		short:   "Run one job for a business date",
		example: "  billcycle run statements --date 2026-03-01",
		long:    "Run one job for a business date. The jobs: " + strings.Join(jobNames(), ", ") + ".",
		run: func(ctx context.Context, args []string) error {
			if !slices.Contains(jobNames(), args[0]) {
				return wrongUsage("there is no job %q; the jobs are %s", args[0], strings.Join(jobNames(), ", "))
			}
			today, err := p.day(0)
			if err != nil {
				return err
			}
			day := cmp.Or(date.Date, today)
			house, err := p.openToWork(ctx)
			if err != nil {
				return err
			}
			if err := (jobs.Runner{House: house}).Believe(ctx, day, today); err != nil && !dry {
				return err
			}
			var report jobs.Report
			defer p.progress(ctx, house)()
			failed := runOrDry(ctx, jobs.Runner{House: house}, dry, func(r jobs.Runner) (err error) {
				report, err = r.Run(ctx, args[0], day)
				return err
			})
			if failed != nil && report.Skipped == nil {
				return failed // it did not even begin
			}
			p.leaves(!dry && (report.Parked > 0 || report.Waiting > 0))
			err = p.answer(report, func(w *page) { writeReports(w, []jobs.Report{report}) })
			return cmp.Or(failed, err)
		},
	}), &date)
	c.ValidArgs = jobNames()
	return addDry(c, &dry)
}

func jobNames() (names []string) {
	for _, j := range jobs.Jobs() {
		names = append(names, j.Name)
	}
	return names
}

func writeReports(w *page, reports []jobs.Report) {
	w.line("job\tstate\tselected\tdone\tskipped\tparked\t%14s", "amount")
	for _, r := range reports {
		var skipped int64
		for n := range maps.Values(r.Skipped) {
			skipped += n
		}
		w.line("%s\t%s\t%d\t%d\t%d\t%d\t%s", r.Job, r.State, r.Selected, r.Done, skipped, r.Parked, amount(r.Cents))
	}
	var idle []string
	for _, r := range reports {
		if r.Again && r.State == "done" && r.Done == 0 && r.Parked == 0 {
			idle = append(idle, r.Job)
		}
	}
	if len(idle) > 0 {
		w.line("already done, and nothing to do since: %s", strings.Join(idle, ", "))
	}
	for _, r := range reports {
		for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
			w.line("%s skipped %d: %s: %s", r.Job, r.Skipped[reason], reason, jobs.ReasonOf(reason).Says)
		}
		for _, note := range r.Notes {
			w.line("%s: %s", r.Job, note)
		}
		if r.Waiting > 0 {
			w.line("%s left %s for a person", r.Job, counted(int(r.Waiting), "thing"))
		}
	}
}

// jobLine is a job as `jobs` lists it.
type jobLine struct {
	Name     string        `json:"name"`
	Doc      string        `json:"doc"`
	Schedule string        `json:"schedule"`
	Last     *lastRun      `json:"last"` // null before the first
	Next     calendar.Date `json:"next"` // the business date it has not finished yet
}

type lastRun struct {
	Day   calendar.Date `json:"day"`
	State string        `json:"state"`
}

func (p *program) jobsCommand() *cobra.Command {
	return p.command(command{
		use:     "jobs",
		short:   "List the jobs of a night: schedule, last and next run",
		example: "  billcycle jobs",
		run: func(ctx context.Context, _ []string) error {
			today, err := p.day(0)
			if err != nil {
				return err
			}
			house, err := p.open(ctx, p.clock())
			if err != nil {
				return err
			}
			last := map[string]lastRun{}
			rows, err := house.DB.Query(ctx, `select distinct on (job) job, day, state from run order by job, day desc`)
			if err != nil {
				return err
			}
			var job string
			var l lastRun
			if _, err := pgx.ForEachRow(rows, []any{&job, &l.Day, &l.State}, func() error { last[job] = l; return nil }); err != nil {
				return err
			}
			lines := []jobLine{}
			for _, j := range jobs.Jobs() {
				line := jobLine{j.Name, j.Doc, j.When(house.Policy), nil, today}
				l, ran := last[j.Name]
				if ran {
					line.Last, line.Next = &l, l.Day+1
				}
				if ran && (l.State == "running" || l.State == "failed") {
					line.Next = l.Day
				} else {
					line.Next = j.Next(house.Policy, line.Next)
				}
				lines = append(lines, line)
			}
			at, day := jobs.NextNight(house.Policy, p.now())
			return p.answer(struct {
				Jobs []jobLine     `json:"jobs"`
				Next time.Time     `json:"next_night"`
				Day  calendar.Date `json:"next_night_date"`
			}{lines, at, day}, func(w *page) {
				defer w.line("\nThe next night begins %s, for the business date %s.", at.Format("January 2, 2006, 15:04 MST"), day)
				w.line("job\tschedule\tlast run\tnext\twhat it does")
				for _, l := range lines {
					ran := "never"
					if l.Last != nil {
						ran = l.Last.Day.String() + " " + l.Last.State
					}
					w.line("%s\t%s\t%s\t%s\t%s", l.Name, l.Schedule, ran, l.Next, l.Doc)
				}
			})
		},
	})
}

// pastRun is a run as `runs` lists it.
type pastRun struct {
	Job      string           `json:"job"`
	Date     calendar.Date    `json:"date"`
	State    string           `json:"state"`
	Passes   int              `json:"passes"` // how often it was looked at
	Selected int64            `json:"selected"`
	Done     int64            `json:"done"`
	Skipped  map[string]int64 `json:"skipped"`
	Parked   int64            `json:"parked"`
	Cents    ledger.Cents     `json:"cents"`
	Error    string           `json:"error"`
}

func (p *program) runsCommand() *cobra.Command {
	var date dateFlag
	c := p.command(command{
		use:     "runs",
		short:   "List runs with their totals, the newest date first",
		example: "  billcycle runs --date 2026-03-25",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.clock())
			if err != nil {
				return err
			}
			rows, err := house.DB.Query(ctx, `select job, day, state, pass, selected, done, skipped, parked, cents, error from run
				where $1::date is null or day = $1 order by day desc, array_position($2, job) limit 1000`, date.Date, jobNames())
			if err != nil {
				return err
			}
			runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pastRun])
			if err != nil {
				return err
			}
			return p.answer(struct {
				Runs []pastRun `json:"runs"`
			}{notNull(runs)}, func(w *page) {
				w.line("date\tjob\tstate\tselected\tdone\tparked\t%14s", "amount")
				for _, r := range runs {
					w.line("%s\t%s\t%s\t%d\t%d\t%d\t%s", r.Date, r.Job, r.State, r.Selected, r.Done, r.Parked, amount(r.Cents))
				}
				for _, r := range runs {
					if r.Error != "" {
						w.line("%s %s: %s", r.Date, r.Job, r.Error)
					}
				}
				if len(runs) == 0 {
					w.line("(no runs%s)", map[bool]string{true: "", false: fmt.Sprintf(" on %s", date.Date)}[date.IsZero()])
				}
			})
		},
	})
	c.Flags().Var(&date, "date", "only the runs of this business date")
	return c
}
