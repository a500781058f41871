package main

import (
	"fmt"
	"net/http"
	"sync"
)

// app is a small application with the endpoints that healthcheck asks by
// default, and with faults that can be switched on. It also answers what
// healthcheck asks of Qdrant and of Ollama, so that it can stand in for them.
type app struct {
	mu     sync.Mutex
	faults map[string]fault // by path
}

// fault is how an endpoint misbehaves.
type fault int

const (
	none fault = iota
	failing
	hanging
)

func newApp() *app { return &app{faults: map[string]fault{}} }

// set makes the endpoint at path behave so from now on.
func (a *app) set(path string, f fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[path] = f
}

func (a *app) fault(path string) fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.faults[path]
}

// backends are the endpoints that stand for something that can break.
var backends = []string{"/db/health", "/readyz", "/api/version"}

// ServeHTTP answers the endpoints of all parts; /hang it does not answer.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hang" {
		<-r.Context().Done()
		return
	}
	parts := map[string]string{"/health": "api", "/ready": "ready", "/db/health": "db", "/vector/health": "vector",
		"/readyz": "qdrant", "/api/version": "ollama"}
	part, ok := parts[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch a.fault(r.URL.Path) {
	case hanging:
		<-r.Context().Done()
		return
	case failing:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "pool exhausted")
		return
	}
	fmt.Fprintf(w, `{"status":"ok","version":"demo","part":%q}`+"\n", part)
}
