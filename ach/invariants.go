package ach

import "github.com/billcycle/billcycle/ledger"

// Invariants of the files of debits.
var Invariants = []ledger.Invariant{
	{Name: "ach_file_total", Says: "an ACH file's count and total are those of its debits",
		SQL: `select f.id, f.name, f.entries, f.cents, count(d.receipt) as debits, coalesce(sum(d.cents), 0) as debit_cents from ach_file f left join debit d on d.file_id = f.id
			where f.state <> 'open' and f.kind = 'debits' group by f.id having f.entries <> count(d.receipt) or f.cents <> coalesce(sum(d.cents), 0)`},
	{Name: "ach_other_file_total", Says: "the counts and total of an ACH file of prenotes or reversals are those of its entries",
		SQL: `select f.id, f.name from ach_file f left join ach_entry e on e.file_id = f.id where f.kind <> 'debits'
			group by f.id having f.entries <> 0 or f.cents <> 0 or f.prenotes <> count(e.trace) filter (where e.kind = 'prenote') or f.reversals <> count(e.trace) filter (where e.kind = 'reversal') or f.credit_cents <> coalesce(sum(e.cents), 0)`},
	{Name: "no_debit_before_its_prenote", Says: "a bank account that is tried out is debited from the third banking day after its prenote settled, and not at all if that came back",
		SQL: `select d.account_id, d.receipt from debit d join ach_entry e on e.method_id = d.method_id and e.kind = 'prenote' join autopay_method m on m.id = d.method_id
			where d.state <> 'withdrawn' and d.built_on >= e.built_on and (e.state in ('built', 'settled') and (m.debit_from is null or d.effective_on < m.debit_from) or e.state = 'returned' and d.built_on > e.returned_on)`},
	{Name: "reversals_undo_one_debit", Says: "a reversal is of a debit's account and amount, and takes effect within five banking days of it, which are nine days at the most",
		SQL: `select e.trace from ach_entry e left join debit d on d.account_id = e.account_id and d.receipt = e.receipt and d.cents = e.cents and d.state <> 'withdrawn' and e.effective_on between d.effective_on and d.effective_on + 9
			where e.kind = 'reversal' and e.state <> 'withdrawn' and d.receipt is null`},
	{Name: "ach_file_released_by_a_second_person", Says: "a released ACH file was released by somebody who did not make it, before its effective date",
		SQL: `select id, name from ach_file where state = 'released' and (released_by is null or released_by = maker or lower(released_by) = any (hands) or released_by = 'system' or released_on >= effective_on or released_sha256 is distinct from sha256)`},
	{Name: "ach_traces_single", Says: "no two debits that the bank may still answer share a trace number",
		SQL: `select a.trace, a.account_id, b.account_id from debit a join debit b on b.trace = a.trace and (b.account_id, b.receipt) > (a.account_id, a.receipt) and abs(b.effective_on - a.effective_on) <= 180`},
}
