package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// runJournal seals what the journal has gained as a file for the general
// ledger, and puts it into the outbox.
func runJournal(ctx context.Context, r *Run) error {
	err := pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		f, made, err := ledger.SealFile(ctx, tx, r.Policy.Journal.Accounts, r.Day)
		if err != nil {
			return err
		}
		files := []ledger.File{}
		if made {
			files = append(files, f)
		}
		if !r.again { // one of the day may be from before this run was killed
			if files, err = ledger.Files(ctx, tx, r.Day); err != nil {
				return err
			}
		}
		for _, f := range files {
			r.tally.Did(f.Entries, f.Cents)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.sendOut(ctx, "journal", "journal")
}

func writeJournal(ctx context.Context, tx pgx.Tx, file int64, _ calendar.Date, to io.Writer) (int, error) {
	return ledger.WriteFile(ctx, tx, file, to)
}

// JournalFile writes a file for the general ledger again: the bytes that were
// sealed, or an error.
func (h House) JournalFile(ctx context.Context, no int, to io.Writer) (f ledger.File, err error) {
	err = pgx.BeginTxFunc(ctx, h.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if f, err = ledger.FileNumbered(ctx, tx, no); err != nil {
			return err
		}
		sum := sha256.New()
		if _, err := ledger.WriteFile(ctx, tx, f.Outbox, io.MultiWriter(to, sum)); err != nil {
			return err
		}
		if f.SHA256 != nil && !bytes.Equal(f.SHA256, sum.Sum(nil)) {
			return fmt.Errorf("%s: its lines give the hash %x, not %x as when it was sealed; do not use it", f.Name, sum.Sum(nil), f.SHA256)
		}
		f.SHA256 = sum.Sum(nil)
		return nil
	})
	return f, err
}

// JournalFiles lists the files for the general ledger, the newest first; day is
// a business date, or none for all.
func (h House) JournalFiles(ctx context.Context, day calendar.Date) (files []ledger.File, err error) {
	err = pgx.BeginTxFunc(ctx, h.DB, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		files, err = ledger.Files(ctx, tx, day)
		return err
	})
	return files, err
}
