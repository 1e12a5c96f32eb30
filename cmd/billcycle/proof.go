package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/rehearsal"
)

// Proofs: that the rules do what the stories say, that the books hold.

func (p *program) proofCommands() []*cobra.Command {
	return []*cobra.Command{p.rehearseCommand(), p.verifyCommand()}
}

func (p *program) rehearseCommand() *cobra.Command {
	return p.command(command{
		use:     "rehearse PATH...",
		short:   "Play scenario files with the real jobs in a scratch database",
		example: "  billcycle rehearse scenarios/ mine.json",
		long: `Play stories: scenario files, in which one account's life is told day by day with
the figures that must stand after each step. A folder stands for its *.json. The
database that --database names is never touched, only its server is used.`,
		run: func(ctx context.Context, args []string) error {
			stories, err := rehearsal.Open(args...)
			if errors.Is(err, fs.ErrNotExist) {
				return noFile(err)
			}
			if err != nil {
				return refuse(err)
			}
			if err := p.openScratchServer(ctx); err != nil {
				return err
			}
			log := p.story()
			if log == nil {
				log = io.Discard
			}
			result, err := rehearsal.Play(ctx, p.server, stories, log)
			if err != nil {
				return err
			}
			if result.Failed > 0 {
				p.code = exitFailed
			}
			result.Failures = notNull(result.Failures)
			return p.answer(result, func(w *page) { w.line("%d passed, %d failed", result.Passed, result.Failed) })
		},
	})
}

// invariants are what `verify` proves, room by room.
var invariants = [][]ledger.Invariant{ledger.Invariants, billing.Invariants, lockbox.Invariants}

// proven is how an invariant stands.
type proven struct {
	Name     string   `json:"name"`
	Says     string   `json:"says"`
	Holds    bool     `json:"holds"`
	Rows     int      `json:"rows"`     // that break it
	Examples []string `json:"examples"` // the first of them
}

func (p *program) verifyCommand() *cobra.Command {
	return p.command(command{
		use:     "verify",
		short:   "Prove the invariants over the whole ledger",
		example: "  billcycle verify",
		long: `Prove every invariant of the books over the whole database, as it stands at one
moment, and change nothing. Exit code 1 if any is broken.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.clock())
			if err != nil {
				return err
			}
			proofs, broken, err := p.prove(ctx, house.DB)
			if err != nil {
				return err
			}
			if broken > 0 {
				p.code = exitFailed
			}
			return p.answer(struct {
				Invariants []proven `json:"invariants"`
				Broken     int      `json:"broken"`
			}{proofs, broken}, func(w *page) { writeProofs(w, proofs, broken) })
		},
	})
}

const examplesShown = 5

// prove looks at every invariant in one moment of the database.
func (p *program) prove(ctx context.Context, db *pgxpool.Pool) (proofs []proven, broken int, err error) {
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, room := range invariants {
			for _, inv := range room {
				proof, err := proveOne(ctx, tx, inv)
				if err != nil {
					return fmt.Errorf("invariant %s: %w", inv.Name, err)
				}
				if !proof.Holds {
					broken++
				}
				proofs = append(proofs, proof)
			}
		}
		return nil
	})
	return proofs, broken, err
}

func proveOne(ctx context.Context, tx pgx.Tx, inv ledger.Invariant) (proven, error) {
	proof := proven{Name: inv.Name, Says: inv.Says, Examples: []string{}}
	rows, err := tx.Query(ctx, inv.SQL)
	if err != nil {
		return proof, err
	}
	defer rows.Close()
	for rows.Next() {
		proof.Rows++
		if len(proof.Examples) < examplesShown {
			values, err := rows.Values()
			if err != nil {
				return proof, err
			}
			var words []string
			for n, column := range rows.FieldDescriptions() {
				value, err := json.Marshal(values[n])
				if err != nil {
					return proof, err
				}
				words = append(words, fmt.Sprintf("%s=%s", column.Name, value))
			}
			proof.Examples = append(proof.Examples, strings.Join(words, " "))
		}
	}
	proof.Holds = proof.Rows == 0
	return proof, rows.Err()
}

func writeProofs(w *page, proofs []proven, broken int) {
	for _, x := range proofs {
		if x.Holds {
			w.line("ok\t%s", x.Says)
			continue
		}
		w.line("BROKEN\t%s (%s: %d rows)", x.Says, x.Name, x.Rows)
		for _, example := range x.Examples {
			w.line("\t  %s", example)
		}
	}
	if broken == 0 {
		w.line("All %d invariants hold.", len(proofs))
	} else {
		w.line("%d of %d invariants are broken.", broken, len(proofs))
	}
}
