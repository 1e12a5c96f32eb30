package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/notices"
)

// The outbox: files of JSON lines for those who carry things on, and the CSV of
// the general ledger. A run adds rows to a file of its own in the database; what
// is in them is settled then.
// The bytes follow from the rows alone, their hash is stored before the file
// appears, and a crash at any moment leads to the same bytes, once
// (delivery.Outgoing).

// writeRows writes a file's rows and returns how many there are.
type writeRows func(ctx context.Context, tx pgx.Tx, file int64, madeOn calendar.Date, to io.Writer) (int, error)

// outgoing are the folders of the outbox that are filled this way.
var outgoing = map[string]writeRows{"card": cards.WriteFile, cards.GatewayFolder: cards.WriteFile, "notices": notices.WriteFile, "journal": writeJournal}

// outFile is a file of the outbox.
type outFile struct {
	id     int64
	name   string
	madeOn calendar.Date
	sha256 []byte // nil while rows are still added

	rows    int
	readyOn calendar.Date // its bytes were laid out
}

// openOut returns the file of a folder to which the run adds its rows: one that
// a killed run of the day has left open, or a new one. Jobs that fill the same
// folder name their files otherwise, and leave each other's alone: one may have
// been killed in the middle of its own.
func (r *Run) openOut(ctx context.Context, folder, called string) (file int64, err error) {
	err = r.DB.QueryRow(ctx, `select id from outbox_file where folder = $1 and made_on = $2 and sha256 is null and name like $3 || '-%' order by id limit 1`, folder, r.Day, called).Scan(&file)
	if !errors.Is(err, pgx.ErrNoRows) {
		return file, err
	}
	err = r.DB.QueryRow(ctx, `insert into outbox_file (folder, name, made_on) select $1, $3 || '-' || to_char($2::date, 'YYYYMMDD') || '-' || count(*) + 1 || '.jsonl', $2
		from outbox_file where folder = $1 and made_on = $2 and name like $3 || '-%' returning id`, folder, r.Day, called).Scan(&file)
	return file, err
}

// errSealed says that a run of another date has closed a file that this one fills.
var errSealed = fmt.Errorf("%w: it has sealed the outbox file of this one", ErrBusy)

// adding keeps a file open as long as the transaction that adds rows to it.
func adding(ctx context.Context, tx pgx.Tx, file int64) error {
	err := tx.QueryRow(ctx, `select id from outbox_file where id = $1 and sha256 is null for share`, file).Scan(&file)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errSealed
	}
	return err
}

// sendOut seals the files of a folder, called so, that runs up to this day have
// filled, and puts every sealed one out that was not before. A file without rows
// is forgotten.
func (r *Run) sendOut(ctx context.Context, folder, called string) error {
	return r.stepOut(ctx, folder, called, `written_on is null`, r.sealOut, r.layOut, r.putOut)
}

// sealOnly seals files whose content goes another way than through the outbox:
// there they never appear.
func (r *Run) sealOnly(ctx context.Context, folder string) error {
	return r.stepOut(ctx, folder, folder, `sha256 is null`, r.sealOut)
}

