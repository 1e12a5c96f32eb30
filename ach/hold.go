package ach

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
)

// What people do to files before they leave. Each act is kept with who did it
// and why, and whoever edits a file or lifts a hold is not the one to release
// it.

// ErrHold says why a file or its entry cannot be held, lifted or pulled;
// nothing has changed.
var ErrHold = errors.New("nothing was changed")

func holdError(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrHold)...)
}

// act is what the Operator does, to be recorded. Once operators are listed, it
// must be one of them.
func (o Office) act(ctx context.Context, tx pgx.Tx, verb, reason string, detail map[string]any) error {
	if err := billing.Identify(ctx, tx, o.Operator, o.Token); err != nil {
		return err
	}
	return billing.Act{Day: o.Day, Operator: o.Operator, Reason: reason, Verb: verb, Detail: detail}.Record(ctx, tx, 0)
}

// Hold keeps a sealed file from being released until somebody lifts the hold.
func (o Office) Hold(ctx context.Context, fileID int64, reason string) (info FileInfo, err error) {
	err = o.onSealed(ctx, fileID, "ach_hold", reason, func(tx pgx.Tx, f *FileInfo) error {
		f.HeldBy, f.HeldWhy = o.Operator, reason
		_, err := tx.Exec(ctx, `update ach_file set held_by = $2, held_why = $3 where id = $1`, f.ID, o.Operator, reason)
		info = *f
		return err
	})
	return info, err
}

// Lift ends the hold of a file; somebody else has to release it.
func (o Office) Lift(ctx context.Context, fileID int64, reason string) (info FileInfo, err error) {
	err = o.onSealed(ctx, fileID, "ach_lift", reason, func(tx pgx.Tx, f *FileInfo) error {
		if f.HeldBy == "" {
			return holdError("file %d (%s) is not held", f.ID, f.Name)
		}
		f.HeldBy, f.HeldWhy = "", ""
		_, err := tx.Exec(ctx, `update ach_file set held_by = null, held_why = '', hands = array_append(hands, $2) where id = $1`, f.ID, fold(o.Operator))
		info = *f
		return err
	})
	return info, err
}

// onSealed does an act on a file that is sealed and not released yet.
func (o Office) onSealed(ctx context.Context, fileID int64, verb, reason string, do func(tx pgx.Tx, f *FileInfo) error) error {
	return pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		f, err := fileForUpdate(ctx, tx, fileID)
		if err != nil {
			return err
		}
		if f.State != FileSealed {
			return holdError("file %d (%s) is %s", f.ID, f.Name, f.State)
		}
		before := f.SHA256
		if err := do(tx, &f); err != nil {
			return err
		}
		return o.act(ctx, tx, verb, reason, map[string]any{"file": f.Name, "sha256_before": before, "sha256": f.SHA256, "entries": f.Entries, "cents": f.Cents})
	})
}

// Pull takes the debit of a trace out of a file before it is released, and
// makes the file anew without it: other bytes under the same name. What was
// due is due again, and autopay does not build that debit a second time.
func (o Office) Pull(ctx context.Context, fileID int64, trace Trace, reason string) (info FileInfo, err error) {
	err = o.onSealed(ctx, fileID, "ach_pull", fmt.Sprintf("%s (trace %s)", reason, trace), func(tx pgx.Tx, f *FileInfo) error {
		if f.Kind != FileOfDebits {
			err := o.pullOther(ctx, tx, f, trace, reason)
			if err == nil {
				_, err = tx.Exec(ctx, `update ach_file set hands = array_append(hands, $2) where id = $1`, fileID, fold(o.Operator))
			}
			if err == nil {
				*f, err = o.fill(ctx, tx, *f, true)
				info = *f
			}
			return err
		}
		var account int64
		var receipt int32
		err := tx.QueryRow(ctx, `select account_id, receipt from debit where trace = $1 and file_id = $2 and state = 'built'`, int64(trace), fileID).Scan(&account, &receipt)
		if errors.Is(err, pgx.ErrNoRows) {
			return holdError("file %d (%s) holds no debit with the trace %s", f.ID, f.Name, trace)
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update ach_file set hands = array_append(hands, $2) where id = $1`, fileID, fold(o.Operator)); err != nil {
			return err
		}
		b, err := billing.Load(ctx, tx, billing.Whole, account)
		if err != nil {
			return err
		}
		a := b.Accounts[0]
		d := a.DebitOf(receipt)
		a.PullDebit(d, o.Day)
		d.LeaveFile()
		f.Entries, f.Cents = f.Entries-1, f.Cents-d.Cents
		if err := b.Save(ctx); err != nil {
			return err
		}
		*f, err = o.fill(ctx, tx, *f, true)
		info = *f
		return err
	})
	return info, err
}

// StopAll stops every release until LiftStop.
func (o Office) StopAll(ctx context.Context, reason string) error {
	return pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into ach_stop (stopped_by, stopped_on, why) values ($1, $2, $3) on conflict (one) do nothing`, o.Operator, o.Day, reason); err != nil {
			return err
		}
		return o.act(ctx, tx, "ach_stop", reason, nil)
	})
}

// LiftStop allows releases again. Whoever lifts it releases none of the files
// that were waiting meanwhile.
func (o Office) LiftStop(ctx context.Context, reason string) error {
	return pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from ach_stop`)
		if err == nil && tag.RowsAffected() == 0 {
			err = holdError("releases are not stopped")
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update ach_file set hands = array_append(hands, $1) where state in ('open', 'sealed')`, fold(o.Operator)); err != nil {
			return err
		}
		return o.act(ctx, tx, "ach_lift_stop", reason, nil)
	})
}

// stopped says who stopped all releases and why, "" if nobody did.
func stopped(ctx context.Context, q billing.Querier) (string, error) {
	var by, why, on string
	err := q.QueryRow(ctx, `select stopped_by, why, stopped_on::text from ach_stop`).Scan(&by, &why, &on)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return fmt.Sprintf("%s has stopped all releases on %s: %s (ach hold all --lift)", by, on, why), err
}
