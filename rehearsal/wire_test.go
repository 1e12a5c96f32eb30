package rehearsal_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Every program that is tortured speaks to PostgreSQL through a line of ours,
// a socket of its own. We read what goes by: each statement as it is asked and
// as its answer comes back, BEGIN and COMMIT like any other. There a trap may
// lie, so the program dies, freezes or loses its server right before or right
// after any statement, and the product needs no code for it.

// moment is a place in what a program and its server say to each other.
type moment struct {
	Job string // the job that began last; "opening" before the first
	Say string // "ask" as a statement arrives, "told" as its answer does
	SQL string // the statement, its white space made even

	// Work says of a commit that its transaction has changed more than the
	// night's own notes.
	Work bool
}

func (m moment) String() string {
	work := ""
	if m.Work {
		work = " of work"
	}
	return fmt.Sprintf("%s, %s %.60q%s", m.Job, m.Say, m.SQL, work)
}

// verb is the statement's first word.
func (m moment) verb() string {
	word, _, _ := strings.Cut(m.SQL, " ")
	return strings.ToLower(word)
}

// trap is sprung at the nth time that a moment comes, or at the first one of a
// job that comes after it, if past names that.
type trap struct {
	at   moment
	nth  int
	past string

	// spring is called once, with the line it came on; what was said is held
	// back meanwhile. Where still is set, all other lines stand still, too.
	spring func(l *line)
	still  bool
}

// exchange is all lines of a house.
type exchange struct {
	dir   string // of the lines' sockets
	to    string // the server's socket
	admin *pgxpool.Pool

	mu    sync.Mutex
	job   string
	lines int
	said  []moment // since it was last emptied
	out   []int    // which of it came first after a file had appeared in the outbox, if look is set
	look  func() string
	there string // when look last looked
	trap  *trap
	met   int
	hit   moment        // at which the trap was sprung
	locks map[*line]int // that programs hold or have asked for, by their lines
}

// set lays a trap, or takes it away with nil, and begins to listen anew.
func (x *exchange) set(job string, t *trap) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.job, x.trap, x.met, x.said, x.out = job, t, 0, nil, nil
}

// sprung says whether the trap was sprung.
func (x *exchange) sprung() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.trap == nil
}

// at returns the moment at which the trap was sprung.
func (x *exchange) at() moment {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hit
}

// heard returns what was said since set.
func (x *exchange) heard() []moment {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.said
}

// put returns which of what was said since set came first after a file had
// appeared in the outbox.
func (x *exchange) put() []int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out
}

// saw is told of everything that goes by, and how: what was said before it goes
// on before a trap is sprung. It returns false for what does not go on, since
// who said it or was to hear it is dead by then.
func (x *exchange) saw(l *line, say, sql string, work bool, arguments [][]byte, by *bufio.Writer) bool {
	x.listen(l, say, sql, work, arguments, by)
	return !l.of.isDead()
}

func (x *exchange) listen(l *line, say, sql string, work bool, arguments [][]byte, by *bufio.Writer) {
	x.mu.Lock()
	if say == "ask" && strings.HasPrefix(sql, "insert into run (") && len(arguments) > 0 { // how a job begins
		x.job = string(arguments[0])
	}
	x.noteLock(l, say, sql)
	m := moment{x.job, say, sql, work}
	if say == "ask" && x.look != nil && m.verb() != "select" { // a look takes longer than a question
		if is := x.look(); is != x.there {
			x.there, x.out = is, append(x.out, len(x.said))
		}
	}
	x.said = append(x.said, m)
	t := x.trap
	if t != nil && t.at == m {
		x.met++
	}
	if t == nil || (t.at != m || x.met != t.nth) && (t.past == "" || t.past != m.Job) {
		x.mu.Unlock()
		return
	}
	x.trap, x.hit = nil, m
	_ = by.Flush()
	if t.still {
		t.spring(l)
		x.mu.Unlock()
		return
	}
	x.mu.Unlock()
	t.spring(l)
}

// noteLock keeps count of the locks that programs ask for and give back. A
// program that asks for its date is contested if another still holds any when it
// is told whether it may have it.
func (x *exchange) noteLock(l *line, say, sql string) {
	tries := strings.Contains(sql, "pg_try_advisory_lock(")
	switch {
	case say == "ask" && (tries || strings.HasPrefix(sql, "select true from") && strings.Contains(sql, "pg_advisory_lock(")):
		if x.locks == nil {
			x.locks = map[*line]int{}
		}
		x.locks[l]++
	case say == "ask" && strings.HasPrefix(sql, "select pg_advisory_unlock("):
		x.locks[l]--
	case say == "told" && tries && !l.told:
		l.told = true
		for other, n := range x.locks {
			l.contested = l.contested || other != l && n > 0
		}
	}
}

