package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
	"healthcheck/watchdog/store"
	"healthcheck/watchdog/timeline"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ago is minutes before t0.
func ago(minutes int) time.Time { return t0.Add(-time.Duration(minutes) * time.Minute) }

// line is a timeline of states and of the minutes before t0 in which they began.
func line(changes ...any) (l timeline.Line) {
	for i := 0; i < len(changes); i += 2 {
		l.Note(changes[i].(timeline.State), ago(changes[i+1].(int)))
	}
	return l
}

// check is one with a trend of a value per minute.
func check(name string, status probe.Status, limit float64, values ...float64) watchdog.Check {
	c := watchdog.Check{Figure: report.Figure{Check: name, Status: status, Duration: 3 * time.Millisecond}}
	for i, v := range values {
		c.Trend.Note(v, ago(len(values)-1-i))
		c.Value = &v
	}
	if limit != 0 {
		c.Limit = &limit
	}
	return c
}

// overview is a host with something of everything.
func overview() watchdog.Overview {
	return watchdog.Overview{
		At: t0,
		Services: []recovery.ServiceStatus{
			{Service: "shop/api/1", Container: "shop-api-1", ID: "0123456789ab", Health: "unhealthy", Phase: "held", MaxAttempts: 3, Due: t0.Add(5 * time.Minute), Waits: "shop/db/1", Cause: "db: connection refused"},
			{Service: "shop/cache/1", Container: "shop-cache-1", Health: "healthy", Phase: "watching", MaxAttempts: 3, HealthySince: ago(600)},
			{Service: "shop/db/1", Container: "shop-db-1", Health: "unhealthy", Phase: "waiting", Attempts: 1, MaxAttempts: 3, Due: t0.Add(8 * time.Second), Cause: "postgres://db: status 503", LastRestart: ago(1)},
			{Service: "shop/mail/1", Container: "shop-mail-1", Health: "exited", Phase: "watching", MaxAttempts: 3},
			{Service: "shop/search/1", Container: "shop-search-1", Health: "unhealthy", Phase: "given up", Attempts: 3, MaxAttempts: 3, Cause: "connection refused"},
		},
		Lines: map[string]timeline.Line{
			"shop/api/1":    line(timeline.Unknown, 1500, timeline.Healthy, 1200, timeline.Unhealthy, 3, timeline.Held, 2),
			"shop/cache/1":  line(timeline.Healthy, 2000),
			"shop/db/1":     line(timeline.Healthy, 1300, timeline.Unhealthy, 301, timeline.Restarting, 300, timeline.Healthy, 299, timeline.Unhealthy, 2, timeline.Restarting, 1, timeline.Unhealthy, 0),
			"shop/mail/1":   line(timeline.Healthy, 2000, timeline.Stopped, 700),
			"shop/search/1": line(timeline.Healthy, 2000, timeline.Unhealthy, 420, timeline.Restarting, 419, timeline.Unhealthy, 410, timeline.GivenUp, 400),
		},
		Checks: map[string][]watchdog.Check{
			"shop/api/1":   {check("memory", probe.OK, 90, 40, 41, 44, 50, 61), check("db", probe.Fail, 0), check("gpu", probe.Skip, 0)},
			"shop/cache/1": {check("cpu", probe.OK, 90, 12.5, 13, 70, 12, 11.25), check("disk", probe.Warn, 95, 90)},
		},
		History: store.History{
			{Time: ago(301), Service: "shop/db/1", Phase: recovery.Restarting, Event: recovery.EventRestarting, Severity: recovery.Info, Attempt: 1, What: "restart 1 of 3", Evidence: "20260301T065900.000000000Z", Cause: "status 500"},
			{Time: ago(300), Service: "shop/db/1", Phase: recovery.Verifying, Event: recovery.EventRestarted, Severity: recovery.Warning, Alert: true, Attempt: 1, What: "restarted (1 of 3): status 500"},
			{Time: ago(299), Service: "shop/db/1", Event: recovery.EventRecovered, Severity: recovery.Info, Alert: true, Closes: true, What: "recovered in 1m0s, by restart 1"},
			{Time: ago(400), Service: "shop/search/1", Phase: recovery.GivenUp, Event: recovery.EventGaveUp, Severity: recovery.Critical, Alert: true, Attempt: 3, What: "gave up after 3 restarts", Cause: "connection refused"},
		},
		Incidents: map[string]*alert.Incident{"service shop/search/1": {}, "engine": {Opened: ago(5), Last: alert.Message{Severity: recovery.Critical, Title: "[critical] watchdog on node7"}}},
	}
}

