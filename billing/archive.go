package billing

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// The journal lies in a partition for each month of its business dates. A month
// may leave the database for a file and come back: nothing else may, since no
// rule asks for an entry once a bill has taken it up. What a rule may still ask
// for (entries that wait for a bill, what was taken off charges) stays behind
// in journal_kept.
//
// A file is CSV in gzip members, one after the other: a line of names, blocks
// of accounts in order, a line of totals. Any tool reads it whole; the database
// knows where each block begins, so that one account's story needs one block.

// ErrArchive is returned where the file of an archived month is not there, or
// is not the one that was written.
var ErrArchive = errors.New("archived journal")

// ErrNoMonth is returned for a month that can't be archived, or given back.
var ErrNoMonth = errors.New("no such month of the journal")

// ArchivedMonth is a month of the journal that lies in a file.
type ArchivedMonth struct {
	Month      calendar.Cycle `json:"-"`
	Name       string         `json:"month"` // 2026-03
	File       string         `json:"file"`  // in the folder of archived months
	Entries    int64          `json:"entries"`
	Cents      ledger.Cents   `json:"cents"` // of all entries
	SHA256     string         `json:"sha256"`
	ArchivedOn calendar.Date  `json:"archived_on"`
}

func (m *ArchivedMonth) path(dir string) string { return filepath.Join(dir, m.File) }

func (m *ArchivedMonth) wrong(format string, args ...any) error {
	return fmt.Errorf("%w of %s: %s", ErrArchive, m.Month, fmt.Sprintf(format, args...))
}

func partition(m calendar.Cycle) string {
	return "journal_" + strings.ReplaceAll(m.String(), "-", "_")
}

// OpenMonths makes the partitions of a day's month and the next, unless they
// are there. It does not wait long for others: an entry without a partition of
// its month lies in journal_other until somebody makes it.
func OpenMonths(ctx context.Context, db postgres.DB, day calendar.Date) error {
	for m := calendar.CycleOf(day); m <= calendar.CycleOf(day)+1; m++ {
		var there bool
		if err := db.QueryRow(ctx, `select to_regclass($1) is not null`, "public."+partition(m)).Scan(&there); err != nil {
			return err
		}
		if there {
			continue
		}
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local lock_timeout = '2s'`); err != nil {
				return err
			}
			return openMonth(ctx, tx, m)
		})
		var busy *pgconn.PgError
		if errors.As(err, &busy) && busy.Code == "55P03" { // lock_not_available
			return nil
		}
		if err != nil {
			return fmt.Errorf("journal of %s: %w", m, err)
		}
	}
	return nil
}

// lockMonth lets nobody else open, archive or restore a month until the
// transaction ends. Who looks for where it lies, looks after this.
func lockMonth(ctx context.Context, tx pgx.Tx, m calendar.Cycle) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(2, $1)`, int32(m))
	return err
}

// openMonth makes the partition of a month, and moves into it what lies in
// journal_other.
func openMonth(ctx context.Context, tx pgx.Tx, m calendar.Cycle) error {
	name := partition(m)
	if err := lockMonth(ctx, tx, m); err != nil {
		return err
	}
	var there bool
	if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, "public."+name).Scan(&there); err != nil || there {
		return err
	}
	days := fmt.Sprintf("posted_on >= '%s' and posted_on < '%s'", m.First(), (m + 1).First())
	for _, sql := range []string{
		`create table ` + name + ` (like journal including defaults including constraints)`,
		`alter table journal_other disable trigger journal_append_only`,
		`with moved as (delete from journal_other where ` + days + ` returning *) insert into ` + name + ` select * from moved`,
		`alter table journal_other enable trigger journal_append_only`,
		`alter table ` + name + ` add primary key (account_id, no, posted_on)`,
		fmt.Sprintf(`alter table journal attach partition %s for values from ('%s') to ('%s')`, name, m.First(), (m + 1).First()),
		`create trigger journal_no_truncate before truncate on ` + name + ` for each statement execute function refuse_change()`,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// ArchivedMonths lists the months that lie in files, since one; oldest first.
func ArchivedMonths(ctx context.Context, q Querier, since calendar.Cycle) ([]ArchivedMonth, error) {
	rows, err := q.Query(ctx, `select month, file, entries, cents, encode(sha256, 'hex'), archived_on from journal_month where month >= $1 order by month`, since)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m ArchivedMonth, err error) {
		err = row.Scan(&m.Month, &m.File, &m.Entries, &m.Cents, &m.SHA256, &m.ArchivedOn)
		m.Name = m.Month.String()
		return m, err
	})
}

