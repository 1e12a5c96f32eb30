package statements

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
)

// tool runs one of the programs that `make test` installs: what other people's
// software makes of our files is what counts.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func kept(t *testing.T, name string, pdf []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".pdf")
	if err := os.WriteFile(path, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// accepted has two readers of other people look whether a file is whole.
func accepted(t *testing.T, path string) {
	t.Helper()
	tool(t, "qpdf", "--check", path)
	api.DisableConfigDir()
	if err := api.ValidateFile(path, model.NewDefaultConfiguration()); err != nil {
		t.Errorf("pdfcpu: %v", err)
	}
}

// bundled puts statements into a bundle, each with marks of its own, as many as
// it has sheets.
func bundled(t *testing.T, all ...Statement) ([]byte, []Placed) {
	t.Helper()
	var out bytes.Buffer
	var placed []Placed
	b := NewRenderer().NewBundle(&out, "Bundle 1", sample().Date)
	for i := range all {
		marks := Marks{IMb: testIMb, Sheets: []Matrix{testMatrix(i)}}
		at, err := b.Add(&all[i], marks)
		if more := (*SheetsError)(nil); errors.As(err, &more) {
			for n := 1; n < more.Sheets; n++ {
				marks.Sheets = append(marks.Sheets, testMatrix(i+n))
			}
			at, err = b.Add(&all[i], marks)
		}
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, at)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), placed
}

const testIMb = "AADTFFDFTDADTAADAATFDTDDAAADDTDTTDAFADADDDTFFFDDTTTADFAAADFTDAADA"

func testMatrix(seed int) Matrix {
	m := Matrix{Size: 18, Dark: make([]bool, 18*18)}
	for i := range m.Dark {
		m.Dark[i] = i%18 == 0 || i/18 == 17 || (i*7+seed)%3 == 0
	}
	return m
}

// Every file is whole by qpdf and pdfcpu: single ones, accessible ones, and
// bundles.
func TestOthersAcceptEveryFile(t *testing.T) {
	var mailed []Statement
	for name, s := range variants() {
		accepted(t, kept(t, name, render(t, s)))
		tagged, err := NewRenderer().RenderAccessible(s)
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, kept(t, name, tagged))
		if name != "empty" && name != "long-names" {
			mailed = append(mailed, s)
		}
	}
	b, placed := bundled(t, mailed...)
	path := kept(t, "bundle", b)
	accepted(t, path)
	last := placed[len(placed)-1]
	if got, want := strings.TrimSpace(tool(t, "qpdf", "--show-npages", path)), last.FirstPage+last.Pages-1; got != strconv.Itoa(want) {
		t.Errorf("the bundle has %s pages, its pieces %d", got, want)
	}
	for i, at := range placed {
		if at.FirstPage%2 != 1 || at.Pages%2 != 0 || at.Sheets*2 != at.Pages {
			t.Errorf("piece %d is at %+v, not on sheets of its own", i, at)
		}
		text := tool(t, "pdftotext", "-f", strconv.Itoa(at.FirstPage), "-l", strconv.Itoa(at.FirstPage+at.Pages-1), path, "-")
		if want := fmt.Sprintf("%010d", mailed[i].Number); !strings.Contains(text, want) || !strings.Contains(text, string(mailed[i].MRN)) {
			t.Errorf("the pages of piece %d do not name statement %s", i, want)
		}
	}
	if fonts := tool(t, "pdffonts", path); strings.Contains(fonts, "Helvetica") || strings.Contains(fonts, " no  no") && !strings.Contains(fonts, "yes no  no") {
		t.Errorf("a font of the bundle is not embedded:\n%s", fonts)
	}
}

