package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// What people do to accounts. Each act names who did it and why, and is undone
// only by another.

func (p *program) actCommands() []*cobra.Command {
	return []*cobra.Command{p.refundCommand(), p.adjustCommand(), p.disputeCommand(), p.holdCommand(), p.waiveCommand(), p.assistCommand(), p.planCommand(), p.remitCommand(),
		p.autopayCommand(), p.preferenceCommand(), p.coverageCommand(), p.checkReturnCommand()}
}

// act is an act on one account.
type act struct {
	date   dateFlag
	reason string
	cents  int64
	kind   string
}

// flags gives a command the flags that acts have.
func (a *act) flags(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.reason, "reason", "", "`why`, kept with the act; required")
	return addDate(c, &a.date)
}

// amount refuses an amount that is none.
func (a *act) amount() error {
	if a.cents <= 0 {
		return wrongUsage("--cents %d: give an amount above 0", a.cents)
	}
	return nil
}

// done is the answer to an act.
type done struct {
	Act       string        `json:"act"`
	MRN       string        `json:"mrn"`
	Date      calendar.Date `json:"date"`
	Operator  string        `json:"operator"`
	Cents     ledger.Cents  `json:"cents"` // that it moved; 0 if it moves none
	Ledger    ledger.Cents  `json:"ledger"`
	Pending   ledger.Cents  `json:"pending"`
	Due       ledger.Cents  `json:"due"`
	Unapplied ledger.Cents  `json:"unapplied"`
	Autopay   string        `json:"autopay"`
}

// carryOut does an act and shows the account's figures after it. do returns
// the cents that it moved; its errors are the rules' and change nothing.
func (p *program) carryOut(ctx context.Context, a *act, verb, mrn string, detail map[string]any, do func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error)) error {
	house, day, err := p.begin(ctx, a, verb, mrn)
	if err != nil {
		return err
	}
	answer := done{Act: verb, MRN: mrn, Date: day, Operator: house.Operator}
	record := billing.Act{Day: day, Operator: house.Operator, Reason: a.reason, Verb: verb, Detail: detail}
	err = record.Do(ctx, house.DB, mrn, func(on *billing.Account) (err error) {
		if answer.Cents, err = do(house, day, on); err != nil {
			return refuse(err)
		}
		answer.take(on)
		return nil
	})
	if err != nil {
		return err
	}
	return p.answerDone(answer)
}

// begin checks what every act needs, and opens the house for it.
func (p *program) begin(ctx context.Context, a *act, verb, mrn string) (house jobs.House, day calendar.Date, err error) {
	if strings.TrimSpace(a.reason) == "" {
		return house, 0, wrongUsage("%s needs --reason: why, in a few words", verb)
	}
	if _, err := billing.ParseMRN(mrn); err != nil {
		return house, 0, refuse(err)
	}
	return p.openOn(ctx, a.date.Date)
}

// take fills in how an account stands.
func (d *done) take(on *billing.Account) {
	f := on.Figures()
	d.Ledger, d.Pending, d.Due, d.Unapplied, d.Autopay = f.Ledger, f.Pending, f.Due, f.Unapplied, on.Autopay
}

