package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Milvus makes the check for milvus://host[:9091][/COLLECTION][?token=&db=&api_port=]:
// /healthz on the port for management, and the collection is there, which
// the API on another port knows (19530 unless api_port says otherwise). The
// token is user:password or a key. milvuss:// is TLS, for the API alone where
// the port for management is Milvus's own, which knows no TLS.
func Milvus(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "9091", "token", "db", "api_port")
	if err != nil {
		return nil, err
	}
	port := q.Get("api_port")
	if port == "" {
		port = "19530"
	}
	if !target.ValidPort(port) {
		return nil, errors.New("api_port is not between 1 and 65535")
	}
	s.header("Authorization", "Bearer ", q.Get("token"))
	body, err := json.Marshal(map[string]string{"dbName": q.Get("db"), "collectionName": s.name})
	if err != nil {
		return nil, err
	}
	api := *s.http
	apiURL := *s.http.url
	apiURL.Host = net.JoinHostPort(t.URL.Hostname(), port)
	api.url = &apiURL
	if s.http.url.Port() == "9091" {
		s.http.url.Scheme = "http"
	}
	return s.check(func(c *serviceSession) (string, error) {
		if _, err := c.get("/healthz"); err != nil {
			return "", err
		}
		if c.name == "" {
			return "healthy", nil
		}
		c2 := &serviceSession{service: &service{t, &api, s.name}, ctx: c.ctx}
		defer c2.close()
		return c2.hasMilvusCollection(body)
	}), nil
}

// hasMilvusCollection asks the API, which answers 200 with a code of its own.
func (c *serviceSession) hasMilvusCollection(body []byte) (string, error) {
	r, err := c.ask("/v2/vectordb/collections/has", body)
	if err == nil {
		err = c.wantOK(r)
	}
	if err != nil {
		return "", err
	}
	var doc struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Has bool `json:"has"`
		} `json:"data"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	switch {
	case doc.Code == 1800: // "user hasn't authenticated"
		return "", c.fail(r, probe.StageAuth, fmt.Errorf("code %d: %s", doc.Code, c.target.Secrets.Quote(doc.Message)))
	case doc.Code != 0 && doc.Code != http.StatusOK:
		return "", c.fail(r, probe.StageResponse, fmt.Errorf("code %d: %s", doc.Code, c.target.Secrets.Quote(doc.Message)))
	case !doc.Data.Has:
		return "", c.missing(r, "collection")
	}
	return "healthy, collection " + c.name, nil
}
