package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/rollout"
)

// lastWords fetches what a failing container said last, once for each of its lives.
type lastWords struct {
	port *Port

	mu    sync.Mutex
	known map[string][]string
}

func newLastWords(p *Port) *lastWords { return &lastWords{port: p, known: map[string][]string{}} }

// Of a pod's log, and of all pods together, so that a thousand failing pods do not become a thousand requests.
const (
	lastLines   = 10
	lastPods    = 3
	lastTimeout = 2 * time.Second
)

// add fills in the last lines of instances that fail.
func (l *lastWords) add(ctx context.Context, all []rollout.Instance) {
	asked := 0
	for i := range all {
		if all[i].StartFailures == 0 && all[i].State != rollout.BackOff && all[i].State != rollout.Unready || asked >= lastPods {
			continue
		}
		p, ok := l.port.stage.pods.get(all[i].ID)
		if !ok {
			continue
		}
		asked++
		all[i].LastLog = l.of(ctx, p)
	}
}

func (l *lastWords) of(ctx context.Context, p *pod) []string {
	name, previous, count := failing(p)
	if name == "" {
		return nil
	}
	key := fmt.Sprintf("%s/%s/%d", p.uid, name, count)
	l.mu.Lock()
	lines, ok := l.known[key]
	l.mu.Unlock()
	if ok {
		return lines
	}
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	c := l.port.client
	raw, err := c.typed.Get().AbsPath(append(c.path(pods), p.name, "log")...).
		Param("container", name).Param("tailLines", fmt.Sprint(lastLines)).Param("previous", fmt.Sprint(previous)).Do(ctx).Raw()
	if transient(err) {
		return nil // it is asked for again at the next look
	}
	if err == nil {
		lines = strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[key] = lines
	return lines
}

// failing is the container that keeps the pod from being ready, and which of its lives has something to tell.
func failing(p *pod) (name string, previous bool, count int) {
	for _, c := range p.lives {
		if c.ready || !c.placed {
			continue
		}
		return c.name, c.waits && c.ended, c.restarts
	}
	return "", false, 0
}
