package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
)

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestNextNight(t *testing.T) {
	policy := billing.DefaultPolicy()
	for _, c := range []struct{ at, after, want, day string }{
		{"03:30", "2026-03-05T12:00:00-08:00", "2026-03-06T03:30:00-08:00", "2026-03-06"},
		{"03:30", "2026-03-06T03:29:59-08:00", "2026-03-06T03:30:00-08:00", "2026-03-06"},
		{"03:30", "2026-03-06T03:30:00-08:00", "2026-03-07T03:30:00-08:00", "2026-03-07"},
		{"03:30", "2026-03-08T01:00:00-08:00", "2026-03-08T03:30:00-07:00", "2026-03-08"}, // the night that loses an hour
		{"03:30", "2026-11-01T00:30:00-07:00", "2026-11-01T03:30:00-08:00", "2026-11-01"}, // the night that has one twice: still once
		{"03:30", "2026-11-01T03:30:00-08:00", "2026-11-02T03:30:00-08:00", "2026-11-02"},
		{"03:30", "2026-03-06T12:00:00Z", "2026-03-07T03:30:00-08:00", "2026-03-07"},      // whatever zone the moment is told in
		{"02:30", "2026-03-08T01:00:00-08:00", "2026-03-08T03:30:00-07:00", "2026-03-08"}, // an hour that is not there is no lost night
		{"01:30", "2026-11-01T01:30:00-07:00", "2026-11-02T01:30:00-08:00", "2026-11-02"}, // one that is there twice is one night
	} {
		policy.Schedule.At = c.at
		at, day := jobs.NextNight(&policy, moment(t, c.after))
		if at.Format(time.RFC3339) != c.want || day.String() != c.day {
			t.Errorf("at %s, after %s: %s of %s; want %s of %s", c.at, c.after, at.Format(time.RFC3339), day, c.want, c.day)
		}
	}
}

// clock is a clock on a biller whose hand the test moves.
func (b *biller) clock(at *time.Time) (*jobs.Clock, *[]string) {
	var ran []string
	return &jobs.Clock{Runner: jobs.Runner{House: b.House}, Now: func() time.Time { return *at },
		After: func(_ context.Context, n jobs.Night) {
			ran = append(ran, fmt.Sprintf("%s %d %v", n.Day, len(n.Reports), n.Err))
		}}, &ran
}

