package lockbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// anyFile makes a file by chance, using every field that the layout has.
func anyFile(rnd *rand.Rand, p Profile) File {
	f := File{Destination: "EXAMPLEHLT", Origin: "0900000012", Date: date("2026-03-20"), Time: "1730"}
	digits := func(name, record string) string {
		place, ok := p.Records[record][name]
		if !ok || rnd.IntN(4) == 0 {
			return ""
		}
		return fmt.Sprintf("1%0*d", place.To-place.From, rnd.IntN(100))[:place.To-place.From+1]
	}
	day := func(name, record string) calendar.Date {
		if _, ok := p.Records[record][name]; !ok || rnd.IntN(4) == 0 {
			return 0
		}
		return date("1980-01-01") + calendar.Date(rnd.IntN(80*365))
	}
	names := []string{"", "MARIA LOPEZ", "José Ångström", "O'BRIEN, P. & Q.", "李小龍"}
	for range rnd.IntN(6) {
		b := Batch{Lockbox: fmt.Sprintf("%07d", 1+rnd.IntN(3)), DepositDate: date("2026-03-18") + calendar.Date(rnd.IntN(3))}
		b.Number = fmt.Sprintf("%03d", len(f.Batches)+1)
		for range rnd.IntN(5) {
			i := Item{Cents: ledger.Cents(rnd.Int64N(1e9)), Routing: digits("routing", "6"), Account: digits("account", "6"), Check: digits("check", "6"),
				CheckDate: day("check_date", "6"), PostmarkDate: day("postmark_date", "6"), Payer: digits("payer", "6"), Envelope: digits("envelope", "6"), ZIP: digits("zip", "6")}
			if place := p.Records["6"]["routing"]; place.To-place.From+1 < routingDigits {
				i.Routing = wholeRouting(i.Routing)
			}
			i.Number = fmt.Sprintf("%03d", len(b.Items)+1)
			if _, ok := p.Records["6"]["remitter"]; ok {
				i.Remitter = names[rnd.IntN(len(names))]
			}
			i.DepositDate = b.DepositDate
			if _, ok := p.Records["6"]["deposit_date"]; ok {
				i.DepositDate += calendar.Date(rnd.IntN(3))
			}
			for n := range rnd.IntN(3) {
				o := Overflow{Sequence: fmt.Sprintf("%02d", n+1), Text: digits("text", "4"), Invoice: digits("invoice", "4"), Payer: digits("payer", "4")}
				if _, ok := p.Records["4"]["amount"]; ok {
					o.Cents, o.HasCents = ledger.Cents(rnd.Int64N(1e9)), true
				}
				i.Overflows = append(i.Overflows, o)
			}
			b.Items = append(b.Items, i)
		}
		f.Batches = append(f.Batches, b)
	}
	return f
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	for _, p := range Profiles()[:4] {
		for seed := range uint64(200) {
			f := anyFile(rand.New(rand.NewPCG(seed, 1)), p)
			var b bytes.Buffer
			if err := Write(&b, p, f); err != nil {
				t.Fatalf("%s, seed %d: %v", p.Name, seed, err)
			}
			s, batches := read(t, b.String(), p)
			if !s.Foots() || !s.Balanced || len(batches) != len(f.Batches) {
				t.Fatalf("%s, seed %d: %+v\n%s", p.Name, seed, s, b.String())
			}
			var sum ledger.Cents
			for n, want := range f.Batches {
				got := batches[n]
				if got.Lockbox != want.Lockbox || got.Number != want.Number || got.DepositDate != want.DepositDate || len(got.Items) != len(want.Items) {
					t.Fatalf("%s, seed %d: batch %+v, want %+v", p.Name, seed, got, want)
				}
				for k, want := range want.Items {
					sum += want.Cents
					if got := plain(got.Items[k]); !reflect.DeepEqual(got, want) {
						t.Fatalf("%s, seed %d:\n got %+v %q %+v\nwant %+v %q %+v\n%s", p.Name, seed, got, got.Remitter, got.Overflows, want, want.Remitter, want.Overflows, b.String())
					}
				}
			}
			if s.Cents != sum {
				t.Fatalf("%s, seed %d: %d cents, want %d", p.Name, seed, s.Cents, sum)
			}
			var again bytes.Buffer
			if err := Write(&again, p, fileOf(s, batches)); err != nil || again.String() != b.String() {
				t.Fatalf("%s, seed %d: what was read is written otherwise: %v\n%s\n%s", p.Name, seed, err, b.String(), again.String())
			}
		}
	}
}

