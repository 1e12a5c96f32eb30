package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

func (p *program) lockboxCommand() *cobra.Command {
	return group("lockbox", "Read the bank's lockbox files and decide about checks",
		`  billcycle lockbox inspect deposits.bai
  billcycle lockbox ingest deposits.bai
  billcycle lockbox held`,
		append(p.deskCommands(), p.lockboxInspectCommand(), p.lockboxIngestCommand(), p.lockboxReturnsCommand(), p.lockboxReconcileCommand(), p.lockboxProfilesCommand())...)
}

func (p *program) lockboxInspectCommand() *cobra.Command {
	var layout layoutFlags
	c := p.command(command{
		use:     "inspect FILE",
		short:   "Read and foot a lockbox file; store nothing",
		example: "  billcycle lockbox inspect deposits.bai",
		long: `Read a lockbox file, BAI, CSV or X12 823, and hold every total and count against
its checks. Nothing is stored, no database is opened. Exit code 0 when the file
foots, 4 when it does not or is not whole. The layout is recognized by the
content; --profile names one that can't be told from it. --count and --cents
state what the bank's deposit advice says; a CSV file without a totals line can't
be proven without them.`,
		run: func(_ context.Context, args []string) error {
			layouts, err := layout.profiles(p)
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			sum, err := lockbox.Inspect(file, layouts)
			if err != nil {
				return noFile(err)
			}
			if !sum.Foots() {
				p.code = exitRefused
			}
			return p.answer(sum, func(w *page) { writeSummary(w, args[0], sum) })
		},
	})
	layout.add(c)
	return c
}

// layoutFlags say what a file looks like and what it should come to.
type layoutFlags struct {
	profile string
	count   int
	cents   int64
}

func (l *layoutFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&l.profile, "profile", "", "layout of the file: a built-in `profile` or a file that describes one")
	c.Flags().IntVar(&l.count, "count", -1, "how many checks the bank says that the file has")
	c.Flags().Int64Var(&l.cents, "cents", -1, "what the bank says that they come to, an `amount` in cents")
	for _, name := range []string{"count", "cents"} {
		c.Flags().Lookup(name).DefValue = "0" // so that help shows none
	}
}

// profiles returns the layouts that the file may have: the one that was named,
// or the biller's own and the built-in ones.
func (l *layoutFlags) profiles(p *program) ([]lockbox.Profile, error) {
	layouts, err := p.layouts()
	if err != nil {
		return nil, err
	}
	if l.profile != "" {
		layout, err := lockboxProfile(layouts, l.profile)
		if err != nil {
			return nil, err
		}
		layouts = []lockbox.Profile{layout}
	}
	if l.count < 0 && l.cents < 0 {
		return layouts, nil
	}
	if l.count < 0 || l.cents < 0 {
		return nil, wrongUsage("--count and --cents go together: how many checks, and what they come to")
	}
	for i := range layouts {
		layouts[i].Stated = &lockbox.Total{Items: l.count, Cents: ledger.Cents(l.cents)}
	}
	return layouts, nil
}

// lockboxProfile finds a profile: one of the layouts, else a file.
func lockboxProfile(layouts []lockbox.Profile, name string) (lockbox.Profile, error) {
	profile, unknown := lockbox.ProfileNamed(layouts, name)
	if unknown == nil {
		return profile, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return profile, wrongUsage("%w; nor is there a file of that name", unknown)
	}
	if err != nil {
		return profile, noFile(err)
	}
	if profile, err = lockbox.ParseProfile(text); err != nil {
		return profile, &configError{err}
	}
	return profile, nil
}

func writeSummary(w *page, file string, sum lockbox.Summary) {
	if sum.Profile == "" {
		w.line("%s: no lockbox file that can be read", file)
	} else {
		w.line("%s\t%s, profile %s", file, sum.Format, sum.Profile)
		w.line("%s\t%s, %s, %s", sum.Cents, counted(sum.Items, "check"), plural(sum.Batches, "batch", "batches"), plural(sum.Lockboxes, "lockbox", "lockboxes"))
	}
	writeProblems(w, sum.Problems)
	switch {
	case !sum.Foots():
		w.line("It does not foot: nothing of it would be taken as it is.")
	case sum.Empty:
		w.line("It is empty and says so: there was no mail.")
	default:
		w.line("It foots.")
	}
}

