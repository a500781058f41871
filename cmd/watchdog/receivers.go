package main

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// resolveAlerts reads who receives what. No error repeats an address, which may
// hold a token.
func (r *raw) resolveAlerts() error {
	for i, text := range r.notify {
		which := fmt.Sprintf("%s number %d", r.environ.Source("notify"), i+1)
		minSeverity := recovery.Info
		if word, rest, ok := strings.Cut(text, "="); ok && isWord(word) {
			var err error
			if minSeverity, err = alert.ParseSeverity(word); err != nil {
				return usagef("--notify critical=slack://…", "%s: %v", which, err)
			}
			text = rest
		}
		if err := checkReceiver(which, text); err != nil {
			return err
		}
		r.router.Sinks = append(r.router.Sinks, alert.Sink{MinSeverity: minSeverity, URL: text})
	}
	for _, h := range r.hooks {
		if alert.CheckReceiver(h.url) != nil {
			return usagef(h.variable+"=https://…", "%s: not an http or https address", h.variable)
		}
		r.router.Sinks = append(r.router.Sinks, alert.Sink{MinSeverity: recovery.Info, URL: h.url})
	}
	for i, text := range r.escalate {
		which := fmt.Sprintf("%s number %d", r.environ.Source("escalate-after"), i+1)
		after, address, ok := strings.Cut(text, "=")
		d, err := time.ParseDuration(after)
		if !ok || err != nil || d <= 0 {
			return usagef("--escalate-after 15m=slack://…", "%s: want a duration, = and an address", which)
		}
		if err := checkReceiver(which, address); err != nil {
			return err
		}
		r.router.Escalations = append(r.router.Escalations, alert.Escalation{After: d, URL: address})
	}
	var err error
	if r.router.Format, err = newFormat(r.title, r.text, func(part string) string { return r.environ.Source("notify-" + part) }); err != nil {
		return err
	}
	if err := r.resolveNamed(); err != nil {
		return err
	}
	if r.router.Host == "" {
		r.router.Host, _ = os.Hostname()
	}
	return nil
}

// isWord tells a severity, mistyped perhaps, from the beginning of an address.
var isWord = regexp.MustCompile(`^[A-Za-z]{1,12}$`).MatchString

// receiverForms is how shoutrrr writes what services give out as an address of
// https.
var receiverForms = []struct{ host, path, given, write string }{
	{"hooks.slack.com", "/services/", "https://hooks.slack.com/services/A/B/C", "slack://hook:A-B-C@webhook"},
	{"discord.com", "/api/webhooks/", "https://discord.com/api/webhooks/ID/TOKEN", "discord://TOKEN@ID"},
	{"discordapp.com", "/api/webhooks/", "https://discordapp.com/api/webhooks/ID/TOKEN", "discord://TOKEN@ID"},
	{"api.telegram.org", "/", "https://api.telegram.org/botTOKEN", "telegram://TOKEN@telegram?chats=ID"},
	{"ntfy.sh", "/", "https://ntfy.sh/TOPIC", "ntfy://ntfy.sh/TOPIC"},
}

// checkReceiver refuses an address that shoutrrr does not understand, and says
// what to write for one of https. It does not repeat the address.
func checkReceiver(which, address string) error {
	err := alert.CheckReceiver(address)
	if err == nil {
		return nil
	}
	u, badURL := url.Parse(address)
	if badURL != nil || u.Scheme != "https" && u.Scheme != "http" {
		hint := "slack://…, discord://…, ntfy://…, smtp://…, or generic+https://… for any webhook; a secret one goes into WATCHDOG_NOTIFY_FILE"
		return usagef(hint, "%s: %v", which, err)
	}
	for _, f := range receiverForms {
		if strings.EqualFold(u.Hostname(), f.host) && strings.HasPrefix(u.Path, f.path) {
			return usagef("write "+f.write+" for "+f.given, "%s: an address of %s in its own form, not in shoutrrr's", which, f.host)
		}
	}
	return usagef("write generic+"+u.Scheme+"://… for a webhook that takes any text, and ?template=json behind it for JSON", "%s: an address of %s, without the service's own scheme", which, u.Scheme)
}
