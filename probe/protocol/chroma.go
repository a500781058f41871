package protocol

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Chroma makes the check for chroma://host[:8000][/COLLECTION][?token=&tenant=&database=]:
// the heartbeat of API v2 (Chroma 0.6 and later), and the collection is there.
// chromas:// is TLS.
func Chroma(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "8000", "token", "tenant", "database")
	if err != nil {
		return nil, err
	}
	s.header("X-Chroma-Token", "", q.Get("token"))
	tenant, database := q.Get("tenant"), q.Get("database")
	if tenant == "" {
		tenant = "default_tenant"
	}
	if database == "" {
		database = "default_database"
	}
	return s.check(func(c *serviceSession) (string, error) {
		r, err := c.get("/api/v2/heartbeat")
		if err != nil {
			return "", err
		}
		var beat map[string]any
		if err := c.decode(r, &beat); err != nil {
			return "", err
		}
		if _, ok := beat["nanosecond heartbeat"].(float64); !ok {
			return "", c.fail(r, probe.StageJSON, errors.New(`no "nanosecond heartbeat" in the answer`))
		}
		if c.name == "" {
			return "heartbeat", nil
		}
		r, err = c.ask(fmt.Sprintf("/api/v2/tenants/%s/databases/%s/collections/%s",
			url.PathEscape(tenant), url.PathEscape(database), url.PathEscape(c.name)), nil)
		if err != nil {
			return "", err
		}
		if r.status == http.StatusNotFound {
			return "", c.missing(r, "collection")
		}
		return "heartbeat, collection " + c.name, c.wantOK(r)
	}), nil
}
