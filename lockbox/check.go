package lockbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var profileKeys = []string{"name", "like", "doc", "length", "nesting", "records", "payer", "no_payer", "counts", "out_of_balance", "batch_numbers", "origins", "pivot",
	"format", "columns", "amounts", "dates", "delimiter", "header", "skip", "batch_mark", "batch_totals", "total_mark", "totals", "lockbox", "elements"}

// checkKeys holds every key against those that exist, before encoding/json can
// swallow one: a misspelt "recieved_date" would cost members late fees.
func checkKeys(text []byte, p Profile) error {
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
		schema := p.schemaOf(record)
		if schema == nil {
			errs = append(errs, fmt.Errorf("profile: records.%s: there is no such record type; there are %s", record, strings.Join(slices.Sorted(maps.Keys(p.schemas())), ", ")))
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
	schemas := map[string]map[string]fieldSpec{"columns": columnSchema(), "totals": totalSchema, "batch_totals": batchTotalSchema, "elements": elementSchema}
	for _, key := range slices.Sorted(maps.Keys(schemas)) {
		var names map[string]json.RawMessage
		if raw, ok := top[key]; ok && json.Unmarshal(raw, &names) == nil {
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if _, ok := schemas[key][name]; !ok {
					errs = append(errs, fmt.Errorf("profile: %s.%s: there is no such field; there are %s", key, name, strings.Join(slices.Sorted(maps.Keys(schemas[key])), ", ")))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// complaint notes one thing that is wrong with a profile.
type complaint func(record, field, said, problem string, args ...any)

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
	nesting := []string{"lockbox", "batch"}
	if p.format() != formatBAI {
		nesting = []string{""}
	}
	for _, key := range []struct {
		name, value string
		allowed     []string
	}{
		{"format", p.Format, []string{"", formatBAI, formatCSV, formatX12}},
		{"nesting", p.Nesting, nesting},
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
	p.checkForeign(bad)
	switch p.format() {
	case formatBAI:
		p.checkBAI(bad)
	case formatCSV:
		p.checkCSV(bad)
	case formatX12:
		p.checkX12(bad)
	}
	return ps
}

// checkForeign says which keys have no meaning in the format.
func (p Profile) checkForeign(bad complaint) {
	for _, key := range []struct {
		name    string
		given   bool
		formats []string
	}{
		{"length", p.Length > 0, []string{formatBAI}},
		{"payer", len(p.Payer) > 0, []string{formatBAI}},
		{"records", len(p.Records) > 0, []string{formatBAI, formatCSV}},
		{"columns", len(p.Columns) > 0, []string{formatCSV}},
		{"amounts", p.Amounts != "", []string{formatCSV}},
		{"dates", p.Dates != "", []string{formatCSV}},
		{"delimiter", p.Delimiter != "", []string{formatCSV}},
		{"header", p.Header != "", []string{formatCSV}},
		{"skip", len(p.Skip) > 0, []string{formatCSV}},
		{"batch_mark", p.BatchMark != "", []string{formatCSV}},
		{"batch_totals", len(p.BatchTotals) > 0, []string{formatCSV}},
		{"total_mark", p.TotalMark != "", []string{formatCSV}},
		{"totals", len(p.Totals) > 0, []string{formatCSV}},
		{"lockbox", p.Lockbox != "", []string{formatCSV}},
		{"elements", len(p.Elements) > 0, []string{formatX12}},
	} {
		if key.given && !slices.Contains(key.formats, p.format()) {
			bad("", key.name, "", "this key belongs to the format %s", strings.Join(key.formats, " or "))
		}
	}
}

func (p Profile) checkBAI(bad complaint) {
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
		} else if k := schemas[record][name].kind; k != textKind {
			bad("", fmt.Sprintf("payer[%d]", i), place, "must name a field of text")
		}
	}
}

func (p Profile) checkRecord(record string, bad complaint) {
	schema, fields := schemas[record], p.Records[record]
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

func (p Profile) checkCSV(bad complaint) {
	if p.Delimiter != "" && (len(p.Delimiter) != 1 || !strings.Contains(",;|\t:~", p.Delimiter)) {
		bad("", "delimiter", p.Delimiter, "must be one of , ; | : ~ or a tab")
	}
	if len(p.Records) > 0 {
		p.checkRows(bad)
		return
	}
	if len(p.Columns) == 0 {
		bad("", "columns", "", "a CSV layout needs columns (a table with a header) or records (rows that begin with their type)")
		return
	}
	if p.Amounts != "dollars" && p.Amounts != "cents" {
		bad("", "amounts", p.Amounts, "must be \"dollars\" or \"cents\": it is never guessed")
	}
	if p.Dates == "" || !cellDateForm(p.Dates) {
		bad("", "dates", p.Dates, "must be the form of the dates: MM/DD/YYYY, YYYYMMDD, M/D/YY, DD-MMM-YYYY and the like")
	}
	schema, owner := columnSchema(), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		if p.Columns[name] == "" && schema[name].must {
			bad("", "columns."+name, "", "this column cannot be left out")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Columns)) {
		title := headerCell(p.Columns[name])
		if n, err := strconv.Atoi(title); p.Header == "none" && (err != nil || n < 1 || n > maxColumns) {
			bad("", "columns."+name, title, "without a header, a column is the number of its cell, from 1 to %d", maxColumns)
		}
		if _, ok := schema[name]; !ok {
			bad("", "columns."+name, title, "there is no such field")
		} else if other := owner[title]; other != "" || title == "" {
			bad("", "columns."+name, title, "the column must have a title of its own; this one is that of %q", other)
		}
		owner[title] = name
	}
	if p.Columns["deposit_date"] == "" && p.Totals["deposit_date"] == (Field{}) {
		bad("", "columns.deposit_date", "", "neither a column nor the totals line says on which day the checks were deposited")
	}
	if p.Header != "" && p.Header != "none" {
		bad("", "header", p.Header, "must be \"none\" or left out")
	}
	p.checkLines(bad)
	if (p.TotalMark == "") != (len(p.Totals) == 0) {
		bad("", "total_mark", p.TotalMark, "a totals line needs both its mark and its cells (totals)")
	}
	if len(p.Totals) > 0 {
		p.checkCells("totals", totalSchema, p.Totals, p.Amounts, p.Dates, bad)
	}
}

// checkLines checks what a table says of lines that are no checks.
func (p Profile) checkLines(bad complaint) {
	if (p.BatchMark == "") != (len(p.BatchTotals) == 0) {
		bad("", "batch_mark", p.BatchMark, "a line that closes a batch needs both its mark and its cells (batch_totals)")
	}
	if p.BatchMark != "" && strings.EqualFold(p.BatchMark, p.TotalMark) {
		bad("", "batch_mark", p.BatchMark, "must be another than total_mark")
	}
	if len(p.BatchTotals) > 0 {
		p.checkCells("batch_totals", batchTotalSchema, p.BatchTotals, p.Amounts, p.Dates, bad)
	}
	for i, text := range p.Skip {
		if text == "" || begins(p.TotalMark, text) || begins(p.BatchMark, text) {
			bad("", fmt.Sprintf("skip[%d]", i), text, "must be how lines begin that say nothing, not those of totals")
		}
	}
}

// checkRows checks a layout of rows that begin with their record type.
func (p Profile) checkRows(bad complaint) {
	if len(p.Columns) > 0 || p.Amounts != "" || p.Dates != "" || p.TotalMark != "" || len(p.Totals) > 0 || p.Lockbox != "" || p.Header != "" || len(p.Skip) > 0 || p.BatchMark != "" || len(p.BatchTotals) > 0 {
		bad("", "records", "", "columns, amounts, dates, header, skip, batch_mark, batch_totals, total_mark, totals and lockbox belong to a table with a header, not to rows that begin with their type")
	}
	for _, record := range []string{"5", "6", "8"} {
		if p.Records[record] == nil {
			bad(record, "", "", "the layout has no record %s, and nothing can be read without it", record)
		}
	}
	for _, record := range slices.Sorted(maps.Keys(p.Records)) {
		if rowSchemas[record] == nil {
			bad(record, "", "", "there is no such record type")
			continue
		}
		p.checkCells(record, rowSchemas[record], p.Records[record], "", "", bad)
	}
	if _, ok := p.Records["6"]["deposit_date"]; !ok && p.Records["6"] != nil {
		bad("6", "deposit_date", "", "this field cannot be left out")
	}
}

// checkCells checks fields that are cells, with the forms that they take where
// they have none of their own.
func (p Profile) checkCells(record string, schema map[string]fieldSpec, cells map[string]Field, amounts, dates string, bad complaint) {
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		if _, ok := cells[name]; !ok && schema[name].must {
			bad(record, name, "", "this field cannot be left out")
		}
	}
	owner := map[int]string{1: "the record type"}
	for _, name := range slices.Sorted(maps.Keys(cells)) {
		f := cells[name]
		spec, ok := schema[name]
		switch {
		case !ok:
			bad(record, name, f.String(), "there is no such field in this record")
			continue
		case f.From < 1 || f.From != f.To || f.To > maxColumns:
			bad(record, name, f.String(), "must be the number of one cell, from 1 to %d", maxColumns)
			continue
		case owner[f.From] != "":
			bad(record, name, f.String(), "cell %d already belongs to %s", f.From, owner[f.From])
		}
		owner[f.From] = name
		switch form := f.Form; {
		case spec.kind == amountKind && form != "dollars" && form != "cents" && (form != "" || amounts == ""):
			bad(record, name, f.String(), "must say whether it is \"dollars\" or \"cents\"")
		case spec.kind == dateKind && !cellDateForm(form) && (form != "" || dates == ""):
			bad(record, name, f.String(), "a date needs its form: MMDDYYYY, M/D/YY and the like, with hhmmss for a time")
		case spec.kind != amountKind && spec.kind != dateKind && form != "":
			bad(record, name, f.String(), "a field of this kind takes no form")
		}
	}
}

func (p Profile) checkX12(bad complaint) {
	for _, name := range slices.Sorted(maps.Keys(p.Elements)) {
		if _, ok := elementSchema[name]; !ok {
			bad("", "elements."+name, "", "there is no such field")
		}
		for i, place := range p.Elements[name] {
			if _, ok := parseElement(place); !ok {
				bad("", fmt.Sprintf("elements.%s[%d]", name, i), place, "must name an element of BPR, TRN, REF, DTM, N1, N4, RMR or NTE as in \"TRN02\", with the word that its segment begins with as in \"REF02 CK\"")
			}
		}
	}
}
