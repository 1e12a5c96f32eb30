package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// The desk: what people decide about checks.

// desk opens the house for acts about checks, done on a business date.
func (p *program) desk(ctx context.Context, date dateFlag) (lockbox.Desk, error) {
	house, day, err := p.openOn(ctx, date.Date)
	return house.Desk(day), err
}

func (p *program) deskCommands() []*cobra.Command {
	commands := []*cobra.Command{p.heldCommand(), p.takeHeldCommand(), p.refuseHeldCommand()}
	for _, act := range slices.Concat(givingActs(), []deskAct{returned("return", "lockbox return")}, correctingActs()) {
		commands = append(commands, p.deskCommand(act))
	}
	return commands
}

// givingActs say whose the money of a check is.
func givingActs() []deskAct {
	return []deskAct{
		{
			verb: "match", more: "MRN", short: "Give the money of a check to a member",
			example: `billcycle lockbox match 12 3 1000000016 --reason "name on the check"`,
			long: `Give the money of a check in suspense, or of a held one, to a member, with the
received date it came with. It posts at once if its posting date has come.`,
			check: func(more []string) error {
				_, err := billing.ParseMRN(more[0])
				return refuse(err)
			},
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, more []string, why string) error {
				return d.Match(ctx, file, item, more[0], why)
			},
		},
		{
			verb: "split", more: "MRN=CENTS...", short: "Give the money of a check to several members",
			example: `billcycle lockbox split 12 3 1000000016=40000 1000000024=17500 --reason "one check for two, asked by phone"`,
			long: `Give the money of a check in suspense, or of a held one, to several members. The
parts, in cents, must come to exactly the check.`,
			check: func(more []string) error {
				_, err := partsIn(more)
				return err
			},
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, more []string, why string) error {
				parts, err := partsIn(more)
				if err != nil {
					return err
				}
				return d.Split(ctx, file, item, parts, why)
			},
		},
		{
			verb: "release", short: "Let a held check go where its references say",
			example: `billcycle lockbox release 12 3 --reason "two checks of the same amount, asked the bank"`,
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, _ []string, why string) error {
				return d.Release(ctx, file, item, why)
			},
		},
	}
}

// correctingActs say what was wrong with a check, or with what was done.
func correctingActs() []deskAct {
	return []deskAct{
		{
			verb: "void", short: "Say that a check is no money of ours",
			example: `billcycle lockbox void 12 3 --reason "the same check twice"`,
			long: `Say that a held check, one in suspense, or one of a refused batch that will not
come again, is no money of ours.`,
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, _ []string, why string) error {
				return d.Void(ctx, file, item, why)
			},
		},
		{
			verb: "undo", short: "Take back what was last done with a check, until it posts",
			example: `billcycle lockbox undo 12 3 --reason "typed the neighbor's number"`,
			long: `Take back what was last done with a check: it stands as it stood before, and its
money leaves the members who had it. That is possible until any of it posts. That the
bank returned it can always be taken back: the payment counts again from the day it
was received, and the fee for the return goes. A check with which nobody has done
anything is taken from whom its coupon names, and waits in suspense.`,
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, _ []string, why string) error {
				return d.Undo(ctx, file, item, why)
			},
		},
		{
			verb: "redate", more: "YYYY-MM-DD", short: "Correct the received date of a held check",
			example: `billcycle lockbox redate 12 3 2026-03-24 --reason "envelope image"`,
			check: func(more []string) error {
				_, err := calendar.Parse(more[0])
				if err != nil {
					return wrongUsage("%w", err)
				}
				return nil
			},
			do: func(ctx context.Context, d lockbox.Desk, file int64, item int, more []string, why string) error {
				received := calendar.MustParse(more[0])
				if received > d.Day {
					return refuse(fmt.Errorf("%s can't be a received date: it has not come", received))
				}
				return d.Redate(ctx, file, item, received, why)
			},
		},
	}
}

