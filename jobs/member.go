package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
)

// Programs that work on runs have a row in worker, and say every few seconds
// that they are alive. One that has been silent for longer than it said is taken
// for dead: its connections are ended, and what it had in hand goes to others.
// A frozen one that wakes up finds its connections gone and its ranges fenced.

// ErrLost says that this program was taken for dead by another.
var ErrLost = errors.New("this program was silent for so long that another took it for dead and took its work over: run it again")

// member is this program among those that work on runs.
type member struct{ id int64 }

// number is the member's number, 0 for a program that works unseen by others.
func (m *member) number() int64 {
	if m == nil {
		return 0
	}
	return m.id
}

// leavesNoTrace says whether what is done will be undone: it must do nothing to
// others.
func (h House) leavesNoTrace() bool {
	_, pool := h.DB.(*pgxpool.Pool)
	return !pool
}

func (h House) lease() time.Duration {
	if h.Lease == 0 {
		return 30 * time.Second
	}
	return h.Lease
}

// asWorker does something as one of the programs that work on runs: as the one
// that works on a business date, or, without a date, as one that helps others.
// If the program is taken for dead meanwhile, what it does is cancelled. Work
// that shall leave no trace is done without.
func (h House) asWorker(ctx context.Context, runs calendar.Date, do func(ctx context.Context, me *member) error) error {
	pool, ok := h.DB.(*pgxpool.Pool)
	if !ok {
		return do(ctx, nil)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	// Who worked on the date before can't be alive, since we hold its lock.
	if err := h.bury(ctx, runs); err != nil {
		return err
	}
	me := new(member)
	if err := pool.QueryRow(ctx, `insert into worker (name, session, program, policy, runs, alive_until)
		values ($1, current_setting('application_name'), $2, $3, $4, clock_timestamp() + $5 * interval '1 millisecond') returning id`,
		fmt.Sprintf("%s, process %d", host, os.Getpid()), h.Program, h.Policy.Fingerprint(), runs, h.lease().Milliseconds()).Scan(&me.id); err != nil {
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.beat(beating, pool, me, cancel)
	}()
	err = do(working, me)
	if lost := context.Cause(working); errors.Is(lost, ErrLost) {
		err = lost
	}
	stop()
	<-stopped
	cancel(nil)
	if _, left := pool.Exec(context.WithoutCancel(ctx), `delete from worker where id = $1`, me.id); left != nil && err == nil {
		err = left
	}
	return err
}

// beat says that the program is alive, on a connection of its own, so that a
// busy pool does not keep it silent.
func (h House) beat(ctx context.Context, pool *pgxpool.Pool, me *member, lost context.CancelCauseFunc) {
	tick := time.NewTicker(h.lease() / 4)
	defer tick.Stop()
	soon := time.NewTicker(h.lease() / 100) // when a beat has failed: the program may have been frozen, and be taken for dead
	defer soon.Stop()
	next := tick.C
	var conn *pgxpool.Conn
	release := func() {
		if conn != nil {
			conn.Release()
			conn = nil
		}
	}
	defer release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		next = soon.C
		if conn == nil {
			var err error
			if conn, err = pool.Acquire(ctx); err != nil {
				conn = nil
				continue // the database is away: so is all other work
			}
		}
		done, err := conn.Exec(ctx, `update worker set alive_until = clock_timestamp() + $2 * interval '1 millisecond' where id = $1`, me.id, h.lease().Milliseconds())
		switch {
		case err != nil:
			release()
		case done.RowsAffected() == 0:
			lost(ErrLost)
			return
		default:
			next = tick.C
		}
	}
}

// bury takes what programs had in hand that are dead or seem to be: that have no
// connection left, have been silent for too long, or have worked on the given
// business date. First it ends their connections, and with them the locks of
// what they had begun.
func (h House) bury(ctx context.Context, runs calendar.Date) error {
	rows, err := h.DB.Query(ctx, `select id, name, session from worker w where alive_until < clock_timestamp() or runs = $1
		or not exists (select from pg_stat_activity a where a.application_name = w.session and a.datname = current_database())`, runs)
	if err != nil {
		return err
	}
	var id int64
	var name, session string
	var ids []int64
	var sessions []string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name, &session}, func() error {
		ids, sessions = append(ids, id), append(sessions, session)
		h.tell("%s is gone: what it had in hand goes to others", name)
		return nil
	}); err != nil {
		return err
	}
	if len(ids) > 0 {
		if _, err := h.DB.Exec(ctx, `select pg_terminate_backend(pid, 5000) from pg_stat_activity
			where application_name = any($1) and application_name <> current_setting('application_name') and datname = current_database() and usename = current_user`, sessions); err != nil {
			return err
		}
		if _, err := h.DB.Exec(ctx, `delete from worker where id = any($1)`, ids); err != nil {
			return err
		}
		// They may have been handed more than they had taken.
		if _, err := h.DB.Exec(ctx, `update run_lease set announced = false where worker_id is null and announced`); err != nil {
			return err
		}
	}
	_, err = h.DB.Exec(ctx, `update run_lease l set worker_id = null, fence = fence + 1, announced = false where worker_id is not null and not exists (select from worker w where w.id = l.worker_id)`)
	return err
}

// holder says who works on a business date, and whether it is still heard of.
func (h House) holder(ctx context.Context, day calendar.Date) (name string, silent bool, err error) {
	err = h.DB.QueryRow(ctx, `select name, alive_until < clock_timestamp() from worker where runs = $1 order by id desc limit 1`, day).Scan(&name, &silent)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	return name, silent, err
}

func (h House) tell(format string, args ...any) {
	if h.Log != nil {
		fmt.Fprintf(h.Log, format+"\n", args...)
	}
}
