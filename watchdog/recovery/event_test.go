package recovery

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// The table of events, which the documentation is compared with, names every
// event once.
func TestEventsAreListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]int{}
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				name, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				constants[name]++
			}
		}
	}
	for _, e := range Events {
		if constants[string(e.Name)] != 1 || e.What == "" {
			t.Errorf("%s: %d constants, %q", e.Name, constants[string(e.Name)], e.What)
		}
		delete(constants, string(e.Name))
	}
	for name := range constants {
		t.Errorf("%s is not listed, or twice", name)
	}
}
