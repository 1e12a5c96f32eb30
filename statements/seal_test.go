package statements

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// The page says until when an unpaid premium may be paid as the run will decide
// it: by the policy of the bill with which the grace began.
func TestGraceOnThePage(t *testing.T) {
	for _, c := range []struct{ policies, want string }{
		{``, "2026-06-30 2026-04-30"},
		{`"policies": [{"from": "2026-01-01", "grace": {"aptc_months": 2, "coverage_kept_months": 2}}]`, "2026-05-31 2026-05-31"},
		{`"policies": [{"from": "2026-05-01", "grace": {"aptc_months": 2, "coverage_kept_months": 2}}]`, "2026-06-30 2026-04-30"},
	} {
		p, err := billing.ParsePolicy([]byte(`{` + c.policies + `}`))
		if err != nil {
			t.Fatal(err)
		}
		db := postgrestest.New(t)
		mrn, january, april, may := string(billing.NewMRN(123_456_789)), calendar.MustParse("2026-01-01"), calendar.MustParse("2026-04-01"), calendar.MustParse("2026-05-01")
		var sealed []byte
		err = pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
			var id int64
			if err := tx.QueryRow(t.Context(), `with a as (insert into account (mrn, opened_on) values ($1, '2026-01-01') returning id)
				insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
				select $1, id, 'Ann', 'Example', '1 Main St', '', 'Oakland', 'CA', '94601', '', '', 'en', 'paper' from a returning account_id`, mrn).Scan(&id); err != nil {
				return err
			}
			b, err := billing.Load(t.Context(), tx, p.Need(billing.Whole), id)
			if err != nil {
				return err
			}
			a := b.Accounts[0]
			if err := a.Enrol(&p, april, mrn, "Bronze", billing.Terms{StartOn: january, MonthlyCents: 45000, APTCCents: 30000, PaidThrough: april - 1}); err != nil {
				return err
			}
			var refs []billing.BillRef
			for _, day := range []calendar.Date{april, may} {
				bills, _ := a.Cut(&p, day)
				for _, bill := range bills {
					refs = append(refs, billing.BillRef{AccountID: id, Cycle: bill.Cycle})
				}
			}
			if err := b.Save(t.Context()); err != nil {
				return err
			}
			if err := Seal(t.Context(), tx, &p, refs); err != nil {
				return err
			}
			return tx.QueryRow(t.Context(), `select sealed from statement order by cycle desc limit 1`).Scan(&sealed)
		})
		if err != nil {
			t.Fatal(err)
		}
		var s Statement
		if err := unpack(sealed, &s); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.Grace.Until, " ", s.Grace.CoverEnd); got != c.want {
			t.Errorf("%s: the page says %q, want %q", c.policies, got, c.want)
		}
	}
}
