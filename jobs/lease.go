package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/postgres"
)

// A step's ranges lie in run_lease until they are done. Whoever works on one
// has it in hand: this program, which runs the night, or one that has joined
// (worker.go). A range is marked as done in the transaction of its work, and
// only by who still has it in hand: one that was given to another, because its
// worker seemed dead, is done once.

// lease is a range in this program's hands.
type lease struct {
	billing.Range
	fence int32
}

// errFenced says that a range was given to another meanwhile.
var errFenced = errors.New("the range was given to another worker, since this one was silent for too long")

// lookEvery is how often the program that runs a step looks after the workers
// of others.
const lookEvery = time.Second

// ranges carries out a step of the job over all accounts, range by range, as
// many at once as there are workers. What a killed run has finished is not
// done again.
func (r *Run) ranges(ctx context.Context, name string) (err error) {
	for again := true; again && err == nil; {
		again, err = r.rangesLeft(ctx, name)
	}
	return errors.Join(err, r.addUp(context.WithoutCancel(ctx), name))
}

// rangesLeft does what is left of a step. If another program still had ranges
// of a run before in hand, there may be more to do: look again.
func (r *Run) rangesLeft(ctx context.Context, name string) (again bool, err error) {
	todo, err := r.left(ctx, name)
	if err != nil || len(todo) == 0 {
		return false, err
	}
	own, entered, err := r.enter(ctx, name, todo)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	shared := len(own) < len(todo)
	if shared {
		var watch sync.WaitGroup
		watching, over := context.WithCancel(ctx)
		watch.Go(func() { r.watch(watching, name, cancel) })
		defer watch.Wait()
		defer over()
	}
	next := make(chan lease, len(own))
	for _, l := range own {
		next <- l
	}
	close(next)
	var wg sync.WaitGroup
	for range steps[name].atOnce(r.Workers) {
		wg.Go(func() {
			err := r.takeAll(ctx, name, next, shared)
			if err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return entered < len(todo), context.Cause(ctx)
}

// takeAll works on the ranges that this program has in hand, then on those that
// nobody has, until none is left undone.
func (r *Run) takeAll(ctx context.Context, name string, own <-chan lease, shared bool) error {
	for l := range own {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.rangeOrHalves(ctx, name, l, l.Range); err != nil {
			return err
		}
	}
	for shared && ctx.Err() == nil {
		l, left, err := r.takeNext(ctx, name)
		switch {
		case err != nil:
			return err
		case l != nil:
			if err := r.rangeOrHalves(ctx, name, *l, l.Range); err != nil {
				return err
			}
		case left == 0:
			return nil
		default: // others are at it
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery / 10):
			}
		}
	}
	return ctx.Err()
}

// left lists the ranges that are not done, and forgets who had them in hand and
// is no more.
func (r *Run) left(ctx context.Context, name string) (todo []billing.Range, err error) {
	var b pgx.Batch
	b.Queue(`delete from run_lease l where job = $1 and day = $2 and step = $4 and (pass <> $3 or not exists (select from worker w where w.id = l.worker_id))`, r.Job, r.Day, r.pass, name)
	b.Queue(`select coalesce(max(id), 0) from account`)
	b.Queue(`select from_id, to_id from run_chunk where job = $1 and day = $2 and pass = $3 and step = $4 order by from_id`, r.Job, r.Day, r.pass, name)
	got := r.DB.SendBatch(ctx, &b)
	defer func() { err = errors.Join(err, got.Close()) }()
	if _, err := got.Exec(); err != nil {
		return nil, err
	}
	var top int64
	if err := got.QueryRow().Scan(&top); err != nil {
		return nil, err
	}
	rows, err := got.Query()
	if err != nil {
		return nil, err
	}
	at := int64(1)
	var in billing.Range
	if _, err := pgx.ForEachRow(rows, []any{&in.From, &in.To}, func() error {
		todo = append(todo, r.cut(name, at, in.From)...)
		at = max(at, in.To)
		return nil
	}); err != nil {
		return nil, err
	}
	if todo = append(todo, r.cut(name, at, top+1)...); r.only != nil {
		todo = within(todo, r.only)
	}
	return todo, nil
}

// within returns the parts of ranges that are among those asked for.
func within(ranges, only []billing.Range) (out []billing.Range) {
	for _, in := range ranges {
		for _, one := range only {
			if in.From <= one.From && one.To <= in.To {
				out = append(out, one)
			}
		}
	}
	return out
}

// cut cuts a gap into ranges that begin at multiples of the step's range, so
// that a resumed run has the same ones.
func (r *Run) cut(name string, from, to int64) (out []billing.Range) {
	size := r.ChunkAccounts
	if steps[name].wide {
		size *= 5
	}
	for from < to {
		end := min(to, (from/size+1)*size)
		out = append(out, billing.Range{From: from, To: end})
		from = end
	}
	return out
}

// enter enters ranges as to be done. As many as there are workers, and all of
// an ordered step, are in this program's hands at once: a small run is never
// offered to others.
func (r *Run) enter(ctx context.Context, name string, todo []billing.Range) (own []lease, entered int, err error) {
	place := ""
	if steps[name].draws {
		if place, err = r.drawsAt(); err != nil {
			return nil, 0, err
		}
	}
	take := r.Workers
	if r.me == nil || steps[name].ordered {
		take = len(todo)
	}
	froms, tos := make([]int64, len(todo)), make([]int64, len(todo))
	for i, in := range todo {
		froms[i], tos[i] = in.From, in.To
	}
	err = pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		in, err := tx.Exec(ctx, `insert into run_lease (job, day, pass, step, from_id, to_id, since, file_id, place, worker_id)
			select $1, $2, $3, $4, from_id, to_id, $7, $8, $9, case when n <= $10 then $11::bigint end from unnest($5::bigint[], $6::bigint[]) with ordinality u(from_id, to_id, n)
			on conflict do nothing`,
			r.Job, r.Day, r.pass, name, froms, tos, r.since, r.fills, place, take, r.me.number())
		if err != nil {
			return err
		}
		// A worker of the program before may have marked its range, or a part of it, as
		// done since we looked.
		out, err := tx.Exec(ctx, `delete from run_lease l using run_chunk c where l.job = $1 and l.day = $2 and l.pass = $3 and l.step = $4 and l.from_id = any($5) and (l.worker_id is null or l.worker_id = $6)
			and (c.job, c.day, c.pass, c.step) = (l.job, l.day, l.pass, l.step) and c.from_id >= l.from_id and c.from_id < l.to_id`, r.Job, r.Day, r.pass, name, froms, r.me.number())
		if err != nil {
			return err
		}
		entered = int(in.RowsAffected() - out.RowsAffected())
		rows, err := tx.Query(ctx, `select from_id, to_id, fence from run_lease where job = $1 and day = $2 and pass = $3 and step = $4 and worker_id = $5 order by from_id`, r.Job, r.Day, r.pass, name, r.me.number())
		if err != nil {
			return err
		}
		own, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lease, err error) {
			return l, row.Scan(&l.From, &l.To, &l.fence)
		})
		return err
	})
	return own, entered, err
}

