package lint

import (
	"slices"
	"strings"
	"time"
)

// Kind says where a subject was read from.
type Kind string

const (
	FromEngine     Kind = "container"
	FromCompose    Kind = "compose"
	FromKubernetes Kind = "kubernetes"
)

// Subject is one service as the rules see it; what cannot be seen there is zero.
type Subject struct {
	Kind Kind
	Name string
	// OtherNames are what else it may be called: its container's name.
	OtherNames []string
	// Places are where its keys stand, by their path: healthcheck.timeout. The
	// service itself is the empty path.
	Places map[string]Place
	Image  Image
	Labels map[string]string
	// Watched says that the watchdog would restart it.
	Watched bool
	// Probes are its healthcheck, or a pod's probes. None where there is none,
	// or none that can be seen: Health tells.
	Probes []Probe
	Health Health
	// NoneAsText says that its test is the text NONE, which is a program's name.
	NoneAsText bool
	// RestartPolicy is the engine's own: always, unless-stopped, on-failure.
	RestartPolicy string
	// Command is what it runs, the entrypoint first; empty for the image's own.
	Command []string
	Needs   []Need
	// OneShot says that it is meant to end: others wait for its completion.
	OneShot bool
	// Hosts are the names of the other services of the project.
	Hosts []string
	// Scripts are the files that a probe's command names, as far as they lie in
	// the build's context.
	Scripts map[string]string
	// Observed is what the engine has seen of it.
	Observed Observed
	// Unset are the variables that its healthcheck depends on and that nobody
	// has set, by the key that uses them.
	Unset map[string]string
}

// Health says what is known of a service's healthcheck.
type Health int

const (
	// HealthUnseen: the image may bring a healthcheck that cannot be seen.
	HealthUnseen Health = iota
	// HealthSeen: its configuration is in Probes.
	HealthSeen
	// HealthNone: it has none.
	HealthNone
	// HealthOfImage: the image brings one, whose command is not known.
	HealthOfImage
)

// Place is where something stands: a file and a line counted from 1, or a
// container with line 0.
type Place struct {
	File string
	Line int
}

// Probe is a healthcheck's configuration, with the engine's defaults filled in.
type Probe struct {
	// Key is the path of its configuration: healthcheck, or livenessProbe.
	Key string
	// Test is its command: CMD or CMD-SHELL and what follows. Empty where it is
	// not known.
	Test []string
	// URL is what an httpGet probe asks, without the host.
	URL string
	// TCP says that it only connects.
	TCP                                           bool
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
	// InitialDelay is Kubernetes' own.
	InitialDelay time.Duration
	// Set are the keys that somebody has written: interval, timeout, retries.
	Set map[string]bool
	// Unknown are the keys whose value depends on a variable that is not set.
	Unknown map[string]bool
	// Env are the variables of the container, as far as they are known.
	Env map[string]string
}

// Need is what a service waits for before it starts.
type Need struct {
	Service   string
	Condition string
	// Health and Image are of that service.
	Health Health
	Image  string
	// StartPeriod is how long that service may take to start, by its own
	// healthcheck.
	StartPeriod time.Duration
}

// Observed is what an engine has seen of a running container.
type Observed struct {
	// StartTook is how long the last start took until the first good probe,
	// ProbeTook is the slowest probe of late.
	StartTook, ProbeTook time.Duration
	// CannotRun is what the engine said of a probe that it could not start.
	CannotRun string
}

// at finds where a key stands, or else the nearest key around it.
func (s Subject) at(key string) Place {
	for {
		if p, ok := s.Places[key]; ok {
			return p
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return s.Places[""]
		}
		key = key[:i]
	}
}

// knows says whether all of these keys have a value that is known.
func (p Probe) knows(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return p.Unknown[k] })
}
