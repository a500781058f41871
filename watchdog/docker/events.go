package docker

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// Message is one event of the engine. It says that something has happened to a
// container; what its state is now is inspected. So it does not matter that
// Podman sends its health events at every probe, with the status elsewhere.
type Message struct {
	// Action is health_status, kill, die, start, stop, pause, unpause, destroy
	// or rename, without what the engine writes behind it.
	Action   string
	ID       string
	Signal   string
	ExitCode int
	At       time.Time
}

// watchedEvents are asked of the engine by name: every probe makes three
// events of its own, which would be most of the stream.
var watchedEvents = []string{"health_status", "kill", "die", "stop", "start", "pause", "unpause", "destroy", "rename"}

// Events sends messages to out until the stream ends, and returns why it did.
// It calls ready when the engine has accepted the subscription.
func (c *Client) Events(ctx context.Context, since time.Time, ready func(), out chan<- Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.negotiate(ctx); err != nil {
		return err
	}
	filters := client.Filters{}.Add("type", "container").Add("event", watchedEvents...)
	stream := c.api.Load().Events(ctx, client.EventsListOptions{Filters: filters, Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())})
	select {
	case err := <-stream.Err:
		return cmp.Or(err, io.EOF)
	default:
	}
	ready()
	for {
		select {
		case m := <-stream.Messages:
			select {
			case out <- parseMessage(m):
			case <-ctx.Done():
				return ctx.Err()
			}
		case err := <-stream.Err:
			return cmp.Or(err, io.EOF)
		}
	}
}

// parseMessage reads the fields that matter.
func parseMessage(m events.Message) Message {
	action, _, _ := strings.Cut(string(m.Action), ":")
	code, _ := strconv.Atoi(m.Actor.Attributes["exitCode"])
	at := time.Unix(0, m.TimeNano)
	if m.TimeNano == 0 {
		at = time.Unix(m.Time, 0)
	}
	return Message{Action: strings.TrimSpace(action), ID: m.Actor.ID, Signal: m.Actor.Attributes["signal"], ExitCode: code, At: at}
}