func (b *biller) states() (all []string) {
	b.t.Helper()
	rows, err := b.DB.Query(context.Background(), `select day || ' ' || job || ' ' || state || ' ' || pass from run order by day, job`)
	if err != nil {
		b.t.Fatal(err)
	}
	all, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// Two alarms, two clocks, a look each minute, both nights of daylight saving
// time: each date is run once.
func TestClockRunsEachDateOnce(t *testing.T) {
	for _, span := range []struct {
		from, to string
		nights   []string
	}{
		{"2026-03-07T12:00:00-08:00", "2026-03-09T12:00:00-07:00", []string{"2026-03-07", "2026-03-08", "2026-03-09"}},
		{"2026-10-31T12:00:00-07:00", "2026-11-02T12:00:00-08:00", []string{"2026-10-31", "2026-11-01", "2026-11-02"}},
	} {
		for _, hour := range []string{"03:30", "02:30", "01:30"} {
			b := newBiller(t, 1)
			b.Policy.Schedule.At = hour
			now := moment(t, span.from)
			one, ran := b.clock(&now)
			two, _ := b.clock(&now)
			two.After = one.After
			for ; now.Before(moment(t, span.to)); now = now.Add(30 * time.Minute) {
				for _, c := range []*jobs.Clock{one, two} {
					if err := c.Look(context.Background()); err != nil {
						t.Fatalf("%s: %v", now, err)
					}
				}
			}
			var want []string
			for _, day := range span.nights {
				want = append(want, fmt.Sprintf("%s %d <nil>", day, len(jobs.Jobs())))
			}
			if fmt.Sprint(*ran) != fmt.Sprint(want) {
				t.Errorf("at %s, %v: ran %q, want %q", hour, span.nights, *ran, want)
			}
			for _, s := range b.states() {
				if !strings.HasSuffix(s, " done 1") {
					t.Errorf("at %s: %s", hour, s)
				}
			}
		}
	}
}

// Four clocks that wake up at once after days of downtime: every date is run
// once, in order, whoever runs it.
func TestClocksTogether(t *testing.T) {
	b := newBiller(t, 3)
	b.night("2026-02-20")
	now := moment(t, "2026-03-02T12:00:00-08:00")
	var mu sync.Mutex
	var ran []string
	var all sync.WaitGroup
	for range 4 {
		c, _ := b.clock(&now)
		c.After = func(_ context.Context, n jobs.Night) {
			mu.Lock()
			defer mu.Unlock()
			ran = append(ran, n.Day.String())
		}
		all.Go(func() {
			for {
				if err := c.Look(context.Background()); err != nil {
					t.Error(err)
					return
				}
				if behind, _, err := c.Behind(context.Background(), now); err != nil || behind == 0 {
					return
				}
			}
		})
	}
	all.Wait()
	if len(ran) != 10 || !slices.IsSorted(ran) {
		t.Errorf("ran %v, want each date from 2026-02-21 to 2026-03-02 once", ran)
	}
	for _, s := range b.states() {
		if !strings.HasSuffix(s, " done 1") {
			t.Error(s)
		}
	}
}

// What becomes of missed dates is the policy's to say, job by job; what is not
// caught up is a row with its reason.
func TestCatchUpByJob(t *testing.T) {
	b := newBiller(t, 1)
	b.Policy.Schedule.Jobs = map[string]billing.JobSchedule{
		"journal":   {CatchUp: billing.CatchUpLatest},
		"reminders": {CatchUp: billing.CatchUpSkip},
		"dormant":   {On: billing.OnBankingDays, CatchUp: billing.CatchUpLatest},
		"deliver":   {On: billing.OnBankingDays, CatchUp: billing.CatchUpSkip},
		"plans":     {On: billing.OnCutDay},
		"grace":     {On: billing.OnBeforeDue, DaysBefore: 24}, // of the 25th: the first
	}
	now := moment(t, "2026-02-25T12:00:00-08:00") // a Wednesday
	c, ran := b.clock(&now)
	if err := c.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	now = moment(t, "2026-03-01T12:00:00-08:00") // a Sunday
	if err := c.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := "[2026-02-25 11 <nil> 2026-02-26 7 <nil> 2026-02-27 8 <nil> 2026-02-28 7 <nil> 2026-03-01 11 <nil>]"; fmt.Sprint(*ran) != want {
		t.Errorf("ran %v, want %v", *ran, want)
	}
	states := strings.Join(b.states(), "\n")
	for _, want := range []string{
		"2026-02-28 journal skipped 1", "2026-03-01 journal done 1", "2026-02-26 reminders skipped 1", "2026-03-01 reminders done 1",
		"2026-02-26 dormant skipped 1", "2026-02-27 dormant done 1", "2026-02-27 deliver skipped 1", "2026-03-01 plans done 1", "2026-03-01 grace done 1",
	} {
		if !strings.Contains(states, want) {
			t.Errorf("want %s in\n%s", want, states)
		}
	}
	for _, not := range []string{"2026-02-28 dormant", "2026-03-01 deliver", "2026-02-28 plans", "2026-02-28 grace"} {
		if strings.Contains(states, not) {
			t.Errorf("%s has a row", not)
		}
	}
	if n := b.figure(`select count(*) from run where state = 'skipped' and error = ''`); n > 0 {
		t.Errorf("%d runs are skipped without a reason", n)
	}

	// One that was skipped is run by its date, if somebody wants it.
	r, err := jobs.Runner{House: b.House}.Run(context.Background(), "journal", day("2026-02-28"))
	if err != nil || r.State != "done" || r.Again {
		t.Errorf("the skipped journal of 2026-02-28: %+v, %v", r, err)
	}
}

// A night that fails is tried again, not each minute, and the dates after it
// wait for it; what it had finished is not done again.
func TestFailedNightIsTriedAgainInItsOrder(t *testing.T) {
	b := newBiller(t, 1)
	now := moment(t, "2026-02-27T12:00:00-08:00")
	c, ran := b.clock(&now)
	if err := c.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	// A file where a folder must be: the journal can't be written.
	outbox := filepath.Join(b.Dir, "outbox", "journal")
	if err := os.RemoveAll(outbox); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outbox, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now = moment(t, "2026-03-01T12:00:00-08:00")
	for n := range 6 {
		if err := c.Look(context.Background()); err == nil && n == 0 {
			t.Error("a night without its outbox did not fail")
		}
		now = now.Add(10 * time.Second)
	}
	if len(*ran) != 2 || !strings.HasPrefix((*ran)[1], "2026-02-28 12 journal of 2026-02-28:") {
		t.Errorf("within a minute it ran %q, want one try of 2026-02-28", *ran)
	}
	if err := os.Remove(outbox); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	*ran = nil
	if err := c.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*ran) != "[2026-02-28 2 <nil> 2026-03-01 13 <nil>]" {
		t.Errorf("with its outbox it ran %v", *ran)
	}
	for _, s := range b.states() {
		if !strings.HasSuffix(s, " done 1") {
			t.Error(s)
		}
	}
}

