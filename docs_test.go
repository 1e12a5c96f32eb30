package billcycle_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
)

// What the papers say must be so: their examples work, every policy key is in
// them, and no link leads nowhere.

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

// example returns the first JSON example of a paper.
func example(t *testing.T, path string) []byte {
	t.Helper()
	found := jsonBlock.FindSubmatch(read(t, path))
	if found == nil {
		t.Fatalf("%s has no JSON example", path)
	}
	return found[1]
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPolicyPaper(t *testing.T) {
	if _, err := billing.ParsePolicy(example(t, "docs/policy.md")); err != nil {
		t.Errorf("the example of docs/policy.md: %v", err)
	}
	text, err := json.Marshal(billing.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	var policy map[string]json.RawMessage
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	paper := string(read(t, "docs/policy.md"))
	for section, value := range policy {
		keys := []string{section}
		var inside map[string]json.RawMessage
		if json.Unmarshal(value, &inside) == nil {
			keys = nil
			for key := range inside {
				keys = append(keys, section+"."+key)
			}
		}
		for _, key := range keys {
			if !strings.Contains(paper, "`"+key+"`") {
				t.Errorf("docs/policy.md says nothing of %s", key)
			}
		}
	}
}

// TestJobsPaper holds the table of jobs in docs/operations.md against the real
// one: the same jobs in the same order.
func TestJobsPaper(t *testing.T) {
	var want, got []string
	for _, j := range jobs.Jobs() {
		want = append(want, j.Name)
	}
	_, table, _ := strings.Cut(string(read(t, "docs/operations.md")), "| job | what it does |\n|---|---|\n")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			break
		}
		got = append(got, strings.Split(line, "`")[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/operations.md lists the jobs %v, the night has %v", got, want)
	}
}

func TestLockboxPaper(t *testing.T) {
	profile, err := lockbox.ParseProfile(example(t, "docs/lockbox.md"))
	if err != nil {
		t.Fatalf("the example of docs/lockbox.md: %v", err)
	}
	if _, ok := profile.Records["6"]["received_date"]; !ok {
		t.Error("the example of docs/lockbox.md has lost its received date")
	}
	paper := read(t, "docs/lockbox.md")
	for _, block := range jsonBlock.FindAllSubmatch(paper, -1) {
		if _, err := lockbox.ParseProfile(block[1]); err != nil {
			t.Errorf("an example of docs/lockbox.md: %v", err)
		}
	}
	for _, p := range lockbox.Profiles() {
		if !strings.Contains(string(paper), "`"+p.Name+"`") {
			t.Errorf("docs/lockbox.md says nothing of the profile %s", p.Name)
		}
	}
}

func TestScenarioPapers(t *testing.T) {
	for _, path := range []string{"docs/scenarios.md", "docs/our-new-fee.json"} {
		text := read(t, path)
		if filepath.Ext(path) == ".md" {
			text = example(t, path)
		}
		story, err := rehearsal.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		failures, err := rehearsal.PlayOn(t.Context(), postgrestest.New(t), story)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, f := range failures {
			t.Errorf("%s, step %d, %s: says %s, it is %s", path, f.Step, f.Key, f.Want, f.Got)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)]+)\)|src="([^"]+)"`)

func TestLinks(t *testing.T) {
	papers, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, paper := range append(papers, more...) {
		for _, found := range link.FindAllStringSubmatch(string(read(t, paper)), -1) {
			to := found[1] + found[2]
			if strings.Contains(to, "://") {
				continue
			}
			links++
			path, _, _ := strings.Cut(to, "#")
			if _, err := os.Stat(filepath.Join(filepath.Dir(paper), path)); err != nil {
				t.Errorf("%s links to %s, which is not there", paper, to)
			}
		}
	}
	if links == 0 {
		t.Error("found no link in any paper")
	}
}
