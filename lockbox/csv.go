package lockbox

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// csvReader reads the two kinds of CSV files that banks send: a table of checks
// under a header, and rows whose first cell names the record.
type csvReader struct {
	footing
	delimiter byte
	cells     [][]byte
	scratch   []byte // unquoted cells
	plain     []byte // the row as it is compared
	raw       []byte // the line, or the lines if a cell goes over several
	more      int    // how many lines after its first, which is the one that is told
	records   int
	suits     bool // the first row is of a type that the layout has
	known     int  // how much of the profile's titles the header has, in percent

	layouts     [10]*cellLayout // of rows, by record type; of a table, 6
	totals      *cellLayout     // of a table's totals line
	batchTotals *cellLayout     // and of those that close its batches
	head        bool            // the header was read
	top         string          // the header of a table, with its line end
	trailer     bool            // the file has ended
	after       bool            // something follows
	totaled     bool            // the totals line was read
	said        Total           // what it says
	saidAt      int
	on          calendar.Date // the deposit date of the totals line
	number      string        // and its lockbox

	numbers series // of the items of the open batch
	debits  [2]ledger.Cents
	items   []Item
}

// Where the debits of the open batch and of the whole file are summed.
const (
	ofBatch = iota
	ofFile
)

// cellLayout says which cell of a row holds which field: 0 for none.
type cellLayout struct {
	at   [fields]int
	form [fields]string
	last int // the highest cell that must be there, and what it holds

	lastName string
}

func newCSVReader(r io.Reader, p Profile, each func(Batch) error) *csvReader {
	c := &csvReader{footing: newFooting(r, p, each)}
	if p.Delimiter != "" {
		c.delimiter = p.Delimiter[0]
	}
	c.made = func() []Item { return c.items }
	if c.rows() {
		for record, fields := range p.Records {
			c.layouts[record[0]-'0'] = cellsOf(fields, rowSchemas[record], "", "")
		}
		c.batchTotal = statement{record: "8", field: "total", must: true}
		c.boxTotal = statement{record: "9", field: "total", must: p.Records["9"] != nil}
	} else {
		if p.Header == "none" {
			c.layouts[6] = numbered(p)
		}
		c.totals = cellsOf(p.Totals, totalSchema, p.Amounts, p.Dates)
		c.batchTotals = cellsOf(p.BatchTotals, batchTotalSchema, p.Amounts, p.Dates)
		c.batchTotal = statement{record: p.BatchMark, field: "amount", must: p.BatchMark != ""}
	}
	return c
}

// rows says whether the file is rows that begin with their record type.
func (r *csvReader) rows() bool { return len(r.p.Records) > 0 }

func cellsOf(cells map[string]Field, schema map[string]fieldSpec, amounts, dates string) *cellLayout {
	l := &cellLayout{}
	for name, f := range cells {
		l.add(name, schema[name], f.From, f.Form, amounts, dates)
	}
	return l
}

func (l *cellLayout) add(name string, spec fieldSpec, at int, form, amounts, dates string) {
	if spec.field == fOther {
		return
	}
	switch spec.kind {
	case amountKind:
		form = cmp.Or(form, amounts)
	case dateKind:
		form = cmp.Or(form, dates)
	}
	l.at[spec.field], l.form[spec.field] = at, form
	if spec.must && at > l.last {
		l.last, l.lastName = at, name
	}
}

func (r *csvReader) run() (Summary, error) {
	defer r.lines.close()
	for {
		ok, err := r.row()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r.sum, fmt.Errorf("lockbox file, after line %d: %w", r.lines.number, err)
		}
		if !ok || len(r.cells) == 0 {
			continue
		}
		r.records++
		if r.rows() {
			err = r.typed()
		} else {
			err = r.tabled()
		}
		if err != nil {
			return r.sum, err
		}
	}
	return r.finish()
}