// A clock that is far from the books is not believed, and nothing is run.
func TestClockThatIsNotBelieved(t *testing.T) {
	b := newBiller(t, 1)
	b.night("2026-03-01")
	before := fmt.Sprint(b.states())
	for _, at := range []string{"2026-04-10T12:00:00-07:00", "2027-03-02T12:00:00-08:00", "2026-02-26T12:00:00-08:00", "1970-01-01T00:00:00Z"} {
		now := moment(t, at)
		c, ran := b.clock(&now)
		told := 0
		c.Failed = func(context.Context, calendar.Date, error) { told++ }
		if err := c.Look(context.Background()); !errors.Is(err, jobs.ErrClock) || len(*ran) > 0 || told != 1 {
			t.Errorf("at %s: ran %v, %v, told %d times; want ErrClock, once", at, *ran, err, told)
		}
	}
	if after := fmt.Sprint(b.states()); after != before {
		t.Errorf("the runs are %s, and were %s", after, before)
	}
	r := jobs.Runner{House: b.House}
	for date, fine := range map[string]bool{"2026-06-01": true, "2026-06-02": false, "2027-03-01": false, "2062-03-01": false, "2006-03-01": true} {
		if err := r.Believe(context.Background(), day(date), day("2026-02-28")); errors.Is(err, jobs.ErrClock) == fine {
			t.Errorf("%s: %v", date, err)
		}
	}
}

// A night that is not finished hours after its beginning is told of once.
func TestLateNightIsToldOnce(t *testing.T) {
	b := newBiller(t, 1)
	now := moment(t, "2026-02-27T12:00:00-08:00")
	c, _ := b.clock(&now)
	if err := c.Look(context.Background()); err != nil {
		t.Fatal(err)
	}
	var told []string
	c.Late = func(_ context.Context, day calendar.Date) {
		told = append(told, day.String()+" at "+now.Format("02 15:04"))
	}
	for now = moment(t, "2026-02-28T00:00:00-08:00"); now.Before(moment(t, "2026-03-02T00:00:00-08:00")); now = now.Add(30 * time.Minute) {
		c.LookForLate(context.Background())
	}
	if fmt.Sprint(told) != "[2026-02-28 at 28 06:30 2026-02-28 at 01 06:30]" {
		t.Errorf("told %v", told)
	}
}

// A database that is away is looked for each minute, however long it is away,
// and told of once: the night begins soon after it is back.
func TestDatabaseAwayIsLookedForEachMinute(t *testing.T) {
	gone, err := pgxpool.New(t.Context(), "host="+t.TempDir()+" port=1")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	policy := billing.DefaultPolicy()
	at, told := moment(t, "2026-03-05T12:00:00Z"), 0
	c := &jobs.Clock{Runner: jobs.Runner{House: jobs.House{DB: gone, Policy: &policy}}, Now: func() time.Time { return at },
		Failed: func(context.Context, calendar.Date, error) { told++ }}
	for range 10 {
		if err := c.Look(t.Context()); err == nil {
			t.Fatal("it did not look")
		}
		at = at.Add(time.Minute)
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}
