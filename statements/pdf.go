package statements

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/klauspost/compress/zlib"

	"github.com/billcycle/billcycle/calendar"
)

// Renderer draws statements. It keeps the compressor, its buffers and what all
// statements of one biller have in common from one statement to the next, which
// is most of the speed: give each worker its own, a Renderer must not be used
// by two goroutines at once.
type Renderer struct {
	fonts   *typefaces
	err     error
	zip     *zlib.Writer
	zipped  bytes.Buffer
	presses map[*Biller]*press
	pages   []*page // of the last statement, to be written over
	file    file    // the last single statement's
}

// compression is a level of klauspost/compress. That package's version stands
// in go.mod, so that Go's own compressor may change and our files do not.
const compression = 6

// NewRenderer prepares the fonts. An error shows with the first Render.
func NewRenderer() *Renderer {
	r := &Renderer{presses: map[*Biller]*press{}}
	if r.fonts, r.err = loadFonts(); r.err == nil {
		r.zip, r.err = zlib.NewWriterLevel(nil, compression)
	}
	return r
}

// Render returns the statement as a PDF. The same statement gives the same
// bytes, whichever Renderer draws it and whenever; whether its sums hold is for
// [Statement.Check] to say. The Biller must not be changed afterwards.
// It is tagged as by RenderAccessible where the statement says so.
func (r *Renderer) Render(s Statement) ([]byte, error) {
	if s.Accessible {
		return r.RenderAccessible(s)
	}
	return r.render(&s, nil)
}

// Render is Renderer.Render for a single statement.
func Render(s Statement) ([]byte, error) { return NewRenderer().Render(s) }

// RenderAccessible returns the statement as a tagged PDF: a program that reads
// aloud finds headings, paragraphs and tables with their header cells, in the
// order in which they are meant.
func (r *Renderer) RenderAccessible(s Statement) ([]byte, error) { return r.render(&s, newTags()) }

func (r *Renderer) render(s *Statement, t *tags) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	d, err := r.draw(s, Marks{}, t)
	if err != nil {
		return nil, err
	}
	f := &r.file
	f.begin(r, nil, t != nil)
	f.addPages(d)
	f.info(fmt.Sprintf("Statement %d of %s", s.Number, s.Date.Long()), s.Biller.Name, s.Date)
	if t != nil {
		f.structure(t)
	}
	if err := f.end(d.press.words.locale); err != nil {
		return nil, fmt.Errorf("statement %d: %w", s.Number, err)
	}
	return bytes.Clone(f.out), nil
}

// Marks are what the mailing of a statement adds to its pages. Nothing of them
// belongs to the statement: mailed again, it has others.
type Marks struct {
	IMb    string   // 65 letters A D F T, drawn above the name; empty for none
	Sheets []Matrix // the inserter's code for each sheet, drawn on its front; none for none
}

// Matrix is a square code, such as a DataMatrix: its dark modules.
type Matrix struct {
	Size int
	Dark []bool // row by row from the top, Size*Size of them
}

// Placed is where a bundle has put a piece.
type Placed struct {
	FirstPage int // from 1
	Pages     int // blank backs included
	Sheets    int
}

// Bundle is one PDF of many statements, for a print vendor. Fonts are embedded
// in it, and they and what is the same on all statements stand in it once.
// Pages leave through the writer as they are drawn; memory holds a few words a
// page. All statements are to be added by one goroutine.
type Bundle struct {
	r    *Renderer
	file file
	name string
	date calendar.Date
}

// NewBundle begins a bundle. Name and date become the file's title and date;
// nothing else may make two bundles of the same pieces differ.
func (r *Renderer) NewBundle(w io.Writer, name string, date calendar.Date) *Bundle {
	b := &Bundle{r: r, name: name, date: date}
	b.file.begin(r, w, true)
	return b
}

// Add draws a statement for a sheet's both sides: it begins on a front, a blank
// back follows where its pages are odd in number. An address that does not fit
// into the envelope's window is an [*AddressError], a name that the page can't
// show a [*LettersError], marks for more or fewer sheets than it has a
// [*SheetsError]; nothing was added then.
func (b *Bundle) Add(s *Statement, m Marks) (Placed, error) {
	if b.r.err != nil {
		return Placed{}, b.r.err
	}
	if r := s.strange(); r != 0 {
		return Placed{}, &LettersError{s.Number, r}
	}
	d, err := b.r.draw(s, m, nil)
	if err == nil {
		err = d.unfit
	}
	if err != nil {
		return Placed{}, err
	}
	if len(d.pages)%2 == 1 {
		d.addPage()
	}
	if marked, sheets := len(m.Sheets), len(d.pages)/2; marked > 0 && marked != sheets {
		return Placed{}, &SheetsError{s.Number, marked, sheets}
	}
	at := Placed{FirstPage: len(b.file.kids) + 1, Pages: len(d.pages), Sheets: len(d.pages) / 2}
	b.file.addPages(d)
	return at, b.file.flush()
}

// SheetsError is a statement that has not as many sheets as there are marks.
type SheetsError struct {
	Number        int64 // the statement's
	Marks, Sheets int
}

