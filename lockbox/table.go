package lockbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A CSV file that is a table: titles, a row for each check, perhaps a line of
// totals. The rows themselves are read by csv.go.

// tabled reads a row of a table: the header, the totals line, or a check.
func (r *csvReader) tabled() error {
	if r.p.TotalMark != "" && strings.EqualFold(firstCell(r.cells), r.p.TotalMark) {
		return r.totalsLine()
	}
	if r.trailer && !r.after {
		r.after, r.missing = true, true
		r.problem(RefusesFile, structure, "6", "record type", orBlank(maskLong(show(r.cells[0]))), "nothing after "+r.p.TotalMark, "a row follows the totals line; if it is a second file, send them one by one")
	}
	if !r.head {
		r.digest(r.canonical(), false)
		if r.titled(r.cells) == 0 { // something that stands above the table
			return nil
		}
		r.head, r.top = true, r.line()
		r.header()
		return nil
	}
	l := r.layouts[6]
	if l == nil {
		r.sum.Balanced = false
		return nil
	}
	if len(r.cells) < l.last {
		r.problem(RefusesFile, shape, "6", l.lastName, fmt.Sprintf("%d cells", len(r.cells)), fmt.Sprintf("%d cells", l.last), "the row is too short for a column that cannot be left out")
	}
	if err := r.place(l); err != nil {
		return err
	}
	r.check(l, "6")
	r.digest(r.canonical(), true)
	return nil
}

// titled counts the profile's titles that stand in a row.
func (r *csvReader) titled(cells [][]byte) (n int) {
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
	r.tell(r.said.Cents)
	r.digest(r.canonical(), false)
	return nil
}
