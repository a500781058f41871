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
