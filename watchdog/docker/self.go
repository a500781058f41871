package docker

import (
	"os"
	"regexp"
)

// SelfID returns the id of the container that this program runs in, or empty:
// the engine mounts its own files into every container from a directory that
// is named after it.
func SelfID() string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return selfID(string(text))
}

var containerFiles = regexp.MustCompile(`/(?:containers|overlay-containers)/([0-9a-f]{64})/[^ ]* /etc/(?:hostname|hosts|resolv\.conf) `)

func selfID(mountinfo string) string {
	if m := containerFiles.FindStringSubmatch(mountinfo); m != nil {
		return m[1]
	}
	return ""
}
