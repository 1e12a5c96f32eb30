package rehearsal_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/fixtures"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
)

// The torture: a month of nights is lived by the real program, on a real server,
// twice. Once nobody disturbs it. The other time it is killed, frozen, doubled,
// its server is stopped and its disk filled, and what comes in comes again. After
// each night the books of both must be the same to the last row of the journal
// and the last byte that has left the house. docs/torture.md says more.
//
//	make torture            the long form
//	make test               the short form, TestTorture as it is

var (
	tortureSeed     = flag.Uint64("torture.seed", 1, "the same seed chooses the same faults")
	tortureWorkers  = flag.String("torture.workers", "2", "numbers of ranges worked on at once, one month for each: \"2 4\"")
	tortureKills    = flag.Int("torture.kills", 10, "kills in a month")
	tortureRestarts = flag.Int("torture.restarts", 1, "server restarts in a month")
	tortureOthers   = flag.Int("torture.others", 1, "of each other fault in a month: freezes, twins, echoes, clocks set back")
	tortureFills    = flag.Int("torture.fills", 0, "full disks in a month; needs root, to mount small ones")
)

// ordeal is how a month is tortured.
type ordeal struct {
	seed     uint64
	kills    int
	restarts int
	others   int
	fills    int
}

// tortured is the month: 60 members from a March that has a DST night.
var tortured = rehearsal.Demo{Members: 60, Months: 1, Seed: 11, Start: calendar.MustParse("2026-03-01")}

// clockVariable is where the tortured program reads its clock, if it is set.
const clockVariable = "BILLCYCLE_TEST_NOW"

// forTorture are the places in which the tortured program differs from the real
// one: the accounts of a small month make several ranges, and the clock can be
// set.
var forTorture = []edit{
	{"jobs/runner.go", "run.ChunkAccounts = 10_000", "run.ChunkAccounts = 9"},
	{"cmd/billcycle/main.go", "now: time.Now}", `now: func() time.Time {
		if t, err := time.Parse(time.RFC3339, os.Getenv("` + clockVariable + `")); err == nil {
			return t
		}
		return time.Now()
	}}`},
}

