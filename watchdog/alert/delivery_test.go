package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
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
		n.Start(ctx)
		synctest.Wait()
		during(n)
		cancel()
		synctest.Wait()
	})
}

func TestNotifierEscalatesInTime(t *testing.T) {
	var mu sync.Mutex
	var got []string
	begin := time.Time{}
	withNotifier(t, Router{Sinks: []Sink{{recovery.Warning, "a"}}, Escalations: []Escalation{{15 * time.Minute, "boss"}}, Every: time.Hour}, func(d Delivery) error {
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

// A dead receiver is tried again, bounded, counted, and delays nobody.
func TestNotifierDeadReceiver(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	withNotifier(t, Router{Sinks: []Sink{{recovery.Info, "hangs"}, {recovery.Info, "refuses"}, {recovery.Info, "late"}, {recovery.Info, "healthy"}}}, func(d Delivery) error {
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
		if fmt.Sprint(tries) != "map[hangs:4 healthy:1 late:3 refuses:4]" || n.Delivered.Load() != 2 || n.Failed.Load() != 2 {
			t.Errorf("%v, %d delivered, %d failed", tries, n.Delivered.Load(), n.Failed.Load())
		}
	})
	// More than can wait is counted, not waited for.
	withNotifier(t, Router{Sinks: []Sink{{recovery.Info, "hangs"}}}, func(Delivery) error { time.Sleep(24 * time.Hour); return nil }, func(n *Notifier) {
		for i := range queueLength + 10 {
			n.Alert(alertOf(recovery.Warning, recovery.Event(fmt.Sprint("t", i)), "app"))
		}
		if n.Failed.Load() < 9 {
			t.Errorf("%d failed", n.Failed.Load())
		}
		time.Sleep(30 * 24 * time.Hour)
	})
}
