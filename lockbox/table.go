package lockbox

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A CSV file that is a table: titles, a row for each check, perhaps a line of
// totals under each batch and under all. The rows themselves are read by csv.go.

// tabled reads a row of a table: the header, a totals line, or a check.
func (r *csvReader) tabled() error {
	first := firstCell(r.cells)
	switch {
	case first == "": // spreadsheets write empty rows so
		return nil
	case slices.ContainsFunc(r.p.Skip, func(text string) bool { return begins(first, text) }):
		return nil
	case r.p.TotalMark != "" && strings.EqualFold(first, r.p.TotalMark):
		return r.totalsLine()
	case !r.head && r.p.Header == "none":
		r.head = true
		r.judge(r.layouts[6])
	case !r.head:
		r.digest(r.canonical(), false)
		if r.titled(r.cells) == 0 { // something that stands above the table
			return nil
		}
		r.head, r.top = true, r.line()
		r.header()
		return nil
	}
	if r.trailer && !r.follows() {
		return nil
	}
	l := r.layouts[6]
	switch {
	case l == nil:
		r.sum.Balanced = false
		return nil
	case r.p.BatchMark != "" && strings.EqualFold(first, r.p.BatchMark):
		return r.batchTotalsLine()
	case r.top != "" && r.line() == r.top: // the titles again, on another page
		return nil
	}
	if !r.isCheck(l) {
		r.problem(RefusesFile, stranger, "6", "record type", orBlank(maskLong(first)), "no date of the form "+l.form[fDepositDate], "this row is no check, nor any of the lines that the profile knows")
		return nil
	}
	if len(r.cells) < l.last {
		r.problem(RefusesFile, shape, "6", l.lastName, cellsOn(len(r.cells)), cellsOn(l.last), "the row is too short for a column that cannot be left out")
	}
	if err := r.place(l); err != nil {
		return err
	}
	r.check(l, "6")
	r.digest(r.canonical(), true)
	return nil
}

// isCheck says whether a row may be a check, if a damaged one: a layout with dates
// knows it by its date, or by an amount beside what is not just a word.
func (r *csvReader) isCheck(l *cellLayout) bool {
	_, amount := money(r.cell(l, fAmount), l.form[fAmount])
	on := r.cell(l, fDepositDate)
	_, date := dateCell(on, l.form[fDepositDate], r.p.pivot())
	return date == good || l.at[fDepositDate] == 0 || amount == good && (len(on) == 0 || bytes.ContainsAny(on, "0123456789"))
}

// begins says whether a text begins with another, in letters of either case.
func begins(s, with string) bool {
	return with != "" && len(s) >= len(with) && strings.EqualFold(s[:len(with)], with)
}

// follows tells, once, of a row after the totals line, and says whether it is to
// be read: only one that is a check may be money.
func (r *csvReader) follows() bool {
	check := false
	if l := r.layouts[6]; l != nil {
		_, got := money(r.cell(l, fAmount), l.form[fAmount])
		check = got == good
	}
	if !r.after {
		r.after, r.missing = true, true
		said, found := orBlank(maskLong(show(r.cells[0]))), "nothing after "+r.p.TotalMark
		if check || r.line() == r.top {
			r.problem(RefusesFile, second, "6", "record type", said, found, "a row follows the totals line: these are two tables in one file, or the line stands in the middle")
		} else {
			r.problem(RefusesFile, added, "6", "record type", said, found, "a line that is no check follows the totals line")
		}
	}
	return check
}

// titled counts the profile's titles that stand in a row.
func (r *csvReader) titled(cells [][]byte) (n int) {
	if r.p.Header == "none" {
		return 0
	}
	there := map[string]bool{}
	for _, cell := range cells {
		there[headerCell(show(cell))] = true
	}
	for _, title := range r.p.Columns {
		if there[headerCell(title)] {
			n++
		}
	}
	return n
}

// numbered takes the columns of a table without titles from their numbers.
func numbered(p Profile) *cellLayout {
	schema, l := columnSchema(), &cellLayout{}
	for name, title := range p.Columns {
		l.add(name, schema[name], cellNumber(title), "", p.Amounts, p.Dates)
	}
	return l
}

// judge says by the first row of a table without titles whether its columns can be
// right.
func (r *csvReader) judge(l *cellLayout) {
	_, amount := money(r.cell(l, fAmount), l.form[fAmount])
	_, date := dateCell(r.cell(l, fDepositDate), l.form[fDepositDate], r.p.pivot())
	if amount == good && (date == good || l.at[fDepositDate] == 0) {
		r.known = 100
	}
}

// cellNumber is the column of a table without titles; 0 if it is no number,
// which Check refuses.
func cellNumber(title string) int {
	n, _ := strconv.Atoi(strings.TrimSpace(title))
	return n
}

