// Package cards collects what is due from the cards of members who pay that
// way: it asks a gateway for charges and takes in its answers.
//
// The house never sees a card. It keeps the gateway's token. Ask makes the
// charges of a night as rows, and there are two ways on from there: by files of
// JSON lines (WriteFile writes what is [Asked], Ingest takes each [Answer]) that
// somebody carries to the gateway and back; or Settle speaks with a [Gateway]
// itself, such as [Stripe]. A charge is no money, not even pending money, until
// it was approved: then it is a receipt and posts at once. A declined one is
// asked again some days later, a few times.
//
// What is asked, and what follows from an answer, are rules of the account
// (billing.Account: CardDue, CardDueAgain, CardApproved, CardDeclined).
package cards

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Asked is a line to the gateway.
type Asked struct {
	Charge  Key           `json:"charge"`
	Token   string        `json:"token"`    // the gateway's name for the card
	Cents   ledger.Cents  `json:"cents"`    // US dollars
	AskedOn calendar.Date `json:"asked_on"` // the business date of the charge
}

// Answer is a line from the gateway.
type Answer struct {
	Charge Key          `json:"charge"` // as it was asked
	Result string       `json:"result"` // approved or declined
	Cents  ledger.Cents `json:"cents"`  // as they were asked: a charge is approved whole or not at all

	code string // why it was declined, in the word of a Gateway
}

// The results of a charge.
const (
	Approved = "approved"
	Declined = "declined"
)

// Key names a charge: which account, for which bill, and which attempt, 0 for
// the first. It is the key under which the gateway has to know a charge once,
// however often its line arrives.
type Key struct {
	Account int64
	Cycle   calendar.Cycle
	Attempt int
}

// String writes a key as 123-2026-03-0.
func (k Key) String() string { return fmt.Sprintf("%d-%s-%d", k.Account, k.Cycle, k.Attempt) }

// ParseKey reads what String writes, and nothing else.
func ParseKey(s string) (Key, error) {
	bad := fmt.Errorf("%.40q is not the name of a charge, such as 123-2026-03-0", s)
	parts := strings.Split(s, "-")
	if len(parts) != 4 {
		return Key{}, bad
	}
	account, err1 := strconv.ParseInt(parts[0], 10, 64)
	first, err2 := calendar.Parse(parts[1] + "-" + parts[2] + "-01")
	attempt, err3 := strconv.Atoi(parts[3])
	if err1 != nil || err2 != nil || err3 != nil {
		return Key{}, bad
	}
	k := Key{account, calendar.CycleOf(first), attempt}
	if account <= 0 || attempt < 0 || attempt > maxAttempt || k.String() != s {
		return Key{}, bad
	}
	return k, nil
}

// maxAttempt is as many retries as a policy may ask for, and more than enough.
const maxAttempt = 99

// MarshalText writes the key into JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads it from JSON.
func (k *Key) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKey(string(text))
	return err
}

// Invariants of the charges.
var Invariants = []ledger.Invariant{
	{Name: "card_charges_have_a_receipt", Says: "every approved card charge is one receipt of its amount, and no other charge is money",
		SQL: `select c.account_id, c.cycle, c.attempt from card_charge c left join receipt r on r.account_id = c.account_id and r.no = c.receipt and r.cents = c.cents and r.channel = 'card'
			where c.state = 'approved' and r.no is null
			union all select account_id, min(cycle), min(attempt) from card_charge where receipt is not null group by account_id, receipt having count(*) > 1`},
	{Name: "card_attempts_follow", Says: "a card is asked again only after it was declined",
		SQL: `select c.account_id, c.cycle, c.attempt from card_charge c where c.attempt > 0
			and not exists (select from card_charge x where x.account_id = c.account_id and x.cycle = c.cycle and x.attempt = c.attempt - 1 and x.state = 'declined' and x.retry_on is null)`},
	{Name: "no_card_without_authorization", Says: "every card charge was authorized by its own account when it was asked",
		SQL: `select c.account_id, c.cycle, c.attempt from card_charge c left join autopay_method m on m.id = c.method_id
			where m.id is null or m.account_id <> c.account_id or m.method <> 'card' or m.authorized_on > c.asked_on or m.ended_on < c.asked_on`},
	{Name: "no_card_charge_above_due", Says: "no card was asked for more than was due",
		SQL: `select account_id, cycle, attempt from card_charge where cents > due_then`},
}
