package protocol

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"healthcheck/probe"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tlsServer is a server whose handshake cfg shapes.
func tlsServer(t *testing.T, cfg *tls.Config, serve func(net.Conn)) (port string) {
	t.Helper()
	return portOf(rawServer(t, func(c net.Conn) {
		tc := tls.Server(c, cfg)
		defer tc.Close()
		serve(tc)
		untilClosed(c) // a reset would overtake the alert
	}))
}

func portOf(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }

// What a server says is read above TLS: below it stands nothing that helps.
func TestServersThatWantACertificate(t *testing.T) {
	cert, file := certificate(t, []string{"localhost"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}}
	port := tlsServer(t, cfg, untilClosed)
	for text, make := range map[string]makeFunc{"rediss://localhost:" + port: Redis, "grpcs://localhost:" + port: GRPC, "mongodb://localhost:" + port + "/?tls=true&tlsCAFile=" + file: MongoDB, "https://localhost:" + port + "/": HTTP} {
		o := testOptions(t)
		o.TLS.CACert = file
		_, err := probeWith(t, make, text, o, patience)
		wantFailure(t, err, probe.StageTLS, "the server ends the TLS session: certificate required")
	}
	// So do those whose TLS begins in the middle of the connection.
	greeting := "\x0a8.0.36\x00\x01\x00\x00\x0012345678\x00\xff\xff\x21\x02\x00\xff\xdf\x15" + strings.Repeat("\x00", 10) + "123456789012\x00mysql_native_password\x00"
	for text, c := range map[string]struct {
		make makeFunc
		say  string
		read int
	}{
		"mysql://u:p@localhost:@/d?tls=true":           {MySQL, string(rune(len(greeting))) + "\x00\x00\x00" + greeting, 36},
		"postgres://u:p@localhost:@/d?sslmode=require": {Postgres, "", 8},
	} {
		port := portOf(rawServer(t, func(conn net.Conn) {
			io.WriteString(conn, c.say)
			io.ReadFull(conn, make([]byte, c.read))
			if c.say == "" {
				io.WriteString(conn, "S")
			}
			tls.Server(conn, cfg).Handshake()
			untilClosed(conn)
		}))
		o := testOptions(t)
		o.TLS.CACert = file
		_, err := probeWith(t, c.make, strings.Replace(text, ":@", ":"+port, 1), o, patience)
		wantFailure(t, err, probe.StageTLS, "the server ends the TLS session: certificate required")
	}
	// Another protocol above TLS is told by what it says.
	port = tlsServer(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}, func(c net.Conn) {
		c.Read(make([]byte, 16))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		untilClosed(c)
	})
	for text, make := range map[string]makeFunc{"rediss://localhost:" + port: Redis, "grpcs://localhost:" + port: GRPC, "mongodb://localhost:" + port + "/?tls=true": MongoDB} {
		o := testOptions(t)
		o.TLS.CACert = file
		_, err := probeWith(t, make, text, o, patience)
		wantFailure(t, err, probe.StageResponse, "but HTTP", `"HTTP/1.1`)
	}
}

// A server that dies in the middle, or resets, is not one of another protocol.
func TestServersThatDieInTheMiddle(t *testing.T) {
	half := func(text string) string {
		return rawServer(t, func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			untilClosed(c)
		})
	}
	// What was not read makes the kernel answer with a reset.
	resets := func(text string) string {
		return rawServer(t, func(c net.Conn) {
			c.Read(make([]byte, 1))
			io.WriteString(c, text)
			c.(*net.TCPConn).SetLinger(0)
		})
	}
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // HTTP/2's, empty
	for _, c := range []struct {
		text string
		make makeFunc
		want string
	}{
		{"redis://" + half("$100\r\nabc"), Redis, "closed the connection in the middle of an answer"},
		{"mongodb://" + half("\x40\x00\x00\x00"), MongoDB, "closed the connection in the middle of an answer"},
		{"grpc://" + half(settings+"\x00\x00\x10\x00"), GRPC, "closed the connection in the middle of an answer"},
		{"grpc://" + half("\x00\x00\x12\x04\x00\x00\x00\x00\x00"), GRPC, "the server closed the connection"},
		{"grpc://" + half(settings), GRPC, "the server closed the connection"},
		{"grpc://" + resets(settings), GRPC, "connection reset by peer"},
		{"http://" + half("HTTP/1.1 200 OK\r\nContent-Le"), HTTP, "the server closed the connection in the middle of its answer"},
		{"http://" + resets("HTTP/1.1 200 OK\r\nContent-Le"), HTTP, "connection reset by peer"},
		{"qdrant://" + half("HTTP/1.1 200 OK\r\n"), Qdrant, "the server closed the connection in the middle of its answer"},
		{"postgres://u@" + dyingPostgres(t, false) + "/db?sslmode=disable", Postgres, "the server closed the connection"},
		{"postgres://u@" + dyingPostgres(t, true) + "/db?sslmode=disable", Postgres, "connection reset by peer"},
	} {
		_, err := probeOnce(t, c.make, c.text, patience)
		wantFailure(t, err, probe.StageResponse, c.want)
		if strings.Contains(err.Error(), "does not speak") {
			t.Error(err)
		}
	}
}

