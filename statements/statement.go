// Package statements turns what an account owes into the page a member reads.
//
// The cut decides the figures and seals them as a [Statement]; the PDF is a
// pure function of that value, so a stored statement can be printed again at
// any time, byte for byte the same. Nothing here asks a clock or a database,
// and nothing is added up on the page that was not sealed: [Statement.Check]
// proves the sums before anything is sealed. This package is the one door to
// the PDF library gofpdf.
package statements

import (
	"errors"
	"fmt"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Statement is all that stands on one member's monthly statement, and the
// contract between the cut that makes it and the page that shows it. Amounts
// follow the ledger: positive is owed by the member, negative is owed to the
// member, so that payments and credits are negative.
type Statement struct {
	Number   int64          `json:"number"` // 1 to 9,999,999,999, as the scanline holds it
	MRN      billing.MRN    `json:"mrn"`    // the account's: the guarantor's
	Date     calendar.Date  `json:"date"`   // the cut's day
	Due      calendar.Date  `json:"due"`    // already rolled to a banking day
	Cycle    calendar.Cycle `json:"cycle"`  // the month whose coverage is billed
	Delivery string         `json:"delivery"`
	Language string         `json:"language"` // ISO 639-1, "en" or empty for English

	To       Recipient `json:"to"`
	Biller   *Biller   `json:"-"` // sealed once for all statements
	Figures  Figures   `json:"figures"`
	Aging    []Bucket  `json:"aging"`  // of the amount due; youngest first
	Groups   []Group   `json:"groups"` // since the last statement, each kind once at most
	Autopay  Autopay   `json:"autopay,omitzero"`
	Messages []string  `json:"messages,omitzero"` // for this member, on the first page as far as they fit
	Grace    Grace     `json:"grace,omitzero"`
	Plan     Plan      `json:"plan,omitzero"`

	// Accessible makes the statement's PDF a tagged one, by the member's
	// preference. What is printed is the same.
	Accessible bool `json:"accessible,omitzero"`
}

// Paperless is how a statement is delivered that is not printed.
const Paperless = "paperless"

// Recipient is the guarantor, as the envelope's window shows it.
type Recipient struct {
	Name  string   `json:"name"`
	Lines []string `json:"lines"`        // street, second line, city state ZIP; none empty
	ZIP   string   `json:"zip,omitzero"` // its digits: none, 5, 9 or 11; the barcode's
}

// Biller is the health plan as its members meet it: all that is the same on
// every statement it sends in one language. It must not be changed once a
// statement was drawn with it.
type Biller struct {
	Language   string   `json:"language"` // of the printed words: "en" or "es"
	Name       string   `json:"name"`
	Sender     []string `json:"sender"`   // return address below the name
	RemitTo    []string `json:"remit_to"` // lockbox address below the name
	RemitIMb   string   `json:"remit_imb"`
	Phones     []Phone  `json:"phones"` // the first is the one for questions about a bill
	Hours      string   `json:"hours"`
	Web        string   `json:"web"`
	Assistance string   `json:"assistance"` // where to ask for financial assistance: web or phone
	Color      string   `json:"color"`      // #RRGGBB; anything else is the house's dark blue
	Logo       []byte   `json:"logo"`       // a PNG or JPEG; none for the name in letters
	Window     Windows  `json:"windows"`
	Notices    []Notice `json:"notices"`  // the biller's own, on the second page
	LateFee    string   `json:"late_fee"` // the rule in words; empty if the biller has none
}

// Phone is one telephone number and what it is for.
type Phone struct {
	Label  string `json:"label"` // "Premium bills", "TTY"
	Number string `json:"number"`
}

// Windows are the parts of page 1 that stay visible in the windows of the print
// vendor's envelope however the sheet slides: they belong to envelope and fold.
// A rectangle without a width is the default for a #10 double window.
type Windows struct {
	Sender Rect `json:"sender"`
	To     Rect `json:"to"`
}

// Rect is a rectangle on the page in points from its top left corner.
type Rect struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
	W float64 `json:"w"`
	H float64 `json:"h"`
}

