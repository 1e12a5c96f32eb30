package lockbox

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// kind is what a field holds, and so how it is read.
type kind int

const (
	textKind   kind = iota
	numberKind      // digits, at most six: batch, item, sequence
	countKind       // digits: how many there are of something
	amountKind      // cents, or dollars with a point
	dateKind
	routingKind // a bank's routing number; may be unreadable on the paper
)

// field is a place in a layout table. The same name means the same thing in
// every record that has it.
type field int

const (
	fBatch field = iota
	fItem
	fAmount
	fLockbox
	fDepositDate
	fReceivedDate
	fDestination
	fOrigin
	fDate
	fTime
	fRouting
	fAccount
	fCheck
	fCheckDate
	fPostmarkDate
	fRemitter
	fPayee
	fPayer
	fEnvelope
	fBankItem
	fZIP
	fType
	fSequence
	fText
	fInvoice
	fCount
	fTotal
	fBatches
	fFee    // an amount on top of the check that may be in its amount
	fSign   // C or D: a credit or a debit
	fDebits // the total of the debits
	fOther  // read past: user fields, fillers with a name
	fields
)

type fieldSpec struct {
	field field
	kind  kind
	must  bool // cannot be left out of a profile, nor be unreadable in a file
}

// The fields that exist, by record. A field listed under "other" may stand in a
// profile so that the layout is told whole; it is read past.
var schemas = map[string]map[string]fieldSpec{
	"1": other(map[string]fieldSpec{
		"destination": {fDestination, textKind, false}, "origin": {fOrigin, textKind, false}, "date": {fDate, dateKind, false},
		"time": {fTime, textKind, false},
	}),
	"2": other(map[string]fieldSpec{
		"destination": {fDestination, textKind, false}, "origin": {fOrigin, textKind, false},
	}, "reference", "service"),
	"5": other(map[string]fieldSpec{
		"lockbox": {fLockbox, textKind, true}, "deposit_date": {fDepositDate, dateKind, false}, "batch": {fBatch, numberKind, false},
		"destination": {fDestination, textKind, false}, "origin": {fOrigin, textKind, false},
	}, "item"),
	"6": other(map[string]fieldSpec{
		"batch": {fBatch, numberKind, false}, "item": {fItem, numberKind, false}, "amount": {fAmount, amountKind, true},
		"lockbox": {fLockbox, textKind, false}, "deposit_date": {fDepositDate, dateKind, false}, "received_date": {fReceivedDate, dateKind, false},
		"destination": {fDestination, textKind, false}, "origin": {fOrigin, textKind, false},
		"routing": {fRouting, routingKind, false}, "account": {fAccount, textKind, false}, "check": {fCheck, textKind, false},
		"check_date": {fCheckDate, dateKind, false}, "postmark_date": {fPostmarkDate, dateKind, false},
		"remitter": {fRemitter, textKind, false}, "payee": {fPayee, textKind, false}, "payer": {fPayer, textKind, false},
		"invoice": {fInvoice, textKind, false}, "text": {fText, textKind, false},
		"envelope": {fEnvelope, textKind, false}, "bank_item": {fBankItem, textKind, false}, "zip": {fZIP, textKind, false},
	}),
	"4": other(map[string]fieldSpec{
		"batch": {fBatch, numberKind, false}, "item": {fItem, numberKind, false}, "type": {fType, textKind, false},
		"sequence": {fSequence, numberKind, false}, "text": {fText, textKind, false}, "invoice": {fInvoice, textKind, false},
		"amount": {fAmount, amountKind, false}, "payer": {fPayer, textKind, false}, "envelope": {fEnvelope, textKind, false},
	}, "last", "invoice_date", "gross", "discount", "due"),
	"7": other(map[string]fieldSpec{
		"batch": {fBatch, numberKind, false}, "total": {fTotal, amountKind, true}, "count": {fCount, countKind, false},
		"lockbox": {fLockbox, textKind, false}, "deposit_date": {fDepositDate, dateKind, false},
	}, "item"),
	"8": other(map[string]fieldSpec{
		"total": {fTotal, amountKind, true}, "count": {fCount, countKind, false}, "batches": {fBatches, countKind, false},
		"lockbox": {fLockbox, textKind, false}, "deposit_date": {fDepositDate, dateKind, false},
	}, "batch", "item"),
	"9": other(map[string]fieldSpec{"count": {fCount, countKind, false}}),
}

