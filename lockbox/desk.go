package lockbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// The states of a check. Of a taken one its receipts tell the rest: pending,
// posted, returned.
const (
	itemTaken    = "taken"
	itemSuspense = "suspense" // on the books, but nobody's
	itemHeld     = "held"     // not on the books
	itemRefused  = "refused"  // not on the books, with its batch
	itemVoid     = "void"
)

// Errors of the desk.
var (
	ErrNoItem   = errors.New("there is no such check")
	ErrNotNow   = errors.New("this can't be done with the check as it stands")
	errOperator = errors.New("an act needs an operator's name")
)

// Return codes of a bank for a check.
const (
	NSF    = "NSF" // not sufficient funds: the only one that bears a fee
	Stop   = "STOP"
	Closed = "CLOSED"
)

// WorkItem is a check, or a whole file, that waits for a person.
type WorkItem struct {
	FileID   int64         `json:"file_id"`
	File     string        `json:"file"`
	Item     int           `json:"item"`  // the check's ordinal in its file; 0 for a whole file
	Items    int           `json:"items"` // 1, or the file's
	State    string        `json:"state"` // suspense, held, refused
	Reason   string        `json:"reason"`
	Lockbox  string        `json:"lockbox"`
	Batch    string        `json:"batch"`
	Deposit  calendar.Date `json:"deposit"`
	Received calendar.Date `json:"received"` // null if the bank left it blank
	Arrived  calendar.Date `json:"arrived"`  // the day of the ingestion
	AgeDays  int           `json:"age_days"` // since then
	Cents    ledger.Cents  `json:"cents"`
	Check    string        `json:"check"`
	Coupons  []Coupon      `json:"coupons"`
	Raw      string        `json:"raw"` // its lines, account numbers masked; "" if the file's layout is not known any more
}

// Held lists what waits for a person, oldest first: checks in suspense, held
// ones, those of a refused batch that has not come again, and held files.
func (d Desk) Held(ctx context.Context) ([]WorkItem, error) {
	rows, err := d.DB.Query(ctx, `
		select f.id, f.name, i.ordinal, 1, i.state, i.reason, b.lockbox, b.number, b.deposit_on, i.received_on, f.ingested_on, i.cents, i.check_no, i.coupons, f.profile, i.raw_sealed
		from lockbox_item i join lockbox_file f on f.id = i.file_id join lockbox_batch b on b.file_id = i.file_id and b.ordinal = i.batch
		where i.state in ('suspense', 'held', 'refused') and b.state <> 'replaced'
		union all
		select f.id, f.name, 0, f.items, f.state, $1, '', '', null, null, f.ingested_on, f.cents, '', '[]', f.profile, null
		from lockbox_file f where f.state = 'held'
		order by 11, 1, 3`, BatchDiffers)
	if err != nil {
		return nil, err
	}
	list := []WorkItem{}
	var w WorkItem
	var coupons, sealed []byte
	var profile string
	_, err = pgx.ForEachRow(rows, []any{&w.FileID, &w.File, &w.Item, &w.Items, &w.State, &w.Reason, &w.Lockbox, &w.Batch, &w.Deposit, &w.Received, &w.Arrived, &w.Cents, &w.Check, &coupons, &profile, &sealed}, func() error {
		w.Coupons, w.Raw, w.AgeDays = []Coupon{}, "", int(d.Day-w.Arrived)
		if err := json.Unmarshal(coupons, &w.Coupons); err != nil {
			return err
		}
		if sealed != nil {
			raw, err := d.Keys.Open(sealed, sealContext(w.FileID, w.Item))
			if err != nil {
				return err
			}
			if p, err := ProfileNamed(d.profiles(), profile); err == nil {
				w.Raw = Item{Raw: string(raw)}.MaskedRaw(p)
			}
		}
		list = append(list, w)
		return nil
	})
	return list, err
}

// onHand is a check that an act is about, its row locked.
type onHand struct {
	file     int64
	ordinal  int
	cents    ledger.Cents
	received calendar.Date
	deposit  calendar.Date
	arrived  calendar.Date
	check    string
	coupons  []Coupon
	state    string
	reason   string
	entry    int32
}

func (h *onHand) String() string { return fmt.Sprintf("item %d of file %d", h.ordinal, h.file) }

