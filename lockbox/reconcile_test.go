package lockbox_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// Whatever became of a check, its money is counted once, on its own deposit
// date and in its own box: parts by themselves, and what was given, taken back
// and given again where it is now.
func TestReconcileByWhatBecameOfIt(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	bob, _ := m.member(2, 30000)
	monday := []lockbox.Item{
		check("1", 1, "2026-03-09", ann),   // posts in the ingestion
		check("2", 20, "2026-03-16", ann),  // pending
		check("3", 300, "2026-03-16", ann), // the bank returns it
		check("4", 4000, "2026-03-16", ""), // suspense
		check("5", 50000, "", bob),         // held
		check("6", 600000, "2026-03-16", ""),
		check("7", 7000000, "2026-03-16", ""),
		check("8", 80000000, "2026-03-16", ""),
	}
	other := batch("001", check("9", 5, "2026-03-16", bob))
	other.Lockbox = "0000048"
	tuesday := batch("001", check("10", 7, "2026-03-17", bob), check("11", 9, "2026-03-17", ""))
	tuesday.DepositDate = calendar.MustParse("2026-03-17")
	refused := batch("002", check("12", 11, "2026-03-17", bob))
	refused.DepositDate, refused.Said = tuesday.DepositDate, &lockbox.Total{Items: 1, Cents: 12}
	got, err := m.desk("2026-03-17").Ingest(t.Context(), "F1", bytes.NewReader(m.file("0600", batch("001", monday...), other, tuesday, refused)), m.profile)
	m.must(err)
	m.addsUp(got)

	d := m.desk("2026-03-17")
	m.must(d.Return(t.Context(), got.FileID, 3, lockbox.NSF, "the bank's advice"))
	// Check 6 goes to Ann, comes back, and is divided.
	m.must(d.Match(t.Context(), got.FileID, 6, ann, "her name"))
	m.must(d.Undo(t.Context(), got.FileID, 6, "her mother's"))
	m.must(d.Split(t.Context(), got.FileID, 6, []lockbox.Part{{MRN: ann, Cents: 100000}, {MRN: bob, Cents: 500000}}, "both names"))
	m.must(d.Void(t.Context(), got.FileID, 7, "not ours"))
	m.must(d.Return(t.Context(), got.FileID, 8, lockbox.Payer, "for another company"))
	m.proven()

	found, err := d.Reconcile(t.Context(), calendar.MustParse("2026-03-16"), calendar.MustParse("2026-03-17"))
	m.must(err)
	want := []lockbox.DepositDay{
		{Lockbox: "0000047", Items: 8, Posted: 1, Pending: 600020, Returned: 300, Suspense: 4000, Held: 50000, Void: 87000000},
		{Lockbox: "0000048", Items: 1, Pending: 5},
		{Lockbox: "0000047", Items: 3, Pending: 7, Suspense: 9, Refused: 11},
	}
	for n := range want {
		w := &want[n]
		w.Deposit = calendar.MustParse([]string{"2026-03-16", "2026-03-16", "2026-03-17"}[n])
		w.Cents = w.Posted + w.Pending + w.Returned + w.Suspense + w.Held + w.Refused + w.Void
		w.Said = w.Cents
	}
	want[2].Said++
	if !slices.Equal(found.Days, want) {
		t.Errorf("found\n%+v, want\n%+v", found.Days, want)
	}

	// One day alone is told as it is among others.
	if found, err = d.Reconcile(t.Context(), calendar.MustParse("2026-03-17"), calendar.MustParse("2026-03-17")); err != nil || !slices.Equal(found.Days, want[2:]) {
		t.Errorf("found %+v %v, want %+v", found.Days, err, want[2:])
	}
}

// A check without its receipt, or a receipt beyond its check, is a difference.
func TestReconcileShowsADifference(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1", 100, "2026-03-16", ann), check("2", 30, "2026-03-16", ann))))
	for _, wrong := range []struct {
		sql  string
		want ledger.Cents
	}{
		{`update receipt set cents = cents + 5, unapplied = unapplied + 5 where reference = '1'`, -5},
		{`delete from receipt where reference = '2'`, 25},
	} {
		if _, err := m.db.Exec(t.Context(), wrong.sql); err != nil {
			t.Fatal(err)
		}
		found, err := m.desk("2026-03-16").Reconcile(t.Context(), calendar.MustParse("2026-03-16"), calendar.MustParse("2026-03-16"))
		if err != nil || len(found.Days) != 1 || found.Days[0].Difference() != wrong.want {
			t.Errorf("%s: %+v %v, want a difference of %d", wrong.sql, found.Days, err, wrong.want)
		}
	}
}
