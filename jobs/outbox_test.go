package jobs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// house is a biller with one member, who pays by card and owes $450.00 due on
// 25 March 2026.
type house struct {
	*testing.T
	jobs.Runner
}

func newHouse(t *testing.T) *house {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	p := billing.DefaultPolicy()
	h := &house{t, jobs.Runner{House: jobs.House{DB: postgrestest.New(t), Policy: &p, Keys: keys, Dir: t.TempDir(), Operator: "test"}}}
	h.arrives("members", "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery,email,phone\n1000000016,1000000016,Ann,Example,1 Main St,Oakland,CA,94601,paper,ann@example.com,510-555-0101\n")
	h.arrives("charges", "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\nC1,1000000016,premium,2026-03-01,March,45000,0,45000\n")
	h.arrives("autopay", "mrn,method,card_token,authorized_on,authorized_by\n1000000016,card,tok-1,2026-03-01,web\n")
	h.run("feeds", 1)
	h.run("statements", 1)
	return h
}

func march(day int) calendar.Date { return calendar.Of(2026, 3, day) }

func (h *house) arrives(feed, text string) {
	h.Helper()
	dir := filepath.Join(h.Dir, "inbox", feed)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, feed+".in"), []byte(text), 0o600); err != nil {
		h.Fatal(err)
	}
}

func (h *house) run(job string, day int) jobs.Report {
	h.Helper()
	report, err := h.Runner.Run(h.Context(), job, march(day))
	if err != nil {
		h.Fatalf("%s of %s: %v", job, march(day), err)
	}
	return report
}

func (h *house) exec(sql string) {
	h.Helper()
	if _, err := h.DB.Exec(h.Context(), sql); err != nil {
		h.Fatal(err)
	}
}

// outbox returns the files of a folder by name.
func (h *house) outbox(folder string) map[string]string {
	h.Helper()
	files := map[string]string{}
	found, err := filepath.Glob(filepath.Join(h.Dir, "outbox", folder, "*"))
	if err != nil {
		h.Fatal(err)
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			h.Fatal(err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}

func (h *house) broken() (names []string) {
	h.Helper()
	proofs, _, err := h.Verify(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, p := range proofs {
		if !p.Holds {
			names = append(names, p.Name)
		}
	}
	return names
}

const firstNotices = "notices-20260315-1.jsonl"

// A file appears once. Whoever carries it may take it away.
func TestOutboxOnce(t *testing.T) {
	h := newHouse(t)
	h.run("reminders", 14)
	if files := h.outbox("notices"); len(files) != 0 {
		t.Errorf("nothing to say, and yet %v", files)
	}
	if report := h.run("reminders", 15); report.Done != 2 {
		t.Errorf("report %+v", report)
	}
	files := h.outbox("notices")
	if len(files) != 1 || strings.Count(files[firstNotices], "\n") != 2 || !strings.Contains(files[firstNotices], "$450.00 on March 25, 2026") {
		t.Fatalf("outbox %v", files)
	}
	if err := os.Remove(filepath.Join(h.Dir, "outbox", "notices", firstNotices)); err != nil {
		t.Fatal(err)
	}
	for _, day := range []int{15, 16, 15} {
		h.run("reminders", day)
		if files := h.outbox("notices"); len(files) != 0 {
			t.Errorf("sent again on %s: %v", march(day), files)
		}
	}
	if names := h.broken(); names != nil {
		t.Errorf("broken: %v", names)
	}
}

// A run that was killed between its rows and its file leads to the same file
// in the end, whichever run comes next.
func TestOutboxAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name, undo string
		removed    bool
		next       int
	}{
		{"before the hash", `update outbox_file set written_on = null, ready_on = null, sha256 = null`, true, 15},
		{"before the hash, and the day was over", `update outbox_file set written_on = null, ready_on = null, sha256 = null`, true, 16},
		{"before the file", `update outbox_file set written_on = null, ready_on = null`, true, 15},
		{"after the file", `update outbox_file set written_on = null`, false, 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.run("reminders", 15)
			before := h.outbox("notices")
			h.exec(c.undo)
			if c.removed {
				if err := os.Remove(filepath.Join(h.Dir, "outbox", "notices", firstNotices)); err != nil {
					t.Fatal(err)
				}
			}
			h.run("reminders", c.next)
			if after := h.outbox("notices"); fmt.Sprint(after) != fmt.Sprint(before) || len(after) != 1 {
				t.Errorf("got %v\nwant %v", after, before)
			}
		})
	}
}

