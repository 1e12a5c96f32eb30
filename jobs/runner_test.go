package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// biller is a house in which a few members are billed: member n, from 0, owes a
// premium of 100.00 + n cents for March 2026, due on the 25th, a Wednesday.
type biller struct {
	jobs.House
	t *testing.T
}

func newBiller(t *testing.T, members int) *biller {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	policy := billing.DefaultPolicy()
	policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "0742680", Profile: "bai-a"}}
	b := &biller{jobs.House{DB: postgrestest.New(t), Policy: &policy, Keys: keys, Dir: t.TempDir(), Operator: "system"}, t}
	var people, charges strings.Builder
	people.WriteString("mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n")
	charges.WriteString("charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n")
	for n := range members {
		fmt.Fprintf(&people, "%s,%[1]s,Ann,Member,1 Main Street,Oakland,CA,94601,paper\n", mrn(n))
		fmt.Fprintf(&charges, "premium-%d,%s,premium,2026-03-01,Premium,%d,0,%[3]d\n", n, mrn(n), 10_000+n)
	}
	b.put("members/members.csv", people.String())
	b.put("charges/charges.csv", charges.String())
	return b
}

func mrn(n int) string { return string(billing.NewMRN(int64(200_000_001 + n))) }

func day(s string) calendar.Date { return calendar.MustParse(s) }

