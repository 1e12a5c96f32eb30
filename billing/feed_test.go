package billing

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/billcycle/billcycle/calendar"
)

const chargeHeader = "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents"

// readOnly reads a file through a feed and applies nothing: every good row
// counts as accepted.
func readOnly[R any](t testing.TB, f feed[R], text string) (Imported, []R) {
	t.Helper()
	in := &intake{Import: Import{Day: calendar.MustParse("2026-03-01")}, Imported: Imported{Problems: []Problem{}}}
	file, err := openCSV(strings.NewReader(text), f.layout)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.problems) > 0 {
		in.list(file.problems...)
		return in.Imported, nil
	}
	var good []R
	f.finish = nil
	f.apply = func(_ context.Context, in *intake, rows []R) error {
		in.Accepted += len(rows)
		good = append(good, rows...)
		return nil
	}
	if err := stream(t.Context(), in, f, file); err != nil {
		t.Fatal(err)
	}
	in.order()
	return in.Imported, good
}

// wants checks that exactly one problem was found, and what it says.
func wants(t *testing.T, got []Problem, line int, field, says string) {
	t.Helper()
	if len(got) != 1 || got[0].Line != line || got[0].Field != field || !strings.Contains(got[0].Problem, says) {
		t.Errorf("problems %+v; want one of line %d, field %q, saying %q", got, line, field, says)
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct{ name, text, field, says string }{
		{"empty file", "", "", "the file is empty"},
		{"blank lines only", "\n\r\n  \n", "", "the file is empty"},
		{"a mark and nothing else", "\uFEFF", "", "the file is empty"},
		{"UTF-16", "\xFF\xFEc\x00h\x00", "", "UTF-16"},
		{"UTF-16, the other way round", "\xFE\xFF\x00c\x00h", "", "UTF-16"},
		{"UTF-16 without mark", "c\x00h\x00", "", "NUL"},
		{"unknown column", chargeHeader + ",color\n", "color", "doesn't have"},
		{"wrong case", strings.Replace(chargeHeader, "mrn", "mrn,MRN", 1) + "\n", "MRN", "doesn't have"},
		{"missing column", strings.Replace(chargeHeader, ",kind", "", 1) + "\n", "kind", "lacks"},
		{"column twice", chargeHeader + ",mrn\n", "mrn", "twice"},
		{"open quote", `"` + chargeHeader + "\n", "", "not closed"},
		{"a line without end", chargeHeader + strings.Repeat(",x", maxLine), "", "longer than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := readOnly(t, chargeFeed, c.text)
			wants(t, got.Problems, 1, c.field, c.says)
		})
	}
}

