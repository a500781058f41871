package watchdog

import (
	"regexp"
	"strings"
	"sync"

	"healthcheck/probe/target"
)

// shapes are those in which secrets are written in logs, environments and
// command lines, each with what is put in its place.
var shapes = sync.OnceValue(func() []shape {
	return []shape{
		{regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), "***"},
		{regexp.MustCompile(`(://[^\s/:@"'` + "`" + `]*:)[^\s"'` + "`" + `]*?@`), "$1***@"},
		{regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}`), "$1***"},
		{regexp.MustCompile(`(?i)((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)["']?\s*[=:]\s*["']?)[^\s"',;&}]+`), "$1***"},
		{regexp.MustCompile(`(?i)(--?(?:pass(?:word|wd)?|pwd|secret|token|api-?key)\s+)[^\s-]\S*`), "$1***"},
		{regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}|\bsk-[\w-]{16,}|\bhf_\w{20,}|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*`), "***"},
	}
})

type shape struct {
	find *regexp.Regexp
	with string
}

// redact takes secrets of known shapes out of a text.
func redact(text string) string {
	for _, s := range shapes() {
		text = s.find.ReplaceAllString(text, s.with)
	}
	return text
}

// redactAll is redact for every text of a JSON value: variables, too, whose
// name says what they hold.
func redactAll(value any) any {
	switch v := value.(type) {
	case string:
		if name, secret, ok := strings.Cut(v, "="); ok && secret != "" && !strings.ContainsAny(name, " /:") && target.SoundsSecret(name) && !target.IsPlain(secret) {
			return name + "=***"
		}
		return redact(v)
	case []any:
		for i := range v {
			v[i] = redactAll(v[i])
		}
	case map[string]any:
		for name := range v {
			if text, ok := v[name].(string); ok && text != "" && target.SoundsSecret(name) && !target.IsPlain(text) {
				v[name] = "***"
			} else {
				v[name] = redactAll(v[name])
			}
		}
	}
	return value
}
