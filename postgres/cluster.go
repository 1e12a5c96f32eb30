package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a PostgreSQL of our own. Its folder holds
//
//	cluster/  what initdb made, and the server's socket; the server's user only
//	log       what the server says; log.old from the start before
//	lock      held by whoever makes, starts or stops the server
//	users     held, shared, by each program that has the cluster open
//
// The locks are the kernel's (flock), so a killed program holds none. The
// server binds its socket by a relative path in its own directory: nothing it
// does depends on how long the path to it is, or on who may walk there.
type cluster struct {
	dir       string // absolute
	throwaway bool
	tell      io.Writer
	url       string   // of the database "postgres"
	lock      *os.File // held while starting and stopping only
	users     *os.File
	owner     owner
	exited    <-chan error // of the server, if we started it
}

const (
	roleName = "billcycle" // the superuser, and the only role, of the embedded server
	port     = "5432"      // only a part of the socket's name

	pollEvery = 20 * time.Millisecond
	// How long a server may take to show its socket, or to shut down. Neither
	// includes crash recovery, which answers "starting up" and is waited for.
	startWithin = time.Minute
	stopWithin  = 5 * time.Minute
)

func (c *cluster) data() string { return filepath.Join(c.dir, "cluster") }

// Embedded says whether a biller's directory has an embedded server's files.
func Embedded(data string) bool {
	_, err := os.Stat((&cluster{dir: filepath.Join(data, "postgres")}).data())
	return !errors.Is(err, fs.ErrNotExist)
}

// openCluster joins the server of the directory, or makes and starts it.
func openCluster(ctx context.Context, config Config) (*cluster, error) {
	c := &cluster{throwaway: config.Throwaway, tell: config.Log}
	if err := c.makeFolder(config.Data); err != nil {
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		if c.throwaway {
			err = errors.Join(err, c.close())
		} else {
			c.unlock()
		}
		return nil, fmt.Errorf("the embedded PostgreSQL in %s: %w", c.dir, err)
	}
	return c, nil
}

func (c *cluster) makeFolder(data string) (err error) {
	if c.throwaway {
		c.dir, c.users, err = makeThrowawayFolder()
		return err
	}
	if data == "" {
		return errors.New("no data directory named for the embedded PostgreSQL")
	}
	if c.dir, err = filepath.Abs(filepath.Join(data, "postgres")); err != nil {
		return err
	}
	// Others may walk through to cluster/, which admits only the server's user.
	if err := os.MkdirAll(c.dir, 0o711); err != nil {
		return err
	}
	info, err := os.Stat(c.dir)
	if err != nil {
		return err
	}
	if me, its := os.Geteuid(), int(statOf(info).Uid); me != 0 && me != its {
		return fmt.Errorf("%s belongs to user %d, you are %d: work as that user or as root", c.dir, its, me)
	}
	return nil
}

func (c *cluster) open(ctx context.Context) (err error) {
	if c.lock, err = openLock(filepath.Join(c.dir, "lock")); err != nil {
		return err
	}
	if err := flock(ctx, c.lock, syscall.LOCK_EX); err != nil {
		return err
	}
	defer syscall.Flock(int(c.lock.Fd()), syscall.LOCK_UN)
	if c.users == nil {
		if c.users, err = openLock(filepath.Join(c.dir, "users")); err != nil {
			return err
		}
	}
	if err := flock(ctx, c.users, syscall.LOCK_SH); err != nil {
		return err
	}
	if c.owner, err = ownerOf(c.dir, c.data()); err != nil {
		return err
	}
	socket, err := c.socketFolder()
	if err != nil {
		return err
	}
	c.url = (&url.URL{Scheme: "postgres", User: url.User(roleName), Path: "/postgres",
		RawQuery: url.Values{"host": {socket}, "port": {port}, "sslmode": {"disable"}}.Encode()}).String()
	return c.ensureRunning(ctx)
}

