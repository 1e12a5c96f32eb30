package ach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
)

// ReleaseError says why a file is not released.
type ReleaseError struct {
	File FileInfo
	Says string
}

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("file %d (%s) is not released: %s", e.File.ID, e.File.Name, e.Says)
}

// Release lets a file leave the house, in the name of the Operator: a second
// person, who is neither the clock nor the file's maker, on a day before its
// effective date. A refusal is a *ReleaseError. A file that the same person
// has released before is left as it is (Already). One that holds what may not
// go out any more is mended, not released: it is not what the person has seen.
func (o Office) Release(ctx context.Context, fileID int64) (info FileInfo, err error) {
	out := 0
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		if info, err = fileForUpdate(ctx, tx, fileID); err != nil {
			return err
		}
		if info.State == FileReleased && billing.SamePerson(info.ReleasedBy, o.Operator) {
			info.Already = true
			return nil
		}
		why, err := o.mayRelease(ctx, tx, info)
		if err != nil {
			return err
		}
		if why != "" {
			return &ReleaseError{info, why}
		}
		if info, out, err = o.mend(ctx, tx, info); err != nil || out > 0 {
			return err
		}
		info.State, info.ReleasedBy, info.ReleasedOn = FileReleased, o.Operator, o.Day
		if _, err := tx.Exec(ctx, `update ach_file set state = 'released', released_by = $2, released_on = $3, released_sha256 = $4 where id = $1`, fileID, o.Operator, o.Day, []byte(info.SHA256)); err != nil {
			return err
		}
		return billing.Act{Day: o.Day, Operator: o.Operator, Verb: "ach_release",
			Detail: map[string]any{"file": info.Name, "entries": info.Entries, "cents": info.Cents, "sha256": info.SHA256}}.Record(ctx, tx, 0)
	})
	if err == nil && out > 0 {
		err = &ReleaseError{info, fmt.Sprintf("%d of its entries may not go out as they were any more (ach returns --waiting), so it was made anew: look at it and release it again", out)}
	}
	return info, err
}

// mayRelease says why the Operator may not release a file, "" if nothing is in
// the way. The database holds most of it as well.
func (o Office) mayRelease(ctx context.Context, tx pgx.Tx, f FileInfo) (string, error) {
	stop, err := stopped(ctx, tx)
	if err != nil {
		return "", err
	}
	if err := billing.Identify(ctx, tx, o.Operator, o.Token); errors.Is(err, billing.ErrOperator) {
		return err.Error(), nil
	} else if err != nil {
		return "", err
	}
	switch {
	case strings.TrimSpace(o.Operator) == "" || billing.SamePerson(o.Operator, system):
		return "a person must release it; name yourself with --operator", nil
	case f.State == FileReleased:
		return fmt.Sprintf("%s has released it on %s already", f.ReleasedBy, f.ReleasedOn), nil
	case f.State == FileWithdrawn:
		return fmt.Sprintf("nobody released it before its effective date, %s, and its debits were withdrawn; they are built again", f.EffectiveOn), nil
	case billing.SamePerson(f.Maker, o.Operator):
		return fmt.Sprintf("%s made it; somebody else must release it", f.Maker), nil
	case slices.Contains(f.hands, fold(o.Operator)):
		return fmt.Sprintf("%s edited it or lifted its hold; somebody else must release it", o.Operator), nil
	case f.HeldBy != "":
		return fmt.Sprintf("%s holds it: %s (ach hold %d --lift)", f.HeldBy, f.HeldWhy, f.ID), nil
	case stop != "":
		return stop, nil
	case o.Day >= f.EffectiveOn:
		return fmt.Sprintf("it is too late on %s, its effective date is %s; its debits will be built again", o.Day, f.EffectiveOn), nil
	}
	return "", nil
}

// fold is a name as it is compared.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// WriteOut puts every released file that was not put there before into the
// outbox dir: the sealed bytes, checked by their hash, laid out whole, and given
// their name when that is noted (delivery.Outgoing). A file of the same bytes that
// is there already (a crash came between) is left; one of other bytes is an error.
// A file that had its name once does not get it again, since whoever carried it to
// the bank may have moved it away, and sent twice it debits twice. None is written
// on its effective date or later: see TakeBack. It returns the paths that it wrote
// or found whole, and how many files it has put before a person.
func (o Office) WriteOut(ctx context.Context, dir string) (paths []string, asked int, err error) {
	rows, err := o.DB.Query(ctx, `select id from ach_file where state = 'released' and written_on is null and missed_on is null and effective_on > $1 order by id`, o.Day)
	if err != nil {
		return nil, 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return nil, 0, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		path, gone, err := o.writeFile(ctx, dir, id)
		if err != nil {
			return paths, asked, err
		}
		switch {
		case gone:
			asked++
		case path != "":
			paths = append(paths, path)
		}
	}
	return paths, asked, nil
}

