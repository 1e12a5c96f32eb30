package ach

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// Office is where debits are made and the bank's answers taken in. The life of
// a debit goes through it in this order: Select builds it as a pending receipt,
// Seal puts it into a file, Release lets the file go, WriteOut hands it over,
// billing posts it on its effective date (WithdrawUnreleased has taken back
// what nobody released), and Ingest undoes what the bank returns.
type Office struct {
	DB       *pgxpool.Pool
	Policy   *billing.Policy
	Keys     *secret.Keys
	Day      calendar.Date // the business date of whatever is done
	Operator string        // who does it; "system" is the clock
}

// system is the clock as an operator. It makes files and never releases one.
const system = "system"

// traceDays is for how long a trace number names one debit only, and so how
// long after its effective date an answer may still be matched to it.
const traceDays = 180

// ErrNoFile says that a file was named that is not there.
var ErrNoFile = errors.New("no such ACH file (billcycle ach files lists them)")

// CompanyOf returns the biller as its bank knows it.
func CompanyOf(p *billing.Policy) Company {
	c := p.Company
	return Company{
		Name: c.Name, ID: c.ID, Description: c.EntryDescription,
		ODFI: c.ODFI, ODFIName: c.ODFIName, Destination: c.ODFI, Origin: c.Origin, OriginName: c.Name,
		Balanced: p.ACH.Balanced, OffsetRouting: c.ODFI, OffsetAccount: c.OffsetAccount, OffsetType: Checking,
	}
}

// SHA256 is the hash of a file's bytes, written as 64 hexadecimal digits.
type SHA256 []byte

// String returns the hash as hexadecimal digits.
func (h SHA256) String() string { return hex.EncodeToString(h) }

// MarshalJSON writes the hash as a string.
func (h SHA256) MarshalJSON() ([]byte, error) { return json.Marshal(h.String()) }

// FileInfo is a file of debits and where it stands.
type FileInfo struct {
	ID          int64         `json:"id"`
	Name        string        `json:"name"` // ach-20260324-A.ach: the day it was built, the modifier
	BuiltOn     calendar.Date `json:"built_on"`
	EffectiveOn calendar.Date `json:"effective_on"`
	Entries     int           `json:"entries"` // debits
	Cents       ledger.Cents  `json:"cents"`   // their sum
	SHA256      SHA256        `json:"sha256"`
	State       string        `json:"state"` // sealed, released, withdrawn
	Maker       string        `json:"maker"`
	ReleasedBy  string        `json:"released_by"` // "" while it is not
	ReleasedOn  calendar.Date `json:"released_on"`
	WrittenOn   calendar.Date `json:"written_on"`        // to the outbox
	Already     bool          `json:"already,omitempty"` // Release found it released by the same person
}

// The states of a file.
const (
	FileSealed    = "sealed"
	FileReleased  = "released"
	FileWithdrawn = "withdrawn" // nobody released it in time
)

const fileColumns = `id, name, built_on, effective_on, entries, cents, sha256, state, maker, coalesce(released_by, ''), released_on, written_on`

func scanFile(row pgx.CollectableRow) (f FileInfo, err error) {
	err = row.Scan(&f.ID, &f.Name, &f.BuiltOn, &f.EffectiveOn, &f.Entries, &f.Cents, &f.SHA256, &f.State, &f.Maker, &f.ReleasedBy, &f.ReleasedOn, &f.WrittenOn)
	return f, err
}

// Files lists all files, the newest first.
func (o Office) Files(ctx context.Context) ([]FileInfo, error) {
	rows, err := o.DB.Query(ctx, `select `+fileColumns+` from ach_file order by id desc`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanFile)
}

// fileForUpdate reads a file and locks its row until the transaction ends.
func fileForUpdate(ctx context.Context, tx pgx.Tx, id int64) (FileInfo, error) {
	rows, err := tx.Query(ctx, `select `+fileColumns+` from ach_file where id = $1 for update`, id)
	if err != nil {
		return FileInfo{}, err
	}
	f, err := pgx.CollectExactlyOneRow(rows, scanFile)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("file %d: %w", id, ErrNoFile)
	}
	return f, err
}

// lockTraces locks the counter of our bank's trace numbers and returns the
// next.
func lockTraces(ctx context.Context, tx pgx.Tx, bank string) (next int, err error) {
	if _, err = tx.Exec(ctx, `insert into ach_trace (odfi, next) values ($1, 1) on conflict do nothing`, bank); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `select next from ach_trace where odfi = $1 for update`, bank).Scan(&next)
	return next, err
}

// takeTraces takes n trace numbers, ascending but for one step back to 1 after
// 9,999,999. A number that a debit of the last 180 days bears is passed over:
// an answer of the bank could not tell the two apart.
func takeTraces(ctx context.Context, tx pgx.Tx, odfi string, day calendar.Date, n int) ([]Trace, error) {
	bank, err := bankOf(odfi)
	if err != nil {
		return nil, err
	}
	next, err := lockTraces(ctx, tx, bank)
	if err != nil {
		return nil, err
	}
	traces := make([]Trace, 0, n)
	for seen := 0; len(traces) < n; {
		from, to := next, min(next+n-len(traces)-1, maxSequence)
		if seen += to - from + 1; seen > maxSequence {
			return nil, fmt.Errorf("all trace numbers of the bank %s are borne by debits of the last %d days", bank, traceDays)
		}
		used, err := usedTraces(ctx, tx, bank, from, to, day)
		if err != nil {
			return nil, err
		}
		for sequence := from; sequence <= to; sequence++ {
			if t, err := NewTrace(bank, sequence); err != nil {
				return nil, err
			} else if !used[t] {
				traces = append(traces, t)
			}
		}
		next = to%maxSequence + 1
	}
	_, err = tx.Exec(ctx, `update ach_trace set next = $2 where odfi = $1`, bank, next)
	return traces, err
}

func usedTraces(ctx context.Context, tx pgx.Tx, bank string, from, to int, day calendar.Date) (map[Trace]bool, error) {
	first, err := NewTrace(bank, from)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select trace from debit where trace between $1 and $2 and effective_on > $3`, int64(first), int64(first)+int64(to-from), day-traceDays)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	used := make(map[Trace]bool, len(list))
	for _, t := range list {
		used[Trace(t)] = true
	}
	return used, err
}

// raise puts work before a person, once while it waits: the same job finding
// the same thing again on another night adds nothing.
func raise(ctx context.Context, tx pgx.Tx, account int64, e billing.Exception) error {
	_, err := tx.Exec(ctx, `insert into exception (account_id, on_date, job, code, subject, detail)
		select $1, $2, $3, $4, $5, $6
		where not exists (select from exception where account_id = $1 and job = $3 and code = $4 and subject = $5 and cleared_on is null)
		on conflict (account_id, job, code, subject, on_date) do update set cleared_on = null, detail = excluded.detail`,
		account, e.On, e.Job, e.Code, e.Subject, e.Detail)
	return err
}
