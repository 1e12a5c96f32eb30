package bench_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/billcycle/billcycle/bench"
	"github.com/billcycle/billcycle/postgres"
)

// A small bench measures every stage, over the units that it promises; how
// fast they were is not for a test to say.
func TestRunMeasuresEveryStage(t *testing.T) {
	server, err := postgres.Open(t.Context(), postgres.Config{Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	ticks := time.Unix(0, 0)
	clock := func() time.Time { ticks = ticks.Add(time.Second); return ticks }
	report, err := bench.Run(context.Background(), server, 200, clock, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]int64{"charges-import": 600, "statement-cut": 200, "late-fees": 60, "post": 200, "lockbox-inspect": (3 + 2*200 + 1 + 2) * 105, "lockbox-ingest": 200, "statement-run": 200, "statement-render": 200, "statement-bundle": 200, "statement-bundle-names": 200, "autopay-select": 200, "autopay-file": 200}
	units["account-history"] = 200
	for _, s := range report.Stages {
		drawn := s.BytesPerUnit > 0 // by the processor's clock, not by ours
		if s.Units != units[s.Name] || s.Floor == "" || !drawn && (s.Seconds != 1 || s.Ratio != 1 || s.PerSecond != float64(s.Units)) || s.Ratio <= 0 {
			t.Errorf("%+v, want %d units in the one second that the clock told", s, units[s.Name])
		}
		delete(units, s.Name)
	}
	if report.Accounts != 200 || len(units) != 0 {
		t.Errorf("%d accounts, not measured: %v", report.Accounts, units)
	}
}
