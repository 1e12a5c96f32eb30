package billing_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// desk imports files into a database of its own, as the nightly run does.
type desk struct {
	*testing.T
	db *pgxpool.Pool
	im billing.Import
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	p := billing.DefaultPolicy()
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, postgrestest.New(t), billing.Import{Policy: &p, Day: day("2026-03-02"), Operator: "system", Keys: keys}}
}

// take imports a file of lines, the header first.
func (d *desk) take(feed string, lines ...string) (billing.Imported, error) {
	d.Helper()
	file := strings.NewReader(strings.Join(lines, "\n") + "\n")
	switch feed {
	case "members":
		return d.im.Members(d.Context(), d.db, file)
	case "charges":
		return d.im.Charges(d.Context(), d.db, file)
	case "coverage":
		return d.im.Coverage(d.Context(), d.db, file)
	case "payments":
		return d.im.Payments(d.Context(), d.db, file)
	}
	return d.im.Autopay(d.Context(), d.db, file)
}

// takes imports a file that must be accepted, with these counts.
func (d *desk) takes(feed string, accepted, unchanged int, lines ...string) billing.Imported {
	d.Helper()
	got, err := d.take(feed, lines...)
	if err != nil || got.Accepted != accepted || got.Unchanged != unchanged || got.Refused != 0 {
		d.Fatalf("%s: %+v, error %v; want %d accepted, %d unchanged", feed, got, err, accepted, unchanged)
	}
	return got
}

// refuses imports a file that must be refused whole and change nothing; then in
// part, where the bad lines alone must be left out. Each problem is written as
// "line field: words it holds".
func (d *desk) refuses(feed string, problems []string, lines ...string) {
	d.Helper()
	before := d.snapshot()
	got, err := d.take(feed, lines...)
	if !errors.Is(err, billing.ErrRefused) || got.Accepted != 0 || got.Unchanged != 0 || got.Refused != got.Rows || got.Cents != 0 {
		d.Errorf("%s: %+v, error %v; want it refused whole", feed, got, err)
	}
	d.names(got.Problems, problems)
	if d.snapshot() != before {
		d.Errorf("%s: a refused file changed the database", feed)
	}
	partial := *d
	partial.im.Partial = true
	got, err = partial.take(feed, lines...)
	bad := map[int]bool{}
	for _, p := range got.Problems {
		bad[p.Line] = true
	}
	if err != nil || got.Rows != got.Accepted+got.Unchanged+got.Refused || got.Refused != len(bad) {
		d.Errorf("%s in part: %+v, error %v", feed, got, err)
	}
	d.names(got.Problems, problems)
	if got.Accepted == 0 && d.snapshot() != before {
		d.Errorf("%s in part: nothing was accepted, and yet the database changed", feed)
	}
}

func (d *desk) names(got []billing.Problem, want []string) {
	d.Helper()
	if len(got) != len(want) {
		d.Errorf("problems %+v; want %q", got, want)
		return
	}
	for i, p := range got {
		head, says, _ := strings.Cut(want[i], ": ")
		if fmt.Sprintf("%d %s", p.Line, p.Field) != head || !strings.Contains(p.Problem, says) {
			d.Errorf("problem %+v; want %q", p, want[i])
		}
	}
}

// snapshot is everything that a feed can change, the rows' versions included.
func (d *desk) snapshot() string {
	d.Helper()
	var all strings.Builder
	for _, table := range []string{"account", "member", "hold", "item", "receipt", "allocation", "journal", "payment", "adjustment", "autopay_method", "act", "exception", "coverage", "plan"} {
		var rows string
		if err := d.db.QueryRow(d.Context(), `select coalesce(string_agg(xmin::text || t::text, E'\n' order by ctid), '') from `+table+` t`).Scan(&rows); err != nil {
			d.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, rows)
	}
	return all.String()
}

// ask returns one value from the database as text.
func (d *desk) ask(sql string, args ...any) string {
	d.Helper()
	var s string
	if err := d.db.QueryRow(d.Context(), `select coalesce((`+sql+`)::text, '')`, args...).Scan(&s); err != nil {
		d.Fatalf("%s: %v", sql, err)
	}
	return s
}

func (d *desk) wants(sql, want string) {
	d.Helper()
	if got := d.ask(sql); got != want {
		d.Errorf("%s: %q, want %q", sql, got, want)
	}
}

// invariants checks that the books still hold.
func (d *desk) invariants() {
	d.Helper()
	for _, inv := range ledger.Invariants {
		d.wants("select count(*) from ("+inv.SQL+") x", "0")
	}
}

