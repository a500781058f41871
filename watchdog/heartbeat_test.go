package watchdog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
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
		var mu sync.Mutex // of what follows
		var wrong, fails error
		status, beats := 200, 0
		client := &http.Client{Transport: answers(func(r *http.Request) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.String() != url || r.Method != "GET" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			beats++
			return status, fails
		})}
		health := func(time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			return wrong
		}
		log := &syncBuffer{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Heartbeat{url, time.Minute, health, slog.New(slog.NewTextHandler(log, nil)), client}.Run(ctx)
		}()
		logged := 0
		after := func(d time.Duration, want int, text string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			news := log.String()[logged:]
			logged += len(news)
			if beats != want || strings.Count(news, "event=heartbeat") != min(len(text), 1) || !strings.Contains(news, text) {
				t.Errorf("%d beats, want %d; %q, want %q", beats, want, news, text)
			}
			if strings.Contains(news, "secret-token") {
				t.Errorf("the address is logged: %s", news)
			}
			beats = 0
		}
		set := func(health error, code int, err error) {
			mu.Lock()
			defer mu.Unlock()
			wrong, status, fails = health, code, err
		}
		after(time.Second, 1, "")
		after(3*time.Minute, 3, "")
		set(errors.New("the loop has not turned for 1m2s"), 200, nil)
		after(3*time.Minute, 0, "not sent: the loop has not turned")
		set(nil, 200, nil)
		after(2*time.Minute, 2, "the heartbeat is back")
		set(nil, 404, nil)
		after(2*time.Minute, 2, "status 404")
		set(nil, 200, errors.New("dial beats.invalid/secret-token: refused"))
		after(2*time.Minute, 2, "cannot be reached")
		cancel()
		<-done
	})
}
