package kubernetes

import (
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// Every container of docs/recipes.md, in a pod that brings the probe in as the
// page shows it, is decoded as strictly as an API server does.
func TestRecipes(t *testing.T) {
	strict := decoder(t)
	page, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	indent := func(text string) string {
		return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
	}
	bring, n := "", 0
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		switch {
		case strings.Contains(m[1], "services:"):
			continue
		case strings.HasPrefix(m[1], "initContainers:"):
			bring = indent(m[1])
			continue
		}
		n++
		o, _, err := strict.Decode([]byte("apiVersion: v1\nkind: Pod\nspec:\n"+bring+"  containers:\n"+indent(m[1])), nil, nil)
		if err != nil {
			t.Errorf("%v:\n%s", err, m[1])
			continue
		}
		spec := o.(*corev1.Pod).Spec
		init := spec.InitContainers[0]
		for _, c := range spec.Containers {
			if len(probes(c)) == 0 || c.LivenessProbe == nil {
				t.Errorf("%s has no liveness probe", c.Name)
			}
			mounted := false
			for _, m := range c.VolumeMounts {
				mounted = mounted || m.Name == init.VolumeMounts[0].Name && m.MountPath == init.VolumeMounts[0].MountPath && m.ReadOnly
			}
			if !mounted || spec.Volumes[0].Name != init.VolumeMounts[0].Name {
				t.Errorf("%s: nothing brings the probe", c.Name)
			}
			for kind, p := range probes(c) {
				if p.Exec.Command[0] != init.Command[2] {
					t.Errorf("%s: %s calls %q, which is not installed", c.Name, kind, p.Exec.Command[0])
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("%d containers", n)
	}
}
