package rehearsal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/rehearsal"
)

// help is what a process of a worker does: it joins until it is killed.
func help(ctx context.Context, h jobs.House, url string) error {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	config.MaxConns = 8
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["application_name"] = fmt.Sprintf("billcycle worker %d", os.Getpid())
	if h.DB, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	h.Workers, h.Lease = 1, time.Second
	_, err = jobs.Worker{House: h}.Run(ctx)
	return err
}

// crew are processes of workers, and one who kills and freezes them.
type crew struct {
	t    *testing.T
	h    jobs.House
	dice *rand.Rand

	mu    sync.Mutex
	hands map[int]*exec.Cmd // by process
	seen  map[string]bool   // ranges in workers' hands

	// By step: ranges seen, those killed and frozen in, and those of them in
	// which there was something to do, if full names these.
	did, killed, frozen, hurt map[string]int
	full                      map[string]bool
}

// newCrew hires workers for a house, until the test is over.
func newCrew(t *testing.T, h jobs.House, workers int) *crew {
	t.Helper()
	c := &crew{t: t, h: h, dice: rand.New(rand.NewPCG(5, 0)), hands: map[int]*exec.Cmd{}, seen: map[string]bool{},
		did: map[string]int{}, killed: map[string]int{}, frozen: map[string]int{}, hurt: map[string]int{}}
	t.Cleanup(func() {
		for pid := range c.hands {
			_ = syscall.Kill(pid, syscall.SIGCONT)
			c.dismiss(pid, syscall.SIGKILL)
		}
	})
	for range workers {
		if err := c.hire(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// hire starts one more.
func (c *crew) hire() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	told, err := json.Marshal(victim{URL: c.h.DB.(*pgxpool.Pool).Config().ConnString(), Dir: c.h.Dir, Policy: *c.h.Policy, Helps: true})
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), victimVariable+"="+string(told)), os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hands[cmd.Process.Pid] = cmd
	return nil
}

// dismiss ends a process by a signal and waits for it.
func (c *crew) dismiss(pid int, by syscall.Signal) {
	c.mu.Lock()
	cmd := c.hands[pid]
	delete(c.hands, pid)
	c.mu.Unlock()
	_ = cmd.Process.Signal(by)
	_ = cmd.Wait()
}

// alive says whether a process is one of the crew.
func (c *crew) alive(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hands[pid] != nil
}

