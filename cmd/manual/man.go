package manual

import (
	"fmt"
	"strings"
)

// pageDate is the day that man pages show: that of what they say, not of their
// making, so that a release is the same byte by byte.
const pageDate = "2026-11-25"

// Man is the program's man page, by man(7).
func (p Program) Man() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.\" %s`, generated)
	line(`.TH %s 1 %s %s "User Commands"`, strings.ToUpper(p.Name), pageDate, p.Name)
	line(".SH NAME")
	line(`%s \- %s`, roff(p.Name), roff(p.Short))
	line(".SH SYNOPSIS")
	for i, c := range p.Commands {
		if i > 0 {
			line(".br")
		}
		line(".B %s", roff(strings.TrimSpace(p.Name+" "+c.Name)))
		if rest := synopsis(c); rest != "" {
			line("%s", roff(rest))
		}
	}
	line(".SH DESCRIPTION")
	for i, text := range p.About {
		if i > 0 {
			line(".PP")
		}
		line("%s", roff(text))
	}
	for _, c := range p.Commands {
		if c.Name == "" {
			line(".SH OPTIONS")
			p.manOptions(line, c)
		}
	}
	for i, c := range p.Commands {
		if c.Name == "" {
			continue
		}
		if i == 0 || p.Commands[i-1].Name == "" {
			line(".SH COMMANDS")
		}
		line(".SS %s", roff(strings.TrimSpace(p.Name+" "+c.Name+" "+c.Arguments)))
		line("%s", roff(c.About))
		p.manOptions(line, c)
	}
	line(".SH ENVIRONMENT")
	line("%s", roff(fmt.Sprintf("Each flag has a variable: --max-x is %sMAX_X, and %sMAX_X_FILE names a file that holds the value, for secrets. A flag wins over its variable, and an unknown variable that begins with %s is an error.", p.Prefix, p.Prefix, p.Prefix)))
	line(".SH EXIT STATUS")
	line("0, or 1 where something is wrong; never another.")
	if len(p.Files) > 0 {
		line(".SH FILES")
		for _, f := range p.Files {
			line(".TP")
			line(".I %s", roff(f[0]))
			line("%s", roff(f[1]))
		}
	}
	line(".SH SEE ALSO")
	for i, name := range p.See {
		comma := " ,"
		if i == len(p.See)-1 {
			comma = ""
		}
		line(".BR %s (1)%s", roff(name), comma)
	}
	return strings.ReplaceAll(b.String(), "(1) ,", "(1),")
}

// synopsis is what stands behind a command in the synopsis.
func synopsis(c Command) string {
	parts := []string{}
	if c.Arguments != "" {
		parts = append(parts, c.Arguments)
	}
	if c.Flags != nil {
		parts = append(parts, "[flags]")
	}
	return strings.Join(parts, " ")
}

func (p Program) manOptions(line func(format string, args ...any), c Command) {
	for _, o := range c.options() {
		line(".TP")
		name := `\fB` + roff("--"+o.name) + `\fR`
		if o.short != "" {
			name = `\fB` + roff("-"+o.short) + `\fR, ` + name
		}
		if o.kind != "" {
			name += ` \fI` + roff(o.kind) + `\fR`
		}
		line("%s", name)
		text := o.usage
		if o.value != "" {
			text += " (" + o.value + ")"
		}
		line("%s", roff(text))
	}
}

// roff is text as a line of a man page: nothing in it is a request or an
// escape, and what is typed stays as it is typed.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\(rs`, "-", `\-`, "\n", " ", "^", `\(ha`, "~", `\(ti`, "`", `\(ga`, "×", `\(mu`, "…", "...").Replace(strings.TrimSpace(text))
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
