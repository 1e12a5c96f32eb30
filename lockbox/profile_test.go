package lockbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestBuiltInProfiles(t *testing.T) {
	var names []string
	for _, p := range Profiles() {
		names = append(names, p.Name)
		if problems := p.Check(); problems != nil {
			t.Errorf("%s: %v", p.Name, problems)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseProfile(text); err != nil || !reflect.DeepEqual(back, p) {
			t.Errorf("%s is not read as it is written: %v", p.Name, err)
		}
	}
	if want := []string{"bai-a", "bai-b", "bai-c", "bai-b-strict", "x12-823", "csv-aci"}; !reflect.DeepEqual(names, want) {
		t.Errorf("built-in profiles %v, want %v", names, want)
	}
	Profiles()[0].Records["6"]["amount"] = Field{1, 2, ""}
	if Profiles()[0].Records["6"]["amount"] != (Field{8, 17, ""}) {
		t.Error("a caller can change the built-in profiles")
	}
}

func TestParseProfile(t *testing.T) {
	p, err := ParseProfile([]byte(`{"name": "first-example", "like": "bai-c", "counts": "note", "payer": ["4.invoice"],
		"records": {"6": {"postmark_date": null, "received_date": "154-159 MMDDYY"}, "2": null}}`))
	if err != nil {
		t.Fatal(err)
	}
	six := p.Records["6"]
	if _, ok := six["postmark_date"]; ok || six["received_date"] != (Field{154, 159, "MMDDYY"}) || six["amount"] != (Field{8, 17, ""}) || p.Records["2"] != nil || p.Records["8"] == nil {
		t.Errorf("records %v", p.Records)
	}
	if p.Counts != "note" || p.OutOfBalance != "batch" || !reflect.DeepEqual(p.Payer, []string{"4.invoice"}) {
		t.Errorf("%+v", p)
	}
	if builtin := profile(t, "bai-c"); builtin.Records["6"]["postmark_date"].From != 154 || len(builtin.Payer) != 3 {
		t.Error("the built-in profile was changed")
	}

	for name, test := range map[string]struct{ text, want string }{
		"no JSON":              {`{"name": `, "not a JSON object"},
		"two objects":          {`{"name": "x", "like": "bai-a"} {}`, "something follows"},
		"unknown key":          {`{"name": "x", "like": "bai-a", "count": "file"}`, `no key "count"`},
		"unknown record":       {`{"name": "x", "like": "bai-a", "records": {"3": {}}}`, "records.3"},
		"unknown field":        {`{"name": "x", "like": "bai-a", "records": {"6": {"recieved_date": "83-88 YYMMDD"}}}`, "records.6.recieved_date: there is no such field"},
		"columns backwards":    {`{"name": "x", "like": "bai-a", "records": {"6": {"payee": "160-83"}}}`, "records.6.payee"},
		"field as a number":    {`{"name": "x", "like": "bai-a", "records": {"6": {"payee": 83}}}`, "records.6.payee"},
		"unknown base":         {`{"name": "x", "like": "bai-z"}`, `no lockbox profile "bai-z"`},
		"overlap":              {`{"name": "x", "like": "bai-a", "records": {"6": {"payer": "80-90"}}}`, "record 6, payer: profile x: column 83 already belongs to payee"},
		"over the record type": {`{"name": "x", "like": "bai-a", "records": {"9": {"count": "1-6"}}}`, "the record type"},
		"missing field":        {`{"name": "x", "like": "bai-a", "records": {"6": {"amount": null}}}`, "record 6, amount: profile x: this field cannot be left out"},
		"no totals":            {`{"name": "x", "like": "bai-a", "records": {"7": null, "8": null}}`, "nothing would prove its sums"},
		"date without a form":  {`{"name": "x", "like": "bai-a", "records": {"6": {"check_date": "47-52"}}}`, "a date needs its form"},
		"date of other width":  {`{"name": "x", "like": "bai-a", "records": {"6": {"check_date": "47-52 YYYYMMDD"}}}`, "a date needs its form"},
		"amount in pounds":     {`{"name": "x", "like": "bai-a", "records": {"6": {"amount": "8-17 pounds"}}}`, "whole cents"},
		"amount too wide":      {`{"name": "x", "like": "bai-a", "records": {"7": {"total": "24-50"}}}`, "at most 15"},
		"strictness":           {`{"name": "x", "like": "bai-a", "counts": "batch"}`, "counts"},
		"payer elsewhere":      {`{"name": "x", "like": "bai-a", "payer": ["6.payer"]}`, "payer[0]"},
		"payer as an amount":   {`{"name": "x", "like": "bai-a", "payer": ["6.amount"]}`, "a field of text"},
		"unknown format":       {`{"name": "x", "format": "xml"}`, "format"},
		"foreign key":          {`{"name": "x", "like": "bai-a", "columns": {"amount": "A"}}`, "belongs to the format csv"},
		"columns of no unit":   {`{"name": "x", "format": "csv", "columns": {"amount": "A", "deposit_date": "D"}, "dates": "MMDDYYYY"}`, "never guessed"},
		"no deposit date":      {`{"name": "x", "format": "csv", "columns": {"amount": "A"}, "amounts": "cents", "dates": "MMDDYYYY"}`, "on which day"},
		"unknown column":       {`{"name": "x", "format": "csv", "columns": {"recieved_date": "R"}}`, "columns.recieved_date: there is no such field"},
		"one title twice":      {`{"name": "x", "format": "csv", "columns": {"amount": "A", "deposit_date": " a "}, "amounts": "cents", "dates": "MMDDYYYY"}`, "title of its own"},
		"totals without mark":  {`{"name": "x", "format": "csv", "columns": {"amount": "A", "deposit_date": "D"}, "amounts": "cents", "dates": "MMDDYYYY", "totals": {"amount": "2"}}`, "total_mark"},
		"cell of no unit":      {`{"name": "x", "like": "csv-aci", "records": {"6": {"amount": "9"}}}`, "dollars"},
		"several cells":        {`{"name": "x", "like": "csv-aci", "records": {"6": {"payer": "5-6"}}}`, "one cell"},
		"unknown element":      {`{"name": "x", "like": "x12-823", "elements": {"payer": ["RMR"]}}`, "elements.payer[0]"},
		"unknown place":        {`{"name": "x", "like": "x12-823", "elements": {"recieved_date": ["DTM02 050"]}}`, "elements.recieved_date"},
		"no name":              {`{"like": "bai-a"}`, "name"},
	} {
		if _, err := ParseProfile([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestRecognize(t *testing.T) {
	ps := Profiles()
	reversed := []Profile{ps[2], ps[3], ps[1], ps[0]}
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		text := sample(t, name)
		short := strings.Join(trimmed(text), "\n")
		bare := strings.NewReplacer("031226", "000000", "022826", "000000", "260312", "000000", "260228", "000000").Replace(short) // no check dates to go by
		cutOff := without(text, 12, 19)                                                                                            // no total of a lockbox to go by
		offBalance := replaced(text, 9, "0000087500", "0000087600")
		for what, text := range map[string]string{"as sent": text, "trimmed": short, "without check dates": bare, "out of balance": offBalance, "cut off": cutOff} {
			for _, order := range [][]Profile{ps, reversed} {
				p, err := Recognize(strings.NewReader(text), order)
				if p.Name = strings.TrimSuffix(p.Name, "-strict"); err != nil || p.Name != name {
					t.Errorf("%s, %s: recognized as %q, %v", name, what, p.Name, err)
				}
			}
		}
		for _, other := range ps {
			if strings.TrimSuffix(other.Name, "-strict") == name {
				continue
			}
			if s, _ := read(t, text, other); s.Foots() || s.Balanced {
				t.Errorf("a file of %s foots by %s: %+v", name, other.Name, s)
			}
		}
	}
	if p, _ := Recognize(strings.NewReader(sample(t, "bai-b")), ps); p.Name != "bai-b" {
		t.Errorf("of two profiles that suit, the first must win, not %s", p.Name)
	}
}

// A file longer than what is looked at is told by its end where its beginning
// leaves two layouts open, and is read from its start afterwards.
func TestRecognizeByTheEnd(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: make([]Item, 9000)}}}
		for i := range file.Batches[0].Items {
			file.Batches[0].Items[i] = Item{Cents: 57500, Routing: "01110000", Account: "0098765432", Check: "12"}
		}
		var b bytes.Buffer
		if err := Write(&b, profile(t, name), file); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(trimmed(b.String()), "\n")
		if len(text) <= headBytes {
			t.Fatalf("the file is only %d bytes long", len(text))
		}
		ps := Profiles()
		for _, order := range [][]Profile{ps, {ps[2], ps[1], ps[0]}} {
			if s, err := Inspect(strings.NewReader(text), order); err != nil || s.Profile != name || !s.Foots() || s.Items != 9000 {
				t.Errorf("%s: recognized as %s, %d items, %v %v", name, s.Profile, s.Items, s.Problems[:min(2, len(s.Problems))], err)
			}
		}
	}
}