// figuresAfter answers an act that was not done on a loaded account.
func (p *program) figuresAfter(ctx context.Context, house jobs.House, answer done) error {
	err := pgx.BeginFunc(ctx, house.DB, func(tx pgx.Tx) error {
		_, on, err := billing.LoadOne(ctx, tx, billing.OpenOnly, answer.MRN)
		if err == nil {
			answer.take(on)
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.answerDone(answer)
}

func (p *program) answerDone(answer done) error {
	return p.answer(answer, func(w *page) {
		what := answer.Act
		if answer.Cents != 0 {
			what += " of " + answer.Cents.String()
		}
		w.line("%s: account %s, by %s on %s", what, answer.MRN, answer.Operator, answer.Date)
		w.line("ledger %s\tpending %s\tdue %s\tcredit %s\tautopay %s", answer.Ledger, answer.Pending, answer.Due, answer.Unapplied, answer.Autopay)
	})
}

// kindOf reads --kind.
func kindOf(s string) (billing.Kind, error) {
	if k := billing.Kind(s); k == billing.Premium || k == billing.Medical {
		return k, nil
	}
	return "", wrongUsage("--kind %q: give premium or medical", s)
}

func (p *program) refundCommand() *cobra.Command {
	var a act
	var to string
	c := p.command(command{
		use:     "refund MRN --cents N --reason WHY",
		short:   "Pay credit out to the member or to the guest who paid",
		example: `  billcycle refund 1000000016 --cents 2500 --reason "paid twice, asked by phone"`,
		long: `Pay unapplied credit out, the oldest first. To the member goes the member's own
credit; to a payer what guests paid beyond the bill.`,
		run: func(ctx context.Context, args []string) error {
			if to != "member" && to != "payer" {
				return wrongUsage("--to %q: give member or payer", to)
			}
			if err := a.amount(); err != nil {
				return err
			}
			return p.carryOut(ctx, &a, "refund", args[0], map[string]any{"cents": a.cents, "to": to}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return ledger.Cents(a.cents), on.Refund(h.Policy, day, ledger.Cents(a.cents), to == "payer")
			})
		},
	})
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents")
	c.Flags().StringVar(&to, "to", "member", "`member|payer`: who gets it")
	return a.flags(c)
}

func (p *program) adjustCommand() *cobra.Command {
	var a act
	var charge string
	c := p.command(command{
		use:     "adjust MRN --kind KIND --cents N --reason WHY",
		short:   "Lower or raise what is owed",
		example: `  billcycle adjust 1000000016 --kind medical --cents -5000 --charge C-1001 --reason "billed in error"`,
		long: `Lower (negative cents) or raise what is owed of a kind, or of one charge. A lower
amount is taken off the oldest billed open charge first; what was paid already
becomes credit. A raise is billed by the next statement.`,
		run: func(ctx context.Context, args []string) error {
			kind, err := kindOf(a.kind)
			if err != nil {
				return err
			}
			if a.cents == 0 {
				return wrongUsage("--cents says by how much, negative to lower")
			}
			item, err := p.charge(ctx, args[0], charge)
			if err != nil {
				return err
			}
			detail := map[string]any{"cents": a.cents, "kind": kind, "charge": charge}
			return p.carryOut(ctx, &a, "adjust", args[0], detail, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return ledger.Cents(a.cents), on.Adjust(h.Policy, day, kind, ledger.Cents(a.cents), item, billing.Detail{Description: "Adjustment"})
			})
		},
	})
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents, negative to lower what is owed")
	c.Flags().StringVar(&a.kind, "kind", "", "`premium|medical`: what it is of")
	c.Flags().StringVar(&charge, "charge", "", "`id` of the charge that it corrects")
	return a.flags(c)
}

// charge finds the document number of a charge, 0 if none is named.
func (p *program) charge(ctx context.Context, mrn, id string) (int32, error) {
	if id == "" {
		return 0, nil
	}
	house, err := p.open(ctx, p.person())
	if err != nil {
		return 0, err
	}
	no, err := billing.ItemOfCharge(ctx, house.DB, mrn, id)
	if err != nil && !postgres.IsUnavailable(err) && ctx.Err() == nil {
		return 0, refuse(err)
	}
	return no, err
}

func (p *program) disputeCommand() *cobra.Command {
	return group("dispute", "Open a dispute on billed charges, accept it or deny it",
		`  billcycle dispute open 1000000016 --charge C-1001 --reason "says it never happened"`,
		p.disputeVerb("open", "Open a dispute: what is open of the charge leaves what is due"),
		p.disputeVerb("accept", "Accept a dispute: the charge is reversed"),
		p.disputeVerb("deny", "Deny a dispute: the next statement bills the charge again"))
}

func (p *program) disputeVerb(verb, short string) *cobra.Command {
	var a act
	var charge string
	c := p.command(command{
		use:     verb + " MRN (--charge ID | --kind KIND) --reason WHY",
		short:   short,
		example: fmt.Sprintf("  billcycle dispute %s 1000000016 --charge C-1001 --reason \"letter of March 3\"", verb),
		run: func(ctx context.Context, args []string) error {
			var kind billing.Kind
			if (charge == "") == (a.kind == "") {
				return wrongUsage("name either --charge or --kind")
			}
			if a.kind != "" {
				var err error
				if kind, err = kindOf(a.kind); err != nil {
					return err
				}
			}
			item, err := p.charge(ctx, args[0], charge)
			if err != nil {
				return err
			}
			detail := map[string]any{"kind": kind, "charge": charge}
			return p.carryOut(ctx, &a, "dispute "+verb, args[0], detail, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				if verb == "open" {
					return on.Dispute(h.Policy, day, kind, item)
				}
				return on.Settle(h.Policy, day, kind, item, verb == "accept")
			})
		},
	})
	c.Flags().StringVar(&a.kind, "kind", "", "`premium|medical`: all of that kind")
	c.Flags().StringVar(&charge, "charge", "", "`id` of the charge")
	return a.flags(c)
}

