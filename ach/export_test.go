package ach

import "testing"

// SpansOf lets the spans of files have n debits while a test runs.
func SpansOf(t *testing.T, n int64) {
	was := spanRows
	spanRows = n
	t.Cleanup(func() { spanRows = was })
}

// AnswersOf lets files of the bank have n bytes while a test runs.
func AnswersOf(t *testing.T, n int64) {
	was := maxAnswerBytes
	maxAnswerBytes = n
	t.Cleanup(func() { maxAnswerBytes = was })
}
