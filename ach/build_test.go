package ach

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	stamp  = Stamp{Date: calendar.MustParse("2026-07-01"), Hour: 9, Minute: 5}
	friday = calendar.MustParse("2026-07-03") // a banking day: the holiday on Saturday is not moved
	monday = calendar.MustParse("2026-07-06")
)

func company() Company {
	return Company{Name: "GOLDEN HEALTH", ID: "1912345678", Description: "PREMIUM", ODFI: "121042882", ODFIName: "FIRST EXAMPLE BANK",
		Destination: "121042882", Origin: "1912345678", OriginName: "GOLDEN HEALTH PLAN",
		OffsetRouting: "121042882", OffsetAccount: "987654321", OffsetType: Checking}
}

// debit is an entry in order; tests change what they are about.
func debit(sequence int) Entry {
	trace, err := NewTrace("121042882", sequence)
	if err != nil {
		panic(err)
	}
	return Entry{Trace: trace, SEC: PPD, Routing: "091000019", Account: "5550001234", Cents: 12345, IndividualID: "0000000018", Name: "ADA LOVELACE"}
}

func file(entries ...Entry) File {
	return File{Company: company(), Created: stamp, IDModifier: 'A', Effective: friday, FirstBatch: 1, Entries: entries}
}

// sample holds every kind of entry, out of order.
func sample() File {
	var entries []Entry
	add := func(sequence int, change func(*Entry)) {
		e := debit(sequence)
		change(&e)
		entries = append(entries, e)
	}
	add(9, func(e *Entry) { e.SEC, e.Name = WEB, "José Nuñez" })
	add(3, func(e *Entry) { e.Savings, e.Routing, e.Account = true, "322271627", "00-12 34" })
	add(1, func(e *Entry) { e.Name = "Maximiliana Featherstonehaugh" })
	add(7, func(e *Entry) { e.Prenote, e.Cents = true, 0 })
	add(8, func(e *Entry) { e.Prenote, e.Cents, e.Savings = true, 0, true })
	add(4, func(e *Entry) { e.Retry, e.Name = true, "OFFSET" })
	add(2, func(e *Entry) { e.Effective = monday })
	add(5, func(e *Entry) { e.SEC, e.Name = TEL, "王小明" })
	add(6, func(e *Entry) { e.SEC, e.Retry, e.Effective = WEB, true, monday })
	f := file(entries...)
	f.Reference = "RUN 0017"
	return f
}

func balanced(f File) File {
	f.Balanced = true
	f.OffsetTrace, _ = NewTrace(f.ODFI, 100)
	return f
}

// TestBuildGolden holds the bytes of whole files. The golden files were also
// read by a checker that shares no code with this package.
func TestBuildGolden(t *testing.T) {
	for name, f := range map[string]File{"debits": sample(), "balanced": balanced(sample())} {
		got, sum, err := Build(f)
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + name + ".ach"
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs:\n%s", path, got)
		}
		wantSum := Totals{Batches: 6, Entries: 9, Debits: 7, Prenotes: 2, Records: 30, DebitCents: 7 * 12345, Hash: 8*9100001 + 32227162}
		if f.Balanced {
			wantSum.Batches, wantSum.Entries, wantSum.Offsets, wantSum.CreditCents = 8, 11, 2, 7*12345
			wantSum.Hash += 2 * 12104288
		}
		if sum != wantSum {
			t.Errorf("%s: totals %+v, want %+v", path, sum, wantSum)
		}
		slices.Reverse(f.Entries)
		if again, _, err := Build(f); err != nil || !bytes.Equal(again, want) {
			t.Errorf("%s: the order of the given entries changes the file (%v)", path, err)
		}
	}
}

