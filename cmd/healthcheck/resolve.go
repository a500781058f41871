package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/gpu"
	"healthcheck/probe/protocol"
	"healthcheck/probe/target"
)

// resolve checks the flags together and builds the configuration.
func (r *raw) resolve(fs *pflag.FlagSet) (*config, error) {
	c := &config{
		interval: time.Duration(r.interval), timeout: time.Duration(r.timeout), checkTimeout: time.Duration(r.checkTimeout),
		cpuWindow: time.Duration(r.cpuWindow), failFast: r.failFast, optional: r.optional,
		stateDir: r.stateDir, quiet: r.quiet, source: r.source, ignored: r.environ.Ignored,
	}
	if c.waitTimeout = time.Duration(r.waitTimeout); r.wait {
		c.timeout = min(c.timeout, c.waitTimeout)
		c.checkTimeout = min(c.checkTimeout, c.timeout)
	}
	if !fs.Changed("check-timeout") {
		c.checkTimeout = min(c.checkTimeout, c.timeout)
	}
	if !fs.Changed("cpu-window") {
		c.cpuWindow = min(c.cpuWindow, c.checkTimeout/2)
	}
	switch {
	case c.timeout >= c.interval && !r.wait:
		hint := "set --timeout below the interval, so that probes never overlap"
		if !fs.Changed("interval") {
			hint = fmt.Sprintf("give the engine's own interval, such as --interval %s, or a shorter --timeout", c.timeout*3/2)
		}
		return nil, usagef(hint, "%s %s is not shorter than %s %s", r.source("timeout"), c.timeout, r.source("interval"), c.interval)
	case c.checkTimeout > c.timeout:
		return nil, usagef("set --check-timeout to --timeout or less",
			"%s %s exceeds %s %s", r.source("check-timeout"), c.checkTimeout, r.source("timeout"), c.timeout)
	case c.cpuWindow >= c.checkTimeout:
		return nil, usagef("set --cpu-window below --check-timeout: where there is no earlier sample, the check waits so long",
			"%s %s is not shorter than %s %s", r.source("cpu-window"), c.cpuWindow, r.source("check-timeout"), c.checkTimeout)
	case c.stateDir != "" && c.stateDir != "none" && !filepath.IsAbs(c.stateDir):
		return nil, usagef("give an absolute path, or none", "%s %q is not absolute", r.source("state-dir"), flags.Clip(c.stateDir))
	}
	switch r.output {
	case "json":
		c.json = true
	case "text":
	default:
		return nil, usagef("--output text or --output json", "%s %q: want text or json", r.source("output"), flags.Clip(r.output))
	}
	if err := r.resolveLimits(c); err != nil {
		return nil, err
	}
	c.diskPaths = r.diskPaths
	if len(c.diskPaths) == 0 {
		c.diskPaths = []string{"/"}
	}
	for _, p := range c.diskPaths {
		if !filepath.IsAbs(p) {
			return nil, usagef("--disk-path /data", "%s %q is not absolute", r.source("disk-path"), flags.Clip(p))
		}
	}
	if err := r.resolveGPU(fs, c); err != nil {
		return nil, err
	}
	if err := r.resolveLayers(c); err != nil {
		return nil, err
	}
	if err := r.resolveHTTP(fs, c); err != nil {
		return nil, err
	}
	if err := r.resolveTargets(fs, c); err != nil {
		return nil, err
	}
	return c, r.checkUnused(fs, c)
}

// resolveGPU reads the limits of GPUs; each of them asks for the layer.
func (r *raw) resolveGPU(fs *pflag.FlagSet, c *config) error {
	off := func(v float64) gpu.Figure { return gpu.Figure{Value: v, Known: v > 0} }
	c.gpu = gpu.Limits{Count: r.gpuCount, MinFree: off(float64(r.gpuMinFree)), MaxMem: off(float64(r.gpuMaxMem)), MaxUtil: off(float64(r.gpuMaxUtil)),
		MaxTemp: gpu.Figure(r.gpuMaxTemp), MaxECC: gpu.Figure(r.gpuMaxECC)}
	c.gpuOptional = r.gpuOptional
	if r.gpuCount < 1 {
		return usagef("--gpu-count 1", "%s %d: want 1 or more", r.source("gpu-count"), r.gpuCount)
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "gpu-") && f.Changed {
			r.gpu = true
		}
	})
	return nil
}

func (r *raw) resolveLayers(c *config) error {
	names := r.layers
	if len(names) == 0 {
		names = defaultLayers
	}
	if r.gpu {
		names = append(slices.Clone(names), layerGPU)
	}
	for _, l := range names {
		if !slices.Contains(allLayers, l) {
			hint := "the layers are " + strings.Join(allLayers, ", ")
			return usagef(hint, "%s: unknown layer %q", r.source("layers"), flags.Clip(l))
		}
		if !slices.Contains(c.layers, l) {
			c.layers = append(c.layers, l)
		}
	}
	return nil
}

