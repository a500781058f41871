package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
)

// newHistoryFlags declares the flags of history.
func newHistoryFlags() (fs *pflag.FlagSet, q *question, show *string) {
	fs, q = newQuestionFlags("history")
	return fs, q, fs.String("show", "", "`ID` what was known before a restart, as run --evidence keeps it")
}

// runHistory is watchdog history [NAME].
func runHistory(ctx context.Context, g given, stdout, stderr io.Writer) int {
	fs, q, show := newHistoryFlags()
	environ, err := g.parse(fs, 1)
	if err == nil {
		err = q.check(environ, fs.Args(), stdout, stderr)
	}
	switch {
	case err != nil:
		return failOrHelp(err, "history", stdout, stderr)
	case *show != "":
		return q.showEvidence(ctx, *show)
	}
	return q.print(ctx, func(body []byte, _ time.Time) (string, error) { return historyTable(body, fs.Arg(0)) })
}

// historyTable lays the daemon's answer out for people: all of it, or what is
// about one service or container.
func historyTable(body []byte, name string) (string, error) {
	var all store.History
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	if name != "" {
		all = slices.DeleteFunc(all, func(d store.Decision) bool {
			return !recovery.ServiceStatus{Service: d.Service, Container: d.Container}.Called(name)
		})
	}
	// A column that names evidence, where there is any.
	kept := slices.ContainsFunc(all, func(d store.Decision) bool { return d.Evidence != "" })
	row := func(evidence, cause string, cells ...string) []string {
		if kept {
			cells = append(cells, evidence)
		}
		return append(cells, cause)
	}
	rows := [][]string{row("EVIDENCE", "CAUSE", "TIME", "SEVERITY", "SERVICE", "ATTEMPT", "TOOK", "WHAT")}
	for _, d := range all {
		took := ""
		if d.Took > 0 {
			took = time.Duration(d.Took * float64(time.Second)).Round(time.Millisecond).String()
		}
		rows = append(rows, row(d.Evidence, d.Cause, d.Time.Local().Format(time.DateTime+" MST"), string(d.Severity), d.Service, fmt.Sprint(d.Attempt), took, d.What))
	}
	return layOut(rows), nil
}

// showEvidence prints what is kept under an id.
func (q *question) showEvidence(ctx context.Context, id string) int {
	body, status, err := q.ask(ctx, http.MethodGet, "/evidence?id="+url.QueryEscape(id))
	switch {
	case err != nil:
		return fail(q.stderr, err)
	case status != http.StatusOK:
		return fail(q.stderr, usagef("watchdog history lists the ids, where watchdog run has --evidence", "%s", strings.TrimSpace(string(body))))
	case q.format == "json":
		q.stdout.Write(body)
		return 0
	}
	text, err := evidenceText(body)
	if err != nil {
		return fail(q.stderr, err)
	}
	io.WriteString(q.stdout, text)
	return 0
}

// evidenceText lays evidence out for people.
func evidenceText(body []byte) (string, error) {
	var e store.Evidence
	if err := json.Unmarshal(body, &e); err != nil {
		return "", errors.New("the daemon's answer is not understood")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, container %s (%s), just before its restart\ncause: %s\n", e.Time.Local().Format(time.DateTime+" MST"), clean(e.Service), clean(e.Container), clean(recovery.ShortID(e.ContainerID)), clean(e.Cause))
	part := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text == "" {
			text = "(none)"
		}
		fmt.Fprintf(&b, "\n%s\n%s\n", title, text)
	}
	var probes strings.Builder
	for _, p := range e.Probes {
		fmt.Fprintf(&probes, "%s, %s, exit %d: %s\n", p.Start.Local().Format(time.TimeOnly), p.End.Sub(p.Start).Round(time.Millisecond), p.ExitCode, strings.TrimSpace(p.Output))
	}
	part("LAST PROBES", probes.String())
	if len(e.Top) > 0 {
		part("PROCESSES", layOut(e.Top))
	} else {
		part("PROCESSES", "")
	}
	part("LOG", e.Logs)
	part("USAGE", indented(e.Stats))
	part("INSPECTION", indented(e.Inspection))
	return b.String(), nil
}

// indented is JSON for people.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return b.String()
}
