package billing

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// told is an account with a charge of $125.00, billed and disputed, a guest's
// payment of $50.00, and a run for a date past.
func told(t *testing.T) (context.Context, *pgxpool.Pool, string) {
	ctx, db, p := context.Background(), postgrestest.New(t), DefaultPolicy()
	mrn := string(NewMRN(100000001))
	on := calendar.MustParse
	im := Import{Policy: &p, Day: on("2026-02-20"), Operator: "system"}
	feed := "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n" + mrn + "," + mrn + ",Ana,Silva,1 Main Street,Oakland,CA,94601,paper\n"
	if _, err := im.Members(ctx, db, strings.NewReader(feed)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		day string
		do  func(a *Account) error
	}{
		{"2026-02-20", func(a *Account) error {
			a.Charge(&p, on("2026-02-20"), Medical, 12500, Detail{ChargeID: "M-1", MRN: mrn, Description: "Office visit"})
			return nil
		}},
		{"2026-03-01", func(a *Account) error { a.Cut(&p, on("2026-03-01")); return nil }},
		{"2026-03-10", func(a *Account) error {
			a.Post(&p, a.Receive(on("2026-03-10"), Receipt{Channel: "guest", Guest: true, Payer: "Rui", Cents: 5000, ReceivedOn: on("2026-03-10"), PostsOn: on("2026-03-10")}), on("2026-03-10"))
			return nil
		}},
		{"2026-03-11", func(a *Account) error { _, err := a.Dispute(&p, on("2026-03-11"), "", 1); return err }},
		{"2026-03-05", func(a *Account) error { return a.Adjust(&p, on("2026-03-05"), Medical, -2500, 0, Detail{}) }},
		{"2026-03-12", func(a *Account) error { return a.Return(&p, a.Receipts[0], on("2026-03-12"), "NSF") }},
	} {
		if err := (Act{Day: on(step.day), Operator: "pat", Verb: "test"}).Do(ctx, db, mrn, step.do); err != nil {
			t.Fatal(err)
		}
	}
	return ctx, db, mrn
}

// Wherever the window begins, what was before it and the timeline add up to
// the ledger, though one entry bears an earlier date than the one before it: it
// counts on its own.
func TestShowAddsUp(t *testing.T) {
	ctx, db, mrn := told(t)
	for _, c := range []struct {
		since  string
		before ledger.Cents
		events int
	}{{"2026-01-01", 0, 4}, {"2026-03-05", 12500, 3}, {"2026-03-06", 10000, 2}, {"2026-03-11", 5000, 1}, {"2026-03-13", 10000, 0}} {
		s, err := Show(ctx, db, mrn, Window{From: calendar.MustParse(c.since), On: calendar.MustParse("2026-03-31")})
		if err != nil {
			t.Fatal(err)
		}
		sum := s.Before
		for _, e := range s.Timeline {
			sum += e.Cents
			if e.Balance != sum {
				t.Errorf("since %s: balance %s after %q, want %s", c.since, e.Balance, e.What, sum)
			}
		}
		if s.Before != c.before || len(s.Timeline) != c.events || sum != s.Ledger || s.Ledger != 10000 {
			t.Errorf("since %s: %s before, %d events, ledger %s, sum %s; want %s, %d, $100.00 twice", c.since, s.Before, len(s.Timeline), s.Ledger, sum, c.before, c.events)
		}
	}
}

func TestShowExplains(t *testing.T) {
	ctx, db, mrn := told(t)
	s, err := Show(ctx, db, mrn, Window{From: calendar.MustParse("2026-01-01"), On: calendar.MustParse("2026-03-31")})
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{
		"Medical: Office visit [M-1]",
		"Guest payment from Rui, received March 10, 2026",
		"Adjustment of medical: Office visit [M-1]",
		"Came back guest payment from Rui, received March 10, 2026 (NSF)",
	} {
		if got := s.Timeline[n].What; got != want {
			t.Errorf("entry %d is explained as %q, want %q", n+1, got, want)
		}
	}
	// The part in dispute is still the office visit.
	var disputed, billed ShownItem
	for _, i := range s.Open {
		if i.State == Disputed {
			disputed = i
		} else {
			billed = i
		}
	}
	if disputed.Open != 7500 || disputed.What != "Medical: Office visit [M-1]" || disputed.ChargeID != "M-1" || !disputed.BilledOn.IsZero() {
		t.Errorf("in dispute: %+v", disputed)
	}
	if billed.Open != 2500 || billed.AgeDays != 30 || billed.DueOn != calendar.MustParse("2026-03-25") {
		t.Errorf("billed and open: %+v", billed)
	}
	if _, err := Show(ctx, db, string(NewMRN(7)), Window{}); !errors.Is(err, ErrNoAccount) {
		t.Errorf("an unknown MRN: %v", err)
	}
}