// act carries out what a person does with a check, in one transaction with its
// record. do returns the account it is about, 0 for none.
func (d Desk) act(ctx context.Context, verb string, file int64, item int, reason string, detail map[string]any, states []string, do func(tx pgx.Tx, h *onHand) (account int64, err error)) error {
	if d.Operator == "" {
		return errOperator
	}
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		h, err := take(ctx, tx, file, item)
		if err != nil {
			return err
		}
		if !slices.Contains(states, h.state) {
			return fmt.Errorf("%s: %s: it is %s, and only a check that is %s will do: %w", verb, h, describe(h), strings.Join(states, " or "), ErrNotNow)
		}
		account, err := do(tx, h)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", verb, h, err)
		}
		if detail == nil {
			detail = map[string]any{}
		}
		detail["file_id"], detail["item"], detail["cents"] = file, item, h.cents
		return billing.Act{Day: d.Day, Operator: d.Operator, Reason: reason, Verb: verb, Detail: detail}.Record(ctx, tx, account)
	})
}

// describe says how a check stands.
func describe(h *onHand) string {
	if h.reason == "" {
		return h.state
	}
	return h.state + " (" + h.reason + ")"
}

// take locks a check.
func take(ctx context.Context, tx pgx.Tx, file int64, item int) (*onHand, error) {
	h := &onHand{file: file, ordinal: item}
	var coupons []byte
	err := tx.QueryRow(ctx, `select i.cents, i.received_on, b.deposit_on, f.ingested_on, i.check_no, i.coupons, i.state, i.reason, i.entry
		from lockbox_item i join lockbox_file f on f.id = i.file_id join lockbox_batch b on b.file_id = i.file_id and b.ordinal = i.batch
		where i.file_id = $1 and i.ordinal = $2 for update of i`, file, item).
		Scan(&h.cents, &h.received, &h.deposit, &h.arrived, &h.check, &coupons, &h.state, &h.reason, &h.entry)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%s: %w", h, ErrNoItem)
	}
	if err != nil {
		return nil, err
	}
	return h, json.Unmarshal(coupons, &h.coupons)
}

// date is the received date that the check's money will have: the bank's, or
// where the bank left it blank the deposit date.
func (h *onHand) date(day calendar.Date) (calendar.Date, error) {
	on := h.received
	if on.IsZero() {
		on = h.deposit
	}
	switch {
	case h.cents == 0:
		return 0, fmt.Errorf("a check of nothing can only be voided: %w", ErrNotNow)
	case on.IsZero():
		return 0, fmt.Errorf("neither its received date nor its deposit date is known; give it one by Redate: %w", ErrNotNow)
	case on > day:
		return 0, fmt.Errorf("it says that it was received on %s, which has not come; give it its date by Redate: %w", on, ErrNotNow)
	}
	return on, nil
}

// Match gives the money of a check in suspense, or of a held one, to a member,
// with the received date it came with. It posts at once if its posting date
// has come.
func (d Desk) Match(ctx context.Context, fileID int64, item int, mrn, reason string) error {
	return d.act(ctx, "lockbox match", fileID, item, reason, map[string]any{"mrn": mrn}, []string{itemSuspense, itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		received, err := h.date(d.Day)
		if err != nil {
			return 0, err
		}
		account, err := billing.Find(ctx, tx, mrn)
		if err != nil {
			return 0, err
		}
		return account, d.give(ctx, tx, h, received, []share{{account, h.cents, commonKind(h.coupons)}}, "")
	})
}

// commonKind returns the kind that every coupon which names one names.
func commonKind(coupons []Coupon) (kind billing.Kind) {
	for _, c := range coupons {
		if c.Kind != "" && kind != "" && c.Kind != kind {
			return ""
		}
		if c.Kind != "" {
			kind = c.Kind
		}
	}
	return kind
}

// Release says that a held check is a check like any other after all, a
// suspected duplicate for one: it goes where its references say, be it into
// suspense.
func (d Desk) Release(ctx context.Context, fileID int64, item int, reason string) error {
	return d.act(ctx, "lockbox release", fileID, item, reason, nil, []string{itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		received, err := h.date(d.Day)
		if err != nil {
			return 0, err
		}
		if len(h.coupons) == 0 {
			h.coupons = []Coupon{{}}
		}
		known, err := lookUp(ctx, tx, [][]Coupon{h.coupons})
		if err != nil {
			return 0, err
		}
		shares, why := known.divide(h.cents, h.coupons)
		account := billing.House
		if len(shares) > 0 {
			account = shares[0].account
		}
		return account, d.give(ctx, tx, h, received, shares, why)
	})
}

