package rehearsal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/rehearsal"
)

// Whatever is told of an account as of a day is what was told on that day: of
// every account of a demo, on every date, to the last letter. Beside what a
// demo's members do by themselves, operators dispute, plan, hold, adjust,
// refund and match here, cuts come late, and names change.
func TestAsOfIsWhatWasToldThen(t *testing.T) {
	h := newHouse(t)
	desk := &busyDesk{T: t, dice: rand.New(rand.NewPCG(11, 7)), told: map[string]string{}, did: map[string]int{}}
	demo := rehearsal.Demo{Members: 90, Months: 4, Seed: 11, Night: desk.night}
	live(t, demo, h)
	desk.proves(h)
	desk.compare(h, "as of")
	// The first two months go into files, and all is told as before.
	for m := calendar.CycleOf(rehearsal.DemoStart); m < calendar.CycleOf(rehearsal.DemoStart)+2; m++ {
		if _, err := billing.ArchiveMonth(t.Context(), h.DB, h.Archive(), m, billing.Act{Day: rehearsal.DemoStart + 100, Operator: "olga", Verb: "journal archive"}); err != nil {
			t.Fatal(err)
		}
	}
	desk.compare(h, "with archived months, as of")
	desk.proves(h)
	for _, verb := range []string{"charge", "adjust", "raise", "assist", "dispute", "accept", "deny", "plan", "cancel", "hold", "release", "waive", "refund", "autopay", "return", "guest", "cover", "uncover", "rename", "match"} {
		if desk.did[verb] == 0 {
			t.Errorf("nobody did %q: %v", verb, desk.did)
		}
	}
	if len(desk.told) < 3000 {
		t.Errorf("only %d accounts and days were compared", len(desk.told))
	}
}

// busyDesk works on a demo's accounts before and after each night, and writes
// down how every account stands at the end of the day.
type busyDesk struct {
	*testing.T
	dice *rand.Rand
	told map[string]string // by day and MRN
	did  map[string]int
}

func (d *busyDesk) night(ctx context.Context, h jobs.House, day calendar.Date) error {
	// The feeds first: there are no accounts on the first morning.
	if _, err := (jobs.Runner{House: h}).Run(ctx, "feeds", day); err != nil {
		return err
	}
	rows, err := h.DB.Query(ctx, `select mrn from account where id > 0 order by id`)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	d.acts(ctx, h, day, accounts)
	_, _, of := day.Date()
	for _, j := range jobs.Jobs() {
		if j.Name == "statements" && (of == 1 && day > rehearsal.DemoStart || of == 2 && day < rehearsal.DemoStart+60) {
			continue // its cut is made up for
		}
		if _, err := (jobs.Runner{House: h}).Run(ctx, j.Name, day); err != nil {
			return err
		}
	}
	d.acts(ctx, h, day, accounts)
	for _, mrn := range accounts {
		d.told[day.String()+" "+mrn] = d.tell(ctx, h, mrn, day, false)
	}
	return nil
}

// compare holds what is told of every account as of every day against what was
// told on it.
func (d *busyDesk) compare(h jobs.House, when string) {
	d.Helper()
	for key, want := range d.told {
		day, mrn, _ := strings.Cut(key, " ")
		if got := d.tell(d.Context(), h, mrn, calendar.MustParse(day), true); want != got {
			d.Fatalf("account %s, %s %s, is not what it was then (-), but (+):\n%s", mrn, when, day, cmp.Diff(want, got))
		}
	}
}

