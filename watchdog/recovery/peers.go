package recovery

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/report"
)

// Network is one that a container is in.
type Network struct {
	Name, IP string
	// Aliases are its names there; a list does not tell them.
	Aliases []string
}

// peer is what is remembered of every container of the engine, watched or
// not, since a report may name it.
type peer struct {
	id, name, service       string
	project, composeService string
	state, health           string
	networks                []Network
	reportedBy              []string // who may report it as failing
	inspected               bool     // its aliases are known
}

func newPeer(c Container, inspected bool) peer {
	p := peer{id: c.ID, name: c.Name, service: c.Service(), project: c.Labels[composeProject], composeService: c.Labels[composeService],
		state: c.State, health: c.Health, networks: c.Networks, inspected: inspected}
	for name := range strings.SplitSeq(c.Labels[reportedByLabel], ",") {
		if name = strings.Trim(name, " \t\"'"); name != "" {
			p.reportedBy = append(p.reportedBy, name)
		}
	}
	return p
}

// meet notes what a list or an inspection says of a container.
func (m *Machine) meet(c Container, inspected bool) {
	p := newPeer(c, inspected)
	old, known := m.peers[c.ID]
	if p.state != old.state || p.health != old.health {
		m.stirred[p.service] = true
	}
	m.introduced = m.introduced || inspected && !old.inspected
	if known && !inspected && old.inspected {
		p.inspected = true
		p.networks = slices.Clone(p.networks) // the list's own stay as they are
		for i := range p.networks {
			for _, n := range old.networks {
				if n.Name == p.networks[i].Name {
					p.networks[i].Aliases = n.Aliases
				}
			}
		}
	}
	m.peers[c.ID] = p
	if len(p.reportedBy) > 0 {
		m.reportable[c.ID] = true
	} else {
		delete(m.reportable, c.ID)
	}
}

// share says whether two containers are in one network, or in one compose
// project as far as that is known.
func share(a []Network, b peer, project string) bool {
	if len(a) == 0 || len(b.networks) == 0 {
		return project != "" && project == b.project
	}
	return slices.ContainsFunc(a, func(n Network) bool {
		return slices.ContainsFunc(b.networks, func(o Network) bool { return n.Name == o.Name })
	})
}

// part forgets a container that is gone.
func (m *Machine) part(id string) {
	if p, known := m.peers[id]; known {
		m.stirred[p.service] = true
		delete(m.peers, id)
		delete(m.reportable, id)
	}
}

// resolve finds the container that a host means in the networks of c: by name,
// network alias, compose service or address.
func (m *Machine) resolve(c Container, host string) (peer, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip := net.ParseIP(host)
	project := c.Labels[composeProject]
	var found []peer
	for _, p := range m.peers {
		if p.id == c.ID || !share(c.Networks, p, project) {
			continue
		}
		match := strings.EqualFold(p.name, host) || p.composeService != "" && strings.EqualFold(p.composeService, host) && p.project == project ||
			len(host) >= 12 && strings.HasPrefix(p.id, host)
		for _, n := range p.networks {
			match = match || ip != nil && n.IP != "" && ip.Equal(net.ParseIP(n.IP)) ||
				slices.ContainsFunc(n.Aliases, func(a string) bool { return strings.EqualFold(a, host) })
		}
		if match {
			found = append(found, p)
		}
	}
	return pick(found)
}

// byName finds the container that a label means by a service's name.
func (m *Machine) byName(c Container, name string) (peer, bool) {
	project := c.Labels[composeProject]
	var found []peer
	for _, p := range m.peers {
		if p.id != c.ID && (p.name == name || p.service == name || p.composeService == name && p.project == project) {
			found = append(found, p)
		}
	}
	return pick(found)
}

// pick takes the one of several that runs, by name where more than one does.
func pick(found []peer) (peer, bool) {
	if len(found) == 0 {
		return peer{}, false
	}
	return slices.MinFunc(found, func(a, b peer) int {
		up := func(p peer) int {
			if p.state == "running" {
				return 0
			}
			return 1
		}
		return cmp.Or(up(a)-up(b), strings.Compare(a.name, b.name), strings.Compare(a.id, b.id))
	}), true
}

// dependency finds the container that a failed check blames, if it is one of
// this engine; known says whether anything is known of it at all.
func (m *Machine) dependency(c Container, f report.Failure) (p peer, found, known bool) {
	if f.Cause.Host == "" {
		name := strings.Trim(c.Labels[dependencyLabel+f.Check], " \t\"'")
		if name == "" {
			return peer{}, false, false
		}
		p, found = m.byName(c, name)
		return p, found, true
	}
	p, found = m.resolve(c, f.Cause.Host)
	return p, found, true
}

