package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"healthcheck/probe"
)

// judge looks at the answer: status, then body, then JSON.
func (h *httpCheck) judge(ctx context.Context, resp *http.Response) (probe.Finding, error) {
	if !h.opt.Status.has(resp.StatusCode) {
		echo := ""
		if b, ok := resp.Body.(*ownedBody); ok {
			hurry(ctx, b.conn)
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, failureBody))
		if len(bytes.TrimSpace(body)) > 0 {
			echo = ": " + h.target.Secrets.QuoteCut(string(body))
		}
		err := h.fail(probe.StageStatus, "status %d, want %s%s", resp.StatusCode, h.opt.Status, echo)
		return probe.Finding{}, probe.WithClass(err, classOf(resp.StatusCode, body))
	}
	expects := h.opt.Body != nil || len(h.opt.JSON) > 0
	limit := int64(healthBody)
	if expects {
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return probe.Finding{}, h.fail(probe.StageBody, "status %d, then the body broke off after %d bytes: %s", resp.StatusCode, len(body), bodyFault(ctx, err))
	}
	if expects && int64(len(body)) > limit {
		return probe.Finding{}, h.fail(probe.StageBody, "the body is larger than %d bytes", limit)
	}
	if h.opt.Body != nil && !h.opt.Body.Match(body) {
		return probe.Finding{}, h.fail(probe.StageBody, "the body does not match %q: %s", probe.Cut(h.opt.Body.String(), 100), h.target.Secrets.Quote(string(body)))
	}
	if len(h.opt.JSON) > 0 {
		if err := h.judgeJSON(body); err != nil {
			return probe.Finding{}, err
		}
	}
	return probe.Finding{Message: fmt.Sprintf("%s %s: status %d", h.action, h.target, resp.StatusCode)}, nil
}

func bodyFault(ctx context.Context, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	return probe.Bare(probe.Cause(ctx, err))
}

func (h *httpCheck) judgeJSON(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(withoutBOM(body)))
	dec.UseNumber() // 1.0 and 12345678901234567890 are compared as written
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return h.fail(probe.StageJSON, "the body is not JSON: %s", h.target.Secrets.Quote(string(body)))
	}
	if _, err := dec.Token(); err != io.EOF {
		rest := body[min(int(dec.InputOffset()), len(body)):]
		return h.fail(probe.StageJSON, "the body is not JSON: behind it stands %s", h.target.Secrets.Quote(string(rest)))
	}
	for _, e := range h.opt.JSON {
		got, ok := walk(doc, e.Path)
		if !ok {
			return h.fail(probe.StageJSON, "the body has no %q, want %q: %s", probe.Cut(e.Path, 80), probe.Cut(e.Want, 80), h.target.Secrets.Quote(string(body)))
		}
		if got != e.Want {
			return h.fail(probe.StageJSON, "%q is %s, want %q", probe.Cut(e.Path, 80), h.target.Secrets.Quote(got), probe.Cut(e.Want, 80))
		}
	}
	return nil
}

// withoutBOM takes off the mark that some servers of Windows's put before
// UTF-8, which JSON has no place for (RFC 8259, 8.1, lets a reader ignore it).
func withoutBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")) }

// walk follows a dotted path through a decoded document and returns what it
// found as text: strings as they are, everything else as JSON.
func walk(doc any, dotted string) (string, bool) {
	for key := range strings.SplitSeq(dotted, ".") {
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[key]
			if !ok {
				return "", false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			doc = v[i]
		default:
			return "", false
		}
	}
	if s, ok := doc.(string); ok {
		return s, true
	}
	text, err := json.Marshal(doc)
	return string(text), err == nil
}
