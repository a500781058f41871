package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
)

// JSONExpect is what a JSON body must have: a member that is there, or is not,
// or has a value.
type JSONExpect struct {
	path []jsonKey
	// op is empty for a member that need only be there, ! for one that must not.
	op, want string
}

// jsonKey is one step of a path.
type jsonKey struct {
	name  string
	every bool // *: each element of an array, or member of an object
	count bool // #: how many there are
}

func (k jsonKey) String() string {
	switch {
	case k.every:
		return "*"
	case k.count:
		return "#"
	}
	return k.name
}

func pathText(path []jsonKey) string {
	var names []string
	for _, k := range path {
		names = append(names, k.String())
	}
	return strings.Join(names, ".")
}

var errJSONExpect = errors.New("not of the form PATH=VALUE")

// ParseJSONExpect reads PATH=VALUE, PATH!=VALUE, PATH>=NUMBER (and >, <, <=),
// PATH alone for a member that is there, and !PATH for one that is not. PATH
// walks objects and, by number, arrays with dots; * is each of them, # how many
// there are. A backslash before a dot, or another of these characters, makes it
// part of a name.
func ParseJSONExpect(s string) (e JSONExpect, err error) {
	s, absent := strings.CutPrefix(s, "!")
	if absent {
		e.op = "!"
	}
	var name []byte
	escaped := false
	add := func() {
		k := jsonKey{name: string(name)}
		k.every, k.count = k.name == "*" && !escaped, k.name == "#" && !escaped
		e.path = append(e.path, k)
		name, escaped = nil, false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			name, escaped = append(name, s[i]), true
		case c == '.':
			add()
		case strings.IndexByte("=!<>", c) >= 0:
			add()
			op := s[i : i+1]
			if c != '=' && strings.HasPrefix(s[i+1:], "=") {
				op = s[i : i+2]
			}
			if absent || op == "!" || i == 0 {
				return e, errJSONExpect
			}
			e.op, e.want = op, s[i+len(op):]
			if _, err := strconv.ParseFloat(e.want, 64); err != nil && c != '=' && c != '!' {
				return e, fmt.Errorf("no number stands behind %s", op)
			}
			return e, nil
		default:
			name = append(name, c)
		}
	}
	if s == "" {
		return e, errJSONExpect
	}
	add()
	return e, nil
}

func (h *httpCheck) judgeJSON(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(withoutBOM(body)))
	dec.UseNumber() // 1.0 and 12345678901234567890 are compared as written
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return h.fail(probe.StageJSON, "the body is not JSON: %s", h.target.Secrets.Quote(string(body)))
	}
	if _, err := dec.Token(); err != io.EOF {
		rest := body[min(int(dec.InputOffset()), len(body)):]
		return h.fail(probe.StageJSON, "the body is not JSON: behind it stands %s", h.target.Secrets.Quote(string(rest)))
	}
	for _, e := range h.opt.JSON {
		if err := h.judgeMember(e, doc, body); err != nil {
			return err
		}
	}
	return nil
}

// judgeMember looks at every value that a path leads to: where it leads to none,
// it is a failure as one that leads to a wrong value is.
func (h *httpCheck) judgeMember(e JSONExpect, doc any, body []byte) error {
	want := ""
	if e.op != "" {
		want = ", want " + e.wanted()
	}
	any := false
	var fault error
	walk(doc, e.path, nil, func(path []jsonKey, got string, ok bool) bool {
		name := probe.Cut(pathText(path), 80)
		switch {
		case e.op == "!" && !ok:
		case e.op == "!":
			fault = h.fail(probe.StageJSON, "%q is %s, want none", name, h.target.Secrets.Quote(got))
		case !ok:
			fault = h.fail(probe.StageJSON, "the body has no %q%s: %s", name, want, h.target.Secrets.Quote(string(body)))
		case !e.holds(got):
			fault = h.fail(probe.StageJSON, "%q is %s%s", name, h.target.Secrets.Quote(got), want)
		}
		any = true
		return fault == nil
	})
	if !any && e.op != "!" {
		return h.fail(probe.StageJSON, "the body has no %q%s: %s", probe.Cut(pathText(e.path), 80), want, h.target.Secrets.Quote(string(body)))
	}
	return fault
}

// wanted is the value, as messages have it.
func (e JSONExpect) wanted() string {
	text := strconv.Quote(probe.Cut(e.want, 80))
	switch e.op {
	case "=":
		return text
	case "!=":
		return "anything but " + text
	}
	return e.op + " " + probe.Cut(e.want, 80)
}

func (e JSONExpect) holds(got string) bool {
	switch e.op {
	case "":
		return true
	case "=":
		return got == e.want
	case "!=":
		return got != e.want
	}
	a, err := strconv.ParseFloat(got, 64)
	b, _ := strconv.ParseFloat(e.want, 64)
	switch {
	case err != nil:
		return false
	case a < b:
		return e.op == "<" || e.op == "<="
	case a > b:
		return e.op == ">" || e.op == ">="
	}
	return len(e.op) == 2
}

// withoutBOM takes off the mark that some servers of Windows's put before
// UTF-8, which JSON has no place for (RFC 8259, 8.1, lets a reader ignore it).
func withoutBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }

// walk follows a path through a decoded document and hands what it finds to
// found as text: strings as they are, everything else as JSON. It stops when
// found returns false, and returns that.
func walk(doc any, path, done []jsonKey, found func(path []jsonKey, text string, ok bool) bool) bool {
	if len(path) == 0 {
		if s, ok := doc.(string); ok {
			return found(done, s, true)
		}
		text, err := json.Marshal(doc)
		return found(done, string(text), err == nil)
	}
	key, rest := path[0], path[1:]
	into := func(name string, next any) bool {
		return walk(next, rest, append(done[:len(done):len(done)], jsonKey{name: name}), found)
	}
	missing := func() bool { return found(append(done[:len(done):len(done)], path...), "", false) }
	switch v := doc.(type) {
	case map[string]any:
		switch {
		case key.count:
			return into("#", json.Number(strconv.Itoa(len(v))))
		case key.every:
			for _, name := range sortedKeys(v) {
				if !into(name, v[name]) {
					return false
				}
			}
			return true
		}
		if next, ok := v[key.name]; ok {
			return into(key.name, next)
		}
	case []any:
		switch {
		case key.count:
			return into("#", json.Number(strconv.Itoa(len(v))))
		case key.every:
			for i, next := range v {
				if !into(strconv.Itoa(i), next) {
					return false
				}
			}
			return true
		}
		if i, err := strconv.Atoi(key.name); err == nil && i >= 0 && i < len(v) {
			return into(key.name, v[i])
		}
	}
	return missing()
}

func sortedKeys(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
