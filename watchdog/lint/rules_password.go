package lint

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// passwordOptions are the options that carry a password, by program.
var passwordOptions = map[string][]string{
	"mysqladmin": {"-p", "--password"}, "mysql": {"-p", "--password"}, "mariadb": {"-p", "--password"}, "mariadb-admin": {"-p", "--password"},
	"redis-cli": {"-a", "--pass"}, "valkey-cli": {"-a", "--pass"}, "mongosh": {"-p", "--password"}, "mongo": {"-p", "--password"},
	"curl": {"-u", "--user"}, "wget": {"--password", "--http-password"}, "clickhouse-client": {"--password"}, "cqlsh": {"-p", "--password"},
	"sqlcmd": {"-P"}, "influx": {"-password", "--password"}, "etcdctl": {"--password"}, "ldapsearch": {"-w"},
}

// attachedOnly take a password only without a space: -pSECRET.
var attachedOnly = []string{"mysqladmin", "mysql", "mariadb", "mariadb-admin"}

var (
	curlCluster      = regexp.MustCompile(`^-[a-zA-Z]+u$`)
	passwordVariable = regexp.MustCompile(`^(?:PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|[A-Z_]*PASSWORD)=(.+)$`)
	authorization    = regexp.MustCompile(`(?i)^\s*(?:authorization:\s*(?:basic|bearer)|api-key:|x-api-key:)\s*(\S+)`)
)

func passwordInProbe(s Subject) (out []problem) {
	for _, p := range s.Probes {
		for _, c := range p.calls() {
			if how := passwordOf(c); how != "" {
				out = append(out, problem{at: p.Key + ".test", message: fmt.Sprintf("%s logs in with a password in %s: whoever may inspect the container reads it", oneLine(c.Name), how),
					instead: "a variable of the container, as $$NAME in CMD-SHELL, or a file"})
				break
			}
		}
	}
	return out
}

// passwordOf says where a program is given a password, if it is written out.
func passwordOf(c call) string {
	literal := func(v string) bool { return v != "" && !strings.ContainsAny(v, "$`") }
	for _, a := range c.Assigns {
		if m := passwordVariable.FindStringSubmatch(a); m != nil && literal(m[1]) {
			return "a variable of its command line"
		}
	}
	for i, w := range c.Words {
		for _, option := range passwordOptions[c.Name] {
			v, attached := strings.CutPrefix(w, option+"=")
			if !attached && !strings.HasPrefix(option, "--") {
				if v, attached = strings.CutPrefix(w, option); attached && strings.HasPrefix(w, "--") {
					attached = false
				}
			}
			if w == option {
				attached = false
				if i+1 < len(c.Words) && !slices.Contains(attachedOnly, c.Name) && !strings.HasPrefix(c.Words[i+1], "-") {
					v, attached = c.Words[i+1], true
				}
			}
			if !attached && option == "-u" && curlCluster.MatchString(w) && i+1 < len(c.Words) { // -fu name:password
				v, attached = c.Words[i+1], true
			}
			if attached && c.Name == "curl" {
				_, v, attached = strings.Cut(v, ":")
			}
			if attached && literal(v) {
				return option
			}
		}
		if m := authorization.FindStringSubmatch(w); m != nil && literal(m[1]) && (c.Name == "curl" || c.Name == "wget") {
			return "a header"
		}
		if strings.Contains(w, "://") && !strings.Contains(w, "$") {
			if u, err := url.Parse(w); err == nil && u.User != nil {
				if pw, ok := u.User.Password(); ok && pw != "" {
					return "an address"
				}
			}
		}
	}
	return ""
}
