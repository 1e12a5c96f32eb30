package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is where work is done: a pool, a connection, or, for work that shall leave
// no trace, a transaction that is rolled back (see Dry). It is used for one
// thing at a time where it may be the last: no query while rows are open.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error)
}

// within is a DB whose transactions are savepoints of one transaction.
type within struct{ pgx.Tx }

// BeginTx begins a savepoint; the options are those of the transaction around.
func (w within) BeginTx(ctx context.Context, _ pgx.TxOptions) (pgx.Tx, error) { return w.Begin(ctx) }

// Dry does something on a database that forgets all of it afterwards. Others
// wait meanwhile for what it has locked.
func Dry(ctx context.Context, pool *pgxpool.Pool, do func(DB) error) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	return do(within{tx})
}

// Alone does something while it holds the advisory lock of a key, and gives it
// the connection that holds it: whoever has lost the lock can't write any more.
// The lock ends with the connection, so the dead hold none. If another program
// has it, Alone waits, or else returns false.
func Alone(ctx context.Context, db DB, key int64, wait bool, do func(DB) error) (got bool, err error) {
	if w, ok := db.(within); ok { // its locks end with it
		if wait {
			_, err = w.Exec(ctx, `select pg_advisory_xact_lock($1)`, key)
			got = err == nil
		} else {
			err = w.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, key).Scan(&got)
		}
		if err != nil || !got {
			return got, err
		}
		return true, do(w)
	}
	conn, err := db.(*pgxpool.Pool).Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	// A server at work on a long statement looks now and then whether anybody
	// still waits for it.
	lock := `select true from (select set_config('client_connection_check_interval', '1s', false)) x, pg_advisory_lock($1)`
	if !wait {
		lock = `select pg_try_advisory_lock($1) from (select set_config('client_connection_check_interval', '1s', false)) x`
	}
	if err := conn.QueryRow(ctx, lock, key).Scan(&got); err != nil || !got {
		return got, err
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, key); err != nil {
			conn.Conn().Close(context.WithoutCancel(ctx)) // and the lock with it
		}
	}()
	return true, do(conn)
}

// Beside does something in a transaction on a connection of its own, not one of
// the pool's: where all of those are taken by who waits for this, it still goes
// on. db is a pool.
func Beside(ctx context.Context, db DB, do func(pgx.Tx) error) error {
	conn, err := pgx.ConnectConfig(ctx, db.(*pgxpool.Pool).Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, do)
}
