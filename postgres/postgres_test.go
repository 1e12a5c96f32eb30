package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// server is a throwaway one for the tests that only need some server.
var server *Server

func TestMain(m *testing.M) {
	if mode := os.Getenv("BILLCYCLE_TEST_CHILD"); mode != "" {
		beChild(mode, os.Getenv("BILLCYCLE_TEST_ARGUMENT"))
		return
	}
	s, err := Open(context.Background(), Config{Throwaway: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server = s
	code := m.Run()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// schema is a set of migrations that no other test has.
func schema(t *testing.T, versions int) fstest.MapFS {
	files := fstest.MapFS{}
	for v := 1; v <= versions; v++ {
		text := fmt.Sprintf("-- +goose Up\n-- %s\nCREATE TABLE table%d (n int);\n", t.Name(), v)
		files[fmt.Sprintf("%05d_step.sql", v)] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func query[T any](t *testing.T, url, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, _ := conn.Query(t.Context(), sql, args...) // the error is the next one's too
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func databases(t *testing.T, like string) []string {
	t.Helper()
	return query[[]string](t, server.URL(), "SELECT coalesce(array_agg(datname::text ORDER BY datname), '{}') FROM pg_database WHERE datname LIKE $1", like)
}

func TestScratchIsMigratedAndOnesOwn(t *testing.T) {
	a, err := server.Scratch(t.Context(), "own")
	if err != nil {
		t.Fatal(err)
	}
	b, err := server.Scratch(t.Context(), "own")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Pool.Exec(t.Context(), "CREATE TABLE only_in_a (n int)"); err != nil {
		t.Fatal(err)
	}
	const tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
	inA, inB := query[int](t, a.URL, tables), query[int](t, b.URL, tables)
	if inB < 2 || inA != inB+1 {
		t.Errorf("%d tables in one database and %d in the other, want some and one less", inA, inB)
	}
	for _, s := range []*Scratch{a, b} {
		if err := s.Drop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left := databases(t, `own\_%`); len(left) != 0 {
		t.Errorf("still there after Drop: %v", left)
	}
}

func TestDropSendsOthersAway(t *testing.T) {
	s, err := server.Scratch(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	other, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if err := s.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), "SELECT 1"); !IsUnavailable(err) {
		t.Errorf("the other connection got %v, want one that says unavailable", err)
	}
}

func TestTemplates(t *testing.T) {
	old, files := schema(t, 1), schema(t, 2)
	if _, err := server.template(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	// Someone was killed in the middle of making the next one.
	execute(t, server.URL(), "CREATE DATABASE billcycle_template")
	execute(t, withDatabase(server.URL(), makingName), "CREATE TABLE half_made (n int)")

	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			s, err := server.scratch(t.Context(), "six", files)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Drop(context.Background())
			var names string
			err = s.Pool.QueryRow(t.Context(), "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'").Scan(&names)
			if want := "goose_db_version table1 table2"; err != nil || names != want {
				t.Errorf("tables %q (%v), want %q", names, err, want)
			}
		})
	}
	wait.Wait()

	hash, err := migrationsHash(files)
	if err != nil {
		t.Fatal(err)
	}
	if got := databases(t, "billcycle_template%"); len(got) != 1 || got[0] != templatePrefix+hash {
		t.Errorf("templates %v, want %s alone: the old one and the half-made one gone", got, templatePrefix+hash)
	}
}

func TestMigrationsHash(t *testing.T) {
	base, err := migrationsHash(fstest.MapFS{"1.sql": {Data: []byte("a")}, "2.sql": {Data: []byte("b")}, "README": {Data: []byte("x")}})
	if err != nil || len(base) != 16 {
		t.Fatalf("%q, %v", base, err)
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		same  bool
	}{
		"another file beside": {fstest.MapFS{"1.sql": {Data: []byte("a")}, "2.sql": {Data: []byte("b")}}, true},
		"one byte":            {fstest.MapFS{"1.sql": {Data: []byte("a")}, "2.sql": {Data: []byte("c")}}, false},
		"a name":              {fstest.MapFS{"1.sql": {Data: []byte("a")}, "3.sql": {Data: []byte("b")}}, false},
		"one more":            {fstest.MapFS{"1.sql": {Data: []byte("a")}, "2.sql": {Data: []byte("b")}, "3.sql": {}}, false},
		"cut elsewhere":       {fstest.MapFS{"1.sql": {Data: []byte("a2.sql 1\nb")}}, false},
	} {
		if got, err := migrationsHash(c.files); err != nil || (got == base) != c.same {
			t.Errorf("%s: %q (%v) beside %q, want the same: %v", name, got, err, base, c.same)
		}
	}
}

func TestMigrate(t *testing.T) {
	execute(t, server.URL(), "CREATE DATABASE migrated")
	url := withDatabase(server.URL(), "migrated")
	if err := migrate(t.Context(), url, schema(t, 2), true); !errors.Is(err, ErrNoBooks) {
		t.Errorf("books that should be there: %v", err)
	}
	var wait sync.WaitGroup
	for range 4 { // several programs at once, then one more: nothing is done twice
		wait.Go(func() {
			if err := migrate(t.Context(), url, schema(t, 2), false); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if err := migrate(t.Context(), url, schema(t, 3), false); err != nil {
		t.Fatal(err)
	}
	if v := query[int](t, url, "SELECT count(*) FROM goose_db_version WHERE version_id > 0"); v != 3 {
		t.Errorf("%d migrations on record, want 3", v)
	}
	err := migrate(t.Context(), url, schema(t, 2), false)
	if err == nil || !strings.Contains(err.Error(), "schema version 3") || !strings.Contains(err.Error(), "newer billcycle") {
		t.Errorf("an older program got %v, want a refusal that names version 3", err)
	}
	if IsUnavailable(err) {
		t.Error("trying again would not help, but the error says so")
	}
}

func TestMainOfNamedServer(t *testing.T) {
	execute(t, server.URL(), "CREATE DATABASE biller")
	named, err := Open(t.Context(), Config{URL: withDatabase(server.URL(), "biller")})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := named.Main(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var database, zone string
	if err := pool.QueryRow(t.Context(), "SELECT current_database(), current_setting('timezone')").Scan(&database, &zone); err != nil {
		t.Fatal(err)
	}
	if database != "biller" || zone != "UTC" {
		t.Errorf("on database %s in zone %s, want biller in UTC", database, zone)
	}
	if err := named.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("Close ended a server that is not ours: %v", err)
	}
}

func TestOpenTellsBadURLFromBadServer(t *testing.T) {
	for _, c := range []struct {
		url         string
		unavailable bool
	}{
		{"postgres://127.0.0.1:1/x?connect_timeout=5", true},
		{"host=/nonexistent dbname=x", true},
		{withDatabase(server.URL(), "no_such_database"), false},
		{"postgres://host:port/x", false},
		{"nonsense", false},
	} {
		_, err := Open(t.Context(), Config{URL: c.url})
		if err == nil || errors.Is(err, ErrUnavailable) != c.unavailable || IsUnavailable(err) != c.unavailable {
			t.Errorf("%s: %v; want unavailable: %v", c.url, err, c.unavailable)
		}
	}
}

func TestIsUnavailable(t *testing.T) {
	s, err := server.Scratch(t.Context(), "errors")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop(context.Background())
	_, err = s.Pool.Exec(t.Context(), "SELECT 1/0")
	if err == nil || IsUnavailable(err) {
		t.Errorf("%v must not say unavailable", err)
	}
	_, err = s.Pool.Exec(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())")
	if !IsUnavailable(err) {
		t.Errorf("%v must say unavailable", err)
	}
	// What the transaction asks next finds its connection ended.
	err = pgx.BeginFunc(t.Context(), s.Pool, func(tx pgx.Tx) error {
		tx.Exec(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())")
		_, err := tx.Exec(t.Context(), "SELECT 1")
		return err
	})
	if !IsUnavailable(err) {
		t.Errorf("%v must say unavailable", err)
	}
	// And so does what the migrations ask.
	migrating := stdlib.OpenDB(*s.Pool.Config().ConnConfig)
	defer migrating.Close()
	conn, err := migrating.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"once", "again"} {
		conn.ExecContext(t.Context(), "SELECT pg_terminate_backend(pg_backend_pid())")
		if _, err := conn.ExecContext(t.Context(), "SELECT 1"); !IsUnavailable(err) {
			t.Errorf("%v must say unavailable, asked %s", err, says)
		}
	}
	_, err = s.Pool.Exec(t.Context(), "DO $$ BEGIN RAISE EXCEPTION USING errcode = 'disk_full'; END $$")
	if !IsUnavailable(err) {
		t.Errorf("%v must say unavailable", err)
	}
	if IsUnavailable(nil) {
		t.Error("no error says unavailable")
	}
}

func TestWithDatabase(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"postgres://u:p@h:5433/a?sslmode=disable", "postgres://u:p@h:5433/b?sslmode=disable"},
		{"postgresql://h", "postgresql://h/b"},
		{"postgres:///a?host=/run/x&dbname=c", "postgres:///b?host=%2Frun%2Fx"},
		{"host=/run/x dbname=a", "host=/run/x dbname=a dbname=b"},
	} {
		got := withDatabase(c.in, "b")
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
		if config, err := pgx.ParseConfig(got); err != nil || config.Database != "b" {
			t.Errorf("%s: pgx reads database %v (%v), want b", got, config, err)
		}
	}
}
