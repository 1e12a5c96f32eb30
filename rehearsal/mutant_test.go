package rehearsal_test

import (
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
	{"sent before it is sealed", []edit{
		{"jobs/outbox.go", `	lines, err := outgoing[folder](ctx, tx, f.id, f.madeOn, sum)
	switch {`, `	lines, err := outgoing[folder](ctx, tx, f.id, f.madeOn, sum)
	if f.sha256 = sum.Sum(nil); lines > 0 {
		if err := r.writeOut(ctx, tx, folder, f); err != nil {
			return err
		}
	}
	switch {`},
	}, ""},
}

// catchMutants tortures each mutant until a difference shows. One that lives a
// month undisturbed does as the honest program does: only the faults show it.
func catchMutants(t *testing.T, server *ourServer, room func() string, u undisturbed, workers int, seed uint64) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			program, err := build(t.Context(), t.TempDir(), append(forTorture, m.edits...)...)
			must(t, err)
			w := newWorld(t, server, program, room(), workers)
			_, err = w.scratch.Pool.Exec(t.Context(), m.sql)
			must(t, err)
			x, err := liveTortured(w, u, ordeal{seed: seed, kills: 500, others: 60})
			if err == nil {
				t.Fatalf("the mutant was not caught: %s", x.report())
			}
			t.Logf("caught after %d kills on %v", x.did["kill"], err)
		})
	}
}