// writeFile writes one file in two steps (delivery.Outgoing), each under the lock of
// its row, so that two programs never write it at once. It returns its path, "" if
// nothing was to be done, and whether it was gone.
func (o Office) writeFile(ctx context.Context, dir string, id int64) (path string, gone bool, err error) {
	for _, step := range []func(context.Context, pgx.Tx, string, FileInfo) (delivery.Found, error){o.lay, o.putOut} {
		err := pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
			info, err := fileForUpdate(ctx, tx, id)
			if err != nil || info.State != FileReleased || !info.WrittenOn.IsZero() || !info.MissedOn.IsZero() {
				return err
			}
			at, err := step(ctx, tx, dir, info)
			if at == delivery.Out {
				path = filepath.Join(dir, info.Name)
			}
			gone = at == delivery.Nowhere
			return err
		})
		if err != nil {
			return "", false, err
		}
	}
	return path, gone, nil
}

// outgoing is a file as the outbox knows it.
func (f FileInfo) outgoing(dir string) delivery.Outgoing {
	return delivery.Outgoing{Path: filepath.Join(dir, f.Name), SHA256: f.SHA256}
}

// lay lays out the bytes of a file, unless they were before.
func (o Office) lay(ctx context.Context, tx pgx.Tx, dir string, f FileInfo) (delivery.Found, error) {
	file := f.outgoing(dir)
	at, err := file.Find()
	if err != nil || at == delivery.Out || !f.ReadyOn.IsZero() && at != delivery.Torn {
		return at, err
	}
	if _, err := file.Lay(func(to io.Writer) error { return Unseal(ctx, tx, o.Keys, f, to) }); err != nil {
		return delivery.Nowhere, err
	}
	_, err = tx.Exec(ctx, `update ach_file set ready_on = $2 where id = $1`, f.ID, o.Day)
	return delivery.Laid, err
}

// putOut gives a file its name, and notes it.
func (o Office) putOut(ctx context.Context, tx pgx.Tx, dir string, f FileInfo) (delivery.Found, error) {
	switch out, err := f.outgoing(dir).GiveName(); {
	case err != nil:
		return delivery.Nowhere, err
	case !out:
		return delivery.Nowhere, o.isGone(ctx, tx, f)
	}
	return delivery.Out, o.isOut(ctx, tx, f)
}

// isGone notes that a file had its name and was carried away before that was
// noted. It is not made again, and a person is told, since somebody may have
// cleared the outbox instead.
func (o Office) isGone(ctx context.Context, tx pgx.Tx, f FileInfo) error {
	if err := o.isOut(ctx, tx, f); err != nil {
		return err
	}
	return o.askAboutFile(ctx, tx, f, fmt.Sprintf("it was whole in the outbox on %s and is there no more, so it is taken as carried to the bank, and not made again: if the bank does not have it, say that it was rejected", f.ReadyOn))
}

// isOut notes that a file is in the outbox, and has it carried if there is a
// place for it.
func (o Office) isOut(ctx context.Context, tx pgx.Tx, f FileInfo) error {
	if _, err := tx.Exec(ctx, `update ach_file set written_on = $2 where id = $1`, f.ID, o.Day); err != nil || o.Policy.Delivery.ACH == "" {
		return err
	}
	return delivery.Queue(ctx, tx, delivery.Parcel{Folder: "ach", Name: f.Name, SHA256: f.SHA256, Place: o.Policy.Delivery.ACH, QueuedOn: o.Day})
}

