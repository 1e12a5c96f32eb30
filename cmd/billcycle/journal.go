package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/ledger"
)

// The files for the general ledger.

func (p *program) journalCommand() *cobra.Command {
	return group("journal", "List the files for the general ledger, and give one again; archive months of the journal",
		"  billcycle journal files --date 2026-03-25", p.journalFilesCommand(), p.journalGetCommand(),
		p.journalMonthsCommand(), p.journalArchiveCommand(), p.journalRestoreCommand())
}

// journalLine is a file as the commands answer with it: of debits and credits
// there are the same cents.
type journalLine struct {
	ledger.File
	Debits  ledger.Cents `json:"debit_cents"`
	Credits ledger.Cents `json:"credit_cents"`
	SHA256  string       `json:"sha256"`
}

func journalLineOf(f ledger.File) journalLine {
	return journalLine{f, f.Cents, f.Cents, hex.EncodeToString(f.SHA256)}
}

func (p *program) journalFilesCommand() *cobra.Command {
	var date dateFlag
	c := p.command(command{
		use:     "files",
		short:   "List the files for the general ledger, the newest first",
		example: "  billcycle journal files --date 2026-03-25",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			files, err := house.JournalFiles(ctx, date.Date)
			if err != nil {
				return err
			}
			lines := []journalLine{}
			for _, f := range files {
				lines = append(lines, journalLineOf(f))
			}
			return p.answer(struct {
				Files []journalLine `json:"files"`
			}{lines}, func(w *page) {
				w.line("number\tdate\tlines\tentries\t%14s\tfile", "debits=credits")
				for _, f := range lines {
					w.line("%d\t%s\t%d\t%d\t%s\t%s", f.No, f.Day, f.Lines, f.Entries, amount(f.Cents), f.Name)
				}
				if len(lines) == 0 {
					w.line("(none: the job journal makes one each night)")
				}
			})
		},
	})
	c.Flags().Var(&date, "date", "only the files that runs of this business date made")
	return c
}

func (p *program) journalGetCommand() *cobra.Command {
	var out string
	c := p.command(command{
		use:     "get NUMBER --out FILE",
		short:   "Write a file for the general ledger again, byte for byte the one that was sealed",
		example: "  billcycle journal get 12 --out journal-12.csv",
		run: func(ctx context.Context, args []string) error {
			no, err := strconv.Atoi(args[0])
			if err != nil {
				return wrongUsage("%q is not the number of a file (billcycle journal files lists them)", args[0])
			}
			if out == "" {
				return wrongUsage("--out FILE says where it goes")
			}
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			to, err := os.CreateTemp(filepath.Dir(out), ".journal-*.tmp")
			if err != nil {
				return noFile(err)
			}
			defer os.Remove(to.Name())
			f, err := house.JournalFile(ctx, no, to)
			if err := cmp.Or(err, to.Close()); err != nil {
				return err
			}
			if err := os.Rename(to.Name(), out); err != nil {
				return noFile(err)
			}
			line := journalLineOf(f)
			return p.answer(struct {
				journalLine
				Out string `json:"out"`
			}{line, out}, func(w *page) {
				w.line("journal file %d of %s: %d lines, %s of debits and of credits, in %s", f.No, f.Day, f.Lines, f.Cents, out)
				w.line("sha256 %s", line.SHA256)
			})
		},
	})
	c.Flags().StringVar(&out, "out", "", "`file` to write")
	return c
}
