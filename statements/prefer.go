package statements

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/postgres"
)

// PreferAccessible notes that the account of a member wants its statements
// tagged for programs that read aloud, or no longer. It counts from the next
// statement that is cut: those that were made stay as they are, and [Get] gives
// any of them tagged. Once more changes nothing but the record.
func PreferAccessible(ctx context.Context, db postgres.DB, act billing.Act, mrn string, wanted bool) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		account, err := billing.Find(ctx, tx, mrn)
		if err != nil {
			return err
		}
		change, args := `delete from reads_aloud where account_id = $1`, []any{account}
		if wanted {
			change, args = `insert into reads_aloud (account_id, since) values ($1, $2) on conflict do nothing`, []any{account, act.Day}
		}
		if _, err := tx.Exec(ctx, change, args...); err != nil {
			return err
		}
		return act.Record(ctx, tx, account)
	})
}
