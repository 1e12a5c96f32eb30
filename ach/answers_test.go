package ach_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// bank is the bank's side: it has the entries of every file that was sealed.
type bank struct {
	*biller
	files int
}

// entry returns the newest entry that the bank has of an account.
func (k *bank) entry(id int64) ach.Entry {
	k.Helper()
	var file int64
	var trace int64
	k.must(k.db.QueryRow(k.Context(), `select f.id, d.trace from ach_file f join debit d on d.file_id = f.id where d.account_id = $1 order by d.receipt desc limit 1`, id).Scan(&file, &trace))
	content := k.bytes(file)
	o, problems, err := ach.ReadEntries(bytes.NewReader(content))
	k.must(err)
	if len(problems) > 0 {
		k.Fatal(problems)
	}
	for _, e := range o.Debits {
		if e.Trace == ach.Trace(trace) {
			return e
		}
	}
	k.Fatalf("no entry of account %d", id)
	return ach.Entry{}
}

// bytes are those of a sealed file.
func (b *biller) bytes(file int64) []byte {
	b.Helper()
	files, err := b.office(buildDay, "").Files(b.Context())
	b.must(err)
	n := slices.IndexFunc(files, func(f ach.FileInfo) bool { return f.ID == file })
	if n < 0 {
		b.Fatalf("file %d is not sealed", file)
	}
	var content bytes.Buffer
	b.must(ach.Unseal(b.Context(), b.db, b.keys, files[n], &content))
	return content.Bytes()
}

// file writes what the bank answers.
func (k *bank) file(day calendar.Date, returns []ach.ReturnOut, corrections []ach.CorrectionOut) []byte {
	k.Helper()
	k.files++
	var b bytes.Buffer
	k.must(ach.WriteReturns(&b, ach.AnswerFile{Sender: ourBank, SenderName: "THE BANK", Receiver: ourBank, ReceiverName: "BILLER", Company: ach.CompanyOf(k.p),
		Created: ach.Stamp{Date: day, Hour: 6, Minute: k.files}, IDModifier: 'A', Settled: day, Returns: returns, Corrections: corrections}))
	return b.Bytes()
}

func (k *bank) ingest(day calendar.Date, content []byte) ach.Ingested {
	k.Helper()
	in, err := k.office(day, "system").Ingest(k.Context(), "answers.ach", bytes.NewReader(content))
	k.must(err)
	return in
}

// returns sends back the newest debit of an account.
func (k *bank) returns(day calendar.Date, id int64, code string) ach.Ingested {
	k.Helper()
	in := k.ingest(day, k.file(day, []ach.ReturnOut{{Original: k.entry(id), Code: code}}, nil))
	if in.Returns != 1 || in.Applied != 1 || in.Unmatched+in.Review+in.Repeated+len(in.Problems) != 0 {
		k.Errorf("%s on %s: %+v", code, day, in)
	}
	return in
}

func newBank(t *testing.T) *bank { return &bank{biller: newBiller(t)} }

// R01: tried again three and seven banking days after the returns, with one
// fee; then autopay is suspended.
func TestReturnedThreeTimes(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	friday := calendar.MustParse("2026-03-27")
	k.returns(friday, id, "R01")
	k.want("open again, with a fee", k.figures(id), "60000 0 57500 on")

	first := calendar.MustParse("2026-04-01") // three banking days later
	if tally, _ := k.build(first - 2); tally.Done != 0 {
		t.Errorf("the retry was built too early: %+v", tally)
	}
	files := k.sent(first-1, first)
	if e := k.entry(id); len(files) != 1 || !e.Retry || e.Cents != 57500 || e.Effective != first {
		t.Errorf("the first retry: %+v %+v", files, e)
	}
	k.want("paid", k.figures(id), "2500 0 0 on")
	k.returns(first+1, id, "R09")
	second := calendar.AddBankingDays(first+1, 7)
	k.sent(calendar.AddBankingDays(second, -1), second)
	k.returns(second+1, id, "R01")
	k.want("suspended, one fee", k.figures(id), "60000 0 57500 suspended")
	k.want("debits", k.debits(id), fmt.Sprintf("0:2026-03-25:returned 1:2026-04-01:returned 2:%s:returned", second))
	if tally, files := k.build(second + 30); tally.Done != 0 || len(files) != 0 {
		t.Errorf("tried a fourth time: %+v", tally)
	}
}

