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
// # The other formats
//
// Some banks send the same as CSV or as an X12 823 (lockbox) transaction set,
// and a profile says so in Format. A CSV file is either a table of checks with a
// header line, whose columns a profile names, or rows whose first cell names the
// record, in the manner of BAI. An 823 brings its own structure: DEP is a
// deposit, BAT a batch, BPR a check, RMR a coupon; a profile only says which
// elements name the payer, the check and the days.
//
// [Read] keeps one batch in memory at a time. [Recognize] finds the profile by
// the content of a file. [Write] is the other direction, for tests and for a
// synthetic bank.
package lockbox

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
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
	// Format is "bai" (the default), "csv" or "x12".
	Format string `json:"format,omitempty"`
	// Length is the nominal length of a line in columns. Lines are written in
	// it; a line that is read may be shorter or longer.
	Length int `json:"length,omitempty"`
	// Nesting says how the layout is written: "lockbox" for one record 5 over
	// several batches (the default), "batch" for one over each.
	Nesting string `json:"nesting,omitempty"`
	// Records holds the fields by record type and name: {"6": {"amount": "8-17"}}.
	// A null field takes away what Like brought. A record type that is not
	// listed is not part of the layout. In a CSV file whose rows begin with their
	// record type, a field is a cell: {"6": {"amount": "7 dollars"}}.
	Records map[string]map[string]Field `json:"records,omitempty"`
	// Payer lists where the payer may be named, best place first, as
	// record.field: "6.payer", "4.text", "4.invoice".
	Payer []string `json:"payer,omitempty"`
	// NoPayer lists the texts by which the bank says that it found no reference.
	NoPayer []string `json:"no_payer,omitempty"`
	// Counts says what a count that disagrees with the file does: "file"
	// refuses the file (the default), "note" only tells. A count that should not be looked at
	// is left out of Records.
	Counts string `json:"counts,omitempty"`
	// OutOfBalance says what a batch whose total disagrees with its checks
	// refuses: that "batch" (the default) or the whole "file".
	OutOfBalance string `json:"out_of_balance,omitempty"`
	// BatchNumbers says where a batch number must be single: on one deposit
	// date of a "lockbox" (the default) or in the whole "file".
	BatchNumbers string `json:"batch_numbers,omitempty"`
	// Origins lists the banks' own ids as record 1 gives them. A profile with
	// origins is recognized by them and never for a file of another bank.
	Origins []string `json:"origins,omitempty"`
	// Columns are the columns of a CSV table by field: {"amount": "Check Amount"}.
	// The first line that is not the totals line must name them all, in any
	// order and among others.
	Columns map[string]string `json:"columns,omitempty"`
	// Header is "none" for a table without titles: Columns are then the numbers
	// of cells, {"amount": "6"}.
	Header string `json:"header,omitempty"`
	// Skip lists how rows of a table begin that say nothing, such as "Page ": the
	// totals prove that none of them was a check.
	Skip []string `json:"skip,omitempty"`
	// Amounts says what the amounts of a table are: "dollars" or "cents". It is
	// never guessed.
	Amounts string `json:"amounts,omitempty"`
	// Dates is the form of the dates of a table: "MM/DD/YYYY"; a single M or D may
	// have one digit or two.
	Dates string `json:"dates,omitempty"`
	// Delimiter stands between the cells of a CSV file: one of , ; | : ~ or a tab.
	// If it is empty, the first row tells.
	Delimiter string `json:"delimiter,omitempty"`
	// TotalMark is the first cell of the totals line of a table, which may be the
	// first or the last line. Without one, whoever takes the file in states count
	// and amount.
	TotalMark string `json:"total_mark,omitempty"`
	// Totals are the cells of the totals line: {"count": "2", "amount": "3"}.
	Totals map[string]Field `json:"totals,omitempty"`
	// BatchMark is the first cell of the line that closes each batch of a table
	// with its total, and BatchTotals its cells: {"batch": "2", "amount": "3"}.
	BatchMark   string           `json:"batch_mark,omitempty"`
	BatchTotals map[string]Field `json:"batch_totals,omitempty"`
	// Lockbox is the box of a table that does not name it.
	Lockbox string `json:"lockbox,omitempty"`
	// Elements says where an 823 has what: {"check": ["REF02 CK", "TRN02"]}, best
	// place first; a word after the element must stand in the segment's first.
	Elements map[string][]string `json:"elements,omitempty"`
	// Pivot is the first two-digit year that belongs to the 1900s; 0 is 70.
	Pivot int `json:"pivot,omitempty"`
	// Stated is what the operator states of the one file at hand; it is held
	// against it besides the bank's own totals.
	Stated *Total `json:"-"`
}

const (
	formatBAI = "bai"
	formatCSV = "csv"
	formatX12 = "x12"
)

func (p Profile) format() string { return cmp.Or(p.Format, formatBAI) }

// batchRecord is the record by which a batch is known.
func (p Profile) batchRecord() string {
	switch {
	case p.format() == formatX12:
		return "BAT"
	case p.format() == formatCSV && len(p.Columns) > 0:
		return "6"
	case p.format() == formatCSV:
		return "5"
	}
	return "7"
}

// recordTypes lists the types of record that the layout has.
func (p Profile) recordTypes() string {
	return strings.Join(slices.Sorted(maps.Keys(p.Records)), ", ")
}

