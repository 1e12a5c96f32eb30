package ach

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// A reversal gives back what was debited in error, whole, under the description
// REVERSAL and a trace of its own (Operating Rules 2.9). It reaches the member's
// bank within five banking days of the debit's settlement, or not at all.

// reversalDays is how many banking days after a debit's effective date its
// reversal may take effect.
const reversalDays = 5

// Fault is what was wrong with a debit that is reversed. Nacha allows no other
// reasons; that the biller wants money back or a member changed their mind is
// none.
type Fault string

// The faults.
const (
	Duplicate     Fault = "duplicate" // it was sent twice
	WrongAmount   Fault = "amount"
	WrongDate     Fault = "date"     // sooner than the member had authorized
	WrongReceiver Fault = "receiver" // another's bank account
)

// Faults are all faults.
var Faults = []Fault{Duplicate, WrongAmount, WrongDate, WrongReceiver}

// The codes of reversals that need a person.
const (
	returnedAndReversed = "returned_and_reversed" // the member got the money twice
	reversalReturned    = "reversal_returned"     // the member's bank did not take it
	reversalNotSent     = "reversal_not_sent"
)

// ErrReverse says why a debit cannot be reversed; nothing has changed.
var ErrReverse = errors.New("nothing was reversed")

// toReverse is a debit that is to be reversed.
type toReverse struct {
	account   int64
	receipt   int32
	methodID  int64
	cents     ledger.Cents
	sec       string
	effective calendar.Date
	state     string // of the debit
	fileState string
	file      int64
	company   string
	again     bool // it has a reversal
}

// Reverse makes a file of reversals of debits that went out in error, by their
// traces, for the next banking day. Like any file it is released by another
// person; when it settles, the payments are taken back, without any fee, and
// autopay does not collect them again. All are reversed, or none (ErrReverse).
func (o Office) Reverse(ctx context.Context, fault Fault, reason string, traces ...Trace) (info FileInfo, err error) {
	if !slices.Contains(Faults, fault) {
		return info, fmt.Errorf("fault %q: give duplicate, amount, date or receiver: %w", fault, ErrReverse)
	}
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		var wrong []error
		all := make([]toReverse, len(traces))
		effective := calendar.AddBankingDays(o.Day, 1)
		for i, trace := range traces {
			d, err := debitToReverse(ctx, tx, trace, o.Day)
			if err != nil {
				return err
			}
			if why := d.refusal(o, effective, slices.Contains(traces[:i], trace)); why != "" {
				wrong = append(wrong, fmt.Errorf("debit %s: %s", trace, why))
			}
			effective = max(effective, d.effective)
			all[i] = d
		}
		if len(wrong) > 0 || len(traces) == 0 {
			return errors.Join(append(wrong, ErrReverse)...)
		}
		for _, d := range all {
			if last := calendar.AddBankingDays(d.effective, reversalDays); effective > last {
				return fmt.Errorf("one file would take effect on %s, which is too late for some of them: reverse debits of different dates apart: %w", effective, ErrReverse)
			}
		}
		if info, err = o.reversalFile(ctx, tx, effective, fault, all); err != nil {
			return err
		}
		return o.act(ctx, tx, "ach_reverse", reason, map[string]any{"file": info.Name, "sha256": info.SHA256, "fault": fault, "traces": traces, "cents": info.CreditCents})
	})
	return info, err
}

// debitToReverse finds the newest debit of a trace; an account of 0 says that
// there is none.
func debitToReverse(ctx context.Context, tx pgx.Tx, trace Trace, day calendar.Date) (d toReverse, err error) {
	err = tx.QueryRow(ctx, `select d.account_id, d.receipt, d.method_id, d.cents, d.sec, d.effective_on, d.state, coalesce(f.state, ''), coalesce(f.id, 0), coalesce(f.company, ''),
			exists (select from ach_entry e where e.kind = 'reversal' and e.account_id = d.account_id and e.receipt = d.receipt and e.state <> 'withdrawn')
		from debit d left join ach_file f on f.id = d.file_id where d.trace = $1 and d.effective_on > $2 order by d.state = 'withdrawn', d.effective_on desc limit 1`, int64(trace), day-traceDays).
		Scan(&d.account, &d.receipt, &d.methodID, &d.cents, &d.sec, &d.effective, &d.state, &d.fileState, &d.file, &d.company, &d.again)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return d, err
}