func TestHeaderAlone(t *testing.T) {
	for _, text := range []string{chargeHeader, chargeHeader + "\n", "\uFEFF" + chargeHeader + "\r\n\r\n", ` "charge_id" , ` + strings.TrimPrefix(chargeHeader, "charge_id,")} {
		got, _ := readOnly(t, chargeFeed, text)
		if text[0] == ' ' { // a blank before a quote makes it no quoted field
			wants(t, got.Problems, 1, "", "doesn't begin with one")
		} else if got.Rows != 0 || len(got.Problems) != 0 {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// Columns come in any order, fields quoted or not, lines ended either way.
func TestWaysToWriteARow(t *testing.T) {
	want := chargeRow{line: 2, id: "c1", mrn: "1234567897", kind: Medical, service: calendar.MustParse("2026-02-03"), description: `X-ray, "left" José`, gross: 900, insurer: 400, patient: 500}
	for name, text := range map[string]string{
		"plain":         chargeHeader + "\nc1,1234567897,medical,2026-02-03,\"X-ray, \"\"left\"\" José\",900,400,500\n",
		"no last break": chargeHeader + "\nc1,1234567897,medical,2026-02-03,\"X-ray, \"\"left\"\" José\",900,400,500",
		"CRLF and mark": "\uFEFF" + chargeHeader + "\r\nc1,1234567897,medical,2026-02-03,\"X-ray, \"\"left\"\" José\",900,400,500\r\n",
		"all quoted":    chargeHeader + "\n\"c1\",\"1234567897\",\"medical\",\"2026-02-03\",\"X-ray, \"\"left\"\" José\",\"900\",\"400\",\"500\"\n\n",
		"blanks around": chargeHeader + "\n c1 ,1234567897 , medical,2026-02-03,\" X-ray, \"\"left\"\" José \",900, 400 ,500\n",
		"other order":   "patient_cents,insurer_cents,gross_cents,adjusts,description,service_date,kind,mrn,charge_id\n500,400,900,,\"X-ray, \"\"left\"\" José\",2026-02-03,medical,1234567897,c1\n",
	} {
		got, rows := readOnly(t, chargeFeed, text)
		if len(got.Problems) != 0 || !slices.Equal(rows, []chargeRow{want}) {
			t.Errorf("%s: %+v, problems %+v", name, rows, got.Problems)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, c := range []struct{ name, line, field, says string }{
		{"too few fields", "c1,1234567897,medical", "", "3 fields, the header has 8"},
		{"too many fields", "c1,1234567897,medical,2026-02-03,Visit,900,400,500,", "", "9 fields"},
		{"cut off in a quote", `c1,1234567897,medical,2026-02-03,"Vis`, "description", "not closed"},
		{"a quote in the middle", `c1,1234567897,medical,2026-02-03,Vi"s"it,900,400,500`, "description", "doesn't begin with one"},
		{"text after a quote", `c1,1234567897,medical,2026-02-03,"Vis"it,900,400,500`, "description", "between the closing quote"},
		{"Latin-1", "c1,1234567897,medical,2026-02-03,Jos\xe9,900,400,500", "", "byte 37 is 0xe9, which is not UTF-8"},
		{"NUL", "c1,1234567897,medical,2026-02-03,Vi\x00sit,900,400,500", "", "NUL"},
		{"escape", "c1,1234567897,medical,2026-02-03,\x1b[2JVisit,900,400,500", "", "control character U+001B"},
		{"C1 control", "c1,1234567897,medical,2026-02-03,\u009bVisit,900,400,500", "", "control character U+009B"},
		{"turned direction", "c1,1234567897,medical,2026-02-03,\u202eVisit,900,400,500", "", "U+202E"},
		{"lone carriage return", "c1,1234567897,medical,2026-02-03,Vi\rsit,900,400,500", "", "U+000D"},
		{"endless line", "c1,1234567897,medical,2026-02-03," + strings.Repeat("x", 3*maxLine) + ",900,400,500", "", "longer than 65536 bytes"},
		{"long id", strings.Repeat("c", 65) + ",1234567897,medical,2026-02-03,Visit,900,400,500", "charge_id", "65 characters; 64 are the most"},
		{"no id", ",1234567897,medical,2026-02-03,Visit,900,400,500", "charge_id", "is empty"},
		{"long description", "c1,1234567897,medical,2026-02-03," + strings.Repeat("é", 201) + ",900,400,500", "description", "201 characters"},
		{"no MRN", "c1,,medical,2026-02-03,Visit,900,400,500", "mrn", "is empty"},
		{"mistyped MRN", "c1,1234567890,medical,2026-02-03,Visit,900,400,500", "mrn", "check digit"},
		{"dental", "c1,1234567897,dental,2026-02-03,Visit,900,400,500", "kind", `"dental" is not one of premium, medical`},
		{"no date", "c1,1234567897,medical,,Visit,900,400,500", "service_date", "is empty"},
		{"American date", "c1,1234567897,medical,02/03/2026,Visit,900,400,500", "service_date", "YYYY-MM-DD"},
		{"no such day", "c1,1234567897,medical,2026-02-30,Visit,900,400,500", "service_date", "YYYY-MM-DD"},
		{"date of long ago", "c1,1234567897,medical,0026-02-03,Visit,900,400,500", "service_date", "plausible"},
		{"dollars", "c1,1234567897,medical,2026-02-03,Visit,900,400,12.50", "patient_cents", `"12.50" is not an amount in whole cents: digits only, as 1250 for $12.50`},
		{"dollar sign", "c1,1234567897,medical,2026-02-03,Visit,900,400,$5", "patient_cents", "digits only"},
		{"plus", "c1,1234567897,medical,2026-02-03,Visit,900,400,+5", "patient_cents", "digits only"},
		{"exponent", "c1,1234567897,medical,2026-02-03,Visit,900,400,1e3", "patient_cents", "digits only"},
		{"thousands", `c1,1234567897,medical,2026-02-03,Visit,900,400,"1,000"`, "patient_cents", "digits only"},
		{"other digits", "c1,1234567897,medical,2026-02-03,Visit,900,400,٣٤", "patient_cents", "digits only"},
		{"no amount", "c1,1234567897,medical,2026-02-03,Visit,900,400,", "patient_cents", "is empty"},
		{"too much", "c1,1234567897,medical,2026-02-03,Visit,900,400,100000000001", "patient_cents", "more than"},
		{"more than there is", "c1,1234567897,medical,2026-02-03,Visit,900,400,99999999999999999999", "patient_cents", "more than"},
		{"negative gross", "c1,1234567897,medical,2026-02-03,Visit,-900,400,500", "gross_cents", "negative"},
		{"negative insurer", "c1,1234567897,medical,2026-02-03,Visit,900,-400,500", "insurer_cents", "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			good := "c0,1234567897,medical,2026-02-03,Visit,900,400,500\n"
			got, rows := readOnly(t, chargeFeed, chargeHeader+"\n"+good+c.line+"\n"+good)
			wants(t, got.Problems, 3, c.field, c.says)
			if got.Rows != 3 || got.Refused != 1 || len(rows) != 2 {
				t.Errorf("%+v; the lines before and after are good", got)
			}
		})
	}
}

// Every bad field is named, and a row with several counts once.
func TestEveryBadFieldIsNamed(t *testing.T) {
	got, _ := readOnly(t, chargeFeed, chargeHeader+"\n,123,dental,yesterday,Visit,9.00,x,\n")
	fields := make([]string, len(got.Problems))
	for i, p := range got.Problems {
		fields[i] = p.Field
	}
	slices.Sort(fields)
	if want := []string{"charge_id", "gross_cents", "insurer_cents", "kind", "mrn", "patient_cents", "service_date"}; !slices.Equal(fields, want) || got.Refused != 1 {
		t.Errorf("fields %v, refused %d; want %v and one row", fields, got.Refused, want)
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	got, _ := readOnly(t, chargeFeed, chargeHeader+"\n"+strings.Repeat("bad\n", maxProblems+234))
	last := got.Problems[len(got.Problems)-1]
	if len(got.Problems) != maxProblems+1 || last.Line != 0 || !strings.Contains(last.Problem, "and 234 more") || got.Refused != maxProblems+234 {
		t.Errorf("%d problems, %d refused, the last %+v", len(got.Problems), got.Refused, last)
	}
}

// A disk that fails is not a bad file.
func TestReaderFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, text := range []string{"", chargeHeader[:10], chargeHeader + "\nc1,12345", chargeHeader + "\n" + strings.Repeat("x", maxLine+1)} {
		file, err := openCSV(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), chargeFeed.layout)
		if err == nil {
			err = stream(t.Context(), &intake{}, chargeFeed, file)
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: error %v, want %v", len(text), err, broken)
		}
	}
}

// Whatever a file holds, every row is read whole or named; and what package
// csv reads of a line without line breaks, we read the same.
func FuzzFeed(f *testing.F) {
	for _, s := range []string{"", chargeHeader, chargeHeader + "\nc1,1234567897,medical,2026-02-03,\"a,\"\"b\"\"\",900,400,500\n", chargeHeader + "\n\"", "\uFEFFmrn\n", "\xFF\xFE", chargeHeader + "\r\n,,,,,,,\r\n\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, rows := readOnly(t, chargeFeed, text)
		named := map[int]bool{}
		lines := strings.Count(text, "\n") + 1
		for _, p := range got.Problems {
			if p.Line > lines || p.Problem == "" {
				t.Errorf("%+v in a file of %d lines", p, lines)
			}
			named[p.Line] = true
		}
		if got.Rows != len(rows)+got.Refused || got.Rows > 0 && len(named) != got.Refused {
			t.Errorf("%d rows, %d read, %d refused, %d lines named", got.Rows, len(rows), got.Refused, len(named))
		}
		for _, c := range rows {
			if _, err := ParseMRN(c.mrn); err != nil || c.id == "" || len(c.id) > 64*4 || named[c.line] {
				t.Errorf("%+v was let in", c)
			}
		}
		for line := range strings.SplitSeq(text, "\n") {
			sameAsPackageCSV(t, strings.TrimSuffix(line, "\r"))
		}
	})
}

func sameAsPackageCSV(t *testing.T, line string) {
	if strings.TrimSpace(line) == "" || firstBadByte([]byte(line)) != "" || len(line) > 1000 {
		return
	}
	r := csv.NewReader(strings.NewReader(line))
	want, err := r.Read()
	ours := &row{csvFile: &csvFile{}}
	ours.split(line)
	if (err != nil) != (len(ours.problems) > 0) {
		t.Errorf("%q: package csv says %v, we say %+v", line, err, ours.problems)
	}
	if err != nil {
		return
	}
	for i := range want {
		want[i] = strings.TrimSpace(want[i])
	}
	if !slices.Equal(want, ours.cells) {
		t.Errorf("%q: package csv reads %q, we read %q", line, want, ours.cells)
	}
}
