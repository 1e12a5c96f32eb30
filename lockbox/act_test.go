package lockbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

func TestSplit(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 12500)
	file := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 50000, "2026-03-16", "")))).FileID
	d := m.desk("2026-03-17")
	for _, bad := range [][]lockbox.Part{
		nil, {{ann, 50001}}, {{ann, 40000}, {bob, 9999}}, {{ann, 40000}, {bob, 10001}}, {{ann, 50000}, {bob, 0}}, {{ann, 50001}, {bob, -1}}, {{ann, 40000}, {"9999999999", 10000}},
	} {
		if err := d.Split(t.Context(), file, 1, bad, "why"); !errors.Is(err, lockbox.ErrNotNow) && !errors.Is(err, billing.ErrNoAccount) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	m.wantState(file, 1, "suspense no_reference")
	m.must(d.Split(t.Context(), file, 1, []lockbox.Part{{ann, 40000}, {bob, 10000}}, "both wrote"))
	m.wantFigures(a, 57500, 40000, 17500)
	m.wantFigures(b, 12500, 10000, 2500)
	if n := m.one(`select count(*) from receipt where received_on = '2026-03-16' and arrived_on = '2026-03-16' and posts_on = '2026-03-23'`); n != 2 {
		t.Error("the parts have not kept the check's dates")
	}
	m.proven()
	// Both come back when the check does, with one fee, on the first.
	m.must(m.desk("2026-03-18").Return(t.Context(), file, 1, lockbox.NSF, "notice"))
	m.wantFigures(a, 60000, 0, 57500)
	m.wantFigures(b, 12500, 0, 12500)
	m.proven()
}

// Undo puts a check back to where it stood before the last act, step by step,
// until there is nothing left to undo.
func TestUndo(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 12500)
	file := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 5000, "", ""), check("1002", 700, "2026-03-16", ann), check("1003", 800, "2026-03-16", "")))).FileID
	d := m.desk("2026-03-17")
	undo := func(item int) {
		t.Helper()
		m.must(d.Undo(t.Context(), file, item, "a mistake"))
		m.proven()
	}
	refuses := func(item int) {
		t.Helper()
		if err := d.Undo(t.Context(), file, item, "a mistake"); !errors.Is(err, lockbox.ErrNotNow) {
			t.Errorf("item %d: undone: %v", item, err)
		}
	}
	refuses(1)
	m.must(d.Redate(t.Context(), file, 1, calendar.MustParse("2026-03-13"), "envelope"))
	m.must(d.Release(t.Context(), file, 1, "dated"))
	m.wantState(file, 1, "suspense no_reference")
	m.must(d.Match(t.Context(), file, 1, bob, "name"))
	m.wantFigures(b, 12500, 5000, 7500)
	undo(1)
	m.wantState(file, 1, "suspense no_reference")
	m.wantFigures(b, 12500, 0, 12500)
	m.must(d.Match(t.Context(), file, 1, ann, "the right one"))
	m.wantFigures(a, 57500, 5700, 51800)
	undo(1)
	undo(1)
	m.wantState(file, 1, "held received_blank")
	undo(1)
	if n := m.one(`select count(*) from lockbox_item where file_id = $1 and ordinal = 1 and received_on is null`, file); n != 1 {
		t.Error("the date that was given by hand still stands")
	}
	refuses(1)

	// A check that its coupon gave to somebody can be taken from them.
	undo(2)
	m.wantState(file, 2, "suspense taken_back")
	m.wantFigures(a, 57500, 0, 57500)
	m.must(d.Match(t.Context(), file, 2, bob, "the coupon was a neighbor's"))
	m.wantFigures(b, 12500, 700, 11800)

	// What left comes back, and what posted stays.
	m.must(d.Void(t.Context(), file, 3, "not ours"))
	undo(3)
	m.must(d.Return(t.Context(), file, 3, lockbox.Payer, "not for us"))
	m.wantState(file, 3, "sent_back returned_payer")
	undo(3)
	m.must(d.Return(t.Context(), file, 3, lockbox.Stop, "notice"))
	undo(3)
	m.wantState(file, 3, "suspense no_reference")
	if s := m.one(`select sum(case credit when 'suspense' then cents else -cents end) from journal where account_id = 0 and 'suspense' in (debit, credit)`); s != 800 {
		t.Errorf("suspense is %d", s)
	}
	d = m.desk("2026-03-23")
	m.must(d.Match(t.Context(), file, 3, ann, "found"))
	m.wantFigures(a, 56700, 0, 56700)
	refuses(3)
	m.must(d.Return(t.Context(), file, 2, lockbox.NSF, "notice"))
	m.wantFigures(b, 15000, 0, 12500)
	undo(2) // it was another check: the fee goes with the return
	m.wantFigures(b, 11800, 0, 11800)
	m.must(d.Return(t.Context(), file, 2, lockbox.NSF, "the right one after all"))
	m.wantFigures(b, 15000, 0, 12500)
	if err := d.Return(t.Context(), file, 2, lockbox.Payer, "to the payer"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("a member's check was sent to its payer: %v", err)
	}
	if n := m.one(`select count(*) from act where verb = 'lockbox undo' and operator = 'pat' and reason = 'a mistake' and detail ? 'before'`); n != 9 {
		t.Errorf("%d undos are recorded", n)
	}
	m.proven()
}

