package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

// churnEvery is the time between two changes.
const churnEvery = 10 * time.Millisecond

// churn lets containers restart, as far as their pods' statuses tell: each time another pod's.
type churn struct {
	server  string
	client  *http.Client
	pods    []string
	changed atomic.Int64
}

// newChurn prepares the churn of at most 2000 pods. Its one connection costs the machine less than one for every change would.
func newChurn(ctx context.Context, c *kubetest.Cluster, pods int) (*churn, error) {
	all, err := names(ctx, c, min(pods, 2000))
	if err != nil {
		return nil, err
	}
	admin, err := c.AdminTLS()
	if err != nil {
		return nil, err
	}
	return &churn{server: c.Server, pods: all, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: admin}}}, nil
}

// run changes pods until the context ends.
func (c *churn) run(ctx context.Context) error {
	defer c.client.CloseIdleConnections()
	tick := time.NewTicker(churnEvery)
	defer tick.Stop()
	first := int(time.Now().Unix() % 1_000_000) // not what a churn before has left: that would change nothing
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.restart(ctx, c.pods[i%len(c.pods)], first+i/len(c.pods)); err != nil && ctx.Err() == nil {
			return err
		}
		c.changed.Add(1)
	}
}

// restart notes in a pod's status that its container has restarted n times.
func (c *churn) restart(ctx context.Context, pod string, n int) error {
	body := fmt.Sprintf(`[{"op":"replace","path":"/status/containerStatuses/0/restartCount","value":%d}]`, n)
	url := fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/status", c.server, namespace, pod)
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json-patch+json")
	answer, err := c.client.Do(r)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(answer.Body)
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("change %s: %s: %s", pod, answer.Status, said)
	}
	return err
}
