package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Store keeps files by the SHA-256 of their content, for years.
type Store interface {
	// Put keeps content and returns its hash. What is kept already stays.
	Put(ctx context.Context, content []byte) ([sha256.Size]byte, error)
	// Get gives back what has that hash, or ErrNotKept. It never returns other
	// content.
	Get(ctx context.Context, sum [sha256.Size]byte) ([]byte, error)
}

// ErrNotKept says that a store has nothing of that hash.
var ErrNotKept = errors.New("nothing of that hash is kept")

// key is where content lies in a store: 256 folders, the whole hash as its name.
func key(sum [sha256.Size]byte) string {
	name := hex.EncodeToString(sum[:])
	return name[:2] + "/" + name + ".pdf"
}

// Directory is a Store below a folder of the local disk.
type Directory string

// Path is where the content of a hash lies, if it is kept.
func (d Directory) Path(sum [sha256.Size]byte) string { return filepath.Join(string(d), key(sum)) }

// Put implements Store. The file appears whole or not at all; it is not synced,
// as statements can be made again from what is sealed in the database.
func (d Directory) Put(_ context.Context, content []byte) (sum [sha256.Size]byte, err error) {
	sum = sha256.Sum256(content)
	path := d.Path(sum)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(content)) {
		return sum, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return sum, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".*.part") // mode 0600
	if err != nil {
		return sum, err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return sum, err
}

// Get implements Store.
func (d Directory) Get(_ context.Context, sum [sha256.Size]byte) ([]byte, error) {
	content, err := os.ReadFile(d.Path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotKept
	}
	return whole(content, sum, d.Path(sum), err)
}

// whole checks that content is what was asked for.
func whole(content []byte, sum [sha256.Size]byte, where string, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(content); got != sum {
		return nil, fmt.Errorf("%s has the hash %x: it was altered", where, got)
	}
	return content, nil
}
