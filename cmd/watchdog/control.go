package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"healthcheck/watchdog"
)

// serveControl answers status, history and reset on a Unix socket that only
// its owner may open: the file's mode is the authentication. Nothing that
// listens on TCP changes anything.
func serveControl(path string, loop *watchdog.Loop) (close func() error, err error) {
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
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { answer(w, loop.Status(r.Context())) })
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, r *http.Request) { answer(w, loop.History(r.Context())) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) {
		n := loop.Reset(r.Context(), r.URL.Query().Get("name"))
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

// runClient is watchdog status, history and reset: they ask the daemon.
func runClient(ctx context.Context, command string, args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	fs.Usage = func() {}
	control := fs.String("control", defaultControl, "")
	format := fs.String("output", "text", "")
	if err := fs.Parse(args); err != nil {
		return helpOrFail(err, stdout, stderr)
	}
	want := map[string]int{"reset": 1}[command]
	switch {
	case fs.NArg() != want:
		return fail(stderr, usagef("watchdog reset NAME, watchdog status, watchdog history", "%s takes %d arguments, got %d", command, want, fs.NArg()))
	case *format != "text" && *format != "json":
		return fail(stderr, usagef("--output text or --output json", "--output %q: want text or json", *format))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	method, path := http.MethodGet, "/"+command
	if command == "reset" {
		method, path = http.MethodPost, "/reset?name="+url.QueryEscape(fs.Arg(0))
	}
	body, code, err := ask(ctx, *control, method, path)
	switch {
	case err != nil:
		return fail(stderr, usagef("is watchdog run running, and may this user open "+*control+"? --control names another socket", "%v", err))
	case code == http.StatusNotFound:
		return fail(stderr, usagef("watchdog status lists the names", "no service or container is called %q", fs.Arg(0)))
	case command == "reset":
		fmt.Fprintf(stdout, "reset: attempts of %s are forgotten\n", fs.Arg(0))
		return 0
	case *format == "json":
		stdout.Write(body)
		return 0
	}
	text, err := table(command, body, time.Now())
	if err != nil {
		return fail(stderr, err)
	}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		text = coloured(text)
	}
	io.WriteString(stdout, text)
	return 0
}

// ill marks the rows that want a person's eye.
var ill = regexp.MustCompile(`\b(unhealthy|given up|critical|exited|dead)\b`)

// coloured makes those rows red, for a terminal.
func coloured(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if ill.MatchString(line) {
			line = "\x1b[31m" + strings.TrimSuffix(line, "\n") + "\x1b[0m\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// ask sends one request to the daemon.
func ask(ctx context.Context, socket, method, path string) (body []byte, code int, err error) {
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://watchdog"+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op
		}
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return body, resp.StatusCode, err
}

// table lays an answer out for people.
func table(command string, body []byte, now time.Time) (string, error) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	if command == "history" {
		var all []watchdog.Decision
		if err := json.Unmarshal(body, &all); err != nil {
			return "", err
		}
		fmt.Fprintln(w, "TIME\tSEVERITY\tSERVICE\tATTEMPT\tTOOK\tWHAT\tCAUSE")
		for _, d := range all {
			took := "-"
			if d.Took > 0 {
				took = time.Duration(d.Took * float64(time.Second)).Round(time.Millisecond).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Time.Local().Format(time.DateTime), d.Severity, orDash(d.Service), d.Attempt, took, clean(d.What), orDash(clean(d.Cause)))
		}
		w.Flush()
		return b.String(), nil
	}
	var all []watchdog.ServiceStatus
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	fmt.Fprintln(w, "SERVICE\tCONTAINER\tHEALTH\tPHASE\tATTEMPTS\tNEXT\tREASON")
	for _, s := range all {
		next := "-"
		if !s.Due.IsZero() {
			next = "in " + max(0, s.Due.Sub(now)).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\n", s.Service, s.Container, s.Health, s.Phase, s.Attempts, s.MaxAttempts, next, orDash(clean(s.Reason)))
	}
	w.Flush()
	return b.String(), nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean makes text safe for one cell of a table on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
