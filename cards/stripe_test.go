package cards_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/ledger"
)

// What may go wrong with a call.
const (
	well       = iota
	lostBefore // the connection breaks, and nothing was done
	lostAfter  // it was done, and the connection breaks
	failed     // status 500, and nothing was done
	silent     // it was done, and no answer ever comes
	mishaps
)

// processor is a server that speaks as Stripe does, and keeps the money.
type processor struct {
	sync.Mutex
	intents  map[string]*intent
	answers  map[string]string         // by idempotency key
	declines map[string]string         // by payment method: the decline code
	mishap   func(r *http.Request) int // nil: all goes well
	key      string                    // the only one that is let in
	seen     []string                  // the calls, in order
}

type intent struct {
	id, method, status, code string
	amount, taken            int64
	charge                   string
}

func newProcessor(t *testing.T) (*processor, string) {
	p := &processor{intents: map[string]*intent{}, answers: map[string]string{}, declines: map[string]string{}, key: "sk_test_1"}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server.URL
}

func (p *processor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cut := r.ParseForm() != nil // its sender died while sending
	p.Lock()
	how := well
	if p.mishap != nil {
		how = p.mishap(r)
	}
	if cut {
		how = lostBefore
	}
	p.seen = append(p.seen, r.Method+" "+r.URL.Path)
	status, body := 500, `{"error": {"type": "api_error"}}`
	if how != lostBefore && how != failed {
		status, body = p.answer(r)
	}
	p.Unlock()
	switch how {
	case lostBefore, lostAfter:
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	case silent:
		<-r.Context().Done()
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func (p *processor) answer(r *http.Request) (status int, body string) {
	if r.Header.Get("Authorization") != "Bearer "+p.key {
		return 401, `{"error": {"type": "invalid_request_error", "message": "Invalid API Key"}}`
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		if before, ok := p.answers[key]; ok {
			code, body, _ := strings.Cut(before, " ")
			status, _ = strconv.Atoi(code)
			return status, body
		}
		defer func() { p.answers[key] = fmt.Sprint(status, " ", body) }()
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/payment_intents"), "/")
	if len(path) == 1 {
		amount, _ := strconv.ParseInt(r.Form.Get("amount"), 10, 64)
		if p.declines[r.Form.Get("payment_method")] == "gone" {
			return 400, `{"error": {"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}}`
		}
		i := &intent{id: fmt.Sprint("pi_", len(p.intents)+1), method: r.Form.Get("payment_method"), status: "requires_confirmation", amount: amount, charge: r.Form.Get("metadata[charge]")}
		p.intents[i.id] = i
		return 200, i.json()
	}
	i := p.intents[path[1]]
	if i == nil {
		return 404, `{"error": {"type": "invalid_request_error", "code": "resource_missing"}}`
	}
	switch act := strings.Join(path[2:], "/"); {
	case act == "":
	case act == "cancel":
		if i.status != "succeeded" {
			i.status = "canceled"
		}
	case i.status != "requires_confirmation":
		return 400, `{"error": {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}}`
	case r.Form.Get("off_session") != "true":
		return 400, `{"error": {"type": "invalid_request_error", "code": "parameter_missing", "param": "off_session"}}`
	default:
		if code := p.declines[i.method]; code == "slow" {
			i.status = "processing"
		} else if code != "" {
			i.status, i.code = "requires_payment_method", code
			return 402, fmt.Sprintf(`{"error": {"type": "card_error", "code": "card_declined", "decline_code": %q, "payment_intent": %s}}`, code, i.json())
		} else {
			i.status, i.taken = "succeeded", i.amount
		}
	}
	return 200, i.json()
}

func (i *intent) json() string {
	about := map[string]any{"id": i.id, "object": "payment_intent", "amount": i.amount, "amount_received": i.taken, "currency": "usd", "status": i.status}
	if i.code != "" {
		about["last_payment_error"] = map[string]any{"type": "card_error", "code": "card_declined", "decline_code": i.code}
	}
	text, _ := json.Marshal(about)
	return string(text)
}

// taken is what each charge has cost its member.
func (p *processor) taken() map[string]int64 {
	sum := map[string]int64{}
	for _, i := range p.intents {
		if i.taken > 0 {
			sum[i.charge] += i.taken
		}
	}
	return sum
}

// asked makes the charges of a night, sealed and on their way to the gateway.
func (b *biller) asked(day calendar.Date) (t billing.Tally) {
	b.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `insert into outbox_file (folder, name, made_on, sha256) select 'gateway', 'gateway-' || count(*), $1, '' from outbox_file returning id`, day).Scan(&id)
		if err == nil {
			t, err = cards.Ask(ctx, tx, day, id, billing.Range{From: 1, To: 1 << 40})
		}
		return err
	})
	return t
}

