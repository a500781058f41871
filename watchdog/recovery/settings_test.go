package recovery

import (
	"strings"
	"testing"
	"time"
)

func TestWatched(t *testing.T) {
	label := func(kv ...string) Container {
		c := Container{ID: "x", Name: "n", Labels: map[string]string{}, HasHealthcheck: true}
		for i := 0; i < len(kv); i += 2 {
			c.Labels[kv[i]] = kv[i+1]
		}
		return c
	}
	all := Settings{All: true, SelfID: "self"}
	for _, c := range []struct {
		s    Settings
		c    Container
		want bool
	}{
		{Settings{}, label(), false},
		{Settings{}, label("watchdog.enable", "true"), true},
		{Settings{}, label("watchdog.enable", ` "True" `), true},
		{Settings{}, label("autoheal", "true"), true},
		{Settings{}, label("autoheal.monitor.enable", "true"), true},
		{Settings{}, label("deunhealth.restart.on.unhealthy", "true"), true},
		{Settings{}, label("deunhealth.restart.on.unhealthy", "no"), false},
		{Settings{OptInLabel: "heal"}, label("heal", "true"), true},
		{all, label(), true},
		{all, label("autoheal", "False"), false},
		{all, label("watchdog.enable", "false", "autoheal", "true"), false},
		{all, label(swarmTask, "t1"), false},
		{all, label(composeOneoff, "True"), false},
		{all, label(composeOneoff, "False"), true},
		{all, Container{ID: "self", HasHealthcheck: true}, false},
		{all, Container{ID: "y"}, false},
		{Settings{Services: []string{"n"}}, label(), true},
		{Settings{Services: []string{"web"}}, label(composeProject, "p", composeService, "web"), true},
		{Settings{Services: []string{"web"}}, label("watchdog.enable", "false", composeProject, "p", composeService, "web"), false},
	} {
		if got := c.s.Watched(c.c); got != c.want {
			t.Errorf("%+v %v: %v", c.s, c.c.Labels, got)
		}
	}
}

func TestLabelsOverride(t *testing.T) {
	s := settings()
	c := Container{Labels: map[string]string{"watchdog.max-attempts": " 5 ", "watchdog.backoff-base": "'10s'", "watchdog.cascade": "off", "autoheal.stop.timeout": "30",
		"watchdog.backoff-max": "soon", "watchdog.max-attempt": "1", "watchdog.enable": "maybe"}}
	p, wrong := s.For(c)
	if p.MaxAttempts != 5 || p.Base != 10*time.Second || p.Cascade || p.StopTimeout == nil || *p.StopTimeout != 30 || p.Max != s.Max {
		t.Errorf("%+v", p)
	}
	if got := strings.Join(wrong, "|"); len(wrong) != 3 || !strings.Contains(got, `label watchdog.backoff-max: "soon" is not a duration`) || !strings.Contains(got, "label watchdog.max-attempt: there is no such setting") || !strings.Contains(got, "label watchdog.enable") {
		t.Errorf("%q", wrong)
	}
	// A bad label is logged once.
	m := NewMachine(s)
	m.Apply(Online{}, t0)
	logs := 0
	for range 3 {
		for _, a := range m.Apply(Seen{with(container("healthy"), func(c *Container) { c.Labels = map[string]string{"autoheal": "true", "watchdog.max-attempts": "x"} })}, t0) {
			if a.Kind == DoLog && a.Severity == Warning {
				logs++
			}
		}
	}
	if logs != 1 {
		t.Errorf("logged %d times", logs)
	}
}

// A person may write what status prints, or less of it.
func TestNamesOfAService(t *testing.T) {
	c := named("web", "unhealthy")
	c.Name = "p_web_1"
	m := online(t, settings(), c, named("other", "healthy"))
	for name, want := range map[string]int{"p/web/1": 1, "p/web": 1, "web": 1, "p_web_1": 1, "p": 0, "p/web/2": 0, "q/web": 0, "1": 0, "": 0, "/web/": 0} {
		if got := len(m.Named(name)); got != want {
			t.Errorf("%q: %d services, want %d", name, got, want)
		}
		called := 0
		for _, s := range m.Status(t0) {
			if s.Called(name) {
				called++
			}
		}
		if called != want {
			t.Errorf("%q in the status: %d, want %d", name, called, want)
		}
	}
}

// A container whose labels change nothing shares a policy with others; one
// label that does, or that is wrong, is enough for one of its own.
func TestPoliciesOfContainers(t *testing.T) {
	m := online(t, settings(), named("a", "healthy"), named("b", "healthy"))
	a, b := m.Services["p/a/1"], m.Services["p/b/1"]
	if a == nil || b == nil || a.policy != b.policy {
		t.Fatalf("%+v, %+v", a, b)
	}
	for label, value := range map[string]string{"autoheal.stop.timeout": "7", "watchdog.max-attempts": "9", "watchdog.enable": "perhaps", "autoheal": "perhaps", "watchdog.such": "1"} {
		c := with(named("a", "healthy"), func(c *Container) { c.Labels[label] = value })
		p, wrong := settings().For(c)
		if changed := p.StopTimeout != nil && *p.StopTimeout == 7 || p.MaxAttempts == 9; changed == (len(wrong) > 0) {
			t.Errorf("%s: %+v, %q", label, p, wrong)
		}
	}
	s := settings()
	s.MaxAttempts = 7
	m.Use(s)
	m.Apply(Seen{named("a", "healthy")}, t0)
	if a.policy.MaxAttempts != 7 || b.policy.MaxAttempts == 7 {
		t.Errorf("%d attempts for what was seen, %d for what was not", a.policy.MaxAttempts, b.policy.MaxAttempts)
	}
}

func TestLabelMatters(t *testing.T) {
	for label, value := range map[string]string{"watchdog.enable": "x", "autoheal": "x", "autoheal.stop.timeout": "5", "deunhealth.restart.on.unhealthy": "x", "any": " \"True\" ", "other": "0",
		composeProject: "p", composeService: "s", composeNumber: "1", composeDependsOn: "d", composeOneoff: "x", swarmTask: "t"} {
		if !LabelMatters(label, value) {
			t.Errorf("%s=%s", label, value)
		}
	}
	for label, value := range map[string]string{"com.docker.compose.config-hash": "abc", "org.opencontainers.image.version": "24.04", "maintainer": "me", "watchdogs": "x"} {
		if LabelMatters(label, value) {
			t.Errorf("%s=%s", label, value)
		}
	}
}
