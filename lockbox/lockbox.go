package lockbox

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// Scope says what a problem makes unacceptable.
type Scope string

// The three scopes: a note is told and refuses nothing.
const (
	Note         Scope = ""
	RefusesBatch Scope = "batch"
	RefusesFile  Scope = "file"
)

// Problem is one thing wrong with a file (or, from Profile.Check, with a
// profile) and its place. Said is what the file states there and Found what that
// was held against; amounts are cents. Of a problem of a file all are told.
// Account numbers never stand in it.
type Problem struct {
	Line    int    `json:"line"`   // from 1; of an 823 the number of its segment, of a file without line ends that of its record; 0 for a profile
	Record  string `json:"record"` // the record type or segment; "header" of a table, "file" for what is about it as a whole
	Field   string `json:"field"`
	Said    string `json:"said"`
	Found   string `json:"found"`
	Problem string `json:"problem"`
	Do      string `json:"do"` // what to do about it
	Refuses Scope  `json:"refuses"`
	Batch   int    `json:"-"` // the batch's ordinal in the file, 0 if it belongs to none

	sort sort
}

// What a problem is about where it is about no record, and what it says of a
// field in which nothing stands.
const (
	ofFileItself = "file"
	ofHeader     = "header"
	blank        = "blank"
)

func orBlank(s string) string { return cmp.Or(s, blank) }

// advice says what to do about a problem of its sort.
func (p Problem) advice() string {
	switch {
	case p.Record == ofHeader:
		return "name the column in the profile as the bank does, or take it out of the profile; a header that lost a column is for the bank to mend"
	case p.Refuses == Note:
		return NothingToDo
	case p.sort == unproven:
		return "state what the bank's deposit advice says, with --count and --cents"
	case p.sort == debits:
		return "take returned checks in with lockbox returns, and ask the bank for a file of deposits alone"
	case p.sort == second:
		return "cut the file where the second transmission begins, and take each in by itself"
	case p.sort == added:
		return "take off what follows the end of the transmission, or let a table's profile skip it; if it is a part of the file, ask the bank for the file again"
	case p.sort == stranger:
		return "let the profile skip lines that begin so (skip), or say which totals they are (batch_mark, total_mark); if a check was damaged, ask the bank for the file again"
	case p.sort == scattered:
		return "sort the table by lockbox, deposit date and batch, or take the batch out of the profile"
	case p.sort == described:
		return "correct the profile (lockbox profiles)"
	case p.sort == sums && p.Refuses == RefusesBatch:
		return "ask the bank for the batch once more: it takes the place of the refused one, and its checks keep their received dates"
	case p.sort == sums:
		return "ask the bank for the right file; if every file of it disagrees, it has another layout (lockbox profiles)"
	case p.sort == counts:
		return "ask the bank for the right file; if it never counts right, its profile may say so (\"counts\": \"note\")"
	case p.sort == shape:
		return "ask the bank for the file again; if every line of it is so, it has another layout (lockbox profiles)"
	}
	return "ask the bank for the whole file again"
}

// NothingToDo is what to do about a problem that is only told.
const NothingToDo = "nothing has to be done about the file; it is only told"

// sort tells apart what Recognize weighs: a line of the wrong shape speaks
// against a profile more than a sum that is off.
type sort int

const (
	structure sort = iota
	shape
	sums
	counts
	unproven  // nothing proves the sum
	debits    // money that went out
	second    // a second transmission
	added     // what follows the end and is no record
	scattered // rows of one batch in several places
	stranger  // a row of a table that is no check
	described // the profile does not say what it would have to
)

// String says the problem in one line, place first.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d, ", p.Line)
	}
	if p.Record != "" {
		fmt.Fprintf(&b, "record %s, ", p.Record)
	}
	if p.Field != "" {
		fmt.Fprintf(&b, "%s, ", p.Field)
	}
	place := strings.TrimSuffix(b.String(), ", ")
	b.Reset()
	if place != "" {
		b.WriteString(place + ": ")
	}
	b.WriteString(p.Problem)
	if p.Said != "" || p.Found != "" {
		fmt.Fprintf(&b, " (said %q, found %q)", p.Said, p.Found)
	}
	return b.String()
}

// Hash is a SHA-256; as text it is hexadecimal.
type Hash [32]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the hash in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Total is what a bank states about a batch or a lockbox. Items is -1 where the
// layout has no count or the bank left it blank.
type Total struct {
	Items int
	Cents ledger.Cents
}

