package lockbox

import (
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
)

// laidOut is a line with texts at their columns, counted from 1.
func laidOut(fields map[int]string) string {
	line := []byte(strings.Repeat(" ", 300))
	for column, text := range fields {
		copy(line[column-1:], text)
	}
	return strings.TrimRight(string(line), " ")
}

// A bank whose checks have no number of batch or item, as that of an ERP's own
// control file: the month of a date by its name, an amount of other columns, the
// batch told by the total that closes it.
func TestLayoutWithoutNumbers(t *testing.T) {
	p, err := ParseProfile([]byte(`{"name": "erp", "doc": "The control file of an ERP.", "nesting": "lockbox", "counts": "file", "out_of_balance": "batch", "payer": ["6.payer"], "records": {
		"1": {"origin": "4-13", "date": "24-29 YYMMDD"},
		"5": {"lockbox": "2-8", "deposit_date": "9-19 DD-MMM-YYYY"},
		"6": {"amount": "8-17", "routing": "18-25", "account": "26-35", "check": "36-43", "payer": "57-70", "received_date": "71-79 DD-MMM-YY"},
		"7": {"batch": "2-4", "count": "5-8", "total": "9-20"},
		"8": {"count": "2-7", "total": "8-19"},
		"9": {"count": "2-7"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	check := func(cents, no, payer, received string) string {
		return laidOut(map[int]string{1: "6000001", 8: cents, 18: "12100035", 26: "0098765432", 36: no, 44: "USD", 57: payer, 71: received})
	}
	text := strings.Join([]string{
		laidOut(map[int]string{1: "1", 4: "0900000012", 24: "260320"}),
		"5000471119-Mar-2026",
		check("0000057500", "00001001", "0000000018", "18-MAR-26"),
		check("0000030000", "00001002", "0000000026", "19-mar-26"),
		laidOut(map[int]string{1: "7001", 5: "0002", 9: "000000087500"}),
		check("0000009900", "00001003", "", "19-MAR-26"),
		laidOut(map[int]string{1: "7002", 5: "0001", 9: "000000009900"}),
		laidOut(map[int]string{1: "8000003", 8: "000000097400"}),
		"9000009", ""}, "\n")
	s, batches := read(t, text, p)
	if !s.Foots() || len(s.Problems) > 0 || s.Batches != 2 || s.Cents != 97400 {
		t.Fatalf("%+v", s)
	}
	i := batches[0].Items[1]
	if batches[0].Number != "001" || batches[1].Number != "002" || i.Number != "2" || i.ReceivedDate != date("2026-03-19") || i.DepositDate != date("2026-03-19") || i.Check != "1002" || i.References[0] != "0000000026" {
		t.Errorf("%+v", batches)
	}
	for what, damaged := range map[string]string{
		"a total":      strings.Replace(text, "000000087500", "000000087501", 1),
		"a month":      strings.Replace(text, "18-MAR-26", "18-MRA-26", 1),
		"batch twice":  strings.Replace(text, "70020001", "70010001", 1),
		"a count":      strings.Replace(text, "70020001", "70020002", 1),
		"a lost check": without(text, 4, 4),
	} {
		if s, _ := read(t, damaged, p); s.Foots() {
			t.Errorf("%s: it foots", what)
		}
	}
}

// An 823 in delimiters of any kind, wrapped into lines of 80 wherever they fall, or
// with a line end after each segment, is the same 823.
func TestDelimitersOf823(t *testing.T) {
	text := strings.ReplaceAll(readFile(t, "823.edi"), "\n", "")
	want, _ := read(t, text, profile(t, "x12-823"))
	replace := func(element, terminator string) string {
		return strings.NewReplacer("*", element, "~", terminator).Replace(text)
	}
	wrap := func(text, end string, width int) string {
		var b strings.Builder
		for len(text) > width {
			b.WriteString(text[:width] + end)
			text = text[width:]
		}
		return b.String() + text + end
	}
	for how, file := range map[string]string{
		"bars": replace("|", "'"), "lines": replace("*", "\n"), "lines of a PC": replace("*", "\r\n"), "control characters": replace("\x1d", "\x1c"), "carets": replace("^", "!"),
		"segments on lines": replace("*", "~\n"), "wrapped": wrap(text, "\r\n", 80), "wrapped at 72": wrap(text, "\n", 72), "old Macintosh": replace("*", "~\r"), "a byte order mark": "\ufeff" + text,
	} {
		s, err := Inspect(strings.NewReader(file), Profiles())
		if err != nil || s.Profile != "x12-823" || !s.Foots() || len(s.Problems) > 0 || s.Cents != want.Cents || s.Items != want.Items {
			t.Errorf("%s: %v %+v", how, err, s)
		}
	}
}

// A table is a table with any delimiter, with a title above its header and columns
// nobody asked for, and with dates and amounts as a bank likes to write them.
func TestTablesOfOtherBanks(t *testing.T) {
	parse := func(dates, amounts, mark string) Profile {
		p, err := ParseProfile([]byte(`{"name": "other", "format": "csv", "columns": {"deposit_date": "Deposit Date", "lockbox": "Box", "check": "Check #", "routing": "RT", "account": "Acct", "amount": "Amount", "payer": "Member"},
			"amounts": "` + amounts + `", "dates": "` + dates + `", "total_mark": "` + mark + `", "totals": {"count": "2", "amount": "3"}}`))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const plain = "Deposit Date;Box;Check #;RT;Acct;Amount;Member\n19-Mar-2026;4711;1001;011100002;98765432;$1,575.00;0000000018\n18-MAR-2026;4711;1002;011100002;98765433;300;0000000026\nTotal;2;1875.00\n"
	p := parse("DD-MMM-YYYY", "dollars", "TOTAL")
	with := func(delimiter string) string {
		return strings.ReplaceAll(strings.ReplaceAll(plain, ",", ""), ";", delimiter)
	}
	for how, text := range map[string]string{
		"semicolons": plain, "tabs": strings.ReplaceAll(plain, ";", "\t"), "bars": strings.ReplaceAll(plain, ";", "|"), "commas": with(","),
		"quotes":              strings.ReplaceAll(with(","), "$1575.00", `"$1,575.00"`),
		"a title":             "First Example Bank\nDeposits; March 2026\n\n" + plain,
		"columns in between":  strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(plain, ";Amount", ";;Teller;Amount"), ";$1", ";;J. Doe;$1"), ";300;", ";;J. Doe;300;"),
		"an amount with room": strings.Replace(plain, "$1,575.00", " $ 1,575.00 ", 1),
		"PC":                  strings.ReplaceAll(plain, "\n", "\r\n") + "\x1a", "a byte order mark": "\ufeff" + plain,
	} {
		s, err := Inspect(strings.NewReader(text), append([]Profile{p}, Profiles()...))
		if err != nil || s.Profile != "other" || !s.Foots() || len(s.Problems) > 0 || s.Items != 2 || s.Cents != 187500 || s.Boxes[0].DepositDate != date("2026-03-19") {
			t.Errorf("%s: %v %+v", how, err, s)
		}
	}
	for what, c := range map[string]struct{ text, line string }{
		"a minus":         {strings.Replace(plain, ";300;", ";-300;", 1), "3 6 amount -30000 a credit"},
		"a minus after":   {strings.Replace(plain, ";300;", ";300-;", 1), "3 6 amount -30000 a credit"},
		"brackets":        {strings.Replace(plain, ";300;", ";($300.00);", 1), "3 6 amount -30000 a credit"},
		"half a bracket":  {strings.Replace(plain, ";300;", ";(300;", 1), "3 6 amount (300 no amount in dollars"},
		"a decimal comma": {strings.Replace(plain, ";300;", ";300,00;", 1), "3 6 amount 300,00 no amount in dollars"},
		"mills":           {strings.Replace(plain, ";300;", ";300.001;", 1), "3 6 amount 300.001 no amount in dollars"},
		"nothing":         {strings.Replace(plain, ";300;", ";;", 1), "3 6 amount blank no amount in dollars"},
		"another date":    {strings.Replace(plain, "18-MAR", "03-18", 1), "3 6 deposit_date 03-18-2026 no date of the form DD-MMM-YYYY"},
		"a lost column":   {strings.Replace(plain, "Member", "Customer", 1), `1 header Member Deposit Date;Box;Check #;RT;Acct;Amount;Customer no column "Member"`},
		"a column twice":  {strings.Replace(plain, "Member", "Member;RT", 1), "1 header rt column 4 column 8"},
		"the total":       {strings.Replace(plain, "1875.00", "1875.10", 1), "4 TOTAL amount 187510 187500"},
	} {
		for who, ps := range map[string][]Profile{"named": {p}, "recognized": append(Profiles(), p)} {
			s, err := Inspect(strings.NewReader(c.text), ps)
			if err != nil || s.Foots() || len(s.Problems) == 0 {
				t.Errorf("%s, %s: %v %+v", what, who, err, s)
				continue
			}
			got := s.Problems[0]
			if line := strings.Join([]string{string('0' + rune(got.Line)), got.Record, got.Field, strings.ReplaceAll(got.Said, ",", ";"), got.Found}, " "); line != strings.ReplaceAll(c.line, ",", ";") {
				t.Errorf("%s, %s:\n got %s\nwant %s", what, who, line, c.line)
			}
		}
	}
}

// A table and rows of CSV name no bank, so that the box alone must be ours.
func TestTablesNameNoBank(t *testing.T) {
	policy := billing.DefaultPolicy()
	for _, file := range goodFiles(t) {
		s, _ := read(t, file.text, file.profile)
		for routing, ours := range map[string]bool{"0900000012": true, "0900000099": file.profile.format() == formatCSV} {
			policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "4711", Routing: routing}, {Lockbox: "4712", Routing: routing}}
			if problems := (Desk{Policy: &policy}).notOurs(&arrival{sum: s}); (len(problems) == 0) != ours {
				t.Errorf("%s, the policy names bank %s: %v", file.name, routing, problems)
			}
		}
		policy.Lockboxes = []billing.LockboxAccount{{Lockbox: "4799"}}
		if problems := (Desk{Policy: &policy}).notOurs(&arrival{sum: s}); len(problems) != len(s.Boxes) || problems[0].Said == "" || problems[0].Found != "4799" || problems[0].Do == "" {
			t.Errorf("%s, another's box: %v", file.name, problems)
		}
	}
}

