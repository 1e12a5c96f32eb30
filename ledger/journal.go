// Package ledger keeps the journal: every cent that moves, once, for good.
//
// An entry is one transfer from a credit account to a debit account of the
// general ledger, so the books balance by construction. Entries are numbered
// within the member account they concern (account 0 is the house's own, for
// money that is nobody's yet) and never change: a correction is a new entry
// with the sides swapped that names the one it undoes.
package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// The accounts of the general ledger.
const (
	Receivable     = "receivable"      // what members owe (debit) or are owed (credit); the sum per account is its ledger figure
	Premiums       = "premiums"        // premium revenue
	PatientShare   = "patient_share"   // members' share of medical bills, revenue
	Fees           = "fees"            // late and returned-payment fees, revenue
	Adjustments    = "adjustments"     // what was adjusted away
	Cash           = "cash"            // money at the bank
	LockboxPending = "lockbox_pending" // checks that have not posted yet
	Suspense       = "suspense"        // checks of nobody known
	RefundsPaid    = "refunds_paid"    // credit paid out
	Unclaimed      = "unclaimed"       // credit remitted to a state
	OpeningBalance = "opening_balance" // what an account brought along
)

// GLAccounts lists every account of the general ledger that an entry may name.
var GLAccounts = []string{Receivable, Premiums, PatientShare, Fees, Adjustments, Cash, LockboxPending, Suspense, RefundsPaid, Unclaimed, OpeningBalance}

// What an entry is: the reason that money moved.
const (
	Charge         = "charge"
	Adjustment     = "adjustment"
	LateFee        = "late_fee"
	ReturnedFee    = "returned_fee"
	FeeReversal    = "fee_reversal"
	Waiver         = "waiver"
	Payment        = "payment"         // a receipt posts
	Return         = "return"          // a posted receipt came back
	Refund         = "refund"          // credit paid out
	Remittance     = "remittance"      // dormant credit sent to a state
	Opening        = "opening"         // brought along
	LockboxIn      = "lockbox_in"      // a check came in, pending
	LockboxOut     = "lockbox_out"     // a pending check came to nothing
	SuspenseIn     = "suspense_in"     // a check of nobody known
	SuspenseOut    = "suspense_out"    // it found its owner, or left
	RefundClawback = "refund_clawback" // refunded money that came back unpaid: owed again
)

// Part is the place of an entry in the arithmetic of a statement.
type Part int

// The parts of a statement: previous + payments + adjustments + charges + fees
// = balance.
const (
	NoPart Part = iota
	PreviousPart
	PaymentsPart
	AdjustmentsPart
	ChargesPart
	FeesPart
)

var parts = map[Part][]string{
	PreviousPart:    {Opening},
	PaymentsPart:    {Payment, Return, Refund, Remittance, RefundClawback},
	AdjustmentsPart: {Adjustment},
	ChargesPart:     {Charge},
	FeesPart:        {LateFee, ReturnedFee, FeeReversal, Waiver},
}

// Whats lists the kinds of entries that a statement counts in a part.
func (p Part) Whats() []string { return parts[p] }

var partOf = func() map[string]Part {
	of := map[string]Part{}
	for part, whats := range parts {
		for _, what := range whats {
			of[what] = part
		}
	}
	return of
}()

// PartOf says where a statement counts entries of this kind.
func PartOf(what string) Part { return partOf[what] }

// Entry is one journal entry.
type Entry struct {
	AccountID   int64
	No          int32         // within the account, from 1, without gaps
	PostedOn    calendar.Date // the business date that wrote it
	EffectiveOn calendar.Date // when it counts: a payment's received date
	What        string
	Debit       string
	Credit      string
	Cents       Cents // > 0
	Doc         int32 // the item or receipt of the account that it is about
	Reverses    int32 // the entry of the account that it undoes, 0 for none
}

// Member returns what the entry adds to what the member owes.
func (e Entry) Member() Cents {
	switch Receivable {
	case e.Debit:
		return e.Cents
	case e.Credit:
		return -e.Cents
	}
	return 0
}

// Columns of the journal, in the order of Row.
var Columns = []string{"account_id", "no", "posted_on", "effective_on", "what", "debit", "credit", "cents", "doc", "reverses"}

// Append writes entries in one go, and their totals for the general ledger. The
// caller has numbered them under the lock of their accounts.
func Append(ctx context.Context, tx pgx.Tx, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var rows Copy
	var sums totals
	for i := range entries {
		e := &entries[i]
		sums.add(e)
		rows.Row(len(Columns)).Int64(e.AccountID).Int32(e.No).Date(e.PostedOn).Date(e.EffectiveOn).Text(e.What).Text(e.Debit).Text(e.Credit).Int64(int64(e.Cents)).Int32(e.Doc).NullInt32(e.Reverses)
	}
	if err := rows.Send(ctx, tx, "journal", Columns); err != nil {
		return err
	}
	return sums.write(ctx, tx)
}

