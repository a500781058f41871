package protocol

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// MQTT makes the check for mqtt:// and mqtts://[user:password@]host[:1883][?client_id=]:
// CONNECT and CONNACK of MQTT 3.1.1, with a session of its own that ends with
// it. mqtts:// is TLS, on port 8883.
func MQTT(t target.Target, o Options) (probe.Func, error) {
	port, secure := "1883", t.URL.Scheme == "mqtts"
	if secure {
		port = "8883"
	}
	at, tls, err := oneEndpoint(t, o, port, secure)
	if err != nil {
		return nil, err
	}
	if strings.Trim(t.URL.Path, "/") != "" {
		return nil, errors.New("an mqtt target has no path: mqtt://host:1883")
	}
	q, err := t.Params("client_id")
	if err != nil {
		return nil, err
	}
	user, pw := userOf(t)
	if len(user)+len(pw)+len(q.Get("client_id")) > 60<<10 {
		return nil, errors.New("the user, the password or client_id= is too long")
	}
	if user == "" && pw != "" {
		return nil, errors.New("MQTT takes no password without a user: mqtt://user:password@host")
	}
	return session(t, at, tls, "MQTT", func(_ context.Context, conn *target.Conn) (string, error) {
		code, err := mqttConnect(conn, cmp.Or(q.Get("client_id"), "hc-"+rand.Text()[:20]), user, pw)
		if err != nil {
			return "", err
		}
		if code != 0 {
			stage, text := mqttRefusal(code)
			return "", refusal(stage, "CONNACK: %s (code %d)", text, code)
		}
		conn.Write([]byte{mqttDisconnect, 0})
		return "CONNACK: accepted", nil
	}), nil
}

// The packets of MQTT 3.1.1 (its section 2.2.1), with their flags.
const (
	mqttPacketConnect = 0x10
	mqttPacketConnack = 0x20
	mqttDisconnect    = 0xe0
)

// mqttConnect begins a session and returns the code that the server answers,
// zero where it accepts.
func mqttConnect(conn io.ReadWriter, id, user, pw string) (byte, error) {
	const cleanSession, hasUser, hasPassword, keepAlive = 0x02, 0x80, 0x40, 60
	flags := byte(cleanSession)
	texts := []string{id}
	if user != "" {
		flags |= hasUser
		texts = append(texts, user)
	}
	if pw != "" {
		flags |= hasPassword
		texts = append(texts, pw)
	}
	const level = 4 // MQTT 3.1.1
	body := append([]byte("\x00\x04MQTT"), level, flags, 0, keepAlive)
	for _, text := range texts {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(text))), text...)
	}
	packet := binary.AppendUvarint([]byte{mqttPacketConnect}, uint64(len(body))) // its lengths are written so (2.2.3)
	if _, err := conn.Write(append(packet, body...)); err != nil {
		return 0, err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, err
	}
	if answer[0] != mqttPacketConnack || answer[1] != 2 {
		return 0, errors.New("no CONNACK of MQTT 3.1.1")
	}
	return answer[3], nil
}

// mqttRefusal sorts the codes of CONNACK (MQTT 3.1.1, 3.2.2.3).
func mqttRefusal(code byte) (probe.Stage, string) {
	switch code {
	case 1:
		return probe.StageRequest, "the server does not take MQTT 3.1.1"
	case 2:
		return probe.StageRequest, "the server refuses the client's name (?client_id= gives another)"
	case 3:
		return probe.StageStatus, "the server is unavailable"
	case 4:
		return probe.StageAuth, "wrong user or password"
	case 5:
		return probe.StageAuth, "not authorized"
	}
	return probe.StageResponse, "the server refuses the session"
}
