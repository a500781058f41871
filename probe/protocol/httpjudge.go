package protocol

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"slices"
	"strings"

	"healthcheck/probe"
)

// judge looks at the answer: status, then headers, then body, then JSON.
func (h *httpCheck) judge(ctx context.Context, resp *response) (probe.Finding, error) {
	if !h.opt.Status.has(resp.status) {
		echo := ""
		if resp.conn != nil {
			hurry(ctx, resp.conn)
		}
		var body []byte
		if r, err := plainBody(resp); err == nil {
			body, _ = io.ReadAll(io.LimitReader(r, failureBody))
		}
		if len(bytes.TrimSpace(body)) > 0 {
			echo = ": " + h.target.Secrets.QuoteCut(string(body))
		}
		err := h.fail(probe.StageStatus, "status %d, want %s%s", resp.status, h.opt.Status, echo)
		return probe.Finding{}, probe.WithClass(err, classOf(resp.status, body))
	}
	if err := h.judgeHeaders(resp.header); err != nil {
		return probe.Finding{}, err
	}
	expects := h.opt.Body != nil || h.opt.NotBody != nil || len(h.opt.JSON) > 0
	limit, r := int64(healthBody), resp.body
	if expects {
		limit = maxBody
		var err error
		if r, err = plainBody(resp); err != nil {
			return probe.Finding{}, h.fail(probe.StageBody, "the body cannot be read: %s", bodyFault(ctx, err))
		}
	}
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageBody, "status %d, then the body broke off after %d bytes: %s", resp.status, len(body), bodyFault(ctx, err))
	}
	if expects && int64(len(body)) > limit {
		return probe.Finding{}, h.fail(probe.StageBody, "the body is larger than %d bytes", limit)
	}
	if h.opt.Body != nil && !h.opt.Body.Match(body) {
		return probe.Finding{}, h.fail(probe.StageBody, "the body does not match %q: %s", probe.Cut(h.opt.Body.String(), 100), h.target.Secrets.Quote(string(body)))
	}
	if h.opt.NotBody != nil {
		if at := h.opt.NotBody.FindIndex(body); at != nil {
			return probe.Finding{}, h.fail(probe.StageBody, "the body matches %q: %s", probe.Cut(h.opt.NotBody.String(), 100), h.target.Secrets.Quote(string(body[at[0]:])))
		}
	}
	if len(h.opt.JSON) > 0 {
		if err := h.judgeJSON(body); err != nil {
			return probe.Finding{}, err
		}
	}
	return probe.Finding{Message: fmt.Sprintf("%s %s: status %d", h.action, h.target, resp.status)}, nil
}

func bodyFault(ctx context.Context, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	return probe.Bare(probe.Cause(ctx, err))
}

// judgeHeaders looks for the headers that the answer must have. One of several
// of the same name will do.
func (h *httpCheck) judgeHeaders(header textproto.MIMEHeader) error {
	for _, e := range h.opt.ExpectHeader {
		values := header.Values(e.Name)
		switch {
		case len(values) == 0:
			return h.fail(probe.StageResponse, "the answer has no header %q", e.Name)
		case e.Value != nil && !slices.ContainsFunc(values, e.Value.MatchString):
			return h.fail(probe.StageResponse, "the header %q does not match %q: %s", e.Name, probe.Cut(e.Value.String(), 100), h.target.Secrets.Quote(strings.Join(values, ", ")))
		}
	}
	return nil
}
