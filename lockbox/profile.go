// Package lockbox reads what a bank sends about the checks that were mailed to
// its post office box.
//
// # The file
//
// A BAI lockbox file is lines of fixed columns whose first column names the
// record:
//
//	1  header: who sends, to whom, when
//	2  service: what kind of file this is
//	5  a lockbox and its deposit date
//	6  a check (an item)
//	4  an overflow: what did not fit on the check's record, such as the coupons
//	   that came with it
//	7  the end of a batch: how many checks, how much money
//	8  the end of a lockbox: the same over all its batches
//	9  the end of the file: how many lines
//
// Nobody agrees on the columns. So a layout is data, a [Profile], and the code
// knows only what the fields mean. Two nestings are in use, and both are read
// whatever the profile says: one record 5 for a lockbox with several batches
// under it, or one record 5 for each batch.
//
// # What is believed
//
// A bank states every sum twice or three times, and nothing is taken for money
// before the sums agree: record 7 and record 8 are each held against the
// checks themselves, never against each other. Whatever disagrees is a
// [Problem] with its line, what was said and what was found; a problem may
// refuse its batch, refuse the file, or merely be worth telling. Nothing is
// ever corrected in silence.
//
// [Read] keeps one batch in memory at a time. [Recognize] finds the profile by
// the content of a file. [Write] is the other direction, for tests and for a
// synthetic bank.
package lockbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Profile is a bank's layout as data: which columns hold what, and how strictly
// the bank's own figures are taken. Its JSON form has these keys; the built-in
// profiles are written in it and are the best examples.
type Profile struct {
	// Name is what the operator types after --profile.
	Name string `json:"name"`
	// Like names a built-in profile to start from; what stands here then
	// replaces what stands there, field by field. ParseProfile returns the
	// profile complete, without it.
	Like string `json:"like,omitempty"`
	// Doc says in a sentence whose layout this is.
	Doc string `json:"doc,omitempty"`
	// Length is the nominal length of a line in columns. Lines are written in
	// it; a line that is read may be shorter or longer.
	Length int `json:"length,omitempty"`
	// Nesting says how the layout is written: "lockbox" for one record 5 over
	// several batches, "batch" for one over each.
	Nesting string `json:"nesting,omitempty"`
	// Records holds the fields by record type and name: {"6": {"amount": "8-17"}}.
	// A null field takes away what Like brought. A record type that is not
	// listed is not part of the layout.
	Records map[string]map[string]Field `json:"records,omitempty"`
	// Payer lists where the payer may be named, best place first, as
	// record.field: "6.payer", "4.text", "4.invoice".
	Payer []string `json:"payer,omitempty"`
	// NoPayer lists the texts by which the bank says that it found no reference.
	NoPayer []string `json:"no_payer,omitempty"`
	// Counts says what a count that disagrees with the file does: "file"
	// refuses the file, "note" only tells. A count that should not be looked at
	// is left out of Records.
	Counts string `json:"counts,omitempty"`
	// OutOfBalance says what a batch whose total disagrees with its checks
	// refuses: that "batch" or the whole "file".
	OutOfBalance string `json:"out_of_balance,omitempty"`
	// BatchNumbers says where a batch number must be single: on one deposit
	// date of a "lockbox" (the default) or in the whole "file".
	BatchNumbers string `json:"batch_numbers,omitempty"`
	// Origins lists the banks' own ids as record 1 gives them. A profile with
	// origins is recognized by them and never for a file of another bank.
	Origins []string `json:"origins,omitempty"`
	// Pivot is the first two-digit year that belongs to the 1900s; 0 is 70.
	Pivot int `json:"pivot,omitempty"`
}

// Field is where a field stands: columns From to To, counted from 1, both
// included. As text it is "8-17", with the form after a blank where there is
// one: "24-29 YYMMDD" for a date, "8-17 dollars" for an amount with a decimal
// point. An amount without a form is whole cents.
type Field struct {
	From, To int
	Form     string
}

