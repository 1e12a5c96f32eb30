package lockbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// begin makes ready to lay the checks of a file out: it goes on where an
// earlier try was killed on the same business date, or begins anew. What is
// left of any other file is dropped: what was decided about its checks may not
// be right any more.
func (in *intake) begin(ctx context.Context, tx pgx.Tx) error {
	var hash []byte
	err := tx.QueryRow(ctx, `select s.file_id, s.up_to, f.sha256 from lockbox_staging s join lockbox_file f on f.id = s.file_id where s.day = $1 and s.profile = $2 and s.as_new = $3`,
		in.Day, in.profile.Name, in.asNew).Scan(&in.id, &in.upTo, &hash)
	if err == nil && in.sum.SHA256 == Hash(hash) {
		return nil
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if err := dropStaging(ctx, tx); err != nil {
		return err
	}
	in.upTo = 0
	// A file that was refused or held stays so until it is taken.
	err = tx.QueryRow(ctx, `insert into lockbox_file (sha256, canonical, name, profile, ingested_on, items, cents, state) values ($1, $2, $3, $4, $5, $6, $7, 'arriving')
		on conflict (sha256) do update set profile = excluded.profile returning id`,
		in.sum.SHA256[:], in.sum.CanonicalSHA256[:], in.name, in.profile.Name, in.Day, in.sum.Items, int64(in.sum.Cents)).Scan(&in.id)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into lockbox_staging (file_id, day, profile, as_new, up_to) values ($1, $2, $3, $4, 0)`, in.id, in.Day, in.profile.Name, in.asNew)
	return err
}

// dropStaging drops what was laid out of a file that did not come to its end.
func dropStaging(ctx context.Context, tx pgx.Tx) error {
	var file int64
	err := tx.QueryRow(ctx, `delete from lockbox_staging returning file_id`).Scan(&file)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`truncate lockbox_share`)
	batch.Queue(`delete from lockbox_item where file_id = $1`, file)
	batch.Queue(`delete from lockbox_file where id = $1 and state = 'arriving'`, file)
	return tx.SendBatch(ctx, batch).Close()
}

// finish takes the checks that are laid out in, all of them by the commit of
// this transaction.
func (in *intake) finish(ctx context.Context, tx pgx.Tx, out *Ingested) error {
	var taken int
	err := tx.QueryRow(ctx, `delete from lockbox_staging where file_id = $1 returning taken, suspense, held, refused`, in.id).Scan(&taken, &out.Suspense, &out.Held, &out.Refused)
	if err != nil {
		return err
	}
	in.count(out)
	if got := taken + out.Suspense + out.Held + out.Refused; got != out.Items {
		return fmt.Errorf("%d of its %d checks are accounted for", got, out.Items)
	}
	if err := in.replace(ctx, tx); err != nil {
		return err
	}
	if out.FileID, err = in.keep(ctx, tx, in.Day, stateAccepted); err != nil {
		return err
	}
	if err := in.storeBatches(ctx, tx, in.id); err != nil {
		return err
	}
	if out.Suspense > 0 {
		if err := billing.SuspendChecks(ctx, tx, in.Day, in.id); err != nil {
			return err
		}
	}
	if err := in.receive(ctx, tx, out); err != nil {
		return err
	}
	out.Pending = taken - out.Posted
	if in.asNew {
		return in.endWait(ctx, tx, in.id, "lockbox take", in.reason)
	}
	return nil
}

// count adds up what is told of the batches.
func (in *intake) count(out *Ingested) {
	out.RefusedBatches = 0
	took := false
	for _, p := range in.batches {
		switch {
		case p.state == stateSkipped:
			out.Skipped += p.items
			out.Refused += p.items
			out.SkippedBatches++
		case p.state == stateRefused:
			out.RefusedBatches++
		case p.state == stateAccepted && p.items > 0:
			took = true
		}
	}
	out.Accepted = took || out.SkippedBatches > 0 || out.Items == 0
}

// receive makes receipts of the shares, and posts those whose day has come.
func (in *intake) receive(ctx context.Context, tx pgx.Tx, out *Ingested) error {
	rows, err := tx.Query(ctx, `select received_on, count(*) filter (where coupon = 1) from lockbox_share group by 1`)
	if err != nil {
		return err
	}
	posts := map[calendar.Date]calendar.Date{}
	var late []calendar.Date
	var received calendar.Date
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&received, &n}, func() error {
		posts[received] = in.Policy.Lockbox.PostsOn(received)
		if posts[received] <= in.Day {
			late = append(late, received)
			out.Posted += n
		}
		return nil
	}); err != nil {
		return err
	}
	if len(posts) == 0 {
		return nil
	}
	if err := billing.ReceiveChecks(ctx, tx, in.Day, in.id, posts); err != nil {
		return err
	}
	if len(late) > 0 {
		if err := in.postLate(ctx, tx, late); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `truncate lockbox_share`)
	return err
}

// postLate posts the checks of the file whose posting date has come, each
// account's in order of received date.
func (in *intake) postLate(ctx context.Context, tx pgx.Tx, received []calendar.Date) error {
	rows, err := tx.Query(ctx, `select distinct account_id from lockbox_share where received_on = any($1) order by 1`, received)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(accounts, usualChunkItems) {
		rows, err := tx.Query(ctx, `select c.account_id, c.receipt from lockbox_share s join lockbox_receipt c on c.file_id = $1 and c.ordinal = s.ordinal and c.coupon = s.coupon
			where s.received_on = any($2) and s.account_id between $3 and $4 order by s.account_id, s.received_on, s.ordinal, s.coupon`, in.id, received, chunk[0], chunk[len(chunk)-1])
		if err != nil {
			return err
		}
		due := map[int64][]int32{}
		var account int64
		var no int32
		if _, err := pgx.ForEachRow(rows, []any{&account, &no}, func() error { due[account] = append(due[account], no); return nil }); err != nil {
			return err
		}
		book, err := billing.Load(ctx, tx, billing.ToPost, chunk...)
		if err != nil {
			return err
		}
		for _, a := range book.Accounts {
			for _, no := range due[a.ID] {
				a.Post(in.Policy, a.Receipt(no), in.Day)
			}
		}
		if err := book.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}
