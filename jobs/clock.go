package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// Clock runs the nights when they are due. Cron is an alarm clock only: it says
// when to look. What is due follows from the run rows, by business date and not
// by the hour, so that an alarm which was missed or rang twice changes nothing.
// Of several clocks on one database one works and the others look on.
type Clock struct {
	Runner
	Now    func() time.Time
	After  func(ctx context.Context, n Night)                      // if set, is told of each night that was run
	Failed func(ctx context.Context, day calendar.Date, err error) // if set, is told if the night of a date could not even be begun
	Late   func(ctx context.Context, day calendar.Date)            // if set, is told once of each night that is late
	Tell   func(format string, args ...any)                        // the clock's own story; nil for silence

	failed int           // looks that failed, one after the other
	retry  time.Time     // not before
	said   string        // last
	late   calendar.Date // the newest that Late was told of
}

// Night is how the night of a business date came out.
type Night struct {
	Day     calendar.Date `json:"date"`
	Reports []Report      `json:"runs"`
	Err     error         `json:"-"`
}

// ErrClock says that the system's clock and the books are too far apart for a
// night to be begun.
var ErrClock = errors.New("the system's clock and the books disagree")

// NextNight returns when the next night begins after a moment, and the business
// date that it works on.
func NextNight(p *billing.Policy, after time.Time) (time.Time, calendar.Date) {
	day := p.Newest(after) + 1
	return p.Begins(day), day
}

// Serve runs the nights until the context ends, which leaves the ranges that are
// under way undone for whoever comes next. It looks at its start, when a night
// begins, and each minute, in case an alarm was slept through.
func (c *Clock) Serve(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	ring := func() {
		select {
		case wake <- struct{}{}:
		default: // it is about to look anyway
		}
	}
	alarm := cron.New(cron.WithLocation(c.Policy.Location()), cron.WithLogger(cron.DiscardLogger))
	var hour, minute int
	fmt.Sscanf(c.Policy.Schedule.At, "%d:%d", &hour, &minute)
	watch := cron.NewChain(cron.SkipIfStillRunning(cron.DiscardLogger)).Then(cron.FuncJob(func() { c.LookForLate(ctx) }))
	for _, a := range []struct {
		spec string
		do   cron.Job
	}{{fmt.Sprintf("%d %d * * *", minute, hour), cron.FuncJob(ring)}, {"@every 1m", cron.FuncJob(ring)}, {"@every 1m", watch}} {
		if _, err := alarm.AddJob(a.spec, a.do); err != nil {
			return fmt.Errorf("schedule %q: %w", a.spec, err)
		}
	}
	alarm.Start()
	defer func() { <-alarm.Stop().Done() }()
	ring()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
			if err := c.Look(ctx); err != nil && ctx.Err() == nil {
				c.say("%v", err)
			}
		}
	}
}

// Look runs what is due now. After a failure it waits, longer each time and at
// most half an hour, before it tries the same again; for a database that is away
// it looks each minute.
func (c *Clock) Look(ctx context.Context) error {
	now := c.Now()
	if now.Before(c.retry) {
		return nil
	}
	nights, err := c.CatchUp(ctx, now, c.After)
	switch {
	case errors.Is(err, ErrBusy):
		c.say("another program works on the nights: this one looks on")
		return nil
	case err != nil && ctx.Err() == nil:
		away, wait := postgres.IsUnavailable(err), min(time.Minute<<min(c.failed, 5), 30*time.Minute)
		if away {
			wait = time.Minute
		}
		if c.Failed != nil && (len(nights) == 0 || nights[len(nights)-1].Err == nil) && (!away || c.failed == 0) {
			c.Failed(ctx, c.Policy.Newest(now), err)
		}
		c.failed++
		c.retry = now.Add(wait)
	default:
		c.failed, c.said = 0, ""
	}
	return err
}

// say tells something once, until something else is told.
func (c *Clock) say(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); c.Tell != nil && s != c.said {
		c.said = s
		c.Tell("%s", s)
	}
}

// LookForLate tells of a night that is not finished some time after it should
// have begun, once, whoever is at it.
func (c *Clock) LookForLate(ctx context.Context) {
	due := c.Policy.Newest(c.Now().Add(-time.Duration(c.Policy.Watch.LateMinutes) * time.Minute))
	if c.Late == nil || due <= c.late {
		return
	}
	// A database that is away is told of by Look.
	if missing, _, err := c.missing(ctx, due); err == nil && len(missing) > 0 {
		c.late = due
		c.Late(ctx, missing[0].day)
	}
}

