package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The README's first command, as a person types it.
func TestDemo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/demo")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "HEALTHCHECK_CPU_MAX=1") // not the demo's business
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"healthy: 6 checks passed", `db: GET http://127.0.0.1:`, `status 503, want 200: "pool exhausted"`,
		"/vector/health: no answer within 1s", "degraded: 1 of 6 warned", `{"status":"unhealthy",`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
}
