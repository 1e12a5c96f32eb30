package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/statements"
)

// Statements in the mail: bundles, what became of them, and printing again.

// mailDesk opens the house for acts about mail, done on a business date.
func (p *program) mailDesk(ctx context.Context, date dateFlag) (statements.MailDesk, error) {
	house, day, err := p.openOn(ctx, date.Date)
	return house.Mail(day), err
}

func (p *program) statementsBundlesCommand() *cobra.Command {
	return p.command(command{
		use:     "bundles",
		short:   "List the print bundles and where each stands",
		example: "  billcycle statements bundles",
		run: func(ctx context.Context, _ []string) error {
			desk, err := p.mailDesk(ctx, dateFlag{})
			if err != nil {
				return err
			}
			bundles, err := desk.Bundles(ctx)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Bundles []statements.BundleInfo `json:"bundles"`
			}{notNull(bundles)}, func(w *page) {
				w.line("bundle\tmade\tvendor\tinserts\tsheets\tpieces\tpages\tmailed\tspoiled\treturned\tstate\tproblem")
				for _, b := range bundles {
					w.line("%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s", b.Name, b.MadeOn, b.Vendor, b.Inserts, b.Sheets, b.Pieces, b.Pages, b.Mailed, b.Spoiled, b.Returned, b.State, b.Problem)
				}
			})
		},
	})
}

func (p *program) statementsPiecesCommand() *cobra.Command {
	return p.command(command{
		use:     "pieces MRN",
		short:   "List how an account's statements were mailed",
		example: "  billcycle statements pieces 1000000016",
		run: func(ctx context.Context, args []string) error {
			desk, err := p.mailDesk(ctx, dateFlag{})
			if err != nil {
				return err
			}
			account, err := billing.Find(ctx, desk.DB, args[0])
			if err != nil {
				return err
			}
			pieces, err := desk.Pieces(ctx, account)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Pieces []statements.PieceInfo `json:"pieces"`
			}{notNull(pieces)}, func(w *page) {
				w.line("piece\tstatement\tcut\tbundle\tpages\tin place of\tstate\ton")
				for _, x := range pieces {
					w.line("%s\t%s\t%s\t%s\t%d-%d\t%s\t%s\t%s", x.Piece, x.Statement, x.CutOn, x.Bundle, x.FirstPage, x.FirstPage+x.Pages-1, x.Replaces, x.State, x.StateOn)
				}
			})
		},
	})
}

func (p *program) statementsReprintCommand() *cobra.Command {
	var date dateFlag
	var reason string
	return p.withReason(&reason, &date, command{
		use:     "reprint PIECE...",
		short:   "Print pieces again: the same pages under new numbers",
		example: `  billcycle statements reprint 000000000017 000000000018 --reason "spoiled by the inserter"`,
		long: `Queue pieces to be printed again. They go into the next bundles, with the very
pages that they had and new numbers, marks and barcodes. Nothing is billed again.
PIECE is the number on the sheets, as the manifest has it.`,
		run: func(ctx context.Context, args []string) error {
			var pieces []int64
			for _, arg := range args {
				id, err := number("PIECE", arg)
				if err != nil {
					return err
				}
				pieces = append(pieces, id)
			}
			desk, err := p.mailDesk(ctx, date)
			if err != nil {
				return err
			}
			queued, err := desk.Reprint(ctx, pieces, reason)
			if errors.Is(err, statements.ErrNoPiece) || errors.Is(err, statements.ErrNotNow) {
				return refuse(err)
			}
			if err != nil {
				return err
			}
			return p.answer(struct {
				Queued int `json:"queued"`
			}{queued}, func(w *page) {
				w.line("%s: in the bundles of the next statements run", counted(queued, "piece"))
			})
		},
	})
}

func (p *program) statementsToPaperCommand() *cobra.Command {
	var date, cut dateFlag
	var reason string
	c := p.withReason(&reason, &date, command{
		use:     "to-paper MRN",
		short:   "Mail a paperless statement, as its notice came back",
		example: `  billcycle statements to-paper 1000000016 --reason "e-mail bounced"`,
		run: func(ctx context.Context, args []string) error {
			desk, err := p.mailDesk(ctx, date)
			if err != nil {
				return err
			}
			account, err := billing.Find(ctx, desk.DB, args[0])
			if err != nil {
				return err
			}
			statement, err := desk.ToPaper(ctx, account, cut.Date, reason)
			if errors.Is(err, statements.ErrNone) || errors.Is(err, statements.ErrNotNow) || errors.Is(err, statements.ErrNowhere) {
				return refuse(err)
			}
			if err != nil {
				return err
			}
			id := fmt.Sprintf("%010d", statement)
			return p.answer(struct {
				StatementID string `json:"statement_id"`
			}{id}, func(w *page) { w.line("statement %s: in the bundles of the next statements run", id) })
		},
	})
	c.Flags().Var(&cut, "cut", "cut day of the statement (default the newest)")
	return c
}

func (p *program) statementsAnswersCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "answers FILE",
		short:   "Take in what the print vendor says: receipts, results, returned mail",
		example: "  billcycle statements answers results.csv",
		long: `Take in a CSV file of the print vendor, all of it or nothing. A receipt has the
columns bundle, pieces, pages, sha256, accepted (yes or no) and problem; each
bundle must be as it was made. Results have the columns piece, result (mailed,
spoiled or returned), date and reason. An account whose mail was returned is on
hold (bad_address) until the address is mended and the hold released.`,
		run: func(ctx context.Context, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			desk, err := p.mailDesk(ctx, date)
			if err != nil {
				return err
			}
			got, refused := desk.Ingest(ctx, jobs.FileName(args[0]), file)
			if refused != nil && !errors.Is(refused, statements.ErrRefused) {
				return refused
			}
			p.leaves(got.Rejected+got.Spoiled+got.Returned > 0)
			err = p.answer(got, func(w *page) {
				if got.Duplicate {
					w.line("It was taken in before; nothing was changed.")
					return
				}
				w.line("bundles received %d\trejected %d\tmailed %d\tspoiled %d\treturned %d\tknown already %d", got.Bundles, got.Rejected, got.Mailed, got.Spoiled, got.Returned, got.Known)
				for _, x := range got.Problems {
					w.line("%s", x)
				}
			})
			if refused != nil {
				return refuse(refused)
			}
			return err
		},
	}), &date)
}
