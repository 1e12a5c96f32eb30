package statements

import (
	"fmt"
	"strings"

	"github.com/billcycle/billcycle/calendar"
)

// words is all that the pages say in one language. A percent sign stands for
// what is put in its place, in order.
type words struct {
	locale string
	months [12]string
	date   string // "%" for month, day and year, in the language's order
	month  string // the title: month and year

	statement, page, account, statementDate, statementNo               latin
	amountDue, payBy, autopayOn, onItsWay, yourCredit                  latin
	doNotPay, doNotPayCard, fromAccount, fromCard, noDebit, nothingDue latin
	payOnline, payByCheck, pastDuePart, pastDue                        latin
	changed, previous, thanks, payments, adjustments, charges          latin
	fees, balance, inDispute, onPlan, creditKept, creditOfOthers       latin
	forYou, moreForYou, received, covers, grace, plan, coverageEnd     latin
	details, noDetails, continueOn, detailsMore, more                  latin
	columnDate, columnWhat, columnWho, columnRef, columnAmount         latin
	kinds                                                              map[Kind]latin
	covered, current, from, to                                         latin
	questions, questionsBack, help                                     latin
	detach, coupon, payable, writeNumber, moved                        latin
	couponNumber, enclosed                                             latin
	noCoupon, noCouponAutopay, noCouponOnItsWay                        latin
	about, aboutMore, headline                                         latin
	change, changeHow                                                  latin
	name, validFrom, street, unit, city, state, zip, phone, email      latin
	signature                                                          latin

	askTitle, ask, helpTitle, help1, helpWhere               string
	waysTitle, online, byPhone, byMail, lateTitle            string
	checkTitle, check, countsTitle, counts, readTitle, reads string
	languagesTitle                                           string
}

// wordsOf returns the words of a language, English for any that is not printed.
func wordsOf(language string) *words {
	if language == "es" {
		return &spanish
	}
	return &english
}

// say puts texts where the percent signs stand.
func say(format latin, with ...latin) latin {
	var b strings.Builder
	rest := string(format)
	for _, w := range with {
		before, after, ok := strings.Cut(rest, "%")
		if !ok {
			break
		}
		b.WriteString(before)
		b.WriteString(string(w))
		rest = after
	}
	b.WriteString(rest)
	return latin(b.String())
}

// long writes a date out.
func (w *words) long(d calendar.Date) latin {
	if w.locale != spanish.locale || d.IsZero() {
		return latin(d.Long())
	}
	t := d.Time()
	return latin(fmt.Sprintf(w.date, t.Day(), w.months[t.Month()-1], t.Year()))
}

// title names a statement by its month.
func (w *words) title(c calendar.Cycle) latin {
	if c <= 0 {
		return w.statement
	}
	t := c.First().Time()
	name := t.Month().String()
	if w.months[0] != "" {
		name = w.months[t.Month()-1]
	}
	return latin(fmt.Sprintf(w.month, name, t.Year()))
}

