package cards_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// The month of these tests: cut on 1 March 2026, due on Wednesday the 25th.
var (
	cutDay = calendar.MustParse("2026-03-01")
	dueDay = calendar.MustParse("2026-03-25")
)

// biller is a house with members who pay by card.
type biller struct {
	*testing.T
	db     *pgxpool.Pool
	policy billing.Policy
}

func newBiller(t *testing.T) *biller {
	return &biller{t, postgrestest.New(t), billing.DefaultPolicy()}
}

func (b *biller) inTx(do func(ctx context.Context, tx pgx.Tx) error) {
	b.Helper()
	if err := pgx.BeginFunc(b.Context(), b.db, func(tx pgx.Tx) error { return do(b.Context(), tx) }); err != nil {
		b.Fatal(err)
	}
}

func (b *biller) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.db.Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

// ask returns the rows of a query as text.
func (b *biller) ask(sql string, args ...any) string {
	b.Helper()
	var text string
	if err := b.db.QueryRow(b.Context(), `select coalesce(string_agg(concat_ws(' ', x), '; '), '') from (`+sql+`) x`, args...).Scan(&text); err != nil {
		b.Fatal(err)
	}
	return text
}

func (b *biller) want(what, got, want string) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %s, want %s", what, got, want)
	}
}

// payer is a member who owes so much since the cut day and pays by card.
func (b *biller) payer(cents ledger.Cents) (id int64) {
	b.Helper()
	if err := b.db.QueryRow(b.Context(), `insert into account (mrn, opened_on, autopay, autopay_since) select '1000000' || lpad(count(*)::text, 3, '0'), '2026-02-01', 'on', '2026-02-01' from account returning id`).Scan(&id); err != nil {
		b.Fatal(err)
	}
	b.exec(`insert into autopay_method (account_id, method, card_token, authorized_on, authorized_by) values ($1, 'card', $2, '2026-02-01', 'web')`, id, fmt.Sprint("tok-", id))
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		book, err := billing.Load(ctx, tx, billing.ToCut, id)
		if err != nil {
			return err
		}
		a := book.Account(id)
		a.Charge(&b.policy, cutDay, billing.Premium, cents, billing.Detail{ChargeID: fmt.Sprint("c", id)})
		a.Cut(&b.policy, cutDay)
		return book.Save(ctx)
	})
	return id
}

// night asks the cards of all accounts and returns the gateway's file.
func (b *biller) night(day calendar.Date) (t billing.Tally, file string) {
	b.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, `insert into outbox_file (folder, name, made_on) select 'card', 'file-' || count(*), $1 from outbox_file returning id`, day).Scan(&id); err != nil {
			return err
		}
		var err error
		if t, err = cards.Ask(ctx, tx, day, id, billing.Range{From: 1, To: 1 << 40}); err != nil {
			return err
		}
		var text bytes.Buffer
		n, err := cards.WriteFile(ctx, tx, id, day, &text)
		if n != strings.Count(text.String(), "\n") {
			b.Errorf("%d lines announced, file %q", n, text.String())
		}
		file = text.String()
		return err
	})
	return t, file
}

func (b *biller) answer(day calendar.Date, lines ...string) (cards.Taken, error) {
	b.Helper()
	return cards.Till{DB: b.db, Policy: &b.policy, Day: day}.Ingest(b.Context(), "answers", strings.NewReader(strings.Join(lines, "\n")))
}

func line(id int64, attempt int, result string, cents int) string {
	return fmt.Sprintf(`{"charge": "%d-2026-03-%d", "result": "%s", "cents": %d}`, id, attempt, result, cents)
}

const charges = `select account_id, attempt, cents, asked_on, state, answered_on, retry_on from card_charge order by 1, 2, 3`

