package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Redis makes the check for redis:// and rediss://[[user]:password@]host[:6379][/DB],
// which serves Valkey too (valkey://, valkeys://): AUTH, SELECT, PING and ROLE
// in one round trip. A server that is loading its data, a replica that has
// lost its master and a Sentinel fail; ?role= wants a certain role.
//
// ?writable=true asks whether the server takes writes, with a command that
// changes nothing. #ready=true asks for an answer to PING alone, without
// credentials, and takes any but that the server is loading.
//
// redis+unix://[[user]:password@]/path/to.sock[?db=] is a server's Unix socket.
func Redis(t target.Target, o Options) (probe.Func, error) {
	ready, t, err := takeReady(t, "role", "writable")
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	theirs := []string{"database", "username", "user", "password", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "skip_verify", "virtual_host"}
	q, err := t.ParamsBeside(redisIgnored, theirs, "db", "role", "writable")
	if err != nil {
		return nil, err
	}
	r := &redisCheck{target: t, role: q.Get("role"), ready: ready}
	if r.at, err = redisEndpoint(t); err != nil {
		return nil, err
	}
	if t.URL.Scheme == "rediss" || t.URL.Scheme == "valkeys" {
		r.tls = &o.TLS
		r.tls.CACert = cmp.Or(q.Get("ssl_ca_certs"), o.TLS.CACert)
		if q.Get("ssl_certfile") != "" {
			r.tls.ClientCert, r.tls.ClientKey = q.Get("ssl_certfile"), q.Get("ssl_keyfile")
		}
		reqs := strings.ToLower(strings.TrimPrefix(q.Get("ssl_cert_reqs"), "CERT_")) // redis-py's and Celery's
		if skip, err := switchParam("skip_verify", q.Get("skip_verify")); err != nil {
			return nil, err
		} else if skip || reqs == "none" || reqs == "optional" {
			r.tls.Insecure = true
		}
	}
	if !slices.Contains([]string{"", "master", "replica", "sentinel"}, r.role) {
		return nil, fmt.Errorf("role=%q: want master, replica or sentinel", probe.Cut(r.role, 20))
	}
	if r.writable, err = switchParam("writable", q.Get("writable")); err != nil {
		return nil, err
	}
	user, pw := cmp.Or(q.Get("username"), q.Get("user")), q.Get("password")
	has := q.Has("password")
	if u := t.URL.User; u != nil {
		if user = u.Username(); !has {
			pw, has = u.Password()
		}
	}
	switch {
	case user != "" && has:
		r.auth = []string{"AUTH", user, pw}
	case has && pw != "":
		r.auth = []string{"AUTH", pw}
	case user != "":
		return nil, errors.New("a user without a password: redis://user:password@host or redis://:password@host")
	}
	r.db = cmp.Or(q.Get("db"), q.Get("database"), strings.Trim(q.Get("virtual_host"), "/")) // the last is Celery's
	if r.at.Network != "unix" || t.URL.Host != "" {
		r.db = cmp.Or(strings.Trim(t.URL.Path, "/"), r.db)
	}
	if r.db != "" {
		if n, err := strconv.Atoi(r.db); err != nil || n < 0 {
			return nil, errors.New("the path, or db=, is the number of a database: redis://host:6379/0")
		}
	}
	return r.run, nil
}

// redisEndpoint is where a target's server listens.
func redisEndpoint(t target.Target) (target.Endpoint, error) {
	if t.URL.Scheme == "redis+unix" {
		if t.URL.Host != "" || t.URL.Path == "" || t.URL.Path == "/" {
			return target.Endpoint{}, errors.New("the socket's path must be absolute: redis+unix:///run/redis.sock?db=0")
		}
		return target.Endpoint{Network: "unix", Address: t.URL.Path}, nil
	}
	all, err := t.Endpoints("6379")
	if err == nil && len(all) > 1 {
		err = errors.New("one host only: a probe asks the server beside it")
	}
	if err != nil {
		return target.Endpoint{}, err
	}
	return all[0], nil
}

