package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// errServed is a control socket that another watchdog serves.
var errServed = errors.New("another watchdog serves it")

// serveControl answers status, history and reset on a Unix socket that only
// its owner may open: the file's mode is the authentication. Nothing that
// listens on TCP changes anything. It returns errServed where another watchdog
// does so already.
func serveControl(path string, daemon *watchdog.Daemon) (close func(), err error) {
	// The lock keeps a second one, which starts at the same time, from removing
	// the socket of the first.
	unlock, err := store.File{Path: path}.Lock()
	if errors.Is(err, store.ErrLocked) {
		return nil, errServed
	}
	if err != nil {
		return nil, err
	}
	ln, err := listenControl(path)
	if err != nil {
		unlock()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, daemon.Status(r.Context())) })
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, r *http.Request) { answer(w, daemon.History(r.Context())) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("name")
		before := daemon.Status(r.Context())
		n := daemon.Reset(r.Context(), name)
		if n == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		answer(w, resetAnswer{n, named(before, name)})
	})
	mux.HandleFunc("GET /evidence", func(w http.ResponseWriter, r *http.Request) {
		e, err := daemon.Kept(r.URL.Query().Get("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		answer(w, e)
	})
	servePauses(mux, daemon)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return func() { srv.Close(); unlock() }, nil
}

// listenControl takes the place of a socket that was left behind by a watchdog
// that was killed, and of nothing else.
func listenControl(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, errServed
		}
		os.Remove(path)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// named are the services of a name, as Daemon.Reset takes it.
func named(all []recovery.ServiceStatus, name string) []recovery.ServiceStatus {
	return slices.DeleteFunc(all, func(s recovery.ServiceStatus) bool { return !s.Called(name) })
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
