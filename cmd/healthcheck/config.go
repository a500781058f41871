package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/gpu"
	"healthcheck/probe"
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

// config is everything that a run is told, checked and resolved.
type config struct {
	interval, timeout, checkTimeout time.Duration
	layers                          []string
	failFast                        bool
	optional                        []string
	targets                         map[string][]probe.Target // by layer
	http                            probe.HTTPOptions
	cpuMax, memMax, diskMax         float64 // percent; 0 is off
	inodeMax, pidsMax, netErrorsMax float64
	diskPaths                       []string
	gpu                             gpu.Limits
	gpuOptional                     bool
	cpuWindow                       time.Duration
	stateDir                        string // "" is the default place, "none" is off
	json, quiet, version, help      bool
	// source says where a flag's value came from, for errors: --db or
	// HEALTHCHECK_DB.
	source func(flag string) string
}

// usageError is bad input: what is wrong, and what to write instead.
type usageError struct{ problem, hint string }

func (e *usageError) Error() string { return e.problem }

func usagef(hint, format string, args ...any) *usageError {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// wantError is the complaint of a flag's value: what it should have been.
type wantError string

func (e wantError) Error() string { return string(e) }

// The values of flags. Each says in its error what it wants.

type durationValue time.Duration

func (d *durationValue) String() string { return time.Duration(*d).String() }
func (d *durationValue) Type() string   { return "DURATION" }
func (d *durationValue) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return wantError("want a duration above 0 with its unit, such as 30s or 500ms")
	}
	*d = durationValue(v)
	return nil
}

type percentValue float64

func (p *percentValue) String() string {
	if *p == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64)
}
func (p *percentValue) Type() string { return "PERCENT" }
func (p *percentValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*p = 0
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(v > 0 && v <= 100) {
		return wantError("want a percentage above 0 and up to 100, or off")
	}
	*p = percentValue(v)
	return nil
}

// sizeValue is an amount of memory in MiB; 0 is off.
type sizeValue float64

func (v *sizeValue) String() string {
	if *v == 0 {
		return "off"
	}
	return fmt.Sprintf("%gMiB", float64(*v))
}
func (v *sizeValue) Type() string { return "SIZE" }
func (v *sizeValue) Set(s string) error {
	size, err := gpu.ParseSize(s)
	if err != nil {
		return wantError("want a size such as 6GiB, 6.5GB or 512MiB")
	}
	*v = sizeValue(size)
	return nil
}

// limitValue is a whole number that is a limit, or off.
type limitValue gpu.Figure

func (v *limitValue) String() string {
	if !v.Known {
		return "off"
	}
	return strconv.FormatFloat(v.Value, 'f', -1, 64)
}
func (v *limitValue) Type() string { return "NUMBER" }
func (v *limitValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*v = limitValue{}
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return wantError("want a whole number, or off")
	}
	*v = limitValue{Value: float64(n), Known: true}
	return nil
}

// listValue is a repeatable flag. Its variable holds several values behind
// one another; begins says whether the text behind a comma starts a new one.
type listValue struct {
	values *[]string
	begins func(string) bool
	commas bool // the flag itself takes a list too
	kind   string
}

func (l *listValue) String() string { return strings.Join(*l.values, ",") }
func (l *listValue) Type() string   { return l.kind }
func (l *listValue) Set(s string) error {
	if l.commas {
		*l.values = append(*l.values, splitList(s, l.begins)...)
		return nil
	}
	*l.values = append(*l.values, s)
	return nil
}

func (l *listValue) setAll(text string) {
	*l.values = append(*l.values, splitList(text, l.begins)...)
}

