package recovery

import (
	"slices"
	"strings"
)

// usesNetworkOf says whether c lives in the network of x, which it names by
// id, by a part of it, or by name.
func (c Container) usesNetworkOf(x Container) bool {
	n := c.NetworkOf
	return n != "" && (n == x.ID || n == x.Name || len(n) >= 12 && strings.HasPrefix(x.ID, n))
}

// dependsOn says whether c must be restarted after the container x: it lives
// in the network of x, or compose's depends_on says so with restart: true.
func dependsOn(c, x Container) bool {
	if c.ID == x.ID {
		return false
	}
	if c.usesNetworkOf(x) {
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
		if on, err := parseBool(f[len(f)-1]); len(f) < 3 || err != nil || on {
			names = append(names, f[0])
		}
	}
	return names
}

// Dependents lists the running containers to restart after x: those that
// depend on x itself and on no other of them, which will be restarted after
// those in their turn. Circles are cut in the order of names.
func Dependents(all []Container, x Container) []Container {
	var direct []Container
	for _, c := range all {
		if c.State == "running" && dependsOn(c, x) {
			direct = append(direct, c)
		}
	}
	slices.SortFunc(direct, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	var first []Container
	for i, c := range direct {
		later := slices.ContainsFunc(direct, func(d Container) bool {
			return dependsOn(c, d) && !(dependsOn(d, c) && i < slices.IndexFunc(direct, func(e Container) bool { return e.ID == d.ID }))
		})
		if !later {
			first = append(first, c)
		}
	}
	return first
}

// Orphaned says whether c lives in the network of a container that is gone: no
// restart can help, it must be recreated.
func Orphaned(all []Container, c Container) bool {
	return c.NetworkOf != "" && !slices.ContainsFunc(all, c.usesNetworkOf)
}

// RecreateCommand is what a person types to get an orphan back.
func RecreateCommand(c Container) string {
	if p, s := c.Labels[composeProject], c.Labels[composeService]; p != "" && s != "" {
		return "docker compose -p " + p + " up -d --force-recreate " + s
	}
	return "docker rm -f " + c.Name + ", then docker run it again"
}
