package ach

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/calendar"
)

func answerFile() AnswerFile {
	return AnswerFile{Sender: "091000019", SenderName: "OPERATOR", Receiver: "121042882", ReceiverName: "FIRST EXAMPLE BANK", Company: company(),
		Created: Stamp{Date: monday + 2, Hour: 6, Minute: 30}, IDModifier: '1', Settled: monday + 1}
}

func written(t testing.TB, a AnswerFile) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteReturns(&out, a); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func readReturns(t testing.TB, in string) Answers {
	t.Helper()
	a, problems, err := ReadReturns(strings.NewReader(in))
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
	return a
}

func sent(sequence int) Entry {
	e := debit(sequence)
	e.Effective = friday
	return e
}

func TestReadReturns(t *testing.T) {
	a := answerFile()
	died, retried := sent(1), sent(2)
	died.Name, died.SEC, died.Savings = "JOSÉ NUÑEZ", WEB, true
	retried.Retry, retried.Routing = true, "322271627"
	a.Returns = []ReturnOut{{Original: retried, Code: "R01"}, {Original: died, Code: "R15", Died: calendar.MustParse("2026-06-11"), Information: "SEE LETTER"}}
	a.Corrections = []CorrectionOut{
		{Original: sent(3), Correction: Correction{Code: "C07", Routing: "322271627", Account: "12345678901234567", TransactionCode: 37}},
		{Original: sent(4), Correction: Correction{Code: "C06"}, Data: "1234 56789"},
	}
	got := readReturns(t, written(t, a))
	if got.Header.Created != a.Created || got.Header.Origin != "091000019" || got.Header.Destination != "121042882" || got.Header.OriginName != "OPERATOR" || got.Forward != 0 {
		t.Errorf("header %+v, %d forward", got.Header, got.Forward)
	}
	batch := BatchHeader{Number: 1, SEC: PPD, CompanyName: "GOLDEN HEALTH", CompanyID: "1912345678", Description: RetryDescription, Effective: friday, ODFI: "32227162"}
	wantReturns := []Return{
		{Line: 4, Original: retried.Trace, Trace: 322271620000001, Code: "R01", RDFI: "32227162", Cents: 12345, Debit: true, IndividualID: "0000000018", Name: "ADA LOVELACE", Date: monday + 1, Batch: batch},
		{Line: 8, Original: died.Trace, Trace: 91000010000002, Code: "R15", RDFI: "09100001", Cents: 12345, Debit: true, IndividualID: "0000000018", Name: "JOSE NUNEZ",
			Date: monday + 1, Died: calendar.MustParse("2026-06-11"), Information: "SEE LETTER",
			Batch: BatchHeader{Number: 2, SEC: WEB, CompanyName: "GOLDEN HEALTH", CompanyID: "1912345678", Description: "PREMIUM", Effective: friday, ODFI: "09100001"}},
	}
	if !slices.Equal(got.Returns, wantReturns) {
		t.Errorf("returns\n%+v, want\n%+v", got.Returns, wantReturns)
	}
	if len(got.Corrections) != 2 || len(got.Dishonored)+len(got.Contested)+len(got.Refused) > 0 {
		t.Fatalf("%+v", got)
	}
	c := got.Corrections[0]
	if c.Original != sent(3).Trace || c.Code != "C07" || c.Correction != a.Corrections[0].Correction || c.Unclear != "" || c.IndividualID != "0000000018" || c.Date != monday+1 || c.Batch.SEC != "COR" {
		t.Errorf("correction %+v", c)
	}
	if c := got.Corrections[1]; c.Correction != (Correction{}) || !strings.Contains(c.Unclear, "C06: columns 18-29") || c.Data != "1234 56789" {
		t.Errorf("a correction without its type: %+v", c)
	}
}

