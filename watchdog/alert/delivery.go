package alert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	// Changed, if set, is called when a message was delivered or dropped, so
	// that State is worth saving again. It must not block.
	Changed func()
	// Delivered and Failed count messages.
	Delivered, Failed atomic.Int64

	ctx     context.Context // Start's, for the workers of receivers that come later
	mu      sync.Mutex
	queues  map[string]*queue // by URL
	wake    chan struct{}
	workers sync.WaitGroup
}

// queue holds the messages of one receiver, the oldest first; its worker is at
// the first of them.
type queue struct {
	number   int  // what logs call the receiver
	removed  bool // it ends when it is empty
	messages []Delivery
	more     chan struct{}
}

const (
	// queueLength bounds the messages that wait for a slow receiver.
	queueLength = 256
	// answerTimeout is when a receiver that does not answer is reported; it may
	// have taken the message all the same, which is not sent again.
	answerTimeout = 2 * time.Minute
	// firstResend is doubled after each try, up to lastResend.
	firstResend, lastResend = time.Second, time.Minute
	// DrainTime is how long the end of the program waits for messages.
	DrainTime = 5 * time.Second
)

// patience is how long a message is tried for.
func patience(s recovery.Severity) time.Duration {
	switch s {
	case recovery.Critical:
		return 15 * time.Minute
	case recovery.Warning:
		return 2 * time.Minute
	}
	return time.Minute
}

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

// Start begins to escalate and to deliver, what an earlier run left first. The
// end of ctx ends it; Drain gives the queues time before.
func (n *Notifier) Start(ctx context.Context, saved State, now time.Time) {
	n.Router.Restore(saved.Incidents, now)
	n.wake = make(chan struct{}, 1)
	n.queues, n.ctx = map[string]*queue{}, ctx
	n.open(saved.Pending)
	n.workers.Go(func() { n.escalate(ctx) })
}

// open begins a queue, with what is pending for it, for each receiver that has
// none, and numbers them all.
func (n *Notifier) open(pending []Pending) {
	for i, url := range n.Router.Receivers() {
		if q := n.queues[url]; q != nil {
			q.number, q.removed = i+1, false
			continue
		}
		q := &queue{number: i + 1, more: make(chan struct{}, 1)}
		for _, p := range pending {
			if p.Receiver == receiverID(url) && len(q.messages) < queueLength {
				q.messages = append(q.messages, Delivery{URL: url, Title: p.Title, Text: p.Text, Severity: p.Severity})
			}
		}
		n.queues[url] = q
		n.workers.Go(func() { n.work(n.ctx, url, q) })
	}
}

// Reload replaces who receives what; incidents stay open. What waits for a
// receiver that is gone is still delivered.
func (n *Notifier) Reload(r Router) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Router.Sinks, n.Router.Named, n.Router.Format, n.Router.Escalations, n.Router.Every, n.Router.Host = r.Sinks, r.Named, r.Format, r.Escalations, r.Every, r.Host
	receivers := n.Router.Receivers()
	for url, q := range n.queues {
		if q.removed = !slices.Contains(receivers, url); q.removed {
			select {
			case q.more <- struct{}{}:
			default:
			}
		}
	}
	n.open(nil)
	select {
	case n.wake <- struct{}{}: // an escalation may be due earlier
	default:
	}
}

// State is what must survive a restart.
func (n *Notifier) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := State{Incidents: n.Router.Incidents()}
	for url, q := range n.queues {
		for _, d := range q.messages {
			s.Pending = append(s.Pending, Pending{receiverID(url), d.Severity, d.Title, d.Text})
		}
	}
	slices.SortStableFunc(s.Pending, func(a, b Pending) int { return strings.Compare(a.Receiver, b.Receiver) })
	return s
}

// Drain waits until everything is delivered, but not for long: what is left
// then is in State, and goes out with the next start.
func (n *Notifier) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, DrainTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n.waiting() > 0 {
		select {
		case <-ctx.Done():
			n.Log.Warn("alerts are not delivered yet: they are saved for the next start", "event", recovery.EventAlertNotDelivered, "alerts", n.waiting())
			return
		case <-tick.C:
		}
	}
}

// Wait returns when all goroutines have ended, which the end of Start's
// context brings about.
func (n *Notifier) Wait() { n.workers.Wait() }

