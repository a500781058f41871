package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"healthcheck/watchdog/recovery"
)

// File is a file as it was read; Name is what findings call it.
type File struct {
	Name string
	Data []byte
}

// ComposeInput is what compose reads: its files in the order of -f, the
// project's directory (absolute), and the variables of the environment and of
// .env.
type ComposeInput struct {
	Files []File
	Dir   string
	Env   map[string]string
	// Profiles are those of COMPOSE_PROFILES. Services of other profiles are
	// judged as well.
	Profiles []string
	// Read reads a further file, a Dockerfile or a script, by its absolute path.
	Read func(path string) ([]byte, error)
	// Resources, where given, stands between the library and the files that
	// extends and include name.
	Resources []loader.ResourceLoader
	Settings  recovery.Settings
}

// Target is what rules are applied to, with the files that it was read from.
type Target struct {
	Subjects []Subject
	Files    []File
}

// ComposeError is what compose says of files that it refuses, and what to do
// about it.
type ComposeError struct{ Reason, Hint string }

func (e *ComposeError) Error() string { return e.Reason }

// Compose reads compose files as compose does, and returns their services by
// name. A file that compose refuses gives a *ComposeError.
func Compose(ctx context.Context, in ComposeInput) (Target, error) {
	unset := &unsetVariables{results: map[string]string{}, names: map[string]bool{}}
	project, err := loadCompose(ctx, in, unset)
	if err != nil {
		return Target{}, &ComposeError{reason(err), hintFor(err, unset)}
	}
	all := project.AllServices()
	places := newLocator(in)
	subjects := map[string]*Subject{}
	for name, s := range all {
		subjects[name] = composeSubject(in, project, s, unset, places)
	}
	completed := map[string]bool{}
	for name, s := range all {
		for other, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				completed[other] = true
			}
			if o := subjects[other]; o != nil {
				n := Need{Service: other, Condition: d.Condition, Health: o.Health, Image: o.Image.Name}
				if len(o.Probes) > 0 {
					n.StartPeriod = o.Probes[0].StartPeriod
				}
				subjects[name].Needs = append(subjects[name].Needs, n)
			}
		}
		slices.SortFunc(subjects[name].Needs, func(a, b Need) int { return cmp.Compare(a.Service, b.Service) })
	}
	t := Target{}
	for _, f := range places.files {
		if !slices.ContainsFunc(t.Files, func(o File) bool { return o.Name == f.Name }) {
			t.Files = append(t.Files, f)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(subjects)) {
		s := subjects[name]
		s.OneShot = completed[name]
		for other := range subjects {
			if other != name {
				s.Hosts = append(s.Hosts, other)
			}
		}
		slices.Sort(s.Hosts)
		t.Subjects = append(t.Subjects, *s)
	}
	slices.SortStableFunc(t.Subjects, func(a, b Subject) int {
		pa, pb := a.at(""), b.at("")
		if pa.File != pb.File {
			return 0
		}
		return cmp.Compare(pa.Line, pb.Line)
	})
	return t, nil
}

// loadCompose lets the library read the files. It leaves out env_file, whose
// variables reach no healthcheck's configuration.
func loadCompose(ctx context.Context, in ComposeInput, unset *unsetVariables) (p *types.Project, err error) {
	defer func() {
		if r := recover(); r != nil { // the library trusts some types, as that of extends.file
			err = fmt.Errorf("compose's library cannot read it: %v", r)
		}
	}()
	details := types.ConfigDetails{WorkingDir: in.Dir, Environment: types.Mapping(maps.Clone(in.Env))}
	if details.Environment == nil {
		details.Environment = types.Mapping{}
	}
	for _, f := range in.Files {
		data := f.Data
		if data == nil {
			data = []byte{} // nil would make the library read the name
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f.Name, Content: data})
	}
	return loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SetProjectName(cmp.Or(loader.NormalizeProjectName(in.Env["COMPOSE_PROJECT_NAME"]), loader.NormalizeProjectName(filepath.Base(in.Dir)), "project"), false)
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = len(in.Resources) > 0
		o.Profiles = in.Profiles
		o.ResourceLoaders = in.Resources
		o.Interpolate.Substitute = unset.substitute
	})
}

