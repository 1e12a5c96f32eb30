package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/watch"
)

// Watching the nights: serve, the report of a night, alerts.

func (p *program) serveCommand() *cobra.Command {
	var listen string
	c := p.command(command{
		use:     "serve",
		short:   "Run the nights when they are due, until it is stopped",
		example: "  billcycle serve --data /srv/billcycle --listen 127.0.0.1:9464",
		long: `Run the nights at the hour that the policy's schedule says, in the biller's time
zone, until it is stopped. It begins with the nights that were missed since the
last one, in order. A night that fails is tried again, less and less often, and
those after it wait for it.

It may be stopped or killed at any moment, and goes on where it was. Of several on
one database one works and the others look on. "nightly" may be called beside it.

With --listen it answers /metrics for Prometheus, /healthz and /readyz. They tell
figures and no names, and ask for no password: keep them on a private address.`,
		run: func(ctx context.Context, _ []string) error {
			post, err := p.openPost()
			if err != nil {
				return err
			}
			post.serves = true
			house, err := p.openToWork(ctx)
			if err != nil {
				return err
			}
			work, ctx := errgroup.WithContext(ctx)
			if at := cmp.Or(listen, house.Policy.Watch.Listen); at != "" {
				if _, err := net.ResolveTCPAddr("tcp", at); err != nil {
					return wrongUsage("--listen %s: %w", at, err)
				}
				l, err := net.Listen("tcp", at)
				if err != nil {
					return &environmentError{fmt.Errorf("--listen %s: %w", at, err)}
				}
				p.tell("metrics and health are on http://%s", l.Addr())
				w := &watch.Window{Runner: jobs.Runner{House: house}, Now: p.now, Log: p.slogger()}
				work.Go(func() error { return w.Open(ctx, l) })
			}
			at, day := jobs.NextNight(house.Policy, p.now())
			p.tell("watching the clock: the next night begins %s, for %s", at.Format("2006-01-02 15:04 MST"), day)
			stop := p.progress(ctx, house)
			clock := &jobs.Clock{Runner: jobs.Runner{House: house}, Now: p.now, Tell: p.tell,
				After:  func(ctx context.Context, n jobs.Night) { p.afterNight(ctx, house, post, n) },
				Failed: func(ctx context.Context, day calendar.Date, err error) { p.alertFailure(ctx, post, day, err) },
				Late: func(ctx context.Context, day calendar.Date) {
					post.send(ctx, watch.Late, day, fmt.Sprintf("the night of %s is not finished %d minutes after the newest should have begun", day, house.Policy.Watch.LateMinutes))
				}}
			work.Go(func() error { return clock.Serve(ctx) })
			err = work.Wait()
			stop()
			p.code = 0 // what nights came to is told by their reports
			p.tell("stopped")
			return err
		},
	})
	c.Flags().StringVar(&listen, "listen", "", "`host:port` for metrics and health (else the policy's watch.listen; none: off)")
	return c
}

// post sends alerts, each once.
type post struct {
	p    *program
	hook *watch.Hook
	mu   sync.Mutex // a night may fail while another is told to be late
	sent map[string]bool

	serves bool // there are nights to come, and no last word
}

func (p *program) openPost() (*post, error) {
	policy, err := p.loadPolicy()
	if err != nil {
		return nil, err
	}
	hook, err := watch.OpenHook(policy.Watch.WebhookFile, p.env("BILLCYCLE_WEBHOOK"))
	if err != nil {
		return nil, &configError{err}
	}
	return &post{p: p, hook: hook, sent: map[string]bool{}}, nil
}

// send tells the story, and whoever must know.
func (o *post) send(ctx context.Context, event string, day calendar.Date, text string) {
	key := event + day.String()
	o.mu.Lock()
	before := o.sent[key]
	o.sent[key] = true
	o.mu.Unlock()
	if before {
		return
	}
	if event != watch.Failed || o.serves { // else it is the program's last word anyway
		o.p.event(slog.LevelError, "ALERT "+event, "date", day, "what", text)
	}
	if err := o.hook.Send(ctx, watch.Alert{Event: event, Date: day, Text: text}); err != nil {
		o.p.event(slog.LevelError, "alert not sent", "why", err)
	}
}

