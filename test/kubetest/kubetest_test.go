package kubetest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

func TestPodsBehaveAsTheirTagsSay(t *testing.T) {
	c := kubetest.Shared(t)
	ns, _ := c.Namespace(t)
	for _, tag := range []string{"v1", "crash", "missing", "notready"} {
		pod := `{"metadata":{"name":"` + tag + `"},"spec":{"containers":[{"name":"web","image":"example.test/web:` + tag + `"}]}}`
		if _, err := c.Do(t.Context(), http.MethodPost, "/api/v1/namespaces/"+ns+"/pods", pod); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"v1": "Ready", "crash": "CrashLoopBackOff", "missing": "ImagePullBackOff", "notready": "Running"}
	var got map[string]string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = states(t, c, ns); same(got, want) {
			return
		}
	}
	t.Fatalf("the pods are %v, want %v", got, want)
}

func same(a, b map[string]string) bool {
	for k, v := range b {
		if a[k] != v {
			return false
		}
	}
	return true
}

// states are the pods' in a word each.
func states(t *testing.T, c *kubetest.Cluster, ns string) map[string]string {
	t.Helper()
	answer, err := c.Do(t.Context(), http.MethodGet, "/api/v1/namespaces/"+ns+"/pods", "")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				ContainerStatuses []struct {
					Ready bool
					State struct {
						Running *struct{}
						Waiting *struct{ Reason string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range list.Items {
		for _, s := range p.Status.ContainerStatuses {
			switch {
			case s.Ready:
				out[p.Metadata.Name] = "Ready"
			case s.State.Waiting != nil:
				out[p.Metadata.Name] = s.State.Waiting.Reason
			case s.State.Running != nil:
				out[p.Metadata.Name] = "Running"
			}
		}
	}
	return out
}

func TestClusterHasTheRoutersDefinitions(t *testing.T) {
	answer, err := kubetest.Shared(t).Do(t.Context(), http.MethodGet, "/apis", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"gateway.networking.k8s.io", "networking.istio.io", "metrics.k8s.io"} {
		if !strings.Contains(string(answer), group) {
			t.Errorf("the API server has no %s", group)
		}
	}
}

func TestAPIServerIsKilledAndStarted(t *testing.T) {
	c := kubetest.Start(t, kubetest.Options{Nodes: 1})
	if err := c.Tell("kill", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), http.MethodGet, "/readyz", ""); err == nil {
		t.Fatal("a killed API server answers")
	}
	if err := c.Tell("start", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	c.WaitReady(t)
	if err := c.Tell("stop", "nobody"); err == nil || !slices.Contains(strings.Fields(err.Error()), "nobody") {
		t.Errorf("stopping nobody: %v", err)
	}
}
