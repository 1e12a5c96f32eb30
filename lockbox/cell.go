package lockbox

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The rows of a CSV file whose first cell names the record, in the manner of a
// BAI file: 5 opens a batch, 8 closes it, 9 closes the file.
var rowSchemas = map[string]map[string]fieldSpec{
	"1": other(map[string]fieldSpec{"date": {fDate, dateKind, false}, "origin": {fOrigin, textKind, false}, "destination": {fDestination, textKind, false}}, "reference"),
	"5": other(map[string]fieldSpec{"batch": {fBatch, textKind, false}}, "kind", "sequence"),
	"6": other(columnSchema(), "method", "kind", "sequence"),
	"8": other(map[string]fieldSpec{
		"batch": {fBatch, textKind, false}, "count": {fCount, countKind, false}, "total": {fTotal, amountKind, true}, "debits": {fDebits, amountKind, false},
	}),
	"9": other(map[string]fieldSpec{
		"batches": {fBatches, countKind, false}, "count": {fCount, countKind, false}, "total": {fTotal, amountKind, true}, "debits": {fDebits, amountKind, false},
	}),
}

// columnSchema holds the columns that a table of checks may have.
func columnSchema() map[string]fieldSpec {
	return map[string]fieldSpec{
		"amount": {fAmount, amountKind, true}, "fee": {fFee, amountKind, false}, "sign": {fSign, textKind, false},
		"batch": {fBatch, textKind, false}, "item": {fItem, textKind, false}, "lockbox": {fLockbox, textKind, false},
		"deposit_date": {fDepositDate, dateKind, false}, "received_date": {fReceivedDate, dateKind, false},
		"routing": {fRouting, textKind, false}, "account": {fAccount, textKind, false}, "check": {fCheck, textKind, false},
		"check_date": {fCheckDate, dateKind, false}, "postmark_date": {fPostmarkDate, dateKind, false},
		"remitter": {fRemitter, textKind, false}, "payee": {fPayee, textKind, false}, "payer": {fPayer, textKind, false},
		"invoice": {fInvoice, textKind, false}, "text": {fText, textKind, false},
		"envelope": {fEnvelope, textKind, false}, "bank_item": {fBankItem, textKind, false}, "zip": {fZIP, textKind, false},
	}
}

// totalSchema holds what the totals line of a table of checks may say.
var totalSchema = map[string]fieldSpec{
	"count": {fCount, countKind, false}, "amount": {fTotal, amountKind, true},
	"lockbox": {fLockbox, textKind, false}, "deposit_date": {fDepositDate, dateKind, false},
}

// batchTotalSchema holds what the line that closes a batch of a table may say.
var batchTotalSchema = map[string]fieldSpec{"batch": {fBatch, textKind, false}, "count": {fCount, countKind, false}, "amount": {fTotal, amountKind, true}}

// splitCells cuts a row into cells. Those that were in quotes stand in scratch.
func splitCells(row []byte, delimiter byte, cells [][]byte, scratch []byte) ([][]byte, []byte, bool) {
	rest := row
	if len(bytes.TrimSpace(rest)) == 0 {
		return cells, scratch, true
	}
	for {
		var cell []byte
		rest = rest[formula(rest):]
		if len(rest) > 0 && rest[0] == '"' {
			from, closed := len(scratch), false
			for rest = rest[1:]; !closed; {
				i := bytes.IndexByte(rest, '"')
				if i < 0 {
					return cells, scratch, false
				}
				scratch = append(scratch, rest[:i]...)
				rest = rest[i+1:]
				if closed = len(rest) == 0 || rest[0] != '"'; !closed {
					scratch, rest = append(scratch, '"'), rest[1:]
				}
			}
			cell = scratch[from:len(scratch):len(scratch)]
			rest = bytes.TrimLeft(rest, " ")
			if len(rest) > 0 && rest[0] != delimiter {
				return cells, scratch, false
			}
		} else {
			i := bytes.IndexByte(rest, delimiter)
			if i < 0 {
				i = len(rest)
			}
			if cell = rest[:i]; bytes.IndexByte(cell, '"') >= 0 {
				return cells, scratch, false
			}
			rest = rest[i:]
		}
		if cells = append(cells, cell); len(rest) == 0 {
			return cells, scratch, true
		}
		rest = rest[1:]
	}
}

// formula is 1 for a cell that begins as a spreadsheet's formula for a text, else 0.
func formula(cell []byte) int {
	if bytes.HasPrefix(cell, []byte(`="`)) {
		return 1
	}
	return 0
}

// bareCell takes off what is around a cell's text: blanks, also those that do not
// break, and what makes a spreadsheet keep the zeros of a number, ="0012" or '0012.
func bareCell(cell []byte) []byte {
	cell = bytes.TrimFunc(cell, func(r rune) bool { return r == ' ' || r == '\t' || r == '\u00a0' })
	if inner, ok := bytes.CutPrefix(cell, []byte(`="`)); ok {
		if inner, ok = bytes.CutSuffix(inner, []byte(`"`)); ok {
			return inner
		}
	}
	if len(cell) > 1 && cell[0] == '\'' && cell[1]-'0' <= 9 {
		return cell[1:]
	}
	return cell
}

// rawDelimiter stands between the cells of a row that is kept: the file's own,
// unless it is one that cannot be read.
func (p Profile) rawDelimiter() string {
	if p.Delimiter == "" || p.Delimiter == "\t" {
		return ","
	}
	return p.Delimiter
}

// joinCells is a row of cells, in quotes where they need them.
func joinCells(texts []string, delimiter string) string {
	for n, text := range texts {
		if strings.ContainsAny(text, delimiter+"\"") {
			texts[n] = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
		}
	}
	return strings.Join(texts, delimiter)
}

