package watchdog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"healthcheck/watchdog/recovery"
)

// Heartbeat asks an address again and again, for as long as the daemon is well:
// somebody else notices when it ceases, as healthchecks.io and Uptime Kuma do.
type Heartbeat struct {
	// URL is a secret: it is never logged.
	URL   string
	Every time.Duration
	// Health says what is wrong; nothing is asked then.
	Health func(now time.Time) error
	Log    *slog.Logger
	// Client is http.DefaultClient where it is nil.
	Client *http.Client
}

// heartbeatTimeout bounds one request.
const heartbeatTimeout = 10 * time.Second

// Run asks at once and then every so often, until ctx ends. What goes wrong is
// logged when it changes.
func (h Heartbeat) Run(ctx context.Context) {
	tick := time.NewTicker(h.Every)
	defer tick.Stop()
	last := ""
	for {
		text := ""
		if err := h.beat(ctx); err != nil {
			text = err.Error()
		}
		switch {
		case ctx.Err() != nil:
			return
		case text != last && text != "":
			h.Log.Warn("no heartbeat: "+text, "event", recovery.EventHeartbeat)
		case text != last:
			h.Log.Info("the heartbeat is back", "event", recovery.EventHeartbeat)
		}
		last = text
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat asks once. Its error holds no part of the address.
func (h Heartbeat) beat(ctx context.Context) error {
	if err := h.Health(time.Now()); err != nil {
		return fmt.Errorf("not sent: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL, nil)
	if err != nil {
		return errors.New("not a URL")
	}
	req.Header.Set("User-Agent", "watchdog")
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %s", heartbeatTimeout)
	case err != nil:
		return errors.New("its receiver cannot be reached")
	}
	resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("its receiver answers with status %d", resp.StatusCode)
	}
	return nil
}
