package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// owner is the operating system's user that the server runs as, and that owns
// its files. PostgreSQL refuses to be root.
type owner struct {
	uid, gid int
	name     string
}

// ownerOf returns the owner of an existing cluster. A new one belongs to the
// owner of the folder that it will be in; if that is root, to user postgres if
// there is one, else to nobody.
func ownerOf(folder, cluster string) (owner, error) {
	info, err := os.Lstat(cluster)
	if errors.Is(err, os.ErrNotExist) {
		info, err = os.Lstat(folder)
	}
	if err != nil {
		return owner{}, err
	}
	uid := int(statOf(info).Uid)
	if me := os.Geteuid(); me != 0 && me != uid {
		return owner{}, fmt.Errorf("its data belongs to user %d, you are %d: work as that user or as root", uid, me)
	}
	if uid != 0 {
		return lookup(user.LookupId, strconv.Itoa(uid))
	}
	if o, err := lookup(user.Lookup, "postgres"); err == nil {
		return o, nil
	}
	return lookup(user.Lookup, "nobody")
}

func lookup(by func(string) (*user.User, error), what string) (owner, error) {
	u, err := by(what)
	if err != nil {
		return owner{}, fmt.Errorf("PostgreSQL needs to run as a user that the system knows by name: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return owner{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return owner{uid, gid, u.Username}, err
}

// command prepares one of PostgreSQL's programs to run as the owner on the
// directory dir, whose name goes after -D. Close the files after its start.
//
// Root's directories may be closed to the owner (/root is), so root hands the
// directory over opened, and the program knows it by its descriptor. Only
// Linux can; elsewhere the owner must be able to walk to the directory.
func (c *cluster) command(ctx context.Context, program, dir string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt from the terminal is for us, not for it
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.owner.uid), Gid: uint32(c.owner.gid)}
		if runtime.GOOS == "linux" {
			opened, err := os.Open(dir)
			if err != nil {
				return nil, err
			}
			cmd.ExtraFiles = []*os.File{opened}
			dir = "/proc/self/fd/3"
		}
	}
	cmd.Args = append([]string{program, "-D", dir}, args...)
	return cmd, nil
}

func closeFiles(cmd *exec.Cmd) {
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
}

// initialize makes the cluster's files, under another name until they are
// whole.
func (c *cluster) initialize(ctx context.Context, p programs) error {
	making := c.data() + ".new"
	if err := os.RemoveAll(making); err != nil { // what a crash left
		return err
	}
	if err := os.Mkdir(making, 0o700); err != nil {
		return err
	}
	if err := os.Lchown(making, c.owner.uid, c.owner.gid); err != nil {
		return err
	}
	args := []string{"--username=" + roleName, "--auth=reject", "--encoding=UTF8", "--locale=C", "--no-instructions"}
	if c.throwaway {
		args = append(args, "--no-sync")
	} else {
		fmt.Fprintf(c.tell, "making a PostgreSQL %d database in %s, as user %s\n", p.major, c.dir, c.owner.name)
		args = append(args, "--data-checksums")
	}
	cmd, err := c.command(ctx, filepath.Join(p.dir, "initdb"), making, args...)
	if err != nil {
		return err
	}
	defer closeFiles(cmd)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb (as user %s): %w\n%s", c.owner.name, err, strings.TrimSpace(string(said)))
	}
	if err := c.writeAccess(making); err != nil {
		return err
	}
	if err := os.Rename(making, c.data()); err != nil {
		return err
	}
	return SyncFolder(c.dir)
}

