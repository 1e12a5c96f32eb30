package billing

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// coverageRow is a line of coverage.csv.
type coverageRow struct {
	line      int
	mrn, plan string
	terms     Terms
}

// period names a period of coverage: member, plan and first day.
type period struct {
	mrn, plan string
	start     calendar.Date
}

func (c *coverageRow) period() period { return period{c.mrn, c.plan, c.terms.StartOn} }

// tidings are what a period's row said last, and the account it was charged to.
type tidings struct {
	end           calendar.Date
	monthly, aptc ledger.Cents
	account       int64
}

var coverageFeed = feed[coverageRow]{
	name: "coverage",
	layout: layout{
		required: []string{"mrn", "plan", "start", "monthly_cents"},
		optional: []string{"end", "aptc_cents"},
	},
	read:  readCoverage,
	apply: enrolRows,
}

// Coverage takes in who is covered by which plan, since when and for how much.
// A row that says of a period (member, plan, start) what it said before is
// unchanged, whatever has become of the period since; any other is carried out
// as Account.Enrol says. Imported.Cents is what the rows have charged, less
// what they have taken back.
func (im Import) Coverage(ctx context.Context, db postgres.DB, from io.Reader) (Imported, error) {
	return take(ctx, db, im, coverageFeed, from)
}

func readCoverage(r *row) coverageRow {
	c := coverageRow{line: r.line, mrn: r.mrn("mrn"), plan: r.must("plan", 60),
		terms: Terms{StartOn: r.mustDate("start"), EndOn: r.date("end"), MonthlyCents: r.cents("monthly_cents", false)}}
	if r.cell("aptc_cents") != "" {
		c.terms.APTCCents = r.cents("aptc_cents", false)
	}
	if len(r.problems) == 0 {
		if field, err := c.terms.check(); err != nil {
			r.refuse(field, "%v", err)
		}
	}
	return c
}

// enrolRows carries out the rows of a chunk, in order.
func enrolRows(ctx context.Context, in *intake, rows []coverageRow) error {
	known, err := in.coverageKnown(ctx, column(rows, func(c *coverageRow) string { return c.mrn }))
	if err != nil {
		return err
	}
	var news []*coverageRow
	for i := range rows {
		c := &rows[i]
		if was, ok := known[c.period()]; ok && was.says(c) {
			in.Unchanged++
		} else {
			news = append(news, c)
		}
	}
	book, accounts, err := in.load(ctx, Whole, column(news, func(c **coverageRow) string { return (*c).mrn }))
	if err != nil {
		return err
	}
	formers, err := in.formers(ctx, book, news, accounts, known)
	if err != nil {
		return err
	}
	for _, c := range news {
		account, ok := accounts[c.mrn]
		was, seen := known[c.period()]
		switch {
		case !ok:
			in.refuse(c.line, "mrn", unknownMember, c.mrn)
		case seen && was.says(c): // twice in the chunk
			in.Unchanged++
		default:
			a, former := book.Account(account), (*Account)(nil)
			before := a.Figures().Ledger
			if seen && was.account != account {
				former = formers.Account(was.account)
				before += former.Figures().Ledger
				err = in.enrolMoved(former, a, c)
			} else {
				err = a.Enrol(in.Policy, in.Day, c.mrn, c.plan, c.terms)
			}
			if err != nil {
				in.refuse(c.line, "", "%v", err)
				continue
			}
			known[c.period()] = tidings{c.terms.EndOn, c.terms.MonthlyCents, c.terms.APTCCents, cmp.Or(was.account, account)}
			in.Accepted++
			in.Cents += a.Figures().Ledger - before
			if former != nil {
				in.Cents += former.Figures().Ledger
			}
		}
	}
	if err := formers.Save(ctx); err != nil {
		return err
	}
	return book.Save(ctx)
}

// formers loads the accounts of former guarantors that rows are about, beside
// those of the book.
func (in *intake) formers(ctx context.Context, book *Book, news []*coverageRow, accounts map[string]int64, known map[period]tidings) (*Book, error) {
	also := &Book{tx: in.tx, byID: map[int64]*Account{}}
	var missing []int64
	for _, c := range news {
		account, ok := accounts[c.mrn]
		if was, seen := known[c.period()]; !ok || !seen || was.account == account {
			continue
		} else if a := book.Account(was.account); a != nil {
			also.byID[a.ID] = a // saved with the book
		} else {
			missing = append(missing, was.account)
		}
	}
	if len(missing) == 0 {
		return also, nil
	}
	slices.Sort(missing)
	more, err := Load(ctx, in.tx, Whole, slices.Compact(missing)...)
	if err != nil {
		return nil, err
	}
	for id, a := range also.byID {
		more.byID[id] = a
	}
	return more, nil
}

// says says whether a row tells nothing new.
func (t tidings) says(c *coverageRow) bool {
	return t.end == c.terms.EndOn && t.monthly == c.terms.MonthlyCents && t.aptc == c.terms.APTCCents
}

// coverageKnown returns what is known of the members' periods.
func (in *intake) coverageKnown(ctx context.Context, mrns []string) (map[period]tidings, error) {
	rows, err := in.tx.Query(ctx, `select mrn, plan, start_on, said_end, monthly_cents, aptc_cents, account_id from coverage where mrn = any($1)`, mrns)
	if err != nil {
		return nil, err
	}
	known := map[period]tidings{}
	var p period
	var t tidings
	_, err = pgx.ForEachRow(rows, []any{&p.mrn, &p.plan, &p.start, &t.end, &t.monthly, &t.aptc, &t.account}, func() error {
		known[p] = t
		return nil
	})
	return known, err
}
