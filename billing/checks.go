package billing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// A lockbox file's checks come in by the hundred thousand, and all of them at
// one moment. So they are laid out in lockbox_item and lockbox_share first, and
// taken in from there by a statement for each stretch of them, which does for
// each what Account.Receive does. A test holds it to that.

// LockChecks locks House and the accounts of a file's checks that are laid out,
// all at once, so that two who do this never wait for each other.
func LockChecks(ctx context.Context, tx pgx.Tx, file int64) error {
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock(1, block) from (select 0 as block union select (account_id / $2)::int from lockbox_part where file_id = $1 order by 1) b`, file, blockAccounts)
	return err
}

// ReceiveChecks makes pending receipts of the checks of a file that were given
// to accounts, in the order of the file, of those after check from up to check
// to. It returns how many it made, and of how many checks the posting date has
// come. The accounts are locked. postsOn gives the posting date of each received
// date.
func ReceiveChecks(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64, from, to int, postsOn map[calendar.Date]calendar.Date) (made, due int64, err error) {
	var received, posts []calendar.Date
	for r, p := range postsOn {
		received, posts = append(received, r), append(posts, p)
	}
	// Nobody has counted yet what was laid out a moment ago: each check looks its
	// account up, and finds it again by place.
	err = byLookup(ctx, tx, func() error {
		return tx.QueryRow(ctx, receiveChecksSQL, day, file, received, posts, from, to).Scan(&made, &due)
	})
	return made, due, err
}

// offset 0 keeps the update from carrying whole rows of laid along.
const receiveChecksSQL = `
	with given as (
		select ordinal, 1 as coupon, account_id, cents, directed, received_on, check_no from lockbox_item where file_id = $2 and ordinal > $5 and ordinal <= $6 and account_id is not null
		union all
		select s.ordinal, s.coupon, s.account_id, s.cents, s.directed, i.received_on, i.check_no
		from lockbox_share s join lockbox_item i on i.file_id = s.file_id and i.ordinal = s.ordinal where s.file_id = $2 and s.ordinal > $5 and s.ordinal <= $6
	), laid as materialized (
		select g.*, ($4::date[])[array_position($3::date[], g.received_on)] as posts_on, a.ctid as at, row_number() over inorder as nth, a.docs + row_number() over inorder as no, a.entries + row_number() over inorder as entry,
			lead(1) over inorder is null as last
		from given g
		join account a on a.id = g.account_id
		window inorder as (partition by g.account_id order by g.ordinal, g.coupon)
	), receive as (
		insert into receipt (account_id, no, channel, state, cents, unapplied, received_on, arrived_on, posts_on, in_entry, directed, reference, check_file, check_item, check_coupon)
		select account_id, no, 'lockbox', 'pending', cents, cents, received_on, $1, posts_on, entry, directed, check_no, $2, ordinal, coupon from laid
	), book as (
		insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc)
		select account_id, entry, $1, received_on, 'lockbox_in', 'cash', 'lockbox_pending', cents, no from laid
	), total as (
		insert into journal_total (posted_on, what, debit, credit, entries, cents) select $1, 'lockbox_in', 'cash', 'lockbox_pending', count(*), sum(cents) from laid having count(*) > 0
	), count as (
		update account a set docs = l.no, entries = l.entry, pending = a.pending + l.nth from (select at, no, entry, nth from laid where last offset 0) l where a.ctid = l.at
	)
	select count(*), count(*) filter (where posts_on <= $1 and coupon = 1) from laid`

// SuspendChecks books the checks of a file that are in suspense on House's
// account, in the order of the file, as SuspenseIn does.
func SuspendChecks(ctx context.Context, tx pgx.Tx, day calendar.Date, file int64) error {
	if err := Lock(ctx, tx, House); err != nil {
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