// give takes a check out of suspense or hold and gives it to accounts; without
// any, it goes into suspense for the reason why.
func (d Desk) give(ctx context.Context, tx pgx.Tx, h *onHand, received calendar.Date, shares []share, why string) error {
	need := []int64{}
	if h.state == itemSuspense || len(shares) == 0 {
		need = append(need, billing.House)
	}
	for _, s := range shares {
		need = append(need, s.account)
	}
	book, err := billing.Load(ctx, tx, billing.OpenOnly, need...)
	if err != nil {
		return err
	}
	if h.state == itemSuspense {
		book.Account(billing.House).SuspenseOut(d.Day, h.entry, h.cents)
	}
	state, entry := itemTaken, int32(0)
	if len(shares) == 0 {
		state, entry = itemSuspense, book.Account(billing.House).SuspenseIn(d.Day, received, h.cents)
	}
	batch := &pgx.Batch{}
	for n, s := range shares {
		a := book.Account(s.account)
		r := a.Receive(d.Day, d.receipt(s, h.check, received, h.arrived))
		if r.PostsOn <= d.Day {
			a.Post(d.Policy, r, d.Day)
		}
		batch.Queue(`insert into lockbox_receipt (file_id, ordinal, coupon, account_id, receipt, cents) values ($1, $2, $3, $4, $5, $6)`, h.file, h.ordinal, n+1, s.account, r.No, int64(s.cents))
	}
	if err := book.Save(ctx); err != nil {
		return err
	}
	batch.Queue(`update lockbox_item set state = $3, reason = $4, entry = $5 where file_id = $1 and ordinal = $2`, h.file, h.ordinal, state, why, entry)
	return tx.SendBatch(ctx, batch).Close()
}

// Redate corrects the received date of a held check that came without one, or
// with one that can't be. The check stays held.
func (d Desk) Redate(ctx context.Context, fileID int64, item int, received calendar.Date, reason string) error {
	return d.act(ctx, "lockbox redate", fileID, item, reason, map[string]any{"received": received}, []string{itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		if received.IsZero() || received > d.Day {
			return 0, fmt.Errorf("%q can't be a received date: want a day up to %s", received, d.Day)
		}
		_, err := tx.Exec(ctx, `update lockbox_item set received_on = $3 where file_id = $1 and ordinal = $2`, fileID, item, received)
		return billing.House, err
	})
}

// Void says that a held check, or one in suspense, is no money of ours: a
// duplicate, or one that was sent back.
func (d Desk) Void(ctx context.Context, fileID int64, item int, reason string) error {
	return d.act(ctx, "lockbox void", fileID, item, reason, nil, []string{itemSuspense, itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		return billing.House, d.drop(ctx, tx, h, "voided")
	})
}

// drop ends a check that is nobody's.
func (d Desk) drop(ctx context.Context, tx pgx.Tx, h *onHand, why string) error {
	if h.state == itemSuspense {
		book, err := billing.Load(ctx, tx, billing.OpenOnly, billing.House)
		if err != nil {
			return err
		}
		book.Account(billing.House).SuspenseOut(d.Day, h.entry, h.cents)
		if err := book.Save(ctx); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `update lockbox_item set state = $3, reason = $4, entry = 0 where file_id = $1 and ordinal = $2`, h.file, h.ordinal, itemVoid, why)
	return err
}

// Return takes in that the bank sent a check back, before or after it posted:
// NSF, STOP or CLOSED. Every receipt of the check is taken back; NSF bears one
// fee, on the account of its first coupon. A check that is nobody's leaves.
func (d Desk) Return(ctx context.Context, fileID int64, item int, code, reason string) error {
	if !slices.Contains([]string{NSF, Stop, Closed}, code) {
		return fmt.Errorf("lockbox return: %q is not a reason of a bank: want %s, %s or %s", code, NSF, Stop, Closed)
	}
	return d.act(ctx, "lockbox return", fileID, item, reason, map[string]any{"code": code}, []string{itemTaken, itemSuspense, itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		if h.state != itemTaken {
			return billing.House, d.drop(ctx, tx, h, "returned_"+strings.ToLower(code))
		}
		return d.takeBack(ctx, tx, h, code)
	})
}

