package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/secret"
	"github.com/billcycle/billcycle/statements"
)

// What a member wishes: how to pay by itself, and what not to be sent.

func (p *program) autopayCommand() *cobra.Command {
	return group("autopay", "Enrol an account in autopay, cancel it, or say when its notice went out",
		`  billcycle autopay on 1000000016 --method ach --routing 121000358 --reason "form of March 3" < account-number
  billcycle autopay off 1000000016 --reason "asked by phone"`,
		p.autopayOnCommand(), p.autopayOffCommand(), p.autopayNoticeCommand())
}

func (p *program) autopayOnCommand() *cobra.Command {
	var a act
	var e billing.EnrolledBy
	var authorized, copied dateFlag
	var from, to int64
	c := p.command(command{
		use:     "on MRN --method ach|card --reason WHY",
		short:   "Enrol an account: from a bank account, or by a card that a gateway keeps",
		example: `  billcycle autopay on 1000000016 --method ach --routing 121000358 --reason "form of March 3" < account-number`,
		long: `Do what a row of the autopay feed does. The number of the bank account is read
from standard input, so that no list of processes and no history of a shell holds
it; it is encrypted before it is stored. A card is named by the gateway's token.
An enrolment works from the next bill whose debit is not to be built yet, and ends
the one before.`,
		run: func(ctx context.Context, args []string) error {
			if e.Method != "ach" && e.Method != "card" {
				return wrongUsage("--method %q: give ach or card", e.Method)
			}
			e.AuthorizedOn, e.CopySentOn, e.RangeFrom, e.RangeTo = authorized.Date, copied.Date, ledger.Cents(from), ledger.Cents(to)
			if e.Method == "ach" {
				b, err := io.ReadAll(io.LimitReader(p.in, 100))
				if err != nil {
					return err
				}
				if e.Number = secret.Number(strings.TrimSpace(string(b))); e.Number == "" {
					return wrongUsage("standard input holds no account number")
				}
			} else {
				e.AccountType = ""
			}
			return p.enrol(ctx, &a, "autopay on", args[0], e, map[string]any{"method": e.Method, "authorized_by": e.AuthorizedBy, "terms": e.Terms})
		},
	})
	c.Flags().StringVar(&e.Method, "method", "", "`ach|card`: how it pays")
	c.Flags().StringVar(&e.Routing, "routing", "", "routing `number` of the bank")
	c.Flags().StringVar(&e.AccountType, "account-type", "checking", "`checking|savings`")
	c.Flags().StringVar(&e.CardToken, "token", "", "the gateway's `token` for the card")
	c.Flags().StringVar(&e.AuthorizedBy, "authorized-by", "written", "`written|web|phone`: how it was authorized")
	c.Flags().Var(&authorized, "authorized-on", "`day` of the authorization (default the business date)")
	c.Flags().StringVar(&e.Terms, "terms", "", "`version` or hash of the text that was agreed to")
	c.Flags().Var(&copied, "copy-sent", "`day` on which the member was sent a copy")
	c.Flags().Int64Var(&from, "range-from-cents", 0, "the member wants no notice of debits from this amount in `cents`")
	c.Flags().Int64Var(&to, "range-to-cents", 0, "up to this one")
	return a.flags(c)
}

func (p *program) autopayOffCommand() *cobra.Command {
	var a act
	var on dateFlag
	c := p.command(command{
		use:     "off MRN --reason WHY",
		short:   "Cancel autopay; a debit whose file was released still goes",
		example: `  billcycle autopay off 1000000016 --reason "asked by phone"`,
		long: `End the authorization, today or from a day on. No debit takes effect on that day or
later, but for one whose file was released already. One in a file that still waits is
taken out of it, and you are not the one to release that file.`,
		run: func(ctx context.Context, args []string) error {
			return p.enrol(ctx, &a, "autopay off", args[0], billing.EnrolledBy{Method: "ach", AuthorizedBy: "phone", EndedOn: on.Date}, map[string]any{"from": on.Date})
		},
	})
	c.Flags().Var(&on, "from", "first `day` without it (default the business date)")
	return a.flags(c)
}