// A retry that nobody released is built again, as a retry.
func TestRetryNotReleased(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	k.returns(dueDay+2, id, "R01")
	first := calendar.MustParse("2026-04-01")
	k.build(first - 1)
	k.post(first)
	k.want("due again", k.figures(id), "60000 0 57500 on")
	k.sent(first, first+1)
	k.want("debits", k.debits(id), "0:2026-03-25:returned 1:2026-04-01:withdrawn 1:2026-04-02:built")
	k.want("paid", k.figures(id), "2500 0 0 on")
}

// A retry on whose build day the account pays by card is dropped: it does not
// wait for a bank account that is enrolled later.
func TestRetryOfACardPayer(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	k.returns(dueDay+2, id, "R01")
	k.exec(`update autopay_method set ended_on = $1`, dueDay+3)
	k.exec(`insert into autopay_method (account_id, method, card_token, authorized_on, authorized_by) values ($1, 'card', 'tok', $2, 'web')`, id, dueDay+3)
	first := calendar.MustParse("2026-04-01")
	k.build(first - 2)
	k.want("before its build day", k.ask(`select retry_on from debit`), first.String())
	if tally, _ := k.build(first - 1); tally.Skipped[ach.ByCard] != 1 || tally.Done != 0 {
		t.Errorf("%+v", tally)
	}
	k.want("dropped", k.ask(`select retry_on from debit`), "")

	k.exec(`update autopay_method set ended_on = $1 where method = 'card'`, first)
	k.method(id, first, "web", "5555")
	if tally, _ := k.build(first + 60); tally.Done != 0 {
		t.Errorf("built from another bank account: %+v", tally)
	}
}

// A retry that was planned in time, and would take effect too late by the day
// on which it is built, is dropped.
func TestRetryBuiltTooLate(t *testing.T) {
	for _, c := range []struct {
		built calendar.Date
		done  int64
	}{{calendar.MustParse("2026-04-13"), 1}, {calendar.MustParse("2026-04-14"), 0}} {
		k := newBank(t)
		k.p.ACH.RetryWithinDays = 20 // until Tuesday, 14 April
		id := k.payer(57500)
		k.sent(buildDay, dueDay)
		k.returns(dueDay+2, id, "R01")
		first := calendar.MustParse("2026-04-01")
		k.sent(first-1, first)
		k.returns(first+1, id, "R01")
		k.want("planned", k.ask(`select retry_on from debit where retry_on is not null`), "2026-04-13")
		k.change(id, func(a *billing.Account) { a.Cut(k.p, calendar.MustParse("2026-04-02")) }) // a newer bill

		tally, _ := k.build(c.built)
		if tally.Done != c.done || c.done == 0 && tally.Skipped[billing.RetryDropped] != 1 {
			t.Errorf("built on %s: %+v", c.built, tally)
		}
		k.want("not planned any more", k.ask(`select retry_on from debit`), "")
	}
}

func TestReturnCodes(t *testing.T) {
	for _, c := range []struct{ code, figures, exceptions string }{
		{"R02", "57500 0 57500 off", ""},
		{"R10", "57500 0 57500 ended", "1:ach:authorization_R10:2026-03"},
		{"R16", "57500 0 57500 off", "1:ach:returned_R16:2026-03"},
		{"R97", "57500 0 57500 off", "1:ach:returned_R97:2026-03"}, // in no table
	} {
		k := newBank(t)
		id := k.payer(57500)
		k.sent(buildDay, dueDay)
		in := k.returns(dueDay+2, id, c.code)
		k.want(c.code, k.figures(id), c.figures)
		k.want(c.code, k.exceptions(), c.exceptions)
		k.want(c.code, k.ask(`select outcome || account_id from ach_answer`), "applied1")
		if in.Waiting > 0 != (c.exceptions != "") {
			t.Errorf("%s leaves something for a person: %+v", c.code, in)
		}
		if tally, _ := k.build(dueDay + 5); tally.Done != 0 {
			t.Errorf("%s was tried again: %+v", c.code, tally)
		}
	}
}

