package lockbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

func profile(t testing.TB, name string) Profile {
	t.Helper()
	p, err := ProfileNamed(Profiles(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sample returns a file of testdata with plain line ends: an invented bank's
// mail of two lockboxes, four checks, in one of the built-in layouts.
func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".bai")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r", "")
}

func read(t testing.TB, text string, p Profile) (Summary, []Batch) {
	t.Helper()
	var batches []Batch
	s, err := Read(strings.NewReader(text), p, func(b Batch) error {
		batches = append(batches, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, batches
}

func date(s string) calendar.Date { return calendar.MustParse(s) }

func TestReadLayouts(t *testing.T) {
	for _, test := range []struct {
		profile string
		items   []Item // of the fields compared, what the layout can tell
	}{
		{"bai-a", []Item{
			{Routing: "011100002", Account: "0098765432", Check: "1001", CheckDate: date("2026-03-12"), Remitter: "MARIA LOPEZ", Payee: "EXAMPLE HEALTH", References: []string{"000000001800000420010005750065"}},
			{Routing: "012200003", Account: "0011122233", Check: "77", Remitter: "SAM AND JO REED", References: []string{"0000000026", "0000000034"}},
			{Remitter: "MONEY ORDER"},
			{Routing: "011100002", Account: "5550001111", Check: "204", CheckDate: date("2026-02-28"), References: []string{"0000000042"}},
		}},
		{"bai-b", []Item{
			{Routing: "111000025", Account: "0098765432", Check: "1001", References: []string{"0000000018", "0000042001"}},
			{Routing: "122000030", Account: "0011122233", Check: "77", References: []string{"0000000026", "0000042002", "0000000034", "0000042003"}},
			{References: []string{"LB0009"}},
			{Routing: "111000025", Account: "5550001111", Check: "204"},
		}},
		{"bai-c", []Item{
			{Routing: "011100002", Account: "0098765432", Check: "1001", CheckDate: date("2026-03-12"), PostmarkDate: date("2026-03-14"), Remitter: "MARIA LOPEZ", References: []string{"0000000018", "42001"}},
			{Routing: "012200003", Account: "0011122233", Check: "77", Remitter: "SAM AND JO REED", References: []string{"0000000026", "42002", "0000000034", "42003"}},
			{Remitter: "MONEY ORDER"},
			{Routing: "011100002", Account: "5550001111", Check: "204", CheckDate: date("2026-02-28")},
		}},
	} {
		t.Run(test.profile, func(t *testing.T) {
			s, batches := read(t, sample(t, test.profile), profile(t, test.profile))
			if !s.Foots() || !s.Balanced || s.Empty || s.Lockboxes != 2 || s.Batches != 3 || s.Items != 4 || s.Cents != 222400 || len(s.Problems) != 0 {
				t.Errorf("summary %+v", s)
			}
			if s.Origin != "0900000012" || s.Destination != "EXAMPLEHLT" || s.FileDate != date("2026-03-20") {
				t.Errorf("header %+v", s)
			}
			var got []Item
			for n, b := range batches {
				if b.Ordinal != n+1 || b.Said == nil || b.Said.Cents != b.Cents || b.Said.Items != len(b.Items) || b.Refused {
					t.Errorf("batch %+v", b)
				}
				got = append(got, b.Items...)
			}
			amounts, days := []ledger.Cents{57500, 30000, 9900, 125000}, []string{"2026-03-19", "2026-03-19", "2026-03-19", "2026-03-18"}
			for n, want := range test.items {
				i := got[n]
				if i.Ordinal != n+1 || i.Cents != amounts[n] || i.ReceivedDate != date(days[n]) || i.DepositDate != date(days[n]) {
					t.Errorf("item %d: %v %v", n+1, i, i.ReceivedDate)
				}
				have := Item{Routing: i.Routing, Account: i.Account, Check: i.Check, CheckDate: i.CheckDate, PostmarkDate: i.PostmarkDate, Remitter: i.Remitter, Payee: i.Payee, References: i.References}
				if !reflect.DeepEqual(have, want) {
					t.Errorf("item %d:\n got %#v %q\nwant %#v %q", n+1, have, have.References, want, want.References)
				}
			}
			if test.profile != "bai-a" {
				two := got[1].Overflows
				if len(two) != 2 || two[0].Cents != 10000 || !two[0].HasCents || two[1].Cents != 20000 || two[1].Sequence != "02" {
					t.Errorf("coupons %+v", two)
				}
			}
			if inspected, err := Read(strings.NewReader(sample(t, test.profile)), profile(t, test.profile), nil); err != nil || inspected.Cents != s.Cents || inspected.SHA256 != s.SHA256 {
				t.Errorf("without batches: %+v, %v", inspected, err)
			}
		})
	}
}

// replaced returns text with one line (from 1) rewritten.
func replaced(text string, line int, old, new string) string {
	lines := strings.SplitAfter(text, "\n")
	if !strings.Contains(lines[line-1], old) {
		panic(fmt.Sprintf("line %d has no %q: %s", line, old, lines[line-1]))
	}
	lines[line-1] = strings.Replace(lines[line-1], old, new, 1)
	return strings.Join(lines, "")
}

// without returns text without the lines from to to.
func without(text string, from, to int) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(append(lines[:from-1:from-1], lines[min(to, len(lines)):]...), "")
}

func again(text string, line int) string {
	lines := strings.SplitAfter(text, "\n")
	lines[line-1] += lines[line-1]
	return strings.Join(lines, "")
}

func TestProblems(t *testing.T) {
	a, b, c := sample(t, "bai-a"), sample(t, "bai-b"), sample(t, "bai-c")
	for _, test := range []struct {
		name, text, profile string
		want                []string // line record field said found refuses
		balanced, whole     bool
		refused             bool
		batches             int // refused by themselves
	}{
		{"batch total", replaced(a, 9, "0000087500", "0000087600"), "bai-a", []string{"9 7 total 87600 87500 batch"}, false, true, false, 1},
		{"batch total, and the lockbox adds it up", replaced(replaced(a, 9, "0000087500", "0000087600"), 12, "0000097400", "0000097500"), "bai-a",
			[]string{"9 7 total 87600 87500 batch", "12 8 total 97500 97400 "}, false, true, false, 1},
		{"batch and lockbox total, each another", replaced(replaced(a, 9, "0000087500", "0000087600"), 12, "0000097400", "0000097999"), "bai-a",
			[]string{"9 7 total 87600 87500 batch", "12 8 total 97999 97400 file"}, false, true, true, 1},
		{"lockbox total", replaced(a, 17, "0000125000", "0000125001"), "bai-a", []string{"17 8 total 125001 125000 file"}, false, true, true, 0},
		{"two wrong amounts that cancel out", replaced(replaced(a, 4, "0000057500", "0000057600"), 10, "0000009900", "0000009800"), "bai-a",
			[]string{"9 7 total 87500 87600 batch", "11 7 total 9900 9800 batch"}, false, true, false, 2},
		{"batch count", replaced(a, 9, "0020000087500", "0030000087500"), "bai-a", []string{"9 7 count 003 2 file"}, true, true, true, 0},
		{"lockbox count", replaced(a, 12, "00030000097400", "00040000097400"), "bai-a", []string{"12 8 count 0004 3 file"}, true, true, true, 0},
		{"record count", replaced(a, 18, "000018", "000017"), "bai-a", []string{"18 9 count 000017 18 file"}, true, true, true, 0},
		{"batches count", replaced(c, 12, " 002", " 003"), "bai-c", []string{"12 8 batches 003 2 file"}, true, true, true, 0},
		{"counts of a bank known for them", replaced(replaced(b, 9, "0020000087500", "0010000087500"), 19, "000019", "000015"), "bai-b",
			[]string{"9 7 count 001 2 ", "19 9 count 000015 19 "}, true, true, false, 0},
		{"the same, strictly", replaced(replaced(b, 9, "0020000087500", "0010000087500"), 19, "000019", "000015"), "bai-b-strict",
			[]string{"9 7 count 001 2 file", "19 9 count 000015 19 file"}, true, true, true, 0},
		{"count that is no number", replaced(a, 18, "000018", "0000x8"), "bai-a", []string{"18 9 count 0000x8 18 file"}, true, true, true, 0},
		{"batch twice", replaced(replaced(a, 10, "6002", "6001"), 11, "7002", "7001"), "bai-a", []string{"10 6 batch 001 the same number before file"}, true, true, true, 0},
		{"item twice", replaced(replaced(replaced(a, 6, "6001002", "6001001"), 7, "4001002", "4001001"), 8, "4001002", "4001001"), "bai-a", []string{"6 6 item 001 the same number before file"}, true, true, true, 0},
		{"overflow twice", replaced(a, 8, "029", "019"), "bai-a", []string{"8 4 sequence 01 the same number before file"}, true, true, true, 0},
		{"amount with a letter", replaced(a, 10, "0000009900", "00000O9900"), "bai-a", []string{"10 6 amount 00000O9900 no amount file", "11 7 total 9900 0 batch", "12 8 total 97400 87500 "}, false, true, true, 1},
		{"amount left-aligned", replaced(a, 10, "0000009900", "9900      "), "bai-a", []string{"10 6 amount 9900 no amount file", "11 7 total 9900 0 batch", "12 8 total 97400 87500 "}, false, true, true, 1},
		{"amount of a coupon", replaced(b, 5, "0000057500", "00000575.0"), "bai-b", []string{"5 4 amount 00000575.0 no amount file"}, true, true, true, 0},
		{"batch number with a letter", replaced(a, 6, "6001", "60A1"), "bai-a", []string{"6 6 batch 0A1 no number of 3 digits file"}, true, true, true, 0},
		{"another batch in the total", replaced(a, 9, "7001", "7009"), "bai-a", []string{"9 7 batch 9 1 file"}, true, true, true, 0},
		{"another lockbox in the total", replaced(a, 9, "0004711", "0004719"), "bai-a", []string{"9 7 lockbox 0004719 0004711 file"}, true, true, true, 0},
		{"another lockbox on the check", replaced(b, 4, "0004711", "0004719"), "bai-b", []string{"4 6 lockbox 0004719 0004711 file"}, true, true, true, 0},
		{"another date in the total", replaced(a, 9, "260319", "260320"), "bai-a", []string{"9 7 deposit_date 2026-03-20 2026-03-19 batch"}, true, true, false, 1},
		{"overflow of another check", replaced(a, 5, "4001001", "4001002"), "bai-a", []string{"5 4 item 1/2 1/1 file"}, true, true, true, 0},
		{"overflow without a check", replaced(a, 10, "6002001", "4002001"), "bai-a", []string{"10 4 record type 4 6 file", "11 7 count 001 0 file", "11 7 total 9900 0 batch", "12 8 count 0003 2 file", "12 8 total 97400 87500 "}, false, true, true, 1},
		{"deposit date that is none", replaced(a, 3, "260319", "260230"), "bai-a", []string{"3 5 deposit_date 260230 no date of the form YYMMDD file"}, true, true, true, 0},
		{"29 February of a common year", replaced(a, 14, "022826", "022926"), "bai-a", []string{"14 6 check_date 022926 no date of the form MMDDYY "}, true, true, false, 0},
		{"check dated the other way round", replaced(a, 4, "031226", "260312"), "bai-a", []string{"4 6 check_date 260312 no date of the form MMDDYY "}, true, true, false, 0},
		{"routing that cannot be read", replaced(a, 4, "011100002", "0111?0002"), "bai-a", []string{"4 6 routing ****0002 no number "}, true, true, false, 0},
		{"unknown record", replaced(a, 15, "4001001", "X001001"), "bai-a", []string{"15 file record type X one of 1, 2, 4, 5, 6, 7, 8, 9 file"}, true, true, true, 0},
		{"short line", replaced(a, 10, "60020010000009900                   0000000000000000MONEY ORDER", "600200100000099"), "bai-a",
			[]string{"10 6 amount 15 columns 17 columns file", "11 7 total 9900 0 batch", "12 8 total 97400 87500 "}, false, true, true, 1},
		{"no trailer", without(a, 18, 18), "bai-a", []string{"17 9 record type the end of the file no record 9 file"}, true, false, true, 0},
		{"no lockbox total", without(a, 17, 18), "bai-a", []string{"16 8 record type the end of the file on line 16 no record 8 file", "16 9 record type the end of the file no record 9 file"}, false, false, true, 0},
		{"no batch total", without(a, 16, 18), "bai-a", []string{"15 7 record type the end of the file on line 15 no record 7 file", "15 8 record type the end of the file on line 15 no record 8 file", "15 9 record type the end of the file no record 9 file"}, false, false, true, 0},
		{"no header", without(a, 1, 1), "bai-a", []string{"1 2 record type 2 1 file", "17 9 count 000018 17 file"}, true, false, true, 0},
		{"no record 5", without(a, 3, 3), "bai-a", []string{"3 6 record type 6 5 file", "8 7 lockbox 0004711 blank file", "10 7 lockbox 0004711 blank file", "11 8 lockbox 0004711 blank file", "17 9 count 000018 17 file"}, true, false, true, 0},
		{"a batch total lost in the middle", without(a, 9, 9), "bai-a", []string{"9 7 record type record 6 of batch 2 no record 7 file", "17 9 count 000018 17 file"}, false, false, true, 0},
		{"a lockbox total lost in the middle", without(a, 12, 12), "bai-a", []string{"12 8 record type record 5 no record 8 file", "17 9 count 000018 17 file"}, false, false, true, 0},
		{"a record after the trailer", a + "9000018\n", "bai-a", []string{"19 9 record type 9 nothing after record 9 file", "19 9 count 000018 19 file"}, true, false, true, 0},
		{"header twice", again(a, 1), "bai-a", []string{"2 1 record type 1 no second record 1 file", "19 9 count 000018 19 file"}, true, false, true, 0},
		{"service record in the middle", again(a, 2), "bai-a", []string{"3 2 record type 2 record 2 after record 1 only file", "19 9 count 000018 19 file"}, true, true, true, 0},
		{"record 5 twice", again(a, 3), "bai-a", []string{"4 5 record type 5 6, 7 or 8 file", "19 9 count 000018 19 file"}, true, false, true, 0},
		{"nothing", "", "bai-a", []string{"1 file length no records 0 records file"}, false, false, true, 0},
		{"blank lines only", "\n  \r\n\x1a", "bai-a", []string{"3 file length no records 0 records file"}, false, false, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, batches := read(t, test.text, profile(t, test.profile))
			var got []string
			for _, p := range s.Problems {
				got = append(got, fmt.Sprintf("%d %s %s %s %s %s", p.Line, p.Record, p.Field, p.Said, p.Found, p.Refuses))
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("problems\n got %q\nwant %q", got, test.want)
			}
			if s.Balanced != test.balanced || s.Whole != test.whole || s.Refused() != test.refused || s.RefusedBatches != test.batches {
				t.Errorf("balanced %v, whole %v, refused %v, refused batches %d", s.Balanced, s.Whole, s.Refused(), s.RefusedBatches)
			}
			if s.Foots() != (!test.refused && test.batches == 0) {
				t.Errorf("foots %v", s.Foots())
			}
			refused := 0
			for _, b := range batches {
				if b.Refused {
					refused++
				}
			}
			if refused != test.batches {
				t.Errorf("%d batches were handed out as refused", refused)
			}
			inspected, err := Read(strings.NewReader(test.text), profile(t, test.profile), nil)
			s.CanonicalSHA256 = Hash{}
			if err != nil || !reflect.DeepEqual(inspected, s) {
				t.Errorf("reading without batches says %+v, %v", inspected, err)
			}
		})
	}
}

func TestFilePolicyForABatch(t *testing.T) {
	p := profile(t, "bai-a")
	p.OutOfBalance = "file"
	s, _ := read(t, replaced(sample(t, "bai-a"), 9, "0000087500", "0000087600"), p)
	if !s.Refused() || s.RefusedBatches != 0 {
		t.Errorf("refused %v, batches %d", s.Refused(), s.RefusedBatches)
	}
}

// Two transmissions in one file are refused by the header that follows the
// trailer, whatever else is said about them.
func TestTwoTransmissions(t *testing.T) {
	a := sample(t, "bai-a")
	s, _ := read(t, a+a, profile(t, "bai-a"))
	if s.Foots() || s.Whole || len(s.Problems) == 0 || s.Problems[0].Line != 19 || s.Problems[0].Record != "1" || !strings.Contains(s.Problems[0].Problem, "second header") {
		t.Errorf("%+v", s)
	}
	if s.Items != 8 {
		t.Errorf("%d items", s.Items)
	}
}

func TestEmptyDeposit(t *testing.T) {
	empty := "100EXAMPLEHLT09000000122603201730\n50000000004711260319\n700000000047112603190000000000000\n800000000047112603190000000000000000\n9000005\n"
	s, batches := read(t, empty, profile(t, "bai-a"))
	if !s.Empty || !s.Foots() || !s.Balanced || s.Lockboxes != 0 || s.Batches != 0 || len(batches) != 1 || len(batches[0].Items) != 0 {
		t.Errorf("%+v", s)
	}
	s, _ = read(t, replaced(empty, 3, "0000000000", "0000000001"), profile(t, "bai-a"))
	if s.Empty || s.Foots() {
		t.Errorf("a total without checks passed: %+v", s)
	}
}

// Both nestings are read by every profile, whatever it writes.
func TestBothNestings(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		p := profile(t, name)
		for _, p.Nesting = range []string{"lockbox", "batch"} {
			var b bytes.Buffer
			file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: []Item{{Cents: 5}}}, {Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: []Item{{Cents: 7}}}}}
			if err := Write(&b, p, file); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"lockbox": 1, "batch": 2}[p.Nesting]
			if got := strings.Count("\n"+b.String(), "\n5"); got != want {
				t.Errorf("%s by %s: %d records 5", name, p.Nesting, got)
			}
			if s, _ := read(t, b.String(), profile(t, name)); !s.Foots() || s.Lockboxes != 1 || s.Batches != 2 || s.Cents != 12 {
				t.Errorf("%s by %s: %+v", name, p.Nesting, s)
			}
		}
	}
}

