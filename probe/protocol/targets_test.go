package protocol

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"golang.org/x/net/dns/dnsmessage"
)

func TestBadTargetsAreNotSilentlyTaken(t *testing.T) {
	kinds := map[string]func(target.Target, Options) (probe.Func, error){"http": HTTP, "tcp": TCP, "dns": DNS, "grpc": GRPC, "file": File, "pidfile": Pidfile, "unix": Unix, "exec": Exec}
	for in, want := range map[string]string{
		"http:///health":                 "no host",
		"http://x:70000/":                "the port is not between 1 and 65535",
		"http://x/#statsu=200":           `unknown setting "statsu"`,
		"http://x/#status=abc":           `status="abc"`,
		"http://x/#body=(":               "body=",
		"http://x/#header=hunter2secret": "not NAME: VALUE",
		"http://x/#max-redirects=-1":     "max-redirects",
		"tcp://x":                        "a host and a port",
		"tcp://x:0":                      "the port is not between",
		"tcp://x:1/path":                 "no path",
		"tcp://x:1?a=b":                  "takes no parameters",
		"tcp://x:1#a=b":                  "takes no setting",
		"dns://x?type=LOC":               "unknown record type",
		"dns://x?sever=1.1.1.1":          `unknown parameter "sever"`,
		"dns://x/y":                      "a dns target is a name",
		"dns://127.0.0.1?server=1.1.1.1": "not an address",
		"grpc://u:hunter2secret@x:1":     "takes no user",
		"tcp://u:hunter2secret@x:1":      "takes no user",
		"grpc://x:1#status=200":          `unknown setting "status"`,
		"file://relative/path":           "absolute",
		"file:///x?max-age=60":           "such as 60s",
		"file:///x?maxage=60s":           "unknown parameter",
		"pidfile:///":                    "absolute",
		"exec://bin/check":               "absolute",
		"exec:///bin/check?args=a":       `unknown parameter "args"`,
		"exec:///bin/check?codes=256":    `codes="256": want exit codes from 0 to 255`,
		"exec:///bin/check#status=200":   "takes no setting",
		"unix://run/a.sock:/x":           "absolute",
		"unix:///run/a.sock:health":      "must begin with /",
		"unix:///run/a.sock?x=1":         "takes no parameters",
		"unix:///run/a.sock#status=200":  "takes no setting",
	} {
		tg, err := target.ParseTarget(in, testBase)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		_, err = kinds[tg.URL.Scheme](tg, testOptions(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2secret") {
			t.Errorf("the error repeats a header: %v", err)
		}
	}
}

func TestDNS(t *testing.T) {
	if _, err := probeOnce(t, DNS, "dns://localhost", 5*time.Second); err != nil {
		t.Error(err)
	}
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+silent.LocalAddr().String(), 300*time.Millisecond)
	wantFailure(t, err, probe.StageResolve, `resolve "name.example."`, "no answer within 300ms")
	// NXDOMAIN from a server of the test's own.
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, probe.StageResolve, `resolve "name.example.": no such host`)
	_, err = probeOnce(t, DNS, "dns://name.example.?type=mx&server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, probe.StageResolve, "no such host")
}

// dnsServer answers by UDP, and by TCP where big: what it knows of a name is
// of one type each.
func dnsServer(t *testing.T, big bool, known map[string]dnsmessage.ResourceBody) string {
	t.Helper()
	answer := func(packet []byte, cut bool) []byte {
		var m dnsmessage.Message
		if m.Unpack(packet) != nil {
			return nil
		}
		m.Response, m.Additionals = true, nil
		q := m.Questions[0]
		body, ok := known[q.Name.String()]
		types := map[dnsmessage.Type]bool{}
		switch body.(type) {
		case *dnsmessage.AResource:
			types[dnsmessage.TypeA] = true
		case *dnsmessage.CNAMEResource:
			types[dnsmessage.TypeCNAME] = true
		case *dnsmessage.SRVResource:
			types[dnsmessage.TypeSRV] = true
		}
		if !ok {
			m.RCode = dnsmessage.RCodeNameError
		} else if m.Truncated = cut; types[q.Type] && !cut {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: body}}
		}
		out, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return out
	}
	addr := rawServer(t, func(c net.Conn) {
		head := make([]byte, 2)
		io.ReadFull(c, head)
		packet := make([]byte, binary.BigEndian.Uint16(head))
		io.ReadFull(c, packet)
		out := answer(packet, false)
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
	})
	pc, err := net.ListenPacket("udp4", addr)
	must(t, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(answer(buf[:n], big), from)
		}
	}()
	return addr
}

