package ach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/secret"
)

// method is an account's bank account in force, its number in the clear.
type method struct {
	id           int64
	routing      string
	kind         string // Checking or Savings
	number       secret.Number
	authorizedOn calendar.Date
	authorizedBy string
	endsOn       calendar.Date // 0 until further notice
	individual   string
	correctedBy  string // code and trace of the notification that made it, "" for none
}

// corrected applies a notification of change: from the next entry on, this one
// account is debited by the corrected data. The old method ends today, the new
// one stands on the same authorization. No money moves. What cannot be applied
// without doubt is left to a person, as the next debit might hit a stranger.
func (o Office) corrected(ctx context.Context, tx pgx.Tx, a *answer) error {
	words, _ := ChangeCode(a.code)
	why := a.code
	leave := func(format string, args ...any) error {
		a.detail = fmt.Sprintf("%s (%s): ", a.code, words) + fmt.Sprintf(format, args...)
		return o.review(ctx, tx, a, "correction_"+why, a.original.String())
	}
	c := a.note.Correction
	switch {
	case a.sent.state == billing.DebitWithdrawn || !a.sent.released:
		why = "unreleased"
		return leave("of a %s whose file nobody has released: how did the bank come by it?", cmp.Or(a.sent.kind, "debit"))
	case a.note.Unclear != "":
		return leave("%s", a.note.Unclear)
	case c.Routing == "" && c.Account == "" && c.TransactionCode == 0:
		return leave("nothing about the bank account was corrected")
	case c.TransactionCode != 0 && c.AccountType() == "":
		return leave("transaction code %d is of neither a checking nor a savings account", c.TransactionCode)
	}
	old, err := o.methodInForce(ctx, tx, a.sent.account)
	if errors.Is(err, pgx.ErrNoRows) {
		return leave("the account has no bank account in force any more")
	}
	if err != nil {
		return err
	}
	changed := old
	if c.Routing != "" {
		changed.routing = c.Routing
	}
	if c.Account != "" {
		changed.number = secret.Number(c.Account)
	}
	if c.TransactionCode != 0 {
		changed.kind = c.AccountType()
	}
	if changed == old {
		a.outcome, a.detail = outcomeDuplicate, "the bank account in force is the corrected one already"
		return nil
	}
	if old.id != a.sent.methodID && !strings.HasSuffix(old.correctedBy, " "+a.original.String()) {
		return leave("the account pays from another bank account since that debit")
	}
	if err := CheckRouting(changed.routing); err != nil {
		return leave("%s", err)
	}
	a.outcome = outcomeApplied
	return o.replace(ctx, tx, a, changed)
}

// methodInForce reads the bank account that the next debit would be of.
func (o Office) methodInForce(ctx context.Context, tx pgx.Tx, account int64) (m method, err error) {
	var sealed []byte
	err = tx.QueryRow(ctx, `select id, routing, account_type, number_sealed, authorized_on, authorized_by, ended_on, individual, corrected_by from autopay_method
		where account_id = $1 and method = 'ach' and (ended_on is null or ended_on > $2) order by id desc limit 1`, account, o.Day).
		Scan(&m.id, &m.routing, &m.kind, &sealed, &m.authorizedOn, &m.authorizedBy, &m.endsOn, &m.individual, &m.correctedBy)
	if err != nil {
		return m, err
	}
	number, err := o.Keys.Open(sealed, methodContext(account))
	m.number = secret.Number(number)
	return m, err
}

// replace ends the method in force and puts the corrected one in its place.
func (o Office) replace(ctx context.Context, tx pgx.Tx, a *answer, m method) error {
	sealed, err := o.Keys.Seal([]byte(m.number.Reveal()), methodContext(a.sent.account))
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `update autopay_method set ended_on = $2 where id = $1`, m.id, o.Day); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into autopay_method (account_id, method, routing, account_type, number_sealed, number_hash, number_last4, authorized_on, authorized_by, ended_on, individual, corrected_by, ended_by_hand, terms, copy_sent_on, range_from, range_to, debit_from)
		select $1, 'ach', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, ended_by_hand, terms, copy_sent_on, range_from, range_to, debit_from from autopay_method where id = $12`,
		a.sent.account, m.routing, m.kind, sealed, o.Keys.Fingerprint(m.routing, m.number.Reveal()), strings.TrimPrefix(m.number.String(), "****"), m.authorizedOn, m.authorizedBy, m.endsOn, m.individual, a.code+" "+a.original.String(), m.id)
	return err
}
