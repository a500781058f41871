package protocol

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// AMQP makes the check for amqp:// and amqps://[user:password@]host[:5672][/VHOST],
// as RabbitMQ speaks AMQP 0-9-1: a session up to an open virtual host, which is
// closed again. Without a user it is guest, without a path the virtual host is
// /, as in RabbitMQ's own URLs. amqps:// is TLS, on port 5671.
func AMQP(t target.Target, o Options) (probe.Func, error) {
	port, secure := "5672", t.URL.Scheme == "amqps"
	if secure {
		port = "5671"
	}
	at, tls, err := oneEndpoint(t, o, port, secure)
	if err != nil {
		return nil, err
	}
	if _, err := t.ParamsBeside(amqpIgnored, nil); err != nil {
		return nil, err
	}
	a := &amqpCheck{target: t, vhost: strings.TrimPrefix(t.URL.Path, "/")}
	if a.vhost == "" {
		a.vhost = "/"
	}
	if a.user, a.password = userOf(t); a.user == "" {
		a.user = "guest"
		if a.password == "" {
			a.password = "guest"
		}
	}
	if len(a.vhost) > 255 {
		return nil, errors.New("the path is longer than any virtual host's name")
	}
	return session(t, at, tls, "AMQP", a.talk), nil
}

// amqpIgnored are the parameters of RabbitMQ's URLs, and of Celery's and Bunny's,
// that mean nothing to one short session.
const amqpIgnored = " heartbeat connection_timeout channel_max frame_max locale connection_attempts retry_delay socket_timeout blocked_connection_timeout" +
	" stack_timeout backpressure_detection tcp_options name "

type amqpCheck struct {
	target         target.Target
	user, password string
	vhost          string
}

func (a *amqpCheck) talk(_ context.Context, conn *target.Conn) (string, error) {
	product, err := a.open(conn)
	if closed, isClose := errors.AsType[*amqpClose](err); isClose {
		conn.Write(amqpMethod(amqpCloseOK, nil))
		stage, what := closed.stage()
		return "", refusal(stage, "%s: %s (%d)", what, a.target.Secrets.Quote(closed.text), closed.code)
	}
	return product + ", virtual host " + a.vhost + " is open", err
}

// The methods of the class connection that a session without channels needs
// (AMQP 0-9-1, 1.4).
const (
	amqpStart   = 10
	amqpStartOK = 11
	amqpSecure  = 20
	amqpTune    = 30
	amqpTuneOK  = 31
	amqpOpen    = 40
	amqpOpenOK  = 41
	amqpEnd     = 50 // connection.close
	amqpCloseOK = 51
)

const (
	amqpConnection   = 10 // the class
	amqpMethodFrame  = 1
	amqpHeartbeat    = 8
	amqpFrameEnd     = 0xce
	maxAMQPFrame     = 128 << 10
	amqpProductLimit = 40
)

// open leads a session to its open virtual host and ends it as the protocol
// asks, and returns what the server is.
func (a *amqpCheck) open(conn io.ReadWriter) (product string, err error) {
	if _, err := io.WriteString(conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return "", err
	}
	start, err := amqpRead(conn, amqpStart)
	if err != nil {
		return "", err
	}
	start.take(2) // the version, which is 0-9
	properties := amqpTexts(&wire{rest: start.take(int(start.uint32()))})
	mechanisms := string(start.take(int(start.uint32())))
	if start.short {
		return "", errors.New("a message that ends too early")
	}
	if !slices.Contains(strings.Fields(mechanisms), "PLAIN") {
		return "", refusal(probe.StageAuth, "the server takes no PLAIN authentication, but %s", a.target.Secrets.Quote(mechanisms))
	}
	// With this capability a server says that the password is wrong.
	capabilities := amqpTable("\x1cauthentication_failure_closet\x01")
	args := []byte(amqpTable("\x07productS\x00\x00\x00\x0bhealthcheck" + "\x0ccapabilitiesF" + capabilities))
	args = append(args, "\x05PLAIN"...)
	response := "\x00" + a.user + "\x00" + a.password
	args = append(binary.BigEndian.AppendUint32(args, uint32(len(response))), response...)
	args = append(args, "\x05en_US"...)
	if _, err := conn.Write(amqpMethod(amqpStartOK, args)); err != nil {
		return "", err
	}
	tune, err := amqpRead(conn, amqpTune)
	if err != nil {
		return "", err
	}
	limits := tune.take(6) // channels and the size of a frame, as the server likes them
	if tune.short {
		return "", errors.New("a message that ends too early")
	}
	tuned := amqpMethod(amqpTuneOK, append(slices.Clone(limits), 0, 0)) // no heartbeats
	opened := amqpMethod(amqpOpen, append(append([]byte{byte(len(a.vhost))}, a.vhost...), 0, 0))
	if _, err := conn.Write(append(tuned, opened...)); err != nil {
		return "", err
	}
	if _, err := amqpRead(conn, amqpOpenOK); err != nil {
		return "", err
	}
	if _, err := conn.Write(amqpMethod(amqpEnd, []byte{0, 200, 0, 0, 0, 0, 0})); err != nil {
		return "", err
	}
	amqpRead(conn, amqpCloseOK) // the server has answered all that was asked
	return strings.TrimSpace(probe.Cut(properties["product"], amqpProductLimit) + " " + probe.Cut(properties["version"], amqpProductLimit)), nil
}

