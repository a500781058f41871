package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"healthcheck/probe/resource"
)

// limits holds the limits of resources as they were given, and their twins,
// beyond which a resource is degraded.
type limits struct {
	cpu, mem, disk, inode, pids, netErrors bounds[percentValue]
	memFree, diskFree                      bounds[sizeValue]
}

// bounds are a limit and its twin.
type bounds[V any] struct{ limit, warn V }

// warnPrefix before a limit's name is the name of its twin.
const warnPrefix = "warn-"

// declareTwins declares the twin of every limit.
func (l *limits) declareTwins(declare func(v pflag.Value, name, usage string)) {
	for _, f := range []struct {
		value pflag.Value
		name  string
	}{
		{&l.cpu.warn, "cpu-max"}, {&l.mem.warn, "mem-max"}, {&l.disk.warn, "disk-max"}, {&l.inode.warn, "inode-max"}, {&l.pids.warn, "pids-max"},
		{&l.netErrors.warn, "net-errors-max"}, {&l.memFree.warn, "mem-min-free"}, {&l.diskFree.warn, "disk-min-free"},
	} {
		declare(f.value, warnPrefix+f.name, "degraded beyond")
	}
}

// resolveLimits checks each limit and its twin together.
func (r *raw) resolveLimits(c *config) error {
	l := &r.limits
	for _, p := range []struct {
		name  string
		given bounds[percentValue]
		limit *resource.Limit
	}{
		{"cpu-max", l.cpu, &c.cpu}, {"mem-max", l.mem, &c.mem}, {"disk-max", l.disk, &c.disk}, {"inode-max", l.inode, &c.inode}, {"pids-max", l.pids, &c.pids},
		{"net-errors-max", l.netErrors, &c.netErrors},
	} {
		p.limit.Max, p.limit.Warn, p.limit.Host = float64(p.given.limit), float64(p.given.warn), r.host
		if p.limit.Max > 0 && p.limit.Warn >= p.limit.Max {
			return r.twinError(p.name, p.given.limit.String(), p.given.warn.String(), "below")
		}
	}
	for _, p := range []struct {
		name  string
		given bounds[sizeValue]
		limit *resource.Limit
	}{{"mem-min-free", l.memFree, &c.mem}, {"disk-min-free", l.diskFree, &c.disk}} {
		p.limit.MinFree, p.limit.WarnFree = p.given.limit.bytes(), p.given.warn.bytes()
		if p.limit.WarnFree > 0 && p.limit.WarnFree <= p.limit.MinFree {
			return r.twinError(p.name, p.given.limit.String(), p.given.warn.String(), "above")
		}
	}
	return nil
}

// twinError is about a warning that could never come before the failure.
func (r *raw) twinError(name, limit, warn, side string) error {
	twin := warnPrefix + name
	return usagef(fmt.Sprintf("set --%s %s --%s, or --%s off, to warn alone", twin, side, name, name),
		"%s %s is not %s %s %s: it would never warn", r.source(twin), warn, side, r.source(name), limit)
}
