// Package notices sends members word, by text and by e-mail: that a paperless
// statement is there, and reminders of what is due.
//
// Announce and Remind decide who is told today and store each message as it
// will go out: to whom, in which language, every word. WriteFile writes the messages of
// a run as JSON lines ([Message]) for the carrier. So what was sent can always
// be shown, and a crash sends nothing twice: a bill has at most one message of
// a kind on a channel, by the key of its row.
//
// A message may be read by others than the member. It says how much is due and
// when, and nothing of what it is for: no diagnosis, no provider, no date or
// kind of care, and of the MRN the last four digits at most.
package notices

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// The channels.
const (
	Text  = "text"
	Email = "email"
)

// The kinds of message.
const (
	Statement = "statement" // a paperless statement is there
	Reminder  = "reminder"  // a bill is due
)

// Message is a line to the carrier.
type Message struct {
	ID       string        `json:"id"`      // 123-2026-03-reminder-text: the carrier sends it once, however often the line arrives
	Channel  string        `json:"channel"` // text or email
	To       string        `json:"to"`      // a telephone number or an e-mail address
	Language string        `json:"language"`
	Subject  string        `json:"subject,omitempty"` // of an e-mail
	Body     string        `json:"body"`
	QueuedOn calendar.Date `json:"queued_on"`
}

// WriteFile writes the messages of an outbox file that was filled on a day, in
// the order of accounts. The same rows give the same bytes. It returns how many
// there are.
func WriteFile(ctx context.Context, tx pgx.Tx, file int64, day calendar.Date, to io.Writer) (lines int, err error) {
	rows, err := tx.Query(ctx, `select account_id, cycle, kind, channel, address, language, subject, body, queued_on from message
		where queued_on = $2 and file_id = $1 order by account_id, cycle, kind, channel`, file, day)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	buffer := bufio.NewWriterSize(to, 1<<16)
	line := json.NewEncoder(buffer)
	line.SetEscapeHTML(false)
	for ; rows.Next(); lines++ {
		var m Message
		var account int64
		var cycle calendar.Cycle
		var kind string
		if err := rows.Scan(&account, (*int32)(&cycle), &kind, &m.Channel, &m.To, &m.Language, &m.Subject, &m.Body, &m.QueuedOn); err != nil {
			return lines, err
		}
		m.ID = fmt.Sprintf("%d-%s-%s-%s", account, cycle, kind, m.Channel)
		if err := line.Encode(m); err != nil {
			return lines, err
		}
	}
	if err := rows.Err(); err != nil {
		return lines, err
	}
	return lines, buffer.Flush()
}

// Optout notes that the account of a member wants no more messages on a
// channel: STOP was sent, or Unsubscribe pressed. It holds from now on,
// whatever its day. Once more changes nothing but the record.
func Optout(ctx context.Context, db postgres.DB, act billing.Act, mrn, channel string) error {
	return prefer(ctx, db, act, mrn, channel, func(tx pgx.Tx, account int64) error {
		_, err := tx.Exec(ctx, `insert into preference (account_id, channel, opted_out_on) values ($1, $2, $3) on conflict do nothing`, account, channel, act.Day)
		return err
	})
}

// Optin takes Optout back: START was sent. An address that had bounced is
// written to again.
func Optin(ctx context.Context, db postgres.DB, act billing.Act, mrn, channel string) error {
	return prefer(ctx, db, act, mrn, channel, func(tx pgx.Tx, account int64) error {
		if _, err := tx.Exec(ctx, `delete from bounced where account_id = $1 and channel = $2`, account, channel); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `delete from preference where account_id = $1 and channel = $2`, account, channel)
		return err
	})
}

// prefer changes an account's preference and records the act.
func prefer(ctx context.Context, db postgres.DB, act billing.Act, mrn, channel string, change func(tx pgx.Tx, account int64) error) error {
	if channel != Text && channel != Email {
		return fmt.Errorf("%s: %.20q is no channel: say %s or %s", act.Verb, channel, Text, Email)
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		account, err := billing.Find(ctx, tx, mrn)
		if err != nil {
			return err
		}
		if err := change(tx, account); err != nil {
			return err
		}
		return act.Record(ctx, tx, account)
	})
}

// Invariants of the messages.
var Invariants = []ledger.Invariant{
	{Name: "messages_have_a_bill", Says: "every message is about a bill of its account, and was queued after the bill was made",
		SQL: `select m.account_id, m.cycle, m.kind, m.channel from message m left join bill b on b.account_id = m.account_id and b.cycle = m.cycle where b.cycle is null or b.made_on > m.queued_on`},
	{Name: "no_message_after_bounce", Says: "nobody was written to at an address after it was known that messages to it come back",
		SQL: `select m.account_id, m.cycle, m.kind, m.channel from message m join bounced b on b.account_id = m.account_id and b.channel = m.channel and b.address = m.address where m.queued_on > b.known_on`},
	{Name: "no_message_after_optout", Says: "nobody got a message on a channel after the day on which they opted out of it",
		SQL: `select m.account_id, m.cycle, m.channel from message m join preference p on p.account_id = m.account_id and p.channel = m.channel where m.queued_on > p.opted_out_on`},
}
