package page

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// maxSubscribers bounds the streams at one time; more pages than that ask
	// again from time to time.
	maxSubscribers = 16
	// aliveEvery is how often a stream says something at least, and restBetween
	// how long it rests between two messages.
	aliveEvery, restBetween = 15 * time.Second, time.Second
	// writeTime is how long a subscriber may take to read a message.
	writeTime = 10 * time.Second
)

// subscribers are those of the stream of changes. Its zero value has none.
type subscribers struct {
	mu  sync.Mutex
	all map[chan struct{}]bool
}

// join adds one; false where there are too many.
func (s *subscribers) join() (changes chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSubscribers {
		return nil, false
	}
	if s.all == nil {
		s.all = map[chan struct{}]bool{}
	}
	changes = make(chan struct{}, 1)
	s.all[changes] = true
	return changes, true
}

func (s *subscribers) leave(changes chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, changes)
}

// Changed has the pages that are open ask for what is new. It does not block,
// and may be called from any goroutine.
func (p *Page) Changed() {
	p.changes.Add(1)
	p.subscribers.mu.Lock()
	defer p.subscribers.mu.Unlock()
	for changes := range p.subscribers.all {
		select {
		case changes <- struct{}{}:
		default: // it has not looked at the last one yet
		}
	}
}

// stream says by server-sent events that there is something new: at once, then
// whenever something changes, at most once a second, and every 15 s, so that a
// page knows that the watchdog is there. It ends with its request.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	changes, ok := p.subscribers.join()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer p.subscribers.leave(changes)
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // not every writer has one
		_, err := fmt.Fprintf(w, "event: change\ndata: %s\n\n", time.Now().UTC().Format(time.RFC3339))
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return
		}
		rest := time.NewTimer(restBetween)
		select {
		case <-rest.C:
		case <-r.Context().Done():
			rest.Stop()
			return
		}
		select {
		case <-changes:
		case <-alive.C:
		case <-r.Context().Done():
			return
		}
	}
}
