package billing

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Shown is one account as an operator sees it: its figures, what is open, the
// money in flight, and a timeline that explains the ledger figure to the cent.
type Shown struct {
	MRN       string         `json:"mrn"`    // the guarantor's
	Name      string         `json:"name"`   // the guarantor's
	Ledger    ledger.Cents   `json:"ledger"` // all that is owed, less credit
	Pending   ledger.Cents   `json:"pending"`
	Due       ledger.Cents   `json:"due"`
	Unapplied ledger.Cents   `json:"unapplied"` // credit, guest money included
	Guest     ledger.Cents   `json:"guest"`     // what of it belongs to guests
	Unbilled  ledger.Cents   `json:"unbilled"`
	Disputed  ledger.Cents   `json:"disputed"`
	Deferred  ledger.Cents   `json:"deferred"`
	Autopay   string         `json:"autopay"`
	Holds     []ShownHold    `json:"holds"` // those that stand
	Open      []ShownItem    `json:"open"`  // in the order they arrived
	Money     []ShownReceipt `json:"money"` // pending, or not used up
	Bills     []ShownBill    `json:"bills"` // cut since From, oldest first
	From      calendar.Date  `json:"from"`  // the timeline's first day
	Before    ledger.Cents   `json:"before"`
	Timeline  []Event        `json:"timeline"` // oldest first; Before and its cents add up to Ledger
}

// ShownHold is a hold that stands.
type ShownHold struct {
	Reason   string        `json:"reason"`
	PlacedOn calendar.Date `json:"placed_on"`
	PlacedBy string        `json:"placed_by"`
	Note     string        `json:"note"`
}

// ShownItem is an item with something left to pay.
type ShownItem struct {
	Kind        Kind          `json:"kind"`
	Cents       ledger.Cents  `json:"cents"`
	Paid        ledger.Cents  `json:"paid"`
	Open        ledger.Cents  `json:"open"`
	State       State         `json:"state"`
	Origin      string        `json:"origin"`
	What        string        `json:"what"`
	ChargeID    string        `json:"charge_id"`
	ServiceDate calendar.Date `json:"service_date"`
	ArrivedOn   calendar.Date `json:"arrived_on"`
	BilledOn    calendar.Date `json:"billed_on"` // null until a statement bills it
	DueOn       calendar.Date `json:"due_on"`    // of the bill that first billed it
	AgeDays     int           `json:"age_days"`  // since it was first billed
}

// ShownReceipt is money in flight, or posted and not used up.
type ShownReceipt struct {
	What       string        `json:"what"`
	Channel    string        `json:"channel"`
	State      string        `json:"state"`
	Cents      ledger.Cents  `json:"cents"`
	Unapplied  ledger.Cents  `json:"unapplied"` // 0 while it is pending
	ReceivedOn calendar.Date `json:"received_on"`
	PostsOn    calendar.Date `json:"posts_on"`
	Guest      bool          `json:"guest"`
	Payer      string        `json:"payer"`
}

// ShownBill is a bill in a line.
type ShownBill struct {
	Statement  string         `json:"statement"` // its number, ten digits
	Cycle      calendar.Cycle `json:"-"`
	CutOn      calendar.Date  `json:"cut_on"`
	DueOn      calendar.Date  `json:"due_on"`
	DeadlineOn calendar.Date  `json:"deadline_on"`
	Balance    ledger.Cents   `json:"balance"`
	AmountDue  ledger.Cents   `json:"amount_due"`
}

// Event is a journal entry that moved what the member owes.
type Event struct {
	Date        calendar.Date `json:"date"`
	EffectiveOn calendar.Date `json:"effective_on"` // when it counts: a payment's received date
	Code        string        `json:"code"`         // the journal's word for it
	What        string        `json:"what"`         // the same for people
	Cents       ledger.Cents  `json:"cents"`        // more owed (+) or less (-)
	Balance     ledger.Cents  `json:"balance"`      // after it
	Entry       int32         `json:"entry"`        // its number in the account's journal
	Reverses    int32         `json:"reverses,omitempty"`

	doc int32
}

// shownItem and shownReceipt are rows with the words that go with them.
type shownItem struct {
	Item
	chargeID, description string
	service               calendar.Date
}

// Show reads the account that a member's MRN is billed to, as it stands, with
// its timeline since a day. It locks nothing. Ages count up to asOf.
func Show(ctx context.Context, db *pgxpool.Pool, mrn string, since, asOf calendar.Date) (Shown, error) {
	s := shower{Shown: Shown{From: since, Holds: []ShownHold{}, Open: []ShownItem{}, Money: []ShownReceipt{}, Bills: []ShownBill{}, Timeline: []Event{}}, asOf: asOf}
	// Everything is of one moment, so that the figures and the timeline agree.
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return s.read(ctx, tx, mrn)
	})
	if err != nil {
		return Shown{}, err
	}
	s.fill()
	return s.Shown, nil
}

// shower gathers what Show reads.
type shower struct {
	Shown
	asOf     calendar.Date
	account  *Account
	items    []*shownItem // in order of number
	receipts []*Receipt   // in order of number
	bills    []ShownBill  // all, in order of cycle
}

