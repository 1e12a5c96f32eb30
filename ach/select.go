package ach

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Why a debit that is due is not built, besides billing's reasons.
const (
	ByCard          = "card"             // charged on its due date, not debited
	NoAuthorization = "no_authorization" // autopay is on, but no method of payment is in force
	AboveLimit      = "above_limit"      // of one entry (policy ach.max_cents_per_entry_cents)
	UnusableMethod  = "unusable_method"  // Seal could not use it, and a person has not seen to it yet
)

// secOf is the entry class that an authorization asks for.
var secOf = map[string]string{"written": PPD, "web": WEB, "phone": TEL}

// candidate is an account that may have a debit to build.
type candidate struct {
	id       int64
	late     bool // its build day has passed, so what was due then must be found out
	retries  bool // a returned debit of it may be to be built again
	methodID int64
	method   string // ach, card, or "" for none in force
	by       string // how it was authorized
	unusable bool
	from     calendar.Date // the first day on which it may be debited, 0: before its prenote is out
}

// Select makes the debits that a run dated day has to build in a key range of
// accounts (POLICY section 6), as pending receipts with their trace numbers.
// Its tally selects accounts whose build day has come and counts debits done.
// Called for one range after the other, it gives the same traces each time.
func Select(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range) (billing.Tally, error) {
	return selectRange(ctx, tx, p, day, in, everyone)
}