// enrol sends one enrolment, or its end, and shows the account after it.
func (p *program) enrol(ctx context.Context, a *act, verb, mrn string, e billing.EnrolledBy, detail map[string]any) error {
	house, day, err := p.begin(ctx, a, verb, mrn)
	if err != nil {
		return err
	}
	if e.AuthorizedOn.IsZero() {
		e.AuthorizedOn = day
	}
	if verb == "autopay off" && e.EndedOn.IsZero() {
		e.EndedOn = day
	}
	if e.EndedOn != 0 && e.EndedOn < day {
		return refuse(fmt.Errorf("autopay can't be off from %s: that is past", e.EndedOn))
	}
	record := billing.Act{Day: day, Operator: house.Operator, Reason: a.reason, Verb: verb, Detail: detail}
	im := billing.Import{Policy: house.Policy, Day: day, Operator: house.Operator, Keys: house.Keys, ByHand: &billing.ByHand{Act: record, MRN: mrn}}
	got, err := im.AutopayByHand(ctx, house.DB, e)
	switch {
	case len(got.Problems) > 0:
		return refuse(fmt.Errorf("%s %s", got.Problems[0].Field, got.Problems[0].Problem))
	case err != nil:
		return err
	case got.Accepted == 0 && verb == "autopay off":
		return refuse(fmt.Errorf("account of MRN %s has no enrolment in autopay that could end", mrn))
	}
	if err := house.Office(day).Mend(ctx); err != nil { // what the old enrolment has in a file that waits
		return err
	}
	return p.figuresAfter(ctx, house, done{Act: verb, MRN: mrn, Date: day, Operator: house.Operator})
}

func (p *program) autopayNoticeCommand() *cobra.Command {
	var a act
	var sent dateFlag
	c := p.command(command{
		use:     "notice MRN --sent DATE --reason WHY",
		short:   "Say that the notice of the next debit went out later than with its statement",
		example: `  billcycle autopay notice 1000000016 --sent 2026-03-18 --reason "the printer stood still"`,
		long: `The statement gives notice of a debit that differs from the last one, and the
debit comes no sooner than the policy's days after it
(ach.regulation_e_notice_days). If it went out later, the debit moves.`,
		run: func(ctx context.Context, args []string) error {
			if sent.IsZero() {
				return wrongUsage("--sent says when the notice went out")
			}
			return p.carryOut(ctx, &a, "autopay notice", args[0], map[string]any{"sent": sent.Date}, func(h jobs.House, _ calendar.Date, on *billing.Account) (ledger.Cents, error) {
				_, err := on.Noticed(h.Policy, sent.Date)
				return 0, err
			})
		},
	})
	c.Flags().Var(&sent, "sent", "`day` on which it went out")
	return a.flags(c)
}

func (p *program) preferenceCommand() *cobra.Command {
	return group("preference", "Note what a member wants: no reminders on a channel, statements that can be read aloud",
		`  billcycle preference optout 1000000016 --channel text --reason "replied STOP"`,
		p.preferenceVerb("optout", "Send no more on a channel"),
		p.preferenceVerb("optin", "Send on a channel again"),
		p.preferenceAccessibleCommand())
}

func (p *program) preferenceAccessibleCommand() *cobra.Command {
	var a act
	var off bool
	c := p.command(command{
		use:     "accessible MRN --reason WHY",
		short:   "Make an account's statements as PDFs that programs can read aloud",
		example: `  billcycle preference accessible 1000000016 --reason "asked by phone"`,
		long: `From the next cut on, the PDFs of the account's statements are tagged: headings,
paragraphs and tables with their header cells, in reading order. What is printed
stays the same, and so do the statements that were made before; any of those is
given tagged by billcycle statements get --accessible.`,
		run: func(ctx context.Context, args []string) error {
			house, day, err := p.begin(ctx, &a, "preference accessible", args[0])
			if err != nil {
				return err
			}
			record := billing.Act{Day: day, Operator: house.Operator, Reason: a.reason, Verb: "preference accessible", Detail: map[string]any{"on": !off}}
			if err := statements.PreferAccessible(ctx, house.DB, record, args[0], !off); err != nil {
				return err
			}
			return p.figuresAfter(ctx, house, done{Act: record.Verb, MRN: args[0], Date: day, Operator: house.Operator})
		},
	})
	c.Flags().BoolVar(&off, "off", false, "ordinary PDFs again")
	return a.flags(c)
}

func (p *program) preferenceVerb(verb, short string) *cobra.Command {
	var a act
	var channel string
	c := p.command(command{
		use:     verb + " MRN --channel text|email --reason WHY",
		short:   short,
		example: fmt.Sprintf("  billcycle preference %s 1000000016 --channel text --reason \"asked by phone\"", verb),
		run: func(ctx context.Context, args []string) error {
			if channel != notices.Text && channel != notices.Email {
				return wrongUsage("--channel %q: give text or email", channel)
			}
			house, day, err := p.begin(ctx, &a, "preference "+verb, args[0])
			if err != nil {
				return err
			}
			record := billing.Act{Day: day, Operator: house.Operator, Reason: a.reason, Verb: "preference " + verb, Detail: map[string]any{"channel": channel}}
			change := notices.Optout
			if verb == "optin" {
				change = notices.Optin
			}
			if err := change(ctx, house.DB, record, args[0], channel); err != nil {
				return err
			}
			return p.figuresAfter(ctx, house, done{Act: record.Verb, MRN: args[0], Date: day, Operator: house.Operator})
		},
	})
	c.Flags().StringVar(&channel, "channel", "", "`text|email`")
	return a.flags(c)
}
