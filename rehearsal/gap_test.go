package rehearsal_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery/sftptest"
	"github.com/billcycle/billcycle/jobs"
)

// debtors is a house whose members pay by debits that it takes to its bank
// itself, on the eve of their build day.
func debtors(t *testing.T) (jobs.House, *sftptest.Server) {
	t.Helper()
	h, bank := newHouse(t), sftptest.New(t)
	h.Release = "second"
	h.Policy.Delivery.ACH = "bank"
	h.Policy.Delivery.Places = map[string]billing.PlacePolicy{"bank": {SFTP: bank.Address, User: bank.User, KeyFile: bank.KeyFile, HostKeys: []string{bank.HostKey}, Directory: "inbox", Tries: 1}}
	members, charges := "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n", "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n"
	autopay := "mrn,method,routing,account,account_type,authorized_on,authorized_by\n"
	for n, by := range []string{"web", "written", "phone", "web"} {
		mrn := billing.NewMRN(int64(500_000_000 + n))
		members += fmt.Sprintf("%s,%s,Ana,Silva,1 Main Street,Oakland,CA,94601,paper\n", mrn, mrn)
		charges += fmt.Sprintf("P-%d,%s,premium,2026-03-01,Premium,%d,0,%d\n", n, mrn, 45000+n, 45000+n)
		autopay += fmt.Sprintf("%s,ach,121000358,90000000%02d,checking,2026-02-20,%s\n", mrn, n, by)
	}
	for feed, text := range map[string]string{"members": members, "charges": charges, "autopay": autopay} {
		path := filepath.Join(h.Dir, "inbox", feed, feed+".csv")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	night(t, h, "2026-03-01")
	return h, bank
}

func night(t *testing.T, h jobs.House, day string) {
	t.Helper()
	if _, err := (jobs.Runner{House: h}).Night(context.Background(), calendar.MustParse(day)); err != nil {
		t.Fatal(err)
	}
}

// A debit file is sealed, released, written and delivered. Killed in any of the
// gaps between, the next night goes on, and the bank has the very same file, once.
func TestKilledOnTheWayToTheBank(t *testing.T) {
	h, bank := debtors(t)
	night(t, h, "2026-03-24")
	want := bank.Files()
	night(t, h, "2026-03-25")
	paid, err := read(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 1 || len(want["ach-20260324-A.ach"]) == 0 || len(paid.kind("debit")) != 4 {
		t.Fatalf("without kills the bank has %q", want)
	}
	for _, c := range []struct {
		gap string
		at  point
	}{
		{"sealing", point{"autopay", 1, "told update", "set state = 'sealed'"}},
		{"sealed, before the release", point{"autopay", 1, "ask select", "from ach_file where name is not null"}},
		{"releasing", point{"autopay", 1, "told update", "set state = 'released'"}},
		{"released, before it is written", point{"autopay", 1, "ask select", "where state = 'released' and written_on is null"}},
		{"whole, before that is noted", point{"autopay", 1, "ask update", "set ready_on"}},
		{"whole, before it has its name", point{"autopay", 1, "told update", "set ready_on"}},
		{"written, before that is noted", point{"autopay", 1, "ask update", "set written_on"}},
		{"queued, before that is noted", point{"autopay", 1, "told insert", "into parcel"}},
		{"written, before the delivery", point{"deliver", 1, "ask select", "from parcel"}},
		{"sending", point{"deliver", 1, "told update", "update parcel set state"}},
		{"whole there, before its name", point{"deliver", 2, "ask update", "update parcel set state"}},
		{"naming", point{"deliver", 2, "told update", "update parcel set state"}},
		{"delivered, before that is noted", point{"deliver", 3, "ask update", "update parcel set state"}},
		{"delivered", point{"deliver", 3, "told update", "update parcel set state"}},
	} {
		t.Run(c.gap, func(t *testing.T) {
			h, bank := debtors(t)
			day := calendar.MustParse("2026-03-24")
			died, err := runVictim(t.Context(), h, day, c.at)
			if err != nil || !died {
				t.Fatalf("it was to die, %v", err)
			}
			night(t, h, "2026-03-24")
			got := bank.Files()
			if len(got) != 1 || got["ach-20260324-A.ach"] != want["ach-20260324-A.ach"] {
				t.Errorf("the bank has %q, want %q", got, want)
			}
			night(t, h, "2026-03-25")
			if got := bank.Files(); len(got) != 1 {
				t.Errorf("the next night has sent more: %q", got)
			}
			books, err := read(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{"debit", "receipt", "journal", "ach_file"} {
				for _, d := range paid.kind(kind).differences(books.kind(kind)) {
					t.Error(d)
				}
			}
			holds(t, h)
		})
	}
}
