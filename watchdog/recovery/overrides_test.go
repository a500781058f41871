package recovery

import (
	"maps"
	"testing"
)

// What a configuration says of a service stands in place of its labels; the
// first that names it wins, and the engine's own map stays as it is.
func TestOverrides(t *testing.T) {
	own := map[string]string{composeProject: "shop", composeService: "db", "watchdog.enable": "true", "watchdog.cascade": "true"}
	before := maps.Clone(own)
	c := Container{ID: "1", Name: "shop-db-1", Labels: own}
	o := Overrides{{"shop/db", map[string]string{"max-attempts": "1", "cascade": "false"}}, {"shop-db-1", map[string]string{"max-attempts": "2", "hold-max": "1m"}}, {"other", map[string]string{"enable": "false"}}}
	got := o.Apply(c).Labels
	for label, want := range map[string]string{"watchdog.max-attempts": "1", "watchdog.cascade": "false", "watchdog.hold-max": "1m", "watchdog.enable": "true"} {
		if got[label] != want {
			t.Errorf("%s is %q, want %q", label, got[label], want)
		}
	}
	if !maps.Equal(own, before) {
		t.Errorf("the engine's labels were changed: %v", own)
	}
	if got := o.Apply(Container{Name: "other"}).Labels; got["watchdog.enable"] != "false" {
		t.Errorf("%v", got)
	}
	if got := o.Apply(Container{Name: "third"}).Labels; got != nil {
		t.Errorf("%v", got)
	}
	if p := (Override{Labels: map[string]string{"max-attempts": "x", "nonsense": "1", "cascade": "no"}}).Check(Settings{}); len(p) != 2 {
		t.Errorf("%q", p)
	}
}
