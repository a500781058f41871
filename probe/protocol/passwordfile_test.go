package protocol

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Each scheme takes its password from the file, and says which file is wrong.
func TestPasswordFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good, empty, two := write("good", "\n\thunter2-hunter2=\r\n"), write("empty", " \n"), write("two", "hunter2\nhunter3\n")
	must(t, os.WriteFile(filepath.Join(dir, "long"), make([]byte, maxPasswordFile+1), 0o600))
	seen := map[string]string{}
	for _, s := range Schemes {
		given := s
		given.New = func(tg target.Target, _ Options) (probe.Func, error) {
			pw := tg.URL.Query().Get(s.Secret)
			if tg.URL.User != nil {
				pw, _ = tg.URL.User.Password()
			}
			seen[s.Name] = pw
			return New(tg, testOptions(t))
		}
		text := s.Name + "://app@127.0.0.1:1/"
		if strings.HasPrefix(s.Name, "pgvector") {
			text += "app"
		}
		if s.Secret != noSecret && s.Secret != password && s.Secret != userPassword {
			text = s.Name + "://127.0.0.1:1"
		}
		if s.Name == "mongodb+srv" {
			text = "mongodb+srv://app@no-such-host.invalid/"
		}
		if s.Name == "redis+unix" {
			text = "redis+unix:///no/such/file"
		}
		text = strings.TrimSuffix(text, "/")
		if s.Secret == noSecret {
			tg, err := target.ParseTarget(s.Name+":///x.sock:/y#password-file="+good, testBase)
			must(t, err)
			if _, err := New(tg, testOptions(t)); err == nil || !strings.Contains(err.Error(), "takes no password") {
				t.Errorf("%s: %v", s.Name, err)
			}
			continue
		}
		_, err := probeOnce(t, given.make, text+"#password-file="+good, patience)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "resolve") && !strings.Contains(err.Error(), "connect") {
			t.Errorf("%s: %v", s.Name, err)
		}
		if seen[s.Name] != "hunter2-hunter2=" {
			t.Errorf("%s was given the password %q", s.Name, seen[s.Name])
		}
	}
	for file, want := range map[string]string{empty: "the file is empty", two: "more than one line", dir + "/long": "larger than", dir + "/none": "no such file", dir: "not a regular file"} {
		tg, err := target.ParseTarget("redis://127.0.0.1:1#password-file="+file, testBase)
		must(t, err)
		run, err := New(tg, testOptions(t))
		must(t, err)
		_, err = run(t.Context())
		wantFailure(t, err, probe.StageAuth, "password-file", file, want)
	}
	if got := causeOf(t, "redis://127.0.0.1:1#password-file=/no/such/file", false); got.Class != probe.Config {
		t.Errorf("a file that is missing: %+v", got)
	}
}

// What a server repeats of the password is not printed.
func TestPasswordFileIsNotPrinted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("hunter2hunter2\n"), 0o600))
	tg, err := target.ParseTarget("redis://app@"+redisServer(t, "-ERR no user app with hunter2hunter2\r\n")+"#password-file="+file, testBase)
	must(t, err)
	run, err := New(tg, testOptions(t))
	must(t, err)
	_, err = run(t.Context())
	wantFailure(t, err, probe.StageAuth, `"ERR no user app with ***"`)
}

func TestBadPasswordFile(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/#password-file=/run/pw":                 "needs the user that it belongs to",
		"redis://:hunter2@h#password-file=/run/pw":        "given twice",
		"qdrant://h?api_key=hunter2#password-file=/run/p": "given twice",
		"redis://h#password-file=pw":                      "no absolute path",
		"redis://h?password-file=/run/pw":                 "password-file= is a setting",
		"tcp://h:1#password-file=/run/pw":                 "takes no password",
	} {
		wantBadTarget(t, in, want)
	}
}
