package recovery

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Dependent is a container to restart after another, and the services that
// must have recovered before it is.
type Dependent struct {
	Container Container
	Needs     []string
}

// means says whether ref, an id, the beginning of one, or a name, is c.
func means(ref string, c Container) bool {
	return ref == c.ID || ref == c.Name || len(ref) >= 12 && strings.HasPrefix(c.ID, ref)
}

// dependsOn says whether c must be restarted after the container x: it lives
// in the network of x, or compose's depends_on says so with restart: true.
func dependsOn(c, x Container) bool {
	if c.ID == x.ID {
		return false
	}
	if c.NetworkOf != "" && means(c.NetworkOf, x) {
		return true
	}
	if p := c.Labels[composeProject]; p == "" || p != x.Labels[composeProject] {
		return false
	}
	return slices.Contains(restartAfter(c.Labels[composeDependsOn]), x.Labels[composeService])
}

// restartAfter reads compose's label svc:condition:restart,…: the services
// after whose restart this one is to be restarted. A missing third field means
// true (docker/compose, pkg/compose/dependencies.go).
func restartAfter(label string) []string {
	var names []string
	for part := range strings.SplitSeq(label, ",") {
		f := strings.Split(strings.TrimSpace(part), ":")
		if f[0] == "" {
			continue
		}
		if on, ok := readBool(f[len(f)-1]); len(f) < 3 || !ok || on {
			names = append(names, f[0])
		}
	}
	return names
}

