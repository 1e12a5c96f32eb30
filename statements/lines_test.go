package statements

import (
	"testing"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// A Spanish statement says in Spanish what the house itself has named; what a
// feed has described stays as it came.
func TestLinesInBothLanguages(t *testing.T) {
	day := calendar.MustParse("2026-03-20")
	for _, c := range []struct {
		e           entry
		english, es string
	}{
		{entry{what: ledger.Charge, kind: "premium", description: "Premium, March 2026"}, "Premium, March 2026", "Prima, marzo de 2026"},
		{entry{what: ledger.Charge, kind: "medical", description: "Premium, March 2026", charge: "C1"}, "Premium, March 2026", "Premium, March 2026"},
		{entry{what: ledger.Charge, kind: "medical", description: "Office visit", charge: "C2"}, "Office visit", "Office visit"},
		{entry{what: ledger.LateFee, description: "Late fee, bill due March 25, 2026"}, "Late fee, bill due March 25, 2026", "Recargo por atraso, factura que vencía el 25 de marzo de 2026"},
		{entry{what: ledger.FeeReversal, description: "Late fee, bill due March 25, 2026"}, "Taken back: Late fee, bill due March 25, 2026", "Anulado: Recargo por atraso, factura que vencía el 25 de marzo de 2026"},
		{entry{what: ledger.ReturnedFee, description: "Returned payment fee"}, "Returned payment fee", "Recargo por pago devuelto"},
		{entry{what: ledger.Waiver, description: "Returned payment fee"}, "Waived: Returned payment fee", "Condonado: Recargo por pago devuelto"},
		{entry{what: ledger.Adjustment, description: "Office visit", charge: "C2"}, "Adjustment: Office visit", "Ajuste: Office visit"},
		{entry{what: ledger.Adjustment}, "Adjustment", "Ajuste"},
		{entry{what: ledger.Payment, channel: "lockbox", reference: "1042"}, "Check 1042 received, thank you", "Cheque 1042 recibido, gracias"},
		{entry{what: ledger.Payment, channel: "check"}, "Check received, thank you", "Cheque recibido, gracias"},
	} {
		c.e.on, c.e.service = day, day
		for language, want := range map[string]string{"en": c.english, "es": c.es} {
			s := Statement{Biller: &Biller{Language: language}}
			s.add(c.e)
			if len(s.Groups) != 1 || s.Groups[0].Lines[0].Description != want {
				t.Errorf("%s %q in %s is %+v, want %q", c.e.what, c.e.description, language, s.Groups, want)
			}
		}
	}
}

// A description of any length that the feed takes is shown whole.
func TestLongDescriptionIsWhole(t *testing.T) {
	s := sample()
	words := ""
	for len(words) < 195 {
		words += "Mammography "
	}
	s.Groups[1].Lines[0].Description = words + "END"
	count := 0
	for _, w := range extract(t, render(t, s)) {
		if w.page == 0 && len(w.text) > 10 && w.text[:11] == "Mammography" {
			count++
		}
		if w.text == "END" || len(w.text) > 3 && w.text[len(w.text)-4:] == " END" {
			count += 100
		}
	}
	if count < 102 {
		t.Errorf("the description of %d letters is cut off", len(words)+3)
	}
}