// What does not agree with a debit in every key changes no account.
func TestUnmatchedReturns(t *testing.T) {
	k := newBank(t)
	id, other := k.payer(57500), k.payer(57500)
	k.sent(buildDay, dueDay)
	e := k.entry(id)
	wrong := func(do func(e *ach.Entry)) ach.ReturnOut {
		e := e
		do(&e)
		return ach.ReturnOut{Original: e, Code: "R01"}
	}
	in := k.ingest(dueDay+1, k.file(dueDay+1, []ach.ReturnOut{
		wrong(func(e *ach.Entry) { e.Trace += 100 }),
		wrong(func(e *ach.Entry) { e.Cents-- }),
		wrong(func(e *ach.Entry) { e.IndividualID = mrnOf(other) }),
		wrong(func(e *ach.Entry) { e.IndividualID = "" }),
	}, nil))
	if in.Returns != 4 || in.Unmatched != 4 || in.Applied != 0 {
		t.Errorf("%+v", in)
	}
	k.want("one", k.figures(id), "0 0 0 on")
	k.want("other", k.figures(other), "0 0 0 on")
	k.want("before a person, by trace", k.exceptions(), fmt.Sprintf("0:ach:unmatched_return:%s R01 0:ach:unmatched_return:%s R01", e.Trace, e.Trace+100))
	k.want("answers", k.ask(`select distinct outcome || coalesce(account_id, 0) from ach_answer`), "unmatched0")

	// Half a year later the trace may be another debit's.
	k.exec(`update debit set effective_on = effective_on - 180`)
	if in := k.ingest(dueDay+1, k.file(dueDay+1, []ach.ReturnOut{{Original: e, Code: "R01"}}, nil)); in.Unmatched != 1 {
		t.Errorf("an old debit was matched: %+v", in)
	}
}

// The same return twice, in whatever file, undoes a payment once.
func TestReturnedTwice(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	r := ach.ReturnOut{Original: k.entry(id), Code: "R01"}
	file := k.file(dueDay+1, []ach.ReturnOut{r, r}, nil)
	if in := k.ingest(dueDay+1, file); in.Duplicate || in.Returns != 2 || in.Applied != 1 || in.Repeated != 1 {
		t.Errorf("twice in a file: %+v", in)
	}
	before := k.ask(`select count(*) from journal`)
	if in := k.ingest(dueDay+2, file); !in.Duplicate || in.Returns != 0 || in.Problems == nil {
		t.Errorf("the file again: %+v", in)
	}
	if in := k.ingest(dueDay+2, k.file(dueDay+2, []ach.ReturnOut{r}, nil)); in.Duplicate || in.Repeated != 1 || in.Applied != 0 {
		t.Errorf("in another file: %+v", in)
	}
	k.want("journal", k.ask(`select count(*) from journal`), before)
	k.want("figures", k.figures(id), "60000 0 57500 on")
	k.want("outcomes", k.ask(`select outcome from ach_answer order by on_date, ordinal`), "applied duplicate duplicate")
}

