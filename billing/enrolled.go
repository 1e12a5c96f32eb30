package billing

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Enrolled is how an account pays by itself, and by what right, as an operator
// sees it: of the bank account's number the last four digits only.
type Enrolled struct {
	Method       string        `json:"method"` // ach, card
	Routing      string        `json:"routing"`
	Last4        string        `json:"last4"`
	AccountType  string        `json:"account_type"`
	AuthorizedOn calendar.Date `json:"authorized_on"`
	AuthorizedBy string        `json:"authorized_by"` // written, web, phone
	Terms        string        `json:"terms"`         // the text agreed to, by its version or hash
	CopySentOn   calendar.Date `json:"copy_sent_on"`
	RangeFrom    ledger.Cents  `json:"range_from_cents"` // amounts of which the member wants no notice; 0 and 0 for no such range
	RangeTo      ledger.Cents  `json:"range_to_cents"`
	EndedOn      calendar.Date `json:"ended_on"`     // the first day without it
	CorrectedBy  string        `json:"corrected_by"` // the bank's notification of change: code and trace
	DebitFrom    calendar.Date `json:"debit_from"`   // the first day on which it may be debited; null before its prenote is out, and for no such day
	Prenote      string        `json:"prenote"`      // "" for none wanted; waits, built, settled, returned
	PrenoteOn    calendar.Date `json:"prenote_on"`   // its effective date
}

// EnrolledAs returns the newest enrolment of the account that a member is billed
// to, nil if there never was one.
func EnrolledAs(ctx context.Context, q Querier, mrn string) (*Enrolled, error) {
	var e Enrolled
	err := q.QueryRow(ctx, `select m.method, m.routing, m.number_last4, m.account_type, m.authorized_on, m.authorized_by, m.terms, m.copy_sent_on, m.range_from, m.range_to, m.ended_on, m.corrected_by,
			nullif(m.debit_from, '0001-01-01'), case when e.state is not null then e.state when m.debit_from is null then 'waits' else '' end, e.effective_on
		from member g join autopay_method m on m.account_id = g.account_id
		left join ach_entry e on e.method_id = m.id and e.kind = 'prenote' and e.state <> 'withdrawn'
		where g.mrn = $1 order by m.id desc limit 1`, mrn).
		Scan(&e.Method, &e.Routing, &e.Last4, &e.AccountType, &e.AuthorizedOn, &e.AuthorizedBy, &e.Terms, &e.CopySentOn, &e.RangeFrom, &e.RangeTo, &e.EndedOn, &e.CorrectedBy, &e.DebitFrom, &e.Prenote, &e.PrenoteOn)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &e, err
}
