package rehearsal_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/rehearsal"
)

// The same seed gives the same books to the last byte, whatever the ranges and
// however many work on them; another seed gives others.
func TestDemoSameSeed(t *testing.T) {
	demo := rehearsal.Demo{Members: 60, Months: 2, Seed: 7}
	one, two := newHouse(t), newHouse(t)
	two.Workers, two.ChunkAccounts = 3, 5
	want, lived := live(t, demo, one)
	got, _ := live(t, demo, two)
	for _, d := range want.differences(got) {
		t.Error(d)
	}
	holds(t, one)
	holds(t, two)
	// Or there was nothing to compare.
	if lived.Nights != 59 || lived.Statements < 30 || lived.ACHDebits == 0 || lived.LockboxItems == 0 || lived.LateFees == 0 {
		t.Errorf("hardly anything happened: %+v", lived)
	}
	for _, kind := range []string{"journal", "statements/", "outbox/ach/"} {
		if len(want.kind(kind)) == 0 {
			t.Errorf("the books hold no %s", kind)
		}
	}
	if left := want.kind("inbox/"); len(left) > 0 {
		t.Errorf("left in the inbox: %v", left)
	}

	demo.Seed, demo.Months = 8, 1
	other, _ := live(t, demo, newHouse(t))
	for _, kind := range []string{"journal", "member", "statements/", "outbox/ach/"} {
		if len(other.kind(kind)) == 0 || len(want.kind(kind).differences(other.kind(kind))) == 0 {
			t.Errorf("another seed has the same %s, or none", kind)
		}
	}
}

// What a demo sends out is well made, and account numbers are in the clear in
// nothing but the files for the bank.
func TestDemoLeavesNoAccountNumber(t *testing.T) {
	h := newHouse(t)
	var log bytes.Buffer
	h.Log = &log
	numbers := map[string]bool{}
	demo := rehearsal.Demo{Members: 60, Months: 1, Seed: 3, Start: rehearsal.DemoStart, Log: &log}
	told := 0
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		collectNumbers(t, h.Dir, numbers)
		reports, err := jobs.Runner{House: h}.Night(ctx, day)
		for _, r := range reports {
			for _, note := range r.Notes {
				log.WriteString(note + "\n")
				told++
			}
		}
		return err
	}
	live(t, demo, h)
	holds(t, h)
	if len(numbers) < 15 {
		t.Fatalf("only %d account numbers came in: %v", len(numbers), numbers)
	}
	if told == 0 {
		t.Error("no run had anything to note")
	}
	inClear := func(where string, content []byte) (found int) {
		t.Helper()
		for number := range numbers {
			if bytes.Contains(content, []byte(number)) {
				found++
				if !strings.HasPrefix(where, "outbox/ach/") || !strings.HasSuffix(where, ".ach") {
					t.Errorf("an account number that ends in %s stands in clear in %s", number[len(number)-4:], where)
				}
			}
		}
		return found
	}
	inClear("the log", log.Bytes())
	inDatabase(t, h, inClear)
	sent, files := 0, 0
	err := filepath.WalkDir(h.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(h.Dir, path)
		files++
		found := inClear(name, content)
		switch {
		case strings.HasPrefix(name, "outbox/ach/"):
			sent += found
			report, err := ach.Inspect(bytes.NewReader(content))
			if err != nil || len(report.Problems) > 0 || report.Entries == 0 {
				t.Errorf("%s: %d entries, %v, %v", name, report.Entries, report.Problems, err)
			}
		case strings.HasSuffix(name, ".pdf"):
			inClear(name+" (its text)", []byte(pdfText(t, content)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// The net has no hole: the numbers are where they belong, and are found there.
	if sent == 0 || files < 50 {
		t.Errorf("%d account numbers in the files for the bank, of %d files", sent, files)
	}
}

// collectNumbers reads the account numbers of the inbox: of enrolments, and of
// the checks in lockbox files.
func collectNumbers(t *testing.T, dir string, numbers map[string]bool) {
	t.Helper()
	for _, path := range glob(t, dir, "inbox", "autopay", "*.csv") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			if number := row[slices.Index(rows[0], "account")]; number != "" {
				numbers[number] = true
			}
		}
	}
	for _, path := range glob(t, dir, "inbox", "lockbox", "*.bai") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		profile, err := lockbox.Recognize(bytes.NewReader(content), lockbox.Profiles())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lockbox.Read(bytes.NewReader(content), profile, func(b lockbox.Batch) error {
			for _, i := range b.Items {
				numbers[i.Account] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for number := range numbers {
		if len(strings.TrimLeft(number, "0")) < 6 {
			t.Fatalf("account number %q is too short to be looked for", number)
		}
	}
}

func glob(t *testing.T, path ...string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// inDatabase looks through every column of every table.
func inDatabase(t *testing.T, h jobs.House, inClear func(where string, content []byte) int) {
	t.Helper()
	ctx := context.Background()
	rows, err := h.DB.Query(ctx, `select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	var tables []string
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	if len(tables) < 20 {
		t.Fatalf("the database has %d tables", len(tables))
	}
	for _, table := range tables {
		var binary bytes.Buffer // COPY's binary form holds texts and bytea as they are
		conn, err := h.DB.(*pgxpool.Pool).Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Conn().PgConn().CopyTo(ctx, &binary, `copy (table "`+table+`") to stdout with (format binary)`)
		conn.Release()
		if err != nil {
			t.Fatal(err)
		}
		inClear("table "+table, binary.Bytes())
	}
}
