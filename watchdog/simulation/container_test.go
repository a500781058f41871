package simulation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// spec is what a container is created from: what compose would hold.
type spec struct {
	service string
	compose bool
	labels  map[string]string
	// checked containers have a healthcheck.
	checked                        bool
	interval, timeout, startPeriod time.Duration
	retries                        int
	startup                        time.Duration // until it serves
	stopTakes                      time.Duration // when it is asked to stop
	policy                         string
	maxRetries                     int
	networkOf                      string   // the service whose network it lives in
	needs                          []string // services that its probe asks
	job                            time.Duration
	leak                           time.Duration // runs out of memory after that
	flaps                          time.Duration // healthy and failing in turn
	noVerdict                      bool          // its probe says nothing of ours
	dry                            bool
	wide                           bool // one of very many
}

// trouble is what is wrong with a container, which its probes see.
type trouble struct {
	class probe.Class // empty: a probe of others, which names no cause
	host  string      // of a dependency
	hangs bool        // probes run out of time, and a stop takes all of its time
	// restarts is how many of them mend it; below zero: none does.
	restarts int
	until    time.Time // zero: it does not end by itself
}

// container is one as it really is.
type container struct {
	spec
	e         *engine
	r         *rand.Rand
	id, name  string
	state     string
	health    string
	streak    int
	log       []result
	started   time.Time // by the engine's clock, which was wrong by startSkew
	startSkew time.Duration
	priorSkew time.Duration // and of the one before
	finished  time.Time
	exit      int
	oom       bool
	err       string
	count     int // restarts by its own policy
	byHand    bool
	ownerID   string
	trouble   *trouble
	began     time.Time // by the true clock
	gen       int       // timers of an earlier life do nothing
	ending    bool
	ops       []func(done func())

	// stopped says that a person stopped it and nobody has started it since.
	stopped   bool
	stoppedAt int // the number of events before that
	told      known
	wanted    bool   // a person asked the watchdog for it since
	halted    bool   // the watchdog has stopped it, and nobody has started it since
	raced     bool   // it was stopped while the watchdog's own call was under way: they look alike
	doubtful  bool   // its end was told by a clock that was wrong, or to a watchdog that has forgotten it
	seen      view   // what the watchdog was told of it last
	inspect   []byte // what the engine answers; nil: it has changed
	listed    []byte
}

// known is what the watchdog was told of the end of this life.
type known struct {
	kill, die, stop, down, pause bool
}

// view is the last inspection that reached the watchdog.
type view struct {
	state, health string
	streak        int
	started       time.Time
	failures      []probe.FailureCause
	life          int
}

type result struct {
	Start, End time.Time
	ExitCode   int
	Output     string
	causes     []probe.FailureCause
}

func (c *container) changed() { c.inspect, c.listed = nil, nil }

// ready says whether it serves those who depend on it.
func (c *container) ready() bool {
	return c.state == "running" && time.Since(c.began) >= c.startup && c.trouble == nil
}

// condition is what a probe finds now: nothing, or what it prints.
func (c *container) condition() (output string, causes []probe.FailureCause, hangs bool) {
	now := time.Now()
	if t := c.trouble; t != nil && !t.until.IsZero() && now.After(t.until) {
		c.trouble = nil
	}
	var failed []probe.Result
	fail := func(class probe.Class, host, text string) {
		failed = append(failed, probe.Result{Name: "check" + strconv.Itoa(len(failed)), Status: probe.Fail, Message: text, Cause: probe.FailureCause{Class: class, Host: host}, Duration: time.Millisecond})
	}
	switch t := c.trouble; {
	case c.e.overloaded && !c.wide:
		return "", nil, true
	case t != nil && t.hangs:
		return "", nil, true
	case now.Sub(c.began) < c.startup:
		fail(probe.Starting, "", "it is starting")
	case t != nil && t.class == "":
		return "curl: (7) Failed to connect", nil, false
	case t != nil:
		fail(t.class, t.host, "a fault of the simulation")
	case c.flaps > 0 && now.Sub(c.began)/c.flaps%2 == 1:
		fail(probe.Self, "", "it flaps")
	}
	for _, name := range c.needs {
		if o := c.e.byService(name); !c.e.calm && (o == nil || !o.ready()) || c.e.calm && o != nil && !o.ready() {
			fail(probe.Dependency, name, "connection refused")
		}
	}
	if len(failed) == 0 {
		return "", nil, false
	}
	if c.noVerdict {
		return "it does not work", nil, false
	}
	for _, f := range failed {
		causes = append(causes, f.Cause)
	}
	return report.New(failed, time.Millisecond).Text(), causes, false
}

