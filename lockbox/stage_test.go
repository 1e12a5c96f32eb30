package lockbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// A file that is laid out in many chunks and taken in by one commit.

// letters are a mixed lot of checks for the members of a mail: whole, for
// several, of nobody, dated and undated, one twice.
func letters(dice *rand.Rand, mrns []string, n int) []lockbox.Item {
	var items []lockbox.Item
	for k := range n {
		mrn := mrns[dice.IntN(len(mrns))]
		i := check(fmt.Sprint(1000+k), ledger.Cents(100+dice.IntN(5000)), []string{"2026-03-10", "2026-03-12", "2026-03-16", "2026-03-16"}[dice.IntN(4)], mrn)
		switch dice.IntN(10) {
		case 0:
			i.Payer = ""
		case 1:
			i.ReceivedDate = 0
		case 2:
			i.Payer, i.Overflows = "", []lockbox.Overflow{coupon(mrns[0], 40), coupon(mrns[1], i.Cents-40)}
		case 3:
			i.Overflows = []lockbox.Overflow{{Text: "PREMIUM"}}
		case 4:
			if k > 0 {
				i.Check, i.Cents = items[k-1].Check, items[k-1].Cents
			}
		}
		items = append(items, i)
	}
	return items
}

// rows are the rows of the tables that an ingestion writes, ids of files left
// out.
func (m *mail) rows() (list []string) {
	m.Helper()
	for _, sql := range []string{
		`select to_jsonb(a)::text from account a order by id`,
		`select (to_jsonb(r) - 'check_file')::text from receipt r order by account_id, no`,
		`select to_jsonb(j)::text from journal j order by account_id, no`,
		`select to_jsonb(i)::text from item i order by account_id, no`,
		`select to_jsonb(a)::text from allocation a order by account_id, no`,
		`select (to_jsonb(i) - 'file_id' - 'micr')::text from lockbox_item i order by file_id, ordinal`,
		`select (to_jsonb(s) - 'file_id')::text from lockbox_share s order by file_id, ordinal, coupon`,
		`select (to_jsonb(b) - 'file_id')::text from lockbox_batch b order by file_id, ordinal`,
		`select (to_jsonb(d) - 'file_id')::text from lockbox_deposit d order by file_id, lockbox, deposit_on`,
		`select (to_jsonb(f) - 'id')::text from lockbox_file f order by sha256`,
		`select concat_ws(' ', posted_on, what, debit, credit, sum(entries), sum(cents)) from journal_total group by posted_on, what, debit, credit order by 1`,
		`select concat_ws(' ', on_date, operator, verb, account_id, reason, detail - 'file_id' - 'undoes') from act order by id`,
		`select to_jsonb(s)::text from lockbox_staging s`,
	} {
		found, err := m.db.Query(m.Context(), sql)
		m.must(err)
		lines, err := pgx.CollectRows(found, pgx.RowTo[string])
		m.must(err)
		list = append(list, lines...)
	}
	return list
}

func (m *mail) sameRows(want []string) {
	m.Helper()
	got := m.rows()
	if slices.Equal(want, got) {
		return
	}
	for n := range max(len(want), len(got)) {
		w, g := "nothing", "nothing"
		if n < len(want) {
			w = want[n]
		}
		if n < len(got) {
			g = got[n]
		}
		if w != g {
			m.Errorf("%d rows, want %d; row %d is\n%s, want\n%s", len(got), len(want), n, g, w)
			return
		}
	}
}

func TestChunksMakeNoDifference(t *testing.T) {
	var want []string
	for _, chunk := range []int{0, 1, 7, 64} {
		m := newMail(t)
		var mrns []string
		for n := range int64(4) {
			mrn, _ := m.member(n+1, 20000)
			mrns = append(mrns, mrn)
		}
		items := letters(rand.New(rand.NewPCG(1, 2)), mrns, 150)
		d := m.desk("2026-03-18")
		d.ChunkItems = chunk
		wrong := batch("002", items[50:80]...)
		wrong.Said = &lockbox.Total{Items: 30, Cents: 1}
		got, err := d.Ingest(t.Context(), "F1", bytes.NewReader(m.file("0600", batch("001", items[:50]...), wrong, batch("003", items[80:]...))), m.profile)
		m.must(err)
		m.addsUp(got)
		if got.Posted == 0 || got.Pending == 0 || got.Suspense == 0 || got.Held == 0 || got.Refused != 30 {
			t.Errorf("the lot is too plain: %+v", got)
		}
		if want == nil {
			want = m.rows()
		}
		m.sameRows(want)
	}
}

