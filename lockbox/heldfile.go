package lockbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/postgres"
)

// A held file: what a person decides about it.

// TakeHeld says that a held file is right and its batches are new ones,
// whatever came before under their numbers. The content is that of the file.
func (d Desk) TakeHeld(ctx context.Context, fileID int64, content io.ReadSeeker, reason string) (Ingested, error) {
	none := Ingested{Problems: []Problem{}}
	if d.Operator == "" {
		return none, errOperator
	}
	var name, profile, state string
	var hash []byte
	err := d.DB.QueryRow(ctx, `select name, profile, state, sha256 from lockbox_file where id = $1`, fileID).Scan(&name, &profile, &state, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return none, fmt.Errorf("there is no lockbox file %d", fileID)
	}
	if err != nil {
		return none, err
	}
	p, err := ProfileNamed(d.profiles(), profile)
	if err != nil {
		return none, err
	}
	f, err := d.inspect(name, content, p)
	if err != nil {
		return none, err
	}
	if state != stateHeld || f.sum.SHA256 != Hash(hash) {
		return none, fmt.Errorf("file %d is %s, and the content given must be the very bytes that came: %w", fileID, state, ErrNotNow)
	}
	f.asNew, f.reason = true, reason
	return d.take(ctx, f, content)
}

// RefuseHeld says that a held file is a mistake of the bank: nothing of it is
// taken.
func (d Desk) RefuseHeld(ctx context.Context, fileID int64, reason string) error {
	if d.Operator == "" {
		return errOperator
	}
	return d.alone(ctx, func(conn postgres.DB) error { // and not while another takes it
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, `update lockbox_file set state = 'refused' where id = $1 and state = 'held'`, fileID)
			if err != nil {
				return err
			}
			if tag.RowsAffected() == 0 {
				return fmt.Errorf("lockbox refuse: file %d is not held: %w", fileID, ErrNotNow)
			}
			if _, err := tx.Exec(ctx, `delete from lockbox_batch where file_id = $1`, fileID); err != nil {
				return err
			}
			return d.endWait(ctx, tx, fileID, "lockbox refuse", reason)
		})
	})
}

// endWait clears what was noted of a held file and records who ended its wait.
func (d Desk) endWait(ctx context.Context, tx pgx.Tx, fileID int64, verb, reason string) error {
	if _, err := billing.Settle(ctx, tx, d.Day, BatchDiffers, fileSubject(fileID), "lockbox"); err != nil {
		return err
	}
	return billing.Act{Day: d.Day, Operator: d.Operator, Reason: reason, Verb: verb, Detail: map[string]any{"file_id": fileID}}.Record(ctx, tx, billing.House)
}
