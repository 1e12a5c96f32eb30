package lockbox

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A table with a title above, a total under each batch, its header on each page,
// and lines for people.
const (
	batchedKeys = `{"name": "batched", "format": "csv", "amounts": "dollars", "dates": "MM/DD/YYYY", "lockbox": "4711",
		"columns": {"deposit_date": "Date", "batch": "Batch", "check": "Check", "routing": "R/T", "account": "Account", "amount": "Amount", "payer": "Member"},
		"skip": ["Page ", "*** End"], "batch_mark": "Batch Total", "batch_totals": {"batch": "3", "count": "5", "amount": "6"},
		"total_mark": "Grand Total", "totals": {"count": "5", "amount": "6"}}`
	batchedTable = `First Example Bank, deposits
Date,R/T,Batch,Account,Check,Amount,Member
03/19/2026,121000358,1,998877,1001,"1,234.56",0000000018
03/19/2026,121000358,1,998878,1002,2.00,"0000000026"
Batch Total,,1,,2,"1,236.56",
PAGE 1 of 2
Date,R/T,Batch,Account,Check,Amount,Member
03/19/2026,121000358,2,998879,1003,3.5,
,,,,,,
Batch Total,,2,,1,$3.50,
Grand Total,,,,3,"$1,240.06"
*** End of report ***
`
	untitledKeys = `{"name": "untitled", "format": "csv", "header": "none", "amounts": "cents", "dates": "YYYYMMDD",
		"columns": {"lockbox": "1", "deposit_date": "2", "batch": "3", "routing": "4", "account": "5", "check": "6", "amount": "7", "payer": "9"},
		"total_mark": "T", "totals": {"count": "2", "amount": "3"}}`
	untitledTable = `4711,20260319,1,121000358,998877,1001,123456,MARIA LOPEZ,0000000018
4711,20260319,1,121000358,998878,1002,200,,0000000026
4712,20260319,1,021000021,998879,1003,350,,
T,3,124006
`
)

