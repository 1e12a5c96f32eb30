package ach_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// The life of a debit: built, sealed, released, written, posted.
func TestDebitLives(t *testing.T) {
	b := newBiller(t)
	one, two := b.payer(57500), b.payer(20000)
	other := b.account(10000) // pays by mail

	if tally := b.ranged(ach.Select, buildDay-1); tally.Selected != 0 {
		t.Errorf("built before the build day: %+v", tally)
	}
	tally, files := b.build(buildDay)
	if tally.Selected != 2 || tally.Done != 2 || tally.Cents != 77500 || len(files) != 1 {
		t.Fatalf("built %+v %+v", tally, files)
	}
	f := files[0]
	if f.Name != "ach-20260324-A.ach" || f.Entries != 2 || f.Cents != 77500 || f.EffectiveOn != dueDay || f.State != ach.FileSealed || f.Maker != "system" {
		t.Errorf("sealed %+v", f)
	}
	b.want("pending", b.figures(one), "57500 57500 0 on")
	b.want("traces", b.ask(`select trace || sec from debit order by account_id`), "121000350000001WEB 121000350000002WEB")

	if tally, again := b.build(buildDay); tally.Done != 0 || len(again) != 0 {
		t.Errorf("built again: %+v %+v", tally, again)
	}
	dir := filepath.Join(t.TempDir(), "outbox", "ach")
	if paths, _, err := b.office(buildDay, "system").WriteOut(t.Context(), dir); err != nil || len(paths) != 0 {
		t.Errorf("written before its release: %v %v", paths, err)
	}
	b.release(buildDay, f)
	paths, _, err := b.office(buildDay, "system").WriteOut(t.Context(), dir)
	if err != nil || !slices.Equal(paths, []string{filepath.Join(dir, f.Name)}) {
		t.Fatalf("written %v %v", paths, err)
	}
	content, err := os.ReadFile(paths[0])
	b.must(err)
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], f.SHA256) {
		t.Error("the file in the outbox is not the one that was sealed")
	}
	o, problems, err := ach.ReadEntries(bytes.NewReader(content))
	if err != nil || len(problems) > 0 || len(o.Debits) != 2 {
		t.Fatalf("%v %v %+v", err, problems, o)
	}
	want := ach.Entry{Trace: 121000350000001, SEC: ach.WEB, Effective: dueDay, Routing: ourBank, Account: numberOf(one), Cents: 57500, IndividualID: mrnOf(1), Name: "ZOE MEMBER"}
	if o.Debits[0] != want {
		t.Errorf("entry %+v, want %+v", o.Debits[0], want)
	}

	withdrawn, posted := b.post(dueDay)
	if withdrawn.Selected != 0 || posted.Done != 2 || posted.Cents != 77500 {
		t.Errorf("posted %+v %+v", withdrawn, posted)
	}
	b.want("one", b.figures(one), "0 0 0 on")
	b.want("two", b.figures(two), "0 0 0 on")
	b.want("other", b.figures(other), "10000 0 10000 off")
	if tally, files := b.build(dueDay); tally.Selected != 0 || len(files) != 0 {
		t.Errorf("the due date built %+v %+v", tally, files)
	}
	b.want("exceptions", b.exceptions(), "")
}

