package ach_test

import (
	"bytes"
	"testing"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/ledger"
)

// A file of many spans, read ahead on several connections, has the bytes of
// one that is read in one go, and so has one that is read on a single
// connection because no other is free, the traces in the order of the accounts or not.
func TestFileReadInSpans(t *testing.T) {
	seal := func(t *testing.T, span int64, outOfOrder, alone bool) []byte {
		ach.SpansOf(t, span)
		b := newBiller(t)
		for n := range 23 {
			b.payer(10000 + 100*ledger.Cents(n))
			if n%5 == 0 {
				b.account(5000) // pays by mail: the accounts have gaps
			}
		}
		b.exec(`update autopay_method set authorized_by = 'written' where account_id % 3 = 0`)
		b.exec(`update member set last_name = 'Ngữ''s' where account_id = 4`)
		b.ranged(ach.Select, buildDay)
		if outOfOrder {
			b.exec(`update debit set trace = f.first_trace + (trace - f.first_trace) * 7 % 23 from ach_file f where f.id = file_id`)
		}
		office := b.office(buildDay, "system")
		if alone {
			for free := b.db.Config().MaxConns - 1; free > 0; free-- {
				conn, err := b.db.Acquire(t.Context())
				b.must(err)
				defer conn.Release()
			}
		}
		files, err := office.Seal(t.Context())
		b.must(err)
		if len(files) != 1 || files[0].Entries != 23 {
			t.Fatalf("sealed %+v", files)
		}
		var out bytes.Buffer
		b.must(ach.Unseal(t.Context(), b.db, b.keys, files[0], &out))
		return out.Bytes()
	}
	for _, outOfOrder := range []bool{false, true} {
		want := seal(t, 10_000, outOfOrder, false)
		for name, got := range map[string][]byte{
			"in spans":                    seal(t, 4, outOfOrder, false),
			"in spans, on one connection": seal(t, 4, outOfOrder, true),
		} {
			if !bytes.Equal(got, want) {
				t.Errorf("%s, out of order %t:\n%s\nnot as in one go:\n%s", name, outOfOrder, got, want)
			}
		}
	}
}
