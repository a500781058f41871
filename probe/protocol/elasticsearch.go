package protocol

import (
	"fmt"
	"slices"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Elasticsearch makes the check for elasticsearch:// and
// opensearch://[user:password@]host[:9200][?api_key=]: the cluster's health is
// yellow or better. elasticsearchs:// and opensearchs:// are TLS.
func Elasticsearch(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "9200", "api_key")
	if err != nil {
		return nil, err
	}
	if err := s.noName(); err != nil {
		return nil, err
	}
	s.header("Authorization", "ApiKey ", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		r, err := c.get("/_cluster/health")
		if err != nil {
			return "", err
		}
		var doc struct {
			Status     string `json:"status"`
			Nodes      int    `json:"number_of_nodes"`
			Unassigned int    `json:"unassigned_shards"`
			Starting   int    `json:"initializing_shards"`
		}
		if err := c.decode(r, &doc); err != nil {
			return "", err
		}
		text := fmt.Sprintf("%s, %d nodes, %d unassigned shards", doc.Status, doc.Nodes, doc.Unassigned)
		if !slices.Contains([]string{"green", "yellow"}, doc.Status) {
			err := c.fail(r, probe.StageStatus, fmt.Errorf("cluster health is %s, want yellow or green, with %d unassigned shards", c.target.Secrets.Quote(doc.Status), doc.Unassigned))
			if doc.Starting > 0 {
				err = probe.WithClass(err, probe.Starting)
			}
			return "", err
		}
		return text, nil
	}), nil
}
