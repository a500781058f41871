package protocol

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Elasticsearch makes the check for elasticsearch:// and
// opensearch://[user:password@]host[:9200][/INDEX][?api_key=]: the cluster's health is
// yellow or better, or that of the index alone. elasticsearchs:// and
// opensearchs:// are TLS.
func Elasticsearch(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "9200", "api_key")
	if err != nil {
		return nil, err
	}
	s.header("Authorization", "ApiKey ", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		if c.name != "" {
			return c.elasticIndex()
		}
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

// elasticIndex judges the index that the target names, or all that it stands
// for: an alias, a data stream, a pattern.
func (c *serviceSession) elasticIndex() (string, error) {
	r, err := c.ask("/_cat/indices/"+url.PathEscape(c.name)+"?format=json&h=index,health,status,docs.count", nil)
	if err != nil {
		return "", err
	}
	if r.status == statusNotFound {
		return "", c.missing(r, "index")
	}
	if err := c.wantOK(r); err != nil {
		return "", err
	}
	var rows []struct {
		Index  string `json:"index"`
		Health string `json:"health"`
		Status string `json:"status"`
		Docs   string `json:"docs.count"`
	}
	if err := c.decode(r, &rows); err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", c.missing(r, "index")
	}
	quote := c.target.Secrets.Quote
	worst, docs := "green", 0
	for _, row := range rows {
		switch {
		case row.Status != "open":
			return "", probe.WithClass(c.fail(r, probe.StageStatus, fmt.Errorf("index %s is %s, want open", quote(row.Index), quote(row.Status))), probe.Config)
		case !slices.Contains([]string{"green", "yellow"}, row.Health):
			return "", c.fail(r, probe.StageStatus, fmt.Errorf("index %s is %s, want yellow or green", quote(row.Index), quote(row.Health)))
		case row.Health == "yellow":
			worst = "yellow"
		}
		n, _ := strconv.Atoi(row.Docs)
		docs += n
	}
	if len(rows) > 1 {
		return fmt.Sprintf("%d indices of %s are %s or better with %d documents", len(rows), c.name, worst, docs), nil
	}
	return fmt.Sprintf("index %s is %s with %d documents", rows[0].Index, worst, docs), nil
}
