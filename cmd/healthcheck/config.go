package main

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
	"healthcheck/gpu"
	"healthcheck/probe/protocol"
	"healthcheck/probe/resource"
	"healthcheck/probe/target"
)

// The layers, in the order in which they run and are reported. That of the
// GPU is not among those that run by default.
var (
	allLayers     = []string{layerResource, layerAPI, layerDB, layerVector, layerGPU}
	defaultLayers = allLayers[:4]
)

const (
	layerResource = "resource"
	layerAPI      = "api"
	layerDB       = "db"
	layerVector   = "vector"
	layerGPU      = "gpu"
)

// The defaults that the contract fixes.
const (
	defaultInterval     = 30 * time.Second
	defaultTimeout      = 8 * time.Second
	defaultCheckTimeout = 5 * time.Second
	defaultCPUWindow    = 200 * time.Millisecond
	defaultBaseURL      = "http://localhost:5000"
	// defaultRedirects is what Go's own client and most others follow.
	defaultRedirects = 10
)

// config is the configuration of a run, checked and resolved.
type config struct {
	interval, timeout, checkTimeout time.Duration
	layers                          []string
	failFast                        bool
	optional                        []string
	targets                         map[string][]target.Target // by layer
	http                            protocol.Options
	cpu, mem, disk                  resource.Limit
	inode, pids, netErrors          resource.Limit
	diskPaths                       []string
	gpu                             gpu.Limits
	gpuOptional                     bool
	cpuWindow                       time.Duration
	stateDir                        string // "" is the default place, "none" is off
	json, quiet, version, help      bool
	ignored                         []string // variables that are no settings
	waitTimeout                     time.Duration
	command                         []string // what "healthcheck wait" becomes
	// source says where a flag's value came from, for errors: --db or
	// HEALTHCHECK_DB.
	source func(flag string) string
}

// raw holds the flags as they were given, before they are checked together.
type raw struct {
	interval, timeout, checkTimeout, cpuWindow durationValue
	layers, optional, headers, expectJSON      []string
	diskPaths                                  []string
	targets                                    map[string]*[]string
	limits                                     limits
	gpu, gpuOptional                           bool
	gpuCount                                   int
	gpuMinFree                                 sizeValue
	gpuMaxMem, gpuMaxUtil                      percentValue
	gpuMaxTemp, gpuMaxECC                      limitValue
	baseURL, method, status, expectBody        string
	notBody, body, bodyFile, httpVersion       string
	output                                     string
	expectHeader                               []string
	caCert, stateDir                           string
	clientCert, clientKey, serverName          string
	connectTo, certDays                        string
	maxRedirects                               int
	insecure, proxy, failFast, quiet, host     bool
	version, help                              bool
	wait                                       bool // "healthcheck wait"
	waitTimeout                                durationValue
	environ                                    flags.Environ
}

// source names a flag as the user gave it.
//
// Inlined at each of its calls it would take 4 KB more.
//
//go:noinline
func (r *raw) source(flag string) string {
	return r.environ.Source(flag)
}

// newFlags declares every flag, in the order of the help text.
func newFlags() (*pflag.FlagSet, *raw) {
	return declareFlags(func(string) bool { return true })
}