// fileOf is what was read, to be written again.
func fileOf(s Summary, batches []Batch) File {
	return File{Destination: s.Destination, Origin: s.Origin, Date: s.FileDate, Time: s.FileTime, Batches: batches}
}

// plain takes off a check what reading adds to it.
func plain(i Item) Item {
	i.Ordinal, i.Line, i.Lockbox, i.Batch, i.Raw, i.References, i.ReceivedDate, i.Destination, i.Origin = 0, 0, "", "", "", nil, 0, "", ""
	for n := range i.Overflows {
		i.Overflows[n].Line, i.Overflows[n].References = 0, nil
	}
	return i
}

func TestWriteOtherFigures(t *testing.T) {
	f := File{Batches: []Batch{{Lockbox: "0004711", DepositDate: date("2026-03-19"), Items: []Item{{Cents: 100}, {Cents: 200}}, Said: &Total{2, 301}}},
		BoxSaid: map[string]Total{"0004711": {7, 999}}, Records: 99}
	var b strings.Builder
	if err := Write(&b, profile(t, "bai-a"), f); err != nil {
		t.Fatal(err)
	}
	s, _ := read(t, b.String(), profile(t, "bai-a"))
	var got []string
	for _, p := range s.Problems {
		got = append(got, p.Record+" "+p.Field+" "+p.Said+" "+p.Found)
	}
	if want := []string{"7 total 301 300", "8 count 0007 2", "8 total 999 300", "9 count 000099 8"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	item := func(i Item) File {
		return File{Batches: []Batch{{Lockbox: "0004711", DepositDate: date("2026-03-19"), Items: []Item{i}}}}
	}
	for _, test := range []struct {
		name, profile string
		file          File
		want          string
	}{
		{"a reference that is too long", "bai-a", item(Item{Overflows: []Overflow{{Text: strings.Repeat("1", 31)}}}), "batch 1, item 1, record 4, text"},
		{"a number that is none", "bai-a", item(Item{Number: "x"}), "batch 1, item 1, record 6, item"},
		{"a number that is too long", "bai-a", item(Item{Number: "1000"}), "needs 4 columns"},
		{"a line end in a name", "bai-a", item(Item{Remitter: "A\nB"}), "remitter"},
		{"a negative amount", "bai-a", item(Item{Cents: -1}), "negative"},
		{"a received date of its own", "bai-a", item(Item{ReceivedDate: date("2026-03-17")}), "received_date"},
		{"two dates for one field", "bai-b", item(Item{ReceivedDate: date("2026-03-17"), DepositDate: date("2026-03-18")}), "received_date"},
		{"a lockbox that is too long", "bai-a", File{Batches: []Batch{{Lockbox: "12345678"}}}, "batch 1, record 5, lockbox"},
	} {
		var b strings.Builder
		if err := Write(&b, profile(t, test.profile), test.file); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	var b strings.Builder
	if err := Write(&b, profile(t, "bai-b"), item(Item{ReceivedDate: date("2026-03-17")})); err != nil {
		t.Error(err)
	}
	if _, batches := read(t, b.String(), profile(t, "bai-b")); batches[0].Items[0].ReceivedDate != date("2026-03-17") {
		t.Error("a layout with a date on the check must carry its received date")
	}
}

// Numbers that are not given are counted up beside those that are.
func TestWriteCountsPastGivenNumbers(t *testing.T) {
	items := []Item{{Cents: 100}, {Cents: 200, Number: "001", Overflows: []Overflow{{Sequence: "02"}, {}, {Sequence: "01"}, {}}}, {Cents: 300, Number: "003"}, {Cents: 400}}
	var b strings.Builder
	if err := Write(&b, profile(t, "bai-a"), File{Batches: []Batch{{Lockbox: "0004711", DepositDate: date("2026-03-19"), Items: items}}}); err != nil {
		t.Fatal(err)
	}
	s, batches := read(t, b.String(), profile(t, "bai-a"))
	if !s.Foots() || len(s.Problems) > 0 {
		t.Fatalf("%+v\n%s", s.Problems, b.String())
	}
	var got []string
	for _, i := range batches[0].Items {
		got = append(got, i.Number)
		for _, o := range i.Overflows {
			got = append(got, o.Sequence)
		}
	}
	if want := []string{"002", "001", "02", "03", "01", "04", "003", "004"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