func TestRecognizeByOrigin(t *testing.T) {
	own, err := ParseProfile([]byte(`{"name": "first-example", "like": "bai-a", "origins": ["0900000012"], "payer": ["6.payee"]}`))
	if err != nil {
		t.Fatal(err)
	}
	a := sample(t, "bai-a")
	for _, order := range [][]Profile{append(Profiles(), own), append([]Profile{own}, Profiles()...)} {
		if p, err := Recognize(strings.NewReader(a), order); err != nil || p.Name != "first-example" {
			t.Errorf("recognized as %q, %v", p.Name, err)
		}
		if p, err := Recognize(strings.NewReader(replaced(a, 1, "0900000012", "0900000099")), order); err != nil || p.Name != "bai-a" {
			t.Errorf("another bank's file is recognized as %q, %v", p.Name, err)
		}
	}
	// The profile that was named reads any file, and says whose it is not.
	if sum, err := Inspect(strings.NewReader(replaced(a, 1, "0900000012", "0900000099")), []Profile{own}); err != nil || sum.Foots() || len(sum.Problems) != 1 ||
		sum.Problems[0].Field != "origin" || sum.Problems[0].Said != "0900000099" || sum.Problems[0].Found != "0900000012" {
		t.Errorf("no profile is left: %+v, %v", sum, err)
	}
	if _, err := Recognize(strings.NewReader(replaced(a, 1, "0900000012", "0900000099")), []Profile{own, own}); err == nil || !strings.Contains(err.Error(), "origin") {
		t.Errorf("no profile is left, but the error is %v", err)
	}
}

