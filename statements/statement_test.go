package statements

import (
	"strings"
	"testing"

	"github.com/billcycle/billcycle/calendar"
)

func TestCheckPassesWhatHolds(t *testing.T) {
	for name, s := range variants() {
		if name == "empty" {
			continue
		}
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckNamesEverySumThatDoesNotHold(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Statement)
		says  []string
	}{
		{"a balance that is a cent off", func(s *Statement) { s.Figures.Balance++ },
			[]string{"statement 4000012345, MRN 1234567897: balance is stated as $762.94, but adds up to $762.93"}},
		{"a forgotten payment", func(s *Statement) { s.Figures.Payments = 0 }, []string{"balance is stated", "payments is stated as $0.00, but adds up to -$660.75"}},
		{"an adjustment counted among the fees", func(s *Statement) { s.Figures.Fees, s.Figures.Adjustments = s.Figures.Adjustments, 0 },
			[]string{"adjustments is stated as $0.00", "fees is stated as -$12.50"}},
		{"charges that are not those of the lines", func(s *Statement) { s.Figures.Charges -= 5; s.Figures.Previous += 5 }, []string{"charges (premium and medical lines)"}},
		{"a line changed behind its group", func(s *Statement) { s.Groups[1].Lines[0].Cents++ }, []string{`group "medical" is stated as $152.18, but adds up to $152.19`}},
		{"a subtotal changed", func(s *Statement) { s.Groups[2].Cents-- }, []string{`group "payments"`}},
		{"aging that is not the amount due", func(s *Statement) { s.Aging[3].Cents = 1 }, []string{"amount due (aging) is stated as $762.93, but adds up to $762.94"}},
		{"buckets out of order", func(s *Statement) { s.Aging[2].FromDays = 10 }, []string{"aging bucket 3 begins at day 10"}},
		{"a first bucket that leaves out the newest", func(s *Statement) { s.Aging[0].FromDays = 1 }, []string{"aging bucket 1"}},
		{"a dispute left in the amount due", func(s *Statement) { s.Figures.Disputed = 100 }, []string{"less credit"}},
		{"a negative amount due", func(s *Statement) { s.Figures.AmountDue, s.Figures.Disputed = -1, s.Figures.Balance+1; s.Aging = nil }, []string{"amount due is -$0.01, it cannot be negative"}},
		{"more past due than due", func(s *Statement) { s.Figures.PastDue = s.Figures.AmountDue + 1 }, []string{"past due $762.94 is more than the amount due"}},
		{"an unknown kind", func(s *Statement) { s.Groups[0].Kind = "dental" }, []string{`group 1 is of kind "dental"`, "charges"}},
		{"a kind twice", func(s *Statement) { s.Groups = append(s.Groups, Group{Kind: Payments}) }, []string{`group 5: there is a group "payments" before it`}},
		{"an MRN that is none", func(s *Statement) { s.MRN = "1234567890" }, []string{"check digit"}},
		{"no number", func(s *Statement) { s.Number = 0 }, []string{"the number must be"}},
		{"a number too long for the coupon", func(s *Statement) { s.Number = 10_000_000_000 }, []string{"the number must be"}},
		{"due before it was cut", func(s *Statement) { s.Due = s.Date - 1 }, []string{`due "2026-02-28"`}},
		{"no date", func(s *Statement) { s.Date = 0 }, []string{`dated ""`}},
		{"a debit without a date", func(s *Statement) { s.Autopay = Autopay{On: true, Cents: 1, Last4: "1234"} }, []string{"autopay of $0.01 needs its date"}},
		{"a debit from nowhere", func(s *Statement) { s.Autopay = Autopay{On: true, Cents: 1, Date: s.Due, Last4: "123"} }, []string{"four digits"}},
	} {
		s := sample()
		c.spoil(&s)
		err := s.Check()
		if err == nil {
			t.Errorf("%s: passed", c.name)
			continue
		}
		for _, say := range c.says {
			if !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %q is not said in\n%v", c.name, say, err)
			}
		}
	}
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name    string
		figures Figures
		autopay Autopay
		want    Ask
	}{
		{"something is due", Figures{AmountDue: 1}, Autopay{}, Pay},
		{"a pending check does not settle it for one who pays by hand", Figures{AmountDue: 1, Pending: 1}, Autopay{}, Pay},
		{"autopay takes it", Figures{AmountDue: 1}, Autopay{On: true, Cents: 1, Date: calendar.MustParse("2026-03-25")}, Debited},
		{"autopay takes what a pending check leaves", Figures{AmountDue: 5, Pending: 3}, Autopay{On: true, Cents: 2}, Debited},
		{"a pending check leaves nothing", Figures{AmountDue: 5, Pending: 5}, Autopay{On: true}, OnItsWay},
		{"autopay is on, but will not debit this one", Figures{AmountDue: 5}, Autopay{On: true}, Pay},
		{"autopay that has ended", Figures{AmountDue: 5}, Autopay{Cents: 5}, Pay},
		{"nothing", Figures{}, Autopay{}, Nothing},
		{"all of it in dispute", Figures{Balance: 5, Disputed: 5}, Autopay{On: true}, Nothing},
		{"a credit", Figures{Balance: -5, Credit: 5}, Autopay{On: true}, Credited},
	} {
		if got := (Statement{Figures: c.figures, Autopay: c.autopay}).Ask(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestScanlineIsOfTheAmountDue(t *testing.T) {
	s := variants()["past-due"]
	if got := s.Scanline(); got.Due != s.Figures.AmountDue || got.MRN != s.MRN || got.Statement != s.Number {
		t.Errorf("%+v", got)
	}
}
