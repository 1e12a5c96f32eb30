package lockbox

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// goodFile is a file of testdata that foots, and the profile that it has.
type goodFile struct {
	name, text string
	profile    Profile
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r", "")
}

// tableProfile is a bank's own layout, from a file alone.
func tableProfile(t testing.TB) Profile {
	t.Helper()
	p, err := ParseProfile([]byte(readFile(t, "table.json")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// goodFiles holds one file of every format and layout.
func goodFiles(t testing.TB) []goodFile {
	t.Helper()
	return []goodFile{
		{"bai-a", sample(t, "bai-a"), profile(t, "bai-a")},
		{"bai-b", sample(t, "bai-b"), profile(t, "bai-b")},
		{"bai-b-strict", sample(t, "bai-b"), profile(t, "bai-b-strict")},
		{"bai-c", sample(t, "bai-c"), profile(t, "bai-c")},
		{"x12-823", readFile(t, "823.edi"), profile(t, "x12-823")},
		{"csv-aci", readFile(t, "aci.csv"), profile(t, "csv-aci")},
		{"table", readFile(t, "table.csv"), tableProfile(t)},
	}
}

// The other formats tell the same mail as the BAI samples.
func TestReadFormats(t *testing.T) {
	for _, test := range []struct {
		name             string
		lockboxes, batch int
		cents            ledger.Cents
		items            []Item
	}{
		{"x12-823", 2, 3, 222400, []Item{
			{Lockbox: "0004711", Batch: "001", Number: "1", Cents: 57500, Routing: "011100002", Account: "0098765432", Check: "1001", CheckDate: date("2026-03-12"), ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-19"),
				Remitter: "MARIA LOPEZ", ZIP: "94612", References: []string{"000000001800000420010005750065"}},
			{Lockbox: "0004711", Batch: "001", Number: "2", Cents: 30000, Routing: "012200003", Account: "0011122233", Check: "78", ReceivedDate: date("2026-03-17"), DepositDate: date("2026-03-19"),
				Remitter: "SAM AND JO REED", References: []string{"0000000026", "0000000034"}},
			{Lockbox: "0004711", Batch: "002", Number: "1", Cents: 9900, ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-19"), Remitter: "MONEY ORDER"},
			{Lockbox: "0004712", Batch: "001", Number: "1", Cents: 125000, Routing: "011100002", Account: "5550001111", Check: "204", CheckDate: date("2026-02-28"), ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-18"), References: []string{"0000000042"}},
		}},
		{"csv-aci", 1, 2, 97400, []Item{
			{Lockbox: "0004711", Batch: "564075", Number: "1", Cents: 57500, Account: "*******5432", ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-19"), Remitter: "MARIA LOPEZ", BankItem: "6979285", References: []string{"0000000018"}},
			{Lockbox: "0004711", Batch: "564075", Number: "2", Cents: 30000, Account: "*******2233", ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-19"), Remitter: `SAM "JO" REED, JR`, BankItem: "6979286", References: []string{"0000000026"}},
			{Lockbox: "0004711", Batch: "564076", Number: "1", Cents: 9900, ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-19"), Remitter: "MONEY ORDER", BankItem: "6979287", References: []string{"0000000042"}},
		}},
		{"table", 2, 3, 222400, []Item{
			{Lockbox: "0004711", Batch: "001", Number: "1", Cents: 57500, Routing: "011100002", Account: "0098765432", Check: "1001", ReceivedDate: date("2026-03-19"), DepositDate: date("2026-03-19"), Remitter: "MARIA LOPEZ", References: []string{"000000001800000420010005750065"}},
			{Lockbox: "0004711", Batch: "001", Number: "2", Cents: 30000, Routing: "012200003", Account: "0011122233", Check: "77", ReceivedDate: date("2026-03-19"), DepositDate: date("2026-03-19"), Remitter: "REED, SAM", References: []string{"0000000026"}},
			{Lockbox: "0004711", Batch: "002", Number: "1", Cents: 9900, ReceivedDate: date("2026-03-19"), DepositDate: date("2026-03-19"), Remitter: "MONEY ORDER"},
			{Lockbox: "0004712", Batch: "001", Number: "1", Cents: 125000, Routing: "011100002", Account: "5550001111", Check: "204", ReceivedDate: date("2026-03-18"), DepositDate: date("2026-03-18"), References: []string{"0000000042"}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, file := range goodFiles(t) {
				if file.name != test.name {
					continue
				}
				s, batches := read(t, file.text, file.profile)
				if !s.Foots() || !s.Balanced || s.Empty || len(s.Problems) != 0 || s.Lockboxes != test.lockboxes || s.Batches != test.batch || s.Items != len(test.items) || s.Cents != test.cents || s.FileDate != map[bool]calendar.Date{true: date("2026-03-20")}[test.name != "table"] {
					t.Errorf("summary %+v", s)
				}
				var got []Item
				for _, b := range batches {
					got = append(got, b.Items...)
				}
				for n, want := range test.items {
					have := got[n]
					for _, account := range []string{have.Account, have.Routing} {
						if masked := have.MaskedRaw(file.profile); len(account) > 4 && !strings.Contains(account, "*") && (strings.Contains(masked, account) || !strings.Contains(have.Raw, account)) {
							t.Errorf("item %d: masked %q of %q", n+1, masked, have.Raw)
						}
					}
					have.Raw, have.Ordinal, have.Line, have.Overflows, have.Payer, have.Invoice = "", 0, 0, nil, "", ""
					if !reflect.DeepEqual(have, want) {
						t.Errorf("item %d:\n got %#v %+v\nwant %#v %+v", n+1, have, [...]any{have.Remitter, have.References, have.ReceivedDate, have.BankItem, have.ZIP, have.CheckDate}, want, [...]any{want.Remitter, want.References, want.ReceivedDate, want.BankItem, want.ZIP, want.CheckDate})
					}
				}
				p, err := Recognize(strings.NewReader(file.text), append(Profiles(), tableProfile(t)))
				if err != nil || p.Name != file.profile.Name {
					t.Errorf("recognized as %q, %v", p.Name, err)
				}
			}
		})
	}
}

// What is wrong with a file of the other formats, and where.
func TestFormatProblems(t *testing.T) {
	files := map[string]goodFile{}
	for _, f := range goodFiles(t) {
		files[f.name] = f
	}
	x, a, c := files["x12-823"], files["csv-aci"], files["table"]
	lines := func(text string) int { return strings.Count(text, "\n") }
	if lines(x.text) != 41 || lines(a.text) != 9 || lines(c.text) != 6 {
		t.Fatal(lines(x.text), lines(a.text), lines(c.text))
	}
	for _, test := range []struct {
		name                     string
		of                       goodFile
		text                     string
		want                     []string
		balanced, whole, refused bool
		batches                  int
	}{
		{"823: batch total", x, replaced(x.text, 13, "875.00", "876.00"), []string{"13 AMT AMT02 87600 87500 batch"}, false, true, false, 1},
		{"823: batch total and the deposit's with it", x, replaced(replaced(x.text, 13, "875.00", "876.00"), 8, "974", "975"), []string{"13 AMT AMT02 87600 87500 batch", "8 AMT AMT02 97500 97400 "}, false, true, false, 1},
		{"823: deposit total", x, replaced(x.text, 8, "974", "975"), []string{"8 AMT AMT02 97500 97400 file"}, false, true, true, 0},
		{"823: deposit total missing", x, replaced(x.text, 8, "AMT*3*974", "NTE*ADD*974"), []string{"7 AMT AMT02 no total 97400 file"}, false, true, true, 0},
		{"823: number of batches", x, replaced(x.text, 9, "41*2", "41*3"), []string{"9 QTY QTY02 3 2 file"}, true, true, true, 0},
		{"823: number of checks", x, replaced(x.text, 10, "42*3", "42*4"), []string{"10 QTY QTY02 4 3 file"}, true, true, true, 0},
		{"823: number of checks in a batch", x, replaced(x.text, 14, "42*2", "42*1"), []string{"14 QTY QTY02 1 2 file"}, true, true, true, 0},
		{"823: a quantity of nobody knows what", x, replaced(x.text, 9, "41*2", "QA*7"), []string{"9 QTY QTY02 7 3 "}, true, true, false, 0},
		{"823: amount with a letter", x, replaced(x.text, 28, "99", "9O"), []string{"28 BPR BPR02 9O no amount file", "8 AMT AMT02 97400 87500 file"}, false, true, true, 0},
		{"823: three decimals", x, replaced(x.text, 28, "99", "99.000"), []string{"28 BPR BPR02 99.000 no amount file", "8 AMT AMT02 97400 87500 file"}, false, true, true, 0},
		{"823: a debit", x, replaced(x.text, 28, "99*C", "99*D"), []string{"28 BPR BPR03 D C file", "8 AMT AMT02 97400 77600 file"}, false, true, true, 0},
		{"823: batch number twice", x, replaced(x.text, 27, "002", "001"), []string{"27 BAT BAT03 001 the same number before file"}, true, true, true, 0},
		{"823: segments", x, replaced(x.text, 39, "SE*37", "SE*36"), []string{"39 SE SE01 36 37 file"}, true, true, true, 0},
		{"823: set number", x, replaced(x.text, 39, "0001", "0002"), []string{"39 SE SE02 0002 0001 file"}, true, true, true, 0},
		{"823: sets", x, replaced(x.text, 40, "1*7", "2*7"), []string{"40 GE GE01 2 1 file"}, true, true, true, 0},
		{"823: interchange number", x, replaced(x.text, 41, "000000042", "000000043"), []string{"41 IEA IEA02 000000043 000000042 file"}, true, true, true, 0},
		{"823: no end", x, without(x.text, 39, 41), []string{"38 SE segment the end of the file no SE file", "38 GE segment the end of the file no GE file", "38 IEA segment the end of the file no IEA file"}, true, false, true, 0},
		{"823: no end of the interchange", x, without(x.text, 41, 41), []string{"40 IEA segment the end of the file no IEA file"}, true, false, true, 0},
		{"823: twice", x, x.text + x.text, []string{"42 ISA segment ISA nothing after IEA file"}, true, false, true, 0},
		{"823: coupons that are not the check", x, replaced(x.text, 26, "200.00", "150.00"), []string{"20 BPR amount 25000 30000 "}, true, true, false, 0},
		{"823: a coupon without a check", x, replaced(x.text, 28, "BPR*C*99*C*CHK", "RMR*IV*1**99"), []string{"28 RMR segment RMR BPR file", "9 QTY QTY02 2 1 file", "10 QTY QTY02 3 2 file", "8 AMT AMT02 97400 87500 file"}, false, true, true, 0},
		{"823: a check without a deposit", x, without(x.text, 7, 11), []string{"7 BAT segment BAT DEP file", "7 AMT AMT02 no total 97400 file", "34 SE SE01 37 32 file"}, false, false, true, 0},
		{"823: no such date", x, replaced(x.text, 23, "20260317", "20260231"), []string{"23 DTM DTM02 20260231 no date of the form YYYYMMDD batch"}, true, true, false, 1},
		{"823: an unknown segment", x, replaced(x.text, 29, "N1", "X1"), []string{"29 X1 segment X1 no segment of an 823 "}, true, true, false, 0},
		{"823: header too short", x, replaced(x.text, 1, "0900000012     ", "0900000012"), []string{"1 ISA length 101 characters 106 characters file"}, true, true, true, 0},
		{"aci: batch total", a, replaced(a.text, 5, `"87500","0","87500"`, `"87501","0","87500"`), []string{"5 8 total 87501 87500 batch"}, false, true, false, 1},
		{"aci: batch count", a, replaced(a.text, 5, `"2","87500"`, `"3","87500"`), []string{"5 8 count 3 2 file"}, true, true, true, 0},
		{"aci: file total", a, replaced(a.text, 9, `"2","97400"`, `"2","97401"`), []string{"9 9 total 97401 97400 file"}, false, true, true, 0},
		{"aci: batches", a, replaced(a.text, 9, `"9","2"`, `"9","1"`), []string{"9 9 batches 1 2 file"}, true, true, true, 0},
		{"aci: another batch closed", a, replaced(a.text, 8, "564076", "564075"), []string{"8 8 batch 564075 564076 file"}, true, true, true, 0},
		{"aci: batch twice", a, replaced(replaced(a.text, 6, "564076", "564075"), 8, "564076", "564075"), []string{"6 5 batch 564075 the same number before file"}, true, true, true, 0},
		{"aci: amount in cents", a, replaced(a.text, 7, `"99.00","CHK"`, `"9900","CHK"`), []string{"8 8 total 9900 990000 batch", "9 9 total 97400 1077500 "}, false, true, false, 1},
		{"aci: a fee", a, replaced(a.text, 7, `"0.00","99.00"`, `"2.00","99.00"`), []string{"7 6 fee 200 0 file"}, true, true, true, 0},
		{"aci: no trailer", a, without(a.text, 9, 9), []string{"8 9 record type the end of the file on line 8 no record 9 file", "8 9 record type the end of the file no record 9 file"}, false, false, true, 0},
		{"aci: no header", a, without(a.text, 1, 1), []string{"1 5 record type 5 1 file"}, true, false, true, 0},
		{"aci: a quote lost", a, replaced(a.text, 7, `MONEY ORDER"`, `MONEY ORDER`), []string{"7 file quotes a quote at character 208 cells that are closed file", "9 8 record type the end of the file on line 9 no record 8 file", "9 9 record type the end of the file on line 9 no record 9 file", "9 9 record type the end of the file no record 9 file"}, false, false, true, 0},
		{"table: amount", c, replaced(c.text, 4, "99.00", "98.00"), []string{"6 TOTAL amount 222400 222300 file"}, false, true, true, 0},
		{"table: a row lost", c, without(c.text, 4, 4), []string{"5 TOTAL count 4 3 file", "5 TOTAL amount 222400 212500 file"}, false, true, true, 0},
		{"table: no totals line", c, without(c.text, 6, 6), []string{"5 TOTAL record type the end of the file no TOTAL file"}, false, false, true, 0},
		{"table: no header", c, without(c.text, 1, 1), []string{"1 header Account blank no column \"Account\" file", "1 header Batch blank no column \"Batch\" file", "1 header Box blank no column \"Box\" file", "1 header Check Amount blank no column \"Check Amount\" file", "1 header Check No blank no column \"Check No\" file", "1 header Deposit Date blank no column \"Deposit Date\" file", "1 header Remitter blank no column \"Remitter\" file", "1 header Route blank no column \"Route\" file", "1 header Scan Line blank no column \"Scan Line\" file"}, false, false, true, 0},
		{"table: no deposit date", c, replaced(c.text, 5, "3/18/2026", "2/30/2026"), []string{"5 6 deposit_date 2/30/2026 no date of the form M/D/YYYY file"}, true, true, true, 0},
		{"table: thousands that are none", c, replaced(c.text, 5, "1,250.00", "12,50.00"), []string{"5 6 amount 12,50.00 no amount in dollars file", "6 TOTAL amount 222400 97400 file"}, false, true, true, 0},
		{"table: twice", c, c.text + c.text, []string{"7 6 record type Deposit Date nothing after TOTAL file"}, false, false, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, batches := read(t, test.text, test.of.profile)
			var got []string
			for _, p := range s.Problems {
				got = append(got, problemLine(p))
			}
			if !reflect.DeepEqual(got, test.want) && !(strings.HasSuffix(test.name, "twice") && len(got) > len(test.want) && reflect.DeepEqual(got[:1], test.want[:1])) {
				t.Errorf("problems\n got %q\nwant %q", got, test.want)
			}
			if s.Balanced != test.balanced || s.Whole != test.whole || s.Refused() != test.refused || s.RefusedBatches != test.batches {
				t.Errorf("balanced %v, whole %v, refused %v, refused batches %d", s.Balanced, s.Whole, s.Refused(), s.RefusedBatches)
			}
			inspected, err := Read(strings.NewReader(test.text), test.of.profile, nil)
			s.CanonicalSHA256 = Hash{}
			if err != nil || !reflect.DeepEqual(inspected, s) {
				t.Errorf("reading without batches says %+v, %v", inspected, err)
			}
			if s.Foots() && len(batches) == 0 {
				t.Error("nothing was handed out")
			}
		})
	}
}

// Whatever stands in a name, it is read as one line of text, and a file from a
// mainframe or of another tongue is no riddle.
func TestHostileBytes(t *testing.T) {
	for _, file := range goodFiles(t) {
		if !strings.Contains(file.text, "MARIA LOPEZ") {
			continue // its layout has no names
		}
		for _, name := range []string{"=1+cmd|x  ", "<script>x ", "MARIA\x00\x01\x1b[", "M\x7f\x1aRIA LOP", "M\xcdRIA LOPEZ", "@SUM(A1)  ", "-\u202eLOPEZ ", strings.Repeat(" ", 11)} {
			text := strings.Replace(file.text, "MARIA LOPEZ", (name + "           ")[:11], 1)
			s, batches := read(t, text, file.profile)
			if !s.Foots() {
				t.Errorf("%s, %q: %v", file.name, name, s.Problems)
				continue
			}
			i := batches[0].Items[0]
			for _, shown := range []string{i.Raw, i.Remitter, i.MaskedRaw(file.profile), i.String()} {
				if strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
					t.Errorf("%s, %q: shown as %q", file.name, name, shown)
				}
			}
		}
		for how, text := range map[string]string{"byte order mark": "\ufeff" + file.text, "Ctrl-Z": file.text + "\x1a", "NULs": file.text + "\x00\x00\x00", "CRLF": strings.ReplaceAll(file.text, "\n", "\r\n"), "blank lines": "\n" + file.text + "\n\n"} {
			p, err := Recognize(strings.NewReader(text), append(Profiles(), tableProfile(t)))
			if err != nil || strings.TrimSuffix(p.Name, "-strict") != strings.TrimSuffix(file.profile.Name, "-strict") {
				t.Errorf("%s, %s: recognized as %q, %v", file.name, how, p.Name, err)
			}
			if s, _ := read(t, text, file.profile); !s.Foots() || len(s.Problems) > 0 {
				t.Errorf("%s, %s: %v", file.name, how, s.Problems)
			}
		}
	}
}

// The limits hold in every format: a line, a batch, a check without end.
func TestFormatLimits(t *testing.T) {
	for _, file := range goodFiles(t) {
		first, rest, _ := strings.Cut(file.text, "\n")
		long := first + "\n" + strings.Repeat("A", 1<<20) + "\n" + rest
		if file.profile.format() == formatX12 {
			long = first + "\n" + strings.Repeat("A", 1<<20) + "~\n" + rest
		}
		if s, _ := read(t, long, file.profile); !s.Refused() || s.Items == 0 {
			t.Errorf("%s: a line of a megabyte: %+v", file.name, s)
		}
	}
	text := readFile(t, "823.edi")
	coupons := strings.Replace(text, "BAT*20260319**002~\n", strings.Repeat("RMR*IV*1~\n", maxOverflows+5)+"BAT*20260319**002~\n", 1)
	if s, batches := read(t, coupons, profile(t, "x12-823")); !s.Refused() || len(batches[0].Items[1].Overflows) >= maxOverflows {
		t.Errorf("coupons without end: %v", s.Problems)
	}
	segments := strings.Replace(text, "BAT*20260319**002~\n", strings.Repeat("NTE*ADD*X~\n", 2*maxOverflows+5)+"BAT*20260319**002~\n", 1)
	if s, batches := read(t, segments, profile(t, "x12-823")); !s.Refused() || len(batches[0].Items[1].Raw) > 12*2*maxOverflows {
		t.Errorf("segments without end: %v", s.Problems)
	}
	row := "3/19/2026,0004711,001,1,1,1,1.00,X,\n"
	table := strings.Replace(readFile(t, "table.csv"), row, "", 1)
	table = strings.Replace(table, "TOTAL", strings.Repeat(row, maxBatchItems+5)+"TOTAL", 1)
	if s, batches := read(t, table, tableProfile(t)); !s.Refused() || len(batches[3].Items) != maxBatchItems {
		t.Errorf("a batch without end: %d problems", len(s.Problems))
	}
}

// An operator's figures are held against a file of any format.
func TestStated(t *testing.T) {
	for _, file := range goodFiles(t) {
		s, _ := read(t, file.text, file.profile)
		for _, test := range []struct {
			said  Total
			foots bool
		}{{Total{s.Items, s.Cents}, true}, {Total{-1, s.Cents}, true}, {Total{s.Items + 1, s.Cents}, false}, {Total{s.Items, s.Cents - 1}, false}} {
			p := file.profile
			p.Stated = &test.said
			if s, _ := read(t, file.text, p); s.Foots() != test.foots {
				t.Errorf("%s, %+v: foots %v, %v", file.name, test.said, s.Foots(), s.Problems)
			}
		}
	}
	p := tableProfile(t)
	p.TotalMark, p.Totals = "", nil
	text := without(readFile(t, "table.csv"), 6, 6)
	if s, _ := read(t, text, p); s.Foots() || s.Balanced || !strings.Contains(s.Problems[0].Problem, "nothing proves") {
		t.Errorf("without any total: %+v", s)
	}
	p.Stated = &Total{4, 222400}
	if s, _ := read(t, text, p); !s.Foots() || !s.Balanced || len(s.Problems) > 0 {
		t.Errorf("with the total stated: %+v", s)
	}
}

// A totals line may come first and name the box and the day of all rows.
func TestTotalsFirst(t *testing.T) {
	p, err := ParseProfile([]byte(`{"name": "totals-first", "format": "csv", "delimiter": ";", "amounts": "dollars", "dates": "YYYY-MM-DD",
		"columns": {"amount": "amount", "payer": "account"}, "total_mark": "deposit", "totals": {"lockbox": "2", "deposit_date": "3", "count": "4", "amount": "5"}}`))
	if err != nil {
		t.Fatal(err)
	}
	text := "DEPOSIT;0004711;2026-03-19;2;700\nAccount;Amount;Note\n1000000016;500.00;\n1000000024;200;x\n"
	s, batches := read(t, text, p)
	if !s.Foots() || s.Cents != 70000 || s.Lockboxes != 1 || batches[0].Items[1].Lockbox != "0004711" || batches[0].Items[1].ReceivedDate != date("2026-03-19") || batches[0].Items[1].References[0] != "1000000024" {
		t.Errorf("%+v", s)
	}
	for _, wrong := range []string{without(text, 3, 3), again(text, 3), replaced(text, 1, ";2;", ";3;"), without(text, 1, 1), text[:len(text)-3], again(text, 1)} {
		if s, _ := read(t, wrong, p); s.Foots() && len(s.Problems) == 0 && s.Cents != 70000 {
			t.Errorf("taken in silence: %q", wrong)
		}
	}
}

// Checks may stand under no BAT; then there are no batches to count, or one, and of
// several nothing shows where one ends.
func TestDepositWithoutBatches(t *testing.T) {
	text := strings.NewReplacer("BAT*20260318**001~\nAMT*3*1250.00~\n", "", "QTY*41*1", "QTY*41*0", "SE*37", "SE*35").Replace(readFile(t, "823.edi"))
	s, batches := read(t, text, profile(t, "x12-823"))
	if !s.Foots() || !s.Balanced || len(s.Problems) > 0 || s.Cents != 222400 || batches[2].Number != "" || batches[2].Said != nil {
		t.Errorf("%+v", s)
	}
	if s, _ := read(t, strings.Replace(text, "QTY*41*0", "QTY*41*2", 1), profile(t, "x12-823")); !s.Foots() || len(s.Problems) != 1 || s.Problems[0].Field != "QTY02" {
		t.Errorf("several batches that cannot be seen: %+v", s)
	}
}

// A deposit of nothing is valid in every format.
func TestEmptyFormats(t *testing.T) {
	for name, text := range map[string]string{
		"x12-823": readFile(t, "823-empty.edi"),
		"csv-aci": "\"1\",\"563375\",\"03202026_173000\"\n\"5\",\"PAYMENTS\",\"1\",\"564075\"\n\"8\",\"564075\",\"0\",\"0\",\"0\",\"0\",\"0\"\n\"9\",\"0\",\"0\",\"0\",\"0\",\"0\"\n",
		"table":   "Deposit Date,Box,Batch,Check No,Route,Account,Check Amount,Remitter,Scan Line\nTOTAL,0,0\n",
	} {
		p := tableProfile(t)
		if name != "table" {
			p = profile(t, name)
		}
		if s, _ := read(t, text, p); !s.Foots() || !s.Empty || !s.Balanced || s.Items != 0 || s.Lockboxes != 0 || s.Batches != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// problemLine is a problem in short, without its words.
func problemLine(p Problem) string {
	return fmt.Sprintf("%d %s %s %s %s %s", p.Line, p.Record, p.Field, p.Said, p.Found, p.Refuses)
}
