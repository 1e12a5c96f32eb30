// Package postgrestest gives each test a database of its own.
package postgrestest

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/billcycle/billcycle/postgres"
	"github.com/jackc/pgx/v5/pgxpool"
)

// server is the one that all tests of the process share. It is never closed:
// the system ends a throwaway server together with the process.
var server = sync.OnceValues(func() (*postgres.Server, error) {
	url := os.Getenv("BILLCYCLE_DATABASE")
	return postgres.Open(context.Background(), postgres.Config{URL: url, Throwaway: url == ""})
})

// New returns a pool on a fresh migrated database, which is dropped when the
// test ends. It is on the server of BILLCYCLE_DATABASE, else on a throwaway
// one. A machine without PostgreSQL fails the test.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatalf("a test needs PostgreSQL: %v", err)
	}
	scratch, err := s.Scratch(context.Background(), "billcycle_test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scratch.Drop(context.Background()); err != nil {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return scratch.Pool
}