// afterNight writes the report of a night that was run, and raises the alarm if
// it failed or does not add up.
func (p *program) afterNight(ctx context.Context, house jobs.House, post *post, n jobs.Night) {
	if ctx.Err() != nil {
		p.tell("the night of %s was stopped by a signal; it goes on from there", n.Day)
		return
	}
	for _, r := range n.Reports {
		p.logRun(n.Day, r)
	}
	report, err := jobs.Runner{House: house}.After(ctx, n.Day)
	if err == nil {
		w := &page{}
		writeNight(w, report, house.Policy.Location())
		var words strings.Builder
		w.writeTo(&words)
		err = house.Keep(report, words.String())
	}
	if err != nil {
		p.event(slog.LevelError, "no report of the night", "date", n.Day, "why", err)
	}
	switch {
	case n.Err != nil:
		post.send(ctx, watch.Failed, n.Day, oneLine(n.Err))
	case report.Broken > 0:
		p.code = exitFailed
		post.send(ctx, watch.OutOfOrder, n.Day, strings.Join(brokenWords(report), "; "))
	default:
		p.tell("the night of %s is done", n.Day)
	}
}

func brokenWords(n jobs.NightReport) (words []string) {
	for _, p := range n.Proofs {
		if !p.Holds {
			words = append(words, fmt.Sprintf("%s (%s): %d rows", p.Name, p.Says, p.Rows))
		}
	}
	return words
}

// logRun tells how a run came out, where programs read the story. For people the
// answer does.
func (p *program) logRun(day calendar.Date, r jobs.Report) {
	if p.log == nil {
		return
	}
	level := slog.LevelInfo
	if r.State != "done" {
		level = slog.LevelError
	}
	p.event(level, "run", "job", r.Job, "date", day, "state", r.State, "selected", r.Selected, "done", r.Done, "skipped", r.Skipped, "parked", r.Parked, "cents", int64(r.Cents), "waiting", r.Waiting)
}

// alertFailure tells of a night that could not even be begun.
func (p *program) alertFailure(ctx context.Context, post *post, day calendar.Date, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, jobs.ErrBusy) {
		post.send(ctx, watch.Failed, day, oneLine(err))
	}
}

func (p *program) reportCommand() *cobra.Command {
	var date dateFlag
	c := addDate(p.command(command{
		use:     "report",
		short:   "Tell a night by its control totals: what came in, what was done, what went out",
		example: "  billcycle report --date 2026-03-25",
		long: `Tell the night of a business date as it stands now: what came in, what each job
made of it, what went out, and whether that adds up. nightly and serve leave the
same in reports/ under the data directory, as text and as JSON.`,
		run: func(ctx context.Context, _ []string) error {
			day, err := p.day(date.Date)
			if err != nil {
				return err
			}
			house, err := p.open(ctx, p.clock())
			if err != nil {
				return err
			}
			report, err := jobs.Runner{House: house}.Report(ctx, day)
			if err != nil {
				return err
			}
			if report.Broken > 0 {
				p.code = exitFailed
			}
			return p.answer(report, func(w *page) { writeNight(w, report, house.Policy.Location()) })
		},
	}), &date)
	return c
}

func writeNight(w *page, n jobs.NightReport, zone *time.Location) {
	w.line("Night of %s: %s", n.Date, map[bool]string{true: "complete", false: "not complete"}[n.Complete])
	w.line("")
	w.line("job\tstate\tpasses\tselected\tdone\tskipped\tparked\t%14s\tbegan\ttook", "amount")
	for _, r := range n.Runs {
		began, took := "", ""
		if r.Began != nil {
			began = r.Began.In(zone).Format("2006-01-02 15:04:05 MST")
		}
		if r.Began != nil && r.Ended != nil {
			took = fmt.Sprintf("%.1f s", r.Ended.Sub(*r.Began).Seconds())
		}
		var skipped int64
		for n := range maps.Values(r.Skipped) {
			skipped += n
		}
		w.line("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s", r.Job, cmp.Or(r.State, "not run"), r.Passes, r.Selected, r.Done, skipped, r.Parked, amount(r.Cents), began, took)
	}
	for _, r := range n.Runs {
		if r.Error != "" {
			w.line("%s: %s", r.Job, r.Error)
		}
		for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
			w.line("%s skipped %d: %s", r.Job, r.Skipped[reason], reason)
		}
	}
	for _, side := range []struct {
		name   string
		totals []jobs.Total
	}{{"in", n.In}, {"booked", n.Booked}, {"out", n.Out}} {
		w.line("")
		w.line("%s\tfiles\titems\t%14s", side.name, "amount")
		for _, t := range side.totals {
			w.line("%s\t%d\t%d\t%s", t.What, t.Files, t.Items, amount(t.Cents))
		}
		if len(side.totals) == 0 {
			w.line("(nothing)")
		}
	}
	w.line("")
	writeEach(w, n.Proofs)
}