// row reads the next row into cells. A cell in quotes may go over several lines.
func (r *csvReader) row() (ok bool, err error) {
	r.cells, r.scratch = r.cells[:0], r.scratch[:0]
	r.lines.number, r.more = r.lines.number+r.more, 0
	line, long, err := r.lines.next()
	if err != nil {
		return false, err
	}
	r.raw = append(r.raw[:0], line...)
	for !long && bytes.Count(r.raw, []byte{'"'})%2 == 1 && len(r.raw) < maxLineBytes {
		if line, long, err = r.lines.next(); err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
		r.raw = append(append(r.raw, '\n'), line...)
		r.lines.number, r.more = r.lines.number-1, r.more+1
	}
	if long || len(r.raw) > maxLineBytes {
		r.records++
		r.problem(RefusesFile, shape, ofFileItself, "length", "more than "+strconv.Itoa(maxLineBytes)+" characters", "at most "+strconv.Itoa(maxLineBytes), "the row is longer than %d characters; this is no lockbox file", maxLineBytes)
		return false, nil
	}
	if r.delimiter == 0 || r.p.Delimiter == "" && !r.rows() && !r.head {
		r.delimiter = r.delimiterOf(r.raw)
	}
	var closed bool
	if r.cells, r.scratch, closed = splitCells(r.raw, r.delimiter, r.cells, r.scratch); !closed {
		r.records++
		r.problem(RefusesFile, shape, ofFileItself, "quotes", quoteAt(r.raw), "cells that are closed", "a quote stands where none may be: a cell is not closed, or goes on after its end")
		return false, nil
	}
	return true, nil
}

// delimiterOf tells by the first row, or by the header, what stands between
// cells: what yields more of the profile's titles, or else more cells.
func (r *csvReader) delimiterOf(row []byte) byte {
	best, most := byte(','), 0
	for _, c := range []byte(",;\t|") {
		cells, _, closed := splitCells(row, c, nil, nil)
		if n := r.titled(cells)*maxLineBytes + len(cells); closed && n > most {
			best, most = c, n
		}
	}
	return best
}

func cellsOn(n int) string {
	if n == 1 {
		return "1 cell"
	}
	return strconv.Itoa(n) + " cells"
}

// firstCell is the first cell of a row that is not blank.
func firstCell(cells [][]byte) string {
	for _, cell := range cells {
		if text := show(cell); text != "" {
			return text
		}
	}
	return ""
}

// quoteAt says where a row has its last quote.
func quoteAt(row []byte) string {
	return "a quote at character " + strconv.Itoa(bytes.LastIndexByte(row, '"')+1)
}

// typed reads a row by its record type.
func (r *csvReader) typed() error {
	kind := show(r.cells[0])
	var l *cellLayout
	if len(kind) == 1 && kind[0] >= '0' && kind[0] <= '9' {
		l = r.layouts[kind[0]-'0']
	}
	if r.trailer && !r.after {
		r.after, r.missing = true, true
		sort, what := added, "a row follows the file's trailer (record 9)"
		if kind == "1" {
			sort, what = second, "a second header follows the trailer: these are two transmissions in one file; send them one by one"
		}
		r.problem(RefusesFile, sort, orBlank(maskLong(kind)), "record type", orBlank(maskLong(kind)), "nothing after record 9", what)
	}
	if l == nil {
		r.problem(RefusesFile, shape, ofFileItself, "record type", orBlank(maskLong(show(r.cells[0]))), "one of "+r.p.recordTypes(), "there is no record of this type in the layout; a row was damaged, or the layout is another one")
		return nil
	}
	r.suits = r.suits || r.records == 1
	if r.records == 1 && kind != "1" && r.layouts[1] != nil {
		r.missing = true
		r.problem(RefusesFile, structure, kind, "record type", kind, "1", "the file does not begin with its header (record 1): its beginning is missing")
	}
	if len(r.cells) < l.last {
		r.problem(RefusesFile, shape, kind, l.lastName, cellsOn(len(r.cells)), cellsOn(l.last), "the row is too short for a cell that cannot be left out: it was cut or damaged, or the layout is another one")
	}
	if kind != "6" {
		r.closeItem()
	}
	var err error
	switch kind {
	case "1":
		if r.head && !r.after {
			r.missing = true
			r.problem(RefusesFile, structure, "1", "record type", "1", "5, 6, 8 or 9", "a second header stands inside the file: the first transmission was cut off")
		}
		r.head = true
		r.sum.Origin, r.sum.Destination = r.text(l, fOrigin), r.text(l, fDestination)
		r.sum.FileDate = r.date(l, kind, "date", fDate, Note)
	case "5":
		if err = r.leaveBatch(nil, "record 5"); err == nil {
			r.startRows(r.text(l, fBatch), true)
		}
	case "6":
		if !r.batch.open {
			r.missing = true
			r.problem(RefusesFile, structure, "6", "record type", "6", "5", "a check stands outside any batch: its record 5 is missing")
			r.startRows("", false)
		}
		r.check(l, kind)
	case "8":
		return r.batchRow(l)
	case "9":
		err = r.trailerRow(l)
	}
	r.digest(r.canonical(), kind == "6" || kind == "5")
	return err
}

