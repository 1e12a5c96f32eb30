package ach

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// recordTypes counts the records of a file in the simplest way: by the first
// character of its lines, or of every 94 where it has none.
func recordTypes(content []byte) map[byte]int {
	counts := map[byte]int{}
	lines := strings.FieldsFunc(string(content), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 1 {
		lines = nil
		for len(content) > 0 {
			n := min(len(content), recordLength)
			lines, content = append(lines, string(content[:n])), content[n:]
		}
	}
	for _, line := range lines {
		if strings.Trim(line, "9 ") == "" {
			continue
		}
		counts[line[0]]++
		if line[0] == '7' && len(line) > 3 {
			switch line[1:3] {
			case "98":
				counts['C']++
			case "99":
				counts['R']++
			}
		}
	}
	return counts
}

// The library's own test files, good and bad ones: the counts are those of the
// records, or it is said what is wrong; nothing crashes.
func TestInspectTheLibrarysFiles(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moov-io/ach").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, clean := 0, 0
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(dir)), "test"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		rep, err := Inspect(bytes.NewReader(content))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if _, _, err := ReadReturns(bytes.NewReader(content)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, _, err := ReadEntries(bytes.NewReader(content)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		readReject(content)
		if len(rep.Problems) > 0 {
			if rep.Problems[0].String() == "" {
				t.Errorf("%s: a problem without a name", path)
			}
			return nil
		}
		clean++
		counts := recordTypes(content)
		if rep.Batches != counts['5'] || rep.Entries != counts['6'] || len(rep.Returns) != counts['R'] || len(rep.Corrections) != counts['C'] {
			t.Errorf("%s: %d batches, %d entries, %d returns, %d corrections; counted %v", filepath.Base(path), rep.Batches, rep.Entries, len(rep.Returns), len(rep.Corrections), counts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d of them clean", files, clean)
	if files < 100 || clean < 40 {
		t.Errorf("%d files, %d of them clean: the library has more", files, clean)
	}
}