// line is the way of one program to the server.
type line struct {
	x        *exchange
	of       *process
	listener net.Listener
	url      string

	told, contested bool // whether it has been told of its date, and another held it: see noteLock

	mu       sync.Mutex
	cut      bool
	open     []net.Conn
	backends []int32
}

// newLine opens a line to a database.
func (x *exchange) newLine(database string) (*line, error) {
	x.mu.Lock()
	x.lines++
	dir := filepath.Join(x.dir, fmt.Sprint(x.lines))
	x.mu.Unlock()
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		return nil, err
	}
	l := &line{x: x, listener: listener}
	l.url = (&url.URL{Scheme: "postgres", User: url.User("billcycle"), Path: "/" + database,
		RawQuery: url.Values{"host": {dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode()}).String()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.connect(c)
		}
	}()
	return l, nil
}

// hold keeps a connection to be cut with the line; false if it is cut already.
func (l *line) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		c.Close()
		return false
	}
	l.open = append(l.open, c)
	return true
}

// connect carries on what one connection says.
func (l *line) connect(client net.Conn) {
	if !l.hold(client) {
		return
	}
	defer client.Close()
	server, err := net.Dial("unix", l.x.to)
	if err != nil {
		return
	}
	if !l.hold(server) {
		return
	}
	defer server.Close()
	// The first thing said has no letter: a greeting, or a cancel request.
	hello := make([]byte, 4)
	if _, err := io.ReadFull(client, hello); err != nil {
		return
	}
	rest := make([]byte, binary.BigEndian.Uint32(hello)-4)
	if _, err := io.ReadFull(client, rest); err != nil {
		return
	}
	if _, err := server.Write(append(hello, rest...)); err != nil {
		return
	}
	t := &talk{line: l, named: map[string]string{}, toServer: bufio.NewWriterSize(server, 1<<16), toClient: bufio.NewWriterSize(client, 1<<16)}
	go func() {
		defer client.Close()
		defer server.Close()
		carry(server, t.toClient, t.answered)
	}()
	carry(client, t.toServer, t.asked)
}

// carry carries messages from one to the other, each when it has been looked at.
// What was sent at once goes on at once, or half of the time would be spent on
// waking who waits for the rest.
func carry(from io.Reader, to *bufio.Writer, look func(kind byte, body []byte) (goesOn bool)) {
	in := bufio.NewReaderSize(from, 1<<16)
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		whole := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
		copy(whole, head)
		if _, err := io.ReadFull(in, whole[5:]); err != nil {
			return
		}
		if !look(head[0], whole[5:]) {
			return
		}
		if _, err := to.Write(whole); err != nil {
			return
		}
		if in.Buffered() == 0 && to.Flush() != nil {
			return
		}
	}
}

// talk is one connection's talk.
type talk struct {
	line      *line
	named     map[string]string // the prepared statements
	bound     string            // what is executed next
	arguments [][]byte

	toServer, toClient *bufio.Writer

	mu      sync.Mutex
	waiting []question
	tells   bool // a row of the answer that is under way tells of something
	work    bool // something was changed since the last BEGIN
}

// question waits for its answer. The empty one is a sync, which ReadyForQuery
// answers.
type question struct {
	sql    string
	simple bool
}

func even(sql string) string { return strings.Join(strings.Fields(sql), " ") }

func (t *talk) wait(questions ...question) {
	t.mu.Lock()
	t.waiting = append(t.waiting, questions...)
	t.mu.Unlock()
}

func (t *talk) asked(kind byte, body []byte) (goesOn bool) {
	switch kind {
	case 'Q':
		sql := even(strings.TrimRight(string(body), "\x00"))
		t.wait(question{sql, true}, question{})
		return t.line.x.saw(t.line, "ask", sql, t.worked(sql), nil, t.toServer)
	case 'P':
		var m pgproto3.Parse
		if m.Decode(body) == nil {
			t.named[m.Name] = even(m.Query)
		}
	case 'B':
		var m pgproto3.Bind
		if m.Decode(body) == nil {
			t.bound, t.arguments = t.named[m.PreparedStatement], m.Parameters
		}
	case 'E':
		t.wait(question{t.bound, false})
		return t.line.x.saw(t.line, "ask", t.bound, t.worked(t.bound), t.arguments, t.toServer)
	case 'S':
		t.wait(question{})
	}
	return true
}

