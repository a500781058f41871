package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Chroma makes the check for chroma://host[:8000][/COLLECTION][?token=&tenant=&database=]:
// the heartbeat of API v2 (Chroma 0.6 and later), and the collection is there.
// Nobody needs a token for the heartbeat: auth=true wants to be known by the
// one given, or by user and password. chromas:// is TLS.
func Chroma(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "8000", "token", "token_header", "tenant", "database", "auth")
	if err != nil {
		return nil, err
	}
	auth, err := switchParam("auth", q.Get("auth"))
	if err != nil {
		return nil, err
	}
	switch header := q.Get("token_header"); {
	case strings.EqualFold(header, "Authorization"):
		s.header("Authorization", "Bearer ", q.Get("token"))
	case header == "" || strings.EqualFold(header, "X-Chroma-Token"):
		s.header("X-Chroma-Token", "", q.Get("token"))
	default:
		return nil, fmt.Errorf("token_header=%q: want X-Chroma-Token or Authorization", probe.Cut(header, 40))
	}
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
		text := "heartbeat"
		if auth {
			who, err := c.chromaIdentity()
			if err != nil {
				return "", err
			}
			text += who
		}
		if c.name == "" {
			return text, nil
		}
		r, err = c.ask(fmt.Sprintf("/api/v2/tenants/%s/databases/%s/collections/%s",
			url.PathEscape(tenant), url.PathEscape(database), url.PathEscape(c.name)), nil)
		if err != nil {
			return "", err
		}
		if r.status == statusNotFound {
			return "", c.missing(r, "collection")
		}
		return text + ", collection " + c.name, c.wantOK(r)
	}), nil
}

// chromaIdentity asks who this client is.
func (c *serviceSession) chromaIdentity() (string, error) {
	r, err := c.get("/api/v2/auth/identity")
	if err != nil {
		return "", err
	}
	var doc struct {
		User   string `json:"user_id"`
		Tenant string `json:"tenant"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	return fmt.Sprintf(", known to tenant %q", probe.Cut(doc.Tenant, 80)), nil
}
