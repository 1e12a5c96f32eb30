package billing_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
)

const coverageHeader = "mrn,plan,start,end,monthly_cents,aptc_cents"

// cuts runs a cut over all accounts.
func (d *desk) cuts(on string) {
	d.Helper()
	inTx(d.T, d.db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		_, _, err := billing.CutStatements(ctx, tx, d.im.Policy, day(on), all)
		return err
	})
}

func TestCoverageFeed(t *testing.T) {
	d := family(t)
	lines := []string{coverageHeader,
		ann + ",Gold,2026-02-15,,45000,", // half of February and March have no cut to come
		ben + ",Silver,2026-04-01,,60000,45000",
		cleo + ",Silver,2026-04-01,2026-06-30,20000,0",
		cleo + ",Silver,2026-07-01,,21000,0"}
	if got := d.takes("coverage", 4, 0, lines...); got.Cents != 22500+45000 {
		t.Errorf("%d cents", got.Cents)
	}
	before := d.snapshot()
	d.im.Day += 5
	d.takes("coverage", 0, 5, append(lines, lines[1])...)
	if d.snapshot() != before {
		t.Error("the same coverage again changed something")
	}
	d.cuts("2026-04-01")
	d.cuts("2026-05-01")
	d.cuts("2026-07-01")
	d.wants(`select string_agg(account_id || ' ' || cycle - 24312 || ' ' || charges, ', ' order by account_id, cycle) from bill`,
		"1 3 112500, 1 4 45000, 1 5 45000, 1 6 45000, 2 3 35000, 2 4 35000, 2 5 35000, 2 6 36000")
	d.wants(`select string_agg(mrn || ' ' || description || ' ' || cents, ', ' order by no) from item where account_id = 2 and for_cycle = 24312 + 6`,
		ben+" Premium, July 2026 15000, "+cleo+" Premium, July 2026 21000")
	d.invariants()
	d.proven("one_premium_per_month", "coverage_periods_apart", "items_agree_with_ledger", "statements_chain", "charges_have_their_entry")
}

// Periods are amended by their rows, cut short by later ones, and a row that
// was taken before stays unchanged whatever has become of its period.
func TestCoverageAmended(t *testing.T) {
	d := family(t)
	first := ann + ",Gold,2026-02-01,,45000,0"
	d.takes("coverage", 1, 0, coverageHeader, first)
	d.im.Day = day("2026-04-10")
	d.cuts("2026-04-01")
	second := ann + ",Gold,2026-04-16,,48000,0"
	if got := d.takes("coverage", 1, 1, coverageHeader, first, second); got.Cents != -22500+24000 {
		t.Errorf("%d cents", got.Cents)
	}
	before := d.snapshot()
	d.takes("coverage", 0, 2, coverageHeader, first, second)
	if d.snapshot() != before {
		t.Error("the same rows again changed something")
	}
	d.wants(`select string_agg(start_on || ' ' || coalesce(end_on::text, '-') || ' ' || coalesce(said_end::text, '-'), ', ' order by no) from coverage`, "2026-02-01 2026-04-15 -, 2026-04-16 - -")
	d.takes("coverage", 1, 0, coverageHeader, ann+",Gold,2026-02-01,2026-01-31,45000,0") // never took effect
	d.wants(`select sum(case when debit = 'receivable' then cents else -cents end) from journal`, "24000")
	d.takes("coverage", 1, 0, coverageHeader, ann+",Gold,2026-02-01,2026-02-28,45000,0") // one month after all
	d.wants(`select sum(case when debit = 'receivable' then cents else -cents end) from journal`, "69000")
	d.invariants()
	d.proven("one_premium_per_month", "coverage_periods_apart", "items_agree_with_ledger", "items_agree_with_allocations")
}

func TestCoverageFileRefused(t *testing.T) {
	d := family(t)
	d.refuses("coverage", []string{"2 mrn: ", "3 plan: is empty", "4 start: is empty", "5 end: the day before its start", "6 aptc_cents: does not go into", "7 monthly_cents: negative", "8 mrn: no member has the MRN"},
		coverageHeader,
		"1234567890,Gold,2026-02-01,,45000,0",
		ann+",,2026-02-01,,45000,0",
		ann+",Gold,,,45000,0",
		ann+",Gold,2026-02-01,2026-01-01,45000,0",
		ann+",Gold,2026-02-01,,45000,45001",
		ann+",Gold,2026-02-01,,-1,0",
		string(billing.NewMRN(77))+",Gold,2026-02-01,,45000,0",
		ben+",Gold,2026-02-01,,45000,0")
	d.takes("members", 1, 0, memberHeader, person(cleo, ann, "Cleo"))
}

