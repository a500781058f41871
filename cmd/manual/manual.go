// Package manual writes what a host's packages bring beside the programs: man
// pages, and completion scripts for bash, zsh and fish, made from the same flags
// that the programs read. Only tests use it: no program links it.
package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
)

// Program is one of the programs.
type Program struct {
	Name string
	// Short is what it is, in a few words; About a paragraph each.
	Short string
	About []string
	// Commands are its commands; that without a name is the program itself.
	Commands []Command
	// Prefix begins the variables of its flags.
	Prefix string
	// Files are those that it reads or writes, with what they are for, and See
	// the pages to read next.
	Files [][2]string
	See   []string
}

// Command is one command of a program.
type Command struct {
	Name, Arguments string
	// Short is what it does, in a few words; About in sentences.
	Short, About string
	Flags        *pflag.FlagSet // nil: it has none
}

// option is a flag as people read it.
type option struct {
	name, short, kind, usage, value string
}

// options lists the flags of a command in their order.
func (c Command) options() (all []option) {
	if c.Flags == nil {
		return nil
	}
	c.Flags.VisitAll(func(f *pflag.Flag) {
		o := option{name: f.Name, short: f.Shorthand}
		o.kind, o.usage = flags.Kind(f)
		switch f.DefValue {
		case "", "[]", "false", "0s":
		default:
			o.value = f.DefValue
		}
		if f.Value.Type() == "bool" {
			o.kind = ""
		}
		all = append(all, o)
	})
	return all
}

// takesFile says whether a flag's value is a path.
func (o option) takesFile() bool { return strings.Contains(o.kind, "FILE") || o.kind == "PATH" }

// names lists the commands that have a name.
func (p Program) names() (names []string) {
	for _, c := range p.Commands {
		if c.Name != "" && !strings.Contains(c.Name, " ") {
			names = append(names, c.Name)
		}
	}
	return names
}

// words lists what may stand behind a command.
func (p Program) words(c Command) (words []string) {
	for _, o := range c.options() {
		words = append(words, "--"+o.name)
	}
	return append(words, p.below(c.Name)...)
}

// below are the commands one word longer, as fit is below gpu.
func (p Program) below(name string) (words []string) {
	if name == "" {
		return p.names()
	}
	for _, c := range p.Commands {
		if word, ok := strings.CutPrefix(c.Name, name+" "); ok {
			words = append(words, word)
		}
	}
	return words
}

const generated = "Made from the program's flags; a test compares them."

// Bash is a completion script for bash.
func (p Program) Bash() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# bash completion for %s. %s\n\n", p.Name, generated)
	fmt.Fprintf(&b, "_%s() {\n\tlocal words= command=${COMP_WORDS[1]-}\n", p.Name)
	b.WriteString("\tCOMPREPLY=()\n\t[ \"$COMP_CWORD\" -gt 1 ] || command=\n\tcase $command in\n")
	root := ""
	for _, c := range p.Commands {
		switch {
		case c.Name == "":
			root = strings.Join(p.words(c), " ")
		case !strings.Contains(c.Name, " "):
			words := p.words(c)
			for _, sub := range p.below(c.Name) { // its flags stand behind both words
				words = append(words, p.words(p.command(c.Name+" "+sub))...)
			}
			fmt.Fprintf(&b, "\t%s) words=%s ;;\n", c.Name, shellQuote(strings.Join(unique(words), " ")))
		}
	}
	if root == "" {
		root = strings.Join(p.names(), " ")
	}
	fmt.Fprintf(&b, "\t*) words=%s ;;\n\tesac\n", shellQuote(root))
	return b.String() + fmt.Sprintf("\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n}\ncomplete -o default -F _%s %s\n", p.Name, p.Name)
}

// command finds one by its name.
func (p Program) command(name string) Command {
	for _, c := range p.Commands {
		if c.Name == name {
			return c
		}
	}
	return Command{}
}

// unique drops what comes again.
func unique(words []string) (out []string) {
	seen := map[string]bool{}
	for _, w := range words {
		if !seen[w] {
			seen[w] = true
			out = append(out, w)
		}
	}
	return out
}

// shellQuote is text in single quotes.
func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// Zsh is a completion script for zsh.
func (p Program) Zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n# %s\n\n_%s() {\n\tlocal -a commands\n\tcommands=(\n", p.Name, generated, p.Name)
	for _, c := range p.Commands {
		if c.Name != "" && !strings.Contains(c.Name, " ") {
			fmt.Fprintf(&b, "\t\t%s\n", shellQuote(c.Name+":"+strings.ReplaceAll(c.Short, ":", `\:`)))
		}
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	var root []option
	for _, c := range p.Commands {
		options := c.options()
		if c.Name == "" {
			root = options
			continue
		}
		if strings.Contains(c.Name, " ") {
			continue
		}
		arguments := ""
		if below := p.below(c.Name); len(below) > 0 {
			arguments = " " + shellQuote("1:command:("+strings.Join(below, " ")+")")
			for _, sub := range below {
				options = append(options, p.command(c.Name+" "+sub).options()...)
			}
		}
		fmt.Fprintf(&b, "\t%s) shift words; (( CURRENT-- )); _arguments%s%s '*:argument:_files' ;;\n", c.Name, zshOptions(options), arguments)
	}
	if root != nil {
		fmt.Fprintf(&b, "\t*) _arguments%s ;;\n", zshOptions(root))
	}
	b.WriteString("\tesac\n}\n\n_" + p.Name + " \"$@\"\n")
	return b.String()
}

func zshOptions(all []option) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, o := range all {
		if seen[o.name] {
			continue
		}
		seen[o.name] = true
		text := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`, "`", "").Replace(o.usage)
		spec := "*--" + o.name + "[" + text + "]"
		if o.kind != "" {
			spec = "*--" + o.name + "=[" + text + "]:" + strings.NewReplacer(":", `\:`).Replace(o.kind) + ":"
			if o.takesFile() {
				spec += "_files"
			}
		}
		b.WriteString(" \\\n\t\t" + shellQuote(spec))
	}
	return b.String()
}

// Fish is a completion script for fish.
func (p Program) Fish() string {
	var b strings.Builder
	quote := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
	}
	fmt.Fprintf(&b, "# fish completion for %s. %s\n\n", p.Name, generated)
	for _, c := range p.Commands {
		if c.Name != "" && !strings.Contains(c.Name, " ") {
			fmt.Fprintf(&b, "complete -c %s -f -n __fish_use_subcommand -a %s -d %s\n", p.Name, c.Name, quote(c.Short))
		}
	}
	for _, c := range p.Commands {
		first, sub, isSub := strings.Cut(c.Name, " ")
		when := "__fish_seen_subcommand_from " + first
		if c.Name == "" {
			when = "__fish_use_subcommand"
		}
		if isSub {
			fmt.Fprintf(&b, "complete -c %s -f -n %s -a %s -d %s\n", p.Name, quote(when), sub, quote(c.Short))
		}
		for _, o := range c.options() {
			fmt.Fprintf(&b, "complete -c %s -n %s -l %s", p.Name, quote(when), o.name)
			if o.short != "" {
				b.WriteString(" -s " + o.short)
			}
			switch {
			case o.kind != "" && o.takesFile():
				b.WriteString(" -r -F")
			case o.kind != "":
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", quote(o.usage))
		}
	}
	return b.String()
}
