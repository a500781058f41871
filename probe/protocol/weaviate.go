package protocol

import (
	"net/http"
	"net/url"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Weaviate makes the check for weaviate://host[:8080][/CLASS][?api_key=]: its
// own readiness call, and the class (collection) is there. weaviates:// is TLS.
func Weaviate(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "8080", "api_key")
	if err != nil {
		return nil, err
	}
	s.header("Authorization", "Bearer ", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		if _, err := c.get("/v1/.well-known/ready"); err != nil {
			return "", err
		}
		if c.name == "" {
			return "ready", nil
		}
		r, err := c.ask("/v1/schema/"+url.PathEscape(c.name), nil)
		if err != nil {
			return "", err
		}
		if r.status == http.StatusNotFound {
			return "", c.missing(r, "class")
		}
		return "ready, class " + c.name, c.wantOK(r)
	}), nil
}
