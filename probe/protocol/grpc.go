package protocol

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// GRPC makes the check for grpc:// and grpcs://host:port[/service], and
// grpc:///path.sock[:/service]: the standard health protocol
// (grpc.health.v1.Health/Check) answers SERVING.
//
// One call over one connection needs HTTP/2's frames alone, and not grpc-go
// (6 MB).
func GRPC(t target.Target, o Options) (probe.Func, error) {
	for _, s := range t.Settings {
		if s.Key != "header" {
			return nil, fmt.Errorf("unknown setting %q behind #: %s knows header, and what every target knows", probe.Cut(s.Key, 40), t.URL.Scheme)
		}
	}
	o, err := o.with(t.Settings)
	if err != nil {
		return nil, err
	}
	if _, err := t.Params(); err != nil {
		return nil, err
	}
	if err := t.NoUser(); err != nil {
		return nil, err
	}
	at := target.Endpoint{Network: "unix", Host: "localhost"}
	var service string
	if t.URL.Host == "" {
		at.Address, service, _ = strings.Cut(t.URL.Path, ":")
	} else {
		at.Network, at.Host, service = "tcp", t.URL.Hostname(), t.URL.Path
		if at.Address, err = t.Addr(""); err != nil {
			return nil, err
		}
	}
	if t.URL.Host == "" && len(at.Address) < 2 || t.URL.Host != "" && t.URL.Port() == "" {
		return nil, errors.New("a grpc target needs a host and a port, or a socket: grpc://host:port/service, grpc:///path.sock:/service")
	}
	g := &grpcCheck{target: t, at: at, service: strings.TrimPrefix(service, "/"), agent: o.UserAgent, metadata: metadata(o.Header)}
	addHeaderSecrets(t, o.Header)
	if t.URL.Scheme == "grpcs" {
		g.tls = &o.TLS
	}
	return g.run, nil
}

type grpcCheck struct {
	target   target.Target
	at       target.Endpoint
	service  string
	agent    string
	metadata []field
	tls      *target.TLSOptions // nil: in the clear
}

func (g *grpcCheck) run(ctx context.Context) (probe.Finding, error) {
	answer, err := g.attempt(ctx)
	if _, unprocessed := errors.AsType[unprocessed](err); unprocessed {
		// The server has not looked at the call, and closes connections of its
		// own accord (RFC 9113, 8.7): a new one is to be tried once.
		answer, err = g.attempt(ctx)
	}
	if err != nil {
		return probe.Finding{}, sessionFault(g.target, err)
	}
	return g.judge(answer)
}

// unprocessed is a call that the server says it has not looked at.
type unprocessed struct{ error }

func (u unprocessed) Unwrap() error { return u.error }

// attempt makes the call over a connection of its own. Its errors are
// StageErrors.
func (g *grpcCheck) attempt(ctx context.Context) (grpcAnswer, error) {
	h, err := target.DialConn(ctx, g.at.Network, g.at.Address)
	if err != nil {
		return grpcAnswer{}, err
	}
	defer h.Close()
	defer target.InterruptWith(ctx, h)()
	if g.tls != nil {
		cfg, err := g.tls.Config(g.at.Host)
		if err != nil {
			return grpcAnswer{}, &probe.StageError{Stage: probe.StageTLS, Err: err}
		}
		cfg.NextProtos = []string{"h2"}
		conn, err := target.HandshakeConfig(ctx, h, cfg)
		if err != nil {
			return grpcAnswer{}, err
		}
		h = target.Over(conn)
	}
	answer, err := g.call(h)
	if u, ok := errors.AsType[unprocessed](err); ok {
		return answer, unprocessed{target.ProtocolFault(ctx, g.target, "gRPC", h, u.error)}
	}
	if err != nil {
		return answer, target.ProtocolFault(ctx, g.target, "gRPC", h, err)
	}
	return answer, nil
}

// grpcAnswer is what one call brought.
type grpcAnswer struct {
	httpStatus string
	status     string // grpc-status
	message    string // grpc-message
	body       []byte
	goAway     target.Fault // the server sent the client away, and still answers
}

// Bounds on an answer, in bytes and frames.
const (
	maxGRPCBody   = 4 << 10
	maxGRPCFrames = 1000
)

// call sends one request and reads its answer, frame by frame (RFC 9113; the
// framing of messages is gRPC's "gRPC over HTTP2").
func (g *grpcCheck) call(conn *target.Conn) (grpcAnswer, error) {
	f := newFramer(conn)
	f.writeHeaders(g.headers(), false)
	f.write(frameData, flagEndStream, streamID, healthRequest(g.service))
	if err := f.flush(); err != nil {
		return grpcAnswer{}, err
	}
	var a grpcAnswer
	for range maxGRPCFrames {
		in, err := f.read()
		if err != nil && a.goAway != "" {
			return a, a.goAway
		} else if err != nil {
			return a, err
		}
		conn.Known = true
		done, err := a.take(f, in)
		if err != nil || done {
			return a, err
		}
		if err := f.flush(); err != nil {
			return a, err
		}
	}
	return a, target.Fault("the server sends frames without end")
}