// server serves an overview as the watchdog does.
func server(t *testing.T, o *watchdog.Overview) (*Page, *httptest.Server) {
	t.Helper()
	p := &Page{Source: func(context.Context) (watchdog.Overview, bool) {
		if o == nil {
			return watchdog.Overview{}, false
		}
		return *o, true
	}, Health: func(time.Time) error { return nil }, About: About{"node7", "v1"}}
	mux := http.NewServeMux()
	p.Register(mux)
	srv := httptest.NewServer(Headers(mux))
	t.Cleanup(srv.Close)
	return p, srv
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestPage(t *testing.T) {
	o := overview()
	_, srv := server(t, &o)
	resp, body := get(t, srv.URL+"/")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	for _, part := range []string{"3 of 5 services are not healthy", "restart 2 of 3 at ", "(in 8 s)", "waits for shop/db/1; restarted at ", "nothing, until it is healthy, recreated, or reset: watchdog reset shop-search-1",
		"nothing: it is exited", "db: connection refused", "61 (limit 90)", "watchdog history --show 20260301T065900.000000000Z", "recovered in 1m0s, by restart 1", "lasted 1 min", "last 24 hours: healthy 1 d"} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

// Text of containers, of labels and of reports is data, wherever it stands.
func TestPageWithHostileText(t *testing.T) {
	evil := `<img src=x onerror=alert(1)>"'</title></script><script>alert(2)</script>` + "\x1b[31m\u202e\x00\r\n{{.}}"
	long := evil + strings.Repeat("long ", 1000)
	o := overview()
	o.Services = []recovery.ServiceStatus{{Service: long, Container: long, ID: evil, Health: evil, Phase: "held", Waits: long, Cause: long, Paused: long, PausedUntil: t0.Add(time.Hour), Due: t0},
		{Service: "x", Container: long, Health: evil, Phase: evil}}
	o.Lines = map[string]timeline.Line{long: line(timeline.Held, 3)}
	o.Checks = map[string][]watchdog.Check{long: {check(long, probe.OK, 90, 50), check("huge", probe.OK, math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64)}}
	o.History = store.History{{Time: ago(3), Service: long, Phase: recovery.Held, Event: recovery.EventHeld, Severity: recovery.Critical, Alert: true, What: long, Cause: long, Evidence: evil}}
	o.Incidents = map[string]*alert.Incident{"service " + evil: {Opened: t0, Last: alert.Message{Severity: recovery.Severity(evil), Title: long}}}
	p, srv := server(t, &o)
	p.About = About{evil, evil}
	p.Health = func(time.Time) error { return errors.New(long) }
	_, body := get(t, srv.URL)
	if strings.Contains(body, "<img") || strings.Contains(body, "alert(2)</script>") || strings.Count(body, "<script") != 1 || strings.ContainsAny(body, "\x1b\u202e\x00\r") || strings.Count(body, "</title>\n") != 1 {
		t.Errorf("as it came:\n%s", body)
	}
	if !strings.Contains(body, "&lt;img src=x onerror=alert(1)&gt;") || len(body) > 40<<10 {
		t.Errorf("%d bytes:\n%s", len(body), body)
	}
	for _, m := range regexp.MustCompile(` (?:points|d|x|y|width|height)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], "NaN") || strings.Contains(m[1], "Inf") || len(m[1]) > 1000 {
			t.Errorf("%s", m[0])
		}
	}
}

// What is not served to a page in a frame, of another origin, or with scripts
// of its own.
func TestHeaders(t *testing.T) {
	o := overview()
	_, srv := server(t, &o)
	_, body := get(t, srv.URL)
	for _, path := range []string{"/", "/page.css", "/page.js", "/icon.svg", "/nothing"} {
		resp, _ := get(t, srv.URL+path)
		h := resp.Header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", path, name, h.Get(name))
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "http") {
			t.Errorf("%s: %s", path, csp)
		}
		if want := map[bool]int{true: 404, false: 200}[path == "/nothing"]; resp.StatusCode != want {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	// The files are the server's own, and nothing is inline.
	for _, m := range regexp.MustCompile(`(?: (?:src|href|style|on[a-z]+)="([^"]*)"|<style)`).FindAllStringSubmatch(body, -1) {
		switch {
		case strings.HasPrefix(m[1], "#"), m[1] == "page.css", m[1] == "page.js", m[1] == "icon.svg", m[1] == "metrics", m[1] == "api/status", m[1] == "healthz":
		default:
			t.Errorf("the page has %s", m[0])
		}
	}
}

// The verdict says what a person has to know first.
func TestVerdict(t *testing.T) {
	service := func(phase, health string) recovery.ServiceStatus {
		return recovery.ServiceStatus{Service: phase + health, Phase: phase, Health: health, MaxAttempts: 3}
	}
	for _, c := range []struct {
		o       watchdog.Overview
		problem error
		state   timeline.State
		want    string
		notices int
	}{
		{watchdog.Overview{}, nil, timeline.Unknown, "Nothing is watched: ", 0},
		{watchdog.Overview{Services: []recovery.ServiceStatus{service("watching", "healthy"), service("watching", "exited"), service("watching", "starting")}}, nil, timeline.Healthy, "No service needs anything", 0},
		{watchdog.Overview{Services: []recovery.ServiceStatus{service("watching", "healthy"), service("verifying", "starting")}}, nil, timeline.Restarting, "1 of 2 services is not healthy", 0},
		{watchdog.Overview{Services: []recovery.ServiceStatus{service("given up", "unhealthy"), service("held", "unhealthy")}, DryRun: true, Overloaded: true}, errors.New("x"), timeline.GivenUp, "2 of 2 services are not healthy", 3},
		{watchdog.Overview{Services: []recovery.ServiceStatus{service("watching", "healthy")}, EngineLost: t0.Add(-time.Hour)}, nil, timeline.Unknown, "The container engine cannot be reached since ", 0},
	} {
		c.o.At = t0
		v := newView(c.o, About{}, c.problem)
		if v.State != c.state || !strings.HasPrefix(v.Verdict, c.want) || len(v.Warnings) != c.notices {
			t.Errorf("%s: %q %q, want %s: %q", v.State, v.Verdict, v.Warnings, c.state, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	said := map[string]bool{}
	in8 := t0.Add(8 * time.Second)
	clock := in8.Local().Format("15:04:05")
	for _, c := range []struct {
		s    recovery.ServiceStatus
		want string
	}{
		{recovery.ServiceStatus{Phase: "watching", Health: "healthy"}, "nothing"},
		{recovery.ServiceStatus{Phase: "watching", Health: "healthy", Attempts: 1}, "its attempts are cleared when it has been healthy for long enough"},
		{recovery.ServiceStatus{Phase: "watching", Health: "starting"}, "its first probes decide"},
		{recovery.ServiceStatus{Phase: "watching", Health: "paused"}, "nothing: it is paused"},
		{recovery.ServiceStatus{Phase: "watching", Health: "unhealthy"}, "nothing is due"},
		{recovery.ServiceStatus{Phase: "waiting", Due: in8}, "restart 1 of 3 at " + clock + " (in 8 s)"},
		{recovery.ServiceStatus{Phase: "waiting", Due: t0}, "restart 1 of 3, as soon as the limits allow"},
		{recovery.ServiceStatus{Phase: "waiting", Due: t0, PausedUntil: in8}, "restart 1 of 3, not before " + clock},
		{recovery.ServiceStatus{Phase: "waiting", Due: in8, Next: recovery.RemedyRestart, Waits: "db"}, "restart after db at " + clock + " (in 8 s)"},
		{recovery.ServiceStatus{Phase: "waiting", Due: in8, Next: recovery.RemedyStop}, "it is stopped at " + clock + " (in 8 s)"},
		{recovery.ServiceStatus{Phase: "waiting", Due: in8, Next: recovery.RemedyNotify}, "people are notified at " + clock + " (in 8 s)"},
		{recovery.ServiceStatus{Phase: "stopping"}, "the engine stops it, as its policy says"},
		{recovery.ServiceStatus{Phase: "stopped", Container: "app"}, "nothing: its policy keeps it down until it is started, recreated, or reset: watchdog reset app"},
		{recovery.ServiceStatus{Phase: "restarting", Attempts: 2}, "the engine restarts it (2 of 3)"},
		{recovery.ServiceStatus{Phase: "launching"}, "the engine starts it, after a restart that failed half-way"},
		{recovery.ServiceStatus{Phase: "verifying", Due: in8}, "its next probes decide, by " + clock + " (in 8 s) at the latest"},
		{recovery.ServiceStatus{Phase: "held", Waits: "db"}, "waits for db"},
		{recovery.ServiceStatus{Phase: "held", Due: in8}, "waits for what it needs; restarted at " + clock + " (in 8 s) at the latest"},
		{recovery.ServiceStatus{Phase: "held", Due: in8, Next: recovery.RemedyStop}, "waits for what it needs; stopped at " + clock + " (in 8 s) at the latest"},
		{recovery.ServiceStatus{Phase: "held", Due: in8, Next: recovery.RemedyNotify}, "waits for what it needs; people are notified at " + clock + " (in 8 s) at the latest"},
		{recovery.ServiceStatus{Phase: "rehearsed"}, "nothing: with --dry-run it is only reported"},
		{recovery.ServiceStatus{Phase: "given up", Container: "app"}, "nothing, until it is healthy, recreated, or reset: watchdog reset app"},
	} {
		c.s.MaxAttempts = 3
		said[c.s.Phase] = true
		if got := next(c.s, timeline.Of(phaseOf(c.s.Phase), c.s.Health), t0); got != c.want {
			t.Errorf("%s: %q, want %q", c.s.Phase, got, c.want)
		}
	}
	for _, p := range recovery.Phases {
		if !said[p.String()] {
			t.Errorf("nothing is tested of %s", p)
		}
	}
}

// A thousand services make a page of bounded size, which leaves out none that
// is not healthy while it shows one that is.
func TestPageIsBounded(t *testing.T) {
	o := watchdog.Overview{At: t0}
	for i := range 1000 {
		s := recovery.ServiceStatus{Service: fmt.Sprintf("s%03d", i), Health: "healthy", Phase: "watching"}
		if i%10 == 9 {
			s.Health, s.Phase = "unhealthy", "given up"
		}
		o.Services = append(o.Services, s)
	}
	v := newView(o, About{}, nil)
	bad := 0
	for i, s := range v.Services {
		if s.State == timeline.GivenUp {
			bad++
		}
		if i > 0 && v.Services[i-1].Name >= s.Name {
			t.Errorf("%s before %s", v.Services[i-1].Name, s.Name)
		}
	}
	if len(v.Services) != maxServices || bad != 100 || v.Omitted != 1000-maxServices {
		t.Errorf("%d services, %d of them not healthy, %d left out", len(v.Services), bad, v.Omitted)
	}
	for i := range o.Services { // more than are shown need a person
		o.Services[i].Health, o.Services[i].Phase = "unhealthy", "given up"
	}
	_, srv := server(t, &o)
	if _, body := get(t, srv.URL); !strings.Contains(body, ">800 more services are not shown; ") {
		t.Error("the page does not say how many it leaves out")
	}
	for i := range 1000 {
		o.History = append(o.History, store.Decision{Time: ago(i), Service: fmt.Sprint(i), Event: recovery.EventGaveUp, Severity: recovery.Critical, Alert: true})
	}
	if n := len(newView(o, About{}, nil).Incidents); n != maxIncidents {
		t.Errorf("%d incidents", n)
	}
}

// What many watchers cost is what one costs, and nobody sees an old page.
func TestPageIsRenderedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		p := &Page{Source: func(context.Context) (watchdog.Overview, bool) {
			n := asked.Add(1)
			return watchdog.Overview{At: t0, Services: []recovery.ServiceStatus{{Service: fmt.Sprintf("answer %d", n)}}}, n < 4
		}, Health: func(time.Time) error { return nil }}
		want := func(what string, n int, status int) {
			t.Helper()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					w := httptest.NewRecorder()
					p.page(w, httptest.NewRequest(http.MethodGet, "/", nil))
					if w.Code != status || status == 200 && !strings.Contains(w.Body.String(), fmt.Sprintf(">answer %d<", n)) {
						t.Errorf("%s: not answer %d: %d", what, n, w.Code)
					}
				})
			}
			all.Wait()
			if got := int(asked.Load()); got != n {
				t.Errorf("%s: asked %d times, want %d", what, got, n)
			}
		}
		want("many at once", 1, 200)
		p.Changed()
		want("something has changed", 2, 200)
		time.Sleep(keptFor)
		want("time has passed", 3, 200)
		p.Changed()
		want("no answer", 4, http.StatusServiceUnavailable)
	})
}

func TestNoAnswer(t *testing.T) {
	_, srv := server(t, nil)
	if resp, body := get(t, srv.URL); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "does not answer") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestLengths(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0 s", 400 * time.Millisecond: "0 s", 8 * time.Second: "8 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s", 2*time.Hour + 3*time.Minute + 4*time.Second: "2 h 3 min", 50 * time.Hour: "2 d 2 h", 24*time.Hour + time.Minute: "1 d"} {
		if got := length(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 10: "10", 12.5: "12.5", 0.126: "0.13", -3: "-3", 1e12: "1e+12"} {
		if got := decimal(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