// The recipient's address and the barcode above it lie in the part of the page
// that the envelope's window always shows, and nothing else does.
func TestAddressLiesInTheWindow(t *testing.T) {
	wordBox := regexp.MustCompile(`<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]*)</word>`)
	four := sample()
	four.To.Lines = []string{"c/o Alta Vista Residences", "1420 Juniper Street Apt 5", "Sacramento CA 95814-2207"}
	for _, s := range []Statement{sample(), four, variants()["past-due"], variants()["spanish"]} {
		b, _ := bundled(t, s)
		path := kept(t, "piece", b)
		window, shown := defaultWindows.To, ""
		for _, m := range wordBox.FindAllStringSubmatch(tool(t, "pdftotext", "-bbox", "-f", "1", "-l", "1", path, "-"), -1) {
			box := [4]float64{}
			for i := range box {
				box[i] = number(t, m[i+1])
			}
			inside := box[0] >= window.X && box[2] <= window.X+window.W && box[1] >= window.Y-0.1 && box[3] <= window.Y+window.H+0.1
			near := box[0] < 300 && box[3] > 120 && box[1] < 230
			if near && !inside {
				t.Errorf("%s at %v is not in the window %+v", m[5], box, window)
			}
			if inside {
				shown += " " + m[5]
			}
		}
		if want := strings.ToUpper(strings.Join(append([]string{s.To.Name}, s.To.Lines...), " ")); shown != " "+want {
			t.Errorf("the window shows %q, want %q", shown, want)
		}
	}
}

// The Intelligent Mail barcode is measured as a sorting machine sees it: 65
// bars, in the widths, heights and the pitch of USPS-B-3200.
func TestIMbIsMeasuredOnThePaper(t *testing.T) {
	const dpi = 600
	b, _ := bundled(t, sample())
	base := filepath.Join(t.TempDir(), "imb")
	w := defaultWindows.To
	at := func(points float64) string { return strconv.Itoa(int(math.Round(points * dpi / 72))) }
	tool(t, "pdftoppm", "-r", strconv.Itoa(dpi), "-f", "1", "-l", "1", "-mono", "-singlefile", "-x", at(w.X-3), "-y", at(w.Y-1), "-W", at(201), "-H", at(13), kept(t, "piece", b), base)
	paper := readBitmap(t, base+".pbm")
	letters, previous := "", -1.0
	for x := 0; x < paper.width; x++ {
		from := x
		for x < paper.width && paper.column(x) {
			x++
		}
		if x == from {
			continue
		}
		top, bottom := paper.extent((from + x) / 2)
		width, height := float64(x-from)/dpi, float64(bottom-top)/dpi
		center := float64(from+x) / 2 / dpi
		if width < 0.015 || width > 0.025 {
			t.Errorf("bar %d is %.4f inch wide", len(letters), width)
		}
		if previous > 0 && math.Abs(center-previous-1.0/24) > 0.003 {
			t.Errorf("bar %d stands %.4f inch after the one before", len(letters), center-previous)
		}
		previous = center
		middle := (1 + barHeight/2) * dpi / 72
		up, down := float64(top) < middle-0.035*dpi, float64(bottom) > middle+0.035*dpi
		kind := map[[2]bool]string{{true, true}: "F", {true, false}: "A", {false, true}: "D", {false, false}: "T"}[[2]bool{up, down}]
		if limit := map[string][2]float64{"F": {0.125, 0.165}, "A": {0.082, 0.111}, "D": {0.082, 0.111}, "T": {0.039, 0.057}}[kind]; height < limit[0] || height > limit[1] {
			t.Errorf("bar %d, a %s, is %.4f inch high", len(letters), kind, height)
		}
		letters += kind
	}
	if letters != testIMb {
		t.Errorf("the bars read %s, want %s", letters, testIMb)
	}
}

// bitmap is a PBM of pdftoppm.
type bitmap struct {
	width, height int
	bits          []byte
}

func readBitmap(t *testing.T, path string) bitmap {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bitmap
	if _, err := fmt.Sscanf(string(raw[:min(len(raw), 40)]), "P4\n%d %d\n", &b.width, &b.height); err != nil {
		t.Fatal(err)
	}
	b.bits = raw[len(raw)-(b.width+7)/8*b.height:]
	return b
}

func (b bitmap) dark(x, y int) bool { return b.bits[y*((b.width+7)/8)+x/8]>>(7-x%8)&1 == 1 }

func (b bitmap) column(x int) bool { top, bottom := b.extent(x); return bottom > top }

func (b bitmap) extent(x int) (top, bottom int) {
	top = b.height
	for y := range b.height {
		if b.dark(x, y) {
			top, bottom = min(top, y), y+1
		}
	}
	return top, bottom
}