// A charge is asked on the due date, declined, asked again and approved; each
// step once, however often it runs.
func TestChargeLives(t *testing.T) {
	b := newBiller(t)
	id := b.payer(57500)
	if tally, file := b.night(dueDay - 1); tally.Selected != 0 || file != "" {
		t.Errorf("the day before: %+v %s", tally, file)
	}
	tally, file := b.night(dueDay)
	if tally.Done != 1 || tally.Cents != 57500 {
		t.Errorf("on the due date: %+v", tally)
	}
	b.want("the gateway's line", file, fmt.Sprintf(`{"charge":"%d-2026-03-0","token":"tok-%d","cents":57500,"asked_on":"2026-03-25"}`+"\n", id, id))
	if tally, file := b.night(dueDay); tally.Selected != 0 || file != "" {
		t.Errorf("once more: %+v %s", tally, file)
	}
	got, err := b.answer(dueDay+1, line(id, 0, "declined", 57500))
	if err != nil || got.Declined != 1 || got.Suspended != 0 {
		t.Errorf("declined: %+v, %v", got, err)
	}
	if got, err = b.answer(dueDay+2, line(id, 0, "declined", 57500)); err != nil || got.Known != 1 || got.Declined != 0 {
		t.Errorf("the same answer again: %+v, %v", got, err)
	}
	b.want("planned", b.ask(charges), fmt.Sprintf("(%d,0,57500,2026-03-25,declined,2026-03-26,2026-03-29)", id))
	if tally, _ := b.night(dueDay + 3); tally.Selected != 0 {
		t.Errorf("before its day: %+v", tally)
	}
	if tally, _ := b.night(dueDay + 4); tally.Done != 1 {
		t.Errorf("again: %+v", tally)
	}
	if got, err = b.answer(dueDay+5, "", line(id, 1, "approved", 57500), line(id, 1, "approved", 57500)); err != nil || got.Approved != 1 || got.Cents != 57500 || got.Known != 1 {
		t.Errorf("approved: %+v, %v", got, err)
	}
	b.want("charges", b.ask(charges), fmt.Sprintf("(%d,0,57500,2026-03-25,declined,2026-03-26,); (%d,1,57500,2026-03-29,approved,2026-03-30,)", id, id))
	b.want("money", b.ask(`select channel, state, cents, unapplied, received_on, posted_on, reference from receipt`), fmt.Sprintf("(card,posted,57500,0,2026-03-29,2026-03-30,%d-2026-03-1)", id))
	for _, inv := range cards.Invariants {
		b.want(inv.Name, b.ask(inv.SQL), "")
	}
}

// A file with anything wrong in it changes nothing, and every wrong line is
// named.
func TestRefusedAnswers(t *testing.T) {
	b := newBiller(t)
	one, two := b.payer(10000), b.payer(20000)
	b.night(dueDay)
	if _, err := b.answer(dueDay, line(two, 0, "declined", 20000)); err != nil {
		t.Fatal(err)
	}
	good := line(one, 0, "approved", 10000)
	for _, c := range []struct{ name, bad, field, says string }{
		{"no JSON", `charge 1`, "", "want one object"},
		{"another field", `{"charge": "1-2026-03-0", "result": "approved", "cents": 1, "card": "4111"}`, "", "unknown field"},
		{"two objects", good + good, "", "more than one"},
		{"no charge", `{"result": "approved", "cents": 1}`, "charge", "missing"},
		{"a charge of no form", `{"charge": "1-2026-3-0", "result": "approved", "cents": 1}`, "", "not the name of a charge"},
		{"another result", line(one, 0, "maybe", 10000), "result", "neither"},
		{"no money", line(one, 0, "approved", 0), "cents", "above 0"},
		{"another amount", line(one, 0, "approved", 9999), "charge", "otherwise on line 1"},
		{"never asked", line(one, 1, "approved", 10000), "charge", "never asked"},
		{"changed its mind", line(two, 0, "approved", 20000), "result", "was declined before"},
		{"less than asked", line(two, 0, "declined", 19999), "cents", "asked for $200.00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := b.answer(dueDay, good, c.bad)
			if !errors.Is(err, cards.ErrRefused) {
				t.Fatalf("got %+v, %v", got, err)
			}
			if len(got.Problems) != 1 || got.Problems[0].Line != 2 || got.Problems[0].Field != c.field || !strings.Contains(got.Problems[0].Problem, c.says) {
				t.Errorf("problems %+v, want line 2, %s: %s", got.Problems, c.field, c.says)
			}
			b.want("money", b.ask(`select cents from receipt`), "")
		})
	}
}

