package jobs_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
)

// glFile is a file for the general ledger as its reader sees it.
type glFile struct {
	name           string
	lines          []map[string]string
	entries, cents int64
}

// journalFiles reads the files of the outbox and holds each to what any reader
// would: whole, balanced, the totals at its end right, no number left out.
func (b *biller) journalFiles() (files []glFile) {
	b.t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.Dir, "outbox", "journal", "*.csv"))
	if err != nil {
		b.t.Fatal(err)
	}
	byNumber := map[string]glFile{}
	for _, path := range paths {
		f := b.readJournal(path)
		byNumber[f.lines[len(f.lines)-1]["file"]] = f
	}
	for n := range len(paths) {
		f, there := byNumber[strconv.Itoa(n+1)]
		if !there {
			b.t.Fatalf("no file has the number %d of %v", n+1, paths)
		}
		files = append(files, f)
	}
	return files
}

func (b *biller) readJournal(path string) glFile {
	b.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	records, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil || len(records) < 2 {
		b.t.Fatalf("%s: %v, %d records", path, err, len(records))
	}
	f := glFile{name: filepath.Base(path)}
	var debits, credits int64
	for n, record := range records[1:] {
		line := map[string]string{}
		for i, column := range records[0] {
			line[column] = record[i]
		}
		f.lines = append(f.lines, line)
		number := func(column string) int64 {
			v, err := strconv.ParseInt(line[column], 10, 64)
			if err != nil || v < 0 {
				b.t.Fatalf("%s, record %d: %s is %q", path, n+2, column, line[column])
			}
			return v
		}
		if last := n == len(records)-2; !last {
			if line["record"] != "line" || number("line") != int64(n+1) || (number("debit_cents") == 0) == (number("credit_cents") == 0) {
				b.t.Errorf("%s, record %d is %v", path, n+2, line)
			}
			debits, credits = debits+number("debit_cents"), credits+number("credit_cents")
			continue
		}
		f.entries, f.cents = number("entries"), debits
		if line["record"] != "total" || number("line") != int64(n) || number("debit_cents") != debits || number("credit_cents") != credits || debits != credits {
			b.t.Errorf("%s: its total is %v, its lines hold %d and %d", path, line, debits, credits)
		}
	}
	return f
}

// tie holds the files' totals, added up, to the journal's.
func (b *biller) tie(files []glFile) {
	b.t.Helper()
	var entries, cents int64
	for _, f := range files {
		entries, cents = entries+f.entries, cents+f.cents
	}
	if n, sum := b.figure(`select count(*) from journal`), b.figure(`select coalesce(sum(cents), 0)::bigint from journal`); n != entries || sum != cents {
		b.t.Errorf("the files hold %d entries of %d cents, the journal %d of %d", entries, cents, n, sum)
	}
}

func TestJournalFilesTieToTheLedger(t *testing.T) {
	b := newBiller(t, 12)
	b.enrol(4)
	b.Release = "second person"
	b.Policy.Journal.Accounts["receivable"] = "1200-00"
	for d := day("2026-03-01"); d <= day("2026-04-02"); d++ {
		if d == day("2026-03-11") {
			b.check("checks.bai", 7, 10_007, d-1)
		}
		b.night(d.String())
	}
	files := b.journalFiles()
	if len(files) != 33 {
		t.Fatalf("33 nights made %d files", len(files))
	}
	b.tie(files)
	for n, f := range files {
		if on := (day("2026-03-01") + calendar.Date(n)).String(); f.lines[0]["date"] != on {
			t.Errorf("file %d is of %s, want %s", n+1, f.lines[0]["date"], on)
		}
		for _, line := range f.lines[:len(f.lines)-1] {
			if line["posted_on"] != line["date"] {
				t.Errorf("%s holds a line of %s", f.name, line["posted_on"])
			}
			if want := map[string]string{"receivable": "1200-00"}[line["ledger_account"]]; want != "" && line["account"] != want {
				t.Errorf("%s calls receivable %q", f.name, line["account"])
			}
		}
	}
	first := files[0].lines
	if len(first) != 3 || first[0]["what"] != "charge" || first[0]["entries"] != "12" || first[0]["debit_cents"] != "120066" || first[1]["account"] != "premiums" || first[1]["credit_cents"] != "120066" {
		t.Errorf("the first night's file is %v", first)
	}
	if quiet := files[1]; len(quiet.lines) != 1 || quiet.entries != 0 {
		t.Errorf("a night without a movement has the file %v, want a total of nothing", quiet.lines)
	}
	b.holds()
	// Asked for again, even when the chart has changed, they are the same.
	b.Policy.Journal.Accounts["receivable"] = "9999"
	for n, f := range files {
		var again bytes.Buffer
		if _, err := b.JournalFile(t.Context(), n+1, &again); err != nil {
			t.Fatal(err)
		}
		if on, err := os.ReadFile(filepath.Join(b.Dir, "outbox", "journal", f.name)); err != nil || !bytes.Equal(on, again.Bytes()) {
			t.Errorf("%s asked for again is other bytes (%v)", f.name, err)
		}
	}
	if _, err := b.JournalFile(t.Context(), 34, &bytes.Buffer{}); !errors.Is(err, ledger.ErrNoFile) {
		t.Errorf("a file that is not there gave %v", err)
	}
}

