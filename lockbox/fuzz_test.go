package lockbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

func seeds(f *testing.F) {
	for _, name := range []string{"bai-a", "bai-b", "bai-c"} {
		text := sample(f, name)
		f.Add([]byte(text))
		f.Add([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\x1a"))
		f.Add([]byte(strings.ReplaceAll(text, "MARIA", "MAR\xcdA")))
		f.Add([]byte(replaced(text, 9, "0000087500", "0000087501")))
		f.Add([]byte(text + text))
		f.Add([]byte(unbroken(text, profile(f, name).Length)))
	}
}

// A BAI file is read in its canonical form as it is with other line ends and
// blanks.
func FuzzRead(f *testing.F) {
	seeds(f)
	ps := Profiles()[:4]
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range ps {
			s := checkReading(t, text, p)
			if bytes.IndexByte(text, '\n') < 0 || bytes.HasPrefix(text, []byte("\ufeff")) || !isASCII(text) {
				continue // the length of a line with its blanks tells how its characters were counted
			}
			var canonical bytes.Buffer
			for line := range bytes.Lines(text) {
				if len(line) > maxLineBytes {
					return // blanks count, until a line is read
				}
				canonical.Write(trim(line))
				canonical.WriteByte('\n')
			}
			again, _ := Read(&canonical, p, func(Batch) error { return nil })
			if again.SHA256 = s.SHA256; !reflect.DeepEqual(again, s) {
				t.Fatalf("%s: the canonical form reads\n%+v\nthe file\n%+v", p.Name, again, s)
			}
		}
	})
}

// FuzzReadX12 and FuzzReadCSV hold the other readers to the same property.
func FuzzReadX12(f *testing.F) {
	for _, name := range []string{"823.edi", "823-lines.edi", "823-empty.edi"} {
		text := readFile(f, name)
		f.Add([]byte(text))
		f.Add([]byte(text + text))
	}
	text := readFile(f, "823.edi")
	f.Add([]byte(strings.ReplaceAll(text, "\n", "")))
	f.Add([]byte("\ufeff" + strings.ReplaceAll(text, "MARIA", "<b>=1+1\x00\x1a")))
	f.Add([]byte(text[strings.Index(text, "ST*"):]))
	p := profile(f, "x12-823")
	f.Fuzz(func(t *testing.T, text []byte) { checkReading(t, text, p) })
}

func FuzzReadCSV(f *testing.F) {
	for _, name := range []string{"aci.csv", "table.csv"} {
		text := readFile(f, name)
		f.Add([]byte(text))
		f.Add([]byte(text + text))
		f.Add([]byte(strings.ReplaceAll(text, "MARIA", "\"\"=1+1\xcd\n\x00")))
		f.Add([]byte(strings.ReplaceAll(text, `"`, "")))
	}
	stated := tableProfile(f)
	stated.TotalMark, stated.Totals, stated.Stated = "", nil, &Total{4, 222400}
	tabbed := tableProfile(f)
	tabbed.Delimiter = "\t"
	f.Add([]byte(strings.ReplaceAll(readFile(f, "table.csv"), ",", "\t")))
	f.Add([]byte(batchedTable))
	f.Add([]byte(untitledTable))
	ps := []Profile{profile(f, "csv-aci"), tableProfile(f), stated, tabbed, tableBy(f, batchedKeys), tableBy(f, untitledKeys)}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range ps {
			checkReading(t, text, p)
		}
	})
}