// CatchUp runs the nights that are due at a moment and have not finished: the
// missed dates first, in order, each with the files that had come when it should
// have begun, and last the newest. It stops at the first that fails. What a
// missed date's jobs do not run by the policy is recorded as skipped. after, if
// set, is told of each night that was run.
func (r Runner) CatchUp(ctx context.Context, now time.Time, after func(context.Context, Night)) ([]Night, error) {
	return r.upTo(ctx, now, r.Policy.Newest(now), false, after)
}

// Tonight does the same and ends with the night of today's business date, at
// whatever hour, and though it may have been finished before: the night that is
// begun by somebody else's clock.
func (r Runner) Tonight(ctx context.Context, now time.Time, after func(context.Context, Night)) ([]Night, error) {
	return r.upTo(ctx, now, calendar.On(now, r.Policy.Location()), true, after)
}

func (r Runner) upTo(ctx context.Context, now time.Time, newest calendar.Date, again bool, after func(context.Context, Night)) (nights []Night, err error) {
	night := func(at Runner, day calendar.Date, jobs []Job) error {
		n := Night{Day: day}
		n.Reports, n.Err = at.run(ctx, jobs, day)
		if len(n.Reports) == 0 { // another did it, or is at it
			return n.Err
		}
		nights = append(nights, n)
		if after != nil {
			after(ctx, n)
		}
		return n.Err
	}
	for {
		due, skips, err := r.missing(ctx, newest)
		if err != nil {
			return nights, err
		}
		for _, s := range skips {
			if _, err := r.DB.Exec(ctx, `insert into run (job, day, state, error) values ($1, $2, 'skipped', $3) on conflict do nothing`, s.job, s.day, s.why); err != nil {
				return nights, err
			}
		}
		if again {
			due = slices.DeleteFunc(due, func(d dueNight) bool { return d.day == newest })
		}
		if len(due) == 0 {
			break
		}
		at, d := r, due[0]
		if d.day < newest {
			at.before, at.today = r.Policy.Begins(d.day), calendar.On(now, r.Policy.Location())
		}
		at.still = func(ctx context.Context) (jobs []Job, err error) { return r.stillDue(ctx, d.day, newest) }
		if err := night(at, d.day, d.jobs); err != nil {
			return nights, err
		}
	}
	if again {
		err = night(r, newest, r.jobsOf(newest))
	}
	return nights, err
}

// stillDue returns the jobs that a date has not finished, for who has its lock:
// another program may have had it since they were listed.
func (r Runner) stillDue(ctx context.Context, day, newest calendar.Date) ([]Job, error) {
	due, _, err := r.missing(ctx, newest)
	for _, d := range due {
		if d.day == day {
			return d.jobs, err
		}
	}
	return nil, err
}

// jobsOf returns the jobs whose calendar holds a business date, in their order.
func (r Runner) jobsOf(day calendar.Date) []Job {
	return slices.DeleteFunc(Jobs(), func(j Job) bool { return !r.Policy.RunsOn(j.Name, day) })
}

// Believe refuses a business date that is further ahead of both the clock and
// the books than the policy allows: a slip of the pen or a wrong clock would
// assess fees and end coverage before their time.
func (r Runner) Believe(ctx context.Context, day, today calendar.Date) error {
	_, books, err := r.standings(ctx)
	if err != nil {
		return err
	}
	if ahead := r.Policy.Schedule.DaysAhead; day > max(today, books)+calendar.Date(ahead) {
		return fmt.Errorf("%w: %s is more than %d days ahead of the clock, which says %s, and of the books: mend the date or the clock, or raise schedule.days_ahead", ErrClock, day, ahead, today)
	}
	return nil
}

// Unrun returns how many business dates lie between one and the newest before it
// that any job was run for: 0 if there is none.
func (r Runner) Unrun(ctx context.Context, day calendar.Date) (n int, last calendar.Date, err error) {
	err = r.DB.QueryRow(ctx, `select max(day) from run where day < $1`, day).Scan(&last)
	if err == nil && last > 0 {
		n = int(day-last) - 1
	}
	return n, last, err
}

