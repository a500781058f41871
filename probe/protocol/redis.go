package protocol

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/gomodule/redigo/redis"
)

// Redis makes the check for redis:// and rediss://[[user]:password@]host[:6379][/DB],
// which serves Valkey too: AUTH, SELECT, PING and ROLE in one round trip. A
// server that is loading its data and a replica that has lost its master fail.
func Redis(t target.Target, o Options) (probe.Func, error) {
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	if _, err := t.Params(); err != nil {
		return nil, err
	}
	addr, err := t.Addr("6379")
	if err != nil {
		return nil, err
	}
	r := &redisCheck{target: t, addr: addr}
	if t.URL.Scheme == "rediss" {
		r.tls = &o.TLS
	}
	if u := t.URL.User; u != nil {
		if pw, ok := u.Password(); ok && u.Username() != "" {
			r.auth = []any{u.Username(), pw}
		} else if ok {
			r.auth = []any{pw}
		} else {
			return nil, errors.New("a user without a password: redis://user:password@host or redis://:password@host")
		}
	}
	if db := strings.Trim(t.URL.Path, "/"); db != "" {
		if n, err := strconv.Atoi(db); err != nil || n < 0 {
			return nil, errors.New("the path is the number of a database: redis://host:6379/0")
		}
		r.db = db
	}
	return r.run, nil
}

type redisCheck struct {
	target target.Target
	addr   string
	tls    *target.TLSOptions // nil: in the clear
	auth   []any              // the arguments of AUTH
	db     string
}

func (r *redisCheck) run(ctx context.Context) (probe.Finding, error) {
	h, err := target.DialConn(ctx, "tcp", r.addr)
	if err != nil {
		return probe.Finding{}, r.target.Errorf(probe.StageOf(err), "%s", err)
	}
	defer h.Close()
	defer target.InterruptWith(ctx, h)()
	var conn net.Conn = h
	if r.tls != nil {
		if conn, err = r.tls.Handshake(ctx, h, r.target.URL.Hostname()); err != nil {
			return probe.Finding{}, r.target.Errorf(probe.StageOf(err), "%s", err)
		}
		h.First = nil
	}
	role, err := r.ask(ctx, h, redis.NewConn(conn, 0, 0))
	if err != nil {
		return probe.Finding{}, err
	}
	return probe.Finding{Message: fmt.Sprintf("%s: PONG%s", r.target, role)}, nil
}

// ask sends everything at once and judges the answers in order.
func (r *redisCheck) ask(ctx context.Context, h *target.Conn, c redis.Conn) (role string, err error) {
	type command struct {
		stage probe.Stage
		name  string
		args  []any
	}
	var commands []command
	if r.auth != nil {
		commands = append(commands, command{probe.StageAuth, "AUTH", r.auth})
	}
	if r.db != "" {
		commands = append(commands, command{probe.StageRequest, "SELECT", []any{r.db}})
	}
	commands = append(commands, command{probe.StageResponse, "PING", nil}, command{probe.StageStatus, "ROLE", nil})
	for _, cmd := range commands {
		c.Send(cmd.name, cmd.args...)
	}
	if err := c.Flush(); err != nil {
		return "", probe.WithClass(r.target.Errorf(probe.StageRequest, "%s", target.ProtocolFault(ctx, r.target, "Redis", h, err)), probe.AsTarget)
	}
	for _, cmd := range commands {
		reply, err := c.Receive()
		if e, ok := errors.AsType[redis.Error](err); ok {
			if cmd.name == "ROLE" && !strings.HasPrefix(string(e), "LOADING") {
				return "", nil // not permitted to this user, or older than 2.8.12
			}
			stage, what := redisStage(string(e), cmd.stage)
			err := r.target.Errorf(stage, "%s: %s: %s", cmd.name, what, r.target.Secrets.Quote(string(e)))
			if strings.HasPrefix(string(e), "LOADING") {
				err = probe.WithClass(err, probe.Starting)
			}
			return "", err
		}
		if err != nil {
			return "", r.target.Errorf(probe.StageResponse, "%s", target.ProtocolFault(ctx, r.target, "Redis", h, err))
		}
		if cmd.name == "PING" && fmt.Sprint(reply) != "PONG" {
			return "", r.target.Errorf(probe.StageResponse, "PING: got %s, want \"PONG\"", r.target.Secrets.Quote(fmt.Sprintf("%s", reply)))
		}
		if cmd.name == "ROLE" {
			return r.judgeRole(reply)
		}
	}
	return "", nil
}

// judgeRole reads ["slave", host, port, state, offset] and the other roles.
func (r *redisCheck) judgeRole(reply any) (string, error) {
	values, _ := redis.Values(reply, nil)
	if len(values) == 0 {
		return "", nil
	}
	role, _ := redis.String(values[0], nil)
	if role != "slave" {
		return ", " + probe.Clean(probe.Cut(role, 20)), nil
	}
	state := ""
	if len(values) > 3 {
		state, _ = redis.String(values[3], nil)
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
	case word == "BUSY":
		return probe.StageStatus, "busy running a script"
	case strings.Contains(text, "max number of clients"):
		return probe.StageResponse, "too many connections"
	case strings.Contains(text, "DB index"):
		return probe.StageRequest, "no such database"
	}
	return stage, "the server answered with an error"
}