// Figures are the sums of a statement. Two equations hold:
//
//	Previous + Payments + Adjustments + Charges + Fees = Balance
//	AmountDue + Disputed + Deferred - Credit = Balance
type Figures struct {
	Previous    ledger.Cents `json:"previous_cents,omitzero"`    // balance of the last statement
	Payments    ledger.Cents `json:"payments_cents,omitzero"`    // posted since, returned ones taken back; negative as a rule
	Adjustments ledger.Cents `json:"adjustments_cents,omitzero"` // corrections, assistance, waivers, refunds
	Charges     ledger.Cents `json:"charges_cents,omitzero"`     // new premium and medical
	Fees        ledger.Cents `json:"fees_cents,omitzero"`        // new late and returned-payment fees
	Balance     ledger.Cents `json:"balance_cents,omitzero"`
	AmountDue   ledger.Cents `json:"amount_due_cents,omitzero"` // never negative
	PastDue     ledger.Cents `json:"past_due_cents,omitzero"`   // the part of AmountDue whose due date has gone by
	Disputed    ledger.Cents `json:"disputed_cents,omitzero"`   // in the balance, not due
	Deferred    ledger.Cents `json:"deferred_cents,omitzero"`   // on a payment plan: in the balance, not due
	Credit      ledger.Cents `json:"credit_cents,omitzero"`     // unapplied credit, positive
	Pending     ledger.Cents `json:"pending_cents,omitzero"`    // received and not posted yet, positive; lowers nothing here
}

// Bucket is the part of the amount due that has been billed for so long.
type Bucket struct {
	FromDays int          `json:"from_days"` // 0, 30, 60, 90: days since the statement that first billed it
	Cents    ledger.Cents `json:"cents"`
}

// Kind is what the lines of a group have in common.
type Kind string

// The kinds, in the order of the page. Premium and medical lines make up
// Figures.Charges, the others the figure of their name.
const (
	Premium     Kind = "premium"
	Medical     Kind = "medical"
	Payments    Kind = "payments"
	Adjustments Kind = "adjustments"
	Fees        Kind = "fees"
)

// Group is the lines of one kind and their sum.
type Group struct {
	Kind  Kind         `json:"kind"`
	Lines []Line       `json:"lines"`
	Cents ledger.Cents `json:"cents"`
}

// Line is one row of the detail table. Gross and Plan are shown below a medical
// charge if there are any: what was billed, and what the plan took off it.
type Line struct {
	Date        calendar.Date `json:"date"` // of service, or on which money was received
	Description string        `json:"description"`
	Member      string        `json:"member,omitzero"`
	Reference   string        `json:"reference,omitzero"`
	Cents       ledger.Cents  `json:"cents"`
	Gross       ledger.Cents  `json:"gross_cents,omitzero"`
	Plan        ledger.Cents  `json:"plan_cents,omitzero"`
}

// Autopay is the debit the member may expect. On with no cents means that
// nothing is left to debit: a payment on its way covers what is due.
type Autopay struct {
	On    bool          `json:"on,omitzero"`
	Card  bool          `json:"card,omitzero"` // else a bank account
	Cents ledger.Cents  `json:"cents"`
	Date  calendar.Date `json:"date"`           // the due date, or later where notice of a changed amount asks for it
	Last4 string        `json:"last4,omitzero"` // of the account; of a card only where the gateway has told it
}

// Grace is where a member with premium tax credits stands whose premium is
// unpaid. No Until is no grace.
type Grace struct {
	Until    calendar.Date `json:"until,omitzero"`     // the last day on which paying all that is due keeps the coverage
	CoverEnd calendar.Date `json:"cover_end,omitzero"` // the day on which coverage ends otherwise
}

// Plan is a payment plan under way. No installments is no plan.
type Plan struct {
	Installment  int `json:"installment"`  // the last one billed
	Installments int `json:"installments"` // of so many
}

// Notice is a paragraph of the second page.
type Notice struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// Scanline returns the line of digits of the coupon.
func (s Statement) Scanline() billing.Scanline {
	return billing.Scanline{MRN: s.MRN, Statement: s.Number, Due: s.Figures.AmountDue}
}