// An accessible file is read in the order of the page, tables with their header
// cells, every piece of it either something or an artifact.
func TestAccessibleFile(t *testing.T) {
	s := sample()
	pdf, err := NewRenderer().RenderAccessible(s)
	if err != nil {
		t.Fatal(err)
	}
	path := kept(t, "tagged", pdf)
	if info := tool(t, "pdfinfo", path); !regexp.MustCompile(`Tagged: +yes`).MatchString(info) {
		t.Errorf("not tagged:\n%s", info)
	}
	structure := tool(t, "pdfinfo", "-struct-text", path)
	squeezed := strings.Join(strings.Fields(structure), " ")
	at := 0
	for _, want := range []string{
		`H1 (block) "March 2026 statement`, `"Amount due $762.93`, `"Please pay by March 25, 2026`,
		`H2 (block) "What changed since your last statement`, `Table (block) TR TH: /Scope /Row "Previous balance`, `TD "$673.25`,
		`H2 (block) "For you`, `H2 (block) "Details since your last statement`, `Table (block) TR TH: /Scope /Column "Date`, `/Scope /Column "Amount`,
		`"Premiums`, `TD "$610.75`, `TD "Laboratory panel, deductible`, `TD "$37.18`, `/Scope /Column "Current`, `H2 (block) "Payment coupon`,
		`H2 (block) "About your statement`, `H3 (block) "Help with paying your bill`, `H2 (block) "Change of address`,
	} {
		next := strings.Index(squeezed[at:], want)
		if next < 0 {
			t.Fatalf("%s is not there, or not where it is to be read:\n%s", want, structure)
		}
		at += next
	}
	if fonts := tool(t, "pdffonts", path); strings.Contains(fonts, "Helvetica") {
		t.Errorf("a font is not embedded:\n%s", fonts)
	}
	objects := pdfObjects(t, pdf)
	for n, page := range pageObjects(t, objects) {
		depth := 0
		for line := range strings.Lines(pageStream(t, objects, page)) {
			switch line = strings.TrimSpace(line); {
			case strings.HasSuffix(line, "BDC"), strings.HasSuffix(line, "BMC"):
				depth++
			case line == "EMC":
				depth--
			case strings.HasSuffix(line, " re"), strings.HasSuffix(line, "Tj ET"):
				if depth != 1 {
					t.Fatalf("page %d: %q stands in %d pieces", n+1, line, depth)
				}
			}
		}
		if depth != 0 {
			t.Errorf("page %d: a piece does not end", n+1)
		}
	}
}

