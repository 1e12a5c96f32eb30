package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/jobs"
)

func (p *program) achCommand() *cobra.Command {
	return group("ach", "Read Nacha files, release ours, take in the bank's answers",
		`  billcycle ach files
  billcycle ach release 7 --operator maria
  billcycle ach ingest returns.ach
  billcycle ach returns --waiting`,
		p.achInspectCommand(), p.achFilesCommand(), p.achReleaseCommand(), p.achHoldCommand(), p.achReverseCommand(), p.achBankCommand(), p.achIngestCommand(), p.achReturnsCommand(), p.achCodesCommand(), p.achRatesCommand())
}

func (p *program) achInspectCommand() *cobra.Command {
	return p.command(command{
		use:     "inspect FILE",
		short:   "Read any Nacha file and foot it; store nothing",
		example: "  billcycle ach inspect returns.ach",
		long: `Read any Nacha file: originations, returns, corrections. Nothing is stored, no
database is opened. Exit code 0 when nothing is wrong with the file, else 4.`,
		run: func(_ context.Context, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			report, err := ach.Inspect(file)
			if err != nil {
				return noFile(err)
			}
			report.Problems, report.Notes = notNull(report.Problems), notNull(report.Notes)
			if len(report.Problems) > 0 {
				p.code = exitRefused
			}
			return p.answer(report, func(w *page) { writeACHReport(w, report) })
		},
	})
}

func writeACHReport(w *page, r ach.Report) {
	w.line("%s\t%s", plural(r.Batches, "batch", "batches"), plural(r.Entries, "entry", "entries"))
	w.line("debits\t%s", r.DebitCents)
	w.line("credits\t%s", r.CreditCents)
	if r.Prenotes > 0 {
		w.line("%s", counted(r.Prenotes, "prenote"))
	}
	if r.Reversals > 0 {
		w.line("%s", counted(r.Reversals, "reversal"))
	}
	for _, x := range r.Returns {
		words := ""
		if code, known := ach.ReturnCode(x.Code); known {
			words = code.Words
		}
		w.line("return %s\t%s\t%s\t%s", x.Code, x.Trace, amount(x.Cents), words)
	}
	for _, x := range r.Corrections {
		words, _ := ach.ChangeCode(x.Code)
		w.line("correction %s\t%s\t%s\t%s", x.Code, x.Trace, shorten(x.Data, 29), words)
	}
	for _, problem := range r.Problems {
		w.line("%s", problem)
	}
	for _, note := range r.Notes {
		w.line("note: %s", note)
	}
	if len(r.Problems) == 0 {
		w.line("Nothing is wrong with it.")
	}
}

// office opens the house for acts about debits, done on a business date.
func (p *program) office(ctx context.Context, date dateFlag) (ach.Office, error) {
	house, day, err := p.openOn(ctx, date.Date)
	if err != nil {
		return ach.Office{}, err
	}
	office := house.Office(day)
	office.Token, err = p.token()
	return office, err
}

func (p *program) achFilesCommand() *cobra.Command {
	return p.command(command{
		use:     "files",
		short:   "List the files of debits, prenotes and reversals, and where each stands",
		example: "  billcycle ach files",
		run: func(ctx context.Context, _ []string) error {
			office, err := p.office(ctx, dateFlag{})
			if err != nil {
				return err
			}
			files, err := office.Files(ctx)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Files []ach.FileInfo `json:"files"`
			}{notNull(files)}, func(w *page) {
				w.line("id\tname\tholds\teffective\tentries\t%14s\tstate\treleased by\tbank", "amount")
				for _, f := range files {
					state := f.State
					if f.HeldBy != "" {
						state = "held"
					}
					w.line("%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s", f.ID, f.Name, f.Kind, f.EffectiveOn, f.Entries+f.Prenotes+f.Reversals, amount(f.Cents+f.CreditCents), state, f.ReleasedBy, f.Bank)
				}
			})
		},
	})
}

func (p *program) achReleaseCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "release FILE_ID",
		short:   "Let a file go to the bank, as a second person",
		example: "  billcycle ach release 7 --operator maria",
		long: `Release a file that somebody else, or the night, has made, and hand it over to
the outbox. It must be released before its effective date: a file that nobody
released in time is withdrawn and its debits are built again. Who made it, edited
it or lifted its hold does not release it. If something in it may not go out any
more, such as a debit whose authorization was revoked since, the file is made anew
without it, and has to be released once more. Once operators are listed (billcycle
operators), only they release, with the token in BILLCYCLE_TOKEN or --token-file.`,
		run: func(ctx context.Context, args []string) error {
			id, err := number("FILE_ID", args[0])
			if err != nil {
				return err
			}
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			file, err := office.Release(ctx, id)
			if refused := (*ach.ReleaseError)(nil); errors.As(err, &refused) {
				return refuse(err)
			}
			if err != nil {
				return err
			}
			// At once, since its effective date may be the next banking day.
			written, asked, err := office.WriteOut(ctx, filepath.Join(p.data, "outbox", "ach"))
			if err != nil {
				return err
			}
			p.leaves(asked > 0)
			carried, err := p.handOver(ctx, house, office.Day)
			if err != nil {
				return err
			}
			return p.answer(struct {
				ach.FileInfo
				Written []string `json:"written"` // to the outbox, by this call
			}{file, notNull(written)}, func(w *page) {
				w.line("file %d (%s), %s, effective %s: released by %s", file.ID, file.Name, file.Holds(), file.EffectiveOn, file.ReleasedBy)
				for _, path := range written {
					w.line("%s", path)
				}
				for _, o := range carried {
					if o.Reason == "" {
						w.line("delivered to %s as %s", o.Place, o.SentAs)
					}
				}
			})
		},
	}), &date)
}

// number reads an id of a thing on the command line.
func number(name, arg string) (int64, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n < 1 {
		return 0, wrongUsage("%s %q: give its number, from 1", name, arg)
	}
	return n, nil
}

func (p *program) achIngestCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "ingest FILE",
		short:   "Take in the bank's returns and corrections",
		example: "  billcycle ach ingest returns.ach --date 2026-03-27",
		long: `Take in a file of returns and notifications of change. Each is matched by the
trace number of the debit that it answers; what belongs to no debit of ours waits
for a person. A file that was taken in before changes nothing.

Also taken is what the bank says of whole files: a file of ours sent back with REJ
codes, or a CSV with the columns file and status (acknowledged or rejected), and
if they are known entries, debit_cents and detail.`,
		run: func(ctx context.Context, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			got, refused := office.Ingest(ctx, jobs.FileName(args[0]), file)
			if refused != nil && !errors.Is(refused, ach.ErrRefused) {
				return refused
			}
			got.Problems = notNull(got.Problems)
			p.leaves(got.Waiting > 0)
			err = p.answer(got, func(w *page) {
				if got.Duplicate {
					w.line("It was taken in before; nothing was changed.")
					return
				}
				if got.Words > 0 {
					w.line("%s about our files", counted(got.Words, "word"))
				}
				w.line("returns %d\tcorrections %d\tapplied %d\tknown already %d\tunmatched %d\tfor review %d", got.Returns, got.Corrections, got.Applied, got.Repeated, got.Unmatched, got.Review)
				for _, problem := range got.Problems {
					w.line("%s", problem)
				}
			})
			return cmp.Or(refused, err)
		},
	}), &date)
}
