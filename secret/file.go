package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Load reads the keys from a file, or makes the file, mode 0600, with new
// keys. Whoever has the file can read every account number, and without it
// nobody can: keep a copy, apart from the database's.
func Load(path string) (*Keys, error) {
	r, err := read(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = create(path); err == nil {
			r, err = read(path) // ours, or that of a program that was faster
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the keys file %s: %w", path, err)
	}
	k := &Keys{path: path}
	k.now.Store(r)
	return k, nil
}

// ReadFile reads a file that only its owner may use: keys, a password, a
// passphrase. One that others may read or write, or that is no file, is an
// error that says what to do.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a file (%s)", info.Mode())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may use it (mode %04o): chmod 600 %s, and if they may have read it, rotate the keys",
			info.Mode().Perm(), path)
	}
	return io.ReadAll(f)
}

func read(path string) (*ring, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("it can't be read (%w); restore it from your copy, for new keys would not open what the old ones sealed", err)
	}
	return r, nil
}

// create makes the file with new keys. It appears whole or not at all, and
// never in place of another.
func create(path string) error {
	r, err := newRing()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := write(f, r); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// rotateFile replaces the file by one with a new key. It starts from what the
// file holds now: another program may have rotated too. The caller holds
// k.rotating.
func (k *Keys) rotateFile() error {
	temporary := k.path + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there: another program is rotating the keys just now, or was killed at it; if none is, remove that file and try again", temporary)
	}
	if err != nil {
		return err
	}
	r, err := read(k.path)
	if err == nil {
		r, err = r.rotated()
	}
	if err == nil {
		err = write(f, r)
	} else {
		f.Close()
	}
	if err == nil {
		err = os.Rename(temporary, k.path)
	}
	if err != nil {
		os.Remove(temporary) // after the rename it could be another program's
		return fmt.Errorf("rotating the keys of %s: %w", k.path, err)
	}
	k.now.Store(r)
	return syncFolder(filepath.Dir(k.path))
}

// reload reads the file again if nobody else has since seen was current.
func (k *Keys) reload(seen *ring) (*ring, error) {
	if k.path == "" {
		return seen, nil
	}
	k.rotating.Lock()
	defer k.rotating.Unlock()
	if r := k.now.Load(); r != seen {
		return r, nil
	}
	r, err := read(k.path)
	if err != nil {
		return nil, fmt.Errorf("the keys file %s: %w", k.path, err)
	}
	k.now.Store(r)
	return r, nil
}

func write(f *os.File, r *ring) error {
	text, err := r.encode()
	if err != nil {
		f.Close()
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