// plural is counted for nouns that don't just take an s.
func plural(n int, one, many string) string {
	if n == 1 {
		return counted(1, one)
	}
	return strings.TrimSuffix(counted(n, many), "s")
}

func (p *program) lockboxIngestCommand() *cobra.Command {
	var date dateFlag
	var layout layoutFlags
	c := addDate(p.command(command{
		use:     "ingest FILE",
		short:   "Take a lockbox file in: each check pending, in suspense or held",
		example: "  billcycle lockbox ingest deposits.bai --date 2026-03-25",
		long: `Read and foot a lockbox file, then store it: each check becomes a pending receipt
of the member that it names, goes into suspense if it names nobody known, or is
held for a person. A file that was taken before changes nothing. Exit code 3 when
something waits for a person, 4 when the file was refused.`,
		run: func(ctx context.Context, args []string) error {
			layouts, err := layout.profiles(p)
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			var named lockbox.Profile
			if desk.Profiles = layouts; layout.profile != "" {
				named = layouts[0]
			}
			got, refused := desk.Ingest(ctx, jobs.FileName(args[0]), file, named)
			if refused != nil && !errors.Is(refused, lockbox.ErrRefused) {
				return refused
			}
			got.Problems = notNull(got.Problems)
			p.leaves(got.Waiting() > 0)
			err = p.answer(got, func(w *page) { writeIngested(w, got) })
			return cmp.Or(refused, err)
		},
	}), &date)
	layout.add(c)
	return c
}

func writeIngested(w *page, got lockbox.Ingested) {
	if got.Duplicate && got.Held > 0 {
		w.line("It came before, as file %d, and is held for a person (lockbox held); nothing was changed.", got.FileID)
		return
	}
	if got.Duplicate {
		w.line("It was taken in before, as file %d; nothing was changed.", got.FileID)
		return
	}
	w.line("file %d\t%s\t%s", got.FileID, counted(got.Items, "check"), got.Cents)
	w.line("posted %d\tpending %d\tsuspense %d\theld %d\trefused %d", got.Posted, got.Pending, got.Suspense, got.Held, got.Refused)
	if got.SkippedBatches > 0 {
		w.line("%s taken before and skipped, with %s", plural(got.SkippedBatches, "batch", "batches"), counted(got.Skipped, "check"))
	}
	writeProblems(w, got.Problems)
	if got.Suspense+got.Held > 0 {
		w.line("What waits for a person: billcycle lockbox held.")
	}
}

// writeProblems lists problems, and after them what to do about each kind.
func writeProblems(w *page, problems []lockbox.Problem) {
	for _, problem := range problems {
		w.line("%s", problem)
	}
	for _, do := range toDo(problems) {
		w.line("What to do: %s.", do)
	}
}

// toDo lists what is to be done about problems, each thing once.
func toDo(problems []lockbox.Problem) (list []string) {
	for _, problem := range problems {
		if problem.Do != "" && problem.Do != lockbox.NothingToDo && !slices.Contains(list, problem.Do) {
			list = append(list, problem.Do)
		}
	}
	return list
}

