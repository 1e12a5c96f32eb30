// Package jobs runs the night: a table of jobs in the order of one night, and
// a Runner that carries out any of them for a business date.
//
// A run is (job, business date). Its work is cut into key ranges of accounts;
// each range is one transaction that commits its own done-mark, so a run that
// was killed goes on where it stopped. A run that is finished may be run again:
// it looks again and does only what has arrived since. The command line, the
// clock and the console all call Runner.Run.
package jobs

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// House is what every job works with.
type House struct {
	DB       postgres.DB
	Policy   *billing.Policy
	Keys     *secret.Keys
	Layouts  []lockbox.Profile       // of lockbox files, the biller's own first; nil for the built-in ones
	Returned []lockbox.ReturnsLayout // of files of returned checks, the biller's own first; nil for the plain one
	Dir      string                  // the biller's directory: inbox, outbox, archive, refused, statements
	Operator string                  // who runs it; "system" is the clock
	Log      io.Writer               // the story of the run, one line each; nil for silence

	Program       string        // its version: programs that differ don't work on one run
	Workers       int           // ranges that this program works on at once; 0 = 2
	Lease         time.Duration // for how long a program may be silent before its ranges are given to others; 0 = 30 s
	ChunkAccounts int64         // accounts in a range, but for wide steps; 0 = 10,000

	// Release, if set, releases the ACH files that a run has built, in the same
	// run, as this second person. Only the demo and the rehearsal set it.
	Release string

	dry    bool                                 // nothing may leave the house: see Runner.Dry
	before time.Time                            // files that came to the inbox later are another night's; zero takes all
	today  calendar.Date                        // of the world outside, when a missed date is caught up; else 0
	still  func(context.Context) ([]Job, error) // asked under the date's lock for the jobs to run, in place of those named; nil to run them
}

// Newest returns the date that the books have come to: the newest business date
// of a run, a feed or the last act of a person, or today if there is none yet.
func (h House) Newest(ctx context.Context, today calendar.Date) (day calendar.Date, err error) {
	if err = h.DB.QueryRow(ctx, `select greatest((select max(day) from run), (select max(taken_on) from feed_file), (select on_date from act order by id desc limit 1))`).Scan(&day); day.IsZero() {
		day = today
	}
	return day, err
}

// Job is one of the jobs of a night.
type Job struct {
	Name     string
	Doc      string
	Schedule string // when in the month, in words
	Run      func(ctx context.Context, r *Run) error
}

// Jobs returns the table of jobs, in the order of one night (POLICY section 1).
func Jobs() []Job {
	return []Job{
		{"feeds", "takes members, coverage, charges, payments and enrolments from the inbox", "each day", runFeeds},
		{"lockbox", "takes the bank's lockbox files from the inbox", "each day", runLockbox},
		{"post", "posts checks and debits whose posting date has come", "each day", runPost},
		{"returns", "takes from the inbox the bank's ACH returns and corrections, its returned checks, the answers of the card gateway and the print vendor, and what is said of messages", "each day", runReturns},
		{"late-fees", "assesses late fees by received date, and undoes those that a payment received in time has undone", "each day", runLateFees},
		{"plans", "breaks payment plans of which too many installments were missed, and closes those that are paid", "each day", runPlans},
		{"grace", "ends coverage whose premium grace has gone by unpaid", "each day", runGrace},
		{"statements", "closes billing cycles, makes their statements, and sends paperless members word", "each day; cuts on the cut day", runStatements},
		{"autopay", "builds the debits of the next banking day and seals their ACH file; asks cards for what is due today", "each day", runAutopay},
		{"reminders", "reminds members of what is due, by text and e-mail", "each day; 10 to 7 days before the due date", runReminders},
		{"dormant", "flags credit that has lain unused for years, and queues a letter about it", "each day", runDormant},
		{"journal", "seals what the journal has gained, as a file for the general ledger", "each day", runJournal},
		{"deliver", "carries what waits in the outbox to the bank and the vendors, if the policy says where to", "each day", runDeliver},
	}
}

// When says in words on which business dates the policy lets the job run.
func (j Job) When(p *billing.Policy) string {
	switch s := p.Schedule.Jobs[j.Name]; s.On {
	case billing.OnBankingDays:
		return "banking days"
	case billing.OnCutDay:
		return "the cut day"
	case billing.OnBeforeDue:
		return fmt.Sprintf("%d days before the due date", s.DaysBefore)
	}
	return j.Schedule
}

// Next returns the first business date of the job's from a day on.
func (j Job) Next(p *billing.Policy, from calendar.Date) calendar.Date {
	for day := from; day < from+366; day++ {
		if p.RunsOn(j.Name, day) {
			return day
		}
	}
	return from
}

// Report is how a run came out.
type Report struct {
	Job      string           `json:"job"`
	State    string           `json:"state"` // done, failed
	Selected int64            `json:"selected"`
	Done     int64            `json:"done"`
	Skipped  map[string]int64 `json:"skipped"`
	Parked   int64            `json:"parked"`
	Cents    ledger.Cents     `json:"cents"`
	Again    bool             `json:"again"`   // the date had been finished before
	Waiting  int64            `json:"waiting"` // left for a person by this run
	Notes    []string         `json:"notes,omitempty"`
}

// Run is one run under way.
type Run struct {
	House
	Job    string
	Day    calendar.Date
	pass   int
	tally  billing.Tally
	ranged billing.Tally // what of it was done by ranges
	again  bool
	notes  []string
	waits  int64
	only   []billing.Range // the accounts to work on, nil for all

	me    *member        // this program among those that work on runs; nil where no other can see the work
	since calendar.Date  // what some steps go by: see lastFinished
	fills int64          // the outbox file that a step adds to
	keep  delivery.Store // where statements are drawn into
}
