package lockbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/s2"

	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// The lines of checks hold account numbers and names, so they are kept
// encrypted; and since they are mostly blanks and zeros, and read only when a
// person looks, compressed, some hundreds of checks together.

// rawChecks is how many checks' lines are sealed together.
const rawChecks = 500

var rawColumns = []string{"file_id", "up_to", "sealed"}

// rawWriter seals the lines of checks as they come.
type rawWriter struct {
	keys  *secret.Keys
	file  int64
	rows  ledger.Copy
	plain bytes.Buffer
	upTo  int
	n     int

	packed []byte // reused
}

func (w *rawWriter) add(ordinal int, raw string) error {
	var head [2 * binary.MaxVarintLen64]byte
	b := binary.AppendUvarint(head[:0], uint64(ordinal))
	w.plain.Write(binary.AppendUvarint(b, uint64(len(raw))))
	w.plain.WriteString(raw)
	w.upTo = ordinal
	if w.n++; w.n < rawChecks {
		return nil
	}
	return w.close()
}

// close seals what has gathered.
func (w *rawWriter) close() error {
	if w.n == 0 {
		return nil
	}
	w.packed = s2.Encode(w.packed[:cap(w.packed)], w.plain.Bytes())
	sealed, err := w.keys.Seal(w.packed, rawContext(w.file, w.upTo))
	if err != nil {
		return err
	}
	w.rows.Row(len(rawColumns)).Int64(w.file).Int32(int32(w.upTo)).Bytes(sealed)
	w.plain.Reset()
	w.n = 0
	return nil
}

// rawContext ties sealed lines to their place.
func rawContext(file int64, upTo int) string {
	return "lockbox_raw/" + strconv.FormatInt(file, 10) + "/" + strconv.Itoa(upTo)
}

// rawOf hands out the lines of checks, in the order of files and items given.
func rawOf(ctx context.Context, tx pgx.Tx, keys *secret.Keys, files []int64, items []int, each func(n int, raw string) error) error {
	if len(files) == 0 {
		return nil
	}
	type place struct {
		file int64
		upTo int
	}
	rows, err := tx.Query(ctx, `select w.file_id, w.up_to, array_agg(u.n::int - 1 order by u.n) from unnest($1::bigint[], $2::int[]) with ordinality u(file_id, item, n)
		cross join lateral (select file_id, up_to from lockbox_raw r where r.file_id = u.file_id and r.up_to >= u.item order by up_to limit 1) w group by 1, 2 order by 1, 2`, files, items)
	if err != nil {
		return err
	}
	var at place
	var wanted []int
	of := map[place][]int{}
	var order []place
	if _, err := pgx.ForEachRow(rows, []any{&at.file, &at.upTo, &wanted}, func() error {
		of[at] = append([]int(nil), wanted...)
		order = append(order, at)
		return nil
	}); err != nil {
		return err
	}
	for _, at := range order {
		var sealed []byte
		if err := tx.QueryRow(ctx, `select sealed from lockbox_raw where file_id = $1 and up_to = $2`, at.file, at.upTo).Scan(&sealed); err != nil {
			return err
		}
		lines, err := openRaw(keys, sealed, at.file, at.upTo)
		if err != nil {
			return err
		}
		for _, n := range of[at] {
			raw, ok := lines[items[n]]
			if !ok {
				return fmt.Errorf("the lines of item %d of file %d are not where they should be", items[n], at.file)
			}
			if err := each(n, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// openRaw opens sealed lines: by the check's ordinal.
func openRaw(keys *secret.Keys, sealed []byte, file int64, upTo int) (map[int]string, error) {
	packed, err := keys.Open(sealed, rawContext(file, upTo))
	if err != nil {
		return nil, err
	}
	plain, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, err
	}
	lines := map[int]string{}
	for r := bytes.NewReader(plain); r.Len() > 0; {
		ordinal, err1 := binary.ReadUvarint(r)
		length, err2 := binary.ReadUvarint(r)
		if err1 != nil || err2 != nil || length > uint64(r.Len()) {
			return nil, fmt.Errorf("the lines of the checks up to %d of file %d are cut off", upTo, file)
		}
		line := make([]byte, length)
		io.ReadFull(r, line)
		lines[int(ordinal)] = string(line)
	}
	return lines, nil
}
