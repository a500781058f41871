package lint

import (
	"fmt"
	"strings"
	"testing"
)

// A file in which each mapping merges the next one ten times over is read in
// one pass over its mappings.
func TestMergedManyTimesOver(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-30: &a30 {image: app}\n")
	for i := 29; i >= 0; i-- {
		fmt.Fprintf(&b, "x-%d: &a%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i+1), 10), ", "))
	}
	b.WriteString("services: {web: *a0}\nitems: &i [{items: *i}, {items: *i}]\n")
	root := yamlDocuments([]byte(b.String()))[0]
	if key, _, ok := lookup(root, []string{"services", "web", "image"}); !ok || key.Line != 1 {
		t.Errorf("%v %v", key, ok)
	}
	if _, _, ok := lookup(root, []string{"services", "web", "healthcheck"}); ok {
		t.Error("found what is not there")
	}
	if target, err := Kubernetes([]File{{"k.yaml", []byte("items: &i [{items: *i}, {items: *i}, {items: *i}]")}}); err != nil || len(target.Subjects) > 0 {
		t.Error(target, err)
	}
}
