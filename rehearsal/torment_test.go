package rehearsal_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
)

// tormentor disturbs the nights of a world and keeps count.
type tormentor struct {
	*world
	u      undisturbed
	ordeal ordeal
	dice   *rand.Rand
	rest   int // weight of the nights to come, with this one

	did     map[string]int  // by fault, and "killed JOB", "killed ask commit" and the like
	covered map[moment]bool // where it was killed
	tonight []string        // what was done, in words
	inputs  []input         // that have come so far
	foreign []string        // what tells our own changed inputs in the books: parts of keys
}

func (x *tormentor) night(ctx context.Context, day calendar.Date) error {
	if err := x.echo(day, x.share(day, "echo", x.ordeal.others)); err != nil {
		return err
	}
	if x.ordeal.kills >= walkFrom {
		if err := x.walk(ctx, day); err != nil {
			return err
		}
	}
	if err := x.disturb(ctx, day); err != nil {
		return err
	}
	if err := x.byDateOrClock(ctx, day); err != nil {
		return err
	}
	if x.share(day, "clock back", x.ordeal.others) > 0 {
		if err := x.clockBack(ctx, day); err != nil {
			return err
		}
	}
	if err := x.release(ctx, day, func(args ...string) error { return x.killRelease(ctx, day, args) }); err != nil {
		return err
	}
	x.rest -= x.u.weight(day)
	return x.same(ctx, day)
}

// byDateOrClock ends a night: by its date, or by the clock of any hour of it.
func (x *tormentor) byDateOrClock(ctx context.Context, day calendar.Date) error {
	if x.dice.IntN(2) == 0 {
		return x.finish(ctx, "nightly", "--date", day.String())
	}
	x.clock = x.someTime(day)
	defer func() { x.clock = "" }()
	return x.finish(ctx, "nightly")
}

// errDiffers says that money was lost or doubled, or that a file is out that
// nobody has sealed.
var errDiffers = errors.New("it differs from the night undisturbed")

// same compares the books with those of the undisturbed night.
func (x *tormentor) same(ctx context.Context, day calendar.Date) error {
	want, got, err := x.compared(ctx, day)
	if err != nil {
		return err
	}
	if d := want.differences(got); len(d) > 0 {
		return fmt.Errorf("%w:\n%s", errDiffers, strings.Join(d, "\n"))
	}
	return nil
}

// sound compares what stands for good in the books of a night that is not
// through: entries of the journal, what ranges came to, and that there is no
// document that the night undisturbed has not.
func (x *tormentor) sound(ctx context.Context, day calendar.Date) error {
	want, got, err := x.compared(ctx, day)
	if err != nil {
		return err
	}
	should, is := books{}, books{}
	for name, line := range got {
		kind, _, _ := strings.Cut(name, " ")
		as, there := want[name]
		switch kind {
		case "journal", "range":
			there = there && line == as
		case "bill", "item", "receipt", "allocation", "debit", "ach_entry", "card_charge", "message":
		default:
			continue
		}
		if !there {
			is[name] = line
			if as != "" {
				should[name] = as
			}
		}
	}
	if d := should.differences(is); len(d) > 0 {
		return fmt.Errorf("%w, in the middle of it:\n%s", errDiffers, strings.Join(d, "\n"))
	}
	return nil
}

// compared returns the books as they should be after a night, and as they are,
// without what is of our own changed inputs. Nothing may be out that is not
// sealed, at any time.
func (x *tormentor) compared(ctx context.Context, day calendar.Date) (want, got books, err error) {
	if err := x.sealedOnly(ctx); err != nil {
		return nil, nil, err
	}
	if got, err = bookOf(ctx, x.world); err != nil {
		return nil, nil, err
	}
	ours := func(name, _ string) bool {
		return slices.ContainsFunc(x.foreign, func(part string) bool { return strings.Contains(name, part) })
	}
	want = maps.Clone(x.u.books[day])
	maps.DeleteFunc(want, ours)
	maps.DeleteFunc(got, ours)
	return want, got, nil
}

// finish runs a command until it is done. What is out of order about the
// machine may stop it now and then.
func (x *tormentor) finish(ctx context.Context, args ...string) error {
	var p *process
	x.x.set("opening", nil)
	for range 5 {
		var err error
		if p, err = x.run(ctx, args...); err != nil {
			return err
		}
		if p.done() {
			return nil
		}
		if p.killed || p.code != 75 {
			break
		}
	}
	return fmt.Errorf("it does not end well: %v", p)
}

