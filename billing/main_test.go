package billing_test

import (
	"flag"
	"os"
	"testing"
)

// The machines that live random lives live two thousand of them each, the same
// ones every time, so that a change is judged by what it changes. To live others:
// -rapid.seed=0 -rapid.checks=20000.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "2000", "rapid.seed": "20261125"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}
