package ach_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// refused says why a file was not released.
func (b *biller) refused(o ach.Office, file int64, says string) {
	b.Helper()
	_, err := o.Release(b.Context(), file)
	var refused *ach.ReleaseError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), says) {
		b.Errorf("%s releases: %v, want %q", o.Operator, err, says)
	}
}

// operator lists an operator and returns the token.
func (b *biller) operator(by, token, verb, name string) (string, error) {
	b.Helper()
	var made string
	err := pgx.BeginFunc(b.Context(), b.db, func(tx pgx.Tx) (err error) {
		if err := billing.Identify(b.Context(), tx, by, token); err != nil {
			return err
		}
		made, err = billing.Act{Day: buildDay, Operator: by}.SetOperator(b.Context(), tx, verb, name)
		return err
	})
	return made, err
}

// Once operators are listed, only they release, and each only as themself.
func TestOperators(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	_, files := b.build(buildDay)
	id := files[0].ID
	as := func(name, token string) ach.Office {
		o := b.office(buildDay, name)
		o.Token = token
		return o
	}
	ann, err := b.operator("root", "", "add", "Ann")
	b.must(err)
	bob, err := b.operator("Ann", ann, "add", "Bob")
	b.must(err)
	if ann == bob || len(ann) < 20 {
		t.Errorf("tokens %q and %q", ann, bob)
	}
	b.want("nothing of a token is kept", b.ask(`select count(*) from operator o, act a where o::text like '%' || $1 || '%' or a::text like '%' || $1 || '%'`, bob), "0")
	for _, c := range []struct{ by, token, verb, name, says string }{
		{"root", "", "add", "Eve", "is not listed"},
		{"Ann", bob, "add", "Eve", "the token is not"},
		{"Ann", ann, "add", "bob ", "listed already"},
		{"Ann", ann, "add", "System", "no name for a person"},
		{"Ann", ann, "enable", "Eve", "not listed"},
		{"Ann", ann, "renew", "ann", "another operator must"},
	} {
		if _, err := b.operator(c.by, c.token, c.verb, c.name); !errors.Is(err, billing.ErrOperator) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s by %s: %v, want %q", c.verb, c.by, err, c.says)
		}
	}
	b.refused(as("eve", ""), id, "not listed")
	b.refused(as("bob", ann), id, "the token is not")
	_, err = b.operator("Ann", ann, "disable", "bob")
	b.must(err)
	b.refused(as("bob", bob), id, "disabled")
	if _, err := b.operator("Bob", bob, "enable", "Bob"); !errors.Is(err, billing.ErrOperator) {
		t.Errorf("bob enables himself: %v", err)
	}
	if _, err := b.db.Exec(t.Context(), `update ach_file set state = 'released', released_by = 'bob', released_on = built_on, released_sha256 = sha256`); err == nil {
		t.Error("the database takes a disabled operator")
	}
	_, err = b.operator("Ann", ann, "enable", "bob")
	b.must(err)
	if f, err := as("bob", bob).Release(t.Context(), id); err != nil || f.State != ach.FileReleased {
		t.Errorf("%+v %v", f, err)
	}
}

