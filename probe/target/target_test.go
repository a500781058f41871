package target

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"healthcheck/probe"
)

var testBase = &url.URL{Scheme: "http", Host: "localhost:5000"}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]string{
		"/health":                                "http://localhost:5000/health",
		"//health/ready":                         "http://localhost:5000//health/ready",
		"/health?deep=1":                         "http://localhost:5000/health?deep=1",
		"  /health ":                             "http://localhost:5000/health",
		"main=/a%2Fb":                            "http://localhost:5000/a%2Fb",
		"HTTP://x/y":                             "http://x/y",
		"http://u:p@x/y?token=abc&n=1#status=20": "http://u:***@x/y?token=***&n=1",
		"http://tok@x/":                          "http://***@x/",
		"http://sk_live:@x/":                     "http://***@x/",
		"http://:pw@x/":                          "http://:***@x/",
		"http://:@x/":                            "http://***@x/",
		"postgres://user:p%40ss@db/app":          "postgres://user:***@db/app",
		"unix:///run/a.sock:/health":             "unix:///run/a.sock:/health",
		// Tokens in the user's place, and user names that are none.
		"qdrant://hunter2tok@x/docs": "qdrant://***@x/docs",
		"mysql://app@x/db":           "mysql://app@x/db",
		// Hosts as databases write them.
		"postgres://u:p@h1:5432,h2/db":                   "postgres://u:***@h1:5432,h2/db",
		"postgresql+psycopg2://u@%2Fvar%2Frun%2Fpg/db":   "postgresql+psycopg2://u@%2Fvar%2Frun%2Fpg/db",
		"jdbc:postgresql://h/db?user=u&password=hunter2": "postgresql://h/db?user=u&password=***",
		"http://x/?design=a&keyword=b&tokens=3&my_key=k": "http://x/?design=a&keyword=b&tokens=3&my_key=***",
		// Named like secrets, and none.
		"postgres://h/db?target_session_attrs=any&passfile=/p&sslkey=/k": "postgres://h/db?target_session_attrs=any&passfile=/p&sslkey=/k",
		"postgres://h/db?user=me@server":                                 "postgres://h/db?user=me@server",
		"/users/@me":                                                     "http://localhost:5000/users/@me",
		"http://x/#header=From:%20a@b":                                   "http://x/",
		"postgres://h/db?pasword=x&pswd=y&pword=z":                       "postgres://h/db?pasword=***&pswd=***&pword=***",
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

// Characters of the URL's own in a password are an error that repeats nothing
// and says how to write them.
func TestMislaidPasswords(t *testing.T) {
	for _, in := range []string{
		"http://admin:2024#Summer@host/", "http://admin:2024#status@host/", "elasticsearch://elastic:1234#x=y@es", "http://u:p@ss#word@host/",
		"postgres://app:9/b@localhost/app", "postgres://app:9?b@localhost/app", "postgres://app:9?b=c@localhost/app", "qdrant://9/tok@host",
		"redis://:12/34@h",
	} {
		tg, err := ParseTarget(in, testBase)
		if err == nil {
			t.Errorf("%q was taken for %q", in, tg.String())
			continue
		}
		if err != errMislaid { // a constant text holds nothing of the target
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParseTarget("http://u:50%off@h/", testBase); err == nil || !strings.Contains(err.Error(), "%25") || strings.Contains(err.Error(), "off@") {
		t.Error(err)
	}
}

// What is printed of a server's text: neither the secret nor the form in which
// HTTP sends it, but what is no secret.
func TestSecretsOfATarget(t *testing.T) {
	for in, c := range map[string]struct{ said, want string }{
		"qdrant://hunter2tok@x":               {"Basic aHVudGVyMnRvazo= of hunter2tok", "Basic *** of ***"},
		"http://hunter2tok:@x":                {"Basic aHVudGVyMnRvazo=", "Basic ***"},
		"http://u:hunter2@x/":                 {"Basic dTpodW50ZXIy of hunter2", "Basic *** of ***"},
		"http://x/?token_version=200":         {"status 200", "status 200"},
		"http://x/?authenticated=true&key=no": {"true or no", "true or no"},
		"http://x/?password=200":              {"status 200", "status ***"},
		"http://x/?key=123456":                {"a 123456", "a ***"},
		"postgres://h/?pasword=hunter2":       {`unknown "pasword" hunter2`, `unknown "pasword" ***`},
		"postgres://h/?pssword=1&psswd=22":    {"1 22 x1", "*** *** x1"},
		"mysql://h/?pw=1":                     {"is 1", "is ***"},
		// A user with a password that reads as a port and a setting.
		"http://u:9#json=hunter2@h/":     {"want hunter2@h/", "want ***@h/"},
		"http://u:9/#json=a@h/":          {"want a@h/", "want a@h/"},
		"http://u:9#header=From: me@x/y": {"From: me@x/y", "***@x/y"},
	} {
		tg, err := ParseTarget(in, testBase)
		if err != nil {
			t.Fatal(err)
		}
		if got := tg.Secrets.Redact(c.said); got != c.want {
			t.Errorf("%s: %q, want %q", in, got, c.want)
		}
	}
}

// What is not one target is refused, not asked for as it stands.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		want  *Misuse
		texts []string
	}{
		{errSeveral, []string{
			"http://a/,http://b/", "http://a/ http://b/", "http://a/;http://b/", "http://a/; http://b/", "http://a/|http://b/", "/health /ready", "/health;/ready", "/a\t/b",
			"http://a/health check", "http://a/x?y=1 2", "unix:///a.sock:/x y", "file:///my file", "http://a/\nhttp://b/",
			"/health --db postgres://app:hunter2@h/db", "x=/health --db y=/z", "/health#status=200 --db /x", "postgres://h/db?query=SELECT 1 --db redis://x", "postgres://h/db?query=SELECT 1 --quiet",
			"http://a/#status=200 http://b/", "http://a/#header=X: y http://b/", "http://a/#json=a=b;http://b/", "http://a/?x=1,x=/b",
		}},
		{errUnfilled, []string{
			"$URL", "${URL}", "http://localhost:$PORT/", "http://localhost:${PORT}/health", "http://$host/", "http://localhost:5000$HEALTH_PATH", "/health/$NAME",
			"/${NAME}", "/{{ .Values.path }}", "http://{{host}}/", "postgres://app:$DB_PASSWORD@h/db", "postgres://app:${PW}@h/db", "/x?y=$Y", "/x#json=a=$B",
			"/x#header=Authorization: Bearer ${TOKEN}", "x=$URL",
		}},
		{errQuotes, []string{`"/health"`, "'http://a/'", `x="/health"`}},
		{nil, []string{
			"/odata/$metadata?$filter=a", "postgres://u:pa$Word@h/db", "postgres://u:$ecret@h/db", "postgres://u:$ECRET!@h/db", "postgres://h1,h2/db", "http://a/x;v=1?a=1,2;b=3", "http://a/#status=200,204",
			"http://a/#header=Referer: http://b/", "http://a/#header=Accept: text/html, text/plain", "http://a/#body=^ok$", "postgres://h/db?query=SELECT 1", "http://a/#body=all is well",
			"postgres://h/db?query=SELECT $1", "http://a/#status=200,ca-cert=/x", "/a%20b", "/a%2C/b",
		}},
	} {
		for _, in := range c.texts {
			_, err := ParseTarget(in, testBase)
			if c.want == nil && err != nil || c.want != nil && err != c.want {
				t.Errorf("%q: %v, want %v", in, err, c.want)
			}
		}
	}
}

// A comma separates settings where one's name stands behind it.
func TestSettingsWithCommas(t *testing.T) {
	for in, want := range map[string]string{
		"status=204,json=db=up":                          "[{status 204} {json db=up}]",
		"status=200,204,insecure":                        "[{status 200,204} {insecure true}]",
		"header=Accept: a, b,body=x,y&json=a=1,json=b=2": "[{header Accept: a, b} {body x,y} {json a=1} {json b=2}]",
		"body=a%2Cstatus=3,4":                            "[{body a,status=3,4}]",
		"insecure,ca-cert=/x,/y":                         "[{insecure true} {ca-cert /x,/y}]",
		"body=a,status":                                  "[{body a,status}]",
		"stauts=1,status=2":                              "[{stauts 1} {status 2}]",
	} {
		if got, err := parseSettings(in); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", in, got, err, want)
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
