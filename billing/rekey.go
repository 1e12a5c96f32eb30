package billing

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// KeyUse is how many account numbers a key keeps sealed.
type KeyUse struct {
	KeyID   uint32 `json:"key_id"`
	Current bool   `json:"current"` // the one that seals now
	Numbers int64  `json:"numbers"`
}

// KeyUses tells for each key, the current one first, how many of the account
// numbers of autopay it keeps. What is sealed for good, files and archives,
// stays with the key of its day.
func KeyUses(ctx context.Context, q Querier, keys *secret.Keys) ([]KeyUse, error) {
	rows, err := q.Query(ctx, `select substring(number_sealed from 2 for 4), count(*) from autopay_method where number_sealed is not null group by 1`)
	if err != nil {
		return nil, err
	}
	numbers := map[uint32]int64{}
	var id []byte
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { numbers[binary.BigEndian.Uint32(id)] = n; return nil }); err != nil {
		return nil, err
	}
	var uses []KeyUse
	for i, key := range keys.KeyIDs() {
		uses = append(uses, KeyUse{key, i == 0, numbers[key]})
		delete(numbers, key)
	}
	for key := range numbers {
		return uses, fmt.Errorf("%d account numbers are sealed with key %d, which these keys do not have: is the keys file an old copy?", numbers[key], key)
	}
	return uses, nil
}

// Reseal seals every account number of autopay that an older key keeps with the
// current one, some thousands in a transaction. Stopped, it goes on where it
// was; run again, it finds nothing. It returns how many it sealed.
func Reseal(ctx context.Context, db postgres.DB, keys *secret.Keys) (n int64, err error) {
	current := binary.BigEndian.AppendUint32(nil, keys.KeyIDs()[0])
	for {
		var some int64
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select id, account_id, number_sealed from autopay_method where number_sealed is not null and substring(number_sealed from 2 for 4) <> $1 order by id limit 5000 for update`, current)
			if err != nil {
				return err
			}
			var ids []int64
			var sealed [][]byte
			var id, account int64
			var old []byte
			if _, err := pgx.ForEachRow(rows, []any{&id, &account, &old}, func() error {
				context := fmt.Sprintf("autopay_method/%d", account)
				number, err := keys.Open(old, context)
				if err != nil {
					return fmt.Errorf("method %d: %w", id, err)
				}
				again, err := keys.Seal(number, context)
				ids, sealed = append(ids, id), append(sealed, again)
				return err
			}); err != nil {
				return err
			}
			some = int64(len(ids))
			_, err = tx.Exec(ctx, `update autopay_method m set number_sealed = u.sealed from unnest($1::bigint[], $2::bytea[]) u(id, sealed) where m.id = u.id`, ids, sealed)
			return err
		})
		n += some
		if err != nil || some == 0 {
			return n, err
		}
	}
}