// UnmarshalText reads "8-17" or "24-29 YYMMDD".
func (f *Field) UnmarshalText(text []byte) error {
	columns, form, _ := strings.Cut(string(text), " ")
	from, to, ok := strings.Cut(columns, "-")
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || a < 1 || b < a || b > maxColumns {
		return fmt.Errorf("%q is no field: write its first and last column as in \"8-17\", at most %d", text, maxColumns)
	}
	*f = Field{a, b, form}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String returns the field as it stands in a profile: "24-29 YYMMDD".
func (f Field) String() string {
	s := fmt.Sprintf("%d-%d", f.From, f.To)
	if f.Form != "" {
		s += " " + f.Form
	}
	return s
}

// maxColumns is the widest line a profile may describe.
const maxColumns = 1000

//go:embed profiles/*.json
var profileFiles embed.FS

// builtins are read once; the order is the one in which Recognize prefers them.
var builtins = sync.OnceValue(func() []Profile {
	var ps []Profile
	for _, name := range []string{"bai-a", "bai-b", "bai-c", "bai-b-strict"} {
		text, err := profileFiles.ReadFile("profiles/" + name + ".json")
		if err != nil {
			panic(err)
		}
		p, err := parseProfile(text, ps)
		if err != nil {
			panic(fmt.Sprintf("built-in profile %s: %v", name, err))
		}
		ps = append(ps, p)
	}
	return ps
})

// Profiles returns the built-in profiles, in the order in which Recognize
// should try them: bai-a, bai-b, bai-c, bai-b-strict.
func Profiles() []Profile {
	ps := slices.Clone(builtins())
	for i := range ps {
		ps[i] = ps[i].clone()
	}
	return ps
}

// ProfileNamed returns the profile of that name among ps. The error lists the
// names there are.
func ProfileNamed(ps []Profile, name string) (Profile, error) {
	var names []string
	for _, p := range ps {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("there is no lockbox profile %q; there are %s", name, strings.Join(names, ", "))
}

// ParseProfile reads a profile from JSON. A key that does not exist, a field
// that cannot be read, and whatever Check finds are refused, each with its path.
func ParseProfile(text []byte) (Profile, error) { return parseProfile(text, builtins()) }

func parseProfile(text []byte, known []Profile) (Profile, error) {
	if err := checkKeys(text); err != nil {
		return Profile{}, err
	}
	var named struct{ Name, Like string }
	if err := json.Unmarshal(text, &named); err != nil {
		return Profile{}, fmt.Errorf("profile: %w", err)
	}
	var p Profile
	if named.Like != "" {
		like, err := ProfileNamed(known, named.Like)
		if err != nil {
			return Profile{}, fmt.Errorf("profile %s, key like: %w", named.Name, err)
		}
		p = like.clone()
	}
	records := p.Records
	p.Records, p.Name = nil, ""
	if err := json.Unmarshal(text, &p); err != nil {
		return Profile{}, fmt.Errorf("profile %s: %w", named.Name, err)
	}
	p.Records, p.Like = mergeRecords(records, p.Records), ""
	var errs []error
	for _, problem := range p.Check() {
		errs = append(errs, errors.New(problem.String()))
	}
	return p, errors.Join(errs...)
}

// mergeRecords lays the fields given over those of the profile it is like. A
// null field arrives as the zero Field and takes the old one away.
func mergeRecords(like, given map[string]map[string]Field) map[string]map[string]Field {
	merged := map[string]map[string]Field{}
	for _, layer := range []map[string]map[string]Field{like, given} {
		for record, fields := range layer {
			if fields == nil {
				delete(merged, record)
				continue
			}
			if merged[record] == nil {
				merged[record] = map[string]Field{}
			}
			for name, f := range fields {
				if f == (Field{}) {
					delete(merged[record], name)
				} else {
					merged[record][name] = f
				}
			}
		}
	}
	return merged
}

func (p Profile) clone() Profile {
	records := make(map[string]map[string]Field, len(p.Records))
	for record, fields := range p.Records {
		records[record] = maps.Clone(fields)
	}
	p.Records = records
	p.Payer, p.NoPayer, p.Origins = slices.Clone(p.Payer), slices.Clone(p.NoPayer), slices.Clone(p.Origins)
	return p
}

var profileKeys = []string{"name", "like", "doc", "length", "nesting", "records", "payer", "no_payer", "counts", "out_of_balance", "batch_numbers", "origins", "pivot"}

// checkKeys holds every key against those that exist, before encoding/json can
// swallow one: a misspelt "recieved_date" would cost members late fees.
func checkKeys(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	var top map[string]json.RawMessage
	if err := dec.Decode(&top); err != nil {
		return fmt.Errorf("profile: not a JSON object: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("profile: something follows the JSON object")
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(top)) {
		if !slices.Contains(profileKeys, key) {
			errs = append(errs, fmt.Errorf("profile: there is no key %q; there are %s", key, strings.Join(profileKeys, ", ")))
		}
	}
	var records map[string]map[string]json.RawMessage
	if raw, ok := top["records"]; ok {
		if err := json.Unmarshal(raw, &records); err != nil {
			errs = append(errs, fmt.Errorf("profile: records: want {\"6\": {\"amount\": \"8-17\"}}: %w", err))
		}
	}
	for _, record := range slices.Sorted(maps.Keys(records)) {
		schema := schemaOf(record)
		if schema == nil {
			errs = append(errs, fmt.Errorf("profile: records.%s: there is no such record type; there are 1, 2, 4, 5, 6, 7, 8, 9", record))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(records[record])) {
			var f *Field
			if _, ok := schema[name]; !ok {
				errs = append(errs, fmt.Errorf("profile: records.%s.%s: there is no such field; there are %s",
					record, name, strings.Join(slices.Sorted(maps.Keys(schema)), ", ")))
			} else if err := json.Unmarshal(records[record][name], &f); err != nil {
				errs = append(errs, fmt.Errorf("profile: records.%s.%s: %w", record, name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Check says what is wrong with a profile: a field that a reader cannot do
// without, two fields over one column, a width or a form that cannot be read,
// a key with a value that means nothing. Record and Field of a problem say
// where; nil is a profile that can be used.
func (p Profile) Check() []Problem {
	var ps []Problem
	bad := func(record, field, said, problem string, args ...any) {
		ps = append(ps, Problem{Record: record, Field: field, Said: said, Problem: fmt.Sprintf("profile %s: ", p.Name) + fmt.Sprintf(problem, args...), Refuses: RefusesFile})
	}
	if p.Name == "" || strings.ContainsAny(p.Name, " \t\n/") {
		bad("", "name", p.Name, "a profile needs a name without blanks")
	}
	for _, key := range []struct {
		name, value string
		allowed     []string
	}{
		{"nesting", p.Nesting, []string{"lockbox", "batch"}},
		{"counts", p.Counts, []string{"file", "note"}},
		{"out_of_balance", p.OutOfBalance, []string{"batch", "file"}},
		{"batch_numbers", p.BatchNumbers, []string{"", "lockbox", "file"}},
	} {
		if !slices.Contains(key.allowed, key.value) {
			bad("", key.name, key.value, "must be one of %q", key.allowed)
		}
	}
	if p.Pivot < 0 || p.Pivot > 99 {
		bad("", "pivot", strconv.Itoa(p.Pivot), "must be a year of two digits")
	}
	if p.Length < 0 || p.Length > maxColumns {
		bad("", "length", strconv.Itoa(p.Length), "must be 0 to %d columns", maxColumns)
	}
	for _, record := range []string{"5", "6"} {
		if p.Records[record] == nil {
			bad(record, "", "", "the layout has no record %s, and nothing can be read without it", record)
		}
	}
	if p.Records["7"] == nil && p.Records["8"] == nil {
		bad("7", "total", "", "the layout has neither a record 7 nor a record 8, so nothing would prove its sums")
	}
	for _, record := range slices.Sorted(maps.Keys(p.Records)) {
		p.checkRecord(record, bad)
	}
	for i, place := range p.Payer {
		record, name, _ := strings.Cut(place, ".")
		if _, ok := p.Records[record][name]; !ok || (record != "6" && record != "4") {
			bad("", fmt.Sprintf("payer[%d]", i), place, "must name a field of record 6 or 4 of this layout, such as \"6.payer\"")
		} else if k := schemaOf(record)[name].kind; k != textKind {
			bad("", fmt.Sprintf("payer[%d]", i), place, "must name a field of text")
		}
	}
	return ps
}

func (p Profile) checkRecord(record string, bad func(record, field, said, problem string, args ...any)) {
	schema, fields := schemaOf(record), p.Records[record]
	if schema == nil {
		bad(record, "", "", "there is no such record type")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		if _, ok := fields[name]; !ok && schema[name].must {
			bad(record, name, "", "this field cannot be left out")
		}
	}
	owner := map[int]string{1: "the record type"}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fields[name]
		spec, ok := schema[name]
		if !ok {
			bad(record, name, f.String(), "there is no such field in this record")
			continue
		}
		if f.From < 1 || f.To < f.From || f.To > maxColumns {
			bad(record, name, f.String(), "the columns must run from 1 to %d, first before last", maxColumns)
			continue
		}
		for column := f.From; column <= f.To; column++ {
			if other, taken := owner[column]; taken {
				bad(record, name, f.String(), "column %d already belongs to %s", column, other)
				break
			}
			owner[column] = name
		}
		if problem := spec.kind.check(f); problem != "" {
			bad(record, name, f.String(), "%s", problem)
		}
	}
}
