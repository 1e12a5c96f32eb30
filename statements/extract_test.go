package statements

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
)

// word is a text as it stands on a page of a finished PDF: read back from the
// file's bytes, so that what the tests see is what a reader's program sees.
type word struct {
	page       int // from 0
	x, y, size float64
	width      float64
	text       string
}

// extract reads all text off a PDF. It goes by the file's own cross-reference
// table and page tree and fails on anything that is not as it should be.
func extract(t testing.TB, pdf []byte) []word {
	t.Helper()
	objects := pdfObjects(t, pdf)
	names := map[string]font{}
	for f := range font(fontCount) {
		names[f.resource()] = f
	}
	r := &reader{t: t, fonts: NewRenderer().fonts, names: names}
	for n, page := range pageObjects(t, objects) {
		r.page = n
		r.read(pageStream(t, objects, page), func(form string) string {
			m := regexp.MustCompile(`/Resources (\d+) 0 R`).FindSubmatch(page)
			m = regexp.MustCompile(`/` + form + ` (\d+) 0 R`).FindSubmatch(objects[int(number(t, string(m[1])))])
			if m == nil {
				t.Fatalf("page %d: no form %s", n+1, form)
			}
			return unzip(t, objects[int(number(t, string(m[1])))])
		})
	}
	return r.words
}

// reader reads the texts of content streams.
type reader struct {
	t     testing.TB
	fonts *typefaces
	names map[string]font
	page  int
	words []word
}