func (p *program) holdCommand() *cobra.Command {
	return group("hold", "Put an account on hold, or end its hold",
		`  billcycle hold place 1000000016 --reason "estate is being settled"`,
		p.holdVerb("place", "Stop statements, debits, reminders and fees; payments still post"),
		p.holdVerb("release", "End the hold; the next statement bills what gathered meanwhile"))
}

var holdCode = regexp.MustCompile(`^[a-z][a-z_]{0,29}$`)

func (p *program) holdVerb(verb, short string) *cobra.Command {
	var a act
	var code string
	c := p.command(command{
		use:     verb + " MRN --reason WHY",
		short:   short,
		example: fmt.Sprintf("  billcycle hold %s 1000000016 --reason \"letter of March 3\"", verb),
		run: func(ctx context.Context, args []string) error {
			if code != "" && !holdCode.MatchString(code) {
				return wrongUsage("--code %q: give a word of small letters, such as legal", code)
			}
			return p.carryOut(ctx, &a, "hold "+verb, args[0], map[string]any{"code": code}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				if verb == "place" {
					on.Place(day, code, h.Operator, a.reason, false)
				} else if !on.Release(day, code, h.Operator) {
					return 0, fmt.Errorf("the account is under no such hold; a hold that the member's own data asks for ends when those are mended")
				}
				return 0, nil
			})
		},
	})
	if verb == "place" {
		c.Flags().StringVar(&code, "code", "hold", "`word` that runs count the account under")
	} else {
		c.Flags().StringVar(&code, "code", "", "`word` of the hold to end (default all that people placed)")
	}
	return a.flags(c)
}

func (p *program) waiveCommand() *cobra.Command {
	var a act
	c := p.command(command{
		use:     "waive MRN --kind late|returned --cents N --reason WHY",
		short:   "Waive standing fees, the newest first",
		example: `  billcycle waive 1000000016 --kind late --cents 1000 --reason "first time in ten years"`,
		run: func(ctx context.Context, args []string) error {
			origin, known := map[string]string{"late": billing.FromLateFee, "returned": billing.FromReturnedFee}[a.kind]
			if !known {
				return wrongUsage("--kind %q: give late or returned", a.kind)
			}
			if err := a.amount(); err != nil {
				return err
			}
			return p.carryOut(ctx, &a, "waive", args[0], map[string]any{"kind": a.kind, "cents": a.cents}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				return ledger.Cents(a.cents), on.Waive(h.Policy, day, origin, ledger.Cents(a.cents))
			})
		},
	})
	c.Flags().Int64Var(&a.cents, "cents", 0, "`amount` in cents")
	c.Flags().StringVar(&a.kind, "kind", "late", "`late|returned`: which fees")
	return a.flags(c)
}

func (p *program) assistCommand() *cobra.Command {
	var a act
	var percent string
	c := p.command(command{
		use:     "assist MRN --kind KIND --percent P --reason WHY",
		short:   "Grant financial assistance on what is billed and open",
		example: `  billcycle assist 1000000016 --kind medical --percent 50 --reason "income form of February"`,
		run: func(ctx context.Context, args []string) error {
			kind, err := kindOf(a.kind)
			if err != nil {
				return err
			}
			share, err := ledger.ParsePercent(percent)
			if err != nil {
				return wrongUsage("--percent: %w", err)
			}
			if share.Of(100) > 100 {
				return wrongUsage("--percent %s is more than all of it", percent)
			}
			return p.carryOut(ctx, &a, "assist", args[0], map[string]any{"kind": kind, "percent": percent}, func(h jobs.House, day calendar.Date, on *billing.Account) (ledger.Cents, error) {
				cents := on.Assist(h.Policy, day, kind, share)
				if cents == 0 {
					return 0, fmt.Errorf("nothing of %s is billed and open", kind)
				}
				return -cents, nil
			})
		},
	})
	c.Flags().StringVar(&a.kind, "kind", "medical", "`premium|medical`: what it is of")
	c.Flags().StringVar(&percent, "percent", "", "`share` of what is open, such as 50 or 12.5")
	return a.flags(c)
}
