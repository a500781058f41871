package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
)

// serve answers /healthz, /metrics and /api/status on TCP until close is
// called. Nothing there changes anything.
func serve(addr string, daemon *watchdog.Daemon, notifier *alert.Notifier) (where string, close func() error, err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := daemon.Health(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics(daemon, notifier))
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, r *http.Request) { answer(w, daemon.Status(r.Context())) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return ln.Addr().String(), srv.Close, nil
}
