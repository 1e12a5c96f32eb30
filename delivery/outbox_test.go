package delivery

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func says(text string) func(io.Writer) error {
	return func(to io.Writer) error {
		_, err := io.WriteString(to, text)
		return err
	}
}

// files lists a folder, hidden files too.
func files(t *testing.T, dir string) (names string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names += e.Name() + " "
	}
	return strings.TrimSpace(names)
}

func TestOutgoing(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("debits"))
	f := Outgoing{filepath.Join(dir, "a.ach"), sum[:]}
	is := func(when string, want Found, names string) {
		t.Helper()
		if at, err := f.Find(); at != want || err != nil {
			t.Errorf("%s: found at %d, %v, want %d", when, at, err, want)
		}
		if got := files(t, dir); got != names {
			t.Errorf("%s: there are %q, want %q", when, got, names)
		}
	}
	names := func(when string, want bool) {
		t.Helper()
		if out, err := f.GiveName(); out != want || err != nil {
			t.Errorf("%s: named %v, %v, want %v", when, out, err, want)
		}
	}
	is("at first", Nowhere, "")
	names("nothing there", false)

	if _, err := f.Lay(says("other debits")); err == nil || !strings.Contains(err.Error(), "do not send it") {
		t.Errorf("other bytes: %v", err)
	}
	if _, err := f.Lay(func(io.Writer) error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half of it: %v", err)
	}
	is("after failures", Nowhere, "")

	got, err := f.Lay(says("debits"))
	if err != nil || !bytes.Equal(got, sum[:]) {
		t.Fatalf("%x %v", got, err)
	}
	is("laid out", Laid, ".a.ach.whole")
	if info, err := os.Stat(filepath.Join(dir, ".a.ach.whole")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	names("laid out", true)
	is("named", Out, "a.ach")
	if _, err := f.Lay(says("debits")); err != nil { // by one that was taken for dead
		t.Fatal(err)
	}
	names("named, and laid out again", true)
	is("still", Out, "a.ach")
	if err := os.Remove(f.Path); err != nil { // carried away
		t.Fatal(err)
	}
	names("carried away", false)
	is("carried away", Nowhere, "")

	if err := os.WriteFile(filepath.Join(dir, ".a.ach.whole"), []byte("deb"), 0o600); err != nil {
		t.Fatal(err)
	}
	is("torn", Torn, ".a.ach.whole")
	if out, err := f.GiveName(); out || err == nil {
		t.Errorf("a torn file: %v %v", out, err)
	}
	if err := errors.Join(f.Drop(), f.Drop()); err != nil {
		t.Error(err)
	}
	is("dropped", Nowhere, "")

	if err := os.WriteFile(f.Path, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lay(says("debits")); err != nil {
		t.Fatal(err)
	}
	if out, err := f.GiveName(); out || err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("over another's file: %v %v", out, err)
	}
	if text, err := os.ReadFile(f.Path); string(text) != "another's" || err != nil {
		t.Errorf("it is %q now, %v", text, err)
	}
}

// A program that was taken for dead while it laid a file out goes on when it wakes
// up. What another has made meanwhile stays as it is, and what was carried away does
// not come back.
func TestZombieLaysNothing(t *testing.T) {
	dir := t.TempDir()
	sum := sha256.Sum256([]byte("whole"))
	f := Outgoing{filepath.Join(dir, "bundle.pdf"), sum[:]}
	_, err := f.Lay(func(zombie io.Writer) error {
		if _, err := zombie.Write([]byte("who")); err != nil {
			return err
		}
		if _, err := f.Lay(says("whole")); err != nil {
			t.Fatal(err)
		}
		if out, err := f.GiveName(); !out || err != nil {
			t.Fatal(out, err)
		}
		if err := os.Remove(f.Path); err != nil {
			t.Fatal(err)
		}
		return says("le")(zombie)
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the zombie was told %v", err)
	}
	if left := files(t, dir); left != "" {
		t.Errorf("left are %q", left)
	}
}

// What the dead have left goes, and a file is laid out, in a folder of any name.
func TestFolderOfAnyName(t *testing.T) {
	for _, name := range []string{"[prod]", "a[b", "a*", "a?"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{".a.ach.1.tmp", ".other.ach.1.tmp"} {
			if err := os.WriteFile(filepath.Join(dir, left), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := (Outgoing{Path: filepath.Join(dir, "a.ach")}).Lay(says("debits")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, want := files(t, dir), ".a.ach.whole .other.ach.1.tmp"; got != want {
			t.Errorf("%s: there are %q, want %q", name, got, want)
		}
	}
}
