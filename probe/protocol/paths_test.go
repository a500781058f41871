package protocol

import (
	"net/url"
	"slices"
	"testing"

	"healthcheck/probe/target"
)

func TestPaths(t *testing.T) {
	for name, value := range map[string]string{"HOME": "/home/app", "PGPASSFILE": "pg/pass", "PGSSLROOTCERT": "/pg/root", "PGHOST": "db", "SSL_CERT_DIR": "/c1:/c2", "SSL_CERT_FILE": "/c3"} {
		t.Setenv(name, value)
	}
	names := []string{"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"}
	trust := []string{"/ca", "/cert", "/key", "/send", "/c3", "/c1", "/c2"}
	libpq := []string{"pg/pass", "/pg/root", "/home/app/.pgpass", "/home/app/.pg_service.conf", "/home/app/.postgresql"}
	base := &url.URL{Scheme: "http", Host: "localhost"}
	for text, want := range map[string][][]string{
		"file:///run/beat?max-age=9s": {{"/run/beat"}},
		"pidfile:///run/app.pid":      {{"/run/app.pid"}},
		"exec:///bin/check?arg=/x":    {{"/bin/check"}},
		"unix:///run/a.sock:/x":       {{"/run/a.sock"}, trust, names},
		"unix:///run/a.sock":          {{"/run/a.sock"}, trust, names},
		"https://db/x#ca-cert=/own":   {{"/own"}, trust, names},
		"unix://@name:/x":             {trust, names},
		"grpc:///run/a.sock:/s":       {{"/run/a.sock"}, trust, names},
		"https://127.0.0.1/x#client-cert=/a,client-key=/b,send-file=/c": {{"/a", "/b", "/c"}, trust},
		"https://127.0.0.1/x":              {trust},
		"/health":                          {trust, names},
		"mysql://u@/x?socket=/s":           {{"/s"}, trust, names},
		"redis+unix://:p@/run/r.sock?db=1": {{"/run/r.sock"}, trust, names},
		"fastcgi:///run/f.sock:/ping":      {{"/run/f.sock"}, trust, names},
		"fastcgi://h:9000/ping":            {trust, names},
		"redis://h#password-file=/pw":      {{"/pw"}, trust, names},
		"mongodb://h/?tlsCAFile=/m":        {{"/m"}, trust, names},
		"rediss://h?ssl_ca_certs=/r":       {{"/r"}, trust, names},
		"postgres://h/x?passfile=/p":       {{"/p", "/p"}, trust, names, libpq},
		"postgres://%2Fsock,[::1]/x":       {{"/sock"}, trust, names, libpq},
		"postgresql+psycopg2://h/x":        {trust, names, libpq},
		"postgres:///x?host=/a%2C/b":       {{"/a", "/b", "/var/run/postgresql", "/tmp"}, trust, names, libpq},
		"pgvector://h/x?sslrootcert=relat": {{"relat"}, trust, names, libpq},
	} {
		parsed, err := target.ParseTarget(text, base)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(Paths(parsed, Options{TLS: target.TLSOptions{CACert: "/ca", ClientCert: "/cert", ClientKey: "/key"}, HTTPOptions: HTTPOptions{SendFile: "/send"}}), func(p string) bool { return p == "" })
		wanted := slices.Concat(want...)
		slices.Sort(got)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%s: %q, want %q", text, got, wanted)
		}
	}
}
