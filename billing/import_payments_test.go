package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
)

const paymentsHeader = "payment_id,mrn,received,channel,amount_cents,directed,payer"

func TestPayments(t *testing.T) {
	d := family(t)
	lines := []string{paymentsHeader,
		"p1," + ann + ",2026-02-27,online,5000,,",
		"p2," + cleo + ",2026-03-02,check,7000,medical,",
		"p3," + ben + ",2026-03-05,phone,900,,",           // received after today: pending
		"p4," + ann + ",2026-03-01,guest,100,,Aunt Fiona"} // its excess is the aunt's
	if got := d.takes("payments", 4, 0, lines...); got.Cents != 13000 {
		t.Errorf("%d cents", got.Cents)
	}
	d.wants(`select string_agg(reference || ' ' || account_id || ' ' || channel || ' ' || state || ' ' || cents || ' ' || unapplied || ' ' || received_on || ' ' || arrived_on || ' ' || posts_on || ' ' || coalesce(posted_on::text, '-') || ' ' || guest || ' ' || payer || directed, '; ' order by reference) from receipt`,
		"p1 1 online posted 5000 5000 2026-02-27 2026-03-02 2026-03-02 2026-03-02 false ; p2 2 check posted 7000 7000 2026-03-02 2026-03-02 2026-03-02 2026-03-02 false medical; "+
			"p3 2 phone pending 900 900 2026-03-05 2026-03-02 2026-03-05 - false ; p4 1 guest posted 100 100 2026-03-01 2026-03-02 2026-03-02 2026-03-02 true Aunt Fiona")
	d.wants(`select string_agg(account_id || ' ' || what || ' ' || debit || ' ' || credit || ' ' || cents || ' ' || effective_on, '; ' order by account_id, no) from journal`,
		"1 payment cash receivable 5000 2026-02-27; 1 payment cash receivable 100 2026-03-01; 2 payment cash receivable 7000 2026-03-02")
	before := d.snapshot()
	d.im.Day += 10
	d.takes("payments", 0, 5, append(lines, lines[1])...)
	if d.snapshot() != before {
		t.Error("the same payments again changed something")
	}
	d.invariants()
}

// A payment goes to what is billed and open, in the order of the file.
func TestPaymentsAreAllocated(t *testing.T) {
	d := family(t)
	d.takes("charges", 2, 0, chargesHeader, "c1,"+ann+",medical,2026-02-11,Visit,3000,0,3000", "c2,"+ann+",premium,2026-02-11,Premium,2000,0,2000")
	change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
		a.Cut(d.im.Policy, day("2026-04-01"))
	})
	d.im.Day = day("2026-04-02")
	d.takes("payments", 2, 0, paymentsHeader, "p1,"+ann+",2026-04-02,counter,1000,medical,", "p2,"+ann+",2026-04-02,counter,2500,,")
	d.wants(`select string_agg(kind || ' ' || paid || ' of ' || cents, ', ' order by kind) from item`, "medical 1500 of 3000, premium 2000 of 2000")
	d.wants(`select count(*) from allocation`, "3")
	d.invariants()
}

func TestPaymentsRefused(t *testing.T) {
	d := family(t)
	d.takes("payments", 1, 0, paymentsHeader, "p1,"+ann+",2026-02-27,online,5000,,")
	for _, c := range []struct{ name, line, problem string }{
		{"another amount", "p1," + ann + ",2026-02-27,online,5001,,", `2 payment_id: payment "p1" came before`},
		{"another member", "p1," + ben + ",2026-02-27,online,5000,,", `2 payment_id: payment "p1" came before`},
		{"another payer", "p1," + ann + ",2026-02-27,online,5000,,Fiona", `2 payment_id: payment "p1" came before`},
		{"nobody's", "p2," + string(billing.NewMRN(99)) + ",2026-02-27,online,5000,,", "2 mrn: no member"},
		{"of 0", "p2," + ann + ",2026-02-27,online,0,,", "2 amount_cents: of 0"},
		{"negative", "p2," + ann + ",2026-02-27,online,-5,,", "2 amount_cents: negative"},
		{"by pigeon", "p2," + ann + ",2026-02-27,pigeon,5,,", `2 channel: "pigeon"`},
		{"a lockbox check", "p2," + ann + ",2026-02-27,lockbox,5,,", `2 channel: "lockbox"`},
		{"directed to a fee", "p2," + ann + ",2026-02-27,online,5,fee,", `2 directed: "fee"`},
		{"received never", "p2," + ann + ",,online,5,,", "2 received: is empty"},
		{"without id", "," + ann + ",2026-02-27,online,5,,", "2 payment_id: is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			(&desk{t, d.db, d.im}).refuses("payments", []string{c.problem}, paymentsHeader, c.line)
		})
	}
	d.refuses("payments", []string{"4 payment_id: came before"}, paymentsHeader, "p7,"+ann+",2026-02-27,online,5,,", "p7,"+ann+",2026-02-27,online,5,,", "p7,"+ann+",2026-02-27,online,6,,")
	d.wants(`select string_agg(payment_id, ',' order by payment_id) from payment`, "p1,p7")
	d.invariants()
}
