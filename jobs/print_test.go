package jobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
	"github.com/billcycle/billcycle/statements"
)

// mailers are members whose statements go out in every way there is: 1 to 4 by
// mail, of whom 3 has two sheets; 5 paperless; 6 has an address that no window
// shows; 7 owes nothing and gets no return envelope.
const mailers = `mrn,guarantor_mrn,first_name,last_name,address1,address2,city,state,zip,delivery,email
%[1]s,%[1]s,Ann,One,1 Main St,,Oakland,CA,94601,paper,
%[2]s,%[2]s,Bob,Two,2 Main St,Apt 4,Fresno,CA,93650-1234,paper,
%[3]s,%[3]s,Cal,Three,3 Main St,,Sacramento,CA,95814,paper,
%[4]s,%[4]s,Dee,Four,4 Main St,,Oakland,CA,94601,paper,
%[5]s,%[5]s,Eve,Five,5 Main St,,Oakland,CA,94601,paperless,eve@example.com
%[6]s,%[6]s,Fay,Six,%[8]s,%[8]s,Oakland,CA,94601,paper,
%[7]s,%[7]s,Gus,Seven,7 Main St,,Oakland,CA,94601,paper,
`

func memberNo(n int64) string { return string(billing.NewMRN(n)) }

func newMailHouse(t *testing.T) *house {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	p := billing.DefaultPolicy()
	h := &house{t, jobs.Runner{House: jobs.House{DB: postgrestest.New(t), Policy: &p, Keys: keys, Dir: t.TempDir(), Operator: "test"}}}
	h.arrives("members", fmt.Sprintf(mailers, memberNo(1), memberNo(2), memberNo(3), memberNo(4), memberNo(5), memberNo(6), memberNo(7), strings.Repeat("Extraordinarily Long Boulevard ", 3)))
	charges := "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n"
	for n := range int64(7) {
		charges += fmt.Sprintf("P%d,%s,premium,2026-03-01,March,45000,0,45000\n", n, memberNo(n+1))
	}
	for n := range 60 {
		charges += fmt.Sprintf("M%d,%s,medical,2026-02-0%d,Visit %d,5000,4000,1000\n", n, memberNo(3), n%9+1, n)
	}
	h.arrives("charges", charges)
	h.arrives("payments", "payment_id,mrn,received,channel,amount_cents\nX1,"+memberNo(7)+",2026-02-20,online,45000\n")
	h.run("feeds", 1)
	h.run("post", 1)
	return h
}

// manifestOf reads a bundle's CSV manifest by column.
func manifestOf(t *testing.T, text string) (rows []map[string]string) {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, fields := range all[1:] {
		row := map[string]string{}
		for n, name := range all[0] {
			row[name] = fields[n]
		}
		rows = append(rows, row)
	}
	return rows
}

