// Package kubernetes holds manifests; its tests decode them as strictly as an
// API server does, and run what their probes call.
package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// decoder is one to which an unknown or doubled field is an error.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(appsv1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// decode returns the objects of a file.
func decode(t *testing.T, file string) []runtime.Object {
	t.Helper()
	strict := decoder(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := strict.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		objects = append(objects, o)
	}
}

// pods are the pod specifications of every manifest here, by file and name.
func pods(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	found := map[string]corev1.PodSpec{}
	for _, file := range files {
		for _, o := range decode(t, file) {
			switch o := o.(type) {
			case *appsv1.Deployment:
				found[file+" "+o.Name] = o.Spec.Template.Spec
				for key, value := range o.Spec.Selector.MatchLabels {
					if o.Spec.Template.Labels[key] != value {
						t.Errorf("%s: the selector does not match the template", file)
					}
				}
			case *corev1.Pod:
				found[file+" "+o.Name] = o.Spec
			case *corev1.Service:
			default:
				t.Errorf("%s: %T is not looked at", file, o)
			}
		}
	}
	return found
}

// probes are those that a container has, by kind.
func probes(c corev1.Container) map[string]*corev1.Probe {
	all := map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
	maps.DeleteFunc(all, func(_ string, p *corev1.Probe) bool { return p == nil })
	return all
}

func TestStrictDecodingIsStrict(t *testing.T) {
	strict := decoder(t)
	for _, doc := range []string{"apiVersion: v1\nkind: Pod\nspec:\n  container: []\n", "apiVersion: v1\nkind: Pod\nkind: Pod\n"} {
		if _, _, err := strict.Decode([]byte(doc), nil, nil); err == nil {
			t.Errorf("%q was taken", doc)
		}
	}
}

// flagValue returns the value behind a flag of a probe's command.
func flagValue(t *testing.T, command []string, name string) string {
	t.Helper()
	i := slices.Index(command, name)
	if i < 0 || i+1 == len(command) {
		t.Fatalf("%v has no %s", command, name)
	}
	return command[i+1]
}

// The probe must have ended, and said why, before the kubelet kills it and
// throws its output away; and it must never overlap the next one.
func TestTimeouts(t *testing.T) {
	for name, spec := range pods(t) {
		for _, c := range spec.Containers {
			all := probes(c)
			if all["liveness"] == nil || all["readiness"] == nil {
				t.Errorf("%s: %s has not both probes: %v", name, c.Name, all)
			}
			for kind, p := range all {
				duration := func(flag string) time.Duration {
					d, err := time.ParseDuration(flagValue(t, p.Exec.Command, flag))
					if err != nil {
						t.Fatal(err)
					}
					return d
				}
				const slack = 100 * time.Millisecond // that the process may take beyond its deadline
				own, interval := duration("--timeout"), duration("--interval")
				kubelet := time.Duration(max(1, p.TimeoutSeconds)) * time.Second // 1 by default
				period := time.Duration(p.PeriodSeconds) * time.Second
				if own+slack >= kubelet || kubelet >= period || interval != period {
					t.Errorf("%s: %s: own timeout %s, timeoutSeconds %s, periodSeconds %s, --interval %s", name, kind, own, kubelet, period, interval)
				}
				if kind == "startup" && period*time.Duration(p.FailureThreshold) < 5*time.Minute {
					t.Errorf("%s: a slow model load has %s", name, period*time.Duration(p.FailureThreshold))
				}
			}
		}
	}
}

// Pod Security's profile restricted (kubernetes.io/docs/concepts/security/
// pod-security-standards) admits every pod; an image that the node has is used,
// and no service of the namespace sets variables.
func TestPodsAreRestricted(t *testing.T) {
	for name, spec := range pods(t) {
		if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
			t.Errorf("%s: service links are on", name)
		}
		if spec.HostNetwork || spec.HostPID || spec.HostIPC {
			t.Errorf("%s: a namespace of the host's", name)
		}
		for _, v := range spec.Volumes {
			if v.HostPath != nil {
				t.Errorf("%s: the volume %s is the host's", name, v.Name)
			}
		}
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			s := c.SecurityContext
			switch {
			case s == nil:
				t.Errorf("%s: %s has no securityContext", name, c.Name)
			case s.RunAsNonRoot == nil || !*s.RunAsNonRoot, s.RunAsUser == nil || *s.RunAsUser == 0,
				s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation,
				s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0,
				s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
				t.Errorf("%s: %s is not restricted: %+v", name, c.Name, *s)
			}
			if c.ImagePullPolicy != corev1.PullIfNotPresent {
				t.Errorf("%s: %s pulls %q", name, c.Name, c.ImagePullPolicy)
			}
		}
	}
}

// What the probes run comes from a volume that something fills.
func TestTheProbeIsThere(t *testing.T) {
	for name, spec := range pods(t) {
		filled := map[string]bool{}
		for _, v := range spec.Volumes {
			filled[v.Name] = v.Image != nil
		}
		for _, c := range spec.InitContainers {
			for _, m := range c.VolumeMounts {
				if slices.Equal(c.Command, []string{"/healthcheck", "install", m.MountPath + "/healthcheck"}) {
					filled[m.Name] = true
				}
			}
		}
		for _, c := range spec.Containers {
			path := c.LivenessProbe.Exec.Command[0]
			i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == filepath.Dir(path) })
			if i < 0 || !filled[c.VolumeMounts[i].Name] || !c.VolumeMounts[i].ReadOnly {
				t.Errorf("%s: %s calls %s, which no volume brings", name, c.Name, path)
			}
		}
	}
}

// Each probe's command is run as it stands against the application's
// endpoints, with the database up and down.
func TestWhatEachProbeLooksAt(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "healthcheck")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/healthcheck")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var databaseDown atomic.Bool
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/db/health", "/ready":
			if databaseDown.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		case "/health", "/vector/health":
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(app.Close)
	call := func(command []string) (string, int) {
		cmd := exec.CommandContext(t.Context(), binary, command[1:]...)
		// A Service called healthcheck-api in the namespace, whose links are on.
		cmd.Env = []string{"HEALTHCHECK_BASE_URL=" + app.URL, "KUBERNETES_SERVICE_HOST=10.96.0.1", "HEALTHCHECK_API_SERVICE_HOST=10.96.0.7", "HEALTHCHECK_API_SERVICE_PORT=80",
			"HEALTHCHECK_API_SERVICE_PORT_HTTP=80", "HEALTHCHECK_API_PORT=tcp://10.96.0.7:80", "HEALTHCHECK_API_PORT_80_TCP=tcp://10.96.0.7:80",
			"HEALTHCHECK_API_PORT_80_TCP_PROTO=tcp", "HEALTHCHECK_API_PORT_80_TCP_PORT=80", "HEALTHCHECK_API_PORT_80_TCP_ADDR=10.96.0.7"}
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	for name, spec := range pods(t) {
		for _, c := range spec.Containers {
			for kind, p := range probes(c) {
				for _, down := range []bool{false, true} {
					databaseDown.Store(down)
					want := 0
					if down && kind == "readiness" {
						want = 1
					}
					if out, code := call(p.Exec.Command); code != want || strings.Contains(out, "error:") {
						t.Errorf("%s: %s, database down %v: exit %d, want %d: %s", name, kind, down, code, want, out)
					}
				}
			}
		}
	}
}
