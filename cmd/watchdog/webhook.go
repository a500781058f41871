package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"healthcheck/watchdog"
)

// webhook tells docker-autoheal's two receivers of alerts, in its shapes, for
// people moving over: WEBHOOK_URL gets {KEY: text}, APPRISE_URL a title and a
// body.
type webhook struct{ url, textKey, titleKey string }

func (w webhook) payload(text string) []byte {
	v := map[string]string{w.textKey: text}
	if w.titleKey != "" {
		v[w.titleKey] = "watchdog"
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings only
	}
	return data
}

const (
	// hookQueue bounds the alerts that wait for a slow receiver.
	hookQueue = 256
	// hookTimeout bounds one delivery.
	hookTimeout = 10 * time.Second
)

// deliver starts one courier per receiver and returns what hands them an
// alert. It never blocks: where a queue is full the alert is only logged.
func deliver(ctx context.Context, hooks []webhook, log *slog.Logger) func(watchdog.Action) {
	if len(hooks) == 0 {
		return nil
	}
	var queues []chan string
	for i, h := range hooks {
		q := make(chan string, hookQueue)
		queues = append(queues, q)
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case text := <-q:
					if err := h.post(ctx, text); err != nil {
						// The address may hold a token: it is not repeated.
						log.Warn("an alert was not delivered", "receiver", i+1, "error", err)
					}
				}
			}
		}()
	}
	return func(a watchdog.Action) {
		text := a.Text
		if a.Name != "" {
			text = a.Name + ": " + text
		}
		for i, q := range queues {
			select {
			case q <- text:
			default:
				log.Warn("an alert was not delivered: too many are waiting", "receiver", i+1)
			}
		}
	}
}

func (w webhook) post(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(w.payload(text)))
	if err != nil {
		return fmt.Errorf("the address is malformed")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no answer")
	}
	resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
