package cards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// ErrRefused says that a file of answers was refused whole and nothing changed.
var ErrRefused = errors.New("the gateway's file was refused, and nothing of it was taken")

// maxBytes is as much as a file of answers may hold: some millions of lines.
const maxBytes = 256 << 20

// Problem is a line that can't be taken.
type Problem struct {
	Line    int    `json:"line"`
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

func (p Problem) String() string { return billing.Problem(p).String() }

// Taken is what came of a file of answers.
type Taken struct {
	Answers   int          `json:"answers"`
	Approved  int          `json:"approved"`
	Declined  int          `json:"declined"`
	Known     int          `json:"known"` // answered the same way before
	Cents     ledger.Cents `json:"cents"` // approved
	Problems  []Problem    `json:"problems"`
	Suspended int          `json:"suspended"` // accounts whose retries are used up
}

// ReadAnswers reads a file of answers. Blank lines are nothing.
func ReadAnswers(from io.Reader) (answers []Answer, lines []int, problems []Problem, err error) {
	text, err := io.ReadAll(io.LimitReader(from, maxBytes+1))
	if err != nil {
		return nil, nil, nil, err
	}
	if len(text) > maxBytes {
		return nil, nil, []Problem{{0, "", fmt.Sprintf("the file has more than %d bytes: send it in parts", maxBytes)}}, nil
	}
	no := 0
	for line := range bytes.Lines(text) {
		no++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		a, field, err := readAnswer(line)
		if err != nil {
			problems = append(problems, Problem{no, field, err.Error()})
			continue
		}
		answers, lines = append(answers, a), append(lines, no)
	}
	return answers, lines, problems, nil
}

func readAnswer(line []byte) (a Answer, field string, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, "", fmt.Errorf("want one object {\"charge\": ..., \"result\": ..., \"cents\": ...}: %w", err)
	}
	if d.More() {
		return a, "", errors.New("there is more than one object on the line")
	}
	switch {
	case a.Charge.Account == 0:
		return a, "charge", errors.New("is missing: which charge is it the answer to?")
	case a.Result != Approved && a.Result != Declined:
		return a, "result", fmt.Errorf("%.40q is neither approved nor declined", a.Result)
	case a.Cents <= 0:
		return a, "cents", fmt.Errorf("%d is not an amount above 0", a.Cents)
	}
	return a, "", nil
}

// Till takes the gateway's answers.
type Till struct {
	DB     postgres.DB
	Policy *billing.Policy
	Day    calendar.Date // the business date
}

// chunk is how many accounts are in memory at once.
const chunk = 5_000

// Ingest takes in a file of answers, all of it or nothing: a line that can't be
// read, that answers what was not asked, or that says otherwise than an earlier
// one refuses the file (ErrRefused; the problems name every such line). The
// same answer again changes nothing, so a file may be sent twice.
func (t Till) Ingest(ctx context.Context, name string, from io.Reader) (Taken, error) {
	answers, lines, problems, err := ReadAnswers(from)
	if err != nil {
		return Taken{Problems: []Problem{}}, err
	}
	taken, err := t.take(ctx, answers, lines, problems)
	if err != nil {
		return taken, fmt.Errorf("card answers %s: %w", name, err)
	}
	return taken, nil
}

// take takes answers, all of them or none; problems are those found already.
func (t Till) take(ctx context.Context, answers []Answer, lines []int, problems []Problem) (Taken, error) {
	taken := Taken{Answers: len(answers), Problems: []Problem{}}
	err := pgx.BeginFunc(ctx, t.DB, func(tx pgx.Tx) error {
		news, more, err := t.match(ctx, tx, answers, lines)
		if err != nil {
			return err
		}
		if problems = append(problems, more...); len(problems) > 0 {
			return ErrRefused
		}
		for from := 0; from < len(news); {
			to := min(from+chunk, len(news))
			for to < len(news) && news[to].Account == news[to-1].Account {
				to++ // an account is loaded once
			}
			if err := t.apply(ctx, tx, news[from:to], &taken); err != nil {
				return err
			}
			from = to
		}
		taken.Known = taken.Answers - len(news)
		return nil
	})
	if err != nil {
		taken = Taken{Answers: len(answers), Problems: append([]Problem{}, problems...)}
	}
	return taken, err
}

// charge is one that was asked, and what was answered now.
type charge struct {
	Key
	cents    ledger.Cents
	received calendar.Date
	result   string
	code     string
	receipt  *int32
	again    calendar.Date
}

