package watchdog

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// HostLoad reads how busy this host is: the load average and, where the kernel
// has it, the pressure: the share of the last ten seconds that something waited
// for. It is empty where neither can be read.
func HostLoad() string {
	return hostLoad("/proc", runtime.NumCPU())
}

func hostLoad(proc string, cpus int) string {
	var parts []string
	if text, err := os.ReadFile(proc + "/loadavg"); err == nil {
		if load := strings.Fields(string(text)); len(load) >= 3 {
			parts = append(parts, fmt.Sprintf("load %s on %d cores", load[0], cpus))
		}
	}
	for _, of := range []string{"cpu", "memory", "io"} {
		text, err := os.ReadFile(proc + "/pressure/" + of)
		if err != nil {
			continue
		}
		if _, rest, ok := strings.Cut(string(text), "some avg10="); ok {
			share, _, _ := strings.Cut(rest, " ")
			parts = append(parts, of+" pressure "+share+"%")
		}
	}
	return strings.Join(parts, ", ")
}
