package protocol

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// writeRequest sends a request of HTTP/1.1 (RFC 9112) whose body is in memory; a
// proxy wants the whole URL. http.Request.Write would do it, and link 60 kB
// that write bodies of all other kinds.
func writeRequest(w io.Writer, req *http.Request, whole bool) error {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	host = withoutZone(host)
	uri := req.URL.RequestURI()
	if whole {
		uri = req.URL.Scheme + "://" + host + uri
	}
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(oneLine.Replace(p))
		}
		b.WriteString("\r\n")
	}
	line(req.Method, " ", uri, " HTTP/1.1")
	line("Host: ", host)
	if req.Close {
		line("Connection: close")
	}
	if req.ContentLength > 0 || slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, req.Method) {
		line("Content-Length: ", strconv.FormatInt(req.ContentLength, 10))
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer": // they are the request's own
			continue
		}
		for _, value := range req.Header[name] {
			line(name, ": ", strings.TrimSpace(value))
		}
	}
	line()
	if req.Body != nil {
		if _, err := io.CopyN(&b, req.Body, req.ContentLength); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// oneLine keeps a value that came from elsewhere, such as a cookie's, from
// beginning a line of its own.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// withoutZone takes the zone off an IPv6 address, which means nothing elsewhere
// (RFC 6874, 4).
func withoutZone(host string) string {
	end := strings.LastIndexByte(host, ']')
	if zone := strings.IndexByte(host, '%'); strings.HasPrefix(host, "[") && zone >= 0 && zone < end {
		return host[:zone] + host[end:]
	}
	return host
}
