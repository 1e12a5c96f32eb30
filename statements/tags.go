package statements

import (
	"encoding/xml"
	"strconv"
	"strings"
)

// An accessible file says of each piece of its pages what it is: a heading, a
// paragraph, a cell of a table. The pieces are numbered on each page; elements
// name them in the order in which they are to be read. What is no element is an
// artifact: lines, colors and all that a reader has no use for.

// tags are the elements of an accessible file.
type tags struct {
	root   element
	inner  *element     // where the next element goes
	pieces [][]*element // by page and number, whose they are
}

// element is one thing that is read.
type element struct {
	kind   string // of PDF's standard structure types
	alt    string // what it shows, for a figure
	scope  string // of a header cell: Column or Row
	span   int    // columns that it covers, if more than one
	parent *element
	kids   []kid
}

// kid is an element, or the piece with a number on a page.
type kid struct {
	element      *element
	page, number int
}

func newTags() *tags {
	t := &tags{root: element{kind: "Document"}}
	t.inner = &t.root
	return t
}

// tag begins an element: what is drawn from now on belongs to it.
func (p *page) tag(kind string) { p.begin(&element{kind: kind}) }

func (p *page) begin(e *element) {
	if p.tags == nil {
		return
	}
	e.parent = p.tags.inner
	e.parent.kids = append(e.parent.kids, kid{element: e})
	p.leave()
	p.open = e
}

// artifact ends the element: what is drawn from now on is decoration.
func (p *page) artifact() {
	if p.tags == nil || p.open == nil {
		return
	}
	p.leave()
	p.open = nil
}

// group begins an element that holds others, ungroup ends it.
func (p *page) group(kind string) {
	if p.tags == nil {
		return
	}
	p.artifact()
	e := &element{kind: kind, parent: p.tags.inner}
	e.parent.kids = append(e.parent.kids, kid{element: e})
	p.tags.inner = e
}

func (p *page) ungroup() {
	if p.tags == nil {
		return
	}
	p.artifact()
	p.tags.inner = p.tags.inner.parent
}

// header begins a header cell.
func (p *page) header(scope string) { p.begin(&element{kind: "TH", scope: scope}) }

// mark writes that a piece begins, if one does.
func (p *page) mark() {
	if p.tags == nil || p.marked {
		return
	}
	p.marked = true
	if p.open == nil {
		p.ops = append(p.ops, "/Artifact BMC\n"...)
		return
	}
	n := len(p.tags.pieces) - 1
	number := len(p.tags.pieces[n])
	p.tags.pieces[n] = append(p.tags.pieces[n], p.open)
	p.open.kids = append(p.open.kids, kid{page: n, number: number})
	p.ops = append(append(append(p.ops, '/'), p.open.kind...), "<</MCID "...)
	p.ops = append(strconv.AppendInt(p.ops, int64(number), 10), ">>BDC\n"...)
}

// leave writes that a piece ends, if one has begun.
func (p *page) leave() {
	if p.marked {
		p.ops = append(p.ops, "EMC\n"...)
		p.marked = false
	}
}

// structure writes what the pieces of the pages are.
func (f *file) structure(t *tags) {
	f.tree = f.reserve()
	f.xmp = f.reserve()
	numbers := map[*element]int{}
	var number func(e *element)
	number = func(e *element) {
		numbers[e] = f.reserve()
		for _, k := range e.kids {
			if k.element != nil {
				number(k.element)
			}
		}
	}
	number(&t.root)
	f.object(f.tree)
	f.put("<</Type/StructTreeRoot/K ")
	f.ref(numbers[&t.root])
	f.put("/ParentTree<</Nums[")
	for page, pieces := range t.pieces {
		f.out = strconv.AppendInt(f.out, int64(page), 10)
		f.put("[")
		for _, e := range pieces {
			f.ref(numbers[e])
			f.put(" ")
		}
		f.put("]")
	}
	f.put("]>>>>\nendobj\n")
	f.element(&t.root, f.tree, numbers)
	f.metadata()
}

// element writes an element and those within it.
func (f *file) element(e *element, parent int, numbers map[*element]int) {
	f.object(numbers[e])
	f.put("<</Type/StructElem/S/" + e.kind + "/P ")
	f.ref(parent)
	if e.alt != "" {
		f.put("/Alt")
		f.text(e.alt)
	}
	if e.scope != "" {
		f.put("/A<</O/Table/Scope/" + e.scope)
		if e.span > 1 {
			f.put("/ColSpan " + strconv.Itoa(e.span))
		}
		f.put(">>")
	}
	f.put("/K[")
	for _, k := range e.kids {
		if k.element != nil {
			f.ref(numbers[k.element])
			f.put(" ")
			continue
		}
		f.put("<</Type/MCR/Pg ")
		f.ref(f.kids[k.page])
		f.put("/MCID ")
		f.out = strconv.AppendInt(f.out, int64(k.number), 10)
		f.put(">>")
	}
	f.put("]>>\nendobj\n")
	for _, k := range e.kids {
		if k.element != nil {
			f.element(k.element, numbers[e], numbers)
		}
	}
}

// metadata writes what says that the file is meant to follow PDF/UA.
func (f *file) metadata() {
	var xmp strings.Builder
	xmp.WriteString("<?xpacket begin=\"\xEF\xBB\xBF\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n" +
		`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" xmlns:dc="http://purl.org/dc/elements/1.1/">` +
		`<pdfuaid:part>1</pdfuaid:part><dc:title><rdf:Alt><rdf:li xml:lang="x-default">`)
	xml.EscapeText(&xmp, []byte(f.title)) // into memory: there is no error
	xmp.WriteString("</rdf:li></rdf:Alt></dc:title></rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"r\"?>")
	f.object(f.xmp)
	f.put("<</Type/Metadata/Subtype/XML/Length " + strconv.Itoa(xmp.Len()) + ">>\nstream\n" + xmp.String() + "\nendstream\nendobj\n")
}
