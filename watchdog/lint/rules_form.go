package lint

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Rules about how a probe's command is written.

// execForm returns the words of a probe that no shell reads.
func (p Probe) execForm() []string {
	if len(p.Test) < 2 || p.Test[0] != "CMD" || !p.knows("test") {
		return nil
	}
	if _, ok := shellText(p.Test); ok {
		return nil
	}
	return p.Test[1:]
}

// instead of a broken exec form.
const execForm = `["CMD", "program", "argument"], or ["CMD-SHELL", "a shell's line"]`

func testWithoutCmd(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if len(p.Test) > 0 && p.knows("test") && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, p.Test[0]) {
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the test starts with %q: the engine never runs it", oneLine(p.Test[0])), instead: execForm})
		}
	}
	return out
}

func noneAsText(s Subject) []problem {
	if !s.NoneAsText {
		return nil
	}
	return one("healthcheck.test", "test: NONE as a text has the shell look for a program of that name, so it is never healthy", `disable: true, or test: ["NONE"]`)
}

// jsonLike is an exec form that did not come through as one.
var jsonLike = regexp.MustCompile(`^\s*\[\s*(?:"[^"]*"|'[^']*')\s*,|^\s*\[(?:"[^"]*"|'[^']*')\]\s*$`)

func execFormAsText(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if len(p.Test) == 2 && p.Test[0] == "CMD-SHELL" && p.knows("test") && jsonLike.MatchString(p.Test[1]) {
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the shell gets %q as its line", oneLine(p.Test[1])), instead: "a list with double quotes, not a text that looks like one"})
		}
	}
	return out
}

// shellFormInPieces: the engine gives the shell -c and all the elements, so that
// those after the first are the script's own arguments (moby, daemon/health.go).
func shellFormInPieces(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if len(p.Test) > 2 && p.Test[0] == "CMD-SHELL" && p.knows("test") {
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the shell runs %q alone, and drops the elements after it", oneLine(p.Test[1])), instead: "CMD in place of CMD-SHELL, or one element for the whole line"})
		}
	}
	return out
}

func execFormCommandLine(s Subject) (out []problem) {
	for _, p := range s.Probes {
		words := p.execForm()
		if len(words) == 0 {
			continue
		}
		program, rest, ok := strings.Cut(strings.TrimSpace(words[0]), " ")
		if ok && strings.TrimSpace(rest) != "" && !strings.HasPrefix(rest, "(") {
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the engine looks for a program of the name %q", oneLine(words[0])),
				instead: fmt.Sprintf("CMD-SHELL in place of CMD, or one element for %s and one for each argument", oneLine(program))})
		}
	}
	return out
}

// optionAndValue is an option that is followed by a space and a value.
var optionAndValue = regexp.MustCompile(`^--?[A-Za-z][A-Za-z-]*\s+\S`)

// takesText are programs whose arguments are text of their own.
var takesText = []string{"echo", "printf", "python", "python3", "node", "perl", "ruby", "php", "awk", "sed", "grep", "pwsh", "powershell", "jq", "mongosh", "mongo", "java", "expr", "test", "[", "find", "cmd", "cmd.exe"}

func execFormOption(s Subject) (out []problem) {
	for _, p := range s.Probes {
		words := p.execForm()
		if len(words) == 0 || slices.Contains(takesText, path.Base(words[0])) {
			continue
		}
		for i, w := range words[1:] {
			// What follows an option such as -c or -H may be any text.
			if optionAndValue.MatchString(w) && !(i > 0 && strings.HasPrefix(words[i], "-") && !optionAndValue.MatchString(words[i])) {
				option, _, _ := strings.Cut(w, " ")
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("%s and its value are one argument: %q", oneLine(option), hideSecrets(oneLine(w))), instead: "an element for each of them"})
				break
			}
		}
	}
	return out
}

func hideSecrets(w string) string {
	if option, _, ok := strings.Cut(w, " "); ok && slices.Contains([]string{"-a", "-p", "-u", "--password", "--user", "--pass", "-P", "-w"}, option) {
		return option + " ***"
	}
	return w
}

