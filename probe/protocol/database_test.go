package protocol

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// These tests show the faults that the real servers of e2e/ do not have on
// demand.

type makeFunc = func(target.Target, Options) (probe.Func, error)

// nativeSchemes are the checks with a protocol of their own.
var nativeSchemes = map[string]makeFunc{
	"postgres": Postgres, "pgvector": Pgvector, "mysql": MySQL, "redis": Redis, "mongodb": MongoDB, "grpc": GRPC,
	"memcached": Memcached, "nats": NATS, "mqtt": MQTT, "amqp": AMQP, "kafka": Kafka,
}

// allSchemes are the checks that go over the network.
func allSchemes() map[string]makeFunc {
	all := map[string]makeFunc{"http": HTTP, "https": HTTP, "tcp": TCP, "rediss": Redis, "grpcs": GRPC, "qdrant": Qdrant, "chroma": Chroma,
		"weaviate": Weaviate, "milvus": Milvus, "elasticsearch": Elasticsearch, "opensearchs": Elasticsearch, "ollama": Ollama,
		"mqtts": MQTT, "amqps": AMQP, "kafkas": Kafka, "natss": NATS,
		"etcd": Etcd, "clickhouses": ClickHouse, "minio": MinIO, "influxdb": InfluxDB,
		"vllm": ModelServer, "sglangs": ModelServer, "llamacpp": ModelServer, "triton": ModelServer, "tgi": ModelServer, "tei": ModelServer, "openai": ModelServer}
	for name, make := range nativeSchemes {
		all[name] = make
	}
	return all
}

func TestNothingListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	ln.Close()
	for scheme, make := range allSchemes() {
		_, err := probeOnce(t, make, scheme+"://"+addr, patience)
		wantFailure(t, err, probe.StageConnect, scheme+"://"+addr, "connect to "+addr+": connection refused")
	}
}

func TestNoSuchHost(t *testing.T) {
	defer func(old *net.Resolver) { target.Resolver = old }(target.Resolver)
	server := nxdomain(t)
	target.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server)
	}}
	for scheme, make := range allSchemes() {
		_, err := probeOnce(t, make, scheme+"://db.example.:1234", patience)
		wantFailure(t, err, probe.StageResolve, `resolve "db.example.": no such host`)
	}
}