// What happens to a file on its way changes its bytes and nothing else.
func TestCanonical(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		text := sample(t, name)
		want, wantBatches := read(t, text, profile(t, name))
		for way, changed := range map[string]string{
			"carriage returns":           strings.ReplaceAll(text, "\n", "\r\n"),
			"carriage returns alone":     strings.ReplaceAll(text, "\n", "\r"),
			"two carriage returns":       strings.ReplaceAll(text, "\n", "\r\r\n"),
			"blanks":                     strings.ReplaceAll(text, "\n", "      \n"),
			"NULs":                       strings.ReplaceAll(text, "\n", "\x00\x00\n"),
			"trimmed":                    strings.Join(trimmed(text), "\n"),
			"byte order mark":            "\ufeff" + text,
			"Ctrl-Z":                     text + "\x1a",
			"Ctrl-Z on the last line":    strings.TrimRight(text, " \n") + "\x1a",
			"NUL padding to a block":     text + strings.Repeat("\x00", 512),
			"no line end at the end":     strings.TrimRight(text, "\n"),
			"blank lines after the file": text + "\n\n   \n",
		} {
			got, batches := read(t, changed, profile(t, name))
			if got.SHA256 == want.SHA256 {
				t.Errorf("%s, %s: the hash of the bytes did not change", name, way)
			}
			if got.CanonicalSHA256 != want.CanonicalSHA256 {
				t.Errorf("%s, %s: the canonical hash changed", name, way)
			}
			got.SHA256 = want.SHA256
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\n got %+v\nwant %+v", name, way, got, want)
			}
			for n := range batches {
				if !reflect.DeepEqual(batches[n], wantBatches[n]) {
					t.Errorf("%s, %s: batch %d differs", name, way, n+1)
				}
			}
			if p, err := Recognize(strings.NewReader(changed), Profiles()); err != nil || p.Name != name {
				t.Errorf("%s, %s: recognized as %q, %v", name, way, p.Name, err)
			}
		}
		lines := trimmed(text)
		lines[3] = strings.Replace(lines[3], "1001", "1002", 1)
		if _, other := read(t, strings.Join(lines, "\n"), profile(t, name)); other[0].CanonicalSHA256 == wantBatches[0].CanonicalSHA256 || other[1].CanonicalSHA256 != wantBatches[1].CanonicalSHA256 {
			t.Errorf("%s: a changed check must change the hash of its batch and of no other", name)
		}
	}
}