// What was added to a file after its end, or is a second one, is told as what it
// is, once, and what to do about it.
func TestWhatFollowsTheEnd(t *testing.T) {
	for _, file := range goodFiles(t) {
		for how, c := range map[string]struct{ text, do string }{
			"a footer":       {file.text + "*** END OF FILE ***" + map[bool]string{true: "~", false: "\n"}[file.profile.format() == formatX12], "take off what follows"},
			"the file again": {file.text + file.text, "take each in by itself"},
		} {
			if how == "a footer" && file.profile.format() == formatCSV && len(file.profile.Records) > 0 {
				continue // a row of no known type may be a damaged one
			}
			s, _ := read(t, c.text, file.profile)
			if s.Foots() || len(s.Problems) == 0 || !strings.Contains(s.Problems[0].Do, c.do) || s.Problems[0].Refuses != RefusesFile {
				t.Errorf("%s, %s: %+v", file.name, how, s.Problems)
			}
			if how == "a footer" && (len(s.Problems) > 1 || s.Items != 4) {
				t.Errorf("%s, %s: %d checks, %+v", file.name, how, s.Items, s.Problems)
			}
		}
	}
}

// A received date may stand in a DTM as a period of one day; a range is no date,
// and is told rather than passed over for the deposit date.
func TestDatesOf823(t *testing.T) {
	text := readFile(t, "823.edi")
	plain := "DTM*050*20260318~"
	for dtm, want := range map[string]string{
		plain: "2026-03-18", "DTM*050*260318~": "2026-03-18", "DTM*050*20260318*1200*PT~": "2026-03-18", "DTM*050****D8*20260318~": "2026-03-18", "DTM*050****DT*202603181205~": "2026-03-18",
		"DTM*050****RD8*20260317-20260318~": "", "DTM*050*03182026~": "", "DTM*050****DT*2026~": "",
		"DTM*405****D8*20260318~": "2026-03-19", // of something else: the deposit date stands
	} {
		s, batches := read(t, strings.Replace(text, plain, dtm, 1), profile(t, "x12-823"))
		i := batches[0].Items[0]
		if want != "" && (!s.Foots() || i.ReceivedDate != date(want)) {
			t.Errorf("%s: received %s, want %s; %+v", dtm, i.ReceivedDate, want, s.Problems)
		}
		if want == "" && (s.Foots() || s.Problems[0].Record != "DTM" || s.Problems[0].Said == "blank") {
			t.Errorf("%s: received %s, %+v", dtm, i.ReceivedDate, s.Problems)
		}
	}
}
