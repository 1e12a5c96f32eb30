package lockbox

import (
	"bytes"
	"strconv"
	"strings"
)

// elementSchema holds what a profile may look for in the segments of a check
// and its coupons.
var elementSchema = map[string]fieldSpec{
	"check": {fCheck, textKind, false}, "received_date": {fReceivedDate, dateKind, false},
	"check_date": {fCheckDate, dateKind, false}, "postmark_date": {fPostmarkDate, dateKind, false},
	"remitter": {fRemitter, textKind, false}, "payee": {fPayee, textKind, false}, "payer": {fPayer, textKind, false},
	"invoice": {fInvoice, textKind, false}, "text": {fText, textKind, false}, "envelope": {fEnvelope, textKind, false},
	"bank_item": {fBankItem, textKind, false}, "zip": {fZIP, textKind, false},
}

// ofCoupon are the fields that a coupon has for itself.
var ofCoupon = map[field]bool{fPayer: true, fInvoice: true, fText: true, fEnvelope: true}

// elementRule is one place of an 823 where a field may stand.
type elementRule struct {
	field     field
	tag       string
	n         int
	qualifier string // what the segment's first element, or its party, must be; "" for anything
	rank      int    // 1 is the best place
}

// parseElement reads "REF02 CK".
func parseElement(place string) (rule elementRule, ok bool) {
	element, qualifier, _ := strings.Cut(place, " ")
	if len(element) < 4 {
		return rule, false
	}
	n, err := strconv.ParseUint(element[len(element)-2:], 10, 8)
	rule = elementRule{tag: element[:len(element)-2], n: int(n), qualifier: qualifier}
	switch rule.tag {
	case "BPR", "TRN", "REF", "DTM", "N1", "N4", "RMR", "NTE":
		return rule, err == nil && n > 0
	}
	return rule, false
}

// elementRules orders a profile's places by segment.
func elementRules(p Profile) map[string][]elementRule {
	rules := map[string][]elementRule{}
	for name, places := range p.Elements {
		for rank, place := range places {
			if rule, ok := parseElement(place); ok {
				rule.field, rule.rank = elementSchema[name].field, rank+1
				rules[rule.tag] = append(rules[rule.tag], rule)
			}
		}
	}
	return rules
}

// describe takes from the current segment what the profile says it holds about
// the open check or its last coupon.
func (r *x12Reader) describe(tag string) {
	if tag == "N1" {
		r.party = r.get(1)
	}
	for _, rule := range r.rules[tag] {
		value := r.at(rule.n)
		if len(value) == 0 || !r.qualifies(rule) {
			continue
		}
		ranks := &r.ranks[ofItem]
		coupon := r.loop == remittance && ofCoupon[rule.field]
		if coupon {
			ranks = &r.ranks[ofItsCoupon]
		}
		if best := ranks[rule.field]; best > 0 && best <= rule.rank {
			continue
		}
		text := show(value)
		if text == "" {
			continue
		}
		ranks[rule.field] = rule.rank
		if coupon {
			r.setCoupon(rule.field, text)
		} else {
			r.setItem(rule, text)
		}
	}
}

// The ranks of what was found so far are kept apart for a check and its coupon.
const (
	ofItem = iota
	ofItsCoupon
)

// qualifies says whether the current segment is of the kind that a rule wants.
func (r *x12Reader) qualifies(rule elementRule) bool {
	switch {
	case rule.qualifier == "":
		return true
	case rule.tag == "N4":
		return rule.qualifier == r.party
	}
	return rule.qualifier == string(bytes.TrimSpace(r.at(1)))
}

func (r *x12Reader) setCoupon(f field, value string) {
	if !r.keeps() || r.item.overflows >= maxOverflows {
		return
	}
	i := &r.items[len(r.items)-1]
	o := &i.Overflows[len(i.Overflows)-1]
	switch f {
	case fPayer:
		o.Payer = r.p.reference(value)
	case fInvoice:
		o.Invoice = r.p.reference(value)
	case fText:
		o.Text = value
	case fEnvelope:
		o.Envelope = value
	}
}

func (r *x12Reader) setItem(rule elementRule, value string) {
	scratch := Item{}
	i := &scratch
	if r.keeps() {
		i = &r.items[len(r.items)-1]
	}
	switch rule.field {
	case fReceivedDate:
		i.ReceivedDate = r.date(r.seg[0], rule.n, RefusesBatch)
	case fCheckDate:
		i.CheckDate = r.date(r.seg[0], rule.n, Note)
	case fPostmarkDate:
		i.PostmarkDate = r.date(r.seg[0], rule.n, Note)
	default:
		i.set(rule.field, value, r.p)
	}
}

// set fills a field of text.
func (i *Item) set(f field, value string, p Profile) {
	switch f {
	case fCheck:
		i.Check = strings.TrimLeft(value, "0")
	case fRouting:
		i.Routing = notZero(value)
	case fAccount:
		i.Account = notZero(value)
	case fRemitter:
		i.Remitter = value
	case fPayee:
		i.Payee = value
	case fPayer:
		i.Payer = p.reference(value)
	case fInvoice:
		i.Invoice = p.reference(value)
	case fText:
		i.Text = value
	case fEnvelope:
		i.Envelope = value
	case fBankItem:
		i.BankItem = value
	case fZIP:
		i.ZIP = value
	}
}

// refer lists the references of a check and of its coupons: payer first, then
// invoice.
func (i *Item) refer() {
	add := func(list []string, s string) []string {
		if s == "" {
			return list
		}
		return append(list, s)
	}
	i.References = add(add(nil, i.Payer), i.Invoice)
	seen := map[string]bool{}
	for _, s := range i.References {
		seen[s] = true
	}
	for n := range i.Overflows {
		o := &i.Overflows[n]
		o.References = add(add(nil, o.Payer), o.Invoice)
		for _, s := range o.References {
			if !seen[s] {
				seen[s] = true
				i.References = append(i.References, s)
			}
		}
	}
}

// keepSegment adds the current segment to the lines of the open check.
func (r *x12Reader) keepSegment() {
	if !r.item.open || !r.batch.open {
		return
	}
	if r.segments++; r.segments == 2*maxOverflows {
		r.problem(RefusesFile, structure, "BPR", "segments", strconv.Itoa(r.segments), "fewer than "+strconv.Itoa(2*maxOverflows), "the check has more than %d segments", 2*maxOverflows)
	}
	if r.keeps() && r.segments < 2*maxOverflows {
		r.text = append(r.text, show(r.joined)...)
		r.text = append(r.text, '\n')
	}
}

// finished makes the checks of the batch that closes complete.
func (r *x12Reader) finished() []Item {
	text := string(r.text)
	for n := range r.items {
		end := len(text)
		if n+1 < len(r.from) {
			end = r.from[n+1]
		}
		r.items[n].Raw = text[r.from[n]:end]
		r.items[n].refer()
	}
	return r.items
}
