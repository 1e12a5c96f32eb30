package jobs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/postgres"
)

// Dry gives a runner that works like this one and leaves no trace: in one
// transaction that is rolled back, on links to the inbox's files, in a folder
// that goes away. Nothing is drawn, delivered or asked of a gateway. Others
// who change accounts wait until it is over.
func (r Runner) Dry(ctx context.Context, do func(Runner) error) error {
	if err := r.sweepDry(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(r.Dir, dryPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mine, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer mine.Close()
	if err := syscall.Flock(int(mine.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if err := linkFolder(filepath.Join(r.Dir, "inbox"), filepath.Join(dir, "inbox")); err != nil {
		return err
	}
	return postgres.Dry(ctx, r.DB.(*pgxpool.Pool), func(db postgres.DB) error {
		dry := r
		dry.DB, dry.Dir, dry.Workers, dry.dry = db, dir, 1, true
		return do(dry)
	})
}

const dryPrefix = ".dry-"

// sweepDry removes the folders of dry runs that were killed: the files linked
// there would outlive their own removal. Who still works on one holds its lock.
func (r Runner) sweepDry() error {
	there, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range there {
		if !strings.HasPrefix(e.Name(), dryPrefix) {
			continue
		}
		dir := filepath.Join(r.Dir, e.Name())
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = os.RemoveAll(dir)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// linkFolder makes a folder with links to the files of another and of those in
// it. A file that has gone meanwhile is left out.
func linkFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		within, _ := filepath.Rel(from, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, within), 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		if err := os.Link(path, filepath.Join(to, within)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
