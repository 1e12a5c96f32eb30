package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	execStart = regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/billcycle (.*)$`)
	execForm  = regexp.MustCompile(`(?m)^(?:CMD|\s*command:) \[(.*)\]$`)
	cronLine  = regexp.MustCompile(`(?m)^30 3 \* \* \* +billcycle (.*)$`)
)

// What the units, the image, the compose file and the crontab line start is
// there, with the flags that they give.
func TestDeployStartsWhatThereIs(t *testing.T) {
	files, err := filepath.Glob("../../deploy/*")
	if err != nil || len(files) < 6 {
		t.Fatalf("deploy/ holds %v, %v", files, err)
	}
	started := 0
	for _, file := range append(files, "../../docs/operations.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines [][]string
		for _, m := range append(execStart.FindAllStringSubmatch(string(text), -1), cronLine.FindAllStringSubmatch(string(text), -1)...) {
			lines = append(lines, strings.Fields(m[1]))
		}
		for _, m := range execForm.FindAllStringSubmatch(string(text), -1) {
			lines = append(lines, strings.Fields(strings.NewReplacer(`"`, "", ",", " ").Replace(m[1])))
		}
		for _, line := range lines {
			started++
			c, rest, err := (&program{}).root().Find(line)
			if err != nil || c.Name() != line[0] {
				t.Errorf("%s: %v: %v", file, line, err)
			} else if err := c.ParseFlags(rest); err != nil || c.Flags().NArg() > 0 {
				t.Errorf("%s: %v: %v", file, line, err)
			}
		}
	}
	if started != 5 {
		t.Errorf("found %d commands, want those of two units, an image, a worker and a crontab", started)
	}
}