// ArchiveMonth writes a month of the journal to a file in a folder, reads it
// back, and takes the month out of the database when file and control totals
// agree. Cut short at any moment, the month is still in the database.
func ArchiveMonth(ctx context.Context, db postgres.DB, dir string, month calendar.Cycle, act Act) (m ArchivedMonth, err error) {
	m = ArchivedMonth{Month: month, Name: month.String(), File: "journal-" + month.String() + ".csv.gz", ArchivedOn: act.Day}
	if month >= calendar.CycleOf(act.Day) {
		return m, fmt.Errorf("%w: %s is not over", ErrNoMonth, month)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := lockMonth(ctx, tx, month); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, `select exists (select from journal_month where month = $1)`, month).Scan(&there); err != nil {
			return err
		}
		if there {
			return fmt.Errorf("%w: %s is archived already, in %s", ErrNoMonth, month, m.path(dir))
		}
		if err := openMonth(ctx, tx, month); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `lock table `+partition(month)+` in exclusive mode`); err != nil {
			return err
		}
		blocks, err := m.write(ctx, tx, dir)
		if err != nil {
			return err
		}
		if err := m.leave(ctx, tx, dir, blocks); err != nil {
			return err
		}
		return m.record(ctx, tx, act)
	})
	return m, err
}

func (m *ArchivedMonth) record(ctx context.Context, tx pgx.Tx, act Act) error {
	act.Detail = map[string]any{"month": m.Name, "file": m.File, "entries": m.Entries, "cents": m.Cents, "sha256": m.SHA256}
	return act.Record(ctx, tx, House)
}

// block is a gzip member of an archive: the entries of the accounts from one
// up to the next block's.
type block struct {
	from      int64
	at, bytes int64
	sum       []byte
}

// write writes the file, under a temporary name until it is on the disk.
func (m *ArchivedMonth) write(ctx context.Context, tx pgx.Tx, dir string) ([]block, error) {
	temporary := filepath.Join(dir, "."+m.File+".tmp")
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(temporary) // unless it has its name by then
	w := &blockWriter{out: out, m: m, sum: sha256.New()}
	from, to := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := tx.Conn().PgConn().CopyTo(ctx, to, `copy (select `+strings.Join(ledger.Columns, ", ")+` from `+partition(m.Month)+` order by account_id, no) to stdout (format csv)`)
		to.CloseWithError(err)
		copied <- err
	}()
	err = w.all(from)
	from.CloseWithError(err) // lets COPY end where writing could not go on
	if err := errors.Join(err, <-copied, out.Sync(), out.Close()); err != nil {
		return nil, err
	}
	m.SHA256 = fmt.Sprintf("%x", w.sum.Sum(nil))
	if err := os.Rename(temporary, m.path(dir)); err != nil {
		return nil, err
	}
	return w.blocks, errors.Join(postgres.SyncFolder(dir), postgres.SyncFolder(filepath.Dir(dir)))
}

// blockLines is when a block ends, at the next account.
const blockLines = 4096

type blockWriter struct {
	out io.Writer
	m   *ArchivedMonth
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}
	at     int64
	plain  bytes.Buffer
	lines  int
	blocks []block
}

func (w *blockWriter) all(from io.Reader) error {
	w.plain.WriteString(strings.Join(ledger.Columns, ",") + "\n")
	if _, err := w.member(); err != nil {
		return err
	}
	lines := bufio.NewReader(from)
	var begun, last string
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		fields := strings.Split(line, ",")
		cents, err := strconv.ParseInt(fields[7], 10, 64)
		if err != nil {
			return err
		}
		if fields[0] != last && w.lines >= blockLines {
			if err := w.block(begun); err != nil {
				return err
			}
		}
		if w.lines == 0 {
			begun = fields[0]
		}
		last = fields[0]
		w.plain.WriteString(line)
		w.lines++
		w.m.Entries++
		w.m.Cents += ledger.Cents(cents)
	}
	if w.lines > 0 {
		if err := w.block(begun); err != nil {
			return err
		}
	}
	fmt.Fprintf(&w.plain, "total,%d,%d\n", w.m.Entries, w.m.Cents)
	_, err := w.member()
	return err
}

