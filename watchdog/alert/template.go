package alert

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"healthcheck/probe"
)

// Fields are what a template of a person's own may use of an alert. What others
// named or printed is escaped in them already.
type Fields struct {
	// Severity is info, warning or critical, and State open, resolved (the end of
	// an incident), unresolved (an escalation) or test.
	Severity string `json:"severity,omitempty"`
	State    string `json:"state,omitempty"`
	// Event is the name of the log's event, Text what happened, in a sentence.
	Event string `json:"event,omitempty"`
	Text  string `json:"text,omitempty"`
	// Service is as watchdog status prints it; Project and ComposeService are its
	// parts, empty where it is not compose's.
	Service        string `json:"service,omitempty"`
	Project        string `json:"project,omitempty"`
	ComposeService string `json:"compose_service,omitempty"`
	Container      string `json:"container,omitempty"`
	ID             string `json:"id,omitempty"`
	Host           string `json:"host,omitempty"`
	// Cause is why it needs a restart, Next what comes by itself.
	Cause string `json:"cause,omitempty"`
	Next  string `json:"next,omitempty"`
	// Attempt is which restart of Attempts it is; 0 for none.
	Attempt  int `json:"attempt,omitempty"`
	Attempts int `json:"attempts,omitempty"`
	// Output is what the last failed probe printed, Log the last lines of the
	// container's log, with --evidence-lines.
	Output string `json:"output,omitempty"`
	Log    string `json:"log,omitempty"`
	// Time is now, and Duration how long the incident has been open.
	Time     time.Time     `json:"time,omitzero"`
	Duration time.Duration `json:"duration,omitempty"`
}

// FieldNames lists the fields of templates, in their order.
func FieldNames() (names []string) {
	for f := range reflect.TypeFor[Fields]().Fields() {
		names = append(names, "."+f.Name)
	}
	return names
}

// Format is how a person wants alerts to read. The zero value, and nil, are the
// built-in form.
type Format struct {
	title, text *template.Template
}

// The bounds of what a template may be, and of what it makes, in bytes.
const (
	maxTemplate = 8 << 10
	maxTitle    = 250
	maxText     = 16 << 10
)

// templateFuncs are the functions of templates. Those of the language that make
// long text of short, or call what they are given, are not among them.
var templateFuncs = template.FuncMap{
	"upper": strings.ToUpper,
	"lower": strings.ToLower,
	"cut": func(most int, text string) string {
		const least = 4 // a letter, and the mark of what was cut
		return probe.Ellipsis(text, max(most, least))
	},
}

// builtins are the functions of the language that templates may call.
var builtins = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len"}

// NewFormat reads the templates of title and text; an empty one is the built-in
// form. Its error says what is wrong with which of them, TitleError or
// TextError.
func NewFormat(title, text string) (*Format, error) {
	f := &Format{}
	var err error
	if f.title, err = parseTemplate(title); err != nil {
		return nil, TitleError{err}
	}
	if f.text, err = parseTemplate(text); err != nil {
		return nil, TextError{err}
	}
	if f.title == nil && f.text == nil {
		return nil, nil
	}
	return f, nil
}

// TitleError and TextError say which template is bad.
type (
	TitleError struct{ error }
	TextError  struct{ error }
)

// Unwrap is what is wrong with it.
func (e TitleError) Unwrap() error { return e.error }

// Unwrap is what is wrong with it.
func (e TextError) Unwrap() error { return e.error }

// parseTemplate reads one template, and tries it.
func parseTemplate(text string) (*template.Template, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("longer than %d bytes", maxTemplate)
	}
	t, err := template.New("template").Funcs(templateFuncs).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: template:"))
	}
	if t.Tree == nil || len(t.Templates()) > 1 {
		return nil, errors.New("define and block are not understood here")
	}
	if err := check(t.Root, reflect.TypeFor[Fields]()); err != nil {
		return nil, err
	}
	for _, sample := range samples() {
		if _, err := execute(t, sample, maxText); err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "template: template:"))
		}
	}
	return t, nil
}

// samples are alerts that go through most of a template's branches.
func samples() []Fields {
	full := Fields{Severity: "critical", State: "open", Event: "gave_up", Text: "gave up after 3 restarts", Service: "shop/db/1", Project: "shop", ComposeService: "db", Container: "shop-db-1",
		ID: "0123456789ab", Host: "node7", Cause: "unhealthy", Next: "nothing", Attempt: 3, Attempts: 3, Output: "status 503", Log: "panic", Time: time.Unix(0, 0), Duration: time.Minute}
	over := full
	over.Severity, over.State, over.Attempt, over.Output, over.Log, over.Cause = "info", "resolved", 0, "", "", ""
	return []Fields{full, over, {Time: full.Time}}
}

