package ach

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// Office is where debits are made and the bank's answers taken in. The life of
// a debit goes through it in this order: Select builds it as a pending receipt,
// Seal puts it into a file, Release lets the file go, WriteOut hands it over,
// billing posts it on its effective date (WithdrawUnreleased has taken back
// what nobody released), and Ingest undoes what the bank returns.
type Office struct {
	DB       postgres.DB
	Policy   *billing.Policy
	Keys     *secret.Keys
	Day      calendar.Date // the business date of whatever is done
	Operator string        // who does it; "system" is the clock
	Token    string        // what proves it, once operators are listed
}

const system = billing.System

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
	Kind        string        `json:"kind"` // debits, prenotes, reversals: what is in it
	Name        string        `json:"name"` // ach-20260324-A.ach: the day it was built, the modifier
	BuiltOn     calendar.Date `json:"built_on"`
	EffectiveOn calendar.Date `json:"effective_on"`
	Entries     int           `json:"entries"`      // debits
	Prenotes    int           `json:"prenotes"`     // trials of zero cents
	Reversals   int           `json:"reversals"`    // credits that undo debits
	Cents       ledger.Cents  `json:"cents"`        // sum of the debits
	CreditCents ledger.Cents  `json:"credit_cents"` // sum of the reversals
	SHA256      SHA256        `json:"sha256"`
	State       string        `json:"state"` // sealed, released, withdrawn
	Maker       string        `json:"maker"`
	HeldBy      string        `json:"held_by"` // "" while nobody holds it
	HeldWhy     string        `json:"held_why"`
	ReleasedBy  string        `json:"released_by"` // "" while it is not
	ReleasedOn  calendar.Date `json:"released_on"`
	WrittenOn   calendar.Date `json:"written_on"`        // to the outbox
	ReadyOn     calendar.Date `json:"-"`                 // its bytes were laid beside its name there
	MissedOn    calendar.Date `json:"missed_on"`         // not put there in time, so it stays in the house
	Bank        string        `json:"bank"`              // what the bank said: "", acknowledged, rejected, unknown
	BankDetail  string        `json:"bank_detail"`       // in its words
	Already     bool          `json:"already,omitempty"` // Release found it released by the same person

	hands                 []string // who edited it or lifted its hold, in small letters
	modifier              byte
	firstTrace, lastTrace Trace
	low, high             int64 // accounts
	batches               []string
}

// The states of a file.
const (
	fileOpen      = "open" // Select still fills it
	FileSealed    = "sealed"
	FileReleased  = "released"
	FileWithdrawn = "withdrawn" // nobody released it in time, or nothing of it could be sent
)

// The kinds of files. What goes out for another reason is in a file of its own,
// so that it is looked at and released for itself.
const (
	FileOfDebits    = "debits"
	FileOfPrenotes  = "prenotes"
	FileOfReversals = "reversals"
)

// Holds says in a few words what is in a file.
func (f *FileInfo) Holds() string {
	switch f.Kind {
	case FileOfPrenotes:
		return fmt.Sprintf("%d prenotes", f.Prenotes)
	case FileOfReversals:
		return fmt.Sprintf("%d reversals of %s", f.Reversals, f.CreditCents)
	}
	return fmt.Sprintf("%d debits of %s", f.Entries, f.Cents)
}

const fileColumns = `id, kind, coalesce(name, ''), built_on, effective_on, entries, prenotes, reversals, cents, credit_cents, sha256, state, maker, coalesce(held_by, ''), held_why, coalesce(released_by, ''), released_on, written_on, ready_on, missed_on,
	bank, bank_detail, hands, coalesce(modifier, ''), first_trace, last_trace, first_account, last_account, batches`

func scanFile(row pgx.CollectableRow) (f FileInfo, err error) {
	var modifier string
	var first, last int64
	err = row.Scan(&f.ID, &f.Kind, &f.Name, &f.BuiltOn, &f.EffectiveOn, &f.Entries, &f.Prenotes, &f.Reversals, &f.Cents, &f.CreditCents, &f.SHA256, &f.State, &f.Maker, &f.HeldBy, &f.HeldWhy, &f.ReleasedBy, &f.ReleasedOn, &f.WrittenOn, &f.ReadyOn, &f.MissedOn,
		&f.Bank, &f.BankDetail, &f.hands, &modifier, &first, &last, &f.low, &f.high, &f.batches)
	f.firstTrace, f.lastTrace = Trace(first), Trace(last)
	if modifier != "" {
		f.modifier = modifier[0]
	}
	return f, err
}

// Files lists all files that were sealed, the newest first.
func (o Office) Files(ctx context.Context) ([]FileInfo, error) { return Files(ctx, o.DB) }

// Files lists the sealed files as a transaction sees them.
func Files(ctx context.Context, q billing.Querier) ([]FileInfo, error) {
	rows, err := q.Query(ctx, `select `+fileColumns+` from ach_file where name is not null order by id desc`)
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

// freeTraces locks the counter of our bank's trace numbers and returns the next
// one, and how many, up to so many, follow it that may all be taken.
func freeTraces(ctx context.Context, tx pgx.Tx, odfi string, day calendar.Date, most int64) (first Trace, free int, err error) {
	bank, err := bankOf(odfi)
	if err != nil {
		return 0, 0, err
	}
	next, err := lockTraces(ctx, tx, bank)
	if err != nil {
		return 0, 0, err
	}
	to := int(min(int64(next)+most-1, maxSequence))
	used, err := usedTraces(ctx, tx, bank, next, to, day)
	if err != nil {
		return 0, 0, err
	}
	for t := range used {
		to = min(to, t.Sequence()-1)
	}
	first, err = NewTrace(bank, next)
	return first, to - next + 1, err
}

// tookTraces counts n trace numbers from first on as taken.
func tookTraces(ctx context.Context, tx pgx.Tx, first Trace, n int) error {
	_, err := tx.Exec(ctx, `update ach_trace set next = $2 where odfi = $1`, first.ODFI(), (first.Sequence()+n-1)%maxSequence+1)
	return err
}

// takeRun takes n trace numbers that follow each other, and returns the first;
// none for n = 0.
func takeRun(ctx context.Context, tx pgx.Tx, odfi string, day calendar.Date, n int) (Trace, error) {
	if n == 0 {
		return 0, nil
	}
	for {
		traces, err := takeTraces(ctx, tx, odfi, day, n)
		if err != nil {
			return 0, err
		}
		if traces[n-1]-traces[0] == Trace(n-1) { // else it went over a used number or the top
			return traces[0], nil
		}
	}
}

func usedTraces(ctx context.Context, tx pgx.Tx, bank string, from, to int, day calendar.Date) (map[Trace]bool, error) {
	first, err := NewTrace(bank, from)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select trace from debit where trace between $1 and $2 and effective_on > $3
		union all select trace from ach_entry where trace between $1 and $2 and effective_on > $3`, int64(first), int64(first)+int64(to-from), day-traceDays)
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