func other(schema map[string]fieldSpec, names ...string) map[string]fieldSpec {
	for _, name := range append(names, "user_1", "user_2", "user_3", "user_4", "user_5", "user_6") {
		schema[name] = fieldSpec{field: fOther}
	}
	return schema
}

func (p Profile) schemas() map[string]map[string]fieldSpec {
	switch p.Format {
	case formatCSV:
		return rowSchemas
	case formatX12:
		return nil // an 823 brings its own
	}
	return schemas
}

func (p Profile) schemaOf(record string) map[string]fieldSpec { return p.schemas()[record] }

// check says what is wrong with a field as a profile describes it.
func (k kind) check(f Field) string {
	width := f.To - f.From + 1
	if f.Form != "" && k != dateKind && k != amountKind && !(k == textKind && dateForm(f.Form)) {
		return fmt.Sprintf("a field of this kind takes no form such as %q", f.Form)
	}
	switch k {
	case numberKind:
		if width > 6 {
			return "a number may have at most 6 columns"
		}
	case countKind:
		if width > 9 {
			return "a count may have at most 9 columns"
		}
	case amountKind:
		if width > 15 {
			return "an amount may have at most 15 columns"
		}
		if f.Form != "" && f.Form != "dollars" {
			return "an amount is whole cents, or \"dollars\" with a decimal point"
		}
	case dateKind:
		if !dateForm(f.Form) || len(f.Form) != width {
			return "a date needs its form, as wide as its columns: YYMMDD, MMDDYY, YYYYMMDD, MM/DD/YYYY, DD-MMM-YY and the like"
		}
	}
	return ""
}

// dateForm says whether a form tells a day in a fixed number of columns. MMM is
// the beginning of a month's English name.
func dateForm(form string) bool {
	count := func(r string) int { return strings.Count(form, r) }
	month := count("M") == 2 && strings.Contains(form, "MM") || count("M") == 3 && strings.Contains(form, "MMM")
	return month && strings.Contains(form, "DD") && count("D") == 2 &&
		(count("Y") == 2 && strings.Contains(form, "YY") || count("Y") == 4 && strings.Contains(form, "YYYY"))
}

// span is a field made ready to read: columns from 0, the end not included. The
// zero span is a field that the layout does not have.
type span struct {
	from, to int
	must     bool
	dollars  bool
	year     [2]int // of a date, within the span
	month    int
	day      int
	named    bool // the month is by name
}

func (s *span) width() int { return s.to - s.from }

// plan is a profile made ready to read.
type plan struct {
	has     [10]bool
	spans   [10][fields]span
	atLeast [10]int // the columns without which a line of this record is too short
	must    [10][]string
	covered [10][]bool // the columns that belong to some field
	pivot   int
	payer6  []field
	payer4  []field
}

func (p Profile) pivot() int { return cmp.Or(p.Pivot, 70) }

func (p Profile) plan() *plan {
	pl := &plan{pivot: p.pivot()}
	for record, fields := range p.Records {
		schema, r := schemas[record], record[0]-'0'
		pl.has[r] = true
		pl.covered[r] = make([]bool, 7, maxColumns) // type, batch and item stand there in every layout
		for i := range pl.covered[r] {
			pl.covered[r][i] = true
		}
		for name, f := range fields {
			spec := schema[name]
			for len(pl.covered[r]) < f.To {
				pl.covered[r] = append(pl.covered[r], false)
			}
			for i := f.From - 1; i < f.To; i++ {
				pl.covered[r][i] = true
			}
			if spec.field == fOther {
				continue
			}
			pl.spans[r][spec.field] = makeSpan(f)
			// A layout may have no numbers of batches and items; one that has them needs them.
			must := spec.must || record != "5" && (spec.field == fBatch || spec.field == fItem)
			pl.spans[r][spec.field].must = must
			if must {
				pl.must[r] = append(pl.must[r], name)
				pl.atLeast[r] = max(pl.atLeast[r], f.To)
			}
		}
		slices.Sort(pl.must[r])
	}
	for _, place := range p.Payer {
		record, name, _ := strings.Cut(place, ".")
		if f := schemas[record][name].field; record == "6" {
			pl.payer6 = append(pl.payer6, f)
		} else {
			pl.payer4 = append(pl.payer4, f)
		}
	}
	return pl
}

