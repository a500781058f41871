package lint

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"healthcheck/watchdog/recovery"
)

// Rules about what is watched, and about what waits for whose health.

func servicesMatchNothing(t Target, o Options) (out []problem) {
	names := map[string]bool{}
	for _, s := range t.Subjects {
		for _, n := range append([]string{s.Name}, s.OtherNames...) {
			names[n] = true
		}
	}
	at := Place{File: "engine"}
	if len(t.Files) > 0 {
		at = Place{t.Files[0].Name, 1}
	}
	for _, name := range o.Services {
		if !names[name] {
			instead := "the names are those of services or containers"
			if near := nearest(name, slices.Sorted(maps.Keys(names))); near != "" {
				instead = "--services " + near
			}
			out = append(out, problem{service: name, place: at, message: "--services names it, but no service or container has that name", instead: instead})
		}
	}
	return out
}

const addHealthcheck = `HEALTHCHECK CMD ["/healthcheck"] in its image`

func noHealthcheck(s Subject) []problem {
	if s.Kind == FromKubernetes || s.Health != HealthNone || s.Watched || s.OneShot || s.NoneAsText {
		return nil
	}
	if key := s.healthKey(); key == "healthcheck" {
		return one(key, "its healthcheck is turned off", "a healthcheck that tests it, or lint:ignore where that is meant")
	}
	return one(s.healthKey(), "it has no healthcheck", addHealthcheck)
}

// healthKey is where a missing healthcheck is reported: where it is turned off,
// or the image that has none.
func (s Subject) healthKey() string {
	for _, key := range []string{"healthcheck", "image", "build"} {
		if _, ok := s.Places[key]; ok {
			return key
		}
	}
	return ""
}

func healthcheckNotSeen(s Subject) []problem {
	if s.Kind == FromKubernetes || s.Health != HealthUnseen || s.Watched || s.OneShot {
		return nil
	}
	return one(s.healthKey(), "no healthcheck is written for it; its image may bring one", s.inspect())
}

func watchedNotSeen(s Subject) []problem {
	if s.Health != HealthUnseen || !s.Watched {
		return nil
	}
	return one(s.healthKey(), "it is watched, but no healthcheck is written for it: unless its image brings one, only its death is noticed", s.inspect())
}

// inspect is how to find out what an image brings.
func (s Subject) inspect() string {
	image := s.Image.Name
	if image == "" || s.Image.Built {
		return "write a healthcheck, or: docker image inspect --format '{{.Config.Healthcheck}}' IMAGE, and lint:ignore where it has one"
	}
	return fmt.Sprintf("write a healthcheck, or: docker image inspect --format '{{.Config.Healthcheck}}' %s, and lint:ignore where it has one", oneLine(image))
}

func watchedWithout(s Subject) []problem {
	if s.Health != HealthNone || !s.Watched || s.Labels[reportedBy] != "" {
		return nil
	}
	return one(s.healthKey(), "it is watched, but has no healthcheck", addHealthcheck)
}

func notJudged(s Subject) (out []problem) {
	for _, key := range slices.Sorted(maps.Keys(s.Unset)) {
		out = append(out, problem{at: key, message: fmt.Sprintf("%s depends on $%s, which is not set", strings.TrimPrefix(key, "healthcheck."), s.Unset[key]),
			instead: fmt.Sprintf("a default, ${%s:-VALUE}, or a value in .env", s.Unset[key])})
	}
	return out
}

func competingPolicy(s Subject) []problem {
	// A policy with a limit gives up as the watchdog does.
	if !s.Watched || !slices.Contains([]string{"always", "unless-stopped", "on-failure"}, s.RestartPolicy) {
		return nil
	}
	if p, _ := (recovery.Settings{Policy: recovery.DefaultPolicy()}).For(recovery.Container{Labels: s.Labels}); !p.RestartExited {
		return nil
	}
	at := "restart"
	if _, ok := s.Places["deploy.restart_policy"]; ok {
		at = "deploy.restart_policy"
	}
	return one(at, fmt.Sprintf("restart: %s revives it without a limit, while the watchdog counts attempts", s.RestartPolicy), `restart: "no", or watchdog.restart-exited=false`)
}

func autohealBeside(s Subject) []problem {
	if s.Labels["watchdog.enable"] == "" {
		return nil
	}
	for _, label := range []string{"autoheal", "autoheal.monitor.enable", "deunhealth.restart.on.unhealthy"} {
		if strings.EqualFold(strings.Trim(s.Labels[label], ` "'`), "true") {
			return one("labels."+label, fmt.Sprintf("%s=true has another program restart it as well", label), "watchdog.enable=true alone, once the other program is gone")
		}
	}
	return nil
}

// labelNames are the settings that a label may override, for the one that was
// meant; recovery.Settings.For decides what is known.
var labelNames = strings.Fields(`enable max-attempts backoff-base backoff-multiplier backoff-max backoff-jitter stable-for verify-timeout unhealthy-for
restart-exited cascade dry-run stop-timeout by-cause hold-max reported-by`)

// causeLabels decide by the cause of a failure.
var causeLabels = regexp.MustCompile(`^watchdog\.(by-cause|hold-max|reported-by|dependency\..+)$`)

func unknownLabel(s Subject) (out []problem) {
	labels := map[string]string{}
	for k, v := range s.Labels {
		if !causeLabels.MatchString(k) {
			labels[k] = v
		}
	}
	_, wrong := recovery.Settings{Policy: recovery.DefaultPolicy()}.For(recovery.Container{Labels: labels})
	for _, w := range wrong {
		label, what, _ := strings.Cut(strings.TrimPrefix(w, "label "), ": ")
		instead := "a label of docs/watchdog.md, or none"
		if near := nearest(strings.TrimPrefix(label, "watchdog."), labelNames); near != "" && strings.Contains(what, "no such setting") {
			instead = "watchdog." + near
		}
		out = append(out, problem{at: "labels." + label, message: fmt.Sprintf("label %s: %s", oneLine(label), oneLine(what)), instead: instead})
	}
	return out
}

// nearest is the name that differs least from what was typed, if by little.
func nearest(typed string, names []string) (best string) {
	limit := max(1, len(typed)/4)
	for _, n := range names {
		if d := distance(typed, n, limit); d <= limit {
			best, limit = n, d-1
		}
	}
	return best
}

// distance counts the letters to change, add or drop; more than limit is
// limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 200 {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit+1)
}

func waitsForNoHealth(s Subject) (out []problem) {
	for _, n := range s.Needs {
		if n.Condition == "service_healthy" && n.Health == HealthNone {
			out = append(out, problem{at: "depends_on." + n.Service, message: fmt.Sprintf("it waits until %s is healthy, which has no healthcheck", n.Service),
				instead: fmt.Sprintf("a healthcheck for %s, or condition: service_started", n.Service)})
		}
	}
	return out
}

func waitsForUnseen(s Subject) (out []problem) {
	for _, n := range s.Needs {
		if n.Condition == "service_healthy" && n.Health == HealthUnseen {
			out = append(out, problem{at: "depends_on." + n.Service, message: fmt.Sprintf("it waits until %s is healthy, for which no healthcheck is written: unless its image brings one, it never starts", n.Service),
				instead: fmt.Sprintf("a healthcheck for %s, and lint:ignore where its image has one", n.Service)})
		}
	}
	return out
}
