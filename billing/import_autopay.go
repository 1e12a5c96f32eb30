package billing

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// enrolment is a line of autopay.csv: how an account pays by itself, and by
// what right.
type enrolment struct {
	line         int
	mrn          string
	method       string // ach or card
	routing      string
	number       secret.Number
	accountType  string
	cardToken    string
	authorizedOn calendar.Date
	authorizedBy string
	terms        string        // the text agreed to, by its version or hash
	copySentOn   calendar.Date // of the authorization, to the member
	rangeSaid    bool          // the file has the columns of the range
	rangeFrom    ledger.Cents  // amounts of which the member wants no notice
	rangeTo      ledger.Cents
	endedOn      calendar.Date // 0 while it lasts

	hash []byte // of routing and number
}

// isBare says whether the row names no bank account and no card: it can only
// end an enrolment.
func (e *enrolment) isBare() bool { return e.routing == "" && e.number == "" && e.cardToken == "" }

var autopayFeed = feed[enrolment]{
	name: "autopay",
	layout: layout{
		required: []string{"mrn", "method", "authorized_on", "authorized_by"},
		optional: []string{"routing", "account", "account_type", "card_token", "terms", "copy_sent_on", "range_from_cents", "range_to_cents", "ended_on"},
		quiet:    true,
	},
	read:  readEnrolment,
	apply: enrol,
}

// Autopay takes in enrolments with their authorization. A row that was not
// seen before is a new enrolment: it ends the one before and switches autopay
// on, whatever it stood at. A row that is known changes nothing but what is noted
// of the enrolment that stands (the terms, the copy sent, the range of amounts),
// however it fared since: an authorization that was ended or revoked is not
// revived by the same row, only by one with a new date. A row whose ended_on
// has come ends the enrolment that stands, unless that was authorized later,
// and switches autopay off; it needn't repeat the numbers. An end that a person
// has set, a row can only bring forward. Account numbers are sealed with
// im.Keys before they are stored, and never repeated in a problem.
func (im Import) Autopay(ctx context.Context, db postgres.DB, from io.Reader) (Imported, error) {
	if im.Keys == nil {
		return Imported{Problems: []Problem{}}, errors.New("importing autopay: no keys to seal account numbers with")
	}
	return take(ctx, db, im, autopayFeed, from)
}

// EnrolledBy is a single enrolment, as a person types it in. A row that only
// ends one names neither bank account nor card.
type EnrolledBy struct {
	Method, Routing, AccountType, CardToken, AuthorizedBy string
	Terms                                                 string
	Number                                                secret.Number
	AuthorizedOn, CopySentOn, EndedOn                     calendar.Date
	RangeFrom, RangeTo                                    ledger.Cents
}