// What is written after a date's file was made goes into exactly one later
// file, and what nobody wrote makes none.
func TestJournalTakesLateEntriesOnce(t *testing.T) {
	b := newBiller(t, 3)
	b.night("2026-03-01")
	b.night("2026-03-01")
	if files := b.journalFiles(); len(files) != 1 {
		t.Fatalf("a night run twice made %d files", len(files))
	}
	adjust := func(on string, cents ledger.Cents) {
		t.Helper()
		act := billing.Act{Day: day(on), Operator: "pat", Verb: "adjust"}
		if err := act.Do(t.Context(), b.DB, mrn(0), func(a *billing.Account) error {
			return a.Adjust(b.Policy, day(on), billing.Premium, cents, 0, billing.Detail{})
		}); err != nil {
			t.Fatal(err)
		}
	}
	adjust("2026-03-01", -500) // during the day, after the night's file
	adjust("2026-03-03", -700) // of a date whose night is still to come
	if r := b.night("2026-03-01")["journal"]; r.Done != 1 || r.Cents != 500 {
		t.Errorf("a later pass of the night came to %+v, want the one entry since", r)
	}
	adjust("2026-03-01", -300)
	if r := b.night("2026-03-02")["journal"]; r.Done != 1 || r.Cents != 300 {
		t.Errorf("the next night's journal came to %+v, want what was dated back", r)
	}
	b.night("2026-03-03")
	files := b.journalFiles()
	var got []string
	for _, f := range files {
		for _, line := range f.lines[:len(f.lines)-1] {
			if line["debit_cents"] != "0" {
				got = append(got, strings.Join([]string{line["file"], line["date"], line["posted_on"], line["what"], line["debit_cents"]}, " "))
			}
		}
	}
	want := []string{"1 2026-03-01 2026-03-01 charge 30003", "2 2026-03-01 2026-03-01 adjustment 500", "3 2026-03-02 2026-03-01 adjustment 300", "4 2026-03-03 2026-03-03 adjustment 700"}
	if !slices.Equal(got, want) {
		t.Errorf("the files hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.tie(files)
	b.holds()
}

// An entry that is being written while a file is sealed is not in it, and in
// the next.
func TestJournalLeavesOpenTransactionsForTheNextFile(t *testing.T) {
	b := newBiller(t, 2)
	b.night("2026-03-01")
	act := billing.Act{Day: day("2026-03-02"), Operator: "pat", Verb: "adjust"}
	if err := act.Do(t.Context(), b.DB, mrn(1), func(a *billing.Account) error {
		return a.Adjust(b.Policy, day("2026-03-02"), billing.Premium, -100, 0, billing.Detail{})
	}); err != nil {
		t.Fatal(err)
	}
	err := pgx.BeginFunc(t.Context(), b.DB, func(tx pgx.Tx) error {
		book, a, err := billing.LoadOne(t.Context(), tx, billing.Whole, mrn(0))
		if err != nil {
			return err
		}
		if err := a.Adjust(b.Policy, day("2026-03-02"), billing.Premium, -900, 0, billing.Detail{}); err != nil {
			return err
		}
		if err := book.Save(t.Context()); err != nil {
			return err
		}
		r, err := jobs.Runner{House: b.House}.Run(t.Context(), "journal", day("2026-03-02"))
		if err == nil && (r.Done != 1 || r.Cents != 100) {
			t.Errorf("while an entry is being written the journal came to %+v", r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := b.night("2026-03-02")["journal"]; r.Done != 1 || r.Cents != 900 {
		t.Errorf("after it was written the journal came to %+v", r)
	}
	b.tie(b.journalFiles())
	b.holds()
}

// A run that is killed after its file was sealed, or before it was written,
// leads to the one file.
func TestJournalKilled(t *testing.T) {
	for _, moment := range []string{"update outbox_file set sha256", "update outbox_file set written_on", "update run set state"} {
		b := newBiller(t, 2)
		if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-01")); err != nil {
			t.Fatal(err)
		}
		broken := *b
		ctx, pull := context.WithCancel(t.Context())
		broken.DB = tracedPool(t, b.DB, func(sql string) {
			if strings.HasPrefix(sql, moment) {
				pull()
			}
		})
		_, err := jobs.Runner{House: broken.House}.Run(ctx, "journal", day("2026-03-01"))
		if err == nil && moment != "update run set state" {
			t.Fatalf("%s: the run came through", moment)
		}
		if r, err := (jobs.Runner{House: b.House}).Run(t.Context(), "journal", day("2026-03-01")); err != nil || !r.Again && r.Done != 2 {
			t.Errorf("%s: run again it came to %+v, %v; want the 2 entries", moment, r, err)
		}
		files := b.journalFiles()
		if len(files) != 1 {
			t.Errorf("%s: %d files", moment, len(files))
		}
		b.tie(files)
		b.holds()
	}
}
