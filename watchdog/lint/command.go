package lint

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// call is one program that a probe runs.
type call struct {
	// Name is the last part of the program's path.
	Name string
	// Words are the program and its arguments. What a shell would fill in
	// stands there as it was written: $NAME, $(...).
	Words []string
	// Assigns are variables set for it alone: PGPASSWORD=x.
	Assigns []string
	// Decides says that the probe's verdict is this program's exit code, and
	// that nothing reads its output.
	Decides bool
	// Required says that the probe fails where the image lacks this program.
	Required bool
	// Bound is the limit that timeout(1) puts on it.
	Bound time.Duration
}

// shellNames run their argument after -c as a script.
var shellNames = []string{"sh", "bash", "ash", "dash", "zsh"}

// shellText returns the script that a shell runs for this probe.
func shellText(test []string) (string, bool) {
	switch {
	case len(test) > 1 && test[0] == "CMD-SHELL":
		return test[1], true
	case len(test) > 3 && test[0] == "CMD" && slices.Contains(shellNames, path.Base(test[1])):
		for i, w := range test[2 : len(test)-1] {
			if strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.HasSuffix(w, "c") {
				return test[i+3], true
			}
		}
	}
	return "", false
}

// parseShell parses a script as POSIX's shell, or else as bash. It returns nil
// for what neither can read, and such a script is not judged.
func parseShell(text string) *syntax.File {
	for _, lang := range []syntax.LangVariant{syntax.LangPOSIX, syntax.LangBash} {
		if f, err := syntax.NewParser(syntax.Variant(lang)).Parse(strings.NewReader(text), ""); err == nil {
			return f
		}
	}
	return nil
}

// calls lists the programs that a probe runs.
func (p Probe) calls() []call {
	if len(p.Test) < 2 || !p.knows("test") {
		return nil
	}
	if text, ok := shellText(p.Test); ok {
		f := parseShell(text)
		if f == nil {
			return nil
		}
		var out []call
		for i, s := range f.Stmts {
			out = append(out, callsOf(s, i == len(f.Stmts)-1, true)...)
		}
		return out
	}
	if p.Test[0] != "CMD" {
		return nil
	}
	return []call{unwrap(call{Words: p.Test[1:], Decides: true, Required: true})}
}

// callsOf lists the programs of one statement. A program in a condition, a loop
// or a function is listed too, but neither decides nor is required.
func callsOf(s *syntax.Stmt, decides, required bool) (out []call) {
	switch cmd := s.Cmd.(type) {
	case *syntax.CallExpr:
		out = substitutions(cmd, required)
		if len(cmd.Args) > 0 {
			c := call{Decides: decides && !s.Negated && !s.Background, Required: required && !s.Negated}
			for _, w := range cmd.Args {
				c.Words = append(c.Words, wordText(w))
			}
			for _, a := range cmd.Assigns {
				if a.Value != nil && a.Name != nil {
					c.Assigns = append(c.Assigns, a.Name.Value+"="+wordText(a.Value))
				}
			}
			out = append(out, unwrap(c))
		}
	case *syntax.BinaryCmd:
		switch cmd.Op {
		case syntax.AndStmt:
			right := callsOf(cmd.Y, decides, required)
			// The left program decides as well where the right one is a further
			// request; anything else may read what the left one has written.
			left := decides && len(right) > 0 && !slices.ContainsFunc(right, func(c call) bool { return c.Name != "curl" && c.Name != "wget" && c.Name != "exit" })
			out = append(callsOf(cmd.X, left, required), right...)
		case syntax.OrStmt:
			fails := endsProbe(cmd.Y)
			out = append(callsOf(cmd.X, decides && fails, required && fails), callsOf(cmd.Y, false, false)...)
		default: // pipes
			out = append(callsOf(cmd.X, false, required), callsOf(cmd.Y, decides, required)...)
		}
	case *syntax.Block:
		for i, s := range cmd.Stmts {
			out = append(out, callsOf(s, decides && i == len(cmd.Stmts)-1, required)...)
		}
	case *syntax.Subshell:
		for i, s := range cmd.Stmts {
			out = append(out, callsOf(s, decides && i == len(cmd.Stmts)-1, required)...)
		}
	case nil:
	default:
		syntax.Walk(cmd, func(n syntax.Node) bool {
			if inner, ok := n.(*syntax.Stmt); ok {
				if c, ok := inner.Cmd.(*syntax.CallExpr); ok && len(c.Args) > 0 {
					out = append(out, callsOf(inner, false, false)...)
					return false
				}
			}
			return true
		})
	}
	return out
}

// substitutions lists the programs inside $(...): their output is read.
func substitutions(cmd *syntax.CallExpr, required bool) (out []call) {
	syntax.Walk(cmd, func(n syntax.Node) bool {
		if sub, ok := n.(*syntax.CmdSubst); ok {
			for _, s := range sub.Stmts {
				out = append(out, callsOf(s, false, required)...)
			}
			return false
		}
		return true
	})
	return out
}