// With another guarantor go the months that are not charged yet; what enrolment
// says of the period afterwards, each account takes its part of.
func TestCoverageMovesWithTheGuarantor(t *testing.T) {
	d := family(t)
	d.takes("coverage", 1, 0, coverageHeader, cleo+",Gold,2026-02-01,,45000,0") // on Ben's account, 2
	d.cuts("2026-03-01")
	const owed = `select string_agg(account_id || ' ' || cents, ', ' order by account_id, no) from item`
	d.wants(owed, "2 45000, 2 45000")
	d.takes("members", 1, 0, memberHeader, person(cleo, ann, "Cleo"))
	d.takes("members", 0, 1, memberHeader, person(cleo, ann, "Cleo"))
	const periods = `select string_agg(concat_ws(' ', account_id, start_on, end_on, monthly_cents, open), ', ' order by account_id) from coverage`
	d.wants(periods, "1 2026-04-01 45000 t, 2 2026-02-01 2026-03-31 45000 f")
	d.takes("coverage", 0, 1, coverageHeader, cleo+",Gold,2026-02-01,,45000,0") // sent again each day
	d.im.Day = day("2026-04-01")
	d.cuts("2026-04-01")
	d.wants(owed, "1 45000, 2 45000, 2 45000")
	d.takes("coverage", 1, 0, coverageHeader, cleo+",Gold,2026-02-01,,46000,0")
	d.wants(owed, "1 45000, 1 1000, 2 45000, 2 45000, 2 1000, 2 1000")
	d.takes("coverage", 1, 0, coverageHeader, cleo+",Gold,2026-02-01,2026-03-15,46000,0")
	d.wants(`select string_agg(id || ' ' || coalesce((select sum(cents) from item i where i.account_id = a.id), 0), ', ' order by id) from account a where id in (1, 2)`, "1 0, 2 68258")
	d.takes("coverage", 0, 1, coverageHeader, cleo+",Gold,2026-02-01,2026-03-15,46000,0")
	d.proven("one_premium_per_month", "account_counters")
}

// Of what begins later, or was brought by the feed, nothing is charged twice.
func TestCoverageMovesBeforeItBegins(t *testing.T) {
	d := family(t)
	d.takes("coverage", 2, 0, coverageHeader, cleo+",Gold,2026-05-01,,45000,0", cleo+",Dental,2026-02-01,,0,0")
	d.takes("charges", 1, 0, chargesHeader, "c1,"+cleo+",premium,2026-03-01,Dental,3000,0,3000")
	d.takes("members", 1, 0, memberHeader, person(cleo, ann, "Cleo"))
	d.wants(`select string_agg(concat_ws(' ', account_id, plan, start_on, end_on), ', ' order by account_id, plan) from coverage`,
		"1 Dental 2026-04-01, 1 Gold 2026-05-01, 2 Dental 2026-02-01 2026-03-31")
	d.wants(`select count(*) from item`, "1")
}

// proven checks invariants of the accounts by name.
func (d *desk) proven(names ...string) {
	d.Helper()
	for _, name := range names {
		found := false
		for _, inv := range billing.Invariants {
			if inv.Name == name {
				found = true
				d.wants("select count(*) from ("+inv.SQL+") x", "0")
			}
		}
		if !found {
			d.Errorf("no invariant %s", name)
		}
	}
}

