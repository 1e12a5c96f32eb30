package billing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// The feeds: what the plan's other systems tell the biller, as CSV files. One
// file is one transaction, streamed through in chunks, all or nothing unless
// it is imported in part; a row that was taken before changes nothing. The
// single feeds are in import_*.go, the CSV itself in csv.go.

// Problem is what is wrong with one line of a file.
type Problem struct {
	Line    int    `json:"line"`  // of the file, from 1 (the header); 0 for the file as a whole
	Field   string `json:"field"` // the column, "" for the line as a whole
	Problem string `json:"problem"`
}

func (p Problem) String() string {
	switch {
	case p.Line == 0:
		return "the file: " + p.Problem
	case p.Field == "":
		return fmt.Sprintf("line %d: %s", p.Line, p.Problem)
	}
	return fmt.Sprintf("line %d, %s: %s", p.Line, p.Field, p.Problem)
}

// Imported is what became of a file. Rows = Accepted + Unchanged + Refused; of
// a file that was refused whole, every row is refused.
type Imported struct {
	Rows      int          `json:"rows"`
	Accepted  int          `json:"accepted"`
	Unchanged int          `json:"unchanged"` // known already, or the same row again
	Refused   int          `json:"refused"`
	Cents     ledger.Cents `json:"cents"`    // of the accepted rows: charged, or paid
	Problems  []Problem    `json:"problems"` // in order of line; after 10,000 they are only counted
}

// Import says how a feed is taken in.
type Import struct {
	Policy   *Policy
	Day      calendar.Date // the business date on which it arrives
	Partial  bool          // take the good rows, though others are bad
	Operator string        // who imports; "" or "system" is the nightly run
	Keys     *secret.Keys  // seals account numbers; autopay only
	ByHand   *ByHand       // nil: a file
}

// ByHand is who sends a single row by hand, about a member, and why: that act
// is kept in place of the import.
type ByHand struct {
	Act
	MRN string
}

// ErrRefused is returned, with the Imported that says why, for a file of which
// nothing was taken.
var ErrRefused = errors.New("the file was refused and nothing was changed")

const (
	maxProblems = 10_000 // listed; the rest are only counted
	chunkRows   = 20_000 // rows worked on at a time
	feedLock    = 0x66656564
)

// feed is how one kind of file is read and applied. R is a row as it was read.
type feed[R any] struct {
	name   string
	layout layout
	read   func(*row) R                              // reports to the row what is wrong with it
	apply  func(context.Context, *intake, []R) error // takes a chunk of good rows in
	finish func(context.Context, *intake) error      // after the last chunk; nil for nothing
}

// intake is one file on its way in.
type intake struct {
	Import
	Imported
	tx       pgx.Tx
	aside    int // corrections put aside
	unlisted int // problems beyond those listed
}

// refuse says why a row that was read well can't be taken.
func (in *intake) refuse(line int, field, format string, args ...any) {
	in.Refused++
	in.list(Problem{line, field, fmt.Sprintf(format, args...)})
}

func (in *intake) list(problems ...Problem) {
	room := min(len(problems), maxProblems-len(in.Problems))
	in.Problems = append(in.Problems, problems[:room]...)
	in.unlisted += len(problems) - room
}

// take runs a file through a feed. Every bad row is named; if there were any,
// what the good ones did is rolled back, unless the import is partial.
func take[R any](ctx context.Context, db postgres.DB, im Import, f feed[R], from io.Reader) (Imported, error) {
	in := &intake{Import: im, Imported: Imported{Problems: []Problem{}}}
	file, err := openCSV(from, f.layout)
	if err != nil {
		return in.Imported, fmt.Errorf("reading the %s file: %w", f.name, err)
	}
	if len(file.problems) > 0 {
		in.list(file.problems...)
		return in.refusedWhole(f.name)
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		// One import at a time: two of the same file would race for its keys, two
		// of different files for the locks of accounts.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, feedLock); err != nil {
			return err
		}
		in.tx = tx
		if err := stream(ctx, in, f, file); err != nil {
			return err
		}
		if in.Refused > 0 && !in.Partial {
			return ErrRefused
		}
		return in.record(ctx, f.name)
	})
	if errors.Is(err, ErrRefused) {
		return in.refusedWhole(f.name)
	}
	if err != nil {
		return Imported{Problems: []Problem{}}, fmt.Errorf("importing %s: %w", f.name, err)
	}
	in.order()
	return in.Imported, nil
}

