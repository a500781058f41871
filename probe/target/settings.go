package target

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"healthcheck/probe"
)

func parseSettings(fragment string) ([]Setting, error) {
	var out []Setting
	if fragment == "" {
		return nil, nil
	}
	for _, part := range splitSettings(fragment) {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			key, value = part, "true" // a switch
		}
		k, err1 := url.PathUnescape(key)
		v, err2 := url.PathUnescape(value)
		if err1 != nil || err2 != nil {
			return nil, errors.New("the setting " + fmt.Sprintf("%q", probe.Cut(key, 40)) + " behind # has a malformed % escape")
		}
		out = append(out, Setting{k, v})
	}
	return out, nil
}

// splitSettings splits a fragment at each & and at each comma before the name
// of a setting: no shell takes that apart, and an & ends its command.
func splitSettings(fragment string) (parts []string) {
	for part := range strings.SplitSeq(fragment, "&") {
		for i, piece := range strings.Split(part, ",") {
			key, _, ok := strings.Cut(piece, "=")
			if i == 0 || isSetting(key) && (ok || key == "insecure" || key == "ready") {
				parts = append(parts, piece)
			} else {
				parts[len(parts)-1] += "," + piece
			}
		}
	}
	return parts
}

// Take returns the value of a setting, and the target without it.
func (t Target) Take(name string) (value string, rest Target, given bool, err error) {
	rest = t
	rest.Settings = nil
	for _, s := range t.Settings {
		switch {
		case s.Key != name:
			rest.Settings = append(rest.Settings, s)
		case given:
			return "", t, true, fmt.Errorf("the setting %s stands behind # twice", name)
		default:
			value, given = s.Value, true
		}
	}
	return value, rest, given, nil
}

// Setting is the value of a setting behind #, the last of several; empty for
// none.
func (t Target) Setting(key string) (value string) {
	for _, s := range t.Settings {
		if s.Key == key {
			value = s.Value
		}
	}
	return value
}

// CheckHostPort returns an error for what is not HOST:PORT.
func CheckHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || !ValidPort(port) || strings.ContainsAny(host, "/ @") {
		return errors.New("not HOST:PORT")
	}
	return nil
}

// CheckServerName returns an error for what is neither a name nor an address.
func CheckServerName(s string) error {
	if s == "" || net.ParseIP(s) == nil && strings.ContainsFunc(s, func(r rune) bool { return !IsLetter(r) && !IsDigit(r) && !strings.ContainsRune("-._", r) }) {
		return errors.New("no name of a host")
	}
	return nil
}

// NoUser returns an error when t carries a user that its kind of check has no
// use for.
func (t Target) NoUser() error {
	if t.URL.User != nil {
		return fmt.Errorf("a %s target takes no user and no password", t.URL.Scheme)
	}
	return nil
}

// NoSettings returns an error when t carries settings behind # that its kind
// of check does not know; nothing is silently ignored.
func (t Target) NoSettings() error {
	if len(t.Settings) > 0 {
		return fmt.Errorf("a %s target takes no setting %q behind #", t.URL.Scheme, probe.Cut(t.Settings[0].Key, 40))
	}
	return nil
}
