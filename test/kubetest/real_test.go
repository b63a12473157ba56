package kubetest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

const webDeployment = `{"metadata":{"name":"web"},"spec":{
	"replicas":3,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},
	"selector":{"matchLabels":{"app":"web"}},
	"template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":20,"containers":[{
		"name":"web","image":"example.test/web:v1","imagePullPolicy":"Never","ports":[{"containerPort":8080}],
		"readinessProbe":{"httpGet":{"path":"/health/ready","port":8080},"periodSeconds":1},
		"lifecycle":{"preStop":{"sleep":{"seconds":8}}}}]}}}}`

const webService = `{"metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"clusterIP":"10.96.0.80","ports":[{"port":80,"targetPort":8080}]}}`

// The real node is real: its pods are probed, take traffic through a Service, are drained, and no request fails while all of
// them are replaced.
func TestRealNodeRollsWithoutAFailedRequest(t *testing.T) {
	c := kubetest.StartReal(t)
	do(t, c, http.MethodPost, "/apis/apps/v1/namespaces/default/deployments", webDeployment)
	do(t, c, http.MethodPost, "/api/v1/namespaces/default/services", webService)
	settled(t, c, 3)
	load := c.StartLoad("http://10.96.0.80/")
	defer load.Stop()
	await(t, "the first version serves", func() bool { return load.Served("v1") > 50 })
	image := `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.test/web:v2"}]}}}}`
	doAs(t, c, "application/strategic-merge-patch+json", http.MethodPatch, "/apis/apps/v1/namespaces/default/deployments/web", image)
	settled(t, c, 3)
	before := load.Served("v2")
	await(t, "the second version serves", func() bool { return load.Served("v2") > before+50 })
	load.Stop()
	served, failed := load.Counts()
	if len(failed) > 0 {
		t.Errorf("%v, of %v", failed, served)
	}
	t.Logf("served %v", served)
}

func do(t *testing.T, c *kubetest.Cluster, method, path, body string) []byte {
	t.Helper()
	return doAs(t, c, "application/json", method, path, body)
}

func doAs(t *testing.T, c *kubetest.Cluster, kind, method, path, body string) []byte {
	t.Helper()
	answer, err := c.DoAs(t.Context(), kind, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// settled returns when the Deployment web has n ready pods of its newest template and none beside them.
func settled(t *testing.T, c *kubetest.Cluster, n int) {
	t.Helper()
	await(t, "the Deployment is complete", func() bool {
		var d struct {
			Metadata struct{ Generation int }
			Status   struct{ ObservedGeneration, Replicas, UpdatedReplicas, AvailableReplicas int }
		}
		answer := do(t, c, http.MethodGet, "/apis/apps/v1/namespaces/default/deployments/web", "")
		if err := json.Unmarshal(answer, &d); err != nil {
			t.Fatal(err)
		}
		s := d.Status
		return s.ObservedGeneration == d.Metadata.Generation && s.Replicas == n && s.UpdatedReplicas == n && s.AvailableReplicas == n
	})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not after two minutes: %s", what)
}
