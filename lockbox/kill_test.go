package lockbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/secret"
)

// The program is killed by SIGKILL at what it says to its database, counted by
// a tracer in a child process, and does the same once more.

const victimVariable = "BILLCYCLE_TEST_LOCKBOX_VICTIM"

// victim is what the child process is told: what to do, and at which of the
// things that it says to its database to die.
type victim struct {
	URL, Keys, Profile, File, Verb string
	Day                            calendar.Date
	FileID                         int64
	MRNs                           []string
	At                             int
}

func TestMain(m *testing.M) {
	if told := os.Getenv(victimVariable); told != "" {
		var v victim
		err := json.Unmarshal([]byte(told), &v)
		if err == nil {
			err = v.die()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0) // its point never came
	}
	os.Exit(m.Run())
}

func (v victim) die() error {
	config, err := pgxpool.ParseConfig(v.URL)
	if err != nil {
		return err
	}
	config.ConnConfig.Tracer = &killer{at: v.At}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["application_name"] = victimVariable
	db, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return err
	}
	keys, err := secret.Load(v.Keys)
	if err != nil {
		return err
	}
	return v.do(context.Background(), db, keys)
}

// do is what is done twice: killed, and not.
func (v victim) do(ctx context.Context, db *pgxpool.Pool, keys *secret.Keys) error {
	profile, err := lockbox.ParseProfile([]byte(v.Profile))
	if err != nil {
		return err
	}
	policy := billing.DefaultPolicy()
	d := lockbox.Desk{DB: db, Policy: &policy, Keys: keys, Day: v.Day, Operator: "pat", Profiles: append(lockbox.Profiles(), profile), ChunkItems: 13}
	once := func(err error) error { // the act was done before the kill
		if errors.Is(err, lockbox.ErrNotNow) {
			return nil
		}
		return err
	}
	switch v.Verb {
	case "ingest":
		content, err := os.ReadFile(v.File)
		if err != nil {
			return err
		}
		_, err = d.Ingest(ctx, "F1", bytes.NewReader(content), profile)
		return err
	case "match":
		return once(d.Match(ctx, v.FileID, 1, v.MRNs[0], "x"))
	case "split":
		return once(d.Split(ctx, v.FileID, 1, []lockbox.Part{{MRN: v.MRNs[0], Cents: 4000}, {MRN: v.MRNs[1], Cents: 1000}}, "x"))
	case "return":
		return once(d.Return(ctx, v.FileID, 2, lockbox.NSF, "x"))
	case "void":
		return once(d.Void(ctx, v.FileID, 1, "x"))
	}
	return fmt.Errorf("no verb %q", v.Verb)
}

// killer counts what goes to the database and comes back.
type killer struct {
	mu sync.Mutex
	at int
	n  int
}

func (k *killer) saw() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n++; k.n == k.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // no other goroutine goes on: we hold the lock
	}
}

func (k *killer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	k.saw()
	return ctx
}
func (k *killer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) { k.saw() }
func (k *killer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	k.saw()
	return ctx
}
func (k *killer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (k *killer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     { k.saw() }

// killed runs a victim and says whether it died at its point.
func (m *mail) killed(v victim) bool {
	m.Helper()
	self, err := os.Executable()
	m.must(err)
	told, err := json.Marshal(v)
	m.must(err)
	cmd := exec.CommandContext(m.Context(), self)
	cmd.Env = append(os.Environ(), victimVariable+"="+string(told))
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil {
		return false
	}
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		m.Fatalf("%s, to be killed at %d: %v: %s", v.Verb, v.At, err, said)
	}
	// The server may not have seen yet that nobody is there any more.
	_, err = m.db.Exec(m.Context(), `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and application_name = $1`, victimVariable)
	m.must(err)
	return true
}

// setting is a mail before the act that is killed.
func setting(t *testing.T, verb string) (*mail, victim) {
	m := newMail(t)
	dir := t.TempDir()
	v := victim{URL: m.db.Config().ConnString(), Keys: filepath.Join(dir, "keys"), File: filepath.Join(dir, "F1"), Verb: verb, Day: calendar.MustParse("2026-03-18")}
	var err error
	m.keys, err = secret.Load(v.Keys)
	m.must(err)
	text, err := json.Marshal(m.profile)
	m.must(err)
	v.Profile = string(text)
	for n := range int64(3) {
		mrn, _ := m.member(n+1, 20000)
		v.MRNs = append(v.MRNs, mrn)
	}
	if verb == "ingest" {
		items := letters(rand.New(rand.NewPCG(7, 8)), v.MRNs, 45)
		wrong := batch("002", items[15:25]...)
		wrong.Said = &lockbox.Total{Items: 10, Cents: 1}
		m.must(os.WriteFile(v.File, m.file("0600", batch("001", items[:15]...), wrong, batch("003", items[25:]...)), 0o600))
	} else {
		both := check("1002", 5000, "2026-03-10", "")
		both.Overflows = []lockbox.Overflow{coupon(v.MRNs[0], 4000), coupon(v.MRNs[1], 1000)}
		got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 5000, "2026-03-16", ""), both)))
		v.FileID = got.FileID
	}
	return m, v
}

// TestKilled kills an ingestion in several chunks and the acts of the desk at
// points of what they say to the database, does each again, and compares the
// books with those of a life without kills. BILLCYCLE_TORTURE takes every point
// instead of one in five.
func TestKilled(t *testing.T) {
	stride := 5
	if os.Getenv("BILLCYCLE_TORTURE") != "" {
		stride = 1
	}
	for _, verb := range []string{"ingest", "match", "split", "return", "void"} {
		t.Run(verb, func(t *testing.T) {
			plain, v := setting(t, verb)
			plain.must(v.do(t.Context(), plain.db, plain.keys))
			want := plain.rows()
			kills := 0
			for at := 1 + len(verb)%stride; ; at += stride {
				m, v := setting(t, verb)
				v.At = at
				if !m.killed(v) {
					m.sameRows(want)
					break
				}
				kills++
				if at%3 == 0 { // and once more on the second try
					v.At = at/2 + 1
					m.killed(v)
				}
				m.proven()
				if err := v.do(t.Context(), m.db, m.keys); err != nil {
					t.Fatalf("killed at %d: %v", at, err)
				}
				m.proven()
				m.sameRows(want)
				if t.Failed() {
					t.Fatalf("killed at %d", at)
				}
			}
			t.Logf("%d kills", kills)
			if kills < 3 || verb == "ingest" && kills < 12 {
				t.Errorf("only %d kills", kills)
			}
		})
	}
}
