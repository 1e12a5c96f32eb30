package billing

import "github.com/billcycle/billcycle/calendar"

// Why is why a job would leave an account as it is.
type Why struct {
	Job     string
	Code    string
	Subject string // the cycle it is about
}

// Why says why runs dated day would make no statement, no late fee and no debit
// for the account as it stands. What they would do is left out. The account must
// be whole; it is changed by the asking, so it must not be saved.
func (a *Account) Why(p *Policy, day calendar.Date) (out []Why) {
	add := func(job, code, subject string) {
		if code != "" {
			out = append(out, Why{job, code, subject})
		}
	}
	_, code := a.CyclesToCut(p, day)
	add("statements", code, "")
	if h := a.HeldOn(day); h != nil {
		add("late-fees", h.Reason, "")
	} else {
		for _, b := range a.Bills {
			if b.DeadlineOn >= day {
				add("late-fees", NotYet, b.Cycle.String())
				continue
			}
			add("late-fees", a.assess(p, b, day).Reason, b.Cycle.String())
		}
	}
	cycle := ""
	if b := a.NewestBill(); b != nil {
		cycle = b.Cycle.String()
	}
	if a.ByCard {
		_, code = a.CardDue(day)
	} else {
		_, code = a.BuildDebits(p, day)
	}
	add("autopay", code, cycle)
	return out
}