// Letters of Latin Extended are shown as themselves, in the window as well.
func TestNamesAreShownAsTheyAreWritten(t *testing.T) {
	s := sample()
	s.To.Name = "Nguyễn Thị Đào"
	s.To.Lines = []string{"Łódzka Ğüneş 12, Dvořák Ņ", "Sacramento CA 95814-2207"}
	s.Groups[0].Lines[0].Member = "Ștefan Ȟérnández"
	b, _ := bundled(t, s)
	for _, pdf := range [][]byte{render(t, s), b} {
		text := tool(t, "pdftotext", kept(t, "names", pdf), "-")
		for _, want := range []string{"NGUYỄN THỊ ĐÀO", "ŁÓDZKA ĞÜNEŞ 12, DVOŘÁK Ņ", "Ștefan Ȟérnández"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
}

// What one statement shows must never be in the file of another: the same
// statement is the same bytes whatever the renderer drew before, and a piece in
// a bundle holds nothing of its neighbors.
func TestNothingOfOneMemberReachesAnother(t *testing.T) {
	secret := sample()
	secret.To = Recipient{Name: "Zebulon Quackenbush", Lines: []string{"99 Xylophone Xing", "Yreka CA 96097"}}
	secret.Groups[1].Lines[0].Description = "Unmistakable charge"
	secret.Biller.Logo = testLogo(t)
	secret.Messages = []string{"Whispered message"}
	other := sample()
	want := render(t, other)
	r := NewRenderer()
	for range 3 {
		if _, err := r.Render(secret); err != nil {
			t.Fatal(err)
		}
		got, err := r.Render(other)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("another statement's bytes after a member's: %v", err)
		}
	}
	b, placed := bundled(t, secret, other, secret)
	path := kept(t, "bundle", b)
	text := tool(t, "pdftotext", "-f", strconv.Itoa(placed[1].FirstPage), "-l", strconv.Itoa(placed[1].FirstPage+placed[1].Pages-1), path, "-")
	for _, word := range []string{"ZEBULON", "Zebulon", "XYLOPHONE", "Unmistakable", "Whispered"} {
		if strings.Contains(text, word) {
			t.Errorf("%s is on another member's pages", word)
		}
	}
}

func testLogo(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../bench/logo.png")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A transparent logo is compressed by the pinned compressor, too.
func TestTransparentLogo(t *testing.T) {
	s := sample()
	s.Biller.Logo = transparentLogo(t)
	pdf := render(t, s)
	path := kept(t, "logo", pdf)
	accepted(t, path)
	if list := tool(t, "pdfimages", "-list", path); !strings.Contains(list, "smask") {
		t.Errorf("the logo has lost its transparency:\n%s", list)
	}
	r, n := NewRenderer(), 0
	for _, object := range pdfObjects(t, pdf) {
		if head, body, _ := bytes.Cut(object, []byte("stream\n")); bytes.Contains(head, []byte("/Subtype /Image")) {
			m := regexp.MustCompile(`/Length (\d+)`).FindSubmatch(head)
			packed := body[:int(number(t, string(m[1])))]
			z, err := zlib.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(r.pack(plain), packed) {
				t.Errorf("%s is not as our compressor makes it: %v", head, err)
			}
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d images, want the logo and its mask", n)
	}
}

func transparentLogo(t *testing.T) []byte {
	t.Helper()
	picture := image.NewNRGBA(image.Rect(0, 0, 120, 30))
	for x := range 120 {
		for y := range 30 {
			picture.SetNRGBA(x, y, color.NRGBA{11, 79, 108, uint8(x * 2)})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The bytes of a renderer's version are written down: whoever changes them, be it
// by another version of a library, raises RendererVersion, so that nobody draws
// an old statement anew and takes it for what it was. The logo that Go's encoder
// makes is not among them.
func TestTheVersionFixesTheBytes(t *testing.T) {
	const golden = "testdata/bytes.txt"
	all := variants()
	lines := []string{fmt.Sprintf("renderer %d", RendererVersion)}
	note := func(name string, pdf []byte) {
		lines = append(lines, fmt.Sprintf("%s %x", name, sha256.Sum256(pdf)))
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		note(name, render(t, all[name]))
	}
	s := sample()
	s.Biller.Logo = testLogo(t)
	note("logo", render(t, s))
	s.Accessible = true
	note("accessible", render(t, s))
	bundle, _ := bundled(t, sample(), all["spanish"], all["long"])
	note("bundle", bundle)
	got := strings.Join(lines, "\n") + "\n"
	want, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	if !*update {
		t.Fatalf("the bytes of statements have changed: raise RendererVersion, then go test -update. Got:\n%s\nwant:\n%s", got, want)
	}
	if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A bundle's bytes follow from its pieces alone.
func TestBundleIsDeterministic(t *testing.T) {
	all := []Statement{sample(), variants()["spanish"], variants()["past-due"]}
	first, _ := bundled(t, all...)
	again, _ := bundled(t, all...)
	if !bytes.Equal(first, again) {
		t.Error("other bytes the next time")
	}
}

// An address of any length is wrapped, then set smaller, down to the smallest
// type that the Postal Service reads, then refused: what is printed is whole.
func TestAddressIsWholeOrRefused(t *testing.T) {
	rows := func(lines ...string) []string { return append(lines, "Sacramento CA 95814-2207") }
	street := "1420 Northwest Juniper Street Boulevard Apartment 5"
	for _, c := range []struct {
		name  string
		lines []string
		fits  bool
		size  float64 // of the type; 0 for any
		rows  int
	}{
		{"Rosa Delgado", rows("1420 Juniper Street Apt 5"), true, 10, 3},
		{"Rosa Delgado", rows("1420 Juniper Street", "Apt 5"), true, 10, 4},
		{"Rosa Delgado", rows(street), true, 10, 4},
		{"Rosa Delgado", rows(street, "Building 12"), true, 8.5, 5},
		{"Maximiliana Wolfeschlegelstein de la Cruz y Montalvo", rows("1420 Juniper Street Apt 5", "Building 12"), true, 0, 5},
		{strings.Repeat("Maximiliana ", 12), rows("1 Main Street"), false, 0, 0},
		{strings.Repeat("W", 90), rows(street), false, 0, 0},
		{"Rosa Delgado", rows(street, street, "Building 12"), false, 0, 0},
	} {
		s := sample()
		s.To.Name, s.To.Lines = c.name, c.lines
		var out bytes.Buffer
		b := NewRenderer().NewBundle(&out, "Bundle 1", s.Date)
		if _, err := b.Add(&s, Marks{IMb: testIMb}); err != nil {
			if _, refused := err.(*AddressError); !refused || c.fits {
				t.Errorf("%q, %q: %v", c.name, c.lines, err)
			}
			continue
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		shown, size, rows := "", 0.0, map[float64]bool{}
		for _, w := range extract(t, out.Bytes()) {
			if win := defaultWindows.To; w.page == 0 && w.x < 300 && w.y > win.Y && w.y < 230 {
				if w.x < win.X || w.x+w.width > win.X+win.W || w.y+0.2*w.size > win.Y+win.H {
					t.Errorf("%q: %q leaves the window", c.name, w.text)
				}
				shown, size, rows[w.y] = shown+w.text, w.size, true
			}
		}
		squeeze := func(s string) string { return strings.ReplaceAll(strings.ToUpper(s), " ", "") }
		if want := squeeze(c.name + strings.Join(c.lines, "")); squeeze(shown) != want {
			t.Errorf("the window shows %q, want %q", shown, want)
		}
		if !c.fits || size < goodType || c.size != 0 && size != c.size || len(rows) != c.rows {
			t.Errorf("%q, %q: %v points in %d lines, want %v in %d", c.name, c.lines, size, len(rows), c.size, c.rows)
		}
	}
}

// An address that no envelope could show is told, not clipped.
func TestBundleRefusesAnAddressThatDoesNotFit(t *testing.T) {
	s := variants()["long-names"]
	var out bytes.Buffer
	b := NewRenderer().NewBundle(&out, "Bundle 1", s.Date)
	_, err := b.Add(&s, Marks{})
	if _, ok := err.(*AddressError); !ok {
		t.Fatalf("%v, want an AddressError", err)
	}
	ordinary := sample()
	if at, err := b.Add(&ordinary, Marks{}); err != nil || at.FirstPage != 1 {
		t.Errorf("the next piece: %+v, %v", at, err)
	}
}

// A name or an address in letters that no font of ours has is told, not mailed
// as question marks; everything Latin, and a question mark itself, is mailed.
func TestBundleRefusesLettersItCannotShow(t *testing.T) {
	for _, c := range []struct {
		name, street, member string
		letter               rune // 0: it is mailed
	}{
		{"王小明", "1 Main St", "Rosa Delgado", '王'},
		{"Rosa Delgado", "1 שדרות", "Rosa Delgado", 'ש'},
		{"Rosa Delgado", "1 Main St", "สมชาย", 'ส'},
		{"Rosa 🙂", "1 Main St", "Rosa Delgado", '🙂'},
		{"R\xffosa", "1 Main St", "Rosa Delgado", '\uFFFD'},
		{"Nguyễn Thị Đào", "Łódzka Ğüneş 12 ½ ¿Qué?", "Ștefan Ȟérnández ĳ ǆ ẞ", 0},
		{"e\u0301 n\u0303 s\u0327\u030c", "ʻOhana\u00a0St – № 5 Apt 5?", "", 0},
	} {
		s := sample()
		s.To.Name, s.To.Lines = c.name, []string{c.street, "Sacramento CA 95814-2207"}
		s.Groups[0].Lines[0].Member = c.member
		_, err := NewRenderer().NewBundle(io.Discard, "Bundle 1", s.Date).Add(&s, Marks{})
		var letters *LettersError
		if errors.As(err, &letters); (letters == nil) != (c.letter == 0) || letters != nil && (letters.Letter != c.letter || !strings.Contains(err.Error(), string(c.letter))) || letters == nil && err != nil {
			t.Errorf("%q, %q, %q: %v, want it to name %q", c.name, c.street, c.member, err, c.letter)
		}
	}
}

// Every letter of Latin-1 and of Latin Extended A, B and Additional has a shape,
// as has what upper case makes of it, but for some that only students of old
// manuscripts know.
func TestEveryLatinLetter(t *testing.T) {
	const old = "ȿɀẜẝẟỺỻỼỽỾỿ"
	for _, block := range [][2]rune{{0xC0, 0x24F}, {0x1E00, 0x1EFF}} {
		for r := block[0]; r <= block[1]; r++ {
			if !unicode.IsLetter(r) || strings.ContainsRune(old, r) {
				continue
			}
			if s := string(r) + strings.ToUpper(string(r)); strange(s) != 0 {
				t.Errorf("%q (%U) is shown as %q", s, r, encode(s))
			}
		}
	}
}
