package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"healthcheck/watchdog/recovery"
)

// act is one thing that somebody or something does. All that chance decides of
// it is in it, so that a history without some of its acts is still a history.
type act struct {
	at   time.Duration
	kind string
	// service is whom it concerns; where phase is not empty: one that is in that
	// phase then.
	service, phase string
	n              uint64
}

func (a act) String() string {
	whom := a.service
	if a.phase != "" {
		whom = "one that is " + a.phase
	}
	return fmt.Sprintf("%-12s %-10s %s (%d)", a.at.Round(time.Millisecond), a.kind, whom, a.n%1000)
}

// The kinds of acts and how often they come. Those of the first group concern
// one container, and can be aimed at one that is in a certain phase.
var deeds = map[string]int{
	"break": 30, "mend": 10, "die": 8, "finish": 3, "oom": 2, "stop": 6, "kill": 2, "start": 10, "restart": 4, "pause": 4,
	"rename": 2, "recreate": 5, "remove": 3, "reset": 5, "hup": 1, "vanish": 3, "flood": 1, "orphan": 3, "snooze": 4, "resume": 2,
}

var happenings = map[string]int{
	"events": 6, "cut": 5, "down": 3, "reboot": 1, "slow": 2, "calls": 8, "restarts": 8, "disk": 2, "receiver": 4, "clock": 2,
	"killed": 5, "kill at": 5, "term": 2, "switch": 2, "overload": 2, "corrupt": 1, "disk hangs": 2, "evidence": 3, "snooze all": 1, "resume all": 1,
}

// pick takes one by its weight.
func pick(r *rand.Rand, weights map[string]int) string {
	total := 0
	for _, n := range weights {
		total += n
	}
	n := r.IntN(total)
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if n -= weights[name]; n < 0 {
			return name
		}
	}
	panic("no weights")
}

const (
	chaosTime = 45 * time.Minute
	restTime  = 50 * time.Minute
)

// newHistory is the history of a seed.
func newHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 22))
	h := history{seed: seed, specs: newSpecs(r), chaos: chaosTime, rest: restTime}
	pause := time.Duration(3+r.IntN(10)) * time.Second // a calm history, or one that is not
	return h.withActs(r, pause)
}

// newWideHistory has two thousand services more, and takes half a day: what a
// large host is like, where a fault of one service is rare.
func newWideHistory(seed uint64) history {
	r := rand.New(rand.NewPCG(seed, 23))
	h := history{seed: seed, specs: newSpecs(r), chaos: 12 * time.Hour, rest: restTime}
	for i := range 2000 {
		h.specs = append(h.specs, spec{service: fmt.Sprint("wide", i), compose: true, checked: true, wide: true, interval: 2 * time.Minute, timeout: 5 * time.Second, retries: 3,
			startup: time.Duration(r.IntN(12)) * time.Second, stopTakes: time.Second, policy: "unless-stopped", labels: map[string]string{"watchdog.enable": "true"}})
	}
	return h.withActs(r, time.Duration(60+r.IntN(180))*time.Second)
}

// withActs lets acts come, with such a pause on average.
func (h history) withActs(r *rand.Rand, pause time.Duration) history {
	for at := 2 * time.Minute; at < h.chaos; at += time.Duration(r.ExpFloat64() * float64(pause)) {
		a := act{at: at + time.Duration(r.IntN(1e6)), n: r.Uint64()}
		switch k := r.IntN(10); {
		case k < 5:
			a.kind, a.service = pick(r, deeds), h.specs[r.IntN(len(h.specs))].service
		case k < 8:
			a.kind, a.phase = pick(r, deeds), recovery.Phases[1+r.IntN(len(recovery.Phases)-1)].String()
			switch {
			case r.IntN(12) == 0:
				a.kind = "switch"
			case r.IntN(12) == 0:
				a.kind = "orphan"
			}
		default:
			a.kind = pick(r, happenings)
		}
		h.acts = append(h.acts, a)
	}
	return h
}