// disturb disturbs a night, in the order of its jobs, until it has had its share.
func (x *tormentor) disturb(ctx context.Context, day calendar.Date) error {
	kills, restarts := x.share(day, "kill", x.ordeal.kills), x.share(day, "restart", x.ordeal.restarts)
	killsFirst := x.dice.IntN(2) == 0 // who survives another fault may do the night to its end
	enough := x.did["kill"] + kills
	list := x.faults(day, "kill", kills, x.kill)
	list = append(list, x.faults(day, "restart", restarts, x.restart)...)
	list = append(list, x.faults(day, "freeze", x.share(day, "freeze", x.ordeal.others), x.freeze)...)
	list = append(list, x.faults(day, "twin", x.share(day, "twin", x.ordeal.others), x.twin)...)
	// Not each full disk is felt, so there are more of them where few were.
	fills := max(x.share(day, "full disk", x.ordeal.fills), x.share(day, "full disk, felt", x.ordeal.fills/3))
	list = append(list, x.faults(day, "full disk", fills, x.fill)...)
	for tries := 0; ; tries++ {
		slices.SortStableFunc(list, func(a, b fault) int {
			order := before("full disk", a, b) // a night that is done needs no room
			if order == 0 && killsFirst {
				order = before("kill", a, b)
			}
			return cmp.Or(order, a.at.first-b.at.first)
		})
		for _, f := range list {
			if err := f.do(ctx, day, f); err != nil {
				return fmt.Errorf("%s at %v, time %d: %w", f.name, f.at.moment, f.nth, err)
			}
			if err := x.sound(ctx, day); err != nil {
				return fmt.Errorf("%s at %v, time %d: %w", f.name, f.at.moment, f.nth, err)
			}
		}
		if x.did["kill"] >= enough || tries == 3 {
			return nil
		}
		// Some were not met, since those before had left less to do.
		list = x.faults(day, "kill", enough-x.did["kill"], x.kill)
	}
}

// before puts the faults of a name before the others.
func before(name string, a, b fault) int {
	switch {
	case a.name == b.name:
		return 0
	case a.name == name:
		return -1
	case b.name == name:
		return 1
	}
	return 0
}

// note counts a fault that has hit.
func (x *tormentor) note(f fault) {
	x.did[f.name]++
	x.tonight = append(x.tonight, fmt.Sprintf("%s at %v, time %d", f.name, f.at.moment, f.nth))
}

// kill kills the night by SIGKILL: at its moment, and one in eight at any time
// from outside.
func (x *tormentor) kill(ctx context.Context, day calendar.Date, f fault) error {
	// One in eight, and more where few of those came while there was something to do.
	if from := x.did["killed from outside"]; x.dice.IntN(8) == 0 || from*16 < x.did["kill"] && x.dice.IntN(3) == 0 {
		return x.killFromOutside(ctx, day)
	}
	return x.killAt(ctx, f, "opening", "nightly", "--date", day.String())
}

func (x *tormentor) killAt(ctx context.Context, f fault, job string, args ...string) error {
	x.x.set(job, &trap{at: f.at.moment, nth: f.nth, past: f.past, still: true, spring: func(l *line) { l.of.kill() }})
	p, err := x.run(ctx, args...)
	if err != nil {
		return err
	}
	if !x.x.sprung() {
		return x.cameThrough(p)
	}
	if !p.killed {
		return fmt.Errorf("it was to be killed, and lives: %v", p)
	}
	x.covered[x.x.at()] = true
	if x.x.at().Job != f.at.Job {
		x.did["killed, too late to count"]++
		return nil
	}
	x.note(f)
	if f.at.Work {
		x.did["killed, "+f.at.Say+" commit of work"]++
	}
	if f.out {
		x.did["killed, file just out"]++
	}
	x.did["killed "+f.at.Job]++
	if f.at.verb() == "commit" {
		x.did["killed, "+f.at.Say+" commit"]++
	}
	return nil
}

// cameThrough sees that a night is well that its fault did not meet.
func (x *tormentor) cameThrough(p *process) error {
	x.did["not met"]++
	return x.well(p, nil)
}

