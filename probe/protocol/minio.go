package protocol

import (
	"healthcheck/probe"
	"healthcheck/probe/target"
)

// MinIO makes the check for minio://host[:9000][?live=true]: the cluster has a
// quorum to write, as mc ready asks; ?live=true asks this server alone.
// minios:// is TLS.
func MinIO(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "9000", "live")
	if err != nil {
		return nil, err
	}
	if err := s.noName(); err != nil {
		return nil, err
	}
	if err := t.NoUser(); err != nil {
		return nil, err
	}
	live, err := switchParam("live", q.Get("live"))
	if err != nil {
		return nil, err
	}
	path, text := "/minio/health/cluster", "the cluster can be written to"
	if live {
		path, text = "/minio/health/live", "live"
	}
	return s.check(func(c *serviceSession) (string, error) {
		_, err := c.get(path)
		return text, err
	}), nil
}