// The database itself holds what a release is: a second person's, of these
// bytes, and for good.
func TestReleaseIsBoundInTheDatabase(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	_, files := b.build(buildDay)
	release := `update ach_file set state = 'released', released_on = built_on, released_by = 'ann', released_sha256 = sha256`
	for name, sql := range map[string]string{
		"the maker":      `update ach_file set state = 'released', released_on = built_on, released_by = ' System ', released_sha256 = sha256`,
		"nobody":         `update ach_file set state = 'released', released_on = built_on, released_by = ' ', released_sha256 = sha256`,
		"an editor":      `update ach_file set hands = '{ann}', state = 'released', released_on = built_on, released_by = 'Ann', released_sha256 = sha256`,
		"other bytes":    `update ach_file set state = 'released', released_on = built_on, released_by = 'ann', released_sha256 = '\x00'`,
		"changed bytes":  `update ach_file set sha256 = '\x00', state = 'released', released_on = built_on, released_by = 'ann', released_sha256 = '\x00'`,
		"too late":       strings.Replace(release, "released_on = built_on", "released_on = effective_on", 1),
		"a held file":    `update ach_file set held_by = 'pat', state = 'released', released_on = built_on, released_by = 'ann', released_sha256 = sha256`,
		"while stopped":  `insert into ach_stop values (true, 'pat', '2026-03-24', ''); ` + release,
		"an opened file": `update ach_file set state = 'open'; ` + release,
	} {
		if _, err := b.db.Exec(t.Context(), sql); err == nil {
			t.Errorf("released: %s", name)
		}
	}
	b.release(buildDay, files...)
	for _, sql := range []string{`sha256 = '\x00', released_sha256 = '\x00'`, `state = 'sealed', released_by = null`, `released_by = 'eve'`, `cents = cents + 1`, `effective_on = effective_on + 1`} {
		if _, err := b.db.Exec(t.Context(), `update ach_file set `+sql); err == nil {
			t.Errorf("a released file was changed: %s", sql)
		}
	}
}

// A held file waits; who lifts the hold does not release it.
func TestHold(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	_, files := b.build(buildDay)
	id := files[0].ID
	pat, ann := b.office(buildDay, "Pat"), b.office(buildDay, "ann")
	if _, err := pat.Lift(t.Context(), id, "why"); !errors.Is(err, ach.ErrHold) {
		t.Errorf("lifted what nobody holds: %v", err)
	}
	f, err := pat.Hold(t.Context(), id, "amounts look wrong")
	b.must(err)
	if f.HeldBy != "Pat" || f.State != ach.FileSealed {
		t.Errorf("%+v", f)
	}
	b.refused(ann, id, "Pat holds it: amounts look wrong")
	_, err = pat.Lift(t.Context(), id, "they are right")
	b.must(err)
	b.refused(b.office(buildDay, "pat "), id, "lifted its hold")

	b.must(pat.StopAll(t.Context(), "the bank called"))
	b.refused(ann, id, "Pat has stopped all releases")
	b.must(b.office(buildDay, "joe").LiftStop(t.Context(), "it was nothing"))
	b.refused(b.office(buildDay, "Joe"), id, "lifted its hold")
	if err := pat.LiftStop(t.Context(), "again"); !errors.Is(err, ach.ErrHold) {
		t.Errorf("lifted what nobody stopped: %v", err)
	}
	b.release(buildDay, files...)
	b.want("acts", b.ask(`select verb from act order by id`), "ach_hold ach_lift ach_stop ach_lift_stop ach_release")
	if _, err := pat.Hold(t.Context(), id, "too late"); !errors.Is(err, ach.ErrHold) {
		t.Errorf("held a released file: %v", err)
	}
}

// An entry is pulled before the file leaves: the others go out, what it was for
// is due again, and nobody debits it a second time or charges a fee for it.
func TestPull(t *testing.T) {
	b := newBiller(t)
	b.p.ACH.Balanced, b.p.Company.OffsetAccount = true, "5550001"
	one, two := b.payer(57500), b.payer(20000)
	_, files := b.build(buildDay)
	id, trace := files[0].ID, ach.Trace(121000350000001)
	pat := b.office(buildDay, "pat")
	if _, err := pat.Pull(t.Context(), id, trace+8, "why"); !errors.Is(err, ach.ErrHold) {
		t.Errorf("pulled what is not there: %v", err)
	}
	f, err := pat.Pull(t.Context(), id, trace, "the account is closed")
	b.must(err)
	if f.Entries != 1 || f.Cents != 20000 || f.Name != files[0].Name || f.SHA256.String() == files[0].SHA256.String() || f.State != ach.FileSealed {
		t.Errorf("%+v", f)
	}
	o, problems, err := ach.ReadEntries(strings.NewReader(string(b.bytes(id))))
	if err != nil || len(problems) > 0 || len(o.Debits) != 1 || o.Debits[0].IndividualID != mrnOf(2) || len(o.Own) != 1 || o.Own[0].Cents != 20000 {
		t.Errorf("%+v %v %v", o, problems, err)
	}
	b.want("due again", b.figures(one), "57500 0 57500 on")
	b.refused(pat, id, "edited it")
	b.release(buildDay, f)
	b.post(dueDay)
	b.want("the other is paid", b.figures(two), "0 0 0 on")
	for day := buildDay; day < dueDay+6; day++ {
		b.build(day)
	}
	b.want("never built again", b.debits(one), "0:2026-03-25:withdrawn")
	b.ranged(billingLateFees, calendar.MustParse("2026-04-01"))
	b.want("no late fee", b.figures(one), "57500 0 57500 on")
	b.want("invariants", b.broken(), "")
}

