package billing

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// A lockbox file's checks come in by the hundred thousand, and all of them at
// one moment. So they are laid out in the table lockbox_share first, and taken
// in from there by one statement, which does for each what Account.Receive
// does. A test holds it to that.

// ReceiveChecks makes pending receipts of the checks that are laid out, in the
// order of the file, and notes in lockbox_receipt which check became which. All
// accounts are locked at once, so that two who do this never wait for each
// other. postsOn gives the posting date of a received date.
func ReceiveChecks(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64, postsOn map[calendar.Date]calendar.Date) error {
	var received, posts []calendar.Date
	for r, p := range postsOn {
		received, posts = append(received, r), append(posts, p)
	}
	if _, err := tx.Exec(ctx, `analyze lockbox_share`); err != nil { // the planner has not seen it full
		return err
	}
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1, block) from (select distinct (account_id / $1)::int as block from lockbox_share order by 1) b`, blockAccounts); err != nil {
		return err
	}
	var laid, taken int64
	err := byRange(ctx, tx, func() error {
		return tx.QueryRow(ctx, receiveChecksSQL, day, file, received, posts).Scan(&laid, &taken)
	})
	if err == nil && laid != taken {
		err = fmt.Errorf("%d of %d shares of checks name an account that is there: %w", taken, laid, ErrNoAccount)
	}
	return err
}

const receiveChecksSQL = `
	with laid as materialized (
		select s.ordinal, s.coupon, s.account_id, s.cents, s.received_on, p.posts_on, s.directed, s.check_no,
			a.docs + row_number() over inorder as no, a.entries + row_number() over inorder as entry
		from lockbox_share s
		join account a on a.id = s.account_id
		join unnest($3::date[], $4::date[]) p(received_on, posts_on) on p.received_on = s.received_on
		window inorder as (partition by s.account_id order by s.ordinal, s.coupon)
	), receive as (
		insert into receipt (account_id, no, channel, state, cents, unapplied, received_on, arrived_on, posts_on, in_entry, directed, reference)
		select account_id, no, 'lockbox', 'pending', cents, cents, received_on, $1, posts_on, entry, directed, check_no from laid
	), book as (
		insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc)
		select account_id, entry, $1, received_on, 'lockbox_in', 'cash', 'lockbox_pending', cents, no from laid
	), total as (
		insert into journal_total (posted_on, what, debit, credit, entries, cents) select $1, 'lockbox_in', 'cash', 'lockbox_pending', count(*), sum(cents) from laid having count(*) > 0
	), link as (
		insert into lockbox_receipt (file_id, ordinal, coupon, account_id, receipt, cents) select $2, ordinal, coupon, account_id, no, cents from laid
	), taken as (
		select account_id, count(*) as n from laid group by account_id
	), count as (
		update account a set docs = a.docs + t.n, entries = a.entries + t.n, pending = a.pending + t.n from taken t where a.id = t.account_id
	)
	select (select count(*) from lockbox_share), (select count(*) from laid)`

// SuspendChecks books the checks of a file that are in suspense on House's
// account, in the order of the file, as SuspenseIn does.
func SuspendChecks(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64) error {
	if err := lock(ctx, tx, []int64{House}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
	with nobodys as materialized (
		select i.ordinal, i.cents, i.received_on, a.entries + row_number() over (order by i.ordinal) as entry
		from lockbox_item i join account a on a.id = 0 where i.file_id = $2 and i.state = 'suspense'
	), book as (
		insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc)
		select 0, entry, $1, received_on, 'suspense_in', 'cash', 'suspense', cents, 0 from nobodys
	), total as (
		insert into journal_total (posted_on, what, debit, credit, entries, cents) select $1, 'suspense_in', 'cash', 'suspense', count(*), sum(cents) from nobodys having count(*) > 0
	), note as (
		update lockbox_item i set entry = n.entry from nobodys n where i.file_id = $2 and i.ordinal = n.ordinal
	)
	update account set entries = entries + (select count(*) from nobodys) where id = 0 and exists (select from nobodys)`, day, file)
	return err
}
