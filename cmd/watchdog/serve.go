package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"healthcheck/watchdog"
)

// serve answers /healthz, /metrics and /api/status on TCP until close is
// called. All of it only tells; nothing there changes anything.
func serve(addr string, loop *watchdog.Loop, notifier *watchdog.Notifier) (where string, close func() error, err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := loop.Health(time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics(loop, notifier))
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, r *http.Request) { answer(w, loop.Status(r.Context())) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return ln.Addr().String(), srv.Close, nil
}
