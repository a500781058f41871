package page

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// listener is what a browser reads of a stream.
type listener struct {
	*httptest.ResponseRecorder
	mu     sync.Mutex
	body   bytes.Buffer
	leave  context.CancelFunc
	ended  chan struct{}
	broken bool // it takes nothing more
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return 0, http.ErrHandlerTimeout
	}
	return l.body.Write(b)
}

// messages counts those that have come.
func (l *listener) messages() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.body.String(), "event: change\ndata: ")
}

// listen opens a stream, which ends with the test.
func listen(ctx context.Context, p *Page) *listener {
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{ResponseRecorder: httptest.NewRecorder(), leave: cancel, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		p.stream(l, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/events", nil))
	}()
	return l
}

// A stream says something at once, when something changes, once a second at
// most, and every 15 s.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Page{}
		l := listen(t.Context(), p)
		after := func(d time.Duration, what string, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := l.messages(); got != want {
				t.Errorf("%s: %d messages, want %d:\n%s", what, got, want, &l.body)
			}
		}
		after(0, "at once", 1)
		for range 100 {
			p.Changed()
		}
		after(restBetween-time.Millisecond, "a hundred changes", 1)
		after(time.Millisecond, "they are one message", 2)
		after(5*time.Second, "nothing changes", 2)
		p.Changed()
		after(0, "a change after a rest", 3)
		after(2*aliveEvery, "alive", 5)
		if kind := l.Header().Get("Content-Type"); kind != "text/event-stream" {
			t.Error(kind)
		}
		l.leave()
		<-l.ended
		if n := len(p.subscribers.all); n != 0 {
			t.Errorf("%d subscribers are left", n)
		}
	})
}

// There is room for so many streams and no more, and a place is free again
// when its page is closed, or takes nothing any more.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Page{}
		var all []*listener
		for range maxSubscribers {
			all = append(all, listen(t.Context(), p))
		}
		synctest.Wait()
		refused := func(what string, want bool) {
			t.Helper()
			l := listen(t.Context(), p)
			defer func() { l.leave(); <-l.ended }()
			synctest.Wait()
			if got := l.Code == http.StatusServiceUnavailable; got != want || want && l.Header().Get("Retry-After") == "" {
				t.Errorf("%s: status %d, %v", what, l.Code, l.Header())
			}
		}
		refused("one too many", true)
		all[3].leave()
		<-all[3].ended
		refused("one has gone", false)
		all[3] = listen(t.Context(), p)
		synctest.Wait()
		refused("another has come", true)
		all[5].mu.Lock()
		all[5].broken = true
		all[5].mu.Unlock()
		<-all[5].ended // by itself, at its next message
		refused("one is broken", false)
		for _, l := range all {
			l.leave()
			<-l.ended
		}
	})
}
