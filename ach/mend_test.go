package ach_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// held are the members and account numbers that a sealed file debits.
func (b *biller) held(file int64) string {
	b.Helper()
	o, problems, err := ach.ReadEntries(strings.NewReader(string(b.bytes(file))))
	b.must(err)
	var in []string
	for _, e := range o.Debits {
		in = append(in, e.IndividualID+" "+e.Account)
	}
	if len(problems) > 0 {
		b.Errorf("file %d: %v", file, problems)
	}
	return strings.Join(in, ", ")
}

// Money is taken on the effective date: an authorization that ends by then is
// none, though it stands on the day the file is built.
func TestNotAuthorizedOnTheEffectiveDate(t *testing.T) {
	b := newBiller(t)
	until, longer := b.payer(3000), b.payer(200)
	b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, until, dueDay)
	b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, longer, dueDay+1)
	tally, files := b.build(buildDay)
	if tally.Done != 1 || tally.Skipped[billing.AuthorizationEnds] != 1 || len(files) != 1 || files[0].Cents != 200 {
		t.Errorf("%+v %+v", tally, files)
	}
	b.want("still due", b.figures(until), "3000 0 3000 on")
	// The member knew: it is no delay of ours.
	b.build(dueDay)
	b.want("no debit", b.debits(until), "")
	b.ranged(billingLateFees, calendar.MustParse("2026-03-31"))
	b.want("late", b.figures(until), "4000 0 3000 off")

	// A retry is a debit, too.
	b = newBiller(t)
	id := b.payer(3000)
	b.sent(buildDay, dueDay)
	b.change(id, func(a *billing.Account) {
		if err := a.ReturnDebit(b.p, a.Debits[0], dueDay+1, "R01"); err != nil {
			t.Fatal(err)
		}
	})
	retry := calendar.AddBankingDays(dueDay+1, 3)
	b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, id, retry)
	if tally, files := b.build(retry - 1); tally.Skipped[billing.RetryDropped] != 1 || len(files) != 0 {
		t.Errorf("%+v %+v", tally, files)
	}
}

// What comes between the sealing of a file and its release still counts: the
// file is made anew, and whoever releases it is told so first.
func TestRevokedBeforeRelease(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(b *biller, id int64)
		left   string // of the first member, in the file
		stands string // the first member's figures
		asks   string
	}{
		{"cancelled", func(b *biller, id int64) {
			b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, id, buildDay)
			b.change(id, func(a *billing.Account) { a.SetAutopay(b.p, false, buildDay) })
		}, "", "57500 0 57500 off", "1:autopay:no_authorization:2026-03"},
		{"ends on the effective date", func(b *biller, id int64) {
			b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, id, dueDay)
		}, "", "57500 0 57500 on", "1:autopay:no_authorization:2026-03"},
		{"ended by a return", func(b *biller, id int64) { b.autopayEnds(id, "ended") },
			"", "57500 0 57500 ended", "1:autopay:no_authorization:2026-03"},
		{"on hold", func(b *biller, id int64) {
			b.change(id, func(a *billing.Account) { a.Place(buildDay, "deceased", "ann", "", false) })
		}, "", "57500 0 57500 on", "1:autopay:held_before_release:2026-03"},
		{"corrected by the bank", func(b *biller, id int64) {
			b.exec(`update autopay_method set ended_on = $2 where account_id = $1`, id, buildDay)
			b.method(id, calendar.MustParse("2026-02-01"), "web", "7777")
			b.exec(`update autopay_method set corrected_by = 'C01 121000350000099' where account_id = $1 and ended_on is null`, id)
		}, mrnOf(1) + " 7777, ", "57500 57500 0 on", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBiller(t)
			id, other := b.payer(57500), b.payer(20000)
			_, files := b.build(buildDay)
			file := files[0].ID
			c.happen(b, id)
			b.refused(b.office(buildDay, "ann"), file, "made anew")
			b.want("the file", b.held(file), c.left+fmt.Sprintf("%s %s", mrnOf(other), numberOf(other)))
			b.want("figures", b.figures(id), c.stands)
			b.want("asks", b.exceptions(), c.asks)
			b.release(buildDay, files...)
			b.post(dueDay)
			b.want("the other is paid", b.figures(other), "0 0 0 on")
			b.want("invariants", b.broken(), "")
		})
	}
}

// Whoever revokes what a file holds has edited it; the night mends as nobody.
func TestMend(t *testing.T) {
	b := newBiller(t)
	id, other := b.payer(57500), b.payer(20000)
	_, files := b.build(buildDay)
	b.autopayEnds(id, "off")
	b.must(b.office(buildDay, "Pat").Mend(t.Context()))
	b.refused(b.office(buildDay, "pat"), files[0].ID, "edited it")
	b.autopayEnds(other, "off")
	b.build(buildDay)
	b.want("nothing is left", b.ask(`select state || array_length(hands, 1) from ach_file`), "withdrawn1")
	b.want("invariants", b.broken(), "")
}

// autopayEnds is what billing does when a return or a person ends autopay.
func (b *biller) autopayEnds(id int64, as string) {
	b.Helper()
	b.exec(`with a as (update account set autopay = $2, docs = docs + 1 where id = $1 returning id, docs)
		insert into standing (account_id, no, on_date, item, state) select id, docs, $3, 0, $2 from a`, id, as, buildDay)
}