// TestReadReturnsKinds: what is no return of a debit of ours is set apart.
func TestReadReturnsKinds(t *testing.T) {
	a := answerFile()
	for i, code := range []string{"R01", "R61", "R71", "R77", "R70", "R97", "R29"} {
		a.Returns = append(a.Returns, ReturnOut{Original: sent(i + 1), Code: code})
	}
	got := readReturns(t, written(t, a))
	codes := func(list []Return) (s string) {
		for _, r := range list {
			s += r.Code + " "
		}
		return s
	}
	if codes(got.Returns) != "R01 R97 R29 " || codes(got.Dishonored) != "R61 R70 " || codes(got.Contested) != "R71 R77 " {
		t.Errorf("returns %s, dishonored %s, contested %s", codes(got.Returns), codes(got.Dishonored), codes(got.Contested))
	}

	file := answers(t)
	refused := put(put(file, 10, 4, "C65"), 10, 65, "C030000003")
	if got := readReturns(t, refused); len(got.Refused) != 1 || got.Refused[0].Code != "C65" || len(got.Corrections) != 0 {
		t.Errorf("a refused notification: %+v", got)
	}
	if got := readReturns(t, put(file, 10, 4, "C92")); len(got.Corrections) != 1 || !strings.Contains(got.Corrections[0].Unclear, `"C92" is not one of Nacha's`) {
		t.Errorf("an unknown notification: %+v", got.Corrections)
	}
	if got := readReturns(t, built(t, sample())); got.Forward != 9 || len(got.Returns) != 0 {
		t.Errorf("a file of debits: %+v", got)
	}
}

func TestReadReturnsGoesOnAfterABadRecord(t *testing.T) {
	in := put(answers(t), 4, 7, "12104288000000X") // the first return's original trace
	got, problems, err := ReadReturns(strings.NewReader(in))
	if err != nil || len(problems) == 0 || problems[0].Line != 4 {
		t.Fatalf("%v, %v", problems, err)
	}
	if len(got.Returns) != 2 || got.Returns[0].Original != 0 || got.Returns[1].Original != debit(2).Trace {
		t.Errorf("%+v", got.Returns)
	}
}

func TestSettlementDate(t *testing.T) {
	day := func(s string) calendar.Date { return calendar.MustParse(s) }
	for _, tc := range []struct {
		julian     calendar.Date
		made, want string
	}{
		{188, "2026-07-08", "2026-07-07"},
		{365, "2027-01-02", "2026-12-31"}, // over the new year
		{1, "2026-12-31", "2027-01-01"},
		{366, "2028-12-30", "2028-12-31"},
		{0, "2026-07-08", "2026-07-08"},
	} {
		if got := settled(tc.julian, day(tc.made)); got != day(tc.want) {
			t.Errorf("day %d in a file of %s: %s, want %s", tc.julian, tc.made, got, tc.want)
		}
	}
	if got := settled(188, 0); got != 0 {
		t.Errorf("without a year: %s", got)
	}
}

func TestReturnCode(t *testing.T) {
	words := regexp.MustCompile(`^[a-z].{10,90}[a-z)]$`)
	last := ""
	for _, c := range Codes() {
		if c.Code <= last || !words.MatchString(c.Words) || c.Kind == "" {
			t.Errorf("%+v after %s", c, last)
		}
		last = c.Code
		if got, known := ReturnCode(c.Code); !known || got != c {
			t.Errorf("ReturnCode(%s) = %+v, %v", c.Code, got, known)
		}
	}
	for _, code := range []string{"R97", "R00", "r01", "", "C01", "R63"} {
		if c, known := ReturnCode(code); known {
			t.Errorf("%q is known as %+v", code, c)
		}
	}
	sets := map[string]string{}
	for _, c := range Codes() {
		sets[string(c.Rate)] += c.Code + " "
		sets[string(c.Kind)] += c.Code + " "
		sets[fmt.Sprint(c.SixtyDays)] += c.Code + " "
	}
	for set, want := range map[string]string{
		"unauthorized": "R05 R07 R10 R11 R29 R51 ", "administrative": "R02 R03 R04 ", "dishonored": "R61 R62 R67 R68 R69 R70 ",
		"contested": "R71 R72 R73 R74 R75 R76 R77 ", "international": "R80 R81 R82 R83 R84 R85 ",
		"true": "R05 R07 R10 R11 R33 R37 R38 R51 R52 R53 ",
	} {
		if sets[set] != want {
			t.Errorf("%s: %s, want %s", set, sets[set], want)
		}
	}
	if words, known := ChangeCode("C01"); !known || words == "" {
		t.Error("C01 is not known")
	}
}