// A return that was none, of a check before it posted or after, leaves the member
// as if it had not been told: with the dates that the payment had, and without the
// fee for the return or the late fee that followed from it.
func TestUndoReturn(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 12500)
	file := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 700, "2026-03-16", "")))).FileID
	m.must(m.desk("2026-03-17").Split(t.Context(), file, 1, []lockbox.Part{{ann, 500}, {bob, 200}}, "both wrote"))
	// Pending, and in two parts.
	m.must(m.desk("2026-03-18").Return(t.Context(), file, 1, lockbox.NSF, "advice"))
	m.must(m.desk("2026-03-18").Undo(t.Context(), file, 1, "another bank's"))
	m.wantFigures(a, 57500, 500, 57000)
	m.wantFigures(b, 12500, 200, 12300)
	m.proven()
	// Posted: it posts again at once.
	late := m.ingest("2026-03-24", "F2", m.file("0700", batch("002", check("1002", 12500, "2026-03-16", bob)))).FileID
	m.wantFigures(b, 0, 200, 0)
	m.must(m.desk("2026-03-25").Return(t.Context(), late, 1, lockbox.Closed, "advice"))
	m.wantFigures(b, 12500, 200, 12300)
	m.must(m.desk("2026-03-26").Undo(t.Context(), late, 1, "another bank's"))
	m.wantFigures(b, 0, 200, 0)
	if n := m.one(`select count(*) from receipt where account_id = $1 and state = 'posted' and received_on = '2026-03-16' and arrived_on = '2026-03-24' and posts_on = '2026-03-23' and cents = 12500`, b); n != 1 {
		t.Error("the payment has not kept its dates")
	}
	m.proven()
	// It can come back once more, and once more not.
	m.must(m.desk("2026-03-27").Return(t.Context(), late, 1, lockbox.NSF, "advice"))
	m.must(m.desk("2026-03-27").Undo(t.Context(), late, 1, "again another's"))
	m.wantFigures(b, 0, 200, 0)
	if n := m.one(`select count(*) from item where account_id = $1 and origin = 'returned_fee' and ended <> 'waived'`, b); n != 0 {
		t.Error("a fee for the return stands")
	}
	m.proven()
}

