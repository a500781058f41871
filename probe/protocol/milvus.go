package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Milvus makes the check for milvus://host[:9091][/COLLECTION][?token=&db=&api_port=&components=true]:
// /healthz on the port for management, and the collection is there, which
// the API on another port knows (19530 unless api_port says otherwise). The
// token is user:password or a key. components=true names the components that
// are not healthy. milvuss:// is TLS, for the API alone where
// the port for management is Milvus's own, which knows no TLS.
func Milvus(t target.Target, o Options) (probe.Func, error) {
	s, q, err := newService(t, o, "9091", "token", "db", "api_port", "components")
	if err != nil {
		return nil, err
	}
	components, err := switchParam("components", q.Get("components"))
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
	if components { // the answer has them where the question says that it is JSON
		s.http.opt.Header["Content-Type"] = []string{"application/json"}
	}
	body, err := json.Marshal(map[string]string{"dbName": q.Get("db"), "collectionName": s.name})
	if err != nil {
		return nil, err
	}
	api := s.onPort(port)
	if s.http.url.Port() == "9091" {
		s.http.url.Scheme = "http"
	}
	return s.check(func(c *serviceSession) (string, error) {
		text, err := c.milvusHealth(components)
		if err != nil || c.name == "" {
			return text, err
		}
		c2 := &serviceSession{service: s, at: api, ctx: c.ctx}
		defer c2.close()
		if err := c2.hasMilvusCollection(body); err != nil {
			return "", err
		}
		return text + ", collection " + c.name, nil
	}), nil
}

// hasMilvusCollection asks the API, which answers 200 with a code of its own.
func (c *serviceSession) hasMilvusCollection(body []byte) error {
	r, err := c.ask("/v2/vectordb/collections/has", body)
	if err == nil {
		err = c.wantOK(r)
	}
	if err != nil {
		return err
	}
	var doc struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Has bool `json:"has"`
		} `json:"data"`
	}
	if err := c.decode(r, &doc); err != nil {
		return err
	}
	switch {
	case doc.Code == 1800: // "user hasn't authenticated"
		return c.fail(r, probe.StageAuth, fmt.Errorf("code %d: %s", doc.Code, c.target.Secrets.Quote(doc.Message)))
	case doc.Code != 0 && doc.Code != statusOK:
		return c.fail(r, probe.StageResponse, fmt.Errorf("code %d: %s", doc.Code, c.target.Secrets.Quote(doc.Message)))
	case !doc.Data.Has:
		return c.missing(r, "collection")
	}
	return nil
}

// milvusStates are the codes of a component's state (StateCode in Milvus's
// common.proto).
var milvusStates = []string{"initializing", "healthy", "abnormal", "on standby", "stopping"}

// milvusHealth asks the port for management.
func (c *serviceSession) milvusHealth(components bool) (string, error) {
	if !components {
		_, err := c.get("/healthz")
		return "healthy", err
	}
	r, err := c.ask("/healthz", nil)
	if err != nil {
		return "", err
	}
	var doc struct {
		State  string `json:"state"`
		Detail []struct {
			Name string `json:"name"`
			Code int    `json:"code"`
		} `json:"detail"`
	}
	if json.Unmarshal(r.body, &doc) != nil || doc.State == "" {
		if err := c.wantOK(r); err != nil {
			return "", err
		}
		return "", c.fail(r, probe.StageJSON, errors.New("the answer names no components: components= needs Milvus 2.2 or later"))
	}
	var names, ill []string
	starting := true
	for _, d := range doc.Detail {
		state := "in state " + strconv.Itoa(d.Code)
		if d.Code >= 0 && d.Code < len(milvusStates) {
			state = milvusStates[d.Code]
		}
		names = append(names, d.Name)
		if state != "healthy" && state != "on standby" {
			ill = append(ill, d.Name+" is "+state)
			starting = starting && state == "initializing"
		}
	}
	if len(ill) == 0 && r.status == statusOK {
		return "healthy: " + strings.Join(names, ", "), nil
	}
	err = c.fail(r, probe.StageStatus, errors.New(c.target.Secrets.QuoteCut(strings.Join(append(ill, doc.State), ", "))))
	if len(ill) > 0 && starting {
		err = probe.WithClass(err, probe.Starting)
	}
	return "", err
}