func TestOtherFormats(t *testing.T) {
	for _, test := range []struct{ text, format string }{
		{"01,021000021,EXAMPLE,260320,0600,1,80,,2/\n02,EXAMPLE,021000021,1,260319,,,2/\n", "bai2-cash"},
		{"ISA*00*          *00*          *ZZ*BANK           *ZZ*EXAMPLE        *260320*0600*U*00501*000000001*0*P*>~GS*RA*B*E*20260320*0600*1*X*005010~ST*820*0001~", "x12"},
		{"\xf1\xf0\xf0\xc5\xe7\xc1\xd4\xd7\xd3\xc5", "ebcdic"}, {"\xc9\xe2\xc1\x5c\xf0\xf0", "ebcdic"},
		{"\x00\x00\x00\x50" + "0103T0210000210210000212026032006", "x937"},
		{"\x00\x00\x00\x50" + "\xf0\xf1\xf0\xf3\xe3", "x937"},
		{"account,check,amount,date\n1,2,3,4\n", "csv"},
		{"101 021000021 1234567892603200600A094101EXAMPLE BANK           EXAMPLE HEALTH                \n", "nacha"},
		{"PK\x03\x04\x14\x00", "zip"}, {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00", "xls"}, {"\xff\xfe1\x000\x00", "utf-16"}, {"\xfe\xff\x001\x000", "utf-16"},
		{"\r\n<!doctype HTML>\n<html>", "html"}, {"<HTML><body>Your session has expired", "html"}, {"\ufeff<?xml version=\"1.0\"?>", "xml"},
		{"", ""}, {"\x1a\n", ""}, {"Dear customer,\nplease find enclosed\n", ""}, {"\x89PNG\r\n\x1a\n\x00\x00", ""},
	} {
		s, err := Inspect(strings.NewReader(test.text), Profiles())
		if err != nil || s.Format != test.format || s.Foots() || len(s.Problems) != 1 || s.Problems[0].Refuses != RefusesFile || s.Problems[0].Do == "" || s.SHA256 == (Hash{}) {
			t.Errorf("%.20q: %+v, %v", test.text, s, err)
		}
	}
	if _, err := Recognize(strings.NewReader(sample(t, "bai-a")), Profiles()[4:]); err == nil || !strings.Contains(err.Error(), "no profile that it may have is of that format") {
		t.Errorf("a BAI file by profiles of other formats: %v", err)
	}
	if s, err := Inspect(strings.NewReader("100EXAMPLEHLT09000000122603201730\n2\nhello\n"), Profiles()); err != nil || s.Format != "bai" || s.Foots() || s.Profile == "" {
		t.Errorf("a damaged lockbox file must still be read: %+v, %v", s, err)
	}
}

// Every bank's sloppiness in a table of its own: a layout of three record types,
// amounts in dollars, and dates of eight digits.
func TestOwnLayout(t *testing.T) {
	p, err := ParseProfile([]byte(`{"name": "credit-union", "nesting": "lockbox", "counts": "note", "out_of_balance": "file", "payer": ["6.payer"], "records": {
		"5": {"lockbox": "2-5", "deposit_date": "6-15 MM/DD/YYYY"},
		"6": {"batch": "2-3", "item": "4-7", "amount": "8-17 dollars", "payer": "18-27"},
		"8": {"total": "2-13 dollars", "count": "14-17"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	text := "5004703/19/2026\n6010001    575.000000000018\n6020001     30.000000000026\n8      605.000002\n"
	s, batches := read(t, text, p)
	if !s.Foots() || !s.Balanced || s.Batches != 2 || s.Cents != 60500 || batches[1].Items[0].ReceivedDate != date("2026-03-19") || batches[1].Items[0].References[0] != "0000000026" {
		t.Errorf("%+v", s)
	}
	if s, _ := read(t, strings.Replace(text, "605.00", "605.01", 1), p); s.Foots() || s.Balanced {
		t.Errorf("a wrong total foots: %+v", s)
	}
	var b strings.Builder
	if err := Write(&b, p, File{Batches: batches}); err != nil || strings.ReplaceAll(b.String(), " \n", "\n") != text {
		t.Errorf("written as %v\n%q\nwant\n%q", err, b.String(), text)
	}
}

// The layouts of a biller's own are found in a folder of any name, and one that can't
// be looked into is no empty one.
func TestLayoutsInAFolderOfAnyName(t *testing.T) {
	for _, name := range []string{"[prod]", "a[b"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.json"), []byte(`{"name": "own", "like": "bai-a"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if ps, err := LoadProfiles(dir); err != nil || ps[0].Name != "own" {
			t.Errorf("%s: %s, %v", name, ps[0].Name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.json"), []byte(`{"name": "own", "amounts": "cents", "reasons": {"NSF": "NSF"}, "columns": {"routing": "r", "account": "a", "check": "c", "amount": "m", "reason": "w"}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if ls, err := LoadReturnsLayouts(dir); err != nil || ls[0].Name != "own" {
			t.Errorf("%s: %s, %v", name, ls[0].Name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadProfiles(file); err == nil {
		t.Error("a file is a folder of layouts")
	}
	if _, err := LoadReturnsLayouts(file); err == nil {
		t.Error("a file is a folder of layouts")
	}
}

// A bank's layout in the biller's folder is tried before the built-in ones.
func TestLoadProfiles(t *testing.T) {
	dir := t.TempDir()
	if ps, err := LoadProfiles(dir + "/none"); err != nil || len(ps) != len(Profiles()) {
		t.Errorf("without a folder: %d, %v", len(ps), err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ours.json", `{"name": "ours", "like": "bai-a", "payer": ["6.payee"]}`)
	write("table.json", readFile(t, "table.json"))
	ps, err := LoadProfiles(dir)
	if err != nil || len(ps) != len(Profiles())+2 {
		t.Fatalf("%d, %v", len(ps), err)
	}
	for text, want := range map[string]string{sample(t, "bai-a"): "ours", readFile(t, "table.csv"): "credit-union-csv", readFile(t, "823.edi"): "x12-823"} {
		if s, err := Inspect(strings.NewReader(text), ps); err != nil || s.Profile != want || !s.Foots() {
			t.Errorf("recognized as %s, %v, %v", s.Profile, s.Problems, err)
		}
	}
	write("twice.json", `{"name": "bai-a", "like": "bai-b"}`)
	write("broken.json", `{"name": "broken", "colour": "blue"}`)
	if _, err := LoadProfiles(dir); err == nil || !strings.Contains(err.Error(), "twice.json: there is a profile") || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("%v", err)
	}
}

func ExampleProfile() {
	bank, err := ParseProfile([]byte(`{
		"name": "first-example-bank",
		"like": "bai-c",
		"origins": ["0121000248"],
		"records": {"6": {"postmark_date": null, "received_date": "154-159 YYMMDD"}}
	}`))
	fmt.Println(bank.Name, bank.Records["6"]["received_date"], err)
	// Output: first-example-bank 154-159 YYMMDD <nil>
}

// A wrong profile never passes for the right one, whatever the bank sends.
func TestNoFileFootsByAnotherLayout(t *testing.T) {
	for _, right := range Profiles()[:3] {
		for seed := range uint64(150) {
			f := anyFile(rand.New(rand.NewPCG(seed, 2)), right)
			var b bytes.Buffer
			if err := Write(&b, right, f); err != nil {
				t.Fatal(err)
			}
			s, _ := read(t, b.String(), right)
			if s.Cents == 0 {
				continue
			}
			for _, wrong := range Profiles()[:3] {
				if wrong.Name == right.Name {
					continue
				}
				if s, _ := read(t, b.String(), wrong); s.Foots() {
					t.Fatalf("seed %d: a file of %s foots by %s\n%s", seed, right.Name, wrong.Name, b.String())
				}
			}
			if p, err := Recognize(bytes.NewReader(b.Bytes()), Profiles()); err != nil || p.Name != right.Name {
				t.Fatalf("seed %d: a file of %s is recognized as %s, %v\n%s", seed, right.Name, p.Name, err, b.String())
			}
		}
	}
}

// The paper names every field that a layout may have.
func TestPaperNamesEveryField(t *testing.T) {
	paper, err := os.ReadFile("../docs/lockbox.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(paper)) {
		if cells := strings.SplitN(line, "|", 4); len(cells) == 4 {
			rows[strings.Trim(cells[1], " `")] = cells[2]
		}
	}
	for record, schema := range schemas {
		for name, spec := range schema {
			if strings.HasPrefix(name, "user_") {
				continue
			}
			if !strings.Contains(rows[record], "`"+name+"`") || spec.must && !strings.Contains(rows[record], "**`"+name+"`**") {
				t.Errorf("docs/lockbox.md does not say of record %s that it may have (or must) the field %s", record, name)
			}
		}
	}
	for _, schema := range []map[string]fieldSpec{columnSchema(), elementSchema, totalSchema} {
		for name := range schema {
			if !strings.Contains(string(paper), "`"+name+"`") {
				t.Errorf("docs/lockbox.md does not name the field %s", name)
			}
		}
	}
}