func billingLateFees(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range) (billing.Tally, error) {
	return billing.AssessLateFees(ctx, tx, p, day, 0, in)
}

// The last entry that is pulled takes the file with it.
func TestPullTheLast(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	_, files := b.build(buildDay)
	f, err := b.office(buildDay, "pat").Pull(t.Context(), files[0].ID, 121000350000001, "why")
	b.must(err)
	if f.State != ach.FileWithdrawn {
		t.Errorf("%+v", f)
	}
	b.refused(b.office(buildDay, "ann"), f.ID, "withdrawn")
	b.payer(200)
	if _, files := b.build(buildDay); len(files) != 1 || files[0].Name != "ach-20260324-B.ach" {
		t.Errorf("%+v", files)
	}
	b.want("invariants", b.broken(), "")
}

// broken names the invariants of this room that do not hold.
func (b *biller) broken() (names string) {
	b.Helper()
	for _, i := range ach.Invariants {
		if n := b.ask(`select count(*) from (` + i.SQL + `) broken`); n != "0" {
			names += i.Name + " "
		}
	}
	return names
}

// What the bank says of a file moves it; what is unclear goes to a person, and
// nothing is sent again.
func TestTheBanksWord(t *testing.T) {
	for _, c := range []struct {
		name, status string
		entries      int
		cents        int64
		bank         string
		review       bool
	}{
		{"taken", "accepted", 1, 57500, ach.Acknowledged, false},
		{"taken, says no more", "Acknowledged", -1, -1, ach.Acknowledged, false},
		{"another total", "acknowledged", 1, 57501, ach.Unknown, true},
		{"too few entries", "acknowledged", 0, 57500, ach.Unknown, true},
		{"a word we don't know", "pending review", -1, -1, ach.Unknown, true},
		{"not taken", "rejected", 1, 57500, ach.Rejected, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBiller(t)
			id := b.payer(57500)
			_, files := b.build(buildDay)
			b.release(buildDay, files...)
			o := b.office(buildDay, "system")
			csv := fmt.Sprintf("file,status,entries,debit_cents,detail\n%s,%s,%d,%d,as told\n", files[0].Name, c.status, c.entries, c.cents)
			csv = strings.NewReplacer("-1,-1", ",").Replace(csv)
			in, err := o.Ingest(t.Context(), "ack.csv", strings.NewReader(csv))
			b.must(err)
			if in.Words != 1 || in.Review > 0 != c.review || in.Applied > 0 == c.review {
				t.Errorf("%+v", in)
			}
			b.want("bank", b.ask(`select bank from ach_file`), c.bank)
			if again, err := o.Ingest(t.Context(), "again.csv", strings.NewReader(csv)); err != nil || !again.Duplicate {
				t.Errorf("%+v %v", again, err)
			}
			if c.bank != ach.Rejected {
				b.want("pending", b.figures(id), "57500 57500 0 on")
				return
			}
			b.want("due again", b.figures(id), "57500 0 57500 on")
			b.build(buildDay) // it is built again, and waits for its release
			b.want("built again", b.ask(`select state || ':' || bank from ach_file order by id`), "released:rejected sealed:")
			b.want("invariants", b.broken(), "")
		})
	}
}

