package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestRun(t *testing.T) {
	t.Setenv("BILLCYCLE_DATABASE", "")
	out := filepath.Join(t.TempDir(), "url")
	code, err := run([]string{"sh", "-c", `printf %s "$BILLCYCLE_DATABASE" > "$0"; exit 7`, out})
	if code != 7 || err != nil {
		t.Errorf("code %d, %v; want the command's 7", code, err)
	}
	url, err := os.ReadFile(out)
	if err != nil || !strings.HasPrefix(string(url), "postgres://") {
		t.Fatalf("the command saw %q (%v), want a URL", url, err)
	}
	if _, err := pgx.Connect(t.Context(), string(url)); err == nil {
		t.Error("the server outlived the command")
	}

	t.Setenv("BILLCYCLE_DATABASE", "named")
	if code, err := run([]string{"sh", "-c", `test "$BILLCYCLE_DATABASE" = named`}); code != 0 || err != nil {
		t.Errorf("code %d, %v; want 0: the server that was named", code, err)
	}
	if code, err := run([]string{"sh", "-c", `kill -9 $$`}); code != 137 || err != nil {
		t.Errorf("code %d, %v; want 137 for a killed command", code, err)
	}
	if code, err := run([]string{"/no/such/command"}); code != 127 || err == nil {
		t.Errorf("code %d, %v; want 127 and an error", code, err)
	}
}