func trimmed(text string) []string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func TestNamesBeyondASCII(t *testing.T) {
	c := sample(t, "bai-c")
	for _, test := range []struct{ name, old, new string }{
		{"UTF-8, laid out in characters", "MARIA LOPEZ", "MARÍA LÓPEZ"},
		{"UTF-8, laid out in bytes", "MARIA LOPEZ  ", "MARÍA LÓPEZ"},
		{"Latin-1", "MARIA LOPEZ", "MAR\xcdA L\xd3PEZ"},
	} {
		s, batches := read(t, strings.Replace(c, test.old, test.new, 1), profile(t, "bai-c"))
		if !s.Foots() {
			t.Errorf("%s: %v", test.name, s.Problems)
			continue
		}
		i := batches[0].Items[0]
		if i.Remitter != "MARÍA LÓPEZ" || i.Payer != "0000000018" || i.PostmarkDate != date("2026-03-14") || i.ZIP != "94612" {
			t.Errorf("%s: remitter %q, payer %q, postmark %v, zip %q", test.name, i.Remitter, i.Payer, i.PostmarkDate, i.ZIP)
		}
		if masked := i.MaskedRaw(profile(t, "bai-c")); strings.Contains(masked, i.Account) || !strings.Contains(masked, "******5432") {
			t.Errorf("%s: masked %q", test.name, masked)
		}
	}
	control := strings.Replace(c, "MARIA LOPEZ", "MARIA\x00\x1bLOPE", 1)
	if _, batches := read(t, control, profile(t, "bai-c")); batches[0].Items[0].Remitter != "MARIA  LOPE" {
		t.Errorf("control characters: %q", batches[0].Items[0].Remitter)
	}
}

