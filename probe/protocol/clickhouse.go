package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// ClickHouse makes the check for clickhouse://[user:password@]host[:8123][/DATABASE]
// by its HTTP interface: /ping and, with a user or a database, SELECT 1.
// clickhouses:// is TLS, on port 8443.
func ClickHouse(t target.Target, o Options) (probe.Func, error) {
	port := "8123"
	if strings.HasSuffix(t.URL.Scheme, "s") {
		port = "8443"
	}
	s, _, err := newService(t, o, port)
	if err != nil {
		return nil, err
	}
	if t.URL.Port() == "9000" || t.URL.Port() == "9440" {
		return nil, &target.Misuse{Problem: "this is the port of ClickHouse's native protocol", Hint: "its HTTP interface is asked, on port 8123 or, with TLS, 8443"}
	}
	return s.check(func(c *serviceSession) (string, error) {
		r, err := c.get("/ping")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(string(r.body)) != "Ok." {
			return "", c.fail(r, probe.StageBody, fmt.Errorf("the answer is %s, want \"Ok.\"", c.target.Secrets.Quote(string(r.body))))
		}
		if c.name == "" && t.URL.User == nil {
			return "ping", nil
		}
		path := "/?query=SELECT%201"
		if c.name != "" {
			path += "&database=" + url.QueryEscape(c.name)
		}
		r, err = c.ask(path, nil)
		if err != nil {
			return "", err
		}
		if strings.Contains(string(r.body), "UNKNOWN_DATABASE") {
			return "", c.missing(r, "database")
		}
		if err := c.wantOK(r); err != nil {
			return "", err
		}
		if strings.TrimSpace(string(r.body)) != "1" {
			return "", c.fail(r, probe.StageBody, errors.New("the answer to SELECT 1 is "+c.target.Secrets.Quote(string(r.body))))
		}
		return "ping, query answered", nil
	}), nil
}
