package ach

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/billcycle/billcycle/secret"
)

// The transaction codes by the side they stand on: forward entries, prenotes,
// zero-dollar entries, returns and notifications of change alike.
const (
	debitCodes   = " 26 27 28 29 36 37 38 39 46 47 48 49 55 56 "
	creditCodes  = " 21 22 23 24 31 32 33 34 41 42 43 44 51 52 53 54 "
	prenoteCodes = " 23 28 33 38 43 48 53 "
	liveCodes    = " 22 27 32 37 42 47 52 55 "
	adviceDebits = " 82 84 86 88 "
	adviceCredit = " 81 83 85 87 "
	entryClasses = " ACK ADV ARC ATX BOC CCD CIE COR CTX DNE ENR IAT MTE POP POS PPD RCK SHR TEL TRC TRX WEB XCK "
)

func among(list, code string) bool { return strings.Contains(list, " "+code+" ") }

func isDate(yymmdd string) bool {
	_, err := time.Parse("060102", yymmdd)
	return err == nil
}

func (s *scan) fileHeader(line int, text string) {
	bad := func(field, found, what string) Problem {
		return Problem{Line: line, Record: "file header", Field: field, Found: masked(found), Problem: what}
	}
	if s.header != "" || s.batches > 0 || s.batch != nil {
		s.problem(bad("", "", "a file header inside the file: one file is one transmission, split it"))
		return
	}
	s.header = text
	for _, f := range []struct {
		from, to          int
		field, want, what string
	}{
		{2, 3, "priority code", "01", "not 01"},
		{35, 37, "record size", "094", "not 094"},
		{38, 39, "blocking factor", "10", "not 10"},
		{40, 40, "format code", "1", "not 1"},
	} {
		if got := col(text, f.from, f.to); got != f.want {
			s.problem(bad(f.field, got, f.what))
		}
	}
	if !isDate(col(text, 24, 29)) {
		s.problem(bad("file creation date", col(text, 24, 29), "not a date of the form YYMMDD"))
	}
	if m := text[33]; !(m >= '0' && m <= '9' || m >= 'A' && m <= 'Z') {
		s.soft = append(s.soft, bad("file ID modifier", text[33:34], "not A to Z or 0 to 9"))
	}
	// A bank's answers are often addressed to the company's id instead.
	if to := col(text, 4, 13); to[0] != ' ' || CheckRouting(to[1:]) != nil {
		s.soft = append(s.soft, bad("immediate destination", to, "not a blank and a routing number"))
	}
}

func (s *scan) openBatch(line int, text string) {
	bad := func(field, found, what string) Problem {
		return Problem{Line: line, Record: "batch header", Field: field, Found: masked(found), Problem: what}
	}
	if s.header == "" && s.batches == 0 && s.batch == nil {
		s.problem(bad("", "", "a batch before any file header"))
	}
	if s.batch != nil {
		s.problem(bad("", "", "the batch before has no control"))
		s.settleBatch()
	}
	b := &batchSeen{line: line, text: text, service: col(text, 2, 4), company: col(text, 41, 50), sec: col(text, 51, 53),
		odfi: col(text, 80, 87), number: col(text, 88, 94)}
	b.adv = b.sec == "ADV"
	b.iat = b.sec == "IAT" || strings.TrimSpace(col(text, 5, 20)) == "IATCOR"
	s.batch = b
	s.batches++
	if !among(" 200 220 225 280 ", b.service) {
		s.problem(bad("service class", b.service, "not 200, 220, 225 or 280"))
	}
	if !among(entryClasses, b.sec) {
		s.problem(bad("entry class", b.sec, "not an entry class of Nacha"))
	}
	if !allDigits(b.odfi) {
		s.problem(bad("ODFI", b.odfi, "not 8 digits"))
	}
	if n, ok := number(b.number); !ok {
		s.problem(bad("batch number", b.number, "not 7 digits"))
	} else if n <= s.lastNumber && s.batches > 1 {
		s.problem(bad("batch number", b.number, fmt.Sprintf("not above the one before, %07d", s.lastNumber)))
	} else {
		s.lastNumber = n
	}
	if strings.TrimSpace(col(text, 54, 63)) == "" {
		s.problem(bad("company entry description", "", "blank"))
	}
	if day := col(text, 70, 75); !isDate(day) && !among(" ENR ADV COR ", b.sec) {
		b.soft = append(b.soft, bad("effective entry date", day, "not a date of the form YYMMDD"))
	}
}

