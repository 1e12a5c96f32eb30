package lockbox

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/billcycle/billcycle/ledger"
)

func TestLimits(t *testing.T) {
	a, p := sample(t, "bai-a"), profile(t, "bai-a")
	t.Run("line", func(t *testing.T) {
		for _, n := range []int{maxLineBytes, 1 << 20} {
			s, _ := read(t, replaced(a, 15, "0000000042", strings.Repeat("0", n)), p)
			if !s.Refused() || len(s.Problems) != 1 || s.Problems[0].Line != 15 || s.Items != 4 {
				t.Errorf("%+v", s)
			}
		}
	})
	t.Run("file", func(t *testing.T) {
		rd := newReader(strings.NewReader(strings.Repeat(" \n", 1<<20)+a), p, nil)
		rd.lines.max = 1 << 20
		if s, err := rd.run(); err != nil || s.Whole || s.Foots() || !strings.Contains(s.Problems[len(s.Problems)-1].Problem, "larger than") {
			t.Errorf("%+v, %v", s, err)
		}
	})
	t.Run("problems", func(t *testing.T) {
		s, _ := read(t, a+strings.Repeat("X\n", maxProblems+500), p)
		if !s.Refused() || len(s.Problems) != maxProblems+1 || !strings.Contains(s.Problems[maxProblems].Problem, "more problems") {
			t.Errorf("%d problems, the last %v", len(s.Problems), s.Problems[len(s.Problems)-1])
		}
	})
	t.Run("batch", func(t *testing.T) {
		file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: make([]Item, maxBatchItems+10)}}}
		var b bytes.Buffer
		if err := Write(&b, p, file); err != nil {
			t.Fatal(err)
		}
		s, batches := read(t, b.String(), p)
		if !s.Refused() || len(s.Problems) != 1 || s.Items != maxBatchItems+10 || len(batches[0].Items) != maxBatchItems {
			t.Errorf("%+v", s)
		}
	})
}

func TestOverflowLimit(t *testing.T) {
	file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: []Item{{Cents: 1, Overflows: make([]Overflow, maxOverflows+5)}}}}}
	var b bytes.Buffer
	if err := Write(&b, profile(t, "bai-a"), file); err != nil {
		t.Fatal(err)
	}
	if s, batches := read(t, b.String(), profile(t, "bai-a")); !s.Refused() || len(s.Problems) != 1 || len(batches[0].Items[0].Overflows) >= maxOverflows {
		t.Errorf("%+v", s)
	}
}

// A number that comes again is given twice unless the series had reached its
// end; that a smaller number follows a greater is no fault.
func TestNumbersOutOfOrder(t *testing.T) {
	for numbers, foots := range map[string]bool{"003 001 002": true, "001 003 001": false, "998 999 001": true, "001 999 001": true, "001 998 001": false, "999 001 001": false} {
		file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02")}}}
		for number := range strings.FieldsSeq(numbers) {
			file.Batches[0].Items = append(file.Batches[0].Items, Item{Number: number, Cents: 1})
		}
		var b bytes.Buffer
		if err := Write(&b, profile(t, "bai-a"), file); err != nil {
			t.Fatal(err)
		}
		if s, _ := read(t, b.String(), profile(t, "bai-a")); s.Foots() != foots {
			t.Errorf("items %s: foots %v, %v", numbers, s.Foots(), s.Problems)
		}
	}
}

// Where the total of a batch outgrew its columns and that of the lockbox did
// not, adding up the shortened totals is no excuse for the lockbox.
func TestWrappedBatchTotalExcusesNoLockboxTotal(t *testing.T) {
	p, err := ParseProfile([]byte(`{"name": "narrow", "like": "bai-a", "counts": "note", "records": {"7": {"total": "24-26"}, "8": {"total": "25-34"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for said, foots := range map[ledger.Cents]bool{1005: true, 5: false} {
		file := File{Batches: []Batch{{Lockbox: "0000001", DepositDate: date("2026-01-02"), Items: []Item{{Cents: 1005}}}}, BoxSaid: map[string]Total{"0000001": {1, said}}}
		var b bytes.Buffer
		if err := Write(&b, p, file); err != nil {
			t.Fatal(err)
		}
		if s, _ := read(t, b.String(), p); s.Foots() != foots || s.Balanced != foots {
			t.Errorf("lockbox total %d: %+v", said, s)
		}
	}
}

func TestReadErrors(t *testing.T) {
	a, p := sample(t, "bai-a"), profile(t, "bai-a")
	broken := errors.New("the disk is gone")
	if _, err := Read(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(a))), p, nil); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a reading error was lost: %v", err)
	}
	if _, err := Read(strings.NewReader(a), p, func(Batch) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("the receiver's error was lost: %v", err)
	}
	if _, err := Read(strings.NewReader(a), Profile{}, nil); err == nil {
		t.Error("a profile that cannot be used was used")
	}
	want, _ := read(t, a, p)
	if got, err := Read(iotest.OneByteReader(strings.NewReader(a)), p, func(Batch) error { return nil }); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("byte by byte: %+v, %v", got, err)
	}
}

// A line lost or doubled, or one digit of an amount misread, must never pass
// where the bank's counts can be relied on.
func TestOneDamageIsNoticed(t *testing.T) {
	for _, name := range []string{"bai-a", "bai-c", "bai-b-strict"} {
		p := profile(t, name)
		text := sample(t, strings.TrimSuffix(name, "-strict"))
		for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			for what, damaged := range map[string]string{"lost": without(text, n+1, n+1), "doubled": again(text, n+1)} {
				if s, _ := read(t, damaged, p); s.Foots() {
					t.Errorf("%s: line %d %s, and the file foots", name, n+1, what)
				}
			}
			record := line[:1]
			for _, field := range []string{"amount", "total"} {
				f, ok := p.Records[record][field]
				if !ok || record == "4" {
					continue
				}
				for column := f.From - 1; column < f.To; column++ {
					for _, digit := range "0123456789 Ox-.\x00" {
						if line[column] == byte(digit) || strings.Trim(line[f.From-1:column], "0") == "" && digit == ' ' {
							continue // nothing changed, or a zero became a blank before the number
						}
						damaged := []byte(line)
						damaged[column] = byte(digit)
						if s, _ := read(t, strings.Replace(text, line+"\n", string(damaged)+"\n", 1), p); s.Foots() || s.Balanced {
							t.Fatalf("%s: line %d, column %d became %q, and the file foots", name, n+1, column+1, digit)
						}
					}
				}
			}
		}
	}
}
