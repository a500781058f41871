package flags

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// environFor has flags of each kind; files are what variables with _FILE name.
func environFor(files map[string]string) (*Environ, *[]string) {
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	var list []string
	fs.Int("max-attempts", 3, "")
	fs.String("state-file", "", "")
	fs.Var(&List{Values: &list, Begins: Anything, Kind: "NAME"}, "services", "")
	fs.StringArray("compose", nil, "")
	fs.Bool("help", false, "")
	return &Environ{Prefix: "X_", Flags: fs, None: map[string]string{"help": "nothing would run"}, Others: []string{"output"}, Foreign: []string{"X_PID"},
		Example: func(f *pflag.Flag) string { return "--" + f.Name + " 3" }, Sample: "max-attempts", Reader: "may it be read?",
		Verbatim: []string{"state-file"},
		Read: func(path string) (string, error) {
			if text, ok := files[path]; ok {
				return text, nil
			}
			return "", errors.New("no such file")
		}}, &list
}

func TestEnviron(t *testing.T) {
	for _, c := range []struct{ environ, want, hint string }{
		{"X_MAX_ATTEMPTS=5 X_MAX_ATTEMPTS=6", `X_MAX_ATTEMPTS "5"`, ""},
		{"X_MAX_ATTEMPTS=", `--max-attempts "3"`, ""},
		{"X_MAX_ATTEMPTS_FILE=/five", "X_MAX_ATTEMPTS_FILE", ""},
		{"X_OUTPUT=json X_OUTPUT_FILE=/five X_PID=1 Y_FOO=1 XX=1", `--max-attempts "3"`, ""},
		{"X_MAX_ATTEMPTS=many", `X_MAX_ATTEMPTS "many": want a whole number`, "for example: --max-attempts 3"},
		{"X_MAX_ATTEMPTS_FILE=/secret", "X_MAX_ATTEMPTS_FILE: want a whole number", "for example: --max-attempts 3"},
		{"X_MAX_ATTEMPTS_FILE=/empty", `X_MAX_ATTEMPTS_FILE: "/empty" is empty`, "put the value into it"},
		{"X_MAX_ATTEMPTS_FILE=/none", `X_MAX_ATTEMPTS_FILE: reading "/none": no such file`, "may it be read?"},
		{"X_MAX_ATTEMPTS_FILE=hunter2", "X_MAX_ATTEMPTS_FILE: reading the file: no such file", "the path of a file belongs there; a value goes into X_MAX_ATTEMPTS"},
		{"X_MAX_ATTEMPTS=5 X_MAX_ATTEMPTS_FILE=/five", "X_MAX_ATTEMPTS and X_MAX_ATTEMPTS_FILE are both set", "unset one of them"},
		{`X_MAX_ATTEMPTS="5"`, "X_MAX_ATTEMPTS: the value stands in quotes", "leave them out: an env file keeps quotes as part of the value"},
		{"X_MAX_ATTEMPTS_FILE=/quoted", "X_MAX_ATTEMPTS_FILE: the value stands in quotes", "leave them out: an env file keeps quotes as part of the value"},
		{`X_MAX_ATTEMPTS="a""`, `X_MAX_ATTEMPTS "\"a\"\"": want a whole number`, "for example: --max-attempts 3"},
		{`X_STATE_FILE="x"`, `--max-attempts "3"`, ""},
		{"X_MAX_ATEMPTS=5", "unknown variable X_MAX_ATEMPTS", "did you mean X_MAX_ATTEMPTS?"},
		{"X_MAX_ATEMPTS_FILE=/five", "unknown variable X_MAX_ATEMPTS_FILE", "did you mean X_MAX_ATTEMPTS?"},
		{"X_OUTPTU=json", "unknown variable X_OUTPTU", "did you mean X_OUTPUT?"},
		{"X_HELP=1", "unknown variable X_HELP", "--help has no variable: nothing would run"},
		{"X_\x1b[2J=1", `unknown variable X_\x1b[2J`, "a variable is a flag's name: --max-attempts is X_MAX_ATTEMPTS"},
		{"X_STATE_FILE=/x", `--max-attempts "3"`, ""},
		{"X_STATE_FILE_FILE=/five", `--max-attempts "3"`, ""},
	} {
		e, _ := environFor(map[string]string{"/five": " 5\n", "/secret": "hunter2", "/quoted": "'hunter2'\n", "/empty": " \n"})
		err := e.Apply(strings.Fields(c.environ))
		got, hint := e.Given("max-attempts"), ""
		if ue, ok := errors.AsType[*Error](err); ok {
			got, hint = ue.Problem, ue.Hint
		}
		if got != c.want || hint != c.hint {
			t.Errorf("%q: %s; %s\nwant %s; %s", c.environ, got, hint, c.want, c.hint)
		}
	}
}

