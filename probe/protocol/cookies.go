package protocol

import (
	"net/url"
	"slices"
	"strings"

	"healthcheck/probe/target"
)

// cookieJar keeps what servers set along the redirects of one request, as a
// login page does. It reads no more of a cookie than that takes, since
// net/http's own parser costs 15 kB: a cookie goes back to the host alone that
// has set it, whatever its domain, and lives as long as the request.
type cookieJar []cookie

type cookie struct {
	host, name, value, path string
	secure                  bool
}

// take keeps the cookies of an answer, whose values are secrets.
func (j *cookieJar) take(from *url.URL, resp *response, secrets *target.Secrets) {
	for _, line := range resp.header["Set-Cookie"] {
		pair, attributes, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		c := cookie{host: from.Hostname(), name: name, value: value}
		gone := value == ""
		for part := range strings.SplitSeq(attributes, ";") {
			switch key, value, _ := strings.Cut(strings.TrimSpace(part), "="); strings.ToLower(key) {
			case "path":
				c.path = strings.TrimSuffix(value, "/")
			case "secure":
				c.secure = true
			case "max-age":
				gone = gone || value == "0" || strings.HasPrefix(value, "-")
			}
		}
		*j = slices.DeleteFunc(*j, func(k cookie) bool { return k.host == c.host && k.name == c.name && k.path == c.path })
		if gone {
			continue
		}
		if !target.IsPlain(value) {
			secrets.Add(value)
		}
		*j = append(*j, c)
	}
}

// on returns the request with the cookies that are meant for it, behind its
// own. req itself stays as it is.
func (j cookieJar) on(req *request) *request {
	u := req.url
	own := req.header.Get("Cookie")
	all := own
	for _, c := range j {
		if c.host != u.Hostname() || c.secure && u.Scheme != "https" || !strings.HasPrefix(u.EscapedPath()+"/", c.path+"/") {
			continue
		}
		if all != "" {
			all += "; "
		}
		all += c.name + "=" + c.value
	}
	if all == own {
		return req
	}
	return req.with("Cookie", all)
}