func TestReleaseRefusals(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	b.ranged(ach.Select, buildDay)
	files, err := b.office(buildDay, "Joe").Seal(t.Context())
	b.must(err)
	id := files[0].ID
	for _, c := range []struct {
		operator, says string
		day            calendar.Date
	}{
		{"", "a person must", buildDay},
		{"System", "a person must", buildDay},
		{"joe ", "somebody else", buildDay},
		{"ann", "too late", dueDay},
	} {
		_, err := b.office(c.day, c.operator).Release(t.Context(), id)
		var refused *ach.ReleaseError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q on %s: %v, want %q", c.operator, c.day, err, c.says)
		}
	}
	if _, err := b.office(buildDay, "ann").Release(t.Context(), id+1); !errors.Is(err, ach.ErrNoFile) {
		t.Errorf("unknown file: %v", err)
	}
	b.want("nothing has changed", b.ask(`select state || coalesce(released_by, '') from ach_file`), "sealed")

	b.release(buildDay, files[0])
	if f, err := b.office(dueDay, "Ann").Release(t.Context(), id); err != nil || !f.Already || f.ReleasedOn != buildDay {
		t.Errorf("the same person again: %+v %v", f, err)
	}
	if _, err := b.office(buildDay, "eve").Release(t.Context(), id); err == nil || !strings.Contains(err.Error(), "ann has released it") {
		t.Errorf("another person again: %v", err)
	}
	b.want("acts", b.ask(`select operator || ' ' || verb from act`), "ann ach_release")
	if _, err := b.db.Exec(t.Context(), `update ach_file set released_by = 'Joe'`); err == nil {
		t.Error("the database takes the maker as the releaser")
	}
	list, err := b.office(buildDay, "ann").Files(t.Context())
	if err != nil || len(list) != 1 || list[0].State != ach.FileReleased || list[0].ReleasedBy != "ann" {
		t.Errorf("files: %+v %v", list, err)
	}
}

// Nobody releases the file: the debit is withdrawn on its effective date, built
// again for the next banking day, and received on the due date all the same.
func TestNotReleased(t *testing.T) {
	b := newBiller(t)
	id := b.payer(30000)
	_, files := b.build(buildDay)
	withdrawn, posted := b.post(dueDay)
	if withdrawn.Skipped["not_released"] != 1 || posted.Done != 0 {
		t.Errorf("on the effective date: %+v %+v", withdrawn, posted)
	}
	b.want("due again", b.figures(id), "30000 0 30000 on")
	b.want("exceptions", b.exceptions(), "1:post:not_released:2026-03")
	if again, _ := b.post(dueDay); again.Selected != 0 {
		t.Errorf("withdrawn again: %+v", again)
	}
	if _, err := b.office(buildDay, "ann").Release(t.Context(), files[0].ID); err == nil || !strings.Contains(err.Error(), "withdrawn") {
		t.Errorf("a withdrawn file was released: %v", err)
	}
	b.sent(dueDay, dueDay+1)
	b.want("built again", b.debits(id), "0:2026-03-25:withdrawn 0:2026-03-26:built:missed")
	b.want("paid", b.figures(id), "0 0 0 on")
	b.want("received on the due date", b.ask(`select received_on || '/' || posted_on from receipt where state = 'posted'`), "2026-03-25/2026-03-26")
	b.want("files", b.ask(`select name || ':' || state from ach_file order by id`), "ach-20260324-A.ach:withdrawn ach-20260325-A.ach:released")
}

// A crash between Select and Seal leaves debits in no file: they are sealed
// when the date is run again, or withdrawn once their day has come.
func TestDebitsInNoFile(t *testing.T) {
	b := newBiller(t)
	id := b.payer(30000)
	b.ranged(ach.Select, buildDay)
	files, err := b.office(dueDay, "system").Seal(t.Context())
	if err != nil || len(files) != 0 {
		t.Errorf("sealed on its effective date: %+v %v", files, err)
	}
	if withdrawn, _ := b.post(dueDay); withdrawn.Skipped["not_released"] != 1 {
		t.Errorf("withdrawn %+v", withdrawn)
	}
	b.want("due again", b.figures(id), "30000 0 30000 on")
}

func TestMissedBuildDay(t *testing.T) {
	b := newBiller(t)
	id := b.payer(30000)
	paid := b.payer(10000)
	b.change(paid, func(a *billing.Account) {
		r := a.Receive(buildDay, billing.Receipt{Channel: "online", Cents: 10000, ReceivedOn: buildDay, PostsOn: buildDay})
		a.Post(b.p, r, buildDay)
	})
	friday := calendar.MustParse("2026-03-27")
	tally, files := b.build(friday)
	if tally.Done != 1 || tally.Skipped[billing.NothingDue] != 1 || len(files) != 1 || files[0].EffectiveOn != friday+3 {
		t.Errorf("%+v %+v", tally, files)
	}
	b.want("debit", b.debits(id), "0:2026-03-30:built:missed")
	b.want("no debit later", b.ask(`select account_id from bill where debit_none`), fmt.Sprint(paid))
}