// TestBuildRefuses goes through what the library would cut, let pass or only
// find for a whole batch.
func TestBuildRefuses(t *testing.T) {
	const account = "5550001234"
	entry := func(change func(*Entry)) func(*File) {
		return func(f *File) { change(&f.Entries[1]) }
	}
	for _, tc := range []struct {
		name   string
		change func(*File)
		want   string
	}{
		{"account of 18", entry(func(e *Entry) { e.Account = account + "12345678" }), "account number: is 18 characters long"},
		{"no account", entry(func(e *Entry) { e.Account = "" }), "account number: is empty"},
		{"account with marks", entry(func(e *Entry) { e.Account = account + "_1" }), "account number: character 11"},
		{"account after a blank", entry(func(e *Entry) { e.Account = " " + account }), "account number: begins or ends with a blank"},
		{"routing check digit", entry(func(e *Entry) { e.Routing = "091000018" }), "routing number 091000018 fails its check digit"},
		{"routing of 8", entry(func(e *Entry) { e.Routing = "09100001" }), "is not 9 digits"},
		{"routing of zeros", entry(func(e *Entry) { e.Routing = "000000000" }), "all zeros"},
		{"no amount", entry(func(e *Entry) { e.Cents = 0 }), "amount: 0 cents"},
		{"negative amount", entry(func(e *Entry) { e.Cents = -5 }), "amount: -5 cents"},
		{"amount of 11 digits", entry(func(e *Entry) { e.Cents = 100_000_000_00 }), "amount: $100,000,000.00 does not fit"},
		{"prenote with an amount", entry(func(e *Entry) { e.Prenote = true }), "a prenote is of zero cents, not 12345"},
		{"prenote as retry", entry(func(e *Entry) { e.Prenote, e.Cents, e.Retry = true, 0, true }), "a prenote is not presented again"},
		{"entry class", entry(func(e *Entry) { e.SEC = "CCD" }), `"CCD" is not PPD, WEB or TEL`},
		{"no name", entry(func(e *Entry) { e.Name = "  " }), "name: is empty"},
		{"name of zeros", entry(func(e *Entry) { e.Name = "0000" }), "name: is empty or zeros"},
		{"long individual ID", entry(func(e *Entry) { e.IndividualID = "1234567890123456" }), "individual ID: 16 characters"},
		{"individual ID not ASCII", entry(func(e *Entry) { e.IndividualID = "é1" }), "individual ID: holds a character"},
		{"Sunday", entry(func(e *Entry) { e.Effective = monday - 1 }), "2026-07-05 is not a banking day; the next is 2026-07-06"},
		{"holiday", entry(func(e *Entry) { e.Effective = calendar.MustParse("2027-07-05") }), "2027-07-05 is not a banking day"},
		{"before the file", entry(func(e *Entry) { e.Effective = calendar.MustParse("2026-06-30") }), "is before the file was made"},
		{"trace of another bank", entry(func(e *Entry) { e.Trace, _ = NewTrace("091000019", 2) }), "does not begin with the ODFI 12104288"},
		{"trace 0", entry(func(e *Entry) { e.Trace = 121042880000000 }), "sequence 0"},
		{"trace twice in a batch", entry(func(e *Entry) { e.Trace = debit(1).Trace }), "is another entry's of this file too"},
		{"trace twice across batches", entry(func(e *Entry) { e.Trace, e.SEC = debit(1).Trace, WEB }), "is another entry's of this file too"},
		{"file on a Sunday", func(f *File) { f.Effective = monday - 1 }, `effective date "2026-07-05" of the file is not a banking day`},
		{"no effective date", func(f *File) { f.Effective = 0 }, `effective date "" of the file`},
		{"description of 11", func(f *File) { f.Description = "PREMIUMBILL" }, "is 11 characters long; the field has room for 10"},
		{"reserved description", func(f *File) { f.Description = "RETRY PYMT" }, "reserved"},
		{"company of 17", func(f *File) { f.Name = "GOLDEN HEALTHPLAN" }, "company name: \"GOLDEN HEALTHPLAN\" is 17"},
		{"company not ASCII", func(f *File) { f.Name = "SALUD ÑANDÚ" }, "not printable ASCII"},
		{"no company id", func(f *File) { f.ID = "" }, "company id: \"\" is empty"},
		{"company id of 11", func(f *File) { f.ID = "11912345678" }, "the field has room for 10"},
		{"origin of 11", func(f *File) { f.Origin = "11912345678" }, "company origin: \"11912345678\" is 11"},
		{"origin of 8", func(f *File) { f.Origin = "12345678" }, "company origin: \"12345678\" is not 9 or 10"},
		{"destination", func(f *File) { f.Destination = "121042881" }, "immediate destination: routing number 121042881 fails"},
		{"ODFI", func(f *File) { f.ODFI = "121042881" }, "ODFI: routing number 121042881 fails"},
		{"small modifier", func(f *File) { f.IDModifier = 'a' }, "file ID modifier"},
		{"blank modifier", func(f *File) { f.IDModifier = ' ' }, "file ID modifier"},
		{"not made", func(f *File) { f.Created = Stamp{} }, "is no moment of a day"},
		{"hour 24", func(f *File) { f.Created.Hour = 24 }, "is no moment of a day"},
		{"batch 0", func(f *File) { f.FirstBatch = 0 }, "first batch number 0"},
		{"batch of 8 digits", func(f *File) { f.FirstBatch = 9_999_999; f.Entries[0].SEC = WEB }, "batch numbers run past 9999999"},
		{"no entries", func(f *File) { f.Entries = nil }, "no entries"},
		{"long reference", func(f *File) { f.Reference = "REFERENCE" }, "reference"},
		{"balancing account", func(f *File) { *f = balanced(*f); f.OffsetAccount = "" }, "balancing account: number is empty"},
		{"balancing type", func(f *File) { *f = balanced(*f); f.OffsetType = "" }, "not checking or savings"},
		{"balancing trace missing", func(f *File) { f.Balanced = true }, "balancing entries"},
		{"balancing trace an entry's", func(f *File) { *f = balanced(*f); f.OffsetTrace = debit(2).Trace }, "is an entry's already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := file(debit(1), debit(2))
			tc.change(&f)
			got, _, err := Build(f)
			if err == nil {
				t.Fatalf("built:\n%s", got)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), account) {
				t.Errorf("the error repeats an account number: %q", err)
			}
			if got != nil {
				t.Error("bytes beside an error")
			}
		})
	}
}

