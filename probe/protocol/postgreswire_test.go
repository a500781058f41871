package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"

	"github.com/jackc/pgx/v5/pgproto3"
)

// FuzzPostgresWire: what pgproto3 reads as a message is read as the same one. Of
// messages that it refuses, nothing is read past their end.
func FuzzPostgresWire(f *testing.F) {
	add := func(all ...pgproto3.BackendMessage) {
		var sent []byte
		for _, msg := range all {
			var err error
			sent, err = msg.Encode(sent)
			must(f, err)
		}
		f.Add(sent)
		f.Add(sent[:len(sent)-1])
	}
	add(&pgproto3.AuthenticationOk{}, &pgproto3.ParameterStatus{Name: "a", Value: "b"}, &pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte("key!")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	add(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}}, &pgproto3.AuthenticationSASLContinue{Data: []byte("r=x")}, &pgproto3.AuthenticationSASLFinal{Data: []byte("v=y")})
	add(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}}, &pgproto3.AuthenticationCleartextPassword{}, &pgproto3.AuthenticationGSS{})
	add(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: "no", Detail: "d"}, &pgproto3.NoticeResponse{Message: "x"}, &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 2, UnrecognizedOptions: []string{"a"}})
	add(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a")}}}, &pgproto3.DataRow{Values: [][]byte{[]byte("1"), nil}}, &pgproto3.DataRow{Values: [][]byte{nil}}, &pgproto3.DataRow{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.EmptyQueryResponse{})
	f.Add([]byte("D\x00\x00\x00\x0a\x00\x01\x00\x00\x00\x09"))
	f.Add([]byte("R\x00\x00\x00\x04"))
	f.Add([]byte("E\x00\x00\x00\x05S"))
	f.Add([]byte("Z\x00\x00\x00\x03"))
	f.Add([]byte("S\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		in := newPGReader(overBytes(sent), maxPostgresHello)
		library := pgproto3.NewFrontend(bytes.NewReader(sent), nil)
		library.SetMaxBodyLen(maxPostgresHello)
		for {
			got, err := in.next()
			if err == nil {
				got.fault()
				got.parameter()
				got.firstValue()
				if _, data, err := got.authentication(); err == nil {
					mechanisms(data)
				}
			}
			want, wantErr := library.Receive()
			if wantErr != nil {
				return
			}
			if err != nil {
				t.Fatalf("%q: %v, want %#v", sent, err, want)
			}
			same := true
			kind, data, authErr := got.authentication()
			switch want := want.(type) {
			case *pgproto3.AuthenticationOk:
				same = authErr == nil && kind == pgAuthOK
			case *pgproto3.AuthenticationCleartextPassword:
				same = authErr == nil && kind == pgAuthCleartext
			case *pgproto3.AuthenticationMD5Password:
				same = authErr == nil && kind == pgAuthMD5 && bytes.HasPrefix(data, want.Salt[:])
			case *pgproto3.AuthenticationSASL:
				offered := want.AuthMechanisms
				if end := slices.Index(offered, ""); end >= 0 {
					offered = offered[:end] // the list's end, to PostgreSQL's documentation
				}
				same = authErr == nil && kind == pgAuthSASL && slices.Equal(mechanisms(data), offered[:min(len(offered), 20)])
			case *pgproto3.AuthenticationSASLContinue:
				same = authErr == nil && kind == pgAuthSASLContinue && bytes.Equal(data, want.Data)
			case *pgproto3.AuthenticationSASLFinal:
				same = authErr == nil && kind == pgAuthSASLFinal && bytes.Equal(data, want.Data)
			case *pgproto3.ParameterStatus:
				name, value := got.parameter()
				same = got.kind == pgParameter && name == want.Name && value == want.Value
			case *pgproto3.ErrorResponse:
				e := got.fault()
				same = got.kind == pgErrorResponse && e.code == want.Code && e.message == want.Message && e.severity == want.Severity && e.plain == want.SeverityUnlocalized
			case *pgproto3.DataRow:
				value, ok, err := got.firstValue()
				same = got.kind == pgDataRow && err == nil && ok == (len(want.Values) > 0) && (!ok || bytes.Equal(value, want.Values[0]))
			case *pgproto3.CommandComplete:
				same = got.kind == pgComplete
			case *pgproto3.EmptyQueryResponse:
				same = got.kind == pgEmptyQuery
			case *pgproto3.ReadyForQuery:
				same = got.kind == pgReady
			}
			if !same {
				t.Fatalf("%q: %q, want %#v", sent, got, want)
			}
		}
	})
}

