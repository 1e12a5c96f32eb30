package billcycle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/billcycle/billcycle"

// floors is the house: ARCHITECTURE.md draws it. A new room gets its floor
// here first.
var floors = map[string]int{
	"cmd":        6,
	"console":    5,
	"rehearsal":  5,
	"bench":      5,
	"watch":      5,
	"jobs":       4,
	"fixtures":   4,
	"statements": 3,
	"lockbox":    3,
	"ach":        3,
	"cards":      3,
	"notices":    3,
	"billing":    2,
	"delivery":   2,
	"ledger":     1,
	"calendar":   0,
	"postgres":   0,
	"secret":     0,
}

const river = "github.com/riverqueue/river"

// doors says which room alone knows an outside thing, by the beginning of its
// import path. bench may know each of them: the floor under a stage is the
// library itself, at the same work. postgres may know River, whose tables it lays
// beside ours.
var doors = map[string]string{
	"github.com/jung-kurt/gofpdf":    "statements",
	"github.com/moov-io":             "ach",
	"github.com/robfig/cron":         "jobs",
	river:                            "jobs",
	"github.com/pressly/goose":       "postgres",
	"github.com/tink-crypto/tink-go": "secret",
	"github.com/spf13/cobra":         "cmd",
	"github.com/prometheus":          "watch",
	"github.com/spf13/pflag":         "cmd",
	"github.com/pkg/sftp":            "delivery",
	"golang.org/x/crypto/ssh":        "delivery",
	"github.com/ProtonMail":          "delivery",
	"github.com/minio/minio-go":      "delivery",
}

// outside are the programs that may ask the clock and end the process.
var outside = []string{"cmd", "postgres/throwaway"}

// forbiddenNames say nothing about what a package holds.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "type", "types", "misc", "shared", "base"}

// moneyRooms count and never measure: they have no use for a float.
var moneyRooms = []string{"calendar", "ledger", "billing", "lockbox", "ach", "cards", "jobs"}

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string // without the tests
	Imports    []string // of GoFiles
}

// path is the package's folder in the module: billing, postgres/throwaway.
func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// roomOf is the first folder of an import path of ours, "" for any other's.
func roomOf(importPath string) string {
	path, ours := strings.CutPrefix(importPath, module+"/")
	if !ours {
		return ""
	}
	room, _, _ := strings.Cut(path, "/")
	return room
}

func house(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports", "./...")
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(said)); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	// go test keeps a result until a file or folder that the test has opened
	// changes, and knows nothing of what go list opens.
	for _, p := range packages {
		if _, err := os.ReadDir(p.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages: the house is larger", len(packages))
	}
	return packages
}

func TestArrowsPointDown(t *testing.T) {
	for _, p := range house(t) {
		report(t, wrongImports(p))
	}
}

func wrongImports(p goPackage) (wrong []string) {
	if p.path() == "" {
		return nil // this package
	}
	room := roomOf(p.ImportPath)
	floor, known := floors[room]
	if !known {
		return []string{fmt.Sprintf("%s: the house has no room %q: give it a floor in ARCHITECTURE.md and in house_test.go", p.path(), room)}
	}
	for _, imported := range p.Imports {
		to := roomOf(imported)
		if to != "" && to != room && floors[to] >= floor {
			wrong = append(wrong, fmt.Sprintf("%s (floor %d) imports %s (floor %d): arrows point down, and rooms on one floor never import each other",
				p.path(), floor, to, floors[to]))
		}
		if strings.HasSuffix(imported, "/postgrestest") {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: only tests need test databases", p.path(), imported))
		}
	}
	return wrong
}

func TestOneDoor(t *testing.T) {
	for _, p := range house(t) {
		report(t, wrongDoors(p))
	}
}

func wrongDoors(p goPackage) (wrong []string) {
	room := roomOf(p.ImportPath)
	for _, imported := range p.Imports {
		for thing, door := range doors {
			if (imported == thing || strings.HasPrefix(imported, thing+"/")) && room != door && room != "bench" && !(room == "postgres" && thing == river) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s: one door for each outside thing, and the door to this one is %s", p.path(), imported, door))
			}
		}
	}
	return wrong
}

func TestPackageNames(t *testing.T) {
	for _, p := range house(t) {
		if slices.Contains(forbiddenNames, p.Name) {
			t.Errorf("%s: no package is called %s: name it for what it does", p.path(), p.Name)
		}
	}
}

func TestClockStaysOutside(t *testing.T) {
	eachFile(t, func(p goPackage, file *ast.File) []string {
		if inside(p.path(), outside) {
			return nil
		}
		return clockAndExit(file)
	})
}

// clockAndExit finds who asks the clock or ends the process.
func clockAndExit(file *ast.File) (wrong []string) {
	forbidden := map[string][]string{
		"time": {"Now", "Since", "Until"},
		"os":   {"Exit"},
		"log":  {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
	}
	names := importNames(file)
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && slices.Contains(forbidden[names[x.Name]], s.Sel.Name) {
			wrong = append(wrong, fmt.Sprintf("%s.%s: only cmd reads a clock or ends the process; everything below it is given its date", names[x.Name], s.Sel.Name))
		}
		return true
	})
	return wrong
}