// composeSubject is a service as the rules see it.
func composeSubject(in ComposeInput, project *types.Project, s types.ServiceConfig, unset *unsetVariables, places *locator) *Subject {
	out := &Subject{Kind: FromCompose, Name: s.Name, Labels: map[string]string{}, Places: places.service(s.Name), Unset: map[string]string{}}
	for k, v := range s.Labels {
		if unset.results[v] == "" {
			out.Labels[k] = v
		}
	}
	if unset.results[s.Restart] == "" {
		out.RestartPolicy, _, _ = strings.Cut(s.Restart, ":")
		if strings.HasPrefix(s.Restart, "on-failure:") {
			out.RestartPolicy = s.Restart
		}
	}
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil { // compose prefers it
		out.RestartPolicy = map[string]string{"none": "no", "any": "always", "": "always"}[s.Deploy.RestartPolicy.Condition]
		if out.RestartPolicy == "" {
			out.RestartPolicy = s.Deploy.RestartPolicy.Condition
		}
		if n := s.Deploy.RestartPolicy.MaxAttempts; n != nil && out.RestartPolicy == "on-failure" {
			out.RestartPolicy = fmt.Sprintf("on-failure:%d", *n)
		}
	}
	out.Command = slices.Concat(s.Entrypoint, s.Command)
	var base build
	switch {
	case s.Build != nil:
		base = composeBuild(in, s, unset, out, places)
		out.Image = base.Image
		if len(out.Command) == 0 {
			out.Command = base.Command
		}
	case unset.results[s.Image] == "":
		out.Image.Name = s.Image
	}
	for _, v := range s.Volumes {
		out.Image.mount(v.Target)
	}
	out.health(s.HealthCheck, base, unset)
	for i := range out.Probes {
		p := &out.Probes[i]
		p.Env = maps.Clone(base.Env)
		if p.Env == nil {
			p.Env = map[string]string{}
		}
		for k, v := range s.Environment {
			delete(p.Env, k)
			if v != nil && unset.results[*v] == "" {
				p.Env[k] = *v
			}
		}
	}
	labels := maps.Clone(out.Labels)
	labels["com.docker.compose.service"] = s.Name
	seen := out.Health == HealthSeen || out.Health == HealthOfImage
	container := cmp.Or(s.ContainerName, project.Name+"-"+s.Name+"-1")
	out.OtherNames = []string{container}
	out.Watched = in.Settings.Watched(recovery.Container{Name: container, Labels: labels, HasHealthcheck: seen})
	return out
}

// health works out a service's healthcheck, from its own settings over those
// of the image that it builds or names.
func (s *Subject) health(h *types.HealthCheckConfig, base build, unset *unsetVariables) {
	s.Health = base.Health
	probe := base.Probe
	if s.Health == HealthUnseen {
		s.Health = healthOfImage(s.Image)
	}
	if h == nil {
		if s.Health == HealthSeen {
			s.Probes = []Probe{probe}
		}
		return
	}
	if len(h.Test) == 2 && h.Test[0] == "CMD-SHELL" && strings.TrimSpace(h.Test[1]) == "NONE" && !h.Disable {
		s.Health, s.NoneAsText = HealthNone, true
		return
	}
	if h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE" {
		s.Health = HealthNone
		return
	}
	if s.Health != HealthSeen {
		probe = defaultProbe()
	}
	probe.Set, probe.Unknown = maps.Clone(probe.Set), map[string]bool{}
	if len(h.Test) > 0 {
		if probe.Test = slices.Clone(h.Test); len(h.Test) > 1 {
			s.Health = HealthSeen
		}
		for _, w := range h.Test {
			if name := unset.results[w]; name != "" {
				probe.Unknown["test"], s.Unset["healthcheck.test"] = true, name
			}
		}
	} else if s.Health == HealthNone || s.Health == HealthUnseen || s.Health == HealthOfImage {
		// An interval alone changes an image's healthcheck, and brings none.
		return
	}
	for key, d := range map[string]*types.Duration{"interval": h.Interval, "timeout": h.Timeout, "start_period": h.StartPeriod, "start_interval": h.StartInterval} {
		if d != nil && *d > 0 { // 0 is the engine's default
			probe.set(key, time.Duration(*d))
			if name := unset.results[d.String()]; name != "" {
				probe.Unknown[key], s.Unset["healthcheck."+key] = true, name
			}
		}
	}
	if h.Retries != nil && *h.Retries > 0 && *h.Retries < 1e6 {
		probe.Retries, probe.Set["retries"] = int(*h.Retries), true
	}
	s.Probes = []Probe{probe}
}

