package rehearsal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
)

// The killing goes by what the program says to its database: a tracer counts
// each statement as it is sent and as it is answered, BEGIN and COMMIT like any
// other, and at the one chosen the process ends itself by SIGKILL. So the same
// seed kills at the same points, and the product needs no code for it.

// victim is what the child process is told, as JSON in its environment.
type victim struct {
	URL, Dir, Release string
	Policy            billing.Policy
	Workers           int
	ChunkAccounts     int64
	Day               calendar.Date
	At                point
	Past              []string // jobs with which it ends, so that the night does not run through
	Helps             bool     // it is a worker that joins, see help
	Lazy              bool     // it leaves to workers what they take, see lazy
}

// point is a moment of a night: the n-th thing, from 1, that happens between a
// job and its database, or the n-th of a kind, such as "told commit".
type point struct {
	Job  string
	N    int
	What string // "" for all
	SQL  string // what the statement holds, "" for any
}

const victimVariable, victimName = "BILLCYCLE_TEST_VICTIM", "billcycle victim"

func TestMain(m *testing.M) {
	if told := os.Getenv(victimVariable); told != "" {
		if err := beVictim(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0) // the point was never reached
	}
	os.Exit(m.Run())
}

// beVictim runs a night until its tracer kills the process.
func beVictim(told string) error {
	ctx := context.Background()
	var v victim
	if err := json.Unmarshal([]byte(told), &v); err != nil {
		return err
	}
	keys, err := secret.Load(filepath.Join(v.Dir, "keys"))
	if err != nil {
		return err
	}
	h := jobs.House{Policy: &v.Policy, Keys: keys, Dir: v.Dir, Operator: "system", Release: v.Release, Workers: v.Workers, ChunkAccounts: v.ChunkAccounts}
	if v.Helps {
		return help(ctx, h, v.URL)
	}
	pool, err := traced(ctx, v.URL, victimName, &watcher{kill: v.At, past: v.Past})
	if err == nil && v.Lazy {
		pool, err = lazy(ctx, pool)
	}
	if err != nil {
		return err
	}
	h.DB = pool
	_, err = jobs.Runner{House: h}.Night(ctx, v.Day)
	return err
}

// traced opens a pool whose connections are watched.
func traced(ctx context.Context, url, name string, w *watcher) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 8
	config.ConnConfig.Tracer = w
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["application_name"] = name
	return pgxpool.NewWithConfig(ctx, config)
}

// watcher is told by pgx of everything that goes to the database and comes
// back, and keeps it, by job. At its point to kill it kills the process.
type watcher struct {
	mu   sync.Mutex
	job  string // whose turn it is
	seen map[string][]string
	kill point
	past []string
	met  int // how often what it kills at has come
}

func (w *watcher) saw(what, sql string, args []any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if what == "ask" && strings.HasPrefix(sql, "insert into run (") { // how a job begins
		w.job = args[0].(string)
	}
	if w.seen == nil {
		w.seen = map[string][]string{}
	}
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	event := what + " " + strings.ToLower(word)
	w.seen[w.job] = append(w.seen[w.job], event)
	if slices.Contains(w.past, w.job) {
		os.Exit(0) // the point was never reached
	}
	if w.job != w.kill.Job || w.kill.What != "" && w.kill.What != event || !strings.Contains(sql, w.kill.SQL) {
		return
	}
	if w.met++; w.met == w.kill.N {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // and no other goroutine goes on meanwhile: we hold the lock
	}
}

func (w *watcher) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	w.saw("ask", q.SQL, q.Args)
	return context.WithValue(ctx, w, q.SQL)
}

func (w *watcher) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	sql, _ := ctx.Value(w).(string)
	w.saw("told", sql, nil)
}

func (w *watcher) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	w.saw("ask", "batch", nil)
	return ctx
}

func (w *watcher) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (w *watcher) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {
	w.saw("told", "batch", nil)
}

func (w *watcher) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	w.saw("ask", "copy", nil)
	return ctx
}

func (w *watcher) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {
	w.saw("told", "copy", nil)
}

// month is the demo that is lived with and without kills.
var month = rehearsal.Demo{Members: 60, Months: 1, Seed: 11, Start: rehearsal.DemoStart}

// chunkAccounts cuts the accounts of that demo into several ranges.
const chunkAccounts = 9

// unharmed is the month without kills: the books after each night, and what
// each night said to its database.
type unharmed struct {
	books map[calendar.Date]books
	said  map[calendar.Date]map[string][]string
}