// Another protocol answers, or nobody does.
func TestForeignServers(t *testing.T) {
	silent := rawServer(t, untilClosed)
	web := rawServer(t, func(c net.Conn) {
		c.Read(make([]byte, 16))
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		untilClosed(c)
	})
	ssh := rawServer(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1\r\n"); untilClosed(c) })
	closes := rawServer(t, func(c net.Conn) { c.Read(make([]byte, 1024)) })
	for scheme, make := range nativeSchemes {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			user := scheme + "://u:hunter2pw@"
			if scheme == "grpc" { // which takes none
				user = "grpc://"
			}
			_, err := probeOnce(t, make, user+silent, 300*time.Millisecond)
			wantFailure(t, err, probe.StageResponse, "no answer within 300ms: the server said nothing")
			_, err = probeOnce(t, make, user+ssh, time.Second)
			wantFailure(t, err, probe.StageResponse, "does not speak", "but SSH", `"SSH-2.`)
			_, err = probeOnce(t, make, user+closes, time.Second)
			if scheme == "mysql" || scheme == "nats" { // whose servers speak first
				wantFailure(t, err, probe.StageResponse, "the server said nothing")
			} else {
				wantFailure(t, err, probe.StageResponse, "the server closed the connection without an answer")
				_, err = probeOnce(t, make, user+web, patience)
				wantFailure(t, err, probe.StageResponse, "does not speak", "but HTTP", `"HTTP/1.1`)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
}

// wantBadTarget asserts what is said of a target that is refused, without any
// secret.
func wantBadTarget(t *testing.T, in, want string) {
	t.Helper()
	tg, err := target.ParseTarget(in, testBase)
	if err == nil {
		_, err = New(tg, testOptions(t))
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%q: %v, want %q", in, err, want)
	}
}

func TestBadDatabaseTargets(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u@h/db?sslmode=maybe":      "sslmode is invalid",
		"postgres://u@h:99999/db":              "port",
		"postgres://u@h/db#x=1":                "takes no setting",
		"mysql://u@h/db?tsl=true":              `unknown parameter "tsl"`,
		"mysql://u@h/db?tls=maybe":             "want true, false, preferred or skip-verify",
		"mysql:///db":                          "no host",
		"redis://h/cache":                      "number of a database",
		"redis://user@h":                       "a user without a password",
		"redis://h:0":                          "the port is not between",
		"mongodb+srv://h1,h2/":                 "one name",
		"mongodb://h/?readPreference=second":   "want primary",
		"mongodb://h/?tls=perhaps":             "neither true nor false",
		"mongodb://h/?authMechanism=X509":      "want SCRAM-SHA-256",
		"mongodb://h/?rs=majority":             "unknown parameter",
		"mysql://h1,h2/db":                     "one host only",
		"mysql://h/?expect=1":                  "needs a query=",
		"mysql://h/?max_lag=30":                "such as 30s",
		"redis://h/?role=slave":                "want master, replica or sentinel",
		"grpc://h":                             "a host and a port",
		"grpc://h:1/svc?x=1":                   "takes no parameters",
		"qdrant://h/docs?apikey=hunter2hunt":   `unknown parameter "apikey"`,
		"qdrant://h/docs#status=200":           `unknown setting "status"`,
		"milvus://h/docs?api_port=0":           "api_port",
		"memcached://h/x":                      "has no path",
		"memcached://u@h":                      "takes a user with a password",
		"nats://h1,h2":                         "one host only",
		"nats://h/x":                           "has no path",
		"nats://h?x=1":                         "takes no parameters",
		"mqtt://:hunter2@h":                    "no password without a user",
		"mqtt://h/topic":                       "has no path",
		"mqtt://h?clientid=x":                  `unknown parameter "clientid"`,
		"amqp://h?vhost=x":                     `got "vhost"`,
		"amqp://h1,h2":                         "one host only",
		"amqp://h#x=1":                         "takes no setting",
		"rabbitmq://h":                         "another name here",
		"kafka://h1:9092,h2:9092":              "one host only",
		"kafka://h/a/b":                        "the name of one topic",
		"kafka://u:hunter2@h?mechanism=GSSAPI": "want PLAIN, SCRAM-SHA-256",
		"kafka://h?mechanism=plain":            "needs a user",
		"etcd://h/x":                           "has no path",
		"minio://u:hunter2@h":                  "takes no user",
		"minio://h?live=perhaps":               "neither true nor false",
		"clickhouse://u:hunter2@h:9000/db":     "native protocol",
		"influxdb://h/bucket":                  "has no path",
		"qdrant://h?cluster=3":                 "neither true nor false",
		"weaviate://h?nodes=0":                 "want how many nodes must be healthy",
		"weaviate://h?nodes=":                  "want how many nodes must be healthy",
		"milvus://h?components=all":            "neither true nor false",
		"chroma://h?token_header=X-Token":      "want X-Chroma-Token or Authorization",
		"chroma://h?auth=maybe":                "neither true nor false",
		"ollama://h?gpu=80":                    "are about a model",
		"ollama://h?loaded=true":               "are about a model",
		"ollama://h/m?gpu=101":                 "want the percentage",
		"ollama://h/m?gpu=":                    "want the percentage",
		"ollama://h/m?gpu=0":                   "want the percentage",
		"ollama://h/m?gpu=NaN":                 "want the percentage",
		"vllm://h?stall=2 minutes":             "want how long no step may come",
		"vllm://h?stall=-1s":                   "want how long no step may come",
		"vllm://h?stall=":                      "want how long no step may come",
		"vllm://h?stal=1s":                     `unknown parameter "stal": vllm knows api_key, canary, stall`,
		"vllm://h?metrics_port=1":              `unknown parameter "metrics_port"`,
		"vllm://h?canary=maybe":                "neither true nor false",
		"vllm://h?canary=/generate":            "nobody knows what to ask",
		"openai://h?stall=1s":                  `unknown parameter "stall": openai knows api_key, canary`,
		"triton://h?metrics_port=0":            "metrics_port is not between",
		"triton://h?canary=true":               "wants inputs of its own",
		"triton://h#connect-to=a:1":            "one host and port",
		"tei://h#status=200":                   `unknown setting "status"`,
		"llama.cpp://h":                        "another name here",
		"pgvector://u@h/db?index=":             "want true, or the name of an index",
		"ollama://h/llama#header=hunter2hunt":  "not NAME: VALUE",
	} {
		wantBadTarget(t, in, want)
	}
}

// redisServer answers every command with the next of replies.
func redisServer(t *testing.T, replies ...string) string {
	return rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for _, reply := range replies {
			head, _ := r.ReadString('\n') // *N, then a length and a text for each
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "*")))
			for range 2 * n {
				r.ReadString('\n')
			}
			io.WriteString(c, reply)
		}
		untilClosed(c)
	})
}