// chunk is what was read of a file in one go.
type chunk[R any] struct {
	rows, refused int
	good          []R
	problems      []Problem
	last          bool
	err           error // the reader's
}

// stream reads the file to its end and applies it chunk by chunk; the next
// chunk is read while the database works on the last.
func stream[R any](ctx context.Context, in *intake, f feed[R], file *csvFile) error {
	reading, stop := context.WithCancel(ctx)
	chunks := make(chan chunk[R])
	go func() {
		defer close(chunks)
		for {
			c := readChunk(f, file)
			select {
			case chunks <- c:
			case <-reading.Done():
				return
			}
			if c.last {
				return
			}
		}
	}()
	defer func() { // the reader is the caller's again only when nobody reads it
		stop()
		for range chunks {
		}
	}()
	for c := range chunks {
		if c.err != nil {
			return c.err
		}
		in.Rows += c.rows
		in.Refused += c.refused
		in.list(c.problems...)
		if len(c.good) > 0 {
			if err := f.apply(ctx, in, c.good); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil || f.finish == nil {
		return ctx.Err()
	}
	return f.finish(ctx, in)
}

func readChunk[R any](f feed[R], file *csvFile) (c chunk[R]) {
	for c.rows < chunkRows {
		r, err := file.next()
		if err != nil || r == nil {
			c.last, c.err = true, err
			return c
		}
		c.rows++
		var got R
		if len(r.problems) == 0 {
			got = f.read(r)
		}
		if len(r.problems) == 0 {
			if len(c.good) == cap(c.good) { // append alone would grow it by a quarter at a time, and copy it as often
				c.good = slices.Grow(c.good, max(256, len(c.good)))
			}
			c.good = append(c.good, got)
		} else {
			c.refused++
			c.problems = append(c.problems, r.problems...)
		}
	}
	return c
}

func (in *intake) refusedWhole(name string) (Imported, error) {
	in.Accepted, in.Unchanged, in.Cents, in.Refused = 0, 0, 0, in.Rows
	in.order()
	return in.Imported, fmt.Errorf("%s: %w", name, ErrRefused)
}

// order puts the problems in order of line, and says how many are not listed.
func (in *intake) order() {
	slices.SortStableFunc(in.Problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if in.unlisted > 0 {
		in.Problems = append(in.Problems, Problem{0, "", fmt.Sprintf("and %d more problems, which are not listed", in.unlisted)})
	}
}

// record keeps who imported what, if a person did and it changed anything.
func (in *intake) record(ctx context.Context, name string) error {
	if in.Accepted == 0 || in.Operator == "" || in.Operator == system {
		return nil
	}
	if in.ByHand != nil {
		account, err := Find(ctx, in.tx, in.ByHand.MRN)
		if err != nil {
			return err
		}
		return in.ByHand.Record(ctx, in.tx, account)
	}
	act := Act{Day: in.Day, Operator: in.Operator, Verb: "import " + name, Detail: map[string]any{
		"rows": in.Rows, "accepted": in.Accepted, "unchanged": in.Unchanged, "refused": in.Refused, "cents": in.Cents}}
	return act.Record(ctx, in.tx, 0)
}

// system is the operator of the nightly run.
const system = "system"

// accountsOf returns the accounts that members are billed to, by MRN; who is
// not known is not in it.
func (in *intake) accountsOf(ctx context.Context, mrns []string) (map[string]int64, error) {
	rows, err := in.tx.Query(ctx, `select mrn, account_id from member where mrn = any($1)`, mrns)
	if err != nil {
		return nil, err
	}
	accounts := make(map[string]int64, len(mrns))
	var mrn string
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&mrn, &id}, func() error {
		accounts[mrn] = id
		return nil
	})
	return accounts, err
}

// load finds and locks the accounts of members.
func (in *intake) load(ctx context.Context, need Need, mrns []string) (*Book, map[string]int64, error) {
	slices.Sort(mrns)
	accounts, err := in.accountsOf(ctx, slices.Compact(mrns))
	if err != nil {
		return nil, nil, err
	}
	ids := make([]int64, 0, len(accounts))
	for _, id := range accounts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	book, err := Load(ctx, in.tx, in.Policy.Need(need), slices.Compact(ids)...)
	return book, accounts, err
}

// column takes one field of every row, for a query.
func column[R, T any](rows []R, of func(*R) T) []T {
	out := make([]T, len(rows))
	for i := range rows {
		out[i] = of(&rows[i])
	}
	return out
}

const unknownMember = "no member has the MRN %s; import members first"