// An enrolment that was told to end on a day is good until then.
func TestEnrolmentEnds(t *testing.T) {
	b := newBiller(t)
	stays, gone := b.payer(100), b.payer(200)
	b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, stays, dueDay+1)
	b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, gone, buildDay)
	tally, files := b.build(buildDay)
	if tally.Done != 1 || len(files) != 1 || files[0].Cents != 100 {
		t.Errorf("%+v %+v", tally, files)
	}
	b.want("standing", b.ask(`select string_agg(id || ' ' || autopay, ' ' order by id) from account where id in ($1, $2)`, stays, gone), fmt.Sprintf("%d on %d off", stays, gone))
	b.release(buildDay, files...)
	b.build(dueDay + 1)
	b.want("the day after", b.ask(`select autopay from account where id = $1`, stays), "off")
	b.want("nothing for a person", b.exceptions(), "")
}

// Every account that gets no debit has its reason.
func TestSelectReasons(t *testing.T) {
	b := newBiller(t)
	b.p.ACH.MaxCentsPerEntry = 100000
	card, none, large := b.account(100), b.account(200), b.payer(100001)
	for _, id := range []int64{card, none} {
		b.change(id, func(a *billing.Account) { a.SetAutopay(b.p, true, cutDay) })
	}
	b.exec(`insert into autopay_method (account_id, method, card_token, authorized_on, authorized_by) values ($1, 'card', 'tok', '2026-02-01', 'web')`, card)
	b.method(none, buildDay+1, "web", "1") // authorized tomorrow
	held := b.payer(300)
	b.change(held, func(a *billing.Account) { a.Place(buildDay, "estate", "ann", "", false) })

	tally, files := b.build(buildDay)
	for reason, n := range map[string]int64{ach.ByCard: 1, ach.NoAuthorization: 1, ach.AboveLimit: 1, "estate": 1} {
		if tally.Skipped[reason] != n {
			t.Errorf("skipped for %s: %+v", reason, tally)
		}
	}
	if tally.Done != 0 || len(files) != 0 {
		t.Errorf("%+v %+v", tally, files)
	}
	want := fmt.Sprintf("%d:autopay:no_authorization:2026-03 %d:autopay:above_limit:2026-03", none, large)
	b.want("exceptions", b.exceptions(), want)
	b.want("untouched", b.ask(`select count(*) from receipt`), "0")
	b.build(buildDay)
	b.build(buildDay + 1)
	b.want("reported once", b.exceptions(), want)
}

// While the gateway owes the answer to a card charge, even one of long ago, no
// bank account is debited: the money may have been taken already.
func TestCardUnanswered(t *testing.T) {
	for _, back := range []int{1, 14} { // months
		b := newBiller(t)
		id := b.account(57500)
		b.exec(`with m as (insert into autopay_method (account_id, method, card_token, authorized_on, authorized_by, ended_on) values ($1, 'card', 'tok', '2024-01-01', 'web', '2026-02-01') returning id),
			f as (insert into outbox_file (folder, name, made_on) values ('card', 'card-1', '2025-01-01') returning id)
			insert into card_charge (account_id, cycle, attempt, cents, due_then, asked_on, received_on, method_id, file_id) select $1, last_cycle - $2, 0, 100, 100, '2026-01-25', '2026-01-25', m.id, f.id from account a, m, f where a.id = $1`, id, back)
		b.enrol(id, calendar.MustParse("2026-02-01"), "web")
		for range 2 {
			if tally, _ := b.build(buildDay); tally.Done != 0 || tally.Skipped[billing.CardUnanswered] != 1 {
				t.Errorf("unanswered: %+v", tally)
			}
			b.want("asks", b.exceptions(), fmt.Sprintf("%d:autopay:card_unanswered:2026-03", id))
		}
		b.exec(`update card_charge set state = 'declined', answered_on = $1`, buildDay)
		if tally, _ := b.build(dueDay); tally.Done != 1 {
			t.Errorf("answered: %+v", tally)
		}
		b.want("late by our fault", b.debits(id), "0:2026-03-26:built:missed")
	}
}

