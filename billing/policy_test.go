package billing

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

func TestPolicyRefusals(t *testing.T) {
	for _, c := range []struct{ policy, path, says string }{
		{`[]`, "(top)", "want an object"},
		{`{"late_fee": {}} {}`, "(top)", "after its last brace"},
		{`{"late_fee": {"cents": }}`, "late_fee", "not JSON"},
		{`{"colour": 1}`, "colour", "no such key; there are time_zone, statement, "},
		{`{"late_fee": {"grace_dayz": 5}}`, "late_fee.grace_dayz", "no such key; there are kind, cents, percent, min_cents, max_cents, grace_days, minimum_base_cents"},
		{`{"late_fee": {"grace_days": 5, "grace_days": 6}}`, "late_fee.grace_days", "given twice"},
		{`{"late_fee": 5}`, "late_fee", "want an object {...}, found 5"},
		{`{"late_fee": {"cents": "1000"}}`, "late_fee.cents", `"1000" can't be used here: want a whole number`},
		{`{"late_fee": {"cents": 10.5}}`, "late_fee.cents", "want a whole number"},
		{`{"late_fee": {"cents": null}}`, "late_fee.cents", "null can't be used here"},
		{`{"late_fee": {"cents": 1e30}}`, "late_fee.cents", "want a whole number"},
		{`{"late_fee": {"cents": 100000001}}`, "late_fee.cents", "not between"},
		{`{"late_fee": {"percent": 1.5}}`, "late_fee.percent", "want a text"},
		{`{"late_fee": {"percent": "-1"}}`, "late_fee.percent", "not a percentage"},
		{`{"late_fee": {"percent": "150"}}`, "late_fee.percent", "more than the whole"},
		{`{"late_fee": {"kind": "none"}}`, "late_fee.kind", "neither flat nor percent"},
		{`{"late_fee": {"min_cents": 500, "max_cents": 499}}`, "late_fee.max_cents", "below min_cents 500"},
		{`{"late_fee": {"grace_days": -1}}`, "late_fee.grace_days", "not between 0 and 365"},
		{`{"statement": {"cut_day": 29}}`, "statement.cut_day", "not between 1 and 28"},
		{`{"statement": {"cut_day": 25}}`, "statement.due_day", "not after the cut day, 25"},
		{`{"statement": {"due_day": 32}}`, "statement.due_day", "at most 31"},
		{`{"statement": {"aging_days": [30, 60]}}`, "statement.aging_days", "a list of 3"},
		{`{"statement": {"aging_days": [30, 60, 90, 120]}}`, "statement.aging_days", "a list of 3"},
		{`{"statement": {"aging_days": [30, 30, 90]}}`, "statement.aging_days", "does not rise"},
		{`{"returned_payment_fee_cents": -1}`, "returned_payment_fee_cents", "not between"},
		{`{"time_zone": "Mars/Olympus"}`, "time_zone", "not a time zone"},
		{`{"allocation": {"order": ["fee", "fee", "medical"]}}`, "allocation.order", "each once"},
		{`{"ach": {"retries": 3}}`, "ach.retries", "not between 0 and 2"},
		{`{"ach": {"retry_after_banking_days": [3]}}`, "ach.retry_after_banking_days", "2 retries need"},
		{`{"ach": {"retry_codes": ["R1"]}}`, "ach.retry_codes", "not a return code"},
		{`{"ach": {"off_codes": ["R01"]}}`, "ach.off_codes", "in retry_codes already"},
		{`{"ach": {"max_entries_per_file": -1}}`, "ach.max_entries_per_file", "below 0"},
		{`{"ach": {"balanced": "yes"}}`, "ach.balanced", "true or false"},
		{`{"ach": {"max_cents_per_file_cents": -1}}`, "ach.max_cents_per_file_cents", "below 0"},
		{`{"ach": {"balanced": true}}`, "company.offset_account", "our own account"},
		{`{"ach": {"balanced": true}, "company": {"offset_account": "123456789012345678"}}`, "company.offset_account", "1 to 17"},
		{`{"ach": {"balanced": true}, "company": {"offset_account": "12_34"}}`, "company.offset_account", "1 to 17"},
		{`{"company": {"name": "SEVENTEEN LETTERS"}}`, "company.name", "17 characters"},
		{`{"company": {"name": ""}}`, "company.name", "is empty or zeros"},
		{`{"company": {"name": "CAFÉ"}}`, "company.name", "ASCII"},
		{`{"company": {"name": " MEMBER"}}`, "company.name", "begins or ends with a blank"},
		{`{"company": {"id": "12345678901"}}`, "company.id", "11 characters"},
		{`{"company": {"id": "0000000000"}}`, "company.id", "is empty or zeros"},
		{`{"company": {"entry_description": "INSTALLMENT"}}`, "company.entry_description", "11 characters"},
		{`{"company": {"entry_description": "REVERSAL"}}`, "company.entry_description", "PREMIUM"},
		{`{"company": {"entry_description": "RETRY PYMT"}}`, "company.entry_description", "PREMIUM"},
		{`{"company": {"odfi": "121000359"}}`, "company.odfi", "check digit"},
		{`{"company": {"odfi": "12100035"}}`, "company.odfi", "9 digits"},
		{`{"company": {"odfi_name": "FIRST EXAMPLE BANK OF LODI"}}`, "company.odfi_name", "26 characters"},
		{`{"company": {"origin": "12345678"}}`, "company.origin", "9 or 10"},
		{`{"company": {"origin": "1234 56789"}}`, "company.origin", "9 or 10"},
		{`{"company": {"origin": "000000000"}}`, "company.origin", "zeros"},
		{`{"reminder": {"channels": ["fax"]}}`, "reminder.channels", "text and email"},
		{`{"reminder": {"first_days_before": 5}}`, "reminder.last_days_before", "not between 0 and 5"},
		{`{"grace": {"claims_paid_months": 4}}`, "grace.claims_paid_months", "not between 0 and 3"},
		{`{"dormancy": {"report_month": 13}}`, "dormancy.report_month", "not between 1 and 12"},
		{`{"lockboxes": [{"lockbox": "1"}, {"box": "2"}]}`, "lockboxes[1].box", "no such key"},
		{`{"lockboxes": {}}`, "lockboxes", "want a list"},
		{`{"journal": {"accounts": {"petty_cash": "1"}}}`, "journal.accounts.petty_cash", "no such account; the ledger has receivable"},
		{`{"journal": {"accounts": {"cash": 1010}}}`, "journal.accounts.cash", "want a text"},
		{`{"journal": {"accounts": {"cash": ""}}}`, "journal.accounts.cash", "1 to 40"},

		{`{"policies": {}}`, "policies", "want a list"},
		{`{"policies": [5]}`, "policies[0]", "want an object"},
		{`{"policies": [{"from": "2026-02-30", "late_fee": {"cents": 1}}]}`, "policies[0].from", "want a date such as 2026-07-01"},
		{`{"policies": [{"from": "2026-07-01"}]}`, "policies[0]", "changes nothing"},
		{`{"policies": [{"from": "2026-07-01", "late_fee": {"cent": 1}}]}`, "policies[0].late_fee.cent", "no such key"},
		{`{"policies": [{"until": "2026-07-01", "late_fee": {"cents": 1}}]}`, "policies[0].until", "no such key"},
		{`{"policies": [{"for": {}, "late_fee": {"cents": 1}}]}`, "policies[0].for", "neither plans nor states"},
		{`{"policies": [{"for": {"counties": ["X"]}, "late_fee": {"cents": 1}}]}`, "policies[0].for.counties", "no such key; there are plans, states"},
		{`{"policies": [{"for": {"states": ["CA", "Nevada"]}, "late_fee": {"cents": 1}}]}`, "policies[0].for.states[1]", "two capital letters"},
		{`{"policies": [{"for": {"plans": [""]}, "late_fee": {"cents": 1}}]}`, "policies[0].for.plans[0]", "has a name"},
		{`{"policies": [{"for": {"states": ["CA"]}, "lockbox": {"posting_days": 3}}]}`, "policies[0].lockbox", "the same for everybody"},
		{`{"policies": [{"from": "2026-07-01", "biller": {"name": "X"}}]}`, "policies[0].biller", "whole house"},
		{`{"policies": [{"from": "2026-07-01", "ach": {"balanced": true}}]}`, "policies[0].ach.balanced", "whole house"},
		{`{"policies": [{"from": "2026-07-01", "late_fee": {"cents": 1}}, {"from": "2026-07-01", "late_fee": {"cents": 2}}]}`, "policies[1]", "from the same day for some of the same accounts as policies[0]"},
		{`{"policies": [{"for": {"states": ["CA", "NV"]}, "late_fee": {"cents": 1}}, {"for": {"states": ["NV"]}, "late_fee": {"cents": 2}}]}`, "policies[1]", "as policies[0]"},
		// What each says is possible, and together they are not.
		{`{"policies": [{"from": "2026-07-01", "statement": {"due_day": 20}}, {"for": {"states": ["CA"]}, "statement": {"cut_day": 21}}]}`, "policies[0].statement.due_day", "20 is not after the cut day, 21"},
		{`{"statement": {"cut_day": 10}, "policies": [{"from": "2026-07-01", "statement": {"due_day": 5}}]}`, "policies[0].statement.due_day", "not after the cut day, 10"},
	} {
		_, err := ParsePolicy([]byte(c.policy))
		refused, ok := err.(*PolicyError)
		if !ok || refused.Path != c.path || !strings.Contains(refused.Says, c.says) {
			t.Errorf("%s\n gave %v\n want %s: ... %s", c.policy, err, c.path, c.says)
		}
	}
	if _, err := LoadPolicy(filepath.Join(t.TempDir(), "none.json")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there gave %v", err)
	}
	if _, err := ParsePolicy([]byte(`{"ach": {"balanced": true}, "company": {"offset_account": "00-12 34", "odfi_name": ""}}`)); err != nil {
		t.Errorf("a balanced policy: %v", err)
	}
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(file); err == nil || !strings.Contains(err.Error(), "the file is empty") {
		t.Errorf("an empty file gave %v", err)
	}
}