func (s *scan) openEntry(line int, text string) {
	s.flushEntry()
	bad := func(field, found, what string) Problem {
		return Problem{Line: line, Record: "entry", Field: field, Found: masked(found), Problem: what}
	}
	if s.batch == nil {
		s.problem(bad("", "", "an entry outside of a batch"))
		s.batch = &batchSeen{line: line}
	}
	b := s.batch
	e := &entrySeen{line: line, text: text, code: col(text, 2, 3), trace: col(text, 80, 94)}
	s.entry = e
	s.entries++
	b.entries++
	b.records++
	if routing := col(text, 4, 12); !allDigits(routing) || !checkDigitHolds(routing) {
		s.problem(bad("receiving bank", hidden(routing), "not a routing number: 9 digits with a check digit that holds"))
	}
	bank, _ := number(col(text, 4, 11))
	b.hash += bank

	amount, debits, credits := col(text, 30, 39), debitCodes, creditCodes
	if b.adv {
		amount, debits, credits, e.trace = col(text, 28, 39), adviceDebits, adviceCredit, ""
	}
	cents, ok := number(amount)
	if !ok {
		s.problem(bad("amount", amount, "not digits"))
	}
	e.cents = cents
	switch {
	case among(debits, e.code):
		b.debit += cents
		if b.service == "220" {
			s.problem(bad("transaction code", e.code, "a debit in a batch of credits only"))
		}
	case among(credits, e.code):
		b.credit += cents
		if b.service == "225" {
			s.problem(bad("transaction code", e.code, "a credit in a batch of debits only"))
		}
	default:
		s.problem(bad("transaction code", e.code, "not a transaction code of Nacha; its amount is not counted"))
	}
	s.prenotes += count(among(prenoteCodes, e.code))
	s.reversals += count(b.text != "" && col(b.text, 54, 63) == fmt.Sprintf("%-10s", ReversalDescription))
	switch {
	case among(prenoteCodes, e.code) && cents != 0:
		s.problem(bad("amount", hidden(amount), "a prenote is of zero cents"))
	case among(liveCodes, e.code) && cents == 0 && ok && b.sec != "COR":
		s.problem(bad("amount", amount, "a live entry of zero cents"))
	}
	if i := text[78]; i != '0' && i != '1' {
		s.problem(bad("addenda indicator", text[78:79], "not 0 or 1"))
	}
	s.entryTrace(b, e, bad)
}

// entryTrace holds an entry's own trace number to ascend in its batch, to
// begin with the batch's ODFI and to be the only one of its kind in the file.
// In a batch of answers banks take liberties with the first two.
func (s *scan) entryTrace(b *batchSeen, e *entrySeen, bad func(field, found, what string) Problem) {
	if b.adv {
		return
	}
	if !allDigits(e.trace) {
		s.problem(bad("trace number", e.trace, "not 15 digits"))
		return
	}
	if b.lastTrace != "" && e.trace <= b.lastTrace {
		b.soft = append(b.soft, bad("trace number", e.trace, "not above the one before, "+b.lastTrace))
	}
	b.lastTrace = e.trace
	if b.odfi != "" && e.trace[:8] != b.odfi {
		b.soft = append(b.soft, bad("trace number", e.trace, "does not begin with the batch's ODFI, "+b.odfi))
	}
	if first, twice := s.traces[e.trace]; twice {
		s.problem(bad("trace number", e.trace, fmt.Sprintf("is the entry's on line %d too", first)))
	} else {
		s.traces[e.trace] = e.line
	}
}

func (s *scan) addendum(line int, text string) {
	bad := func(field, found, what string) Problem {
		return Problem{Line: line, Record: "addenda", Field: field, Found: masked(found), Problem: what}
	}
	s.addenda++
	if s.entry == nil {
		s.problem(bad("", "", "an addenda without an entry before it"))
		if s.batch != nil {
			s.batch.records++
		}
		return
	}
	b, e := s.batch, s.entry
	b.records++
	if e.text[78] != '1' && len(e.addenda) == 0 {
		s.problem(bad("", e.text[78:79], fmt.Sprintf("an addenda, but the entry's addenda indicator on line %d is not 1", e.line)))
	}
	a := addendaSeen{line, text}
	e.addenda = append(e.addenda, a)
	trace := col(text, 80, 94)
	switch a.kind() {
	case "99", "98":
		code := col(text, 4, 6)
		letter := map[string]byte{"99": 'R', "98": 'C'}[a.kind()]
		if code[0] != letter || !allDigits(code[1:]) {
			s.problem(bad("code", code, fmt.Sprintf("not a code such as %c01", letter)))
		}
		if original := col(text, 7, 21); !allDigits(original) {
			s.problem(bad("original trace number", original, "not 15 digits; it cannot be matched to an entry"))
		}
		if a.kind() == "98" && code[:2] != "C6" && strings.TrimSpace(col(text, 36, 64)) == "" {
			s.problem(bad("corrected data", "", "blank"))
		}
		if trace != e.trace && !b.adv {
			b.soft = append(b.soft, bad("trace number", trace, "not its entry's, "+e.trace))
		}
	case "05":
		if col(text, 88, 94) != e.trace[max(0, len(e.trace)-7):] {
			s.problem(bad("entry sequence number", col(text, 88, 94), "not the last 7 digits of its entry's trace number"))
		}
		if !allDigits(col(text, 84, 87)) {
			s.problem(bad("addenda sequence number", col(text, 84, 87), "not 4 digits"))
		}
	case "02", "10", "11", "12", "13", "14", "15", "16", "17", "18":
	default:
		s.problem(bad("addenda type", a.kind(), "not an addenda type of Nacha"))
	}
}

