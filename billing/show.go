package billing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// Window says as of which day an account is shown, and how much of its story.
type Window struct {
	From calendar.Date // the timeline's first day
	On   calendar.Date // ages count up to this day
	Past bool          // as the account stood at the end of On: nothing dated later counts

	Archive string // the folder of archived months
}

// end is the last day of which anything counts.
func (w Window) end() calendar.Date {
	if w.Past {
		return w.On
	}
	return calendar.Of(9999, 12, 31)
}

// Shown is one account as an operator sees it: its figures, what is open, the
// money in flight, and a timeline that explains the ledger figure to the cent.
type Shown struct {
	MRN       string         `json:"mrn"`    // the guarantor's
	Name      string         `json:"name"`   // the guarantor's
	AsOf      calendar.Date  `json:"as_of"`  // the day it is shown as of; ages count up to it
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
	Plans     []ShownPlan    `json:"plans"` // all, oldest first
	Open      []ShownItem    `json:"open"`  // in the order they arrived
	Money     []ShownReceipt `json:"money"` // pending, or not used up
	Bills     []ShownBill    `json:"bills"` // cut since From, oldest first
	From      calendar.Date  `json:"from"`  // the timeline's first day
	Before    ledger.Cents   `json:"before"`
	Timeline  []Event        `json:"timeline"` // in the order it was booked; Before and its cents add up to Ledger
}

// ShownHold is a hold that stands.
type ShownHold struct {
	Reason   string        `json:"reason"`
	PlacedOn calendar.Date `json:"placed_on"`
	PlacedBy string        `json:"placed_by"`
	Note     string        `json:"note"`
}

// ShownPlan is a payment plan.
type ShownPlan struct {
	Kind         Kind          `json:"kind"`
	Cents        ledger.Cents  `json:"cents"`
	Installments int           `json:"installments"`
	Billed       int           `json:"billed"`   // installments so far
	Deferred     ledger.Cents  `json:"deferred"` // what it has still to bill
	MadeOn       calendar.Date `json:"made_on"`
	State        string        `json:"state"`
	EndedOn      calendar.Date `json:"ended_on"`

	no int32
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
	Statement   string        `json:"statement,omitempty"` // a charge's or fee's: the one that first billed it
	Paid        []Paid        `json:"paid,omitempty"`      // a payment's: where its money went

	doc int32
}

// Paid is money of a payment that went to what a bill had billed, or came back
// from there.
type Paid struct {
	On        calendar.Date `json:"on"`
	Statement string        `json:"statement"`
	Kind      Kind          `json:"kind"`
	Cents     ledger.Cents  `json:"cents"`
}

// shownItem is a row with the words that go with it.
type shownItem struct {
	Item
	chargeID, description string
	service               calendar.Date
}

// Show reads the account that a member's MRN is billed to, with its timeline
// since a day: as it stands, or as it stood at the end of a day. It locks
// nothing.
func Show(ctx context.Context, db postgres.DB, mrn string, w Window) (Shown, error) {
	s := shower{window: w, Shown: Shown{AsOf: w.On, From: w.From, Holds: []ShownHold{}, Plans: []ShownPlan{}, Open: []ShownItem{}, Money: []ShownReceipt{}, Bills: []ShownBill{}, Timeline: []Event{}}}
	// Everything is of one moment, so that the figures and the timeline agree.
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return s.read(ctx, tx, mrn)
	})
	if err != nil {
		return Shown{}, err
	}
	s.rollBack()
	s.fill()
	return s.Shown, nil
}

// shower gathers what Show reads.
type shower struct {
	Shown
	window      Window
	account     *Account
	items       []*shownItem // in order of number
	receipts    []*Receipt   // in order of number
	bills       []ShownBill  // all, in order of cycle
	allocations []Allocation // since the window began, in order of number
	standings   []Standing   // in order of number
	entries     []ledger.Entry
}

// accountSQL finds the account of a member as it and its guarantor's name were
// on a day.
const accountSQL = `select a.id, a.mrn, a.opened_on, coalesce(concat_ws(' ', coalesce(gw.first_name, g.first_name), coalesce(gw.last_name, g.last_name)), '')
	from member m left join lateral (select account_id from member_was where mrn = m.mrn and until_on > $2 order by until_on limit 1) w on true
	join account a on a.id = coalesce(w.account_id, m.account_id)
	left join member g on g.mrn = a.mrn left join lateral (select first_name, last_name from member_was where mrn = a.mrn and until_on > $2 order by until_on limit 1) gw on true
	where m.mrn = $1`

