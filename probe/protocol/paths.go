package protocol

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"healthcheck/probe/target"
)

// Paths lists the files, directories and sockets that the check of a target
// may touch, whether they are there or not: one that lies on a mount that
// hangs takes the whole process with it, so the check must not run in this one.
// It touches none of them itself, and rather lists one too many.
func Paths(t target.Target, o Options) []string {
	switch t.URL.Scheme {
	case "file", "pidfile", "exec":
		return []string{t.URL.Path}
	}
	var all []string
	add := func(paths ...string) {
		for _, p := range paths {
			if p != "" {
				all = append(all, p)
			}
		}
	}
	add(o.TLS.Files()...)
	add(o.SendFile)
	add(os.Getenv("SSL_CERT_FILE"))
	add(filepath.SplitList(os.Getenv("SSL_CERT_DIR"))...)
	switch {
	case t.URL.Scheme == "unix", t.URL.Host == "" && (t.URL.Scheme == "fastcgi" || strings.HasPrefix(t.URL.Scheme, "grpc")):
		sock, _, _ := strings.Cut(t.URL.Path, ":")
		if !strings.HasPrefix(sock, "@") { // it has no file
			add(sock)
		}
	case t.URL.Scheme == "redis+unix":
		add(t.URL.Path)
	}
	// Sockets in the host's place, and files in parameters and settings:
	// sslrootcert, passfile, socket, tlsCAFile, ca-cert and others.
	values := strings.Split(t.URL.Host, ",")
	for _, vs := range t.URL.Query() {
		values = append(values, vs...)
	}
	for _, s := range t.Settings {
		switch s.Key {
		case "ca-cert", "client-cert", "client-key", "send-file", "password-file":
			add(s.Value)
		}
	}
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.HasPrefix(part, "/") {
				add(part)
			}
		}
	}
	if base, _, _ := strings.Cut(t.URL.Scheme, "+"); slices.Contains([]string{"postgres", "postgresql", "pgvector"}, base) {
		add(postgresPaths(t)...)
	}
	if host := t.URL.Hostname(); net.ParseIP(host) == nil {
		add("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf")
	}
	return all
}
