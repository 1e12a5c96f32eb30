package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/statements"
)

// Store is where statements are kept: a folder of the biller's directory, or
// the bucket that the policy names.
func (h House) Store() (delivery.Store, error) {
	if folder, local := h.localStore(); local {
		return folder, nil
	}
	s := h.Policy.Delivery.Store
	return delivery.S3{Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, AccessFile: s.AccessFile, SecretFile: s.SecretFile, PlainHTTP: s.PlainHTTP}.Open()
}

func (h House) localStore() (delivery.Directory, bool) {
	return delivery.Directory(filepath.Join(h.Dir, "statements")), h.Policy.Delivery.Store.Endpoint == ""
}

// Mail is the house's mail desk on a business date.
func (h House) Mail(day calendar.Date) statements.MailDesk {
	return statements.MailDesk{DB: h.DB, Policy: h.Policy, Day: day, Operator: h.Operator}
}

// printStatements bundles what waits for the mail.
func (r *Run) printStatements(ctx context.Context) error {
	made, err := statements.Printer{DB: r.DB, Policy: r.Policy, Day: r.Day, Outbox: filepath.Join(r.Dir, "outbox", "print"), Workers: r.Workers,
		Written: func(ctx context.Context, tx pgx.Tx, f statements.PrintFile) error {
			return r.queue(ctx, tx, delivery.Parcel{Folder: "print", Name: f.Name, SHA256: f.SHA256, Place: r.Policy.Print.Of(f.Vendor).Place, Set: f.Set, Last: f.Last})
		}}.Print(ctx)
	if made.Bundles > 0 {
		r.note("outbox/print: %d bundles of %d pieces, %d pages", made.Bundles, made.Pieces, made.Pages)
	}
	if made.Gone > 0 {
		r.note("outbox/print: %d bundles were whole there and are gone: they are not made again", made.Gone)
		r.waits += int64(made.Gone)
	}
	for _, t := range made.Totals {
		r.note("statements of %s: %d made = %d printed + %d paperless + %d suppressed", t.Cycle, t.Made, t.Printed, t.Paperless, t.Made-t.Printed-t.Paperless)
	}
	for _, reason := range slices.Sorted(maps.Keys(made.Suppressed)) {
		r.note("%d statements can't be mailed: %s", made.Suppressed[reason], reason)
		r.waits += int64(made.Suppressed[reason])
	}
	return err
}

// takeMailAnswers takes the print vendor's receipts and results, and returned
// mail, from the inbox.
func (r *Run) takeMailAnswers(ctx context.Context) error {
	return r.take(ctx, "print", func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Mail(r.Day).Ingest(ctx, a.name, a.file)
		if errors.Is(err, statements.ErrRefused) {
			v.refused, err = problems(err, got.Problems), nil
		}
		v.tally.Did(int64(got.Bundles+got.Mailed), 0)
		v.tally.Skip("rejected", int64(got.Rejected))
		v.tally.Skip("spoiled", int64(got.Spoiled))
		v.tally.Skip("returned_mail", int64(got.Returned))
		v.tally.Skip("unchanged", int64(got.Known))
		v.waits = int64(got.Rejected + got.Spoiled + got.Returned)
		if got.Duplicate {
			v.note = fmt.Sprintf("%s was here before", a.name)
		}
		return v, err
	})
}