// newWorld returns a world with an empty house on a fresh database.
func newWorld(t testing.TB, server *ourServer, program, dir string, workers int) *world {
	t.Helper()
	ctx := context.Background()
	keys, err := secret.Load(filepath.Join(dir, "keys"))
	must(t, err)
	policy := billing.DefaultPolicy()
	policy.Lockboxes = fixtures.New(1, 1, tortured.Start, policy).Lockboxes()
	text, err := json.Marshal(map[string]any{"lockboxes": policy.Lockboxes})
	must(t, err)
	w := &world{program: program, policy: filepath.Join(t.TempDir(), "policy.json"), server: server, workers: workers}
	must(t, os.WriteFile(w.policy, text, 0o600))
	w.scratch, err = server.server.Scratch(ctx, "tortured")
	must(t, err)
	t.Cleanup(func() { w.scratch.Pool.Close() })
	w.house = jobs.House{DB: w.scratch.Pool, Policy: &policy, Keys: keys, Dir: dir, Operator: "system"}
	to, err := server.socket()
	must(t, err)
	sockets, err := os.MkdirTemp("", "line") // a socket's path must be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(sockets) })
	w.x = &exchange{dir: sockets, to: to, admin: server.admin}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// undisturbed is the month as it should be: the books after each night, and
// what each night said to its database.
type undisturbed struct {
	books map[calendar.Date]books
	said  map[calendar.Date][]moment
	out   map[calendar.Date][]int // which of that came first after a file had appeared in the outbox
	took  map[calendar.Date]time.Duration
}

// bookOf reads a world's books. Beside those of every test, they hold what each
// range of accounts came to, however many passes there were: a range is counted
// once. They leave out how far the late-fee job has looked, and from where on it
// is worth looking: a second pass carries both further.
func bookOf(ctx context.Context, w *world) (books, error) {
	b, err := read(ctx, w.house)
	if err != nil {
		return nil, err
	}
	rows, err := w.house.DB.Query(ctx, `select 'account ' || id, (to_jsonb(a) - 'looked' - 'open_from')::text from account a
		union all select 'range ' || concat_ws(' ', job, day, step, from_id), concat_ws(' ', 'done', sum(done), 'parked', sum(parked), 'cents', sum(cents)) from run_chunk group by job, day, step, from_id`)
	if err != nil {
		return nil, err
	}
	var key, text string
	_, err = pgx.ForEachRow(rows, []any{&key, &text}, func() error { b[key] = text; return nil })
	return b, err
}

// liveUndisturbed lives the month as it should be.
func liveUndisturbed(t testing.TB, w *world) undisturbed {
	t.Helper()
	u := undisturbed{map[calendar.Date]books{}, map[calendar.Date][]moment{}, map[calendar.Date][]int{}, map[calendar.Date]time.Duration{}}
	w.x.look = w.outside
	demo := tortured
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		w.x.set("opening", nil)
		began := time.Now()
		if err := w.well(w.run(ctx, "nightly", "--date", day.String())); err != nil {
			return err
		}
		u.took[day] = time.Since(began)
		u.said[day], u.out[day] = w.x.heard(), w.x.put()
		if err := w.release(ctx, day, nil); err != nil {
			return err
		}
		u.said[day] = append(u.said[day], w.x.heard()...)
		var err error
		u.books[day], err = bookOf(ctx, w)
		return err
	}
	lived, err := demo.Live(context.Background(), w.house)
	must(t, err)
	holds(t, w.house)
	// Or there is nothing to torture.
	if lived.Statements < 20 || lived.ACHDebits == 0 || lived.LockboxItems < 5 || lived.LateFees == 0 {
		t.Errorf("hardly anything happened: %+v", lived)
	}
	return u
}

// release releases the day's debit files, as the second person. A release that
// disturb has let die is made again.
func (w *world) release(ctx context.Context, day calendar.Date, disturb func(args ...string) error) error {
	w.x.set("release", nil)
	rows, err := w.house.DB.Query(ctx, `select id::text from ach_file where state = 'sealed' order by id`)
	if err != nil {
		return err
	}
	files, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range files {
		args := []string{"ach", "release", id, "--date", day.String(), "--operator", "second person"}
		if disturb != nil {
			if err := disturb(args...); err != nil {
				return err
			}
		}
		if err := w.well(w.run(ctx, args...)); err != nil {
			return err
		}
	}
	return nil
}

// well returns an error unless a program did what it was called for.
func (w *world) well(p *process, err error) error {
	if err == nil && !p.done() {
		err = fmt.Errorf("undisturbed, it does not end well: %v", p)
	}
	return err
}

// outside lists the files in the outbox that have their name.
func (w *world) outside() string {
	files, _ := filepath.Glob(filepath.Join(w.house.Dir, "outbox", "*", "[^.]*"))
	return strings.Join(files, "\n")
}

// sealedOnly sees that nothing is in the outbox that is not sealed in the
// database, to the byte.
func (w *world) sealedOnly(ctx context.Context) error {
	rows, err := w.house.DB.Query(ctx, `select folder || '/' || name, encode(sha256, 'hex') from outbox_file where sha256 is not null
		union all select 'ach/' || name, encode(sha256, 'hex') from ach_file where state = 'released'
		union all select 'print/' || name || '.pdf', encode(pdf_sha256, 'hex') from print_bundle where pdf_sha256 is not null
		union all select 'print/' || name || '.csv', encode(csv_sha256, 'hex') from print_bundle where csv_sha256 is not null
		union all select 'print/' || name || '.json', encode(json_sha256, 'hex') from print_bundle where json_sha256 is not null`)
	if err != nil {
		return err
	}
	sealed := map[string]string{}
	var name, sum string
	if _, err := pgx.ForEachRow(rows, []any{&name, &sum}, func() error { sealed[name] = sum; return nil }); err != nil {
		return err
	}
	outbox := filepath.Join(w.house.Dir, "outbox")
	return filepath.WalkDir(outbox, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		name, _ := filepath.Rel(outbox, path)
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(name, ".done") || strings.HasSuffix(name, "-totals.json") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(content); sealed[name] != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("%w: outbox/%s is out with the hash %x, and is sealed with %q", errDiffers, name, sum, sealed[name])
		}
		return nil
	})
}