const memberHeader = "mrn,guarantor_mrn,first_name,last_name,birth_date,address1,address2,city,state,zip,email,phone,language,delivery,deceased_on"

var ann, ben, cleo = string(billing.NewMRN(1)), string(billing.NewMRN(2)), string(billing.NewMRN(3))

// person is a line of members.csv of somebody who can be mailed to.
func person(mrn, guarantor, first string) string {
	return mrn + "," + guarantor + "," + first + ",Example,1980-05-06,1 Main St,,Oakland,CA,94601,a@example.org,5105550100,en,paper,"
}

func TestMembers(t *testing.T) {
	d := newDesk(t)
	lines := []string{memberHeader, person(cleo, ben, "Cleo"), person(ben, ben, "Ben"), person(ann, ann, "Ann")}
	d.takes("members", 3, 0, lines...)
	d.wants(`select string_agg(id || ' ' || mrn || ' ' || opened_on, ', ' order by id) from account where id > 0`, "1 "+ben+" 2026-03-02, 2 "+ann+" 2026-03-02")
	d.wants(`select string_agg(first_name || ' ' || account_id, ', ' order by mrn) from member`, "Ann 2, Ben 1, Cleo 1")
	before := d.snapshot()
	d.im.Day++
	d.takes("members", 0, 3, lines...)
	if d.snapshot() != before {
		t.Error("the same file again changed something")
	}
	// Cleo gets an account of her own, Ann another name; Ben stays.
	lines[1], lines[3] = person(cleo, cleo, "Cleo"), person(ann, ann, "Anna")
	d.takes("members", 2, 1, lines...)
	d.wants(`select string_agg(first_name || ' ' || account_id, ', ' order by mrn) from member`, "Anna 2, Ben 1, Cleo 3")
	// A guarantor known before needn't be in the file.
	d.takes("members", 1, 0, memberHeader, person(string(billing.NewMRN(4)), ann, "Dora"))
}

// What a file needn't say is empty, English and on paper.
func TestMembersInShort(t *testing.T) {
	d := newDesk(t)
	short := []string{"delivery,last_name,first_name,guarantor_mrn,mrn", ",Example,Ann," + ann + "," + ann}
	d.takes("members", 1, 0, short...)
	d.wants(`select delivery || language || email || coalesce(birth_date::text, 'unborn') from member`, "paperenunborn")
	d.takes("members", 0, 1, short...)
}

func TestMembersRefused(t *testing.T) {
	dora, eve := string(billing.NewMRN(4)), string(billing.NewMRN(5))
	for _, c := range []struct {
		name     string
		lines    []string
		problems []string
	}{
		{"unknown guarantor", []string{person(ann, ann, "Ann"), person(ben, cleo, "Ben")}, []string{"3 guarantor_mrn: the guarantor " + cleo + " is no member"}},
		{"those who hang on one that goes", []string{person(ben, ann, "Ben"), person(ann, cleo, "Ann"), person(dora, ben, "Dora"), person(eve, eve, "Eve")},
			[]string{"2 guarantor_mrn: " + ann, "3 guarantor_mrn: " + cleo, "4 guarantor_mrn: " + ben}},
		{"a guarantor whose line is bad", []string{person(ann, ann, ""), person(ben, ann, "Ben")}, []string{"2 first_name: is empty", "3 guarantor_mrn: not on a good line"}},
		{"one MRN, two contents", []string{person(ann, ann, "Ann"), person(ben, ben, "Ben"), person(ann, ann, "Anna")}, []string{"2 mrn: lines 2, 4", "4 mrn: lines 2, 4"}},
		{"one MRN, two guarantors", []string{person(ann, ann, "Ann"), person(ann, ben, "Ann"), person(ben, ben, "Ben")}, []string{"2 mrn: lines 2, 3", "3 mrn: lines 2, 3"}},
		{"delivery", []string{strings.Replace(person(ann, ann, "Ann"), "paper", "pigeon", 1)}, []string{`2 delivery: "pigeon" is not one of paper, paperless`}},
		{"long name", []string{person(ann, ann, strings.Repeat("A", 101))}, []string{"2 first_name: 101 characters"}},
		{"birth date", []string{strings.Replace(person(ann, ann, "Ann"), "1980", "1880", 1)}, []string{"2 birth_date: plausible"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			newDesk(t).refuses("members", c.problems, slices.Insert(c.lines, 0, memberHeader)...)
		})
	}
}

func TestMemberTwiceTheSame(t *testing.T) {
	d := newDesk(t)
	d.takes("members", 1, 2, memberHeader, person(ann, ann, "Ann"), person(ann, ann, "Ann"), person(ann, ann, "Ann"))
}

