package lockbox

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/ledger"
)

// ReturnsLayout says where a bank's return file holds what. Its JSON form has
// these keys.
type ReturnsLayout struct {
	Name string `json:"name"`
	// Columns maps routing, account, check, amount and reason to the words of
	// the file's header line.
	Columns map[string]string `json:"columns"`
	// Amounts says what an amount is: "cents" (whole) or "dollars" (with a
	// point). It is never guessed.
	Amounts string `json:"amounts"`
	// Reasons maps the bank's words to NSF, STOP or CLOSED.
	Reasons map[string]string `json:"reasons"`
	// Skip lists how lines begin that are of no check, such as "Total".
	Skip []string `json:"skip,omitempty"`
}

var returnColumns = []string{"routing", "account", "check", "amount", "reason"}

// PlainReturns is the layout of a file that uses our own words: routing,
// account, check, cents, reason.
func PlainReturns() ReturnsLayout {
	return ReturnsLayout{Name: "plain", Amounts: "cents",
		Columns: map[string]string{"routing": "routing", "account": "account", "check": "check", "amount": "cents", "reason": "reason"},
		Reasons: map[string]string{NSF: NSF, Stop: Stop, Closed: Closed}}
}

// ParseReturnsLayout reads a layout from JSON, and refuses a key that does not
// exist and whatever else can't be used.
func ParseReturnsLayout(text []byte) (ReturnsLayout, error) {
	var l ReturnsLayout
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return l, fmt.Errorf("returns layout: %w", err)
	}
	if l.Name == "" {
		return l, errors.New("returns layout: name: give it one")
	}
	for _, name := range returnColumns {
		if l.Columns[name] == "" {
			return l, fmt.Errorf("returns layout: columns.%s: say which column of the file holds it", name)
		}
	}
	for name := range l.Columns {
		if !slices.Contains(returnColumns, name) {
			return l, fmt.Errorf("returns layout: columns.%s: there is no such key; there are %s", name, strings.Join(returnColumns, ", "))
		}
	}
	if l.Amounts != "cents" && l.Amounts != "dollars" {
		return l, fmt.Errorf("returns layout: amounts: %q is neither \"cents\" nor \"dollars\"", l.Amounts)
	}
	for word, code := range l.Reasons {
		if !slices.Contains(bankCodes, code) {
			return l, fmt.Errorf("returns layout: reasons.%s: %q is none of %s", word, code, strings.Join(bankCodes, ", "))
		}
	}
	if len(l.Reasons) == 0 {
		return l, errors.New("returns layout: reasons: say which of the bank's words are NSF, STOP and CLOSED")
	}
	if slices.Contains(l.Skip, "") {
		return l, errors.New("returns layout: skip: say how the lines begin that are of no check")
	}
	return l, nil
}

// bankCodes are the reasons for which a bank returns a check.
var bankCodes = []string{NSF, Stop, Closed}

// LoadReturnsLayouts returns the layouts of return files of a biller's own, the
// files *.json in dir, and the plain one after them; a dir that is not there holds
// none. The error names each file that describes no layout, and a name given twice.
func LoadReturnsLayouts(dir string) ([]ReturnsLayout, error) {
	all := []ReturnsLayout{}
	names := map[string]bool{PlainReturns().Name: true}
	err := eachLayout(dir, func(text []byte) error {
		l, err := ParseReturnsLayout(text)
		if err == nil && names[l.Name] {
			err = fmt.Errorf("there is a returns layout %q already; give this one another name", l.Name)
		}
		if err != nil {
			return err
		}
		names[l.Name] = true
		all = append(all, l)
		return nil
	})
	return append(all, PlainReturns()), err
}

// missing lists the fields whose column a header lacks.
func (l ReturnsLayout) missing(head []string) (lost []string) {
	for _, name := range returnColumns {
		if l.column(head, name) < 0 {
			lost = append(lost, name)
		}
	}
	return lost
}

// column finds a field's column by the header.
func (l ReturnsLayout) column(head []string, name string) int {
	return slices.IndexFunc(head, func(s string) bool { return headerCell(s) == headerCell(l.Columns[name]) })
}

// titleLines is how many lines may stand above a header.
const titleLines = 20

// recognizeReturns finds the layout of a return file, what stands between its
// cells, and how many lines above its header: those by which the header lacks the
// fewest columns, the first that it does.
func recognizeReturns(text []byte, layouts []ReturnsLayout) (l ReturnsLayout, delimiter rune, above int) {
	fewest := len(returnColumns) + 1
	for n := range titleLines + 1 {
		line, rest, more := bytes.Cut(text, []byte("\n"))
		for _, candidate := range layouts {
			for _, c := range ",;\t|" {
				in := csv.NewReader(bytes.NewReader(line))
				in.Comma = c
				head, _ := in.Read()
				if lost := len(candidate.missing(head)); lost < fewest {
					l, delimiter, above, fewest = candidate, c, n, lost
				}
			}
		}
		if text = rest; !more || fewest == 0 {
			break
		}
	}
	if fewest == len(returnColumns) { // it has no header
		above = 0
	}
	return l, delimiter, above
}

// reason reads the bank's word for a reason, "" if the layout does not know it.
func (l ReturnsLayout) reason(said string) string {
	for word, code := range l.Reasons {
		if strings.EqualFold(word, said) {
			return code
		}
	}
	return ""
}

// cents reads an amount.
func (l ReturnsLayout) cents(said string) (ledger.Cents, bool) {
	c, got := money([]byte(said), l.Amounts)
	return c, got == good && c > 0
}