func liveUnharmed(t *testing.T) unharmed {
	t.Helper()
	u := unharmed{map[calendar.Date]books{}, map[calendar.Date]map[string][]string{}}
	h := newHouse(t)
	h.ChunkAccounts, h.Workers = chunkAccounts, 1
	h.Policy.ACH.Prenote = true
	demo := month
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		w := &watcher{}
		plain := h.DB
		pool, err := traced(ctx, plain.(*pgxpool.Pool).Config().ConnString(), "billcycle watched", w)
		if err != nil {
			return err
		}
		defer pool.Close()
		h.DB = pool
		if _, err := (jobs.Runner{House: h}).Night(ctx, day); err != nil {
			return err
		}
		u.said[day] = w.seen
		h.DB = plain
		u.books[day], err = read(ctx, h)
		return err
	}
	live(t, demo, h)
	holds(t, h)
	return u
}

// busiest is the night on which a job says most.
func (u unharmed) busiest(job string) (busiest calendar.Date) {
	for _, day := range slices.Sorted(maps.Keys(u.said)) {
		if busiest == 0 || len(u.said[day][job]) > len(u.said[busiest][job]) {
			busiest = day
		}
	}
	return busiest
}

// idle is how much a job says when it has nothing to do.
func (u unharmed) idle(job string) int {
	least := 1 << 30
	for _, said := range u.said {
		least = min(least, len(said[job]))
	}
	return least
}

// choose chooses the points to kill at on a night, in the order of its jobs:
// one in each job that has something to do, and every sixth night one in each of
// the others.
func (u unharmed) choose(dice *rand.Rand, day calendar.Date) []point {
	var points []point
	for n, j := range jobs.Jobs() {
		said := u.said[day][j.Name]
		if len(said) <= u.idle(j.Name) && (int(day)+n)%6 > 0 {
			continue
		}
		n := 1 + dice.IntN(len(said))
		if dice.IntN(2) == 0 { // right before or after a commit: where a crash can do most
			if commits := commitsIn(said); len(commits) > 0 {
				n = commits[dice.IntN(len(commits))]
			}
		}
		points = append(points, point{Job: j.Name, N: n})
		if dice.IntN(4) == 0 { // and once more in what was left to do
			points = append(points, point{Job: j.Name, N: 1 + dice.IntN(max(1, len(said)-n/2))})
		}
	}
	return points
}

// commitsIn lists the numbers of the commits, sent and answered.
func commitsIn(said []string) (at []int) {
	for n, what := range said {
		if strings.HasSuffix(what, " commit") {
			at = append(at, n+1)
		}
	}
	return at
}

// TestKill kills the program by SIGKILL at points of every job of a month, runs
// the same night again and compares the books with those of a month without
// kills: after every night, to the last row of the journal, the last byte of
// the statements and of the files for the bank.
//
// BILLCYCLE_TORTURE=N kills in N months instead of one, each at its own points.
func TestKill(t *testing.T) {
	rounds := 1
	if n := os.Getenv("BILLCYCLE_TORTURE"); n != "" {
		var err error
		if rounds, err = strconv.Atoi(n); err != nil {
			t.Fatalf("BILLCYCLE_TORTURE is a number of rounds, not %q", n)
		}
	}
	u := liveUnharmed(t)
	t.Run("around every commit", func(t *testing.T) { killAroundCommits(t, u) })
	for round := range rounds {
		seed := uint64(round + 1)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { killAtRandom(t, u, seed) })
	}
}

// killer kills nights and keeps count.
type killer struct {
	kills map[string]int // by job
	at    map[string]int // by what had just happened
	night []string       // the points of this night, in words
}

// kill runs a night until it is killed at a point, and says whether it was. It
// does not come to the jobs past.
func (k *killer) kill(ctx context.Context, h jobs.House, day calendar.Date, p point, what string, past ...string) (bool, error) {
	died, err := runVictim(ctx, h, day, p, past...)
	if err != nil {
		return false, fmt.Errorf("to be killed at %v: %w", p, err)
	}
	if died {
		k.kills[p.Job]++
		k.at[what]++
		k.night = append(k.night, fmt.Sprintf("%s %d (%s)", p.Job, p.N, what))
	}
	return died, nil
}

