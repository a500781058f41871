package watchdog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers is a receiver in fake time.
type answers func(*http.Request) (int, error)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	code, err := a(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

// The heartbeat goes out while the daemon is well and ceases when it is not;
// each change is logged once, without the address.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const url = "https://beats.invalid/secret-token"
		var wrong, fails error
		status, beats := 200, 0
		client := &http.Client{Transport: answers(func(r *http.Request) (int, error) {
			if r.URL.String() != url || r.Method != "GET" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			beats++
			return status, fails
		})}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Heartbeat{url, time.Minute, func(time.Time) error { return wrong }, slog.New(slog.NewTextHandler(&log, nil)), client}.Run(ctx)
		}()
		after := func(d time.Duration, want int, text string) {
			t.Helper()
			log.Reset()
			beats = 0
			time.Sleep(d)
			synctest.Wait()
			if beats != want || strings.Count(log.String(), "event=heartbeat") != min(len(text), 1) || !strings.Contains(log.String(), text) {
				t.Errorf("%d beats, want %d; %q, want %q", beats, want, log.String(), text)
			}
			if strings.Contains(log.String(), "secret-token") {
				t.Errorf("the address is logged: %s", log.String())
			}
		}
		after(time.Second, 1, "")
		after(3*time.Minute, 3, "")
		wrong = errors.New("the loop has not turned for 1m2s")
		after(3*time.Minute, 0, "not sent: the loop has not turned")
		wrong = nil
		after(2*time.Minute, 2, "the heartbeat is back")
		status = 404
		after(2*time.Minute, 2, "status 404")
		status, fails = 200, errors.New("dial beats.invalid/secret-token: refused")
		after(2*time.Minute, 2, "cannot be reached")
		cancel()
		<-done
	})
}
