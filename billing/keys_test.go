package billing_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// Every business document has a key that exists once. The code asks before it
// writes, so that most tests would not notice if a key were gone; two programs
// at the same moment would.
func TestDocumentsHaveTheirKeys(t *testing.T) {
	db := postgrestest.New(t)
	rows, err := db.Query(t.Context(), `select c.relname || ' ' || regexp_replace(regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING btree ', ''), '\s+', ' ', 'g')
		from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace where i.indisunique and n.nspname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	have, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"bill (account_id, cycle)",
		"statement (account_id, cycle)",
		"item (account_id, no)",
		"item (charge_id) WHERE (charge_id IS NOT NULL)",
		"item (account_id, for_cycle) WHERE ((origin = 'late_fee'::text) AND (ended = ''::text))",
		"adjustment (charge_id)",
		"payment (payment_id)",
		"receipt (account_id, no)",
		"allocation (account_id, no)",
		"journal (account_id, no, posted_on)", // the month is its partition; verify proves the rest
		"debit (account_id, cycle, attempt, ( CASE WHEN (state = 'withdrawn'::text) THEN receipt ELSE 0 END))", // one that is not withdrawn
		"ach_file (built_on, modifier)",
		"ach_answer (sha256, ordinal)",
		"card_charge (account_id, cycle, attempt)",
		"card_charge (account_id) WHERE (state = 'asked'::text)",
		"lockbox_file (sha256)",
		"lockbox_file (canonical) WHERE (state = 'accepted'::text)",
		"lockbox_item (file_id, ordinal)",
		"lockbox_item (micr) WITH (deduplicate_items=off) WHERE sole",
		"lockbox_share (file_id, ordinal, coupon)",
		"message (account_id, cycle, kind, channel)",
		"coverage (mrn, plan, start_on)",
		"dormant (account_id, receipt, arose_on)",
		"feed_file (sha256)",
		"run (job, day)",
		"member (mrn) INCLUDE (account_id)",
		"account (mrn)",
	} {
		if !slices.Contains(have, key) {
			t.Errorf("there is no key %s", key)
		}
	}
	if t.Failed() {
		slices.Sort(have)
		t.Logf("there are %q", have)
	}
}
