package protocol

import (
	"fmt"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Etcd makes the check for etcd://host[:2379]: /health, which fails without a
// leader and for an alarm such as NOSPACE. etcds:// is TLS.
func Etcd(t target.Target, o Options) (probe.Func, error) {
	s, _, err := newService(t, o, "2379")
	if err != nil {
		return nil, err
	}
	if err := s.noName(); err != nil {
		return nil, err
	}
	return s.check(func(c *serviceSession) (string, error) {
		r, err := c.get("/health")
		if err != nil {
			return "", err
		}
		var doc struct {
			Health string `json:"health"`
			Reason string `json:"reason"`
		}
		if err := c.decode(r, &doc); err != nil {
			return "", err
		}
		if doc.Health != "true" {
			return "", c.fail(r, probe.StageStatus, fmt.Errorf("health is %s, want \"true\": %s", c.target.Secrets.Quote(doc.Health), c.target.Secrets.Quote(doc.Reason)))
		}
		return "healthy", nil
	}), nil
}
