package watchdog

import (
	"encoding/json"
	"strings"
	"testing"
)

// Secrets of known shapes do not get into evidence; what is none stays.
func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"connect postgres://app:hunter2@db/x failed":                                  "connect postgres://app:***@db/x failed",
		"postgres://app:hun@ter2@db/x":                                                "postgres://app:***@ter2@db/x", // the rest of an unescaped one cannot be told from a host
		"redis://:hunter2@h":                                                          "redis://:***@h",
		"GET / Authorization: Bearer hunter2.abc-d":                                   "GET / Authorization: Bearer ***",
		`{"password": "hunter2", "user": "a"}`:                                        `{"password": "***", "user": "a"}`,
		"DB_PASSWORD=hunter2 DEBUG=1":                                                 "DB_PASSWORD=*** DEBUG=1",
		"app --password hunter2 --port 80":                                            "app --password *** --port 80",
		"app --token=hunter2":                                                         "app --token=***",
		"api_key: hunter2, next":                                                      "api_key: ***, next",
		"key AKIAIOSFODNN7EXAMPLE of AWS":                                             "key *** of AWS",
		"ghp_0123456789abcdefghijABCDEF":                                              "***",
		"sk-proj-0123456789abcdef":                                                    "***",
		"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end":                           "jwt *** end",
		"a -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY----- b": "a *** b",
		"-----BEGIN PRIVATE KEY-----\nhunter2":                                        "***",
		"listening on http://0.0.0.0:8080/ in 3 ms":                                   "listening on http://0.0.0.0:8080/ in 3 ms",
		"status 503 at 12:00:01: no space left":                                       "status 503 at 12:00:01: no space left",
	} {
		if got := redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	var v any
	if err := json.Unmarshal([]byte(`{"Config": {"Env": ["API_TOKEN=hunter2", "PATH=/bin", "KEY=5", "URL=http://u:hunter2@h"], "Cmd": ["app", "--secret=hunter2"]}, "Labels": {"my.token": "hunter2", "a": "b"}, "N": 1}`), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(redactAll(v))
	if err != nil || strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), "PATH=/bin") || !strings.Contains(string(out), "KEY=5") || !strings.Contains(string(out), `"a":"b"`) {
		t.Errorf("%v %s", err, out)
	}
}