// harass kills and freezes workers that have ranges in hand, again and again
// until the context is cancelled: each step some times, and others by the dice.
func (c *crew) harass(ctx context.Context) error {
	for ctx.Err() == nil {
		worker, pid, step, what, err := c.busy(ctx)
		if err != nil || !c.alive(pid) || c.seen[what] {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		c.seen[what] = true
		c.did[step]++
		full, turn := c.full[what[:strings.LastIndex(what, " ")]], c.dice.IntN(12)
		switch {
		case c.killed[step] < 3 || full && (turn < 4 || c.hurt[step] == 0) || turn == 0:
			c.killed[step]++
			c.dismiss(pid, syscall.SIGKILL)
			if err := c.hire(); err != nil {
				return err
			}
		case c.frozen[step] < 2 || full && turn < 6:
			c.frozen[step]++
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			for n := 1; n > 0 && ctx.Err() == nil; { // until it is taken for dead
				if err := c.h.DB.QueryRow(ctx, `select count(*) from worker where id = $1`, worker).Scan(&n); err != nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			_ = syscall.Kill(pid, syscall.SIGCONT) // a zombie
		default:
			continue
		}
		if full {
			c.hurt[step]++
		}
	}
	return nil
}

// busy finds a worker that has a range in hand, and its process.
func (c *crew) busy(ctx context.Context) (worker int64, pid int, step, what string, err error) {
	var name string
	err = c.h.DB.QueryRow(ctx, `select w.id, w.name, l.step, concat_ws(' ', l.step, l.day, l.from_id, l.fence) from run_lease l join worker w on w.id = l.worker_id where w.runs is null order by random() limit 1`).Scan(&worker, &name, &step, &what)
	if err == nil {
		_, err = fmt.Sscanf(name[strings.LastIndex(name, " ")+1:], "%d", &pid)
	}
	return worker, pid, step, what, err
}

// rangesOf lists the steps of a month of which workers are handed ranges, the
// ranges that came to something, by step, night and first account, and the
// nights on which a step had most of them.
func rangesOf(t *testing.T, h jobs.House) (steps []string, full map[string]bool, busy map[calendar.Date]bool) {
	t.Helper()
	rows, err := h.DB.Query(t.Context(), `select step, day, array_agg(from_id order by from_id) filter (where done > 0) from run_chunk
		where step not in ('withdraw', 'select') group by 1, 2 order by 1, 2`) // these are ordered
	must(t, err)
	full, busy = map[string]bool{}, map[calendar.Date]bool{}
	most, busiest := map[string]int{}, map[string]calendar.Date{}
	var step string
	var day calendar.Date
	var froms []int64
	_, err = pgx.ForEachRow(rows, []any{&step, &day, &froms}, func() error {
		for _, from := range froms {
			full[fmt.Sprintf("%s %s %d", step, day, from)] = true
			if step == "cut" { // what was cut is drawn, and counted once
				full[fmt.Sprintf("draw %s %d", day, from)] = true
			}
		}
		if n := len(froms); busiest[step] == 0 || n > most[step] {
			most[step], busiest[step] = n, day
		}
		return nil
	})
	must(t, err)
	for step, day := range busiest {
		steps, busy[day] = append(steps, step), true
	}
	return steps, full, busy
}

// A month of nights helped by three workers, which on the night on which a step
// has most to do, and on some others, are killed and frozen over and over in the
// middle of what they do, ends in the books of a month without any of that. It
// takes minutes: a part of make torture.
func TestWorkersKilledAndFrozen(t *testing.T) {
	onlyTortured(t)
	demo := tortured
	alone := newHouse(t)
	alone.ChunkAccounts = 5
	want, _ := live(t, demo, alone)
	steps, full, busy := rangesOf(t, alone)

	h := newHouse(t)
	h.ChunkAccounts, h.Workers = 5, 1
	c := newCrew(t, h, 3)
	c.full = full
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		pool := h.DB.(*pgxpool.Pool)
		if day == demo.Start {
			if err := until(ctx, pool, `select count(*) = 3 from worker`); err != nil {
				return err
			}
		}
		if !busy[day] && day%9 > 0 {
			_, err := jobs.Runner{House: h}.Night(ctx, day)
			return err
		}
		// Who runs the night is slow: it leaves to the workers what they take.
		slow, err := lazy(ctx, pool)
		if err != nil {
			return err
		}
		defer slow.Close()
		h.DB = slow
		harassing, over := context.WithCancel(ctx)
		failed := make(chan error, 1)
		go func() { failed <- c.harass(harassing) }()
		_, err = jobs.Runner{House: h}.Night(ctx, day)
		over()
		if hiring := <-failed; err == nil {
			err = hiring
		}
		return err
	}
	got, _ := live(t, demo, h)
	for _, d := range want.differences(got) {
		t.Error(d)
	}
	holds(t, h)
	t.Logf("ranges seen in workers' hands: %s; killed in %s; frozen in %s; with something to do in %s", sortedCounts(c.did), sortedCounts(c.killed), sortedCounts(c.frozen), sortedCounts(c.hurt))
	for _, step := range steps {
		if c.killed[step] == 0 || c.frozen[step] == 0 {
			t.Errorf("%s: killed %d times and frozen %d times only", step, c.killed[step], c.frozen[step])
		}
	}
	if len(steps) < 9 || len(c.hurt) < 5 {
		t.Errorf("hardly anybody was harmed who had something to do: %s", sortedCounts(c.hurt))
	}
}

// Nights whose own program is killed while workers have ranges in hand are run
// again, at once or when the workers are through, and end in the books of a month
// in which nobody was killed.
func TestNightKilledWhileWorkersWork(t *testing.T) {
	demo := rehearsal.Demo{Members: 48, Months: 1, Seed: 11, Start: rehearsal.DemoStart}
	want, _ := live(t, demo, newHouse(t))

	h := newHouse(t)
	h.ChunkAccounts, h.Workers = 4, 1
	c := newCrew(t, h, 2)
	nights := 0
	demo.Night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
		if day == demo.Start {
			if err := until(ctx, h.DB.(*pgxpool.Pool), `select count(*) = 2 from worker`); err != nil {
				return err
			}
		}
		_, _, of := day.Date()
		for again := of == 1 || of%8 == 0 || of == 31; again; {
			var err error
			if again, err = c.killNight(ctx, h, day); err != nil {
				return err
			}
			if again {
				nights++
			}
		}
		_, err := jobs.Runner{House: h}.Night(ctx, day)
		return err
	}
	got, _ := live(t, demo, h)
	for _, d := range want.differences(got) {
		t.Error(d)
	}
	holds(t, h)
	t.Logf("nights killed %d, with workers in %v", nights, c.did)
	if nights < 6 || len(c.did) < 4 {
		t.Errorf("hardly any night was killed: %d, with workers in %v", nights, c.did)
	}
}