// Whatever is done at the desk, in whatever order, the books hold, and an undo
// restores the figures of everybody.
func TestDeskLives(t *testing.T) {
	m := newMail(t)
	lives := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		lives++
		var mrns []string
		var accounts []int64
		for n := range int64(3) {
			mrn, id := m.member(3*lives+n, 20000)
			mrns, accounts = append(mrns, mrn), append(accounts, id)
		}
		var items []lockbox.Item
		for n := range 6 {
			received := rapid.SampledFrom([]string{"", "2026-03-16", "2026-03-13", "2026-03-20"}).Draw(rt, "received")
			payer := rapid.SampledFrom(append([]string{"", "12345"}, mrns...)).Draw(rt, "payer")
			i := check(fmt.Sprint(1000+n%4), 1500, received, payer)
			i.Account = fmt.Sprint(lives)
			items = append(items, i)
		}
		file := m.ingest("2026-03-17", "F1", m.file("0600", batch(fmt.Sprintf("%03d", lives), items...))).FileID
		type seen struct {
			state   string
			figures [3][3]ledger.Cents
		}
		look := func(item int) (s seen) {
			s.state = m.state(file, item)
			for n, id := range accounts {
				s.figures[n] = m.figures(id)
			}
			return s
		}
		day := calendar.MustParse("2026-03-17")
		for range rapid.IntRange(1, 12).Draw(rt, "acts") {
			day += calendar.Date(rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(rt, "days"))
			d, item := m.desk(day.String()), rapid.IntRange(1, len(items)).Draw(rt, "item")
			mrn := rapid.SampledFrom(mrns).Draw(rt, "mrn")
			before := look(item)
			var err error
			verb := rapid.SampledFrom([]string{"match", "split", "release", "void", "redate", "return", "undo"}).Draw(rt, "verb")
			switch verb {
			case "match":
				err = d.Match(t.Context(), file, item, mrn, "x")
			case "split":
				err = d.Split(t.Context(), file, item, []lockbox.Part{{mrn, 1000}, {mrns[0], 500}}, "x")
			case "release":
				err = d.Release(t.Context(), file, item, "x")
			case "void":
				err = d.Void(t.Context(), file, item, "x")
			case "redate":
				err = d.Redate(t.Context(), file, item, day-1, "x")
			case "return":
				err = d.Return(t.Context(), file, item, rapid.SampledFrom(lockbox.ReturnCodes).Draw(rt, "code"), "x")
			case "undo":
				err = d.Undo(t.Context(), file, item, "x")
			}
			after := look(item)
			switch {
			case errors.Is(err, lockbox.ErrNotNow):
				if after != before {
					rt.Errorf("%s of item %d was refused and changed %v to %v", verb, item, before, after)
				}
			case err != nil:
				rt.Fatal(err)
			case verb != "undo":
				if err := d.Undo(t.Context(), file, item, "x"); err == nil {
					back := look(item)
					if verb == "return" { // what was pending may post when it is taken in again
						back.figures, before.figures = settled(back.figures), settled(before.figures)
					}
					if back != before {
						rt.Errorf("%s of item %d, undone: %v is not %v", verb, item, back, before)
					}
				}
			}
		}
		m.proven()
	})
}

// settled are figures as they will be when what is pending has posted.
func settled(figures [3][3]ledger.Cents) [3][3]ledger.Cents {
	for n, f := range figures {
		figures[n] = [3]ledger.Cents{f[0] - f[1], 0, f[2]}
	}
	return figures
}

// The desk proposes whose a check may be, likeliest first, and gives it to
// nobody.
func TestProposals(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	bob, b := m.member(2, 12500)
	cyd, c := m.member(3, 900)
	other := func(i lockbox.Item, account string) lockbox.Item { i.Account = account; return i }
	in := func(i lockbox.Item, envelope string) lockbox.Item { i.Envelope = envelope; return i }
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1", 100, "2026-03-13", ann), check("2", 100, "2026-03-16", ann), check("3", 100, "2026-03-16", bob))))
	line := string(billing.Scanline{MRN: billing.MRN(cyd), Statement: m.one(`select account_id * 100 + cycle % 100 from bill where account_id = $1`, c), Due: 900}.String())
	misread := line[:25] + string('0'+(line[25]-'0'+5)%10) + line[26:]
	conflict := check("12", 12500, "2026-03-16", ann)
	conflict.Overflows = []lockbox.Overflow{coupon(bob, 0)}
	got := m.ingest("2026-03-17", "F2", m.file("0700", batch("002",
		check("10", 57500, "2026-03-16", ""),
		other(check("11", 900, "2026-03-16", misread), "1"),
		other(conflict, "2"),
		in(other(check("13", 300, "2026-03-16", cyd), "3"), "007"),
		in(other(check("14", 300, "2026-03-16", ""), "4"), "007"),
		other(check("15", 300, "2026-03-16", ""), "5"))))
	work, err := m.desk("2026-03-18").Held(t.Context())
	m.must(err)
	want := map[int][]string{10: {ann, bob}, 11: {cyd}, 12: {bob, ann}, 14: {cyd}, 15: {}}
	for _, w := range work {
		var no int
		fmt.Sscan(w.Check, &no)
		var mrns []string
		for _, p := range w.Proposals {
			mrns = append(mrns, p.MRN)
			if len(p.Why) == 0 {
				t.Errorf("check %d: no reason for %s", no, p.MRN)
			}
		}
		if !slices.Equal(mrns, want[no]) && len(mrns)+len(want[no]) > 0 {
			t.Errorf("check %d (%s): %+v, want %v", no, w.Reason, w.Proposals, want[no])
		}
	}
	if len(work) != 5 || got.Pending != 1 {
		t.Errorf("%d wait, %+v", len(work), got)
	}
	if why := work[0].Proposals[0].Why; !strings.Contains(strings.Join(why, ";"), "2 times, last on 2026-03-16") || !strings.Contains(strings.Join(why, ";"), "exactly this amount") {
		t.Errorf("%q", why)
	}
	m.wantFigures(a, 57500, 200, 57300)
	m.wantFigures(b, 12500, 100, 12400)
}

