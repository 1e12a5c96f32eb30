package postgres

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var embedded embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}

// migrationLock is the advisory lock of whoever migrates a database; the
// second waits, then finds nothing left to do.
const migrationLock = 0x62_69_6c_6c_6d_69_67 // "billmig"

// Migrate brings the database's schema up to this program's. It refuses a
// database that a newer program has migrated, since no one here knows what
// that one changed.
func Migrate(ctx context.Context, url string) error { return migrate(ctx, url, migrations(), false) }

// ErrNoBooks is returned for a database that should hold books, and holds none.
var ErrNoBooks = errors.New("no books are in the database")

func migrate(ctx context.Context, url string, files fs.FS, begun bool) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("the database URL: %w", err)
	}
	guard, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return unavailable(err)
	}
	defer guard.Close(context.WithoutCancel(ctx)) // and with it goes the lock
	if _, err := guard.Exec(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("waiting to migrate database %q: %w", config.Database, err)
	}

	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDB(*config), files)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	defer provider.Close()
	has, wants, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema version of database %q: %w", config.Database, err)
	}
	if has > wants {
		return fmt.Errorf("database %q has schema version %d, this program knows only up to %d: "+
			"a newer billcycle has migrated it; use that one", config.Database, has, wants)
	}
	if has == 0 && begun {
		return fmt.Errorf("%w %s at %s:%d", ErrNoBooks, config.Database, config.Host, config.Port)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating database %q from schema version %d to %d: %w", config.Database, has, wants, err)
	}
	if err := migrateRiver(ctx, guard); err != nil {
		return fmt.Errorf("migrating the tables of River in database %q: %w", config.Database, err)
	}
	return nil
}

// RiverSchema is where River keeps its tables. Nothing of the books is in them.
const RiverSchema = "river"

// riverMigrator works through a pool; nil will do to ask what there is.
func riverMigrator(pool *pgxpool.Pool) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
}

// migrateRiver brings River's own tables up to the version of the library, each
// step in a transaction of its own.
func migrateRiver(ctx context.Context, guard *pgx.Conn) error {
	migrator, err := riverMigrator(nil)
	if err != nil {
		return err
	}
	has := 0
	if err := guard.QueryRow(ctx, `select count(*) from pg_tables where schemaname = $1 and tablename = 'river_migration'`, RiverSchema).Scan(&has); err != nil {
		return err
	}
	if has > 0 {
		if err := guard.QueryRow(ctx, `select coalesce(max(version), 0) from `+RiverSchema+`.river_migration`).Scan(&has); err != nil {
			return err
		}
	}
	if all := migrator.AllVersions(); has >= all[len(all)-1].Version {
		return nil
	}
	if _, err := guard.Exec(ctx, `create schema if not exists `+RiverSchema); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, guard.Config().ConnString())
	if err != nil {
		return err
	}
	defer pool.Close()
	if migrator, err = riverMigrator(pool); err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// migrationsHash names a state of the schema: all migrations, in order, and
// River's.
func migrationsHash(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	river, err := riverMigrator(nil)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "river %d", len(river.AllVersions()))
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}
