package main

import (
	"context"
	"errors"
	"fmt"
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

	"healthcheck/cmd/flags"
)

// question is what a command asks the daemon, over its control socket.
type question struct {
	command        string
	control        string
	format         string
	args           []string
	stdout, stderr io.Writer
}

// newQuestionFlags declares the flags of status, history and reset.
func newQuestionFlags(command string) (*pflag.FlagSet, *question) {
	q := &question{command: command}
	fs := newFlagSet(command)
	fs.StringVar(&q.control, "control", defaultControl, "`PATH` the daemon's socket")
	fs.StringVar(&q.format, "output", "text", "`FORMAT` text or json")
	return fs, q
}

// parseQuestion reads the flags of status, history and reset, which take so
// many arguments.
func parseQuestion(command string, arguments int, g given, stdout, stderr io.Writer) (*question, error) {
	fs, q := newQuestionFlags(command)
	environ, err := g.parse(fs, arguments)
	if err != nil {
		return nil, err
	}
	if fs.NArg() < arguments || fs.NArg() > 0 && fs.Arg(0) == "" {
		return nil, usagef("watchdog "+command+" NAME; watchdog status lists the names", "%s needs the name of a service or container", command)
	}
	if err := q.check(environ, fs.Args(), stdout, stderr); err != nil {
		return nil, err
	}
	return q, nil
}

// check completes a question whose flags are read.
func (q *question) check(environ *flags.Environ, args []string, stdout, stderr io.Writer) error {
	switch {
	case q.format != "text" && q.format != "json":
		return usagef("--output text or --output json", "%s: want text or json", environ.Given("output"))
	case q.control == "none" || q.control == "":
		return usagef("--control names the socket of watchdog run", "%s: the daemon cannot be asked", environ.Given("control"))
	}
	q.args, q.stdout, q.stderr = args, stdout, stderr
	return nil
}

// askTimeout bounds how long a command waits for the daemon.
const askTimeout = 10 * time.Second

// ask sends one request to the daemon.
func (q *question) ask(ctx context.Context, method, path string) (body []byte, status int, err error) {
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

// change asks the daemon to change something about the services of a name, and
// prints what it answers, as JSON or by text.
func (q *question) change(ctx context.Context, path, name string, text func(body []byte) (string, error)) int {
	body, status, err := q.ask(ctx, http.MethodPost, path)
	switch {
	case err != nil:
		return fail(q.stderr, err)
	case status == http.StatusNotFound:
		return fail(q.stderr, usagef("watchdog status lists the names", "no service or container is called %q", name))
	case q.format == "json":
		q.stdout.Write(body)
		return 0
	}
	out, err := text(body)
	if err != nil {
		return fail(q.stderr, fmt.Errorf("the daemon's answer: %w", err))
	}
	io.WriteString(q.stdout, out)
	return 0
}

// print asks the daemon for a list and prints it, as JSON or by the layout of
// table.
func (q *question) print(ctx context.Context, table func(body []byte, now time.Time) (string, error)) int {
	body, _, err := q.ask(ctx, http.MethodGet, "/"+q.command)
	if err != nil {
		return fail(q.stderr, err)
	}
	if q.format == "json" {
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
