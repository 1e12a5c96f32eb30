package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/secret"
)

// What an alert is about.
const (
	Late       = "night_late"
	Failed     = "night_failed"
	OutOfOrder = "out_of_balance"
)

// Alert is word to whoever must get up.
type Alert struct {
	Event string        `json:"event"`
	Date  calendar.Date `json:"date"`
	Text  string        `json:"text"`
	Host  string        `json:"host"`
}

// Hook is where alerts are posted, as JSON. Its URL is a secret: whoever has it
// can write there.
type Hook struct {
	url  string
	host string
	wait time.Duration // before the second try
}

// OpenHook reads the URL from a file that only its owner can read, or takes the
// one given. Without either there is no hook, and it is nil.
func OpenHook(file, given string) (*Hook, error) {
	if file != "" {
		text, err := secret.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("the webhook's file %s: %w", file, err)
		}
		given = strings.TrimSpace(string(text))
	}
	if given == "" {
		return nil, nil
	}
	if u, err := url.Parse(given); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the webhook is not a URL such as https://alerts.example.com/...") // and not shown
	}
	host, err := os.Hostname()
	return &Hook{given, host, time.Second}, err
}

// Send posts an alert, and tries twice more if nobody takes it. Errors do not
// hold the URL.
func (h *Hook) Send(ctx context.Context, a Alert) (err error) {
	if h == nil {
		return nil
	}
	a.Host = h.host
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	for try := range 3 {
		if try > 0 {
			select {
			case <-ctx.Done():
				return err
			case <-time.After(h.wait << (2 * (try - 1))):
			}
		}
		if err = h.post(ctx, body); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the alert %s could not be posted: %w", a.Event, err)
}

func (h *Hook) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook is not a URL")
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	var wrong *url.Error
	if errors.As(err, &wrong) {
		return wrong.Err // its own words hold the URL
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the webhook answered %s", answer.Status)
	}
	return nil
}

// Wait sets how long to wait before the second try; before the third it is four
// times as long. It is a second unless it is set.
func (h *Hook) Wait(d time.Duration) { h.wait = d }