// takeBack returns the receipts of a taken check.
func (d Desk) takeBack(ctx context.Context, tx pgx.Tx, h *onHand, code string) (first int64, err error) {
	type part struct {
		Account int64
		No      int32
	}
	rows, err := tx.Query(ctx, `select account_id, receipt from lockbox_receipt where file_id = $1 and ordinal = $2 order by coupon`, h.file, h.ordinal)
	if err != nil {
		return 0, err
	}
	parts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[part])
	if err != nil {
		return 0, err
	}
	if len(parts) == 0 {
		return 0, errors.New("no receipt of it is known")
	}
	var accounts []int64
	for _, p := range parts {
		accounts = append(accounts, p.Account)
	}
	book, err := billing.Load(ctx, tx, billing.Whole, accounts...)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		r := book.Account(p.Account).Receipt(p.No)
		if r.State != billing.Pending && r.State != billing.Posted {
			return 0, fmt.Errorf("the payment of %s received %s is %s already: %w", r.Cents, r.ReceivedOn, r.State, ErrNotNow)
		}
		if err := book.Account(p.Account).Return(d.Policy, r, d.Day, code); err != nil {
			return 0, err
		}
	}
	if code == NSF {
		a := book.Account(parts[0].Account)
		a.ReturnedFee(d.Policy, a.Receipt(parts[0].No), d.Day)
	}
	return parts[0].Account, book.Save(ctx)
}

// FindItem finds a check by the name of its file and its number, among several
// one in the states given, else one that waits.
func (d Desk) FindItem(ctx context.Context, fileName, checkNo string, states ...string) (fileID int64, item int, err error) {
	err = d.DB.QueryRow(ctx, `select i.file_id, i.ordinal from lockbox_item i join lockbox_file f on f.id = i.file_id
		where f.name = $1 and i.check_no = $2
		order by i.state = any($3) desc, array_position(array['held', 'suspense', 'taken', 'refused'], i.state), i.file_id desc, i.ordinal limit 1`,
		fileName, strings.TrimLeft(strings.TrimSpace(checkNo), "0"), append([]string{}, states...)).Scan(&fileID, &item)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("file %s, check %s: %w", fileName, checkNo, ErrNoItem)
	}
	return fileID, item, err
}

// TakeHeld says that a held file is right and its batches are new ones,
// whatever came before under their numbers. The content is that of the file.
func (d Desk) TakeHeld(ctx context.Context, fileID int64, content io.ReadSeeker, reason string) (Ingested, error) {
	none := Ingested{Problems: []Problem{}}
	if d.Operator == "" {
		return none, errOperator
	}
	var name, profile, state string
	var hash []byte
	err := d.DB.QueryRow(ctx, `select name, profile, state, sha256 from lockbox_file where id = $1`, fileID).Scan(&name, &profile, &state, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return none, fmt.Errorf("there is no lockbox file %d", fileID)
	}
	if err != nil {
		return none, err
	}
	p, err := ProfileNamed(d.profiles(), profile)
	if err != nil {
		return none, err
	}
	f, err := d.inspect(name, content, p)
	if err != nil {
		return none, err
	}
	if state != stateHeld || f.sum.SHA256 != Hash(hash) {
		return none, fmt.Errorf("file %d is %s, and the content given must be the very bytes that came: %w", fileID, state, ErrNotNow)
	}
	f.asNew, f.reason = true, reason
	return d.take(ctx, f, content)
}

// RefuseHeld says that a held file is a mistake of the bank: nothing of it is
// taken.
func (d Desk) RefuseHeld(ctx context.Context, fileID int64, reason string) error {
	if d.Operator == "" {
		return errOperator
	}
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update lockbox_file set state = 'refused' where id = $1 and state = 'held'`, fileID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("lockbox refuse: file %d is not held: %w", fileID, ErrNotNow)
		}
		if _, err := tx.Exec(ctx, `delete from lockbox_batch where file_id = $1`, fileID); err != nil {
			return err
		}
		return d.endWait(ctx, tx, fileID, "lockbox refuse", reason)
	})
}

// endWait clears what was noted of a held file and records who ended its wait.
func (d Desk) endWait(ctx context.Context, tx pgx.Tx, fileID int64, verb, reason string) error {
	if _, err := tx.Exec(ctx, `update exception set cleared_on = $2 where job = 'lockbox' and code = $3 and subject = $1 and cleared_on is null`, fileSubject(fileID), d.Day, BatchDiffers); err != nil {
		return err
	}
	return billing.Act{Day: d.Day, Operator: d.Operator, Reason: reason, Verb: verb, Detail: map[string]any{"file_id": fileID}}.Record(ctx, tx, billing.House)
}
