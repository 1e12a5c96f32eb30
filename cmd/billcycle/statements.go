package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/statements"
)

// Statements as they were made.

func (p *program) statementsCommand() *cobra.Command {
	return group("statements", "Give back statements as they were made, and make the mail's barcodes",
		"  billcycle statements get 1000000016 --out statement.pdf",
		p.statementsGetCommand(), p.statementsBundlesCommand(), p.statementsPiecesCommand(), p.statementsReprintCommand(), p.statementsToPaperCommand(), p.statementsAnswersCommand(), p.statementsIMbCommand())
}

func (p *program) statementsGetCommand() *cobra.Command {
	var cut dateFlag
	var out string
	var tagged bool
	c := p.command(command{
		use:   "get MRN --out FILE",
		short: "Write a stored statement's PDF, byte for byte the one that was made",
		example: `  billcycle statements get 1000000016 --cut 2026-03-01 --out march.pdf
  billcycle statements get 1000000016 --accessible --out march.pdf`,
		long: `Write the PDF of a statement. It is the same file every time: the one that was
made, or, for a printed statement, the one that is made at the first request.

With --accessible the PDF is tagged for programs that read aloud: headings,
paragraphs and tables with their header cells, in reading order. It says the same
and is kept as well. A member who always wants that: billcycle preference accessible.`,
		run: func(ctx context.Context, args []string) error {
			if out == "" {
				return wrongUsage("--out FILE says where the PDF goes")
			}
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			account, err := billing.Find(ctx, house.DB, args[0])
			if err != nil {
				return err
			}
			keep, err := house.Store()
			if err != nil {
				return err
			}
			got, err := statements.Get(ctx, house.DB, keep, account, cut.Date, tagged)
			if errors.Is(err, statements.ErrNone) {
				return refuse(fmt.Errorf("MRN %s: %w (its statements are listed by billcycle account %s)", args[0], err, args[0]))
			}
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, got.PDF, 0o600); err != nil {
				return noFile(err)
			}
			id := fmt.Sprintf("%010d", got.Number)
			return p.answer(struct {
				StatementID string `json:"statement_id"`
				SHA256      string `json:"sha256"`
				Bytes       int    `json:"bytes"`
				Out         string `json:"out"`
			}{id, hex.EncodeToString(got.SHA256[:]), len(got.PDF), out}, func(w *page) {
				w.line("statement %s: %d bytes in %s", id, len(got.PDF), out)
				w.line("sha256 %x", got.SHA256)
			})
		},
	})
	c.Flags().Var(&cut, "cut", "cut day of the statement (default the newest)")
	c.Flags().BoolVar(&tagged, "accessible", false, "a PDF that programs can read aloud")
	c.Flags().StringVar(&out, "out", "", "`file` to write")
	return c
}
