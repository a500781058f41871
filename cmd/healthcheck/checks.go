package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
	"healthcheck/probe/kept"
	"healthcheck/probe/protocol"
	"healthcheck/probe/resource"
	"healthcheck/probe/target"
)

// newChecks builds the checks of the layers that are selected, in declared
// order. Those of the others have a name alone, which --optional may mean:
// what they would look at is nobody's business in this run.
func newChecks(c *config) (selected []probe.Check, err error) {
	dir := sync.OnceValue(func() kept.Dir { return keptDir(c) })
	c.http.Kept, c.http.Interval, c.http.Container = dir, c.interval, resource.Container
	all := resourceChecks(c, dir)
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		checks, err := targetChecks(c, layer)
		if err != nil {
			return nil, err
		}
		all = append(all, checks...)
	}
	all = append(all, gpuCheck(c))
	if err := uniqueNames(all); err != nil {
		return nil, err
	}
	if err := markOptional(all, c.optional, c.source("optional")); err != nil {
		return nil, err
	}
	for _, layer := range c.layers {
		for _, check := range all {
			if check.Layer == layer {
				selected = append(selected, check)
			}
		}
	}
	return selected, nil
}

func resourceChecks(c *config, dir func() kept.Dir) []probe.Check {
	chosen := slices.Contains(c.layers, layerResource)
	s := &resource.Sampler{Interval: c.interval, Window: c.cpuWindow}
	if chosen {
		s.Dir = dir()
	}
	add := func(name string, run probe.Func, paths ...string) probe.Check {
		if chosen {
			run = guarded(name, name, run, paths...)
		}
		return probe.Check{Name: name, Layer: layerResource, Run: run, Cause: probe.FailureCause{Class: resourceClass(name)}}
	}
	// LXC's file system in user space may lie over these.
	const stat, meminfo, loadavg = "/proc/stat", "/proc/meminfo", "/proc/loadavg"
	checks := []probe.Check{
		add("cpu", resource.CPU(s, c.cpu), stat),
		add("memory", resource.Memory(s, c.mem), stat, meminfo),
	}
	for _, path := range c.diskPaths {
		name := "disk"
		if len(c.diskPaths) > 1 {
			name += ":" + path
		}
		check := add(name, resource.Disk(path, c.disk, c.inode))
		if chosen {
			check.Run = guarded(name, fmt.Sprintf("disk %q", path), check.Run, path)
		}
		checks = append(checks, check)
	}
	if c.pids.Max > 0 || c.pids.Warn > 0 {
		checks = append(checks, add("pids", resource.Pids(c.pids), loadavg))
	}
	network := add("network", resource.Network(s, c.netErrors), stat)
	network.Informational = c.netErrors.Max == 0 && c.netErrors.Warn == 0
	return append(checks, network)
}

// keptDir is where runs keep what the next one compares with. On a mount that
// may hang its files are read and written in a process of their own, which
// leaves the check the time that it needs without them.
func keptDir(c *config) kept.Dir {
	d := kept.Dir{Path: stateDir(c.stateDir)}
	if d.Path == "" || !target.MayHang(d.Path) {
		return d
	}
	do := func(j fileJob) ([]byte, error) {
		limit := min(c.checkTimeout/4, (c.checkTimeout-c.cpuWindow)/3)
		ctx, cancel := context.WithTimeoutCause(context.Background(), limit, probe.Timeout(limit))
		defer cancel()
		text, err := j.inChild(ctx)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", d.Path, err)
		}
		return text, err
	}
	d.LoadFile = func(path string) ([]byte, error) { return do(fileJob{Do: "load", Path: path}) }
	d.SaveFile = func(path string, text []byte) error {
		_, err := do(fileJob{Do: "save", Path: path, Text: text})
		return err
	}
	return d
}

