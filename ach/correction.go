package ach

import (
	"fmt"
	"strconv"
	"strings"
)

// Correction is what a notification of change tells us to use from the next
// entry on, for the account of the original entry only, never for others at
// the same bank. What is empty or zero stays as it was.
type Correction struct {
	Code            string // C01 to C13
	Routing         string // 9 digits
	Account         string
	TransactionCode int // two digits; says checking or savings, see AccountType
	IndividualID    string
	Name            string
}

// AccountType returns Checking or Savings as the corrected transaction code
// says, or "" where it says neither: no code, a loan, the bank's own ledger.
func (c Correction) AccountType() string {
	switch c.TransactionCode / 10 {
	case 2:
		return Checking
	case 3:
		return Savings
	}
	return ""
}

// changeCodes are the change codes of Nacha in plain words, the refusals (C61
// to C69, sent by our bank to theirs) among them.
var changeCodes = map[string]string{
	"C01": "the account number is wrong",
	"C02": "the routing number is wrong",
	"C03": "the routing number and the account number are wrong",
	"C04": "the account holder's name is wrong",
	"C05": "the account is of the other type, checking or savings",
	"C06": "the account number and the type of account are wrong",
	"C07": "the routing number, the account number and the type of account are wrong",
	"C08": "the foreign bank's identification is wrong (international entries)",
	"C09": "the individual ID is wrong",
	"C13": "the addenda was not readable; the entry itself was right",
	"C14": "the entry goes abroad and needs the international entry class",
	"C61": "refused: the notification went to the wrong bank",
	"C62": "refused: its trace number is wrong",
	"C63": "refused: its company id is wrong",
	"C64": "refused: its individual ID is wrong",
	"C65": "refused: its corrected data is not in form",
	"C66": "refused: its discretionary data is wrong",
	"C67": "refused: its routing number is not the original entry's",
	"C68": "refused: its account number is not the original entry's",
	"C69": "refused: its transaction code is wrong",
}

// ChangeCode returns what a change code means, in plain words.
func ChangeCode(code string) (words string, known bool) {
	words, known = changeCodes[code]
	return words, known
}

const correctedLength = 29 // of the corrected data, columns 36 to 64 of an addenda 98

// ParseCorrection reads the corrected data of a notification of change by
// Nacha's columns (Operating Rules, appendix five), counted inside the data:
//
//	C01  account 1-17
//	C02  routing 1-9
//	C03  routing 1-9, blanks 10-12, account 13-29
//	C04  name 1-22
//	C05  transaction code 1-2
//	C06  account 1-17, blanks 18-20, transaction code 21-22
//	C07  routing 1-9, account 10-26, transaction code 27-28
//	C09  individual ID 1-22
//	C13  nothing to apply
//
// By columns, because an account number may hold blanks or fill all 17. Banks
// also push the last field of C03, C06 and C07 to the right end; that is read
// too, as it cannot mean anything else. Whatever could debit a wrong account
// is an error: data that does not fit, a routing number that fails its check
// digit, a code that corrects nothing of ours.
func ParseCorrection(code, data string) (Correction, error) {
	if firstForeign(data) >= 0 {
		return Correction{}, fmt.Errorf("%s: the corrected data holds a character that is not ASCII", code)
	}
	if len(data) > correctedLength && strings.TrimSpace(data[correctedLength:]) != "" {
		return Correction{}, fmt.Errorf("%s: the corrected data is longer than %d characters", code, correctedLength)
	}
	f := correctedFields{data: (data + strings.Repeat(" ", correctedLength))[:correctedLength]}
	c := Correction{Code: code}
	switch code {
	case "C01":
		c.Account = f.account(1, 17, 29)
	case "C02":
		c.Routing = f.routing()
		f.blank(10, 29)
	case "C03":
		c.Routing = f.routing()
		c.Account = f.account(10, 29, 29)
	case "C04":
		c.Name = f.text("name", 1, 22)
		f.blank(23, 29)
	case "C05":
		c.TransactionCode = f.transactionCode(1, 29)
	case "C06":
		c.Account = f.account(1, 17, 17)
		c.TransactionCode = f.transactionCode(18, 29)
	case "C07":
		c.Routing = f.routing()
		c.Account = f.account(10, 26, 26)
		c.TransactionCode = f.transactionCode(27, 29)
	case "C09":
		c.IndividualID = f.text("individual ID", 1, 22)
		f.blank(23, 29)
	case "C13":
	default:
		if words, known := changeCodes[code]; known {
			return Correction{}, fmt.Errorf("%s (%s) corrects nothing of a domestic debit; a person must look", code, words)
		}
		return Correction{}, fmt.Errorf("change code %q is not one of Nacha's; a person must look", code)
	}
	if f.err != nil {
		return Correction{}, fmt.Errorf("%s: %w", code, f.err)
	}
	return c, nil
}

