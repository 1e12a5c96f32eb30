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
			detail := map[string]any{"kind": kind, "cents": a.cents, "installments": installments}
			return p.carryOut(ctx, &a, "plan make", args[0], detail, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				_, err := on.MakePlan(day, kind, ledger.Cents(a.cents), installments)
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
			return p.carryOut(ctx, &a, "remit", args[0], map[string]any{"cents": a.cents}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return ledger.Cents(a.cents), on.Remit(h.Policy, day, ledger.Cents(a.cents))
			})
		},
	})
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents")
	return a.flags(c)
}
