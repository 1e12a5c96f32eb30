package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres"
)

// The exit codes: what a cron line or a script may rely on.
const (
	exitFailed      = 1  // an expectation missed, an invariant broken, a job that stopped
	exitUsage       = 2  // the command line is wrong
	exitLeft        = 3  // done, and this call left something for a person
	exitRefused     = 4  // the input was refused whole, nothing changed
	exitEnvironment = 75 // safe to run again as it is
	exitConfig      = 78 // bad policy or configuration
)

// configError is a setting that can't be used.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// environmentError is something of the machine's that is in the way for now.
type environmentError struct{ err error }

func (e *environmentError) Error() string { return e.err.Error() }
func (e *environmentError) Unwrap() error { return e.err }

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func wrongUsage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// refusal is input that was understood and not taken: nothing has changed.
type refusal struct{ err error }

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

func refuse(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{err}
}

// refusals are the errors by which rooms refuse input whole.
var refusals = []error{billing.ErrRefused, billing.ErrNoAccount, lockbox.ErrRefused, lockbox.ErrNoItem, lockbox.ErrNotNow, ach.ErrRefused, ach.ErrNoFile, ach.ErrHold, ach.ErrReverse, billing.ErrOperator, ledger.ErrNoFile, billing.ErrNoMonth, jobs.ErrNotCleared}

// machine are the errors of files and disks by which no work can be told wrong.
var machine = []error{fs.ErrPermission, syscall.EROFS, syscall.ENOTDIR, syscall.EIO, syscall.EMFILE, syscall.ENFILE}

// exitOf sorts an error into an exit code, and says what to do about it.
func (p *program) exitOf(ctx context.Context, err error) (code int, advice string) {
	var usage *usageError
	var policy *billing.PolicyError
	var config *configError
	var environment *environmentError
	var place *delivery.ConfigError
	var store *delivery.StoreError
	var refused *refusal
	switch {
	case !p.began, errors.As(err, &usage), errors.Is(err, syscall.EISDIR): // a folder in place of a file
		return exitUsage, "billcycle help lists the commands, and --help after a command shows an example of it"
	case ctx.Err() != nil:
		return exitEnvironment, "it was stopped by a signal; what was committed stays, and the same command goes on from there"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return exitEnvironment, "make room on the disk, then run the same command again"
	case errors.As(err, &environment):
		return exitEnvironment, "see to that, then run the same command again"
	case errors.As(err, &policy):
		return exitConfig, fmt.Sprintf("mend that key of the policy file %s, then run it again", p.policyFile)
	case errors.As(err, &config), errors.As(err, &place), errors.Is(err, jobs.ErrRules):
		return exitConfig, "mend the configuration, then run it again"
	case errors.Is(err, jobs.ErrBusy), errors.Is(err, jobs.ErrLost), errors.Is(err, delivery.ErrBusy):
		return exitEnvironment, ""
	case errors.Is(err, jobs.ErrClock):
		return exitEnvironment, "nothing was begun"
	case errors.Is(err, billing.ErrArchive):
		return exitEnvironment, "billcycle journal months lists the files that must be there"
	case errors.As(err, &store):
		return exitEnvironment, "see that the bucket of delivery.store can be reached and lets us in, then run the same command again"
	case postgres.IsRefused(err):
		return exitConfig, "mend the database's URL or what it asks for, then run it again"
	case postgres.IsUnavailable(err):
		return exitEnvironment, "see that PostgreSQL can be reached, then run the same command again; nothing is half done"
	case errors.As(err, &refused):
		return exitRefused, ""
	}
	for _, r := range refusals {
		if errors.Is(err, r) {
			return exitRefused, ""
		}
	}
	if slices.ContainsFunc(machine, func(e error) bool { return errors.Is(err, e) }) {
		return exitEnvironment, "see to that folder or disk, then run the same command again"
	}
	return exitFailed, ""
}

// fail says in a person's words what went wrong, and returns the exit code.
func (p *program) fail(ctx context.Context, err error) int {
	code, advice := p.exitOf(ctx, err)
	words := err.Error()
	if code == exitEnvironment { // a database that is away says so once for each address
		words = oneLine(err)
	}
	if p.log != nil {
		p.log.Error(words, "exit", code, "advice", advice)
	} else {
		fmt.Fprintln(p.err, "billcycle:", words)
		if advice != "" {
			fmt.Fprintln(p.err, "  "+advice)
		}
	}
	if p.json && !p.answered {
		b, _ := json.MarshalIndent(struct {
			Error  string `json:"error"`
			Advice string `json:"advice"`
			Exit   int    `json:"exit"`
		}{words, advice, code}, "", "  ")
		fmt.Fprintf(p.out, "%s\n", b)
	}
	return code
}

// oneLine is an error in one line, without what it repeats.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}

// noFile turns the error of opening a file that the command line names into
// words: a file that is not there is wrong usage.
func noFile(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &usageError{err}
	}
	return err
}
