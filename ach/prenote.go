package ach

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// A prenote tries a bank account out before it is debited: an entry of zero
// cents, under transaction code 28 or 38. The member's bank answers it like any
// other, with a return or a correction, or not at all, which is a yes. Debits
// take effect from the third banking day after it settled (Operating Rules
// 2.6). Which bank accounts are tried out is decided as they are enrolled
// (policy ach.prenote): their debit_from is null until the prenote is out.

// PrenoteWaits is why a debit is not built: its bank account was not tried out.
const PrenoteWaits = "prenote_waits"

// prenoteReturned is the code of a bank account that could not be tried out.
const prenoteReturned = "prenote_returned"

// prenoteDays is how many banking days after its settlement a bank account may
// be debited.
const prenoteDays = 3

// untried is a bank account that waits for its prenote.
type untried struct {
	account, method int64
	sec             string
}

// tryOut builds the prenotes of a key range of accounts, for the next banking
// day, and says from when on the bank accounts may be debited. The debit of a
// bill that would come sooner moves. The caller has locked the files and the
// accounts.
func tryOut(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range, t *billing.Tally) error {
	rows, err := tx.Query(ctx, `select m.account_id, m.id, m.authorized_by from autopay_method m join account a on a.id = m.account_id
		where m.debit_from is null and m.account_id >= $1 and m.account_id < $2 and m.method = 'ach' and m.authorized_on <= $3 and (m.ended_on is null or m.ended_on > $4) and a.autopay = 'on'
		and not exists (select from hold h where h.account_id = a.id and h.placed_on <= $3 and (h.released_on is null or h.released_on > $3))
		and m.id::text not in (select subject from exception where job = 'autopay' and code = 'unusable_method' and cleared_on is null)
		order by m.account_id, m.id`, in.From, in.To, day, calendar.AddBankingDays(day, 1))
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u untried, err error) {
		var by string
		err = row.Scan(&u.account, &u.method, &by)
		u.sec = secOf[by]
		return u, err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	traces, err := takeTraces(ctx, tx, p.Company.ODFI, day, len(list))
	if err != nil {
		return err
	}
	effective := calendar.AddBankingDays(day, 1)
	from := calendar.AddBankingDays(effective, prenoteDays)
	most := limit(int64(p.ACH.MaxEntriesPerFile), maxBatchEntries)
	rest := list
	for len(rest) > 0 {
		file, room, err := prenoteFile(ctx, tx, day, effective, most)
		if err != nil {
			return err
		}
		some := rest[:min(room, len(rest))]
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"ach_entry"}, []string{"trace", "kind", "account_id", "method_id", "cents", "sec", "built_on", "effective_on", "file_id"},
			pgx.CopyFromSlice(len(some), func(i int) ([]any, error) {
				return []any{int64(traces[i]), prenoteEntry, some[i].account, some[i].method, 0, some[i].sec, day, effective, file}, nil
			}))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update ach_file set prenotes = prenotes + $2 where id = $1`, file, len(some)); err != nil {
			return err
		}
		rest, traces = rest[len(some):], traces[len(some):]
	}
	var accounts, methods []int64
	for _, u := range list {
		accounts, methods = append(accounts, u.account), append(methods, u.method)
	}
	t.Did(int64(len(list)), 0)
	if _, err := tx.Exec(ctx, `update autopay_method set debit_from = $2 where id = any($1)`, methods, from); err != nil {
		return err
	}
	return billing.Each(ctx, tx, billing.Whole, slices.Compact(accounts), func(a *billing.Account) { a.DebitNotBefore(p, from, day) })
}

// prenoteFile returns an open file of prenotes with room for more.
func prenoteFile(ctx context.Context, tx pgx.Tx, day, effective calendar.Date, most int) (file int64, room int, err error) {
	var n int
	err = tx.QueryRow(ctx, `select id, prenotes from ach_file where state = 'open' and kind = 'prenotes' and effective_on = $1 and prenotes < $2 order by id desc limit 1`, effective, most).Scan(&file, &n)
	if err == pgx.ErrNoRows {
		err = tx.QueryRow(ctx, `insert into ach_file (kind, built_on, effective_on, maker) values ('prenotes', $1, $2, $3) returning id`, day, effective, system).Scan(&file)
	}
	return file, most - n, err
}

// prenoteBack applies the return of a prenote: the bank account is no good, so
// it is not in force any more, and autopay stops if it was the account's.
func (o Office) prenoteBack(ctx context.Context, tx pgx.Tx, account *billing.Account, a *answer) error {
	words, _ := ReturnCode(a.code)
	switch s := a.sent; {
	case s.state == "returned":
		a.outcome, a.detail = outcomeDuplicate, "the prenote was returned already"
		return nil
	case s.state == "withdrawn" || !s.released:
		a.detail = fmt.Sprintf("%s for a prenote whose file nobody has released: how did the bank come by it?", a.code)
		return o.review(ctx, tx, a, "return_unreleased", a.original.String())
	}
	if _, err := tx.Exec(ctx, `update ach_entry set state = 'returned', code = $2, returned_on = $3 where`+newest+` and kind = 'prenote' and state in ('built', 'settled')`, []int64{int64(a.original)}, a.code, o.Day); err != nil {
		return err
	}
	// It, or what a correction has made of it.
	tag, err := tx.Exec(ctx, `update autopay_method set ended_on = $3, debit_from = null where account_id = $1 and (ended_on is null or ended_on > $3) and (id = $2 or corrected_by like '% ' || $4)`,
		a.sent.account, a.sent.methodID, o.Day, a.original.String())
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `update autopay_method set debit_from = null where id = $1`, a.sent.methodID); err != nil {
		return err
	}
	a.outcome = outcomeApplied
	if tag.RowsAffected() == 0 {
		a.detail = "the account pays another way already"
		return nil
	}
	a.asks = true
	account.TryoutFailed(o.Policy, o.Day, a.code)
	return o.ask(ctx, tx, a.sent.account, prenoteReturned, strconv.FormatInt(a.sent.methodID, 10),
		fmt.Sprintf("%s: %s. The bank account is not debited: ask the member for another one", a.code, words.Words))
}
