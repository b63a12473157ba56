package kube

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// route is one object that says where requests to the service go.
type route struct {
	dialect dialect
	object  object
	service string // the Service of ours that it leads to
}

func (r route) list() []any {
	l, _, err := unstructured.NestedSlice(r.object.Object, r.dialect.rules...)
	if err != nil {
		return nil
	}
	return l
}

// before is the rules as they were before Covet touched them.
func (r route) before() []any {
	text, ok := r.object.GetAnnotations()[annBefore]
	if !ok {
		return r.list()
	}
	var l []any
	if unmarshal([]byte(text), &l) != nil {
		return r.list()
	}
	return l
}

// myRoutes are the routes of the first dialect that has any which lead to the service, or of the one that was asked for. What a
// rollout has written on is seen to its end, whatever is asked for since.
func (s *stage) myRoutes() []route {
	for _, d := range dialects {
		all := s.routesOf(d)
		asked := s.at.Router == "" || strings.EqualFold(s.at.Router, d.kind)
		marked := slices.ContainsFunc(all, func(r route) bool { _, ok := markOf(r.object.GetAnnotations()); return ok })
		if len(all) > 0 && (asked || marked) {
			return all
		}
	}
	return nil
}

// routesOf are the routes of a dialect that lead to the service.
func (s *stage) routesOf(d dialect) []route {
	fronts := s.fronts()
	var out []route
	for _, o := range s.routes[d.kind].all() {
		r := route{dialect: d, object: o}
		for _, f := range fronts {
			if slices.ContainsFunc(r.before(), func(item any) bool {
				rule, ok := item.(map[string]any)
				return ok && d.concerns(rule, f.Name, s.at.Namespace)
			}) {
				r.service = f.Name
				out = append(out, r)
				break
			}
		}
	}
	return out
}