// ensureRunning returns when the server has answered.
func (c *cluster) ensureRunning(ctx context.Context) error {
	starting := 0 // how often it said that it is
	for waited := time.Duration(0); ; waited += pollEvery {
		err := c.ping(ctx)
		switch {
		case err == nil:
			return nil
		case isState(err, "57P03"): // starting up, recovering or shutting down
			waited = 0
			if starting++; starting == int(2*time.Second/pollEvery) {
				fmt.Fprintln(c.tell, "waiting for PostgreSQL to get ready")
			}
		case !notThere(err):
			return err
		case waited >= startWithin:
			return fmt.Errorf("it does not answer (%w); the end of its log:\n%s", err, c.logEnd())
		case c.pid() == 0 && !c.starting():
			if err := c.start(ctx); err != nil {
				return err
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// notThere says whether nothing listens on the socket, or what listened is
// just going.
func notThere(err error) bool {
	for _, sign := range []error{syscall.ECONNREFUSED, os.ErrNotExist, syscall.ECONNRESET, syscall.EPIPE, io.ErrUnexpectedEOF} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}

// ping connects once. That the socket is in our cluster's own directory, which
// none but the server's user can write, is what proves it to be our server.
func (c *cluster) ping(ctx context.Context) error {
	config, err := pgx.ParseConfig(c.url)
	if err != nil {
		return err
	}
	config.ConnectTimeout = 10 * time.Second
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		if isState(err, "28000") {
			return fmt.Errorf("it admits only the operating system's user %s and root: %w", c.owner.name, err)
		}
		return err
	}
	return conn.Close(ctx)
}

// pid returns the process that serves the cluster, 0 if there is none. The pid
// file alone is no proof: after a crash or a reboot its number may be another
// process by now.
func (c *cluster) pid() int {
	root, err := os.OpenRoot(c.data())
	if err != nil {
		return 0
	}
	defer root.Close()
	text, err := root.ReadFile("postmaster.pid")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 || !servesFrom(pid, c.data()) {
		return 0
	}
	return pid
}

// close lets go of the cluster and stops the server if nobody else has it open.
func (c *cluster) close() error {
	defer c.unlock()
	if c.throwaway {
		return errors.Join(c.stop(syscall.SIGQUIT), os.RemoveAll(filepath.Dir(c.dir)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := flock(ctx, c.lock, syscall.LOCK_EX); err != nil {
		return err
	}
	if syscall.Flock(int(c.users.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil // somebody else's now
	}
	return c.stop(syscall.SIGINT)
}

// unlock closes the lock files; their locks go with them.
func (c *cluster) unlock() {
	for _, f := range []*os.File{c.users, c.lock} {
		if f != nil {
			f.Close()
		}
	}
}

// socketFolder returns a path to the folder of the socket that fits into a
// socket's address. If the real one doesn't, it is a link in a private folder
// of the system's temporary directory.
func (c *cluster) socketFolder() (string, error) {
	const longest = 103 - len("/.s.PGSQL."+port) // sun_path on macOS; Linux has four bytes more
	if len(c.data()) <= longest {
		return c.data(), nil
	}
	base := os.TempDir()
	if len(base+"/billcycle-4294967295/0123456789abcdef") > longest {
		base = "/tmp"
	}
	private := filepath.Join(base, "billcycle-"+strconv.Itoa(os.Geteuid()))
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(private)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || statOf(info).Uid != uint32(os.Geteuid()) {
		return "", fmt.Errorf("%s should be a directory that only you can read, but is %s of user %d: "+
			"someone else may have put it there; remove it, or choose a shorter --data path", private, info.Mode(), statOf(info).Uid)
	}
	sum := sha256.Sum256([]byte(c.data()))
	link := filepath.Join(private, hex.EncodeToString(sum[:8]))
	if to, err := os.Readlink(link); err == nil && to == c.data() {
		return link, nil
	}
	if err := os.Symlink(c.data(), link); err != nil {
		return "", err
	}
	return link, nil
}

// logEnd returns the last lines of the server's log.
func (c *cluster) logEnd() string {
	text, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

// flock waits for a lock as long as ctx lives.
func flock(ctx context.Context, f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("waiting for another program to let go of %s: %w", f.Name(), err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollEvery):
		return nil
	}
}
