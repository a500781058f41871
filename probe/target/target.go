// Package target is a target, its settings and its secrets, and the connection
// to it: dialling, TLS, and bounded reads. It knows no protocol.
package target

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"healthcheck/probe"
)

// Target is one thing to look at, as the user wrote it: [NAME=]TARGET, where
// TARGET is a path or a URL whose fragment holds settings of its own.
type Target struct {
	// Name is what the user called it; empty when not named.
	Name string
	// URL is the resolved target, without its fragment.
	URL *url.URL
	// Settings are the fragment's, in its order, percent-decoded.
	Settings []Setting
	// Relative says that it was a path alone, resolved against the application's
	// own address.
	Relative bool
	// Secrets are the values in it that must not be printed.
	Secrets *Secrets
}

// Setting is one KEY=VALUE of a target's fragment.
type Setting struct{ Key, Value string }

// cutName takes the name off NAME=TARGET: letters, digits, and behind the
// first of them also _ . and -.
func cutName(s string) (name, rest string) {
	name, rest, ok := strings.Cut(s, "=")
	for i, r := range name {
		if !IsLetter(r) && !IsDigit(r) && (i == 0 || !strings.ContainsRune("_.-", r)) {
			return "", s
		}
	}
	if !ok || name == "" {
		return "", s
	}
	return name, rest
}

// isSecretParam says whether the value of a query parameter is a credential.
func isSecretParam(key string) bool {
	key = strings.ToLower(key)
	switch key {
	case "target_session_attrs", "passfile", "sslkey", "require_auth", "authsource", "authmechanism", "authmechanismproperties",
		"allowpublickeyretrieval":
		return false // named like secrets, and none: libpq's, MongoDB's and JDBC's own
	case "keyword", "keywords", "keyspace", "author", "authors", "design", "signal", "bypass", "passive", "tokenizer", "tokens", "max_tokens":
		return false // words that begin like one
	}
	return isPassword(key) || !strings.HasPrefix(key, "keepalive") && slices.ContainsFunc([]string{"token", "key", "auth", "sig", "cred", "session"},
		func(part string) bool { return strings.Contains(key, part) })
}

// isPassword says whether a parameter's name tells that its value is a
// password, be it as short as 5, or the name misspelt.
func isPassword(key string) bool {
	key = strings.ToLower(key)
	return key == "pw" || slices.ContainsFunc([]string{"pass", "pwd", "secret", "pasw", "psw", "pssw", "pword"}, func(part string) bool { return strings.Contains(key, part) })
}

// ParseTarget reads [NAME=]TARGET. A path is resolved against base. Errors
// never repeat the target, which may hold a password.
func ParseTarget(s string, base *url.URL) (Target, error) {
	t := Target{Secrets: &Secrets{}}
	s = strings.TrimSpace(s)
	t.Name, s = cutName(s)
	if m := Mistake(s); m != nil {
		return t, m
	}
	// JDBC's URLs are those of the database behind a word of its own.
	s = strings.TrimPrefix(s, "jdbc:")
	s, fragment, _ := strings.Cut(s, "#")
	if mislaid(s, fragment) {
		return t, errMislaid
	}
	var err error
	switch {
	case s == "":
		return t, errors.New("the target is empty")
	case strings.HasPrefix(s, "/"):
		t.Relative = true
		// Behind a host: //health/ready alone would have the host health.
		if t.URL, err = url.Parse("http://host" + s); err == nil {
			ref := *base
			ref.Path, ref.RawPath, ref.RawQuery = joinPath(base, t.URL)
			t.URL = &ref
		}
	case strings.HasPrefix(s, "unix://"):
		// unix:///a.sock:/path has a colon that url.Parse takes as it is. The @ of
		// unix://@name would be the end of a user.
		name, abstract := strings.CutPrefix(s, "unix://@")
		if t.URL, err = url.Parse("unix:///" + name); !abstract {
			t.URL, err = url.Parse(s)
		} else if err == nil {
			t.URL.Path, t.URL.RawPath = "@"+t.URL.Path[1:], "@"+t.URL.EscapedPath()[1:]
		}
	case !strings.Contains(s, "://"):
		return t, errors.New("it is neither a path that begins with / nor a URL")
	default:
		t.URL, err = parseURL(s)
	}
	if err != nil {
		return t, errors.New("the URL is malformed: " + urlFault(err))
	}
	t.URL.Scheme = strings.ToLower(t.URL.Scheme)
	t.Secrets.AddUser(t.URL.User)
	if t.Settings, err = parseSettings(fragment); err != nil {
		return t, err
	}
	if u := t.URL.User; u != nil && !t.userIsName() {
		if pw, _ := u.Password(); pw == "" {
			t.Secrets.AddToken(u.Username())
		}
	}
	for k, vs := range t.URL.Query() {
		if isSecretParam(k) {
			for _, v := range vs {
				if isPassword(k) || !IsPlain(v) {
					t.Secrets.Add(v)
				}
			}
		}
	}
	if t.URL.User == nil && t.URL.Path == "" && t.URL.Port() != "" {
		// http://u:9#json=pw@host/ reads as a port and a setting, and may be a
		// user with a password.
		for _, s := range t.Settings {
			if i := strings.LastIndex(s.Value, "@"); i > 0 {
				t.Secrets.Add(s.Value[:i])
			}
		}
	}
	return t, nil
}

