package billing_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

const autopayHeader = "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on"

// Numbers made up; the routing numbers' check digits are right.
const (
	bankA = "ach,123456780,000123456789,checking,"
	bankB = "ach,987654320,77AB88,savings,"
	card  = "card,,,,tok_1a2b3c"
)

const methods = `select string_agg(account_id || ' ' || method || routing || number_last4 || card_token || ' ' || authorized_on || ' ' || authorized_by || coalesce(' to ' || ended_on, ''), ', ' order by id) from autopay_method`

func TestAutopay(t *testing.T) {
	d := family(t)
	enrolled := ann + "," + bankA + ",2026-02-20,web,"
	d.takes("autopay", 2, 0, autopayHeader, enrolled, cleo+","+card+",2026-02-21,phone,")
	d.wants(methods, "1 ach1234567806789 2026-02-20 web, 2 cardtok_1a2b3c 2026-02-21 phone")
	d.wants(`select string_agg(autopay || ' ' || autopay_since, ', ' order by id) from account where id > 0`, "on 2026-03-02, on 2026-03-02")
	var sealed, hash []byte
	if err := d.db.QueryRow(t.Context(), `select number_sealed, number_hash from autopay_method where account_id = 1`).Scan(&sealed, &hash); err != nil {
		t.Fatal(err)
	}
	if plain, err := d.im.Keys.Open(sealed, "autopay_method/1"); err != nil || string(plain) != "000123456789" {
		t.Errorf("the sealed number opens as %q, %v", plain, err)
	}
	if !bytes.Equal(hash, d.im.Keys.Fingerprint("123456780", "000123456789")) {
		t.Error("the number can't be found by its fingerprint")
	}
	if strings.Contains(d.snapshot(), "000123456789") {
		t.Error("the account number is stored in the clear")
	}
	before := d.snapshot()
	d.im.Day++
	d.takes("autopay", 0, 1, autopayHeader, enrolled)
	if d.snapshot() != before {
		t.Error("the same row again changed something")
	}
	// Another bank: the enrolment before ends.
	d.takes("autopay", 1, 0, autopayHeader, ann+","+bankB+",2026-03-03,written,")
	d.wants(methods+" where account_id = 1", "1 ach1234567806789 2026-02-20 web to 2026-03-03, 1 ach987654320B88 2026-03-03 written")
	d.wants(`select autopay || ' ' || autopay_since from account where id = 1`, "on 2026-03-02")
	// The whole file again, old row and new: neither is news.
	before = d.snapshot()
	d.takes("autopay", 0, 2, autopayHeader, ann+","+bankB+",2026-03-03,written,", enrolled)
	if d.snapshot() != before {
		t.Error("an enrolment that was replaced came back")
	}
}

func TestAutopayEnds(t *testing.T) {
	d := family(t)
	row := func(authorized, ended string) string {
		return ann + "," + bankA + "," + authorized + ",web," + ended
	}
	d.takes("autopay", 1, 0, autopayHeader, row("2026-02-20", ""))
	d.takes("autopay", 1, 0, autopayHeader, row("2026-02-20", "2026-03-10")) // to come
	d.takes("autopay", 0, 1, autopayHeader, row("2026-02-20", "2026-03-10"))
	d.wants(methods, "1 ach1234567806789 2026-02-20 web to 2026-03-10")
	d.wants(`select autopay from account where id = 1`, "on")
	d.takes("autopay", 1, 0, autopayHeader, row("2026-02-20", "")) // not after all
	d.wants(methods, "1 ach1234567806789 2026-02-20 web")
	d.takes("autopay", 1, 0, autopayHeader, row("2026-02-20", "2026-03-01"))
	d.wants(methods, "1 ach1234567806789 2026-02-20 web to 2026-03-01")
	d.wants(`select autopay from account where id = 1`, "off")
	before := d.snapshot()
	d.takes("autopay", 0, 2, autopayHeader, row("2026-02-20", "2026-03-01"), row("2026-02-20", ""))
	if d.snapshot() != before {
		t.Error("an authorization that was ended came back")
	}
	// A new authorization of the same bank account is an enrolment, and the end
	// of the old one is no end of it.
	d.im.Day = day("2026-03-20")
	d.takes("autopay", 1, 1, autopayHeader, row("2026-03-19", ""), row("2026-02-20", "2026-03-01"))
	d.wants(`select autopay || autopay_since from account where id = 1`, "on2026-03-20")
	// Who cancels needn't repeat the numbers.
	d.takes("autopay", 1, 0, autopayHeader, ann+",ach,,,,,2026-03-19,web,2026-03-20")
	d.wants(`select autopay from account where id = 1`, "off")
	d.takes("autopay", 0, 1, autopayHeader, ann+",ach,,,,,2026-03-19,web,2026-03-20")
	// The end of an older enrolment that we never had is no end of this one, the
	// end of a later one is.
	d.takes("autopay", 1, 1, autopayHeader, ann+","+bankA+",2026-03-20,web,", ann+","+bankB+",2025-01-01,web,2026-03-20")
	d.wants(`select autopay from account where id = 1`, "on")
	d.takes("autopay", 1, 0, autopayHeader, ann+","+bankB+",2026-03-20,phone,2026-03-20")
	d.wants(`select autopay from account where id = 1`, "off")
	d.takes("autopay", 0, 1, autopayHeader, ben+","+card+",2026-01-01,web,2026-02-01") // of an enrolment we never had
	d.wants(`select count(*) from autopay_method where account_id = 2`, "0")
}

