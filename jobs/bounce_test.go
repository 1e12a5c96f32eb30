package jobs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/statements"
)

// sent returns the messages of the outbox of one date.
func (h *house) sent(day calendar.Date) (all []notices.Message) {
	h.Helper()
	for name, text := range h.outbox("notices") {
		if !strings.HasPrefix(name, "statements-"+strings.ReplaceAll(day.String(), "-", "")) {
			continue
		}
		for line := range strings.Lines(text) {
			var m notices.Message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				h.Fatal(err)
			}
			all = append(all, m)
		}
	}
	return all
}

// on runs a job on any date.
func (h *house) on(job string, day calendar.Date) jobs.Report {
	h.Helper()
	report, err := h.Runner.Run(h.Context(), job, day)
	if err != nil {
		h.Fatalf("%s of %s: %v", job, day, err)
	}
	return report
}

// deliveries are how a member's statements go out, oldest first.
func (h *house) deliveries(n int64) (all []string) {
	h.Helper()
	rows, err := h.DB.Query(h.Context(), `select s.delivery from statement s join account a on a.id = s.account_id where a.mrn = $1 order by s.cycle`, memberNo(n))
	if err != nil {
		h.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var how string
		if err := rows.Scan(&how); err != nil {
			h.Fatal(err)
		}
		all = append(all, how)
	}
	return all
}

// A paperless member gets word that the statement is there, and nothing in it
// that is nobody's business.
func TestPaperlessMemberIsTold(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	all := h.sent(march(1))
	if len(all) != 1 || all[0].ID != "5-2026-03-statement-email" || all[0].To != "eve@example.com" || all[0].Subject != "Your statement is available" || !strings.Contains(all[0].Body, "account ending in "+memberNo(5)[6:]) {
		t.Fatalf("on the cut day was sent %+v", all)
	}
	for _, secret := range []string{"Eve", "Five", "450", "premium", "March", memberNo(5)} {
		if strings.Contains(all[0].Body, secret) {
			t.Errorf("the message tells %s:\n%s", secret, all[0].Body)
		}
	}
	h.run("statements", 1)
	h.run("statements", 2)
	if again := append(h.sent(march(1)), h.sent(march(2))...); len(again) != 1 {
		t.Errorf("told again: %+v", again)
	}
	h.proves()
}

// Who asks for the statement between its cut and its drawing takes no notice
// away from the member.
func TestPaperlessMemberIsToldOfWhatWasAskedFor(t *testing.T) {
	h := newMailHouse(t)
	folder := filepath.Join(h.Dir, "statements")
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // no room to draw in
		t.Fatal(err)
	}
	if _, err := h.Runner.Run(t.Context(), "statements", march(1)); err == nil {
		t.Fatal("statements were drawn")
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	keep, err := h.Store()
	if err != nil {
		t.Fatal(err)
	}
	asked, err := statements.Get(t.Context(), h.DB, keep, 5, march(1), false)
	if err != nil {
		t.Fatal(err)
	}
	h.run("statements", 1)
	if all := h.sent(march(1)); len(all) != 1 || all[0].ID != "5-2026-03-statement-email" {
		t.Errorf("sent was %+v", all)
	}
	h.run("statements", 1)
	h.run("statements", 2)
	if again := append(h.sent(march(1)), h.sent(march(2))...); len(again) != 1 {
		t.Errorf("told again: %+v", again)
	}
	if got, err := statements.Get(t.Context(), h.DB, keep, 5, march(1), false); err != nil || got.SHA256 != asked.SHA256 {
		t.Errorf("the statement is %x now, was %x, %v", got.SHA256, asked.SHA256, err)
	}
	h.proves()
}

// What came back goes by mail, as do later statements, until the member has
// another address.
func TestBouncedNoticeFallsBackToPaper(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	before := len(h.bundles())
	bounce := "id,result,date,reason\n5-2026-03-statement-email,bounced,2026-03-02,550 no such mailbox\n"
	h.arrives("notices", bounce)
	if r := h.run("returns", 3); r.Skipped["bounced"] != 1 || r.Waiting != 0 || !strings.Contains(strings.Join(r.Notes, "\n"), "1 paperless statements go by mail") {
		t.Errorf("the run came to %+v", r)
	}
	h.run("statements", 3)
	if all := h.bundles(); len(all) != before+1 || all[before].Pieces != 1 {
		t.Errorf("bundles %+v", all)
	}
	if rows := manifestOf(t, h.outbox("print")["print-20260303-printer-0001.csv"]); len(rows) != 1 || rows[0]["zip"] != "94601" || rows[0]["first_page"] != "1" {
		t.Errorf("the bundle holds %v", rows)
	}
	h.arrives("notices", bounce)
	if r := h.run("returns", 4); r.Skipped["unchanged"] != 1 || r.Skipped["bounced"] != 0 {
		t.Errorf("again the run came to %+v", r)
	}
	if r := h.run("reminders", 15); r.Skipped["bounced"] != 1 {
		t.Errorf("the reminders came to %+v", r)
	}
	list, _, err := h.NotDone(t.Context(), jobs.Filter{Code: "bounced", Most: 9})
	if err != nil || len(list) != 2 || list[1].MRN != memberNo(5) || list[1].Detail != "550 no such mailbox" || list[1].Says == "" {
		t.Errorf("listed are %+v, %v", list, err)
	}

	// April's goes by mail at once; in May there is another address.
	h.on("statements", calendar.Of(2026, 4, 1))
	h.arrives("members", fmt.Sprintf("mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery,email\n%[1]s,%[1]s,Eve,Five,5 Main St,Oakland,CA,94601,paperless,eve@example.org\n", memberNo(5)))
	h.on("feeds", calendar.Of(2026, 4, 20))
	h.on("statements", calendar.Of(2026, 5, 1))
	if got := h.deliveries(5); !slices.Equal(got, []string{"paper", "paper", "paperless"}) {
		t.Errorf("the statements went %v", got)
	}
	if all := h.sent(calendar.Of(2026, 4, 1)); len(all) != 0 {
		t.Errorf("in April was sent %+v", all)
	}
	if all := h.sent(calendar.Of(2026, 5, 1)); len(all) != 1 || all[0].To != "eve@example.org" {
		t.Errorf("in May was sent %+v", all)
	}
	h.proves()
}

