package alert

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/recovery"
)

// withNotifier runs a notifier in fake time.
func withNotifier(t *testing.T, r Router, send func(Delivery) error, during func(n *Notifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &Notifier{Router: r, Log: slog.New(slog.DiscardHandler), Send: send}
		ctx, cancel := context.WithCancel(t.Context())
		n.Start(ctx, State{}, time.Now())
		synctest.Wait()
		during(n)
		cancel()
		time.Sleep(25 * time.Hour) // a send that hangs ends some time
		synctest.Wait()
	})
}

func TestNotifierEscalatesInTime(t *testing.T) {
	var mu sync.Mutex
	var got []string
	begin := time.Time{}
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Warning, URL: "a"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}}, Every: time.Hour}, func(d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprintf("%s@%s", d.URL, time.Since(begin)))
		return nil
	}, func(n *Notifier) {
		begin = time.Now()
		n.Alert(alertOf(recovery.Critical, "gave_up", "app"))
		time.Sleep(time.Hour)
		n.Alert(alertOf(recovery.Info, "recovered", "app"))
		synctest.Wait()
		if s := strings.Join(got, " "); s != "a@0s boss@15m0s a@1h0m0s boss@1h0m0s" && s != "a@0s boss@15m0s boss@1h0m0s a@1h0m0s" {
			t.Errorf("got %s", s)
		}
	})
}

// The end of an incident is tried for as long as its worst alert: a receiver
// that is down for ten minutes does not take it for open for ever.
func TestNotifierTriesTheEndAsLong(t *testing.T) {
	var mu sync.Mutex
	var got []string
	down := false
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "a"}}, Every: time.Hour}, func(d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return errors.New("down")
		}
		first, _, _ := strings.Cut(d.Text, "\n")
		got = append(got, first)
		return nil
	}, func(n *Notifier) {
		n.Alert(alertOf(recovery.Critical, "gave_up", "app"))
		synctest.Wait()
		mu.Lock()
		down = true
		mu.Unlock()
		n.Alert(alertOf(recovery.Info, "recovered", "app"))
		time.Sleep(10 * time.Minute)
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 2 || !strings.HasPrefix(got[1], "resolved: ") {
			t.Errorf("got %q", got)
		}
	})
}

// A dead receiver is tried again, bounded, counted, and delays nobody.
func TestNotifierDeadReceiver(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "hangs"}, {MinSeverity: recovery.Info, URL: "refuses"}, {MinSeverity: recovery.Info, URL: "late"}, {MinSeverity: recovery.Info, URL: "healthy"}}}, func(d Delivery) error {
		mu.Lock()
		tries[d.URL]++
		nth := tries[d.URL]
		mu.Unlock()
		switch {
		case d.URL == "hangs":
			time.Sleep(24 * time.Hour)
		case d.URL == "refuses", d.URL == "late" && nth < 3:
			return errors.New("429")
		}
		return nil
	}, func(n *Notifier) {
		begin := time.Now()
		n.Alert(alertOf(recovery.Warning, "restarted", "app"))
		if time.Since(begin) != 0 {
			t.Errorf("the caller waits %s", time.Since(begin))
		}
		synctest.Wait()
		if n.Delivered.Load() != 1 {
			t.Errorf("%d delivered at once", n.Delivered.Load())
		}
		time.Sleep(30 * 24 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if tries["hangs"] != 1 || tries["healthy"] != 1 || tries["late"] != 3 || tries["refuses"] < 5 || n.Delivered.Load() != 3 || n.Failed.Load() != 1 {
			t.Errorf("%v, %d delivered, %d failed", tries, n.Delivered.Load(), n.Failed.Load())
		}
	})
	// More than can wait is counted, not waited for.
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "hangs"}}}, func(Delivery) error { time.Sleep(24 * time.Hour); return nil }, func(n *Notifier) {
		for i := range queueLength + 10 {
			n.Alert(alertOf(recovery.Warning, recovery.Event(fmt.Sprint("t", i)), "app"))
		}
		if n.Failed.Load() < 9 {
			t.Errorf("%d failed", n.Failed.Load())
		}
	})
}

// A receiver that is slow gets each message once.
func TestNotifierSlowReceiver(t *testing.T) {
	var mu sync.Mutex
	sent := 0
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "slow"}}}, func(Delivery) error {
		time.Sleep(16 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		sent++
		return nil
	}, func(n *Notifier) {
		n.Alert(alertOf(recovery.Warning, "restarted", "app"))
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if sent != 1 || n.Delivered.Load() != 1 || n.Failed.Load() != 0 {
			t.Errorf("sent %d times, %d delivered, %d failed", sent, n.Delivered.Load(), n.Failed.Load())
		}
	})
}

// A critical alert outlasts a receiver that is down for minutes.
func TestNotifierReceiverDownForMinutes(t *testing.T) {
	begin := time.Now()
	withNotifier(t, Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "down"}}}, func(Delivery) error {
		if time.Since(begin) < 10*time.Minute {
			return errors.New("connection refused")
		}
		return nil
	}, func(n *Notifier) {
		begin = time.Now()
		n.Alert(alertOf(recovery.Critical, "gave_up", "app"))
		time.Sleep(20 * time.Minute)
		if n.Delivered.Load() != 1 {
			t.Errorf("%d delivered, %d failed", n.Delivered.Load(), n.Failed.Load())
		}
	})
}

// What is not delivered when the program ends goes out with the next start,
// and the end does not wait for it for long.
func TestNotifierDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := Router{Sinks: []Sink{{MinSeverity: recovery.Info, URL: "dead"}, {MinSeverity: recovery.Info, URL: "healthy"}}}
		var mu sync.Mutex
		var got []string
		alive := false
		send := func(d Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if d.URL == "dead" && !alive {
				return errors.New("connection refused")
			}
			got = append(got, d.URL)
			return nil
		}
		start := func(saved State) (*Notifier, func()) {
			n := &Notifier{Router: router, Log: slog.New(slog.DiscardHandler), Send: send}
			ctx, cancel := context.WithCancel(t.Context())
			n.Start(ctx, saved, time.Now())
			return n, func() { cancel(); n.Wait() }
		}
		n, end := start(State{})
		n.Alert(alertOf(recovery.Critical, "gave_up", "app"))
		begin := time.Now()
		n.Drain(t.Context())
		if waited := time.Since(begin); waited != DrainTime {
			t.Errorf("the end waits %s", waited)
		}
		end()
		saved := n.State()
		if len(saved.Pending) != 1 || len(saved.Incidents) != 1 {
			t.Fatalf("%+v", saved)
		}
		mu.Lock()
		alive = true
		mu.Unlock()
		n, end = start(saved)
		synctest.Wait()
		end()
		if s := strings.Join(got, " "); s != "healthy dead" || len(n.State().Pending) != 0 {
			t.Errorf("delivered: %s", s)
		}
	})
}

// What went wrong is named, and no address is.
func TestKindOfDeliveryError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("post http://SECRET: %w", syscall.ECONNREFUSED), "connection refused"},
		{&net.DNSError{Name: "SECRET", Err: "no such host"}, "no such host"},
		{fmt.Errorf("SECRET: %w", x509.UnknownAuthorityError{}), "TLS: the certificate or the protocol is not accepted"},
		{fmt.Errorf("SECRET: %w", os.ErrDeadlineExceeded), "timeout"},
		{errors.New("got response status 401 Unauthorized from SECRET"), "status 401"},
		{errors.New("SECRET"), "refused"},
	} {
		if got := kind(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