// What is not what was sealed does not go out.
func TestOutboxAltered(t *testing.T) {
	h := newHouse(t)
	h.run("reminders", 15)
	h.exec(`update message set body = 'send money' where channel = 'text'`)
	if names := h.broken(); fmt.Sprint(names) != "[outbox_as_sealed]" {
		t.Errorf("broken: %v", names)
	}
	h.exec(`update outbox_file set written_on = null, ready_on = null`)
	if err := os.Remove(filepath.Join(h.Dir, "outbox", "notices", firstNotices)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Runner.Run(t.Context(), "reminders", march(16)); err == nil || !strings.Contains(err.Error(), "do not send it") {
		t.Errorf("got %v", err)
	}
	// Nor is another's file written over.
	h = newHouse(t)
	dir := filepath.Join(h.Dir, "outbox", "notices")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, firstNotices), []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Runner.Run(t.Context(), "reminders", march(15)); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("got %v", err)
	}
	if files := h.outbox("notices"); len(files) != 1 || files[firstNotices] != "something" {
		t.Errorf("outbox %v", files)
	}
}

// The autopay job asks cards through the outbox, and the answer comes back
// through the inbox; a wrong one is refused with its reason.
func TestCardByFiles(t *testing.T) {
	h := newHouse(t)
	if report := h.run("autopay", 25); report.Done != 1 || report.Cents != 45000 {
		t.Errorf("report %+v", report)
	}
	files := h.outbox("card")
	line := files["card-20260325-1.jsonl"]
	if len(files) != 1 || !strings.Contains(line, `"token":"tok-1","cents":45000`) {
		t.Fatalf("outbox %v", files)
	}
	charge := strings.Split(line, `"`)[3]
	h.arrives("card", fmt.Sprintf(`{"charge": %q, "result": "approved", "cents": 44999}`, charge))
	if report := h.run("returns", 25); report.Waiting != 1 || report.Done != 0 {
		t.Errorf("a wrong answer: %+v", report)
	}
	reason, err := os.ReadFile(filepath.Join(h.Dir, "refused", "card", "2026-03-25", "card.in.reason"))
	if err != nil || !strings.Contains(string(reason), "asked for $450.00") {
		t.Errorf("reason %q, %v", reason, err)
	}
	h.arrives("card", fmt.Sprintf(`{"charge": %q, "result": "approved", "cents": 45000}`, charge))
	if report := h.run("returns", 25); report.Done != 1 || report.Cents != 45000 {
		t.Errorf("the answer: %+v", report)
	}
	if names := h.broken(); names != nil {
		t.Errorf("broken: %v", names)
	}
}

// With a gateway of its own the autopay job asks it itself: the money posts in
// the same run, and no file leaves.
func TestCardGateway(t *testing.T) {
	h := newHouse(t)
	answers := map[string]string{
		"/v1/payment_intents":              `{"id": "pi_1", "status": "requires_confirmation"}`,
		"/v1/payment_intents/pi_1/confirm": `{"id": "pi_1", "status": "succeeded", "amount_received": 45000}`,
	}
	var calls []string
	stripe := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.URL.Path)
		fmt.Fprint(w, answers[r.URL.Path])
	}))
	defer stripe.Close()
	key := filepath.Join(h.Dir, "stripe.key")
	if err := os.WriteFile(key, []byte("sk_test_1"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Policy.Card.Gateway = billing.CardGateway{Kind: "stripe", URL: stripe.URL, KeyFile: key}
	for range 2 {
		h.run("autopay", 25)
	}
	if len(calls) != 2 {
		t.Errorf("calls to the gateway: %v", calls)
	}
	if files := h.outbox("card"); len(files) != 0 {
		t.Errorf("and files for a carrier as well: %v", files)
	}
	var money string
	if err := h.DB.QueryRow(t.Context(), `select string_agg(concat_ws(' ', channel, state, cents, posted_on), ', ') from receipt`).Scan(&money); err != nil || money != "card posted 45000 2026-03-25" {
		t.Errorf("receipts: %s, %v", money, err)
	}
}