// dyingPostgres lets anybody in and dies at the query.
func dyingPostgres(t *testing.T, reset bool) string {
	return rawServer(t, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		b.ReceiveStartupMessage()
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		b.Flush()
		c.Read(make([]byte, 1024))
		if reset {
			c.(*net.TCPConn).SetLinger(0)
		}
	})
}

// grpcServer speaks HTTP/2's frames: serve answers each call.
func grpcServer(t *testing.T, serve func(f *http2.Framer, call int32)) string {
	var calls atomic.Int32
	return rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		io.ReadFull(r, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(c, r)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if d, ok := frame.(*http2.DataFrame); ok && d.StreamEnded() {
				serve(f, calls.Add(1))
			}
		}
	})
}

// fields is a block of header fields: name, value, name, …
func fields(texts ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(texts); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: texts[i], Value: texts[i+1]})
	}
	return b.Bytes()
}

// serving writes the answer SERVING, with more frames before its end.
func serving(f *http2.Framer, between func()) {
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(":status", "200", "content-type", "application/grpc"), EndHeaders: true})
	f.WriteData(1, false, append(binary.BigEndian.AppendUint32([]byte{0}, 2), 1<<3, 1))
	between()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("grpc-status", "0"), EndHeaders: true, EndStream: true})
}

func TestGRPCServersThatSendClientsAway(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(f *http2.Framer, call int32)
		want  string
	}{
		"goaway behind the answer": {func(f *http2.Framer, _ int32) {
			serving(f, func() { f.WriteGoAway(1, http2.ErrCodeNo, nil) })
		}, ""},
		"refused once": {func(f *http2.Framer, call int32) {
			if call == 1 {
				f.WriteRSTStream(1, http2.ErrCodeRefusedStream)
				return
			}
			serving(f, func() {})
		}, ""},
		"sent away once": {func(f *http2.Framer, call int32) {
			if call == 1 {
				f.WriteGoAway(0, http2.ErrCodeNo, nil)
				return
			}
			serving(f, func() {})
		}, ""},
		"refused always": {func(f *http2.Framer, _ int32) { f.WriteRSTStream(1, http2.ErrCodeRefusedStream) }, "the server resets the call: REFUSED_STREAM"},
		"goaway":         {func(f *http2.Framer, _ int32) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }, "the server sends the client away: ENHANCE_YOUR_CALM"},
		"reset":          {func(f *http2.Framer, _ int32) { f.WriteRSTStream(1, http2.ErrCodeInternal) }, "the server resets the call: INTERNAL_ERROR"},
	} {
		_, err := probeOnce(t, GRPC, "grpc://"+grpcServer(t, c.serve), patience)
		if c.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.want != "" {
			wantFailure(t, err, probe.StageResponse, c.want)
		}
	}
}

// Headers are the call's metadata, but for those of a connection; a setting
// takes the place of the command line's.
func TestGRPCMetadata(t *testing.T) {
	got := make(chan []hpack.HeaderField, 1)
	addr := rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		io.ReadFull(r, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(c, r)
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				got <- frame.Fields
			case *http2.DataFrame:
				serving(f, func() {})
			}
		}
	})
	o := testOptions(t)
	o.Header = http.Header{"X-Tenant": {"common"}, "Connection": {"close"}, "Content-Type": {"text/plain"}, "Authorization": {"Bearer t"}}
	_, err := probeWith(t, GRPC, "grpc://"+addr+"#header=X-Tenant:own&header=Host:orders.example", o, patience)
	must(t, err)
	var sent []string
	for _, f := range <-got {
		if f.Name != "user-agent" {
			sent = append(sent, f.Name+"="+f.Value)
		}
	}
	want := ":method=POST :scheme=http :path=/grpc.health.v1.Health/Check :authority=orders.example content-type=application/grpc te=trailers authorization=Bearer t x-tenant=own"
	if strings.Join(sent, " ") != want {
		t.Errorf("sent %v, want %s", sent, want)
	}
	// What a server repeats of it is not printed.
	addr = grpcServer(t, func(f *http2.Framer, _ int32) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(":status", "200", "grpc-status", "16", "grpc-message", "no hunter2hunter2"), EndHeaders: true, EndStream: true})
	})
	o.Header = http.Header{"Authorization": {"Bearer hunter2hunter2"}}
	_, err = probeWith(t, GRPC, "grpc://"+addr, o, patience)
	wantFailure(t, err, probe.StageAuth, `"no ***"`)
}