func (e *SheetsError) Error() string {
	return fmt.Sprintf("statement %010d has %d sheets, and marks for %d", e.Number, e.Sheets, e.Marks)
}

// Pages returns how many pages the bundle has so far.
func (b *Bundle) Pages() int { return len(b.file.kids) }

// Close writes what stands at a PDF's end. It does not close the writer.
func (b *Bundle) Close() error {
	if b.r.err != nil {
		return b.r.err
	}
	b.file.info(b.name, "", b.date)
	return b.file.end("en-US")
}

// file is a PDF in the making. Its first objects are known by their number:
// what they hold is known only at the end.
type file struct {
	r       *Renderer
	w       io.Writer // nil keeps all of it in out
	out     []byte    // not yet written
	written int64
	hash    hash.Hash
	offsets []int64 // by number of the object
	embed   bool    // fonts of plane 0 as well
	fonts   [fontCount]int
	sheets  []resources
	kids    []int // the pages' numbers
	tree    int   // the structure's, 0 if there is none
	xmp     int
	title   string
}

const (
	pagesObject = 1 + iota
	catalogObject
	infoObject
	firstObject
)

// resources are what the pages of one press refer to.
type resources struct {
	press  *press
	number int
	forms  [formKinds]int
	logo   int
}

func (f *file) begin(r *Renderer, w io.Writer, embed bool) {
	digest := f.hash
	if digest == nil {
		digest = sha256.New()
	}
	digest.Reset()
	*f = file{r: r, w: w, out: f.out[:0], hash: digest, offsets: f.offsets[:0], embed: embed, sheets: f.sheets[:0], kids: f.kids[:0]}
	f.offsets = append(f.offsets, make([]int64, firstObject)...)
	f.out = append(f.out, "%PDF-1.7\n%\xE2\xE3\xCF\xD3\n"...) // bytes over 127 tell copiers: not text
}

// reserve returns a number for an object to be written later.
func (f *file) reserve() int {
	f.offsets = append(f.offsets, 0)
	return len(f.offsets) - 1
}

// object begins an object, to be ended by endobj.
func (f *file) object(n int) {
	f.offsets[n] = f.written + int64(len(f.out))
	f.out = strconv.AppendInt(f.out, int64(n), 10)
	f.out = append(f.out, " 0 obj\n"...)
}

func (f *file) put(s string) { f.out = append(f.out, s...) }

func (f *file) ref(n int) {
	f.out = append(strconv.AppendInt(f.out, int64(n), 10), " 0 R"...)
}

// flush hands over what is finished.
func (f *file) flush() error {
	f.hash.Write(f.out)
	if f.w == nil {
		return nil
	}
	f.written += int64(len(f.out))
	_, err := f.w.Write(f.out)
	f.out = f.out[:0]
	return err
}

// stream writes a dictionary's end and the stream that belongs to it.
func (f *file) stream(packed []byte) {
	f.put("/Filter/FlateDecode/Length ")
	f.out = strconv.AppendInt(f.out, int64(len(packed)), 10)
	f.put(">>\nstream\n")
	f.out = append(f.out, packed...)
	f.put("\nendstream\nendobj\n")
}

// pack compresses; what it returns is good until the next call.
func (r *Renderer) pack(plain []byte) []byte {
	r.zipped.Reset()
	r.zip.Reset(&r.zipped)
	r.zip.Write(plain) // into memory: there is no error
	r.zip.Close()
	return r.zipped.Bytes()
}

// part writes a part's objects and returns the number of the first.
func (f *file) part(p part) int {
	first := len(f.offsets)
	for range p {
		f.reserve()
	}
	for i := range p {
		f.object(first + i)
		for j, text := range p[i].text {
			if j > 0 {
				f.ref(first + p[i].refs[j-1])
			}
			f.out = append(f.out, text...)
		}
		f.put("endobj\n")
	}
	return first
}

// needFonts writes those of the fonts that the file does not have yet.
func (f *file) needFonts(set fontSet) {
	for i := range font(fontCount) {
		if !set.has(i) || f.fonts[i] != 0 {
			continue
		}
		switch t := f.r.fonts; {
		case !f.embed && i == regular.of(0):
			f.fonts[i] = f.part(t.core[regular])
		case !f.embed && i == bold.of(0):
			f.fonts[i] = f.part(t.core[bold])
		default:
			f.fonts[i] = f.part(t.embedded[i])
		}
	}
}

// fontDictionary lists the fonts of a set.
func (f *file) fontDictionary(set fontSet) {
	f.put("/Font<<")
	for i, n := range f.fonts {
		if n != 0 && set.has(font(i)) {
			f.put("/")
			f.put(font(i).resource())
			f.put(" ")
			f.ref(n)
		}
	}
	f.put(">>")
}

// resourcesOf returns the resources of a press's pages.
func (f *file) resourcesOf(p *press) *resources {
	for i := range f.sheets {
		if f.sheets[i].press == p {
			return &f.sheets[i]
		}
	}
	f.sheets = append(f.sheets, resources{press: p, number: f.reserve()})
	return &f.sheets[len(f.sheets)-1]
}

