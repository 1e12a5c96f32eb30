package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/bench"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
)

// Proofs: that the rules do what the stories say, that the books hold.

func (p *program) proofCommands() []*cobra.Command {
	return []*cobra.Command{p.demoCommand(), p.rehearseCommand(), p.verifyCommand(), p.benchCommand()}
}

func (p *program) rehearseCommand() *cobra.Command {
	return p.command(command{
		use:     "rehearse PATH...",
		short:   "Play scenario files with the real jobs in a scratch database",
		example: "  billcycle rehearse scenarios/ mine.json",
		long: `Play stories: scenario files, in which one account's life is told day by day with
the figures that must stand after each step. A folder stands for its *.json. The
database that --database names is never touched, only its server is used.`,
		run: func(ctx context.Context, args []string) error {
			stories, err := rehearsal.Open(args...)
			if errors.Is(err, fs.ErrNotExist) {
				return noFile(err)
			}
			if err != nil {
				return refuse(err)
			}
			if err := p.openScratchServer(ctx); err != nil {
				return err
			}
			log := p.story()
			if log == nil {
				log = io.Discard
			}
			result, err := rehearsal.Play(ctx, p.server, stories, log)
			if err != nil {
				return err
			}
			if result.Failed > 0 {
				p.code = exitFailed
			}
			result.Failures = notNull(result.Failures)
			return p.answer(result, func(w *page) { w.line("%d passed, %d failed", result.Passed, result.Failed) })
		},
	})
}

