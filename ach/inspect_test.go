package ach

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/billcycle/billcycle/ledger"
)

// answers is a file of two returns and a correction of the sample's entries.
func answers(t testing.TB) string {
	t.Helper()
	a := AnswerFile{Sender: "091000019", SenderName: "OPERATOR", Receiver: "121042882", ReceiverName: "FIRST EXAMPLE BANK", Company: company(),
		Created: Stamp{Date: monday + 2, Hour: 6}, IDModifier: '1'}
	first, second, third := debit(1), debit(2), debit(3)
	first.Effective, second.Effective, third.Effective = friday, friday, friday
	first.Cents = 111
	second.Savings = true
	a.Returns = []ReturnOut{{Original: second, Code: "R97"}, {Original: first, Code: "R01"}}
	a.Corrections = []CorrectionOut{{Original: third, Correction: Correction{Code: "C03", Routing: "322271627", Account: "12 345"}}}
	var out bytes.Buffer
	if err := WriteReturns(&out, a); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func built(t testing.TB, f File) string {
	t.Helper()
	got, _, err := Build(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func inspect(t testing.TB, in string) Report {
	t.Helper()
	rep, err := Inspect(strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// put writes text over a line (from 1) at a column (from 1).
func put(file string, line, column int, text string) string {
	at := (line-1)*95 + column - 1
	return file[:at] + text + file[at+len(text):]
}

// without drops lines, given from 1.
func without(file string, lines ...int) string {
	var out []string
	for i, line := range strings.SplitAfter(file, "\n") {
		if !slices.Contains(lines, i+1) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func TestInspectJSON(t *testing.T) {
	got, err := json.Marshal(inspect(t, answers(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"batches":2,"entries":3,"debit_cents":12456,"credit_cents":0,"prenotes":0,"reversals":0,` +
		`"returns":[{"trace":"121042880000001","code":"R01","cents":111},{"trace":"121042880000002","code":"R97","cents":12345}],` +
		`"corrections":[{"trace":"121042880000003","code":"C03","data":"322271627   12 345"}],"problems":[],"notes":[]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestInspectForms: the same file in every form in which banks send it is the
// same report, with nothing wrong.
func TestInspectForms(t *testing.T) {
	for name, file := range map[string]string{"debits": built(t, balanced(sample())), "answers": answers(t)} {
		want := inspect(t, file)
		if len(want.Problems) > 0 || len(want.Notes) > 0 {
			t.Fatalf("%s: %v %v", name, want.Problems, want.Notes)
		}
		joined := strings.ReplaceAll(file, "\n", "")
		var blocks strings.Builder
		for i := 0; i < len(joined); i += 940 {
			blocks.WriteString(joined[i:i+940] + "\r\n")
		}
		for form, in := range map[string]string{
			"CR LF": strings.ReplaceAll(file, "\n", "\r\n"), "CR": strings.ReplaceAll(file, "\n", "\r"), "no line ends": joined,
			"one LF at the end": joined + "\n", "no LF at the end": strings.TrimSuffix(file, "\n"), "blocks of 940": blocks.String(),
		} {
			got := inspect(t, in)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %s: %+v, want %+v", name, form, got, want)
			}
		}
	}
}

// TestInspectProblems breaks a file in one place each; the report must name
// that line and nothing must be read differently than it stands there.
func TestInspectProblems(t *testing.T) {
	// 1 header, 2-7 the first batch, 6 its last entry, 7 its control, 23 the
	// file control, 24-30 nines.
	whole := built(t, sample())
	for _, tc := range []struct {
		name, in string
		line     int
		want     string // in the problem of that line
	}{
		{"amount changed", put(whole, 3, 30, "0000012346"), 7, "total debits: does not agree"},
		{"routing changed", put(whole, 3, 4, "021000021"), 7, "entry hash: does not agree"},
		{"check digit", put(whole, 3, 12, "8"), 3, "receiving bank"},
		{"entry missing", without(whole, 3), 6, "entry and addenda count"},
		{"entry twice", strings.Replace(whole, whole[95*2:95*3], whole[95*2:95*3]+whole[95*2:95*3], 1), 4, "is the entry's on line 3 too"},
		{"batch count", put(whole, 23, 2, "000007"), 23, "batch count"},
		{"block count", put(whole, 23, 8, "000004"), 23, "block count"},
		{"file count", put(whole, 23, 14, "00000010"), 23, "entry and addenda count"},
		{"file hash", put(whole, 23, 22, "0000000000"), 23, "entry hash"},
		{"file debits", put(whole, 23, 32, "000000086416"), 23, `total debits: does not agree with the records before it (said "86416", found "86415")`},
		{"file credits", put(whole, 23, 44, "000000000001"), 23, "total credits"},
		{"not digits", put(whole, 23, 32, "00000008641X"), 23, "total debits: not digits"},
		{"amount not digits", put(whole, 3, 30, "00000 2345"), 3, "amount: not digits"},
		{"prenote with an amount", put(whole, 5, 30, "0000000001"), 5, "a prenote is of zero cents"},
		{"live entry of zero", put(whole, 3, 30, "0000000000"), 3, "a live entry of zero cents"},
		{"transaction code", put(whole, 3, 2, "99"), 3, "transaction code"},
		{"credit among debits", put(whole, 3, 2, "22"), 3, "a credit in a batch of debits only"},
		{"debit among credits", put(put(whole, 2, 2, "220"), 7, 2, "220"), 3, "a debit in a batch of credits only"},
		{"traces descend", put(whole, 4, 80, "121042880000000"), 4, "trace number: not above"},
		{"trace of another bank", put(whole, 6, 80, "991042880000008"), 6, "does not begin with the batch's ODFI"},
		{"addenda announced", put(whole, 3, 79, "1"), 3, "says an addenda follows"},
		{"service class", put(whole, 2, 2, "999"), 2, "service class"},
		{"controls disagree", put(whole, 7, 2, "200"), 7, "service class: not the batch header's"},
		{"company ids disagree", put(whole, 7, 45, "1999999999"), 7, "company id: not the batch header's"},
		{"batch numbers disagree", put(whole, 7, 88, "0000009"), 7, "batch number: not the batch header's"},
		{"batch number again", put(put(whole, 8, 88, "0000001"), 10, 88, "0000001"), 8, "batch number: not above the one before"},
		{"effective date", put(whole, 2, 70, "260230"), 2, "effective entry date"},
		{"header missing", without(whole, 1), 1, "the file has no header"},
		{"batch header missing", without(whole, 2), 2, "an entry outside of a batch"},
		{"batch control missing", without(whole, 7), 7, "the batch before has no control"},
		{"file control missing", whole[:22*95], 22, "the file has no control"},
		{"cut in a line", whole[:10*95+40], 11, "the record is cut short"},
		{"nines missing", whole[:23*95], 23, "do not fill blocks of ten"},
		{"two blocks of nines", whole + strings.Repeat(nines+"\n", 10), 40, "do not fill blocks of ten"},
		{"nines inside", put(whole, 8, 1, nines), 8, "nines before the file control"},
		{"short entry", strings.Replace(whole, "ADA LOVELACE            0121042880000003\n", "ADA LOVELACE\n", 1), 4, "the record is cut short"},
		{"long entry", strings.Replace(whole, "121042880000003\n", "121042880000003 X\n", 1), 4, "longer than 94"},
		{"not ASCII", strings.Replace(whole, "ADA LOVELACE", "ADÁ LOVELACE", 1), 4, "characters outside printable ASCII"},
		{"a NUL", put(whole, 3, 60, "\x00"), 3, "characters outside printable ASCII"},
		{"blank line", whole[:95] + "\n" + whole[95:], 2, "a blank line"},
		{"two files in one", whole + whole, 31, "a second file header after the file control"},
		{"two headers", whole[:95] + whole, 2, "a file header inside the file"},
		{"something after the end", whole + "GOODBYE\n", 31, "after the file control"},
		{"record type", put(whole, 3, 1, "X"), 3, "not a Nacha record"},
		{"empty", "", 0, "the file is empty"},
		{"blanks only", "  \n\n", 0, "the file is empty"},
		{"a letter", "Dear bank,\nthe file follows.\n", 1, "not a Nacha record"},
		{"one endless line", strings.Repeat("6", 1<<20), 1, "an entry outside of a batch"},
		{"endless lines", strings.Repeat(strings.Repeat("6", 1<<17)+"\n", 3), 1, "an entry outside of a batch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rep := inspect(t, tc.in)
			var at []string
			for _, p := range rep.Problems {
				if p.Line == tc.line {
					at = append(at, p.String())
				}
			}
			if !strings.Contains(strings.Join(at, "\n"), tc.want) {
				t.Errorf("problems of line %d: %q\nwant %q\nall: %v", tc.line, at, tc.want, rep.Problems)
			}
			if !slices.IsSortedFunc(rep.Problems, func(a, b Problem) int { return a.Line - b.Line }) {
				t.Error("problems are not by line")
			}
			for _, p := range append(rep.Problems, rep.Notes...) {
				if strings.Contains(p.String(), "5550001234") {
					t.Errorf("an account number is told: %s", p)
				}
			}
		})
	}
}

// TestInspectHidesAnAccountOfDigits: where an account number has come into the
// columns of the routing number or of the amount, it is not shown whole.
func TestInspectHidesAnAccountOfDigits(t *testing.T) {
	whole := built(t, sample())
	for _, tc := range []struct{ name, in, number, want string }{
		{"in the routing's columns", put(whole, 3, 4, "555000123"), "555000123", `receiving bank: not a routing number: 9 digits with a check digit that holds (said "", found "****0123")`},
		{"in the amount's columns", put(whole, 5, 30, "5550001234"), "555000123", `amount: a prenote is of zero cents (said "", found "****1234")`},
	} {
		var all []string
		for _, p := range inspect(t, tc.in).Problems {
			all = append(all, p.String())
		}
		got := strings.Join(all, "\n")
		if strings.Contains(got, tc.number) || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

// TestInspectNotes: what banks do in files of answers, and blanks at the ends
// of records, is told but is nothing wrong. In a file of debits the first
// group is.
func TestInspectNotes(t *testing.T) {
	file := answers(t) // 1 header, 2 batch, 3-6 two returns, 7 control, 8 batch, 9-10 a correction, 11-12 controls
	for _, tc := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"addressed to the company", put(file, 1, 4, "1912345678"), 1, "immediate destination"},
		{"no modifier", put(file, 1, 34, " "), 1, "file ID modifier"},
		{"no effective date", put(file, 2, 70, "000000"), 2, "effective entry date"},
		{"addenda's trace", put(file, 4, 80, "000000000000000"), 4, "trace number: not its entry's"},
		{"entry's trace", put(put(file, 3, 80, "123456780000001"), 4, 80, "123456780000001"), 3, "does not begin with the batch's ODFI"},
		{"company ids", put(file, 7, 45, "          "), 7, "company id"},
		{"no nines", file[:12*95], 12, "do not fill blocks of ten"},
		{"trimmed header", strings.Replace(file, strings.Repeat(" ", 8)+"\n5", "\n5", 1), 1, "what is missing can only be blanks"},
		{"trimmed control", strings.Replace(file, strings.Repeat(" ", 39)+"\n99", "\n99", 1), 12, "what is missing can only be blanks"},
		{"blanks at the end", strings.Replace(file, "\n", "   \n", 3), 3, "blanks after the 94 characters"},
		{"a blank line at the end", file + "\n", 21, "a blank line"},
		{"Ctrl-Z", file + "\x1a", 21, "Ctrl-Z"},
		{"byte order mark", "\xef\xbb\xbf" + file, 1, "byte order mark"},
		{"a dishonored return beside one", put(file, 4, 4, "R61"), 7, "Category"},
	} {
		rep := inspect(t, tc.in)
		if len(rep.Problems) > 0 {
			t.Errorf("%s: %v", tc.name, rep.Problems)
		}
		if !slices.ContainsFunc(rep.Notes, func(p Problem) bool { return p.Line == tc.line && strings.Contains(p.String(), tc.want) }) {
			t.Errorf("%s: no note %q on line %d: %v", tc.name, tc.want, tc.line, rep.Notes)
		}
		if len(rep.Returns) != 2 || len(rep.Corrections) != 1 || rep.DebitCents != 12456 {
			t.Errorf("%s: %+v", tc.name, rep)
		}
	}
	// A name left blank or of zeros, and change codes in no table, are nothing at all.
	for _, in := range []string{put(file, 3, 55, strings.Repeat(" ", 22)), put(file, 3, 55, strings.Repeat("0", 22)), put(file, 10, 4, "C92")} {
		if rep := inspect(t, in); len(rep.Problems)+len(rep.Notes) > 0 {
			t.Errorf("%v %v", rep.Problems, rep.Notes)
		}
	}
	// A bank with nothing to answer sends a file without batches.
	empty := file[:95] + "9000000000001" + strings.Repeat("0", 42) + strings.Repeat(" ", 39) + "\n" + strings.Repeat(nines+"\n", 8)
	if rep := inspect(t, empty); len(rep.Problems)+len(rep.Notes) > 0 || rep.Entries != 0 {
		t.Errorf("empty file: %+v", rep)
	}
}

func TestInspectBrokenAnswers(t *testing.T) {
	file := answers(t)
	for _, tc := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"original trace", put(file, 4, 7, "12104288000000 "), 4, "original trace number: not 15 digits"},
		{"return code", put(file, 4, 4, "C01"), 4, "code: not a code such as R01"},
		{"change code", put(file, 10, 4, "Cxx"), 10, "code: not a code such as C01"},
		{"no corrected data", put(file, 10, 36, strings.Repeat(" ", 29)), 10, "corrected data: blank"},
		{"addenda missing", without(file, 4), 3, "says an addenda follows"},
		{"addenda not announced", put(file, 3, 79, "0"), 4, "the entry's addenda indicator on line 3 is not 1"},
		{"addenda type", put(file, 4, 2, "42"), 4, "not an addenda type"},
		{"addenda first", without(file, 3), 3, "an addenda without an entry"},
		{"return changed", put(file, 3, 30, "0000000112"), 7, "total debits"},
	} {
		rep := inspect(t, tc.in)
		if !slices.ContainsFunc(rep.Problems, func(p Problem) bool { return p.Line == tc.line && strings.Contains(p.String(), tc.want) }) {
			t.Errorf("%s: no problem %q on line %d: %v", tc.name, tc.want, tc.line, rep.Problems)
		}
	}
}

// TestInspectAdvices: the wide amounts of a bank's accounting advices.
func TestInspectAdvices(t *testing.T) {
	entry := func(code, sequence int, cents int64) string {
		return fmt.Sprintf("6%02d121042882%-15s%012d%-9s%-5s %-22s  0%08d001%04d\n", code, "744-5678-99", cents, "121042882", "11131", "NAME", 1210428, sequence)
	}
	file := "101 121042882 1210428822607080630A094101" + fmt.Sprintf("%-54s\n", "BANK") +
		"5280COMPANY                             121042882 ADVACCOUNTING      260709   0121042880000001\n" +
		entry(81, 1, 50_000) + entry(82, 2, 999_999_999_999) +
		fmt.Sprintf("8280%06d%010d%020d%020d%-19s%08d%07d\n", 2, 24208576, int64(999_999_999_999), 50_000, "COMPANY", 12104288, 1) +
		fmt.Sprintf("9%06d%06d%08d%010d%020d%020d%23s\n", 1, 1, 2, 24208576, int64(999_999_999_999), 50_000, "") +
		strings.Repeat(nines+"\n", 4)
	if rep := inspect(t, file); len(rep.Problems) > 0 || rep.Entries != 2 || rep.DebitCents != 999_999_999_999 || rep.CreditCents != 50_000 {
		t.Errorf("%+v", rep)
	}
	if rep := inspect(t, put(file, 6, 51, "1")); len(rep.Problems) != 1 || rep.Problems[0].Field != "total debits" && rep.Problems[0].Field != "total credits" {
		t.Errorf("a changed total: %v", rep.Problems)
	}
}

// TestTwoReadings: where the library reads other figures than the scan, that
// is a problem.
func TestTwoReadings(t *testing.T) {
	right := []answerKey{{3, "121042880000001", "R01", 111, true}, {5, "121042880000002", "R97", 12345, true}, {9, "121042880000003", "C03", 0, false}}
	for _, tc := range []struct {
		change func(*scan, []answerKey) []answerKey
		want   string
	}{
		{func(s *scan, a []answerKey) []answerKey { return a }, ""},
		{func(s *scan, a []answerKey) []answerKey { s.entries++; return a }, "entries"},
		{func(s *scan, a []answerKey) []answerKey { s.credit++; return a }, "debits and credits"},
		{func(s *scan, a []answerKey) []answerKey { return a[:2] }, "returns and corrections"},
		{func(s *scan, a []answerKey) []answerKey { a[1].cents++; return a }, "answer on line 5"},
		{func(s *scan, a []answerKey) []answerKey { a[2].code = "C02"; return a }, "answer on line 9"},
	} {
		s := &scan{}
		if err := s.read(strings.NewReader(answers(t))); err != nil {
			t.Fatal(err)
		}
		s.secondOpinion(tc.change(s, slices.Clone(right)))
		if tc.want == "" && len(s.problems) > 0 || tc.want != "" && (len(s.problems) != 1 || s.problems[0].Field != tc.want) {
			t.Errorf("%v, want %q", s.problems, tc.want)
		}
	}
	giant := &scan{records: maxSecondReading + 1}
	if giant.secondOpinion(nil); len(giant.problems) > 0 || len(giant.notes) != 1 {
		t.Errorf("a giant file: %v, %v", giant.problems, giant.notes)
	}
}

func TestInspectListsProblemsToALimit(t *testing.T) {
	rep := inspect(t, strings.Repeat("X\n", 5000))
	if n := len(rep.Problems); n != maxProblems+1 {
		t.Errorf("%d problems listed", n)
	}
	// Each of these lines is too short and no record; and the file has neither header nor control.
	if rep.Problems[0].Found != fmt.Sprint(2*5000+2-maxProblems) {
		t.Errorf("the rest is not counted: %v", rep.Problems[0])
	}
}

func TestInspectReportsAReadersError(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, in := range []string{"", "101", built(t, sample())} {
		if _, err := Inspect(iotest.TimeoutReader(strings.NewReader(in))); in == "" && err != nil {
			t.Error(err)
		}
		if rep, err := Inspect(iotest.ErrReader(broken)); !errors.Is(err, broken) {
			t.Errorf("%+v, %v", rep, err)
		}
	}
}

// plainCount foots a file of clean lines in the simplest way, and reports
// false for any other file.
func plainCount(in string) (rep Report, clean bool) {
	control, reversal := false, 0
	for line := range strings.Lines(in) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) != 94 || firstForeign(line) >= 0 || strings.TrimSpace(line) == "" {
			return Report{}, false
		}
		if control || line == nines {
			continue
		}
		switch line[0] {
		case '5':
			if line[50:53] == "ADV" {
				return Report{}, false
			}
			rep.Batches++
			reversal = count(line[53:63] == "REVERSAL  ")
		case '6':
			rep.Entries++
			rep.Reversals += reversal
			rep.Prenotes += count(strings.Contains("23 28 33 38 43 48 53", line[1:3]))
			cents, err := strconv.ParseUint(line[29:39], 10, 64)
			if err != nil {
				cents = 0
			}
			switch code := line[1:3]; {
			case strings.Contains("26 27 28 29 36 37 38 39 46 47 48 49 55 56", code):
				rep.DebitCents += ledger.Cents(cents)
			case strings.Contains("21 22 23 24 31 32 33 34 41 42 43 44 51 52 53 54", code):
				rep.CreditCents += ledger.Cents(cents)
			}
		case '9':
			control = true
		}
	}
	return rep, in != ""
}

func FuzzInspect(f *testing.F) {
	whole := built(f, balanced(sample()))
	replies := answers(f)
	for _, seed := range []string{"", whole, replies, strings.ReplaceAll(replies, "\n", ""), strings.ReplaceAll(whole, "\n", "\r\n"), put(whole, 3, 30, "0000012346"),
		without(whole, 7), whole + whole, put(replies, 10, 4, "C92"), put(whole, 2, 51, "ADV"), put(whole, 2, 51, "IAT"), put(replies, 2, 5, "IATCOR          "),
		put(put(whole, 3, 79, "1"), 4, 1, "705"), put(put(replies, 2, 51, "IAT"), 4, 2, "10"), "\xef\xbb\xbf" + whole, whole[:600]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		rep, err := Inspect(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if rep.Problems == nil || rep.Returns == nil || rep.Corrections == nil {
			t.Fatal("a list is missing")
		}
		if want, clean := plainCount(in); clean {
			if rep.Batches != want.Batches || rep.Entries != want.Entries || rep.DebitCents != want.DebitCents || rep.CreditCents != want.CreditCents || rep.Prenotes != want.Prenotes || rep.Reversals != want.Reversals {
				t.Fatalf("%d batches, %d entries, %s, %s; counted %d, %d, %s, %s", rep.Batches, rep.Entries, rep.DebitCents, rep.CreditCents,
					want.Batches, want.Entries, want.DebitCents, want.CreditCents)
			}
		}
		answers, problems, err := ReadReturns(strings.NewReader(in))
		if err != nil || len(problems) != len(rep.Problems) {
			t.Fatalf("ReadReturns: %d problems, Inspect %d, %v", len(problems), len(rep.Problems), err)
		}
		if n := len(answers.Returns) + len(answers.Dishonored) + len(answers.Contested); n != len(rep.Returns) {
			t.Fatalf("%d returns read, %d inspected", n, len(rep.Returns))
		}
		if n := len(answers.Corrections) + len(answers.Refused); n != len(rep.Corrections) {
			t.Fatalf("%d corrections read, %d inspected", n, len(rep.Corrections))
		}
		if _, _, err := ReadEntries(strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
	})
}