// A file that comes back with REJ codes was not taken; one that does in part
// goes to a person.
func TestRejectedFile(t *testing.T) {
	for _, whole := range []bool{true, false} {
		b := newBiller(t)
		id := b.payer(57500)
		phone := b.account(300)
		b.enrol(phone, cutDay, "phone")
		_, files := b.build(buildDay)
		b.release(buildDay, files...)
		b.post(dueDay)
		var back strings.Builder
		n := 0
		for line := range strings.Lines(string(b.bytes(files[0].ID))) {
			if line[0] == '5' {
				n++
			}
			if line[0] == '8' && (whole || n == 1) {
				line = line[:79] + "REJ01234" + line[87:]
			}
			back.WriteString(line)
		}
		in, err := b.office(dueDay, "system").Ingest(t.Context(), "rej.ach", strings.NewReader(back.String()))
		if err != nil || in.Words != 1 || in.Review != 1 {
			t.Errorf("%+v %v", in, err)
		}
		if whole {
			b.want("reversed", b.figures(id), "57500 0 57500 on")
			b.want("asks", b.ask(`select count(*) || code from exception group by code order by code`), "1file_unknown 2rejected_by_bank")
		} else {
			b.want("stands", b.figures(id), "0 0 0 on")
			b.want("asks", b.exceptions(), "0:ach:file_unknown:"+files[0].Name)
		}
		b.want("bank", b.ask(`select bank from ach_file`), map[bool]string{true: ach.Rejected, false: ach.Unknown}[whole])
	}
}

// A batch is rejected by its header, its control or each of its entries; one
// entry of two leaves the file to a person, and the other debit is not built
// again.
func TestRejectedEntries(t *testing.T) {
	for marked, whole := range map[string]bool{"first entry": false, "both entries": true, "header": true} {
		b := newBiller(t)
		one, two := b.payer(57500), b.payer(20000)
		_, files := b.build(buildDay)
		b.release(buildDay, files...)
		var back strings.Builder
		entries := 0
		for line := range strings.Lines(string(b.bytes(files[0].ID))) {
			if line[0] == '6' {
				entries++
			}
			if line[0] == '6' && (marked == "both entries" || marked == "first entry" && entries == 1) || line[0] == '5' && marked == "header" {
				line = line[:79] + "REJ00003" + line[87:]
			}
			back.WriteString(line)
		}
		in, err := b.office(buildDay, "system").Ingest(t.Context(), "rej.ach", strings.NewReader(back.String()))
		if err != nil || in.Words != 1 || in.Review != 1 {
			t.Errorf("%s: %+v %v", marked, in, err)
		}
		if whole {
			b.want(marked, b.ask(`select bank from ach_file`), ach.Rejected)
			b.want(marked, b.figures(one)+", "+b.figures(two), "57500 0 57500 on, 20000 0 20000 on")
			continue
		}
		b.want(marked, b.ask(`select bank || ': ' || bank_detail from ach_file`), `unknown: status "partly rejected" REJ00003, 0 of 1 batches as a whole`)
		b.want(marked, b.figures(one)+", "+b.figures(two), "57500 57500 0 on, 20000 20000 0 on")
		b.want(marked, b.exceptions(), "0:ach:file_unknown:"+files[0].Name)
		if tally, again := b.build(buildDay); tally.Done != 0 || len(again) != 0 {
			t.Errorf("built a second time: %+v %+v", tally, again)
		}
	}
}

// A rejection that contradicts an acknowledgment is left to a person, who may
// then say that it holds.
func TestRejectedAfterAcknowledged(t *testing.T) {
	b := newBiller(t)
	id := b.payer(57500)
	_, files := b.build(buildDay)
	b.release(buildDay, files...)
	in, err := b.office(buildDay, "system").Ingest(t.Context(), "ack.csv", strings.NewReader("file,status\n"+files[0].Name+",acknowledged\n"))
	if err != nil || in.Applied != 1 {
		t.Errorf("acknowledged: %+v %v", in, err)
	}
	in, err = b.office(buildDay, "ann").Ingest(t.Context(), "rej.csv", strings.NewReader("file,status,detail\n"+files[0].Name+",rejected,REJ00003\n"))
	if err != nil || in.Review != 1 || in.Applied != 0 {
		t.Errorf("rejected: %+v %v", in, err)
	}
	b.want("stands", b.figures(id), "57500 57500 0 on")
	b.want("bank", b.ask(`select bank from ach_file`), ach.Acknowledged)
	b.want("asks", b.exceptions(), "0:ach:file_unknown:"+files[0].Name)

	told, err := b.office(buildDay, "ann").Say(t.Context(), ach.Word{File: files[0].Name, Status: ach.Rejected, Entries: -1, Cents: -1, Detail: "by phone"})
	if err != nil || !told.Changed {
		t.Errorf("%+v %v", told, err)
	}
	b.want("due again", b.figures(id), "57500 0 57500 on")
}