// read asks who it is about, then for all of the account in one round trip.
func (s *shower) read(ctx context.Context, tx pgx.Tx, mrn string) error {
	s.account = &Account{}
	err := tx.QueryRow(ctx, accountSQL, mrn, s.window.end()).Scan(&s.account.ID, &s.MRN, &s.account.OpenedOn, &s.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("MRN %s: %w", mrn, ErrNoAccount)
	}
	if err != nil {
		return err
	}
	if s.account.OpenedOn > s.window.end() {
		return fmt.Errorf("MRN %s: %w on %s: it was opened on %s", mrn, ErrNoAccount, s.AsOf, s.account.OpenedOn)
	}
	batch := &pgx.Batch{}
	ask := func(read func(*ledger.Row), sql string, more ...any) {
		batch.Queue(sql, append([]any{s.account.ID}, more...)...).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				row := ledger.ReadRow(rows)
				read(&row)
			}
			return rows.Err()
		})
	}
	ask(s.addItem, `select no, kind, origin, state, cents, paid, cycle, billed_on, made_on, arrived_on, for_cycle, for_doc, parent, entry, charge_id, service_date, description
		from item where account_id = $1 order by no`)
	ask(s.addReceipt, `select no, channel, state, cents, unapplied, refunded, received_on, arrived_on, posts_on, posted_on, in_entry, ended_on, end_code, guest, payer, reference
		from receipt where account_id = $1 order by no`)
	ask(s.addBill, `select cycle, cut_on, due_on, deadline_on, balance, amount_due from bill where account_id = $1 and made_on <= $2 order by cycle`, s.window.end())
	ask(s.addHold, `select reason, placed_on, placed_by, note from hold where account_id = $1 and placed_on <= $2 and (released_on is null or released_on > $2) order by no`, s.window.end())
	ask(s.addPlan, `select no, kind, cents, installments, billed, made_on, state, ended_on from plan where account_id = $1 and made_on <= $2 order by no`, s.window.end())
	ask(s.addStanding, `select no, on_date, item, state, source, cents from standing where account_id = $1 order by no`)
	ask(s.addAllocation, `select no, receipt, item, cents, on_date from allocation where account_id = $1 and on_date >= $2 order by no`, s.From)
	ask(s.addEntry, `select no, posted_on, effective_on, what, debit, credit, cents, doc, coalesce(reverses, 0) from journal where account_id = $1 and posted_on >= $2 order by no`, s.From)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return s.readArchives(ctx, tx)
}

// readArchives adds the entries of months that lie in files, if the window
// reaches into any.
func (s *shower) readArchives(ctx context.Context, tx pgx.Tx) error {
	months, err := ArchivedMonths(ctx, tx, calendar.CycleOf(s.From))
	if err != nil || len(months) == 0 {
		return err
	}
	entries, err := archivedEntries(ctx, tx, s.window.Archive, s.account.ID, months)
	for _, e := range entries {
		if e.PostedOn >= s.From {
			s.entries = append(s.entries, e)
		}
	}
	slices.SortFunc(s.entries, func(x, y ledger.Entry) int { return cmp.Compare(x.No, y.No) })
	return err
}

func (s *shower) addItem(r *ledger.Row) {
	s.items = append(s.items, &shownItem{Item: Item{No: r.Int32(), Kind: Kind(r.Text()), Origin: r.Text(), State: State(r.Text()), Cents: ledger.Cents(r.Int64()), Paid: ledger.Cents(r.Int64()),
		Cycle: calendar.Cycle(r.Int32()), BilledOn: r.Date(), MadeOn: r.Date(), ArrivedOn: r.Date(), ForCycle: calendar.Cycle(r.Int32()), ForDoc: r.Int32(), Parent: r.Int32(), Entry: r.Int32()},
		chargeID: r.Text(), service: r.Date(), description: r.Text()})
}

func (s *shower) addReceipt(r *ledger.Row) {
	s.receipts = append(s.receipts, &Receipt{No: r.Int32(), Channel: r.Text(), State: r.Text(), Cents: ledger.Cents(r.Int64()), Unapplied: ledger.Cents(r.Int64()), Refunded: ledger.Cents(r.Int64()),
		ReceivedOn: r.Date(), ArrivedOn: r.Date(), PostsOn: r.Date(), PostedOn: r.Date(), InEntry: r.Int32(), EndedOn: r.Date(), EndCode: r.Text(), Guest: r.Bool(), Payer: r.Text(), Reference: r.Text()})
}

func (s *shower) addBill(r *ledger.Row) {
	b := ShownBill{Cycle: calendar.Cycle(r.Int32()), CutOn: r.Date(), DueOn: r.Date(), DeadlineOn: r.Date(), Balance: ledger.Cents(r.Int64()), AmountDue: ledger.Cents(r.Int64())}
	b.Statement = fmt.Sprintf("%010d", StatementNumber(s.account.ID, b.Cycle))
	s.bills = append(s.bills, b)
}