// dependencyLabel, with the name of a check behind it, names the service that
// the check asks through the application.
const dependencyLabel = "watchdog.dependency."

// strangers are containers in the networks of c whose aliases are not known
// yet, since nobody has inspected them.
func (m *Machine) strangers(c Container) (ids []string) {
	const most = 32
	for _, id := range slices.Sorted(maps.Keys(m.peers)) {
		if p := m.peers[id]; !p.inspected && p.id != c.ID && share(c.Networks, p, c.Labels[composeProject]) && len(ids) < most {
			ids = append(ids, id)
		}
	}
	return ids
}

// bad says whether a container cannot serve others now, by the engine's own
// word or since it is being recovered; handled that this is being mended, or
// that people know.
func (m *Machine) bad(p peer) (bad, handled bool) {
	s := m.Services[m.byID[p.id]]
	watched := s != nil && s.watched
	if watched {
		switch s.Phase {
		case Waiting, Restarting, Launching, Verifying, ShuttingDown:
			return true, true
		case Held:
			return true, s.Open || s.Hold.Kind != ForPerson
		}
	}
	handled = watched && (s.Phase != GivenUp || s.Open) // its next probes decide, or people know
	switch {
	case p.state != "running":
		return true, watched && (s.Phase == GivenUp || s.Phase == ShutDown) && s.Open
	case p.health == "unhealthy":
		return true, handled
	case p.health == "starting":
		return true, true
	}
	return false, false
}

// reportedByLabel names the services that may report its container as failing:
// the opt-in of images that cannot have a healthcheck.
const reportedByLabel = "watchdog.reported-by"

// mayReport says whether the container c may report p as failing.
func (p peer) mayReport(c Container) bool {
	return slices.ContainsFunc(p.reportedBy, func(name string) bool {
		return name == "*" && p.project != "" && p.project == c.Labels[composeProject] || name != "*" && c.called(name)
	})
}

// answersFor says whether c's word alone gets p restarted.
func (m *Machine) answersFor(c Container, p peer) bool {
	x := m.Services[m.byID[p.id]]
	return x != nil && x.watched && !x.container.HasHealthcheck && x.Phase != GivenUp && x.Phase != ShutDown && p.mayReport(c)
}

// word is what others report of a container that has no healthcheck.
type word int

const (
	none    word = iota // nothing
	fresh               // it fails, but it was started too recently for them to know
	counted             // it fails
)

// reported is what others, whom its label allows that, report of a container.
// They have as long to see a restart of it as their own retries take.
func (m *Machine) reported(x *Service, c Container, now time.Time) word {
	by := m.reporter(x, c)
	started := c.StartedAt
	if x != nil && !x.met.IsZero() && x.met.Before(started) {
		started = x.met // the engine's clock is ahead
	}
	switch {
	case by == nil:
		return none
	case now.Sub(started) < by.container.verdictTime():
		return fresh
	}
	return counted
}

// reporter is a service that reports x as its failing dependency.
func (m *Machine) reporter(x *Service, c Container) *Service {
	p, known := m.peers[c.ID]
	if !known || len(p.reportedBy) == 0 || c.HasHealthcheck {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(m.timed)) { // who fails is held, waits, or has given up
		s := m.timed[key]
		if s == x || !s.watched || s.container.State != "running" || !s.container.failing() || !p.mayReport(s.container) {
			continue
		}
		for _, f := range s.container.Failures {
			if f.Cause.Class != probe.Dependency {
				continue
			}
			if d, found, _ := m.dependency(s.container, f); found && d.id == c.ID {
				return s
			}
		}
	}
	return nil
}

// reportsFor is how long those take to notice a restart of x who reported it.
func (m *Machine) reportsFor(x *Service) time.Duration {
	if by := m.reporter(x, x.container); by != nil {
		return by.container.verdictTime()
	}
	return 0
}

// askReported looks again at the containers of which c may have the word.
func (m *Machine) askReported(c Container, now time.Time) (out []Action) {
	for _, id := range slices.Sorted(maps.Keys(m.reportable)) {
		if p := m.peers[id]; !p.mayReport(c) {
			continue
		}
		if x := m.Services[m.byID[id]]; x != nil && x.watched && x.ID == id && x.container.State == "running" && !x.inFlight() && !x.unseen {
			if x.Phase == Verifying && m.reporter(x, x.container) == nil && x.container.StartedAt.Add(minUptime).Before(x.Due) && x.policy.VerifyTimeout == 0 {
				x.Due = x.container.StartedAt.Add(minUptime) // nobody reports it any more
			}
			out = append(out, m.step(x, m.classify(x, x.container, now), now)...)
		}
	}
	return out
}
