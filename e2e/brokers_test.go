package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// newServer has a directory and a port of its own, and certificates.
func newServer(t *testing.T) (*server, pki) {
	t.Helper()
	dir, _ := serverDir(t, "")
	return &server{dir: dir, port: freePort(t)}, newPKI(t, dir, nil)
}

// wantWith is want for targets that are given an authority's certificate.
func wantWith(t *testing.T, ca, target string, code int, part string) {
	t.Helper()
	out, got := probe(t, target, "--ca-cert", ca)
	if got != code || !strings.Contains(out, part) || strings.Contains(out, "hunter2") {
		t.Errorf("%s: exit %d, want %d and %q:\n%s", target, got, code, part, out)
	}
}

// brokerPassword is one that stands between blanks in their files.
const brokerPassword = "hunter2pw:/?x"

const urlBrokerPassword = "hunter2pw%3A%2F%3Fx"

func TestMemcached(t *testing.T) {
	s, _ := newServer(t)
	startServer(t, s, nil, nil, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", s.port)
	s.untilHealthy(t, "memcached://"+s.addr())
	want(t, "memcached://"+s.addr(), 0, "version 1.")
	c := newCounter(t, s.addr())
	want(t, "memcached://"+c.addr, 0)
	c.wantTrips(t, 1, 1)

	closed, _ := newServer(t)
	closed.writeIn(t, "auth", "app:"+strings.ReplaceAll(brokerPassword, ":", "-")+"\n")
	startServer(t, closed, nil, nil, "memcached", "-u", "root", "-l", "127.0.0.1", "-p", closed.port, "-Y", closed.dir+"/auth")
	base := "memcached://app:" + strings.ReplaceAll(urlBrokerPassword, "%3A", "-") + "@" + closed.addr()
	closed.untilHealthy(t, base)
	want(t, "memcached://app:hunter2wrong@"+closed.addr(), 1, "authentication failed")
	want(t, "memcached://"+closed.addr(), 1, "the server wants a user and a password")
}

func TestNATS(t *testing.T) {
	s, _ := newServer(t)
	startServer(t, s, nil, nil, "nats-server", "-a", "127.0.0.1", "-p", s.port, "--user", "app", "--pass", brokerPassword)
	base := "nats://app:" + urlBrokerPassword + "@" + s.addr()
	s.untilHealthy(t, base)
	want(t, base, 0, "PONG, version 2.")
	want(t, "nats://app:hunter2wrong@"+s.addr(), 1, "authentication failed", "Authorization Violation")
	want(t, "nats://"+s.addr(), 1, "authentication failed")
	want(t, "natss://app:"+urlBrokerPassword+"@"+s.addr(), 1, "the server has no TLS, which natss:// asks for")
	file := s.writeIn(t, "password", brokerPassword+"\n")
	want(t, "nats://app@"+s.addr()+"#password-file="+file, 0)
	c := newCounter(t, s.addr())
	want(t, "nats://app:"+urlBrokerPassword+"@"+c.addr, 0)
	c.wantTrips(t, 1, 1)
	tokens, _ := newServer(t)
	startServer(t, tokens, nil, nil, "nats-server", "-c", tokens.writeIn(t, "conf", "listen: 127.0.0.1:"+tokens.port+"\nauthorization { token: \""+brokerPassword+"\" }\n"))
	tokens.untilHealthy(t, "nats://"+urlBrokerPassword+"@"+tokens.addr())
	want(t, "nats://hunter2wrong@"+tokens.addr(), 1, "authentication failed")

	secure, certs := newServer(t)
	startServer(t, secure, nil, nil, "nats-server", "-a", "127.0.0.1", "-p", secure.port, "--tls", "--tlscert", certs.cert, "--tlskey", certs.key)
	eventually(t, "it listens", func() (string, bool) {
		out, code := probe(t, "natss://"+secure.addr(), "--ca-cert", certs.ca)
		return out + tail(secure.log.String()), code == 0
	})
	wantWith(t, certs.ca, "nats://localhost:"+secure.port, 0, "PONG")
	want(t, "nats://"+secure.addr(), 1, "certificate signed by an unknown authority")
}

func TestMQTT(t *testing.T) {
	s, certs := newServer(t)
	tlsPort := freePort(t)
	passwords := s.writeIn(t, "passwords", "")
	if out, code := output(t, nil, "mosquitto_passwd", "-b", passwords, "app", brokerPassword); code != 0 {
		t.Fatal(out)
	}
	startServer(t, s, nil, nil, "mosquitto", "-c", s.writeIn(t, "conf", "user root\nper_listener_settings false\nallow_anonymous false\npassword_file "+passwords+
		"\nlistener "+s.port+" 127.0.0.1\nlistener "+tlsPort+" 127.0.0.1\ncertfile "+certs.cert+"\nkeyfile "+certs.key+"\n"))
	base := "mqtt://app:" + urlBrokerPassword + "@" + s.addr()
	s.untilHealthy(t, base)
	want(t, base, 0, "CONNACK: accepted")
	want(t, base+"?client_id=probe-1", 0)
	want(t, "mqtt://app:hunter2wrong@"+s.addr(), 1, "CONNACK: not authorized (code 5)")
	want(t, "mqtt://"+s.addr(), 1, "CONNACK: not authorized")
	want(t, "mqtts://app:"+urlBrokerPassword+"@"+s.addr(), 1, "TLS")
	wantWith(t, certs.ca, "mqtts://app:"+urlBrokerPassword+"@localhost:"+tlsPort, 0, "CONNACK: accepted")
	want(t, "mqtts://app:"+urlBrokerPassword+"@localhost:"+tlsPort, 1, "certificate signed by an unknown authority")
	before := len(s.log.String())
	c := newCounter(t, s.addr())
	want(t, "mqtt://app:"+urlBrokerPassword+"@"+c.addr, 0)
	c.wantTrips(t, 1, 2) // CONNECT, and the goodbye
	eventually(t, "the server has seen the client off", func() (string, bool) {
		log := s.log.String()[before:]
		return log, strings.Contains(log, "disconnected.") // and not: closed its connection
	})
}

// rabbitMQ runs one node, with a port mapper of its own that ends with it.
func rabbitMQ(t *testing.T) (*server, string, pki) {
	t.Helper()
	mapper, _ := newServer(t)
	startServer(t, mapper, nil, nil, "epmd", "-port", mapper.port, "-address", "127.0.0.1")
	s, certs := newServer(t)
	s.namespaces = syscall.CLONE_NEWPID // the script's Erlang ends with the script, however that ends
	tlsPort := freePort(t)
	conf := s.writeIn(t, "rabbitmq.conf", "listeners.tcp.1 = 127.0.0.1:"+s.port+"\nlisteners.ssl.1 = 127.0.0.1:"+tlsPort+"\nssl_options.cacertfile = "+certs.ca+
		"\nssl_options.certfile = "+certs.cert+"\nssl_options.keyfile = "+certs.key+"\nssl_options.verify = verify_none\nlog.console = true\nlog.console.level = info\nlog.file = false\n"+
		"vm_memory_high_watermark.absolute = 256MB\ndisk_free_limit.absolute = 1MB\n")
	environ := []string{"HOME=" + s.dir, "RABBITMQ_NODENAME=hc@localhost", "ERL_EPMD_PORT=" + mapper.port, "RABBITMQ_DIST_PORT=" + freePort(t),
		"RABBITMQ_CONFIG_FILE=" + strings.TrimSuffix(conf, ".conf"), "RABBITMQ_MNESIA_BASE=" + s.dir + "/mnesia", "RABBITMQ_LOG_BASE=" + s.dir + "/log",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + s.writeIn(t, "plugins", "[]."), "RABBITMQ_PID_FILE=" + s.dir + "/pid",
		// One scheduler, a small heap, and no waiting in a loop for work.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 +sbwt none +MBas ageffcbf -start_epmd false"}
	startServer(t, s, nil, environ, "/usr/lib/rabbitmq/lib/"+rabbitVersion(t)+"/sbin/rabbitmq-server")
	s.untilHealthy(t, "amqp://"+s.addr())
	return s, tlsPort, certs
}

func rabbitVersion(t *testing.T) string {
	t.Helper()
	dirs, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no RabbitMQ: test.sh installs it")
	}
	return filepath.Base(dirs[len(dirs)-1])
}

func TestAMQP(t *testing.T) {
	s, tlsPort, certs := rabbitMQ(t)
	want(t, "amqp://"+s.addr(), 0, "RabbitMQ 3.", "virtual host / is open")
	want(t, "amqp://guest:guest@"+s.addr()+"/", 0)
	want(t, "amqp://guest:guest@"+s.addr()+"/%2F?heartbeat=30", 0)
	want(t, "amqp://guest:hunter2wrong@"+s.addr(), 1, "access refused", "ACCESS_REFUSED", "(403)")
	want(t, "amqp://"+s.addr()+"/nosuch", 1, "no such virtual host", "(530)")
	wantRecipe(t, "RabbitMQ", nil, nil, "localhost", s.addr())
	wantInstead(t, "rabbit:5672", s.addr())
	want(t, "amqp://guest@"+s.addr()+"#password-file="+s.writeIn(t, "password", "guest\n"), 0)
	wantWith(t, certs.ca, "amqps://localhost:"+tlsPort, 0, "virtual host / is open")
	want(t, "amqps://localhost:"+tlsPort, 1, "certificate signed by an unknown authority")
	want(t, "amqps://"+s.addr(), 1, "TLS")
	eventually(t, "the server has complained of that", func() (string, bool) {
		log := s.log.String()
		return tail(log), strings.Contains(log, "bad_header")
	})
	before := len(s.log.String())
	c := newCounter(t, s.addr())
	want(t, "amqp://"+c.addr, 0)
	c.wantTrips(t, 1, 4) // the header, the user, the virtual host, the end
	eventually(t, "the server has seen the session end", func() (string, bool) {
		log := s.log.String()[before:]
		return log, strings.Contains(log, "closing AMQP connection")
	})
	if log := s.log.String()[before:]; strings.Contains(log, "[warning]") || strings.Contains(log, "[error]") {
		t.Errorf("the server complains:\n%s", tail(log))
	}
	out, code := probe(t, "amqp://"+silentAfter(t, s.addr(), 300), "--timeout", "500ms")
	if code != 1 || !strings.Contains(out, "no answer within 500ms") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// kfake is a broker of franz-go's, which its own tests run against.
func TestKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(6, "orders"), kfake.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	addr := c.ListenAddrs()[0]
	want(t, "kafka://"+addr, 0, "3 brokers")
	wantRecipe(t, "Kafka", nil, nil, "localhost", addr)
	wantInstead(t, "kafka:9092", addr)
	want(t, "kafka://"+addr+"/orders", 0, "3 brokers, topic orders: each of 6 partitions has a leader")
	want(t, "kafka://"+addr+"/nosuch", 1, `no topic "nosuch"`)
	want(t, "kafka://"+addr+"/nosuch", 1, `no topic "nosuch"`) // asking has not created it

	locked, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "app", brokerPassword), kfake.Superuser("SCRAM-SHA-256", "app", brokerPassword), kfake.Superuser("SCRAM-SHA-512", "app", brokerPassword))
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	addr = locked.ListenAddrs()[0]
	base := "kafka://app:" + urlBrokerPassword + "@" + addr + "/orders"
	for _, mechanism := range []string{"", "?mechanism=plain", "?mechanism=SCRAM-SHA-256", "?mechanism=SCRAM-SHA-512"} {
		want(t, base+mechanism, 0, "1 broker, topic orders")
		want(t, strings.Replace(base, urlBrokerPassword, "hunter2wrong", 1)+mechanism, 1)
	}
	want(t, "kafka://"+addr, 1)
}