// A suspected duplicate shows the check that it is like.
func TestTwinIsShown(t *testing.T) {
	m := newMail(t)
	first := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("9", 1, "2026-03-16", ""), check("1001", 100, "2026-03-16", ""))))
	again := m.ingest("2026-03-17", "F2", m.file("0700", batch("002", check("1001", 100, "2026-03-16", ""))))
	work, err := m.desk("2026-03-18").Held(t.Context())
	m.must(err)
	for _, w := range work {
		if w.FileID != again.FileID {
			continue
		}
		if w.Twin == nil || w.Twin.FileID != first.FileID || w.Twin.Item != 2 || w.Twin.State != "suspense" {
			t.Errorf("%+v", w.Twin)
		}
	}
}

// A file that never came, or was refused, is missed; one that says that there
// was no mail is not.
func TestMissingFiles(t *testing.T) {
	m := newMail(t)
	m.policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "47"}, {Lockbox: "000048", SilentWhenEmpty: true}}
	day := func(on string, items ...lockbox.Item) []byte {
		b := batch("001", items...)
		b.DepositDate = calendar.MustParse(on)
		return m.file("0600", b)
	}
	m.ingest("2026-03-16", "monday", day("2026-03-16", check("1", 100, "2026-03-16", "")))
	if got := m.ingest("2026-03-17", "tuesday", day("2026-03-17")); !got.Accepted || got.Items != 0 {
		t.Errorf("an empty deposit: %+v", got)
	}
	cut := day("2026-03-18", check("2", 100, "2026-03-18", ""))
	got, err := m.desk("2026-03-18").Ingest(t.Context(), "wednesday", strings.NewReader(string(cut[:len(cut)-310])), m.profile)
	if !errors.Is(err, lockbox.ErrRefused) {
		t.Fatal(err)
	}
	found, err := m.desk("2026-03-20").Reconcile(t.Context(), calendar.MustParse("2026-03-14"), calendar.MustParse("2026-03-22"))
	m.must(err)
	want := fmt.Sprintf("[{2026-03-18 47 [%d]} {2026-03-19 47 []}]", got.FileID)
	if fmt.Sprint(found.Missing) != want {
		t.Errorf("missing %v, want %s", found.Missing, want)
	}
	if len(found.Days) != 2 || found.Days[1].Items != 0 || found.Days[1].Deposit != calendar.MustParse("2026-03-17") {
		t.Errorf("the empty deposit is not recorded: %+v", found.Days)
	}
}

// A check posts seven calendar days after it was received, rolled to a banking
// day: never earlier than that, and never later than ten.
func TestPostingWindow(t *testing.T) {
	p := billing.DefaultPolicy()
	longest := calendar.Date(0)
	for d := calendar.MustParse("2020-01-01"); d < calendar.MustParse("2060-01-01"); d++ {
		on := p.Lockbox.PostsOn(d)
		if on-d < 7 || on-d > 10 || !calendar.IsBankingDay(on) {
			t.Fatalf("received %s, posts %s", d, on)
		}
		longest = max(longest, on-d)
	}
	if longest != 10 {
		t.Errorf("the longest wait in forty years is %d days", longest)
	}
}

// A number of ours is proposed, never taken, if it has to be looked for in what
// the bank keyed: a word before it, blanks or dashes in it, its zeros lost.
func TestProposedByNumbersWithin(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(100_000, 57500) // its MRN begins with zeros
	var items []lockbox.Item
	for n, payer := range []string{"MRN " + ann, "acct#" + ann, ann[:3] + "-" + ann[3:6] + "-" + ann[6:], ann[:5] + " " + ann[5:], strings.TrimLeft(ann, "0"), ann + "1", "1" + ann[1:], "18"} {
		items = append(items, check(fmt.Sprint(n+1), 100, "2026-03-16", payer))
	}
	if got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", items...))); got.Suspense != len(items) {
		t.Errorf("%+v", got)
	}
	work, err := m.desk("2026-03-16").Held(t.Context())
	m.must(err)
	for n, w := range work {
		switch proposed := len(w.Proposals) == 1 && w.Proposals[0].MRN == ann; {
		case n < 5 && !proposed:
			t.Errorf("check %d (%s) is proposed to %+v", n+1, w.Raw, w.Proposals)
		case n >= 5 && len(w.Proposals) > 0:
			t.Errorf("check %d (%s) is proposed to %+v", n+1, w.Raw, w.Proposals)
		}
	}
}
