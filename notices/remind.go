package notices

import (
	"context"
	"fmt"
	"strings"

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
	Bounced    = "bounced"         // what was sent to the address before came back
	Already    = "already_queued"  // by an earlier run
	Missed     = "reminder_missed" // the whole window went by without a run
)

// candidate is an account whose newest bill is in its window, or has left it
// without any run.
type candidate struct {
	id                     int64
	cycle                  calendar.Cycle
	dueOn                  calendar.Date
	madeOn                 calendar.Date
	rules                  billing.ReminderPolicy // of its bill
	last4                  string
	phone, email, language string
	done, out              string       // channels that have the reminder, or were opted out of, each followed by a blank
	lost                   string       // lines of channel and address from which messages came back
	due                    ledger.Cents // now
	plain                  bool         // neither on hold nor on autopay: there is no more to know
	held                   string       // the reason of its hold, "" for none
	autopay                bool
	collectsOn             calendar.Date // the day autopay collects the bill, 0 if it won't
}

// Remind queues the reminders of a run dated day in a key range of accounts,
// as rows of an outbox file: once per bill and channel, within the days before
// the bill's due date that the policy says (POLICY section 8). since is the
// last day for which the job was finished (0 for none): a bill whose window
// went by since then gets no late reminder but an exception. The tally counts
// messages; its cents are the amounts reminded of, once per channel.
func Remind(ctx context.Context, tx pgx.Tx, p *billing.Policy, day, since calendar.Date, file int64, in billing.Range) (t billing.Tally, err error) {
	found, err := candidates(ctx, tx, p, day, since, in)
	if err != nil {
		return t, err
	}
	if err := lookCloser(ctx, tx, p, day, found); err != nil {
		return t, err
	}
	var queue ledger.Copy
	var missed []billing.Raised
	for n := range found {
		c := &found[n]
		late := c.dueOn < day+calendar.Date(c.rules.LastDaysBefore)
		channels := c.channels(late, &t)
		if len(channels) > 0 && late {
			missed = append(missed, c.missed(day))
			t.Pass(c.id, Missed, c.cycle.String())
			continue
		}
		language := languageOf(c.language)
		r := reminder{biller: p.Biller.Name, web: p.Biller.Web, phone: p.Biller.Phone, last4: c.last4, due: c.due, dueOn: c.dueOn, autopay: c.autopay, collectsOn: c.collectsOn}
		for _, channel := range channels {
			subject, body := r.say(language, channel)
			queue.Row(len(columns)).Int64(c.id).Int32(int32(c.cycle)).Text(Reminder).Text(channel).Date(day).Int64(file).Text(c.address(channel)).Text(language).Text(subject).Text(body)
			t.Did(1, c.due)
		}
	}
	if err := billing.RaiseAll(ctx, tx, missed...); err != nil {
		return t, err
	}
	return t, queue.Send(ctx, tx, "message", columns)
}

var columns = []string{"account_id", "cycle", "kind", "channel", "queued_on", "file_id", "address", "language", "subject", "body"}

// channels returns the channels on which an account gets its reminder, or
// should have got it if it is late. It counts those that get none.
func (c *candidate) channels(late bool, t *billing.Tally) (on []string) {
	for _, channel := range c.rules.Channels {
		reason := ""
		switch {
		case strings.Contains(c.done, channel+" "):
			reason = Already
		case c.held != "":
			reason = c.held
		case c.due == 0:
			reason = NothingDue
		default:
			if reason = c.unreachable(channel); reason == "" {
				on = append(on, channel)
				continue
			}
		}
		if !late { // a bill that is past its window is no longer selected for it
			t.Pass(c.id, reason, c.cycle.String()+" "+channel)
		}
	}
	return on
}

// address is where the account's guarantor is reached on a channel, "" for
// nowhere.
func (c *candidate) address(channel string) string {
	if channel == Email {
		return strings.TrimSpace(c.email)
	}
	return strings.TrimSpace(c.phone)
}

