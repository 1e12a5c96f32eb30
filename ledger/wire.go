package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// The nightly jobs read and write millions of rows. These two speak the wire's
// own binary form for the few types that the schema uses, several times faster
// than reflection can; everything else goes through pgx as usual.

// day2000 is the date that the wire counts days from.
var day2000 = calendar.Of(2000, 1, 1)

// Row reads the columns of a result row one after the other, in the order of
// the select. NULL is the zero value. A column of another type than the one
// asked for panics: the select and its reader stand side by side.
type Row struct {
	values [][]byte // the columns, or
	wire   []byte   // what is left of them as COPY sends them
	at     int
}

// ReadRow returns a reader of the current row of rows.
func ReadRow(rows pgx.Rows) Row { return Row{values: rows.RawValues()} }

func (r *Row) next(width int) []byte {
	var v []byte
	if r.values != nil {
		v = r.values[r.at]
	} else if n := int32(binary.BigEndian.Uint32(r.wire)); n < 0 {
		r.wire = r.wire[4:]
	} else {
		v, r.wire = r.wire[4:4+n:4+n], r.wire[4+n:]
	}
	r.at++
	if v != nil && width > 0 && len(v) != width {
		panic(fmt.Sprintf("ledger: column %d has %d bytes, read as one of %d", r.at, len(v), width))
	}
	return v
}

// Int64 reads a bigint.
func (r *Row) Int64() int64 {
	if v := r.next(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

// NullInt64 reads a bigint that may be NULL.
func (r *Row) NullInt64() *int64 {
	if v := r.next(8); v != nil {
		n := int64(binary.BigEndian.Uint64(v))
		return &n
	}
	return nil
}

// Int32 reads an integer.
func (r *Row) Int32() int32 {
	if v := r.next(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

// Text reads a text. The few words that stand in most rows are not copied.
func (r *Row) Text() string {
	v := r.next(0)
	if len(v) == 0 {
		return ""
	}
	if word, ok := words[string(v)]; ok { // the compiler does not copy v here
		return word
	}
	return string(v)
}

// Bytes reads a bytea. It is valid until the next row is read.
func (r *Row) Bytes() []byte { return r.next(0) }

var words = map[string]string{}

func init() {
	for _, w := range strings.Fields("premium medical fee charge late_fee returned_fee installment adjustment unbilled billed disputed deferred lockbox ach card counter online phone check guest pending posted returned withdrawn void on off suspended ended reversed waived") {
		words[w] = w
	}
}

// Date reads a date.
func (r *Row) Date() calendar.Date {
	if v := r.next(4); v != nil {
		return day2000 + calendar.Date(int32(binary.BigEndian.Uint32(v)))
	}
	return 0
}

// Bool reads a boolean.
func (r *Row) Bool() bool {
	v := r.next(1)
	return v != nil && v[0] == 1
}

// Stream reads the rows of a select, one after the other, as COPY sends them:
// with less work for both sides than as a result. The select has no parameters,
// so what it is about stands in its text. All columns of a row must be read.
func Stream(ctx context.Context, conn *pgx.Conn, sql string, take func(*Row)) error {
	_, err := conn.PgConn().CopyTo(ctx, &stream{take: take}, "copy ("+sql+") to stdout (format binary)")
	return err
}

// stream takes rows from the messages of a COPY. The server sends a row in one
// message; before the first stands a head, and after the last a count of -1.
type stream struct {
	take  func(*Row)
	begun bool
	row   Row
}

func (s *stream) Write(b []byte) (int, error) {
	n := len(b)
	if !s.begun {
		rest, ok := bytes.CutPrefix(b, copyHead)
		if !ok {
			return 0, errors.New("the server's COPY does not begin as COPY does")
		}
		b, s.begun = rest, true
	}
	for len(b) >= 2 {
		if columns := int16(binary.BigEndian.Uint16(b)); columns < 0 {
			break
		}
		s.row = Row{wire: b[2:]}
		s.take(&s.row)
		b = s.row.wire
	}
	return n, nil
}

// Copy gathers rows in the form that COPY ... (format binary) takes.
type Copy struct {
	buf  []byte
	rows int
}

var copyHead = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// Rows returns how many rows were begun.
func (c *Copy) Rows() int { return c.rows }

// Row begins a row of so many columns.
func (c *Copy) Row(columns int) *Copy {
	if c.buf == nil {
		c.buf = append(make([]byte, 0, 64<<10), copyHead...)
	}
	if cap(c.buf)-len(c.buf) < 1<<10 { // append alone would grow it by a quarter at a time, and copy it as often
		c.buf = slices.Grow(c.buf, cap(c.buf))
	}
	c.rows++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(columns))
	return c
}

// Int64 adds a bigint.
func (c *Copy) Int64(n int64) *Copy {
	c.buf = binary.BigEndian.AppendUint32(c.buf, 8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(n))
	return c
}

// Int32 adds an integer.
func (c *Copy) Int32(n int32) *Copy {
	c.buf = binary.BigEndian.AppendUint32(c.buf, 4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n))
	return c
}

// Text adds a text.
func (c *Copy) Text(s string) *Copy {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(s)))
	c.buf = append(c.buf, s...)
	return c
}

// Bytes adds a bytea; nil is NULL.
func (c *Copy) Bytes(b []byte) *Copy {
	if b == nil {
		return c.Null()
	}
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(b)))
	c.buf = append(c.buf, b...)
	return c
}

// JSON adds a jsonb, given as text.
func (c *Copy) JSON(text []byte) *Copy {
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(text)+1))
	c.buf = append(append(c.buf, 1), text...) // the version of the form
	return c
}

// Date adds a date; no date is NULL.
func (c *Copy) Date(d calendar.Date) *Copy {
	if d == 0 {
		return c.Null()
	}
	return c.Int32(int32(d - day2000))
}

// Bool adds a boolean.
func (c *Copy) Bool(b bool) *Copy {
	c.buf = append(binary.BigEndian.AppendUint32(c.buf, 1), 0)
	if b {
		c.buf[len(c.buf)-1] = 1
	}
	return c
}

// Null adds a NULL.
func (c *Copy) Null() *Copy {
	c.buf = append(c.buf, 0xff, 0xff, 0xff, 0xff)
	return c
}

// NullInt64 adds a bigint, nil as NULL.
func (c *Copy) NullInt64(n *int64) *Copy {
	if n == nil {
		return c.Null()
	}
	return c.Int64(*n)
}

// NullInt32 adds an integer, 0 as NULL.
func (c *Copy) NullInt32(n int32) *Copy {
	if n == 0 {
		return c.Null()
	}
	return c.Int32(n)
}

// NullText adds a text, "" as NULL.
func (c *Copy) NullText(s string) *Copy {
	if s == "" {
		return c.Null()
	}
	return c.Text(s)
}

// Send writes the rows into a table and empties the copy.
func (c *Copy) Send(ctx context.Context, tx pgx.Tx, table string, columns []string) error {
	if c.rows == 0 {
		return nil
	}
	body := binary.BigEndian.AppendUint16(c.buf, 0xffff)
	tag, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(body), "copy "+table+" ("+strings.Join(columns, ", ")+") from stdin (format binary)")
	if err == nil && int(tag.RowsAffected()) != c.rows {
		err = fmt.Errorf("copy into %s: %d of %d rows arrived", table, tag.RowsAffected(), c.rows)
	}
	*c = Copy{}
	return err
}