// checkReading is what must hold whatever the bytes: no panic; the figures are
// those of the batches handed out; a file that foots comes to what its totals
// say; and reading without batches says the same.
func checkReading(t *testing.T, text []byte, p Profile) Summary {
	t.Helper()
	var cents, good ledger.Cents
	items, refused := 0, 0
	var days []calendar.Date
	s, err := Read(bytes.NewReader(text), p, func(b Batch) error {
		var sum ledger.Cents
		for _, i := range b.Items {
			items++
			sum += i.Cents
			days = append(days, i.DepositDate, i.ReceivedDate)
			if i.Ordinal != items || i.Raw == "" || strings.ContainsAny(i.Raw+i.Remitter+i.Payer, "\x00\x1a\x1b\r") {
				t.Fatalf("item %d: %v %q", items, i, i.Raw)
			}
			if wrong := wronglyMasked(i.Raw, i.MaskedRaw(p), p); wrong != "" {
				t.Fatalf("item %d: %s: %q masked as %q", items, wrong, i.Raw, i.MaskedRaw(p))
			}
		}
		if sum != b.Cents {
			t.Fatalf("batch %d comes to %d, its items to %d", b.Ordinal, b.Cents, sum)
		}
		if b.Refused {
			refused++
		} else if b.Said != nil && b.Said.Cents == b.Cents {
			good += sum
		}
		cents += sum
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var told []calendar.Date
	short, err := readDays(bytes.NewReader(text), p, func(b Batch) error {
		for _, i := range b.Items {
			told = append(told, i.DepositDate, i.ReceivedDate)
		}
		return nil
	})
	if err != nil || !reflect.DeepEqual(short, s) || !slices.Equal(told, days) {
		t.Fatalf("%s: read for its days alone (%v)\n%+v %v\nread whole\n%+v %v", p.Name, err, short, told, s, days)
	}
	if s.Cents != cents || s.Items != items || s.RefusedBatches != refused {
		t.Fatalf("%s: the file comes to %d in %d items, its batches to %d in %d", p.Name, s.Cents, s.Items, cents, items)
	}
	said := ledger.Cents(0)
	for _, box := range s.Boxes {
		if box.Said != nil {
			said += box.Said.Cents
		}
	}
	proved := good == cents || said == cents || len(p.Columns) > 0
	if s.Foots() && (!s.Balanced || !s.Whole || !proved || cents < 0) {
		t.Fatalf("%s: foots with %d of %d proved: %+v", p.Name, good, cents, s)
	}
	if len(p.Columns) > 0 && p.Stated != nil && s.Foots() && (s.Items != p.Stated.Items || s.Cents != p.Stated.Cents) {
		t.Fatalf("%s: foots with other figures than were stated: %+v", p.Name, s)
	}
	if s.SHA256 != sha256.Sum256(text) {
		t.Fatalf("%s: the hash is not that of the bytes", p.Name)
	}
	inspected, _ := Read(bytes.NewReader(text), p, nil)
	inspected.CanonicalSHA256 = s.CanonicalSHA256
	if !reflect.DeepEqual(inspected, s) {
		t.Fatalf("%s: without batches\n%+v\nwith batches\n%+v", p.Name, inspected, s)
	}
	return s
}

// wronglyMasked compares the lines of a check with their masked form, column by
// column, cell by cell or element by element: in those of a bank account no more
// than the last four characters may be left, and nothing else may differ.
func wronglyMasked(raw, masked string, p Profile) string {
	secret := func(name string, n int) bool {
		f := p.Records["6"][name]
		return n+1 >= f.From && n < f.To
	}
	split := func(line string) (parts []string) {
		switch p.format() {
		case formatCSV:
			cells, _, _ := splitCells([]byte(line), ',', nil, nil)
			for _, cell := range cells {
				parts = append(parts, string(cell))
			}
			return parts
		case formatX12:
			return strings.Split(line, "*")
		}
		return strings.Split(line, "")
	}
	lines, others := strings.Split(raw, "\n"), strings.Split(masked, "\n")
	if len(lines) != len(others) {
		return "another number of lines"
	}
	var title []string
	for n, line := range lines {
		parts, seen := split(line), others[n]
		if p.format() == formatX12 && parts[0] == "BPR" {
			for _, at := range []int{7, 9, 13, 15} {
				if at < len(parts) && parts[at] != "" {
					parts[at] = maskNumber(parts[at])
				}
			}
			if seen != strings.Join(parts, "*") {
				return "a BPR"
			}
			continue
		}
		titles := len(p.Columns) > 0 && p.Header == "" && n == 0
		if titles {
			title = parts
		}
		got := split(seen)
		if p.format() == formatX12 || titles || p.format() == formatBAI && !strings.HasPrefix(line, "6") {
			if seen != line {
				return "a line without account numbers"
			}
			continue
		}
		if len(got) != len(parts) {
			return "another number of columns"
		}
		for at, part := range parts {
			hidden := secret("routing", at) || secret("account", at)
			if p.Header == "none" {
				hidden = p.Columns["routing"] == strconv.Itoa(at+1) || p.Columns["account"] == strconv.Itoa(at+1)
			} else if len(p.Columns) > 0 {
				hidden = at < len(title) && title[at] != "" && (headerCell(title[at]) == headerCell(p.Columns["routing"]) || headerCell(title[at]) == headerCell(p.Columns["account"]))
			}
			switch {
			case !hidden && got[at] != part:
				return "column " + strconv.Itoa(at+1) + " differs"
			case hidden && p.format() == formatCSV && part != "" && got[at] != maskNumber(part):
				return "cell " + strconv.Itoa(at+1) + " is not masked"
			case hidden && p.format() == formatBAI && got[at] != part && (part == " " || got[at] != "*"):
				return "column " + strconv.Itoa(at+1) + " is something else"
			}
		}
		if p.format() == formatBAI && tooMuchShown(p, parts, got) {
			return "more than half of a number, or than four of it, is shown"
		}
	}
	return ""
}

// tooMuchShown says whether of a number on a record 6 more than its end is left.
func tooMuchShown(p Profile, line, masked []string) bool {
	for _, name := range []string{"routing", "account"} {
		f := p.Records["6"][name]
		from, to, shown := max(f.From-1, 0), min(f.To, len(line)), 0
		if from >= to {
			continue
		}
		number := utf8.RuneCountInString(strings.TrimRight(strings.TrimLeft(strings.Join(line[from:to], ""), " 0"), " "))
		for at := from; at < to; at++ {
			if line[at] != " " && masked[at] != "*" {
				shown++
			}
		}
		if shown > 4 || shown > number/2 {
			return true
		}
	}
	return false
}

// What encoding/csv takes for a row is the same row to us.
func FuzzSplitCells(f *testing.F) {
	f.Add(`a,"b ""c"", d",,e`)
	f.Add(`"6","","x"`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || strings.TrimSpace(line) == "" {
			return
		}
		r := csv.NewReader(strings.NewReader(line))
		want, err := r.Read()
		if err != nil {
			return
		}
		cells, _, ok := splitCells([]byte(line), ',', nil, nil)
		var got []string
		for _, cell := range cells {
			got = append(got, string(cell))
		}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %q, want %q", line, got, want)
		}
	})
}

