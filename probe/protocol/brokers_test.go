package protocol

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// What the brokers of e2e/ do not say on demand.

// second is for servers that stay silent in the end.
const second = time.Second

// answering sends the next of texts whenever something comes, then stays silent.
func answering(t *testing.T, texts ...string) string {
	return rawServer(t, func(c net.Conn) {
		for _, text := range texts {
			if _, err := c.Read(make([]byte, 64<<10)); err != nil {
				return
			}
			io.WriteString(c, text)
		}
		untilClosed(c)
	})
}

func TestMemcachedFailing(t *testing.T) {
	t.Parallel()
	if f, err := probeOnce(t, Memcached, "memcached://"+answering(t, "VERSION 1.6.18\r\n"), patience); err != nil || !strings.HasSuffix(f.Message, ": version 1.6.18") {
		t.Error(f.Message, err)
	}
	for answer, want := range map[string]string{
		"SERVER_ERROR out of memory\r\n": `the server answered "SERVER_ERROR out of memory"`,
		"ERROR\r\n":                      `the server answered "ERROR"`,
		"-ERR unknown command\r\n":       "does not speak memcached but Redis",
		"VERSION 1.6":                    "no answer within",
		strings.Repeat("x", 70<<10):      "does not speak memcached",
	} {
		_, err := probeOnce(t, Memcached, "memcached://"+answering(t, answer), second)
		wantFailure(t, err, probe.StageResponse, want)
	}
	_, err := probeOnce(t, Memcached, "memcached://app:hunter2pw@"+answering(t, "CLIENT_ERROR authentication failure for hunter2pw\r\n"), patience)
	wantFailure(t, err, probe.StageAuth, `authentication failed: "CLIENT_ERROR authentication failure for ***"`)
}

// natsServer says INFO, then answers what comes.
func natsServer(t *testing.T, info string, answers ...string) string {
	return rawServer(t, func(c net.Conn) {
		io.WriteString(c, info)
		for _, text := range answers {
			if _, err := c.Read(make([]byte, 4096)); err != nil {
				return
			}
			io.WriteString(c, text)
		}
		untilClosed(c)
	})
}

func TestNATSFailing(t *testing.T) {
	t.Parallel()
	const info = "INFO {\"version\":\"2.9.10\"}\r\n"
	// A server may ask whether the client is there before it answers.
	f, err := probeOnce(t, NATS, "nats://"+natsServer(t, info, "+OK\r\nPING\r\n", "INFO {}\r\nPONG\r\n"), patience)
	if err != nil || !strings.HasSuffix(f.Message, ": PONG, version 2.9.10") {
		t.Error(f.Message, err)
	}
	for _, c := range []struct {
		info, answer string
		stage        probe.Stage
		want         string
	}{
		{"-ERR 'maximum connections exceeded'\r\n", "", probe.StageResponse, `the server refuses: "maximum connections exceeded"`},
		{info, "-ERR 'Authorization Violation'\r\n", probe.StageAuth, `authentication failed: "Authorization Violation"`},
		{info, "-ERR 'User Authentication Expired'\r\n", probe.StageAuth, "authentication failed"},
		{info, "-ERR 'Secure Connection - TLS Required'\r\n", probe.StageTLS, "the server wants TLS"},
		{info, "HELLO\r\n", probe.StageResponse, "neither PONG nor an error"},
		{"INFO {\r\n", "", probe.StageResponse, "does not speak NATS"},
		{"INFO " + strings.Repeat("x", 70<<10), "", probe.StageResponse, "INFO is too long"},
	} {
		_, err := probeOnce(t, NATS, "nats://"+natsServer(t, c.info, c.answer), second)
		wantFailure(t, err, c.stage, c.want)
	}
}

