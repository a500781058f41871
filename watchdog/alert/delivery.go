package alert

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"healthcheck/watchdog/recovery"
)

// Notifier delivers alerts through shoutrrr's services. Alert never blocks:
// each receiver has a queue and a worker of its own, so that one that hangs
// delays neither a restart nor another receiver.
type Notifier struct {
	Router Router
	Log    *slog.Logger
	// Send delivers one message; nil is shoutrrr's. The tests that live in
	// fake time have one of their own.
	Send func(Delivery) error
	// Delivered and Failed count messages.
	Delivered, Failed atomic.Int64

	mu     sync.Mutex
	queues map[string]chan Delivery // by URL
	wake   chan struct{}
}

const (
	// queueLength bounds the messages that wait for a slow receiver.
	queueLength = 256
	// sendTimeout bounds one delivery, sendTries how often it is tried.
	sendTimeout = 15 * time.Second
	sendTries   = 4
	// firstResend is doubled after each try.
	firstResend = time.Second
)

// ErrReceiver is an address that shoutrrr does not understand. Its own error
// may hold a token, and is not repeated.
var ErrReceiver = errors.New("not an address that shoutrrr knows, such as slack://…, ntfy://… or generic+https://…")

// CheckReceiver says whether messages can be sent to an address at all.
func CheckReceiver(url string) error {
	if _, err := shoutrrr.CreateSender(url); err != nil {
		return ErrReceiver
	}
	return nil
}

// Start begins to escalate and to deliver, until ctx ends.
func (n *Notifier) Start(ctx context.Context) {
	n.wake = make(chan struct{}, 1)
	n.queues = map[string]chan Delivery{}
	for _, url := range n.Router.receivers() {
		if n.queues[url] == nil {
			queue := make(chan Delivery, queueLength)
			n.queues[url] = queue
			go n.work(ctx, len(n.queues), queue)
		}
	}
	go n.escalate(ctx)
}

// escalate lets time pass for the router.
func (n *Notifier) escalate(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n.mu.Lock()
		next := n.Router.Next()
		n.mu.Unlock()
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
		case <-timer.C:
			n.mu.Lock()
			n.enqueue(n.Router.Tick(time.Now()))
			n.mu.Unlock()
		}
	}
}

// Alert takes an alert of the daemon.
func (n *Notifier) Alert(a recovery.Action) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.enqueue(n.Router.Route(a, time.Now()))
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// enqueue puts messages into their receivers' queues.
func (n *Notifier) enqueue(all []Delivery) {
	for _, d := range all {
		select {
		case n.queues[d.URL] <- d:
		default:
			n.Failed.Add(1)
			n.Log.Warn("an alert was not delivered: too many are waiting", "event", recovery.EventAlertNotDelivered, "title", d.Title)
		}
	}
}

// work delivers the messages of one receiver, one after the other.
func (n *Notifier) work(ctx context.Context, number int, queue <-chan Delivery) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-queue:
			n.deliver(ctx, number, d)
		}
	}
}

// deliver tries a message several times, with growing pauses: shoutrrr does
// not pass on how long a receiver asks to wait.
func (n *Notifier) deliver(ctx context.Context, number int, d Delivery) {
	send := n.Send
	if send == nil {
		send = sendByShoutrrr
	}
	pause := firstResend
	for try := 1; ; try++ {
		done := make(chan error, 1)
		go func() { done <- send(d) }()
		var err error
		select {
		case err = <-done:
		case <-time.After(sendTimeout):
			err = errors.New("no answer")
		case <-ctx.Done():
			return
		}
		if err == nil {
			n.Delivered.Add(1)
			return
		}
		if try == sendTries {
			n.Failed.Add(1)
			n.Log.Warn("an alert was not delivered", "event", recovery.EventAlertNotDelivered, "receiver", number, "tries", try, "title", d.Title)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause *= 2
	}
}

// sendByShoutrrr keeps the error's text to itself: it may hold the address.
func sendByShoutrrr(d Delivery) error {
	sender, err := shoutrrr.CreateSender(d.URL)
	if err != nil {
		return ErrReceiver
	}
	params := types.Params{}
	params.SetTitle(d.Title)
	for _, err := range sender.Send(d.Text, &params) {
		if err != nil {
			return errors.New("refused")
		}
	}
	return nil
}
