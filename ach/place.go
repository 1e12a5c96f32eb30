package ach

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// slot is an entry's place: its trace number, and the file that it goes into.
type slot struct {
	account   int64
	sec       string
	retry     bool
	effective calendar.Date
	cents     ledger.Cents // 0 for a prenote
	trace     Trace
	file      int64

	debit *billing.Debit // that it is the place of
}

// maxCentsOf is the most that one debit may be: the policy's limit of an entry
// or of a file, or what a field holds.
func maxCentsOf(p *billing.Policy) ledger.Cents {
	return min(limit(p.ACH.MaxCentsPerEntry, maxEntryCents), limit(p.ACH.MaxCentsPerFile, maxTotalCents))
}

// limit is a policy's limit within what the format holds; 0 is none.
func limit[N ~int64 | ~int](policy int64, most N) N {
	if policy > 0 && policy < int64(most) {
		return N(policy)
	}
	return most
}

// filling is a file that is being filled.
type filling struct {
	id          int64
	effective   calendar.Date
	entries     int
	cents       ledger.Cents
	first, last Trace // 0 for none yet
	low, high   int64 // accounts, 0 for none yet
	batches     []string
}

// place gives every slot a trace number, ascending, and a place in the open
// file of its effective date, in the order of the slots; where the limits of a file are reached, another
// is opened. The caller has locked the files.
func place(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, slots []slot) error {
	if len(slots) == 0 {
		return nil
	}
	traces, err := takeTraces(ctx, tx, p.Company.ODFI, day, len(slots))
	if err != nil {
		return err
	}
	open, err := openFiles(ctx, tx)
	if err != nil {
		return err
	}
	mostEntries, mostCents := fileLimits(p)
	touched := map[*filling]bool{}
	for i := range slots {
		s := &slots[i]
		f := open[s.effective]
		if f == nil || f.entries >= mostEntries || f.cents+s.cents > mostCents {
			if f, err = openFile(ctx, tx, day, s.effective); err != nil {
				return err
			}
			open[s.effective] = f
		}
		s.trace, s.file = traces[i], f.id
		f.add(s)
		touched[f] = true
	}
	for f := range touched {
		if err := f.save(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// fileLimits are the most entries and cents that a file may have.
func fileLimits(p *billing.Policy) (entries int, cents ledger.Cents) {
	return limit(int64(p.ACH.MaxEntriesPerFile), maxBatchEntries), limit(p.ACH.MaxCentsPerFile, maxTotalCents)
}

func (f *filling) save(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `update ach_file set entries = $2, cents = $3, first_trace = $4, last_trace = $5, first_account = $6, last_account = $7, batches = $8 where id = $1`,
		f.id, f.entries, int64(f.cents), int64(f.first), int64(f.last), f.low, f.high, f.batches)
	return err
}

func (f *filling) add(s *slot) {
	f.entries++
	f.cents += s.cents
	f.batch(s.sec, s.retry)
	f.spans(s.account, s.trace)
}

// batch notes that an entry of a batch is in the file.
func (f *filling) batch(sec string, retry bool) {
	if in := batchName(sec, retry); !slices.Contains(f.batches, in) {
		f.batches = append(f.batches, in)
		slices.Sort(f.batches)
	}
}

// spans notes that an account and a trace are in the file.
func (f *filling) spans(account int64, trace Trace) {
	if f.low == 0 || account < f.low {
		f.low = account
	}
	f.high = max(f.high, account)
	if f.first == 0 || trace < f.first {
		f.first = trace
	}
	f.last = max(f.last, trace)
}

// openFiles reads the newest open file of each effective date.
func openFiles(ctx context.Context, tx pgx.Tx) (map[calendar.Date]*filling, error) {
	rows, err := tx.Query(ctx, `select id, effective_on, entries, cents, first_trace, last_trace, first_account, last_account, batches from ach_file where state = 'open' and kind = 'debits' order by id`)
	if err != nil {
		return nil, err
	}
	open := map[calendar.Date]*filling{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var f filling
		var first, last int64
		err := row.Scan(&f.id, &f.effective, &f.entries, &f.cents, &first, &last, &f.low, &f.high, &f.batches)
		f.first, f.last = Trace(first), Trace(last)
		open[f.effective] = &f
		return struct{}{}, err
	})
	return open, err
}

func openFile(ctx context.Context, tx pgx.Tx, day, effective calendar.Date) (*filling, error) {
	f := &filling{effective: effective}
	err := tx.QueryRow(ctx, `insert into ach_file (built_on, effective_on, maker) values ($1, $2, $3) returning id`, day, effective, system).Scan(&f.id)
	return f, err
}

// batchName names a batch of a file. The names sort as the batches do.
func batchName(sec string, retry bool) string {
	if retry {
		return sec + " retry"
	}
	return sec
}

// batchOf is batchName read back.
func batchOf(name string) (sec string, retry bool) {
	sec, _, retry = strings.Cut(name, " ")
	return sec, retry
}