// A stored number that no file can hold keeps back its own debit only, and the
// method is not tried again until a person has seen to it.
func TestUnusableMethod(t *testing.T) {
	b := newBiller(t)
	bad, good, swapped := b.account(100), b.payer(200), b.payer(300)
	b.change(bad, func(a *billing.Account) { a.SetAutopay(b.p, true, cutDay) })
	b.method(bad, cutDay, "phone", "12345678901234567890")
	b.exec(`update autopay_method m set number_sealed = o.number_sealed from autopay_method o where m.account_id = $1 and o.account_id = $2`, swapped, good)

	_, files := b.build(buildDay)
	if len(files) != 1 || files[0].Entries != 1 || files[0].Cents != 200 {
		t.Fatalf("%+v", files)
	}
	b.want("exceptions", b.exceptions(), fmt.Sprintf("%d:autopay:unusable_method:3 %d:autopay:unusable_method:2", bad, swapped))
	if s := b.ask(`select detail from exception`); strings.Contains(s, "12345678901234567890") {
		t.Errorf("an account number is told: %s", s)
	}
	b.want("due again", b.figures(bad), "100 0 100 on")
	if tally, files := b.build(buildDay); tally.Done != 0 || tally.Skipped[ach.UnusableMethod] != 2 || len(files) != 0 {
		t.Errorf("tried again: %+v %+v", tally, files)
	}
	b.exec(`update autopay_method set ended_on = '2026-03-24' where account_id = $1`, bad)
	b.method(bad, cutDay, "phone", "1234")
	if tally, files := b.build(buildDay); tally.Done != 1 || len(files) != 1 {
		t.Errorf("with a new method: %+v %+v", tally, files)
	}
	b.want("a modifier for each file of a day", b.ask(`select name from ach_file order by id`), "ach-20260324-A.ach ach-20260324-B.ach")
	b.want("entry class", b.ask(`select sec from debit where account_id = $1 and state = 'built'`, bad), "TEL")
}

// Whoever clears such a method and has not mended it is asked again, on the very
// day as well: a debit is never withdrawn in silence.
func TestUnusableMethodCleared(t *testing.T) {
	b := newBiller(t)
	bad := b.account(100)
	b.change(bad, func(a *billing.Account) { a.SetAutopay(b.p, true, cutDay) })
	b.method(bad, cutDay, "phone", "12345678901234567890")
	for range 2 {
		b.build(buildDay)
		b.want("waits", b.ask(`select code || ' ' || subject from exception where cleared_on is null`), "unusable_method 1")
		_, err := b.office(buildDay, "ann").Clear(t.Context(), ach.UnusableMethod, "1", "the number is right")
		b.must(err)
	}
	b.want("withdrawn", b.ask(`select state from debit`), "withdrawn withdrawn")
}

// With other keys no number opens: that stops the job, and blames no member.
func TestWrongKeys(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	b.ranged(ach.Select, buildDay)
	o := b.office(buildDay, "system")
	var err error
	o.Keys, err = secret.New()
	b.must(err)
	if files, err := o.Seal(t.Context()); err == nil || len(files) != 0 {
		t.Errorf("sealed with other keys: %+v %v", files, err)
	}
	b.want("debit", b.ask(`select state from debit`), "built")
	b.want("exceptions", b.exceptions(), "")
}

