package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Format prints findings. version is the program's, for the formats that name
// it.
type Format func(w io.Writer, all []Finding, version string)

// Formats are the output formats by name.
var Formats = map[string]Format{"text": text, "json": toJSON, "github": github, "sarif": sarif}

func text(w io.Writer, all []Finding, _ string) {
	errors := 0
	for _, f := range all {
		if f.Level == "error" {
			errors++
		}
		place := f.Place
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.Place, f.Line)
		}
		fmt.Fprintf(w, "%s: %s: %s: %s [%s]\n    instead: %s\n", place, f.Level, f.Service, f.Message, f.Rule, f.Instead)
	}
	fmt.Fprintf(w, "%d errors, %d warnings\n", errors, len(all)-errors)
}

func toJSON(w io.Writer, all []Finding, _ string) { indented(w, all) }

// github writes workflow commands, which GitHub shows beside the lines.
func github(w io.Writer, all []Finding, _ string) {
	escape := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range all {
		fmt.Fprintf(w, "::%s file=%s,line=%d,title=%s::%s\n", f.Level, property.Replace(f.Place), max(1, f.Line), property.Replace(f.Rule), escape.Replace(f.sentence()))
	}
}

// sarif writes SARIF 2.1.0 (OASIS), for code scanning.
func sarif(w io.Writer, all []Finding, version string) {
	type object = map[string]any
	rules, results := []object{}, []object{}
	for _, r := range Rules {
		rules = append(rules, object{"id": r.Name, "shortDescription": object{"text": r.What}})
	}
	for _, f := range all {
		results = append(results, object{"ruleId": f.Rule, "level": f.Level, "message": object{"text": f.sentence()},
			"locations": []object{{"physicalLocation": object{"artifactLocation": object{"uri": f.Place}, "region": object{"startLine": max(1, f.Line)}}}}})
	}
	indented(w, object{"version": "2.1.0", "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
		"runs": []object{{"tool": object{"driver": object{"name": "watchdog lint", "version": version, "rules": rules}}, "results": results}}})
}

// sentence is a finding in one line.
func (f Finding) sentence() string {
	return f.Service + ": " + f.Message + "; instead: " + f.Instead
}

func indented(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}
