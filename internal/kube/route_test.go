package kube

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func rulesOf(t *testing.T, text string) []any {
	t.Helper()
	var v []any
	if err := unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		d           dialect
		rules       string
		share       int
		header      bool
		want, fault string
	}{
		"HTTPRoute": {gateway, `[{"backendRefs":[{"name":"shop","port":80}],"timeouts":{"request":"5s"},"x-new":{"a":[1,2.5]}},{"backendRefs":[{"name":"other"}]}]`, 10, false,
			`[{"backendRefs":[{"name":"shop","port":80,"weight":90},{"name":"shop-covet","port":80,"weight":10}],"timeouts":{"request":"5s"},"x-new":{"a":[1,2.5]}},{"backendRefs":[{"name":"other"}]}]`, ""},
		"HTTPRoute with the header only": {gateway, `[{"name":"all","matches":[{"path":{"type":"PathPrefix","value":"/"}}],"backendRefs":[{"name":"shop","port":80,"weight":3}]}]`, 0, true,
			`[{"matches":[{"headers":[{"name":"x-canary","type":"Exact","value":"true"}],"path":{"type":"PathPrefix","value":"/"}}],"backendRefs":[{"name":"shop-covet","port":80}]},` +
				`{"name":"all","matches":[{"path":{"type":"PathPrefix","value":"/"}}],"backendRefs":[{"name":"shop","port":80,"weight":3}]}]`, ""},
		"other destinations keep their part": {gateway, `[{"backendRefs":[{"name":"shop","weight":9},{"name":"legacy","weight":1}]}]`, 50, false,
			`[{"backendRefs":[{"name":"shop","weight":450},{"name":"shop-covet","weight":450},{"name":"legacy","weight":100}]}]`, ""},
		"another namespace's Service of the name is another": {gateway, `[{"backendRefs":[{"name":"shop","namespace":"else"}]}]`, 10, false, "", "no rule leads to it"},
		"VirtualService": {istio, `[{"retries":{"attempts":3},"route":[{"destination":{"host":"shop.prod.svc.cluster.local","port":{"number":80},"subset":"v1"},"headers":{"request":{}}}]}]`, 25, true,
			`[{"retries":{"attempts":3},"match":[{"headers":{"x-canary":{"exact":"true"}}}],"route":[{"destination":{"host":"shop-covet.prod.svc.cluster.local","port":{"number":80}},"headers":{"request":{}}}]},` +
				`{"retries":{"attempts":3},"route":[{"destination":{"host":"shop.prod.svc.cluster.local","port":{"number":80},"subset":"v1"},"headers":{"request":{}},"weight":75},{"destination":{"host":"shop-covet.prod.svc.cluster.local","port":{"number":80}},"headers":{"request":{}},"weight":25}]}]`, ""},
		"VirtualService with a negative weight":     {istio, `[{"route":[{"destination":{"host":"shop"},"weight":-5},{"destination":{"host":"b"},"weight":105}]}]`, 25, false, "", "less than nothing"},
		"VirtualService whose weights are not 100":  {istio, `[{"route":[{"destination":{"host":"shop"},"weight":50},{"destination":{"host":"b"},"weight":20}]}]`, 25, false, "", "add up to 70"},
		"VirtualService of another Service":         {istio, `[{"route":[{"destination":{"host":"shopping"}}]}]`, 25, false, "", "no rule leads to it"},
		"VirtualService keeps its sum when it must": {istio, `[{"route":[{"destination":{"host":"shop"},"weight":33},{"destination":{"host":"b"},"weight":67}]}]`, 50, false, `[{"route":[{"destination":{"host":"shop"},"weight":16},{"destination":{"host":"shop-covet"},"weight":17},{"destination":{"host":"b"},"weight":67}]}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := rulesOf(t, c.rules)
			got, err := c.d.split(rules, "shop", "shop-covet", "prod", c.share, c.header)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("%v, want %q", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := rulesOf(t, c.want); !reflect.DeepEqual(got, want) {
				raw, _ := json.Marshal(got)
				t.Errorf("got  %s\nwant %s", raw, c.want)
			}
			if !reflect.DeepEqual(rules, rulesOf(t, c.rules)) {
				t.Error("what was given was changed")
			}
		})
	}
}

func TestMergedLeavesOnlyTheirs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		d     dialect
		rules string
	}{
		"HTTPRoute":      {gateway, `[{"matches":[{"path":{"value":"/"}}],"backendRefs":[{"name":"shop","port":80}]},{"backendRefs":[{"name":"other"}]}]`},
		"VirtualService": {istio, `[{"route":[{"destination":{"host":"shop"}}],"fault":{"delay":{"percent":1}}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := rulesOf(t, c.rules)
			touched, err := c.d.split(before, "shop", "shop-covet", "prod", 10, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.d.merged(touched, "shop-covet", "prod"); !reflect.DeepEqual(got, before) {
				t.Errorf("%v, want %v", got, before)
			}
		})
	}
}