func TestRedisFailing(t *testing.T) {
	for _, c := range []struct {
		replies []string
		stage   probe.Stage
		text    string
	}{
		{[]string{"-LOADING Redis is loading the dataset in memory\r\n", "-LOADING x\r\n"}, probe.StageStatus, `PING: loading its data: "LOADING Redis is loading`},
		{[]string{"+PONG\r\n", "*5\r\n$5\r\nslave\r\n$1\r\nm\r\n:6379\r\n$7\r\nconnect\r\n:-1\r\n"}, probe.StageStatus, `link to its master is "connect"`},
		{[]string{"+PONG\r\n", "*5\r\n$5\r\nslave\r\n$1\r\nm\r\n:6379\r\n$9\r\nconnected\r\n:1\r\n"}, "", "PONG, replica"},
		{[]string{"+PONG\r\n", "-NOPERM this user has no permissions to run the 'role' command\r\n"}, "", "PONG"},
		{[]string{"-BUSY Redis is busy running a script.\r\n", "-BUSY x\r\n"}, probe.StageStatus, "busy running a script"},
		{[]string{"-MASTERDOWN Link with MASTER is down\r\n", "*0\r\n"}, probe.StageStatus, "a replica whose master is down"},
		{[]string{"-ERR max number of clients reached\r\n"}, probe.StageResponse, "too many connections"},
		{[]string{"-DENIED Redis is running in protected mode\r\n"}, probe.StageAuth, "protected mode"},
		{[]string{"+PANG\r\n"}, probe.StageResponse, `got "PANG", want "PONG"`},
	} {
		f, err := probeOnce(t, Redis, "redis://"+redisServer(t, c.replies...), patience)
		if c.stage != "" {
			wantFailure(t, err, c.stage, c.text)
		} else if err != nil || !strings.HasSuffix(f.Message, c.text) {
			t.Errorf("%q, %v, want %q", f.Message, err, c.text)
		}
	}
}

func TestRedisWritable(t *testing.T) {
	const pong, master = "+PONG\r\n", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
	for reply, want := range map[string]string{
		":0\r\n":                                    "",
		"-MOVED 1234 10.0.0.2:6379\r\n":             "", // the key is another node's, and the cluster up
		"-WRONGTYPE Operation against a key\r\n":    "",
		"-OOM command not allowed\r\n":              "out of memory, and its policy evicts nothing",
		"-MISCONF Redis is configured\r\n":          "cannot save to disk",
		"-NOREPLICAS Not enough good\r\n":           "too few replicas",
		"-READONLY You can't write\r\n":             "a read-only replica",
		"-CLUSTERDOWN The cluster is down\r\n":      "the cluster is down",
		"-NOPERM No permissions to access a\r\n":    "not permitted",
		"-ERR unknown command 'SETRANGE', with\r\n": "unknown command",
	} {
		f, err := probeOnce(t, Redis, "redis://"+redisServer(t, pong, reply, master)+"?writable=true", patience)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", reply, f.Message, err)
		}
	}
	sentinel := "*2\r\n$8\r\nsentinel\r\n*0\r\n"
	_, err := probeOnce(t, Redis, "redis://"+redisServer(t, pong, sentinel), patience)
	wantFailure(t, err, probe.StageStatus, "a Sentinel, not a server that holds data")
	if f, err := probeOnce(t, Redis, "redis://"+redisServer(t, pong, sentinel)+"?role=sentinel", patience); err != nil {
		t.Error(f, err)
	}
	_, err = probeOnce(t, Redis, "redis://"+redisServer(t, pong, master)+"?role=replica", patience)
	wantFailure(t, err, probe.StageStatus, `its role is "master", want "replica"`)
}

