package delivery

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/billcycle/billcycle/postgres"
)

// How a file gets into the outbox, and why at most once:
//
//	nothing            it was not laid out yet
//	.NAME.whole        its bytes lie there, whole, under a name that nobody takes
//	NAME               it is out, and may be carried away at any moment
//	nothing any more   it was carried away
//
// Who puts it out lays it there and commits a note of that, gives it its name
// and commits a note of that. Killed in between, the next to come looks: where
// the first note stands and neither name is there, the file has had its own, and
// is not made again. Made a second time it would debit, charge or mail twice.

// Gone is the reason of an exception: a file was laid out and is there no more,
// and no run has noted that it had its name.
const Gone = "file_gone"

// Outgoing is a file on its way into a folder of the outbox. Whoever moves it
// holds a lock on its row.
type Outgoing struct {
	Path   string // with the name that it gets
	SHA256 []byte // as it was sealed; nil while that is being done
}

// Found is where an outgoing file was found.
type Found int

// Where a file is. Only one that is Laid or Torn is known never to have had its
// name.
const (
	Nowhere Found = iota // not laid out yet or, where that was noted, carried away
	Torn                 // laid out, but with other bytes: a disk's fault
	Laid                 // laid out
	Out
)

// laid is where the bytes lie before they have their name.
func (f Outgoing) laid() string {
	return filepath.Join(filepath.Dir(f.Path), "."+filepath.Base(f.Path)+".whole")
}

// Lay lays out the bytes that write writes, synced, for the owner's eyes only,
// and returns their hash. Other bytes than were sealed are an error, and then
// nothing is laid out.
func (f Outgoing) Lay(write func(io.Writer) error) (sum []byte, err error) {
	// A name of its own: a program that was taken for dead, and wakes up, may
	// still write to that of another. What the dead have left goes, so that they
	// can't lay it out any more.
	dir, begins, ends := filepath.Dir(f.Path), "."+filepath.Base(f.Path)+".", ".tmp"
	there, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range there {
		if strings.HasPrefix(e.Name(), begins) && strings.HasSuffix(e.Name(), ends) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	out, err := os.CreateTemp(dir, begins+"*"+ends) // mode 0600
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	to := bufio.NewWriterSize(io.MultiWriter(out, hash), 1<<18)
	if err = write(to); err == nil {
		err = to.Flush()
	}
	if sum = hash.Sum(nil); err == nil && f.SHA256 != nil && !bytes.Equal(sum, f.SHA256) {
		err = fmt.Errorf("%s: its bytes have the hash %x, not %x as when it was sealed; do not send it", filepath.Base(f.Path), sum, f.SHA256)
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), f.laid())
	}
	if err != nil {
		os.Remove(out.Name())
		return nil, err
	}
	return sum, postgres.SyncFolder(dir)
}

// Find looks where the file is. Another one under its name is an error.
func (f Outgoing) Find() (Found, error) {
	sum, err := HashOf(f.Path)
	switch {
	case err == nil && bytes.Equal(sum, f.SHA256):
		return Out, nil
	case err == nil:
		return Nowhere, fmt.Errorf("%s is there already with other bytes (sha256 %x): find out where it comes from, move it away and run again", f.Path, sum)
	case !errors.Is(err, fs.ErrNotExist):
		return Nowhere, err
	}
	sum, err = HashOf(f.laid())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Nowhere, nil
	case err != nil:
		return Nowhere, err
	case !bytes.Equal(sum, f.SHA256):
		return Torn, nil
	}
	return Laid, nil
}

// GiveName gives the file its name, unless it has it, so that it stays after a
// power cut. It is not out if it is nowhere.
func (f Outgoing) GiveName() (out bool, err error) {
	at, err := f.Find()
	switch {
	case err != nil || at == Nowhere:
		return false, err
	case at == Torn:
		return false, fmt.Errorf("%s: the bytes that lie there for it are not those that were sealed; run again", f.Path)
	case at == Laid:
		err = os.Rename(f.laid(), f.Path)
	case at == Out: // and laid out again, it may be, by one that was taken for dead
		err = f.Drop()
	}
	if err != nil {
		return false, err
	}
	return true, postgres.SyncFolder(filepath.Dir(f.Path))
}

// Drop takes back what is laid out for a file.
func (f Outgoing) Drop() error {
	if err := os.Remove(f.laid()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// HashOf returns the SHA-256 of a file's content.
func HashOf(path string) ([]byte, error) {
	f, sum, _, err := openHashed(path)
	if err != nil {
		return nil, err
	}
	return sum, f.Close()
}