// splitList splits a variable's text on newlines and on the commas behind
// which a new value begins: a comma inside a value is none.
func splitList(text string, begins func(string) bool) []string {
	var out []string
	for line := range strings.Lines(text) {
		first := true
		for part := range strings.SplitSeq(strings.TrimSpace(line), ",") {
			if trimmed := strings.TrimSpace(part); first || begins(trimmed) {
				out = append(out, trimmed)
			} else {
				out[len(out)-1] += "," + part
			}
			first = false
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// The patterns are compiled when a variable is split, which few runs do.
var (
	targetStart = pattern(`^([A-Za-z0-9][A-Za-z0-9_.-]*=)?(/|[A-Za-z][A-Za-z0-9+.-]*://)`)
	headerStart = pattern(`^[A-Za-z0-9!#$%&'*+.^_|~-]+:`)
)

func pattern(expr string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
	return func(s string) bool { return compiled().MatchString(s) }
}

func anyStart(string) bool { return true }

// raw holds the flags as they were given, before they are checked together.
type raw struct {
	interval, timeout, checkTimeout, cpuWindow durationValue
	layers, optional, headers, expectJSON      []string
	diskPaths                                  []string
	targets                                    map[string]*[]string
	cpuMax, memMax, diskMax                    percentValue
	inodeMax, pidsMax, netErrorsMax            percentValue
	gpu, gpuOptional                           bool
	gpuCount                                   int
	gpuMinFree                                 sizeValue
	gpuMaxMem, gpuMaxUtil                      percentValue
	gpuMaxTemp, gpuMaxECC                      limitValue
	baseURL, method, status, body, output      string
	caCert, stateDir                           string
	maxRedirects                               int
	insecure, proxy, failFast, quiet           bool
	version, help                              bool
	variables                                  map[string]string // by flag: the variable that set it
}

// source names a flag as the user gave it.
func (r *raw) source(flag string) string {
	if v, ok := r.variables[flag]; ok {
		return v
	}
	return "--" + flag
}

// newFlags declares every flag, in the order of the help text.
func newFlags() (*pflag.FlagSet, *raw) {
	r := &raw{
		interval: durationValue(defaultInterval), timeout: durationValue(defaultTimeout),
		checkTimeout: durationValue(defaultCheckTimeout), cpuWindow: durationValue(defaultCPUWindow),
		cpuMax: 90, memMax: 90, diskMax: 95, targets: map[string]*[]string{}, variables: map[string]string{},
	}
	fs := pflag.NewFlagSet("healthcheck", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}

	fs.Var(&r.interval, "interval", "the interval that it runs at")
	fs.Var(&r.timeout, "timeout", "overall deadline, shorter than the interval")
	fs.Var(&r.checkTimeout, "check-timeout", "one check's limit, at most --timeout")
	fs.Var(&listValue{&r.layers, anyStart, true, "LAYER,…"}, "layers", "run these only: "+strings.Join(defaultLayers, ","))
	fs.Var(&listValue{&r.optional, anyStart, true, "NAME"}, "optional", "this check or layer only warns")
	fs.BoolVar(&r.failFast, "fail-fast", false, "layer by layer, stop after the first to fail")
	fs.StringVar(&r.baseURL, "base-url", defaultBaseURL, "what a path is resolved against")
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		var list []string
		r.targets[layer] = &list
		fs.Var(&listValue{&list, targetStart, false, "[NAME=]TARGET"}, layer,
			"default "+defaultPath(layer))
	}
	fs.BoolVar(&r.proxy, "proxy", false, "honour HTTP_PROXY and its kin")
	fs.Var(&listValue{&r.headers, headerStart, false, "NAME: VALUE"}, "header", "send this header")
	fs.StringVar(&r.method, "method", http.MethodGet, "HTTP method")
	fs.StringVar(&r.status, "expect-status", "200", "codes wanted: 200,204 or 2xx")
	fs.StringVar(&r.body, "expect-body", "", "regular expression that the body matches")
	fs.Var(&listValue{&r.expectJSON, func(s string) bool { return strings.Contains(s, "=") }, false, "PATH=VALUE"},
		"expect-json", "member of the JSON body: data.db=up")
	fs.StringVar(&r.caCert, "ca-cert", "", "PEM file to trust")
	fs.BoolVar(&r.insecure, "insecure", false, "accept any certificate")
	fs.IntVar(&r.maxRedirects, "max-redirects", defaultRedirects, "follow so many")
	fs.Var(&r.cpuMax, "cpu-max", "unhealthy above")
	fs.Var(&r.memMax, "mem-max", "unhealthy above")
	fs.Var(&r.diskMax, "disk-max", "unhealthy above")
	fs.Var(&r.inodeMax, "inode-max", "unhealthy above")
	fs.Var(&r.pidsMax, "pids-max", "unhealthy above")
	fs.Var(&r.netErrorsMax, "net-errors-max", "unhealthy above")
	fs.Var(&listValue{&r.diskPaths, anyStart, false, "PATH"}, "disk-path", "look at this file system (default /)")
	fs.Var(&r.cpuWindow, "cpu-window", "sample so long without an earlier sample")
	fs.StringVar(&r.stateDir, "state-dir", "", "where the last sample is kept; none: nowhere")
	fs.BoolVar(&r.gpu, "gpu", false, "look at the GPUs too; each flag below implies it")
	fs.IntVar(&r.gpuCount, "gpu-count", 1, "so many GPUs at least")
	fs.Var(&r.gpuMinFree, "gpu-min-free", "memory free on each GPU: 4GiB")
	fs.Var(&r.gpuMaxMem, "gpu-max-mem", "unhealthy above")
	fs.Var(&r.gpuMaxUtil, "gpu-max-util", "unhealthy above")
	fs.Var(&r.gpuMaxTemp, "gpu-max-temp", "unhealthy above, in °C")
	fs.Var(&r.gpuMaxECC, "gpu-max-ecc", "unhealthy above: uncorrectable errors")
	fs.BoolVar(&r.gpuOptional, "gpu-optional", false, "no GPU is a warning: CPU is used")
	fs.StringVar(&r.output, "output", "text", "text or json")
	fs.BoolVar(&r.quiet, "quiet", false, "print nothing on success")
	fs.BoolVar(&r.version, "version", false, "say what this is, and exit")
	fs.BoolVarP(&r.help, "help", "h", false, "say this, and exit")
	return fs, r
}

// defaultPath is what the Python script of old asked for.
func defaultPath(layer string) string {
	switch layer {
	case layerDB:
		return "/db/health"
	case layerVector:
		return "/vector/health"
	}
	return "/health"
}

// noVariable are the flags that would turn every probe into a success if an
// image happened to set HEALTHCHECK_VERSION.
var noVariable = []string{"version", "help"}

// readFile reads a secret's file within a time limit.
type readFile func(path string, within time.Duration) (string, error)

// parseConfig turns arguments and environment into a configuration. It is
// pure but for read, which serves HEALTHCHECK_…_FILE. Its error is a
// *usageError and holds no secret.
func parseConfig(args, environ []string, read readFile) (*config, error) {
	fs, r := newFlags()
	if err := fs.Parse(args); err != nil {
		return nil, flagError(fs, err)
	}
	if fs.NArg() > 0 {
		return nil, argumentError(fs.Arg(0))
	}
	if r.version || r.help {
		return &config{version: r.version, help: r.help}, nil
	}
	if err := applyEnviron(fs, r, environ, read); err != nil {
		return nil, err
	}
	return r.resolve(fs)
}

// flagError puts pflag's complaints into this program's words.
func flagError(fs *pflag.FlagSet, err error) error {
	const help = "healthcheck --help lists the flags"
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := "--" + e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() != "" {
			name = "-" + e.GetSpecifiedName()
		}
		if near := nearest(e.GetSpecifiedName(), flagNames(fs)); near != "" {
			return usagef("did you mean --"+near+"?", "unknown flag %s", probe.Clean(name))
		}
		return usagef(help, "unknown flag %s", probe.Clean(name))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usagef("--"+e.GetFlag().Name+" "+e.GetFlag().Value.Type(), "--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return valueError("--"+e.GetFlag().Name, e.GetFlag(), e.GetValue(), e.Unwrap())
	}
	return usagef(help, "malformed argument")
}

// valueError says what is wrong with the value of a flag or of its variable.
func valueError(source string, f *pflag.Flag, value string, err error) error {
	want, ok := errors.AsType[wantError](err)
	switch {
	case ok:
	case f.Value.Type() == "bool":
		want = "want true or false"
	case f.Value.Type() == "int":
		want = "want a whole number"
	default:
		want = "not valid"
	}
	return usagef("for example: "+example(f), "%s %q: %s", source, clip(value), want)
}

func example(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "--" + f.Name
	case "DURATION":
		return "--" + f.Name + " 2s"
	case "PERCENT", "NUMBER":
		return "--" + f.Name + " 80"
	case "SIZE":
		return "--" + f.Name + " 4GiB"
	}
	return "--" + f.Name + " 3"
}

func argumentError(arg string) error {
	hint := "healthcheck --help lists the flags"
	if scheme, _, ok := strings.Cut(arg, "://"); ok {
		// A target holds a password more often than not: it is not repeated.
		return usagef("name the layer that it belongs to: --api, --db or --vector", "unexpected argument: a %s URL", clip(scheme))
	}
	if strings.HasPrefix(arg, "/") {
		hint = "name the layer that it belongs to: --api, --db or --vector"
	}
	return usagef(hint, "unexpected argument %q", clip(arg))
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func flagNames(fs *pflag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

const (
	envPrefix  = "HEALTHCHECK_"
	fileSuffix = "_FILE"
)

func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serviceLink matches the variables that Kubernetes and Docker's links set in
// every container beside a service that is called healthcheck.
var serviceLink = pattern(`^HEALTHCHECK_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// applyEnviron sets every flag that was not given from its variable, or from
// the file that the variable with _FILE behind its name points to.
func applyEnviron(fs *pflag.FlagSet, r *raw, environ []string, read readFile) error {
	vars := map[string]string{}
	kubernetes := false
	var names []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		kubernetes = kubernetes || name == "KUBERNETES_SERVICE_HOST"
		if strings.HasPrefix(name, envPrefix) && value != "" {
			names = append(names, name)
			vars[name] = value
		}
	}
	flags := map[string]*pflag.Flag{}
	var known []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(noVariable, f.Name) {
			flags[variable(f.Name)] = f
			known = append(known, variable(f.Name))
		}
	})
	for _, name := range names {
		_, isVar := flags[name]
		_, isFile := flags[strings.TrimSuffix(name, fileSuffix)]
		if !isVar && !isFile && !(kubernetes && serviceLink(name)) {
			return usagef(variableHint(name, fs), "unknown variable %s", clip(probe.Clean(name)))
		}
	}
	// The timeout first: it bounds how long the files may take.
	slices.SortStableFunc(known, func(a, b string) int { return boolInt(b == variable("timeout")) - boolInt(a == variable("timeout")) })
	for _, name := range known {
		if err := r.applyVariable(flags[name], name, vars, read); err != nil {
			return err
		}
	}
	return nil
}

// variableHint says which variable was meant.
func variableHint(name string, fs *pflag.FlagSet) string {
	flag := strings.TrimPrefix(strings.TrimSuffix(name, fileSuffix), envPrefix)
	flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-"))
	if slices.Contains(noVariable, flag) {
		return "--" + flag + " has no variable: every probe would succeed"
	}
	if near := nearest(flag, flagNames(fs)); near != "" && !slices.Contains(noVariable, near) {
		return "did you mean " + variable(near) + "?"
	}
	return "a variable is a flag's name: --cpu-max is " + variable("cpu-max")
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// applyVariable sets one flag, unless it was given.
func (r *raw) applyVariable(f *pflag.Flag, name string, vars map[string]string, read readFile) error {
	value, isSet := vars[name]
	path, isFile := vars[name+fileSuffix]
	switch {
	case !isSet && !isFile, f.Changed: // a flag wins over its variable
		return nil
	case isSet && isFile:
		return usagef("unset one of them", "%s and %s are both set", name, name+fileSuffix)
	case isFile:
		text, err := read(path, time.Duration(r.timeout))
		if err != nil {
			return usagef("the file must be readable by the user that the probe runs as", "%s: reading %q: %s", name+fileSuffix, clip(path), err)
		}
		value = strings.TrimSpace(text)
		name += fileSuffix
		if value == "" {
			return usagef("put the value into it", "%s: %q is empty", name, clip(path))
		}
	}
	if list, ok := f.Value.(*listValue); ok {
		list.setAll(value)
	} else if err := f.Value.Set(value); err != nil {
		return valueError(name, f, value, err)
	}
	f.Changed = true
	r.variables[f.Name] = name
	return nil
}

// resolve checks the flags together and builds the configuration.
func (r *raw) resolve(fs *pflag.FlagSet) (*config, error) {
	c := &config{
		interval: time.Duration(r.interval), timeout: time.Duration(r.timeout), checkTimeout: time.Duration(r.checkTimeout),
		cpuWindow: time.Duration(r.cpuWindow), failFast: r.failFast, optional: r.optional,
		cpuMax: float64(r.cpuMax), memMax: float64(r.memMax), diskMax: float64(r.diskMax),
		inodeMax: float64(r.inodeMax), pidsMax: float64(r.pidsMax), netErrorsMax: float64(r.netErrorsMax),
		stateDir: r.stateDir, quiet: r.quiet, source: r.source,
	}
	if !fs.Changed("check-timeout") {
		c.checkTimeout = min(c.checkTimeout, c.timeout)
	}
	switch {
	case c.timeout >= c.interval:
		return nil, usagef("set --timeout below the interval, so that probes never overlap",
			"%s %s is not shorter than %s %s", r.source("timeout"), c.timeout, r.source("interval"), c.interval)
	case c.checkTimeout > c.timeout:
		return nil, usagef("set --check-timeout to --timeout or less",
			"%s %s exceeds %s %s", r.source("check-timeout"), c.checkTimeout, r.source("timeout"), c.timeout)
	case c.stateDir != "" && c.stateDir != "none" && !filepath.IsAbs(c.stateDir):
		return nil, usagef("give an absolute path, or none", "%s %q is not absolute", r.source("state-dir"), clip(c.stateDir))
	}
	switch r.output {
	case "json":
		c.json = true
	case "text":
	default:
		return nil, usagef("--output text or --output json", "%s %q: want text or json", r.source("output"), clip(r.output))
	}
	c.diskPaths = r.diskPaths
	if len(c.diskPaths) == 0 {
		c.diskPaths = []string{"/"}
	}
	for _, p := range c.diskPaths {
		if !filepath.IsAbs(p) {
			return nil, usagef("--disk-path /data", "%s %q is not absolute", r.source("disk-path"), clip(p))
		}
	}
	if err := r.resolveGPU(fs, c); err != nil {
		return nil, err
	}
	if err := r.resolveLayers(c); err != nil {
		return nil, err
	}
	if err := r.resolveHTTP(c); err != nil {
		return nil, err
	}
	return c, r.resolveTargets(c)
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
			return usagef(hint, "%s: unknown layer %q", r.source("layers"), clip(l))
		}
		if !slices.Contains(c.layers, l) {
			c.layers = append(c.layers, l)
		}
	}
	return nil
}

func (r *raw) resolveHTTP(c *config) error {
	h := &c.http
	h.Header = http.Header{}
	h.MaxRedirects, h.Proxy = r.maxRedirects, r.proxy
	h.TLS = probe.TLSOptions{CACert: r.caCert, Insecure: r.insecure}
	h.UserAgent = "healthcheck/" + buildVersion()
	var err error
	if h.Method, err = probe.ParseMethod(r.method); err != nil {
		return usagef("--method HEAD", "%s %q: want the name of an HTTP method", r.source("method"), clip(r.method))
	}
	if h.Status, err = probe.ParseStatus(r.status); err != nil {
		return usagef("--expect-status 200,204 or --expect-status 2xx", "%s %q: want HTTP status codes", r.source("expect-status"), clip(r.status))
	}
	if r.body != "" {
		if h.Body, err = regexp.Compile(r.body); err != nil {
			return usagef("the syntax is RE2's", "%s %q: not a regular expression", r.source("expect-body"), clip(r.body))
		}
	}
	for _, e := range r.expectJSON {
		j, err := probe.ParseJSONExpect(e)
		if err != nil {
			return usagef("--expect-json status=ok", "%s %q: want PATH=VALUE", r.source("expect-json"), clip(e))
		}
		h.JSON = append(h.JSON, j)
	}
	for i, line := range r.headers {
		if err := probe.AddHeader(h.Header, line); err != nil {
			return usagef("--header 'Accept: text/plain'; a secret one goes into HEALTHCHECK_HEADER_FILE", "%s number %d: want NAME: VALUE", r.source("header"), i+1)
		}
	}
	if h.MaxRedirects < 0 {
		return usagef("--max-redirects 0 follows none", "%s %d: want 0 or more", r.source("max-redirects"), h.MaxRedirects)
	}
	return nil
}

func (r *raw) resolveTargets(c *config) error {
	base, err := url.Parse(r.baseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return usagef("--base-url "+defaultBaseURL, "%s: want an http or https URL with a host and no query", r.source("base-url"))
	}
	c.targets = map[string][]probe.Target{}
	for _, layer := range []string{layerAPI, layerDB, layerVector} {
		texts := *r.targets[layer]
		if len(texts) == 0 {
			texts = []string{defaultPath(layer)}
		}
		for i, text := range texts {
			t, err := probe.ParseTarget(text, base)
			if err != nil {
				return targetError(r.source(layer), i, len(texts), err)
			}
			c.targets[layer] = append(c.targets[layer], t)
		}
	}
	return nil
}

// targetError names a target by its place: its text may hold a password.
func targetError(source string, i, n int, err error) error {
	which := source
	if n > 1 {
		which = fmt.Sprintf("%s number %d", source, i+1)
	}
	hint := "a target is a path (/health) or a URL (http://localhost:5000/health, tcp://db:5432)"
	if ue, ok := errors.AsType[*usageError](err); ok {
		hint = ue.hint
	}
	return usagef(hint, "%s: %s", which, err)
}

// nearest returns the candidate that is closest to what was written, if any
// is close enough to be meant.
func nearest(s string, candidates []string) string {
	best, bestDistance := "", len(s)/3+2
	for _, c := range candidates {
		if d := distance(s, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is Levenshtein's: the edits between two short texts.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := boolInt(a[i-1] != b[j-1])
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