// What a statement does for a whole file is what the rules do for each check.
func TestReceivedAsTheRulesDo(t *testing.T) {
	for seed := range uint64(3) {
		m := newMail(t)
		var mrns []string
		for n := range int64(5) {
			mrn, _ := m.member(n+1, 20000)
			mrns = append(mrns, mrn)
		}
		items := letters(rand.New(rand.NewPCG(seed, 9)), mrns, 120)
		before := map[int64]*billing.Account{}
		load := func() *billing.Book {
			var book *billing.Book
			m.must(pgx.BeginFunc(t.Context(), m.db, func(tx pgx.Tx) (err error) {
				book, err = billing.Load(t.Context(), tx, billing.Whole, 0, 1, 2, 3, 4, 5)
				return err
			}))
			return book
		}
		for _, a := range load().Accounts {
			before[a.ID] = a
		}
		got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", items...)))
		day := calendar.MustParse("2026-03-16")
		// The rules' way: the same decisions, check by check.
		found, err := m.db.Query(t.Context(), `select i.ordinal, coalesce(p.account_id, 0), coalesce(p.coupon, 0), coalesce(p.cents, i.cents), i.received_on, coalesce(p.directed, ''), i.check_no
			from lockbox_item i left join lockbox_part p using (file_id, ordinal) where i.file_id = $1 and i.state in ('taken', 'suspense') order by 1, 3`, got.FileID)
		m.must(err)
		var item, coupon int32
		var account int64
		var cents ledger.Cents
		var received calendar.Date
		var directed, no string
		_, err = pgx.ForEachRow(found, []any{&item, &account, &coupon, &cents, &received, &directed, &no}, func() error {
			if account == 0 {
				before[0].SuspenseIn(day, received, cents)
				return nil
			}
			before[account].Receive(day, billing.Receipt{Channel: "lockbox", Cents: cents, Directed: billing.Kind(directed), Reference: no, ReceivedOn: received, ArrivedOn: day,
				PostsOn: m.policy.Lockbox.PostsOn(received), Check: billing.Check{File: got.FileID, Item: item, Coupon: coupon}})
			return nil
		})
		m.must(err)
		after := load()
		for id, want := range before {
			have := after.Account(id)
			var pending []*billing.Receipt
			for _, r := range want.Receipts {
				if r.PostsOn > day {
					pending = append(pending, r)
				}
			}
			k := 0
			for _, r := range have.Receipts {
				if r.State != billing.Pending {
					continue
				}
				if k == len(pending) || r.No != pending[k].No || r.InEntry != pending[k].InEntry || r.Cents != pending[k].Cents || r.ReceivedOn != pending[k].ReceivedOn ||
					r.ArrivedOn != pending[k].ArrivedOn || r.PostsOn != pending[k].PostsOn || r.Directed != pending[k].Directed || r.Reference != pending[k].Reference || r.Unapplied != pending[k].Unapplied {
					t.Fatalf("account %d: receipt %+v", id, r)
				}
				k++
			}
			if k != len(pending) {
				t.Errorf("account %d has %d pending receipts, the rules make %d", id, k, len(pending))
			}
			for _, e := range want.Entries() {
				n := m.one(`select count(*) from journal where account_id = $1 and no = $2 and posted_on = $3 and effective_on = $4 and what = $5 and debit = $6 and credit = $7 and cents = $8 and doc = $9 and reverses is null`,
					e.AccountID, e.No, e.PostedOn, e.EffectiveOn, e.What, e.Debit, e.Credit, int64(e.Cents), e.Doc)
				if n != 1 {
					t.Errorf("the entry %+v is not in the journal", e)
				}
			}
		}
	}
}