func (r *Run) stepOut(ctx context.Context, folder, called, which string, steps ...func(context.Context, pgx.Tx, string, outFile) error) error {
	rows, err := r.DB.Query(ctx, `select id from outbox_file where folder = $1 and made_on <= $2 and name like $3 || '-%' and `+which+` order by id`, folder, r.Day, called)
	if err != nil {
		return err
	}
	files, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, file := range files {
		for _, step := range steps {
			if err := r.lockedOut(ctx, folder, file, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockedOut does something to a file that is not written yet, one program at a
// time.
func (r *Run) lockedOut(ctx context.Context, folder string, file int64, do func(context.Context, pgx.Tx, string, outFile) error) error {
	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		f := outFile{id: file}
		err := tx.QueryRow(ctx, `select name, made_on, sha256, rows, ready_on from outbox_file where id = $1 and written_on is null for update`, file).Scan(&f.name, &f.madeOn, &f.sha256, &f.rows, &f.readyOn)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = do(ctx, tx, folder, f)
		}
		if err != nil {
			return fmt.Errorf("outbox/%s/%s: %w", folder, f.name, err)
		}
		return nil
	})
}

// sealOut closes a file and stores the hash of its bytes.
func (r *Run) sealOut(ctx context.Context, tx pgx.Tx, folder string, f outFile) error {
	if f.sha256 != nil {
		return nil
	}
	sum := sha256.New()
	lines, err := outgoing[folder](ctx, tx, f.id, f.madeOn, sum)
	switch {
	case err != nil:
		return err
	case lines == 0:
		_, err = tx.Exec(ctx, `delete from outbox_file where id = $1`, f.id)
	default:
		_, err = tx.Exec(ctx, `update outbox_file set sha256 = $2, rows = $3 where id = $1`, f.id, sum.Sum(nil), lines)
	}
	return err
}

// layOut lays out the bytes of a sealed file, unless they were before.
func (r *Run) layOut(ctx context.Context, tx pgx.Tx, folder string, f outFile) error {
	file := r.outgoing(folder, f)
	at, err := file.Find()
	if err != nil || at == delivery.Out || !f.readyOn.IsZero() && at != delivery.Torn {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file.Path), 0o700); err != nil {
		return err
	}
	if _, err := file.Lay(func(to io.Writer) error {
		_, err := outgoing[folder](ctx, tx, f.id, f.madeOn, to)
		return err
	}); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update outbox_file set ready_on = $2 where id = $1`, f.id, r.Day)
	return err
}

// putOut gives a file its name, and notes it.
func (r *Run) putOut(ctx context.Context, tx pgx.Tx, folder string, f outFile) error {
	out, err := r.outgoing(folder, f).GiveName()
	if err != nil {
		return err
	}
	if out {
		r.note("outbox/%s/%s: %d lines", folder, f.name, f.rows)
	} else if err := r.isGone(ctx, tx, folder, f); err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, `update outbox_file set written_on = $2 where id = $1`, f.id, r.Day); err != nil {
		return err
	}
	return r.queue(ctx, tx, delivery.Parcel{Folder: folder, Name: f.name, SHA256: f.sha256})
}

// isGone puts a file before a person that had its name and was carried away before
// that was noted, since somebody may have cleared the outbox instead.
func (r *Run) isGone(ctx context.Context, tx pgx.Tx, folder string, f outFile) error {
	r.waits++
	r.note("outbox/%s/%s: it was whole there and is gone: it is not made again", folder, f.name)
	return billing.Raise(ctx, tx, 0, billing.Exception{On: r.Day, Job: r.Job, Code: delivery.Gone, Subject: f.name,
		Detail: fmt.Sprintf("it was whole in outbox/%s on %s and is there no more, so it is taken as carried on, and not made again: %s", folder, f.readyOn, askAbout[folder])})
}

// askAbout says what a person does about a file that is gone.
var askAbout = map[string]string{
	"card":    "ask the gateway or the processor whether they have it; if not, answer its charges as declined",
	"notices": "ask the carrier of messages whether they have it; if not, tell its members otherwise",
	"journal": "see whether the general ledger has it; if not, journal get writes it again",
}

// outgoing is a file as the outbox knows it.
func (r *Run) outgoing(folder string, f outFile) delivery.Outgoing {
	return delivery.Outgoing{Path: filepath.Join(r.Dir, "outbox", folder, f.name), SHA256: f.sha256}
}

// proveOutbox holds the rows of every sealed file of the outbox against its
// hash.
func (h House) proveOutbox(ctx context.Context, tx pgx.Tx) (Proof, error) {
	p := Proof{Name: "outbox_as_sealed", Says: "the rows of every outbox file still give the bytes that were sealed", Holds: true, Examples: []string{}}
	rows, err := tx.Query(ctx, `select folder, id, name, made_on, sha256 from outbox_file where sha256 is not null order by id`)
	if err != nil {
		return p, err
	}
	var folder string
	var f outFile
	var folders []string
	var files []outFile
	if _, err := pgx.ForEachRow(rows, []any{&folder, &f.id, &f.name, &f.madeOn, &f.sha256}, func() error {
		folders, files = append(folders, folder), append(files, f)
		return nil
	}); err != nil {
		return p, err
	}
	for n, f := range files {
		sum := sha256.New()
		if _, err := outgoing[folders[n]](ctx, tx, f.id, f.madeOn, sum); err != nil {
			return p, err
		}
		if !bytes.Equal(sum.Sum(nil), f.sha256) {
			p.broken("%s/%s", folders[n], f.name)
		}
	}
	return p, nil
}
