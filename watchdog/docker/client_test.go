package docker

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A call waits no longer than it may for the version that another call asks
// for.
func TestCallBesideOneThatHangs(t *testing.T) {
	asked := make(chan struct{}, 1)
	engine := roundTripper(func(r *http.Request) (*http.Response, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	c, err := New("unix:///no/engine.sock", engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.List(ctx); first <- err }()
	<-asked
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := c.Inspect(ctx, "x")
		second <- err
	}()
	select {
	case err := <-second:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	case err := <-first:
		t.Errorf("the other one has to end first: %v", err)
	}
	cancel()
	<-first
}
