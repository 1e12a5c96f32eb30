// Billcycle bills the members of a health plan and takes in what they pay:
// statements, ACH debits, lockbox files, late fees. This is its one program;
// `billcycle help` lists its commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a night makes many short-lived rows in little memory: collect them less often
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(192 << 20) // but before they pile up
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, user: loggedIn, now: time.Now}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// loggedIn returns the name of the operating system's user, "" if it has none.
func loggedIn() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}
