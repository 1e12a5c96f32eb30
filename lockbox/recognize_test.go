package lockbox

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
)

func parsed(t *testing.T, text string) Profile {
	t.Helper()
	p, err := ParseProfile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ownDated is the profile of docs/lockbox.md: bai-a with a received date where
// that has the payee.
const ownDated = `{"name": "own", "like": "bai-a", "doc": "Ours.", "records": {"6": {"payee": null, "received_date": "83-88 YYMMDD"}}, "payer": ["4.text"], "origins": ["0900000012"]}`

// dated puts received dates into the checks of the file of bai-a.
func dated(t *testing.T, days ...string) string {
	lines := strings.SplitAfter(readFile(t, "bai-a.bai"), "\n")
	n := 0
	for i, line := range lines {
		if line[:min(1, len(line))] == "6" {
			lines[i] = fmt.Sprintf("%-82.52s%s\n", strings.TrimRight(line, "\n"), days[n%len(days)])
			n++
		}
	}
	return strings.Join(lines, "")
}

// A biller's own profile is used for its bank's files, damaged or not: what
// it reads beyond a built-in one decides what is late.
func TestOwnProfileReadsADamagedFile(t *testing.T) {
	for _, text := range []string{dated(t, "260318"), dated(t, "260318", "260231")} {
		p, err := Recognize(strings.NewReader(text), append([]Profile{parsed(t, ownDated)}, Profiles()...))
		if err != nil || p.Name != "own" {
			t.Errorf("recognized as %q, %v", p.Name, err)
		}
		bad := strings.Contains(text, "260231")
		if s, batches := read(t, text, p); (s.RefusedBatches > 0) != bad || batches[0].Items[0].ReceivedDate != date("2026-03-18") {
			t.Errorf("%+v", s)
		}
	}
}

// What a few lines say that a layout only tells, or what a few damaged ones say,
// does not hand the file to another layout.
func TestDamagedFileKeepsItsLayout(t *testing.T) {
	a, b, c := readFile(t, "bai-a.bai"), readFile(t, "bai-b.bai"), readFile(t, "bai-c.bai")
	dates := strings.NewReplacer("031226", "991326", "022826", "992826").Replace(a)
	if s, err := Inspect(strings.NewReader(dates), Profiles()); err != nil || s.Profile != "bai-a" || !s.Foots() || len(s.Problems) != 2 {
		t.Errorf("dates of checks that no layout needs: %+v, %v", s, err)
	}
	// Each line damaged by one letter in one place after another.
	for want, text := range map[string]string{"bai-a": a, "bai-b": b, "bai-c": c} {
		lines := strings.SplitAfter(text, "\n")
		for n := range lines {
			for at := 1; at < len(lines[n])-1; at += 7 {
				if lines[n][at] == ' ' || n == 0 && at < 3 { // by which it is a BAI file at all
					continue
				}
				damaged := strings.Join(lines[:n], "") + lines[n][:at] + "X" + lines[n][at+1:] + strings.Join(lines[n+1:], "")
				if p, err := Recognize(strings.NewReader(damaged), Profiles()); err != nil || p.Name != want {
					t.Errorf("%s, line %d with an X in column %d: recognized as %q, %v", want, n+1, at+1, p.Name, err)
				}
			}
		}
	}
}

// A profile that fits reads a file whatever its beginning looks like, named or not.
func TestTablesThatBeginLikeSomethingElse(t *testing.T) {
	const keys = `"format": "csv", "doc": "A table.", "amounts": "dollars", "dates": "MM/DD/YYYY", "total_mark": "TOTAL", "totals": {"count": "2", "amount": "3"}`
	titled := `{"name": "own", ` + keys + `, "columns": {"deposit_date": "Date", "lockbox": "Box", "amount": "Amount"}`
	for what, c := range map[string]struct{ profile, text string }{
		"tildes":       {titled + `, "delimiter": "~"}`, "Date~Box~Amount\n03/19/2026~4711~575.00\nTOTAL~1~575.00\n"},
		"few columns":  {`{"name": "own", ` + keys + `, "header": "none", "columns": {"deposit_date": "1", "lockbox": "2", "amount": "3"}}`, "03/19/2026,4711,575.00\nTOTAL,1,575.00\n"},
		"a date above": {titled + `}`, "2026-03-19 Lockbox deposits\nDate,Box,Amount\n03/19/2026,4711,575.00\nTOTAL,1,575.00\n"},
		"a bank above": {titled + `}`, "111 Main Bank\nDate,Box,Amount\n03/19/2026,4711,575.00\nTOTAL,1,575.00\n"},
	} {
		own := parsed(t, c.profile)
		for _, ps := range [][]Profile{{own}, append([]Profile{own}, Profiles()...)} {
			if s, err := Inspect(strings.NewReader(c.text), ps); err != nil || !s.Foots() || s.Profile != "own" || s.Cents != 57500 {
				t.Errorf("%s, of %d profiles: %+v, %v", what, len(ps), s, err)
			}
		}
	}
	// Of a named one even a layout of no known beginning is read.
	lettered := parsed(t, `{"name": "own", "doc": "No header.", "records": {"5": {"lockbox": "2-8", "deposit_date": "9-14 YYMMDD"}, "6": {"amount": "2-11"}, "7": {"total": "2-11"}}}`)
	text := "5LB00042260319\n60000057500\n70000057500\n"
	if s, err := Inspect(strings.NewReader(text), []Profile{lettered}); err != nil || !s.Foots() || s.Cents != 57500 {
		t.Errorf("%+v, %v", s, err)
	}
	// But nothing is made of a file of another kind.
	for _, text := range []string{readFile(t, "table.csv"), readFile(t, "823.edi"), "Hello, who reads this?\n"} {
		if s, err := Inspect(strings.NewReader(text), []Profile{lettered}); err != nil || s.Foots() || s.Problems[0].Field != "format" {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// Numbers that are far apart take no room between them, in however many lockboxes.
func TestNumbersFarApartTakeNoRoom(t *testing.T) {
	var text strings.Builder
	text.WriteString("Box,Date,Batch,Amount\n")
	for n := range 9_000 {
		fmt.Fprintf(&text, "%d,2026-03-19,9999,1.00\n", 10_000+n)
	}
	text.WriteString("TOTAL,9000,9000.00\n")
	p := parsed(t, `{"name": "own", "format": "csv", "doc": "A table.", "amounts": "dollars", "dates": "YYYY-MM-DD", "total_mark": "TOTAL", "totals": {"count": "2", "amount": "3"},
		"columns": {"lockbox": "Box", "deposit_date": "Date", "batch": "Batch", "amount": "Amount"}}`)
	wide := parsed(t, `{"name": "wide", "doc": "Long numbers.", "counts": "note", "records": {"5": {"lockbox": "2-8", "deposit_date": "9-14 YYMMDD"}, "6": {"batch": "2-7", "item": "8-13", "amount": "14-23"}, "7": {"batch": "2-7", "total": "14-23"}}}`)
	var long strings.Builder
	for n := range 300 {
		fmt.Fprintf(&long, "5%07d260319\n69999999999990000000100\n7999999      0000000100\n", n)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if s, _ := read(t, text.String(), p); !s.Foots() || s.Items != 9_000 {
		t.Errorf("%+v", s)
	}
	if s, _ := read(t, long.String(), wide); !s.Foots() || s.Items != 300 {
		t.Errorf("%+v", s)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d MB were taken for %d KB", (after.TotalAlloc-before.TotalAlloc)>>20, text.Len()>>10)
	}
}

// A layout that tells its boxes check by check, as ACI's does, is held to ours in
// each batch, and a day without mail names none.
func TestBoxesOfEachBatchAreOurs(t *testing.T) {
	text := readFile(t, "aci.csv")
	p := profile(t, "csv-aci")
	_, batches := read(t, text, p)
	if len(batches) < 2 {
		t.Fatalf("%d batches", len(batches))
	}
	box := batches[0].Lockbox
	policy := billing.DefaultPolicy()
	policy.Lockboxes = []billing.LockboxAccount{{Lockbox: box}}
	for what, c := range map[string]struct {
		text string
		ours bool
	}{
		"ours": {text, true},
		"another's": {func() string {
			last := strings.LastIndex(text, box)
			return text[:last] + strings.Repeat("9", len(box)) + text[last+len(box):]
		}(), false},
		"no mail": {"\"1\",\"0\",\"03202026_173000\"\n\"5\",\"PAYMENTS\",\"1\",\"564075\"\n\"8\",\"564075\",\"0\",\"0\",\"0\",\"0\",\"0\"\n\"9\",\"1\",\"0\",\"0\",\"0\",\"0\"\n", true},
	} {
		f, err := Desk{Policy: &policy}.inspect("file", strings.NewReader(c.text), p)
		if err != nil {
			t.Fatal(err)
		}
		foreign := 0
		for _, p := range f.sum.Problems {
			if p.Field == "lockbox" && strings.Contains(p.Problem, "not one of ours") {
				foreign++
			}
		}
		if (foreign == 0) != c.ours {
			t.Errorf("%s: %+v", what, f.sum.Problems)
		}
	}
}

// A day without mail may be a header and a trailer; a file that lost all between
// them is none.
func TestHeaderAndTrailerAlone(t *testing.T) {
	for text, empty := range map[string]bool{
		"100EXAMPLEHLT09000000122603201730\n2EXAMPLEHLT0900000012          400\n9000003\n": true,
		"100EXAMPLEHLT09000000122603201730\n2EXAMPLEHLT0900000012          400\n9000019\n": false,
	} {
		for _, name := range []string{"bai-a", "bai-b"} {
			if s, _ := read(t, text, profile(t, name)); s.Empty != empty || s.Foots() != empty || s.Balanced != empty {
				t.Errorf("%s, %q: %+v", name, text, s)
			}
		}
	}
}

// The empty batches that a bank closes are in its count of batches or are not.
func TestCountOfBatchesWithEmptyOnes(t *testing.T) {
	text, p := readFile(t, "bai-c.bai"), profile(t, "bai-c")
	more := strings.NewReplacer("8000000000471126", "7003000"+"0004711"+"260319"+"000"+"0000000000"+"\n8000000000471126", "9000017", "9000018").Replace(text)
	for count, foots := range map[string]bool{"002": true, "003": true, "004": false} {
		if s, _ := read(t, strings.Replace(more, "97400 002", "97400 "+count, 1), p); s.Foots() != foots {
			t.Errorf("%s batches, of which one is empty: %+v", count, s)
		}
	}
}
