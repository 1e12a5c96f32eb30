package statements

import (
	"bufio"
	"compress/gzip"
	"os"
	"strings"
	"testing"
)

// The four that the Postal Service prints in its specification.
var published = []struct{ routing, bars string }{
	{"", "ATTFATTDTTADTAATTDTDTATTDAFDDFADFDFTFFFFFTATFAAAATDFFTDAADFTFDTDT"},
	{"01234", "DTTAFADDTTFTDTFTFDTDDADADAFADFATDDFTAAAFDTTADFAAATDFDTDFADDDTDFFT"},
	{"012345678", "ADFTTAFDTTTTFATTADTAAATFTFTATDAAAFDDADATATDTDTTDFDTDATADADTDFFTFA"},
	{"01234567891", "AADTFFDFTDADTAADAATFDTDDAAADDTDTTDAFADADDDTFFFDDTTTADFAAADFTDAADA"},
}

func TestIMbOfTheSpecification(t *testing.T) {
	for _, c := range published {
		if got, err := EncodeIMb("01234567094987654321", c.routing); got != c.bars || err != nil {
			t.Errorf("routing %q: %s (%v), want %s", c.routing, got, err, c.bars)
		}
	}
}

// Another encoder's barcodes of random codes: testdata/imb.mjs makes the list.
func TestIMbAgreesWithAnother(t *testing.T) {
	f, err := os.Open("testdata/imb.txt.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for in := bufio.NewScanner(list); in.Scan(); n++ {
		word := strings.Fields(in.Text())
		bars, routing := word[len(word)-1], ""
		if len(word) == 3 {
			routing = word[1]
		}
		if got, err := EncodeIMb(word[0], routing); got != bars || err != nil {
			t.Fatalf("%s %s: %s (%v), want %s", word[0], routing, got, err, bars)
		}
	}
	if n < 5000 {
		t.Errorf("testdata/imb.txt.gz holds %d barcodes, want 5000 at least", n)
	}
}

func TestIMbRefuses(t *testing.T) {
	const good = "01234567094987654321"
	for _, c := range []struct{ tracking, routing, says string }{
		{"", "", "tracking code has 0 characters, want 20 digits"},
		{"0123456709498765432", "01234", "tracking code has 19 characters"},
		{good + "1", "", "tracking code has 21 characters"},
		{"0123456709498765432X", "", `tracking code has 'X' in place 20`},
		{"0123 567094987654321", "", `tracking code has ' ' in place 5`},
		{"012345670949876543é", "", `tracking code has 'é' in place 19`},
		{"05234567094987654321", "", "second digit is 5, want 0 to 4"},
		{"09234567094987654321", "", "second digit is 9, want 0 to 4"},
		{good, "1", "routing code has 1 characters, want none, 5, 9 or 11 digits"},
		{good, "012345", "routing code has 6 characters"},
		{good, "0123456789", "routing code has 10 characters"},
		{good, "012345678912", "routing code has 12 characters"},
		{good, "01234-678", `routing code has '-' in place 6`},
	} {
		bars, err := EncodeIMb(c.tracking, c.routing)
		if bars != "" || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q %q: %q, %v; want an error that says %s", c.tracking, c.routing, bars, err, c.says)
		}
	}
}

// Every bit of every character is half of one bar.
func TestIMbTableIsWhole(t *testing.T) {
	used := map[[2]uint8]int{}
	for i, h := range imbHalves {
		for _, half := range [][2]uint8{{h.down, h.downBit}, {h.up, h.upBit}} {
			if before, twice := used[half]; twice || half[0] > 9 || half[1] > 12 {
				t.Errorf("bar %d: character %c bit %d, of bar %d too", i+1, 'A'+half[0], half[1], before)
			}
			used[half] = i + 1
		}
	}
	if len(used) != 130 {
		t.Errorf("%d halves, want 130", len(used))
	}
	seen := map[uint16]bool{}
	for _, c := range imbCharacters {
		seen[c], seen[^c&(1<<13-1)] = true, true
	}
	if len(imbCharacters) != 1365 || len(seen) != 2*1365 {
		t.Errorf("%d characters, %d with their inverses: want 1365, all different", len(imbCharacters), len(seen))
	}
}

func BenchmarkIMb(b *testing.B) {
	dst := make([]byte, 0, imbBars)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendIMb(dst, "01234567094987654321", "01234567891"); err != nil {
			b.Fatal(err)
		}
	}
}