// family is a policy file with a policy of every kind of choice.
const family = `{
	"late_fee": {"cents": 1},
	"policies": [
		{"from": "2026-07-01", "late_fee": {"cents": 2}, "lockbox": {"posting_days": 5}},
		{"from": "2026-03-01", "late_fee": {"cents": 3, "grace_days": 9}, "ach": {"retry_codes": ["R01"]}},
		{"for": {"states": ["CA", "NV"]}, "late_fee": {"cents": 4}},
		{"from": "2026-08-01", "for": {"states": ["NV"]}, "late_fee": {"cents": 5}},
		{"from": "2026-09-01", "for": {"plans": ["GOLD"]}, "late_fee": {"cents": 6}},
		{"from": "2026-09-01", "for": {"plans": ["GOLD"], "states": ["CA"]}, "late_fee": {"cents": 7}}
	]
}`

func TestWhichPolicyIsInForce(t *testing.T) {
	p, err := ParsePolicy([]byte(family))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		on    string
		who   Subject
		cents ledger.Cents
		grace int
		codes int
	}{
		{"2026-02-28", Subject{}, 1, 5, 2},
		{"2026-03-01", Subject{}, 3, 9, 1},
		{"2026-06-30", Subject{State: "OR"}, 3, 9, 1},
		{"2026-07-01", Subject{}, 2, 9, 1}, // what July does not change stays as of March
		{"2026-02-28", Subject{State: "CA"}, 4, 5, 2},
		{"2026-07-01", Subject{State: "CA"}, 4, 9, 1}, // the closer choice, though the other is newer
		{"2026-07-31", Subject{State: "NV"}, 4, 9, 1},
		{"2026-08-01", Subject{State: "NV"}, 5, 9, 1},
		{"2026-08-31", Subject{Plan: "GOLD"}, 2, 9, 1},
		{"2026-09-01", Subject{Plan: "GOLD"}, 6, 9, 1},
		{"2026-09-01", Subject{Plan: "GOLD", State: "NV"}, 6, 9, 1},
		{"2026-09-01", Subject{Plan: "GOLD", State: "CA"}, 7, 9, 1},
		{"2026-09-01", Subject{Plan: "SILVER", State: "CA"}, 4, 9, 1},
	} {
		q := p.For(calendar.MustParse(c.on), c.who)
		if q.LateFee.Cents != c.cents || q.LateFee.GraceDays != c.grace || len(q.ACH.RetryCodes) != c.codes {
			t.Errorf("on %s for %+v: fee %d, grace %d, retry codes %v; want %d, %d, %d of them", c.on, c.who, q.LateFee.Cents, q.LateFee.GraceDays, q.ACH.RetryCodes, c.cents, c.grace, c.codes)
		}
	}
	if on := p.PostsOn(calendar.MustParse("2026-06-29")); on != calendar.MustParse("2026-07-06") {
		t.Errorf("a check of 29 June posts on %s", on)
	}
	if on := p.PostsOn(calendar.MustParse("2026-07-01")); on != calendar.MustParse("2026-07-06") {
		t.Errorf("a check of 1 July posts on %s", on)
	}
	if least, most := p.Widest(func(p *Policy) int { return int(p.LateFee.Cents) }); least != 1 || most != 7 {
		t.Errorf("the fees are said to lie between %d and %d", least, most)
	}
}

