package ach

import "testing"

// SpansOf lets the spans of files have n debits while a test runs.
func SpansOf(t *testing.T, n int64) {
	was := spanRows
	spanRows = n
	t.Cleanup(func() { spanRows = was })
}
