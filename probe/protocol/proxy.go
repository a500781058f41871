package protocol

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// proxyFromEnvironment returns the proxy that the environment names for u, nil
// for none. It reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY as net/http does,
// whose IDNA tables are left out: a name beyond ASCII is compared as written.
func proxyFromEnvironment(u *url.URL) (*url.URL, error) {
	text := firstVariable(strings.ToUpper(u.Scheme) + "_PROXY")
	if text == "" || !wantsProxy(u, firstVariable("NO_PROXY")) {
		return nil, nil
	}
	if u.Scheme == "http" && os.Getenv("REQUEST_METHOD") != "" {
		// A CGI program finds a client's header Proxy there.
		return nil, errors.New("HTTP_PROXY is not believed where REQUEST_METHOD is set, as for a CGI program")
	}
	return parseProxy(text)
}

// firstVariable is a variable's value, by its name or that in lower case.
func firstVariable(name string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return os.Getenv(strings.ToLower(name))
}

// parseProxy reads a proxy's URL, or its host and port.
func parseProxy(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if plain, err := url.Parse("http://" + text); err == nil {
			return plain, nil
		}
	}
	if err != nil {
		return nil, errors.New("the proxy's URL in the environment is malformed")
	}
	return u, nil
}

// wantsProxy says whether u is asked through a proxy: not on loopback, nor where
// one of the addresses, networks and domains in except, a list with commas,
// holds its host.
func wantsProxy(u *url.URL, except string) bool {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	if host == "localhost" || isIP && ip.Unmap().IsLoopback() {
		return false
	}
	host = strings.ToLower(strings.TrimSpace(host))
	for entry := range strings.SplitSeq(except, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			return false
		}
		if _, network, err := net.ParseCIDR(entry); err == nil {
			if isIP && network.Contains(ip.AsSlice()) {
				return false
			}
			continue
		}
		name, only, err := net.SplitHostPort(entry)
		if err != nil {
			name, only = entry, ""
		}
		if name == "" || only != "" && only != port {
			continue
		}
		if own := net.ParseIP(name); own != nil {
			if isIP && own.Equal(ip.AsSlice()) {
				return false
			}
			continue
		}
		if strings.HasPrefix(name, "*.") {
			name = name[1:]
		}
		if !isIP && (strings.HasSuffix(host, "."+strings.TrimPrefix(name, ".")) || host == name) {
			return false
		}
	}
	return true
}
