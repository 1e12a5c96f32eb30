package notices

import (
	"fmt"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What reminders and announcements say. The words are plain and few: a text of more than 160
// characters is sent as two.

// reminder is what a reminder is about.
type reminder struct {
	biller, web, phone string
	last4              string // of the guarantor's MRN
	due                ledger.Cents
	dueOn              calendar.Date
	autopay            bool
	collectsOn         calendar.Date // the day autopay collects it, 0 if it won't
}

// languageOf chooses the language of a message by a member's: English unless
// it is Spanish (es, es-MX, Spanish).
func languageOf(member string) string {
	member = strings.ToLower(member)
	if member == "es" || strings.HasPrefix(member, "es-") || strings.HasPrefix(member, "es_") || member == "spanish" || member == "español" {
		return "es"
	}
	return "en"
}

// words are the sentences of a language. %[1]s is the biller, %[2]s the last
// digits of the account, %[3]s the amount, %[4]s the date, %[5]s the web site,
// %[6]s the telephone number.
type words struct {
	date                           func(calendar.Date) string
	available                      string // all begin so
	pay, collected, notThis        string // and go on with one of these
	subject, autopaySubject        string
	ready, see                     string // of word that a statement is there: an e-mail's subject, and where it is
	greeting, contact, unsubscribe string // of an e-mail
	stop                           string // of a text
}

var languages = map[string]words{
	"en": {
		date:           calendar.Date.Long,
		available:      "%[1]s: a statement is available for account ending in %[2]s.",
		pay:            "%[3]s is due on %[4]s. Please pay by then at %[5]s, or disregard this if you have paid.",
		collected:      "Autopay will collect %[3]s on %[4]s. You have nothing to do.",
		notThis:        "%[3]s is due on %[4]s. Autopay does not cover this amount.",
		subject:        "Your statement is available: %[3]s due on %[4]s",
		autopaySubject: "Your autopay: %[3]s on %[4]s",
		ready:          "Your statement is available",
		see:            "See it at %[5]s.",
		greeting:       "Hello,",
		contact:        "See your statement at %[5]s. Questions? Call %[6]s.",
		unsubscribe:    "To get no more of these e-mails, choose Unsubscribe or change your notification settings at %[5]s.",
		stop:           "Reply STOP to end texts.",
	},
	"es": {
		date:           spanishDate,
		available:      "%[1]s: hay un estado de cuenta disponible para la cuenta que termina en %[2]s.",
		pay:            "%[3]s vence el %[4]s. Pague antes de esa fecha en %[5]s; si ya pagó, ignore este aviso.",
		collected:      "El pago automático cobrará %[3]s el %[4]s. No tiene que hacer nada.",
		notThis:        "%[3]s vence el %[4]s. El pago automático no cubre este importe.",
		subject:        "Su estado de cuenta está disponible: %[3]s vence el %[4]s",
		autopaySubject: "Su pago automático: %[3]s el %[4]s",
		ready:          "Su estado de cuenta está disponible",
		see:            "Véalo en %[5]s.",
		greeting:       "Hola:",
		contact:        "Vea su estado de cuenta en %[5]s. ¿Preguntas? Llame al %[6]s.",
		unsubscribe:    "Para no recibir más estos correos, elija Cancelar suscripción o cambie sus avisos en %[5]s.",
		stop:           "Responda STOP para no recibir más mensajes.",
	},
}

var spanishMonths = [...]string{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"}

func spanishDate(d calendar.Date) string {
	year, month, day := d.Date()
	return fmt.Sprintf("%d de %s de %d", day, spanishMonths[month-time.January], year)
}

// say returns a reminder's subject ("" for a text) and body.
func (r *reminder) say(language, channel string) (subject, body string) {
	w := languages[language]
	middle, on := w.pay, r.dueOn
	subject = w.subject
	switch {
	case !r.collectsOn.IsZero():
		middle, subject, on = w.collected, w.autopaySubject, r.collectsOn
	case r.autopay: // who pays by autopay is never asked to pay
		middle = w.notThis
	}
	if channel == Text {
		return "", r.fill(w, on, w.available, " ", middle, " ", w.stop)
	}
	return r.fill(w, on, subject), r.fill(w, on, w.greeting, "\n\n", w.available, " ", middle, "\n", w.contact, "\n\n", w.unsubscribe, "\n")
}

// announce returns the subject ("" for a text) and body of word that a
// statement is there. What is due, and whether the member has anything to do,
// stands on it.
func (r *reminder) announce(language, channel string) (subject, body string) {
	w := languages[language]
	if channel == Text {
		return "", r.fill(w, 0, w.available, " ", w.see, " ", w.stop)
	}
	return w.ready, r.fill(w, 0, w.greeting, "\n\n", w.available, "\n", w.contact, "\n\n", w.unsubscribe, "\n")
}

// fill puts what a message is about into its sentences.
func (r *reminder) fill(w words, on calendar.Date, parts ...string) string {
	return fmt.Sprintf(strings.Join(parts, ""), r.biller, r.last4, r.due.String(), w.date(on), r.web, r.phone)
}