// killNight runs a night in a process of its own, and kills it as soon as a
// worker has a range of it in hand that none had before. The worker stands still
// meanwhile, and goes on right after, or when the night is run again. It returns
// false for a night that came through.
func (c *crew) killNight(ctx context.Context, h jobs.House, day calendar.Date) (killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	v := victimOf(h, day, point{})
	v.Lazy = true
	told, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	night := exec.Command(self)
	night.Env, night.Stderr = append(os.Environ(), victimVariable+"="+string(told)), os.Stderr
	if err := night.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- night.Wait() }()
	for {
		select {
		case err := <-ended:
			return false, err
		case <-time.After(time.Millisecond):
		}
		worker, pid, step, what, err := c.busy(ctx)
		if err != nil || !c.alive(pid) || c.seen[step] {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		var still bool
		if err := h.DB.QueryRow(ctx, `select exists (select from run_lease where worker_id = $1 and concat_ws(' ', step, day, from_id, fence) = $2)`, worker, what).Scan(&still); err != nil || !still {
			_ = syscall.Kill(pid, syscall.SIGCONT)
			continue
		}
		c.seen[step] = c.dice.IntN(3) == 0 // so that most steps are met more than once
		c.did[step]++
		_ = night.Process.Kill()
		<-ended
		goOn := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
		if c.dice.IntN(2) == 0 {
			goOn()
		} else { // in the middle of the next, or when it is taken for dead
			time.AfterFunc(time.Duration(c.dice.Int64N(int64(2*time.Second))), goOn)
		}
		return true, nil
	}
}

// until waits for something to be true in the database.
func until(ctx context.Context, db *pgxpool.Pool, sql string) error {
	for {
		var so bool
		if err := db.QueryRow(ctx, sql).Scan(&so); err != nil || so {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// lazy opens a pool whose user takes no range that a worker could have: it
// waits until all that are left are in somebody's hands, or nobody is there.
func lazy(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Pool, error) {
	config := pool.Config()
	config.ConnConfig.Tracer = waiter{pool}
	config.ConnConfig.RuntimeParams["application_name"] = "billcycle night"
	return pgxpool.NewWithConfig(ctx, config)
}

type waiter struct{ pool *pgxpool.Pool }

func (w waiter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(q.SQL, "with free as (\n\t\t\tselect from_id") {
		ctx, over := context.WithTimeout(ctx, 2*time.Second) // one who is killed may have been handed it
		defer over()
		_ = until(ctx, w.pool, `select not exists (select from run_lease where worker_id is null) or not exists (select from worker where runs is null and alive_until > clock_timestamp())`)
	}
	return ctx
}

func (waiter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