// Overflow is one record 4 or RMR: what did not fit on the check's own record,
// as a rule one coupon.
type Overflow struct {
	Line     int    // in the file, from 1
	Sequence string // as written: "01"
	Text     string // the free reference text of layouts that have one
	Invoice  string
	Payer    string // the customer's account with us as the bank keyed it
	Envelope string
	Cents    ledger.Cents // the part of the check for this coupon; 0 if HasCents is false
	HasCents bool
	// References are the payer references of this record, best place first
	// (Profile.Payer), blanks and the bank's "no reference" left out.
	References []string
}

// Item is one check: a record 6 and the records 4 below it, a row, or a BPR and
// its coupons (RMR).
//
// Routing, Account and Raw hold what stands in magnetic ink on a member's
// check. They are for matching, for encryption and for the operator's desk
// only: String, LogValue and JSON leave them out or mask them.
type Item struct {
	Ordinal int    // the check's place in the file, from 1
	Line    int    // of its record 6, from 1
	Lockbox string // the box it came to
	Batch   string // the batch's number, not unique: it restarts after 999
	Number  string // the item's number in its batch, not unique either
	Cents   ledger.Cents

	Routing string `json:"-"` // with its check digit, also of a layout that leaves that out
	Account string `json:"-"`
	Check   string // the check's number without leading zeros

	// ReceivedDate decides lateness: the received date that the layout carries
	// for the check, else its deposit date. Zero means that the bank left it
	// blank: hold the item.
	ReceivedDate calendar.Date
	DepositDate  calendar.Date
	CheckDate    calendar.Date
	PostmarkDate calendar.Date

	Destination string // record 6's own, in layouts that repeat the header
	Origin      string
	Remitter    string
	Payee       string
	Payer       string // the customer's account with us, where record 6 has it
	Invoice     string
	Text        string
	Envelope    string
	BankItem    string
	ZIP         string

	Overflows []Overflow
	// References are all payer references, best first and each once: those of
	// record 6, then those of each overflow in turn.
	References []string
	Raw        string `json:"-"` // the lines as they came, readable, each ended by \n
}

// String names the check for a person, with its account masked.
func (i Item) String() string {
	return fmt.Sprintf("item %d (lockbox %s, batch %s, number %s): check %s of %s, account %s",
		i.Ordinal, i.Lockbox, i.Batch, i.Number, cmp.Or(i.Check, "without a number"), i.Cents, maskNumber(i.Account))
}

// GoString is String, so that no verb of package fmt shows an account number.
func (i Item) GoString() string { return i.String() }

// LogValue is what a log may hold of a check.
func (i Item) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MaskedRaw returns the lines of the check with the routing and account numbers
// of the layout p masked.
func (i Item) MaskedRaw(p Profile) string {
	lines := strings.SplitAfter(i.Raw, "\n")
	var title []string
	for n, line := range lines {
		text := strings.TrimSuffix(line, "\n")
		switch {
		case text == "":
			continue
		case p.format() == formatCSV:
			text, title = p.maskCells(text, title)
		case p.format() == formatX12:
			text = maskSegment(text)
		case text[0] == '6':
			text = p.maskColumns(text)
		}
		lines[n] = text + "\n"
	}
	return strings.Join(lines, "")
}

func (p Profile) maskColumns(line string) string {
	columns := []rune(line)
	for _, name := range []string{"routing", "account"} {
		f, ok := p.Records["6"][name]
		if !ok || f.From > len(columns) {
			continue
		}
		part := columns[f.From-1 : min(f.To, len(columns))]
		for len(part) > 0 && part[len(part)-1] == ' ' {
			part = part[:len(part)-1]
		}
		shown := utf8.RuneCountInString(strings.TrimPrefix(secret.Mask(strings.TrimLeft(string(part), " 0")), "****"))
		for k := range part[:len(part)-shown] {
			if part[k] != ' ' {
				part[k] = '*'
			}
		}
	}
	return string(columns)
}

// maskCells masks a row. The first of a table is its header, which it returns
// for the rows below.
func (p Profile) maskCells(row string, title []string) (string, []string) {
	delimiter := p.rawDelimiter()
	cells, _, _ := splitCells([]byte(row), delimiter[0], nil, nil)
	texts := make([]string, len(cells))
	for n, cell := range cells {
		texts[n] = string(cell)
	}
	if len(p.Columns) > 0 && p.Header == "" && title == nil {
		return row, texts
	}
	for at, text := range texts {
		if text != "" && (p.holds("routing", at, title) || p.holds("account", at, title)) {
			texts[at] = maskNumber(text)
		}
	}
	return joinCells(texts, delimiter), title
}

