package main

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"healthcheck/cmd/flags"
)

// autoheal honours docker-autoheal's variables, for people moving over. A flag
// of this program's own wins.
func (r *raw) autoheal(fs *pflag.FlagSet, getenv func(string) string) error {
	seconds := func(name string) (int, bool, error) {
		text := getenv(name)
		if text == "" {
			return 0, false, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, false, usagef(name+"=10", "%s %q: want a number of seconds", name, flags.Clip(text))
		}
		return n, true, nil
	}
	switch label := getenv("AUTOHEAL_CONTAINER_LABEL"); {
	case strings.EqualFold(label, "all"):
		r.settings.All = true
	case label != "":
		r.settings.OptInLabel = label
	}
	delay, _, err := seconds("AUTOHEAL_START_PERIOD")
	if err != nil {
		return err
	}
	r.startDelay = time.Duration(delay) * time.Second
	n, given, err := seconds("AUTOHEAL_DEFAULT_STOP_TIMEOUT")
	if err != nil {
		return err
	}
	if given && !fs.Changed("stop-timeout") {
		r.stopTimeout = n
	}
	if sock := getenv("DOCKER_SOCK"); sock != "" && r.host == "" && getenv("DOCKER_HOST") == "" {
		r.hostSource = "DOCKER_SOCK"
		r.host = "unix://" + sock
		if strings.Contains(sock, "://") {
			r.host = sock
		}
	}
	if address := getenv("WEBHOOK_URL"); address != "" {
		r.hooks = append(r.hooks, hook{"WEBHOOK_URL", genericHook(address, cmp.Or(getenv("WEBHOOK_JSON_KEY"), "text"))})
	}
	if address := getenv("APPRISE_URL"); address != "" {
		r.hooks = append(r.hooks, hook{"APPRISE_URL", genericHook(address, "body")})
	}
	for name, reason := range map[string]string{
		"AUTOHEAL_INTERVAL":     "events are followed as they come: there is no poll interval",
		"POST_RESTART_SCRIPT":   "scripts are not run",
		"AUTOHEAL_ONLY_MONITOR": "use --dry-run",
	} {
		if getenv(name) != "" {
			r.notes = append(r.notes, name+" has no effect: "+reason)
		}
	}
	return nil
}

// genericHook is a webhook of autoheal's as shoutrrr writes it: a JSON object
// with the text under a key.
func genericHook(address, key string) string {
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	return "generic+" + address + sep + "template=json&titlekey=title&messagekey=" + url.QueryEscape(key)
}
