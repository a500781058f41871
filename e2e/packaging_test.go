package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tool runs a program of this machine on what is packaged, which must take
// seconds at most.
func tool(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// unitRoot is a root directory with this machine's units and ours.
func unitRoot(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	script := `mkdir -p "$0/usr/bin" "$0/bin" "$0/usr/lib/systemd" &&
		cp -r /usr/lib/systemd/system "$0/usr/lib/systemd/" && cp "$1/watchdog" "$0/usr/bin/" && cp /bin/kill "$0/bin/" &&
		cp ../packaging/healthcheck-watchdog.service "$0/usr/lib/systemd/system/"`
	if out, code := tool(t, "sh", "-c", script, root, bin); code != 0 {
		t.Fatal(out)
	}
	return root
}

// systemd finds nothing wrong with the unit, and little that it may do without
// need.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	root := unitRoot(t)
	if out, code := tool(t, "systemd-analyze", "verify", "--root="+root, "--man=no", "healthcheck-watchdog.service"); code != 0 || strings.TrimSpace(out) != "" {
		t.Errorf("exit %d: %s", code, out)
	}
	// 10 is a service without any protection; the threshold is in tenths.
	if out, code := tool(t, "systemd-analyze", "--no-pager", "security", "--offline=true", "--threshold=15", "--root="+root, "healthcheck-watchdog.service"); code != 0 || !strings.Contains(out, "Overall exposure level for healthcheck-watchdog.service") {
		t.Errorf("exit %d: %s", code, out)
	}
	// Its configuration is one that the watchdog takes, as it is and with each
	// line that is commented out.
	text, err := os.ReadFile("../packaging/watchdog.yml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var lines []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") || strings.HasPrefix(line, "#  ") {
			lines = append(lines, strings.TrimPrefix(line, "#"))
		}
	}
	full := strings.ReplaceAll(strings.Join(lines, ""), "/etc/watchdog/team-a", filepath.Join(dir, "team-a"))
	if len(lines) < 8 {
		t.Errorf("%d settings are shown", len(lines))
	}
	for name, text := range map[string]string{"as-it-is": string(text), "full": full, "team-a": "ntfy://ntfy.example/team-a\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"as-it-is", "full"} {
		if out, code := tool(t, filepath.Join(bin, "watchdog"), "config", "check", filepath.Join(dir, name)); code != 0 {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// The filter of system calls lets through all that the watchdog calls while it
// watches an engine, serves, saves and sends an alert.
func TestSystemdFilter(t *testing.T) {
	t.Parallel()
	var filter []string
	text, err := os.ReadFile("../packaging/healthcheck-watchdog.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); ok {
			filter = append(filter, value)
		}
	}
	if !slices.Equal(filter, []string{"@system-service", "~@privileged @resources"}) {
		t.Fatalf("%q is another filter than this test knows", filter)
	}
	groups := map[string][]string{}
	out, code := tool(t, "systemd-analyze", "--no-pager", "syscall-filter")
	if code != 0 {
		t.Fatal(out)
	}
	group := ""
	for line := range strings.Lines(out) {
		switch word := strings.TrimSpace(line); {
		case strings.HasPrefix(line, "@"):
			group = word
		case word != "" && !strings.HasPrefix(word, "#"):
			groups[group] = append(groups[group], word)
		}
	}
	allowed := map[string]bool{}
	var set func(group string, on bool)
	set = func(group string, on bool) {
		for _, name := range groups[group] {
			if strings.HasPrefix(name, "@") {
				set(name, on)
			} else {
				allowed[name] = on
			}
		}
	}
	set("@system-service", true)
	set("@privileged", false)
	set("@resources", false)
	dir := shortDir(t)
	trace := filepath.Join(dir, "trace")
	name := newContainer(t)
	cmd := exec.Command("strace", "-D", "-f", "-qq", "-o", trace, filepath.Join(bin, "watchdog"), "run", "--services", name, "--state-file", filepath.Join(dir, "state.json"), "--control", filepath.Join(dir, "c.sock"),
		"--listen", "127.0.0.1:0", "--notify", "generic+http://127.0.0.1:9/x", "--notify-start", "--backoff-base", "100ms", "--stop-timeout", "1")
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	d := &daemon{cmd: cmd, log: log, dir: dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.stop(t) })
	waitFor(t, name, "healthy")
	dockerExec(t, name, "/testapp", "fail", "1")
	eventually(t, "it recovers", func() (string, bool) {
		return tail(log.String()), strings.Contains(log.String(), "recovered in ")
	})
	d.stop(t)
	var calls []byte
	eventually(t, "the trace is written", func() (string, bool) {
		calls, err = os.ReadFile(trace)
		return tail(string(calls)), err == nil && strings.Contains(string(calls), "exit_group(")
	})
	seen := map[string]bool{}
	for line := range strings.Lines(string(calls)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if call, _, ok := strings.Cut(f[1], "("); ok && !seen[call] {
			seen[call] = true
			if !allowed[call] {
				t.Errorf("the filter refuses %s", call)
			}
		}
	}
	if !seen["connect"] || !seen["fsync"] || len(seen) < 30 {
		t.Errorf("%d calls were seen", len(seen))
	}
}