// headers are the request's.
func (g *grpcCheck) headers() []field {
	scheme := "http"
	if g.tls != nil {
		scheme = "https"
	}
	host, agent := cmp.Or(g.target.URL.Host, g.at.Host), g.agent
	var more []field
	for _, f := range g.metadata {
		switch f.name {
		case "host":
			host = f.value
		case "user-agent":
			agent = f.value
		default:
			more = append(more, f)
		}
	}
	var fields []field
	for _, kv := range [][2]string{{":method", "POST"}, {":scheme", scheme}, {":path", "/grpc.health.v1.Health/Check"},
		{":authority", host}, {"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", agent}} {
		fields = append(fields, field{name: kv[0], value: kv[1]})
	}
	return append(fields, more...)
}

// metadata is what of a request's headers a call sends: all but those that
// gRPC sets itself and those of a connection, which HTTP/2 forbids (RFC 9113,
// 8.2.2). Their values do not enter the compressor's table.
func metadata(header map[string][]string) (fields []field) {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch name {
		case "Content-Type", "Te", "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
			continue
		}
		for _, value := range header[name] {
			fields = append(fields, field{name: strings.ToLower(name), value: value, secret: true})
		}
	}
	return fields
}

// take digests one frame and answers it through f; done says that the stream
// has ended.
func (a *grpcAnswer) take(f *framer, in frame) (done bool, err error) {
	switch in.kind {
	case frameSettings:
		if !in.has(flagAck) {
			f.write(frameSettings, flagAck, 0, nil)
		}
	case framePing:
		f.pong(in)
	case frameGoAway:
		a.goAway = target.Fault(fmt.Sprintf("the server sends the client away: %s", in.code(4)))
		if in.number(0) < streamID {
			return false, unprocessed{a.goAway}
		}
		return false, nil // it still answers what it has begun
	case frameReset:
		fault := target.Fault(fmt.Sprintf("the server resets the call: %s", in.code(0)))
		if in.code(0) == refusedStream {
			return false, unprocessed{fault}
		}
		return false, fault
	case frameData:
		if room := maxGRPCBody - len(a.body); room > 0 {
			a.body = append(a.body, in.payload[:min(room, len(in.payload))]...)
		}
		return in.has(flagEndStream), nil
	case frameHeaders:
		for _, field := range in.fields {
			switch field.name {
			case ":status":
				a.httpStatus = field.value
			case "grpc-status":
				a.status = field.value
			case "grpc-message":
				a.message = field.value
			}
		}
		return in.has(flagEndStream), nil
	}
	return false, nil
}

// healthRequest is a HealthCheckRequest as one gRPC message: the service's
// name is field 1.
func healthRequest(service string) []byte {
	var msg []byte
	if service != "" {
		msg = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
}

// servingStatus are the names of HealthCheckResponse.ServingStatus.
var servingStatus = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// parseHealth reads the status, field 1, of a HealthCheckResponse.
func parseHealth(body []byte) (string, error) {
	if len(body) < 5 || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-5 {
		return "", io.ErrUnexpectedEOF
	}
	status := uint64(0) // protobuf leaves a zero out
	for msg := body[5:]; len(msg) > 0; {
		tag, n := binary.Uvarint(msg)
		if n <= 0 || tag&7 != 0 {
			return "", errors.New("malformed")
		}
		v, m := binary.Uvarint(msg[n:])
		if m <= 0 {
			return "", errors.New("malformed")
		}
		if tag>>3 == 1 {
			status = v
		}
		msg = msg[n+m:]
	}
	if status >= uint64(len(servingStatus)) {
		return fmt.Sprintf("status %d", status), nil
	}
	return servingStatus[status], nil
}

// judge reads the HTTP status, then gRPC's, then the health.
func (g *grpcCheck) judge(a grpcAnswer) (probe.Finding, error) {
	name := "the server"
	if g.service != "" {
		name = fmt.Sprintf("service %q", probe.Cut(g.service, 80))
	}
	message := ""
	if text, err := url.PathUnescape(a.message); err == nil && text != "" {
		message = ": " + g.target.Secrets.Quote(text)
	}
	switch {
	case a.httpStatus != "200" && a.status == "":
		return probe.Finding{}, g.target.Errorf(probe.StageResponse, "not a gRPC server: HTTP status %s", g.target.Secrets.Quote(a.httpStatus))
	case a.status == "5":
		return probe.Finding{}, g.target.Errorf(probe.StageStatus, "%s is unknown to the server%s", name, message)
	case a.status == "12":
		return probe.Finding{}, g.target.Errorf(probe.StageResponse, "the server does not implement grpc.health.v1.Health%s", message)
	case a.status == "16" || a.status == "7":
		return probe.Finding{}, g.target.Errorf(probe.StageAuth, "the server refuses the call: gRPC status %s%s", a.status, message)
	case a.status != "0":
		code := a.status
		if _, err := strconv.Atoi(code); err != nil {
			code = g.target.Secrets.Quote(code)
		}
		return probe.Finding{}, g.target.Errorf(probe.StageResponse, "gRPC status %s%s", code, message)
	}
	health, err := parseHealth(a.body)
	if err != nil {
		return probe.Finding{}, g.target.Errorf(probe.StageResponse, "the answer is no HealthCheckResponse")
	}
	if health != "SERVING" {
		return probe.Finding{}, g.target.Errorf(probe.StageStatus, "%s is %s, want SERVING", name, health)
	}
	return probe.Finding{Message: fmt.Sprintf("%s: SERVING", g.target)}, nil
}