// errMislaid is a credential in which a character of the URL's own stands.
var errMislaid = &Misuse{"an @ or a # stands behind the host",
	"in a user, password or token write # / ? @ % as %23 %2F %3F %40 %25 (percent-encoding)"}

// settingNames are what may stand before = behind #; see the protocols for
// what each of them takes.
var settingNames = []string{"status", "body", "json", "method", "header", "max-redirects",
	"send", "send-file", "not-body", "expect-header", "http-version", "expect", "starttls",
	"ca-cert", "insecure", "client-cert", "client-key", "server-name", "cert-days", "connect-to", "proxy-protocol", "timeout", "max-time", "warn-time",
	"password-file", "ready"}

func isSetting(name string) bool { return slices.Contains(settingNames, name) }

// mislaid says whether a part of a password may have come to stand where a
// path, a query or a setting belongs: an unescaped # / or ? ends the host, and
// the @ that was to end the password follows. Nothing of such a target may be
// printed.
func mislaid(s, fragment string) bool {
	key, _, _ := strings.Cut(fragment, "=")
	if strings.Contains(fragment, "@") && !isSetting(key) {
		return true
	}
	_, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		return false
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "unix:") || strings.HasPrefix(s, "file:") || strings.HasPrefix(s, "pidfile:") {
		// A second target behind a path: '/health --db postgres://u:pw@h'.
		return strings.HasPrefix(s, "/") && strings.Contains(rest, "@")
	}
	authority, rest := cutAuthority(rest)
	path, query, _ := strings.Cut(rest, "?")
	if strings.Contains(path, "@") {
		return true
	}
	if !strings.Contains(query, "@") {
		return false
	}
	// ?user=me@server is a parameter; 9?b=c@host behind app: is a password.
	if strings.Contains(authority, ":") && !strings.Contains(authority, "@") {
		return true
	}
	for part := range strings.SplitSeq(query, "&") {
		if key, _, ok := strings.Cut(part, "="); strings.Contains(key, "@") || !ok && strings.Contains(part, "@") {
			return true
		}
	}
	return false
}

