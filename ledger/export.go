package ledger

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// The journal leaves for the biller's general ledger as numbered files. A
// general ledger wants sums, not millions of entries, and the journal has no
// order in which a file could end. So every transaction that writes entries
// writes what they add up to as well, and a file takes the totals that no file
// has taken: whatever is committed later is in a later file, whatever its date.

// totals are what the entries of a transaction add up to.
type totals struct {
	at   map[totalKey]int
	keys []totalKey // in the order they came
	n    []int64
	sums []int64
}

type totalKey struct {
	postedOn            calendar.Date
	what, debit, credit string
}

func (t *totals) add(e *Entry) {
	key := totalKey{e.PostedOn, e.What, e.Debit, e.Credit}
	at, there := t.at[key]
	if !there {
		if t.at == nil {
			t.at = map[totalKey]int{}
		}
		at = len(t.keys)
		t.at[key], t.keys, t.n, t.sums = at, append(t.keys, key), append(t.n, 0), append(t.sums, 0)
	}
	t.n[at]++
	t.sums[at] += int64(e.Cents)
}

func (t *totals) write(ctx context.Context, tx pgx.Tx) error {
	var days []calendar.Date
	var texts [3][]string
	for _, k := range t.keys {
		days = append(days, k.postedOn)
		for n, text := range []string{k.what, k.debit, k.credit} {
			texts[n] = append(texts[n], text)
		}
	}
	_, err := tx.Exec(ctx, `insert into journal_total (posted_on, what, debit, credit, entries, cents)
		select * from unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])`, days, texts[0], texts[1], texts[2], t.n, t.sums)
	return err
}

// Chart is the biller's name for each account of the general ledger.
type Chart map[string]string

// DefaultChart calls every account by its name here.
func DefaultChart() Chart {
	chart := Chart{}
	for _, account := range GLAccounts {
		chart[account] = account
	}
	return chart
}

// File is a file for the general ledger.
type File struct {
	No      int           `json:"number"`
	Day     calendar.Date `json:"date"` // of the run that made it
	Name    string        `json:"name"`
	Lines   int           `json:"lines"`
	Entries int64         `json:"entries"` // journal entries behind the lines
	Cents   Cents         `json:"cents"`   // of all debits, and of all credits

	Outbox int64  `json:"-"` // its row of the outbox
	SHA256 []byte `json:"-"` // nil until the outbox has sealed it
}

// SealFile makes the next file: the totals of business dates up to day that no
// file has taken. The first run of a date makes one even if it holds nothing, so
// that its reader sees that nothing is missing; made is false for a later run
// that finds nothing. Two at once wait for each other, so numbers have no gap.
func SealFile(ctx context.Context, tx pgx.Tx, chart Chart, day calendar.Date) (f File, made bool, err error) {
	if _, err := tx.Exec(ctx, `lock table journal_file in exclusive mode`); err != nil {
		return f, false, err
	}
	var there bool
	if err := tx.QueryRow(ctx, `select coalesce(max(no), 0) + 1, coalesce(bool_or(day = $1), false) from journal_file`, day).Scan(&f.No, &there); err != nil {
		return f, false, err
	}
	took, err := tx.Exec(ctx, `update journal_total set file = $1 where file is null and posted_on <= $2`, f.No, day)
	if err != nil || there && took.RowsAffected() == 0 {
		return f, false, err
	}
	f.Day, f.Name = day, fmt.Sprintf("journal-%s-%06d.csv", day.Format("20060102"), f.No)
	if err := tx.QueryRow(ctx, `insert into outbox_file (folder, name, made_on) values ('journal', $1, $2) returning id`, f.Name, day).Scan(&f.Outbox); err != nil {
		return f, false, err
	}
	err = tx.QueryRow(ctx, `insert into journal_file (no, day, outbox, lines, entries, cents)
		select $1, $2, $3, (select count(*) from (select distinct posted_on, what, side, account from journal_total cross join lateral (values ('debit', debit), ('credit', credit)) s(side, account) where file = $1) l),
			coalesce(sum(entries), 0), coalesce(sum(cents), 0) from journal_total where file = $1 returning lines, entries, cents`, f.No, day, f.Outbox).Scan(&f.Lines, &f.Entries, &f.Cents)
	if err != nil {
		return f, false, err
	}
	ours, theirs := []string{}, []string{}
	for _, account := range GLAccounts {
		ours, theirs = append(ours, account), append(theirs, chart[account])
	}
	wrote, err := tx.Exec(ctx, `insert into journal_line (file, no, posted_on, what, side, ledger_account, account, entries, cents)
		select $1, row_number() over (order by l.posted_on, l.what collate "C", l.side desc, c.theirs collate "C", l.ours collate "C"), l.posted_on, l.what, l.side, l.ours, c.theirs, l.entries, l.cents
		from (select posted_on, what, s.side, s.ours, sum(entries) entries, sum(cents) cents from journal_total
			cross join lateral (values ('debit', debit), ('credit', credit)) s(side, ours) where file = $1 group by 1, 2, 3, 4) l
		join unnest($2::text[], $3::text[]) c(ours, theirs) on c.ours = l.ours`, f.No, ours, theirs)
	if err == nil && int(wrote.RowsAffected()) != f.Lines {
		err = fmt.Errorf("the journal has entries on an account that is not in the list of accounts of the general ledger: billcycle verify names them")
	}
	return f, err == nil, err
}