// addPages writes the pages of a drawing, and before them what they are the
// first in the file to need.
func (f *file) addPages(d *drawing) {
	own := f.resourcesOf(d.press)
	if d.logo && own.logo == 0 {
		own.logo = f.part(d.press.logo.part)
	}
	for kind, used := range d.forms {
		if !used || own.forms[kind] != 0 {
			continue
		}
		form := d.press.forms[kind]
		if form.logo && own.logo == 0 {
			own.logo = f.part(d.press.logo.part)
		}
		f.needFonts(form.fonts)
		n := f.reserve()
		f.object(n)
		f.put("<</Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<<")
		f.fontDictionary(form.fonts)
		if form.logo {
			f.put("/XObject<</L ")
			f.ref(own.logo)
			f.put(">>")
		}
		f.put(">>")
		f.stream(form.packed)
		own.forms[kind] = n
	}
	for i, p := range d.pages {
		f.needFonts(p.fonts)
		content := f.reserve()
		f.object(content)
		f.put("<<")
		f.stream(f.r.pack(p.ops))
		n := f.reserve()
		f.object(n)
		f.put("<</Type/Page/Parent 1 0 R/Resources ")
		f.ref(own.number)
		f.put("/Contents ")
		f.ref(content)
		if p.tags != nil {
			f.put("/Tabs/S/StructParents ")
			f.out = strconv.AppendInt(f.out, int64(i), 10)
		}
		f.put(">>\nendobj\n")
		f.kids = append(f.kids, n)
	}
}

// info writes the file's title. No member's name stands in it, which programs
// show and log.
func (f *file) info(title, author string, date calendar.Date) {
	f.title = title
	f.object(infoObject)
	f.put("<</Producer(billcycle)/Title")
	f.text(title)
	if author != "" {
		f.put("/Author")
		f.text(author)
	}
	if !date.IsZero() {
		for _, key := range [...]string{"/CreationDate", "/ModDate"} {
			f.put(key + "(D:" + date.Format("20060102") + "000000)")
		}
	}
	f.put(">>\nendobj\n")
}

// text writes a string of the file's own: as it is where it is ASCII, else in
// UTF-16.
func (f *file) text(s string) {
	if plain(s) {
		f.put("(")
		for i := range len(s) {
			if c := s[i]; c == '(' || c == ')' || c == '\\' {
				f.put("\\")
			}
			f.out = append(f.out, s[i])
		}
		f.put(")")
		return
	}
	f.put("<FEFF")
	for _, unit := range utf16Of(s) {
		f.out = fmt.Appendf(f.out, "%04X", unit)
	}
	f.put(">")
}

// end writes the resources, the pages' tree, the catalog and the table of
// objects.
func (f *file) end(locale string) error {
	if len(f.kids) == 0 {
		return errors.New("a PDF needs a page, this one has none")
	}
	for i := range f.sheets {
		own := &f.sheets[i]
		f.object(own.number)
		f.put("<<")
		f.fontDictionary(1<<fontCount - 1)
		f.put("/XObject<<")
		for kind, n := range own.forms {
			if n != 0 {
				f.put("/" + formKind(kind).resource() + " ")
				f.ref(n)
			}
		}
		if own.logo != 0 {
			f.put("/L ")
			f.ref(own.logo)
		}
		f.put(">>>>\nendobj\n")
	}
	f.object(pagesObject)
	f.put("<</Type/Pages/MediaBox[0 0 612 792]/Count ")
	f.out = strconv.AppendInt(f.out, int64(len(f.kids)), 10)
	f.put("/Kids[")
	for _, n := range f.kids {
		f.ref(n)
		f.put(" ")
	}
	f.put("]>>\nendobj\n")
	f.object(catalogObject)
	f.put("<</Type/Catalog/Pages 1 0 R/Lang(" + locale + ")/ViewerPreferences<</DisplayDocTitle true>>")
	if f.tree != 0 {
		f.put("/MarkInfo<</Marked true>>/StructTreeRoot ")
		f.ref(f.tree)
		f.put("/Metadata ")
		f.ref(f.xmp)
	}
	f.put(">>\nendobj\n")
	if err := f.flush(); err != nil {
		return err
	}
	id := f.hash.Sum(nil)[:16]
	xref := f.written
	if f.w == nil {
		xref = int64(len(f.out))
	}
	f.put("xref\n0 ")
	f.out = strconv.AppendInt(f.out, int64(len(f.offsets)), 10)
	f.put("\n0000000000 65535 f \n")
	for _, at := range f.offsets[1:] {
		from := len(f.out)
		f.put("0000000000 00000 n \n")
		for i := from + 9; at > 0; i, at = i-1, at/10 {
			f.out[i] = byte('0' + at%10)
		}
	}
	f.out = fmt.Appendf(f.out, "trailer\n<</Size %d/Root 2 0 R/Info 3 0 R/ID[<%x><%x>]>>\nstartxref\n%d\n%%%%EOF\n", len(f.offsets), id, id, xref)
	return f.flush()
}