// holds says whether a cell of a row, from 0, is a field's: of a table with titles
// every one under the field's, also where a file has two of them and is refused.
func (p Profile) holds(field string, at int, title []string) bool {
	titled := p.Columns[field]
	switch {
	case titled == "":
		return at == p.Records["6"][field].From-1
	case p.Header == "none":
		return at == cellNumber(titled)-1
	}
	return at < len(title) && headerCell(title[at]) == headerCell(titled)
}

// maskSegment masks the routing and account numbers of a BPR, the payer's and
// ours.
func maskSegment(segment string) string {
	elements := strings.Split(segment, "*")
	if elements[0] == "BPR" {
		for _, n := range []int{7, 9, 13, 15} {
			if n < len(elements) && elements[n] != "" {
				elements[n] = maskNumber(elements[n])
			}
		}
	}
	return strings.Join(elements, "*")
}

// maskNumber masks a number that must not be read in full.
func maskNumber(s string) string { return cmp.Or(secret.Mask(s), "none") }

// Batch is the checks between two records 7.
type Batch struct {
	Ordinal     int // from 1 in the file, empty batches included
	Line        int // of its first record, from 1
	Lockbox     string
	Number      string
	DepositDate calendar.Date
	Items       []Item
	Cents       ledger.Cents // the sum of the items
	Said        *Total       // what record 7 says; nil if there is none to read
	Problems    []Problem
	Refused     bool // a problem refuses this batch; the file may be refused besides
	// CanonicalSHA256 is over the batch's records 6, 4 and 7 without line ends
	// and trailing blanks: a batch that is sent again compares equal.
	CanonicalSHA256 Hash
}

// Box is what one record 8 closes: a lockbox on a deposit date.
type Box struct {
	Lockbox     string
	DepositDate calendar.Date // of its first record 5
	Batches     int           // with items
	Items       int
	Cents       ledger.Cents
	Said        *Total // what record 8 says; nil if there is none to read
}

// Summary is what Read found in a file. Its JSON form has the keys of
// `lockbox inspect`.
type Summary struct {
	Format  string `json:"format"`  // "bai", "csv", "x12", or what else Recognize saw
	Profile string `json:"profile"` // the profile's name

	Lockboxes int          `json:"lockboxes"` // with items
	Batches   int          `json:"batches"`   // with items
	Items     int          `json:"items"`     // checks: records 6 or BPR, also of a file that does not foot
	Cents     ledger.Cents `json:"cents"`     // their sum as read

	// Empty is a file without items whose totals are all zero: a bank's way of
	// saying that there was no mail, and no error.
	Empty bool `json:"empty"`
	// Balanced says that every total of a batch and of a lockbox is there and
	// agrees with its items.
	Balanced bool `json:"balanced"`
	// Whole says that the file begins with its header, ends with its trailer and
	// closes whatever it opens.
	Whole    bool      `json:"whole"`
	Problems []Problem `json:"problems"`

	Destination string        `json:"destination"` // record 1: to whom
	Origin      string        `json:"origin"`      // record 1: from which bank
	FileDate    calendar.Date `json:"file_date"`
	FileTime    string        `json:"file_time"` // HHMM as record 1 has it
	Boxes       []Box         `json:"-"`

	RefusedBatches int  `json:"refused_batches"` // refused by themselves, in a file that may be good otherwise
	SHA256         Hash `json:"sha256"`          // of the bytes
	// CanonicalSHA256 is over the records without line ends and trailing blanks,
	// so the same content sent with other line ends compares equal. It is only
	// made when Read hands out batches, since hashing costs more than footing.
	CanonicalSHA256 Hash `json:"-"`
}

// MarshalJSON writes the keys of `lockbox inspect`; problems is a list, never
// null.
func (s Summary) MarshalJSON() ([]byte, error) {
	type plain Summary // without this method
	if s.Problems == nil {
		s.Problems = []Problem{}
	}
	return json.Marshal(plain(s))
}

// Foots says that the file is whole and that nothing in it is refused: what
// `lockbox inspect` answers with exit code 0. Notes are no obstacle.
func (s Summary) Foots() bool {
	return s.Whole && s.RefusedBatches == 0 && !s.Refused()
}

// Refused says that the file must be refused whole. Batches may still be
// refused one by one when it is not.
func (s Summary) Refused() bool {
	if !s.Whole {
		return true
	}
	for _, p := range s.Problems {
		if p.Refuses == RefusesFile {
			return true
		}
	}
	return false
}
