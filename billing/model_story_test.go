package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// The smallest stories on which the product and the model once disagreed.

// pay takes money in that posts the same day.
func pay(a *billing.Account, p *billing.Policy, on string, cents ledger.Cents, guest bool) {
	r := a.Receive(day(on), billing.Receipt{Channel: "online", Cents: cents, ReceivedOn: day(on), ArrivedOn: day(on), PostsOn: day(on), Guest: guest})
	a.Post(p, r, day(on))
}

func lateFees(a *billing.Account) (sum ledger.Cents) {
	for _, i := range a.Items {
		if i.Origin == billing.FromLateFee {
			sum += i.Cents
		}
	}
	return sum
}

func wantCents(t *testing.T, what string, got, want ledger.Cents) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %d, want %d", what, got, want)
	}
}

// "An item lowered below what was paid on it gives back the newest payment
// first", and newest is by arrival: the check posts last, the guest came last.
func TestStoryNewestPaymentIsTheOneThatArrivedLast(t *testing.T) {
	p := billing.DefaultPolicy()
	a := billing.NewAccount(1, "1234567897", day("2026-03-01"))
	i := a.Charge(&p, day("2026-03-01"), billing.Premium, 45000, billing.Detail{})
	a.Cut(&p, day("2026-03-01"))
	a.Receive(day("2026-03-10"), billing.Receipt{Channel: "lockbox", Cents: 20000, ReceivedOn: day("2026-03-10"), ArrivedOn: day("2026-03-10"), PostsOn: day("2026-03-17")})
	pay(a, &p, "2026-03-12", 25000, true)
	a.PostDue(&p, day("2026-03-17"))
	if err := a.Adjust(&p, day("2026-03-20"), billing.Premium, -5000, i.No, billing.Detail{}); err != nil {
		t.Fatal(err)
	}
	wantCents(t, "the guest's credit", a.Figures().Guest, 5000)
	wantCents(t, "all credit", a.Figures().Unapplied, 5000)
}

// "An adjustment without a charge lowers the oldest billed open item ..., then
// unbilled ones; what is left lowers the newest paid one": never what is in
// dispute, as long as there is anything else.
func TestStoryAdjustmentSparesTheDisputed(t *testing.T) {
	p := billing.DefaultPolicy()
	a := billing.NewAccount(1, "1234567897", day("2026-03-01"))
	disputed := a.Charge(&p, day("2026-03-01"), billing.Medical, 20000, billing.Detail{})
	a.Charge(&p, day("2026-03-01"), billing.Medical, 10000, billing.Detail{})
	a.Cut(&p, day("2026-03-01"))
	if _, err := a.Dispute(&p, day("2026-03-05"), "", disputed.No); err != nil {
		t.Fatal(err)
	}
	pay(a, &p, "2026-03-10", 10000, false)
	if err := a.Adjust(&p, day("2026-03-12"), billing.Medical, -4000, 0, billing.Detail{}); err != nil {
		t.Fatal(err)
	}
	wantCents(t, "disputed", a.Figures().Disputed, 20000)
	wantCents(t, "credit", a.Figures().Unapplied, 4000)
}

// "Cycles that were missed are cut in order", in the replay too: the credit
// pays February's medical bill before March's premium is there to take it.
func TestStoryMissedCyclesReplayInOrder(t *testing.T) {
	p := billing.DefaultPolicy()
	a := billing.NewAccount(1, "1234567897", day("2026-01-20"))
	a.Charge(&p, day("2026-01-20"), billing.Medical, 10000, billing.Detail{})
	pay(a, &p, "2026-01-20", 10000, false)
	a.Charge(&p, day("2026-02-10"), billing.Premium, 10000, billing.Detail{})
	a.Cut(&p, day("2026-03-01"))
	wantCents(t, "open premium", a.Figures().Open[billing.Premium], 10000)
	a.AssessLate(&p, day("2026-03-31"))
	wantCents(t, "late fees", lateFees(a), 1000)
}

// autopayer is enrolled since before its only charges, of 57500.
func autopayer(p *billing.Policy) *billing.Account {
	a := billing.NewAccount(1, "1234567897", day("2026-02-01"))
	a.SetAutopay(p, true, day("2026-02-01"))
	a.Charge(p, day("2026-03-01"), billing.Premium, 57500, billing.Detail{})
	return a
}

// "A build day that was missed: the next run builds the entry for the next
// banking day": a bill made after its build day has missed it.
func TestStoryCutAfterItsBuildDay(t *testing.T) {
	p := billing.DefaultPolicy()
	p.LateFee.GraceDays = 0
	a := autopayer(&p)
	a.Cut(&p, day("2026-03-25"))
	built, reason := a.BuildDebits(&p, day("2026-03-25"))
	if len(built) != 1 || built[0].Cents != 57500 || built[0].EffectiveOn != day("2026-03-26") {
		t.Fatalf("built %v (%s), want one debit of 57500 for 2026-03-26", built, reason)
	}
	a.PostDue(&p, day("2026-03-26"))
	a.AssessLate(&p, day("2026-03-26"))
	wantCents(t, "late fees", lateFees(a), 0)
}