// The server that is named is asked, whatever /etc/hosts says.
func TestDNSAsksTheServer(t *testing.T) {
	for _, big := range []bool{false, true} {
		server := dnsServer(t, big, map[string]dnsmessage.ResourceBody{
			"localhost.":       &dnsmessage.AResource{A: [4]byte{10, 0, 0, 7}},
			"www.example.com.": &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("www.example.com.cdn.test.")},
			"a.example.com.":   &dnsmessage.AResource{A: [4]byte{10, 0, 0, 8}},
		})
		for text, want := range map[string]string{
			"dns://localhost?server=": ": 10.0.0.7", "dns://localhost?type=A&server=": ": 10.0.0.7",
			"dns://www.example.com?type=CNAME&server=": ": www.example.com.cdn.test.",
			"dns://ip6-localhost?server=":              "no such host", "dns://a.example.com?type=CNAME&server=": "no such record", "dns://localhost?type=AAAA&server=": "no such record",
		} {
			f, err := probeOnce(t, DNS, text+server, patience)
			if strings.HasPrefix(want, "no") {
				wantFailure(t, err, probe.StageResolve, want)
			} else if err != nil || !strings.HasSuffix(f.Message, want) {
				t.Errorf("%s: %q, %v, want %q", text, f.Message, err, want)
			}
		}
	}
}

// The configured resolver's answer of a name for itself is no CNAME record.
func TestDNSWithoutACNAME(t *testing.T) {
	server := dnsServer(t, false, map[string]dnsmessage.ResourceBody{"a.example.com.": &dnsmessage.AResource{A: [4]byte{10, 0, 0, 8}}})
	resolveBy(t, func(int) string { return server })
	_, err := probeOnce(t, DNS, "dns://a.example.com?type=CNAME", patience)
	wantFailure(t, err, probe.StageResolve, "no such record")
}

// resolveBy makes the resolver ask other servers for one test: that of each
// of its attempts in turn.
func resolveBy(t *testing.T, server func(attempt int) string) {
	t.Helper()
	old := target.Resolver
	t.Cleanup(func() { target.Resolver = old })
	var attempts atomic.Int32
	target.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return target.DialDNS(ctx, network, server(int(attempts.Add(1))-1), 2)
	}}
}

// A silent name server leaves time for the next one.
func TestSilentNameServer(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	good := dnsServer(t, false, map[string]dnsmessage.ResourceBody{})
	resolveBy(t, func(attempt int) string {
		if attempt == 0 {
			return silent.LocalAddr().String()
		}
		return good
	})
	_, err = probeOnce(t, TCP, "tcp://db.example.:1", patience)
	wantFailure(t, err, probe.StageResolve, "no such host")
}

