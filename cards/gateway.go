package cards

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Gateway is a card processor that a night speaks with by itself. A charge has
// two steps there, so that no lost answer can take money twice: it is opened,
// which moves nothing, and its name is stored here; only then is it collected,
// and a charge that was opened can be collected once, however often it is asked.
//
// An error of any method means that nobody knows what came of the call.
type Gateway interface {
	// Open tells the gateway of a charge and returns its name there. The same
	// key again gives the same charge, or another that stays uncollected.
	Open(ctx context.Context, charge Asked) (name string, o Outcome, err error)
	// Collect takes the money of an opened charge.
	Collect(ctx context.Context, name string, key Key) (Outcome, error)
	// Look asks how an opened charge stands.
	Look(ctx context.Context, name string) (Outcome, error)
	// Cancel gives up an opened charge, so that it can't be collected any more.
	// One that was collected meanwhile stays, and its outcome says so.
	Cancel(ctx context.Context, name string) (Outcome, error)
}

// Outcome is what a gateway says of a charge.
type Outcome struct {
	Result string       // Approved, Declined, Untouched, or "" while it is not decided
	Code   string       // why it was declined, in the gateway's word
	Cents  ledger.Cents // approved: what was taken
}

// Untouched says that an opened charge was not collected yet.
const Untouched = "untouched"

const (
	atOnce  = 200 // charges between two commits
	callers = 8   // calls to the gateway under way at once
)

// Settled is what came of asking a gateway.
type Settled struct {
	Taken
	Waiting int   // without an answer: asked about by the next run
	Dropped int   // nothing was taken, and what they were for has changed since they were asked
	Failure error // the last call that came to nothing, nil if none
}

// waiting is a charge on its way through the gateway.
type waiting struct {
	Asked
	methodID int64
	name     string // at the gateway, "" until it was opened
	sent     bool   // it may have been collected by a run before
	dropped  bool   // it is not collected any more
	again    bool   // dropped, but Ask has to decide anew
	outcome  Outcome
	err      error
}

// Settle carries the charges that wait for their answer through the gateway,
// and takes the answers as Ingest does. Charges of a killed run, and those
// whose answer was lost, are asked about first. If a whole batch comes to
// nothing, the gateway is out of reach and the rest is left for the next run.
func (t Till) Settle(ctx context.Context, g Gateway) (s Settled, err error) {
	after := Key{}
	for {
		batch, err := t.waiting(ctx, after)
		if err != nil || len(batch) == 0 {
			return s, err
		}
		after = batch[len(batch)-1].Charge
		if err := t.carry(ctx, g, batch); err != nil {
			return s, err
		}
		lost, err := t.takeOutcomes(ctx, batch, &s)
		if err != nil {
			return s, err
		}
		if lost == len(batch) && lost > 1 {
			return s, t.countWaiting(ctx, after, &s)
		}
	}
}

// waiting reads the next charges of the gateway's files that have no answer.
func (t Till) waiting(ctx context.Context, after Key) ([]*waiting, error) {
	rows, err := t.DB.Query(ctx, `select c.account_id, c.cycle, c.attempt, m.card_token, c.cents, c.asked_on, c.method_id, c.gateway_name, c.sent_on is not null
		from card_charge c join outbox_file f on f.id = c.file_id and f.folder = $5 and f.sha256 is not null join autopay_method m on m.id = c.method_id
		where c.state = 'asked' and c.asked_on <= $4 and (c.account_id, c.cycle, c.attempt) > ($1, $2, $3)
		order by c.account_id, c.cycle, c.attempt limit $6`, after.Account, int32(after.Cycle), after.Attempt, t.Day, GatewayFolder, atOnce)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*waiting, error) {
		w := &waiting{}
		return w, row.Scan(&w.Charge.Account, &w.Charge.Cycle, &w.Charge.Attempt, &w.Token, &w.Cents, &w.AskedOn, &w.methodID, &w.name, &w.sent)
	})
}

// GatewayFolder is the outbox folder of charges that a gateway is asked for
// directly: its files are sealed and never written out, so that nobody can
// carry them to a gateway a second time.
const GatewayFolder = "gateway"

// carry opens and collects a batch. What may move money is stored before it is
// done: the name first, then that it is sent. What an earlier day asked, and
// nothing was taken of, is collected only if it would be asked today as well.
func (t Till) carry(ctx context.Context, g Gateway, batch []*waiting) error {
	each(batch, func(w *waiting) {
		if w.sent {
			w.outcome, w.err = g.Look(ctx, w.name)
		}
	})
	if err := t.weigh(ctx, batch); err != nil {
		return err
	}
	each(batch, func(w *waiting) {
		switch {
		case w.dropped && w.sent:
			w.outcome, w.err = g.Cancel(ctx, w.name)
		case w.name == "" && !w.dropped:
			w.name, w.outcome, w.err = g.Open(ctx, w.Asked)
		}
	})
	var accounts []int64
	var cycles, attempts []int32
	var names []string
	for _, w := range batch {
		if w.name != "" {
			accounts, cycles, attempts, names = append(accounts, w.Charge.Account), append(cycles, int32(w.Charge.Cycle)), append(attempts, int32(w.Charge.Attempt)), append(names, w.name)
		}
	}
	if _, err := t.DB.Exec(ctx, `update card_charge c set gateway_name = u.name, sent_on = coalesce(sent_on, $5)
		from unnest($1::bigint[], $2::int[], $3::int[], $4::text[]) u(account, cycle, attempt, name)
		where c.account_id = u.account and c.cycle = u.cycle and c.attempt = u.attempt and c.state = 'asked'`, accounts, cycles, attempts, names, t.Day); err != nil {
		return err
	}
	each(batch, func(w *waiting) {
		if w.name != "" && w.err == nil && !w.dropped && (!w.sent || w.outcome.Result == Untouched) {
			w.outcome, w.err = g.Collect(ctx, w.name, w.Charge)
		}
	})
	return ctx.Err()
}

