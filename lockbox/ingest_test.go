package lockbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

func TestSameFileTwice(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", "")))
	first := m.ingest("2026-03-16", "F1", content)
	lines := strings.Split(string(content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	for name, same := range map[string][]byte{"renamed": content, "other line ends": []byte(strings.Join(lines, "\r\n"))} {
		got := m.ingest("2026-03-17", name, same)
		if !got.Duplicate || got.Accepted || got.FileID != first.FileID || got.Items != 2 || got.Refused != 2 || got.Waiting() != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.wantFigures(a, 57500, 100, 57400)
	if n := m.one(`select count(*) from lockbox_file`); n != 1 {
		t.Errorf("%d files are stored", n)
	}
}

func TestResend(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	good := batch("001", check("1001", 100, "2026-03-16", ann))
	wrong := batch("002", check("1002", 200, "2026-03-16", ann), check("1003", 300, "2026-03-16", ann))
	wrong.Said = &lockbox.Total{Items: 2, Cents: 600}
	got := m.ingest("2026-03-16", "F1", m.file("0600", good, wrong))
	if got.Pending != 1 || got.Refused != 2 || got.RefusedBatches != 1 || !got.Accepted || len(got.Problems) == 0 || got.Waiting() != 2 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 100, 57400)
	m.wantState(got.FileID, 2, "refused batch_refused")

	fixed := batch("002", check("1002", 200, "2026-03-16", ann), check("1003", 400, "2026-03-16", ann))
	got = m.ingest("2026-03-18", "F2", m.file("0700", good, fixed))
	if got.Pending != 2 || got.Refused != 1 || got.Skipped != 1 || got.SkippedBatches != 1 || got.RefusedBatches != 0 || got.Waiting() != 0 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 57500, 700, 56800)
	if work, err := m.desk("2026-03-18").Held(t.Context()); err != nil || len(work) != 0 {
		t.Errorf("what was replaced still waits: %+v %v", work, err)
	}
	if n := m.one(`select count(*) from receipt where received_on = '2026-03-16' and posts_on = '2026-03-23'`); n != 3 {
		t.Error("the corrected batch did not keep its received date")
	}

	// A batch that was taken comes with another check: a person decides.
	other := batch("001", check("1001", 100, "2026-03-16", ann), check("1009", 900, "2026-03-16", ann))
	differs := m.file("0800", other, batch("003", check("1010", 50, "2026-03-16", ann)))
	held := m.ingest("2026-03-18", "F3", differs)
	if held.Held != 3 || held.Accepted || held.Duplicate || held.Waiting() != 3 {
		t.Errorf("%+v", held)
	}
	if again := m.ingest("2026-03-18", "F3", differs); !again.Duplicate || again.FileID != held.FileID || again.Held != 3 || again.Waiting() != 0 {
		t.Errorf("a held file again: %+v", again)
	}
	m.wantFigures(a, 57500, 700, 56800)
	if work, err := m.desk("2026-03-18").Held(t.Context()); err != nil || len(work) != 1 || work[0].Item != 0 || work[0].Items != 3 || work[0].Reason != lockbox.BatchDiffers {
		t.Errorf("%+v %v", work, err)
	}
	if n := m.one(`select count(*) from exception where cleared_on is null`); n != 1 {
		t.Errorf("%d exceptions", n)
	}
	d := m.desk("2026-03-19")
	if _, err := d.TakeHeld(t.Context(), held.FileID, bytes.NewReader(m.file("0801", other)), ""); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("other bytes than the file's: %v", err)
	}
	taken, err := d.TakeHeld(t.Context(), held.FileID, bytes.NewReader(differs), "the bank counts anew in the afternoon")
	m.must(err)
	m.addsUp(taken)
	if taken.FileID != held.FileID || taken.Held != 1 || taken.Pending != 2 { // check 1001 is a twin now
		t.Errorf("%+v", taken)
	}
	if n := m.one(`select count(*) from exception where cleared_on is null`); n != 0 {
		t.Error("the exception stands")
	}
	m.wantFigures(a, 57500, 1650, 55850)
}