// takeNext takes the first range of a step that is in nobody's hands, if there
// is one, and says how many are not done.
func (r *Run) takeNext(ctx context.Context, name string) (*lease, int, error) {
	var from, to *int64
	var fence *int32
	var left int
	err := r.DB.QueryRow(ctx, `with free as (
			select from_id from run_lease where job = $1 and day = $2 and pass = $3 and step = $4 and worker_id is null order by from_id limit 1 for update skip locked
		), taken as (
			update run_lease l set worker_id = $5, fence = fence + 1 from free where job = $1 and day = $2 and pass = $3 and step = $4 and l.from_id = free.from_id returning l.from_id, to_id, fence
		)
		select from_id, to_id, fence, (select count(*) from run_lease where job = $1 and day = $2 and pass = $3 and step = $4) from (values (1)) one left join taken on true`,
		r.Job, r.Day, r.pass, name, r.me.number()).Scan(&from, &to, &fence, &left)
	if err != nil || from == nil {
		return nil, left, err
	}
	return &lease{billing.Range{From: *from, To: *to}, *fence}, left, nil
}

// addUp counts what all workers have done of a step.
func (r *Run) addUp(ctx context.Context, name string) error {
	rows, err := r.DB.Query(ctx, `select selected, done, skipped, parked, cents from run_chunk where job = $1 and day = $2 and pass = $3 and step = $4`, r.Job, r.Day, r.pass, name)
	if err != nil {
		return err
	}
	for rows.Next() {
		var t billing.Tally
		if err := rows.Scan(&t.Selected, &t.Done, &t.Skipped, &t.Parked, &t.Cents); err != nil {
			rows.Close()
			return err
		}
		r.tally.Add(t)
		r.ranged.Add(t)
	}
	return rows.Err()
}