// Why no card is asked is counted, and who waits too long is put before a
// person once.
func TestAskReasons(t *testing.T) {
	b := newBiller(t)
	switched, paid, silent := b.payer(10000), b.payer(20000), b.payer(30000)
	b.night(dueDay)
	if _, err := b.answer(dueDay, line(switched, 0, "declined", 10000), line(paid, 0, "declined", 20000)); err != nil {
		t.Fatal(err)
	}
	b.exec(`update autopay_method set ended_on = '2026-03-26' where account_id = $1`, switched)
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		book, err := billing.Load(ctx, tx, billing.OpenOnly, paid)
		if err != nil {
			return err
		}
		a := book.Account(paid)
		a.Post(&b.policy, a.Receive(dueDay, billing.Receipt{Channel: "online", Cents: 20000, ReceivedOn: dueDay, PostsOn: dueDay}), dueDay)
		return book.Save(ctx)
	})
	tally, file := b.night(dueDay + 3)
	if file != "" || tally.Skipped[cards.NoCard] != 1 || tally.Skipped[billing.NothingDue] != 1 || tally.Selected != 2 {
		t.Errorf("retries: %+v %s", tally, file)
	}
	b.want("plans", b.ask(`select account_id from card_charge where retry_on is not null`), "")
	// The next bill comes due, and the gateway has not answered the last charge.
	april := calendar.MustParse("2026-04-01")
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		book, err := billing.Load(ctx, tx, billing.ToCut, silent)
		if err != nil {
			return err
		}
		book.Account(silent).Cut(&b.policy, april)
		return book.Save(ctx)
	})
	for range 2 {
		if tally, file := b.night(calendar.MustParse("2026-04-27")); file != "" || tally.Skipped[cards.Unanswered] != 1 {
			t.Errorf("unanswered: %+v %s", tally, file)
		}
		b.want("exceptions", b.ask(`select account_id, job, code, subject from exception`), fmt.Sprintf("(%d,autopay,card_unanswered,%d-2026-03-0)", silent, silent))
	}
	// Whoever clears that, and the gateway still says nothing, is asked again.
	b.exec(`update exception set cleared_on = on_date`)
	b.night(calendar.MustParse("2026-04-28"))
	b.want("asked again", b.ask(`select on_date, subject from exception where cleared_on is null`), fmt.Sprintf("(2026-04-28,%d-2026-03-0)", silent))
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"123-2026-03-0", "1-2026-12-99", "0-2026-03-0", "1-2026-13-0", "-1-2026-03-0", "1-2026-03-00", "9223372036854775807-0001-01-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := cards.ParseKey(s); err == nil && (k.String() != s || k.Account <= 0 || k.Cycle <= 0) {
			t.Errorf("%q was read as %+v", s, k)
		}
	})
}

// Every line that is not blank is either an answer or a problem, and an answer
// survives being written again.
func FuzzReadAnswers(f *testing.F) {
	f.Add([]byte(line(1, 0, "approved", 5) + "\n\n" + line(2, 1, "declined", 7)))
	f.Add([]byte(`{"charge": null, "result": "approved", "cents": 1}`))
	f.Add([]byte("{\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		answers, lines, problems, err := cards.ReadAnswers(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		said := 0
		for line := range bytes.Lines(text) {
			if len(bytes.TrimSpace(line)) > 0 {
				said++
			}
		}
		if len(answers) != len(lines) || len(answers)+len(problems) != said {
			t.Fatalf("%d lines, %d answers, %d problems", said, len(answers), len(problems))
		}
		for _, a := range answers {
			again, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			back, _, problems, _ := cards.ReadAnswers(bytes.NewReader(again))
			if len(problems) > 0 || len(back) != 1 || back[0] != a {
				t.Errorf("%+v was written %s and read %+v %v", a, again, back, problems)
			}
		}
	})
}
