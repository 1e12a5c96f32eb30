// Package watch lets others see how the nights stand: figures for Prometheus,
// health for whoever restarts programs, progress for whoever sits before one,
// and word to whoever must get up. All of it is read from the database, so that
// any program of the biller's tells of all of them. Nothing here names a member.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/billcycle/billcycle/jobs"
)

// Window is where the nights are looked at from outside.
type Window struct {
	Runner jobs.Runner
	Now    func() time.Time
	Log    *slog.Logger
}

// Open answers on a listener until the context ends: /metrics, /healthz and
// /readyz. They tell no secret and no name, and ask for no password.
func (w *Window) Open(ctx context.Context, l net.Listener) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&figures{runner: w.Runner, now: w.Now})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(w.Log.Handler(), slog.LevelWarn)}))
	mux.HandleFunc("GET /healthz", func(to http.ResponseWriter, _ *http.Request) { health(to, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", w.ready)
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(w.Log.Handler(), slog.LevelWarn)}
	stopped := context.AfterFunc(ctx, func() {
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		server.Shutdown(soon)
	})
	defer stopped()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ready says whether a night could be run now: the database answers, and the
// clock is believed.
func (w *Window) ready(to http.ResponseWriter, from *http.Request) {
	ctx, cancel := context.WithTimeout(from.Context(), 5*time.Second)
	defer cancel()
	_, _, err := w.Runner.Behind(ctx, w.Now())
	switch {
	case errors.Is(err, jobs.ErrClock):
		health(to, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		health(to, http.StatusServiceUnavailable, "the database does not answer")
	default:
		health(to, http.StatusOK, "ready")
	}
}

func health(to http.ResponseWriter, code int, state string) {
	to.Header().Set("Content-Type", "application/json")
	to.WriteHeader(code)
	json.NewEncoder(to).Encode(map[string]string{"state": state})
}