// One policy asks nothing of anybody: For is the policy itself.
func TestOnePolicyIsAlwaysInForce(t *testing.T) {
	for _, text := range []string{"", "{}", `{"policies": []}`, `{"late_fee": {"cents": 1}}`} {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if p.For(1, Subject{"GOLD", "CA"}) != &p || p.selects() || len(p.All()) != 1 {
			t.Errorf("%q is not one policy", text)
		}
	}
}

// Whatever days and choices a file has, the policy in force is what laying the
// fitting ones over the top one by one gives, in order of closeness and day.
func TestPoliciesLayOverEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type layer struct {
			from, rank, cents int
			plan, state       string
		}
		var layers []layer
		var texts []string
		for n := range rapid.IntRange(1, 20).Draw(t, "policies") {
			l := layer{rapid.IntRange(1, 28).Draw(t, "from"), 0, n + 10, rapid.SampledFrom([]string{"", "A", "B"}).Draw(t, "plan"), rapid.SampledFrom([]string{"", "CA", "NV"}).Draw(t, "state")}
			choice := []string{}
			if l.plan != "" {
				choice, l.rank = append(choice, fmt.Sprintf(`"plans": [%q]`, l.plan)), l.rank+2
			}
			if l.state != "" {
				choice, l.rank = append(choice, fmt.Sprintf(`"states": [%q]`, l.state)), l.rank+1
			}
			for_ := ""
			if len(choice) > 0 {
				for_ = `"for": {` + strings.Join(choice, ", ") + `}, `
			}
			layers = append(layers, l)
			texts = append(texts, fmt.Sprintf(`{"from": "2026-01-%02d", %s"late_fee": {"cents": %d}}`, l.from, for_, l.cents))
		}
		p, err := ParsePolicy([]byte(`{"policies": [` + strings.Join(texts, ", ") + `]}`))
		if err != nil {
			if !strings.Contains(err.Error(), "same day") {
				t.Fatal(err)
			}
			return // two of them are for the same accounts from the same day
		}
		day := rapid.IntRange(1, 28).Draw(t, "day")
		who := Subject{rapid.SampledFrom([]string{"", "A", "B", "C"}).Draw(t, "his plan"), rapid.SampledFrom([]string{"", "CA", "NV", "OR"}).Draw(t, "his state")}
		best := layer{rank: -1, cents: 1000}
		for _, l := range layers {
			if l.from <= day && (l.plan == "" || l.plan == who.Plan) && (l.state == "" || l.state == who.State) && (l.rank > best.rank || l.rank == best.rank && l.from > best.from) {
				best = l
			}
		}
		if got := p.For(calendar.Of(2026, 1, day), who).LateFee.Cents; got != ledger.Cents(best.cents) {
			t.Fatalf("on day %d for %+v the fee is %d, want %d", day, who, got, best.cents)
		}
	})
}

