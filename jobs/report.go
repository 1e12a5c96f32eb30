package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// NightReport tells a night by its control totals, as the database has them: what
// came in, what each job made of it, what went out, and whether that adds up.
type NightReport struct {
	Date     calendar.Date `json:"date"`
	Complete bool          `json:"complete"` // every job of the date is done, or skipped by the policy
	Runs     []RunLine     `json:"runs"`
	In       []Total       `json:"in"`     // files of the bank; what the feeds held is told by their run
	Booked   []Total       `json:"booked"` // what its files for the general ledger hold, by kind of entry
	Out      []Total       `json:"out"`
	Proofs   []Proof       `json:"proofs"`
	Broken   int           `json:"broken"`
}

// RunLine is a run as it stands: what all of its passes did.
type RunLine struct {
	Job      string           `json:"job"`
	State    string           `json:"state"` // running, done, failed, skipped; "" if there is none
	Passes   int              `json:"passes"`
	Selected int64            `json:"selected"`
	Done     int64            `json:"done"`
	Skipped  map[string]int64 `json:"skipped"`
	Parked   int64            `json:"parked"`
	Cents    ledger.Cents     `json:"cents"`
	Began    *time.Time       `json:"began"` // its last pass
	Ended    *time.Time       `json:"ended"`
	Error    string           `json:"error"`
}

// Total is a control total of what came in or went out.
type Total struct {
	What  string       `json:"what"`
	Files int64        `json:"files"`
	Items int64        `json:"items"`
	Cents ledger.Cents `json:"cents"`
}

// What came in on a business date, and what went out.
const (
	totalsIn = `select feed, count(*), sum(rows)::bigint, sum(cents)::bigint from feed_file where taken_on = $1 group by feed
		union all select 'lockbox ' || state, count(*), sum(items), sum(cents)::bigint from lockbox_file where ingested_on = $1 group by state
		union all select 'bank''s ' || kind || 's', count(distinct sha256), count(*), sum(cents)::bigint from ach_answer where on_date = $1 group by kind order by 1`
	totalsBooked = `select what, count(distinct file), sum(entries)::bigint, sum(cents)::bigint from journal_line where side = 'debit' and file in (select no from journal_file where day = $1) group by what order by 1`
	totalsOut    = `select kind || ', file ' || state, count(*), sum(entries + prenotes + reversals)::bigint, sum(cents + credit_cents)::bigint from ach_file where built_on = $1 and state <> 'open' group by kind, state
		union all select 'mail ' || state, count(*), sum(pieces)::bigint, 0 from print_bundle where made_on = $1 group by state
		union all select folder, count(*), sum(rows)::bigint, 0 from outbox_file where made_on = $1 and folder <> 'journal' group by folder
		union all select 'journal', count(*), sum(entries)::bigint, sum(cents)::bigint from journal_file where day = $1 having count(*) > 0 order by 1`
)

// proofsOfNight are the invariants of one business date, cheap at any number of
// accounts. Verify proves all of the books.
var proofsOfNight = []ledger.Invariant{
	{Name: "night_adds_up", Says: "of what a job has selected, each is done, skipped for a reason, or parked",
		SQL: `select job, pass, step, from_id, selected from run_chunk c where day = $1
			and selected <> done + parked + (select coalesce(sum(value::bigint), 0) from jsonb_each_text(c.skipped))`},
	{Name: "night_finished", Says: "no job has failed or was left half done",
		SQL: `select job, state, error from run where day = $1 and state in ('failed', 'running')`},
	{Name: "night_journal_balances", Says: "the general ledger's files balance, and hold what they say",
		SQL: `select f.no, f.cents, sum(l.cents) filter (where side = 'debit') as debits, sum(l.cents) filter (where side = 'credit') as credits
			from journal_file f left join journal_line l on l.file = f.no where f.day = $1 group by f.no
			having (f.cents, f.cents, f.lines) <> (coalesce(sum(l.cents) filter (where side = 'debit'), 0), coalesce(sum(l.cents) filter (where side = 'credit'), 0), count(l.no))`},
}

// Report tells the night of a business date as it stands now.
func (r Runner) Report(ctx context.Context, day calendar.Date) (NightReport, error) {
	n := NightReport{Date: day, Complete: true, Runs: []RunLine{}, Proofs: []Proof{}}
	rows, err := r.DB.Query(ctx, `select job, state, pass, selected, done, skipped, parked, cents, began_at, ended_at, error from run where day = $1`, day)
	if err != nil {
		return n, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[RunLine])
	if err != nil {
		return n, err
	}
	for _, j := range Jobs() {
		line := RunLine{Job: j.Name, Skipped: map[string]int64{}}
		for _, f := range found {
			if f.Job == j.Name {
				line = f
			}
		}
		if line.State != "" || r.Policy.RunsOn(j.Name, day) {
			n.Runs = append(n.Runs, line)
			n.Complete = n.Complete && (line.State == "done" || line.State == "skipped")
		}
	}
	for _, t := range []struct {
		sql string
		to  *[]Total
	}{{totalsIn, &n.In}, {totalsBooked, &n.Booked}, {totalsOut, &n.Out}} {
		rows, err := r.DB.Query(ctx, t.sql, day)
		if err != nil {
			return n, err
		}
		if *t.to, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Total]); err != nil {
			return n, err
		}
		if *t.to == nil {
			*t.to = []Total{}
		}
	}
	for _, inv := range proofsOfNight {
		p, err := prove(ctx, r.DB, inv, day)
		if err != nil {
			return n, fmt.Errorf("invariant %s: %w", inv.Name, err)
		}
		n.add(p)
	}
	return n, nil
}

func (n *NightReport) add(p Proof) {
	if n.Proofs = append(n.Proofs, p); !p.Holds {
		n.Broken++
	}
}

// Keep puts the report of a night into the biller's directory, for people and
// for programs; words are the report as people read it.
func (h House) Keep(n NightReport, words string) error {
	dir := filepath.Join(h.Dir, "reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	for suffix, content := range map[string][]byte{".json": append(text, '\n'), ".txt": []byte(words)} {
		path := filepath.Join(dir, n.Date.String()+suffix)
		if err := os.WriteFile(path+".part", content, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".part", path); err != nil {
			return err
		}
	}
	return nil
}

// After looks at a night that was run: its report, and if the policy asks for
// it, the proof of all the books.
func (r Runner) After(ctx context.Context, day calendar.Date) (NightReport, error) {
	n, err := r.Report(ctx, day)
	if err != nil || !r.Policy.Watch.ProveBooks {
		return n, err
	}
	proofs, _, err := r.Verify(ctx)
	for _, p := range proofs {
		n.add(p)
	}
	return n, err
}

// Behind returns how many nights that have begun by a moment are not finished,
// and the oldest of them.
func (r Runner) Behind(ctx context.Context, now time.Time) (nights int, oldest calendar.Date, err error) {
	due, _, err := r.missing(ctx, r.Policy.Newest(now))
	if len(due) > 0 {
		oldest = due[0].day
	}
	return len(due), oldest, err
}
