package protocol

import (
	"fmt"
	"net/url"
	"slices"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Qdrant makes the check for qdrant://host[:6333][/COLLECTION][?api_key=&cluster=true]:
// /readyz, and the collection is there and green or yellow (it optimises, and
// answers); a grey one is a warning. cluster=true asks for the state of the
// cluster and of the collection's shards, too. qdrants:// is TLS.
func Qdrant(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "6333", "api_key", "cluster")
	if err != nil {
		return nil, err
	}
	cluster, err := switchParam("cluster", q.Get("cluster"))
	if err != nil {
		return nil, err
	}
	s.header("Api-Key", "", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		if _, err := c.get("/readyz"); err != nil {
			return "", err
		}
		text := "ready"
		if cluster {
			of, err := c.qdrantCluster()
			if err != nil {
				return "", err
			}
			text += ", " + of
		}
		if c.name == "" {
			return text, nil
		}
		r, err := c.ask("/collections/"+url.PathEscape(c.name), nil)
		if err != nil {
			return "", err
		}
		if r.status == statusNotFound {
			return "", c.missing(r, "collection")
		}
		if err := c.wantOK(r); err != nil {
			return "", err
		}
		var doc struct {
			Result struct {
				Status string `json:"status"`
				Points *int64 `json:"points_count"`
			} `json:"result"`
		}
		if err := c.decode(r, &doc); err != nil {
			return "", err
		}
		if !slices.Contains([]string{"green", "yellow", "grey"}, doc.Result.Status) {
			return "", c.fail(r, probe.StageStatus, fmt.Errorf("collection %q is %s, want green or yellow", probe.Cut(c.name, 80), c.target.Secrets.Quote(doc.Result.Status)))
		}
		text += fmt.Sprintf(", collection %s is %s", c.name, doc.Result.Status)
		if doc.Result.Status == "grey" {
			c.warn = true
			text += " (it answers; optimisations are pending, as after a restart, until something is written to it)"
		}
		if doc.Result.Points != nil {
			text += fmt.Sprintf(" with %d points", *doc.Result.Points)
		}
		if cluster {
			of, err := c.qdrantShards()
			if err != nil {
				return "", err
			}
			text += ", " + of
		}
		return text, nil
	}), nil
}
