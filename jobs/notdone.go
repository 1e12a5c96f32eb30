package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/notices"
)

// What was not done, and why, is counted in each run. By account it is kept
// where there is something to see: a reason that says nothing is wrong would be
// a row for each of millions of accounts each night, and follows from the
// account itself (billing.Account.Why).

// park writes that a step could not work on an account, for people. It stays
// until the step has.
func (r *Run) park(ctx context.Context, tx pgx.Tx, step string, account int64, why error) error {
	_, err := tx.Exec(ctx, `insert into parked (account_id, job, step, day, last_day, error) values ($1, $2, $3, $4, $4, $5)
		on conflict (job, step, account_id) where cleared_on is null do update set last_day = greatest(parked.last_day, excluded.last_day), error = excluded.error`,
		account, r.Job, step, r.Day, why.Error())
	if err == nil && r.Job == "late-fees" {
		// Its bills are not among those of the next run, unless it is told to look.
		_, err = tx.Exec(ctx, `update account set relook = true, replay = true where id = $1 and not (relook and replay)`, account)
	}
	return err
}

// unpark clears what was parked in a range that the step has worked on.
func (r *Run) unpark(ctx context.Context, tx pgx.Tx, step string, in billing.Range) error {
	_, err := tx.Exec(ctx, `update parked set cleared_on = $5 where job = $1 and step = $2 and account_id >= $3 and account_id < $4 and cleared_on is null`,
		r.Job, step, in.From, in.To, r.Day)
	return err
}

// keepReasons keeps by account what was passed over for a reason that a person
// may ask about: as a spell of days, which a run of the next day lengthens.
func (r *Run) keepReasons(ctx context.Context, tx pgx.Tx, passed []billing.Passed) error {
	var accounts []int64
	var codes, subjects []string
	listed := map[string]bool{}
	for _, p := range passed {
		keep, known := listed[p.Reason]
		if !known {
			keep = ReasonOf(p.Reason).Listed
			listed[p.Reason] = keep
		}
		if keep {
			accounts, codes, subjects = append(accounts, p.Account), append(codes, p.Reason), append(subjects, p.Subject)
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `with given as materialized (
			select distinct account_id, code, subject from unnest($3::bigint[], $4::text[], $5::text[]) u(account_id, code, subject)
		), longer as (
			update skipped s set last_on = $2 from given g
			where s.account_id = g.account_id and s.job = $1 and s.code = g.code and s.subject = g.subject and s.last_on = $2::date - 1
		)
		insert into skipped (account_id, job, code, subject, first_on, last_on) select account_id, $1, code, subject, $2, $2 from given g
		where not exists (select from skipped s where s.account_id = g.account_id and s.job = $1 and s.code = g.code and s.subject = g.subject and s.first_on <= $2 and s.last_on >= $2::date - 1)
		on conflict do nothing`, r.Job, r.Day, accounts, codes, subjects)
	return err
}

// NotDone is something that was not done for an account.
type NotDone struct {
	MRN     string        `json:"mrn"` // the guarantor's, "" for what belongs to no account
	Job     string        `json:"job"`
	Code    string        `json:"code"`
	Subject string        `json:"subject"` // what it is about: a cycle, a channel, a file
	From    calendar.Date `json:"from"`    // the days on which it was found
	To      calendar.Date `json:"to"`
	Kind    string        `json:"kind"` // skipped, exception (a person must see it), parked
	Cleared calendar.Date `json:"cleared_on"`
	Detail  string        `json:"detail"`
	Says    string        `json:"says"` // the code in a sentence

	account int64
}

// Filter says which of what was not done is asked for. A zero field asks for
// all.
type Filter struct {
	Day     calendar.Date
	Job     string
	Code    string
	Account int64
	Waiting bool // only what still waits for a person: exceptions and parked accounts
	Most    int  // at most so many, the newest
}

// NotDone lists what was not done and is kept by account, the newest first, and
// says how many there are.
func (h House) NotDone(ctx context.Context, f Filter) (list []NotDone, total int, err error) {
	rows, err := h.DB.Query(ctx, `with found as (
			select account_id, job, code, subject, first_on, last_on, 'skipped' as kind, null::date as cleared_on, '' as detail from skipped where not $5::boolean
			union all select account_id, 'statements', reason, to_char(make_date(cycle / 12, cycle % 12 + 1, 1), 'YYYY-MM'), on_date, on_date, 'skipped', null, detail from print_suppressed where not $5
			union all select account_id, 'returns', '`+notices.Bounced+`', channel, known_on, known_on, 'skipped', null, reason from bounced where not $5
			union all select account_id, job, code, subject, on_date, on_date, 'exception', cleared_on, detail from exception where cleared_on is null or not $5
			union all select account_id, job, '`+parkedCode+`', step, day, last_day, 'parked', cleared_on, error from parked where cleared_on is null or not $5
		)
		select coalesce(a.mrn, ''), f.job, f.code, f.subject, f.first_on, f.last_on, f.kind, f.cleared_on, f.detail, f.account_id, count(*) over ()
		from found f left join account a on a.id = f.account_id and a.id > 0
		where ($1::date is null or $1 between f.first_on and f.last_on) and ($2::text = '' or f.job = $2) and ($3::text = '' or f.code = $3) and ($4::bigint = 0 or f.account_id = $4)
		order by f.last_on desc, f.account_id, f.job, f.code, f.subject limit $6`, f.Day, f.Job, f.Code, f.Account, f.Waiting, f.Most)
	if err != nil {
		return nil, 0, err
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n NotDone, err error) {
		err = row.Scan(&n.MRN, &n.Job, &n.Code, &n.Subject, &n.From, &n.To, &n.Kind, &n.Cleared, &n.Detail, &n.account, &total)
		n.Says = ReasonOf(n.Code).Says
		return n, err
	})
	return list, total, err
}

// ErrNotCleared is in the chain of the error for what can't be cleared; nothing
// was changed.
var ErrNotCleared = errors.New("nothing was cleared")

// Clear notes that a person, the Operator, has seen to the exceptions of a job that
// wait under a code and a subject, and why they wait no more. It returns how many
// there were. A file that is held against an earlier one is settled by its own acts
// only.
func (h House) Clear(ctx context.Context, day calendar.Date, job, code, subject, reason string) (n int64, err error) {
	if code == lockbox.BatchDiffers {
		return 0, fmt.Errorf("%s %q waits until somebody takes it or refuses it (lockbox take, lockbox refuse): %w", code, subject, ErrNotCleared)
	}
	err = pgx.BeginFunc(ctx, h.DB, func(tx pgx.Tx) error {
		if n, err = billing.Settle(ctx, tx, day, code, subject, job); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("nothing of %s waits under %s %q (billcycle skipped --waiting): %w", job, code, subject, ErrNotCleared)
		}
		return billing.Act{Day: day, Operator: h.Operator, Reason: reason, Verb: "clear", Detail: map[string]any{"job": job, "code": code, "subject": subject}}.Record(ctx, tx, billing.House)
	})
	return n, err
}
