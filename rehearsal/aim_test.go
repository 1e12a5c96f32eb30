package rehearsal_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/billcycle/billcycle/calendar"
)

// A crash costs money in few moments: between what is done and the word that it
// is done. Most nights have little to do and most ranges of accounts nothing at
// all, so who strikes at random strikes where nothing can be lost. A quarter of
// the faults lie around commits that change something, some where a file is put
// out, and the nights that have more to do than others get more of them.
// What the torture knows of that it has seen on the undisturbed month's lines
// and in its outbox.

// place is a moment of a night as it should be: when it comes first, how often.
type place struct {
	moment
	first, times int
}

// places lists the different moments of a night, in the order in which they come.
func (u undisturbed) places(day calendar.Date) []place {
	at := map[moment]int{}
	var list []place
	for n, m := range u.said[day] {
		if i, seen := at[m]; seen {
			list[i].times++
			continue
		}
		at[m] = len(list)
		list = append(list, place{m, n, 1})
	}
	return list
}

// all counts the different moments of the month.
func (u undisturbed) all() map[moment]bool {
	all := map[moment]bool{}
	for _, said := range u.said {
		for _, m := range said {
			all[m] = true
		}
	}
	return all
}

// busiest is the night on which a job commits most work, or says most.
func (u undisturbed) busiest(job string) (busiest calendar.Date) {
	most := -1
	for _, day := range slices.Sorted(maps.Keys(u.said)) {
		if n := 1000*u.work(day, job) + u.saidBy(day, job); n > most {
			busiest, most = day, n
		}
	}
	return busiest
}

func (u undisturbed) saidBy(day calendar.Date, job string) (n int) {
	for _, m := range u.said[day] {
		if m.Job == job {
			n++
		}
	}
	return n
}

// work counts the commits by which a job changes something on a night.
func (u undisturbed) work(day calendar.Date, job string) (n int) {
	for _, m := range u.said[day] {
		if m.Job == job && m.Work && m.Say == "ask" {
			n++
		}
	}
	return n
}

// extra counts those that the job does not have on every night.
func (u undisturbed) extra(day calendar.Date, job string) int {
	least := u.work(day, job)
	for any := range u.said {
		least = min(least, u.work(any, job))
	}
	return u.work(day, job) - least
}

// weight is a night's share of the faults.
func (u undisturbed) weight(day calendar.Date) int {
	weight := 4 + len(u.out[day])
	for _, job := range u.jobs(day) {
		weight += u.extra(day, job)
	}
	return weight
}

func (u undisturbed) weights() (all int) {
	for day := range u.said {
		all += u.weight(day)
	}
	return all
}

// jobs lists who speaks on a night, in the order in which they do.
func (u undisturbed) jobs(day calendar.Date) (jobs []string) {
	for _, m := range u.said[day] {
		if !slices.Contains(jobs, m.Job) {
			jobs = append(jobs, m.Job)
		}
	}
	return jobs
}

// share is how much of what is left to do falls to this night.
func (x *tormentor) share(day calendar.Date, of string, total int) int {
	todo := max(total-x.did[of], 0) * x.u.weight(day)
	n := todo / x.rest
	if x.dice.IntN(x.rest) < todo%x.rest {
		n++
	}
	return n
}

// fault is one way to disturb a night at a moment.
type fault struct {
	name string
	at   place
	nth  int
	past string // the job after its own: there it strikes at the latest, so that the night does not run through
	out  bool   // where a file is put out
	do   func(ctx context.Context, day calendar.Date, f fault) error
}

