package lockbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What a person does with a check. Each act is one transaction with its
// record: who, when, why, and how the check stood before, so that Undo can put
// it back there.

// Why a bank, or we, sent a check back.
const (
	NSF    = "NSF" // not sufficient funds: the only one that bears a fee
	Stop   = "STOP"
	Closed = "CLOSED"
	Payer  = "PAYER" // we returned it to who sent it: it was never deposited, or not for us
)

// ReturnCodes lists what Return takes.
var ReturnCodes = []string{NSF, Stop, Closed, Payer}

// standing is how a check stood before an act.
type standing struct {
	State    string        `json:"state"`
	Reason   string        `json:"reason"`
	Received calendar.Date `json:"received"`
}

// act carries out what a person does with a check that is in one of the
// states. do returns the account it is about, 0 for none.
func (d Desk) act(ctx context.Context, verb string, file int64, item int, reason string, detail map[string]any, states []string, do func(tx pgx.Tx, h *onHand) (account int64, err error)) error {
	if d.Operator == "" {
		return errOperator
	}
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		return d.actIn(ctx, tx, verb, file, item, reason, detail, states, do)
	})
}

// actIn is act within a transaction.
func (d Desk) actIn(ctx context.Context, tx pgx.Tx, verb string, file int64, item int, reason string, detail map[string]any, states []string, do func(tx pgx.Tx, h *onHand) (account int64, err error)) error {
	h, err := take(ctx, tx, file, item)
	if err != nil {
		return err
	}
	if !slices.Contains(states, h.state) {
		return fmt.Errorf("%s: %s: it is %s, and only a check that is %s will do: %w", verb, h, describe(h), strings.Join(states, " or "), ErrNotNow)
	}
	if detail == nil {
		detail = map[string]any{}
	}
	detail["file_id"], detail["item"], detail["cents"] = file, item, h.cents
	detail["before"] = standing{h.state, h.reason, h.received}
	account, err := do(tx, h)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", verb, h, err)
	}
	return billing.Act{Day: d.Day, Operator: d.Operator, Reason: reason, Verb: verb, Detail: detail}.Record(ctx, tx, account)
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

// Part is what a member gets of a check.
type Part struct {
	MRN   string       `json:"mrn"`
	Cents ledger.Cents `json:"cents"`
}

