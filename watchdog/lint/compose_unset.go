package lint

import (
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
)

// What depends on variables that nobody has set.

// unsetVariables notes which values depend on variables that nobody has set.
type unsetVariables struct {
	// results are the texts that came out, with a variable of each.
	results map[string]string
	names   map[string]bool
}

func (u *unsetVariables) substitute(text string, mapping template.Mapping) (string, error) {
	out, err := template.SubstituteWithOptions(text, mapping, template.WithoutLogging)
	if name := unsetIn(text, mapping, 0); name != "" {
		u.names[name] = true
		if err == nil {
			u.results[out] = name
		}
	}
	return out, err
}

// maxNesting is how deep ${A:-${B:-…}} is followed.
const maxNesting = 20

// unsetIn names a variable that a text needs and that is not set. A default
// that stands in for it makes it known: ${A:-x}.
func unsetIn(text string, mapping template.Mapping, depth int) string {
	for i := 0; i < len(text) && depth < maxNesting; i++ {
		if text[i] != '$' || i+1 >= len(text) {
			continue
		}
		i++
		if text[i] == '$' {
			continue
		}
		braced := text[i] == '{'
		if braced {
			i++
		}
		n := i
		for n < len(text) && (text[n] == '_' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z' || n > i && text[n] >= '0' && text[n] <= '9') {
			n++
		}
		name := text[i:n]
		if name == "" {
			continue
		}
		value, ok := mapping(name)
		if !braced {
			if !ok {
				return name
			}
			i = n - 1
			continue
		}
		end, open := n, 1
		for ; end < len(text) && open > 0; end++ {
			switch text[end] {
			case '{':
				open++
			case '}':
				open--
			}
		}
		inner := text[n:max(n, end-1)]
		i = end - 1
		operator := strings.TrimPrefix(inner, ":")
		present := ok && (operator == inner || value != "")
		switch {
		case inner == "":
			if !ok {
				return name
			}
		case strings.HasPrefix(operator, "-"):
			if !present {
				if nested := unsetIn(operator[1:], mapping, depth+1); nested != "" {
					return nested
				}
			}
		case strings.HasPrefix(operator, "+"):
			if !present {
				return name
			}
			if nested := unsetIn(operator[1:], mapping, depth+1); nested != "" {
				return nested
			}
		default: // ? and :?
			if !present {
				return name
			}
		}
	}
	return ""
}