// declareFlags declares the flags that are wanted; the others have their default.
func declareFlags(wanted func(name string) bool) (*pflag.FlagSet, *raw) {
	r := &raw{
		interval: durationValue(defaultInterval), timeout: durationValue(defaultTimeout),
		checkTimeout: durationValue(defaultCheckTimeout), cpuWindow: durationValue(defaultCPUWindow),
		targets: map[string]*[]string{},
	}
	r.limits.cpu.limit, r.limits.mem.limit, r.limits.disk.limit = 90, 90, 95
	fs := pflag.NewFlagSet("healthcheck", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	add := func(v pflag.Value, name, usage string) {
		if wanted(name) {
			fs.Var(v, name, usage)
		}
	}
	text := func(p *string, name, value, usage string) {
		if *p = value; wanted(name) {
			fs.StringVar(p, name, value, usage)
		}
	}
	onOff := func(p *bool, name, usage string) {
		if wanted(name) {
			fs.BoolVar(p, name, false, usage)
		}
	}
	number := func(p *int, name string, value int, usage string) {
		if *p = value; wanted(name) {
			fs.IntVar(p, name, value, usage)
		}
	}

	add(&r.interval, "interval", "the interval that it runs at")
	add(&r.timeout, "timeout", "overall deadline, shorter than the interval")
	add(&r.checkTimeout, "check-timeout", "one check's limit, at most --timeout")
	add(&flags.List{Values: &r.layers, Begins: flags.Anything, Commas: true, Kind: "LAYER,…"}, "layers", "run these only: "+strings.Join(defaultLayers, ","))
	add(&flags.List{Values: &r.optional, Begins: flags.Anything, Commas: true, Kind: "NAME"}, "optional", "this check or layer only warns")
	onOff(&r.failFast, "fail-fast", "layer by layer, stop after the first to fail")
	text(&r.baseURL, "base-url", defaultBaseURL, "what a path is resolved against")
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		var list []string
		r.targets[layer] = &list
		add(&flags.List{Values: &list, Begins: target.Begins, Commas: true, Kind: "[NAME=]TARGET"}, layer,
			"default "+defaultPath(layer))
	}
	onOff(&r.proxy, "proxy", "honour HTTP_PROXY, NO_PROXY and so on")
	add(&flags.List{Values: &r.headers, Begins: flags.ByStart(headerStart), Kind: "NAME: VALUE"}, "header", "send this header")
	text(&r.method, "method", "GET", "HTTP method")
	text(&r.status, "expect-status", "200", "codes wanted: 200,204 or 2xx")
	text(&r.body, "body", "", "text to send, by POST")
	text(&r.bodyFile, "body-file", "", "the file that it is in")
	text(&r.httpVersion, "http-version", "1.1", "or 2")
	add(&flags.List{Values: &r.expectHeader, Begins: flags.ByStart(headerStart), Kind: "NAME: REGEX"}, "expect-header", "header of the answer")
	text(&r.expectBody, "expect-body", "", "regular expression that the body matches")
	text(&r.notBody, "not-body", "", "one that it must not match")
	add(&flags.List{Values: &r.expectJSON, Begins: func(_, s string) bool { return strings.ContainsAny(s, "=<>") }, Kind: "PATH=VALUE"},
		"expect-json", "member of the JSON body: data.db=up")
	text(&r.caCert, "ca-cert", "", "PEM file or directory to trust, too")
	text(&r.clientCert, "client-cert", "", "PEM file to show")
	text(&r.clientKey, "client-key", "", "its key")
	text(&r.serverName, "server-name", "", "name to ask TLS for")
	text(&r.certDays, "min-cert-days", "off", "warn below; 14?7 fails below 7")
	text(&r.connectTo, "connect-to", "", "HOST:PORT to connect to instead")
	onOff(&r.insecure, "insecure", "accept any certificate")
	number(&r.maxRedirects, "max-redirects", defaultRedirects, "follow so many")
	add(&r.limits.cpu.limit, "cpu-max", "unhealthy above")
	add(&r.limits.mem.limit, "mem-max", "unhealthy above")
	add(&r.limits.memFree.limit, "mem-min-free", "unhealthy below: 100MiB")
	add(&r.limits.disk.limit, "disk-max", "unhealthy above")
	add(&r.limits.diskFree.limit, "disk-min-free", "unhealthy below: 1GiB")
	onOff(&r.host, "host", "judge the host's CPU, memory and tasks, too")
	add(&r.limits.inode.limit, "inode-max", "unhealthy above")
	add(&r.limits.pids.limit, "pids-max", "unhealthy above")
	add(&r.limits.netErrors.limit, "net-errors-max", "unhealthy above")
	r.limits.declareTwins(add)
	add(&flags.List{Values: &r.diskPaths, Begins: flags.Anything, Kind: "PATH"}, "disk-path", "look at this file system (default /)")
	add(&r.cpuWindow, "cpu-window", "sample so long without an earlier sample")
	text(&r.stateDir, "state-dir", "", "where the last sample is kept; none: nowhere")
	onOff(&r.gpu, "gpu", "look at the GPUs too; each flag below implies it")
	number(&r.gpuCount, "gpu-count", 1, "so many GPUs at least")
	add(&r.gpuMinFree, "gpu-min-free", "memory free on each GPU: 4GiB")
	add(&r.gpuMaxMem, "gpu-max-mem", "unhealthy above")
	add(&r.gpuMaxUtil, "gpu-max-util", "unhealthy above")
	add(&r.gpuMaxTemp, "gpu-max-temp", "unhealthy above, in °C")
	add(&r.gpuMaxECC, "gpu-max-ecc", "unhealthy above: uncorrectable errors")
	onOff(&r.gpuOptional, "gpu-optional", "no GPU is a warning: CPU is used")
	text(&r.output, "output", "text", "text or json")
	onOff(&r.quiet, "quiet", "print nothing on success")
	onOff(&r.version, "version", "say what this is, and exit")
	if wanted("help") {
		fs.BoolVarP(&r.help, "help", "h", false, "say this, and exit")
	}
	return fs, r
}