func execFormShellSyntax(s Subject) (out []problem) {
	for _, p := range s.Probes {
		words := p.execForm()
		if len(words) == 0 || slices.Contains(takesText, path.Base(words[0])) {
			continue
		}
		for _, w := range words[1:] {
			if slices.Contains([]string{"||", "&&", "|", ";", "2>&1", ">", ">/dev/null", "2>/dev/null"}, w) {
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("%s gets %q as an argument: the exec form has no shell", oneLine(path.Base(words[0])), w),
					instead: "CMD-SHELL and one line; || exit 1 is not needed, as every code but 0 counts as a failure"})
				break
			}
		}
	}
	return out
}

// shellVariable is a variable as a shell has it, with a name in capitals.
var shellVariable = regexp.MustCompile(`\$(?:[A-Z_][A-Z0-9_]*|\{[A-Z_][A-Z0-9_]*[^}]*\}|\()`)

func execFormVariable(s Subject) (out []problem) {
	for _, p := range s.Probes {
		words := p.execForm()
		if len(words) == 0 || slices.Contains(takesText, path.Base(words[0])) || slices.Contains(shellNames, path.Base(words[0])) {
			continue
		}
		for _, w := range words {
			if v := shellVariable.FindString(w); v != "" {
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("%s gets %s as it stands: the exec form has no shell to fill it in", oneLine(path.Base(words[0])), oneLine(v)),
					instead: "CMD-SHELL and one line"})
				break
			}
		}
	}
	return out
}

// checks are programs whose exit code is what a probe is about.
var checks = []string{"curl", "wget", "nc", "pg_isready", "psql", "mysqladmin", "mariadb-admin", "redis-cli", "valkey-cli", "mongosh", "mongo", "rabbitmq-diagnostics", "rabbitmqctl",

	"grpc_health_probe", "healthcheck", "etcdctl", "kafka-topics.sh", "clickhouse-client", "cqlsh"}

// filters end with 0 whatever they read.
var filters = []string{"cat", "tee", "head", "tail", "sort", "uniq", "tr", "cut", "sed", "wc", "less", "more"}

func isCheck(s *syntax.Stmt) string {
	c, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || len(c.Args) == 0 {
		return ""
	}
	var words []string
	for _, w := range c.Args {
		words = append(words, wordText(w))
	}
	if name := unwrap(call{Words: words}).Name; slices.Contains(checks, name) {
		return name
	}
	return ""
}

// probeScript parses what a shell runs for a probe.
func (p Probe) probeScript() *syntax.File {
	if text, ok := shellText(p.Test); ok && p.knows("test") {
		return parseShell(text)
	}
	return nil
}

func backgroundInProbe(s Subject) (out []problem) {
	for _, p := range s.Probes {
		f := p.probeScript()
		if f == nil {
			continue
		}
		for i, stmt := range f.Stmts {
			if !stmt.Background || isCheck(stmt) == "" {
				continue
			}
			// What follows can fail only where it is a program.
			rest := f.Stmts[i+1:]
			if slices.ContainsFunc(rest, func(s *syntax.Stmt) bool {
				c, ok := s.Cmd.(*syntax.CallExpr)
				return !s.Background && !(ok && len(c.Args) == 0)
			}) {
				continue
			}
			out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("the & puts %s into the background, and the shell ends with 0 at once", isCheck(stmt)), instead: "quotes around the address"})
			break
		}
	}
	return out
}

func statusIgnored(s Subject) (out []problem) {
	for _, p := range s.Probes {
		f := p.probeScript()
		if f == nil {
			continue
		}
		if message, instead := ignoredStatus(f); message != "" {
			out = append(out, problem{at: p.Key + ".test", message: message, instead: instead})
		}
	}
	return out
}

