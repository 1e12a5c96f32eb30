package billing_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// life is one account lived twice: by the product and by the model. told is
// its story so far, to be read when the two disagree.
type life struct {
	*rapid.T
	p       billing.Policy
	a       *billing.Account
	m       *model
	day     calendar.Date
	told    []string
	pays    bool // by autopay
	covered bool // by a plan, whose premiums the cuts add

	method   int64         // how it pays, in the database
	trace    int64         // the last debit's
	db       *pgxpool.Pool // nil: the product's account lives in memory only
	lastFees calendar.Date
}

// The product and the model agree on every figure of random lives: charges,
// payments of every channel in and out of time, returns, adjustments,
// disputes, assistance, holds, refunds, waivers, fees and statements on nights
// that are run, run late or missed.
func TestModelAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.a = billing.NewAccount(1, "1234567897", l.day)
		l.live(240)
	})
}

// live lives some months.
func (l *life) live(most int) {
	if credit := l.cents("credit", 0, 0, 0, 0, 5000); credit > 0 {
		l.open(credit)
	}
	l.act("charge")
	for end := l.day + calendar.Date(rapid.IntRange(90, most).Draw(l.T, "days")); l.day < end; {
		l.nextDay()
		l.liveDay()
	}
}

func (l *life) open(credit ledger.Cents) {
	l.tell("opening credit %d", credit)
	l.must(l.change(billing.Whole, func(a *billing.Account) error {
		a.Open(&l.p, l.day, credit, nil, 0)
		return nil
	}))
	r := l.m.receive(paid{no: l.a.Receipts[0].No, cents: credit, received: l.day, arrived: l.day})
	r.posted = l.day
	l.m.previous = -credit
}

// The same with autopay: debits built in time, late or never, moved by Reg E,
// returned and tried again.
func TestModelAgreesOnDebits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.a = billing.NewAccount(1, "1234567897", l.day)
		l.pays = true
		l.live(240)
	})
}

// The same with coverage: premiums by month and by day, charged and taken back as
// its terms change, tax credits, grace that is cured or ends it.
func TestModelAgreesOnCoverage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		l.a = billing.NewAccount(1, "1234567897", l.day)
		l.covered = true
		l.live(240)
	})
}

// The same through the database: every act loads as much of the account as the
// product's callers do, the nights are the real ones, and what was saved comes
// back.
func TestModelAgreesOnBooks(t *testing.T) {
	db := postgrestest.New(t)
	serial := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		if rapid.IntRange(0, 127).Draw(rt, "turn") < 126 { // a life in the database takes a second: few of them
			return
		}
		serial++
		l := newLife(rt)
		l.db = db
		l.covered = rapid.Bool().Draw(rt, "covered")
		l.pays = !l.covered && rapid.Bool().Draw(rt, "pays")
		if err := l.enroll(string(billing.NewMRN(serial))); err != nil {
			rt.Fatal(err)
		}
		l.live(240)
		l.verify()
	})
}

// verify asks the books for what must always hold.
func (l *life) verify() {
	for _, inv := range slices.Concat(ledger.Invariants, billing.Invariants) {
		if inv.Name == "statement_sealed" || inv.Name == "no_debit_posted_unreleased" {
			continue // other rooms seal and release, not this test
		}
		var broken int
		l.must(l.db.QueryRow(context.Background(), "select count(*) from ("+inv.SQL+") x").Scan(&broken))
		if broken > 0 {
			l.disagree(inv.Name, inv.Says, broken)
		}
	}
}