// Check proves the statement's arithmetic and that what the coupon needs is
// there. The error names every sum that does not hold, with what is stated and
// what it adds up to; such a statement must not be sealed.
func (s Statement) Check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("statement %d, MRN %s: "+format, append([]any{s.Number, s.MRN}, args...)...))
	}
	equal := func(what string, stated, sum ledger.Cents) {
		if stated != sum {
			wrong("%s is stated as %s, but adds up to %s", what, stated, sum)
		}
	}
	if s.Number < 1 || s.Scanline().String() == "" {
		wrong("the number must be 1 to 9999999999")
	}
	if _, err := billing.ParseMRN(string(s.MRN)); err != nil {
		wrong("%w", err)
	}
	if s.Date.IsZero() || s.Due < s.Date {
		wrong("dated %q and due %q: both are needed, the due date not the earlier", s.Date, s.Due)
	}

	f := s.Figures
	equal("balance", f.Balance, f.Previous+f.Payments+f.Adjustments+f.Charges+f.Fees)
	equal("balance (due, disputed and deferred, less credit)", f.Balance, f.AmountDue+f.Disputed+f.Deferred-f.Credit)
	for _, a := range []struct {
		what  string
		cents ledger.Cents
	}{
		{"amount due", f.AmountDue}, {"past due", f.PastDue}, {"disputed", f.Disputed}, {"deferred", f.Deferred},
		{"credit", f.Credit}, {"pending", f.Pending}, {"autopay", s.Autopay.Cents},
	} {
		if a.cents < 0 {
			wrong("%s is %s, it cannot be negative", a.what, a.cents)
		}
	}
	if f.PastDue > f.AmountDue {
		wrong("past due %s is more than the amount due %s", f.PastDue, f.AmountDue)
	}
	s.checkGroups(wrong, equal)
	s.checkAging(wrong, equal)
	if a := s.Autopay; a.On && a.Cents > 0 && (a.Date.IsZero() || len(a.Last4) != 4 && !(a.Card && a.Last4 == "")) {
		wrong("autopay of %s needs its date and four digits of its account, has %q and %q", a.Cents, a.Date, a.Last4)
	}
	return errors.Join(errs...)
}

func (s Statement) checkGroups(wrong func(string, ...any), equal func(string, ledger.Cents, ledger.Cents)) {
	sums := map[Kind]ledger.Cents{}
	for i, g := range s.Groups {
		switch g.Kind {
		case Premium, Medical, Payments, Adjustments, Fees:
		default:
			wrong("group %d is of kind %q, which is none", i+1, g.Kind)
		}
		if _, twice := sums[g.Kind]; twice {
			wrong("group %d: there is a group %q before it", i+1, g.Kind)
		}
		var sum ledger.Cents
		for _, l := range g.Lines {
			sum += l.Cents
		}
		equal(fmt.Sprintf("group %q", g.Kind), g.Cents, sum)
		sums[g.Kind] += sum
	}
	equal("charges (premium and medical lines)", s.Figures.Charges, sums[Premium]+sums[Medical])
	equal("payments", s.Figures.Payments, sums[Payments])
	equal("adjustments", s.Figures.Adjustments, sums[Adjustments])
	equal("fees", s.Figures.Fees, sums[Fees])
}

func (s Statement) checkAging(wrong func(string, ...any), equal func(string, ledger.Cents, ledger.Cents)) {
	var sum ledger.Cents
	for i, b := range s.Aging {
		sum += b.Cents
		if i == 0 && b.FromDays != 0 || i > 0 && b.FromDays <= s.Aging[i-1].FromDays {
			wrong("aging bucket %d begins at day %d; the first begins at 0, each later than the one before", i+1, b.FromDays)
		}
	}
	equal("amount due (aging)", s.Figures.AmountDue, sum)
}

// Ask is what a statement wants of its reader; the whole first page follows
// from it.
type Ask int

const (
	Pay      Ask = iota // by check with the coupon, or otherwise
	Debited             // nothing: autopay will take it
	OnItsWay            // nothing: autopay is on, and a pending payment covers what is due
	Nothing             // nothing is due
	Credited            // nothing is due, and the biller owes the member
)

// Ask returns what the statement wants of its reader.
func (s Statement) Ask() Ask {
	switch f := s.Figures; {
	case f.AmountDue <= 0 && f.Credit > 0:
		return Credited
	case f.AmountDue <= 0:
		return Nothing
	case s.Autopay.On && s.Autopay.Cents > 0:
		return Debited
	case s.Autopay.On && f.Pending >= f.AmountDue:
		return OnItsWay
	}
	return Pay
}
