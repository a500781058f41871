package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"healthcheck/cmd/flags"
)

// binary is the program as users get it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "watchdog-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "watchdog")
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building watchdog: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// TestUsageErrors replays testdata/usage.txt: after "$", variables and
// arguments, then exactly what the program prints, with exit code 1. No secret,
// which is called hunter2 there, is repeated.
func TestUsageErrors(t *testing.T) {
	text, err := os.ReadFile("testdata/usage.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := strings.Split(string(text), "\n$")[1:]
	if len(cases) < 70 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		line, want, _ := strings.Cut(c, "\n")
		want = strings.TrimSpace(want) + "\n"
		args, environ := strings.Fields(line), []string{}
		for len(args) > 0 && strings.ToUpper(strings.Split(args[0], "=")[0]) == strings.Split(args[0], "=")[0] && !strings.HasPrefix(args[0], "-") {
			environ, args = append(environ, args[0]), args[1:]
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // what is not refused may run on
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = environ
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		cancel()
		if code := cmd.ProcessState.ExitCode(); code != 1 || out.Len() > 0 || errs.String() != want {
			t.Errorf("%s\nexit %d, stdout %q, got:\n%swant:\n%s", line, code, out.String(), errs.String(), want)
		}
		if strings.Contains(errs.String(), "hunter2") {
			t.Errorf("%s: a secret in %q", line, errs.String())
		}
	}
}

// help runs the built program, which has to print its help.
func help(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = []string{"WATCHDOG_NONSENSE=1"} // the help is there for those who do not know better
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("%q: %v: %s", args, err, errs.String())
	}
	for line := range strings.Lines(string(out)) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("%q: %d columns: %s", args, utf8.RuneCountInString(line)-1, line)
		}
	}
	return string(out)
}

func TestHelp(t *testing.T) {
	list := help(t, "help")
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help", "--help"}, {"help", "help"}} {
		if text := help(t, args...); args[len(args)-1] != "help" && text != list {
			t.Errorf("%q:\n%s", args, text)
		}
	}
	withFlags := 0
	for _, c := range commands() {
		if !strings.Contains(list, "\n  "+c.name+" ") {
			t.Errorf("watchdog help lacks %s:\n%s", c.name, list)
		}
		text := help(t, c.name, "--help")
		if c.name != "help" && (!strings.HasPrefix(text, strings.TrimSpace("Usage: watchdog "+c.name+" "+c.arguments)) || text != help(t, "help", c.name) || text != help(t, c.name, "-h")) {
			t.Errorf("%s --help:\n%s", c.name, text)
		}
		if c.flags == nil {
			continue
		}
		withFlags++
		listed := regexp.MustCompile(`(?m)^  (?:-[a-z], )?--([a-z-]+)(?: (\S+))?`).FindAllStringSubmatch(text, -1)
		names := flags.Names(c.flags())
		if len(listed) != len(names)+1 || listed[len(names)][1] != "help" {
			t.Errorf("%s --help lists %q, want %q and help", c.name, listed, names)
			continue
		}
		for i, name := range names {
			kind, isBool := listed[i][2], c.flags().Lookup(name).Value.Type() == "bool"
			if listed[i][1] != name || !isBool && (kind == "" || kind != strings.ToUpper(kind)) {
				t.Errorf("%s --help: %q, want --%s and a type in capitals", c.name, listed[i][0], name)
			}
		}
	}
	if withFlags != 9 {
		t.Errorf("%d commands have flags", withFlags)
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		if text := help(t, arg); !strings.HasPrefix(text, "watchdog ") {
			t.Errorf("%s: %s", arg, text)
		}
	}
}
