package server

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// unmatched is the endpoint label of requests that no route took: raw paths never become labels.
const unmatched = "unmatched"

// methods are the values of the method label; everything else is otherMethod.
var methods = [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace, otherMethod}

const otherMethod = "OTHER"

func methodIndex(m string) int {
	for i, known := range methods[:len(methods)-1] {
		if m == known {
			return i
		}
	}
	return len(methods) - 1
}

// durationBuckets reach from a cached answer to a report, in seconds.
var durationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// metrics holds the framework's request metrics. Series are looked up by endpoint and method in a map that is replaced,
// never changed, so that a request takes no lock.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	customers *customers
	mu        sync.Mutex // held to replace series
	series    atomic.Pointer[map[seriesKey]*series]
}

type seriesKey struct {
	endpoint string
	method   int
}

// series is what is counted for one method of one endpoint.
type series struct {
	labels   seriesKey
	duration prometheus.Observer
	statuses [500]atomic.Pointer[prometheus.Counter] // by status from 100 to 599
}

// newMetrics makes the registry. connections and the others are read when somebody looks.
func newMetrics(connections, lostLogBytes, bytesIn, bytesOut func() float64) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_requests_total", Help: "Requests answered, by method, route pattern and status.",
		}, []string{"method", "endpoint", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "covetpy_request_duration_seconds", Help: "Time from a request's headers to the end of its answer; upgraded connections are left out.",
			Buckets: durationBuckets,
		}, []string{"method", "endpoint"}),
		customers: newCustomers(),
	}
	m.series.Store(&map[seriesKey]*series{})
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.duration, m.customers,
		bytesProcessed("in", bytesIn), bytesProcessed("out", bytesOut),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "covetpy_active_connections", Help: "Open connections of the public listener.",
		}, connections),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "covetpy_log_lost_bytes_total", Help: "Bytes of log that could not be written.",
		}, lostLogBytes),
	)
	return m
}

// bytesProcessed counts bodies; heads and upgraded connections are left out.
func bytesProcessed(direction string, count func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "covetpy_bytes_processed_total", Help: "Bytes of bodies of requests (in) and of answers (out).",
		ConstLabels: prometheus.Labels{"direction": direction},
	}, count)
}

// observe counts an answered request.
func (m *metrics) observe(endpoint, method string, status int, took time.Duration, upgraded bool) {
	s := m.find(seriesKey{endpoint, methodIndex(method)})
	m.counter(s, status).Inc()
	if !upgraded {
		s.duration.Observe(took.Seconds())
	}
}

func (m *metrics) find(key seriesKey) *series {
	if s, ok := (*m.series.Load())[key]; ok {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.series.Load()
	if s, ok := old[key]; ok {
		return s
	}
	s := &series{labels: key, duration: m.duration.WithLabelValues(methods[key.method], key.endpoint)}
	grown := make(map[seriesKey]*series, len(old)+1)
	for k, v := range old {
		grown[k] = v
	}
	grown[key] = s
	m.series.Store(&grown)
	return s
}

func (m *metrics) counter(s *series, status int) prometheus.Counter {
	if status < 100 || status > 599 {
		return m.requests.WithLabelValues(methods[s.labels.method], s.labels.endpoint, "other")
	}
	slot := &s.statuses[status-100]
	if c := slot.Load(); c != nil {
		return *c
	}
	c := m.requests.WithLabelValues(methods[s.labels.method], s.labels.endpoint, strconv.Itoa(status))
	slot.Store(&c)
	return c
}

// handler serves the registry.
func (m *metrics) handler() http.Handler {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Security-Policy"] = ownPolicy
		h.ServeHTTP(w, r)
	})
}