func (b *biller) settle(ctx context.Context, g cards.Gateway, day calendar.Date) (cards.Settled, error) {
	return cards.Till{DB: b.db, Policy: &b.policy, Day: day}.Settle(ctx, g)
}

func gatewayAt(t *testing.T, url, key string) cards.Gateway {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stripe.key")
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := cards.OpenGateway(billing.CardGateway{Kind: "stripe", URL: url, KeyFile: path})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestStripeApprovesAndDeclines(t *testing.T) {
	b := newBiller(t)
	p, url := newProcessor(t)
	g := gatewayAt(t, url, p.key)
	good, poor, gone, slow := b.payer(10000), b.payer(20000), b.payer(30000), b.payer(40000)
	b.exec(`update autopay_method set card_token = 'cus_7/pm_7' where account_id = $1`, good)
	p.declines[fmt.Sprint("tok-", poor)] = "insufficient_funds"
	p.declines[fmt.Sprint("tok-", gone)] = "gone"
	p.declines[fmt.Sprint("tok-", slow)] = "slow"
	if tally := b.asked(dueDay); tally.Done != 4 {
		t.Fatalf("asked %+v", tally)
	}
	got, err := b.settle(t.Context(), g, dueDay)
	if err != nil || got.Approved != 1 || got.Declined != 2 || got.Waiting != 1 || got.Failure != nil {
		t.Fatalf("settled %+v, %v", got, err)
	}
	const charges = `select account_id, state, gateway_name <> '', code, retry_on from card_charge order by 1`
	b.want("charges", b.ask(charges), fmt.Sprintf("(%d,approved,t,\"\",); (%d,declined,t,insufficient_funds,2026-03-28); (%d,declined,f,resource_missing,2026-03-28); (%d,asked,t,\"\",)", good, poor, gone, slow))
	b.want("receipts", b.ask(`select account_id, cents, state, received_on from receipt`), fmt.Sprintf("(%d,10000,posted,2026-03-25)", good))
	b.want("taken", fmt.Sprint(p.taken()), fmt.Sprintf("map[%d-2026-03-0:10000]", good))
	for _, i := range p.intents {
		if i.code != "" && i.status != "canceled" {
			t.Errorf("the declined intent %s is still %s", i.id, i.status)
		}
	}
	// The slow one is asked about, not collected again.
	p.seen = nil
	for _, i := range p.intents {
		if i.status == "processing" {
			i.status, i.taken = "succeeded", i.amount
		}
	}
	if got, err := b.settle(t.Context(), g, dueDay+1); err != nil || got.Approved != 1 || got.Waiting != 0 {
		t.Errorf("the day after: %+v, %v", got, err)
	}
	if len(p.seen) != 1 || !strings.HasPrefix(p.seen[0], "GET ") {
		t.Errorf("calls of the day after: %v", p.seen)
	}
	if got, err := b.settle(t.Context(), g, dueDay+1); err != nil || got.Answers+got.Waiting != 0 {
		t.Errorf("once more: %+v, %v", got, err)
	}
}

// Why a charge was declined is kept with the answer, or neither is.
func TestDeclinedWithItsReason(t *testing.T) {
	b := newBiller(t)
	p, url := newProcessor(t)
	poor := b.payer(20000)
	p.declines[fmt.Sprint("tok-", poor)] = "insufficient_funds"
	b.asked(dueDay)
	b.exec(`alter table card_charge add constraint full_disk check (code = '')`)
	if got, err := b.settle(t.Context(), gatewayAt(t, url, p.key), dueDay); err == nil {
		t.Fatalf("settled %+v", got)
	}
	b.want("charges", b.ask(`select state, code from card_charge`), `(asked,"")`)
}

// Whatever is lost on the way, and wherever the program dies, each charge is
// taken once, and what was taken is a receipt.
func TestStripeTakesOnce(t *testing.T) {
	b := newBiller(t)
	p, url := newProcessor(t)
	hasty, patient := cards.NewStripe(url, p.key, 50*time.Millisecond), cards.NewStripe(url, p.key, time.Minute)
	want := map[string]int64{}
	rapid.Check(t, func(r *rapid.T) {
		for n := range rapid.IntRange(1, 4).Draw(r, "members") {
			id := b.payer(ledger.Cents(1000 * (n + 1)))
			if rapid.IntRange(0, 3).Draw(r, "poor") == 0 {
				p.declines[fmt.Sprint("tok-", id)] = "insufficient_funds"
			} else {
				want[fmt.Sprintf("%d-2026-03-0", id)] = int64(1000 * (n + 1))
			}
		}
		b.asked(dueDay)
		// Drawn ahead: the calls come from several goroutines.
		fate := rapid.SliceOfN(rapid.IntRange(well, mishaps-1), 12, 12).Draw(r, "mishaps")
		dies := rapid.IntRange(1, 12).Draw(r, "dies at call")
		calls := 0
		for night := range 3 {
			ctx, die := context.WithCancel(t.Context())
			p.mishap = func(*http.Request) int {
				calls++
				if calls == dies {
					die()
				}
				return fate[calls%len(fate)]
			}
			if _, err := b.settle(ctx, hasty, dueDay+calendar.Date(night)); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			die()
		}
		p.mishap = nil
		got, err := b.settle(t.Context(), patient, dueDay+3)
		if err != nil || got.Waiting != 0 {
			r.Fatalf("at the end: %+v, %v", got, err)
		}
		if !maps.Equal(p.taken(), want) {
			r.Fatalf("taken %v, want %v", p.taken(), want)
		}
	})
	for charge, cents := range want {
		b.want(charge, b.ask(`select cents from receipt where reference = $1`, charge), fmt.Sprintf("(%d)", cents))
	}
	b.want("receipts", b.ask(`select count(*) from receipt`), fmt.Sprintf("(%d)", len(want)))
	for _, inv := range cards.Invariants {
		b.want(inv.Name, b.ask(inv.SQL), "")
	}
}

// A gateway that is out of reach is left alone soon, and a wrong key says so
// without being told.
func TestStripeOutOfReach(t *testing.T) {
	b := newBiller(t)
	p, url := newProcessor(t)
	for range 250 {
		b.payer(1000)
	}
	b.asked(dueDay)
	got, err := b.settle(t.Context(), gatewayAt(t, url, "sk_test_wrong"), dueDay)
	if err != nil || got.Waiting != 250 || len(p.seen) != 200 {
		t.Errorf("%+v, %v after %d calls", got, err, len(p.seen))
	}
	if says := fmt.Sprint(got.Failure); !strings.Contains(says, "status 401") || strings.Contains(says, "sk_test") || strings.Contains(says, "tok-") {
		t.Errorf("it says %s", says)
	}
	if got, err := b.settle(t.Context(), gatewayAt(t, url, p.key), dueDay+1); err != nil || got.Approved != 250 {
		t.Errorf("the next night: %+v, %v", got, err)
	}
}

// A charge of which the gateway took nothing is collected on a later night only
// if it would be asked like that then: else it is dropped, or asked for less.
func TestStripeNotTakenInTime(t *testing.T) {
	for name, lost := range map[string]string{"not opened": "", "not collected": "/confirm"} {
		t.Run(name, func(t *testing.T) {
			b := newBiller(t)
			p, url := newProcessor(t)
			g := gatewayAt(t, url, p.key)
			same, paid, partly, canceled, held, ended, other := b.payer(10000), b.payer(20000), b.payer(30000), b.payer(40000), b.payer(50000), b.payer(60000), b.payer(70000)
			p.mishap = func(r *http.Request) int {
				if strings.HasSuffix(r.URL.Path, lost) {
					return lostBefore
				}
				return well
			}
			b.asked(dueDay)
			if got, err := b.settle(t.Context(), g, dueDay); err != nil || got.Waiting != 7 {
				t.Fatalf("%+v, %v", got, err)
			}
			p.mishap = nil
			b.inTx(func(ctx context.Context, tx pgx.Tx) error {
				book, err := billing.Load(ctx, tx, billing.Whole, paid, partly, canceled, held)
				if err != nil {
					return err
				}
				pay := func(id int64, cents ledger.Cents) {
					a := book.Account(id)
					a.Post(&b.policy, a.Receive(dueDay, billing.Receipt{Channel: "online", Cents: cents, ReceivedOn: dueDay, PostsOn: dueDay}), dueDay)
				}
				pay(paid, 20000)
				pay(partly, 25000)
				book.Account(canceled).SetAutopay(&b.policy, false, dueDay)
				book.Account(held).Place(dueDay+1, "estate", "ann", "", false)
				return book.Save(ctx)
			})
			b.exec(`update autopay_method set ended_on = $1 where account_id in ($2, $3)`, dueDay+1, ended, other)
			b.exec(`insert into autopay_method (account_id, method, card_token, authorized_on, authorized_by) values ($1, 'card', 'tok-new', $2, 'web')`, other, dueDay)

			if got, err := b.settle(t.Context(), g, dueDay+1); err != nil || got.Approved != 1 || got.Dropped != 6 || got.Waiting+got.Declined+got.Suspended != 0 {
				t.Errorf("the next night: %+v, %v", got, err)
			}
			if tally := b.asked(dueDay + 1); tally.Done != 2 || tally.Selected != 2 {
				t.Errorf("asked anew: %+v", tally)
			}
			if got, err := b.settle(t.Context(), g, dueDay+1); err != nil || got.Approved != 2 || got.Waiting+got.Dropped != 0 {
				t.Errorf("collected anew: %+v, %v", got, err)
			}
			want := map[string]int64{fmt.Sprintf("%d-2026-03-0", same): 10000, fmt.Sprintf("%d-2026-03-1", partly): 5000, fmt.Sprintf("%d-2026-03-1", other): 70000}
			if !maps.Equal(p.taken(), want) {
				t.Errorf("taken %v, want %v", p.taken(), want)
			}
			b.want("received in time", b.ask(`select distinct received_on from receipt where channel = 'card'`), "(2026-03-25)")
			b.want("why", b.ask(`select count(*), code from card_charge where state = 'declined' group by code`), "(6,not_taken)")
			b.want("still to be asked", b.ask(`select account_id from card_charge where retry_on is not null or state = 'asked'`), "")
			for _, i := range p.intents {
				if i.status == "requires_confirmation" {
					t.Errorf("the intent %s could still be collected", i.id)
				}
			}
			for _, inv := range cards.Invariants {
				b.want(inv.Name, b.ask(inv.SQL), "")
			}
		})
	}
}

// A charge that waits in a file for its carrier is never sent to a
// gateway as well.
func TestStripeLeavesFilesAlone(t *testing.T) {
	b := newBiller(t)
	p, url := newProcessor(t)
	b.payer(1000)
	b.night(dueDay)
	if got, err := b.settle(t.Context(), gatewayAt(t, url, p.key), dueDay); err != nil || got.Answers+got.Waiting != 0 || len(p.seen) != 0 {
		t.Errorf("%+v, %v, calls %v", got, err, p.seen)
	}
}

func TestOpenGatewayRefuses(t *testing.T) {
	dir := t.TempDir()
	open, closed, empty := filepath.Join(dir, "open"), filepath.Join(dir, "closed"), filepath.Join(dir, "empty")
	for path, mode := range map[string]os.FileMode{open: 0o644, closed: 0o600, empty: 0o600} {
		text := "sk_test_1"
		if path == empty {
			text = "\n"
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		policy     billing.CardGateway
		path, says string
	}{
		{billing.CardGateway{Kind: "stripe", KeyFile: open}, "card.gateway.key_file", "chmod 600"},
		{billing.CardGateway{Kind: "stripe", KeyFile: empty}, "card.gateway.key_file", "one word"},
		{billing.CardGateway{Kind: "stripe"}, "card.gateway.key_file", "no such file"},
		{billing.CardGateway{Kind: "stripe", KeyFile: closed, URL: "http://stripe.example"}, "card.gateway.url", "in the clear"},
		{billing.CardGateway{Kind: "stripe", KeyFile: closed, URL: "stripe"}, "card.gateway.url", "not an address"},
	} {
		var bad *billing.PolicyError
		if _, err := cards.OpenGateway(c.policy); !errors.As(err, &bad) || bad.Path != c.path || !strings.Contains(bad.Says, c.says) || strings.Contains(bad.Says, "sk_test") {
			t.Errorf("%+v: %v, want %s: %s", c.policy, err, c.path, c.says)
		}
	}
	if g, err := cards.OpenGateway(billing.CardGateway{}); g != nil || err != nil {
		t.Errorf("no gateway: %v, %v", g, err)
	}
}