// Field is where a field stands: columns From to To, counted from 1, both
// included. As text it is "8-17", with the form after a blank where there is
// one: "24-29 YYMMDD" for a date, "8-17 dollars" for an amount with a decimal
// point. An amount without a form is whole cents. One column, or a cell of a
// CSV file, is "8".
type Field struct {
	From, To int
	Form     string
}

// UnmarshalText reads "8-17" or "24-29 YYMMDD".
func (f *Field) UnmarshalText(text []byte) error {
	columns, form, _ := strings.Cut(string(text), " ")
	from, to, ok := strings.Cut(columns, "-")
	if !ok {
		to = from
	}
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || a < 1 || b < a || b > maxColumns {
		return fmt.Errorf("%q is no field: write its first and last column as in \"8-17\", at most %d", text, maxColumns)
	}
	*f = Field{a, b, form}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (f Field) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// String returns the field as it stands in a profile: "24-29 YYMMDD".
func (f Field) String() string {
	s := strconv.Itoa(f.From)
	if f.To != f.From {
		s += "-" + strconv.Itoa(f.To)
	}
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
	for _, name := range []string{"bai-a", "bai-b", "bai-c", "bai-b-strict", "x12-823", "csv-aci"} {
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
// should try them: bai-a, bai-b, bai-c, bai-b-strict, x12-823, csv-aci.
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

// LoadProfiles returns the layouts of a biller's own, the files *.json in dir,
// and the built-in ones after them; a dir that is not there holds none. The
// error names each file that describes no layout, and a name given twice.
func LoadProfiles(dir string) ([]Profile, error) {
	var own []Profile
	err := eachLayout(dir, func(text []byte) error {
		p, err := ParseProfile(text)
		if err != nil {
			return err
		}
		if _, err := ProfileNamed(append(own, builtins()...), p.Name); err == nil {
			return fmt.Errorf("there is a profile %q already; give this one another name", p.Name)
		}
		own = append(own, p)
		return nil
	})
	return append(own, Profiles()...), err
}

// eachLayout hands out the files *.json in a folder, in order of name; one that is
// not there holds none. The error names each file of which there is one.
func eachLayout(dir string, each func(text []byte) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if filepath.Ext(path) != ".json" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
		} else if err := each(text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// ParseProfile reads a profile from JSON. A key that does not exist, a field
// that cannot be read, and whatever Check finds are refused, each with its path.
func ParseProfile(text []byte) (Profile, error) { return parseProfile(text, builtins()) }

func parseProfile(text []byte, known []Profile) (Profile, error) {
	var named struct{ Name, Like, Format string }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&named); err != nil {
		return Profile{}, fmt.Errorf("profile: not a JSON object: %w", err)
	}
	var p Profile
	if named.Like != "" {
		like, err := ProfileNamed(known, named.Like)
		if err != nil {
			return Profile{}, fmt.Errorf("profile %s, key like: %w", named.Name, err)
		}
		p = like.clone()
	}
	p.Format = cmp.Or(named.Format, p.Format)
	unknown := checkKeys(text, p)
	like := p
	p.Records, p.Columns, p.Totals, p.BatchTotals, p.Elements, p.Name = nil, nil, nil, nil, nil, ""
	if err := json.Unmarshal(text, &p); err != nil {
		return Profile{}, cmp.Or(unknown, fmt.Errorf("profile %s: %w", named.Name, err))
	}
	p.Records, p.Like = mergeRecords(like.Records, p.Records), ""
	p.Columns, p.Elements = merged(like.Columns, p.Columns), merged(like.Elements, p.Elements)
	p.Totals, p.BatchTotals = merged(like.Totals, p.Totals), merged(like.BatchTotals, p.BatchTotals)
	p.Counts, p.OutOfBalance = cmp.Or(p.Counts, "file"), cmp.Or(p.OutOfBalance, "batch")
	if p.format() == formatBAI {
		p.Nesting = cmp.Or(p.Nesting, "lockbox")
	}
	errs := []error{unknown}
	for _, problem := range p.Check() {
		if unknown == nil || !strings.Contains(problem.Problem, "there is no such") { // told already
			errs = append(errs, errors.New(problem.String()))
		}
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

// merged lays what is given over what it is like; what is given as nothing takes
// the old away.
func merged[V any](like, given map[string]V) map[string]V {
	all := maps.Clone(like)
	for name, v := range given {
		if all == nil {
			all = map[string]V{}
		}
		if reflect.ValueOf(&v).Elem().IsZero() {
			delete(all, name)
		} else {
			all[name] = v
		}
	}
	return all
}

func (p Profile) clone() Profile {
	records := make(map[string]map[string]Field, len(p.Records))
	for record, fields := range p.Records {
		records[record] = maps.Clone(fields)
	}
	if p.Records != nil {
		p.Records = records
	}
	p.Columns, p.Totals, p.BatchTotals, p.Elements = maps.Clone(p.Columns), maps.Clone(p.Totals), maps.Clone(p.BatchTotals), maps.Clone(p.Elements)
	p.Payer, p.NoPayer, p.Origins, p.Skip = slices.Clone(p.Payer), slices.Clone(p.NoPayer), slices.Clone(p.Origins), slices.Clone(p.Skip)
	return p
}