func ignoredStatus(f *syntax.File) (message, instead string) {
	text := ""
	for i, stmt := range f.Stmts {
		last := i == len(f.Stmts)-1
		if c, ok := stmt.Cmd.(*syntax.CallExpr); ok && len(c.Args) > 1 && wordText(c.Args[0]) == "set" {
			for _, w := range c.Args[1:] {
				text += wordText(w) + " "
			}
		}
		switch cmd := stmt.Cmd.(type) {
		case *syntax.CallExpr:
			name := isCheck(stmt)
			if last || name == "" || stmt.Background || strings.HasPrefix(text, "-e") || usesStatus(f.Stmts[i+1:]) {
				continue
			}
			return fmt.Sprintf("%s's exit code is lost at the ;, only that of what follows counts", name), "&& in place of ;, or quotes around the address"
		case *syntax.BinaryCmd:
			if !last {
				continue
			}
			switch cmd.Op {
			case syntax.OrStmt:
				if alwaysSucceeds(cmd.Y) && firstCheck(cmd.X) != "" {
					return fmt.Sprintf("%s's failure is turned into success after the ||", firstCheck(cmd.X)), "|| exit 1, or nothing"
				}
				if pipe, ok := cmd.X.Cmd.(*syntax.BinaryCmd); ok && pipe.Op == syntax.Pipe {
					cmd = pipe
				}
			}
			if cmd.Op == syntax.Pipe && !strings.Contains(text, "pipefail") {
				if name := isCheck(cmd.X); name != "" {
					if filter, ok := cmd.Y.Cmd.(*syntax.CallExpr); ok && len(filter.Args) > 0 && slices.Contains(filters, path.Base(wordText(filter.Args[0]))) {
						return fmt.Sprintf("%s's exit code is lost at the |, only that of %s counts", name, path.Base(wordText(filter.Args[0]))), "no pipe, or | grep -q for what is wanted"
					}
				}
			}
		}
	}
	return "", ""
}

// usesStatus says that statements read $?, or the result of what came before.
func usesStatus(stmts []*syntax.Stmt) (used bool) {
	for _, s := range stmts {
		syntax.Walk(s, func(n syntax.Node) bool {
			if p, ok := n.(*syntax.ParamExp); ok && p.Param != nil && p.Param.Value == "?" {
				used = true
			}
			return true
		})
	}
	return used
}

func alwaysSucceeds(s *syntax.Stmt) bool {
	c, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || len(c.Args) == 0 || s.Negated {
		return false
	}
	switch wordText(c.Args[0]) {
	case "true", ":", "echo", "printf":
		return true
	case "exit":
		return len(c.Args) == 2 && wordText(c.Args[1]) == "0"
	}
	return false
}

func firstCheck(s *syntax.Stmt) string {
	if name := isCheck(s); name != "" {
		return name
	}
	if b, ok := s.Cmd.(*syntax.BinaryCmd); ok {
		if name := firstCheck(b.X); name != "" {
			return name
		}
		return firstCheck(b.Y)
	}
	return ""
}

func curlWithoutFail(s Subject) (out []problem) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			if c.Name == "curl" && c.Decides && len(c.Words) > 1 && !curlFails(c.Words[1:]) {
				out = append(out, problem{at: p.Key + ".test", message: "curl without -f ends with 0 whatever the server answers, 500 too", instead: "curl -f"})
				break
			}
		}
	}
	return out
}

// curlTakesValue are curl's short options that take a value (its manual).
const curlTakesValue = "AbcCdDeEFhHKmoPQrtTuUwxXyYz"

// curlFails says whether an HTTP error makes curl fail, or whether it asks for
// nothing over HTTP.
func curlFails(args []string) bool {
	for i := 0; i < len(args); i++ {
		w := args[i]
		switch {
		case strings.HasPrefix(w, "--fail") || w == "--version" || w == "--help" || w == "--config":
			return true
		case strings.HasPrefix(w, "--"):
		case strings.HasPrefix(w, "-"):
			for j, letter := range w[1:] {
				if letter == 'f' || letter == 'V' || letter == 'K' {
					return true
				}
				if strings.ContainsRune(curlTakesValue, letter) {
					if j == len(w)-2 {
						i++
					}
					break
				}
			}
		default:
			if u, err := url.Parse(w); err == nil && u.Scheme != "" && u.Host != "" && u.Scheme != "http" && u.Scheme != "https" {
				return true
			}
		}
	}
	return false
}
