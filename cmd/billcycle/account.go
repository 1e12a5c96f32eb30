package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// One account: how it stands.

func (p *program) accountCommand() *cobra.Command {
	months := 18
	c := p.command(command{
		use:     "account MRN",
		short:   "Show one account: figures, open items, and a timeline that explains every cent",
		example: "  billcycle account 1000000016 --history 6",
		long: `Show the account that a member is billed to. Any member's MRN will do, the
guarantor's or a dependent's. The timeline holds every journal entry that moved
what is owed, with the balance after it.`,
		run: func(ctx context.Context, args []string) error {
			if _, err := billing.ParseMRN(args[0]); err != nil {
				return refuse(err)
			}
			if months < 0 || months > 1200 {
				return wrongUsage("--history %d: give 0 to 1200 months", months)
			}
			today, err := p.day(0)
			if err != nil {
				return err
			}
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			shown, err := billing.Show(ctx, house.DB, args[0], monthsBefore(today, months), today)
			if err != nil {
				return err
			}
			return p.answer(shown, func(w *page) { writeAccount(w, shown) })
		},
	})
	c.Flags().IntVar(&months, "history", months, "`months` of the timeline")
	return c
}

// monthsBefore is the same day some months ago, or the month's last if it has
// no such day.
func monthsBefore(day calendar.Date, months int) calendar.Date {
	this := calendar.CycleOf(day)
	then := this - calendar.Cycle(months)
	return min(then.First()+(day-this.First()), then.Last())
}

func writeAccount(w *page, a billing.Shown) {
	w.line("%s\t%s", a.MRN, a.Name)
	w.line("")
	w.line("ledger\t%s", amount(a.Ledger))
	w.line("pending\t%s", amount(a.Pending))
	w.line("due\t%s", amount(a.Due))
	w.line("credit\t%s", amount(a.Unapplied))
	w.line("autopay\t%14s", a.Autopay)
	for _, h := range a.Holds {
		w.line("")
		w.line("On hold since %s: %s (%s) %s", h.PlacedOn, h.Reason, h.PlacedBy, h.Note)
	}
	if len(a.Open) > 0 {
		w.line("")
		w.line("%14s\tstate\tbilled\tdue\topen item", "open")
		for _, i := range a.Open {
			w.line("%s\t%s\t%s\t%s\t%s", amount(i.Open), i.State, i.BilledOn, i.DueOn, i.What)
		}
	}
	if len(a.Money) > 0 {
		w.line("")
		w.line("%14s\t%14s\tstate\tposts\tmoney", "amount", "unused")
		for _, r := range a.Money {
			w.line("%s\t%s\t%s\t%s\t%s", amount(r.Cents), amount(r.Unapplied), r.State, r.PostsOn, r.What)
		}
	}
	w.line("")
	w.line("date\t%14s\t%14s\twhat", "amount", "balance")
	w.line("%s\t\t%s\tbalance before", a.From, amount(a.Before))
	for _, e := range a.Timeline {
		w.line("%s\t%s\t%s\t%s", e.Date, amount(e.Cents), amount(e.Balance), e.What)
	}
}