func makeSpan(f Field) span {
	s := span{from: f.From - 1, to: f.To, dollars: f.Form == "dollars"}
	if dateForm(f.Form) {
		y := strings.IndexByte(f.Form, 'Y')
		s.year = [2]int{y, y + strings.Count(f.Form, "Y")}
		s.month, s.day = strings.Index(f.Form, "MM"), strings.Index(f.Form, "DD")
		s.named = strings.Contains(f.Form, "MMM")
	}
	return s
}

// cut returns the field's columns of a line whose trailing blanks are gone; it
// may be shorter than the field, or empty.
func (s *span) cut(line []byte) []byte {
	if s.from >= len(line) {
		return nil
	}
	return line[s.from:min(s.to, len(line))]
}

// reading is what became of a field.
type reading int

const (
	absent reading = iota // blank, or not in the layout
	good
	bad
)

// number reads digits, right-aligned. Blanks before them are fill; blanks after
// them are not, because that is what a neighbor's column looks like when the
// profile is off by one.
func (s *span) number(line []byte) (int64, reading) {
	b := s.cut(line)
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, absent
	}
	if len(line) < s.to {
		return 0, bad
	}
	var n int64
	for _, c := range b {
		c -= '0'
		if c > 9 {
			return 0, bad
		}
		n = n*10 + int64(c)
	}
	return n, good
}

// cents reads an amount: whole cents, or dollars with at most two decimals.
func (s *span) cents(line []byte) (ledger.Cents, reading) {
	if !s.dollars {
		n, r := s.number(line)
		return ledger.Cents(n), r
	}
	text := strings.TrimLeft(string(s.cut(line)), " ")
	if text == "" {
		return 0, absent
	}
	whole, part, point := strings.Cut(text, ".")
	if whole+part == "" || len(part) > 2 || point && part == "" {
		return 0, bad
	}
	digits := whole + part + "00"[len(part):]
	all := span{to: len(digits)}
	n, r := all.number([]byte(digits))
	if digits[0] == ' ' {
		r = bad
	}
	return ledger.Cents(n), r
}

// date reads a date; blanks and zeros are none.
func (s *span) date(line []byte, pivot int) (calendar.Date, reading) {
	year, month, day, r := s.ymd(line, pivot)
	if r != good {
		return 0, r
	}
	return calendar.Of(year, time.Month(month), day), good
}

// ymd is date without the arithmetic of days, for lines that are only checked.
func (s *span) ymd(line []byte, pivot int) (year, month, day int, r reading) {
	b := s.cut(line)
	fill := true
	for _, c := range b {
		if c != ' ' && c != '0' && c != '/' && c != '-' {
			fill = false
			break
		}
	}
	if fill {
		return 0, 0, 0, absent
	}
	if len(b) < s.width() {
		return 0, 0, 0, bad
	}
	two := func(at int) int {
		tens, ones := b[at]-'0', b[at+1]-'0'
		if tens > 9 || ones > 9 {
			return -10000
		}
		return int(tens)*10 + int(ones)
	}
	year, day = two(s.year[0]), two(s.day)
	if s.named {
		month = monthNamed(b[s.month : s.month+3])
	} else {
		month = two(s.month)
	}
	if s.year[1]-s.year[0] == 4 {
		year = year*100 + two(s.year[0]+2)
	} else if year >= pivot {
		year += 1900
	} else {
		year += 2000
	}
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, 0, 0, bad
	}
	return year, month, day, good
}

// monthNamed reads the first three letters of a month's English name; 0 if they
// are none.
func monthNamed(name []byte) int {
	for month := time.January; month <= time.December; month++ {
		if strings.EqualFold(string(name), month.String()[:3]) {
			return int(month)
		}
	}
	return 0
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