// What a person has ended from a day on, the feed's rows neither revive nor
// prolong; they can end it sooner. A person can say otherwise.
func TestAutopayEndedByHand(t *testing.T) {
	d := family(t)
	row := func(ended string) string { return ann + "," + bankA + ",2026-02-20,web," + ended }
	d.takes("autopay", 1, 0, autopayHeader, row(""))
	byHand := func(e billing.EnrolledBy) {
		t.Helper()
		im := d.im
		im.ByHand = &billing.ByHand{MRN: ann, Act: billing.Act{Day: im.Day, Operator: "pat", Reason: "asked by phone", Verb: "autopay"}}
		e.Method = "ach"
		if got, err := im.AutopayByHand(t.Context(), d.db, e); err != nil || got.Accepted != 1 {
			t.Fatalf("%+v %v", got, err)
		}
	}
	off := func(on string) {
		t.Helper()
		byHand(billing.EnrolledBy{AuthorizedBy: "phone", AuthorizedOn: d.im.Day, EndedOn: day(on)})
	}
	off("2026-03-15")
	const ends = `select coalesce(ended_on::text, 'never') from autopay_method`
	d.takes("autopay", 0, 1, autopayHeader, row(""))
	d.wants(ends, "2026-03-15")
	d.takes("autopay", 0, 1, autopayHeader, row("2026-03-20"))
	d.wants(ends, "2026-03-15")
	d.takes("autopay", 1, 0, autopayHeader, row("2026-03-12"))
	d.wants(ends, "2026-03-12")
	d.takes("autopay", 0, 2, autopayHeader, row("2026-03-12"), row(""))
	d.wants(ends, "2026-03-12")
	off("2026-03-18")
	d.wants(ends, "2026-03-18")
	byHand(billing.EnrolledBy{AuthorizedBy: "web", AuthorizedOn: day("2026-02-20"), Routing: "123456780", Number: "000123456789", AccountType: "checking"})
	d.wants(ends, "never") // not after all
	d.takes("autopay", 1, 0, autopayHeader, row("2026-03-20"))
	d.wants(ends, "2026-03-20")
	d.wants(`select autopay from account where id = 1`, "on")
}

// A new enrolment switches autopay on whatever it stood at; the old row doesn't.
func TestAutopayAfterReturns(t *testing.T) {
	for _, standing := range []string{billing.AutopaySuspended, billing.AutopayEnded, billing.AutopayOff} {
		d := family(t)
		d.takes("autopay", 1, 0, autopayHeader, ann+","+bankA+",2026-02-20,web,")
		change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
			a.SetAutopay(d.im.Policy, false, d.im.Day)
			a.Autopay = standing
		})
		d.im.Day++
		d.takes("autopay", 0, 1, autopayHeader, ann+","+bankA+",2026-02-20,web,")
		d.wants(`select autopay from account where id = 1`, standing)
		d.takes("autopay", 1, 0, autopayHeader, ann+","+bankA+",2026-03-03,web,")
		d.wants(`select autopay || autopay_since from account where id = 1`, "on2026-03-03")
	}
}