// writeAccess lets in, by what the kernel says of the process at the other end
// of the socket, the server's own user and root, and nobody else.
func (c *cluster) writeAccess(data string) error {
	root, err := os.OpenRoot(data) // the server's user could have put links here
	if err != nil {
		return err
	}
	defer root.Close()
	var ident strings.Builder
	for _, name := range slices.Compact([]string{"root", c.owner.name}) {
		fmt.Fprintf(&ident, "billcycle \"%s\" %s\n", name, roleName)
	}
	for name, text := range map[string]string{
		"pg_hba.conf":   "local all all peer map=billcycle\n",
		"pg_ident.conf": ident.String(),
	} {
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// SyncFolder brings the names in a folder to the disk, so that what got a name
// there is found again after a power cut.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// start starts the server and returns at once; it is made first if need be.
// The caller holds the lock and knows that no server runs.
func (c *cluster) start(ctx context.Context) error {
	if c.exited != nil {
		// Ours has ended again already. After a crash the old server's last
		// processes may still be on their way out: only that is worth a retry.
		if end := c.logEnd(); !strings.Contains(end, "shared memory block") {
			return fmt.Errorf("it did not start; the end of its log:\n%s", end)
		}
	}
	version, err := os.ReadFile(filepath.Join(c.data(), "PG_VERSION"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	p, err := findPrograms(numberIn(string(version)))
	if err != nil {
		return err
	}
	if version == nil {
		if err := c.initialize(ctx, p); err != nil {
			return err
		}
	}
	if err := c.removeStale(); err != nil {
		return err
	}
	logPath := filepath.Join(c.dir, "log")
	if err := os.Rename(logPath, logPath+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// The server does not end with the context of whoever happened to start it.
	set := settings(c.throwaway)
	if !c.throwaway {
		set = append(set, c.walCompression(ctx, p)...)
	}
	cmd, err := c.command(context.WithoutCancel(ctx), filepath.Join(p.dir, "postgres"), c.data(), set...)
	if err != nil {
		return err
	}
	defer closeFiles(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	return c.spawn(cmd)
}

// walCompression chooses how the log's whole pages are compressed: by LZ4, which
// takes the processor much less than PostgreSQL's own way, if the installed
// server was built with it.
func (c *cluster) walCompression(ctx context.Context, p programs) []string {
	lz4 := []string{"-c", "wal_compression=lz4"}
	cmd, err := c.command(ctx, filepath.Join(p.dir, "postgres"), c.data(), append(lz4, "-C", "wal_compression")...)
	if err == nil {
		defer closeFiles(cmd)
		err = cmd.Run()
	}
	if err != nil {
		return []string{"-c", "wal_compression=on"}
	}
	return lz4
}

// spawn starts the server from a thread that lives as long as the server does:
// a throwaway one gets its death signal when the thread that made it ends.
func (c *cluster) spawn(cmd *exec.Cmd) error {
	if c.throwaway {
		dieWithParent(cmd.SysProcAttr)
	}
	started, exited := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	c.exited = exited
	return nil
}

// starting says whether a server that we started is still there.
func (c *cluster) starting() bool {
	if c.exited == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// removeStale removes what a killed server left if its number is now another
// process of the same user: PostgreSQL would take that for itself and refuse.
// All other leftovers it clears away on its own.
func (c *cluster) removeStale() error {
	root, err := os.OpenRoot(c.data())
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{"postmaster.pid", ".s.PGSQL." + port + ".lock"} {
		text, err := root.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		pid, _ := strconv.Atoi(strings.TrimSpace(first))
		if pid > 1 && syscall.Kill(pid, 0) != nil {
			continue
		}
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// stop stops the server and waits for its end.
func (c *cluster) stop(how syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	pid := c.pid()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, how); err != nil {
		return fmt.Errorf("stopping PostgreSQL, process %d: %w", pid, err)
	}
	for servesFrom(pid, c.data()) {
		if err := pause(ctx); err != nil {
			return fmt.Errorf("PostgreSQL, process %d, has not stopped within %v", pid, stopWithin)
		}
	}
	return nil
}

// settings are what the server is started with; all else is PostgreSQL's
// default, full durability above all.
func settings(throwaway bool) []string {
	set := []string{
		"listen_addresses=",
		"unix_socket_directories=.",
		"port=" + port,
		"timezone=UTC",
		"log_timezone=UTC",
		"log_checkpoints=off",
		"log_autovacuum_min_duration=-1",
		"jit=off", // compiling costs more than our statements run
	}
	if throwaway {
		set = append(set, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off",
			"wal_level=minimal", "max_wal_senders=0", "max_connections=300", "shared_buffers=64MB", "max_wal_size=256MB",
			"dynamic_shared_memory_type=mmap") // in its folder, which goes at Close
	} else {
		// A night writes tens of millions of rows: few checkpoints, small log.
		set = append(set, "shared_buffers="+strconv.Itoa(sharedBuffersMB())+"MB", "work_mem=32MB", "maintenance_work_mem=256MB",
			"max_wal_size=8GB", "min_wal_size=512MB", "checkpoint_timeout=15min", "random_page_cost=1.1")
	}
	var args []string
	for _, s := range set {
		args = append(args, "-c", s)
	}
	return args
}
