package protocol

import (
	"slices"
	"strings"

	"healthcheck/probe/target"
)

// Takes says whether the check of a target knows what a flag, or the setting of
// that name, asks for.
func Takes(t target.Target, flag string) bool {
	switch flag {
	case "connect-to":
		return hasOneHost(t)
	case "proxy-protocol":
		return t.URL.Scheme != "udp" && hasOneHost(t) || t.URL.Scheme == "unix" || strings.HasPrefix(t.URL.Scheme, "grpc") && t.URL.Host == ""
	case "insecure":
		// For PostgreSQL sslmode decides.
		return hasTLS(t) && !slices.Contains([]string{"postgres", "postgresql", "pgvector"}, base(t))
	case "ca-cert", "client-cert", "client-key", "server-name", "cert-days", "min-cert-days":
		return hasTLS(t)
	}
	switch t.URL.Scheme {
	case "http", "https":
		return true
	case "unix":
		return strings.Contains(t.URL.EscapedPath(), ":") // else it only connects
	case "fastcgi":
		return flag != "max-redirects" && flag != "http-version"
	case "grpc", "grpcs":
		return flag == "header"
	}
	return false
}

// base is a target's scheme without the driver that SQLAlchemy's names behind
// a +.
func base(t target.Target) string {
	name, _, _ := strings.Cut(t.URL.Scheme, "+")
	return name
}

// hasOneHost says whether a check connects to the host that its URL names,
// and to no other.
func hasOneHost(t target.Target) bool {
	switch t.URL.Scheme {
	case "file", "pidfile", "exec", "unix", "dns", "mongodb+srv":
		return false
	case "milvus", "milvuss":
		if strings.Trim(t.URL.Path, "/") != "" {
			return false // a collection is asked for on another port
		}
	case "triton", "tritons":
		if t.URL.Query().Get("stall") != "0" {
			return false // the metrics are on another port
		}
	}
	q := t.URL.Query()
	host := t.URL.Hostname()
	return host != "" && !strings.ContainsAny(t.URL.Host, ",/") && !slices.ContainsFunc([]string{"host", "hostaddr", "socket", "unix_socket"}, q.Has)
}

// hasTLS says whether a check may speak TLS: its scheme ends in an s, or its
// parameters, a redirect or starttls= ask for it.
func hasTLS(t target.Target) bool {
	name := base(t)
	switch name {
	case "http", "tls", "postgres", "postgresql", "pgvector", "mysql", "mariadb", "mongodb", "nats":
		return true
	case "unix":
		return strings.Contains(t.URL.EscapedPath(), ":")
	case "tcp":
		return t.Setting("starttls") != ""
	}
	plain, ok := strings.CutSuffix(name, "s")
	return ok && isScheme(plain)
}

func isScheme(name string) bool {
	return slices.ContainsFunc(Schemes, func(s Scheme) bool { return s.Name == name })
}
