package e2e

import (
	"strings"
	"testing"
)

// The kernel's own refusals, in real containers: a device node without its
// cgroup's leave is what systemctl daemon-reload leaves behind, one with leave
// and no driver is a host without the module.
func TestGPUDeviceNodes(t *testing.T) {
	image := buildImageWith(t, []string{"/bin/busybox"}, "COPY busybox /bin/busybox", `CMD ["/demo", "serve", ":5000"]`)
	for _, c := range []struct {
		name  string
		args  []string
		mknod bool
		user  string
		want  string
		code  int // with --gpu-optional
	}{
		{"not injected", nil, false, "0", "no such file or directory (run the container with --gpus all", 0},
		{"lost cgroup", nil, true, "0", "operation not permitted (the container has lost its device cgroup", 1},
		{"no driver", []string{"--device-cgroup-rule", "c 195:* rwm"}, true, "0", "no such device or address (load the NVIDIA driver on the host)", 0},
		{"no permission", []string{"--device-cgroup-rule", "c 195:* rwm"}, true, "65534", "permission denied (the probe's user may not open the device", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := start(t, append(c.args, image)...)
			if c.mknod {
				docker(t, "exec", id, "/bin/busybox", "mknod", "-m", "600", "/dev/nvidiactl", "c", "195", "255")
			}
			out, code := output(t, nil, "docker", "exec", "--user", c.user, id, "/healthcheck", "--layers", "gpu")
			if code != 1 || !strings.Contains(out, c.want) {
				t.Errorf("exit %d, want %q: %s", code, c.want, out)
			}
			if _, code := output(t, nil, "docker", "exec", "--user", c.user, id, "/healthcheck", "--gpu-optional", "--layers", "gpu"); code != c.code {
				t.Errorf("--gpu-optional: exit %d, want %d", code, c.code)
			}
		})
	}
}
