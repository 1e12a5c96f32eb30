package notices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// What the carrier says of the messages it was given: a CSV file with the
// columns id, result (delivered or bounced), date and reason. An address that
// bounced is written to no more, until the member has another or says that it
// works again.

// ErrRefused says that a file was not taken; Answered.Problems says why.
var ErrRefused = errors.New("the carrier's file was refused, nothing of it was applied")

// Answered is what came of a carrier's file.
type Answered struct {
	Delivered int               `json:"delivered"`
	Bounced   int               `json:"bounced"`
	Known     int               `json:"known"` // had bounced before
	Problems  []billing.Problem `json:"problems"`
}

// Counter is where the carrier's answers come in on a business date.
type Counter struct {
	DB  postgres.DB
	Day calendar.Date
	// Bounced is called, in the transaction of the file, for each bill whose
	// message did not arrive, and why.
	Bounced func(ctx context.Context, tx pgx.Tx, account int64, cycle calendar.Cycle, why string) error
}

var answerColumns = billing.AnswerColumns{Names: []string{"id", "result", "date", "reason"}, Needed: 3}

// answer is a line of a carrier's file.
type answer struct {
	line                 int
	id                   string
	result, date, reason string
}

// Ingest takes a carrier's file, all of it or nothing. What was said before
// changes nothing, so a file may come twice.
func (c Counter) Ingest(ctx context.Context, from io.Reader) (got Answered, err error) {
	content, err := billing.LoadAnswers(from)
	if err != nil {
		return Answered{Problems: []billing.Problem{}}, err
	}
	err = pgx.BeginFunc(ctx, c.DB, func(tx pgx.Tx) error {
		got = Answered{Problems: []billing.Problem{}}
		var rows []billing.AnswerRow
		rows, got.Problems = billing.ReadAnswers(content, func([]string) billing.AnswerColumns { return answerColumns })
		for _, r := range rows {
			a := answer{r.Line, r.Cells["id"], r.Cells["result"], r.Cells["date"], r.Cells["reason"]}
			if err := c.take(ctx, tx, a, &got); err != nil {
				return err
			}
		}
		if len(got.Problems) > 0 {
			return ErrRefused
		}
		return nil
	})
	if err != nil {
		got = Answered{Problems: got.Problems}
	}
	return got, err
}

func (got *Answered) wrong(line int, field, format string, args ...any) {
	got.Problems = append(got.Problems, billing.Problem{Line: line, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// take takes one answer.
func (c Counter) take(ctx context.Context, tx pgx.Tx, a answer, got *Answered) error {
	day, err := calendar.Parse(a.date)
	switch {
	case a.result != "delivered" && a.result != "bounced":
		got.wrong(a.line, "result", "%q is neither delivered nor bounced", a.result)
		return nil
	case err != nil:
		got.wrong(a.line, "date", "%v", err)
		return nil
	case day > c.Day:
		got.wrong(a.line, "date", "%s is in the future", day)
		return nil
	}
	var account int64
	var cycle calendar.Cycle
	var channel, address string
	var queued calendar.Date
	err = tx.QueryRow(ctx, `select account_id, cycle, channel, address, queued_on from message where account_id = $1 and cycle = $2 and kind = $3 and channel = $4`,
		idOf(a.id)...).Scan(&account, (*int32)(&cycle), &channel, &address, &queued)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		got.wrong(a.line, "id", "there is no message %q", a.id)
		return nil
	case err != nil:
		return err
	case day < queued:
		got.wrong(a.line, "date", "message %s was queued on %s, after %s", a.id, queued, day)
		return nil
	case a.result == "delivered":
		got.Delivered++
		return nil
	}
	tag, err := tx.Exec(ctx, `insert into bounced (account_id, channel, address, on_date, known_on, reason) values ($1, $2, $3, $4, $5, $6) on conflict do nothing`, account, channel, address, day, c.Day, a.reason)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		got.Known++
	} else {
		got.Bounced++
	}
	if c.Bounced == nil {
		return nil
	}
	return c.Bounced(ctx, tx, account, cycle, strings.TrimSuffix("its "+channel+" came back: "+a.reason, ": "))
}

// idOf takes a message's ID apart into its key; what is none is no message's.
func idOf(id string) []any {
	part := strings.Split(id, "-") // account, year, month, kind, channel
	if len(part) == 5 {
		account, err := strconv.ParseInt(part[0], 10, 64)
		day, bad := calendar.Parse(part[1] + "-" + part[2] + "-01")
		if err == nil && bad == nil {
			return []any{account, int32(calendar.CycleOf(day)), part[3], part[4]}
		}
	}
	return []any{int64(0), int32(0), "", ""}
}