func TestRates(t *testing.T) {
	k := newBank(t)
	var ids []int64
	for range 50 {
		ids = append(ids, k.payer(57500))
	}
	k.sent(buildDay, dueDay)
	rates := func(day calendar.Date) string {
		t.Helper()
		list, err := k.office(day, "").Rates(t.Context())
		k.must(err)
		var out []string
		for _, r := range list {
			out = append(out, fmt.Sprintf("%s %d/%d %s %s", r.Kind, r.Returns, r.Entries, r.Percent, r.State))
		}
		return strings.Join(out, ", ")
	}
	k.want("none", rates(dueDay), "unauthorized 0/50 0.00 ok, administrative 0/50 0.00 ok, overall 0/50 0.00 ok")
	k.returns(dueDay+1, ids[0], "R02")
	k.returns(dueDay+1, ids[1], "R01")
	k.want("few", rates(dueDay+1), "unauthorized 0/50 0.00 ok, administrative 1/50 2.00 ok, overall 2/50 4.00 ok")
	k.returns(dueDay+2, ids[2], "R10")
	for _, id := range ids[3:7] {
		k.returns(dueDay+2, id, "R09")
	}
	k.want("many", rates(dueDay+2), "unauthorized 1/50 2.00 above, administrative 1/50 2.00 ok, overall 7/50 14.00 near")
	k.want("long after", rates(dueDay+70), "")
	_, err := k.office(dueDay+2, "").KeepRates(t.Context())
	k.must(err)
	k.want("kept", k.ask(`select string_agg(kind || ' ' || returns || '/' || entries || ' ' || most, ', ' order by most) from ach_rate`), "unauthorized 1/50 50, administrative 1/50 300, overall 7/50 1500")
	_, err = k.office(dueDay+70, "").KeepRates(t.Context())
	k.must(err)
	k.want("forgotten", k.ask(`select count(*) from ach_rate`), "0")
}

func TestEveryCodeHasItsAction(t *testing.T) {
	for _, c := range ach.Codes() {
		if c.Next == "" || c.Next.Words() == "" {
			t.Errorf("%s asks nothing of anybody", c.Code)
		}
	}
	if c, known := ach.ReturnCode("R97"); known || c.Next != ach.AskBank {
		t.Errorf("R97: %+v %v", c, known)
	}
}

// What waits is listed until a person clears it.
func TestWaiting(t *testing.T) {
	k := newBank(t)
	k.payer(57500)
	k.sent(buildDay, dueDay)
	stray := k.entry(1)
	stray.Trace += 77
	k.ingest(dueDay+1, k.file(dueDay+1, []ach.ReturnOut{{Original: stray, Code: "R03"}}, nil))
	o := k.office(dueDay+1, "pat")
	work, err := o.Waiting(t.Context())
	if err != nil || len(work) != 1 || work[0].Code != "unmatched_return" || work[0].MRN != "" {
		t.Fatalf("%+v %v", work, err)
	}
	list, err := o.Answered(t.Context(), 0)
	if err != nil || len(list) != 1 || !list[0].Waiting || list[0].Outcome != "unmatched" || list[0].Next == "" || list[0].Words == "" {
		t.Errorf("%+v %v", list, err)
	}
	if n, err := o.Clear(t.Context(), work[0].Code, work[0].Subject, "the bank's mistake"); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	if _, err := o.Clear(t.Context(), work[0].Code, work[0].Subject, "again"); !errors.Is(err, ach.ErrHold) {
		t.Errorf("cleared twice: %v", err)
	}
	if work, err := o.Waiting(t.Context()); err != nil || len(work) != 0 {
		t.Errorf("%+v %v", work, err)
	}
}
