package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/covetpy/covet/ops/rollout"
)

// templateChanges lists what differs between two templates, field by field. Values of environment variables whose names look
// secret are not shown.
func templateChanges(from, to podTemplate) []rollout.Change {
	a, b := map[string]string{}, map[string]string{}
	flatten("", map[string]any(from), a)
	flatten("", map[string]any(to), b)
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	var out []rollout.Change
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if a[k] == b[k] {
			continue
		}
		c := rollout.Change{Field: k, From: a[k], To: b[k]}
		if rollout.LooksSecret(k) {
			c.From, c.To = hidden(c.From), hidden(c.To)
		}
		out = append(out, c)
	}
	return out
}

func hidden(v string) string {
	if v == "" {
		return ""
	}
	return "••••"
}

// flatten writes every leaf of a value under its path. Items of a list that have a name go by it.
func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			below := k
			if path != "" {
				below = path + "." + k
			}
			flatten(below, item, out)
		}
	case []any:
		for i, item := range v {
			name := fmt.Sprint(i)
			if m, ok := item.(map[string]any); ok && text(m, "name") != "" {
				name = text(m, "name")
			}
			flatten(path+"["+name+"]", item, out)
		}
	case string:
		out[path] = v
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			raw = fmt.Append(nil, v)
		}
		out[path] = string(raw)
	}
}

// parseSeconds reads a duration such as 30s, in whole seconds.
func parseSeconds(s string) (int64, error) {
	d, err := time.ParseDuration(s)
	return int64(d / time.Second), err
}

func labelSet(m map[string]string) labels.Set { return labels.Set(m) }

// inUnits writes thousandths of a resource as people write it.
func inUnits(name corev1.ResourceName, milli int64) string {
	q := quantity.NewMilliQuantity(milli, quantity.DecimalSI)
	if name == corev1.ResourceMemory || name == corev1.ResourceRequestsMemory || name == corev1.ResourceLimitsMemory {
		q = quantity.NewQuantity(milli/1000, quantity.BinarySI)
	}
	return q.String()
}
