package ach

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// A file is read span by span, each by a few plain queries, and written in
// order. The spans of a large file are read ahead on connections of their own,
// so that all of the machine works on it; memory holds a few spans at a time.

// loose is an entry of a file that is being sealed, and where it comes from.
type loose struct {
	Entry
	account  int64
	receipt  int32
	methodID int64
	inForce  bool   // the authorization it was built on
	unopened error  // why its account number does not open
	code     string // why it cannot be sent, "" if it can
	problem  string // in words
}

// methodContext is what a stored account number is sealed for.
func methodContext(account int64) string { return "autopay_method/" + strconv.FormatInt(account, 10) }

// span is what is read at once of a batch of a file: the debits of a range of
// accounts, or of traces if the file was not filled in the order of accounts.
type span struct {
	batch     string
	low, high int64
}

// spanRows is how many debits a span has, about; at the most it has four times
// as many. The tests make it small.
var spanRows int64 = 10_000

// spans cuts a file's debits, in the order of the file.
func (f *FileInfo) spans() (all []span) {
	low, high := f.low, f.high
	if !f.inOrder {
		low, high = int64(f.firstTrace), int64(f.lastTrace)
	}
	step := high - low + 1
	if entries := int64(f.Entries + f.Prenotes); entries > spanRows {
		step = min(max(step/entries, 1)*spanRows, 4*spanRows)
	}
	for _, name := range f.batches {
		for from := low; from <= high; from += step {
			all = append(all, span{name, from, min(from+step-1, high)})
		}
	}
	return all
}

// reading is a file's debits being read and written.
type reading struct {
	o     Office
	tx    pgx.Tx
	w     *Writer
	file  FileInfo
	alone bool // on the one connection: others do not see yet what this transaction has changed

	opened   int // account numbers
	unopened error
	bad      []loose
	left     Totals // of those that cannot be sent
}

// all streams the file's debits into the writer, and returns those that cannot
// be sent.
func (x *reading) all(ctx context.Context) ([]loose, error) {
	spans := x.file.spans()
	var err error
	if len(spans) == 1 || x.alone {
		err = x.inTurn(ctx, spans)
	} else {
		err = x.ahead(ctx, spans)
	}
	if err == nil && x.opened == 0 && x.unopened != nil {
		err = x.unopened // no number at all opens: these are not the keys, the members are not to blame
	}
	return x.bad, err
}

