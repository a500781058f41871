package probe

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]string{
		"/health":                                "http://localhost:5000/health",
		"/health?deep=1":                         "http://localhost:5000/health?deep=1",
		"  /health ":                             "http://localhost:5000/health",
		"main=/a%2Fb":                            "http://localhost:5000/a%2Fb",
		"HTTP://x/y":                             "http://x/y",
		"http://u:p@x/y?token=abc&n=1#status=20": "http://u:***@x/y?token=***&n=1",
		"http://tok@x/":                          "http://***@x/",
		"postgres://user:p%40ss@db/app":          "postgres://user:***@db/app",
		"unix:///run/a.sock:/health":             "unix:///run/a.sock:/health",
	} {
		tg, err := ParseTarget(in, testBase)
		if err != nil || tg.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, tg.String(), err, want)
		}
	}
	for _, in := range []string{"", "  ", "main=", "health", "localhost:5000", "http://[::1", "http://x:99x/", "http://%zz/", "/a#x=%zz"} {
		if tg, err := ParseTarget(in, testBase); err == nil {
			t.Errorf("%q was taken for %q", in, tg.String())
		}
	}
}

func TestBadTargetsAreNotSilentlyTaken(t *testing.T) {
	kinds := map[string]func(Target, HTTPOptions) (Func, error){"http": HTTP, "tcp": TCP, "dns": DNS, "file": File, "pidfile": Pidfile, "unix": Unix}
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
		tg, err := ParseTarget(in, testBase)
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

// FuzzParseTarget throws passwords at every place of a target.
func FuzzParseTarget(f *testing.F) {
	f.Add("/health", "secretword")
	f.Add("http://u:PW@h/?token=PW#header=X: PW", "p@ss w/o:rd?#&%")
	f.Add("x=postgres://u:PW@h:5432/db?sslpassword=PW", "a%zz")
	f.Add("unix:///run/PW:/x", "")
	f.Fuzz(func(t *testing.T, text, pw string) {
		if len(pw) < 6 || strings.Trim(pw, "*%/. ") == "" {
			return
		}
		in := strings.ReplaceAll(text, "PW", pw)
		tg, err := ParseTarget(in, testBase)
		if err != nil {
			return
		}
		shown := tg.String()
		if Clean(shown) != shown {
			t.Errorf("not clean: %q", shown)
		}
		if real, ok := tg.URL.User.Password(); ok && len(real) > 5 && real != "******" &&
			strings.Contains(tg.Secrets.Redact(real), real) {
			t.Errorf("the password survives: %q", in)
		}
		if u := tg.URL.User; u != nil {
			if real, ok := u.Password(); ok && real == pw && strings.Count(in, pw) == 1 && strings.Contains(shown, pw) {
				t.Errorf("%q is shown as %q", in, shown)
			}
		}
	})
}

func TestDNS(t *testing.T) {
	if _, err := probeOnce(t, DNS, "dns://localhost", 5*time.Second); err != nil {
		t.Error(err)
	}
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+silent.LocalAddr().String(), 300*time.Millisecond)
	wantFailure(t, err, StageResolve, `resolve "name.example."`, "no answer within 300ms")
	// NXDOMAIN from a server of the test's own.
	_, err = probeOnce(t, DNS, "dns://name.example.?server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, StageResolve, `resolve "name.example.": no such host`)
	_, err = probeOnce(t, DNS, "dns://name.example.?type=mx&server="+nxdomain(t), 5*time.Second)
	wantFailure(t, err, StageResolve, "no such host")
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
	wantFailure(t, err, StageRead, path+": no such file or directory")
	must(t, os.WriteFile(path, nil, 0o600))
	if f, err := probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second); err != nil || !strings.Contains(f.Message, "(max 1m0s)") {
		t.Errorf("%q, %v", f.Message, err)
	}
	for _, shift := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		must(t, os.Chtimes(path, time.Time{}, time.Now().Add(shift)))
		_, err = probeOnce(t, File, "file://"+path+"?max-age=60s", time.Second)
		wantFailure(t, err, StageLimit, "want at most 1m0s")
	}
	_, err = probeOnce(t, File, "file://"+filepath.Dir(path), time.Second)
	wantFailure(t, err, StageRead, "not a regular file")
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
		wantFailure(t, err, StageRead, want)
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
	wantFailure(t, err, StageStatus, "(true) is a zombie")
	child.Wait()
	_, err = probeOnce(t, Pidfile, "pidfile://"+path, time.Second)
	wantFailure(t, err, StageStatus, "does not run")
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

func TestMayHang(t *testing.T) {
	mounts := parseMountinfo(`22 1 0:20 / / rw - fuse.overlay fuse rw
23 22 0:21 / /data rw - nfs4 host:/x rw
24 22 0:22 / /my\040disk rw - fuse.sshfs host:/y rw
25 23 0:23 / /data/local rw - ext4 /dev/sda1 rw
`)
	links := map[string]string{"/link": "/data/x", "/rel": "data", "/chain": "rel", "/self": "/self", "/safe": "/data/local"}
	readlink := func(p string) (string, error) {
		if (p == "/data" || strings.HasPrefix(p, "/data/")) && !strings.HasPrefix(p, "/data/local") || strings.HasPrefix(p, "/my disk") {
			t.Errorf("%s was touched", p)
		}
		if to, ok := links[p]; ok {
			return to, nil
		}
		return "", errors.New("not a link")
	}
	for path, want := range map[string]bool{
		"/": false, "/etc": false, "/data": true, "/data/a/b": true, "/database": false, "/data/local": true,
		"/my disk/a": true, "/link": true, "/link/deep": true, "/rel/x": true, "/chain": true, "/self": false, "/safe": true,
	} {
		if got := mayHang(mounts, path, readlink); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