// liveKilled lives the month; before each night is run to its end, murder may
// kill it. The books are compared with the unharmed ones after every night.
func liveKilled(t *testing.T, u unharmed, workers int, murder func(ctx context.Context, k *killer, h jobs.House, day calendar.Date) error) *killer {
	t.Helper()
	h := newHouse(t)
	h.ChunkAccounts, h.Workers = chunkAccounts, workers
	h.Policy.ACH.Prenote = true
	k := &killer{kills: map[string]int{}, at: map[string]int{}}
	demo := month
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		k.night = nil
		if err := murder(ctx, k, h, day); err != nil {
			return fmt.Errorf("%s, killed at %v: %w", day, k.night, err)
		}
		if _, err := (jobs.Runner{House: h}).Night(ctx, day); err != nil {
			return fmt.Errorf("%s, killed at %v: %w", day, k.night, err)
		}
		got, err := read(ctx, h)
		if err != nil {
			return err
		}
		if d := u.books[day].differences(got); len(d) > 0 {
			return fmt.Errorf("%s, killed at %v: the books differ from those of a night unharmed:\n%s", day, k.night, strings.Join(d, "\n"))
		}
		if len(k.night) > 0 {
			t.Logf("%s killed at %s", day, strings.Join(k.night, ", "))
		}
		return nil
	}
	live(t, demo, h)
	holds(t, h)
	t.Logf("kills: %v at %v", k.kills, k.at)
	return k
}

func killAtRandom(t *testing.T, u unharmed, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 0))
	k := liveKilled(t, u, 1+int(seed%2), func(ctx context.Context, k *killer, h jobs.House, day calendar.Date) error {
		for _, p := range u.choose(dice, day) {
			// It may come through, if those killed before have left it less to do.
			if _, err := k.kill(ctx, h, day, p, u.said[day][p.Job][p.N-1]); err != nil {
				return err
			}
		}
		return nil
	})
	for _, j := range jobs.Jobs() {
		if k.kills[j.Name] < 2 {
			t.Errorf("%s was killed %d times only", j.Name, k.kills[j.Name])
		}
	}
	if k.at["ask commit"] < 5 || k.at["told commit"] < 5 {
		t.Errorf("killed %d times before and %d times after a commit", k.at["ask commit"], k.at["told commit"])
	}
}

// killAroundCommits takes each job's busiest night and kills it right before
// and right after its first commit, again and again until the job is through. The
// night ends there, so that the jobs after it still have all their work to do.
// Where a commit changes nothing, such as that of a file that is here already,
// the next one is taken.
func killAroundCommits(t *testing.T, u unharmed) {
	k := liveKilled(t, u, 1, func(ctx context.Context, k *killer, h jobs.House, day calendar.Date) error {
		var past []string
		for _, j := range slices.Backward(jobs.Jobs()) {
			past = append(past, j.Name)
		}
		for _, j := range jobs.Jobs() {
			past = past[:len(past)-1] // those after it
			if u.busiest(j.Name) != day {
				continue
			}
			var was string
			for n, turns := 1, 0; n <= 30 && turns < 20; turns++ {
				for _, what := range []string{"ask commit", "told commit"} {
					if died, err := k.kill(ctx, h, day, point{Job: j.Name, N: n, What: what}, what, past...); err != nil {
						return err
					} else if !died {
						n = 1000 // through
					}
				}
				is, err := signature(ctx, h, j.Name)
				if err != nil {
					return err
				}
				if is == was {
					n++
				}
				was = is
			}
		}
		return nil
	})
	for _, j := range jobs.Jobs() {
		if k.kills[j.Name] < 2*len(commitsIn(u.said[u.busiest(j.Name)][j.Name]))/3 {
			t.Errorf("%s was killed %d times only", j.Name, k.kills[j.Name])
		}
	}
}

// signature changes with everything that a job commits for good.
func signature(ctx context.Context, h jobs.House, job string) (string, error) {
	b, err := read(ctx, h)
	if err != nil {
		return "", err
	}
	var chunks int
	err = h.DB.QueryRow(ctx, `select count(*) from run_chunk where job = $1`, job).Scan(&chunks)
	return fmt.Sprint(chunks, map[string]string(b)), err
}

// victimOf is a house's night, to be killed at a point.
func victimOf(h jobs.House, day calendar.Date, at point) victim {
	return victim{URL: h.DB.(*pgxpool.Pool).Config().ConnString(), Dir: h.Dir, Release: h.Release, Policy: *h.Policy, Workers: h.Workers, ChunkAccounts: h.ChunkAccounts, Day: day, At: at}
}

// runVictim runs a night in a child process that kills itself at a point, and
// says whether it died of that. It ends as a job of those past begins.
func runVictim(ctx context.Context, h jobs.House, day calendar.Date, at point, past ...string) (died bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	v := victimOf(h, day, at)
	v.Past = past
	told, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), victimVariable+"="+string(told))
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if died = err != nil; died && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		return false, fmt.Errorf("it ended by itself: %w: %s", err, said)
	}
	// The server may not have seen yet that nobody is there any more. It would
	// by itself in a moment; the test doesn't wait for moments.
	_, err = h.DB.Exec(ctx, `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and application_name = $1`, victimName)
	return died, err
}