// faults chooses moments of a night for a fault: around commits of work, where
// something is put out, in the job that was killed least, and others. Kills take
// those first where nobody was killed yet.
func (x *tormentor) faults(day calendar.Date, name string, n int, do func(context.Context, calendar.Date, fault) error) (list []fault) {
	places := slices.DeleteFunc(x.u.places(day), func(p place) bool {
		return p.Job == "release" || name == "twin" && p.Job == "opening" // where programs wait for each other
	})
	commits := x.commits(day, places)
	var fresh []place
	for _, p := range places {
		if name == "kill" && !x.covered[p.moment] {
			p.times = 1
			fresh = append(fresh, p)
		}
	}
	x.dice.Shuffle(len(fresh), func(a, b int) { fresh[a], fresh[b] = fresh[b], fresh[a] })
	for range n {
		turn := x.dice.IntN(12)
		if name == "full disk" {
			turn = x.dice.IntN(6)
		}
		from := places
		switch {
		case turn < 3 && len(commits) > 0:
			from = commits[x.dice.IntN(len(commits))]
		case (turn < 4 || name == "kill" && turn < 9 && x.did["killed, file just out"]*20 < x.did["kill"]) && len(x.u.out[day]) > 0:
			list = append(list, x.aroundOut(day, name, do))
			continue
		case name == "kill" && turn < 6:
			job := x.leastKilled(day)
			if i := slices.IndexFunc(fresh, func(p place) bool { return p.Job == job }); i >= 0 {
				from, fresh = fresh[i:i+1:i+1], slices.Delete(slices.Clone(fresh), i, i+1)
			} else {
				from = slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.Job != job })
			}
		case len(fresh) > 0:
			from, fresh = fresh[:1:1], fresh[1:]
		}
		p := from[x.dice.IntN(len(from))]
		list = append(list, fault{name: name, at: p, nth: 1 + x.dice.IntN(p.times), past: x.u.after(day, p.Job), do: do})
	}
	return list
}

// after names the job after another on a night, "" for none.
func (u undisturbed) after(day calendar.Date, job string) string {
	all := append(u.jobs(day), "")
	return all[slices.Index(all, job)+1]
}

// aroundOut lies right after a file was put out, and a disk is full shortly
// before.
func (x *tormentor) aroundOut(day calendar.Date, name string, do func(context.Context, calendar.Date, fault) error) fault {
	said := x.u.said[day]
	at := x.u.out[day][x.dice.IntN(len(x.u.out[day]))]
	if name == "full disk" {
		at = max(0, at-1-x.dice.IntN(8))
	}
	nth := 0
	for _, m := range said[:at+1] {
		if m == said[at] {
			nth++
		}
	}
	return fault{name: name, at: place{moment: said[at], first: at}, nth: nth, past: x.u.after(day, said[at].Job), out: true, do: do}
}

// leastKilled is the job of a night that has been killed least so far.
func (x *tormentor) leastKilled(day calendar.Date) (least string) {
	for _, job := range x.u.jobs(day) {
		if job != "release" && (least == "" || x.did["killed "+job] < x.did["killed "+least]) {
			least = job
		}
	}
	return least
}

// commits lists the places around commits of work by their jobs, those several
// times that have more of it than on other nights.
func (x *tormentor) commits(day calendar.Date, places []place) (of [][]place) {
	for _, job := range x.u.jobs(day) {
		around := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.Job != job || !p.Work })
		if len(around) == 0 {
			continue
		}
		of = append(of, around)
		if x.u.extra(day, job) > 0 {
			of = append(of, around, around, around)
		}
	}
	return of
}

// walkFrom is how many kills make a month in which the busiest night of every
// job is walked through.
const walkFrom = 150

// walk walks through the jobs that have their busiest night, in their order.
func (x *tormentor) walk(ctx context.Context, day calendar.Date) error {
	for _, job := range x.u.jobs(day) {
		if x.u.busiest(job) != day || x.u.work(day, job) == 0 || job == "release" {
			continue
		}
		if err := x.walkThrough(ctx, day, job, x.u.after(day, job)); err != nil {
			return err
		}
	}
	return nil
}

// walkThrough kills a job right before and right after its first commit of
// work, again and again until the job after it begins. Where a commit changes
// nothing in the end, such as that of a file in which there is nothing, the next
// one is taken.
func (x *tormentor) walkThrough(ctx context.Context, day calendar.Date, job, past string) error {
	var was books
	for n, turns := 1, 0; turns < 30; turns++ {
		for _, say := range []string{"ask", "told"} {
			f := fault{name: "kill", at: place{moment: moment{Job: job, Say: say, SQL: "commit", Work: true}}, nth: n, past: past}
			if err := x.killAt(ctx, f, "opening", "nightly", "--date", day.String()); err != nil {
				return fmt.Errorf("killed at %v, time %d: %w", f.at.moment, n, err)
			}
			if err := x.sound(ctx, day); err != nil {
				return fmt.Errorf("killed at %v, time %d: %w", f.at.moment, n, err)
			}
			if !x.x.sprung() || x.x.at().Job != job {
				return nil
			}
		}
		is, err := bookOf(ctx, x.world)
		if err != nil {
			return err
		}
		if maps.Equal(is, was) {
			n++
		}
		was = is
	}
	return nil
}