// The settings of TLS are those of each broker that speaks it, with or without
// an s: NATS says by itself that it wants TLS.
func TestBrokersTakeSettingsOfTLS(t *testing.T) {
	secure := natsServer(t, "INFO {\"tls_required\":true}\r\n")
	silent := rawServer(t, untilClosed)
	for _, text := range []string{"nats://" + secure, "natss://" + secure, "mqtts://" + silent, "amqps://" + silent, "kafkas://" + silent} {
		_, err := probeOnce(t, New, text+"#ca-cert=/no/such/file", patience)
		wantFailure(t, err, probe.StageTLS, `CA certificate "/no/such/file": no such file`)
	}
	for _, in := range []string{"mqtt://h#ca-cert=/x", "memcached://h#insecure", "fastcgi://h/ping#cert-days=9"} {
		wantBadTarget(t, in, "is for TLS")
	}
}

func TestMQTTRefusals(t *testing.T) {
	for answer, c := range map[string]struct {
		stage probe.Stage
		want  string
	}{
		"\x20\x02\x00\x01":     {probe.StageRequest, "does not take MQTT 3.1.1 (code 1)"},
		"\x20\x02\x00\x02":     {probe.StageRequest, "refuses the client's name"},
		"\x20\x02\x00\x03":     {probe.StageStatus, "unavailable"},
		"\x20\x02\x00\x04":     {probe.StageAuth, "wrong user or password"},
		"\x20\x02\x00\x05":     {probe.StageAuth, "not authorized"},
		"\x20\x02\x00\x99":     {probe.StageResponse, "code 153"},
		"\x20\x03\x00\x84\x00": {probe.StageResponse, "does not speak MQTT"},
		"AMQP\x00\x00\x09\x01": {probe.StageResponse, "does not speak MQTT but AMQP"},
	} {
		_, err := probeOnce(t, MQTT, "mqtt://u:hunter2@"+answering(t, answer), patience)
		wantFailure(t, err, c.stage, c.want)
	}
	// A name of its own for each session: the same one would end another's.
	ids := make(chan string, 2)
	addr := rawServer(t, func(c net.Conn) {
		buf := make([]byte, 256)
		n, _ := c.Read(buf)
		ids <- string(buf[14:n])
		io.WriteString(c, "\x20\x02\x00\x00")
		untilClosed(c)
	})
	for range 2 {
		if _, err := probeOnce(t, MQTT, "mqtt://"+addr, patience); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-ids, <-ids; a == b || len(a) != 23 || len(b) != 23 {
		t.Errorf("the names %q and %q", a, b)
	}
}

// amqpFrame is one of a server's methods.
func amqpFrame(method byte, args string) string { return string(amqpMethod(method, []byte(args))) }

func longText(text string) string { return amqpTable(text) }

func TestAMQPFailing(t *testing.T) {
	t.Parallel()
	properties := "\x07productS" + longText("RabbitMQ") + "\x07versionS" + longText("3.10.8") + "\x04infoF" + longText("\x01xt\x01") + "\x01nV"
	start := amqpFrame(amqpStart, "\x00\x09"+longText(properties)+longText("AMQPLAIN PLAIN")+longText("en_US"))
	tune := amqpFrame(amqpTune, "\x07\xff\x00\x02\x00\x00\x00\x3c")
	closes := func(code uint16, text string) string {
		return amqpFrame(amqpEnd, string(binary.BigEndian.AppendUint16(nil, code))+string(rune(len(text)))+text+"\x00\x00\x00\x00")
	}
	heartbeat := "\x08\x00\x00\x00\x00\x00\x00\xce"
	f, err := probeOnce(t, AMQP, "amqp://"+answering(t, start, heartbeat+tune, amqpFrame(amqpOpenOK, "\x00"), amqpFrame(amqpCloseOK, "")), patience)
	if err != nil || !strings.HasSuffix(f.Message, ": RabbitMQ 3.10.8, virtual host / is open") {
		t.Error(f.Message, err)
	}
	for _, c := range []struct {
		answers []string
		stage   probe.Stage
		want    string
	}{
		{[]string{start, closes(403, "ACCESS_REFUSED - login refused, hunter2pw")}, probe.StageAuth, `access refused: "ACCESS_REFUSED - login refused, ***" (403)`},
		{[]string{start, tune, closes(530, "NOT_ALLOWED - vhost x not found")}, probe.StageRequest, "no such virtual host"},
		{[]string{start, tune, closes(530, "NOT_ALLOWED - access to vhost 'x' refused for user 'u'")}, probe.StageAuth, "access refused"},
		{[]string{start, tune, closes(541, "INTERNAL_ERROR - access to vhost 'x' is down")}, probe.StageStatus, "the virtual host is down"},
		{[]string{start, tune, closes(530, "NOT_ALLOWED - connection limit (1) is reached")}, probe.StageResponse, "too many connections"},
		{[]string{start, tune, closes(320, "CONNECTION_FORCED - broker forced connection closure")}, probe.StageStatus, "sends its clients away"},
		{[]string{amqpFrame(amqpStart, "\x00\x09"+longText("")+longText("EXTERNAL")+longText(""))}, probe.StageAuth, `takes no PLAIN authentication, but "EXTERNAL"`},
		{[]string{start, amqpFrame(amqpSecure, longText("x"))}, probe.StageAuth, "asks for more than PLAIN"},
		{[]string{"AMQP\x00\x01\x00\x00"}, probe.StageResponse, "does not speak AMQP 0-9-1 but 1-0-0"},
		{[]string{amqpFrame(amqpStart, "\x00\x09\xff\xff\xff\xff")}, probe.StageResponse, "does not speak AMQP"},
		{[]string{amqpFrame(99, "")}, probe.StageResponse, "does not speak AMQP"},
	} {
		_, err := probeOnce(t, AMQP, "amqp://u:hunter2pw@"+answering(t, c.answers...), second)
		wantFailure(t, err, c.stage, c.want)
	}
}

// kafkaServer answers each request with the next body.
func kafkaServer(t *testing.T, bodies ...string) string {
	return rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for _, body := range bodies {
			head := make([]byte, 12)
			if _, err := io.ReadFull(r, head); err != nil {
				return
			}
			io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head))-8)
			answer := append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), head[8:]...)
			c.Write(append(answer, body...))
		}
		untilClosed(c)
	})
}

