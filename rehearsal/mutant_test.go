package rehearsal_test

import (
	"errors"
	"testing"
)

// mutants are programs with one fault in them, of the kind that costs members
// money. A torture that does not see them sees nothing.
var mutants = []struct {
	name  string
	edits []edit
	sql   string // what its schema lacks
}{
	{"no document key", []edit{ // a payment is known by its payment_id no more
		{"billing/import_payments.go", `where payment_id = any($1)`, `where payment_id = any($1) and false`},
	}, `alter table payment drop constraint payment_pkey`},
	{"done-mark outside its transaction", []edit{
		{"jobs/lease.go", `	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		t, err := do(tx)
		if err != nil {
			return err
		}
`, `	var t billing.Tally
	if err = pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) (err error) {
		t, err = do(tx)
		return err
	}); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
`},
	}, ""},
	{"done-mark before its work", []edit{
		{"jobs/lease.go", `	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
		t, err := do(tx)
		if err != nil {
			return err
		}
`, `	var t billing.Tally
	counted := errors.New("counted")
	if err := pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) (err error) {
		if t, err = do(tx); err == nil {
			err = counted
		}
		return err
	}); err != counted {
		return err
	}
	defer func() {
		if err == nil {
			err = pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
				_, err := do(tx)
				return err
			})
		}
	}()
	return pgx.BeginFunc(ctx, r.DB, func(tx pgx.Tx) error {
`},
	}, ""},
	{"sent before it is sealed", []edit{
		{"jobs/outbox.go", `	lines, err := outgoing[folder](ctx, tx, f.id, f.madeOn, sum)
	switch {`, `	lines, err := outgoing[folder](ctx, tx, f.id, f.madeOn, sum)
	if f.sha256 = sum.Sum(nil); lines > 0 {
		if err := errors.Join(r.layOut(ctx, tx, folder, f), r.putOut(ctx, tx, folder, f)); err != nil {
			return err
		}
	}
	switch {`},
	}, ""},
	{"input put away before it is taken", []edit{
		{"jobs/inbox.go", `	v, err := do(ctx, arrival{feed, FileName(path), &steady{f, before}})
`, `	if err := r.archive(feed, path, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	v, err := do(ctx, arrival{feed, FileName(path), &steady{f, before}})
`},
	}, ""},
}

// The source moves on, and its mutants with it.
func TestMutantsCanBeBuilt(t *testing.T) {
	for _, m := range mutants {
		if _, err := build(t.Context(), t.TempDir(), append(forTorture, m.edits...)...); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// Each mutant is tortured until a difference shows. One that lives a month
// undisturbed does as the honest program does: only the faults show it.
func TestMutantsCaught(t *testing.T) {
	onlyTortured(t)
	forWorkers(t, func(t *testing.T, c *chamber) {
		u := c.undisturbed(t)
		for _, m := range mutants {
			t.Run(m.name, func(t *testing.T) {
				program, err := build(t.Context(), t.TempDir(), append(forTorture, m.edits...)...)
				must(t, err)
				w := c.world(t, program)
				_, err = w.scratch.Pool.Exec(t.Context(), m.sql)
				must(t, err)
				x, err := liveTortured(w, u, ordeal{seed: *tortureSeed, kills: walkFrom, others: 30})
				if !errors.Is(err, errDiffers) {
					t.Fatalf("seed %d: the mutant was not caught: %s; %v", *tortureSeed, x.report(), err)
				}
				t.Logf("seed %d: caught after %d kills on %v", *tortureSeed, x.did["kill"], err)
			})
		}
	})
}
