package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// Step is how far a step of a run has come, over all programs at work on it.
type Step struct {
	Job, Step string
	Day       calendar.Date
	Pass      int
	Done, All int64 // accounts

	began time.Time // when it was first seen,
	from  int64     // and how far it was then
}

// String says it in a line, with its rate and the time that is left.
func (s Step) String() string { return s.at(s.began) }

func (s Step) at(now time.Time) string {
	line := fmt.Sprintf("%s of %s, %s: %d%% of %d accounts", s.Job, s.Day, s.Step, s.Done*100/max(s.All, 1), s.All)
	passed := now.Sub(s.began)
	if gone := s.Done - s.from; gone > 0 && passed > 0 {
		rate := float64(gone) / passed.Seconds()
		left := time.Duration(float64(s.All-s.Done) / rate * float64(time.Second)).Round(time.Second)
		line += fmt.Sprintf(", %.0f a second, %s left", rate, left)
	}
	return line
}

// Progress tells how far the runs under way have come, each time the ticker
// ticks, until the context ends. A line of "" is told when there is none.
func Progress(ctx context.Context, db postgres.DB, now func() time.Time, tick <-chan time.Time, tell func(line string)) {
	var was Step
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		is, found, err := underWay(ctx, db)
		if err != nil || !found {
			tell("") // the run itself says what is wrong
			continue
		}
		if is.Job != was.Job || is.Step != was.Step || is.Day != was.Day || is.Pass != was.Pass {
			is.began, is.from = now(), is.Done
		} else {
			is.began, is.from = was.began, was.from
		}
		was = is
		tell(is.at(now()))
	}
}

// underWay returns the step that is being worked on: of the runs that are
// running the one that has done some ranges and not all.
func underWay(ctx context.Context, db postgres.DB) (s Step, found bool, err error) {
	rows, err := db.Query(ctx, `select job, step, day, pass, sum(to_id - from_id)::bigint, top
		from (select coalesce(max(id), 0) as top from account) a, run join run_chunk using (job, day, pass) where state = 'running'
		group by job, step, day, pass, top having sum(to_id - from_id) < top order by day limit 1`)
	if err != nil {
		return s, false, err
	}
	_, err = pgx.ForEachRow(rows, []any{&s.Job, &s.Step, &s.Day, &s.Pass, &s.Done, &s.All}, func() error { found = true; return nil })
	return s, found, err
}