func TestCutDayThatMoves(t *testing.T) {
	for _, c := range []struct{ from, cut, due, march, april, dueMarch string }{
		{"2026-03-10", "15", "25", "2026-03-01", "2026-04-15", "2026-03-25"}, // cut already when it begins
		{"2026-03-01", "15", "25", "2026-03-15", "2026-04-15", "2026-03-25"},
		{"2026-02-10", "15", "28", "2026-03-15", "2026-04-15", "2026-03-30"},
	} {
		p, err := ParsePolicy([]byte(fmt.Sprintf(`{"policies": [{"from": %q, "statement": {"cut_day": %s, "due_day": %s}}]}`, c.from, c.cut, c.due)))
		if err != nil {
			t.Fatal(err)
		}
		expectCuts(t, &p, c.march, c.april, c.dueMarch)
	}
	// From a late cut day to an early one: the day it begins is the first on
	// which the cut day has come, and nothing is due before it is billed.
	for _, c := range []struct{ from, march, dueMarch string }{
		{"2026-03-10", "2026-03-10", "2026-03-16"}, {"2026-03-18", "2026-03-18", "2026-04-15"},
	} {
		p, err := ParsePolicy([]byte(fmt.Sprintf(`{"statement": {"cut_day": 20, "due_day": 28}, "policies": [{"from": %q, "statement": {"cut_day": 1, "due_day": 15}}]}`, c.from)))
		if err != nil {
			t.Fatal(err)
		}
		expectCuts(t, &p, c.march, "2026-04-01", c.dueMarch)
	}
}

// expectCuts bills an account every day of March and April 2026.
func expectCuts(t *testing.T, p *Policy, march, april, dueMarch string) {
	t.Helper()
	a := NewAccount(1, "1", 1)
	a.Charge(p, calendar.MustParse("2026-02-28"), Premium, 10000, Detail{})
	for day := calendar.MustParse("2026-03-01"); day < calendar.MustParse("2026-05-01"); day++ {
		a.Cut(p, day)
	}
	if len(a.Bills) != 2 || a.Bills[0].CutOn.String() != march || a.Bills[0].MadeOn.String() != march || a.Bills[1].CutOn.String() != april || a.Bills[0].DueOn.String() != dueMarch {
		var got []string
		for _, b := range a.Bills {
			got = append(got, fmt.Sprintf("cut on %s, made on %s, due on %s", b.CutOn, b.MadeOn, b.DueOn))
		}
		t.Errorf("bills %v; want cuts on %s and %s, the first due on %s", got, march, april, dueMarch)
	}
}