// After a bank's notification of change the feed still sends the old numbers:
// that is the same enrolment, and its end ends the corrected one.
func TestAutopayAfterCorrection(t *testing.T) {
	d := family(t)
	d.takes("autopay", 1, 0, autopayHeader, ann+","+bankA+",2026-02-20,web,")
	if _, err := d.db.Exec(t.Context(), `with old as (update autopay_method set ended_on = '2026-03-02' returning *)
		insert into autopay_method (account_id, method, routing, account_type, number_sealed, number_hash, number_last4, authorized_on, authorized_by, individual, corrected_by)
		select account_id, method, '987654320', account_type, number_sealed, number_hash, number_last4, authorized_on, authorized_by, individual, 'C02 1' from old`); err != nil {
		t.Fatal(err)
	}
	before := d.snapshot()
	d.im.Day++
	d.takes("autopay", 0, 1, autopayHeader, ann+","+bankA+",2026-02-20,web,")
	if d.snapshot() != before {
		t.Error("the feed undid the bank's correction")
	}
	d.takes("autopay", 1, 0, autopayHeader, ann+","+bankA+",2026-02-20,web,2026-03-03")
	d.wants(`select autopay || (select count(*) from autopay_method where ended_on is null) from account where id = 1`, "off0")
}

// An enrolment that ends as told, after its debit was missed: the bill stays the
// biller's. One that ended before its debit was never to be debited.
func TestEnrolmentEndsAfterMissedDebit(t *testing.T) {
	d := family(t)
	d.takes("autopay", 2, 0, autopayHeader, ann+","+bankA+",2026-02-20,web,2026-03-28", ben+","+card+",2026-02-20,web,2026-03-23")
	for id := range int64(2) {
		change(t, d.db, id+1, billing.Whole, func(a *billing.Account) {
			a.Charge(d.im.Policy, day("2026-03-01"), billing.Medical, 5000, billing.Detail{})
			a.Cut(d.im.Policy, day("2026-03-01"))
		})
	}
	inTx(t, d.db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		return billing.EndEnrolments(ctx, tx, d.im.Policy, day("2026-03-28"), all)
	})
	d.wants(`select string_agg(autopay || ' ' || debit_missed, ', ' order by id) from account a join bill b on b.account_id = a.id`, "off true, off false")
}

func TestAutopayRefused(t *testing.T) {
	d := family(t)
	rest := ",2026-02-20,web,"
	for _, c := range []struct{ name, line, problem string }{
		{"routing check digit", ann + ",ach,123456789,000123456789,checking," + rest, "2 routing: check digit"},
		{"routing too short", ann + ",ach,12345678,000123456789,checking," + rest, "2 routing: nine digits"},
		{"routing of zeros", ann + ",ach,000000000,000123456789,checking," + rest, "2 routing: nine digits"},
		{"no routing", ann + ",ach,,000123456789,checking," + rest, "2 routing: is empty"},
		{"no account", ann + ",ach,123456780,,checking," + rest, "2 account: is empty"},
		{"long account", ann + ",ach,123456780,000123456789000123,checking," + rest, "2 account: 18 characters"},
		{"account of signs", ann + ",ach,123456780,000123456789-1,checking," + rest, "2 account: else than digits and letters"},
		{"account type", ann + ",ach,123456780,000123456789,current," + rest, "2 account_type: checking, savings"},
		{"a token beside a bank account", ann + ",ach,123456780,000123456789,checking,tok" + rest, "2 card_token: must be empty"},
		{"a bank account beside a card", ann + ",card,,000123456789,,tok" + rest, "2 account: must be empty"},
		{"no token", ann + ",card,,,," + rest, "2 card_token: is empty"},
		{"a card's own number", ann + ",card,,,,4111 1111 1111 1111" + rest, "2 card_token: looks like the number of a card"},
		{"wire", ann + ",wire,,,," + rest, "2 method: ach, card"},
		{"no authorization", ann + "," + bankA + ",,web,", "2 authorized_on: is empty"},
		{"authorized tomorrow", ann + "," + bankA + ",2026-03-03,web,", "2 authorized_on: after the business date"},
		{"authorized by nod", ann + "," + bankA + ",2026-02-20,nod,", "2 authorized_by: written, web, phone"},
		{"ended before it began", ann + "," + bankA + ",2026-02-20,web,2026-02-19", "2 ended_on: before authorized_on"},
		{"nobody's", string(billing.NewMRN(99)) + "," + bankA + rest, "2 mrn: no member"},
		{"number in another column", ann + ",ach,123456780,000123456789,checking,,000123456789,000123456789,", ""},
		{"number for an MRN", "000123456789," + bankA + rest, "2 mrn: is not an MRN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{t, d.db, d.im}
			if c.problem != "" {
				d.refuses("autopay", []string{c.problem}, autopayHeader, c.line)
			}
			got, err := d.take("autopay", autopayHeader, c.line)
			said := fmt.Sprintf("%+v %v", got.Problems, err)
			if strings.Contains(said, "000123456789") || strings.Contains(said, "1111") {
				t.Errorf("the number is repeated: %s", said)
			}
		})
	}
	d.im.Keys = nil
	if _, err := d.take("autopay", autopayHeader); err == nil {
		t.Error("imported without keys")
	}
}

