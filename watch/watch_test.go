package watch_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
	"github.com/billcycle/billcycle/watch"
)

func house(t *testing.T) jobs.House {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	policy := billing.DefaultPolicy()
	h := jobs.House{DB: postgrestest.New(t), Policy: &policy, Keys: keys, Dir: t.TempDir(), Operator: "system"}
	for name, content := range map[string]string{
		"members/m.csv": "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery\n1000000016,1000000016,Ana,Silva,1 Main Street,Oakland,CA,94601,paper\n",
		"charges/c.csv": "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\nP-1,1000000016,premium,2026-03-01,Premium,45000,0,45000\n",
		"lockbox/l.txt": "no bank's file\n",
	} {
		path := filepath.Join(h.Dir, "inbox", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// lived is a house after a night, with three checks: one has posted, one came back
// before it could.
func lived(t *testing.T) jobs.House {
	t.Helper()
	h := house(t)
	if _, err := (jobs.Runner{House: h}).Night(t.Context(), calendar.MustParse("2026-03-01")); err != nil {
		t.Fatal(err)
	}
	err := pgx.BeginFunc(t.Context(), h.DB, func(tx pgx.Tx) error {
		b, a, err := billing.LoadOne(t.Context(), tx, billing.Whole, "1000000016")
		if err != nil {
			return err
		}
		day := calendar.MustParse("2026-03-02")
		for _, cents := range []ledger.Cents{300, 500, 700} {
			a.Receive(day, billing.Receipt{Channel: "lockbox", Cents: cents, ReceivedOn: day, PostsOn: day + 7})
		}
		a.Post(h.Policy, a.Receipts[0], day+7)
		return cmp.Or(a.Return(h.Policy, a.Receipts[2], day+7, "R01"), b.Save(t.Context()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// look opens a window of the house, and returns what reads its pages.
func look(t *testing.T, h jobs.House, now func() time.Time) (get func(path string) (int, string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error)
	w := &watch.Window{Runner: jobs.Runner{House: h}, Now: now, Log: slog.New(slog.DiscardHandler)}
	go func() { closed <- w.Open(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	return func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
}

// What is told of the nights is what the database says of them, and names
// nobody.
func TestWindow(t *testing.T) {
	h := lived(t)
	if _, err := h.DB.Exec(t.Context(), `insert into ach_rate values ('1941234567', 'administrative', '2026-03-01', 200, 5, 300)`); err != nil {
		t.Fatal(err)
	}
	now := moment(t, "2026-03-02T04:30:00-08:00")
	get := look(t, h, func() time.Time { return now })
	code, text := get("/metrics")
	for _, want := range []string{
		"\nbillcycle_up 1\n", "\nbillcycle_nights_missing 1\n", "\nbillcycle_night_late_seconds 3600\n",
		"\nbillcycle_run_items{job=\"statements\",state=\"done\"} 1\n", "\nbillcycle_run_cents{job=\"statements\"} 45000\n",
		"\nbillcycle_runs{job=\"feeds\",state=\"done\"} 1\n", "\nbillcycle_waiting_items{kind=\"check_pending\"} 1\n", "\nbillcycle_waiting_cents{kind=\"check_pending\"} 500\n",
		"\nbillcycle_suspense_oldest_days 0\n", "\nbillcycle_queue_depth 0\n",
		"\nbillcycle_ach_return_rate{company=\"1941234567\",kind=\"administrative\"} 0.025\n", "\nbillcycle_ach_return_rate_limit{company=\"1941234567\",kind=\"administrative\"} 0.03\n", "# HELP billcycle_nights_missing ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if code != http.StatusOK || strings.Contains(text, "Silva") || strings.Contains(text, "1000000016") {
		t.Errorf("metrics: %d\n%s", code, text)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404} {
		if code, body := get(path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	now = moment(t, "1970-01-01T00:00:00Z")
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "clock") {
		t.Errorf("with a clock that is wrong: %d %s", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("a wrong clock is no reason to restart the program: %d", code)
	}
	now = moment(t, "2026-03-02T04:30:00-08:00")
	if _, err := h.DB.Exec(t.Context(), `alter table lockbox_item rename to gone`); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if code, text := get("/metrics"); code != 200 || !strings.Contains(text, "\nbillcycle_up 0\n") || !strings.Contains(text, "\nbillcycle_night_late_seconds 3660\n") {
		t.Errorf("with figures that can't be read: %d\n%s", code, text)
	}
}

// Checks that wait for their day are counted the same, whether a file for the general
// ledger has taken them or not.
func TestPendingWhateverTheGeneralLedgerTook(t *testing.T) {
	h := lived(t)
	now := moment(t, "2026-03-02T04:30:00-08:00")
	get := look(t, h, func() time.Time { return now })
	pending := []string{"\nbillcycle_waiting_items{kind=\"check_pending\"} 1\n", "\nbillcycle_waiting_cents{kind=\"check_pending\"} 500\n"}
	for _, day := range []string{"2026-03-02", "2026-03-09"} { // the files for the general ledger take the checks, and then what became of them
		if err := pgx.BeginFunc(t.Context(), h.DB, func(tx pgx.Tx) error {
			f, _, err := ledger.SealFile(t.Context(), tx, h.Policy.Journal.Accounts, calendar.MustParse(day))
			if err == nil && f.Entries == 0 {
				t.Errorf("nothing is in the file of %s", day)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		if _, text := get("/metrics"); !strings.Contains(text, pending[0]) || !strings.Contains(text, pending[1]) {
			t.Errorf("with the file of %s:\n%s", day, text)
		}
	}
}

// Of checks, those wait for a person that the desk lists: no check of a refused batch
// that has come again, and none of a file that is still on its way.
func TestChecksThatWaitForNobody(t *testing.T) {
	h := lived(t)
	for n, c := range []struct{ file, batch, item string }{
		{"accepted", "accepted", "suspense"}, {"accepted", "refused", "refused"}, {"accepted", "replaced", "refused"}, {"arriving", "", "suspense"}, {"arriving", "", "held"},
	} {
		if _, err := h.DB.Exec(t.Context(), `with f as (insert into lockbox_file (sha256, canonical, name, profile, ingested_on, items, cents, state) values (decode($1, 'hex'), decode($1, 'hex'), 'f', 'a', '2026-02-20', 1, 500, $2) returning id),
			b as (insert into lockbox_batch select id, 1, '1', '1', '2026-02-20', 1, 500, 500, '', $3 from f where $3 <> '')
			insert into lockbox_item (file_id, ordinal, batch, cents, received_on, state) select id, 1, 1, 500, '2026-02-20', $4 from f`, fmt.Sprintf("%02d", n), c.file, c.batch, c.item); err != nil {
			t.Fatal(err)
		}
	}
	if desk, err := h.Desk(calendar.MustParse("2026-03-02")).Held(t.Context()); len(desk) != 2 || err != nil {
		t.Errorf("the desk lists %+v, %v", desk, err)
	}
	now := moment(t, "2026-03-02T04:30:00-08:00")
	_, text := look(t, h, func() time.Time { return now })("/metrics")
	for _, want := range []string{"\nbillcycle_waiting_items{kind=\"check_suspense\"} 1\n", "\nbillcycle_waiting_items{kind=\"check_refused\"} 1\n", "\nbillcycle_suspense_oldest_days 10\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "check_held") {
		t.Errorf("a check of a file on its way is counted:\n%s", text)
	}
}

// Who connects and keeps silent does not hold a connection, and with it a file of the
// program's, for ever.
func TestSilentCallerIsLetGo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &watch.Window{Log: slog.New(slog.DiscardHandler)}
	go w.Open(t.Context(), l)
	for _, said := range []string{"", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, said); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q the connection is held", said)
		}
	}
}

// An alert is tried three times, goes to no other place than the one given, and
// nothing that is said of it holds the URL.
func TestHook(t *testing.T) {
	var answers []int
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answers[0])
		answers = answers[1:]
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(server.URL+"/s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hook, err := watch.OpenHook(file, "")
	if err != nil {
		t.Fatal(err)
	}
	hook.Wait(time.Millisecond)
	alert := watch.Alert{Event: watch.Failed, Date: calendar.MustParse("2026-03-01"), Text: "disk full"}
	for _, c := range []struct {
		answers []int
		left    int
		wrong   string
	}{{[]int{200, 0}, 1, ""}, {[]int{500, 503, 204, 0}, 1, ""}, {[]int{500, 500, 500, 0}, 1, "500"}, {[]int{302, 302, 302, 0}, 1, "302"}} {
		answers = c.answers
		err := hook.Send(t.Context(), alert)
		if (err == nil) != (c.wrong == "") || err != nil && (!strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "s3cret")) || len(answers) != c.left {
			t.Errorf("answered %v: %v, %d not asked", c.answers, err, len(answers))
		}
	}
	if !strings.Contains(got, `"event":"night_failed","date":"2026-03-01","text":"disk full","host":"`) {
		t.Errorf("posted %s", got)
	}
	server.Close()
	if err := hook.Send(t.Context(), alert); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("with nobody there: %v", err)
	}

	if hook, err := watch.OpenHook("", ""); hook != nil || err != nil || hook.Send(t.Context(), alert) != nil {
		t.Errorf("without a hook: %v, %v", hook, err)
	}
	for _, url := range []string{"s3cret", "file:///s3cret", "https://"} {
		if _, err := watch.OpenHook("", url); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.OpenHook(file, ""); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a file that others can read: %v", err)
	}
	if _, err := watch.OpenHook(file+"x", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// Progress is told with its rate from the second look on, over all programs at
// work.
func TestProgress(t *testing.T) {
	h := house(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	do := func(sql string) {
		t.Helper()
		if _, err := h.DB.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	do(`insert into account (id, mrn, opened_on) overriding system value select n, n::text, '2026-03-01' from generate_series(1, 1000) n`)
	do(`insert into run (job, day, state) values ('post', '2026-03-01', 'running')`)
	now := moment(t, "2026-03-01T04:00:00-08:00")
	tick, told := make(chan time.Time), make(chan string)
	go watch.Progress(ctx, h.DB, func() time.Time { return now }, tick, func(line string) { told <- line })
	look := func(want string) {
		t.Helper()
		tick <- now
		if line := <-told; line != want {
			t.Errorf("told %q, want %q", line, want)
		}
		now = now.Add(10 * time.Second)
	}
	chunk := func(step string, from, to string) {
		t.Helper()
		do(`insert into run_chunk (job, day, pass, step, from_id, to_id, selected, done, parked, cents) values ('post', '2026-03-01', 1, '` + step + `', ` + from + `, ` + to + `, 0, 0, 0, 0)`)
	}
	look("")
	chunk("post", "1", "101")
	look("post of 2026-03-01, post: 10% of 1000 accounts")
	chunk("post", "501", "701")
	look("post of 2026-03-01, post: 30% of 1000 accounts, 20 a second, 35s left")
	chunk("post", "101", "501")
	chunk("post", "701", "1001")
	look("")
	chunk("next", "1", "501")
	look("post of 2026-03-01, next: 50% of 1000 accounts")
	do(`update run set state = 'done'`)
	look("")
}
