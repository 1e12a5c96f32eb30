package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// River hands ranges out to the workers of other programs. What it carries is
// only the name of a range: whether there is still something to do, and whose it
// is, stands in run_lease. So a job of River's that is lost is no loss, since
// the program that runs the night takes what nobody has in hand, and one that
// runs twice finds its range taken.

// handedOut is a range as River carries it.
type handedOut struct {
	RunJob string        `json:"job"`
	Day    calendar.Date `json:"day"`
	Pass   int           `json:"pass"`
	Step   string        `json:"step"`
	From   int64         `json:"from"`
}

// Kind implements river.JobArgs.
func (handedOut) Kind() string { return "range" }

// anywhere is the queue of ranges that any worker may have. What is drawn into
// a directory has a queue of that directory's.
const anywhere = "anywhere"

func queueOf(place string) string {
	if place == "" {
		return anywhere
	}
	return "directory_" + place
}

// drawsAt names the directory that statements are drawn into, as all who share
// it do; "" is a bucket, which all share.
func (h House) drawsAt() (string, error) {
	if _, local := h.localStore(); !local {
		return "", nil
	}
	path := filepath.Join(h.Dir, ".directory")
	for {
		name, err := os.ReadFile(path)
		if err == nil {
			return strings.TrimSpace(string(name)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := os.MkdirAll(h.Dir, 0o700); err != nil {
			return "", err
		}
		// It appears whole, and only once.
		f, err := os.CreateTemp(h.Dir, ".directory-*")
		if err != nil {
			return "", err
		}
		_, err = fmt.Fprintln(f, strings.ToLower(rand.Text()))
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Link(f.Name(), path)
		}
		os.Remove(f.Name())
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// watch looks after the workers of other programs while a step runs: it hands
// ranges out to those that are there, and takes back what the dead had.
func (r *Run) watch(ctx context.Context, name string, failed context.CancelCauseFunc) {
	for ctx.Err() == nil {
		err := r.bury(ctx, 0)
		if err == nil {
			err = r.announce(ctx, name)
		}
		if err != nil && ctx.Err() == nil {
			failed(err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// announce hands the ranges that are in nobody's hands out through River, if
// any worker of the same rules has joined. The last ones come first, as this
// program itself begins with the first.
func (r *Run) announce(ctx context.Context, name string) error {
	var joined bool
	if err := r.DB.QueryRow(ctx, `select exists (select from worker where runs is null and program = $1 and policy = $2 and alive_until > clock_timestamp())`,
		r.Program, r.Policy.Fingerprint()).Scan(&joined); err != nil || !joined {
		return err
	}
	client, err := river.NewClient(riverpgxv5.New(r.DB.(*pgxpool.Pool)), &river.Config{Schema: postgres.RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `with free as (
				update run_lease set announced = true where job = $1 and day = $2 and pass = $3 and step = $4 and worker_id is null and not announced returning from_id, place)
			select from_id, place from free order by from_id desc`, r.Job, r.Day, r.pass, name)
		if err != nil {
			return err
		}
		var out []river.InsertManyParams
		var place string
		args := handedOut{RunJob: r.Job, Day: r.Day, Pass: r.pass, Step: name}
		if _, err := pgx.ForEachRow(rows, []any{&args.From, &place}, func() error {
			out = append(out, river.InsertManyParams{Args: args, InsertOpts: &river.InsertOpts{Queue: queueOf(place), MaxAttempts: 1}})
			return nil
		}); err != nil || len(out) == 0 {
			return err
		}
		_, err = client.InsertManyFastTx(ctx, tx, out)
		return err
	})
}

// ErrRules says that a worker would not decide as the program that runs the
// night: it has another policy or is another version.
var ErrRules = errors.New("this worker goes by other rules than who runs the night")

// Worker joins the runs that other programs carry out, on this machine or
// another.
type Worker struct{ House }

// Run works on what is handed out until the context is cancelled, which is no
// error: what was not finished by then is rolled back and left for others. When
// the database is away, it waits for it. It returns how many ranges it has
// worked on. Its errors: ErrRules, and what keeps it from working at all.
func (w Worker) Run(ctx context.Context) (ranges int64, err error) {
	var done atomic.Int64
	for {
		err := w.asWorker(ctx, 0, func(ctx context.Context, me *member) error { return w.work(ctx, me, &done) })
		switch {
		case ctx.Err() != nil:
			return done.Load(), nil
		case errors.Is(err, ErrLost):
			w.tell("%v", err)
		case err != nil && postgres.IsUnavailable(err):
			w.tell("the database is away: %v", err)
		default:
			return done.Load(), err
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// work lets River call takers until the context is cancelled or one of them
// can't go on.
func (w Worker) work(ctx context.Context, me *member, done *atomic.Int64) error {
	place, err := w.drawsAt()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	atOnce := w.Workers
	if atOnce == 0 {
		atOnce = 2
	}
	takers := river.NewWorkers()
	river.AddWorker(takers, &taker{House: w.House, me: me, failed: cancel, done: done})
	queues := map[string]river.QueueConfig{anywhere: {MaxWorkers: atOnce}}
	if place != "" {
		queues[queueOf(place)] = river.QueueConfig{MaxWorkers: atOnce}
	}
	client, err := river.NewClient(riverpgxv5.New(w.DB.(*pgxpool.Pool)), &river.Config{Schema: postgres.RiverSchema, Queues: queues, Workers: takers,
		JobTimeout: -1, MaxAttempts: 1, FetchCooldown: 20 * time.Millisecond, CompletedJobRetentionPeriod: time.Hour, ReindexerIndexNames: []string{},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	if err := w.sameRules(ctx); err != nil {
		cancel(err)
	}
	<-ctx.Done()
	<-client.Stopped()
	return context.Cause(ctx)
}

// taker takes ranges that River hands out.
type taker struct {
	river.WorkerDefaults[handedOut]
	House
	me     *member
	failed context.CancelCauseFunc
	done   *atomic.Int64
}

// Work implements river.Worker. It tells River of no error: River would only
// keep it.
func (t *taker) Work(ctx context.Context, job *river.Job[handedOut]) error {
	err := t.take(ctx, job.Args)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, errFenced):
		t.tell("%s of %s, %s, from account %d: %v", job.Args.RunJob, job.Args.Day, job.Args.Step, job.Args.From, err)
	default:
		t.failed(err)
	}
	return nil
}

func (t *taker) take(ctx context.Context, a handedOut) error {
	r := &Run{House: t.House, Job: a.RunJob, Day: a.Day, pass: a.Pass, me: t.me}
	l := lease{}
	l.From = a.From
	err := r.DB.QueryRow(ctx, `update run_lease l set worker_id = $6, fence = fence + 1 from run
		where l.job = $1 and l.day = $2 and l.pass = $3 and l.step = $4 and l.from_id = $5 and l.worker_id is null
		and run.job = l.job and run.day = l.day and run.state = 'running' and run.program = $7 and run.policy = $8
		and exists (select from worker w where w.id = $6)
		returning l.to_id, l.fence, l.since, l.file_id`, a.RunJob, a.Day, a.Pass, a.Step, a.From, t.me.number(), t.Program, t.Policy.Fingerprint()).Scan(&l.To, &l.fence, &r.since, &r.fills)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it is done, or another's, or goes by other rules
	}
	if err != nil {
		return err
	}
	if steps[a.Step].draws {
		if r.keep, err = r.Store(); err != nil {
			return err
		}
	}
	t.tell("%s of %s, %s: accounts %d to %d", a.RunJob, a.Day, a.Step, l.From, l.To-1)
	if err = r.rangeOrHalves(ctx, a.Step, l, l.Range); err == nil {
		t.done.Add(1)
	} else { // what is left of the range is in nobody's hands again
		_, _ = r.DB.Exec(context.WithoutCancel(ctx), `update run_lease set worker_id = null, fence = fence + 1, announced = false
			where job = $1 and day = $2 and pass = $3 and step = $4 and to_id = $5 and worker_id = $6 and fence = $7`, a.RunJob, a.Day, a.Pass, a.Step, l.To, t.me.number(), l.fence)
	}
	return err
}

// sameRules looks again and again whether those who run nights go by the same
// rules as this worker, and says with ErrRules if not.
func (w Worker) sameRules(ctx context.Context) error {
	for {
		var name, program, policy string
		err := w.DB.QueryRow(ctx, `select name, program, policy from worker where runs is not null and alive_until > clock_timestamp() and (program <> $1 or policy <> $2) limit 1`,
			w.Program, w.Policy.Fingerprint()).Scan(&name, &program, &policy)
		switch own := w.Policy.Fingerprint(); {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return err
		case policy != own:
			return fmt.Errorf("%w: the policy of %s is %s, this one's is %s; give it the same policy file and start it again", ErrRules, name, policy, own)
		default:
			return fmt.Errorf("%w: %s is billcycle %s, this is %s; give it the same program and start it again", ErrRules, name, program, w.Program)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}
