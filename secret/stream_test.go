package secret

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func sealFile(t testing.TB, k *Keys, plain, context string) []byte {
	t.Helper()
	var sealed bytes.Buffer
	if err := k.SealFile(&sealed, strings.NewReader(plain), context); err != nil {
		t.Fatal(err)
	}
	return sealed.Bytes()
}

func TestSealedFiles(t *testing.T) {
	k := newKeys(t)
	for _, n := range []int{0, 1, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 7, 4 * pieceBytes} {
		plain := strings.Repeat("0098765432", n/10+1)[:n]
		sealed := sealFile(t, k, plain, "archive/lockbox/a.bai")
		var out bytes.Buffer
		if of, err := k.OpenFile(&out, bytes.NewReader(sealed)); err != nil || of != "archive/lockbox/a.bai" || out.String() != plain {
			t.Errorf("%d bytes: %q, %v, %d bytes", n, of, err, out.Len())
		}
		if n > 0 && bytes.Contains(sealed, []byte("0098765432")) {
			t.Errorf("%d bytes: they stand there in the clear", n)
		}
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
		if _, err := k.OpenFile(io.Discard, bytes.NewReader(sealed)); err != nil {
			t.Errorf("%d bytes, after a rotation: %v", n, err)
		}
	}
}

// Whatever was done to a sealed file, it does not open.
func TestDamagedSealedFiles(t *testing.T) {
	k := newKeys(t)
	sealed := sealFile(t, k, strings.Repeat("x", 2*pieceBytes+10), "archive/lockbox/a.bai")
	piece := 4 + pieceBytes + 33
	head := len(sealed) - 2*piece - 4 - 10 - 33
	first, second := sealed[head:head+piece], sealed[head+piece:head+2*piece]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for what, damaged := range map[string][]byte{
		"nothing": nil, "its beginning": sealed[:head-3], "no piece": sealed[:head], "cut after a piece": sealed[:head+piece], "cut in a piece": sealed[:head+piece+1000], "cut in a length": sealed[:head+piece+2],
		"swapped":       join(sealed[:head], second, first, sealed[head+2*piece:]),
		"twice":         join(sealed[:head], first, first, sealed[head+2*piece:]),
		"lengthened":    join(sealed, first),
		"another place": bytes.Replace(sealed, []byte("a.bai"), []byte("b.bai"), 1),
		"a byte":        join(sealed[:head+100], []byte{sealed[head+100] ^ 1}, sealed[head+101:]),
		"a length":      join(sealed[:head], []byte{0xff}, sealed[head+1:]),
		"plain":         []byte("100EXAMPLEHLT"),
	} {
		if _, err := k.OpenFile(io.Discard, bytes.NewReader(damaged)); err == nil {
			t.Errorf("%s: it opens", what)
		}
	}
	if _, err := newKeys(t).OpenFile(io.Discard, bytes.NewReader(sealed)); err == nil {
		t.Error("it opens with other keys")
	}
	broken := io.MultiReader(strings.NewReader("abc"), failing{})
	if err := k.SealFile(io.Discard, broken, "x"); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

var errBroken = errors.New("the disk is broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }
