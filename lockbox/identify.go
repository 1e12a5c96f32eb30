package lockbox

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// Whose money is it? A check is given to an account only by a number that
// proves itself: a scanline or an MRN whose check digits hold and whose member
// exists, or the number of a statement that was made. Nothing is guessed. What
// can't be proven is company money in suspense until a person says more.

// Why a check waits for a person, or came to nothing.
const (
	ReceivedBlank     = "received_blank"        // held: the bank left the received date blank
	ReceivedFuture    = "received_future"       // held: received after the day on which it was ingested
	DuplicateCheck    = "duplicate_check"       // held: the same check came before
	NoAmount          = "no_amount"             // held: a check of nothing
	NoReference       = "no_reference"          // suspense: nothing names a payer
	BadReference      = "bad_reference"         // suspense: its check digits don't hold, or it is no number of ours
	UnknownMember     = "unknown_member"        // suspense: a good MRN that no member has
	UnknownStatement  = "unknown_statement"     // suspense: a statement that was never made
	Ambiguous         = "ambiguous"             // suspense: several accounts, and no amounts to divide it by
	ReferenceConflict = "reference_conflict"    // suspense: MRN and statement name different accounts
	TakenBack         = "taken_back"            // suspense: a person took it from whom its references named
	CouponsDontAddUp  = "coupons_do_not_add_up" // suspense: the parts don't come to the check
	BatchRefused      = "batch_refused"         // refused: with its batch
	ReturnUnmatched   = "return_unmatched"      // an exception: a check came back that is none of ours, or may be several
	BatchDiffers      = "batch_differs"         // held, a whole file: a batch taken before came with other checks
)

// Coupon is what one record of a check says of where its money goes. The first
// of a check's coupons is the check's own record; it has no cents of its own.
type Coupon struct {
	Payer     []string     `json:"payer,omitempty"`     // a scanline or an MRN, as the bank keyed it
	Statement []string     `json:"statement,omitempty"` // a statement number, else as Payer
	Kind      billing.Kind `json:"kind,omitempty"`      // the bills it is meant for
	Cents     ledger.Cents `json:"cents,omitempty"`     // its part of the check, 0 for not said
}

// couponsOf reads the coupons of a check.
func couponsOf(i *Item) []Coupon {
	own := Coupon{Kind: kindWord(i.Text)}
	below := map[string]bool{} // References of the check hold those of its overflows, too
	for _, o := range i.Overflows {
		for _, s := range o.References {
			below[s] = true
		}
	}
	for _, s := range i.References {
		if !below[s] || s == i.Payer || s == i.Invoice || s == i.Text {
			own.add(s, i.Invoice)
		}
	}
	coupons := append(make([]Coupon, 0, 1+len(i.Overflows)), own)
	for _, o := range i.Overflows {
		c := Coupon{Kind: kindWord(o.Text), Cents: o.Cents}
		for _, s := range o.References {
			c.add(s, o.Invoice)
		}
		switch {
		case c.named() || c.Cents > 0:
			coupons = append(coupons, c)
		case c.Kind != "": // a record of its own that directs the whole check
			coupons[0].Kind = c.Kind
		}
	}
	return coupons
}

// add files a reference under what it may be. A word that directs the money is
// none.
func (c *Coupon) add(reference, invoice string) {
	switch {
	case kindWord(reference) != "":
	case reference == invoice:
		c.Statement = append(c.Statement, reference)
	default:
		c.Payer = append(c.Payer, reference)
	}
}

func (c *Coupon) named() bool { return len(c.Payer)+len(c.Statement) > 0 }

// kindWord reads the word by which a coupon directs its money.
func kindWord(s string) billing.Kind {
	switch strings.ToUpper(s) {
	case "PREMIUM":
		return billing.Premium
	case "MEDICAL":
		return billing.Medical
	}
	return ""
}

const (
	mrnDigits      = 10
	scanlineDigits = 30
)

// directory is what is known of the references of a number of checks.
type directory struct {
	members map[string]int64 // MRN to account
	bills   map[int64]bool   // statement numbers that were made
}