// stopAt makes the ingestion of a file fail at a check, as a crash would.
func (m *mail) stopAt(ordinal int) {
	m.Helper()
	_, err := m.db.Exec(m.Context(), `create or replace function break_down() returns trigger language plpgsql as $$ begin raise exception 'power cut'; end $$;
		create trigger break_down before insert on lockbox_item for each row when (new.ordinal = `+fmt.Sprint(ordinal)+`) execute function break_down()`)
	m.must(err)
}

func (m *mail) goOn() {
	m.Helper()
	_, err := m.db.Exec(m.Context(), `drop trigger break_down on lockbox_item`)
	m.must(err)
}

// A file that broke off counts nowhere, and goes on where it was; on another
// day, or after another file, it begins anew.
func TestBrokenOff(t *testing.T) {
	lot := func(m *mail) (content []byte, mrns []string) {
		for n := range int64(3) {
			mrn, _ := m.member(n+1, 20000)
			mrns = append(mrns, mrn)
		}
		items := letters(rand.New(rand.NewPCG(3, 4)), mrns, 60)
		return m.file("0600", batch("001", items[:20]...), batch("002", items[20:]...)), mrns
	}
	ingest := func(m *mail, day string, content []byte) (lockbox.Ingested, error) {
		d := m.desk(day)
		d.ChunkItems = 8
		return d.Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile)
	}
	plain := newMail(t)
	content, _ := lot(plain)
	whole, err := ingest(plain, "2026-03-18", content)
	plain.must(err)
	want := plain.rows()

	for _, c := range []struct {
		name string
		then func(m *mail, mrns []string)
		kept int64 // checks that are not laid out twice
	}{
		{"and goes on", func(*mail, []string) {}, 40},
		{"and begins anew on another day", func(m *mail, _ []string) {
			if _, err := ingest(m, "2026-03-17", content); err == nil {
				m.Error("it did not break off again")
			}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMail(t)
			content, mrns := lot(m)
			untouched := m.rows()
			m.stopAt(45)
			if _, err := ingest(m, "2026-03-18", content); err == nil || !strings.Contains(err.Error(), "power cut") {
				t.Fatal(err)
			}
			if n := m.one(`select up_to from lockbox_staging`); n != 40 {
				t.Errorf("laid out up to %d", n)
			}
			m.proven()
			if work, err := m.desk("2026-03-18").Held(t.Context()); err != nil || len(work) != 0 {
				t.Errorf("it waits for a person: %+v %v", work, err)
			}
			file := m.one(`select file_id from lockbox_staging`)
			if err := m.desk("2026-03-18").Match(t.Context(), file, 1, mrns[0], "too early"); !errors.Is(err, lockbox.ErrNoItem) {
				t.Errorf("an act on a check that is not in: %v", err)
			}
			if rest := slices.DeleteFunc(m.rows(), func(row string) bool { return slices.Contains(untouched, row) }); len(rest) != 40+1+1+int(m.one(`select count(*) from lockbox_share`)) {
				t.Errorf("%d rows more than the 40 checks, the file and its mark", len(rest))
			}
			c.then(m, mrns)
			m.goOn()
			var old uint32
			m.must(m.db.QueryRow(t.Context(), `select coalesce(max(xmin::text::bigint), 0) from lockbox_item`).Scan(&old))
			got, err := ingest(m, "2026-03-18", content)
			m.must(err)
			m.addsUp(got)
			got.FileID = whole.FileID
			if fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Errorf("%+v, want %+v", got, whole)
			}
			// Suspense is the one state in which a row is written twice.
			if n := m.one(`select count(*) from lockbox_item where xmin::text::bigint <= $1 and state <> 'suspense'`, old); c.kept == 0 != (n == 0) {
				t.Errorf("%d checks were kept from the first try", n)
			}
			m.sameRows(want)
			if again, err := ingest(m, "2026-03-18", content); err != nil || !again.Duplicate {
				t.Errorf("%+v %v", again, err)
			}
		})
	}
}