func tableBy(t testing.TB, keys string) Profile {
	t.Helper()
	p, err := ParseProfile([]byte(keys))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTableOfBatches(t *testing.T) {
	p := tableBy(t, batchedKeys)
	s, batches := read(t, batchedTable, p)
	if !s.Foots() || len(s.Problems) > 0 || s.Items != 3 || s.Cents != 124006 || s.Batches != 2 || s.Lockboxes != 1 {
		t.Fatalf("%+v", s)
	}
	if b := batches[0]; b.Number != "1" || b.Said == nil || b.Said.Cents != 123656 || len(b.Items) != 2 || b.Items[1].Line != 4 || b.Items[1].References[0] != "0000000026" {
		t.Errorf("%+v", b)
	}
	if recognized, err := Recognize(strings.NewReader(batchedTable), append(Profiles(), tableProfile(t), p)); err != nil || recognized.Name != "batched" {
		t.Errorf("recognized as %s, %v", recognized.Name, err)
	}
	for what, c := range map[string]struct {
		text string
		want []string
	}{
		"a batch's total":        {strings.Replace(batchedTable, `,2,"1,236.56"`, `,2,"1,236.57"`, 1), []string{"5 Batch Total amount 123657 123656 batch"}},
		"a batch's count":        {strings.Replace(batchedTable, `,2,"1,236.56"`, `,3,"1,236.56"`, 1), []string{"5 Batch Total count 3 2 file"}},
		"a batch's number":       {strings.Replace(batchedTable, "Batch Total,,1", "Batch Total,,2", 1), []string{"5 Batch Total batch 2 1 file"}},
		"no batch total":         {without(batchedTable, 5, 5), []string{"7 Batch Total record type the checks of batch 2 no record Batch Total file"}},
		"no last batch total":    {without(batchedTable, 10, 10), []string{"11 Batch Total record type the end of the file on line 11 no record Batch Total file"}},
		"a batch total too many": {strings.Replace(batchedTable, "PAGE", "Batch Total,,7,,1,1.00\nPAGE", 1), []string{"6 Batch Total record type Batch Total checks above it file"}},
		"no amount":              {strings.Replace(batchedTable, "$3.50", "n/a", 1), []string{"10 Batch Total amount n/a no amount in dollars file"}},
		"the same batch again":   {strings.Replace(batchedTable, "121000358,2,", "121000358,1,", 1), []string{"8 6 batch 1 the same number before file", "10 Batch Total batch 2 1 file"}},
		"a lost check":           {without(batchedTable, 4, 4), []string{"4 Batch Total count 2 1 file", "4 Batch Total amount 123656 123456 batch", "10 Grand Total count 3 2 file", "10 Grand Total amount 124006 123806 file"}},
		"a skipped check":        {strings.Replace(batchedTable, "03/19/2026,121000358,2", "Page 03/19/2026,121000358,2", 1), []string{"10 Batch Total record type Batch Total checks above it file", "11 Grand Total count 3 2 file", "11 Grand Total amount 124006 123656 file"}},
		"a line for people":      {strings.Replace(batchedTable, "PAGE 1", "Side 1", 1), []string{"6 6 record type Side 1 of 2 no date of the form MM/DD/YYYY file"}},
		"another total":          {strings.Replace(batchedTable, "Batch Total,,2", "Sum of the batch,,2", 1), []string{"10 6 record type Sum of the batch no date of the form MM/DD/YYYY file", "12 Batch Total record type the end of the file on line 12 no record Batch Total file"}},
		"a line after the end":   {batchedTable + "Confidential\n", []string{"13 6 record type Confidential nothing after Grand Total file"}},
		"a check after the end": {batchedTable + "03/19/2026,121000358,3,998880,1004,1.00,\n", []string{"13 6 record type 03/19/2026 nothing after Grand Total file",
			"13 Batch Total record type the end of the file on line 13 no record Batch Total file", "11 Grand Total count 3 4 file", "11 Grand Total amount 124006 124106 file"}},
		"twice": {batchedTable + batchedTable, []string{"13 6 record type First Example Bank nothing after Grand Total file"}},
	} {
		s, _ := read(t, c.text, p)
		var got []string
		for _, x := range s.Problems {
			got = append(got, problemLine(x))
			if x.Do == "" {
				t.Errorf("%s: nothing to do about %+v", what, x)
			}
		}
		if s.Foots() || !reflect.DeepEqual(got[:min(len(got), len(c.want))], c.want) {
			t.Errorf("%s: foots %v\n got %q\nwant %q", what, s.Foots(), got, c.want)
		}
	}
}

// A day without mail has no batches, and may say so.
func TestTableOfNoBatches(t *testing.T) {
	for _, text := range []string{without(batchedTable, 3, 11) + "Grand Total,,,,0,0.00\n", without(batchedTable, 3, 11) + "Batch Total,,,,0,0.00\nGrand Total,,,,0,0\n"} {
		if s, _ := read(t, text, tableBy(t, batchedKeys)); !s.Foots() || !s.Empty || len(s.Problems) > 0 {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

func TestTableWithoutTitles(t *testing.T) {
	p := tableBy(t, untitledKeys)
	s, batches := read(t, untitledTable, p)
	if !s.Foots() || len(s.Problems) > 0 || s.Items != 3 || s.Cents != 124006 || s.Batches != 2 || s.Lockboxes != 2 {
		t.Fatalf("%+v", s)
	}
	i := batches[0].Items[0]
	if i.Line != 1 || i.Routing != "121000358" || i.Account != "998877" || i.Check != "1001" || i.References[0] != "0000000018" || i.ReceivedDate != date("2026-03-19") {
		t.Errorf("%#v", i)
	}
	if masked := i.MaskedRaw(p); masked != "4711,20260319,1,****0358,****877,1001,123456,MARIA LOPEZ,0000000018\n" {
		t.Errorf("shown as %q", masked)
	}
	for what, c := range map[string]struct {
		text string
		want string
	}{
		"titles":    {"Box,Date,Batch,RT,Account,Check,Cents,Name,Member\n" + untitledTable, "1 6 record type Box no date of the form YYYYMMDD file"},
		"short":     {strings.Replace(untitledTable, "1003,350,,", "1003", 1), "3 6 amount 6 cells 7 cells file"},
		"a point":   {strings.Replace(untitledTable, ",350,", ",3.50,", 1), "3 6 amount 3.50 no amount in cents file"},
		"the total": {strings.Replace(untitledTable, "124006", "124005", 1), "4 T amount 124005 124006 file"},
	} {
		if s, _ := read(t, c.text, p); s.Foots() || problemLine(s.Problems[0]) != c.want {
			t.Errorf("%s: %+v, want %s", what, s.Problems, c.want)
		}
	}
	// It is known by its first row, before those of others.
	for text, want := range map[string]string{untitledTable: "untitled", batchedTable: "batched", readFile(t, "table.csv"): "credit-union-csv", readFile(t, "aci.csv"): "csv-aci"} {
		if got, err := Recognize(strings.NewReader(text), append([]Profile{p, tableBy(t, batchedKeys), tableProfile(t)}, Profiles()...)); err != nil || got.Name != want {
			t.Errorf("recognized as %s, %v, want %s", got.Name, err, want)
		}
	}
}

func TestTableProfilesThatMeanNothing(t *testing.T) {
	for what, c := range map[string]struct{ keys, says string }{
		"titles for numbers":  {strings.Replace(untitledKeys, `"amount": "7"`, `"amount": "Amount"`, 1), "columns.amount"},
		"a number twice":      {strings.Replace(untitledKeys, `"amount": "7"`, `"amount": "6"`, 1), "columns.check"},
		"another header":      {strings.Replace(untitledKeys, `"none"`, `"some"`, 1), `"none" or left out`},
		"totals skipped":      {strings.Replace(batchedKeys, `"*** End"`, `"grand"`, 1), "skip[1]"},
		"batches skipped":     {strings.Replace(batchedKeys, `"Page "`, `"Batch"`, 1), "skip[0]"},
		"everything skipped":  {strings.Replace(batchedKeys, `"Page "`, `""`, 1), "skip[0]"},
		"one mark for both":   {strings.Replace(batchedKeys, `"Grand Total"`, `"Batch total"`, 1), "batch_mark"},
		"a mark alone":        {strings.Replace(untitledKeys, `"total_mark"`, `"batch_mark": "B", "total_mark"`, 1), "batch_totals"},
		"no amount":           {strings.Replace(batchedKeys, `"amount": "6"}`, `"count": "4"}`, 1), "batch_totals"},
		"an unknown cell":     {strings.Replace(batchedKeys, `"batch": "3"`, `"bach": "3"`, 1), "batch_totals.bach"},
		"a layout of columns": {`{"name": "x", "like": "bai-a", "skip": ["Page"]}`, "skip"},
		"rows by their type":  {`{"name": "x", "like": "csv-aci", "header": "none"}`, "header"},
	} {
		if _, err := ParseProfile([]byte(c.keys)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", what, err, c.says)
		}
	}
}

// Cells as spreadsheets and banks' own exports write them.
func TestCellsOfSpreadsheets(t *testing.T) {
	p := tableBy(t, `{"name": "sheet", "format": "csv", "amounts": "dollars", "dates": "M/D/YYYY *", "lockbox": "4711", "total_mark": "Total", "totals": {"count": "2", "amount": "3"},
		"columns": {"deposit_date": "Date", "routing": "ABA", "account": "Account", "check": "Check", "amount": "Amount", "payer": "Member"}}`)
	for _, row := range []string{
		`3/19/2026 ,021000021,0099881,77,10.00,0000000018`,
		`3/19/2026 12:00 AM,="021000021",="0099881",="0077",10.00,="0000000018"`,
		`3/19/2026 1:05:00 PM,"=""021000021""","=""0099881""","=""77""",$10,"=""0000000018"""`,
		`3/19/2026 ,'021000021,'0099881,'77,10.0,'0000000018`,
		"\u00a03/19/2026 \u00a0,021000021\u00a0,\u00a00099881,77,\u00a010.00\u00a0,\u00a00000000018\u00a0",
	} {
		s, batches := read(t, "Date,ABA,Account,Check,Amount,Member\n"+row+"\nTotal,1,10.00\n", p)
		if !s.Foots() || len(s.Problems) > 0 || s.Cents != 1000 {
			t.Errorf("%s: %+v", row, s)
			continue
		}
		i := batches[0].Items[0]
		if i.Routing != "021000021" || i.Account != "0099881" || i.Check != "77" || i.DepositDate != date("2026-03-19") || len(i.References) != 1 || i.References[0] != "0000000018" {
			t.Errorf("%s: %#v %q", row, i, i.References)
		}
		if masked := i.MaskedRaw(p); strings.Contains(masked, "0099881") || strings.Contains(masked, "021000021") {
			t.Errorf("%s: shown as %s", row, masked)
		}
	}
	for _, row := range []string{`3/19/20261,021000021,0099881,77,10.00,18`, `3/19/26 ,021000021,0099881,77,10.00,18`, `3/19/2026 ,021000021,0099881,77,="10.00,18`} {
		if s, _ := read(t, "Date,ABA,Account,Check,Amount,Member\n"+row+"\nTotal,1,10.00\n", p); s.Foots() {
			t.Errorf("%s: it foots", row)
		}
	}
	for form, ok := range map[string]bool{"M/D/YYYY *": true, "YYYY-MM-DDT*": true, "M/D/YY*": false, "*": false, "M/D*/YYYY": false, "M/D/YYYY": true, "M/D/YYYY ?": true} {
		if cellDateForm(form) != ok {
			t.Errorf("the form %q: %v", form, !ok)
		}
	}
}

func TestScanlineInGroups(t *testing.T) {
	p := profile(t, "bai-c")
	for said, want := range map[string]string{
		"0000000018 0000042001 00057500 65": "000000001800000420010005750065", "0000000018 0000042001": "0000000018 0000042001", "0000000018": "0000000018", "555 0000000018": "555 0000000018",
	} {
		if got := p.reference(said); got != want {
			t.Errorf("%q is %q, want %q", said, got, want)
		}
	}
}

// A profile that takes the account for an amount or a date tells no account
// number, even of every row.
func TestWrongColumnsTellNoAccount(t *testing.T) {
	const account = "12345678901234567"
	for _, keys := range []string{strings.Replace(strings.Replace(untitledKeys, `"amount": "7"`, `"amount": "5"`, 1), `"account": "5"`, `"account": "7"`, 1),
		strings.Replace(strings.Replace(untitledKeys, `"deposit_date": "2"`, `"deposit_date": "5"`, 1), `"account": "5"`, `"account": "2"`, 1)} {
		s, _ := read(t, strings.ReplaceAll(untitledTable, "998877,", account+","), tableBy(t, keys))
		if told := fmt.Sprint(s.Problems); s.Foots() || strings.Contains(told, account) {
			t.Errorf("%s", told)
		}
	}
}