// mongodb+srv finds its hosts by an SRV record.
func TestMongoSRV(t *testing.T) {
	addr := mongoServer(t, func(bsoncore.Document) bsoncore.Document {
		return bsoncore.NewDocumentBuilder().AppendBoolean("isWritablePrimary", true).AppendDouble("ok", 1).Build()
	})
	port, err := strconv.Atoi(portOf(addr))
	must(t, err)
	server := dnsServer(t, false, map[string]dnsmessage.ResourceBody{
		"_mongodb._tcp.cluster0.example.com.": &dnsmessage.SRVResource{Port: uint16(port), Target: dnsmessage.MustNewName("shard.example.com.")},
		"shard.example.com.":                  &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
	})
	resolveBy(t, func(int) string { return server })
	f, err := probeOnce(t, MongoDB, "mongodb+srv://cluster0.example.com/app?retryWrites=true&w=majority&tls=false", patience)
	if err != nil || !strings.HasSuffix(f.Message, "writable primary") {
		t.Error(f.Message, err)
	}
	_, err = probeOnce(t, MongoDB, "mongodb+srv://nothing.example.com/", patience)
	wantFailure(t, err, probe.StageResolve, `resolve "_mongodb._tcp.nothing.example.com": no such host`)
}

// nxdomain serves DNS answers that say the name does not exist.
func nxdomain(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			buf[2], buf[3] = 0x81, 0x83 // a response; recursion available; name error
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			copy(buf[6:12], make([]byte, 6)) // no records, and no EDNS
			pc.WriteTo(buf[:min(end, n)], from)
		}
	}()
	return pc.LocalAddr().String()
}

func TestFileHeartbeat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beat")
	_, err := probeOnce(t, File, "file://"+path, time.Second)
	wantFailure(t, err, probe.StageRead, path+": no such file or directory")
	must(t, os.WriteFile(path, nil, 0o600))
	if f, err := probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second); err != nil || !strings.Contains(f.Message, "(max 1m0s)") {
		t.Errorf("%q, %v", f.Message, err)
	}
	for _, shift := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		must(t, os.Chtimes(path, time.Time{}, time.Now().Add(shift)))
		_, err = probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second)
		wantFailure(t, err, probe.StageLimit, "want at most 1m0s")
	}
	_, err = probeOnce(t, File, "file://"+filepath.Dir(path), time.Second)
	wantFailure(t, err, probe.StageRead, "not a regular file")
}

func TestPidfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	write := func(text string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(fmt.Sprintf("%d\n", os.Getppid()))
	if f, err := probeOnce(t, Pidfile, "pidfile://"+path, time.Second); err != nil || !strings.Contains(f.Message, "is running") {
		t.Errorf("%q, %v", f.Message, err)
	}
	for text, want := range map[string]string{"": "no process id in it", "abc": `no process id in it: "abc"`, "-1": "no process id", "0": "no process id", "99999999999999999999": "no process id"} {
		write(text)
		_, err := probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
		wantFailure(t, err, probe.StageRead, want)
	}
	// The probe itself, and a process that is younger than the file.
	write(fmt.Sprint(os.Getpid()))
	_, err := probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
	wantFailure(t, err, probe.StageStatus, "is this probe")
	write(fmt.Sprint(os.Getppid()))
	old := time.Now().Add(-24 * 365 * time.Hour)
	must(t, os.Chtimes(path, old, old))
	_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
	wantFailure(t, err, probe.StageStatus, "after the file was written: it is another one with the same id")
	// A child that has ended and was not waited for is a zombie.
	child := exec.Command("/bin/true")
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	out.Read(make([]byte, 1)) // its end of the pipe closes when it ends
	write(fmt.Sprint(child.Process.Pid))
	deadline := time.Now().Add(5 * time.Second)
	for {
		_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
		if err != nil || time.Now().After(deadline) {
			break
		}
	}
	wantFailure(t, err, probe.StageStatus, "(true) is a zombie")
	child.Wait()
	_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
	wantFailure(t, err, probe.StageStatus, "does not run")
}

func TestParseStat(t *testing.T) {
	for in, want := range map[string]string{
		"12 (a) b) S 1": "(a) b) S", "12 (x) Z 1": "(x) Z", "": " \x00", "12 (x": " \x00", "12 (x)": " \x00",
	} {
		name, state, _ := parseStat([]byte(in))
		if got := name + " " + string(rune(state)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