// selectRange is Select of which no more than so many debits are plain.
func selectRange(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, in billing.Range, plain int) (billing.Tally, error) {
	var t billing.Tally
	if err := lockFiles(ctx, tx); err != nil {
		return t, err
	}
	if err := billing.LockRange(ctx, tx, in); err != nil {
		return t, err
	}
	if err := billing.EndEnrolments(ctx, tx, p, day, in); err != nil {
		return t, err
	}
	if err := tryOut(ctx, tx, p, day, in, &t); err != nil {
		return t, err
	}
	made, err := makePlain(ctx, tx, p, day, in, plain)
	if err != nil {
		return t, err
	}
	t.Did(int64(made.n), made.cents)
	for some := range slices.Chunk(made.rest, rulesAtOnce) {
		if err := selectByRules(ctx, tx, p, day, some, &t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// rulesAtOnce is how many accounts are in memory at once.
var rulesAtOnce = billing.AtOnce

// selectByRules makes the debits that the rules build for accounts, and gives
// them their places.
func selectByRules(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, ids []int64, t *billing.Tally) error {
	found, err := candidates(ctx, tx, p, day, ids)
	if err != nil {
		return err
	}
	slots, books, err := byRules(ctx, tx, p, day, found, t)
	if err != nil {
		return err
	}
	slices.SortStableFunc(slots, func(a, b slot) int { return cmp.Compare(a.account, b.account) })
	if err := place(ctx, tx, p, day, slots); err != nil {
		return err
	}
	for i := range slots {
		s := &slots[i]
		s.debit.Trace, s.debit.FileID = int64(s.trace), &s.file
	}
	for _, b := range books {
		if err := b.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// byRules builds the debits of accounts one by one, as billing's rules say.
func byRules(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, found []candidate, t *billing.Tally) (built []slot, books []*billing.Book, err error) {
	byID := make(map[int64]*candidate, len(found))
	var open, whole, cards []int64
	for i := range found {
		c := &found[i]
		byID[c.id] = c
		switch {
		case c.method == "card":
			t.Skip(ByCard, 1)
			if c.retries {
				cards = append(cards, c.id)
			}
		case c.late:
			whole = append(whole, c.id)
		default:
			open = append(open, c.id)
		}
	}
	for _, load := range []struct {
		need billing.Need
		ids  []int64
	}{{billing.OpenOnly, open}, {billing.Whole, whole}} {
		if len(load.ids) == 0 {
			continue
		}
		b, err := billing.Load(ctx, tx, load.need, load.ids...)
		if err != nil {
			return nil, nil, err
		}
		more, err := build(ctx, tx, p, day, b, byID, t)
		if err != nil {
			return nil, nil, err
		}
		built, books = append(built, more...), append(books, b)
	}
	if len(cards) > 0 {
		b, err := billing.Load(ctx, tx, billing.OpenOnly, cards...)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range b.Accounts {
			a.DropRetries(p, day)
		}
		books = append(books, b)
	}
	return built, books, nil
}

// build applies billing's rules to the accounts of a book. One that has a
// debit to build and no right or way to send it leaves the book as it came.
func build(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, b *billing.Book, byID map[int64]*candidate, t *billing.Tally) (all []slot, err error) {
	kept := b.Accounts[:0]
	for _, a := range b.Accounts {
		c := byID[a.ID]
		a.DebitNotBefore(p, c.from, day)
		built, reason := a.BuildDebits(p, day)
		if len(built) == 0 {
			t.Pass(a.ID, reason, "")
			if reason == billing.CardUnanswered {
				if err := billing.Raise(ctx, tx, a.ID, billing.Exception{On: day, Job: "autopay", Code: reason, Subject: a.LastCycle.String(), Detail: "a card charge has no answer, so the bank account is not debited: ask the gateway"}); err != nil {
					return nil, err
				}
			}
			kept = append(kept, a)
			continue
		}
		if code, detail := c.obstacle(p, built); code != "" {
			t.Pass(a.ID, code, built[0].Cycle.String())
			if code != UnusableMethod && code != PrenoteWaits { // the one was reported when it was found, the other mends itself
				if err := billing.Raise(ctx, tx, a.ID, billing.Exception{On: day, Job: "autopay", Code: code, Subject: built[0].Cycle.String(), Detail: detail}); err != nil {
					return nil, err
				}
			}
			continue
		}
		var cents ledger.Cents
		for _, d := range built {
			d.MethodID, d.SEC = c.methodID, secOf[c.by]
			cents += d.Cents
			all = append(all, slot{account: a.ID, effective: d.EffectiveOn, cents: d.Cents, sec: d.SEC, retry: d.Attempt > 0, debit: d})
		}
		t.Did(int64(len(built)), cents)
		kept = append(kept, a)
	}
	b.Accounts = kept
	return all, nil
}

// obstacle says what keeps an account's debits from being sent, "" for nothing.
func (c *candidate) obstacle(p *billing.Policy, built []*billing.Debit) (code, detail string) {
	switch {
	case c.method == "":
		return NoAuthorization, "autopay is on, but no bank account is authorized: enrol it again or cancel autopay"
	case c.unusable:
		return UnusableMethod, ""
	case c.from.IsZero():
		return PrenoteWaits, ""
	}
	most := maxCentsOf(p)
	for _, d := range built {
		if d.Cents > most {
			return AboveLimit, fmt.Sprintf("a debit of %s is above the limit of one entry, %s: collect it another way", d.Cents, most)
		}
	}
	return "", ""
}

// window returns the last day for which a run dated day builds debits, and the
// last for which it should have been built before.
func window(p *billing.Policy, day calendar.Date) (reach, missed calendar.Date) {
	// A debit is built the lead before its day; turned round, what has to be
	// built on a day or earlier is all that takes effect up to the lead after it.
	_, most := p.Widest(lead)
	return calendar.AddBankingDays(day, most), calendar.AddBankingDays(day-1, most)
}

func lead(p *billing.Policy) int { return p.ACH.LeadBankingDays }

// candidates returns how accounts that may have a debit to build pay, by id.
func candidates(ctx context.Context, tx pgx.Tx, p *billing.Policy, day calendar.Date, ids []int64) ([]candidate, error) {
	_, missed := window(p, day)
	rows, err := tx.Query(ctx, `select a.id, coalesce(b.debit_on <= $2, false), exists (select from debit d where d.account_id = a.id and d.retry_on is not null), coalesce(m.id, 0), coalesce(m.method, ''), coalesce(m.authorized_by, ''),
			coalesce(m.id::text in (select subject from exception where job = 'autopay' and code = 'unusable_method' and cleared_on is null), false), m.debit_from
		from account a
		left join bill b on b.account_id = a.id and b.cycle = a.last_cycle
		left join (select distinct on (account_id) account_id, id, method, authorized_by, debit_from from autopay_method
			where account_id = any($1) and (ended_on is null or ended_on > $3) and authorized_on <= $3 order by account_id, id desc) m on m.account_id = a.id
		where a.id = any($1) order by a.id`, ids, missed, day)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		err = row.Scan(&c.id, &c.late, &c.retries, &c.methodID, &c.method, &c.by, &c.unusable, &c.from)
		return c, err
	})
}