// inTurn reads and writes span after span on the one connection.
func (x *reading) inTurn(ctx context.Context, spans []span) error {
	for _, s := range spans {
		debits, err := x.read(ctx, x.tx, s)
		if err == nil {
			err = x.write(debits)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a free connection is waited for. Without one, the work
// is done on our own: who waits for files holds connections, too.
const patience = time.Second

// ahead lets others read on connections of their own while it writes. Nobody
// changes the debits meanwhile: whoever would, needs the file's row first,
// which our transaction holds.
func (x *reading) ahead(ctx context.Context, spans []span) error {
	pool, is := x.o.DB.(*pgxpool.Pool)
	if !is {
		return x.inTurn(ctx, spans)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readers := borrow(ctx, pool)
	for _, conn := range readers {
		defer conn.Release()
	}
	if len(readers) == 0 {
		return x.inTurn(ctx, spans)
	}
	type result struct {
		debits []loose
		err    error
	}
	type request struct {
		span
		answer chan result
	}
	// In the order of the file; what is full keeps the readers from running far
	// ahead.
	todo, order := make(chan request), make(chan request, len(readers))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, conn := range readers {
		wg.Go(func() {
			for r := range todo {
				debits, err := x.read(ctx, conn, r.span)
				r.answer <- result{debits, err}
			}
		})
	}
	wg.Go(func() {
		defer close(order)
		defer close(todo)
		for _, s := range spans {
			r := request{s, make(chan result, 1)}
			for _, to := range []chan request{order, todo} {
				select {
				case to <- r:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for r := range order {
		select {
		case got := <-r.answer:
			if got.err == nil {
				got.err = x.write(got.debits)
			}
			if got.err != nil {
				return got.err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// borrow takes a connection for each core, or as many as are free.
func borrow(ctx context.Context, pool *pgxpool.Pool) (readers []*pgxpool.Conn) {
	for range runtime.GOMAXPROCS(0) {
		soon, stop := context.WithTimeout(ctx, patience)
		conn, err := pool.Acquire(soon)
		stop()
		if err != nil {
			break
		}
		readers = append(readers, conn)
	}
	return readers
}

// querier is what a span is read on.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// read reads the debits of a span, in the order of the file.
func (x *reading) read(ctx context.Context, q querier, s span) ([]loose, error) {
	f, err := x.debits(ctx, q, s)
	if err != nil || len(f.rows) == 0 {
		return nil, err
	}
	if err := f.accounts(ctx, q); err != nil {
		return nil, err
	}
	if err := f.methods(ctx, q, x.o.Keys, x.file.EffectiveOn.String()); err != nil {
		return nil, err
	}
	return f.rows, f.names(ctx, q)
}

// found are the debits of a span while what they need is looked up.
type found struct {
	rows  []loose
	first map[int64]int32 // the newest row of an account, from 1
	next  []int32         // the one before it of the same account, 0 for none

	of   string // which rows of another table concern them, as SQL
	args []any
}

// debits reads the debits themselves.
func (x *reading) debits(ctx context.Context, q querier, s span) (*found, error) {
	by := "account_id"
	if !x.file.inOrder {
		by = "trace"
	}
	sec, retry := batchOf(s.batch)
	rows, err := q.Query(ctx, `select account_id, receipt, cents, trace, method_id from debit
		where `+by+` between $1 and $2 and file_id = $3 and state = 'built' and sec = $4 and (attempt > 0) = $5 order by `+by, s.low, s.high, x.file.ID, sec, retry)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	f := &found{first: map[int64]int32{}}
	for rows.Next() {
		r := ledger.ReadRow(rows)
		d := loose{account: r.Int64(), receipt: r.Int32()}
		d.Cents, d.Trace, d.methodID = ledger.Cents(r.Int64()), Trace(r.Int64()), r.Int64()
		d.SEC, d.Retry = sec, retry
		f.rows = append(f.rows, d)
		f.next = append(f.next, f.first[d.account])
		f.first[d.account] = int32(len(f.rows))
	}
	if x.file.inOrder && 4*int64(len(f.rows)) > s.high-s.low { // most accounts of the range
		f.of, f.args = " between $1 and $2", []any{s.low, s.high}
	} else {
		ids := make([]int64, len(f.rows))
		for i := range f.rows {
			ids[i] = f.rows[i].account
		}
		f.of, f.args = " = any($1)", []any{ids}
	}
	return f, rows.Err()
}

// each calls do with every row of an account.
func (f *found) each(account int64, do func(*loose)) {
	for n := f.first[account]; n > 0; n = f.next[n-1] {
		do(&f.rows[n-1])
	}
}

// ask reads what another table has on the accounts.
func (f *found) ask(ctx context.Context, q querier, sql, key string, take func(account int64, r *ledger.Row)) error {
	rows, err := q.Query(ctx, sql+" where "+key+f.of, f.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := ledger.ReadRow(rows)
		take(r.Int64(), &r)
	}
	return rows.Err()
}

func (f *found) accounts(ctx context.Context, q querier) error {
	return f.ask(ctx, q, `select id, mrn from account`, "id", func(account int64, r *ledger.Row) {
		mrn := r.Bytes()
		f.each(account, func(d *loose) { d.IndividualID = string(mrn) })
	})
}

// methods reads the bank accounts. They must be authorized on the day that the
// money is taken.
func (f *found) methods(ctx context.Context, q querier, keys *secret.Keys, day string) error {
	routing := "" // most of the time that of the row before
	return f.ask(ctx, q, `select account_id, id, method = 'ach' and authorized_on <= '`+day+`' and (ended_on is null or ended_on > '`+day+`'), routing, account_type, number_sealed from autopay_method`, "account_id",
		func(account int64, r *ledger.Row) {
			id, inForce, bank, kind, sealed := r.Int64(), r.Bool(), r.Bytes(), r.Bytes(), r.Bytes()
			f.each(account, func(d *loose) {
				if d.methodID != id {
					return
				}
				if routing != string(bank) {
					routing = string(bank)
				}
				d.inForce, d.Routing, d.Savings = inForce, routing, string(kind) == Savings
				number, err := keys.Open(sealed, methodContext(account))
				d.Account, d.unopened = string(number), err
			})
		})
}

// names finds the name of the guarantor's member, wherever that one is billed.
func (f *found) names(ctx context.Context, q querier) error {
	named := 0
	var name []byte
	take := func(d *loose, r ledger.Row) {
		name = append(append(append(name[:0], r.Bytes()...), ' '), r.Bytes()...)
		if d.Name = plainName(string(name)); d.Name == "" || d.Name == noName {
			d.Name = "MEMBER " + d.IndividualID // a name in another script has no plain form
		}
		named++
	}
	err := f.ask(ctx, q, `select account_id, mrn, first_name, last_name from member`, "account_id", func(account int64, r *ledger.Row) {
		mrn := r.Bytes()
		f.each(account, func(d *loose) {
			if d.IndividualID == string(mrn) {
				take(d, *r)
			}
		})
	})
	if err != nil || named == len(f.rows) {
		return err
	}
	elsewhere := map[string][]*loose{}
	for i := range f.rows {
		if d := &f.rows[i]; d.Name == "" {
			d.Name = "MEMBER " + d.IndividualID
			elsewhere[d.IndividualID] = append(elsewhere[d.IndividualID], d)
		}
	}
	mrns := make([]string, 0, len(elsewhere))
	for mrn := range elsewhere {
		mrns = append(mrns, mrn)
	}
	slices.Sort(mrns)
	rows, err := q.Query(ctx, `select mrn, first_name, last_name from member where mrn = any($1)`, mrns)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := ledger.ReadRow(rows)
		for _, d := range elsewhere[r.Text()] {
			take(d, r)
		}
	}
	return rows.Err()
}

// write writes the debits of a span, and keeps those that cannot be sent.
func (x *reading) write(debits []loose) error {
	for i := range debits {
		d := &debits[i]
		if d.unopened == nil {
			x.opened++
		} else {
			x.unopened = d.unopened
		}
		if err := x.w.judge(d); err != nil {
			return err
		}
		if d.code != "" {
			x.bad = append(x.bad, *d)
			x.left.Debits++
			x.left.DebitCents += d.Cents
		}
	}
	return nil
}

// judge writes an entry, or says why it cannot be sent.
func (w *Writer) judge(d *loose) error {
	switch {
	case !d.inForce:
		d.code, d.problem = NoAuthorization, "the authorization it was built on is no longer in force"
		return nil
	case d.unopened != nil:
		d.code, d.problem = UnusableMethod, d.unopened.Error()
		return nil
	}
	err := w.Add(&d.Entry)
	if wrong := (*EntryError)(nil); errors.As(err, &wrong) {
		d.code, d.problem = UnusableMethod, wrong.Error()
		return nil
	}
	return err
}

// prove holds what was read against what has been given a place in the file.
func (x *reading) prove() error {
	n, cents := x.w.sum.Debits+x.left.Debits, x.w.sum.DebitCents+x.left.DebitCents
	if n != x.file.Entries || cents != x.file.Cents {
		return fmt.Errorf("%d debits of %s were found for file %d, but those that were placed in it are %d of %s", n, cents, x.file.ID, x.file.Entries, x.file.Cents)
	}
	return nil
}