var english = words{
	locale: "en-US", month: "%s %d statement",
	statement: "Your statement", page: "Page % of %", account: "Account (MRN)", statementDate: "Statement date", statementNo: "Statement no.",
	amountDue: "Amount due", payBy: "Please pay by", autopayOn: "Autopay on", onItsWay: "Already on its way", yourCredit: "Your credit",
	doNotPay: "Do not pay: % will be debited on % from % ending %.", doNotPayCard: "Do not pay: % will be charged to your card on %.", fromAccount: "account", fromCard: "card",
	noDebit:    "Do not pay: nothing will be debited, your payment on its way covers the amount due.",
	nothingDue: "Nothing is due. Please do not pay.",
	payOnline:  "Pay online at %", payByCheck: "Pay by check with the coupon below.",
	pastDuePart: "% of this is past due. Please pay it now.", pastDue: "% of the amount due is past due.",
	changed: "What changed since your last statement", previous: "Previous balance", thanks: "Payments - thank you", payments: "Payments",
	adjustments: "Adjustments", charges: "New charges", fees: "Fees", balance: "Account balance",
	inDispute: "In dispute, not due now", onPlan: "On your payment plan, not due now", creditKept: "Credit kept for later bills",
	creditOfOthers: "Credit that belongs to another payer",
	forYou:         "For you", moreForYou: "More messages for you are on page 2.",
	received:    "We have received % that has not posted to your account yet. It is not counted in this statement.",
	covers:      " It covers the amount due: you need not pay again.",
	grace:       "Your premium is unpaid. To keep your coverage, pay all that is due by %.",
	coverageEnd: " Otherwise it ends as of %.", plan: "Your payment plan: installment % of % is part of this statement.",
	details: "Details since your last statement", noDetails: "Nothing was charged, paid or changed.",
	continueOn: "Details continue on page 3.", detailsMore: "Details, continued", more: "%, continued",
	columnDate: "Date", columnWhat: "Description", columnWho: "Member", columnRef: "Reference", columnAmount: "Amount",
	kinds:   map[Kind]latin{Premium: "Premiums", Medical: "Medical charges", Payments: "Payments", Adjustments: "Adjustments", Fees: "Fees"},
	covered: "% billed, % covered by your plan", current: "Current", from: "% days and more", to: "% to % days",
	questions: "Questions? %.", questionsBack: "Questions? See page 2.", help: " Help with paying: %",
	detach: "Detach here and return the coupon with your check", coupon: "Payment coupon", payable: "Make your check payable to %.",
	writeNumber: "Write your account number on it. No cash, staples or notes.", moved: "My address has changed: see the back of this coupon.",
	couponNumber: "Statement number", enclosed: "Amount enclosed",
	noCoupon:         "There is no payment coupon this month, because nothing is due.",
	noCouponAutopay:  "There is no payment coupon this month, because autopay takes care of what is due.",
	noCouponOnItsWay: "There is no payment coupon this month, because a payment on its way covers what is due.",
	about:            "About your statement", aboutMore: "About your statement, continued", headline: "Account %   Statement %   %",
	change: "Change of address", changeHow: "Please print, tick the box on the front and return this coupon, or tell us online or by phone.",
	name: "Name", validFrom: "Valid from (date)", street: "New street address", unit: "Apartment, unit", city: "City", state: "State", zip: "ZIP",
	phone: "Phone", email: "E-mail", signature: "Signature",

	askTitle: "Questions about this statement",
	ask:      "If something looks wrong, please tell us before the due date. While we look into a charge that you dispute, it is not due.",
	// 26 CFR 1.501(r)-4 wants it conspicuous, with where to find the policy.
	helpTitle: "Help with paying your bill",
	help1:     "You may qualify for financial assistance, a payment plan or a lower premium. Applying is free, and asking does no harm to your coverage.",
	helpWhere: " For our policy, a plain-language summary and the form: %.",
	waysTitle: "Ways to pay", online: "Online: %. ", byPhone: "By phone: %. ",
	byMail: "By mail: your check with the coupon, in the envelope enclosed. " +
		"By autopay: we debit your bank account or card on the due date, and tell you the amount beforehand. You may end autopay at any time.",
	lateTitle: "If you pay late", checkTitle: "When you pay by check",
	// Model clause A-6 of 12 CFR 1005, Appendix A: it must be on the bill
	// before a check may be turned into an electronic debit.
	check: "When you provide a check as payment, you authorize us either to use information from your check to make a one-time " +
		"electronic fund transfer from your account or to process the payment as a check transaction. Funds may be withdrawn from your account " +
		"on the day we receive your check, and you may not receive it back from your financial institution.",
	countsTitle: "When your payment counts",
	counts: "A payment counts for the day we receive it. A mailed check shows on your account some days later; " +
		"if it came in time, no late fee stands because of the delay. Please allow a week for the mail.",
	readTitle: "Reading this statement",
	reads: "New charges are what was billed since your last statement. The age of an amount is counted from the statement that first billed it, " +
		"never from the date of service. Amounts in dispute or on a payment plan are part of the balance, but not of the amount due.",
	languagesTitle: "Help in your language",
}