// put puts a file into the inbox.
func (b *biller) put(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.Dir, "inbox", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// enrol puts members 0 to n-1 on autopay.
func (b *biller) enrol(n int) {
	rows := "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on\n"
	for n := range n {
		rows += fmt.Sprintf("%s,ach,121000358,%d,checking,,2026-01-05,written,\n", mrn(n), 7_000_000_001+n)
	}
	b.put("autopay/autopay.csv", rows)
}

// check puts a lockbox file with one check of a member into the inbox.
func (b *biller) check(name string, member int, cents ledger.Cents, deposited calendar.Date) {
	b.t.Helper()
	profile, err := lockbox.ProfileNamed(lockbox.Profiles(), "bai-a")
	if err != nil {
		b.t.Fatal(err)
	}
	line := billing.Scanline{MRN: billing.MRN(mrn(member)), Statement: 1, Due: cents}.String()
	item := lockbox.Item{Cents: cents, Check: "1001", Routing: "12100035", Account: "8000000001",
		Overflows: []lockbox.Overflow{{Text: line, Payer: line[:10], Invoice: line[10:20], Cents: cents, HasCents: true}}}
	var out bytes.Buffer
	if err := lockbox.Write(&out, profile, lockbox.File{Destination: "BILLER", Origin: "121000358", Date: deposited, Time: "0600",
		Batches: []lockbox.Batch{{Lockbox: "0742680", DepositDate: deposited, Items: []lockbox.Item{item}}}}); err != nil {
		b.t.Fatal(err)
	}
	b.put("lockbox/"+name, out.String())
}

// night runs all jobs of a date and returns their reports by name.
func (b *biller) night(on string) map[string]jobs.Report {
	b.t.Helper()
	reports, err := jobs.Runner{House: b.House}.Night(context.Background(), day(on))
	if err != nil {
		b.t.Fatalf("night of %s: %v", on, err)
	}
	byName := map[string]jobs.Report{}
	for _, r := range reports {
		var skipped int64
		for _, n := range r.Skipped {
			skipped += n
		}
		if r.Selected != r.Done+skipped+r.Parked {
			b.t.Errorf("%s of %s selected %d, which is not done %d + skipped %v + parked %d", r.Job, on, r.Selected, r.Done, r.Skipped, r.Parked)
		}
		byName[r.Job] = r
	}
	return byName
}

// nights runs every night of a span.
func (b *biller) nights(from, to string) {
	b.t.Helper()
	for d := day(from); d <= day(to); d++ {
		b.night(d.String())
	}
}

// figure asks the database for one number.
func (b *biller) figure(sql string, args ...any) (n int64) {
	b.t.Helper()
	if err := b.DB.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// rows returns every row of the tables of money and documents with the
// transaction that wrote it: a row written again, even with the same content,
// is another.
func (b *biller) rows() (all []string) {
	b.t.Helper()
	for _, table := range []string{"account", "member", "item", "bill", "receipt", "allocation", "journal", "payment", "adjustment", "autopay_method", "hold", "act",
		"debit", "ach_file", "ach_trace", "ach_answer", "statement", "lockbox_file", "lockbox_batch", "lockbox_item", "lockbox_share", "exception", "parked", "skipped", "journal_total", "journal_file", "journal_line"} {
		sql := `select '` + table + `' || xmin::text || to_jsonb(t)::text from ` + table + ` t`
		if table == "account" { // but for what only saves looking
			sql = `select 'account' || (to_jsonb(t) - 'looked' - 'relook' - 'open_from')::text from account t`
		}
		rows, err := b.DB.Query(context.Background(), sql)
		if err != nil {
			b.t.Fatal(err)
		}
		more, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, more...)
	}
	slices.Sort(all)
	return all
}

func (b *biller) holds() {
	b.t.Helper()
	proofs, _, err := b.Verify(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range proofs {
		if !p.Holds {
			b.t.Errorf("%s: %v", p.Name, p.Examples)
		}
	}
}

func TestSecondRunAddsNothing(t *testing.T) {
	b := newBiller(t, 12)
	b.enrol(4)
	b.Release = "second person"
	for d := day("2026-03-01"); d <= day("2026-04-02"); d++ {
		if d == day("2026-03-11") {
			b.check("checks.bai", 7, 10_007, d-1)
		}
		b.night(d.String())
		before := b.rows()
		for name, r := range b.night(d.String()) {
			if !r.Again || r.Done != 0 || r.Cents != 0 {
				t.Errorf("the second %s of %s is again %v, did %d of %s", name, d, r.Again, r.Done, r.Cents)
			}
		}
		if after := b.rows(); !slices.Equal(before, after) {
			t.Errorf("the second night of %s changed %d rows to %d", d, len(before), len(after))
			for _, row := range after {
				if _, was := slices.BinarySearch(before, row); !was {
					t.Fatalf("for one: %s", row)
				}
			}
		}
	}
	if fees, debits, posted := b.figure(`select count(*) from item where origin = 'late_fee'`), b.figure(`select count(*) from debit`),
		b.figure(`select count(*) from receipt where state = 'posted'`); fees != 7 || debits != 4 || posted != 5 {
		t.Errorf("the month had %d late fees, %d debits, %d payments; want 7, 4, 5", fees, debits, posted)
	}
	b.holds()
}

func TestTwoProgramsOneDate(t *testing.T) {
	b := newBiller(t, 3)
	entered, leave := make(chan struct{}), make(chan struct{})
	first := *b
	first.DB = tracedPool(t, b.DB, func(sql string) {
		if strings.HasPrefix(sql, "insert into run (") {
			select {
			case entered <- struct{}{}:
				<-leave
			default:
			}
		}
	})
	done := make(chan error)
	go func() {
		_, err := jobs.Runner{House: first.House}.Night(context.Background(), day("2026-03-01"))
		done <- err
	}()
	<-entered
	if _, err := (jobs.Runner{House: b.House}).Night(t.Context(), day("2026-03-01")); !errors.Is(err, jobs.ErrBusy) {
		t.Errorf("a second program on the same date got %v, want ErrBusy", err)
	}
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "post", day("2026-03-01")); !errors.Is(err, jobs.ErrBusy) {
		t.Errorf("one job of the same date got %v, want ErrBusy", err)
	}
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "post", day("2026-02-28")); err != nil {
		t.Errorf("another date got %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b.night("2026-03-01")["statements"].Again != true {
		t.Error("the night is not over")
	}
}

// tracedPool opens a second pool on a database, of which ask hears every
// statement before it is sent.
func tracedPool(t *testing.T, db postgres.DB, ask func(sql string)) *pgxpool.Pool {
	t.Helper()
	config := db.(*pgxpool.Pool).Config()
	config.ConnConfig.Tracer = listener(ask)
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type listener func(sql string)

func (l listener) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	l(q.SQL)
	return ctx
}

func (l listener) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A run that breaks off between ranges goes on with those that are left, and
// its report counts all of them.
func TestResumesBetweenRanges(t *testing.T) {
	b := newBiller(t, 25)
	b.ChunkAccounts, b.Workers = 5, 1
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-01")); err != nil {
		t.Fatal(err)
	}
	broken := *b
	ctx, pull := context.WithCancel(t.Context())
	commits := 0
	broken.DB = tracedPool(t, b.DB, func(sql string) {
		if sql == "commit" {
			if commits++; commits == 4 { // ranges are entered, then the third of them does not come through
				pull()
			}
		}
	})
	if r, err := (jobs.Runner{House: broken.House}).Run(ctx, "statements", day("2026-03-01")); err == nil || r.State != "failed" {
		t.Fatalf("the broken run came to %+v, %v", r, err)
	}
	if n := b.figure(`select count(*) from bill`); n == 0 || n >= 25 {
		t.Fatalf("%d bills were cut before it broke off; want some", n)
	}
	bills := b.figure(`select count(*) from bill`)
	begun := 0
	b.DB = tracedPool(t, b.DB, func(sql string) {
		if strings.HasPrefix(sql, "begin") {
			begun++
		}
	})
	r, err := jobs.Runner{House: b.House}.Run(t.Context(), "statements", day("2026-03-01"))
	if err != nil {
		t.Fatal(err)
	}
	if want := ledger.Cents(25*10_000 + 24*25/2); r.Selected != 25 || r.Done != 25 || r.Cents != want || r.Again || r.Parked != 0 {
		t.Errorf("resumed, the run came to %+v; want 25 done, %s", r, want)
	}
	if b.figure(`select done from run where job = 'statements'`) != 25 || b.figure(`select cents from run where job = 'statements'`) != int64(r.Cents) {
		t.Errorf("its row counts what was done before it broke off twice")
	}
	if left := b.figure(`select count(*) from run_chunk where job = 'statements' and step = 'cut'`); left != 6 || b.figure(`select count(*) from bill`) != 25 {
		t.Errorf("%d ranges done, want 6", left)
	}
	// Ranges that had been cut were not cut again: fewer transactions than the 6 + 6 of a whole run
	// and the 5 of its print bundle, the 2 that find no word to send, and the 2 that enter ranges.
	if most := 12 + 5 + 2 + 2 - int(bills)/5; begun > most {
		t.Errorf("%d bills were there, and the resumed run began %d transactions, want at most %d", bills, begun, most)
	}
	b.holds()
}

