package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
)

// What was not done, and why: skipped, parked, reasons.

func (p *program) notDoneCommands() []*cobra.Command {
	return []*cobra.Command{p.skippedCommand(), p.parkedCommand(), p.reasonsCommand()}
}

// notDoneFilter is what the flags ask for.
type notDoneFilter struct {
	date               dateFlag
	job, code, account string
	most               int
}

func (f *notDoneFilter) flags(c *cobra.Command) *cobra.Command {
	c.Flags().Var(&f.date, "date", "only what was so on this business date")
	c.Flags().StringVar(&f.job, "job", "", "only of this `job`")
	c.Flags().StringVar(&f.code, "code", "", "only for this `reason`")
	c.Flags().StringVar(&f.account, "account", "", "only of the account that this `MRN` is billed to")
	c.Flags().IntVar(&f.most, "limit", 1000, "at most `number` lines, the newest")
	return c
}

// find asks the house for what the flags ask for.
func (f *notDoneFilter) find(ctx context.Context, h jobs.House, waiting bool) ([]jobs.NotDone, int, error) {
	if f.most < 1 || f.most > 1_000_000 {
		return nil, 0, wrongUsage("--limit %d: give 1 to 1000000", f.most)
	}
	ask := jobs.Filter{Day: f.date.Date, Job: f.job, Code: f.code, Waiting: waiting, Most: f.most}
	if f.account != "" {
		id, err := billing.Find(ctx, h.DB, f.account)
		if err != nil {
			return nil, 0, err
		}
		ask.Account = id
	}
	return h.NotDone(ctx, ask)
}

func (p *program) skippedCommand() *cobra.Command {
	var f notDoneFilter
	var waiting bool
	var clear, reason string
	c := p.command(command{
		use:   "skipped",
		short: "List by account what was not done, and why",
		example: `  billcycle skipped --job autopay --date 2026-03-24
  billcycle skipped --waiting
  billcycle skipped --clear "reminders file_gone reminders-20260324-1.jsonl" --reason "the carrier has it"`,
		long: `List what the jobs did not do, by account, with the reason: skipped, put before a
person (exception), or parked. Reasons that only say that nothing was to be done
(nothing due, already cut...) are counted in each run, but not kept by account:
"billcycle account MRN" says them of one account, "billcycle reasons" which they
are. --waiting lists what a person has to see to; --clear takes an exception off
that list, on the business date --date. A parked account leaves it by itself.`,
		run: func(ctx context.Context, _ []string) error {
			if clear != "" {
				return p.clearException(ctx, f.date, clear, reason)
			}
			if f.job != "" && !slices.Contains(append(jobNames(), "ach"), f.job) {
				return wrongUsage("there is no job %q; the jobs are %s", f.job, strings.Join(jobNames(), ", "))
			}
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			list, total, err := f.find(ctx, house, waiting)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Skipped []jobs.NotDone `json:"skipped"`
				Total   int            `json:"total"`
			}{notNull(list), total}, func(w *page) { writeNotDone(w, list, total) })
		},
	})
	c.Flags().BoolVar(&waiting, "waiting", false, "only what waits for a person: exceptions and parked accounts")
	c.Flags().StringVar(&clear, "clear", "", "`JOB REASON ABOUT` of an exception that was seen to, as --waiting lists it")
	c.Flags().StringVar(&reason, "reason", "", "`why`, kept with --clear")
	return f.flags(c)
}

func (p *program) clearException(ctx context.Context, date dateFlag, what, reason string) error {
	job, rest, _ := strings.Cut(what, " ")
	code, subject, all := strings.Cut(rest, " ")
	if !all || reason == "" {
		return wrongUsage(`--clear wants "JOB REASON ABOUT" as --waiting lists them, and --reason: what was done`)
	}
	house, day, err := p.openOn(ctx, date.Date)
	if err != nil {
		return err
	}
	n, err := house.Clear(ctx, day, job, code, subject, reason)
	if err != nil {
		return err
	}
	return p.cleared(n, what)
}

func (p *program) cleared(n int64, what string) error {
	return p.answer(struct {
		Cleared int64 `json:"cleared"`
	}{n}, func(w *page) { w.line("%s cleared: %s", counted(int(n), "item"), what) })
}

func writeNotDone(w *page, list []jobs.NotDone, total int) {
	w.line("from\tto\taccount\tjob\treason\tabout\twhy")
	for _, n := range list {
		why := n.Says
		if n.Detail != "" {
			why = n.Detail
		}
		if !n.Cleared.IsZero() {
			why += fmt.Sprintf(" (cleared %s)", n.Cleared)
		}
		w.line("%s\t%s\t%s\t%s\t%s\t%s\t%s", n.From, n.To, n.MRN, n.Job, n.Code, n.Subject, why)
	}
	switch {
	case len(list) == 0:
		w.line("(nothing)")
	case total > len(list):
		w.line("(the newest %d of %d; --limit asks for more)", len(list), total)
	}
}