// AutopayByHand takes in one enrolment, or the end of one, as Autopay would;
// im.ByHand says whose it is, and who did it.
func (im Import) AutopayByHand(ctx context.Context, db postgres.DB, e EnrolledBy) (Imported, error) {
	var from, to string
	if e.RangeTo != 0 {
		from, to = fmt.Sprint(int64(e.RangeFrom)), fmt.Sprint(int64(e.RangeTo))
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.WriteAll([][]string{
		{"mrn", "method", "routing", "account", "account_type", "card_token", "authorized_on", "authorized_by", "terms", "copy_sent_on", "range_from_cents", "range_to_cents", "ended_on"},
		{im.ByHand.MRN, e.Method, e.Routing, e.Number.Reveal(), e.AccountType, e.CardToken, e.AuthorizedOn.String(), e.AuthorizedBy, e.Terms, e.CopySentOn.String(), from, to, e.EndedOn.String()}})
	if err != nil {
		return Imported{}, err
	}
	return im.Autopay(ctx, db, &b)
}

func readEnrolment(r *row) enrolment {
	e := enrolment{line: r.line, mrn: r.mrn("mrn"), method: r.oneOf("method", "ach", "card"),
		routing: r.cell("routing"), number: secret.Number(r.cell("account")), accountType: r.cell("account_type"), cardToken: r.text("card_token", 128),
		authorizedOn: r.mustDate("authorized_on"), authorizedBy: r.oneOf("authorized_by", "written", "web", "phone"),
		terms: r.text("terms", 128), copySentOn: r.date("copy_sent_on"), endedOn: r.date("ended_on")}
	e.readRange(r)
	if e.copySentOn != 0 && e.copySentOn < e.authorizedOn {
		r.refuse("copy_sent_on", "is before authorized_on")
	}
	if e.endedOn != 0 && e.endedOn < e.authorizedOn {
		r.refuse("ended_on", "is before authorized_on")
	}
	others := map[string][]string{"ach": {"card_token"}, "card": {"routing", "account", "account_type"}}
	for _, column := range others[e.method] {
		if r.cell(column) != "" {
			r.refuse(column, "must be empty where the method is %s", e.method)
		}
	}
	switch {
	case e.isBare() && e.endedOn != 0: // it needs no more
	case e.method == "ach":
		e.checkBank(r)
	case e.method == "card":
		e.accountType = "checking" // the column's default; it says nothing of a card
		r.must("card_token", 128)
		if looksLikeCard(e.cardToken) {
			r.refuse("card_token", "looks like the number of a card; only the gateway's token for it may be stored")
		}
	}
	return e
}

// readRange reads the range of amounts of which the member wants no notice.
func (e *enrolment) readRange(r *row) {
	_, e.rangeSaid = r.at["range_to_cents"]
	if r.cell("range_from_cents") == "" && r.cell("range_to_cents") == "" {
		return
	}
	e.rangeFrom, e.rangeTo = r.cents("range_from_cents", false), r.cents("range_to_cents", false)
	if e.rangeFrom > e.rangeTo {
		r.refuse("range_to_cents", "is below range_from_cents")
	}
	if e.method == "card" {
		r.refuse("range_to_cents", "must be empty where the method is card")
	}
}

// checkBank checks what an ACH debit needs: routing number, account number and
// the account's type.
func (e *enrolment) checkBank(r *row) {
	switch n := e.number.Reveal(); {
	case n == "":
		r.refuse("account", "is empty")
	case len(n) > 17:
		r.refuse("account", "has %d characters; an account number has 17 at the most", len(n))
	case strings.ContainsFunc(n, func(c rune) bool { return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') }):
		r.refuse("account", "holds something else than digits and letters")
	}
	switch {
	case e.routing == "":
		r.refuse("routing", "is empty")
	case !isRouting(e.routing):
		r.refuse("routing", "is not a routing number: nine digits, the last a check digit; look for a mistyped digit")
	}
	r.oneOf("account_type", "checking", "savings")
}

// isRouting says whether nine digits are an ABA routing number: weighted 3, 7,
// 1 from the left they add up to a multiple of ten.
func isRouting(s string) bool {
	if len(s) != 9 || firstNonDigit(s) >= 0 || s == "000000000" {
		return false
	}
	sum := 0
	for i := range len(s) {
		sum += int(s[i]-'0') * [3]int{3, 7, 1}[i%3]
	}
	return sum%10 == 0
}

// looksLikeCard says whether a token is rather a card's own number: 13 to 19
// digits, perhaps grouped, that pass the Luhn test.
func looksLikeCard(token string) bool {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(token)
	return len(digits) >= 13 && len(digits) <= 19 && firstNonDigit(digits) < 0 && luhnDigit(digits[:len(digits)-1]) == digits[len(digits)-1]
}

// method is an enrolment as it is kept.
type method struct {
	enrolment
	id         int64 // 0: not stored yet
	account    int64
	individual string // its MRN; only of one that is not stored yet
	corrected  bool   // made by a bank's notification of change, not by this feed
	byHand     bool   // a person has set its end
	debitFrom  calendar.Date
	dirty      bool
}

// anyDay is the first day there is: a bank account that needn't be tried out.
const anyDay calendar.Date = 1

// debitedFrom says from when on a new method may be debited, 0 for not before
// it was tried out: what an older one with the same numbers may be, else at
// once, unless the policy wants a prenote.
func (m *method) debitedFrom(p *Policy, older []*method) calendar.Date {
	if m.method != "ach" || !p.ACH.Prenote {
		return anyDay
	}
	for i := len(older) - 1; i >= 0; i-- {
		if older[i].sameNumbers(&m.enrolment) {
			return older[i].debitFrom
		}
	}
	return 0
}

// sameNumbers says whether an enrolment names the same bank account or card.
func (m *method) sameNumbers(e *enrolment) bool {
	return m.method == e.method && m.routing == e.routing && bytes.Equal(m.hash, e.hash) && m.accountType == e.accountType && m.cardToken == e.cardToken
}

func (m *method) sameRight(e *enrolment) bool {
	return m.authorizedOn == e.authorizedOn && m.authorizedBy == e.authorizedBy
}

// live returns the method that stands on a day, nil if none does.
func live(methods []*method, day calendar.Date) *method {
	for i := len(methods) - 1; i >= 0; i-- {
		if m := methods[i]; m.endedOn == 0 || m.endedOn > day {
			return m
		}
	}
	return nil
}

// enrol takes the enrolments of a chunk, in order.
func enrol(ctx context.Context, in *intake, rows []enrolment) error {
	book, accounts, err := in.load(ctx, Counters, column(rows, func(e *enrolment) string { return e.mrn }))
	if err != nil {
		return err
	}
	if err := in.loadEnding(ctx, book, accounts, rows); err != nil {
		return err
	}
	methods, err := in.methodsOf(ctx, column(book.Accounts, func(a **Account) int64 { return (*a).ID }))
	if err != nil {
		return err
	}
	var added []*method
	for i := range rows {
		e := &rows[i]
		account, ok := accounts[e.mrn]
		switch {
		case !ok:
			in.refuse(e.line, "mrn", unknownMember, e.mrn)
			continue
		case e.authorizedOn > in.Day:
			in.refuse(e.line, "authorized_on", "is after the business date %s", in.Day)
			continue
		}
		if e.number != "" {
			e.hash = in.Keys.Fingerprint(e.routing, e.number.Reveal())
		}
		a := book.Account(account)
		if changed, known := in.amend(a, methods[account], e); known {
			if changed {
				in.Accepted++
			} else {
				in.Unchanged++
			}
			continue
		}
		if before := live(methods[account], in.Day); before != nil {
			before.endedOn, before.dirty = in.Day, true
		}
		m := &method{enrolment: *e, account: account, individual: a.MRN, byHand: in.ByHand != nil && e.endedOn != 0}
		m.debitFrom = m.debitedFrom(in.Policy, methods[account])
		methods[account] = append(methods[account], m)
		added = append(added, m)
		a.SetAutopay(in.Policy, true, in.Day)
		in.Accepted++
	}
	if err := book.Save(ctx); err != nil {
		return err
	}
	return in.saveMethods(ctx, methods, added)
}

// loadEnding loads the accounts whole of which a row may end autopay.
func (in *intake) loadEnding(ctx context.Context, book *Book, accounts map[string]int64, rows []enrolment) error {
	var ending []int64
	for i := range rows {
		if a := book.Account(accounts[rows[i].mrn]); a != nil && a.Autopay == AutopayOn && rows[i].endedOn != 0 && rows[i].endedOn <= in.Day {
			ending = append(ending, a.ID)
		}
	}
	if len(ending) == 0 {
		return nil
	}
	slices.Sort(ending)
	whole, err := Load(ctx, in.tx, in.Policy.Need(Whole), slices.Compact(ending)...)
	if err != nil {
		return err
	}
	book.replace(whole)
	return nil
}

// amend applies a row about an enrolment that is known, or that only ends one:
// it changes nothing but the end. A row that is news is not known.
func (in *intake) amend(a *Account, methods []*method, e *enrolment) (changed, known bool) {
	standing := live(methods, in.Day)
	// After a notification of change the feed still says the old numbers.
	if standing != nil && standing.sameRight(e) && (standing.corrected || standing.sameNumbers(e)) {
		noted := !e.isBare() && standing.note(e)
		return in.end(a, standing, e.endedOn) || noted, true
	}
	for _, m := range methods {
		if m.sameRight(e) && m.sameNumbers(e) {
			return false, true
		}
	}
	if !e.isBare() && (e.endedOn == 0 || e.endedOn > in.Day) {
		return false, false
	}
	// An end is taken for the end of what stands, whatever numbers it names: to
	// stop debits wrongly does less harm than to go on. Only the end of an older
	// authorization is none of a newer one.
	if standing != nil && (e.authorizedOn >= standing.authorizedOn || standing.sameNumbers(e) && e.endedOn > standing.authorizedOn) {
		return in.end(a, standing, e.endedOn), true
	}
	return false, true // what it ends doesn't stand
}

// note takes down what a later row says of a standing enrolment.
func (m *method) note(e *enrolment) (changed bool) {
	before := m.enrolment
	if e.terms != "" {
		m.terms = e.terms
	}
	if e.copySentOn != 0 {
		m.copySentOn = e.copySentOn
	}
	if e.rangeSaid {
		m.rangeFrom, m.rangeTo = e.rangeFrom, e.rangeTo
	}
	changed = m.terms != before.terms || m.copySentOn != before.copySentOn || m.rangeFrom != before.rangeFrom || m.rangeTo != before.rangeTo
	m.dirty = m.dirty || changed
	return changed
}

// end sets the day on which an enrolment ends, 0 for none; if that has come,
// autopay is off. What a person has ended is not prolonged by a file.
func (in *intake) end(a *Account, m *method, on calendar.Date) (changed bool) {
	byHand := in.ByHand != nil && on != 0
	switch {
	case m.endedOn == on && (m.byHand || !byHand):
		return false
	case m.byHand && in.ByHand == nil && (on == 0 || on >= m.endedOn):
		return false
	}
	m.endedOn, m.dirty = on, true
	if in.ByHand != nil {
		m.byHand = byHand
	}
	if on != 0 && on <= in.Day {
		a.SetAutopay(in.Policy, false, in.Day)
	}
	return true
}

// methodsOf returns the methods that accounts have or had, oldest first.
func (in *intake) methodsOf(ctx context.Context, accounts []int64) (map[int64][]*method, error) {
	rows, err := in.tx.Query(ctx, `select id, account_id, method, routing, account_type, number_hash, card_token, authorized_on, authorized_by, terms, copy_sent_on, range_from, range_to, ended_on, ended_by_hand, corrected_by <> '', debit_from
		from autopay_method where account_id = any($1) order by id`, accounts)
	if err != nil {
		return nil, err
	}
	methods := map[int64][]*method{}
	for rows.Next() {
		m := &method{}
		if err := rows.Scan(&m.id, &m.account, &m.method, &m.routing, &m.accountType, &m.hash, &m.cardToken, &m.authorizedOn, &m.authorizedBy, &m.terms, &m.copySentOn, &m.rangeFrom, &m.rangeTo, &m.endedOn, &m.byHand, &m.corrected, &m.debitFrom); err != nil {
			return nil, err
		}
		methods[m.account] = append(methods[m.account], m)
	}
	return methods, rows.Err()
}

// saveMethods stores what changed, the account numbers sealed.
func (in *intake) saveMethods(ctx context.Context, methods map[int64][]*method, added []*method) error {
	var ids, from, to []int64
	var ends, copies []calendar.Date
	var terms []string
	var byHand []bool
	for _, of := range methods {
		for _, m := range of {
			if m.dirty && m.id != 0 {
				ids, ends, terms, copies = append(ids, m.id), append(ends, m.endedOn), append(terms, m.terms), append(copies, m.copySentOn)
				from, to, byHand = append(from, int64(m.rangeFrom)), append(to, int64(m.rangeTo)), append(byHand, m.byHand)
			}
		}
	}
	if len(ids) > 0 {
		if _, err := in.tx.Exec(ctx, `update autopay_method m set ended_on = u.ended, terms = u.terms, copy_sent_on = u.copied, range_from = u.low, range_to = u.high, ended_by_hand = u.by_hand
			from unnest($1::bigint[], $2::date[], $3::text[], $4::date[], $5::bigint[], $6::bigint[], $7::bool[]) u(id, ended, terms, copied, low, high, by_hand) where m.id = u.id`, ids, ends, terms, copies, from, to, byHand); err != nil {
			return err
		}
	}
	columns := []string{"account_id", "method", "routing", "account_type", "number_sealed", "number_hash", "number_last4", "card_token", "authorized_on", "authorized_by", "terms", "copy_sent_on", "range_from", "range_to", "ended_on", "ended_by_hand", "debit_from", "individual"}
	_, err := in.tx.CopyFrom(ctx, pgx.Identifier{"autopay_method"}, columns, pgx.CopyFromSlice(len(added), func(i int) ([]any, error) {
		m := added[i]
		var sealed []byte
		number := m.number.Reveal()
		if number != "" {
			var err error
			if sealed, err = in.Keys.Seal([]byte(number), fmt.Sprintf("autopay_method/%d", m.account)); err != nil {
				return nil, err
			}
		}
		return []any{m.account, m.method, m.routing, m.accountType, sealed, m.hash, strings.TrimPrefix(secret.Mask(number), "****"), m.cardToken, m.authorizedOn, m.authorizedBy, m.terms, m.copySentOn, int64(m.rangeFrom), int64(m.rangeTo), m.endedOn, m.byHand, m.debitFrom, m.individual}, nil
	}))
	return err
}
