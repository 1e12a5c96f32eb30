package lockbox

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// money is what the totals and counts of a file cover: the checks of each batch
// and their coupons, whatever their order.
func moneyOf(t testing.TB, text string, p Profile) (Summary, string) {
	t.Helper()
	s, batches := read(t, text, p)
	var all []string
	for _, b := range batches {
		var checks []string
		for _, i := range b.Items {
			var coupons []int64
			for _, o := range i.Overflows {
				coupons = append(coupons, int64(o.Cents))
			}
			slices.Sort(coupons)
			checks = append(checks, fmt.Sprint(int64(i.Cents), coupons))
		}
		slices.Sort(checks)
		if len(p.Columns) > 0 { // a table has one total, of all its rows
			all = append(all, checks...)
			continue
		}
		all = append(all, fmt.Sprint(checks))
	}
	slices.Sort(all)
	return s, fmt.Sprint(all)
}

// otherNesting is a file of the layout nested the other way: a record 5 for each
// batch, or one for all of them. The reader takes both.
func otherNesting(t testing.TB, name string) goodFile {
	t.Helper()
	p := profile(t, name)
	s, batches := read(t, sample(t, name), p)
	other := p
	other.Nesting = map[string]string{"lockbox": "batch", "batch": "lockbox"}[p.Nesting]
	var b bytes.Buffer
	if err := Write(&b, other, fileOf(s, batches)); err != nil {
		t.Fatal(err)
	}
	if fives, others := strings.Count("\n"+b.String(), "\n5"), strings.Count("\n"+sample(t, name), "\n5"); fives == others {
		t.Fatalf("%d records 5 either way", fives)
	}
	return goodFile{name + ", nested by " + other.Nesting, b.String(), p}
}

// A good file of every format is damaged in every single way: one character
// becomes another, one line is lost, doubled or swapped with the next, and the
// file is cut off anywhere. Whatever the damage did to the money is refused or
// shown, and nothing is taken in silence.
func TestNoDamageIsTakenInSilence(t *testing.T) {
	files := append(goodFiles(t), otherNesting(t, "bai-a"), otherNesting(t, "bai-b"), goodFile{"bai-b without line ends", unbroken(sample(t, "bai-b"), 80), profile(t, "bai-b")})
	for _, file := range files {
		t.Run(file.name, func(t *testing.T) {
			t.Parallel()
			whole, want := moneyOf(t, file.text, file.profile)
			if !whole.Foots() || len(whole.Problems) > 0 {
				t.Fatalf("the file is not good: %+v", whole)
			}
			tried, silent := 0, 0
			try := func(what string, damaged string) {
				tried++
				if damaged == file.text {
					return
				}
				s, got := moneyOf(t, damaged, file.profile)
				for _, p := range s.Problems {
					if p.Line < 1 || p.Record == "" || p.Field == "" || p.Said == "" || p.Found == "" || p.Problem == "" || p.Do == "" {
						t.Fatalf("%s, and what is told of it has blanks: %+v", what, p)
					}
				}
				if s.Foots() && len(s.Problems) == 0 {
					if silent++; got != want {
						t.Fatalf("%s, and the file is taken in silence: it says %s, it said %s\n%s", what, got, want, damaged)
					}
				}
			}
			text := []byte(file.text)
			for at, c := range text {
				if c == '\n' || c == ' ' && at%11 > 0 && at+1 < len(text) && text[at+1] == ' ' {
					continue // of a stretch of blanks some will do
				}
				for _, other := range []byte("0123456789 X") {
					if strings.IndexByte("0123456789", c) >= 0 || other == 'X' {
						damaged := bytes.Clone(text)
						damaged[at] = other
						try(fmt.Sprintf("byte %d, %q, became %q", at, c, other), string(damaged))
					}
				}
				try(fmt.Sprintf("byte %d, %q, was lost", at, c), file.text[:at]+file.text[at+1:])
				try(fmt.Sprintf("the file ends at byte %d", at), file.text[:at])
			}
			lines := strings.SplitAfter(strings.TrimSuffix(file.text, "\n"), "\n")
			if len(lines) == 1 { // records
				lines = nil
				for record := range slices.Chunk(text, 80) {
					lines = append(lines, string(record))
				}
			} else {
				lines[len(lines)-1] += "\n"
			}
			for n := range lines {
				try(fmt.Sprintf("line %d was lost", n+1), strings.Join(slices.Delete(slices.Clone(lines), n, n+1), ""))
				try(fmt.Sprintf("line %d stands twice", n+1), strings.Join(slices.Insert(slices.Clone(lines), n, lines[n]), ""))
				if n+1 < len(lines) {
					swapped := slices.Clone(lines)
					swapped[n], swapped[n+1] = swapped[n+1], swapped[n]
					try(fmt.Sprintf("lines %d and %d were swapped", n+1, n+2), strings.Join(swapped, ""))
				}
			}
			if tried < 3000 || silent == tried {
				t.Errorf("%d tried, %d in silence: the test tests nothing", tried, silent)
			}
		})
	}
}
