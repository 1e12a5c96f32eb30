// Throwaway runs a command beside a throwaway PostgreSQL, so that the tests of
// all packages can share one:
//
//	go run ./postgres/throwaway go test ./...
//
// The command finds the server in BILLCYCLE_DATABASE. A server that is named
// there already is used as it is. The exit code is the command's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/billcycle/billcycle/postgres"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: throwaway COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "throwaway:", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	// The command gets the terminal's signals itself; we stay to clean up. One
	// sent to us alone is passed on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)

	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if os.Getenv("BILLCYCLE_DATABASE") == "" {
		server, err := postgres.Open(context.Background(), postgres.Config{Throwaway: true})
		if err != nil {
			return 75, err
		}
		defer server.Close()
		cmd.Env = append(os.Environ(), "BILLCYCLE_DATABASE="+server.URL())
	}
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM {
				cmd.Process.Signal(s)
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