// probe runs the healthcheck once, and again after the interval (moby,
// daemon/health.go).
func (c *container) probe(gen int) {
	if c.gen != gen || c.state != "running" {
		return
	}
	output, causes, hangs := c.condition()
	begin, takes := c.e.clock(), 5*time.Millisecond
	if hangs {
		takes = c.timeout
	}
	c.e.w.after(takes, func() {
		if c.gen != gen || c.state != "running" {
			return
		}
		r := result{Start: begin, End: c.e.clock(), Output: output, causes: causes}
		switch {
		case hangs:
			r.ExitCode, r.Output = -1, fmt.Sprintf("Health check exceeded timeout (%s)", c.timeout)
		case output != "":
			r.ExitCode = 1
		}
		c.probed(r)
		c.e.w.after(c.interval, func() { c.probe(gen) })
	})
}

func (c *container) probed(r result) {
	c.changed()
	if c.log = append(c.log, r); len(c.log) > 5 {
		c.log = c.log[1:]
	}
	old := c.health
	switch {
	case r.ExitCode == 0:
		c.health, c.streak = "healthy", 0
	case c.health == "starting" && r.Start.Sub(c.started) < c.startPeriod:
	default:
		if c.streak++; c.streak >= c.retries {
			c.health = "unhealthy"
		}
	}
	if c.health != old {
		c.e.emit("health_status: "+c.health, c, nil)
	}
}

// fullLabels are compose's and its own.
func (s spec) fullLabels() map[string]string {
	labels := map[string]string{}
	if s.compose {
		labels["com.docker.compose.project"], labels["com.docker.compose.service"] = "p", s.service
	}
	for k, v := range s.labels {
		labels[k] = v
	}
	return labels
}

// key is the watchdog's name of its service.
func (s spec) key() string {
	if s.compose {
		return "p/" + s.service + "/1"
	}
	return s.service
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00Z"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func (c *container) networkMode() string {
	if c.ownerID != "" {
		return "container:" + c.ownerID
	}
	return "p_default"
}

// inspectJSON is the engine's answer to an inspection.
func (c *container) inspectJSON() []byte {
	if c.inspect != nil {
		return c.inspect
	}
	state := map[string]any{"Status": c.state, "Running": c.state == "running" || c.state == "paused", "Paused": c.state == "paused", "Restarting": c.state == "restarting",
		"OOMKilled": c.oom, "ExitCode": c.exit, "Error": c.err, "StartedAt": stamp(c.started), "FinishedAt": stamp(c.finished)}
	config := map[string]any{"Labels": c.fullLabels(), "Image": "image"}
	if c.checked {
		log := c.log
		if log == nil {
			log = []result{}
		}
		state["Health"] = map[string]any{"Status": c.health, "FailingStreak": c.streak, "Log": log}
		config["Healthcheck"] = map[string]any{"Test": []string{"CMD", "/healthcheck"}, "Interval": c.interval, "Timeout": c.timeout, "StartPeriod": c.startPeriod, "Retries": c.retries}
	}
	c.inspect, _ = json.Marshal(map[string]any{"Id": c.id, "Name": "/" + c.name, "RestartCount": c.count, "State": state, "Config": config,
		"HostConfig":      map[string]any{"NetworkMode": c.networkMode(), "RestartPolicy": map[string]any{"Name": cmp.Or(c.policy, "no"), "MaximumRetryCount": c.maxRetries}, "Memory": 64 << 20},
		"NetworkSettings": c.networksJSON(true)})
	return c.inspect
}

func (c *container) networksJSON(aliases bool) map[string]any {
	if c.ownerID != "" {
		return map[string]any{"Networks": map[string]any{}}
	}
	endpoint := map[string]any{}
	if aliases {
		endpoint["Aliases"] = []string{c.service}
	}
	return map[string]any{"Networks": map[string]any{"p_default": endpoint}}
}

// summary is its entry of the engine's list.
func (c *container) summary() []byte {
	if c.listed != nil {
		return c.listed
	}
	status := "Up 2 minutes"
	switch c.state {
	case "running":
		if c.checked {
			status += map[string]string{"healthy": " (healthy)", "unhealthy": " (unhealthy)", "starting": " (health: starting)"}[c.health]
		}
	case "paused":
		status += " (Paused)"
	case "restarting":
		status = "Restarting (1) 2 seconds ago"
	case "created":
		status = "Created"
	default:
		status = fmt.Sprintf("Exited (%d) 2 seconds ago", c.exit)
	}
	c.listed, _ = json.Marshal(map[string]any{"Id": c.id, "Names": []string{"/" + c.name}, "Labels": c.fullLabels(), "State": c.state, "Status": status,
		"HostConfig": map[string]any{"NetworkMode": c.networkMode()}, "NetworkSettings": c.networksJSON(false)})
	return c.listed
}