// lookUp asks for all references of a number of checks at once.
func lookUp(ctx context.Context, tx pgx.Tx, checks [][]Coupon) (directory, error) {
	d := directory{bills: map[int64]bool{}}
	type line struct {
		mrn       string
		statement int64
	}
	var mrns []string
	var lines []line
	for _, coupons := range checks {
		for _, c := range coupons {
			for n, list := range [][]string{c.Payer, c.Statement} {
				for _, s := range list {
					mrn, statement := numbersIn(s)
					if mrn != "" {
						mrns = append(mrns, mrn)
					}
					if statement > 0 && (n == 1 || len(s) == scanlineDigits) {
						lines = append(lines, line{mrn, statement})
					}
				}
			}
		}
	}
	slices.Sort(mrns) // PostgreSQL puts them in order, too, but slower
	mrns = slices.Compact(mrns)
	d.members = make(map[string]int64, len(mrns))
	if len(mrns) > 0 {
		rows, err := tx.Query(ctx, `select mrn, account_id from member where mrn = any($1)`, mrns)
		if err != nil {
			return d, err
		}
		var mrn string
		var account int64
		if _, err := pgx.ForEachRow(rows, []any{&mrn, &account}, func() error { d.members[mrn] = account; return nil }); err != nil {
			return d, err
		}
	}
	// A statement of the very account that its scanline's MRN names, which is
	// most of them, says nothing more.
	accounts := map[int64]bool{}
	for _, l := range lines {
		if account := d.members[l.mrn]; account == 0 || account != l.statement/100 {
			d.bills[l.statement] = false
			accounts[l.statement/100] = true
		}
	}
	if len(accounts) > 0 {
		rows, err := tx.Query(ctx, `select account_id * 100 + cycle % 100 from bill where account_id = any($1) and account_id * 100 + cycle % 100 = any($2)`, keys(accounts), keys(d.bills))
		if err != nil {
			return d, err
		}
		var number int64
		if _, err := pgx.ForEachRow(rows, []any{&number}, func() error { d.bills[number] = true; return nil }); err != nil {
			return d, err
		}
	}
	return d, nil
}

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// numbersIn returns the MRN and the statement number that a reference may be,
// "" and 0 if it can't be one.
func numbersIn(s string) (mrn string, statement int64) {
	if line, err := billing.ParseScanline(s); err == nil {
		return string(line.MRN), line.Statement
	}
	if m, err := billing.ParseMRN(s); err == nil {
		mrn = string(m)
	}
	// A statement number has ten digits; zeros before them fill a wider field.
	if n := len(s) - 10; n >= 0 && onlyDigits(s) && strings.Trim(s[:n], "0") == "" {
		statement, _ = strconv.ParseInt(s[n:], 10, 64) // ten digits always fit
	}
	return mrn, statement
}

func onlyDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// account says which account a coupon names, or why it names none. A refusal
// that is firm stands whatever other coupons say: a number of ours that was
// misread must not be outvoted by a memo.
func (d directory) account(c Coupon) (account int64, reason string, firm bool) {
	several := false
	name := func(id int64) {
		several = several || account != 0 && account != id
		account = id
	}
	blame := func(why string, isFirm bool) {
		if reason == "" || isFirm && !firm {
			reason, firm = why, isFirm
		}
	}
	for _, s := range c.Payer {
		mrn, statement := numbersIn(s)
		switch {
		case mrn == "":
			// Ten or thirty digits are one of our numbers, misread. Anything
			// else is a memo.
			blame(BadReference, (len(s) == mrnDigits || len(s) == scanlineDigits) && onlyDigits(s))
			continue
		case d.members[mrn] == 0:
			blame(UnknownMember, true)
			continue
		}
		name(d.members[mrn])
		if len(s) == scanlineDigits && d.bills[statement] {
			name(statement / 100)
		}
	}
	for _, s := range c.Statement {
		mrn, statement := numbersIn(s)
		found := false
		if d.bills[statement] {
			name(statement / 100)
			found = true
		}
		if member := d.members[mrn]; member != 0 {
			name(member)
			found = true
		}
		switch {
		case found:
		case statement > 0:
			blame(UnknownStatement, false)
		default:
			blame(BadReference, len(s) == scanlineDigits && onlyDigits(s))
		}
	}
	switch {
	case firm:
		return 0, reason, true
	case several:
		return 0, ReferenceConflict, true
	case account != 0:
		return account, "", false
	}
	return 0, cmp.Or(reason, NoReference), false
}

