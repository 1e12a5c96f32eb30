package notices_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// The month of these tests: cut on 1 March 2026, due on the 25th, so that
// reminders go out from the 15th to the 18th.
func march(day int) calendar.Date { return calendar.Of(2026, 3, day) }

// biller is a house with members to remind.
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

// member owes so much since the cut, and is reached as said.
func (b *biller) member(mrn string, cents ledger.Cents, phone, email, language string) (id int64) {
	b.Helper()
	if err := b.db.QueryRow(b.Context(), `insert into account (mrn, opened_on) values ($1, '2026-02-01') returning id`, mrn).Scan(&id); err != nil {
		b.Fatal(err)
	}
	b.exec(`insert into member (mrn, account_id, first_name, last_name, address1, address2, city, state, zip, email, phone, language, delivery)
		values ($1, $2, 'Ann', 'Example', '1 Main St', '', 'Oakland', 'CA', '94601', $3, $4, $5, 'paper')`, mrn, id, email, phone, language)
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		book, err := billing.Load(ctx, tx, billing.ToCut, id)
		if err != nil {
			return err
		}
		a := book.Account(id)
		a.Charge(&b.policy, march(1), billing.Medical, cents, billing.Detail{ChargeID: "MRI-KNEE-" + mrn, MRN: mrn, Description: "Oncology, Dr. Example", ServiceDate: march(1)})
		a.Cut(&b.policy, march(1))
		return book.Save(ctx)
	})
	return id
}

// run reminds on a day and returns the messages, by account and channel.
func (b *biller) run(day, since calendar.Date) (t billing.Tally, sent map[string]notices.Message) {
	b.Helper()
	sent = map[string]notices.Message{}
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		var file int64
		if err := tx.QueryRow(ctx, `insert into outbox_file (folder, name, made_on) select 'notices', 'file-' || count(*), $1 from outbox_file returning id`, day).Scan(&file); err != nil {
			return err
		}
		var err error
		if t, err = notices.Remind(ctx, tx, &b.policy, day, since, file, billing.Range{From: 1, To: 1 << 40}); err != nil {
			return err
		}
		var text bytes.Buffer
		n, err := notices.WriteFile(ctx, tx, file, day, &text)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text.String()) {
			var m notices.Message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				return err
			}
			sent[m.ID] = m
		}
		if n != len(sent) || n != int(t.Done) {
			b.Errorf("%d lines announced, %d messages, %d done", n, len(sent), t.Done)
		}
		return nil
	})
	return t, sent
}

func id(account int64, channel string) string {
	return fmt.Sprintf("%d-2026-03-reminder-%s", account, channel)
}

// Each channel once, in the member's language, to where the member is reached.
func TestRemind(t *testing.T) {
	b := newBiller(t)
	ann := b.member("1000000016", 57500, "510-555-0101", "ann@example.com", "en")
	eva := b.member("1000000024", 123456, "", "eva@example.com", "es-MX")
	tally, sent := b.run(march(14), 0)
	if tally.Selected != 0 || len(sent) != 0 {
		t.Errorf("before the window: %+v %v", tally, sent)
	}
	tally, sent = b.run(march(15), march(14))
	if tally.Done != 3 || tally.Skipped[notices.NoAddress] != 1 || tally.Cents != 2*57500+123456 {
		t.Errorf("tally %+v", tally)
	}
	want := notices.Message{ID: id(ann, "text"), Channel: "text", To: "510-555-0101", Language: "en", QueuedOn: march(15),
		Body: "Member Health Plan, Inc.: a statement is available for account ending in 0016. $575.00 is due on March 25, 2026. Please pay by then at memberhealth.example, or disregard this if you have paid. Reply STOP to end texts."}
	if got := sent[id(ann, "text")]; got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if m := sent[id(ann, "email")]; m.To != "ann@example.com" || m.Subject != "Your statement is available: $575.00 due on March 25, 2026" || !strings.Contains(m.Body, "Unsubscribe") {
		t.Errorf("e-mail %+v", m)
	}
	if m := sent[id(eva, "email")]; m.Language != "es" || m.Subject != "Su estado de cuenta está disponible: $1,234.56 vence el 25 de marzo de 2026" || strings.Contains(m.Body, "statement") {
		t.Errorf("in Spanish %+v", m)
	}
	for _, m := range sent {
		for _, secret := range []string{"MRI", "KNEE", "Oncology", "Dr.", "medical", "10000000"} {
			if strings.Contains(strings.ToLower(m.Subject+m.Body), strings.ToLower(secret)) {
				t.Errorf("%s tells %q: %s", m.ID, secret, m.Body)
			}
		}
	}
	// The next run, and the same one again, find nothing more to do.
	for _, day := range []calendar.Date{march(15), march(16)} {
		if tally, sent = b.run(day, march(14)); len(sent) != 0 || tally.Skipped[notices.Already] != 3 || tally.Selected != 4 {
			t.Errorf("again on %s: %+v %v", day, tally, sent)
		}
	}
	for _, inv := range notices.Invariants {
		if got := b.ask(inv.SQL); got != "" {
			t.Errorf("%s: %s", inv.Name, got)
		}
	}
}

