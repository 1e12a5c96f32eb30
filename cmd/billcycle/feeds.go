package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/postgres"
)

// feed is one kind of file that `import` takes.
type feed struct {
	name, short string
	columns     string
	take        func(billing.Import, context.Context, postgres.DB, io.Reader) (billing.Imported, error)
}

var feeds = []feed{
	{"members", "Take in members and whose account each is billed to",
		"mrn, guarantor_mrn, first_name, last_name, birth_date, address1, address2, city, state, zip, email, phone, language, delivery, deceased_on", billing.Import.Members},
	{"coverage", "Take in which plan covers each member, since when and for how much",
		"mrn, plan, start, end, monthly_cents, aptc_cents", billing.Import.Coverage},
	{"charges", "Take in charges and corrections of charges",
		"charge_id, mrn, kind, service_date, description, gross_cents, insurer_cents, patient_cents, adjusts", billing.Import.Charges},
	{"payments", "Take in payments that were taken elsewhere",
		"payment_id, mrn, received, channel, amount_cents, directed, payer", billing.Import.Payments},
	{"autopay", "Take in enrolments in autopay, with their authorization",
		"mrn, method, routing, account, account_type, card_token, authorized_on, authorized_by, ended_on", billing.Import.Autopay},
}

func (p *program) importCommand() *cobra.Command {
	var each []*cobra.Command
	for _, f := range feeds {
		each = append(each, p.feedCommand(f))
	}
	return group("import", "Take in a feed: all of a file or nothing", "  billcycle import charges charges.csv --date 2026-03-01", each...)
}

func (p *program) feedCommand(f feed) *cobra.Command {
	var date dateFlag
	var partial bool
	c := addDate(p.command(command{
		use:     f.name + " FILE",
		short:   f.short,
		example: fmt.Sprintf("  billcycle import %s %s.csv --date 2026-03-01", f.name, f.name),
		long: f.short + `.

The file is CSV in UTF-8 with a header line. Its columns, in any order:
` + f.columns + `.
Amounts are whole cents. If one row is bad, nothing is taken and every bad row is
named, unless --partial asks for the good ones. Rows that were taken before
change nothing, so a file may be sent again.`,
		run: func(ctx context.Context, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer file.Close()
			house, day, err := p.openOn(ctx, date.Date)
			if err != nil {
				return err
			}
			im := billing.Import{Policy: house.Policy, Day: day, Partial: partial, Operator: house.Operator, Keys: house.Keys}
			got, refused := f.take(im, ctx, house.DB, file)
			if refused != nil && len(got.Problems) == 0 {
				return refused
			}
			got.Problems = notNull(got.Problems)
			p.leaves(got.Refused > 0)
			err = p.answer(got, func(w *page) {
				w.line("%s\taccepted %d\tunchanged %d\trefused %d\t%s", counted(got.Rows, "row"), got.Accepted, got.Unchanged, got.Refused, got.Cents)
				for _, problem := range got.Problems {
					w.line("%s", problem)
				}
			})
			return cmp.Or(refused, err)
		},
	}), &date)
	c.Flags().BoolVar(&partial, "partial", false, "take the good rows of a file that has bad ones")
	return c
}
