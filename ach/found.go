package ach

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// found are the debits of a span while what they need is looked up: a table
// after the other, since a join takes the server longer than the client.
type found struct {
	rows []loose
	next []int32 // for each row the one before it of the same account, from 1; 0 for none

	// The newest row of an account, from 1: by its distance from low where the
	// accounts of a span lie close together, else by itself.
	low  int64
	near []int32
	far  map[int64]int32

	of      string // which rows of another table concern them, as SQL
	words   words
	context []byte // room for one
	name    []byte // room for one
}

// read reads the debits of a span, in the order of the file.
func (x *reading) read(ctx context.Context, conn *pgx.Conn, s span, f *found) error {
	if err := f.debits(ctx, conn, s, &x.file); err != nil || len(f.rows) == 0 {
		return err
	}
	if err := f.methods(ctx, conn, x.o.Keys, x.file.EffectiveOn); err != nil {
		return err
	}
	return f.names(ctx, conn)
}

// debits reads the debits themselves.
func (f *found) debits(ctx context.Context, conn *pgx.Conn, s span, file *FileInfo) error {
	most := int(min(int64(s.high-s.low)+1, spanRows))
	f.rows, f.next = slices.Grow(f.rows[:0], most), slices.Grow(f.next[:0], most)
	low, high := int64(math.MaxInt64), int64(0)
	sec, retry := batchOf(s.batch)
	err := ledger.Stream(ctx, conn, fmt.Sprintf(`select account_id, cents, trace, method_id from debit
		where trace between %d and %d and file_id = %d and state = 'built' and sec = '%s' and (attempt > 0) = %t order by trace`, s.low, s.high, file.ID, sec, retry), func(r *ledger.Row) {
		f.rows = append(f.rows, loose{Entry: Entry{SEC: sec, Retry: retry}, account: r.Int64()})
		d := &f.rows[len(f.rows)-1]
		d.Cents, d.Trace, d.methodID = ledger.Cents(r.Int64()), Trace(r.Int64()), r.Int64()
		low, high = min(low, d.account), max(high, d.account)
	})
	if err != nil || len(f.rows) == 0 {
		return err
	}
	f.index(low, high)
	if 4*int64(len(f.rows)) > high-low { // most accounts of the range
		f.of = fmt.Sprintf(" between %d and %d", low, high)
		return nil
	}
	ids := make([]byte, 0, 9*len(f.rows))
	for i := range f.rows {
		ids = append(strconv.AppendInt(ids, f.rows[i].account, 10), ',')
	}
	f.of = " = any('{" + strings.TrimSuffix(string(ids), ",") + "}')"
	return nil
}

// index makes the rows known by their accounts, which lie between these.
func (f *found) index(low, high int64) {
	f.low, f.near, f.far = low, f.near[:0], nil
	if width := high - low + 1; width <= 16*int64(len(f.rows)) {
		f.near = slices.Grow(f.near, int(width))[:width]
		clear(f.near)
	} else {
		f.far = make(map[int64]int32, len(f.rows))
	}
	for i := range f.rows {
		account, n := f.rows[i].account, int32(i+1)
		if f.far == nil {
			f.next = append(f.next, f.near[account-low])
			f.near[account-low] = n
		} else {
			f.next = append(f.next, f.far[account])
			f.far[account] = n
		}
	}
}

// each calls do with every row of an account.
func (f *found) each(account int64, do func(*loose)) {
	var n int32
	if f.far != nil {
		n = f.far[account]
	} else if at := account - f.low; at >= 0 && at < int64(len(f.near)) {
		n = f.near[at]
	}
	for ; n > 0; n = f.next[n-1] {
		do(&f.rows[n-1])
	}
}

// methods finds the bank accounts that the debits are of. They must be
// authorized on the day that the money is taken.
func (f *found) methods(ctx context.Context, conn *pgx.Conn, keys *secret.Keys, day calendar.Date) error {
	routing := "" // most of the time that of the row before
	return ledger.Stream(ctx, conn, fmt.Sprintf(`select account_id, id, individual, routing, account_type, number_sealed from autopay_method
		where method = 'ach' and authorized_on <= '%s' and (ended_on is null or ended_on > '%[1]s') and account_id%s`, day, f.of), func(r *ledger.Row) {
		account, id, mrn, bank, kind, sealed := r.Int64(), r.Int64(), r.Bytes(), r.Bytes(), r.Bytes(), r.Bytes()
		f.each(account, func(d *loose) {
			if d.methodID != id {
				return
			}
			if routing != string(bank) {
				routing = string(bank)
			}
			f.context = appendMethodContext(f.context[:0], account)
			number, err := keys.OpenFor(sealed, f.context)
			d.inForce, d.unopened, d.IndividualID = true, err, f.words.keep(mrn)
			d.Routing, d.Account, d.Savings = routing, f.words.keep(number), string(kind) == Savings
		})
	})
}

// names finds the name of the guarantor's member, wherever that one is billed.
func (f *found) names(ctx context.Context, conn *pgx.Conn) error {
	named := 0
	take := func(d *loose, first, last []byte) {
		if d.Name = f.plainName(first, last); d.Name == "" || d.Name == noName {
			d.Name = "MEMBER " + d.IndividualID // a name in another script has no plain form
		}
		named++
	}
	err := ledger.Stream(ctx, conn, `select account_id, mrn, first_name, last_name from member where account_id`+f.of, func(r *ledger.Row) {
		account, mrn, first, last := r.Int64(), r.Bytes(), r.Bytes(), r.Bytes()
		f.each(account, func(d *loose) {
			if d.IndividualID == string(mrn) {
				take(d, first, last)
			}
		})
	})
	if err != nil || named == len(f.rows) {
		return err
	}
	elsewhere := map[string][]*loose{}
	for i := range f.rows {
		if d := &f.rows[i]; d.inForce && d.Name == "" {
			d.Name = "MEMBER " + d.IndividualID
			elsewhere[d.IndividualID] = append(elsewhere[d.IndividualID], d)
		}
	}
	mrns := make([]string, 0, len(elsewhere))
	for mrn := range elsewhere {
		mrns = append(mrns, mrn)
	}
	slices.Sort(mrns)
	rows, err := conn.Query(ctx, `select mrn, first_name, last_name from member where mrn = any($1)`, mrns)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := ledger.ReadRow(rows)
		mrn, first, last := r.Text(), r.Bytes(), r.Bytes()
		for _, d := range elsewhere[mrn] {
			take(d, first, last)
		}
	}
	return rows.Err()
}

// plainName is the plain form of a name.
func (f *found) plainName(first, last []byte) string {
	f.name = append(append(append(f.name[:0], first...), ' '), last...)
	if !isASCII(f.name) {
		return plainName(string(f.name))
	}
	return plainName(f.words.keep(capitals(f.name[:0], f.name)))
}

// words keeps many short texts in few pieces of memory. A piece lives as long
// as one of its texts.
type words struct{ room strings.Builder }

const wordRoom = 64 << 10

func (w *words) keep(text []byte) string {
	if w.room.Cap()-w.room.Len() < len(text) {
		w.room = strings.Builder{}
		w.room.Grow(max(wordRoom, len(text)))
	}
	at := w.room.Len()
	w.room.Write(text)
	return w.room.String()[at:]
}
