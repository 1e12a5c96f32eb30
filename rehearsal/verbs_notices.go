package rehearsal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/notices"
)

// The card gateway's and the message carrier's part of a story.

// card answers the charge that a run has asked for, by a gateway's file.
func (p *player) card(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Result string       `json:"result"`
		Cents  ledger.Cents `json:"cents"`
	}](s.Fields)
	if err != nil {
		return err
	}
	answer, err := cards.Waiting(ctx, p.house.DB, p.ids[s.Account])
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("no run has asked the card of account %s for anything", s.Account)
	}
	if err != nil {
		return err
	}
	answer.Result, answer.Cents = f.Result, f.Cents
	line, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	got, err := p.house.Till(s.Date).Ingest(ctx, answer.Charge.String(), bytes.NewReader(line))
	if len(got.Problems) > 0 {
		return fmt.Errorf("%s: %s", got.Problems[0].Field, got.Problems[0].Problem)
	}
	return err
}

func (p *player) optout(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Channel string `json:"channel"`
	}](s.Fields)
	if err != nil {
		return err
	}
	return notices.Optout(ctx, p.house.DB, p.act(s.Date, s.Verb), p.mrns[s.Account], f.Channel)
}

// notice is a notice that goes out beside those that the jobs send: that of the
// next debit may move it; any other moves nothing.
func (p *player) notice(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Kind string        `json:"kind"`
		Date calendar.Date `json:"date"`
	}](s.Fields)
	if err != nil {
		return err
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		if f.Kind != "autopay" || a.NewestBill() == nil {
			return nil
		}
		_, err := a.Noticed(&p.story.policy, max(cmp.Or(f.Date, s.Date), a.NewestBill().MadeOn))
		return err
	})
}

// messageKey names a message in SQL.
const messageKey = `concat_ws('/', account_id, cycle, kind, channel)`

// compareMessages looks for texts in every message that the step has queued.
func (p *player) compareMessages(ctx context.Context, n int, want json.RawMessage, was before) error {
	texts, err := fields[struct {
		Has   []string `json:"has"`
		Lacks []string `json:"lacks"`
	}](want)
	if err != nil {
		p.fail(n, "message", string(want), err.Error())
		return nil
	}
	rows, err := p.house.DB.Query(ctx, `select subject || E'\n' || body from message where not `+messageKey+` = any($1)`, was.messages)
	if err != nil {
		return err
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(messages) == 0 && len(texts.Has) > 0 {
		p.fail(n, "message", string(want), "none was queued")
	}
	for _, m := range messages {
		for _, text := range texts.Has {
			if !holds(m, text) {
				p.fail(n, "message.has", text, m)
			}
		}
		for _, text := range texts.Lacks {
			if holds(m, text) {
				p.fail(n, "message.lacks", text, m)
			}
		}
	}
	return nil
}

// holds compares upper and lower case alike.
func holds(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}