// TakeBack keeps in the house every released file that was not put into the
// outbox dir before its effective date, and puts it before a person. What it
// holds is withdrawn like what nobody released, so it has to run before that.
// One that is there was put there in time, and so was one that was laid there and
// is no more: only the note of it was lost. It returns those that it keeps, and how
// many it has put before a person.
func (o Office) TakeBack(ctx context.Context, dir string) (missed []FileInfo, asked int, err error) {
	rows, err := o.DB.Query(ctx, `select id from ach_file where state = 'released' and written_on is null and missed_on is null and effective_on <= $1 order by id`, o.Day)
	if err != nil {
		return nil, 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		err := pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
			info, err := fileForUpdate(ctx, tx, id)
			if err != nil || !info.WrittenOn.IsZero() || !info.MissedOn.IsZero() {
				return err
			}
			file := info.outgoing(dir)
			switch at, err := file.Find(); {
			case err != nil:
				return err
			case at == delivery.Out:
				return o.isOut(ctx, tx, info)
			case at == delivery.Nowhere && !info.ReadyOn.IsZero():
				asked++
				return o.isGone(ctx, tx, info)
			}
			if err := file.Drop(); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `update ach_file set missed_on = $2 where id = $1`, id, o.Day); err != nil {
				return err
			}
			missed, asked = append(missed, info), asked+1
			return o.askAboutFile(ctx, tx, info, fmt.Sprintf("%s released it on %s, but it was not put into the outbox before its effective date, %s: it stays here, and its entries are withdrawn. Ask the bank whether it has it all the same before you release its debits again",
				info.ReleasedBy, info.ReleasedOn, info.EffectiveOn))
		})
		if err != nil {
			return missed, asked, err
		}
	}
	return missed, asked, nil
}

// WithdrawUnreleased takes back, in a key range of accounts, the debits whose
// day has come although nobody released their file, or although it was not
// handed over in time (TakeBack): what was due is due again, and the next
// autopay run builds them for the next banking day. It has to run before
// anything posts on that day. The tally skips each with the reason not_released
// or not_sent, since they are debits that do not post.
func WithdrawUnreleased(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range) (billing.Tally, error) {
	var t billing.Tally
	// From here on it is too late to release them; who tries meanwhile waits
	// for this row, and is told so.
	if _, err := tx.Exec(ctx, `update ach_file set state = 'withdrawn' where state in ('open', 'sealed') and effective_on <= $1`, day); err != nil {
		return t, err
	}
	rows, err := tx.Query(ctx, `select a.id from account a where a.id >= $2 and a.id < $3 and a.pending > 0 and exists (
			select from debit d join receipt r on r.account_id = a.id and r.no = d.receipt and r.state = 'pending' and r.posts_on <= $1 left join ach_file f on f.id = d.file_id
			where d.account_id = a.id and d.account_id >= $2 and d.account_id < $3 and d.state = 'built' and (f.state is distinct from 'released' or f.missed_on is not null)) order by a.id`, day, in.From, in.To)
	if err != nil {
		return t, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return t, err
	}
	err = billing.InParts(ctx, tx, billing.Whole, ids, func(b *billing.Book) error {
		released, missed, err := releasedFiles(ctx, tx, b)
		if err != nil {
			return err
		}
		for _, a := range b.Accounts {
			for _, d := range a.Debits {
				late := d.FileID != nil && missed[*d.FileID]
				if d.State != billing.DebitBuilt || d.EffectiveOn > day || d.FileID != nil && released[*d.FileID] && !late || a.Receipt(d.Receipt).State != billing.Pending {
					continue
				}
				code, why := billing.NotReleased, "nobody released its file"
				if late {
					code, why = billing.NotSent, "its file was not put into the outbox in time"
				}
				a.WithdrawDebit(d, day, billing.Exception{On: day, Job: "post", Code: code, Subject: d.Cycle.String(),
					Detail: fmt.Sprintf("the debit of %s effective %s was withdrawn: %s", d.Cents, d.EffectiveOn, why)})
				t.Pass(a.ID, code, d.Cycle.String())
			}
		}
		return nil
	})
	return t, err
}

// releasedFiles tells which of the files that the accounts' debits are in were
// released, and which of those were not handed over in time.
func releasedFiles(ctx context.Context, tx pgx.Tx, b *billing.Book) (released, missed map[int64]bool, err error) {
	var ids []int64
	for _, a := range b.Accounts {
		for _, d := range a.Debits {
			if d.FileID != nil {
				ids = append(ids, *d.FileID)
			}
		}
	}
	rows, err := tx.Query(ctx, `select id, missed_on is not null from ach_file where state = 'released' and id = any($1)`, ids)
	if err != nil {
		return nil, nil, err
	}
	released, missed = map[int64]bool{}, map[int64]bool{}
	var id int64
	var late bool
	_, err = pgx.ForEachRow(rows, []any{&id, &late}, func() error {
		released[id], missed[id] = true, late
		return nil
	})
	return released, missed, err
}