// What was agreed to, when a copy of it was sent, and of which amounts the
// member wants no notice is noted with the enrolment, at once or later.
func TestAutopayTerms(t *testing.T) {
	d := family(t)
	const header = "mrn,method,routing,account,account_type,authorized_on,authorized_by,terms,copy_sent_on,range_from_cents,range_to_cents"
	row := func(rest string) string { return ann + ",ach,123456780,000123456789,checking,2026-02-20,web," + rest }
	noted := `select string_agg(concat_ws(' ', terms, copy_sent_on, range_from, range_to), ', ' order by id) from autopay_method`
	d.takes("autopay", 1, 0, header, row("2026-01,,,"))
	d.wants(noted, "2026-01 0 0")
	d.takes("autopay", 1, 0, header, row("2026-01,2026-02-21,40000,60000"))
	d.wants(noted, "2026-01 2026-02-21 40000 60000")
	before := d.snapshot()
	d.takes("autopay", 0, 1, header, row("2026-01,2026-02-21,40000,60000"))
	d.takes("autopay", 0, 1, autopayHeader, ann+","+bankA+",2026-02-20,web,") // a file that doesn't say
	if d.snapshot() != before {
		t.Error("what was noted has changed")
	}
	d.takes("autopay", 1, 0, header, row(",,,")) // the range is given up, the rest is history
	d.wants(noted, "2026-01 2026-02-21 0 0")
	for rest, problem := range map[string]string{
		",2026-02-19,,":                  "2 copy_sent_on: is before",
		",,500,400":                      "2 range_to_cents: is below",
		",,,400":                         "2 range_from_cents: is empty",
		strings.Repeat("x", 129) + ",,,": "2 terms: ",
	} {
		d.refuses("autopay", []string{problem}, header, row(rest))
	}
}

// An amount that differs from the last debit moves the debit, unless it is
// within the range of which the member wants no notice (12 CFR 1005.10(d)(2)).
func TestRangeNotice(t *testing.T) {
	for _, c := range []struct {
		from, to int
		on       string
	}{{0, 0, "2026-04-29"}, {40000, 57500, "2026-04-27"}, {57500, 90000, "2026-04-27"}, {40000, 57499, "2026-04-29"}, {57501, 90000, "2026-04-29"}} {
		d := family(t)
		d.im.Policy.ACH.RegulationENoticeDays = 28 // counted from the cut, that is after the due date
		d.takes("autopay", 1, 0, "mrn,method,routing,account,account_type,authorized_on,authorized_by,range_from_cents,range_to_cents",
			fmt.Sprintf("%s,ach,123456780,000123456789,checking,2026-02-20,web,%d,%d", ann, c.from, c.to))
		change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
			last := ledger.Cents(45000)
			a.Open(d.im.Policy, d.im.Day, 0, &last, 0)
			a.Charge(d.im.Policy, d.im.Day, billing.Premium, 57500, billing.Detail{MRN: a.MRN})
		})
		change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
			bills, _ := a.Cut(d.im.Policy, day("2026-04-01"))
			if len(bills) != 1 || bills[0].DebitOn.String() != c.on {
				t.Errorf("range %d to %d: %+v, want the debit on %s", c.from, c.to, bills, c.on)
			}
		})
	}
}