func (p *program) verifyCommand() *cobra.Command {
	return p.command(command{
		use:     "verify",
		short:   "Prove the invariants over the whole ledger and the artefacts",
		example: "  billcycle verify",
		long: `Prove every invariant of the books over the whole database, as it stands at one
moment, and that statements and ACH files are the ones that were made. Nothing is
changed. Exit code 1 if any is broken.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.clock())
			if err != nil {
				return err
			}
			proofs, broken, err := house.Verify(ctx)
			if err != nil {
				return err
			}
			if broken > 0 {
				p.code = exitFailed
			}
			return p.answer(struct {
				Invariants []jobs.Proof `json:"invariants"`
				Broken     int          `json:"broken"`
			}{proofs, broken}, func(w *page) { writeProofs(w, proofs, broken) })
		},
	})
}

// writeEach tells each proof in a line, and what breaks it.
func writeEach(w *page, proofs []jobs.Proof) {
	for _, x := range proofs {
		if x.Holds {
			w.line("ok\t%s", x.Says)
			continue
		}
		w.line("BROKEN\t%s (%s: %d rows)", x.Says, x.Name, x.Rows)
		for _, example := range x.Examples {
			w.line("\t  %s", example)
		}
	}
}

func writeProofs(w *page, proofs []jobs.Proof, broken int) {
	writeEach(w, proofs)
	if broken == 0 {
		w.line("All %d invariants hold.", len(proofs))
	} else {
		w.line("%d of %d invariants are broken.", broken, len(proofs))
	}
}

func (p *program) demoCommand() *cobra.Command {
	demo := rehearsal.Demo{}
	start := dateFlag{rehearsal.DemoStart}
	var out string
	c := p.command(command{
		use:     "demo",
		short:   "Live a synthetic biller through night by night",
		example: "  billcycle demo --members 2000 --months 6 --out demo-out",
		long: `Live a synthetic biller through, night by night: feeds, statements, autopay,
lockbox files, returns, late fees. The same seed gives the same books. It ends with
a proof of the books, and exits with 0 when that holds.

With --out, an empty directory, everything is kept there: what came from outside
under archive/, what left under outbox/, the statements, and without --database
the books themselves, so that "billcycle account MRN --data DIR" shows an account
of the demo. The database that --database names is never touched, only its server
is used.`,
		run: func(ctx context.Context, _ []string) error {
			if demo.Members < 1 || demo.Months < 1 || demo.Months > 120 {
				return wrongUsage("give at least one member, and 1 to 120 months")
			}
			demo.Start, demo.Log = start.Date, p.story()
			began := p.now()
			house, leave, err := p.openDemo(ctx, out)
			if err != nil {
				return err
			}
			defer leave()
			lived, err := demo.Live(ctx, house)
			if err != nil {
				return err
			}
			lived.Seconds = p.now().Sub(began).Seconds()
			if lived.InvariantsBroken > 0 {
				p.code = exitFailed
			}
			return p.answer(lived, func(w *page) { writeDemo(w, lived, out) })
		},
	})
	c.Flags().IntVar(&demo.Members, "members", 500, "`number` of members")
	c.Flags().IntVar(&demo.Months, "months", 3, "`number` of months")
	c.Flags().Uint64Var(&demo.Seed, "seed", 1, "`number` that everything follows from")
	c.Flags().Var(&start, "start", "business date of the first night")
	c.Flags().StringVar(&out, "out", "", "empty `directory` to keep everything in (default none is kept)")
	return c
}

// openDemo opens a house of its own for a demo: in the directory out, or in
// one that leave removes.
func (p *program) openDemo(ctx context.Context, out string) (house jobs.House, leave func(), err error) {
	leave = func() {}
	policy, err := p.loadPolicy()
	if err != nil {
		return house, leave, err
	}
	kept := out != ""
	if kept {
		if there, err := os.ReadDir(out); err == nil && len(there) > 0 {
			return house, leave, refuse(fmt.Errorf("%s is not empty: a demo wants a directory for itself", out))
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return house, leave, noFile(err)
		}
	} else {
		if out, err = os.MkdirTemp("", "billcycle-demo-"); err != nil {
			return house, leave, err
		}
		leave = func() { os.RemoveAll(out) }
	}
	keys, err := secret.Load(filepath.Join(out, "keys"))
	if err != nil {
		return house, leave, err
	}
	house = jobs.House{Policy: policy, Keys: keys, Dir: out, Operator: "system", Log: p.story()}
	if kept && p.database == "" {
		if err := p.openServer(ctx, postgres.Config{Data: out, Log: p.story()}); err != nil {
			return house, leave, err
		}
		if p.db, err = p.server.Main(ctx); err != nil {
			return house, leave, err
		}
		house.DB = p.db
		// A demo that a power cut spoils is played again: only its end must last.
		if err := p.hurry(ctx, true); err != nil {
			return house, leave, err
		}
		return house, func() {
			if err := p.hurry(context.WithoutCancel(ctx), false); err != nil {
				fmt.Fprintln(p.err, "billcycle: the demo's database:", err)
			}
		}, nil
	}
	if err := p.openScratchServer(ctx); err != nil {
		return house, leave, err
	}
	scratch, err := p.server.Scratch(ctx, "billcycle_demo")
	if err != nil {
		return house, leave, err
	}
	house.DB = scratch.Pool
	remove := leave
	return house, func() {
		if err := scratch.Drop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(p.err, "billcycle: dropping the demo's database:", err)
		}
		remove()
	}, nil
}

// hurry lets the open database commit without waiting for the disk, or ends
// that.
func (p *program) hurry(ctx context.Context, on bool) error {
	sql := `alter database billcycle set synchronous_commit = off`
	if !on {
		sql = `alter database billcycle reset synchronous_commit; checkpoint`
	}
	_, err := p.db.Exec(ctx, sql)
	p.db.Reset() // connections made from now on follow it
	return err
}

func writeDemo(w *page, l rehearsal.Lived, out string) {
	w.line("%d members lived through %d nights in %.1f seconds", l.Members, l.Nights, l.Seconds)
	w.line("")
	w.line("%s\t%d statements", amount(l.StatementCents), l.Statements)
	w.line("%s\t%d debits in %d ACH files, of which %d came back", amount(l.ACHDebitCents), l.ACHDebits, l.ACHFiles, l.ACHReturns)
	w.line("%s\t%d checks in %d lockbox files, of which %d wait for a person", amount(l.LockboxCents), l.LockboxItems, l.LockboxFiles, l.Held)
	w.line("")
	w.line("%d late fees, of which %d were taken back: the check had come in time", l.LateFees, l.LateFeesReversed)
	w.line("%d journal entries, in %d files for the general ledger", l.JournalEntries, l.JournalFiles)
	for _, broken := range l.Broken {
		w.line("BROKEN\t%s (%s: %d rows)", broken.Says, broken.Name, broken.Rows)
		for _, example := range broken.Examples {
			w.line("\t  %s", example)
		}
	}
	if l.InvariantsBroken == 0 {
		w.line("The books hold.")
	}
	if out != "" {
		w.line("Everything is in %s.", out)
	}
}

func (p *program) benchCommand() *cobra.Command {
	accounts := 100_000
	c := p.command(command{
		use:     "bench",
		short:   "Size this machine: every stage of a night beside its floor",
		example: "  billcycle bench --accounts 100000",
		long: `Time every stage of a night at a number of accounts, each beside its floor on the
same machine, data and connections. What counts is the ratio. It works in
scratch databases on the biller's server; the biller's own is never touched.`,
		run: func(ctx context.Context, _ []string) error {
			if accounts < 1 {
				return wrongUsage("--accounts %d: give at least 1", accounts)
			}
			// The server that the nights would run on: one in memory would not do.
			if err := p.openServer(ctx, postgres.Config{URL: p.database, Data: p.data, Log: p.story()}); err != nil {
				return err
			}
			log := p.story()
			if log == nil {
				log = io.Discard
			}
			report, err := bench.Run(ctx, p.server, accounts, p.now, log)
			if err != nil {
				return err
			}
			report.Stages = notNull(report.Stages)
			return p.answer(report, func(w *page) {
				w.line("%d accounts", report.Accounts)
				w.line("stage\tunits\tseconds\tper second\tfloor\tper second\tratio\tpeak RSS")
				for _, s := range report.Stages {
					w.line("%s\t%d\t%.2f\t%.0f\t%s\t%.0f\t%.2f\t%d MB", s.Name, s.Units, s.Seconds, s.PerSecond, s.Floor, s.FloorPerSecond, s.Ratio, s.PeakRSSMB)
				}
			})
		},
	})
	c.Flags().IntVar(&accounts, "accounts", accounts, "`number` of accounts")
	return c
}