// startRows begins a batch of rows, and the file's one box if this is its
// first.
func (r *csvReader) startRows(number string, announced bool) {
	if !r.box.open {
		r.box = openBox{open: true, line: r.lines.number}
	}
	r.startBatch(number)
	if announced && number != "" && r.numbersOf("").given(number) {
		r.problem(RefusesFile, structure, "5", "batch", number, "the same number before", "this batch number stands twice in the file")
	}
}

func (r *csvReader) batchRow(l *cellLayout) error {
	number := r.text(l, fBatch)
	switch {
	case !r.batch.open:
		r.missing = true
		r.problem(RefusesFile, structure, "8", "record type", "8", "5", "a batch is closed that was never opened: its record 5 is missing")
		r.startRows(number, false)
	case number != r.batch.found.Number && l.at[fBatch] > 0:
		r.problem(RefusesFile, structure, "8", "batch", orBlank(number), orBlank(r.batch.found.Number), "the record closes another batch than the one above it")
	}
	said := r.total(l, "8", ofBatch, r.batch.items, "checks in the batch")
	r.digest(r.canonical(), true)
	return r.leaveBatch(said, "")
}

func (r *csvReader) trailerRow(l *cellLayout) error {
	if err := r.leaveBatch(nil, "record 9"); err != nil {
		return err
	}
	if !r.box.open { // no mail
		r.box = openBox{open: true, line: r.lines.number}
	}
	n, _ := r.countCell(l, fBatches)
	r.compareCell(l, "9", "batches", fBatches, r.batchesCounted(n), "batches in the file")
	said := r.total(l, "9", ofFile, r.box.items, "checks in the file")
	r.closeBox(said, 0, "")
	r.trailer = true
	return nil
}

// total reads what a row 8 or 9 says of its batch or of the file: credits less
// debits, each held against its own rows too.
func (r *csvReader) total(l *cellLayout, kind string, of int, items int, what string) *Total {
	r.compareCell(l, kind, "count", fCount, items, what)
	credits, ok := r.amount(l, kind, "total", fTotal)
	debits := ledger.Cents(0)
	if l.at[fDebits] > 0 {
		var good bool
		debits, good = r.amount(l, kind, "debits", fDebits)
		ok = ok && good
	}
	if !ok {
		r.sum.Balanced = false
		return nil
	}
	if debits != r.debits[of] {
		r.sum.Balanced = false
		r.problem(RefusesFile, sums, kind, "debits", cents(debits), cents(r.debits[of]), "the total of debits says %s, the debits come to %s", debits, r.debits[of])
	}
	r.tell(credits)
	r.tell(debits)
	r.debits[of] = 0
	return &Total{Items: -1, Cents: credits - debits}
}

// leaveBatch closes the open batch.
func (r *csvReader) leaveBatch(said *Total, by string) error {
	if !r.batch.open {
		return nil
	}
	r.debits[ofBatch] = 0
	r.numbers.reset()
	err := r.closeBatch(said, 0, by)
	r.items = nil
	return err
}

