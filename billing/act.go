package billing

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// Act is something that a person does to an account: who, when and why are
// kept for good. It is undone only by another act.
type Act struct {
	Day      calendar.Date
	Operator string
	Reason   string
	Verb     string
	Detail   map[string]any // what was asked; no account numbers
}

// Do carries out an act on the account of a member, in one transaction with
// its record.
func (act Act) Do(ctx context.Context, db postgres.DB, mrn string, do func(a *Account) error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		b, a, err := LoadOne(ctx, tx, Whole|bySubject, mrn)
		if err != nil {
			return err
		}
		if err := do(a); err != nil {
			return fmt.Errorf("%s, account %s: %w", act.Verb, a.MRN, err)
		}
		if err := b.Save(ctx); err != nil {
			return err
		}
		return act.Record(ctx, tx, a.ID)
	})
}

// Record writes the act; account 0 is none.
func (act Act) Record(ctx context.Context, tx pgx.Tx, account int64) error {
	detail, err := json.Marshal(act.Detail)
	if err != nil {
		return err
	}
	if act.Detail == nil {
		detail = []byte("{}")
	}
	_, err = tx.Exec(ctx, `insert into act (on_date, operator, verb, account_id, reason, detail) values ($1, $2, $3, nullif($4::bigint, 0), $5, $6)`,
		act.Day, act.Operator, act.Verb, account, act.Reason, detail)
	return err
}

// ItemOfCharge returns the document number of a charge of an account.
func ItemOfCharge(ctx context.Context, q Querier, mrn, chargeID string) (no int32, err error) {
	err = q.QueryRow(ctx, `select i.no from item i join member m on m.account_id = i.account_id where m.mrn = $1 and i.charge_id = $2`, mrn, chargeID).Scan(&no)
	if err == pgx.ErrNoRows {
		err = fmt.Errorf("the account of MRN %s has no charge %s", mrn, chargeID)
	}
	return no, err
}
