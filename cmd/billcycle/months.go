package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// Months of the journal that lie in files.

func (p *program) journalMonthsCommand() *cobra.Command {
	return p.command(command{
		use:     "months",
		short:   "List the months of the journal that lie in files",
		example: "  billcycle journal months",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			months, err := billing.ArchivedMonths(ctx, house.DB, 0)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Folder string                  `json:"folder"`
				Months []billing.ArchivedMonth `json:"months"`
			}{house.Archive(), notNull(months)}, func(w *page) {
				w.line("month\tentries\t%14s\tarchived\tfile", "amount")
				for _, m := range months {
					w.line("%s\t%d\t%s\t%s\t%s", m.Name, m.Entries, amount(m.Cents), m.ArchivedOn, m.File)
				}
				if len(months) == 0 {
					w.line("(none: the whole journal is in the database)")
				}
			})
		},
	})
}

func (p *program) journalArchiveCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "archive MONTH",
		short:   "Write a month of the journal to a file, and take it out of the database",
		example: "  billcycle journal archive 2024-08",
		long: `Write a month of the journal to a file under archive/journal/, read the file back,
and take the month out of the database when they agree to the entry. Nothing is
lost: "account --history" and "verify" read the file where they need it, so it must
stay there; back it up as you back up the database. "journal restore" reads the
month back.`,
		run: func(ctx context.Context, args []string) error {
			return p.moveMonth(ctx, args[0], date.Date, "journal archive", func(dir string, month calendar.Cycle, act billing.Act) (billing.ArchivedMonth, error) {
				return billing.ArchiveMonth(ctx, p.db, dir, month, act)
			})
		},
	}), &date)
}

func (p *program) journalRestoreCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "restore MONTH",
		short:   "Read an archived month of the journal back into the database",
		example: "  billcycle journal restore 2024-08",
		run: func(ctx context.Context, args []string) error {
			return p.moveMonth(ctx, args[0], date.Date, "journal restore", func(dir string, month calendar.Cycle, act billing.Act) (billing.ArchivedMonth, error) {
				return billing.RestoreMonth(ctx, p.db, dir, month, act)
			})
		},
	}), &date)
}

func (p *program) moveMonth(ctx context.Context, month string, date calendar.Date, verb string, move func(dir string, month calendar.Cycle, act billing.Act) (billing.ArchivedMonth, error)) error {
	first, err := calendar.Parse(month + "-01")
	if err != nil {
		return wrongUsage("%q is not a month: give one as 2024-08", month)
	}
	house, day, err := p.openOn(ctx, date)
	if err != nil {
		return err
	}
	m, err := move(house.Archive(), calendar.CycleOf(first), billing.Act{Day: day, Operator: house.Operator, Verb: verb})
	if err != nil {
		return err
	}
	return p.answer(m, func(w *page) {
		w.line("%s: %d entries of %s, %s", m.Name, m.Entries, m.Cents, m.File)
		w.line("sha256 %s", m.SHA256)
	})
}
