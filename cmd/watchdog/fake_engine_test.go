package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeEngine is a Docker API on a Unix socket with as many containers as a
// test wants, all healthy until a test makes them unhealthy.
type fakeEngine struct {
	host        string
	mu          sync.Mutex
	containers  map[string]*fakeContainer
	order       []string
	streams     map[chan string]bool
	restarts    chan string // ids, as the calls come
	calls       int
	lists       int // of them: lists of all containers
	inspections int // inspections
	// staysUnhealthy: no restart helps.
	staysUnhealthy bool
	counts         map[string]int // restarts by id
	// subscribed is the request of the last stream of events.
	subscribed *http.Request
	// full: lists and inspections have all that a real engine's have.
	full bool
}

type fakeContainer struct {
	ID, Name string
	Labels   map[string]string
	Health   string
	Streak   int
	Started  time.Time
	// What a list says of it, for a full engine, and with which health.
	listed   json.RawMessage
	listedAs string
}

func newFakeEngine(t testing.TB, n int) *fakeEngine {
	t.Helper()
	dir := t.TempDir()
	f := &fakeEngine{host: "unix://" + filepath.Join(dir, "e.sock"), containers: map[string]*fakeContainer{}, streams: map[chan string]bool{}, counts: map[string]int{}, restarts: make(chan string, n+1)}
	for i := range n {
		id := fmt.Sprintf("%064x", i+1)
		f.containers[id] = &fakeContainer{ID: id, Name: fmt.Sprintf("app%d", i), Labels: map[string]string{"watchdog.enable": "true"}, Health: "healthy", Started: time.Now().Add(-time.Hour)}
		f.order = append(f.order, id)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("API-Version", "1.41")
		fmt.Fprint(w, "OK")
	})
	list := func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.lists++
		onlyUnhealthy := strings.Contains(r.URL.Query().Get("filters"), `"unhealthy"`)
		var list [][]byte
		for _, id := range f.order {
			b := f.containers[id]
			if onlyUnhealthy && b.Health != "unhealthy" {
				continue
			}
			if f.full {
				list = append(list, b.summary())
				continue
			}
			entry, err := json.Marshal(map[string]any{"Id": id, "Names": []string{"/" + b.Name}, "Labels": b.Labels, "State": "running",
				"Status": "Up 2 hours (" + b.Health + ")", "HostConfig": map[string]string{"NetworkMode": "default"}})
			if err != nil {
				panic(err) // of strings alone
			}
			list = append(list, entry)
		}
		f.mu.Unlock() // others need not wait until a long list is read
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "[%s]", bytes.Join(list, []byte(",")))
	}
	mux.HandleFunc("GET /v1.41/containers/json", list)
	mux.HandleFunc("GET /containers/json", list) // curl names no version
	mux.HandleFunc("GET /v1.41/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.inspections++
		b := f.containers[r.PathValue("id")]
		if b == nil {
			w.WriteHeader(http.StatusNotFound)
			ok(w, map[string]string{"message": "No such container: " + r.PathValue("id")})
			return
		}
		if f.full {
			ok(w, b.inspection())
			return
		}
		ok(w, map[string]any{"Id": b.ID, "Name": "/" + b.Name,
			"State": map[string]any{"Status": "running", "Running": true, "StartedAt": b.Started.Format(time.RFC3339Nano),
				"Health": map[string]any{"Status": b.Health, "FailingStreak": b.Streak, "Log": []map[string]any{{"ExitCode": 1, "Output": "pool exhausted\x1b[31m"}}}},
			"HostConfig": map[string]any{"RestartPolicy": map[string]string{"Name": "no"}, "NetworkMode": "default"},
			"Config":     map[string]any{"Labels": b.Labels, "Healthcheck": map[string]any{"Test": []string{"CMD", "x"}, "Retries": 1}}})
	})
	mux.HandleFunc("POST /v1.41/containers/{id}/restart", func(w http.ResponseWriter, r *http.Request) {
		select {
		case f.restarts <- r.PathValue("id"):
		default: // nobody counts them one by one
		}
		f.mu.Lock()
		b := f.containers[r.PathValue("id")]
		b.Started = time.Now()
		if f.counts[b.ID]++; !f.staysUnhealthy {
			b.Health, b.Streak = "healthy", 0
		}
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /v1.41/events", f.serveEvents)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.calls++
		f.mu.Unlock()
		mux.ServeHTTP(w, r)
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return f
}

func (f *fakeEngine) serveEvents(w http.ResponseWriter, r *http.Request) {
	lines := make(chan string, 4096)
	f.mu.Lock()
	f.streams[lines] = true
	f.subscribed = r
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.streams, lines)
		f.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case l := <-lines:
			fmt.Fprintln(w, l)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// send sends a line to every subscriber.
func (f *fakeEngine) send(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		s <- line
	}
}

// healthEvent is what the engine says when a container's health changes.
func healthEvent(id, status string) string {
	return fmt.Sprintf(`{"status":"health_status: %s","id":%q,"Type":"container","Action":"health_status: %s","Actor":{"ID":%q,"Attributes":{"name":"x"}},"scope":"local","time":%d,"timeNano":%d}`,
		status, id, status, id, time.Now().Unix(), time.Now().UnixNano())
}

// makeUnhealthy makes a container unhealthy and sends an event of it.
func (f *fakeEngine) makeUnhealthy(id string) {
	f.mu.Lock()
	f.containers[id].Health, f.containers[id].Streak = "unhealthy", 1
	f.mu.Unlock()
	f.send(healthEvent(id, "unhealthy"))
}

// sendHealthy sends an event of every container, as a probe that passes after a
// failure does.
func (f *fakeEngine) sendHealthy() {
	for _, id := range f.order {
		f.send(healthEvent(id, "healthy"))
	}
}

// count reads one of the counters.
func (f *fakeEngine) count(counter *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *counter
}

// awaitSubscriber waits for the watchdog to subscribe and to have listed.
func (f *fakeEngine) awaitSubscriber(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		f.mu.Lock()
		n, calls := len(f.streams), f.calls
		f.mu.Unlock()
		if n > 0 && calls >= 3 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the watchdog does not subscribe")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