// Numbers, counts and totals go on from their first digit when their columns
// are full, and a file does not become wrong by that.
func TestWraps(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		many := Batch{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: make([]Item, 1234)}
		for i := range many.Items {
			many.Items[i] = Item{Cents: 9_999_999_999, Check: "1"}
		}
		file := File{Batches: []Batch{many}}
		for range 1010 {
			file.Batches = append(file.Batches, Batch{Lockbox: "0000002", DepositDate: date("2026-01-02"), Items: []Item{{Cents: 1}}})
		}
		var b bytes.Buffer
		if err := Write(&b, profile(t, name), file); err != nil {
			t.Fatal(err)
		}
		s, batches := read(t, b.String(), profile(t, name))
		if !s.Foots() || !s.Balanced || s.Items != 2244 || s.Batches != 1011 || s.Cents != 1234*9_999_999_999+1010 {
			t.Errorf("%s: %+v", name, s)
		}
		if len(s.Problems) != 2 || s.Problems[0].Field != "total" || s.Problems[1].Field != "total" {
			t.Errorf("%s: want two notes on totals that outgrew their columns, got %v", name, s.Problems)
		}
		if last := batches[0].Items[1233]; last.Number != "235" || last.Ordinal != 1234 {
			t.Errorf("%s: last item %v", name, last)
		}
		twice := strings.Replace(b.String(), "\n6001235", "\n6001234", 1) // the first 235, not the one of the second round
		if s, _ := read(t, twice, profile(t, name)); s.Foots() {
			t.Errorf("%s: a number given twice within a round passed", name)
		}
	}
}

