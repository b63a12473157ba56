package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/covetpy/covet/internal/kube"
)

// What a console starts must reach the cluster that it shows, even after somebody has changed the current context.
func TestServiceFlagsAreThoseOfTheShownCluster(t *testing.T) {
	t.Parallel()
	a := &app{env: func(string) string { return "" }}
	a.flags.cluster.kubeconfig = "given"
	abs, err := filepath.Abs("given")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.serviceFlags(); !slices.Contains(got, "--kubeconfig="+abs) || slices.Contains(got, "--context=prod") {
		t.Errorf("as given: %q", got)
	}
	a.cluster = newLatePort(kube.Target{Kubeconfig: "given", Context: "prod", Namespace: "shop", Deployment: "web"}, nil)
	for _, want := range []string{"--kubeconfig=" + abs, "--context=prod", "--namespace=shop", "--deployment=web"} {
		if got := a.serviceFlags(); !slices.Contains(got, want) {
			t.Errorf("%s is missing: %q", want, got)
		}
	}
}
