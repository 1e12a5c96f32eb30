package rehearsal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres"
)

func mkdir(dir string) error { return os.MkdirAll(dir, 0o700) }

// edit is a change of one place of the source.
type edit struct{ file, old, new string }

// build builds the real program, with some places of its source changed. An
// edit that doesn't fit its file exactly once fails: the source has moved on.
func build(ctx context.Context, dir string, edits ...edit) (program string, err error) {
	texts := map[string]string{}
	for _, e := range edits {
		path, err := filepath.Abs(filepath.Join("..", e.file))
		if err != nil {
			return "", err
		}
		text, changed := texts[path]
		if !changed {
			b, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s holds %d times what is to be changed, not once; look at what became of\n%s", e.file, n, e.old)
		}
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	if err := mkdir(dir); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for path, text := range texts {
		replace[path] = filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Ext(path))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "billcycle")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/billcycle")
	cmd.Dir = ".."
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, said)
	}
	return program, nil
}

// ourServer is a PostgreSQL of our own, as durable as the product's, that can
// be stopped at once. (The throwaway one of the other tests would lose all.)
type ourServer struct {
	dir    string
	server *postgres.Server
	admin  *pgxpool.Pool // on its database postgres
}

func openServer(ctx context.Context, dir string) (*ourServer, error) {
	s := &ourServer{dir: dir}
	var err error
	if s.server, err = postgres.Open(ctx, postgres.Config{Data: dir}); err != nil {
		return nil, err
	}
	s.admin, err = pgxpool.New(ctx, s.server.URL())
	return s, err
}

// socket is the path to the server's socket.
func (s *ourServer) socket() (string, error) {
	u, err := url.Parse(s.server.URL())
	if err != nil {
		return "", err
	}
	return filepath.Join(u.Query().Get("host"), ".s.PGSQL."+u.Query().Get("port")), nil
}

// restart stops the server at once, as pg_ctl stop -m immediate does, and
// starts it: it has to recover from its log.
func (s *ourServer) restart(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.dir, "postgres", "cluster", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stopping PostgreSQL, process %d: %w", pid, err)
	}
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(time.Millisecond)
	}
	return s.reopen(ctx)
}

// reopen starts a server that has stopped.
func (s *ourServer) reopen(ctx context.Context) error {
	again, err := postgres.Open(ctx, postgres.Config{Data: s.dir})
	if err != nil {
		return err
	}
	err = s.server.Close() // ours is not the last hand on it
	s.server = again
	s.admin.Reset()
	return err
}

func (s *ourServer) close() error {
	s.admin.Close()
	return s.server.Close()
}

// world is a biller's house that the program works in through lines.
type world struct {
	program string
	policy  string // its file
	house   jobs.House
	server  *ourServer
	x       *exchange
	scratch *postgres.Scratch
	workers int
	clock   string // what the program takes for now, RFC 3339; "" for the system's
}

// A program that has not ended by then hangs.
const overdueAfter = 2 * time.Minute

// process is one call of the program.
type process struct {
	w      *world
	cmd    *exec.Cmd
	line   *line
	out    bytes.Buffer
	dead   chan struct{}
	killed bool // by a signal
	hung   bool // so that we had to
	code   int
}

// start starts the program on a line of its own.
func (w *world) start(ctx context.Context, args ...string) (*process, error) {
	l, err := w.x.newLine(w.scratch.Pool.Config().ConnConfig.Database)
	if err != nil {
		return nil, err
	}
	p := &process{w: w, line: l, dead: make(chan struct{})}
	l.of = p
	p.cmd = exec.Command(w.program, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.house.Dir, "BILLCYCLE_DATABASE=" + l.url, "BILLCYCLE_DATA=" + w.house.Dir, "BILLCYCLE_POLICY=" + w.policy,
		"GOMAXPROCS=" + strconv.Itoa(w.workers)} // a night works on as many ranges at once as it has processors
	if w.clock != "" {
		p.cmd.Env = append(p.cmd.Env, clockVariable+"="+w.clock)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, l.end(ctx))
	}
	overdue := time.AfterFunc(overdueAfter, func() {
		p.hung = true
		p.cmd.Process.Signal(syscall.SIGKILL)
	})
	go func() {
		p.cmd.Wait()
		overdue.Stop()
		status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		p.killed, p.code = status.Signaled(), status.ExitStatus()
		close(p.dead)
	}()
	return p, nil
}

// kill kills the process by SIGKILL and waits for its end, so that nothing of
// it goes on.
func (p *process) kill() {
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.dead
}

// isDead says whether the process has ended.
func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// end waits for the end of the process and cuts its line.
func (p *process) end(ctx context.Context) error {
	<-p.dead
	return p.line.end(ctx)
}

// done says whether the process did what it was called for, and maybe left
// something for a person.
func (p *process) done() bool { return !p.killed && (p.code == 0 || p.code == 3) }

func (p *process) String() string {
	text := strings.TrimSpace(p.out.String())
	if len(text) > 4500 {
		text = "..." + text[len(text)-1500:]
	}
	return fmt.Sprintf("%s: exit %d, killed %v\n%s", strings.Join(p.cmd.Args[1:], " "), p.code, p.killed, text)
}

// run runs the program to its end.
func (w *world) run(ctx context.Context, args ...string) (*process, error) {
	p, err := w.start(ctx, args...)
	if err != nil {
		return nil, err
	}
	return p, p.end(ctx)
}