// read asks for all of the account in one round trip.
func (s *shower) read(ctx context.Context, tx pgx.Tx, mrn string) error {
	batch := &pgx.Batch{}
	ask := func(scan func(pgx.Rows) error, sql string, more ...any) {
		batch.Queue(sql, append([]any{mrn}, more...)...).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := scan(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	}
	const mine = `account_id = (select account_id from member where mrn = $1)`
	ask(s.addAccount, `select a.id, a.mrn, a.autopay, coalesce(concat_ws(' ', g.first_name, g.last_name), '')
		from member m join account a on a.id = m.account_id left join member g on g.mrn = a.mrn where m.mrn = $1`)
	ask(s.addItem, `select no, kind, origin, state, cents, paid, cycle, billed_on, arrived_on, for_cycle, for_doc, parent, coalesce(charge_id, ''), service_date, description
		from item where `+mine+` order by no`)
	ask(s.addReceipt, `select no, channel, state, cents, unapplied, received_on, posts_on, end_code, guest, payer, reference from receipt where `+mine+` order by no`)
	ask(s.addBill, `select account_id, cycle, cut_on, due_on, deadline_on, balance, amount_due from bill where `+mine+` order by cycle`)
	ask(s.addHold, `select reason, placed_on, placed_by, note from hold where `+mine+` and released_on is null order by no`)
	// An entry may bear an earlier date than the one before it (a run for a date
	// past), so the window begins at an entry, not at a date.
	const first = `(select min(no) from journal where ` + mine + ` and posted_on >= $2)`
	ask(func(rows pgx.Rows) error { return rows.Scan(&s.Before) }, `select coalesce(sum(case when debit = 'receivable' then cents else -cents end), 0)::bigint
		from journal where `+mine+` and 'receivable' in (debit, credit) and no < coalesce(`+first+`, 2147483647)`, s.From)
	ask(s.addEvent, `select no, posted_on, effective_on, what, case when debit = 'receivable' then cents else -cents end, doc, coalesce(reverses, 0)
		from journal where `+mine+` and 'receivable' in (debit, credit) and no >= `+first+` order by no`, s.From)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if s.account == nil {
		return fmt.Errorf("MRN %s: %w", mrn, ErrNoAccount)
	}
	return nil
}

func (s *shower) addAccount(rows pgx.Rows) error {
	s.account = &Account{}
	err := rows.Scan(&s.account.ID, &s.MRN, &s.Autopay, &s.Name)
	return err
}

func (s *shower) addItem(rows pgx.Rows) error {
	i := &shownItem{}
	s.items = append(s.items, i)
	return rows.Scan(&i.No, &i.Kind, &i.Origin, &i.State, &i.Cents, &i.Paid, &i.Cycle, &i.BilledOn, &i.ArrivedOn, &i.ForCycle, &i.ForDoc, &i.Parent, &i.chargeID, &i.service, &i.description)
}

func (s *shower) addReceipt(rows pgx.Rows) error {
	r := &Receipt{}
	s.receipts = append(s.receipts, r)
	return rows.Scan(&r.No, &r.Channel, &r.State, &r.Cents, &r.Unapplied, &r.ReceivedOn, &r.PostsOn, &r.EndCode, &r.Guest, &r.Payer, &r.Reference)
}

func (s *shower) addBill(rows pgx.Rows) error {
	var b ShownBill
	var account int64
	if err := rows.Scan(&account, &b.Cycle, &b.CutOn, &b.DueOn, &b.DeadlineOn, &b.Balance, &b.AmountDue); err != nil {
		return err
	}
	b.Statement = fmt.Sprintf("%010d", StatementNumber(account, b.Cycle))
	s.bills = append(s.bills, b)
	return nil
}

func (s *shower) addHold(rows pgx.Rows) error {
	var h ShownHold
	err := rows.Scan(&h.Reason, &h.PlacedOn, &h.PlacedBy, &h.Note)
	s.Holds = append(s.Holds, h)
	return err
}

func (s *shower) addEvent(rows pgx.Rows) error {
	var e Event
	err := rows.Scan(&e.Entry, &e.Date, &e.EffectiveOn, &e.Code, &e.Cents, &e.doc, &e.Reverses)
	s.Timeline = append(s.Timeline, e)
	return err
}

// fill turns what was read into figures and words.
func (s *shower) fill() {
	for _, i := range s.items {
		s.account.Items = append(s.account.Items, &i.Item)
		if i.Open() > 0 {
			s.Open = append(s.Open, s.openItem(i))
		}
	}
	s.account.Receipts = s.receipts
	for _, r := range s.receipts {
		if r.State == Pending || r.State == Posted && r.Unapplied > 0 {
			shown := ShownReceipt{What: r.words(), Channel: r.Channel, State: r.State, Cents: r.Cents, ReceivedOn: r.ReceivedOn, PostsOn: r.PostsOn, Guest: r.Guest, Payer: r.Payer}
			if r.State == Posted {
				shown.Unapplied = r.Unapplied
			}
			s.Money = append(s.Money, shown)
		}
	}
	for _, b := range s.bills {
		if b.CutOn >= s.From {
			s.Bills = append(s.Bills, b)
		}
	}
	f := s.account.Figures()
	s.Ledger, s.Pending, s.Due, s.Unapplied, s.Guest = f.Ledger, f.Pending, f.Due, f.Unapplied, f.Guest
	s.Unbilled, s.Disputed, s.Deferred = f.Unbilled, f.Disputed, f.Deferred
	balance := s.Before
	for n := range s.Timeline {
		e := &s.Timeline[n]
		balance += e.Cents
		e.Balance, e.What = balance, s.explain(e)
	}
}

func (s *shower) openItem(i *shownItem) ShownItem {
	shown := ShownItem{Kind: i.Kind, Cents: i.Cents, Paid: i.Paid, Open: i.Open(), State: i.State, Origin: i.Origin, What: s.itemWords(i),
		ChargeID: s.original(i).chargeID, ServiceDate: s.original(i).service, ArrivedOn: i.ArrivedOn, BilledOn: i.BilledOn}
	if b := s.bill(i.Cycle); b != nil && !i.BilledOn.IsZero() {
		shown.DueOn, shown.AgeDays = b.DueOn, max(0, int(s.asOf-i.BilledOn))
	}
	return shown
}

func (s *shower) item(no int32) *shownItem {
	if n, ok := slices.BinarySearchFunc(s.items, no, func(i *shownItem, no int32) int { return cmp.Compare(i.No, no) }); ok {
		return s.items[n]
	}
	return nil
}

func (s *shower) receipt(no int32) *Receipt {
	if n, ok := slices.BinarySearchFunc(s.receipts, no, func(r *Receipt, no int32) int { return cmp.Compare(r.No, no) }); ok {
		return s.receipts[n]
	}
	return nil
}

func (s *shower) bill(c calendar.Cycle) *ShownBill {
	if n, ok := slices.BinarySearchFunc(s.bills, c, func(b ShownBill, c calendar.Cycle) int { return cmp.Compare(b.Cycle, c) }); ok {
		return &s.bills[n]
	}
	return nil
}

// original is the charge that an item was split from, or the item itself.
func (s *shower) original(i *shownItem) *shownItem {
	if from := s.item(i.Parent); from != nil {
		return from
	}
	return i
}

// explain says in words what an entry was about.
func (s *shower) explain(e *Event) string {
	switch e.Code {
	case ledger.Payment, ledger.Opening, ledger.Return, ledger.Refund, ledger.Remittance:
		r := s.receipt(e.doc)
		if r == nil {
			break
		}
		switch e.Code {
		case ledger.Return:
			return lower("Came back", r.words()) + because(r.EndCode)
		case ledger.Refund:
			return lower("Refund of credit from", r.words())
		case ledger.Remittance:
			return lower("Unclaimed credit sent to the state, from", r.words())
		}
		return r.words()
	default:
		i := s.item(e.doc)
		if i == nil {
			break
		}
		switch {
		case e.Code == ledger.Adjustment && e.Cents < 0:
			return lower("Adjustment of", s.itemWords(i))
		case e.Code == ledger.FeeReversal:
			return s.itemWords(i) + ": taken back, the payment had come in time"
		case e.Code == ledger.Waiver:
			return lower("Waived:", s.itemWords(i))
		}
		return s.itemWords(i)
	}
	return strings.ReplaceAll(e.Code, "_", " ")
}

// lower puts a text in the middle of a sentence.
func lower(before, text string) string {
	return before + " " + strings.ToLower(text[:1]) + text[1:]
}

func because(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}

// itemWords says what an item is for.
func (s *shower) itemWords(i *shownItem) string {
	charge := s.original(i)
	words := charge.description
	if r := s.receipt(i.ForDoc); r != nil && i.Origin == FromReturnedFee {
		words = lower("Returned payment fee for", r.words())
	}
	if i.Kind != Fee {
		words = strings.ToUpper(string(i.Kind[:1])) + string(i.Kind[1:]) + ": " + cmp.Or(words, string(charge.Origin))
	}
	if charge.chargeID != "" {
		words += " [" + charge.chargeID + "]"
	}
	if !charge.service.IsZero() {
		words += ", service " + charge.service.Long()
	}
	return cmp.Or(words, strings.ReplaceAll(i.Origin, "_", " "))
}

// channels are the words for money by where it came from.
var channels = map[string]string{
	"lockbox": "Check", "ach": "Autopay debit", "card": "Card payment", "counter": "Payment at the counter", "online": "Online payment",
	"phone": "Payment by phone", "check": "Check", "guest": "Guest payment", "opening": "Credit brought along",
}

// words says what a receipt was.
func (r *Receipt) words() string {
	words := cmp.Or(channels[r.Channel], r.Channel)
	if r.Reference != "" {
		words += " " + r.Reference
	}
	if r.Payer != "" {
		words += " from " + r.Payer
	}
	return words + ", received " + r.ReceivedOn.Long()
}
