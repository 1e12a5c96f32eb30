package cards

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why a charge that is due is not asked, besides billing's reasons.
const (
	NoCard     = "no_card"              // it is to be asked again, but the account pays by another way now
	Unanswered = billing.CardUnanswered // the gateway still owes an answer to the last charge
)

// candidate is an account that may have a charge to ask.
type candidate struct {
	id       int64
	methodID int64 // 0: it has no card in force
	waiting  bool  // for an answer
}

// again is a declined charge that is planned to be asked again.
type again struct {
	Key
	cents    ledger.Cents
	on       calendar.Date
	received calendar.Date // it was dropped by our fault, and counts as of then; 0: of the day it is asked
}

// asked is a charge to be asked.
type asked struct {
	Key
	cents, due ledger.Cents
	received   calendar.Date
	methodID   int64
}

// Ask makes the charges that a run dated day asks for in a key range of
// accounts, as rows of the outbox file. Its tally selects accounts whose day
// has come, and counts charges done.
func Ask(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64, in billing.Range) (billing.Tally, error) {
	var t billing.Tally
	if err := billing.LockRange(ctx, tx, in); err != nil {
		return t, err
	}
	open, whole, err := candidates(ctx, tx, day, in)
	if err != nil || len(open)+len(whole) == 0 {
		return t, err
	}
	plans, err := planned(ctx, tx, day, in)
	if err != nil {
		return t, err
	}
	ask := func(b *billing.Book) error { return askOf(ctx, tx, day, file, b, plans, &t) }
	if err := billing.InParts(ctx, tx, billing.OpenOnly, open, ask); err != nil {
		return t, err
	}
	err = billing.InParts(ctx, tx, billing.Whole, whole, ask)
	return t, err
}

// askOf makes the charges of a book's accounts.
func askOf(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64, b *billing.Book, plans map[int64][]again, t *billing.Tally) error {
	var ids []int64
	for _, a := range b.Accounts {
		ids = append(ids, a.ID)
	}
	found, err := standing(ctx, tx, day, ids)
	if err != nil {
		return err
	}
	var charges []asked
	var over []again
	var unanswered []int64
	for _, c := range found {
		a := b.Account(c.id)
		if c.waiting {
			// What was asked may still be approved: asking once more could take it twice.
			t.Pass(c.id, Unanswered, "")
			unanswered = append(unanswered, c.id)
			continue
		}
		charge, ended, reason := decide(a, c, plans[c.id], day)
		over = append(over, ended...)
		if charge.cents == 0 {
			t.Pass(c.id, reason, "")
			continue
		}
		charges = append(charges, charge)
		t.Did(1, charge.cents)
	}
	if err := store(ctx, tx, day, file, charges, over); err != nil {
		return err
	}
	return report(ctx, tx, day, unanswered)
}

// decide says what is asked of an account's card today: the newest bill for
// the first time, or else a declined charge again. A charge of 0 cents is none,
// for the reason. over are the plans that are carried out or dropped.
func decide(a *billing.Account, c candidate, plans []again, day calendar.Date) (charge asked, over []again, reason string) {
	if c.methodID == 0 {
		return charge, plans, NoCard
	}
	charge = asked{methodID: c.methodID, due: a.Due()}
	if charge.cents, reason = a.CardDue(day); charge.cents > 0 {
		b := a.NewestBill()
		// One that we ask late counts as in time (POLICY section 6).
		charge.Key, charge.received = Key{a.ID, b.Cycle, 0}, min(day, b.DueOn)
		return charge, plans, "" // it is for all that is due: nothing is left to ask again
	}
	for _, plan := range plans {
		cents, why, keep := a.CardDueAgain(day, plan.on, plan.Cycle, plan.cents)
		if !keep {
			over = append(over, plan)
		}
		if reason = why; cents > 0 && charge.cents == 0 {
			plan.Attempt++
			charge.Key, charge.cents, charge.received = plan.Key, cents, cmp.Or(plan.received, day)
		}
	}
	return charge, over, reason
}

// candidates returns the accounts of the range that may have a charge to ask:
// those that pay by card, whose newest bill is due and was neither asked for
// nor debited, and those with a charge to be asked again. whole are the ones
// whose due date has passed, so that what was due then must be found out.
func candidates(ctx context.Context, tx pgx.Tx, day calendar.Date, in billing.Range) (open, whole []int64, err error) {
	rows, err := tx.Query(ctx, `select a.id, b.due_on < $3 from (
			select a.id from autopay_method m join account a on a.id = m.account_id join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			where m.method = 'card' and (m.ended_on is null or m.ended_on > $3) and m.account_id >= $1 and m.account_id < $2 and a.autopay = 'on' and b.due_on <= $3 and not b.debit_none
			and not exists (select from card_charge c where c.account_id = a.id and c.cycle = b.cycle and c.attempt = 0)
			and not exists (select from debit d where d.account_id = a.id and d.cycle = b.cycle and d.attempt = 0 and d.state <> 'withdrawn')
			union
			select account_id from card_charge where retry_on <= $3 and account_id >= $1 and account_id < $2) c
		join account a on a.id = c.id join bill b on b.account_id = a.id and b.cycle = a.last_cycle order by a.id`, in.From, in.To, day)
	if err != nil {
		return nil, nil, err
	}
	var id int64
	var late bool
	_, err = pgx.ForEachRow(rows, []any{&id, &late}, func() error {
		if late {
			whole = append(whole, id)
		} else {
			open = append(open, id)
		}
		return nil
	})
	return open, whole, err
}

