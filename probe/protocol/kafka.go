package protocol

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Kafka makes the check for kafka:// and kafkas://[user:password@]host[:9092][/TOPIC][?mechanism=]:
// ApiVersions and Metadata. There are brokers, and the topic that is named has a
// leader for each of its partitions; it is not created by the question. With a
// user it authenticates by SASL. kafkas:// is TLS.
func Kafka(t target.Target, o Options) (probe.Func, error) {
	at, tls, err := oneEndpoint(t, o, "9092", t.URL.Scheme == "kafkas")
	if err != nil {
		return nil, err
	}
	q, err := t.Params("mechanism")
	if err != nil {
		return nil, err
	}
	k := &kafkaCheck{target: t, topic: strings.Trim(t.URL.Path, "/"), mechanism: strings.ToUpper(q.Get("mechanism"))}
	if strings.Contains(k.topic, "/") || len(k.topic) > 249 {
		return nil, errors.New("the path is the name of one topic: kafka://host:9092/orders")
	}
	if !slices.Contains([]string{"", "PLAIN", kafkaSHA256, kafkaSHA512}, k.mechanism) {
		return nil, fmt.Errorf("mechanism=%q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", probe.Cut(q.Get("mechanism"), 40))
	}
	if k.user, k.password = userOf(t); k.mechanism != "" && k.user == "" {
		return nil, errors.New("mechanism= needs a user: kafka://user:password@host")
	}
	return session(t, at, tls, "Kafka", k.talk), nil
}

type kafkaCheck struct {
	target         target.Target
	topic          string // empty: none
	user, password string
	mechanism      string // empty: PLAIN
}

// The requests that are made, with the newest versions that are written without
// the compact encoding, which Kafka 1.0 and later know.
const (
	kafkaMetadata, kafkaMetadataVersion   = 3, 4
	kafkaHandshake, kafkaHandshakeVersion = 17, 1
	kafkaVersions, kafkaVersionsVersion   = 18, 0
	kafkaAuthenticate, kafkaAuthVersion   = 36, 0
)

const (
	kafkaSHA256 = "SCRAM-SHA-256"
	kafkaSHA512 = "SCRAM-SHA-512"
)

// kafkaSession makes one request after the other.
type kafkaSession struct {
	conn *target.Conn
	id   uint32
}

// maxKafkaReply bounds an answer, in bytes: a topic with ten thousand partitions
// takes under 1 MiB.
const maxKafkaReply = 4 << 20

// call makes one request; its answer begins behind its number.
func (s *kafkaSession) call(key, version uint16, body []byte) (*wire, error) {
	s.id++
	const client = "healthcheck"
	msg := binary.BigEndian.AppendUint32(nil, uint32(2+2+4+2+len(client)+len(body)))
	msg = binary.BigEndian.AppendUint16(msg, key)
	msg = binary.BigEndian.AppendUint16(msg, version)
	msg = binary.BigEndian.AppendUint32(msg, s.id)
	msg = append(kafkaText(msg, client), body...)
	if _, err := s.conn.Write(msg); err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(s.conn, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size < 4 || size > maxKafkaReply || binary.BigEndian.Uint32(head[4:]) != s.id {
		return nil, errors.New("not an answer to the request")
	}
	s.conn.Known = true
	rest := make([]byte, size-4)
	_, err := io.ReadFull(s.conn, rest)
	return &wire{rest: rest}, err
}

func kafkaText(msg []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint16(msg, uint16(len(text))), text...)
}

// kafkaString reads a text, which may be null.
func kafkaString(w *wire) string {
	if n := int16(w.uint16()); n > 0 {
		return string(w.take(int(n)))
	}
	return ""
}

var errKafkaShort = errors.New("an answer that ends too early")

func (k *kafkaCheck) talk(_ context.Context, conn *target.Conn) (string, error) {
	s := &kafkaSession{conn: conn}
	if err := s.versions(); err != nil {
		return "", err
	}
	if k.user != "" {
		if err := k.login(s); err != nil {
			return "", err
		}
	}
	var body []byte
	if k.topic == "" {
		body = []byte{0, 0, 0, 0} // no topics; null would be all
	} else {
		body = kafkaText([]byte{0, 0, 0, 1}, k.topic)
	}
	w, err := s.call(kafkaMetadata, kafkaMetadataVersion, append(body, 0)) // do not create it
	if err != nil {
		return "", err
	}
	return k.judge(w)
}

// versions asks which requests the server knows.
func (s *kafkaSession) versions() error {
	w, err := s.call(kafkaVersions, kafkaVersionsVersion, nil)
	if err != nil {
		return err
	}
	if code := w.uint16(); code != 0 {
		return refusal(probe.StageResponse, "ApiVersions: error %d", code)
	}
	for range min(w.uint32(), 1000) {
		key, least, most := w.uint16(), w.uint16(), w.uint16()
		switch {
		case w.short:
			return errKafkaShort
		case key == kafkaMetadata && (least > kafkaMetadataVersion || most < kafkaMetadataVersion):
			return refusal(probe.StageRequest, "the server takes Metadata in the versions %d to %d, want %d", least, most, kafkaMetadataVersion)
		}
	}
	return nil
}

// judge reads the answer to Metadata.
func (k *kafkaCheck) judge(w *wire) (string, error) {
	w.uint32() // how long it was throttled
	brokers := w.uint32()
	for range brokers {
		w.uint32()
		kafkaString(w)
		w.uint32()
		kafkaString(w)
		if w.short {
			return "", errKafkaShort
		}
	}
	kafkaString(w) // the cluster
	w.uint32()     // its controller
	topics := w.uint32()
	if w.short || topics > 1 || k.topic != "" && topics != 1 {
		return "", errKafkaShort
	}
	if brokers == 0 {
		return "", refusal(probe.StageStatus, "the cluster has no brokers")
	}
	text := fmt.Sprintf("%d brokers", brokers)
	if brokers == 1 {
		text = "1 broker"
	}
	if k.topic == "" {
		return text, nil
	}
	about, err := k.judgeTopic(w)
	return text + ", " + about, err
}

// judgeTopic reads what Metadata says of the one topic.
func (k *kafkaCheck) judgeTopic(w *wire) (string, error) {
	code := w.uint16()
	kafkaString(w)
	w.uint8() // whether it is internal
	partitions := w.uint32()
	name := probe.Cut(k.topic, 80)
	switch {
	case w.short:
		return "", errKafkaShort
	case code == 3:
		return "", refusal(probe.StageRequest, "no topic %q", name)
	case code == 29:
		return "", refusal(probe.StageAuth, "not permitted to see the topic %q", name)
	case code == 17:
		return "", refusal(probe.StageRequest, "%q is no name for a topic", name)
	case code != 0 && code != 5:
		return "", refusal(probe.StageResponse, "topic %q: error %d", name, code)
	}
	var orphans []string
	for range partitions {
		w.uint16()
		id, leader := w.uint32(), int32(w.uint32())
		w.take(4 * int(w.uint32())) // replicas
		w.take(4 * int(w.uint32())) // those in sync
		if w.short {
			return "", errKafkaShort
		}
		if leader < 0 {
			orphans = append(orphans, fmt.Sprint(id))
		}
	}
	if len(orphans) > 0 || partitions == 0 {
		const most = 10
		return "", refusal(probe.StageStatus, "topic %q: %d of %d partitions have no leader: %s", name, len(orphans), partitions,
			strings.Join(orphans[:min(most, len(orphans))], ", "))
	}
	return fmt.Sprintf("topic %s: each of %d partitions has a leader", k.topic, partitions), nil
}