// dueNight is a business date and the jobs that have not finished it.
type dueNight struct {
	day  calendar.Date
	jobs []Job
}

// skip is a missed run that the policy says not to catch up.
type skip struct {
	job string
	day calendar.Date
	why string
}

// standing is how far a job has come.
type standing struct {
	last  calendar.Date   // of its runs, whatever became of them; 0 for none
	begun []calendar.Date // later than its last finished one, begun and not finished
}

// missing works out from the run rows what is to be done up to a business date:
// by date, each with its jobs in their order, and what is to be skipped.
func (r Runner) missing(ctx context.Context, newest calendar.Date) (due []dueNight, skips []skip, err error) {
	stand, books, err := r.standings(ctx)
	if err != nil {
		return nil, nil, err
	}
	if books > newest+2 { // somebody may have run tomorrow's by hand, before this hour
		return nil, nil, fmt.Errorf("%w: its newest night would be %s, but the books have come to %s: set the clock right, or name the date with nightly --date", ErrClock, newest, books)
	}
	byDay := map[calendar.Date][]Job{}
	for _, j := range Jobs() {
		s := stand[j.Name]
		days := slices.Clone(s.begun)
		from := s.last + 1
		if s.last == 0 { // it has never run: it begins where the books are
			if from = books; from == 0 {
				from = newest
			}
		}
		var missed []calendar.Date
		for day := from; day <= newest; day++ {
			if r.Policy.RunsOn(j.Name, day) {
				missed = append(missed, day)
			}
		}
		caught, left := r.choose(j.Name, missed, newest)
		skips = append(skips, left...)
		for _, day := range append(days, caught...) {
			byDay[day] = append(byDay[day], j)
		}
	}
	for day, jobs := range byDay {
		due = append(due, dueNight{day, jobs})
	}
	slices.SortFunc(due, func(a, b dueNight) int { return int(a.day - b.day) })
	if len(due) > 0 && int(newest-due[0].day) > r.Policy.Schedule.CatchUpDays {
		return nil, nil, fmt.Errorf("%w: %s is the oldest night that is missing and %s the newest, further apart than the %d days of schedule.catch_up_days: see that the clock is right, then raise that, or name the dates with nightly --date",
			ErrClock, due[0].day, newest, r.Policy.Schedule.CatchUpDays)
	}
	return due, skips, nil
}

// choose divides a job's missed dates into those to be caught up and those to be
// skipped. The newest business date is not missed: it goes on.
func (r Runner) choose(job string, missed []calendar.Date, newest calendar.Date) (caught []calendar.Date, left []skip) {
	mode := r.Policy.Schedule.CatchUpOf(job)
	for n, day := range missed {
		switch {
		case mode == billing.CatchUpLatest && n < len(missed)-1:
			left = append(left, skip{job, day, fmt.Sprintf("missed: of missed dates only the latest is caught up, %s", missed[len(missed)-1])})
		case mode == billing.CatchUpSkip && day < newest:
			left = append(left, skip{job, day, "missed: missed dates are not caught up"})
		default:
			caught = append(caught, day)
		}
	}
	return caught, left
}

// standings reads how far each job has come, and the newest date of any.
func (r Runner) standings(ctx context.Context) (stand map[string]standing, books calendar.Date, err error) {
	rows, err := r.DB.Query(ctx, `select job, max(day), coalesce(array_agg(day order by day) filter (where state in ('running', 'failed')
			and day > (select coalesce(max(day), '-infinity') from run d where d.job = run.job and d.state = 'done')), '{}') from run group by job`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	stand = map[string]standing{}
	for rows.Next() {
		var job string
		var s standing
		if err := rows.Scan(&job, &s.last, &s.begun); err != nil {
			return nil, 0, err
		}
		stand[job] = s
		books = max(books, s.last)
	}
	return stand, books, rows.Err()
}

// CheckSchedule refuses a schedule that names jobs which there are not.
func CheckSchedule(p *billing.Policy) error {
	for name := range p.Schedule.Jobs {
		var names []string
		for _, j := range Jobs() {
			names = append(names, j.Name)
		}
		if !slices.Contains(names, name) {
			slices.Sort(names)
			return &billing.PolicyError{Path: "schedule.jobs." + name, Says: fmt.Sprintf("there is no such job; there are %v", names)}
		}
	}
	return nil
}
