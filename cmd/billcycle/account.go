package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// One account: how it stands.

func (p *program) accountCommand() *cobra.Command {
	months := 18
	var asOf dateFlag
	c := p.command(command{
		use:   "account MRN",
		short: "Show one account: figures, open items, and a timeline that explains every cent",
		example: `  billcycle account 1000000016 --history 6
  billcycle account 1000000016 --as-of 2026-03-31`,
		long: `Show the account that a member is billed to. Any member's MRN will do, the
guarantor's or a dependent's. The timeline holds every journal entry that moved
what is owed, with the balance after it, the statement that first billed it, and
where each payment's money went.

With --as-of it is shown as it stood at the end of that business date: nothing
that bears a later date counts. Ages and the timeline count from that date;
without it, from the date that the books have come to: the newest business date
of a run, a feed or an act.`,
		run: func(ctx context.Context, args []string) error {
			if _, err := billing.ParseMRN(args[0]); err != nil {
				return refuse(err)
			}
			if months < 0 || months > 1200 {
				return wrongUsage("--history %d: give 0 to 1200 months", months)
			}
			house, today, err := p.openOn(ctx, 0)
			if err != nil {
				return err
			}
			newest, err := house.Newest(ctx, today)
			if err != nil {
				return err
			}
			w := billing.Window{On: newest, Archive: house.Archive()}
			if !asOf.IsZero() {
				if w.On, w.Past = asOf.Date, true; w.On > max(newest, today) {
					return wrongUsage("--as-of %s: that day has not come, the books go to %s", asOf, newest)
				}
			}
			w.From = monthsBefore(w.On, months)
			shown, err := billing.Show(ctx, house.DB, args[0], w)
			if err != nil {
				return err
			}
			undone, err := leftUndone(ctx, house, args[0], today)
			if err != nil {
				return err
			}
			enrolled, err := billing.EnrolledAs(ctx, house.DB, args[0])
			if err != nil {
				return err
			}
			if w.Past {
				enrolled = nil // it is told as it is today
			}
			return p.answer(struct {
				billing.Shown
				AutopayBy *billing.Enrolled `json:"autopay_by"` // the newest enrolment as it is today
				undoneAnswer
			}{shown, enrolled, undone}, func(w *page) {
				writeAccount(w, shown)
				writeEnrolled(w, enrolled)
				undone.write(w)
			})
		},
	})
	c.Flags().IntVar(&months, "history", months, "`months` of the timeline")
	c.Flags().Var(&asOf, "as-of", "show it as it stood at the end of this business date")
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
	w.line("%s\t%s\tas of %s", a.MRN, a.Name, a.AsOf)
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
	for _, pl := range a.Plans {
		w.line("")
		w.line("Payment plan of %s %s since %s: %d of %d installments billed, %s still to bill; %s %s", pl.Cents, pl.Kind, pl.MadeOn, pl.Billed, pl.Installments, pl.Deferred, pl.State, pl.EndedOn)
	}
	if len(a.Open) > 0 {
		w.line("")
		w.line("%14s\tstate\tbilled\tdue\tdays\topen item", "open")
		for _, i := range a.Open {
			w.line("%s\t%s\t%s\t%s\t%4d\t%s", amount(i.Open), i.State, i.BilledOn, i.DueOn, i.AgeDays, i.What)
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
	w.line("date\t%14s\t%14s\tentry\twhat", "amount", "balance")
	w.line("%s\t\t%s\t\tbalance before", a.From, amount(a.Before))
	for _, e := range a.Timeline {
		w.line("%s\t%s\t%s\t%5d\t%s", e.Date, amount(e.Cents), amount(e.Balance), e.Entry, eventWords(e))
		for _, x := range e.Paid {
			w.line("\t\t\t\t%s", paidWords(x))
		}
	}
}

// writeEnrolled tells how an account pays by itself, and by what right.
func writeEnrolled(w *page, e *billing.Enrolled) {
	if e == nil {
		return
	}
	w.line("")
	by := "card"
	if e.Method != by {
		by = fmt.Sprintf("%s %s ****%s", e.AccountType, e.Routing, e.Last4)
	}
	w.line("autopay by\t%s\tauthorized %s (%s) %s", by, e.AuthorizedOn, e.AuthorizedBy, e.Terms)
	for _, x := range []struct {
		has  bool
		what string
	}{
		{!e.CopySentOn.IsZero(), fmt.Sprintf("copy sent to the member on %s", e.CopySentOn)},
		{e.RangeTo > 0, fmt.Sprintf("no notice of debits from %s to %s", e.RangeFrom, e.RangeTo)},
		{e.Prenote != "", fmt.Sprintf("prenote %s %s: debited from %s", e.PrenoteOn, e.Prenote, e.DebitFrom)},
		{e.CorrectedBy != "", fmt.Sprintf("corrected by %s", e.CorrectedBy)},
		{!e.EndedOn.IsZero(), fmt.Sprintf("ends, or has ended, on %s", e.EndedOn)},
	} {
		if x.has {
			w.line("\t%s", x.what)
		}
	}
}

// eventWords says what an event was, what it undid and which statement billed
// it.
func eventWords(e billing.Event) string {
	words := e.What
	if e.Reverses != 0 {
		words += fmt.Sprintf(", undoes entry %d", e.Reverses)
	}
	if e.Statement != "" {
		words += ", on statement " + e.Statement
	}
	return words
}

// paidWords says where money of a payment went, or came back from.
func paidWords(x billing.Paid) string {
	if x.Cents < 0 {
		return fmt.Sprintf("  %s: %s back from %s on statement %s", x.On, -x.Cents, x.Kind, x.Statement)
	}
	return fmt.Sprintf("  %s: %s to %s on statement %s", x.On, x.Cents, x.Kind, x.Statement)
}