// header finds the columns of a table. A table whose header lacks one is read
// all the same, if it can be, so that what is told of it is true.
func (r *csvReader) header() {
	schema, l := columnSchema(), &cellLayout{}
	titles := map[string]int{}
	mapped := map[string]bool{}
	for _, title := range r.p.Columns {
		mapped[headerCell(title)] = true
	}
	for i, cell := range r.cells {
		title := headerCell(show(cell))
		if titles[title] != 0 && mapped[title] {
			r.problem(RefusesFile, shape, ofHeader, title, "column "+strconv.Itoa(titles[title]), "column "+strconv.Itoa(i+1), "two columns have this title")
		}
		titles[title] = i + 1
	}
	var lost []string
	for name, title := range r.p.Columns {
		if at := titles[headerCell(title)]; at > 0 {
			l.add(name, schema[name], at, "", r.p.Amounts, r.p.Dates)
		} else {
			lost = append(lost, title)
		}
	}
	r.lacks(lost)
	r.known = 100 * (len(r.p.Columns) - len(lost)) / len(r.p.Columns)
	if l.at[fAmount] > 0 {
		r.layouts[6] = l
	}
}

// lacks tells which columns the header does not have.
func (r *csvReader) lacks(titles []string) {
	slices.Sort(titles)
	for _, title := range titles {
		r.problem(RefusesFile, shape, ofHeader, title, orBlank(maskLong(strings.TrimSpace(r.top))), "no column "+strconv.Quote(title), "the header has no column of this title; a header names every column that the profile maps")
	}
}

// place opens the lockbox and the batch that a row of a table belongs to.
func (r *csvReader) place(l *cellLayout) error {
	number, on, batch := cmp.Or(r.text(l, fLockbox), r.number, r.p.Lockbox), r.on, r.text(l, fBatch)
	if l.at[fDepositDate] > 0 {
		on = r.date(l, "6", "deposit_date", fDepositDate, RefusesFile)
	}
	if r.box.open && (r.box.number != number || r.box.date != on) {
		if err := r.leaveBatch(nil, "the checks of another box or date"); err != nil {
			return err
		}
		r.closeBox(nil, 0, "")
	}
	if !r.box.open {
		r.box = openBox{open: true, line: r.lines.number, number: number, date: on, first: on}
	}
	if r.batch.open && r.batch.found.Number != batch {
		if err := r.leaveBatch(nil, "the checks of batch "+orBlank(batch)); err != nil {
			return err
		}
	}
	if !r.batch.open {
		r.startBatch(batch)
		if batch != "" && r.numbersOf(number+"|"+on.String()).given(batch) {
			r.problem(RefusesFile, scattered, "6", "batch", batch, "the same number before", "rows of this batch stand in several places: the number stands twice for lockbox %s on deposit date %s", number, on)
		}
	}
	return nil
}

// batchTotalsLine closes a batch with its total.
func (r *csvReader) batchTotalsLine() error {
	l, mark := r.batchTotals, r.p.BatchMark
	amount, ok := r.amount(l, mark, "amount", fTotal)
	if !r.batch.open {
		if !ok || amount != 0 { // no mail, no batch
			r.problem(RefusesFile, structure, mark, "record type", mark, "checks above it", "a batch is closed that has no checks")
		}
		return nil
	}
	if number := r.text(l, fBatch); l.at[fBatch] > 0 && number != r.batch.found.Number {
		r.problem(RefusesFile, structure, mark, "batch", orBlank(number), orBlank(r.batch.found.Number), "the line closes another batch than the one above it")
	}
	r.compareCell(l, mark, "count", fCount, r.batch.items, "checks in the batch")
	r.digest(r.canonical(), true)
	if !ok {
		r.sum.Balanced = false
		return r.leaveBatch(nil, "")
	}
	r.tell(amount)
	return r.leaveBatch(&Total{Items: -1, Cents: amount}, "")
}

// totalsLine reads what a table says of all its checks.
func (r *csvReader) totalsLine() error {
	if r.totaled {
		r.missing = true
		r.problem(RefusesFile, structure, r.p.TotalMark, "record type", r.p.TotalMark, "one totals line", "a second totals line; the first stands on line %d", r.saidAt)
		return nil
	}
	l := r.totals
	r.totaled, r.trailer, r.saidAt = true, r.head, r.lines.number
	r.number, r.on = r.text(l, fLockbox), r.date(l, r.p.TotalMark, "deposit_date", fDepositDate, RefusesFile)
	r.said = Total{Items: -1}
	if l.at[fCount] > 0 {
		n, ok := r.countCell(l, fCount)
		if r.said.Items = n; !ok {
			r.problem(r.countScope(), shape, r.p.TotalMark, "count", orBlank(r.text(l, fCount)), "a whole number", "the count of checks is not a number")
			r.said.Items = -1
		}
	}
	var ok bool
	if r.said.Cents, ok = r.amount(l, r.p.TotalMark, "amount", fTotal); !ok {
		r.sum.Balanced = false
	}
	if r.p.Header == "none" && ok && r.said.Cents == 0 && r.said.Items <= 0 {
		r.known = 100
	}
	r.tell(r.said.Cents)
	r.digest(r.canonical(), false)
	return nil
}