// standing reads how accounts that are locked stand with the gateway.
func standing(ctx context.Context, tx pgx.Tx, day calendar.Date, ids []int64) ([]candidate, error) {
	rows, err := tx.Query(ctx, `select u.id, coalesce(m.id, 0), exists (select from card_charge c where c.account_id = u.id and c.state = 'asked')
		from unnest($1::bigint[]) u(id)
		left join lateral (select max(id) id from autopay_method where account_id = u.id and method = 'card' and (ended_on is null or ended_on > $2) and authorized_on <= $2) m on true
		order by u.id`, ids, day)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.id, &c.methodID, &c.waiting)
		return c, err
	})
}

// planned reads the charges that are to be asked again by a day, by account.
func planned(ctx context.Context, tx pgx.Tx, day calendar.Date, in billing.Range) (map[int64][]again, error) {
	rows, err := tx.Query(ctx, `select account_id, cycle, attempt, cents, retry_on, case when code = $4 then received_on end from card_charge
		where retry_on <= $3 and account_id >= $1 and account_id < $2 order by 1, 2, 3`, in.From, in.To, day, notTaken)
	if err != nil {
		return nil, err
	}
	plans := map[int64][]again{}
	for rows.Next() {
		var x again
		if err := rows.Scan(&x.Account, &x.Cycle, &x.Attempt, &x.cents, &x.on, &x.received); err != nil {
			return nil, err
		}
		plans[x.Account] = append(plans[x.Account], x)
	}
	return plans, rows.Err()
}

// store writes the charges asked, and ends the plans that are over.
func store(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64, charges []asked, over []again) error {
	if len(over) > 0 {
		var accounts []int64
		var cycles, attempts []int32
		for _, x := range over {
			accounts, cycles, attempts = append(accounts, x.Account), append(cycles, int32(x.Cycle)), append(attempts, int32(x.Attempt))
		}
		if _, err := tx.Exec(ctx, `update card_charge c set retry_on = null from unnest($1::bigint[], $2::int[], $3::int[]) u(account, cycle, attempt)
			where c.account_id = u.account and c.cycle = u.cycle and c.attempt = u.attempt`, accounts, cycles, attempts); err != nil {
			return err
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"card_charge"}, []string{"account_id", "cycle", "attempt", "cents", "due_then", "asked_on", "received_on", "method_id", "file_id"},
		pgx.CopyFromSlice(len(charges), func(i int) ([]any, error) {
			x := &charges[i]
			return []any{x.Account, int32(x.Cycle), x.Attempt, int64(x.cents), int64(x.due), day, x.received, x.methodID, file}, nil
		}))
	return err
}

// report puts charges without an answer before a person, each once while it
// waits there.
func report(ctx context.Context, tx pgx.Tx, day calendar.Date, accounts []int64) error {
	if len(accounts) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `select account_id, cycle, attempt, asked_on from card_charge where account_id = any($1) and state = 'asked'`, accounts)
	if err != nil {
		return err
	}
	silent, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (billing.Raised, error) {
		var k Key
		var askedOn calendar.Date
		err := row.Scan(&k.Account, &k.Cycle, &k.Attempt, &askedOn)
		return billing.Raised{Account: k.Account, Exception: billing.Exception{On: day, Job: "autopay", Code: Unanswered, Subject: k.String(),
			Detail: fmt.Sprintf("the card charge asked on %s has no answer, so nothing more is asked of the card: ask the gateway", askedOn)}}, err
	})
	if err != nil {
		return err
	}
	return billing.RaiseAll(ctx, tx, silent...)
}

// WriteFile writes the charges of an outbox file, one JSON line each, in the
// order of accounts. The same rows give the same bytes, whatever was answered
// since. It returns how many there are.
func WriteFile(ctx context.Context, tx pgx.Tx, file int64, _ calendar.Date, to io.Writer) (lines int, err error) {
	rows, err := tx.Query(ctx, `select c.account_id, c.cycle, c.attempt, m.card_token, c.cents, c.asked_on from card_charge c join autopay_method m on m.id = c.method_id
		where c.file_id = $1 order by 1, 2, 3`, file)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	buffer := bufio.NewWriter(to)
	line := json.NewEncoder(buffer)
	for ; rows.Next(); lines++ {
		var a Asked
		if err := rows.Scan(&a.Charge.Account, &a.Charge.Cycle, &a.Charge.Attempt, &a.Token, &a.Cents, &a.AskedOn); err != nil {
			return lines, err
		}
		if err := line.Encode(a); err != nil {
			return lines, err
		}
	}
	if err := rows.Err(); err != nil {
		return lines, err
	}
	return lines, buffer.Flush()
}