// Who said STOP gets nothing on that channel until START; both are on record.
func TestOptout(t *testing.T) {
	b := newBiller(t)
	ann := b.member("1000000016", 57500, "510-555-0101", "ann@example.com", "en")
	act := billing.Act{Day: march(2), Operator: "carrier", Reason: "STOP", Verb: "optout"}
	for range 2 {
		if err := notices.Optout(t.Context(), b.db, act, "1000000016", notices.Text); err != nil {
			t.Fatal(err)
		}
	}
	if err := notices.Optout(t.Context(), b.db, act, "1000000016", "fax"); err == nil {
		t.Error("opted out of fax")
	}
	if err := notices.Optout(t.Context(), b.db, act, "9999999999", notices.Text); err == nil {
		t.Error("nobody opted out")
	}
	tally, sent := b.run(march(15), 0)
	if _, mailed := sent[id(ann, "email")]; !mailed || len(sent) != 1 || tally.Skipped[notices.OptedOut] != 1 {
		t.Errorf("after STOP: %+v %v", tally, sent)
	}
	act.Day, act.Verb = march(16), "optin"
	if err := notices.Optin(t.Context(), b.db, act, "1000000016", notices.Text); err != nil {
		t.Fatal(err)
	}
	if _, sent = b.run(march(16), march(15)); len(sent) != 1 || sent[id(ann, "text")].To == "" {
		t.Errorf("after START: %v", sent)
	}
	if got := b.ask(`select verb, on_date, operator from act order by id`); got != "(optout,2026-03-02,carrier); (optout,2026-03-02,carrier); (optin,2026-03-16,carrier)" {
		t.Errorf("acts %s", got)
	}
}

// A window that went by without a run is told once, and only of who should
// have been reminded.
func TestMissedWindow(t *testing.T) {
	for _, c := range []struct {
		name  string
		since calendar.Date // the last finished run
		do    string
		want  string
	}{
		{"no run ever", 0, "", "reminder_missed"},
		{"the last run before the window", march(14), "", "reminder_missed"},
		{"a run within it", march(15), "", ""},
		{"on hold", 0, `insert into hold (account_id, no, reason, placed_on, automatic, placed_by) select id, 99, 'estate', '2026-03-02', false, 'x' from account where id > 0`, ""},
		{"opted out of all", 0, `insert into preference select id, c, '2026-03-02' from account, unnest(array['text', 'email']) c where id > 0`, ""},
		{"not to be reached", 0, `update member set phone = '', email = ''`, ""},
		{"paid", 0, `update item set paid = cents`, ""},
		{"cut within the window, after its last run", march(16), `update bill set made_on = '2026-03-17'`, "reminder_missed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBiller(t)
			b.member("1000000016", 57500, "510-555-0101", "ann@example.com", "en")
			if c.do != "" {
				b.exec(c.do)
			}
			for _, day := range []calendar.Date{march(19), march(19), march(20), march(26)} {
				if _, sent := b.run(day, c.since); len(sent) != 0 {
					t.Errorf("on %s: sent late: %v", day, sent)
				}
			}
			if got := b.ask(`select code, subject, on_date from exception`); c.want == "" && got != "" || c.want != "" && got != "("+c.want+",2026-03,2026-03-19)" {
				t.Errorf("exceptions %q, want %q", got, c.want)
			}
		})
	}
}