// DependentsOf lists the running containers to restart after x, directly or
// through others, in an order in which each comes after what it needs. A
// circle is cut where the names come first.
func (s Settings) DependentsOf(all []Container, x Container) []Dependent {
	in := map[string]Container{}
	queue := []Container{x}
	for len(queue) > 0 {
		on := queue[0]
		queue = queue[1:]
		for _, c := range all {
			if _, known := in[c.ID]; !known && c.ID != x.ID && c.State == "running" && !s.excluded(c) && dependsOn(c, on) {
				in[c.ID] = c
				if policy, _ := s.For(c); policy.remedy() == RemedyRestart { // else nothing becomes of it that others had to follow
					queue = append(queue, c)
				}
			}
		}
	}
	left := slices.SortedFunc(maps.Values(in), func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	var out []Dependent
	for len(left) > 0 {
		open := func(c Container) bool {
			return slices.ContainsFunc(left, func(d Container) bool { return dependsOn(c, d) })
		}
		i := max(0, slices.IndexFunc(left, func(c Container) bool { return !open(c) }))
		d := Dependent{Container: left[i]}
		left = slices.Delete(left, i, i+1)
		for _, before := range out {
			if dependsOn(d.Container, before.Container) {
				d.Needs = append(d.Needs, before.Container.Service())
			}
		}
		out = append(out, d)
	}
	return out
}

// orphaned says whether c lives in the network of a container that is gone: no
// restart can help, it must be recreated.
func orphaned(all []Container, c Container) bool {
	return c.NetworkOf != "" && !slices.ContainsFunc(all, func(x Container) bool { return means(c.NetworkOf, x) })
}

// recreateCommand is what a person types to get an orphan back.
func recreateCommand(c Container) string {
	if p, s := c.Labels[composeProject], c.Labels[composeService]; p != "" && s != "" {
		return "docker compose -p " + clean(p) + " up -d --force-recreate " + clean(s)
	}
	return "docker rm -f " + c.Name + ", then docker run it again"
}

// slim is what the machine remembers of a container for others' sake.
func slim(c Container) Container {
	return Container{ID: c.ID, Name: c.Name, Labels: c.Labels, State: c.State, Health: c.Health, HasHealthcheck: c.HasHealthcheck, StartedAt: c.StartedAt, NetworkOf: c.NetworkOf, Error: c.Error}
}

// tenant is a container that lives in the network of another.
type tenant struct {
	Container
	life Life
	// asked is the start of its owner for which a restart was asked, and
	// followed that for which one has come.
	asked, followed time.Time
}

// relate notes who lives in whose network.
func (m *Machine) relate(c Container) {
	t := m.joined[c.ID]
	switch {
	case c.NetworkOf == "":
		delete(m.joined, c.ID)
	case t == nil:
		t = &tenant{}
		m.joined[c.ID] = t
	case t.life.overtaken(c.StartedAt):
		return
	}
	if c.NetworkOf != "" {
		t.Container = slim(c)
		if t.life.another(c.StartedAt) {
			t.life.begin(c.StartedAt)
			t.asked, t.followed = time.Time{}, t.asked
		}
	}
	if m.isOwner(c) {
		m.owners[c.ID] = slim(c)
	} else {
		delete(m.owners, c.ID)
	}
}

// isOwner says whether another container lives in the network of c.
func (m *Machine) isOwner(c Container) bool {
	for _, j := range m.joined {
		if means(j.NetworkOf, c) {
			return true
		}
	}
	return false
}

// owner is the container in whose network c lives, by name, and whether c can
// live there now: it runs and, where it is watched, is healthy.
func (m *Machine) owner(c Container) (name string, ready bool) {
	for _, o := range m.owners {
		if !means(c.NetworkOf, o) {
			continue
		}
		if s := m.Services[m.byID[o.ID]]; s != nil && s.watched {
			return o.Name, o.State == "running" && s.Phase == Idle && (o.Health == "healthy" || o.Health == "")
		}
		return o.Name, o.State == "running"
	}
	return c.NetworkOf, true
}

// staleDependents lets follow what lives in the network of owner since before
// its last start: that network is no more.
func (m *Machine) staleDependents(owner Container, now time.Time) (out []Action) {
	for _, id := range slices.Sorted(maps.Keys(m.joined)) {
		j := m.joined[id]
		if !means(j.NetworkOf, owner) || m.Settings.excluded(j.Container) {
			continue
		}
		s := m.service(j.Container)
		stale := j.State == "running" && j.StartedAt.Before(owner.StartedAt) && !j.followed.Equal(owner.StartedAt)
		once := stale || s == nil || !s.watched // a watched one that is down has a phase that says so
		if once && j.asked.Equal(owner.StartedAt) {
			if policy, _ := m.Settings.For(j.Container); !policy.restarts() {
				continue // that it would follow was reported
			}
		}
		if !stale && !(j.State != "running" && (j.Error != "" || s != nil && s.Phase == Held)) {
			continue
		}
		if !stale && s != nil && s.ID == j.ID && s.Life.ended(s.container.stopWindow()) == endByPerson {
			continue // its error is that of a start which a person has overtaken
		}
		if policy, _ := m.Settings.For(owner); !policy.Cascade || !m.Settings.Watched(j.Container) && !m.Settings.Watched(owner) {
			continue
		}
		if once {
			j.asked = owner.StartedAt
		}
		out = append(out, m.makeFollow(Dependent{Container: j.Container}, m.nameOf(owner), now)...)
	}
	return out
}

// nameOf is a container's service, or else its name.
func (m *Machine) nameOf(c Container) string {
	if s := m.service(c); s != nil {
		return s.Key
	}
	return c.Service()
}

// MayFollow says whether a container may have to be restarted after another.
func (c Container) MayFollow() bool {
	return c.NetworkOf != "" || len(restartAfter(c.Labels[composeDependsOn])) > 0
}

// dependents makes what depends on a recovered service wait for a restart.
func (m *Machine) dependents(e Dependents, now time.Time) (out []Action) {
	for _, d := range e.All {
		if !m.Settings.excluded(d.Container) {
			out = append(out, m.makeFollow(d, e.Of, now)...)
		}
	}
	return out
}

func (m *Machine) makeFollow(d Dependent, of string, now time.Time) []Action {
	c := d.Container
	s := m.service(c)
	if s == nil {
		s = &Service{Key: m.key(c), ID: c.ID, Name: clean(c.Name), container: c}
		s.policy, _ = m.policy(c)
		s.begin(c)
		m.Services[s.Key], m.byID[c.ID] = s, s.Key
	}
	switch {
	case s.ID != c.ID, s.inFlight(), s.Phase == GivenUp, s.Phase == ShutDown, s.Phase == Rehearsed,
		s.Phase == Held && s.Hold.Kind == ForNotified,
		s.Phase == Waiting && s.After != "",
		s.Phase == Verifying && !s.Life.Started.Before(m.startOf(of)),
		c.State == "paused", c.State == "running" && s.Life.stopping(now, patience(c)): // a person pauses it, or has asked it to stop
		return nil
	}
	s.After, s.Needs = of, d.Needs
	return m.step(s, Follow, now)
}

// startOf is when the container of a service was started.
func (m *Machine) startOf(key string) time.Time {
	if s := m.Services[key]; s != nil {
		return s.Life.Started
	}
	return time.Time{}
}

// blocked says whether something that s needs is still on its way.
func (m *Machine) blocked(s *Service) bool {
	return slices.ContainsFunc(s.Needs, func(key string) bool {
		n := m.Services[key]
		return n != nil && (n.inFlight() || n.Phase == Waiting || n.Phase == Verifying)
	})
}

// unfollowAll leaves alone what waits for a service that did not recover.
func (m *Machine) unfollowAll(key string, now time.Time) (out []Action) {
	for _, k := range slices.Sorted(maps.Keys(m.Services)) {
		if s := m.Services[k]; s != nil && s.Phase == Waiting && slices.Contains(s.Needs, key) {
			out = append(out, m.step(s, Unfollow, now)...)
		}
	}
	return out
}