func newLife(t *rapid.T) *life {
	l := &life{T: t, p: somePolicy(t)}
	l.day = calendar.MustParse("2026-01-01") + calendar.Date(rapid.IntRange(0, 364).Draw(t, "first day"))
	l.m = &model{p: &l.p}
	if base, changes := l.p, someChanges(t, l.p.Statement.CutDay); rapid.Bool().Draw(t, "the policy changes") {
		l.m.p, l.m.from = &base, l.day+calendar.Date(rapid.IntRange(10, 180).Draw(t, "from day"))
		overrides := overridesOf(t, base)
		changed := parsePolicy(t, merged(overrides, changes))
		l.m.later = &changed
		changes["from"] = l.m.from.String()
		overrides["policies"] = []any{changes}
		l.p = parsePolicy(t, overrides)
	}
	return l
}

// someChanges are what a policy may change with a day.
func someChanges(t *rapid.T, cut int) map[string]any {
	all := map[string]any{
		"statement":                  map[string]any{"due_day": rapid.SampledFrom([]int{25, 31, 29}).Filter(func(d int) bool { return d > cut }).Draw(t, "due day then")},
		"late_fee":                   map[string]any{"kind": "flat", "cents": rapid.SampledFrom([]int{1500, 0}).Draw(t, "fee then"), "grace_days": rapid.SampledFrom([]int{0, 5, 20}).Draw(t, "grace then"), "minimum_base_cents": rapid.SampledFrom([]int{0, 2500, 50000}).Draw(t, "minimum then")},
		"allocation":                 map[string]any{"order": rapid.SampledFrom([][]string{{"medical", "premium", "fee"}, {"premium", "medical", "fee"}, {"fee", "premium", "medical"}}).Draw(t, "order then")},
		"plan":                       map[string]any{"broken_after_missed": rapid.IntRange(1, 3).Draw(t, "missed then")},
		"returned_payment_fee_cents": rapid.SampledFrom([]int{0, 3000}).Draw(t, "returned fee then"),
	}
	some := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if rapid.Bool().Draw(t, key+" changes") {
			some[key] = all[key]
		}
	}
	if len(some) == 0 {
		some["plan"] = all["plan"]
	}
	return some
}

