package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/watch"
)

// The story of long work, on stderr: lines for people, with a last line of
// progress on a terminal, or records by log/slog for programs (--log).

// screen is where lines go, above a last one that changes. Many may write at
// once.
type screen struct {
	out      io.Writer
	terminal bool

	mu   sync.Mutex
	last string // on the terminal now, "" for none
}

const eraseLine = "\r\x1b[K"

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, is := out.(*os.File); is {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" {
		return s.out.Write(lines)
	}
	_, err := io.WriteString(s.out, eraseLine+string(lines)+s.last)
	return len(lines), err
}

// progress changes the last line; without a terminal it is a line like others.
func (s *screen) progress(line string) {
	if !s.terminal {
		if line != "" {
			fmt.Fprintln(s, line)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if line != s.last {
		s.last = line
		io.WriteString(s.out, eraseLine+line)
	}
}

// records turns lines into records of a log.
type records struct{ log *slog.Logger }

func (r records) Write(lines []byte) (int, error) {
	for line := range strings.Lines(string(lines)) {
		if line = strings.TrimSpace(line); line != "" {
			r.log.Info(line)
		}
	}
	return len(lines), nil
}

// openStory opens the story as --log says.
func (p *program) openStory(format string) error {
	level := slog.LevelInfo
	if p.quiet {
		level = slog.LevelError
	}
	how := &slog.HandlerOptions{Level: level}
	switch format {
	case "", "plain":
		p.screen = newScreen(p.err)
	case "text":
		p.log = slog.New(slog.NewTextHandler(p.err, how))
	case "json":
		p.log = slog.New(slog.NewJSONHandler(p.err, how))
	default:
		return wrongUsage("--log %s: want plain, text or json", format)
	}
	return nil
}

// story is where the course of long work is told; nil for --quiet.
func (p *program) story() io.Writer {
	switch {
	case p.quiet:
		return nil
	case p.log != nil:
		return records{p.log}
	case p.screen != nil:
		return p.screen
	}
	return p.err
}

// tell writes a line of the story.
func (p *program) tell(format string, args ...any) {
	if to := p.story(); to != nil {
		fmt.Fprintf(to, format+"\n", args...)
	}
}

// event tells what has happened, with figures that programs can read in a log.
func (p *program) event(level slog.Level, what string, attrs ...any) {
	if p.log != nil {
		p.log.Log(context.Background(), level, what, attrs...)
		return
	}
	var words []string
	for n := 0; n+1 < len(attrs); n += 2 {
		words = append(words, fmt.Sprintf("%v %v", attrs[n], attrs[n+1]))
	}
	p.tell("%s: %s", what, strings.Join(words, ", "))
}

// slogger is the story as a log, for who can only write to one.
func (p *program) slogger() *slog.Logger {
	if p.log != nil {
		return p.log
	}
	to := p.story()
	if to == nil {
		to = io.Discard
	}
	return slog.New(slog.NewTextHandler(to, nil))
}

// progress tells how far the runs under way have come, until stop is called:
// on a terminal each second, else each minute.
func (p *program) progress(ctx context.Context, house jobs.House) (stop func()) {
	if p.quiet {
		return func() {}
	}
	every, tell := time.Minute, func(line string) {
		if line != "" {
			p.tell("%s", line)
		}
	}
	if p.screen != nil && p.screen.terminal {
		every, tell = time.Second, p.screen.progress
	}
	ctx, cancel := context.WithCancel(ctx)
	ticker := time.NewTicker(every)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch.Progress(ctx, house.DB, p.now, ticker.C, tell)
	}()
	return func() {
		cancel()
		ticker.Stop()
		<-done
		if p.screen != nil && p.screen.terminal {
			p.screen.progress("")
		}
	}
}