// refusal says why a debit cannot be reversed by an entry that takes effect on
// a day, "" if it can.
func (d *toReverse) refusal(o Office, effective calendar.Date, twice bool) string {
	last := calendar.AddBankingDays(d.effective, reversalDays)
	switch {
	case d.account == 0:
		return fmt.Sprintf("no debit of the last %d days has this trace number", traceDays)
	case twice:
		return "it is named twice"
	case d.again:
		return "it is reversed already"
	case d.state == billing.DebitReturned:
		return "it has come back by itself"
	case d.state == billing.DebitWithdrawn:
		return "it was withdrawn and never went out"
	case d.fileState != FileReleased:
		return fmt.Sprintf("its file was not released: pull it (ach hold %d --entry)", d.file)
	case effective > last:
		return fmt.Sprintf("it took effect on %s, so its reversal had to by %s: pay the member back another way", d.effective, last)
	case d.sec == TEL:
		return "a debit authorized by phone (TEL) takes no credit: pay the member back another way"
	case d.company != o.Policy.Company.ID:
		return fmt.Sprintf("it was sent by the company id %s, not %s", d.company, o.Policy.Company.ID)
	}
	return ""
}

// reversalFile makes and seals the file.
func (o Office) reversalFile(ctx context.Context, tx pgx.Tx, effective calendar.Date, fault Fault, all []toReverse) (info FileInfo, err error) {
	var cents ledger.Cents
	for _, d := range all {
		cents += d.cents
	}
	if most, mostCents := limit(int64(o.Policy.ACH.MaxEntriesPerFile), maxBatchEntries), limit(o.Policy.ACH.MaxCentsPerFile, maxTotalCents); len(all) > most || cents > mostCents {
		return info, fmt.Errorf("%d reversals of %s are more than a file may hold, %d of %s: make several: %w", len(all), cents, most, mostCents, ErrReverse)
	}
	own, err := takeTraces(ctx, tx, o.Policy.Company.ODFI, o.Day, len(all))
	if err != nil {
		return info, err
	}
	var id int64
	if err := tx.QueryRow(ctx, `insert into ach_file (kind, built_on, effective_on, maker, reversals, credit_cents) values ('reversals', $1, $2, $3, $4, $5) returning id`,
		o.Day, effective, o.Operator, len(all), int64(cents)).Scan(&id); err != nil {
		return info, err
	}
	for i, d := range all {
		if _, err := tx.Exec(ctx, `insert into ach_entry (trace, kind, account_id, method_id, receipt, cents, sec, built_on, effective_on, file_id, fault) values ($1, 'reversal', $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			int64(own[i]), d.account, d.methodID, d.receipt, int64(d.cents), d.sec, o.Day, effective, id, string(fault)); err != nil {
			return info, err
		}
	}
	if info, err = o.sealFile(ctx, tx, id); err != nil {
		return info, err
	}
	if info.Reversals != len(all) {
		return info, fmt.Errorf("%d of %d debits cannot be reversed, as their bank account is not usable: %w", len(all)-info.Reversals, len(all), ErrReverse)
	}
	return info, nil
}

// reversalBack takes down that the member's bank did not take a reversal. The
// books are left to a person: we have the money, and the member owes again.
func (o Office) reversalBack(ctx context.Context, tx pgx.Tx, a *answer) error {
	if a.sent.state == "returned" {
		a.outcome, a.detail = outcomeDuplicate, "the reversal was returned already"
		return nil
	}
	if _, err := tx.Exec(ctx, `update ach_entry set state = 'returned', code = $2, returned_on = $3 where`+newest+` and kind = 'reversal' and state in ('built', 'settled')`, []int64{int64(a.original)}, a.code, o.Day); err != nil {
		return err
	}
	words, _ := ReturnCode(a.code)
	a.detail = fmt.Sprintf("%s: %s. The member did not get the %s of the reversal, which we have again: pay it back another way, or enter it as a payment", a.code, words.Words, a.sent.cents)
	return o.review(ctx, tx, a, reversalReturned, a.original.String())
}

// paidBackTwice puts a debit that came back although it was reversed before a
// person.
func (o Office) paidBackTwice(ctx context.Context, tx pgx.Tx, a *answer, on string) error {
	a.detail = strings.TrimSpace(fmt.Sprintf("%s for a debit of %s %s: the member has the money twice; settle it with the bank", a.code, a.sent.cents, on))
	return o.review(ctx, tx, a, returnedAndReversed, a.original.String())
}
