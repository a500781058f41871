package lint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/sirupsen/logrus"
)

// nowhere refuses every file that extends or include name, so that fuzzed text
// reads nothing.
type nowhere struct{}

func (nowhere) Accept(string) bool { return true }
func (nowhere) Load(context.Context, string) (string, error) {
	return "", errors.New("no such file")
}
func (nowhere) Dir(string) string { return "/" }

// seeds adds the fixtures to a fuzz test's own seeds.
func seeds(f *testing.F, patterns ...string) {
	f.Helper()
	n := 0
	for _, pattern := range patterns {
		files, err := filepath.Glob("../../testdata/lint/" + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			n++
		}
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

// printed checks what every format makes of findings: text is one line each and
// printable, JSON and SARIF parse.
func printed(t *testing.T, target Target) {
	all := Check(target, Options{})
	for name, format := range Formats {
		var out bytes.Buffer
		format(&out, all, "v1")
		switch name {
		case "json", "sarif":
			if !json.Valid(out.Bytes()) {
				t.Errorf("%s: %q", name, out.String())
			}
		case "text":
			if strings.Count(out.String(), "\n") != 2*len(all)+1 {
				t.Errorf("%q", out.String())
			}
		case "github":
			if strings.Count(out.String(), "\n") != len(all) {
				t.Errorf("%q", out.String())
			}
		}
	}
	for _, f := range all {
		for _, s := range []string{f.Service, f.Message, f.Instead} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x1b\x00") || len(s) > 2000 {
				t.Errorf("%q", s)
			}
		}
		if f.Line < 1 {
			t.Errorf("%+v", f)
		}
	}
}

func FuzzCompose(f *testing.F) {
	logrus.SetOutput(io.Discard)
	seeds(f, "rules/*.yaml", "forms/*/compose.yaml", "refused/*.yaml", "public/*.yaml")
	f.Add([]byte("services: {a: {image: 'x\x1b[31m', healthcheck: {test: [CMD, \"\\e[31m x\\n y\"]}}}"))
	f.Add([]byte("a: &a [*a]\nservices: {a: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(string) ([]byte, error) {
			return []byte("FROM scratch\nHEALTHCHECK CMD curl x\n"), nil
		}
		target, err := Compose(t.Context(), ComposeInput{Files: []File{{"c.yaml", data}}, Dir: "/nowhere", Read: read, Resources: []loader.ResourceLoader{nowhere{}}})
		if refused, ok := errors.AsType[*ComposeError](err); ok {
			if refused.Reason == "" || refused.Hint == "" || strings.Contains(refused.Reason, "\n") {
				t.Errorf("%+v", refused)
			}
			return
		}
		if err != nil {
			t.Errorf("%v", err)
		}
		printed(t, target)
	})
}

func FuzzKubernetes(f *testing.F) {
	seeds(f, "kubernetes/*.yaml")
	f.Add([]byte("items: &i [{items: *i}]"))
	f.Add([]byte("spec: {containers: [{name: \"a\\nb\", image: \"\\x1b\", livenessProbe: {exec: {command: [\"\\n x\"]}}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		target, err := Kubernetes([]File{{"k.yaml", data}})
		if err == nil {
			printed(t, target)
		}
	})
}

func FuzzDockerfile(f *testing.F) {
	seeds(f, "forms/*/*/Dockerfile", "forms/*/*/*.dockerfile", "public/*/Dockerfile", "seed/Dockerfile")
	f.Add([]byte("FROM a\nENV a\nHEALTHCHECK --interval= CMD\nHEALTHCHECK\nCMD [\nARG"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseDockerfile(data, "", map[string]string{"BASE": "x"}, nil)
		if err == nil && b.Health == HealthSeen && (len(b.Probe.Test) < 2 || b.Line < 1 || b.Probe.Interval <= 0) {
			t.Errorf("%+v", b)
		}
	})
}

func FuzzProbe(f *testing.F) {
	for _, s := range []string{"curl -f http://x || exit 1", "a & b", "timeout 5 env A=b curl", "exec", "env", "sh -c 'x'", "timeout -s", "$(curl x)", "if x; then y; fi", "! curl x", "curl -u a:b -fu", "{ a; }", "x | y", "<<E\nE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := defaultProbe()
		for _, test := range [][]string{{"CMD-SHELL", text}, append([]string{"CMD"}, strings.Fields(text)...), {"CMD", "sh", "-c", text}} {
			p.Test = test
			s := Subject{Kind: FromCompose, Name: "s", Watched: true, Health: HealthSeen, Probes: []Probe{p}, Hosts: []string{"x"}, Command: test[1:], Image: Image{Name: "scratch"}, Places: map[string]Place{"": {"f", 1}}}
			printed(t, Target{Subjects: []Subject{s}})
		}
	})
}

func FuzzScript(f *testing.F) {
	seeds(f, "seed/health_check.py", "forms/*/*/*/*.py")
	f.Add([]byte("'''\n\"\\"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if pythonLimit(string(data)) < 0 || scriptLimit("x.sh", string(data)) < 0 {
			t.Error("a limit below 0")
		}
	})
}

// What the library fills in without a warning is known, and what it leaves
// empty is not.
func FuzzUnset(f *testing.F) {
	for _, s := range []string{"$A", "${A}", "${A:-x}", "${A-${B}}", "${A:+x}", "${SET}", "${SET:+${A}}", "$$A", "${EMPTY:-x}", "${EMPTY-x}", "${A:?x}", "${", "$", "${A:-${B:-c}}d$E"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		vars := map[string]string{"SET": "1", "EMPTY": ""}
		unsetIn(text, func(k string) (string, bool) { v, ok := vars[k]; return v, ok }, 0)
	})
}

func TestUnsetIn(t *testing.T) {
	vars := map[string]string{"SET": "1", "EMPTY": ""}
	for text, want := range map[string]string{
		"": "", "x": "", "$A": "A", "a${A}b": "A", "${A:-x}": "", "${A-x}": "", "${A:-$B}": "B", "${A:-${B:-x}}": "", "${A-${B}}": "B",
		"$SET": "", "${SET}": "", "${SET:-$A}": "", "${EMPTY:-$A}": "A", "${EMPTY-$A}": "", "${EMPTY}": "", "${A:+x}": "A", "${SET:+$A}": "A", "${SET:+x}": "",
		"$$A": "", "$$$A": "A", "${A:?x}": "A", "${SET:?x}": "", "$SET$A": "A", "${SET}x${A:-1}": "", "$": "", "${": "", "$1": "",
	} {
		if got := unsetIn(text, func(k string) (string, bool) { v, ok := vars[k]; return v, ok }, 0); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