func (t *talk) answered(kind byte, body []byte) (goesOn bool) {
	switch kind {
	case 'K':
		t.line.mu.Lock()
		t.line.backends = append(t.line.backends, int32(binary.BigEndian.Uint32(body)))
		t.line.mu.Unlock()
	case 'D':
		var m pgproto3.DataRow
		if m.Decode(body) == nil && len(m.Values) > 0 && len(bytes.Trim(m.Values[0], "\x00")) > 0 {
			t.mu.Lock()
			t.tells = true
			t.mu.Unlock()
		}
	case 'C', 'I', 's':
		t.mu.Lock()
		var sql string
		if len(t.waiting) > 0 && t.waiting[0] != (question{}) {
			sql = t.waiting[0].sql
			if !t.waiting[0].simple {
				t.waiting = t.waiting[1:]
			}
		}
		t.note(sql, string(bytes.TrimRight(body, "\x00")))
		t.mu.Unlock()
		if sql != "" {
			return t.line.x.saw(t.line, "told", sql, t.worked(sql), nil, t.toClient)
		}
	case 'Z':
		t.mu.Lock()
		for len(t.waiting) > 0 { // what failed has no answer of its own
			first := t.waiting[0]
			if t.waiting = t.waiting[1:]; first == (question{}) {
				break
			}
		}
		t.mu.Unlock()
	}
	return true
}

// changes finds the tables that a statement changes, and clauses that look so.
var changes = regexp.MustCompile(`(?i)(for |key |do )?(?:insert into|update|delete from|copy) "?(\w+)`)

// ofRuns are the tables in which a night notes how far it is.
var ofRuns = []string{"run", "run_chunk", "run_lease", "worker"}

// note takes note of what a statement has come to. One that changes rows on its
// way to an answer tells first in the answer how much it did.
func (t *talk) note(sql, tag string) {
	if strings.HasPrefix(sql, "begin") {
		t.work = false
	}
	kind, rows, _ := strings.Cut(tag, " ")
	did := strings.Trim(rows, " 0") != ""
	if kind == "SELECT" {
		did = t.tells
	}
	t.tells = false
	if !did || t.work {
		return
	}
	for _, found := range changes.FindAllStringSubmatch(sql, -1) {
		t.work = t.work || found[1] == "" && !slices.Contains(ofRuns, found[2])
	}
}

// worked says of a commit whether its transaction has changed something.
func (t *talk) worked(sql string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sql == "commit" && t.work
}

// end cuts the line for good, when what a trap does is over.
func (l *line) end(ctx context.Context) error {
	l.x.mu.Lock()
	delete(l.x.locks, l)
	l.x.mu.Unlock()
	l.mu.Lock()
	l.cut = true
	err := l.listener.Close()
	l.mu.Unlock()
	return errors.Join(err, l.drop(ctx))
}

// drop cuts the connections that are open, and waits until the server has seen
// that nobody is there any more. It would by itself in a moment; the tests don't
// wait for moments.
func (l *line) drop(ctx context.Context) error {
	l.mu.Lock()
	backends := l.backends
	for _, c := range l.open {
		c.Close()
	}
	l.open, l.backends = nil, nil
	l.mu.Unlock()
	if len(backends) == 0 {
		return nil
	}
	_, err := l.x.admin.Exec(ctx, `select pg_terminate_backend(pid, 10000) from pg_stat_activity where pid = any($1) and backend_type = 'client backend' and pid <> pg_backend_pid()`, backends)
	return err
}

// Who is killed right before a commit has not committed, and who is killed right
// after it has.
func TestKilledAroundCommit(t *testing.T) {
	server, room := tortureChamber(t)
	program, err := build(t.Context(), t.TempDir(), forTorture...)
	must(t, err)
	w := newWorld(t, server, program, room(), 2)
	for _, say := range []string{"ask", "told"} {
		w.x.set("opening", &trap{at: moment{"journal", say, "commit", true}, nth: 1, still: true, spring: func(l *line) { l.of.kill() }})
		p, err := w.run(t.Context(), "nightly", "--date", tortured.Start.String())
		must(t, err)
		if !p.killed {
			t.Fatalf("it was to be killed: %v", p)
		}
		var files int
		must(t, w.house.DB.QueryRow(t.Context(), `select count(*) from journal_file`).Scan(&files))
		if want := map[string]int{"ask": 0, "told": 1}[say]; files != want {
			t.Errorf("killed at %s commit: %d files of the journal, want %d", say, files, want)
		}
	}
}
