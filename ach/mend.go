package ach

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// Between a file's sealing and its release a member may revoke the
// authorization, autopay may end for a return, an account may be put on hold,
// and the bank may correct an account number. A file has not gone out before
// its release, so all of that still counts: the file is made anew, other bytes
// under the same name.

// HeldSince is the code of a debit taken out of its file since its account is
// on hold now.
const HeldSince = "held_before_release"

// stale is a debit of a sealed file that may not go out as it is.
type stale struct {
	account  int64
	receipt  int32
	held     bool
	corrects int64 // the method that a correction has put in its method's place, 0 for none
}

// Mend makes every sealed file that nobody has released anew if something in
// it may not go out as it is any more: debits whose authorization does not last
// until they take effect, or of accounts on hold, are withdrawn and put before a
// person; those whose bank account was corrected go by the correction. An
// Operator who mends a file by what they did is not the one to release it.
func (o Office) Mend(ctx context.Context) error {
	rows, err := o.DB.Query(ctx, `select id from ach_file where state = 'sealed' and effective_on > $1 order by id`, o.Day)
	if err != nil {
		return err
	}
	sealed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range sealed {
		err := pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
			if err := lockFiles(ctx, tx); err != nil {
				return err
			}
			f, err := fileForUpdate(ctx, tx, id)
			if err != nil || f.State != FileSealed {
				return err
			}
			_, n, err := o.mend(ctx, tx, f)
			if err == nil && n > 0 && !billing.SamePerson(o.Operator, system) {
				_, err = tx.Exec(ctx, `update ach_file set hands = array_append(hands, $2) where id = $1`, id, fold(o.Operator))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("mending the files that wait for their release: %w", err)
		}
	}
	return nil
}

// mend makes a sealed file anew, if it must be, and says how many of its entries
// were the reason.
func (o Office) mend(ctx context.Context, tx pgx.Tx, f FileInfo) (FileInfo, int, error) {
	if f.Kind != FileOfDebits {
		return o.mendOthers(ctx, tx, f)
	}
	found, err := staleDebits(ctx, tx, f)
	if err != nil || len(found) == 0 {
		return f, 0, err
	}
	err = inParts(ctx, tx, found, func(s stale) int64 { return s.account }, func(b *billing.Book, some []stale) error {
		for _, s := range some {
			a := b.Account(s.account)
			d := a.DebitOf(s.receipt)
			if s.corrects != 0 {
				d.Correct(s.corrects)
				continue
			}
			a.WithdrawDebit(d, o.Day, s.says(d, o.Day, f.Name))
			d.LeaveFile()
			f.Entries, f.Cents = f.Entries-1, f.Cents-d.Cents
		}
		return nil
	})
	if err != nil {
		return f, 0, err
	}
	f, err = o.refill(ctx, tx, f, "ach_mend")
	return f, len(found), err
}

// refill makes a sealed file anew of what is left of it, and keeps a record of
// that.
func (o Office) refill(ctx context.Context, tx pgx.Tx, f FileInfo, verb string) (FileInfo, error) {
	before := f.SHA256
	f, err := o.fill(ctx, tx, f, true)
	if err != nil {
		return f, err
	}
	record := billing.Act{Day: o.Day, Operator: o.Operator, Verb: verb,
		Detail: map[string]any{"file": f.Name, "sha256_before": before, "sha256": f.SHA256, "entries": f.Entries, "cents": f.Cents}}
	return f, record.Record(ctx, tx, 0)
}

// says puts a debit that is taken out before a person.
func (s stale) says(d *billing.Debit, day calendar.Date, file string) billing.Exception {
	code, why := NoAuthorization, "it is not authorized on that day any more"
	if s.held {
		code, why = HeldSince, "the account is on hold"
	}
	return billing.Exception{On: day, Job: "autopay", Code: code, Subject: d.Cycle.String(),
		Detail: fmt.Sprintf("the debit of %s effective %s was taken out of %s before its release: %s", d.Cents, d.EffectiveOn, file, why)}
}

// staleDebits finds what of a sealed file may not go out as it is. Only accounts
// on hold, or on which autopay or a method has ever ended, are looked at: the
// others are the most.
func staleDebits(ctx context.Context, tx pgx.Tx, f FileInfo) ([]stale, error) {
	rows, err := tx.Query(ctx, `with suspect as materialized (
			select account_id from standing where item = 0 and state <> 'on' and account_id between $2 and $3
			union select account_id from autopay_method where ended_on is not null and account_id between $2 and $3
			union select account_id from hold where released_on is null and account_id between $2 and $3
		)
		select d.account_id, d.receipt, a.autopay = 'on' and h.account_id is not null, case when a.autopay = 'on' and h.account_id is null then coalesce(n.id, 0) else 0 end
		from suspect s join debit d on d.account_id = s.account_id join account a on a.id = d.account_id
		join autopay_method m on m.id = d.method_id
		left join (select distinct account_id from hold where released_on is null) h on h.account_id = d.account_id
		left join autopay_method n on n.account_id = d.account_id and n.id > m.id and n.method = 'ach' and n.corrected_by <> '' and n.authorized_on = m.authorized_on and n.authorized_by = m.authorized_by
			and (n.ended_on is null or n.ended_on > d.effective_on)
		where d.file_id = $1 and d.state = 'built' and (a.autopay <> 'on' or h.account_id is not null or m.ended_on <= d.effective_on)
		order by d.account_id, d.receipt`, f.ID, f.low, f.high)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s stale, err error) {
		err = row.Scan(&s.account, &s.receipt, &s.held, &s.corrects)
		return s, err
	})
}