// What is added up in SQL is what the rules say is due, whatever has happened
// on an account.
func TestDueAgreesWithTheRules(t *testing.T) {
	b := newBiller(t)
	lives := map[string]func(a *billing.Account) error{
		"as billed": func(a *billing.Account) error { return nil },
		"a check in flight": func(a *billing.Account) error {
			a.Receive(march(10), billing.Receipt{Channel: "lockbox", Cents: 20000, ReceivedOn: march(10), PostsOn: march(17)})
			return nil
		},
		"part paid, and a charge since": func(a *billing.Account) error {
			a.Post(&b.policy, a.Receive(march(10), billing.Receipt{Channel: "online", Cents: 20000, ReceivedOn: march(10), PostsOn: march(10)}), march(10))
			a.Charge(&b.policy, march(11), billing.Premium, 9900, billing.Detail{ChargeID: "new-" + a.MRN})
			return nil
		},
		"paid and more": func(a *billing.Account) error {
			a.Post(&b.policy, a.Receive(march(10), billing.Receipt{Channel: "online", Cents: 90000, ReceivedOn: march(10), PostsOn: march(10)}), march(10))
			return nil
		},
		"a guest's excess beside a disputed charge": func(a *billing.Account) error {
			a.Post(&b.policy, a.Receive(march(10), billing.Receipt{Channel: "guest", Guest: true, Cents: 90000, ReceivedOn: march(10), PostsOn: march(10)}), march(10))
			return nil
		},
		"disputed": func(a *billing.Account) error {
			_, err := a.Dispute(&b.policy, march(10), billing.Medical, 0)
			return err
		},
		"a check that came back": func(a *billing.Account) error {
			r := a.Receive(march(10), billing.Receipt{Channel: "lockbox", Cents: 20000, ReceivedOn: march(10), PostsOn: march(17)})
			return a.Return(&b.policy, r, march(12), "NSF")
		},
		"held": func(a *billing.Account) error { a.Place(march(3), "estate", "x", "", false); return nil },
		"held before": func(a *billing.Account) error {
			a.Place(march(3), "estate", "x", "", false)
			a.Release(march(15), "", "x")
			return nil
		},
		"on autopay": func(a *billing.Account) error { a.SetAutopay(&b.policy, true, march(2)); return nil },
	}
	reminded := map[int64]string{} // the amount, "" for no reminder
	names := map[int64]string{}
	n := int64(0)
	for name, live := range lives {
		n++
		account := b.member(string(billing.NewMRN(100000000+n)), 57500, "510-555-0101", "", "en")
		names[account] = name
		b.inTx(func(ctx context.Context, tx pgx.Tx) error {
			book, err := billing.Load(ctx, tx, billing.Whole, account)
			if err != nil {
				return err
			}
			a := book.Account(account)
			if err := live(a); err != nil {
				return err
			}
			if due := a.Due(); due > 0 && a.HeldOn(march(15)) == nil {
				reminded[account] = due.String()
			}
			return book.Save(ctx)
		})
	}
	_, sent := b.run(march(15), 0)
	for account, name := range names {
		m, got := sent[id(account, "text")]
		want := reminded[account]
		if got != (want != "") || got && !strings.Contains(m.Body, " "+want+" ") {
			t.Errorf("%s: %q is due, the reminder says %q", name, want, m.Body)
		}
	}
	if len(sent) != len(reminded) || len(sent) < 5 || len(sent) > len(lives)-3 {
		t.Errorf("%d sent, %d expected of %d", len(sent), len(reminded), len(lives))
	}
}
