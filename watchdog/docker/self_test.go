package docker

import (
	"strings"
	"testing"
)

func TestSelfID(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	line := "700 690 254:0 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n"
	if got := selfID("22 1 0:20 / / rw - overlay overlay rw\n" + line); got != id {
		t.Errorf("got %q", got)
	}
	if got := selfID("22 1 0:20 / / rw - ext4 /dev/vda rw\n"); got != "" {
		t.Errorf("got %q", got)
	}
}