// defaultPath is what the Python script that this program replaces asked for.
func defaultPath(layer string) string {
	switch layer {
	case layerDB:
		return "/db/health"
	case layerVector:
		return "/vector/health"
	}
	return "/health"
}

// parseConfig turns arguments and environment into a configuration. It is
// pure but for read, which serves HEALTHCHECK_…_FILE. Its error is a
// *usageError and holds no secret.
//
// A run names few of the flags, and most of the work is in declaring the others:
// all are declared where something is wrong, so that the error can name them.
func parseConfig(args, environ []string, read readFile) (*config, error) {
	names := namedFlags(args, environ)
	fs, r := declareFlags(func(name string) bool { return slices.Contains(names, name) })
	if c, err := r.parse(fs, args, environ, read); err == nil && len(c.ignored) == 0 {
		return c, nil
	}
	fs, r = newFlags()
	return r.parse(fs, args, environ, read)
}

// namedFlags are the names that arguments and variables may mean as flags.
func namedFlags(args, environ []string) (names []string) {
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			names = append(names, name)
		} else if arg == "-h" {
			names = append(names, "help")
		}
	}
	for _, v := range environ {
		if name, ok := strings.CutPrefix(v, variablePrefix); ok {
			name, _, _ = strings.Cut(name, "=")
			name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
			names = append(names, name, strings.TrimSuffix(name, "-file"))
		}
	}
	return names
}

func (r *raw) parse(fs *pflag.FlagSet, args, environ []string, read readFile) (*config, error) {
	args, err := fill(args, environ)
	if err != nil {
		return nil, err
	}
	if err := fs.Parse(args); err != nil {
		return nil, parseError(fs, err)
	}
	if fs.NArg() > 0 && (!r.wait || fs.ArgsLenAtDash() != 0) {
		return nil, r.argumentError(fs, args, fs.Arg(0))
	}
	if r.version || r.help {
		return &config{version: r.version, help: r.help}, nil
	}
	if r.wait {
		r.nameLayers(fs)
	}
	r.environ = newEnviron(fs, r, read)
	if err := r.environ.Apply(environ); err != nil {
		return nil, err
	}
	if r.wait {
		r.nameLayers(fs)
	}
	c, err := r.resolve(fs)
	if err == nil {
		c.command = fs.Args()
	}
	return c, err
}
