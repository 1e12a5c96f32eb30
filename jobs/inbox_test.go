package jobs_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/lockbox"
)

// The bank's file of checks that came back is taken by the night, in the layout
// that its header has; what is of no check of ours waits for a person. The
// archive keeps what came, sealed and to the byte.
func TestReturnedChecksFromTheInbox(t *testing.T) {
	b := newBiller(t, 3)
	layout, err := lockbox.ParseReturnsLayout([]byte(`{"name": "first-example", "columns": {"routing": "RT", "account": "Acct", "check": "Serial", "amount": "Amount", "reason": "Why"},
		"amounts": "dollars", "reasons": {"Insufficient funds": "NSF"}}`))
	if err != nil {
		t.Fatal(err)
	}
	b.Returned = []lockbox.ReturnsLayout{layout, lockbox.PlainReturns()}
	b.nights("2026-03-01", "2026-03-09")
	b.check("march.bai", 1, 10_001, day("2026-03-10"))
	b.nights("2026-03-10", "2026-03-17") // posted on the 17th
	const unpaid = "Serial;RT;Acct;Amount;Why;Memo\n1001;12100035;8000000001;$100.01;Insufficient funds;x\n77;12100035;8000000001;5.00;insufficient funds;\n"
	b.put("check-returns/unpaid.csv", unpaid)
	b.put("check-returns/plain.csv", "routing,account,check,cents,reason\n12100035,8000000001,1001,10001,NSF\n")
	r := b.night("2026-03-18")["returns"]
	if r.Done != 1 || r.Cents != 10_001 || r.Skipped["return_unmatched"] != 1 || r.Skipped["unchanged"] != 1 || r.Waiting != 1 {
		t.Errorf("the returns came to %+v", r)
	}
	if n := b.figure(`select count(*) from receipt where account_id = 2 and state = 'returned' and end_code = 'NSF' and ended_on = '2026-03-18'`); n != 1 {
		t.Error("the check was not returned")
	}
	if n := b.figure(`select count(*) from item where account_id = 2 and cents = 2500`); n != 1 {
		t.Errorf("%d fees", n)
	}
	b.put("check-returns/again.csv", unpaid)
	if r := b.night("2026-03-19")["returns"]; r.Done != 0 || r.Skipped["duplicate"] != 2 {
		t.Errorf("the same file again came to %+v", r)
	}
	b.holds()
	b.sealed("check-returns/2026-03-18/unpaid.csv", unpaid)
}

// sealed says whether the archive keeps a file, for nobody without the keys.
func (b *biller) sealed(name, want string) {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.Dir, "archive", name+".sealed"))
	if err != nil || strings.Contains(string(text), "8000000001") {
		b.t.Errorf("archive/%s: %v, or an account number can be read", name, err)
	}
	var plain bytes.Buffer
	if _, err := b.Keys.OpenFile(&plain, bytes.NewReader(text)); err != nil || plain.String() != want {
		b.t.Errorf("archive/%s opens as %q, %v", name, plain.String(), err)
	}
}

// A rehearsal of the night leaves the bank's file where it is.
func TestDryNightLeavesReturnedChecks(t *testing.T) {
	b := newBiller(t, 1)
	b.night("2026-03-01")
	b.put("check-returns/unpaid.csv", "routing,account,check,cents,reason\n12100035,8000000001,1001,10001,NSF\n")
	if err := (jobs.Runner{House: b.House}).Dry(context.Background(), func(r jobs.Runner) error { _, err := r.Night(context.Background(), day("2026-03-02")); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "inbox", "check-returns", "unpaid.csv")); err != nil {
		t.Error(err)
	}
}
