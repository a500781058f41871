package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// question is what a command asks the daemon, over its control socket.
type question struct {
	command        string
	control        string
	json           bool
	args           []string
	stdout, stderr io.Writer
}

// parseQuestion reads the flags of status, history and reset, which take so
// many arguments. Where ok is false the command has ended with the exit code.
func parseQuestion(command string, arguments int, args []string, stdout, stderr io.Writer) (q question, code int, ok bool) {
	fs := pflag.NewFlagSet(command, pflag.ContinueOnError)
	fs.Usage = func() {}
	control := fs.String("control", defaultControl, "")
	format := fs.String("output", "text", "")
	if err := fs.Parse(args); err != nil {
		return q, helpOrFail(err, stdout, stderr), false
	}
	switch {
	case fs.NArg() != arguments:
		return q, fail(stderr, usagef("watchdog reset NAME, watchdog status, watchdog history", "%s takes %d arguments, got %d", command, arguments, fs.NArg())), false
	case *format != "text" && *format != "json":
		return q, fail(stderr, usagef("--output text or --output json", "--output %q: want text or json", *format)), false
	}
	return question{command, *control, *format == "json", fs.Args(), stdout, stderr}, 0, true
}

// askTimeout bounds how long a command waits for the daemon.
const askTimeout = 10 * time.Second

// ask sends one request to the daemon.
func (q question) ask(ctx context.Context, method, path string) (body []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", q.control)
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
		return nil, 0, usagef("is watchdog run running, and may this user open "+q.control+"? --control names another socket", "%v", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return body, resp.StatusCode, err
}

// print asks the daemon for a list and prints it, as JSON or by the layout of
// table.
func (q question) print(ctx context.Context, table func(body []byte, now time.Time) (string, error)) int {
	body, _, err := q.ask(ctx, http.MethodGet, "/"+q.command)
	if err != nil {
		return fail(q.stderr, err)
	}
	if q.json {
		q.stdout.Write(body)
		return 0
	}
	text, err := table(body, time.Now())
	if err != nil {
		return fail(q.stderr, err)
	}
	if f, ok := q.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		text = coloured(text)
	}
	io.WriteString(q.stdout, text)
	return 0
}

// needsAttention finds the rows that a person should look at.
var needsAttention = regexp.MustCompile(`\b(unhealthy|given up|critical|exited|dead)\b`)

// coloured makes those rows red, for a terminal.
func coloured(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if needsAttention.MatchString(line) {
			line = "\x1b[31m" + strings.TrimSuffix(line, "\n") + "\x1b[0m\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// layOut aligns rows of cells into columns. An empty cell becomes a dash, and
// control characters, which a terminal would obey, question marks.
func layOut(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		io.WriteString(w, strings.Join(cells, "\t")+"\n")
	}
	w.Flush()
	return b.String()
}

func clean(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, cell)
}
