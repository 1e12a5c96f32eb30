package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// Failure is a figure that came out otherwise.
type Failure struct {
	ID   string `json:"id"`
	Step int    `json:"step"` // from 1
	Key  string `json:"key"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// before is where things stood when a step began.
type before struct {
	docs, entries int32
	cycle         calendar.Cycle
	exceptions    int
	messages      []string // by their keys
}

func (p *player) mark(ctx context.Context, account int64) (b before, err error) {
	err = p.house.DB.QueryRow(ctx, `select docs, entries, last_cycle, (select count(*) from exception), array(select `+messageKey+` from message) from account where id = $1`, account).Scan(&b.docs, &b.entries, &b.cycle, &b.exceptions, &b.messages)
	return b, err
}

// compare holds a step's expectations against the books.
func (p *player) compare(ctx context.Context, n int, s Step, was before) error {
	account := p.ids[s.Account]
	figures, a, err := p.figures(ctx, account)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(s.Expect)) {
		want := s.Expect[key]
		var got any
		var err error
		switch key {
		case "ledger":
			got = figures.Ledger
		case "pending":
			got = figures.Pending
		case "due":
			got = figures.Due
		case "open":
			p.compareOpen(n, want, figures)
			continue
		case "autopay":
			got = a.Autopay
		case "fee":
			got, err = p.sum(ctx, `select coalesce(sum(case when debit = 'receivable' then cents else -cents end), 0) from journal where account_id = $1 and no > $2 and what in ('late_fee', 'returned_fee', 'fee_reversal', 'waiver')`, account, was.entries)
		case "ach":
			got, err = p.sum(ctx, `select coalesce(sum(cents), 0) from debit where account_id = $1 and receipt > $2`, account, was.docs)
		case "entries":
			got, err = p.sum(ctx, `select count(*) from debit where account_id = $1 and receipt > $2`, account, was.docs)
		case "held":
			got, err = p.sum(ctx, `select count(*) from `+lockbox.Waiting+` w`)
		case "exceptions":
			got, err = p.sum(ctx, `select count(*) - $1::bigint from exception`, was.exceptions)
		case "reminders":
			got, err = p.sum(ctx, `select count(*) from message where kind = 'reminder' and not `+messageKey+` = any($1)`, was.messages)
		case "message":
			if err := p.compareMessages(ctx, n, want, was); err != nil {
				return err
			}
			continue
		case "rejected":
			got = p.rejected
		case "statement":
			if err := p.compareStatement(ctx, n, want, account, was); err != nil {
				return err
			}
			continue
		case "grace", "coverage_end":
			got, err = p.covered(ctx, key, s)
		case "journal_balanced":
			got, err = p.balanced(ctx)
		default:
			p.fail(n, key, string(want), "this version knows no such figure")
			continue
		}
		if err != nil {
			return err
		}
		p.check(n, key, want, got)
	}
	return nil
}

// check compares by JSON, so that 0 is 0 whatever its type.
func (p *player) check(n int, key string, want json.RawMessage, got any) {
	b, err := json.Marshal(got)
	if err != nil {
		panic(err)
	}
	if w := strings.TrimSpace(string(want)); w != string(b) {
		p.fail(n, key, w, string(b))
	}
}

func (p *player) fail(n int, key, want, got string) {
	p.failures = append(p.failures, Failure{p.story.ID, n + 1, key, want, got})
}

func (p *player) figures(ctx context.Context, account int64) (f billing.Figures, a *billing.Account, err error) {
	err = pgx.BeginFunc(ctx, p.house.DB, func(tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.OpenOnly, account)
		if err != nil {
			return err
		}
		a = b.Account(account)
		f = a.Figures()
		return nil
	})
	return f, a, err
}

func (p *player) sum(ctx context.Context, sql string, args ...any) (n int64, err error) {
	err = p.house.DB.QueryRow(ctx, sql, args...).Scan(&n)
	return n, err
}

func (p *player) compareOpen(n int, want json.RawMessage, f billing.Figures) {
	open, err := fields[map[billing.Kind]json.RawMessage](want)
	if err != nil {
		p.fail(n, "open", string(want), err.Error())
	}
	for _, kind := range slices.Sorted(maps.Keys(open)) {
		got, known := f.Open[kind]
		if !known {
			p.fail(n, "open."+string(kind), string(open[kind]), "no such kind")
			continue
		}
		p.check(n, "open."+string(kind), open[kind], got)
	}
}

// compareStatement compares with the newest bill that the step has cut.
func (p *player) compareStatement(ctx context.Context, n int, want json.RawMessage, account int64, was before) error {
	got := struct {
		Previous    ledger.Cents            `json:"previous"`
		Payments    ledger.Cents            `json:"payments"`
		Adjustments ledger.Cents            `json:"adjustments"`
		Charges     ledger.Cents            `json:"charges"`
		Fees        ledger.Cents            `json:"fees"`
		Balance     ledger.Cents            `json:"balance"`
		AmountDue   ledger.Cents            `json:"amount_due"`
		Aging       map[string]ledger.Cents `json:"aging"`
		DueDate     calendar.Date           `json:"due_date"`
	}{}
	var aging [4]ledger.Cents
	err := p.house.DB.QueryRow(ctx, `select previous, payments, adjustments, charges, fees, balance, amount_due, due_on, aging_current, aging_30, aging_60, aging_90
		from bill where account_id = $1 and cycle > $2 order by cycle desc limit 1`, account, was.cycle).
		Scan(&got.Previous, &got.Payments, &got.Adjustments, &got.Charges, &got.Fees, &got.Balance, &got.AmountDue, &got.DueDate, &aging[0], &aging[1], &aging[2], &aging[3])
	switch {
	case err == pgx.ErrNoRows:
		p.check(n, "statement", want, nil)
		return nil
	case err != nil:
		return err
	case string(want) == "null":
		p.fail(n, "statement", "null", "one was cut")
		return nil
	}
	got.Aging = map[string]ledger.Cents{"current": aging[0], "30": aging[1], "60": aging[2], "90": aging[3]}
	var all map[string]json.RawMessage
	b, err := json.Marshal(got)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	p.compareKeys(n, "statement", want, all)
	return nil
}

func (p *player) compareKeys(n int, path string, want json.RawMessage, got map[string]json.RawMessage) {
	wanted, err := fields[map[string]json.RawMessage](want)
	if err != nil {
		p.fail(n, path, string(want), err.Error())
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		switch g, known := got[key]; {
		case !known:
			p.fail(n, path+"."+key, string(wanted[key]), "no such figure")
		case key == "aging":
			var buckets map[string]json.RawMessage
			if err := json.Unmarshal(g, &buckets); err != nil {
				panic(err)
			}
			p.compareKeys(n, path+".aging", wanted[key], buckets)
		default:
			p.check(n, path+"."+key, wanted[key], g)
		}
	}
}

// balanced says whether the journal's invariants hold.
func (p *player) balanced(ctx context.Context) (bool, error) {
	for _, inv := range ledger.Invariants {
		broken, err := p.sum(ctx, "select count(*) from ("+inv.SQL+") broken")
		if err != nil {
			return false, fmt.Errorf("%s: %w", inv.Name, err)
		}
		if broken > 0 {
			return false, nil
		}
	}
	return true, nil
}