func (w *blockWriter) block(begun string) error {
	from, err := strconv.ParseInt(begun, 10, 64)
	if err != nil {
		return err
	}
	b, err := w.member()
	b.from = from
	w.blocks, w.lines = append(w.blocks, b), 0
	return err
}

// member writes what has gathered as a gzip member.
func (w *blockWriter) member() (block, error) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := w.plain.WriteTo(z)
	if err := errors.Join(err, z.Close()); err != nil {
		return block{}, err
	}
	sum := sha256.Sum256(packed.Bytes())
	b := block{at: w.at, bytes: int64(packed.Len()), sum: sum[:]}
	w.at += b.bytes
	_, err = io.MultiWriter(w.out, w.sum).Write(packed.Bytes())
	return b, err
}

// leave notes where everything is, holds the file as it lies on the disk
// against the month and its control totals, and lets the month go.
func (m *ArchivedMonth) leave(ctx context.Context, tx pgx.Tx, dir string, blocks []block) error {
	part := partition(m.Month)
	if _, err := tx.Exec(ctx, `insert into journal_month (month, file, entries, cents, sha256, archived_on) values ($1, $2, $3, $4, decode($5, 'hex'), $6)`,
		m.Month, m.File, m.Entries, int64(m.Cents), m.SHA256, m.ArchivedOn); err != nil {
		return err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"journal_block"}, []string{"month", "from_account", "at", "bytes", "sha256"}, pgx.CopyFromSlice(len(blocks), func(n int) ([]any, error) {
		b := blocks[n]
		return []any{int32(m.Month), b.from, b.at, b.bytes, b.sum}, nil
	})); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `create temporary table journal_written (like public.journal) on commit drop`); err != nil {
		return err
	}
	if err := m.load(ctx, tx, dir, "journal_written"); err != nil {
		return err
	}
	var lost int64
	if err := tx.QueryRow(ctx, `select (select count(*) from (table `+part+` except table journal_written) x) + (select count(*) from (table journal_written except table `+part+`) x)
		+ abs((select count(*) from `+part+`) - (select count(*) from journal_written))`).Scan(&lost); err != nil {
		return err
	}
	if lost != 0 {
		return m.wrong("%s does not hold what the month does: %d entries differ; the month stays where it is", m.path(dir), lost)
	}
	for _, sql := range []string{
		`insert into journal_kept select j.* from ` + part + ` j join account a on a.id = j.account_id left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			where a.id > 0 and 'receivable' in (j.debit, j.credit) and (j.no > coalesce(b.entries, 0)
			or j.credit = 'receivable' and exists (select from item i where i.account_id = j.account_id and i.no = j.doc))`,
		`alter table journal detach partition ` + part,
		`drop table ` + part,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// RestoreMonth reads an archived month back into the database. The file stays.
func RestoreMonth(ctx context.Context, db postgres.DB, dir string, month calendar.Cycle, act Act) (m ArchivedMonth, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := lockMonth(ctx, tx, month); err != nil {
			return err
		}
		months, err := ArchivedMonths(ctx, tx, month)
		if err != nil {
			return err
		}
		if len(months) == 0 || months[0].Month != month {
			return fmt.Errorf("%w: %s is not archived", ErrNoMonth, month)
		}
		m = months[0]
		if err := openMonth(ctx, tx, month); err != nil {
			return err
		}
		if err := m.load(ctx, tx, dir, "public."+partition(month)); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`delete from journal_kept where posted_on between $1 and $2`, month.First(), month.Last())
		batch.Queue(`delete from journal_block where month = $1`, month)
		batch.Queue(`delete from journal_month where month = $1`, month)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		return m.record(ctx, tx, act)
	})
	return m, err
}

// load copies the entries of a month's file into a table, and holds them
// against the hash and the totals that it was archived with.
func (m *ArchivedMonth) load(ctx context.Context, tx pgx.Tx, dir, table string) error {
	f, err := os.Open(m.path(dir))
	if err != nil {
		return m.wrong("%v; put the file back into %s", err, dir)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != m.SHA256 {
		return m.wrong("%s has the hash %s, not %s as when it was written", m.path(dir), got, m.SHA256)
	}
	var from, bytes int64
	if err := tx.QueryRow(ctx, `select coalesce(min(at), 0), coalesce(sum(bytes), 0)::bigint from journal_block where month = $1`, m.Month).Scan(&from, &bytes); err != nil || bytes == 0 {
		return err
	}
	z, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(f, from, bytes)))
	if err != nil {
		return m.wrong("%s: %v", m.path(dir), err)
	}
	done, err := tx.Conn().PgConn().CopyFrom(ctx, z, `copy `+table+` (`+strings.Join(ledger.Columns, ", ")+`) from stdin (format csv)`)
	if err == nil && done.RowsAffected() != m.Entries {
		err = m.wrong("%s holds %d entries, not %d", m.path(dir), done.RowsAffected(), m.Entries)
	}
	return err
}

