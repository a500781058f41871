package protocol

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// dnsLookup returns the look-up of a record type that dns:// can ask for, or
// nil. The empty type asks for any address.
func dnsLookup(typ string) func(context.Context, *net.Resolver, string) ([]string, error) {
	switch typ {
	case "":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			return r.LookupHost(ctx, name)
		}
	case "A":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			return lookupIP(ctx, r, "ip4", name)
		}
	case "AAAA":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			return lookupIP(ctx, r, "ip6", name)
		}
	case "CNAME":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			c, err := r.LookupCNAME(ctx, name)
			return []string{c}, err
		}
	case "TXT":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			return r.LookupTXT(ctx, name)
		}
	case "MX":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			recs, err := r.LookupMX(ctx, name)
			return texts(recs, func(m *net.MX) string { return m.Host }), err
		}
	case "NS":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			recs, err := r.LookupNS(ctx, name)
			return texts(recs, func(n *net.NS) string { return n.Host }), err
		}
	case "SRV":
		return func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
			_, recs, err := r.LookupSRV(ctx, "", "", name)
			return texts(recs, func(s *net.SRV) string { return fmt.Sprintf("%s:%d", s.Target, s.Port) }), err
		}
	}
	return nil
}

func lookupIP(ctx context.Context, r *net.Resolver, network, name string) ([]string, error) {
	ips, err := r.LookupIP(ctx, network, name)
	return texts(ips, net.IP.String), err
}

func texts[T any](in []T, text func(T) string) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = text(v)
	}
	return out
}

// DNS makes the check for dns://name[?type=AAAA][&server=host[:port]]: the
// name has at least one record of that type.
func DNS(t target.Target, _ Options) (probe.Func, error) {
	name := t.URL.Hostname()
	if name == "" || t.URL.Port() != "" || strings.Trim(t.URL.Path, "/") != "" {
		return nil, errors.New("a dns target is a name: dns://name?type=AAAA&server=192.0.2.1")
	}
	q, err := t.Params("type", "server")
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	typ := strings.ToUpper(q.Get("type"))
	look := dnsLookup(typ)
	if look == nil {
		return nil, fmt.Errorf("unknown record type %q: use A, AAAA, CNAME, MX, NS, SRV or TXT", probe.Cut(typ, 20))
	}
	r := target.Resolver
	if server := q.Get("server"); server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
		}
		r = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server)
		}}
	}
	return func(ctx context.Context) (probe.Finding, error) {
		records, err := look(ctx, r, name)
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			return probe.Finding{}, t.Errorf(probe.StageResolve, "%s", target.ResolveError(ctx, name, dns))
		}
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageResolve, "%s", probe.Cause(ctx, err))
		}
		if len(records) == 0 {
			return probe.Finding{}, t.Errorf(probe.StageResolve, "resolve %q: no such record", name)
		}
		slices.Sort(records)
		return probe.Finding{Message: fmt.Sprintf("%s: %s", t, probe.Cut(strings.Join(records, ", "), target.EchoBytes))}, nil
	}, nil
}