func TestReturnsForAPerson(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.build(buildDay)
	e := k.entry(id)
	if in := k.ingest(buildDay, k.file(buildDay, []ach.ReturnOut{{Original: e, Code: "R01"}}, nil)); in.Review != 1 || in.Applied != 0 {
		t.Errorf("of a file that never left: %+v", in)
	}
	k.want("still pending", k.figures(id), "57500 57500 0 on")
	k.exec(`update ach_file set state = 'released', released_by = 'ann', released_on = built_on`)
	k.post(dueDay)
	if in := k.ingest(dueDay, k.file(dueDay, []ach.ReturnOut{{Original: e, Code: "R68"}}, nil)); in.Returns != 0 || in.Review != 1 {
		t.Errorf("dishonored: %+v", in)
	}
	k.want("still paid", k.figures(id), "0 0 0 on")
	k.want("exceptions", k.exceptions(), fmt.Sprintf("%d:ach:return_unreleased:%s %d:ach:dishonored:%s R68", id, e.Trace, id, e.Trace))
}

// A return before the posting day: the payment never posts.
func TestReturnedWhilePending(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	_, files := k.build(buildDay)
	k.release(buildDay, files...)
	k.returns(buildDay, id, "R03")
	if withdrawn, posted := k.post(dueDay); withdrawn.Selected != 0 || posted.Done != 0 {
		t.Errorf("%+v %+v", withdrawn, posted)
	}
	k.want("figures", k.figures(id), "57500 0 57500 off")
}

func TestRefusedAnswers(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	files := k.sent(buildDay, dueDay)
	good := string(k.file(dueDay+1, []ach.ReturnOut{{Original: k.entry(id), Code: "R01"}}, nil))
	for name, content := range map[string]string{
		"empty": "", "no file": "hello\n", "cut short": good[:4*95], "a changed amount": strings.Replace(good, "0000057500", "0000057501", 1), "our own": string(k.bytes(files[0].ID)),
	} {
		in, err := k.office(dueDay+1, "system").Ingest(t.Context(), name, strings.NewReader(content))
		if !errors.Is(err, ach.ErrRefused) || len(in.Problems) == 0 || in.Returns != 0 {
			t.Errorf("%s: %+v %v", name, in, err)
		}
	}
	k.want("nothing changed", k.figures(id), "0 0 0 on")
	k.want("nothing kept", k.ask(`select count(*) from feed_file union all select count(*) from ach_answer`), "0 0")
	if in := k.ingest(dueDay+1, []byte(good)); in.Applied != 1 {
		t.Errorf("the whole file after that: %+v", in)
	}
}

// corrected sends a notification of change about an account's newest debit.
func (k *bank) corrected(day calendar.Date, id int64, code, data string) ach.Ingested {
	k.Helper()
	return k.ingest(day, k.file(day, nil, []ach.CorrectionOut{{Original: k.entry(id), Correction: ach.Correction{Code: code}, Data: data}}))
}

// method shows the bank accounts of an account, the newest last.
func (k *bank) methods(id int64) string {
	k.Helper()
	rows, err := k.db.Query(k.Context(), `select routing, account_type, number_sealed, number_last4, number_hash, coalesce(ended_on::text, ''), corrected_by, authorized_on || authorized_by from autopay_method where account_id = $1 order by id`, id)
	k.must(err)
	defer rows.Close()
	var list []string
	for rows.Next() {
		var routing, kind, last4, ended, by, authorized string
		var sealed, hash []byte
		k.must(rows.Scan(&routing, &kind, &sealed, &last4, &hash, &ended, &by, &authorized))
		number, err := k.keys.Open(sealed, fmt.Sprintf("autopay_method/%d", id))
		k.must(err)
		if authorized != "2026-02-01web" {
			k.Errorf("the authorization is now %s", authorized)
		}
		if by != "" && (!bytes.Equal(hash, k.keys.Fingerprint(routing, string(number))) || !strings.HasSuffix(string(number), last4)) {
			k.Errorf("hash or last digits are not those of the corrected number")
		}
		list = append(list, fmt.Sprintf("%s %s %s [%s %s]", routing, kind, number, ended, by))
	}
	return strings.Join(list, ", ")
}