func TestEntryErrorNamesTheEntry(t *testing.T) {
	bad := debit(7)
	bad.Cents = 0
	var entry *EntryError
	if err := company().CheckEntry(&bad); !errors.As(err, &entry) {
		t.Fatalf("CheckEntry: %v, not an *EntryError", err)
	}
	if entry.Trace != bad.Trace || entry.IndividualID != "0000000018" || entry.Field != "amount" {
		t.Errorf("%+v", entry)
	}
	good := debit(7)
	if err := company().CheckEntry(&good); err != nil {
		t.Errorf("an entry in order: %v", err)
	}

	many := make([]Entry, 50)
	for i := range many {
		many[i] = debit(i + 1)
		many[i].Name = ""
	}
	_, _, err := Build(file(many...))
	if n := strings.Count(err.Error(), "name: is empty"); n != maxReported || !strings.Contains(err.Error(), "and 30 more") {
		t.Errorf("%d of 50 wrong entries named: %v", n, err)
	}
}

func TestBuildKeepsEveryCharacterOfTheOrigin(t *testing.T) {
	for _, origin := range []string{"1912345678", "0123456789", "912345678", "A12345678B"} {
		f := file(debit(1))
		f.Origin = origin
		got, _, err := Build(f)
		if err != nil {
			t.Fatal(err)
		}
		if field := col(string(got), 14, 23); strings.TrimLeft(field, " ") != origin {
			t.Errorf("origin %q is written %q", origin, field)
		}
	}
}

func TestBuildBatches(t *testing.T) {
	got, _, err := Build(sample())
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	var traces []string
	for line := range strings.Lines(string(got)) {
		switch line[0] {
		case '5':
			headers = append(headers, strings.Join(strings.Fields(col(line, 2, 4)+" "+col(line, 51, 75)+" "+col(line, 88, 94)), " "))
			traces = append(traces, "|")
		case '6':
			traces = append(traces, col(line, 94, 94)+strings.TrimSpace(col(line, 77, 78)))
		}
	}
	want := []string{
		"225 PPDPREMIUM 260703 0000001",
		"225 PPDPREMIUM 260706 0000002",
		"225 PPDRETRY PYMT 260703 0000003",
		"225 TELPREMIUM 260703 0000004",
		"225 WEBPREMIUM 260703 0000005",
		"225 WEBRETRY PYMT 260706 0000006",
	}
	if !slices.Equal(headers, want) {
		t.Errorf("batches:\n%s", strings.Join(headers, "\n"))
	}
	if got := strings.Join(traces, ""); got != "|1378|2|4|5R|9R|6R" {
		t.Errorf("entries by batch: %s", got)
	}
}