func (p *program) parkedCommand() *cobra.Command {
	return group("parked", "List the accounts that a job could not work on, and try them again",
		"  billcycle parked list", p.parkedListCommand(), p.parkedRetryCommand())
}

func (p *program) parkedListCommand() *cobra.Command {
	f := notDoneFilter{code: "parked"}
	c := p.command(command{
		use:     "list",
		short:   "List the parked accounts that wait",
		example: "  billcycle parked list",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			list, total, err := f.find(ctx, house, true)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Parked []jobs.NotDone `json:"parked"`
				Total  int            `json:"total"`
			}{notNull(list), total}, func(w *page) { writeNotDone(w, list, total) })
		},
	})
	c.Flags().IntVar(&f.most, "limit", 1000, "at most `number` lines, the newest")
	return c
}

func (p *program) parkedRetryCommand() *cobra.Command {
	var account string
	c := p.command(command{
		use:     "retry",
		short:   "Try parked accounts again, without waiting for the next night",
		example: "  billcycle parked retry --account 1000000016",
		long: `Try parked accounts again: all that wait, or one. Each job that has parked any is
run once more on these accounts only, for the newest business date that it was run
for. Ends with 3 if one is parked again.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.openToWork(ctx)
			if err != nil {
				return err
			}
			var ids []int64
			if account != "" {
				id, err := billing.Find(ctx, house.DB, account)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			reports, failed := jobs.Runner{House: house}.Retry(ctx, ids...)
			for _, r := range reports {
				p.leaves(r.Parked > 0)
			}
			err = p.answer(struct {
				Runs []jobs.Report `json:"runs"`
			}{notNull(reports)}, func(w *page) {
				if len(reports) == 0 {
					w.line("(nothing is parked)")
					return
				}
				writeReports(w, reports)
			})
			return cmp.Or(failed, err)
		},
	})
	c.Flags().StringVar(&account, "account", "", "only the account that this `MRN` is billed to")
	return c
}

func (p *program) reasonsCommand() *cobra.Command {
	return p.command(command{
		use:     "reasons",
		short:   "List the reasons for which jobs leave something undone, a sentence each",
		example: "  billcycle reasons",
		run: func(ctx context.Context, _ []string) error {
			return p.answer(struct {
				Reasons []jobs.Reason `json:"reasons"`
			}{jobs.Reasons()}, func(w *page) {
				w.line("reason\tlisted\twhat it says")
				for _, r := range jobs.Reasons() {
					w.line("%s\t%s\t%s", r.Code, map[bool]string{true: "by account", false: "counted"}[r.Listed], r.Says)
				}
			})
		},
	})
}

// whyLine is why a job would do nothing for an account as it stands.
type whyLine struct {
	Job     string `json:"job"`
	Code    string `json:"code"`
	Subject string `json:"subject"`
	Says    string `json:"says"`
}

// undoneAnswer is what account adds of what was not done for it.
type undoneAnswer struct {
	Why     []whyLine      `json:"why"`      // why a run of today would do nothing for it
	NotDone []jobs.NotDone `json:"not_done"` // what is kept of it, the newest first
}

func leftUndone(ctx context.Context, h jobs.House, mrn string, day calendar.Date) (u undoneAnswer, err error) {
	u.Why = []whyLine{}
	var account int64
	err = pgx.BeginTxFunc(ctx, h.DB, pgx.TxOptions{}, func(tx pgx.Tx) error {
		_, a, err := billing.LoadOne(ctx, tx, h.Policy.Need(billing.Whole), mrn)
		if err != nil {
			return err
		}
		account = a.ID
		for _, w := range a.Why(h.Policy, day) { // and nothing is saved
			u.Why = append(u.Why, whyLine{w.Job, w.Code, w.Subject, jobs.ReasonOf(w.Code).Says})
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	list, _, err := h.NotDone(ctx, jobs.Filter{Account: account, Most: 100})
	u.NotDone = notNull(list)
	return u, err
}

func (u undoneAnswer) write(w *page) {
	if len(u.NotDone) > 0 {
		w.line("")
		writeNotDone(w, u.NotDone, len(u.NotDone))
	}
	if len(u.Why) > 0 {
		w.line("")
		w.line("today\tabout\twhat a run would not do, and why")
	}
	for _, x := range u.Why {
		w.line("%s\t%s\t%s", x.Job, x.Subject, x.Says)
	}
}