// redisIgnored are the clients' own parameters: those of redis-py, go-redis,
// Lettuce, ioredis and Celery.
const redisIgnored = " socket_timeout socket_connect_timeout socket_keepalive max_connections decode_responses health_check_interval retry_on_timeout" +
	" retry_on_error encoding encoding_errors client_name clientname protocol dial_timeout read_timeout write_timeout pool_size pool_timeout pool_fifo" +
	" min_idle_conns max_idle_conns max_active_conns conn_max_idle_time conn_max_lifetime max_retries min_retry_backoff max_retry_backoff" +
	" timeout prefix family ssl_check_hostname ssl ssl_validate_ocsp keepalive "

type redisCheck struct {
	target   target.Target
	at       target.Endpoint
	tls      *target.TLSOptions // nil: in the clear
	auth     []string           // the command; nil for none
	db, role string
	writable bool
	ready    bool // an answer to PING will do
}

func (r *redisCheck) run(ctx context.Context) (probe.Finding, error) {
	h, err := target.DialConn(ctx, r.at.Network, r.at.Address)
	if err != nil {
		return probe.Finding{}, r.target.Errorf(probe.StageOf(err), "%s", err)
	}
	defer h.Close()
	defer target.InterruptWith(ctx, h)()
	if r.tls != nil {
		secure, err := r.tls.Handshake(ctx, h, r.at.Host)
		if err != nil {
			return probe.Finding{}, r.target.Errorf(probe.StageOf(err), "%s", err)
		}
		h = target.Over(secure)
	}
	c := newRESP(h)
	if r.ready {
		return r.runReady(ctx, h, c)
	}
	role, err := r.ask(ctx, h, c)
	if err != nil {
		return probe.Finding{}, err
	}
	return probe.Finding{Message: fmt.Sprintf("%s: PONG%s", r.target, role)}, nil
}

// runReady sends PING and takes any answer but that the data is loading.
func (r *redisCheck) runReady(ctx context.Context, h *target.Conn, c *respConn) (probe.Finding, error) {
	c.send("PING")
	err := c.flush()
	var reply any
	if err == nil {
		reply, err = c.receive()
	}
	e, refused := errors.AsType[respError](err)
	switch {
	case refused && strings.HasPrefix(string(e), "LOADING"):
		return probe.Finding{}, probe.WithClass(r.target.Errorf(probe.StageStatus, "PING: loading its data: %s", r.target.Secrets.Quote(string(e))), probe.Starting)
	case refused || err == nil && reply == "PONG":
		return probe.Finding{Message: accepting(r.target, string(e))}, nil
	case err == nil:
		return probe.Finding{}, r.target.Errorf(probe.StageResponse, "PING: got %s, want \"PONG\"", r.target.Secrets.Quote(fmt.Sprintf("%s", reply)))
	}
	return probe.Finding{}, sessionFault(r.target, target.ProtocolFault(ctx, r.target, "Redis", h, err))
}

