package postgres

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
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
func Migrate(ctx context.Context, url string) error { return migrate(ctx, url, migrations()) }

func migrate(ctx context.Context, url string, files fs.FS) error {
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
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating database %q from schema version %d to %d: %w", config.Database, has, wants, err)
	}
	return nil
}

// migrationsHash names a state of the schema: all migrations, in order.
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
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}
