package jobs

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
)

func runPost(ctx context.Context, r *Run) error {
	missed, asked, err := r.Office(r.Day).TakeBack(ctx, filepath.Join(r.Dir, "outbox", "ach"))
	if err != nil {
		return err
	}
	for _, f := range missed {
		r.note("%s: %s, effective %s, was released but not put into the outbox in time: it stays here", f.Name, f.Holds(), f.EffectiveOn)
	}
	// What nobody released must not post, nor what was not handed over.
	if err := r.ranges(ctx, "withdraw"); err != nil {
		return err
	}
	r.waits += int64(asked) + r.tally.Skipped[billing.NotReleased] + r.tally.Skipped[billing.NotSent]
	return r.ranges(ctx, "post")
}

func runLateFees(ctx context.Context, r *Run) (err error) {
	if r.since, err = r.lastFinished(ctx); err != nil {
		return err
	}
	return r.ranges(ctx, "assess")
}

func runStatements(ctx context.Context, r *Run) (err error) {
	if err := r.ranges(ctx, "cut"); err != nil {
		return err
	}
	if r.dry {
		return nil // the figures are there, and the pages would go with them
	}
	if r.keep, err = r.Store(); err != nil {
		return err
	}
	if r.fills, err = r.openOut(ctx, "notices", "statements"); err != nil {
		return err
	}
	if err := r.ranges(ctx, "draw"); err != nil {
		return err
	}
	if err := r.sendOut(ctx, "notices", "statements"); err != nil {
		return err
	}
	return r.printStatements(ctx)
}

func runAutopay(ctx context.Context, r *Run) error {
	if err := r.ranges(ctx, "select"); err != nil {
		return err
	}
	office := r.Office(r.Day)
	made, err := office.Seal(ctx)
	if err != nil {
		return err
	}
	if err := r.letGo(ctx, office, made); err != nil {
		return err
	}
	out := office
	if r.Release == "" { // what waits since before a missed night may be late by now
		out.Day = max(r.Day, r.today)
	}
	_, asked, err := out.WriteOut(ctx, filepath.Join(r.Dir, "outbox", "ach"))
	if err != nil {
		return err
	}
	r.waits += int64(asked)
	return r.askCards(ctx)
}

// letGo releases the files that wait, if the house says as whom, or puts those
// of this run before a person: the ones just made, and the ones that it had
// made when it was killed.
func (r *Run) letGo(ctx context.Context, office ach.Office, made []ach.FileInfo) error {
	files, err := office.Files(ctx)
	if err != nil {
		return err
	}
	second := office
	second.Operator = r.Release
	for _, f := range slices.Backward(files) { // in the order they were made
		own := slices.ContainsFunc(made, func(m ach.FileInfo) bool { return m.ID == f.ID }) || !r.again && f.BuiltOn == r.Day
		switch {
		case f.State != ach.FileSealed || f.EffectiveOn <= r.Day:
		case r.Release != "":
			if _, err := second.Release(ctx, f.ID); err != nil {
				return err
			}
		case own:
			r.waits++
			r.note("%s: %s, effective %s, wait for their release by a second person", f.Name, f.Holds(), f.EffectiveOn)
		}
	}
	return nil
}
