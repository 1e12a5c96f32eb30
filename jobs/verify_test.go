package jobs_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
)

// breaks says for each invariant how it is broken, each way on a copy of a
// lived demo: SQL, that must change something. The copy has lost its triggers
// and checks, since Verify has to see what a database let pass.
var breaks = map[string][]string{
	"journal_balanced": {
		`update journal set cents = -cents where no = 1 and account_id = 3`,
		`update journal set debit = credit where no = 1 and account_id = 3`,
		`update journal set debit = 'petty_cash' where no = 1 and account_id = 3`,
		`update journal set credit = 'petty_cash' where no = 1 and account_id = 3`,
	},
	"journal_append_only": {
		`delete from journal where account_id = 3 and no = 1`,
		`delete from journal where (account_id, no) in (select id, entries from account where id = 3)`,
		`update account set entries = entries + 1 where id = 3`,
		`insert into journal select 99999999, no, posted_on, effective_on, what, debit, credit, cents, doc, reverses from journal where account_id = 3 and no = 1`,
		`alter table journal disable trigger journal_append_only`,
		`alter table allocation disable trigger allocation_append_only`,
		`alter table standing disable trigger standing_append_only`,
		`alter table member_was disable trigger member_was_append_only`,
		`drop trigger journal_no_truncate on journal`,
	},
	"journal_reversals": {
		`update journal set reverses = no + 1 where reverses is null and account_id = 3 and no = 1`,
		`update journal j set reverses = 1 from journal o where o.account_id = j.account_id and o.no = 1 and j.no = 2 and (o.debit, o.credit) <> (j.credit, j.debit)`,
		`insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc, reverses)
			select account_id, 900, posted_on, effective_on, 'adjustment', credit, debit, cents + 1, doc, no from journal where account_id = 3 and no = 1`,
		`insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc, reverses)
			select account_id, n, posted_on, effective_on, 'adjustment', credit, debit, cents, doc, no from journal, generate_series(901, 902) n where account_id = 3 and no = 1`,
	},
	"journal_totals": {
		`update journal_total set cents = cents + 1 where id = (select min(id) from journal_total)`,
		`update journal_total set entries = entries + 1 where id = (select min(id) from journal_total)`,
		`delete from journal_total where id = (select min(id) from journal_total)`,
		`insert into journal_total (posted_on, what, debit, credit, entries, cents) select posted_on, what, debit, credit, entries, cents from journal_total where id = (select min(id) from journal_total)`,
		`update journal_total set posted_on = posted_on + 1 where id = (select min(id) from journal_total)`,
	},
	"journal_files": {
		`update journal_file set no = no + 1 where no = (select max(no) from journal_file)`,
		`update journal_file set cents = cents + 1 where no = 5`,
		`update journal_file set entries = entries + 1 where no = 5`,
		`update journal_total set file = file + 1 where id = (select min(id) from journal_total)`,
		`update journal_total set file = null where id = (select min(id) from journal_total)`,
		`update journal_total set file = 900 where id = (select min(id) from journal_total)`,
		`delete from journal_line where (file, no) = (select file, no from journal_line order by 1, 2 limit 1)`,
		`update journal_line set cents = cents + 1 where file = (select min(file) from journal_line)`,
		`update journal_line set ledger_account = 'suspense' where (file, no) = (select file, no from journal_line order by 1, 2 limit 1)`,
	},
	"runs_add_up": {
		`update run_chunk set done = done + 1 where (job, day, pass, step, from_id) = (select job, day, pass, step, from_id from run_chunk where selected > 0 limit 1)`,
		`update run_chunk set skipped = '{"nothing_due": 1}' where (job, day, pass, step, from_id) = (select job, day, pass, step, from_id from run_chunk where skipped = '{}' limit 1)`,
		`update run_chunk set parked = parked + 1 where (job, day, pass, step, from_id) = (select job, day, pass, step, from_id from run_chunk limit 1)`,
	},
	"parked_is_of_a_run": {
		`insert into parked (account_id, job, step, day, last_day, error) values (3, 'statements', 'cut', '2020-01-01', '2020-01-01', 'no reason')`,
	},
	"account_counters": {
		`update account set base = base + 1 where id = 3`,
		`update account set pending = pending + 1 where id = 3`,
	},
	"account_bounds": {
		`update account set open_from = docs + 1 where id in (select account_id from item where paid < cents)`,
		`update account set open_from = docs + 1 where id in (select account_id from receipt where state = 'pending')`,
		`update account a set booked_from = null where booked_from is not null`,
		`update account a set booked_from = booked_from + 400 where booked_from is not null`,
		`update account set bill_until = bill_until + 1 where bill_until is not null`,
		`update account set bill_due = bill_due + 1 where bill_due is not null`,
		`update account set bill_made = bill_made - 1 where bill_made is not null`,
		`update account set older_until = older_until - 1 where older_until is not null`,
		`update bill set prev_deadline = null where prev_deadline is not null`,
		`update account set bill_made = null, bill_due = null, bill_until = null where id in (select account_id from bill)`,
		`update account set bill_made = '2026-01-01', bill_due = '2026-01-31', bill_until = '2026-01-31' where bill_until is null`,
	},
	"everything_has_its_account": {
		`insert into hold (account_id, no, reason, placed_on, automatic, placed_by) values (99999999, 1, 'died', '2026-01-01', false, 'nobody')`,
		`insert into receipt (account_id, no, channel, state, cents, unapplied, received_on, arrived_on, posts_on) values (99999999, 1, 'counter', 'pending', 1, 1, '2026-01-01', '2026-01-01', '2026-01-01')`,
		`update member set account_id = 99999999 where mrn = (select min(mrn) from member)`,
	},
	"journal_archives": {
		`insert into journal_month (month, file, entries, cents, sha256, archived_on) values (24300, 'journal-2025-01.csv.gz', 1, 100, '\x00', '2026-01-01')`,
	},
	"standings_told": {
		`update account set autopay = 'ended' where id = (select account_id from standing where item = 0 limit 1)`,
		`delete from standing where item = 0`,
		`update item set state = 'deferred' where (account_id, no) = (select account_id, no from item where state = 'unbilled' limit 1)`,
	},
	"items_agree_with_ledger": {
		`update item set cents = cents + 1 where account_id = 3 and no = 1`,
		`update receipt set unapplied = unapplied + 1 where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`update journal set cents = cents + 1 where account_id = 3 and no = 1`,
	},
	"items_agree_with_allocations": {
		`update item set paid = paid - 1 where (account_id, no) = (select account_id, item from allocation limit 1)`,
		`update allocation set cents = cents + 1 where (account_id, no) = (select account_id, no from allocation limit 1)`,
		`delete from item where (account_id, no) = (select account_id, item from allocation limit 1)`,
	},
	"receipts_agree_with_allocations": {
		`update receipt set refunded = refunded + 1 where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`update receipt set state = 'void' where (account_id, no) = (select account_id, receipt from allocation limit 1)`,
		`delete from receipt where (account_id, no) = (select account_id, receipt from allocation limit 1)`,
	},
	"statements_chain": {
		`update bill set previous = previous + 1, balance = balance + 1 where cycle = (select max(cycle) from bill) and account_id = 3`,
		`update bill set fees = fees + 1 where cycle = (select max(cycle) from bill) and account_id = 3`,
		`delete from bill where account_id = 3 and cycle = (select max(cycle) from bill)`,
	},
	"statement_balance": {
		`update bill set charges = charges + 1, balance = balance + 1 where account_id = 3 and cycle = (select max(cycle) from bill)`,
	},
	"statements_mailed_once": {
		`delete from print_piece where id = (select min(id) from print_piece)`,
		`update statement set delivery = 'paperless' where (account_id, cycle) = (select account_id, cycle from print_piece limit 1)`,
		`update statement set delivery = 'paper' where (account_id, cycle) = (select account_id, cycle from statement where delivery = 'paperless' limit 1)`,
		`insert into print_suppressed select account_id, cycle, 'cannot_be_drawn', made_on, '' from print_piece join print_bundle b on b.id = bundle_id limit 1`,
		`insert into print_queue (vendor, inserts, sheets, zip, account_id, cycle) select 'printer', '', 1, zip, account_id, cycle from print_piece limit 1`,
	},
	"bundles_add_up": {
		`update print_bundle set pieces = pieces + 1 where id = 1`,
		`update print_bundle set pages = pages + 2 where id = 1`,
		`update print_bundle set first_piece = first_piece + 1 where id = 1`,
		`update print_piece set place = place + 1 where id = (select max(id) from print_piece)`,
		`update print_piece set first_page = first_page + 2 where id = (select max(id) from print_piece)`,
		`update print_piece set pages = pages + 2 where id = (select max(id) from print_piece)`,
	},
	"pieces_of_statements": {
		`update print_piece set sha256 = '\x00' where id = 1`,
		`update print_piece set of_piece = 2 where id = 1`,
		`delete from statement where (account_id, cycle) = (select account_id, cycle from print_piece limit 1)`,
	},
	"bundles_as_sealed": {
		`update print_bundle set pdf_sha256 = '\x00' where id = 1`,
		`update print_bundle set csv_sha256 = '\x00' where id = 1`,
	},
	"piece_numbers_unique": {
		`update print_bundle set first_piece = 1 where id = 2`,
	},
	"statement_sealed": {
		`delete from statement where account_id = 3 and cycle = (select max(cycle) from bill)`,
	},
	"items_billed_once": {
		`update item set cycle = cycle + 100 where state = 'billed' and account_id = 3`,
	},
	"charges_have_their_entry": {
		`update item set entry = 0 where account_id = 3 and no = 1`,
		`update journal set doc = 999 where account_id = 3 and no = 1`,
		`update journal set what = 'adjustment' where account_id = 3 and no = 1`,
	},
	"fees_have_their_entry": {
		`delete from item where (account_id, no) = (select account_id, no from item where origin = 'late_fee' limit 1)`,
		`update item set entry = 1 where (account_id, no) = (select account_id, no from item where origin = 'late_fee' limit 1)`,
		`update item set ended = 'reversed' where (account_id, no) = (select account_id, no from item where origin = 'late_fee' and ended = '' limit 1)`,
	},
	"one_late_fee_per_bill": {
		`insert into item select (jsonb_populate_record(null::item, to_jsonb(i) || '{"no": 900}')).* from (select * from item i where origin = 'late_fee' and ended = '' limit 1) i`,
		`update item set for_cycle = 1 where (account_id, no) = (select account_id, no from item where origin = 'late_fee' and ended = '' limit 1)`,
	},
	"receipts_have_their_entry": {
		`update receipt set posted_entry = 0 where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`update receipt set cents = cents + 1 where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`delete from receipt where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`update receipt set state = 'returned' where (account_id, no) = (select account_id, no from receipt where state = 'posted' limit 1)`,
		`update receipt set state = 'posted' where (account_id, no) = (select account_id, no from receipt where state = 'returned' and posted_entry <> 0 limit 1)`,
	},
	"pending_money_on_the_books": {
		`update receipt set state = 'void' where (account_id, no) = (select account_id, no from receipt where state = 'pending' and channel = 'lockbox' limit 1)`,
		`update receipt set cents = cents + 1, unapplied = unapplied + 1 where (account_id, no) = (select account_id, no from receipt where state = 'pending' and channel = 'lockbox' limit 1)`,
	},
	"nothing_pending_past_its_date": {
		`update receipt set posts_on = arrived_on where (account_id, no) = (select account_id, no from receipt where state = 'pending' limit 1)`,
		// A missed night was run since, but none that brought this one in.
		`with missed as (update run set ended_at = 'infinity' where job = 'feeds' and day = (select min(day) from run))
			update receipt set posts_on = arrived_on where (account_id, no) = (select account_id, no from receipt where state = 'pending' and arrived_on > (select min(day) from run) limit 1)`,
		// The newest night took it in, and has posted since.
		`with again as (update run set ended_at = 'infinity' where job = 'feeds' and day = (select max(day) from run where job = 'post'))
			update receipt set arrived_on = newest, posts_on = newest from (select max(day) as newest from run where job = 'post') n
			where (account_id, no) = (select account_id, no from receipt where state = 'pending' limit 1)`,
	},
	"debits_have_a_receipt": {
		`update debit set cents = cents - 1 where (account_id, receipt) = (select account_id, receipt from debit limit 1)`,
		`delete from debit where (account_id, receipt) = (select account_id, receipt from debit limit 1)`,
		`delete from receipt where (account_id, no) = (select account_id, receipt from debit limit 1)`,
		`update debit set state = 'returned' where (account_id, receipt) = (select account_id, receipt from debit where state = 'built' limit 1)`,
	},
	"no_debit_without_authorization": {
		`update autopay_method set account_id = account_id + 1 where id = (select method_id from debit limit 1)`,
		`update autopay_method set authorized_on = '2030-01-01' where id = (select method_id from debit limit 1)`,
		`update autopay_method set ended_on = '2020-01-01' where id = (select method_id from debit limit 1)`,
		`update autopay_method set method = 'card' where id = (select method_id from debit limit 1)`,
		`delete from autopay_method where id = (select method_id from debit limit 1)`,
	},
	"no_debit_above_due": {
		`update debit set due_then = cents - 1 where (account_id, receipt) = (select account_id, receipt from debit limit 1)`,
	},
	"one_debit_per_attempt": {
		`insert into debit select (jsonb_populate_record(null::debit, to_jsonb(d) || '{"receipt": 900}')).* from (select * from debit where state <> 'withdrawn' limit 1) d`,
		`update debit set attempt = 1 where (account_id, receipt) = (select account_id, receipt from debit where attempt = 0 limit 1)`,
	},
	"no_debit_posted_unreleased": {
		`update ach_file set released_on = null where id = (select d.file_id from debit d join receipt r on r.account_id = d.account_id and r.no = d.receipt where r.posted_entry <> 0 limit 1)`,
		`update ach_file set released_on = effective_on where id = (select d.file_id from debit d join receipt r on r.account_id = d.account_id and r.no = d.receipt where r.posted_entry <> 0 limit 1)`,
		`update debit set file_id = null where (account_id, receipt) = (select r.account_id, r.no from receipt r where channel = 'ach' and posted_entry <> 0 limit 1)`,
	},
	"lockbox_files": {
		`update lockbox_file set cents = cents + 1 where id = (select id from lockbox_file where state = 'accepted' and items > 0 limit 1)`,
		`delete from lockbox_item where (file_id, ordinal) = (select i.file_id, i.ordinal from lockbox_item i join lockbox_file f on f.id = i.file_id where f.state = 'accepted' limit 1)`,
	},
	"lockbox_batches": {
		`update lockbox_batch set cents = cents + 1 where (file_id, ordinal) = (select file_id, ordinal from lockbox_batch where state = 'accepted' and items > 0 limit 1)`,
		`insert into lockbox_batch select (jsonb_populate_record(null::lockbox_batch, to_jsonb(b) || '{"file_id": 900}')).* from (select * from lockbox_batch where state = 'accepted' and items > 0 limit 1) b`,
	},
	"lockbox_twins": {
		`update lockbox_item set sole = false where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where sole limit 1)`,
		`update lockbox_item set state = 'refused', account_id = null where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where sole limit 1)`,
	},
	"lockbox_receipts": {
		`update receipt set check_item = check_item + 900 where (account_id, no) = (select account_id, no from receipt where check_file is not null limit 1)`,
		`update receipt set check_file = null where (account_id, no) = (select account_id, no from receipt where check_file is not null limit 1)`,
		`update lockbox_item set account_id = account_id + 1 where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where account_id is not null limit 1)`,
		`update lockbox_item set state = 'void', account_id = null where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where account_id is not null limit 1)`,
	},
	"lockbox_suspense": {
		`update lockbox_item set state = 'void' where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where state = 'suspense' limit 1)`,
		`update lockbox_item set entry = 900 where (file_id, ordinal) = (select file_id, ordinal from lockbox_item where state = 'suspense' limit 1)`,
		`update journal set cents = cents + 1 where account_id = 0 and what = 'suspense_in'`,
	},
	"ach_file_total": {
		`update ach_file set cents = cents + 1 where id = (select min(id) from ach_file)`,
		`update ach_file set entries = entries + 1 where id = (select min(id) from ach_file)`,
		`update debit set file_id = null where (account_id, receipt) = (select account_id, receipt from debit where file_id is not null limit 1)`,
	},
	"ach_other_file_total": {
		`insert into ach_file (kind, built_on, effective_on, maker, prenotes) values ('prenotes', '2026-03-02', '2026-03-03', 'system', 1)`,
		`insert into ach_file (kind, built_on, effective_on, maker, credit_cents) values ('reversals', '2026-03-02', '2026-03-03', 'pat', 1)`,
	},
	"no_debit_before_its_prenote": {
		`with e as (insert into ach_entry (trace, kind, account_id, method_id, cents, sec, built_on, effective_on) select 1, 'prenote', account_id, method_id, 0, sec, built_on, effective_on from debit where state = 'built' limit 1 returning method_id)
			update autopay_method m set debit_from = null from e where m.id = e.method_id`,
		`with e as (insert into ach_entry (trace, kind, account_id, method_id, cents, sec, built_on, effective_on) select 1, 'prenote', account_id, method_id, 0, sec, built_on, effective_on from debit where state = 'built' limit 1 returning method_id, effective_on)
			update autopay_method m set debit_from = e.effective_on + 1 from e where m.id = e.method_id`,
		`insert into ach_entry (trace, kind, account_id, method_id, cents, sec, built_on, effective_on, state, returned_on) select 1, 'prenote', account_id, method_id, 0, sec, '2026-01-01', '2026-01-02', 'returned', '2026-01-05' from debit where state = 'built' limit 1`,
	},
	"reversals_undo_one_debit": {
		`insert into ach_entry (trace, kind, account_id, method_id, receipt, cents, sec, built_on, effective_on, fault) select 1, 'reversal', account_id, method_id, receipt, cents + 1, sec, effective_on, effective_on + 1, 'amount' from debit where state = 'built' limit 1`,
		`insert into ach_entry (trace, kind, account_id, method_id, receipt, cents, sec, built_on, effective_on, fault) select 1, 'reversal', account_id, method_id, receipt, cents, sec, effective_on, effective_on + 10, 'date' from debit where state = 'built' limit 1`,
	},
	"ach_file_released_by_a_second_person": {
		`update ach_file set released_by = maker where id = (select min(id) from ach_file where state = 'released')`,
		`update ach_file set released_by = 'system', maker = 'pat' where id = (select min(id) from ach_file where state = 'released')`,
		`update ach_file set released_by = null where id = (select min(id) from ach_file where state = 'released')`,
		`update ach_file set hands = array[lower(released_by)] where id = (select min(id) from ach_file where state = 'released')`,
		`update ach_file set released_sha256 = '\x00' where id = (select min(id) from ach_file where state = 'released')`,
		`update ach_file set released_on = effective_on where id = (select min(id) from ach_file where state = 'released')`,
	},
	"ach_traces_single": {
		`update debit set trace = (select min(trace) from debit)`,
	},
	"ach_files_as_sealed": {
		`update ach_file_part set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) where file_id = (select min(id) from ach_file)`,
		`delete from ach_file_part where file_id = (select min(id) from ach_file)`,
		`update ach_file set sha256 = '\x00' where id = (select min(id) from ach_file)`,
		`update ach_file set name = 'other.ach' where id = (select min(id) from ach_file)`,
	},
	"statements_as_made": {
		`update statement set sha256 = '\x00' where account_id = 3 and cycle = (select max(cycle) from bill)`,
	},
	"outbox_as_sealed": {
		`update outbox_file set sha256 = '\x00' where id = (select min(id) from outbox_file where sha256 is not null)`,
		`update journal_line set account = account || '!' where (file, no) = (select file, no from journal_line order by 1, 2 limit 1)`,
		`update message set body = body || '!' where (account_id, cycle, kind, channel) = (select account_id, cycle, kind, channel from message limit 1)`,
	},
	"messages_have_a_bill": {
		`insert into message (account_id, cycle, kind, channel, queued_on, file_id, address, language, subject, body) values (3, 1, 'reminder', 'text', '2026-03-01', 1, '', 'en', '', '')`,
		`insert into message (account_id, cycle, kind, channel, queued_on, file_id, address, language, subject, body)
			select account_id, cycle, 'test', 'text', made_on - 1, 1, '', 'en', '', '' from bill where account_id = 3`,
	},
	"no_message_after_bounce": {
		`with m as (insert into message (account_id, cycle, kind, channel, queued_on, file_id, address, language, subject, body)
			select account_id, cycle, 'test', 'email', made_on + 1, 1, 'ann@example.com', 'en', '', '' from bill where account_id = 3 returning *)
			insert into bounced (account_id, channel, address, on_date, known_on, reason) select distinct account_id, channel, address, date '2026-01-01', date '2026-01-01', '' from m`,
	},
	"no_message_after_optout": {
		`with m as (insert into message (account_id, cycle, kind, channel, queued_on, file_id, address, language, subject, body)
			select account_id, cycle, 'test', 'text', made_on + 1, 1, '', 'en', '', '' from bill where account_id = 3 returning *)
			insert into preference (account_id, channel, opted_out_on) select distinct account_id, channel, date '2026-01-01' from m on conflict do nothing`,
	},
	"card_charges_have_a_receipt": {
		cardCharge + `, 'approved', 900)`,
	},
	"card_attempts_follow": {
		strings.Replace(cardCharge, "24312, 0", "24312, 1", 1) + `, 'asked', null)`,
	},
	"no_card_without_authorization": {
		cardCharge + `, 'asked', null)`,
	},
	"no_card_charge_above_due": {
		strings.Replace(cardCharge, "100, 100", "101, 100", 1) + `, 'asked', null)`,
	},
	"plans_add_up": {
		`insert into item select (jsonb_populate_record(null::item, to_jsonb(i) || '{"no": 900, "state": "deferred", "for_doc": 900}')).* from (select * from item where account_id = 3 limit 1) i`,
		`with p as (insert into plan (account_id, no, kind, cents, installments, billed, made_on, state) values (3, 900, 'premium', 1, 3, 0, '2026-02-01', 'running') returning *)
			update item set state = 'deferred', for_doc = 900 where account_id = 3 and no = 1`,
	},
	"one_premium_per_month": {
		`update item set origin = 'coverage', entry = 0 where account_id = 3 and no = 1`,
	},
	"coverage_periods_apart": {
		`insert into coverage (account_id, no, mrn, plan, start_on, monthly_cents, aptc_cents, charged_to, open)
			select 3, n, 'M', 'P', date '2026-01-01' + n, 100, 0, 24312, true from generate_series(901, 902) n`,
	},
	"remittances_were_dormant": {
		`insert into journal (account_id, no, posted_on, effective_on, what, debit, credit, cents, doc) values (3, 900, '2026-03-01', '2026-03-01', 'remittance', 'receivable', 'unclaimed', 1, 1)`,
	},
}

// cardCharge asks a card for money by a method of payment that nobody has.
const cardCharge = `insert into card_charge (account_id, cycle, attempt, cents, due_then, asked_on, received_on, method_id, file_id, answered_on, state, receipt)
	values (3, 24312, 0, 100, 100, '2026-02-01', '2026-02-01', 900, 1, '2026-02-02'`

func TestVerifyNamesWhatIsBroken(t *testing.T) {
	h, copyOf := lived(t)
	var proofs []jobs.Proof
	for _, prepare := range []string{`select 1`, undefended} {
		if _, err := h.DB.Exec(t.Context(), prepare); err != nil {
			t.Fatal(err)
		}
		var broken int
		var err error
		if proofs, broken, err = h.Verify(t.Context()); err != nil || broken > 0 {
			t.Fatalf("before anything is broken: %d broken, %v: %+v", broken, err, proofs)
		}
	}
	h.DB.(*pgxpool.Pool).Close() // a database that is copied has no guests
	var names []string
	for _, p := range proofs {
		names = append(names, p.Name)
		if len(breaks[p.Name]) == 0 {
			t.Errorf("nothing here breaks the invariant %s: an untested proof proves nothing", p.Name)
		}
		for n, sql := range breaks[p.Name] {
			t.Run(fmt.Sprintf("%s %d", p.Name, n+1), func(t *testing.T) {
				t.Parallel()
				h := h
				h.DB = copyOf(t)
				spoil(t, h.DB.(*pgxpool.Pool), sql)
				expectBroken(t, h, p.Name)
			})
		}
	}
	for name := range breaks {
		if !slices.Contains(names, name) {
			t.Errorf("there is no invariant %s any more", name)
		}
	}
	t.Run("statement on disk", func(t *testing.T) {
		h := h
		h.DB = copyOf(t)
		path := firstStatement(t, h)
		if err := os.WriteFile(path, []byte("%PDF-1.4"), 0o600); err != nil {
			t.Fatal(err)
		}
		expectBroken(t, h, "statements_as_made")
		if err := os.Remove(path); err != nil { // it can be made again
			t.Fatal(err)
		}
		if _, broken, err := h.Verify(t.Context()); broken > 0 || err != nil {
			t.Errorf("a statement that is not on disk: %d broken, %v", broken, err)
		}
	})
}

func expectBroken(t *testing.T, h jobs.House, name string) {
	t.Helper()
	proofs, broken, err := h.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, p := range proofs {
		if !p.Holds {
			counted++
		}
		if p.Name == name && (p.Holds || p.Rows == 0 || len(p.Examples) == 0) {
			t.Errorf("%s is said to hold: %+v", name, p)
		}
	}
	if counted != broken || broken == 0 {
		t.Errorf("%d invariants broken, %d counted", counted, broken)
	}
}

// undefended drops a database's checks and unique indexes.
const undefended = `do $$ declare c record; begin
	for c in select conrelid::regclass as t, conname from pg_constraint where contype = 'c' and conrelid <> 0 and connamespace = 'public'::regnamespace and coninhcount = 0 loop
		execute format('alter table %s drop constraint %I', c.t, c.conname);
	end loop;
	for c in select i.indexrelid::regclass as name from pg_index i join pg_class r on r.oid = i.indrelid where i.indisunique and r.relnamespace = 'public'::regnamespace
		and not exists (select from pg_constraint where conindid = i.indexrelid) loop
		execute format('drop index %s', c.name);
	end loop;
end $$`

// spoil changes rows behind the database's back; that must change some, or
// there was nothing to break.
func spoil(t *testing.T, db *pgxpool.Pool, sql string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `set local session_replication_role = replica`); err != nil {
			return err
		}
		done, err := tx.Exec(t.Context(), sql)
		if err == nil && done.RowsAffected() == 0 && !strings.HasPrefix(sql, "alter") && !strings.HasPrefix(sql, "drop") {
			err = fmt.Errorf("it changed nothing: the demo has nothing of the kind")
		}
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func firstStatement(t *testing.T, h jobs.House) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(h.Dir, "statements", "*", "*.pdf"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no statements: %v", err)
	}
	return paths[0]
}

// lived returns the house of a demo of two months, and what makes copies of its
// database.
func lived(t *testing.T) (h jobs.House, copyOf func(t *testing.T) *pgxpool.Pool) {
	t.Helper()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	policy := billing.DefaultPolicy()
	h = jobs.House{DB: postgrestest.New(t), Policy: &policy, Keys: keys, Dir: t.TempDir(), Operator: "system"}
	demo := rehearsal.Demo{Members: 60, Months: 2, Seed: 7, Start: rehearsal.DemoStart}
	if _, err := demo.Live(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	config := h.DB.(*pgxpool.Pool).Config()
	administer := func(t *testing.T, sql string) {
		t.Helper()
		admin := config.ConnConfig.Copy()
		admin.Database = "postgres"
		conn, err := pgx.ConnectConfig(context.Background(), admin)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return h, func(t *testing.T) *pgxpool.Pool {
		t.Helper()
		name := "billcycle_test_" + strings.ToLower(rand.Text()[:12])
		administer(t, "create database "+name+" template "+config.ConnConfig.Database)
		copied := config.Copy()
		copied.ConnConfig.Database = name
		pool, err := pgxpool.NewWithConfig(context.Background(), copied)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			pool.Close()
			administer(t, "drop database "+name+" with (force)")
		})
		return pool
	}
}

// A missed night that is run after later ones takes in money whose posting date
// they have worked on. It posts in the next one; until then the books hold.
func TestMissedNightAfterLaterOnes(t *testing.T) {
	b := newBiller(t, 1)
	b.night("2026-03-01")
	b.night("2026-03-04")
	b.put("payments/late.csv", "payment_id,mrn,received,channel,amount_cents\nX1,"+mrn(0)+",2026-03-03,online,100\n")
	if _, err := (jobs.Runner{House: b.House}).Run(t.Context(), "feeds", day("2026-03-02")); err != nil {
		t.Fatal(err)
	}
	b.holds()
	if _, err := b.DB.Exec(t.Context(), `update run set state = 'running' where job = 'feeds' and day = '2026-03-02'`); err != nil { // killed, once it had taken them in
		t.Fatal(err)
	}
	b.holds()
	b.night("2026-03-02")
	b.holds()
	if r := b.night("2026-03-05")["post"]; r.Done != 1 {
		t.Errorf("the next night came to %+v", r)
	}
	b.holds()
}
