package billing

import "github.com/billcycle/billcycle/calendar"

// StatementNumber returns the number that a bill's statement goes by: eight
// digits of account, two of cycle. The cycle's digits come around after a
// hundred months; the account's never do, and they are whose money it is.
func StatementNumber(account int64, cycle calendar.Cycle) int64 {
	return account*100 + int64(cycle%100)
}
