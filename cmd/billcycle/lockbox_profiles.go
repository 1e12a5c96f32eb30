package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/lockbox"
)

// layouts returns the biller's own layouts, which lie in its directory, and the
// built-in ones.
func (p *program) layouts() ([]lockbox.Profile, error) {
	layouts, err := lockbox.LoadProfiles(filepath.Join(p.data, "profiles"))
	if err != nil {
		return layouts, &configError{err}
	}
	return layouts, nil
}

// returnsLayouts returns the same for files of returned checks.
func (p *program) returnsLayouts() ([]lockbox.ReturnsLayout, error) {
	layouts, err := lockbox.LoadReturnsLayouts(filepath.Join(p.data, "profiles", "returns"))
	if err != nil {
		return layouts, &configError{err}
	}
	return layouts, nil
}

// returnsLayout finds a layout of return files: one of those given, else a file.
func returnsLayout(layouts []lockbox.ReturnsLayout, name string) ([]lockbox.ReturnsLayout, error) {
	if n := slices.IndexFunc(layouts, func(l lockbox.ReturnsLayout) bool { return l.Name == name }); n >= 0 {
		return layouts[n : n+1], nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		var names []string
		for _, l := range layouts {
			names = append(names, l.Name)
		}
		return nil, wrongUsage("there is no layout of return files %q; there are %s; nor is there a file of that name", name, strings.Join(names, ", "))
	}
	if err != nil {
		return nil, noFile(err)
	}
	l, err := lockbox.ParseReturnsLayout(text)
	if err != nil {
		return nil, &configError{err}
	}
	return []lockbox.ReturnsLayout{l}, nil
}

// profileLine is a profile as `lockbox profiles` lists it.
type profileLine struct {
	Name   string   `json:"name"`
	Format string   `json:"format"` // "returns" for files of returned checks
	Doc    string   `json:"doc"`
	Errors []string `json:"errors"`           // of a file that describes one
	Layout any      `json:"layout,omitempty"` // the whole profile, of one that was asked for
}

func (p *program) lockboxProfilesCommand() *cobra.Command {
	return p.command(command{
		use:   "profiles [NAME|FILE]...",
		short: "List the layouts of lockbox files, show one, or check one of your own",
		example: `  billcycle lockbox profiles
  billcycle lockbox profiles bai-a
  billcycle lockbox profiles ours.json`,
		long: `List the layouts of lockbox files and of files of returned checks, the biller's own
first, and say what is wrong with one that can't be used. By its name, show one in
full, to start another from. A bank whose layout differs gets one of its own: a JSON
file such as {"name": "ours", "like": "bai-b", "payer": ["4.invoice"]} in the folder
profiles/ of the data directory (of returned checks in profiles/returns/), or named
with --profile. With a file, check it. Exit code 78 if anything is wrong.`,
		run: func(_ context.Context, args []string) error {
			layouts, wrong1 := p.layouts()
			returned, wrong2 := p.returnsLayouts()
			lines := []profileLine{}
			if len(args) == 0 {
				lines = listProfiles(layouts, returned, errors.Join(wrong1, wrong2))
			}
			for _, name := range args {
				line, err := showProfile(layouts, returned, name)
				if err != nil {
					return err
				}
				lines = append(lines, line)
			}
			for _, l := range lines {
				if len(l.Errors) > 0 {
					p.code = exitConfig
				}
			}
			return p.answer(struct {
				Profiles []profileLine `json:"profiles"`
			}{lines}, func(w *page) { writeProfiles(w, lines) })
		},
	})
}

func listProfiles(layouts []lockbox.Profile, returned []lockbox.ReturnsLayout, wrong error) (lines []profileLine) {
	for _, profile := range layouts {
		lines = append(lines, describeProfile(profile))
	}
	for _, l := range returned {
		lines = append(lines, describeReturns(l))
	}
	if wrong != nil {
		lines = append(lines, profileLine{Name: "profiles", Doc: "cannot be used:", Errors: strings.Split(wrong.Error(), "\n")})
	}
	return lines
}

// showProfile describes a profile in full: one that is known by its name, or a
// file that describes one, with what is wrong with it.
func showProfile(layouts []lockbox.Profile, returned []lockbox.ReturnsLayout, name string) (profileLine, error) {
	if profile, err := lockbox.ProfileNamed(layouts, name); err == nil {
		line := describeProfile(profile)
		line.Layout = profile
		return line, nil
	}
	if n := slices.IndexFunc(returned, func(l lockbox.ReturnsLayout) bool { return l.Name == name }); n >= 0 {
		line := describeReturns(returned[n])
		line.Layout = returned[n]
		return line, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		_, unknown := lockbox.ProfileNamed(layouts, name)
		return profileLine{}, wrongUsage("%w; nor is there a file of that name", unknown)
	}
	if err != nil {
		return profileLine{}, noFile(err)
	}
	var keys map[string]json.RawMessage
	var line profileLine
	if json.Unmarshal(text, &keys) == nil && keys["reasons"] != nil {
		var l lockbox.ReturnsLayout
		l, err = lockbox.ParseReturnsLayout(text)
		line = describeReturns(l)
	} else {
		var profile lockbox.Profile
		profile, err = lockbox.ParseProfile(text)
		line = describeProfile(profile)
	}
	if err != nil {
		line = profileLine{Name: name, Errors: strings.Split(err.Error(), "\n")}
	}
	return line, nil
}

func describeProfile(p lockbox.Profile) profileLine {
	return profileLine{Name: p.Name, Format: cmp.Or(p.Format, "bai"), Doc: p.Doc, Errors: []string{}}
}

func describeReturns(l lockbox.ReturnsLayout) profileLine {
	return profileLine{Name: l.Name, Format: "returns", Doc: "CSV of checks that came back, amounts in " + l.Amounts + ".", Errors: []string{}}
}

func writeProfiles(w *page, lines []profileLine) {
	for _, l := range lines {
		w.line("%s\t%s\t%s", l.Name, l.Format, l.Doc)
		for _, problem := range l.Errors {
			w.line("  %s", problem)
		}
		if l.Layout != nil {
			if text, err := json.MarshalIndent(l.Layout, "", "  "); err == nil {
				w.line("%s", text)
			}
		}
	}
}
