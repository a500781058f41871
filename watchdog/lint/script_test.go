package lint

import (
	"os"
	"testing"
	"time"
)

func TestScriptLimit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       time.Duration
	}{
		{"a.py", "requests.get(u, timeout=3)\nrequests.get(u, timeout=2.5)\n", 5500 * time.Millisecond},
		{"a.py", "# requests.get(u, timeout=3)\nx = 1  # requests.get(u, timeout=3)\n", 0},
		{"a.py", "'''\nrequests.get(u, timeout=3)\n'''\n\"\"\" x \"\"\"; requests.get(u, timeout=1)\n", time.Second},
		{"a.py", "requests.get('timeout=9', timeout=1)\nrequests.get(\"#\", timeout=1)\n", 2 * time.Second},
		{"a.py", "requests.get(\n    u,\n    # timeout=9\n    timeout=4,\n)\n", 4 * time.Second},
		{"a.py", "timeout = 9\ninterval=9\nconfig(timeout=9)\n", 0},
		{"a.py", "psutil.cpu_percent(interval=1)\npsutil.cpu_percent(2)\ntime.sleep(3)\nurlopen(u, timeout=1)\n", 7 * time.Second},
		{"a.py", "for u in urls:\n    requests.get(u, timeout=3)\n", 0},
		{"a.py", "requests.get(u, timeout=3)\r\n# timeout=5\r\n", 3 * time.Second},
		{"a.sh", "curl -m 3 u && wget -T 4 u\nsleep 2\n", 9 * time.Second},
		{"a.sh", "if x; then curl -m 3 u; fi", 0},
		{"a.sh", "(", 0},
		{"check", "#!/usr/bin/env python3\nrequests.get(u, timeout=3)\n", 3 * time.Second},
		{"check", "#!/bin/sh\ntimeout 5 curl u\n", 5 * time.Second},
		{"a.js", "requests.get(u, timeout=3)\n", 0},
	} {
		if got := scriptLimit(c.name, c.text); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.name, c.text, got, c.want)
		}
	}
	seed, err := os.ReadFile("../../testdata/lint/seed/health_check.py")
	if err != nil {
		t.Fatal(err)
	}
	if got := scriptLimit("health_check.py", string(seed)); got != 16*time.Second {
		t.Errorf("the seed's script: %s", got)
	}
}
