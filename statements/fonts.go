package statements

import (
	"bytes"
	"embed"
	"fmt"
	"strings"
	"sync"

	"github.com/jung-kurt/gofpdf"
)

// A PDF font of gofpdf has 256 characters, so that each face of the page is
// several fonts, its planes: plane 0 is Windows-1252, in the others stand the
// letters of fonts/planes.txt, a line a plane, from code 33 on. A file holds
// only the planes that its text needs. fonts/README.md tells where they come
// from.

//go:embed fonts/*.json fonts/*.z fonts/planes.txt
var fontFiles embed.FS

// face is one of the typefaces of a statement.
type face uint8

const (
	regular face = iota
	bold
	ocr // OCR-B, digits only, ten to the inch at 10 points: the scanline's
	faces
)

const (
	planes    = 5
	firstCode = 33 // of the letters of the planes above 0
	fontCount = 2*planes + 1
)

// font is one plane of a face.
type font uint8

// of returns a face's font for a plane; OCR-B has only one.
func (f face) of(plane byte) font {
	if f == ocr {
		return fontCount - 1
	}
	return font(f)*planes + font(plane)
}

// resource is the name by which pages refer to a font.
func (f font) resource() string { return fontNames[f] }

var fontNames = [fontCount]string{"R0", "R1", "R2", "R3", "R4", "B0", "B1", "B2", "B3", "B4", "O"}

// fontSet is a set of fonts, a bit each.
type fontSet uint16

func (s fontSet) has(f font) bool { return s>>f&1 == 1 }

// typefaces is what the page must know of the fonts.
type typefaces struct {
	width    [fontCount][256]int32 // in thousandths of the size
	embedded [fontCount]part       // with the letters' outlines
	core     [faces]part           // Helvetica: every reader has it, or its like with the same widths
}

// loadFonts has gofpdf load all fonts, once for the whole program: what comes
// of it is only read.
var loadFonts = sync.OnceValues(func() (*typefaces, error) {
	t := new(typefaces)
	doc := newDocument()
	type source struct {
		family, style string
		to            *part
	}
	var sources []source
	for f := range font(fontCount) {
		name := "billcycle-ocrb"
		if f != ocr.of(0) {
			name = fmt.Sprintf("billcycle-%s-%d", [...]string{"regular", "bold"}[f/planes], f%planes)
		}
		definition, err := fontFiles.ReadFile("fonts/" + name + ".json")
		if err != nil {
			return nil, err
		}
		outlines, err := fontFiles.ReadFile("fonts/" + name + ".z")
		if err != nil {
			return nil, err
		}
		doc.AddFontFromBytes(name, "", definition, outlines)
		sources = append(sources, source{name, "", &t.embedded[f]})
		doc.SetFont(name, "", 1000)
		for c := 1; c < 256; c++ {
			t.width[f][c] = int32(doc.GetStringWidth(string([]byte{byte(c)})))
		}
	}
	sources = append(sources, source{"Helvetica", "", &t.core[regular]}, source{"Helvetica", "B", &t.core[bold]})
	doc.AddPage()
	for i, s := range sources {
		doc.SetFont(s.family, s.style, float64(101+i)) // a size to know it by
	}
	raw, objects, err := output(doc)
	if err != nil {
		return nil, fmt.Errorf("statements: loading the fonts: %w", err)
	}
	for i, s := range sources {
		before, _, ok := strings.Cut(string(raw), fmt.Sprintf(" %d.00 Tf", 101+i))
		if !ok {
			return nil, fmt.Errorf("statements: loading the fonts: gofpdf wrote no name for %s", s.family)
		}
		name := before[strings.LastIndexByte(before, '/'):]
		if *s.to, err = takePart(raw, objects, name); err != nil {
			return nil, fmt.Errorf("statements: loading the fonts: %w", err)
		}
	}
	return t, nil
})

// newDocument returns what gofpdf draws the parts of a statement on.
func newDocument() *gofpdf.Fpdf {
	doc := gofpdf.New("P", "pt", "Letter", "")
	doc.SetCompression(false)
	doc.SetCatalogSort(true)
	doc.SetAutoPageBreak(false, 0)
	return doc
}

// output returns gofpdf's file and its objects.
func output(doc *gofpdf.Fpdf) ([]byte, map[int][]byte, error) {
	var out bytes.Buffer
	if err := doc.Output(&out); err != nil {
		return nil, nil, err
	}
	objects, err := dissect(out.Bytes())
	return out.Bytes(), objects, err
}

// planeOf finds the letters that are not in Windows-1252: their plane and code,
// as a text holds them.
var planeOf = sync.OnceValue(func() map[rune][2]byte {
	text, err := fontFiles.ReadFile("fonts/planes.txt")
	if err != nil {
		panic(err) // it is in the program
	}
	found := map[rune][2]byte{}
	for plane, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		code := byte(firstCode)
		for _, r := range line {
			found[r] = [2]byte{byte(plane + 1), code}
			code++
		}
	}
	return found
})
