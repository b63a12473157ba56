package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileReader flattens the YAML file into settings: nested names are joined by underscores, so "level" under "log" is
// LOG_LEVEL, as is "log_level" at the top.
type fileReader struct {
	path   string
	kinds  map[string]Kind
	keys   []string // as the file spells them
	values map[string]entry
	faults []Fault
}

// parseFile reads the configuration file. An unknown key is a fault: a typing error must not pass for a default.
func parseFile(path string, text []byte, settings []Setting) (map[string]entry, []Fault) {
	r := fileReader{path: path, kinds: map[string]Kind{}, values: map[string]entry{}}
	for _, name := range names(settings) {
		r.kinds[name] = Scalar
		r.keys = append(r.keys, strings.ToLower(name))
	}
	for _, s := range settings {
		r.kinds[s.Name] = s.Kind
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, []Fault{{Name: path, Problem: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), Example: "log_level: info"}}
	}
	if len(doc.Content) == 0 {
		return r.values, nil
	}
	if root := doc.Content[0]; root.Kind != yaml.MappingNode {
		r.fault(path, root, "does not hold a mapping", "log_level: info")
	} else {
		r.mapping("", root)
	}
	return r.values, r.faults
}

func (r *fileReader) fault(name string, n *yaml.Node, problem, example string) {
	r.faults = append(r.faults, Fault{Name: name, Problem: problem, Example: example, Source: fmt.Sprintf("%s:%d", r.path, n.Line)})
}

func (r *fileReader) mapping(prefix string, node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		for value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		name := strings.ToLower(prefix + key.Value)
		setting := strings.ToUpper(name)
		kind, known := r.kinds[setting]
		switch {
		case known:
			r.value(name, setting, kind, key, value)
		case value.Kind == yaml.MappingNode && r.isPrefix(name):
			r.mapping(name+"_", value)
		default:
			f := unknown(name, nearest(name, r.keys), fmt.Sprintf("%s:%d", r.path, key.Line))
			r.faults = append(r.faults, f)
		}
	}
}

func (r *fileReader) isPrefix(name string) bool {
	for _, k := range r.keys {
		if strings.HasPrefix(k, name+"_") {
			return true
		}
	}
	return false
}

func (r *fileReader) value(name, setting string, kind Kind, key, node *yaml.Node) {
	if before, ok := r.values[setting]; ok {
		r.fault(name, key, fmt.Sprintf("is set twice, first on line %d", before.line), "")
		return
	}
	text, problem := fileValue(kind, node)
	if problem != "" {
		r.fault(name, node, problem, "")
		return
	}
	r.values[setting] = entry{value: text, line: key.Line}
}

// fileValue writes a node as the text that the environment would hold.
func fileValue(kind Kind, node *yaml.Node) (text, problem string) {
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", ""
	case node.Kind == yaml.ScalarNode:
		return node.Value, ""
	case node.Kind == yaml.SequenceNode && (kind == List || kind == Words):
		items, ok := scalars(node.Content)
		if !ok {
			return "", "holds something other than plain values"
		}
		if kind == Words {
			return JoinCommand(items), ""
		}
		return strings.Join(items, ","), ""
	case node.Kind == yaml.MappingNode && kind == Pairs:
		items, ok := scalars(node.Content)
		if !ok {
			return "", "holds something other than plain values"
		}
		words := make([]string, 0, len(items)/2)
		for i := 0; i+1 < len(items); i += 2 {
			words = append(words, items[i]+"="+items[i+1])
		}
		return JoinCommand(words), ""
	}
	return "", "is a list or a mapping where one value belongs"
}

func scalars(nodes []*yaml.Node) ([]string, bool) {
	out := make([]string, 0, len(nodes))
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return nil, false
		}
		out = append(out, n.Value)
	}
	return out, true
}