func TestRefuseHeldFile(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann))))
	held := m.ingest("2026-03-16", "F2", m.file("0700", batch("001", check("1002", 200, "2026-03-16", ann))))
	m.must(m.desk("2026-03-17").RefuseHeld(t.Context(), held.FileID, "the bank's mistake"))
	if err := m.desk("2026-03-17").RefuseHeld(t.Context(), held.FileID, "again"); !errors.Is(err, lockbox.ErrNotNow) {
		t.Errorf("refused twice: %v", err)
	}
	if work, err := m.desk("2026-03-17").Held(t.Context()); err != nil || len(work) != 0 {
		t.Errorf("%+v %v", work, err)
	}
	m.wantFigures(a, 57500, 100, 57400)
	m.proven()
}

// Numbers restart after 999: two batches of one deposit date may share one. The
// second of them is new, and a resend skips both.
func TestNumbersThatWrapped(t *testing.T) {
	m := newMail(t)
	var batches []lockbox.Batch
	for n := range 1000 {
		batches = append(batches, batch(fmt.Sprintf("%03d", n%999+1), check(fmt.Sprint(5000+n), ledger.Cents(1+n), "2026-03-16", "")))
	}
	if got := m.ingest("2026-03-16", "F1", m.file("0600", batches[:999]...)); got.Suspense != 999 {
		t.Fatalf("%+v", got)
	}
	for _, c := range []struct{ suspense, skipped int }{{1, 999}, {0, 1000}} {
		got := m.ingest("2026-03-16", "F2", m.file(fmt.Sprintf("07%02d", c.suspense), batches...))
		if got.Suspense != c.suspense || got.SkippedBatches != c.skipped || got.Held != 0 {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
}

func TestRefusedFile(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann)))
	cut := content[:bytes.LastIndexByte(content[:len(content)-1], '\n')+1]
	var first lockbox.Ingested
	for range 2 {
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(cut), m.profile)
		if !errors.Is(err, lockbox.ErrRefused) || got.Accepted || got.Refused != 1 || got.Items != 1 || len(got.Problems) == 0 {
			t.Errorf("%+v %v", got, err)
		}
		m.addsUp(got)
		if first.FileID != 0 && got.FileID != first.FileID {
			t.Error("the same refused file has two rows")
		}
		first = got
	}
	m.wantFigures(a, 57500, 0, 57500)
	if n := m.one(`select count(*) from lockbox_item`) + m.one(`select count(*) from journal where account_id = 0`); n != 0 {
		t.Errorf("%d rows of a refused file", n)
	}
	// Read by the wrong layout it was refused; by its own it is taken.
	wrong, err := lockbox.ProfileNamed(lockbox.Profiles(), "bai-a")
	m.must(err)
	if got, err := m.desk("2026-03-16").Ingest(t.Context(), "F2", bytes.NewReader(content), wrong); !errors.Is(err, lockbox.ErrRefused) {
		t.Errorf("%+v %v", got, err)
	}
	if got := m.ingest("2026-03-17", "F2", content); got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	for _, other := range []string{"", "01,BANK,", "hello\n"} {
		if got, err := m.desk("2026-03-16").Ingest(t.Context(), "x", strings.NewReader(other), lockbox.Profile{}); !errors.Is(err, lockbox.ErrRefused) || got.FileID == 0 {
			t.Errorf("%q: %+v %v", other, got, err)
		}
	}
}

func TestSomebodyElsesLockbox(t *testing.T) {
	m := newMail(t)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", "")))
	for _, c := range []struct {
		ours billing.LockboxAccount
		ok   bool
	}{
		{billing.LockboxAccount{Lockbox: "48"}, false},
		{billing.LockboxAccount{Lockbox: "47", Routing: "OTHER"}, false},
		{billing.LockboxAccount{Lockbox: "47", Routing: "BANK"}, true},
	} {
		m.policy.Lockboxes = []billing.LockboxAccount{c.ours}
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile)
		if errors.Is(err, lockbox.ErrRefused) == c.ok || got.Accepted != c.ok {
			t.Errorf("%+v: %+v %v", c.ours, got, err)
		}
	}
}