// The completions complete a flag and a command in real shells.
func TestCompletions(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../packaging/completions")
	if err != nil {
		t.Fatal(err)
	}
	bash := `source "$0/$1.bash"; shift; COMP_WORDS=("$@" "$last"); COMP_CWORD=$#; "_$1"; printf '%s\n' "${COMPREPLY[@]}"; complete -p "$1"`
	fish := `set -x PATH $argv[3] $PATH; set -p fish_complete_path $argv[1]; complete -C $argv[2]` // it completes programs that there are
	zsh := `zmodload zsh/zpty; zpty z zsh -f -i
		zpty -w z "PROMPT= ; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $3/dump; LISTMAX=1000; print READY"
		zpty -r -m z out '*READY*READY*' ; zpty -n -w z "$2"$'\t'
		zpty -r -m z out "$4"; print -r -- "$out"; zpty -d z`
	for _, c := range []struct {
		line string
		want []string
	}{
		{"watchdog run --max-", []string{"--max-attempts", "--max-concurrent", "--max-restarts"}},
		{"watchdog sn", []string{"snooze"}},
		{"watchdog history --sh", []string{"--show"}},
		{"healthcheck --mem-m", []string{"--mem-max", "--mem-min-free"}},
		{"healthcheck wait --wait-", []string{"--wait-timeout"}},
		{"healthcheck gpu --res", []string{"--reserve"}},
	} {
		words := strings.Fields(c.line)
		last := words[len(words)-1]
		check := func(shell, out string, code int) {
			t.Helper()
			for _, want := range c.want {
				if code != 0 || !strings.Contains(out, want) {
					t.Errorf("%s, %q: exit %d: no %s in %q", shell, c.line, code, want, out)
				}
			}
		}
		script := "last=" + last + "; " + bash
		out, code := tool(t, "bash", append([]string{"--norc", "-uc", script, dir, words[0]}, words[:len(words)-1]...)...)
		check("bash", out, code)
		out, code = tool(t, "fish", "-c", fish, dir, c.line, bin)
		check("fish", out, code)
		// What a shell completes with is typed behind what stands there already.
		pattern := "*" + strings.Join(c.want, "*") + "*"
		if len(c.want) == 1 {
			pattern = "*" + strings.TrimPrefix(c.want[0], last) + "*"
			c.want[0] = strings.TrimPrefix(c.want[0], last)
		}
		out, code = tool(t, "zsh", "-f", "-c", zsh, "zsh", dir, c.line, t.TempDir(), pattern)
		check("zsh", out, code)
	}
}

// Nothing is wrong with the man pages, and what they show is what is typed.
func TestManPages(t *testing.T) {
	t.Parallel()
	for page, wants := range map[string][]string{
		"watchdog":    {"--max-attempts N", "restart n+1 waits base × multiplier^n after restart n (1s)", "WATCHDOG_", "/var/lib/watchdog/state.json", "watchdog snooze NAME DURATION"},
		"healthcheck": {"--cpu-max", "HEALTHCHECK_", "--wait-timeout DURATION", "healthcheck gpu fit MODEL=SIZE[+PER_ITEM]", "--reserve SIZE"},
	} {
		file := "../packaging/man/" + page + ".1"
		if out, code := tool(t, "mandoc", "-Tlint", "-Wwarning", file); code != 0 || out != "" {
			t.Errorf("exit %d: %s", code, out)
		}
		if out, code := tool(t, "sh", "-c", `man --warnings -E UTF-8 -l "$0" 2>&1 >/dev/null`, file); code != 0 || out != "" {
			t.Errorf("exit %d: %s", code, out)
		}
		out, _ := tool(t, "mandoc", "-Tutf8", "-Owidth=300", file)
		plain, _ := tool(t, "sh", "-c", `mandoc -Tutf8 -Owidth=300 "$0" | col -bx`, file)
		for _, want := range wants {
			if !strings.Contains(plain, want) {
				t.Errorf("%s shows no %q in %d bytes", page, want, len(out))
			}
		}
	}
}

