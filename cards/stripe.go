package cards

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v84"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// Stripe is Stripe as a gateway. A charge is a PaymentIntent: Open creates it,
// Collect confirms it off session. A member's card_token is pm_... or, for a
// card kept with a customer, cus_.../pm_...
type Stripe struct{ intents paymentIntents }

// paymentIntents is what of Stripe's API is used.
type paymentIntents interface {
	Create(ctx context.Context, params *stripe.PaymentIntentCreateParams) (*stripe.PaymentIntent, error)
	Confirm(ctx context.Context, id string, params *stripe.PaymentIntentConfirmParams) (*stripe.PaymentIntent, error)
	Cancel(ctx context.Context, id string, params *stripe.PaymentIntentCancelParams) (*stripe.PaymentIntent, error)
	Retrieve(ctx context.Context, id string, params *stripe.PaymentIntentRetrieveParams) (*stripe.PaymentIntent, error)
}

// callTimeout is how long Stripe may take for one call. A charge that takes
// longer is asked about by the next run.
const callTimeout = 30 * time.Second

// OpenGateway returns the gateway that the policy names, nil if it names none.
// The API key is read from its file, which nobody else may read.
func OpenGateway(p billing.CardGateway) (Gateway, error) {
	if p.Kind == "" {
		return nil, nil
	}
	if err := checkURL(p.URL); err != nil {
		return nil, &billing.PolicyError{Path: "card.gateway.url", Says: err.Error()}
	}
	text, err := secret.ReadFile(p.KeyFile)
	if err != nil {
		return nil, &billing.PolicyError{Path: "card.gateway.key_file", Says: err.Error()}
	}
	key := strings.TrimSpace(string(text))
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return nil, &billing.PolicyError{Path: "card.gateway.key_file", Says: p.KeyFile + " does not hold one word, the API key"}
	}
	return newStripe(p.URL, key, callTimeout), nil
}

// checkURL refuses addresses to which a key must not be sent in the clear.
func checkURL(s string) error {
	if s == "" {
		return nil // Stripe's own
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return fmt.Errorf("%q is not an address such as https://api.stripe.com", s)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && ip != nil && ip.IsLoopback()) {
		return fmt.Errorf("%q would send the key in the clear; want https", s)
	}
	return nil
}

func newStripe(at, key string, timeout time.Duration) *Stripe {
	config := &stripe.BackendConfig{
		HTTPClient:        &http.Client{Timeout: timeout},
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // errors are returned, and logs hold no members
		MaxNetworkRetries: stripe.Int64(0),                                // the next run asks about what was lost
		EnableTelemetry:   stripe.Bool(false),
	}
	if at != "" {
		config.URL = stripe.String(at)
	}
	return &Stripe{stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(config))).V1PaymentIntents}
}

// Open implements Gateway.
func (s *Stripe) Open(ctx context.Context, c Asked) (string, Outcome, error) {
	params := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(int64(c.Cents)), Currency: stripe.String("usd"), PaymentMethodTypes: []*string{stripe.String("card")},
		Metadata: map[string]string{"charge": c.Charge.String(), "asked_on": c.AskedOn.String()},
	}
	method := c.Token
	if customer, card, ok := strings.Cut(c.Token, "/"); ok {
		params.Customer, method = stripe.String(customer), card
	}
	params.PaymentMethod = stripe.String(method)
	params.SetIdempotencyKey("billcycle-open-" + c.Charge.String() + "-" + c.AskedOn.String())
	intent, err := s.intents.Create(ctx, params)
	if err == nil {
		return intent.ID, Outcome{}, nil
	}
	if e := (*stripe.Error)(nil); errors.As(err, &e) && (e.Code == stripe.ErrorCodeResourceMissing || e.Type == stripe.ErrorTypeCard) {
		return "", Outcome{Result: Declined, Code: string(e.Code)}, nil // there is no such card any more
	}
	return "", Outcome{}, plain("opening", c.Charge.String(), err)
}

// Collect implements Gateway.
func (s *Stripe) Collect(ctx context.Context, name string, key Key) (Outcome, error) {
	params := &stripe.PaymentIntentConfirmParams{OffSession: stripe.Bool(true)}
	params.SetIdempotencyKey("billcycle-collect-" + name)
	intent, err := s.intents.Confirm(ctx, name, params)
	if e := (*stripe.Error)(nil); errors.As(err, &e) {
		switch {
		case e.Type == stripe.ErrorTypeCard:
			return s.declined(ctx, name, cmp.Or(string(e.DeclineCode), string(e.Code))), nil
		case e.Code == stripe.ErrorCodePaymentIntentUnexpectedState:
			return s.Look(ctx, name) // it was collected before
		}
	}
	if err != nil {
		return Outcome{}, plain("collecting", key.String(), err)
	}
	return s.outcome(ctx, intent), nil
}

// Look implements Gateway.
func (s *Stripe) Look(ctx context.Context, name string) (Outcome, error) {
	intent, err := s.intents.Retrieve(ctx, name, nil)
	if err != nil {
		return Outcome{}, plain("asking about", name, err)
	}
	return s.outcome(ctx, intent), nil
}

// Cancel implements Gateway.
func (s *Stripe) Cancel(ctx context.Context, name string) (Outcome, error) {
	intent, err := s.intents.Cancel(ctx, name, nil)
	if e := (*stripe.Error)(nil); errors.As(err, &e) && e.Code == stripe.ErrorCodePaymentIntentUnexpectedState {
		return s.Look(ctx, name) // it was collected, or canceled, before
	}
	if err != nil {
		return Outcome{}, plain("canceling", name, err)
	}
	return s.outcome(ctx, intent), nil
}

func (s *Stripe) outcome(ctx context.Context, intent *stripe.PaymentIntent) Outcome {
	code := ""
	if e := intent.LastPaymentError; e != nil {
		code = cmp.Or(string(e.DeclineCode), string(e.Code))
	}
	switch intent.Status {
	case stripe.PaymentIntentStatusSucceeded:
		return Outcome{Result: Approved, Cents: ledger.Cents(intent.AmountReceived)}
	case stripe.PaymentIntentStatusRequiresConfirmation:
		return Outcome{Result: Untouched}
	case stripe.PaymentIntentStatusCanceled:
		return Outcome{Result: Declined, Code: cmp.Or(code, "canceled")}
	case stripe.PaymentIntentStatusRequiresPaymentMethod, stripe.PaymentIntentStatusRequiresAction:
		return s.declined(ctx, intent.ID, cmp.Or(code, "authentication_required")) // nobody is there to authenticate
	}
	return Outcome{} // processing: not decided
}

// declined gives up a charge that was declined: a later attempt is another
// charge, so nobody may pay this one any more. Without our key nobody can, so
// it does no harm if the cancelling is lost.
func (s *Stripe) declined(ctx context.Context, name, code string) Outcome {
	s.intents.Cancel(ctx, name, nil)
	return Outcome{Result: Declined, Code: code}
}

// plain makes an error of Stripe's that names neither tokens nor keys.
func plain(doing, what string, err error) error {
	if e := (*stripe.Error)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s the card charge %s: the gateway said %s (status %d, request %s)", doing, what, cmp.Or(string(e.Code), string(e.Type)), e.HTTPStatusCode, cmp.Or(e.RequestID, "without a number"))
	}
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("%s the card charge %s: %w", doing, what, err)
}