func TestBalancingCreditsAreSplitAtTenDigits(t *testing.T) {
	entries := []Entry{debit(1), debit(2), debit(3)}
	for i := range entries {
		entries[i].Cents = maxEntryCents
	}
	entries[2].Effective = monday
	f := balanced(file(entries...))
	got, sum, err := Build(f)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Offsets != 3 || sum.CreditCents != 3*maxEntryCents || sum.DebitCents != sum.CreditCents {
		t.Errorf("totals %+v", sum)
	}
	if rep, err := Inspect(bytes.NewReader(got)); err != nil || len(rep.Problems) > 0 || rep.CreditCents != sum.CreditCents {
		t.Errorf("inspected: %+v, %v", rep, err)
	}
	prenote := debit(1)
	prenote.Prenote, prenote.Cents = true, 0
	if _, sum, err := Build(balanced(file(prenote))); err != nil || sum.Offsets != 0 {
		t.Errorf("a file of prenotes takes %d balancing credits, %v", sum.Offsets, err)
	}
}

func TestBatchTotalOfTwelveDigits(t *testing.T) {
	entries := make([]Entry, 101)
	for i := range entries {
		entries[i] = debit(i + 1)
		entries[i].Cents = maxEntryCents
	}
	if _, _, err := Build(file(entries[:100]...)); err != nil {
		t.Errorf("12 digits: %v", err)
	}
	if _, _, err := Build(file(entries...)); err == nil || !strings.Contains(err.Error(), "12 digits") {
		t.Errorf("13 digits: %v", err)
	}
}

// TestCountsOfAFile holds the widths of the count fields without building
// files of a million entries.
func TestCountsOfAFile(t *testing.T) {
	for _, tc := range []struct {
		sum Totals
		ok  bool
	}{
		{Totals{Batches: 10, Entries: 9_999_968}, true}, // 9,999,990 records
		{Totals{Batches: 10, Entries: 9_999_969}, false},
		{Totals{Batches: 1, Entries: 1, DebitCents: maxTotalCents}, true},
		{Totals{Batches: 1, Entries: 1, DebitCents: maxTotalCents + 1}, false},
		{Totals{Batches: 1, Entries: 1, CreditCents: maxTotalCents + 1}, false},
	} {
		if err := tc.sum.finish(1); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.sum, err)
		}
	}
}

// TestProofread: a file whose bytes are not those of its totals is not
// passed as made, whatever made it so.
func TestProofread(t *testing.T) {
	f := balanced(sample())
	got, sum, err := Build(f)
	if err != nil {
		t.Fatal(err)
	}
	proofread := func(f File, in string) error {
		p := newProofreader(&f, io.Discard)
		for len(in) > 0 { // in odd pieces
			n := min(len(in), 77)
			if _, err := p.Write([]byte(in[:n])); err != nil {
				return err
			}
			in = in[n:]
		}
		return p.check(sum)
	}
	whole := string(got)
	if err := proofread(f, whole); err != nil {
		t.Fatal(err)
	}
	unread := f
	unread.Reread = -1
	for name, in := range map[string]string{
		"amount": put(whole, 3, 39, "6"), "side": put(whole, 3, 2, "22"), "routing": put(whole, 3, 4, "1"), "not ASCII": put(whole, 3, 60, "\xc3"), "long line": put(whole, 3, 95, "0"),
		"record missing": without(whole, 3), "record type": put(whole, 3, 1, "7"), "control": put(whole, 29, 7, "9"), "batch control": put(whole, 7, 20, "9"), "cut short": whole[:len(whole)-10],
	} {
		if err := proofread(f, in); err == nil {
			t.Errorf("%s: not noticed", name)
		} else if strings.Contains(err.Error(), "5550001234") {
			t.Errorf("%s: the error tells an account number: %v", name, err)
		}
		if err := proofread(unread, in); err == nil && name != "batch control" { // which only the library looks at
			t.Errorf("%s: not noticed without the library", name)
		}
	}
	if err := proofread(unread, whole); err != nil {
		t.Error(err)
	}
	if again, _, err := Build(unread); err != nil || !bytes.Equal(again, got) {
		t.Errorf("the bytes depend on the proofreading: %v", err)
	}
}