var spanish = words{
	locale: "es-US", month: "Estado de cuenta, %s de %d", date: "%d de %s de %d",
	months:    [12]string{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"},
	statement: "Su estado de cuenta", page: encode("Página % de %"), account: "Cuenta (MRN)", statementDate: "Fecha", statementNo: encode("Estado n.º"),
	amountDue: "Saldo a pagar", payBy: encode("Pague a más tardar el"), autopayOn: encode("Pago automático"), onItsWay: "Ya en camino", yourCredit: encode("Su crédito"),
	doNotPay: encode("No pague: se cobrarán % el % de su % que termina en %."), doNotPayCard: encode("No pague: se cobrarán % a su tarjeta el %."), fromAccount: "cuenta", fromCard: "tarjeta",
	noDebit:    encode("No pague: no se cobrará nada, su pago en camino cubre lo que debe."),
	nothingDue: "No debe nada. Por favor, no pague.",
	payOnline:  encode("Pague en línea en %"), payByCheck: encode("Pague con cheque usando el cupón de abajo."),
	pastDuePart: encode("% de este total está vencido. Pague esa parte ahora."), pastDue: encode("% del saldo a pagar está vencido."),
	changed: encode("Qué cambió desde su último estado de cuenta"), previous: "Saldo anterior", thanks: "Pagos, gracias", payments: "Pagos",
	adjustments: "Ajustes", charges: "Cargos nuevos", fees: "Recargos", balance: "Saldo de la cuenta",
	inDispute: encode("En disputa, no se debe ahora"), onPlan: "En su plan de pagos, no se debe ahora", creditKept: encode("Crédito para facturas futuras"),
	creditOfOthers: encode("Crédito que es de otro pagador"),
	forYou:         "Para usted", moreForYou: encode("Hay más mensajes para usted en la página 2."),
	received:    encode("Recibimos % que todavía no aparecen en su cuenta. No están incluidos en este estado de cuenta."),
	covers:      " Cubren lo que debe: no tiene que pagar de nuevo.",
	grace:       encode("Su prima está sin pagar. Para conservar su cobertura, pague todo lo que debe a más tardar el %."),
	coverageEnd: encode(" De lo contrario, termina con fecha del %."), plan: encode("Su plan de pagos: la cuota % de % es parte de este estado de cuenta."),
	details: encode("Detalles desde su último estado de cuenta"), noDetails: encode("No hubo cargos, pagos ni cambios."),
	continueOn: encode("Los detalles continúan en la página 3."), detailsMore: encode("Detalles, continuación"), more: encode("%, continuación"),
	columnDate: "Fecha", columnWhat: encode("Descripción"), columnWho: "Miembro", columnRef: "Referencia", columnAmount: "Importe",
	kinds:   map[Kind]latin{Premium: "Primas", Medical: encode("Cargos médicos"), Payments: "Pagos", Adjustments: "Ajustes", Fees: "Recargos"},
	covered: "% facturados, % cubiertos por su plan", current: "Al corriente", from: encode("% días o más"), to: encode("% a % días"),
	questions: encode("¿Preguntas? %."), questionsBack: encode("¿Preguntas? Vea la página 2."), help: " Ayuda para pagar: %",
	detach: encode("Separe aquí y envíe el cupón con su cheque"), coupon: encode("Cupón de pago"), payable: "Haga su cheque a nombre de %.",
	writeNumber: encode("Escriba en él su número de cuenta. Sin efectivo, grapas ni notas."), moved: encode("Mi dirección cambió: vea el reverso de este cupón."),
	couponNumber: encode("Número de estado de cuenta"), enclosed: "Importe incluido",
	noCoupon:         encode("Este mes no hay cupón de pago, porque no debe nada."),
	noCouponAutopay:  encode("Este mes no hay cupón de pago, porque el pago automático cubre lo que debe."),
	noCouponOnItsWay: encode("Este mes no hay cupón de pago, porque un pago en camino cubre lo que debe."),
	about:            "Sobre su estado de cuenta", aboutMore: encode("Sobre su estado de cuenta, continuación"), headline: "Cuenta %   Estado de cuenta %   %",
	change: encode("Cambio de dirección"), changeHow: encode("Escriba en letra de molde, marque la casilla del frente y envíe este cupón, o avísenos en línea o por teléfono."),
	name: "Nombre", validFrom: encode("Válida desde (fecha)"), street: encode("Nueva dirección"), unit: "Apartamento, unidad", city: "Ciudad", state: "Estado", zip: encode("Código postal"),
	phone: encode("Teléfono"), email: encode("Correo electrónico"), signature: "Firma",

	askTitle:  "Preguntas sobre este estado de cuenta",
	ask:       "Si algo le parece incorrecto, avísenos antes de la fecha de vencimiento. Mientras revisamos un cargo que usted disputa, no tiene que pagarlo.",
	helpTitle: "Ayuda para pagar su factura",
	help1:     "Puede tener derecho a ayuda financiera, a un plan de pagos o a una prima más baja. La solicitud es gratuita y pedirla no afecta su cobertura.",
	helpWhere: " Nuestra política, un resumen en lenguaje sencillo y el formulario: %.",
	waysTitle: "Formas de pagar", online: "En línea: %. ", byPhone: "Por teléfono: %. ",
	byMail: "Por correo: su cheque con el cupón, en el sobre incluido. " +
		"Con pago automático: cobramos de su cuenta bancaria o tarjeta en la fecha de vencimiento y le avisamos el importe antes. Puede cancelarlo en cualquier momento.",
	lateTitle: "Si paga tarde", checkTitle: "Cuando paga con cheque",
	check: "Cuando usted paga con cheque, nos autoriza a usar la información de su cheque para hacer una transferencia electrónica única " +
		"de fondos desde su cuenta o a procesar el pago como una transacción con cheque. Los fondos pueden retirarse de su cuenta " +
		"el mismo día en que recibimos su cheque, y es posible que su institución financiera no se lo devuelva.",
	countsTitle: "Cuándo cuenta su pago",
	counts: "Un pago cuenta desde el día en que lo recibimos. Un cheque enviado por correo aparece en su cuenta algunos días después; " +
		"si llegó a tiempo, no se mantiene ningún recargo por esa demora. Calcule una semana para el correo.",
	readTitle: "Cómo leer este estado de cuenta",
	reads: "Los cargos nuevos son lo que se facturó desde su último estado de cuenta. La antigüedad de un importe se cuenta desde el estado de cuenta que lo facturó por primera vez, " +
		"nunca desde la fecha del servicio. Los importes en disputa o en un plan de pagos son parte del saldo, pero no del saldo a pagar.",
	languagesTitle: "Ayuda en su idioma",
}