var (
	operation = regexp.MustCompile(`/(\w+) ([\d.]+) Tf\n|BT (-?[\d.]+) (-?[\d.]+) Td|\(((?:[^()\\]|\\[()\\])*)\)Tj|( ET)\n|/(X\d) Do\n`)
	unescape  = regexp.MustCompile(`\\([()\\])`)
	startXref = regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`)
	kids      = regexp.MustCompile(`/Kids\[([\d R]+)\]`)
	contents  = regexp.MustCompile(`/Contents (\d+) 0 R`)
	stream    = regexp.MustCompile(`^\d+ 0 obj\n<<.*/Filter/FlateDecode/Length (\d+)>>\nstream\n`)
)

func (r *reader) read(stream string, form func(string) string) {
	r.t.Helper()
	var f font
	var size float64
	var w word
	shown := 0
	for _, m := range operation.FindAllStringSubmatch(stream, -1) {
		switch {
		case m[1] != "":
			known := false
			if f, known = r.names[m[1]]; !known {
				r.t.Fatalf("page %d: the unknown font %s", r.page+1, m[1])
			}
			size = number(r.t, m[2])
		case m[3] != "":
			w = word{page: r.page, x: number(r.t, m[3]), y: pageHeight - number(r.t, m[4]), size: size}
		case m[6] != "":
			w.size = size
			r.words = append(r.words, w)
		case m[7] != "":
			inner := &reader{t: r.t, fonts: r.fonts, names: r.names, page: r.page}
			inner.read(form(m[7]), form)
			r.words = append(r.words, inner.words...)
		default:
			shown++
			for _, c := range []byte(unescape.ReplaceAllString(m[5], "$1")) {
				w.width += float64(r.fonts.width[f][c]) * size / 1000
				w.text += r.letter(f, c)
			}
		}
	}
	if all := strings.Count(stream, ")Tj"); all != shown {
		r.t.Fatalf("page %d: %d texts, the test reads %d of them", r.page+1, all, shown)
	}
}

// letter returns what a font shows for a code.
func (r *reader) letter(f font, code byte) string {
	if f == ocr.of(0) || f%planes == 0 {
		text, err := charmap.Windows1252.NewDecoder().String(string([]byte{code}))
		if err != nil {
			r.t.Fatal(err)
		}
		return text
	}
	for letter, at := range planeOf() {
		if at == [2]byte{byte(f % planes), code} {
			return string(letter)
		}
	}
	r.t.Fatalf("font %s has no code %d", f.resource(), code)
	return ""
}

func number(t testing.TB, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func pdfObjects(t testing.TB, pdf []byte) map[int][]byte {
	t.Helper()
	m := startXref.FindSubmatch(pdf)
	if m == nil {
		t.Fatalf("no startxref at the end of %d bytes", len(pdf))
	}
	xref := int(number(t, string(m[1])))
	lines := strings.Split(string(pdf[xref:]), "\n")
	var n int
	if _, err := fmt.Sscanf(lines[0]+" "+lines[1], "xref 0 %d", &n); err != nil {
		t.Fatalf("cross-reference table: %v", err)
	}
	objects := map[int][]byte{}
	for i := 1; i < n; i++ {
		row := lines[2+i]
		if len(row) != 19 || row[10:] != " 00000 n " {
			t.Fatalf("cross-reference %d is %q", i, row)
		}
		at := int(number(t, row[:10]))
		if head := fmt.Sprintf("%d 0 obj\n", i); !bytes.HasPrefix(pdf[at:], []byte(head)) {
			t.Fatalf("object %d is not at %d", i, at)
		}
		objects[i] = pdf[at:xref]
	}
	return objects
}

func pageObjects(t testing.TB, objects map[int][]byte) [][]byte {
	t.Helper()
	m := kids.FindSubmatch(objects[1])
	if m == nil {
		t.Fatal("object 1 has no pages")
	}
	var pages [][]byte
	for _, kid := range strings.Split(strings.TrimSpace(string(m[1])), " 0 R") {
		if kid = strings.TrimSpace(kid); kid != "" {
			pages = append(pages, objects[int(number(t, kid))])
		}
	}
	return pages
}

func pageStream(t testing.TB, objects map[int][]byte, page []byte) string {
	t.Helper()
	m := contents.FindSubmatch(page)
	if m == nil {
		t.Fatalf("no contents in %.80q", page)
	}
	return unzip(t, objects[int(number(t, string(m[1])))])
}

func unzip(t testing.TB, object []byte) string {
	t.Helper()
	m := stream.FindSubmatch(object)
	if m == nil {
		t.Fatalf("no compressed stream in %.80q", object)
	}
	length := int(number(t, string(m[1])))
	body := object[len(m[0]):]
	if !bytes.HasPrefix(body[length:], []byte("\nendstream\nendobj\n")) {
		t.Fatalf("a stream does not end after its %d bytes", length)
	}
	z, err := zlib.NewReader(bytes.NewReader(body[:length]))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// transcript writes the words of a PDF as lines of text, top to bottom and left
// to right, a column's gap as " | ".
func transcript(words []word) string {
	words = slices.Clone(words)
	slices.SortStableFunc(words, func(a, b word) int {
		switch {
		case a.page != b.page:
			return a.page - b.page
		case a.y != b.y:
			return int((a.y - b.y) * 100)
		}
		return int((a.x - b.x) * 100)
	})
	var out strings.Builder
	for i, w := range words {
		switch {
		case i == 0 || w.page != words[i-1].page:
			fmt.Fprintf(&out, "\n--- page %d\n", w.page+1)
		case w.y != words[i-1].y:
			out.WriteByte('\n')
		default:
			out.WriteString(" | ")
		}
		out.WriteString(w.text)
	}
	return strings.TrimPrefix(out.String(), "\n") + "\n"
}

// prose joins the words in the order in which they were drawn, so that a
// sentence that was broken over lines can be found.
func prose(words []word) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = w.text
	}
	return strings.Join(all, " ")
}

// unfit returns the words that leave the page or run into one another; none may.
func unfit(words []word) []string {
	var found []string
	for i, a := range words {
		if a.x < 18 || a.x+a.width > pageWidth-18 || a.y < 18 || a.y > pageHeight-18 {
			found = append(found, fmt.Sprintf("page %d: %q leaves the page at %.1f, %.1f", a.page+1, a.text, a.x, a.y))
		}
		for _, b := range words[i+1:] {
			// What a line of type covers: capitals above, descenders below.
			if a.page == b.page && a.x < b.x+b.width-0.5 && b.x < a.x+a.width-0.5 &&
				a.y-0.70*a.size < b.y+0.15*b.size && b.y-0.70*b.size < a.y+0.15*a.size {
				found = append(found, fmt.Sprintf("page %d: %q and %q overlap", a.page+1, a.text, b.text))
			}
		}
	}
	return found
}
