package statements

import (
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	for in, want := range map[string]latin{
		"Rosa Delgado":         "Rosa Delgado",
		"Peña Núñez":           "Pe\xf1a N\xfa\xf1ez",
		"Pen\u0303a":           "Pe\xf1a", // a combining tilde is the same letter
		"Nguyễn Thị Đào":       "Nguy\x01\xc7n Th\x01\xcd \x011\xe0o",
		"Łukasz Dvořák":        "\x01bukasz Dvo\x01x\xe1k",
		"“quoted” – €5…":       "\x93quoted\x94 \x96 \x805\x85",
		"two\nlines\tand\ttab": "two lines and tab",
		"bell\x07, zero\u200bwidth, soft\u00adhyphen": "bell, zerowidth, softhyphen",
		"ﬁnance ½ ²":         "finance \xbd \xb2",
		"王 Wang":             "? Wang",
		"broken \xff\xfeutf": "broken ??utf",
		"":                   "",
	} {
		if got := encode(in); got != want {
			t.Errorf("encode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	fonts := NewRenderer().fonts
	for _, c := range []struct {
		name  string
		in    latin
		width float64
		limit int
		want  string
	}{
		{"short", "Office visit", 100, 2, "Office visit"},
		{"nothing", "   ", 100, 2, ""},
		{"between words", "Office visit in Oakland", 60, 9, "Office visit in|Oakland"},
		{"a word longer than the line", "Wolfeschlegel", 30, 9, "Wolfe|schleg|el"},
		{"cut", "Office visit in Oakland", 60, 1, "Office visit" + ellipsis},
		{"too narrow for anything", "ab", 1, 9, "a|b"},
	} {
		var lines []string
		for _, line := range fonts.wrap(regular, 10, c.width, c.in, c.limit) {
			lines = append(lines, string(line))
		}
		if got := strings.Join(lines, "|"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// The widths are Adobe's of the built-in fonts, in thousandths (Helvetica's and
// Helvetica-Bold's metrics as published; Courier's are all 600).
func TestFontWidths(t *testing.T) {
	fonts := NewRenderer().fonts
	for _, c := range []struct {
		f    face
		s    latin
		want float64
	}{
		{regular, "A", 667}, {regular, "i", 222}, {regular, "$0", 1112}, {regular, "\xf1", 556},
		{bold, "A", 722}, {bold, "i", 278}, {ocr, "0123456789", 7200},
	} {
		if got := fonts.measure(c.f, 1000, c.s); got != c.want {
			t.Errorf("face %d, %q: %v, want %v", c.f, c.s, got, c.want)
		}
	}
}

// FuzzWrap: but for blanks nothing is lost or added, and no line is too wide.
func FuzzWrap(f *testing.F) {
	f.Add("Office visit in Oakland", uint16(60))
	f.Add("  Wolfeschlegelsteinhausen  (\\) ñ ", uint16(12))
	fonts := NewRenderer().fonts
	f.Fuzz(func(t *testing.T, s string, width uint16) {
		text, room := encode(s), 10+float64(width%500)
		lines := fonts.wrap(regular, 9, room, text, 1<<30)
		var all strings.Builder
		for _, line := range lines {
			if fonts.measure(regular, 9, line) > room+0.01 {
				t.Errorf("%q is wider than %v", line, room)
			}
			all.WriteString(string(line))
		}
		squash := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if squash(all.String()) != squash(string(text)) {
			t.Errorf("%q became %q", text, lines)
		}
		if cut := fonts.wrap(regular, 9, room, text, 2); len(cut) > 2 || len(lines) <= 2 && len(cut) != len(lines) {
			t.Errorf("%q in two lines: %q", text, cut)
		}
	})
}

func TestNumbersAreShortAndExact(t *testing.T) {
	var p page
	p.numbers(0, 1, -1, 0.5, 12.34, 12.305, -0.004, 612)
	if got, want := string(p.ops), "0 1 -1 0.5 12.34 12.31 0 612 "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
