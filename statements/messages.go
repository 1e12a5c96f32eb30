package statements

import (
	"strconv"
	"strings"
)

// What is said to the member on page 1, beside the figures.

const messagesTop = 240.0 // the first baseline

// messages draws what is said to this member alone below the address, as far
// down as limit, and returns where it ends; what does not fit is left for the
// second page.
func (d *drawing) messages(p *page, limit float64) float64 {
	const size, leading, width = 9.0, 11.5, 246.0
	y := messagesTop
	for _, m := range d.ownMessages() {
		lines := d.wrap(regular, size, width, m, 40)
		if len(lines) == 0 {
			continue
		}
		if len(d.rest) > 0 || y+15+leading*float64(len(lines)) > limit {
			d.rest = append(d.rest, m)
			continue
		}
		if y == messagesTop {
			p.tag("H2")
			p.text(bold, 11, left, y, d.headings, d.words.forYou)
			y += 16
		}
		p.tag("P")
		y = p.lines(regular, size, leading, left, y, black, lines) + 4
	}
	if len(d.rest) > 0 && y+leading <= limit {
		p.tag("P")
		p.text(bold, size, left, y, black, d.words.moreForYou)
		y += leading
	}
	p.artifact()
	return y - leading - 4
}

// ownMessages are the messages that follow from the figures, then the cut's.
func (d *drawing) ownMessages() []latin {
	var all []latin
	w := d.words
	if g := d.s.Grace; !g.Until.IsZero() {
		m := say(w.grace, w.long(g.Until))
		if !g.CoverEnd.IsZero() {
			m += say(w.coverageEnd, w.long(g.CoverEnd))
		}
		all = append(all, m)
	}
	if d.f.Pending > 0 && d.ask != OnItsWay {
		m := say(w.received, money(d.f.Pending))
		if d.ask == Pay && d.f.Pending >= d.f.AmountDue {
			m += w.covers
		}
		all = append(all, m)
	}
	if d.f.PastDue > 0 && d.ask != Pay {
		all = append(all, say(w.pastDue, money(d.f.PastDue)))
	}
	if pl := d.s.Plan; pl.Installments > 0 {
		all = append(all, say(w.plan, count(pl.Installment), count(pl.Installments)))
	}
	if help := d.languageHelp(d.s.Language); help != "" {
		all = append(all, help)
	}
	for _, m := range d.s.Messages {
		all = append(all, encode(m))
	}
	return all
}

func count(n int) latin { return latin(strconv.Itoa(n)) }

// languageHelp offers free help in the member's language; "" for one that the
// statement is printed in.
func (d *drawing) languageHelp(language string) latin {
	if len(d.biller.Phones) == 0 || language == "" || language == "en" || language == d.biller.Language {
		return ""
	}
	phone := encode(d.biller.Phones[0].Number)
	switch language {
	case "es":
		return encode("¿Necesita ayuda en español? Es gratis. Llame al ") + phone + "."
	case "tl":
		return "Kailangan ng tulong sa Tagalog? Libre ito. Tumawag sa " + phone + "."
	case "vi":
		return encode("Cần giúp đỡ bằng tiếng Việt? Miễn phí. Xin gọi ") + phone + "."
	case "fr":
		return encode("Besoin d'aide en français ? C'est gratuit. Appelez le ") + phone + "."
	}
	return "Free help in your language: call " + phone + "."
}

// questions draws the line with whom to ask, at the foot of page 1 or above the
// coupon: its last baseline is y.
func (d *drawing) questions(p *page, y float64) {
	var parts []string
	for i, phone := range d.biller.Phones {
		if i < 2 {
			parts = append(parts, strings.TrimSpace(phone.Label+" "+phone.Number))
		}
	}
	text := d.words.questionsBack
	if len(parts) > 0 {
		text = say(d.words.questions, encode(strings.Join(parts, ", ")))
	}
	if d.biller.Assistance != "" {
		text += say(d.words.help, encode(d.biller.Assistance))
	}
	size := max(d.fit(bold, 8.5, rightEdge-left, text), 7)
	lines := d.wrap(bold, size, rightEdge-left, text, 2)
	p.tag("P")
	p.lines(bold, size, 8, left, y-8*float64(len(lines)-1), black, lines)
	p.artifact()
}