// correctedFields cuts fields out of the data and keeps the first error.
type correctedFields struct {
	data string
	err  error
}

func (f *correctedFields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

func (f *correctedFields) blank(from, to int) {
	if strings.TrimSpace(col(f.data, from, to)) != "" {
		f.fail("columns %d-%d of the corrected data are not blank", from, to)
	}
}

func (f *correctedFields) text(what string, from, to int) string {
	s := strings.TrimSpace(col(f.data, from, to))
	if s == "" {
		f.fail("no %s in columns %d-%d of the corrected data", what, from, to)
	}
	return s
}

func (f *correctedFields) routing() string {
	routing := col(f.data, 1, 9)
	if CheckRouting(routing) != nil { // it is not repeated: it may be an account number
		f.fail("columns 1-9 of the corrected data are not a routing number: 9 digits with a check digit that holds")
	}
	return routing
}

// account reads an account number; after the field, up to the column end, is
// nothing.
func (f *correctedFields) account(from, to, end int) string {
	account := strings.TrimSpace(col(f.data, from, to))
	if err := CheckAccount(account); err != nil {
		f.fail("columns %d-%d of the corrected data: account number %w", from, to, err)
	}
	if end > to {
		f.blank(to+1, end)
	}
	return account
}

// transactionCode reads the only two digits that may stand in the columns. A
// prenote's, a return's and a credit's code say the same about the account.
func (f *correctedFields) transactionCode(from, to int) int {
	s := strings.TrimSpace(col(f.data, from, to))
	if len(s) != 2 || !among(debitCodes, s) && !among(creditCodes, s) {
		f.fail("columns %d-%d of the corrected data do not hold a transaction code alone", from, to)
		return 0
	}
	code, _ := strconv.Atoi(s)
	return code
}

// CorrectedData writes what ParseCorrection reads: the 29 characters of a
// notification of change, as a bank fills them in.
func CorrectedData(c Correction) (string, error) {
	code := ""
	if c.TransactionCode != 0 {
		code = strconv.Itoa(c.TransactionCode)
	}
	var data string
	switch c.Code {
	case "C01":
		data = c.Account
	case "C02":
		data = c.Routing
	case "C03":
		data = fmt.Sprintf("%-12s%s", c.Routing, c.Account)
	case "C04":
		data = c.Name
	case "C05":
		data = code
	case "C06":
		data = fmt.Sprintf("%-20s%s", c.Account, code)
	case "C07":
		data = fmt.Sprintf("%-9s%-17s%s", c.Routing, c.Account, code)
	case "C09":
		data = c.IndividualID
	case "C13":
		data = "ADDENDA NOT READABLE" // the library insists that something stands there
	default:
		return "", fmt.Errorf("change code %q is not one that a bank sends for a debit", c.Code)
	}
	if _, err := ParseCorrection(c.Code, data); err != nil {
		return "", err
	}
	return fmt.Sprintf("%-*s", correctedLength, data), nil
}
