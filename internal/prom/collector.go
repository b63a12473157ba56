// Package prom shows what covetd's balancer, workers and rollouts do to Prometheus, under the framework's metric names.
package prom

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/proxy"
)

// Collector reads everything when it is scraped; nothing is counted twice.
type Collector struct {
	Stats func() proxy.Stats // nil where another program balances
	State func() rollout.State
	Seen  func() rollout.Snapshot
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("covetpy_"+name, help, labels, nil)
}

// descs are the metrics there are.
type descs struct {
	requests, instanceRequests, failures, latency, instanceLatency *prometheus.Desc
	inFlight, webSockets, held, refused, queue                     *prometheus.Desc
	weight, instances, restarts, cpu, memory                       *prometheus.Desc
	rollout, rollouts, incidents                                   *prometheus.Desc
}

var all = descs{
	requests:         desc("release_requests_total", "Requests answered by a release, by status class.", "release", "status"),
	instanceRequests: desc("instance_requests_total", "Requests answered by an instance, by status class.", "release", "instance", "status"),
	failures:         desc("release_failures_total", "Requests that an instance did not answer whole.", "release"),
	latency:          desc("release_request_duration_seconds", "Time until the head of a release's answer.", "release"),
	instanceLatency:  desc("instance_request_duration_seconds", "Time until the head of an instance's answer: quantiles since it joined.", "release", "instance"),
	inFlight:         desc("instance_active_requests", "Requests in flight.", "release", "instance"),
	webSockets:       desc("instance_websockets", "Upgraded connections.", "release", "instance"),
	held:             desc("balancer_held_total", "Requests that had to wait for a ready instance."),
	refused:          desc("balancer_refused_total", "Requests that no instance could take."),
	queue:            desc("balancer_queue_depth", "Requests waiting for a ready instance now."),
	weight:           desc("release_weight_percent", "Share of the traffic in force.", "release"),
	instances:        desc("instances", "Instances by state.", "release", "state"),
	restarts:         desc("instance_restarts_total", "Starts of an instance after the first.", "release", "instance"),
	cpu:              desc("instance_cpu_cores", "Processor cores in use.", "release", "instance"),
	memory:           desc("instance_memory_bytes", "Resident memory.", "release", "instance"),
	rollout:          desc("rollout_active", "1 while a rollout is under way.", "strategy", "from", "to", "phase"),
	rollouts:         desc("rollouts_total", "Rollouts ended, by outcome.", "outcome"),
	incidents:        desc("incidents_open", "Open incidents.", "severity"),
}

// Describe implements prometheus.Collector: the collector is unchecked, since labels come and go with releases.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	if c.Stats != nil {
		collectStats(out, c.Stats())
	}
	collectInstances(out, c.Seen(), c.Stats != nil)
	collectState(out, c.State())
}

var classes = [6]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

func collectStats(out chan<- prometheus.Metric, s proxy.Stats) {
	for _, r := range s.Releases {
		for class := 1; class < len(r.Status); class++ {
			counter(out, all.requests, r.Status[class], r.Release, classes[class])
		}
		counter(out, all.failures, r.Failures.Total(), r.Release)
		out <- prometheus.MustNewConstHistogram(all.latency, r.Latency.Count, r.Latency.Sum.Seconds(), buckets(r.Latency), r.Release)
	}
	for _, i := range s.Instances {
		for class := 1; class < len(i.Status); class++ {
			counter(out, all.instanceRequests, i.Status[class], i.Release, i.ID, classes[class])
		}
		gauge(out, all.inFlight, float64(i.InFlight), i.Release, i.ID)
		gauge(out, all.webSockets, float64(i.WebSockets), i.Release, i.ID)
		out <- prometheus.MustNewConstSummary(all.instanceLatency, i.Latency.Count, i.Latency.Sum.Seconds(), quantiles(i.Latency), i.Release, i.ID)
	}
	counter(out, all.held, s.Held)
	counter(out, all.refused, s.Refused)
	gauge(out, all.queue, float64(s.Holding))
}

// collectInstances shows the instances, and, where they are measured, what they use.
func collectInstances(out chan<- prometheus.Metric, seen rollout.Snapshot, measured bool) {
	for version, share := range seen.Weights {
		gauge(out, all.weight, float64(share), version)
	}
	type key struct {
		release string
		state   rollout.InstanceState
	}
	count := map[key]int{}
	for _, i := range seen.Instances {
		count[key{i.Release, i.State}]++
		counter(out, all.restarts, uint64(i.Restarts), i.Release, i.ID)
		if measured {
			gauge(out, all.cpu, i.CPU, i.Release, i.ID)
			gauge(out, all.memory, float64(i.RSS), i.Release, i.ID)
		}
	}
	for k, n := range count {
		gauge(out, all.instances, float64(n), k.release, string(k.state))
	}
}

func collectState(out chan<- prometheus.Metric, s rollout.State) {
	if r := s.Active; r != nil {
		gauge(out, all.rollout, 1, string(r.Strategy), r.From, r.To, string(r.Phase))
	}
	for _, outcome := range []rollout.Phase{rollout.Succeeded, rollout.RolledBack, rollout.Failed} {
		counter(out, all.rollouts, uint64(s.Outcomes[outcome]), string(outcome))
	}
	open := map[string]int{"P0": 0, "P1": 0, "P2": 0, "P3": 0}
	for _, i := range s.Incidents.OpenOnes() {
		open[string(i.Severity)]++
	}
	for severity, n := range open {
		gauge(out, all.incidents, float64(n), severity)
	}
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// bounds are the histogram's buckets as they are shown: few enough for every release.
var bounds = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// buckets makes cumulative buckets of the balancer's fine ones. A fine bucket counts under the first bound it lies under
// whole.
func buckets(h proxy.Histogram) map[float64]uint64 {
	out := make(map[float64]uint64, len(bounds))
	var seen uint64
	i := 0
	for _, bound := range bounds {
		for ; i < len(h.Buckets) && proxy.UpperBound(i) <= bound; i++ {
			seen += h.Buckets[i]
		}
		out[bound.Seconds()] = seen
	}
	return out
}

func quantiles(h proxy.Histogram) map[float64]float64 {
	return map[float64]float64{0.5: h.Quantile(0.5).Seconds(), 0.95: h.Quantile(0.95).Seconds(), 0.99: h.Quantile(0.99).Seconds()}
}