// resourceClass is what helps against a resource that is used up: a restart
// frees the container's own, and nothing of the host's.
func resourceClass(name string) probe.Class {
	switch name {
	case "cpu", "memory", "pids":
		return probe.Self
	}
	return probe.Host
}

// stateDir returns the directory for the sample, empty for none. The default
// is memory that a container has even where its root is read-only.
func stateDir(given string) string {
	const shm = "/dev/shm"
	switch {
	case given == "none":
		return ""
	case given != "":
		return given
	case !target.MayHang(shm) && unix.Access(shm, unix.W_OK) == nil:
		return shm
	}
	return os.TempDir()
}

func targetChecks(c *config, layer string) ([]probe.Check, error) {
	var checks []probe.Check
	for i, t := range c.targets[layer] {
		name := t.Name
		if name == "" {
			name = layer
			if i > 0 {
				name = fmt.Sprintf("%s-%d", layer, i+1)
			}
		}
		if !slices.Contains(c.layers, layer) {
			checks = append(checks, probe.Check{Name: name, Layer: layer})
			continue
		}
		run, err := targetCheck(t, c)
		if err != nil {
			return nil, targetError(c.source(layer), i, len(c.targets[layer]), err)
		}
		limit := protocol.Limit(t)
		if limit > c.timeout {
			return nil, targetError(c.source(layer), i, len(c.targets[layer]), usagef("set timeout= to --timeout or less", "timeout=%s exceeds %s %s", limit, c.source("timeout"), c.timeout))
		}
		run = guarded(name, t.String(), run, protocol.Paths(t, c.http)...)
		check := probe.Check{Name: name, Layer: layer, Limit: limit, Run: run, Target: t.String()}
		throughApp := t.Relative || t.Local() && (t.URL.Scheme == "http" || t.URL.Scheme == "https")
		check.Cause, check.Unreachable = protocol.CauseOf(t, throughApp && (layer == layerDB || layer == layerVector))
		checks = append(checks, check)
	}
	return checks, nil
}

func targetCheck(t target.Target, c *config) (probe.Func, error) {
	run, err := protocol.New(t, c.http)
	if err != protocol.ErrScheme {
		return run, err
	}
	var known []string
	for _, s := range protocol.Schemes {
		known = append(known, s.Name)
	}
	hint := "the schemes are " + strings.Join(schemeNames(), ", ")
	if near := flags.Nearest(t.URL.Scheme, known); near != "" && flags.Distance(near, t.URL.Scheme) == 1 {
		hint = "did you mean " + near + "://?"
	}
	return nil, usagef(hint, "scheme %q is not supported", flags.Clip(t.URL.Scheme))
}

// schemeNames lists the schemes, those that differ by TLS alone as one.
func schemeNames() []string {
	var names []string
	for _, s := range protocol.Schemes {
		if n := len(names); n > 0 && s.Name == names[n-1]+"s" {
			names[n-1] += "(s)"
			continue
		}
		names = append(names, s.Name)
	}
	return names
}

func uniqueNames(checks []probe.Check) error {
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.Name] {
			return usagef("give each target a name of its own: --db main=… --db replica=…", "two checks are called %q", flags.Clip(c.Name))
		}
		seen[c.Name] = true
	}
	return nil
}

// markOptional marks the checks that the names mean: a check, all of a layer,
// or all disks.
func markOptional(checks []probe.Check, names []string, source string) error {
	for _, name := range names {
		found := slices.Contains(allLayers, name)
		for i := range checks {
			c := &checks[i]
			kind, _, _ := strings.Cut(c.Name, ":")
			if c.Name == name || c.Layer == name || kind == name {
				c.Optional, found = true, true
			}
		}
		if !found {
			var known []string
			for _, c := range checks {
				known = append(known, c.Name)
			}
			return usagef("the checks are "+strings.Join(known, ", ")+"; the layers "+strings.Join(allLayers, ", "),
				"%s %q matches no check or layer", source, flags.Clip(name))
		}
	}
	return nil
}
