package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/jobs"
)

// Workers: more programs, on this machine or others, for the nights that one
// runs.

func (p *program) workerCommand() *cobra.Command {
	var atOnce int
	c := p.command(command{
		use:     "worker",
		short:   "Help with the nights that another program runs, until stopped",
		example: "  billcycle worker --database postgres://db.example/billcycle --policy policy.json",
		long: `Join the program that runs the night, on this machine or another, and work on
the ranges of accounts that it hands out. A worker may come and go at any time:
stopped by a signal it rolls back what it has begun; killed or frozen, its ranges
go to others within half a minute (BILLCYCLE_LEASE, such as 30s). It needs the
database, the keys, the same policy and the same program as who runs the night,
and stops with exit code 78 if policy or program differ. When the database goes
away it waits for it.

Statements are drawn by a worker if the policy keeps them in a bucket, or if the
data directory is the one of the night, on a disk that both machines share;
otherwise it only computes.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.openToWork(ctx)
			if err != nil {
				return err
			}
			if most := int(p.db.Config().MaxConns) - 4; atOnce < 1 || atOnce > most {
				return wrongUsage("--at-once is %d: a worker has %d connections to the database, so it must be between 1 and %d (pool_max_conns in the database's URL raises it)", atOnce, p.db.Config().MaxConns, most)
			}
			house.Workers = atOnce
			done, err := jobs.Worker{House: house}.Run(ctx)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Ranges int64 `json:"ranges"`
			}{done}, func(w *page) { w.line("worked on %s of accounts", counted(int(done), "range")) })
		},
	})
	c.Flags().IntVar(&atOnce, "at-once", runtime.GOMAXPROCS(0), "ranges worked on at once; by default as many as there are processors")
	return c
}

// lease is for how long a program may be silent before another takes it for
// dead; 0 leaves it to the jobs.
func (p *program) lease() (time.Duration, error) {
	given := p.env("BILLCYCLE_LEASE")
	if given == "" {
		return 0, nil
	}
	lease, err := time.ParseDuration(given)
	if err != nil || lease < time.Second || lease > time.Hour {
		return 0, &configError{fmt.Errorf("BILLCYCLE_LEASE is %q: want a time between 1s and 1h, such as 30s", given)}
	}
	return lease, nil
}

// identity says which program this is, for those that work on one run: they
// must decide alike. A build of a known state is named by that, any other by
// the hash of its file.
func identity() string {
	v := readVersion()
	if v.Revision != "" && !v.Modified {
		return v.Revision
	}
	path, err := os.Executable()
	if err != nil {
		return v.Version
	}
	f, err := os.Open(path)
	if err != nil {
		return v.Version
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return v.Version
	}
	return "build " + hex.EncodeToString(sum.Sum(nil)[:8])
}