// Where images have variables of that prefix for themselves, only what may be a
// misspelt one is refused.
func TestEnvironLenient(t *testing.T) {
	for variable, refused := range map[string]bool{"X_MAX_ATEMPTS": true, "X_MAXATTEMPTS_FILE": true, "X_STATEFILE": true, "X_COMPOSED": true, "X_OUTPTU": true, "X_HELP": true,
		"X_PORT": false, "X_ENDPOINT": false, "X_URL": false, "X_ATTEMPTS": false, "X_": false, "X_URL_FILE": false} {
		e, _ := environFor(nil)
		e.Lenient = true
		err := e.Apply([]string{variable + "=1", "X_MAX_ATTEMPTS=5"})
		if (err != nil) != refused || !refused && (len(e.Ignored) != 1 || e.Ignored[0] != variable || e.Given("max-attempts") != `X_MAX_ATTEMPTS "5"`) {
			t.Errorf("%s: %v, ignored %q", variable, err, e.Ignored)
		}
	}
}

// A variable holds several values; a flag wins over it.
func TestEnvironLists(t *testing.T) {
	e, services := environFor(nil)
	if err := e.Apply([]string{"X_SERVICES=a,b\n c,,", "X_COMPOSE=one,two.yml\nthree.yml"}); err != nil {
		t.Fatal(err)
	}
	compose, _ := e.Flags.GetStringArray("compose")
	if got := strings.Join(*services, " "); got != "a b c" || strings.Join(compose, " ") != "one,two.yml three.yml" {
		t.Errorf("%q and %q", got, compose)
	}
	e, services = environFor(nil)
	if err := e.Flags.Parse([]string{"--services", "z"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply([]string{"X_SERVICES=a"}); err != nil || strings.Join(*services, " ") != "z" {
		t.Errorf("%q, %v", *services, err)
	}
}

func TestServiceLinks(t *testing.T) {
	for _, c := range []struct {
		environ string
		known   bool
	}{
		{"X_SERVICE_HOST=10.0.0.2", true},
		{"X_SERVICE_HOST=fd00::2", true},
		{"X_SERVICE_HOST=node7", false},
		{"X_SERVICE_PORT=80", true},
		{"X_SERVICE_PORT_HTTP_METRICS=80", true},
		{"X_SERVICE_PORT=http", false},
		{"X_PORT=tcp://10.0.0.2:80", true},
		{"X_PORT=tcp://[fd00::2]:80", true},
		{"X_PORT=80", false},
		{"X_PORT=http://10.0.0.2:80", false},
		{"X_PORT_80_TCP=tcp://10.0.0.2:80", true},
		{"X_PORT_53_UDP_PROTO=udp", true},
		{"X_PORT_80_TCP_PORT=80", true},
		{"X_PORT_80_TCP_ADDR=10.0.0.2", true},
		{"X_PORT_80_TCP_ADDR=node7", false},
		{"X_PORT_HTTP_TCP_ADDR=10.0.0.2", false},
		{"X_PORT_80_TCP_PROTO=udp", false},
		{"X_UI_SERVICE_HOST=10.0.0.2", true},
		{"X_UI_PORT_8080_TCP_ADDR=10.0.0.2", true},
		{"X_UI_PORT=tcp://10.0.0.2:80", true},
		{"X_NAME=/web/x X_ENV_PASSWORD=y", true},
		{"X_1_NAME=/web/x X_1_ENV_A_B=y", true},
		{"X_ENV_PASSWORD=y", false},
		{"X_NAME=node7", false},
		{"X_=1", false},
		{"X_TCP=tcp://10.0.0.2:80", false},
		{"X_ADDR=10.0.0.2", false},
		{"X_FILE=/x", false},
	} {
		e, _ := environFor(nil)
		if err := e.Apply(strings.Fields(c.environ)); (err == nil) != c.known {
			t.Errorf("%s: %v", c.environ, err)
		}
	}
}

// No file holds the program up, and none is larger than 64 KiB.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	fifo := dir + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for path, want := range map[string]string{fifo: "not a regular file", "/dev/zero": "not a regular file", dir: "not a regular file", dir + "/none": "no such file or directory"} {
		if _, err := ReadFile(ctx, path); err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("no answer in time"))
	if _, err := ReadFile(ended, "/dev/zero"); err == nil {
		t.Error("no error")
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"max-attempts", "max-restarts", "notify", "host"}
	for text, want := range map[string]string{"max-atempts": "max-attempts", "notfy": "notify", "hots": "host", "": "", "backoff": "", strings.Repeat("x", 100000): ""} {
		if got := Nearest(text, candidates); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}