func (h *house) bundles() []statements.BundleInfo {
	h.Helper()
	all, err := h.Mail(march(1)).Bundles(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

func (h *house) proves() {
	h.Helper()
	if broken := h.broken(); len(broken) > 0 {
		h.Errorf("broken: %v", broken)
	}
}

func TestPrintBundles(t *testing.T) {
	h := newMailHouse(t)
	report := h.run("statements", 1)
	if report.Done != 7 || report.Waiting != 1 {
		t.Errorf("the run came to %+v", report)
	}
	out := h.outbox("print")
	var got []string
	for _, b := range h.bundles() {
		got = append(got, fmt.Sprintf("%s %s %d sheets, %d pieces, %d pages, %s", b.Name, b.Inserts, b.Sheets, b.Pieces, b.Pages, b.State))
		for _, name := range []string{b.Name + ".pdf", b.Name + ".csv", b.Name + ".json", b.Name + ".done"} {
			if out[name] == "" {
				t.Errorf("the outbox lacks %s", name)
			}
		}
		for _, kind := range []string{".pdf", ".csv", ".json"} {
			if line := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(out[b.Name+kind])), b.Name+kind); !strings.Contains(out[b.Name+".done"], line) {
				t.Errorf("%s.done lacks %q:\n%s", b.Name, line, out[b.Name+".done"])
			}
		}
	}
	want := []string{
		"print-20260301-printer-0001  1 sheets, 1 pieces, 2 pages, written",
		"print-20260301-printer-0002 reply 1 sheets, 3 pieces, 6 pages, written",
		"print-20260301-printer-0003 reply 2 sheets, 1 pieces, 4 pages, written",
	}
	if !slices.Equal(got, want) {
		t.Errorf("bundles\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	rows := manifestOf(t, out["print-20260301-printer-0002.csv"])
	for n, want := range []map[string]string{
		{"place": "1", "first_page": "1", "pages": "2", "sheets": "1", "zip": "936501234"},
		{"place": "2", "first_page": "3", "pages": "2", "sheets": "1", "zip": "94601"},
		{"place": "3", "first_page": "5", "pages": "2", "sheets": "1", "zip": "94601"},
	} {
		for column, value := range want {
			if rows[n][column] != value {
				t.Errorf("piece %d has %s %q, want %q: %v", n+1, column, rows[n][column], value, rows[n])
			}
		}
		if imb := rows[n]["imb"]; imb != "00300123456"+rows[n]["piece"][3:]+want["zip"] {
			t.Errorf("piece %s has the barcode %s", rows[n]["piece"], imb)
		}
	}
	var document struct {
		Pieces, Pages, Sheets int
		PDF                   string `json:"pdf_sha256"`
		Manifest              []map[string]any
	}
	if err := json.Unmarshal([]byte(out["print-20260301-printer-0002.json"]), &document); err != nil || document.Pieces != 3 || document.Pages != 6 || document.Sheets != 3 ||
		document.PDF != fmt.Sprintf("%x", sha256.Sum256([]byte(out["print-20260301-printer-0002.pdf"]))) || len(document.Manifest) != 3 {
		t.Errorf("the JSON manifest is %+v, %v", document, err)
	}

	var totals struct{ Totals []statements.Totals }
	if err := json.Unmarshal([]byte(out["print-20260301-printer-0001-totals.json"]), &totals); err != nil || len(totals.Totals) != 1 {
		t.Fatalf("control totals %v, %v", err, slices.Sorted(maps.Keys(out)))
	}
	if x := totals.Totals[0]; x.Made != 7 || x.Printed != 5 || x.Paperless != 1 || x.Suppressed["address_does_not_fit"] != 1 || !x.Hold() {
		t.Errorf("control totals %+v", x)
	}
	if kept, _ := filepath.Glob(filepath.Join(h.Dir, "statements", "*", "*.pdf")); len(kept) != 1 {
		t.Errorf("%d PDFs are kept, want the paperless member's only", len(kept))
	}
	h.proves()

	// Again: nothing.
	again := h.run("statements", 2)
	if got := h.outbox("print"); again.Waiting != 0 || !maps.Equal(got, out) {
		t.Errorf("run again, the outbox holds %v", slices.Sorted(maps.Keys(got)))
	}
}

// A program killed between sealing and writing gives the files their names. Those
// of a bundle whose done-file never had its name are drawn again where they are lost
// or torn, to the same bytes; other bytes are not sent.
func TestPrintBundlesAgain(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	out := h.outbox("print")
	dir := filepath.Join(h.Dir, "outbox", "print")
	hide := func(name string) { os.Rename(filepath.Join(dir, name), filepath.Join(dir, "."+name+".whole")) }
	for n, spoil := range []func(name string){
		func(string) {},
		hide,
		func(name string) { // cleared up, but for the done-file
			if hide(name); !strings.HasSuffix(name, ".done") {
				os.Remove(filepath.Join(dir, "."+name+".whole"))
			}
		},
		func(name string) { // named, but for the manifest and the done-file
			if strings.HasSuffix(name, ".csv") || strings.HasSuffix(name, ".done") {
				hide(name)
			}
		},
		func(name string) { // and the PDF is lost
			if hide(name); strings.HasSuffix(name, ".pdf") {
				os.Remove(filepath.Join(dir, "."+name+".whole"))
			}
		},
		func(name string) { // torn
			os.Remove(filepath.Join(dir, name))
			os.WriteFile(filepath.Join(dir, "."+name+".whole"), []byte("%PDF half"), 0o600)
		},
		func(name string) { // the done-file alone
			if hide(name); strings.HasSuffix(name, ".done") {
				os.Truncate(filepath.Join(dir, "."+name+".whole"), 10)
			}
		},
	} {
		h.exec(`update print_bundle set state = 'sealed', written_on = null, totals = ''`)
		for name := range out {
			spoil(name)
		}
		h.run("statements", 2+n)
		got := h.outbox("print")
		for name, text := range out {
			if strings.Contains(name, "totals") {
				continue // its date is the run's
			}
			if got[name] != text {
				t.Errorf("case %d: %s is not what it was", n, name)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("case %d: left behind: %v", n, left)
		}
		if waits := h.waiting(); waits != "" {
			t.Errorf("case %d: before a person are %q", n, waits)
		}
		h.proves()
	}
	h.exec(`update print_bundle set state = 'sealed', written_on = null where id = 2`)
	if err := os.WriteFile(filepath.Join(dir, "print-20260301-printer-0002.pdf"), []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Runner.Run(t.Context(), "statements", march(20)); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("over another's file: %v", err)
	}
}

func TestReprintAndAnswers(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	out := h.outbox("print")
	first := manifestOf(t, out["print-20260301-printer-0002.csv"])
	desk := h.Mail(march(5))
	ingest := func(text string) statements.Answered {
		t.Helper()
		got, err := desk.Ingest(t.Context(), "answer.csv", strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v: %+v", err, got.Problems)
		}
		return got
	}
	b := h.bundles()[1]
	if got := ingest(fmt.Sprintf("bundle,pieces,pages,sha256,accepted\n%s,3,6,%s,yes\n", b.Name, b.SHA256)); got.Bundles != 1 {
		t.Errorf("the receipt came to %+v", got)
	}
	results := fmt.Sprintf("piece,result,date,reason\n%s,mailed,2026-03-03,\n%s,spoiled,2026-03-03,torn\n", first[0]["piece"], first[1]["piece"])
	if got := ingest(results); got.Mailed != 1 || got.Spoiled != 1 {
		t.Errorf("the results came to %+v", got)
	}
	if got := ingest(results); !got.Duplicate || got.Mailed != 0 {
		t.Errorf("again they came to %+v", got)
	}

	// What can't be is refused whole.
	for _, c := range []struct{ text, says string }{
		{"", "empty"},
		{"piece,result,date,colour\n", "no such column"},
		{"piece,result\n", "column is missing"},
		{"piece,result,date\n99,mailed,2026-03-03\n", "no piece 99"},
		{"piece,result,date\nx,mailed,2026-03-03\n", "not the number"},
		{"piece,result,date\n2,lost,2026-03-03\n", "none of mailed"},
		{"piece,result,date\n2,mailed,2026-03-30\n", "in the future"},
		{"piece,result,date,reason\n2,returned,2026-03-03,d\xe9m\xe9nag\xe9\n", "no UTF-8"},
		{"piece,result,date,reason\n2,returned,2026-03-03,mo\x00ved\n", "no UTF-8"},
		{"bundle,pieces,pages,sha256,accepted\nprint-\xe9,3,6,00,yes\n", "no UTF-8"},
		{"bundle,pieces,pages,sha256,accepted\nprint-1,3,6,00,yes\n", "no bundle"},
		{fmt.Sprintf("bundle,pieces,pages,sha256,accepted\n%s,2,6,%s,yes\n", b.Name, b.SHA256), "do not let it be mailed"},
		{fmt.Sprintf("piece,result,date\n%s,mailed,2026-03-03\n", first[1]["piece"]), "spoiled before"},
	} {
		got, err := desk.Ingest(t.Context(), "bad.csv", strings.NewReader(c.text))
		if err == nil || len(got.Problems) == 0 || !strings.Contains(got.Problems[0].Problem, c.says) {
			t.Errorf("%q: %v, %+v; want it to say %q", c.text, err, got.Problems, c.says)
		}
	}
	if got, _ := desk.Ingest(t.Context(), "bad.csv", strings.NewReader("piece,result,date\n\n99,mailed,2026-03-03\n")); len(got.Problems) != 1 || got.Problems[0].Line != 3 {
		t.Errorf("a bad line below an empty one: %+v", got.Problems)
	}

	// The spoiled piece is printed again: the same pages under another number.
	id, err := strconv.ParseInt(first[1]["piece"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := desk.Reprint(t.Context(), []int64{id}, "torn"); n != 1 || err != nil {
		t.Fatalf("reprint: %d, %v", n, err)
	}
	h.run("statements", 6)
	second := manifestOf(t, h.outbox("print")["print-20260306-printer-0001.csv"])
	if len(second) != 1 || second[0]["replaces"] != first[1]["piece"] || second[0]["piece"] <= first[2]["piece"] || second[0]["sha256"] != first[1]["sha256"] || second[0]["statement"] != first[1]["statement"] || second[0]["imb"] == first[1]["imb"] {
		t.Errorf("the reprint is %v, its original was %v", second, first[1])
	}
	if _, err := desk.Reprint(t.Context(), []int64{id}, "again"); err == nil {
		t.Error("a piece was replaced twice")
	}
	h.proves()

	// Mail that comes back puts the account on hold: no statement in April.
	h.arrives("print", fmt.Sprintf("piece,result,date,reason\n%s,returned,2026-03-20,moved\n", first[0]["piece"]))
	if r := h.run("returns", 20); r.Skipped["returned_mail"] != 1 || r.Waiting != 1 {
		t.Errorf("the run came to %+v", r)
	}
	r, err := h.Runner.Run(t.Context(), "statements", calendar.Of(2026, 4, 1))
	if err != nil || r.Skipped["bad_address"] != 1 {
		t.Errorf("in April %+v, %v", r, err)
	}
	h.proves()
}

func TestToPaper(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	account, err := billing.Find(t.Context(), h.DB, memberNo(5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Mail(march(3)).ToPaper(t.Context(), account, 0, "bounced"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Mail(march(3)).ToPaper(t.Context(), account, 0, "bounced"); err == nil {
		t.Error("a statement was sent to paper twice")
	}
	h.run("statements", 4)
	if rows := manifestOf(t, h.outbox("print")["print-20260304-printer-0001.csv"]); len(rows) != 1 || rows[0]["zip"] != "94601" {
		t.Errorf("the bundle holds %v", rows)
	}
	h.proves()
}

// The same rows give the same bytes, whoever draws them and in whatever pieces.
func TestPrintSplitsByPages(t *testing.T) {
	var want map[string]string
	for _, workers := range []int{1, 2, 4} {
		h := newMailHouse(t)
		h.Workers = workers
		h.Policy.Print.MaxPagesPerFile = 4
		h.run("statements", 1)
		if n := len(h.bundles()); n != 4 { // 1 without reply, 2 and 1 with it, 1 of two sheets
			t.Errorf("%d bundles, want 4", n)
		}
		got := h.outbox("print")
		if want == nil {
			want = got
		}
		if !maps.Equal(got, want) {
			t.Errorf("with %d workers the outbox differs", workers)
		}
		h.proves()
	}
}

// A bundle whose statements all turn out to have more sheets comes out empty, and
// is gone. The names after it stay what they are, and the next ones are others.
func TestPrintBundleThatComesOutEmpty(t *testing.T) {
	h := newMailHouse(t)
	// Now 3, of two sheets, owes nothing, so that its bundle is the day's first; 7 does.
	h.arrives("payments", "payment_id,mrn,received,channel,amount_cents\nX3,"+memberNo(3)+",2026-02-20,online,105000\n")
	h.arrives("charges", "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\nQ7,"+memberNo(7)+",premium,2026-03-01,March,45000,0,45000\n")
	h.run("feeds", 1)
	h.run("post", 1)
	h.run("statements", 1)
	var got []string
	for _, b := range h.bundles() {
		got = append(got, fmt.Sprintf("%s %s %d sheets, %d pieces", b.Name, b.Inserts, b.Sheets, b.Pieces))
	}
	if want := []string{"print-20260301-printer-0002 reply 1 sheets, 4 pieces", "print-20260301-printer-0003  2 sheets, 1 pieces"}; !slices.Equal(got, want) {
		t.Errorf("bundles\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h.proves()
}

// stopsAt is a database at whose nth transaction something else happens first.
type stopsAt struct {
	postgres.DB
	begun *atomic.Int64
	first map[int64]func()
}

func (s stopsAt) Begin(ctx context.Context) (pgx.Tx, error) {
	if f := s.first[s.begun.Add(1)]; f != nil {
		f()
	}
	return s.DB.Begin(ctx)
}

// Two nights of different dates print at once. One plans the bundles while the
// other is about to, and finishes them all, those that come out empty too, before
// the other has begun with the first.
func TestTwoPrintersAtOnce(t *testing.T) {
	for _, pages := range []int{10000, 2} { // of 2 pages, that of the member with two sheets comes out empty
		h := newMailHouse(t)
		h.Policy.Print.MaxPagesPerFile = pages
		if !h.runKilled("statements", 1, "lock table print_bundle", 1) {
			t.Fatal("nothing was to be planned")
		}
		planned, draw, done := make(chan bool), make(chan bool), make(chan error, 1)
		printer := func(day int, first map[int64]func()) statements.Printer {
			return statements.Printer{DB: stopsAt{h.DB, new(atomic.Int64), first}, Policy: h.Policy, Day: march(day), Outbox: filepath.Join(h.Dir, "outbox", "print")}
		}
		other := printer(2, map[int64]func(){2: func() { close(planned); <-draw }})
		one := printer(1, map[int64]func(){
			1: func() {
				go func() { _, err := other.Print(t.Context()); done <- err }()
				<-planned
			},
			2: func() {
				close(draw)
				if err := <-done; err != nil {
					t.Errorf("%d pages, the other: %v", pages, err)
				}
			},
		})
		if _, err := one.Print(t.Context()); err != nil {
			t.Errorf("%d pages: %v", pages, err)
		}
		h.proves()
	}
}

// A bucket that lets nobody in is nobody's fault among the members: the run stops,
// and no account is parked for it.
func TestBucketThatRefusesParksNobody(t *testing.T) {
	h := newMailHouse(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer server.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	store := &h.Policy.Delivery.Store
	store.Endpoint, store.Bucket, store.Region, store.PlainHTTP = strings.TrimPrefix(server.URL, "http://"), "statements", "us-west-2", true
	store.AccessFile, store.SecretFile = secret, secret
	report, err := h.Runner.Run(t.Context(), "statements", march(1))
	var away *delivery.StoreError
	if !errors.As(err, &away) || report.Parked != 0 {
		t.Errorf("the run came to %+v, %v", report, err)
	}
	store.Bucket = "b"
	var config *delivery.ConfigError
	if _, err := h.Store(); !errors.As(err, &config) {
		t.Errorf("a bucket of one letter: %v", err)
	}
}
