package rehearsal

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/fixtures"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
)

// DemoStart is the first night of a demo that names none: fixed, so that the
// same seed always gives the same books.
var DemoStart = calendar.MustParse("2026-01-01")

// Demo is a synthetic biller lived through night by night.
type Demo struct {
	Members int
	Months  int
	Seed    uint64
	Start   calendar.Date
	Log     io.Writer // a line a month; nil for silence

	// Night, if set, replaces the running of a night: the tests kill it.
	Night func(ctx context.Context, h jobs.House, day calendar.Date) error
}

// Lived is what a demo came to.
type Lived struct {
	Members          int          `json:"members"`
	Nights           int          `json:"nights"`
	Statements       int          `json:"statements"`
	StatementCents   ledger.Cents `json:"statement_cents"`
	ACHFiles         int          `json:"ach_files"`
	ACHDebits        int          `json:"ach_debits"`
	ACHDebitCents    ledger.Cents `json:"ach_debit_cents"`
	ACHReturns       int          `json:"ach_returns"`
	LockboxFiles     int          `json:"lockbox_files"`
	LockboxItems     int          `json:"lockbox_items"`
	LockboxCents     ledger.Cents `json:"lockbox_cents"`
	Held             int          `json:"held"`
	LateFees         int          `json:"late_fees"`
	LateFeesReversed int          `json:"late_fees_reversed"`
	JournalEntries   int          `json:"journal_entries"`
	JournalFiles     int          `json:"journal_files"`
	InvariantsBroken int          `json:"invariants_broken"`
	Seconds          float64      `json:"seconds"` // filled in by who has a clock

	Broken []jobs.Proof    `json:"broken,omitempty"`
	Kinds  []fixtures.Kind `json:"kinds,omitempty"`
}

// second is who releases the demo's ACH files.
const second = "second person"

// Live lives the biller in a house with an empty database. What comes from
// outside is written into the house's inbox, what leaves is in its outbox.
func (d Demo) Live(ctx context.Context, h jobs.House) (Lived, error) {
	plan := fixtures.New(d.Seed, d.Members, d.Start, *h.Policy)
	h.Release = second
	if len(h.Policy.Lockboxes) == 0 {
		policy := *h.Policy
		policy.Lockboxes = plan.Lockboxes()
		h.Policy = &policy
	}
	night := d.Night
	if night == nil {
		night = func(ctx context.Context, h jobs.House, day calendar.Date) error {
			_, err := jobs.Runner{House: h}.Night(ctx, day)
			return err
		}
	}
	end := (calendar.CycleOf(d.Start) + calendar.Cycle(d.Months)).First() + d.Start - calendar.CycleOf(d.Start).First()
	handed := map[string]bool{}
	for day := d.Start; day < end; day++ {
		if _, err := plan.Morning(day, filepath.Join(h.Dir, "inbox")); err != nil {
			return Lived{}, err
		}
		if err := night(ctx, h, day); err != nil {
			return Lived{}, err
		}
		mail, err := mailed(ctx, h, day)
		if err != nil {
			return Lived{}, err
		}
		plan.Deliver(day, mail)
		for folder, to := range map[string]func(calendar.Date, io.Reader) error{"ach": plan.Bank, "notices": plan.Carrier} {
			if err := handOver(filepath.Join(h.Dir, "outbox", folder), day, handed, to); err != nil {
				return Lived{}, err
			}
		}
		if d.Log != nil && (day+1 == end || calendar.CycleOf(day+1) != calendar.CycleOf(day)) {
			fmt.Fprintf(d.Log, "%s is lived through\n", day.Format("January 2006"))
		}
	}
	lived, err := d.sumUp(ctx, h)
	lived.Nights, lived.Kinds = int(end-d.Start), plan.Kinds()
	return lived, err
}

// mailed returns the statements that were made on a day.
func mailed(ctx context.Context, h jobs.House, day calendar.Date) ([]fixtures.Mail, error) {
	rows, err := h.DB.Query(ctx, `select a.id, a.mrn, b.cycle, b.amount_due, b.due_on, a.autopay = 'on' from bill b join account a on a.id = b.account_id where b.made_on = $1 order by a.id, b.cycle`, day)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m fixtures.Mail, err error) {
		var id int64
		var cycle calendar.Cycle
		err = row.Scan(&id, &m.MRN, &cycle, &m.AmountDue, &m.DueOn, &m.Autopay)
		m.Scanline = billing.Scanline{MRN: m.MRN, Statement: billing.StatementNumber(id, cycle), Due: m.AmountDue}.String()
		return m, err
	})
}

// handOver hands each file of a folder of the outbox to whom it is for, once.
func handOver(outbox string, day calendar.Date, handed map[string]bool, to func(calendar.Date, io.Reader) error) error {
	entries, err := os.ReadDir(outbox)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if handed[e.Name()] || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		handed[e.Name()] = true
		f, err := os.Open(filepath.Join(outbox, e.Name()))
		if err != nil {
			return err
		}
		err = to(day, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return nil
}

func (d Demo) sumUp(ctx context.Context, h jobs.House) (l Lived, err error) {
	err = h.DB.QueryRow(ctx, `select
		(select count(*) from member),
		(select count(*) from bill), (select coalesce(sum(amount_due), 0)::bigint from bill),
		(select count(*) from ach_file where state = 'released' and kind = 'debits'),
		(select count(*) from debit d join ach_file f on f.id = d.file_id where f.state = 'released'), (select coalesce(sum(d.cents), 0)::bigint from debit d join ach_file f on f.id = d.file_id where f.state = 'released'),
		(select count(*) from debit where state = 'returned'),
		(select count(*) from lockbox_file where state = 'accepted'), (select count(*) from lockbox_item), (select coalesce(sum(cents), 0)::bigint from lockbox_item),
		(select count(*) from lockbox_item where state in ('suspense', 'held')),
		(select count(*) from item where origin = 'late_fee'), (select count(*) from item where origin = 'late_fee' and ended = 'reversed'),
		(select count(*) from journal), (select count(*) from journal_file)`).
		Scan(&l.Members, &l.Statements, &l.StatementCents, &l.ACHFiles, &l.ACHDebits, &l.ACHDebitCents, &l.ACHReturns,
			&l.LockboxFiles, &l.LockboxItems, &l.LockboxCents, &l.Held, &l.LateFees, &l.LateFeesReversed, &l.JournalEntries, &l.JournalFiles)
	if err != nil {
		return l, err
	}
	proofs, broken, err := h.Verify(ctx)
	l.InvariantsBroken = broken
	l.Broken = slices.DeleteFunc(proofs, func(p jobs.Proof) bool { return p.Holds })
	return l, err
}