// liveTortured lives the month under faults and returns what was done to it,
// with the first difference from the undisturbed one as an error.
func liveTortured(w *world, u undisturbed, o ordeal) (*tormentor, error) {
	x := &tormentor{world: w, u: u, ordeal: o, dice: rand.New(rand.NewPCG(o.seed, 0)), rest: u.weights(), did: map[string]int{}, covered: map[moment]bool{}, foreign: []string{}}
	demo := tortured
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		x.tonight = nil
		if err := x.night(ctx, day); err != nil {
			return fmt.Errorf("%s, after %v: %w", day, strings.Join(x.tonight, "; "), err)
		}
		return nil
	}
	if _, err := demo.Live(context.Background(), w.house); err != nil {
		return x, err
	}
	proofs, _, err := w.house.Verify(context.Background())
	for _, p := range proofs {
		if !p.Holds {
			return x, fmt.Errorf("%s (%s): %d rows: %v", p.Name, p.Says, p.Rows, p.Examples)
		}
	}
	return x, err
}

// TestTorture is the short form, unless its flags say more.
func TestTorture(t *testing.T) {
	forWorkers(t, func(t *testing.T, c *chamber) {
		u := c.undisturbed(t)
		x, err := liveTortured(c.world(t, c.program), u, ordeal{seed: *tortureSeed, kills: *tortureKills, restarts: *tortureRestarts, others: *tortureOthers, fills: *tortureFills})
		t.Logf("seed %d: %s", *tortureSeed, x.report())
		if err != nil {
			t.Fatalf("seed %d: %v", *tortureSeed, err)
		}
		x.checkHits(t)
	})
}

// chamber is where a month is tortured.
type chamber struct {
	server  *ourServer
	room    func() string // gives out directories for houses
	program string
	workers int
}

// world returns a world for a program.
func (c *chamber) world(t *testing.T, program string) *world {
	t.Helper()
	return newWorld(t, c.server, program, c.room(), c.workers)
}

// undisturbed lives the month as it should be.
func (c *chamber) undisturbed(t *testing.T) undisturbed {
	t.Helper()
	began := time.Now()
	u := liveUndisturbed(t, c.world(t, c.program))
	t.Logf("the month undisturbed took %v", time.Since(began).Round(time.Millisecond))
	return u
}

// forWorkers does something with each of the numbers of workers asked for.
func forWorkers(t *testing.T, do func(t *testing.T, c *chamber)) {
	server, room := tortureChamber(t)
	program, err := build(t.Context(), t.TempDir(), forTorture...)
	must(t, err)
	for _, workers := range strings.Fields(*tortureWorkers) {
		t.Run(workers+" workers", func(t *testing.T) {
			n, err := strconv.Atoi(workers)
			if err != nil || n < 1 {
				t.Fatalf("-torture.workers: %q is no number of workers", workers)
			}
			do(t, &chamber{server, room, program, n})
		})
	}
}

// sortedCounts writes counts in words.
func sortedCounts(counts map[string]int) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(words, ", ")
}

// onlyTortured leaves a test of minutes to make torture.
func onlyTortured(t *testing.T) {
	t.Helper()
	if os.Getenv("BILLCYCLE_TORTURE") == "" {
		t.Skip("takes minutes: make torture")
	}
}