// In part, the good lines of a file are taken.
func TestMembersInPart(t *testing.T) {
	d := newDesk(t)
	d.im.Partial, d.im.Operator = true, "olga"
	got, err := d.take("members", memberHeader, person(ann, ann, "Ann"), "no member", person(ben, cleo, "Ben"))
	if err != nil || got.Rows != 3 || got.Accepted != 1 || got.Refused != 2 || len(got.Problems) != 2 {
		t.Errorf("%+v, error %v", got, err)
	}
	d.wants(`select string_agg(mrn, ',') from member`, ann)
	d.wants(`select operator || ': ' || verb || ' ' || (detail->>'accepted') from act`, "olga: import members 1")
}

// POLICY section 9: who has died, or can't be mailed to, is on hold until that
// is mended.
func TestAutomaticHolds(t *testing.T) {
	d := newDesk(t)
	noZIP := strings.Replace(person(ann, ann, "Ann"), "94601", "", 1)
	dead := person(ben, ben, "Ben") + "2026-02-01"
	child := strings.Replace(person(cleo, ben, "Cleo"), "1 Main St", "", 1) // not the guarantor
	holds := `select string_agg(account_id || ' ' || reason || ' ' || placed_on || ' ' || placed_by || coalesce(' to ' || released_on || ' ' || released_by, ''), ', ' order by account_id, no) from hold where automatic`
	d.takes("members", 3, 0, memberHeader, noZIP, dead, child)
	d.wants(holds, "1 bad_address 2026-03-02 system, 2 deceased 2026-03-02 system")
	d.im.Day++
	d.takes("members", 0, 3, memberHeader, noZIP, dead, child)
	d.wants(holds, "1 bad_address 2026-03-02 system, 2 deceased 2026-03-02 system")
	d.takes("members", 2, 1, memberHeader, strings.Replace(noZIP, "paper", "paperless", 1), person(ben, ben, "Ben"), child)
	d.wants(holds, "1 bad_address 2026-03-02 system to 2026-03-03 system, 2 deceased 2026-03-02 system to 2026-03-03 system")
	d.wants(`select string_agg(id::text, ',' order by id) from account where relook`, "1,2")
	d.takes("members", 1, 0, memberHeader, noZIP)
	d.wants(holds+` and released_on is null`, "1 bad_address 2026-03-03 system")
}

// A hold that a person placed is not the feed's to release.
func TestPlacedHoldStays(t *testing.T) {
	d := newDesk(t)
	d.takes("members", 1, 0, memberHeader, person(ann, ann, "Ann"))
	change(t, d.db, 1, billing.OpenOnly, func(a *billing.Account) { a.Place(d.im.Day, "bad_address", "olga", "mail came back", false) })
	before := d.snapshot()
	d.takes("members", 0, 1, memberHeader, person(ann, ann, "Ann"))
	if d.snapshot() != before {
		t.Error("the feed changed an operator's hold")
	}
}

// Two imports of one file at once apply it once.
func TestTwoImportsAtOnce(t *testing.T) {
	d := newDesk(t)
	members, charges, payments := []string{memberHeader}, []string{chargesHeader}, []string{paymentsHeader}
	for i := range 500 {
		mrn := string(billing.NewMRN(int64(i)))
		members = append(members, person(mrn, mrn, "Ann"))
		charges = append(charges, fmt.Sprintf("c%d,%s,medical,2026-02-03,Visit,900,400,500", i, mrn))
		payments = append(payments, fmt.Sprintf("p%d,%s,2026-03-01,online,300,,", i, mrn))
	}
	for _, f := range []struct {
		feed  string
		lines []string
	}{{"members", members}, {"charges", charges}, {"payments", payments}} {
		var got [4]billing.Imported
		var errs [4]error
		var all sync.WaitGroup
		for n := range got {
			all.Go(func() { got[n], errs[n] = d.take(f.feed, f.lines...) })
		}
		all.Wait()
		accepted, unchanged := 0, 0
		for n := range got {
			accepted, unchanged = accepted+got[n].Accepted, unchanged+got[n].Unchanged
		}
		if err := errors.Join(errs[:]...); err != nil || accepted != 500 || unchanged != 1500 {
			t.Errorf("%s: %d accepted, %d unchanged, error %v", f.feed, accepted, unchanged, err)
		}
	}
	d.wants(`select sum(case when debit = 'receivable' then cents else -cents end) from journal`, "100000")
	d.invariants()
}