func (p *program) lockboxReturnsCommand() *cobra.Command {
	var date dateFlag
	var layout string
	c := addDate(p.command(command{
		use:     "returns FILE",
		short:   "Take in a bank's file of checks that came back",
		example: "  billcycle lockbox returns unpaid.csv --layout first-example.json",
		long: `Take in a bank's CSV file of checks that came back unpaid, all of it or nothing.
Each is found by its routing, account and number and its amount, and returned as
"lockbox return" does. The layout is recognized by the header: one of your own in
profiles/returns/, or the plain one, whose columns are routing, account, check,
cents, reason (NSF, STOP or CLOSED). A file that was taken before changes nothing.
Exit code 3 when a line is of no check of ours, 4 when the file was refused.`,
		run: func(ctx context.Context, args []string) error {
			layouts, err := p.returnsLayouts()
			if err == nil && layout != "" {
				layouts, err = returnsLayout(layouts, layout)
			}
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			got, refused := desk.TakeReturns(ctx, jobs.FileName(args[0]), file, layouts...)
			if refused != nil && !errors.Is(refused, lockbox.ErrRefused) {
				return refused
			}
			p.leaves(got.Unmatched > 0)
			err = p.answer(got, func(w *page) {
				if got.Duplicate {
					w.line("It was taken in before; nothing was changed.")
					return
				}
				w.line("returned %d\talready %d\tunmatched %d\t%s", got.Returned, got.Already, got.Unmatched, got.Cents)
				writeProblems(w, got.Problems)
			})
			return cmp.Or(refused, err)
		},
	}), &date)
	c.Flags().StringVar(&layout, "layout", "", "`file` that describes the bank's columns and words")
	return c
}

func (p *program) lockboxReconcileCommand() *cobra.Command {
	var from, to, date dateFlag
	c := p.command(command{
		use:     "reconcile",
		short:   "Account for the money of each lockbox and deposit date, and say what is missing",
		example: "  billcycle lockbox reconcile --from 2026-03-01 --to 2026-03-31",
		long: `Say for each lockbox and deposit date what became of its money: the checks' total
is posted, pending, returned, in suspense, held, refused or void, to the cent. And
say for which banking days before the business date a box of the policy (key
lockboxes) has sent no file. Exit code 1 if a difference is left, 3 if a file is
missing.`,
		run: func(ctx context.Context, _ []string) error {
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			if to.IsZero() {
				to.Date = desk.Day
			}
			if from.IsZero() {
				from.Date = to.Date - 30
			}
			if from.Date > to.Date || to.Date-from.Date > 3660 {
				return wrongUsage("--from %s --to %s: give the first day, then the last, at most ten years", from, to)
			}
			found, err := desk.Reconcile(ctx, from.Date, to.Date)
			if err != nil {
				return err
			}
			answer := reconciled{From: from.Date, To: to.Date, Reconciled: found}
			for _, x := range found.Days {
				if x.Difference() != 0 {
					p.code = exitFailed
				}
				answer.Difference += x.Difference()
			}
			p.leaves(len(found.Missing) > 0)
			return p.answer(answer, func(w *page) { writeReconciled(w, found) })
		},
	})
	c.Flags().Var(&from, "from", "first deposit date (default 30 days before the last)")
	c.Flags().Var(&to, "to", "last deposit date (default the business date)")
	return addDate(c, &date)
}

// reconciled is the answer of `lockbox reconcile`.
type reconciled struct {
	From calendar.Date `json:"from"`
	To   calendar.Date `json:"to"`
	lockbox.Reconciled
	Difference ledger.Cents `json:"difference"`
}

func writeReconciled(w *page, found lockbox.Reconciled) {
	w.line("deposit\tlockbox\tchecks\t%14s\t%14s\t%14s\t%14s\t%14s\t%14s", "total", "posted", "pending", "waiting", "gone", "difference")
	for _, x := range found.Days {
		w.line("%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", x.Deposit, x.Lockbox, x.Items, amount(x.Cents), amount(x.Posted), amount(x.Pending),
			amount(x.Suspense+x.Held+x.Refused), amount(x.Returned+x.Void), amount(x.Difference()))
	}
	for _, m := range found.Missing {
		if len(m.Refused) > 0 {
			w.line("%s, lockbox %s: no file was taken; refused was file %s", m.Deposit, m.Lockbox, strings.Trim(fmt.Sprint(m.Refused), "[]"))
		} else {
			w.line("%s, lockbox %s: no file has come", m.Deposit, m.Lockbox)
		}
	}
}
