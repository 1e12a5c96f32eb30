package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
)

// lockTable keeps everybody else from a table: locktable account. A run then
// stands still in the middle of its work, until unlocktable.
func lockTable(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, ts.Getenv("BILLCYCLE_DATABASE"))
	ts.Check(err)
	ts.Defer(func() { db.Close(ctx) })
	tables[ts.Getenv("WORK")] = db
	_, err = db.Exec(ctx, `begin; lock table `+args[0]+` in access exclusive mode`)
	ts.Check(err)
}

var tables = map[string]*pgx.Conn{} // scripts run one after the other

func unlockTable(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(tables[ts.Getenv("WORK")].Close(context.Background()))
}

// awaitRow waits until a query has a row: awaitrow 'select from run'
func awaitRow(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, ts.Getenv("BILLCYCLE_DATABASE"))
	ts.Check(err)
	defer db.Close(ctx)
	for range 3000 {
		var there bool
		ts.Check(db.QueryRow(ctx, `select exists (`+args[0]+`)`).Scan(&there))
		if there {
			return
		}
		_, err := db.Exec(ctx, `select pg_sleep(0.01)`)
		ts.Check(err)
	}
	ts.Fatalf("no row: %s", args[0])
}

// awaitFile waits until a file is there.
func awaitFile(ts *testscript.TestScript, neg bool, args []string) {
	for range 3000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("there is no %s", args[0])
}

// webhook takes what is posted to it, for posted to look at, and writes its URL
// into a file: webhook url.txt
func webhook(ts *testscript.TestScript, neg bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		took.Lock()
		defer took.Unlock()
		took.bodies = append(took.bodies, string(body))
	}))
	took.bodies = nil
	ts.Defer(server.Close)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(server.URL+"/hook/s3cret\n"), 0o600))
}

var took struct {
	sync.Mutex
	bodies []string
}

// posted checks how many alerts were posted, and that the last matches: posted 1 '"event":"night_failed"'
func posted(ts *testscript.TestScript, neg bool, args []string) {
	took.Lock()
	defer took.Unlock()
	if n := len(took.bodies); args[0] != string(rune('0'+n)) || n > 0 && len(args) > 1 && !regexp.MustCompile(args[1]).MatchString(took.bodies[n-1]) {
		ts.Fatalf("posted %d: %q", n, took.bodies)
	}
}

// On a terminal the line of progress stays below the story; elsewhere it is a
// line like others.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true}
	s.Write([]byte("one\n"))
	s.progress("10%")
	s.Write([]byte("two\n"))
	s.progress("20%")
	s.progress("20%")
	s.progress("")
	s.Write([]byte("three\n"))
	if want := "one\n" + eraseLine + "10%" + eraseLine + "two\n10%" + eraseLine + "20%" + eraseLine + "three\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
	out.Reset()
	s = newScreen(&out)
	s.progress("10%")
	s.progress("")
	s.Write([]byte("two\n"))
	if out.String() != "10%\ntwo\n" {
		t.Errorf("without a terminal: %q", out.String())
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine(&usageError{errText("no database:\n\thost: refused\n\thost: refused\n")}); got != "no database: host: refused" {
		t.Errorf("%q", got)
	}
}

type errText string

func (e errText) Error() string { return string(e) }