// Without an e-mail address word goes by text; one that can be reached neither
// by message nor by mail is put before a person.
func TestPaperlessWithoutEmail(t *testing.T) {
	h := newMailHouse(t)
	columns := "mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery,email,phone\n"
	h.arrives("members", columns+
		fmt.Sprintf("%[1]s,%[1]s,Ann,One,1 Main St,Oakland,CA,94601,paperless,,510-555-0101\n", memberNo(1))+
		fmt.Sprintf("%[1]s,%[1]s,Bob,Two,2 Main St,Fresno,CA,93650,paperless,,\n", memberNo(2))+
		fmt.Sprintf("%[1]s,%[1]s,Dee,Four,,,,,paperless,dee@example.com,\n", memberNo(4)))
	h.run("feeds", 1)
	h.run("statements", 1)
	var told []string
	for _, m := range h.sent(march(1)) {
		told = append(told, m.ID)
	}
	if want := []string{"1-2026-03-statement-text", "4-2026-03-statement-email", "5-2026-03-statement-email"}; !slices.Equal(told, want) {
		t.Errorf("told were %v, want %v", told, want)
	}
	if list, _, err := h.NotDone(t.Context(), jobs.Filter{Job: "statements", Code: "no_address", Most: 9}); err != nil || len(list) != 1 || list[0].MRN != memberNo(2) {
		t.Errorf("listed are %+v, %v", list, err)
	}
	h.arrives("notices", "id,result,date\n4-2026-03-statement-email,bounced,2026-03-02\n1-2026-03-statement-text,delivered,2026-03-01\n")
	if r := h.run("returns", 3); r.Waiting != 1 || r.Skipped["bounced"] != 1 || r.Done != 1 {
		t.Errorf("the run came to %+v", r)
	}
	if list, _, err := h.NotDone(t.Context(), jobs.Filter{Waiting: true, Most: 9}); err != nil || len(list) != 1 || list[0].MRN != memberNo(4) || list[0].Code != "nowhere_to_send" {
		t.Errorf("what waits is %+v, %v", list, err)
	}
	h.proves()
}

// A carrier's file with a line that can't be is refused whole.
func TestCarriersFileIsRefused(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	const head, good = "id,result,date,reason\n", "5-2026-03-statement-email,bounced,2026-03-02,gone\n"
	for n, c := range []struct{ text, says string }{
		{"", "empty"},
		{"id,result,date,colour\n" + good, "no such column"},
		{"id,result\n5-2026-03-statement-email,bounced\n", "column is missing"},
		{head + good + "5-2026-03-reminder-email,bounced,2026-03-02,\n", "no message"},
		{head + good + "5-2026-03-statement,bounced,2026-03-02,\n", "no message"},
		{head + good + "x-2026-03-statement-email,bounced,2026-03-02,\n", "no message"},
		{head + good + "5-2026-03-statement-email,lost,2026-03-02,\n", "neither delivered nor bounced"},
		{head + good + "5-2026-03-statement-email,bounced,2026-03-30,\n", "in the future"},
		{head + good + "5-2026-03-statement-email,bounced,2026-02-27,\n", "queued on 2026-03-01"},
		{head + good + "5-2026-03-statement-email,bounced,March 2,\n", "March 2"},
		{head + "\n5-2026-03-statement-email,bounced,March 2,\n", "line 3"},
		{head + good + "5-2026-03-statement-email,bounced,2026-03-02,bo\xeete inconnue\n", "no UTF-8"},
		{head + good + "5-2026-03-statement-email,bounced,2026-03-02,no\x00 box\n", "no UTF-8"},
	} {
		h.arrives("notices", c.text)
		if r := h.run("returns", 3+n); r.Waiting != 1 || r.Done+r.Skipped["bounced"] != 0 || !strings.Contains(strings.Join(r.Notes, "\n"), c.says) {
			t.Errorf("%q came to %+v, want it to say %s", c.text, r, c.says)
		}
	}
	if got := h.deliveries(5); !slices.Equal(got, []string{"paperless"}) {
		t.Errorf("the statement goes %v", got)
	}
	h.proves()
}

// A file of reminders that a killed run has half filled is its own to seal.
func TestWordOfStatementsLeavesRemindersAlone(t *testing.T) {
	h := newMailHouse(t)
	h.exec(`insert into outbox_file (folder, name, made_on) values ('notices', 'notices-20260301-1.jsonl', '2026-03-01')`)
	h.run("statements", 1)
	var open int
	if err := h.DB.QueryRow(t.Context(), `select count(*) from outbox_file where name = 'notices-20260301-1.jsonl' and sha256 is null`).Scan(&open); err != nil || open != 1 {
		t.Errorf("the file of reminders is open %d times, %v", open, err)
	}
	if all := h.sent(march(1)); len(all) != 1 {
		t.Errorf("sent was %+v", all)
	}
}
