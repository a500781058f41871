//go:build root

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Giving a file to another user needs root: ./test.sh sets the tag,
// ./test.sh quick does not.

// A sample that another user has put there is not used.
func TestSampleOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--layers", "resource", "--cpu-max", "off", "--mem-max", "off", "--disk-max", "off", "--cpu-window", "60ms", "--state-dir", dir}
	execute(t, nil, args...)
	files, err := filepath.Glob(filepath.Join(dir, "healthcheck-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the sample is in %q, %v", files, err)
	}
	if err := os.Chown(files[0], 65534, 65534); err != nil {
		t.Fatal(err)
	}
	out, _, code := execute(t, nil, args...)
	if code != 0 || !strings.Contains(out, "over 60ms") || !strings.Contains(out, "(no sample kept: "+files[0]+" belongs to user 65534)") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// The first of two name servers is silent: the second is asked within the time
// of one check.
func TestSilentFirstNameServer(t *testing.T) {
	const silent, good = "127.0.53.2", "127.0.53.3"
	for _, addr := range []string{silent, good} {
		pc, err := net.ListenPacket("udp4", addr+":53")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		if addr == good {
			go answerLoopback(pc)
		}
	}
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+silent+"\nnameserver "+good+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(faultyServer(t, func(net.Conn) {}))
	out, err := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file, binary, "--layers", "db", "--db", "tcp://db.example.:"+port).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok   db ") {
		t.Errorf("%v: %s", err, out)
	}
}

// answerLoopback is a name server that has an A record of 127.0.0.1 for every
// name, and no other.
func answerLoopback(pc net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		var p dnsmessage.Parser
		head, err := p.Start(buf[:n])
		if err != nil {
			continue
		}
		q, err := p.Question()
		if err != nil {
			continue
		}
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: head.ID, Response: true, RecursionAvailable: true})
		b.StartQuestions()
		b.Question(q)
		b.StartAnswers()
		if q.Type == dnsmessage.TypeA {
			b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}})
		}
		if answer, err := b.Finish(); err == nil {
			pc.WriteTo(answer, from)
		}
	}
}
