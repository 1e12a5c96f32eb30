//go:build unix && !linux

package postgres

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// servesFrom says whether the process is a PostgreSQL; which directory it
// serves can't be asked here, so the pid file is taken at its word for that.
func servesFrom(pid int, data string) bool {
	said, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(said), "postgres")
}

// dieWithParent can't be had here: a server whose program was killed is ended
// by the next throwaway server's start.
func dieWithParent(*syscall.SysProcAttr) {}

func memoryFolder() string { return "" }

func sharedBuffersMB() int { return 256 }

func statOf(info os.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
