package protocol

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Weaviate makes the check for weaviate://host[:8080][/CLASS][?api_key=&nodes=]: its
// own readiness call, and the class (collection) is there. nodes=3 wants as
// many healthy nodes in its cluster. weaviates:// is TLS.
func Weaviate(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "8080", "api_key", "nodes")
	if err != nil {
		return nil, err
	}
	nodes := 0
	if text := q.Get("nodes"); q.Has("nodes") {
		if nodes, err = strconv.Atoi(text); err != nil || nodes < 1 {
			return nil, fmt.Errorf("nodes=%q: want how many nodes must be healthy, such as 3", probe.Cut(text, 20))
		}
	}
	s.header("Authorization", "Bearer ", q.Get("api_key"))
	return s.check(func(c *serviceSession) (string, error) {
		if _, err := c.get("/v1/.well-known/ready"); err != nil {
			return "", err
		}
		text := "ready"
		if nodes > 0 {
			of, err := c.weaviateNodes(nodes)
			if err != nil {
				return "", err
			}
			text += ", " + of
		}
		if c.name == "" {
			return text, nil
		}
		r, err := c.ask("/v1/schema/"+url.PathEscape(c.name), nil)
		if err != nil {
			return "", err
		}
		if r.status == statusNotFound {
			return "", c.missing(r, "class")
		}
		return text + ", class " + c.name, c.wantOK(r)
	}), nil
}

// weaviateNodes asks for the state of every node of the cluster.
func (c *serviceSession) weaviateNodes(want int) (string, error) {
	r, err := c.get("/v1/nodes")
	if err != nil {
		return "", err
	}
	var doc struct {
		Nodes []struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		} `json:"nodes"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	healthy := 0
	var others []string
	for _, n := range doc.Nodes {
		if n.Status == "HEALTHY" || n.Status == "INDEXING" {
			healthy++
		} else {
			others = append(others, n.Name+" "+n.Status)
		}
	}
	text := fmt.Sprintf("%d of %d nodes healthy", healthy, len(doc.Nodes))
	if len(others) > 0 {
		c.warn = true
		text += " (" + c.target.Secrets.QuoteCut(strings.Join(others, ", ")) + ")"
	}
	if healthy < want {
		return "", probe.WithClass(c.fail(r, probe.StageStatus, fmt.Errorf("%s, want %d", text, want)), otherNodes)
	}
	return text, nil
}
