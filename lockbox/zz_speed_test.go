package lockbox_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/lockbox"
)

func TestZZSpeed(t *testing.T) {
	m := newMail(t)
	const n = 100_000
	_, err := m.db.Exec(t.Context(), `insert into account (id, mrn, opened_on) overriding system value select g, 'x'||g, '2026-01-01' from generate_series(1,100000) g`)
	m.must(err)
	var mrns []string
	for i := range n {
		mrns = append(mrns, string(billing.NewMRN(int64(i+1))))
	}
	_, err = m.db.Exec(t.Context(), `insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		select u.m, u.i, 'A','B','1','','C','CA','94601','','','en','paper' from unnest($1::text[]) with ordinality u(m,i)`, mrns)
	m.must(err)
	_, err = m.db.Exec(t.Context(), `insert into item (account_id,no,kind,origin,state,cents,arrived_on,billed_on,made_on,cycle) select g,1,'medical','charge','billed',50000,'2026-03-01','2026-03-01','2026-03-01',24314 from generate_series(1,100000) g; analyze`)
	m.must(err)
	for _, prof := range []string{"bai-c"} {
		p, _ := lockbox.ProfileNamed(lockbox.Profiles(), prof)
		var bs []lockbox.Batch
		for b := range n / 500 {
			x := batch(fmt.Sprintf("%03d", b+1))
			for k := range 500 {
				i := check(fmt.Sprint(b*500+k+1), 5000, "", mrns[b*500+k])
				x.Items = append(x.Items, i)
			}
			bs = append(bs, x)
		}
		var buf bytes.Buffer
		m.must(lockbox.Write(&buf, p, lockbox.File{Destination: "B", Origin: "K", Date: bs[0].DepositDate, Time: "0600", Batches: bs}))
		os.WriteFile("/tmp/lbx/big.bai", buf.Bytes(), 0o644)
		start := time.Now()
		got, err := m.desk("2026-03-17").Ingest(t.Context(), "big", bytes.NewReader(buf.Bytes()), p)
		m.must(err)
		s := time.Since(start)
		var ms runtime.MemStats
		runtime.ReadMemStats(&ms)
		fmt.Printf("%d bytes, %+v in %v = %.0f/s, sys %d MB\n", buf.Len(), got, s, float64(n)/s.Seconds(), ms.Sys>>20)
		start = time.Now()
		m.proven()
		fmt.Println("proven in", time.Since(start))
		start = time.Now()
		got, err = m.desk("2026-03-17").Ingest(t.Context(), "big", bytes.NewReader(buf.Bytes()), p)
		fmt.Println("duplicate in", time.Since(start), got.Duplicate, err)
	}
}
