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
	batch.Queue(dropItems, file)
	for _, table := range []string{"lockbox_share", "lockbox_raw"} {
		batch.Queue(`delete from `+table+` where file_id = $1`, file)
	}
	batch.Queue(`delete from lockbox_file where id = $1 and state = 'arriving'`, file)
	return tx.SendBatch(ctx, batch).Close()
}

// dropItems drops the checks of a file. Where one of them was the sole one, the first
// that counts of those like it is that again.
const dropItems = `with gone as (delete from lockbox_item where file_id = $1 returning micr, sole)
	update lockbox_item set sole = true where (file_id, ordinal) in (
		select distinct on (k.micr) k.file_id, k.ordinal from gone g join lockbox_item k on k.micr = g.micr and k.micr is not null and not k.sole
		where g.sole and k.file_id <> $1 and ` + counted + ` order by k.micr, k.file_id, k.ordinal)`

// finish takes the checks in as they are laid out, all of them by the commit of
// this transaction. The accounts are locked.
func (in *intake) finish(ctx context.Context, tx pgx.Tx, laid <-chan int, out *Ingested) error {
	made, err := in.receive(ctx, tx, laid, out)
	if err != nil {
		return err
	}
	var taken int
	var parts int64
	err = tx.QueryRow(ctx, `delete from lockbox_staging where file_id = $1 returning taken, suspense, held, refused, parts`, in.id).Scan(&taken, &out.Suspense, &out.Held, &out.Refused, &parts)
	if err != nil {
		return err
	}
	if made != parts {
		return fmt.Errorf("%d receipts were made of %d parts of checks: %w", made, parts, billing.ErrNoAccount)
	}
	in.count(out)
	if got := taken + out.Suspense + out.Held + out.Refused; got != out.Items {
		return fmt.Errorf("%d of its %d checks are accounted for", got, out.Items)
	}
	out.Pending = taken - out.Posted
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
	if out.Posted > 0 {
		if err := in.postLate(ctx, tx); err != nil {
			return err
		}
	}
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

// receive makes receipts of the checks that were given to accounts, up to one
// mark after the other, and counts those whose posting date has come. It returns
// how many it made.
func (in *intake) receive(ctx context.Context, tx pgx.Tx, laid <-chan int, out *Ingested) (made int64, err error) {
	posts := map[calendar.Date]calendar.Date{}
	for received := range in.received {
		posts[received] = in.Policy.PostsOn(received)
	}
	from := 0
	for {
		select {
		case <-ctx.Done():
			return made, ctx.Err()
		case to, more := <-laid:
			if !more {
				return made, nil
			}
			n, due, err := billing.ReceiveChecks(ctx, tx, in.Day, in.id, from, to, posts)
			if err != nil {
				return made, err
			}
			made, out.Posted, from = made+n, out.Posted+int(due), to
		}
	}
}

// postLate posts the checks of the file whose posting date has come, each
// account's in order of received date.
func (in *intake) postLate(ctx context.Context, tx pgx.Tx) error {
	var received []calendar.Date
	for day := range in.received {
		if in.Policy.PostsOn(day) <= in.Day {
			received = append(received, day)
		}
	}
	const late = `from lockbox_part p join lockbox_item i on i.file_id = p.file_id and i.ordinal = p.ordinal where p.file_id = $1 and i.received_on = any($2)`
	rows, err := tx.Query(ctx, `select distinct p.account_id `+late+` order by 1`, in.id, received)
	if err != nil {
		return err
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for some := range slices.Chunk(accounts, usualChunkItems) {
		rows, err := tx.Query(ctx, `select r.account_id, r.no from receipt r where r.account_id between $3 and $4 and r.check_file = $1 and r.received_on = any($2)
			order by r.account_id, r.received_on, r.no`, in.id, received, some[0], some[len(some)-1])
		if err != nil {
			return err
		}
		due := map[int64][]int32{}
		var account int64
		var no int32
		if _, err := pgx.ForEachRow(rows, []any{&account, &no}, func() error { due[account] = append(due[account], no); return nil }); err != nil {
			return err
		}
		book, err := billing.Load(ctx, tx, billing.ToPost, some...)
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
