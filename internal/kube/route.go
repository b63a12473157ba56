package kube

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The header by which a request is always given to the candidate.
const (
	canaryHeader = "x-canary"
	canaryValue  = "true"
)

// dialect is how one kind of route says where requests go. Everything it does not name is left exactly as it is.
type dialect struct {
	kind  string
	gvr   schema.GroupVersionResource
	rules []string // where the list of rules is
	refs  string   // the field of a rule that lists where its requests go

	leadsTo func(ref map[string]any, service, namespace string) bool
	aim     func(ref map[string]any, service, namespace string)
	header  func(match map[string]any) bool // adds the header to a match; false where it asks for another value of it
	limit   int                             // rules there may be
	whole   bool                            // the weights of a rule must add up to 100
}

// The routes that are known.
var (
	gateway = dialect{
		kind: "HTTPRoute", gvr: httpRoutes, rules: []string{"spec", "rules"}, refs: "backendRefs", limit: 16,
		leadsTo: func(ref map[string]any, service, namespace string) bool {
			kind, ns := text(ref, "kind"), text(ref, "namespace")
			return text(ref, "name") == service && (kind == "" || kind == "Service") && text(ref, "group") == "" && (ns == "" || ns == namespace)
		},
		aim: func(ref map[string]any, service, _ string) { ref["name"] = service },
		header: func(match map[string]any) bool {
			list, _ := match["headers"].([]any)
			for _, h := range list {
				if m, ok := h.(map[string]any); ok && strings.EqualFold(text(m, "name"), canaryHeader) {
					return false
				}
			}
			match["headers"] = append(list, map[string]any{"type": "Exact", "name": canaryHeader, "value": canaryValue})
			return true
		},
	}
	istio = dialect{
		kind: "VirtualService", gvr: virtualSvcs, rules: []string{"spec", "http"}, refs: "route", limit: 1000, whole: true,
		leadsTo: func(ref map[string]any, service, namespace string) bool {
			d, _ := ref["destination"].(map[string]any)
			return isHost(text(d, "host"), service, namespace)
		},
		aim: func(ref map[string]any, service, namespace string) {
			d, _ := ref["destination"].(map[string]any)
			_, domain, _ := strings.Cut(text(d, "host"), ".")
			d["host"] = strings.TrimSuffix(service+"."+domain, ".")
			delete(d, "subset") // a subset belongs to the other Service's DestinationRule
		},
		header: func(match map[string]any) bool {
			m, _ := match["headers"].(map[string]any)
			if m == nil {
				m = map[string]any{}
			}
			if _, there := m[canaryHeader]; there {
				return false
			}
			m[canaryHeader] = map[string]any{"exact": canaryValue}
			match["headers"] = m
			return true
		},
	}
)

func text(m map[string]any, field string) string {
	s, _ := m[field].(string)
	return s
}

// isHost reports whether an Istio host names the Service.
func isHost(host, service, namespace string) bool {
	rest, ok := strings.CutPrefix(host, service)
	if !ok {
		return false
	}
	return rest == "" || rest == "."+namespace || strings.HasPrefix(rest, "."+namespace+".svc")
}

// errNoRoute is a route that does not lead to the Service.
var errNoRoute = errors.New("no rule leads to it")

// split is the rules with a share in percent of what goes to the service given to the second one, and, where asked for, with
// requests that carry the header always going there. It is pure: what was given is not changed.
func (d dialect) split(before []any, service, second, namespace string, share int, header bool) ([]any, error) {
	if share < 0 || share > 100 {
		return nil, fmt.Errorf("a share of %d%% is not between 0 and 100", share)
	}
	var out []any
	found := false
	for _, item := range before {
		rule, ok := runtime.DeepCopyJSONValue(item).(map[string]any)
		if !ok || !d.concerns(rule, service, namespace) {
			out = append(out, item)
			continue
		}
		found = true
		if header {
			if extra := d.marked(rule, service, second, namespace); extra != nil {
				out = append(out, extra)
			}
		}
		if share > 0 {
			if err := d.weigh(rule, service, second, namespace, share); err != nil {
				return nil, err
			}
		}
		out = append(out, rule)
	}
	if !found {
		return nil, errNoRoute
	}
	if len(out) > d.limit {
		return nil, fmt.Errorf("%s may have %d rules at the most, and would have %d", d.kind, d.limit, len(out))
	}
	return out, nil
}