// lookCloser asks the rules about the candidates that are not plain.
func lookCloser(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, found []candidate) error {
	var ids []int64
	for n := range found {
		if !found[n].plain {
			ids = append(ids, found[n].id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	b, err := billing.Load(ctx, tx, billing.OpenOnly, ids...)
	if err != nil {
		return err
	}
	for n := range found {
		c := &found[n]
		if c.plain {
			continue
		}
		a := b.Account(c.id)
		c.due, c.autopay, c.collectsOn = a.Due(), a.Autopay == billing.AutopayOn, a.CollectsOn(p)
		if h := a.HeldOn(day); h != nil {
			c.held = h.Reason
		}
	}
	return nil
}

// candidates reads the accounts of the range whose newest bill is in its
// window on a day, or left it since the last finished run without a message.
// What is due is added up as billing.Account.Due does, over the whole range at
// once; a test holds the two together.
func candidates(ctx context.Context, tx pgx.Tx, p *billing.Policy, day, since calendar.Date, in billing.Range) (found []candidate, err error) {
	// The window is the widest of all policies; each bill's own decides.
	latest, earliest := p.Widest(func(p *billing.Policy) int { return p.Reminder.FirstDaysBefore })
	last, _ := p.Widest(func(p *billing.Policy) int { return p.Reminder.LastDaysBefore })
	rows, err := tx.Query(ctx, `with near as materialized (
			select a.id, a.mrn, b.cycle, b.due_on, b.made_on, b.cut_on, b.plan, b.state, a.autopay <> 'on' as plain, a.open_from
			from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			where a.id >= $1 and a.id < $2 and b.account_id >= $1 and b.account_id < $2
			and b.due_on <= $3::date + $5::int and (b.due_on >= $3::date + $6::int
				or $4::date < greatest(b.due_on - $7::int, b.made_on)
				and not exists (select from message m where m.account_id = a.id and m.cycle = b.cycle and m.kind = 'reminder')
				and not exists (select from exception x where x.account_id = a.id and x.job = 'reminders' and x.code = 'reminder_missed'
					and x.subject = to_char(make_date(b.cycle / 12, b.cycle % 12 + 1, 1), 'YYYY-MM')))
		), refused as (
			select account_id, string_agg(channel, ' ') || ' ' as channels from preference where account_id >= $1 and account_id < $2 group by account_id
		), lost as (
			select account_id, string_agg(channel || ' ' || address, E'\n') as addresses from bounced where account_id >= $1 and account_id < $2 group by account_id
		), held as (
			select distinct account_id from hold where account_id >= $1 and account_id < $2 and placed_on <= $3 and (released_on is null or released_on > $3)
		)
		select n.id, n.cycle, n.due_on, right(n.mrn, 4), g.phone, g.email, g.language,
			(select string_agg(channel, ' ') || ' ' from message m where m.account_id = n.id and m.cycle = n.cycle and m.kind = 'reminder'),
			r.channels, greatest(
				(select coalesce(sum(cents - paid), 0) from item where account_id = n.id and no >= n.open_from and state = 'billed' and paid < cents)
				- (select coalesce(sum(case when state = 'pending' then cents else unapplied end), 0) from receipt
					where account_id = n.id and no >= n.open_from and (state = 'pending' or state = 'posted' and not guest and unapplied > 0)), 0)::bigint, n.plain and h.account_id is null, n.made_on, l.addresses, n.cut_on, n.plan, n.state
		from near n left join lateral (select phone, email, language from member where mrn = n.mrn limit 1) g on true
		left join refused r on r.account_id = n.id left join lost l on l.account_id = n.id left join held h on h.account_id = n.id
		order by n.id`, in.From, in.To, day, max(since, 1), earliest, last, latest)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r := ledger.ReadRow(rows)
		c := candidate{id: r.Int64(), cycle: calendar.Cycle(r.Int32()), dueOn: r.Date(), last4: r.Text(), phone: r.Text(), email: r.Text(), language: r.Text(),
			done: r.Text(), out: r.Text(), due: ledger.Cents(r.Int64()), plain: r.Bool(), madeOn: r.Date(), lost: r.Text()}
		c.rules = p.For(r.Date(), billing.Subject{Plan: r.Text(), State: r.Text()}).Reminder
		if c.selected(day, since) {
			found = append(found, c)
		}
	}
	return found, rows.Err()
}

// selected says whether its own policy's window is open, or went by without a
// run.
func (c *candidate) selected(day, since calendar.Date) bool {
	first, last := calendar.Date(c.rules.FirstDaysBefore), calendar.Date(c.rules.LastDaysBefore)
	return c.dueOn <= day+first && (c.dueOn >= day+last || since < max(c.dueOn-first, c.madeOn))
}

// missed puts a bill that was not reminded of before a person.
func (c *candidate) missed(day calendar.Date) billing.Raised {
	return billing.Raised{Account: c.id, Exception: billing.Exception{On: day, Job: "reminders", Code: Missed, Subject: c.cycle.String(),
		Detail: fmt.Sprintf("no run came between the first and the last day for a reminder of the bill due %s, of which %s is due: tell the member otherwise", c.dueOn, c.due)}}
}