// ask sends everything at once and judges the answers in order.
func (r *redisCheck) ask(ctx context.Context, h *target.Conn, c *respConn) (role string, err error) {
	type command struct {
		stage probe.Stage
		words []string
	}
	var commands []command
	if r.auth != nil {
		commands = append(commands, command{probe.StageAuth, r.auth})
	}
	if r.db != "" {
		commands = append(commands, command{probe.StageRequest, []string{"SELECT", r.db}})
	}
	commands = append(commands, command{probe.StageResponse, []string{"PING"}})
	if r.writable {
		// An empty piece at the front changes no key and makes none, and still
		// has to pass all that keeps Redis from writing (the flags 'write' and
		// 'denyoom' of COMMAND INFO).
		commands = append(commands, command{probe.StageStatus, []string{"SETRANGE", "healthcheck", "0", ""}})
	}
	commands = append(commands, command{probe.StageStatus, []string{"ROLE"}})
	for _, cmd := range commands {
		c.send(cmd.words...)
	}
	if err := c.flush(); err != nil {
		return "", sessionFault(r.target, target.ProtocolFault(ctx, r.target, "Redis", h, err))
	}
	for _, cmd := range commands {
		reply, err := c.receive()
		name := cmd.words[0]
		if e, ok := errors.AsType[respError](err); ok {
			switch word, _, _ := strings.Cut(string(e), " "); {
			case name == "ROLE" && word != "LOADING" && r.role == "":
				return "", nil // not permitted to this user, or older than 2.8.12
			case name == "SETRANGE" && (word == "MOVED" || word == "ASK" || word == "WRONGTYPE"):
				continue // it would write: there, or to a key of another type
			}
			stage, what := redisStage(string(e), cmd.stage)
			err := r.target.Errorf(stage, "%s: %s: %s", name, what, r.target.Secrets.Quote(string(e)))
			if strings.HasPrefix(string(e), "LOADING") {
				err = probe.WithClass(err, probe.Starting)
			}
			return "", err
		}
		if err != nil {
			return "", sessionFault(r.target, target.ProtocolFault(ctx, r.target, "Redis", h, err))
		}
		if name == "PING" && fmt.Sprint(reply) != "PONG" {
			return "", r.target.Errorf(probe.StageResponse, "PING: got %s, want \"PONG\"", r.target.Secrets.Quote(fmt.Sprintf("%s", reply)))
		}
		if name == "ROLE" {
			return r.judgeRole(reply)
		}
	}
	return "", nil
}

// judgeRole reads ["slave", host, port, state, offset] and the other roles.
func (r *redisCheck) judgeRole(reply any) (string, error) {
	values, _ := reply.([]any)
	if len(values) == 0 {
		return "", nil
	}
	role := respText(values[0])
	if role == "slave" {
		role = "replica"
	}
	switch {
	case r.role != "" && role != r.role:
		return "", r.target.Errorf(probe.StageStatus, "its role is %s, want %q", r.target.Secrets.Quote(role), r.role)
	case role == "sentinel" && r.role == "":
		return "", r.target.Errorf(probe.StageStatus, "a Sentinel, not a server that holds data (?role=sentinel wants one)")
	case role != "replica":
		return ", " + probe.Clean(probe.Cut(role, 20)), nil
	}
	state := ""
	if len(values) > 3 {
		state = respText(values[3])
	}
	if state != "connected" {
		return "", r.target.Errorf(probe.StageStatus, "a replica whose link to its master is %s, want \"connected\"", r.target.Secrets.Quote(state))
	}
	return ", replica", nil
}

// redisStage sorts the server's errors by their code.
func redisStage(text string, stage probe.Stage) (probe.Stage, string) {
	word, _, _ := strings.Cut(text, " ")
	switch {
	case word == "NOAUTH":
		return probe.StageAuth, "the server wants a password"
	case word == "WRONGPASS" || strings.Contains(text, "invalid password"):
		return probe.StageAuth, "wrong password"
	case strings.Contains(text, "without any password configured") || strings.Contains(text, "no password is set"):
		return probe.StageAuth, "the server has no password set"
	case word == "NOPERM":
		return probe.StageAuth, "not permitted"
	case word == "DENIED" || word == "-DENIED":
		return probe.StageAuth, "protected mode"
	case word == "LOADING":
		return probe.StageStatus, "loading its data"
	case word == "MASTERDOWN":
		return probe.StageStatus, "a replica whose master is down"
	case word == "OOM":
		return probe.StageStatus, "takes no writes: out of memory, and its policy evicts nothing"
	case word == "MISCONF":
		return probe.StageStatus, "takes no writes: it cannot save to disk"
	case word == "NOREPLICAS":
		return probe.StageStatus, "takes no writes: too few replicas"
	case word == "READONLY":
		return probe.StageStatus, "takes no writes: a read-only replica"
	case word == "CLUSTERDOWN":
		return probe.StageStatus, "the cluster is down"
	case word == "BUSY":
		return probe.StageStatus, "busy running a script"
	case strings.Contains(text, "max number of clients"):
		return probe.StageResponse, "too many connections"
	case strings.Contains(text, "DB index"):
		return probe.StageRequest, "no such database"
	}
	return stage, "the server answered with an error"
}