// Invariant is a statement about the books that must hold always: SQL that
// selects the rows which break it, with a sentence for people.
type Invariant struct {
	Name string
	Says string
	SQL  string
}

// Invariants of the journal itself.
var Invariants = []Invariant{
	{"journal_balanced", "every journal entry moves a positive amount between two known accounts of the general ledger",
		`select account_id, no from journal where cents <= 0 or debit = credit
		 or debit <> all (array['receivable','premiums','patient_share','fees','adjustments','cash','lockbox_pending','suspense','refunds_paid','unclaimed','opening_balance'])
		 or credit <> all (array['receivable','premiums','patient_share','fees','adjustments','cash','lockbox_pending','suspense','refunds_paid','unclaimed','opening_balance'])`},
	{"journal_append_only", "the journal's entries are numbered within each account without a gap, and the triggers that refuse changes stand",
		`select a.id, a.entries from account a left join (select account_id, count(*) n, count(distinct no) once, max(no) top from journal group by account_id) j on j.account_id = a.id
		 where a.entries <> coalesce(j.n, 0) or a.entries <> coalesce(j.once, 0) or a.entries <> coalesce(j.top, 0)
		 union all select j.account_id, j.no from journal j left join account a on a.id = j.account_id where a.id is null
		 union all select 0, 0 from (select relid, 'journal_append_only' as name from pg_partition_tree('public.journal')
		     union all select relid, 'journal_no_truncate' from pg_partition_tree('public.journal')
		     union all select t::regclass, t || '_append_only' from unnest(array['allocation', 'standing', 'member_was']) t) must
		   left join pg_trigger t on t.tgrelid = must.relid and t.tgname = must.name and t.tgenabled in ('O', 'A') where t.oid is null`},
	{"journal_reversals", "a reversal undoes one earlier entry of its account, with the sides swapped and never more than the entry's amount",
		`select r.account_id, r.no from journal r left join journal o on o.account_id = r.account_id and o.no = r.reverses
		 where r.reverses is not null and (o.no is null or o.no >= r.no or o.debit <> r.credit or o.credit <> r.debit or r.cents > o.cents)
		 union all select account_id, reverses from journal where reverses is not null
		   group by account_id, reverses having sum(cents) > (select cents from journal o where o.account_id = journal.account_id and o.no = journal.reverses)`},
	{"journal_totals", "what the general ledger's files have taken and what still waits for one is the journal, to the entry and the cent",
		`select posted_on, what, debit, credit, j.entries, j.cents, t.entries, t.cents
		 from (select posted_on, what, debit, credit, count(*) entries, sum(cents) cents from journal group by 1, 2, 3, 4) j
		 full join (select posted_on, what, debit, credit, sum(entries) entries, sum(cents) cents from journal_total group by 1, 2, 3, 4) t using (posted_on, what, debit, credit)
		 where (j.entries, j.cents) is distinct from (t.entries, t.cents)`},
	{"journal_files", "the general ledger's files are numbered without a gap, each balances, and its lines are what it has taken of the journal",
		`select f.no from (select *, row_number() over (order by no) n from journal_file) f
		   left join (select file, count(*) lines, sum(cents) filter (where side = 'debit') debits, sum(cents) filter (where side = 'credit') credits from journal_line group by 1) l on l.file = f.no
		   left join (select file, sum(entries) entries, sum(cents) cents from journal_total group by 1) t on t.file = f.no
		   where f.no <> f.n or f.lines <> coalesce(l.lines, 0) or f.cents <> coalesce(l.debits, 0) or f.cents <> coalesce(l.credits, 0) or f.cents <> coalesce(t.cents, 0) or f.entries <> coalesce(t.entries, 0)
		 union all select coalesce(l.file, t.file) from (select file, posted_on, what, side, ledger_account, sum(entries) entries, sum(cents) cents from journal_line group by 1, 2, 3, 4, 5) l
		   full join (select t.file, t.posted_on, t.what, s.side, s.ledger_account, sum(entries) entries, sum(cents) cents from journal_total t
		     cross join lateral (values ('debit', debit), ('credit', credit)) s(side, ledger_account) where t.file is not null group by 1, 2, 3, 4, 5) t using (file, posted_on, what, side, ledger_account)
		   where (l.entries, l.cents) is distinct from (t.entries, t.cents)
		 union all select t.file from journal_total t left join journal_file f on f.no = t.file where t.file is not null and f.no is null`},
}
