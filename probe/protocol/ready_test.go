package protocol

import (
	"io"
	"net"
	"strings"
	"testing"

	"healthcheck/probe"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// greetingPostgres answers a session's first message.
func greetingPostgres(t *testing.T, answer pgproto3.BackendMessage) string {
	return rawServer(t, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		b.Send(answer)
		b.Flush()
		untilClosed(c)
	})
}

func TestPostgresReady(t *testing.T) {
	t.Parallel()
	const plain = "/?sslmode=disable#ready=true"
	for name, answer := range map[string]pgproto3.BackendMessage{
		"trust":       &pgproto3.AuthenticationOk{},
		"password":    &pgproto3.AuthenticationMD5Password{},
		"SCRAM":       &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}},
		"refused":     &pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: "no pg_hba.conf entry"},
		"no database": &pgproto3.ErrorResponse{Severity: "FATAL", Code: "3D000", Message: "database does not exist"},
		"full":        &pgproto3.ErrorResponse{Severity: "FATAL", Code: "53300", Message: "too many clients"},
	} {
		f, err := probeOnce(t, Postgres, "postgres://"+greetingPostgres(t, answer)+plain, patience)
		if err != nil || !strings.Contains(f.Message, ": accepting connections") {
			t.Errorf("%s: %q, %v", name, f.Message, err)
		}
	}
	// A way to ask for a password that nobody here knows.
	future := rawServer(t, func(c net.Conn) {
		c.Read(make([]byte, 512))
		io.WriteString(c, "R\x00\x00\x00\x08\x00\x00\x00\x63")
		untilClosed(c)
	})
	if f, err := probeOnce(t, Postgres, "postgres://"+future+plain, patience); err != nil {
		t.Error(f, err)
	}
	starts := greetingPostgres(t, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "the database system is starting up"})
	_, err := probeOnce(t, Postgres, "postgres://"+starts+plain, patience)
	wantFailure(t, err, probe.StageResponse, `not accepting connections: "the database system is starting up" (57P03)`)
	if got := causeOf(t, "postgres://"+starts+plain, false); got.Class != probe.Starting {
		t.Errorf("starting: %+v", got)
	}
	_, err = probeOnce(t, Postgres, "postgres://127.0.0.1:1,"+starts+plain, patience)
	wantFailure(t, err, probe.StageConnect, "none of its hosts serves: 127.0.0.1:1: connect to", starts+": not accepting connections")
	// Of several hosts one is enough, and a silent one leaves time for it.
	silent := rawServer(t, untilClosed)
	if f, err := probeOnce(t, Postgres, "postgres://"+silent+","+greetingPostgres(t, &pgproto3.AuthenticationOk{})+plain, 2*second); err != nil {
		t.Error(f, err)
	}
	dropped := droppingServer(t)
	_, err = probeOnce(t, Postgres, "postgres://"+dropped+",127.0.0.1:1"+plain, second)
	wantFailure(t, err, probe.StageConnect, dropped+": connect to "+dropped+": no answer within the time for one host; 127.0.0.1:1: connect to")
	_, err = probeOnce(t, Postgres, "postgres://"+rawServer(t, func(c net.Conn) { c.Read(make([]byte, 512)); io.WriteString(c, "Ready\n"); untilClosed(c) })+plain, patience)
	wantFailure(t, err, probe.StageResponse, "does not speak PostgreSQL")
}

// mysqlServer greets and answers the login with an error.
func mysqlServer(t *testing.T, number uint16, text string) string {
	packet := func(n byte, body string) string { return string(rune(len(body))) + "\x00\x00" + string(rune(n)) + body }
	return rawServer(t, func(c net.Conn) {
		io.WriteString(c, packet(0, "\x0a8.0.36\x00\x01\x00\x00\x0012345678\x00\xff\xf7\x21\x02\x00\xff\xdf\x15"+strings.Repeat("\x00", 10)+"123456789012\x00mysql_native_password\x00"))
		c.Read(make([]byte, 512))
		c.Write(append([]byte{byte(9 + len(text)), 0, 0, 2, 0xff, byte(number), byte(number >> 8)}, "#HY000"+text...))
		untilClosed(c)
	})
}

