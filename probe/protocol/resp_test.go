package protocol

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"healthcheck/probe"

	"github.com/gomodule/redigo/redis"
)

// FuzzRESP: the same bytes are the same answers as with redigo, or fewer: its
// arrays may have any length, which it makes room for at once, and its numbers
// overflow.
func FuzzRESP(f *testing.F) {
	for _, sent := range []string{
		"+OK\r\n+PONG\r\n-LOADING x\r\n:7\r\n:-7\r\n$3\r\nabc\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n", "*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
		"", "+", "+OK", "+OK\n", "\r\n", "$", "$\r\n", "$x\r\n", "$-2\r\n", "$3\r\nab", "$3\r\nabcd\r\n", "$3\r\nabc\n", "$03\r\nabc\r\n", "$+3\r\nabc\r\n", ":\r\n", ":x\r\n", ":+1\r\n", ":-\r\n", ":1_0\r\n",
		"*2\r\n-ERR a\r\n+b\r\n", "*1\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "%1\r\n+a\r\n+b\r\n", "_\r\n", "+" + strings.Repeat("x", 5000) + "\r\n", "$5000\r\n" + strings.Repeat("x", 5000) + "\r\n",
		strings.Repeat("*1\r\n", 20) + "+a\r\n", "*1048577\r\n", "$1048577\r\n", ":9223372036854775807\r\n", ":9223372036854775808\r\n",
	} {
		f.Add([]byte(sent))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		own := newRESP(overBytes(sent))
		var got []string
		var gotErr error
		for {
			v, err := own.receive()
			if e, ok := err.(respError); ok {
				v = e
			} else if err != nil {
				gotErr = err
				break
			}
			got = append(got, fmt.Sprintf("%T %v", v, v))
		}
		library := redis.NewConn(sentBytes{nil, bytes.NewReader(sent)}, 0, 0)
		for i, text := range got {
			v, err := library.Receive()
			if e, ok := err.(redis.Error); ok {
				v = respError(e)
			} else if err != nil {
				t.Fatalf("%q: answer %d is %s, redigo: %v", sent, i, text, err)
			}
			if want := strings.ReplaceAll(fmt.Sprintf("%T %v", v, v), "redis.Error", "respError"); strings.ReplaceAll(text, "protocol.", "") != strings.ReplaceAll(want, "protocol.", "") {
				t.Fatalf("%q: answer %d is %s, want %s", sent, i, text, want)
			}
		}
		if gotErr == errRESP && stricterRESP(sent) {
			return
		}
		if v, err := library.Receive(); err == nil {
			t.Errorf("%q: %v after %q, redigo: %v", sent, gotErr, got, v)
		}
	})
}

// stricterRESP says whether there may be a number, a length, a line or a depth
// that redigo alone takes.
func stricterRESP(sent []byte) bool {
	digits, longest := 0, 0
	for _, b := range sent {
		if digits++; b < '0' || b > '9' {
			digits = 0
		}
		longest = max(longest, digits)
	}
	return longest > 6 || len(sent) > 4000 || bytes.Count(sent, []byte("*")) > maxRESPDepth
}

// An error that is longer than the buffer keeps its meaning, and so does what
// comes behind it.
func TestLongRedisErrors(t *testing.T) {
	for _, n := range []int{4080, 4084, 4085, 4086, 4087, 4088, 8180, 100_000} { // about the buffer's end, among others
		long := "-LOADING " + strings.Repeat("x", n) + "\r\n"
		conn := newRESP(overBytes([]byte(long + "+PONG\r\n")))
		if _, err := conn.receive(); err != respError(strings.TrimSuffix(long[1:], "\r\n")) {
			t.Errorf("%d: %.40v", n, err)
		}
		if v, err := conn.receive(); v != "PONG" || err != nil {
			t.Errorf("%d: %v, %v", n, v, err)
		}
	}
	addr := redisServer(t, "-LOADING "+strings.Repeat("x", 10_000)+"\r\n")
	_, err := probeOnce(t, Redis, "redis://"+addr, patience)
	wantFailure(t, err, probe.StageStatus, "LOADING xxx")
	if got := causeOf(t, "redis://"+redisServer(t, "-LOADING "+strings.Repeat("x", 10_000)+"\r\n"), false); got.Class != probe.Starting || len(err.Error()) > 1000 {
		t.Errorf("%+v, %d bytes", got, len(err.Error()))
	}
}

// What a server says of lengths does not make the probe take memory, or go deep.
func TestRESPIsBounded(t *testing.T) {
	for sent, want := range map[string]error{
		"*1048576\r\n": io.EOF, "*1048577\r\n": errRESP, "*999999999999\r\n": errRESP, "$1048577\r\n": errRESP, "$1048576\r\n": io.EOF,
		strings.Repeat("*1\r\n", maxRESPDepth) + "+a\r\n": nil, strings.Repeat("*1\r\n", maxRESPDepth+1) + "+a\r\n": errRESP, "+" + strings.Repeat("x", 1<<20): io.EOF,
		strings.Repeat(":1\r\n", maxRESP): io.EOF,
	} {
		conn := newRESP(overBytes([]byte(sent)))
		var err error
		for range maxRESP {
			if _, err = conn.receive(); err != nil || want == nil {
				break
			}
		}
		if err != want {
			t.Errorf("%.20q: %v, want %v", sent, err, want)
		}
	}
}
