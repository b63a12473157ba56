package store

import (
	"context"
	"time"

	"github.com/covetpy/covet/ops/console"
)

// lookAtCluster begins to keep what the cluster says of the service, if it runs in one.
func (f *Feed) lookAtCluster(ctx context.Context) {
	if c, ok := f.port.(console.Cluster); ok {
		go f.watchCluster(ctx, c)
	}
}

// watchCluster takes a new view whenever there is one, and rests for ten times as long as that took: what changes all the time
// must not take the processor.
func (f *Feed) watchCluster(ctx context.Context, c console.Cluster) {
	for ctx.Err() == nil {
		changed := c.ViewChanged()
		began := time.Now()
		v, err := c.View(ctx)
		f.change(func(s *state) { s.cluster(v, err) })
		rest := max(wakeEvery, 10*time.Since(began))
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// cluster takes in a view, or why there is none; the last one stays then.
func (s *state) cluster(v console.ClusterView, err error) {
	s.snap.Version++
	s.snap.ClusterVersion++
	s.snap.ClusterProblem = ""
	if err != nil {
		s.snap.ClusterProblem, _ = words(err)
		return
	}
	s.snap.Cluster = &v
}
