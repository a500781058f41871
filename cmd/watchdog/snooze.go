package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/watchdog"
	"healthcheck/watchdog/recovery"
)

// pauseQuestion is what snooze and resume ask.
type pauseQuestion struct {
	*question
	all    bool
	reason string
}

func newPauseFlags(command string) (*pflag.FlagSet, *pauseQuestion) {
	fs, q := newQuestionFlags(command)
	p := &pauseQuestion{question: q}
	fs.BoolVar(&p.all, "all", false, "every service, those that come later among them")
	if command == "snooze" {
		fs.StringVar(&p.reason, "reason", "", "`TEXT` why: for status, history and the log")
	}
	return fs, p
}

// pauseAnswer is what the daemon answers to both.
type pauseAnswer struct {
	// Services are those that were meant, as they are now.
	Services []recovery.ServiceStatus `json:"services"`
	// Until is the end of the pause; zero for resume.
	Until time.Time `json:"until,omitzero"`
}

// runSnooze is watchdog snooze NAME|--all DURATION.
func runSnooze(ctx context.Context, g given, stdout, stderr io.Writer) int {
	return runPause(ctx, "snooze", g, stdout, stderr)
}

// runResume is watchdog resume NAME|--all.
func runResume(ctx context.Context, g given, stdout, stderr io.Writer) int {
	return runPause(ctx, "resume", g, stdout, stderr)
}

func runPause(ctx context.Context, command string, g given, stdout, stderr io.Writer) int {
	p, query, err := parsePause(command, g, stdout, stderr)
	if err != nil {
		return failOrHelp(err, command, stdout, stderr)
	}
	name := query.Get("name")
	return p.change(ctx, "/"+command+"?"+query.Encode(), name, func(body []byte) (string, error) {
		var answer pauseAnswer
		err := json.Unmarshal(body, &answer)
		return pauseText(name, answer), err
	})
}

// parsePause reads the flags and arguments of snooze and resume, and returns
// what the daemon is to be asked.
func parsePause(command string, g given, stdout, stderr io.Writer) (*pauseQuestion, url.Values, error) {
	fs, p := newPauseFlags(command)
	most, usage := 1, "watchdog resume NAME, or watchdog resume --all"
	if command == "snooze" {
		most, usage = 2, "watchdog snooze NAME 30m, or watchdog snooze --all 30m"
	}
	environ, err := g.parse(fs, most)
	if err != nil {
		return nil, nil, err
	}
	if err := p.check(environ, fs.Args(), stdout, stderr); err != nil {
		return nil, nil, err
	}
	args, query := p.args, url.Values{}
	if !p.all {
		if len(args) == 0 || args[0] == "" {
			return nil, nil, usagef(usage, "%s needs the name of a service or container, or --all", command)
		}
		query.Set("name", args[0])
		args = args[1:]
	}
	if command == "snooze" {
		if len(args) == 0 {
			return nil, nil, usagef(usage, "snooze needs a duration: a pause has an end")
		}
		d, err := time.ParseDuration(args[0])
		if err != nil || d < time.Second || d > recovery.LongestSnooze {
			return nil, nil, usagef(usage, "want a duration of 1s to %gh, not %q", recovery.LongestSnooze.Hours(), clean(args[0]))
		}
		query.Set("for", d.String())
		query.Set("reason", p.reason)
		args = args[1:]
	}
	if len(args) > 0 {
		return nil, nil, usagef(usage, "%s: %q is one argument too many", command, clean(args[0]))
	}
	return p, query, nil
}

// pauseText says what a snooze or its end has changed, a service a line.
func pauseText(name string, answer pauseAnswer) string {
	var b strings.Builder
	if name == "" {
		fmt.Fprintf(&b, "all services, %d now: ", len(answer.Services))
		if answer.Until.IsZero() {
			b.WriteString("no snooze any more\n")
		} else {
			fmt.Fprintf(&b, "not restarted before %s\n", answer.Until.Local().Format(time.DateTime+" MST"))
		}
		return b.String()
	}
	for _, s := range answer.Services {
		if s.PausedUntil.IsZero() {
			fmt.Fprintf(&b, "%s: may be restarted; it is %s\n", clean(s.Service), clean(s.Health))
		} else {
			fmt.Fprintf(&b, "%s: not restarted before %s (%s); it is %s\n", clean(s.Service), s.PausedUntil.Local().Format(time.DateTime+" MST"), clean(s.Paused), clean(s.Health))
		}
	}
	return b.String()
}

// servePauses answers snooze and resume on the control socket.
func servePauses(mux *http.ServeMux, daemon *watchdog.Daemon) {
	reply := func(w http.ResponseWriter, r *http.Request, n int, until time.Time) {
		name, out := r.URL.Query().Get("name"), pauseAnswer{daemon.Status(r.Context()), until}
		if name != "" {
			if out.Services = named(out.Services, name); n == 0 {
				w.WriteHeader(http.StatusNotFound)
			}
		}
		answer(w, out)
	}
	mux.HandleFunc("POST /snooze", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		d, err := time.ParseDuration(q.Get("for"))
		if err != nil || d <= 0 || d > recovery.LongestSnooze {
			http.Error(w, "for= wants a duration of at most "+recovery.LongestSnooze.String(), http.StatusBadRequest)
			return
		}
		until := time.Now().Add(d)
		reply(w, r, daemon.Snooze(r.Context(), q.Get("name"), until, q.Get("reason")), until)
	})
	mux.HandleFunc("POST /resume", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, daemon.Resume(r.Context(), r.URL.Query().Get("name")), time.Time{})
	})
}
