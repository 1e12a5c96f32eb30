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
		{"jobs/runner.go", `		_, err = tx.Exec(ctx, ` + "`insert into run_chunk", `		return nil
	})
	if err == nil {
		skipped := t.Skipped
		if skipped == nil {
			skipped = map[string]int64{}
		}
		_, err = r.DB.Exec(ctx, ` + "`insert into run_chunk"},
		{"jobs/runner.go", `int64(t.Cents))
		return err
	})
	if err != nil {
		return billing.Tally{}, err
	}
	return t, nil`, `int64(t.Cents))
	}
	if err != nil {
		return billing.Tally{}, err
	}
	return t, nil`},
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
			program, err := build(t.Context(), t.TempDir(), append(forTorture(workers), m.edits...)...)
			must(t, err)
			w := newWorld(t, server, program, room())
			_, err = w.scratch.Pool.Exec(t.Context(), m.sql)
			must(t, err)
			x, err := liveTortured(w, u, ordeal{seed: seed, kills: 300, restarts: 5, others: 60})
			if err == nil {
				t.Fatalf("the mutant was not caught: %s", x.report())
			}
			t.Logf("caught after %d kills on %v", x.did["kill"], err)
		})
	}
}
