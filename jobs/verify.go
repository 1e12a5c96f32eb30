package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/statements"
)

// Proof is how an invariant stands.
type Proof struct {
	Name     string   `json:"name"`
	Says     string   `json:"says"`
	Holds    bool     `json:"holds"`
	Rows     int      `json:"rows"`     // that break it
	Examples []string `json:"examples"` // the first of them
}

const examples = 5

func (p *Proof) broken(format string, args ...any) {
	p.Holds = false
	p.Rows++
	if len(p.Examples) < examples {
		p.Examples = append(p.Examples, fmt.Sprintf(format, args...))
	}
}

// Invariants lists what Verify proves in the database, room by room.
func Invariants() []ledger.Invariant {
	var all []ledger.Invariant
	for _, room := range [][]ledger.Invariant{ledger.Invariants, billing.Invariants, invariants, lockbox.Invariants, ach.Invariants, cards.Invariants, notices.Invariants, statements.Invariants} {
		all = append(all, room...)
	}
	return all
}

// invariants of the runs.
var invariants = []ledger.Invariant{
	{Name: "runs_add_up", Says: "of what a job has selected, each is done, skipped for a reason, or parked",
		SQL: `select job, day, pass, step, from_id, selected from run_chunk c
			where selected <> done + parked + (select coalesce(sum(value::bigint), 0) from jsonb_each_text(c.skipped))`},
	{Name: "parked_is_of_a_run", Says: "an account is parked by a run that there was",
		SQL: `select account_id, job, day from parked p where not exists (select from run where run.job = p.job and run.day = p.last_day)`},
}

// Verify proves the invariants over the whole database as it stands at one
// moment, and that the artefacts are the ones that were made. It changes
// nothing.
func (h House) Verify(ctx context.Context) (proofs []Proof, broken int, err error) {
	tx, err := h.DB.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // whatever it has put aside to look at
	err = func() error {
		archives, err := h.bringBack(ctx, tx)
		if err != nil {
			return err
		}
		for _, inv := range Invariants() {
			p, err := prove(ctx, tx, inv)
			if err != nil {
				return fmt.Errorf("invariant %s: %w", inv.Name, err)
			}
			proofs = append(proofs, p)
		}
		proofs = append(proofs, archives)
		for _, check := range []func(context.Context, pgx.Tx) (Proof, error){h.proveFiles, h.proveOutbox, h.proveStatements, h.proveBundles} {
			p, err := check(ctx, tx)
			if err != nil {
				return fmt.Errorf("invariant %s: %w", p.Name, err)
			}
			proofs = append(proofs, p)
		}
		return nil
	}()
	for _, p := range proofs {
		if !p.Holds {
			broken++
		}
	}
	return proofs, broken, err
}

// Archive is the folder of the journal's archived months.
func (h House) Archive() string { return filepath.Join(h.Dir, "archive", "journal") }

// bringBack holds the files of archived months against what they were archived
// with, and lets the proofs that follow see their entries.
func (h House) bringBack(ctx context.Context, tx pgx.Tx) (Proof, error) {
	p := Proof{Name: "journal_archives", Says: "every archived month of the journal lies in its file, as it was written", Holds: true, Examples: []string{}}
	months, err := billing.ArchivedMonths(ctx, tx, 0)
	if err == nil && len(months) == 0 {
		_, err = tx.Exec(ctx, `set transaction read only`)
		return p, err
	}
	if err != nil {
		return p, err
	}
	problems, err := billing.BringBack(ctx, tx, h.Archive(), months)
	for _, problem := range problems {
		p.broken("%v", problem)
	}
	return p, err
}

// asked is what a proof is put to.
type asked interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func prove(ctx context.Context, db asked, inv ledger.Invariant, args ...any) (Proof, error) {
	p := Proof{Name: inv.Name, Says: inv.Says, Holds: true, Examples: []string{}}
	rows, err := db.Query(ctx, inv.SQL, args...)
	if err != nil {
		return p, err
	}
	defer rows.Close()
	for rows.Next() {
		if p.Rows >= examples {
			p.broken("")
			continue
		}
		values, err := rows.Values()
		if err != nil {
			return p, err
		}
		var words []string
		for n, column := range rows.FieldDescriptions() {
			value, err := json.Marshal(values[n])
			if err != nil {
				return p, err
			}
			words = append(words, fmt.Sprintf("%s=%s", column.Name, value))
		}
		p.broken("%s", strings.Join(words, " "))
	}
	return p, rows.Err()
}

// proveFiles holds the sealed ACH files against their hashes.
func (h House) proveFiles(ctx context.Context, tx pgx.Tx) (Proof, error) {
	p := Proof{Name: "ach_files_as_sealed", Says: "every sealed ACH file still has the hash it was released by", Holds: true, Examples: []string{}}
	files, err := ach.Files(ctx, tx)
	if err != nil {
		return p, err
	}
	for _, f := range files {
		if err := ach.Unseal(ctx, tx, h.Keys, f, io.Discard); errors.Is(err, ach.ErrAltered) {
			p.broken("%s: %v", f.Name, err)
		} else if err != nil {
			return p, err
		}
	}
	return p, nil
}

// proveStatements holds the PDF files below the biller's directory against
// their hashes. One that is not there is no fault: it can be made again.
func (h House) proveStatements(ctx context.Context, tx pgx.Tx) (Proof, error) {
	p := Proof{Name: "statements_as_made", Says: "every statement's PDF on disk has the hash it was made with", Holds: true, Examples: []string{}}
	store, local := h.localStore()
	if !local {
		return p, nil // a bucket proves what it gives back, each time
	}
	rows, err := tx.Query(ctx, `select account_id, cycle, sha256 from (select account_id, cycle, unnest(array[sha256, accessible]) as sha256 from statement) s where sha256 is not null order by account_id, cycle`)
	if err != nil {
		return p, err
	}
	defer rows.Close()
	for rows.Next() {
		var account int64
		var cycle calendar.Cycle
		var sum []byte
		if err := rows.Scan(&account, &cycle, &sum); err != nil {
			return p, err
		}
		if len(sum) != sha256.Size {
			p.broken("statement %010d has the hash %x", billing.StatementNumber(account, cycle), sum)
			continue
		}
		pdf, err := os.ReadFile(store.Path([sha256.Size]byte(sum)))
		if os.IsNotExist(err) {
			continue
		}
		if got := sha256.Sum256(pdf); err != nil || string(got[:]) != string(sum) {
			p.broken("statement %010d, %s", billing.StatementNumber(account, cycle), store.Path([sha256.Size]byte(sum)))
		}
	}
	return p, rows.Err()
}

// proveBundles holds the print bundles in the outbox against their hashes.
func (h House) proveBundles(ctx context.Context, tx pgx.Tx) (Proof, error) {
	p := Proof{Name: "bundles_as_sealed", Says: "every print bundle in the outbox has the hash it was sealed with", Holds: true, Examples: []string{}}
	altered, err := statements.AlteredBundles(ctx, tx, filepath.Join(h.Dir, "outbox", "print"))
	for _, name := range altered {
		p.broken("%s", name)
	}
	return p, err
}
