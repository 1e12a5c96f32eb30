package watch

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/lockbox"
)

// freshSeconds is how old an answer to Prometheus may be: whoever asks oftener
// does not make the database count oftener.
const freshSeconds = 15

// figures answers Prometheus from the database.
type figures struct {
	runner jobs.Runner
	now    func() time.Time

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

// Describe describes nothing: what there is depends on the books.
func (f *figures) Describe(chan<- *prometheus.Desc) {}

// Collect tells all figures as they are now.
func (f *figures) Collect(to chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); f.last == nil || now.Sub(f.at) >= freshSeconds*time.Second || now.Before(f.at) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		f.at, f.last = now, f.count(ctx, now)
	}
	for _, m := range f.last {
		to <- m
	}
}

func gauge(name, help string, value float64, labels ...string) prometheus.Metric {
	var names, values []string
	for n := 0; n+1 < len(labels); n += 2 {
		names, values = append(names, labels[n]), append(values, labels[n+1])
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc("billcycle_"+name, help, names, nil), prometheus.GaugeValue, value, values...)
}

// count reads all figures. What can't be read is left out, and billcycle_up says
// that something could not.
func (f *figures) count(ctx context.Context, now time.Time) (all []prometheus.Metric) {
	up := 1.0
	for _, part := range []func(context.Context, time.Time) ([]prometheus.Metric, error){f.nights, f.runs, f.waiting} {
		metrics, err := part(ctx, now)
		if err != nil {
			up = 0
		}
		all = append(all, metrics...)
	}
	return append(all, gauge("up", "1 if all figures could be read from the database.", up))
}

func (f *figures) nights(ctx context.Context, now time.Time) (all []prometheus.Metric, err error) {
	missing, oldest, err := f.runner.Behind(ctx, now)
	if err != nil {
		return nil, err
	}
	late := 0.0
	if missing > 0 {
		late = now.Sub(f.runner.Policy.Begins(oldest)).Seconds()
	}
	next, _ := jobs.NextNight(f.runner.Policy, now)
	return []prometheus.Metric{
		gauge("nights_missing", "Business dates whose night has begun and is not finished.", float64(missing)),
		gauge("night_late_seconds", "Time since the oldest of them should have begun, 0 if there is none.", late),
		gauge("next_night_timestamp_seconds", "When the next night begins.", float64(next.Unix())),
	}, nil
}

func (f *figures) runs(ctx context.Context, now time.Time) (all []prometheus.Metric, err error) {
	rows, err := f.runner.DB.Query(ctx, `select job, state, count(*)::float8 from run group by 1, 2`)
	if err != nil {
		return nil, err
	}
	var job, state string
	var n float64
	if _, err := pgx.ForEachRow(rows, []any{&job, &state, &n}, func() error {
		all = append(all, gauge("runs", "Runs by job and state.", n, "job", job, "state", state))
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = f.runner.DB.Query(ctx, `select distinct on (job) job, coalesce(extract(epoch from ended_at - began_at), 0)::float8, coalesce(extract(epoch from ended_at), 0)::float8,
		selected::float8, done::float8, parked::float8, (select coalesce(sum(value::bigint), 0) from jsonb_each_text(skipped))::float8, cents::float8
		from run where state = 'done' order by job, day desc`)
	if err != nil {
		return nil, err
	}
	var seconds, ended, selected, done, parked, skipped, amount float64
	_, err = pgx.ForEachRow(rows, []any{&job, &seconds, &ended, &selected, &done, &parked, &skipped, &amount}, func() error {
		all = append(all, gauge("run_duration_seconds", "How long the newest finished run of a job took.", seconds, "job", job),
			gauge("run_ended_timestamp_seconds", "When it ended.", ended, "job", job),
			gauge("run_cents", "Its amount, in cents.", amount, "job", job))
		for what, n := range map[string]float64{"selected": selected, "done": done, "parked": parked, "skipped": skipped} {
			all = append(all, gauge("run_items", "What it selected, and what became of that.", n, "job", job, "state", what))
		}
		return nil
	})
	return all, err
}

// waits counts what waits, by kind: for a person, for its day, for a carrier. What is
// pending is a balance: the lines of the general ledger's files and what none has taken
// are few, whatever the years.
const waits = `select 'check_' || state, count(*)::float8, sum(cents)::float8 from ` + lockbox.Waiting + ` w group by 1
	union all select 'check_pending', coalesce(sum(sign * entries), 0)::float8, coalesce(sum(sign * cents), 0)::float8 from (
			select case side when 'debit' then -1 else 1 end as sign, entries, cents from journal_line where ledger_account = 'lockbox_pending'
			union all select case debit when 'lockbox_pending' then -1 else 1 end, entries, cents from journal_total where file is null and 'lockbox_pending' in (debit, credit)) b
	union all select 'ach_file_' || state, count(*), coalesce(sum(cents + credit_cents), 0) from ach_file where state in ('open', 'sealed') or state = 'released' and written_on is null and missed_on is null group by 1
	union all select 'delivery_' || state, count(*), 0 from parcel where state not in ('delivered', 'cancelled') group by 1
	union all select 'account_parked', count(*), 0 from parked where cleared_on is null
	union all select 'exception', count(*), 0 from exception where cleared_on is null`

func (f *figures) waiting(ctx context.Context, now time.Time) (all []prometheus.Metric, err error) {
	rows, err := f.runner.DB.Query(ctx, waits)
	if err != nil {
		return nil, err
	}
	var kind string
	var n, amount float64
	if _, err := pgx.ForEachRow(rows, []any{&kind, &n, &amount}, func() error {
		all = append(all, gauge("waiting_items", "What waits, by kind.", n, "kind", kind), gauge("waiting_cents", "Its amount, in cents.", amount, "kind", kind))
		return nil
	}); err != nil {
		return nil, err
	}
	rows, err = f.runner.DB.Query(ctx, `select company, kind, case entries when 0 then 0 else returns::float8 / entries end, most::float8 / 10000 from ach_rate`)
	if err != nil {
		return nil, err
	}
	var company string
	var rate, most float64
	if _, err := pgx.ForEachRow(rows, []any{&company, &kind, &rate, &most}, func() error {
		all = append(all, gauge("ach_return_rate", "The share of debits that came back in the 60 days up to the last night.", rate, "company", company, "kind", kind),
			gauge("ach_return_rate_limit", "Nacha's limit of it.", most, "company", company, "kind", kind))
		return nil
	}); err != nil {
		return nil, err
	}
	var oldest float64
	if err := f.runner.DB.QueryRow(ctx, `select coalesce($1::date - min(f.ingested_on), 0)::float8 from `+lockbox.Waiting+` w join lockbox_file f on f.id = w.file_id where w.state = 'suspense'`,
		f.runner.Policy.Newest(now)).Scan(&oldest); err != nil {
		return nil, err
	}
	var depth float64
	if err := f.runner.DB.QueryRow(ctx, `select count(*)::float8 from run_lease`).Scan(&depth); err != nil {
		return nil, err
	}
	return append(all, gauge("suspense_oldest_days", "Age of the oldest check in suspense.", oldest),
		gauge("queue_depth", "Ranges of accounts that the steps under way have not done yet.", depth)), nil
}
