// Package delivery carries sealed files out of the house, and keeps what must
// be given back for years.
//
// A file of the outbox that has a place to go to is queued as a [Parcel]: its
// name and hash are in the database before anything is sent. A [Carrier] takes
// what waits to its place by SFTP, under a temporary name first, and gives it
// its own name there as the last act. Every step is recorded before it is
// taken, so that a carrier that was cut off or killed knows how far it may have
// come: it looks, and goes on from what it finds. What it cannot find out is
// never sent again by itself; a person decides. See carry.go.
//
// A [Store] keeps files by the hash of their content. This package is the one
// door to SSH, OpenPGP and object storage.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/billcycle/billcycle/calendar"
)

// State is how far a parcel has come.
type State string

// The states. From Waiting and Sending a parcel may be sent (again): it has
// never had its name there. From Naming it may not, since it may have got there.
const (
	Waiting   State = "waiting"
	Sending   State = "sending" // under a temporary name, whole or not
	Naming    State = "naming"  // whole there, and being given its name
	Delivered State = "delivered"
	Unknown   State = "unknown" // it may have arrived or not: a person finds out
	Cancelled State = "cancelled"
)

// Parcel is a file on its way.
type Parcel struct {
	ID          int64         `json:"id"`
	Folder      string        `json:"folder"` // of the outbox
	Name        string        `json:"name"`
	SHA256      []byte        `json:"sha256"` // as it was sealed
	Place       string        `json:"place"`
	Set         string        `json:"set"`  // what goes together, "" for nothing
	Last        bool          `json:"last"` // goes after all others of its set
	QueuedOn    calendar.Date `json:"queued_on"`
	State       State         `json:"state"`
	SentAs      string        `json:"sent_as"` // its name there
	SentSHA256  []byte        `json:"sent_sha256"`
	SentBytes   int64         `json:"sent_bytes"`
	Attempts    int           `json:"attempts"`
	Problem     string        `json:"problem"` // why it is not delivered, in words
	DeliveredOn calendar.Date `json:"delivered_on"`
}

// Place is a bank's or a vendor's server, and how files go there.
type Place struct {
	SFTP
	OpenPGP
	Tries int           // in one run, at least 1
	Wait  time.Duration // between them
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Queue enters a file that is to be carried, of which Folder, Name, SHA256,
// Place, Set, Last and QueuedOn are given. One that was queued before stays as
// it is; the same name with other content is an error.
func Queue(ctx context.Context, db querier, p Parcel) error {
	var same bool
	err := db.QueryRow(ctx, `insert into parcel (folder, name, sha256, place, set_name, last, queued_on) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (folder, name) do nothing returning true`, p.Folder, p.Name, p.SHA256, p.Place, p.Set, p.Last, p.QueuedOn).Scan(&same)
	if errors.Is(err, pgx.ErrNoRows) {
		err = db.QueryRow(ctx, `select sha256 = $3 from parcel where folder = $1 and name = $2`, p.Folder, p.Name, p.SHA256).Scan(&same)
	}
	if err == nil && !same {
		err = fmt.Errorf("outbox/%s/%s was queued before with other content; it is not sent", p.Folder, p.Name)
	}
	return err
}

const parcelColumns = `id, folder, name, sha256, place, set_name, last, queued_on, state, sent_as, sent_sha256, sent_bytes, attempts, problem, delivered_on`

func scanParcel(row pgx.CollectableRow) (p Parcel, err error) {
	err = row.Scan(&p.ID, &p.Folder, &p.Name, &p.SHA256, &p.Place, &p.Set, &p.Last, &p.QueuedOn, &p.State, &p.SentAs, &p.SentSHA256, &p.SentBytes, &p.Attempts, &p.Problem, &p.DeliveredOn)
	return p, err
}

// Parcels lists the parcels of some states, in order of queueing; without a
// state all of them.
func Parcels(ctx context.Context, db querier, states ...State) ([]Parcel, error) {
	rows, err := db.Query(ctx, `select `+parcelColumns+` from parcel where cardinality($1::text[]) = 0 or state = any($1) order by id`, append([]State{}, states...))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanParcel)
}

// Errors of Decide.
var (
	ErrNoParcel = errors.New("there is no such parcel")
	ErrNotNow   = errors.New("this can't be decided now")
)

// Decide settles a parcel as a person says who has asked at its place: it did
// arrive (Delivered), it did not and may be sent anew (Waiting), or it must not
// go (Cancelled). A delivered one stays delivered; one that may be on its way
// cannot be cancelled before it is known what became of it. What is decided
// while files are carried stands: the carrier leaves the parcel as it is.
func Decide(ctx context.Context, tx pgx.Tx, id int64, to State, day calendar.Date) (p Parcel, err error) {
	rows, err := tx.Query(ctx, `select `+parcelColumns+` from parcel where id = $1 for update`, id)
	if err != nil {
		return p, err
	}
	p, err = pgx.CollectExactlyOneRow(rows, scanParcel)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, fmt.Errorf("parcel %d: %w", id, ErrNoParcel)
	}
	if err != nil {
		return p, err
	}
	switch {
	case p.State == to:
		return p, nil
	case p.State == Delivered:
		return p, fmt.Errorf("parcel %d (%s) was delivered on %s: %w", id, p.Name, p.DeliveredOn, ErrNotNow)
	case to == Waiting && p.State != Unknown && p.State != Naming && p.State != Cancelled,
		to == Cancelled && p.State == Naming:
		return p, fmt.Errorf("parcel %d (%s) is %s: %w", id, p.Name, p.State, ErrNotNow)
	}
	if p.State == Naming {
		alone := false
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(carrying)).Scan(&alone); err != nil {
			return p, err
		}
		if !alone {
			return p, fmt.Errorf("parcel %d (%s) is being carried: wait for what becomes of it: %w", id, p.Name, ErrNotNow)
		}
	}
	from := p.State
	p.State, p.Problem, p.DeliveredOn = to, "", 0
	if to == Delivered {
		p.DeliveredOn = day
	}
	return p, save(ctx, tx, from, p)
}

// errDecided says that a parcel is no longer in the state that it was read in.
var errDecided = errors.New("it was decided on meanwhile")

// save records what became of a parcel, if it still is as it was.
func save(ctx context.Context, db querier, from State, p Parcel) error {
	var on any
	if !p.DeliveredOn.IsZero() {
		on = p.DeliveredOn
	}
	tag, err := db.Exec(ctx, `update parcel set state = $2, sent_as = $3, sent_sha256 = $4, sent_bytes = $5, attempts = $6, problem = $7, delivered_on = $8 where id = $1 and state = $9`,
		p.ID, p.State, p.SentAs, p.SentSHA256, p.SentBytes, p.Attempts, p.Problem, on, from)
	if err == nil && tag.RowsAffected() == 0 {
		err = errDecided
	}
	return err
}