// postgresServer lets anybody in and hangs at the query; cancelled counts the
// requests to call it off.
func postgresServer(t *testing.T, cancelled *atomic.Int32) string {
	return rawServer(t, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		msg, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := msg.(*pgproto3.CancelRequest); ok {
			cancelled.Add(1)
			untilClosed(c) // as hung as the rest: nothing orders it before the check's end
			return
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		b.Flush()
		untilClosed(c)
	})
}

// The request to call a query off runs beside the check and changes nothing
// that the check reads.
func TestPostgresQueryThatHangs(t *testing.T) {
	var cancelled atomic.Int32
	addr := postgresServer(t, &cancelled)
	_, err := probeOnce(t, Postgres, "postgres://u:hunter2pw@"+addr+"/db?sslmode=disable", 2*time.Second)
	wantFailure(t, err, probe.StageResponse, "the query hangs: no answer within 2s")
	for end := time.Now().Add(10 * patience); cancelled.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) { // the request has arrived before the server gets to count it
			t.Fatalf("called off %d times", cancelled.Load())
		}
	}
}

// All hosts of a connection string are named, and a silent one leaves time for
// those behind it.
func TestPostgresHosts(t *testing.T) {
	silent := rawServer(t, untilClosed)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	ln.Close()
	_, err = probeOnce(t, Postgres, "postgres://u@"+silent+","+ln.Addr().String()+"/db?sslmode=disable", patience)
	wantFailure(t, err, probe.StageResponse, "none of its hosts serves: ", silent+": no answer within the time for one host", ln.Addr().String()+": connect to "+ln.Addr().String()+": connection refused")
	var cancelled atomic.Int32
	_, err = probeOnce(t, Postgres, "postgres://u@"+silent+","+postgresServer(t, &cancelled)+"/db?sslmode=disable", patience)
	wantFailure(t, err, probe.StageResponse, "the query hangs")
}

// droppingServer answers no attempt to connect: a listener whose queue is full
// drops what else comes.
func droppingServer(t *testing.T) string {
	t.Helper()
	full, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(full) })
	must(t, syscall.Bind(full, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(full, 0))
	at, err := syscall.Getsockname(full)
	must(t, err)
	addr := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	queued, err := net.Dial("tcp4", addr)
	must(t, err)
	t.Cleanup(func() { queued.Close() })
	return addr
}

// What hangs is named with its stage, be it for one host or the whole check.
func TestPostgresStageThatHangs(t *testing.T) {
	dropped := droppingServer(t)
	handshake := rawServer(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, len(sslRequest)))
		io.WriteString(c, "S")
		untilClosed(c)
	})
	silent := rawServer(t, untilClosed)
	const limit, one = time.Second, "no answer within the time for one host (connect_timeout)"
	for _, c := range []struct {
		addr, query string
		stage       probe.Stage
		says        string
	}{
		{dropped, "?sslmode=disable", probe.StageConnect, "connect to " + dropped + ": no answer within 1s"},
		{handshake, "?sslmode=require", probe.StageTLS, "TLS handshake: no answer within 1s"},
		{silent, "?sslmode=require", probe.StageResponse, "no answer within 1s: the server said nothing"},
		{silent, "?sslmode=disable", probe.StageResponse, "no answer within 1s: the server said nothing"},
		{dropped + ",127.0.0.1:1", "?sslmode=require", probe.StageConnect, dropped + ": connect to " + dropped + ": " + one + "; 127.0.0.1:1: "},
		{handshake + ",127.0.0.1:1", "?sslmode=require", probe.StageTLS, handshake + ": TLS handshake: " + one + "; 127.0.0.1:1: "},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			_, err := probeOnce(t, Postgres, "postgres://u:p@"+c.addr+"/d"+c.query, limit)
			wantFailure(t, err, c.stage, c.says)
			if strings.Contains(err.Error(), "deadline") {
				t.Error(err)
			}
		})
	}
	// A handshake that hangs is nothing that a person must mend.
	if got := causeOf(t, "postgres://u:p@"+handshake+"/d?sslmode=require", false); got.Class != probe.Self {
		t.Errorf("%+v", got)
	}
}

// A certificate that names its host in the old place only is told so.
func TestCertificateWithACommonNameOnly(t *testing.T) {
	cert, file := selfSigned(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	port := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{cert}}, untilClosed)
	_, err := probeOnce(t, HTTP, "https://localhost:"+port+"/#ca-cert="+file, patience)
	wantFailure(t, err, probe.StageTLS, `certificate names "localhost" in its common name alone`)
}
