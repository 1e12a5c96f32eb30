// Package rehearsal plays stories: scenario files, in which one account's life
// is told day by day with the figures that must stand after each step, and the
// demo, a synthetic biller lived through night by night.
//
// Both go through the house's own doors: feeds and bank files are written and
// taken in as a user's would be, and the real jobs run in a scratch database.
// There is no second implementation of any rule here. A biller plays scenarios
// of its own to try a change of policy before it goes live.
package rehearsal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Scenario is a story in a file.
type Scenario struct {
	ID       string                     `json:"id"`
	Title    string                     `json:"title"`
	Note     string                     `json:"note"`
	Policy   json.RawMessage            `json:"policy"`
	Accounts map[string]ScenarioAccount `json:"accounts"`
	Steps    []Step                     `json:"steps"`

	policy billing.Policy
	file   string
}

// ScenarioAccount is how an account stands before the first step.
type ScenarioAccount struct {
	Autopay *struct {
		Method string `json:"method"`
	} `json:"autopay"`
	State         string        `json:"state"` // of the member's address, CA if not given
	Plan          string        `json:"plan"`  // that covers the member from the month of the first step on, if one is named
	OpeningCredit ledger.Cents  `json:"opening_credit"`
	LastDebit     *ledger.Cents `json:"last_debit"`
}

// Step is one thing that happens, a run of jobs, or a look at the figures.
type Step struct {
	Date    calendar.Date
	At      string
	Account string
	Verb    string          // "" for none
	Fields  json.RawMessage // of the verb
	Run     []string
	Expect  map[string]json.RawMessage
}

// UnmarshalJSON reads a step: what is neither known nor a note is its verb.
func (s *Step) UnmarshalJSON(b []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return err
	}
	s.Account = "A"
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		var err error
		switch raw := keys[key]; key {
		case "date":
			err = json.Unmarshal(raw, &s.Date)
		case "at":
			err = json.Unmarshal(raw, &s.At)
		case "account":
			err = json.Unmarshal(raw, &s.Account)
		case "run":
			err = json.Unmarshal(raw, &s.Run)
		case "expect":
			err = json.Unmarshal(raw, &s.Expect)
		case "note":
		default:
			if s.Verb != "" {
				return fmt.Errorf("a step has one verb, found %s and %s", s.Verb, key)
			}
			s.Verb, s.Fields = key, raw
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if s.Date.IsZero() {
		return fmt.Errorf("a step needs a date")
	}
	return nil
}

// Open reads scenario files; a folder stands for its *.json.
func Open(paths ...string) ([]*Scenario, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		inside, err := fs.Glob(os.DirFS(path), "*.json")
		if err != nil {
			return nil, err
		}
		if len(inside) == 0 {
			return nil, fmt.Errorf("%s holds no scenario (*.json)", path)
		}
		for _, name := range inside {
			files = append(files, filepath.Join(path, name))
		}
	}
	var out []*Scenario
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		s.file = file
		out = append(out, s)
	}
	return out, nil
}

// Parse reads one scenario.
func Parse(b []byte) (*Scenario, error) {
	s := &Scenario{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, err
	}
	if s.ID == "" || len(s.Steps) == 0 {
		return nil, fmt.Errorf("a scenario needs an id and steps")
	}
	var err error
	if s.policy, err = billing.ParsePolicy(s.Policy); err != nil {
		return nil, err
	}
	if len(s.Accounts) == 0 {
		s.Accounts = map[string]ScenarioAccount{"A": {}}
	}
	for n, step := range s.Steps {
		if _, ok := s.Accounts[step.Account]; !ok {
			return nil, fmt.Errorf("step %d is about account %s, which the story does not have", n+1, step.Account)
		}
	}
	return s, nil
}

// fields decodes a verb's fields strictly.
func fields[T any](raw json.RawMessage) (v T, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err = d.Decode(&v)
	return v, err
}

// csv writes a feed file in memory.
func csv(header string, rows ...[]string) *strings.Reader {
	var b strings.Builder
	b.WriteString(header + "\n")
	for _, row := range rows {
		for n, field := range row {
			if n > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + strings.ReplaceAll(field, `"`, `""`) + `"`)
		}
		b.WriteByte('\n')
	}
	return strings.NewReader(b.String())
}
