package prom

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/proxy"
)

// TestCollector scrapes a real balancer with a real worker behind it.
func TestCollector(t *testing.T) {
	t.Parallel()
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer worker.Close()
	b := proxy.New(proxy.Options{})
	b.Join(proxy.Target{ID: "v1-1", Release: "v1", Addr: strings.TrimPrefix(worker.URL, "http://")})
	front := httptest.NewServer(b)
	defer front.Close()
	for _, path := range []string{"/", "/", "/bad"} {
		resp, err := http.Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	c := &Collector{
		Stats: b.Stats,
		State: func() rollout.State {
			return rollout.State{
				Active:    &rollout.Rollout{Strategy: rollout.Canary, From: "v1", To: "v2", Phase: rollout.Baking},
				Outcomes:  map[rollout.Phase]int{rollout.Succeeded: 3},
				Incidents: health.Incidents{{ID: "i-1", Severity: health.P1}, {ID: "i-2", Severity: health.P1, ClosedAt: time.Now()}},
			}
		},
		Seen: func() rollout.Snapshot {
			return rollout.Snapshot{Weights: rollout.Weights{"v1": 90, "v2": 10}, Instances: []rollout.Instance{
				{ID: "v1-1", Release: "v1", State: rollout.Ready, Restarts: 2}, {ID: "v1-2", Release: "v1", State: rollout.Ready}}}
		},
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP covetpy_incidents_open Open incidents.
# TYPE covetpy_incidents_open gauge
covetpy_incidents_open{severity="P0"} 0
covetpy_incidents_open{severity="P1"} 1
covetpy_incidents_open{severity="P2"} 0
covetpy_incidents_open{severity="P3"} 0
# HELP covetpy_instances Instances by state.
# TYPE covetpy_instances gauge
covetpy_instances{release="v1",state="ready"} 2
# HELP covetpy_release_requests_total Requests answered by a release, by status class.
# TYPE covetpy_release_requests_total counter
covetpy_release_requests_total{release="v1",status="1xx"} 0
covetpy_release_requests_total{release="v1",status="2xx"} 2
covetpy_release_requests_total{release="v1",status="3xx"} 0
covetpy_release_requests_total{release="v1",status="4xx"} 0
covetpy_release_requests_total{release="v1",status="5xx"} 1
# HELP covetpy_release_weight_percent Share of the traffic in force.
# TYPE covetpy_release_weight_percent gauge
covetpy_release_weight_percent{release="v1"} 90
covetpy_release_weight_percent{release="v2"} 10
# HELP covetpy_rollout_active 1 while a rollout is under way.
# TYPE covetpy_rollout_active gauge
covetpy_rollout_active{from="v1",phase="baking",strategy="canary",to="v2"} 1
# HELP covetpy_rollouts_total Rollouts ended, by outcome.
# TYPE covetpy_rollouts_total counter
covetpy_rollouts_total{outcome="failed"} 0
covetpy_rollouts_total{outcome="rolled_back"} 0
covetpy_rollouts_total{outcome="succeeded"} 3
`), "covetpy_incidents_open", "covetpy_instances", "covetpy_release_requests_total", "covetpy_release_weight_percent",
		"covetpy_rollout_active", "covetpy_rollouts_total")
	if err != nil {
		t.Error(err)
	}
}

func TestBucketsAreCumulativeAndComplete(t *testing.T) {
	t.Parallel()
	var h proxy.Histogram
	for i := range h.Buckets {
		h.Buckets[i] = 1
		h.Count++
	}
	got := buckets(h)
	last := uint64(0)
	for _, bound := range bounds {
		n := got[bound.Seconds()]
		if n < last || n > h.Count {
			t.Errorf("≤ %s: %d after %d", bound, n, last)
		}
		last = n
	}
	if last == 0 {
		t.Error("nothing is counted")
	}
}