// overridesOf gives back a policy's sections that lives are drawn with.
func overridesOf(t *rapid.T, p billing.Policy) (out map[string]any) {
	b, err := json.Marshal(map[string]any{"statement": p.Statement, "late_fee": p.LateFee, "allocation": p.Allocation, "plan": p.Plan, "grace": p.Grace})
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// merged lays changes over overrides, key by key.
func merged(overrides, changes map[string]any) map[string]any {
	out := maps.Clone(overrides)
	for key, change := range changes {
		under, section := out[key].(map[string]any)
		over, also := change.(map[string]any)
		if section && also {
			change = merged(under, over)
		}
		out[key] = change
	}
	return out
}

func somePolicy(t *rapid.T) billing.Policy {
	overrides := map[string]any{}
	cut := rapid.SampledFrom([]int{1, 1, 1, 5, 20, 28}).Draw(t, "cut day")
	overrides["statement"] = map[string]any{"cut_day": cut, "due_day": rapid.SampledFrom([]int{25, 25, 31, cut + 1, cut + 10}).Filter(func(d int) bool { return d > cut && d <= 31 }).Draw(t, "due day")}
	fee := map[string]any{"grace_days": rapid.SampledFrom([]int{5, 0, 10, 40}).Draw(t, "grace"), "minimum_base_cents": rapid.SampledFrom([]int{2500, 0, 1}).Draw(t, "minimum")}
	if rapid.Bool().Draw(t, "percent fee") {
		maps.Copy(fee, map[string]any{"kind": "percent", "percent": "1.5", "min_cents": rapid.SampledFrom([]int{0, 300}).Draw(t, "floor"), "max_cents": 900})
	}
	overrides["late_fee"] = fee
	overrides["grace"] = map[string]any{"aptc_months": rapid.SampledFrom([]int{3, 3, 2, 1}).Draw(t, "grace months"), "late_fee_on_premium": rapid.IntRange(0, 4).Draw(t, "fee on premium") == 4}
	overrides["plan"] = map[string]any{"broken_after_missed": rapid.SampledFrom([]int{2, 2, 1, 3}).Draw(t, "missed")}
	overrides["allocation"] = map[string]any{"order": rapid.SampledFrom([][]string{{"premium", "medical", "fee"}, {"premium", "medical", "fee"}, {"medical", "premium", "fee"}, {"fee", "medical", "premium"}}).Draw(t, "order")}
	return parsePolicy(t, overrides)
}

func parsePolicy(t *rapid.T, overrides map[string]any) billing.Policy {
	b, err := json.Marshal(overrides)
	if err != nil {
		t.Fatal(err)
	}
	p, err := billing.ParsePolicy(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (l *life) tell(format string, args ...any) {
	l.told = append(l.told, l.day.String()+" "+fmt.Sprintf(format, args...))
}

func (l *life) disagree(what string, want, got any) {
	l.Helper()
	b, _ := json.Marshal(map[string]any{"statement": l.p.Statement, "late_fee": l.p.LateFee, "order": l.p.Allocation.Order, "from": l.m.from, "then": l.m.later})
	l.Fatalf("%s: the model says %v, the product %v\npolicy %s\n%s\n%s", what, want, got, b, strings.Join(l.told, "\n"), l.m)
}

func (l *life) cents(label string, from ...ledger.Cents) ledger.Cents {
	return rapid.SampledFrom(from).Draw(l.T, label)
}

// amount is often one that something else has, or a cent beside it.
func (l *life) amount(label string) ledger.Cents {
	around := []ledger.Cents{1, l.m.due(), l.m.due(), 2499, 2500, 2501, 10000, 45000, 57500, 100000, l.m.ledger(), l.m.openIn(billing.Billed, billing.Premium), l.m.openIn(billing.Billed, billing.Medical), l.m.due() + 1000, l.m.due() - 2499, l.m.due() - 2500}
	return max(1, l.cents(label, around...))
}

// nextDay goes on by some days, but stops at every day that matters.
func (l *life) nextDay() {
	to := l.day + calendar.Date(rapid.SampledFrom([]int{1, 3, 6, 12}).Draw(l.T, "step"))
	for l.day++; l.day < to; l.day++ {
		if _, _, d := l.day.Date(); d == l.p.Statement.CutDay {
			return
		}
		for _, b := range l.m.bills {
			if l.pays && l.day == l.m.buildDay(b.debitOn) {
				return
			}
			if l.day == b.deadline || l.day == b.deadline+1 || l.day == b.dueOn {
				return
			}
		}
	}
}

func (l *life) odds(label string, in100 int) bool {
	return rapid.IntRange(0, 99).Draw(l.T, label) >= 100-in100
}

// debits is autopay for one day: enrolments, returns, and the build.
func (l *life) debits() {
	if on := l.m.ach.standing == billing.AutopayOn; !on && l.odds("enrol", 10) || on && l.odds("cancel", 1) {
		l.tell("autopay on: %v", !on)
		l.m.ach.standing = billing.AutopayOff
		if !on {
			l.m.ach.standing, l.m.ach.since = billing.AutopayOn, l.day
		}
		l.must(l.change(billing.Whole, func(a *billing.Account) error {
			a.SetAutopay(&l.p, !on, l.day)
			return nil
		}))
	}
	d := some(l, "debit", l.m.ach.debits, func(d *modelDebit) bool {
		return d.money.returned.IsZero() && !d.money.posted.IsZero() && l.day-d.money.posted < 60
	})
	if d != nil && l.odds("debit returned", 12) {
		code := rapid.SampledFrom([]string{"R01", "R01", "R09", "R02", "R10", "R23"}).Draw(l.T, "code")
		l.tell("debit %d of %s returned %s", d.money.no, d.effective, code)
		l.m.returnDebit(d, l.day, code)
		l.must(l.change(billing.Whole, func(a *billing.Account) error { return a.ReturnDebit(&l.p, a.DebitOf(d.money.no), l.day, code) }))
		l.agree()
	}
}

// build runs the autopay job, twice.
func (l *life) build() {
	if !l.odds("autopay", 85) {
		return
	}
	before := len(l.m.ach.debits)
	l.m.build(l.day)
	built := l.buildDebits()
	l.same("debits built", ledger.Cents(len(l.m.ach.debits)-before), ledger.Cents(len(built)))
	for n, d := range l.m.ach.debits[before:] {
		l.tell("debit %d of %d effective %s", built[n].Receipt, built[n].Cents, built[n].EffectiveOn)
		l.same("debit", d.money.cents, built[n].Cents)
		l.same("debit's effective date", ledger.Cents(d.effective), ledger.Cents(built[n].EffectiveOn))
		l.same("debit's received date", ledger.Cents(d.money.received), ledger.Cents(l.a.Receipt(built[n].Receipt).ReceivedOn))
		d.money.no = built[n].Receipt
	}
	l.same("debits built again", 0, ledger.Cents(len(l.buildDebits())))
	l.agree()
}

// buildDebits has the product build the debits of the day, as package ach does
// with its own numbers.
func (l *life) buildDebits() (built []*billing.Debit) {
	l.must(l.change(billing.Whole, func(a *billing.Account) error {
		built, _ = a.BuildDebits(&l.p, l.day)
		for _, d := range built {
			l.trace++
			d.Trace, d.SEC, d.MethodID = l.trace, "WEB", l.method
		}
		return nil
	}))
	return built
}

// liveDay is one day in the order of section 1, with acts of people before it
// and now and then after.
func (l *life) liveDay() {
	for range rapid.SampledFrom([]int{0, 0, 0, 0, 1, 1, 2}).Draw(l.T, "feeds") {
		l.act(rapid.SampledFrom([]string{"charge", "charge", "pay", "pay", "check", "check", "guest"}).Draw(l.T, "feed"))
	}
	l.run("post", 85)
	acts := []string{"return", "adjust", "lower", "raise", "dispute", "dispute", "settle", "settle", "assist", "refund", "waive", "hold", "plan", "plan", "cancel"}
	later := []string{"charge", "pay", "check", "return", "dispute", "settle", "lower", "plan"}
	if l.covered {
		acts, later = append(acts, "cover", "cover", "cover", "end"), append(later, "cover", "end")
	}
	if l.pays { // what was due on a missed build day is told by the items as they stand now
		acts, later = []string{"return", "refund", "raise", "hold"}, []string{"charge", "pay", "check", "return"}
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(l.T, "acts") {
		l.act(rapid.SampledFrom(acts).Draw(l.T, "act"))
	}
	if l.pays {
		l.debits()
	}
	l.run("late-fees", 75)
	l.run("plans", 75)
	if l.covered {
		l.run("grace", 75)
	}
	_, _, d := l.day.Date()
	if d == l.p.Statement.CutDay {
		l.run("statements", 85)
	} else {
		l.run("statements", 8)
	}
	if l.pays {
		l.build()
	}
	if l.odds("later that day", 8) {
		l.act(rapid.SampledFrom(later).Draw(l.T, "late act"))
	}
	l.m.endDay(l.day)
}

// run runs a job, and once more: the second time nothing may change.
func (l *life) run(job string, in100 int) {
	if !l.odds(job, in100) {
		return
	}
	_, entries := l.booked()
	before := entries + len(l.a.Bills)
	switch job {
	case "post":
		l.m.postDue(l.day)
	case "late-fees":
		l.m.lateFees(l.day)
	case "plans":
		l.m.lookAtPlans(l.day)
	case "grace":
		l.m.endGrace(l.day)
	case "statements":
		l.m.cut(l.day)
	}
	l.product(job)
	_, entries = l.booked()
	if entries+len(l.a.Bills) != before {
		l.tell("run %s", job)
	}
	l.agree()
	l.product(job)
	if _, again := l.booked(); again != entries {
		l.disagree(job+" run again: journal entries", entries, again)
	}
	l.agree()
}

func (l *life) product(job string) {
	if l.db == nil {
		switch job {
		case "post":
			l.a.PostDue(&l.p, l.day)
		case "late-fees":
			l.a.AssessLate(&l.p, l.day)
		case "plans":
			l.a.LookAtPlans(&l.p, l.day)
		case "grace":
			l.a.ReviveCoverage(&l.p, l.day)
			l.a.EndGrace(&l.p, l.day)
		case "statements":
			l.a.Cut(&l.p, l.day)
		}
		return
	}
	in := billing.Range{From: l.a.ID, To: l.a.ID + 1}
	l.must(pgx.BeginFunc(context.Background(), l.db, func(tx pgx.Tx) (err error) {
		switch job {
		case "post":
			_, err = billing.PostDue(context.Background(), tx, &l.p, l.day, in)
		case "late-fees":
			_, err = billing.AssessLateFees(context.Background(), tx, &l.p, l.day, l.lastFees, in)
			l.lastFees = l.day
		case "plans":
			_, err = billing.LookAtPlans(context.Background(), tx, &l.p, l.day, in)
		case "grace":
			_, err = billing.EndGraces(context.Background(), tx, &l.p, l.day, in)
		case "statements":
			_, _, err = billing.CutStatements(context.Background(), tx, &l.p, l.day, in)
		}
		return err
	}))
	l.reload()
}

func (l *life) must(err error) {
	if err != nil {
		l.Helper()
		l.disagree("a job", "it can be done", err)
	}
}

// change does something to the product's account, which is loaded as far as
// need says and saved, if it is not in memory.
func (l *life) change(need billing.Need, do func(a *billing.Account) error) error {
	if l.db == nil {
		return do(l.a)
	}
	err := pgx.BeginFunc(context.Background(), l.db, func(tx pgx.Tx) error {
		b, err := billing.Load(context.Background(), tx, need, l.a.ID)
		if err != nil {
			return err
		}
		if err := do(b.Account(l.a.ID)); err != nil {
			return err
		}
		return b.Save(context.Background())
	})
	l.reload()
	return err
}

func (l *life) reload() {
	l.must(pgx.BeginFunc(context.Background(), l.db, func(tx pgx.Tx) error {
		b, err := billing.Load(context.Background(), tx, billing.Whole, l.a.ID)
		if err == nil {
			l.a = b.Account(l.a.ID)
		}
		return err
	}))
}

func (l *life) enroll(mrn string) error {
	var id int64
	err := l.db.QueryRow(context.Background(), `with a as (insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id)
		insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		select $1, id, 'Ann', 'Example', '1 Main St', '', 'Oakland', 'CA', '94601', '', '', 'en', 'paper' from a returning account_id`, mrn).Scan(&id)
	if err != nil {
		return err
	}
	l.a, l.trace = billing.NewAccount(id, mrn, l.day), id*1000
	return l.db.QueryRow(context.Background(), `insert into autopay_method (account_id, method, routing, authorized_on, authorized_by, individual) select id, 'ach', '121000358', '2025-01-01', 'web', mrn from account where id = $1 returning id`, id).Scan(&l.method)
}

// booked is what the journal says the member owes, and the number of entries.
func (l *life) booked() (sum ledger.Cents, entries int) {
	if l.db == nil {
		for _, e := range l.a.Entries() {
			sum += e.Member()
		}
		return sum, len(l.a.Entries())
	}
	l.must(l.db.QueryRow(context.Background(), `select coalesce(sum(case when debit = 'receivable' then cents when credit = 'receivable' then -cents else 0 end), 0), count(*) from journal where account_id = $1`, l.a.ID).Scan(&sum, &entries))
	return sum, entries
}

// agree compares all that the two say, and holds the product against itself.
func (l *life) agree() {
	f := l.a.Figures()
	l.same("ledger", l.m.ledger(), f.Ledger)
	l.same("pending", l.m.pendingMoney(), f.Pending)
	l.same("due", l.m.due(), f.Due)
	for _, k := range []billing.Kind{billing.Premium, billing.Medical, billing.Fee} {
		l.same("open "+string(k), l.m.openIn(billing.Billed, k), f.Open[k])
	}
	l.same("unbilled", l.m.openIn(billing.Unbilled, ""), f.Unbilled)
	l.same("disputed", l.m.openIn(billing.Disputed, ""), f.Disputed)
	l.same("deferred", l.m.openIn(billing.Deferred, ""), f.Deferred)
	l.agreeOnPlans()
	if l.covered {
		l.agreeOnCoverage()
	}
	l.same("guest credit", l.m.credits(true), f.Guest)
	l.same("credit", l.m.credits(true)+l.m.credits(false), f.Unapplied)
	for _, p := range l.m.paid {
		if r := l.a.Receipt(p.no); r.State == billing.Posted {
			l.same(fmt.Sprintf("credit left of payment %d", p.no), l.m.credit(p), r.Unapplied)
		}
	}
	booked, _ := l.booked()
	if f.Ledger != booked {
		l.disagree("ledger as booked", f.Ledger, booked)
	}
	if l.pays && l.m.ach.standing != "" && l.m.ach.standing != l.a.Autopay {
		l.disagree("autopay", l.m.ach.standing, l.a.Autopay)
	}
	l.same("late fees standing", l.m.standing(billing.FromLateFee), l.fees(billing.FromLateFee))
	l.same("returned-payment fees standing", l.m.standing(billing.FromReturnedFee), l.fees(billing.FromReturnedFee))
	l.agreeOnBills()
}

func (l *life) fees(origin string) (sum ledger.Cents) {
	for _, i := range l.a.Items {
		if i.Origin == origin {
			sum += i.Cents
		}
	}
	return sum
}

func (l *life) agreeOnBills() {
	l.same("bills", ledger.Cents(len(l.m.bills)), ledger.Cents(len(l.a.Bills)))
	for n, want := range l.m.bills {
		got := l.a.Bills[n]
		c := want.cycle.String() + " "
		l.same(c+"due date", ledger.Cents(want.dueOn), ledger.Cents(got.DueOn))
		l.same(c+"previous", want.previous, got.Previous)
		l.same(c+"payments", want.payments, got.Payments)
		l.same(c+"adjustments", want.adjustments, got.Adjustments)
		l.same(c+"charges", want.charges, got.Charges)
		l.same(c+"fees", want.fees, got.Fees)
		l.same(c+"balance", want.sum, got.Balance)
		var aged ledger.Cents
		for _, x := range got.Aging {
			aged += x
		}
		l.same(c+"aging sums to amount due", got.AmountDue, aged)
		l.same(c+"parts add up", got.Balance, got.Previous+got.Payments+got.Adjustments+got.Charges+got.Fees)
		if n+1 == len(l.m.bills) || l.m.bills[n+1].madeOn != want.madeOn {
			l.same(c+"amount due", want.amountDue, got.AmountDue)
			l.same(c+"cycle", ledger.Cents(want.cycle), ledger.Cents(got.Cycle))
			for b := range want.aging {
				l.same(fmt.Sprintf("%saging bucket %d", c, b), want.aging[b], got.Aging[b])
			}
		}
	}
	for n := range l.a.Bills {
		standing := slices.DeleteFunc(slices.Clone(l.a.Items), func(i *billing.Item) bool {
			return i.Origin != billing.FromLateFee || i.ForCycle != l.a.Bills[n].Cycle || i.Ended != ""
		})
		if len(standing) > 1 {
			l.disagree("late fees standing on a bill", 1, len(standing))
		}
	}
}

func (l *life) same(what string, want, got ledger.Cents) {
	if want != got {
		l.Helper()
		l.disagree(what, int64(want), int64(got))
	}
}