// "Never assessed: ... on a bill whose debit the biller itself moved ..., built
// yet or not": also if the member paid before the day it was moved to, and
// whether or not the autopay job looked on that day.
func TestStoryMovedDebitThatWasNotNeeded(t *testing.T) {
	for _, looked := range []bool{false, true} {
		p := billing.DefaultPolicy()
		p.LateFee.GraceDays = 0
		a := autopayer(&p)
		last := ledger.Cents(45000)
		a.Open(&p, day("2026-03-01"), 0, &last, 0)
		bills, _ := a.Cut(&p, day("2026-03-18"))
		if bills[0].DebitOn != day("2026-03-30") {
			t.Fatalf("the debit is on %s, want 2026-03-30", bills[0].DebitOn)
		}
		pay(a, &p, "2026-03-26", 57500, false)
		if looked {
			a.BuildDebits(&p, day("2026-03-27"))
		}
		a.AssessLate(&p, day("2026-03-28"))
		wantCents(t, "late fees", lateFees(a), 0)
	}
}

// A debit that the biller missed stays missed when a return ends autopay: of
// the two bills only the one whose debit came back bears a fee.
func TestStoryMissedBeforeAutopayEnded(t *testing.T) {
	p := billing.DefaultPolicy()
	a := autopayer(&p)
	a.Cut(&p, day("2026-03-01"))
	built, _ := a.BuildDebits(&p, day("2026-03-24"))
	a.PostDue(&p, day("2026-03-25"))
	a.Charge(&p, day("2026-04-01"), billing.Premium, 45000, billing.Detail{})
	a.Cut(&p, day("2026-04-01"))
	if err := a.ReturnDebit(&p, built[0], day("2026-04-28"), "R02"); err != nil { // April 24 passed without a file
		t.Fatal(err)
	}
	a.AssessLate(&p, day("2026-05-03"))
	wantCents(t, "late fees", lateFees(a), 1000)
}

// "An installment comes after the other medical items of its statement": an
// adjustment without a charge lowers it last, too.
func TestStoryAdjustmentTakesTheInstallmentLast(t *testing.T) {
	p := billing.DefaultPolicy()
	a := billing.NewAccount(1, "1234567897", day("2026-01-20"))
	a.Charge(&p, day("2026-01-20"), billing.Medical, 40000, billing.Detail{})
	a.Cut(&p, day("2026-02-01"))
	if _, err := a.MakePlan(&p, day("2026-02-05"), billing.Medical, 40000, 4); err != nil {
		t.Fatal(err)
	}
	visit := a.Charge(&p, day("2026-02-20"), billing.Medical, 5000, billing.Detail{})
	a.Cut(&p, day("2026-03-01"))
	if err := a.Adjust(&p, day("2026-03-05"), billing.Medical, -3000, 0, billing.Detail{}); err != nil {
		t.Fatal(err)
	}
	wantCents(t, "the visit", visit.Open(), 2000)
	wantCents(t, "billed and open", a.Figures().Open[billing.Medical], 12000)
}

// "Cured only when no billed premium is open ..., up to the last day": where the
// due date lies past the last day, the last day cures nothing.
func TestStoryGraceShorterThanItsFirstMonth(t *testing.T) {
	p := billing.DefaultPolicy()
	p.Statement.CutDay, p.Statement.DueDay, p.Grace.APTCMonths = 28, 31, 1
	a := billing.NewAccount(1, "1234567897", day("2026-02-16"))
	if err := a.Enrol(&p, day("2026-02-16"), "1234567897", "plan", billing.Terms{StartOn: day("2026-02-01"), MonthlyCents: 45000, APTCCents: 20000}); err != nil {
		t.Fatal(err)
	}
	a.Cut(&p, day("2026-02-28")) // due on March 2
	if g := a.PremiumGrace(&p, day("2026-03-02")); g.Over || g.Month != 0 {
		t.Errorf("on the due date: %+v", g)
	}
	if g := a.PremiumGrace(&p, day("2026-03-03")); !g.Over {
		t.Errorf("the day after: %+v", g)
	}
}

// The end of a grace is undone only by money that we had not heard of: not by a
// plan or a dispute made since, beside money that was known.
func TestStoryCoverageComesBackForMoneyOnly(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := billing.DefaultPolicy()
		a := billing.NewAccount(1, "1234567897", day("2026-04-01"))
		if err := a.Enrol(&p, day("2026-04-01"), "1234567897", "plan", billing.Terms{StartOn: day("2026-04-01"), MonthlyCents: 45000, APTCCents: 30000}); err != nil {
			t.Fatal(err)
		}
		for _, on := range []string{"2026-04-01", "2026-05-01", "2026-06-01"} {
			a.Cut(&p, day(on))
		}
		a.Receive(day("2026-06-29"), billing.Receipt{Channel: "lockbox", Cents: 100, ReceivedOn: day("2026-06-29"), PostsOn: day("2026-07-06")})
		a.EndGrace(&p, day("2026-07-01"))
		if late {
			a.Receive(day("2026-07-02"), billing.Receipt{Channel: "lockbox", Cents: 44900, ReceivedOn: day("2026-06-30"), PostsOn: day("2026-07-07")})
		}
		a.PostDue(&p, day("2026-07-07"))
		if !late {
			if _, err := a.MakePlan(&p, day("2026-07-07"), billing.Premium, 14900, 2); err != nil {
				t.Fatal(err)
			}
		}
		want := ledger.Cents(0)
		if late {
			want = 45000 // May, June and July
		}
		wantCents(t, "charged again", a.ReviveCoverage(&p, day("2026-07-08")), want)
		if ended := a.CoverageEnd() != 0; ended == late {
			t.Errorf("coverage ends %s, late money %v", a.CoverageEnd(), late)
		}
	}
}
