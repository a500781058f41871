package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// newFullEngine is a fake engine whose containers look as those of compose do:
// ten to a project, in a network of its own, each with the labels, the mounts
// and the log of probes that Docker 27 has of one. A list has 2 KB for each,
// an inspection 7 KB.
func newFullEngine(t testing.TB, n int) *fakeEngine {
	f := newFakeEngine(t, n)
	f.full = true
	for i, id := range f.order {
		project, service := fmt.Sprintf("project%d", i/10), fmt.Sprintf("service%d", i%10)
		f.containers[id].Name = project + "-" + service + "-1"
		f.containers[id].Labels = map[string]string{"watchdog.enable": "true",
			"com.docker.compose.config-hash": fmt.Sprintf("%064x", i), "com.docker.compose.container-number": "1", "com.docker.compose.depends_on": "",
			"com.docker.compose.image": fmt.Sprintf("sha256:%064x", i%100), "com.docker.compose.oneoff": "False", "com.docker.compose.project": project,
			"com.docker.compose.project.config_files": "/srv/" + project + "/compose.yaml", "com.docker.compose.project.working_dir": "/srv/" + project,
			"com.docker.compose.service": service, "com.docker.compose.version": "2.29.7",
			"org.opencontainers.image.created": "2026-01-02T03:04:05Z", "org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.ref.name": "ubuntu",
			"org.opencontainers.image.revision": fmt.Sprintf("%040x", i%100), "org.opencontainers.image.source": "https://git.example/org/" + service, "org.opencontainers.image.version": "24.04"}
	}
	return f
}

// network is the container's place in its project's network.
func (c *fakeContainer) network() (name string, settings map[string]any) {
	var n int
	fmt.Sscanf(c.ID, "%x", &n)
	return c.Labels["com.docker.compose.project"] + "_default", map[string]any{"IPAMConfig": nil, "Links": nil, "Aliases": nil, "MacAddress": "02:42:ac:12:00:02", "DriverOpts": nil, "GwPriority": 0,
		"NetworkID": fmt.Sprintf("%064x", n/10), "EndpointID": fmt.Sprintf("%064x", n), "Gateway": "172.18.0.1", "IPAddress": fmt.Sprintf("172.18.%d.%d", n/250%250, n%250+2),
		"IPPrefixLen": 16, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": nil}
}

var fullMounts = []map[string]any{{"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/data", "Driver": "local", "Mode": "z", "RW": true, "Propagation": ""}}

// summary is a list's entry.
func (c *fakeContainer) summary() []byte {
	if c.listed == nil || c.listedAs != c.Health {
		c.listed, _ = json.Marshal(c.entry())
		c.listedAs = c.Health
	}
	return c.listed
}

func (c *fakeContainer) entry() map[string]any {
	name, settings := c.network()
	return map[string]any{"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": "registry.example/org/" + c.Labels["com.docker.compose.service"] + ":1.2.3", "ImageID": c.Labels["com.docker.compose.image"],
		"Command": "/app/server --config /etc/app/config.yaml", "Created": c.Started.Unix(), "Ports": []map[string]any{{"PrivatePort": 8080, "Type": "tcp"}}, "Labels": c.Labels, "State": "running",
		"Status": "Up 2 hours (" + c.Health + ")", "HostConfig": map[string]any{"NetworkMode": name}, "NetworkSettings": map[string]any{"Networks": map[string]any{name: settings}}, "Mounts": fullMounts}
}

const fullReport = "healthy in 3ms\nok   api       3ms  GET http://localhost:8080/health: status 200\nok   cpu       0ms  12.3% of 2.0 cores since last probe (max 90%), container limit\nok   memory    0ms  41.0% of 1.0 GiB (max 90%), container limit\nok   disk      0ms  63.2% of 98.3 GiB at / (max 95%)\n"

// inspection is what an engine says of a container when it is asked for it.
func (c *fakeContainer) inspection() map[string]any {
	name, settings := c.network()
	settings["DNSNames"] = []string{c.Name, c.ID[:12], c.Labels["com.docker.compose.service"]}
	var log []map[string]any
	code, output := 0, fullReport
	if c.Health == "unhealthy" {
		code, output = 1, "unhealthy: 1 of 4 failed in 3ms: api: GET http://localhost:8080/health: status 503, want 200\nFAIL api       3ms  [self]  GET http://localhost:8080/health: status 503, want 200\n"+fullReport
	}
	for i := range 5 {
		at := time.Now().Add(time.Duration(i-5) * 30 * time.Second)
		log = append(log, map[string]any{"Start": at.Format(time.RFC3339Nano), "End": at.Add(50 * time.Millisecond).Format(time.RFC3339Nano), "ExitCode": code, "Output": output})
	}
	var environ []string
	for i := range 20 {
		environ = append(environ, fmt.Sprintf("VARIABLE_%d=some value that is set", i))
	}
	host := map[string]any{"RestartPolicy": map[string]any{"Name": "no", "MaximumRetryCount": 0}, "NetworkMode": name, "Memory": 1 << 30}
	for i := range 60 { // resources, devices, security and more, of which nothing is read
		host[fmt.Sprintf("SomeSetting%d", i)] = []string{"some", "value"}
	}
	return map[string]any{"Id": c.ID, "Created": c.Started.Format(time.RFC3339Nano), "Path": "/app/server", "Args": []string{"--config", "/etc/app/config.yaml"}, "Name": "/" + c.Name,
		"Image": c.Labels["com.docker.compose.image"], "RestartCount": 0, "Driver": "overlay2", "Platform": "linux", "Mounts": fullMounts, "HostConfig": host,
		"State": map[string]any{"Status": "running", "Running": true, "Pid": 1234, "StartedAt": c.Started.Format(time.RFC3339Nano), "FinishedAt": "0001-01-01T00:00:00Z",
			"Health": map[string]any{"Status": c.Health, "FailingStreak": c.Streak, "Log": log}},
		"Config":          map[string]any{"Hostname": c.ID[:12], "Env": environ, "Labels": c.Labels, "Image": "registry.example/org/app:1.2.3", "Healthcheck": map[string]any{"Test": []string{"CMD", "/healthcheck"}, "Interval": 30e9, "Timeout": 10e9, "Retries": 1}},
		"NetworkSettings": map[string]any{"Networks": map[string]any{name: settings}}}
}

// settled waits until nothing is asked of the engine any more.
func (f *fakeEngine) settled() {
	for calls := -1; calls != f.count(&f.calls); {
		calls = f.count(&f.calls)
		<-time.After(300 * time.Millisecond)
	}
}