// A file that foots is written as it was read, as far as the layout goes: read
// and written again it is the same, byte for byte.
func FuzzWrite(f *testing.F) {
	seeds(f)
	ps := Profiles()[:4]
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range ps {
			write := func(text []byte) ([]byte, bool) {
				var batches []Batch
				s, err := Read(bytes.NewReader(text), p, func(b Batch) error { batches = append(batches, b); return nil })
				if err != nil || !s.Foots() || len(s.Problems) > 0 {
					return nil, false
				}
				var out bytes.Buffer
				err = Write(&out, p, fileOf(s, batches))
				return out.Bytes(), err == nil
			}
			once, ok := write(text)
			if !ok {
				continue
			}
			if twice, ok := write(once); !ok || !bytes.Equal(once, twice) {
				t.Fatalf("%s: written\n%s\nand again\n%s", p.Name, once, twice)
			}
		}
	})
}

// Recognizing ends with a profile or with a FormatError, changes nothing, is
// the same every time, and never prefers a profile by which the file does not
// foot to one by which it does.
func FuzzRecognize(f *testing.F) {
	seeds(f)
	f.Add([]byte("ISA*00*"))
	f.Add([]byte("\x00\x00\x00\x5001"))
	for _, file := range goodFiles(f) {
		f.Add([]byte(file.text))
	}
	ps := append(Profiles(), tableProfile(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		p, err := Recognize(r, ps)
		if at, _ := r.Seek(0, io.SeekCurrent); at != 0 {
			t.Fatalf("left at %d", at)
		}
		if err != nil {
			if _, ok := err.(*FormatError); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if same, _ := Recognize(r, ps); same.Name != p.Name {
			t.Fatalf("%s, then %s", p.Name, same.Name)
		}
		if s, err := Read(bytes.NewReader(text), p, nil); err != nil || s.Balanced {
			return
		}
		for _, other := range ps {
			if other.format() != p.format() {
				continue
			}
			if s, _ := Read(bytes.NewReader(text), other, nil); s.Foots() && len(s.Problems) == 0 && s.Items > 0 {
				t.Fatalf("recognized as %s, which does not foot, though %s does", p.Name, other.Name)
			}
		}
	})
}

// A profile that is accepted can be read with and is written as it is read.
func FuzzParseProfile(f *testing.F) {
	for _, p := range Profiles() {
		text, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"name": "x", "like": "bai-c", "records": {"6": {"postmark_date": null, "received_date": "154-159 MMDDYY"}}}`))
	text := []byte(sample(f, "bai-c"))
	f.Fuzz(func(t *testing.T, given []byte) {
		p, err := ParseProfile(given)
		if err != nil {
			return
		}
		if _, err := Read(bytes.NewReader(text), p, func(Batch) error { return nil }); err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseProfile(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if again, _ := json.Marshal(back); !bytes.Equal(again, written) {
			t.Fatalf("%s is read back as %s", written, again)
		}
	})
}

// manyItems is a file of n checks with a scanline each, in batches of 200.
func manyItems(b *testing.B, n int) []byte {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	f := File{Destination: "EXAMPLEHLT", Origin: "0900000012", Date: date("2026-03-20")}
	for n > 0 {
		batch := Batch{Lockbox: "0004711", DepositDate: date("2026-03-19"), Items: make([]Item, min(n, 200))}
		for i := range batch.Items {
			batch.Items[i] = Item{Cents: ledger.Cents(1000 + rnd.IntN(90000)), Routing: "011100002", Account: "0098765432", Check: "1001", CheckDate: date("2026-03-12"),
				Remitter: "MARIA LOPEZ", Overflows: []Overflow{{Text: "000000001800000420010005750065"}}}
		}
		f.Batches = append(f.Batches, batch)
		n -= len(batch.Items)
	}
	var out bytes.Buffer
	if err := Write(&out, Profiles()[0], f); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// Footing stands beside its floor: reading the same bytes and hashing them.
func BenchmarkRead(b *testing.B) {
	text := manyItems(b, 100_000)
	p := Profiles()[0]
	b.Run("foot", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if s, err := Read(bytes.NewReader(text), p, nil); err != nil || !s.Foots() {
				b.Fatal(s, err)
			}
		}
	})
	b.Run("batches", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if s, err := Read(bytes.NewReader(text), p, func(Batch) error { return nil }); err != nil || !s.Foots() {
				b.Fatal(s, err)
			}
		}
	})
	b.Run("floor", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		buf := make([]byte, 256<<10)
		for b.Loop() {
			h := sha256.New()
			if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{bytes.NewReader(text)}, buf); err != nil {
				b.Fatal(err)
			}
			h.Sum(nil)
		}
	})
}