// fileColumns are the columns of a file. A record of kind line is one amount on
// one account; the last record is the control total of those before it.
var fileColumns = []string{"record", "file", "date", "line", "posted_on", "what", "account", "ledger_account", "entries", "debit_cents", "credit_cents"}

// WriteFile writes a file's bytes, which follow from its rows alone, and returns
// how many lines it holds, its header and its total included.
func WriteFile(ctx context.Context, tx pgx.Tx, outbox int64, to io.Writer) (lines int, err error) {
	var no int
	var day calendar.Date
	var entries int64
	err = tx.QueryRow(ctx, `select no, day, entries from journal_file where outbox = $1`, outbox).Scan(&no, &day, &entries)
	if err != nil {
		return 0, err
	}
	out := csv.NewWriter(to)
	number, date := strconv.Itoa(no), day.String()
	put := func(record ...string) {
		out.Write(record) // the writer keeps its error for the end
		lines++
	}
	put(fileColumns...)
	rows, err := tx.Query(ctx, `select no, posted_on, what, account, ledger_account, entries, case side when 'debit' then cents else 0 end, case side when 'credit' then cents else 0 end from journal_line where file = $1 order by no`, no)
	if err != nil {
		return 0, err
	}
	var line, n, debit, credit, debits, credits int64
	var postedOn calendar.Date
	var what, account, ours string
	_, err = pgx.ForEachRow(rows, []any{&line, &postedOn, &what, &account, &ours, &n, &debit, &credit}, func() error {
		debits, credits = debits+debit, credits+credit
		put("line", number, date, strconv.FormatInt(line, 10), postedOn.String(), what, account, ours, strconv.FormatInt(n, 10), strconv.FormatInt(debit, 10), strconv.FormatInt(credit, 10))
		return nil
	})
	if err != nil {
		return 0, err
	}
	put("total", number, date, strconv.Itoa(lines-1), "", "", "", "", strconv.FormatInt(entries, 10), strconv.FormatInt(debits, 10), strconv.FormatInt(credits, 10))
	out.Flush()
	return lines, out.Error()
}

// ErrNoFile is returned for a number that no file for the general ledger has.
var ErrNoFile = errors.New("no such journal file")

// Files lists the files for the general ledger, the newest first: those of a
// business date, or the newest thousand for none.
func Files(ctx context.Context, tx pgx.Tx, day calendar.Date) ([]File, error) {
	rows, err := tx.Query(ctx, filesSQL+` where $1::date is null or f.day = $1 order by f.no desc limit 1000`, day)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanFile)
}

const filesSQL = `select f.no, f.day, o.name, f.lines, f.entries, f.cents, f.outbox, o.sha256 from journal_file f join outbox_file o on o.id = f.outbox`

func scanFile(row pgx.CollectableRow) (f File, err error) {
	err = row.Scan(&f.No, &f.Day, &f.Name, &f.Lines, &f.Entries, &f.Cents, &f.Outbox, &f.SHA256)
	return f, err
}

// FileNumbered returns a file for the general ledger, or ErrNoFile.
func FileNumbered(ctx context.Context, tx pgx.Tx, no int) (File, error) {
	rows, err := tx.Query(ctx, filesSQL+` where f.no = $1`, no)
	if err != nil {
		return File{}, err
	}
	f, err := pgx.CollectExactlyOneRow(rows, scanFile)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("number %d: %w (billcycle journal files lists them)", no, ErrNoFile)
	}
	return f, err
}