// testPackages looks into the packages of a release, and installs one.
func testPackages(t *testing.T, dist string) {
	common := []string{"/etc/watchdog/watchdog.yml", "/usr/bin/healthcheck", "/usr/bin/watchdog", "/usr/lib/systemd/system/healthcheck-watchdog.service",
		"/usr/share/bash-completion/completions/healthcheck", "/usr/share/bash-completion/completions/watchdog", "/usr/share/doc/healthcheck-watchdog/watchdog.md",
		"/usr/share/fish/vendor_completions.d/healthcheck.fish", "/usr/share/fish/vendor_completions.d/watchdog.fish",
		"/usr/share/man/man1/healthcheck.1.gz", "/usr/share/man/man1/watchdog.1.gz"}
	for arch, names := range map[string][2]string{"amd64": {"healthcheck-watchdog_1.2.3_amd64.deb", "healthcheck-watchdog-1.2.3-1.x86_64.rpm"}, "arm64": {"healthcheck-watchdog_1.2.3_arm64.deb", "healthcheck-watchdog-1.2.3-1.aarch64.rpm"}} {
		deb, rpm := filepath.Join(dist, names[0]), filepath.Join(dist, names[1])
		withZsh := func(dir string) []string {
			all := append(slices.Clone(common), dir+"_healthcheck", dir+"_watchdog")
			slices.Sort(all)
			return all
		}
		out, code := tool(t, "sh", "-c", `dpkg-deb --fsys-tarfile "$0" | tar -t | grep -v '/$' | sed 's/^\.//' | sort`, deb)
		if code != 0 || !slices.Equal(strings.Fields(out), withZsh("/usr/share/zsh/vendor-completions/")) {
			t.Errorf("%s: exit %d: %s", deb, code, out)
		}
		if out, _ := tool(t, "dpkg-deb", "-f", deb, "Package", "Version", "Architecture", "Conflicts"); strings.Join(strings.Fields(out), " ") != "Package: healthcheck-watchdog Version: 1.2.3 Architecture: "+arch+" Conflicts: watchdog" {
			t.Errorf("%s", out)
		}
		out, code = tool(t, "rpm", "-qpl", rpm)
		got := strings.Fields(out)
		slices.Sort(got)
		if code != 0 || !slices.Equal(got, withZsh("/usr/share/zsh/site-functions/")) {
			t.Errorf("%s: exit %d: %s", rpm, code, out)
		}
		if out, code := tool(t, "rpm", "-qp", "--queryformat", "%{VERSION}-%{RELEASE} %{OS} [%{FILEFLAGS:fflags}|] %{POSTIN}", rpm); code != 0 || !strings.HasPrefix(out, "1.2.3-1 linux ") || !strings.Contains(out, "cn") || !strings.Contains(out, "daemon-reload") {
			t.Errorf("exit %d: %s", code, out)
		}
	}
	installPackage(t, filepath.Join(dist, "healthcheck-watchdog_1.2.3_amd64.deb"))
}

// installPackage installs, upgrades, removes and purges the package in a root
// directory of its own, where its scripts run in a chroot.
func installPackage(t *testing.T, deb string) {
	root := t.TempDir()
	setup := `mkdir -p "$0/bin" "$0/var/lib/dpkg/info" "$0/var/lib/dpkg/updates" "$0/var/lib/watchdog" && touch "$0/var/lib/dpkg/status" "$0/var/lib/dpkg/available" &&
		cp /bin/busybox "$0/bin/sh" && cp /bin/busybox "$0/bin/rm"`
	if out, code := tool(t, "sh", "-c", setup, root); code != 0 {
		t.Fatal(out)
	}
	dpkg := func(args ...string) string {
		t.Helper()
		out, code := tool(t, "dpkg", append([]string{"--root=" + root, "--log=/dev/null"}, args...)...)
		if code != 0 {
			t.Fatalf("dpkg %q: exit %d: %s", args, code, out)
		}
		return out
	}
	exists := func(path string) bool {
		_, err := os.Stat(root + path)
		return err == nil
	}
	if out := dpkg("-i", deb); !strings.Contains(out, "systemctl enable --now healthcheck-watchdog starts it") {
		t.Errorf("it does not say how to start it: %s", out)
	}
	if out, code := tool(t, "chroot", root, "/usr/bin/watchdog", "config", "check", "/etc/watchdog/watchdog.yml"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if err := os.WriteFile(root+"/etc/watchdog/watchdog.yml", []byte("max-attempts: 5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := dpkg("-i", deb); strings.Contains(out, "starts it") { // again, as an upgrade
		t.Errorf("an upgrade says how to start it: %s", out)
	}
	if text, _ := os.ReadFile(root + "/etc/watchdog/watchdog.yml"); string(text) != "max-attempts: 5\n" {
		t.Errorf("an upgrade has replaced the configuration: %s", text)
	}
	dpkg("-r", "healthcheck-watchdog")
	if exists("/usr/bin/watchdog") || !exists("/etc/watchdog/watchdog.yml") || !exists("/var/lib/watchdog") {
		t.Error("removed, it leaves the program, or takes the configuration or the state")
	}
	dpkg("-P", "healthcheck-watchdog")
	if exists("/etc/watchdog/watchdog.yml") || exists("/var/lib/watchdog") {
		t.Error("purged, it leaves its configuration or its state")
	}
}
