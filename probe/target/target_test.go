package target

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"healthcheck/probe"
)

var testBase = &url.URL{Scheme: "http", Host: "localhost:5000"}

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
		if probe.Clean(shown) != shown {
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

func TestMayHang(t *testing.T) {
	mounts := ParseMountinfo(`22 1 0:20 / / rw - fuse.overlay fuse rw
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
