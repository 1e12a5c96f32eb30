package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
)

// The acts on payment plans and on dormant credit.

func (p *program) planCommand() *cobra.Command {
	return group("plan", "Agree on a payment plan, or end one",
		`  billcycle plan make 1000000016 --kind medical --cents 60000 --installments 6 --reason "asked by phone"`,
		p.planMakeCommand(), p.planCancelCommand())
}

func (p *program) planMakeCommand() *cobra.Command {
	var a act
	var installments int
	c := p.command(command{
		use:     "make MRN --kind KIND --cents N --installments N --reason WHY",
		short:   "Take billed charges out of what is due, into installments",
		example: `  billcycle plan make 1000000016 --kind medical --cents 60000 --installments 6 --reason "asked by phone"`,
		long: `Take what is billed and open of a kind, the oldest first, out of what is due. Each
statement from the next one on bills an installment; cents that don't divide are
on the last. An installment bears no late fee. The plan breaks when too many are
unpaid past their deadlines (policy plan.broken_after_missed); the next statement
then bills the rest.`,
		run: func(ctx context.Context, args []string) error {
			kind, err := kindOf(a.kind)
			if err != nil {
				return err
			}
			if err := a.amount(); err != nil {
				return err
			}
			detail := map[string]any{"kind": kind, "cents": a.cents, "installments": installments}
			return p.carryOut(ctx, &a, "plan make", args[0], detail, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				_, err := on.MakePlan(h.Policy, day, kind, ledger.Cents(a.cents), installments)
				return ledger.Cents(a.cents), err
			})
		},
	})
	c.Flags().StringVar(&a.kind, "kind", "medical", "`premium|medical`: what it is of")
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents, in all")
	c.Flags().IntVar(&installments, "installments", 0, "`number` of statements that bill it")
	return a.flags(c)
}

func (p *program) planCancelCommand() *cobra.Command {
	var a act
	c := p.command(command{
		use:     "cancel MRN --kind KIND --reason WHY",
		short:   "End the running plans of a kind; the next statement bills the rest",
		example: `  billcycle plan cancel 1000000016 --kind medical --reason "wants to pay at once"`,
		run: func(ctx context.Context, args []string) error {
			kind, err := kindOf(a.kind)
			if err != nil {
				return err
			}
			return p.carryOut(ctx, &a, "plan cancel", args[0], map[string]any{"kind": kind}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return on.CancelPlan(day, kind)
			})
		},
	})
	c.Flags().StringVar(&a.kind, "kind", "medical", "`premium|medical`: what it is of")
	return a.flags(c)
}

func (p *program) remitCommand() *cobra.Command {
	var a act
	c := p.command(command{
		use:     "remit MRN --cents N --reason WHY",
		short:   "Book dormant credit as sent to the state",
		example: `  billcycle remit 1000000016 --cents 3000 --reason "report of October 2026"`,
		long: `Book credit that the dormant job has flagged as sent to the state as unclaimed
property, the oldest first, in the policy's month (dormancy.report_month).`,
		run: func(ctx context.Context, args []string) error {
			if err := a.amount(); err != nil {
				return err
			}
			return p.carryOut(ctx, &a, "remit", args[0], map[string]any{"cents": a.cents}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return ledger.Cents(a.cents), on.Remit(h.Policy, day, ledger.Cents(a.cents))
			})
		},
	})
	c.Aliases = []string{"unclaimed"}
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents")
	return a.flags(c)
}

func (p *program) coverageCommand() *cobra.Command {
	return group("coverage", "Say from when to when a member is covered by a plan, and for how much",
		`  billcycle coverage set 1000000016 --plan GOLD --start 2026-03-15 --monthly-cents 45000 --reason "enrolled by phone"
  billcycle coverage end 1000000016 --plan GOLD --last-day 2026-05-31 --reason "moved away"`,
		p.coverageSetCommand(), p.coverageEndCommand())
}

func (p *program) coverageSetCommand() *cobra.Command {
	var a act
	var plan string
	var start, end dateFlag
	var monthly, aptc int64
	c := p.command(command{
		use:     "set MRN --plan PLAN --start DATE --monthly-cents N --reason WHY",
		short:   "Begin a period of coverage, or amend the one that began on that day",
		example: `  billcycle coverage set 1000000016 --plan GOLD --start 2026-03-15 --monthly-cents 45000 --reason "enrolled by phone"`,
		long: `Do what a row of the coverage feed does. A start that is known amends that period;
any other begins one, and the one before ends the day before. Months that were
charged are charged more, or taken back, at once; a start or end inside a month
counts by days.`,
		run: func(ctx context.Context, args []string) error {
			if plan == "" || start.IsZero() {
				return wrongUsage("coverage needs --plan and --start")
			}
			t := billing.Terms{StartOn: start.Date, EndOn: end.Date, MonthlyCents: ledger.Cents(monthly), APTCCents: ledger.Cents(aptc)}
			detail := map[string]any{"plan": plan, "start": t.StartOn, "end": t.EndOn, "monthly_cents": monthly, "aptc_cents": aptc}
			return p.carryOut(ctx, &a, "coverage set", args[0], detail, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return moved(on, func() error { return on.Enrol(h.Policy, day, args[0], plan, t) })
			})
		},
	})
	c.Flags().StringVar(&plan, "plan", "", "`name` of the plan")
	c.Flags().Var(&start, "start", "first `day` covered")
	c.Flags().Var(&end, "last-day", "last `day` covered (default until further notice)")
	c.Flags().Int64Var(&monthly, "monthly-cents", 0, "premium of a month in `cents`; 0: its premiums come by the charge feed")
	c.Flags().Int64Var(&aptc, "aptc-cents", 0, "what of it a tax credit pays in advance, in `cents`")
	return a.flags(c)
}

func (p *program) coverageEndCommand() *cobra.Command {
	var a act
	var plan string
	var end dateFlag
	c := p.command(command{
		use:     "end MRN --plan PLAN --last-day DATE --reason WHY",
		short:   "End coverage with a day, or move its end; premiums of later days are taken back, paid or not",
		example: `  billcycle coverage end 1000000016 --plan GOLD --last-day 2026-05-31 --reason "moved away"`,
		run: func(ctx context.Context, args []string) error {
			if plan == "" || end.IsZero() {
				return wrongUsage("coverage ends with --plan and --last-day")
			}
			return p.carryOut(ctx, &a, "coverage end", args[0], map[string]any{"plan": plan, "last_day": end.Date}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return moved(on, func() error { return on.EndCoverage(h.Policy, day, args[0], plan, end.Date) })
			})
		},
	})
	c.Flags().StringVar(&plan, "plan", "", "`name` of the plan")
	c.Flags().Var(&end, "last-day", "last `day` covered")
	return a.flags(c)
}

// moved is by how much a change has moved what an account owes.
func moved(on *billing.Account, change func() error) (ledger.Cents, error) {
	before := on.Figures().Ledger
	err := change()
	return on.Figures().Ledger - before, err
}
