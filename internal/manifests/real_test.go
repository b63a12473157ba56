package manifests_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/manifests"
	"github.com/covetpy/covet/test/kubetest"
)

// On a real node covetd and an application start as the manifests say: not as root, on a file system that is read-only, found
// ready by their probes, and reached through the Service.
func TestRealNodeRunsThem(t *testing.T) {
	if err := kubetest.RealPossible(); err != nil {
		t.Skip(err)
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", bin+"/", "../../cmd/covetd", "../../examples/shop")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const image = "registry.example/shop:v1.0.0"
	c := kubetest.StartReal(t, kubetest.Image{Name: image, Program: filepath.Join(bin, "covetd"), Files: map[string]string{"/usr/local/bin/shop": filepath.Join(bin, "shop")}})
	s := example(t)
	s.Namespace, s.Image, s.HPA, s.Replicas = "default", image, manifests.HPA{}, 2
	s.Config["ENVIRONMENT"] = "staging" // production would ask for a real secret
	for _, w := range apply(t, c, s, "") {
		t.Errorf("the API server warns: %s", w)
	}
	await(t, c, "two pods are available", func() bool { return available(t, c) == 2 })
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: c.Dial}}
	var service struct{ Spec struct{ ClusterIP string } }
	get(t, c, "/api/v1/namespaces/default/services/shop", &service)
	for _, path := range []string{"/health/ready", "/health/live", "/health/startup", "/"} {
		resp, err := client.Get("http://" + service.Spec.ClusterIP + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s through the Service: %s", path, resp.Status)
		}
	}
}

func get(t *testing.T, c *kubetest.Cluster, path string, into any) {
	t.Helper()
	answer, err := c.Do(t.Context(), http.MethodGet, path, "")
	if err == nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func available(t *testing.T, c *kubetest.Cluster) int {
	t.Helper()
	var d struct{ Status struct{ AvailableReplicas int } }
	get(t, c, "/apis/apps/v1/namespaces/default/deployments/shop", &d)
	return d.Status.AvailableReplicas
}

func await(t *testing.T, c *kubetest.Cluster, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
	}
	var events struct {
		Items []struct{ Reason, Message string }
	}
	get(t, c, "/api/v1/namespaces/default/events", &events)
	var said []string
	for _, e := range events.Items {
		said = append(said, e.Reason+": "+e.Message)
	}
	t.Fatalf("not after three minutes: %s\n%s", what, strings.Join(said, "\n"))
}