func TestMySQLReady(t *testing.T) {
	for number, text := range map[uint16]string{1045: "Access denied", 1040: "Too many connections", 1130: "Host is not allowed"} {
		f, err := probeOnce(t, MySQL, "mysql://"+mysqlServer(t, number, text)+"#ready=true", patience)
		if err != nil || !strings.HasSuffix(f.Message, `: accepting connections: "`+text+`"`) {
			t.Errorf("%d: %q, %v", number, f.Message, err)
		}
	}
	_, err := probeOnce(t, MySQL, "mysql://"+mysqlServer(t, 1053, "Server shutdown in progress")+"#ready", patience)
	wantFailure(t, err, probe.StageResponse, "shutting down")
	_, err = probeOnce(t, MySQL, "mysql://"+mysqlServer(t, 1045, "Access denied"), patience)
	wantFailure(t, err, probe.StageAuth, "authentication failed")
}

func TestRedisReady(t *testing.T) {
	for reply, want := range map[string]string{
		"+PONG\r\n": "accepting connections", "-NOAUTH Authentication required.\r\n": `accepting connections: "NOAUTH`, "-DENIED Redis is running in protected mode\r\n": "DENIED",
		"-MASTERDOWN Link with MASTER is down\r\n": "MASTERDOWN",
	} {
		f, err := probeOnce(t, Redis, "redis://:hunter2@"+redisServer(t, reply)+"/3#ready=true", patience)
		if err != nil || !strings.Contains(f.Message, want) {
			t.Errorf("%q: %q, %v", reply, f.Message, err)
		}
	}
	loading := redisServer(t, "-LOADING Redis is loading the dataset in memory\r\n")
	_, err := probeOnce(t, Redis, "redis://"+loading+"#ready", patience)
	wantFailure(t, err, probe.StageStatus, "loading its data")
	if got := causeOf(t, "redis://"+loading+"#ready", false); got.Class != probe.Starting {
		t.Errorf("loading: %+v", got)
	}
	_, err = probeOnce(t, Redis, "redis://"+redisServer(t, "+OK\r\n")+"#ready", patience)
	wantFailure(t, err, probe.StageResponse, `want "PONG"`)
}

func TestMongoReady(t *testing.T) {
	answers := func(key string) string {
		return mongoServer(t, func(cmd bsoncore.Document) bsoncore.Document {
			if _, err := cmd.LookupErr("hello"); err != nil {
				t.Error("it logs in")
			}
			return bsoncore.NewDocumentBuilder().AppendBoolean(key, true).AppendDouble("ok", 1).Build()
		})
	}
	for key, want := range map[string]string{"isWritablePrimary": "writable primary", "isreplicaset": "accepting connections, and in no replica set yet"} {
		f, err := probeOnce(t, MongoDB, "mongodb://app:hunter2pw@"+answers(key)+"/#ready=true", patience)
		if err != nil || !strings.Contains(f.Message, want) {
			t.Errorf("%s: %q, %v", key, f.Message, err)
		}
	}
	if got := causeOf(t, "mongodb://"+answers("passive")+"/#ready", false); got.Class != probe.Starting {
		t.Errorf("in recovery: %+v", got)
	}
}

func TestBadReady(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://h/db?query=SELECT+1#ready": "query= does",
		"redis://h?role=master#ready=true":     "role= does",
		"mysql://h#ready=perhaps":              "neither true nor false",
		"mysql://h?ready=true":                 "ready= is a setting",
		"postgres://h/?ready=true":             "ready= stands behind #",
		"postgres://h#ready,ready":             "stands behind # twice",
		"pgvector://h/db#ready":                "takes no setting",
		"http://h/#ready":                      `unknown setting "ready"`,
	} {
		wantBadTarget(t, in, want)
	}
}
