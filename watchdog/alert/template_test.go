package alert

import (
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"healthcheck/watchdog/recovery"
)

// A template that could not be carried out, or that takes long, is refused
// before it is needed, with what is wrong with it.
func TestBadTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Cuase}}":                        "there is no field .Cuase",
		"{{if .Log}}{{.Nope}}{{end}}":       "there is no field .Nope",
		"{{$.Nope}}":                        "there is no field .Nope",
		"{{with .Log}}{{.Nope}}{{end}}":     "can't evaluate field Nope",
		"{{.Time.Nope}}":                    "there is no field .Nope",
		"{{.Text.Nope}}":                    "there is no field .Nope",
		"{{.Text":                           "unclosed action",
		"{{nope .Text}}":                    `function "nope" not defined`,
		"{{printf \"%99999999d\" 1}}":       `there is no function "printf"`,
		"{{print .Text .Text}}":             `there is no function "print"`,
		"{{.Text | js | js}}":               `there is no function "js"`,
		"{{call .Text}}":                    `there is no function "call"`,
		"{{index .Text 99}}":                `there is no function "index"`,
		"{{range 1000000000}}{{end}}":       "not {{range",
		"{{range $i, $x := .Text}}x{{end}}": "not {{range",
		`{{define "x"}}{{template "x"}}{{template "x"}}{{end}}x`: "define and block",
		`{{template "template" .}}`:                              `not {{template`,
		`{{block "x" .}}x{{end}}`:                                "define and block",
		"{{cut 5 5}}":                                            "expected string",
		"{{if eq .Attempt \"x\"}}{{end}}":                        "incompatible types",
		strings.Repeat("x", maxTemplate+1):                       "longer than",
	} {
		f, err := NewFormat("", text)
		var which TextError
		if err == nil || f != nil || !errors.As(err, &which) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
		if _, err := NewFormat(text, ""); !errors.As(err, new(TitleError)) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// What a template makes is bounded and printable, whatever is in the fields.
func TestTemplates(t *testing.T) {
	a := alertOf(recovery.Critical, "gave_up", "shop/db/1")
	a.Name, a.Cause, a.ID, a.Lines = "shop-db-1", "status 503", "0123456789abcdef", "panic"
	hostile := a
	hostile.Key, hostile.Output, hostile.Cause = "p\r\nBcc: x@y/{{.Log}}/1", "\x1b]0;owned\x07 {{.Host}} \u202e", "\x1b[31m"
	long := a
	long.Output = strings.Repeat("ä", 20<<10)
	for _, c := range []struct {
		a                        recovery.Action
		title, text              string
		wantTitle, wantText, err string
	}{
		{a, "", "", "[critical] shop/db/1 on node7", "gave_up\n", ""},
		{a, "{{.Severity | upper}} {{.Project}}:{{.ComposeService}}", "", "CRITICAL shop:db", "gave_up\nservice: shop/db/1\n", ""},
		{a, "", "{{.Text}} ({{.Cause}}), {{.Attempt}}/{{.Attempts}} of {{.Container}} {{.ID}} on {{.Host}}: {{.Next}}\n{{.Output}}\n{{.Log}}", "[critical] shop/db/1 on node7",
			"gave_up (status 503), 1/3 of shop-db-1 0123456789ab on node7: nothing, until it is healthy, recreated, or reset (watchdog reset shop-db-1)\nstatus 503?[31m\npanic", ""},
		{a, "", `{{.State}} {{.Event}} {{.Time.UTC.Format "15:04"}} {{with .Duration}}{{.}}{{else}}new{{end}} {{cut 6 .Cause}}`, "[critical] shop/db/1 on node7", "open gave_up 03:04 new sta…", ""},
		{hostile, "{{.Service}}", "{{.Service}} {{.Output}} {{.Cause}}", "p??Bcc: x@y/{{.Log}}/1", "p??Bcc: x@y/{{.Log}}/1 ?]0;owned? {{.Host}} ? ?[31m", ""},
		{a, "", `{{"\x1b"}}a`, "[critical] shop/db/1 on node7", "?a", ""},
		{a, "a\nb", "x", "a?b", "x", ""},
		{a, "{{if .Log}}{{else}}x{{end}}", "{{if not .Log}}x{{end}}", "[critical] shop/db/1 on node7", "gave_up\n", "it is empty"},
	} {
		f, err := NewFormat(c.title, c.text)
		if err != nil {
			t.Errorf("%s, %s: %v", c.title, c.text, err)
			continue
		}
		r := &Router{Host: "node7", Sinks: []Sink{{MinSeverity: recovery.Info, URL: "x", Format: f}}}
		got := r.Route(c.a, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		if len(got) != 1 || got[0].Title != c.wantTitle || got[0].Text != c.wantText && (c.text != "" && c.err == "" || !strings.HasPrefix(got[0].Text, c.wantText)) || !strings.Contains(got[0].Fault, c.err) || c.err == "" && got[0].Fault != "" {
			t.Errorf("%s, %s: %+v", c.title, c.text, got)
		}
	}
	f, err := NewFormat("{{.Output}}", "{{.Output}}{{.Output}}")
	if err != nil {
		t.Fatal(err)
	}
	title, text, fault := f.apply(newMessage(long, "node7"), "")
	if fault != "" || len(title) > maxTitle || len(text) > maxText || len(text) < maxText-8 || !utf8.ValidString(title+text) || !strings.HasSuffix(title, "…") || !strings.HasSuffix(text, "…") {
		t.Errorf("%d, %d bytes: %s", len(title), len(text), fault)
	}
}

// FuzzFormat: whatever the template and the alert are, it is refused, or makes
// something bounded and printable.
func FuzzFormat(f *testing.F) {
	f.Add("{{.Text}}", "x")
	f.Add("{{with .Output}}{{.}}{{else}}{{cut 9 .Cause}}{{end}}", "\x1b[31m")
	f.Add("{{$x := .Log}}{{len $x | eq 3}}{{(.Time.Format \"15\")}}", "{{.Text}}")
	f.Add("{{/* x */}}{{- if and (gt .Attempt 1) (ne .Host \"a\")}}x{{else if .Log}}y{{end -}}", "\u202e\n")
	f.Fuzz(func(t *testing.T, text, field string) {
		format, err := NewFormat(text, text)
		if err != nil {
			return
		}
		a := alertOf(recovery.Critical, recovery.Event(field), field)
		a.Text, a.Output, a.Lines, a.Cause = field, field, field, field
		title, text, _ := format.apply(newMessage(a, "node7"), "resolved: ")
		if len(title) > max(maxTitle, len(field)+200) || len(text) > max(maxText, 8*len(field)+400) || !utf8.ValidString(title+text) || strings.ContainsAny(title, "\n\r\x1b\u202e") || strings.ContainsAny(text, "\r\x1b\u202e") {
			t.Errorf("%q, %q", title, text)
		}
	})
}

// A template that fails on an alert none of the samples is like lets the alert
// go out in the built-in form.
func TestTemplateThatFails(t *testing.T) {
	f, err := NewFormat("", `{{if eq .Event "odd"}}{{if eq .Attempt .Host}}{{end}}{{end}}x`)
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	n := &Notifier{Router: Router{Host: "h", Sinks: []Sink{{MinSeverity: recovery.Info, URL: "x", Format: f}}}, Log: slog.New(slog.NewTextHandler(log, nil)), Send: func(Delivery) error { return nil }}
	n.Start(t.Context(), State{}, time.Now())
	n.Alert(alertOf(recovery.Critical, "fine", "app"))
	if log.Len() > 0 {
		t.Error(log)
	}
	r := &Router{Host: "h", Sinks: n.Router.Sinks}
	if got := r.Route(alertOf(recovery.Critical, "odd", "app2"), time.Now()); len(got) != 1 || !strings.Contains(got[0].Text, "service: app2") || !strings.Contains(got[0].Fault, "incompatible types") {
		t.Errorf("%+v", got)
	}
	n.Alert(alertOf(recovery.Critical, "odd", "app3"))
	if text := log.String(); strings.Count(text, "event=template_failed receiver=1") != 1 || !strings.Contains(text, "incompatible types") {
		t.Error(text)
	}
}

// The end and the escalation of an incident go through the templates, too, of
// the receivers that they go to, behind a restart of the watchdog as well.
func TestTemplatesOfAnIncident(t *testing.T) {
	all, err := NewFormat("", "{{.State}} {{.Severity}} {{.Text}} {{.Duration}}")
	if err != nil {
		t.Fatal(err)
	}
	own, err := NewFormat("own {{.State}}", "")
	if err != nil {
		t.Fatal(err)
	}
	router := func() *Router {
		return &Router{Host: "h", Every: time.Hour, Format: all, Sinks: []Sink{{MinSeverity: recovery.Info, URL: "a"}, {MinSeverity: recovery.Info, URL: "b", Format: own}}, Escalations: []Escalation{{15 * time.Minute, "c"}}}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := router()
	texts := func(all []Delivery) (out string) {
		for _, d := range all {
			first, _, _ := strings.Cut(d.Text, "\n")
			out += d.URL + "=" + d.Title + "|" + first + " "
		}
		return out
	}
	if got := texts(r.Route(alertOf(recovery.Critical, "gave_up", "app"), now)); got != "a=[critical] app on h|open critical gave_up 0s b=own open|gave_up " {
		t.Error(got)
	}
	saved := r.Incidents()
	r = router()
	r.Restore(saved, now)
	if got := texts(r.Tick(now.Add(15 * time.Minute))); got != "c=[critical] app on h|unresolved critical gave_up 15m0s " {
		t.Error(got)
	}
	if got := texts(r.Route(alertOf(recovery.Info, "recovered", "app"), now.Add(time.Hour))); got != "a=[info] app on h|resolved info recovered 1h0m0s b=own resolved|resolved: recovered c=[info] app on h|resolved info recovered 1h0m0s " {
		t.Error(got)
	}
}

// Who names receivers is heard by them alone; the end goes where the alert
// went, whatever the labels say then.
func TestNamedReceivers(t *testing.T) {
	r := &Router{Host: "h", Every: time.Hour, Sinks: []Sink{{MinSeverity: recovery.Info, URL: "all"}},
		Named:       map[string][]Sink{"team-a": {{MinSeverity: recovery.Warning, URL: "a"}, {MinSeverity: recovery.Critical, URL: "a2"}}, "team-b": {{MinSeverity: recovery.Info, URL: "b"}}},
		Escalations: []Escalation{{15 * time.Minute, "boss"}}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, c := range []struct {
		names []string
		sev   recovery.Severity
		event recovery.Event
		key   string
		want  string
	}{
		{nil, recovery.Warning, "restarted", "app", "all=sent"},
		{nil, recovery.Info, "recovered", "app", "all=resolved"},
		{[]string{"team-a"}, recovery.Warning, "restarted", "app", "a=sent"},
		{[]string{"team-a"}, recovery.Critical, "gave_up", "app", "a=sent a2=sent"},
		{[]string{"team-b"}, recovery.Info, "recovered", "app", "a=resolved a2=resolved"},
		{[]string{"team-a", "default"}, recovery.Warning, "restarted", "app", "a=sent all=sent"},
		{nil, recovery.Info, "recovered", "app", "a=resolved all=resolved"},
		{[]string{"team-b", "nobody"}, recovery.Warning, "restarted", "app", "all=sent b=sent"},
		{nil, recovery.Info, "recovered", "app", "all=resolved b=resolved"},
		{nil, recovery.Critical, recovery.EventEngineLost, "", "all=sent"},
	} {
		a := alertOf(c.sev, c.event, c.key)
		a.Policy.Receivers = c.names
		if got := urls(r.Route(a, now.Add(time.Duration(i)*time.Second))); got != c.want {
			t.Errorf("step %d: %q, want %q", i, got, c.want)
		}
	}
	// Whom it went to is not there any more.
	a := alertOf(recovery.Warning, "restarted", "app")
	a.Policy.Receivers = []string{"team-a"}
	r.Route(a, now)
	r.Named["team-a"] = []Sink{{MinSeverity: recovery.Info, URL: "a3"}}
	a = alertOf(recovery.Info, "recovered", "app")
	a.Policy.Receivers = []string{"team-a"}
	if got := urls(r.Route(a, now)); got != "a3=resolved" {
		t.Errorf("resolved: %q", got)
	}
	r.Named["team-a"] = []Sink{{URL: "a"}, {URL: "a2"}}
	if got := r.Receivers(); !reflect.DeepEqual(got, []string{"all", "a", "a2", "b", "boss"}) {
		t.Errorf("%q", got)
	}
}

// Receivers that share an address each have their own template, at the end as
// well.
func TestTemplatesOfASharedAddress(t *testing.T) {
	form := func(text string) *Format {
		f, err := NewFormat("", text)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	r := &Router{Host: "h", Every: time.Hour, Format: form("all {{.State}}"), Sinks: []Sink{{MinSeverity: recovery.Info, URL: "x"}},
		Named:       map[string][]Sink{"team-a": {{MinSeverity: recovery.Info, URL: "x", Format: form("a {{.State}}")}}, "team-b": {{MinSeverity: recovery.Info, URL: "x", Format: form("b {{.State}}")}}},
		Escalations: []Escalation{{time.Minute, "x"}}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for names, want := range map[string]string{"": "all", "default": "all", "team-a": "a", "team-b": "b", "team-b team-a": "b", "nobody": "all"} {
		var got []string
		for _, a := range []recovery.Action{alertOf(recovery.Critical, "gave_up", names), alertOf(recovery.Info, "recovered", names), alertOf(recovery.Info, "started", names)} {
			a.Policy.Receivers = strings.Fields(names)
			for _, d := range r.Route(a, now) {
				got = append(got, d.URL+"="+d.Text)
			}
		}
		if all := strings.Join(got, ", "); all != "x="+want+" open, x="+want+" resolved, x="+want+" open" {
			t.Errorf("%s: %s", names, all)
		}
	}
}

// The fields that the documentation lists are those that there are.
func TestDocsListEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/watchdog.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Templates\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range FieldNames() {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("docs/watchdog.md does not list %s", name)
		}
	}
	for _, name := range append(builtins, "upper", "lower", "cut") {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("docs/watchdog.md does not list %s", name)
		}
	}
}

// A configuration that is read anew brings its receivers and templates.
func TestReloadOfReceivers(t *testing.T) {
	var mu sync.Mutex
	var got []string
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "all"}}}, func(d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, d.URL+"="+d.Text)
		return nil
	}, func(n *Notifier) {
		f, err := NewFormat("", "now {{.Event}}")
		if err != nil {
			t.Error(err)
		}
		n.Reload(Router{Sinks: n.Router.Sinks, Format: f, Named: map[string][]Sink{"team-a": {{MinSeverity: recovery.Info, URL: "a"}}}})
		a := alertOf(recovery.Critical, "gave_up", "app")
		a.Policy.Receivers = []string{"team-a"}
		n.Alert(a)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 1 || got[0] != "a=now gave_up" {
			t.Errorf("%q", got)
		}
	})
}
