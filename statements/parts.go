package statements

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zlib"
)

// part is a piece of a PDF that gofpdf made, a font or an image, ready to be put
// into any other: its objects, cut where they name one another. The first is
// the one that pages refer to.
type part []partObject

// partObject is the text of an object between its number and "endobj": text[0],
// the number of the part's object refs[0], text[1] and so on.
type partObject struct {
	text [][]byte
	refs []int
}

var reference = regexp.MustCompile(`(\d+) 0 R`)

// takePart cuts out the object that gofpdf's resources know by a name such as
// "/F12ab", with all that it refers to.
func takePart(raw []byte, objects map[int][]byte, name string) (part, error) {
	m := regexp.MustCompile(regexp.QuoteMeta(name) + ` (\d+) 0 R`).FindSubmatch(raw)
	if m == nil {
		return nil, fmt.Errorf("gofpdf's file has no resource %s", name)
	}
	first, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return nil, err
	}
	var p part
	numbers := []int{first}
	for i := 0; i < len(numbers); i++ { // numbers grows on the way
		object, ok := objects[numbers[i]]
		if !ok {
			return nil, fmt.Errorf("gofpdf's file has no object %d", numbers[i])
		}
		var o partObject
		head, _, _ := bytes.Cut(object, []byte("stream\n"))
		from := 0
		for _, at := range reference.FindAllSubmatchIndex(head, -1) {
			n, err := strconv.Atoi(string(object[at[2]:at[3]]))
			if err != nil {
				return nil, err
			}
			to := slices.Index(numbers, n)
			if to < 0 {
				to = len(numbers)
				numbers = append(numbers, n)
			}
			o.text, o.refs = append(o.text, bytes.Clone(object[from:at[0]])), append(o.refs, to)
			from = at[1]
		}
		o.text = append(o.text, bytes.Clone(object[from:]))
		p = append(p, o)
	}
	return p, nil
}

// repack compresses a part's streams with our own compressor. gofpdf compresses
// a transparent image anew, with Go's, whose bytes may be others in its next
// release.
func (p part) repack() error {
	r := NewRenderer()
	if r.err != nil {
		return r.err
	}
	for i := range p {
		last := &p[i].text[len(p[i].text)-1]
		head, rest, ok := bytes.Cut(*last, []byte("stream\n"))
		packed, end, ended := cutLast(rest, []byte("\nendstream"))
		length := regexp.MustCompile(`/Length \d+`)
		if !ok || !ended || !length.Match(head) || !bytes.Contains(bytes.Join(p[i].text, nil), []byte("/FlateDecode")) {
			continue
		}
		z, err := zlib.NewReader(bytes.NewReader(packed))
		if err != nil {
			return err
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			return err
		}
		packed = r.pack(plain)
		head = length.ReplaceAll(head, fmt.Appendf(nil, "/Length %d", len(packed)))
		*last = slices.Concat(head, []byte("stream\n"), packed, end)
	}
	return nil
}

// cutLast cuts b before the last sep.
func cutLast(b, sep []byte) (before, from []byte, found bool) {
	at := bytes.LastIndex(b, sep)
	if at < 0 {
		return b, nil, false
	}
	return b[:at], b[at:], true
}

// dissect returns the objects of a PDF of gofpdf by its cross-reference table,
// each without its first line and its "endobj".
func dissect(raw []byte) (map[int][]byte, error) {
	at := bytes.LastIndex(raw, []byte("\nxref\n0 "))
	tail := bytes.LastIndex(raw, []byte("trailer\n<<\n"))
	if at < 0 || tail < at {
		return nil, fmt.Errorf("no cross-reference table")
	}
	rows := strings.Split(strings.TrimSuffix(string(raw[at+1:tail]), "\n"), "\n")[2:] // "xref", "0 n"
	type span struct{ number, start int }
	var spans []span
	for n, row := range rows {
		if n == 0 {
			continue // the head of the list of free objects
		}
		start, err := strconv.Atoi(row[:min(10, len(row))])
		if err != nil || start >= at {
			return nil, fmt.Errorf("cross-reference %d is %q", n, row)
		}
		spans = append(spans, span{n, start})
	}
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	objects := map[int][]byte{}
	for i, s := range spans {
		end := at + 1
		if i+1 < len(spans) {
			end = spans[i+1].start
		}
		body, ok := bytes.CutPrefix(raw[s.start:end], fmt.Appendf(nil, "%d 0 obj\n", s.number))
		body, ended := bytes.CutSuffix(body, []byte("endobj\n"))
		if !ok || !ended {
			return nil, fmt.Errorf("object %d is not where the table says", s.number)
		}
		objects[s.number] = body
	}
	return objects, nil
}