// returned is the act of taking in a check that went back. It stands with the
// other acts on accounts, too, under a verb of its own.
func returned(verb, path string) deskAct {
	return deskAct{
		verb: verb, more: "CODE", short: "Take in that a check went back: NSF, STOP, CLOSED or PAYER",
		example: "billcycle " + path + ` 12 3 NSF --reason "advice of March 27"`,
		long: `Take in that the bank sent a check back (NSF, STOP or CLOSED), posted or not. All
that it paid is open again. NSF bears the fee for returned payments, once for the
check. PAYER says that we sent a check in suspense, or a held one, back to who
wrote it.`,
		check: func(more []string) error {
			if !slices.Contains(lockbox.ReturnCodes, more[0]) {
				return wrongUsage("CODE %q: give NSF, STOP, CLOSED or PAYER", more[0])
			}
			return nil
		},
		do: func(ctx context.Context, d lockbox.Desk, file int64, item int, more []string, why string) error {
			return d.Return(ctx, file, item, more[0], why)
		},
	}
}

func (p *program) checkReturnCommand() *cobra.Command {
	return p.deskCommand(returned("check-return", "check-return"))
}

// partsIn reads MRN=CENTS arguments.
func partsIn(args []string) (parts []lockbox.Part, err error) {
	for _, arg := range args {
		name, amount, ok := strings.Cut(arg, "=")
		cents, err := strconv.ParseInt(amount, 10, 64)
		if !ok || err != nil || cents < 1 {
			return nil, wrongUsage("%q: write a part as MRN=CENTS, such as 1000000016=40000", arg)
		}
		mrn, err := billing.ParseMRN(name)
		if err != nil {
			return nil, refuse(err)
		}
		parts = append(parts, lockbox.Part{MRN: string(mrn), Cents: ledger.Cents(cents)})
	}
	return parts, nil
}

func (p *program) heldCommand() *cobra.Command {
	var date dateFlag
	c := p.command(command{
		use:     "held",
		short:   "List the checks that wait for a person, oldest first",
		example: "  billcycle lockbox held",
		long: `List the checks and files that wait for a person, oldest first: why, since when,
and for a check whose it may be. A proposal is only that: whoever matches the
check answers for it. --json also holds the lines that the bank sent, with the
numbers of bank accounts masked.`,
		run: func(ctx context.Context, _ []string) error {
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			held, err := desk.Held(ctx)
			if err != nil {
				return err
			}
			var cents ledger.Cents
			for n := range held {
				cents += held[n].Cents
				held[n].Problems = notNull(held[n].Problems)
			}
			return p.answer(struct {
				Held  []lockbox.WorkItem `json:"held"`
				Cents ledger.Cents       `json:"cents"`
			}{notNull(held), cents}, func(w *page) { writeHeld(w, held, cents) })
		},
	})
	return addDate(c, &date)
}

func writeHeld(w *page, held []lockbox.WorkItem, cents ledger.Cents) {
	w.line("file\titem\tstate\treason\treceived\tage\tcheck\t%14s\tfile name", "amount")
	for _, x := range held {
		w.line("%d\t%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s", x.FileID, x.Item, x.State, x.Reason, x.Received, x.AgeDays, x.Check, amount(x.Cents), x.File)
	}
	w.line("%s, %s", counted(len(held), "item"), cents)
	for _, x := range held {
		if x.Twin != nil {
			w.line("File %d item %d is like file %d item %d, which came on %s and is %s.", x.FileID, x.Item, x.Twin.FileID, x.Twin.Item, x.Twin.On, x.Twin.State)
		}
		for _, problem := range x.Problems {
			w.line("File %d: %s", x.FileID, problem)
		}
		for _, do := range toDo(x.Problems) {
			w.line("File %d, what to do: %s.", x.FileID, do)
		}
		for _, o := range x.Proposals {
			w.line("File %d item %d may be of %s: %s.", x.FileID, x.Item, o.MRN, strings.Join(o.Why, "; "))
		}
	}
}

// deskAct is an act on one check.
type deskAct struct {
	verb, more           string // more: what it takes besides the check, "" for nothing
	short, long, example string
	check                func(more []string) error
	do                   func(ctx context.Context, d lockbox.Desk, file int64, item int, more []string, why string) error
}