// importNames maps the names that a file gives to its imports to their paths.
func importNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, i := range file.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		names[name] = path
	}
	return names
}

func TestMoneyIsNeverFloat(t *testing.T) {
	eachFile(t, func(p goPackage, file *ast.File) []string {
		return floatMoney(file, inside(p.path(), moneyRooms))
	})
}

// floatMoney finds floats in a room of money, and elsewhere conversions of
// something that is called cents.
func floatMoney(file *ast.File, moneyRoom bool) (wrong []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if moneyRoom && (isFloat(n) || n.Name == "ParseFloat") {
				wrong = append(wrong, n.Name+": this room counts money, in integer cents; there are no floats in it")
			}
		case *ast.CallExpr:
			if to, ok := n.Fun.(*ast.Ident); ok && !moneyRoom && isFloat(to) && len(n.Args) == 1 && speaksOfCents(n.Args[0]) {
				wrong = append(wrong, to.Name+"(cents): money is never a float")
			}
		}
		return true
	})
	return wrong
}

func isFloat(i *ast.Ident) bool { return i.Name == "float64" || i.Name == "float32" }

func speaksOfCents(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if i, ok := n.(*ast.Ident); ok && strings.Contains(strings.ToLower(i.Name), "cents") {
			found = true
		}
		return true
	})
	return found
}

// TestTheRulesBite holds the rules against houses that break them, so that a
// rule which no longer sees anything fails here.
func TestTheRulesBite(t *testing.T) {
	imports := func(path string, imported ...string) goPackage {
		return goPackage{ImportPath: module + "/" + path, Imports: imported}
	}
	for _, c := range []struct {
		name string
		got  []string
		want string // a part of the only message, "" for none
	}{
		{"down", wrongImports(imports("jobs", module+"/billing", "os")), ""},
		{"own subfolder", wrongImports(imports("postgres/throwaway", module+"/postgres")), ""},
		{"up", wrongImports(imports("ledger", module+"/billing")), "ledger (floor 1) imports billing (floor 2): arrows point down"},
		{"sideways", wrongImports(imports("ach", module+"/lockbox")), "never import each other"},
		{"unknown room", wrongImports(imports("attic/box")), `no room "attic"`},
		{"test database", wrongImports(imports("billing", module+"/postgres/postgrestest")), "only tests"},
		{"its door", wrongDoors(imports("ach", "github.com/moov-io/base")), ""},
		{"floor of a stage", wrongDoors(imports("bench", "github.com/jung-kurt/gofpdf")), ""},
		{"another's door", wrongDoors(imports("billing", "github.com/moov-io/ach")), "the door to this one is ach"},
		{"library's subfolder", wrongDoors(imports("jobs", "github.com/tink-crypto/tink-go/v2/aead")), "the door to this one is secret"},
		{"clock", clockAndExit(parse(t, `import "time"; var x = time.Now()`)), "only cmd reads a clock"},
		{"clock as a value", clockAndExit(parse(t, `import "time"; var x = time.Since`)), "time.Since"},
		{"renamed", clockAndExit(parse(t, `import system "os"; func f() { system.Exit(1) }`)), "os.Exit"},
		{"somebody else's Now", clockAndExit(parse(t, `import "example.com/time2"; var x = time2.Now()`)), ""},
		{"timer", clockAndExit(parse(t, `import "time"; var x = time.After(time.Second)`)), ""},
		{"float in a room of money", floatMoney(parse(t, `type rate float64`), true), "there are no floats"},
		{"float on a page", floatMoney(parse(t, `var x = float64(width)`), false), ""},
		{"cents on a page", floatMoney(parse(t, `var x = float64(bill.AmountCents) / 100`), false), "never a float"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == "" && len(c.got) > 0 {
				t.Errorf("found %q, want nothing", c.got)
			}
			if c.want != "" && (len(c.got) != 1 || !strings.Contains(c.got[0], c.want)) {
				t.Errorf("found %q, want one that says %q", c.got, c.want)
			}
		})
	}
}

func parse(t *testing.T, code string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+code, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// eachFile holds a rule against every file of the house but the tests.
func eachFile(t *testing.T, rule func(goPackage, *ast.File) []string) {
	t.Helper()
	for _, p := range house(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, w := range rule(p, file) {
				t.Errorf("%s: %s", filepath.Join(p.path(), name), w)
			}
		}
	}
}

// inside says whether a folder is one of those or below one.
func inside(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

func report(t *testing.T, wrong []string) {
	t.Helper()
	for _, w := range wrong {
		t.Error(w)
	}
}

// TestSetupLooksWhereWeLook: setup.sh installs PostgreSQL if it finds none, so
// it has to look into the folders that postgres will look into.
func TestSetupLooksWhereWeLook(t *testing.T) {
	setup, err := os.ReadFile("setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "postgres/programs.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "programFolders" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			folder, err := strconv.Unquote(e.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if !strings.Contains(string(setup), folder) {
				t.Errorf("setup.sh does not look into %s, postgres/programs.go does", folder)
			}
		}
		return false
	})
	if found == 0 {
		t.Error("found no programFolders in postgres/programs.go")
	}
}
