package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Scratch is a database of its own, migrated and empty, on the same server.
type Scratch struct {
	Pool *pgxpool.Pool
	URL  string

	server *Server
	name   string
}

// Databases are cloned from a template that stays on the server, named by a
// hash of the migrations it holds. While it is being made it has another name,
// so a half-made one is never taken for a template.
const (
	templatePrefix = "billcycle_template_"
	makingName     = "billcycle_template"
	templateLock   = 0x62_69_6c_6c_74_70_6c // "billtpl"
)

// Scratch makes a fresh database named prefix_ and something random (prefix:
// lower-case letters, digits, underscores). Drop it when done: nobody else
// does, but on a throwaway server.
func (s *Server) Scratch(ctx context.Context, prefix string) (*Scratch, error) {
	return s.scratch(ctx, prefix, migrations())
}

func (s *Server) scratch(ctx context.Context, prefix string, files fs.FS) (*Scratch, error) {
	name := prefix + "_" + strings.ToLower(rand.Text()[:12])
	for try := 1; ; try++ {
		template, err := s.template(ctx, files)
		if err != nil {
			return nil, err
		}
		err = s.administer(ctx, func(conn *pgx.Conn) error { return clone(ctx, conn, name, template) })
		if err == nil {
			break
		}
		// Another program with other migrations may have dropped our template
		// as an old one since we looked.
		if !isState(err, "3D000") || try == 3 {
			return nil, fmt.Errorf("making the scratch database %s: %w", name, err)
		}
	}
	scratch := &Scratch{URL: withDatabase(s.url, name), server: s, name: name}
	pool, err := openPool(ctx, scratch.URL)
	if err != nil {
		scratch.Drop(ctx)
		return nil, err
	}
	scratch.Pool = pool
	return scratch, nil
}

// clone copies the files of the template, if that costs nothing but copying.
// On a durable server it would force a checkpoint of everything, twice, so
// there the copy goes through the log; a schema is a few megabytes.
func clone(ctx context.Context, conn *pgx.Conn, name, template string) error {
	strategy := "wal_log"
	var fsync string
	if err := conn.QueryRow(ctx, "SHOW fsync").Scan(&fsync); err == nil && fsync == "off" {
		strategy = "file_copy"
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY %s", quote(name), quote(template), strategy))
	return err
}

// Drop closes the pool and drops the database, whoever is still connected.
func (s *Scratch) Drop(ctx context.Context) error {
	if s.Pool != nil {
		s.Pool.Close()
	}
	return s.server.administer(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(s.name)+" WITH (FORCE)")
		return err
	})
}

// template returns the name of the template database of these migrations; the
// first who asks makes it, while the others wait.
func (s *Server) template(ctx context.Context, files fs.FS) (string, error) {
	hash, err := migrationsHash(files)
	if err != nil {
		return "", err
	}
	name := templatePrefix + hash
	err = s.administer(ctx, func(conn *pgx.Conn) error {
		if there, err := exists(ctx, conn, name); there || err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
			return err
		}
		if there, err := exists(ctx, conn, name); there || err != nil {
			return err
		}
		return s.makeTemplate(ctx, conn, name, files)
	})
	if err != nil {
		return "", fmt.Errorf("making the template database %s: %w", name, err)
	}
	return name, nil
}

func (s *Server) makeTemplate(ctx context.Context, conn *pgx.Conn, name string, files fs.FS) error {
	dropOldTemplates(ctx, conn)
	making := quote(makingName)
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + making + " WITH (FORCE)", // what a crash left
		"CREATE DATABASE " + making,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := migrate(ctx, withDatabase(s.url, makingName), files, false); err != nil {
		return err
	}
	for _, sql := range []string{
		// A template that someone is connected to can't be cloned.
		"ALTER DATABASE " + making + " ALLOW_CONNECTIONS false",
		"ALTER DATABASE " + making + " RENAME TO " + quote(name),
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// dropOldTemplates drops the templates of other migrations. One that is being
// cloned stays; so does one that belongs to another role. Neither matters.
func dropOldTemplates(ctx context.Context, conn *pgx.Conn) {
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", templatePrefix)
	if err != nil {
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return
	}
	for _, name := range names {
		conn.Exec(ctx, "DROP DATABASE "+quote(name))
	}
}

func exists(ctx context.Context, conn *pgx.Conn, database string) (bool, error) {
	var there bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&there)
	return there, err
}