// The clients' own connection strings are taken as they are.
func TestClientConnectionStrings(t *testing.T) {
	for _, in := range []string{
		"mysql://u:p@h:3306/app?serverVersion=8.0.32&charset=utf8mb4", "mysql+pymysql://u:p@h/app?charset=utf8mb4", "mariadb://u:p@h/app",
		"mariadb+mariadbconnector://u@h/app", "jdbc:mysql://h:3306/app?user=u&password=p&useSSL=true&allowPublicKeyRetrieval=true&serverTimezone=UTC",
		"mysql://u@h/app?ssl-mode=VERIFY_IDENTITY", "mysql://u@%2Frun%2Fmysqld.sock/app", "mysql+pymysql://u@localhost/app?unix_socket=/run/mysqld.sock",
		"redis://h?db=2", "redis://:p@h:6379/0?socket_timeout=5&decode_responses=True", "rediss://h?ssl_cert_reqs=CERT_NONE", "valkey://h", "valkeys://h/1",
		"mongodb://u:p@h/app?retryWrites=true&w=majority&authSource=admin", "mongodb+srv://u:p@cluster0.example.net/app?retryWrites=true&w=majority&appName=x",
		"mongodb://h1:27017,h2:27017,h3/app?replicaSet=rs0&readPreference=secondaryPreferred", "mongodb://%2Ftmp%2Fmongodb-27017.sock/app",
		"pgvector://u:p@h/app?schema=public&table=items&index=true", "postgresql+psycopg2://u:p@h/app",
	} {
		tg, err := target.ParseTarget(in, testBase)
		if err == nil {
			_, err = New(tg, testOptions(t))
		}
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// mongoServer answers each command with what reply makes of it.
func mongoServer(t *testing.T, reply func(bsoncore.Document) bsoncore.Document) string {
	return rawServer(t, func(c net.Conn) {
		for {
			head := make([]byte, 16)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			body := make([]byte, binary.LittleEndian.Uint32(head)-16)
			io.ReadFull(c, body)
			doc := reply(bsoncore.Document(body[5:]))
			msg := append(make([]byte, 16), 0, 0, 0, 0, 0)
			msg = append(msg, doc...)
			binary.LittleEndian.PutUint32(msg, uint32(len(msg)))
			binary.LittleEndian.PutUint32(msg[12:], opMsg)
			c.Write(msg)
		}
	})
}

func TestMongoStates(t *testing.T) {
	ok := func() *bsoncore.DocumentBuilder { return bsoncore.NewDocumentBuilder().AppendDouble("ok", 1) }
	for _, c := range []struct {
		hello bsoncore.Document
		query string
		stage probe.Stage
		text  string
	}{
		{ok().AppendBoolean("isWritablePrimary", true).Build(), "", "", "writable primary"},
		{ok().AppendBoolean("isWritablePrimary", true).AppendString("setName", "rs0").Build(), "?replicaSet=rs0", "", "writable primary of rs0"},
		{ok().AppendBoolean("isWritablePrimary", true).AppendString("setName", "rs1").Build(), "?replicaSet=rs0", probe.StageStatus, `belongs to the replica set "rs1", want "rs0"`},
		{ok().AppendBoolean("isWritablePrimary", false).AppendBoolean("secondary", true).Build(), "", "", "secondary"},
		{ok().AppendBoolean("isWritablePrimary", true).AppendString("msg", "isdbgrid").Build(), "", "", "mongos"},
		{ok().AppendBoolean("isWritablePrimary", false).AppendBoolean("secondary", false).AppendBoolean("arbiterOnly", true).Build(), "", "", "arbiter"},
		{ok().AppendBoolean("isWritablePrimary", false).AppendBoolean("secondary", false).Build(), "", probe.StageStatus, "neither a writable primary nor a secondary"},
		{ok().AppendBoolean("isWritablePrimary", false).AppendBoolean("isreplicaset", true).Build(), "", probe.StageStatus, "not initiated"},
		{bsoncore.NewDocumentBuilder().AppendDouble("ok", 0).AppendInt32("code", 11600).AppendString("errmsg", "interrupted at shutdown").Build(), "", probe.StageResponse, `hello: "interrupted at shutdown" (11600)`},
	} {
		addr := mongoServer(t, func(bsoncore.Document) bsoncore.Document { return c.hello })
		f, err := probeOnce(t, MongoDB, "mongodb://"+addr+"/"+c.query, patience)
		if c.stage != "" {
			wantFailure(t, err, c.stage, c.text)
		} else if err != nil || !strings.HasSuffix(f.Message, ": "+c.text) {
			t.Errorf("%q, %v, want %q", f.Message, err, c.text)
		}
	}
}

// Of several hosts the application's choice decides; all are named.
func TestMongoHosts(t *testing.T) {
	says := func(key string) string {
		return mongoServer(t, func(bsoncore.Document) bsoncore.Document {
			return bsoncore.NewDocumentBuilder().AppendBoolean(key, true).AppendDouble("ok", 1).Build()
		})
	}
	primary, secondary := says("isWritablePrimary"), says("secondary")
	silent := rawServer(t, untilClosed)
	f, err := probeOnce(t, MongoDB, "mongodb://"+silent+","+secondary+","+primary+"/?w=majority", patience)
	if err != nil || !strings.HasSuffix(f.Message, "writable primary at "+primary) {
		t.Error(f.Message, err)
	}
	_, err = probeOnce(t, MongoDB, "mongodb://127.0.0.1:1,"+secondary, patience)
	wantFailure(t, err, probe.StageConnect, "no primary among its hosts: 127.0.0.1:1: connect to 127.0.0.1:1: connection refused; "+secondary+": secondary")
	if _, err = probeOnce(t, MongoDB, "mongodb://127.0.0.1:1,"+secondary+"/?readPreference=nearest", patience); err != nil {
		t.Error(err)
	}
}

// scramMongo is a server that knows the user app with the password, by the
// server side of another library than the probe's.
func scramMongo(t *testing.T, mechanism, password string) string {
	t.Helper()
	return scramMongoWith(t, mechanism, password, 4096, func(text string) string { return text })
}

// scramMongoWith asks for so many iterations, and forges what it sends.
func scramMongoWith(t *testing.T, mechanism, password string, iterations int, forge func(string) string) string {
	t.Helper()
	hash := scram.SHA256
	if mechanism == "SCRAM-SHA-1" {
		hash = scram.SHA1
	}
	client, err := hash.NewClientUnprepped("app", password, "")
	must(t, err)
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt1234", Iters: iterations})
	must(t, err)
	server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	must(t, err)
	conversation := server.NewConversation()
	return mongoServer(t, func(cmd bsoncore.Document) bsoncore.Document {
		if _, err := cmd.LookupErr("hello"); err == nil {
			if user, ok := cmd.Lookup("saslSupportedMechs").StringValueOK(); ok {
				if user != "admin.app" {
					t.Errorf("asks for the mechanisms of %q", user)
				}
				return bsoncore.NewDocumentBuilder().AppendBoolean("isWritablePrimary", true).
					AppendArray("saslSupportedMechs", bsoncore.NewArrayBuilder().AppendString(mechanism).Build()).AppendDouble("ok", 1).Build()
			}
			return bsoncore.NewDocumentBuilder().AppendBoolean("isWritablePrimary", true).AppendDouble("ok", 1).Build()
		}
		if m, ok := cmd.Lookup("mechanism").StringValueOK(); ok && m != mechanism {
			t.Errorf("mechanism %s", m)
		}
		_, payload, _ := cmd.Lookup("payload").BinaryOK()
		text, err := conversation.Step(string(payload))
		if err != nil {
			return bsoncore.NewDocumentBuilder().AppendDouble("ok", 0).AppendInt32("code", 18).AppendString("errmsg", "Authentication failed.").Build()
		}
		return bsoncore.NewDocumentBuilder().AppendInt32("conversationId", 1).AppendBoolean("done", conversation.Done()).
			AppendBinary("payload", 0, []byte(forge(text))).AppendDouble("ok", 1).Build()
	})
}

func TestMongoAuthentication(t *testing.T) {
	addr := scramMongo(t, "SCRAM-SHA-256", "hunter2pw")
	if f, err := probeOnce(t, MongoDB, "mongodb://app:hunter2pw@"+addr, patience); err != nil {
		t.Error(f, err)
	}
	_, err := probeOnce(t, MongoDB, "mongodb://app:wrong@"+scramMongo(t, "SCRAM-SHA-256", "hunter2pw"), patience)
	wantFailure(t, err, probe.StageAuth, `authentication failed: "Authentication failed." (18)`)
	// For SHA-1 MongoDB keeps md5("app:mongo:hunter2pw") in place of the password.
	const digest = "ea7168c04c3403d919e685ee086d5222"
	addr = scramMongo(t, "SCRAM-SHA-1", digest)
	if _, err := probeOnce(t, MongoDB, "mongodb://app:hunter2pw@"+addr+"/?authMechanism=SCRAM-SHA-1", patience); err != nil {
		t.Error(err)
	}
	// A user that the server keeps by SHA-1 alone needs no parameter.
	if _, err := probeOnce(t, MongoDB, "mongodb://app:hunter2pw@"+scramMongo(t, "SCRAM-SHA-1", digest), patience); err != nil {
		t.Error(err)
	}
	_, err = probeOnce(t, MongoDB, "mongodb://app:wrong@"+scramMongo(t, "SCRAM-SHA-1", digest)+"/?authMechanism=SCRAM-SHA-1", patience)
	wantFailure(t, err, probe.StageAuth, "authentication failed")
}

// The client's side of the bargain: a server that asks for few iterations may
// be after the password, one that cannot prove itself may be an impostor.
func TestMongoScramDistrusts(t *testing.T) {
	const url = "mongodb://app:hunter2pw@"
	addr := scramMongoWith(t, "SCRAM-SHA-256", "hunter2pw", 100, func(s string) string { return s })
	_, err := probeOnce(t, MongoDB, url+addr, patience)
	wantFailure(t, err, probe.StageAuth, "SCRAM: the server wants fewer than 4096 iterations")

	addr = scramMongoWith(t, "SCRAM-SHA-256", "hunter2pw", 4096, func(s string) string {
		if strings.HasPrefix(s, "v=") {
			return "v=AAAA"
		}
		return s
	})
	_, err = probeOnce(t, MongoDB, url+addr, patience)
	wantFailure(t, err, probe.StageAuth, "cannot authenticate SCRAM-SHA-256 server signature")

	addr = scramMongoWith(t, "SCRAM-SHA-1", "x", 4096, func(string) string { return "" })
	_, err = probeOnce(t, MongoDB, url+addr+"/?authMechanism=SCRAM-SHA-1", patience)
	wantFailure(t, err, probe.StageAuth, "expected 3 fields in first")

	// The letters of a password count as SASLprep writes them.
	addr = scramMongo(t, "SCRAM-SHA-256", "p\u00e4ss")
	if _, err := probeOnce(t, MongoDB, "mongodb://app:pa%CC%88ss@"+addr, patience); err != nil {
		t.Error(err)
	}
}

// The examples of RFC 4013, section 3, and of MongoDB's specification.
func TestSASLPrep(t *testing.T) {
	for in, want := range map[string]string{"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "a\u00a0b\u3000c": "a b c", "pa\u0308ss": "p\u00e4ss"} {
		if got := saslPrep(in, false); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	// Where PostgreSQL is of another opinion than MongoDB's drivers: a blank of no
	// width, and what NFKC makes or unmakes.
	for in, want := range map[string][2]string{
		"a\u200bb": {"a b", "ab"}, "x\u0340": {"x\u0340", "x\u0300"}, "\u1d2c": {"\u1d2c", "A"}, "\u2135a": {"\u05d0a", "\u2135a"},
		"\u00ad": {"\u00ad", ""}, "a\u200cb": {"ab", "ab"}, "\u2168": {"IX", "IX"}, "\u0221\ufb01": {"\u0221\ufb01", "\u0221\ufb01"},
		"\u0627a": {"\u0627a", "\u0627a"}, "\xff\ufb01": {"\xff\ufb01", "\xff\ufb01"}, "\u200b": {" ", ""},
	} {
		if got := [2]string{saslPrep(in, true), saslPrep(in, false)}; got != want {
			t.Errorf("%+q: %+q, want %+q", in, got, want)
		}
	}
	// Users of LDAP are kept in no database.
	tg, err := target.ParseTarget("mongodb://u:p@h/app?authMechanism=PLAIN", testBase)
	must(t, err)
	m := &mongoCheck{target: tg, mechanism: "PLAIN"}
	must(t, m.configure(tg.URL.Query(), Options{}))
	if m.authDB != "$external" {
		t.Error(m.authDB)
	}
}

// FuzzMongoReply: whatever a server sends, no crash and no success by chance.
func FuzzMongoReply(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00"))
	f.Add(append([]byte{0, 0, 0, 0, 0}, bsoncore.NewDocumentBuilder().AppendDouble("ok", 1).Build()...))
	f.Fuzz(func(t *testing.T, body []byte) {
		doc, err := parseMongoReply(body)
		if err == nil {
			if v, ok := doc.Lookup("ok").AsInt64OK(); !ok || v != 1 {
				t.Errorf("accepted %x", body)
			}
			(&mongoCheck{}).judge(doc)
		}
	})
}

func FuzzGRPCHealth(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if health, err := parseHealth(body); err == nil && health == "" {
			t.Errorf("%x has no name", body)
		}
	})
}

// echoServer sends back what it was sent, in the words of each protocol, so
// that a password would come out if anything let it.
func echoServer(t testing.TB) string {
	return rawServer(t, func(c net.Conn) {
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		if strings.HasPrefix(string(buf[:n]), "GET ") {
			fmt.Fprintf(c, "HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%s", n, buf[:n])
		} else {
			fmt.Fprintf(c, "-ERR you said %s\r\n", buf[:n])
		}
	})
}

// FuzzSecretsInEveryScheme throws passwords with odd characters at every
// scheme, as the user's part and as a parameter, at a server that echoes.
func FuzzSecretsInEveryScheme(f *testing.F) {
	for _, pw := range []string{"hunter2hunter2", "p@ss:w/ord?x#y", "a%41b%zz&c=d", "pässwörd\u2028x", `quo"te'back\slash`, "tab\tnew\nline", "spaces and +plus"} {
		f.Add(pw)
	}
	addr := echoServer(f)
	f.Fuzz(func(t *testing.T, pw string) {
		if len(pw) < 8 || strings.Trim(pw, "*") == "" || strings.ContainsAny(pw, "\x00") {
			return
		}
		for scheme, make := range allSchemes() {
			for _, text := range []string{
				scheme + "://" + url.UserPassword("app", pw).String() + "@" + addr,
				scheme + "://" + addr + "?api_key=" + url.QueryEscape(pw),
				scheme + "://" + addr + "?token=" + url.QueryEscape(pw),
			} {
				tg, err := target.ParseTarget(text, testBase)
				if err != nil {
					continue
				}
				run, err := make(tg, Options{UserAgent: "x", HTTPOptions: HTTPOptions{Method: "GET", Status: StatusSet{"200", [][2]int{{200, 200}}}, Header: map[string][]string{}}})
				if err == nil {
					ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, probe.Timeout(time.Second))
					_, err = run(ctx)
					cancel()
				}
				if err != nil && strings.Contains(err.Error(), pw) && !strings.Contains("no answer within the server", pw) {
					t.Errorf("%s: the password is in %q", scheme, err)
				}
			}
		}
	})
}
