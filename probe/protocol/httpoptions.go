package protocol

import (
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// HTTPOptions are the settings of HTTP targets: the command line's, which a
// target's fragment may override one by one.
type HTTPOptions struct {
	Method       string              // empty: GET, or POST where there is something to send
	Header       map[string][]string // by its canonical name
	Send         string              // the request's body
	SendFile     string              // or the path of the file that it is in
	HTTP2        bool                // without TLS, the server must know beforehand (h2c)
	Status       StatusSet
	ExpectHeader []HeaderExpect
	Body         *regexp.Regexp // must match somewhere in the body
	NotBody      *regexp.Regexp // must match nowhere in it
	JSON         []JSONExpect
	MaxRedirects int
}

// with returns the options with a target's own settings in place.
func (o Options) with(settings []target.Setting) (Options, error) {
	common := o.Header
	o.Header = maps.Clone(o.Header)
	seen := map[string]bool{}
	for _, s := range settings {
		// The first setting of a kind replaces the command line's.
		fresh := !seen[s.Key]
		seen[s.Key] = true
		var err error
		switch s.Key {
		case "status":
			o.Status, err = ParseStatus(s.Value)
		case "body":
			o.Body, err = regexp.Compile(s.Value)
		case "json":
			var e JSONExpect
			if e, err = ParseJSONExpect(s.Value); err == nil {
				if fresh {
					o.JSON = nil
				}
				o.JSON = append(o.JSON[:len(o.JSON):len(o.JSON)], e)
			}
		case "not-body":
			o.NotBody, err = regexp.Compile(s.Value)
		case "expect-header":
			var e HeaderExpect
			if e, err = ParseHeaderExpect(s.Value); err == nil {
				if fresh {
					o.ExpectHeader = nil
				}
				o.ExpectHeader = append(o.ExpectHeader[:len(o.ExpectHeader):len(o.ExpectHeader)], e)
			}
		case "send":
			o.Send, o.SendFile = s.Value, ""
		case "send-file":
			o.Send, o.SendFile = "", s.Value
			if s.Value == "" {
				err = errors.New("empty")
			}
		case "http-version":
			o.HTTP2, err = ParseHTTPVersion(s.Value)
		case "method":
			o.Method, err = ParseMethod(s.Value)
		case "header":
			// Of the command line's headers it replaces the one of its name.
			name, _, _ := strings.Cut(s.Value, ":")
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if !seen["header "+name] && common[name] != nil {
				delete(o.Header, name)
			}
			seen["header "+name] = true
			err = AddHeader(o.Header, s.Value)
		case "max-redirects":
			o.MaxRedirects, err = strconv.Atoi(s.Value)
			if o.MaxRedirects < 0 {
				err = errors.New("negative")
			}
		default:
			return o, fmt.Errorf("unknown setting %q behind #: HTTP targets know status, body, not-body, json, expect-header, method, header, send, send-file, http-version and max-redirects, and what every target knows",
				probe.Cut(s.Key, 40))
		}
		if err != nil {
			if s.Key == "header" {
				return o, fmt.Errorf("the setting header behind # is not NAME: VALUE")
			}
			if strings.Contains(s.Value, "@") {
				return o, fmt.Errorf("the setting %s behind # is not valid", s.Key) // it may be the end of a password
			}
			return o, fmt.Errorf("the setting %s=%q behind # is not valid", s.Key, probe.Cut(s.Value, 60))
		}
	}
	return o, nil
}

// ParseMethod reads an HTTP method.
func ParseMethod(s string) (string, error) {
	if s == "" || len(s) > 20 || strings.ContainsFunc(s, func(r rune) bool { return !target.IsLetter(r) }) {
		return "", errors.New("not an HTTP method")
	}
	return strings.ToUpper(s), nil
}

// AddHeader reads "Name: value" into h. The error does not repeat it.
func AddHeader(h map[string][]string, line string) error {
	name, value, ok := strings.Cut(line, ":")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || !isHeaderName(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("not of the form NAME: VALUE")
	}
	textproto.MIMEHeader(h).Add(name, value)
	return nil
}

// isHeaderName says whether name is a token (RFC 9110, 5.6.2).
func isHeaderName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !target.IsLetter(r) && !target.IsDigit(r) && !strings.ContainsRune("!#$%&'*+.^_`|~-", r)
	})
}

// StatusSet is a set of HTTP status codes, as ranges.
type StatusSet struct {
	text   string
	ranges [][2]int
}

// ParseStatus reads codes (200), ranges (200-299) and classes (2xx),
// separated by commas.
func ParseStatus(s string) (StatusSet, error) {
	set := StatusSet{text: s}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		lo, hi, isRange := strings.Cut(part, "-")
		if len(part) == 3 && strings.HasSuffix(part, "xx") {
			lo, hi = part[:1]+"00", part[:1]+"99"
		} else if !isRange {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return set, errors.New("not an HTTP status")
		}
		set.ranges = append(set.ranges, [2]int{a, b})
	}
	return set, nil
}

func (s StatusSet) has(code int) bool {
	return slices.ContainsFunc(s.ranges, func(r [2]int) bool { return code >= r[0] && code <= r[1] })
}

func (s StatusSet) String() string { return s.text }

// HeaderExpect is a header that an answer must have; a nil Value is any.
type HeaderExpect struct {
	Name  string
	Value *regexp.Regexp
}

// ParseHeaderExpect reads "Name: REGEX", or a name alone.
func ParseHeaderExpect(s string) (e HeaderExpect, err error) {
	name, value, ok := strings.Cut(s, ":")
	e.Name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
	if !isHeaderName(e.Name) {
		return e, errors.New("not of the form NAME: REGEX")
	}
	if ok {
		e.Value, err = regexp.Compile(strings.TrimSpace(value))
	}
	return e, err
}

// ParseHTTPVersion reads 1.1 or 2.
func ParseHTTPVersion(s string) (two bool, err error) {
	if s != "1.1" && s != "2" {
		return false, errors.New("neither 1.1 nor 2")
	}
	return s == "2", nil
}
