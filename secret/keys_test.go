package secret

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func load(t testing.TB, path string) *Keys {
	t.Helper()
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, k *Keys, plain, context string) []byte {
	t.Helper()
	sealed, err := k.Seal([]byte(plain), context)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func opens(t testing.TB, k *Keys, sealed []byte, context, want string) {
	t.Helper()
	if got, err := k.Open(sealed, context); err != nil || string(got) != want {
		t.Errorf("opened %q (%v), want %q", got, err, want)
	}
}

func TestSealAndOpen(t *testing.T) {
	k := newKeys(t)
	for _, plain := range []string{"", "000123456789", strings.Repeat("x", 10000)} {
		sealed := seal(t, k, plain, "autopay_method/1")
		opens(t, k, sealed, "autopay_method/1", plain)
		if len(sealed) != len(plain)+33 {
			t.Errorf("%d bytes became %d, want 33 more", len(plain), len(sealed))
		}
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Error("it stands there in the clear")
		}
		if bytes.Equal(sealed, seal(t, k, plain, "autopay_method/1")) {
			t.Error("the same number sealed twice looks the same")
		}
		if id, ok := KeyID(sealed); !ok || id != k.KeyIDs()[0] {
			t.Errorf("key %d, %v; want %d", id, ok, k.KeyIDs()[0])
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	k := newKeys(t)
	sealed := seal(t, k, "000123456789", "autopay_method/1")
	for i := range sealed {
		for bit := range 8 {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1 << bit
			if got, err := k.Open(altered, "autopay_method/1"); err == nil {
				t.Errorf("byte %d bit %d changed: opened %q", i, bit, got)
			}
		}
		if got, err := k.Open(sealed[:i], "autopay_method/1"); err == nil {
			t.Errorf("cut to %d bytes: opened %q", i, got)
		}
	}
	for _, context := range []string{"", "autopay_method/2", "autopay_method/10", "autopay_method"} {
		if got, err := k.Open(sealed, context); err == nil {
			t.Errorf("context %q: opened %q", context, got)
		}
	}
	_, err := newKeys(t).Open(sealed, "autopay_method/1")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(k.KeyIDs()[0])) || !strings.Contains(err.Error(), "autopay_method/1") {
		t.Errorf("with other keys: %v; want the key's id and the context", err)
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for name, k := range map[string]*Keys{"memory": newKeys(t), "file": load(t, path)} {
		t.Run(name, func(t *testing.T) {
			old := seal(t, k, "1111", "row/1")
			print := k.Fingerprint("routing", "1111")
			before := k.KeyIDs()
			if err := k.Rotate(); err != nil {
				t.Fatal(err)
			}
			after := k.KeyIDs()
			if len(after) != 2 || after[0] == before[0] || after[1] != before[0] {
				t.Errorf("keys %d, then %d; want a new one before the old", before, after)
			}
			opens(t, k, old, "row/1", "1111")
			fresh := seal(t, k, "2222", "row/2")
			opens(t, k, fresh, "row/2", "2222")
			if id, _ := KeyID(fresh); id != after[0] {
				t.Errorf("sealed with key %d, want the new one, %d", id, after[0])
			}
			if !bytes.Equal(k.Fingerprint("routing", "1111"), print) {
				t.Error("the fingerprint changed")
			}
		})
	}
}

// Two programs have the file open; what one seals after a rotation the other
// must open, and neither's rotation may lose the other's key.
func TestRotateBesideAnotherProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	a, b := load(t, path), load(t, path)
	sealed := [][]byte{seal(t, a, "one", "x"), seal(t, b, "one", "x")}
	for _, k := range []*Keys{a, b, a} {
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, seal(t, k, "one", "x"))
	}
	third := load(t, path)
	for _, k := range []*Keys{a, b, third} {
		for _, s := range sealed {
			opens(t, k, s, "x", "one")
		}
		if ids := k.KeyIDs(); len(ids) != 4 || !slices.Equal(ids[:1], a.KeyIDs()[:1]) {
			t.Errorf("keys %d, want 4 of them, %d first", ids, a.KeyIDs()[0])
		}
	}
	if !bytes.Equal(a.Fingerprint("x"), third.Fingerprint("x")) {
		t.Error("two programs with the same file make different fingerprints")
	}
}

func TestRotateInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	k := load(t, path)
	before := k.KeyIDs()
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); err == nil || !strings.Contains(err.Error(), path+".new") {
		t.Errorf("%v; want an error that names %s.new", err, path)
	}
	if !slices.Equal(k.KeyIDs(), before) || !slices.Equal(load(t, path).KeyIDs(), before) {
		t.Error("the keys changed")
	}
	if err := os.Remove(path + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	k := newKeys(t)
	seen := map[string]string{}
	for name, of := range map[string]func(*Keys) func(...string) []byte{
		"one":     func(k *Keys) func(...string) []byte { return k.Fingerprint },
		"payer's": func(k *Keys) func(...string) []byte { return k.Fingerprints("payer") },
		"other's": func(k *Keys) func(...string) []byte { return k.Fingerprints("other") },
	} {
		many := of(k)
		for _, parts := range [][]string{{}, {""}, {"", ""}, {"123"}, {"1", "23"}, {"12", "3"}, {"123", ""}, {"", "123"}, {"\x01123"}, {"1\x0223"}} {
			sum := many(parts...)
			if len(sum) != 32 || !bytes.Equal(sum, of(k)(parts...)) || !bytes.Equal(sum, many(parts...)) {
				t.Errorf("%s of %q: %x, want the same 32 bytes each time", name, parts, sum)
			}
			if other, there := seen[string(sum)]; there {
				t.Errorf("%s of %q is %s", name, parts, other)
			}
			seen[string(sum)] = fmt.Sprintf("%s of %q", name, parts)
		}
		if bytes.Equal(many("123"), of(newKeys(t))("123")) {
			t.Errorf("%s does not depend on the key", name)
		}
	}
}

func TestLoadMakesTheFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "keys")
	made := make([]*Keys, 8)
	var wait sync.WaitGroup
	for i := range made {
		wait.Go(func() {
			k, err := Load(path)
			if err != nil {
				t.Error(err)
			}
			made[i] = k
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	for _, k := range made[1:] {
		if !slices.Equal(k.KeyIDs(), made[0].KeyIDs()) {
			t.Errorf("keys %d and %d: two programs made different ones", k.KeyIDs(), made[0].KeyIDs())
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v (%v), want the file alone", entries, err)
	}
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o600}, {filepath.Dir(path), 0o700}} {
		if info, err := os.Stat(c.path); err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("%s: %v (%v), want mode %o", c.path, info.Mode(), err, c.mode)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "keys")
	load(t, good)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	type file struct {
		text string
		mode os.FileMode
		want string // in the error
	}
	for name, c := range map[string]file{
		"group may read":   {string(text), 0o640, "chmod 600"},
		"others may read":  {string(text), 0o604, "chmod 600"},
		"others may write": {string(text), 0o602, "mode 0602"},
		"empty":            {"", 0o600, "restore it from your copy"},
		"not JSON":         {"hello", 0o600, "restore it from your copy"},
		"cut off":          {string(text[:len(text)/2]), 0o600, "restore it from your copy"},
		"half of it":       {`{"sealing": {}}`, 0o600, "fingerprinting"},
		"another's JSON":   {`{"primaryKeyId": 1}`, 0o600, "primaryKeyId"},
		"no keys":          {`{"sealing": {}, "fingerprinting": {}}`, 0o600, "sealing"},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		if err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want an error with the path and %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), `"value"`) {
			t.Errorf("%s: the error shows keys: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != c.text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was taken for the file")
	}
}

func TestManyAtOnce(t *testing.T) {
	k := load(t, filepath.Join(t.TempDir(), "keys"))
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 50 {
				context := fmt.Sprintf("row/%d", j)
				opens(t, k, seal(t, k, "number", context), context, "number")
				k.Fingerprint(context)
				if i == 0 && j%10 == 0 {
					if err := k.Rotate(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if n := len(k.KeyIDs()); n != 6 {
		t.Errorf("%d keys, want 6", n)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKeys(f)
	f.Add([]byte{}, "")
	f.Add(seal(f, k, "000123456789", "a"), "b")
	f.Fuzz(func(t *testing.T, sealed []byte, context string) {
		if plain, err := k.Open(sealed, context); err == nil {
			t.Errorf("opened what was never sealed for %q: %q", context, plain)
		}
		opens(t, k, seal(t, k, string(sealed), context), context, string(sealed))
	})
}

func BenchmarkSeal(b *testing.B) {
	k, plain := newKeys(b), []byte("00012345678901234")
	for b.Loop() {
		if _, err := k.Seal(plain, "autopay_method/123456"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := newKeys(b)
	sealed := seal(b, k, "00012345678901234", "autopay_method/123456")
	for b.Loop() {
		if _, err := k.Open(sealed, "autopay_method/123456"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	k := newKeys(b)
	for b.Loop() {
		k.Fingerprint("021000021", "00012345678901234")
	}
}
