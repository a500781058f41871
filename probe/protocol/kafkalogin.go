package protocol

import (
	"encoding/binary"
	"slices"
	"strings"

	"healthcheck/probe"
)

// Authentication by SASL, as the requests SaslHandshake and SaslAuthenticate
// carry it.

// login authenticates with the mechanism that the target names, or by PLAIN.
func (k *kafkaCheck) login(s *kafkaSession) error {
	mechanism := k.mechanism
	if mechanism == "" {
		mechanism = "PLAIN"
	}
	w, err := s.call(kafkaHandshake, kafkaHandshakeVersion, kafkaText(nil, mechanism))
	if err != nil {
		return err
	}
	code := w.uint16()
	var offered []string
	for range min(w.uint32(), 20) {
		offered = append(offered, kafkaString(w))
	}
	if code != 0 {
		if slices.Contains(offered, mechanism) || len(offered) == 0 {
			return refusal(probe.StageAuth, "SASL %s: error %d: the listener may want no authentication", mechanism, code)
		}
		return refusal(probe.StageAuth, "the server takes no %s, but %s (?mechanism=)", mechanism, k.target.Secrets.Quote(strings.Join(offered, ", ")))
	}
	if mechanism == "PLAIN" {
		_, err := k.authenticate(s, []byte("\x00"+k.user+"\x00"+k.password))
		return err
	}
	return k.converse(s, newScram(mechanism, k.password))
}

// converse is the exchange of SCRAM's messages.
func (k *kafkaCheck) converse(s *kafkaSession, client *scramClient) error {
	first, err := k.authenticate(s, client.begin(k.user))
	if err != nil {
		return err
	}
	proof, err := client.answer(first)
	if err != nil {
		return refusal(probe.StageAuth, "SCRAM: %s", err)
	}
	last, err := k.authenticate(s, proof)
	if err != nil {
		return err
	}
	if err := client.finish(last); err != nil {
		return refusal(probe.StageAuth, "SCRAM: %s", err)
	}
	return nil
}

// authenticate sends one message of the exchange and returns the answer to it.
func (k *kafkaCheck) authenticate(s *kafkaSession, message []byte) ([]byte, error) {
	w, err := s.call(kafkaAuthenticate, kafkaAuthVersion, append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	if err != nil {
		return nil, err
	}
	code, text := w.uint16(), kafkaString(w)
	if code != 0 {
		return nil, refusal(probe.StageAuth, "authentication failed: %s (error %d)", k.target.Secrets.Quote(text), code)
	}
	answer := w.take(int(w.uint32()))
	if w.short {
		return nil, errKafkaShort
	}
	return answer, nil
}
