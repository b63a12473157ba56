package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

const (
	namespace = "crowd"
	service   = "shop"
)

const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop"},"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"shop"}},
"template":{"metadata":{"labels":{"app":"shop"}},"spec":{"containers":[{"name":"shop","image":"reg.local/shop:v1.0.0","ports":[{"containerPort":8080}],
"env":[{"name":"LOG_LEVEL","value":"info"}],"resources":{"requests":{"cpu":"10m"}},"readinessProbe":{"httpGet":{"path":"/health/ready","port":8080}}}]}}}}`

const inFront = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"shop"},"spec":{"selector":{"app":"shop"},"ports":[{"port":80,"targetPort":8080}]}}`

// populate makes the service and waits until all its pods are ready.
func populate(ctx context.Context, c *kubetest.Cluster, pods int) error {
	if _, err := c.Do(ctx, http.MethodPost, "/api/v1/namespaces", `{"metadata":{"name":"`+namespace+`"}}`); err != nil {
		return err
	}
	if _, err := c.Do(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/services", inFront); err != nil {
		return err
	}
	if _, err := c.Do(ctx, http.MethodPost, "/apis/apps/v1/namespaces/"+namespace+"/deployments", fmt.Sprintf(deployment, pods)); err != nil {
		return err
	}
	for ready := 0; ready < pods; time.Sleep(2 * time.Second) {
		raw, err := c.Do(ctx, http.MethodGet, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+service, "")
		if err != nil {
			return err
		}
		var d struct{ Status struct{ ReadyReplicas int } }
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		ready = d.Status.ReadyReplicas
	}
	return nil
}

// names are those of some pods.
func names(ctx context.Context, c *kubetest.Cluster, n int) ([]string, error) {
	raw, err := c.Do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/namespaces/%s/pods?limit=%d", namespace, n), "")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	var out []string
	for _, i := range list.Items {
		out = append(out, i.Metadata.Name)
	}
	return out, nil
}
