package main

import (
	"slices"

	"github.com/spf13/pflag"

	"healthcheck/probe/protocol"
	"healthcheck/probe/target"
)

// pickyFlags say how a target is asked and judged, and most kinds of targets
// know no such thing.
var pickyFlags = []string{"method", "header", "expect-status", "expect-body", "expect-json", "max-redirects",
	"body", "body-file", "http-version", "expect-header", "not-body",
	"client-cert", "client-key", "server-name", "min-cert-days", "connect-to"}

// checkUnused refuses a flag that no target takes: what it was to judge would
// be called healthy. The default targets of db and vector do not count beside
// others: nobody who gives a target of his own means them.
func (r *raw) checkUnused(fs *pflag.FlagSet, c *config) error {
	var own, all []target.Target
	for _, layer := range c.layers {
		all = append(all, c.targets[layer]...)
		if layer == layerAPI || fs.Changed(layer) {
			own = append(own, c.targets[layer]...)
		}
	}
	if len(own) == 0 {
		own = all
	}
	for _, flag := range pickyFlags {
		kinds, hint := "HTTP", "leave it out, or check an http:// target"
		takes := func(t target.Target) bool { return protocol.Takes(t, flag) }
		switch flag {
		case "header":
			kinds, hint = "HTTP and gRPC", "a vector store's own stands behind #: qdrant://host#header=NAME:%20VALUE"
		case "connect-to":
			kinds, hint = "network", "leave it out, or check a target with one host"
		case "client-cert", "client-key", "server-name", "min-cert-days":
			kinds, hint = "TLS", "leave it out, or check a target with TLS: https://, tls://, grpcs://, rediss://, …"
			// A redirect from http may lead to TLS, but nobody counts on that.
			takes = func(t target.Target) bool {
				return t.URL.Scheme != "http" && t.URL.Scheme != "unix" && protocol.Takes(t, flag)
			}
		}
		if len(own) == 0 || !fs.Changed(flag) || slices.ContainsFunc(own, takes) {
			continue
		}
		if r.source(flag) != "--"+flag && fs.Changed("layers") && r.source("layers") == "--layers" {
			continue // the variable is for other probes of this container, of other layers
		}
		return usagef(hint, "%s is for %s targets, and there is none", r.source(flag), kinds)
	}
	return nil
}
