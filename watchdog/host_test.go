package watchdog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostLoad(t *testing.T) {
	dir := t.TempDir()
	if got := hostLoad(dir, 2); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "pressure"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"loadavg":         "66.12 40.00 12.00 3/400 1234\n",
		"pressure/cpu":    "some avg10=81.50 avg60=40.00 avg300=9.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"pressure/memory": "no such format\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := hostLoad(dir, 2); got != "load 66.12 on 2 cores, cpu pressure 81.50%" {
		t.Errorf("got %q", got)
	}
	if got := HostLoad(); !strings.HasPrefix(got, "load ") {
		t.Errorf("this host: %q", got)
	}
}
