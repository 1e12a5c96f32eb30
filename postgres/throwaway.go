package postgres

import (
	"os"
	"path/filepath"
	"syscall"
)

const throwawayPrefix = "billcycle-throwaway-"

// makeThrowawayFolder makes the folder of a throwaway server, in memory if
// that can be had, and returns the file "users" in it, locked. It gets its
// name only then, so that no other program can take it for a leftover.
func makeThrowawayFolder() (dir string, users *os.File, err error) {
	base := memoryFolder()
	if base == "" {
		base = os.TempDir()
	}
	sweep(base)
	making, err := os.MkdirTemp(base, "billcycle-making-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(filepath.Join(making, "postgres"), 0o711); err != nil {
		return "", nil, err
	}
	users, err = openLock(filepath.Join(making, "postgres", "users"))
	if err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(users.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return "", nil, err
	}
	named := filepath.Join(base, throwawayPrefix+filepath.Base(making)[len("billcycle-making-"):])
	return filepath.Join(named, "postgres"), users, os.Rename(making, named)
}

// sweep removes our throwaway folders that no program holds any more: a killed
// one, or a test that had no chance to close, left them.
func sweep(base string) {
	left, _ := filepath.Glob(filepath.Join(base, throwawayPrefix+"*", "postgres", "users"))
	for _, path := range left {
		info, err := os.Lstat(filepath.Dir(filepath.Dir(path)))
		if err != nil || !info.IsDir() || statOf(info).Uid != uint32(os.Geteuid()) {
			continue
		}
		users, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(users.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			c := &cluster{dir: filepath.Dir(path), throwaway: true, users: users}
			c.close() // best effort: whatever stays is tried again next time
		}
		users.Close()
	}
}
