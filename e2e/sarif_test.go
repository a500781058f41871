package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif" // brings the schema
	"github.com/xeipuuv/gojsonschema"
)

// sarifSchema returns the schema of SARIF 2.1.0 (OASIS, errata 1), as the source
// of a library has it; the library's own check first fills in what is missing.
func sarifSchema(t *testing.T) string {
	t.Helper()
	dir, code := output(t, nil, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3")
	if code != 0 {
		t.Fatal(dir)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(dir), "pkg/report/v210/sarif/schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	schema := ""
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			schema, err = strconv.Unquote(lit.Value)
		}
		return true
	})
	if err != nil || !strings.Contains(schema, "sarif-schema-2.1.0.json") {
		t.Fatalf("%v: %.200s", err, schema)
	}
	return schema
}

// What lint prints as SARIF is valid by the schema, which allows no key that it
// does not know.
func TestLintPrintsSARIF(t *testing.T) {
	schema, err := gojsonschema.NewSchema(gojsonschema.NewStringLoader(sarifSchema(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-f", "../testdata/lint/compose.yaml"}, {"-f", "../testdata/lint/public/sentry.yaml", "--env-file", "../testdata/lint/public/sentry.env"},
		{"-f", "../testdata/lint/public/awesome-nginx-golang.yaml"}, {"--kubernetes", "../testdata/lint/kubernetes/rules.yaml"}, {"--services", "nothing-has-this-name"},
	} {
		out, _ := output(t, nil, filepath.Join(bin, "watchdog"), append([]string{"lint", "--output", "sarif"}, args...)...)
		result, err := schema.Validate(gojsonschema.NewStringLoader(out))
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		for _, e := range result.Errors() {
			t.Errorf("%v: %s", args, e)
		}
	}
	for _, wrong := range []string{`{"version":"2.1.0"}`, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"message":{"text":"x"},"level":"info"}]}]}`} {
		if result, err := schema.Validate(gojsonschema.NewStringLoader(wrong)); err != nil || result.Valid() {
			t.Errorf("%s is valid: %v", wrong, err)
		}
	}
}
