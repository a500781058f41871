package protocol

import (
	"bytes"
	"io"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// request is one HTTP request, whose body is in memory.
type request struct {
	method string
	url    *url.URL
	host   string // in place of the URL's
	header textproto.MIMEHeader
	body   []byte
	last   bool // the connection ends with its answer
}

// newRequest returns a request for the URL in rawURL.
func newRequest(method, rawURL string, body []byte) (*request, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	u.Host = strings.TrimSuffix(u.Host, ":") // no port
	return &request{method: method, url: u, host: u.Host, header: textproto.MIMEHeader{}, body: body}, nil
}

// with returns the request with one more header; req itself stays as it is.
func (req *request) with(name, value string) *request {
	out := *req
	out.header = maps.Clone(req.header)
	out.header.Set(name, value)
	return &out
}

// writeRequest sends a request of HTTP/1.1 (RFC 9112); a proxy wants the whole
// URL.
func writeRequest(w io.Writer, req *request, whole bool) error {
	host := req.host
	if host == "" {
		host = req.url.Host
	}
	host = withoutZone(host)
	uri := req.url.RequestURI()
	if whole {
		uri = req.url.Scheme + "://" + host + uri
	}
	var b bytes.Buffer
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(oneLine.Replace(p))
		}
		b.WriteString("\r\n")
	}
	line(req.method, " ", uri, " HTTP/1.1")
	line("Host: ", host)
	if req.last {
		line("Connection: close")
	}
	if len(req.body) > 0 || slices.Contains([]string{"POST", "PUT", "PATCH"}, req.method) {
		line("Content-Length: ", strconv.Itoa(len(req.body)))
	}
	for _, name := range slices.Sorted(maps.Keys(req.header)) {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer": // they are the request's own
			continue
		}
		for _, value := range req.header[name] {
			line(name, ": ", strings.TrimSpace(value))
		}
	}
	line()
	b.Write(req.body)
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
