package protocol

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// What may be asked of every kind of target, behind # or by a flag: how it is
// connected to, whom TLS trusts, and how long an answer may take.

// common are these settings of one target.
type common struct {
	target            target.Target
	way               target.Way
	maxTime, warnTime time.Duration
	expiry            *target.Expiry
	ownExpiry         bool // cert-days= stands behind the target itself
}

// tlsSettings are those of schemes with TLS.
var tlsSettings = []string{"ca-cert", "insecure", "client-cert", "client-key", "server-name", "cert-days"}

// build makes a check by a scheme's constructor, which sees the settings that
// are its own alone.
func build(make func(target.Target, Options) (probe.Func, error), t target.Target, o Options) (probe.Func, error) {
	c := &common{way: target.Way{Host: t.URL.Hostname(), Port: t.URL.Port()}}
	if target.IsHTTP(t.URL.Scheme) {
		_, c.way.Port, _ = net.SplitHostPort(hostPort(t.URL))
	}
	var own []target.Setting
	for _, s := range t.Settings {
		known, err := c.take(t, s, &o.TLS)
		if !known && err == nil {
			own = append(own, s)
		}
		if err != nil {
			return nil, err
		}
	}
	if o.TLS.ClientKey != "" && o.TLS.ClientCert == "" {
		return nil, errors.New("a client-key without its client-cert")
	}
	if c.ownExpiry || o.TLS.Expiry != nil {
		c.expiry = o.TLS.Expiry.Fresh()
		o.TLS.Expiry = c.expiry
	}
	t.Settings = own
	c.target = t
	run, err := make(t, o)
	if err != nil {
		return nil, err
	}
	return c.around(run), nil
}

// take reads a setting, if it is one of these.
func (c *common) take(t target.Target, s target.Setting, tls *target.TLSOptions) (known bool, err error) {
	switch s.Key {
	case "timeout":
		_, err = parseLimit(s.Value) // the run's, see Limit
	case "max-time":
		c.maxTime, err = parseLimit(s.Value)
	case "warn-time":
		c.warnTime, err = parseLimit(s.Value)
	case "connect-to":
		if !Takes(t, s.Key) {
			return true, fmt.Errorf("the setting connect-to is for targets with one host and port, and this %s target has none, or several", t.URL.Scheme)
		}
		c.way.To, err = s.Value, target.CheckHostPort(s.Value)
	case "proxy-protocol":
		if !Takes(t, s.Key) {
			return true, fmt.Errorf("the setting proxy-protocol is for TCP and Unix sockets to one host, which a %s target has not", t.URL.Scheme)
		}
		if s.Value != "1" && s.Value != "2" {
			err = errors.New("neither version")
		}
		c.way.Proxy, _ = strconv.Atoi(s.Value)
	default:
		if !slices.Contains(tlsSettings, s.Key) {
			return false, nil
		}
		if !Takes(t, s.Key) {
			if s.Key == "insecure" && hasTLS(t) {
				return true, fmt.Errorf("the setting insecure behind # means nothing to %s, where sslmode decides", t.URL.Scheme)
			}
			return true, fmt.Errorf("the setting %s behind # is for TLS, and %s has none", s.Key, t.URL.Scheme)
		}
		err = c.takeTLS(t, s, tls)
	}
	if err != nil {
		err = fmt.Errorf("the setting %s=%q behind # is not valid", s.Key, probe.Cut(s.Value, 60))
	}
	return true, err
}

func (c *common) takeTLS(t target.Target, s target.Setting, tls *target.TLSOptions) (err error) {
	if s.Value == "" {
		return errors.New("empty")
	}
	switch s.Key {
	case "ca-cert":
		tls.CACert = s.Value
	case "client-cert":
		tls.ClientCert = s.Value
		if t.Setting("client-key") == "" {
			tls.ClientKey = "" // the flag's belongs to the flag's certificate
		}
	case "client-key":
		tls.ClientKey = s.Value
	case "server-name":
		tls.ServerName, err = s.Value, target.CheckServerName(s.Value)
	case "insecure":
		tls.Insecure, err = strconv.ParseBool(s.Value)
	case "cert-days":
		c.ownExpiry = true
		tls.Expiry, err = target.ParseExpiry(s.Value)
	}
	return err
}

func parseLimit(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("not above 0")
	}
	return d, err
}

// Limit is a target's timeout=, in place of the limit of all checks; 0 for
// none.
func Limit(t target.Target) time.Duration {
	limit, _ := parseLimit(t.Setting("timeout"))
	return limit
}

// around judges what is the same for all: how long the answer took, and how
// long the certificate is still valid.
func (c *common) around(run probe.Func) probe.Func {
	if c.maxTime == 0 && c.warnTime == 0 && c.expiry == nil && c.way.To == "" && c.way.Proxy == 0 {
		return run
	}
	return func(ctx context.Context) (probe.Finding, error) {
		begin := time.Now()
		f, err := run(c.way.Along(ctx))
		if err != nil {
			return f, err
		}
		took := time.Since(begin)
		text := func(most time.Duration) string {
			return fmt.Sprintf("the answer took %s, want at most %s", probe.Round(took), most)
		}
		if c.maxTime > 0 && took > c.maxTime {
			return probe.Finding{}, c.target.Errorf(probe.StageLimit, "%s", text(c.maxTime))
		}
		warning, seen := c.expiry.Said()
		var warnings []string
		switch {
		case warning != "":
			warnings = append(warnings, warning)
		case c.ownExpiry && !seen:
			warnings = append(warnings, "no TLS was spoken, and so no certificate seen for cert-days")
		}
		if c.warnTime > 0 && took > c.warnTime {
			warnings = append(warnings, text(c.warnTime))
		}
		if len(warnings) > 0 {
			f.Status = probe.Warn
			f.Message += ": " + strings.Join(warnings, "; ")
		}
		return f, nil
	}
}