// rangeOrHalves works on a range; if it fails, on its halves, down to the one
// account that can't be worked on. That one is parked with its error, and the
// run goes on.
func (r *Run) rangeOrHalves(ctx context.Context, name string, l lease, in billing.Range) error {
	err := r.inTx(ctx, name, l, in, func(tx pgx.Tx) (billing.Tally, error) {
		t, err := steps[name].do(ctx, tx, r, in)
		if err != nil {
			return t, err
		}
		if err := r.unpark(ctx, tx, name, in); err != nil {
			return t, err
		}
		return t, r.keepReasons(ctx, tx, t.Passed)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil || noAccounts(err):
		return err
	case in.To-in.From == 1:
		return r.inTx(ctx, name, l, in, func(tx pgx.Tx) (billing.Tally, error) {
			r.say("account %d is parked: %v", in.From, err)
			return billing.Tally{Selected: 1, Parked: 1}, r.park(ctx, tx, name, in.From, err)
		})
	}
	middle := in.From + (in.To-in.From)/2
	if err := r.rangeOrHalves(ctx, name, l, billing.Range{From: in.From, To: middle}); err != nil {
		return err
	}
	return r.rangeOrHalves(ctx, name, l, billing.Range{From: middle, To: in.To})
}

// noAccounts says that an error is of no account's making, and would be there
// for all: the range is another's now, or the database is away, or the disk, or the bucket.
func noAccounts(err error) bool {
	var file *fs.PathError
	var rename *os.LinkError
	var store *delivery.StoreError
	return errors.As(err, &store) || errors.Is(err, errFenced) || errors.Is(err, errSealed) || postgres.IsUnavailable(err) || errors.As(err, &file) || errors.As(err, &rename)
}

// inTx does the work on a range, or on the first part of what is left of it, and
// writes its done-mark in one transaction. It fails with errFenced if the range is in
// another's hands by then. The lease goes on with what is left, and is over with the
// last part.
func (r *Run) inTx(ctx context.Context, name string, l lease, in billing.Range, do func(tx pgx.Tx) (billing.Tally, error)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		t, err := do(tx)
		if err != nil {
			return err
		}
		skipped := t.Skipped
		if skipped == nil {
			skipped = map[string]int64{}
		}
		done, err := tx.Exec(ctx, `with mine as (
				select to_id from run_lease where job = $1 and day = $2 and pass = $3 and step = $4 and from_id = $5 and worker_id = $12 and fence = $13 for update
			), over as (
				delete from run_lease using mine where job = $1 and day = $2 and pass = $3 and step = $4 and from_id = $5 and mine.to_id = $6
			), part as (
				update run_lease set from_id = $6 from mine where job = $1 and day = $2 and pass = $3 and step = $4 and from_id = $5 and mine.to_id > $6
			)
			insert into run_chunk (job, day, pass, step, from_id, to_id, selected, done, skipped, parked, cents)
			select $1::text, $2::date, $3::integer, $4::text, $5::bigint, $6::bigint, $7, $8, $9, $10, $11 from mine`,
			r.Job, r.Day, r.pass, name, in.From, in.To, t.Selected, t.Done, skipped, t.Parked, int64(t.Cents), r.me.number(), l.fence)
		if err == nil && done.RowsAffected() == 0 {
			err = errFenced
		}
		return err
	})
}
