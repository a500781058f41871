package protocol

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"golang.org/x/net/http/httpproxy"
)

// FuzzProxyFromEnvironment: the environment leads to the proxy that net/http
// would ask. A proxy's URL that net/http ignores, since it is malformed, is an
// error.
func FuzzProxyFromEnvironment(f *testing.F) {
	for _, except := range []string{
		"", "*", "x, *", "x.example", ".x.example", "*.x.example", "*x.example", "example", "x.example:80", "x.example:81", "x.example:", ":80",
		"10.0.0.0/8", "10.0.0.1", "10.0.0.1:80", "10.0.0.1:81", "::1/64", "fe80::1", "[fe80::1]:80", "[fe80::1]", "10.0.0.0/33", "A.X.EXAMPLE", " ,,", ".", "*.", "xample",
	} {
		for _, target := range []string{
			"http://x.example/", "https://a.x.example/", "http://X.example:80", "http://10.0.0.1/", "http://[fe80::1%25eth0]/", "http://[::ffff:10.0.0.1]/",
			"http://localhost/", "https://localhost:1/", "http://127.0.0.2/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://localhost./", "http:///",
		} {
			f.Add(target, "http://u:p@proxy:3128", "proxy2:3129", except)
		}
	}
	for _, proxy := range []string{"", "proxy", "proxy:1", "http://proxy", "socks5://proxy", "//proxy", "http:proxy", "http://[", ":", "%", "1.2.3.4:80", "[::1]:80", " "} {
		f.Add("http://x.example/", proxy, proxy, "")
		f.Add("https://x.example/", proxy, proxy, "")
	}
	f.Fuzz(func(t *testing.T, text, plain, secure, except string) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !isASCII(u.Hostname()+except) {
			return
		}
		if _, _, err := net.SplitHostPort(net.JoinHostPort(u.Hostname(), "80")); err != nil {
			return // nothing can be dialled there
		}
		for name, value := range map[string]string{"HTTP_PROXY": plain, "https_proxy": secure, "NO_PROXY": except} {
			for _, c := range []byte(value) {
				if c == 0 {
					return // no environment holds it
				}
			}
			t.Setenv(name, value)
		}
		want, err := httpproxy.FromEnvironment().ProxyFunc()(u)
		must(t, err)
		got, err := proxyFromEnvironment(u)
		switch {
		case err != nil && want == nil && wantsProxy(u, except):
			return // malformed
		case err != nil || (got == nil) != (want == nil) || got != nil && got.String() != want.String():
			t.Errorf("%q by %q and %q but %q: %v, %v, want %v", text, plain, secure, except, got, err, want)
		}
	})
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c > 0x7f {
			return false
		}
	}
	return true
}

// What a CGI program finds in HTTP_PROXY may be a client's header.
func TestNoProxyForACGIProgram(t *testing.T) {
	t.Setenv("HTTP_PROXY", "evil:1")
	t.Setenv("https_proxy", "good:1")
	t.Setenv("REQUEST_METHOD", "GET")
	if got, err := proxyFromEnvironment(&url.URL{Scheme: "http", Host: "x.example"}); err == nil {
		t.Errorf("asks %v", got)
	}
	if got, err := proxyFromEnvironment(&url.URL{Scheme: "https", Host: "x.example"}); err != nil || got.Host != "good:1" {
		t.Errorf("asks %v, %v", got, err)
	}
}

// What stands in the environment is for a person to mend.
func TestCauseOfBadProxies(t *testing.T) {
	for name, c := range map[string]struct{ proxy, method, says string }{
		"malformed": {"http://%zz", "", "the proxy's URL in the environment is malformed"},
		"CGI":       {"proxy:3128", "GET", "HTTP_PROXY is not believed"},
		"SOCKS":     {"socks5://proxy:1080", "", "a proxy of scheme \"socks5\" is not supported"},
	} {
		t.Setenv("HTTP_PROXY", c.proxy)
		t.Setenv("REQUEST_METHOD", c.method)
		o := testOptions(t)
		o.Proxy = true
		for _, text := range []string{"http://x.example/", "qdrant://x.example"} {
			tg, err := target.ParseTarget(text, testBase)
			must(t, err)
			run, err := New(tg, o)
			must(t, err)
			check := probe.Check{Name: "x", Run: run}
			check.Cause, check.Unreachable = CauseOf(tg, false)
			r := probe.Run(t.Context(), []probe.Check{check}, probe.Options{CheckTimeout: patience})[0]
			if r.Status != probe.Fail || r.Cause.Class != probe.Config || !strings.Contains(r.Message, c.says) {
				t.Errorf("%s, %s: %s %s %q", name, text, r.Status, r.Cause.Class, r.Message)
			}
		}
	}
}