func (x *tormentor) killFromOutside(ctx context.Context, day calendar.Date) error {
	x.x.set("opening", nil)
	p, err := x.start(ctx, "nightly", "--date", day.String())
	if err != nil {
		return err
	}
	after := time.Duration(x.dice.Int64N(int64(x.u.took[day])))
	timer := time.AfterFunc(after, func() { p.cmd.Process.Signal(syscall.SIGKILL) })
	defer timer.Stop()
	if err := p.end(ctx); err != nil {
		return err
	}
	if !p.killed {
		return x.cameThrough(p)
	}
	x.did["kill"]++
	x.did["killed from outside"]++
	x.tonight = append(x.tonight, fmt.Sprintf("killed after %v", after))
	return nil
}

// killRelease kills a release before it is made, now and then.
func (x *tormentor) killRelease(ctx context.Context, day calendar.Date, args []string) error {
	var places []place
	for _, p := range x.u.places(day) {
		if p.Job == "release" {
			places = append(places, p)
		}
	}
	for range 1 + x.ordeal.kills/100 {
		p := places[x.dice.IntN(len(places))]
		f := fault{name: "kill", at: p, nth: 1}
		if err := x.killAt(ctx, f, "release", args...); err != nil {
			return fmt.Errorf("%s at %v: %w", f.name, f.at.moment, err)
		}
		if err := x.sound(ctx, day); err != nil {
			return fmt.Errorf("%s at %v: %w", f.name, f.at.moment, err)
		}
		x.x.set("release", nil)
	}
	return nil
}

// stopped says whether a program that lost its ground ended as it should.
func stopped(p *process) error {
	if p.killed || !p.done() && p.code != 75 {
		return fmt.Errorf("it should have been done or said 75: %v", p)
	}
	return nil
}

// restart stops PostgreSQL at once in the middle of a night and starts it.
func (x *tormentor) restart(ctx context.Context, day calendar.Date, f fault) error {
	var failed error
	x.x.set("opening", &trap{at: f.at.moment, nth: f.nth, past: f.past, still: true, spring: func(*line) { failed = x.server.restart(ctx) }})
	p, err := x.run(ctx, "nightly", "--date", day.String())
	x.scratch.Pool.Reset()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if !x.x.sprung() {
		return x.cameThrough(p)
	}
	f.at.moment = x.x.at()
	x.note(f)
	return stopped(p)
}

// meet runs the night up to a moment and does something there, while the night
// waits. It returns nil for a moment that was not met.
func (x *tormentor) meet(ctx context.Context, day calendar.Date, f fault, meanwhile func(first *process) error) (*process, error) {
	met, goOn := make(chan struct{}), make(chan struct{})
	x.x.set("opening", &trap{at: f.at.moment, nth: f.nth, past: f.past, spring: func(*line) { close(met); <-goOn }})
	p, err := x.start(ctx, "nightly", "--date", day.String())
	if err != nil {
		return nil, err
	}
	select {
	case <-p.dead:
		if err := p.end(ctx); err != nil {
			return nil, err
		}
		return nil, x.cameThrough(p)
	case <-met:
	}
	f.at.moment = x.x.at()
	err = meanwhile(p)
	close(goOn)
	if err != nil {
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.kill()
		return p, errors.Join(err, p.end(ctx))
	}
	x.note(f)
	return p, p.end(ctx)
}

// twin starts the night a second time while the first is in the middle of it, as
// another machine would.
func (x *tormentor) twin(ctx context.Context, day calendar.Date, f fault) error {
	p, err := x.meet(ctx, day, f, func(*process) error {
		// Once the first has let go of the date, the second may have it: the first
		// does go on where what waits is not its main business.
		second, err := x.run(ctx, "nightly", "--date", day.String())
		if err != nil {
			return err
		}
		if second.line.contested && second.code != 75 {
			return fmt.Errorf("the second should have said 75: %v", second)
		}
		return stopped(second)
	})
	if p == nil || err != nil {
		return err
	}
	return stopped(p)
}

