package protocol

import (
	"fmt"
	"net/url"
	"strings"

	"healthcheck/probe"
)

// tritonState is what Triton's repository says of one version of a model.
type tritonState struct{ Name, Version, State, Reason string }

// tritonModel asks whether the model of the path, NAME or NAME/VERSION, is
// ready. It returns the path that the model has in Triton's API.
func (c *serviceSession) tritonModel() (model string, err error) {
	if c.name == "" {
		return "", nil
	}
	name, version, _ := strings.Cut(c.name, "/")
	path := "/v2/models/" + url.PathEscape(name)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	r, err := c.ask(path+"/ready", nil)
	if err != nil {
		return "", err
	}
	if r.status != statusBadRequest && r.status != statusNotFound {
		return probe.Cut(c.name, 80), c.wantOK(r)
	}
	states, err := c.tritonStates(r)
	if err != nil {
		return "", err
	}
	for _, s := range states {
		if s.Name == name && (version == "" || s.Version == version) && s.State != "READY" {
			return "", c.tritonFailure(r, s)
		}
	}
	return "", c.missing(r, "model")
}

// tritonUnready says which model keeps the server from being ready: the answer
// itself has no word.
func (c *serviceSession) tritonUnready(r serviceReply) error {
	states, err := c.tritonStates(r)
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.State != "READY" {
			return c.tritonFailure(r, s)
		}
	}
	return c.wantOK(r)
}

// tritonStates asks for the states of all models; where nobody may, the answer
// that was to be explained stands.
func (c *serviceSession) tritonStates(r serviceReply) ([]tritonState, error) {
	index, err := c.ask("/v2/repository/index", []byte("{}"))
	if err != nil {
		return nil, err
	}
	if index.status != statusOK {
		return nil, c.wantOK(r)
	}
	var states []tritonState
	return states, c.decode(index, &states)
}

func (c *serviceSession) tritonFailure(r serviceReply, s tritonState) error {
	reason := ""
	if s.Reason != "" {
		reason = ": " + c.target.Secrets.Quote(s.Reason)
	}
	err := c.fail(r, probe.StageStatus, fmt.Errorf("status %d: model %q is %s, want READY%s", r.status, probe.Cut(s.Name, 80), c.target.Secrets.Quote(s.State), reason))
	if s.State == "LOADING" {
		return probe.WithClass(err, probe.Starting)
	}
	return err
}
