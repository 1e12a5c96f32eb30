package statements

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // a logo may be one
	_ "image/png"
	"strings"
	"unicode/utf16"

	"github.com/jung-kurt/gofpdf"
)

// press is what all statements of a biller have in common: colors, words, the
// logo, and the forms, which are those parts of the pages that no member's data
// goes into. A form is drawn by a function that is given the press alone: what
// it cannot see it cannot print.
type press struct {
	*typefaces
	biller   *Biller
	words    *words
	brand    ink // of panels and headings
	onBrand  ink // of text on a panel
	headings ink // the brand's color if it can be read on white
	logo     *logo
	forms    [formKinds]*form
}

// formKind is a part of a page that is the same on all statements.
type formKind int

const (
	headForm     formKind = iota // of page 1: logo, name and sender
	couponForm                   // what stands on every coupon
	backForm                     // page 2 behind a coupon
	backOnlyForm                 // page 2 without one
	formKinds
)

func (k formKind) resource() string { return [...]string{"X0", "X1", "X2", "X3"}[k] }

// form is the drawn form.
type form struct {
	packed []byte
	fonts  fontSet
	logo   bool
	left   []notice // those that found no room on it
}

// logo is the biller's, as gofpdf reads it.
type logo struct {
	part          part
	width, height float64 // in pixels
}

const spareBillers = 64 // a renderer forgets what it knows of billers beyond

// pressOf returns the press of a statement's biller.
func (r *Renderer) pressOf(b *Biller) (*press, error) {
	if p := r.presses[b]; p != nil {
		return p, nil
	}
	if b == nil {
		return nil, errors.New("a statement needs a biller to be drawn")
	}
	p := &press{typefaces: r.fonts, biller: b, words: wordsOf(b.Language), brand: parseColor(b.Color)}
	p.onBrand, p.headings = white, p.brand
	if p.brand.luminance() > 0.18 { // white on it would miss 4.5:1
		p.onBrand, p.headings = black, black
	}
	if len(b.Logo) > 0 {
		var err error
		if p.logo, err = readLogo(b.Logo); err != nil {
			return nil, err
		}
	}
	if len(r.presses) >= spareBillers {
		clear(r.presses)
	}
	r.presses[b] = p
	return p, nil
}

// form returns a form, drawn at its first use.
func (r *Renderer) form(p *press, kind formKind, draw func(p *press, on *page) []notice) *form {
	if f := p.forms[kind]; f != nil {
		return f
	}
	on := &page{typefaces: r.fonts}
	left := draw(p, on)
	p.forms[kind] = &form{packed: bytes.Clone(r.pack(on.ops)), fonts: on.fonts, left: left, logo: kind == headForm && p.logo != nil}
	return p.forms[kind]
}

// readLogo has gofpdf read a PNG or JPEG.
func readLogo(b []byte) (*logo, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("statements: the logo is neither PNG nor JPEG: %w", err)
	}
	doc := newDocument()
	doc.AddPage()
	options := gofpdf.ImageOptions{ImageType: strings.ToUpper(format)}
	doc.RegisterImageOptionsReader("logo", options, bytes.NewReader(b))
	doc.ImageOptions("logo", 0, 0, 10, 10, false, options, 0, "")
	raw, objects, err := output(doc)
	if err != nil {
		return nil, fmt.Errorf("statements: the logo: %w", err)
	}
	before, _, ok := bytes.Cut(raw, []byte(" Do Q"))
	at := bytes.LastIndexByte(before, '/')
	if !ok || at < 0 {
		return nil, fmt.Errorf("statements: the logo: gofpdf drew none")
	}
	p, err := takePart(raw, objects, string(before[at:]))
	if err != nil {
		return nil, fmt.Errorf("statements: the logo: %w", err)
	}
	if len(p) > 1 { // the second object is its transparency
		if err := p.repack(); err != nil {
			return nil, fmt.Errorf("statements: the logo: %w", err)
		}
	}
	return &logo{p, float64(config.Width), float64(config.Height)}, nil
}

// drawLogo draws the logo into a box, as large as its shape allows, at the left.
func (p *press) drawLogo(on *page, x, y, w, h float64) {
	scale := min(w/p.logo.width, h/p.logo.height)
	w, h = p.logo.width*scale, p.logo.height*scale
	on.begin(&element{kind: "Figure", alt: p.biller.Name})
	on.mark()
	on.ops = append(on.ops, "q "...)
	on.numbers(w, 0, 0, h, x, pageHeight-y-h)
	on.ops = append(on.ops, "cm/L Do Q\n"...)
	on.artifact()
}

func utf16Of(s string) []uint16 { return utf16.Encode([]rune(s)) }
