package main

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/jobs"
)

// What is carried out of the house, and what a person decides about it.

func (p *program) deliverCommand() *cobra.Command {
	return group("deliver", "See what is carried to the bank and the vendors, and decide where it is not known whether it arrived",
		`  billcycle deliver list
  billcycle run deliver`,
		p.deliverListCommand(),
		p.deliverDecideCommand(delivery.Delivered, "confirm", "Note that a file has arrived, as its receiver says",
			`They have it: it is not sent again. Ask for its hash (deliver list shows it).`),
		p.deliverDecideCommand(delivery.Waiting, "again", "Let a file be sent anew, as its receiver says that it has not arrived",
			`They do not have it: the next run sends it. Be sure, since a file of debits that
goes twice debits twice.`),
		p.deliverDecideCommand(delivery.Cancelled, "cancel", "Take back a file that has not been sent",
			`It is not sent any more. One that may be on its way cannot be taken back.`))
}

// parcelLine is a parcel as --json shows it.
type parcelLine struct {
	ID          int64          `json:"id"`
	Folder      string         `json:"folder"`
	Name        string         `json:"name"`
	Place       string         `json:"place"`
	QueuedOn    calendar.Date  `json:"queued_on"`
	State       delivery.State `json:"state"`
	SentAs      string         `json:"sent_as"`
	SHA256      string         `json:"sha256"`      // of the file
	SentSHA256  string         `json:"sent_sha256"` // of what is sent: the file, or its OpenPGP form
	Attempts    int            `json:"attempts"`
	Problem     string         `json:"problem"`
	DeliveredOn calendar.Date  `json:"delivered_on"`
}

func lineOf(p delivery.Parcel) parcelLine {
	return parcelLine{p.ID, p.Folder, p.Name, p.Place, p.QueuedOn, p.State, p.SentAs, hex.EncodeToString(p.SHA256), hex.EncodeToString(p.SentSHA256), p.Attempts, p.Problem, p.DeliveredOn}
}

func (p *program) deliverListCommand() *cobra.Command {
	all := false
	c := p.command(command{
		use:     "list",
		short:   "List the files that are not delivered, and why",
		example: "  billcycle deliver list --all",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			states := []delivery.State{delivery.Waiting, delivery.Sending, delivery.Naming, delivery.Unknown}
			if all {
				states = nil
			}
			parcels, err := delivery.Parcels(ctx, house.DB, states...)
			if err != nil {
				return err
			}
			lines := []parcelLine{}
			for _, parcel := range parcels {
				lines = append(lines, lineOf(parcel))
			}
			return p.answer(struct {
				Parcels []parcelLine `json:"parcels"`
			}{lines}, func(w *page) {
				if len(lines) == 0 {
					w.line("Nothing waits.")
					return
				}
				w.line("id\tfile\tto\tqueued\tstate\tattempts\tproblem")
				for _, l := range lines {
					w.line("%d\toutbox/%s/%s\t%s\t%s\t%s\t%d\t%s", l.ID, l.Folder, l.Name, l.Place, l.QueuedOn, l.State, l.Attempts, l.Problem)
				}
			})
		},
	})
	c.Flags().BoolVar(&all, "all", false, "delivered and cancelled ones too")
	return c
}

func (p *program) deliverDecideCommand(to delivery.State, verb, short, long string) *cobra.Command {
	var date dateFlag
	var reason string
	c := addDate(p.command(command{
		use:     verb + " ID",
		short:   short,
		example: "  billcycle deliver " + verb + ` 7 --reason "Mrs. Lee of the bank, by phone"`,
		long:    long,
		run: func(ctx context.Context, args []string) error {
			id, err := number("ID", args[0])
			if err != nil {
				return err
			}
			if reason == "" {
				return wrongUsage("deliver %s needs --reason: who says so, in a few words", verb)
			}
			house, day, err := p.openOn(ctx, date.Date)
			if err != nil {
				return err
			}
			parcel, err := house.DecideDelivery(ctx, id, to, reason, day)
			if errors.Is(err, delivery.ErrNoParcel) || errors.Is(err, delivery.ErrNotNow) {
				return refuse(err)
			}
			if err != nil {
				return err
			}
			return p.answer(lineOf(parcel), func(w *page) {
				w.line("outbox/%s/%s is %s", parcel.Folder, parcel.Name, parcel.State)
			})
		},
	}), &date)
	c.Flags().StringVar(&reason, "reason", "", "`who` says so; required")
	return c
}

// handOver carries what waits to its places at once, where there are any: a
// file of debits may be due tomorrow. What goes wrong is told and waits for the
// next run.
func (p *program) handOver(ctx context.Context, house jobs.House, day calendar.Date) ([]delivery.Outcome, error) {
	if house.Policy.Delivery.ACH == "" {
		return nil, nil
	}
	outcomes, err := house.Deliver(ctx, day)
	for _, o := range outcomes {
		if o.Reason != "" {
			p.tell("outbox/%s/%s: not delivered to %s (%s): %s", o.Folder, o.Name, o.Place, o.Reason, o.Note)
			p.leaves(true)
		}
	}
	return outcomes, err
}
