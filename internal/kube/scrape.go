package kube

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// MetricsOff as Options.Metrics judges candidates by readiness and restarts alone.
const MetricsOff = "off"

// endpoint is where a release's pods show their metrics.
type endpoint struct {
	scheme string // http or https
	port   int
	path   string
	from   string // what says so, for people
	sure   bool   // somebody said that there are metrics; otherwise it was only worth a try
}

// ParseMetrics checks what Options.Metrics may be: empty, off, PORT, /PATH or PORT/PATH.
func ParseMetrics(text string) error {
	if text == "" || text == MetricsOff {
		return nil
	}
	port, _, _ := strings.Cut(text, "/")
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return fmt.Errorf("metrics %q: give off, a port such as 9090, or a port and a path such as 9090/metrics", text)
	}
	return nil
}

// endpointOf finds where the pods of a template show their metrics: where the settings say, else its Prometheus annotations, else
// a port of that name, else the port that the readiness probe asks.
func endpointOf(t podTemplate, setting string) (endpoint, bool) {
	e := endpoint{scheme: "http", path: "/metrics"}
	annotations, _, _ := unstructured.NestedStringMap(t, "metadata", "annotations")
	if setting == MetricsOff || setting == "" && annotations["prometheus.io/scrape"] == "false" {
		return e, false
	}
	if v := annotations["prometheus.io/path"]; v != "" {
		e.path = "/" + strings.TrimPrefix(v, "/")
	}
	if annotations["prometheus.io/scheme"] == "https" {
		e.scheme = "https"
	}
	port, path, found := strings.Cut(setting, "/")
	if found {
		e.path = "/" + path
	}
	for _, from := range []struct {
		port, what string
		sure       bool
	}{
		{port, "the settings", true},
		{annotations["prometheus.io/port"], "the annotation prometheus.io/port", true},
		{namedPort(t), "the container's port of that name", true},
		{probedPort(t), "the readiness probe's port", found},
	} {
		if n, err := strconv.Atoi(from.port); err == nil && n > 0 {
			e.port, e.from, e.sure = n, from.what, from.sure
			return e, true
		}
	}
	return e, false
}

func (e endpoint) String() string { return fmt.Sprintf("%d%s by %s", e.port, e.path, e.from) }

// ports yields the ports that a container declares.
func ports(c map[string]any) []map[string]any {
	list, _ := c["ports"].([]any)
	var out []map[string]any
	for _, item := range list {
		if p, ok := item.(map[string]any); ok {
			out = append(out, p)
		}
	}
	return out
}

// namedPort is the port that is named after what is on it.
func namedPort(t podTemplate) string {
	for _, c := range t.containers() {
		for _, p := range ports(c) {
			if slices.Contains([]string{"metrics", "http-metrics", "prometheus"}, text(p, "name")) {
				return fmt.Sprint(p["containerPort"])
			}
		}
	}
	return ""
}

// probedPort is the port that a readiness probe asks by HTTP.
func probedPort(t podTemplate) string {
	for _, c := range t.containers() {
		port, there, _ := unstructured.NestedFieldNoCopy(c, "readinessProbe", "httpGet", "port")
		if !there {
			continue
		}
		for _, p := range ports(c) {
			if text(p, "name") == port {
				return fmt.Sprint(p["containerPort"])
			}
		}
		return fmt.Sprint(port)
	}
	return ""
}

// Limits of one scrape.
const (
	scrapeTimeout = 3 * time.Second
	scrapeBytes   = 8 << 20
)

// scraper reads pods' metrics: through the API server, which needs nothing but a kubeconfig, or, in the cluster, from the pods
// themselves.
type scraper struct {
	client *client
	direct *http.Client // nil: through the API server
}

func newScraper(c *client, at located) *scraper {
	s := &scraper{client: c}
	if at.inside {
		s.direct = &http.Client{Timeout: scrapeTimeout, Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: scrapeTimeout}).DialContext, DisableKeepAlives: true,
		}}
	}
	return s
}

// read is the tally of one pod. It reports whether the pod shows covetd's metrics.
func (s *scraper) read(ctx context.Context, p *pod, e endpoint) (tally, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	body, err := s.open(ctx, p, e)
	if err != nil {
		return tally{}, false, err
	}
	defer func() { _ = body.Close() }() // it was read
	return readTally(io.LimitReader(body, scrapeBytes))
}

func (s *scraper) open(ctx context.Context, p *pod, e endpoint) (io.ReadCloser, error) {
	if s.direct == nil || e.scheme == "https" { // a pod's certificate is for its own name: the API server is not particular
		name := fmt.Sprintf("%s:%s:%d", e.scheme, p.name, e.port)
		return s.client.typed.Get().AbsPath(append(s.client.path(pods), name, "proxy")...).Suffix(e.path).Stream(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(p.ip, strconv.Itoa(e.port))+e.path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.direct.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // nothing of it is read
		return nil, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return resp.Body, nil
}