// A year of plans, grace and old credit through the database: what was saved
// comes back, a second run of a date adds nothing, and the books agree.
func TestAgreementsAreKept(t *testing.T) {
	d := family(t)
	d.takes("coverage", 1, 0, coverageHeader, ben+",Silver,2026-04-01,,60000,45000")
	d.takes("charges", 1, 0, chargesHeader, "c1,"+ann+",medical,2026-02-11,Visit,1000,0,1000")
	d.takes("payments", 1, 0, paymentsHeader, "p1,"+cleo+",2026-03-02,online,500,,") // on Ben's account, before anything is billed
	night := func(on string) (plans, graces, dormant billing.Tally) {
		d.Helper()
		inTx(t, d.db, func(ctx context.Context, tx pgx.Tx, all billing.Range) (err error) {
			if plans, err = billing.LookAtPlans(ctx, tx, d.im.Policy, day(on), all); err != nil {
				return err
			}
			if graces, err = billing.EndGraces(ctx, tx, d.im.Policy, day(on), all); err != nil {
				return err
			}
			dormant, err = billing.FlagDormants(ctx, tx, d.im.Policy, day(on), all)
			return err
		})
		return plans, graces, dormant
	}
	d.cuts("2026-04-01")
	change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
		if _, err := a.MakePlan(d.im.Policy, day("2026-04-05"), billing.Medical, 1000, 3); err != nil {
			t.Fatal(err)
		}
	})
	if plans, graces, _ := night("2026-04-06"); plans.Skipped[billing.PlanOnCourse] != 1 || graces.Skipped[billing.PremiumPaid] != 1 {
		t.Errorf("on course: %+v, %+v", plans, graces)
	}
	for _, on := range []string{"2026-05-01", "2026-06-01", "2026-07-01"} {
		if _, graces, _ := night(on); on != "2026-07-01" && graces.Skipped[map[string]string{"2026-05-01": billing.GraceClaimsPends, "2026-06-01": billing.GraceClaimsPends}[on]] != 1 {
			t.Errorf("%s: %+v", on, graces)
		}
		d.cuts(on)
	}
	d.wants(`select end_on || ' ' || lapsed_on || ' ' || charged_to - 24312 from coverage`, "2026-04-30 2026-07-01 5")
	d.wants(`select state || ' ' || billed || ' ' || ended_on from plan`, "broken 2 2026-07-01")
	d.wants(`select string_agg(origin || ' ' || state || ' ' || cents, ', ' order by no) from item where account_id = 1`, "charge billed 0, charge billed 334, installment billed 333, installment billed 333")
	before := d.snapshot()
	plans, graces, _ := night("2026-07-01")
	if d.snapshot() != before || plans.Done+graces.Done != 0 {
		t.Errorf("a second run changed something: %+v, %+v", plans, graces)
	}
	change(t, d.db, 2, billing.Whole, func(a *billing.Account) {
		r := a.Receive(day("2026-07-02"), billing.Receipt{Channel: "online", Cents: 20000, ReceivedOn: day("2026-07-02"), PostsOn: day("2026-07-02")})
		a.Post(d.im.Policy, r, day("2026-07-02"))
	})
	if _, _, dormant := night("2029-07-02"); dormant.Done != 1 || dormant.Cents != 5500 {
		t.Errorf("%+v", dormant)
	}
	if _, _, dormant := night("2029-07-03"); dormant.Selected != 0 {
		t.Errorf("flagged twice: %+v", dormant)
	}
	d.wants(`select string_agg(account_id || ' ' || kind || ' ' || queued_on || ' ' || cents, ', ') from letter`, "2 dormant_credit 2029-07-02 5500")
	change(t, d.db, 2, billing.Whole, func(a *billing.Account) {
		if err := a.Remit(d.im.Policy, day("2029-10-30"), 5500); err != nil {
			t.Error(err)
		}
	})
	d.invariants()
	d.proven("plans_add_up", "one_premium_per_month", "remittances_were_dormant", "items_agree_with_ledger", "items_agree_with_allocations", "receipts_agree_with_allocations", "statements_chain", "statement_balance", "receipts_have_their_entry")
}

// What an adjustment took of a plan whole goes with the last installment: it is
// deferred no more, in the books as in memory.
func TestPlanAdjustedInPartIsBilledWhole(t *testing.T) {
	d := family(t)
	d.takes("charges", 2, 0, chargesHeader, "c1,"+ann+",medical,2026-02-11,Visit,1000,0,1000", "c2,"+ann+",medical,2026-02-12,Visit,500,0,500")
	d.cuts("2026-04-01")
	change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
		if _, err := a.MakePlan(d.im.Policy, day("2026-04-05"), billing.Medical, 1500, 1); err != nil {
			t.Fatal(err)
		}
		if err := a.Adjust(d.im.Policy, day("2026-04-06"), billing.Medical, -500, 2, billing.Detail{}); err != nil {
			t.Fatal(err)
		}
	})
	d.cuts("2026-05-01")
	d.invariants()
	d.proven("plans_add_up")
	d.wants("select count(*) from item where state = 'deferred'", "0")
	d.wants("select sum(cents) from item where origin = 'installment'", "1000")
}

// A plan of which nothing is left to bill, since an adjustment took it, is kept:
// the night finds it.
func TestPlanAdjustedAwayIsClosed(t *testing.T) {
	d := family(t)
	d.takes("charges", 1, 0, chargesHeader, "c1,"+ann+",medical,2026-02-11,Visit,1000,0,1000")
	d.cuts("2026-04-01")
	change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
		if _, err := a.MakePlan(d.im.Policy, day("2026-04-05"), billing.Medical, 1000, 2); err != nil {
			t.Fatal(err)
		}
	})
	d.cuts("2026-05-01")
	change(t, d.db, 1, billing.Whole, func(a *billing.Account) {
		if err := a.Adjust(d.im.Policy, day("2026-05-02"), billing.Medical, -1000, 1, billing.Detail{}); err != nil {
			t.Fatal(err)
		}
	})
	inTx(t, d.db, func(ctx context.Context, tx pgx.Tx, all billing.Range) error {
		tally, err := billing.LookAtPlans(ctx, tx, d.im.Policy, day("2026-05-03"), all)
		if tally.Done != 1 {
			t.Errorf("%+v", tally)
		}
		return err
	})
}