func TestWriteReturnsRefuses(t *testing.T) {
	for name, change := range map[string]func(*AnswerFile){
		"sender":           func(a *AnswerFile) { a.Sender = "091000018" },
		"receiver":         func(a *AnswerFile) { a.Receiver = "" },
		"modifier":         func(a *AnswerFile) { a.IDModifier = 0 },
		"not made":         func(a *AnswerFile) { a.Created = Stamp{} },
		"code":             func(a *AnswerFile) { a.Returns[0].Code = "C01" },
		"entry":            func(a *AnswerFile) { a.Returns[0].Original.Account = "" },
		"no date":          func(a *AnswerFile) { a.Returns[0].Original.Effective = 0 },
		"long information": func(a *AnswerFile) { a.Returns[0].Information = strings.Repeat("X", 45) },
		"correction":       func(a *AnswerFile) { a.Corrections[0].Correction.Account = "" },
		"change code":      func(a *AnswerFile) { a.Corrections[0].Correction.Code = "C92" },
		"long data":        func(a *AnswerFile) { a.Corrections[0].Data = strings.Repeat("1", 30) },
		"sequence":         func(a *AnswerFile) { a.FirstSequence = 9_999_999 },
		"same entry twice": func(a *AnswerFile) { a.FirstSequence = -1 },
	} {
		a := answerFile()
		a.Returns = []ReturnOut{{Original: sent(1), Code: "R01"}}
		a.Corrections = []CorrectionOut{{Original: sent(2), Correction: Correction{Code: "C01", Account: "123"}}}
		change(&a)
		var out bytes.Buffer
		if err := WriteReturns(&out, a); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, out.Len())
		}
	}
	if got := inspect(t, written(t, answerFile())); got.Entries != 0 || len(got.Problems) > 0 {
		t.Errorf("an empty file of answers: %+v", got)
	}
}

// TestAnswersRoundTrip: a bank that reads our file, answers any of its entries
// and writes it down is understood.
func TestAnswersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file, _, err := Build(file(drawEntries(t)...))
		if err != nil {
			t.Fatal(err)
		}
		o, problems, err := ReadEntries(bytes.NewReader(file))
		if err != nil || len(problems) > 0 {
			t.Fatal(problems, err)
		}
		a := answerFile()
		a.Company = o.Company()
		want := map[string]bool{}
		for _, e := range o.Debits {
			switch rapid.IntRange(0, 3).Draw(t, "answer") {
			case 1:
				code := rapid.SampledFrom([]string{"R01", "R02", "R09", "R10", "R97"}).Draw(t, "code")
				a.Returns = append(a.Returns, ReturnOut{Original: e, Code: code})
				want[fmt.Sprint(e.Trace, code, int64(e.Cents), e.IndividualID, e.Retry)] = true
			case 2:
				c := Correction{Code: "C03", Routing: "322271627", Account: e.Account}
				a.Corrections = append(a.Corrections, CorrectionOut{Original: e, Correction: c})
				want[fmt.Sprint(e.Trace, c)] = true
			}
		}
		var out bytes.Buffer
		if err := WriteReturns(&out, a); err != nil {
			t.Fatal(err)
		}
		got, problems, err := ReadReturns(&out)
		if err != nil || len(problems) > 0 || len(got.Returns) != len(a.Returns) || len(got.Corrections) != len(a.Corrections) {
			t.Fatalf("%d returns, %d corrections, %v, %v", len(got.Returns), len(got.Corrections), problems, err)
		}
		for _, r := range got.Returns {
			if !want[fmt.Sprint(r.Original, r.Code, int64(r.Cents), r.IndividualID, r.Batch.Description == RetryDescription)] {
				t.Fatalf("not sent: %+v", r)
			}
		}
		for _, c := range got.Corrections {
			if !want[fmt.Sprint(c.Original, c.Correction)] {
				t.Fatalf("not sent: %+v", c)
			}
		}
	})
}

func TestReadEntries(t *testing.T) {
	o, problems, err := ReadEntries(strings.NewReader(built(t, balanced(sample()))))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if o.Header.Created != stamp || o.Header.Origin != "1912345678" || o.Header.IDModifier != "A" || o.Header.Reference != "RUN 0017" || len(o.Batches) != 8 {
		t.Errorf("%+v, %d batches", o.Header, len(o.Batches))
	}
	if len(o.Debits) != 9 || len(o.Own) != 2 || o.Own[0].Account != "987654321" || o.Own[0].Cents+o.Own[1].Cents != 7*12345 {
		t.Errorf("%d debits, credits %+v", len(o.Debits), o.Own)
	}
	want := company()
	want.ODFI, want.Balanced, want.OffsetRouting, want.OffsetAccount, want.OffsetType = "12104288", true, "", "", ""
	if got := o.Company(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, problems, _ := ReadEntries(strings.NewReader(answers(t))); len(problems) != 3 || problems[0].Line != 3 {
		t.Errorf("a file of answers: %v", problems)
	}
}