func (s *shower) addHold(r *ledger.Row) {
	s.Holds = append(s.Holds, ShownHold{r.Text(), r.Date(), r.Text(), r.Text()})
}

func (s *shower) addPlan(r *ledger.Row) {
	s.Plans = append(s.Plans, ShownPlan{no: r.Int32(), Kind: Kind(r.Text()), Cents: ledger.Cents(r.Int64()), Installments: int(r.Int32()), Billed: int(r.Int32()), MadeOn: r.Date(), State: r.Text(), EndedOn: r.Date()})
}

func (s *shower) addStanding(r *ledger.Row) {
	s.standings = append(s.standings, Standing{r.Int32(), r.Date(), r.Int32(), r.Text(), r.Int32(), ledger.Cents(r.Int64())})
}

func (s *shower) addAllocation(r *ledger.Row) {
	s.allocations = append(s.allocations, Allocation{r.Int32(), r.Int32(), r.Int32(), ledger.Cents(r.Int64()), r.Date()})
}

func (s *shower) addEntry(r *ledger.Row) {
	s.entries = append(s.entries, ledger.Entry{No: r.Int32(), PostedOn: r.Date(), EffectiveOn: r.Date(), What: r.Text(), Debit: r.Text(), Credit: r.Text(), Cents: ledger.Cents(r.Int64()), Doc: r.Int32(), Reverses: r.Int32()})
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
	for n := range s.Plans {
		pl := &s.Plans[n]
		_, pl.Deferred = s.account.deferred(&Plan{No: pl.no})
	}
	f := s.account.Figures()
	s.Ledger, s.Pending, s.Due, s.Unapplied, s.Guest = f.Ledger, f.Pending, f.Due, f.Unapplied, f.Guest
	s.Unbilled, s.Disputed, s.Deferred = f.Unbilled, f.Disputed, f.Deferred
	s.tell()
}

// tell makes the timeline of the journal entries. What stood before them is
// what they leave to explain of the ledger.
func (s *shower) tell() {
	s.Before = s.Ledger
	for _, e := range s.entries {
		if cents := e.Member(); cents != 0 {
			s.Before -= cents
			s.Timeline = append(s.Timeline, Event{Date: e.PostedOn, EffectiveOn: e.EffectiveOn, Code: e.What, Cents: cents, Entry: e.No, Reverses: e.Reverses, doc: e.Doc})
		}
	}
	s.trace()
	balance := s.Before
	for n := range s.Timeline {
		e := &s.Timeline[n]
		balance += e.Cents
		e.Balance, e.What = balance, s.explain(e)
		if i := s.item(e.doc); i != nil {
			e.Statement = s.statement(i)
		}
	}
}

// trace tells each payment's event where its money went. What an event took
// back with the payment itself stands there.
func (s *shower) trace() {
	posted, returned := map[int32]*Event{}, map[int32]*Event{}
	for n := range s.Timeline {
		e := &s.Timeline[n]
		switch r := s.receipt(e.doc); {
		case r == nil:
		case e.Code == ledger.Return:
			returned[r.No] = e
		case e.Code != ledger.Refund && e.Code != ledger.Remittance:
			posted[r.No] = e
		}
	}
	for _, al := range s.allocations {
		e, i := posted[al.Receipt], s.item(al.Item)
		if back := returned[al.Receipt]; back != nil && back.Date == al.On && al.Cents < 0 {
			e = back
		}
		if e == nil || i == nil {
			continue
		}
		p := Paid{On: al.On, Statement: s.statement(i), Kind: i.Kind, Cents: al.Cents}
		if last := len(e.Paid) - 1; last >= 0 && e.Paid[last].On == p.On && e.Paid[last].Statement == p.Statement && e.Paid[last].Kind == p.Kind && e.Paid[last].Cents < 0 == (p.Cents < 0) {
			e.Paid[last].Cents += p.Cents
		} else {
			e.Paid = append(e.Paid, p)
		}
	}
}

// statement is the number of the one that first billed an item, "" for none
// yet.
func (s *shower) statement(i *shownItem) string {
	if b := s.bill(i.Cycle); b != nil && i.State == Billed {
		return b.Statement
	}
	return ""
}

func (s *shower) openItem(i *shownItem) ShownItem {
	shown := ShownItem{Kind: i.Kind, Cents: i.Cents, Paid: i.Paid, Open: i.Open(), State: i.State, Origin: i.Origin, What: s.itemWords(i),
		ChargeID: s.original(i).chargeID, ServiceDate: s.original(i).service, ArrivedOn: i.ArrivedOn, BilledOn: i.BilledOn}
	if b := s.bill(i.Cycle); b != nil && !i.BilledOn.IsZero() {
		shown.DueOn, shown.AgeDays = b.DueOn, max(0, int(s.AsOf-i.BilledOn))
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
