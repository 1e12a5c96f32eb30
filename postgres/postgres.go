// Package postgres gives the house its database: a pool on the biller's own,
// with the schema brought up to date, or a scratch database to try things in.
//
// The server is one that the biller names by a URL, or an embedded one: the
// PostgreSQL installed on the machine, started on a directory of our own. All
// tables of all rooms are in migrations/, since the schema is one story.
//
// The embedded server outlives a program that crashes: the next one to open
// the directory finds it and goes on. The last program to close it stops it.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// MinMajor is the oldest major version of PostgreSQL that will do: STRATEGY in
// CREATE DATABASE and unique indexes with NULLS NOT DISTINCT came with it.
const MinMajor = 15

// ErrUnavailable is in the chain of every error that says the database can't
// be used now, whoever asks: try again when the machine is mended.
var ErrUnavailable = errors.New("the database is not available")

// Config says which PostgreSQL to work on.
type Config struct {
	URL       string    // a server of the biller's, as a URL or as key=value words; then Data counts for nothing
	Data      string    // the biller's directory; the embedded server lives in its folder postgres
	Throwaway bool      // without URL: a server in memory that loses everything at Close, for tests and scratch
	Begun     bool      // the books were begun before: Main makes no schema where there is none (ErrNoBooks)
	Log       io.Writer // what takes a while is told here, one line each; nil for silence
}

// Server is a running PostgreSQL.
type Server struct {
	url     string   // of the database that we connect to for CREATE DATABASE
	cluster *cluster // nil if the biller named the server
	begun   bool
}

// mainDatabase is the biller's database on the embedded server.
const mainDatabase = "billcycle"

// Open connects to the server that the URL names, or starts the embedded one,
// or joins it if it is running already. Its errors are ErrUnavailable, but for a
// server that is there and will not have us (IsRefused) or is too old, and for
// a URL that can't be read.
func Open(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = io.Discard
	}
	s := &Server{url: c.URL, begun: c.Begun}
	if c.URL == "" {
		cluster, err := openCluster(ctx, c)
		if err != nil {
			return nil, unavailable(err)
		}
		s.cluster, s.url = cluster, cluster.url
		return s, nil
	}
	config, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("the database URL: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if IsRefused(err) {
		return nil, refused(config, err)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	defer conn.Close(ctx)
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return nil, unavailable(err)
	}
	if version/10000 < MinMajor {
		return nil, fmt.Errorf("the server at %s is PostgreSQL %d; billcycle needs %d or newer", config.Host, version/10000, MinMajor)
	}
	return s, nil
}

// URL names the database that the server is administered through: the one of
// Config.URL, or the embedded server's "postgres".
func (s *Server) URL() string { return s.url }

// Main returns a pool on the biller's database, migrated: the one that
// Config.URL names, or "billcycle" on the embedded server, made if need be. It is
// ErrNoBooks if nothing of ours is in it and Config says that there should be.
func (s *Server) Main(ctx context.Context) (*pgxpool.Pool, error) {
	if s.cluster == nil {
		return s.openMigrated(ctx, s.url)
	}
	err := s.administer(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE DATABASE "+quote(mainDatabase))
		return err
	})
	if err != nil && !isState(err, "42P04", "23505") { // made before, or by someone just now
		return nil, fmt.Errorf("making the database %s: %w", mainDatabase, err)
	}
	return s.openMigrated(ctx, withDatabase(s.url, mainDatabase))
}

// Close lets go of the server. The embedded one is stopped if no other program
// uses it; a throwaway one is stopped and its files removed. Close the pools
// before.
func (s *Server) Close() error {
	if s.cluster == nil {
		return nil
	}
	return s.cluster.close()
}

// IsUnavailable says whether an error, from here or from a pool, means that
// the database or its machine is out of order (no connection, disk full, going
// down) rather than that the statement was wrong.
func IsUnavailable(err error) bool {
	var connect *pgconn.ConnectError
	if errors.Is(err, ErrUnavailable) || errors.As(err, &connect) {
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// Class 08 is the connection, 53 a lack of resources, 57P an operator
		// at work on the server, 58 its files.
		return strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "53") ||
			strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "58")
	}
	// Or the server went away in mid-sentence, or between two sentences. The
	// migrations speak through database/sql, which has words of its own for it.
	var broken *net.OpError
	return errors.As(err, &broken) || slices.ContainsFunc([]error{io.ErrUnexpectedEOF, pgconn.ErrConnClosed, driver.ErrBadConn, sql.ErrConnDone},
		func(gone error) bool { return errors.Is(err, gone) })
}

// IsRefused says whether an error means that the server is there and will not
// have us: the user, the password or the database is not what the URL says.
func IsRefused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "28") || pg.Code == "3D000")
}

// refused says so in the server's words alone, without those of each way that
// was tried to reach it.
func refused(c *pgx.ConnConfig, err error) error {
	var pg *pgconn.PgError
	errors.As(err, &pg)
	return fmt.Errorf("the database %s at %s:%d refuses user %s: %w", c.Database, c.Host, c.Port, c.User, pg)
}

// administer runs f on a connection of its own to the administrative database.
func (s *Server) administer(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return unavailable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return f(conn)
}

func (s *Server) openMigrated(ctx context.Context, url string) (*pgxpool.Pool, error) {
	if err := migrate(ctx, url, migrations(), s.begun); err != nil {
		return nil, err
	}
	return openPool(ctx, url)
}

func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the database URL: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = int32(max(8, 2*runtime.NumCPU()))
	}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["jit"] = "off" // compiling costs more than our statements run
	// The connections of a pool have a name of their own, so that those of a
	// program that is taken for dead can be ended.
	name := cmp.Or(config.ConnConfig.RuntimeParams["application_name"], "billcycle")
	config.ConnConfig.RuntimeParams["application_name"] = fmt.Sprintf("%.40s %s", name, rand.Text()[:10])
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, unavailable(err)
	}
	return pool, nil
}

// withDatabase returns the URL (or key=value words) with another database.
func withDatabase(dsn, database string) string {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + database // the last word counts
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn // whoever connects will say what is wrong with it
	}
	query := u.Query()
	query.Del("dbname")
	query.Del("database")
	u.Path, u.RawPath, u.RawQuery = "/"+database, "", query.Encode()
	return u.String()
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func isState(err error, codes ...string) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	for _, code := range codes {
		if pg.Code == code {
			return true
		}
	}
	return false
}

func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
