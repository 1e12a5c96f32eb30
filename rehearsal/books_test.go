package rehearsal_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/fixtures"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
)

// newHouse returns a house with an empty database, an empty directory and keys
// in a file, so that another process can open it, too.
func newHouse(t testing.TB) jobs.House {
	t.Helper()
	dir := t.TempDir()
	keys, err := secret.Load(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	policy := billing.DefaultPolicy()
	// The same boxes as a demo without any takes by itself; known beforehand.
	policy.Lockboxes = fixtures.New(1, 1, rehearsal.DemoStart, policy).Lockboxes()
	return jobs.House{DB: postgrestest.New(t), Policy: &policy, Keys: keys, Dir: dir, Operator: "system"}
}

// books is everything of a house that must come out the same however its
// nights went: a line for each row, statement and file, by name.
type books map[string]string

// bookRows select the rows of a book by their keys. What they leave out is
// numbered by the database's sequences, which a transaction rolled back does
// not give back: ids of files and methods of payment.
var bookRows = map[string]string{
	"journal":      `select account_id || '/' || no, to_jsonb(j)::text from journal j`,
	"account":      `select id::text, to_jsonb(a)::text from account a`,
	"member":       `select mrn, to_jsonb(m)::text from member m`,
	"item":         `select account_id || '/' || no, to_jsonb(i)::text from item i`,
	"receipt":      `select account_id || '/' || no, (to_jsonb(r) - 'check_file')::text from receipt r`,
	"member_was":   `select mrn || '/' || until_on, to_jsonb(w)::text from member_was w`,
	"standing":     `select account_id || '/' || no, to_jsonb(s)::text from standing s`,
	"allocation":   `select account_id || '/' || no, to_jsonb(a)::text from allocation a`,
	"bill":         `select account_id || '/' || cycle, to_jsonb(b)::text from bill b`,
	"statement":    `select account_id || '/' || cycle, coalesce(encode(sha256, 'hex'), 'not drawn') || ' of ' || encode(sealed, 'hex') from statement s`,
	"hold":         `select account_id || '/' || no, to_jsonb(h)::text from hold h`,
	"debit":        `select account_id || '/' || receipt, (to_jsonb(d) - 'file_id' - 'method_id')::text || ' in ' || coalesce(f.name, '') from debit d left join ach_file f on f.id = d.file_id`,
	"ach_entry":    `select concat_ws('/', e.account_id, e.kind, e.built_on), (to_jsonb(e) - 'file_id' - 'method_id')::text || ' in ' || coalesce(f.name, '') from ach_entry e left join ach_file f on f.id = e.file_id`,
	"ach_file":     `select coalesce(name, state || ' for ' || effective_on), (to_jsonb(f) - 'id')::text from ach_file f`,
	"card_charge":  `select concat_ws('/', account_id, cycle, attempt), (to_jsonb(c) - 'file_id' - 'method_id')::text from card_charge c`,
	"message":      `select concat_ws('/', account_id, cycle, kind, channel), (to_jsonb(m) - 'file_id')::text from message m`,
	"outbox_file":  `select name, (to_jsonb(f) - 'id')::text from outbox_file f`,
	"ach_answer":   `select encode(sha256, 'hex') || '/' || ordinal, to_jsonb(a)::text from ach_answer a`,
	"lockbox_item": `select encode(f.sha256, 'hex') || '/' || ordinal, jsonb_build_array(i.cents, received_on, check_no, i.state, reason, entry, account_id, sole)::text from lockbox_item i join lockbox_file f on f.id = i.file_id`,
	"bounced":      `select concat_ws('/', account_id, channel, address), to_jsonb(b)::text from bounced b`,
	"exception":    `select concat_ws('/', account_id, job, code, on_date, count(*)), '' from exception group by account_id, job, code, on_date`,
	"parked":       `select concat_ws('/', account_id, job, step, day), to_jsonb(p)::text from parked p`,
	"skipped":      `select concat_ws('/', account_id, job, code, subject, first_on), last_on::text from skipped`,
	"run":          `select job || ' ' || day, state from run`,
}

// read reads a house's books, and its outbox and statements on disk.
func read(ctx context.Context, h jobs.House) (books, error) {
	b := books{}
	for table, sql := range bookRows {
		rows, err := h.DB.Query(ctx, sql)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		var key, text string
		if _, err := pgx.ForEachRow(rows, []any{&key, &text}, func() error {
			b[table+" "+key] = text
			return nil
		}); err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
	}
	for _, folder := range []string{"outbox", "statements", "refused", "inbox"} {
		err := filepath.WalkDir(filepath.Join(h.Dir, folder), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				if os.IsNotExist(err) {
					err = nil
				}
				return err
			}
			if folder == "statements" && strings.HasPrefix(e.Name(), ".") {
				return nil // what a killed program was writing: nobody reads it
			}
			content, err := os.ReadFile(path)
			name, _ := filepath.Rel(h.Dir, path)
			b[name] = fmt.Sprintf("%x", sha256.Sum256(content))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// kind returns the part of the books of which the names begin so.
func (b books) kind(prefix string) books {
	part := books{}
	for name, text := range b {
		if strings.HasPrefix(name, prefix) {
			part[name] = text
		}
	}
	return part
}

// differences says in which lines two books differ, the first few of them.
func (b books) differences(other books) []string {
	names := maps.Clone(b)
	maps.Copy(names, other)
	var found []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		one, here := b[name]
		two, there := other[name]
		switch {
		case here && there && one == two:
			continue
		case !here:
			one = "nothing"
		case !there:
			two = "nothing"
		}
		found = append(found, fmt.Sprintf("%s: want %.400s, got %.400s", name, one, two))
	}
	if len(found) > 8 {
		found = append(found[:8:8], fmt.Sprintf("and %d more", len(found)-8))
	}
	return found
}

// holds fails the test unless the house's books prove right.
func holds(t testing.TB, h jobs.House) {
	t.Helper()
	proofs, broken, err := h.Verify(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(proofs) < len(jobs.Invariants()) || len(proofs) == 0 {
		t.Fatalf("verify proved %d invariants only", len(proofs))
	}
	for _, p := range proofs {
		if !p.Holds {
			t.Errorf("%s (%s): %d rows: %v", p.Name, p.Says, p.Rows, p.Examples)
		}
	}
	if broken > 0 != t.Failed() {
		t.Errorf("verify counts %d broken invariants", broken)
	}
}

// live lives a demo in a house and returns its books.
func live(t testing.TB, d rehearsal.Demo, h jobs.House) (books, rehearsal.Lived) {
	t.Helper()
	if d.Start == 0 {
		d.Start = rehearsal.DemoStart
	}
	lived, err := d.Live(context.Background(), h)
	if err != nil {
		t.Fatal(err)
	}
	b, err := read(context.Background(), h)
	if err != nil {
		t.Fatal(err)
	}
	return b, lived
}
