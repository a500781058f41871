package protocol

import (
	"bytes"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// CauseOf says what a failure of a target's check means, where nothing in the
// answer says more. ThroughApp marks one that is asked through the application
// itself, as /db/health is: that it cannot be reached is the application's
// fault, and what it answers is its dependency's, which nobody can name.
func CauseOf(t target.Target, throughApp bool) (cause, unreachable probe.FailureCause) {
	host, port := t.Dialled()
	cause = probe.FailureCause{Class: probe.Dependency, Host: host, Port: port}
	if t.Local() {
		cause = probe.FailureCause{Class: probe.Self}
	}
	if t.URL.Scheme == "dns" {
		cause = probe.FailureCause{Class: probe.Dependency, Host: t.URL.Hostname()}
	}
	if throughApp {
		return probe.FailureCause{Class: probe.Dependency}, cause
	}
	return cause, probe.FailureCause{}
}

// starting are what servers say, with status 503, while they load or recover.
var starting = [][]byte{
	[]byte("loading model"), // llama.cpp, and what is built on it
	[]byte("is loading"),
	[]byte("starting up"),
	[]byte("is starting"),
	[]byte("initializing"),
	[]byte("initialising"),
	[]byte("some shards are not ready"), // Qdrant's /readyz
	[]byte("recovering"),
	[]byte("replaying"), // the log, as Prometheus and Loki say
	[]byte("warming up"),
}

// classOf is the class of an HTTP answer that is not what was wanted; empty
// where the target says enough.
func classOf(status int, body []byte) probe.Class {
	switch status {
	case 401, 403, 407:
		return probe.Config
	case 503:
		lower := bytes.ToLower(body)
		for _, text := range starting {
			if bytes.Contains(lower, text) {
				return probe.Starting
			}
		}
	}
	return ""
}