// check reads a check from the current row.
func (r *csvReader) check(l *cellLayout, kind string) {
	amount, _ := r.amount(l, kind, "amount", fAmount)
	debit := amount < 0
	if sign := r.text(l, fSign); l.at[fSign] > 0 && sign != "C" {
		if debit = true; sign != "D" {
			r.problem(RefusesFile, shape, kind, "sign", orBlank(sign), "C or D", "this must be C for a credit or D for a debit")
		}
		amount = -max(amount, -amount)
	}
	if debit {
		r.debits[ofBatch] -= amount
		r.debits[ofFile] -= amount
		r.problem(RefusesFile, debits, kind, "amount", cents(amount), "a credit", "this is a debit, no check; take returns in by the bank's file of returns")
	}
	if l.at[fFee] > 0 {
		if fee, ok := r.amount(l, kind, "fee", fFee); ok && fee != 0 && !debit {
			r.problem(RefusesFile, described, kind, "fee", cents(fee), "0", "a fee of %s stands beside the amount, and whether it is in it is not known: a profile of this bank's own must say which cell is the member's payment, and have no fee", fee)
		}
	}
	item := r.text(l, fItem)
	if item != "" && r.numbers.given(item) {
		r.problem(RefusesFile, structure, kind, "item", item, "the same number before", "this item number stands twice in batch %s", r.batch.found.Number)
	}
	box, on := r.box.number, r.box.date
	if r.rows() {
		box, on = r.text(l, fLockbox), r.date(l, kind, "deposit_date", fDepositDate, RefusesBatch)
		if r.box.number == "" && r.box.items == 0 && r.batch.items == 0 {
			r.box.number, r.box.date, r.box.first = box, on, on
		}
		if r.batch.items == 0 {
			r.batch.found.Lockbox, r.batch.found.DepositDate = box, on
		}
		if box != r.batch.found.Lockbox {
			r.problem(RefusesFile, structure, kind, "lockbox", orBlank(box), orBlank(r.batch.found.Lockbox), "the check names another lockbox than the first of its batch")
		}
	}
	received := on
	if l.at[fReceivedDate] > 0 {
		received = r.date(l, kind, "received_date", fReceivedDate, RefusesBatch)
	}
	checked := r.date(l, kind, "check_date", fCheckDate, Note)
	postmark := r.date(l, kind, "postmark_date", fPostmarkDate, Note)
	r.openItem(kind, amount)
	if !r.keeps() {
		return
	}
	i := Item{Ordinal: r.sum.Items, Line: r.lines.number, Lockbox: box, Batch: r.batch.found.Number, Number: cmp.Or(item, strconv.Itoa(r.batch.items)), Cents: amount,
		ReceivedDate: received, DepositDate: on, CheckDate: checked, PostmarkDate: postmark, Raw: r.top + r.line()}
	for _, f := range []field{fRouting, fAccount, fCheck, fRemitter, fPayee, fPayer, fInvoice, fText, fEnvelope, fBankItem, fZIP} {
		if l.at[f] > 0 {
			i.set(f, r.text(l, f), r.p)
		}
	}
	i.refer()
	r.items = append(r.items, i)
}

// line is the row as it is kept: readable, on one line.
func (r *csvReader) line() string {
	texts := make([]string, len(r.cells))
	for n, cell := range r.cells {
		texts[n] = show(cell)
	}
	return joinCells(texts, r.p.rawDelimiter()) + "\n"
}

// canonical is the row as it is compared: its cells on one line, however they are
// quoted and padded, without the empty ones at its end.
func (r *csvReader) canonical() []byte {
	r.plain = r.plain[:0]
	end := 0
	for n, cell := range r.cells {
		if n > 0 {
			r.plain = append(r.plain, 0x1f)
		}
		if cell = bareCell(cell); len(cell) > 0 {
			r.plain = append(r.plain, cell...)
			end = len(r.plain)
		}
	}
	for i, c := range r.plain[:end] {
		if c == '\n' || c == '\r' {
			r.plain[i] = ' '
		}
	}
	return r.plain[:end]
}

// cell returns a field of the current row; nil if the layout or the row has
// none.
func (r *csvReader) cell(l *cellLayout, f field) []byte {
	if n := l.at[f]; n > 0 && n <= len(r.cells) {
		return bareCell(r.cells[n-1])
	}
	return nil
}

// text returns a field as readable text. What is not UTF-8 is taken for Latin-1.
func (r *csvReader) text(l *cellLayout, f field) string {
	cell := r.cell(l, f)
	if utf8.Valid(cell) {
		return readable(string(cell))
	}
	var b strings.Builder
	for _, c := range cell {
		b.WriteRune(rune(c))
	}
	return readable(b.String())
}