// waiting counts the messages that no receiver has taken yet.
func (n *Notifier) waiting() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.queues {
		count += len(q.messages)
	}
	return count
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
			n.changed()
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
		q := n.queues[d.URL]
		if d.Fault != "" {
			n.Log.Warn("the template of an alert cannot be carried out; it goes out in the built-in form", "event", recovery.EventTemplateFailed, "receiver", q.number, "error", d.Fault)
		}
		if len(q.messages) >= queueLength {
			n.Failed.Add(1)
			n.Log.Warn("an alert was not delivered: too many are waiting", "event", recovery.EventAlertNotDelivered, "receiver", q.number, "title", d.Title)
			continue
		}
		q.messages = append(q.messages, d)
		select {
		case q.more <- struct{}{}:
		default:
		}
	}
}

func (n *Notifier) changed() {
	if n.Changed != nil {
		n.Changed()
	}
}

// work delivers the messages of one receiver, one after the other.
func (n *Notifier) work(ctx context.Context, url string, q *queue) {
	for {
		n.mu.Lock()
		var first *Delivery
		number := q.number
		if len(q.messages) > 0 {
			first = &q.messages[0]
		} else if q.removed {
			delete(n.queues, url)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		if first == nil {
			select {
			case <-ctx.Done():
				return
			case <-q.more:
			}
			continue
		}
		if !n.deliver(ctx, number, *first) {
			return // it stays in the queue, for the next start
		}
		n.mu.Lock()
		q.messages = q.messages[1:]
		n.mu.Unlock()
		n.changed()
	}
}

// deliver tries a message with growing pauses, since shoutrrr does not pass on
// how long a receiver asks to wait. It is done with the message unless ctx ends
// first. A send that has begun is waited for: sent again beside it, the
// receiver might get it twice.
func (n *Notifier) deliver(ctx context.Context, number int, d Delivery) (done bool) {
	send := n.Send
	if send == nil {
		send = sendByShoutrrr
	}
	begin := time.Now()
	pause := firstResend
	for try := 1; ; try++ {
		answer := make(chan error, 1)
		go func() { answer <- send(d) }()
		late := time.NewTimer(answerTimeout)
		var err error
		select {
		case err = <-answer:
		case <-late.C:
			n.Log.Warn("a receiver does not answer: its alerts wait", "event", recovery.EventAlertNotDelivered, "receiver", number, "title", d.Title)
			select {
			case err = <-answer:
			case <-ctx.Done():
				return false
			}
		case <-ctx.Done():
			late.Stop()
			return false
		}
		late.Stop()
		if err == nil {
			n.Delivered.Add(1)
			return true
		}
		if time.Since(begin)+pause > patience(d.Severity) || errors.Is(err, ErrReceiver) {
			n.Failed.Add(1)
			n.Log.Warn("an alert was not delivered", "event", recovery.EventAlertNotDelivered, "receiver", number, "tries", try, "error", err, "title", d.Title)
			return true
		}
		if try == 1 {
			n.Log.Info("an alert is tried again", "event", recovery.EventAlertNotDelivered, "receiver", number, "error", err, "title", d.Title)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
		pause = min(pause*2, lastResend)
	}
}

// Test sends one message to a receiver, once, in its format. Its error holds no
// part of the address.
func (r *Router) Test(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	m := newMessage(recovery.Action{Severity: recovery.Info, Text: "a test: alerts of the watchdog arrive here"}, r.Host)
	m.Fields.State, m.Fields.Time = stateTest, time.Now()
	answer := make(chan error, 1)
	for _, d := range r.deliver(m, "", []Sink{sinkAt(url, r.sinks())}) {
		go func() { answer <- sendByShoutrrr(d) }()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", testTimeout)
	}
}

// testTimeout bounds a test.
const testTimeout = 30 * time.Second

// sendByShoutrrr keeps the error's text to itself, which may hold the address,
// and says of what kind it is.
func sendByShoutrrr(d Delivery) error {
	sender, err := shoutrrr.CreateSender(d.URL)
	if err != nil {
		return ErrReceiver
	}
	params := types.Params{}
	params.SetTitle(d.Title)
	for _, err := range sender.Send(d.Text, &params) {
		if err != nil {
			return errors.New(kind(err))
		}
	}
	return nil
}

// statusCode finds an HTTP or SMTP status in a service's error.
var statusCode = regexp.MustCompile(`\b[45][0-9][0-9]\b`)

// kind says what went wrong with a delivery, in words that hold no address.
func kind(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.As(err, new(*net.DNSError)):
		return "no such host"
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(tls.RecordHeaderError)):
		return "TLS: the certificate or the protocol is not accepted"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	if code := statusCode.FindString(err.Error()); code != "" {
		return "status " + code
	}
	return "refused"
}
