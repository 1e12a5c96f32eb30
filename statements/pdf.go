package statements

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jung-kurt/gofpdf"
)

// Renderer draws statements. It keeps the fonts, the compressor and its buffers
// from one statement to the next, which is most of the speed: give each worker
// its own, a Renderer must not be used by two goroutines at once.
type Renderer struct {
	// Every document starts as a copy of prototype, whose fonts are loaded.
	// The copies share its maps, so nothing may ever be registered on one: no
	// font, image, template or alias, or it would show up in the next member's
	// statement. Pages are drawn by our own canvas and need none of them.
	prototype gofpdf.Fpdf
	fonts     typefaces
	zip       *zlib.Writer
	spare     []*page // pages of the last statement, to be written over
	err       error
}

// NewRenderer prepares the fonts. An error shows with the first Render.
func NewRenderer() *Renderer {
	r := new(Renderer)
	r.zip, r.err = zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if r.err != nil {
		return r
	}
	r.prototype = *newDocument()
	r.err = r.learnFonts()
	return r
}

var families = [faces]struct{ family, style string }{
	regular: {"Helvetica", ""}, bold: {"Helvetica", "B"}, mono: {"Courier", "B"},
}

func newDocument() *gofpdf.Fpdf {
	doc := gofpdf.New("P", "pt", "Letter", "")
	doc.SetCompression(false) // squeeze does it, with a compressor it can keep
	doc.SetCatalogSort(true)
	doc.SetAutoPageBreak(false, 0)
	doc.SetProducer("billcycle", false)
	for _, f := range families {
		doc.SetFont(f.family, f.style, 12)
	}
	return doc
}

// learnFonts asks gofpdf for what a page must know of the fonts and it does not
// publish: the characters' widths, and the name it gives each font in the file,
// which is read off a page drawn for that purpose.
func (r *Renderer) learnFonts() error {
	doc := newDocument()
	for f, name := range families {
		doc.SetFont(name.family, name.style, 1000)
		for c := 1; c < 256; c++ {
			r.fonts[f].width[c] = doc.GetStringWidth(string([]byte{byte(c)}))
		}
	}
	doc.AddPage()
	for f, name := range families {
		doc.SetFont(name.family, name.style, float64(101+f)) // a size to know it by
	}
	var out bytes.Buffer
	if err := doc.Output(&out); err != nil {
		return fmt.Errorf("statements: loading the fonts: %w", err)
	}
	for f := range families {
		before, _, ok := strings.Cut(out.String(), fmt.Sprintf(" %d.00 Tf", 101+f))
		if !ok {
			return fmt.Errorf("statements: loading the fonts: gofpdf wrote no name for %v", families[f])
		}
		r.fonts[f].resource = before[strings.LastIndexByte(before, '/')+1:]
	}
	return nil
}

// Render returns the statement as a PDF. The same statement gives the same
// bytes, whichever Renderer draws it and whenever; whether its sums hold is for
// [Statement.Check] to say.
func (r *Renderer) Render(s Statement) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	doc := r.prototype
	// The statement's own date, so that the bytes depend on nothing else. For
	// 0001-01-01, Go's zero time, gofpdf would put the clock's.
	date := max(s.Date, 2).Time()
	doc.SetCreationDate(date)
	doc.SetModificationDate(date)
	doc.SetTitle(fmt.Sprintf("Statement %d of %s", s.Number, s.Date.Long()), false)
	doc.SetAuthor(strings.ToValidUTF8(s.Biller.Name, "?"), true)
	for _, p := range r.draw(&s) {
		doc.AddPage()
		doc.RawWriteStr(string(p.ops))
	}
	var raw capture
	if err := doc.Output(&raw); err != nil {
		return nil, fmt.Errorf("statement %d: %w", s.Number, err)
	}
	pdf, err := r.squeeze(raw.b)
	if err != nil {
		return nil, fmt.Errorf("statement %d: %w", s.Number, err)
	}
	return pdf, nil
}

// Render is Renderer.Render for a single statement.
func Render(s Statement) ([]byte, error) { return NewRenderer().Render(s) }

// newPage returns an empty page, from the spare ones if there are any.
func (r *Renderer) newPage(n int) *page {
	if n < len(r.spare) {
		p := r.spare[n]
		p.ops, p.fill = p.ops[:0], ink{}
		return p
	}
	p := &page{typefaces: &r.fonts}
	r.spare = append(r.spare, p)
	return p
}

// capture takes over the bytes of a single Write.
type capture struct{ b []byte }