// composeBuild reads the Dockerfile of a service, where it can be had.
func composeBuild(in ComposeInput, s types.ServiceConfig, unset *unsetVariables, out *Subject, places *locator) build {
	b := s.Build
	args, external := map[string]string{}, slices.Collect(maps.Keys(b.AdditionalContexts))
	for k, v := range b.Args {
		if v == nil {
			if value, ok := in.Env[k]; ok {
				args[k] = value
			}
		} else if unset.results[*v] == "" {
			args[k] = *v
		}
	}
	data, file, offset := []byte(b.DockerfileInline), "", out.at("build.dockerfile_inline")
	if b.DockerfileInline == "" {
		if strings.Contains(b.Context, "://") || unset.results[b.Context] != "" || in.Read == nil {
			return build{Env: map[string]string{}}
		}
		path := filepath.Join(b.Context, cmp.Or(b.Dockerfile, "Dockerfile"))
		if filepath.IsAbs(b.Dockerfile) {
			path = b.Dockerfile
		}
		var err error
		if data, err = in.Read(path); err != nil {
			return build{Env: map[string]string{}}
		}
		file = places.shown(path)
		places.files = append(places.files, File{file, data})
	}
	base, err := parseDockerfile(data, b.Target, args, external)
	if err != nil {
		return build{Env: map[string]string{}}
	}
	// A healthcheck in the compose file takes its own keys from there, and the
	// others from the Dockerfile.
	at := Place{file, base.Line}
	if file == "" {
		at = Place{offset.File, offset.Line + base.Line}
	}
	for _, key := range []string{"healthcheck", "healthcheck.test", "healthcheck.interval", "healthcheck.timeout", "healthcheck.start_period", "healthcheck.retries"} {
		name, inner := strings.CutPrefix(key, "healthcheck.")
		if _, ok := out.Places[key]; ok || base.Health != HealthSeen && !inner || inner && base.Health != HealthSeen {
			continue
		}
		if !inner || name == "test" || base.Probe.Set[name] {
			out.Places[key] = at
		}
	}
	if base.Health == HealthUnseen || base.Health == HealthNone {
		out.Places["image"] = at
	}
	out.Scripts = scriptsOf(in, b.Context, base)
	return base
}

// scriptsOf reads the files of a build's context that a probe's command names.
func scriptsOf(in ComposeInput, context string, b build) map[string]string {
	scripts := map[string]string{}
	if in.Read == nil || len(b.Probe.Test) < 2 || strings.Contains(context, "://") {
		return scripts
	}
	for word := range strings.FieldsSeq(strings.Join(b.Probe.Test[1:], " ")) {
		word = strings.Trim(word, `"'`)
		if !strings.Contains(word, ".") || strings.Contains(word, "://") || strings.HasPrefix(word, "-") {
			continue
		}
		sources := []string{filepath.Base(word)}
		for _, step := range b.Image.Steps { // COPY docker/check.py /usr/local/bin/
			for _, w := range strings.Fields(step) {
				if filepath.Base(w) == filepath.Base(word) && !filepath.IsAbs(w) && filepath.IsLocal(w) {
					sources = append([]string{w}, sources...)
				}
			}
		}
		for _, source := range sources {
			if data, err := in.Read(filepath.Join(context, source)); err == nil && len(data) < 1<<20 {
				scripts[word] = string(data)
				break
			}
		}
	}
	return scripts
}

// reason is what compose says, in one line.
func reason(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "decoding failed due to the following error(s): ", "")
}

// hintFor says what to do about a file that compose refuses.
func hintFor(err error, unset *unsetVariables) string {
	text := err.Error()
	if strings.Contains(text, "oci:/") || strings.Contains(text, "git@") || strings.Contains(text, "https:/") {
		return "nothing is fetched here: docker compose config | watchdog lint -f -"
	}
	if missing, ok := errors.AsType[*template.MissingRequiredError](err); ok {
		return fmt.Sprintf("%s=VALUE in the environment, in .env beside the file, or in --env-file FILE", missing.Variable)
	}
	if len(unset.names) > 0 && (strings.Contains(text, `invalid duration ""`) || strings.Contains(text, "failed to cast") || strings.Contains(text, "invalid hostPort") || strings.Contains(text, "invalid spec")) {
		names := slices.Sorted(maps.Keys(unset.names))
		return fmt.Sprintf("not set: %s; give values in the environment, in .env beside the file, or in --env-file FILE", strings.Join(names[:min(5, len(names))], ", "))
	}
	for _, h := range []struct{ part, hint string }{
		{"top-level object must be a mapping", "the file starts with services:"},
		{"false schema", "there is no such key there: look for a typing error or a wrong indentation"},
		{"required variable", "give the variable a value in the environment, in .env beside the file, or in --env-file FILE"},
		{"invalid interpolation format", "write $$ for a $ that the container is to see"},
		{"invalid duration", "write durations as 30s, 1m30s or 2h"},
		{"healthcheck.test must start", `test: ["CMD", "program", "argument"], or test: a shell's line`},
		{".restart must be a string", `restart: "no", with the quotes`},
		{"must be a", "write that key as the compose file reference has it; text that looks like a number or like true wants quotes"},
		{"additional properties", "there is no such key there: look for a typing error or a wrong indentation"},
		{"not allowed", "there is no such key there: look for a typing error or a wrong indentation"},
		{"no such file", "name a file that exists; paths are relative to the first compose file"},
		{"cannot extend", "extends names a service that the file has"},
		{"undefined service", "add that service, or take it out of depends_on"},
		{"undefined", "declare it at the top level of the file"},
		{"neither an image nor a build", "give the service image: or build:"},
		{"ircular", "break the circle"},
		{"cycle", "break the circle"},
		{"empty compose file", "the file starts with services:"},
		{"failed to parse", "the file is no valid YAML: look at its indentation and quotes"},
	} {
		if strings.Contains(text, h.part) {
			return h.hint
		}
	}
	return "docker compose config says the same; once it accepts the file, so does this"
}