// One account that can't be worked on is put aside; the night goes on, says
// so, and does it when it has been mended.
func TestPoisonousAccountIsParked(t *testing.T) {
	for _, c := range []struct{ name, poison, cure string }{
		{"a constraint refuses its bill", `alter table bill add constraint poison check (account_id <> 4)`, `alter table bill drop constraint poison`},
		{"its statement can't be sealed", `update member set mrn = '' where account_id = 4`, `update member set mrn = (select mrn from account where id = 4) where account_id = 4`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBiller(t, 9)
			var log bytes.Buffer
			b.Log, b.Workers = &log, 1
			if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-01")); err != nil {
				t.Fatal(err)
			}
			if _, err := b.DB.Exec(t.Context(), c.poison); err != nil {
				t.Fatal(err)
			}
			r := b.night("2026-03-01")["statements"]
			if r.State != "done" || r.Parked != 1 || r.Done != 8 || r.Selected != 9 {
				t.Errorf("the run with a poisonous account came to %+v; want 8 done, 1 parked", r)
			}
			if n := b.figure(`select count(*) from bill where account_id <> 4`); n != 8 {
				t.Errorf("%d other accounts have their bill, want 8", n)
			}
			if n := b.figure(`select count(*) from parked where account_id = 4 and job = 'statements' and day = '2026-03-01' and error <> ''`); n != 1 {
				t.Error("the account is not parked with its error")
			}
			if !strings.Contains(log.String(), "account 4 is parked") {
				t.Errorf("the log does not say which account is parked: %s", log.String())
			}
			if _, err := b.DB.Exec(t.Context(), c.cure); err != nil {
				t.Fatal(err)
			}
			if r := b.night("2026-03-01")["statements"]; r.Parked != 0 || r.Done != 1 {
				t.Errorf("after it was mended the run came to %+v; want 1 done", r)
			}
			if n := b.figure(`select count(*) from bill`); n != 9 {
				t.Errorf("%d bills, want 9", n)
			}
			b.holds()
		})
	}
}