// endsProbe says that a statement only ends the probe as failed, or says so:
// what stands left of || has no stand-in.
func endsProbe(s *syntax.Stmt) bool {
	for _, c := range callsOf(s, false, false) {
		switch c.Name {
		case "exit", "return":
			if len(c.Words) > 1 && c.Words[1] == "0" {
				return false
			}
		case "false", "kill", "echo", "printf":
		default:
			return false
		}
	}
	return true
}

// wordText is a word with its quotes removed.
func wordText(w *syntax.Word) string {
	var b strings.Builder
	for _, part := range w.Parts {
		partText(&b, part)
	}
	return b.String()
}

func partText(b *strings.Builder, part syntax.WordPart) {
	switch x := part.(type) {
	case *syntax.Lit:
		b.WriteString(strings.ReplaceAll(x.Value, `\`, ""))
	case *syntax.SglQuoted:
		b.WriteString(x.Value)
	case *syntax.DblQuoted:
		for _, p := range x.Parts {
			partText(b, p)
		}
	case *syntax.ParamExp:
		if x.Param != nil {
			b.WriteString("$" + x.Param.Value)
		} else {
			b.WriteString("$")
		}
	default:
		b.WriteString("$(...)")
	}
}

// unwrap removes what runs another program in its place.
func unwrap(c call) call {
	words := c.Words
	for len(words) > 1 {
		n := 0
		switch path.Base(words[0]) {
		case "exec", "command", "nice", "time", "sudo", "nohup", "busybox", "tini", "--":
			n = 1
		case "gosu", "su-exec", "setpriv", "runuser":
			n = 2
		case "env":
			for n = 1; n < len(words) && strings.Contains(words[n], "=") && !strings.HasPrefix(words[n], "-"); n++ {
				c.Assigns = append(c.Assigns, words[n])
			}
		case "timeout":
			for n = 1; n < len(words) && strings.HasPrefix(words[n], "-"); n++ {
				if words[n] == "-s" || words[n] == "-k" || words[n] == "-t" {
					n++
				}
			}
			if n < len(words) {
				c.Bound = seconds(words[n])
			}
			n++
		}
		if n == 0 || n >= len(words) || strings.HasPrefix(words[n], "-") {
			break
		}
		words = words[n:]
	}
	c.Words = words
	if len(words) > 0 {
		c.Name = path.Base(words[0])
	}
	return c
}

// seconds reads 5, 2.5, 5s or 1m, as timeout and curl take them; 0 for anything
// else.
func seconds(s string) time.Duration {
	if v, err := strconv.ParseFloat(s, 64); err == nil && v >= 0 && v < 1e6 {
		return time.Duration(v * float64(time.Second))
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return d
	}
	return 0
}

// value finds an option's value: --name=v, --name v, or -n v and -nv for a
// short name. The empty string stands for none.
func (c call) value(names ...string) string {
	for i, w := range c.Words[1:] {
		for _, name := range names {
			if w == name && i+2 < len(c.Words) {
				return c.Words[i+2]
			}
			if strings.HasPrefix(name, "--") {
				if v, ok := strings.CutPrefix(w, name+"="); ok {
					return v
				}
			} else if v, ok := strings.CutPrefix(w, name); ok && v != "" && !strings.HasPrefix(w, "--") {
				return v
			}
		}
	}
	return ""
}

// ownLimit is how long a program runs at most, by its own options or by its
// nature, and whether it has such a limit.
func (c call) ownLimit() (time.Duration, bool) {
	if c.Bound > 0 {
		return c.Bound, true
	}
	limit := time.Duration(0)
	switch c.Name {
	case "curl":
		limit = seconds(c.value("--max-time", "-m"))
	case "wget":
		limit = seconds(c.value("--timeout", "-T"))
	case "nc", "ncat":
		limit = seconds(c.value("-w"))
	case "pg_isready": // PostgreSQL's manual: -t, 3 s by default
		limit = 3 * time.Second
		if v := seconds(c.value("--timeout", "-t")); v > 0 {
			limit = v
		}
	case "grpc_health_probe", "grpc-health-probe": // its README: 1 s to connect, 1 s for the call
		limit = max(time.Second, seconds(c.value("-connect-timeout", "--connect-timeout"))) + max(time.Second, seconds(c.value("-rpc-timeout", "--rpc-timeout")))
	case "etcdctl": // --command-timeout, 5 s by default
		limit = 5 * time.Second
	case "test", "[", "pgrep", "pidof", "kill", "ls", "stat", "cat", "grep", "true", "false", "exit", "echo", "ps", "find":
		return 0, true // these look at this container alone
	default:
		if own, ok := ownProbe(c, nil); ok {
			return own.Timeout, true
		}
	}
	return limit, limit > 0
}