// flushEntry ends the last entry: no more addenda can follow.
func (s *scan) flushEntry() {
	e, b := s.entry, s.batch
	if e == nil {
		return
	}
	s.entry = nil
	if e.text[78] == '1' && len(e.addenda) == 0 {
		s.problem(Problem{Line: e.line, Record: "entry", Field: "addenda indicator", Said: "1", Found: "no addenda", Problem: "the entry says an addenda follows"})
	}
	if e.answer() {
		s.answers++
	} else {
		s.forward++
		b.forward++
	}
	if s.onEntry != nil {
		s.onEntry(b, e)
	}
}

// settleBatch ends a batch: its sums go into the file's, and what banks do in
// answers becomes a note or, in a batch of ours, a problem.
func (s *scan) settleBatch() {
	s.flushEntry()
	b := s.batch
	s.batch = nil
	s.hash += b.hash % hashModulus
	s.debit += b.debit
	s.credit += b.credit
	for _, p := range b.soft {
		if b.forward == 0 && b.entries > 0 {
			s.note(p)
		} else {
			s.problem(p)
		}
	}
}

func (s *scan) closeBatch(line int, text string) {
	s.flushEntry()
	b := s.batch
	if b == nil {
		s.problem(Problem{Line: line, Record: "batch control", Problem: "a batch control without a batch"})
		return
	}
	foot := footing{s: s, line: line, record: "batch control"}
	width := 12
	if b.adv {
		width = 20
	}
	foot.number("entry and addenda count", col(text, 5, 10), int64(b.records))
	foot.number("entry hash", col(text, 11, 20), b.hash%hashModulus)
	foot.number("total debits", text[20:20+width], b.debit)
	foot.number("total credits", text[20+width:20+2*width], b.credit)
	if b.entries == 0 {
		s.problem(Problem{Line: line, Record: "batch control", Problem: "a batch without entries"})
	}
	if b.text != "" {
		foot.same("service class", col(text, 2, 4), b.service)
		foot.same("ODFI", col(text, 80, 87), b.odfi)
		foot.same("batch number", col(text, 88, 94), b.number)
		if company := col(text, 45, 54); !b.iat && !b.adv && strings.TrimSpace(company) != strings.TrimSpace(b.company) {
			b.soft = append(b.soft, Problem{Line: line, Record: "batch control", Field: "company id", Said: company, Found: b.company, Problem: "not the batch header's"})
		}
	}
	s.settleBatch()
}

func (s *scan) fileControl(line int, text string) {
	if s.batch != nil {
		s.problem(Problem{Line: line, Record: "file control", Problem: "the last batch has no control before it"})
		s.settleBatch()
	}
	s.control = text
	foot := footing{s: s, line: line, record: "file control"}
	width := 12
	if _, twenty := number(text[31:71]); twenty { // the totals of an ADV file are longer
		width = 20
	}
	foot.number("batch count", col(text, 2, 7), int64(s.batches))
	foot.number("block count", col(text, 8, 13), int64((s.records-s.padding+9)/10))
	foot.number("entry and addenda count", col(text, 14, 21), int64(s.entries+s.addenda))
	foot.number("entry hash", col(text, 22, 31), s.hash%hashModulus)
	foot.number("total debits", text[31:31+width], s.debit)
	foot.number("total credits", text[31+width:31+2*width], s.credit)
}

// masked hides what may be an account number in a field that does not hold what
// it should: in a damaged record, or a file of another kind, it can be anything.
func masked(field string) string {
	if allDigits(field) {
		return field
	}
	return hidden(field)
}

// hidden hides every longer run of digits, in a field that stands so near to
// the account number that it may be one whole.
func hidden(field string) string { return someDigits.ReplaceAllStringFunc(field, secret.Mask) }

var someDigits = regexp.MustCompile(`[0-9]{5,}`)

// footing compares what a control record says with what was found.
type footing struct {
	s      *scan
	line   int
	record string
}

func (f footing) number(field, said string, found int64) {
	n, ok := number(said)
	if !ok {
		f.s.problem(Problem{Line: f.line, Record: f.record, Field: field, Said: masked(said), Found: strconv.FormatInt(found, 10), Problem: "not digits"})
	} else if n != found {
		said = strconv.FormatInt(n, 10)
		if f.s.header == "" { // it may be no Nacha file at all
			said = secret.Mask(said)
		}
		f.s.problem(Problem{Line: f.line, Record: f.record, Field: field, Said: said, Found: strconv.FormatInt(found, 10),
			Problem: "does not agree with the records before it"})
	}
}

func (f footing) same(field, said, found string) {
	if said != found {
		f.s.problem(Problem{Line: f.line, Record: f.record, Field: field, Said: said, Found: found, Problem: "not the batch header's"})
	}
}
