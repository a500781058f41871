package protocol

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

func TestBadTargetsAreNotSilentlyTaken(t *testing.T) {
	kinds := map[string]func(target.Target, Options) (probe.Func, error){"http": HTTP, "tcp": TCP, "dns": DNS, "file": File, "pidfile": Pidfile, "unix": Unix}
	for in, want := range map[string]string{
		"http:///health":                 "no host",
		"http://x:70000/":                "the port is not between 1 and 65535",
		"http://x/#statsu=200":           `unknown setting "statsu"`,
		"http://x/#status=abc":           `status="abc"`,
		"http://x/#body=(":               "body=",
		"http://x/#header=hunter2secret": "not NAME: VALUE",
		"http://x/#max-redirects=-1":     "max-redirects",
		"tcp://x":                        "a host and a port",
		"tcp://x:0":                      "the port is not between",
		"tcp://x:1/path":                 "no path",
		"tcp://x:1?a=b":                  "takes no parameters",
		"tcp://x:1#a=b":                  "takes no settings",
		"dns://x?type=LOC":               "unknown record type",
		"dns://x?sever=1.1.1.1":          `unknown parameter "sever"`,
		"dns://x/y":                      "a dns target is a name",
		"file://relative/path":           "absolute",
		"file:///x?max-age=60":           "such as 60s",
		"file:///x?maxage=60s":           "unknown parameter",
		"pidfile:///":                    "absolute",
		"unix://run/a.sock:/x":           "absolute",
		"unix:///run/a.sock:health":      "must begin with /",
		"unix:///run/a.sock#status=200":  "takes no settings",
	} {
		tg, err := target.ParseTarget(in, testBase)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		_, err = kinds[tg.URL.Scheme](tg, testOptions(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2secret") {
			t.Errorf("the error repeats a header: %v", err)
		}
	}
}

func TestDNS(t *testing.T) {
	if _, err := probeOnce(t, DNS, "dns://localhost", 5*time.Second); err != nil {
		t.Error(err)
	}
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+silent.LocalAddr().String(), 300*time.Millisecond)
	wantFailure(t, err, probe.StageResolve, `resolve "name.example."`, "no answer within 300ms")
	// NXDOMAIN from a server of the test's own.
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, probe.StageResolve, `resolve "name.example.": no such host`)
	_, err = probeOnce(t, DNS, "dns://name.example.?type=mx&server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, probe.StageResolve, "no such host")
}

// nxdomain serves DNS answers that say the name does not exist.
func nxdomain(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			buf[2], buf[3] = 0x81, 0x83 // a response; recursion available; name error
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			copy(buf[6:12], make([]byte, 6)) // no records, and no EDNS
			pc.WriteTo(buf[:min(end, n)], from)
		}
	}()
	return pc.LocalAddr().String()
}

func TestFileHeartbeat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beat")
	_, err := probeOnce(t, File, "file://"+path, time.Second)
	wantFailure(t, err, probe.StageRead, path+": no such file or directory")
	must(t, os.WriteFile(path, nil, 0o600))
	if f, err := probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second); err != nil || !strings.Contains(f.Message, "(max 1m0s)") {
		t.Errorf("%q, %v", f.Message, err)
	}
	for _, shift := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		must(t, os.Chtimes(path, time.Time{}, time.Now().Add(shift)))
		_, err = probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second)
		wantFailure(t, err, probe.StageLimit, "want at most 1m0s")
	}
	_, err = probeOnce(t, File, "file://"+filepath.Dir(path), time.Second)
	wantFailure(t, err, probe.StageRead, "not a regular file")
}

func TestPidfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	write := func(text string) { must(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(fmt.Sprintf("%d\n", os.Getpid()))
	if f, err := probeOnce(t, Pidfile, "pidfile://"+path, time.Second); err != nil || !strings.Contains(f.Message, "is running") {
		t.Errorf("%q, %v", f.Message, err)
	}
	for text, want := range map[string]string{"": "no process id in it", "abc": `no process id in it: "abc"`, "-1": "no process id", "0": "no process id", "99999999999999999999": "no process id"} {
		write(text)
		_, err := probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
		wantFailure(t, err, probe.StageRead, want)
	}
	// A child that has ended and was not waited for is a zombie.
	child := exec.Command("/bin/true")
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	out.Read(make([]byte, 1)) // its end of the pipe closes when it ends
	write(fmt.Sprint(child.Process.Pid))
	deadline := time.Now().Add(5 * time.Second)
	for {
		_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
		if err != nil || time.Now().After(deadline) {
			break
		}
	}
	wantFailure(t, err, probe.StageStatus, "(true) is a zombie")
	child.Wait()
	_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
	wantFailure(t, err, probe.StageStatus, "does not run")
}

func TestParseStat(t *testing.T) {
	for in, want := range map[string]string{
		"12 (a) b) S 1": "(a) b) S", "12 (x) Z 1": "(x) Z", "": " \x00", "12 (x": " \x00", "12 (x)": " \x00",
	} {
		name, state := parseStat([]byte(in))
		if got := name + " " + string(rune(state)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
