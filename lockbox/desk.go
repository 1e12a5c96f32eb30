package lockbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

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
	itemSentBack = "sent_back" // not on the books any more: returned to who sent it
)

// Errors of the desk.
var (
	ErrNoItem   = errors.New("there is no such check")
	ErrNotNow   = errors.New("this can't be done with the check as it stands")
	errOperator = errors.New("an act needs an operator's name")
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
	Raw      string        `json:"raw"` // its lines, account numbers masked

	Twin      *Twin      `json:"twin"`      // of a suspected duplicate: the check that it is like
	Proposals []Proposal `json:"proposals"` // whose it may be, likeliest first
	Problems  []Problem  `json:"problems"`  // of a whole file
}

// Waiting is SQL for the checks that wait for a person, each with its batch: in
// suspense, held, or of a refused batch that has not come again. A file on its way
// has no batches yet, and none of its checks waits.
//
// The batch of a check is sought by its key alone: by a join of the tables, of
// which the planner may know nothing yet, each batch could be held against each
// check of its file.
const Waiting = `(select i.*, b.lockbox, b.number, b.deposit_on from lockbox_item i
	cross join lateral (select * from lockbox_batch b where b.file_id = i.file_id and b.ordinal = i.batch and b.state in ('accepted', 'refused') limit 1) b
	where i.state in ('suspense', 'held', 'refused'))`

const heldSQL = `
	select f.id, f.name, i.ordinal, 1, i.state, i.reason, i.lockbox, i.number, i.deposit_on, i.received_on, f.ingested_on, i.cents, i.check_no, coalesce(i.coupons, '[]'), f.profile, i.batch, i.envelope, i.micr, '[]'
	from ` + Waiting + ` i join lockbox_file f on f.id = i.file_id
	union all
	select f.id, f.name, 0, f.items, f.state, $1, '', '', null, null, f.ingested_on, f.cents, '', '[]', f.profile, 0, '', null, f.problems
	from lockbox_file f where f.state = 'held'
	order by 11, 1, 3`

// Held lists what waits for a person, oldest first: checks in suspense, held
// ones, those of a refused batch that has not come again, and held files.
func (d Desk) Held(ctx context.Context) (list []WorkItem, err error) {
	err = pgx.BeginTxFunc(ctx, d.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		list, err = d.held(ctx, tx)
		return err
	})
	return list, err
}

func (d Desk) held(ctx context.Context, tx pgx.Tx) ([]WorkItem, error) {
	rows, err := tx.Query(ctx, heldSQL, BatchDiffers)
	if err != nil {
		return nil, err
	}
	items := []*WorkItem{}
	var seek []*proposed
	var files []int64
	var ordinals []int
	var profiles []string // of items
	like := map[[micrBytes]byte][]*WorkItem{}
	var w WorkItem
	var p proposed
	var coupons, problems []byte
	var profile string
	var micr *[micrBytes]byte
	_, err = pgx.ForEachRow(rows, []any{&w.FileID, &w.File, &w.Item, &w.Items, &w.State, &w.Reason, &w.Lockbox, &w.Batch, &w.Deposit, &w.Received, &w.Arrived, &w.Cents, &w.Check, &coupons, &profile,
		&p.batch, &p.envelope, &micr, &problems}, func() error {
		x := w
		x.Coupons, x.Proposals, x.Problems, x.AgeDays = nil, []Proposal{}, nil, int(d.Day-w.Arrived)
		if err := errors.Join(json.Unmarshal(coupons, &x.Coupons), json.Unmarshal(problems, &x.Problems)); err != nil {
			return err
		}
		items, profiles = append(items, &x), append(profiles, profile)
		files, ordinals = append(files, x.FileID), append(ordinals, x.Item)
		if x.State == itemSuspense || x.State == itemHeld && x.Item > 0 {
			seek = append(seek, &proposed{item: &x, batch: p.batch, envelope: p.envelope, micr: micr, found: map[int64]*Proposal{}})
		}
		if x.Reason == DuplicateCheck && micr != nil {
			like[*micr] = append(like[*micr], &x)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(propose(ctx, tx, seek), findTwins(ctx, tx, like)); err != nil {
		return nil, err
	}
	err = rawOf(ctx, tx, d.Keys, files, ordinals, func(n int, raw string) error {
		items[n].Raw = d.mask(raw, profiles[n])
		return nil
	})
	list := make([]WorkItem, 0, len(items))
	for _, x := range items {
		list = append(list, *x)
	}
	return list, err
}

// mask masks the account numbers in the lines of a check. Where the layout is
// not known any more, every long number is masked.
func (d Desk) mask(raw, profile string) string {
	if p, err := ProfileNamed(d.profiles(), profile); err == nil {
		return Item{Raw: raw}.MaskedRaw(p)
	}
	return maskLong(raw)
}

// maskLong masks every long number of a text.
func maskLong(text string) string { return longNumber.ReplaceAllStringFunc(text, maskNumber) }

// maskLonger masks every number of a text that is longer than a date.
func maskLonger(text string) string { return longerNumber.ReplaceAllStringFunc(text, maskNumber) }

var (
	longNumber   = regexp.MustCompile(`[0-9]{5,}`)
	longerNumber = regexp.MustCompile(`[0-9]{9,}`)
)

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
	err := tx.QueryRow(ctx, `select i.cents, i.received_on, b.deposit_on, f.ingested_on, i.check_no, coalesce(i.coupons, '[]'), i.state, i.reason, i.entry
		from lockbox_item i join lockbox_file f on f.id = i.file_id join lockbox_batch b on b.file_id = i.file_id and b.ordinal = i.batch
		where i.file_id = $1 and i.ordinal = $2 and b.state <> 'held' for update of i`, file, item).
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
