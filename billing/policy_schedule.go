package billing

import (
	"maps"
	"net"
	"slices"
	"time"

	"github.com/billcycle/billcycle/calendar"
)

// SchedulePolicy says when the nights begin, and what becomes of those that
// were missed.
type SchedulePolicy struct {
	At          string                 `json:"at"`            // HH:MM of the business date, in the biller's time zone
	CatchUp     string                 `json:"catch_up"`      // all, latest or skip
	CatchUpDays int                    `json:"catch_up_days"` // if more dates than this are missing, the clock is not believed
	DaysAhead   int                    `json:"days_ahead"`    // a date further ahead of the clock and of the books is not believed
	Jobs        map[string]JobSchedule `json:"jobs"`          // those that differ, by name
}

// JobSchedule is on which business dates a job runs.
type JobSchedule struct {
	On         string `json:"on"`          // each_day, banking_days, cut_day or before_due; "" is each_day
	DaysBefore int    `json:"days_before"` // for before_due: calendar days before the due date
	CatchUp    string `json:"catch_up"`    // "" is the schedule's
}

// What becomes of missed dates.
const (
	CatchUpAll    = "all"    // each is run, in order
	CatchUpLatest = "latest" // the newest is run, the others are skipped
	CatchUpSkip   = "skip"   // none that is past is run
)

// The business calendars of jobs.
const (
	OnEachDay     = "each_day"
	OnBankingDays = "banking_days"
	OnCutDay      = "cut_day"
	OnBeforeDue   = "before_due"
)

// WatchPolicy says how the nights are looked at from outside, and who is told
// when one is late, failed or out of balance.
type WatchPolicy struct {
	Listen      string `json:"listen"`       // host:port of metrics and health while serve runs, "" for none
	LateMinutes int    `json:"late_minutes"` // after its beginning a night that is not finished is late
	ProveBooks  bool   `json:"prove_books"`  // after each night by every invariant, not only by the night's own
	WebhookFile string `json:"webhook_file"` // holds the URL that alerts are posted to, mode 0600; "" for none
}

// DefaultSchedule is every job each day, and every missed date.
func DefaultSchedule() SchedulePolicy {
	return SchedulePolicy{At: "03:30", CatchUp: CatchUpAll, CatchUpDays: 31, DaysAhead: 92, Jobs: map[string]JobSchedule{}}
}

func (s SchedulePolicy) check(r *refuser) {
	if _, err := time.Parse("15:04", s.At); err != nil || len(s.At) != len("03:30") {
		r.refuse("at", "%q is not a time of day such as 03:30", s.At)
	}
	if modes := []string{CatchUpAll, CatchUpLatest, CatchUpSkip}; !slices.Contains(modes, s.CatchUp) {
		r.refuse("catch_up", "%q is none of all, latest, skip", s.CatchUp)
	}
	r.between("catch_up_days", s.CatchUpDays, 0, 3660)
	r.between("days_ahead", s.DaysAhead, 0, 36600)
	for _, name := range slices.Sorted(maps.Keys(s.Jobs)) {
		j, at := s.Jobs[name], "jobs."+name
		if !slices.Contains([]string{"", OnEachDay, OnBankingDays, OnCutDay, OnBeforeDue}, j.On) {
			r.refuse(at+".on", "%q is none of each_day, banking_days, cut_day, before_due", j.On)
		}
		if j.DaysBefore != 0 && j.On != OnBeforeDue {
			r.refuse(at+".days_before", "it is for a job that runs on before_due")
		}
		r.between(at+".days_before", j.DaysBefore, 0, 60)
		if !slices.Contains([]string{"", CatchUpAll, CatchUpLatest, CatchUpSkip}, j.CatchUp) {
			r.refuse(at+".catch_up", "%q is none of all, latest, skip", j.CatchUp)
		}
	}
}

func (w WatchPolicy) check(r *refuser) {
	r.between("late_minutes", w.LateMinutes, 1, 24*60)
	if w.Listen == "" {
		return
	}
	if _, port, err := net.SplitHostPort(w.Listen); err != nil || port == "" {
		r.refuse("listen", "%q is not host:port, such as 127.0.0.1:9464", w.Listen)
	}
}

// Begins returns the moment at which the night of a business date begins. Each
// date has one, whatever daylight saving time does to the clock.
func (p *Policy) Begins(day calendar.Date) time.Time {
	at, err := time.Parse("15:04", p.Schedule.At)
	if err != nil {
		panic(err) // check has parsed it before
	}
	y, m, d := day.Date()
	begins := time.Date(y, m, d, at.Hour(), at.Minute(), 0, 0, p.Location())
	if early := at.Hour()*60 + at.Minute() - begins.Hour()*60 - begins.Minute(); early > 0 { // an hour that is not there
		begins = begins.Add(time.Duration(early) * time.Minute)
	}
	return begins
}

// Newest returns the newest business date whose night has begun at a moment.
func (p *Policy) Newest(now time.Time) calendar.Date {
	day := calendar.On(now, p.Location())
	if now.Before(p.Begins(day)) {
		day--
	}
	return day
}

// CatchUpOf returns what becomes of a job's missed dates.
func (s SchedulePolicy) CatchUpOf(job string) string {
	if mode := s.Jobs[job].CatchUp; mode != "" {
		return mode
	}
	return s.CatchUp
}

// RunsOn says whether a business date is one of a job's. Where policies differ by
// account, the cut and due days of all of them count.
func (p *Policy) RunsOn(job string, day calendar.Date) bool {
	s := p.Schedule.Jobs[job]
	switch s.On {
	case OnBankingDays:
		return calendar.IsBankingDay(day)
	case OnCutDay:
		return slices.ContainsFunc(p.All(), func(p *Policy) bool {
			return calendar.CycleOf(day).CutOn(p.Statement.CutDay) == day
		})
	case OnBeforeDue:
		due := day + calendar.Date(s.DaysBefore)
		return slices.ContainsFunc(p.All(), func(p *Policy) bool {
			c := calendar.CycleOf(due)
			return c.DueOn(p.Statement.DueDay) == due || (c-1).DueOn(p.Statement.DueDay) == due // it may roll into the next month
		})
	}
	return true
}
