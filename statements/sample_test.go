package statements

import (
	"fmt"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// sample is an ordinary statement: a family of two, something paid, something
// adjusted, something new. The biller and the people are made up.
func sample() Statement {
	s := Statement{
		Number: 4_000_012_345, MRN: billing.NewMRN(123_456_789),
		Date: calendar.MustParse("2026-03-01"), Due: calendar.MustParse("2026-03-25"),
		Cycle: calendar.CycleOf(calendar.MustParse("2026-03-01")), Delivery: "paper", Language: "en",
		To: Recipient{
			Name: "Rosa Delgado", Lines: []string{"1420 Juniper Street Apt 5", "Sacramento CA 95814-2207"},
		},
		Biller: &Biller{
			Language: "en",
			Name:     "Bayview Health Plan", Sender: []string{"PO Box 5550", "Oakland CA 94604-5550"},
			RemitTo:  []string{"PO Box 77033", "Los Angeles CA 90074-7033"},
			RemitIMb: "DTTAFADDTTFTDTFTFDTDDADADAFADFATDDFTAAAFDTTADFAAATDFDTDFADDDTDFFT",
			Phones:   []Phone{{"Premium bills", "1-800-555-0100"}, {"Medical bills", "1-800-555-0142"}, {"TTY", "711"}},
			Hours:    "Monday to Friday, 7 a.m. to 7 p.m.",
			Web:      "bayview.example/pay", Assistance: "bayview.example/assistance", Color: "#0B4F6C",
			LateFee: "If $25.00 or more of this bill is still unpaid five days after the due date, a late fee of $10.00 is added to your next statement. A check that reaches us in time is never late, even if it shows on your account afterwards.",
		},
		Messages: []string{"Your plan's directory of doctors has moved: bayview.example/doctors."},
		Groups: []Group{
			{Kind: Premium, Lines: []Line{
				{calendar.MustParse("2026-03-01"), "Silver 70 HMO, March 2026", "Rosa Delgado", "", 41250, 0, 0},
				{calendar.MustParse("2026-03-01"), "Silver 70 HMO, March 2026", "Mateo Delgado", "", 19825, 0, 0},
			}},
			{Kind: Medical, Lines: []Line{
				{calendar.MustParse("2026-02-06"), "Office visit, Bayview Medical Center Oakland", "Rosa Delgado", "CLM763006574", 4000, 31500, 27500},
				{calendar.MustParse("2026-02-06"), "Laboratory panel, deductible", "Rosa Delgado", "CLM763006575", 3718, 14200, 10482},
				{calendar.MustParse("2026-02-19"), "Urgent care, Sacramento", "Mateo Delgado", "CLM763011208", 7500, 42000, 34500},
			}},
			{Kind: Payments, Lines: []Line{
				{calendar.MustParse("2026-02-17"), "Check 1042 received, thank you", "", "", -66075, 0, 0},
			}},
			{Kind: Adjustments, Lines: []Line{
				{calendar.MustParse("2026-02-20"), "Correction of a laboratory charge", "Rosa Delgado", "ADJ20260220", -1250, 0, 0},
			}},
		},
	}
	s.Figures.Previous = 67325
	return settle(s)
}

// settle sums up what was changed and lets all of a positive balance be due.
func settle(s Statement) Statement {
	f := &s.Figures
	f.Payments, f.Adjustments, f.Charges, f.Fees = 0, 0, 0, 0
	for i := range s.Groups {
		g := &s.Groups[i]
		g.Cents = 0
		for _, l := range g.Lines {
			g.Cents += l.Cents
		}
		switch g.Kind {
		case Premium, Medical:
			f.Charges += g.Cents
		case Payments:
			f.Payments += g.Cents
		case Adjustments:
			f.Adjustments += g.Cents
		case Fees:
			f.Fees += g.Cents
		}
	}
	f.Balance = f.Previous + f.Payments + f.Adjustments + f.Charges + f.Fees
	open := f.Balance - f.Disputed - f.Deferred
	f.AmountDue, f.Credit = max(open, 0), max(-open, 0)
	s.Aging = []Bucket{{0, f.AmountDue - f.PastDue}, {30, f.PastDue}, {60, 0}, {90, 0}}
	return s
}

// variants are statements of every shape that the first page takes.
func variants() map[string]Statement {
	all := map[string]Statement{"normal": sample()}

	s := sample()
	s.Autopay = Autopay{On: true, Cents: s.Figures.AmountDue, Date: s.Due, Last4: "1234"}
	all["autopay"] = s

	s.Figures.Pending, s.Autopay.Cents = s.Figures.AmountDue, 0
	all["on-its-way"] = s

	s = sample()
	s.Groups[2].Lines[0].Cents -= 100_000
	all["credit"] = settle(s)

	s = sample()
	s.Groups, s.Figures.Previous = nil, 0
	all["nothing"] = settle(s)

	s = sample()
	s.Figures.Previous, s.Figures.PastDue = 120_000, 52_675
	s.Figures.Disputed, s.Figures.Deferred, s.Figures.Pending = 20_000, 8_000, 15_000
	s.Groups = append(s.Groups, Group{Kind: Fees, Lines: []Line{{calendar.MustParse("2026-03-01"), "Late fee, statement of February 1, 2026", "", "", 1000, 0, 0}}})
	s.Messages = append(s.Messages, "If the past due amount is not paid by April 30, 2026, your coverage may end.", "We sent a form for financial assistance on February 20.")
	all["past-due"] = settle(s)

	s = sample()
	for i := range 60 {
		s.Groups[1].Lines = append(s.Groups[1].Lines, Line{s.Date - calendar.Date(i), fmt.Sprintf("Physical therapy, visit %d", i+1), "Mateo Delgado", fmt.Sprintf("CLM7640%05d", i), ledger.Cents(1500 + i), 0, 0})
	}
	s.Groups[1].Lines[20].Description = strings.Repeat("A very long description of a procedure ", 8)
	all["long"] = settle(s)

	s = sample()
	long := "Maximiliana Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh de la Cruz y Montalvo-Ochoa"
	s.To = Recipient{Name: long, Lines: []string{"c/o The Residences at Upper Meadowbrook Landing, Building 12", "12345 Northwest Old Sacramento River Road Suite 4400", "San Juan Capistrano CA 92675-1234"}}
	s.Biller.Name = "The Greater Northern California and Nevada Cooperative Health Plan of Farmworkers, Inc."
	s.Groups[1].Lines[0].Member = long
	s.Groups[1].Lines[1].Reference = strings.Repeat("0123456789", 4)
	s.Groups[1].Lines[2].Cents = 922_337_203_685_400
	all["long-names"] = settle(s)

	s = sample()
	s.Language, s.Biller.Language = "es", "es"
	s.To.Name = "Íñigo Peña Núñez"
	s.To.Lines = []string{"77 Calle Ángel Muñoz", "Cañón City CO 81212"}
	s.Groups[0].Lines[1].Member = "Nguyễn Thị Đào"
	s.Groups[1].Lines[0].Description = "Cita médica – “niño sano” (50% más)"
	all["spanish"] = settle(s)

	s = sample()
	s.Figures.PastDue = 41_250
	s.Grace = Grace{Until: calendar.MustParse("2026-04-30"), CoverEnd: calendar.MustParse("2026-02-28")}
	s.Plan = Plan{Installment: 3, Installments: 6}
	all["grace"] = settle(s)

	all["empty"] = Statement{Biller: &Biller{}}
	return all
}
