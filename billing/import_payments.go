package billing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// paymentRow is a line of payments.csv: money taken elsewhere.
type paymentRow struct {
	line     int
	id, mrn  string
	received calendar.Date
	channel  string
	cents    ledger.Cents
	directed Kind
	payer    string
}

var paymentFeed = feed[paymentRow]{
	name: "payments",
	layout: layout{
		required: []string{"payment_id", "mrn", "received", "channel", "amount_cents"},
		optional: []string{"directed", "payer"},
	},
	read:  readPayment,
	apply: addPayments,
}

// Payments takes in money that was taken elsewhere. It posts on the later of
// its received date and the business date: now, or when the post job comes to
// that day. A payment_id that was seen before with the same content is
// unchanged, with other content refused. Imported.Cents is the sum of the
// amounts.
func (im Import) Payments(ctx context.Context, db postgres.DB, from io.Reader) (Imported, error) {
	return take(ctx, db, im, paymentFeed, from)
}

func readPayment(r *row) paymentRow {
	p := paymentRow{line: r.line, id: r.must("payment_id", 64), mrn: r.mrn("mrn"), received: r.mustDate("received"),
		channel: r.oneOf("channel", "counter", "online", "phone", "card", "check", "guest"), cents: r.cents("amount_cents", false), payer: r.text("payer", 100)}
	if r.cell("directed") != "" {
		p.directed = Kind(r.oneOf("directed", string(Premium), string(Medical)))
	}
	if p.cents == 0 && len(r.problems) == 0 {
		r.refuse("amount_cents", "a payment of 0 is none")
	}
	return p
}

// addPayments receives the payments of a chunk, in order, and posts those
// whose day has come.
func addPayments(ctx context.Context, in *intake, rows []paymentRow) error {
	known, err := in.paymentsKnown(ctx, column(rows, func(p *paymentRow) string { return p.id }))
	if err != nil {
		return err
	}
	var news []*paymentRow
	for i := range rows {
		if p := &rows[i]; !in.paidBefore(p, known) {
			news = append(news, p)
		}
	}
	book, accounts, err := in.load(ctx, OpenOnly, column(news, func(p **paymentRow) string { return (*p).mrn }))
	if err != nil {
		return err
	}
	var taken [][]any
	for _, p := range news {
		if in.paidBefore(p, known) { // twice in the chunk
			continue
		}
		account, ok := accounts[p.mrn]
		if !ok {
			in.refuse(p.line, "mrn", unknownMember, p.mrn)
			continue
		}
		a := book.Account(account)
		r := a.Receive(in.Day, Receipt{Channel: p.channel, Cents: p.cents, ReceivedOn: p.received, ArrivedOn: in.Day, PostsOn: max(p.received, in.Day),
			Guest: p.channel == "guest", Payer: p.payer, Directed: p.directed, Reference: p.id})
		if r.PostsOn <= in.Day {
			a.Post(in.Policy, r, in.Day)
		}
		known[p.id] = p.content()
		taken = append(taken, []any{p.id, account, r.No, known[p.id]})
		in.Accepted++
		in.Cents += p.cents
	}
	if err := book.Save(ctx); err != nil {
		return err
	}
	_, err = in.tx.CopyFrom(ctx, pgx.Identifier{"payment"}, []string{"payment_id", "account_id", "receipt", "content"}, pgx.CopyFromRows(taken))
	return err
}

// paidBefore counts a payment that came before: unchanged, or refused if it
// says something else now.
func (in *intake) paidBefore(p *paymentRow, known map[string][]byte) bool {
	before, ok := known[p.id]
	switch {
	case ok && bytes.Equal(before, p.content()):
		in.Unchanged++
	case ok:
		in.refuse(p.line, "payment_id", "payment %q came before and said something else; a payment is undone by an operator, not by the feed", p.id)
	}
	return ok
}

// content tells a payment from another under the same id.
func (p *paymentRow) content() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %s %q %d %q %q", p.mrn, p.received, p.channel, p.cents, p.directed, p.payer))
	return sum[:]
}

// paymentsKnown returns the content of the payments that came before under
// these ids.
func (in *intake) paymentsKnown(ctx context.Context, ids []string) (map[string][]byte, error) {
	rows, err := in.tx.Query(ctx, `select payment_id, content from payment where payment_id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	known := map[string][]byte{}
	var id string
	var content []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &content}, func() error {
		known[id] = bytes.Clone(content)
		return nil
	})
	return known, err
}
