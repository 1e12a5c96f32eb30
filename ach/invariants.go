package ach

import "github.com/billcycle/billcycle/ledger"

// Invariants of the files of debits.
var Invariants = []ledger.Invariant{
	{Name: "ach_file_total", Says: "an ACH file's count and total are those of its debits",
		SQL: `select f.id, f.name, f.entries, f.cents, count(d.receipt) as debits, coalesce(sum(d.cents), 0) as debit_cents from ach_file f left join debit d on d.file_id = f.id
			where f.state <> 'open' group by f.id having f.entries <> count(d.receipt) or f.cents <> coalesce(sum(d.cents), 0)`},
	{Name: "ach_file_released_by_a_second_person", Says: "a released ACH file was released by somebody who did not make it, before its effective date",
		SQL: `select id, name from ach_file where state = 'released' and (released_by is null or released_by = maker or lower(released_by) = any (hands) or released_by = 'system' or released_on >= effective_on or released_sha256 is distinct from sha256)`},
	{Name: "ach_traces_single", Says: "no two debits that the bank may still answer share a trace number",
		SQL: `select a.trace, a.account_id, b.account_id from debit a join debit b on b.trace = a.trace and (b.account_id, b.receipt) > (a.account_id, a.receipt) and abs(b.effective_on - a.effective_on) <= 180`},
}
