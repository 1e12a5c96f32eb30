package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// beChild is the program that a test starts in order to kill it. It says one
// line when it has come as far as the test wants, and stays.
func beChild(mode, argument string) {
	ctx := context.Background()
	var s *Server
	var err error
	switch mode {
	case "durable":
		if s, err = Open(ctx, Config{Data: argument}); err == nil {
			_, err = s.Main(ctx)
		}
	case "throwaway":
		if s, err = Open(ctx, Config{Throwaway: true}); err == nil {
			fmt.Println(s.URL())
		}
	case "connect":
		_, err = pgx.Connect(ctx, argument)
	}
	fmt.Println("result:", err)
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(s) // or its locks would be collected as garbage
}

// startChild starts one and returns the first line it says; it is killed at
// the test's end if not before.
func startChild(t *testing.T, mode, argument string, credential *syscall.Credential) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	if credential != nil {
		cmd.Path = "/proc/self/exe" // its real folder may be closed to the other user
		cmd.Dir = "/"
	}
	cmd.Env = append(os.Environ(), "BILLCYCLE_TEST_CHILD="+mode, "BILLCYCLE_TEST_ARGUMENT="+argument)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q and then %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}

func open(t *testing.T, data string) *Server {
	t.Helper()
	s, err := Open(t.Context(), Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// stopAtEnd ends whatever server the test left, so that the folder can go.
func stopAtEnd(t *testing.T, data string) {
	t.Cleanup(func() {
		c := &cluster{dir: filepath.Join(data, "postgres")}
		if err := c.stop(syscall.SIGQUIT); err != nil {
			t.Error(err)
		}
	})
}

func TestKilledProgramLeavesServerToTheNext(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	child, said := startChild(t, "durable", data, nil)
	if said != "result: <nil>" {
		t.Fatal(said)
	}
	before := (&cluster{dir: filepath.Join(data, "postgres")}).pid()
	kill(t, child)

	s := open(t, data)
	if now := s.cluster.pid(); before == 0 || now != before {
		t.Errorf("server %d, want the one that was there, %d", now, before)
	}
	shut(t, s)
	if pid := s.cluster.pid(); pid != 0 {
		t.Errorf("server %d still runs after the last Close", pid)
	}
}

func TestLastOneOutStopsServer(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	const programs = 4
	opened := make([]*Server, programs)
	var wait sync.WaitGroup
	for i := range opened { // all at the same moment, on a directory still empty
		wait.Go(func() {
			s, err := Open(t.Context(), Config{Data: data})
			if err != nil {
				t.Error(err)
			}
			opened[i] = s
		})
	}
	_, said := startChild(t, "durable", data, nil)
	wait.Wait()
	if t.Failed() || said != "result: <nil>" {
		t.Fatal(said)
	}
	pid := opened[0].cluster.pid()
	if pid == 0 {
		t.Fatal("no server")
	}
	for i, s := range opened {
		shut(t, s)
		if now := s.cluster.pid(); now != pid {
			t.Fatalf("server %d after Close %d of %d while the child has it open, want %d", now, i+1, programs, pid)
		}
	}
}

func TestKilledServerRecovers(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	s := open(t, data)
	pool, err := s.Main(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)"); err != nil {
		t.Fatal(err)
	}
	killed := s.cluster.pid()
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := open(t, data)
	if now := again.cluster.pid(); now == 0 || now == killed {
		t.Errorf("server %d, want a new one", now)
	}
	if n := query[int](t, withDatabase(again.URL(), mainDatabase), "SELECT count(*) FROM kept"); n != 1000 {
		t.Errorf("%d rows after recovery, want 1000", n)
	}
	pool.Close()
	shut(t, s)
	shut(t, again)
}

// After a crash and a reboot the pid file may name any process.
func TestStalePidFile(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	s := open(t, data)
	shut(t, s)

	// A process of the server's own user: the one PostgreSQL would be fooled by.
	other := exec.Command("cat")
	if os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.cluster.owner.uid), Gid: uint32(s.cluster.owner.gid)}}
	}
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer stdin.Close()
	for _, content := range []string{strconv.Itoa(other.Process.Pid), strconv.Itoa(os.Getpid()), "1", "4000000", "-1", "", "garbage"} {
		for _, name := range []string{"postmaster.pid", ".s.PGSQL.5432.lock"} {
			if err := os.WriteFile(filepath.Join(s.cluster.data(), name), []byte(content+"\n/somewhere\n1\n5432\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if pid := s.cluster.pid(); pid != 0 {
			t.Fatalf("%q taken for server %d", content, pid)
		}
		again, err := Open(t.Context(), Config{Data: data})
		if err != nil {
			t.Fatalf("with %q in the pid file: %v", content, err)
		}
		shut(t, again)
	}
}

func TestUnreadableParentAndLongPath(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	data := filepath.Join(closed, strings.Repeat("long/", 30))
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	if err := os.Chmod(closed, 0o700); err != nil { // root's alone, if we are root
		t.Fatal(err)
	}
	stopAtEnd(t, data)
	for range 2 { // made, and found again
		s := open(t, data)
		if v := query[string](t, s.URL(), "SHOW fsync"); v != "on" {
			t.Errorf("fsync %s on a durable server", v)
		}
		if v := query[string](t, s.URL(), "SELECT setting FROM pg_settings WHERE name = 'wal_compression' AND (setting = 'lz4' OR NOT 'lz4' = ANY (enumvals) AND setting <> 'off')"); v == "" {
			t.Error("whole pages are not logged as cheaply as the server could")
		}
		pool, err := s.Main(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pool.Close()
		shut(t, s)
	}
}

func TestSquattedSocketFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	private := filepath.Join(os.TempDir(), "billcycle-"+strconv.Itoa(os.Geteuid()))
	long := &cluster{dir: "/" + strings.Repeat("long/", 30) + "postgres"}
	for name, squat := range map[string]func() error{
		"open to others": func() error { return errors.Join(os.Mkdir(private, 0o700), os.Chmod(private, 0o777)) },
		"a link":         func() error { return os.Symlink(t.TempDir(), private) },
		"a file":         func() error { return os.WriteFile(private, nil, 0o600) },
	} {
		if err := squat(); err != nil {
			t.Fatal(err)
		}
		if path, err := long.socketFolder(); err == nil || !strings.Contains(err.Error(), private) {
			t.Errorf("%s: %q, %v; want an error that names %s", name, path, err, private)
		}
		if err := os.RemoveAll(private); err != nil {
			t.Fatal(err)
		}
	}
	path, err := long.socketFolder()
	if err != nil || filepath.Dir(path) != private {
		t.Fatalf("%q, %v; want one in %s", path, err, private)
	}
	if to, err := os.Readlink(path); err != nil || to != long.data() {
		t.Errorf("it leads to %q (%v), want %q", to, err, long.data())
	}
	if again, err := long.socketFolder(); again != path || err != nil {
		t.Errorf("the second time %q, %v; want %q", again, err, path)
	}
}

func TestNobodyElseGetsIn(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	s := open(t, data)
	defer shut(t, s)
	if info, err := os.Stat(s.cluster.data()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v (%v), want a directory of mode 0700", info.Mode(), err)
	}
	config, err := pgx.ParseConfig(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.User = "postgres"
	if _, err := pgx.ConnectConfig(t.Context(), config); !isState(err, "28000") {
		t.Errorf("as another role: %v, want a refusal (28000)", err)
	}
	if listens := query[string](t, s.URL(), "SHOW listen_addresses"); listens != "" {
		t.Errorf("it listens on %q", listens)
	}
	if os.Geteuid() != 0 {
		return // only root can be someone else
	}
	if uid := statOf(must(os.Stat(s.cluster.data()))).Uid; uid == 0 {
		t.Error("the server runs as root")
	}
	// Even if the way to the socket were open, the kernel says who comes.
	for _, dir := range []string{s.cluster.data(), s.cluster.dir, data, filepath.Dir(data)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(s.cluster.data(), ".s.PGSQL.5432"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, said := startChild(t, "connect", s.URL(), &syscall.Credential{Uid: 54321, Gid: 54321})
	if !strings.Contains(said, "28000") && !strings.Contains(said, "Peer authentication failed") {
		t.Errorf("user 54321: %s, want a refusal", said)
	}
	_, said = startChild(t, "connect", s.URL(), &syscall.Credential{Uid: uint32(s.cluster.owner.uid), Gid: uint32(s.cluster.owner.gid)})
	if said != "result: <nil>" {
		t.Errorf("the server's own user: %s", said)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestThrowawayDiesWithItsProgram(t *testing.T) {
	child, url := startChild(t, "throwaway", "", nil)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	folder := must(pgx.ParseConfig(url)).Host
	kill(t, child)
	// The connection ends when the server does, and not before.
	if _, err := conn.WaitForNotification(t.Context()); err == nil {
		t.Error("a notification out of nowhere")
	}
	next, err := Open(t.Context(), Config{Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the killed program's files are still there: %v", err)
	}
	if v := query[string](t, next.URL(), "SHOW fsync"); v != "off" {
		t.Errorf("fsync %s on a throwaway server", v)
	}
	folder = next.cluster.data()
	shut(t, next)
	if _, err := os.Stat(filepath.Dir(filepath.Dir(folder))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the closed one's files are still there: %v", err)
	}
	if err := server.administer(t.Context(), func(c *pgx.Conn) error { return c.Ping(t.Context()) }); err != nil {
		t.Errorf("a throwaway server in use was swept away: %v", err)
	}
}

func TestMakingIsRepeatedAfterCrash(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	half := filepath.Join(data, "postgres", "cluster.new")
	if err := os.MkdirAll(half, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	s, err := Open(t.Context(), Config{Data: data, Log: &told})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	if !strings.Contains(told.String(), "making a PostgreSQL") || !strings.Contains(told.String(), data) {
		t.Errorf("told %q, want that a database is being made and where", told.String())
	}
}

func TestServerThatCannotStart(t *testing.T) {
	data := t.TempDir()
	stopAtEnd(t, data)
	s := open(t, data)
	shut(t, s)
	if err := os.WriteFile(filepath.Join(s.cluster.data(), "postgresql.conf"), []byte("no_such_setting = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(s.cluster.data(), "postgresql.conf"), s.cluster.owner.uid, s.cluster.owner.gid); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Data: data})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("%v; want unavailable, with the server's own words", err)
	}
}

func TestPrograms(t *testing.T) {
	p, err := findPrograms(0)
	if err != nil || p.major < MinMajor {
		t.Fatalf("%v, %v", p, err)
	}
	if same, err := findPrograms(p.major); err != nil || same != p {
		t.Errorf("for %d: %v, %v; want %v", p.major, same, err, p)
	}
	if _, err := findPrograms(9); err == nil || !strings.Contains(err.Error(), "PostgreSQL 9") || !strings.Contains(err.Error(), "pg_upgrade") {
		t.Errorf("for 9: %v", err)
	}

	// Links in PATH, as packagers and people make them: followed.
	links := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.Symlink(filepath.Join(p.dir, name), filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	path := os.Getenv("PATH")
	t.Setenv("PATH", links+":"+path)
	if got, err := findPrograms(0); err != nil || got.dir != p.dir {
		t.Errorf("through links: %v, %v; want %s", got, err, p.dir)
	}
	// A wrapper that stands alone is no installation; nor is an old one.
	alone := t.TempDir()
	script := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(alone, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script("initdb", "exit 1\n")
	t.Setenv("PATH", alone+":"+path)
	if got, err := findPrograms(0); err != nil || got.dir == alone {
		t.Errorf("with a lone wrapper: %v, %v; want %s", got, err, p.dir)
	}
	script("postgres", "echo 'postgres (PostgreSQL) 14.9'\n")
	if got, err := findPrograms(0); err != nil || got.dir == alone {
		t.Errorf("with PostgreSQL 14: %v, %v; want %s", got, err, p.dir)
	}

	defer func(was []string) { programFolders = was }(programFolders)
	programFolders = nil
	t.Setenv("PATH", t.TempDir())
	_, err = Open(t.Context(), Config{Data: t.TempDir()})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("without PostgreSQL: %v; want unavailable, and what to install", err)
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	data := t.TempDir()
	c := &cluster{dir: filepath.Join(data, "postgres")}
	if err := os.Mkdir(c.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	lock, err := openLock(filepath.Join(c.dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := flock(t.Context(), lock, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{Data: data}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}
