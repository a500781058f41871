package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
)

// Format prints findings. version is the program's, for the formats that name
// it.
type Format func(w io.Writer, all []Finding, version string)

// Formats are the output formats by name.
var Formats = map[string]Format{"text": text, "json": toJSON, "github": github, "sarif": sarif}

func text(w io.Writer, all []Finding, _ string) {
	count := map[string]int{}
	for _, f := range all {
		count[f.Level]++
		place := f.Place
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.Place, f.Line)
		}
		service := ""
		if f.Service != "" {
			service = f.Service + ": "
		}
		fmt.Fprintf(w, "%s: %s: %s%s [%s]\n    instead: %s\n", place, f.Level, service, f.Message, f.Rule, f.Instead)
	}
	fmt.Fprintf(w, "%d errors, %d warnings, %d notes\n", count[levelError], count[levelWarning], count[levelNote])
}

func toJSON(w io.Writer, all []Finding, _ string) { indented(w, all) }

// github writes workflow commands, which GitHub shows beside the lines.
func github(w io.Writer, all []Finding, _ string) {
	escape := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, f := range all {
		level, place := f.Level, ""
		if level == levelNote {
			level = "notice" // GitHub's own word
		}
		if f.Line > 0 {
			place = fmt.Sprintf("file=%s,line=%d,", property.Replace(f.Place), f.Line)
		}
		fmt.Fprintf(w, "::%s %stitle=%s::%s\n", level, place, property.Replace(f.Rule), escape.Replace(f.sentence()))
	}
}

// sarif writes SARIF 2.1.0 (OASIS), for code scanning.
func sarif(w io.Writer, all []Finding, version string) {
	type object = map[string]any
	rules, results, index := []object{}, []object{}, map[string]int{}
	for i, r := range Rules {
		index[r.Name] = i
		rules = append(rules, object{"id": r.Name, "shortDescription": object{"text": r.What}, "defaultConfiguration": object{"level": r.Level}})
	}
	for _, f := range all {
		// What runs in an engine has a name, and stands in no file.
		location := object{"logicalLocations": []object{{"name": f.Service, "fullyQualifiedName": f.Place, "kind": "resource"}}}
		if f.Line > 0 {
			location = object{"physicalLocation": object{"artifactLocation": object{"uri": address(f.Place)}, "region": object{"startLine": f.Line}}}
		}
		results = append(results, object{"ruleId": f.Rule, "ruleIndex": index[f.Rule], "level": f.Level, "message": object{"text": f.sentence()}, "locations": []object{location}})
	}
	indented(w, object{"version": "2.1.0", "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
		"runs": []object{{"tool": object{"driver": object{"name": "watchdog lint", "version": version, "rules": rules}}, "results": results}}})
}

// address is a file's path as a URI reference (RFC 3986).
func address(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}

// sentence is a finding in one line.
func (f Finding) sentence() string {
	if f.Service == "" {
		return f.Message + "; instead: " + f.Instead
	}
	return f.Service + ": " + f.Message + "; instead: " + f.Instead
}

func indented(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}