// TestWriterOrder: the writer takes entries in the order of the file only, and
// goes on after one that cannot be sent.
func TestWriterOrder(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, file())
	if err != nil {
		t.Fatal(err)
	}
	add := func(e Entry) error { return w.Add(&e) }
	wrong := debit(3)
	wrong.Account = strings.Repeat("1", 18)
	again := debit(2)
	again.SEC = TEL
	for n, err := range []error{add(debit(1)), add(debit(2)), add(wrong), add(again), add(debit(4))} {
		if bad := (*EntryError)(nil); errors.As(err, &bad) != (n == 2 || n == 3) {
			t.Errorf("entry %d: %v", n+1, err)
		}
	}
	if sum, err := w.Close(0); err != nil || sum.Debits != 3 {
		t.Errorf("%+v, %v", sum, err)
	}
	if rep := inspect(t, out.String()); rep.Entries != 3 || len(rep.Problems) > 0 {
		t.Errorf("%+v", rep)
	}
	for name, second := range map[string]Entry{"trace": debit(1), "class": func() Entry { e := debit(9); return e }()} {
		w, _ := NewWriter(io.Discard, file())
		first := debit(5)
		if name == "class" {
			first.SEC = WEB
		}
		if err := w.Add(&first); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(&second); err == nil || !strings.Contains(err.Error(), "out of order") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Close(0); err == nil {
			t.Errorf("%s: a file in disorder was closed", name)
		}
	}
}