// Two programs do the same night at once: one debit, one file, one copy.
func TestAtOnce(t *testing.T) {
	b := newBiller(t)
	for range 5 {
		b.payer(100)
	}
	twice := func(do func() error) {
		t.Helper()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := do(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	twice(func() error {
		return pgx.BeginFunc(t.Context(), b.db, func(tx pgx.Tx) error {
			_, err := ach.Select(t.Context(), tx, b.p, buildDay, billing.Range{From: 1, To: 100})
			return err
		})
	})
	b.want("debits", b.ask(`select count(distinct trace) || '/' || count(*) from debit`), "5/5")
	twice(func() error { _, err := b.office(buildDay, "system").Seal(t.Context()); return err })
	b.want("files", b.ask(`select entries from ach_file`), "5")
	files, err := b.office(buildDay, "ann").Files(t.Context())
	b.must(err)
	twice(func() error { _, err := b.office(buildDay, "ann").Release(t.Context(), files[0].ID); return err })
	b.want("released once", b.ask(`select count(*) from act`), "1")
	dir := t.TempDir()
	twice(func() error { _, _, err := b.office(buildDay, "ann").WriteOut(t.Context(), dir); return err })
	if got, err := os.ReadDir(dir); err != nil || len(got) != 1 || got[0].Name() != files[0].Name {
		t.Errorf("the outbox holds %v %v", got, err)
	}
}

// A file is split where the bank's limits ask for it.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		entries int
		cents   int64
		want    string
	}{
		{0, 0, "10:5500"},
		{10, 0, "10:5500"},
		{4, 0, "4:1000 4:2600 2:1900"},
		{0, 1000, "4:1000 1:500 1:600 1:700 1:800 1:900 1:1000"},
		{3, 1500, "3:600 3:1500 2:1500 1:900 1:1000"},
		{0, 999, "3:600 2:900 1:600 1:700 1:800 1:900"}, // and one that is above the limit by itself is not built
	} {
		b := newBiller(t)
		b.p.ACH.MaxEntriesPerFile, b.p.ACH.MaxCentsPerFile = c.entries, c.cents
		for n := range 10 {
			b.payer(ledger.Cents(100 * (n + 1)))
		}
		for from := int64(1); from < 12; from += 4 { // over several ranges
			b.must(pgx.BeginFunc(t.Context(), b.db, func(tx pgx.Tx) error {
				_, err := ach.Select(t.Context(), tx, b.p, buildDay, billing.Range{From: from, To: from + 4})
				return err
			}))
		}
		files, err := b.office(buildDay, "system").Seal(t.Context())
		b.must(err)
		var got []string
		for _, f := range files {
			got = append(got, fmt.Sprintf("%d:%d", f.Entries, int64(f.Cents)))
		}
		if c.cents == 999 {
			b.want("above the limit", b.exceptions(), "10:autopay:above_limit:2026-03")
		}
		b.want(fmt.Sprintf("%d entries, %d cents", c.entries, c.cents), strings.Join(got, " "), c.want)
	}
}

// The same rows give the same bytes, in files as large as the bank takes.
func TestSealIsAFunctionOfTheRows(t *testing.T) {
	var hashes [2]string
	for n := range hashes {
		b := newBiller(t)
		b.p.ACH.MaxEntriesPerFile = 2
		b.p.ACH.Balanced, b.p.Company.OffsetAccount = true, "5550001"
		for range 3 {
			b.payer(100)
		}
		_, files := b.build(buildDay)
		if len(files) != 2 || files[0].Entries != 2 || files[1].Entries != 1 || files[1].Cents != 100 {
			t.Fatalf("%+v", files)
		}
		for _, f := range files {
			hashes[n] += f.SHA256.String()
		}
		b.want("the credits' traces are taken too", b.ask(`select next from ach_trace`), "6")
	}
	if hashes[0] != hashes[1] {
		t.Error("the same rows gave other bytes")
	}
}

// After 9,999,999 traces begin again, past those that are still in use.
func TestTracesWrap(t *testing.T) {
	b := newBiller(t)
	first, second := b.payer(100), b.payer(100)
	third := b.payer(100)
	b.build(buildDay)
	b.exec(`update debit set trace = 121000350000002, effective_on = '2025-12-01' where account_id = $1`, first)
	b.exec(`update debit set trace = 121000350000003, effective_on = '2025-01-01' where account_id = $1`, second)
	b.exec(`delete from debit where account_id = $1`, third)
	b.exec(`update receipt set state = 'void' where account_id = $1`, third)
	b.exec(`update account set pending = 0 where id = $1`, third)
	b.exec(`update ach_trace set next = 9999999`)
	four, five, six := b.payer(100), b.payer(100), b.payer(100)
	b.build(buildDay)
	b.want("traces", b.ask(`select trace from debit where account_id in ($1, $2, $3, $4) order by account_id`, third, four, five, six),
		"121000359999999 121000350000001 121000350000003 121000350000004")
}
