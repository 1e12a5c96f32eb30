package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
)

func (p *program) serveCommand() *cobra.Command {
	return p.command(command{
		use:     "serve",
		short:   "Run the nights when they are due, until it is stopped",
		example: "  billcycle serve --data /srv/billcycle",
		long: `Run the nights at the hour that the policy's schedule says, in the biller's time
zone, until it is stopped. It begins with the nights that were missed since the
last one, in order. A night that fails is tried again, less and less often, and
those after it wait for it.

It may be stopped or killed at any moment, and goes on where it was. Of several on
one database one works and the others look on. "nightly" may be called beside it.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.openToWork(ctx)
			if err != nil {
				return err
			}
			at, day := jobs.NextNight(house.Policy, p.now())
			p.tell("watching the clock: the next night begins %s, for %s", at.Format("2006-01-02 15:04 MST"), day)
			defer p.tell("stopped")
			clock := &jobs.Clock{Runner: jobs.Runner{House: house}, Now: p.now, Tell: p.tell,
				Late: func(_ context.Context, day calendar.Date) { p.tell("the night of %s is late", day) },
				After: func(_ context.Context, n jobs.Night) {
					p.tell("the night of %s: %s", n.Day, nightWords(n))
				}}
			return clock.Serve(ctx)
		},
	})
}

// nightWords says in a few words how a night came out.
func nightWords(n jobs.Night) string {
	var parked, waiting int64
	for _, r := range n.Reports {
		parked, waiting = parked+r.Parked, waiting+r.Waiting
	}
	words := counted(len(n.Reports), "job") + " done"
	switch {
	case n.Err != nil:
		return "stopped: " + n.Err.Error()
	case parked+waiting > 0:
		words += ", " + counted(int(parked), "account") + " parked, " + counted(int(waiting), "thing") + " left for a person"
	}
	return words
}
