package postgres

import (
	"fmt"
	"os"
	"syscall"
)

// servesFrom says whether the process is a PostgreSQL on the directory: the
// server lives with the directory as its working directory, and no process
// that merely inherited its number does.
func servesFrom(pid int, data string) bool {
	cwd, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	dir, err := os.Stat(data)
	return err == nil && os.SameFile(cwd, dir)
}

// dieWithParent has the kernel end the process at once when we end, however.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// memoryFolder returns a folder in memory with room for a test server, or "".
func memoryFolder() string {
	const dir, room = "/dev/shm", 1 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	probe, err := os.MkdirTemp(dir, "billcycle-probe-")
	if err != nil {
		return ""
	}
	os.Remove(probe)
	return dir
}

// sharedBuffersMB is a quarter of the memory, 128 MB to 8 GB.
func sharedBuffersMB() int {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 256
	}
	return int(min(max(uint64(info.Totalram)*uint64(info.Unit)>>22, 128), 8192))
}

func statOf(info os.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