// share is the part of a check that goes to one account.
type share struct {
	account int64
	cents   ledger.Cents
	kind    billing.Kind
}

// divide gives a check to accounts, or says why it can't be given to any. Only
// amounts divide a check, and only if they come to exactly the check: with one
// amount or none it goes to one account whole, since the check is the money
// and a coupon's amount a hint.
func (d directory) divide(cents ledger.Cents, coupons []Coupon) ([]share, string) {
	own, rest := coupons[0], coupons[1:]
	ownAccount, ownReason, firm := d.account(own)
	if firm {
		return nil, ownReason
	}
	shares := []share{}
	others := map[int64]bool{} // named without an amount
	soft := ""
	var sum ledger.Cents
	for _, c := range rest {
		account, reason, firm := d.account(c)
		if firm {
			return nil, reason
		}
		if reason != "" && soft == "" {
			soft = reason
		}
		switch {
		case c.Cents > 0:
			shares = append(shares, share{account, c.Cents, cmp.Or(c.Kind, own.Kind)})
			sum += c.Cents
		case account != 0:
			others[account] = true
		}
	}
	if len(shares) >= 2 {
		return checkShares(shares, ownAccount, others, sum, cents, soft)
	}
	kind := own.Kind
	for _, c := range rest {
		kind = cmp.Or(kind, c.Kind)
	}
	for _, s := range shares {
		if s.account != 0 {
			others[s.account] = true
		}
	}
	switch {
	case len(others) > 1:
		return nil, Ambiguous
	case len(others) == 1 && ownAccount != 0 && !others[ownAccount]:
		return nil, ReferenceConflict
	case len(others) == 1:
		ownAccount = keys(others)[0]
	case ownAccount == 0:
		if ownReason == NoReference {
			ownReason = cmp.Or(soft, ownReason)
		}
		return nil, ownReason
	}
	return []share{{ownAccount, cents, kind}}, ""
}

// checkShares holds the parts of a check against the check and against what
// else is named on it.
func checkShares(shares []share, own int64, others map[int64]bool, sum, cents ledger.Cents, reason string) ([]share, string) {
	among := own == 0
	for i := range shares {
		if shares[i].account == 0 { // the check's own record names its payer
			shares[i].account = own
		}
		if shares[i].account == 0 {
			return nil, cmp.Or(reason, NoReference)
		}
		among = among || shares[i].account == own
		delete(others, shares[i].account)
	}
	switch {
	case sum != cents:
		return nil, CouponsDontAddUp
	case len(others) > 0:
		return nil, Ambiguous
	case !among:
		return nil, ReferenceConflict
	}
	return shares, ""
}

// shareEnvelopes gives a check without any reference to the account that the
// other checks of its envelope went to, if the amounts prove it: the coupons
// that came along ask for exactly what all checks of the envelope come to, and
// name one account only. Anything less is a proposal at the desk.
func shareEnvelopes(chunk []*incoming) {
	for from := 0; from < len(chunk); {
		to := from + 1
		for to < len(chunk) && chunk[to].envelope == chunk[from].envelope && chunk[to].batch == chunk[from].batch {
			to++
		}
		if chunk[from].envelope != "" && to-from > 1 {
			shareEnvelope(chunk[from:to])
		}
		from = to
	}
}

func shareEnvelope(mates []*incoming) {
	accounts := map[int64]bool{}
	var came, asked ledger.Cents
	var kinds []Coupon
	for _, c := range mates {
		came += c.cents
		for _, s := range c.shares {
			accounts[s.account] = true
		}
		for _, coupon := range c.coupons {
			asked += coupon.Cents
		}
		kinds = append(kinds, c.coupons...)
		if c.state != "" || c.reason != "" && c.reason != NoReference {
			return // held or doubtful: nothing is proven by it
		}
	}
	if len(accounts) != 1 || asked != came {
		return
	}
	for _, c := range mates {
		if c.reason == NoReference {
			c.reason, c.shares = "", []share{{keys(accounts)[0], c.cents, commonKind(kinds)}}
		}
	}
}