// freeze stops a night as a machine that swaps or a paused virtual one would.
// Its server takes it for dead, another does the night, and in the middle of
// that the frozen one wakes up.
func (x *tormentor) freeze(ctx context.Context, day calendar.Date, f fault) error {
	others := x.faults(day, "thaw", 1, nil)
	p, err := x.meet(ctx, day, f, func(frozen *process) (err error) {
		defer func() {
			if err != nil {
				err = fmt.Errorf("%w\nthe frozen one: %v", err, frozen)
			}
		}()
		if err := frozen.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if err := frozen.line.drop(ctx); err != nil {
			return err
		}
		wake := func(*line) { frozen.cmd.Process.Signal(syscall.SIGCONT) }
		x.x.set("opening", &trap{at: others[0].at.moment, nth: others[0].nth, spring: wake})
		second, err := x.run(ctx, "nightly", "--date", day.String())
		if err != nil {
			return err
		}
		if !x.x.sprung() {
			wake(nil)
			if !second.done() {
				return fmt.Errorf("the other should have done it: %v", second)
			}
		}
		return stopped(second)
	})
	if p == nil || err != nil {
		return err
	}
	return stopped(p)
}

// clockBack runs the night with the clock set back by a day: no harm may come of it.
func (x *tormentor) clockBack(ctx context.Context, day calendar.Date) error {
	if day == tortured.Start {
		return nil // there is no day before
	}
	x.clock = x.someTime(day - 1)
	defer func() { x.clock = "" }()
	x.did["clock back"]++
	x.tonight = append(x.tonight, "clock set back to "+x.clock)
	return x.finish(ctx, "nightly")
}

// someTime is a time of a day in the biller's time zone, maybe one that the
// change to daylight saving time skips or doubles.
func (x *tormentor) someTime(day calendar.Date) string {
	year, month, of := day.Date()
	return time.Date(year, month, of, x.dice.IntN(24), 30, 0, 0, x.house.Policy.Location()).Format(time.RFC3339)
}

// report says what was done.
func (x *tormentor) report() string {
	all := x.u.all()
	covered := 0
	for m := range x.covered {
		if all[m] {
			covered++
		}
	}
	return fmt.Sprintf("%d kills, %d server restarts; killed at %d of the %d moments of the month (before and after each statement of each job); %s",
		x.did["kill"], x.did["restart"], covered, len(all), sortedCounts(x.did))
}

// checkHits fails a torture that has hit too little.
func (x *tormentor) checkHits(t *testing.T) {
	o := x.ordeal
	for _, want := range []struct {
		what string
		n    int
	}{{"kill", o.kills}, {"restart", o.restarts * 9 / 10}, {"freeze", o.others / 2}, {"twin", o.others / 2}, {"echo", o.others / 2}, {"clock back", o.others / 2}, {"full disk", o.fills}, {"full disk, felt", o.fills / 3},
		{"killed, ask commit", o.kills / 20}, {"killed, told commit", o.kills / 20}, {"killed, ask commit of work", o.kills / 20}, {"killed, told commit of work", o.kills / 20},
		{"killed, file just out", o.kills / 30}, {"killed from outside", o.kills / 30}} {
		if x.did[want.what] < want.n {
			t.Errorf("%s: %d times only, want %d", want.what, x.did[want.what], want.n)
		}
	}
	for _, j := range jobs.Jobs() {
		if x.did["killed "+j.Name] < o.kills/60 {
			t.Errorf("%s was killed %d times only", j.Name, x.did["killed "+j.Name])
		}
	}
}

// tortureChamber starts a server to be stopped at once, and gives out directories
// for houses, in memory where there is any: a SIGKILL leaves the system's cache
// as it is, so a disk would only make it slower.
// If disks are to be filled, each directory is a small one.
func tortureChamber(t *testing.T) (*ourServer, func() string) {
	t.Helper()
	base := ""
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	room := func() string {
		dir, err := os.MkdirTemp(base, "billcycle-torture")
		must(t, err)
		must(t, os.Chmod(dir, 0o711))
		t.Cleanup(func() { os.RemoveAll(dir) })
		if *tortureFills > 0 {
			if said, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=400m,mode=711", "billcycle-torture", dir).CombinedOutput(); err != nil {
				t.Fatalf("a small disk to be filled can't be mounted (%v: %s): be root, or fill none (-torture.fills 0)", err, said)
			}
			t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
		}
		return dir
	}
	dir := room()
	server, err := openServer(context.Background(), dir)
	must(t, err)
	t.Cleanup(func() {
		if err := server.close(); err != nil {
			t.Error(err)
		}
	})
	return server, room
}