// amqpMethod is the frame of one method of the class connection.
func amqpMethod(method byte, args []byte) []byte {
	frame := binary.BigEndian.AppendUint32([]byte{amqpMethodFrame, 0, 0}, uint32(4+len(args)))
	frame = append(frame, 0, amqpConnection, 0, method)
	return append(append(frame, args...), amqpFrameEnd)
}

// amqpTable is a table with its length before it.
func amqpTable(entries string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(entries)))) + entries
}

// amqpTexts are the entries of a table that are texts.
func amqpTexts(table *wire) map[string]string {
	texts := map[string]string{}
	for len(table.rest) > 0 {
		name := string(table.take(int(table.uint8())))
		switch kind := table.uint8(); kind {
		case 'S':
			texts[name] = string(table.take(int(table.uint32())))
		case 'F', 'A', 'x':
			table.take(int(table.uint32()))
		case 't', 'b', 'B':
			table.take(1)
		case 's', 'u':
			table.take(2)
		case 'I', 'i', 'f':
			table.take(4)
		case 'D':
			table.take(5)
		case 'l', 'L', 'd', 'T':
			table.take(8)
		case 'V':
		default:
			return texts // a type that nobody here knows has no known end
		}
	}
	return texts
}

// amqpClose is a server's connection.close.
type amqpClose struct {
	code uint16
	text string
}

func (c *amqpClose) Error() string { return c.text }

// stage sorts the codes (AMQP 0-9-1, 1.2) with what RabbitMQ says.
func (c *amqpClose) stage() (probe.Stage, string) {
	switch {
	case c.code == 403, strings.Contains(c.text, "refused for user"):
		return probe.StageAuth, "access refused"
	case c.code == 530 && strings.Contains(c.text, "not found"):
		return probe.StageRequest, "no such virtual host"
	case strings.Contains(c.text, "is down"):
		return probe.StageStatus, "the virtual host is down"
	case strings.Contains(c.text, "limit"):
		return probe.StageResponse, "too many connections"
	case c.code == 320:
		return probe.StageStatus, "the broker sends its clients away"
	}
	return probe.StageResponse, "the server closed the session"
}

// amqpRead reads the next method of the class connection and wants a certain
// one; an amqpClose is the server's refusal.
func amqpRead(conn io.Reader, want uint16) (*wire, error) {
	for {
		head := make([]byte, 7)
		if _, err := io.ReadFull(conn, head); err != nil {
			return nil, err
		}
		if string(head[:4]) == "AMQP" {
			io.ReadFull(conn, head[:1]) // the last of the version's numbers
			return nil, target.Fault(fmt.Sprintf("the server does not speak AMQP 0-9-1 but %d-%d-%d", head[5], head[6], head[0]))
		}
		size := binary.BigEndian.Uint32(head[3:])
		if size > maxAMQPFrame {
			return nil, errors.New("not a frame of AMQP 0-9-1")
		}
		body := make([]byte, size+1)
		if _, err := io.ReadFull(conn, body); err != nil {
			return nil, err
		}
		if body[size] != amqpFrameEnd {
			return nil, errors.New("not a frame of AMQP 0-9-1")
		}
		if head[0] == amqpHeartbeat {
			continue
		}
		w := &wire{rest: body[:size]}
		class, method := w.uint16(), w.uint16()
		switch {
		case head[0] == amqpMethodFrame && class == amqpConnection && method == want:
			return w, nil
		case head[0] == amqpMethodFrame && class == amqpConnection && method == amqpEnd:
			code := w.uint16()
			return nil, &amqpClose{code, string(w.take(int(w.uint8())))}
		case head[0] == amqpMethodFrame && class == amqpConnection && method == amqpSecure:
			return nil, refusal(probe.StageAuth, "the server asks for more than PLAIN authentication has")
		}
		return nil, fmt.Errorf("method %d.%d in place of connection %d", class, method, want)
	}
}
