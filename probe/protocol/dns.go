package protocol

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"golang.org/x/net/dns/dnsmessage"
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
			// The absolute name: it is returned where there is no such record.
			full := strings.TrimSuffix(name, ".") + "."
			c, err := r.LookupCNAME(ctx, full)
			if err == nil && strings.EqualFold(c, full) {
				return nil, nil
			}
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
// name has at least one record of that type. A server that is named is asked
// itself: neither /etc/hosts nor the search list of this machine counts.
func DNS(t target.Target, _ Options) (probe.Func, error) {
	name := t.URL.Hostname()
	if name == "" || t.URL.Port() != "" || strings.Trim(t.URL.Path, "/") != "" {
		return nil, errors.New("a dns target is a name: dns://name?type=AAAA&server=192.0.2.1")
	}
	if net.ParseIP(name) != nil {
		return nil, errors.New("a dns target is a name, not an address: dns://name?server=192.0.2.1")
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
		if types := dnsTypes[typ]; types != nil {
			look = func(ctx context.Context, _ *net.Resolver, name string) ([]string, error) {
				return askDNS(ctx, server, name, types)
			}
		} else {
			relative := look
			look = func(ctx context.Context, r *net.Resolver, name string) ([]string, error) {
				return relative(ctx, r, strings.TrimSuffix(name, ".")+".") // without this machine's search list
			}
		}
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

// dnsTypes are the types that net.Resolver looks for in /etc/hosts first,
// whatever server it is to ask.
var dnsTypes = map[string][]dnsmessage.Type{
	"": {dnsmessage.TypeA, dnsmessage.TypeAAAA}, "A": {dnsmessage.TypeA}, "AAAA": {dnsmessage.TypeAAAA}, "CNAME": {dnsmessage.TypeCNAME},
}

// askDNS asks one server for the records of a name, by UDP, and by TCP where
// the answer does not fit (RFC 1035, 4.2). Its errors are DNSErrors.
func askDNS(ctx context.Context, server, name string, types []dnsmessage.Type) (records []string, err error) {
	for _, typ := range types {
		some, fault := askDNSOnce(ctx, "udp", server, name, typ)
		if fault == errTruncated {
			some, fault = askDNSOnce(ctx, "tcp", server, name, typ)
		}
		records = append(records, some...)
		if err == nil {
			err = fault
		}
	}
	if len(records) > 0 || err == nil {
		return records, nil
	}
	fault := &net.DNSError{Err: err.Error(), Name: name, Server: server}
	if ne, ok := errors.AsType[net.Error](err); ok {
		fault.IsTimeout = ne.Timeout()
	}
	fault.IsNotFound = err == errNoName
	return nil, fault
}

var (
	errTruncated = errors.New("the answer is cut short")
	errNoName    = errors.New("no such host")
)

func askDNSOnce(ctx context.Context, network, server, name string, typ dnsmessage.Type) ([]string, error) {
	full, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, err
	}
	id := uint16(rand.Uint32())
	// The library's Message would bring all types of records along.
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	b.StartQuestions()
	b.Question(dnsmessage.Question{Name: full, Type: typ, Class: dnsmessage.ClassINET})
	packet, err := b.Finish()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer target.InterruptWith(ctx, conn)()
	if network == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	const again = time.Second // a packet may be lost
	for {
		// Never later than ctx ends, nor unset: that would undo the interruption.
		until, limited := ctx.Deadline()
		next := time.Now().Add(again)
		retry := network == "udp" && (!limited || next.Before(until))
		if retry {
			until = next
		}
		if (retry || limited) && ctx.Err() == nil {
			conn.SetReadDeadline(until)
		}
		if _, err := conn.Write(packet); err != nil {
			return nil, err
		}
		answer, err := readDNS(conn, network, id)
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() && ctx.Err() == nil && retry {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseDNS(answer, typ)
	}
}

// readDNS reads the answer with this id; others are late ones, or forged.
func readDNS(conn net.Conn, network string, id uint16) ([]byte, error) {
	buf := make([]byte, 65535)
	for {
		n, err := 0, error(nil)
		if network == "tcp" {
			if _, err = io.ReadFull(conn, buf[:2]); err == nil {
				n, err = io.ReadFull(conn, buf[:binary.BigEndian.Uint16(buf)])
			}
		} else {
			n, err = conn.Read(buf)
		}
		if err != nil || n >= 2 && binary.BigEndian.Uint16(buf) == id {
			return buf[:n], err
		}
	}
}

// parseDNS reads the records of a type from an answer.
func parseDNS(answer []byte, typ dnsmessage.Type) ([]string, error) {
	var p dnsmessage.Parser
	head, err := p.Start(answer)
	if err != nil || !head.Response || p.SkipAllQuestions() != nil {
		return nil, errNoDNS
	}
	switch {
	case head.RCode == dnsmessage.RCodeNameError:
		return nil, errNoName
	case head.RCode != dnsmessage.RCodeSuccess:
		return nil, fmt.Errorf("the server answers with RCODE %d", head.RCode)
	case head.Truncated:
		return nil, errTruncated
	}
	var records []string
	for {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return records, nil
		}
		if err == nil && h.Type != typ {
			err = p.SkipAnswer()
		} else if err == nil {
			var record string
			record, err = parseDNSRecord(&p, typ)
			records = append(records, record)
		}
		if err != nil {
			return nil, errNoDNS
		}
	}
}

var errNoDNS = errors.New("the answer is no DNS message")

// parseDNSRecord reads one record of the types that askDNS asks for.
func parseDNSRecord(p *dnsmessage.Parser, typ dnsmessage.Type) (string, error) {
	switch typ {
	case dnsmessage.TypeA:
		r, err := p.AResource()
		return net.IP(r.A[:]).String(), err
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		return net.IP(r.AAAA[:]).String(), err
	}
	r, err := p.CNAMEResource()
	return r.CNAME.String(), err
}
