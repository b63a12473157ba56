package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// JSON writes one indented document.
func JSON(w io.Writer, v any) error { return encodeJSON(w, v, "  ") }

// Line writes one document as one line, for streams.
func Line(w io.Writer, v any) error { return encodeJSON(w, v, "") }

func encodeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// YAML writes the document that JSON would, as YAML: the same names in the same order.
func YAML(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := Line(&b, v); err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(b.Bytes(), &node); err != nil { // YAML reads JSON as it is
		return fmt.Errorf("write YAML: %w", err)
	}
	unstyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return nil
}

// unstyle forgets that the node was written as JSON: no braces, and quotes only where they are needed.
func unstyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unstyle(c)
	}
}