func (d dialect) refsOf(rule map[string]any) []any {
	list, _ := rule[d.refs].([]any)
	return list
}

func (d dialect) concerns(rule map[string]any, service, namespace string) bool {
	for _, r := range d.refsOf(rule) {
		if ref, ok := r.(map[string]any); ok && d.leadsTo(ref, service, namespace) {
			return true
		}
	}
	return false
}

// marked is a rule before the given one, for requests with the header. Nil where none of its matches can ask for it.
func (d dialect) marked(rule map[string]any, service, second, namespace string) map[string]any {
	out := runtime.DeepCopyJSON(rule)
	delete(out, "name") // names of rules are unique
	list, _ := out["match"+d.plural()].([]any)
	if len(list) == 0 {
		list = []any{map[string]any{}}
	}
	var matches []any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && d.header(m) {
			matches = append(matches, m)
		}
	}
	if len(matches) == 0 {
		return nil
	}
	out["match"+d.plural()] = matches
	for _, r := range d.refsOf(out) {
		if ref, ok := r.(map[string]any); ok && d.leadsTo(ref, service, namespace) {
			d.aim(ref, second, namespace)
			delete(ref, "weight")
			out[d.refs] = []any{ref}
			break
		}
	}
	return out
}

// plural is the end of the field of matches: HTTPRoute says matches, VirtualService match.
func (d dialect) plural() string {
	if d.whole {
		return ""
	}
	return "es"
}

// weigh gives the second service its share of what goes to the first. Other destinations of the rule keep theirs.
func (d dialect) weigh(rule map[string]any, service, second, namespace string, share int) error {
	refs := d.refsOf(rule)
	factor := int64(100)
	if d.whole {
		factor = 1
	}
	var out []any
	total := int64(0)
	for _, item := range refs {
		ref, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("%s has a destination that is not an object", d.kind)
		}
		w, err := weightOf(ref, len(refs) == 1 && d.whole)
		if err != nil {
			return err
		}
		total += w
		if !d.leadsTo(ref, service, namespace) {
			ref["weight"] = w * factor
			if len(refs) == 1 || w == 0 && ref["weight"] == nil {
				delete(ref, "weight")
			}
			out = append(out, ref)
			continue
		}
		if len(refs) == 1 && !d.whole {
			w = 1
		}
		other := runtime.DeepCopyJSON(ref)
		d.aim(other, second, namespace)
		part := (w*factor*int64(share) + 50) / 100
		ref["weight"], other["weight"] = w*factor-part, part
		out = append(out, ref, other)
	}
	if d.whole && total != 100 {
		return fmt.Errorf("the weights of a rule of the %s add up to %d, not to 100: Istio takes that, but nobody can say what it means", d.kind, total)
	}
	if total*factor > 1_000_000 {
		return fmt.Errorf("the weights of a rule of the %s are too large to be split", d.kind)
	}
	rule[d.refs] = out
	return nil
}

// weightOf is a destination's weight: 1 where it says none, 100 for the only one of a VirtualService.
func weightOf(ref map[string]any, only bool) (int64, error) {
	switch w := ref["weight"].(type) {
	case nil:
		if only {
			return 100, nil
		}
		return 1, nil
	case int64:
		if w < 0 {
			return 0, fmt.Errorf("a weight of %d is less than nothing", w)
		}
		if only && w == 0 {
			return 100, nil
		}
		return w, nil
	default:
		return 0, fmt.Errorf("a weight of %v is not a whole number", w)
	}
}

// merged takes the second service out of rules, for when somebody else has changed them meanwhile: what is left is theirs.
func (d dialect) merged(rules []any, second, namespace string) []any {
	var out []any
	for _, item := range rules {
		rule, ok := runtime.DeepCopyJSONValue(item).(map[string]any)
		if !ok {
			out = append(out, item)
			continue
		}
		refs := d.refsOf(rule)
		var left []any
		for _, r := range refs {
			if ref, ok := r.(map[string]any); !ok || !d.leadsTo(ref, second, namespace) {
				left = append(left, r)
			}
		}
		if len(refs) > 0 && len(left) == 0 {
			continue // a rule for requests with the header
		}
		if len(left) == 1 && len(refs) > 1 {
			if ref, ok := left[0].(map[string]any); ok {
				delete(ref, "weight")
			}
		}
		if len(refs) > 0 {
			rule[d.refs] = left
		}
		out = append(out, rule)
	}
	return out
}
