package statements

import (
	"fmt"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What stands on the lines of a statement, as it is sealed.

// entry is a journal entry with what it is about.
type entry struct {
	on, service                                                 calendar.Date
	what, kind, description, charge, member, channel, reference string
	cents, gross, insurer                                       ledger.Cents
}

func (s *Statement) add(e entry) {
	spanish := s.printed() == "es"
	line := Line{Date: e.on, Description: e.description, Member: e.member, Cents: e.cents}
	if spanish && e.charge == "" {
		line.Description = inSpanish(e.description)
	}
	var group Kind
	switch ledger.PartOf(e.what) {
	case ledger.ChargesPart:
		group, line.Date, line.Reference = Kind(e.kind), e.service, e.charge
		if e.insurer > 0 {
			line.Gross, line.Plan = e.gross, e.insurer
		}
	case ledger.PaymentsPart:
		group, line.Description = Payments, paymentWords(e, spanish)
	case ledger.AdjustmentsPart:
		group, line.Reference = Adjustments, e.charge
		if e.description == "" || e.charge != "" {
			line.Description = strings.TrimSuffix(either(spanish, "Adjustment", "Ajuste")+": "+line.Description, ": ")
		}
	case ledger.FeesPart:
		group = Fees
		switch e.what {
		case ledger.FeeReversal:
			line.Description = either(spanish, "Taken back", "Anulado") + ": " + line.Description
		case ledger.Waiver:
			line.Description = either(spanish, "Waived", "Condonado") + ": " + line.Description
		}
	default:
		return // what the account brought along is in the previous balance
	}
	for n := range s.Groups {
		if s.Groups[n].Kind == group {
			s.Groups[n].Lines = append(s.Groups[n].Lines, line)
			s.Groups[n].Cents += line.Cents
			return
		}
	}
	s.Groups = append(s.Groups, Group{group, []Line{line}, line.Cents})
}

// printed is the language of the page.
func (s *Statement) printed() string {
	if s.Biller == nil {
		return ""
	}
	return s.Biller.Language
}

// paymentWords describes a payment, in English or in Spanish.
func paymentWords(e entry, spanish bool) string {
	words := func(english, es string) string { return either(spanish, english, es) }
	switch e.what {
	case ledger.Return:
		return words("Payment returned by the bank", "Pago devuelto por el banco")
	case ledger.Refund:
		return words("Refund", "Reembolso")
	case ledger.Remittance:
		return words("Unclaimed credit sent to the state", "Crédito no reclamado, enviado al estado")
	}
	switch e.channel {
	case "lockbox", "check":
		return strings.Replace(words("Check "+e.reference+" received, thank you", "Cheque "+e.reference+" recibido, gracias"), "  ", " ", 1)
	case "ach":
		return words("Autopay from your bank account, thank you", "Pago automático de su cuenta bancaria, gracias")
	case "card":
		return words("Card payment, thank you", "Pago con tarjeta, gracias")
	case "guest":
		return words("Payment by a guest, thank you", "Pago de otra persona, gracias")
	}
	return words("Payment received, thank you", "Pago recibido, gracias")
}

// either chooses between two languages.
func either(spanish bool, english, es string) string {
	if spanish {
		return es
	}
	return english
}

// inSpanish says in Spanish what the house has named itself: premiums of
// coverage and fees. What came with a charge stays as the feed has it.
func inSpanish(words string) string {
	if month, ok := strings.CutPrefix(words, "Premium, "); ok {
		if t, err := time.Parse("January 2006", month); err == nil {
			return fmt.Sprintf("Prima, %s de %d", spanish.months[t.Month()-1], t.Year())
		}
	}
	if due, ok := strings.CutPrefix(words, "Late fee, bill due "); ok {
		if t, err := time.Parse("January 2, 2006", due); err == nil {
			return fmt.Sprintf("Recargo por atraso, factura que vencía el %d de %s de %d", t.Day(), spanish.months[t.Month()-1], t.Year())
		}
	}
	switch words {
	case "Returned payment fee":
		return "Recargo por pago devuelto"
	case "Refund of a payment that came back":
		return "Reembolso de un pago que fue devuelto"
	}
	return words
}