// amount reads an amount that must be there and tells when it cannot be read.
func (r *csvReader) amount(l *cellLayout, kind, name string, f field) (ledger.Cents, bool) {
	c, got := money(r.cell(l, f), l.form[f])
	if got != good {
		r.problem(RefusesFile, shape, kind, name, orBlank(maskLong(show(r.cell(l, f)))), "no amount in "+l.form[f], "the amount cannot be read: want %s", map[string]string{"dollars": "dollars and cents with a point, as in 1234.56 or 1,234.56", "cents": "whole cents in digits"}[l.form[f]])
		return 0, false
	}
	return c, true
}

func (r *csvReader) countCell(l *cellLayout, f field) (int, bool) {
	n, err := strconv.ParseUint(string(r.cell(l, f)), 10, 31)
	return int(n), err == nil
}

// compareCell holds a count of the current row against what was counted.
func (r *csvReader) compareCell(l *cellLayout, kind, name string, f field, found int, of string) {
	if l.at[f] == 0 {
		return
	}
	n, ok := r.countCell(l, f)
	if !ok {
		r.problem(r.countScope(), shape, kind, name, orBlank(r.text(l, f)), strconv.Itoa(found), "the count of %s is not a number", of)
		return
	}
	r.compareCount(r.lines.number, kind, name, r.text(l, f), n, found, 0, of)
}

// date reads a date and tells when it is impossible.
func (r *csvReader) date(l *cellLayout, kind, name string, f field, scope Scope) calendar.Date {
	if l.at[f] == 0 {
		return 0
	}
	d, got := dateCell(r.cell(l, f), l.form[f], r.p.pivot())
	if got == bad {
		r.problem(scope, shape, kind, name, maskLonger(r.text(l, f)), "no date of the form "+l.form[f], "there is no such date; the layout says %s", l.form[f])
	}
	return d
}

// finish closes what the file left open and completes the summary.
func (r *csvReader) finish() (Summary, error) {
	end := "the end of the file on line " + strconv.Itoa(r.lines.number)
	if err := r.leaveBatch(nil, end); err != nil {
		return r.sum, err
	}
	r.closeBox(nil, 0, end)
	whole := r.records > 0
	if r.records == 0 {
		r.sum.Balanced = false
		r.problem(RefusesFile, structure, ofFileItself, "length", "no rows", "0 rows", "the file has no rows at all")
	}
	if r.p.Header == "none" && r.totaled && r.sum.Items == 0 {
		r.head = true // a day without mail
	}
	if !r.rows() && !r.head && r.records > 0 {
		r.lines.number = 1
		r.lacks(slices.Collect(maps.Values(r.p.Columns)))
	}
	if r.rows() {
		r.sum.Balanced = r.sum.Balanced && r.spoke
		whole = whole && (r.head || r.layouts[1] == nil) && (r.trailer || r.layouts[9] == nil)
		if r.layouts[9] != nil && !r.trailer {
			r.problem(RefusesFile, structure, "9", "record type", "the end of the file", "no record 9", "the file does not end with its trailer (record 9): it was cut off, or is still being written; ask for it again")
		}
		return r.complete(whole), nil
	}
	switch {
	case r.totaled && r.layouts[6] == nil: // its checks could not be read
		r.sum.Balanced = false
	case r.totaled:
		if r.said.Items >= 0 {
			r.compareCount(r.saidAt, r.p.TotalMark, "count", strconv.Itoa(r.said.Items), r.said.Items, r.sum.Items, 0, "checks in the file")
		}
		if r.said.Cents != r.sum.Cents {
			r.sum.Balanced = false
			r.problemAt(r.saidAt, RefusesFile, sums, r.p.TotalMark, "amount", cents(r.said.Cents), cents(r.sum.Cents), "the totals line says %s, %s %s", r.said.Cents, checksOf("its", r.sum.Items), r.sum.Cents)
		}
	case r.p.TotalMark != "":
		r.missing, r.sum.Balanced = true, false
		r.problem(RefusesFile, structure, r.p.TotalMark, "record type", "the end of the file", "no "+r.p.TotalMark, "the file has no totals line: it was cut off, or is still being written; ask for it again")
	case r.p.Stated == nil:
		r.sum.Balanced = false
		r.problem(RefusesFile, unproven, ofFileItself, "total", "no total", cents(r.sum.Cents), "nothing proves the sum of this file: state the number and the amount of its checks, as the bank's deposit advice gives them (--count and --cents)")
	}
	return r.complete(whole && r.head), nil
}
