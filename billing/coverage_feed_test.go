package billing

import (
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
)

// Whatever is read of a coverage file is a period that can be enrolled, and
// every other line is named.
func FuzzCoverage(f *testing.F) {
	const header = "mrn,plan,start,end,monthly_cents,aptc_cents"
	for _, s := range []string{header, header + "\n1234567897,Gold,2026-02-01,,45000,\n", header + "\n1234567897,Gold,2026-02-01,2026-01-31,45000,45000\n",
		header + "\n1234567897,Gold,2026-02-01,2026-01-30,1,2\n", "start,monthly_cents,plan,mrn\n0001-01-01,-0,x,y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, rows := readOnly(t, coverageFeed, text)
		named := map[int]bool{}
		for _, p := range got.Problems {
			if p.Problem == "" || p.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%+v", p)
			}
			named[p.Line] = true
		}
		if got.Rows != len(rows)+got.Refused || got.Rows > 0 && len(named) != got.Refused {
			t.Errorf("%d rows, %d read, %d refused, %d lines named", got.Rows, len(rows), got.Refused, len(named))
		}
		for _, c := range rows {
			if _, err := c.terms.check(); err != nil || c.plan == "" || named[c.line] {
				t.Errorf("%+v was let in: %v", c, err)
			}
			cov := Coverage{StartOn: c.terms.StartOn, EndOn: c.terms.EndOn, MonthlyCents: c.terms.MonthlyCents, APTCCents: c.terms.APTCCents}
			if p := cov.Premium(calendar.CycleOf(cov.StartOn)); p < 0 || p > c.terms.MonthlyCents {
				t.Errorf("%+v: a first month of %d", c, p)
			}
		}
	})
}
