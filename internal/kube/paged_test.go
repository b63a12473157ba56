package kube

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// many makes objects by a manifest with their number in it.
func (w *world) many(n int, make func(i int)) {
	w.t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			make(i)
			return nil
		})
	}
	_ = group.Wait() // make fails the test itself
}

// An API server that does not stream its first list is read in pages; a page's token may have expired by the time that the next one is
// asked for. Nothing may be missing then.
func TestPagesWhoseTokenExpiresAreReadAnew(t *testing.T) {
	const slices = 1100
	w := newWorld(t)
	w.many(slices, func(i int) {
		w.create(sliceKind, fmt.Sprintf(`{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, endpoints: [],
  metadata: {name: s-%04d, labels: {kubernetes.io/service-name: other}}}`, i))
	})
	l := newBadLine(w)
	var pages, expired atomic.Int64
	l.set(func(r *http.Request) fault {
		q := r.URL.Query()
		switch {
		case q.Get("sendInitialEvents") != "":
			return fault{status: http.StatusUnprocessableEntity} // an older API server knows nothing of it
		case !strings.HasSuffix(r.URL.Path, "/endpointslices") || q.Get("continue") == "":
			return fault{}
		case pages.Add(1) == 2:
			expired.Add(1)
			return fault{status: http.StatusGone, reason: "Expired"}
		}
		return fault{}
	})
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, s := range p.stage.endpoints.all() {
		if strings.HasPrefix(s.GetName(), "s-") {
			own++
		}
	}
	if own != slices || pages.Load() < 2 || expired.Load() != 1 {
		t.Errorf("%d of %d are known, after %d further pages of which %d had expired", own, slices, pages.Load(), expired.Load())
	}
	w.create(sliceKind, `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, endpoints: [], metadata: {name: s-new, labels: {kubernetes.io/service-name: other}}}`)
	w.eventually("what comes afterwards is seen", func() bool { _, ok := p.stage.endpoints.get("s-new"); return ok })
}

// Page 0 and the search for the service must know all Deployments of a namespace, however many pages they fill.
func TestEverythingIsListed(t *testing.T) {
	const others = 520
	w := newWorld(t)
	w.many(others, func(i int) {
		w.create(deployments, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: d-%03d}, spec: {replicas: 0, selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}}`, i))
	})
	targets, err := (Target{Kubeconfig: w.kubeconfig, Namespace: w.namespace, Deployment: "web"}).Targets(t.Context())
	if err != nil || len(targets.Services) != others+1 {
		t.Errorf("%d services, %v: %s", len(targets.Services), err, targets.Hidden)
	}
}

// Thousands of changes a second are one reason to look: the driver looks at what is there, and not at each of them.
func TestManyChangesAreOneNudge(t *testing.T) {
	t.Parallel()
	d := &driver{port: &Port{stage: &stage{}}, ring: make(chan struct{}, 1)}
	var looks atomic.Int64
	go func() {
		for {
			select {
			case <-d.ring:
				looks.Add(1)
			case <-t.Context().Done():
				return
			}
		}
	}()
	go d.chime(t.Context())
	began := time.Now()
	for time.Since(began) < 500*time.Millisecond {
		d.port.stage.bell.ring()
		time.Sleep(50 * time.Microsecond)
	}
	took := time.Since(began)
	if most := int64(took/chimeRest) + 2; looks.Load() > most {
		t.Errorf("%d looks in %v, want at most %d", looks.Load(), took, most)
	}
	if looks.Load() == 0 {
		t.Error("nobody looked")
	}
}