// check refuses what could take long, or more memory than the text is worth,
// and fields that do not exist. dot is the type of the dot; nil where it is not
// known.
func check(n parse.Node, dot reflect.Type) error {
	all := func(dot reflect.Type, nodes ...parse.Node) error {
		for _, n := range nodes {
			if err := check(n, dot); err != nil {
				return err
			}
		}
		return nil
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return all(dot, n.Nodes...)
	case *parse.ActionNode:
		return check(n.Pipe, dot)
	case *parse.IfNode:
		return all(dot, n.Pipe, n.List, n.ElseList)
	case *parse.WithNode:
		if err := all(dot, n.Pipe, n.ElseList); err != nil {
			return err
		}
		return check(n.List, nil)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			if err := all(dot, c.Args...); err != nil {
				return err
			}
		}
		return nil
	case *parse.ChainNode:
		return check(n.Node, dot)
	case *parse.FieldNode:
		return checkField(n.Ident, dot)
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return checkField(n.Ident[1:], reflect.TypeFor[Fields]())
		}
		return nil
	case *parse.IdentifierNode:
		if _, own := templateFuncs[n.Ident]; !own && !slices.Contains(builtins, n.Ident) {
			return fmt.Errorf("there is no function %q; there are %s", n.Ident, strings.Join(slices.Concat(slices.Sorted(maps.Keys(templateFuncs)), builtins), ", "))
		}
		return nil
	case *parse.TextNode, *parse.CommentNode, *parse.DotNode, *parse.NilNode, *parse.BoolNode, *parse.NumberNode, *parse.StringNode:
		return nil
	}
	return fmt.Errorf("only fields, functions, if, else and with are understood here, not %s", probe.Ellipsis(n.String(), 60))
}

// FieldError is a field that does not exist.
type FieldError struct{ Name string }

func (e FieldError) Error() string { return "there is no field ." + e.Name }

// checkField looks a field up, and what follows behind its dots.
func checkField(names []string, t reflect.Type) error {
	for _, name := range names {
		if t == nil {
			return nil
		}
		if m, ok := t.MethodByName(name); ok {
			t = nil
			if m.Type.NumOut() > 0 {
				t = m.Type.Out(0)
			}
			continue
		}
		if t.Kind() != reflect.Struct {
			return FieldError{name}
		}
		f, ok := t.FieldByName(name)
		if !ok || !f.IsExported() {
			return FieldError{name}
		}
		t = f.Type
	}
	return nil
}

// errFull ends a template that has written all that it may.
var errFull = errors.New("the text is longer than it may be")

// boundedText keeps what is written up to a limit.
type boundedText struct {
	b    []byte
	most int
}

func (t *boundedText) Write(p []byte) (int, error) {
	if room := t.most - len(t.b); len(p) > room {
		t.b = append(t.b, p[:room]...)
		return room, errFull
	}
	t.b = append(t.b, p...)
	return len(p), nil
}

// execute is what a template makes of an alert: printable, and at most so many
// bytes.
func execute(t *template.Template, f Fields, most int) (string, error) {
	out := boundedText{most: most}
	err := t.Execute(&out, f)
	text := strings.TrimSpace(printable(strings.ToValidUTF8(string(out.b), "")))
	switch {
	case errors.Is(err, errFull):
		const mark = "…"
		return probe.Cut(text, most-len(mark)) + mark, nil
	case err != nil:
		return "", err
	}
	return text, nil
}

// apply is a message as the format has it. Where a template cannot be carried
// out, or makes nothing, it is the built-in form, and the fault says why.
func (f *Format) apply(m Message, prefix string) (title, text, fault string) {
	title, text = m.Title, prefix+m.Text
	if f == nil {
		return title, text, ""
	}
	for _, part := range []struct {
		name string
		t    *template.Template
		most int
		to   *string
	}{{"title", f.title, maxTitle, &title}, {"text", f.text, maxText, &text}} {
		if part.t == nil {
			continue
		}
		made, err := execute(part.t, m.Fields, part.most)
		switch {
		case err != nil:
			fault = part.name + ": " + probe.Ellipsis(probe.Clean(err.Error()), 200)
		case made == "":
			fault = part.name + ": it is empty"
		default:
			*part.to = made
		}
	}
	return oneLine(title), text, fault
}
