package protocol

import (
	"fmt"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// InfluxDB makes the check for influxdb://host[:8086][?token=]: /health passes,
// as 1.8 and 2 say it in JSON and 3 in one word. influxdbs:// is TLS.
func InfluxDB(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "8086", "token")
	if err != nil {
		return nil, err
	}
	if err := s.noName(); err != nil {
		return nil, err
	}
	s.header("Authorization", "Token ", q.Get("token"))
	return s.check(func(c *serviceSession) (string, error) {
		r, err := c.get("/health")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(string(r.body)) == "OK" { // InfluxDB 3
			return "healthy", nil
		}
		var doc struct {
			Name    string `json:"name"`
			Status  string `json:"status"`
			Message string `json:"message"`
			Version string `json:"version"`
		}
		if err := c.decode(r, &doc); err != nil {
			return "", err
		}
		if doc.Status != "pass" {
			return "", c.fail(r, probe.StageStatus, fmt.Errorf("status is %s, want \"pass\": %s", c.target.Secrets.Quote(doc.Status), c.target.Secrets.Quote(doc.Message)))
		}
		return "pass, version " + doc.Version, nil
	}), nil
}