// A debit whose file nobody releases never posts, says why, leaves what was due
// due, and is built again for the next banking day.
func TestUnreleasedDebitNeverPosts(t *testing.T) {
	b := newBiller(t, 2)
	b.enrol(1)
	b.nights("2026-03-01", "2026-03-23")
	r := b.night("2026-03-24")["autopay"] // due on Wednesday the 25th
	if r.Done != 1 || r.Cents != 10_000 || r.Waiting != 1 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "release") {
		t.Fatalf("the autopay run of the 24th came to %+v", r)
	}
	if files, err := filepath.Glob(filepath.Join(b.Dir, "outbox", "ach", "*")); err != nil || len(files) != 0 {
		t.Errorf("unreleased, and in the outbox: %v", files)
	}
	reports := b.night("2026-03-25")
	if r := reports["post"]; r.Done != 0 || r.Skipped["not_released"] != 1 || r.Waiting == 0 {
		t.Errorf("the post run of the 25th came to %+v; want one not_released", r)
	}
	if n := b.figure(`select count(*) from exception where account_id = 1 and job = 'post' and code = 'not_released'`); n != 1 {
		t.Errorf("%d exceptions not_released", n)
	}
	if n := b.figure(`select coalesce(sum(cents), 0) from journal where what = 'payment'`); n != 0 {
		t.Errorf("%d cents posted", n)
	}
	var due ledger.Cents
	err := pgx.BeginFunc(t.Context(), b.DB, func(tx pgx.Tx) error {
		book, err := billing.Load(t.Context(), tx, billing.Whole, 1)
		if err != nil {
			return err
		}
		f := book.Account(1).Figures()
		due = f.Due + f.Pending
		return nil
	})
	if err != nil || due != 10_000 {
		t.Errorf("due and on its way after all: %s, %v; want $100.00", due, err)
	}
	if r := reports["autopay"]; r.Done != 1 || r.Cents != 10_000 {
		t.Errorf("the autopay run of the 25th came to %+v; want the debit built again", r)
	}
	if n := b.figure(`select count(*) from debit where effective_on = '2026-03-26' and state = 'built' and missed`); n != 1 {
		t.Errorf("%d debits of the next banking day", n)
	}
	var file int64
	if err := b.DB.QueryRow(t.Context(), `select id from ach_file where state = 'sealed'`).Scan(&file); err != nil {
		t.Fatal(err)
	}
	second := b.Office(day("2026-03-25"))
	second.Operator = "second person"
	if _, err := second.Release(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if _, _, err := second.WriteOut(t.Context(), filepath.Join(b.Dir, "outbox", "ach")); err != nil {
		t.Fatal(err)
	}
	if r := b.night("2026-03-26")["post"]; r.Done != 1 || r.Cents != 10_000 {
		t.Errorf("the post run of the 26th came to %+v; want the debit posted", r)
	}
	b.nights("2026-03-27", "2026-04-02")
	if n := b.figure(`select count(*) from item where origin = 'late_fee' and account_id = 1`); n != 0 {
		t.Error("a late fee for our own delay")
	}
	b.holds()
}

