package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/page"
)

// serve answers the page, /healthz, /metrics, /api/status and /api/events on TCP
// until close is called, for requests to one of hosts. Nothing there changes
// anything.
func serve(addr string, hosts []string, daemon *watchdog.Daemon, notifier *alert.Notifier, shown *page.Page) (where string, close func() error, err error) {
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
	shown.Register(mux)
	srv := &http.Server{Handler: page.Headers(onlyFor(hosts, mux)), ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return ln.Addr().String(), srv.Close, nil
}

// onlyFor refuses requests for another host than this one, by its names or any
// address: those of a web page whose own name was made to lead here (DNS
// rebinding), so that the page could read what is served to the local network.
// A request without a host comes from no browser.
func onlyFor(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		_, notIP := netip.ParseAddr(host)
		same := func(name string) bool { return strings.EqualFold(name, strings.TrimSuffix(host, ".")) }
		if r.Host != "" && notIP != nil && !same("localhost") && !slices.ContainsFunc(hosts, same) {
			http.Error(w, "not the name of this host: use localhost or an IP address, or start watchdog run with --host-name", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
