package billing

import (
	"cmp"
	"strings"

	"github.com/billcycle/billcycle/ledger"
)

// The words in which an account explains itself to people.

// explain says in words what an entry was about.
func (s *shower) explain(e *Event) string {
	switch e.Code {
	case ledger.Payment, ledger.Opening, ledger.Return, ledger.Refund, ledger.Remittance:
		r := s.receipt(e.doc)
		if r == nil {
			break
		}
		switch e.Code {
		case ledger.Return:
			return lower("Came back", r.words()) + because(r.EndCode)
		case ledger.Refund:
			return lower("Refund of credit from", r.words())
		case ledger.Remittance:
			return lower("Unclaimed credit sent to the state, from", r.words())
		}
		return r.words()
	default:
		i := s.item(e.doc)
		if i == nil {
			break
		}
		switch {
		case e.Code == ledger.Adjustment && e.Cents < 0:
			return lower("Adjustment of", s.itemWords(i))
		case e.Code == ledger.FeeReversal:
			return s.itemWords(i) + ": taken back, the payment had come in time"
		case e.Code == ledger.Waiver:
			return lower("Waived:", s.itemWords(i))
		}
		return s.itemWords(i)
	}
	return strings.ReplaceAll(e.Code, "_", " ")
}

// lower puts a text in the middle of a sentence.
func lower(before, text string) string {
	return before + " " + strings.ToLower(text[:1]) + text[1:]
}

func because(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}

// itemWords says what an item is for.
func (s *shower) itemWords(i *shownItem) string {
	charge := s.original(i)
	words := charge.description
	if r := s.receipt(i.ForDoc); r != nil && i.Origin == FromReturnedFee {
		words = lower("Returned payment fee for", r.words())
	}
	if i.Kind != Fee {
		words = strings.ToUpper(string(i.Kind[:1])) + string(i.Kind[1:]) + ": " + cmp.Or(words, string(charge.Origin))
	}
	if charge.chargeID != "" {
		words += " [" + charge.chargeID + "]"
	}
	if !charge.service.IsZero() {
		words += ", service " + charge.service.Long()
	}
	return cmp.Or(words, strings.ReplaceAll(i.Origin, "_", " "))
}

// channels are the words for money by where it came from.
var channels = map[string]string{
	"lockbox": "Check", "ach": "Autopay debit", "card": "Card payment", "counter": "Payment at the counter", "online": "Online payment",
	"phone": "Payment by phone", "check": "Check", "guest": "Guest payment", "opening": "Credit brought along",
}

// words says what a receipt was.
func (r *Receipt) words() string {
	words := cmp.Or(channels[r.Channel], r.Channel)
	if r.Reference != "" {
		words += " " + r.Reference
	}
	if r.Payer != "" {
		words += " from " + r.Payer
	}
	return words + ", received " + r.ReceivedOn.Long()
}
