package protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/go-sql-driver/mysql"
)

// MySQL makes the check for mysql://[user[:password]@]host[:3306][/db], which
// serves MariaDB too: an authenticated session and a ping. ?tls= is true,
// false, preferred or skip-verify, as the driver's own; ?socket= names a Unix
// socket in place of the host.
func MySQL(t target.Target, o Options) (probe.Func, error) {
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	q, err := t.Params("tls", "socket")
	if err != nil {
		return nil, err
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr = "unix", q.Get("socket")
	if cfg.Addr == "" {
		cfg.Net = "tcp"
		if cfg.Addr, err = t.Addr("3306"); err != nil {
			return nil, err
		}
	}
	cfg.DBName = strings.Trim(t.URL.Path, "/")
	if t.URL.User != nil {
		cfg.User = t.URL.User.Username()
		cfg.Passwd, _ = t.URL.User.Password()
	}
	cfg.Logger = &mysql.NopLogger{} // it writes to the standard error
	cfg.CheckConnLiveness = false   // for connections from a pool
	if err := mysqlTLS(cfg, q.Get("tls"), o.TLS, t.URL.Hostname()); err != nil {
		return nil, err
	}
	m := &mysqlCheck{t, cfg}
	return m.run, nil
}

// mysqlTLS sets the mode of TLS; the CA file is read when the check runs.
func mysqlTLS(cfg *mysql.Config, mode string, o target.TLSOptions, host string) error {
	switch strings.ToLower(mode) {
	case "", "false":
		return nil
	case "true":
	case "preferred":
		cfg.AllowFallbackToPlaintext = true
		o.Insecure = true // who accepts no TLS at all need not verify it
	case "skip-verify":
		o.Insecure = true
	default:
		return fmt.Errorf("tls=%q: want true, false, preferred or skip-verify", probe.Cut(mode, 20))
	}
	c, err := o.Config(host)
	cfg.TLS = c
	return err
}

type mysqlCheck struct {
	target target.Target
	config *mysql.Config
}

func (m *mysqlCheck) run(ctx context.Context) (probe.Finding, error) {
	var h *target.Conn
	cfg := m.config.Clone()
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		if h, err = target.DialConn(ctx, network, addr); err != nil {
			return nil, err
		}
		return h, nil
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return probe.Finding{}, m.target.Errorf(probe.StageRequest, "%s", probe.Clean(m.target.Secrets.Redact(err.Error())))
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return probe.Finding{}, m.fault(ctx, h, err)
	}
	defer conn.Close() // sends COM_QUIT: the server counts no aborted client
	if err := conn.(driver.Pinger).Ping(ctx); err != nil {
		return probe.Finding{}, m.fault(ctx, h, err)
	}
	return probe.Finding{Message: m.target.String() + ": session and ping answered"}, nil
}

func (m *mysqlCheck) fault(ctx context.Context, h *target.Conn, err error) error {
	t := m.target
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		stage, what := mysqlStage(e.Number)
		if stage == probe.StageAuth && m.config.TLS == nil && h != nil && offersTLS(h.First) {
			// MariaDB answers so to a user who must use TLS and does not.
			what += " without TLS, which the server offers (?tls=true)"
		}
		return t.Errorf(stage, "%s: %s (%d)", what, t.Secrets.Quote(e.Message), e.Number)
	}
	if se, ok := errors.AsType[*probe.StageError](err); ok {
		return t.Errorf(se.Stage, "%s", se.Err)
	}
	_, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return t.Errorf(probe.StageTLS, "the server refuses TLS, which ?tls= asks for")
	case badCert, notTLS, alert:
		return t.Errorf(probe.StageTLS, "%s", target.TLSFault(ctx, err))
	case errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword), errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrNativePassword):
		return t.Errorf(probe.StageAuth, "%s", probe.Clean(err.Error()))
	}
	return t.Errorf(probe.StageResponse, "%s", target.ProtocolFault(ctx, t, "MySQL", h, err))
}

// offersTLS reads the capabilities in a server's greeting (protocol 10: header,
// version, id, salt, filler, the lower capabilities).
func offersTLS(greeting []byte) bool {
	const clientSSL = 0x0800
	if len(greeting) < 5 || greeting[4] != 10 {
		return false
	}
	end := bytes.IndexByte(greeting[5:], 0)
	at := 5 + end + 1 + 4 + 8 + 1
	return end >= 0 && at+2 <= len(greeting) && binary.LittleEndian.Uint16(greeting[at:])&clientSSL != 0
}

// mysqlStage sorts the server's error numbers (MySQL and MariaDB reference
// manuals, server error codes).
func mysqlStage(number uint16) (probe.Stage, string) {
	switch number {
	case 1045, 1698, 1251, 1820, 1862, 3118, 4151:
		return probe.StageAuth, "authentication failed"
	case 1044:
		return probe.StageAuth, "no access to the database"
	case 1049:
		return probe.StageRequest, "no such database"
	case 1040, 1203, 1226:
		return probe.StageResponse, "too many connections"
	case 1129, 1130:
		return probe.StageAuth, "the server refuses this host"
	case 1053, 1077, 1079:
		return probe.StageResponse, "shutting down"
	case 3159:
		return probe.StageTLS, "the server wants TLS"
	}
	return probe.StageResponse, "the server answered with an error"
}