// A box with a layout of its own in the policy is read by it: here the layout
// that knows where the received date stands.
func TestLayoutOfTheBox(t *testing.T) {
	m := newMail(t)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-13", "")))
	for name, received := range map[string]string{"mail": "2026-03-13", "bai-c": "2026-03-16"} {
		m := newMail(t)
		m.policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "47", Profile: name}}
		got, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), lockbox.Profile{})
		m.must(err)
		if got.Profile != name || m.one(`select count(*) from lockbox_item where received_on = $1`, calendar.MustParse(received)) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "47", Profile: "nowhere"}}
	if _, err := m.desk("2026-03-16").Ingest(t.Context(), "F2", bytes.NewReader(content), lockbox.Profile{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a layout that is not there: %v", err)
	}
}

// rewritten is a file that somebody writes anew while it is read: from the nth
// rewinding on it has other bytes.
type rewritten struct {
	*bytes.Reader
	later []byte
	n     int
}

func (r *rewritten) Seek(offset int64, whence int) (int64, error) {
	if r.n--; r.n == 0 {
		r.Reader = bytes.NewReader(r.later)
	}
	return r.Reader.Seek(offset, whence)
}

// A file that changes between its readings is not taken, be it by a day that no
// check had, and says so.
func TestFileChangesWhileItIsRead(t *testing.T) {
	changed := 0
	for n := 1; n <= 6; n++ {
		m := newMail(t)
		ann, a := m.member(1, 57500)
		file := func(day string) []byte {
			items := []lockbox.Item{check("1001", 100, day, ann)}
			for n := range 30 { // whose turn comes when the first has long been laid out
				items = append(items, check(fmt.Sprint(1002+n), 200, "2026-03-16", ann))
			}
			return m.file("0600", batch("001", items...))
		}
		d := m.desk("2026-03-16")
		d.ChunkItems = 1
		got, err := d.Ingest(t.Context(), "F1", &rewritten{bytes.NewReader(file("2026-03-16")), file("2026-03-13"), n}, m.profile)
		if err == nil {
			m.addsUp(got)
			continue
		}
		changed++
		if !strings.Contains(err.Error(), "the file changed while it was read") {
			t.Errorf("rewinding %d: %v", n, err)
		}
		m.wantFigures(a, 57500, 0, 57500)
	}
	if changed == 0 {
		t.Error("no reading saw the change")
	}
}

// A transaction that fails in the middle leaves nothing, and the same call
// works when the trouble is over.
func TestCrashHalfway(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	_, err := m.db.Exec(t.Context(), `create function break_down() returns trigger language plpgsql as $$ begin raise exception 'power cut'; end $$;
		create trigger break_down before insert on receipt for each row when (new.check_item = 2) execute function break_down()`)
	m.must(err)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", ann), check("1003", 300, "2026-03-16", "")))
	if _, err := m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile); err == nil || errors.Is(err, lockbox.ErrRefused) {
		t.Fatalf("it did not fail: %v", err)
	}
	m.wantFigures(a, 57500, 0, 57500)
	if n := m.one(`select (select count(*) from lockbox_file) + (select count(*) from lockbox_item) + (select count(*) from journal where account_id = 0)`); n != 0 {
		t.Errorf("%d rows were left", n)
	}
	_, err = m.db.Exec(t.Context(), `drop trigger break_down on receipt`)
	m.must(err)
	if got := m.ingest("2026-03-16", "F1", content); got.Pending != 2 || got.Suspense != 1 {
		t.Errorf("%+v", got)
	}
}

// Several operators upload one file and match one check at the same moment: one
// of them does it.
func TestAtTheSameMoment(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	content := m.file("0600", batch("001", check("1001", 100, "2026-03-16", ann), check("1002", 200, "2026-03-16", "")))
	var wg sync.WaitGroup
	answers := make([]lockbox.Ingested, 4)
	errs := make([]error, 4)
	at := func(n int, do func(n int)) {
		for i := range n {
			wg.Go(func() { do(i) })
		}
		wg.Wait()
	}
	at(4, func(i int) {
		answers[i], errs[i] = m.desk("2026-03-16").Ingest(t.Context(), "F1", bytes.NewReader(content), m.profile)
	})
	accepted := 0
	for i, got := range answers {
		m.must(errs[i])
		if got.Accepted {
			accepted++
		} else if !got.Duplicate {
			t.Errorf("%+v", got)
		}
	}
	file := answers[0].FileID
	at(4, func(i int) { errs[i] = m.desk("2026-03-16").Match(t.Context(), file, 2, ann, "found") })
	matched := 0
	for _, err := range errs {
		if err == nil {
			matched++
		} else if !errors.Is(err, lockbox.ErrNotNow) {
			t.Error(err)
		}
	}
	if accepted != 1 || matched != 1 {
		t.Errorf("%d accepted, %d matched", accepted, matched)
	}
	m.wantFigures(a, 57500, 300, 57200)
	m.proven()
}

// No number of a payer's bank account stands in the database in clear, and the
// desk shows it masked.
func TestAccountNumbersAreSecret(t *testing.T) {
	m := newMail(t)
	hostile := check("1001", 100, "2026-03-16", "")
	hostile.Remitter = "=HYPERLINK(1)<script>"
	got := m.ingest("2026-03-16", "F1", m.file("0600", batch("001", hostile)))
	var row string
	m.must(m.db.QueryRow(t.Context(), `select row_to_json(i)::text || row_to_json(f)::text from lockbox_item i, lockbox_file f`).Scan(&row))
	if strings.Contains(row, "9988776655") || strings.Contains(row, "121000358") {
		t.Errorf("in clear: %s", row)
	}
	if n := m.one(`select count(*) from lockbox_raw where position('9988776655'::bytea in sealed) > 0 or length(sealed) < 50`); n != 0 {
		t.Error("the sealed lines hold the account number")
	}
	work, err := m.desk("2026-03-16").Held(t.Context())
	m.must(err)
	if text, err := json.Marshal(work); err != nil || strings.Contains(string(text), "<script") || strings.Contains(string(text), "9988776655") || !strings.Contains(work[0].Raw, hostile.Remitter) {
		t.Errorf("%s %v", text, err)
	}
	// Nor where the layout is not known any more.
	d := m.desk("2026-03-16")
	d.Profiles = lockbox.Profiles()
	if work, err := d.Held(t.Context()); err != nil || strings.Contains(work[0].Raw, "9988776655") || strings.Contains(work[0].Raw, "121000358") {
		t.Errorf("%+v %v", work, err)
	}
	if len(work) != 1 || strings.Contains(work[0].Raw, "9988776655") || !strings.Contains(work[0].Raw, "******6655") || work[0].FileID != got.FileID {
		t.Errorf("%+v", work)
	}
}

// A file that is larger than a group: twins are found and postings keep their
// order across groups.
func TestManyChecks(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	var items []lockbox.Item
	for n := range 12_000 {
		items = append(items, check(fmt.Sprint(100_000+n), 1, "2026-03-16", ""))
	}
	items[0] = check("1", 50000, "2026-03-18", ann)
	items[11_000] = check("2", 57500, "2026-03-17", ann)
	items[11_999] = check("100007", 1, "2026-03-16", "")
	got := m.ingest("2026-04-02", "F1", m.file("0600", batch("001", items[:990]...), batch("002", items[990:1900]...), batch("003", items[1900:]...)))
	if got.Posted != 2 || got.Held != 1 || got.Suspense != 11_997 {
		t.Errorf("%+v", got)
	}
	m.wantState(got.FileID, 12_000, "held duplicate_check")
	if left := m.one(`select unapplied from receipt where account_id = $1 and reference = '1'`, a); left != 50000 {
		t.Errorf("the check received later paid first: %d of it is left", left)
	}
}

// The bank's own files, recognized by their content.
func TestRecognizedFiles(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		t.Run(name, func(t *testing.T) {
			m := newMail(t)
			for serial := range int64(6) {
				m.member(serial+1, 0)
			}
			content, err := os.ReadFile("testdata/" + name + ".bai")
			m.must(err)
			got, err := m.desk("2026-03-20").Ingest(t.Context(), name, bytes.NewReader(content), lockbox.Profile{})
			m.must(err)
			m.addsUp(got)
			if got.Profile != name || got.Items != 4 || got.Cents != 222400 || got.Pending+got.Posted == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