func TestTraces(t *testing.T) {
	trace, err := NewTrace("09100001", 42)
	if err != nil || trace.String() != "091000010000042" || trace.ODFI() != "09100001" || trace.Sequence() != 42 {
		t.Errorf("NewTrace: %v, %v", trace, err)
	}
	for _, sequence := range []int{0, -1, 10_000_000} {
		if trace, err := NewTrace("09100001", sequence); err == nil {
			t.Errorf("sequence %d: %s", sequence, trace)
		}
	}
	for _, odfi := range []string{"", "0910000", "091000018", "0910000x", "0910000190"} {
		if trace, err := NewTrace(odfi, 1); err == nil {
			t.Errorf("ODFI %q: %s", odfi, trace)
		}
	}
	for _, s := range []string{"", "91000010000042", "0910000100000420", "09100001 000042", "-91000010000042"} {
		if trace, err := ParseTrace(s); err == nil {
			t.Errorf("ParseTrace(%q) = %s", s, trace)
		}
	}
	var back Trace
	text, _ := trace.MarshalText()
	if err := back.UnmarshalText(text); err != nil || back != trace {
		t.Errorf("%s -> %s, %v", text, back, err)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"José Nuñez":       "JOSE NUNEZ",
		"JOSE\u0301 NUN":   "JOSE NUN", // the accent apart
		"Strauß":           "STRAUSS",
		"Łukasz Żółw":      "LUKASZ ZOLW",
		"Ærøskøbing":       "AEROSKOBING",
		"O’Brien–Smith":    "O'BRIEN-SMITH",
		"  a \t b\u00a0c ": "A B C",
		"ALREADY PLAIN":    "ALREADY PLAIN",
		"DOUBLE  BLANK":    "DOUBLE BLANK",
		"Ⅳ ½ ﬁ":            "IV 12 FI",
		"王小明":              "",
		"Amy 🙂 Lee":        "AMY LEE",
		"a\x00b\xffc":      "ABC",
	} {
		if got := Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"":                           "",
		" 0 ":                        "",
		"王小明":                        "MEMBER",
		"Ada":                        "ADA",
		"MAXIMILIANA FEATHERST X YZ": "MAXIMILIANA FEATHERST",
	} {
		if got := plainName(in); got != want {
			t.Errorf("plainName(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		plain := Plain(rapid.String().Draw(t, "text"))
		if firstForeign(plain) >= 0 || Plain(plain) != plain {
			t.Fatalf("%q is not plain", plain)
		}
	})
}

// drawEntries makes entries that Build takes.
func drawEntries(t *rapid.T) []Entry {
	sequences := rapid.SliceOfNDistinct(rapid.IntRange(1, 9_999), 1, 40, rapid.ID[int]).Draw(t, "sequences")
	entries := make([]Entry, len(sequences))
	for i, sequence := range sequences {
		e := debit(sequence)
		e.SEC = rapid.SampledFrom([]string{PPD, WEB, TEL}).Draw(t, "class")
		e.Retry = rapid.Bool().Draw(t, "retry")
		e.Savings = rapid.Bool().Draw(t, "savings")
		e.Effective = rapid.SampledFrom([]calendar.Date{0, friday, monday}).Draw(t, "effective")
		e.Routing = rapid.SampledFrom([]string{"091000019", "121042882", "021000021", "322271627", "011401533"}).Draw(t, "routing")
		e.Account = rapid.StringMatching(`[0-9A-Za-z-]([0-9A-Za-z -]{0,15}[0-9A-Za-z-])?`).Draw(t, "account")
		e.Cents = ledger.Cents(rapid.Int64Range(1, int64(maxEntryCents)).Draw(t, "cents"))
		e.Reversal = !e.Retry && e.SEC != TEL && rapid.IntRange(0, 4).Draw(t, "reversal") == 0
		e.Prenote = !e.Retry && !e.Reversal && rapid.Bool().Draw(t, "prenote")
		if e.Prenote {
			e.Cents = 0
		}
		e.IndividualID = rapid.StringMatching(`[ -~]{0,15}`).Draw(t, "id")
		e.Name = "A " + rapid.StringN(0, 30, -1).Draw(t, "name")
		entries[i] = e
	}
	return entries
}

// TestBuildInspect: whatever is built is 94 ASCII characters a line, has the
// totals of its entries, and reads back as what was asked for.
func TestBuildInspect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := file(drawEntries(t)...)
		f.FirstBatch = rapid.IntRange(1, 100).Draw(t, "batch")
		if rapid.Bool().Draw(t, "balanced") {
			f.Balanced = true
			f.OffsetTrace, _ = NewTrace(f.ODFI, 10_000)
		}
		got, sum, err := Build(f)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Balanced {
			if library, err := byLibrary(f); err != nil || !bytes.Equal(library, got) {
				t.Fatalf("the library writes it otherwise (%v):\n%s\n%s", err, library, got)
			}
		}
		for line := range strings.Lines(string(got)) {
			if len(line) != 95 || firstForeign(line[:94]) >= 0 {
				t.Fatalf("line %q", line)
			}
		}
		var cents, back ledger.Cents // debited, and credited by reversals
		for _, e := range f.Entries {
			if e.Reversal {
				back += e.Cents
			} else {
				cents += e.Cents
			}
		}
		debits, credits := cents, back
		if f.Balanced {
			debits, credits = cents+back, cents+back
		}
		rep, err := Inspect(bytes.NewReader(got))
		if err != nil || len(rep.Problems) > 0 || len(rep.Notes) > 0 {
			t.Fatalf("%+v, %v", rep, err)
		}
		if rep.DebitCents != debits || sum.DebitCents != debits || rep.Entries != len(f.Entries)+sum.Offsets || rep.Batches != sum.Batches {
			t.Fatalf("entries of %s, totals %+v, inspected %+v", cents, sum, rep)
		}
		if rep.CreditCents != credits || sum.CreditCents != credits {
			t.Fatalf("credits of %s", rep.CreditCents)
		}
		o, problems, err := ReadEntries(bytes.NewReader(got))
		if err != nil || len(problems) > 0 {
			t.Fatalf("%v, %v", problems, err)
		}
		want := map[Trace]Entry{}
		for _, e := range f.Entries {
			e.Effective, e.Name, e.IndividualID = f.effective(&e), plainName(e.Name), strings.TrimSpace(e.IndividualID)
			want[e.Trace] = e
		}
		for _, e := range slices.Concat(o.Debits, o.Back) {
			if want[e.Trace] != e {
				t.Fatalf("read %+v, written %+v", e, want[e.Trace])
			}
			delete(want, e.Trace)
		}
		if len(want) > 0 {
			t.Fatalf("not read: %v", want)
		}
	})
}
