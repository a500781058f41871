package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"healthcheck/watchdog"
)

// serveControl answers status, history and reset on a Unix socket that only
// its owner may open: the file's mode is the authentication. Nothing that
// listens on TCP changes anything.
func serveControl(path string, daemon *watchdog.Daemon) (close func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s: another watchdog serves it", path)
		}
		os.Remove(path) // left behind by one that was killed
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, daemon.Status(r.Context())) })
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, r *http.Request) { answer(w, daemon.History(r.Context())) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) {
		n := daemon.Reset(r.Context(), r.URL.Query().Get("name"))
		if n == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintln(w, n)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	return srv.Close, nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