func TestKafkaFailing(t *testing.T) {
	t.Parallel()
	versions := "\x00\x00" + "\x00\x00\x00\x02" + "\x00\x12\x00\x00\x00\x03" + "\x00\x03\x00\x00\x00\x09"
	broker := "\x00\x00\x00\x01" + "\x00\x01h" + "\x00\x00\x23\x84" + "\xff\xff"
	cluster := "\xff\xff" + "\x00\x00\x00\x01"
	partition := func(id byte, leader string) string {
		return "\x00\x00" + "\x00\x00\x00" + string(rune(id)) + leader + "\x00\x00\x00\x01\x00\x00\x00\x01" + "\x00\x00\x00\x00"
	}
	const none, one = "\xff\xff\xff\xff", "\x00\x00\x00\x01"
	topic := func(code string, partitions ...string) string {
		return one + code + "\x00\x06orders" + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(partitions)))) + strings.Join(partitions, "")
	}
	metadata := func(topics string) string { return "\x00\x00\x00\x00" + one + broker + cluster + topics }
	ok := metadata(topic("\x00\x00", partition(0, one), partition(1, one)))
	if f, err := probeOnce(t, Kafka, "kafka://"+kafkaServer(t, versions, ok)+"/orders", patience); err != nil || !strings.HasSuffix(f.Message, ": 1 broker, topic orders: each of 2 partitions has a leader") {
		t.Error(f.Message, err)
	}
	for _, c := range []struct {
		path    string
		answers []string
		stage   probe.Stage
		want    string
	}{
		{"", []string{versions, "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + cluster + "\x00\x00\x00\x00"}, probe.StageStatus, "the cluster has no brokers"},
		{"/orders", []string{versions, metadata(topic("\x00\x05", partition(0, one), partition(1, none)))}, probe.StageStatus, `topic "orders": 1 of 2 partitions have no leader: 1`},
		{"/orders", []string{versions, metadata(topic("\x00\x03"))}, probe.StageRequest, `no topic "orders"`},
		{"/orders", []string{versions, metadata(topic("\x00\x1d"))}, probe.StageAuth, "not permitted to see"},
		{"/orders", []string{versions, metadata(topic("\x00\x11"))}, probe.StageRequest, "is no name for a topic"},
		{"/orders", []string{versions, metadata(topic("\x00\x07"))}, probe.StageResponse, "error 7"},
		{"/orders", []string{versions, metadata("\x00\x00\x00\x00")}, probe.StageResponse, "an answer that ends too early"},
		{"/orders", []string{versions, metadata(topic("\x00\x00", "\x00\x00\x00"))}, probe.StageResponse, "an answer that ends too early"},
		{"/orders", []string{versions, "\x00\x00\x00\x00" + none}, probe.StageResponse, "an answer that ends too early"},
		{"", []string{"\x00\x23\x00\x00\x00\x00"}, probe.StageResponse, "ApiVersions: error 35"},
		{"", []string{"\x00\x00" + one + "\x00\x03\x00\x00\x00\x02"}, probe.StageRequest, "the server takes Metadata in the versions 0 to 2, want 4"},
		{"?mechanism=SCRAM-SHA-256", []string{versions, "\x00\x21" + one + "\x00\x05PLAIN"}, probe.StageAuth, `the server takes no SCRAM-SHA-256, but "PLAIN"`},
		{"", []string{versions, "\x00\x22\x00\x00\x00\x00"}, probe.StageAuth, "the listener may want no authentication"},
		{"", []string{versions, "\x00\x00" + one + "\x00\x05PLAIN", "\x00\x3a\x00\x0dno, hunter2pw\x00\x00\x00\x00"}, probe.StageAuth, `authentication failed: "no, ***" (error 58)`},
		{"?mechanism=SCRAM-SHA-256", []string{versions, "\x00\x00" + one + "\x00\x0dSCRAM-SHA-256", "\x00\x00\xff\xff\x00\x00\x00\x0ar=x,s=,i=1"}, probe.StageAuth, "fewer than 4096 iterations"},
	} {
		user := ""
		if strings.Contains(c.want, "authenti") || strings.Contains(c.want, "SCRAM") || strings.Contains(c.want, "iterations") {
			user = "app:hunter2pw@"
		}
		_, err := probeOnce(t, Kafka, "kafka://"+user+kafkaServer(t, c.answers...)+c.path, second)
		wantFailure(t, err, c.stage, c.want)
	}
	_, err := probeOnce(t, Kafka, "kafka://"+answering(t, "\x7f\xff\xff\xff\x00\x00\x00\x01"), second)
	wantFailure(t, err, probe.StageResponse, "does not speak Kafka")
}

// FuzzBrokers: whatever a server sends, no crash, and no partition that has a
// leader by chance.
func FuzzBrokers(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x01h\x00\x00\x23\x84\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte(amqpFrame(amqpEnd, "\x01\x40\x02xy\x00\x00\x00\x00")))
	f.Add([]byte("\x07productS\x00\x00\x00\x08RabbitMQ\x01xF\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		tg := target.Target{Secrets: &target.Secrets{}}
		for _, topic := range []string{"", "orders"} {
			text, err := (&kafkaCheck{target: tg, topic: topic}).judge(&wire{rest: sent})
			if err == nil && (strings.HasPrefix(text, "0 ") || len(text) == 0) {
				t.Errorf("accepted %x", sent)
			}
		}
		amqpTexts(&wire{rest: sent})
		amqpRead(strings.NewReader(string(sent)), amqpStart)
		(&natsCheck{target: tg}).readInfo(strings.NewReader(string(sent)))
	})
}