// notTaken is the code of a charge that was dropped before anything was taken.
const notTaken = "not_taken"

// weigh drops the charges of earlier days that nothing was taken of, and that
// would not be asked like that today: the bill was paid, autopay or the card
// has ended, the account is on hold.
func (t Till) weigh(ctx context.Context, batch []*waiting) error {
	var accounts []int64
	stale := map[int64]*waiting{} // no account has two
	for _, w := range batch {
		if w.AskedOn < t.Day && w.err == nil && (!w.sent || w.outcome.Result == Untouched) {
			accounts, stale[w.Charge.Account] = append(accounts, w.Charge.Account), w
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, t.DB, func(tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.OpenOnly, accounts...)
		if err != nil {
			return err
		}
		found, err := standing(ctx, tx, t.Day, accounts)
		if err != nil {
			return err
		}
		for _, c := range found {
			w := stale[c.id]
			cents, _, _ := b.Account(c.id).CardDueAgain(t.Day, w.AskedOn, w.Charge.Cycle, w.Cents)
			w.again = cents > 0 && c.methodID != 0
			w.dropped = !w.again || cents < w.Cents || c.methodID != w.methodID
		}
		return nil
	})
}

// drop notes that charges were dropped.
func (t Till) drop(ctx context.Context, dropped []*waiting) error {
	if len(dropped) == 0 {
		return nil
	}
	var accounts []int64
	var cycles, attempts []int32
	var again []calendar.Date
	for _, w := range dropped {
		on := calendar.Date(0)
		if w.again {
			on = t.Day
		}
		accounts, cycles, attempts, again = append(accounts, w.Charge.Account), append(cycles, int32(w.Charge.Cycle)), append(attempts, int32(w.Charge.Attempt)), append(again, on)
	}
	return pgx.BeginFunc(ctx, t.DB, func(tx pgx.Tx) error {
		b, err := billing.Load(ctx, tx, billing.OpenOnly, accounts...)
		if err != nil {
			return err
		}
		for _, a := range b.Accounts {
			a.CardDropped()
		}
		if err := b.Save(ctx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update card_charge c set state = 'declined', answered_on = $5, retry_on = u.again, code = $6
			from unnest($1::bigint[], $2::int[], $3::int[], $4::date[]) u(account, cycle, attempt, again)
			where c.account_id = u.account and c.cycle = u.cycle and c.attempt = u.attempt and c.state = 'asked'`, accounts, cycles, attempts, again, t.Day, notTaken)
		return err
	})
}

// each does something to all, some at once.
func each(batch []*waiting, do func(*waiting)) {
	var wg sync.WaitGroup
	next := make(chan *waiting)
	for range min(callers, len(batch)) {
		wg.Go(func() {
			for w := range next {
				do(w)
			}
		})
	}
	for _, w := range batch {
		next <- w
	}
	close(next)
	wg.Wait()
}

// takeOutcomes takes the answers of a batch, and returns how many calls came to
// nothing.
func (t Till) takeOutcomes(ctx context.Context, batch []*waiting, s *Settled) (lost int, err error) {
	var answers []Answer
	var lines []int
	var dropped []*waiting
	for n, w := range batch {
		if w.dropped && w.err == nil && (!w.sent || w.outcome.Result == Declined) {
			dropped = append(dropped, w)
			continue
		}
		if w.outcome.Result == Approved && w.outcome.Cents != w.Cents {
			w.err = fmt.Errorf("the card charge %s was asked for %s, and the gateway took %s: ask the gateway why", w.Charge, w.Cents, w.outcome.Cents)
		}
		if w.err != nil {
			lost, s.Failure = lost+1, w.err
		}
		if w.err != nil || w.outcome.Result != Approved && w.outcome.Result != Declined {
			s.Waiting++
			continue
		}
		answers, lines = append(answers, Answer{w.Charge, w.outcome.Result, w.Cents, w.outcome.Code}), append(lines, n+1)
	}
	if err := t.drop(ctx, dropped); err != nil {
		return lost, err
	}
	if s.Dropped += len(dropped); len(answers) == 0 {
		return lost, nil
	}
	taken, err := t.take(ctx, answers, lines, nil)
	if err != nil {
		return lost, errors.Join(err, describe(taken.Problems))
	}
	s.Answers, s.Approved, s.Declined, s.Known, s.Cents, s.Suspended = s.Answers+taken.Answers, s.Approved+taken.Approved, s.Declined+taken.Declined, s.Known+taken.Known, s.Cents+taken.Cents, s.Suspended+taken.Suspended
	return lost, nil
}

// describe makes an error of what is wrong with a gateway's answers.
func describe(problems []Problem) error {
	var all []error
	for _, p := range problems {
		all = append(all, errors.New(p.Problem))
	}
	return errors.Join(all...)
}

func (t Till) countWaiting(ctx context.Context, after Key, s *Settled) error {
	var rest int
	err := t.DB.QueryRow(ctx, `select count(*) from card_charge c join outbox_file f on f.id = c.file_id and f.folder = $5 and f.sha256 is not null
		where c.state = 'asked' and c.asked_on <= $4 and (c.account_id, c.cycle, c.attempt) > ($1, $2, $3)`, after.Account, int32(after.Cycle), after.Attempt, t.Day, GatewayFolder).Scan(&rest)
	s.Waiting += rest
	return err
}
