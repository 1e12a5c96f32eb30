package notices

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Announce queues word to members that their paperless statement is there, as
// rows of an outbox file: by e-mail, or by text where there is no e-mail
// address that may be written to. Each statement is announced once. It returns
// whom nobody could tell, and why.
func Announce(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, file int64, made []billing.BillRef) ([]billing.Passed, error) {
	if len(made) == 0 {
		return nil, nil
	}
	accounts, cycles := make([]int64, len(made)), make([]int32, len(made))
	for i, ref := range made {
		accounts[i], cycles[i] = ref.AccountID, int32(ref.Cycle)
	}
	rows, err := tx.Query(ctx, `select u.account_id, u.cycle, right(a.mrn, 4), m.phone, m.email, m.language,
			(select string_agg(channel, ' ') || ' ' from preference x where x.account_id = u.account_id),
			(select string_agg(channel || ' ' || address, E'\n') from bounced x where x.account_id = u.account_id)
		from unnest($1::bigint[], $2::int[]) u(account_id, cycle) join account a on a.id = u.account_id join member m on m.mrn = a.mrn
		where not exists (select from message x where x.account_id = u.account_id and x.cycle = u.cycle and x.kind = '`+Statement+`')
		order by 1, 2`, accounts, cycles)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var t billing.Tally
	var queue ledger.Copy
	for rows.Next() {
		r := ledger.ReadRow(rows)
		c := candidate{id: r.Int64(), cycle: calendar.Cycle(r.Int32()), last4: r.Text(), phone: r.Text(), email: r.Text(), language: r.Text(), out: r.Text(), lost: r.Text()}
		channel, why := Email, c.unreachable(Email)
		if why != "" {
			if channel = Text; c.unreachable(Text) != "" {
				t.Pass(c.id, why, c.cycle.String()+" "+Statement)
				continue
			}
		}
		language := languageOf(c.language)
		subject, body := (&reminder{biller: p.Biller.Name, web: p.Biller.Web, phone: p.Biller.Phone, last4: c.last4}).announce(language, channel)
		queue.Row(len(columns)).Int64(c.id).Int32(int32(c.cycle)).Text(Statement).Text(channel).Date(day).Int64(file).Text(c.address(channel)).Text(language).Text(subject).Text(body)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	return t.Passed, queue.Send(ctx, tx, "message", columns)
}

// unreachable says why a guarantor can't be told anything on a channel, "" if
// nothing stands against it.
func (c *candidate) unreachable(channel string) string {
	address := c.address(channel)
	switch {
	case strings.Contains(c.out, channel+" "):
		return OptedOut
	case address == "":
		return NoAddress
	case strings.Contains("\n"+c.lost+"\n", "\n"+channel+" "+address+"\n"):
		return Bounced
	}
	return ""
}