// A client that could bind itself to the channel says so where the server does
// not offer it; one that cannot, to an Ed25519 certificate, must not say it.
func TestPostgresChannelBinding(t *testing.T) {
	ecdsa, _ := certificate(t, []string{"localhost"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	must(t, err)
	ed := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	const plain, plus = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
	for _, c := range []struct {
		name      string
		cert      tls.Certificate
		offered   []string
		add       string
		mechanism string
		begins    string
	}{
		{"ECDSA", ecdsa, []string{plus, plain}, "", plus, "p=tls-server-end-point,,"},
		{"ECDSA, no offer", ecdsa, []string{plain}, "", plain, "y,,"},
		{"ECDSA, off", ecdsa, []string{plus, plain}, "&channel_binding=disable", plain, "n,,"},
		{"Ed25519", ed, []string{plus, plain}, "", plain, "n,,"},
		{"Ed25519, no offer", ed, []string{plain}, "", plain, "y,,"},
	} {
		got := make(chan *pgproto3.SASLInitialResponse, 1)
		addr := rawServer(t, func(conn net.Conn) {
			io.ReadFull(conn, make([]byte, len(sslRequest)))
			io.WriteString(conn, "S")
			tc := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c.cert}})
			b := pgproto3.NewBackend(tc, tc)
			if _, err := b.ReceiveStartupMessage(); err != nil {
				return
			}
			b.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: c.offered})
			b.Flush()
			b.SetAuthType(pgproto3.AuthTypeSASL)
			if msg, err := b.Receive(); err == nil {
				got <- msg.(*pgproto3.SASLInitialResponse)
			}
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no"})
			b.Flush()
			untilClosed(conn)
		})
		_, err := probeOnce(t, Postgres, "postgres://u:p@"+addr+"/d?sslmode=require"+c.add, patience)
		wantFailure(t, err, probe.StageAuth, "authentication failed")
		if msg := <-got; msg.AuthMechanism != c.mechanism || !strings.HasPrefix(string(msg.Data), c.begins) {
			t.Errorf("%s: %s %q, want %s %q", c.name, msg.AuthMechanism, msg.Data, c.mechanism, c.begins)
		}
	}
}

// What a server says before it ends the connection is what failed, in whatever
// language it says how severe that is.
func TestPostgresErrorBeforeTheEnd(t *testing.T) {
	for name, e := range map[string]*pgproto3.ErrorResponse{
		"English":   {Severity: "FATAL", SeverityUnlocalized: "FATAL"},
		"Chinese":   {Severity: "\u81f4\u547d\u9519\u8bef", SeverityUnlocalized: "FATAL"},
		"old":       {Severity: "FATAL"},
		"old, else": {Severity: "\u81f4\u547d\u9519\u8bef"},
		"error":     {Severity: "ERROR", SeverityUnlocalized: "ERROR"},
	} {
		e.Code, e.Message = "57P01", "terminating connection due to administrator command"
		for _, stays := range []bool{false, true} {
			ended := make(chan struct{})
			addr := rawServer(t, func(c net.Conn) {
				b := pgproto3.NewBackend(c, c)
				if _, err := b.ReceiveStartupMessage(); err != nil {
					return
				}
				b.Send(&pgproto3.AuthenticationOk{})
				b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				b.Flush()
				if _, err := b.Receive(); err != nil {
					return
				}
				b.Send(e)
				b.Flush()
				if e.SeverityUnlocalized == "FATAL" && stays {
					<-ended // nothing more is waited for
				}
			})
			_, err := probeOnce(t, Postgres, "postgres://u@"+addr+"/db?sslmode=disable", patience)
			close(ended)
			if err == nil || !strings.Contains(err.Error(), "terminating connection due to administrator command") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What the client sends is what pgproto3's server side reads.
func TestPostgresMessages(t *testing.T) {
	var sent []byte
	sent = append(sent, pgStartup(3<<16, map[string]string{"user": "u", "database": "d", "options": "-c a=b"})...)
	sent = append(sent, pgSend('p', pgSASLInitial("SCRAM-SHA-256", []byte("n,,n=,r=x")))...)
	sent = append(sent, pgSend('p', "c=biws")...)
	sent = append(sent, pgSend('Q', "SELECT 1\x00")...)
	sent = append(sent, pgSend('f', "no\x00")...)
	sent = append(sent, pgSend('X', "")...)
	b := pgproto3.NewBackend(bytes.NewReader(sent), nil)
	start, err := b.ReceiveStartupMessage()
	must(t, err)
	if s, ok := start.(*pgproto3.StartupMessage); !ok || s.ProtocolVersion != pgproto3.ProtocolVersion30 || s.Parameters["user"] != "u" || s.Parameters["database"] != "d" || s.Parameters["options"] != "-c a=b" {
		t.Errorf("%+v", start)
	}
	receive := func() pgproto3.FrontendMessage {
		msg, err := b.Receive()
		must(t, err)
		return msg
	}
	must(t, b.SetAuthType(pgproto3.AuthTypeSASL))
	if m, ok := receive().(*pgproto3.SASLInitialResponse); !ok || m.AuthMechanism != "SCRAM-SHA-256" || string(m.Data) != "n,,n=,r=x" {
		t.Errorf("%+v", m)
	}
	must(t, b.SetAuthType(pgproto3.AuthTypeSASLContinue))
	if m, ok := receive().(*pgproto3.SASLResponse); !ok || string(m.Data) != "c=biws" {
		t.Errorf("%+v", m)
	}
	if m, ok := receive().(*pgproto3.Query); !ok || m.String != "SELECT 1" {
		t.Errorf("%+v", m)
	}
	if m, ok := receive().(*pgproto3.CopyFail); !ok || m.Message != "no" {
		t.Errorf("%+v", m)
	}
	if m, ok := receive().(*pgproto3.Terminate); !ok {
		t.Errorf("%+v", m)
	}
}