// A correction moves no money; the next entry, here the retry, uses it.
func TestCorrections(t *testing.T) {
	for _, c := range []struct{ code, data, after string }{
		{"C01", "123456", "121000358 checking 123456"},
		{"C02", "021000021", "021000021 checking 900000001"},
		{"C03", "021000021   777-8", "021000021 checking 777-8"},
		{"C05", "37", "121000358 savings 900000001"},
		{"C06", "4444444             37", "121000358 savings 4444444"},
		{"C07", "02100002112345678901234567" + "37", "021000021 savings 12345678901234567"},
	} {
		k := newBank(t)
		id := k.payer(57500)
		k.sent(buildDay, dueDay)
		trace := k.entry(id).Trace
		if in := k.corrected(dueDay+1, id, c.code, c.data); in.Corrections != 1 || in.Applied != 1 || in.Returns+in.Unmatched+in.Review != 0 {
			t.Errorf("%s: %+v", c.code, in)
		}
		want := fmt.Sprintf("121000358 checking 900000001 [2026-03-26 ], %s [ %s %s]", c.after, c.code, trace)
		k.want(c.code, k.methods(id), want)
		k.want(c.code+" moves no money", k.figures(id), "0 0 0 on")
		if in := k.corrected(dueDay+1, id, c.code, c.data); in.Repeated != 1 || in.Applied != 0 {
			t.Errorf("%s again: %+v", c.code, in)
		}
		k.want(c.code+" again", k.methods(id), want)
		k.want(c.code, k.exceptions(), "")

		k.returns(dueDay+2, id, "R01")
		k.sent(calendar.MustParse("2026-03-31"), calendar.MustParse("2026-04-01"))
		e := k.entry(id)
		kind := "checking"
		if e.Savings {
			kind = "savings"
		}
		k.want(c.code+" next entry", e.Routing+" "+kind+" "+e.Account, c.after)
	}
}

// What is not clear, or about a bank account that is no longer the one, is left
// to a person.
func TestCorrectionsForAPerson(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	e := k.entry(id)
	before := k.methods(id)
	for _, c := range []struct{ code, data string }{
		{"C02", "021000020"}, // check digit
		{"C04", "ZOE OTHER"},
		{"C09", "1"},
		{"C05", "52"}, // a loan
	} {
		if in := k.corrected(dueDay+1, id, c.code, c.data); in.Review != 1 || in.Applied != 0 {
			t.Errorf("%s: %+v", c.code, in)
		}
	}
	k.want("methods", k.methods(id), before)
	k.want("exceptions", k.exceptions(), strings.ReplaceAll("1:ach:correction_C02:T 1:ach:correction_C04:T 1:ach:correction_C05:T 1:ach:correction_C09:T", "T", e.Trace.String()))

	e.IndividualID = "1"
	if in := k.ingest(dueDay+1, k.file(dueDay+1, nil, []ach.CorrectionOut{{Original: e, Correction: ach.Correction{Code: "C01"}, Data: "1"}})); in.Unmatched != 1 || in.Corrections != 1 {
		t.Errorf("another member's: %+v", in)
	}
	k.exec(`update autopay_method set ended_on = '2026-03-20'`)
	k.method(id, calendar.MustParse("2026-02-01"), "web", "5555")
	if in := k.corrected(dueDay+2, id, "C01", "123456"); in.Review != 1 {
		t.Errorf("of an older bank account: %+v", in)
	}
	if !strings.HasSuffix(k.methods(id), "5555 [ ]") {
		t.Errorf("the newer bank account was corrected: %s", k.methods(id))
	}
}

// A correction of a debit that never left the house changes no bank account.
func TestCorrectionsOfUnreleased(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.build(buildDay)
	e, before := k.entry(id), k.methods(id)
	correct := func(day calendar.Date) ach.Ingested {
		return k.ingest(day, k.file(day, nil, []ach.CorrectionOut{{Original: e, Correction: ach.Correction{Code: "C01"}, Data: "123456"}}))
	}
	if in := correct(buildDay); in.Review != 1 || in.Applied != 0 {
		t.Errorf("of a file that nobody released: %+v", in)
	}
	k.post(dueDay) // withdraws it
	if in := correct(dueDay); in.Review != 1 || in.Applied != 0 {
		t.Errorf("of a debit that was withdrawn: %+v", in)
	}
	k.want("methods", k.methods(id), before)
	k.want("asks", k.ask(`select distinct code || ':' || subject from exception where job = 'ach'`), "correction_unreleased:"+e.Trace.String())
}