// newSpecs is what runs on the engine.
func newSpecs(r *rand.Rand) (all []spec) {
	add := func(s spec) {
		s.compose = s.compose || r.IntN(5) > 0
		s.labels = maps.Clone(s.labels)
		if s.labels == nil {
			s.labels = map[string]string{}
		}
		if _, said := s.labels["watchdog.enable"]; !said {
			s.labels["watchdog.enable"] = "true"
		}
		if s.labels["watchdog.enable"] == "" {
			delete(s.labels, "watchdog.enable")
		}
		s.interval = []time.Duration{5, 10, 20, 30}[r.IntN(4)] * time.Second
		s.timeout = time.Duration(2+r.IntN(4)) * time.Second
		s.retries = 1 + r.IntN(3)
		s.startup = cmp.Or(s.startup, time.Duration(r.IntN(12))*time.Second)
		s.startPeriod = cmp.Or(s.startPeriod, time.Duration(r.IntN(2))*20*time.Second)
		s.stopTakes = time.Duration(50+r.IntN(3000)) * time.Millisecond
		if r.IntN(8) == 0 {
			s.stopTakes = time.Minute
		}
		if r.IntN(4) == 0 {
			s.labels["watchdog.backoff-base"] = "15s"
		}
		if r.IntN(8) == 0 {
			s.labels["watchdog.unhealthy-for"] = "20s"
		}
		all = append(all, s)
	}
	own := []string{"", "", "always", "unless-stopped"}
	after := func(names string) map[string]string { return map[string]string{"com.docker.compose.depends_on": names} }
	add(spec{service: "db", checked: true, compose: true})
	add(spec{service: "web", checked: true, compose: true, needs: []string{"db"}, labels: after("db:service_started:true")})
	add(spec{service: "edge", checked: true, compose: true, needs: []string{"web"}, labels: after("web:service_healthy:true,db:service_started:true")})
	add(spec{service: "left", checked: true, compose: true, needs: []string{"right"}, labels: after("right:service_started:true")})
	add(spec{service: "right", checked: true, compose: true, needs: []string{"left"}, labels: after("left:service_started:true")})
	add(spec{service: "side", checked: r.IntN(2) == 0, networkOf: "db", policy: own[r.IntN(4)]})
	add(spec{service: "hub", checked: r.IntN(2) == 0, labels: map[string]string{"watchdog.enable": []string{"", "true"}[r.IntN(2)]}})
	add(spec{service: "guest", checked: true, networkOf: "hub", policy: own[r.IntN(4)]})
	add(spec{service: "dry", checked: true, dry: true, networkOf: []string{"", "hub"}[r.IntN(2)], policy: own[r.IntN(4)], labels: map[string]string{"watchdog.dry-run": "true"}})
	add(spec{service: "rehearsal", checked: true, dry: true, labels: map[string]string{"watchdog.dry-run": "true", "watchdog.enable": ""}})
	add(spec{service: "plain", compose: true, labels: map[string]string{"watchdog.reported-by": "*"}})
	add(spec{service: "asker", checked: true, compose: true, needs: []string{"plain"}})
	add(spec{service: "policy", checked: true, policy: "always"})
	add(spec{service: "limited", checked: true, policy: "on-failure", maxRetries: 2})
	add(spec{service: "job", job: time.Duration(2+r.IntN(8)) * time.Minute})
	add(spec{service: "leak", checked: true, leak: time.Duration(5+r.IntN(20)) * time.Minute, policy: own[r.IntN(4)]})
	add(spec{service: "flaps", checked: true, flaps: time.Duration(1+r.IntN(4)) * time.Minute})
	add(spec{service: "slow", checked: true, startup: 50 * time.Second, startPeriod: time.Duration(r.IntN(2)) * 80 * time.Second})
	add(spec{service: "script", checked: true, noVerdict: true, needs: []string{"db"}})
	add(spec{service: "bycause", checked: true, needs: []string{"db"}, labels: map[string]string{"watchdog.by-cause": "false"}})
	add(spec{service: "holdless", checked: true, labels: map[string]string{"watchdog.hold-max": "0s", "watchdog.max-attempts": "1", "watchdog.reported-by": "web"}})
	add(spec{service: "never", checked: true, labels: map[string]string{"watchdog.enable": "false", "autoheal": "true"}})
	add(spec{service: "swarm", checked: true, labels: map[string]string{"com.docker.swarm.task.id": "x"}})
	add(spec{service: "oneoff", checked: true, compose: true, labels: map[string]string{"com.docker.compose.oneoff": "True"}})
	add(spec{service: "loose", checked: true, labels: map[string]string{"watchdog.enable": ""}})
	add(spec{service: "loosenet", checked: true, networkOf: "db", labels: map[string]string{"watchdog.enable": ""}})
	add(spec{service: "told", checked: true, compose: true, needs: []string{"db"}, policy: own[r.IntN(4)], labels: map[string]string{"watchdog.action": "notify", "com.docker.compose.depends_on": "db:service_started:true"}})
	add(spec{service: "stops", checked: true, policy: own[r.IntN(4)], labels: map[string]string{"watchdog.action": "stop"}})
	add(spec{service: "guests", checked: true, networkOf: "hub", policy: own[r.IntN(4)], labels: map[string]string{"watchdog.action": []string{"stop", "notify"}[r.IntN(2)]}})
	add(spec{service: "givesup", checked: true, policy: own[r.IntN(4)], labels: map[string]string{"watchdog.on-give-up": "stop", "watchdog.max-attempts": fmt.Sprint(r.IntN(3))}})
	for i := range r.IntN(6) {
		enable := []string{"", "true", "true"}[r.IntN(3)]
		add(spec{service: fmt.Sprint("app", i), checked: true, policy: own[r.IntN(4)], labels: map[string]string{"watchdog.enable": enable, "watchdog.unknown": "\x1b[31m"}})
	}
	return all
}