// deskDone is the answer to an act of the desk.
type deskDone struct {
	Act      string        `json:"act"`
	FileID   int64         `json:"file_id"`
	Item     int           `json:"item"` // 0 for a whole file
	Date     calendar.Date `json:"date"`
	Operator string        `json:"operator"`
}

func (p *program) deskCommand(a deskAct) *cobra.Command {
	var date dateFlag
	var reason string
	return p.withReason(&reason, &date, command{
		use: strings.TrimSpace(a.verb+" FILE_ID ITEM "+a.more) + " --reason WHY", short: a.short, example: "  " + a.example,
		long: cmp.Or(a.long, a.short+".") + `

FILE_ID and ITEM are those that "billcycle lockbox held" lists: ITEM is the
check's ordinal in its file, from 1.`,
		run: func(ctx context.Context, args []string) error {
			file, err := number("FILE_ID", args[0])
			if err != nil {
				return err
			}
			item, err := number("ITEM", args[1])
			if err != nil {
				return err
			}
			more := args[2:]
			if a.more != "" {
				if err := a.check(more); err != nil {
					return err
				}
			}
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			if err := a.do(ctx, desk, file, int(item), more, reason); err != nil {
				return err
			}
			return p.deskAnswer(deskDone{a.verb, file, int(item), desk.Day, desk.Operator})
		},
	})
}

func (p *program) deskAnswer(d deskDone) error {
	return p.answer(d, func(w *page) {
		if d.Item == 0 {
			w.line("%s: file %d, by %s on %s", d.Act, d.FileID, d.Operator, d.Date)
		} else {
			w.line("%s: file %d, item %d, by %s on %s", d.Act, d.FileID, d.Item, d.Operator, d.Date)
		}
	})
}

// withReason makes a command that asks for --reason.
func (p *program) withReason(reason *string, date *dateFlag, c command) *cobra.Command {
	run := c.run
	c.run = func(ctx context.Context, args []string) error {
		if *reason == "" {
			return wrongUsage("it needs --reason: why, in a few words")
		}
		return run(ctx, args)
	}
	cmd := addDate(p.command(c), date)
	cmd.Flags().StringVar(reason, "reason", "", "`why`, kept with the act; required")
	return cmd
}

func (p *program) takeHeldCommand() *cobra.Command {
	var date dateFlag
	var reason string
	return p.withReason(&reason, &date, command{
		use:     "take FILE_ID FILE --reason WHY",
		short:   "Take a held file in after all: its batches are new ones",
		example: `  billcycle lockbox take 12 deposits.bai --reason "the bank began its batch numbers again"`,
		run: func(ctx context.Context, args []string) error {
			id, err := number("FILE_ID", args[0])
			if err != nil {
				return err
			}
			file, err := os.Open(args[1])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			got, refused := desk.TakeHeld(ctx, id, file, reason)
			if refused != nil && !errors.Is(refused, lockbox.ErrRefused) {
				return refused
			}
			got.Problems = notNull(got.Problems)
			p.leaves(got.Waiting() > 0)
			err = p.answer(got, func(w *page) { writeIngested(w, got) })
			return cmp.Or(refused, err)
		},
	})
}

func (p *program) refuseHeldCommand() *cobra.Command {
	var date dateFlag
	var reason string
	return p.withReason(&reason, &date, command{
		use:     "refuse FILE_ID --reason WHY",
		short:   "Refuse a held file: it is a mistake of the bank",
		example: `  billcycle lockbox refuse 12 --reason "the bank sent yesterday's batches again, changed"`,
		run: func(ctx context.Context, args []string) error {
			id, err := number("FILE_ID", args[0])
			if err != nil {
				return err
			}
			desk, err := p.desk(ctx, date)
			if err != nil {
				return err
			}
			if err := desk.RefuseHeld(ctx, id, reason); err != nil {
				return err
			}
			return p.deskAnswer(deskDone{"refuse", id, 0, desk.Day, desk.Operator})
		},
	})
}