// Split gives the money of a check in suspense, or of a held one, to several
// members. The parts must come to exactly the check.
func (d Desk) Split(ctx context.Context, fileID int64, item int, parts []Part, reason string) error {
	return d.act(ctx, "lockbox split", fileID, item, reason, map[string]any{"parts": parts}, []string{itemSuspense, itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		received, err := h.date(d.Day)
		if err != nil {
			return 0, err
		}
		var shares []share
		left := h.cents
		for _, p := range parts {
			if p.Cents <= 0 || p.Cents > left {
				return 0, fmt.Errorf("the part of %s for MRN %s is not between 0.01 and the %s that are left of the check's %s: %w", p.Cents, p.MRN, left, h.cents, ErrNotNow)
			}
			account, err := billing.Find(ctx, tx, p.MRN)
			if err != nil {
				return 0, err
			}
			left -= p.Cents
			shares = append(shares, share{account, p.Cents, commonKind(h.coupons)})
		}
		if left != 0 || len(shares) == 0 {
			return 0, fmt.Errorf("the parts come to %s, the check is of %s: %w", h.cents-left, h.cents, ErrNotNow)
		}
		return shares[0].account, d.give(ctx, tx, h, received, shares, "")
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
	if len(shares) == 0 {
		return d.stand(ctx, tx, h, standing{itemSuspense, why, received})
	}
	need := []int64{}
	if h.state == itemSuspense {
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
	batch := &pgx.Batch{}
	for n, s := range shares {
		a := book.Account(s.account)
		r := a.Receive(d.Day, billing.Receipt{Channel: "lockbox", Cents: s.cents, Directed: s.kind, Reference: h.check, ReceivedOn: received, ArrivedOn: h.arrived,
			PostsOn: d.Policy.PostsOn(received), Check: billing.Check{File: h.file, Item: int32(h.ordinal), Coupon: int32(n + 1)}})
		if r.PostsOn <= d.Day {
			a.Post(d.Policy, r, d.Day)
		}
		if len(shares) > 1 {
			batch.Queue(`insert into lockbox_share (file_id, ordinal, coupon, account_id, cents, directed) values ($1, $2, $3, $4, $5, $6)`, h.file, h.ordinal, n+1, s.account, int64(s.cents), string(s.kind))
		}
	}
	if err := book.Save(ctx); err != nil {
		return err
	}
	var whole *int64
	directed := billing.Kind("")
	if len(shares) == 1 {
		whole, directed = &shares[0].account, shares[0].kind
	}
	batch.Queue(`update lockbox_item set state = $3, reason = '', received_on = $4, entry = 0, account_id = $5, directed = $6 where file_id = $1 and ordinal = $2`,
		h.file, h.ordinal, itemTaken, received, whole, string(directed))
	batch.Queue(oneSole, h.file, h.ordinal)
	return tx.SendBatch(ctx, batch).Close()
}

// counted says of a lockbox_known k that it was not told away, and has a number by
// which another can be like it.
const counted = `k.state not in ('refused', 'void') and substr(k.micr::text, 20) <> '0000-000000000000'`

// oneSole makes the first of the checks like one that was acted on the sole one, if
// none is any more.
const oneSole = `update lockbox_item set sole = true where (file_id, ordinal) = (
		select k.file_id, k.ordinal from lockbox_item i join lockbox_known k on k.micr = i.micr
		where i.file_id = $1 and i.ordinal = $2 and ` + counted + ` and not exists (select from lockbox_item s where s.micr = i.micr and s.sole)
		order by k.file_id, k.ordinal limit 1)`

// stand moves a check that no account has to where no account has it either,
// with its money into suspense or out of it.
func (d Desk) stand(ctx context.Context, tx pgx.Tx, h *onHand, to standing) error {
	entry := int32(0)
	if h.state == itemSuspense || to.State == itemSuspense {
		book, err := billing.Load(ctx, tx, billing.OpenOnly, billing.House)
		if err != nil {
			return err
		}
		house := book.Account(billing.House)
		if h.state == itemSuspense {
			house.SuspenseOut(d.Day, h.entry, h.cents)
		}
		if to.State == itemSuspense {
			entry = house.SuspenseIn(d.Day, to.Received, h.cents)
		}
		if err := book.Save(ctx); err != nil {
			return err
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(`update lockbox_item set state = $3, reason = $4, received_on = $5, entry = $6, account_id = null, directed = '', sole = sole and $3 not in ('refused', 'void') where file_id = $1 and ordinal = $2`,
		h.file, h.ordinal, to.State, to.Reason, to.Received, entry)
	batch.Queue(oneSole, h.file, h.ordinal)
	batch.Queue(`delete from lockbox_share where file_id = $1 and ordinal = $2`, h.file, h.ordinal)
	return tx.SendBatch(ctx, batch).Close()
}

// Redate corrects the received date of a held check that came without one, or
// with one that can't be. The check stays held.
func (d Desk) Redate(ctx context.Context, fileID int64, item int, received calendar.Date, reason string) error {
	return d.act(ctx, "lockbox redate", fileID, item, reason, map[string]any{"received": received}, []string{itemHeld}, func(tx pgx.Tx, h *onHand) (int64, error) {
		if received.IsZero() || received > d.Day {
			return 0, fmt.Errorf("%q can't be a received date: want a day up to %s", received, d.Day)
		}
		return billing.House, d.stand(ctx, tx, h, standing{h.state, h.reason, received})
	})
}

// Void says that a held check, one in suspense, or one of a refused batch that
// will not come again, is no money of ours.
func (d Desk) Void(ctx context.Context, fileID int64, item int, reason string) error {
	return d.act(ctx, "lockbox void", fileID, item, reason, nil, []string{itemSuspense, itemHeld, itemRefused}, func(tx pgx.Tx, h *onHand) (int64, error) {
		return billing.House, d.stand(ctx, tx, h, standing{itemVoid, "voided", h.received})
	})
}

// Return takes in that a check went back: the bank returned it, before or after
// it posted (NSF, STOP or CLOSED), or we sent it back to who wrote it (PAYER),
// which is for a check that no account has. Every receipt of a taken check is
// taken back; NSF bears one fee, on the account of its first coupon.
func (d Desk) Return(ctx context.Context, fileID int64, item int, code, reason string) error {
	if !slices.Contains(ReturnCodes, code) {
		return fmt.Errorf("lockbox return: %q is no reason to return a check: want one of %s", code, strings.Join(ReturnCodes, ", "))
	}
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error { return d.returnIn(ctx, tx, fileID, item, code, reason) })
}

func (d Desk) returnIn(ctx context.Context, tx pgx.Tx, fileID int64, item int, code, reason string) error {
	if d.Operator == "" {
		return errOperator
	}
	states := []string{itemTaken, itemSuspense, itemHeld}
	if code == Payer {
		states = states[1:]
	}
	return d.actIn(ctx, tx, "lockbox return", fileID, item, reason, map[string]any{"code": code}, states, func(tx pgx.Tx, h *onHand) (int64, error) {
		switch {
		case h.state == itemTaken:
			return d.takeBack(ctx, tx, h, code)
		case code == Payer:
			return billing.House, d.stand(ctx, tx, h, standing{itemSentBack, "returned_payer", h.received})
		}
		return billing.House, d.stand(ctx, tx, h, standing{itemVoid, "returned_" + strings.ToLower(code), h.received})
	})
}

// pieces loads the accounts that have a taken check, and the receipts that it
// is now; those taken back from earlier ones don't count.
func (d Desk) pieces(ctx context.Context, tx pgx.Tx, h *onHand) (*billing.Book, []piece, error) {
	rows, err := tx.Query(ctx, `select r.account_id, r.no, r.check_coupon from (select distinct account_id from lockbox_part where file_id = $1 and ordinal = $2) p
		join receipt r on r.account_id = p.account_id and r.check_file = $1 and r.check_item = $2 and r.state <> 'withdrawn' order by r.check_coupon`, h.file, h.ordinal)
	if err != nil {
		return nil, nil, err
	}
	type row struct {
		Account int64
		No      int32
		Coupon  int32
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, nil, err
	}
	if len(found) == 0 {
		return nil, nil, errors.New("no receipt of it is known")
	}
	var accounts []int64
	for _, f := range found {
		accounts = append(accounts, f.Account)
	}
	book, err := billing.Load(ctx, tx, d.Policy.Need(billing.Whole), accounts...)
	if err != nil {
		return nil, nil, err
	}
	var list []piece
	for _, f := range found {
		a := book.Account(f.Account)
		list = append(list, piece{a, a.Receipt(f.No), billing.Check{File: h.file, Item: int32(h.ordinal), Coupon: f.Coupon}})
	}
	return book, list, nil
}

// piece is a receipt that a check became.
type piece struct {
	account *billing.Account
	receipt *billing.Receipt
	check   billing.Check
}

// takeBack returns the receipts of a taken check.
func (d Desk) takeBack(ctx context.Context, tx pgx.Tx, h *onHand, code string) (first int64, err error) {
	book, list, err := d.pieces(ctx, tx, h)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if r := p.receipt; r.State != billing.Pending && r.State != billing.Posted {
			return 0, fmt.Errorf("the payment of %s received %s is %s already: %w", r.Cents, r.ReceivedOn, r.State, ErrNotNow)
		}
		if err := p.account.Return(d.Policy, p.receipt, d.Day, code); err != nil {
			return 0, err
		}
	}
	if code == NSF {
		list[0].account.ReturnedFee(d.Policy, list[0].receipt, d.Day)
	}
	return list[0].account.ID, book.Save(ctx)
}

// Undo takes back what was last done with a check, as long as none of its money
// has posted: the check stands as it stood before. Its return by the bank can
// always be taken back: the payment counts again from the day it was received,
// and the fee for it goes. A check with which nobody did anything is taken from
// whom its references named, and waits in suspense.
// What is undone is kept, too: an undo is an act like any other.
func (d Desk) Undo(ctx context.Context, fileID int64, item int, reason string) error {
	detail := map[string]any{}
	states := []string{itemTaken, itemSuspense, itemHeld, itemVoid, itemSentBack}
	return d.act(ctx, "lockbox undo", fileID, item, reason, detail, states, func(tx pgx.Tx, h *onHand) (int64, error) {
		id, verb, before, err := lastAct(ctx, tx, h)
		if err != nil {
			return 0, err
		}
		switch {
		case id != 0:
			detail["undoes"], detail["verb"] = id, verb
		case h.state == itemTaken:
			before = standing{itemSuspense, TakenBack, h.received}
		default:
			return 0, fmt.Errorf("nobody has done anything with it that could be undone: %w", ErrNotNow)
		}
		switch {
		case before.State == itemTaken:
			return d.reinstate(ctx, tx, h)
		case h.state == itemTaken:
			return d.unpost(ctx, tx, h, before)
		}
		return billing.House, d.stand(ctx, tx, h, before)
	})
}

// lastAct finds the last act on a check that was not undone; id is 0 if there
// is none.
func lastAct(ctx context.Context, tx pgx.Tx, h *onHand) (id int64, verb string, before standing, err error) {
	var text []byte
	err = tx.QueryRow(ctx, `
		with acts as (select * from act where detail ? 'item' and (detail->>'file_id')::bigint = $1 and (detail->>'item')::int = $2 and verb like 'lockbox %')
		select id, verb, detail->'before' from acts a where verb <> 'lockbox undo'
		and not exists (select from acts u where u.verb = 'lockbox undo' and (u.detail->>'undoes')::bigint = a.id) order by id desc limit 1`, h.file, h.ordinal).Scan(&id, &verb, &text)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "", before, nil
	}
	if err != nil {
		return 0, "", before, err
	}
	return id, verb, before, json.Unmarshal(text, &before)
}

// unpost takes a check from the accounts that have it, before any of it posts.
func (d Desk) unpost(ctx context.Context, tx pgx.Tx, h *onHand, to standing) (first int64, err error) {
	book, list, err := d.pieces(ctx, tx, h)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if r := p.receipt; r.State != billing.Pending {
			return 0, fmt.Errorf("its payment of %s, received %s, is %s on account %s: only a check that has not posted can be undone: %w", r.Cents, r.ReceivedOn, r.State, p.account.MRN, ErrNotNow)
		}
		p.account.Withdraw(p.receipt, d.Day, "undone")
	}
	if err := book.Save(ctx); err != nil {
		return 0, err
	}
	return list[0].account.ID, d.stand(ctx, tx, h, to)
}

// reinstate takes back that the bank returned a check which accounts had.
func (d Desk) reinstate(ctx context.Context, tx pgx.Tx, h *onHand) (first int64, err error) {
	book, list, err := d.pieces(ctx, tx, h)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if err := p.account.Reinstate(d.Policy, p.receipt, p.check, d.Day); err != nil {
			return 0, fmt.Errorf("%w: %w", err, ErrNotNow)
		}
	}
	return list[0].account.ID, book.Save(ctx)
}