// headerCell is a column's title as titles are compared.
func headerCell(title string) string {
	return strings.ToLower(strings.Join(strings.Fields(strings.Trim(title, "\ufeff")), " "))
}

// money reads an amount of a CSV cell.
func money(text []byte, form string) (ledger.Cents, reading) {
	if form == "cents" { // a number without a point
		if bytes.IndexByte(text, '.') >= 0 || len(text) > 16 {
			return 0, bad
		}
		c, got := decimal(text)
		return c / 100, got
	}
	text, negative := negated(text)
	if bytes.IndexByte(text, ',') >= 0 {
		whole, _, _ := bytes.Cut(text, []byte("."))
		for i, group := range bytes.Split(whole, []byte(",")) {
			if len(group) != 3 && (i > 0 || len(group) == 0 || len(group) > 3) {
				return 0, bad
			}
		}
		text = bytes.ReplaceAll(text, []byte(","), nil)
	}
	c, got := decimal(text)
	switch {
	case negative && (got == absent || c < 0):
		return 0, bad
	case negative:
		c = -c
	}
	return c, got
}

// negated takes off a dollar sign and what makes an amount negative: a minus
// before or after it, or brackets around it.
func negated(text []byte) (rest []byte, negative bool) {
	rest = bytes.Trim(text, " ")
	if inner, ok := bytes.CutPrefix(rest, []byte("(")); ok {
		if inner, ok = bytes.CutSuffix(inner, []byte(")")); !ok {
			return text, false
		}
		rest, negative = bytes.Trim(inner, " "), true
	} else if after, ok := bytes.CutPrefix(rest, []byte("-")); ok {
		rest, negative = after, true
	} else if before, ok := bytes.CutSuffix(rest, []byte("-")); ok {
		rest, negative = before, true
	}
	if dollars, ok := bytes.CutPrefix(rest, []byte("$")); ok {
		rest = bytes.TrimLeft(dollars, " ")
	}
	return rest, negative
}

// decimal reads an amount in dollars with a point where there are cents.
func decimal(text []byte) (ledger.Cents, reading) {
	text = bytes.Trim(text, " ")
	if len(text) == 0 {
		return 0, absent
	}
	digits, negative := bytes.CutPrefix(text, []byte("-"))
	whole, part, point := bytes.Cut(digits, []byte("."))
	if len(whole)+len(part) == 0 || len(whole) > 13 || len(part) > 2 || point && len(part) == 0 {
		return 0, bad
	}
	var n ledger.Cents
	for _, c := range slices.Concat(whole, part, []byte("00")[len(part):]) {
		if c -= '0'; c > 9 {
			return 0, bad
		}
		n = n*10 + ledger.Cents(c)
	}
	if negative {
		n = -n
	}
	return n, good
}

// cellDateForm says whether a form tells a day, and is one that dateCell reads.
func cellDateForm(form string) bool {
	var year, month, day bool
	for i := 0; i < len(form); {
		c, n := form[i], run(form, i)
		switch {
		case c == 'Y' && (n == 2 || n == 4) && !year:
			year = true
		case c == 'M' && n <= 3 && !month:
			month = true
		case c == 'D' && n <= 2 && !day:
			day = true
		case c == '*' && (i == 0 || i+n < len(form) || strings.IndexByte("YMDhms", form[i-1]) >= 0): // it must not take a year's digits
			return false
		case strings.IndexByte("YMD", c) >= 0 || isLetterOrDigit(c) && strings.IndexByte("hms", c) < 0 && c != 'T':
			return false
		}
		i += n
	}
	return year && month && day
}

// run counts how often the character at i is repeated.
func run(form string, i int) int {
	n := 1
	for i+n < len(form) && form[i+n] == form[i] {
		n++
	}
	return n
}

// dateCell reads a date that fills its cell. A single M or D of the form is one
// digit or two, MMM is the beginning of a month's English name; h, m and s are
// digits of a time, which is read past, as is whatever stands where the form ends
// in a star. Blanks and zeros are none.
func dateCell(text []byte, form string, pivot int) (calendar.Date, reading) {
	if len(strings.Trim(string(text), " 0/-.:")) == 0 {
		return 0, absent
	}
	parts := map[byte]int{}
	for i := 0; i < len(form); {
		c, n := form[i], run(form, i)
		i += n
		digits := n
		switch {
		case c == '*' && i == len(form):
			text = nil
			continue
		case strings.IndexByte("YMDhms", c) < 0:
			if len(text) == 0 && form[i:] == "*" { // nothing follows
				continue
			}
			if !strings.HasPrefix(string(text), strings.Repeat(string(c), n)) {
				return 0, bad
			}
			text = text[n:]
			continue
		case n == 1 && (c == 'M' || c == 'D') && len(text) > 1 && text[1]-'0' <= 9:
			digits = 2
		}
		if len(text) < digits {
			return 0, bad
		}
		if c == 'M' && n == 3 {
			parts[c], text = monthNamed(text[:3]), text[3:]
			continue
		}
		value := 0
		for _, d := range text[:digits] {
			if d -= '0'; d > 9 {
				return 0, bad
			}
			value = value*10 + int(d)
		}
		if c == 'Y' && n == 2 {
			value += 2000
			if value >= 2000+pivot {
				value -= 100
			}
		}
		parts[c], text = value, text[digits:]
	}
	year, month, day := parts['Y'], parts['M'], parts['D']
	if len(text) > 0 || year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, bad
	}
	return calendar.Of(year, time.Month(month), day), good
}
