package notices

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why a reminder is not sent, besides the reasons of a hold.
const (
	NothingDue = "nothing_due" // or a pending payment covers it
	OptedOut   = "opted_out"
	NoAddress  = "no_address"      // neither telephone number nor e-mail address for the channel
	Already    = "already_queued"  // by an earlier run
	Missed     = "reminder_missed" // the whole window went by without a run
)

// candidate is an account whose newest bill is in its window, or has left it
// without any run.
type candidate struct {
	id                     int64
	cycle                  calendar.Cycle
	dueOn                  calendar.Date
	phone, email, language string
	done                   []string // channels that have the reminder
	out                    []string // channels that were opted out of
}

// Remind queues the reminders of a run dated day in a key range of accounts,
// as rows of an outbox file: once per bill and channel, within the days before
// the bill's due date that the policy says (POLICY section 8). since is the
// last day for which the job was finished (0 for none): a bill whose window
// went by since then gets no late reminder but an exception. The tally counts
// messages; its cents are the amounts reminded of, once per channel.
func Remind(ctx context.Context, tx pgx.Tx, p *billing.Policy, day, since calendar.Date, file int64, in billing.Range) (billing.Tally, error) {
	var t billing.Tally
	all, err := candidates(ctx, tx, p, day, since, in)
	if err != nil {
		return t, err
	}
	channels := p.Reminder.Channels
	var found []candidate
	var ids []int64
	for _, c := range all {
		n := 0
		for _, channel := range channels {
			if slices.Contains(c.done, channel) {
				n++
			}
		}
		t.Skip(Already, int64(n))
		if n < len(channels) {
			found, ids = append(found, c), append(ids, c.id)
		}
	}
	if len(found) == 0 {
		return t, nil
	}
	b, err := billing.Load(ctx, tx, billing.OpenOnly, ids...)
	if err != nil {
		return t, err
	}
	var queue []queued
	var missed []*billing.Account
	for n := range found {
		c := &found[n]
		a := b.Account(c.id)
		late := c.dueOn < day+calendar.Date(p.Reminder.LastDaysBefore)
		messages := c.decide(a, p, day, late, &t)
		switch {
		case len(messages) > 0 && late:
			missed = append(missed, a)
			t.Skip(Missed, 1)
		default:
			queue = append(queue, messages...)
			t.Did(int64(len(messages)), a.Due()*ledger.Cents(len(messages)))
		}
	}
	if err := except(ctx, tx, day, missed); err != nil {
		return t, err
	}
	_, err = tx.CopyFrom(ctx, pgx.Identifier{"message"}, []string{"account_id", "cycle", "kind", "channel", "queued_on", "file_id", "address", "language", "subject", "body"},
		pgx.CopyFromSlice(len(queue), func(i int) ([]any, error) {
			m := &queue[i]
			return []any{m.account, int32(m.cycle), Reminder, m.channel, day, file, m.address, m.language, m.subject, m.body}, nil
		}))
	return t, err
}

// queued is a message to be stored.
type queued struct {
	account                                   int64
	cycle                                     calendar.Cycle
	channel, address, language, subject, body string
}

// decide writes the messages that an account gets about its bill, or should
// have got if it is late. It counts the channels that get none.
func (c *candidate) decide(a *billing.Account, p *billing.Policy, day calendar.Date, late bool, t *billing.Tally) (messages []queued) {
	skip := func(reason string) {
		if !late { // a bill that is past its window is no longer selected for it
			t.Skip(reason, 1)
		}
	}
	due, hold := a.Due(), a.HeldOn(day)
	r := reminder{biller: p.Biller.Name, web: p.Biller.Web, phone: p.Biller.Phone, last4: last4(a.MRN), due: due, dueOn: c.dueOn,
		autopay: a.Autopay == billing.AutopayOn, collectsOn: a.CollectsOn(p)}
	language := languageOf(c.language)
	for _, channel := range p.Reminder.Channels {
		address := addressOn(channel, c.phone, c.email)
		switch {
		case slices.Contains(c.done, channel): // counted already
		case hold != nil:
			skip(hold.Reason)
		case due == 0:
			skip(NothingDue)
		case slices.Contains(c.out, channel):
			skip(OptedOut)
		case address == "":
			skip(NoAddress)
		default:
			m := queued{account: c.id, cycle: c.cycle, channel: channel, address: address, language: language}
			m.subject, m.body = r.say(language, channel)
			messages = append(messages, m)
		}
	}
	return messages
}

// candidates reads the accounts of the range whose newest bill is in its
// window on a day, or left it since the last finished run without a message.
func candidates(ctx context.Context, tx pgx.Tx, p *billing.Policy, day, since calendar.Date, in billing.Range) ([]candidate, error) {
	first, last := p.Reminder.FirstDaysBefore, p.Reminder.LastDaysBefore
	rows, err := tx.Query(ctx, `select a.id, b.cycle, b.due_on, coalesce(g.phone, ''), coalesce(g.email, ''), coalesce(g.language, ''),
			array(select channel from message m where m.account_id = a.id and m.cycle = b.cycle and m.kind = 'reminder'),
			array(select channel from preference o where o.account_id = a.id)
		from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle left join member g on g.mrn = a.mrn
		where a.id >= $1 and a.id < $2 and b.due_on <= $3::date + $5::int and (b.due_on >= $3::date + $6::int
			or $4::date < greatest(b.due_on - $5::int, b.made_on)
			and not exists (select from message m where m.account_id = a.id and m.cycle = b.cycle and m.kind = 'reminder')
			and not exists (select from exception x where x.account_id = a.id and x.job = 'reminders' and x.code = 'reminder_missed' and x.subject = `+cycleText+`))
		order by a.id`, in.From, in.To, day, max(since, 1), first, last)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.id, (*int32)(&c.cycle), &c.dueOn, &c.phone, &c.email, &c.language, &c.done, &c.out)
		return c, err
	})
}

// cycleText is a bill's cycle as calendar.Cycle writes it.
const cycleText = `to_char(make_date(b.cycle / 12, b.cycle % 12 + 1, 1), 'YYYY-MM')`

// except puts bills that were not reminded of before a person.
func except(ctx context.Context, tx pgx.Tx, day calendar.Date, accounts []*billing.Account) error {
	if len(accounts) == 0 {
		return nil
	}
	var ids []int64
	var subjects, details []string
	for _, a := range accounts {
		bill := a.NewestBill()
		ids, subjects = append(ids, a.ID), append(subjects, bill.Cycle.String())
		details = append(details, fmt.Sprintf("no run came between the first and the last day for a reminder of the bill due %s, of which %s is due: tell the member otherwise", bill.DueOn, a.Due()))
	}
	_, err := tx.Exec(ctx, `insert into exception (account_id, on_date, job, code, subject, detail)
		select account, $2, 'reminders', $3, subject, detail from unnest($1::bigint[], $4::text[], $5::text[]) u(account, subject, detail) on conflict do nothing`,
		ids, day, Missed, subjects, details)
	return err
}