// Another file that comes before a broken-off one is tried again: what was
// decided of the first is decided anew.
func TestBrokenOffAndOvertaken(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	d := m.desk("2026-03-16")
	d.ChunkItems = 1
	first := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", ann)))
	m.stopAt(2)
	if _, err := d.Ingest(t.Context(), "F1", bytes.NewReader(first), m.profile); err == nil {
		t.Fatal("it did not break off")
	}
	m.goOn()
	other := m.ingest("2026-03-16", "F2", m.file("0601", batch("002", check("1001", 100, "2026-03-16", ann))))
	if other.Pending != 1 {
		t.Errorf("held for a check that is not in: %+v", other)
	}
	got, err := d.Ingest(t.Context(), "F1", bytes.NewReader(first), m.profile)
	m.must(err)
	m.addsUp(got)
	if got.Held != 1 || got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 300, 57200)
}

// A check that was told away while one like it was laid out, and comes back before
// that file does, is the one that counts: the other is held.
func TestBrokenOffLeavesWhatCounts(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	first := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 100, "2026-03-16", "")))).FileID
	m.must(m.desk("2026-03-16").Void(t.Context(), first, 1, "the bank took it back"))
	content := m.file("0601", batch("002", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", ann)))
	ingest := func(day string) (lockbox.Ingested, error) {
		d := m.desk(day)
		d.ChunkItems = 1
		return d.Ingest(t.Context(), "F2", bytes.NewReader(content), m.profile)
	}
	m.stopAt(2)
	if _, err := ingest("2026-03-16"); err == nil {
		t.Fatal("it did not break off")
	}
	m.goOn()
	m.must(m.desk("2026-03-16").Undo(t.Context(), first, 1, "it was not taken back"))
	got, err := ingest("2026-03-17")
	m.must(err)
	m.addsUp(got)
	if got.Held != 1 || got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 200, 57300)
	m.proven()
}

// Many operators upload one large file at the same moment, and others work at
// the desk: one file is taken in, and nobody waits for each other forever.
func TestManyOperators(t *testing.T) {
	m := newMail(t)
	var mrns []string
	for n := range int64(3) {
		mrn, _ := m.member(n+1, 20000)
		mrns = append(mrns, mrn)
	}
	earlier := m.ingest("2026-03-15", "F0", m.file("0500", batch("009", check("1", 100, "2026-03-13", ""), check("2", 100, "2026-03-13", ""))))
	content := m.file("0600", batch("001", letters(rand.New(rand.NewPCG(5, 6)), mrns, 60)...))
	var wg sync.WaitGroup
	var accepted, duplicates, matched int
	var mu sync.Mutex
	for n := range 4 {
		wg.Go(func() {
			d := m.desk("2026-03-16")
			d.ChunkItems = 5 + n
			got, err := d.Ingest(context.Background(), "F1", bytes.NewReader(content), m.profile)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case got.Duplicate:
				duplicates++
			case got.Accepted:
				accepted++
			}
		})
		wg.Go(func() {
			err := m.desk("2026-03-16").Match(context.Background(), earlier.FileID, 1+n%2, mrns[n%3], "found")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				matched++
			} else if !errors.Is(err, lockbox.ErrNotNow) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if accepted != 1 || duplicates != 3 || matched != 2 {
		t.Errorf("%d accepted, %d duplicates, %d matched", accepted, duplicates, matched)
	}
	m.proven()
}

// Two checks in one envelope with one coupon: the amounts prove whose both are.
// Where they don't, the other is proposed and no more.
func TestEnvelopes(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	in := func(i lockbox.Item, envelope string) lockbox.Item { i.Envelope = envelope; return i }
	with := func(i lockbox.Item, cents ledger.Cents) lockbox.Item {
		i.Overflows = []lockbox.Overflow{coupon(ann, cents)}
		return i
	}
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001",
		in(with(check("1", 30000, "2026-03-16", ""), 57500), "001"), in(check("2", 27500, "2026-03-16", ""), "001"), // together what the coupon asks for
		in(with(check("3", 300, "2026-03-16", ""), 500), "002"), in(check("4", 199, "2026-03-16", ""), "002"), // a cent short
		in(check("5", 100, "2026-03-16", ann), "000"), in(check("6", 100, "2026-03-16", ""), "000")))) // no envelope said
	if got.Pending != 4 || got.Suspense != 2 {
		t.Errorf("%+v", got)
	}
	m.wantState(got.FileID, 4, "suspense no_reference")
	m.wantState(got.FileID, 6, "suspense no_reference")
	m.wantFigures(a, 57500, 57900, 0)
}
