package main

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// namedReceiver is one of the configuration file's, which labels name.
type namedReceiver struct {
	name string
	// where says where it stands, for errors.
	where       string
	urls        []string
	urlFile     string
	severity    string
	title, text string
}

// receiverName is what a receiver may be called: a label names several with
// commas between them.
var receiverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString

// receiversForm shows what stands under receivers.
const receiversForm = "receivers: {NAME: {url: slack://…, severity: warning, title: TEMPLATE, text: TEMPLATE}}, or url-file in place of url"

// parseReceivers reads what stands under receivers.
func parseReceivers(path string, n *yaml.Node, wrong func(n *yaml.Node, hint, format string, args ...any) error) (all []namedReceiver, err error) {
	plain := func(n *yaml.Node, text string) error { return wrong(n, receiversForm, "%s", text) }
	entries, err := members(n, plain)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !receiverName(e.name) || e.name == recovery.DefaultReceivers {
			return nil, wrong(e.key, "letters, digits, dots, dashes and underscores; default are those of notify", "%q cannot be a receiver's name", flags.Clip(probe.Clean(e.name)))
		}
		r := namedReceiver{name: e.name, where: fmt.Sprintf("%s, line %d: %s", path, e.key.Line, e.name)}
		settings, err := members(e.value, plain)
		if err != nil {
			return nil, err
		}
		for _, s := range settings {
			to := map[string]*string{"url-file": &r.urlFile, "severity": &r.severity, "title": &r.title, "text": &r.text}[s.name]
			values, err := scalars(s.value)
			switch {
			case to == nil && s.name != "url":
				return nil, wrong(s.key, receiversForm, "a receiver has no %q", flags.Clip(probe.Clean(s.name)))
			case err != nil, to != nil && len(values) != 1:
				return nil, wrong(s.value, receiversForm, "%s: want one value", s.name)
			case to != nil:
				*to = values[0]
			default:
				r.urls = values
			}
		}
		if len(r.urls) == 0 == (r.urlFile == "") {
			return nil, wrong(e.key, receiversForm, "%s: want url or url-file", e.name)
		}
		all = append(all, r)
	}
	return all, nil
}

// resolveNamed reads the receivers that labels name. No error repeats an
// address.
func (r *raw) resolveNamed() error {
	r.settings.Receivers = []string{}
	for _, n := range r.receivers {
		sink := alert.Sink{MinSeverity: recovery.Info}
		var err error
		if n.severity != "" {
			if sink.MinSeverity, err = alert.ParseSeverity(n.severity); err != nil {
				return usagef("severity: warning", "%s: %v", n.where, err)
			}
		}
		if sink.Format, err = newFormat(n.title, n.text, func(part string) string { return n.where + ": " + part }); err != nil {
			return err
		}
		if n.urlFile != "" {
			text, err := r.environ.Read(n.urlFile)
			if err != nil {
				return usagef("the file must be readable by the user that the watchdog runs as", "%s: url-file: %s", n.where, err)
			}
			n.urls = strings.Fields(text)
		}
		if len(n.urls) == 0 {
			return usagef(receiversForm, "%s: there is no address", n.where)
		}
		for _, url := range n.urls {
			if err := checkReceiver(n.where, url); err != nil {
				return err
			}
			sink.URL = url
			if r.router.Named == nil {
				r.router.Named = map[string][]alert.Sink{}
			}
			r.router.Named[n.name] = append(r.router.Named[n.name], sink)
		}
		r.settings.Receivers = append(r.settings.Receivers, n.name)
	}
	for _, o := range r.overrides {
		if problems := o.Check(r.settings); len(problems) > 0 {
			return usagef("receivers: {NAME: {url: …}} names them", "%s: per-service: %s: %s", r.configFile, flags.Clip(probe.Clean(o.Name)), strings.TrimSuffix(strings.TrimPrefix(problems[0], "label watchdog."), "; the default ones apply"))
		}
	}
	return nil
}