// Two corrections of one debit in one file both count, in their order.
func TestTwoCorrections(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	e := k.entry(id)
	in := k.ingest(dueDay+1, k.file(dueDay+1, nil, []ach.CorrectionOut{
		{Original: e, Correction: ach.Correction{Code: "C01", Account: "123456"}},
		{Original: e, Correction: ach.Correction{Code: "C02", Routing: "021000021"}},
	}))
	if in.Applied != 2 {
		t.Errorf("%+v", in)
	}
	if !strings.HasSuffix(k.methods(id), fmt.Sprintf("021000021 checking 123456 [ C02 %s]", e.Trace)) {
		t.Error(k.methods(id))
	}
	k.want("entries still reconcile", k.ask(`select count(*) from debit where state = 'built'`), "1")
	k.change(id, func(a *billing.Account) {
		if a.Autopay != billing.AutopayOn {
			t.Error("a correction turned autopay off")
		}
	})
}

// Two programs find the same file in the inbox: one takes it in.
func TestIngestAtOnce(t *testing.T) {
	k := newBank(t)
	id := k.payer(57500)
	k.sent(buildDay, dueDay)
	file := k.file(dueDay+1, []ach.ReturnOut{{Original: k.entry(id), Code: "R01"}}, nil)
	var applied, duplicates atomic.Int32
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			in, err := k.office(dueDay+1, "system").Ingest(t.Context(), "answers.ach", bytes.NewReader(file))
			if err != nil {
				t.Error(err)
			}
			applied.Add(int32(in.Applied))
			if in.Duplicate {
				duplicates.Add(1)
			}
		})
	}
	wg.Wait()
	if applied.Load() != 1 || duplicates.Load() != 2 {
		t.Errorf("applied %d times, %d duplicates", applied.Load(), duplicates.Load())
	}
	k.want("returned once", k.figures(id), "60000 0 57500 on")
}

// A file may bring more returns than accounts are in memory at once: each takes its
// payment back, and what it says twice counts once, however far apart.
func TestMoreReturnsThanAreInMemoryAtOnce(t *testing.T) {
	k := newBank(t)
	const payers = billing.AtOnce + 3
	for range payers {
		k.payer(57500)
	}
	files := k.sent(buildDay, dueDay)
	read, _, err := ach.ReadEntries(bytes.NewReader(k.bytes(files[0].ID)))
	k.must(err)
	var returns []ach.ReturnOut
	for _, e := range read.Debits {
		returns = append(returns, ach.ReturnOut{Original: e, Code: "R01"})
	}
	if len(returns) != payers {
		t.Fatalf("%d entries, want %d", len(returns), payers)
	}
	in := k.ingest(dueDay+2, k.file(dueDay+2, append(returns, returns[0]), nil))
	if in.Returns != payers+1 || in.Applied != payers || in.Repeated != 1 || in.Unmatched+in.Review+len(in.Problems) != 0 {
		t.Errorf("%+v", in)
	}
	k.want("open again, each with one fee", k.ask(`select count(*) || ' ' || min(n) || ' ' || max(n) from (select sum(cents - paid) n from item group by account_id) a`), fmt.Sprintf("%d 60000 60000", payers))
}

// What has no end is not read to its end.
func TestAnswersWithoutEnd(t *testing.T) {
	ach.AnswersOf(t, 1<<10)
	k := newBank(t)
	in, err := k.office(dueDay, "system").Ingest(t.Context(), "zeros", io.LimitReader(endless{}, 1<<24))
	if !errors.Is(err, ach.ErrRefused) || len(in.Problems) != 1 || !strings.Contains(in.Problems[0].Problem, "more than 1024 bytes") {
		t.Errorf("%+v %v", in, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
