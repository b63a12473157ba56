package kube

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// podHash is the label by which a ReplicaSet's pods are told from those of every other.
const podHash = "pod-template-hash"

// baseSelector is a Service's selector without what Covet added to it.
func baseSelector(s *corev1.Service) map[string]string {
	out := maps.Clone(s.Spec.Selector)
	delete(out, labelSlot)
	delete(out, podHash)
	return out
}

// selects reports whether a selector chooses pods with the labels. An empty one chooses none.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// Where a Service's selector lets the traffic go.
const openFront = ""

// frontSlot is the slot that a Service is closed to, or openFront.
func frontSlot(s *corev1.Service) string {
	if s.Spec.Selector[labelSlot] == candidate {
		return candidate
	}
	if s.Spec.Selector[labelSlot] == primary || s.Spec.Selector[podHash] != "" {
		return primary
	}
	return openFront
}

// fronts are the Services that the service's traffic comes through, the main one first.
func (s *stage) fronts() []*corev1.Service {
	o, ok := s.deployment(primary)
	if !ok {
		return nil
	}
	labels := templateOf(o).labels()
	var out []*corev1.Service
	for _, svc := range s.services.all() {
		if svc.Labels[labelKind] != "" || !selects(baseSelector(svc), labels) {
			continue
		}
		if svc.Name == s.at.Service || s.at.Service == "" && svc.Name == s.at.Deployment {
			out = append([]*corev1.Service{svc}, out...)
			continue
		}
		out = append(out, svc)
	}
	return out
}

// mark is what Covet leaves on an object that it shares with others, to know later whether it was the last to write.
type mark struct {
	Turn   string `json:"turn"`
	Hash   string `json:"hash"`
	Share  int    `json:"share,omitempty"`  // routes: what the second Service gets, percent
	Header bool   `json:"header,omitempty"` // routes: requests with the header go to the second Service
}

func markOf(annotations map[string]string) (mark, bool) {
	var m mark
	text, ok := annotations[annWrote]
	if !ok || json.Unmarshal([]byte(text), &m) != nil {
		return mark{}, false
	}
	return m, true
}

func (m mark) String() string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic("kube: a mark is always JSON: " + err.Error())
	}
	return string(raw)
}

// theirs reports whether somebody else changed since what was written in the same turn.
func (m mark) theirs(turn, hash string) bool { return m.Turn == turn && m.Hash != hash }

// served counts the ready pods that EndpointSlices hold for a Service.
func served(all []*endpoints, service string) int {
	seen := map[string]bool{}
	for _, e := range all {
		if e.service == service {
			for _, name := range e.behind {
				seen[name] = true
			}
		}
	}
	return len(seen)
}

// addresses are the ready ones that EndpointSlices hold for some Services.
func addresses(all []*endpoints, services ...string) map[string]bool {
	out := map[string]bool{}
	for _, e := range all {
		if !slices.Contains(services, e.service) {
			continue
		}
		for _, a := range e.ready {
			out[a] = true
		}
	}
	return out
}
