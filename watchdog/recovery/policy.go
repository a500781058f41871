package recovery

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy is how one service is recovered. Labels of the same names override
// it per container.
type Policy struct {
	// MaxAttempts is how many restarts are tried before giving up.
	MaxAttempts int
	// Restart n+1 comes no sooner than Base × Multiplierⁿ after restart n, at
	// most Max, plus up to Jitter (a share of the delay) by chance.
	Base       time.Duration
	Multiplier float64
	Max        time.Duration
	Jitter     float64
	// StableFor is how long a service must be healthy before its attempts are
	// forgotten: the kubelet's figure by default.
	StableFor time.Duration
	// VerifyTimeout is how long a restart may take to bring a verdict; 0
	// computes it from the container's own healthcheck.
	VerifyTimeout time.Duration
	// UnhealthyFor waits before the first restart.
	UnhealthyFor time.Duration
	// RestartExited recovers containers that died by themselves, too.
	RestartExited bool
	// Cascade restarts what depends on a service after it has recovered.
	Cascade bool
	// ByCause lets the causes that a report of ours names decide whether a
	// restart can help, and HoldMax bounds how long one is held where nothing
	// bad is known of what is blamed; 0 does not hold it then.
	ByCause bool
	HoldMax time.Duration
	// QuietHours are times of the week in which nothing is restarted.
	QuietHours QuietHours
	// Remedy is what is done about a service that needs a restart, and
	// StopOnGiveUp stops one that no restart has helped.
	Remedy       Remedy
	StopOnGiveUp bool
	// Receivers are the names of those who receive its alerts; none: the default
	// ones.
	Receivers []string
	// DryRun decides and reports, and restarts and stops nothing.
	DryRun bool
	// StopTimeout, in seconds, is given to the engine; nil leaves it to the
	// container.
	StopTimeout *int
}

// DefaultPolicy is what the flags default to.
func DefaultPolicy() Policy {
	return Policy{MaxAttempts: 3, Base: time.Second, Multiplier: 2, Max: 5 * time.Minute, Jitter: 0.1, Remedy: RemedyRestart,
		StableFor: 10 * time.Minute, RestartExited: true, Cascade: true, ByCause: true, HoldMax: 5 * time.Minute}
}

// Delay is how long after restart n the next may come, without jitter: 2 s,
// 4 s, 8 s … by default. It never overflows.
func (p Policy) Delay(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	d := float64(p.Base) * math.Pow(p.Multiplier, float64(n))
	if !(d < float64(p.Max)) { // infinite and NaN too
		return p.Max
	}
	return time.Duration(d)
}

// jittered lengthens a delay, by a share that the service's name and the
// attempt decide: many that failed together must not come back together. It
// never shortens one.
func (p Policy) jittered(d time.Duration, key string, attempt int) time.Duration {
	h := fnv.New32a()
	fmt.Fprint(h, key, attempt)
	share := float64(h.Sum32()) / math.MaxUint32
	return d + time.Duration(share*p.Jitter*float64(d))
}

// verifySlack is the engine's own work around each probe.
const verifySlack = 10 * time.Second

// longestVerify bounds a wait that a state file of an earlier run asks for.
const longestVerify = 24 * time.Hour

// verifyFor is how long a restart of c may take to bring a verdict.
func (p Policy) verifyFor(c Container) time.Duration {
	switch {
	case p.VerifyTimeout > 0:
		return p.VerifyTimeout
	case !c.HasHealthcheck:
		return minUptime
	}
	return c.StartPeriod + time.Duration(c.retries())*(c.interval()+c.timeout()) + verifySlack
}

// override applies one label, named without its prefix; known says whether
// there is such a setting.
func (p *Policy) override(name, value string) (known bool, err error) {
	duration := func(to *time.Duration) error {
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 30s", value)
		}
		*to = d
		return nil
	}
	boolean := func(to *bool) error {
		b, err := parseBool(value)
		if err == nil {
			*to = b
		}
		return err
	}
	number := func(to *float64, lowest float64) error {
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v >= lowest && v < 1e6) {
			return fmt.Errorf("%q is not a number of at least %g", value, lowest)
		}
		*to = v
		return nil
	}
	switch name {
	case "max-attempts":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return true, fmt.Errorf("%q is not a whole number of at least 0", value)
		}
		p.MaxAttempts = n
		return true, nil
	case "backoff-base":
		return true, duration(&p.Base)
	case "backoff-multiplier":
		return true, number(&p.Multiplier, 1)
	case "backoff-max":
		return true, duration(&p.Max)
	case "backoff-jitter":
		return true, number(&p.Jitter, 0)
	case "stable-for":
		return true, duration(&p.StableFor)
	case "verify-timeout":
		return true, duration(&p.VerifyTimeout)
	case "unhealthy-for":
		return true, duration(&p.UnhealthyFor)
	case "restart-exited":
		return true, boolean(&p.RestartExited)
	case "cascade":
		return true, boolean(&p.Cascade)
	case "by-cause":
		return true, boolean(&p.ByCause)
	case "hold-max":
		return true, duration(&p.HoldMax)
	case "quiet-hours":
		hours, err := ParseQuietHours(value)
		if err == nil {
			p.QuietHours = hours
		}
		return true, err
	case "action":
		r, err := ParseRemedy(value)
		if err == nil {
			p.Remedy = r
		}
		return true, err
	case "on-give-up":
		stop, err := ParseOnGiveUp(value)
		if err == nil {
			p.StopOnGiveUp = stop
		}
		return true, err
	case "notify":
		names, err := parseReceivers(value)
		if err == nil {
			p.Receivers = names
		}
		return true, err
	case "dry-run":
		return true, boolean(&p.DryRun)
	case "stop-timeout":
		n, err := strconv.Atoi(value)
		if err != nil || n < -1 {
			return true, fmt.Errorf("%q is not a number of seconds, or -1", value)
		}
		p.StopTimeout = &n
		return true, nil
	}
	return false, nil
}

// readBool is lenient: labels come with spaces, quotes and any case. ok is
// false for what is neither true nor false.
func readBool(value string) (on, ok bool) {
	switch strings.ToLower(strings.Trim(value, " \t\"'")) {
	case "true", "1", "yes", "on":
		return true, true
	case "false", "0", "no", "off":
		return false, true
	}
	return false, false
}

// parseBool is readBool with an error for what is neither.
func parseBool(value string) (bool, error) {
	on, ok := readBool(value)
	if !ok {
		return false, fmt.Errorf("%q is neither true nor false", value)
	}
	return on, nil
}