// archivedEntries reads an account's entries out of archived months.
func archivedEntries(ctx context.Context, tx pgx.Tx, dir string, account int64, months []ArchivedMonth) (entries []ledger.Entry, err error) {
	for n := range months {
		m := &months[n]
		var b block
		err := tx.QueryRow(ctx, `select at, bytes, sha256 from journal_block where month = $1 and from_account <= $2 order by from_account desc limit 1`, m.Month, account).Scan(&b.at, &b.bytes, &b.sum)
		if errors.Is(err, pgx.ErrNoRows) {
			continue // it begins after this account
		}
		if err != nil {
			return nil, err
		}
		own, err := m.entriesOf(dir, account, b)
		if err != nil {
			return nil, err
		}
		entries = append(entries, own...)
	}
	return entries, nil
}

func (m *ArchivedMonth) entriesOf(dir string, account int64, b block) (entries []ledger.Entry, err error) {
	f, err := os.Open(m.path(dir))
	if err != nil {
		return nil, m.wrong("%v; put the file back into %s, or ask for a shorter --history", err, dir)
	}
	defer f.Close()
	packed := make([]byte, b.bytes)
	if _, err := f.ReadAt(packed, b.at); err != nil {
		return nil, m.wrong("%s: %v", m.path(dir), err)
	}
	if sum := sha256.Sum256(packed); !bytes.Equal(sum[:], b.sum) {
		return nil, m.wrong("%s is not as it was written (at byte %d)", m.path(dir), b.at)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, m.wrong("%s: %v", m.path(dir), err)
	}
	lines := csv.NewReader(z)
	lines.ReuseRecord = true
	for {
		fields, err := lines.Read()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, m.wrong("%s: %v", m.path(dir), err)
		}
		if fields[0] != strconv.FormatInt(account, 10) {
			continue
		}
		e, err := readEntry(fields)
		if err != nil {
			return nil, m.wrong("%s: %v", m.path(dir), err)
		}
		entries = append(entries, e)
	}
}

// readEntry reads an entry of an archive: the journal's columns in order.
func readEntry(fields []string) (e ledger.Entry, err error) {
	number := func(s string, bits int) int64 {
		n, bad := strconv.ParseInt(s, 10, bits)
		err = errors.Join(err, bad)
		return n
	}
	date := func(s string) calendar.Date {
		d, bad := calendar.Parse(s)
		err = errors.Join(err, bad)
		return d
	}
	e = ledger.Entry{AccountID: number(fields[0], 64), No: int32(number(fields[1], 32)), PostedOn: date(fields[2]), EffectiveOn: date(fields[3]), What: strings.Clone(fields[4]), Debit: strings.Clone(fields[5]), Credit: strings.Clone(fields[6]),
		Cents: ledger.Cents(number(fields[7], 64)), Doc: int32(number(fields[8], 32))}
	if fields[9] != "" {
		e.Reverses = int32(number(fields[9], 32))
	}
	return e, err
}

// BringBack lets the rest of a transaction see archived months as if they had
// never left: for proofs over the whole journal. The transaction must be rolled
// back. It returns what is wrong with which file.
func BringBack(ctx context.Context, tx pgx.Tx, dir string, months []ArchivedMonth) (problems []error, err error) {
	if _, err := tx.Exec(ctx, `create temporary table journal_archived (like public.journal) on commit drop`); err != nil {
		return nil, err
	}
	for n := range months {
		if _, err := tx.Exec(ctx, `savepoint month`); err != nil {
			return nil, err
		}
		err := months[n].load(ctx, tx, dir, "journal_archived")
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrArchive) {
			return nil, err
		}
		problems = append(problems, err)
		if _, err := tx.Exec(ctx, `rollback to savepoint month`); err != nil {
			return nil, err
		}
	}
	// A temporary name comes before the table's.
	_, err = tx.Exec(ctx, `create temporary view journal as select * from public.journal union all select * from journal_archived; analyze journal_archived`)
	return problems, err
}
