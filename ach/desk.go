package ach

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What a person looks at: the bank's answers, the work they leave, and how
// many of our debits come back.

// Answered is one answer of the bank and what became of it.
type Answered struct {
	On      calendar.Date `json:"on"`
	Kind    string        `json:"kind"` // return, correction
	Code    string        `json:"code"`
	Words   string        `json:"words"` // what the code means
	Trace   string        `json:"trace"` // of the original entry
	MRN     string        `json:"mrn"`   // "" if it is matched to nobody
	Cents   ledger.Cents  `json:"cents"`
	Outcome string        `json:"outcome"` // applied, duplicate, unmatched, review
	Detail  string        `json:"detail"`
	Next    string        `json:"next"`    // what a person does about it
	Waiting bool          `json:"waiting"` // nobody has cleared it yet
}

// Answered lists the bank's answers since a day, the newest first.
func (o Office) Answered(ctx context.Context, since calendar.Date) ([]Answered, error) {
	rows, err := o.DB.Query(ctx, `select n.on_date, n.kind, n.code, n.trace, coalesce(a.mrn, ''), n.cents, n.outcome, n.detail,
			n.outcome in ('unmatched', 'review') and exists (select from exception e where e.job = 'ach' and e.cleared_on is null and e.account_id = coalesce(n.account_id, 0) and e.subject in (n.trace, n.trace || ' ' || n.code))
		from ach_answer n left join account a on a.id = n.account_id where n.on_date >= $1 order by n.on_date desc, n.sha256, n.ordinal`, max(since, 1))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Answered, err error) {
		if err := row.Scan(&a.On, &a.Kind, &a.Code, &a.Trace, &a.MRN, &a.Cents, &a.Outcome, &a.Detail, &a.Waiting); err != nil {
			return a, err
		}
		if a.Kind == "correction" {
			a.Words, _ = ChangeCode(a.Code)
			a.Next = "nothing: the next debit uses the corrected data"
			if a.Outcome == outcomeReview {
				a.Next = "read the detail, and enrol the member's bank account again if it is in doubt"
			}
			return a, nil
		}
		code, _ := ReturnCode(a.Code)
		a.Words, a.Next = code.Words, code.Next.Words()
		if a.Outcome == outcomeUnmatched {
			a.Next = "find the debit that it means, or send it back to the bank; no money was moved"
		}
		return a, nil
	})
}

// Work is something about debits that waits for a person.
type Work struct {
	On      calendar.Date `json:"on"`
	Code    string        `json:"code"`
	Subject string        `json:"subject"` // a trace, a cycle, a file, a method
	MRN     string        `json:"mrn"`
	Detail  string        `json:"detail"`
}

// Waiting lists what waits for a person, the oldest first.
func (o Office) Waiting(ctx context.Context) ([]Work, error) {
	rows, err := o.DB.Query(ctx, `select e.on_date, e.code, e.subject, case e.account_id when 0 then '' else a.mrn end, e.detail from exception e join account a on a.id = e.account_id
		where e.job in ('ach', 'autopay') and e.cleared_on is null order by e.on_date, e.account_id, e.code, e.subject`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Work])
}

// Clear notes that a person has seen to work that waited.
func (o Office) Clear(ctx context.Context, code, subject, reason string) (n int64, err error) {
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if n, err = billing.Settle(ctx, tx, o.Day, code, subject, "ach", "autopay"); err != nil {
			return err
		}
		if n == 0 {
			return holdError("nothing waits under %s %q (billcycle ach returns --waiting)", code, subject)
		}
		return billing.Act{Day: o.Day, Operator: o.Operator, Reason: reason, Verb: "ach_clear", Detail: map[string]any{"code": code, "subject": subject}}.Record(ctx, tx, 0)
	})
	return n, err
}

// rateDays is how far back Nacha looks at returns.
const rateDays = 60

// watched are the rates and their limits, in hundredths of a percent.
var watched = []struct {
	kind  string
	limit int64
}{{string(Unauthorized), 50}, {string(Administrative), 300}, {"overall", 1500}}

// ReturnRate is how many of a company's debits came back, beside the limit that
// Nacha sets (Operating Rules 2.17).
type ReturnRate struct {
	Company string        `json:"company"` // id in the files
	Kind    string        `json:"kind"`    // unauthorized, administrative, overall
	From    calendar.Date `json:"from"`
	To      calendar.Date `json:"to"`
	Entries int64         `json:"entries"` // debits that took effect in the time
	Returns int64         `json:"returns"` // that came back in the time
	Percent string        `json:"percent"`
	Limit   string        `json:"limit"`
	State   string        `json:"state"` // ok, near (from four fifths of the limit on), above
}

// Rates watches the returns of the 60 days up to the office's Day.
func (o Office) Rates(ctx context.Context) ([]ReturnRate, error) {
	var codes [2][]string
	for _, c := range Codes() {
		if c.Rate != "" {
			n := count(c.Rate == Administrative)
			codes[n] = append(codes[n], c.Code)
		}
	}
	from := o.Day - rateDays + 1
	rows, err := o.DB.Query(ctx, `select f.company, count(*) filter (where d.effective_on between $1 and $2),
			count(*) filter (where back and d.code = any($3)), count(*) filter (where back and d.code = any($4)), count(*) filter (where back)
		from debit d join ach_file f on f.id = d.file_id cross join lateral (select d.state = 'returned' and d.code <> all($5) and d.returned_on between $1 and $2 as back) b
		where f.state = 'released' and f.bank <> 'rejected' and (d.effective_on between $1 and $2 or back) group by f.company order by f.company`, from, o.Day, codes[0], codes[1], []string{billing.RejectedByBank, billing.Reversed})
	if err != nil {
		return nil, err
	}
	var rates []ReturnRate
	var company string
	var entries int64
	var returns [3]int64
	_, err = pgx.ForEachRow(rows, []any{&company, &entries, &returns[0], &returns[1], &returns[2]}, func() error {
		for n, w := range watched {
			rates = append(rates, rateOf(ReturnRate{Company: company, Kind: w.kind, From: from, To: o.Day, Entries: entries, Returns: returns[n]}, w.limit))
		}
		return nil
	})
	return rates, err
}

// KeepRates watches the returns, and keeps what it found for those who ask more
// often than a night is long.
func (o Office) KeepRates(ctx context.Context) ([]ReturnRate, error) {
	rates, err := o.Rates(ctx)
	if err != nil {
		return nil, err
	}
	return rates, pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from ach_rate`); err != nil {
			return err
		}
		for n, r := range rates {
			if _, err := tx.Exec(ctx, `insert into ach_rate (company, kind, on_date, entries, returns, most) values ($1, $2, $3, $4, $5, $6)`,
				r.Company, r.Kind, o.Day, r.Entries, r.Returns, watched[n%len(watched)].limit); err != nil {
				return err
			}
		}
		return nil
	})
}

func rateOf(r ReturnRate, limit int64) ReturnRate {
	hundredths := int64(0)
	if r.Entries > 0 {
		hundredths = r.Returns * 10_000 / r.Entries
	}
	percent := func(n int64) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }
	r.Percent, r.Limit, r.State = percent(hundredths), percent(limit), "ok"
	switch part := r.Returns * 10_000; {
	case part > limit*r.Entries:
		r.State = "above"
	case r.Returns > 0 && 5*part >= 4*limit*r.Entries:
		r.State = "near"
	}
	return r
}