func (d *busyDesk) proves(h jobs.House) {
	d.Helper()
	proofs, _, err := h.Verify(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	for _, p := range proofs {
		if !p.Holds && p.Name != "one_premium_per_month" { // coverage and the charge feed at odds, by the dice
			d.Errorf("%s: %v", p.Name, p.Examples)
		}
	}
}

// tell is all that is told of an account: a window as short as a day in one
// case, and longer than its story in another.
func (d *busyDesk) tell(ctx context.Context, h jobs.House, mrn string, day calendar.Date, past bool) string {
	d.Helper()
	shown, err := billing.Show(ctx, h.DB, mrn, billing.Window{From: day - day%50, On: day, Past: past, Archive: h.Archive()})
	if err != nil {
		d.Fatalf("account %s on %s: %v", mrn, day, err)
	}
	sum := shown.Before
	for _, e := range shown.Timeline {
		sum += e.Cents
	}
	if sum != shown.Ledger {
		d.Fatalf("account %s on %s: the timeline comes to %s, the ledger is %s", mrn, day, sum, shown.Ledger)
	}
	text, err := json.MarshalIndent(shown, "", " ")
	if err != nil {
		d.Fatal(err)
	}
	return string(text)
}

// acts does a few things to accounts that the dice choose. What can't be done
// to an account as it stands is refused, and changes nothing.
func (d *busyDesk) acts(ctx context.Context, h jobs.House, day calendar.Date, accounts []string) {
	d.Helper()
	for range len(accounts) / 8 {
		mrn := accounts[d.dice.IntN(len(accounts))]
		verb, do := d.choose(h.Policy, day)
		err := billing.Act{Day: day, Operator: "olga", Verb: verb, Reason: "test"}.Do(ctx, h.DB, mrn, func(a *billing.Account) error { return do(a) })
		if err == nil {
			d.did[verb]++
		}
	}
	if d.dice.IntN(9) == 0 {
		d.rename(ctx, h, day, accounts[d.dice.IntN(len(accounts))])
	}
	desk := h.Desk(day)
	desk.Operator = "olga"
	held, err := desk.Held(ctx)
	if err != nil {
		d.Fatal(err)
	}
	for _, w := range held {
		if w.State == "suspense" && day-w.Arrived > 10 && desk.Match(ctx, w.FileID, w.Item, accounts[d.dice.IntN(len(accounts))], "test") == nil {
			d.did["match"]++
		}
	}
}

// choose throws the dice for an act.
func (d *busyDesk) choose(p *billing.Policy, day calendar.Date) (verb string, do func(a *billing.Account) error) {
	kind := []billing.Kind{billing.Premium, billing.Medical}[d.dice.IntN(2)]
	cents := ledger.Cents(100 + d.dice.IntN(20000))
	some := func(_ ledger.Cents, err error) error { return err }
	acts := []struct {
		verb string
		do   func(a *billing.Account) error
	}{
		{"charge", func(a *billing.Account) error {
			a.Charge(p, day, kind, cents, billing.Detail{Description: "Late charge"})
			return nil
		}},
		{"adjust", func(a *billing.Account) error { return a.Adjust(p, day, kind, -cents, 0, billing.Detail{}) }},
		{"raise", func(a *billing.Account) error { return a.Adjust(p, day, kind, cents, 0, billing.Detail{}) }},
		{"assist", func(a *billing.Account) error {
			percent, err := ledger.ParsePercent("40")
			if err == nil && a.Assist(p, day, kind, percent) == 0 {
				err = billing.ErrRefused
			}
			return err
		}},
		{"dispute", func(a *billing.Account) error { return some(a.Dispute(p, day, kind, 0)) }},
		{"accept", func(a *billing.Account) error { return some(a.Settle(p, day, kind, 0, true)) }},
		{"deny", func(a *billing.Account) error { return some(a.Settle(p, day, kind, 0, false)) }},
		{"plan", func(a *billing.Account) error {
			_, err := a.MakePlan(p, day, kind, cents, 2+d.dice.IntN(3))
			return err
		}},
		{"cancel", func(a *billing.Account) error { return some(a.CancelPlan(day, kind)) }},
		{"hold", func(a *billing.Account) error { a.Place(day, "review", "olga", "", false); return nil }},
		{"release", func(a *billing.Account) error {
			if !a.Release(day, "review", "olga") {
				return billing.ErrRefused
			}
			return nil
		}},
		{"waive", func(a *billing.Account) error {
			return a.Waive(p, day, billing.FromLateFee, 1+ledger.Cents(d.dice.IntN(1000)))
		}},
		{"refund", func(a *billing.Account) error { return a.Refund(p, day, cents/10+1, d.dice.IntN(4) == 0) }},
		{"autopay", func(a *billing.Account) error { a.SetAutopay(p, a.Autopay != billing.AutopayOn, day); return nil }},
		{"guest", func(a *billing.Account) error {
			r := billing.Receipt{Channel: "guest", Guest: true, Payer: "Rui", Cents: cents, ReceivedOn: day - 3, PostsOn: day + calendar.Date(d.dice.IntN(3))}
			a.Receive(day, r)
			return nil
		}},
		{"return", func(a *billing.Account) error {
			for _, r := range a.Receipts {
				if (r.Channel == "guest" || r.Channel == "phone" || r.Channel == "online") && d.dice.IntN(2) == 0 {
					return a.Return(p, r, day, "NSF")
				}
			}
			return billing.ErrRefused
		}},
		{"cover", func(a *billing.Account) error {
			start := calendar.CycleOf(day).First() + calendar.Date(d.dice.IntN(60)-30)
			return a.Enrol(p, day, a.MRN, "SILVER", billing.Terms{StartOn: start, MonthlyCents: 30000 + cents})
		}},
		{"uncover", func(a *billing.Account) error {
			return a.EndCoverage(p, day, a.MRN, "SILVER", day-calendar.Date(d.dice.IntN(40)))
		}},
	}
	chosen := acts[d.dice.IntN(len(acts))]
	return chosen.verb, chosen.do
}

// rename gives a member another last name, by the feed.
func (d *busyDesk) rename(ctx context.Context, h jobs.House, day calendar.Date, mrn string) {
	d.Helper()
	var row string
	if err := h.DB.QueryRow(ctx, `select concat_ws(',', mrn, $2::text, first_name, $3::text, address1, city, state, zip, delivery) from member where mrn = $1 and deceased_on is null and email not like '%,%'`,
		mrn, mrn, fmt.Sprint("Renamed", int(day))).Scan(&row); err != nil {
		return // the dead keep their names
	}
	got, err := billing.Import{Policy: h.Policy, Day: day, Operator: "olga"}.Members(ctx, h.DB, strings.NewReader("mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n"+row+"\n"))
	if err == nil && got.Accepted == 1 {
		d.did["rename"]++
	}
}
