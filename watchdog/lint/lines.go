package lint

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// locator finds the lines that keys stand on, which the library does not keep.
type locator struct {
	in    ComposeInput
	files []File
	// trees are the documents, the last one that compose merges first.
	trees []tree
}

type tree struct {
	file File
	path string
	root *yaml.Node
}

// maxFollow is how many aliases of aliases are followed.
const maxFollow = 16

func newLocator(in ComposeInput) *locator {
	l := &locator{in: in, files: slices.Clone(in.Files)}
	for _, f := range slices.Backward(in.Files) {
		// What these files name is relative to the project's directory.
		l.trees = append(l.trees, documents(f, filepath.Join(in.Dir, "compose"))...)
	}
	return l
}

// documents parses a file; what cannot be parsed has no lines.
func documents(f File, path string) (out []tree) {
	for _, root := range yamlDocuments(f.Data) {
		out = append([]tree{{f, path, root}}, out...)
	}
	return out
}

// yamlDocuments returns the top nodes of a file's documents, as far as it is
// valid.
func yamlDocuments(data []byte) (out []*yaml.Node) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return out
		}
		if len(doc.Content) > 0 {
			out = append(out, doc.Content[0])
		}
	}
}

// shown is how findings call a file: as the user would, from where the first
// compose file was named.
func (l *locator) shown(path string) string {
	rel, err := filepath.Rel(l.in.Dir, path)
	if err != nil || len(l.in.Files) == 0 || l.in.Files[0].Name == stdinName {
		return path
	}
	if filepath.IsAbs(l.in.Files[0].Name) {
		return filepath.Join(l.in.Dir, rel)
	}
	return filepath.Join(filepath.Dir(l.in.Files[0].Name), rel)
}

// stdinName is what findings call the standard input.
const stdinName = "stdin"

// placeKeys are the keys that findings point at.
var placeKeys = []string{"", "image", "build", "build.dockerfile_inline", "restart", "deploy.restart_policy", "labels", "depends_on", "command", "entrypoint",
	"healthcheck", "healthcheck.test", "healthcheck.interval", "healthcheck.timeout", "healthcheck.start_period", "healthcheck.retries", "healthcheck.disable"}

// service finds the lines of a service's keys. What is nowhere to be found
// stands at the first line of the first file.
func (l *locator) service(name string) map[string]Place {
	out := map[string]Place{}
	for _, key := range placeKeys {
		var path []string
		if key != "" {
			path = strings.Split(key, ".")
		}
		if p, ok := l.find(l.trees, name, path, map[string]bool{}); ok {
			out[key] = p
		}
	}
	for _, container := range []string{"labels", "depends_on"} {
		for _, t := range l.trees {
			if _, n, ok := lookup(t.root, append([]string{"services", name}, container)); ok {
				for key, line := range entries(n) {
					if _, ok := out[container+"."+key]; !ok {
						out[container+"."+key] = Place{t.file.Name, line}
					}
				}
			}
		}
	}
	if _, ok := out[""]; !ok && len(l.in.Files) > 0 {
		out[""] = Place{l.in.Files[0].Name, 1}
	}
	return out
}

// find looks for a key of a service in the files, then in what the service
// extends, then in what the files include.
// seen are the files and services where it has looked, so that each is looked
// at once.
func (l *locator) find(trees []tree, service string, path []string, seen map[string]bool) (Place, bool) {
	if len(trees) == 0 || seen[trees[0].path+"\x00"+service] {
		return Place{}, false
	}
	seen[trees[0].path+"\x00"+service] = true
	for _, t := range trees {
		if key, _, ok := lookup(t.root, append([]string{"services", service}, path...)); ok {
			return Place{t.file.Name, key.Line}, true
		}
	}
	for _, t := range trees {
		_, ext, ok := lookup(t.root, []string{"services", service, "extends"})
		if !ok {
			continue
		}
		ext = resolved(ext)
		base, in := ext.Value, trees
		if ext.Kind == yaml.MappingNode {
			base = scalar(ext, "service")
			if file := scalar(ext, "file"); file != "" {
				in = l.open(filepath.Join(filepath.Dir(t.path), file))
			}
		}
		if base == "" || len(path) == 0 {
			continue
		}
		if p, ok := l.find(in, base, path, seen); ok {
			return p, true
		}
	}
	for _, t := range trees {
		for _, file := range includes(t.root) {
			if p, ok := l.find(l.open(filepath.Join(filepath.Dir(t.path), file)), service, path, seen); ok {
				return p, true
			}
		}
	}
	return Place{}, false
}

// open reads a further compose file.
func (l *locator) open(path string) []tree {
	if l.in.Read == nil || strings.Contains(path, "$") {
		return nil
	}
	name := l.shown(path)
	if i := slices.IndexFunc(l.files, func(f File) bool { return f.Name == name }); i >= 0 {
		return documents(l.files[i], path)
	}
	data, err := l.in.Read(path)
	if err != nil {
		return nil
	}
	l.files = append(l.files, File{name, data})
	return documents(File{name, data}, path)
}

// includes are the paths of a file's include section.
func includes(root *yaml.Node) (out []string) {
	_, list, ok := lookup(root, []string{"include"})
	if !ok {
		return nil
	}
	for _, n := range resolved(list).Content {
		n = resolved(n)
		if n.Kind == yaml.MappingNode {
			_, p, ok := lookup(n, []string{"path"})
			if !ok {
				continue
			}
			if n = resolved(p); n.Kind == yaml.SequenceNode {
				for _, e := range n.Content {
					out = append(out, e.Value)
				}
				continue
			}
		}
		out = append(out, n.Value)
	}
	return out
}

func scalar(n *yaml.Node, key string) string {
	if _, v, ok := lookup(n, []string{key}); ok {
		return resolved(v).Value
	}
	return ""
}

func resolved(n *yaml.Node) *yaml.Node {
	for range maxFollow {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			break
		}
		n = n.Alias
	}
	return n
}

// lookup follows a path of keys through mappings, their aliases and merge keys.
func lookup(n *yaml.Node, path []string) (key, value *yaml.Node, ok bool) {
	key, value = n, n
	for _, name := range path {
		if key, value, ok = member(value, name, map[*yaml.Node]bool{}); !ok {
			return nil, nil, false
		}
	}
	return key, value, true
}

// member finds one key of a mapping; its own comes before a merged one.
// Each mapping is looked at once, however often it is merged.
func member(n *yaml.Node, name string, seen map[*yaml.Node]bool) (key, value *yaml.Node, ok bool) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode || seen[n] {
		return nil, nil, false
	}
	seen[n] = true
	for i := 0; i+1 < len(n.Content); i += 2 {
		if resolved(n.Content[i]).Value == name {
			return n.Content[i], n.Content[i+1], true
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "<<" {
			continue
		}
		merged := []*yaml.Node{n.Content[i+1]}
		if r := resolved(n.Content[i+1]); r.Kind == yaml.SequenceNode {
			merged = r.Content
		}
		for _, m := range merged {
			if key, value, ok = member(m, name, seen); ok {
				return key, value, true
			}
		}
	}
	return nil, nil, false
}

// entries are the names in a mapping, or in a list of name=value, with their
// lines.
func entries(n *yaml.Node) map[string]int {
	out := map[string]int{}
	n = resolved(n)
	for i, e := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			name, _, _ := strings.Cut(resolved(e).Value, "=")
			out[name] = e.Line
		case n.Kind == yaml.MappingNode && i%2 == 0:
			out[resolved(e).Value] = e.Line
		}
	}
	return out
}
