package billing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// Exception is work left undone that an operator must see.
type Exception struct {
	On      calendar.Date
	Job     string
	Code    string
	Subject string
	Detail  string
}

// Raised is an exception of an account, or of the House.
type Raised struct {
	Account int64
	Exception
}

// Excepted counts what was put before a person since the account was loaded.
func (a *Account) Excepted() int { return len(a.issues) }

// except puts something that has happened to the account before a person; it
// happens anew each time.
func (a *Account) except(e Exception) { a.issues = append(a.issues, e) }

// Raise puts work before a person, once while it waits: the same job finding
// the same thing again on another night adds nothing.
func Raise(ctx context.Context, tx pgx.Tx, account int64, e Exception) error {
	return RaiseAll(ctx, tx, Raised{account, e})
}

// RaiseAll is Raise for many.
func RaiseAll(ctx context.Context, tx pgx.Tx, found ...Raised) error {
	return raise(ctx, tx, found, false)
}

// raise puts work before a person; anew says that it is more of it even if the
// same waits since an earlier day. What a person has cleared on this very day
// waits again.
func raise(ctx context.Context, tx pgx.Tx, list []Raised, anew bool) error {
	if len(list) == 0 {
		return nil
	}
	accounts := column(list, func(r *Raised) int64 { return r.Account })
	days := column(list, func(r *Raised) calendar.Date { return r.On })
	jobs, codes := column(list, func(r *Raised) string { return r.Job }), column(list, func(r *Raised) string { return r.Code })
	subjects, details := column(list, func(r *Raised) string { return r.Subject }), column(list, func(r *Raised) string { return r.Detail })
	_, err := tx.Exec(ctx, `insert into exception (account_id, on_date, job, code, subject, detail)
		select distinct on (account, job, code, subject, day) account, day, job, code, subject, detail
		from unnest($1::bigint[], $2::date[], $3::text[], $4::text[], $5::text[], $6::text[]) with ordinality u(account, day, job, code, subject, detail, n)
		where $7 or not exists (select from exception e where e.account_id = u.account and e.job = u.job and e.code = u.code and e.subject = u.subject and e.cleared_on is null)
		order by account, job, code, subject, day, n desc
		on conflict (account_id, job, code, subject, on_date) do update set cleared_on = null, detail = excluded.detail`,
		accounts, days, jobs, codes, subjects, details, anew)
	return err
}

// Settle notes that what some jobs put before a person under a code and a subject
// was seen to on a business date, and returns how much of it waited.
func Settle(ctx context.Context, tx pgx.Tx, day calendar.Date, code, subject string, jobs ...string) (int64, error) {
	tag, err := tx.Exec(ctx, `update exception set cleared_on = $1 where code = $2 and subject = $3 and job = any($4) and cleared_on is null`, day, code, subject, jobs)
	return tag.RowsAffected(), err
}
