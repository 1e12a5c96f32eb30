package rehearsal_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/billcycle/billcycle/calendar"
)

// fill fills the disk of the house, or of the server, in the middle of a night,
// and makes room again.
func (x *tormentor) fill(ctx context.Context, day calendar.Date, f fault) error {
	dir, room := x.house.Dir, x.dice.Int64N(2<<10)
	if !f.out && x.dice.IntN(2) == 0 {
		dir, room = x.server.dir, x.dice.Int64N(64<<10)
	}
	ballast := filepath.Join(dir, "ballast")
	var failed error
	x.x.set("opening", &trap{at: f.at.moment, nth: f.nth, past: f.past, still: true, spring: func(*line) { failed = fillUp(ballast, room) }})
	p, err := x.run(ctx, "nightly", "--date", day.String())
	if err := errors.Join(err, failed, os.RemoveAll(ballast), x.server.reopen(ctx)); err != nil {
		return err
	}
	x.scratch.Pool.Reset()
	if !x.x.sprung() {
		return x.cameThrough(p)
	}
	f.at.moment = x.x.at()
	x.note(f)
	if p.code == 75 {
		x.did["full disk, felt"]++
	}
	return stopped(p)
}

// fillUp fills the disk that a file is on, but for some room.
func fillUp(path string, room int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for block := make([]byte, 1<<20); err == nil; {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return f.Truncate(max(0, size-room))
}
