package lockbox

import (
	"bytes"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
)

// unbroken is a file as mainframes send it: records of one length, one after the
// other, without line ends.
func unbroken(text string, length int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		b.WriteString(line + strings.Repeat(" ", max(0, length-len(line))))
	}
	return b.String()
}

// A file without line ends is records of one length, whatever that is: it is
// recognized, read and known again as the same file with line ends is.
func TestRecordsWithoutLineEnds(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		text, p := sample(t, name), profile(t, name)
		want, whole := read(t, text, p)
		for _, length := range []int{p.Length, 94, 104, 120, 160, 300, 512} {
			if length < longest(text) {
				continue
			}
			for how, file := range map[string]string{"": unbroken(text, length), "a Ctrl-Z": unbroken(text, length) + "\x1a", "a byte order mark": "\ufeff" + unbroken(text, length),
				"trimmed": strings.TrimRight(unbroken(text, length), " "), "NULs": unbroken(text, length) + strings.Repeat("\x00", 700),
				"a line feed": unbroken(text, length) + "\n", "a line end": strings.TrimRight(unbroken(text, length), " ") + "\r\n"} {
				s, err := Inspect(strings.NewReader(file), Profiles())
				if err != nil || s.Profile != name || !s.Foots() || len(s.Problems) > 0 || s.Items != want.Items || s.Cents != want.Cents {
					t.Errorf("%s in records of %d, %s: %+v, %v", name, length, how, s, err)
				}
				if s, batches := read(t, file, p); s.CanonicalSHA256 != want.CanonicalSHA256 || batches[1].Line != whole[1].Line {
					t.Errorf("%s in records of %d, %s: it is not known again, or its second batch stands in record %d", name, length, how, batches[1].Line)
				}
			}
		}
	}
}

func longest(text string) (n int) {
	for line := range strings.Lines(text) {
		n = max(n, len(strings.TrimRight(line, "\n ")))
	}
	return n
}

// Damage to such a file is told by the number of its record.
func TestDamagedRecordsWithoutLineEnds(t *testing.T) {
	text := sample(t, "bai-a")
	for name, c := range map[string]struct {
		text string
		want Problem
	}{
		"a wrong total":        {unbroken(replaced(text, 9, "0000087500", "0000087600"), 160), Problem{Line: 9, Record: "7", Field: "total", Said: "87600", Found: "87500"}},
		"a damaged type":       {unbroken(replaced(text, 14, "6001", "X001"), 160), Problem{Line: 14, Record: "file", Field: "record type", Said: "X", Found: "one of 1, 2, 4, 5, 6, 7, 8, 9"}},
		"its end cut off":      {unbroken(without(text, 18, 18), 160), Problem{Line: 17, Record: "9", Field: "record type", Said: "the end of the file", Found: "no record 9"}},
		"two in one":           {unbroken(text+text, 160), Problem{Line: 19, Record: "1", Field: "record type", Said: "1", Found: "nothing after record 9"}},
		"cut within a record":  {unbroken(text, 160)[:160*9+12], Problem{Line: 10, Record: "6", Field: "amount", Said: "12 columns", Found: "17 columns"}},
		"a byte lost long ago": {unbroken(text, 160)[:160*12] + unbroken(text, 160)[160*12+1:], Problem{Line: 12, Record: "8", Field: "total"}},
	} {
		s, err := Inspect(strings.NewReader(c.text), Profiles())
		if err != nil || s.Profile != "bai-a" || s.Foots() || len(s.Problems) == 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		got := s.Problems[0]
		if name != "a byte lost long ago" && (got.Line != c.want.Line || got.Record != c.want.Record || got.Field != c.want.Field || got.Said != c.want.Said || got.Found != c.want.Found) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A large one is told by its end, too, whatever ends its lines.
func TestLargeFilesOfAnyLineEnd(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		p := profile(t, name)
		file := File{Origin: "0900000012", Date: date("2026-01-03"), Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: make([]Item, 9000)}}}
		for i := range file.Batches[0].Items {
			file.Batches[0].Items[i] = Item{Cents: 57500, Routing: "01110000", Account: "0098765432", Check: "12"}
		}
		var b bytes.Buffer
		if err := Write(&b, p, file); err != nil {
			t.Fatal(err)
		}
		for how, text := range map[string]string{"none": unbroken(b.String(), p.Length), "none, shorter": unbroken(strings.Join(trimmed(b.String()), "\n"), 94),
			"carriage returns": strings.ReplaceAll(strings.Join(trimmed(b.String()), "\n"), "\n", "\r"), "both": strings.ReplaceAll(b.String(), "\n", "\r\n")} {
			if name == "bai-c" && how == "none, shorter" {
				continue
			}
			if len(text) <= headBytes {
				t.Fatalf("the file is only %d bytes long", len(text))
			}
			ps := Profiles()
			for _, order := range [][]Profile{ps, {ps[2], ps[1], ps[0]}} {
				if s, err := Inspect(strings.NewReader(text), order); err != nil || s.Profile != name || !s.Foots() || s.Items != 9000 {
					t.Errorf("%s, line ends %s: recognized as %s, %d items, %v %v", name, how, s.Profile, s.Items, s.Problems[:min(2, len(s.Problems))], err)
				}
			}
		}
	}
}

// Where neither the beginning nor the end of a large file tells two layouts apart,
// its sums do: here a bank that moves a field by a column, and so looks like
// another one.
func TestLargeFilesAreToldBySums(t *testing.T) {
	p := profile(t, "bai-a")
	file := File{Origin: "0900000012", Date: date("2026-01-03")}
	for range 30 {
		b := Batch{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: make([]Item, 100)}
		for i := range b.Items {
			b.Items[i] = Item{Cents: 57500, Routing: "011100002", Account: "0098765432", Check: "12", CheckDate: date("2026-01-01"), Remitter: "MARIA LOPEZ"}
		}
		file.Batches = append(file.Batches, b)
	}
	var b bytes.Buffer
	if err := Write(&b, p, file); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(b.String()) {
		if line[0] == '6' {
			line = line[:26] + " " + line[26:]
		}
		text.WriteString(line)
	}
	if text.Len() <= headBytes {
		t.Fatal("the file is too small")
	}
	if likeliest, err := Recognize(strings.NewReader(text.String()), Profiles()); err != nil || likeliest.Name == "bai-a" {
		t.Fatalf("the test tests nothing: %s, %v", likeliest.Name, err)
	}
	s, err := Inspect(strings.NewReader(text.String()), Profiles())
	if err != nil || s.Profile != "bai-a" || !s.Foots() || s.Items != 3000 {
		t.Errorf("recognized as %s, %v, %v", s.Profile, s.Problems, err)
	}
	policy := billing.DefaultPolicy()
	got, err := (Desk{Policy: &policy}).inspect("large", strings.NewReader(text.String()), Profile{})
	if err != nil || got.profile.Name != "bai-a" || !got.sum.Foots() || len(got.batches) != 30 {
		t.Errorf("the desk takes it for %s: %v, %v", got.profile.Name, got.sum.Problems, err)
	}
}
