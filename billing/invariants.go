package billing

import (
	"strings"

	"github.com/billcycle/billcycle/ledger"
)

// Invariants of the accounts: SQL that selects what breaks them.
var Invariants = []ledger.Invariant{
	{Name: "items_agree_with_ledger", Says: "open items less unapplied credit are what the journal says the member owes",
		SQL: `select a.id, o.cents as open, c.cents as credit, j.cents as ledger from account a
			left join lateral (select coalesce(sum(cents - paid), 0) cents from item where account_id = a.id) o on true
			left join lateral (select coalesce(sum(unapplied), 0) cents from receipt where account_id = a.id and state = 'posted') c on true
			left join lateral (select coalesce(sum(case when debit = 'receivable' then cents else -cents end), 0) cents from journal where account_id = a.id and 'receivable' in (debit, credit)) j on true
			where a.id > 0 and o.cents - c.cents <> j.cents`},
	{Name: "account_counters", Says: "an account's counts of pending receipts and of what is open on its newest bill are what its rows say",
		SQL: `select a.id, a.pending, r.n, a.base, i.cents from account a
			left join lateral (select count(*) n from receipt where account_id = a.id and state = 'pending') r on true
			left join lateral (select coalesce(sum(cents - paid), 0) cents from item where account_id = a.id and state = 'billed' and cycle = a.last_cycle and kind <> 'fee' and origin <> 'installment') i on true
			where a.id > 0 and (a.pending <> r.n or a.base <> i.cents)`},
	{Name: "account_bounds", Says: "where an account says that nothing lies open, and nothing was booked since its newest bill, nothing does and nothing was; its days are its newest bill's",
		SQL: `select i.account_id, i.no from item i join account a on a.id = i.account_id where i.no < a.open_from and (i.paid < i.cents or i.state <> 'billed')
			union all select r.account_id, r.no from receipt r join account a on a.id = r.account_id where r.no < a.open_from and (r.state = 'pending' or r.unapplied > 0)
			union all select j.account_id, j.no from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
				join journal_at_hand j on j.account_id = a.id and j.no > coalesce(b.entries, 0) and 'receivable' in (j.debit, j.credit) where a.id > 0 and (a.booked_from is null or j.posted_on < a.booked_from)
			union all select a.id, a.last_cycle from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
				where (a.bill_made, a.bill_due, a.bill_until, a.older_until) is distinct from (b.made_on, b.due_on, b.deadline_on, b.prev_deadline)
			union all select account_id, cycle from (select account_id, cycle, prev_deadline, max(deadline_on) over (partition by account_id order by cycle rows between unbounded preceding and 1 preceding) as latest from bill) b
				where prev_deadline is distinct from latest`},
	{Name: "everything_has_its_account", Says: "whatever names an account names one that is there", SQL: orphans()},
	{Name: "items_agree_with_allocations", Says: "what is paid on an item is what was allocated to it",
		SQL: `select i.account_id, i.no from item i left join (select account_id, item, sum(cents) cents from allocation group by 1, 2) al on al.account_id = i.account_id and al.item = i.no
			where i.paid <> coalesce(al.cents, 0)
			union all select al.account_id, al.item from allocation al left join item i on i.account_id = al.account_id and i.no = al.item where i.no is null`},
	{Name: "receipts_agree_with_allocations", Says: "a posted receipt is allocated, credit or refunded to the last cent, any other has nothing allocated",
		SQL: `select r.account_id, r.no from receipt r left join (select account_id, receipt, sum(cents) cents from allocation group by 1, 2) al on al.account_id = r.account_id and al.receipt = r.no
			where case r.state when 'posted' then r.cents - r.unapplied - r.refunded <> coalesce(al.cents, 0) else coalesce(al.cents, 0) <> 0 end
			union all select al.account_id, al.receipt from allocation al left join receipt r on r.account_id = al.account_id and r.no = al.receipt where r.no is null`},
	{Name: "statements_chain", Says: "a statement's previous balance is the balance of the one before, and its parts add up",
		SQL: `select account_id, cycle from (select b.*, lag(balance) over (partition by account_id order by cycle) as last from bill b) b
			where previous + payments + adjustments + charges + fees <> balance or last is not null and previous <> last
			union all select a.id, a.last_cycle from account a join lateral (select max(cycle) top from bill where account_id = a.id) b on true where a.last_cycle <> coalesce(b.top, a.last_cycle)`},
	{Name: "statement_balance", Says: "an account's ledger is its newest statement's balance and what was booked since",
		SQL: `select b.account_id, b.cycle from account a join bill b on b.account_id = a.id and b.cycle = a.last_cycle
			left join lateral (select coalesce(sum(case when debit = 'receivable' then cents else -cents end), 0) cents from journal where account_id = a.id and no <= b.entries and 'receivable' in (debit, credit)) j on true
			where b.balance <> j.cents`},
	{Name: "statement_sealed", Says: "every bill has its sealed statement",
		SQL: `select b.account_id, b.cycle from bill b left join statement s on s.account_id = b.account_id and s.cycle = b.cycle where s.cycle is null`},
	{Name: "items_billed_once", Says: "a billed item names its bill, an unbilled one none",
		SQL: `select i.account_id, i.no from item i left join bill b on b.account_id = i.account_id and b.cycle = i.cycle where i.state = 'billed' and b.cycle is null`},
	{Name: "charges_have_their_entry", Says: "every charge has exactly its journal entry",
		SQL: `select j.account_id, j.no from journal j left join item i on i.account_id = j.account_id and i.no = j.doc and i.entry = j.no where j.what = 'charge' and i.no is null
			union all select i.account_id, i.no from item i left join journal j on j.account_id = i.account_id and j.no = i.entry where i.origin = 'charge' and i.entry <> 0 and i.parent = 0 and (j.what is distinct from 'charge' or j.doc <> i.no)
			union all select i.account_id, i.no from item i where i.origin = 'charge' and i.entry = 0 and i.parent = 0 and i.cents <> 0`},
	{Name: "fees_have_their_entry", Says: "every fee has exactly its journal entry, and one that was reversed its reversal",
		SQL: `select j.account_id, j.no from journal j left join item i on i.account_id = j.account_id and i.no = j.doc and i.entry = j.no and i.origin = j.what where j.what in ('late_fee', 'returned_fee') and i.no is null
			union all select i.account_id, i.no from item i left join journal j on j.account_id = i.account_id and j.no = i.entry and j.what = i.origin and j.doc = i.no where i.origin in ('late_fee', 'returned_fee') and i.parent = 0 and j.no is null
			union all select i.account_id, i.no from item i left join journal j on j.account_id = i.account_id and j.reverses = i.entry and j.what = 'fee_reversal' where i.ended = 'reversed' and j.no is null`},
	{Name: "one_late_fee_per_bill", Says: "a bill has at most one standing late fee, and it exists",
		SQL: `select i.account_id, i.for_cycle from item i left join bill b on b.account_id = i.account_id and b.cycle = i.for_cycle where i.origin = 'late_fee' and i.ended = ''
			group by i.account_id, i.for_cycle having count(*) > 1 or count(b.cycle) = 0`},
	{Name: "receipts_have_their_entry", Says: "every posted receipt has exactly its journal entry, of its amount; one taken back has its reversal",
		SQL: `select r.account_id, r.no from receipt r left join journal j on j.account_id = r.account_id and j.no = r.posted_entry and j.doc = r.no and j.what in ('payment', 'opening', 'adjustment') and j.cents = r.cents
			where (r.state = 'posted' or r.posted_entry <> 0) and j.no is null
			union all select j.account_id, j.no from journal j left join receipt r on r.account_id = j.account_id and r.posted_entry = j.no where j.what in ('payment', 'opening') and r.no is null
			union all select r.account_id, r.no from receipt r left join journal j on j.account_id = r.account_id and j.reverses = r.posted_entry and j.what = 'return' and j.cents = r.cents
			where r.state in ('returned', 'withdrawn') and r.posted_entry <> 0 and j.no is null
			union all select j.account_id, j.no from journal j left join receipt r on r.account_id = j.account_id and r.no = j.doc and r.state in ('returned', 'withdrawn') where j.what = 'return' and r.no is null`},
	{Name: "pending_money_on_the_books", Says: "the lockbox money that the books call pending is that of the pending receipts",
		SQL: `select x.account_id, x.cents from (
				select account_id, sum(cents) cents from (
					select account_id, case when credit = 'lockbox_pending' then cents else -cents end cents from journal where 'lockbox_pending' in (debit, credit)
					union all select account_id, -cents from receipt where channel = 'lockbox' and state = 'pending') m group by account_id) x where x.cents <> 0`},
	{Name: "nothing_pending_past_its_date", Says: "no receipt is pending after its posting date was worked on",
		// One that a missed night has brought in after it was worked on waits for the next.
		SQL: `select r.account_id, r.no from receipt r, (select day, began_at from run where job = 'post' and state = 'done' order by day desc limit 1) newest
			where r.state = 'pending' and r.posts_on <= newest.day and r.arrived_on <= newest.day and not exists (select from run missed
				where missed.day = r.arrived_on and missed.day < newest.day and missed.job in ('feeds', 'lockbox', 'autopay') and greatest(missed.began_at, missed.ended_at) > newest.began_at)`},
	{Name: "debits_have_a_receipt", Says: "every debit is one receipt of its amount, and every ACH receipt one debit",
		SQL: `select d.account_id, d.receipt from debit d left join receipt r on r.account_id = d.account_id and r.no = d.receipt and r.cents = d.cents and r.channel = 'ach'
				and case d.state when 'built' then r.state in ('pending', 'posted') else r.state = d.state end where r.no is null
			union all select r.account_id, r.no from receipt r left join debit d on d.account_id = r.account_id and d.receipt = r.no where r.channel = 'ach' and d.receipt is null`},
	{Name: "no_debit_without_authorization", Says: "every debit was authorized by its own account when it was built, and bears its MRN",
		SQL: `select d.account_id, d.receipt from debit d left join autopay_method m on m.id = d.method_id left join account a on a.id = m.account_id and a.mrn = m.individual
			where a.id is null or m.id is null or m.account_id <> d.account_id or m.method <> 'ach' or m.authorized_on > d.built_on or m.ended_on < d.built_on`},
	{Name: "no_debit_above_due", Says: "no debit is more than what was due when it was built",
		SQL: `select account_id, receipt from debit where cents > due_then`},
	{Name: "one_debit_per_attempt", Says: "a bill is debited once, and again only as a retry of a returned debit",
		SQL: `select account_id, cycle from debit where state <> 'withdrawn' group by account_id, cycle, attempt having count(*) > 1
			union all select d.account_id, d.cycle from debit d where d.attempt > 0 and not exists (select from debit x where x.account_id = d.account_id and x.cycle = d.cycle and x.attempt = d.attempt - 1 and x.state = 'returned')`},
	{Name: "no_debit_posted_unreleased", Says: "no debit posted whose file was not released before its effective date",
		SQL: `select d.account_id, d.receipt from debit d join receipt r on r.account_id = d.account_id and r.no = d.receipt left join ach_file f on f.id = d.file_id
			where r.posted_entry <> 0 and (f.id is null or f.released_on is null or f.released_on >= d.effective_on)`},
	{Name: "plans_add_up", Says: "a payment plan bills no more than its amount, and defers something only while it has installments to bill",
		SQL: `select p.account_id, p.no from plan p left join lateral (
				select coalesce(sum(i.cents) filter (where i.origin = 'installment' or i.state = 'deferred'), 0) cents, count(*) filter (where i.state = 'deferred') deferred
				from item i where i.account_id = p.account_id and i.for_doc = p.no) i on true
			where i.cents > p.cents or i.deferred > 0 and (p.state <> 'running' or p.billed = p.installments)
			union all select i.account_id, i.no from item i left join plan p on p.account_id = i.account_id and p.no = i.for_doc where i.state = 'deferred' and p.no is null`},
	{Name: "one_premium_per_month", Says: "a month's premium is charged once for each coverage, never more than its terms and nothing for a month after its end",
		SQL: `select c.account_id, c.no, i.for_cycle, sum(i.cents) from coverage c join item i on i.account_id = c.account_id and i.for_doc = c.no and i.origin = 'coverage'
			group by c.account_id, c.no, i.for_cycle
			having sum(i.cents) > case when make_date(i.for_cycle / 12, i.for_cycle % 12 + 1, 1) > c.end_on then 0 else c.monthly_cents - c.aptc_cents end or i.for_cycle > c.charged_to
			union all select i.account_id, i.no, i.for_cycle, i.cents from item i left join journal j on j.account_id = i.account_id and j.no = i.entry and j.doc = i.no and j.what = 'charge'
			where i.origin = 'coverage' and i.parent = 0 and j.no is null`},
	{Name: "standings_told", Says: "autopay, and every disputed or deferred item, stands as the last note of it says",
		SQL: `select a.id, 0 as item, a.autopay from account a left join lateral (select state from standing where account_id = a.id and item = 0 order by no desc limit 1) s on true
			where a.id > 0 and a.autopay <> coalesce(s.state, 'off')
			union all select i.account_id, i.no, i.state from item i left join lateral (select state from standing where account_id = i.account_id and item = i.no order by no desc limit 1) s on true
			where i.state in ('disputed', 'deferred') and s.state is distinct from i.state`},
	{Name: "coverage_periods_apart", Says: "no two periods of a member's coverage by one plan overlap",
		SQL: `select c.mrn, c.plan, c.start_on, d.start_on from coverage c join coverage d on d.mrn = c.mrn and d.plan = c.plan and d.start_on > c.start_on
			and d.start_on <= coalesce(c.end_on, 'infinity') and (d.end_on is null or d.end_on >= d.start_on)`},
	{Name: "remittances_were_dormant", Says: "nothing was remitted to a state that had not been flagged as dormant before",
		SQL: `select j.account_id, j.doc from journal j left join (select account_id, receipt, sum(cents) cents from dormant group by 1, 2) d on d.account_id = j.account_id and d.receipt = j.doc
			where j.what = 'remittance' group by j.account_id, j.doc, d.cents having sum(j.cents) > coalesce(d.cents, 0)`},
}

// orphans selects what belongs to no account.
func orphans() string {
	var all []string
	for _, table := range []string{"member", "member_was", "hold", "item", "bill", "receipt", "allocation", "standing", "journal", "journal_kept", "payment", "adjustment", "autopay_method", "debit", "ach_entry", "card_charge",
		"coverage", "plan", "dormant", "letter", "statement", "message", "preference", "bounced", "reads_aloud", "lockbox_item", "lockbox_share", "ach_answer", "act", "exception", "parked", "skipped",
		"print_queue", "print_piece", "print_suppressed"} {
		all = append(all, `select '`+table+`' as what, account_id from `+table+` t where account_id is not null and not exists (select from account a where a.id = t.account_id)`)
	}
	return strings.Join(all, " union all ")
}
