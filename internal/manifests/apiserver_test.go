package manifests_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/manifests"
	"github.com/covetpy/covet/test/kubetest"
)

// paths is where objects of a kind are, below the API server's address.
var paths = map[string]string{
	"ServiceAccount": "/api/v1/namespaces/%/serviceaccounts/", "ConfigMap": "/api/v1/namespaces/%/configmaps/", "Secret": "/api/v1/namespaces/%/secrets/",
	"Service": "/api/v1/namespaces/%/services/", "Deployment": "/apis/apps/v1/namespaces/%/deployments/",
	"HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/%/horizontalpodautoscalers/",
	"PodDisruptionBudget":     "/apis/policy/v1/namespaces/%/poddisruptionbudgets/",
	"NetworkPolicy":           "/apis/networking.k8s.io/v1/namespaces/%/networkpolicies/", "Ingress": "/apis/networking.k8s.io/v1/namespaces/%/ingresses/",
	"HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/%/httproutes/",
}

// The API server takes every manifest as it is, without a warning and without a field that it does not know.
func TestAPIServerTakesThem(t *testing.T) {
	t.Parallel()
	c := kubetest.Shared(t)
	for name, change := range map[string]func(*manifests.Settings){
		"ingress": func(*manifests.Settings) {},
		"route":   func(s *manifests.Settings) { s.Gateway, s.IngressClass = "infra/public", "" },
		"tls": func(s *manifests.Settings) {
			s.TLS = manifests.TLS{Cert: "/etc/covet/tls/own.crt", Key: "/etc/covet/tls/own.key"}
		},
		"long": func(s *manifests.Settings) {
			s.Service = "s" + strings.Repeat("-ab", 16)
			s.Config["APP_ENV"] = `A="x": {y} # no, $(HOME) $$ ü€😀`
			for i := range 300 {
				s.Config[fmt.Sprintf("KEY_%d", i)] = strings.Repeat("v", 100)
			}
		},
		"least": func(s *manifests.Settings) {
			*s = manifests.Settings{Service: "a", Image: "a", Port: 8000, Replicas: 1, Shutdown: time.Second}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := example(t)
			change(&s)
			s.Namespace, _ = c.Namespace(t)
			for _, w := range apply(t, c, s, "&dryRun=All") {
				t.Errorf("the API server warns: %s", w)
			}
		})
	}
}

// apply gives the manifests to the API server and returns its warnings.
func apply(t *testing.T, c *kubetest.Cluster, s manifests.Settings, more string) []string {
	t.Helper()
	files, err := manifests.Render(s)
	if err != nil {
		t.Fatal(err)
	}
	list, err := manifests.List(files)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, item := range list["items"].([]any) {
		text, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		o := item.(map[string]any)
		path := place(o["kind"].(string), s.Namespace) + s.Service + "?fieldManager=test&fieldValidation=Strict" + more
		_, warnings, err := c.Ask(t.Context(), "application/apply-patch+yaml", http.MethodPatch, path, string(text))
		if err != nil {
			t.Errorf("%s: %v", o["kind"], err)
		}
		all = append(all, warnings...)
	}
	return all
}

func place(kind, namespace string) string {
	path := paths[kind]
	for i := range path {
		if path[i] == '%' {
			return path[:i] + namespace + path[i+1:]
		}
	}
	return path
}