func (c *capture) Write(b []byte) (int, error) {
	if c.b == nil {
		c.b = b
	} else {
		c.b = append(c.b, b...)
	}
	return len(b), nil
}

// squeeze rewrites the PDF that gofpdf made: it compresses the pages, which
// gofpdf can do only with a new compressor for each page at half the speed, and
// adds what gofpdf leaves out, the document's language, a title in the window's
// bar, and an ID.
func (r *Renderer) squeeze(raw []byte) ([]byte, error) {
	objects, trailer, err := dissect(raw)
	if err != nil {
		return nil, fmt.Errorf("compressing the PDF: %w", err)
	}
	var out bytes.Buffer
	out.Grow(len(raw) / 2)
	out.WriteString("%PDF-1.7\n%\xE2\xE3\xCF\xD3\n") // bytes over 127 tell copiers: not text
	offsets := make([]int, len(objects)+1)
	for _, o := range objects {
		if o.number > len(objects) {
			return nil, fmt.Errorf("compressing the PDF: object %d of %d", o.number, len(objects))
		}
		offsets[o.number] = out.Len()
		if err := r.writeObject(&out, raw[o.start:o.end]); err != nil {
			return nil, fmt.Errorf("compressing the PDF: object %d: %w", o.number, err)
		}
	}
	id := sha256.Sum256(out.Bytes())
	xref := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(offsets))
	for _, offset := range offsets[1:] {
		entry := []byte("0000000000 00000 n \n")
		digits := strconv.Itoa(offset)
		copy(entry[10-len(digits):], digits)
		out.Write(entry)
	}
	fmt.Fprintf(&out, "%s/ID [<%x><%x>]\n>>\nstartxref\n%d\n%%%%EOF\n", trailer, id[:16], id[:16], xref)
	return out.Bytes(), nil
}

// writeObject copies an object; a stream's contents are compressed, the catalog
// is completed.
func (r *Renderer) writeObject(out *bytes.Buffer, object []byte) error {
	head, body, isStream := bytes.Cut(object, []byte(">>\nstream\n"))
	if !isStream {
		const catalog = "/Type /Catalog\n"
		before, after, isCatalog := bytes.Cut(object, []byte(catalog))
		out.Write(before)
		if isCatalog {
			out.WriteString(catalog + "/Lang (en-US)\n/ViewerPreferences <</DisplayDocTitle true>>\n")
			out.Write(after)
		}
		return nil
	}
	number, length, ok := bytes.Cut(head, []byte("<</Length "))
	n, err := strconv.Atoi(string(length))
	if !ok || err != nil || n > len(body) {
		return fmt.Errorf("a stream of length %q", length)
	}
	var packed bytes.Buffer
	packed.Grow(n/2 + 64)
	r.zip.Reset(&packed)
	if _, err := r.zip.Write(body[:n]); err != nil {
		return err
	}
	if err := r.zip.Close(); err != nil {
		return err
	}
	out.Write(number)
	fmt.Fprintf(out, "<</Filter /FlateDecode /Length %d>>\nstream\n", packed.Len())
	out.Write(packed.Bytes())
	out.WriteString("\nendstream\nendobj\n")
	return nil
}

// object is one indirect object of a PDF: raw[start:end].
type object struct{ number, start, end int }

// dissect finds the objects of a PDF by its cross-reference table, in the order
// in which they stand, and its trailer up to the closing brackets.
func dissect(raw []byte) ([]object, string, error) {
	at := bytes.LastIndex(raw, []byte("\nxref\n0 "))
	tail := bytes.LastIndex(raw, []byte("trailer\n<<\n"))
	if at < 0 || tail < at {
		return nil, "", fmt.Errorf("no cross-reference table")
	}
	rows := strings.Split(strings.TrimSuffix(string(raw[at+1:tail]), "\n"), "\n")[2:] // "xref", "0 n"
	var objects []object
	for n, row := range rows {
		if n == 0 {
			continue // the head of the list of free objects
		}
		start, err := strconv.Atoi(row[:min(10, len(row))])
		if err != nil || start >= at {
			return nil, "", fmt.Errorf("cross-reference %d is %q", n, row)
		}
		objects = append(objects, object{number: n, start: start})
	}
	slices.SortFunc(objects, func(a, b object) int { return a.start - b.start })
	for i := range objects {
		objects[i].end = at + 1
		if i+1 < len(objects) {
			objects[i].end = objects[i+1].start
		}
	}
	trailer, _, ok := strings.Cut(string(raw[tail:]), ">>\nstartxref")
	if !ok {
		return nil, "", fmt.Errorf("no trailer")
	}
	return objects, trailer, nil
}
