package lockbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/billcycle/billcycle/lockbox"
)

// onRead does something once so much of the content has been read.
type onRead struct {
	io.ReadSeeker
	after, read int
	once        sync.Once
	do          func()
}

func (r *onRead) Read(p []byte) (int, error) {
	n, err := r.ReadSeeker.Read(p[:min(len(p), 500)])
	if r.read += n; r.read > r.after {
		r.once.Do(r.do)
	}
	return n, err
}

// Two people decide about a held file at the same time. Whoever is first, one of
// them is told that it is too late, and the file is what the other said.
func TestHeldFileOfTwoMinds(t *testing.T) {
	const day = "2026-03-17"
	for _, after := range []int{0, 16000} { // while it is inspected, while it is laid out
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			m := newMail(t)
			m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1", 100, "2026-03-16", ""))))
			var others []lockbox.Item
			for n := range int64(20) {
				others = append(others, check(fmt.Sprint(2+n), 200, "2026-03-16", ""))
			}
			differs := m.file("0700", batch("001", others...))
			held := m.ingest(day, "F2", differs)
			if held.Held != 20 {
				t.Fatalf("%+v", held)
			}
			refused := make(chan error, 1)
			content := &onRead{ReadSeeker: bytes.NewReader(differs), after: after, do: func() {
				go func() { refused <- m.desk(day).RefuseHeld(t.Context(), held.FileID, "the bank is mistaken") }()
				time.Sleep(200 * time.Millisecond)
			}}
			desk := m.desk(day)
			desk.ChunkItems = 4
			_, taken := desk.TakeHeld(t.Context(), held.FileID, content, "the bank counts anew")
			content.once.Do(content.do)
			no := <-refused
			if (taken == nil) == (no == nil) || !errors.Is(errors.Join(taken, no), lockbox.ErrNotNow) {
				t.Errorf("take: %v; refuse: %v", taken, no)
			}
			if n := m.one(`select count(*) from lockbox_item where file_id = $1`, held.FileID); (n == 20) != (taken == nil) {
				t.Errorf("%d of its checks are there", n)
			}
			m.proven()
		})
	}
}