func TestReceivedDate(t *testing.T) {
	dated, err := ParseProfile([]byte(`{"name": "first-example", "like": "bai-a", "records": {"6": {"payee": null, "received_date": "83-90 YYYYMMDD"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := sample(t, "bai-a"), sample(t, "bai-b")
	for _, test := range []struct {
		name, text string
		p          Profile
		want       calendar.Date
	}{
		{"the layout has none", a, profile(t, "bai-a"), date("2026-03-19")},
		{"the deposit date is blank", replaced(a, 3, "260319", "000000"), profile(t, "bai-a"), 0},
		{"the check has a deposit date of its own", replaced(b, 4, "260319", "260317"), profile(t, "bai-b"), date("2026-03-17")},
		{"its own deposit date is blank", replaced(b, 4, "260319", "      "), profile(t, "bai-b"), 0},
		{"the layout has one", replaced(a, 4, "EXAMPLE HEALTH", "20260316"), dated, date("2026-03-16")},
		{"the layout has one and it is blank", replaced(a, 4, "EXAMPLE HEALTH", ""), dated, 0},
	} {
		text := strings.Replace(test.text, "70010000004711260319", "70010000004711000000", 1)
		_, batches := read(t, text, test.p)
		if got := batches[0].Items[0].ReceivedDate; got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	s, batches := read(t, replaced(a, 4, "EXAMPLE HEALTH", "20260231"), dated)
	if s.RefusedBatches != 1 || !batches[0].Refused || s.Refused() {
		t.Errorf("a received date that is none must refuse its batch: %+v", s)
	}
}

func TestCentury(t *testing.T) {
	s := makeSpan(Field{1, 6, "YYMMDD"})
	for text, want := range map[string]string{"000101": "2000-01-01", "690101": "2069-01-01", "700101": "1970-01-01", "991231": "1999-12-31",
		"240229": "2024-02-29", "000229": "2000-02-29", "230229": "bad", "261301": "bad", "260431": "bad", "26031x": "bad", "26031": "bad", "000000": "", "      ": ""} {
		d, got := s.date([]byte(text), 70)
		if have := map[reading]string{absent: "", good: d.String(), bad: "bad"}[got]; have != want {
			t.Errorf("%q: %q, want %q", text, have, want)
		}
	}
}

func TestDollars(t *testing.T) {
	s := span{from: 0, to: 10, dollars: true}
	for text, want := range map[string]ledger.Cents{"    575.00": 57500, "     575.5": 57550, "       575": 57500, "      0.07": 7, "0000000.07": 7,
		"   5.75   ": -1, "   1.2.3  ": -1, "     5.123": -1, "   -575.00": -1, "      575.": -1, "   5,75.00": -1, "      . 5 ": -1} {
		c, got := s.cents([]byte(text))
		if got != good {
			c = -1
		}
		if c != want {
			t.Errorf("%q: %d, want %d", text, c, want)
		}
	}
}

func TestNothingShowsAccounts(t *testing.T) {
	_, batches := read(t, sample(t, "bai-a"), profile(t, "bai-a"))
	i := batches[0].Items[0]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("check", "item", i)
	encoded, err := json.Marshal(batches)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"%v": fmt.Sprintf("%v", i), "%+v of its batch": fmt.Sprintf("%+v", batches), "%#v": fmt.Sprintf("%#v", i), "log": log.String(), "JSON": string(encoded),
		"masked lines": i.MaskedRaw(profile(t, "bai-a")),
	} {
		if strings.Contains(text, i.Account) || strings.Contains(text, i.Routing) {
			t.Errorf("%s shows the account: %s", where, text)
		}
	}
	if want := "600100100000575*****0002******54320000001001031226MARIA LOPEZ"; !strings.Contains(i.MaskedRaw(profile(t, "bai-a")), "*****0002******54320000001001031226MARIA LOPEZ") {
		t.Errorf("masked %q, want something like %q", i.MaskedRaw(profile(t, "bai-a")), want)
	}
}

func TestSummaryJSON(t *testing.T) {
	s, _ := read(t, sample(t, "bai-a"), profile(t, "bai-a"))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"format": "bai", "profile": "bai-a", "lockboxes": 2.0, "batches": 3.0, "items": 4.0, "cents": 222400.0, "empty": false, "balanced": true} {
		if got[key] != want {
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
	}
	if list, ok := got["problems"].([]any); !ok || len(list) != 0 {
		t.Errorf("problems: %v", got["problems"])
	}
	if text, _ := json.Marshal(Summary{}); !bytes.Contains(text, []byte(`"problems":[]`)) {
		t.Errorf("no problems are null: %s", text)
	}
	s, _ = read(t, replaced(sample(t, "bai-a"), 9, "0000087500", "0000087600"), profile(t, "bai-a"))
	text, err = json.Marshal(s.Problems)
	if want := `[{"line":9,"record":"7","field":"total","said":"87600","found":"87500","problem":"the total of batch 001 says $876.00, its 2 checks come to $875.00","do":"ask the bank for the batch once more: it takes the place of the refused one, and its checks keep their received dates","refuses":"batch"}]`; err != nil || string(text) != want {
		t.Errorf("problems:\n got %s\nwant %s", text, want)
	}
}

// Eight columns leave out a routing number's check digit; with it, the number is
// the one that other layouts carry, first zeros and all.
func TestRoutingNumbersWithoutCheckDigit(t *testing.T) {
	b := profile(t, "bai-b")
	text := sample(t, "bai-b")
	first := strings.Index(text, "\n6") + 1
	for columns, want := range map[string]string{
		"12100035": "121000358", "02100002": "021000021", "00000051": "000000518", "11100002": "111000025",
		"  000051": "000000518", "00000000": "", "        ": "", "1210OO35": "1210OO35",
	} {
		changed := text[:first+50] + columns + text[first+58:]
		_, batches := read(t, changed, b)
		if got := batches[0].Items[0].Routing; got != want {
			t.Errorf("%q is read as %q, want %q", columns, got, want)
		}
	}

	// In nine columns, eight digits may be nine that lost a zero.
	a := profile(t, "bai-a")
	text = sample(t, "bai-a")
	first = strings.Index(text, "\n6") + 1
	for columns, want := range map[string]string{"121000358": "121000358", "021000021": "021000021", "12100035 ": "12100035", " 21000021": "21000021"} {
		_, batches := read(t, text[:first+17]+columns+text[first+26:], a)
		if got := batches[0].Items[0].Routing; got != want {
			t.Errorf("%q is read as %q, want %q", columns, got, want)
		}
	}
}

// What is fill before a reference is fill however much of it there is.
func TestFillBeforeReferences(t *testing.T) {
	p := profile(t, "bai-b")
	for said, want := range map[string]string{
		"0000000018": "0000000018", "0000LB0009": "LB0009", "00 00LB9": "LB9", "0 0 0018": "0018", "0 0": "", "0000": "", "0000NO REF": "", "LB 009": "LB 009", "": "",
	} {
		if got := p.reference(said); got != want {
			t.Errorf("%q is %q, want %q", said, got, want)
		}
	}
}

// Of a short account number at least half stays hidden, wherever it stands.
func TestShortAccountNumbersStayHidden(t *testing.T) {
	a := profile(t, "bai-a")
	for account, shown := range map[string]string{"1234567": "567", "12345": "45", "1234": "34", "123": "3", "1": ""} {
		var b bytes.Buffer
		if err := Write(&b, a, File{Destination: "BILLER", Origin: "BANK", Date: date("2026-03-16"), Time: "0600", Batches: []Batch{{Lockbox: "0000047", Number: "001", DepositDate: date("2026-03-16"),
			Items: []Item{{Cents: 100, Account: account, Routing: "011100002", Check: "7", ReceivedDate: date("2026-03-16")}}}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&b, a, func(found Batch) error {
			i := found.Items[0]
			f := a.Records["6"]["account"]
			if i.Account = notZero(strings.TrimLeft(i.Account, "0")); i.Account != account {
				t.Fatalf("%s was read as %s", account, i.Account)
			}
			if got := strings.Trim(i.MaskedRaw(a)[f.From-1:f.To], "* "); got != shown {
				t.Errorf("of %s its line shows %q, want %q", account, got, shown)
			}
			if got := i.String(); !strings.HasSuffix(got, "account ****"+shown) {
				t.Errorf("of %s is told: %s", account, got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got := maskSegment("BPR*I*1*C*CHK**01*011100002*DA*12345"); !strings.HasSuffix(got, "*DA*****45") {
		t.Errorf("a BPR shows %s", got)
	}
}