// match locks the accounts that answers are about and finds the charges, in
// the order of accounts, without those that are answered already.
func (t Till) match(ctx context.Context, tx pgx.Tx, answers []Answer, lines []int) (news []*charge, problems []Problem, err error) {
	var accounts []int64
	var cycles, attempts []int32
	at := make(map[Key]int, len(answers)) // the first line about each
	refuse := func(n int, field, format string, args ...any) {
		problems = append(problems, Problem{lines[n], field, fmt.Sprintf(format, args...)})
	}
	for n, a := range answers {
		if first, seen := at[a.Charge]; seen {
			if answers[first] != a {
				refuse(n, "charge", "charge %s was answered otherwise on line %d", a.Charge, lines[first])
			}
			continue
		}
		at[a.Charge] = n
		accounts, cycles, attempts = append(accounts, a.Charge.Account), append(cycles, int32(a.Charge.Cycle)), append(attempts, int32(a.Charge.Attempt))
	}
	if err := billing.Lock(ctx, tx, accounts...); err != nil {
		return nil, nil, err
	}
	rows, err := tx.Query(ctx, `select c.account_id, c.cycle, c.attempt, c.cents, c.received_on, c.state
		from unnest($1::bigint[], $2::int[], $3::int[]) u(account, cycle, attempt) join card_charge c on c.account_id = u.account and c.cycle = u.cycle and c.attempt = u.attempt
		order by 1, 2, 3`, accounts, cycles, attempts)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[Key]bool, len(at))
	for rows.Next() {
		c := &charge{}
		var state string
		if err := rows.Scan(&c.Account, &c.Cycle, &c.Attempt, &c.cents, &c.received, &state); err != nil {
			return nil, nil, err
		}
		found[c.Key] = true
		n := at[c.Key]
		switch c.result, c.code = answers[n].Result, answers[n].code; {
		case answers[n].Cents != c.cents:
			refuse(n, "cents", "charge %s was asked for %s, and this answer is to %s", c.Key, c.cents, answers[n].Cents)
		case state == "asked":
			news = append(news, c)
		case state != c.result:
			refuse(n, "result", "charge %s was %s before, and is now %s: ask the gateway which holds", c.Key, state, c.result)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	for n, a := range answers {
		if at[a.Charge] == n && !found[a.Charge] {
			refuse(n, "charge", "charge %s was never asked", a.Charge)
		}
	}
	return news, problems, nil
}

// apply lets some accounts know their answers.
func (t Till) apply(ctx context.Context, tx pgx.Tx, news []*charge, taken *Taken) error {
	var accounts []int64
	var cycles, attempts []int32
	for _, c := range news {
		accounts, cycles, attempts = append(accounts, c.Account), append(cycles, int32(c.Cycle)), append(attempts, int32(c.Attempt))
	}
	b, err := billing.Load(ctx, tx, billing.OpenOnly, accounts...)
	if err != nil {
		return err
	}
	var results, codes []string
	var receipts []*int32
	var again []calendar.Date
	for _, c := range news {
		a := b.Account(c.Account)
		if c.result == Approved {
			r := a.CardApproved(t.Policy, t.Day, c.received, c.cents, c.Key.String())
			c.receipt = &r.No
			taken.Approved++
			taken.Cents += c.cents
		} else {
			c.again = a.CardDeclined(t.Policy, t.Day, c.Attempt)
			taken.Declined++
			if c.again.IsZero() {
				taken.Suspended++
			}
		}
		results, codes, receipts, again = append(results, c.result), append(codes, c.code), append(receipts, c.receipt), append(again, c.again)
	}
	if err := b.Save(ctx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update card_charge c set state = u.result, answered_on = $8, receipt = u.receipt, retry_on = u.again, code = u.code
		from unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::int[], $6::date[], $7::text[]) u(account, cycle, attempt, result, receipt, again, code)
		where c.account_id = u.account and c.cycle = u.cycle and c.attempt = u.attempt`, accounts, cycles, attempts, results, receipts, again, codes, t.Day)
	return err
}

// Waiting returns the charge of an account that the gateway has not answered,
// pgx.ErrNoRows if there is none.
func Waiting(ctx context.Context, q billing.Querier, account int64) (a Answer, err error) {
	err = q.QueryRow(ctx, `select account_id, cycle, attempt, cents from card_charge where account_id = $1 and state = 'asked'`, account).
		Scan(&a.Charge.Account, &a.Charge.Cycle, &a.Charge.Attempt, &a.Cents)
	return a, err
}