// A file that was released, but that a killed program had not put into the
// outbox before its effective date, stays in the house: a person is told, and
// its debit does not post.
func TestReleasedFileThatNeverLeft(t *testing.T) {
	b := newBiller(t, 2)
	b.enrol(1)
	b.nights("2026-03-01", "2026-03-24")
	var file int64
	if err := b.DB.QueryRow(t.Context(), `select id from ach_file where state = 'sealed'`).Scan(&file); err != nil {
		t.Fatal(err)
	}
	second := b.Office(day("2026-03-24"))
	second.Operator = "second person"
	if _, err := second.Release(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if r := b.night("2026-03-25")["post"]; r.Done != 0 || r.Skipped["not_sent"] != 1 || r.Waiting != 2 || !strings.Contains(strings.Join(r.Notes, "\n"), "stays here") {
		t.Errorf("the post run of the 25th came to %+v; want one not_sent", r)
	}
	if files, err := filepath.Glob(filepath.Join(b.Dir, "outbox", "ach", "*")); err != nil || len(files) != 0 {
		t.Errorf("late, and in the outbox: %v", files)
	}
	if n := b.figure(`select count(*) from debit where effective_on = '2026-03-26' and state = 'built' and missed`); n != 1 {
		t.Errorf("%d debits of the next banking day", n)
	}
	b.holds()
}

// A lockbox file that comes after the night was run is done by running the
// night again.
func TestLateFileByRunningAgain(t *testing.T) {
	b := newBiller(t, 3)
	b.nights("2026-03-01", "2026-03-19")
	b.night("2026-03-20")
	b.check("late.bai", 1, 10_001, day("2026-03-10")) // to post on the 17th
	reports := b.night("2026-03-20")
	if r := reports["lockbox"]; !r.Again || r.Done != 1 || r.Cents != 10_001 {
		t.Errorf("the lockbox run came to %+v; want the check taken", r)
	}
	if n := b.figure(`select count(*) from receipt where account_id = 2 and channel = 'lockbox' and state = 'posted' and cents = 10001 and received_on = '2026-03-10' and posted_on = '2026-03-20'`); n != 1 {
		t.Error("the check did not post in the night that was run again")
	}
	if left, _ := filepath.Glob(filepath.Join(b.Dir, "inbox", "lockbox", "*")); len(left) != 0 {
		t.Errorf("left in the inbox: %v", left)
	}
	b.holds()
}

func TestRefusedFile(t *testing.T) {
	for _, c := range []struct{ folder, content, reason string }{
		{"charges", "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\nx1," + mrn(0) + ",premium,2026-03-02,P,100,0,100\nx2," + mrn(1) + ",premium,2026-03-02,P,1O0,0,100\n", "gross_cents"},
		{"members", "no,such,columns\n1,2,3\n", "mrn"},
		{"payments", "payment_id,mrn,received,channel,amount_cents,directed,payer\np1,1234567890,2026-03-02,online,500,,\n", "mrn"},
		{"lockbox", "this is no lockbox file\n", "lockbox"},
		{"check-returns", "routing,account,check,cents\n12100035,8000000001,1001,10001\n", "reason"},
		{"ach", "101 this is no ACH file\n", "ach"},
	} {
		t.Run(c.folder, func(t *testing.T) {
			b := newBiller(t, 3)
			b.night("2026-03-01")
			before := b.rows()
			b.put(c.folder+"/bad.txt", c.content)
			b.put(c.folder+"/half.part", c.content)
			reports := b.night("2026-03-01")
			waits, notes := int64(0), ""
			for _, r := range reports {
				waits += r.Waiting
				notes += strings.Join(r.Notes, "\n")
			}
			if waits == 0 || !strings.Contains(notes, "bad.txt was refused") {
				t.Errorf("the night has %d things waiting and notes %q", waits, notes)
			}
			after := slices.DeleteFunc(b.rows(), func(row string) bool {
				return strings.HasPrefix(row, "exception") || strings.HasPrefix(row, "lockbox_")
			})
			if !slices.Equal(before, after) {
				t.Error("the refused file has changed something")
			}
			refused := filepath.Join(b.Dir, "refused", c.folder, "2026-03-01", "bad.txt")
			if got, err := os.ReadFile(refused); err != nil || string(got) != c.content {
				t.Errorf("the file is not in refused/ as it came: %q, %v", got, err)
			}
			if why, err := os.ReadFile(refused + ".reason"); err != nil || !strings.Contains(strings.ToLower(string(why)), c.reason) || !strings.Contains(string(why), "line ") || strings.Contains(string(why), `{"`) {
				t.Errorf("its reason %q lacks %q: %v", why, c.reason, err)
			}
			if _, err := os.Stat(filepath.Join(b.Dir, "inbox", c.folder, "half.part")); err != nil {
				t.Errorf("a file still being written was touched: %v", err)
			}
			b.holds()
		})
	}
}

// No nightly job opens a transaction for each account: ten times the accounts
// take as many transactions, job by job.
func TestTransactionsDoNotGrowWithAccounts(t *testing.T) {
	count := func(members int) (begun int64, bills int64) {
		b := newBiller(t, members)
		b.enrol(members / 2)
		b.Release = "second person"
		var n atomic.Int64
		b.DB = tracedPool(t, b.DB, func(sql string) {
			if strings.HasPrefix(sql, "begin") {
				n.Add(1)
			}
		})
		for _, on := range []string{"2026-03-01", "2026-03-24", "2026-03-25", "2026-03-31"} { // cut, build, post, late fees
			b.night(on)
		}
		return n.Load(), b.figure(`select count(*) from bill`) + b.figure(`select count(*) from debit`) + b.figure(`select count(*) from item where origin = 'late_fee'`)
	}
	few, fewDone := count(8)
	many, manyDone := count(80)
	if few == 0 || fewDone != 8+4+4 || manyDone != 10*fewDone {
		t.Fatalf("%d transactions did %d documents, %d did %d", few, fewDone, many, manyDone)
	}
	if many != few {
		t.Errorf("the nights of 8 accounts take %d transactions, those of 80 take %d", few, many)
	}
}

func TestUnknownJob(t *testing.T) {
	b := newBiller(t, 0)
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "wash-up", day("2026-03-01")); err == nil || !strings.Contains(err.Error(), `"wash-up"`) {
		t.Errorf("an unknown job gave %v", err)
	}
}

// A disk that is full or not there is no account's fault: nobody is parked, the
// night stops, and goes on where it stopped when the disk is back.
func TestDiskInTheWayParksNobody(t *testing.T) {
	b := newBiller(t, 3)
	b.put("members/paperless.csv", "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery,email\n"+
		mrn(1)+","+mrn(1)+",Ann,Member,1 Main Street,Oakland,CA,94601,paperless,ann@example.com\n")
	store := filepath.Join(b.Dir, "statements")
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reports, err := jobs.Runner{House: b.House}.Night(t.Context(), day("2026-03-01"))
	if !errors.As(err, new(*fs.PathError)) {
		t.Errorf("the night came to %v", err)
	}
	for _, r := range reports {
		if r.Parked > 0 {
			t.Errorf("%s parked %d", r.Job, r.Parked)
		}
	}
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	b.night("2026-03-01")
	if n := b.figure(`select count(*) from parked`); n != 0 {
		t.Errorf("%d parked", n)
	}
	b.holds()
}
