package ach

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A file is read span by span, each by a few plain queries, and written in
// order. The spans of a large file are read ahead on connections of their own,
// so that all of the machine works on it; memory holds a few spans at a time.

// loose is an entry of a file that is being sealed, and where it comes from.
type loose struct {
	Entry
	account  int64
	methodID int64
	inForce  bool   // the authorization it was built on
	unopened error  // why its account number does not open
	code     string // why it cannot be sent, "" if it can
	problem  string // in words
}

// methodContext is what a stored account number is sealed for.
func methodContext(account int64) string { return string(appendMethodContext(nil, account)) }

func appendMethodContext(to []byte, account int64) []byte {
	return strconv.AppendInt(append(to, "autopay_method/"...), account, 10)
}

// span is what is read at once of a batch of a file: the debits of a range of
// traces. Most of the time they are of accounts that lie close together.
type span struct {
	batch     string
	low, high Trace
}

// spanRows is how many debits a span has, about; at the most it has four times
// as many. The tests make it small.
var spanRows int64 = 10_000

// spans cuts a file's debits, in the order of the file.
func (f *FileInfo) spans() (all []span) {
	low, high, rows := f.firstTrace, f.lastTrace, Trace(spanRows)
	step := high - low + 1
	if entries := Trace(f.Entries + f.Prenotes); entries > rows {
		step = min(max(step/entries, 1)*rows, 4*rows)
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
	parts *sealer
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
	f := &found{}
	for _, s := range spans {
		if err := x.read(ctx, x.tx.Conn(), s, f); err != nil {
			return err
		}
		if err := x.write(f.rows); err != nil {
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
	x.parts.beside = true // our own connection is free to take in the parts
	type result struct {
		*found
		err error
	}
	type request struct {
		span
		answer chan result
	}
	// In the order of the file; what is full keeps the readers from running far
	// ahead: besides the span being written there are as many as fit into order.
	// What was written is room for what is read next.
	todo, order, used := make(chan request), make(chan request, len(readers)), make(chan *found, len(readers)+1)
	for range cap(used) {
		used <- &found{}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, conn := range readers {
		wg.Go(func() {
			for r := range todo {
				f := <-used
				r.answer <- result{f, x.read(ctx, conn.Conn(), r.span, f)}
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
				got.err = x.write(got.rows)
			}
			if got.err != nil {
				return got.err
			}
			used <- got.found
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

// write writes the debits of a span, and keeps those that cannot be sent.
func (x *reading) write(debits []loose) error {
	for i := range debits {
		d := &debits[i]
		switch {
		case d.unopened != nil:
			x.unopened = d.unopened
		case d.inForce:
			x.opened++
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
	sum := &x.w.sum
	n, cents := sum.Debits+sum.Prenotes+sum.Reversals+x.left.Debits, sum.DebitCents+sum.CreditCents+x.left.DebitCents
	if placed, of := x.file.Entries+x.file.Prenotes+x.file.Reversals, x.file.Cents+x.file.CreditCents; n != placed || cents != of {
		return fmt.Errorf("%d entries of %s were found for file %d, but those that were placed in it are %d of %s", n, cents, x.file.ID, placed, of)
	}
	return nil
}