func (r *raw) resolveHTTP(fs *pflag.FlagSet, c *config) error {
	h := &c.http
	h.Header = map[string][]string{}
	h.MaxRedirects, h.Proxy = r.maxRedirects, r.proxy
	if err := r.resolveTLS(h); err != nil {
		return err
	}
	h.UserAgent = "healthcheck/" + buildVersion()
	var err error
	if h.Method, err = protocol.ParseMethod(r.method); err != nil {
		return usagef("--method HEAD", "%s %q: want the name of an HTTP method", r.source("method"), flags.Clip(r.method))
	}
	if !fs.Changed("method") {
		h.Method = "" // POST where there is a body
	}
	if h.Send, h.SendFile = r.body, r.bodyFile; h.Send != "" && h.SendFile != "" {
		return usagef("leave one of them out", "%s and %s are both given", r.source("body"), r.source("body-file"))
	}
	if h.HTTP2, err = protocol.ParseHTTPVersion(r.httpVersion); err != nil {
		return usagef("--http-version 1.1 or --http-version 2", "%s %q: want 1.1 or 2", r.source("http-version"), flags.Clip(r.httpVersion))
	}
	if h.Status, err = protocol.ParseStatus(r.status); err != nil {
		return usagef("--expect-status 200,204 or --expect-status 2xx", "%s %q: want HTTP status codes", r.source("expect-status"), flags.Clip(r.status))
	}
	for _, e := range []struct {
		flag, text string
		to         **regexp.Regexp
	}{{"expect-body", r.expectBody, &h.Body}, {"not-body", r.notBody, &h.NotBody}} {
		if e.text == "" {
			continue
		}
		if *e.to, err = regexp.Compile(e.text); err != nil {
			return usagef("the syntax is RE2's", "%s %q: not a regular expression", r.source(e.flag), flags.Clip(e.text))
		}
	}
	for _, e := range r.expectHeader {
		want, err := protocol.ParseHeaderExpect(e)
		if err != nil {
			return usagef("--expect-header 'Content-Type: json'", "%s %q: want NAME: REGEX", r.source("expect-header"), flags.Clip(e))
		}
		h.ExpectHeader = append(h.ExpectHeader, want)
	}
	for _, e := range r.expectJSON {
		j, err := protocol.ParseJSONExpect(e)
		if err != nil {
			return usagef("--expect-json status=ok, 'count>=1', data.db for one that is there, '!error' for one that is not", "%s %q: want PATH=VALUE", r.source("expect-json"), flags.Clip(e))
		}
		h.JSON = append(h.JSON, j)
	}
	for i, line := range r.headers {
		if err := protocol.AddHeader(h.Header, line); err != nil {
			return usagef("--header 'Accept: text/plain'; a secret one goes into HEALTHCHECK_HEADER_FILE", "%s number %d: want NAME: VALUE", r.source("header"), i+1)
		}
	}
	if h.MaxRedirects < 0 {
		return usagef("--max-redirects 0 follows none", "%s %d: want 0 or more", r.source("max-redirects"), h.MaxRedirects)
	}
	return nil
}

func (r *raw) resolveTLS(h *protocol.Options) (err error) {
	h.TLS = target.TLSOptions{CACert: r.caCert, Insecure: r.insecure, ClientCert: r.clientCert, ClientKey: r.clientKey, ServerName: r.serverName}
	switch {
	case r.clientKey != "" && r.clientCert == "":
		return usagef("--client-cert FILE", "%s is given, and no certificate that it is for", r.source("client-key"))
	case r.serverName != "" && target.CheckServerName(r.serverName) != nil:
		return usagef("--server-name app.example", "%s %q: want the name of a host", r.source("server-name"), flags.Clip(r.serverName))
	case r.connectTo != "" && target.CheckHostPort(r.connectTo) != nil:
		return usagef("--connect-to 127.0.0.1:8443", "%s %q: want HOST:PORT", r.source("connect-to"), flags.Clip(r.connectTo))
	case r.certDays == "off":
		return nil
	}
	if h.TLS.Expiry, err = target.ParseExpiry(r.certDays); err != nil {
		return usagef("--min-cert-days 14 warns below 14 days, 14?7 fails below 7", "%s %q: want days, or off", r.source("min-cert-days"), flags.Clip(r.certDays))
	}
	return nil
}

func (r *raw) resolveTargets(fs *pflag.FlagSet, c *config) error {
	if m := target.Mistake(r.baseURL); m != nil {
		return usagef(m.Hint, "%s: %s", r.source("base-url"), m)
	}
	base, err := url.Parse(r.baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return usagef("--base-url "+defaultBaseURL, "%s: want an http or https URL with a host and no query", r.source("base-url"))
	}
	c.targets = map[string][]target.Target{}
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		texts := *r.targets[layer]
		switch {
		case len(texts) == 0 && fs.Changed(layer):
			texts = []string{""} // --db "$DB" where there is no such variable
		case len(texts) == 0:
			texts = []string{defaultPath(layer)}
		}
		for i, text := range texts {
			t, err := target.ParseTarget(text, base)
			if err != nil {
				return targetError(r.source(layer), i, len(texts), err)
			}
			if r.connectTo != "" && protocol.Takes(t, "connect-to") {
				t.Settings = append([]target.Setting{{Key: "connect-to", Value: r.connectTo}}, t.Settings...) // its own comes behind
			}
			c.targets[layer] = append(c.targets[layer], t)
		}
	}
	return nil
}