// cutAuthority splits what stands behind :// into user, host and port, and
// the rest from / or ? on.
func cutAuthority(s string) (authority, rest string) {
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// parseURL is url.Parse for hosts of databases too: several with commas
// between them, and the path of a Unix socket with its slashes as %2F, as
// libpq and MongoDB write them. The host of such a URL is kept as it is meant.
func parseURL(s string) (*url.URL, error) {
	scheme, rest, _ := strings.Cut(s, "://")
	authority, rest := cutAuthority(rest)
	at := strings.LastIndex(authority, "@") + 1
	hosts := authority[at:]
	if !strings.Contains(hosts, ",") && !strings.Contains(strings.ToLower(hosts), "%2f") {
		return url.Parse(s)
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if !strings.Contains(strings.ToLower(host), "%2f") {
			if _, err := url.Parse("x://" + host); err != nil {
				return nil, err
			}
		}
	}
	u, err := url.Parse(scheme + "://" + authority[:at] + "hosts" + rest)
	if err != nil {
		return nil, err
	}
	u.Host, err = url.PathUnescape(hosts)
	return u, err
}

// joinPath resolves a path-only target below the base's own path.
func joinPath(base, ref *url.URL) (path, raw, query string) {
	prefix := strings.TrimSuffix(base.EscapedPath(), "/")
	raw = prefix + ref.EscapedPath()
	path, err := url.PathUnescape(raw)
	if err != nil {
		path = raw
	}
	return path, raw, ref.RawQuery
}

// urlFault names what is wrong with a URL without repeating any of it:
// url.Error's text and that of the errors behind it quote the input.
func urlFault(err error) string {
	text := err.Error()
	if strings.Contains(text, "invalid URL escape") {
		return "invalid URL escape (a % itself is written %25)"
	}
	for _, known := range []string{"invalid port", "invalid character", "invalid userinfo",
		"invalid control character", "missing ']'", "first path segment", "missing protocol scheme", "invalid host"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return "it cannot be parsed"
}

// Params returns the values of the query parameters that a check knows, and
// an error for one that it does not.
func (t Target) Params(known ...string) (url.Values, error) {
	return t.ParamsBeside("", nil, known...)
}

// ParamsBeside is Params where the target is also another program's
// connection string: ignored names, in lower case and between spaces, the
// parameters of its that mean nothing to a check, and theirs those that do
// and that have a name of the check's own.
func (t Target) ParamsBeside(ignored string, theirs []string, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(t.URL.RawQuery)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	for k := range q {
		if IsIgnored(ignored, k) {
			delete(q, k)
		} else if !slices.Contains(known, k) && !slices.Contains(theirs, k) {
			if isSetting(k) {
				return nil, &Misuse{fmt.Sprintf("%s= is a setting, and no parameter", k), "it stands behind #, not behind ?: …#" + k + "=VALUE"}
			}
			if len(known) == 0 {
				return nil, fmt.Errorf("a %s target takes no parameters, got %q", t.URL.Scheme, probe.Cut(k, 40))
			}
			return nil, fmt.Errorf("unknown parameter %q: %s knows %s", probe.Cut(k, 40), t.URL.Scheme, strings.Join(known, ", "))
		}
	}
	return q, nil
}

// IsIgnored says whether key is among names, which are in lower case and
// between spaces.
func IsIgnored(names, key string) bool {
	return slices.Contains(strings.Fields(names), strings.ToLower(key))
}

// IsHTTP says whether a scheme is that of web servers.
func IsHTTP(scheme string) bool { return scheme == "http" || scheme == "https" }

// String is the target as it may be printed: no password, no token, no
// settings.
func (t Target) String() string {
	u := *t.URL
	u.User = nil
	if u.Scheme == "exec" {
		u.RawQuery = "" // a command's arguments, whatever they are
	}
	if u.RawQuery != "" {
		u.RawQuery = redactQuery(u.RawQuery)
	}
	s := u.String()
	if t.URL.User != nil {
		user := redacted
		if pw, _ := t.URL.User.Password(); t.userIsName() || pw != "" {
			user = url.User(t.URL.User.Username()).String()
			if pw != "" {
				user += ":" + redacted
			}
		}
		s = strings.Replace(s, "://", "://"+user+"@", 1)
	}
	return probe.Clean(s)
}

func redactQuery(raw string) string {
	parts := strings.Split(raw, "&")
	for i, p := range parts {
		key, _, ok := strings.Cut(p, "=")
		name, err := url.QueryUnescape(key)
		if ok && (err != nil || isSecretParam(name)) {
			parts[i] = key + "=" + redacted
		}
	}
	return strings.Join(parts, "&")
}

// Errorf is the error of a check: the target, then what came and what was
// wanted. Secrets are taken out last, whatever put them in.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
func (t Target) Errorf(s probe.Stage, format string, args ...any) error {
	return t.Failf("", s, format, args...)
}

// Failf is Errorf with the action before the target, such as GET. The class of
// an error among the arguments is kept.
func (t Target) Failf(action string, s probe.Stage, format string, args ...any) error {
	if action != "" {
		action += " "
	}
	out := &probe.StageError{Stage: s, Err: errors.New(action + t.String() + ": " + t.Secrets.Redact(fmt.Sprintf(format, args...)))}
	for _, a := range args {
		if err, ok := a.(error); ok {
			if se, ok := errors.AsType[*probe.StageError](err); ok {
				out.Class = se.Class
			}
		}
	}
	return out
}

// Dialled is the host, and the port where it is given, that a check connects to:
// those of the URL, unless connect-to= names others.
func (t Target) Dialled() (host, port string) {
	if host, port, err := net.SplitHostPort(t.Setting("connect-to")); err == nil {
		return host, port
	}
	return t.URL.Hostname(), t.URL.Port()
}

// Local says whether the target is part of this very container: its loopback, a
// socket or a file of its own.
func (t Target) Local() bool {
	switch t.URL.Scheme {
	case "file", "pidfile", "unix", "redis+unix":
		return true
	}
	host, _ := t.Dialled()
	if query := t.URL.Query().Get("host"); host == "" && query != "" {
		host = query // postgres:///app?host=/run/postgresql
	}
	if host == "" || strings.HasPrefix(host, "/") || isLocalhost(host) {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// IsLetter says whether r is an ASCII letter.
func IsLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// IsDigit says whether r is an ASCII digit.
func IsDigit(r rune) bool { return r >= '0' && r <= '9' }
